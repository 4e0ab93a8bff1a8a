"""Encode a few plain records without Arrow, which takes a millisecond for a column however short it is.

Plain are values that need nothing but a look: numbers as programs write them, words that mean true or false, texts that
the encoding knows, and missing values where they may be. Everything else (units, marks, quotation marks, blanks, names
in other spellings, values that are to be counted or refused) is not plain, and the whole request is read as columns.
What is plain is encoded to the same bytes; tests compare both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.encoding import CategoryEncoding, Encoder, Encoding, NumberEncoding, PlainEncoding
from perennial.features.grammar import FALSE_WORDS, LARGEST_EXACT_FLOAT, TRUE_WORDS
from perennial.features.parsing import PLAIN, Parsing
from perennial.features.record_checks import RecordChecks, Rules
from perennial.features.target_encoding import TargetEncoding
from perennial.features.values import ARROW_TYPES

MOST_RECORDS, MOST_CHARACTERS = 32, 1 << 16  # above it columns are quicker
_LARGEST_PLAIN = 10**15  # of whole numbers
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_NOT_PLAIN = re.compile('["\\r\ufeff\ufffd]')
_KINDS = ("float", "integer", "boolean", "string")

Read = Callable[[Any], str | None]
"""The encoded fields of one value; None when it is not plain."""


class PlainRecords:
    """The ways of plain values of each column into a line."""

    def __init__(
        self, columns: Mapping[str, Column], names: RequestNames, encoder: Encoder, checks: RecordChecks
    ) -> None:
        self._names, self._known = list(columns), frozenset(columns)
        self._csv: list[Read] = []
        self._json: list[Read] = []
        encoded = [encoding.name for encoding in encoder.encodings]
        if encoder.hook or encoded != self._names or not all(map(_is_plain, columns.values())):
            return
        for column, encoding in zip(columns.values(), encoder.encodings, strict=True):
            if isinstance(encoding, PlainEncoding):
                return
            from_text, from_json = _readers(column, encoding, checks.rules.get(column.name, Rules()), names)
            self._csv.append(from_text)
            self._json.append(from_json)
        if names.has_number():  # or a row of numbers might be a header
            self._csv.clear()

    def from_csv(self, text: str) -> str | None:
        """Return the encoded lines of a CSV text without header; None when it is not plain."""
        if not self._csv or len(text) > MOST_CHARACTERS or _NOT_PLAIN.search(text):
            return None
        lines = text.removesuffix("\n").split("\n")
        if len(lines) > MOST_RECORDS or "" in lines:
            return None
        return _encoded(self._csv, [line.split(",") for line in lines])

    def from_json(self, records: Sequence[Any]) -> str | None:
        """Return the encoded lines of parsed JSON; None when it is not plain."""
        if not self._json or not 0 < len(records) <= MOST_RECORDS:
            return None
        if not all(type(record) is dict and record.keys() <= self._known for record in records):
            return None
        return _encoded(self._json, [[record.get(name) for name in self._names] for record in records])


def _encoded(readers: Sequence[Read], rows: Sequence[Sequence[Any]]) -> str | None:
    lines = []
    for row in rows:
        if len(row) != len(readers):
            return None
        fields = [read(value) for read, value in zip(readers, row, strict=True)]
        if None in fields:
            return None
        lines.append(",".join(filter(None, fields)))  # a text column without categories has no field
    return "\n".join([*lines, ""])


def _is_plain(column: Column) -> bool:
    return column.type in _KINDS and column.parsing in (PLAIN, Parsing(strip=False))


def _readers(
    column: Column, encoding: NumberEncoding | CategoryEncoding | TargetEncoding, rules: Rules, names: RequestNames
) -> tuple[Read, Read]:
    """How a value of a column is read in CSV and in JSON. A text that means a column may be part of a header."""
    missing = _fields(encoding, column.type, None) if rules.nullable else None
    if not isinstance(encoding, NumberEncoding):
        texts = _FieldsOfTexts(encoding, missing, rules.known)
        unnamed = _FieldsOfTexts(encoding, missing, rules.known, names)
        return unnamed.__getitem__, lambda value: texts[value] if isinstance(value, str | None) else None
    after = ",0" if encoding.indicator else ""
    if column.type == "boolean":
        return _booleans(after, missing, names)
    return _numbers(column.type, after, missing, rules)


def _fields(encoding: Encoding, kind: str, value: Any) -> str:
    """Return the fields of one value as the encoding itself has them."""
    array = pa.array([value], pa.string() if kind == "string" else ARROW_TYPES[kind])
    values = array.dictionary_encode() if kind == "string" else array
    return ",".join(field[0].as_py() for field in encoding.fields(values))


class _FieldsOfTexts(dict[str | None, str | None]):
    """The fields of texts that the encoding knows, each made when it is first seen; None for all others.

    So they are no more than the encoding knows.
    """

    def __init__(
        self,
        encoding: CategoryEncoding | TargetEncoding,
        missing: str | None,
        known: frozenset[str] | None,
        headers: RequestNames | None = None,
    ) -> None:
        super().__init__({"": missing, None: missing})
        self._encoding, self._known, self._headers = encoding, known, headers

    def __missing__(self, text: str) -> str | None:
        if text != text.strip() or not self._encoding.knows(text):
            return None
        if (self._known is not None and text not in self._known) or (self._headers and self._headers.column(text)):
            return None
        self[text] = fields = _fields(self._encoding, "string", text)
        return fields


def _booleans(after: str, missing: str | None, names: RequestNames) -> tuple[Read, Read]:
    meant = dict.fromkeys(TRUE_WORDS, f"1{after}") | dict.fromkeys(FALSE_WORDS, f"0{after}")
    texts = {
        word: field
        for plain, field in meant.items()
        for word in (plain, plain.title(), plain.upper())
        if names.column(word) is None
    }
    texts |= {"": missing} if missing else {}

    def from_json(value: Any) -> str | None:
        return meant["true" if value else "false"] if type(value) is bool else missing if value is None else None

    return texts.get, from_json


def _numbers(kind: str, after: str, missing: str | None, rules: Rules) -> tuple[Read, Read]:
    lowest = -LARGEST_EXACT_FLOAT if rules.minimum is None else rules.minimum
    highest = LARGEST_EXACT_FLOAT if rules.maximum is None else rules.maximum

    def encoded(value: float) -> str | None:
        if not lowest <= value <= highest:
            return None
        text = repr(value)
        return None if "e" in text else text.removesuffix(".0") + after

    def from_text(text: str) -> str | None:
        if (match := _NUMBER.fullmatch(text)) is None:
            return missing if not text else None
        if kind == "float":
            return encoded(float(text))
        return encoded(int(text)) if match[2] is None and text != "-0" else None

    def from_json(value: Any) -> str | None:
        if type(value) is int:
            return encoded(value if kind == "integer" else float(value)) if abs(value) <= _LARGEST_PLAIN else None
        if type(value) is float and kind == "float":
            return encoded(value)
        return missing if value is None else None

    return from_text, from_json
