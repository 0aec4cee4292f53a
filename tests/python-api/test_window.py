# SPDX-License-Identifier: MIT
"""Windows around one's own code."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import types
from typing import Any

import llenergymeasure
import pytest
from conftest import llem
from llenergymeasure import ExperimentError, Window, window


def seconds(w: Window) -> float:
    time_s = w.result.total_inference_time_sec
    assert time_s is not None
    return time_s


def test_a_block_is_measured() -> None:
    with window("part") as w:
        with pytest.raises(ExperimentError, match="not ended"):
            _ = w.result
        time.sleep(0.2)
    assert 0.2 <= seconds(w) < 10
    result = w.result
    assert (result.kind, result.tokens.total, result.engine) == ("measure", None, None)
    assert result.energy_quality in ("measured", "estimated", "mixed", "none")
    assert result.directory is not None and result.directory.name.startswith("part_")
    assert llem("verify", str(result.directory)).returncode == 0
    assert llem("show", str(result.directory)).returncode == 0
    assert "measure" in result._repr_html_()


def test_windows_nest_overlap_and_run_in_threads() -> None:
    inner: list[Window] = []

    def run() -> None:
        with window("thread") as w:
            time.sleep(0.1)
        inner.append(w)

    with window("outer") as outer:
        thread = threading.Thread(target=run)
        thread.start()
        with window("inner") as w:
            time.sleep(0.1)
        inner.append(w)
        thread.join()
    assert len(inner) == 2 and all(0.1 <= seconds(w) < seconds(outer) for w in inner)
    first, second = window("first"), window("second")
    first.__enter__()
    second.__enter__()
    time.sleep(0.05)
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert first.result.start_time is not None and second.result.start_time is not None
    assert first.result.start_time < second.result.start_time


def test_an_exception_passes_and_the_window_is_kept() -> None:
    with pytest.raises(ZeroDivisionError):
        with window("bad") as w:
            raise ZeroDivisionError
    assert seconds(w) >= 0
    with pytest.raises(ExperimentError, match="used already"):
        w.__enter__()


def test_a_directory_in_use_and_a_wrong_gpu_are_told() -> None:
    with window(output_dir="here"):
        pass
    with pytest.raises(ExperimentError, match="holds a measurement"):
        with window(output_dir="here"):
            raise AssertionError("never inside")
    with pytest.raises(llenergymeasure.ConfigError, match="no list of GPUs"):
        window(gpus="0,,1").__enter__()


def test_progress_and_its_exceptions() -> None:
    class Told:
        def __init__(self, fail: str = ""):
            self.steps: list[str] = []
            self.fail = fail

        def on_step_done(self, step: str, elapsed_sec: float) -> None:
            self.steps.append(step)
            if step == self.fail:
                raise ZeroDivisionError(step)

    told = Told()
    with window(progress=told):
        assert "energy_select" in told.steps
    assert told.steps[-1] == "save"
    with pytest.raises(ZeroDivisionError):
        with window(progress=Told(fail="save")):
            pass


def test_devices_of_loaded_frameworks_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    cuda = types.SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, device_count=lambda: 2,
        synchronize=calls.append)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(
        effects_barrier=lambda: calls.append("barrier"), live_arrays=lambda: []))
    with window():
        assert calls == [0, 1, "barrier"]
    assert calls == [0, 1, "barrier"] * 2


SCRIPT = """
import time, llenergymeasure
try:
    with llenergymeasure.window("slow", output_dir="w") as w:
        print("here", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", w.result.total_inference_time_sec < 30)
"""


def test_ctrl_c_ends_the_block_and_keeps_what_was_measured() -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted True\n"
    assert json.loads(pathlib.Path("w/status.json").read_text())["state"] == "completed"


def test_a_forked_child_leaves_the_window_to_its_parent() -> None:
    with window("fork") as w:
        pid = os.fork()
        if pid == 0:
            w.__exit__(None, None, None)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert seconds(w) >= 0
