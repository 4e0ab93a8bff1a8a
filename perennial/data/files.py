"""Reading dropped files in batches; memory does not grow with the number of rows.

A file is told by its content, not by its name: gzip and Parquet by their first bytes, JSON lines by a first character
`{`, anything else is CSV. A file that cannot be read as a whole raises FileError, which names it.

Row numbers are those a spreadsheet shows: the header of a CSV file is row 1 (blank lines are not counted, nor is a
line `sep=;`); the first row of a Parquet file is row 1. Of a JSON lines file they are the numbers of the lines.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from perennial.data.csv_files import Batch, Made, Work, read_csv
from perennial.data.file_form import USUAL, FileForm
from perennial.data.header import FileError
from perennial.data.in_order import in_order
from perennial.data.json_lines_files import read_json_lines
from perennial.data.series_files import holds_series, read_series
from perennial.data.text_files import EXPECTED, PARQUET, Opener, TextFile, undamaged
from perennial.features.column import Column

GZIP = b"\x1f\x8b"
FIRST_BYTES = 4096
JSON_LIST = "this begins as a JSON list; expected one JSON object a line (JSON lines), CSV or Parquet"
NAMED = {".parquet": ("Parquet", "PAR1"), ".pq": ("Parquet", "PAR1"), ".gz": ("gzip", "the bytes 1f 8b")}
_EMPTY_LIST = re.compile(rb"\s*\[\s*\]\s*")


def find_files(folder: Path) -> list[Path]:
    """Return the files below a folder in the order of their names, which is the order of the run's manifest."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def copies_among(paths: Sequence[Path]) -> dict[int, int]:
    """Return which files have the bytes of an earlier one: its position by theirs. Only files of one size are read."""
    by_size, first, copies = defaultdict[int, list[int]](list), dict[tuple[int, bytes], int](), dict[int, int]()
    for position, path in enumerate(paths):
        by_size[path.stat().st_size].append(position)
    for size, positions in by_size.items():
        for position in positions if len(positions) > 1 else ():
            with paths[position].open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").digest()
            if (original := first.setdefault((size, digest), position)) != position:
                copies[position] = original
    return copies


def read(
    path: Path,
    columns: Sequence[Column],
    name: str | None = None,
    form: FileForm = USUAL,
    notes: list[str] | None = None,
) -> Iterator[Batch]:
    """Yield the rows of a file in batches. An empty file has no batches.

    Adds to the notes what a person should know of a file that can be read: columns that are absent, or passed over.
    Raises FileError, whose text begins with `name`: what people call the file (default: its own name).
    """
    return (batch for batch, _ in each_batch(_as_it_is, path, columns, name, form, notes))


def _as_it_is(batch: Batch) -> tuple[Batch, None]:
    return batch, None


def each_batch(
    work: Work[Made],
    path: Path,
    columns: Sequence[Column],
    name: str | None = None,
    form: FileForm = USUAL,
    notes: list[str] | None = None,
) -> Iterator[tuple[Batch, Made]]:
    """Yield what work returns for the rows of a file, which are those of `read`: all cores do it, a batch each.

    The batch that work sees does not know the numbers of its rows, nor which are unreadable; what it returns does.
    """
    name, notes = name or path.name, [] if notes is None else notes
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(PARQUET):
        from perennial.data.parquet_files import read_parquet  # 0.01 s, of this kind alone

        return in_order(work, read_parquet(name, path, columns, form, notes))
    return _read_text(name, partial(_open, path, magic.startswith(GZIP)), columns, form, notes, work)


def _open(path: Path, is_gzip: bool) -> gzip.GzipFile | IO[bytes]:
    return gzip.open(path, "rb") if is_gzip else path.open("rb")


def told_by_name(name: str, error: FileError) -> FileError:
    """Return what is wrong with a file that is no text: that it is not what its name says, if that says something."""
    for ending, (kind, begins) in NAMED.items():
        if name.lower().endswith(ending):
            problem = f"its name says {kind}, and it does not begin as that does ({begins})"
            return FileError(f"{name}: {problem}; {EXPECTED}")
    return error


def _start(file: TextFile) -> bytes:
    """Return the first text of a file. Raises FileError: it is none."""
    try:
        return file.read(FIRST_BYTES)
    except FileError as error:
        raise told_by_name(file.name, error) from error


def _read_text(
    name: str,
    open_file: Opener,
    columns: Sequence[Column],
    form: FileForm,
    notes: list[str],
    work: Work[Made],
) -> Iterator[tuple[Batch, Made]]:
    with undamaged(name):
        with open_file() as file:
            start = _start(TextFile(name, file, form))
        if _EMPTY_LIST.fullmatch(start):
            return
        if start.lstrip().startswith(b"["):
            raise FileError(f"{name}: {JSON_LIST}")
        if not start:
            return
        if holds_series(start, form):
            yield from in_order(work, read_series(name, open_file, columns, form, notes))
        elif start.lstrip().startswith(b"{"):
            yield from in_order(work, read_json_lines(name, open_file, columns, form, notes))
        else:
            yield from read_csv(name, open_file, columns, form, notes, work)
