"""The scores that Linear Learner reports after training, and the threshold that it chooses for a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from localcloud.sagemaker.algorithms.linear_model import Array, LinearModel


def of_regressor(labels: Array, predictions: Array) -> dict[str, float]:
    """mse, absolute_loss, rmse, r2 and mae, keyed as the log writes them."""
    errors = predictions - labels
    mse = float(np.mean(errors**2))
    variance = float(np.var(labels))
    absolute = float(np.mean(np.abs(errors)))
    return {
        "mse <loss>": mse,
        "absolute_loss <loss>": absolute,
        "rmse <loss>": float(np.sqrt(mse)),
        "r2 <loss>": 1 - mse / variance if variance else float("nan"),
        "mae <loss>": absolute,
    }


def of_classifier(labels: Array, scores: Array, threshold: float, f_beta: float) -> dict[str, float]:
    """Scores at the threshold, and the area under the curve, keyed as the log writes them."""
    accuracy, precision, recall, f_score = (float(value[0]) for value in _at(labels, scores, [threshold], f_beta))
    return {
        "binary_classification_accuracy <score>": accuracy,
        f"binary_f_{f_beta:.3f} <score>": f_score,
        "precision <score>": precision,
        "recall <score>": recall,
        "roc_auc_score <score>": roc_auc(labels, scores),
    }


def of_classes(labels: Array, scores: Array, f_beta: float, top_k: int) -> dict[str, float]:
    """Scores of probabilities `(n_rows, n_classes)`, keyed as the log of the service writes them.

    Means over classes are of those that rows have or are predicted as; `dcg` discounts by the rank of the row's class.
    """
    numbers, rows = labels.astype(int), np.arange(len(labels))
    predicted, classes = scores.argmax(axis=1), scores.shape[1]
    likely = scores[rows, numbers]
    ranks = (scores > likely[:, None]).sum(axis=1)
    actual, called = (np.bincount(each, minlength=classes).astype(float) for each in (numbers, predicted))
    hits = np.bincount(numbers[numbers == predicted], minlength=classes).astype(float)
    recall, precision = _share(hits, actual), _share(hits, called)
    f_score = _share((1 + f_beta**2) * hits, f_beta**2 * actual + called)
    there = (actual > 0) | (called > 0)
    return {
        "multiclass_accuracy <score>": float(np.mean(numbers == predicted)),
        f"multiclass_top_k_accuracy_{top_k} <score>": float(np.mean(ranks < top_k)),
        "dcg <score>": float(np.mean(1 / np.log2(ranks + 2))),
        "macro_recall <score>": float(recall[there].mean()),
        "macro_precision <score>": float(precision[there].mean()),
        f"macro_f_{f_beta:.3f} <score>": float(f_score[there].mean()),
        "multiclass_balanced_accuracy <score>": float(recall[actual > 0].mean()),
        "multiclass_log_loss <score>": float(-np.log(np.maximum(likely, np.finfo(float).eps)).mean()),
    }


def _share(parts: Array, wholes: Array) -> Array:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)


def roc_auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve, ties counted as halves; NaN with one class only."""
    positive = labels > 0
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def with_threshold(model: LinearModel, raw: Array, labels: Array, values: Mapping[str, Any]) -> LinearModel:
    """Return the model with the threshold that is best for these raw scores by the model selection criterion."""
    criterion = values["binary_classifier_model_selection_criteria"]
    if criterion == "loss_function" or len(np.unique(labels)) < 2:
        return model
    scores = model.as_score(raw)
    candidates = np.unique(np.quantile(scores, np.linspace(0, 1, 501)))
    candidates = np.append((candidates[1:] + candidates[:-1]) / 2, model.threshold)
    accuracy, precision, recall, f_score = _at(np.asarray(labels), scores, candidates, values["f_beta"])
    worth = {
        "accuracy": accuracy,
        "f_beta": f_score,
        "precision_at_target_recall": np.where(recall >= values["target_recall"], precision, recall - 1),
        "recall_at_target_precision": np.where(precision >= values["target_precision"], recall, precision - 1),
    }[criterion]
    best = candidates[worth == worth.max()]
    return replace(model, threshold=float(best[np.argmin(np.abs(best - model.threshold))]))


def _at(labels: Array, scores: Array, thresholds: Any, f_beta: float) -> tuple[Array, Array, Array, Array]:
    """Accuracy, precision, recall and F-beta at each threshold; a row whose score reaches it is class 1."""
    order = np.sort(scores)
    positive = np.sort(scores[labels > 0])
    predicted = len(order) - np.searchsorted(order, thresholds, side="left")
    hits = (len(positive) - np.searchsorted(positive, thresholds, side="left")).astype(float)
    misses = len(positive) - hits
    accuracy = (len(order) - (predicted - hits) - misses) / len(order)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = hits / len(positive) if len(positive) else np.zeros_like(hits)
    weighted = f_beta**2 * precision + recall
    f_score = np.divide((1 + f_beta**2) * precision * recall, weighted, out=np.zeros_like(hits), where=weighted > 0)
    return accuracy, precision, recall, f_score
