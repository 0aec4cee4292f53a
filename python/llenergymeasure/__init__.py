# SPDX-License-Identifier: MIT
"""Measure what LLM inference costs, and how sure that is: libllem from Python.

    import llenergymeasure

    result = llenergymeasure.run_experiment(model="./sample-model", engine="cpu", dataset="builtin")
    print(result.total_energy_j, result.metrics())

What is used is loaded when it is first used.
"""

from __future__ import annotations

import _llem

_llem.check()

TYPE_CHECKING = False  # typing's own costs milliseconds
if TYPE_CHECKING:
    from typing import Any

    from llenergymeasure.api import run_experiment, run_study
    from llenergymeasure.config import ExperimentConfig
    from llenergymeasure.engine import EnginePlugin, InferenceOutput
    from llenergymeasure.exceptions import (
        ConfigError,
        EngineError,
        ExperimentError,
        LLEMError,
        PreFlightError,
        StudyError,
    )
    from llenergymeasure.progress import ProgressCallback, StudyProgressCallback
    from llenergymeasure.results import ExperimentResult
    from llenergymeasure.study import StudyConfig, StudyResult
    from llenergymeasure.windows import Window, window

    __version__: str

_PLACES = {
    "run_experiment": "api",
    "run_study": "api",
    "ExperimentConfig": "config",
    "ExperimentResult": "results",
    "StudyConfig": "study",
    "StudyResult": "study",
    "ProgressCallback": "progress",
    "StudyProgressCallback": "progress",
    "Window": "windows",
    "window": "windows",
    "EnginePlugin": "engine",
    "InferenceOutput": "engine",
    "ConfigError": "exceptions",
    "EngineError": "exceptions",
    "ExperimentError": "exceptions",
    "LLEMError": "exceptions",
    "PreFlightError": "exceptions",
    "StudyError": "exceptions",
}
__all__ = [
    "ConfigError",
    "EngineError",
    "EnginePlugin",
    "ExperimentConfig",
    "ExperimentError",
    "ExperimentResult",
    "InferenceOutput",
    "LLEMError",
    "PreFlightError",
    "ProgressCallback",
    "StudyConfig",
    "StudyError",
    "StudyProgressCallback",
    "StudyResult",
    "Window",
    "__version__",
    "run_experiment",
    "run_study",
    "window",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from llenergymeasure import _binding

        value: Any = _binding.lib().llem_version().decode()
    elif name in _PLACES:
        import importlib

        value = getattr(importlib.import_module(f"llenergymeasure.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
