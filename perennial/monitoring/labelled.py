"""Captured records whose labels have come, as rows that train: what retraining has to learn from.

A model whose definition has a key of one column (split.key) knows each row by it, and a captured record has it: the
inference id that its caller chose. So a record that comes again, captured or dropped as data, is one row, and it is in
the set that its key gives it: what has trained is never tested.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from perennial.data.contract import Contract, check
from perennial.features.column import Column
from perennial.features.parsing import PLAIN
from perennial.monitoring.capture import Event, UnreadableError
from perennial.monitoring.ground_truth import Labels
from perennial.monitoring.requests import RequestReader
from perennial.monitoring.window import BATCH, request_names, typed


@dataclass(frozen=True)
class Written:
    """How many rows were written, and how many labelled records model.yaml does not allow."""

    rows: int
    not_allowed: int


def why_not(definition: Mapping[str, Any]) -> str | None:
    """Return why captured records cannot be rows of this model, and what would help; None when they can."""
    contract = Contract.from_definition(definition)
    if len(contract.key) != 1:
        return "name a key of one column in model.yaml (split.key), which is the inference id of captured records"
    for column in contract.columns:
        is_known = column.feature or column.name in (contract.target.name, *contract.key) or _has_time(column)
        if not is_known and not column.nullable:
            return f"no request says the column {column.name!r}: make it nullable in model.yaml, or drop labelled data"
    return None


def _has_time(column: Column) -> bool:
    """Return whether the time of the request can stand for a column."""
    return column.type == "timestamp" and column.parsing == PLAIN


class LabelledRows:
    """Writes labelled records as a data file: the definition's columns, values as the callers sent them."""

    def __init__(self, definition: Mapping[str, Any], labels: Labels) -> None:
        self._contract, self._labels = Contract.from_definition(definition), labels
        columns = tuple(column for column in self._contract.columns if column.feature)
        self._features = [column.name for column in columns]
        self._reader = RequestReader(self._features, request_names(self._contract))
        keys = tuple(column for column in self._contract.columns if column.name in self._contract.key)
        self._checked = replace(self._contract, columns=(*columns, *keys), split_column=None, key=())
        self._not_allowed = 0

    def write(self, events: Iterable[Event], path: Path) -> Written:
        """Write the rows of all requests of one record that have a label. The same requests give the same bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = 0
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._contract.names)
            for batch in self._batches(events):
                allowed = self._allowed(batch)
                writer.writerows(allowed)
                rows += len(allowed)
        return Written(rows, self._not_allowed)

    def _batches(self, events: Iterable[Event]) -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        for event in events:
            row = self._row(event)
            if row is not None:
                batch.append(row)
            if len(batch) == BATCH:
                yield batch
                batch = []
        yield batch

    def _row(self, event: Event) -> dict[str, Any] | None:
        """Return the fields of a record by column, or None: it has no label, is one of several, or cannot be read."""
        label = self._labels.of(event.id)
        if label is None or event.answer is None:
            return None
        try:
            values = self._reader.rows(event.request).values
        except UnreadableError:
            return None
        if len(values) != 1:
            return None
        row = {column.name: f"{event.time:%Y-%m-%dT%H:%M:%S}" for column in self._contract.columns if _has_time(column)}
        row |= dict(zip(self._features, values[0], strict=True))
        return {**row, self._contract.target.name: label, self._contract.key[0]: event.id}

    def _allowed(self, batch: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        """Return the fields of the rows that the definition allows, in the order of its columns."""
        if not batch:
            return []
        columns = {one.name: typed(one, [row[one.name] for row in batch]) for one in self._checked.columns}
        broken = set(check(self._checked, pa.record_batch(columns)).invalid_rows().tolist())
        self._not_allowed += len(broken)
        return [
            [self._text(name, row.get(name)) for name in self._contract.names]
            for place, row in enumerate(batch)
            if place not in broken
        ]

    def _text(self, name: str, value: Any) -> str:
        """Return a value as it stands in a data file."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if name == self._contract.target.name and self._contract.target.type != "float":
            return str(int(value))
        return str(value)
