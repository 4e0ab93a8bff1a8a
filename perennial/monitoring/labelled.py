"""Captured records whose labels are known, as rows that train: a CSV file that the data contract reads like any.

A record needs what tells it from all others, the key of the definition (`split.key`, one column): the field of that
name in the request, or else the caller's inference id. Of several records of one key the last counts, as in training.
A date that every row needs, and that a request does not say, is the time of the request.
The capture is read a second time, when the labels are known. Memory: 16 bytes for each row that is written.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from perennial.data.contract import Contract, check
from perennial.data.row_hasher import RowHasher
from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.grammar import LARGEST_EXACT_FLOAT
from perennial.features.parsing import PLAIN
from perennial.features.rules import expected_by
from perennial.monitoring.capture import Event, Tally, UnreadableError
from perennial.monitoring.ground_truth import Joined, key_of
from perennial.monitoring.requests import RequestReader

BATCH = 4096  # requests
AT_ONCE = 1 << 20  # rows that are compared
FILE = "rows.csv"
NO_KEY = "name a key of one column in model.yaml (split.key), which is the inference id of captured records"
NO_LABELS = "no label of these requests has come: send labels below ground-truth/, or drop new data"
NOT_ALLOWED = "no labelled record is a row that the data contract allows"
ABSENT = "a column that callers do not send has to be nullable in model.yaml"
MOST_REASONS = 3


def why_none(definition: Mapping[str, Any], joined: Joined) -> str:
    """Return why a window can have no rows that train; empty where it may."""
    if len(definition["split"].get("key") or ()) != 1:
        return NO_KEY
    return "" if joined.size else NO_LABELS


class LabelledRows:
    """Takes in the requests of a window and writes those with a label that the data contract allows.

    The tally counts rows, against_contract, without_key, and replaced: those of which a later one has the key.
    """

    def __init__(self, definition: Mapping[str, Any], joined: Joined, tally: Tally) -> None:
        contract, self._tally = Contract.from_definition(definition), tally
        self._contract, self._target, (self._key,) = contract, contract.target, contract.key
        columns = [column for column in contract.columns if column is not contract.target]
        names = RequestNames(
            columns, {contract.target.name: contract.target.sources}, ignore=contract.form.other_columns == "ignore"
        )
        others = [column.name for column in columns if not column.feature]
        features = [column.name for column in contract.features]
        self._reader, self._columns = RequestReader(features, names, others), [*features, *others]
        self._dates = [
            column.name
            for column in columns
            if column.type == "timestamp" and not column.nullable and column.parsing == PLAIN
        ]
        self._hasher = RowHasher([self._key])
        self._joined = joined
        self._identities, self._times = array("Q"), array("q")
        self._refused: Counter[str] = Counter()
        self._lacks_value = False

    def write(self, events: Iterable[Event], path: Path) -> int:
        """Write the rows and return how many there are; no file where there are none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile("w+", dir=path.parent, encoding="utf-8") as spill:
            coming = iter(events)
            while batch := list(islice(coming, BATCH)):
                self._take([*self._labelled(batch)], spill)
            last = self._last_of_each()
            self._tally.counts.update(rows=int(last.sum()), replaced=int((~last).sum()))
            spill.seek(0)
            if last.any():
                self._copy((json.loads(line) for line, is_last in zip(spill, last, strict=True) if is_last), path)
        return int(last.sum())

    def _labelled(self, events: Sequence[Event]) -> Iterator[tuple[Event, float]]:
        """Yield the requests that have a label."""
        ids = np.array([key_of(event.id) for event in events], np.uint64)
        for event, label in zip(events, self._joined.label_of(ids).tolist(), strict=True):
            if not math.isnan(label):
                yield event, label

    def _take(self, labelled: Sequence[tuple[Event, float]], spill: IO[str]) -> None:
        """Keep the rows that the contract allows."""
        rows = [(event, row) for event, label in labelled if (row := self._row(event, label))]
        if not rows:
            return
        texts = [pa.array(values, pa.string()) for values in zip(*(row for _, row in rows), strict=True)]
        checked = check(self._contract, pa.record_batch(texts, names=list(self._contract.names)))
        for violation in checked.violations:
            reason = f"{violation.column.name}: expected {expected_by(violation.column, violation.rule)}"
            self._note(reason, len(violation.rows))
            self._lacks_value = self._lacks_value or violation.rule == "missing"
        broken = set(checked.invalid_rows().tolist())
        self._tally.counts["against_contract"] += len(broken)
        self._identities.extend(self._hasher.hashes(checked.valid()).tolist())
        for place, (event, row) in enumerate(rows):
            if place not in broken:
                self._times.append(int(np.datetime64(event.time, "us").astype(np.int64)))
                spill.write(json.dumps(row) + "\n")

    def _row(self, event: Event, label: float) -> list[str] | None:
        """Return a request as a row of texts in the definition's order; None where it is none."""
        try:
            values = self._reader.rows(event.request).values
            if len(values) != 1:
                return None
            fields = dict(zip(self._columns, values[0], strict=True))
            if fields[self._key] in (None, ""):
                fields[self._key] = event.inference_id
            if fields[self._key] == "":
                self._tally.counts["without_key"] += 1
                self._note(f"{self._key}: neither the request nor the caller's inference id says it")
                return None
            classes = self._contract.classes
            fields[self._target.name] = classes[int(label)] if classes else _typed(self._target, label)
            fields |= {name: fields[name] or event.time.isoformat() for name in self._dates}
            return [_as_text(column, fields[column.name]) for column in self._contract.columns]
        except UnreadableError as error:
            self._tally.counts["unreadable_requests"] += 1
            self._note(str(error))
            return None

    def why_none(self) -> str:
        """Return why no record was a row: the most frequent reasons with their counts, and what helps."""
        reasons = [f"{reason} ({count:,} of them)" for reason, count in self._refused.most_common(MOST_REASONS)]
        return "; ".join([": ".join([NOT_ALLOWED, ", ".join(reasons)]), *([ABSENT] if self._lacks_value else [])])

    def _note(self, reason: str, records: int = 1) -> None:
        """Keep a reason once, without what the record says: erasing somebody's rows does not look into verdicts."""
        if reason not in self._tally.examples:
            self._tally.note(reason)
        if reason in self._tally.examples:  # there was room
            self._refused[reason] += records

    def _last_of_each(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which of the rows is the last of its key, by the time of its request."""
        identities = np.frombuffer(memoryview(self._identities), np.uint64)
        times = np.frombuffer(memoryview(self._times), np.int64)
        order = np.lexsort((times, identities))  # stable: of one time the row that came last is the last
        last = np.ones(identities.size, np.bool_)
        for first in range(0, identities.size, AT_ONCE):
            some = order[first : first + AT_ONCE + 1]
            last[some[:-1]] = np.diff(identities[some]) != 0
        return last

    def _copy(self, rows: Iterable[Sequence[str]], path: Path) -> None:
        """Write a CSV file with a byte order mark, so that it is UTF-8 whatever `files.encoding` says."""
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter=self._contract.form.delimiter or ",", lineterminator="\n")
            writer.writerow(self._contract.names)
            writer.writerows(rows)


def _typed(target: Column, label: float) -> bool | int | float:
    """Return a label as a value of the target."""
    if target.type == "boolean":
        return bool(label)
    return int(label) if target.type == "integer" else label


def _as_text(column: Column, value: Any) -> str:
    """Return a value of a request as a CSV file has it. Raises UnreadableError: there is no such text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == value // 1 and abs(value) <= LARGEST_EXACT_FLOAT:
        value = int(value)  # whole numbers have one spelling
    if isinstance(value, int | float):
        return str(value).replace(".", column.parsing.decimal)
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnreadableError(f"{column.name}: half a surrogate is no text") from error
    return text
