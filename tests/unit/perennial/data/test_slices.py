"""Which rows are in which slice: a bit each, in the order of the slices' names."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perennial.data.contract import Contract
from perennial.data.slicer import slice_bits
from perennial.data.slices import masks, slices_of

ROWS = pa.table(
    {
        "make": pa.array(["Saab", "Volvo", None, "Saab"]).dictionary_encode(),
        "age": pa.array([1, 5, 9, None], pa.int64()),
        "price": pa.array([10.0, 20.0, 30.0, 40.0]),
        "sold": pa.array([True, None, False, True]),
        "change": pa.array([-0.0, 0.0, None, 1.5]),
        "code": pa.array([2**53 + 1, -(2**63), None, 7]),
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"make": {"values": ["Saab"]}}, [True, False, False, True]),
        ({"make": {"values": ["Saab", "Volvo"]}}, [True, True, False, True]),
        ({"make": {"values": ["Trabant"]}}, [False] * 4),
        ({"age": {"values": [5, 9]}}, [False, True, True, False]),
        ({"age": {"above": 1}}, [False, True, True, False]),
        ({"age": {"below": 9}}, [True, True, False, False]),
        ({"price": {"above": 10.0, "below": 40.0}}, [False, True, True, False]),
        ({"change": {"values": [0.0]}}, [True, True, False, False]),
        ({"code": {"above": 6.5}}, [True, False, False, True]),
        ({"code": {"above": -1e30, "below": float(2**53)}}, [False, True, False, True]),
        ({"sold": {"values": [True]}}, [True, False, False, True]),
        ({"sold": {"values": [False]}}, [False, False, True, False]),
        ({"make": {"values": ["Saab"]}, "price": {"above": 15}}, [False, False, False, True]),
    ],
)
def test_a_slice_holds_the_rows_that_fulfil_all_of_its_conditions(where: dict[str, Any], rows: list[bool]) -> None:
    other = {"price": {"above": 0}}  # of the bit before
    inside = masks(slice_bits(ROWS, [other, where]), ["all", "some"])
    np.testing.assert_array_equal(inside["some"], rows)
    assert inside["all"].all()


def test_the_last_of_32_slices_has_its_bit_too() -> None:
    bits = slice_bits(ROWS, [{"price": {"above": float(number)}} for number in range(32)])
    np.testing.assert_array_equal(masks(bits, [str(number) for number in range(32)])["31"], [False] * 3 + [True])


def test_bits_are_in_the_order_of_names_and_older_definitions_have_no_slices() -> None:
    assert list(slices_of({"gate": {"slices": {"b": {"where": {}}, "a": {"where": {}}}}})) == ["a", "b"]
    assert slices_of({"gate": {}}) == slices_of({}) == {}


def test_a_column_that_only_slices_need_is_kept_and_is_no_feature() -> None:
    definition = {
        "problem": "regression",
        "target": "y",
        "columns": {"y": {"type": "float"}, "x": {"type": "float"}, "site": {"type": "string", "feature": False}},
        "split": {"method": "random"},
        "gate": {"slices": {"north": {"where": {"site": {"values": ["n"]}}}}},
    }
    contract = Contract.from_definition(definition)
    assert [column.name for column in contract.working_columns] == ["y", "x", "site"]
    assert [column.name for column in contract.telling_columns] == ["y", "x"]
    assert [column.name for column in contract.features] == ["x"]
