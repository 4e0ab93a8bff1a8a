"""Files of used cars that cannot be used, and what the message about each of them says."""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tests.e2e.matrix.situation import cars, table
from tools import demo_data

HEADER, *ROWS = cars()
NAMES = HEADER.split(",")
EXPECTED = f"Expected the columns {', '.join(NAMES)}"
ADVICE = "Correct the data that are named above and drop them again"


def with_column(name: str, change: Callable[[int, str], str]) -> list[str]:
    """The cars with one column's values changed: change(number of the row, value)."""
    position = NAMES.index(name)
    fields = [row.split(",") for row in ROWS]
    for number, row in enumerate(fields):
        row[position] = change(number, row[position])
    return [HEADER, *(",".join(row) for row in fields)]


def without(name: str) -> list[str]:
    position = NAMES.index(name)
    return [",".join(line.split(",")[:position] + line.split(",")[position + 1 :]) for line in cars()]


def some(text: str) -> Callable[[int, str], str]:
    """Every tenth value becomes this text: far more rows than the contract allows."""
    return lambda number, value: value if number % 10 else text


def parquet(**changed: Any) -> bytes:
    """The cars as Parquet, with some columns of other values, or without (None)."""
    read = pa_csv.read_csv(io.BytesIO(demo_data.used_cars()))
    for name, values in changed.items():
        read = read.drop_columns([name]) if values is None else read.set_column(NAMES.index(name), name, values)
    out = io.BytesIO()
    pq.write_table(read, out)
    return out.getvalue()


def prices_as_texts() -> pa.Array:
    return pa.array([row.split(",")[NAMES.index("price")] for row in ROWS])


def json_lines(rows: list[str]) -> bytes:
    """Rows as JSON lines of texts."""
    return "".join(json.dumps(dict(zip(NAMES, row.split(","), strict=True))) + "\n" for row in rows).encode()


@dataclass(frozen=True)
class Case:
    """Files below a prefix of their own, and what the message about them says."""

    files: dict[str, bytes]
    says: tuple[str, ...]


def one(content: bytes | list[str], *says: str, name: str = "cars.csv") -> Case:
    return Case({name: content if isinstance(content, bytes) else table(content)}, says)


TORN = gzip.compress(table(cars()))[:-200]
HOSTILE = '<script src="https://evil.example/x.js">alert(1)</script>'
BROKEN = {
    "only a header": one([HEADER], "cases/only-a-header/cars.csv: the file is empty: it holds no rows"),
    "a missing column": one(without("mileage"), "column 'mileage' is missing", EXPECTED),
    "a renamed column": one(
        [HEADER.replace("mileage", "Mileage (mi)"), *ROWS], "column 'mileage' is missing (is it 'Mileage (mi)', renamed"
    ),
    "a column twice": one(
        [HEADER + ",price", *(f"{row},1" for row in ROWS)], "column 'price' stands more than once", EXPECTED
    ),
    "an extra column": one([HEADER + ",colour", *(f"{row},red" for row in ROWS)], "unexpected column 'colour'"),
    "values of another type": one(
        with_column("doors", some("four")),
        "doors breaks the rule 'type' in 81 rows",
        "cars.csv row 2: 'four'",
        "10.07%",
    ),
    "units inside the values": one(
        with_column("mileage", lambda _, value: f"{value} mi"),
        "mileage breaks the rule 'type' in 804 rows",
        f"row 2: '{ROWS[0].split(',')[1]} mi'",
        "each of its 804 rows breaks the data contract",
    ),
    "values out of range": one(with_column("price", some("-5")), "price breaks the rule 'minimum' in 81 rows", "'-5'"),
    "rows without a target": one(with_column("price", some("")), "price breaks the rule 'missing' in 81 rows"),
    "a constant target": one(
        with_column("price", lambda *_: "9999"), "price: the target is 9999 in every row of the train set"
    ),
    "too few rows": one(cars()[:51], "50 rows can be used; expected at least 100 (quality.min_rows)"),
    "another encoding than UTF-8": one(
        "\n".join(with_column("make", some("Citroën"))).encode("latin-1"),
        "not UTF-8: byte b'\\xeb'",
        "(line 2)",
        "name its encoding in model.yaml (files.encoding)",
    ),
    "another delimiter that no header tells": one(
        [line.replace(",", ":") for line in cars()], "the fields are separated by colons; set files.delimiter"
    ),
    "two columns that are one": one(
        [HEADER + ",PRICE", *(f"{row},1" for row in ROWS)], "unexpected column 'PRICE'", EXPECTED
    ),
    "rows of another length": one(
        [HEADER, *(row if number % 10 else f"{row},1,2" for number, row in enumerate(ROWS))],
        "row breaks the rule 'fields' in 81 rows",
        "row 2: 11 fields, expected 9",
    ),
    "a quotation mark that is not closed": one(
        [*cars()[:300], cars()[300].replace("Buick", '"Buick').replace("Chevy", '"Chevy'), *cars()[301:]],
        "a quotation mark is not closed; the rows after it are lost in one field",
    ),
    "a torn gzip file": one(TORN, "the gzip data are damaged or cut off", name="cars.csv.gz"),
    "a torn Parquet file": one(
        parquet()[:-500], "the Parquet data are damaged or cut off", "upload it again", name="cars.parquet"
    ),
    "a Parquet file without a column": one(parquet(mileage=None), "column 'mileage' is missing", name="cars.parquet"),
    "a Parquet file with another type": one(
        parquet(mileage=pa.array([[1.0]] * len(ROWS))),
        "column 'mileage' has the Parquet type list<",
        "expected float",
        name="cars.parquet",
    ),
    "a JSON document": one(json.dumps([{"price": 1}], indent=2).encode(), "a JSON list", "one JSON object a line"),
    "UTF-16 without a mark": one(
        table(cars()).decode().encode("utf-16-le"), "UTF-16 without a mark needs files.encoding"
    ),
    "a workbook or an archive": one(b"PK\x03\x04" + bytes(100), "this is a zip archive or an Excel workbook"),
    "an empty file by hand": one(b"", "there is no data"),
    "hostile texts": one(
        with_column("doors", some(HOSTILE.replace(",", ""))), "doors breaks the rule 'type' in 81 rows"
    ),
}

# Nothing to train on is no failure of the data: the run says so, and sends no mail.
SILENT = ("an empty file by hand",)
# Those that are tried on a deployed stack: one of each kind, and what is looked at more closely.
TRIED = (
    "only a header", "a missing column", "values of another type", "too few rows", "another encoding than UTF-8",
    "a torn gzip file", "a torn Parquet file", "an empty file by hand", "hostile texts",
)  # fmt: skip


def prefix(case: str) -> str:
    return f"cases/{case.replace(' ', '-')}/"
