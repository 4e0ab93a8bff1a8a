"""The quarantine takes whatever a file may hold: nothing in it is executed, logged whole or lost without a count."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.data.contract import Contract, check
from perennial.data.csv_files import Batch
from perennial.data.files import read
from perennial.data.header import FileError
from perennial.data.quarantine import Quarantine
from perennial.features.column import Column
from perennial.features.parsing import Parsing
from perennial.features.rules import expected_by

COLUMNS: dict[str, Any] = {
    "price": {"type": "float", "min": 0, "max": 100},
    "doors": {"type": "integer", "min": 2},
    "cruise": {"type": "boolean"},
    "make": {"type": "string", "categories": ["Saab"]},
    "sold_on": {"type": "timestamp", "feature": False},
}
CONTRACT = Contract.from_definition(
    {"problem": "regression", "target": "price", "columns": COLUMNS, "split": {"method": "random"}}
)
NUMBERS = [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.null()]
TIMES = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "America/New_York")]
TYPES = {
    "price": NUMBERS,
    "doors": NUMBERS,
    "cruise": [*NUMBERS, pa.bool_()],
    "make": [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.null()],
    "sold_on": [*TIMES, pa.date32(), pa.date64(), pa.string(), pa.null()],
}


ADVICE = "units, marks, and words for missing values are told by columns.<name>.parse of model.yaml"


def array(kind: pa.DataType, draw: st.DrawFn, size: int) -> pa.Array:
    """An array of any values of a type, also extreme ones."""

    def several(values: st.SearchStrategy[Any], of: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(st.none() | values, min_size=size, max_size=size)), of)

    if pa.types.is_null(kind):
        return pa.nulls(size)
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return several(st.sampled_from(["Saab", "", "2024-05-01"]) | st.text(), pa.string()).cast(kind)
    if pa.types.is_floating(kind):
        return several(st.floats(width=kind.bit_width), kind)
    if pa.types.is_boolean(kind):
        return several(st.booleans(), kind)
    if pa.types.is_date64(kind):
        return several(st.integers(-(2**36), 2**36).map(lambda day: day * 86_400_000), pa.int64()).cast(kind)
    integer = kind if pa.types.is_integer(kind) else {32: pa.int32(), 64: pa.int64()}[kind.bit_width]
    unsigned, bits = pa.types.is_unsigned_integer(kind), kind.bit_width
    extremes = st.integers(0 if unsigned else -(2 ** (bits - 1)), 2 ** (bits if unsigned else bits - 1) - 1)
    return several(extremes | st.integers(0, 5), integer).view(kind)


@st.composite
def parquet_rows(draw: st.DrawFn) -> pa.RecordBatch:
    size = draw(st.integers(1, 5))
    return pa.RecordBatch.from_pydict(
        {name: array(draw(st.sampled_from(kinds)), draw, size) for name, kinds in TYPES.items()}
    )


def quarantined(folder: Path) -> list[dict[str, Any]]:
    parts = sorted(folder.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


@given(parquet_rows())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_any_parquet_values_are_used_or_quarantined_with_reasons(
    tmp_path_factory: pytest.TempPathFactory, source: pa.RecordBatch
) -> None:
    folder = tmp_path_factory.mktemp("quarantine")
    checked = check(CONTRACT, source)
    quarantine = Quarantine(CONTRACT, folder, 1000)
    quarantine.add("00000-x.parquet", Batch(source, lambda positions: positions + 1), checked)
    quarantine.close()
    rows = quarantined(folder)
    assert [row["row"] - 1 for row in rows] == checked.invalid_rows().tolist()
    assert all(row["reasons"] and list(row["record"]) == list(COLUMNS) for row in rows)
    quarantine.keep(is_new=True)
    assert quarantine.all.rows + checked.valid().num_rows == source.num_rows
    problems = quarantine.all.problems()
    assert all(len(problem) < 600 and problem.isprintable() for problem in problems)
    for row in checked.valid().to_pylist():
        assert 0 <= row["price"] <= 100
        assert row["doors"] >= 2
        assert row["make"] == "Saab"


def test_rules_are_counted_most_often_first_with_three_examples(tmp_path: Path) -> None:
    fields = {"price": "1", "doors": "2", "cruise": "1", "make": "Saab", "sold_on": "2024-05-01"}
    changes = [{"price": f"{row} USD"} for row in range(5)] + [{"doors": "1"}] * 2 + [{"make": "Lada", "cruise": ""}]
    table = pa.RecordBatch.from_pylist([{**fields, **change} for change in changes])
    quarantine = Quarantine(CONTRACT, tmp_path, 1000)
    quarantine.add("a.csv", Batch(table, lambda positions: positions + 2), check(CONTRACT, table))
    quarantine.keep(is_new=False)
    quarantine.close()
    assert [(rule["column"], rule["rule"], rule["rows"]) for rule in quarantine.all.rules()] == [
        ("price", "type", 5),
        ("doors", "minimum", 2),
        ("cruise", "missing", 1),
        ("make", "category", 1),
    ]
    assert quarantine.all.rules()[0]["examples"] == [f"a.csv row {row + 2}: '{row} USD'" for row in range(3)]
    assert quarantine.all.problems() == [
        "price breaks the rule 'type' in 5 rows: expected a finite number "
        "(a.csv row 2: '0 USD'; a.csv row 3: '1 USD'; a.csv row 4: '2 USD')",
        "doors breaks the rule 'minimum' in 2 rows: expected at least 2 (a.csv row 7: '1'; a.csv row 8: '1')",
        "cruise breaks the rule 'missing' in 1 row: expected a value (a.csv row 9)",
        "make breaks the rule 'category' in 1 row: expected 'Saab' (a.csv row 9: 'Lada')",
        ADVICE,
    ]
    assert (quarantine.all.rows, quarantine.new.rows, quarantine.file.rows) == (8, 0, 0)


@pytest.mark.parametrize(
    ("maximum", "problem"),
    [
        (100, "price breaks the rule 'maximum' in 1 row: expected at most 100 (a.csv row 2: '1e300')"),
        (
            None,
            "price breaks the rule 'type' in 1 row: expected a number up to 3.4e+38, the largest in single precision",
        ),
    ],
)
def test_of_a_number_that_is_too_large_the_largest_is_said(tmp_path: Path, maximum: float | None, problem: str) -> None:
    (column,) = (replace(column, maximum=maximum) for column in CONTRACT.columns if column.name == "price")
    contract, table = replace(CONTRACT, columns=(column,)), pa.RecordBatch.from_pydict({"price": ["1e300"]})
    quarantine = Quarantine(contract, tmp_path, 1000)
    quarantine.add("a.csv", Batch(table, lambda positions: positions + 2), check(contract, table))
    quarantine.close()
    assert quarantine.file.problems()[0].startswith(problem)


def test_what_is_counted_of_a_file_can_be_taken_back(tmp_path: Path) -> None:
    fields = {"price": "1", "doors": "2", "cruise": "1", "make": "Saab", "sold_on": "2024-05-01"}
    table = pa.RecordBatch.from_pylist([{**fields, "price": "x"}] * 2)
    quarantine = Quarantine(CONTRACT, tmp_path, 1000)
    for name in ("a.csv", "stray.csv", "b.csv"):
        quarantine.add(name, Batch(table, lambda positions: positions + 2), check(CONTRACT, table))
        assert quarantine.file.rows == 2
        if name == "stray.csv":
            quarantine.take_back()
        else:
            quarantine.keep(is_new=name == "b.csv")
    quarantine.close()
    assert quarantine.all.rows == 4
    assert quarantine.written - quarantine.written_of_strays == 4
    assert quarantine.all.problems() == [
        "price breaks the rule 'type' in 4 rows: expected a finite number "
        "(a.csv row 2: 'x'; a.csv row 3: 'x'; b.csv row 2: 'x')",
        ADVICE,
    ]
    assert quarantine.new.problems() == [
        "price breaks the rule 'type' in 2 rows: expected a finite number (b.csv row 2: 'x'; b.csv row 3: 'x')",
        ADVICE,
    ]


def test_parquet_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    table = pa.table({"price": [1.0], "doors": [2], "cruise": [True], "sold_on": ["2024-05-01"]})
    broken = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"Sa\xff"]).buffers()[1:]])
    pq.write_table(table.append_column("make", broken), tmp_path / "a.parquet")
    with pytest.raises(FileError, match=r"a\.parquet: the Parquet data are damaged"):
        list(read(tmp_path / "a.parquet", CONTRACT.columns))


def test_header_of_very_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    names = ",".join(f"c{number}" for number in range(200_000))
    (tmp_path / "a.csv").write_text(f"price,{names}\n1\n")
    with pytest.raises(FileError, match=r"a\.csv: .*unexpected columns") as refused:
        list(read(tmp_path / "a.csv", CONTRACT.columns))
    assert len(str(refused.value)) < 1000


def test_a_record_holds_the_columns_of_its_own_contract_and_json_values_as_texts(tmp_path: Path) -> None:
    """The model in service reads the same file by its own columns."""
    file = tmp_path / "cars.jsonl"
    file.write_text('{"price": 500, "doors": 2, "cruise": true, "make": "Saab", "sold_on": [1]}')
    served = Column("served.price", "float", sources=("price",), optional=True)
    quarantine = Quarantine(CONTRACT, tmp_path / "out", 10)
    for batch in read(file, [*CONTRACT.columns, served]):
        quarantine.add("cars.jsonl", batch, check(CONTRACT, batch.table))
    quarantine.close()
    (row,) = quarantined(tmp_path / "out")
    assert row["record"] == {"price": "500", "doors": "2", "cruise": "true", "make": "Saab", "sold_on": "[1]"}
    assert row["reasons"] == ["price: '500' is above the maximum 100", "sold_on: '[1]' is not an ISO 8601 time"]


def test_a_rule_says_what_it_expects() -> None:
    column = Column("x", "float", minimum=-0.5, maximum=1234567.25, logarithm=True)
    words = Column("ok", "boolean", parsing=Parsing(true=("ja",), false=("nein",)))
    kinds = Column("kind", "string", categories=("a", "b"))
    many = Column("kind", "string", categories=tuple("abcdefgh"))
    assert [expected_by(column, rule) for rule in ("type", "missing", "minimum", "maximum")] == [
        "a finite number",
        "a value",
        "at least -0.5",
        "at most 1234567.25",
    ]
    assert expected_by(column, "logarithm").startswith("more than 0, because the model learns the logarithm")
    assert expected_by(words, "type") == "'ja' or 'nein'"
    assert expected_by(kinds, "category") == "'a' or 'b'"
    assert expected_by(many, "category") == "'a', 'b', 'c', 'd', 'e' or 3 more"


def test_the_quarantine_holds_characters_as_they_are(tmp_path: Path) -> None:
    fields = {"price": "2.525,92 €", "doors": "2", "cruise": "1", "make": "Škoda\u2028\u202e", "sold_on": "2024-05-01"}
    table = pa.RecordBatch.from_pylist([fields])
    quarantine = Quarantine(CONTRACT, tmp_path, 10)
    quarantine.add("März.csv", Batch(table, lambda positions: positions + 2), check(CONTRACT, table))
    quarantine.close()
    (part,) = tmp_path.glob("part-*.jsonl")
    text = part.read_text(encoding="utf-8")
    assert all(word in text for word in ("März.csv", "2.525,92 €", "Škoda\\u2028\\u202e"))
    assert json.loads(text)["record"]["make"] == fields["make"]
