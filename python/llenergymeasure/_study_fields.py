# SPDX-License-Identifier: MIT
"""The fields of a study's result, one class an object.

Written by tools/make_python_models.py: change what it reads, not this file.
"""

from __future__ import annotations

from typing import Any, Literal

from llenergymeasure._section import Fields

__all__ = [
    "StudyConfiguration",
    "StudyFields",
    "StudyFlag",
    "StudyProducer",
    "StudyQuantity",
    "StudyRatio",
    "StudyRatios",
    "StudyStatistic",
    "StudyStatistics",
    "StudySummary",
    "StudyTrend",
]


class StudySummary(Fields):
    """counts and sums over the runs"""

    total_experiments: int
    """runs: experiments times cycles"""
    completed: int
    failed: int
    """out of time too"""
    pending: int
    """not run yet, or begun and not ended"""
    skipped: int
    interrupted: int
    total_wall_time_s: float | None = None
    """s; from the first begin to the last end, pauses and breaks included"""
    total_run_time_s: float | None = None
    """s; the runs alone"""
    total_energy_j: float | None = None
    """J; of the runs_with_energy, measured ones alone"""
    runs_with_energy: int
    unique_configurations: int
    warnings: list[str]
    """what failed and why, and how many energies were not measured"""
    missing: list[str]
    """what did not complete, a sentence for each state"""


class StudyProducer(Fields):
    """who wrote the file"""

    program: Any
    version: str
    commit: str


class StudyFlag(Fields):
    """what a comparison has to mind"""

    reason: Literal[
        "output_lengths_differ",
        "prompts_differ",
        "energy_qualities_differ",
        "energy_sources_differ",
        "devices_differ",
    ]
    text: str


class StudyTrend(Fields):
    """a straight line over the running order"""

    slope_per_run: float | None = None
    ci95: list[float] | None = None
    p: float | None = None
    reason: str | None = None


class StudyStatistic(Fields):
    """a figure over the completed runs"""

    n: int
    left_out: int
    left_out_reason: str | None = None
    quality: Literal["measured", "derived", "estimated", "mixed", "unknown", "none"]
    mean: float | None = None
    sd: float | None = None
    ci95: list[float] | None = None
    """Student's 95 % interval of the mean"""
    cv: float | None = None
    """sd / mean"""
    u_stat: float | None = None
    """what the runs say of themselves: standard uncertainty, statistical"""
    u_sys: float | None = None
    """standard uncertainty, systematic"""
    trend: StudyTrend
    """a straight line over the running order"""
    reason: str | None = None
    """why there is no mean, or no interval"""


class StudyStatistics(Fields):
    """over the cycles"""

    total_energy_j: StudyStatistic
    energy_adjusted_j: StudyStatistic
    avg_energy_per_token_j: StudyStatistic
    energy_per_output_token_j: StudyStatistic
    mean_power_w: StudyStatistic
    baseline_power_w: StudyStatistic
    total_inference_time_sec: StudyStatistic
    avg_tokens_per_second: StudyStatistic
    output_tokens_per_s: StudyStatistic
    ttft_mean_ms: StudyStatistic
    itl_mean_ms: StudyStatistic
    tpot_ms: StudyStatistic
    e2e_latency_mean_ms: StudyStatistic
    input_tokens: StudyStatistic
    output_tokens: StudyStatistic
    peak_memory_mb: StudyStatistic
    energy_estimated_j: StudyStatistic


class StudyRatio(Fields):
    """a figure relative to the reference's; above 1: more"""

    value: float | None = None
    ci95: list[float] | None = None
    """95 % interval"""
    n: int
    """pairs"""
    reason: str | None = None
    """why value or interval is null"""


class StudyRatios(Fields):
    """to the reference, paired by cycle; null for the reference itself"""

    total_energy_j: StudyRatio
    energy_adjusted_j: StudyRatio
    avg_energy_per_token_j: StudyRatio
    energy_per_output_token_j: StudyRatio
    mean_power_w: StudyRatio
    total_inference_time_sec: StudyRatio
    avg_tokens_per_second: StudyRatio
    output_tokens_per_s: StudyRatio
    ttft_mean_ms: StudyRatio
    itl_mean_ms: StudyRatio
    tpot_ms: StudyRatio
    e2e_latency_mean_ms: StudyRatio


class StudyConfiguration(Fields):
    """an experiment in all its cycles"""

    number: int
    engine: str | None = None
    model: str | None = None
    differs_by: str | None = None
    settings: dict[str, Any] | None = None
    measurement_config_hash: str | None = None
    resolved_config_hash: str | None = None
    merged: list[int]
    """numbers of the experiments that it stands for"""
    planned: int
    completed: int
    energy_quality: Literal["measured", "mixed", "estimated", "none", "unknown"]
    energy_source: str | None = None
    flags: list[StudyFlag]
    """what a comparison has to mind"""
    statistics: StudyStatistics
    """over the cycles"""
    ratios: StudyRatios | None = None
    """to the reference, paired by cycle; null for the reference itself"""


class StudyQuantity(Fields):
    """a figure with its unit and uncertainty, or the reason why there is none"""

    value: float | None = None
    unit: Any
    source: str | None = None
    quality: Literal["measured", "derived", "estimated", "mixed", "unknown", "none"]
    u_stat: float | None = None
    u_sys: float | None = None
    ci95: list[float] | None = None
    reason: str | None = None
    u_sys_reason: str | None = None


class StudyFields(Fields):
    """The fields of study_result.json"""

    schema_version: Any
    kind: Any
    study_name: str | None = None
    study_design_hash: str | None = None
    measurement_protocol: dict[str, Any]
    """how it was run"""
    result_files: list[str]
    summary: StudySummary
    """counts and sums over the runs"""
    skipped_experiments: list[dict[str, Any]]
    """what was declared and is invalid"""
    producer: StudyProducer
    """who wrote the file"""
    original: bool
    """the Python original made the study"""
    axes: list[str]
    """dotted paths of the settings that differ"""
    reference: int | None = None
    """number of the configuration that the others are compared with"""
    configurations: list[StudyConfiguration]
    """one an experiment that runs"""
    runs: list[dict[str, Any]]
    """one a run, in running order: its state, settings and figures"""
    quantities: dict[str, StudyQuantity]
