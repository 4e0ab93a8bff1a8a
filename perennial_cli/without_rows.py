"""Copies of data files without the rows of somebody. All that is left is the same: byte for byte, in Parquet by value.

A row is somebody's when a column of it has a value: the same text, but for blanks around it, or the same whole number
(`17`, 17, 17.0; and in a column of numbers whatever means it: `017`, `+17`, `1.7e1`). The form of a file is found from
its content, as in `data.files`. Nothing is understood beyond that: a file that is no table of the model is searched as
well, if it names the column. Memory does not grow with the rows. Needs no AWS.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.data.csv_files import BLOCK_BYTES, DELIMITERS
from perennial.data.files import GZIP
from perennial.data.header import reason
from perennial.data.parquet_files import BUFFERED, rows_at_once, widest_row
from perennial.data.text_files import DAMAGED_GZIP, MARKS, OTHER_FORMATS, PARQUET, BinaryFile
from perennial.features.grammar import utc_time
from perennial.features.parsing import PLAIN_NUMBER
from perennial.words import spelling

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0+)?")
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)  # of spreadsheets, before the header
_DAMAGES: dict[type[Exception], str] = {
    **dict.fromkeys(DAMAGED_GZIP, "the gzip data are damaged or cut off"),
    pa.ArrowException: "the Parquet data are damaged or cut off",
    UnicodeError: "this is no text in the encoding of the files, and does not begin as Parquet or gzip does",
    csv.Error: "this is not readable as CSV",
}
csv.field_size_limit(BLOCK_BYTES)

Write = Callable[[bytes], object]
Lines = Iterator[tuple[bytes, str]]


class UnreadableError(Exception):
    """Nobody can say which rows a file holds; the text says why."""


@dataclass(frozen=True)
class Wanted:
    """Whose rows are looked for.

    names        what the column may be called in files, in any spelling
    value        what stands in it
    is_a_number  whether the column is one of numbers, where other spellings mean the same
    is_an_id     whether it is the value that callers send as the id of an inference, by which its label comes
    """

    names: tuple[str, ...]
    value: str
    is_a_number: bool = False
    is_an_id: bool = False

    def among(self, header: Sequence[str]) -> list[int]:
        """Return where the column stands in a header."""
        return _among(self.names, tuple(header))

    def is_in(self, record: Any) -> bool:
        """Return whether a JSON object has the value."""
        return isinstance(record, dict) and any(self.has(record[list(record)[at]]) for at in self.among(list(record)))

    def is_told_by(self, line: dict[str, Any]) -> tuple[bool, bool]:
        """Return whether a captured request, or a label, has the value as its id, and whether it has one of its caller.

        The event id of a request is SageMaker's own; that of a label is what it belongs to.
        Source: SageMaker Developer Guide, "Capture data from real-time endpoint", "Ingest Ground Truth labels".
        """
        about = line.get("eventMetadata")
        if not self.is_an_id or not isinstance(about, dict):
            return False, False
        has_id = "captureData" not in line or bool(about.get("inferenceId"))
        return any(self.has(about.get(name)) for name in ("inferenceId", "eventId")), has_id

    def has(self, value: Any) -> bool:
        """Return whether a value of a file is the one that is looked for."""
        return value is not None and (
            _plain(value) == self._value or (self._number is not None and _number(value) == self._number)
        )

    @cached_property
    def _value(self) -> str:
        return _plain(self.value)

    @cached_property
    def _number(self) -> Decimal | None:
        return _number(self.value) if self.is_a_number else None


@lru_cache(maxsize=1000)
def _among(names: tuple[str, ...], header: tuple[str, ...]) -> list[int]:
    known = {spelling(name) for name in names}
    return [position for position, name in enumerate(header) if spelling(name) in known]


@dataclass
class Counts:
    """The counts of a file: its rows, how many of them are somebody's, and whether it names the column at all.

    nameless  the rows of a JSON file that do not name it
    others    the columns of a table that does not
    times     when the requests among them were made, in UTC to the second; None of one that does not say it
    """

    rows: int = 0
    erased: int = 0
    has_column: bool = False
    nameless: int = 0
    others: Sequence[str] = ()
    times: set[datetime | None] = field(default_factory=set)


def copy_table(source: Path, target: Path, wanted: Wanted, encoding: str = "utf-8", delimiter: str = "") -> Counts:
    """Copy a data file without the rows that are looked for. Raises UnreadableError."""

    def table(file: BinaryFile, write: Write) -> Counts:
        start = file.read(4096)
        file.seek(0)
        mark = next((mark for mark in MARKS if start.startswith(mark)), b"")
        first = start[len(mark) :].decode(MARKS.get(mark, encoding), "ignore").lstrip()
        is_json = first.startswith("{")
        if not mark and encoding == "utf-16":
            raise UnreadableError("there is no byte order mark; name utf-16-le or utf-16-be in model.yaml (files)")
        write(file.read(len(mark)))
        lines = _lines(file, MARKS.get(mark, "utf-8" if is_json else encoding), only_lf=is_json)
        if is_json:
            return _records(
                lines, write, lambda line: _either((wanted.is_in(line), bool(wanted.among(list(line)))), line, wanted)
            )
        return _csv(lines, write, wanted, delimiter)

    return _copied(source, target, table, wanted)


def copy_captures(source: Path, target: Path, wanted: Wanted, features: Sequence[str]) -> Counts:
    """Copy captured traffic without the requests that hold a row; a request is kept or left out as a whole.

    `features` are the names of the columns of a CSV request without a header. Raises UnreadableError.
    """

    def captures(file: BinaryFile, write: Write) -> Counts:
        times = set[datetime | None]()

        def judge(line: dict[str, Any]) -> tuple[bool, bool]:
            judged = _either(_asked_for(line, wanted, features), line, wanted)
            times.update([_second_of(line)] if judged[0] else [])
            return judged

        return replace(_records(_lines(file, "utf-8", only_lf=True), write, judge), times=times)

    return _copied(source, target, captures, wanted)


def _copied(source: Path, target: Path, copy: Callable[[BinaryFile, Write], Counts], wanted: Wanted) -> Counts:
    with source.open("rb") as file:
        magic = file.read(8)
    other = next((what for start, what in OTHER_FORMATS.items() if magic.startswith(start)), None)
    if other:
        raise UnreadableError(f"this is {other}")
    try:
        if magic.startswith(PARQUET):
            return _parquet(source, target, wanted)
        if magic.startswith(GZIP):
            with gzip.open(source) as packed, gzip.GzipFile(target, "wb", mtime=0) as out:
                return copy(packed, out.write)
        with source.open("rb") as plain, target.open("wb") as out:
            return copy(plain, out.write)
    except tuple(_DAMAGES) as error:
        what = next(what for kind, what in _DAMAGES.items() if isinstance(error, kind))
        raise UnreadableError(f"{what} ({reason(error)})") from error
    except OSError as error:
        if error.errno is not None:  # of this machine, as where its disk is full
            raise
        raise UnreadableError(f"{_DAMAGES[pa.ArrowException]} ({reason(error)})") from error


def _lines(file: BinaryFile, encoding: str, *, only_lf: bool = False) -> Lines:
    """Yield each line with its end, as it stands in the file and as a text."""
    wide = encoding.startswith("utf-16")  # a byte of a line feed may be half of a character
    decoder = codecs.getincrementaldecoder(encoding)()
    text_encoding = "utf-8" if wide else encoding
    rest, at_end = b"", False
    while not at_end:
        block = file.read(BLOCK_BYTES)
        at_end = not block
        rest += decoder.decode(block, at_end).encode() if wide else block
        lines = re.findall(rb"[^\n]*\n|[^\n]+\Z", rest) if only_lf else rest.splitlines(keepends=True)
        rest = b"" if at_end or not lines else lines.pop()  # the last one may go on
        if len(rest) > 2 * BLOCK_BYTES:
            raise UnreadableError(f"a line is longer than {BLOCK_BYTES >> 20} MiB")
        for line in lines:
            text = line.decode(text_encoding)
            yield (text.encode(encoding) if wide else line), text


def _csv(lines: Lines, write: Write, wanted: Wanted, delimiter: str) -> Counts:
    counts, taken = Counts(), list[tuple[bytes, str]]()

    def texts() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line[1]

    first = next(texts(), "")
    while taken and (not first.strip() or _SEPARATOR_LINE.fullmatch(first)):
        separator = _SEPARATOR_LINE.fullmatch(first)
        delimiter = separator[1] if separator else delimiter
        write(taken.pop()[0])
        first = next(texts(), "")
    marks = delimiter or DELIMITERS
    delimiter = next((mark for mark in marks if wanted.among(next(csv.reader([first], delimiter=mark), []))), "")
    if not delimiter:
        counts.others = max((next(csv.reader([first], delimiter=mark), []) for mark in marks), key=len)
        return counts
    header = next(csv.reader([first], delimiter=delimiter))
    positions, counts.has_column = wanted.among(header), True
    write(taken.pop()[0])
    for fields in csv.reader(texts(), delimiter=delimiter):
        if len(taken) > 1:
            _require_one_row(counts.rows + 2, fields, [text for _, text in taken], header, delimiter)
        counts.rows += bool(fields)
        if any(at < len(fields) and wanted.has(fields[at]) for at in positions):
            counts.erased += 1
        else:
            write(b"".join(line for line, _ in taken))
        taken.clear()
    return counts


def _require_one_row(row: int, fields: Sequence[str], lines: Sequence[str], header: Sequence[str], mark: str) -> None:
    """Raise UnreadableError when lines that quotation marks hold together may be several rows."""
    inside = [line for line in lines[1:] if '"' not in line]
    if len(fields) != len(header) or any(line.count(mark) == len(header) - 1 > 0 for line in inside):
        raise UnreadableError(f"row {row}: a quotation mark is not closed in its place, so that rows are inside it")


def _records(lines: Lines, write: Write, judge: Callable[[dict[str, Any]], tuple[bool, bool]]) -> Counts:
    """Leave out the lines of JSON that are judged to be wanted; what is no object is no row and stays."""
    counts = Counts()
    for line, text in lines:
        record = _json(text)
        is_row = isinstance(record, dict)
        is_wanted, has_column = judge(record) if is_row else (False, False)
        counts.rows, counts.erased = counts.rows + is_row, counts.erased + is_wanted
        counts.has_column = counts.has_column or has_column
        counts.nameless += is_row and not has_column
        if not is_wanted:
            write(line)
    return counts


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _either(judged: tuple[bool, bool], line: dict[str, Any], wanted: Wanted) -> tuple[bool, bool]:
    """Return what is judged of a record, or what its id says."""
    is_told, has_id = wanted.is_told_by(line)
    return judged[0] or is_told, judged[1] or has_id


def _second_of(line: dict[str, Any]) -> datetime | None:
    """Return when a captured request was made, to the second, in which windows are counted."""
    about = line.get("eventMetadata")
    time = utc_time(str(about.get("inferenceTime"))) if isinstance(about, dict) else None
    return time and time.replace(microsecond=0)


def _asked_for(line: dict[str, Any], wanted: Wanted, features: Sequence[str]) -> tuple[bool, bool]:
    """Return whether a captured request holds such a row, and whether it has the column at all.

    Source: SageMaker Developer Guide, "Capture data from real-time endpoint".
    """
    capture = (line.get("captureData") or {}).get("endpointInput") or {}
    data = capture.get("data")
    if not isinstance(data, str):
        return _in_records([data], wanted)
    if capture.get("encoding") == "BASE64":
        try:
            data = base64.b64decode(data).decode("utf-8", "replace")
        except binascii.Error as error:
            raise UnreadableError("a captured request is not in base 64, as its line says") from error
    if data.lstrip().startswith(("{", "[")):
        whole = _json(data)
        parts = [whole] if whole is not None else [_json(part) for part in data.splitlines()]
        return _in_records([record for part in parts for record in _instances(part)], wanted)
    rows = list(csv.reader(data.splitlines(keepends=True)))
    positions = wanted.among(rows[0]) if rows else []
    positions = positions or wanted.among(features)
    return any(at < len(row) and wanted.has(row[at]) for row in rows for at in positions), bool(positions)


def _in_records(records: Sequence[Any], wanted: Wanted) -> tuple[bool, bool]:
    named = any(isinstance(record, dict) and wanted.among(list(record)) for record in records)
    return any(wanted.is_in(record) for record in records), named


def _instances(part: Any) -> list[Any]:
    if isinstance(part, dict) and isinstance(part.get("instances"), list):
        return list(part["instances"])
    return part if isinstance(part, list) else [part]


def _parquet(source: Path, target: Path, wanted: Wanted) -> Counts:
    with pq.ParquetFile(source, **BUFFERED) as file:
        schema, names = file.schema_arrow, file.schema_arrow.names
        positions = wanted.among(names)
        counts = Counts(file.metadata.num_rows, has_column=bool(positions))
        if not positions:
            return replace(counts, others=names)
        at_once = rows_at_once(widest_row(file, names))
        packing = file.metadata.row_group(0).column(0).compression if file.metadata.num_row_groups else "SNAPPY"
        with pq.ParquetWriter(target, schema, compression="NONE" if packing == "UNCOMPRESSED" else packing) as writer:
            for batch in file.iter_batches(at_once, use_threads=False):
                left_out = pa.array([False] * batch.num_rows)
                for position in positions:
                    left_out = pc.or_(left_out, _has(batch.column(position), wanted))
                counts.erased += pc.sum(left_out).as_py() or 0
                writer.write_batch(batch.filter(pc.invert(left_out)))
    return counts


def _has(values: pa.Array, wanted: Wanted) -> pa.BooleanArray:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    distinct = pc.unique(values)
    alike = pa.array([wanted.has(value.as_py()) for value in distinct], pa.bool_())
    return pc.is_in(values, value_set=distinct.filter(alike))


def _number(value: Any) -> Decimal | None:
    """Return the number that a value means to the data contract, or None."""
    text = _text(value).lower()
    return Decimal(text) if PLAIN_NUMBER.fullmatch(text) else None


def _plain(value: Any) -> str:
    """Return a value in the one form in which those of all kinds of files compare."""
    text = _text(value)
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
