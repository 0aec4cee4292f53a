# SPDX-License-Identifier: MIT
"""Where libllem is: the one place that knows.

In order: what LLEM_LIBRARY names; `_native/` beside this file, as the wheel has it with program and
data; the build directory of a source tree; what the dynamic loader finds. The library finds its
program and data by itself from where it lies.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL

LIBRARY = "libllem.so.0"
_HERE = os.path.dirname(os.path.abspath(__file__))
_PLACES = (os.path.join(_HERE, "_native"), os.path.join(_HERE, "..", "..", "build"))


def library() -> str:
    """The path of libllem, or its bare name where the dynamic loader is to find it."""
    paths = (os.path.normpath(os.path.join(place, LIBRARY)) for place in _PLACES)
    return os.environ.get("LLEM_LIBRARY") or next(filter(os.path.isfile, paths), LIBRARY)


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
