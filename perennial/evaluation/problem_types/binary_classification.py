"""How a binary classification is measured: labels are 0 or 1, scores the probabilities of class 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from perennial.evaluation.problem_types.measures import TOO_LARGE, Columns, Floats, Measures, mean, require
from perennial.evaluation.problem_types.quality import of_two_classes

# A row is of class 1 when its probability is larger than this, as in XGBoost's own metric `error`.
PROBABILITY_THRESHOLD = 0.5


def predicted_labels(scores: npt.ArrayLike) -> Floats:
    """Return the class that each probability stands for: 1.0 where it is larger than PROBABILITY_THRESHOLD."""
    return (np.asarray(scores, dtype=np.float64) > PROBABILITY_THRESHOLD).astype(np.float64)


# ---- Terms: what a row adds


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    """Probabilities are kept from 0 and 1 by the smallest float64 step, as scikit-learn does."""
    step = np.finfo(np.float64).eps
    likely = np.clip(np.where(labels == 1, scores, 1 - scores), step, 1 - step)
    return np.column_stack([np.ones_like(labels), -np.log(likely)])


def _outcomes(labels: Floats, scores: Floats) -> Floats:
    """Columns: true positives, false positives, false negatives, true negatives."""
    actual, predicted = labels == 1, predicted_labels(scores) == 1
    cells = [actual & predicted, ~actual & predicted, actual & ~predicted, ~actual & ~predicted]
    return np.column_stack(cells).astype(np.float64)


def _placements(labels: Floats, scores: Floats) -> Floats:
    """Columns: positives, negatives, and the placement value of the row among the other class, in its class's column.

    The placement value of a positive is the share of negatives that score lower, a tie counting half; of a negative,
    the share of positives that score higher. The mean of either is the AUC; half of it is taken off each value so
    that the two means add up to it.
    """
    positive = labels == 1
    ups, downs = np.sort(scores[positive]), np.sort(scores[~positive])
    terms = np.zeros((labels.size, 4))
    terms[:, 0], terms[:, 1] = positive, ~positive
    if ups.size and downs.size:
        above = _share_below(downs, scores[positive])
        half = above.mean() / 2
        terms[positive, 2] = above - half
        terms[~positive, 3] = 1 - _share_below(ups, scores[~positive]) - half
    return terms


def _share_below(ordered: Floats, values: Floats) -> Floats:
    ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(ranks / (2 * ordered.size), dtype=np.float64)


# ---- Finish: from sums of terms to the value


def _auc(sums: Floats) -> Floats:
    return np.clip(sums[..., 2] / sums[..., 0] + sums[..., 3] / sums[..., 1], 0, 1)


def _accuracy(sums: Floats) -> Floats:
    return np.asarray((sums[..., 0] + sums[..., 3]) / sums.sum(axis=-1))


def _or_zero(numerator: Floats, denominator: Floats) -> Floats:
    """Nothing predicted, or nothing to find, counts as 0, as scikit-learn does by default."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 0.0)


def _precision(sums: Floats) -> Floats:
    return _or_zero(sums[..., 0], sums[..., 0] + sums[..., 1])


def _recall(sums: Floats) -> Floats:
    return _or_zero(sums[..., 0], sums[..., 0] + sums[..., 2])


def _f1(sums: Floats) -> Floats:
    return _or_zero(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def _check(labels: Floats, scores: Floats) -> None:
    require("labels", labels, (labels == 0) | (labels == 1), "0 or 1")
    require("scores", scores, _measurable(scores), "probabilities of class 1, from 0 to 1")


def _measurable(scores: Floats) -> npt.NDArray[np.bool_]:
    return (scores >= 0) & (scores <= 1)


def _columns(labels: Floats, scores: Floats, _classes: Sequence[str]) -> Mapping[str, Columns]:
    predicted = predicted_labels(scores).astype(np.int64)
    return {"prediction": predicted, "label": labels.astype(np.int64), "probability": scores}


MEASURES = Measures(
    {
        "auc": (_placements, _auc, "it needs labels of both classes"),
        "accuracy": (_outcomes, _accuracy, TOO_LARGE),
        "f1": (_outcomes, _f1, TOO_LARGE),
        "precision": (_outcomes, _precision, TOO_LARGE),
        "recall": (_outcomes, _recall, TOO_LARGE),
        "logloss": (_log_loss, mean, TOO_LARGE),
    },
    _check,
    _measurable,
    _columns,
    of_two_classes,
)
