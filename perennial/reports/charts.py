"""Charts with axes, as SVG: drawn by leather (docs/decisions/0032-a-report-is-drawn-by-leather-and-needs-no-script.md).

A chart has two axes of numbers. Nothing in it is more than MAX_POINTS points: who has more bins or samples them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from xml.etree.ElementTree import Element

import leather
import numpy as np
from leather import theme
from leather.scales import linear
from leather.ticks.score import MAX_TICK_COUNT, ScoreTicker

from perennial.reports.page import LIMIT, NOW, THEN, element
from perennial.words import number

WIDTH, HEIGHT = 420, 250
MAX_POINTS = 400
_NUMBER = re.compile(r"-?\d[\d.]*(?:E[+-]?\d+)?")
_COORDINATES = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "d")
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
TIMES = 4  # ticks of an axis of times
DAY = 86_400  # seconds

theme.background_color = "none"
theme.margin = 0.04
theme.legend_color = theme.axis_title_color = theme.label_color = LIMIT
theme.tick_color = "#d9dee3"
theme.legend_font_family = theme.axis_title_font_family = theme.tick_font_family = "sans-serif"
theme.tick_font_size, theme.tick_font_char_width, theme.tick_font_char_height = 12, 7, 12
theme.axis_title_font_size = theme.legend_font_size = 13
theme.axis_title_gap = 12


class Ticker(ScoreTicker):  # type: ignore[misc]  # leather has no types
    """leather's ticks in half the time: it makes all ticks of an interval before it throws it away for their number."""

    _made = 0

    def _round_tick(self, tick: Decimal) -> Decimal:
        """Return a tick, or one beyond the axis, which ends it, where there are too many of an interval."""
        self._made = 1 if tick <= self._domain_min else self._made + 1  # an interval begins there or before
        return Decimal("Infinity") if self._made > MAX_TICK_COUNT else super()._round_tick(tick)


linear.ScoreTicker = Ticker

Point = tuple[float | None, float | None]


@dataclass(frozen=True)
class Layer:
    """One series: a line through its points, broken at (None, None), or its points as dots."""

    name: str
    points: Sequence[Point]
    color: str = NOW
    dashes: str | None = None
    dots: bool = False


def chart(layers: Sequence[Layer], x: str, y: str, *, times: bool = False) -> Element:
    """Return the SVG of a chart with these names of its axes, or a text where what it shows cannot be drawn.

    times  x is seconds of the epoch
    """
    try:
        group = _group(layers, x, y, times)
    except (ArithmeticError, LookupError, ValueError):
        return element("p", "The numbers are too large or too close to be drawn.", class_="muted")
    _shorten(group)
    label = f"{y} by {x}: {', '.join(layer.name for layer in layers)}"
    return element(
        "svg", element("title", label), group, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="chart",
        width=str(WIDTH), height=str(HEIGHT),
    )  # fmt: skip


def steps(edges: Sequence[float], heights: Sequence[float]) -> list[Point]:
    """Return the outline of a histogram."""
    outline: list[Point] = [(float(edges[0]), 0.0)]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        outline += [(float(left), float(height)), (float(right), float(height))]
    return [*outline, (float(edges[-1]), 0.0)]


def sampled(count: int) -> np.ndarray:
    """Return which of so many points are drawn: all, or MAX_POINTS at random, the same each time."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MAX_POINTS, replace=False))


def spark(then: Sequence[float], now: Sequence[float]) -> Element:
    """Return the shapes of two rows of heights without axes, small enough for a table."""
    highest = max([*then, *now, 1e-9])
    lines = [
        element("polyline", points=_corners(heights, highest), fill="none", stroke=color, stroke_width="2")
        for heights, color in ((then, THEN), (now, NOW))
        if heights
    ]
    return element("svg", *lines, viewBox="0 0 112 26", class_="spark", role="img", aria_label="then and now")


def _corners(heights: Sequence[float], highest: float) -> str:
    width = 112 / len(heights)
    places = [(round(width * (place + side), 1), height) for place, height in enumerate(heights) for side in (0, 1)]
    return " ".join(f"{x:g},{25 - 24 * height / highest:.1f}" for x, height in places)


def _group(layers: Sequence[Layer], x: str, y: str, times: bool) -> Element:
    drawn = leather.Chart()
    for layer in layers:
        if layer.dots:
            drawn.add_dots(layer.points, name=layer.name, fill_color=layer.color, radius=2.5)
        else:
            drawn.add_line(
                layer.points, name=layer.name, stroke_color=layer.color, width=2, stroke_dasharray=layer.dashes
            )
    ranges = [_range([point[axis] for layer in layers for point in layer.points]) for axis in (0, 1)]
    drawn.add_x_scale(*ranges[0])
    drawn.add_y_scale(*ranges[1])
    if times:
        drawn.add_x_axis(np.linspace(*ranges[0], TIMES).tolist(), _clock(*ranges[0]), x)
    else:
        drawn.add_x_axis(tick_formatter=_tick, name=x)
    drawn.add_y_axis(tick_formatter=_tick, name=y)
    group: Element = drawn.to_svg_group(WIDTH, HEIGHT)
    return group


def _range(values: Sequence[float | None]) -> tuple[float, float]:
    there = [value for value in values if value is not None]
    low, high = min(there), max(there)
    wider = max(abs(low), 1.0) * 0.05 if high - low <= 1e-9 * max(abs(low), abs(high)) else 0.0
    return low - wider, high + wider


def _tick(value: float, index: int, count: int) -> str:
    amount = float(value)
    for factor, letter in _THOUSANDS:
        if factor <= abs(amount) < 1000 * factor and abs(amount) >= 10_000:
            return f"{number(amount / factor)}{letter}"
    return number(amount)


def _clock(first: float, last: float) -> Callable[[float, int, int], str]:
    """Return what writes times: as days, or as hours where all are of a few days."""
    form = "%m-%d" if last - first > 3 * DAY else "%H:%M"
    return lambda value, index, count: datetime.fromtimestamp(float(value), UTC).strftime(form)


def _shorten(group: Element) -> None:
    """Write coordinates with one decimal: leather writes all that it has computed."""
    for one in group.iter():
        for name in _COORDINATES:
            if name in one.attrib:
                one.set(name, _NUMBER.sub(lambda match: f"{float(match[0]):.1f}", one.attrib[name]))
