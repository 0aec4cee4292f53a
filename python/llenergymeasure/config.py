# SPDX-License-Identifier: MIT
"""Configurations of experiments: typed sections that libllem validates."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from ctypes import byref, c_void_p

from pydantic import PrivateAttr, ValidationError

from llenergymeasure import _binding as c
from llenergymeasure import _section, _settings
from llenergymeasure._settings import *  # noqa: F403
from llenergymeasure._settings import ExperimentSettings
from llenergymeasure.exceptions import ConfigError, LLEMError

__all__ = [*(n for n in _settings.__all__ if n != "ExperimentSettings"), "ExperimentConfig"]


class ExperimentConfig(ExperimentSettings):
    """One experiment: what is measured (`task`), how (`measurement`), and by which `engine`.

    A section for an engine goes under the engine's name, engines of others included. Sections may
    be given as objects or as maps; what is left out has its default, the user's configuration and
    LLEM_ variables counting as they do for `llem run` (docs/configuration.md).

    Raises:
        pydantic.ValidationError: every setting that cannot be, with its place and why.
    """

    _file: str | None = PrivateAttr(default=None)  # paths are relative to it

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> ExperimentConfig:
        """The experiment that a YAML or JSON file describes.

        Raises:
            ConfigError: the file cannot be read, or has keys at its top that llem does not know.
            pydantic.ValidationError: its settings cannot be.
        """
        with c.context() as ctx:
            config = load(ctx, path)
            try:
                tree = _section.resolved(config)
                return experiment_of(tree, given_of(config, tree), path)
            finally:
                c.lib().llem_config_free(config)

    @property
    def measurement_config_hash(self) -> str:
        """16 hex digits that two configurations share if they measure the same."""
        with c.context() as ctx:
            config = parsed(ctx, self)
            try:
                return c.utf8(c.lib().llem_config_hash_hex(config))
            finally:
                c.lib().llem_config_free(config)


def experiment_of(
    tree: dict[str, object], given: dict[str, object], path: str | os.PathLike[str],
) -> ExperimentConfig:
    """A complete tree of a file's, and what of it was given, as an object."""
    experiment = ExperimentConfig.model_validate(_section.marked(tree, given))
    experiment._file = os.path.abspath(path)
    return experiment


def given_of(
    config: c_void_p, tree: dict[str, object], above: str = "",
) -> dict[str, object]:
    """What of a tree neither a default nor a preset says."""
    out: dict[str, object] = {}
    for key, value in tree.items():
        path = above + key
        if isinstance(value, dict) and value:
            below = given_of(config, value, path + ".")
            if below:
                out[key] = below
            continue
        origin = c.text(c.lib().llem_config_origin(config, path.encode())) or "default"
        if origin != "default" and not origin.startswith("sampling_preset: "):
            out[key] = value
    return out


def load(ctx: c_void_p, path: str | os.PathLike[str]) -> c_void_p:
    """A file as a configuration of the library, to llem_config_free().

    Raises:
        ConfigError, pydantic.ValidationError: as ExperimentConfig.from_file().
    """
    config, err = c_void_p(), c.Error()
    code = c.lib().llem_config_load(byref(config), ctx, c.path(path), None, 0, byref(err))
    if code == 0:
        return config
    err.code = code
    raise refused(ctx, err, "ExperimentConfig", ExperimentConfig.model_fields)


def refused(
    ctx: c_void_p, err: c.Error, title: str, known: Collection[str],
) -> LLEMError | ValidationError:
    """The exception for a file that the library has just refused.

    Args:
        known: what may stand at its top.
    """
    problems = c.problems(ctx)
    fields = [
        _section.Problem(
            _section.location(c.utf8(p.path)),
            f"{c.utf8(p.file)}:{p.line}:{p.column}: {c.utf8(p.text)}",
        )
        for p in problems
    ]
    # As the original: a file that is no experiment is its own kind of error.
    if not fields or any(not f.location or f.location[0] not in known for f in fields):
        return c.failure(err)
    return _section.invalid(title, fields)


def parsed(ctx: c_void_p, config: ExperimentConfig, engine: str | None = None) -> c_void_p:
    """An object as a configuration of the library, to llem_config_free().

    Args:
        engine: what to record as its engine instead of its own.

    Raises:
        pydantic.ValidationError: it was changed to something that cannot be.
    """
    bad: list[_section.Problem] = []
    values = _section.plain(config, bad)
    if bad:
        raise _section.invalid("ExperimentConfig", bad)
    if engine:
        values["engine"] = engine
    try:
        name = config._file or "ExperimentConfig"
        return _section.parse(ctx, json.dumps(values, ensure_ascii=False), name)
    except ConfigError:
        errors = _section.found(ctx, "ExperimentConfig", "", values)
        if errors is None:
            raise
        raise errors from None
