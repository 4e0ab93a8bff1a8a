"""Records of a request: what shapes a body may have, and what is said of a record that breaks the definition."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from perennial.model import definition
from perennial.serving.problems import ProblemError
from perennial.serving.requests import MOST_COMPLAINTS, RecordContract, records_of
from tests.unit.conftest import ROOT

CARS = definition.load(ROOT / "models/used-cars/model.yaml").as_json()
PENGUINS = definition.load(ROOT / "models/penguins/model.yaml").as_json()
CAR = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip
PENGUIN = {"island": "Dream", "bill_length_mm": None, "sex": "male"}


def errors(records: list[Any], of: dict[str, Any] = CARS) -> list[tuple[Any, ...]]:
    """(record, field, expected, got) of each complaint, of which there is one at least."""
    with pytest.raises(ProblemError) as refused:
        RecordContract.from_definition(of).require(records)
    assert refused.value.status == HTTPStatus.BAD_REQUEST
    return [tuple(one.values()) for one in refused.value.document["errors"]]


def require(records: list[Any], of: dict[str, Any] = CARS) -> None:
    RecordContract.from_definition(of).require(records)


@pytest.mark.parametrize(
    ("body", "records"),
    [('{"a": 1}', 1), ('[{"a": 1}, {"a": 2}]', 2), ('{"instances": [{"a": 1}]}', 1), ('\ufeff[{"a": NaN}]', 1)],
)
def test_a_body_is_a_record_or_a_list_of_records(body: str, records: int) -> None:
    assert len(records_of(body)) == records


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "not readable as JSON"), ("{", "not readable as JSON"), ('{"a": 1, "a": 2}', "stands more than once"),
        ("[" * 100_000, "not readable as JSON"), ("[1e999, Infinity]", "no JSON number"), ("[]", "no record"),
        ('"x"', "expected a record"), ('{"instances": 1}', "expected a record"), ("null", "expected a record"),
    ],
    ids=range(9),
)  # fmt: skip
def test_another_body_is_refused_in_words(body: str, says: str) -> None:
    with pytest.raises(ProblemError, match=says) as refused:
        records_of(body)
    assert refused.value.status == HTTPStatus.BAD_REQUEST


def test_a_sound_record_is_taken_by_any_name_and_spelling_of_its_values() -> None:
    require([CAR, {**CAR, "mileage": "12000", "cruise": "yes"}, {**CAR, "price": 1}])
    require([{name.upper(): value for name, value in CAR.items()}])
    require([PENGUIN], PENGUINS)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mileage": -5}, ("mileage", "at least 0", "'-5'")),
        ({"doors": 6}, ("doors", "at most 5", "'6'")),
        ({"mileage": 1e300}, ("mileage", "at most 1000000", "'1e+300'")),
        ({"doors": 2.5}, ("doors", "a whole number", "'2.5'")),
        ({"cruise": "perhaps"}, ("cruise", "true or false", "'perhaps'")),
        ({"make": ["a"]}, ("make", "a text", "\"['a']\"")),
        ({"make": None}, ("make", "a value", "nothing")),
        ({"colour": "red"}, ("colour", f"one of {', '.join(CAR)}", "a field of this name")),
        ({"Doors": 4}, ("doors", "one field", "both 'doors' and 'Doors'")),
    ],
)
def test_a_complaint_names_record_and_field_and_what_was_expected_and_given(
    change: dict[str, Any], complaint: tuple[str, str, str]
) -> None:
    (first,) = errors([CAR, {**CAR, **change}])
    assert first[:3] == (2, *complaint[:2])
    assert first[3].strip("'\"") == complaint[2].strip("'\"")


def test_an_absent_field_and_an_unknown_category_are_named() -> None:
    assert errors([{}], PENGUINS) == [(1, "island", "a value", "nothing")]
    assert errors([{"island": "Elba"}], PENGUINS) == [(1, "island", "'Biscoe', 'Dream' or 'Torgersen'", "'Elba'")]


def test_what_is_no_object_is_one_complaint() -> None:
    (complaint,) = errors([3])
    assert (complaint[0], complaint[1], complaint[3]) == (1, None, "'3'")
    assert complaint[2].startswith("an object with mileage, ")


def test_of_many_complaints_some_are_named_and_no_more_are_looked_for() -> None:
    """A body of 6 MB may hold three million empty records, whose complaints no function has the memory for."""

    def records() -> Iterator[dict[str, Any]]:
        yield from [{}] * 10
        raise AssertionError("another record is looked at")

    with pytest.raises(ProblemError, match=r"record 1, field 'mileage': .* \(and at least 20 more\)") as refused:
        RecordContract.from_definition(CARS).require(records())
    assert len(refused.value.document["errors"]) == MOST_COMPLAINTS
    assert len(json.dumps(refused.value.document)) < 4000


def test_other_columns_may_stand_beside_the_features_where_the_definition_ignores_them() -> None:
    require([{**CAR, "colour": "red"}], {**CARS, "other_columns": "ignore"})
