# SPDX-License-Identifier: MIT
"""libllem's C API (include/llem) in ctypes: structs, prototypes, and failures as exceptions.

A context is made for each use and freed after it: two threads never share one, a forked child
inherits none, and nothing is global but the loaded library. ctypes lets go of the GIL during
every call.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_int, c_size_t, c_void_p
from typing import Any

from llenergymeasure import _library
from llenergymeasure.exceptions import (
    ConfigError,
    EngineError,
    ExperimentError,
    LLEMError,
    PreFlightError,
    StudyError,
)

# llem_errcode by what the caller can do about it; others are an ExperimentError.
PLUGIN, CANCELED = -6, -7
_CLASSES: dict[int, type[LLEMError]] = {
    -1: ConfigError,
    -4: ConfigError,
    -5: PreFlightError,
    -6: EngineError,
    -9: PreFlightError,
    -13: StudyError,
}

# llem_event_type
(NONE, STARTED, STEP_START, STEP_UPDATE, STEP_DONE, STEP_SKIP, SUBSTEP, LIVE, WARNING,
 FINISHED, ENDED, PAUSE) = range(12)


class Error(ctypes.Structure):
    """llem_error"""

    _fields_ = [
        ("code", c_int),
        ("line", c_int),
        ("column", c_int),
        ("file", c_char * 256),
        ("msg", c_char * 1024),
        ("hint", c_char * 512),
    ]


LogFn = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_char_p)


class CtxOpts(ctypes.Structure):
    """llem_ctx_opts"""

    _fields_ = [
        ("size", c_size_t),
        ("log", LogFn),
        ("log_user", c_void_p),
        ("program", c_char_p),
        ("data_dir", c_char_p),
        ("user_config", c_char_p),
        ("python", c_char_p),
    ]


class Setting(ctypes.Structure):
    """llem_setting"""

    _fields_ = [
        ("path", c_char_p),
        ("value", c_char_p),
        ("origin", c_char_p),
        ("literal", c_int),
        ("weak", c_int),
        ("axis", c_int),
    ]


class Problem(ctypes.Structure):
    """llem_config_problem"""

    _fields_ = [
        ("path", c_char_p),
        ("text", c_char_p),
        ("file", c_char_p),
        ("line", c_int),
        ("column", c_int),
    ]


class Event(ctypes.Structure):
    """llem_event"""

    _fields_ = [
        ("type", c_int),
        ("step", c_char_p),
        ("text", c_char_p),
        ("reason", c_char_p),
        ("elapsed_s", c_double),
        ("fraction", c_double),
        ("power_w", c_double),
        ("tokens_per_s", c_double),
        ("temperature_c", c_double),
        ("energy_j", c_double),
        ("energy_estimated_j", c_double),
        ("run", c_int),
        ("n_runs", c_int),
    ]


class RunKey(ctypes.Structure):
    """llem_run_key"""

    _fields_ = [
        ("config_hash", c_char_p),
        ("cycle", c_int),
    ]


class RunOpts(ctypes.Structure):
    """llem_run_opts"""

    _fields_ = [
        ("size", c_size_t),
        ("output_dir", c_char_p),
        ("skip_preflight", c_int),
        ("quick", c_int),
        ("timeout_s", c_double),
        ("resume", c_int),
        ("resume_dir", c_char_p),
        ("accept_drift", c_int),
        ("no_lock", c_int),
        ("skip", POINTER(RunKey)),
        ("n_skip", c_size_t),
    ]


_ERR = POINTER(Error)
_OUT = POINTER(c_void_p)
# Name: what it returns, and its arguments. A `char *` to free() is a c_void_p; text() reads it.
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "llem_version": (c_char_p, []),
    "llem_errcode_name": (c_char_p, [c_int]),
    "llem_ctx_new": (c_int, [_OUT, POINTER(CtxOpts), _ERR]),
    "llem_ctx_free": (None, [c_void_p]),
    "llem_config_load": (
        c_int, [_OUT, c_void_p, c_char_p, POINTER(Setting), c_size_t, _ERR]),
    "llem_config_from_json": (
        c_int, [_OUT, c_void_p, c_char_p, c_size_t, c_char_p, POINTER(Setting), c_size_t, _ERR]),
    "llem_config_free": (None, [c_void_p]),
    "llem_config_hash_hex": (c_char_p, [c_void_p]),
    "llem_config_json": (c_void_p, [c_void_p]),
    "llem_config_get": (c_void_p, [c_void_p, c_char_p]),
    "llem_config_origin": (c_void_p, [c_void_p, c_char_p]),
    "llem_config_problems": (POINTER(Problem), [c_void_p, POINTER(c_size_t)]),
    "llem_job_start": (c_int, [_OUT, c_void_p, c_void_p, POINTER(RunOpts), _ERR]),
    "llem_job_wait": (c_int, [c_void_p, c_double, POINTER(Event), _ERR]),
    "llem_job_cancel": (None, [c_void_p]),
    "llem_job_result": (c_int, [c_void_p, _OUT, _ERR]),
    "llem_job_dir": (c_char_p, [c_void_p]),
    "llem_job_study_dir": (c_char_p, [c_void_p]),
    "llem_job_free": (None, [c_void_p]),
    "llem_plan_study": (
        c_int, [_OUT, c_void_p, c_char_p, POINTER(Setting), c_size_t, _ERR]),
    "llem_plan_from_json": (
        c_int, [_OUT, c_void_p, c_char_p, c_size_t, c_char_p, POINTER(Setting), c_size_t, _ERR]),
    "llem_plan_free": (None, [c_void_p]),
    "llem_plan_json": (c_void_p, [c_void_p]),
    "llem_plan_groups": (c_void_p, [c_void_p]),
    "llem_plan_experiment": (c_int, [_OUT, c_void_p, c_size_t, _ERR]),
    "llem_study_start": (c_int, [_OUT, c_void_p, c_void_p, POINTER(RunOpts), _ERR]),
    "llem_study_load": (c_int, [_OUT, c_void_p, c_char_p, _ERR]),
    "llem_study_table": (c_int, [c_void_p, c_char_p, _OUT, POINTER(c_size_t), _ERR]),
    "llem_result_load": (c_int, [_OUT, c_void_p, c_char_p, _ERR]),
    "llem_result_free": (None, [c_void_p]),
    "llem_result_json": (c_char_p, [c_void_p]),
    "llem_result_dir": (c_char_p, [c_void_p]),
    "llem_reason_sentence": (c_char_p, [c_char_p]),
    "llem_reason_hint": (c_char_p, [c_char_p]),
}


@functools.cache
def lib() -> Any:
    """libllem with its prototypes."""
    library = _library.load()
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


@functools.cache
def _free() -> Any:
    """free() of the C library that allocated."""
    function = ctypes.CDLL(None).free
    function.restype = None
    function.argtypes = [c_void_p]
    return function


def utf8(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def path(value: str | os.PathLike[str]) -> bytes:
    """A path for C.

    Raises:
        ConfigError: it holds a NUL byte.
    """
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ConfigError("a path must not hold a NUL byte")
    return encoded


def text(address: int | None) -> str | None:
    """A `char *` that is ours to free; None for NULL."""
    if not address:
        return None
    try:
        return ctypes.string_at(address).decode()
    finally:
        _free()(address)


def data(address: c_void_p, size: int) -> bytes:
    """Bytes that are ours to free."""
    try:
        return ctypes.string_at(address, size)
    finally:
        _free()(address)


def failure(err: Error) -> LLEMError:
    """The exception for a failure of the library."""
    kind = _CLASSES.get(err.code, ExperimentError)
    return kind(
        utf8(err.msg),
        hint=utf8(err.hint),
        kind=utf8(lib().llem_errcode_name(err.code)),
        file=utf8(err.file),
        line=err.line,
        column=err.column,
    )


def check(code: int, err: Error) -> None:
    """Raise what a call reported."""
    if code < 0:
        err.code = code
        raise failure(err)


def _write_log(user: int | None, level: int, module: bytes, line: bytes) -> None:
    """The library's log goes where Python's does."""
    levels = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
    logger = logging.getLogger(f"llenergymeasure.{utf8(module)}")
    logger.log(levels[min(level, len(levels) - 1)], "%s", utf8(line))


_LOG = LogFn(_write_log)


@contextmanager
def context() -> Iterator[c_void_p]:
    """A context of the library's own for one use of it; its log is logging's."""
    ctx, err = c_void_p(), Error()
    opts = CtxOpts(log=_LOG, python=os.fsencode(sys.executable) if sys.executable else None)
    opts.size = ctypes.sizeof(opts)
    check(lib().llem_ctx_new(byref(ctx), byref(opts), byref(err)), err)
    try:
        yield ctx
    finally:
        lib().llem_ctx_free(ctx)


def problems(ctx: c_void_p) -> list[Problem]:
    """The errors of the last failed load in this context; borrowed from it."""
    count = c_size_t()
    items = lib().llem_config_problems(ctx, byref(count))
    return [items[i] for i in range(count.value)]
