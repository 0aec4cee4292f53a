# SPDX-License-Identifier: MIT
"""Where libllem and the program llem are: the one place that knows.

In order: what LLEM_LIBRARY (for the program: LLEM_PROGRAM) names; `_native/` beside this file, as
the wheel has it with program and data; the build directory of a source tree; for the library what
the dynamic loader finds. The library finds its program and data by itself from where it lies.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL

LIBRARY = "libllem.so.0"
PROGRAM = "llem"
_HERE = os.path.dirname(os.path.abspath(__file__))
# The directories that may hold both, best first.
_PLACES = (os.path.join(_HERE, "_native"), os.path.join(_HERE, "..", "..", "build"))


def _beside(name: str) -> str | None:
    for place in _PLACES:
        path = os.path.join(place, name)
        if os.path.isfile(path):
            return os.path.normpath(path)
    return None


def library() -> str:
    """The path of libllem, or its bare name where the dynamic loader is to find it."""
    return os.environ.get("LLEM_LIBRARY") or _beside(LIBRARY) or LIBRARY


def program() -> str | None:
    """The path of the program llem; None if there is none. Not looked for along PATH, where the
    command that asks stands itself."""
    return os.environ.get("LLEM_PROGRAM") or _beside(PROGRAM)


@functools.cache
def load() -> CDLL:
    """libllem, loaded once.

    Raises:
        ImportError: it is not there or cannot be loaded; the sentence names it and the remedy.
    """
    from ctypes import CDLL

    path = library()
    try:
        return CDLL(path)
    except OSError as e:
        raise ImportError(
            f"llenergymeasure cannot load its library {path}: {e}. Install the wheel for this "
            "platform, build llem with make, or set LLEM_LIBRARY to the path of libllem.so.0."
        ) from None
