# SPDX-License-Identifier: MIT
"""Engines as objects: anything with EnginePlugin's methods is measured in this process."""

from __future__ import annotations

import ctypes
import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from llenergymeasure import _binding as c
from llenergymeasure._devices import gpus, synchronize
from llenergymeasure._interrupts import Interrupts
from llenergymeasure.config import ExperimentConfig, parsed
from llenergymeasure.progress import tell
from llenergymeasure.results import ExperimentResult, taken

__all__ = ["EnginePlugin", "InferenceOutput"]


@dataclasses.dataclass
class InferenceOutput:
    """What run_inference() came to. Only tokens and peak memory count: times are the harness's."""

    elapsed_time_sec: float
    input_tokens: int
    output_tokens: int
    peak_memory_mb: float
    model_memory_mb: float
    batch_times: list[float] = dataclasses.field(default_factory=list)
    extras: dict[str, Any] = dataclasses.field(default_factory=dict)
    inference_time_sec: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens


@runtime_checkable
class EnginePlugin(Protocol):
    """What runs a model, as the harness sees it. Methods are called one at a time, in the thread
    that called run_experiment()."""

    @property
    def name(self) -> str:
        """Of the engine, for the record."""

    @property
    def version(self) -> str:
        """Of what runs the model."""

    def load_model(
        self, config: ExperimentConfig, on_substep: Callable[[str, float], None] | None = None
    ) -> Any:
        """Load the weights; what is returned is handed to the other methods."""

    def run_warmup_prompt(self, config: ExperimentConfig, model: Any, prompt: str) -> float:
        """One prompt; its latency in ms, or 0.0 if the engine warms up by itself."""

    def run_inference(
        self, config: ExperimentConfig, model: Any, prompts: list[str]
    ) -> InferenceOutput:
        """The measured work."""

    def cleanup(self, model: Any) -> None:
        """Give memory back."""

    def check_hardware(self, config: ExperimentConfig) -> list[str]:
        """What cannot work here, a sentence each."""

    def capture_observed_params(
        self, config: ExperimentConfig, model: Any, output: InferenceOutput
    ) -> dict[str, Any]:
        """What was really used."""


# ---- include/llem/engine.h ----------------------------------------------------------------------


class Output(ctypes.Structure):
    """llem_engine_output"""

    _fields_ = [
        ("size", c_size_t),
        ("input_tokens", c_int64),
        ("output_tokens", c_int64),
        ("peak_memory_bytes", c_int64),
    ]


_ERR = POINTER(c.Error)
_Answer = CFUNCTYPE(None, c_void_p, c_char_p)
_Ask = CFUNCTYPE(None, c_void_p, _Answer, c_void_p)
_Step = CFUNCTYPE(c_int, c_void_p, _ERR)
_Warmup = CFUNCTYPE(c_int, c_void_p, c_char_p, POINTER(c_double), _ERR)
_Inference = CFUNCTYPE(c_int, c_void_p, POINTER(c_char_p), c_size_t, POINTER(Output), _ERR)
_Plain = CFUNCTYPE(None, c_void_p)
_Progress = CFUNCTYPE(None, c_void_p, POINTER(c.Event))


class Table(ctypes.Structure):
    """llem_engine_table"""

    _fields_ = [
        ("size", c_size_t),
        ("self", c_void_p),
        ("name", c_char_p),
        ("version", c_char_p),
        ("check_hardware", _Ask),
        ("devices", _Ask),
        ("load_model", _Step),
        ("run_warmup_prompt", _Warmup),
        ("synchronize", _Step),
        ("run_inference", _Inference),
        ("capture_observed_params", _Ask),
        ("cleanup", _Plain),
    ]


class EngineRun(ctypes.Structure):
    """llem_engine_run"""

    _fields_ = [
        ("size", c_size_t),
        ("config", c_void_p),
        ("engine", POINTER(Table)),
        ("output_dir", c_char_p),
        ("skip_preflight", c_int),
        ("progress", _Progress),
        ("idle", _Plain),
        ("progress_user", c_void_p),
        ("cancel", POINTER(c_int)),
    ]


# ---- an object behind the table -----------------------------------------------------------------


class _Object:
    """The callbacks for one object, and what went wrong in them."""

    def __init__(self, plugin: Any, config: ExperimentConfig, progress: Any):
        self.plugin, self.config, self.progress = plugin, config, progress
        self.model: Any = None
        self.output: Any = None
        self.error: BaseException | None = None
        self.interrupts = Interrupts()

    def call(self, method: str, default: Any, *arguments: Any, **named: Any) -> Any:
        """A method that the object need not have."""
        found = getattr(self.plugin, method, None)
        if found is None:
            return default
        with self.interrupts.raised():
            return found(*arguments, **named)

    def guarded(self, err: Any, work: Callable[[], None]) -> int:
        """Exceptions become failures of the library's, and are kept."""
        try:
            work()
            return 0
        except BaseException as e:
            self.error = self.error or e
            if err:
                err.contents.msg = f"{type(e).__name__}: {e}".encode()[:1000].decode(
                    "utf-8", "ignore").encode()
            return c.CANCELED if isinstance(e, KeyboardInterrupt) else c.PLUGIN

    def quiet(self, work: Callable[[], None]) -> None:
        """For what must not fail: an exception ends the experiment at its next step."""
        if self.guarded(None, work) < 0:
            self.interrupts.cancel.value = 1

    def load(self) -> None:
        extra: dict[str, Any] = {}
        if "on_substep" in inspect.signature(self.plugin.load_model).parameters:
            extra["on_substep"] = self.substep
        self.model = self.call("load_model", None, self.config, **extra)

    def substep(self, text: str, seconds: float = 0.0) -> None:
        method = getattr(self.progress, "on_substep", None)
        if method is not None:
            method("model", text, seconds)

    def infer(self, prompts: list[str], out: Output) -> None:
        output = self.call("run_inference", None, self.config, self.model, prompts)
        self.output = output

        def field(name: str) -> Any:
            return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)

        for name in ("input_tokens", "output_tokens"):
            value = field(name)
            setattr(out, name, -1 if value is None else int(value))
        peak = field("peak_memory_mb")
        out.peak_memory_bytes = int(peak * (1 << 20)) if peak else -1

    def observed(self) -> str:
        told = self.call(
            "capture_observed_params", {}, self.config, self.model, self.output) or {}
        return json.dumps(
            {"engine_params": told.get("engine_params", told.get("engine", {})),
             "sampling_params": told.get("sampling_params", told.get("sampling", {}))},
            default=str)

    def table(self) -> Table:
        """The functions; they must live as long as the call that uses them."""

        def ask(texts: Callable[[], list[str]]) -> Any:
            def answers(_: Any, answer: Any, to: Any) -> None:
                def work() -> None:
                    for text in texts():
                        answer(to, str(text).encode())

                self.quiet(work)

            return _Ask(answers)

        def warmup(_: Any, prompt: bytes, latency: Any, err: Any) -> int:
            def work() -> None:
                latency[0] = float(self.call(
                    "run_warmup_prompt", 0.0, self.config, self.model, prompt.decode()))
            return self.guarded(err, work)

        def inference(_: Any, prompts: Any, count: int, out: Any, err: Any) -> int:
            return self.guarded(err, lambda: self.infer(
                [prompts[i].decode() for i in range(count)], out.contents))

        return Table(
            size=ctypes.sizeof(Table),
            name=str(getattr(self.plugin, "name", type(self.plugin).__name__)).encode(),
            version=str(getattr(self.plugin, "version", "unknown")).encode(),
            check_hardware=ask(lambda: self.call("check_hardware", [], self.config)),
            devices=ask(lambda: [json.dumps(gpus())]),
            load_model=_Step(lambda _, err: self.guarded(err, self.load)),
            run_warmup_prompt=_Warmup(warmup),
            synchronize=_Step(lambda _, err: self.guarded(err, synchronize)),
            run_inference=_Inference(inference),
            capture_observed_params=ask(lambda: [self.observed()]),
            cleanup=_Plain(lambda _: self.quiet(
                lambda: self.call("cleanup", None, self.model))),
        )


def run(
    plugin: Any, wanted: str | Path | ExperimentConfig, skip_preflight: bool, progress: Any,
    output_dir: str | Path | None,
) -> ExperimentResult:
    """run_experiment() for an object."""
    config = wanted if isinstance(wanted, ExperimentConfig) else ExperimentConfig.from_file(wanted)
    kind = type(plugin)
    name = f"python:{kind.__module__}:{kind.__qualname__}".replace("<locals>", "locals")
    function = c.lib().llem_run_engine
    function.restype = c_int
    function.argtypes = [POINTER(c_void_p), c_void_p, POINTER(EngineRun), _ERR]
    with c.context() as ctx:
        made = parsed(ctx, config, engine=name)
        config = config.model_copy(update={"engine": name})
        it = _Object(plugin, config, progress)
        table = it.table()
        args = EngineRun(
            size=ctypes.sizeof(EngineRun),
            config=made,
            engine=ctypes.pointer(table),
            output_dir=None if output_dir is None else c.path(output_dir),
            skip_preflight=int(skip_preflight),
            progress=_Progress(lambda _, event: it.quiet(
                lambda: tell(progress, event.contents))),
            idle=_Plain(lambda _: None),
            cancel=ctypes.pointer(it.interrupts.cancel),
        )
        result, err = c_void_p(), c.Error()
        try:
            with it.interrupts:
                code = function(byref(result), ctx, byref(args), byref(err))
        finally:
            c.lib().llem_config_free(made)
        if code < 0:
            it.interrupts.check()
            err.code = code
            failure = c.failure(err)
            if it.error is None:
                raise failure
            if code == c.CANCELED:  # of a progress callback, or of what must not fail
                raise it.error
            raise failure from it.error
        return taken(result)
