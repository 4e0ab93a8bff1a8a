"""The data contract: which rows break which rule."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.data.contract import Contract, check
from perennial.features import rules
from perennial.features.column import Column
from perennial.features.parsing import Parsing
from perennial.features.values import STRING

DEFINITION: dict[str, Any] = {
    "problem": "regression",
    "target": "price",
    "columns": {
        "vin": {"type": "string", "feature": False},
        "price": {"type": "float", "min": 0, "max": 1000},
        "mileage": {"type": "float", "min": 0, "nullable": True},
        "doors": {"type": "integer", "min": 2.0, "max": 5.0},
        "cruise": {"type": "boolean"},
        "make": {"type": "string", "categories": ["Saab", "Buick"]},
        "seller": {"type": "string", "feature": False, "nullable": True},
    },
    "split": {"method": "group", "column": "seller", "seed": 1, "validation": 0.1, "test": 0.1},
}
CONTRACT = Contract.from_definition(DEFINITION)
SOUND = {"vin": "v1", "price": "10", "mileage": "5", "doors": "4", "cruise": "1", "make": "Saab", "seller": "s"}


def batch(*changes: dict[str, str]) -> pa.RecordBatch:
    """CSV fields of sound rows with changes."""
    rows = [{**SOUND, **change} for change in changes]
    return pa.RecordBatch.from_pydict({name: pa.array([row[name] for row in rows], pa.string()) for name in SOUND})


def broken(source: pa.RecordBatch) -> list[tuple[str, str, list[int]]]:
    violations = check(CONTRACT, source).violations
    return [(violation.column.name, violation.rule, violation.rows.tolist()) for violation in violations]


def test_columns_have_their_roles() -> None:
    assert [column.name for column in CONTRACT.features] == ["mileage", "doors", "cruise", "make"]
    assert [column.name for column in CONTRACT.working_columns] == [
        "price",
        "mileage",
        "doors",
        "cruise",
        "make",
        "seller",
    ]
    assert CONTRACT.target.name == "price"


@pytest.mark.parametrize(
    ("vin", "is_missing"), [("", True), ("\t", True), (" \u3000", True), (" v", False), ("NA", False)]
)
def test_a_text_that_nobody_needs_is_missing_where_it_would_be_in_one_that_is_kept(vin: str, is_missing: bool) -> None:
    assert broken(batch({}, {"vin": vin})) == ([("vin", "missing", [1])] if is_missing else [])
    kept = Contract.from_definition({**DEFINITION, "split": {**DEFINITION["split"], "column": "vin"}})
    assert [(one.column.name, one.rule) for one in check(kept, batch({"vin": vin})).violations] == (
        [("vin", "missing")] if is_missing else []
    )


def test_sound_rows_pass_typed_and_without_what_nobody_needs() -> None:
    checked = check(CONTRACT, batch({}, {"mileage": ""}))
    assert not checked.violations
    assert checked.valid() is checked.table
    assert checked.table.to_pylist()[1] == {
        "price": 10.0, "mileage": None, "doors": 4, "cruise": True, "make": "Saab", "seller": "s",
    }  # fmt: skip
    assert checked.table.schema.field("make").type == STRING


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("price", "23.4 kmpl", "type"),
        ("price", "inf", "type"),
        ("price", "1e300", "maximum"),
        ("price", "-1e300", "minimum"),
        ("price", "1" * 400, "maximum"),
        ("mileage", "1e300", "type"),
        ("mileage", "-1e999", "minimum"),
        ("doors", "1e17", "maximum"),
        ("doors", "9" * 20, "maximum"),
        ("doors", "9007199254740993", "maximum"),
        ("doors", "-9007199254740993", "minimum"),
        ("doors", f"-{'9' * 20}", "minimum"),
        ("price", "", "missing"),
        ("price", "NA", "missing"),
        ("price", "-0.01", "minimum"),
        ("price", "1000.01", "maximum"),
        ("mileage", "-1", "minimum"),
        ("doors", "4.5", "type"),
        ("doors", "1", "minimum"),
        ("doors", "6", "maximum"),
        ("cruise", "maybe", "type"),
        ("make", "Lada", "category"),
        ("make", "saab", "category"),
        ("make", "", "missing"),
        ("vin", "", "missing"),
        ("seller", "", "missing"),
    ],
)
def test_broken_row_is_found_by_its_rule(column: str, value: str, rule: str) -> None:
    source = batch({}, {column: value}, {})
    assert broken(source) == [(column, rule, [1])]
    assert check(CONTRACT, source).valid().num_rows == 2


@pytest.mark.parametrize(("column", "value"), [("price", "0"), ("price", "1000"), ("doors", "2"), ("doors", "5")])
def test_bounds_themselves_are_allowed(column: str, value: str) -> None:
    assert broken(batch({column: value})) == []


def test_row_that_breaks_two_rules_counts_once() -> None:
    checked = check(CONTRACT, batch({"price": "x", "doors": "9"}, {}))
    assert [violation.rule for violation in checked.violations] == ["type", "maximum"]
    assert checked.invalid_rows().tolist() == [0]
    assert checked.valid().num_rows == 1


def test_reason_names_column_value_and_what_is_allowed() -> None:
    violations = check(
        CONTRACT, batch({"price": "23.4 kmpl", "doors": "9", "make": "La\x1bda", "seller": ""})
    ).violations
    values = ["23.4 kmpl", "9", "La\x1bda", None]
    assert [violation.reason(value) for violation, value in zip(violations, values, strict=True)] == [
        "price: '23.4 kmpl' is not a finite number",
        "doors: '9' is above the maximum 5",
        "make: 'La\\u001bda' is not one of the allowed categories: 'Saab' or 'Buick'",
        "seller: is missing",
    ]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("float", "1e300", "x: '1e300' is not a number up to 3.4e+38, the largest in single precision"),
        ("float", 1e39, "x: '1e+39' is not a number up to 3.4e+38, the largest in single precision"),
        ("float", "inf", "x: 'inf' is not a finite number"),
        ("integer", "9" * 20, f"x: '{'9' * 20}' is not a whole number of 64 bits"),
        ("integer", 1e17, "x: '1e+17' is not a whole number of 64 bits (beyond 9,007,199,254,740,991 without a point"),
        ("integer", "2.5", "x: '2.5' is not a whole number"),
    ],
)
def test_a_number_that_a_column_cannot_hold_is_called_too_large_and_not_no_number(
    kind: str, value: object, reason: str
) -> None:
    column = Column("x", kind)
    contract = Contract((column,), column, "regression", None)
    (violation,) = check(contract, pa.RecordBatch.from_pydict({"x": pa.array([value])})).violations
    assert violation.rule == "type"
    assert violation.reason(value).startswith(reason)


@pytest.mark.parametrize(
    ("kind", "parsing", "value", "is_told"),
    [
        ("float", Parsing(), "0,23", True),
        ("float", Parsing(), " -12,5", True),
        ("integer", Parsing(), "3,0", True),
        ("float", Parsing(), "1,234", False),
        ("float", Parsing(), "12,345,678", False),
        ("float", Parsing(decimal=","), "1,2,3", False),
        ("boolean", Parsing(), "0,5", False),
    ],
)
def test_what_may_be_a_decimal_comma_is_told_with_what_reads_it(kind, parsing, value, is_told) -> None:
    column = Column("x", kind, parsing=parsing)
    contract = Contract((column,), column, "regression", None)
    (violation,) = check(contract, pa.RecordBatch.from_pydict({"x": pa.array([value])})).violations
    hint = " (a decimal comma? files.decimal in model.yaml)"
    assert violation.reason(value).endswith(hint) is is_told
    assert rules.hint(column, "type", value) == (hint if is_told else "")


def test_with_units_a_number_is_as_large_as_it_means() -> None:
    column = Column("x", "float", maximum=10, parsing=Parsing(units=(("k", 1000.0),)))
    contract = Contract((column,), column, "regression", None)
    source = pa.RecordBatch.from_pydict({"x": pa.array(["1e38 k", "1 mile", "1e38 k"])})
    violations = check(contract, source).violations
    assert [(one.rule, one.rows.tolist()) for one in violations] == [("type", [1]), ("maximum", [0, 2])]


def test_parquet_values_are_checked_by_the_same_rules() -> None:
    source = pa.RecordBatch.from_pydict(
        {
            "vin": pa.array(["a", None]),
            "price": pa.array([10, 5000], pa.int32()),
            "mileage": pa.array([np.nan, 1.0]),
            "doors": pa.array([4.0, 4.5]),
            "cruise": pa.array([True, None]),
            "make": pa.array(["Saab", "Lada"]).dictionary_encode(),
            "seller": pa.array(["s", "s"]),
        }
    )
    found = [("vin", "missing"), ("price", "maximum"), ("doors", "type"), ("cruise", "missing"), ("make", "category")]
    assert broken(source) == [(column, rule, [1]) for column, rule in found]


@given(
    st.lists(st.fixed_dictionaries({}, optional={name: st.text(max_size=8) for name in SOUND}), min_size=1, max_size=8)
)
@settings(max_examples=80)
def test_any_texts_are_sound_or_quarantined_and_rows_do_not_affect_each_other(changes: list[dict[str, str]]) -> None:
    checked = check(CONTRACT, batch(*changes))
    invalid = set(checked.invalid_rows().tolist())
    alone = {row for row, change in enumerate(changes) if broken(batch(change))}
    assert invalid == alone
    valid = checked.valid().to_pydict()
    assert all(0 <= price <= 1000 for price in valid["price"])
    assert set(valid["make"]) <= {"Saab", "Buick"}
    assert None not in valid["doors"] + valid["cruise"] + valid["seller"]
