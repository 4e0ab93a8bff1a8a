"""Labels that came later, and the requests that they belong to.

A label is found by its request's inference id, or where the caller sent none, its event id. Two forms of files, also
compressed by gzip: Model Monitor's JSON lines (`.jsonl`; SageMaker Developer Guide, "Ingest Ground Truth labels and
merge them with predictions"), below `yyyy/mm/dd/hh/`, the hour in which they were collected; and CSV (`.csv`) with the
columns `inference_id` and `label`. Of several labels for one request the one that was collected last counts; those of
a file outside of such a folder, whose hour is not known, are beaten by all others.

Ids are kept as numbers of 64 bits. Memory: 16 bytes for each request while they come, 32 when their labels are read,
and 12 for each label that another one for its request has replaced; labels of other requests take none. Where classes
have names, a request has a score of 8 bytes for each of them, and labels are kept as their numbers.
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
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.column_statistics import Floats
from perennial.data.contract import class_numbers
from perennial.evaluation.predictions import Score
from perennial.features.column import Column
from perennial.features.from_text import from_text
from perennial.features.rules import expected_by
from perennial.monitoring.capture import MAX_NAME, Tally, UnreadableError, fault, lines
from perennial.monitoring.findings import MonitorError
from perennial.words import printable

_UNREADABLE, _UNKNOWN = "unreadable_labels", "unknown_classes"
CSV_COLUMNS = ("inference_id", "label")
BATCH, MOST_WAITING = 8192, 1 << 24  # labels, and characters
_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})/(\d{2})/[^/]+$")
_NEVER = -1  # the hour of a file whose path has none
_NONE = -2  # and of a request without a label
_UNREAD = -3  # and of one of whose labels none can be read
MOST_SCORES = 1 << 29  # of 8 bytes
MEASURED = 1_000_000  # labelled requests: what is left of chance is far below whatever matters
Keys = npt.NDArray[np.uint64]


def key_of(identifier: str) -> int:
    """Return the number that stands for an id."""
    return int.from_bytes(hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=8).digest(), "little")


class Requests:
    """Requests of one record with their scores, of which each class may have one, in the order in which they came."""

    def __init__(self, classes: int = 0) -> None:
        self._keys, self._scores, self._classes = array("Q"), array("d"), classes

    def __len__(self) -> int:
        return len(self._scores) // (self._classes or 1)

    def add(self, identifier: str, score: Score) -> int:
        """Take in a request; return its place among all. Raises MonitorError: there are too many."""
        if len(self._scores) >= MOST_SCORES:
            of = f" of {self._classes:,} classes each" if self._classes else ""
            raise MonitorError(
                f"the window has more than {len(self):,} requests with scores{of}; expected at most {MOST_SCORES:,} "
                "scores, which are held at once: judge shorter windows (MonitorSchedule, or the input Window)"
            )
        self._keys.append(key_of(identifier))
        self._scores.extend(score if isinstance(score, list) else (score,))
        return len(self) - 1

    @property
    def scores(self) -> Floats:
        flat = np.frombuffer(memoryview(self._scores), np.float64)
        return flat.reshape(-1, self._classes) if self._classes else flat

    def sort(self) -> tuple[Keys, npt.NDArray[np.uint32]]:
        """Return the ids in their order, and the place of each among the requests; only the scores are left then."""
        keys, self._keys = np.frombuffer(memoryview(self._keys), np.uint64), array("Q")
        places = np.argsort(keys, kind="stable").astype(np.uint32)
        return keys[places], places


class Labels:
    """The labels of a window's requests: of several for one the one that was collected last.

    Labels of other requests are counted and not kept, however many have come since the window began.
    """

    def __init__(self, target: Column, requests: Requests, tally: Tally, classes: Sequence[str] = ()) -> None:
        self._target, self._tally, self._classes = target, tally, classes
        bounds = (("at least", target.minimum), ("at most", target.maximum))
        self._bounds = [f"{word} {to:g}" for word, to in bounds if to is not None]
        self._scores = requests.scores
        self._ids, self._places = requests.sort()
        self._values, self._hours = np.full(len(requests), np.nan), np.full(len(requests), _NONE, np.int32)
        self._beaten = array("I"), array("d")  # labels that are not the last of their request: its place, what they say
        self._waiting: list[tuple[str, str, int, str]] = []

    def read(self, folder: Path) -> None:
        """Take in all files below a folder."""
        size = 0
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = printable(path.relative_to(folder).as_posix(), MAX_NAME)
            hour = _hour(name)
            read = _from_csv if name.removesuffix(".gz").endswith(".csv") else _from_json_lines
            for identifier, text, where in read(path, name, self._tally):
                self._waiting.append((identifier, text, hour, where))
                size += len(identifier) + len(text)
                if len(self._waiting) == BATCH or size > MOST_WAITING:
                    self._take()
                    size = 0
        self._take()

    def _take(self) -> None:
        texts = pa.array([text for _, text, _, _ in self._waiting], pa.string())
        values = from_text(self._target.type, texts, self._target.parsing).values
        numbers = pc.cast(class_numbers(values, self._classes), pa.float64(), safe=False)
        numbers = numbers.to_numpy(zero_copy_only=False)  # NaN where there is none
        sound = np.isfinite(numbers) if self._classes else self._is_in_range(numbers)
        for (_, text, _, where), is_sound in zip(self._waiting, sound, strict=True):
            if not is_sound:
                what = _UNKNOWN if self._classes else _UNREADABLE
                self._tally.refuse(what, f"{where}: expected {self._expected(text)}")
        keys = np.array([key_of(identifier) for identifier, _, _, _ in self._waiting], np.uint64)
        hours = np.array([hour for _, _, hour, _ in self._waiting], np.int32)
        self._waiting.clear()
        self._tally.counts["labels"] += int(sound.sum())
        self._join(keys[sound], hours[sound], np.asarray(numbers)[sound])
        places, is_known = self._find(keys[~sound])
        unread = places[is_known]
        self._hours[unread[self._hours[unread] == _NONE]] = _UNREAD

    def _expected(self, text: str) -> str:
        """Return what is expected in place of a label."""
        kind = expected_by(self._target, "category" if self._target.categories else "type", text)
        return ", ".join([kind, *self._bounds])

    def _is_in_range(self, numbers: Floats) -> npt.NDArray[np.bool_]:
        lowest, highest = self._target.minimum, self._target.maximum
        is_high = numbers >= (-np.inf if lowest is None else lowest)  # false for NaN
        return np.asarray(is_high & (numbers <= (np.inf if highest is None else highest)), np.bool_)

    def _join(self, keys: Keys, hours: npt.NDArray[np.int32], values: Floats) -> None:
        """Give labels to the requests with their ids; where several meet, the one that was collected last stays."""
        places, is_known = self._find(keys)
        self._tally.counts["unmatched"] += int((~is_known).sum())
        order = np.flatnonzero(is_known)[np.lexsort((hours[is_known], places[is_known]))]
        places, hours, values = places[order], hours[order], values[order]  # of one hour the last that was read is last
        last = np.append(places[1:] != places[:-1], True)[: places.size]
        self._beat(places[~last], values[~last])
        places, hours, values = places[last], hours[last], values[last]
        meets, wins = self._hours[places] > _NONE, hours >= self._hours[places]
        self._beat(places[meets], np.where(wins, self._values[places], values)[meets])
        self._values[places[wins]], self._hours[places[wins]] = values[wins], hours[wins]

    def _find(self, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the place of each id among the sorted ones of the requests, and whether it is one of them."""
        places = np.searchsorted(self._ids, keys)
        is_known = places < self._ids.size
        is_known[is_known] = self._ids[places[is_known]] == keys[is_known]
        return places, is_known

    def _beat(self, places: npt.NDArray[np.int64], values: Floats) -> None:
        self._beaten[0].extend(places.tolist())
        self._beaten[1].extend(values.tolist())

    def joined(self, end: datetime) -> Joined:
        """Return the requests with their labels; the tally counts all kinds of labels.

        late: in a folder of an hour from `end` of the window on, duplicate: there is a later one for the same request,
        contradicting: duplicates that say another thing than it, unmatched: of no request of this window, missing:
        requests without a label, only_unreadable: those of them that have one which cannot be read.
        """
        places, values = (np.frombuffer(memoryview(column), column.typecode) for column in self._beaten)
        self._tally.counts.update(
            labels=0,
            unmatched=0,
            duplicate=values.size,
            contradicting=int((values != self._values[places]).sum()),
            late=int((self._hours >= _hours(end)).sum()),
        )
        by_request = np.empty(self._values.size)
        by_request[self._places] = self._values[_first_of_alike(self._ids)]
        joined = Joined(self._ids, self._places, by_request, self._scores, self._unread())
        self._tally.counts.update(missing=by_request.size - joined.size, matched=joined.size)
        if joined.unread.labels:
            self._tally.counts["only_unreadable"] = joined.unread.requests
        return joined

    def _unread(self) -> UnreadLabels:
        kinds = [what for what in (_UNKNOWN, _UNREADABLE) if self._tally.counts[what]]
        return UnreadLabels(
            sum(self._tally.counts[what] for what in kinds),
            int((self._hours == _UNREAD).sum()),
            self._tally.first[kinds[0]] if kinds else "",
        )


def _first_of_alike(ids: Keys) -> slice | npt.NDArray[np.int64]:
    """Return for each of the sorted ids where the first one like it stands: a request that was sent twice has two."""
    is_first = np.append(True, ids[1:] != ids[:-1])[: ids.size]
    return slice(None) if is_first.all() else np.maximum.accumulate(np.where(is_first, np.arange(ids.size), 0))


@dataclass(frozen=True)
class UnreadLabels:
    """Labels that could not be read, or name no class of the model.

    labels    of whatever requests
    requests  those of the window that have such a label, and no other
    first     where the first stands, and what was expected
    """

    labels: int = 0
    requests: int = 0
    first: str = ""


@dataclass(frozen=True)
class Joined:
    """Requests with what came true of them.

    ids, places     sorted ids of the requests, and the place of each among them
    values, scores  `(n_requests, ...)` in the order in which they came: labels, NaN where there is none, and answers
    unread          labels that could not be read
    """

    ids: Keys
    places: npt.NDArray[np.uint32]
    values: Floats
    scores: Floats
    unread: UnreadLabels = UnreadLabels()

    @cached_property
    def has_label(self) -> npt.NDArray[np.bool_]:
        """Which of the requests have a label."""
        return ~np.isnan(self.values)

    @cached_property
    def size(self) -> int:
        """The number of requests that have a label."""
        return int(self.has_label.sum())

    @property
    def labels(self) -> Floats:
        """The labels of those that have one."""
        return self.values[self.has_label]

    @cached_property
    def measured(self) -> tuple[Floats, Floats]:
        """Labels and scores that the model is measured by: of more than MEASURED so many, by lot, in their order."""
        places = np.flatnonzero(self.has_label)
        if places.size > MEASURED:
            drawn = np.random.default_rng(0).choice(places.size, MEASURED, replace=False, shuffle=False)
            places = places[np.sort(drawn)]
        return self.values[places], self.scores[places]

    def label_of(self, ids: Keys) -> Floats:
        """Return the label of each id, NaN where there is none. There has to be a request."""
        at = np.minimum(np.searchsorted(self.ids, ids), self.ids.size - 1)
        return np.where(self.ids[at] == ids, self.values[self.places[at]], np.nan)


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
            tally.refuse(_UNREADABLE, f"{where}: {fault(error)}")


def _labelled(document: Any) -> tuple[str, str]:
    """Return id and label of a line of Model Monitor's ground truth."""
    truth, identifier = document["groundTruthData"], document["eventMetadata"]["eventId"]
    if truth["encoding"] != "CSV" or not isinstance(identifier, str):
        raise UnreadableError("expected the encoding CSV, and an id that is a text")
    text = str(truth["data"]).strip()
    text.encode()  # half a surrogate is no text
    return identifier, text


def _fields(line: bytes) -> list[str]:
    """Return the fields of a line of CSV, none where they are none.

    A line is a row: no id holds a line's end (API Reference, InvokeEndpoint, InferenceId), and a quotation mark that
    is not closed hides no labels but its own.
    """
    text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return []


def _from_csv(path: Path, name: str, tally: Tally) -> Labelled:
    rows = enumerate(map(_fields, lines(path, name, tally)), 1)
    _, header = next(rows, (1, []))
    if not set(CSV_COLUMNS) <= set(header):
        expected = " and ".join(CSV_COLUMNS)
        tally.refuse(_UNREADABLE, f"{name}, line 1: expected the names {expected}")
        return
    places = [header.index(column) for column in CSV_COLUMNS]
    for number, row in rows:
        where = f"{name}, line {number}"
        if len(row) <= max(places):
            tally.refuse(_UNREADABLE, f"{where}: {len(row)} fields; expected those of the first line")
            continue
        yield row[places[0]], row[places[1]].strip(), where
