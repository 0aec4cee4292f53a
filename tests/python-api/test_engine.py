# SPDX-License-Identifier: MIT
"""Engines as objects, measured in this process."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import llenergymeasure
import pytest
from conftest import llem
from llenergymeasure import EnginePlugin, ExperimentConfig, InferenceOutput, run_experiment
from pydantic import ValidationError

FAST: dict[str, Any] = {
    "measurement": {"quick": True, "energy_sampler": None, "baseline": {"enabled": False},
                    "warmup": {"enabled": False}},
    "dataset": "builtin", "n_prompts": 3,
}


class Sleeper:
    name = "sleeper"
    version = "1.2"

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.fail_in = ""

    def called(self, what: str, *more: Any) -> None:
        self.calls.append(what)
        self.thread = threading.get_ident()
        if what == self.fail_in:
            raise ZeroDivisionError(f"in {what}")

    def load_model(
        self, config: ExperimentConfig, on_substep: Callable[[str, float], None] | None = None
    ) -> Any:
        assert config.task.max_output_tokens == 5
        if on_substep is not None:
            on_substep("half", 0.5)
        self.called("load_model")
        return "the model"

    def run_warmup_prompt(self, config: ExperimentConfig, model: Any, prompt: str) -> float:
        self.called("run_warmup_prompt")
        return 0.0

    def run_inference(
        self, config: ExperimentConfig, model: Any, prompts: list[str]
    ) -> InferenceOutput:
        assert model == "the model" and len(prompts) == 3 and all(prompts)
        time.sleep(0.05)
        self.called("run_inference")
        return InferenceOutput(0.05, 12, 15, 2.0, 0.0)

    def cleanup(self, model: Any) -> None:
        self.called("cleanup")

    def check_hardware(self, config: ExperimentConfig) -> list[str]:
        self.called("check_hardware")
        return []

    def capture_observed_params(
        self, config: ExperimentConfig, model: Any, output: InferenceOutput
    ) -> dict[str, Any]:
        assert output.total_tokens == 27
        return {"engine": {"beds": 2}, "sampling": {}, "library_version": "1.2"}


def run(engine: EnginePlugin, **more: Any) -> llenergymeasure.ExperimentResult:
    return run_experiment(model="x", engine=engine, max_output_tokens=5, **{**FAST, **more})


def test_an_object_is_measured_whole() -> None:
    engine = Sleeper()
    assert isinstance(engine, EnginePlugin)
    steps: list[Any] = []

    class Told:
        def on_substep(self, step: str, text: str, elapsed_sec: float = 0.0) -> None:
            steps.append((step, text, elapsed_sec))

    result = run(engine, progress=Told())
    assert (result.engine, result.engine_version) == ("sleeper", "1.2")
    assert (result.tokens.input, result.tokens.output) == (12, 15)
    assert result.total_inference_time_sec is not None
    assert 0.05 <= result.total_inference_time_sec < 5
    assert result.extended_metrics.memory.peak_memory_mb == 2.0
    assert engine.calls[0] == "check_hardware" and engine.calls[-1] == "cleanup"
    assert engine.thread == threading.get_ident()
    assert ("model", "half", 0.5) in steps
    assert result.directory is not None
    config = json.loads((result.directory / "config.json").read_text())
    assert config["observed_engine_params"] == {"beds": 2}
    assert config["engine"] in ("sleeper", "python:test_engine:Sleeper")
    assert llem("verify", str(result.directory)).returncode == 0


def test_all_forms_take_an_object(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.json"
    config = ExperimentConfig.model_validate({
        "task": {"model": "x", "max_output_tokens": 5,
                 "dataset": {"source": "builtin", "n_prompts": 3}},
        "measurement": FAST["measurement"]})
    path.write_text(config.model_dump_json(exclude_unset=True))
    hashes = {r.measurement_config_hash for r in (
        run_experiment(path, engine=Sleeper()), run_experiment(config, engine=Sleeper()),
        run(Sleeper()))}
    assert len(hashes) == 1
    with pytest.raises(ValidationError):
        run(Sleeper(), random_seed="many")


@pytest.mark.parametrize("place", ["load_model", "run_inference"])
def test_an_exception_is_the_cause_of_the_engine_error(place: str) -> None:
    engine = Sleeper()
    engine.fail_in = place
    with pytest.raises(llenergymeasure.EngineError) as caught:
        run(engine)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert f"ZeroDivisionError: in {place}" in str(caught.value)
    assert engine.calls[-1] == "cleanup"
    status = json.loads(next(pathlib.Path("results").glob("*/*/status.json")).read_text())
    assert status["state"] == "failed"


def test_an_exception_where_none_may_be_ends_the_experiment_too() -> None:
    engine = Sleeper()
    engine.fail_in = "check_hardware"
    with pytest.raises(ZeroDivisionError):
        run(engine)


def test_hardware_that_does_not_suffice_is_told_before_the_load() -> None:
    class Small(Sleeper):
        def check_hardware(self, config: ExperimentConfig) -> list[str]:
            return ["one", "two"]

    with pytest.raises(llenergymeasure.PreFlightError, match="one\ntwo"):
        run(Small())
    assert run(Small(), skip_preflight=True).tokens.total == 27


def test_what_an_object_leaves_out_is_null() -> None:
    class Least:
        def load_model(self, config: ExperimentConfig) -> None:
            return None

        def run_inference(self, config: Any, model: Any, prompts: list[str]) -> dict[str, Any]:
            return {"output_tokens": 3}

    result = run(Least())  # type: ignore[arg-type]
    assert (result.engine, result.tokens.output, result.tokens.input) == ("Least", 3, None)
    assert result.quantity("tokens.input").reason == "engine_does_not_report"


SCRIPT = """
import time
from test_engine import Sleeper, run
class Slow(Sleeper):
    def %s(self, *a, **k):
        print("here", flush=True)
        time.sleep(60)
try:
    run(Slow())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("method", ["run_inference", "load_model"])
def test_ctrl_c_is_heard_in_the_object(method: str) -> None:
    here = str(pathlib.Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT % method], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], here])})
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "interrupted\n"
    status = json.loads(next(pathlib.Path("results").glob("*/*/status.json")).read_text())
    assert status["state"] == "interrupted"
