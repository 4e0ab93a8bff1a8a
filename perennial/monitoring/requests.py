"""Rows and scores of captured requests and answers: what the model read, and what it said.

The endpoint has accepted each of them, so they are read as it reads them (processing.inference), but one value that the
definition does not know is counted (monitoring.window) and not the end of the whole request.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial.evaluation import predictions
from perennial.evaluation.predictions import Score
from perennial.features.column_names import Named, RequestNames
from perennial.features.json_text import decode
from perennial.monitoring.capture import Payload, UnreadableError, fault
from perennial.words import quoted

CSV, JSON_LINES, JSON = "text/csv", "application/jsonlines", "application/json"
Row = Sequence[Any]
MOST_NAMES = 1_000  # of a shape that is remembered
MOST_FIELDS = 10_000  # of a record whose names are looked at, or twice the model's columns


@dataclass(frozen=True)
class Rows:
    """The records of a request: values by column, in the reader's order, texts (CSV) or of JSON.

    unknown  the names of no column that they have
    absent   the columns that they do not name
    """

    values: Sequence[Row]
    unknown: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class FieldsError(UnreadableError):
    """A CSV record has another number of fields than the model reads: `count`."""

    def __init__(self, count: int, expected: int) -> None:
        super().__init__(f"{count} fields; the model reads {expected}")
        self.count = count


class RequestReader:
    """Reads requests of a model with these columns, and after them what a request says of others beside."""

    def __init__(self, columns: Sequence[str], names: RequestNames, others: Sequence[str] = ()) -> None:
        self._columns, self._names, self._others = columns, names, others
        self._shapes: dict[tuple[str, ...], tuple[Named, tuple[str, ...]]] = {}

    def rows(self, request: Payload) -> Rows:
        """Return the records of a request. Raises UnreadableError."""
        text = request.text.removeprefix("\ufeff")
        if request.media_type == CSV:
            return self._from_csv(text)
        if request.media_type not in (JSON, JSON_LINES):
            kind = quoted(request.media_type)
            raise UnreadableError(f"a request of type {kind}; expected {CSV}, {JSON} or {JSON_LINES}")
        try:
            if request.media_type == JSON:
                document = decode(text)
                records = document.get("instances", [document]) if isinstance(document, dict) else document
            else:
                records = [decode(line) for line in text.split("\n") if line.strip()]
        except ValueError as error:
            raise UnreadableError(f"the request is no JSON: {fault(error)}") from error
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise UnreadableError("the request holds something else than objects with the columns' values")
        return self._from_objects(records)

    def _from_csv(self, text: str) -> Rows:
        try:
            records = list(csv.reader(text.splitlines(keepends=True)))
        except csv.Error as error:
            raise UnreadableError(f"the request is not readable as CSV: {fault(error)}") from error
        if len(self._columns) > 1:
            records = [record for record in records if record]
        if not records:
            raise UnreadableError("the request holds no record")
        first = records[0]
        self._require_few(len(first))
        header = None
        if any(self._names.column(name) for name in first):
            named, absent = self._shape(tuple(first))
            header = named if 2 * len(named.fields) > len(first) or 2 * len(named.fields) > len(self._columns) else None
        if header is None:
            wrong = next((record for record in records if len(record) != len(self._columns)), None)
            if wrong is not None:
                raise FieldsError(len(wrong), len(self._columns))
            return Rows([[*record, *(None for _ in self._others)] for record in records] if self._others else records)
        places = {name: place for place, name in enumerate(first)}
        where = [places.get(header.fields.get(column, ""), -1) for column in (*self._columns, *self._others)]
        values = [[record[place] if 0 <= place < len(record) else None for place in where] for record in records[1:]]
        return Rows(values, tuple(header.unknown), absent)

    def _from_objects(self, records: Sequence[Mapping[str, Any]]) -> Rows:
        values: list[Row] = []
        unknown, absent = set[str](), set[str]()
        for record in records:
            named, missing = self._shape(tuple(record))
            unknown.update(named.unknown)
            absent.update(missing)
            fields = named.fields
            wanted = (*self._columns, *self._others)
            values.append([record[fields[column]] if column in fields else None for column in wanted])
        return Rows(values, tuple(sorted(unknown)), tuple(sorted(absent)))

    def _require_few(self, fields: int) -> None:
        """Raise FieldsError where there are so many that looking at each would take seconds."""
        if fields > max(MOST_FIELDS, 2 * len(self._columns)):
            raise FieldsError(fields, len(self._columns))

    def _shape(self, names: tuple[str, ...]) -> tuple[Named, tuple[str, ...]]:
        """Return what names mean, and the columns that are not among them."""
        self._require_few(len(names))
        if names not in self._shapes:
            named = self._names.of(names)
            shape = named, tuple(column for column in self._columns if column not in named.fields)
            if len(names) > MOST_NAMES:
                return shape
            if len(self._shapes) > 1000:  # whoever sends names at random
                self._shapes.clear()
            self._shapes[names] = shape
        return self._shapes[names]


def scores(answer: Payload, classes: int = 0) -> Sequence[Score]:
    """Return the score of each record of an answer, or those of each class. Raises UnreadableError: it holds none."""
    read = _scores(answer, classes)
    if any((len(score) if isinstance(score, list) else 0) != classes for score in read):
        raise UnreadableError(f"an answer has not {f'{classes} scores' if classes else 'one score'} for each record")
    return read


def _scores(answer: Payload, classes: int) -> Sequence[Score]:
    try:
        if answer.media_type == JSON:
            document = json.loads(answer.text)
            items = document["predictions"] if isinstance(document, dict) and "predictions" in document else [document]
            return [predictions.score(json.dumps(item), "the answer") for item in items]
        lines = [line for line in answer.text.splitlines() if line.strip()]
        if answer.media_type == JSON_LINES:
            return [predictions.score(line, "the answer") for line in lines]
        if classes:  # after the name of one of them
            return [[float(field) for field in fields[1:]] for fields in csv.reader(lines)]
        return [predictions.score(field, "the answer") for line in lines for field in line.split(",")]
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        kind = quoted(answer.media_type)
        raise UnreadableError(f"an answer of type {kind} holds no scores: {fault(error)}") from error
