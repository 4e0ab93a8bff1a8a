"""How the values of a column are distributed, then and now, of what `statistics.json` says of it.

A side is an entry of `features` of that document, or None where it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from perennial.data.distributions import Distribution, below, distribution, quantile
from perennial.reports import charts
from perennial.reports.page import NOW, THEN, Content, element, table, text

Side = Mapping[str, Any] | None
BINS = 20
TAIL = 0.005  # share of the rows, on each side, that the outermost bins hold whatever they are
MOST_VALUES = 8  # texts that are shown, the rest is one
MAX_VALUE = 40  # characters of a text
ROUNDING = 1e-9  # what a sum of shares may be off by
_NUMBERS, _TEXTS = "numerical_statistics", "string_statistics"


def picture(then: Side, now: Side, axis: str, names: tuple[str, str] = ("then", "now")) -> Element:
    """Return the distribution on both sides: outlines of histograms, or bars of the most frequent texts."""
    kind, sides = _described(then, now)
    if not kind:
        return element("p", "No values, or too many different texts to count them.", class_="muted")
    if kind == _TEXTS:
        return _bars(sides, names)
    edges, heights = _binned(sides)
    styles = ((THEN, "5 3"), (NOW, None))
    layers = [
        charts.Layer(name, charts.steps(edges, each), *style)
        for name, each, style in zip(names, heights, styles, strict=True)
        if each
    ]
    return charts.chart(layers, axis, "share of rows")


def small(then: Side, now: Side) -> Element | None:
    """Return the same without axes, for a table; None where there is nothing to show."""
    kind, sides = _described(then, now)
    if not kind:
        return None
    _, heights = _binned(sides) if kind == _NUMBERS else _shares(sides)
    return charts.spark(*heights)


_Statistics = Mapping[str, Any] | None


def _described(*sides: Side) -> tuple[str, list[_Statistics]]:
    """Return the one kind that sides with values are of, and their statistics; no kind where they are of several."""
    kinds = [next((kind for kind in (_NUMBERS, _TEXTS) if side and kind in side), "") for side in sides]
    each = [side[kind] if side and kind else None for side, kind in zip(sides, kinds, strict=True)]
    statistics = [one if one and _has_values(one) else None for one in each]
    there = {kind for kind, one in zip(kinds, statistics, strict=True) if one}
    return (there.pop() if len(there) == 1 else ""), statistics


def _has_values(statistics: Mapping[str, Any]) -> bool:
    counted = statistics["distribution"].get("categorical", {"buckets": True})["buckets"]
    return bool(statistics["common"]["num_present"] and counted)


# ---- Numbers


def _binned(sides: Sequence[_Statistics]) -> tuple[list[float], list[list[float]]]:
    """Return the edges of bins, and for each side the share of its rows in each: nothing where there is no side."""
    known = [distribution(side) if side else None for side in sides]
    edges = _edges([one for one in known if one])
    return edges, [_heights(one, edges) if one else [] for one in known]


def _edges(sides: Sequence[Distribution]) -> list[float]:
    low = min(quantile(one, TAIL) for one in sides)
    high = max(quantile(one, 1 - TAIL) for one in sides)
    whole = all(bool(np.all(one.values == np.floor(one.values))) for one in sides)
    if whole and high - low <= BINS:
        return [float(edge) for edge in np.arange(low - 0.5, high + 1)]
    if high <= low:
        low, high = low - max(abs(low), 1) * 0.05, high + max(abs(high), 1) * 0.05
    return [float(edge) for edge in np.linspace(low, high, BINS + 1)]


def _heights(one: Distribution, edges: Sequence[float]) -> list[float]:
    return [float(share) for share in np.diff(below(one, np.asarray(edges[1:-1])), prepend=0.0, append=1.0)]


# ---- Texts


def _shares(sides: Sequence[_Statistics]) -> tuple[list[str], list[list[float]]]:
    """Return the most frequent values, and for each side their shares; the last are the others together."""
    shares = [_shares_of(side) if side else {} for side in sides]
    every = sorted(set().union(*shares), key=lambda value: (-max(each.get(value, 0.0) for each in shares), value))
    values = every[:MOST_VALUES]
    heights = [[each.get(value, 0.0) for value in values] if each else [] for each in shares]
    others = f"{len(every) - len(values):,} others" if len(every) > len(values) else "others"
    return [*values, others], [[*each, max(0.0, 1 - sum(each))] if each else [] for each in heights]


def _shares_of(side: Mapping[str, Any]) -> dict[str, float]:
    rows = side["common"]["num_present"]
    return {one["value"]: one["count"] / rows for one in side["distribution"]["categorical"]["buckets"]}


def _bars(sides: Sequence[_Statistics], names: tuple[str, str]) -> Element:
    values, heights = _shares(sides)
    rows: list[list[Content]] = []
    for place, value in enumerate(values):
        shares = [each[place] if each else None for each in heights]
        if place < len(values) - 1 or any(share and share > ROUNDING for share in shares):
            bars = [bar(share, side) for share, side in zip(shares, ("then", "now"), strict=True) if share is not None]
            numbers = ["" if share is None else f"{share:.1%}" for share in shares]
            rows.append([text(value, MAX_VALUE), *numbers, element("div", *bars)])
    made = table(("", *names, ""), rows)
    made.set("class", "scroll shares")
    return made


def bar(share: float, name: str) -> Element:
    """Return a bar of this share of the room there is; `name` is then or now."""
    return element("div", class_=f"bar {name}", style=f"width: {100 * share:.1f}%")
