"""What is unusual about a request: found, counted, named and refused."""

import json
from typing import Any

import pyarrow as pa
import pytest

from localcloud.engine.cloudwatch.metrics import embedded_metrics
from perennial.features.record_checks import (
    MAX_KNOWN,
    Finding,
    KnownTexts,
    RecordChecks,
    Rules,
    attributes,
    metric_lines,
    named_in,
)
from perennial.features.values import STRING

RULES = {
    "mileage": Rules(minimum=0, maximum=1000, nullable=False),
    "doors": Rules(maximum=5.0),
    "make": Rules(known=frozenset({"Buick", "Saab"}), nullable=False),
    "body": Rules(known=frozenset({"coupe"})),
    "cruise": Rules(nullable=False),
}
HEALTHY = {"mileage": 1000.0, "doors": 5, "make": "Saab", "body": "coupe", "cruise": True}
TYPES = {"mileage": pa.float64(), "doors": pa.int64(), "make": STRING, "body": STRING, "cruise": pa.bool_()}


def records(*changes: dict[str, Any]) -> pa.Table:
    rows = [{**HEALTHY, **change} for change in changes]
    plain = {name: pa.string() if kind == STRING else kind for name, kind in TYPES.items()}
    return pa.table(
        {name: pa.array([row[name] for row in rows], kind).cast(TYPES[name]) for name, kind in plain.items()}
    )


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([{}], []),
        ([{"doors": None, "body": None}], []),
        ([{"mileage": 0}, {"mileage": -0.5}, {"mileage": 1000.5}], [Finding("out_of_range", "mileage", 2, 1)]),
        ([{"doors": 6}], [Finding("out_of_range", "doors", 1, 0)]),
        ([{"doors": 2**53 + 1}, {"doors": -(2**63)}], [Finding("out_of_range", "doors", 1, 0)]),
        ([{}, {"make": "Lada"}, {"make": "saab"}], [Finding("unknown_category", "make", 2, 1)]),
        ([{"make": None}], [Finding("missing", "make", 1, 0)]),
        ([{}, {"cruise": None}], [Finding("missing", "cruise", 1, 1)]),
        (
            [{"mileage": None}, {"mileage": -1, "body": "van"}],
            [
                Finding("missing", "mileage", 1, 0),
                Finding("out_of_range", "mileage", 1, 1),
                Finding("unknown_category", "body", 1, 1),
            ],
        ),
    ],
)
def test_values_that_the_definition_or_the_training_rows_do_not_know_are_found(
    changes: list[dict[str, Any]], found: list[Finding]
) -> None:
    checks = RecordChecks(RULES)
    assert checks.find(records(*changes)) == found
    assert RecordChecks.from_json(json.loads(json.dumps(checks.as_json()))).find(records(*changes)) == found


@pytest.mark.parametrize(
    ("refused", "changes", "said"),
    [
        (set(), [{"make": "Lada", "mileage": None, "doors": 9}], None),
        ({"missing"}, [{"make": "Lada", "doors": 9}], None),
        (
            {"unknown_category"},
            [{}, {"make": "Lada"}],
            "record 2, field 'make': got 'Lada', expected one of 'Buick', 'Saab' (serving.unknown_category: refuse)",
        ),
        (
            {"out_of_range", "missing"},
            [{}, {"make": None}, {"mileage": 1001}],
            "record 2, field 'make': got nothing, expected a value (the field may not be absent, null or empty) "
            "(serving.missing: refuse)",
        ),
        (
            {"out_of_range"},
            [{"mileage": 1001.5}],
            "record 1, field 'mileage': got '1001.5', expected at least 0 and at most 1000 "
            "(serving.out_of_range: refuse)",
        ),
        (
            {"out_of_range"},
            [{"doors": 6}],
            "record 1, field 'doors': got '6', expected at most 5 (serving.out_of_range: refuse)",
        ),
    ],
)
def test_what_the_definition_refuses_is_said_with_record_field_and_what_is_allowed(
    refused: set[str], changes: list[dict[str, Any]], said: str | None
) -> None:
    checks, table = RecordChecks(RULES, frozenset(refused)), records(*changes)
    assert checks.refusal(table, checks.find(table)) == said


def test_a_refusal_names_some_of_many_categories() -> None:
    checks = RecordChecks(
        {"make": Rules(known=frozenset(f"m{number:03}" for number in range(500)))}, {"unknown_category"}
    )
    table = records({}).select(["make"])
    said = checks.refusal(table, checks.find(table)) or ""
    assert "expected one of 'm000', 'm001', " in said
    assert "'m009' and 490 more (serving" in said


def test_headers_name_kinds_and_columns_and_no_value() -> None:
    found = RecordChecks(RULES).find(records({"make": "Lada", "body": "van", "mileage": None}, {"make": "Lada"}))
    assert attributes(found) == "missing=mileage:1;unknown_category=make:2,body:1"
    assert named_in(attributes(found), "unknown_category") == {"make", "body"}
    assert named_in(attributes(found), "out_of_range") == named_in("", "missing") == frozenset()


def test_headers_stay_within_what_custom_attributes_may_hold() -> None:
    found = [Finding("missing", f"{'a' * 60}_{number:03}", 1, 0) for number in range(100)]
    text = attributes(found)
    assert len(text) <= 1024
    assert text.endswith(":1...")
    assert len(named_in(text, "missing")) == text.count(":")


def test_metrics_count_values_for_the_service_and_for_each_column() -> None:
    found = [Finding("missing", "mileage", 3, 0), Finding("unknown_category", "make", 2, 1)]
    lines = metric_lines(found, "cars", 1_700_000_000_000, refused=True)
    assert all(json.loads(line)["_aws"]["Timestamp"] == 1_700_000_000_000 for line in lines)
    cars = {"service": "cars"}
    assert list(embedded_metrics("\n".join(lines))) == [
        ("Perennial", "MissingValues", 3.0, "Count", cars),
        ("Perennial", "MissingValues", 3.0, "Count", {**cars, "column": "mileage"}),
        ("Perennial", "UnknownCategories", 2.0, "Count", cars),
        ("Perennial", "UnknownCategories", 2.0, "Count", {**cars, "column": "make"}),
        ("Perennial", "RefusedRequests", 1.0, "Count", cars),
    ]


def test_known_texts_are_those_of_the_rows_and_not_of_their_dictionary() -> None:
    known = KnownTexts(["make"])
    makes = pa.array(["Buick", "Saab", None, "Lada"]).dictionary_encode()
    known.update(pa.table({"make": makes.slice(1, 2)}))
    assert known.of("make") == {"Saab"}
    known.update(pa.table({"make": makes.slice(0, 1)}))
    assert known.of("make") == {"Buick", "Saab"}
    assert known.of("body") is None


def test_columns_of_very_many_texts_have_no_unknown_ones() -> None:
    known = KnownTexts(["vin"])
    for start in (0, MAX_KNOWN // 2):
        texts = [str(number) for number in range(start, start + MAX_KNOWN // 2 + 1)]
        known.update(pa.table({"vin": pa.array(texts).dictionary_encode()}))
    assert known.of("vin") is None
