# SPDX-License-Identifier: MIT
"""Running: the call forms, the seeds' signatures, errors, progress, Ctrl-C, threads and forks."""

from __future__ import annotations

import inspect
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
from conftest import MODEL, llem
from llenergymeasure import ConfigError, ExperimentConfig, ExperimentResult, run_experiment
from pydantic import ValidationError

FAST: dict[str, Any] = {
    "measurement": {"quick": True, "energy_sampler": None, "baseline": {"enabled": False},
                    "warmup": {"enabled": False}},
}
TEST: dict[str, Any] = {**FAST, "engine": "test", "dataset": "builtin", "n_prompts": 2}


def config(**more: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({
        "task": {"model": MODEL, "max_output_tokens": 8,
                 "dataset": {"source": "builtin", "n_prompts": 2}},
        "engine": "cpu", **FAST, **more})


def outputs(result: ExperimentResult) -> list[Any]:
    return list(result.to_pandas("requests")["output_sha256"])


# ---- the seeds' surface -------------------------------------------------------------------------


def test_signatures_are_the_seeds() -> None:
    run = (
        "(config: 'str | Path | ExperimentConfig | None' = None, *, model: 'str | None' = None, "
        "engine: 'str | None' = None, n_prompts: 'int' = 100, dataset: 'str' = 'aienergyscore', "
        "skip_preflight: 'bool' = False, progress: 'ProgressCallback | None' = None, "
        "output_dir: 'str | Path | None' = None, **kwargs: 'Any') -> 'ExperimentResult'"
    )
    study = (
        "(config: 'str | Path | StudyConfig', *, skip_preflight: 'bool' = False, "
        "progress: 'ProgressCallback | None' = None, resume_dir: 'Path | None' = None, "
        "resume: 'bool' = False, output_dir: 'Path | None' = None, "
        "skip_set: 'set[tuple[str, int]] | None' = None, no_lock: 'bool' = False, "
        "config_path: 'Path | None' = None, cli_overrides: 'dict[str, Any] | None' = None) "
        "-> 'StudyResult'"
    )
    # An engine may be an object of the caller's, too.
    mine = str(inspect.signature(run_experiment)).replace("str | EnginePlugin |", "str |")
    assert mine == run
    assert str(inspect.signature(llenergymeasure.run_study)) == study


def test_classes_have_the_seeds_fields() -> None:
    seeds: dict[type, str] = {
        ExperimentConfig: "task engine measurement sampling_preset transformers vllm tensorrt lora "
                          "passthrough_kwargs",
        ExperimentResult:
            "schema_version experiment_id measurement_config_hash llenergymeasure_version engine "
            "engine_version model_name measurement_methodology steady_state_window total_tokens "
            "total_energy_j total_inference_time_sec avg_tokens_per_second avg_energy_per_token_j "
            "mj_per_tok_adjusted mj_per_tok_total total_flops flops_per_output_token "
            "flops_per_input_token flops_per_second baseline_power_w energy_adjusted_j "
            "energy_per_device_j energy_breakdown multi_gpu measurement_warnings "
            "warmup_excluded_samples reproducibility_notes timeseries start_time end_time "
            "process_results aggregation thermal_throttle warmup_result latency_stats "
            "extended_metrics",
        llenergymeasure.StudyConfig:
            "experiments study_name output study_execution runners images study_design_hash "
            "skipped_configs dedup_mode pre_run_equivalence_groups "
            "declared_resolved_config_hashes",
        llenergymeasure.StudyResult:
            "experiments study_name study_design_hash measurement_protocol result_files summary "
            "skipped_experiments",
    }
    for cls, names in seeds.items():
        fields = {**getattr(cls, "model_fields"),  # noqa: B009
                  **getattr(cls, "model_computed_fields")}  # noqa: B009
        assert set(names.split()) <= set(fields), cls


def test_every_exported_name_is_there() -> None:
    for name in llenergymeasure.__all__:
        assert getattr(llenergymeasure, name) is not None
        assert name in dir(llenergymeasure)
    assert llem("--version").stdout.split()[1] == llenergymeasure.__version__
    with pytest.raises(AttributeError):
        _ = llenergymeasure.nothing


# ---- the three forms ----------------------------------------------------------------------------


def test_three_forms_and_the_program_measure_the_same(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(config().model_dump_json(exclude_unset=True))
    run = llem("run", "-q", "-o", "by-program", str(path))
    assert run.returncode == 0, run.stderr
    program = ExperimentResult.load(run.stdout.strip())
    results = [
        run_experiment(path, output_dir="by-path"),
        run_experiment(str(path), output_dir=tmp_path / "by-str"),
        run_experiment(config(), output_dir="by-object"),
        run_experiment(model=MODEL, engine="cpu", n_prompts=2, dataset="builtin",
                       max_output_tokens=8, output_dir="by-words", **FAST),
    ]
    for result in results:
        assert result.measurement_config_hash == program.measurement_config_hash
        assert result.measurement_config_hash == config().measurement_config_hash
        assert result.tokens == program.tokens
        assert result.total_flops == program.total_flops
        assert outputs(result) == outputs(program)
        assert result.directory is not None
        resolved = json.loads((result.directory / "experiment.json").read_text())["config"]
        assert program.directory is not None
        assert resolved == json.loads((program.directory / "experiment.json").read_text())["config"]
        assert llem("verify", str(result.directory)).returncode == 0
    assert [str(r.directory).split("/study_")[0].rsplit("/", 1)[1] for r in results] == [
        "by-path", "by-str", "by-object", "by-words"]


def test_words_go_where_the_seeds_put_them() -> None:
    result = run_experiment(
        model="x", **{k: v for k, v in TEST.items() if k != "measurement"}, random_seed=7,
        max_input_tokens=9, max_output_tokens=3, energy_sampler=None,
        warmup={"enabled": False}, baseline={"enabled": False})
    assert result.directory is not None
    made = json.loads((result.directory / "experiment.json").read_text())["config"]
    assert made["task"]["random_seed"] == 7
    assert made["task"]["max_input_tokens"] == 9
    assert made["measurement"]["energy_sampler"] is None
    assert made["measurement"]["warmup"]["enabled"] is False
    assert result.directory.parts[-3] == "results"  # as the program: ./results


# ---- errors -------------------------------------------------------------------------------------


def test_calls_that_contradict_themselves_are_told_so() -> None:
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: run_experiment(), "nothing to run"),
        (lambda: run_experiment(3), "type int"),  # type: ignore[arg-type]
        (lambda: run_experiment(config(), model="x"), "model cannot change"),
        (lambda: run_experiment("a.yaml", random_seed=3), "random_seed cannot change"),
        (lambda: run_experiment("a.yaml", n_prompts=3), "n_prompts cannot change"),
        (lambda: run_experiment(model="x", warmup={}, measurement=3), "both be given"),
        (lambda: run_experiment("none.yaml"), "none.yaml"),
        (lambda: run_experiment("a.toml"), "ends with .yaml"),
        (lambda: run_experiment("a\0b.yaml"), "NUL"),
    ]
    for call, sentence in calls:
        with pytest.raises(ConfigError, match=sentence):
            call()


def test_bad_settings_pass_through_as_validation_errors(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("task:\n  model: x\n  random_seed: many\n")
    with pytest.raises(ValidationError) as caught:
        run_experiment(path)
    error = caught.value.errors()[0]
    assert error["loc"] == ("task", "random_seed")
    assert f"{path}:3:" in error["msg"]
    with pytest.raises(ValidationError, match="max_output_tokens"):
        run_experiment(model="x", max_output_tokens="many")
    path.write_text("task: {model: x}\nengin: cpu\nbatch: 1\n")
    with pytest.raises(ConfigError, match='engin(.|\n)*unknown key "batch"'):
        run_experiment(path)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("kind, cls", [
    ("engine", llenergymeasure.EngineError), ("config", ConfigError),
    ("hardware", llenergymeasure.PreFlightError)])
def test_failures_are_the_seeds_exceptions_with_their_hint(kind: str, cls: type) -> None:
    with pytest.raises(llenergymeasure.LLEMError) as caught:
        run_experiment(model="x", test={"fail_at": "load_model", "error_kind": kind}, **TEST)
    assert isinstance(caught.value, cls)
    assert caught.value.kind
    with pytest.raises(llenergymeasure.LLEMError) as caught:
        run_experiment(model="./nowhere", **{**TEST, "engine": "cpu"})
    assert "ORG/NAME" in caught.value.hint
    assert "hint: " in str(caught.value)


def test_a_harness_that_dies_is_an_experiment_error() -> None:
    with pytest.raises(llenergymeasure.ExperimentError) as caught:
        run_experiment(model="x", test={"crash_at": "load_model"}, **TEST)
    assert caught.value.kind == "crashed"


def test_a_missing_library_or_program_is_named() -> None:
    for name, words in (("LLEM_LIBRARY", "cannot load its library /nowhere"),
                        ("LLEM_PROGRAM", "/nowhere")):
        run = subprocess.run(
            [sys.executable, "-c",
             "import llenergymeasure as m; m.run_experiment(model='x', engine='test', "
             "dataset='builtin', n_prompts=1)"],
            env={**os.environ, name: "/nowhere"}, capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert words in run.stderr and name in run.stderr


# ---- progress -----------------------------------------------------------------------------------


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.threads: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        self.threads.add(threading.get_ident())
        return lambda *a: self.calls.append((name, a))


def test_progress_tells_the_steps_in_the_calling_thread() -> None:
    seen = Recorder()
    run_experiment(model="x", progress=seen, **TEST)
    starts = [a[0] for name, a in seen.calls if name == "on_step_start"]
    done = [a for name, a in seen.calls if name == "on_step_done"]
    assert starts == [d[0] for d in done]
    assert starts[:3] == ["preflight", "prompts", "model"] and starts[-1] == "save"
    assert all(d[1] >= 0 for d in done)
    skipped = [a[0] for name, a in seen.calls if name == "on_step_skip"]
    assert {"baseline", "warmup"} <= set(skipped)
    assert seen.threads == {threading.get_ident()}


def test_an_exception_of_a_callback_ends_the_experiment() -> None:
    class Angry:
        def on_step_start(self, step: str, description: str, detail: str = "") -> None:
            if step == "measure":
                raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        run_experiment(model="x", progress=Angry(),  # type: ignore[arg-type]
                       test={"request_s": 30.0}, **TEST)
    status = json.loads(next(pathlib.Path("results").glob("*/*/status.json")).read_text())
    assert status["state"] == "interrupted"


# ---- interrupting -------------------------------------------------------------------------------

SCRIPT = """
import sys, llenergymeasure
try:
    llenergymeasure.run_experiment(model="x", engine="test", dataset="builtin", n_prompts=1,
        test={"request_s": 60.0, **%s}, measurement={"energy_sampler": None,
        "baseline": {"enabled": False}, "warmup": {"enabled": False}})
except KeyboardInterrupt:
    print("interrupted")
"""


def wait_for(pattern: str, seconds: float = 30) -> pathlib.Path:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = list(pathlib.Path().glob(pattern))
        if found:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"no {pattern}")


@pytest.mark.parametrize("more, times", [({}, 1), ({"hang_at": "run_inference"}, 2)])
def test_ctrl_c_ends_the_experiment_and_leaves_nothing(more: Any, times: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT % more], stdout=subprocess.PIPE,
                               text=True)
    mark = json.loads(wait_for("results/*/*/claim.json").read_text())["run_mark"]
    time.sleep(1.0)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    out, _ = process.communicate(timeout=30)
    assert out == "interrupted\n"
    status = json.loads(next(pathlib.Path("results").glob("*/*/status.json")).read_text())
    assert status["state"] == "interrupted"
    left = [p for p in pathlib.Path("/proc").glob("[0-9]*/environ")
            if f"LLEM_RUN={mark}".encode() in read(p)]
    assert left == []


def read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# ---- threads and forks --------------------------------------------------------------------------


def test_threads_run_at_once_and_the_gil_is_free() -> None:
    results: list[ExperimentResult] = []
    count = 0

    def run() -> None:
        results.append(run_experiment(model="x", test={"request_s": 0.5}, **TEST))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(t.is_alive() for t in threads):
        time.sleep(0.01)
        count += 1
    assert len({r.experiment_id for r in results}) == 3
    assert count > 20  # a second of work at the very least, in steps of 10 ms


def test_a_forked_child_works_on_its_own() -> None:
    assert ExperimentConfig.model_validate({"task": {"model": "x"}})
    pid = os.fork()
    if pid == 0:
        try:
            run_experiment(model="x", output_dir="child", **TEST)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert wait_for("child/*/*/result.json")


def test_a_child_forked_while_measuring_is_told_that_it_measures_nothing() -> None:
    class Forker:
        child = -1

        def on_step_start(self, step: str, description: str, detail: str = "") -> None:
            if step == "measure":
                self.child = os.fork()

    forker, owner = Forker(), os.getpid()
    try:
        result = run_experiment(model="x", progress=forker, **TEST)  # type: ignore[arg-type]
    except llenergymeasure.ExperimentError as error:
        os._exit(0 if os.getpid() != owner and "forked" in str(error) else 1)
    except BaseException:
        os._exit(2)
    assert os.getpid() == owner
    assert os.waitpid(forker.child, 0)[1] == 0
    assert result.tokens.requests == 2


# ---- what is loaded -----------------------------------------------------------------------------


def test_importing_loads_next_to_nothing_and_running_no_torch() -> None:
    run = subprocess.run(
        [sys.executable, "-c",
         "import sys, llenergymeasure as m\n"
         "print(sorted({'pydantic', 'ctypes', 'numpy'} & set(sys.modules)))\n"
         f"m.run_experiment(model='x', **{TEST!r})\n"
         "print(sorted({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))\n"],
        capture_output=True, text=True, check=False)
    assert run.stdout == "[]\n[]\n", run.stderr
