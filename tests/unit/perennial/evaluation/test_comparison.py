"""Which test rows compare two models fairly, and what both are worth on them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.data.rows import reads_alike
from perennial.evaluation import metrics
from perennial.evaluation.comparison import among, compare, other_groups, other_target, untold

RMSE, AUC = metrics.metric_named("regression", "rmse"), metrics.metric_named("binary_classification", "auc")

small = st.lists(st.integers(1, 20), max_size=30)


def hashes(*values: int) -> Any:
    return np.array(values, np.uint64)


@given(small, st.lists(small, max_size=4))
def test_rows_are_found_among_others_in_any_pieces(rows: list[int], pieces: list[list[int]]) -> None:
    found = among(hashes(*rows), (hashes(*piece) for piece in pieces))
    everything = {value for piece in pieces for value in piece}
    assert found.tolist() == [row in everything for row in rows]


def test_rows_that_cannot_be_told_are_named() -> None:
    assert untold(hashes(0, 1, 0)).tolist() == [True, False, True]


def test_both_models_are_measured_on_each_part() -> None:
    labels = np.zeros(6)
    candidate, champion = np.array([1.0, 1, 2, 2, 9, 9]), np.array([3.0, 3, 1, 1, 0, 0])
    seen = np.array([False] * 4 + [True] * 2)
    tested = np.array([True, True, False, False, True, True])
    found = compare(RMSE, labels, candidate, champion, seen=seen, tested=tested, changed=np.zeros(6, bool))
    assert (found.rows, found.unseen.rows, found.known.rows, found.new.rows) == (6, 4, 2, 2)
    assert (found.known.candidate, found.known.champion) == (1.0, 3.0)
    assert (found.new.candidate, found.new.champion) == (2.0, 1.0)
    assert found.known.difference == (-2.0, -2.0)
    assert found.unseen.candidate == pytest.approx(np.sqrt(2.5))


def test_parts_without_rows_or_without_a_value_have_none() -> None:
    ones, scores = np.ones(3), np.array([0.2, 0.5, 0.7])
    none = np.zeros(3, bool)
    found = compare(AUC, ones, scores, scores, seen=none, tested=none, changed=none)
    assert (found.unseen.candidate, found.unseen.champion, found.unseen.difference) == (None, None, None)
    assert (found.known.rows, found.known.candidate) == (0, None)


def test_a_row_with_another_target_than_it_was_tested_with_is_a_part_of_its_own_and_not_known() -> None:
    labels, candidate = np.arange(6.0), np.arange(6.0) + 1
    champion = np.array([0.0, 1, 2, 9, 10, 5])
    tested, changed = np.array([True] * 5 + [False]), np.array([False] * 3 + [True] * 3)
    found = compare(RMSE, labels, candidate, champion, seen=np.zeros(6, bool), tested=tested, changed=changed)
    assert (found.unseen.rows, found.known.rows, found.changed.rows, found.new.rows) == (6, 3, 2, 1)
    assert (found.known.champion, found.changed.champion) == (0.0, 6.0)
    assert found.changed.champion_interval == (6.0, 6.0)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, 1e200])
def test_rows_that_the_model_in_service_cannot_score_are_left_out_for_both(score: float) -> None:
    labels, candidate = np.zeros(5), np.array([1.0, 1, 1, 7, 7])
    champion = np.array([2.0, 2, 2, score, score])
    seen, tested = np.array([False] * 4 + [True]), np.ones(5, bool)
    found = compare(RMSE, labels, candidate, champion, seen=seen, tested=tested, changed=~tested)
    assert (found.rows, found.unscored) == (5, 1)
    assert (found.unseen.rows, found.unseen.candidate, found.unseen.champion) == (3, 1.0, 2.0)
    assert (found.known.rows, found.known.difference) == (3, (-1.0, -1.0))


def test_two_models_that_differ_by_the_rounding_of_sums_are_as_good() -> None:
    labels, none = np.array([1.0, 0, 1, 0, 1, 0, 0]), np.zeros(7, bool)
    one, other = np.array([0.1, 0.1, 0.7, 0.7, 0.3, 0.3, 0.3]), np.full(7, 0.5)
    values = RMSE.compute(labels, one), RMSE.compute(labels, other)
    found = compare(RMSE, labels, other * (1 + 1e-15), other, seen=none, tested=none, changed=none)
    assert found.unseen.candidate == found.unseen.champion == values[1]
    assert values[0] != values[1]


DEFINITION: dict[str, Any] = {
    "problem": "regression",
    "target": "price",
    "columns": {
        "price": {"type": "float", "unit": "USD"},
        "mileage": {"type": "float"},
        "vin": {"type": "string", "feature": False},
    },
}


def changed(name: str, **column: Any) -> dict[str, Any]:
    columns = {**DEFINITION["columns"], name: {**DEFINITION["columns"].get(name, {}), **column}}
    return {**DEFINITION, "columns": columns}


@pytest.mark.parametrize(
    "definition",
    [
        {**DEFINITION, "problem": "binary_classification"},
        {**DEFINITION, "target": "mileage"},
        changed("price", unit="EUR"),
        changed("price", type="integer"),
    ],
)
def test_models_of_other_targets_are_not_compared(definition: dict[str, Any]) -> None:
    assert "another target" in other_target(definition, DEFINITION)


def test_rules_of_the_target_do_not_make_it_another() -> None:
    assert other_target(changed("price", min=0, max=10), DEFINITION) == ""


def by_group(split: dict[str, Any], **seller: Any) -> dict[str, Any]:
    return {"split": split, "columns": {"seller": {"type": "string", "feature": False, **seller}}}


BY_GROUP = {"method": "group", "column": "seller", "seed": 1, "validation": 0.15, "test": 0.2}


@pytest.mark.parametrize(
    "champion",
    [
        {**BY_GROUP, "method": "random", "column": None},
        {**BY_GROUP, "column": "dealer"},
        {**BY_GROUP, "seed": 2},
        {**BY_GROUP, "test": 0.3},
    ],
)
def test_a_model_that_may_have_trained_on_rows_of_each_group_is_not_compared_on_whole_groups(
    champion: dict[str, Any],
) -> None:
    assert "not split by the same groups (seller)" in other_groups(by_group(BY_GROUP), by_group(champion))


def test_groups_that_are_dealt_alike_and_rows_that_are_not_split_by_group_compare() -> None:
    assert other_groups(by_group(BY_GROUP), by_group(dict(BY_GROUP), nullable=True)) == ""
    assert other_groups(by_group({**BY_GROUP, "method": "random"}), by_group(BY_GROUP)) == ""


@pytest.mark.parametrize("reading", [{"source": ["city"]}, {"type": "integer"}, {"parse": {"strip": False}}])
def test_groups_that_are_read_otherwise_are_other_groups(reading: dict[str, Any]) -> None:
    assert "the same groups (seller)" in other_groups(by_group(BY_GROUP, **reading), by_group(BY_GROUP))


@pytest.mark.parametrize(
    ("definition", "alike"),
    [
        (DEFINITION, True),
        (changed("mileage", min=3, nullable=True), True),
        (changed("vin", type="integer"), True),  # no feature
        (changed("vin", feature=True), False),
        (changed("mileage", type="integer"), False),
        (changed("mileage", feature=False), False),
        (changed("colour", type="string"), False),
    ],
)
def test_definitions_that_read_their_features_alike(definition: dict[str, Any], alike: bool) -> None:
    assert reads_alike(definition, DEFINITION) is alike


def test_models_of_other_classes_are_not_compared() -> None:
    def of(classes: list[str], **more: Any) -> dict[str, Any]:
        columns = {**DEFINITION["columns"], "price": {"type": "string", "categories": classes, **more}}
        return {**DEFINITION, "problem": "multiclass_classification", "columns": columns}

    known = of(["low", "middle", "high"])
    assert other_target(known, known) == ""
    assert other_target(known, of(["low", "middle", "high"], description="what it costs")) == ""
    for classes in (["low", "middle", "high", "none"], ["high", "middle", "low"]):  # their numbers are others
        assert other_target(of(classes), known) == "its target has other classes"
    assert "another target" in other_target(known, DEFINITION)
