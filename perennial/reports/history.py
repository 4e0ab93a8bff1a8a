"""The metric of earlier windows against its limit, with a mark where another model began to answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from perennial.features.grammar import utc_time
from perennial.reports import charts
from perennial.reports.charts import Layer, Point
from perennial.reports.page import LIMIT, THEN, element, figure, table, text
from perennial.words import number

MOST = 100  # windows, the latest


class _Judged(NamedTuple):
    seconds: float
    end: str
    run: str
    verdict: str
    value: float | None
    limit: float | None


def picture(history: Sequence[Any], metric: str, unit: str) -> Element | None:
    """Return the metric of windows, given as {end, run, verdict, metric, value, limit} in any order.

    What is no such entry, or of another metric, is passed over. None where there are fewer than two values.
    """
    windows = _windows(history, metric)
    measured = [one for one in windows if one.value is not None]
    if len(measured) < 2:
        return None
    values: list[Point] = [(one.seconds, one.value) for one in measured]
    limits: list[Point] = [(one.seconds, one.limit) for one in measured if one.limit is not None]
    heights = [height for _, height in [*values, *limits] if height is not None]
    changes = [after for before, after in pairwise(windows) if before.run and after.run and before.run != after.run]
    marks = [
        point for one in changes for point in ((one.seconds, min(heights)), (one.seconds, max(heights)), (None, None))
    ]
    layers = [
        Layer(metric, values),
        *([Layer("limit", limits, LIMIT, "4 3")] if limits else []),
        *([Layer("other model", marks, THEN, "1 3")] if marks else []),
    ]
    chart = charts.chart(layers, "end of the window, UTC", f"{metric}{unit}", times=True)
    about = "".join(f"From {text(one.end, 40)} on run {text(one.run, 60)} answered. " for one in changes)
    return figure(f"{metric} of {len(measured):,} windows", chart, about)


def rows(history: Sequence[Any], metric: str) -> Element | None:
    """Return the same windows as a table, the latest first."""
    windows = _windows(history, metric)[::-1]
    if not windows:
        return None
    cells = [
        (text(one.end, 40), text(one.run, 60), text(one.verdict, 40), _number(one.value), _number(one.limit))
        for one in windows
    ]
    return element("div", table(("end", "run", "verdict", metric, "limit"), cells))


def _windows(history: Sequence[Any], metric: str) -> list[_Judged]:
    """Return the latest windows by their end; of one that was judged again what came last."""
    judged = [one for entry in history if (one := _judged(entry, metric))]
    return sorted({(one.end, one.run): one for one in judged}.values(), key=lambda one: one[:3])[-MOST:]


def _judged(entry: Any, metric: str) -> _Judged | None:
    if not isinstance(entry, Mapping) or entry.get("metric") not in (metric, None):
        return None
    time = utc_time(str(entry.get("end")))
    if time is None:
        return None
    end, run, verdict = (str(entry.get(name) or "") for name in ("end", "run", "verdict"))
    seconds, value, limit = (
        time.replace(tzinfo=UTC).timestamp(),
        _finite(entry.get("value")),
        _finite(entry.get("limit")),
    )
    return _Judged(seconds, end, run, verdict, value, limit)


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _number(value: float | None) -> str:
    return "" if value is None else number(value)
