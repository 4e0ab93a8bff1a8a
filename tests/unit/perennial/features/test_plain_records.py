"""Plain records: they are encoded to what columns are encoded to, byte for byte; the rest is left to columns."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.encoding import CategoryEncoding, Encoder, NumberEncoding
from perennial.features.parsing import Parsing
from perennial.features.plain_records import MOST_RECORDS, PlainRecords
from perennial.features.record_checks import RecordChecks, Rules
from perennial.features.target_encoding import TargetEncoding
from processing import inference

KINDS = {"mileage": "float", "doors": "integer", "cruise": "boolean", "make": "string", "trim": "string"}
COLUMNS = {name: Column(name, kind, nullable=name == "trim") for name, kind in KINDS.items()}
MAKES = ("Buick", "Saab", "make")  # the last one may be a value or a part of a header
ENCODER = Encoder((
    NumberEncoding("mileage", 20000.5, True),
    NumberEncoding("doors", 3.25, False),
    NumberEncoding("cruise", 0.75, True),
    CategoryEncoding("make", MAKES, False),
    TargetEncoding("trim", (1,), ({"LS": 1.5}, {"LS": 2e-7, "LS Sport": 1e20}), {"LS": 3, "LS Sport": 2}, 7.25, True),
))  # fmt: skip
CHECKS = RecordChecks(
    {"mileage": Rules(0, 1e6, nullable=False), "doors": Rules(minimum=-1), "make": Rules(known=frozenset(MAKES))}
)
NAMES = RequestNames(COLUMNS.values())
CAR = {"mileage": 8221.5, "doors": 4, "cruise": True, "make": "Saab", "trim": "LS"}


def preprocessor(**changes: Any) -> inference.Preprocessor:
    return replace(inference.Preprocessor(COLUMNS, NAMES, ENCODER, checks=CHECKS), **changes)


def by_columns(model: inference.Preprocessor) -> inference.Preprocessor:
    """The same preprocessor, for which nothing is plain."""
    model = replace(model)
    nothing = PlainRecords({}, NAMES, ENCODER, CHECKS)
    object.__setattr__(model, "plain", nothing)
    return model


MODEL = preprocessor()
NUMBERS = st.one_of(
    st.integers(-(10**17), 10**17),
    st.floats(),
    st.decimals(-2, 2_000_000, places=3).map(float),
    st.sampled_from([0, -0.0, 1e15, 1e16, 1e-4, 9.9e-5, 2**53, 1e6, 5]),
)
TEXTS = st.sampled_from(
    [*MAKES, *KINDS, "LS", "LS Sport", "Volvo", "", " Saab", "Saab\t", "\x1fSaab", "null", "5", "true"]
)
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none(), st.just([1]))
FIELDS = st.one_of(
    NUMBERS.map(str),
    TEXTS,
    st.sampled_from(
        ["true", "F", "YES", "1.0", "tRue", "1,5", "+5", "5.", ".5", "007", "1e3", "-0", "5.0", "٣", '"5"']
    ),
)
ROWS = st.lists(st.lists(FIELDS, min_size=5, max_size=5), min_size=1, max_size=3)


@given(ROWS, st.sampled_from(["\n", "\r\n", "", "\n\n"]))
@example([["8221.5", "4", "true", "Saab", ""]], "")
@example([["mileage", "doors", "cruise", "make", "trim"], ["8221.5", "4", "true", "Saab", "LS Sport"]], "\n")
@example([["5", "5", "t", "make", "make"]], "\n")
def test_a_csv_text_is_encoded_as_its_columns_are(rows: list[list[str]], end: str) -> None:
    text = "\n".join(",".join(row) for row in rows) + end
    _assert_same(lambda model: inference.predict_fn(inference.input_fn(text, "text/csv"), model))


@given(st.lists(st.dictionaries(st.sampled_from([*KINDS, "Make", "other"]), VALUES), min_size=1, max_size=3))
@example([CAR, {**CAR, "trim": None}, {name: CAR[name] for name in KINDS if name != "trim"}])
@example([{**CAR, "mileage": True}, {**CAR, "doors": 4.0}])
def test_json_is_encoded_as_its_columns_are(records: list[dict[str, Any]]) -> None:
    lines = "\n".join(map(json.dumps, records))
    _assert_same(lambda model: inference.predict_fn(inference.input_fn(lines, "application/jsonlines"), model))


def _assert_same(serve: Callable[[inference.Preprocessor], Any]) -> None:
    found, expected = serve(MODEL), serve(by_columns(MODEL))
    assert (type(found), str(found)) == (type(expected), str(expected))


def test_plain_records_are_not_read_as_columns() -> None:
    """Each content type's healthy records: without this the rest of the file might compare nothing."""
    line = "8221.5,0,4,1,0,0,1,0,1.5,0.0000002,3,0\n"
    assert MODEL.plain.from_csv("8221.5,4,true,Saab,LS\n" * 2) == line * 2
    assert MODEL.plain.from_json([CAR, CAR]) == line * 2
    assert MODEL.plain.from_json([CAR] * (MOST_RECORDS + 1)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": replace(ENCODER, hook=lambda table: table)},
        {"columns": {**COLUMNS, "doors": replace(COLUMNS["doors"], parsing=Parsing(missing=("4",)))}},
        {"columns": dict(reversed(COLUMNS.items()))},
    ],
)
def test_a_model_of_its_own_ways_has_no_plain_records(changes: dict[str, Any]) -> None:
    model = preprocessor(**changes)
    assert model.plain.from_csv("8221.5,4,true,Saab,LS\n") is None
    assert model.plain.from_json([CAR]) is None


def test_a_row_of_numbers_may_be_a_header_where_names_are_numbers() -> None:
    columns = {**COLUMNS, "doors": replace(COLUMNS["doors"], sources=("4",))}
    assert (
        preprocessor(columns=columns, names=RequestNames(columns.values())).plain.from_csv("8221.5,4,true,Saab,LS\n")
        is None
    )
