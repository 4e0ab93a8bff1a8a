"""How a multiclass classification is measured: labels are numbers of classes, scores the probabilities of each.

Labels are `(n_rows,)`, whole numbers from 0; scores `(n_rows, n_classes)`. The predicted class is the most probable
one, and of several the first. Metrics of a class are weighted by its actual rows, as Model Monitor's are; where nothing
is of a class or predicted as one, they are 0, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from perennial.evaluation.problem_types.measures import (
    TOO_LARGE,
    Columns,
    Finish,
    Floats,
    Measures,
    mean,
    require,
)
from perennial.evaluation.problem_types.quality import BETAS, of_classes, shares

_SUM = 1e-3  # how far probabilities of single precision may add up to another number than 1


def predicted_classes(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the number of the most probable class of each row."""
    return np.asarray(np.argmax(np.asarray(scores, dtype=np.float64), axis=1), np.int64)


def probability_columns(classes: int) -> list[str]:
    """Return the names of the columns of predictions.csv that hold the probabilities of so many classes."""
    return [f"probability_{number}" for number in range(classes)]


# ---- Terms: what a row adds


def _hits(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), labels == predicted_classes(scores)])


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    """Probabilities are made to add up to 1 and kept from 0 by the smallest float64 step, as scikit-learn does."""
    likely = scores[np.arange(labels.size), labels.astype(np.int64)] / scores.sum(axis=1)
    step = np.finfo(np.float64).eps
    return np.column_stack([np.ones_like(labels), -np.log(np.clip(likely, step, 1 - step))])


def _outcomes(labels: Floats, scores: Floats) -> Floats:
    """Columns: for each class whether the row was predicted rightly as it, is of it, was predicted as it."""
    classes = np.arange(scores.shape[1])
    actual, predicted = labels[:, None] == classes, predicted_classes(scores)[:, None] == classes
    return np.hstack([actual & predicted, actual, predicted]).astype(np.float64)


# ---- Finish: from sums of terms to the value


def _weighted(numerators: Floats, denominators: Floats, actual: Floats) -> Floats:
    return np.asarray((shares(numerators, denominators) * actual).sum(axis=-1) / actual.sum(axis=-1))


def _precision(sums: Floats) -> Floats:
    hits, actual, predicted = np.split(sums, 3, axis=-1)
    return _weighted(hits, predicted, actual)


def _f_beta(beta: float) -> Finish:
    def finish(sums: Floats) -> Floats:
        hits, actual, predicted = np.split(sums, 3, axis=-1)
        return _weighted((1 + beta**2) * hits, beta**2 * actual + predicted, actual)

    return finish


# ---- What can be measured


def _check(labels: Floats, scores: Floats) -> None:
    classes = scores.shape[1]
    sound = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    require("labels", labels, sound, f"numbers of the {classes} classes, from 0")
    require("scores", scores, _measurable(scores), "probabilities, from 0 to 1, that add up to 1")


def _measurable(scores: Floats) -> npt.NDArray[np.bool_]:
    in_range = ((scores >= 0) & (scores <= 1)).all(axis=1)
    return np.asarray(in_range & (np.abs(scores.sum(axis=1) - 1) < _SUM), np.bool_)


def _constant(labels: Floats, scores: Floats) -> Floats:
    """Return the shares of the classes: the most frequent one is said of each row."""
    shares = np.bincount(labels.astype(np.int64), minlength=scores.shape[1]) / labels.size
    return np.broadcast_to(shares, scores.shape)


def _columns(labels: Floats, scores: Floats, classes: Sequence[str]) -> Mapping[str, Columns]:
    names = np.array(classes or [str(number) for number in range(scores.shape[1])], np.str_)
    known = {"prediction": names[predicted_classes(scores)], "label": names[labels.astype(np.int64)]}
    return {**known, **dict(zip(probability_columns(scores.shape[1]), scores.T, strict=True))}


MEASURES = Measures(
    {
        "accuracy": (_hits, mean, TOO_LARGE),
        "logloss": (_log_loss, mean, TOO_LARGE),
        **{f"weighted_{name}": (_outcomes, _f_beta(beta), TOO_LARGE) for name, beta in BETAS.items()},
        "weighted_precision": (_outcomes, _precision, TOO_LARGE),
        "weighted_recall": (_hits, mean, TOO_LARGE),  # weighted by actual rows it is the accuracy
    },
    _check,
    _measurable,
    _columns,
    of_classes,
    dimensions=2,
    constant=_constant,
)
