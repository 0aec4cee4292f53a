# SPDX-License-Identifier: MIT
"""Drives a worker over pipes as the harness does, for tests of workers by themselves."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
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
        self.log = tempfile.TemporaryFile()  # a pipe that nobody reads would stop a talkative one
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
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
            self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.log.seek(0)
        return self.process.returncode, self.log.read().decode("utf-8", "replace")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        # What the frameworks started is of the worker's group, and outlives it when it is killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def python_worker(
    path: pathlib.Path | str, python: str = sys.executable, env: dict[str, str] | None = None
) -> Worker:
    """A worker written in Python, with the shared module in its path as llem puts it there."""
    path = pathlib.Path(path)
    return Worker([python, str(path)], env)


def marked(mark: str) -> set[int]:
    """The processes of a run."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"LLEM_RUN={mark}\0".encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


def interrupted(
    engine: str,
    section: dict[str, Any],
    model: str,
    number: int,
    out: pathlib.Path,
    build: pathlib.Path,
    least: int = 1,
) -> None:
    """Send `llem run` a signal while the engine loads with `least` processes below the harness.

    It must end with the signal's status and its word in status.json, and leave no process.
    """
    dataset = {"source": "random", "n_prompts": 2, "input_tokens": 8}
    task = {"model": model, "max_output_tokens": 4, "dataset": dataset}
    out.mkdir()
    (out / "study.yaml").write_text(json.dumps({"engine": engine, "task": task, engine: section}))
    program = subprocess.Popen(
        [build / "llem", "run", "--quick", "--progress=json", out / "study.yaml", "-o", out],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(build),
            f"LLEM_PYTHON_{engine.upper()}": sys.executable,
        },
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        for line in program.stderr:
            event = json.loads(line) if line.startswith(b"{") else {}
            if (event.get("event"), event.get("step")) == ("step_start", "model"):
                break
        (claim,) = out.glob("*/*/claim.json")
        mark = json.loads(claim.read_text())["run_mark"]
        while len(marked(mark)) < 2 + least:  # the harness, the worker, and what it started
            assert program.poll() is None, "the load ended first"
            time.sleep(0.05)
        program.send_signal(number)
        program.stderr.read()
        assert program.wait(120) == 128 + number, program.returncode
    finally:
        program.kill()
        program.wait()
        program.stderr.close()
    status = json.loads((claim.parent / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("interrupted", "canceled"), status
    assert not (claim.parent / "result.json").exists()
    assert not marked(mark), "processes are left"


class _Hub(http.server.BaseHTTPRequestHandler):
    """A hub that has no model, and grants nobody access to org/gated."""

    def do_GET(self) -> None:
        gated = "org/gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


def hub_faults(cache: str) -> Iterator[tuple[str, dict[str, str], str, str]]:
    """Models that cannot be had: the id, a worker's variables, its error's kind and words."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answers = f"http://127.0.0.1:{server.server_port}"
        for model, endpoint, kind, words in (
            ("org/gated", answers, "gated_model", "access to org/gated must be granted"),
            ("org/none", answers, "model_not_found", "the hub has no model org/none"),
            ("org/far", "http://127.0.0.1:9", "model_not_found", "the hub cannot be reached"),
        ):
            env = {"HF_ENDPOINT": endpoint, "HF_HOME": cache}
            env |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_TOKEN": ""}
            yield model, env, kind, words
    finally:
        server.shutdown()
        server.server_close()
