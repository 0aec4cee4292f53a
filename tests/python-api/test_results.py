# SPDX-License-Identifier: MIT
"""Results: typed, whole, unchanging, and as tables."""

from __future__ import annotations

import datetime
import json
import math
import pathlib
import subprocess
import sys
import xml.dom.minidom
from typing import Any

import pytest
from conftest import MODEL
from llenergymeasure import ExperimentError, ExperimentResult, results, run_experiment
from pydantic import ValidationError


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    return run_experiment(
        model=MODEL, engine="cpu", dataset="builtin", n_prompts=3, max_output_tokens=8,
        measurement={"quick": True, "energy_sampler": "estimate", "baseline": {"enabled": False},
                     "warmup": {"enabled": False}},
        output_dir=tmp_path_factory.mktemp("results"))


def plain(result: ExperimentResult) -> Any:
    return json.loads(result.model_dump_json())


def same(mine: Any, theirs: Any) -> bool:
    """Equal but for how a time is written."""
    if isinstance(theirs, dict):
        return set(mine) == set(theirs) and all(same(mine[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    if mine != theirs and isinstance(theirs, str):
        return datetime.datetime.fromisoformat(mine) == datetime.datetime.fromisoformat(theirs)
    return bool(mine == theirs)


def test_every_field_of_result_json_is_there(result: ExperimentResult) -> None:
    assert result.directory is not None
    assert same(plain(result), json.loads((result.directory / "result.json").read_text()))
    # And nothing that the classes do not know.
    for part in [result, *(v for _, v in result if isinstance(v, results.EnergyBreakdown))]:
        assert not part.model_extra


def test_what_was_not_measured_is_none_with_a_reason(result: ExperimentResult) -> None:
    assert result.total_energy_j is None
    assert result.quantity("total_energy_j").reason == "estimated_only"
    assert result.tokens_per_joule is None
    assert result.energy_estimated_j is not None and result.energy_estimated_j.value is not None
    tokens = result.quantity("total_tokens")
    assert (tokens.value, tokens.unit, tokens.quality) == (result.total_tokens, "tok", "measured")
    with pytest.raises(KeyError):
        result.quantity("nothing")


def test_times_are_times(result: ExperimentResult) -> None:
    assert result.start_time is not None and result.start_time.tzinfo is not None
    assert result.duration_sec == pytest.approx(result.total_inference_time_sec, abs=1e-3)


def test_results_do_not_change(result: ExperimentResult) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        result.total_tokens = 3  # type: ignore[misc]
    assert result == ExperimentResult.load(str(result.directory))
    assert result.directory is not None
    assert result == ExperimentResult.load(result.directory / "result.json")
    assert result == ExperimentResult.load(result.directory.parent)
    again = ExperimentResult.model_validate_json(result.model_dump_json())
    assert plain(again) == plain(result)


def test_metrics_are_flat_finite_numbers(result: ExperimentResult) -> None:
    metrics = result.metrics()
    assert metrics["total_tokens"] == result.total_tokens
    assert metrics["latency_stats.ttft_samples"] == 3.0
    assert "total_energy_j" not in metrics and "quick" not in metrics
    assert all(type(v) is float and math.isfinite(v) for v in metrics.values())
    assert not any(k.startswith(("process_results", "quantities")) for k in metrics)


def test_tables_are_whole(result: ExperimentResult) -> None:
    series = result.to_pandas()
    assert list(series["timestamp_s"]) == sorted(series["timestamp_s"])
    requests = result.to_pandas("requests")
    measured = requests[requests["pass"] == 0]
    assert len(measured) == result.tokens.requests
    assert measured["output_tokens"].sum() == result.tokens.output
    assert result.to_polars("requests").height == len(requests)
    assert result.to_polars().columns == list(series.columns)
    with pytest.raises(ValueError, match="'timeseries' and 'requests'"):
        result.to_arrow("tables")  # type: ignore[arg-type]


def test_a_missing_table_says_why(result: ExperimentResult) -> None:
    with pytest.raises(ExperimentError, match="no timeseries.parquet"):
        ExperimentResult.model_validate_json(result.model_dump_json()).to_arrow()
    with pytest.raises(ExperimentError, match="nowhere"):
        ExperimentResult.load("nowhere")


def test_html_is_well_formed_and_small(result: ExperimentResult) -> None:
    text = result._repr_html_()
    xml.dom.minidom.parseString(text)
    assert "sample-model" in text and "estimated" in text
    assert "<svg" in results._svg({"gpu:0": [(-1.0, 3.0), (0.0, 9.0), (2.0, 5.0)]}, 2.0)
    assert results._svg({}, 1.0) == ""
    many = results._svg({"<&>": [(i / 1000, i % 7) for i in range(100_000)]}, 50.0)
    xml.dom.minidom.parseString(many)
    assert len(many) < 20_000


def test_without_pyarrow_only_tables_are_missing(result: ExperimentResult) -> None:
    run = subprocess.run(
        [sys.executable, "-c",
         "import sys; sys.modules['pyarrow'] = None\n"
         "from llenergymeasure import ExperimentResult\n"
         f"r = ExperimentResult.load({str(result.directory)!r})\n"
         "assert r.metrics() and '<table>' in r._repr_html_()\n"
         "try: r.to_pandas()\n"
         "except ImportError as e: print(e)\n"],
        capture_output=True, text=True, check=False)
    assert "pip install llem[tables]" in run.stdout, run.stderr


def test_a_hostile_result_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "result.json").write_text('{"schema_version": 3}')
    with pytest.raises((ExperimentError, ValidationError)):
        ExperimentResult.load(tmp_path)
