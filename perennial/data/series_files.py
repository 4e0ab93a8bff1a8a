"""Reading series in DeepAR's JSON lines: one series a line, of which each period becomes a row.

    {"item_id": "CEU1021210001", "start": "1985-01-01 00:00:00", "target": [192.3, "NaN", 190.1], "cat": [0],
     "dynamic_feat": [[20, 21, 22]]}

`start` has no time zone; a missing value is null or "NaN"; `cat` has the numbers of categories, from 0, or their names;
each list of `dynamic_feat` has a value for each value of the target. `item_id`, or the name of the key's column, says
which series it is: DeepAR does not read it. Without one its start, its categories and its first values tell it. Fields
of the names of other columns hold for all rows of a series. Source: SageMaker Developer Guide, "DeepAR Input/Output
Interface".

A line that is no such series is handed on as a whole, for the quarantine; row numbers are those of lines.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from perennial.data.csv_files import Batch, UnreadableRow
from perennial.data.file_form import FileForm
from perennial.data.header import FileError
from perennial.data.json_lines_files import typed
from perennial.data.periods import Periods
from perennial.data.series_form import SeriesForm
from perennial.data.text_files import BLOCK_BYTES, Opener, TextFile
from perennial.features.column import Column
from perennial.features.json_text import RefusedJsonError, decode
from perennial.words import quoted

ITEM_ID = "item_id"
FIELDS = ("start", "target", "cat", "dynamic_feat", ITEM_ID)
MAX_LINE = 64 << 20  # bytes
ROWS_AT_ONCE = 50_000
FIRST_VALUES = 24  # first values of a series without an id
_BEGINS = re.compile(rb'"(target|cat|dynamic_feat)"\s*:\s*\[')
_START = re.compile(r"(?!0000)\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?")
NO_ID = (
    f"series without {ITEM_ID} are told by their start, their categories and their first values: one that is dropped "
    "again with other first values is another series"
)


NO_OBJECT = "the line is no JSON object"


class SeriesError(ValueError):
    """A line is no series; the text says why."""


def holds_series(begin: bytes, form: FileForm) -> bool:
    """Return whether a text that begins so has a series on each line, and not a row."""
    return form.series is not None and _BEGINS.search(begin) is not None


def read_series(
    name: str, open_file: Opener, columns: Sequence[Column], form: FileForm, notes: list[str]
) -> Iterator[Batch]:
    """Yield the points of all series of a file in batches. Raises FileError, which begins with `name`."""
    if form.series is None:
        raise ValueError("the definition has no series")
    reader = SeriesReader(columns, form.series)
    with open_file() as file:
        for number, line, is_open in _lines(TextFile(name, file, form)):
            problem = reader.add(number, line)
            if is_open and problem == NO_OBJECT:
                what = f"line {number}: the last line has no line end and is no JSON object, so the file is cut off"
                raise FileError(f"{name}: {what}; upload it again, or end its last line")
            if reader.rows >= ROWS_AT_ONCE:
                yield reader.batch()
    yield reader.batch()
    notes += [NO_ID] if reader.lacks_ids else []


def _lines(file: TextFile) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the lines that are not blank: their numbers, and whether it is a last one without a line end."""
    number, rest = 1, b""
    while block := file.read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > MAX_LINE:
            raise FileError(f"{file.name}: line {number + len(lines)} is longer than {MAX_LINE >> 20} MiB")
        yield from ((number + place, line, False) for place, line in enumerate(lines) if line.strip())
        number += len(lines)
    if rest.strip():
        yield number, rest, True


class SeriesReader:
    """Takes in lines, and gives their points as a batch.

    ahead  how many more values than the target each number has that is a feature: as many periods as are forecast,
           where the series is asked about; these periods have no value
    """

    def __init__(self, columns: Sequence[Column], form: SeriesForm, ahead: int = 0) -> None:
        self._columns, self._form, self._periods = columns, form, Periods.of(form.frequency)
        self._ahead = ahead
        self._others = [
            column.name
            for column in columns
            if column.name not in (form.time, form.target, *dict(form.categories), *form.dynamic)
        ]
        self._line_of: dict[Any, int] = {}
        self.lacks_ids = False
        self._begin()

    def _begin(self) -> None:
        self._points: dict[str, list[Any]] = {column.name: [] for column in self._columns}
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._unreadable: list[UnreadableRow] = []
        self.rows = 0

    def add(self, number: int, line: bytes) -> str:
        """Take in a line: a series, or one that cannot be read; return what is wrong with it."""
        try:
            points = self.series(number, line)
        except SeriesError as error:
            problem = str(error)
            self._unreadable.append(UnreadableRow(number, "series", problem, line[:200].decode("utf-8", "replace")))
            return problem
        self.take(number, points)
        return ""

    def take(self, number: int, points: Mapping[str, Any]) -> None:
        """Take in the columns of a line."""
        length = len(points[self._form.target])
        for name, values in self._points.items():
            of_line = points.get(name)
            values += of_line if isinstance(of_line, list) else [of_line] * length
        self._numbers.append(np.full(length, number))
        self.rows += length

    def batch(self) -> Batch:
        """Return what has been taken in since the last one."""
        arrays = {column.name: _column(column, self._points[column.name]) for column in self._columns}
        numbers = np.concatenate([*self._numbers, np.empty(0, np.int64)])
        unreadable = tuple(self._unreadable)
        absent = frozenset(name for name, values in self._points.items() if not any(v is not None for v in values))
        self._begin()
        return Batch(pa.RecordBatch.from_pydict(arrays), lambda places: numbers[places], unreadable, absent)

    def series(self, number: int, line: bytes) -> dict[str, Any]:
        """Return the columns of a line: a list of a value for each period, or one value of all. Raises SeriesError."""
        try:
            record = decode(line.decode())
        except ValueError as error:
            raise SeriesError(str(error) if isinstance(error, RefusedJsonError) else NO_OBJECT) from error
        if not isinstance(record, dict):
            raise SeriesError(NO_OBJECT)
        known = {*FIELDS, *self._others}
        if unknown := [name for name in record if name not in known]:
            raise SeriesError(f"{quoted(unknown[0])} is no field of a series; expected {', '.join(FIELDS)}")
        form, target = self._form, self._target(record)
        start = self._start(record)
        if several := next(
            (name for name in (ITEM_ID, form.key, *self._others) if _is_several(record.get(name))), None
        ):
            raise SeriesError(f"{several} is {quoted(record[several])}, expected one value of all its rows")
        key = record.get(ITEM_ID, record.get(form.key))
        self.lacks_ids = self.lacks_ids or key is None
        key = _name_of(record, target) if key is None else key
        if (before := self._line_of.setdefault(str(key), number)) != number:
            raise SeriesError(f"series {quoted(key)} stands in line {before} already")
        length = len(target) + self._ahead
        if self._periods.is_beyond_calendar(start + self._periods.step * length):
            raise SeriesError(f"its {len(target):,} values from {record['start']} on go beyond the year 9999")
        times = self._periods.times(start + self._periods.step * np.arange(length))
        return {
            **{name: record.get(name) for name in self._others},
            form.key: key,
            form.time: times.tolist(),
            form.target: target + [None] * self._ahead,
            **self._categories(record),
            **self._dynamic(record, length),
        }

    def _target(self, record: Mapping[str, Any]) -> list[Any]:
        target = record.get("target")
        if not isinstance(target, list) or not target:
            raise SeriesError("target is no list of numbers")
        return [None if value == "NaN" else value for value in target]

    def _start(self, record: Mapping[str, Any]) -> int:
        """Return the unit of the first value."""
        text = record.get("start")
        if text is None:
            raise SeriesError("start is missing: the time of the first value, such as 2009-11-01 00:00:00")
        try:
            time = np.datetime64(text, "us") if isinstance(text, str) and _START.fullmatch(text) else None
        except ValueError:
            time = None
        if time is None:
            raise SeriesError(f"start {quoted(text)} is no time such as 2009-11-01 00:00:00, without a time zone")
        if not self._periods.begin(np.array([time]))[0]:
            raise SeriesError(f"start {quoted(text)} is not {self._periods.expected}")
        return int(self._periods.units(np.array([time]))[0])

    def _categories(self, record: Mapping[str, Any]) -> dict[str, Any]:
        numbers, wanted = record.get("cat", []), self._form.categories
        if not isinstance(numbers, list) or len(numbers) != len(wanted):
            names = f" ({', '.join(name for name, _ in wanted)})" if wanted else ""
            raise SeriesError(f"cat has not a number for each category column, of which there are {len(wanted)}{names}")
        for number, (name, categories) in zip(numbers, wanted, strict=True):
            if _is_several(number):
                raise SeriesError(f"cat {quoted(number)} is no category of {name}")
            if isinstance(number, bool) or (isinstance(number, int) and not 0 <= number < len(categories)):
                raise SeriesError(f"cat {number} is no category of {name}, which has {len(categories)} from 0")
        return {
            name: categories[number] if isinstance(number, int) else number
            for number, (name, categories) in zip(numbers, wanted, strict=True)
        }

    def _dynamic(self, record: Mapping[str, Any], length: int) -> dict[str, Any]:
        lists, wanted = record.get("dynamic_feat", []), self._form.dynamic
        if not isinstance(lists, list) or len(lists) != len(wanted):
            names = f" ({', '.join(wanted)})" if wanted else ""
            raise SeriesError(f"dynamic_feat has not a list for each number column, of which there are "
                              f"{len(wanted)}{names}")  # fmt: skip
        for name, values in zip(wanted, lists, strict=True):
            if not isinstance(values, list) or len(values) != length:
                size = f"{len(values):,} values" if isinstance(values, list) else "no list"
                what = "target has" if not self._ahead else "target and the periods ahead have together"
                raise SeriesError(f"dynamic_feat of {name} has {size}, and {what} {length:,}")
        return dict(zip(wanted, lists, strict=True))


def _is_several(value: Any) -> bool:
    return isinstance(value, list | dict)


def _name_of(record: Mapping[str, Any], target: Sequence[Any]) -> str:
    """Return a name for a series that has none."""
    says = json.dumps([record.get("start"), record.get("cat"), target[:FIRST_VALUES]])
    return f"series-{hashlib.blake2b(says.encode(), digest_size=6).hexdigest()}"


def _column(column: Column, values: Sequence[Any]) -> pa.StructArray:
    """Return values as reading JSON lines does (data.json_lines_files)."""
    if column.type == "timestamp":
        array = pa.array(values, pa.timestamp("us"))
        texts, invalid = array.cast(pa.string()), pa.array(np.zeros(len(values), bool))
        return pa.StructArray.from_arrays([texts, array, invalid], ["text", "value", "invalid"])
    return typed(column, values)
