# SPDX-License-Identifier: MIT
"""Studies: configurations of files and of objects, running, resuming, results, Ctrl-C."""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import llenergymeasure
import pytest
from conftest import MODEL, llem
from llenergymeasure import (
    ConfigError,
    ExperimentConfig,
    StudyConfig,
    StudyError,
    StudyResult,
    run_study,
)
from llenergymeasure.study import ExecutionConfig
from pydantic import BaseModel, ValidationError

FAST: dict[str, Any] = {
    "measurement": {"quick": True, "energy_sampler": None, "baseline": {"enabled": False},
                    "warmup": {"enabled": False}},
}
TASK: dict[str, Any] = {"model": "x", "dataset": {"source": "builtin", "n_prompts": 2}}
NO_GAPS: dict[str, Any] = {"experiment_gap_seconds": 0, "cycle_gap_seconds": 0}
SWEPT: dict[str, Any] = {
    "study_name": "probe", "task": TASK, "engine": "test", **FAST,
    "sweep": {"test.request_s": [0.01, 0.02], "task.max_output_tokens": [4, 8, -1]},
}


def experiment(**more: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"task": TASK, "engine": "test", **FAST, **more})


def file_of(study: dict[str, Any], name: str = "study.json", **execution: Any) -> pathlib.Path:
    path = pathlib.Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**study, "study_execution": {**NO_GAPS, **execution}}))
    return path


def saved(result: StudyResult, name: str) -> Any:
    assert result.directory is not None
    return json.loads((result.directory / name).read_text())


def orders(result: StudyResult) -> list[tuple[int, int]]:
    return [(run["experiment"], run["cycle"]) for run in result.runs]


# ---- configurations -----------------------------------------------------------------------------


def test_the_settings_of_a_study_and_their_defaults_are_the_programs() -> None:
    run = llem("plan", "--format=json", str(file_of({"task": TASK, "experiments": [{}]})))
    told = json.loads(run.stdout)["execution"]
    # The command line has cycles and an order of its own, the library has none.
    own = {"n_cycles": 1, "experiment_order": "sequential", **{name: None for name in NO_GAPS}}
    assert json.loads(ExecutionConfig().model_dump_json()) == {**told, **own}


def test_a_file_is_expanded_with_what_is_invalid_and_what_is_merged() -> None:
    path = file_of({**SWEPT, "runners": {"cpu": "local"}}, n_cycles=2)
    study = StudyConfig.from_file(path)
    plan = json.loads(llem("plan", "--format=json", str(path)).stdout)
    assert [e.measurement_config_hash for e in study.experiments] == [
        e["measurement_config_hash"] for e in plan["experiments"]]
    assert [e.task.max_output_tokens for e in study.experiments] == [4, 8, 4, 8]
    assert study.study_design_hash == plan["study_design_hash"]
    assert study.declared_resolved_config_hashes == [
        e["resolved_config_hash"] for e in plan["experiments"]]
    assert (study.study_name, study.runners, study.images) == ("probe", {"cpu": "local"}, None)
    assert (study.study_execution.n_cycles, study.dedup_mode) == (2, "resolved")
    bad = study.skipped_configs
    assert [b["number"] for b in bad] == [3, 6]
    assert bad[0]["raw_config"] == {"test.request_s": 0.01, "task.max_output_tokens": -1}
    assert bad[0]["short_label"] == "test.request_s=0.01, task.max_output_tokens=-1"
    assert "max_output_tokens" in bad[0]["reason"] and bad[0]["errors"] == [bad[0]["reason"]]

    same: dict[str, Any] = {
        "task": {"model": MODEL}, "engine": "cpu",
        "sweep": {"cpu.sampling.do_sample": [False], "cpu.sampling.top_k": [4, 5]}}
    study = StudyConfig.from_file(file_of(same))
    assert len(study.experiments) == 1 and len(study.declared_resolved_config_hashes) == 2
    assert [g["member_count"] for g in study.pre_run_equivalence_groups] == [2]
    assert len(StudyConfig.from_file(
        file_of(same, deduplicate_equivalent=False)).experiments) == 2


def test_objects_are_the_study_that_their_file_is() -> None:
    study = StudyConfig.from_file(file_of(SWEPT, n_cycles=3, experiment_order="reverse"))
    assert study.study_execution.model_fields_set == {*NO_GAPS, "n_cycles", "experiment_order"}
    again = StudyConfig(
        experiments=study.experiments, study_name="probe",
        study_execution=ExecutionConfig(n_cycles=3, experiment_order="reverse", **NO_GAPS))
    assert again.study_design_hash == study.study_design_hash
    assert again.declared_resolved_config_hashes == study.declared_resolved_config_hashes
    assert again.study_execution == study.study_execution
    whole = StudyConfig.model_validate(study.model_dump())
    assert whole.model_dump() == {**study.model_dump(),
                                  "pre_run_equivalence_groups": whole.pre_run_equivalence_groups}


def test_what_is_equivalent_runs_once_unless_it_is_told_otherwise() -> None:
    twice = [experiment(), experiment()]
    study = StudyConfig(experiments=twice)
    assert [g["member_count"] for g in study.pre_run_equivalence_groups] == [2]
    off = StudyConfig(experiments=twice, dedup_mode="off",
                      study_execution=ExecutionConfig(**NO_GAPS))
    assert off.dedup_mode == "off" and not off.pre_run_equivalence_groups[0]["deduplicated"]
    assert len(run_study(study).runs) == 1
    assert len(run_study(off).runs) == 2


def test_bad_settings_of_a_study_have_their_place() -> None:
    cases: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
        ({"study_execution": {"n_cycles": 0}}, ("study_execution", "n_cycles")),
        ({"study_execution": {"n_cycle": 1}}, ("study_execution", "n_cycle")),
        ({"study_execution": {"experiment_order": "random"}},
         ("study_execution", "experiment_order")),
        ({"study_execution": 3}, ("study_execution",)),
        ({"runners": {"vlm": "local"}}, ("runners", "vlm")),
        ({"dedup_mode": "maybe"}, ("dedup_mode",)),
        ({"experiments": [{"task": {"model": 3}}]}, ("experiments", 0, "task", "model")),
        ({"name": "x"}, ("name",)),
    ]
    for given, place in cases:
        with pytest.raises(ValidationError) as caught:
            StudyConfig.model_validate({"experiments": [experiment()], **given})
        assert [e["loc"] for e in caught.value.errors()] == [place], given
    with pytest.raises(ConfigError, match="no experiments"):
        StudyConfig(experiments=[])
    study = StudyConfig(experiments=[experiment()])
    study.study_execution.n_cycles = -1
    with pytest.raises(ValidationError, match="n_cycles"):
        run_study(study)


def test_files_that_are_no_study_are_refused() -> None:
    for name, text, sentence in (
        ("a.toml", "", "ends with .yaml"),
        ("a.yaml", "task: {model: x}\nswep: {}\n", 'unknown key "swep"'),
        ("b.yaml", "task: {model: x}\n"
         "experiments: [{engine: vllm, cpu: {}}, {engine: cpu, vllm: {}}]\n",
         "all 2 experiments are invalid"),
    ):
        pathlib.Path(name).write_text(text)
        for call in (run_study, StudyConfig.from_file):
            with pytest.raises(ConfigError, match=sentence):
                call(name)
    with pytest.raises(ConfigError, match="none.yaml"):
        run_study("none.yaml")
    pathlib.Path("c.yaml").write_text(
        "task: {model: x, random_seed: many}\nsweep: {cpu.threads: [1, 2]}\n")
    with pytest.raises(ValidationError) as caught:
        run_study("c.yaml")
    assert caught.value.errors()[0]["loc"] == ("task", "random_seed")
    assert "c.yaml:1:" in caught.value.errors()[0]["msg"]
    assert not pathlib.Path("results").exists()


def test_relative_paths_begin_where_their_files_are() -> None:
    home = pathlib.Path("there")
    home.mkdir()
    (home / "p.txt").write_text("one\ntwo\n")
    task = {**TASK, "dataset": {"source": "p.txt", "n_prompts": 2}}
    one = file_of({"task": task, "engine": "test", **FAST}, "there/one.json")
    one.write_text(json.dumps({"task": task, "engine": "test", **FAST}))
    study = StudyConfig(experiments=[ExperimentConfig.from_file(one)])
    result = run_study(study)
    assert result.summary.completed == 1
    with pytest.raises(ConfigError, match="p.txt is relative to .*there"):
        StudyConfig(experiments=[ExperimentConfig.from_file(one), experiment()])


# ---- running ------------------------------------------------------------------------------------


def test_a_file_and_its_object_run_alike() -> None:
    path = file_of(SWEPT, n_cycles=2, experiment_order="interleave")
    program = llem("run", "-q", "-o", "by-program", str(path))
    assert program.returncode == 0, program.stderr
    theirs = StudyResult.load(program.stdout.strip())
    study = StudyConfig.from_file(path)
    results = [run_study(path, output_dir=pathlib.Path("by-path")),
               run_study(study, output_dir=pathlib.Path("by-object"))]
    path.unlink()  # an object is what it was made of
    results.append(run_study(study, output_dir=pathlib.Path("by-document")))
    study.study_execution.experiment_order = "reverse"
    changed = run_study(study, output_dir=pathlib.Path("changed"))
    for result in results:
        assert result.study_design_hash == theirs.study_design_hash == study.study_design_hash
        assert [r["measurement_config_hash"] for r in result.runs] == [
            r["measurement_config_hash"] for r in theirs.runs]
        assert [r["cycle"] for r in result.runs] == [1, 1, 1, 1, 2, 2, 2, 2]
        assert set(result.axes) == {"test.request_s", "task.max_output_tokens"}
        assert result.measurement_protocol["n_cycles"] == 2
        assert [s["short_label"] for s in result.skipped_experiments] == [
            s["short_label"] for s in theirs.skipped_experiments]
        assert result.summary.unique_configurations == 4
        assert result.directory is not None and result.directory.name.startswith("probe_")
        assert llem("verify", str(result.experiments[0].directory)).returncode == 0
    assert [str(r.directory).split("/probe_")[0].rsplit("/", 1)[1] for r in results] == [
        "by-path", "by-object", "by-document"]
    assert [r["experiment"] for r in changed.runs] == [1, 2, 3, 4, 4, 3, 2, 1]


def test_where_nothing_is_said_each_runs_once_in_the_order_declared() -> None:
    two = [experiment(test={"request_s": s}) for s in (0.01, 0.02)]
    result = run_study(StudyConfig(experiments=two, study_execution=ExecutionConfig(**NO_GAPS)))
    assert orders(result) == [(1, 1), (2, 1)]
    assert result.axes == ["test.request_s"]
    protocol = result.measurement_protocol
    assert (protocol["n_cycles"], protocol["experiment_order"]) == (1, "sequential")
    assert [e.measurement_config_hash for e in result.experiments] == [
        e.measurement_config_hash for e in two]
    # Of one experiment there is the same: a study.
    alone = run_study(StudyConfig(experiments=two[:1]))
    assert orders(alone) == [(1, 1)] and len(alone.experiments) == 1


def test_engines_of_one_study_run_on_the_cpu() -> None:
    task = {**TASK, "model": MODEL, "max_output_tokens": 4}
    result = run_study(StudyConfig(
        experiments=[experiment(task=task, engine=engine) for engine in ("cpu", "test")],
        study_execution=ExecutionConfig(n_cycles=2, experiment_order="interleave", **NO_GAPS)))
    assert [e.engine for e in result.experiments] == ["cpu", "test"] * 2
    assert [run["engine"] for run in result.runs] == ["cpu", "test"] * 2
    first, second = result.configurations
    assert first.ratios is None and second.ratios is not None
    time_of = first.statistics.total_inference_time_sec
    assert time_of.n == 2 and time_of.mean is not None and time_of.ci95 is not None
    assert second.ratios.total_inference_time_sec.n == 2


def test_what_fails_is_told_and_stops_nothing() -> None:
    class Display:
        def __init__(self) -> None:
            self.calls: list[tuple[Any, ...]] = []

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *a: self.calls.append((threading.get_ident(), name, *a))

    display = Display()
    study = StudyConfig(
        experiments=[experiment(test={"fail_at": "load_model"}), experiment()],
        study_execution=ExecutionConfig(experiment_gap_seconds=0.3))
    result = run_study(study, progress=display)
    assert (result.summary.completed, result.summary.failed) == (1, 1)
    assert len(result.experiments) == 1 and len(result.result_files) == 1
    assert any("load_model" in w for w in result.summary.warnings)
    assert "1 of 2 runs completed, 1 failed" in repr(result) == str(result)
    assert {c[0] for c in display.calls} == {threading.get_ident()}
    calls = [c[1:] for c in display.calls]
    places = [c for c in calls if "experiment" in c[0] or "gap" in c[0]]
    assert [c[0] for c in places if c[0] != "show_gap"] == [
        "begin_experiment", "end_experiment_fail", "clear_gap", "begin_experiment",
        "on_experiment_saved", "end_experiment_ok"]
    assert places[0][1:3] == (1, "x / test / test.fail_at=load_model")
    assert places[0][3][0] == "preflight" and places[0][3][-1] == "save"
    assert places[1][1] == 1 and places[1][2] > 0 and "load_model" in places[1][3]
    assert next(c[1] for c in places if c[0] == "show_gap").startswith("Gap")
    saved_at, ended = places[-2:]
    assert saved_at[1:] == (2, str(pathlib.Path(result.result_files[0]).parent))
    assert ended[1] == 2 and ended[2] > 0 and ended[3] is None and ended[4] > 0
    # The steps come between.
    names = [c[0] for c in calls]
    assert names.index("on_step_done") > names.index("begin_experiment")
    assert names.count("on_step_start") > 6


def test_a_step_callback_alone_works_and_its_exception_ends_the_study() -> None:
    class Steps:
        def __init__(self) -> None:
            self.done: list[str] = []

        def on_step_done(self, step: str, elapsed_sec: float) -> None:
            self.done.append(step)
            if self.done.count("measure") == 2:
                raise ZeroDivisionError("no")

    steps = Steps()
    three = [experiment(test={"request_s": s}) for s in (0.01, 0.02, 0.03)]
    study = StudyConfig(experiments=three, study_execution=ExecutionConfig(**NO_GAPS))
    with pytest.raises(ZeroDivisionError):
        run_study(study, progress=steps)  # type: ignore[arg-type]
    (left,) = pathlib.Path("results").iterdir()
    result = StudyResult.load(left)
    assert result.summary.completed >= 1 and result.summary.pending >= 1
    assert result.summary.missing


def test_threads_run_studies_at_once() -> None:
    results: list[StudyResult] = []

    def run(name: str) -> None:
        results.append(run_study(StudyConfig(
            experiments=[experiment(test={"request_s": 0.1})], study_name=name)))

    threads = [threading.Thread(target=run, args=(f"t{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(r.study_name) for r in results) == ["t0", "t1", "t2"]
    assert all(r.summary.completed == 1 for r in results)


# ---- arguments ----------------------------------------------------------------------------------


def test_calls_that_contradict_themselves_are_told_so() -> None:
    study = StudyConfig(experiments=[experiment()])
    file_of(SWEPT)
    calls: list[tuple[dict[str, Any], str]] = [
        ({"config": 3}, "type int"),
        ({"config": None}, "type NoneType"),
        ({"config": "study.json", "config_path": "study.json"}, "config is a file"),
        ({"config": study, "config_path": "nowhere.yaml"}, "nowhere.yaml"),
        ({"config": study, "skip_set": {"abc"}}, "skip_set holds 'abc'"),
        ({"config": study, "output_dir": "a\0b"}, "NUL"),
    ]
    for given, sentence in calls:
        with pytest.raises(ConfigError, match=sentence):
            run_study(**given)
    assert not pathlib.Path("results").exists()


def test_cli_overrides_stand_above_the_file_and_are_recorded_so() -> None:
    path = file_of({"task": TASK, "engine": "test", **FAST,
                    "sweep": {"test.request_s": [0.01, 0.02]}})
    for config in (path, StudyConfig.from_file(path)):
        result = run_study(config, cli_overrides={
            "n_prompts": 3, "test.output_tokens": 5, "study_execution.n_cycles": 2,
            "measurement.quick": True, "model": "other"})
        assert [r["model"] for r in result.runs] == ["other"] * 4
        assert result.experiments[0].tokens.requests == 3
        told = saved(result, result.runs[0]["dir"] + "/_resolution.json")["overrides"]
        assert told["task.dataset.n_prompts"]["source"] == "cli_flag"
        assert told["test.output_tokens"] == {
            "effective": 5, "source": "cli_flag", "default": None}
        assert told["test.request_s"]["source"] == "sweep"
        assert told["engine"]["source"] == "yaml"
    with pytest.raises(ValidationError, match="cli_overrides"):
        run_study(path, cli_overrides={"n_prompts": 0})
    with pytest.raises(ValidationError):
        run_study(path, cli_overrides={"n_prompts": object()})


def test_what_is_to_be_skipped_is() -> None:
    two = [experiment(test={"request_s": s}) for s in (0.01, 0.02)]
    study = StudyConfig(experiments=two,
                        study_execution=ExecutionConfig(n_cycles=2, **NO_GAPS))
    result = run_study(study, skip_set={(two[0].measurement_config_hash, 2)}, no_lock=True)
    assert [r["state"] for r in result.runs] == ["completed", "skipped", "completed", "completed"]
    assert (result.summary.skipped, len(result.experiments)) == (1, 3)


def test_the_file_of_an_object_is_kept_with_the_study() -> None:
    study = StudyConfig(experiments=[experiment()])
    result = run_study(study)
    assert saved(result, "study_config.yaml") == json.loads(
        saved(result, "plan.json")["source"]["text"])
    pathlib.Path("mine.yaml").write_text("# mine\ntask: {model: x}\n")
    result = run_study(study, config_path=pathlib.Path("mine.yaml"))
    assert result.directory is not None
    assert (result.directory / "study_config.yaml").read_text().startswith("# mine")
    loaded = StudyConfig.from_file(file_of(SWEPT))
    result = run_study(loaded, skip_set={
        (e.measurement_config_hash, 1) for e in loaded.experiments})
    assert saved(result, "study_config.yaml") == json.loads(pathlib.Path("study.json").read_text())


def test_engines_that_share_packages_are_refused() -> None:
    study = StudyConfig.model_validate({"experiments": [
        {"task": TASK, "engine": engine} for engine in ("transformers", "vllm")]})
    with pytest.raises(llenergymeasure.PreFlightError, match="transformers and vllm"):
        run_study(study)
    assert not pathlib.Path("results").exists()


# ---- resuming -----------------------------------------------------------------------------------


def test_a_study_is_resumed_by_directory_and_as_the_newest() -> None:
    study = StudyConfig(
        experiments=[experiment(test={"request_s": s}) for s in (0.01, 0.02)],
        study_execution=ExecutionConfig(**NO_GAPS))
    there = pathlib.Path("there")
    with pytest.raises(StudyError, match="no unfinished study"):
        run_study(study, resume=True, output_dir=there)

    class Once:
        def end_experiment_ok(self, *_: Any) -> None:
            raise ZeroDivisionError

    def begun() -> None:
        with pytest.raises(ZeroDivisionError):
            run_study(study, output_dir=there, progress=Once())  # type: ignore[arg-type]

    begun()
    (directory,) = there.iterdir()
    first = StudyResult.load(directory)
    assert first.summary.completed < 2
    result = run_study(study, resume=True, output_dir=there)
    assert result.directory == directory.absolute()
    assert result.summary.completed == 2
    assert result.runs[0]["started_utc"] == first.runs[0]["started_utc"]  # not run again

    other = StudyConfig(experiments=[experiment(test={"request_s": 0.03})])
    with pytest.raises(StudyError, match="another one") as caught:
        run_study(other, resume_dir=directory)
    assert study.study_design_hash is not None and study.study_design_hash in str(caught.value)
    assert caught.value.kind == "study"
    with pytest.raises(StudyError, match="nowhere"):
        run_study(study, resume_dir=pathlib.Path("nowhere"))
    # The program goes on with what Python began.
    begun()
    run = llem("run", "-q", "--resume", "-o", str(there))
    assert run.returncode == 0, run.stderr
    assert StudyResult.load(run.stdout.strip()).summary.completed == 2


# ---- results ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    home = tmp_path_factory.mktemp("study")
    study = StudyConfig(
        experiments=[experiment(task={**TASK, "max_output_tokens": n}) for n in (4, 8)],
        study_name="m", study_execution=ExecutionConfig(n_cycles=2, **NO_GAPS))
    return run_study(study, output_dir=home)


def extras(value: Any) -> list[Any]:
    if isinstance(value, BaseModel):
        return [*(value.model_extra or {}), *(x for _, v in value for x in extras(v))]
    if isinstance(value, (list, dict)):
        return [x for v in (value.values() if isinstance(value, dict) else value)
                for x in extras(v)]
    return []


def test_every_field_of_study_result_json_is_there(measured: StudyResult) -> None:
    mine = json.loads(measured.model_dump_json(exclude={"experiments"}))
    theirs = saved(measured, "study_result.json")
    assert [os.path.relpath(f, measured.directory) for f in mine.pop("result_files")] == (
        theirs.pop("result_files"))
    assert mine == theirs
    assert extras(measured) == []
    assert measured.directory is not None
    for path in (measured.directory, measured.directory / "study_result.json"):
        assert StudyResult.load(path) == measured
    with pytest.raises(ValidationError):
        measured.study_name = "other"  # type: ignore[misc]


def test_experiments_are_read_when_they_are_asked_for(
    measured: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured.directory is not None
    fresh = StudyResult.load(measured.directory)
    asked: list[Any] = []
    load = llenergymeasure.ExperimentResult.load

    def watched(path: str) -> llenergymeasure.ExperimentResult:
        asked.append(path)
        return load(path)

    monkeypatch.setattr(llenergymeasure.ExperimentResult, "load", watched)
    assert not asked and fresh.summary.completed == 4
    assert len(fresh.experiments) == 4 and asked == fresh.result_files
    assert fresh.experiments is fresh.experiments
    assert len(json.loads(fresh.model_dump_json())["experiments"]) == 4


def test_a_frame_has_the_axes_first_and_the_columns_of_the_program(measured: StudyResult) -> None:
    frame = measured.to_pandas()
    rows = list(csv.reader(io.StringIO(
        llem("show", "--format=csv", str(measured.directory)).stdout)))
    assert list(frame.columns) == rows[0] and len(frame) == len(rows) - 1 == 4
    assert frame.columns[0] == "task.max_output_tokens"
    assert {"energy_quality", "energy_source", "cycle", "total_energy_j"} <= set(frame.columns)
    assert list(frame["task.max_output_tokens"]) == [4, 4, 8, 8]
    assert frame["total_energy_j"].isna().all()
    assert frame["output_tokens_per_s"].dtype == float
    assert measured.to_arrow().num_rows == 4


def test_without_pandas_the_frame_says_so(measured: StudyResult) -> None:
    for name in ("pandas", "pyarrow"):
        run = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.modules[{name!r}] = None\n"
             "from llenergymeasure import StudyResult\n"
             f"StudyResult.load({str(measured.directory)!r}).to_pandas()\n"],
            capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert f"{name}, which is not installed: pip install" in run.stderr


def test_running_loads_no_pandas() -> None:
    run = subprocess.run(
        [sys.executable, "-c",
         "import sys, llenergymeasure as m\n"
         f"m.run_study({str(file_of(SWEPT))!r}).experiments\n"
         "print(sorted({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))\n"],
        capture_output=True, text=True, check=False)
    assert run.stdout == "[]\n", run.stderr


def test_what_is_no_study_is_refused() -> None:
    with pytest.raises(llenergymeasure.LLEMError, match="nowhere"):
        StudyResult.load("nowhere")


# ---- interrupting -------------------------------------------------------------------------------

SCRIPT = """
import llenergymeasure as m
try:
    m.run_study("study.json")
except KeyboardInterrupt as e:
    print("interrupted", *getattr(e, "__notes__", []))
"""


@pytest.mark.parametrize("more, times", [({}, 1), ({"hang_at": "run_inference"}, 2)])
def test_ctrl_c_ends_the_study_with_its_result(more: Any, times: int) -> None:
    file_of({"task": TASK, "engine": "test", **FAST, "test": {"request_s": 0.01}, "experiments": [
        {}, {"test": {"request_s": 60.0, **more}}, {"test": {"request_s": 0.02}}]})
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not (begun := list(pathlib.Path().glob("results/*/002_*/claim.json"))):
        assert time.monotonic() < end
        time.sleep(0.02)
    mark = json.loads(begun[0].read_text())["run_mark"]
    time.sleep(1.0)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    out, _ = process.communicate(timeout=30)
    assert out.startswith("interrupted")
    if sys.version_info >= (3, 11):
        assert "1 of 3 runs completed, 1 interrupted, 1 pending" in out and "resume_dir" in out
    (study,) = pathlib.Path("results").iterdir()
    assert json.loads((study / "study_result.json").read_text())["summary"]["interrupted"] == 1
    result = StudyResult.load(study)
    assert [r["state"] for r in result.runs] == ["completed", "interrupted", "pending"]
    left = [p for p in pathlib.Path("/proc").glob("[0-9]*/environ") if marked(p, mark)]
    assert left == []


def marked(path: pathlib.Path, mark: str) -> bool:
    try:
        return f"LLEM_RUN={mark}".encode() in path.read_bytes()
    except OSError:
        return False
