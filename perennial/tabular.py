"""Reading dropped files in batches, and writing sets in parts; memory does not grow with the number of rows.

A file is told by its content, not by its name: gzip and Parquet by their first bytes, anything else is CSV (RFC 4180:
comma, optional double quotes, header line, UTF-8 with or without byte order mark). A file that cannot be read as a
whole is a FileError that names it; single rows of another length are handed on, for the quarantine.

Row numbers are those a spreadsheet shows: the header of a CSV file is row 1 (blank lines are not counted); the first
row of a Parquet file is row 1.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from perennial.contract import Column, DataError
from perennial.values import accepts, shown

BLOCK_BYTES = 2 << 20  # of CSV text read at once; no row may be longer
BATCH_ROWS = 32_768  # of Parquet
MAX_RAGGED_ROWS = 100_000  # a file with more rows of another length is no table of this shape
GZIP, PARQUET, BOM = b"\x1f\x8b", b"PAR1", codecs.BOM_UTF8
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"ARROW1": "Arrow IPC",
    codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text",
}
BinaryFile = IO[bytes] | gzip.GzipFile
_DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


class FileError(DataError):
    """A whole file cannot be used; the text names it."""


@dataclass(frozen=True)
class RaggedRow:
    """A CSV row with another number of fields than the header."""

    row: int
    fields: int
    text: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file: the definition's columns in its order, as CSV texts or as Parquet has them."""

    table: pa.RecordBatch
    row_numbers: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    ragged: tuple[RaggedRow, ...] = ()


def find_files(folder: Path) -> list[Path]:
    """Return the files below a folder in the order of their names, which is the order of the run's manifest."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(path: Path, columns: Sequence[Column]) -> Iterator[Batch]:
    """Yield the rows of a file in batches. Raises FileError. An empty file has no batches."""
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(PARQUET):
        return _read_parquet(path, columns)
    if not magic:
        return iter(())
    if magic.startswith(GZIP):
        return _read_csv(path.name, lambda: gzip.open(path, "rb"), columns)
    return _read_csv(path.name, lambda: path.open("rb"), columns)


# CSV


@dataclass
class _Ragged:
    """Collects the rows that Arrow skips because of their length."""

    columns: int
    waiting: list[RaggedRow] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def skip(self, row: pa.csv.InvalidRow) -> str:
        if len(self.numbers) == MAX_RAGGED_ROWS:
            return "error"
        self.numbers.append(row.number)
        self.waiting.append(RaggedRow(row.number, row.actual_columns, row.text[:200]))
        return "skip"

    def take(self) -> tuple[RaggedRow, ...]:
        taken = tuple(self.waiting)
        self.waiting.clear()
        return taken


def _read_csv(name: str, open_file: Callable[[], BinaryFile], columns: Sequence[Column]) -> Iterator[Batch]:
    try:
        with open_file() as file:
            header = _header(name, file.read(BLOCK_BYTES))
        if header is None:
            return
        _check_header(name, header, columns)
        with open_file() as file:
            yield from _csv_batches(name, file, columns, open_file)
    except _DAMAGED_GZIP as error:
        raise FileError(f"{name}: the gzip data are damaged or cut off ({error}); upload the file again") from error


def _csv_batches(
    name: str, file: BinaryFile, columns: Sequence[Column], open_file: Callable[[], BinaryFile]
) -> Iterator[Batch]:
    names = [column.name for column in columns]
    ragged = _Ragged(len(columns))
    first = 0  # ordinal of the batch's first sound row
    try:
        reader = pa.csv.open_csv(
            file,
            # Only the serial reader numbers the rows that it skips.
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=ragged.skip),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=names, strings_can_be_null=False
            ),
        )
        for batch in reader:
            yield Batch(batch, _numbering(first, ragged.numbers), ragged.take())
            first += batch.num_rows
    except pa.ArrowInvalid as error:
        raise _csv_error(name, error, ragged, open_file) from error
    if ragged.waiting:
        nothing = pa.RecordBatch.from_pydict({column: pa.array([], pa.string()) for column in names})
        yield Batch(nothing, _numbering(first, ragged.numbers), ragged.take())


def _numbering(first: int, ragged: list[int]) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """Return what turns positions in a batch into row numbers: the header and skipped rows count too."""

    def row_numbers(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        skipped = np.asarray(ragged, np.int64)
        sound_before = skipped - 2 - np.arange(len(skipped))
        ordinals = positions + first
        return ordinals + 2 + np.searchsorted(sound_before, ordinals, side="right")

    return row_numbers


def _csv_error(name: str, error: Exception, ragged: _Ragged, open_file: Callable[[], BinaryFile]) -> FileError:
    """Say in the words of the file's owner why Arrow gave up."""
    with open_file() as file:
        undecodable = _find_undecodable(file)
    if undecodable:
        byte, line, data = undecodable
        return FileError(
            f"{name}: not UTF-8: byte {data!r} at position {byte} (line {line}). Save the file as UTF-8 and upload it"
        )
    if len(ragged.numbers) == MAX_RAGGED_ROWS:
        return FileError(
            f"{name}: more than {MAX_RAGGED_ROWS:,} rows have another number of fields than the header "
            f"({ragged.columns}), the first is row {ragged.numbers[0]}"
        )
    return FileError(
        f"{name}: not readable as CSV: a row is longer than {BLOCK_BYTES >> 20} MiB. "
        f"Usually a quotation mark is never closed ({error})"
    )


def _find_undecodable(file: BinaryFile) -> tuple[int, int, bytes] | None:
    """Return (position from 0, line from 1, byte) of the first byte that is not UTF-8, or None."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, line = 0, 1
    while True:
        block = file.read(BLOCK_BYTES)
        pending = decoder.getstate()[0]
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            data = pending + block
            line += data[: error.start].count(b"\n")
            return position - len(pending) + error.start, line, data[error.start : error.start + 1]
        if not block:
            return None
        position += len(block)
        line += block.count(b"\n")


# The header of a CSV file


def _header(name: str, head: bytes) -> list[str] | None:
    """Return the names in the first line, or None for an empty file."""
    if not head:
        return None
    for magic, what in OTHER_FORMATS.items():
        if head.startswith(magic):
            raise FileError(f"{name}: this is {what}; expected CSV in UTF-8 (also gzip) or Parquet")
    if head.startswith(PARQUET):
        raise FileError(f"{name}: this is Parquet inside gzip; upload the Parquet file as it is")
    if b"\0" in head:
        raise FileError(f"{name}: this is no text (it holds zero bytes); expected CSV in UTF-8 (also gzip) or Parquet")
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(head.removeprefix(BOM))
    try:
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise FileError(f"{name}: the header line is not readable as CSV ({error})") from error


def _check_header(name: str, header: list[str], columns: Sequence[Column]) -> None:
    """Raise FileError when a header is not the definition's columns, in any order."""
    expected = [column.name for column in columns]
    missing = [column for column in expected if column not in header]
    extra = [column for column in header if column not in expected]
    repeated = sorted({column for column in header if header.count(column) > 1})
    if not (missing or extra or repeated):
        return
    hint = _separator_hint(header, expected)
    if not hint and len(missing) == len(expected) and not any(_alike(column, extra) for column in missing):
        hint = "no column name of the definition stands in the first line: a header line is needed"
    problems = [hint] if hint else _column_problems(missing, extra, repeated)
    raise FileError(f"{name}: {'; '.join(problems)}. Expected the columns {', '.join(expected)}")


def _separator_hint(header: list[str], expected: list[str]) -> str:
    """Name the separator when the header splits into expected names with another one."""
    line = ",".join(header)
    for separator, spoken in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars"), (":", "colons")):
        if sum(part.strip(' "') in expected for part in line.split(separator)) > max(1, len(expected) // 2):
            return f"the fields are separated by {spoken}; expected commas"
    return ""


def _column_problems(missing: list[str], extra: list[str], repeated: list[str]) -> list[str]:
    problems = []
    renamed = {column: close for column in missing if (close := _alike(column, extra)) is not None}
    for column in missing:
        close = renamed.get(column)
        problems.append(
            f"column '{column}' is missing" + (f" (is it {shown(close)}, renamed?)" if close is not None else "")
        )
    unexpected = [column for column in extra if column not in renamed.values()]
    if unexpected:
        some = ", ".join(shown(column) for column in unexpected[:5]) + (", ..." if len(unexpected) > 5 else "")
        problems.append(f"unexpected column{'s' if len(unexpected) > 1 else ''} {some}")
    problems += [f"column {shown(column)} stands more than once" for column in repeated[:5]]
    return problems


def _alike(column: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that looks like a column under another spelling."""
    spelled = {_spelling(candidate): candidate for candidate in candidates}
    close = difflib.get_close_matches(_spelling(column), list(spelled), n=1, cutoff=0.75)
    prefixed = [spelling for spelling in spelled if spelling.startswith(_spelling(column) + " ")]
    return spelled[(close or prefixed)[0]] if close or prefixed else None


def _spelling(name: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", name.lower()))


# Parquet


def _read_parquet(path: Path, columns: Sequence[Column]) -> Iterator[Batch]:
    try:
        with pa.parquet.ParquetFile(path) as file:
            _check_schema(path.name, file.schema_arrow, columns)
            first = 1
            for batch in file.iter_batches(BATCH_ROWS, columns=[column.name for column in columns], use_threads=False):
                ordered = batch.select([column.name for column in columns])
                yield Batch(ordered, partial(np.add, first))
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{path.name}: the Parquet data are damaged or cut off ({error}); upload it again") from error


def _check_schema(name: str, schema: pa.Schema, columns: Sequence[Column]) -> None:
    _check_header(name, schema.names, columns)
    for column in columns:
        kind = schema.field(column.name).type
        if not accepts(column.type, kind):
            raise FileError(f"{name}: column '{column.name}' has the Parquet type {kind}; expected {column.type}")


# Parts


class PartWriter:
    """Writes rows as part-00000.csv, part-00001.csv, ... of at most `rows_per_part` rows each."""

    def __init__(self, folder: Path, suffix: str, rows_per_part: int, header: bytes = b"") -> None:
        self._folder, self._suffix, self._header = folder, suffix, header
        self._rows_per_part, self._rows, self._part = rows_per_part, 0, -1
        self._file: BinaryFile | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def room(self) -> int:
        """Rows that still fit into the part."""
        return self._rows_per_part - self._rows if self._file else self._rows_per_part

    def write(self, rows: int, data: bytes | memoryview) -> None:
        """Write rows that fit into the part; the next ones start a new part when it is full."""
        if self._file is None:
            self._part += 1
            self._rows = 0
            self._file = (self._folder / f"part-{self._part:05d}{self._suffix}").open("wb")
            self._file.write(self._header)
        self._file.write(data)
        self._rows += rows
        if self._rows >= self._rows_per_part:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
