# SPDX-License-Identifier: MIT
"""What can go wrong, by what the caller can do about it.

Field values that cannot be are a `pydantic.ValidationError`, as in the original; everything else is
an `LLEMError`.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "EngineError",
    "ExperimentError",
    "LLEMError",
    "PreFlightError",
    "StudyError",
]


class LLEMError(Exception):
    """Base of every error of this package.

    Attributes:
        hint: what the user can do about it, a sentence or a command; "" if nothing is known.
        kind: a short stable name such as "config", "io" or "timeout"; "" if it is not from libllem.
        file: what it is about; "" if it is not about a file.
        line: 1-based; 0 if it is not about a place in a file.
        column: as line.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        kind: str = "",
        file: str = "",
        line: int = 0,
        column: int = 0,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.kind = kind
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file and self.line else ""
        return place + super().__str__() + (f"\nhint: {self.hint}" if self.hint else "")


class ConfigError(LLEMError):
    """A configuration file cannot be read, or a call contradicts itself."""


class EngineError(LLEMError):
    """The engine failed; an exception of an engine object of the caller's is the cause."""


class PreFlightError(LLEMError):
    """Something that the experiment needs is missing on this machine."""


class ExperimentError(LLEMError):
    """The experiment ended without a result."""


class StudyError(LLEMError):
    """A study cannot be run or resumed."""
