"""Reading dropped files in batches; memory does not grow with the number of rows.

A file is told by its content, not by its name: gzip and Parquet by their first bytes, anything else is CSV. A file
that cannot be read as a whole raises FileError, which names it.

Row numbers are those a spreadsheet shows: the header of a CSV file is row 1 (blank lines are not counted); the first
row of a Parquet file is row 1.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

from perennial.contract import Column
from perennial.csvfile import PARQUET, Batch, read_csv
from perennial.parquetfile import read_parquet

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
        return read_parquet(name, path, columns)
    if magic.startswith(GZIP):
        return read_csv(name, lambda: gzip.open(path, "rb"), columns)
    return read_csv(name, lambda: path.open("rb"), columns)
