# SPDX-License-Identifier: MIT
"""What a progress display is told, in the original's vocabulary."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

from llenergymeasure import _binding as c

__all__ = ["ProgressCallback", "StudyProgressCallback"]

STEPS = ["preflight", "baseline", "prompts", "model", "warmup", "thermal_floor", "energy_select",
         "measure", "flops", "save"]


@runtime_checkable
class ProgressCallback(Protocol):
    """Receives the steps of an experiment, in the thread that runs it.

    Steps are preflight, baseline, prompts, model, warmup, thermal_floor, energy_select, measure,
    flops and save. Times are seconds. An exception ends the experiment and is raised by
    run_experiment(). An object may have these besides: `on_warning(reason, text)`, and
    `on_live(elapsed_sec, power_w, tokens_per_s, temperature_c)`, at most four times a second inside
    the window, None for what is not known.
    """

    def on_step_start(self, step: str, description: str, detail: str = "") -> None:
        """A step begins."""

    def on_step_update(self, step: str, detail: str) -> None:
        """It is that far."""

    def on_step_done(self, step: str, elapsed_sec: float) -> None:
        """It is done."""

    def on_step_skip(self, step: str, reason: str = "") -> None:
        """It is left out, for the reason whose code is given."""

    def on_substep(self, step: str, text: str, elapsed_sec: float = 0.0) -> None:
        """A part of it is done."""


@runtime_checkable
class StudyProgressCallback(ProgressCallback, Protocol):
    """Receives what happens in a study: which experiment it is at, and the steps of that.

    Experiments are counted by their place in the study, from 1; one that an earlier try completed
    is not told. An object may have these besides: `on_experiment_saved(index, host_path,
    container_path=None)`, where its directory is; `show_gap(text)`, about once a second in a pause,
    and `clear_gap()` after it.
    """

    def begin_experiment(
        self, index: int, header: str, steps: list[str],
        runner_info: dict[str, str | None] | None = None,
    ) -> None:
        """An experiment begins: "gpt2 / vllm / batch_size=4", and the steps it may have."""

    def end_experiment_ok(
        self, index: int, elapsed: float, energy_j: float | None = None,
        throughput_tok_s: float | None = None,
    ) -> None:
        """It has a result; None for what was not measured."""

    def end_experiment_fail(self, index: int, elapsed: float, error: str = "") -> None:
        """It has none."""


class StudyEvents:
    """The events of a study to a callback of either kind."""

    def __init__(self, callback: Any, plan: dict[str, Any]):
        self._callback = callback
        self._runs = plan["runs"]
        self._experiments = {e["number"]: e for e in plan["experiments"]}
        self._directory = ""
        self._in_gap = False

    def tell(self, event: c.Event) -> None:
        if self._in_gap and event.type not in (c.NONE, c.PAUSE):
            self._in_gap = False
            self._call("clear_gap")
        if event.type == c.STARTED:
            self._directory = os.path.abspath(os.fsdecode(event.text))
            self._begin(event.run)
        elif event.type == c.ENDED:
            self._end(event)
        elif event.type == c.PAUSE:
            self._in_gap = True
            whole = event.elapsed_s / event.fraction if event.fraction > 0 else None
            left = f": {whole - event.elapsed_s:.0f}s" if whole is not None else ""
            self._call("show_gap", c.utf8(event.step).capitalize() + left)
        else:
            tell(self._callback, event)

    def _call(self, name: str, *arguments: Any) -> None:
        method = getattr(self._callback, name, None)
        if method is not None:
            method(*arguments)

    def _begin(self, run: int) -> None:
        experiment = self._experiments[self._runs[run - 1]["experiment"]]
        model = experiment["model"].rstrip("/").rpartition("/")[2]
        differs = experiment["differs_by"]
        header = f"{model} / {experiment['engine']}" + (f" / {differs}" if differs else "")
        self._call("begin_experiment", run, header, list(STEPS), None)

    def _end(self, event: c.Event) -> None:
        if not self._directory:  # over before it began
            self._begin(event.run)
        if event.reason == b"completed":
            if self._directory:
                self._call("on_experiment_saved", event.run, self._directory)
            self._call("end_experiment_ok", event.run, event.elapsed_s, known(event.energy_j),
                       known(event.tokens_per_s))
        else:
            self._call("end_experiment_fail", event.run, event.elapsed_s,
                       c.utf8(event.text or event.reason))
        self._directory = ""


def known(value: float) -> float | None:
    """None for NaN, which is what is not known."""
    return None if value != value else value


def tell(callback: Any, event: c.Event) -> None:
    """One event of the library to a callback; what it has no method for is not told."""
    step, text = c.utf8(event.step), c.utf8(event.text)
    calls: dict[int, tuple[str, tuple[Any, ...]]] = {
        c.STEP_START: ("on_step_start", (step, text, "")),
        c.STEP_UPDATE: ("on_step_update", (step, text)),
        c.STEP_DONE: ("on_step_done", (step, event.elapsed_s)),
        c.STEP_SKIP: ("on_step_skip", (step, c.utf8(event.reason))),
        c.SUBSTEP: ("on_substep", (step, text, event.elapsed_s)),
        c.WARNING: ("on_warning", (c.utf8(event.reason), text)),
        c.LIVE: (
            "on_live",
            tuple(
                known(value) for value in (
                    event.elapsed_s, event.power_w, event.tokens_per_s, event.temperature_c)
            ),
        ),
    }
    name, arguments = calls.get(event.type, ("", ()))
    method = getattr(callback, name, None) if name else None
    if method is not None:
        method(*arguments)
