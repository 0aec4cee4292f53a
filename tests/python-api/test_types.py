# SPDX-License-Identifier: MIT
"""mypy --strict over the package and its tests, which use it as a program would."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from conftest import SOURCE


def test_mypy_strict_finds_nothing() -> None:
    here = SOURCE / "tests/python-api"
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(here / "mypy.ini"),
         "--cache-dir", str(cache / "llem" / "mypy"),
         str(SOURCE / "python/llenergymeasure"), *map(str, sorted(here.glob("*.py")))],
        capture_output=True, text=True, check=False, cwd=here)
    assert run.returncode == 0, run.stdout
