"""Who is on which side of a facet, and what is counted of each side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perennial.monitoring.facets import MEMBERS, NEITHER, OTHERS, FacetCounter, FacetCounts, Side, sides_of, value_of


def rule(column: str = "make", values: list[Any] | None = None, above: float | None = None) -> dict[str, Any]:
    return {"column": column, "values": values, "above": above}


def definition(problem: str, positive: dict[str, Any], *facets: dict[str, Any]) -> dict[str, Any]:
    bias = {"enabled": True, "facets": list(facets), "positive": positive}
    return {"problem": problem, "monitoring": {"bias": bias}}


@pytest.mark.parametrize(
    ("facet", "values"),
    [
        (rule(values=["Saab"]), pa.array(["Saab", "Buick", None])),
        (rule(values=["Saab"]), pa.array(["Saab", "Buick", None]).dictionary_encode()),
        (rule(values=[2, 3]), pa.array([3, 4, None], pa.int64())),
        (rule(values=[0]), pa.array([-0.0, 1.0, None])),
        (rule(values=[True]), pa.array([True, False, None])),
        (rule(above=60_000), pa.array([60_000.5, 60_000.0, None])),
        (rule(above=2), pa.array([3.0, 2.0, float("nan")])),
    ],
)
def test_a_record_is_a_member_or_another_or_has_no_value(facet: dict[str, Any], values: pa.Array) -> None:
    assert sides_of(facet, values).tolist() == [MEMBERS, OTHERS, NEITHER]


@pytest.mark.parametrize("facet", [rule(values=["2"]), rule(values=[2])])
def test_a_rule_for_a_column_of_another_type_takes_in_nobody(facet: dict[str, Any]) -> None:
    """model.yaml of today may name other types than the model that answered knew."""
    column = pa.array([2]) if isinstance(facet["values"][0], str) else pa.array(["2"])
    assert sides_of(facet, column).tolist() == [NEITHER]


def test_a_column_that_the_model_does_not_know_has_no_value() -> None:
    counter = FacetCounter(definition("regression", rule(above=1), rule("colour", ["red"]), rule("make", ["Saab"])))
    assert counter.sides(pa.table({"make": ["Saab"]})).tolist() == [[NEITHER, MEMBERS]]


def test_values_and_bounds_are_written_as_clarify_does() -> None:
    assert [value_of(one) for one in (rule(values=["a", "b"]), rule(values=[2]), rule(values=[True]))] == [
        "a,b",
        "2",
        "1",
    ]
    assert value_of(rule(above=60_000.0)) == "(60000, inf)"


def test_records_labels_and_predictions_are_counted_on_their_own() -> None:
    counter = FacetCounter(definition("regression", rule(above=10), rule("make", ["Saab"])))
    sides = counter.sides(pa.table({"make": ["Saab", "Saab", "Buick", "Buick", None]}))
    counter.add(sides)
    counter.add_scores(sides, np.array([11.0, 10.0, 12.0, np.nan, 99.0]))
    counter.add_labels(sides[:3], np.array([9.0, 11.0, 11.0]))
    (facet,) = counter.facets
    assert facet.members == Side(2, labels=2, positive_labels=1, predictions=2, positive_predictions=1)
    assert facet.others == Side(2, labels=1, positive_labels=1, predictions=1, positive_predictions=1)


@pytest.mark.parametrize(("positive", "members", "others"), [(1.0, 1, 0), (0, 1, 1)])
def test_a_probability_is_the_class_that_the_model_says(positive: float, members: int, others: int) -> None:
    counter = FacetCounter(definition("binary_classification", rule(values=[positive]), rule("make", ["Saab"])))
    counter.add_scores(counter.sides(pa.table({"make": ["Saab", "Saab", "Buick"]})), np.array([0.51, 0.5, 0.1]))
    assert [side.positive_predictions for side in (counter.facets[0].members, counter.facets[0].others)] == [
        members, others,
    ]  # fmt: skip


@pytest.mark.parametrize("monitoring", [{}, {"bias": {"enabled": False, "facets": [rule()], "positive": None}}])
def test_nothing_is_counted_where_bias_is_switched_off_or_unknown(monitoring: dict[str, Any]) -> None:
    assert FacetCounter({"problem": "regression", "monitoring": monitoring}).facets == []


def test_a_facets_name_is_short_and_printable() -> None:
    facet = FacetCounts(rule(values=[f"make\n{number}" for number in range(100)]), Side(), Side())
    assert len(facet.name) < 150
    assert "\n" not in facet.name
