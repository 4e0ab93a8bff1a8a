"""Reading a JSON lines file in batches: one object a line. A name that a line does not have is a missing value.

Values mean what they mean in requests (features.from_json). Lines that are no JSON object are handed on, for the
quarantine; blank lines are passed over. Row numbers are line numbers. A file whose first line is none is another kind
of document, such as one object on many lines: it is refused whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from json import JSONDecodeError
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.csv_files import Batch, UnreadableRow
from perennial.data.file_form import FileForm
from perennial.data.header import FileError, absence, positions
from perennial.data.text_files import BLOCK_BYTES, Opener, TextFile
from perennial.features.column import Column
from perennial.features.from_json import from_json
from perennial.features.json_text import BeyondFloat, RefusedJsonError, decode
from perennial.words import quoted

# What is remembered of sets of names and of notes: a line may have 150,000 names, others in each line.
MAX_SHAPES, MAX_NAME_BYTES = 1000, 4 << 20
NAME_BYTES = 80  # of a name beside its text, about
MAX_NOTES = 20
EXPECTED = "expected one object a record, a value under the name of each column, and one object a line (JSON lines)"
MAX_TEXT = 200  # characters of a list or an object that stands where a value is expected
NO_OBJECT = "the line is no JSON object"
Names = tuple[str, ...]


def read_json_lines(
    name: str, open_file: Opener, columns: Sequence[Column], form: FileForm, notes: list[str]
) -> Iterator[Batch]:
    """Yield the rows of a file in batches. Raises FileError, which begins with `name`."""
    shapes = _Shapes(name, columns, form)
    with open_file() as file:
        for first, lines, is_open in _lines(TextFile(name, file, form)):
            batch = shapes.batch(first, lines)
            if is_open and any(row.problem == NO_OBJECT for row in batch.unreadable):
                what = f"line {first}: the last line has no line end and is no JSON object, so the file is cut off"
                raise FileError(f"{name}: {what}; upload it again, or end its last line")
            yield batch
    notes += shapes.notes()


def _lines(file: TextFile) -> Iterator[tuple[int, list[bytes], bool]]:
    """Yield (number of the first one, some lines, whether that is a last one without a line end).

    Raises FileError when one is too long.
    """
    first, rest = 1, b""
    while block := file.read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > BLOCK_BYTES:
            raise FileError(f"{file.name}: line {first + len(lines)} is longer than {BLOCK_BYTES >> 20} MiB")
        if lines:
            yield first, lines, False
        first += len(lines)
    if rest:
        yield first, [rest], True


class _Shapes:
    """Which name is which column, for each set of names that a line has."""

    def __init__(self, name: str, columns: Sequence[Column], form: FileForm) -> None:
        self._name, self._columns, self._form = name, columns, form
        self._lenient = [replace(column, nullable=True) for column in columns]
        self._known: dict[Names, Mapping[str, str]] = {}
        self._known_bytes, self._has_begun = 0, False
        self._names: set[str] = set()
        self._notes: dict[str, None] = {}

    def notes(self) -> list[str]:
        """Return what a person should know of the file, once it has been read."""
        absent = [column.name for column in self._columns if column.name not in self._names and not column.optional]
        return [*self._notes, *(absence(absent) if self._has_begun else [])]

    def batch(self, first: int, lines: Sequence[bytes]) -> Batch:
        records: list[dict[str, Any]] = []
        whole: list[bytes] = []
        numbers: list[int] = []
        unreadable: list[UnreadableRow] = []
        for number, line in enumerate(lines, first):
            if not line.strip():
                continue
            try:
                records.append(self._by_column(number, _record(line)))
                numbers.append(number)
                if self._form.whole:
                    whole.append(line)
            except ValueError as error:
                is_json = isinstance(error, RefusedJsonError)
                if not (is_json or unreadable or self._has_begun):
                    why = f" ({error.msg} at character {error.colno})" if isinstance(error, JSONDecodeError) else ""
                    one = "expected one object a line (JSON lines): write one that stands on many lines on one"
                    problem = f"line {number} is no whole JSON object{why}; {one}"
                    raise FileError(f"{self._name}: {problem}") from error
                problem = str(error) if is_json else NO_OBJECT
                unreadable.append(UnreadableRow(number, "json", problem, line[:200].decode("utf-8", "replace")))
        arrays = {
            column.name: typed(column, [record.get(column.name) for record in records]) for column in self._columns
        }
        rows = np.array(numbers, np.int64)
        absent = arrays.keys() - {name for record in records for name in record}
        return Batch(
            pa.RecordBatch.from_pydict(arrays),
            partial(_at, rows),
            tuple(unreadable),
            frozenset(absent),
            pa.RecordBatch.from_pydict({"line": pa.array(whole, pa.binary())}) if self._form.whole else None,
        )

    def _by_column(self, number: int, record: Mapping[str, Any]) -> dict[str, Any]:
        names, self._has_begun = tuple(record), True
        name_of = self._known.get(names)
        if name_of is None:
            if (name := _wrapped(record)) is not None:
                problem = f"line {number}: {quoted(name)} holds a list; {EXPECTED}"
                raise FileError(f"{self._name}: {problem}")
            name_of = self._columns_of(number, names)
            self._remember(names, name_of)
        return {column: record[name] for column, name in name_of.items()}

    def _remember(self, names: Names, name_of: Mapping[str, str]) -> None:
        size = sum(map(len, names)) + NAME_BYTES * len(names)
        if len(self._known) >= MAX_SHAPES or self._known_bytes + size > MAX_NAME_BYTES:
            self._known, self._known_bytes = {}, 0
        if size <= MAX_NAME_BYTES:
            self._known[names] = name_of
            self._known_bytes += size

    def _columns_of(self, number: int, names: Names) -> Mapping[str, str]:
        notes: list[str] | None = [] if len(self._notes) < MAX_NOTES else None
        position_of = positions(f"{self._name}: line {number}", names, self._lenient, self._form, notes)
        self._notes |= dict.fromkeys(note for note in notes or () if "are absent" not in note)
        self._names |= position_of.keys()
        return {column: names[position] for column, position in position_of.items()}


def _record(line: bytes) -> dict[str, Any]:
    """Return the object of a line. Raises ValueError."""
    record = decode(line.decode())
    if not isinstance(record, dict):
        raise ValueError("no object")  # noqa: TRY004 - as any other line that is none
    return record


def _wrapped(record: Mapping[str, Any]) -> str | None:
    """Return the name under which a document has its records, such as instances; None: it is a record itself."""
    lists = {name: value for name, value in record.items() if isinstance(value, list)}
    return next((name for name, some in lists.items() if len(record) == 1 or isinstance((*some, None)[0], dict)), None)


def typed(column: Column, values: Sequence[Any]) -> pa.StructArray:
    """Return values of JSON as a column: as texts for people, as values, and which are of another type."""
    parsed = from_json(column.type, values, column.parsing)
    invalid = pa.array(np.zeros(len(values), bool)) if parsed.invalid is None else parsed.invalid
    return pa.StructArray.from_arrays([_as_texts(values), parsed.values, invalid], ["text", "value", "invalid"])


def _as_texts(values: Sequence[Any]) -> pa.StringArray:
    """Return values as texts for people, those of one kind at once: a column has no other, as a rule."""
    types = {type(value) for value in values} - {type(None)}
    if types <= {str}:
        with suppress(UnicodeEncodeError):  # half of a surrogate pair
            return pa.array(values, pa.string())
    elif types <= {bool}:
        return pc.cast(pa.array(values, pa.bool_()), pa.string())
    elif types <= {int, float}:
        texts = [None if value is None else repr(value) for value in values]
        if all(text is None or len(text) <= MAX_TEXT for text in texts):
            return pa.array(texts, pa.string())
    return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    """Return a value as a text for people."""
    if value is None or isinstance(value, str):
        return value and value.encode("utf-8", "backslashreplace").decode()
    try:
        text = str(value) if isinstance(value, BeyondFloat) else json.dumps(value)
    except RecursionError:
        return "lists or objects in one another, too deep for a text"
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def _at(numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return numbers[positions]
