# SPDX-License-Identifier: MIT
"""Results: typed, read from what libllem wrote, never computed anew."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from ctypes import byref, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, PrivateAttr

from llenergymeasure import _binding as c
from llenergymeasure import _fields
from llenergymeasure._fields import *  # noqa: F403
from llenergymeasure._fields import Quantity, ResultFields
from llenergymeasure.exceptions import ExperimentError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = [*(n for n in _fields.__all__ if n != "ResultFields"), "ExperimentResult", "Table"]

Table = Literal["timeseries", "requests"]

# Of a result's figures, those that metrics() leaves out: copies, and what is no figure of the run.
_NO_METRICS = ("process_results", "quantities", "environment", "dataset", "model", "sensors",
               "producer", "recording")


class ExperimentResult(ResultFields):
    """What an experiment measured, field by field as in result.json (docs/formats.md).

    A figure that could not be measured is None, and `quantities` says why; an estimate is in
    `energy_estimated_j`, never in a field of a measurement. Objects do not change.
    """

    _directory: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ExperimentResult:
        """A result again.

        Args:
            path: an experiment's directory, a study's with one experiment, or a result.json.

        Raises:
            ExperimentError: there is none, or it is damaged.
        """
        with c.context() as ctx:
            result, err = c_void_p(), c.Error()
            c.check(c.lib().llem_result_load(byref(result), ctx, c.path(path), byref(err)), err)
            return taken(result)

    @property
    def directory(self) -> Path | None:
        """Where result.json, the recording and the tables are; None of an object made by hand."""
        return self._directory

    @property
    def duration_sec(self) -> float | None:
        """Seconds from start_time to end_time."""
        if self.start_time is None or self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds()

    @property
    def tokens_per_joule(self) -> float | None:
        """Tokens (input and output) a joule; None where joules or tokens were not measured."""
        if self.total_tokens is None or not self.total_energy_j:
            return None
        return self.total_tokens / self.total_energy_j

    def quantity(self, path: str) -> Quantity:
        """A figure with its unit, source, uncertainty, or the reason why there is none.

        Args:
            path: of the field: "total_energy_j", "throughput.output_tokens_per_s".

        Raises:
            KeyError: no such field has an uncertainty of its own.
        """
        return self.quantities[path]

    def metrics(self) -> dict[str, float]:
        """Every figure that is there, by its path, for experiment trackers.

        Numbers only: what is null is left out, and so are texts and lists. Estimates keep names
        that say so ("energy_estimated_j.value").
        """
        out: dict[str, float] = {}
        for name in type(self).model_fields:
            if name not in _NO_METRICS:
                out.update(_numbers(name, getattr(self, name)))
        return out

    def to_arrow(self, table: Table = "timeseries") -> pyarrow.Table:
        """A table of the experiment, as pyarrow reads it.

        Args:
            table: "timeseries", one row a reading of a sensor (power_w in W, energy_j in J,
                timestamp_s in s since the window began); or "requests", one row a request.

        Raises:
            ImportError: pyarrow is not installed.
            ExperimentError: the experiment wrote no such table.
        """
        try:
            import pyarrow.parquet
        except ImportError:
            raise ImportError(
                "tables are read with pyarrow, which is not installed: pip install llem[tables]"
            ) from None
        if table not in ("timeseries", "requests"):
            raise ValueError(f"there is no table {table!r}; there are 'timeseries' and 'requests'")
        path = self._directory / f"{table}.parquet" if self._directory else None
        if path is None or not path.is_file():
            raise ExperimentError(
                f"there is no {table}.parquet",
                hint="It is written unless output.save_timeseries is false."
                if table == "timeseries" else "",
                file=str(path or ""),
            )
        return pyarrow.parquet.read_table(path)

    def to_pandas(self, table: Table = "timeseries") -> pandas.DataFrame:
        """As to_arrow(), for pandas."""
        frame: pandas.DataFrame = self.to_arrow(table).to_pandas()
        return frame

    def to_polars(self, table: Table = "timeseries") -> polars.DataFrame:
        """As to_arrow(), for polars."""
        import polars

        frame = polars.from_arrow(self.to_arrow(table))
        assert isinstance(frame, polars.DataFrame)
        return frame

    def _repr_html_(self) -> str:
        """A small table, and power over time where pyarrow is there to read it."""
        rows = "".join(
            f"<tr><td>{html.escape(label)}</td><td style='text-align:right'>{shown}</td></tr>"
            for label, shown in self._headlines()
        )
        warnings = "".join(f"<li>{html.escape(w)}</li>" for w in self.measurement_warnings)
        return (
            f"<div><b>{html.escape(self.model_name or self.kind)}</b> "
            f"{html.escape(self.engine or '')}"
            f"<table>{rows}</table>{self._plot()}"
            f"{f'<ul>{warnings}</ul>' if warnings else ''}</div>"
        )

    def _headlines(self) -> Iterator[tuple[str, str]]:
        for label, path in (
            ("energy", "total_energy_j"),
            ("energy an output token", "energy.j_per_output_token"),
            ("time", "total_inference_time_sec"),
            ("output tokens a second", "throughput.output_tokens_per_s"),
            ("tokens", "total_tokens"),
        ):
            quantity = self.quantities.get(path)
            if quantity is not None:
                yield label, html.escape(_shown(quantity))
        estimate = self.energy_estimated_j
        if estimate is not None and estimate.value is not None:
            yield "energy, estimated", f"~ {estimate.value:.4g} J"

    def _plot(self) -> str:
        try:
            table = self.to_arrow("timeseries")
        except (ImportError, ExperimentError):
            return ""
        series: dict[str, list[tuple[float, float]]] = {}
        for at, power, domain in zip(
            *(table.column(n).to_pylist() for n in ("timestamp_s", "power_w", "domain")),
            strict=True,
        ):
            if at is not None and power is not None:
                series.setdefault(str(domain), []).append((at, power))
        return _svg(series, self.total_inference_time_sec or 0.0)


def taken(result: c_void_p) -> ExperimentResult:
    """The result that a handle of the library stands for, which is freed."""
    try:
        out = ExperimentResult.model_validate_json(c.lib().llem_result_json(result))
        out._directory = Path(os.path.abspath(os.fsdecode(c.lib().llem_result_dir(result))))
        return out
    finally:
        c.lib().llem_result_free(result)


def _numbers(path: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, BaseModel):
        for name, item in value:
            yield from _numbers(f"{path}.{name}", item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def _shown(q: Quantity) -> str:
    if q.value is None:
        sentence = c.lib().llem_reason_sentence((q.reason or "").encode())
        return f"none: {c.utf8(sentence) or q.reason}"
    if q.ci95 is None:
        return f"{q.value:.5g} {q.unit}"
    return f"{q.value:.5g} {q.unit} ({q.ci95[0]:.5g} to {q.ci95[1]:.5g})"


_WIDTH, _HEIGHT, _POINTS = 480, 120, 400
_COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#7d5ba6", "#b08900")


def _svg(series: dict[str, list[tuple[float, float]]], window_s: float) -> str:
    """Power in W over seconds, one line a domain, the window shaded."""
    points = [p for line in series.values() for p in line]
    if not points:
        return ""
    begin, end = min(p[0] for p in points), max(p[0] for p in points)
    top = max(p[1] for p in points) or 1.0
    span = (end - begin) or 1.0

    def x(at: float) -> float:
        return round((at - begin) / span * _WIDTH, 1)

    lines = []
    for i, (domain, line) in enumerate(sorted(series.items())):
        some = line[:: max(1, len(line) // _POINTS)]
        path = " ".join(f"{x(at)},{round(_HEIGHT * (1 - w / top), 1)}" for at, w in some)
        lines.append(
            f"<polyline fill='none' stroke='{_COLOURS[i % len(_COLOURS)]}' points='{path}'>"
            f"<title>{html.escape(domain)}</title></polyline>"
        )
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT + 20}' role='img' "
        f"aria-label='power over time'>"
        f"<rect x='{x(0.0)}' width='{max(x(window_s) - x(0.0), 0.0)}' height='{_HEIGHT}' "
        f"fill='#8883'/>{''.join(lines)}"
        f"<text x='0' y='{_HEIGHT + 15}' font-size='11'>{begin:.3g} to {end:.3g} s, "
        f"0 to {top:.3g} W</text></svg>"
    )
