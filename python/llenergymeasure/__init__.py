# SPDX-License-Identifier: MIT
"""Measure what LLM inference costs, and how sure that is: libllem from Python."""

from __future__ import annotations

from typing import Any

import _llem

_llem.check()
__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from ctypes import c_char_p

        from llenergymeasure import _library

        version = _library.load().llem_version
        version.restype = c_char_p
        value = version().decode()
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
