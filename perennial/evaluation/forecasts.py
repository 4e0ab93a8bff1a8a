"""Reading forecasts: what DeepAR answers about series, and what happened then.

An answer is a line `{"mean": [...], "quantiles": {"0.1": [...], ..., "0.9": [...]}}` with a number for each period
ahead, as a batch transform writes it, or one of `predictions` of an endpoint. A point of what happened is a line
`line,step,label,naive` (data.series_sets). Line n of the answers is about line n of the test set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.evaluation.predictions import PredictionsError
from perennial.evaluation.problem_types.measures import Floats
from perennial.model.problem_types import FORECAST_QUANTILES

# What is asked for: an endpoint in the request, a batch transform in the environment of its container.
CONFIGURATION = {
    "num_samples": 100,
    "output_types": ["mean", "quantiles"],
    "quantiles": [f"{quantile:g}" for quantile in FORECAST_QUANTILES],
}


MOST_LINES = 1 << 30  # of a part


@dataclass(frozen=True)
class Points:
    """What happened: each array is `(n_points,)`.

    lines   the lines of the test set, from 0
    steps   how many periods ahead, from 1
    naive   the seasonal-naive forecast
    """

    lines: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    labels: Floats
    naive: Floats


def points(lines: Iterable[str], where: str) -> Points:
    """Return the points of a part. Raises PredictionsError: a line is none."""
    rows = []
    for number, line in enumerate((line for line in lines if line.strip()), start=1):
        try:
            place, step, label, naive = line.split(",")
            rows.append((int(place), int(step), float(label), float(naive)))
        except ValueError as error:
            raise PredictionsError(
                f"{where}, line {number}: got {line[:80]!r}; expected line,step,label,naive"
            ) from error
    places, steps, labels, naives = np.array(rows, np.float64).reshape(-1, 4).T
    return Points(places.astype(np.int64), steps.astype(np.int64), labels, naives)


def scores_of(points: Points, answers: Iterable[str], where: str, part: int = 0) -> Floats:
    """Return what was forecast of points `(n_points, 11)`: mean and quantiles, and a number of the series.

    Of a period without an answer it is NaN. A series is told by the part of the test set and the line in it.

    Raises PredictionsError: a line is no answer, or there are fewer of them than series.
    """
    read = [answer(line, f"{where}, line {number}") for number, line in enumerate(_filled(answers), start=1)]
    series = int(points.lines.max(initial=-1)) + 1
    if len(read) != series:
        raise PredictionsError(f"{where}: {len(read)} forecasts for {series} series of the test set")
    longest = max((len(one) for one in read), default=0)
    known = np.full((series, max(longest, int(points.steps.max(initial=0))), 1 + len(FORECAST_QUANTILES)), np.nan)
    for place, one in enumerate(read):
        known[place, : len(one)] = one
    series_of = MOST_LINES * part + points.lines
    return np.column_stack([known[points.lines, points.steps - 1], series_of.astype(np.float64)])


def naive_scores(points: Points) -> Floats:
    """Return the seasonal-naive forecasts as scores: it says the same of each quantile."""
    same = np.repeat(points.naive[:, None], 1 + len(FORECAST_QUANTILES), axis=1)
    return np.column_stack([same, points.lines.astype(np.float64)])


def answer(line: str, where: str) -> Floats:
    """Return a forecast of one series `(n_periods, 10)`. Raises PredictionsError: the line is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _refused(line, where) from error
    return forecast(document, where)


def forecast(document: Any, where: str) -> Floats:
    """Return the forecast that an answer says; null is NaN. Raises PredictionsError: it says none."""
    try:
        quantiles: Mapping[str, Any] = {f"{float(name):g}": values for name, values in document["quantiles"].items()}
        columns = [document["mean"], *(quantiles[f"{quantile:g}"] for quantile in FORECAST_QUANTILES)]
        numbers = [[math.nan if value is None else float(value) for value in column] for column in columns]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(json.dumps(document), where) from error
    if not numbers[0] or len({len(column) for column in numbers}) > 1:
        raise _refused(json.dumps(document), where)
    return np.array(numbers, np.float64).T


def _refused(line: str, where: str) -> PredictionsError:
    expected = '{"mean": [...], "quantiles": {"0.1": [...], ..., "0.9": [...]}}, with a number for each period'
    return PredictionsError(f"{where}: got {line[:80]!r}; expected {expected}")


def _filled(lines: Iterable[str]) -> Iterable[str]:
    return (line for line in lines if line.strip())
