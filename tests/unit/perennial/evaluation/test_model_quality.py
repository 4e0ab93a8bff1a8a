"""Model quality against scikit-learn and the developer guide's own examples."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from perennial.evaluation.metrics import MetricInputError
from perennial.evaluation.model_quality import constraints, statistics
from perennial.evaluation.problem_types.measures import Floats
from perennial.evaluation.problem_types.quality import MAX_CURVE_POINTS

NOW = datetime(2026, 11, 20, 23, 5, 0, 7_000, tzinfo=UTC)


def measured(problem: str, *rows: Any, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = statistics(problem, *rows, evaluation_time=NOW, **settings)[f"{problem}_metrics"]
    return found


def values(found: dict[str, Any]) -> dict[str, Any]:
    return {name: metric["value"] for name, metric in found.items() if "value" in metric}


def prices(rows: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(1)
    labels = random.lognormal(9.8, 0.4, rows)
    return labels, labels + random.normal(0, 2_000, rows)


def lesions(rows: int) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(1)
    labels = (random.random(rows) < 0.4).astype(np.float64)
    probability = np.clip(0.3 * labels + 0.7 * random.random(rows), 0, 1).round(2)
    return labels, (probability > 0.5).astype(np.float64), probability


def test_regression_statistics_have_the_documented_shape() -> None:
    found = statistics("regression", [1, 2, 3], [1, 2, 5], evaluation_time=NOW)
    assert list(found) == ["version", "dataset", "regression_metrics"]
    assert found["version"] == 0.0
    assert found["dataset"] == {"item_count": 3, "evaluation_time": "2026-11-20T23:05:00.007Z"}
    assert list(found["regression_metrics"]) == ["mae", "mse", "rmse", "r2"]
    assert all(set(metric) == {"value", "standard_deviation"} for metric in found["regression_metrics"].values())


def test_regression_metrics_equal_scikit_learns() -> None:
    labels, predictions = prices(300)
    assert values(measured("regression", labels, predictions)) == pytest.approx(
        {
            "mae": reference.mean_absolute_error(labels, predictions),
            "mse": reference.mean_squared_error(labels, predictions),
            "rmse": reference.root_mean_squared_error(labels, predictions),
            "r2": reference.r2_score(labels, predictions),
        }
    )


@pytest.mark.parametrize("problem", ["regression", "binary_classification"])
def test_a_standard_deviation_needs_200_rows(problem: str) -> None:
    for rows, known in ((199, False), (200, True)):
        columns = prices(rows) if problem == "regression" else lesions(rows)
        deviations = [
            metric["standard_deviation"] for metric in measured(problem, *columns).values() if "value" in metric
        ]
        assert all((deviation != "NaN") is known for deviation in deviations)


def test_the_standard_deviation_is_that_of_samples_of_80_percent() -> None:
    labels, predictions = prices(20_000)
    random = np.random.default_rng(9)
    samples = [random.permutation(20_000)[:16_000] for _ in range(200)]
    expected = np.std([np.abs(predictions[rows] - labels[rows]).mean() for rows in samples])
    found = [measured("regression", labels, predictions, seed=s)["mae"]["standard_deviation"] for s in range(30)]
    # Five samples show sqrt(4 / 5) of the population's deviation, less a little because a root is concave.
    assert np.mean(found) == pytest.approx(0.84 * expected, rel=0.2)


def test_the_same_seed_gives_the_same_document() -> None:
    columns = lesions(300)
    first, second = (statistics("binary_classification", *columns, evaluation_time=NOW, seed=1) for _ in range(2))
    assert first == second


def test_binary_metrics_equal_the_guides_example() -> None:
    found = measured("binary_classification", [0, 0, 0, 1], [0, 1, 1, 1], [0.1, 0.6, 0.7, 0.9])
    assert found["confusion_matrix"] == {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}}
    assert values(found) == pytest.approx(
        {
            "recall": 1.0,
            "precision": 0.3333333333333333,
            "accuracy": 0.5,
            "recall_best_constant_classifier": 1.0,
            "precision_best_constant_classifier": 0.25,
            "accuracy_best_constant_classifier": 0.25,
            "true_positive_rate": 1.0,
            "true_negative_rate": 0.33333333333333337,
            "false_positive_rate": 0.6666666666666666,
            "false_negative_rate": 0.0,
            "auc": 1.0,
            "f0_5": 0.3846153846153846,
            "f1": 0.5,
            "f2": 0.7142857142857143,
            "f0_5_best_constant_classifier": 0.29411764705882354,
            "f1_best_constant_classifier": 0.4,
            "f2_best_constant_classifier": 0.625,
        }
    )
    assert {metric["standard_deviation"] for metric in found.values() if "value" in metric} == {"NaN"}


def test_binary_metrics_equal_scikit_learns() -> None:
    labels, predicted, probability = lesions(500)
    found = measured("binary_classification", labels, predicted, probability)
    assert [list(row.values()) for row in found["confusion_matrix"].values()] == reference.confusion_matrix(
        labels, predicted
    ).tolist()
    expected = {
        "recall": reference.recall_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted),
        "accuracy": reference.accuracy_score(labels, predicted),
        "auc": reference.roc_auc_score(labels, probability),
        **{f"f{beta:g}".replace(".", "_"): reference.fbeta_score(labels, predicted, beta=beta) for beta in (0.5, 1, 2)},
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected)


def test_short_curves_are_scikit_learns_to_the_point() -> None:
    labels, predicted, probability = lesions(150)
    found = measured("binary_classification", labels, predicted, probability)
    false_rates, true_rates, _ = reference.roc_curve(labels, probability, drop_intermediate=False)
    roc = found["receiver_operating_characteristic_curve"]
    assert roc["false_positive_rates"] == pytest.approx(false_rates.tolist())
    assert roc["true_positive_rates"] == pytest.approx(true_rates.tolist())
    precisions, recalls, _ = reference.precision_recall_curve(labels, probability)
    pr = found["precision_recall_curve"]
    assert pr["precisions"] == pytest.approx(precisions[::-1].tolist())
    assert pr["recalls"] == pytest.approx(recalls[::-1].tolist())


def test_long_curves_keep_their_ends_and_their_area() -> None:
    random = np.random.default_rng(1)
    labels = (random.random(20_000) < 0.4).astype(np.float64)
    probability = np.clip(0.3 * labels + 0.7 * random.random(20_000), 0, 1)
    found = measured("binary_classification", labels, (probability > 0.5).astype(int), probability)
    curve = found["receiver_operating_characteristic_curve"]
    x, y = curve["false_positive_rates"], curve["true_positive_rates"]
    assert len(x) == len(y) == len(found["precision_recall_curve"]["recalls"]) == MAX_CURVE_POINTS
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(found["auc"]["value"], abs=1e-3)


def test_without_probabilities_there_is_neither_auc_nor_curve() -> None:
    found = measured("binary_classification", [0, 1], [0, 1])
    assert not {"auc", "receiver_operating_characteristic_curve", "precision_recall_curve"} & set(found)


def test_labels_of_one_class_leave_text_for_what_is_undefined_and_no_constraint() -> None:
    found = statistics("binary_classification", [0, 0], [0, 0], [0.1, 0.2], evaluation_time=NOW)
    json.dumps(found, allow_nan=False)
    metrics = found["binary_classification_metrics"]
    undefined = {name for name, value in values(metrics).items() if value == "NaN"}
    assert {"auc", "recall", "precision", "f1", "true_positive_rate", "false_negative_rate"} <= undefined
    assert metrics["true_negative_rate"]["value"] == 1.0
    assert metrics["receiver_operating_characteristic_curve"]["false_positive_rates"] == []
    suggested = constraints("binary_classification", found)["binary_classification_constraints"]
    assert set(suggested) == {"accuracy", "true_negative_rate", "false_positive_rate"}


def test_constant_labels_leave_r2_undefined() -> None:
    found = statistics("regression", [5.0] * 300, [4.0, 6.0] * 150, evaluation_time=NOW)
    assert found["regression_metrics"]["r2"] == {"value": "NaN", "standard_deviation": "NaN"}
    assert set(constraints("regression", found)["regression_constraints"]) == {"mae", "mse", "rmse"}


def test_multiclass_metrics_equal_the_guides_example() -> None:
    labels = ["0"] * 1690 + ["1"] * 406
    predicted = ["0"] * 1180 + ["1"] * 510 + ["0"] * 268 + ["1"] * 138
    found = measured("multiclass_classification", labels, predicted)
    assert found["confusion_matrix"] == {"0": {"0": 1180, "1": 510}, "1": {"0": 268, "1": 138}}
    expected = {
        "accuracy": 0.6288167938931297,
        "weighted_recall": 0.6288167938931297,
        "weighted_precision": 0.6983172269629505,
        "weighted_f0_5": 0.6803947317178771,
        "weighted_f1": 0.6571162346664904,
        "weighted_f2": 0.6384024354394601,
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected)
    assert set(values(found)) == {*expected, *(f"{name}_best_constant_classifier" for name in expected)}


def test_the_best_constant_of_many_classes_is_the_most_frequent_one() -> None:
    found = measured("multiclass_classification", ["a", "a", "b", "c"], ["b", "b", "b", "d"])
    assert found["accuracy_best_constant_classifier"]["value"] == 0.5
    assert found["weighted_precision_best_constant_classifier"]["value"] == 0.25
    assert list(found["confusion_matrix"]) == ["a", "b", "c", "d"]


def test_multiclass_metrics_equal_scikit_learns_when_a_class_is_never_predicted() -> None:
    random = np.random.default_rng(1)
    labels, predicted = random.choice(["a", "b", "c"], 400), random.choice(["a", "b"], 400)
    found = measured("multiclass_classification", labels, predicted)
    for name, score in (("precision", reference.precision_score), ("recall", reference.recall_score)):
        expected = score(labels, predicted, average="weighted", zero_division=0)
        assert found[f"weighted_{name}"]["value"] == pytest.approx(expected)
    expected = reference.f1_score(labels, predicted, average="weighted", zero_division=0)
    assert found["weighted_f1"]["value"] == pytest.approx(expected)


def test_regression_constraints_are_the_values_and_the_direction_in_which_they_get_worse() -> None:
    found = statistics("regression", *prices(300), evaluation_time=NOW)
    measured_values = values(found["regression_metrics"])
    assert constraints("regression", found) == {
        "version": 0.0,
        "regression_constraints": {
            "mae": {"threshold": measured_values["mae"], "comparison_operator": "GreaterThanThreshold"},
            "mse": {"threshold": measured_values["mse"], "comparison_operator": "GreaterThanThreshold"},
            "rmse": {"threshold": measured_values["rmse"], "comparison_operator": "GreaterThanThreshold"},
            "r2": {"threshold": measured_values["r2"], "comparison_operator": "LessThanThreshold"},
        },
    }


def test_classification_constraints_leave_out_matrix_curves_and_constant_classifiers() -> None:
    found = statistics("binary_classification", *lesions(300), evaluation_time=NOW)
    suggested = constraints("binary_classification", found)["binary_classification_constraints"]
    worse_above = {name for name, item in suggested.items() if item["comparison_operator"] == "GreaterThanThreshold"}
    assert worse_above == {"false_positive_rate", "false_negative_rate"}
    assert set(suggested) - worse_above == {
        "recall",
        "precision",
        "accuracy",
        "true_positive_rate",
        "true_negative_rate",
        "auc",
        "f0_5",
        "f1",
        "f2",
    }


@pytest.mark.parametrize(
    ("problem", "columns", "message"),
    [
        ("regression", ([], []), "no rows"),
        ("regression", ([1.0], [np.nan]), "1 of 1 scores are not finite"),
        ("binary_classification", ([0, 1], [0.2, 0.7]), "predictions are not all 0 or 1"),
        ("binary_classification", ([0, 1], [0, 1], [0.2]), "2 labels but 1 scores"),
        ("multiclass_classification", (["a"], ["a", "b"]), "expected one prediction for each label"),
        ("multiclass_classification", ([], []), "at least one row"),
        ("ranking", ([1], [1]), "problem is 'ranking'; expected 'regression' or"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(problem: str, columns: Any, message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        measured(problem, *columns)
