"""Labels that came later, and the requests that they belong to.

A label is found by its request's inference id, or where the caller sent none, its event id. Two forms of files, also
compressed by gzip: Model Monitor's JSON lines (`.jsonl`; SageMaker Developer Guide, "Ingest Ground Truth labels and
merge them with predictions"), below `yyyy/mm/dd/hh/`, the hour in which they were collected; and CSV (`.csv`) with the
columns `inference_id` and `label`. Of several labels for one request the one that was collected last counts.

Requests and labels are kept as numbers of 64 bits for their ids: 16 bytes for each request, 20 for each label.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.column_statistics import Floats
from perennial.features.column import Column
from perennial.features.from_text import from_text
from perennial.monitoring.capture import Tally, UnreadableError, fault, lines

CSV_COLUMNS = ("inference_id", "label")
BATCH = 8192
_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})/(\d{2})/[^/]+$")
_NEVER = -1  # the hour of a file whose path has none


def key_of(identifier: str) -> int:
    """Return the number that stands for an id."""
    return int.from_bytes(hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=8).digest(), "little")


class Requests:
    """Requests of one record with their scores."""

    def __init__(self) -> None:
        self._keys, self._scores = array("Q"), array("d")

    def add(self, identifier: str, score: float) -> int:
        """Take in a request; return its place among all."""
        self._keys.append(key_of(identifier))
        self._scores.append(score)
        return len(self._keys) - 1

    @property
    def keys(self) -> npt.NDArray[np.uint64]:
        return np.frombuffer(memoryview(self._keys), np.uint64)

    @property
    def scores(self) -> Floats:
        return np.frombuffer(memoryview(self._scores), np.float64)


class Labels:
    """Labels of the target's type, each with the hour in which it was collected."""

    def __init__(self, target: Column, tally: Tally) -> None:
        self._target, self._tally = target, tally
        bounds = (("at least", target.minimum), ("at most", target.maximum))
        self._expected = ", ".join([target.expected, *(f"{word} {to:g}" for word, to in bounds if to is not None)])
        self._keys, self._hours, self._values = array("Q"), array("i"), array("d")
        self._waiting: list[tuple[str, str, int, str]] = []

    def read(self, folder: Path) -> None:
        """Take in all files below a folder."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            hour = _hour(name)
            read = _from_csv if name.removesuffix(".gz").endswith(".csv") else _from_json_lines
            for identifier, text, where in read(path, name, self._tally):
                self._waiting.append((identifier, text, hour, where))
                if len(self._waiting) == BATCH:
                    self._take()
        self._take()

    def _take(self) -> None:
        texts = pa.array([text for _, text, _, _ in self._waiting], pa.string())
        values = from_text(self._target.type, texts, self._target.parsing).values
        numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # NaN where there is none
        lowest, highest = self._target.minimum, self._target.maximum
        sound = numbers >= (-np.inf if lowest is None else lowest)  # false for NaN
        sound &= numbers <= (np.inf if highest is None else highest)
        for (identifier, _, hour, where), value, is_sound in zip(self._waiting, numbers, sound, strict=True):
            if not is_sound:
                example = f"{where}: expected {self._expected}"
                self._tally.refuse("unreadable_labels", example)
                continue
            self._keys.append(key_of(identifier))
            self._hours.append(hour)
            self._values.append(value)
        self._waiting.clear()

    def joined(self, requests: Requests, end: datetime) -> Joined:
        """Return the requests that have a label; the tally counts all kinds of labels.

        late: collected at or after `end` of the window, duplicate: there is a later one for the same request,
        contradicting: duplicates that say another thing than it, unmatched: of no request of this window, missing:
        requests without a label.
        """
        columns = [
            np.frombuffer(memoryview(column), column.typecode) for column in (self._keys, self._hours, self._values)
        ]
        order = np.lexsort((columns[1], columns[0]))  # stable: of one hour the label that was read last is the last
        keys, hours, values = (column[order] for column in columns)
        last = np.append(keys[1:] != keys[:-1], True)[: keys.size]
        final = np.flatnonzero(last)[np.cumsum(last) - last] if keys.size else np.empty(0, np.int64)
        contradicting = int((values != values[final]).sum())
        duplicate = int(keys.size - last.sum())
        keys, hours, values = keys[last], hours[last], values[last]
        places = np.searchsorted(keys, requests.keys)
        has = places < keys.size
        has[has] = keys[places[has]] == requests.keys[has]
        used = np.zeros(keys.size, bool)
        used[places[has]] = True
        self._tally.counts.update(
            labels=len(self._keys),
            duplicate=duplicate,
            contradicting=contradicting,
            unmatched=int((~used).sum()),
            late=int((used & (hours >= _hours(end))).sum()),
            missing=int((~has).sum()),
            matched=int(has.sum()),
        )
        return Joined(values[places[has]], requests.scores[has], has)


@dataclass(frozen=True)
class Joined:
    """Labels and scores of the same requests, `(n_labelled,)` each, and which of all requests these are."""

    labels: Floats
    scores: Floats
    has_label: npt.NDArray[np.bool_]


def _hour(name: str) -> int:
    match = _HOUR.search(name)
    if not match:
        return _NEVER
    try:
        return _hours(datetime(*map(int, match.groups())))  # type: ignore[arg-type]  # noqa: DTZ001 - UTC
    except ValueError:
        return _NEVER


def _hours(time: datetime) -> int:
    """Hours since the year 1, rounded up: a label of the hour in which a window ends is there when it is judged."""
    seconds = (time - datetime(1, 1, 1)).total_seconds()  # noqa: DTZ001 - UTC
    return int(-(-seconds // 3600))


Labelled = Iterator[tuple[str, str, str]]  # id, label, where


def _from_json_lines(path: Path, name: str, tally: Tally) -> Labelled:
    for number, line in enumerate(lines(path, name, tally), 1):
        where = f"{name}, line {number}"
        try:
            yield (*_labelled(json.loads(line)), where)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            tally.refuse("unreadable_labels", f"{where}: {fault(error)}")


def _labelled(document: Any) -> tuple[str, str]:
    """Return id and label of a line of Model Monitor's ground truth."""
    truth, identifier = document["groundTruthData"], document["eventMetadata"]["eventId"]
    if truth["encoding"] != "CSV" or not isinstance(identifier, str):
        raise UnreadableError("expected the encoding CSV, and an id that is a text")
    text = str(truth["data"]).strip()
    text.encode()  # half a surrogate is no text
    return identifier, text


def _from_csv(path: Path, name: str, tally: Tally) -> Labelled:
    texts = (line.decode("utf-8-sig", "replace") for line in lines(path, name, tally))
    rows = csv.reader(texts)
    header: Sequence[str] = next(rows, [])
    if not set(CSV_COLUMNS) <= set(header):
        expected = " and ".join(CSV_COLUMNS)
        tally.refuse("unreadable_labels", f"{name}, line 1: expected the names {expected}")
        return
    places = [list(header).index(column) for column in CSV_COLUMNS]
    for row in rows:
        where = f"{name}, line {rows.line_num}"
        if len(row) <= max(places):
            tally.refuse("unreadable_labels", f"{where}: {len(row)} fields; expected those of the first line")
            continue
        yield row[places[0]], row[places[1]].strip(), where
