# SPDX-License-Identifier: MIT
"""result.json against recompute.py, which reads the same recordings with code of its own."""

import json
import os
import pathlib
import subprocess
import tempfile

import recompute
import tap

MAKE = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"]) / "tests/unit/result/make-synthetic"


def check(*args: str, least: int) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        truth = json.loads(
            subprocess.run(
                [MAKE, "experiment", tmp, *args], check=True, capture_output=True, text=True
            ).stdout
        )
        numbers = recompute.recompute(pathlib.Path(tmp))
        assert len(numbers) >= least, sorted(numbers)
        bad = recompute.compare(pathlib.Path(tmp))
        assert not bad, "\n".join(bad)
        if "total_energy_j" in numbers:
            assert abs(numbers["total_energy_j"] - truth["energy_j"]) < 1e-3 * truth["energy_j"]


def test_gpu_counter_tokens_and_latencies_agree():
    for seed in range(5):
        check("nvml", f"seed={seed}", least=25)


def test_several_gpus_agree():
    check("nvml", "gpus=3", "length=3", least=25)


def test_rapl_agrees_over_a_wrap_around():
    check("rapl", least=25)


def test_uneven_batches_agree():
    check("none", "requests=11", least=15)


def test_measure_agrees():
    check("rapl", "measure", least=3)


def test_a_changed_number_is_found():
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([MAKE, "experiment", tmp, "rapl"], check=True, capture_output=True)
        path = pathlib.Path(tmp) / "result.json"
        result = json.loads(path.read_text())
        result["total_energy_j"] *= 1 + 1e-7
        path.write_text(json.dumps(result))
        assert any(x.startswith("total_energy_j") for x in recompute.compare(pathlib.Path(tmp)))


if __name__ == "__main__":
    tap.run()
