"""A text is the same value, or none, wherever it stands and whatever stands beside it."""

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.containers import script_mode
from perennial.data.contract import Contract, check
from perennial.data.files import read
from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.encoding import Encoder
from perennial.features.few_records import FewRecords
from perennial.features.from_arrow import accepts, from_arrow
from perennial.features.from_json import from_json
from perennial.features.from_text import from_text
from perennial.features.json_text import decode
from perennial.features.parsing import Parsing
from processing import inference

script_mode.install()  # the container's modules are there before the script

INVALID = "invalid"
KINDS = ("float", "integer", "boolean", "timestamp", "string")
# What makes a column take the slower path: a value of the type, one that is missing, one that is none of it.
BESIDE = {
    "float": ("1.5", "", "x"),
    "integer": ("7", "NA", "5.0", "x"),
    "boolean": ("yes", "", "x"),
    "timestamp": ("2024-05-01", "2024-05-01T10:00:00+02:00", "", "x"),
    "string": ("a", "", " b "),
}
NASTY = [
    *(
        "0x1F",
        "0X1f",
        "0xFFFFFFFFFFFFFFFF",
        "-0x1",
        "0b1",
        "0o7",
        "1_000",
        "1e5 ",
        "\t1",
        "\u00a01",
        "+5",
        "-+5",
        "--5",
    ),
    *(
        "inf",
        "-inf",
        "Infinity",
        "nan",
        "-nan",
        "nan(1)",
        "NaN",
        "NAN",
        "1e400",
        "1e-400",
        "1e39",
        "3.5e38",
        "5f",
        "5d",
    ),
    *("1.", ".5", ".", "1.e5", "1e", "e5", "007", "-0", "+0", "-0.0", "1,5", "5.5", "5.0", "1e2", "1E+2", "1e+02"),
    *("9" * 18, "9" * 19, "9" * 40, "0" * 40 + "1", str(2**63), str(2**63 - 1), str(-(2**63)), "9007199254740993.0"),
    *("9007199254740991.5", "9007199254740993e0", "9.007199254740992e15", "-9007199254740993.000", "1e19", "1.0e19"),
    *("\u0661\u0662", "\u00bd", "\u2160", "\uff11", "\u22125", "1\u200b", "\ufeff1"),
    *("true", "TRUE ", "yes", "T", "1.0", "2", "on", "\u017fyes", "ja"),
    *("2024-05-01", "20240501", "2024-5-1", "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "2024-02-30"),
    *("2024-05-01T10", "2024-05-01 10:00", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00z", "2024-05-01t10:00:00"),
    *("2024-05-01T24:00:00", "2024-05-01T23:59:60", "2024-05-01T10:00:00.1234567", "2024-05-01T10:00:00,5"),
    *("2024-05-01T10:00:00+02:00", "2024-05-01T10:00:00+0200", "2024-05-01T10:00:00+02", "2024-05-01T10:00+25:00"),
    *("2024-05-01T10:00:00 +02:00", "2024-05-01T10:00+02:60", "2024-W18-3", "2024-122", "2024-05-01 ", " 2024-05-01"),
    *("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1714557600", "\u0662024-05-01", "2024-05-01Z"),
    *("", " ", "\u00a0", "\u2003", "\x1f", "NA", "n/a", "#N/A", "Null", "None", "-", "?"),
]
TEXTS = (
    st.sampled_from(NASTY)
    | st.text("0123456789+-.eExX_nNaAiIfFtTyYzZ:, \t\u00a0\u0661", max_size=24)
    | st.builds(lambda one, other: one + other, st.sampled_from(NASTY), st.sampled_from(NASTY))
    | st.floats().map(str)
    | st.datetimes().map(str)
)
PARSING = {
    "float": Parsing(units=(("km", 1.0), ("e", 2.0)), thousands=",", missing=("-", "9999")),
    "integer": Parsing(decimal=",", thousands=" ", number="first"),
    "boolean": Parsing(true=("ja", "2"), false=("nein", "1")),
    "timestamp": Parsing(formats=("%d.%m.%Y", "%Y%m%d")),
    "string": Parsing(missing=("?",)),
}
USUAL = {kind: Parsing() for kind in KINDS}


def seen(values: pa.Array, invalid: pa.Array | None, position: int = 0) -> Any:
    """A value as it can be compared: with the sign of a zero."""
    is_invalid = invalid is not None and invalid[position].as_py()
    assert not (is_invalid and values[position].is_valid)
    return INVALID if is_invalid else repr(values[position].as_py())


def alone(kind: str, text: str, parsing: Parsing) -> Any:
    return seen(*from_text(kind, pa.array([text]), parsing))


@pytest.mark.parametrize("parsings", [USUAL, PARSING], ids=["usual", "parse"])
@given(TEXTS)
@settings(max_examples=50)
def test_a_text_means_the_same_alone_and_beside_others_and_in_json(parsings: dict[str, Parsing], text: str) -> None:
    for kind, parsing in parsings.items():
        value = alone(kind, text, parsing)
        for others in [(other,) for other in BESIDE[kind]] + [BESIDE[kind]]:
            assert seen(*from_text(kind, pa.array([text, *others]), parsing)) == value, (kind, others)
            assert seen(*from_text(kind, pa.array([*others, text]), parsing), len(others)) == value, (kind, others)
        assert seen(*from_json(kind, [text], parsing)) == value, kind
        assert seen(*from_json(kind, [text, None, 1, True], parsing)) == value, kind


@pytest.mark.parametrize("parsings", [USUAL, PARSING], ids=["usual", "parse"])
def test_each_text_means_the_same_beside_each_other(parsings: dict[str, Parsing]) -> None:
    for kind, parsing in parsings.items():
        values = [alone(kind, text, parsing) for text in NASTY]
        together = from_text(kind, pa.array(NASTY), parsing)
        assert [seen(*together, position) for position in range(len(NASTY))] == values, kind


NUMBERS = (
    st.sampled_from([*range(-2, 11), 1000, 9999, 20240501])
    | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1])
    | st.integers(-(2**64), 2**64)
).map(Decimal) | st.decimals(-99_999, 99_999, allow_nan=False, places=2)
MARKED = {
    "float": Parsing(decimal=",", thousands=".", units=(("k", 1000.0),), missing=("9.999", "-1,5", "1k", str(2**63))),
    "integer": Parsing(decimal=",", missing=("9", "-1,0", str(2**53 + 1))),
    "boolean": Parsing(missing=("9", "0,5", "-1.50")),
    "timestamp": Parsing(formats=("%Y%m%d",), missing=("0",)),
    "string": Parsing(missing=("9",)),
}


def as_numbers(number: Decimal) -> list[pa.Array]:
    """A number in each type of Parquet that holds it exactly, or writes it so."""
    arrays = [pa.array([number], pa.decimal128(38, places)) for places in (3, 6)]
    if number == int(number):
        arrays += [pa.array([number], pa.decimal128(38, 0)), pa.array([number], pa.decimal256(76, 0))]
        if -(2**63) <= number < 2**63:
            arrays.append(pa.array([int(number)]))
        if 0 <= number < 2**64:
            arrays.append(pa.array([int(number)], pa.uint64()))
    if abs(number) < 2**53:
        arrays.append(pa.array([float(number)]))
    if abs(number) < 1000:
        arrays.append(pa.array([float(number)], pa.float32()))
    return arrays


@pytest.mark.parametrize("parsings", [USUAL, PARSING, MARKED], ids=["usual", "parse", "markers"])
@given(NUMBERS)
@example(Decimal("-1.5"))
@example(Decimal("9.999"))
@settings(max_examples=60)
def test_a_number_means_what_its_text_does(parsings: dict[str, Parsing], number: Decimal) -> None:
    whole = number == int(number)
    for kind, parsing in parsings.items():
        if kind == "string" and not whole:
            continue  # is no text, where its text is one
        text = str(int(number)) if whole else str(number.normalize()).replace(".", parsing.decimal)
        value = alone(kind, text, parsing)
        for literal in (f"{number:f}", f"{int(number)}.00" if whole else f"{number:f}00"):
            for numbers in ([decode(literal)], [decode(literal), None, "x"]):
                if kind != "timestamp" or parsing.formats:
                    assert seen(*from_json(kind, numbers, parsing)) == value, (kind, literal)
        for array in as_numbers(number):
            if accepts(kind, array.type, parsing):
                assert seen(*from_arrow(kind, array, parsing)) == value, (kind, array.type)


def rows_of(path: Path, content: bytes, contract: Contract) -> list[dict[str, Any]]:
    """What the rows of a file mean."""
    path.write_bytes(content)
    found = []
    for batch in read(path, contract.columns):
        checked = check(contract, batch.table)
        broken = {(one.column.name, row) for one in checked.violations for row in one.rows.tolist()}
        for row, values in enumerate(checked.table.to_pylist()):
            values.pop("target")
            found.append({kind: INVALID if (kind, row) in broken else repr(value) for kind, value in values.items()})
    return found


JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
LITERALS = st.sampled_from([text for text in NASTY if JSON_NUMBER.fullmatch(text) and text != "-0"]) | st.builds(
    lambda number, end: f"{number:f}" + end, NUMBERS, st.sampled_from(["", "e0", "0e-1", "0e+3"])
).filter(JSON_NUMBER.fullmatch)


@given(st.lists(LITERALS, min_size=1, max_size=3))
@settings(max_examples=40)
def test_a_number_of_json_means_what_its_text_does_in_files_and_in_requests(
    tmp_path_factory: pytest.TempPathFactory, literals: list[str]
) -> None:
    kinds = ("float", "integer")
    columns = tuple(Column(kind, kind, nullable=True) for kind in kinds)
    model = inference.Preprocessor({column.name: column for column in columns}, RequestNames(columns), Encoder(()))
    expected = [{kind: alone(kind, literal, Parsing()) for kind in kinds} for literal in literals]
    lines = "".join(f'{{"target": 1, "float": {literal}, "integer": {literal}}}\n' for literal in literals)
    contract = Contract((Column("target", "float"), *columns), Column("target", "float"), "regression", None)
    found = rows_of(tmp_path_factory.getbasetemp() / "numbers", lines.encode(), contract)
    assert found == expected
    for literal, values in zip(literals, expected, strict=True):
        for kind in kinds:
            for content_type in (inference.JSON_LINES, inference.JSON):
                assert requested(f'{{"{kind}": {literal}}}', content_type, model, kind) == values[kind]


@pytest.mark.parametrize("parsings", [USUAL, PARSING], ids=["usual", "parse"])
@given(st.lists(TEXTS, min_size=1, max_size=3))
@settings(max_examples=15)
@example(NASTY)
def test_texts_mean_the_same_in_every_file_and_in_requests(
    tmp_path_factory: pytest.TempPathFactory, parsings: dict[str, Parsing], texts: list[str]
) -> None:
    columns = tuple(Column(kind, kind, nullable=True, parsing=parsings[kind]) for kind in KINDS)
    contract = Contract((Column("target", "float"), *columns), Column("target", "float"), "regression", None)
    expected = [{kind: alone(kind, text, parsings[kind]) for kind in KINDS} for text in texts]
    records = [{"target": "1", **dict.fromkeys(KINDS, text)} for text in texts]

    path = tmp_path_factory.getbasetemp() / "file"
    table = io.StringIO()
    writer = csv.DictWriter(table, ["target", *KINDS], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    lines = "\n".join(map(json.dumps, records))
    packed = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), packed)
    for content in (table.getvalue().encode(), lines.encode(), packed.getvalue()):
        assert rows_of(path, content, contract) == expected

    model = inference.Preprocessor({column.name: column for column in columns}, RequestNames(columns), Encoder(()))
    for record, values in zip(records, expected, strict=True):
        record = {kind: record[kind] for kind in KINDS}
        for kind in KINDS:  # one field alone, so that the others do not refuse the request
            fields = [record[kind] if one == kind else "" for one in KINDS]
            text = io.StringIO()
            csv.writer(text, quoting=csv.QUOTE_ALL).writerow(fields)
            assert requested(text.getvalue(), inference.CSV, model, kind) == values[kind]
            assert requested(json.dumps({kind: record[kind]}), inference.JSON_LINES, model, kind) == values[kind]


def requested(body: str, content_type: str, model: inference.Preprocessor, kind: str) -> Any:
    try:
        records = inference.read(inference.Request(body, content_type), model)
    except inference.RecordError as refused:
        return INVALID if f"field '{kind}'" in str(refused) else str(refused)
    assert isinstance(records, FewRecords)
    return repr(records.values(kind)[0])
