# SPDX-License-Identifier: MIT
"""Ctrl-C while the library works in this thread.

Python runs its signal handler only when Python code runs: in a callback. An exception there would
be lost, so the handler sets the flag that the library looks at, and raises only in the caller's
own code. Threads other than the main one hear no signals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_int
from typing import Any


class Interrupts:
    """Within its `with`, Ctrl-C counts up `cancel`; check() raises it afterwards."""

    def __init__(self) -> None:
        self.cancel = c_int(0)
        self._heard = self._raise = self._mine = False

    def __enter__(self) -> None:
        self._mine = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._mine:
            signal.signal(signal.SIGINT, self._on_signal)

    def __exit__(self, *exception: object) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._heard = True
        self.cancel.value += 1
        if self._raise:
            raise KeyboardInterrupt

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Code of the caller's: here it is an exception, as anywhere."""
        self._raise = True
        try:
            yield
        finally:
            self._raise = False

    def check(self) -> None:
        """Raise what was heard.

        Raises:
            KeyboardInterrupt: there was a Ctrl-C.
        """
        if self._heard:
            raise KeyboardInterrupt
