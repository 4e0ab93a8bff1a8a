"""What a window's questions about series add up to: a series is not a row, and a forecast not one score.

Each series that was asked about is a row (data.series_rows) of which the distributions are compared. Each period that
was forecast has a label of its own, which comes later: its id is that of the request, the number of the series in it
from 0, and how many periods ahead from 1: `4711/0/12`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.data.series_rows import monitored, row
from perennial.evaluation import forecasts
from perennial.evaluation.predictions import PredictionsError
from perennial.evaluation.problem_types.forecasting import SERIES
from perennial.features.json_text import decode
from perennial.model.problem_types import FORECAST_QUANTILES
from perennial.model.series import category_columns, dynamic_columns, season_of
from perennial.monitoring.capture import Event, Payload, Tally, UnreadableError, fault
from perennial.monitoring.ground_truth import Joined, Requests, key_of
from perennial.monitoring.window import NO_PLACE, NO_SCORE, Window

Floats = npt.NDArray[np.float64]
MOST_FORECASTS = 200  # forecasts of which some are drawn
SEASONS_DRAWN = 2
MOST_NAME = 200  # characters
PARTIAL = (
    f"an answer lacks the mean or one of the quantiles {FORECAST_QUANTILES[0]:g} to {FORECAST_QUANTILES[-1]:g}; "
    "metrics need all of them: see output_types and quantiles of the request"
)


@dataclass(frozen=True)
class Forecast:
    """A forecast as it is drawn.

    name     of the request and the series in it, or the name that the caller gave it
    before   the last values that were sent
    scores   (n_periods, 10): mean and quantiles
    actual   what came true; NaN where nobody knows yet
    """

    name: str
    before: Floats
    scores: Floats
    actual: Floats


class SeriesWindow(Window):
    """Takes in captured requests of a forecasting, whose configuration has this definition. `records` counts series."""

    def __init__(self, definition: Mapping[str, Any], tally: Tally) -> None:
        super().__init__(monitored(definition), tally)
        self._section, self._drawn_before = definition["series"], SEASONS_DRAWN * season_of(definition["series"])
        self._categories = category_columns(definition)
        self._dynamic = dynamic_columns(definition)
        self.requests = Requests(SERIES + 1)
        self._series = 0  # that were answered
        self._forecasts_of_window: list[tuple[str, str, Floats, Floats]] = []

    @property
    def to_be_labelled(self) -> int:
        return len(self.requests)

    def _add(self, event: Event) -> None:
        series = [*_instances(event.request)]
        rows = [self._row(one) for one in series]
        self._waiting["json"] += [[one[name] for name in self._contract.names] for one in rows]
        self._answered["json"] += [(NO_SCORE, NO_PLACE)] * len(series)
        self.records += len(series)
        for place, (one, scores) in enumerate(zip(series, self._forecasts(event, len(series)), strict=False)):
            name = f"{event.id}/{place}"
            for step, of_step in enumerate(scores.tolist(), start=1):
                self.requests.add(f"{name}/{step}", [*of_step, float(self._series)])
            self._series += 1
            if len(self._forecasts_of_window) < MOST_FORECASTS:
                before = _target(one)[-self._drawn_before :].copy()  # a view would keep all of it
                self._forecasts_of_window.append((name, str(one.get("item_id", name))[:MOST_NAME], before, scores))
        self._size += len(event.request.text)
        if self._is_full():
            self._flush("json")
            self._size = 0

    def _forecasts(self, event: Event, series: int) -> list[Floats]:
        """Return the forecast of each series of a request; none where there is no answer that can be read."""
        if event.answer is None:
            self._tally.counts["without_answer"] += 1
            return []
        try:
            document = decode(event.answer.text)
            read = [forecasts.forecast(one, "the answer") for one in document["predictions"]]
            if len(read) != series:
                raise UnreadableError(f"{len(read)} forecasts for {series} series")
        except (ValueError, TypeError, KeyError) as error:
            why = PARTIAL if isinstance(error, PredictionsError) else fault(error)
            self._tally.refuse("unreadable_answers", f"{event.where}: {why}")
            return []
        return read

    def _row(self, series: Mapping[str, Any]) -> dict[str, Any]:
        """Return a series as a row. Raises UnreadableError."""
        target, numbers, features = _target(series), _list(series, "cat"), _list(series, "dynamic_feat")
        named = zip(self._categories.items(), [*numbers, *[None] * len(self._categories)], strict=False)
        categories = {name: _category(names, number) for (name, names), number in named}
        ahead = {}
        for name, values in zip(self._dynamic, [*_numbers(features), *[[]] * len(self._dynamic)], strict=False):
            later = values[len(target) :]
            with np.errstate(over="ignore"):
                ahead[name] = float(np.mean(later)) if later else float("nan")
        return dict(row(target, categories, ahead, self._section))

    def drawn(self, joined: Joined, most: int) -> list[Forecast]:
        """Return some of the forecasts, those of which most is known first."""
        if not len(self.requests):
            return []
        made = []
        for identifier, name, before, scores in self._forecasts_of_window:
            keys = np.array([key_of(f"{identifier}/{step}") for step in range(1, len(scores) + 1)], np.uint64)
            made.append(Forecast(name, before, scores, joined.label_of(keys)))
        return sorted(made, key=lambda one: int(np.isnan(one.actual).sum()))[:most]


def _instances(request: Payload) -> Iterator[Mapping[str, Any]]:
    """Yield the series of a request. Raises UnreadableError."""
    try:
        document = decode(request.text)
    except ValueError as error:
        raise UnreadableError(f"the request is no JSON: {fault(error)}") from error
    series = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(series, list) or not all(isinstance(one, dict) for one in series):
        raise UnreadableError("the request holds no list of series (instances)")
    yield from series


def _list(series: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list of a series, which it may do without. Raises UnreadableError."""
    values = series.get(name) or []
    if not isinstance(values, list):
        raise UnreadableError(f"{name} of a series is no list")
    return values


def _target(series: Mapping[str, Any]) -> Floats:
    """Return the values of a series. Raises UnreadableError."""
    return np.array(_numbers([series.get("target")])[0], np.float64)


def _numbers(lists: Any) -> list[list[float]]:
    if not all(isinstance(values, list) for values in lists):
        raise UnreadableError("a series has something else than lists of numbers")
    try:
        return [[float("nan") if one is None or one == "NaN" else float(one) for one in values] for values in lists]
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableError("a series has something else than numbers") from error


def _category(names: list[str], number: Any) -> str | None:
    """Return the name of a category; what is no number of one as it is, which the contract refuses."""
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(names):
        return names[number]
    return None if number is None else str(number)
