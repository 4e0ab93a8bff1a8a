"""Rows of captured requests, as the endpoint reads them, and scores of answers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.monitoring.capture import Payload, UnreadableError
from perennial.monitoring.requests import MOST_FIELDS, MOST_NAMES, FieldsError, RequestReader, Rows, scores

COLUMNS = [Column("mileage", "float", sources=("Miles",)), Column("make", "string"), Column("doors", "integer")]
NAMES = RequestNames(COLUMNS, {"vin": ("VIN",)})
CSV, JSON, LINES = "text/csv", "application/json", "application/jsonlines"


def rows(text: str, kind: str = CSV, names: RequestNames = NAMES) -> Rows:
    return RequestReader([column.name for column in COLUMNS], names).rows(Payload(text, kind))


@pytest.mark.parametrize("text", ["10,Buick,4", "10,Buick,4\n", "10,Buick,4\r\n", '10,"Buick",4', "\ufeff10,Buick,4"])
def test_csv_is_read_in_the_definitions_order(text: str) -> None:
    assert rows(text) == Rows([["10", "Buick", "4"]])


def test_several_records_of_one_request_are_several_rows() -> None:
    assert rows('10,Buick,4\n20,"Land,\nRover",2\n').values == [["10", "Buick", "4"], ["20", "Land,\nRover", "2"]]


def test_a_header_says_the_order_in_any_spelling_and_what_is_passed_over() -> None:
    found = rows("doors,VIN,MILES,make\n4,x1,10,Buick\n")
    assert found == Rows([["10", "Buick", "4"]])
    assert rows("make,doors\nBuick,4\n") == Rows([[None, "Buick", "4"]], absent=("mileage",))
    assert rows("mileage,make,doors,colour\n10,Buick,4,red\n").unknown == ("colour",)


def test_what_a_request_says_of_other_columns_stands_after_those_of_the_model() -> None:
    names = RequestNames([*COLUMNS, Column("vin", "string", sources=("VIN",))])
    reader = RequestReader([column.name for column in COLUMNS], names, ["vin"])
    assert reader.rows(Payload("10,Buick,4", CSV)).values == [["10", "Buick", "4", None]]
    assert reader.rows(Payload("VIN,doors,make,mileage\nx1,4,Buick,10\n", CSV)).values == [["10", "Buick", "4", "x1"]]
    assert reader.rows(Payload('{"mileage": 10, "vin": "x1"}', JSON)).values == [[10, None, None, "x1"]]


def test_another_number_of_fields_is_counted_by_its_number() -> None:
    with pytest.raises(FieldsError) as caught:
        rows("10,Buick\n")
    assert caught.value.count == 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"mileage": 10, "make": "Buick", "doors": 4}', JSON),
        ('{"instances": [{"Miles": 10, "make": "Buick", "doors": 4}]}', JSON),
        ('[{"mileage": 10, "make": "Buick", "doors": 4}]', JSON),
        ('{"doors": 4, "make": "Buick", "mileage": 10, "VIN": "x"}\n', LINES),
    ],
)
def test_objects_are_read_by_name(text: str, kind: str) -> None:
    assert rows(text, kind) == Rows([[10, "Buick", 4]])


def test_names_of_no_column_and_columns_without_a_name_are_told() -> None:
    found = rows('{"mileage": 10, "color": "red"}\n{"make": "Saab"}\n', LINES)
    assert found == Rows([[10, None, None], [None, "Saab", None]], ("color",), ("doors", "make", "mileage"))
    ignoring = RequestNames(COLUMNS, {}, ignore=True)
    assert rows('{"mileage": 10, "color": "red"}', JSON, ignoring).unknown == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", CSV), ("\n", CSV), ("{", JSON), ("3", JSON), ('{"instances": 3}', JSON), ("[1]", LINES), ("x", "image/png"),
     ('"' + "x" * 200_000, CSV)],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_request_is_refused(text: str, kind: str) -> None:
    with pytest.raises(UnreadableError):
        rows(text, kind)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1.5", CSV, [1.5]),
        ("1.5\n2.5\n", CSV, [1.5, 2.5]),
        ("1.5,2.5", CSV, [1.5, 2.5]),
        ('{"score": 1.5}\n{"score": 2}\n', LINES, [1.5, 2.0]),
        ('{"predictions": [{"score": 1.5}, {"score": 2}]}', JSON, [1.5, 2.0]),
        ("1.5", JSON, [1.5]),
        ("1.5", "", [1.5]),
    ],
)
def test_scores_are_read_in_every_form_that_the_containers_answer(text: str, kind: str, expected: list[float]) -> None:
    assert scores(Payload(text, kind)) == expected


@pytest.mark.parametrize("document", [{"predictions": [{}]}, {"predictions": 3}, {"other": 1}, "text"])
def test_what_is_no_answer_is_refused(document: Any) -> None:
    with pytest.raises(UnreadableError):
        scores(Payload(json.dumps(document), JSON))


def test_a_score_that_is_no_number_is_read() -> None:
    assert math.isnan(scores(Payload("nan", CSV))[0])


@pytest.mark.parametrize("kind", [JSON, LINES, CSV])
def test_an_answer_that_is_nested_without_end_holds_no_scores(kind: str) -> None:
    with pytest.raises(UnreadableError, match="holds no scores"):
        scores(Payload("[" * 100_000, kind))


def test_a_request_of_many_names_is_read_and_its_shape_is_not_remembered() -> None:
    reader = RequestReader([column.name for column in COLUMNS], NAMES)
    for number in range(3):
        names = {f"c{number}-{one}": 1 for one in range(MOST_NAMES)}
        assert len(reader.rows(Payload(json.dumps({"doors": 4, **names}), JSON)).unknown) == MOST_NAMES
    reader.rows(Payload('{"doors": 4}', JSON))
    assert list(reader._shapes) == [("doors",)]


@pytest.mark.parametrize("kind", [CSV, JSON])
def test_a_record_of_more_fields_than_any_model_reads_is_one_of_so_many_fields(kind: str) -> None:
    names = [f"c{number}" for number in range(MOST_FIELDS)]
    text = ",".join(["doors", *names]) if kind == CSV else json.dumps(dict.fromkeys(["doors", *names], 1))
    with pytest.raises(FieldsError) as refused:
        rows(text, kind)
    assert refused.value.count == MOST_FIELDS + 1
