"""Metrics against scikit-learn, intervals against brute force and theory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from perennial.evaluation import metrics
from perennial.evaluation.problem_types.binary_classification import predicted_labels
from perennial.evaluation.problem_types.measures import Floats
from perennial.model.problem_types import PROBLEM_TYPES

METRICS = {
    name: metric
    for problem in ("regression", "binary_classification")
    for name, metric in metrics.metrics_of(problem).items()
}
OF_CLASSES = metrics.metrics_of("multiclass_classification")
Score = Callable[[Floats, Floats], float]


@pytest.mark.parametrize("problem", PROBLEM_TYPES)
def test_each_problem_type_computes_the_metrics_that_it_names_and_no_other(problem: str) -> None:
    assert set(metrics.measures_of(problem).metrics) == set(PROBLEM_TYPES[problem].metrics)


def prices(rows: int = 500, seed: int = 1) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    labels = random.lognormal(9.8, 0.4, rows)
    return labels, labels + random.normal(0, 2_000, rows)


def probabilities(rows: int = 500, seed: int = 1, decimals: int = 2) -> tuple[Floats, Floats]:
    """Rounded, so that many scores are tied across the classes."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.4).astype(np.float64)
    return labels, np.clip(0.3 * labels + 0.7 * random.random(rows), 0, 1).round(decimals)


def classified(rows: int = 500, seed: int = 1, classes: int = 4) -> tuple[Floats, Floats]:
    """Rows of the last class are never predicted."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, rows, p=[0.4, 0.3, 0.2, 0.1]).astype(np.float64)
    scores = random.dirichlet(np.ones(classes), rows) + 0.8 * (labels[:, None] == np.arange(classes))
    scores[:, -1] *= 0.01
    return labels, scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmse", reference.root_mean_squared_error),
        ("mae", reference.mean_absolute_error),
        ("mse", reference.mean_squared_error),
        ("r2", reference.r2_score),
        ("mape", reference.mean_absolute_percentage_error),
        *(
            (name, lambda y, s, q=q: 2 * reference.mean_pinball_loss(y, s, alpha=q) / np.abs(y).mean())
            for name, q in {"wql_p10": 0.1, "wql_p50": 0.5, "wql_p90": 0.9}.items()
        ),
    ],
)
def test_a_regression_metric_equals_scikit_learns(name: str, expected: Score) -> None:
    labels, scores = prices()
    assert METRICS[name].compute(labels, scores) == pytest.approx(expected(labels, scores), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("auc", lambda y, p: reference.roc_auc_score(y, p)),
        ("accuracy", lambda y, p: reference.accuracy_score(y, p > 0.5)),
        ("f1", lambda y, p: reference.f1_score(y, p > 0.5)),
        ("precision", lambda y, p: reference.precision_score(y, p > 0.5)),
        ("recall", lambda y, p: reference.recall_score(y, p > 0.5)),
        ("logloss", lambda y, p: reference.log_loss(y, p)),
    ],
)
def test_a_binary_metric_equals_scikit_learns_with_tied_scores(name: str, expected: Score) -> None:
    labels, scores = probabilities()
    assert METRICS[name].compute(labels, scores) == pytest.approx(expected(labels, scores), rel=1e-12)


def weighted(score: Callable[..., float], **options: float) -> Score:
    return lambda y, p: score(y, p.argmax(axis=1), average="weighted", zero_division=0, **options)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", lambda y, p: reference.accuracy_score(y, p.argmax(axis=1))),
        ("logloss", lambda y, p: reference.log_loss(y, p, labels=range(4))),
        ("weighted_f1", weighted(reference.f1_score)),
        ("weighted_f0_5", weighted(reference.fbeta_score, beta=0.5)),
        ("weighted_f2", weighted(reference.fbeta_score, beta=2)),
        ("weighted_precision", weighted(reference.precision_score)),
        ("weighted_recall", weighted(reference.recall_score)),
    ],
)
def test_a_multiclass_metric_equals_scikit_learns_where_a_class_is_never_predicted(name: str, expected: Score) -> None:
    labels, scores = classified()
    assert 3 not in scores.argmax(axis=1)
    value = expected(labels, scores)
    assert OF_CLASSES[name].compute(labels, scores) == pytest.approx(value, rel=1e-12)
    low, high = metrics.interval(OF_CLASSES[name], labels, scores)
    assert low < value < high
    assert high - low == pytest.approx(2 * 1.96 * spread(OF_CLASSES[name], expected, labels, scores, 300), rel=0.2)


def spread(metric: metrics.Metric, expected: Score, labels: Floats, scores: Floats, draws: int) -> float:
    """The standard deviation of a metric over draws of its rows; in the first ten it is held against scikit-learn."""
    random, rows = np.random.default_rng(7), labels.size
    drawn = [(labels[chosen], scores[chosen]) for chosen in random.integers(0, rows, (draws, rows))]
    values = [metric.compute(*one) for one in drawn]
    assert values[:10] == pytest.approx([expected(*one) for one in drawn[:10]], rel=1e-12)
    return float(np.std(values))


def test_probabilities_of_single_precision_are_made_to_add_up_to_1() -> None:
    assert OF_CLASSES["logloss"].compute([0], [[0.4999, 0.25, 0.25]]) == pytest.approx(-np.log(0.4999 / 0.9999))
    assert OF_CLASSES["logloss"].compute([0], [[0.0, 1.0, 0.0]]) == pytest.approx(-np.log(np.finfo(np.float64).eps))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_counting_half(rows: list[tuple[bool, int]]) -> None:
    ups = [score / 4 for positive, score in rows if positive]
    downs = [score / 4 for positive, score in rows if not positive]
    labels, scores = [float(positive) for positive, _ in rows], [score / 4 for _, score in rows]
    if not ups or not downs:
        with pytest.raises(metrics.UndefinedMetricError, match="both classes"):
            METRICS["auc"].compute(labels, scores)
        return
    right = sum(1.0 if up > down else 0.5 if up == down else 0.0 for up in ups for down in downs)
    assert METRICS["auc"].compute(labels, scores) == pytest.approx(right / len(ups) / len(downs), abs=1e-12)


@settings(deadline=None)
@given(st.data())
def test_r2_of_large_labels_loses_no_digits(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-100, 100), min_size=3, max_size=30).filter(lambda v: len(set(v)) > 1))
    labels = np.array(values, dtype=np.float64)
    scores = labels + np.arange(labels.size)
    near, far = (METRICS["r2"].compute(labels + offset, scores + offset) for offset in (0, 1e6))
    assert far == pytest.approx(near, rel=1e-8, abs=1e-8)


def test_a_weighted_quantile_loss_is_what_a_hand_computes() -> None:
    """Of 10 and -20, foretold as 4 and -15: six too low, five too high; of the 30 that there are."""
    expected = {"wql_p10": 2 * (0.1 * 6 + 0.9 * 5) / 30, "wql_p50": 11 / 30, "wql_p90": 2 * (0.9 * 6 + 0.1 * 5) / 30}
    assert {name: METRICS[name].compute([10, -20], [4, -15]) for name in expected} == pytest.approx(expected)


def test_evaluate_returns_every_metric_of_the_problem_and_no_other() -> None:
    errors = ["rmse", "mae", "mse", "r2", "mape", "wql_p10", "wql_p50", "wql_p90"]
    assert list(metrics.evaluate("regression", *prices())) == errors
    assert list(metrics.evaluate("binary_classification", *probabilities())) == [
        "auc",
        "accuracy",
        "f1",
        "precision",
        "recall",
        "logloss",
    ]


def test_evaluate_takes_lists_and_gives_plain_floats() -> None:
    values = metrics.evaluate("regression", [1, 2, 3], [1, 2, 5])
    assert values["mae"] == pytest.approx(2 / 3)
    assert all(type(value) is float for value in values.values())


def test_evaluate_gives_nan_for_what_the_rows_leave_undefined_and_the_rest_all_the_same() -> None:
    values = metrics.evaluate("binary_classification", [1, 1], [0.9, 0.2])
    assert np.isnan(values["auc"])
    assert values["accuracy"] == 0.5
    constant = metrics.evaluate("regression", [0.1] * 10, [0.2] * 10)
    assert np.isnan(constant["r2"])
    assert constant["rmse"] == pytest.approx(0.1)


def test_only_errors_and_losses_are_minimized() -> None:
    minimized = {name for name, metric in METRICS.items() if metric.direction == "minimize"}
    assert minimized == {"rmse", "mae", "mse", "mape", "wql_p10", "wql_p50", "wql_p90", "logloss"}


def test_a_probability_at_the_threshold_is_class_0_as_in_xgboosts_error() -> None:
    assert predicted_labels([0.0, 0.5, 0.5000001, 1.0]).tolist() == [0, 0, 1, 1]


def test_nothing_predicted_positive_counts_as_precision_0() -> None:
    values = metrics.evaluate("binary_classification", [1, 0], [0.1, 0.1])
    assert (values["precision"], values["recall"], values["f1"]) == (0, 0, 0)


def test_a_certain_and_wrong_probability_has_a_finite_logloss() -> None:
    expected = reference.log_loss([1, 0], [0.0, 0.0])
    assert METRICS["logloss"].compute([1, 0], [0.0, 0.0]) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["r2", "mape", "wql_p50"])
def test_a_metric_that_has_no_value_says_what_it_needs(name: str) -> None:
    with pytest.raises(
        metrics.UndefinedMetricError, match=rf"{name} has no value for these 3 rows: it needs (labels|a label)"
    ):
        METRICS[name].compute([0, 0, 0], [1, 2, 3])


def test_numbers_too_large_to_square_are_no_value_rather_than_infinity() -> None:
    with pytest.raises(metrics.UndefinedMetricError, match="too large"):
        METRICS["rmse"].compute([0.0], [1e200])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "no rows"),
        ([1.0, 2.0], [1.0], "2 labels but 1 scores; expected one score for each label"),
        ([1.0, 2.0, 3.0], [1.0, np.nan, np.inf], r"2 of 3 scores are not finite numbers; the first is nan in row 1"),
        ([np.nan], [1.0], "1 of 1 labels are not finite"),
        ([[1.0]], [[1.0]], r"labels have the shape \(1, 1\)"),
        (["cheap"], [1.0], "labels are not all numbers"),
        ([None], [1.0], "labels are not"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_was_expected(
    labels: npt.ArrayLike, scores: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(metrics.MetricInputError, match=message):
        metrics.evaluate("regression", labels, scores)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 2], [0.5, 0.5], r"1 of 2 labels are not 0 or 1; the first is 2.0 in row 1"),
        ([0, 1], [0.5, 1.5], "1 of 2 scores are not probabilities of class 1"),
    ],
)
def test_binary_labels_are_0_or_1_and_scores_are_probabilities(
    labels: npt.ArrayLike, scores: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(metrics.MetricInputError, match=message):
        metrics.evaluate("binary_classification", labels, scores)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 3], [[0.5, 0.25, 0.25]] * 2, "1 of 2 labels are not numbers of the 3 classes, from 0; the first is 3.0"),
        ([0.5], [[0.5, 0.25, 0.25]], "1 of 1 labels are not numbers of the 3 classes"),
        ([0], [[0.5, 0.25, 0.75]], "1 of 1 scores are not probabilities, from 0 to 1, that add up to 1"),
        ([0], [[1.5, -0.25, -0.25]], "1 of 1 scores are not probabilities"),
        ([0], [[np.nan, 0.5, 0.5]], "1 of 1 scores are not finite"),
        ([0], [0.5], r"scores have the shape \(1,\); expected one for each class: \(n_rows, n_classes\)"),
    ],
)
def test_labels_of_classes_are_their_numbers_and_scores_the_probability_of_each(
    labels: npt.ArrayLike, scores: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(metrics.MetricInputError, match=message):
        metrics.evaluate("multiclass_classification", labels, scores)


def test_scores_of_another_problem_type_cannot_be_measured_rather_than_fail() -> None:
    assert metrics.can_be_measured("multiclass_classification", [0.5, 0.2]).tolist() == [False, False]
    assert metrics.can_be_measured("regression", [[0.5, 0.5]]).tolist() == [False]
    assert metrics.can_be_measured("multiclass_classification", [[0.5, 0.5], [0.5, np.nan]]).tolist() == [True, False]


def test_an_unknown_problem_or_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(metrics.MetricInputError, match="expected 'regression' or 'binary_classification'"):
        metrics.evaluate("ranking", [1], [1])
    with pytest.raises(metrics.UnknownMetricError, match="'gini'; expected one of rmse, mae"):
        metrics.metric_named("regression", "gini")


def test_every_error_of_the_module_is_a_value_error() -> None:
    for error in (metrics.MetricInputError, metrics.UndefinedMetricError, metrics.UnknownMetricError):
        assert issubclass(error, metrics.MetricError)
    assert issubclass(metrics.MetricError, ValueError)


@pytest.mark.parametrize("name", list(METRICS))
def test_an_interval_holds_the_metric_and_is_the_same_in_any_order_of_the_rows(name: str) -> None:
    metric = METRICS[name]
    labels, scores = prices() if metric.problem == "regression" else probabilities()
    low, high = metrics.interval(METRICS[name], labels, scores)
    assert low < metric.compute(labels, scores) < high
    assert metrics.interval(METRICS[name], labels[::-1], scores[::-1]) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmse", reference.root_mean_squared_error),
        ("r2", reference.r2_score),
        ("auc", reference.roc_auc_score),
        ("f1", lambda y, p: reference.f1_score(y, p > 0.5)),
    ],
)
def test_an_interval_is_as_wide_as_resampling_rows_makes_it(name: str, expected: Score) -> None:
    labels, scores = prices(300) if METRICS[name].problem == "regression" else probabilities(300)
    low, high = metrics.interval(METRICS[name], labels, scores)
    assert high - low == pytest.approx(2 * 1.96 * spread(METRICS[name], expected, labels, scores, 600), rel=0.1)


def test_an_interval_of_many_rows_has_the_width_that_theory_gives() -> None:
    errors = np.random.default_rng(1).normal(0, 1, 400_000)
    low, high = metrics.interval(METRICS["rmse"], np.zeros(errors.size), errors)
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(2 * errors.size), rel=0.01)


def test_the_interval_of_an_auc_is_delongs() -> None:
    labels, scores = probabilities(200)
    up, down = scores[labels == 1], scores[labels == 0]
    wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    error = np.sqrt(wins.mean(axis=1).var(ddof=1) / up.size + wins.mean(axis=0).var(ddof=1) / down.size)
    low, high = metrics.interval(METRICS["auc"], labels, scores)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.02)


def test_an_interval_does_not_go_beyond_the_best_value() -> None:
    labels, scores = np.array([0.0] * 20 + [1.0] * 20), np.array([0.1] * 19 + [0.95] + [0.9] * 20)
    low, high = metrics.interval(METRICS["auc"], labels, scores)
    assert low < 0.95 < high == 1.0
    assert metrics.interval(METRICS["mae"], [1.0, 2.0, 3.0], [1.0, 2.0, 9.0])[0] == 0.0


@pytest.mark.parametrize(("labels", "says"), [([1, 1], "both classes"), ([0, 1], "without one of them")])
def test_an_interval_needs_a_metric_that_has_a_value_also_without_a_row(labels: list[int], says: str) -> None:
    with pytest.raises(metrics.UndefinedMetricError, match=says):
        metrics.interval(METRICS["auc"], labels, [0.2, 0.8])


def test_the_difference_of_two_like_models_is_known_better_than_either_alone() -> None:
    labels, champion = prices()
    candidate = champion + 50
    low, high = metrics.interval_of_difference(METRICS["rmse"], labels, candidate, champion)
    alone = metrics.interval(METRICS["rmse"], labels, champion)
    assert (high - low) < 0.2 * (alone[1] - alone[0])


def test_the_difference_of_a_model_and_itself_is_zero() -> None:
    labels, scores = probabilities()
    assert metrics.interval_of_difference(METRICS["auc"], labels, scores, scores) == (0.0, 0.0)


def test_the_difference_is_candidate_minus_champion() -> None:
    labels, champion = prices()
    candidate = labels + (champion - labels) / 2
    value = METRICS["rmse"].compute(labels, candidate) - METRICS["rmse"].compute(labels, champion)
    low, high = metrics.interval_of_difference(METRICS["rmse"], labels, candidate, champion)
    assert low < value < high < 0


def test_the_interval_of_a_difference_is_that_of_the_mean_of_paired_differences() -> None:
    labels, champion = prices()
    candidate = champion + np.random.default_rng(2).normal(30, 500, labels.size)
    paired = (candidate - labels) ** 2 - (champion - labels) ** 2
    error = 1.959964 * paired.std(ddof=1) / np.sqrt(paired.size)
    found = metrics.interval_of_difference(METRICS["mse"], labels, candidate, champion)
    assert found == pytest.approx((paired.mean() - error, paired.mean() + error))


def test_chance_is_called_more_than_chance_about_once_in_twenty_times() -> None:
    random, wrong = np.random.default_rng(5), 0
    for _ in range(1_000):
        labels = random.lognormal(9, 1, 100)
        one, other = (labels * random.lognormal(0, 0.2, 100) for _ in range(2))
        low, high = metrics.interval_of_difference(METRICS["rmse"], labels, one, other)
        wrong += not low <= 0 <= high
    assert wrong < 80
