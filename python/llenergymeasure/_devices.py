# SPDX-License-Identifier: MIT
"""Devices of the frameworks that the caller has loaded; none is loaded here."""

from __future__ import annotations

import sys
from typing import Any


def synchronize() -> None:
    """Wait for the devices of the frameworks that are loaded."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)
    jax = sys.modules.get("jax")
    if jax is not None:
        jax.effects_barrier()
        for array in jax.live_arrays():
            array.block_until_ready()


def gpus() -> list[dict[str, Any]]:
    """The GPUs that a loaded torch sees; none where there is no torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        uuid = getattr(properties, "uuid", None)
        found.append({"kind": "gpu", "uuid": f"GPU-{uuid}" if uuid else None,
                      "name": properties.name, "pci": None})
    return found
