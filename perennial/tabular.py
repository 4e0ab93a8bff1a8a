"""Reading dropped files in batches; memory does not grow with the number of rows.

A file is told by its content, not by its name: gzip and Parquet by their first bytes, anything else is CSV. A file
that cannot be read as a whole raises FileError, which names it.

Row numbers are those a spreadsheet shows: the header of a CSV file is row 1 (blank lines are not counted); the first
row of a Parquet file is row 1.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from perennial.arrow_values import accepts
from perennial.contract import Column
from perennial.csvfile import PARQUET, Batch, read_csv
from perennial.header import FileError, check_header

BATCH_ROWS = 32_768  # of Parquet
GZIP = b"\x1f\x8b"


def find_files(folder: Path) -> list[Path]:
    """Return the files below a folder in the order of their names, which is the order of the run's manifest."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(path: Path, columns: Sequence[Column], name: str | None = None) -> Iterator[Batch]:
    """Yield the rows of a file in batches. An empty file has no batches.

    Raises FileError, whose text begins with `name`: what people call the file (default: its own name).
    """
    name = name or path.name
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(PARQUET):
        return _read_parquet(name, path, columns)
    if magic.startswith(GZIP):
        return read_csv(name, lambda: gzip.open(path, "rb"), columns)
    return read_csv(name, lambda: path.open("rb"), columns)


def _read_parquet(name: str, path: Path, columns: Sequence[Column]) -> Iterator[Batch]:
    try:
        with pa.parquet.ParquetFile(path) as file:
            _check_schema(name, file.schema_arrow, columns)
            first = 1
            for batch in file.iter_batches(BATCH_ROWS, columns=[column.name for column in columns], use_threads=False):
                ordered = batch.select([column.name for column in columns])
                ordered.validate(full=True)  # texts are UTF-8
                yield Batch(ordered, partial(np.add, first))
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{name}: the Parquet data are damaged or cut off ({error}); upload it again") from error


def _check_schema(name: str, schema: pa.Schema, columns: Sequence[Column]) -> None:
    check_header(name, schema.names, columns)
    for column in columns:
        kind = schema.field(column.name).type
        if not accepts(column.type, kind):
            raise FileError(f"{name}: column '{column.name}' has the Parquet type {kind}; expected {column.type}")
