# SPDX-License-Identifier: MIT
"""Drives a worker over pipes as the harness does, for tests of workers by themselves."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class RpcError(Exception):
    """The error of a reply: its message, with `kind`, `hint` and the whole `error`."""

    def __init__(self, error: dict[str, Any]):
        super().__init__(error["message"])
        self.error = error
        self.code = error["code"]
        self.kind = error.get("data", {}).get("kind")
        self.hint = error.get("data", {}).get("hint")


class Worker:
    """A worker process. `notes` holds the notifications (method, params) since the last take()."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self.number = 0
        self.notes: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one request and wait for its reply."""
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0", message
            if "method" in message:
                self.notes.append((message["method"], message["params"]))
                continue
            assert message["id"] in (self.number, None), message
            if "error" in message:
                raise RpcError(message["error"])
            return message["result"]
        raise EOFError(f"the worker ended: {self.end()[1][-2000:]}")

    def take(self, method: str) -> list[dict[str, Any]]:
        """The params of the notifications of a kind; they are forgotten."""
        found = [p for m, p in self.notes if m == method]
        self.notes = [x for x in self.notes if x[0] != method]
        return found

    def end(self, timeout_s: float = 60) -> tuple[int, str]:
        """Close its input and wait: exit status and what it wrote to standard error."""
        try:
            _, log = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, log = self.process.communicate()
        return self.process.returncode, log.decode("utf-8", "replace")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        # What the frameworks started is of the worker's group, and outlives it when it is killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def python_worker(
    path: pathlib.Path | str, python: str = sys.executable, env: dict[str, str] | None = None
) -> Worker:
    """A worker written in Python, with the shared module in its path as llem puts it there."""
    path = pathlib.Path(path)
    return Worker([python, str(path)], env)
