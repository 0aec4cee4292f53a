#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a class with the original's EnginePlugin methods: `engine: python:module:Class`.

The module is imported from the directory that llem was started in, or from the environment. Its
methods get the configuration as an object with attributes, and prompts as texts.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import time
import types
from collections.abc import Callable
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "worker"))
import llem_worker  # noqa: E402


def as_object(value: Any) -> Any:
    """Maps as objects with attributes, as plugins read their configuration."""
    if isinstance(value, dict):
        return types.SimpleNamespace(**{k: as_object(v) for k, v in value.items()})
    return [as_object(v) for v in value] if isinstance(value, list) else value


def field(output: Any, name: str) -> Any:
    """A field of what run_inference returned: an object's or a map's."""
    return output.get(name) if isinstance(output, dict) else getattr(output, name, None)


class Plugin(llem_worker.Engine):
    """The protocol's methods over those of the class."""

    def __init__(self, setup: llem_worker.Setup):
        super().__init__(setup)
        _, module, name = self.setup.config["engine"].split(":", 2)
        sys.path.insert(1, os.getcwd())
        try:
            self.plugin = getattr(importlib.import_module(module), name)()
        except ModuleNotFoundError as error:
            if error.name != module.split(".")[0]:
                raise
            raise llem_worker.WorkerError(
                f"there is no Python module {module}",
                "config",
                f"it is looked for in {os.getcwd()} and in {sys.prefix}",
            ) from error
        except AttributeError as error:
            raise llem_worker.WorkerError(
                f"the module {module} has no class {name}", "config"
            ) from error
        self.config = as_object(self.setup.config)
        self.model: Any = None
        self.output: Any = None
        self.prompts: list[str] = []
        self.name = str(getattr(self.plugin, "name", name))

    def call(self, method: str, default: Any, *args: Any) -> Any:
        """A method that the class need not have."""
        found = getattr(self.plugin, method, None)
        return default if found is None else found(*args)

    def version(self) -> str:
        return str(getattr(self.plugin, "version", "unknown"))

    def check_hardware(self) -> list[str]:
        return list(self.call("check_hardware", [], self.config))

    def load_prompts(self, prompts: list, max_input_tokens: Any, chat_template: Any) -> tuple:
        if not all(isinstance(p, str) for p in prompts):
            raise llem_worker.WorkerError(
                "a plugin class takes prompts as texts, not as token ids",
                "config",
                "use another task.dataset.source than random",
            )
        self.prompts = prompts
        return [None] * len(prompts), 0  # the class tokenises by itself

    def load_model(self, progress: Callable[[str, float | None], None]) -> dict[str, Any]:
        extra = {}
        if "on_substep" in inspect.signature(self.plugin.load_model).parameters:
            extra["on_substep"] = lambda text, seconds=None: progress(text, None)
        self.model = self.plugin.load_model(self.config, **extra)
        return {"model": {"name": self.setup.model}}

    def run_warmup_prompt(self, index: int) -> float:
        return float(self.call("run_warmup_prompt", 0.0, self.config, self.model,
                               self.prompts[index]))

    def run_inference(
        self, pass_id: int, indices: list[int], repeats: int, stream: bool
    ) -> llem_worker.Inference:
        prompts = [self.prompts[i] for i in indices] * repeats
        begin = time.monotonic_ns()
        self.output = self.plugin.run_inference(self.config, self.model, prompts)
        end = time.monotonic_ns()
        peak = field(self.output, "peak_memory_mb")
        return llem_worker.Inference(
            begin,
            end,
            peak_memory_bytes=int(peak * (1 << 20)) if peak else None,
            extra={
                "input_tokens": field(self.output, "input_tokens"),
                "output_tokens": field(self.output, "output_tokens"),
            },
        )

    def capture_observed_params(self) -> dict[str, Any]:
        told = self.call("capture_observed_params", {}, self.config, self.model, self.output)
        return {"engine_params": told.get("engine_params", told),
                "sampling_params": told.get("sampling_params", {})}

    def cleanup(self) -> None:
        if self.model is not None:
            self.call("cleanup", None, self.model)
        self.model = None


if __name__ == "__main__":
    llem_worker.serve(Plugin)
