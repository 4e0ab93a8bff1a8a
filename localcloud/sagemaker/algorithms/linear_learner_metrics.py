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


def roc_auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve, ties counted as halves; NaN with one class only."""
    positive = labels > 0
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def with_threshold(model: LinearModel, features: Array, labels: Array, values: Mapping[str, Any]) -> LinearModel:
    """Return the model with the threshold that is best on these rows by the model selection criterion."""
    criterion = values["binary_classifier_model_selection_criteria"]
    if criterion == "loss_function" or len(np.unique(labels)) < 2:
        return model
    scores = model.score(features)
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
