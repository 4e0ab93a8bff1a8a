"""Reading a CSV file in batches of text fields: RFC 4180 with a header line; the delimiter is found in that line.

Rows of another length than the header are handed on, for the quarantine. What cannot be read as a whole raises
FileError, and so does a quotation mark that hides rows inside a field: they would be lost without anyone noticing. A
file that ends inside quotes is torn: a last row of no file (END) is then none, but a part of a field. So is one whose
last row has no line end and too few fields.

All cores read the blocks of a file: where a row ends follows from how many quotation marks are before it, as long as
each that opens a field is the first of it (RFC 4180). Anything else, also a file that is none to the end, has Arrow's
own reader go on from that block, one core alone, which finds the end of a row by reading it. Either way a batch has the
rows that end in one block.
"""

from __future__ import annotations

import csv
import errno
import gzip
import math
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.data.file_form import FileForm
from perennial.data.header import FileError, positions, reason
from perennial.data.in_order import in_order, until_error
from perennial.data.text_files import BinaryFile, Opener, TextFile
from perennial.features.column import Column
from perennial.features.column_names import match
from perennial.features.from_text import from_text
from perennial.features.values import holds

BLOCK_BYTES = 6 << 20  # read at once, at most; no row may be longer. Two thirds of it take a twentieth more time
# Memory holds fields rather than their bytes. Hashes and the like are as many more to each row; less than a sixth of
# the bytes is not worth the work that is done once for each block.
FIELDS_AT_ONCE, FIELDS_OF_NO_COLUMN, LEAST_SHARE = 1_400_000, 8, 6
HEAD_BYTES = 64 << 10  # that are looked at for the header first; the first rows would wait for more
MAX_RAGGED_ROWS = 100_000  # a file with more rows of another length is no table of this shape
DELIMITERS = ",;\t|"
_LINES = re.compile(r"[^\r\n]*(?:\r\n|[\r\n])|[^\r\n]+")  # the ones that are needed, of a long text
END = "\0"  # what no text of a file holds
MARK = ord('"')
MOST_MARKS = 100_000  # behind the last whole row of a block; with more the file is read by one core

Made = TypeVar("Made")


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

    def without_fields(self) -> Batch:
        """Return a batch of as many rows that says nothing of them: fields are most of what memory holds of a file."""
        return replace(self, table=pa.RecordBatch.from_arrays([pa.nulls(self.table.num_rows)], [""]), whole=None)


# What is done with a batch: returns it, perhaps without its fields, and what is made of it.
Work = Callable[[Batch], tuple[Batch, Made]]


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
        """Return about `size` more bytes of UTF-8, none after an error; first what was read before.

        Of a line end in two characters Arrow passes over the second one where a block begins, also inside quotation
        marks. So the first waits for it.
        """
        if self.error is None and not self._has_ended:
            try:
                block, self._first = self._first or self._file.read(size), b""
                if block.endswith(b"\r") and (following := self._file.read(size)):
                    block, self._first = block[:-1], b"\r" + following
            except Exception as error:  # whatever it is, the other thread raises it
                self.error = error
            else:
                return block
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
    name: str,
    open_file: Opener,
    columns: Sequence[Column],
    form: FileForm,
    notes: list[str],
    work: Work[Made],
) -> Iterator[tuple[Batch, Made]]:
    """Yield what work returns for the rows of a file, in batches; any core does it, before rows have their numbers.

    Raises FileError, which begins with `name`.
    """
    with open_file() as file:
        text = TextFile(name, file, form, is_table=True)
        head = text.read(HEAD_BYTES)
        if not _has_plain_header(head):
            head += text.read(BLOCK_BYTES - len(head))
        if not head:
            return  # blank lines
        try:
            table = _table(name, head.decode("utf-8", "ignore"), text.separator, columns, form, notes)
        except FileError as problem:
            text.read(BLOCK_BYTES - len(head))  # what is no text at all is told as that
            if undeclared := text.undeclared_utf_8():
                raise undeclared from problem
            raise
    if b"\n" not in head and b"\r" not in head:
        return  # a header and nothing else, which Arrow takes for no CSV
    begin = None if isinstance(file, gzip.GzipFile) or not text.is_utf_8 else text.passed_over
    block_bytes = _block_bytes(head, table.width)
    yield from _but_a_cut_one(_batches(_CsvFile(name, open_file, form, table, begin, block_bytes), work))


def _block_bytes(head: bytes, width: int) -> int:
    """Return how many bytes of a file are read at once: those of FIELDS_AT_ONCE fields, as its first rows have them.

    Beside its fields a row has hashes. One that is longer than a block is read in the order of the file, by one core.
    """
    begin = head.find(b"\n") + 1
    bytes_of_row = (len(head) - begin) / max(1, head.count(b"\n", begin))
    by_fields = FIELDS_AT_ONCE / (width + FIELDS_OF_NO_COLUMN) * bytes_of_row
    return int(max(BLOCK_BYTES // LEAST_SHARE, min(BLOCK_BYTES, by_fields)))


def _has_plain_header(head: bytes) -> bool:
    """Return whether a text has its first line in it, and no quotation marks there, so that nothing of it is behind."""
    line = head.find(b"\n")
    return line > 0 and b'"' not in head[:line]


def _but_a_cut_one(batches: Iterator[tuple[Batch, Made]]) -> Iterator[tuple[Batch, Made]]:
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
    lines = (line[0] for line in _LINES.finditer(head))
    return next(csv.reader(lines, delimiter=delimiter), [])


@dataclass(frozen=True)
class _CsvFile:
    """A file, how it is cut, and how many bytes of it are read at once.

    begin  where its header begins in it; None: its bytes are not those of its text in UTF-8
    """

    name: str
    open: Opener
    form: FileForm
    table: _Table
    begin: int | None
    block_bytes: int

    def text(self, file: BinaryFile, end: bytes = b"") -> TextFile:
        return TextFile(self.name, file, self.form, is_table=True, end=end)

    def rest(self, file: BinaryFile, used: int) -> tuple[TextFile, bytes]:
        """Return the text behind some bytes of it, and what is read of it by then: the rest of a block."""
        end = f"\n{END}{self.table.delimiter * self.table.width}".encode()  # one field more than a row has
        text, cut, blocks = self.text(file, end), b"", -(-used // BLOCK_BYTES)
        for number in range(blocks):
            cut = text.read(BLOCK_BYTES)[used - number * BLOCK_BYTES :]
        return text, cut


def _batches(file: _CsvFile, work: Work[Made]) -> Iterator[tuple[Batch, Made]]:
    rows, whole, used = _Rows(file), _WholeRows(file), 0
    with (
        file.open() as opened,
        closing(whole.pieces(opened)) as pieces,
        closing(in_order(partial(_read, file.table, work), pieces)) as results,
    ):
        for until, read in results:
            if read is None:
                break
            yield from rows.alone(read)
            used = until
    if used == whole.ends_at:
        yield from map(work, rows.last(is_open=whole.is_open))
        return
    with file.open() as opened:
        text, begun = file.rest(opened, used)
        yield from in_order(work, rows.streamed(text, begun, has_header=not used))


@dataclass(frozen=True)
class _Block:
    """What is known of a block of a text.

    size      its bytes
    is_plain  no line in it ends as on old machines, and no byte is zero
    is_sound  it is known to be UTF-8
    is_open   something is behind its last line end
    marks     how many quotation marks are in it
    line      where its last line ends, if it has no such marks; 0: nowhere
    header    where its first row ends, of the first block; 0: nowhere
    text      its bytes, where they are needed again: of one with quotation marks, and of what cannot be read again
    """

    size: int = 0
    is_plain: bool = True
    is_sound: bool = True
    is_open: bool = True
    marks: int = 0
    line: int = 0
    header: int = 0
    text: bytes = b""

    @classmethod
    def of(cls, text: bytes | bytearray, *, is_sound: bool, is_first: bool, is_kept: bool) -> _Block:
        marks = int(np.count_nonzero(np.frombuffer(text, np.uint8) == MARK)) if b'"' in text else 0
        return cls(
            len(text),
            b"\0" not in text and _has_usual_ends(text),
            is_sound or text.isascii(),
            not text.endswith((b"\n", b"\r")),
            marks,
            0 if marks else len(text) if text.endswith(b"\r") else text.rfind(b"\n") + 1,
            _end_of_header(text) if is_first else 0,
            bytes(text) if marks or is_kept else b"",
        )

    def end_of_rows(self, *, is_inside: bool) -> int:
        """Return where the last row ends that ends in it, given whether it ends inside quotation marks; 0: nowhere."""
        if not self.marks:
            return 0 if is_inside else self.line
        end = len(self.text)
        if not is_inside and self.text.endswith(b"\r"):
            return end
        for _ in range(min(self.marks, MOST_MARKS) + 1):
            mark = self.text.rfind(b'"', 0, end)
            if not is_inside and (line := self.text.rfind(b"\n", mark + 1, end)) >= 0:
                return line + 1
            is_inside, end = not is_inside, mark
        return 0


def _end_of_header(text: bytes | bytearray) -> int:
    """Return where the first row of a text ends; 0: it does not."""
    marks, begin = 0, 0
    while line := text.find(b"\n", begin) + 1:
        marks += text.count(b'"', begin, line)
        if marks % 2 == 0:
            return line
        begin = line
    return 0


def _has_usual_ends(text: bytes | bytearray) -> bool:
    """Return whether lines end as they do today."""
    return b"\r" not in text or text.count(b"\r") == text.count(b"\r\n") + text.endswith(b"\r")


@dataclass(frozen=True)
class _RowsOfBlock:
    """The rows that end in a block.

    rows     returns their bytes, `(n_bytes,)`
    until    where they end in the text
    header   bytes of the header line, which is before them in the first one
    """

    rows: Callable[[], npt.NDArray[np.uint8]]
    until: int
    header: int
    is_sound: bool
    has_marks: bool


class _Memory(threading.local):
    """What a thread reads bytes of a file into, again and again: new pages take longer to get than to fill."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def block(self, file: int, start: int, count: int) -> bytearray:
        """Return bytes of an open file, until this thread reads others. Raises OSError: it has no longer as many."""
        try:
            self._bytes.extend(bytes(max(0, count - len(self._bytes))))
            del self._bytes[count:]
        except BufferError:  # somebody still looks at them
            self._bytes = bytearray(count)
        _read_into(self._bytes, file, start)
        return self._bytes

    def rows(self, file: int, start: int, count: int) -> npt.NDArray[np.uint8]:
        """Return the same `(count,)`: read again, so that none wait for whoever needs them."""
        return np.frombuffer(self.block(file, start, count), np.uint8)


def _read_into(memory: bytearray | memoryview, file: int, start: int) -> None:
    if os.preadv(file, [memory], start) < len(memory):
        raise OSError(errno.EIO, "a file of the data became shorter while it was read")


def _together(*parts: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(parts), np.uint8)


class _WholeRows:
    """The rows of a file in pieces that can be read by themselves, as long as its quotation marks tell where rows end.

    ends_at  where the text ends, when these are all of its rows
    is_open  whether the last one has no line end
    """

    def __init__(self, file: _CsvFile) -> None:
        self._file, self.ends_at, self.is_open, self._memory = file, -1, False, _Memory()

    def pieces(self, opened: BinaryFile) -> Generator[_RowsOfBlock]:
        """Yield the rows that end in each block. Raises FileError when the rows before have been yielded."""
        errors: list[Exception] = []
        with closing(self._blocks(opened)) as blocks:
            rest = until_error(blocks, errors)
            begin, is_inside, before = 0, False, _Block()
            used, block = 0, next(rest, None)  # where the rows of the blocks before end
            while block:
                following = next(rest, None)
                is_inside ^= block.marks % 2 == 1
                end = block.end_of_rows(is_inside=is_inside)
                if not (following or is_inside):  # the last row needs no line end
                    end = block.size
                if not (block.is_plain and end and (begin or block.header)) or (is_inside and not following):
                    return
                if self._file.begin is None:
                    rows = partial(_together, before.text[used - begin + before.size :], block.text[:end])
                else:
                    count = begin + end - used
                    rows = partial(self._memory.rows, opened.fileno(), self._file.begin + used, count)
                is_sound, has_marks = before.is_sound and block.is_sound, bool(before.marks or block.marks)
                yield _RowsOfBlock(rows, begin + end, block.header, is_sound, has_marks)
                begin, used = begin + block.size, begin + end
                before, block = block, following
        if errors:
            raise errors[0]
        self.ends_at, self.is_open = begin, before.is_open

    def _blocks(self, opened: BinaryFile) -> Generator[_Block]:
        if self._file.begin is None:
            text, is_first = self._file.text(opened), True
            while block := text.read(self._file.block_bytes):
                yield _Block.of(block, is_sound=True, is_first=is_first, is_kept=True)
                is_first = False
            return
        number, begin = opened.fileno(), self._file.begin
        size, at_once = os.fstat(number).st_size, self._file.block_bytes

        def at(start: int) -> _Block:
            text = self._memory.block(number, start, min(at_once, size - start))
            return _Block.of(text, is_sound=False, is_first=start == begin, is_kept=False)

        with closing(in_order(at, range(begin, size, at_once))) as blocks:
            yield from blocks


@dataclass(frozen=True)
class _Read(Generic[Made]):
    """Rows that were read by themselves, and what work makes of them.

    worked_on  the rows, as yet without numbers, and what is made of them
    hiding     the first row that holds others, if one does
    """

    worked_on: tuple[Batch, Made]
    ragged: _Ragged
    hiding: int | None


def _read(table: _Table, work: Work[Made], piece: _RowsOfBlock) -> tuple[int, _Read[Made] | None]:
    """Return until where some rows go, and what was read; None: they have to be read in their order, or not at all."""
    rows = piece.rows()
    if not (piece.is_sound or _is_utf_8(rows)) or (piece.has_marks and not _is_regular(rows, table.delimiter)):
        return piece.until, None
    fields, ragged = _parsed(table, rows[piece.header :], has_quotes=piece.has_marks)
    batch = _batch(fields, table)
    return piece.until, _Read(work(batch), ragged, _hiding(batch, table) if piece.has_marks else None)


def _is_utf_8(text: npt.NDArray[np.uint8]) -> bool:
    ends = pa.array([0, len(text)], pa.int32()).buffers()[1]
    try:
        pa.StringArray.from_buffers(1, ends, pa.py_buffer(text)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_regular(rows: npt.NDArray[np.uint8], delimiter: str) -> bool:
    """Return whether every other quotation mark opens a field, or stands for one behind the one before it.

    If so, what is behind an even number of them is outside of quotation marks; else a mark may be a part of a text.
    """
    marks = np.flatnonzero(rows == MARK)
    before = rows[marks[0::2][int(len(marks) and marks[0] == 0) :] - 1]
    return len(marks) % 2 == 0 and bool(np.isin(before, np.frombuffer(f'{delimiter}\n"'.encode(), np.uint8)).all())


def _parsed(table: _Table, rows: npt.NDArray[np.uint8], *, has_quotes: bool) -> tuple[pa.RecordBatch, _Ragged]:
    """Return whole rows, and those of another length; too many of these end it."""
    ragged = _Ragged(table.width)
    options = _options(table, ragged, has_header=False, has_quotes=has_quotes, block_size=len(rows) + 1)
    try:
        fields = pa_csv.read_csv(pa.BufferReader(pa.py_buffer(rows)), **options).to_batches() if len(rows) else []
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
    """Gives batches of the rows of a file their numbers: knows where in it they stand."""

    def __init__(self, file: _CsvFile) -> None:
        self._name, self._table, self._ragged = file.name, file.table, _Ragged(file.table.width)
        self._first = 0  # ordinal of the next sound row

    @property
    def _last_row(self) -> int:
        """Number of the last row that has been read; the header is row 1."""
        return 1 + self._first + len(self._ragged.numbers)

    def alone(self, read: _Read[Made]) -> Iterator[tuple[Batch, Made]]:
        """Yield the rows of a block that was read by itself, if any are sound. Raises FileError."""
        self._ragged.add(read.ragged, self._last_row)
        if self._ragged.has_too_many:
            raise _too_many(self._name, self._ragged)
        batch, made = read.worked_on
        if batch.table.num_rows:
            batch = self._numbered(batch)
            _require_no_hidden_rows(self._name, batch, read.hiding)
            yield replace(batch, unreadable=self._ragged.take()), made

    def streamed(self, file: TextFile, begun: bytes, *, has_header: bool) -> Iterator[Batch]:
        """Yield the rows of what has been read and of all that follows. Raises FileError."""
        ragged = self._ragged
        ragged.before = 0 if has_header else self._last_row
        options = _options(self._table, ragged, has_header=has_header, has_quotes=True, block_size=BLOCK_BYTES)
        try:
            with _Pieces(file, begun).opened(**options) as reader:
                for fields in reader:
                    batch = self._numbered(_batch(fields, self._table))
                    if fields.num_rows:  # Arrow may have read more of the file by now, or not
                        last = int(batch.row_numbers(np.array([fields.num_rows - 1]))[0])
                        batch = replace(batch, unreadable=ragged.take(last))
                    _require_no_hidden_rows(self._name, batch, _hiding(batch, self._table))
                    yield batch
        except pa.ArrowInvalid as error:
            raise _csv_error(self._name, error, ragged) from error
        if file.has_quotes and not ragged.at_end:
            raise _torn(self._name, self._last_row)
        yield from self.last(is_open=file.is_open)

    def last(self, *, is_open: bool) -> Iterator[Batch]:
        """Yield what is left when all has been read. Raises FileError: the file is cut off."""
        ragged = self._ragged
        if is_open and ragged.short and ragged.short.row == self._last_row:
            raise _cut_off(self._name, ragged.short)
        if ragged.waiting:
            batch = self._numbered(_batch(_no_fields(self._table), self._table))
            yield replace(batch, unreadable=ragged.take())

    def _numbered(self, batch: Batch) -> Batch:
        numbering = _numbering(self._first, self._ragged.numbers)
        self._first += batch.table.num_rows
        return replace(batch, row_numbers=numbering)


def _batch(fields: pa.RecordBatch, table: _Table) -> Batch:
    """Return a batch of fields, whose rows have no numbers as yet."""
    whole = pa.RecordBatch.from_arrays(fields.columns, names=list(table.header)) if table.whole else None
    return Batch(_under_names(fields, table), _no_numbers, absent=table.absent, whole=whole)


def _no_numbers(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    raise ValueError("rows have their numbers when those before them have been read")


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


def _hiding(batch: Batch, table: _Table) -> int | None:
    """Return the first row a field of which holds a line that reads as a row; None: none does."""
    for column in table.columns:
        texts = batch.table.column(column.name)
        if not (holds(texts, "\n") or holds(texts, "\r")):
            continue
        with_lines = np.flatnonzero(pc.match_substring_regex(texts, r"[\r\n]").to_numpy(zero_copy_only=False))
        for position in with_lines.tolist():
            lines = texts[position].as_py().replace("\r", "\n").split("\n")
            if any(_reads_as_row(line, table) for line in lines[1:]):
                return int(position)
    return None


def _require_no_hidden_rows(name: str, batch: Batch, hiding: int | None) -> None:
    """Raise FileError when a row holds others: a quotation mark is not closed in its place."""
    if hiding is not None:
        raise _unclosed(name, int(batch.row_numbers(np.array([hiding]))[0]))


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
