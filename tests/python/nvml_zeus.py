# SPDX-License-Identifier: MIT
"""ZeusMonitor and the sampler `nvml` on the same pretended boards at the same time, and the truth.

Both take the plain difference of the counter here, so both may be off by one tick at each edge, and
no more. Zeus lives in an environment of its own, as it brings much that no other test needs.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import tap

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["LLEM_TEST_BUILD_DIR"])
FAKES = BUILD / "tests/fakes"
SCENARIO = """
seed 9
epoch boot
board h100 3
  gain 1
  tau 0
  load idle 400
board v100
  gain 0.9
  load idle 150
"""
ZEUS = """
import json, sys, time
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor(approx_instant_energy=False)
begin = time.monotonic_ns()
monitor.begin_window("w", sync_execution=False)
time.sleep(2)
result = monitor.end_window("w", sync_execution=False)
end = time.monotonic_ns()
joules = list(result.gpu_energy.values())
print(json.dumps({"begin": begin, "end": end, "joules": joules}))
"""


def zeus_python() -> str:
    if os.environ.get("NO_INSTALL"):
        raise tap.Skip("NO_INSTALL is set, and ZeusMonitor has to be installed first")
    run = subprocess.run(
        [ROOT / "tools/test-python", ROOT / "bench/requirements-zeus.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise tap.Skip("ZeusMonitor cannot be installed here")
    return run.stdout.strip()


def test_zeus_and_the_sampler_agree_with_the_truth_to_a_tick() -> None:
    python = zeus_python()
    with tempfile.TemporaryDirectory() as d:
        scenario = pathlib.Path(d) / "scenario"
        scenario.write_text(SCENARIO)
        env = os.environ | {
            "LLEM_FAKE_NVML_SCENARIO": str(scenario),
            "LD_LIBRARY_PATH": str(FAKES),
            "LLEM_NVML_LIBRARY": str(FAKES / "libnvidia-ml.so.1"),
        }
        zeus = subprocess.Popen([python, "-c", ZEUS], env=env, stdout=subprocess.PIPE, text=True)
        ours = subprocess.run(
            [BUILD / "tests/unit/sampler/nvml-edges", "2"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        out, _ = zeus.communicate(timeout=120)
        assert zeus.returncode == 0
        theirs = json.loads(out)
        assert len(ours) == len(theirs["joules"]) == 4
        for board, line in enumerate(ours):
            _, begin, _, first, _, end, last = line.split()
            gain = 0.9 if board == 3 else 1
            watts = 150 if board == 3 else 400
            tick_j = watts * gain * (0.02 if board == 3 else 0.1)
            for name, t0, t1, joules in (
                ("llem", int(begin), int(end), (int(last) - int(first)) / 1000),
                ("zeus", theirs["begin"], theirs["end"], theirs["joules"][board]),
            ):
                truth = float(
                    subprocess.run(
                        [FAKES / "fake-truth", scenario, str(board), str(t0), str(t1)],
                        capture_output=True,
                        text=True,
                        check=True,
                    ).stdout
                )
                # Reading itself takes a moment on a busy machine: 20 ms more.
                assert abs(joules - gain * truth) <= 1.01 * tick_j + watts * 0.02, (
                    name,
                    board,
                    joules,
                    truth,
                )


tap.run()
