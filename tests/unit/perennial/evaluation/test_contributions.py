"""What features contribute to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from perennial.evaluation.contributions import RECORDS, explain, typical

Record = Mapping[str, Any]


class Model:
    """A model, and what it was asked."""

    def __init__(self, score: Callable[[Record], Any]) -> None:
        self._score = score
        self.asked: list[Record] = []

    def __call__(self, records: Sequence[Record]) -> np.ndarray[Any, np.dtype[np.float64]]:
        self.asked += records
        return np.array([self._score(record) for record in records], np.float64)


def of_many(size: int) -> tuple[Record, Record]:
    """Return a record of so many features, a typical one beside it, and one feature in which both are the same."""
    names = [f"f{number}" for number in range(size)]
    return {**dict.fromkeys(names, 1), "same": 7}, {**dict.fromkeys(names, 0), "same": 7}


def test_a_linear_models_contributions_are_weight_times_difference() -> None:
    model = Model(lambda one: 3 * one["a"] - 2 * one["b"] + 10 * (one["c"] == "x"))
    found = explain({"a": 4, "b": 5.5, "c": "x"}, {"a": 1, "b": 5, "c": "y"}, model)
    assert (found.score, found.typical, found.is_exact) == (11, -7, True)
    assert list(found.contributions) == ["c", "a", "b"]  # what matters most comes first
    assert found.contributions == pytest.approx({"a": 9, "b": -1, "c": 10})


def test_what_two_features_do_together_is_shared_between_them() -> None:
    found = explain({"a": 1, "b": 1}, {"a": 0, "b": 0}, Model(lambda one: 8 * one["a"] * one["b"]))
    assert found.contributions == pytest.approx({"a": 4, "b": 4})


def test_contributions_are_the_means_over_all_orders_in_which_features_come() -> None:
    record, usual = of_many(4)
    weights = np.random.default_rng(1).normal(size=16)
    names = list(usual)[:4]

    def score(one: Record) -> float:
        return float(weights[sum(one[name] << bit for bit, name in enumerate(names))])

    added = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        grown = dict(usual)
        for name in order:
            before = score(grown)
            grown[name] = 1
            added[name] += score(grown) - before
    expected = {name: total / 24 for name, total in added.items()}
    assert explain(record, usual, Model(score)).contributions == pytest.approx(expected)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 70])
def test_contributions_add_up_and_no_record_is_asked_about_twice(size: int) -> None:
    record, usual = of_many(size)
    model = Model(lambda one: sum(one.values()) ** 2)
    found = explain(record, usual, model)
    assert "same" not in found.contributions
    assert len(found.contributions) == size
    assert sum(found.contributions.values()) == pytest.approx(found.score - found.typical)
    assert len({tuple(one.items()) for one in model.asked}) == len(model.asked) <= RECORDS + 1
    assert found.is_exact == (size <= 8)


def test_orders_of_many_features_are_near_what_all_of_them_say() -> None:
    """Of a sum's square each feature contributes the same: all are one another's equals."""
    record, usual = of_many(12)
    found = explain(record, usual, Model(lambda one: sum(one.values()) ** 2))
    assert list(found.contributions.values()) == pytest.approx([(19**2 - 7**2) / 12] * 12, rel=0.15)
    assert found == explain(record, usual, Model(lambda one: sum(one.values()) ** 2))


def test_of_several_classes_the_most_probable_one_of_the_record_is_explained() -> None:
    model = Model(lambda one: [0.1, 0.2 + 0.6 * one["a"], 0.7 - 0.6 * one["a"]])
    found = explain({"a": 1}, {"a": 0}, model)
    assert found.position == 1
    assert [found.score, found.typical] == pytest.approx([0.8, 0.2])
    assert found.contributions == pytest.approx({"a": 0.6})


def test_a_typical_record_has_medians_and_the_most_frequent_texts() -> None:
    def numbers(*values: float) -> dict[str, Any]:
        return {"numerical_statistics": {"distribution": {"kll": {"sketch": {"data": [list(values)]}}}}}

    texts = [{"value": "Ford", "count": 9}, {"value": "Saab", "count": 2}]
    statistics = {
        "features": [
            {"name": "km", **numbers(1.5, 7.25, 90)},
            {"name": "doors", **numbers(2, 4, 4)},
            {"name": "cruise", **numbers(0, 1, 1)},
            {"name": "make", "string_statistics": {"distribution": {"categorical": {"buckets": texts}}}},
            {"name": "never", "inferred_type": "Unknown"},
        ]
    }
    types = {"km": "float", "doors": "integer", "cruise": "boolean", "make": "string", "never": "float", "new": "float"}
    found = typical(statistics, types)
    assert found == {"km": 7.25, "doors": 4, "cruise": True, "make": "Ford", "never": None, "new": None}
    assert [type(found[name]) for name in ("km", "doors", "cruise")] == [float, int, bool]
