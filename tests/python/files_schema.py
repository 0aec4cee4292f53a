# SPDX-License-Identifier: MIT
"""The files that the program leaves and the lines it prints against their JSON Schemas.

The program is run as a user runs it: experiments that complete, fail and are interrupted, commands
that are measured, on this machine's sensors and on pretended ones. Every JSON file of the results
must have a schema, be valid, and have its keys in the order of the schema; every key of a schema
must stand in that file's section of docs/formats.md.
"""

import copy
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import jsonschema
import recompute
import referencing
import studies
import tap

SOURCE = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"])
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text())
    for path in sorted((SOURCE / "docs/schemas").glob("*.schema.json"))
}
REGISTRY = referencing.Registry().with_resources(
    (f"{name}.schema.json", referencing.Resource.from_contents(schema))
    for name, schema in SCHEMAS.items()
)
# Where each format stands in docs/formats.md. Files of the results directory go by their names.
SECTIONS = {
    "experiment": ["experiment.json", "_resolution.json"],
    "resolution": ["_resolution.json"],
    "plan": ["plan.json", "llem plan --format=json", "experiment.json"],
    "manifest": ["manifest.json"],
    "claim": ["claim.json"],
    "status": ["status.json"],
    "config": ["config.json"],
    "environment": ["environment.json", "recording.json"],
    "equivalence_groups": ["equivalence_groups.json"],
    "progress": ["Progress"],
    "machine": ["llem config --format=json"],
    "fetch": ["llem fetch --format=json"],
    "baseline": ["Baselines"],
    "study-result": ["study_result.json"],
    "compare": ["llem compare --format=json", "study_result.json"],
}
IN_A_STUDY = ["claim", "experiment", "manifest", "plan", "recording", "resolution", "status"]
IN_A_MEASUREMENT = ["claim", "experiment", "recording", "status"]
OF_A_RESULT = ["config", "environment", "result"]
# Of an event: what may have nothing to say.
OPTIONAL = {"detail", "text", "energy_j", "energy_estimated_j", "tokens_per_s"}
RUN = "run -m none -e test -d builtin -n 3 --progress=json".split() + [
    "--set=measurement.warmup.enabled=false",
    "--set=measurement.baseline.enabled=false",
    "--set=test.load_s=0",
]
SCENARIO = "epoch boot\nboard h100 2\n  gain 1\n  load idle 400\n"


def validator(name: str) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    return jsonschema.Draft202012Validator(SCHEMAS[name], registry=REGISTRY)


def errors(name: str, document) -> str:
    return "\n".join(
        f"{name}: {'.'.join(map(str, e.absolute_path))}: {e.message[:300]}"
        for e in validator(name).iter_errors(document)
    )


def out_of_order(schema: dict, document, path: str = "") -> list[str]:
    """Where the keys of the document are not in the order of the schema."""
    if isinstance(document, list):
        parts = [(schema.get("items", {}), d, f"{path}[{i}]") for i, d in enumerate(document)]
        return [x for part in parts for x in out_of_order(*part)]
    if not isinstance(document, dict):
        return []
    known = schema.get("properties", {})
    ordered = [k for k in known if k in document] == [k for k in document if k in known]
    wrong = [] if ordered else [path]
    for key, value in document.items():
        wrong += out_of_order(known.get(key, {}), value, f"{path}.{key}")
    return wrong


@functools.cache
def schema_keys(name: str) -> frozenset[str]:
    """Every key that the schema names itself."""

    def keys(node):
        if isinstance(node, list):
            for inner in node:
                yield from keys(inner)
        elif isinstance(node, dict):
            if not node.get("$ref", "#").startswith("#"):
                return  # of another schema, whose section it is
            for keyword, inner in node.items():
                if keyword in ("properties", "$defs"):
                    yield from inner if keyword == "properties" else ()
                    for value in inner.values():
                        yield from keys(value)
                elif keyword not in ("enum", "const", "required"):
                    yield from keys(inner)

    return frozenset(keys(SCHEMAS[name]))


def written_in(sections: list[str]) -> set[str]:
    """The words of the code spans of these sections of docs/formats.md."""
    parts = re.split(r"^##+ (.*)$", (SOURCE / "docs/formats.md").read_text(), flags=re.M)
    text = dict(zip(parts[1::2], parts[2::2], strict=True))
    spans = re.findall(r"`([^`]+)`", " ".join(text[s] for s in sections))
    return {word for span in spans for word in re.findall(r"[A-Za-z_][\w.]*", span)} | set(spans)


def environment(home: pathlib.Path, **more: str) -> dict[str, str]:
    """Nothing of this machine's user shows."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LLEM_")}
    return kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": "C.UTF-8"} | more


class Outcome:
    """A finished command: its exit status, the events it told, the files that it left."""

    def __init__(self, args: list[str], interrupt: bool = False, scenario: str = ""):
        with tempfile.TemporaryDirectory(prefix="llem-files-") as tmp:
            home, results = pathlib.Path(tmp, "home"), pathlib.Path(tmp, "results")
            home.mkdir()
            fakes = {}
            if scenario:
                (home / "scenario").write_text(scenario)
                fakes = {
                    "LLEM_NVML_LIBRARY": str(BUILD / "tests/fakes/libnvidia-ml.so.1"),
                    "LLEM_FAKE_NVML_SCENARIO": str(home / "scenario"),
                }
            at = args.index("--") if "--" in args else len(args)
            program = subprocess.Popen(
                [BUILD / "llem", *args[:at], "-o", results, *args[at:]],
                cwd=tmp,
                env=environment(home, **fakes),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            lines = []
            for line in program.stderr:
                lines.append(line)
                if interrupt and '"live"' in line:
                    program.send_signal(signal.SIGINT)
                    interrupt = False
            self.status = program.wait(timeout=120)
            self.events = [json.loads(line) for line in lines if line.startswith("{")]
            self.files = {
                str(path.relative_to(results)): json.loads(path.read_text())
                for path in sorted(results.rglob("*.json"))
            }

    def named(self, name: str) -> dict:
        (document,) = (d for path, d in self.files.items() if schema_of(path) == name)
        return document


def schema_of(path: str) -> str:
    at = pathlib.Path(path)
    return "baseline" if at.parent.name == "baselines" else at.name.split(".")[0].removeprefix("_")


@functools.cache
def completed() -> Outcome:
    return Outcome([*RUN, "--set=test.request_s=0.001"])


@functools.cache
def failed() -> Outcome:
    return Outcome([*RUN, "--set=test.fail_at=run_inference"])


@functools.cache
def interrupted() -> Outcome:
    return Outcome([*RUN, "--set=test.request_s=60"], interrupt=True)


def check(outcome: Outcome, status: int, expected: list[str]) -> None:
    """The files that are expected, each valid and in order, and so is every event."""
    assert outcome.status == status, (outcome.status, outcome.events)
    names = sorted(schema_of(path) for path in outcome.files)
    assert names == sorted(expected), names
    for path, document in outcome.files.items():
        name = schema_of(path)
        assert name in SCHEMAS, f"{path} has no schema in docs/schemas"
        bad = errors(name, document)
        assert not bad, f"{path}: {bad}"
        if name in SECTIONS:
            assert not out_of_order(SCHEMAS[name], document), (path, SCHEMAS[name].get("title"))
    assert outcome.events, "no events"
    for event in outcome.events:
        bad = errors("progress", event)
        assert not bad, f"{event}: {bad}"


def test_an_experiment_that_completes_leaves_valid_files():
    check(completed(), 0, IN_A_STUDY + OF_A_RESULT)
    assert completed().named("status")["state"] == "completed"
    assert completed().events[0]["event"] == "started"
    assert completed().events[-1]["event"] == "completed"


def test_an_experiment_that_fails_leaves_valid_files():
    check(failed(), 1, IN_A_STUDY)
    assert failed().named("status")["state"] == "failed"
    assert failed().named("manifest")["failed"] == 1
    assert failed().events[-1]["event"] == "failed"


def test_an_experiment_that_is_interrupted_leaves_valid_files():
    check(interrupted(), 128 + signal.SIGINT, IN_A_STUDY)
    assert interrupted().named("status")["state"] == "interrupted"
    assert interrupted().named("manifest")["interrupted"] == 1
    live = [e for e in interrupted().events if e["event"] == "live"]
    assert live and all(e["step"] == "measure" for e in live)


def test_an_experiment_that_dies_early_leaves_valid_files():
    early = Outcome([*RUN, "--set=test.fail_at=load_model"])
    check(early, 1, IN_A_STUDY)
    crashed = Outcome([*RUN, "--set=test.crash_at=run_inference"])
    check(crashed, 1, [n for n in IN_A_STUDY if n != "recording"])
    assert crashed.named("status")["reason"] == "crashed"
    assert crashed.named("status")["exit"]["signal"] is not None


def test_a_measured_command_leaves_valid_files():
    outcome = Outcome("measure --quick --progress=json -- true".split())
    check(outcome, 0, IN_A_MEASUREMENT + OF_A_RESULT)
    assert outcome.named("config")["engine"] is None


def test_files_of_pretended_gpus_are_valid():
    command = "measure --quick --progress=json --gpus 0,1 -- sleep 0.6".split()
    outcome = Outcome(command, scenario=SCENARIO)
    check(outcome, 0, IN_A_MEASUREMENT + OF_A_RESULT)
    assert len(outcome.named("environment")["environment"]["gpus"]) == 2
    assert outcome.named("environment")["hardware"]["gpu"]["name"]
    assert outcome.named("experiment")["measure"]["gpus"] == [0, 1]
    assert outcome.named("result")["total_energy_j"] > 0
    outcome = Outcome([*RUN, "--set=test.request_s=0.1"], scenario=SCENARIO)
    check(outcome, 0, IN_A_STUDY + OF_A_RESULT)


def test_the_machine_is_described_as_the_schema_says():
    with tempfile.TemporaryDirectory(prefix="llem-files-") as tmp:
        home = pathlib.Path(tmp)
        (home / "llenergymeasure").mkdir()
        for text in (None, "output:\n  results_dir: ./here\n", "output: 3\n"):
            if text:
                (home / "llenergymeasure/config.yaml").write_text(text)
            run = subprocess.run(
                [BUILD / "llem", "config", "--format=json"],
                env=environment(home, LLEM_SYSFS="/sys", LLEM_DATACENTER_PUE="1.2"),
                capture_output=True,
                text=True,
                check=True,
            )
            document = json.loads(run.stdout)
            bad = errors("machine", document)
            assert not bad, bad
            assert not out_of_order(SCHEMAS["machine"], document)
            user = document["user_config"]
            assert user["found"] == bool(text)
            assert bool(user["error"]) == (text == "output: 3\n"), user
            fake = {v["name"]: v["fake"] for v in document["variables"]}
            assert fake == {"LLEM_DATACENTER_PUE": False, "LLEM_SYSFS": True}, fake


def test_a_study_is_planned_as_the_schema_says():
    with tempfile.TemporaryDirectory(prefix="llem-files-") as tmp:
        study = pathlib.Path(tmp) / "study.yaml"
        study.write_text(
            "task: {model: m}\nstudy_name: s\nsweep: {cpu.dtype: [float32, bfloat16, none], "
            "cpu.batch_size: [1, 2]}\nexperiments:\n- engine: cpu\n"
            "  cpu: {batch_size: 2, dtype: float32}\n"
        )
        run = subprocess.run(
            [BUILD / "llem", "plan", study, "--format=json"],
            env=environment(pathlib.Path(tmp)),
            capture_output=True,
            text=True,
            check=True,
        )
        document = json.loads(run.stdout)
        bad = errors("plan", document)
        assert not bad, bad
        assert not out_of_order(SCHEMAS["plan"], document)
        counts = document["counts"]
        assert counts["declared"] == counts["invalid"] + counts["merged"] + counts["experiments"]
        assert (counts["declared"], counts["invalid"], counts["merged"]) == (7, 2, 1), counts
        assert len(document["runs"]) == counts["runs"] == 3 * counts["experiments"]
        assert len({r["dir"] for r in document["runs"]}) == counts["runs"]
        for path, broken in damaged("plan", document):
            assert errors("plan", broken), path


def damaged(name: str, document: dict):
    """The document without each of its required keys in turn, down to the last."""

    def walk(schema, node, path):
        if isinstance(node, list):
            for i, inner in enumerate(node[:1]):
                yield from walk(schema.get("items", {}), inner, [*path, i])
        elif isinstance(node, dict):
            yield from ([*path, key] for key in schema.get("required", []) if key in node)
            for key, inner in schema.get("properties", {}).items():
                if key in node:
                    yield from walk(inner, node[key], [*path, key])

    for path in walk(SCHEMAS[name], document, []):
        broken = copy.deepcopy(document)
        at = broken
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        yield path, broken


@functools.cache
def test_idle_power_that_is_kept_is_valid_and_is_all_in_the_recording():
    """Harnesses are run as by a study: the second takes over what the first measured."""
    with tempfile.TemporaryDirectory(prefix="llem-files-") as tmp:
        root = pathlib.Path(tmp)
        (root / "scenario").write_text("epoch boot\nboard h100\n  gain 1\n  load idle 80\n")
        env = environment(
            root,
            LLEM_NVML_LIBRARY=str(BUILD / "tests/fakes/libnvidia-ml.so.1"),
            LLEM_FAKE_NVML_SCENARIO=str(root / "scenario"),
        )
        settings = [
            *("warmup.enabled=false", "baseline.validation_interval=2", "quick=true"),
            *("energy_sampler=nvml", "baseline.strategy=validated"),
        ]
        command = "run -m none -e test -d builtin -n 1 --set=test.load_s=0 --set=test.request_s=0.5"
        command += " --set=test.gpus=[GPU-fa4e0000-0000-0000-0000-000000000000]"
        command = [*command.split(), *(f"--set=measurement.{s}" for s in settings)]
        quiet = functools.partial(subprocess.run, env=env, check=True, capture_output=True)
        quiet([BUILD / "llem", *command, "-o", root / "r"])
        (path,) = (root / "r").rglob("experiment.json")
        experiment = json.loads(path.read_text()) | {"baselines": "../baselines"}
        found = []
        for i in range(3):
            directory = root / f"run{i}"
            directory.mkdir()
            (directory / "experiment.json").write_text(json.dumps(experiment))
            quiet([BUILD / "llem", "experiment", directory])
            recording = json.loads((directory / "recording/recording.json").read_text())
            bad = errors("recording", recording)
            assert not bad, bad
            found.append(recording["baseline"])
            bad = recompute.compare(directory)
            if i == 0:  # where two seconds of ticks end is a convention, on a busy machine by much
                bad = [x for x in bad if not x.startswith("baseline_power_w:")]
            assert not bad, "\n".join(bad)
            assert "~baseline_power_w" in recompute.recompute(directory)
        assert [b["method"] for b in found] == ["fresh", "validated", "validated"]
        assert [b["bare"] is None for b in found] == [False, True, True]
        assert [b["spot"] is None for b in found] == [True, True, False]
        assert found[1]["reused"]["run"] == found[2]["reused"]["run"] == "run0"
        (kept,) = (root / "baselines").iterdir()
        document = json.loads(kept.read_text())
        bad = errors("baseline", document)
        assert not bad, bad
        assert document["uses"] == 0  # the third run has checked it
        for path, broken in damaged("baseline", document):
            assert errors("baseline", broken), path
        # A changed power limit is another condition.
        with (root / "scenario").open("a") as scenario:
            scenario.write("  limit 500\n")
        directory = root / "limited"
        directory.mkdir()
        (directory / "experiment.json").write_text(json.dumps(experiment))
        quiet([BUILD / "llem", "experiment", directory])
        recording = json.loads((directory / "recording/recording.json").read_text())
        assert recording["baseline"]["method"] == "fresh"
        assert len(list((root / "baselines").iterdir())) == 2


def made_up_study() -> dict:
    """The result of a study in which a run is missing, one failed and one has no energy."""
    with tempfile.TemporaryDirectory(prefix="llem-files-") as tmp:
        root = pathlib.Path(tmp)
        numbers = {"total_energy_j": 3.0, "total_inference_time_sec": 2.0}
        runs = {(e, c): studies.result(numbers) for e in (1, 2) for c in (1, 2, 3)}
        runs[1, 2] = studies.status("failed", 3, "it broke")
        runs[2, 3] = studies.result({"total_energy_j": None, "tokens.output": 3.0})
        del runs[2, 1]
        studies.make(root, [{"a": 1}, {"a": 2}], 3, runs)
        show = subprocess.run(
            [BUILD / "llem", "show", root, "--json"],
            env=environment(root),
            capture_output=True,
            text=True,
            check=True,
        )
        assert show.stdout == (root / "study_result.json").read_text()
        return json.loads(show.stdout)


def made_up_groups() -> dict:
    """Two experiments that turned out to be the same; tests/unit/study makes such files."""
    a, b, observed = "a" * 64, "b" * 64, "c" * 64
    group = {
        "resolved_config_hash": a,
        "canonical_config_excerpt": {"engine": "cpu", "task.model": "m"},
        "member_experiment_ids": ["1" * 16],
        "members": [{"experiment": 1, "measurement_config_hash": "1" * 16, "differs_by": "x=1"}],
        "member_count": 1,
        "representative_experiment_id": "1" * 16,
        "representative": 1,
        "would_dedup": False,
        "deduplicated": False,
    }
    collision = {
        "observed_config_hash": observed,
        "engine": "cpu",
        "library_version": "1",
        "member_resolved_config_hashes": [a, b],
        "member_experiment_ids": ["one", "two"],
        "experiments": [1, 2],
        "differs_in": ["x"],
        "gap_detected": True,
        "proposed_rule_id": "cpu_dormant_x",
    }
    return {
        "version": 1,
        "study_id": "0" * 16,
        "dedup_mode": "resolved",
        "vendored_rules_version": "cpu " + "0" * 16,
        "groups": [group, {**group, "resolved_config_hash": b}],
        "observed_collision_groups": [collision],
    }


def test_what_ran_with_the_same_is_told_as_the_schema_says():
    # The engine test does not tell its drift: as far as it knows these two ran with the same.
    study = Outcome([*RUN, *"--sweep test.drift=0,0.1 --cycles 2 --no-gaps".split()])
    assert study.status == 0, study.events
    groups = study.named("equivalence_groups")
    assert not errors("equivalence_groups", groups), errors("equivalence_groups", groups)
    assert not out_of_order(SCHEMAS["equivalence_groups"], groups)
    (collision,) = groups["observed_collision_groups"]
    assert len(groups["groups"]) == 2 and len(collision["member_experiment_ids"]) == 4
    assert collision["gap_detected"] and collision["differs_in"] == ["test.drift"]
    assert collision["proposed_rule_id"] == "test_dormant_drift"
    assert collision["member_experiment_ids"][0] in {
        d["experiment_id"] for path, d in study.files.items() if schema_of(path) == "config"
    }


MADE_UP = {"study-result": made_up_study, "equivalence_groups": made_up_groups}


def test_the_result_of_a_study_is_as_the_schema_says():
    document = made_up_study()
    bad = errors("study-result", document)
    assert not bad, bad
    assert not out_of_order(SCHEMAS["study-result"], document)
    row = SCHEMAS["study-result"]["$defs"]["run"]
    assert all(list(run) == list(row["properties"]) for run in document["runs"])


def test_a_comparison_is_as_the_schema_says():
    with tempfile.TemporaryDirectory(prefix="llem-files-") as tmp:
        root = pathlib.Path(tmp)
        for name, energy in (("one", 3.0), ("two", 4.0)):
            runs = {(1, c): studies.result({"total_energy_j": energy + c}) for c in (1, 2)}
            runs[2, 1] = studies.result({"total_energy_j": None})
            runs[2, 2] = studies.status("failed", 3)
            dirs = studies.make(root / name, [{"a": 1}, {"a": name}], 2, runs)
        for a, b, n in (("one", "two", 1), (f"one/{dirs[0]}", f"two/{dirs[0]}", 0)):
            compare = subprocess.run(
                [BUILD / "llem", "compare", root / a, root / b, "--json"],
                env=environment(root),
                capture_output=True,
                text=True,
                check=True,
            )
            document = json.loads(compare.stdout)
            bad = errors("compare", document)
            assert not bad, bad
            assert not out_of_order(SCHEMAS["compare"], document)
            assert (len(document["comparisons"]), len(document["unmatched"])) == (2 - (n == 0), 0)
            for path, broken in damaged("compare", document):
                assert errors("compare", broken), path


def test_files_with_a_key_less_or_a_key_more_are_refused():
    for name in SECTIONS:
        if name in ("progress", "machine", "fetch", "equivalence_groups", "baseline", "compare"):
            continue
        document = MADE_UP[name]() if name in MADE_UP else completed().named(name)
        assert not errors(name, document), name
        count = 0
        for path, broken in damaged(name, document):
            assert errors(name, broken), f"{name} is valid without {path}"
            count += 1
        assert count >= len(SCHEMAS[name]["required"]), (name, count)
        assert "another" in errors(name, {**document, "another": 1}), name
    for event in completed().events:
        for key in event.keys() - OPTIONAL:
            assert errors("progress", {k: v for k, v in event.items() if k != key}), (event, key)
        assert errors("progress", {**event, "another": 1}), event


def test_values_that_cannot_be_are_refused():
    wrong = [
        ("experiment", "measurement_config_hash", "6EB14C9FB06020FF"),
        ("experiment", "resolved_config_hash", "6eb14c9fb06020ff"),
        ("experiment", "kind", "other"),
        ("experiment", "kind", "measure"),
        ("experiment", "measure", None),
        ("plan", "created_utc", "2026-01-01 00:00:00"),
        ("manifest", "completed_at", None),
        ("manifest", "status", "timeout"),
        ("claim", "run_mark", "0"),
        ("claim", "pid", 0),
        ("status", "state", "running"),
        ("status", "state", "failed"),
        ("status", "reason", "io"),
        ("status", "exit", {"code": 0, "signal": 9}),
        ("config", "engine", None),
        ("config", "config", {"measurement": {}}),
        ("experiment", "config", {}),
        ("experiment", "config", {**completed().named("experiment")["config"], "task": {}}),
        ("environment", "cuda_version_source", "nvcc"),
    ]
    for name, key, value in wrong:
        document = completed().named(name)
        assert errors(name, {**document, key: value}), (name, key, value)


def test_every_key_of_a_schema_stands_in_the_documentation():
    for name, sections in SECTIONS.items():
        assert schema_keys(name), name
        keys = schema_keys(name)
        endings = "ci95_lo ci95_hi source quality reason".split()
        parts = {f"{key}_{ending}" for key in keys for ending in endings}
        missing = sorted(keys - written_in(sections) - (parts if name == "study-result" else set()))
        assert not missing, f"{name}: {missing} not in {sections}"
    assert "no_such_key" not in written_in(["status.json"])


def test_every_schema_is_of_a_format():
    known = set(SECTIONS) | {"result", "recording", "experiment-file"}
    assert set(SCHEMAS) == known, set(SCHEMAS) ^ known


if __name__ == "__main__":
    tap.run()
