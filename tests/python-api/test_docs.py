# SPDX-License-Identifier: MIT
"""docs/python.md: every example runs, as a reader would type them; the reference is current."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
from conftest import MODEL, SOURCE

EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```", (SOURCE / "docs/python.md").read_text())


def test_every_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(MODEL, "sample-model")
    names: dict[str, Any] = {"__name__": "__main__"}
    assert len(EXAMPLES) >= 6
    for example in EXAMPLES:
        exec(compile(example, "docs/python.md", "exec"), names)
    out = capsys.readouterr().out
    assert "('task', 'dataset', 'n_prompts')" in out and "('engin',)" in out
    assert "sleeper 10" in out
    assert "StudyResult('threads': 4 of 4 runs completed" in out
    assert re.search(r"(?m)^3 4$", out)
    assert re.search(r"(?m)^measure: \d", out)
    assert re.search(r"(?m)^0\.\d+ (estimated|measured|mixed|none)$", out)


def test_the_notebook_runs_to_its_plot() -> None:
    import matplotlib

    matplotlib.use("agg")
    shutil.copytree(MODEL, "sample-model")
    cells = json.loads((SOURCE / "examples/compare.ipynb").read_text())["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        assert not cell.get("outputs")
        source = "".join(line for line in cell["source"] if not line.startswith("%pip"))
        if cell["cell_type"] == "code":
            exec(compile(source, "compare.ipynb", "exec"), names)
    left, right = names["figure"].axes
    assert all(bar.get_height() > 0 for bar in left.patches) and len(left.patches) == 2
    assert len(right.containers) == 2 and right.get_title() in (
        "energy, measured", "energy, estimated")
    assert names["study"].summary.completed == 4


def test_every_exception_and_method_that_is_named_is_there() -> None:
    text = (SOURCE / "docs/python.md").read_text()
    import llenergymeasure

    for name in re.findall(r"`(\w+Error)`", text):
        assert hasattr(llenergymeasure, name), name


def test_the_reference_is_current() -> None:
    run = subprocess.run(
        [sys.executable, str(SOURCE / "tools/make_python_reference.py"), "--check"],
        capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
