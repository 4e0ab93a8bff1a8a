"""Reading a CSV file in batches of text fields: RFC 4180, comma, header line, UTF-8 with or without byte order mark.

Rows of another length than the header are handed on, for the quarantine. What cannot be read as a whole raises
FileError, and so does a quotation mark that hides rows inside a field: they would be lost without anyone noticing.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from perennial.contract import Column
from perennial.header import FileError, check_header, reason
from perennial.text_values import from_text

BLOCK_BYTES = 2 << 20  # read at once; no row may be longer
MAX_RAGGED_ROWS = 100_000  # a file with more rows of another length is no table of this shape
MAX_EXPANSION, EXPANDED_BYTES = 200, 256 << 20  # gzip packs tables up to 50 times; beyond both it is no table
PARQUET, BOM = b"PAR1", codecs.BOM_UTF8
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


@dataclass
class _Ragged:
    """Collects the rows that Arrow skips because of their length."""

    columns: int
    waiting: list[RaggedRow] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    unclosed: int = 0  # number of a row that has swallowed others

    def skip(self, row: pa.csv.InvalidRow) -> str:
        if "\n" in row.text and row.text.count('"') % 2:
            self.unclosed = row.number
        if len(self.numbers) == MAX_RAGGED_ROWS or self.unclosed:
            return "error"
        self.numbers.append(row.number)
        self.waiting.append(RaggedRow(row.number, row.actual_columns, row.text[:200]))
        return "skip"

    def take(self) -> tuple[RaggedRow, ...]:
        taken = tuple(self.waiting)
        self.waiting.clear()
        return taken


def read_csv(name: str, open_file: Callable[[], BinaryFile], columns: Sequence[Column]) -> Iterator[Batch]:
    try:
        with open_file() as file:
            head = file.read(BLOCK_BYTES)
        if not head:
            return
        header = _header(name, head)
        check_header(name, header, columns)
        if b"\n" not in head and b"\r" not in head:
            return  # a header and nothing else, which Arrow takes for no CSV
        with open_file() as file:
            yield from _batches(_TextFile(name, file, open_file), header, columns)
    except _DAMAGED_GZIP as error:
        problem = f"the gzip data are damaged or cut off ({reason(error)}); upload the file again"
        raise FileError(f"{name}: {problem}") from error


def _batches(file: _TextFile, header: Sequence[str], columns: Sequence[Column]) -> Iterator[Batch]:
    names = [column.name for column in columns]
    in_file_order = sorted(columns, key=lambda column: header.index(column.name))
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
        for table in reader:
            batch = Batch(table, _numbering(first, ragged.numbers), ragged.take())
            if file.has_quotes:
                _check_hidden_rows(file.name, batch, in_file_order)
            yield batch
            first += table.num_rows
    except pa.ArrowInvalid as error:
        raise _csv_error(file.name, error, ragged) from error
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


def _csv_error(name: str, error: Exception, ragged: _Ragged) -> FileError:
    """Say in the words of the file's owner why Arrow gave up."""
    if ragged.unclosed:
        return _unclosed(name, ragged.unclosed)
    if len(ragged.numbers) == MAX_RAGGED_ROWS:
        return FileError(
            f"{name}: more than {MAX_RAGGED_ROWS:,} rows have another number of fields than the header "
            f"({ragged.columns}), the first is row {ragged.numbers[0]}"
        )
    return FileError(
        f"{name}: not readable as CSV: a row is longer than {BLOCK_BYTES >> 20} MiB. "
        f"Usually a quotation mark is not closed ({reason(error)})"
    )


def _check_hidden_rows(name: str, batch: Batch, in_file_order: Sequence[Column]) -> None:
    """Raise FileError when a field holds a line that reads as a row: its quotation mark is not closed in its place."""
    for column in in_file_order:
        texts = batch.table[column.name]
        with_lines = np.flatnonzero(pc.match_substring_regex(texts, r"[\r\n]").to_numpy(zero_copy_only=False))
        for position in with_lines.tolist():
            lines = texts[position].as_py().replace("\r", "\n").split("\n")
            if any(_reads_as_row(line, in_file_order) for line in lines[1:]):
                raise _unclosed(name, int(batch.row_numbers(np.array([position]))[0]))


def _reads_as_row(line: str, in_file_order: Sequence[Column]) -> bool:
    """Whether a line has a field for each column, and a value where the column is no text."""
    fields = line.split(",")
    if len(fields) != len(in_file_order):
        return False
    typed = [(column.type, text) for column, text in zip(in_file_order, fields, strict=True) if column.type != "string"]
    return bool(typed) and all(from_text(kind, pa.array([text])).values.null_count == 0 for kind, text in typed)


def _unclosed(name: str, row: int) -> FileError:
    return FileError(f"{name}: row {row}: a quotation mark is not closed; the rows after it are lost in one field")


class _TextFile:
    """What Arrow reads a CSV file through: refuses bytes that are not UTF-8, saying where they are, and zero bytes.

    Arrow would name no place, passes over a broken row whose bytes cannot be decoded, and takes a zero byte for text.
    """

    closed = False

    def __init__(self, name: str, file: BinaryFile, open_file: Callable[[], BinaryFile]) -> None:
        self.name, self.has_quotes = name, False
        self._file, self._open_file = file, open_file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._position = 0
        self._most = max(EXPANDED_BYTES, MAX_EXPANSION * os.fstat(file.fileno()).st_size)

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        pending = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise self._refusal(self._position - pending + error.start) from error
        if b"\0" in block:
            raise _no_text(self.name)
        self._position += len(block)
        if self._position > self._most:
            expanded = f"the gzip data expand to more than {MAX_EXPANSION} times their size"
            raise FileError(f"{self.name}: {expanded}; upload the file plain")
        self.has_quotes = self.has_quotes or b'"' in block
        return block

    def _refusal(self, position: int) -> FileError:
        with self._open_file() as file:
            line = 1
            for start in range(0, position, BLOCK_BYTES):
                line += file.read(min(BLOCK_BYTES, position - start)).count(b"\n")
            byte = file.read(1)
        return FileError(
            f"{self.name}: not UTF-8: byte {byte!r} at position {position} (line {line}). "
            "Save the file as UTF-8 and upload it again"
        )


def _no_text(name: str) -> FileError:
    return FileError(f"{name}: this is no text (it holds zero bytes); expected CSV in UTF-8 (also gzip) or Parquet")


def _header(name: str, head: bytes) -> list[str]:
    """Return the names in the first line."""
    for magic, what in OTHER_FORMATS.items():
        if head.startswith(magic):
            raise FileError(f"{name}: this is {what}; expected CSV in UTF-8 (also gzip) or Parquet")
    if head.startswith(PARQUET):
        raise FileError(f"{name}: this is Parquet inside gzip; upload the Parquet file as it is")
    if b"\0" in head:
        raise _no_text(name)
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(head.removeprefix(BOM))
    try:
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise FileError(f"{name}: the header line is not readable as CSV ({reason(error)})") from error
