# SPDX-License-Identifier: MIT
"""Samplers that are Python packages, behind the worker protocol: ZeusMonitor and CodeCarbon.

`initialize` names the sampler and imports its package, `open_device` lists its domains, and each
pair of `sampler_begin` and `sampler_end` is a window of its own. Nothing here goes to the network
and nothing is left on the disk.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import pathlib
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "engines" / "worker"))
import llem_worker  # noqa: E402

J_PER_KWH = 3.6e6
# How often a counter is renewed at least, which none of the packages tells: NVML's counters tick
# each 20 to 100 ms, RAPL's each millisecond.
GPU_PERIOD_S = 0.1
RAPL_PERIOD_S = 0.001


def preload_nvml() -> None:
    """Let the packages find the library of LLEM_NVML_LIBRARY, by its soname."""
    library = os.environ.get("LLEM_NVML_LIBRARY")
    if library:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)


def nvml_boards() -> list[dict[str, Any]]:
    """What tells boards apart, in NVML's order; empty without NVML."""
    try:
        import pynvml

        pynvml.nvmlInit()
        boards = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            capability = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            boards.append(
                {
                    "uuid": text(pynvml.nvmlDeviceGetUUID(handle)),
                    "pci": text(pynvml.nvmlDeviceGetPciInfo(handle).busId),
                    "compute_capability": "%d.%d" % tuple(capability),
                }
            )
        return boards
    except Exception:
        return []


def text(value: Any) -> str:
    """Bytes or text as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def domain(
    kind: str, identifier: str, name: str, method: str, period_s: float | None, **more: Any
) -> dict[str, Any]:
    """An entry of open_device: measured where it reads a counter that is renewed each period_s."""
    return llem_worker.drop_none(
        {
            "id": identifier,
            "kind": kind,
            "name": name,
            "method": method,
            "quality": "measured" if period_s else "estimated",
            "period_s": period_s,
            **more,
        }
    )


class Zeus(llem_worker.Engine):
    """ZeusMonitor over every board, package and DRAM that it can read."""

    name = "zeus"

    def __init__(self, setup: llem_worker.Setup):
        super().__init__(setup)
        preload_nvml()
        module = llem_worker.need_package("zeus.monitor", "zeus")
        # The work runs in another process: there is nothing here to synchronise.
        self.monitor = module.ZeusMonitor(approx_instant_energy=False)

    def version(self) -> str:
        """Of the package."""
        return llem_worker.versions("zeus").get("zeus", "unknown")

    def libraries(self) -> dict[str, str]:
        """What reads the boards."""
        return llem_worker.versions("nvidia-ml-py", "amdsmi")

    def open_device(self) -> list[dict[str, Any]]:
        """Every counter of the monitor."""
        boards = nvml_boards()
        found = []
        for index in self.monitor.gpu_indices:
            board = boards[index] if index < len(boards) else {}
            old = not self.monitor.gpus.supports_get_total_energy_consumption(index)
            found.append(
                domain(
                    "gpu",
                    self.gpu_id(index, board),
                    text(self.monitor.gpus.get_name(index)),
                    "integrated power" if old else "counter",
                    GPU_PERIOD_S,
                    index=index,
                    **board,
                )
            )
        for index in self.monitor.cpu_indices:
            kinds = ["package"]
            if self.monitor.cpus.supports_get_dram_energy_consumption(index):
                kinds.append("dram")
            for kind in kinds:
                names = f"{kind}:{index}", f"{kind}-{index}"
                found.append(domain(kind, *names, "rapl", RAPL_PERIOD_S, index=index))
        self.boards = boards
        if found:
            # What is slow the first time (RAPL starts a process that counts wraps) is done now.
            self.monitor.begin_window("first", sync_execution=False)
            self.monitor.end_window("first", sync_execution=False)
        return found

    def gpu_id(self, index: int, board: dict[str, Any]) -> str:
        """As the sampler nvml names it."""
        return f"gpu:{board.get('uuid') or index}"

    def sampler_begin(self, name: str) -> dict[str, Any]:
        """Read every counter."""
        t_ns = time.monotonic_ns()
        self.monitor.begin_window(name, sync_execution=False, restart=True)
        return {"domains": {}, "t_ns": t_ns}

    def sampler_end(self, name: str) -> dict[str, Any]:
        """Read every counter again."""
        m = self.monitor.end_window(name, sync_execution=False)
        t_ns = time.monotonic_ns()
        joules = {}
        for index, j in m.gpu_energy.items():
            board = self.boards[index] if index < len(self.boards) else {}
            joules[self.gpu_id(index, board)] = j
        for kind, energies in (("package", m.cpu_energy), ("dram", m.dram_energy)):
            joules.update({f"{kind}:{index}": j for index, j in (energies or {}).items()})
        return {"domains": llem_worker.plain(joules), "t_ns": t_ns}

    def cleanup(self) -> None:
        """End the processes that the package has started."""
        for child in multiprocessing.active_children():
            child.terminate()


class CodeCarbon(llem_worker.Engine):
    """CodeCarbon's tracker of the whole machine: processor, memory and boards apart."""

    name = "codecarbon"

    def __init__(self, setup: llem_worker.Setup):
        super().__init__(setup)
        preload_nvml()
        module = llem_worker.need_package("codecarbon")
        logging.getLogger("codecarbon").propagate = False
        # Offline, and without any output: neither files nor the network. The country only turns
        # energy into emissions, which nobody asks for; energy is as read (pue = 1).
        self.tracker = module.OfflineEmissionsTracker(
            country_iso_code="USA",
            tracking_mode="machine",
            save_to_file=False,
            save_to_api=False,
            save_to_logger=False,
            save_to_prometheus=False,
            save_to_logfire=False,
            allow_multiple_runs=True,
            log_level="error",
            pue=1.0,
        )
        if not hasattr(self.tracker, "_tasks"):
            # Its constructor swallows every exception, that of an unknown argument too.
            raise llem_worker.WorkerError(
                f"CodeCarbon {self.version()} could not make its tracker",
                hint=llem_worker.pip_command("'codecarbon>=3'"),
            )
        self.n = 0
        # The first window finds the hardware and loads tables, which takes seconds.
        self.sampler_begin("first")
        self.sampler_end("first")

    def version(self) -> str:
        """Of the package."""
        return llem_worker.versions("codecarbon").get("codecarbon", "unknown")

    def libraries(self) -> dict[str, str]:
        """What it reads the machine with."""
        return llem_worker.versions("psutil", "nvidia-ml-py", "amdsmi")

    def hardware(self, kind: str) -> Any:
        """The tracker's object for a kind of hardware; None where it has none or hides it."""
        for part in getattr(self.tracker, "_hardware", []):
            if type(part).__name__ == kind:
                return part
        return None

    def gpus(self) -> list[Any]:
        """The boards that it tracks."""
        gpu = self.hardware("GPU")
        return list(getattr(getattr(gpu, "devices", None), "devices", []))

    def open_device(self) -> list[dict[str, Any]]:
        """Its domains. What cannot be shown to come from a counter is an estimate."""
        mode = getattr(self.hardware("CPU"), "_mode", None) or "unknown"
        if mode == "intel_rapl":
            found = [domain("package", "package:all", "CPU packages", "rapl", RAPL_PERIOD_S)]
        else:
            found = [domain("cpu", "cpu", "CPU", mode, None)]
        found.append(domain("ram", "ram", "memory", "constant", None))
        boards = nvml_boards()
        for gpu in self.gpus():
            info = gpu.get_static_details()
            counts = getattr(gpu, "_has_counter", False)
            uuid = text(info["uuid"])
            board = next((b for b in boards if b["uuid"] == uuid), {"uuid": uuid})
            found.append(
                domain(
                    "gpu",
                    f"gpu:{uuid}",
                    text(info["name"]),
                    "counter" if counts else "power",
                    GPU_PERIOD_S if counts else None,
                    index=gpu.gpu_index,
                    **board,
                )
            )
        return found

    def sampler_begin(self, name: str) -> dict[str, Any]:
        """Begin a task, as the package calls a window."""
        self.n += 1
        t_ns = time.monotonic_ns()
        self.tracker.start_task(f"{name} {self.n}")
        return {"domains": {}, "t_ns": t_ns}

    def sampler_end(self, name: str) -> dict[str, Any]:
        """End the task; kWh become J."""
        data = self.tracker.stop_task(f"{name} {self.n}")
        t_ns = time.monotonic_ns()
        if data is None:
            raise llem_worker.WorkerError("CodeCarbon gave no figures for its window")
        rapl = getattr(self.hardware("CPU"), "_mode", None) == "intel_rapl"
        joules = {
            "package:all" if rapl else "cpu": data.cpu_energy * J_PER_KWH,
            "ram": data.ram_energy * J_PER_KWH,
        }
        for gpu in self.gpus():
            uuid = text(gpu.get_static_details()["uuid"])
            joules[f"gpu:{uuid}"] = gpu.energy_delta.kWh * J_PER_KWH
        return {"domains": llem_worker.plain(joules), "t_ns": t_ns}


SAMPLERS = {sampler.name: sampler for sampler in (Zeus, CodeCarbon)}


def make(setup: llem_worker.Setup) -> llem_worker.Engine:
    """The sampler that `initialize` names."""
    if setup.engine not in SAMPLERS:
        raise llem_worker.WorkerError(f"there is no sampler {setup.engine!r}", "config")
    return SAMPLERS[setup.engine](setup)


if __name__ == "__main__":
    llem_worker.serve(make)
