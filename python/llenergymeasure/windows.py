# SPDX-License-Identifier: MIT
"""Windows: what a block of one's own code costs, measured as experiments are."""

from __future__ import annotations

import ctypes
import os
from contextlib import ExitStack
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from types import TracebackType
from typing import Any

from llenergymeasure import _binding as c
from llenergymeasure._devices import synchronize
from llenergymeasure._interrupts import Interrupts
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.progress import tell
from llenergymeasure.results import ExperimentResult, taken

__all__ = ["Window", "window"]

_Progress = CFUNCTYPE(None, c_void_p, POINTER(c.Event))


class _Args(ctypes.Structure):
    """llem_window_args"""

    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("output_dir", c_char_p),
        ("gpus", c_char_p),
        ("baseline", c_int),
        ("quick", c_int),
        ("progress", _Progress),
        ("progress_user", c_void_p),
        ("cancel", POINTER(c_int)),
    ]


class Window:
    """A block that is measured. window() makes one; `result` is there when it has ended."""

    def __init__(
        self, name: str, output_dir: str | Path | None, gpus: str | None, baseline: bool,
        quick: bool, progress: Any,
    ):
        self.name = name
        self._result: ExperimentResult | None = None
        self._progress = progress
        self._interrupts = Interrupts()
        self._error: BaseException | None = None
        self._handle = c_void_p()
        self._owner = 0
        self._context = ExitStack()
        self._args = _Args(
            size=ctypes.sizeof(_Args),
            name=name.encode(),
            output_dir=None if output_dir is None else c.path(output_dir),
            gpus=None if gpus is None else gpus.encode(),
            baseline=int(baseline),
            quick=int(quick),
            progress=_Progress(self._on_event),
            cancel=ctypes.pointer(self._interrupts.cancel),
        )

    @property
    def result(self) -> ExperimentResult:
        """What the block cost.

        Raises:
            ExperimentError: it has not ended, or could not be measured.
        """
        if self._result is None:
            raise ExperimentError(f"the window {self.name} has no result: it has not ended")
        return self._result

    def _on_event(self, user: Any, event: Any) -> None:
        try:
            if self._progress is not None and self._error is None:
                tell(self._progress, event.contents)
        except BaseException as e:
            self._error = e
            self._interrupts.cancel.value = 1

    def _check(self, code: int, err: c.Error) -> None:
        self._interrupts.check()
        if self._error is not None:
            raise self._error
        c.check(code, err)

    def __enter__(self) -> Window:
        function = c.lib().llem_window_open
        function.restype = c_int
        function.argtypes = [POINTER(c_void_p), c_void_p, POINTER(_Args), POINTER(c.Error)]
        if self._owner:
            raise ExperimentError(f"the window {self.name} was used already; make another")
        self._owner = os.getpid()
        err = c.Error()
        with ExitStack() as stack:
            ctx = stack.enter_context(c.context())
            synchronize()
            with self._interrupts:
                code = function(byref(self._handle), ctx, byref(self._args), byref(err))
            if self._handle:
                stack.callback(self._abandon)
            self._check(code, err)
            self._context = stack.pop_all()
        return self

    def _abandon(self) -> None:
        """Close what is still open; its result stays on disk."""
        if self._handle and self._owner == os.getpid():
            self._close(None)

    def _close(self, out: Any) -> tuple[int, c.Error]:
        function = c.lib().llem_window_close
        function.restype = c_int
        function.argtypes = [c_void_p, POINTER(c_void_p), POINTER(c.Error)]
        handle, self._handle, err = self._handle, c_void_p(), c.Error()
        with self._interrupts:
            return function(handle, out, byref(err)), err

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owner != os.getpid():  # a child has the memory, but not the thread that measures
            self._context.pop_all()
            return
        with self._context:
            synchronize()
            result = c_void_p()
            code, err = self._close(byref(result))
            if result:
                self._result = taken(result)
            if error is None:
                self._check(code, err)


def window(
    name: str = "window",
    *,
    output_dir: str | Path | None = None,
    gpus: str | None = None,
    baseline: bool = False,
    quick: bool = False,
    progress: Any = None,
) -> Window:
    """Measure a block of one's own code with the harness's window.

        with llenergymeasure.window("prefill") as w:
            model(batch)
        print(w.result.total_energy_j, w.result.total_inference_time_sec)

    Windows may be nested and may overlap, in one thread or in several; each has sensors and a
    directory of its own. Entering waits for the sensors' pre-roll (2 to 8 s; nothing where only
    load is estimated), leaving for the post-roll. The devices of torch and jax, where those are
    loaded, are waited for at both edges. An exception of the block passes through, and the window
    is measured until then.

    Args:
        name: begins the name of the directory below ./results.
        output_dir: the directory itself, which must hold no measurement.
        gpus: "0,2", UUIDs, or "all"; None: the CPU's package and DRAM.
        baseline: measure the idle machine first, for energy_adjusted_j.
        quick: idle measurement of 2 s at most; the result is marked.
        progress: told each step, as in run_experiment().

    Returns:
        A Window: `with` gives it, and its `result` is an ExperimentResult of kind "measure", whose
        token figures are None.

    Raises:
        PreFlightError: a GPU that is named is not there.
        ExperimentError: the directory cannot be written, or holds a measurement.
    """
    return Window(name, output_dir, gpus, baseline, quick, progress)
