# SPDX-License-Identifier: MIT
"""The package from the source tree over the library just built, beside the program just built.

With LLEM_TEST_TAP set to a descriptor, results are TAP lines there, as other tests print them.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LLEM_TEST_BUILD_DIR", SOURCE / "build"))
PROGRAM = str(BUILD / "llem")
MODEL = str(SOURCE / "examples" / "sample-model")

# Nothing of the user's counts; what a test starts inherits this.
for _name in [n for n in os.environ if n.startswith("LLEM_") and not n.startswith("LLEM_T")]:
    if _name != "LLEM_LIBRARY":
        del os.environ[_name]
os.environ.setdefault("LLEM_LIBRARY", str(BUILD / "libllem.so.0"))
os.environ["LLEM_PROGRAM"] = PROGRAM
os.environ["PYTHONPATH"] = str(SOURCE / "python")
sys.path.insert(0, str(SOURCE / "python"))

settings.register_profile(
    "llem", deadline=None, max_examples=40, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.load_profile("llem")


@pytest.fixture(autouse=True)
def _alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory of its own, and no configuration of the user."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    yield


def llem(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program, as a user runs it."""
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=120, **options)


def resolved(path: pathlib.Path) -> Any:
    """What the program makes of a file of settings; None if it refuses them."""
    run = llem("run", "--dry-run", str(path))
    assert run.returncode in (0, 2), run.stderr
    return json.loads(run.stdout) if run.returncode == 0 else None


# ---- TAP ----------------------------------------------------------------------------------------

_count = 0


def _say(line: str) -> None:
    os.write(int(os.environ["LLEM_TEST_TAP"]), f"{line}\n".encode())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _count
    if "LLEM_TEST_TAP" not in os.environ or report.when != "call" and report.passed:
        return
    _count += 1
    name = report.nodeid.split("::", 1)[-1].replace("#", "")
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _say(f"ok {_count} - {name} # SKIP {reason}")
    else:
        _say(f"{'ok' if report.passed else 'not ok'} {_count} - {name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "LLEM_TEST_TAP" in os.environ:
        _say(f"1..{_count}")
