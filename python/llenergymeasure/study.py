# SPDX-License-Identifier: MIT
"""Studies: the seeds' names and signatures. Running them comes with a later version."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llenergymeasure.config import ExperimentConfig, OutputConfig
from llenergymeasure.results import ExperimentResult

__all__ = ["ExecutionConfig", "StudyConfig", "StudyResult", "StudySummary"]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), defer_build=True)


class ExecutionConfig(_Declared):
    """How often and in which order the experiments of a study run."""

    n_cycles: int = 1
    experiment_order: Literal[
        "sequential", "interleave", "shuffle", "reverse", "latin_square"
    ] = "sequential"
    experiment_gap_seconds: float | None = None
    cycle_gap_seconds: float | None = None
    shuffle_seed: int | None = None
    experiment_timeout_seconds: float = 600.0
    load_timeout_seconds: float = 1800.0
    skip_preflight: bool = False


class StudyConfig(_Declared):
    """A study: its experiments, resolved, and how they are run."""

    experiments: list[ExperimentConfig]
    study_name: str | None = None
    output: OutputConfig = Field(default_factory=OutputConfig)
    study_execution: ExecutionConfig = Field(default_factory=ExecutionConfig)
    runners: dict[str, str] | None = None
    images: dict[str, str] | None = None
    study_design_hash: str | None = None
    skipped_configs: list[dict[str, Any]] = Field(default_factory=list)
    dedup_mode: Literal["resolved", "off"] = "resolved"
    pre_run_equivalence_groups: list[dict[str, Any]] = Field(default_factory=list)
    declared_resolved_config_hashes: list[str] = Field(default_factory=list)


class StudySummary(_Declared):
    """Counts and sums over a study."""

    total_experiments: int = 0
    completed: int = 0
    failed: int = 0
    total_wall_time_s: float = 0.0
    total_energy_j: float | None = None
    unique_configurations: int | None = None
    warnings: list[str] = Field(default_factory=list)


class StudyResult(_Declared):
    """What a study measured."""

    experiments: list[ExperimentResult]
    study_name: str | None = None
    study_design_hash: str | None = None
    measurement_protocol: dict[str, Any] = Field(default_factory=dict)
    result_files: list[str] = Field(default_factory=list)
    summary: StudySummary = Field(default_factory=StudySummary)
    skipped_experiments: list[dict[str, Any]] = Field(default_factory=list)
