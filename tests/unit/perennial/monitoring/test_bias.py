"""Bias of a window: Clarify's metrics by hand, and when it counts as grown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from perennial.monitoring.bias import METRICS, POST, PRE, Bias, analysis, judge
from perennial.monitoring.facets import FacetCounts, Side
from perennial.monitoring.findings import MonitorError

SAAB = {"column": "make", "values": ["Saab"], "above": None}
SECTION = {"positive": {"values": None, "above": 15_000.0}}
LIMITS = {"CI": 0.2, "DPL": 0.1, "DPPL": 0.1, "DI": 0.2}


def facet(others: tuple[int, int, int], members: tuple[int, int, int], rule: dict[str, Any] = SAAB) -> FacetCounts:
    """Sides of (records, positive labels, positive predictions), all of them labelled."""
    return FacetCounts(rule, *(Side(rows, rows, true, rows, said) for rows, true, said in (others, members)))


def drawn(rows: int, shares: tuple[float, float], seed: int) -> FacetCounts:
    """A third of the rows are members; shares are the probabilities of a positive outcome: others, members."""
    random = np.random.default_rng(seed)
    members = int(random.binomial(rows, 1 / 3))
    sides = zip((rows - members, members), shares, strict=True)
    return facet(*((side, *random.binomial(side, share, 2).tolist()) for side, share in sides))


def judged(before: FacetCounts, *after: FacetCounts) -> Bias:
    return judge(analysis("price", SECTION, [before]), after, LIMITS, 0.01)


def test_the_metrics_are_those_that_clarify_documents() -> None:
    """Loans, of 700 (60 % granted, 50 % said) and 300 (40 %, 30 %)."""
    values = {metric.name: metric.value(facet((700, 420, 350), (300, 120, 90))) for metric in METRICS}
    assert values == pytest.approx({"CI": 0.4, "DPL": 0.2, "DPPL": 0.2, "DI": 0.6})


@pytest.mark.parametrize(
    ("others", "members", "none"),
    [
        ((0, 0, 0), (0, 0, 0), {"CI", "DPL", "DPPL", "DI"}),
        ((10, 5, 5), (0, 0, 0), {"DPL", "DPPL", "DI"}),
        ((10, 5, 0), (10, 5, 5), {"DI"}),
        ((10, 5, 5), (10, 5, 0), set()),
    ],
)
def test_metrics_of_empty_sides_have_no_value(
    others: tuple[int, int, int], members: tuple[int, int, int], none: set[str]
) -> None:
    counts = facet(others, members)
    assert {metric.name for metric in METRICS if metric.value(counts) is None} == none
    document = analysis("price", SECTION, [counts])
    measured = [one for stage in (PRE, POST) for one in document[stage]["facets"]["make"][0]["metrics"]]
    assert {one["name"] for one in measured if "error" in one} == none
    for before, after in ((counts, facet((7, 4, 4), (3, 2, 2))), (facet((7, 4, 4), (3, 2, 2)), counts)):
        results = judged(before, after).results
        assert {one.metric for one in results if one.chance is None} == none


def test_the_document_has_clarifys_form() -> None:
    document = analysis("price", SECTION, [facet((700, 420, 350), (300, 120, 90))])
    post = document["post_training_bias_metrics"]
    assert (document["version"], post["label"], post["label_value_or_threshold"]) == ("1.0", "price", "(15000, inf)")
    (entry,) = post["facets"]["make"]
    assert entry["value_or_threshold"] == "Saab"
    assert entry["metrics"][1] == {"name": "DI", "description": "Disparate Impact (DI)", "value": pytest.approx(0.6)}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_outcomes_that_have_not_changed_are_not_found() -> None:
    """In 200 windows of 1,000 records, each against a test set of its own."""
    found = [judged(drawn(400, (0.5, 0.4), seed), drawn(1000, (0.5, 0.4), seed + 1000)).findings for seed in range(200)]
    assert sum(map(bool, found)) <= 4


def test_bias_that_has_grown_is_drift_in_model_monitors_words() -> None:
    bias = judged(facet((700, 420, 350), (300, 150, 135)), facet((700, 420, 350), (300, 150, 60)))
    assert [(one.metric, one.worse) for one in bias.results] == [
        ("CI", False), ("DPL", False), ("DPPL", True), ("DI", True),
    ]  # fmt: skip
    violation = bias.violations()["violations"][0]
    assert violation == {
        "facet": "make",
        "facet_value": "Saab",
        "metric_name": "DPPL",
        "constraint_check_type": "bias_drift_check",
        "description": "Value 0.3 does not meet the constraint requirement: Difference in Positive Proportions in "
        "Predicted Labels (DPPL) of make Saab was 0.05 when the model was tested; positive are 20.0% of 300 records "
        "and 50.0% of 700 others (then 45.0% of 300 records and 50.0% of 700 others)",
    }
    assert {(one.kind, one.check, one.subject_key) for one in bias.findings} == {("drift", "bias_drift_check", "facet")}


def test_bias_that_has_become_less_is_no_drift() -> None:
    bias = judged(facet((700, 420, 350), (300, 60, 60)), facet((700, 420, 350), (300, 180, 150)))
    assert bias.findings == []
    assert [one.increase for one in bias.results[1:3]] == pytest.approx([-0.4, -0.3])


def test_bias_against_the_others_counts_as_bias_against_the_members_does() -> None:
    """Where more members than others are positive, DPPL is below 0, and DI above 1."""
    bias = judged(facet((700, 350, 350), (300, 150, 150)), facet((700, 350, 350), (300, 150, 240)))
    values = {one.metric: (one.after, one.increase) for one in bias.results if one.worse}
    assert values == {"DPPL": (pytest.approx(-0.3), pytest.approx(0.3)), "DI": (1.6, pytest.approx(0.375))}


def test_members_who_stay_away_are_class_imbalance() -> None:
    bias = judged(facet((700, 350, 350), (300, 150, 150)), facet((900, 450, 450), (100, 50, 50)))
    assert [one.metric for one in bias.results if one.worse] == ["CI"]
    assert (
        "Class Imbalance (CI) of make Saab was 0.4 when the model was tested; 10.0% of 1,000 records"
        in bias.findings[0].text
    )


def test_a_change_that_matters_but_may_be_chance_is_not_found() -> None:
    bias = judged(facet((70, 35, 35), (30, 15, 15)), facet((70, 35, 35), (30, 15, 11)))
    result = bias.results[2]
    assert result.increase is not None
    assert result.chance is not None
    assert result.increase > result.limit
    assert result.chance > bias.level
    assert bias.findings == []


def test_a_change_that_is_sure_but_does_not_matter_is_not_found() -> None:
    bias = judged(
        facet((700_000, 1, 350_000), (300_000, 1, 150_000)), facet((700_000, 1, 350_000), (300_000, 1, 135_000))
    )
    assert bias.results[2].chance == pytest.approx(0, abs=1e-9)
    assert bias.findings == []


def test_each_test_is_held_against_its_part_of_the_rate() -> None:
    facets = [facet((700, 350, 350), (300, 150, 150), {**SAAB, "values": [make]}) for make in ("Saab", "Buick")]
    assert judge(analysis("price", SECTION, facets), facets, LIMITS, 0.008).level == pytest.approx(0.001)


@pytest.mark.parametrize("known", [[], [facet((7, 3, 3), (3, 1, 1), {**SAAB, "values": ["Buick"]})]])
def test_a_facet_that_the_baseline_does_not_know_is_named(known: list[FacetCounts]) -> None:
    with pytest.raises(MonitorError, match=r"the baseline has no facet make Saab; .* a run that starts from now on"):
        judge(analysis("price", SECTION, known), [facet((7, 3, 3), (3, 1, 1))], LIMITS, 0.01)
