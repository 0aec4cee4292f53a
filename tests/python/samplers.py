# SPDX-License-Identifier: MIT
"""The samplers `zeus` and `codecarbon` with the real packages, run by the program.

ZeusMonitor reads pretended boards in a worker while a second run reads the same boards by NVML;
both must agree with each other and with the truth within the uncertainty that they state.
CodeCarbon estimates this machine. Each package lives in an environment of its own.
"""

import json
import math
import os
import pathlib
import subprocess
import tempfile

import tap

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"])
FAKES = BUILD / "tests/fakes"
UUID = "GPU-fa4e0000-0000-0000-0000-000000000000"
SCENARIO = """
seed 4
epoch boot
board h100
  gain 1
  load idle 300
board h100
  gain 1
  load idle 100
"""
RUN = "run -m none -e test -d builtin -n 5 --quick --progress=none".split() + [
    "--set=measurement.warmup.enabled=false",
    "--set=test.load_s=0",
    "--set=test.request_s=0.8",
]


def python_of(requirements: str) -> str:
    if os.environ.get("NO_INSTALL"):
        raise tap.Skip("NO_INSTALL is set, and the package has to be installed first")
    made = subprocess.run(
        [ROOT / "tools/test-python", ROOT / requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise tap.Skip(f"{requirements} cannot be installed here")
    return made.stdout.strip()


def start(directory: str, env: dict[str, str], *arguments: str) -> subprocess.Popen:
    home = {"HOME": directory, "XDG_CONFIG_HOME": directory, "XDG_DATA_HOME": directory}
    return subprocess.Popen(
        [BUILD / "llem", *RUN, "-o", f"{directory}/out", *arguments],
        env=os.environ | home | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: subprocess.Popen, directory: str) -> tuple[dict, dict, pathlib.Path]:
    """result.json, recording.json and the experiment's directory."""
    out, _ = run.communicate(timeout=240)
    assert run.returncode == 0, out
    (where,) = pathlib.Path(directory).glob("out/study_*/001_*")
    result = json.loads((where / "result.json").read_text())
    return result, json.loads((where / "recording/recording.json").read_text()), where


def truth(scenario: pathlib.Path, window: dict) -> float:
    edges = str(window["t_begin_ns"]), str(window["t_end_ns"])
    out = subprocess.run(
        [FAKES / "fake-truth", scenario, "0", *edges], capture_output=True, text=True, check=True
    )
    return float(out.stdout)


def is_verified(where: pathlib.Path) -> None:
    subprocess.run([BUILD / "llem", "verify", where], check=True, capture_output=True)


def nothing_left(where: pathlib.Path, directory: str) -> None:
    """No process of the run, and no file but the results."""
    mark = json.loads((where / "claim.json").read_text())["run_mark"].encode()
    for environ in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            assert b"LLEM_RUN=" + mark not in environ.read_bytes().split(b"\0"), environ
        except OSError:
            continue
    assert sorted(p.name for p in pathlib.Path(directory).iterdir()) in (
        ["out"],
        ["out", "scenario"],
    )
    assert not list((ROOT / "samplers").glob("__pycache__"))


def test_zeus_and_nvml_agree_on_the_same_board_within_their_uncertainties() -> None:
    python = python_of("bench/requirements-zeus.txt")
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        scenario = pathlib.Path(a) / "scenario"
        scenario.write_text(SCENARIO)
        env = {
            "LLEM_NVML_LIBRARY": str(FAKES / "libnvidia-ml.so.1"),
            "LLEM_FAKE_NVML_SCENARIO": str(scenario),
            "LLEM_PYTHON_ZEUS": python,
            "CUDA_VISIBLE_DEVICES": "1",
        }
        gpus = f"--set=test.gpus=[{UUID}]"
        runs = [
            start(d, env, gpus, f"--set=measurement.energy_sampler={name}")
            for d, name in ((a, "zeus"), (b, "nvml"))
        ]
        zeus, nvml = finish(runs[0], a), finish(runs[1], b)
        assert zeus[0]["energy_source"] == "zeus/sampler_window"
        assert nvml[0]["energy_source"].startswith("nvml/counter"), nvml[0]["energy_source"]
        excess = []
        for result, recording, _ in (zeus, nvml):
            q = result["quantities"]["total_energy_j"]
            assert result["energy_scope"] == [f"gpu:{UUID}"]
            assert q["quality"] == "measured" and q["u_sys"] > 0
            excess.append(q["value"] - truth(scenario, recording["window"]))
            assert abs(excess[-1]) <= 2 * q["u_stat"] + 3, (result["energy_source"], excess, q)
        # Both windows' own truth taken off, what is left is what the samplers differ by.
        u = math.hypot(*(r[0]["quantities"]["total_energy_j"]["u_stat"] for r in (zeus, nvml)))
        assert abs(excess[0] - excess[1]) <= 2 * u, (excess, u)
        assert zeus[1]["sensors"][2]["describe"]["version"].startswith("0.16")
        assert len([d for d in zeus[1]["domains"] if d["kind"] == "gpu"]) == 2
        is_verified(zeus[2])
        nothing_left(zeus[2], a)


def test_codecarbon_keeps_its_domains_apart_and_marks_what_it_estimates() -> None:
    python = python_of("tests/python/requirements-codecarbon.txt")
    with tempfile.TemporaryDirectory() as d:
        sampler = "--set=measurement.energy_sampler=codecarbon"
        run = start(d, {"LLEM_PYTHON_CODECARBON": python}, sampler)
        result, recording, where = finish(run, d)
        domains = {x["kind"]: x for x in result["energy"]["domains"]}
        ram = domains["ram"]
        assert (ram["quality"], ram["energy_j"], ram["reason"]) == (
            "estimated",
            None,
            "estimated_only",
        )
        assert ram["estimated_j"] > 0
        if "package" in domains:  # a machine whose RAPL counters can be read
            assert result["energy_quality"] == "measured"
            assert result["energy_scope"] == ["package:all"]
            assert domains["package"]["energy_j"] > 0
        else:
            estimate = result["energy_estimated_j"]
            assert result["energy_quality"] == "estimated"
            assert result["energy_scope"] == ["cpu", "ram"]
            assert result["total_energy_j"] is None
            assert domains["cpu"]["quality"] == "estimated"
            both = domains["cpu"]["estimated_j"] + ram["estimated_j"]
            assert math.isclose(estimate["value"], both)
            assert (estimate["low"], estimate["high"]) == (None, None)
            assert estimate["reason"] == "range_unknown"
            assert "constant" in estimate["method"], estimate["method"]
            q = result["quantities"]["energy_estimated_j.value"]
            assert (q["quality"], q["source"], q["u_stat"]) == ("estimated", "codecarbon", None)
            assert q["u_sys_reason"] == "range_unknown"
        window = recording["sampler_windows"]["codecarbon"]
        assert window["begun_ns"] <= recording["window"]["t_begin_ns"]
        assert recording["window"]["t_end_ns"] <= window["ending_ns"]
        is_verified(where)
        nothing_left(where, d)


def test_codecarbon_measures_boards_by_their_counter() -> None:
    python = python_of("tests/python/requirements-codecarbon.txt")
    with tempfile.TemporaryDirectory() as d, tempfile.TemporaryDirectory() as bin_dir:
        scenario = pathlib.Path(d) / "scenario"
        scenario.write_text(SCENARIO)
        # It looks for boards only where there is such a program.
        smi = pathlib.Path(bin_dir) / "nvidia-smi"
        smi.write_text("#!/bin/sh\n")
        smi.chmod(0o755)
        env = {
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "LLEM_NVML_LIBRARY": str(FAKES / "libnvidia-ml.so.1"),
            "LLEM_FAKE_NVML_SCENARIO": str(scenario),
            "LLEM_PYTHON_CODECARBON": python,
        }
        sampler = "--set=measurement.energy_sampler=codecarbon"
        run = start(d, env, sampler, f"--set=test.gpus=[{UUID}]")
        result, recording, where = finish(run, d)
        q = result["quantities"]["total_energy_j"]
        assert result["energy_source"] == "codecarbon/sampler_window", result["energy_source"]
        assert result["energy_scope"] == [f"gpu:{UUID}"]
        assert result["energy_quality"] == "measured"
        assert abs(q["value"] - truth(scenario, recording["window"])) <= 2 * q["u_stat"] + 3, q
        quality = {x["kind"]: x["quality"] for x in recording["domains"]}
        assert quality["gpu"] == "measured" and quality["ram"] == "estimated"
        is_verified(where)
        nothing_left(where, d)


tap.run()
