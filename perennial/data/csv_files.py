"""Reading a CSV file in batches of text fields: RFC 4180 with a header line; the delimiter is found in that line.

Rows of another length than the header are handed on, for the quarantine. What cannot be read as a whole raises
FileError, and so does a quotation mark that hides rows inside a field: they would be lost without anyone noticing. A
file that ends inside quotes is torn: a last row of no file (END) is then none, but a part of a field. So is one whose
last row has no line end and too few fields.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.data.file_form import FileForm
from perennial.data.header import FileError, positions, reason
from perennial.data.text_files import BLOCK_BYTES, Opener, TextFile
from perennial.features.column import Column
from perennial.features.column_names import match
from perennial.features.from_text import from_text

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
    """Collects the rows that Arrow skips because of their length."""

    columns: int
    waiting: list[UnreadableRow] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    unclosed: int = 0  # number of a row that has swallowed others
    torn: bool = False  # whether it is the end of the file that it has swallowed
    at_end: bool = False  # whether END was a row
    short: UnreadableRow | None = None  # the last one that has too few fields

    def skip(self, row: pa_csv.InvalidRow) -> str:
        if row.text.startswith(END):
            self.at_end = True
            return "skip"
        if "\n" in row.text and row.text.count('"') % 2:
            self.unclosed, self.torn = row.number, row.text.find("\n") == row.text.find(f"\n{END}")
        if len(self.numbers) == MAX_RAGGED_ROWS or self.unclosed:
            return "error"
        self.numbers.append(row.number)
        if not row.text.strip():  # a line of blanks
            return "skip"
        problem = f"{row.actual_columns} fields, expected {self.columns}"
        self.waiting.append(UnreadableRow(row.number, "fields", problem, row.text[:200]))
        self.short = self.waiting[-1] if row.actual_columns < self.columns else self.short
        return "skip"

    def take(self) -> tuple[UnreadableRow, ...]:
        taken = tuple(self.waiting)
        self.waiting.clear()
        return taken


class _Pieces:
    """A file for Arrow, whose own thread reads ahead. What goes wrong there is kept for the thread that asks for rows.

    An error that Arrow's thread hands on may be given back by it, too, and with the error's traceback the reader, whose
    end waits for that thread: the job would never end.
    """

    closed = False

    def __init__(self, file: TextFile) -> None:
        self._file, self._has_ended = file, False
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        """Return `size` more bytes of UTF-8, none after an error."""
        if self.error is None and not self._has_ended:
            try:
                return self._file.read(size)
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
        yield from _batches(TextFile(name, file, form, is_table=True, end=end), table)


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
    wanted = range(table.width) if table.whole else sorted({*table.positions.values()})
    read = [str(position) for position in wanted]
    ragged = _Ragged(table.width)
    first = 0  # ordinal of the batch's first sound row
    options = {
        # Only the serial reader numbers the rows that it skips. The header line is a row as well.
        "read_options": pa_csv.ReadOptions(
            column_names=[str(position) for position in range(table.width)],
            skip_rows_after_names=1,
            block_size=BLOCK_BYTES,
            use_threads=False,
        ),
        "parse_options": pa_csv.ParseOptions(
            delimiter=table.delimiter, newlines_in_values=True, invalid_row_handler=ragged.skip
        ),
        "convert_options": pa_csv.ConvertOptions(
            column_types=dict.fromkeys(read, pa.string()), include_columns=read, strings_can_be_null=False
        ),
    }
    try:
        with _Pieces(file).opened(**options) as reader:
            for fields in reader:
                whole = pa.RecordBatch.from_arrays(fields.columns, names=list(table.header)) if table.whole else None
                numbering = _numbering(first, ragged.numbers)
                batch = Batch(_under_names(fields, table), numbering, ragged.take(), table.absent, whole)
                if file.has_quotes:
                    _check_hidden_rows(file.name, batch, table)
                yield batch
                first += fields.num_rows
    except pa.ArrowInvalid as error:
        raise _csv_error(file.name, error, ragged) from error
    last_row = 1 + first + len(ragged.numbers)
    if file.has_quotes and not ragged.at_end:
        raise _torn(file.name, last_row)
    if file.is_open and ragged.short and ragged.short.row == last_row:
        raise _cut_off(file.name, ragged.short)
    if ragged.waiting:
        nothing = pa.RecordBatch.from_pydict({column.name: pa.array([], pa.string()) for column in table.columns})
        yield Batch(nothing, _numbering(first, ragged.numbers), ragged.take())


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
    if len(ragged.numbers) == MAX_RAGGED_ROWS:
        return FileError(
            f"{name}: more than {MAX_RAGGED_ROWS:,} rows have another number of fields than the header "
            f"({ragged.columns}), the first is row {ragged.numbers[0]}"
        )
    return FileError(
        f"{name}: not readable as CSV: a row is longer than {BLOCK_BYTES >> 20} MiB. "
        f"Usually a quotation mark is not closed ({reason(error)})"
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
    return FileError(f"{name}: row {row}: a quotation mark is not closed; the rows after it are lost in one field")


def _torn(name: str, row: int) -> FileError:
    return FileError(f"{name}: row {row}: the file ends inside quotation marks, so it is cut off; upload it again")


def _cut_off(name: str, row: UnreadableRow) -> FileError:
    what = f"the last row has no line end and {row.problem}, so the file is cut off"
    return FileError(f"{name}: row {row.row}: {what}; upload it again, or end its last line")
