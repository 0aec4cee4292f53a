# SPDX-License-Identifier: MIT
"""What llem asks of vLLM's own worker processes, one a device.

vLLM mixes this class into its worker (the engine argument `worker_extension_cls`), so its methods
can be called with `collective_rpc`. It runs where the model is, which the process that holds the
protocol is not: only here can a device be waited for and its memory be asked.
"""

from __future__ import annotations

from typing import Any


class Extension:
    """Methods for every worker process; `self` is vLLM's worker."""

    def llem_synchronize(self) -> None:
        """Return when this worker's device has nothing more to do."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def llem_begin(self) -> None:
        """A pass begins, with a fresh peak of memory, on an idle device."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.llem_synchronize()

    def llem_describe(self) -> dict[str, Any]:
        """The device of this worker and the bytes of the weights on it."""
        import torch

        found: dict[str, Any] = {"kind": "cpu", "uuid": None, "name": None, "pci": None}
        if torch.cuda.is_available():
            p = torch.cuda.get_device_properties(torch.cuda.current_device())
            uuid = getattr(p, "uuid", None)
            bus = getattr(p, "pci_bus_id", None)
            found = {"kind": "gpu", "uuid": uuid and f"GPU-{uuid}", "name": p.name, "pci": None}
            if bus is not None:
                found["pci"] = f"{p.pci_domain_id:08x}:{bus:02x}:{p.pci_device_id:02x}.0"
        model = self.model_runner.model
        found["weights_bytes"] = sum(p.numel() * p.element_size() for p in model.parameters())
        return found

    def llem_peak_bytes(self) -> int | None:
        """The most memory this worker's allocator held since llem_begin; None without a GPU."""
        import torch

        return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None
