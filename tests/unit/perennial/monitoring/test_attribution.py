"""Whether scores rest on the features that they rested on: the ranking of features, and what chance makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.monitoring import attribution
from perennial.monitoring.attribution import Contributions
from perennial.monitoring.findings import MonitorError

NAMES = ("mileage", "make", "doors")
LEVEL = 0.01 / 3


def drawn(records: int, weights: tuple[float, ...], seed: int = 0) -> Contributions:
    """Contributions whose mean size is that of the weights, spread as much as they are large."""
    random = np.random.default_rng(seed)
    return Contributions(NAMES, random.normal(size=(records, 3)) * np.array(weights) * np.sqrt(np.pi / 2), 100.0)


def judged(
    window: Contributions, weights: tuple[float, ...] = (7, 5, 0.5), rows: int = 1000
) -> attribution.Attribution:
    return attribution.judge(attribution.analysis(drawn(rows, weights, 99)), window, 0.9, LEVEL)


def test_the_ndcg_is_that_of_awss_example_of_college_admissions() -> None:
    """Training 0.70, 0.50, 0.05; live 0.10, 0.20, 0.70: the ranking has reversed."""
    training, live = np.array([0.70, 0.50, 0.05]), np.array([0.10, 0.20, 0.70])
    discounted = 0.05 / np.log2(2) + 0.50 / np.log2(3) + 0.70 / np.log2(4)
    best = 0.70 / np.log2(2) + 0.50 / np.log2(3) + 0.05 / np.log2(4)
    assert float(attribution.ndcg(training, live)) == pytest.approx(discounted / best)
    assert float(attribution.ndcg(training, training * 3)) == 1.0


def test_the_ndcg_of_many_windows_is_that_of_each() -> None:
    baseline, windows = np.array([3.0, 1.0, 2.0]), np.random.default_rng(0).random((5, 3))
    together = attribution.ndcg(baseline, windows)
    assert together.tolist() == [float(attribution.ndcg(baseline, window)) for window in windows]


def test_a_model_that_rests_on_nothing_has_no_ranking_that_could_change() -> None:
    assert float(attribution.ndcg(np.zeros(3), np.array([1.0, 2.0, 3.0]))) == 1.0
    assert judged(drawn(200, (1, 2, 3)), weights=(0, 0, 0)).findings == []


def test_windows_like_the_baseline_are_not_raised() -> None:
    assert [judged(drawn(100, (7, 5, 0.5), seed)).findings for seed in range(50)] == [[]] * 50


def test_a_ranking_that_has_reversed_is_drift_and_says_which_features_moved() -> None:
    result = judged(drawn(250, (1, 2, 7)))
    (finding,) = result.findings
    assert (finding.kind, finding.check) == ("drift", "feature_attribution_drift_check")
    assert "expected at least 0.9" in finding.text
    assert "250 records); doors 4% -> " in finding.text
    assert [(one.name, one.rank_before, one.rank_after) for one in result.features] == [
        ("mileage", 1, 3), ("make", 2, 2), ("doors", 3, 1),
    ]  # fmt: skip
    assert sum(one.after for one in result.features) == pytest.approx(1)
    assert result.ndcg < 0.9 < result.by_chance


def test_a_ranking_that_chance_may_have_reversed_is_not_raised() -> None:
    """Twelve records, and the same ones a hundred times: doors weigh more than mileage, which was twice as much."""
    records = np.array([[0.1, 0.0, 0.0], [0.0, 0.0, 2.2], [2.0, 0.0, 0.2]] * 4)
    few, many = (judged(Contributions(NAMES, np.tile(records, (times, 1)), 0.0), (1, 0, 0.5)) for times in (1, 100))
    assert few.ndcg == many.ndcg < 0.9
    assert (few.by_chance, few.findings) == (pytest.approx(few.ndcg), [])
    assert many.by_chance > 0.9
    assert len(many.findings) == 1


def test_a_small_baseline_widens_what_is_chance() -> None:
    window = drawn(250, (7, 5, 0.5))
    small, large = (judged(window, (1, 0.9, 0.5), rows).by_chance for rows in (5, 100_000))
    assert small < large


def test_the_files_are_clarifys() -> None:
    document = attribution.analysis(drawn(50, (7, 5, 0.5)))
    explained = document["explanations"]["kernel_shap"]["label0"]
    assert list(explained["global_shap_values"]) == list(NAMES)
    assert (document["version"], explained["expected_value"], document["dataset"]) == ("1.0", 100.0, {"item_count": 50})
    found = judged(drawn(250, (1, 2, 7))).findings
    assert attribution.violations(found) == {
        "version": "1.0",
        "violations": [
            {
                "label": "label0",
                "metric_name": "shap",
                "constraint_check_type": "feature_attribution_drift_check",
                "description": found[0].text,
            }
        ],
    }


def test_the_baseline_of_another_model_is_refused() -> None:
    other = attribution.analysis(Contributions(("age", "height"), np.ones((10, 2)), 0.0))
    with pytest.raises(MonitorError, match="the baseline explains age, height, the model has doors, make, mileage"):
        attribution.judge(other, drawn(100, (1, 1, 1)), 0.9, LEVEL)
