"""Reading files: what is healthy is read whatever its form, and what is broken is named."""

import csv
import gzip
import io
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perennial.data import csv_files, in_order, json_lines_files, parquet_files, text_files
from perennial.data.contract import Contract, check
from perennial.data.csv_files import Batch
from perennial.data.file_form import USUAL, FileForm
from perennial.data.files import each_batch, find_files, read
from perennial.data.header import FileError
from perennial.data.parts import PartWriter, Placed
from perennial.features.column import Column
from perennial.features.from_json import from_json
from perennial.features.json_text import BeyondFloat
from perennial.features.parsing import Parsing

COLUMNS = [Column("price", "float"), Column("make", "string"), Column("doors", "integer")]
SOUND = b"price,make,doors\n1.5,Saab,4\n2,Buick,2\n"
ROWS = [("1.5", "Saab", "4"), ("2", "Buick", "2")]


def batches(path: Path, content: bytes) -> list[Batch]:
    path.write_bytes(content)
    return list(read(path, COLUMNS))


def rows(path: Path, content: bytes) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for batch in batches(path, content) for row in batch.table.to_pylist()]


def refusal(path: Path, content: bytes) -> str:
    with pytest.raises(FileError) as refused:
        batches(path, content)
    message = str(refused.value)
    assert message.startswith(f"{path.name}: ")
    return message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "00000-cars.csv"


# ---- Healthy files


@pytest.mark.parametrize(
    "content",
    [
        SOUND,
        SOUND.rstrip(b"\n"),
        b"\xef\xbb\xbf" + SOUND,
        SOUND.replace(b"\n", b"\r\n"),
        SOUND.replace(b"\n", b"\r"),
        SOUND.replace(b"\n", b"\n\n"),
        b"\n \r\n" + SOUND,
        b"\n" * 5_000_000 + SOUND,
        b"\xef\xbb\xbf\n\nsep=,\r\n\r\n" + SOUND,
        SOUND.replace(b"\n", b"\n  \n"),
        b'"price","make","doors"\n"1.5","Saab","4"\n2,Buick,2\n',
        b"doors,price,make\n4,1.5,Saab\n2,2,Buick\n",
        gzip.compress(SOUND),
        gzip.compress(SOUND[:20]) + gzip.compress(SOUND[20:]),
    ],
    ids=[
        "plain",
        "no line end",
        "mark",
        "crlf",
        "cr",
        "blank lines",
        "blank first",
        "blank block",
        "blank around sep",
        "blanks",
        "quoted",
        "reordered",
        "gzip",
        "two members",
    ],
)
def test_csv_is_read_in_any_healthy_form(file: Path, content: bytes) -> None:
    assert rows(file, content) == ROWS


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("separator_line", [True, False])
def test_delimiter_and_marked_encoding_are_told_by_looking(
    file: Path, delimiter: str, encoding: str, separator_line: bool
) -> None:
    text = SOUND.decode().replace(",", delimiter).replace("Saab", "Škoda")
    text = f"sep={delimiter}\r\n{text}" if separator_line else text
    assert rows(file, text.encode(encoding)) == [("1.5", "Škoda", "4"), ("2", "Buick", "2")]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_encoding_is_declared(file: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    content = "price,make,doors\n" + "1.5,Citroën,4\n" * 300_000
    file.write_bytes(pack(content.encode(encoding)))
    found = list(read(file, COLUMNS, form=FileForm(encoding=encoding)))
    assert sum(batch.table.num_rows for batch in found) == 300_000
    assert {make for batch in found for make in batch.table["make"].unique().to_pylist()} == {"Citroën"}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "shift_jis", "gb18030", "big5"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_character_may_straddle_two_blocks_anywhere(
    file: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 4096)
    make = "Citroën" if encoding == "cp1252" else "京都"
    for offset in range(12):
        content = f"price,make,doors\n1.5,{'x' * offset},4\n" + f"1.5,{make},4\n" * 2_000
        file.write_bytes(pack(content.encode(encoding)))
        found = list(read(file, COLUMNS, form=FileForm(encoding=encoding)))
        makes = [one for batch in found for one in batch.table["make"].to_pylist()]
        assert makes == ["x" * offset] + [make] * 2_000


def test_byte_that_is_not_in_the_declared_encoding_is_named(file: Path) -> None:
    file.write_bytes(b"price,make,doors\n1,a,2\n3,\x81,4\n")
    with pytest.raises(FileError, match=r"not cp1252: byte b'\\x81' at position 25 \(line 3\)"):
        list(read(file, COLUMNS, form=FileForm(encoding="cp1252")))


@pytest.mark.parametrize(
    "encoding", ["latin-1", "iso-8859-15", "cp1252", "cp1250", "cp1251", "gb18030", "euc_kr", "big5", "koi8-r"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("make", ["Citroën", "Škoda", "京"])
def test_utf_8_that_is_declared_to_be_another_encoding_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, pack: Callable[[bytes], bytes], make: str
) -> None:
    """Also where the first character that tells is blocks inside."""
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 4096)
    said = rf"this is UTF-8, and model.yaml declares {encoding} \(files.encoding\): .* Save the file as UTF-8 with a "
    for before in (0, 3_000):
        content = "price,make,doors\n" + "1.5,Saab,4\n" * before + f"1.5,{make},4\n"
        file.write_bytes(pack(content.encode()))
        with pytest.raises(FileError, match=said):
            list(read(file, COLUMNS, form=FileForm(encoding=encoding)))
        file.write_bytes(pack(content.encode("utf-8-sig")))  # what the message advises
        *_, last = read(file, COLUMNS, form=FileForm(encoding=encoding))
        assert last.table["make"].to_pylist()[-1] == make


def test_what_undeclared_utf_8_would_be_read_as_is_shown(file: Path) -> None:
    file.write_bytes(SOUND.replace(b"Saab", "Citroën".encode()))
    with pytest.raises(FileError, match=r"'ë' would be read as 'Ã«'"):
        list(read(file, COLUMNS, form=FileForm(encoding="cp1252")))


def test_undeclared_utf_8_in_names_is_told_rather_than_a_column_that_is_missing(file: Path) -> None:
    file.write_bytes("Preis (€),make,doors\n".encode())
    columns = [Column("price", "float", sources=("Preis (€)",)), *COLUMNS[1:]]
    with pytest.raises(FileError, match=r"this is UTF-8, and model\.yaml declares cp1252"):
        list(read(file, columns, form=FileForm(encoding="cp1252")))


@pytest.mark.parametrize(
    ("encoding", "before"),
    [("cp1252", 0), ("latin-1", 0), ("utf-16", 0), ("utf-16-le", 0), ("shift_jis", 0), ("cp1252", 10_000)],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_json_lines_are_utf_8_whatever_is_declared(
    file: Path, encoding: str, pack: Callable[[bytes], bytes], before: int
) -> None:
    wide = '\n { "price": 1.5, "make": "Saab", "doors": 4' + " " * 450 + "}\n"  # several blocks of few rows
    text = wide * before + '{"price": 2, "make": "Škoda"}\n'
    columns = [*COLUMNS[:2], replace(COLUMNS[2], nullable=True)]
    for content in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")):
        file.write_bytes(pack(content))
        *_, last = read(file, columns, form=FileForm(encoding=encoding))
        assert last.table["make"].field("value").to_pylist()[-1] == "Škoda"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_json_in_another_encoding_than_its_own_is_told(file: Path, encoding: str) -> None:
    file.write_bytes('{"price": 1, "make": "Citroën", "doors": 1}\n'.encode("cp1252"))
    with pytest.raises(FileError, match=r"not UTF-8: byte b'\\xeb' .* JSON is UTF-8 by its standard, .* save the file"):
        list(read(file, COLUMNS, form=FileForm(encoding=encoding)))


def test_a_json_list_is_told_for_what_it_is_whatever_is_declared(file: Path) -> None:
    file.write_bytes('[{"price": 1, "make": "Citroën"}]'.encode())
    with pytest.raises(FileError, match="this begins as a JSON list"):
        list(read(file, COLUMNS, form=FileForm(encoding="cp1252")))


def test_parquet_is_read_whatever_is_declared_of_texts(file: Path) -> None:
    table = pa.table({"price": [1.5], "make": ["Citroën"], "doors": [4]})
    file.write_bytes(parquet(table))
    (batch,) = read(file, COLUMNS, form=FileForm(encoding="cp1252", delimiter=";"))
    assert batch.table["make"].to_pylist() == ["Citroën"]


def test_text_of_an_encoding_with_some_bytes_that_could_be_utf_8_is_read(file: Path) -> None:
    make = "Ã© Citroën"
    file.write_bytes(SOUND.replace(b"Saab", make.encode("cp1252")))
    (batch,) = read(file, COLUMNS, form=FileForm(encoding="cp1252"))
    assert batch.table["make"][0].as_py() == make


@pytest.mark.parametrize("encoding", ["latin-1", "iso-8859-15"])
@pytest.mark.parametrize("before", [0, 300_000])
def test_characters_of_windows_in_an_encoding_that_has_none_are_told(file: Path, encoding: str, before: int) -> None:
    file.write_bytes(b"price,make,doors\n" + b"1.5,Saab,4\n" * before + b"1.5,Citro\xebn,4\n1.5,\x80,4\n")
    at = rf"byte b'\\x80' at position {17 + 11 * before + 18} \(line {before + 3}\)"
    with pytest.raises(FileError, match=rf"not {encoding}: {at}. In cp1252 it is '€': name cp1252 in model.yaml"):
        list(read(file, COLUMNS, form=FileForm(encoding=encoding)))


def test_delimiter_is_declared_where_looking_is_not_enough(file: Path) -> None:
    file.write_bytes(SOUND.replace(b",", b"^"))
    (batch,) = read(file, COLUMNS, form=FileForm(delimiter="^"))
    assert batch.table["make"].to_pylist() == ["Saab", "Buick"]


def test_decimal_commas_stand_between_semicolons(file: Path) -> None:
    assert rows(file, b"price;make;doors\n1,5;Saab, Inc.;4\n") == [("1,5", "Saab, Inc.", "4")]


def test_rows_keep_their_numbers_under_a_separator_line_and_a_header_of_two_lines(file: Path) -> None:
    (batch,) = batches(file, b'sep=;\nprice;make;doors;"no\ntes"\n1;a;2;x\n1;2\n3;b;4;y\n'.replace(b';"no\ntes"', b""))
    assert [(row.row, row.text) for row in batch.unreadable] == [(2, "1;a;2;x"), (3, "1;2"), (4, "3;b;4;y")]
    file.write_bytes(b'price,make,doors,"no\ntes"\n1,a,2,x\n1,2\n3,b,4,y\n')
    (batch,) = read(file, COLUMNS, form=FileForm(other_columns="ignore"))
    assert [(row.row, row.problem) for row in batch.unreadable] == [(3, "2 fields, expected 4")]
    assert batch.row_numbers(np.array([0, 1])).tolist() == [2, 4]


# ---- Names


def read_with_notes(path: Path, content: bytes, columns: list[Column], **form: Any) -> tuple[list[Any], list[str]]:
    path.write_bytes(content)
    notes: list[str] = []
    found = list(read(path, columns, form=FileForm(**form), notes=notes))
    return [row for batch in found for row in batch.table.to_pylist()], notes


NULLABLE = [*COLUMNS, Column("body", "string", nullable=True)]
ROW = {"price": "1.5", "make": "Saab", "doors": "4", "body": None}


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "Unnamed: 0.1", "__index_level_0__"])
def test_numberings_are_passed_over_with_a_note(file: Path, index: str) -> None:
    content = f'"{index}",price,Make,DOORS,"body"\n1,1.5,Saab,4,\n'.encode()
    assert read_with_notes(file, content, NULLABLE) == ([{**ROW, "body": ""}], ["1 column of row numbers passed over"])


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (("", ""), []),
        ((";", ";"), ["1 column without a name passed over (a delimiter at the end of each line makes one)"]),
        ((";;", ";x;"), ["2 columns without a name passed over (a delimiter at the end of each line makes one)"]),
    ],
)
def test_a_delimiter_at_the_end_of_each_line_is_noted_for_what_it_is(
    file: Path, ends: tuple[str, str], said: list[str]
) -> None:
    content = f"price;make;doors;body{ends[0]}\n1.5;Saab;4;{ends[1]}\n".encode()
    assert read_with_notes(file, content, NULLABLE) == ([{**ROW, "body": ""}], said)


def test_lines_of_blanks_count_as_rows_of_a_spreadsheet_and_are_no_rows(file: Path) -> None:
    found = batches(file, b"\n\nprice,make,doors\n1,a,2\n  \n3,b,4\n5\n")
    assert found[0].row_numbers(np.array([0, 1])).tolist() == [2, 4]
    assert [(row.row, row.text) for batch in found for row in batch.unreadable] == [(5, "5")]


def test_a_column_that_may_be_null_may_be_absent_from_a_file(file: Path) -> None:
    found, notes = read_with_notes(file, b"price,make,doors\n1.5,Saab,4\n", NULLABLE)
    assert (found, notes) == ([ROW], ["columns that are absent, so missing in every row: body"])


def test_other_columns_are_ignored_where_the_definition_says_so(file: Path) -> None:
    content = b"colour,price,make,colour,doors,body,x\nred,1.5,Saab,blue,4,,\n"
    found, notes = read_with_notes(file, content, NULLABLE, other_columns="ignore")
    assert (found, notes) == ([{**ROW, "body": ""}], ["columns ignored: 'colour', 'x'"])


def test_sources_are_names_of_any_characters(file: Path) -> None:
    columns = [Column("price", "float", sources=("Preis (€)", "Price/£")), *COLUMNS[1:]]
    for name in ("Preis (€)", "Price/£", "preis(€)", "price", "PRICE"):
        assert read_with_notes(file, f"{name},make,doors\n1,a,2\n".encode(), columns)[0][0]["price"] == "1"
    with pytest.raises(
        FileError, match=r"'price' is missing \(is it 'prices', .* columns Preis \(€\) or Price/£ or price, "
    ):
        read_with_notes(file, b"prices,make,doors\n1,a,2\n", columns)


def test_parquet_names_are_told_like_others(file: Path) -> None:
    columns = [Column("price", "float", sources=("Car.Price",)), *NULLABLE[1:]]
    table = pa.table({"__index_level_0__": [7], "DOORS": [4], "Car.Price": ["1.5"], "Make": ["Saab"], "x": [1]})
    found, notes = read_with_notes(file, parquet(table), columns, other_columns="ignore")
    assert found == [{**ROW, "doors": 4}]
    assert notes == [
        "columns that are absent, so missing in every row: body",
        "1 column of row numbers passed over",
        "columns ignored: 'x'",
    ]


# ---- JSON lines


SOUND_LINE = b'{"price": 1, "make": "Saab", "doors": 4}\n'
LINES = b"""{"price": 1.5, "Make": "Saab", "doors": 4}
{"price": "2 USD", "make": null, "doors": "2"}

not json
[1]
{"price": true, "make": 5.5, "doors": 2.5}
{}
"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_json_lines_are_values_or_what_is_wrong_with_them(file: Path, pack: Callable[[bytes], bytes]) -> None:
    columns = [Column("price", "float", parsing=Parsing(units=(("USD", 1.0),))), *NULLABLE[1:]]
    file.write_bytes(pack(LINES))
    notes: list[str] = []
    (batch,) = read(file, columns, notes=notes)
    assert [(row.row, row.rule, row.text) for row in batch.unreadable] == [(4, "json", "not json"), (5, "json", "[1]")]
    assert batch.row_numbers(np.arange(4)).tolist() == [1, 2, 6, 7]
    values = {name: batch.table[name].field("value").to_pylist() for name in ("price", "make", "doors", "body")}
    assert values == {"price": [1.5, 2, None, None], "make": ["Saab", None, None, None], "doors": [4, 2, None, None],
                      "body": [None] * 4}  # fmt: skip
    for name in ("price", "make", "doors"):
        assert batch.table[name].field("invalid").to_pylist() == [False, False, True, False]
    assert batch.table["price"].field("text").to_pylist() == ["1.5", "2 USD", "true", None]
    assert notes == ["columns that are absent, so missing in every row: body"]


@pytest.mark.parametrize("sound", ['{"price": 1, "make": "Saab", "doors": 4}\n', ""])
def test_a_name_that_stands_twice_in_a_json_line_makes_its_row_invalid(file: Path, sound: str) -> None:
    broken = '{"price": 1, "make": "Saab", "doors": 4, "price": 2}\n'
    file.write_bytes((sound + broken + sound).encode())
    (batch,) = read(file, COLUMNS)
    assert batch.table.num_rows == 2 * bool(sound)
    (row,) = batch.unreadable
    assert (row.row, row.problem) == (1 + bool(sound), "the name 'price' stands more than once in one object")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1" * 10_000, "a number has 10,000 digits; at most 4,300 are read"),
        ("[" * 100_000 + "]" * 100_000, "lists or objects in one another are 100,001 deep; expected plain values"),
        ("-Infinity", "-Infinity is no JSON number"),
    ],
    ids=["digits", "deep", "infinite"],
)
@pytest.mark.parametrize("before", [b"", SOUND_LINE])
def test_json_that_nobody_can_take_is_told_for_what_it_is(file: Path, value: str, problem: str, before: bytes) -> None:
    line = SOUND_LINE.replace(b'"Saab"', value.encode())
    file.write_bytes(before + line + SOUND_LINE)
    (batch,) = read(file, COLUMNS)
    assert [(row.row, row.problem) for row in batch.unreadable] == [(1 + bool(before), problem)]
    assert batch.table.num_rows == 1 + bool(before)


@pytest.mark.parametrize(
    "content",
    [
        b'{"instances": [{"price": 1}]}', b'{"instances": [{"price": 1}], "signature_name": "x"}',
        b'{"features": [1, "Saab"]}', b'{"data": []}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("other_columns", ["refuse", "ignore"])
def test_a_document_of_many_records_is_told_how_records_are_written(
    file: Path, content: bytes, other_columns: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(FileError, match=r"line 1: '\w+' holds a list; expected one object a record, .* \(JSON lines\)"):
        list(read(file, NULLABLE, form=FileForm(other_columns=other_columns)))


@pytest.mark.parametrize(
    "line",
    [b'{"price": 1, "price": 2}\n', b'{"price": %s}\n' % (b"[" * 100_000 + b"]" * 100_000)],
    ids=["twice", "deep"],
)
def test_where_no_line_can_be_read_no_column_is_said_to_be_absent(file: Path, line: bytes) -> None:
    file.write_bytes(line)
    notes: list[str] = []
    (batch,) = read(file, NULLABLE, notes=notes)
    assert (len(batch.unreadable), notes) == (1, [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1e400", "1e400"), ("-1e400", "-1e400"), ("[1, 2]", "[1, 2]"), ('{"a": null}', '{"a": null}'),
        (f"[{'1, ' * 100}1]", f"[{'1, ' * 65}1..."),
    ],
    ids=range(5),
)  # fmt: skip
def test_what_is_no_value_of_a_column_is_shown_as_it_was_written(file: Path, value: str, text: str) -> None:
    file.write_bytes(SOUND_LINE.replace(b": 1,", f": {value},".encode()))
    (batch,) = read(file, COLUMNS)
    (shown,) = batch.table["price"].to_pylist()
    assert shown == {"text": text, "value": None, "invalid": True}


def test_a_number_beyond_all_floats_is_above_the_maximum(file: Path) -> None:
    columns = [Column("price", "float", maximum=100), *COLUMNS[1:]]
    contract = Contract(tuple(columns), columns[0], "regression", None)
    for content in (SOUND_LINE.replace(b": 1,", b": 1e400,"), b"price,make,doors\n1e400,Saab,4\n"):
        file.write_bytes(content)
        (batch,) = read(file, columns)
        (violation,) = check(contract, batch.table).violations
        assert violation.reason("1e400") == "price: '1e400' is above the maximum 100"


def test_a_column_that_may_stand_under_another_spelling_is_asked_about(file: Path) -> None:
    lenient = [replace(column, nullable=True) for column in COLUMNS]
    names = ("columns ignored: 'prise' (is 'prise' the column 'price'?)",)
    for content in (SOUND_LINE.replace(b"price", b"prise"), b"prise,make,doors\n1,Saab,4\n"):
        file.write_bytes(content)
        notes: list[str] = []
        list(read(file, lenient, form=FileForm(other_columns="ignore"), notes=notes))
        assert set(names) < set(notes)


def test_half_a_character_is_no_text_and_is_shown_as_it_is_written(file: Path) -> None:
    file.write_bytes(SOUND_LINE.replace(b"Saab", b"\\ud800"))
    (batch,) = read(file, COLUMNS)
    assert batch.table["make"].to_pylist() == [{"text": "\\ud800", "value": None, "invalid": True}]


def test_json_lines_with_other_names_are_refused_with_the_line(file: Path) -> None:
    assert "line 2: unexpected column 'colour'" in refusal(file, b'{"price": 1}\n{"colour": 1}\n')
    assert "line 1: columns 'Price' and 'PRICE' are all column 'price'" in refusal(file, b'{"Price": 1, "PRICE": 2}')
    found, notes = read_with_notes(file, b'{"price": 1}\n{"colour": 1}\n', COLUMNS, other_columns="ignore")
    assert (len(found), notes[0]) == (2, "columns ignored: 'colour'")


def test_large_json_lines_pass_in_batches_and_rows_keep_their_numbers(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines_files, "BLOCK_BYTES", 4096)
    found = batches(file, b"".join(b'{"price": %d, "make": "a"}\n\n' % number for number in range(1000)))
    assert len(found) > 5
    prices = [price for batch in found for price in batch.table["price"].field("value").to_pylist()]
    numbers = [row for batch in found for row in batch.row_numbers(np.arange(batch.table.num_rows)).tolist()]
    assert (prices, numbers) == ([*range(1000)], [*range(1, 2001, 2)])
    assert "line 2 is longer than" in refusal(file, b'{"price": 1}\n{"make": "' + b"a" * 10_000 + b'"}')


@pytest.mark.parametrize(
    "values",
    [
        ["", "a", None, "Škoda"], ["a", "half of a pair: \ud800"], [True, None, False], [True, 1],
        [7, None, -(2**63), 2**64], [7, 1.5, -0.0, 1e22, 1e-7], [10**250, 7], [BeyondFloat("1e400"), 1.5],
        [[1], {"a": 2}, 7, None], ["7", 7], [None, None], [],
    ],
)  # fmt: skip
def test_values_of_one_kind_have_the_texts_that_each_has_by_itself(values: list[Any]) -> None:
    assert json_lines_files._as_texts(values).to_pylist() == [json_lines_files._as_text(value) for value in values]


@pytest.mark.parametrize("values", [[1, 0, None], [1, 2, None], [2**70, 1], [None]])
def test_whole_numbers_are_flags_as_they_are_beside_others(values: list[Any]) -> None:
    alone, beside = from_json("boolean", values), from_json("boolean", [*values, 0.5])
    assert alone.values.equals(beside.values[:-1])
    invalid = [False] * len(values) if alone.invalid is None else alone.invalid.to_pylist()
    assert (invalid, beside.invalid[-1].as_py()) == (beside.invalid[:-1].to_pylist(), True)


def test_names_that_are_others_in_each_json_line_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines_files, "MAX_NAME_BYTES", 500_000)
    shapes = json_lines_files._Shapes("a.jsonl", COLUMNS, FileForm(other_columns="ignore"))
    for line, names in enumerate([2_000] * 30 + [10_000, 2_000], 1):
        others = ",".join(f'"{line}-{number}": 0' for number in range(names))
        found = shapes.batch(line, [b'{"price": 1, %s}' % others.encode(), b"no object"])
        assert (found.table.num_rows, len(found.unreadable)) == (1, 1)
        assert sum(map(len, shapes._known)) <= 500_000 / 80
    assert len(shapes.notes()) == json_lines_files.MAX_NOTES + 1


def test_quoted_fields_may_hold_line_breaks_commas_and_quotes(file: Path) -> None:
    content = b'price,make,doors\n1,"a\nb, ""c""",2\n2,6" wheels,3\n'
    assert rows(file, content) == [("1", 'a\nb, "c"', "2"), ("2", '6" wheels', "3")]


def test_content_tells_the_format_and_not_the_name(tmp_path: Path) -> None:
    table = pa.table({"price": [1.5, 2], "make": ["Saab", "Buick"], "doors": [4, 2]})
    pq.write_table(table, tmp_path / "parquet.csv")
    (tmp_path / "csv.parquet").write_bytes(SOUND)
    assert [batch.table.num_rows for batch in read(tmp_path / "parquet.csv", COLUMNS)] == [2]
    assert [batch.table.num_rows for batch in read(tmp_path / "csv.parquet", COLUMNS)] == [2]


@pytest.mark.parametrize("content", [b"", b"price,make,doors\n", b"price,make,doors", gzip.compress(b"", mtime=0)])
def test_file_without_rows_has_no_rows(file: Path, content: bytes) -> None:
    assert rows(file, content) == []


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("00010-a", "00002-b", "sub/00001-c", "00001-d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)]
    assert names == ["00001-d", "00002-b", "00010-a", "sub/00001-c"]


def test_large_file_passes_in_batches_and_rows_keep_their_numbers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 4096)
    lines = [b"price,make,doors"]
    expected = {}
    for number in range(2, 5000):
        ragged = number % 997 == 0
        lines.append(b"1,2" if ragged else b'%d,"a\nb",2' % number if number % 5 == 0 else b"%d,Saab,4" % number)
        if not ragged:
            expected[str(number)] = number
    found: dict[str, int] = {}
    skipped: list[int] = []
    for batch in batches(file, b"\n".join(lines)):
        numbers = batch.row_numbers(np.arange(batch.table.num_rows))
        found |= dict(zip(batch.table["price"].to_pylist(), numbers.tolist(), strict=True))
        skipped += [row.row for row in batch.unreadable]
    assert found == expected
    assert skipped == [997, 1994, 2991, 3988, 4985]


def test_ragged_rows_are_handed_on_with_their_number_and_text(file: Path) -> None:
    found = batches(file, b"price,make,doors\n1,a,2\n1,2\n3,b,4\n1,2,3,4\n")
    assert [(row.row, row.problem, row.text) for batch in found for row in batch.unreadable] == [
        (3, "2 fields, expected 3", "1,2"),
        (5, "4 fields, expected 3", "1,2,3,4"),
    ]
    assert found[0].row_numbers(np.array([0, 1])).tolist() == [2, 4]


def test_ragged_rows_after_the_last_sound_one_are_handed_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 64)
    found = batches(file, b"price,make,doors\n" + b"1,a,2\n" * 10 + b"1,2\n" * 100)
    assert sum(len(batch.unreadable) for batch in found) == 100
    assert sum(batch.table.num_rows for batch in found) == 10


# ---- Broken CSV


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"price,make", "column 'doors' is missing. Expected the columns price, make, doors"),
        (b"price (USD),make,doors", "column 'price' is missing (is it 'price (USD)', renamed? columns.price.source"),
        (b"price,make,doors,colour", "unexpected column 'colour'"),
        (b"price,make,doors,price", "column 'price' stands more than once"),
        (b"price:make:doors", "the fields are separated by colons; set files.delimiter in model.yaml"),
        (b"price~make~doors", "the fields are separated by tildes; set files.delimiter in model.yaml"),
        (b"price^make^doors", "the fields are separated by carets; set files.delimiter in model.yaml"),
        (b"price make doors", "the fields are separated by blanks; set files.delimiter in model.yaml"),
        (b"price,make,Doors,DOORS", "columns 'Doors' and 'DOORS' are all column 'doors'"),
        (b"1.5,Saab,4", "a header line is needed"),
        (b"\n1.5,Saab,4", "a header line is needed"),
        (b"price,make,\x1b[31mdoors\n", "'\\u001b[31mdoors'"),
    ],
)
def test_header_that_is_not_the_definitions_is_explained(file: Path, header: bytes, problem: str) -> None:
    assert problem in refusal(file, header + b"\n1.5,Saab,4\n")


def test_of_a_wide_file_what_is_missing_is_said_and_not_all_names(file: Path) -> None:
    columns = [Column(f"sensor {place}", "float") for place in range(60)]
    file.write_text(f"{','.join(column.name for column in columns if column.name != 'sensor 7')}\n1\n")
    with pytest.raises(FileError, match=r"csv: column 'sensor 7' is missing\. It has the other 59 of 60 columns$"):
        list(read(file, columns))
    file.write_text(f"{','.join(column.name for column in columns[:40])},Sensor59s\n1\n")
    with pytest.raises(
        FileError, match=r"csv: column 'sensor 59' is missing \(is it 'Sensor59s'.*; and 15 more are missi"
    ):
        list(read(file, columns))


def test_a_name_that_source_lists_as_well_is_expected_once(file: Path) -> None:
    file.write_bytes(b"cost\n1\n")
    with pytest.raises(FileError, match=r"Expected the columns price or net$"):
        list(read(file, [Column("price", "float", sources=("price", "net"))]))


def test_commas_in_place_of_the_declared_delimiter_are_named(file: Path) -> None:
    file.write_bytes(b"price,make,doors\n1.5,Saab,4\n")
    expected = "the fields are separated by commas; set files.delimiter in model.yaml, or leave it out"
    with pytest.raises(FileError, match=expected):
        list(read(file, COLUMNS, form=FileForm(delimiter=";")))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\x03\x04" + b"\0" * 50, "a zip archive or an Excel workbook"),
        (
            "price,make,doors\n".encode("utf-16-le"),
            "zero bytes); expected CSV or JSON lines (also gzip), or Parquet. UTF-16",
        ),
        (b'[{"price": 1}]', "begins as a JSON list; expected one JSON object a line"),
        (b"price,make,doors\n1\0,a,2\n", "this is no text: a zero byte at position 18 (line 2); expected CSV"),
        (
            "price,make,doors\n1,Å\0,2\n".encode("utf-16"),
            "this is no text: a zero byte at position 42 (line 2); expected CSV",
        ),
        (gzip.compress(b"PAR1" + b"\0" * 50), "Parquet inside gzip"),
        (gzip.compress(SOUND)[:-9], "gzip data are damaged or cut off"),
        (gzip.compress(SOUND)[:-4] + b"\0\0\0\0", "gzip data are damaged or cut off"),
        (gzip.compress(SOUND)[:15] + b"\xff" * 30, "gzip data are damaged or cut off"),
    ],
    ids=[
        "zip",
        "utf-16 without mark",
        "json list",
        "zero byte",
        "zero in utf-16",
        "gzip of parquet",
        "torn",
        "checksum",
        "bad block",
    ],
)
def test_file_of_another_kind_is_named(file: Path, content: bytes, problem: str) -> None:
    assert problem in refusal(file, content)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a.parquet", "its name says Parquet, and it does not begin as that does (PAR1); expected CSV or JSON lines"),
        ("A.CSV.GZ", "its name says gzip, and it does not begin as that does (the bytes 1f 8b)"),
        ("a.csv", "not UTF-8: byte b'\\xf5' at position 0 (line 1)"),
    ],
)
def test_bytes_that_are_no_text_are_told_by_the_name_of_the_file(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / name).write_bytes(b"\xf5\x00\x91" * 100)
    with pytest.raises(FileError, match=re.escape(f"{name}: {problem}")):
        list(read(tmp_path / name, COLUMNS))
    (tmp_path / name).write_bytes(SOUND)
    assert list(read(tmp_path / name, COLUMNS)), "a name alone says nothing of a file that can be read"


def test_gzip_that_is_torn_far_inside_is_named(file: Path) -> None:
    lines = b"".join(b"%d,Saab,4\n" % number for number in range(400_000))
    data = gzip.compress(b"price,make,doors\n" + lines, 1)
    assert "gzip data are damaged or cut off" in refusal(file, data[: len(data) - 100])


@pytest.mark.parametrize("make", ["Saab", "Škoda", '"Saab, 9000"'])
@pytest.mark.parametrize(
    ("bad", "pack"),
    [(b"\xff", bytes), (b"\0", bytes), (b"\n", lambda text: (packed := gzip.compress(text))[: len(packed) - 9])],
    ids=["no utf-8", "zero byte", "gzip"],
)
def test_a_sound_row_is_not_accused_where_a_file_breaks_behind_it(
    file: Path, make: str, bad: bytes, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks end inside of rows, and what is read of a file ends with a block."""
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1 << 16)
    rows = [f"{number},{make},4" for number in range(20_000)]
    file.write_bytes(pack("\n".join(["price,make,doors", "1,2", *rows, ""]).encode() + bad))
    found: list[Batch] = []
    with pytest.raises(FileError):
        found.extend(read(file, COLUMNS))
    read_rows = [row for batch in found for row in batch.unreadable]
    assert [row.row for row in read_rows] == [2]
    assert all(batch.table.column("doors").to_pylist() == ["4"] * batch.table.num_rows for batch in found)
    assert sum(batch.table.num_rows for batch in found) > 5_000


@pytest.mark.parametrize("before", [0, 1, 300_000])
def test_bad_encoding_is_named_by_byte_and_line(file: Path, before: int) -> None:
    sound = b"price,make,doors\n" + "1,Škoda,2\n".encode() * before
    message = refusal(file, sound + b"3,Citro\xebn,4\n" + b"5,Saab,6\n" * 10)
    assert f"not UTF-8: byte b'\\xeb' at position {len(sound) + 7} (line {before + 2})" in message


def test_character_that_is_cut_off_at_the_end_is_bad_encoding(file: Path) -> None:
    assert "not UTF-8: byte b'\\xc5' at position 19 (line 2)" in refusal(file, b"price,make,doors\n1,\xc5")


@pytest.mark.parametrize("rows_after", [1, 1_000, 300_000])
@pytest.mark.parametrize("row", [b'1,"Saab,4', b'1,Saab,"4', b'"1,Saab,4'])
def test_rows_are_not_lost_in_a_field_that_is_never_closed(file: Path, row: bytes, rows_after: int) -> None:
    content = b"price,make,doors\n1,a,2\n" + row + b"\n" + b"2,Buick,2\n" * rows_after
    assert "a quotation mark is not closed" in refusal(file, content)


@pytest.mark.parametrize("header", [b"price,make,doors", b"price,doors,make"])
def test_rows_are_not_lost_in_a_field_that_is_closed_too_late(file: Path, header: bytes) -> None:
    """Both rows around the hidden ones have the right number of fields."""
    row = b"2,Buick,2" if header.endswith(b"doors") else b"2,2,Buick"
    opening = row.replace(b"Buick", b'"Buick')
    closing = row.replace(b"Buick", b'Bu"ick')
    content = b"\n".join([header, row, opening, *[row] * 5, closing, row, b""])
    said = refusal(file, content)
    assert "row 3: a quotation mark is not closed" in said
    assert said.endswith("Close it, or double it where it is a part of the text")


TORN = "row 4: the file ends inside quotation marks, so it is cut off; upload it again"


@pytest.mark.parametrize(
    "content",
    [
        'price,make,doors\n1,"a",2\n1,a\n1,a,"2',  # in the last column, after a row of another length
        'price,make,doors\n1,a,2\n1,a,2\n1,"a',  # in another one
        'price,make,doors\r\n1,a,2\r\n1,a,2\r\n1,a,"',
        'price,make,doors\r1,a,2\r1,a,2\r1,a,"2""',
        'price,make,doors,note\n1,a,2,x\n1,a,2,x\n1,a,2,"x',  # in one that is not read
        'price;make;doors\n1;a;2\n1;a;2\n1;a;"2',
    ],
)
@pytest.mark.parametrize(
    "pack", [str.encode, lambda text: text.encode("utf-16"), lambda text: gzip.compress(text.encode())]
)
def test_a_file_that_ends_inside_quotes_is_torn(file: Path, content: str, pack: Callable[[str], bytes]) -> None:
    file.write_bytes(pack(content))
    with pytest.raises(FileError, match=TORN):
        list(read(file, COLUMNS, form=FileForm(other_columns="ignore")))
    file.write_bytes(pack(content + '"\n'))
    assert list(read(file, COLUMNS, form=FileForm(other_columns="ignore")))


@pytest.mark.parametrize(("field", "has_as_many_bytes"), [("7", False), ("a word of it", True)])
def test_a_block_has_so_many_fields_or_bytes(file: Path, field: str, has_as_many_bytes: bool) -> None:
    """Memory holds fields."""
    row = ",".join([field] * 40) + "\n"
    file.write_text(",".join(f"c{number}" for number in range(40)) + "\n" + row * 60_000)
    found = read(file, [Column("c7", "string")], form=FileForm(other_columns="ignore"))
    most_rows = max(batch.table.num_rows for batch in found)
    of_fields = csv_files.FIELDS_AT_ONCE / (40 + csv_files.FIELDS_OF_NO_COLUMN)
    assert most_rows == pytest.approx(csv_files.BLOCK_BYTES / len(row) if has_as_many_bytes else of_fields, rel=0.02)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_row_may_be_longer_than_a_block_of_many_fields(
    file: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 6_000)
    monkeypatch.setattr(csv_files, "FIELDS_AT_ONCE", 1)  # a sixth of the bytes
    short, long = b"1,Saab,2\n" * 8_000, b"2,%b,4\n" % (b"x" * 5_000)
    found = rows(file, pack(b"price,make,doors\n" + short + long + short))
    assert (len(found), found[8_000]) == (16_001, ("2", "x" * 5_000, "4"))


@pytest.mark.parametrize("block", [64, 1 << 21])
def test_a_file_is_torn_wherever_it_is_cut_inside_quotes(
    file: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", block)
    whole = '"make","note"\n"a","b ""c"" d"\n"""",""\n5"6,"x\ny""z"\n"e, f",""\n" g","h ""i"""\n'
    columns = [Column("make", "string", nullable=True), Column("note", "string", nullable=True)]
    for end in range(whole.index("\n") + 1, len(whole) + 1):
        file.write_text(whole[:end])
        said = problem(lambda: list(read(file, columns)))
        torn = problem(lambda end=end: list(csv.reader(io.StringIO(whole[:end], newline=""), strict=True)))
        assert ("the file ends inside quotation marks" in said) == ("unexpected end of data" in torn), whole[:end]
        last = [] if torn or whole[end - 1] == "\n" else list(csv.reader(io.StringIO(whole[:end], newline="")))[-1]
        assert bool(said) == (bool(torn) or len(last) == 1), whole[:end]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "pack", [str.encode, lambda text: text.encode("utf-16"), lambda text: gzip.compress(text.encode())]
)
@pytest.mark.parametrize("first", ["1,a,2", '1,"a",2', "1,a"], ids=["plain", "quotes", "another short row"])
@pytest.mark.parametrize("block", [24, 1 << 21])
def test_a_file_is_cut_off_whose_last_row_has_no_line_end_and_too_few_fields(
    file: Path, monkeypatch: pytest.MonkeyPatch, end: str, pack: Callable[[str], bytes], first: str, block: int
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", block)
    whole = end.join(["price,make,doors", first, "3,Saab,2", "4,Volvo,4"])
    cuts = [whole[:length] for length in range(whole.index("4,V") + 1, len(whole) + 1)]
    torn = "row 4: the last row has no line end and {} fields, expected 3, so the file is cut off; upload it again"
    for cut in cuts:
        file.write_bytes(pack(cut))
        fields = cut.rpartition(end)[2].count(",") + 1
        said = problem(lambda: list(read(file, COLUMNS)))
        assert said == ("" if fields == 3 else f"{file.name}: {torn.format(fields)}, or end its last line")
        file.write_bytes(pack(cut + end))
        assert not problem(lambda: list(read(file, COLUMNS)))


@pytest.mark.parametrize(
    "last", ["1,a,2,too many", "   ", "1,2\n1,a,2", "1,2\n   "], ids=["longer", "blanks", "not the last", "and blanks"]
)
def test_a_file_without_a_last_line_end_is_whole_where_its_last_row_may_be(file: Path, last: str) -> None:
    file.write_text("price,make,doors\n1,a,2\n" + last)
    assert sum(batch.table.num_rows for batch in read(file, COLUMNS)) == 1 + last.endswith("1,a,2")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_json_lines_whose_last_line_has_no_end_and_is_no_object_are_cut_off(
    file: Path, pack: Callable[[bytes], bytes]
) -> None:
    one, last = b'{"price": 1, "make": "a", "doors": 2}\n', b'{"price": 3, "make": "Saab", "doors": 4}'
    for length in range(1, len(last)):
        said = refusal(file, pack(one * 2 + last[:length]))
        assert "line 3: the last line has no line end and is no JSON object, so the file is cut off" in said
        (batch, *more) = batches(file, pack(one * 2 + last[:length] + b"\n"))
        assert (len(batch.unreadable), more) == (1, [])
    for whole in (last, last + b"\n", last + b"\n  "):
        assert sum(batch.table.num_rows for batch in batches(file, pack(one * 2 + whole))) == 3


def problem(read_it: Callable[[], object]) -> str:
    try:
        read_it()
    except (FileError, csv.Error) as error:
        return str(error)
    return ""


def test_text_with_lines_and_commas_is_no_hidden_row(file: Path) -> None:
    content = b'price,make,doors\n1,"a\nb, c, d\n,,\n1,2",2\n'
    assert rows(file, content) == [("1", "a\nb, c, d\n,,\n1,2", "2")]


def test_too_many_ragged_rows_are_no_table(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "MAX_RAGGED_ROWS", 5)
    message = refusal(file, b"price,make,doors\n1,a,2\n" + b"1,2\n" * 6)
    assert "more than 5 rows have another number of fields than the header (3), the first is row 3" in message


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "row", [b"1,Sa\0ab,2\n", b"1,Saab\n\0", b"1,Saab,2\0"], ids=["text", "ragged row", "last byte"]
)
def test_a_zero_byte_is_no_text_wherever_it_stands(file: Path, row: bytes, pack: Callable[[bytes], bytes]) -> None:
    before = b"price,make,doors\n" + b"1,Saab,2\n" * (csv_files.BLOCK_BYTES // 4)
    at = len(before) + row.index(b"\0")
    line = (before + row)[:at].count(b"\n") + 1
    where = f"position {at} (line {line})"
    assert f"this is no text: a zero byte at {where}; expected CSV" in refusal(file, pack(before + row))
    assert sum(batch.table.num_rows for batch in batches(file, pack(before))) == csv_files.BLOCK_BYTES // 4


def test_bad_byte_in_a_ragged_row_is_bad_encoding(file: Path) -> None:
    assert "not UTF-8" in refusal(file, b"price,make,doors\n1,2\xff\n1,a,2\n")


@given(
    st.binary(max_size=300)
    | st.text('priceakdos,"\n\r;1.5é', max_size=300).map(lambda text: SOUND[:17] + text.encode())
)
@settings(max_examples=400)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "00000-fuzz.csv"
    found: list[Batch] = []
    message = "00000-fuzz.csv: "
    try:
        found = batches(path, content)
    except FileError as refused:
        message = str(refused)
    assert message.startswith("00000-fuzz.csv: ")
    assert len(message) < 1000
    assert all(batch.table.schema.names == ["price", "make", "doors"] for batch in found)


# ---- Parquet


def parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def test_parquet_is_read_in_batches_with_its_row_numbers(file: Path) -> None:
    count = parquet_files.BATCH_ROWS + 10
    table = pa.table({"doors": np.arange(count), "price": np.arange(count) / 2, "make": ["Saab"] * count})
    first, second = batches(file, parquet(table))
    assert first.table.schema.names == ["price", "make", "doors"]
    assert first.row_numbers(np.array([0])).tolist() == [1]
    assert second.row_numbers(np.array([9])).tolist() == [count]
    assert second.table["doors"][9].as_py() == count - 1


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_texts_of_parquet_may_be_bytes(file: Path, kind: pa.DataType) -> None:
    """As older programs write them."""
    texts = {"price": ["1.5", "2"], "make": ["Citroën", None], "doors": ["4", "2"]}
    table = pa.table({name: pa.array(values).cast(pa.binary()).cast(kind) for name, values in texts.items()})
    assert rows(file, parquet(table)) == [("1.5", "Citroën", "4"), ("2", None, "2")]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"price": [1], "make": [["a"]], "doors": [1]}, "column 'make' has the Parquet type list<"),
        ({"price": [1], "make": [b"\xff"], "doors": [1]}, "column 'make' holds bytes that are no text in UTF-8"),
        ({"price": [1], "make": ["a"], "doors": [date(2024, 1, 1)]}, "column 'doors' has the Parquet type date32[day]"),
        ({"price": [1], "make": ["a"]}, "column 'doors' is missing"),
        ({"price": [1], "make": ["a"], "doors": [1], "x": [1]}, "unexpected column 'x'"),
        ({"price": [[1]], "make": ["a"], "doors": [1]}, "column 'price' has the Parquet type list"),
    ],
)
def test_parquet_of_another_schema_is_named(file: Path, table: dict[str, Any], problem: str) -> None:
    assert problem in refusal(file, parquet(pa.table(table)))


@pytest.mark.parametrize("nasty", ["f\n\x1b[31m", "\u202eerf", "f" * 1_000_000], ids=["escape", "reversed", "long"])
def test_the_fields_of_a_parquet_structure_are_named_short_and_on_one_line(file: Path, nasty: str) -> None:
    said = refusal(file, parquet(pa.table({"price": [1.0], "make": [{nasty: 1}], "doors": [1]})))
    assert "column 'make' has the Parquet type struct<" in said
    assert "; expected string" in said
    assert said.isprintable()
    assert len(said) < 250


@pytest.mark.parametrize("nasty", ["x\n\x1b[31m", "\u202exe", "x" * 100_000], ids=["escape", "reversed", "long"])
@pytest.mark.parametrize("repeated", [1, 2])
def test_names_of_columns_are_quoted_short_and_on_one_line(file: Path, nasty: str, repeated: int) -> None:
    names = ["price", "make", "doors", *[nasty] * repeated]
    quoted = ",".join(f'"{name}"' for name in names).encode()
    table = pa.Table.from_arrays([pa.array([1])] * len(names), names)
    for content in (quoted + b"\n" + b"1," * len(names) + b"1\n", parquet(table)):
        said = refusal(file, content)
        assert "unexpected column" in said
        assert said.isprintable()
        assert len(said) < 300


def test_a_column_of_another_contract_that_cannot_be_read_is_absent(file: Path) -> None:
    other = Column("served.make", "float", sources=("make",), optional=True)
    file.write_bytes(parquet(pa.table({"price": [1.0], "make": [7], "doors": [1]})))
    (batch,) = read(file, [*COLUMNS, other])
    assert batch.table["served.make"].to_pylist() == [7]
    file.write_bytes(parquet(pa.table({"price": [1.0], "make": ["a"], "doors": [[1]]})))
    doors = Column("served.doors", "integer", sources=("doors",), optional=True)
    (batch,) = read(file, [*COLUMNS[:2], doors], form=FileForm(other_columns="ignore"))
    assert batch.table["served.doors"].to_pylist() == [None]


def test_parquet_with_a_column_name_that_is_no_text_is_named(file: Path) -> None:
    content = parquet(pa.table({"price": [1.0], "make": ["a"], "XXXX": [1]}), store_schema=False)
    assert "Parquet data are damaged or cut off ('utf-8' codec" in refusal(file, content.replace(b"XXXX", b"\xff" * 4))


def test_damaged_parquet_is_named(file: Path) -> None:
    sound = parquet(pa.table({"price": [1.0] * 100, "make": ["a"] * 100, "doors": [1] * 100}))
    for content in (sound[:-20], sound[:8], sound[:4] + b"\xff" * 100 + sound[104:], b"PAR1"):
        assert "Parquet data are damaged or cut off" in refusal(file, content)


def test_what_arrow_says_about_a_damaged_file_is_one_short_line(file: Path) -> None:
    sound = parquet(pa.table({"price": [1.0] * 100, "make": ["a"] * 100, "doors": [1] * 100}))
    said = refusal(file, sound[:30] + b"\xff" * 60 + sound[90:])
    assert said.isprintable()
    assert len(said) < 400


# ---- Bombs


def test_gzip_that_expands_beyond_measure_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b"price,make,doors\n" + b"1,a,1\n" * 1_500_000)
    assert len(batches(file, packed)) > 1
    monkeypatch.setattr(text_files, "EXPANDED_BYTES", 1 << 20)
    assert "the gzip data expand to more than 200 times their size" in refusal(file, packed)


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_parquet_that_expands_beyond_measure_is_refused(file: Path, is_dictionary: bool) -> None:
    """Also where the long text is not the first one of its dictionary."""
    count = 1_000_000
    places = pa.array((np.arange(count) > 1000).astype(np.int32))
    texts = pa.DictionaryArray.from_arrays(places, pa.array(["a", "a" * 1_000_000]))
    table = pa.table({"price": np.ones(count), "make": texts, "doors": np.ones(count)})
    bomb = parquet(table, compression="zstd", store_schema=is_dictionary)
    assert len(bomb) < 20_000  # and a million times a megabyte
    assert "the Parquet data expand to more than 1,000 times their size" in refusal(file, bomb)


def test_texts_by_what_they_begin_with_are_not_gone_through_beyond_measure(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of some hundred bytes may stand for gigabytes, each of which takes a fifth of a second."""
    monkeypatch.setattr(parquet_files, "EXPANDED_BYTES", 1 << 20)
    lengths, length_of = list[int](), parquet_files._longest_of
    monkeypatch.setattr(
        parquet_files, "_longest_of", lambda name, values: lengths.append(len(values)) or length_of(name, values)
    )
    table = pa.table({"price": np.ones(2_000), "make": ["a" * 10_000] * 2_000, "doors": np.ones(2_000)})
    bomb = parquet(table, use_dictionary=False, column_encoding={"make": "DELTA_BYTE_ARRAY"}, write_statistics=False)
    monkeypatch.setattr(parquet_files, "MAX_EXPANSION", (1 << 20) // len(bomb))
    assert "the Parquet data expand to more than" in refusal(file, bomb)
    assert sum(lengths) < 200  # of 2,000 rows


def test_parquet_with_long_texts_comes_in_small_batches(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "BATCH_BYTES", 10_000)
    table = pa.table({"price": np.arange(100.0), "make": ["a" * 1000] * 100, "doors": np.arange(100)})
    read_batches = batches(file, parquet(table))
    assert max(batch.table.num_rows for batch in read_batches) == 9
    assert [number for batch in read_batches for number in batch.row_numbers(np.arange(batch.table.num_rows))] == list(
        range(1, 101)
    )
    assert pa.concat_arrays([pa.array(batch.table["doors"].to_pylist()) for batch in read_batches]).to_pylist() == list(
        range(100)
    )


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_parquet_with_texts_by_what_they_begin_with_comes_in_small_batches(
    file: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """So newer versions of other writers have them: a page holds the beginning of many texts once."""
    monkeypatch.setattr(parquet_files, "BATCH_BYTES", 10_000)
    texts = [f"{'a' * 1000}{number}" for number in range(100)]
    table = pa.table({"price": np.arange(100.0), "make": texts, "doors": np.arange(100)})
    read_batches = batches(file, parquet(table, use_dictionary=False, column_encoding={"make": encoding}))
    assert max(batch.table.num_rows for batch in read_batches) <= 9
    assert [text for batch in read_batches for text in batch.table["make"].to_pylist()] == texts


@pytest.mark.parametrize("rows_of_group", [100_000, 10_000])
def test_memory_does_not_grow_with_the_rows_of_a_parquet_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, rows_of_group: int
) -> None:
    """Nor with those of a row group, where nearly every row has a text of its own."""
    monkeypatch.setattr(parquet_files, "BATCH_ROWS", 1_000)
    monkeypatch.setitem(parquet_files.BUFFERED, "buffer_size", 1 << 14)

    def most_memory(rows: int) -> int:
        texts = [f"{number:040d}" for number in range(rows)]
        table = pa.table({"price": np.ones(rows), "make": texts, "doors": np.ones(rows, np.int64)})
        pq.write_table(table, file, row_group_size=rows_of_group, compression="none", data_page_size=1 << 14)
        del table, texts
        before = pa.total_allocated_bytes()
        return max(pa.total_allocated_bytes() - before for _ in read(file, COLUMNS))

    assert most_memory(100_000) < most_memory(20_000) + 500_000  # of 4 MB of texts


def test_parquet_that_contradicts_itself_about_a_column_is_refused(file: Path) -> None:
    """Arrow ends the process of who asks it what such a file says about the column."""
    table = pa.table({"price": [1.5, None, 3.5], "make": ["Fiat", None, "Opel"], "doors": [4, None, 5]})
    content = bytearray(parquet(table))
    levels = content.index(b"\x26\x02\x04\x00")  # a list of two: one is missing, two are there
    content[levels : levels + 1] = b"\x36\x00"  # of three
    content[-8:-4] = (int.from_bytes(content[-8:-4], "little") + 1).to_bytes(4, "little")
    assert "the Parquet data are damaged or cut off (Definition level histogram size mismatch" in refusal(
        file, bytes(content)
    )


def test_rows_of_lists_are_as_wide_as_what_is_in_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a file to score has embeddings, which come along to its result."""
    monkeypatch.setattr(parquet_files, "BATCH_BYTES", 10_000)
    lists = pa.array([np.arange(100.0) + number for number in range(50)])
    table = pa.table(
        {"price": np.arange(50.0), "make": ["Fiat"] * 50, "doors": np.arange(50), "embedding.of.it": lists}
    )
    form = FileForm(other_columns="ignore", whole=True)
    file.write_bytes(parquet(table, use_dictionary=False))
    assert max(batch.table.num_rows for batch in read(file, COLUMNS, form=form)) <= 12


def test_parquet_whose_rows_are_written_again_has_columns_of_different_names(file: Path) -> None:
    table = pa.table([[1.0], ["Fiat"], [4], [1], [2]], ["price", "make", "doors", "note", "note"])
    file.write_bytes(parquet(table))
    form = FileForm(other_columns="ignore")
    assert [batch.table.num_rows for batch in read(file, COLUMNS, form=form)] == [1]
    with pytest.raises(FileError, match="column 'note' stands more than once; expected columns of different names"):
        list(read(file, COLUMNS, form=replace(form, whole=True)))


def test_a_text_column_is_found_beside_others_whose_names_go_on_after_a_dot(file: Path) -> None:
    table = pa.table({"make.number": [7, 8], "make": ["Fiat", "Opel"], "price": [1.0, 2.0], "doors": [4, 5]})
    file.write_bytes(parquet(table))
    (batch,) = read(file, COLUMNS, form=FileForm(other_columns="ignore"))
    assert batch.table["make"].to_pylist() == ["Fiat", "Opel"]


def test_long_texts_that_stand_side_by_side_are_not_read_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the average a row of the group is short: by that all its long texts would be in one batch."""
    monkeypatch.setattr(parquet_files, "BATCH_BYTES", 100_000)
    monkeypatch.setattr(parquet_files, "UNEVEN_ROWS", 10)
    monkeypatch.setitem(parquet_files.BUFFERED, "buffer_size", 1 << 14)
    texts = [str(row) + "x" * 5_000 * (row >= 9_800) for row in range(10_000)]
    table = pa.table({"price": np.ones(10_000), "make": texts, "doors": np.arange(10_000)})
    pages = {"dictionary_pagesize_limit": 1_000, "data_page_size": 10_000, "write_batch_size": 10}
    pq.write_table(table, file, compression="none", **pages)
    before, most, makes, counts = pa.total_allocated_bytes(), 0, list[str](), list[int]()
    for batch in read(file, COLUMNS):
        most = max(most, pa.total_allocated_bytes() - before)
        makes += batch.table["make"].to_pylist()
        counts.append(batch.table.num_rows)
    assert makes == texts
    assert most < 1_000_000  # of a megabyte in 200 rows, and what Arrow has beside it
    assert max(counts) > 100


def test_a_text_that_no_csv_row_could_hold_is_refused(file: Path) -> None:
    table = pa.table({"price": [1.0], "make": ["a" * (3 << 20)], "doors": [1]})
    assert "holds a text of 3,145,728 bytes; at most 2 MiB" in refusal(file, parquet(table))


# ---- Parts


@pytest.mark.parametrize("is_placed", [False, True])
def test_parts_hold_a_bounded_number_of_rows_and_start_with_the_header(tmp_path: Path, is_placed: bool) -> None:
    writer, placed = PartWriter(tmp_path / "out", ".csv", 3, b"x\n"), list[Placed]()
    for start in range(0, 7, 2):
        for row in range(start, min(start + 2, 7)):
            assert writer.room > 0
            if is_placed:
                placed.append(writer.place(1, b"%d\n" % row))
            else:
                writer.write(1, b"%d\n" % row)
    writer.close()
    for one in reversed(placed):  # as threads may
        one.write()
    parts = sorted((tmp_path / "out").iterdir())
    assert [part.name for part in parts] == ["part-00000.csv", "part-00001.csv", "part-00002.csv"]
    assert [part.read_bytes() for part in parts] == [b"x\n0\n1\n2\n", b"x\n3\n4\n5\n", b"x\n6\n"]


def test_no_rows_make_no_part(tmp_path: Path) -> None:
    PartWriter(tmp_path / "out", ".csv", 3).close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_json_document_of_many_lines_is_refused_whole(file: Path) -> None:
    file.write_bytes(b'{\n  "fields": [\n    {"name": "x"}\n  ]\n}\n')
    with pytest.raises(
        FileError,
        match=r"line 1 is no whole JSON object \(Expecting .* at character 2\);.* that stands on many lines on one",
    ):
        list(read(file, COLUMNS))


@pytest.mark.parametrize("content", [b"plain text\n", "x,make\n1,a\n".encode("utf-16-le")])
def test_utf_16_without_its_mark_says_what_to_name(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(FileError, match=r"there is no byte order mark; name utf-16-le or utf-16-be in model\.yaml"):
        list(read(file, COLUMNS, form=FileForm(encoding="utf-16")))


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What Arrow was given to read, and its reader, for each file."""
    opened, open_csv = list[tuple[Any, Any]](), csv_files.pa_csv.open_csv

    def open_noted(source: Any, **options: Any) -> Any:
        opened.append((source, open_csv(source, **options)))
        return opened[-1][1]

    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(csv_files.pa_csv, "open_csv", open_noted)
    return opened


@pytest.mark.parametrize("end", [b"\xff,Fiat,4\n", b""], ids=["error", "given up"])
def test_arrows_thread_is_waited_for_by_nobody_when_reading_ends(
    file: Path, readers: list[tuple[Any, Any]], end: bytes
) -> None:
    """It handed an error back with its traceback, thus with the reader, whose end waited for it: the job hung."""
    file.write_bytes(b'price,make,doors\n1,5" pipe,4\n' + b"1,Fiat,4\n" * 100_000 + end)
    batches_of_file = read(file, COLUMNS)
    if end:
        with pytest.raises(FileError, match=r"not UTF-8: byte b'\\xff' at position 900029"):
            list(batches_of_file)
    else:
        next(batches_of_file)
        batches_of_file.close()  # type: ignore[attr-defined]
    ((source, reader),) = readers
    assert (source.read(1), list(reader)) == (b"", [])


def test_a_batch_of_parquet_has_the_texts_of_its_own_rows_though_several_are_read_at_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow's dictionary of a batch has all that came before it in the row group, which were looked at in each."""
    monkeypatch.setattr(parquet_files, "BATCH_ROWS", 10)
    rows_of = {"price": [float(n) for n in range(95)], "make": [f"make {n}" for n in range(95)], "doors": [4] * 95}
    makes_of_rows = pa.array(rows_of["make"]).dictionary_encode()
    pq.write_table(pa.table({**rows_of, "make": makes_of_rows}), file, row_group_size=35)
    found = list(read(file, COLUMNS))
    assert [number for one in found for number in one.row_numbers(np.arange(one.table.num_rows))] == [*range(1, 96)]
    assert [make for one in found for make in one.table.column("make").to_pylist()] == rows_of["make"]
    assert [one.table.num_rows for one in found] == [10, 10, 10, 5, 5, 10, 10, 10, 10, 10, 5]
    makes = [one.table.column("make") for one in found]
    assert all(len(make.dictionary) <= len(make) for make in makes)


# ---- Blocks


PLAIN_ROWS = b"1,Fiat,4\r\n" * 9 + b"2,\xc3\xa9\n\n   \n" + "3,日本語,5\n".encode() * 9 + b"4,Saab,5,6\n5,Opel,2\n"


LONGER = "a row is longer than"
Found = tuple[list[tuple[Any, ...]], list[Any], str]  # rows with their numbers, rows of another length, and the refusal


def found_in(path: Path, form: FileForm = USUAL) -> Found:
    """What is read of a file, whatever batches it comes in; of one that is refused the refusal alone."""
    rows, unreadable = list[tuple[Any, ...]](), list[Any]()
    try:
        for batch in read(path, COLUMNS, form=form):
            numbers = batch.row_numbers(np.arange(batch.table.num_rows)).tolist()
            rows += zip(numbers, *batch.table.to_pydict().values(), strict=True)
            unreadable += batch.unreadable
    except FileError as error:
        return [], [], str(error)
    return rows, unreadable, ""


def found_by_one_core(path: Path, form: FileForm = USUAL) -> Found:
    """The same, as Arrow's own reader finds it in the whole file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files._WholeRows, "pieces", lambda *_: (_ for _ in ()))
        return found_in(path, form)


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize("block", [40, 64, 257, 1 << 20])
@pytest.mark.parametrize("make", [b"Fiat", b'"Fi\n""at"', b'"Fiat, 4"'])
def test_blocks_that_all_cores_read_are_the_rows_that_arrows_own_reader_finds(
    file: Path, readers: list[Any], monkeypatch: pytest.MonkeyPatch, make: bytes, block: int, cores: int
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", block)
    monkeypatch.setattr(in_order, "cores", lambda: cores)
    ignore = FileForm(other_columns="ignore")
    file.write_bytes(b"price,make,doors\n" + PLAIN_ROWS.replace(b"Fiat", make) * 3)
    found = found_in(file, ignore)
    assert (readers, [row.row for row in found[1]]) == ([], [11, 22, 33, 44, 55, 66])
    assert found == found_by_one_core(file, ignore)
    assert len(readers) == 1


ODD = st.sampled_from(['"', '""', ",", "\n", "\r\n", "\r", "a", "1", " ", "é", "\x00", '5" pipe', "\n1,a,4\n", '"x"y'])
FIELD = st.text(st.sampled_from(' a1,"\n\ré日'), max_size=12)
TABLE = st.lists(st.tuples(st.integers(0, 9), FIELD, st.integers(2, 5)), max_size=60)


@st.composite
def csv_bytes(draw: st.DrawFn) -> bytes:
    """A file as somebody's program writes it, in some places of which somebody has typed."""
    text = io.StringIO()
    writer = csv.writer(
        text,
        quoting=draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    writer.writerows([("price", "make", "doors"), *draw(TABLE)])
    content = text.getvalue()[: -draw(st.integers(0, 2)) or None]
    for odd in draw(st.lists(ODD, max_size=3)):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + odd + content[place:]
    whole = content.encode()
    place = draw(st.integers(0, len(whole)))
    broken = draw(st.sampled_from([b"", b"", b"", b"\xff", b"\xe6\x97"]))
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n"])) + whole[:place] + broken + whole[place:]


@settings(max_examples=150)
@given(
    content=csv_bytes(),
    block=st.sampled_from([24, 50, 128, 1 << 20]),
    packed=st.booleans(),
    cores=st.sampled_from([1, 8]),
)
@example(b'"price","make","doors"\r\n0,"1""",2\r\n0,"1""",2\r\n0,"111111""""""""""\xe6\x97\xa5",2\r\n', 24, False, 1)
def test_whatever_a_file_is_all_cores_find_what_one_does(content: bytes, block: int, packed: bool, cores: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(csv_files, "BLOCK_BYTES", block)
        patch.setattr(in_order, "cores", lambda: cores)
        path = Path(folder) / "cars.csv"
        path.write_bytes(gzip.compress(content) if packed else content)
        found, expected = found_in(path), found_by_one_core(path)
        if LONGER in expected[2] and LONGER not in found[2]:  # Arrow's reader may refuse a row that ours has room for
            patch.setattr(csv_files, "BLOCK_BYTES", 1 << 20)
            expected = found_by_one_core(path)
        assert found == expected


@pytest.mark.parametrize(
    ("row", "make"),
    [
        (b'2,"Fi\nat",4\n', "Fi\nat"),
        (b'2,"Fi""at",4\n', 'Fi"at'),
        (b'2,Fi"at,4\n', 'Fi"at'),
        (b'2,"Fi"at,4\n', "Fiat"),
        (b'2,"Fi\r\nat""",4\n', 'Fi\r\nat"'),
    ],
)
def test_rows_go_on_where_the_first_quotation_mark_is_and_keep_their_numbers(
    file: Path, monkeypatch: pytest.MonkeyPatch, row: bytes, make: str
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 64)
    file.write_bytes(b"price,make,doors\n" + b"1,Fiat,4\n" * 50 + b"1,2\n" + row * 20 + b"3,4\n1,a,2\n")
    found = list(read(file, COLUMNS))
    makes = [one for batch in found for one in batch.table.column("make").to_pylist()]
    numbers = [number for batch in found for number in batch.row_numbers(np.arange(batch.table.num_rows)).tolist()]
    assert makes == ["Fiat"] * 50 + [make] * 20 + ["a"]
    assert numbers == [*range(2, 52), *range(53, 73), 74]
    assert [(row.row, row.text) for batch in found for row in batch.unreadable] == [(52, "1,2"), (73, "3,4")]


def test_work_on_a_batch_may_leave_its_fields_and_rows_keep_their_numbers(file: Path) -> None:
    file.write_bytes(SOUND + b"1,2\n3,Saab,4\n")
    ((batch, rows),) = each_batch(lambda batch: (batch.without_fields(), batch.table.num_rows), file, COLUMNS)
    assert (rows, batch.table.nbytes) == (3, 0)
    assert batch.row_numbers(np.arange(batch.table.num_rows)).tolist() == [2, 3, 5]
    assert [row.row for row in batch.unreadable] == [4]


def test_rows_of_another_length_come_with_the_same_batch_however_far_arrow_has_read_ahead(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is ahead of the rows that it hands out, or not, as it happens: the quarantine was in another order."""
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 64)
    file.write_bytes(b'price,make,doors\n1,5" pipe,4\n' + (b"1,Fiat,4\n" * 7 + b"1,2\n") * 40)
    for batch in read(file, COLUMNS):
        last = int(batch.row_numbers(np.array([batch.table.num_rows - 1]))[0]) if batch.table.num_rows else 10**9
        assert all(row.row < last for row in batch.unreadable)
