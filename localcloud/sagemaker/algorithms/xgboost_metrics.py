"""Evaluation metrics that the XGBoost container adds to the library's own.

They are scikit-learn's definitions, in numpy: importing scikit-learn costs two seconds. `preds` are what
`Booster.predict` gives for the objective (probabilities for binary:logistic, rows of them for multi:softprob).
Source: sagemaker-xgboost-container, `metrics/custom_metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms.training_container import CustomerError

Array = npt.NDArray[Any]
Metric = Callable[[Array, Array], float]


def predicted_classes(preds: Array, objective: str) -> Array:
    """Class numbers: the highest column, the class itself (softmax), or the sign of a margin or probability."""
    if preds.ndim == 2:
        highest: Array = np.argmax(preds, axis=1)
        return highest
    if objective == "multi:softmax":
        return preds.astype(int)
    boundary = 0.0 if objective == "binary:logitraw" else 0.5
    return (preds > boundary).astype(int)


def _counts(labels: Array, classes: Array) -> tuple[Array, Array, Array, Array]:
    """Class numbers, and for each one: hits, predictions, labels."""
    names = np.union1d(labels, classes)
    hits = np.array([np.sum((labels == name) & (classes == name)) for name in names], dtype=float)
    predicted = np.array([np.sum(classes == name) for name in names], dtype=float)
    actual = np.array([np.sum(labels == name) for name in names], dtype=float)
    return names, hits, predicted, actual


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _positive(values: Array, names: Array) -> float:
    if len(names) > 2 or not set(names) <= {0, 1}:
        raise CustomerError(
            "Target is multiclass but average='binary'. Please choose another average setting, such as the "
            "metric's _macro form."
        )
    return float(values[list(names).index(1)]) if 1 in names else 0.0


def accuracy(labels: Array, classes: Array) -> float:
    return float(np.mean(labels == classes))


def balanced_accuracy(labels: Array, classes: Array) -> float:
    _, hits, _, actual = _counts(labels, classes)
    return float(np.mean((hits / np.where(actual > 0, actual, 1))[actual > 0]))


def _f1(labels: Array, classes: Array) -> tuple[Array, Array]:
    names, hits, predicted, actual = _counts(labels, classes)
    return names, _ratio(2 * hits, predicted + actual)


def f1_macro(labels: Array, classes: Array) -> float:
    return float(np.mean(_f1(labels, classes)[1]))


def f1_binary(labels: Array, classes: Array) -> float:
    names, values = _f1(labels, classes)
    return _positive(values, names)


def precision(labels: Array, classes: Array) -> float:
    names, hits, predicted, _ = _counts(labels, classes)
    return _positive(_ratio(hits, predicted), names)


def precision_macro(labels: Array, classes: Array) -> float:
    _, hits, predicted, _ = _counts(labels, classes)
    return float(np.mean(_ratio(hits, predicted)))


def recall(labels: Array, classes: Array) -> float:
    names, hits, _, actual = _counts(labels, classes)
    return _positive(_ratio(hits, actual), names)


def recall_macro(labels: Array, classes: Array) -> float:
    _, hits, _, actual = _counts(labels, classes)
    return float(np.mean(_ratio(hits, actual)))


def mse(labels: Array, preds: Array) -> float:
    return float(np.mean((labels.astype(float) - preds.astype(float)) ** 2))


def r2(labels: Array, preds: Array) -> float:
    deviation = float(np.sum((labels.astype(float) - labels.astype(float).mean()) ** 2))
    return 1.0 - mse(labels, preds) * len(labels) / deviation if deviation else float("nan")


OF_CLASSES: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1": f1_macro,
    "f1_binary": f1_binary,
    "f1_macro": f1_macro,
    "precision": precision,
    "precision_macro": precision_macro,
    "precision_micro": accuracy,  # with one class for each row, micro averages equal accuracy
    "recall": recall,
    "recall_macro": recall_macro,
    "recall_micro": accuracy,
}
OF_NUMBERS: dict[str, Metric] = {"mse": mse, "r2": r2}
CUSTOM = {*OF_CLASSES, *OF_NUMBERS}


def evaluator(names: Sequence[str], objective: str) -> Callable[[Array, Any], list[tuple[str, float]]]:
    """Return a `custom_metric` for `xgboost.train` that reports the named metrics in this order."""

    def evaluate(preds: Array, matrix: Any) -> list[tuple[str, float]]:
        labels = matrix.get_label()
        classes = predicted_classes(preds, objective) if any(name in OF_CLASSES for name in names) else preds
        return [
            (name, OF_CLASSES[name](labels, classes) if name in OF_CLASSES else OF_NUMBERS[name](labels, preds))
            for name in names
        ]

    return evaluate
