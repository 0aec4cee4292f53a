# SPDX-License-Identifier: MIT
"""Studies: many experiments in one configuration, and what they measured together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_size_t, c_void_p
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    computed_field,
    model_validator,
)

from llenergymeasure import _binding as c
from llenergymeasure import _section, _study_fields
from llenergymeasure._study_fields import *  # noqa: F403
from llenergymeasure._study_fields import StudyFields
from llenergymeasure.config import ExperimentConfig, OutputConfig, experiment_of, given_of, refused
from llenergymeasure.exceptions import ConfigError, LLEMError, StudyError
from llenergymeasure.results import ExperimentResult

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = [*(n for n in _study_fields.__all__ if n != "StudyFields"), "ExecutionConfig",
           "StudyConfig", "StudyResult"]

_KEYS = frozenset(ExperimentConfig.model_fields) | {
    "study_execution", "runners", "images", "sweep", "experiments", "base"}


class ExecutionConfig(_section.Section):
    """How often and in which order the experiments of a study run, with which pauses and limits."""

    llem_path = "study_execution"

    n_cycles: int = 1
    """how often each experiment runs"""
    experiment_order: Literal[
        "sequential", "interleave", "shuffle", "reverse", "latin_square"] = "sequential"
    """order of the experiments within and over cycles"""
    experiment_gap_seconds: float | None = None
    """pause between experiments (s); None = the user's configuration"""
    cycle_gap_seconds: float | None = None
    """pause between cycles (s); None = the user's configuration"""
    shuffle_seed: int | None = None
    """seed of the order shuffle; None = from the hash of the study"""
    skip_preflight: bool = False
    """start without the checks of devices and packages"""
    max_consecutive_failures: int = 10
    """failures in a row after which the study pauses; 0 = never"""
    circuit_breaker_cooldown_seconds: float = 60.0
    """pause before one more try decides whether the study goes on (s)"""
    wall_clock_timeout_hours: float | None = None
    """longest time of the whole study (h); None = no limit"""
    experiment_timeout_seconds: float = 600.0
    """longest time of one experiment (s)"""
    load_timeout_seconds: float = 1800.0
    """longest time of fetching and loading a model (s); 0 = no limit"""
    stdout_silence_timeout_seconds: float = 300.0
    """longest silence of an experiment (s); 0 = no limit"""
    deduplicate_equivalent: bool = True
    """run experiments once that differ only in what has no effect"""

    @classmethod
    def _complete(cls, data: Any) -> _section.Complete:
        bad: list[_section.Problem] = []
        values = _section.plain(data, bad) if isinstance(data, Mapping) else None
        if values is None or bad:
            return super()._complete(data)  # which says so
        whole = {"task": {"model": "-"}, "study_execution": values}
        with c.context() as ctx:
            plan = _plan(ctx, cls.__name__, json.dumps(whole), below="study_execution",
                         data=values)
            try:
                section = _section.marked(told(plan)["execution"], values)
            finally:
                c.lib().llem_plan_free(plan)
        assert isinstance(section, _section.Complete)
        return section


class StudyConfig(BaseModel):
    """The experiments of a study, and how they are run.

    `StudyConfig(experiments=[...], study_execution={"n_cycles": 3})` of objects, or
    `StudyConfig.from_file(...)`. Only C validates: what a study file cannot say is refused. The
    fields after `images` come of the others and are filled in, `dedup_mode` apart.

    Raises:
        pydantic.ValidationError: every setting that cannot be, with its place and why.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), defer_build=True)

    experiments: list[ExperimentConfig]
    """what runs, each one in every cycle; of a file: without what is invalid or merged"""
    study_name: str | None = None
    """begins the name of the study's directory"""
    output: OutputConfig = Field(default_factory=OutputConfig)
    """where results go"""
    study_execution: ExecutionConfig = Field(default_factory=ExecutionConfig)
    """how often and in which order"""
    runners: dict[str, str] | None = None
    """how each engine is started, by its name"""
    images: dict[str, str] | None = None
    """container image of each engine, by its name"""
    study_design_hash: str | None = None
    """16 hex digits that studies of the same experiments share"""
    skipped_configs: list[dict[str, Any]] = Field(default_factory=list)
    """what was declared and is invalid: number, engine, short_label, raw_config, reason, errors"""
    dedup_mode: Literal["resolved", "off"] = "resolved"
    """off, here or in study_execution.deduplicate_equivalent: what is equivalent runs, too"""
    pre_run_equivalence_groups: list[dict[str, Any]] = Field(default_factory=list)
    """which experiments do the same: `groups` of equivalence_groups.json"""
    declared_resolved_config_hashes: list[str] = Field(default_factory=list)
    """of every valid experiment as declared, before equivalent ones were merged"""

    _file: str | None = PrivateAttr(default=None)
    # The document when it was loaded from _file, and what the file said.
    _loaded: tuple[str, dict[str, Any]] | None = PrivateAttr(default=None)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> StudyConfig:
        """The study that a YAML or JSON file describes, expanded.

        Raises:
            ConfigError: the file cannot be read, has keys at its top that llem does not know, or
                none of its experiments is valid.
            pydantic.ValidationError: its settings cannot be.
        """
        with c.context() as ctx:
            plan = _plan(ctx, path)
            try:
                known = told(plan)
                merges = known["execution"]["deduplicate_equivalent"]
                trees = [_tree(plan, e["number"])
                         for e in known["experiments"] if e["same_as"] is None or not merges]
                derived = _derived(plan, known)
            finally:
                c.lib().llem_plan_free(plan)
        output = _section.marked(trees[0][0]["output"], trees[0][1].get("output"))
        for _, given in trees:  # these are the study's
            given.pop("output", None)
            given.pop("study_name", None)
        asked = ExecutionConfig.model_validate({})
        changed = {k: v for k, v in known["execution"].items() if v != getattr(asked, k)}
        study = cls.model_construct(
            experiments=[experiment_of(tree, given, path) for tree, given in trees],
            study_name=known["study_name"],
            output=OutputConfig.model_validate(output),
            study_execution=ExecutionConfig.model_validate(
                _section.marked(known["execution"], changed)),
            runners=known["runners"],
            images=known["images"],
            **derived,
        )
        study._file = os.path.abspath(path)
        study._loaded = study._document(), _gist(known)
        return study

    @model_validator(mode="after")
    def _ask_c(self) -> StudyConfig:
        with c.context() as ctx:
            plan = self._planned(ctx, None, [])
            try:
                derived = _derived(plan, told(plan))
            finally:
                c.lib().llem_plan_free(plan)
        if self.skipped_configs:  # of where the experiments are from
            del derived["skipped_configs"]
        for name, value in derived.items():
            setattr(self, name, value)
        return self

    def _document(self) -> str:
        """The study as a file would say it: what all experiments share, and what each has."""
        bad: list[_section.Problem] = []
        trees = [_section.plain(e, bad, ("experiments", i))
                 for i, e in enumerate(self.experiments)]
        execution = _section.plain(self.study_execution, bad, ("study_execution",))
        if self.dedup_mode == "off":
            execution["deduplicate_equivalent"] = False
        shared: dict[str, Any] = trees[0] if trees else {}
        for tree in trees[1:]:
            shared = _shared(shared, tree)
        own: dict[str, Any] = {
            "study_name": self.study_name,
            "output": _section.plain(self.output, bad, ("output",)),
            "runners": self.runners,
            "images": self.images,
            "study_execution": execution,
        }
        if bad:
            raise _section.invalid(type(self).__name__, bad)
        document = {**shared, **{k: v for k, v in own.items() if v},
                    "experiments": [_without(tree, shared) for tree in trees]}
        return json.dumps(document, ensure_ascii=False, allow_nan=False)

    def _planned(
        self, ctx: c_void_p, config_path: str | os.PathLike[str] | None,
        settings: list[c.Setting],
    ) -> c_void_p:
        """As a plan of the library, to llem_plan_free()."""
        if not self.experiments:
            raise ConfigError("the study has no experiments", hint="Give at least one.")
        document = self._document()
        if self._file and config_path is None and self._is_as_loaded(ctx, document):
            # The file says more than this object does: what is invalid or merged, and where.
            return _plan(ctx, self._file, settings=settings)
        name = os.fspath(config_path or self._file or self._common_file())
        return _plan(ctx, name, document, settings=settings)

    def _is_as_loaded(self, ctx: c_void_p, document: str) -> bool:
        """Whether neither this object nor its file has changed since."""
        if self._file is None or self._loaded is None or document != self._loaded[0]:
            return False
        try:
            plan = _plan(ctx, self._file)
        except (LLEMError, ValidationError):
            return False
        try:
            return _gist(told(plan)) == self._loaded[1]
        finally:
            c.lib().llem_plan_free(plan)

    def _common_file(self) -> str:
        """The file that paths of all experiments are relative to, or a name for none."""
        files = {os.path.dirname(e._file or os.path.abspath("x")): e._file
                 for e in self.experiments}
        if len(files) > 1:
            for e in self.experiments:
                home = os.path.dirname(e._file or os.path.abspath("x"))
                for value in (e.task.model, e.task.dataset.source):
                    if not os.path.isabs(value) and os.path.exists(os.path.join(home, value)):
                        raise ConfigError(
                            f"the path {value} is relative to {home}, where not all experiments "
                            "of the study come from",
                            hint="Give absolute paths, or experiments of one directory.")
        return next(iter(files.values())) or type(self).__name__


def _shared(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """What two trees have in common."""
    out: dict[str, Any] = {}
    for key in a.keys() & b.keys():
        if isinstance(a[key], dict) and isinstance(b[key], dict):
            below = _shared(a[key], b[key])
            if below or a[key] == b[key]:
                out[key] = below
        elif type(a[key]) is type(b[key]) and a[key] == b[key]:
            out[key] = a[key]
    return {key: out[key] for key in a if key in out}


def _without(tree: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """What of a tree others do not share."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in shared:
            out[key] = value
        elif isinstance(value, dict) and value != shared[key]:
            out[key] = _without(value, shared[key])
    return out


# ---- plans --------------------------------------------------------------------------------------


def _plan(
    ctx: c_void_p, path: str | os.PathLike[str], text: str | None = None, *,
    settings: list[c.Setting] | None = None, below: str = "", data: Any = None,
) -> c_void_p:
    """A plan of the library of a file, or of a text in its place, to llem_plan_free().

    Args:
        below, data: the section that the text is about, and its values.
    """
    plan, err = c_void_p(), c.Error()
    n = len(settings or [])
    array = (c.Setting * n)(*(settings or []))
    if text is None:
        code = c.lib().llem_plan_study(byref(plan), ctx, c.path(path), array, n, byref(err))
    else:
        raw = text.encode("utf-8", "surrogatepass")
        code = c.lib().llem_plan_from_json(
            byref(plan), ctx, raw, len(raw), c.path(path), array, n, byref(err))
    if code == 0:
        return plan
    err.code = code
    if text is None:
        raise refused(ctx, err, "StudyConfig", _KEYS)
    error: ValidationError | None = _section.found(
        ctx, below and "ExecutionConfig" or "StudyConfig", below, data)
    raise error or c.failure(err)


@contextmanager
def plan_of(
    ctx: c_void_p, config: Any, config_path: str | os.PathLike[str] | None,
    settings: list[c.Setting],
) -> Iterator[c_void_p]:
    """A plan of the library of a file or a StudyConfig, with settings above it."""
    plan = (config._planned(ctx, config_path, settings) if isinstance(config, StudyConfig)
            else _plan(ctx, config, settings=settings))
    try:
        yield plan
    finally:
        c.lib().llem_plan_free(plan)


def told(plan: c_void_p) -> dict[str, Any]:
    """A plan as JSON has it (docs/formats.md, "plan.json")."""
    out: dict[str, Any] = json.loads(c.text(c.lib().llem_plan_json(plan)) or "{}")
    return out


def _tree(plan: c_void_p, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An experiment of a plan, complete, and what of it was given."""
    config, err = c_void_p(), c.Error()
    c.check(c.lib().llem_plan_experiment(byref(config), plan, number, byref(err)), err)
    try:
        tree = _section.resolved(config)
        return tree, given_of(config, tree)
    finally:
        c.lib().llem_config_free(config)


def _gist(known: dict[str, Any]) -> dict[str, Any]:
    """What makes a study another one, of all that a plan says."""
    return {key: known[key] for key in (
        "study_name", "study_design_hash", "execution", "runners", "images", "skipped")}


def _derived(plan: c_void_p, known: dict[str, Any]) -> dict[str, Any]:
    """The fields of a StudyConfig that come of the others."""
    groups = json.loads(c.text(c.lib().llem_plan_groups(plan)) or "{}")
    return {
        "study_design_hash": known["study_design_hash"],
        "skipped_configs": [
            {"number": s["number"], "engine": s["engine"], "short_label": s["differs_by"],
             "raw_config": s["settings"], "reason": s["reason"].split("\n", 1)[0],
             "errors": s["reason"].split("\n")}
            for s in known["skipped"]],
        "dedup_mode": groups["dedup_mode"],
        "pre_run_equivalence_groups": groups["groups"],
        "declared_resolved_config_hashes": [
            e["resolved_config_hash"] for e in known["experiments"]],
    }


# ---- results ------------------------------------------------------------------------------------


class StudyResult(StudyFields):
    """What a study measured, field by field as in study_result.json (docs/formats.md).

    There is one however the study ended: `summary` says what is missing. Objects do not change.
    """

    _directory: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> StudyResult:
        """The result of a study that ran, or still runs.

        Args:
            path: its directory, or its study_result.json; also what the Python original wrote.

        Raises:
            ExperimentError, StudyError: there is none, or it is damaged.
        """
        with c.context() as ctx:
            result = _load(ctx, path)
            try:
                out = cls.model_validate_json(c.lib().llem_result_json(result))
                home = Path(os.path.abspath(os.fsdecode(c.lib().llem_result_dir(result))))
            finally:
                c.lib().llem_result_free(result)
        out = out.model_copy(update={"result_files": [str(home / f) for f in out.result_files]})
        out._directory = home
        return out

    @property
    def directory(self) -> Path | None:
        """The study's directory; None of an object made by hand."""
        return self._directory

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @cached_property
    def experiments(self) -> list[ExperimentResult]:
        """The results of the runs that completed, in running order; read when first asked for."""
        return [ExperimentResult.load(path) for path in self.result_files]

    def to_arrow(self) -> pyarrow.Table:
        """A row a run, in running order: the settings that differ first, then state and figures.

        The columns are those of `llem show --format=parquet DIR`, null where there is no value.

        Raises:
            ImportError: pyarrow is not installed.
        """
        try:
            import pyarrow.parquet
        except ImportError:
            raise ImportError(
                "tables are read with pyarrow, which is not installed: pip install llem[tables]"
            ) from None
        if self._directory is None:
            raise StudyError("this result was made by hand and has no directory to read from")
        out, size, err = c_void_p(), c_size_t(), c.Error()
        with c.context() as ctx:
            result = _load(ctx, self._directory)
            try:
                c.check(c.lib().llem_study_table(
                    result, b"parquet", byref(out), byref(size), byref(err)), err)
            finally:
                c.lib().llem_result_free(result)
        return pyarrow.parquet.read_table(pyarrow.BufferReader(c.data(out, size.value)))

    def to_pandas(self) -> pandas.DataFrame:
        """As to_arrow(), for pandas.

        Raises:
            ImportError: pandas or pyarrow is not installed.
        """
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise ImportError(
                "to_pandas() needs pandas, which is not installed: pip install pandas llem[tables]"
            ) from None
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        return frame

    def __repr__(self) -> str:
        s = self.summary
        parts = [f"{s.completed} of {s.total_experiments} runs completed"]
        parts += [f"{n} {word}" for word, n in (
            ("failed", s.failed), ("interrupted", s.interrupted), ("skipped", s.skipped),
            ("pending", s.pending)) if n]
        if s.total_energy_j is not None:
            parts.append(f"{s.total_energy_j:.5g} J")
        name = f"{self.study_name!r}: " if self.study_name else ""
        return f"StudyResult({name}{', '.join(parts)}, {str(self._directory or '')!r})"

    __str__ = __repr__


def _load(ctx: c_void_p, path: str | os.PathLike[str]) -> c_void_p:
    result, err = c_void_p(), c.Error()
    c.check(c.lib().llem_study_load(byref(result), ctx, c.path(path), byref(err)), err)
    return result


# ---- settings above a study ---------------------------------------------------------------------


def overrides(given: Mapping[str, Any], names: Mapping[str, str]) -> list[c.Setting]:
    """cli_overrides as settings of the library's, which stand above the file.

    Args:
        names: of options, and the settings that they set.
    """
    bad: list[_section.Problem] = []
    out = []
    for key, value in given.items():
        plain = _section.plain(value, bad, (str(key),))
        text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
        out.append(c.Setting(
            path=names.get(key, key).encode(), value=text.encode("utf-8", "surrogatepass"),
            origin=b"cli_overrides", literal=int(isinstance(plain, str))))
    if bad:
        raise _section.invalid("cli_overrides", bad)
    return out


def skipped(pairs: Any) -> Any:
    """skip_set as an array of llem_run_key.

    Raises:
        ConfigError: it holds something else than pairs of hash and cycle.
    """
    keys = []
    for pair in pairs or ():
        try:
            hash_, cycle = pair
            keys.append(c.RunKey(config_hash=c_char_p(hash_.encode()), cycle=cycle))
        except (TypeError, ValueError, AttributeError):
            raise ConfigError(
                f"skip_set holds {pair!r}",
                hint="It holds pairs of a measurement_config_hash and a cycle, counted from 1.",
            ) from None
    return (c.RunKey * len(keys))(*keys)
