"""`gate.slices` of a model.yaml: what is accepted, and that every mistake is named with its field."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.model import definition
from perennial.model.definition import DefinitionError
from tests.unit.perennial.model.test_bias import CARS

COLUMNS = CARS.partition("gate:")[0]


def slices(text: str) -> Any:
    document = f"{COLUMNS}gate: {{metric: rmse, threshold: 3000, slices: {text}}}\n"
    return definition.parse(document, "model.yaml").as_json()["gate"]["slices"]


def test_a_value_is_short_for_a_list_of_it() -> None:
    saab = slices("{saab: {where: {make: Saab}}}")["saab"]
    assert saab == {
        "where": {"make": {"values": ["Saab"], "above": None, "below": None}},
        "threshold": None,
        "maximum_regression": 0.0,
    }
    assert slices("{saab: {where: {make: [Saab]}}}")["saab"] == saab
    assert slices("{saab: {where: {make: {values: [Saab]}}}}")["saab"] == saab


def test_conditions_are_about_any_column_and_bounds_about_numbers() -> None:
    text = "{a: {where: {seller: x, leather: true, doors: [2, 3], price: {above: 1, below: 9}}, threshold: 5}}"
    where = slices(text)["a"]["where"]
    assert where["price"] == {"values": None, "above": 1.0, "below": 9.0}
    assert (where["doors"]["values"], where["leather"]["values"]) == ([2, 3], [True])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a: {}}", "gate.slices.a.where"),
        ("{a: {where: {}}}", "gate.slices.a.where"),
        ("{a: {where: {mak: Saab}}}", "gate.slices.a.where.mak: 'mak' is not one of the columns; did you mean 'make'?"),
        ("{a: {where: {make: Sab}}}", "gate.slices.a.where.make.values: 'Sab' is none of the column's categories"),
        ("{a: {where: {make: no}}}", "gate.slices.a.where.make.values: got False; expected texts"),
        ("{a: {where: {mileage: 3}}}", "gate.slices.a.where.mileage.values: the column is float; expected above"),
        ("{a: {where: {make: {above: 3}}}}", "gate.slices.a.where.make: make is string; expected values: [...] of it"),
        ("{a: {where: {doors: {values: [2], above: 3}}}}", "gate.slices.a.where.doors: got both; expected values"),
        ("{a: {where: {doors: {}}}}", "gate.slices.a.where.doors: got nothing; expected values"),
        ("{a: {where: {doors: {above: 3, below: 3}}}}", "gate.slices.a.where.doors: no number is above 3 and below 3"),
        ("{a: {where: {make: Saab}, threshold: -1}}", "gate.slices.a.threshold: got -1; expected for rmse"),
        ("{a: {where: {make: Saab}, maximum_regression: null}}", "gate.slices.a: asks nothing; expected a threshold"),
        ("{a: {where: {make: Saab}, maximum_regression: 1}}", "gate.slices.a.maximum_regression: got 1"),
        ("{A b: {where: {make: Saab}}}", "gate.slices.A b"),
        (f"{{{', '.join(f's{n}: {{where: {{make: Saab}}}}' for n in range(33))}}}", "gate.slices: "),
    ],
    ids=range(15),
)
def test_every_mistake_is_named_with_its_field(text: str, expected: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        slices(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize("confidence", [0.5, 1, 95])
def test_a_confidence_is_a_share_above_one_half(confidence: float) -> None:
    with pytest.raises(DefinitionError, match=r"gate\.confidence: got"):
        definition.parse(f"{COLUMNS}gate: {{metric: rmse, threshold: 3000, confidence: {confidence}}}\n", "model.yaml")


def test_without_a_word_nothing_is_asked() -> None:
    gate = definition.parse(f"{COLUMNS}gate: {{metric: rmse, threshold: 3000}}\n", "model.yaml").gate
    assert (gate.confidence, gate.slices) == (None, {})
