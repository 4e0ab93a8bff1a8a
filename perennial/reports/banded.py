"""A forecast with its band: what came before, what was forecast, and what came true."""

from __future__ import annotations

from typing import Protocol
from xml.etree.ElementTree import Element

import numpy as np

from perennial.data.column_statistics import Floats
from perennial.evaluation.problem_types.forecasting import MEDIAN
from perennial.reports import charts
from perennial.reports.charts import Layer, Point
from perennial.reports.page import LIMIT, THEN, figure, text
from perennial.words import number

MAX_NAME = 60
FIRST, LAST = 1, -1  # the columns of the quantiles 0.1 and 0.9


class Drawn(Protocol):
    """A forecast (monitoring.series_window.Forecast)."""

    @property
    def name(self) -> str: ...
    @property
    def before(self) -> Floats: ...
    @property
    def scores(self) -> Floats: ...
    @property
    def actual(self) -> Floats: ...


def picture(one: Drawn, unit: str) -> Element:
    """Return the picture of a forecast under its name, with what is known of what came true."""
    return figure(text(one.name, MAX_NAME), drawing(one, unit), _about(one, np.isfinite(one.actual)))


def drawing(one: Drawn, unit: str) -> Element:
    """Return the drawing of a forecast."""
    ahead = np.arange(1, len(one.scores) + 1)
    passed = np.arange(1 - len(one.before), 1)
    layers = [
        Layer("before", _points(passed, one.before), LIMIT),
        Layer("median", _points(ahead, one.scores[:, MEDIAN])),
        Layer(
            "band",
            [*_points(ahead, one.scores[:, FIRST]), (None, None), *_points(ahead, one.scores[:, LAST])],
            THEN,
            "5 3",
        ),
    ]
    known = np.isfinite(one.actual)
    if known.any():
        layers.append(Layer("actual", _points(ahead[known], one.actual[known]), LIMIT, dots=True))
    drawn = [layer for layer in layers if layer.points]
    return charts.chart(drawn, "periods ahead", f"value{unit}")


def _about(one: Drawn, known: np.ndarray) -> str:
    if not known.any():
        return "Nobody knows yet what came true."
    inside = (one.actual >= one.scores[:, FIRST]) & (one.actual <= one.scores[:, LAST]) & known
    error = number(float(np.abs(one.actual - one.scores[:, MEDIAN])[known].mean()))
    return f"{inside.sum()} of {known.sum()} values that are known lie in the band; the median errs by {error}."


def _points(x: np.ndarray, y: Floats) -> list[Point]:
    """Return the points of values, broken where there is none."""
    return [(float(at), float(value)) if np.isfinite(value) else (None, None) for at, value in zip(x, y, strict=True)]
