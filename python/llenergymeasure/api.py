# SPDX-License-Identifier: MIT
"""run_experiment and run_study."""

from __future__ import annotations

import os
from ctypes import byref, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llenergymeasure import _binding as c
from llenergymeasure.config import ExperimentConfig, load, parsed
from llenergymeasure.exceptions import ConfigError, ExperimentError, StudyError
from llenergymeasure.progress import tell
from llenergymeasure.results import ExperimentResult, taken

if TYPE_CHECKING:
    from llenergymeasure.engine import EnginePlugin
    from llenergymeasure.progress import ProgressCallback
    from llenergymeasure.study import StudyConfig, StudyResult

__all__ = ["run_experiment", "run_study"]

SLICE_S = 0.1  # how long a wait may keep Ctrl-C from being heard
N_PROMPTS, DATASET = 100, "aienergyscore"
_BELOW = {
    "max_input_tokens": "task",
    "max_output_tokens": "task",
    "random_seed": "task",
    "warmup": "measurement",
    "baseline": "measurement",
    "energy_sampler": "measurement",
}


def run_experiment(
    config: str | Path | ExperimentConfig | None = None,
    *,
    model: str | None = None,
    engine: str | EnginePlugin | None = None,
    n_prompts: int = 100,
    dataset: str = "aienergyscore",
    skip_preflight: bool = False,
    progress: ProgressCallback | None = None,
    output_dir: str | Path | None = None,
    **kwargs: Any,
) -> ExperimentResult:
    """Run one experiment, in a process of its own, and wait for its result.

    Three forms: `run_experiment("config.yaml")`, `run_experiment(ExperimentConfig(...))`, and
    `run_experiment(model="gpt2", engine="cpu")`. Ctrl-C lets the experiment clean up and raises
    KeyboardInterrupt; a second one ends it at once. The GIL is free while it runs, and any number
    of threads may call this.

    Args:
        config: a YAML or JSON file, or an ExperimentConfig; None with `model`.
        model: hub id or directory of the model.
        engine: name of the engine, None for transformers; or an object with the methods of
            EnginePlugin, which then runs in this process and thread, with any of the three forms.
        n_prompts: how many prompts (with `model` only).
        dataset: where they are from (with `model` only).
        skip_preflight: do not ask the engine whether the hardware suffices.
        progress: told each step, in this thread.
        output_dir: results go to a new directory below it; None: as configured, else ./results.
        **kwargs: further settings (with `model` only): max_input_tokens, max_output_tokens and
            random_seed of `task`; warmup, baseline and energy_sampler of `measurement`; and every
            field of ExperimentConfig.

    Raises:
        ConfigError: no such file, no model, or arguments that exclude each other.
        pydantic.ValidationError: settings that cannot be.
        PreFlightError: something that the experiment needs is missing.
        EngineError: the engine failed.
        ExperimentError: it ended without a result for another reason.
    """
    if engine is not None and not isinstance(engine, str):
        from llenergymeasure.engine import run

        wanted = _experiment(config, model, None, n_prompts, dataset, kwargs)
        return run(engine, wanted, skip_preflight, progress, output_dir)
    wanted = _experiment(config, model, engine, n_prompts, dataset, kwargs)
    with c.context() as ctx:
        made = (parsed(ctx, wanted) if isinstance(wanted, ExperimentConfig)
                else load(ctx, wanted))
        try:
            return _run(ctx, made, skip_preflight, progress, output_dir)
        finally:
            c.lib().llem_config_free(made)


def _experiment(
    config: Any, model: str | None, engine: Any, n_prompts: int, dataset: str,
    kwargs: dict[str, Any],
) -> str | Path | ExperimentConfig:
    """What is to be run: a path, or a configuration."""
    if config is not None:
        if not isinstance(config, (str, os.PathLike, ExperimentConfig)):
            raise ConfigError(
                f"config is of type {type(config).__name__}",
                hint="Give the path of a YAML file or an ExperimentConfig.",
            )
        ignored = [name for name, is_given in (
            ("model", model is not None), ("engine", engine is not None),
            ("n_prompts", n_prompts != N_PROMPTS), ("dataset", dataset != DATASET),
        ) if is_given] + list(kwargs)
        if ignored:
            raise ConfigError(
                f"{', '.join(ignored)} cannot change a configuration that is given",
                hint="Put it into the configuration, or give model and no configuration.",
            )
        return config if isinstance(config, ExperimentConfig) else Path(config)
    if model is None:
        raise ConfigError(
            "there is nothing to run",
            hint='Give a configuration, or a model: run_experiment(model="gpt2", engine="cpu").',
        )
    settings: dict[str, Any] = dict(kwargs)
    for name, section in _BELOW.items():
        if name in settings:
            below = settings.setdefault(section, {})
            if not isinstance(below, dict):
                raise ConfigError(f"{name} and {section} cannot both be given")
            settings[section] = {**below, name: settings.pop(name)}
    task = settings.setdefault("task", {})
    if not isinstance(task, dict):
        raise ConfigError("model and task cannot both be given")
    settings["task"] = {
        "model": model, "dataset": {"source": dataset, "n_prompts": n_prompts}, **task}
    if engine is not None:
        settings["engine"] = engine
    return ExperimentConfig.model_validate(settings)


def run_opts(skip_preflight: bool, output_dir: str | Path | None) -> c.RunOpts:
    """llem_run_opts of the arguments."""
    opts = c.RunOpts(skip_preflight=int(skip_preflight))
    opts.size = _sizeof(opts)
    if output_dir is not None:
        opts.output_dir = c.path(output_dir)
    return opts


def _sizeof(struct: Any) -> int:
    from ctypes import sizeof

    return sizeof(struct)


def _run(
    ctx: c_void_p, config: c_void_p, skip_preflight: bool, progress: Any,
    output_dir: str | Path | None,
) -> ExperimentResult:
    """A configuration as a job, waited for in slices so that Ctrl-C is heard."""
    job, err, event = c_void_p(), c.Error(), c.Event()
    opts = run_opts(skip_preflight, output_dir)
    lib, owner = c.lib(), os.getpid()
    stopped: BaseException | None = None
    c.check(lib.llem_job_start(byref(job), ctx, config, byref(opts), byref(err)), err)
    try:
        while True:
            try:
                c.check(lib.llem_job_wait(job, SLICE_S, byref(event), byref(err)), err)
                if progress is not None and stopped is None:
                    tell(progress, event)
            except BaseException as e:  # Ctrl-C, and what a callback raises
                stopped = stopped or e
                if os.getpid() == owner:
                    lib.llem_job_cancel(job)
            if os.getpid() != owner:
                raise ExperimentError(
                    "this process was forked while its parent measures, and has no experiment",
                    hint="End it with os._exit(), or fork before run_experiment().",
                )
            if event.type == c.FINISHED:
                break
        if stopped is not None:
            raise stopped
        result = c_void_p()
        c.check(lib.llem_job_result(job, byref(result), byref(err)), err)
        return taken(result)
    finally:
        if os.getpid() == owner:  # a forked child has the memory, but not the thread
            lib.llem_job_free(job)


def run_study(
    config: str | Path | StudyConfig,
    *,
    skip_preflight: bool = False,
    progress: ProgressCallback | None = None,
    resume_dir: Path | None = None,
    resume: bool = False,
    output_dir: Path | None = None,
    skip_set: set[tuple[str, int]] | None = None,
    no_lock: bool = False,
    config_path: Path | None = None,
    cli_overrides: dict[str, Any] | None = None,
) -> StudyResult:
    """Run the experiments of a study: declared, and not in this version.

    Raises:
        StudyError: always.
    """
    raise StudyError(
        "studies of several experiments cannot be run yet",
        hint="Call run_experiment() for each ExperimentConfig.",
    )
