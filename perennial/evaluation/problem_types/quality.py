"""How model quality is measured in Model Monitor's format: of numbers, of two classes, of any number of classes.

A problem type names one of the three in its Measures. Each takes

problem         the problem type, whose metrics are used
labels          `(n_rows,)`: numbers, 0 or 1, or classes (numbers or texts)
predictions     `(n_rows,)`: numbers in the target's unit, or the predicted class
probabilities   `(n_rows,)`: probability of class 1 (of two classes only, optional)
seed            chooses the samples of the standard deviations

and returns the number of rows and the metrics by name, or raises MetricInputError. A metric that these rows leave
undefined is the text "NaN".

Needs numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.data.column_statistics import json_number
from perennial.evaluation import metrics, resampling
from perennial.evaluation.problem_types.measures import Floats, MetricInputError

Rows = npt.NDArray[np.int64]
Values = dict[str, float]

# A standard deviation needs this many rows; it is that of the metric in five samples of 80 % of the rows.
MIN_ROWS_FOR_DEVIATION = 200

# A curve keeps its first and last point, and this many in all, evenly spaced among its corners.
MAX_CURVE_POINTS = 201

CONSTANT = "_best_constant_classifier"
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def of_numbers(
    problem: str, labels: npt.ArrayLike, predictions: npt.ArrayLike, _: npt.ArrayLike | None, seed: int
) -> tuple[int, dict[str, Any]]:
    """Return the rows and the metrics of predictions in the target's unit."""
    y, s = metrics.checked(problem, labels, predictions)

    def measure(rows: Rows) -> Values:
        return {name: _or_nan(problem, name, y[rows], s[rows]) for name in ("mae", "mse", "rmse", "r2")}

    return y.size, _with_deviations(measure, y.size, seed)


def of_two_classes(
    problem: str, labels: npt.ArrayLike, predictions: npt.ArrayLike, probabilities: npt.ArrayLike | None, seed: int
) -> tuple[int, dict[str, Any]]:
    """Return the rows and the metrics of predictions that are 0 or 1; with probabilities the AUC and the curves too."""
    y, predicted = metrics.checked(problem, labels, predictions)
    if not np.isin(predicted, (0, 1)).all():
        raise MetricInputError("predictions are not all 0 or 1; expected classes, with probabilities beside them")
    p = None if probabilities is None else metrics.checked(problem, labels, probabilities)[1]
    actual, chosen = y.astype(np.int64), predicted.astype(np.int64)

    def measure(rows: Rows) -> Values:
        area = {} if p is None else {"auc": _or_nan(problem, "auc", y[rows], p[rows])}
        return {**_binary_values(_cells(actual[rows], chosen[rows], 2)), **area}

    matrix = {"confusion_matrix": _named(_cells(actual, chosen, 2), ["0", "1"])}
    return y.size, {**matrix, **_with_deviations(measure, y.size, seed), **({} if p is None else _curves(y, p))}


def _binary_values(cells: Floats) -> Values:
    """Return the metrics of a confusion matrix `(actual, predicted)`; class 1 is the positive one.

    The constant classifier that can be best by any of recall, precision and F says 1 every time, and so it does in
    the guide's example, where 0 would have been the more accurate constant.
    """
    (quiet, alarm), (miss, hit) = cells.tolist()
    negative, positive, rows = quiet + alarm, miss + hit, float(cells.sum())
    return {
        "recall": _ratio(hit, positive),
        "precision": _ratio(hit, hit + alarm),
        "accuracy": (hit + quiet) / rows,
        "recall_best_constant_classifier": _ratio(positive, positive),
        "precision_best_constant_classifier": positive / rows,
        "accuracy_best_constant_classifier": positive / rows,
        "true_positive_rate": _ratio(hit, positive),
        "true_negative_rate": _ratio(quiet, negative),
        "false_positive_rate": _ratio(alarm, negative),
        "false_negative_rate": _ratio(miss, positive),
        **{name: _f_score(hit, alarm, miss, beta) for name, beta in BETAS.items()},
        **{f"{name}{CONSTANT}": _f_score(positive, negative, 0, beta) for name, beta in BETAS.items()},
    }


def of_classes(
    _problem: str, labels: npt.ArrayLike, predictions: npt.ArrayLike, _: npt.ArrayLike | None, seed: int
) -> tuple[int, dict[str, Any]]:
    """Return the rows and the metrics of predicted classes, of which there may be any number."""
    actual, predicted = np.asarray(labels).astype(np.str_), np.asarray(predictions).astype(np.str_)
    if actual.shape != predicted.shape or actual.ndim != 1 or actual.size == 0:
        raise MetricInputError(
            f"labels have the shape {actual.shape}, predictions {predicted.shape}; "
            "expected one prediction for each label, and at least one row"
        )
    classes, codes = np.unique(np.concatenate([actual, predicted]), return_inverse=True)
    y, s = codes[: actual.size], codes[actual.size :]

    def measure(rows: Rows) -> Values:
        cells = _cells(y[rows], s[rows], classes.size)
        best = _weighted_values(_most_frequent(cells))
        return {**_weighted_values(cells), **{f"{name}{CONSTANT}": value for name, value in best.items()}}

    matrix = _named(_cells(y, s, classes.size), classes.tolist())
    return y.size, {"confusion_matrix": matrix, **_with_deviations(measure, y.size, seed)}


def _weighted_values(cells: Floats) -> Values:
    """Return the metrics of a confusion matrix `(actual, predicted)`: of each class, weighted by its actual rows."""
    hits, actual, predicted = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)
    weights = actual / cells.sum()
    values = {
        "accuracy": float(hits.sum() / cells.sum()),
        "weighted_recall": float(weights @ shares(hits, actual)),
        "weighted_precision": float(weights @ shares(hits, predicted)),
    }
    for name, beta in BETAS.items():
        values[f"weighted_{name}"] = float(weights @ shares((1 + beta**2) * hits, beta**2 * actual + predicted))
    return values


def _most_frequent(cells: Floats) -> Floats:
    """Return the confusion matrix of the classifier that always says the most frequent actual class."""
    constant = np.zeros_like(cells)
    constant[:, cells.sum(axis=1).argmax()] = cells.sum(axis=1)
    return constant


def _cells(actual: npt.NDArray[np.integer[Any]], predicted: npt.NDArray[np.integer[Any]], classes: int) -> Floats:
    """Return the number of rows `(actual, predicted)` from class indices."""
    counts = np.bincount(actual * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def _named(cells: Floats, classes: list[str]) -> dict[str, dict[str, int]]:
    """Return {actual: {predicted: rows}}."""
    rows = cells.astype(np.int64).tolist()
    return {outer: dict(zip(classes, row, strict=True)) for outer, row in zip(classes, rows, strict=True)}


def _curves(y: Floats, p: Floats) -> dict[str, Any]:
    """Return both curves from the strictest to the most lenient threshold; empty where there is but one class."""
    false_rates, recalls, precisions = [], [], []
    if 0 < y.sum() < y.size:
        order = np.argsort(-p, kind="stable")
        corners = _thinned(np.append(np.flatnonzero(np.diff(p[order])), y.size - 1))
        hits, calls = np.cumsum(y[order])[corners], corners + 1
        false_rates = [0.0, *((calls - hits) / (y.size - hits[-1])).tolist()]
        recalls = [0.0, *(hits / hits[-1]).tolist()]
        precisions = [1.0, *(hits / calls).tolist()]
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": false_rates,
            "true_positive_rates": recalls,
        },
        "precision_recall_curve": {"precisions": precisions, "recalls": recalls},
    }


def _thinned(corners: Rows) -> Rows:
    """Return at most MAX_CURVE_POINTS - 1 of the corners, evenly spaced, the last among them."""
    places = np.linspace(0, corners.size - 1, min(corners.size, MAX_CURVE_POINTS - 1))
    return corners[places.round().astype(np.int64)]


def _with_deviations(measure: Callable[[Rows], Values], rows: int, seed: int) -> dict[str, Any]:
    """Return {name: {"value", "standard_deviation"}}; the deviation is "NaN" when there are too few rows for it."""
    values = measure(np.arange(rows))
    samples: list[Values] = []
    if rows >= MIN_ROWS_FOR_DEVIATION:
        samples = [measure(chosen) for chosen in resampling.samples(rows, seed)]
    return {name: with_deviation(value, [sample[name] for sample in samples]) for name, value in values.items()}


def with_deviation(value: float, samples: Sequence[float]) -> dict[str, Any]:
    """Return a metric as Model Monitor's format has it; the deviation is "NaN" without samples."""
    deviation = float(np.std(samples)) if len(samples) else math.nan
    return {"value": json_number(value), "standard_deviation": json_number(deviation)}


def _or_nan(problem: str, name: str, labels: Floats, scores: Floats) -> float:
    try:
        return metrics.metric_named(problem, name).compute(labels, scores)
    except metrics.UndefinedMetricError:
        return math.nan


def shares(parts: Floats, wholes: Floats) -> Floats:
    """Of no rows, the share is 0 here: else one class that is never predicted would leave no weighted mean."""
    return np.divide(parts, wholes, out=np.zeros_like(wholes), where=wholes > 0)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _f_score(hit: float, false_alarm: float, miss: float, beta: float) -> float:
    weighted = (1 + beta**2) * hit
    return _ratio(weighted, weighted + beta**2 * miss + false_alarm)
