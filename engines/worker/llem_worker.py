# SPDX-License-Identifier: MIT
"""What every Python worker shares: the worker protocol (docs/worker-protocol.md) around an engine.

A worker is one file: a class derived from Engine, whose methods are the protocol's, and
`serve(MyEngine)`. This module speaks JSON-RPC on private copies of descriptors 0 and 1, keeps what
libraries print away from it, sends receipts after the window, and turns exceptions into errors that
say what to do. Standard library only, Python 3.9 and newer.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import importlib.metadata
import json
import logging
import math
import os
import queue
import re
import select
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

PROTOCOL = 1
MAX_LINE = 64 << 20
REQUEST = "LLEM_WORKER_REQUEST"  # the line that a restarted worker answers first
GRACE_S = 10.0  # for the request in progress when the harness is gone
KINDS = (
    "config",
    "hardware",
    "out_of_memory",
    "model_not_found",
    "gated_model",
    "missing_package",
    "engine",
)


class WorkerError(Exception):
    """An error that the user is shown: one sentence, what kind it is, and how to go on."""

    def __init__(self, message: str, kind: str = "engine", hint: str | None = None):
        super().__init__(message)
        self.kind = kind if kind in KINDS else "engine"
        self.hint = hint


@dataclasses.dataclass
class Inference:
    """What run_inference returns. Both edges are taken after a device sync, time.monotonic_ns().

    A receipt is a dict with the fields of the notification `request` but for `pass`; what the
    engine cannot tell is left out or None. `extra` goes into the reply as it is.
    """

    t_begin_ns: int
    t_end_ns: int
    peak_memory_bytes: int | None = None
    receipts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    steps: dict[str, list[int]] | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


class Setup:
    """What `initialize` said, and the way to tell the harness something outside a reply."""

    def __init__(
        self,
        params: dict[str, Any],
        notify: Callable[[str, dict[str, Any]], None] = lambda method, params: None,
        restart: Callable[[list[str], dict[str, str]], None] | None = None,
    ):
        self.config: dict[str, Any] = params.get("config") or {}
        self.engine: str = params.get("engine") or self.config.get("engine") or ""
        self.paths: dict[str, str] = params.get("paths") or {}
        self.model: str = self.path(params.get("model") or self.get("task.model") or "")
        self._notify = notify
        self._restart = restart

    def get(self, path: str, default: Any = None) -> Any:
        """The setting `a.b.c`; `default` where it is unset or null."""
        value: Any = self.config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
            if value is None:
                return default
        return value

    def path(self, path: str) -> str:
        """A path of the host as this process sees it: `paths` maps directories."""
        for host, here in sorted(self.paths.items(), key=lambda x: -len(x[0])):
            if path == host or path.startswith(host.rstrip("/") + "/"):
                return here + path[len(host.rstrip("/")) :]
        return path

    def restart(self, command: list[str], env: dict[str, str]) -> None:
        """Become another command on the same channel that starts this worker again.

        For launchers such as torchrun: the worker that they start finds the request in its
        environment, and one of theirs calls serve() as if nothing had happened.
        """
        self._restart(command, env)

    def progress(self, text: str, fraction: float | None = None) -> None:
        """A step of loading or building has begun, or is that far."""
        self._notify("progress", drop_none({"text": text, "fraction": fraction}))

    def log(self, level: str, text: str) -> None:
        """A line for the harness's log; level is debug, info, warning or error."""
        self._notify("log", {"level": level, "text": text})


class Engine:
    """The protocol's methods with their defaults. The instance is made at `initialize`."""

    name = "engine"
    capabilities: list[str] = []

    def __init__(self, setup: Setup):
        self.setup = setup

    def version(self) -> str:
        """The version of what runs the model."""
        return "unknown"

    def libraries(self) -> dict[str, str]:
        """Versions of the packages that matter, by name."""
        return {}

    def check_hardware(self) -> list[str]:
        """What of this configuration cannot work here. Allocates nothing on a device."""
        return []

    def load_prompts(
        self,
        prompts: list[str | list[int]],
        max_input_tokens: int | None,
        chat_template: bool | str | None,
    ) -> tuple[list[int | None], int]:
        """Tokenise and keep the prompts: their lengths (None: not known), how many were cut."""
        return [None] * len(prompts), 0

    def open_device(self) -> list[dict[str, Any]]:
        """Make the device context; the devices as {kind, uuid, name, pci}."""
        return [{"kind": "cpu", "uuid": None, "name": None, "pci": None}]

    def load_model(self, progress: Callable[[str, float | None], None]) -> dict[str, Any]:
        """Load and build; {devices, model, effective}. `load_s` is added where it is missing."""
        return {}

    def run_warmup_prompt(self, index: int) -> float:
        """One prompt at full length, in ms; 0.0 opts out of the convergence loop."""
        return 0.0

    def synchronize(self) -> None:
        """Return when the device is idle."""

    def run_inference(
        self, pass_id: int, indices: list[int], repeats: int, stream: bool
    ) -> Inference:
        """The measured work: the prompts `indices`, `repeats` times over."""
        raise WorkerError(f"the engine {self.name} runs no prompts")

    def decode(self, ids: list[int]) -> str:
        """The text of output ids, special tokens left out; asked for outside the window."""
        raise WorkerError(f"the engine {self.name} tells none")

    def capture_observed_params(self) -> dict[str, Any]:
        """{engine_params, sampling_params} as the engine really holds them."""
        return {"engine_params": {}, "sampling_params": {}}

    def sampler_begin(self, name: str) -> dict[str, Any]:
        """Open the window of a sampler: {domains, t_ns}."""
        raise WorkerError(f"there is no sampler {name} in this worker", "config")

    def sampler_end(self, name: str) -> dict[str, Any]:
        """Close the window of a sampler: {domains, t_ns}."""
        raise WorkerError(f"there is no sampler {name} in this worker", "config")

    def cleanup(self) -> None:
        """Give back the model's memory. May be called at any time, more than once."""

    def close(self) -> None:
        """The process is about to end, after cleanup."""

    def explain(self, error: BaseException) -> WorkerError | None:
        """The error of a library in words of this engine; None leaves it to the module."""
        return None


# ---- the loop


class _Stop(Exception):
    """The harness's end of the pipe is gone."""


class _Channel:
    """Requests from a private copy of descriptor 0, replies to a private copy of descriptor 1.

    Afterwards descriptor 1 is descriptor 2 and descriptor 0 is empty, so that nothing a library
    prints or reads can break the protocol.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._in = os.fdopen(os.dup(0), "rb")
        self._out = os.dup(1)
        self.line = b""
        leave_channel()
        self._lock = threading.Lock()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._read_lines = self._done_lines = 0
        first = os.environ.pop(REQUEST, "")
        if first:
            self._read_lines = 1
            self._lines.put(first.encode("utf-8", "surrogateescape"))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        line = b"-"
        while line:
            line = self._in.readline(MAX_LINE + 1)
            self._read_lines += bool(line)
            self._lines.put(line)
        # At end of input what was asked is still answered, unless nobody can be waiting for it.
        poll = select.poll()
        poll.register(self._out, select.POLLERR)
        poll.poll(int(GRACE_S * 1000))
        if self._done_lines < self._read_lines:
            os._exit(1)

    def receive(self) -> bytes:
        """The next line; empty at end of input."""
        self.line = self._lines.get()
        return self.line

    def restart(self, command: list[str], env: dict[str, str]) -> None:
        """Become `command`, which is to answer the present line; see Setup.restart."""
        os.dup2(self._in.fileno(), 0)
        os.dup2(self._out, 1)
        line = self.line.decode("utf-8", "surrogateescape")
        os.execve(command[0], command, {**os.environ, **env, REQUEST: line})

    def done(self) -> None:
        """A line is answered."""
        self._done_lines += 1

    def send(self, messages: list[dict[str, Any]]) -> None:
        """Write messages, one a line, in one piece."""
        data = b"".join(encode(m) + b"\n" for m in messages)
        view = memoryview(data)
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._out, view) :]
            except BrokenPipeError:
                raise _Stop from None

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send one notification."""
        self.send([notification(method, params)])


def notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A JSON-RPC notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def encode(message: dict[str, Any]) -> bytes:
    """JSON as it goes over the pipe; what JSON does not know becomes null or text."""
    try:
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(plain(message), separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")


class _Observer:
    """What libraries warn of and log from warnings on, each once with a count.

    Nothing is said while a method runs, since the window is inside one: messages() is what came
    since it was asked last. Only this process is seen, not those that a library starts.
    """

    MOST, LONGEST = 200, 2000  # of different ones; characters of one

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._make, self._show = logging.getLogRecordFactory(), warnings.showwarning
        logging.setLogRecordFactory(self._record)
        warnings.showwarning = self._warning

    def _record(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        if record.levelno >= logging.WARNING:
            level = "error" if record.levelno >= logging.ERROR else "warning"
            text = record.getMessage if record.args else record.msg
            self._add(level, record.name, text, record.pathname, record.lineno)
        return record

    def _warning(self, message: Any, category: Any, filename: str, lineno: int, *more: Any) -> None:
        self._add("warning", category.__name__, message, filename, lineno)
        self._show(message, category, filename, lineno, *more)

    def _add(self, level: str, source: str, text: Any, path: str, line: int) -> None:
        """Note it; what is wrong with it must not become the fault of who said it."""
        try:
            said = str(text() if callable(text) else text)[: self.LONGEST]
            key = (source, said, line)
            if key not in self._seen and len(self._seen) >= self.MOST:
                return
            file = path.replace("\\", "/").rpartition("-packages/")
            name = file[2] if file[1] else os.path.basename(path)
            one = {"level": level, "source": source, "text": said, "file": name, "line": line}
            self._seen.setdefault(key, {**one, "count": 0})["count"] += 1
        except Exception:
            return

    def messages(self) -> list[dict[str, Any]]:
        """A notification for each that came since the last call."""
        fresh = [dict(o) for o in list(self._seen.values()) if o["count"]]
        for o in list(self._seen.values()):
            o["count"] = 0
        return [notification("observation", o) for o in fresh]


class _Server:
    def __init__(self, factory: Callable[[Setup], Engine], channel: _Channel):
        self.factory = factory
        self.channel = channel
        self.observer = _Observer()
        self.engine: Engine | None = None
        self.model = ""
        self.methods = {
            "initialize": self.initialize,
            "clock": lambda p: {"t_ns": time.monotonic_ns()},
            "check_hardware": self.check_hardware,
            "load_prompts": self.load_prompts,
            "open_device": lambda p: {"devices": self.need().open_device()},
            "load_model": self.load_model,
            "run_warmup_prompt": lambda p: {
                "latency_ms": self.need().run_warmup_prompt(int(p["index"]))
            },
            "synchronize": self.synchronize,
            "run_inference": self.run_inference,
            "capture_observed_params": self.capture,
            "sampler_begin": lambda p: self.need().sampler_begin(p["name"]),
            "sampler_end": lambda p: self.need().sampler_end(p["name"]),
            "cleanup": self.cleanup,
            "shutdown": lambda p: {},
        }

    def need(self) -> Engine:
        if self.engine is None:
            raise WorkerError("initialize must come first", "config")
        return self.engine

    def initialize(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("protocol") != PROTOCOL:
            raise WorkerError(
                f"this worker speaks version {PROTOCOL} of the worker protocol, not "
                f"{p.get('protocol')!r}",
                "config",
                "llem and its engines' workers must be of one installation",
            )
        setup = Setup(p, self.channel.notify, self.channel.restart)
        self.model = setup.model
        e = self.engine = self.factory(setup)
        return {
            "protocol": PROTOCOL,
            "name": e.name,
            "version": e.version(),
            "libraries": {"python": sys.version.split()[0], **e.libraries()},
            "capabilities": ["repeats", *e.capabilities],
        }

    def check_hardware(self, p: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"errors": list(self.need().check_hardware())}
        except Exception as error:
            return {"errors": [str(classify(error, self.engine))]}

    def load_prompts(self, p: dict[str, Any]) -> dict[str, Any]:
        lengths, truncated = self.need().load_prompts(
            p["prompts"], p.get("max_input_tokens"), p.get("chat_template")
        )
        return {"input_tokens": lengths, "truncated": truncated}

    def load_model(self, p: dict[str, Any]) -> dict[str, Any]:
        engine = self.need()
        begin = time.monotonic_ns()
        loaded = engine.load_model(engine.setup.progress)
        return {"load_s": (time.monotonic_ns() - begin) * 1e-9, **loaded}

    def synchronize(self, p: dict[str, Any]) -> dict[str, Any]:
        self.need().synchronize()
        return {"t_ns": time.monotonic_ns()}

    def run_inference(self, p: dict[str, Any]) -> dict[str, Any]:
        pass_id = int(p.get("pass", 0))
        done = self.need().run_inference(
            pass_id, list(p["indices"]), int(p.get("repeats", 1)), bool(p.get("stream", False))
        )
        if p.get("text"):
            self.add_texts(done.receipts)
        messages = [
            notification("request", {"pass": pass_id, **drop_none(r)}) for r in done.receipts
        ]
        if done.steps:
            messages.append(notification("steps", done.steps))
        if messages:
            self.channel.send(messages)
        return {
            "t_begin_ns": done.t_begin_ns,
            "t_end_ns": done.t_end_ns,
            "peak_memory_bytes": done.peak_memory_bytes,
            **done.extra,
        }

    def add_texts(self, receipts: list[dict[str, Any]]) -> None:
        """Give receipts the text of their output; without it a run is as good."""
        engine = self.need()
        try:
            for r in receipts:
                if r.get("output_ids") is not None and r.get("output_text") is None:
                    # U+0000 is not accepted in JSON by the harness
                    r["output_text"] = engine.decode(r["output_ids"]).replace("\0", "\ufffd")
        except Exception as error:
            text = f"the outputs have no text: {classify(error, engine, self.model)}"
            self.channel.notify("log", {"level": "warning", "text": text})

    def capture(self, p: dict[str, Any]) -> dict[str, Any]:
        empty = {"engine_params": {}, "sampling_params": {}}
        try:
            return {**empty, **plain(self.need().capture_observed_params())}
        except Exception as error:
            self.channel.notify("log", {"level": "warning", "text": str(error)})
            return empty

    def cleanup(self, p: dict[str, Any]) -> dict[str, Any]:
        if self.engine is not None:
            self.engine.cleanup()
        return {}

    def answer(self, line: bytes) -> bool:
        """Do what a line asks; false after `shutdown`."""
        number = None
        try:
            if len(line) > MAX_LINE:
                raise ValueError(f"a line of more than {MAX_LINE >> 20} MiB")
            request = json.loads(line)
            number, name = request["id"], request["method"]
        except (ValueError, KeyError, TypeError) as error:
            text = f"this is no JSON-RPC request ({error}): {line[:200]!r}"
            self.channel.send([failure(None, -32700, text)])
            return False
        call = self.methods.get(name)
        if call is None:
            self.channel.send([failure(number, -32601, f"there is no method {name!r}")])
            return True
        try:
            result = call(request.get("params") or {})
        except _Stop:
            raise
        except Exception as error:
            known = classify(error, self.engine, self.model)
            data = {"kind": known.kind, "hint": known.hint, "traceback": traceback.format_exc()}
            reply = failure(number, -32000, str(known), drop_none(data))
            self.channel.send([*self.observer.messages(), reply])
            return True
        reply = {"jsonrpc": "2.0", "id": number, "result": result}
        self.channel.send([*self.observer.messages(), reply])
        return name != "shutdown"


def failure(
    number: Any, code: int, message: str, data: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A JSON-RPC error."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": number, "error": error}


def serve(factory: Callable[[Setup], Engine]) -> None:
    """Answer requests until `shutdown` or end of input, then end the process with status 0."""
    channel = _Channel()
    server = _Server(factory, channel)
    try:
        while line := channel.receive():
            more = not line.strip() or server.answer(line)
            channel.done()
            if not more:
                break
        if server.engine is not None:
            server.engine.cleanup()
            server.engine.close()
    except _Stop:
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the frameworks must not keep a worker that has nothing more to do.
    os._exit(0)


def leave_channel() -> None:
    """For a process that was started with the channel and must not use it: 0 empty, 1 as 2."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)


# ---- errors


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def pip_command(package: str) -> str:
    """The command that installs a package into the environment of this worker."""
    return f"{sys.executable} -m pip install {package}"


def need_package(module: str, package: str | None = None, why: str = "") -> Any:
    """Import a module, or raise the error that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == module.split(".")[0]
        text = f"the Python package {package or module}"
        text += (
            f" is not installed in {sys.prefix}"
            if absent
            else f" in {sys.prefix} cannot be imported: {error}"
        )
        if why:
            text += f"; {why}"
        raise WorkerError(text, "missing_package", pip_command(package or module)) from error


def need_version(package: str, version: str, oldest: tuple[int, int]) -> tuple[int, ...]:
    """The first two numbers of an installed version, or the error that says which is needed.

    What has no such numbers, or a build from sources (`dev`) with lower ones, is taken as new.
    """
    found = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if found < oldest and (len(found) < 2 or "dev" in version):
        return (999, 0)
    if found < oldest:
        raise WorkerError(
            f"{package} {version} in {sys.prefix} is too old for this engine",
            "missing_package",
            pip_command("'%s>=%d.%d'" % (package, *oldest)),
        )
    return found


def classify(error: BaseException, engine: Engine | None = None, model: str = "") -> WorkerError:
    """Any exception as an error with a kind and, where there is one, a remedy."""
    if isinstance(error, WorkerError):
        return error
    known = engine.explain(error) if engine is not None else None
    if known is not None:
        return known
    chain = _chain(error)
    names = {type(e).__name__ for e in chain}
    first = first_line(error)
    model = model or (engine.setup.model if engine is not None else "the model")
    if isinstance(error, MemoryError) or any(
        "OutOfMemory" in type(e).__name__
        or "out of memory" in str(e).lower()
        or "can't allocate memory" in str(e)
        for e in chain
    ):
        return WorkerError(
            f"out of memory: {first}",
            "out_of_memory",
            "a smaller batch_size, max_output_tokens or model, a smaller dtype, or quantisation "
            "needs less",
        )
    # The names are those of huggingface_hub, whatever library passed them on.
    if "GatedRepoError" in names:
        return WorkerError(
            f"access to {model} must be granted by its owner first",
            "gated_model",
            f"ask for it on the page of {model}, then set HF_TOKEN to a token of that account",
        )
    if names & {"RepositoryNotFoundError", "RevisionNotFoundError", "HFValidationError"}:
        return WorkerError(
            f"the hub has no model {model}, or this account may not see it",
            "model_not_found",
            "a local directory is given as a path (./name); a private model needs HF_TOKEN",
        )
    if names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        return WorkerError(
            f"{model} is not in the local cache and the hub cannot be reached",
            "model_not_found",
            f"llem fetch, or unset HF_HUB_OFFLINE; searched in {hub_cache()}",
        )
    for e in chain:
        if isinstance(e, ModuleNotFoundError) and e.name:
            return WorkerError(
                f"the Python package {e.name} is not installed in {sys.prefix}",
                "missing_package",
                pip_command(e.name.split(".")[0]),
            )
    return WorkerError(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def first_line(error: BaseException, limit: int = 400) -> str:
    """The first line of a message that is not empty."""
    for line in str(error).splitlines():
        if line.strip():
            line = line.strip()
            return line if len(line) <= limit else line[:limit] + "..."
    return ""


# ---- values


def request_params() -> dict[str, Any]:
    """The params of the request of a restarted worker, for processes that do not serve."""
    return json.loads(os.environ[REQUEST])["params"]


def drop_none(fields: dict[str, Any]) -> dict[str, Any]:
    """A dict without what is None: what cannot be told is left out."""
    return {k: v for k, v in fields.items() if v is not None}


def plain(value: Any, depth: int = 8) -> Any:
    """Any object as JSON values, the same in every run: no addresses, no private fields."""
    if value is None or isinstance(value, (bool, int, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return plain(value.value, depth - 1)
    if depth == 0:
        return type(value).__name__
    if isinstance(value, dict):
        return {str(k): plain(v, depth - 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, depth - 1) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v, depth - 1) for v in value), key=str)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    kind = type(value)
    if kind.__module__ == "torch" and kind.__name__ in ("dtype", "device"):
        return str(value).removeprefix("torch.")
    for name in ("model_dump", "to_dict"):
        dump = getattr(value, name, None)
        if callable(dump) and not isinstance(value, type):
            try:
                return plain(dump(), depth - 1)
            except Exception:
                break
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
    else:
        names = list(getattr(value, "__dict__", {}))
    if callable(value) or not names:
        return getattr(value, "__name__", kind.__name__)
    return {n: plain(getattr(value, n, None), depth - 1) for n in names if not n.startswith("_")}


def versions(*names: str) -> dict[str, str]:
    """Installed versions of packages, without importing them; what is missing is left out."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# ---- prompts


def token_ids(
    prompts: list[str | list[int]],
    limit: int | None,
    encode: Callable[[str, int | None], list[int]],
) -> tuple[list[list[int]], int]:
    """The token ids of prompts, and how many were cut to `limit`; always the beginning is kept.

    `encode` is the engine's tokenizer, which cuts texts itself: some end every text with a token.
    """
    found: list[list[int]] = []
    cut = 0
    for i, prompt in enumerate(prompts):
        ids = list(prompt) if isinstance(prompt, list) else encode(prompt, None)
        if limit and len(ids) > limit:
            ids = ids[:limit] if isinstance(prompt, list) else encode(prompt, limit)
            cut += 1
        if not ids:
            raise WorkerError(
                f"prompt {i} has no tokens; the model has nothing to start from", "config"
            )
        found.append(ids)
    return found, cut


def check_prompts(
    prompts: list[list[int]], context: int | None, vocabulary: int | None, raised_by: str = ""
) -> None:
    """What a library would refuse in the middle of the window is refused before it."""
    for i, prompt in enumerate(prompts):
        if context and len(prompt) >= context:
            hint = f"set task.max_input_tokens below {context}"
            raise WorkerError(
                f"prompt {i} has {len(prompt)} tokens, which leaves no room in the context of "
                f"{context}",
                "config",
                f"{hint}, or raise {raised_by}" if raised_by else hint,
            )
        if vocabulary and (min(prompt) < 0 or max(prompt) >= vocabulary):
            raise WorkerError(
                f"prompt {i} has a token id outside the model's vocabulary of {vocabulary}",
                "config",
            )


def text_of(tokenizer: Any, ids: list[int]) -> str:
    """Output ids as the tokenizer's own decoder writes them, as every engine of llem does.

    The "clean-up" that older configurations ask for takes out spaces that the model wrote.
    """
    try:
        return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    except TypeError:  # a tokenizer that has no such step (Mistral's in vLLM)
        return tokenizer.decode(ids, skip_special_tokens=True)


# ---- models of the hub


def split_revision(model: str) -> tuple[str, str | None]:
    """`id@revision` as its two parts; a directory that exists is taken as it is."""
    if "@" in model and not os.path.exists(model):
        name, _, revision = model.rpartition("@")
        return name, revision or None
    return model, None


def hub_cache() -> str:
    """Where models of the hub are kept, by the variables of huggingface_hub."""
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return os.path.expanduser(cache or os.path.join(home, "hub"))


# ---- memory


def reset_peak_rss() -> None:
    """Let the high-water mark of this process's memory begin anew, where that is allowed."""
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def peak_rss_bytes() -> int | None:
    """The most memory this process had resident since reset_peak_rss."""
    try:
        with open("/proc/self/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
