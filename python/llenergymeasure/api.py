# SPDX-License-Identifier: MIT
"""run_experiment and run_study."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_void_p, sizeof
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llenergymeasure import _binding as c
from llenergymeasure.config import ExperimentConfig, load, parsed
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.progress import StudyEvents, tell
from llenergymeasure.results import ExperimentResult, taken

if TYPE_CHECKING:
    from llenergymeasure.engine import EnginePlugin
    from llenergymeasure.progress import ProgressCallback
    from llenergymeasure.study import StudyConfig, StudyResult

__all__ = ["run_experiment", "run_study"]

SLICE_S = 0.1  # how long a wait may keep Ctrl-C from being heard
N_PROMPTS, DATASET = 100, "aienergyscore"
# Names of arguments, and where they belong.
_BELOW = {
    "max_input_tokens": "task",
    "max_output_tokens": "task",
    "random_seed": "task",
    "warmup": "measurement",
    "baseline": "measurement",
    "energy_sampler": "measurement",
}
_OPTIONS = {
    "model": "task.model", "dataset": "task.dataset.source", "n_prompts": "task.dataset.n_prompts",
    **{name: f"{section}.{name}" for name, section in _BELOW.items()},
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


def _run(
    ctx: c_void_p, config: c_void_p, skip_preflight: bool, progress: Any,
    output_dir: str | Path | None,
) -> ExperimentResult:
    """A configuration as a job, to its result."""
    opts = c.RunOpts(size=sizeof(c.RunOpts), skip_preflight=int(skip_preflight))
    if output_dir is not None:
        opts.output_dir = c.path(output_dir)
    lib, job, err = c.lib(), c_void_p(), c.Error()
    c.check(lib.llem_job_start(byref(job), ctx, config, byref(opts), byref(err)), err)
    with _owned(job):
        stopped = _follow(job, None if progress is None else partial(tell, progress))
        if stopped is not None:
            raise stopped
        result = c_void_p()
        c.check(lib.llem_job_result(job, byref(result), byref(err)), err)
        return taken(result)


@contextmanager
def _owned(job: c_void_p) -> Iterator[None]:
    """A job that is freed, except in a forked child, which has its memory but not its thread."""
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            c.lib().llem_job_free(job)


def _follow(job: c_void_p, hear: Callable[[c.Event], None] | None) -> BaseException | None:
    """A job to its end, in slices so that Ctrl-C is heard.

    Returns:
        What ended it: a KeyboardInterrupt, or an exception of `hear`.
    """
    event, err = c.Event(), c.Error()
    lib, owner = c.lib(), os.getpid()
    stopped: BaseException | None = None
    while True:
        try:
            c.check(lib.llem_job_wait(job, SLICE_S, byref(event), byref(err)), err)
            if hear is not None and stopped is None:
                hear(event)
        except BaseException as e:  # Ctrl-C, and what a callback raises
            stopped = stopped or e
            if os.getpid() == owner:
                lib.llem_job_cancel(job)
        if os.getpid() != owner:
            raise ExperimentError(
                "this process was forked while its parent measures, and has no experiment",
                hint="End it with os._exit(), or fork before the call.",
            )
        if event.type == c.FINISHED:
            return stopped


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
    """Run the experiments of a study, each in a process of its own, and wait for the end.

    What failed is told in the result, and the study goes on. Where nothing is said, each experiment
    runs once, in the order declared. Ctrl-C lets the running experiment clean up and raises
    KeyboardInterrupt after study_result.json is written; a second one ends it at once. The GIL is
    free while it runs, and any number of threads may call this.

    Args:
        config: a YAML or JSON file, of one experiment too, or a StudyConfig.
        skip_preflight: start without the checks of devices and packages.
        progress: told each step, in this thread; one with the methods of StudyProgressCallback is
            told experiments and pauses as well.
        resume_dir: go on with the study in this directory; `resume` and `output_dir` do not count
            then.
        resume: go on with the newest unfinished study of `output_dir`.
        output_dir: the study's directory is made below it; None: as configured, else ./results.
        skip_set: runs to leave out, (measurement_config_hash, cycle) each.
        no_lock: do not lock the boards.
        config_path: of a StudyConfig: the file that it was made of. It is copied into the study's
            directory, and paths in the settings are relative to it.
        cli_overrides: settings above the file, by their dotted paths or the names of
            run_experiment(). Each experiment has them, and records them as given by the user.

    Raises:
        ConfigError: no such file, none of its experiments is valid, or arguments that exclude each
            other.
        pydantic.ValidationError: settings that cannot be.
        PreFlightError: engines that cannot share one environment of packages.
        StudyError: nothing to resume, another design than what is resumed, a study that another
            process runs, or a board that is taken.
    """
    from llenergymeasure import study

    settings = study.overrides(cli_overrides or {}, _OPTIONS)
    if isinstance(config, (str, os.PathLike)):
        if config_path is not None:
            raise ConfigError(
                "config_path says which file a StudyConfig was made of, and config is a file",
                hint="Leave config_path out.")
    elif not isinstance(config, study.StudyConfig):
        raise ConfigError(
            f"config is of type {type(config).__name__}",
            hint="Give the path of a YAML file or a StudyConfig.")
    if config_path is not None and not os.path.isfile(config_path):
        raise ConfigError(f"config_path is {os.fspath(config_path)!r}, where there is no file")
    keys = study.skipped(skip_set)
    opts = c.RunOpts(
        size=sizeof(c.RunOpts), skip_preflight=int(skip_preflight), resume=int(resume),
        no_lock=int(no_lock), skip=keys, n_skip=len(keys))
    if output_dir is not None:
        opts.output_dir = c.path(output_dir)
    if resume_dir is not None:
        opts.resume_dir = c.path(resume_dir)
    lib, job, err = c.lib(), c_void_p(), c.Error()
    with c.context() as ctx, study.plan_of(ctx, config, config_path, settings) as plan:
        hear = None if progress is None else StudyEvents(progress, study.told(plan)).tell
        c.check(lib.llem_study_start(byref(job), ctx, plan, byref(opts), byref(err)), err)
        with _owned(job):
            stopped = _follow(job, hear)
            place = os.fsdecode(lib.llem_job_study_dir(job))
    result = study.StudyResult.load(place)
    if stopped is not None:
        if hasattr(stopped, "add_note"):
            stopped.add_note(f"{result!r}: run_study(..., resume_dir=...) goes on with it.")
        raise stopped
    if isinstance(config, study.StudyConfig) and not result.skipped_experiments:
        result = result.model_copy(update={"skipped_experiments": config.skipped_configs})
    return result
