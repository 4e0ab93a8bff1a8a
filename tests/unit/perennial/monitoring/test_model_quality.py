"""Model quality of a window: a drop counts when it is larger than chance and than its limit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from perennial.evaluation import model_quality as measured
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.evaluation.metrics import interval, metric_named
from perennial.monitoring.findings import MonitorError, violations
from perennial.monitoring.model_quality import ModelLimits, ModelQuality, judge

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LIMITS = ModelLimits(max_drop=0.05, false_alarms=0.005)
Floats = npt.NDArray[np.float64]


def regression(rows: int, seed: int, noise: float = 1.0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    labels = random.normal(10, 5, rows)
    return labels, labels + random.normal(0, noise, rows)


def classes(rows: int, seed: int, strength: float = 2.0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.4).astype(np.float64)
    return labels, 1 / (1 + np.exp(-strength * (labels - 0.5) - random.normal(size=rows)))


def baseline_of(problem: str, labels: Floats, scores: Floats) -> tuple[dict[str, Any], dict[str, Any]]:
    probabilities = scores if problem == "binary_classification" else None
    predictions = (scores > 0.5).astype(float) if probabilities is not None else scores
    statistics = measured.statistics(problem, labels, predictions, probabilities, evaluation_time=NOW)
    return statistics, measured.constraints(problem, statistics)


def judged(problem: str, metric: str, before: tuple[Floats, Floats], after: tuple[Floats, Floats]) -> ModelQuality:
    definition = {"problem": problem, "gate": {"metric": metric}}
    return judge(definition, *baseline_of(problem, *before), *after, LIMITS, NOW, OwnMetrics.none(problem))


def test_a_model_that_is_as_good_as_it_was_crosses_no_limit() -> None:
    """Its metric is above the constraint in about half of all windows."""
    results = [
        judged("regression", "rmse", regression(1000, seed), regression(1000, seed + 1000)) for seed in range(40)
    ]
    above = sum(one.metrics[0].value > one.metrics[0].limit for one in results)
    assert 10 <= above <= 30
    assert [one.findings for one in results] == [[]] * 40


def test_a_model_that_has_become_worse_is_drift_in_model_monitors_words() -> None:
    result = judged("regression", "rmse", regression(1000, 0), regression(1000, 1, noise=1.3))
    drift = [one for one in result.findings if one.kind == "drift"]
    assert [one.subject for one in drift] == ["rmse"]
    (violation,) = violations(drift)["violations"]
    assert violation["metric_name"] == "rmse"
    assert violation["constraint_check_type"] == "GreaterThanThreshold"
    assert violation["description"].startswith("Metric rmse with 1.3")
    assert set(result.statistics["regression_metrics"]) == {"mae", "mse", "rmse", "r2"}


def with_one_large_error(rows: int, noise: float) -> tuple[Floats, Floats]:
    labels, scores = regression(rows, 1, noise=noise)
    scores[7] += 127 - abs(labels[7] - scores[7])
    return labels, scores


def test_one_large_error_does_not_hide_that_all_others_have_grown() -> None:
    result = judged("regression", "rmse", regression(500, 0, noise=8), with_one_large_error(200, noise=12.5))
    (rmse,) = (one for one in result.metrics if one.name == "rmse")
    assert 1.8 * rmse.limit < rmse.value
    assert 0 < rmse.lost_at_least < rmse.lost
    assert rmse.worse


def test_one_large_error_alone_is_chance() -> None:
    result = judged("regression", "rmse", regression(500, 0, noise=8), with_one_large_error(200, noise=8))
    (rmse,) = (one for one in result.metrics if one.name == "rmse")
    assert rmse.value > 1.4 * rmse.limit
    assert not rmse.worse


def test_heavy_tails_and_small_windows_raise_no_more_than_they_should() -> None:
    raised = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        before, after = ((np.zeros(rows), random.lognormal(0, 1.5, rows)) for rows in (200, 100))
        raised += next(one for one in judged("regression", "rmse", before, after).metrics if one.name == "rmse").worse
    assert raised <= 1


def test_an_interval_beyond_the_limit_that_does_not_count_says_why() -> None:
    small = judged("regression", "rmse", regression(60, 0), regression(10_000, 1, noise=1.1)).metrics[0]
    slight = judged("regression", "rmse", regression(100_000, 0), regression(100_000, 1, noise=1.03)).metrics
    better = judged("regression", "rmse", regression(1000, 0), regression(1000, 1, noise=0.5)).metrics
    sure = judged("regression", "rmse", regression(1000, 0), regression(1000, 1, noise=1.3)).metrics
    assert small.interval[0] > small.limit
    assert small.not_worse == "no more than chance makes of 10,000 rows beside the 60 of the test set"
    assert next(one for one in slight if one.name == "rmse").not_worse == "less than max_drop, 5 %"
    assert {one.not_worse for one in [*better, *sure] if one.name == "rmse"} == {""}


def test_other_metrics_than_the_gates_are_reported_and_decide_nothing() -> None:
    result = judged("regression", "r2", regression(1000, 0), regression(1000, 1, noise=1.3))
    assert {one.subject for one in result.findings if one.kind == "note"} >= {"rmse", "mae", "mse"}


def test_a_sure_drop_that_is_too_small_to_matter_does_not_count() -> None:
    result = judged("regression", "rmse", regression(100_000, 0), regression(100_000, 1, noise=1.03))
    (rmse,) = (one for one in result.metrics if one.name == "rmse")
    assert rmse.lost_at_least > 0
    assert not rmse.worse


def test_the_chance_of_a_small_baseline_counts_as_well() -> None:
    """Against 60 test rows a window of ten thousand cannot be sure of a tenth."""
    large = judged("regression", "rmse", regression(10_000, 0), regression(10_000, 1, noise=1.1))
    assert next(one for one in large.metrics if one.name == "rmse").worse
    raised = [
        next(one for one in judged("regression", "rmse", regression(60, seed), regression(10_000, 1)).metrics).worse
        for seed in range(40)
    ]
    assert sum(raised) <= 2


def test_classes_are_judged_by_probabilities_and_by_classes() -> None:
    result = judged("binary_classification", "auc", classes(1000, 0), classes(1000, 1, strength=0.8))
    assert [one.subject for one in result.findings if one.kind == "drift"] == ["auc"]
    assert {one.name for one in result.metrics} == {"auc", "accuracy", "f1", "precision", "recall"}
    (auc,) = (one for one in result.metrics if one.name == "auc")
    assert auc.operator == "LessThanThreshold"
    assert auc.interval[0] < auc.value < auc.interval[1] < auc.limit


@pytest.mark.parametrize(("problem", "metric"), [("regression", "rmse"), ("binary_classification", "auc")])
def test_the_bootstrap_agrees_with_the_jackknife(problem: str, metric: str) -> None:
    labels, scores = (regression if problem == "regression" else classes)(2000, 3)
    drawn = metric_named(problem, metric).resampled(labels, scores)
    low, high = interval(metric_named(problem, metric), labels, scores)
    assert np.percentile(drawn, [2.5, 97.5]) == pytest.approx([low, high], abs=0.2 * (high - low))


def test_a_metric_that_the_window_leaves_undefined_is_left_out() -> None:
    labels, scores = np.ones(200), np.full(200, 0.9)
    result = judged("binary_classification", "auc", classes(1000, 0), (labels, scores))
    assert "auc" not in {one.name for one in result.metrics}


def test_scores_that_are_no_numbers_are_left_out_and_counted() -> None:
    labels, scores = regression(1000, 1)
    scores[:3] = np.nan, np.inf, 1e200
    result = judged("regression", "rmse", regression(1000, 0), (labels, scores))
    assert (result.left_out, result.findings) == (3, [])


def test_a_baseline_of_another_problem_is_said() -> None:
    statistics, constraints = baseline_of("regression", *regression(100, 0))
    definition = {"problem": "binary_classification", "gate": {"metric": "auc"}}
    with pytest.raises(MonitorError, match="no binary_classification_constraints"):
        judge(definition, statistics, constraints, *classes(100, 0), LIMITS, NOW, OwnMetrics.none("regression"))
