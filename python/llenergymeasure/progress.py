# SPDX-License-Identifier: MIT
"""What a progress display is told, in the original's vocabulary."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from llenergymeasure import _binding as c

__all__ = ["ProgressCallback"]


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
                None if value != value else value
                for value in (
                    event.elapsed_s, event.power_w, event.tokens_per_s, event.temperature_c)
            ),
        ),
    }
    name, arguments = calls.get(event.type, ("", ()))
    method = getattr(callback, name, None) if name else None
    if method is not None:
        method(*arguments)


