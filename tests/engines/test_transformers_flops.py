# SPDX-License-Identifier: MIT
"""The golden counts of operations and parameters are what PyTorch counts here and now.

`make check` holds llem's own count against the golden ones (tests/unit/result/test_flops.c) where
torch is not installed.
"""

import json
import os
import pathlib
import sys
import warnings

import tap

ROOT = pathlib.Path(os.environ["LLEM_TEST_SOURCE_DIR"])
sys.path.insert(0, str(ROOT / "tools"))
import make_golden_flops as made  # noqa: E402

LIMIT = 0.005


def off(now: float, golden: float) -> float:
    return abs(now / golden - 1)


def check(name: str) -> None:
    golden = json.loads(made.PATH.read_text())[name]
    model = made.make(*made.CASES[name])
    now = made.measure(model)
    assert model.num_parameters() == golden["parameters"], (name, model.num_parameters())
    for key in ("prefill", "prefill_at_once"):
        assert off(now[key], golden[key]) <= LIMIT, (name, key, now[key], golden[key])
    assert len(now["decode"]) == len(golden["decode"]), name
    for step, (a, b) in enumerate(zip(now["decode"], golden["decode"], strict=True)):
        assert off(a, b) <= LIMIT, (name, step, a, b)


def test_every_case_is_in_the_golden_file():
    assert list(json.loads(made.PATH.read_text())) == list(made.CASES)


for case in made.CASES:
    test = f"test_torch_counts_the_same_of_{case.replace('-', '_')}"
    globals()[test] = lambda case=case: check(case)


if __name__ == "__main__":
    made.torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    tap.run()
