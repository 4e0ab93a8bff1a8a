"""`monitoring.bias` of a model.yaml: what is accepted, and that every mistake is named with its field."""

from __future__ import annotations

import re
from typing import Any

import pytest

from perennial.model import definition
from perennial.model.definition import DefinitionError

CARS = """
problem: regression
target: price
columns:
  price: {type: float}
  mileage: {type: float}
  doors: {type: integer}
  leather: {type: boolean}
  make: {type: string, categories: [Saab, Buick, "no"]}
  seller: {type: string, feature: false}
split: {method: random}
gate: {metric: rmse, threshold: 3000}
"""
SOLD = (
    CARS.replace("regression", "binary_classification")
    .replace("price: {type: float}", "price: {type: boolean}")
    .replace("rmse, threshold: 3000", "auc, threshold: 0.7")
)
POSITIVE = "positive: {above: 15000}"


def section(bias: str, text: str = CARS) -> Any:
    return definition.parse(f"{text}monitoring: {{bias: {{{bias}}}}}\n", "model.yaml").as_json()["monitoring"]["bias"]


def refused(bias: str, text: str = CARS) -> str:
    with pytest.raises(DefinitionError) as caught:
        section(bias, text)
    return str(caught.value)


def test_without_facets_nothing_has_to_be_said() -> None:
    assert section("") == {
        "enabled": True, "facets": [], "positive": None, "group": None,
        "max_increase": {"CI": 0.2, "DPL": 0.1, "DPPL": 0.1, "DI": 0.2},
    }  # fmt: skip


def test_facets_are_values_or_the_numbers_above_a_bound() -> None:
    facets = (
        "facets: [{column: make, values: [Saab, 'no']}, {column: mileage, above: 60000}, {column: doors, values: [2]}]"
    )
    assert section(f"{facets}, {POSITIVE}")["facets"] == [
        {"column": "make", "values": ["Saab", "no"], "above": None},
        {"column": "mileage", "values": None, "above": 60000.0},
        {"column": "doors", "values": [2], "above": None},
    ]


def test_the_positive_class_is_the_last_one_unless_it_is_named() -> None:
    assert section("facets: [{column: leather, values: [true]}]", SOLD)["positive"] == {"values": [1.0], "above": None}
    assert section("positive: {values: [0]}", SOLD)["positive"]["values"] == [0]


@pytest.mark.parametrize(
    ("facet", "message"),
    [
        ("{column: mak, values: [Saab]}", "facets[0].column: 'mak' is not one of the columns; did you mean 'make'?"),
        ("{column: seller, values: [a]}", "facets[0].column: 'seller' is no feature, so no request names it; allowed"),
        ("{column: price, above: 3}", "facets[0].column: 'price' is no feature, so no request names it; allowed"),
        ("{column: make}", "facets[0]: got neither; expected one of values: [...] or above: <number>"),
        ("{column: doors, values: [2], above: 3}", "facets[0]: got both; expected one of values: [...] or above"),
        ("{column: make, above: 3}", "facets[0].above: make is string; expected values: [...] of it"),
        ("{column: mileage, values: [3]}", "facets[0].values: the column is float; expected above: <number>"),
        ("{column: make, values: [Saap]}", "facets[0].values: 'Saap' is none of the column's categories; did you mean"),
        ("{column: make, values: [Saab, Buick, 'no']}", "facets[0].values: are all that the column can have; expected"),
        ("{column: leather, values: [true, false]}", "facets[0].values: are all that the column can have; expected"),
        ("{column: make, values: [no]}", "facets[0].values: got False; expected texts, as the column is string (YAML"),
        ("{column: leather, values: [1]}", "facets[0].values: got 1; expected true or false, as the column is boolean"),
        ("{column: doors, values: [2.5]}", "facets[0].values: got 2.5; expected whole numbers, as the column is"),
        ("{column: doors, values: [true]}", "facets[0].values: got True; expected whole numbers"),
        ("{column: doors, values: [2, 2]}", "facets[0].values: a value stands more than once"),
        ("{column: doors, values: [[2]]}", "facets[0].values[0]: got [2]; expected a text, a number, true or false"),
        ("{column: doors, values: []}", "facets[0].values: got []; expected at least 1 of them"),
        ("{column: doors, below: 3}", "facets[0].below: unknown key; allowed: "),
        ("{column: doors, above: 3}, {column: doors, above: 3}", "facets[1]: stands more than once"),
    ],
)  # fmt: skip
def test_a_facet_that_is_none_is_named_with_what_is_allowed(facet: str, message: str) -> None:
    assert f"monitoring.bias.{message}" in refused(f"facets: [{facet}], {POSITIVE}")


@pytest.mark.parametrize(
    ("text", "bias", "message"),
    [
        (CARS, "facets: [{column: doors, above: 3}]", "positive: is missing; expected which outcomes are the positive"),
        (CARS, "positive: {values: [1]}", "positive: the problem is a regression; expected above: <number>"),
        (SOLD, "positive: {above: 0.5}", "positive: the problem is a binary_classification; expected values: [<class>"),
        (SOLD, "positive: {values: [2]}", "positive.values: got [2]; expected 0 or 1"),
        (SOLD, "positive: {values: [0, 1]}", "positive.values: got [0, 1]; expected 0 or 1"),
        (SOLD, "positive: {}", "positive: got neither; expected one of values: [...] or above: <number>"),
        (CARS, "max_increase: {DI: 0}", "max_increase.DI: got 0; expected more than 0"),
        (CARS, "max_increase: {AD: 0.1}", "max_increase.AD: unknown key; "),
        (CARS, "group: mak", "group: 'mak' is not one of the columns; did you mean 'make'?"),
        (CARS, "group: mileage", "group: mileage is float, of which nearly every record is a group; expected a column"),
    ],
    ids=lambda value: "cars" if value == CARS else "sold" if value == SOLD else value[:40],
)  # fmt: skip
def test_positive_outcomes_and_limits_are_checked(text: str, bias: str, message: str) -> None:
    assert f"monitoring.bias.{message}" in refused(bias, text)


def test_the_number_of_facets_has_a_bound() -> None:
    facets = ", ".join(f"{{column: mileage, above: {number}}}" for number in range(21))
    assert re.search(r"facets: got .*; expected at most 20 of them", refused(f"facets: [{facets}], {POSITIVE}"))


def test_facets_that_are_switched_off_need_no_positive_outcome() -> None:
    assert section("enabled: false, facets: [{column: doors, above: 3}]")["positive"] is None


OF_CLASSES = (
    CARS.replace("regression", "multiclass_classification")
    .replace("price: {type: float}", "price: {type: string, categories: [low, middle, high]}")
    .replace("rmse, threshold: 3000", "accuracy, threshold: 0.7")
)
OF_NUMBERS = OF_CLASSES.replace("{type: string, categories: [low, middle, high]}", "{type: integer, min: 1, max: 4}")
LEATHER = "facets: [{column: leather, values: [true]}]"


def test_positive_classes_are_named_as_the_target_has_them() -> None:
    assert section(f"{LEATHER}, positive: {{values: [middle, high]}}", OF_CLASSES)["positive"]["values"] == [
        "middle", "high",
    ]  # fmt: skip
    assert section(f"{LEATHER}, positive: {{values: [3, 4]}}", OF_NUMBERS)["positive"]["values"] == [3, 4]


@pytest.mark.parametrize(
    ("positive", "model", "message"),
    [
        ("", OF_CLASSES, "positive: is missing; expected which outcomes are the positive ones, values: [<class>]"),
        (
            ", positive: {above: 1}",
            OF_CLASSES,
            "the problem is a multiclass_classification; expected values: [<class>]",
        ),
        (", positive: {values: [dear]}", OF_CLASSES, "positive.values: 'dear' is none of the column's categories"),
        (", positive: {values: [low, middle, high]}", OF_CLASSES, "are all that the column can have; expected some"),
        (", positive: {values: [1]}", OF_CLASSES, "got 1; expected texts, as the column is string"),
        (", positive: {values: [4, 5]}", OF_NUMBERS, "got [4, 5]; expected classes from 1 to 4"),
        (", positive: {values: [high]}", OF_NUMBERS, "got 'high'; expected whole numbers, as the column is integer"),
    ],
    ids=["missing", "a bound", "unknown", "all", "no text", "out of range", "no number"],
)
def test_what_is_no_positive_class_is_refused(positive: str, model: str, message: str) -> None:
    assert message in refused(f"{LEATHER}{positive}", model)
