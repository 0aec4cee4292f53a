# SPDX-License-Identifier: MIT
"""What the generated classes are made of: settings that C validates, and fields that C wrote.

Nothing is validated here. A section's values go to libllem as JSON; it answers with the complete
section, or with its errors, which come out as a pydantic.ValidationError that tells the setting of
each.
"""

from __future__ import annotations

import enum
import json
import math
import os
from collections.abc import Mapping
from ctypes import byref, c_void_p
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from llenergymeasure import _binding as c
from llenergymeasure.exceptions import ConfigError

Location = tuple[str | int, ...]


class Fields(BaseModel):
    """A part of a result: written by C, never changed. What a newer version adds is kept."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), defer_build=True)


class Problem:
    """One error: the setting it is about, and the sentence."""

    def __init__(self, location: Location, sentence: str, value: Any = None):
        self.location = location
        self.sentence = sentence
        self.value = value


def invalid(title: str, problems: list[Problem]) -> ValidationError:
    """The exception for errors in settings."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError("llem", "{sentence}", {"sentence": p.sentence}),
                loc=p.location,
                input=p.value,
            )
            for p in problems
        ],
    )


class Complete(dict[str, Any]):
    """A section as C completed it, which of its settings were given, and what the others are."""

    given: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = {}


class Section(BaseModel):
    """A section of settings. Only C validates it, when it is made and again when it is used."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), defer_build=True)
    llem_path: ClassVar[str] = ""

    @model_validator(mode="wrap")
    @classmethod
    def _ask_c(cls, data: Any, handler: Any) -> Any:
        if isinstance(data, cls):
            return handler(data)
        if not isinstance(data, Complete):
            data = cls._complete(data)
        # The sections of engines that nobody sees, hidden ones of tests, stay unseen.
        hidden = {k for k, v in data.items() if v is None and k not in data.given}
        hidden -= cls.model_fields.keys()
        section = handler({k: v for k, v in data.items() if k not in hidden})
        section.__pydantic_fields_set__ = set(data.given)
        return section

    @classmethod
    def _complete(cls, data: Any) -> Complete:
        return complete(cls.__name__, cls.llem_path, data)


def plain(value: Any, problems: list[Problem], at: Location = ()) -> Any:
    """A value as JSON has it; what JSON does not have becomes a problem."""
    if isinstance(value, Section):
        return plain(given(value), problems, at)
    if isinstance(value, enum.Enum):
        return plain(value.value, problems, at)
    if value is None or isinstance(value, (str, bool)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                problems.append(Problem(at, f"{key!r} is no name of a setting, which is text"))
        return {
            key: plain(item, problems, (*at, key))
            for key, item in value.items()
            if isinstance(key, str)
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, problems, (*at, i)) for i, item in enumerate(value)]
    if hasattr(value, "item") and not isinstance(value, float):  # numbers of numpy and torch
        return plain(value.item(), problems, at)
    problems.append(Problem(at, f"{value!r} is no value that a setting can have", value))
    return None


def given(section: Section) -> dict[str, Any]:
    """What was given of a section, without what C completed it with."""
    out: dict[str, Any] = {}
    for name, value in section:
        if isinstance(value, Section):
            below = given(value)
            if below or name in section.model_fields_set:
                out[name] = below
        elif name in section.model_fields_set:
            out[name] = _chosen(value)
    return out


def _chosen(value: Any) -> Any:
    """The same of a section that has no class, whose engine was found at run time."""
    if not isinstance(value, Complete):
        return value
    nothing = object()
    return {k: _chosen(v) for k, v in value.items()
            if k in value.given or v != value.defaults.get(k, nothing)}


def _nest(path: str, data: dict[str, Any]) -> dict[str, Any]:
    for key in reversed(path.split(".") if path else []):
        data = {key: data}
    return data


def _around(path: str, data: dict[str, Any]) -> dict[str, Any]:
    """An experiment in which a section can stand on its own."""
    top = path.split(".")[0]
    whole = _nest(path, data)
    if path and top != "task":
        whole["task"] = {"model": "-"}
    elif path and path != "task":
        whole["task"]["model"] = "-"
    if path and top not in ("task", "measurement", "lora", "output"):
        whole["engine"] = top
    return whole


def location(path: str, below: str = "") -> Location:
    """The path of a setting as pydantic tells places, from the section `below` on."""
    parts = [int(p) if p.isdigit() else p for p in path.split(".")] if path else []
    skip = len(below.split(".")) if below else 0
    return tuple(parts[skip:]) if path.startswith(below) else tuple(parts)


def _at(data: Any, location: Location) -> Any:
    for key in location:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def parse(ctx: c_void_p, text: str, name: str) -> c_void_p:
    """A configuration of the library out of JSON, to llem_config_free().

    Raises:
        LLEMError: it is refused; _binding.problems() has the errors one by one.
    """
    config, err = c_void_p(), c.Error()
    data = text.encode("utf-8", "surrogatepass")
    c.check(
        c.lib().llem_config_from_json(
            byref(config), ctx, data, len(data), name.encode(), None, 0, byref(err)),
        err,
    )
    return config


def resolved(config: c_void_p) -> dict[str, Any]:
    """The complete tree of a configuration, with what belongs to its study."""
    tree: dict[str, Any] = json.loads(c.text(c.lib().llem_config_json(config)) or "{}")
    for name in ("output", "study_name"):
        value = c.text(c.lib().llem_config_get(config, name.encode()))
        if value is not None:
            tree[name] = json.loads(value)
    return tree


def found(ctx: c_void_p, title: str, below: str, data: Any) -> ValidationError | None:
    """The errors of the last load as a ValidationError; None if one is about no setting."""
    out = []
    for p in c.problems(ctx):
        at = location(c.utf8(p.path), below)
        out.append(Problem(at, c.utf8(p.text), _at(data, at)))
    return invalid(title, out) if out else None


def marked(tree: Any, data: Any) -> Any:
    """The tree with each section as Complete, which knows what of it was given."""
    if not isinstance(tree, dict):
        return tree
    asked = data if isinstance(data, dict) else {}
    out = Complete({key: marked(value, asked.get(key)) for key, value in tree.items()})
    out.given = frozenset(asked) & frozenset(tree)
    out.defaults = {key: value for key, value in tree.items() if key not in out.given}
    return out


def complete(title: str, path: str, data: Any) -> Complete:
    """What C makes of a section's values.

    Raises:
        pydantic.ValidationError: C refuses them, or they are nothing that a setting can be.
    """
    bad: list[Problem] = []
    if not isinstance(data, Mapping):
        raise invalid(title, [Problem((), "a section must be a map of settings", data)])
    values = plain(data, bad)
    if bad:
        raise invalid(title, bad)
    text = json.dumps(_around(path, values), ensure_ascii=False, allow_nan=False)
    with c.context() as ctx:
        try:
            config = parse(ctx, text, title)
        except ConfigError:
            errors = found(ctx, title, path, values)
            if errors is None:
                raise
            raise errors from None
        try:
            tree = resolved(config)
        finally:
            c.lib().llem_config_free(config)
    for key in path.split(".") if path else []:
        tree = tree[key]
    section = marked(tree, values)
    assert isinstance(section, Complete)
    return section
