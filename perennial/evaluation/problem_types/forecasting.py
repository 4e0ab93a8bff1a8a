"""How a forecasting is measured: labels are values of series, scores what was forecast of each.

Labels are `(n_points,)`, scores `(n_points, 11)`: the mean, then the quantiles 0.1 to 0.9, all in the target's unit;
and what tells the series of a point, because points of one series err alike.
What DeepAR reports of its channel `test`: RMSE of the means, wQuantileLoss[q], and mean_wQuantileLoss, the mean of
these nine. Source: Amazon SageMaker Developer Guide, "How the DeepAR Algorithm Works" and "DeepAR metrics".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from perennial.evaluation.problem_types.measures import TOO_LARGE, Columns, Floats, Measures, mean
from perennial.evaluation.problem_types.quality import of_numbers
from perennial.evaluation.problem_types.regression import LARGEST_SCORE, quantile_loss
from perennial.model.problem_types import FORECAST_LOSSES, FORECAST_QUANTILES

MEAN, MEDIAN = 0, 1 + FORECAST_QUANTILES.index(0.5)
NO_SIZE = "it needs a label other than zero"
SERIES = 1 + len(FORECAST_QUANTILES)  # the column of scores that tells the series, behind those of the forecast


def quantile_columns() -> list[str]:
    """Return the names of the columns of predictions.csv that hold the quantiles: p10 to p90."""
    return [name.removeprefix("wql_") for name in FORECAST_LOSSES]


# ---- Terms: what a point adds


def _squared_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), (scores[:, MEAN] - labels) ** 2])


def _of_quantile(place: int, quantile: float, labels: Floats, scores: Floats) -> Floats:
    return quantile_loss(quantile, labels, scores[:, 1 + place])


def _of_all_quantiles(labels: Floats, scores: Floats) -> Floats:
    """Columns: the size of the label, the mean of twice the losses of all quantiles."""
    losses = [quantile_loss(q, labels, scores[:, 1 + place])[:, 1] for place, q in enumerate(FORECAST_QUANTILES)]
    return np.column_stack([np.abs(labels), np.mean(losses, axis=0)])


# ---- Finish: from sums of terms to the value


def _root_mean(sums: Floats) -> Floats:
    return np.asarray(np.sqrt(mean(sums)))


# ---- What can be measured


def _check(_labels: Floats, _scores: Floats) -> None:
    """Every finite number will do."""


def _measurable(scores: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(scores) <= LARGEST_SCORE).all(axis=1), np.bool_)


def _columns(labels: Floats, scores: Floats, _classes: Sequence[str]) -> Mapping[str, Columns]:
    quantiles = dict(zip(quantile_columns(), scores[:, 1:SERIES].T, strict=True))
    return {"prediction": scores[:, MEAN], "label": labels, **quantiles}


def _groups(scores: Floats) -> Floats:
    return scores[:, SERIES]


def _quality(
    _problem: str, labels: npt.ArrayLike, predictions: npt.ArrayLike, none: npt.ArrayLike | None, seed: int
) -> tuple[int, dict[str, object]]:
    """Return what Model Monitor's format measures of numbers, of the means."""
    return of_numbers("regression", labels, predictions, none, seed)


MEASURES = Measures(
    {
        "mean_wql": (_of_all_quantiles, mean, NO_SIZE),
        **{
            name: (partial(_of_quantile, place, quantile), mean, NO_SIZE)
            for place, (name, quantile) in enumerate(FORECAST_LOSSES.items())
        },
        "rmse": (_squared_error, _root_mean, TOO_LARGE),
    },
    _check,
    _measurable,
    _columns,
    _quality,
    dimensions=2,
    groups=_groups,
)
