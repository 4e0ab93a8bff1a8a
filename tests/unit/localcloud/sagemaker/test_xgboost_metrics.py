"""The container's own metrics, against scikit-learn's."""

import re
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from localcloud.sagemaker.algorithms import STAND_INS, xgboost_metrics
from localcloud.sagemaker.algorithms.training_container import CustomerError

LABELS = np.random.default_rng(0).integers(0, 2, 200)
CLASSES = np.where(np.random.default_rng(1).random(200) < 0.8, LABELS, 1 - LABELS)
THREE_LABELS = np.random.default_rng(2).integers(0, 3, 200)
THREE_CLASSES = np.where(np.random.default_rng(3).random(200) < 0.6, THREE_LABELS, (THREE_LABELS + 1) % 3)

BINARY: dict[str, Callable[..., float]] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
    "f1": lambda y, p: sklearn_metrics.f1_score(y, p, average="macro"),
    "f1_binary": sklearn_metrics.f1_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
}
SEVERAL: dict[str, Callable[..., float]] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
    "f1_macro": lambda y, p: sklearn_metrics.f1_score(y, p, average="macro"),
    "precision_macro": lambda y, p: sklearn_metrics.precision_score(y, p, average="macro"),
    "precision_micro": lambda y, p: sklearn_metrics.precision_score(y, p, average="micro"),
    "recall_macro": lambda y, p: sklearn_metrics.recall_score(y, p, average="macro"),
    "recall_micro": lambda y, p: sklearn_metrics.recall_score(y, p, average="micro"),
}


@pytest.mark.parametrize("name", BINARY)
def test_metrics_of_two_classes_are_scikit_learns(name: str) -> None:
    assert xgboost_metrics.OF_CLASSES[name](LABELS, CLASSES) == pytest.approx(BINARY[name](LABELS, CLASSES))


@pytest.mark.parametrize("name", SEVERAL)
def test_metrics_of_three_classes_are_scikit_learns(name: str) -> None:
    found = xgboost_metrics.OF_CLASSES[name](THREE_LABELS, THREE_CLASSES)
    assert found == pytest.approx(SEVERAL[name](THREE_LABELS, THREE_CLASSES))


def test_mse_and_r2_are_scikit_learns() -> None:
    labels = np.random.default_rng(4).normal(size=100).astype("f4")
    preds = labels + np.random.default_rng(5).normal(size=100).astype("f4")

    assert xgboost_metrics.mse(labels, preds) == pytest.approx(sklearn_metrics.mean_squared_error(labels, preds))
    assert xgboost_metrics.r2(labels, preds) == pytest.approx(sklearn_metrics.r2_score(labels, preds))


def test_a_metric_of_two_classes_refuses_three() -> None:
    with pytest.raises(CustomerError, match="Target is multiclass but average='binary'"):
        xgboost_metrics.precision(THREE_LABELS, THREE_CLASSES)


@pytest.mark.parametrize(
    ("objective", "preds", "expected"),
    [
        ("binary:logistic", [0.2, 0.7], [0, 1]),
        ("binary:logitraw", [-0.2, 0.3], [0, 1]),
        ("binary:hinge", [0.0, 1.0], [0, 1]),
        ("multi:softmax", [2.0, 1.0], [2, 1]),
        ("multi:softprob", [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]], [2, 0]),
    ],
)
def test_predicted_classes_follow_the_objective(objective: str, preds: list[float], expected: list[int]) -> None:
    assert xgboost_metrics.predicted_classes(np.array(preds), objective).tolist() == expected


def test_the_evaluator_reports_the_named_metrics_in_order() -> None:
    matrix = SimpleNamespace(get_label=lambda: np.array([0.0, 1.0]))
    found = xgboost_metrics.evaluator(["accuracy", "mse"], "binary:logistic")(np.array([0.4, 0.6]), matrix)

    assert found == [("accuracy", 1.0), ("mse", pytest.approx(0.16))]


def test_default_definitions_find_the_metrics_of_a_log_line() -> None:
    line = "[7]#011train-rmse:19.41010#011train-r2:0.9#011validation-rmse:19.45500#011validation-r2:0.8"
    found = {
        definition["Name"]: match[1]
        for definition in STAND_INS["sagemaker-xgboost"].metrics
        if (match := re.search(definition["Regex"], line))
    }

    assert found == {
        "train:rmse": "19.41010",
        "train:r2": "0.9",
        "validation:rmse": "19.45500",
        "validation:r2": "0.8",
    }
