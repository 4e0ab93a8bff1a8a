"""Read a few records of a request without Arrow, which takes a millisecond for some columns however short they are.

Each value is read by itself (features.one_value), and means what it means in a column; tests compare both. What is to
be refused is left to the columns, which know the words for it, and so is what only a whole text can tell: blank lines,
quotation marks that are not closed, line ends inside of them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from perennial.features.column import Column
from perennial.features.column_names import Header, RequestNames
from perennial.features.grammar import FALSE_WORDS, TRUE_WORDS
from perennial.features.one_value import NoValueError, read
from perennial.features.parsing import NUMBERS, PLAIN
from perennial.features.values import ARROW_TYPES

MOST_RECORDS, MOST_CHARACTERS = 32, 1 << 16  # above it columns are quicker
MOST_FIELDS, LONGEST_FIELD = 1024, 100  # that are remembered to be no names
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_FIELD = r'("([^"]|"")*"|[^",]*)'
_QUOTED_LINE = re.compile(f"{_FIELD}(,{_FIELD})*")

Read = Callable[[Any], Any]
"""What a value of a record means in a column; None: it is missing. Raises NoValueError."""


@dataclass(frozen=True)
class FewRecords:
    """Typed rows of a few records: their values in the order of the names, None where one is missing."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    row_type: pa.StructType = field(repr=False)

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def slice(self, start: int, count: int) -> FewRecords:
        """Return some of the records, as a table does."""
        return replace(self, rows=self.rows[start : start + count]) if count < self.num_rows else self

    def values(self, name: str) -> Sequence[Any]:
        """Return the values of a column."""
        place = self.names.index(name)
        return [row[place] for row in self.rows]

    def as_table(self) -> pa.Table:
        """Return the records as Arrow columns, texts as plain strings."""
        return pa.Table.from_struct_array(pa.array(self.rows, self.row_type))  # at once, not column by column


_PLAIN_TYPES = ARROW_TYPES | {"string": pa.string()}


class FewReader:
    """The ways of single values into each column."""

    def __init__(self, columns: Mapping[str, Column], names: RequestNames, most_records: int = MOST_RECORDS) -> None:
        self._features, self._names, self._most = list(columns), names, most_records
        self._row_type = pa.struct([(name, _PLAIN_TYPES[column.type]) for name, column in columns.items()])
        self._numbers_are_values = not names.has_number()
        self._meaning = lru_cache(MOST_FIELDS)(names.column)
        self._from_text = list(map(_from_text, columns.values()))
        self._from_json = list(map(_from_json, columns.values()))

    def from_csv(self, text: str, header: Header | None = None) -> FewRecords | None:
        """Return the records of a CSV text; None when the columns have to look at it.

        header  what its first line is, where that names columns
        """
        rows = self._rows(text)
        if not rows or (header is None and any(map(self._may_be_name, rows[0]))):
            return None
        rows, width = (rows, len(self._features)) if header is None else (rows[1:], len(header.names))
        if not 0 < len(rows) <= self._most or any(len(row) != width for row in rows):
            return None
        if header is None:
            return self._typed(self._from_text, rows)
        places = [header.place(name) for name in self._features]
        return self._typed(self._from_json, [[None if at is None else row[at] for at in places] for row in rows])

    def from_json(self, records: Sequence[Mapping[str, Any]], characters: int = 0) -> FewRecords | None:
        """Return records of parsed JSON by the columns' names; None when the columns have to look at them.

        characters  of the text that they were parsed from
        """
        if not 0 < len(records) <= self._most or characters > MOST_CHARACTERS:
            return None
        return self._typed(self._from_json, [[record.get(name) for name in self._features] for record in records])

    def _typed(self, readers: Sequence[Read], rows: Sequence[Sequence[Any]]) -> FewRecords | None:
        try:
            typed = [tuple([reader(value) for reader, value in zip(readers, row, strict=True)]) for row in rows]
        except NoValueError:
            return None
        return FewRecords(self._features, typed, self._row_type)

    def _rows(self, text: str) -> list[list[str]]:
        """Return the fields of each line; nothing where lines and records may not be the same."""
        if len(text) > MOST_CHARACTERS:
            return []
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        if len(lines) > self._most + 1 or "" in lines or any("\r" in line for line in lines):
            return []
        if '"' not in text:
            return [line.split(",") for line in lines]
        return list(csv.reader(lines)) if all(map(_QUOTED_LINE.fullmatch, lines)) else []

    def _may_be_name(self, field: str) -> bool:
        if self._numbers_are_values and _NUMBER.fullmatch(field):
            return False
        meaning = self._meaning if len(field) <= LONGEST_FIELD else self._names.column
        return meaning(field) is not None


def _from_text(column: Column) -> Read:
    """Return how a text is read: what programs write by a look, everything else by the grammar."""
    kind, parsing = column.type, column.parsing

    def number(text: str) -> Any:
        match = _NUMBER.fullmatch(text)
        if match is None or (match[2] and kind == "integer"):
            return read(kind, text, parsing)
        return float(text) if kind == "float" else int(text)

    def boolean(text: str) -> bool | None:
        meant = _BOOLEANS.get(text)
        return read(kind, text, parsing) if meant is None else meant

    def string(text: str) -> str | None:
        return text if text.isascii() and text[:1] > " " < text[-1:] else read(kind, text, parsing)

    if kind in NUMBERS and parsing.decimal == "." and not parsing.missing:
        return number
    if kind == "boolean" and parsing == PLAIN:
        return boolean
    return string if kind == "string" and parsing == PLAIN else lambda text: read(kind, text, parsing)


_BOOLEANS = {
    text: word in TRUE_WORDS for word in TRUE_WORDS | FALSE_WORDS for text in (word, word.title(), word.upper())
}


def _from_json(column: Column) -> Read:
    kind, parsing, from_text = column.type, column.parsing, _from_text(column)
    return lambda value: from_text(value) if type(value) is str else read(kind, value, parsing)
