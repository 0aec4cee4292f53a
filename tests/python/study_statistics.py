# SPDX-License-Identifier: MIT
"""The statistics of study_result.json against scipy, on made-up studies of random numbers."""

import csv
import io
import json
import math
import os
import pathlib
import random
import resource
import subprocess
import tempfile
import time

import duckdb
import numpy as np
import pyarrow.parquet as pq
import scipy.stats
import studies
import tap

LLEM = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "llem"
NAMES = {
    "total_energy_j": "total_energy_j",
    "energy.j_per_output_token": "energy_per_output_token_j",
    "total_inference_time_sec": "total_inference_time_sec",
    "throughput.output_tokens_per_s": "output_tokens_per_s",
    "latency_stats.ttft_mean_ms": "ttft_mean_ms",
}


def show(*args: object) -> subprocess.CompletedProcess:
    return subprocess.run([LLEM, "show", *map(str, args)], capture_output=True, timeout=120)


def load(root: pathlib.Path) -> dict:
    run = show("--json", root)
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


def close(a, b, what="") -> None:
    assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12), f"{what}: {a} is not {b}"


def row_of(d: dict, experiment: int, cycle: int) -> dict:
    return next(r for r in d["runs"] if (r["experiment"], r["cycle"]) == (experiment, cycle))


def test_every_statistic_is_scipys():
    seed = int(os.environ.get("LLEM_TEST_SEED", time.time_ns() % 2**32))
    print(f"# LLEM_TEST_SEED={seed}")
    rng = random.Random(seed)
    for trial in range(12):
        n, cycles = rng.randint(1, 4), rng.choice([1, 2, 3, 4, 7, 12])
        n += n * cycles == 1  # one run is no study
        order = [(e, c) for c in range(1, cycles + 1) for e in range(1, n + 1)]
        if rng.random() < 0.5:
            rng.shuffle(order)
        runs, values = {}, {}
        for e, c in order:
            if rng.random() < 0.1:
                continue  # this run is missing
            numbers = {p: 10.0**e * rng.lognormvariate(0, 0.1) for p in NAMES}
            if rng.random() < 0.1:
                numbers["total_energy_j"] = numbers["energy.j_per_output_token"] = None
            runs[e, c] = studies.result(numbers)
            values[e, c] = numbers
        with tempfile.TemporaryDirectory() as tmp:
            root = pathlib.Path(tmp)
            studies.make(root, [{"test.seed": i} for i in range(n)], cycles, runs, order)
            d = load(root)
        position = {key: i for i, key in enumerate(order, 1)}
        for e in range(1, n + 1):
            c = d["configurations"][e - 1]
            for path, name in NAMES.items():
                keys = [k for k in order if k[0] == e and k in values and values[k][path]]
                y = np.array([values[k][path] for k in keys])
                s, what = c["statistics"][name], f"trial {trial}, {e}, {name}"
                assert s["n"] == len(y), what
                if len(y):
                    close(s["mean"], y.mean(), what)
                if len(y) < 2:
                    assert s["sd"] is s["ci95"] is s["cv"] is None and s["reason"], what
                else:
                    close(s["sd"], y.std(ddof=1), what)
                    close(s["cv"], scipy.stats.variation(y, ddof=1), what)
                    sem = scipy.stats.sem(y)
                    low, high = scipy.stats.t.interval(0.95, len(y) - 1, y.mean(), sem)
                    close(s["ci95"][0], low, what)
                    close(s["ci95"][1], high, what)
                if len(y) < 3:
                    assert s["trend"]["slope_per_run"] is None, what
                    assert s["trend"]["reason"] == "too_few_cycles", what
                else:
                    fit = scipy.stats.linregress([position[k] for k in keys], y)
                    close(s["trend"]["slope_per_run"], fit.slope, what)
                    assert math.isclose(s["trend"]["p"], fit.pvalue, rel_tol=1e-6, abs_tol=1e-9)
                    half = scipy.stats.t.ppf(0.975, len(y) - 2) * fit.stderr
                    close(s["trend"]["ci95"][0], fit.slope - half, what)
                    close(s["trend"]["ci95"][1], fit.slope + half, what)
                if e == 1:
                    assert c["ratios"] is None
                    continue
                pairs = [
                    (values[e, k][path], values[1, k][path])
                    for k in range(1, cycles + 1)
                    if (values.get((e, k)) or {}).get(path)
                    and (values.get((1, k)) or {}).get(path)
                ]
                r = c["ratios"][name]
                assert r["n"] == len(pairs), what
                if not pairs:
                    assert r["value"] is r["ci95"] is None and r["reason"] == "no_pairs", what
                    continue
                ours, theirs = np.array(pairs).T
                close(r["value"], scipy.stats.gmean(ours / theirs), what)
                if len(pairs) == 1:
                    assert r["ci95"] is None and r["reason"] == "one_cycle", what
                    continue
                ci = scipy.stats.ttest_rel(np.log(ours), np.log(theirs)).confidence_interval(0.95)
                close(r["ci95"][0], math.exp(ci.low), what)
                close(r["ci95"][1], math.exp(ci.high), what)


def test_students_t_is_scipys_for_many_cycles():
    for n in (2, 3, 5, 20, 61, 400):
        with tempfile.TemporaryDirectory() as tmp:
            root = pathlib.Path(tmp)
            y = [100.0 + i % 7 for i in range(n)]
            runs = {
                (1, c): studies.result({"total_energy_j": v}) for c, v in enumerate(y, 1)
            }
            studies.make(root, [{}], n, runs)
            s = load(root)["configurations"][0]["statistics"]["total_energy_j"]
            half = (s["ci95"][1] - s["ci95"][0]) / 2
            t = half / s["sd"] * math.sqrt(n)
            assert math.isclose(t, scipy.stats.t.ppf(0.975, n - 1), rel_tol=1e-11), (n, t)


def test_a_constant_has_no_spread_and_no_trend():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        runs = {
            (e, c): studies.result({"total_energy_j": 7.0 * e}) for e in (1, 2) for c in (1, 2, 3)
        }
        studies.make(root, [{"a": 1}, {"a": 2}], 3, runs)
        c = load(root)["configurations"]
        s = c[1]["statistics"]["total_energy_j"]
        assert (s["sd"], s["cv"], s["ci95"]) == (0.0, 0.0, [14.0, 14.0])
        assert s["trend"] == {"slope_per_run": 0.0, "ci95": [0.0, 0.0], "p": 1.0, "reason": None}
        assert c[1]["ratios"]["total_energy_j"]["ci95"] == [2.0, 2.0]


def test_scaling_all_energies_leaves_ratios_and_spread():
    seed = int(os.environ.get("LLEM_TEST_SEED", time.time_ns() % 2**32))
    print(f"# LLEM_TEST_SEED={seed}")
    rng = random.Random(seed)
    y = {(e, c): rng.uniform(1, 2) for e in (1, 2) for c in range(1, 6)}
    seen = []
    for factor in (1, 1024.0):
        with tempfile.TemporaryDirectory() as tmp:
            root = pathlib.Path(tmp)
            runs = {k: studies.result({"total_energy_j": factor * v}) for k, v in y.items()}
            studies.make(root, [{"a": 1}, {"a": 2}], 5, runs)
            c = load(root)["configurations"][1]
            s = c["statistics"]["total_energy_j"]
            seen.append((c["ratios"]["total_energy_j"], s["cv"], s["trend"]["p"], s["mean"]))
    close(seen[1][3], 1024 * seen[0][3])
    close(seen[1][1], seen[0][1])
    close(seen[1][2], seen[0][2])
    close(seen[1][0]["ci95"][0], seen[0][0]["ci95"][0])


def test_estimates_and_nulls_are_never_mixed_with_measurements():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        measured = studies.result({"total_energy_j": 100.0})
        guessed = studies.result({"total_energy_j": None})
        runs = {(1, 1): measured, (1, 2): guessed, (1, 3): measured}
        runs |= {(2, c): guessed for c in (1, 2, 3)}
        studies.make(root, [{"a": 1}, {"a": 2}], 3, runs)
        d = load(root)
        first, second = d["configurations"]
        s = first["statistics"]["total_energy_j"]
        assert (s["n"], s["left_out"], s["left_out_reason"]) == (2, 1, "estimated_only")
        assert (s["mean"], s["quality"]) == (100.0, "measured")
        assert first["energy_quality"] == "mixed"
        assert [f["reason"] for f in first["flags"]] == ["energy_qualities_differ"]
        estimate = first["statistics"]["energy_estimated_j"]
        assert (estimate["n"], estimate["mean"], estimate["quality"]) == (1, 10.0, "estimated")
        s = second["statistics"]["total_energy_j"]
        assert s["mean"] is s["ci95"] is None and s["reason"] == "estimated_only"
        assert second["ratios"]["total_energy_j"]["value"] is None
        assert "energy_estimated_j" not in second["ratios"]
        assert d["summary"]["total_energy_j"] == 200.0 and d["summary"]["runs_with_energy"] == 2
        assert any("4 of 6" in w for w in d["summary"]["warnings"]), d["summary"]
        assert row_of(d, 1, 2)["energy_quality"] == "estimated"
        text = show(root).stdout.decode()
        assert "~10 J" in text and "100" in text, text


def test_energies_of_other_devices_or_sensors_have_no_ratio():
    other_kinds = ["package:0"], ["gpu:GPU-0001", "dram:0"], []
    changes = [{"energy_scope": kinds} for kinds in other_kinds]
    for change in (*changes, {"energy_source": "zeus/counter_ticks"}):
        with tempfile.TemporaryDirectory() as tmp:
            root = pathlib.Path(tmp)
            runs = {}
            for c in (1, 2, 3):
                numbers = {"total_energy_j": 5.0, "total_inference_time_sec": 2.0}
                runs[1, c] = studies.result(numbers)
                runs[2, c] = studies.result(numbers, **change)
            studies.make(root, [{"a": 1}, {"a": 2}], 3, runs)
            ratios = load(root)["configurations"][1]["ratios"]
            assert ratios["total_energy_j"]["reason"] == "scope_mismatch"
            assert ratios["total_energy_j"]["value"] is None
            assert ratios["total_inference_time_sec"]["value"] == 1.0


def test_energies_of_more_devices_of_one_kind_have_a_ratio_and_a_flag():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        runs = {}
        for c in (1, 2):
            runs[1, c] = studies.result({"total_energy_j": 5.0})
            two = ["gpu:GPU-0001", "gpu:GPU-0002"]
            runs[2, c] = studies.result({"total_energy_j": 10.0}, energy_scope=two)
        studies.make(root, [{"a": 1}, {"a": 2}], 2, runs)
        c = load(root)["configurations"][1]
        assert c["ratios"]["total_energy_j"]["value"] == 2.0
        assert [f["reason"] for f in c["flags"]] == ["devices_differ"]


def test_energy_below_zero_has_a_mean_but_no_ratio():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        runs = {
            (e, c): studies.result({"total_energy_j": 1.0, "energy_adjusted_j": e - 1.5 + c / 10})
            for e in (1, 2)
            for c in (1, 2)
        }
        studies.make(root, [{"a": 1}, {"a": 2}], 2, runs)
        c = load(root)["configurations"]
        close(c[0]["statistics"]["energy_adjusted_j"]["mean"], -0.35)
        assert c[0]["statistics"]["energy_adjusted_j"]["cv"] is None
        assert c[1]["ratios"]["energy_adjusted_j"]["reason"] == "not_positive"


def test_unequal_output_lengths_and_prompts_are_flagged():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        runs = {}
        for c in (1, 2):
            runs[1, c] = studies.result({"total_energy_j": 1.0})
            runs[2, c] = studies.result({"total_energy_j": 1.0, "tokens.output": 500.0 + c})
            runs[3, c] = studies.result({"total_energy_j": 1.0}, dataset={"sha256": "b" * 64})
        studies.make(root, [{"a": 1}, {"a": 2}, {"a": 3}], 2, runs)
        flags = [c["flags"] for c in load(root)["configurations"]]
        assert [[f["reason"] for f in x] for x in flags] == [
            [],
            ["output_lengths_differ"],
            ["prompts_differ"],
        ]
        assert "501.5 output tokens a run, experiment 1 512:" in flags[1][0]["text"], flags[1]
        assert "501.5" in show(root).stdout.decode()


def test_what_is_missing_is_said():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        good = studies.result({"total_energy_j": 3.0})
        runs = {
            (1, 1): good,
            (2, 1): studies.status("failed", 7, "the worker ended"),
            (1, 2): studies.status("interrupted", 20),
            (2, 2): studies.status("timeout", 30),
            (1, 3): studies.status("skipped", 40),
        }
        dirs = studies.make(root, [{"a": 1}, {"a": 2}], 4, runs)
        (root / dirs[5]).mkdir()
        (root / dirs[5] / "claim.json").write_text("{}")
        d = load(root)
        s = d["summary"]
        assert s["total_experiments"] == 8
        assert [
            s[k] for k in ("completed", "failed", "pending", "skipped", "interrupted")
        ] == [1, 2, 3, 1, 1], s
        assert s["missing"] == [
            f"1 of 8 runs failed: {dirs[1]}",
            f"1 of 8 runs ran out of time: {dirs[3]}",
            f"2 of 8 runs were not run: {dirs[6]}, {dirs[7]}",
            f"1 of 8 runs was begun and has not ended: {dirs[5]}",
            f"1 of 8 runs was skipped: {dirs[4]}",
            f"1 of 8 runs was interrupted: {dirs[2]}",
        ], s["missing"]
        assert f"{dirs[1]}: the worker ended" in s["warnings"]
        assert s["total_wall_time_s"] == 40.5 and s["total_run_time_s"] == 2.5, s
        assert d["result_files"] == [f"{dirs[0]}/result.json"]
        assert d["skipped_experiments"][0]["errors"] == ["first", "second"]
        assert [r["state"] for r in d["runs"]][:3] == ["completed", "failed", "interrupted"]
        assert d["runs"][1]["total_energy_j_reason"] == "not_completed"


def test_a_damaged_result_is_a_failed_run_with_a_reason():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        good = studies.result({"total_energy_j": 3.0})
        dirs = studies.make(root, [{"a": 1}, {"a": 2}], 1, {(1, 1): good, (2, 1): good})
        (root / dirs[1] / "result.json").write_text('{"schema')
        d = load(root)
        assert d["summary"]["failed"] == 1
        assert "result.json" in d["runs"][1]["message"], d["runs"][1]["message"]


def test_it_is_made_again_where_a_run_is_younger():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        good = studies.result({"total_energy_j": 3.0})
        dirs = studies.make(root, [{"a": 1}, {"a": 2}], 1, {(1, 1): good})
        assert load(root)["summary"]["completed"] == 1
        first = (root / "study_result.json").read_bytes()
        at = (root / "study_result.json").stat().st_mtime_ns
        assert load(root)["summary"]["completed"] == 1
        assert (root / "study_result.json").stat().st_mtime_ns == at
        studies.save(root / dirs[1] / "result.json", good)
        studies.save(root / dirs[1] / "status.json", studies.status())
        assert load(root)["summary"]["completed"] == 2
        assert (root / "study_result.json").read_bytes() != first
        (root / "study_result.json").write_text("{}")
        assert load(root)["summary"]["completed"] == 2
        assert load(root / "study_result.json")["summary"]["completed"] == 2


def test_a_run_carries_its_own_interval():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        runs = {(1, c): studies.result({"total_energy_j": 3.0}, u=0.5) for c in (1, 2)}
        studies.make(root, [{"a": 1}], 2, runs)
        d = load(root)
        r = d["runs"][0]
        assert (r["total_energy_j_ci95_lo"], r["total_energy_j_ci95_hi"]) == (2.02, 3.98)
        assert r["total_energy_j_source"] == "nvml/counter_ticks"
        assert r["total_energy_j_quality"] == "measured"
        close(d["configurations"][0]["statistics"]["total_energy_j"]["u_stat"], 0.5)
        q = d["quantities"]["summary.total_energy_j"]
        close(q["u_stat"], math.hypot(0.5, 0.5))


def test_csv_and_parquet_have_a_row_a_run_with_the_axes_first():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        settings = [
            {"test.seed": 1, "test.note": 'a "b", c', "mixed": 1, "engine": "test"},
            {"test.seed": 2, "test.note": "é", "mixed": [1, 2], "real": 0.5},
        ]
        runs = {
            (1, 1): studies.result({"total_energy_j": 1 / 3}),
            (2, 1): studies.result({"total_energy_j": None}),
            (1, 2): studies.status("failed", 3, "line one\nline two"),
        }
        studies.make(root, settings, 2, runs)
        d = load(root)
        names = ["test.seed", "test.note", "mixed", "engine", "real", "model", "experiment"]
        run = show("-f", "csv", root)
        assert run.returncode == 0, run.stderr
        rows = list(csv.DictReader(io.StringIO(run.stdout.decode())))
        assert list(rows[0])[:7] == names and len(rows) == 4
        assert show("-f", "parquet", "-o", root / "runs.parquet", root).returncode == 0
        table = pq.read_table(root / "runs.parquet")
        assert table.column_names == list(rows[0])
        types = [str(t) for t in table.schema.types[:5]]
        assert types == ["int64", "string", "string", "string", "double"], types
        packed = table.to_pylist()
        for row, there, want in zip(rows, packed, d["runs"], strict=True):
            for name in table.column_names:
                value = want["settings"].get(name) if name in names[:5] else want[name]
                if isinstance(value, list) or (name == "mixed" and value is not None):
                    value = json.dumps(value, separators=(",", ":"))
                if name == "engine":
                    value = want["settings"].get("engine")
                assert there[name] == value, (name, there[name], value)
                text = row[name]
                if value is None:
                    assert text == "", name
                else:
                    assert (float(text) if isinstance(value, float) else text) == (
                        value if isinstance(value, float) else str(value)
                    ), (name, text, value)
        got = duckdb.sql(
            f'select "test.seed", count(*), sum(total_energy_j), count(energy_estimated_j), '
            f"any_value(energy_quality order by cycle) from '{root}/runs.parquet' "
            "group by 1 order by 1"
        ).fetchall()
        assert got == [(1, 2, 1 / 3, 0, "measured"), (2, 2, None, 1, "estimated")], got
        run = show("-f", "parquet", root)
        assert run.stdout == (root / "runs.parquet").read_bytes()


ORIGINAL = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"]) / "tests/data/original"


def test_a_study_of_the_originals_is_shown_and_marked():
    (root,) = ORIGINAL.iterdir()
    before = sorted(p.name for p in root.rglob("*"))
    d = load(root)
    assert sorted(p.name for p in root.rglob("*")) == before, "nothing is written there"
    assert d["original"] and d["axes"] == ["vllm.dtype"]
    assert [c["settings"] for c in d["configurations"]] == [
        {"vllm.dtype": "float16"},
        {"vllm.dtype": "bfloat16"},
    ]
    # In the order in which they ran, which is not that of its manifest.
    assert [(r["experiment"], r["cycle"]) for r in d["runs"]] == [
        (e, c) for c in (1, 2, 3) for e in (1, 2)
    ]
    assert [r["state"] for r in d["runs"]] == ["completed"] * 5 + ["failed"]
    assert all(r["energy_quality"] in ("unknown", "none") for r in d["runs"])
    assert all(r["total_energy_j_ci95_lo"] is None for r in d["runs"])
    # Its own figure is per output token; 0 is nothing measured.
    close(row_of(d, 1, 1)["energy_per_output_token_j"], 10350 / 25600)
    close(row_of(d, 1, 1)["avg_energy_per_token_j"], 10350 / 44032)
    nothing = row_of(d, 2, 2)
    assert nothing["total_energy_j"] is nothing["energy_adjusted_j"] is None
    assert nothing["total_energy_j_reason"] == "not_in_original"
    y = np.array([10350.0, 10400.0, 10390.0])
    s = d["configurations"][0]["statistics"]["total_energy_j"]
    close(s["mean"], y.mean())
    close(s["sd"], y.std(ddof=1))
    assert (s["quality"], s["u_stat"]) == ("unknown", None)
    close(d["configurations"][1]["ratios"]["total_energy_j"]["value"], 9300 / 10350)
    text = show(root).stdout.decode()
    assert "made by LLenergyMeasure" in text and "no uncertainties" in text.replace("\n    ", " ")


def test_a_run_of_the_originals_is_shown_and_marked():
    run = show(next(ORIGINAL.glob("*/001_*")))
    text = run.stdout.decode()
    assert run.returncode == 0, run.stderr
    for line in ("(made by LLenergyMeasure)", "2202 tok/s", "0.4043 J/tok", "no uncertainties"):
        assert line in text, (line, text)
    assert "±" not in text
    text = show(next(ORIGINAL.glob("*/004_*"))).stdout.decode()
    assert " 0 J" not in text, text


def test_two_runs_of_the_originals_are_compared_without_intervals():
    c = compare(next(ORIGINAL.glob("*/001_*")), next(ORIGINAL.glob("*/002_*")))["comparisons"][0]
    assert c["settings"] == [
        {"setting": "vllm.dtype", "reference": "float16", "value": "bfloat16"}
    ]
    assert [w["reason"] for w in c["warnings"]] == ["made_by_original"]
    ratio = c["quantities"]["total_energy_j"]["ratio"]
    close(ratio["value"], 9300 / 10350)
    assert ratio["ci95"] is None and ratio["reason"] == "uncertainty_unknown"


def test_a_bundle_of_a_later_original_is_refused_by_name():
    with tempfile.TemporaryDirectory() as tmp:
        studies.save(pathlib.Path(tmp, "result.json"), {"bundle_version": "4.1"})
        run = show(tmp)
        assert run.returncode == 1 and "bundle_version 4.1" in run.stderr.decode(), run


def compare(*args: object) -> dict:
    run = subprocess.run(
        [LLEM, "compare", "--json", *map(str, args)], capture_output=True, timeout=120
    )
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


def save_run(root: pathlib.Path, document: dict, config: dict, host: str = "a" * 16) -> None:
    studies.save(root / "result.json", document)
    studies.save(root / "config.json", {"config": config})
    studies.save(root / "claim.json", {"host": host})


def test_two_runs_are_compared_with_their_own_uncertainties():
    with tempfile.TemporaryDirectory() as tmp:
        x, y = pathlib.Path(tmp, "x"), pathlib.Path(tmp, "y")
        energies = {"total_energy_j": 100.0}, {"total_energy_j": 80.0}
        save_run(x, studies.result(energies[0], u=1.0, u_sys=5.0), {"a": {"b": 1, "c": None}})
        save_run(y, studies.result(energies[1], u=2.0, u_sys=4.0), {"a": {"b": 2.5, "d": [1]}})
        z = scipy.stats.norm.ppf(0.975)
        for host, extra in (("a" * 16, 0.0), ("b" * 16, 0.05**2 + 0.05**2)):
            studies.save(y / "claim.json", {"host": host})
            c = compare(x, y)["comparisons"][0]
            r = c["quantities"]["total_energy_j"]["ratio"]
            u = math.sqrt(0.01**2 + 0.025**2 + extra)
            close(r["value"], 0.8)
            close(r["ci95"][0], 0.8 * math.exp(-z * u))
            close(r["ci95"][1], 0.8 * math.exp(z * u))
            assert c["interval"] == "own_uncertainties"
            side = c["quantities"]["total_energy_j"]["reference"]
            close(side["ci95"][1], 100 + z * math.hypot(1, 5))
        assert c["settings"] == [
            {"setting": "a.b", "reference": 1, "value": 2.5},
            {"setting": "a.d", "reference": None, "value": [1]},
        ], c["settings"]
        assert c["warnings"] == []


def test_two_studies_are_compared_cycle_by_cycle():
    rng = random.Random(7)
    with tempfile.TemporaryDirectory() as tmp:
        values = {}
        for name, settings in (("one", [{"a": 1}, {"a": 2}]), ("two", [{"a": 2}, {"a": 3}])):
            runs = {}
            for e in (1, 2):
                for c in range(1, 5):
                    if (name, e, c) == ("two", 1, 3):
                        continue  # leaves three pairs
                    values[name, settings[e - 1]["a"], c] = rng.uniform(1, 2)
                    energy = {"total_energy_j": values[name, settings[e - 1]["a"], c]}
                    runs[e, c] = studies.result(energy)
            studies.make(pathlib.Path(tmp, name), settings, 4, runs)
            for i, s in enumerate(settings):  # its hash says what it is
                path = pathlib.Path(tmp, name, "plan.json")
                plan = json.loads(path.read_text())
                plan["experiments"][i]["measurement_config_hash"] = f"{s['a']:016x}"
                studies.save(path, plan)
        d = compare(pathlib.Path(tmp, "one"), pathlib.Path(tmp, "two"))
        assert len(d["comparisons"]) == 1
        assert [u["differs_by"] for u in d["unmatched"]] == ["a=3"]
        c = d["comparisons"][0]
        assert (c["reference"]["experiment"], c["compared"]["experiment"]) == (2, 1)
        theirs = np.array([values["one", 2, k] for k in (1, 2, 4)])
        ours = np.array([values["two", 2, k] for k in (1, 2, 4)])
        ci = scipy.stats.ttest_rel(np.log(ours), np.log(theirs)).confidence_interval(0.95)
        r = c["quantities"]["total_energy_j"]["ratio"]
        assert r["n"] == 3 and c["interval"] == "paired_cycles"
        close(r["value"], scipy.stats.gmean(ours / theirs))
        close(r["ci95"][0], math.exp(ci.low))
        close(r["ci95"][1], math.exp(ci.high))


def test_what_makes_a_comparison_doubtful_is_said():
    energy = {"total_energy_j": 1.0}
    gpus = {"gpus": [{"name": "A"}, {"name": "A"}], "cpu": {"model": "C"}}
    changes = [
        ({"model_name": "other"}, ["models_differ"]),
        ({"engine_version": "2"}, ["engine_versions_differ"]),
        ({"engine": "vllm", "engine_version": "2"}, []),
        ({"dataset": {"sha256": "b" * 64}}, ["prompts_differ"]),
        ({"environment": gpus}, ["hardware_differs"]),
        ({"energy_scope": ["package:0"]}, ["scope_mismatch"]),
        ({"energy_scope": ["gpu:GPU-0002"]}, ["devices_differ"]),
        ({"energy_source": "nvml/power_average"}, ["energy_sources_differ"]),
        ({"energy_source": "zeus/counter_ticks"}, ["scope_mismatch"]),
        ({"quick": True}, ["quick"]),
    ]
    base = {"environment": {"gpus": [{"name": "A"}], "cpu": {"model": "C"}}}
    with tempfile.TemporaryDirectory() as tmp:
        x, y = pathlib.Path(tmp, "x"), pathlib.Path(tmp, "y")
        save_run(x, studies.result(energy, **base), {})
        for change, want in changes:
            save_run(y, studies.result(energy, **(base | change)), {})
            c = compare(x, y)["comparisons"][0]
            assert [w["reason"] for w in c["warnings"]] == want, (change, c["warnings"])
            value = c["quantities"]["total_energy_j"]["ratio"]["value"]
            assert value == (None if "scope_mismatch" in want else 1.0), change
        save_run(y, studies.result({"total_energy_j": None, "tokens.output": 1.0}, **base), {})
        (y / "config.json").unlink()
        c = compare(x, y)["comparisons"][0]
        assert [w["reason"] for w in c["warnings"]] == [
            "settings_unknown",
            "output_lengths_differ",
            "energy_qualities_differ",
        ], c["warnings"]
        assert c["quantities"]["total_energy_j"]["ratio"]["reason"] == "no_pairs"
        assert c["quantities"]["energy_estimated_j"]["ratio"] is None


def test_runs_cost_the_same_however_many_there_are():
    spent = {}
    for n in (100, 800):
        with tempfile.TemporaryDirectory() as tmp:
            root = pathlib.Path(tmp)
            good = studies.result({"total_energy_j": 3.0})
            runs = {(e, c): good for e in range(1, n // 2 + 1) for c in (1, 2)}
            studies.make(root, [{"a": i} for i in range(n // 2)], 2, runs)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert show("-f", "csv", root).stdout.count(b"\n") == n + 1
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent[n] = sum(getattr(after, k) - getattr(before, k) for k in ("ru_utime", "ru_stime"))
    print(f"# CPU time: {spent}")
    assert spent[800] < 4 * 8 * spent[100], spent  # 64 times it, were they squared


def test_hostile_plans_are_a_sentence():
    good = studies.result({"total_energy_j": 3.0})
    changes = [
        ({"version": 3}, "version"),
        ({"runs": [{"dir": "../x", "experiment": 1, "cycle": 1}] * 2}, "directory"),
        ({"runs": [{"dir": "x", "experiment": 9, "cycle": 1}] * 2}, "experiment"),
        ({"runs": [{"dir": "x", "experiment": 1, "cycle": 10**12}] * 2}, "cycle"),
        ({"runs": [{"dir": "x", "experiment": 1, "cycle": -1}] * 2}, "cycle"),
        ({"experiments": [{"number": 2}, {"number": 1}]}, "order"),
    ]
    for change, word in changes:
        with tempfile.TemporaryDirectory() as tmp:
            root = pathlib.Path(tmp)
            studies.make(root, [{"a": 1}, {"a": 2}], 1, {(1, 1): good})
            plan = json.loads((root / "plan.json").read_text())
            studies.save(root / "plan.json", plan | change)
            run = show(root)
            assert run.returncode == 1, (change, run)
            assert word in run.stderr.decode() and not run.stdout, run


if __name__ == "__main__":
    tap.run()
