"""Reading a CSV file in batches of text fields: RFC 4180 with a header line; the delimiter is found in that line.

Rows of another length than the header are handed on, for the quarantine. What cannot be read as a whole raises
FileError, and so does a quotation mark that hides rows inside a field: they would be lost without anyone noticing. A
file that ends inside quotes is torn: a last row of no file (END) is then none, but a part of a field. So is one whose
last row has no line end and too few fields.

A row without quotation marks ends where its line does, so that all cores read the blocks of a file. From the first such
mark on Arrow's own reader goes on, block by block, which finds the end of a row by reading it. Either way a batch has
the rows that end in one block.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.data.file_form import FileForm
from perennial.data.header import FileError, positions, reason
from perennial.data.in_order import in_order
from perennial.data.text_files import Opener, TextFile
from perennial.features.column import Column
from perennial.features.column_names import match
from perennial.features.from_text import from_text

BLOCK_BYTES = 4 << 20  # read at once; no row may be longer. Half of it takes a tenth more time, twice of it too
MAX_RAGGED_ROWS = 100_000  # a file with more rows of another length is no table of this shape
DELIMITERS = ",;\t|"
END = "\0"  # what no text of a file holds


@dataclass(frozen=True)
class UnreadableRow:
    """A line that cannot be read as a row of the table: the rule that it breaks, and what is wrong with it."""

    row: int
    rule: str
    problem: str
    text: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file: the definition's columns in its order, each under its name.

    A column is an array of CSV texts; or as Parquet has it; or, of JSON, an array of structures: `text` for people,
    `value` of the column's type, and whether it is `invalid`. A column that the file does not have is in `absent`, and
    null. `whole` has the same rows with all fields of the file under the names of the file, where the form wants it: of
    JSON lines the lines.
    """

    table: pa.RecordBatch
    row_numbers: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    unreadable: tuple[UnreadableRow, ...] = ()
    absent: frozenset[str] = frozenset()
    whole: pa.RecordBatch | None = None


@dataclass(frozen=True)
class _Table:
    """How the fields of a file are cut, and which of them each column is (a position; none where it is absent)."""

    delimiter: str
    header: Sequence[str]
    columns: Sequence[Column]
    positions: Mapping[str, int]
    whole: bool

    @property
    def width(self) -> int:
        return len(self.header)

    @property
    def absent(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns) - self.positions.keys()


@dataclass
class _Ragged:
    """Collects the rows that Arrow skips because of their length.

    before  rows of the file before those that Arrow reads
    """

    columns: int
    before: int = 0
    waiting: list[UnreadableRow] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    unclosed: int = 0  # number of a row that has swallowed others
    torn: bool = False  # whether it is the end of the file that it has swallowed
    at_end: bool = False  # whether END was a row
    has_too_many: bool = False  # more than MAX_RAGGED_ROWS
    short: UnreadableRow | None = None  # the last one that has too few fields

    def skip(self, row: pa_csv.InvalidRow) -> str:
        if row.text.startswith(END):
            self.at_end = True
            return "skip"
        number = self.before + row.number
        if "\n" in row.text and row.text.count('"') % 2:
            self.unclosed, self.torn = number, row.text.find("\n") == row.text.find(f"\n{END}")
        if len(self.numbers) == MAX_RAGGED_ROWS or self.unclosed:
            self.has_too_many = not self.unclosed
            return "error"
        self.numbers.append(number)
        if not row.text.strip():  # a line of blanks
            return "skip"
        problem = f"{row.actual_columns} fields, expected {self.columns}"
        self.waiting.append(UnreadableRow(number, "fields", problem, row.text[:200]))
        self.short = self.waiting[-1] if row.actual_columns < self.columns else self.short
        return "skip"

    def add(self, other: _Ragged, before: int) -> None:
        """Take in those of some rows that were read by themselves, of which so many are before them in the file."""
        numbers = [before + number for number in other.numbers[: MAX_RAGGED_ROWS - len(self.numbers)]]
        rows = [replace(row, row=before + row.row) for row in other.waiting]
        self.has_too_many = len(numbers) < len(other.numbers) or other.has_too_many
        self.numbers += numbers
        self.waiting += [row for row in rows if numbers and row.row <= numbers[-1]]
        self.short = replace(other.short, row=before + other.short.row) if other.short else self.short

    def take(self, last: float = math.inf) -> tuple[UnreadableRow, ...]:
        """Return the rows up to a row of the file, those that were not taken before."""
        taken = tuple(row for row in self.waiting if row.row <= last)
        del self.waiting[: len(taken)]
        return taken


class _Pieces:
    """A file for Arrow, whose own thread reads ahead. What goes wrong there is kept for the thread that asks for rows.

    An error that Arrow's thread hands on may be given back by it, too, and with the error's traceback the reader, whose
    end waits for that thread: the job would never end.
    """

    closed = False

    def __init__(self, file: TextFile, first: bytes) -> None:
        self._file, self._first, self._has_ended = file, first, False
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        """Return `size` more bytes of UTF-8, none after an error; first what was read before."""
        if self.error is None and not self._has_ended:
            try:
                first, self._first = self._first, b""
                return first or self._file.read(size)
            except Exception as error:  # whatever it is, the other thread raises it
                self.error = error
        return b""

    @contextmanager
    def opened(self, **options: Any) -> Iterator[pa_csv.CSVStreamingReader]:
        """Yield a reader, and let it come to its end, also where its rows are of no use any more.

        Raises the error of the file, or pa.ArrowInvalid.
        """
        try:
            reader = pa_csv.open_csv(self, **options)
            try:
                yield reader
            finally:
                self._has_ended = True
                with suppress(pa.ArrowInvalid):
                    for _ in reader:
                        pass
        except pa.ArrowInvalid:
            if self.error is None:
                raise
        if self.error is not None:
            raise self.error


def read_csv(
    name: str, open_file: Opener, columns: Sequence[Column], form: FileForm, notes: list[str]
) -> Iterator[Batch]:
    """Yield the rows of a file in batches. Raises FileError, which begins with `name`."""
    with open_file() as file:
        text = TextFile(name, file, form, is_table=True)
        head = text.read(BLOCK_BYTES)
    if not head:
        return  # blank lines
    try:
        table = _table(name, head.decode("utf-8", "ignore"), text.separator, columns, form, notes)
    except FileError as problem:
        if undeclared := text.undeclared_utf_8():
            raise undeclared from problem
        raise
    if b"\n" not in head and b"\r" not in head:
        return  # a header and nothing else, which Arrow takes for no CSV
    with open_file() as file:
        end = f"\n{END}{table.delimiter * table.width}".encode()  # one field more than a row has
        yield from _but_a_cut_one(_batches(TextFile(name, file, form, is_table=True, end=end), table))


def _but_a_cut_one(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches, but not the last one of a file that breaks off: its last row is a part of one, and may be sound.

    Raises FileError.
    """
    before = next(batches, None)
    for batch in batches:
        if before is not None:
            yield before
        before = batch
    if before is not None:
        yield before


def _table(name: str, head: str, separator: str, columns: Sequence[Column], form: FileForm, notes: list[str]) -> _Table:
    delimiter = separator or form.delimiter or _delimiter(head, columns)
    header = _header(name, head, delimiter)
    return _Table(delimiter, header, columns, positions(name, header, columns, form, notes), form.whole)


def _delimiter(head: str, columns: Sequence[Column]) -> str:
    """Return the delimiter with which most columns stand in the header; a comma if none is better."""

    def columns_with(delimiter: str) -> int:
        try:
            return len(match(_first_line(head, delimiter), columns).positions)
        except csv.Error:
            return 0

    return max(DELIMITERS, key=columns_with)


def _header(name: str, head: str, delimiter: str) -> list[str]:
    """Return the names in the first line."""
    try:
        return _first_line(head, delimiter)
    except csv.Error as error:
        raise FileError(f"{name}: the header line is not readable as CSV ({reason(error)})") from error


def _first_line(head: str, delimiter: str) -> list[str]:
    """Return the fields of the first line. Raises csv.Error."""
    return next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])


def _batches(file: TextFile, table: _Table) -> Iterator[Batch]:
    rows, blocks = _Rows(file, table), _PlainBlocks(file)
    for parsed in in_order(partial(_parsed, table), blocks):
        yield from rows.alone(*parsed)
    if blocks.rest:
        yield from rows.streamed(blocks.rest, has_header=blocks.has_header)
    yield from rows.last()


class _PlainBlocks:
    """The rows that end in each block of a file, but for the header, as long as no quotation mark may hide their ends.

    rest  what has been read of the others
    """

    def __init__(self, file: TextFile) -> None:
        self._file, self.rest, self.has_header = file, b"", True
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        cut, block = b"", self._read()
        while block:
            end = _end_of_rows(block)
            if self._file.has_quotes or not end or (self.has_header and b"\n" not in block):
                self.rest = cut + block
                return
            following = self._read()
            rows = b"".join((cut, memoryview(block)[: end if following else None]))  # the last row needs no line end
            yield rows[rows.index(b"\n") + 1 :] if self.has_header else rows
            cut, block, self.has_header = block[end:], following, False
        if self._error:
            raise self._error

    def _read(self) -> bytes:
        """Return the next block; what goes wrong waits until the rows before it have been used."""
        if self._error is None:
            try:
                return self._file.read(BLOCK_BYTES)
            except Exception as error:
                self._error = error
        return b""


def _end_of_rows(block: bytes) -> int:
    """Return where the last row ends that ends in a block; 0 where none does, or not as lines end today."""
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n") + block.endswith(b"\r"):
        return 0
    return len(block) if block.endswith(b"\r") else block.rfind(b"\n") + 1


def _parsed(table: _Table, rows: bytes) -> tuple[pa.RecordBatch, _Ragged]:
    """Return whole rows without quotation marks, and those of another length; too many of these end it."""
    ragged = _Ragged(table.width)
    options = _options(table, ragged, has_header=False, has_quotes=False, block_size=len(rows) + 1)
    try:
        fields = pa_csv.read_csv(pa.BufferReader(rows), **options).to_batches() if rows else []
    except pa.ArrowInvalid:
        if not ragged.has_too_many:
            raise
        fields = []
    return fields[0] if fields else _no_fields(table), ragged


def _no_fields(table: _Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in _wanted(table)})


def _wanted(table: _Table) -> list[str]:
    """Return the positions of the fields that are read."""
    return [str(position) for position in (range(table.width) if table.whole else sorted({*table.positions.values()}))]


def _options(table: _Table, ragged: _Ragged, *, has_header: bool, has_quotes: bool, block_size: int) -> dict[str, Any]:
    """Return how Arrow reads rows: columns are named by their positions, and all are texts."""
    wanted = _wanted(table)
    return {
        # Only the serial reader numbers the rows that it skips. The header line is a row as well.
        "read_options": pa_csv.ReadOptions(
            column_names=[str(position) for position in range(table.width)],
            skip_rows_after_names=int(has_header),
            block_size=block_size,
            use_threads=False,
        ),
        "parse_options": pa_csv.ParseOptions(
            delimiter=table.delimiter,
            quote_char='"' if has_quotes else False,
            newlines_in_values=has_quotes,
            invalid_row_handler=ragged.skip,
        ),
        "convert_options": pa_csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.string()),
            include_columns=wanted,
            strings_can_be_null=False,
            check_utf8=False,  # TextFile has
        ),
    }


class _Rows:
    """Makes batches of the rows of a file, and knows where in it they stand."""

    def __init__(self, file: TextFile, table: _Table) -> None:
        self._file, self._table, self._ragged = file, table, _Ragged(table.width)
        self._first = 0  # ordinal of the next sound row

    @property
    def _last_row(self) -> int:
        """Number of the last row that has been read; the header is row 1."""
        return 1 + self._first + len(self._ragged.numbers)

    def alone(self, fields: pa.RecordBatch, ragged: _Ragged) -> Iterator[Batch]:
        """Yield the rows of a block that was read by itself, if any are sound. Raises FileError."""
        self._ragged.add(ragged, self._last_row)
        if self._ragged.has_too_many:
            raise _too_many(self._file.name, self._ragged)
        if fields.num_rows:
            yield replace(self._batch(fields), unreadable=self._ragged.take())

    def streamed(self, read: bytes, *, has_header: bool) -> Iterator[Batch]:
        """Yield the rows of what has been read and of all that follows. Raises FileError."""
        file, ragged = self._file, self._ragged
        ragged.before = 0 if has_header else self._last_row
        options = _options(self._table, ragged, has_header=has_header, has_quotes=True, block_size=BLOCK_BYTES)
        try:
            with _Pieces(file, read).opened(**options) as reader:
                for fields in reader:
                    batch = self._batch(fields)
                    if fields.num_rows:  # Arrow may have read more of the file by now, or not
                        last = int(batch.row_numbers(np.array([fields.num_rows - 1]))[0])
                        batch = replace(batch, unreadable=ragged.take(last))
                    if file.has_quotes:
                        _check_hidden_rows(file.name, batch, self._table)
                    yield batch
        except pa.ArrowInvalid as error:
            raise _csv_error(file.name, error, ragged) from error

    def last(self) -> Iterator[Batch]:
        """Yield what is left when all has been read. Raises FileError: the file is cut off."""
        file, ragged = self._file, self._ragged
        if file.has_quotes and not ragged.at_end:
            raise _torn(file.name, self._last_row)
        if file.is_open and ragged.short and ragged.short.row == self._last_row:
            raise _cut_off(file.name, ragged.short)
        if ragged.waiting:
            yield replace(self._batch(_no_fields(self._table)), unreadable=ragged.take())

    def _batch(self, fields: pa.RecordBatch) -> Batch:
        table = self._table
        whole = pa.RecordBatch.from_arrays(fields.columns, names=list(table.header)) if table.whole else None
        numbering = _numbering(self._first, self._ragged.numbers)
        self._first += fields.num_rows
        return Batch(_under_names(fields, table), numbering, absent=table.absent, whole=whole)


def _under_names(fields: pa.RecordBatch, table: _Table) -> pa.RecordBatch:
    """Return the fields of each column under its name; a column that is absent is null."""
    absent = pa.nulls(fields.num_rows, pa.string())
    positions = {column.name: table.positions.get(column.name) for column in table.columns}
    return pa.RecordBatch.from_pydict(
        {name: absent if position is None else fields.column(str(position)) for name, position in positions.items()}
    )


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
        return _torn(name, ragged.unclosed) if ragged.torn else _unclosed(name, ragged.unclosed)
    if ragged.has_too_many:
        return _too_many(name, ragged)
    return FileError(
        f"{name}: not readable as CSV: a row is longer than {BLOCK_BYTES >> 20} MiB. "
        f"Usually a quotation mark is not closed ({reason(error)})"
    )


def _too_many(name: str, ragged: _Ragged) -> FileError:
    return FileError(
        f"{name}: more than {MAX_RAGGED_ROWS:,} rows have another number of fields than the header "
        f"({ragged.columns}), the first is row {ragged.numbers[0]}"
    )


def _check_hidden_rows(name: str, batch: Batch, table: _Table) -> None:
    """Raise FileError when a field holds a line that reads as a row: its quotation mark is not closed in its place."""
    for column in table.columns:
        texts = batch.table.column(column.name)
        with_lines = np.flatnonzero(pc.match_substring_regex(texts, r"[\r\n]").to_numpy(zero_copy_only=False))
        for position in with_lines.tolist():
            lines = texts[position].as_py().replace("\r", "\n").split("\n")
            if any(_reads_as_row(line, table) for line in lines[1:]):
                raise _unclosed(name, int(batch.row_numbers(np.array([position]))[0]))


def _reads_as_row(line: str, table: _Table) -> bool:
    """Return whether a line has a field for each column, and a value where the column is no text."""
    fields = line.split(table.delimiter)
    if len(fields) != table.width:
        return False
    present = [column for column in table.columns if column.name in table.positions and not column.optional]
    typed = [column for column in present if column.type != "string"]
    texts = [pa.array([fields[table.positions[column.name]]]) for column in typed]
    return bool(typed) and all(
        from_text(column.type, text, column.parsing).values.null_count == 0
        for column, text in zip(typed, texts, strict=True)
    )


def _unclosed(name: str, row: int) -> FileError:
    what = "a quotation mark is not closed; the rows after it are lost in one field"
    return FileError(f"{name}: row {row}: {what}. Close it, or double it where it is a part of the text")


def _torn(name: str, row: int) -> FileError:
    return FileError(f"{name}: row {row}: the file ends inside quotation marks, so it is cut off; upload it again")


def _cut_off(name: str, row: UnreadableRow) -> FileError:
    what = f"the last row has no line end and {row.problem}, so the file is cut off"
    return FileError(f"{name}: row {row.row}: {what}; upload it again, or end its last line")
