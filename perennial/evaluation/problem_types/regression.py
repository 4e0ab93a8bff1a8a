"""How a regression is measured: labels and scores are numbers in the target's unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from perennial.evaluation.problem_types.measures import TOO_LARGE, Columns, Floats, Measures, mean
from perennial.evaluation.problem_types.quality import of_numbers
from perennial.model.problem_types import QUANTILE_LOSSES

# The square of a larger score is no number any more, or the sum of such squares is not.
LARGEST_SCORE = 1e150

# ---- Terms: what a row adds. The first column counts rows


def _squared_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), (scores - labels) ** 2])


def _absolute_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), np.abs(scores - labels)])


def _relative_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), np.abs(scores - labels) / np.abs(labels)])


def quantile_loss(quantile: float, labels: Floats, scores: Floats) -> Floats:
    """Columns: the size of the label, twice the loss of the score as that quantile of the target.

    Source: Amazon Forecast Developer Guide, "Evaluating Predictor Accuracy", weighted quantile loss (wQL); what DeepAR
    calls wQuantileLoss.
    """
    below = labels - scores
    return np.column_stack([np.abs(labels), 2 * np.maximum(quantile * below, (quantile - 1) * below)])


def _explained(labels: Floats, scores: Floats) -> Floats:
    """Columns: rows, centred label, its square, squared error. Centred, so that large labels do not cancel."""
    centre = labels.mean() if labels.min() < labels.max() else labels[0]
    centred = labels - centre
    return np.column_stack([np.ones_like(labels), centred, centred**2, (scores - labels) ** 2])


# ---- Finish: from sums of terms to the value


def _root_mean(sums: Floats) -> Floats:
    return np.asarray(np.sqrt(mean(sums)))


def _r2(sums: Floats) -> Floats:
    """Labels whose variation is lost in rounding count as constant."""
    total = sums[..., 2] - sums[..., 1] ** 2 / sums[..., 0]
    return np.where(total > 1e-12 * sums[..., 2], 1 - sums[..., 3] / total, np.nan)


def _check(_labels: Floats, _scores: Floats) -> None:
    """Every finite number will do."""


def _measurable(scores: Floats) -> npt.NDArray[np.bool_]:
    return np.abs(scores) <= LARGEST_SCORE


def _columns(labels: Floats, scores: Floats, _classes: Sequence[str]) -> Mapping[str, Columns]:
    return {"prediction": scores, "label": labels}


MEASURES = Measures(
    {
        "rmse": (_squared_error, _root_mean, TOO_LARGE),
        "mae": (_absolute_error, mean, TOO_LARGE),
        "mse": (_squared_error, mean, TOO_LARGE),
        "r2": (_explained, _r2, "it needs labels that differ"),
        "mape": (_relative_error, mean, "it needs labels other than zero"),
        **{
            name: (partial(quantile_loss, quantile), mean, "it needs a label other than zero")
            for name, quantile in QUANTILE_LOSSES.items()
        },
    },
    _check,
    _measurable,
    _columns,
    of_numbers,
)
