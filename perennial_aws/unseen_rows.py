"""Labelled rows of the newest data that the model of a run has neither trained, nor been validated or tested on.

They are test rows of a later run on the stack's own data, told from those of the model's run by their hashes, as the
gate tells them (perennial.data.rows). Rows are in the order of their files, which is that of their drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from perennial.data.rows import FOLDER, reads_alike, specification
from perennial.evaluation import comparison, predictions
from perennial.runs.run_id import RUN_ID
from perennial_aws import objects
from perennial_aws.row_hashes import OutOfTimeError, SeenRows, hashes_of, twins_of
from perennial_aws.settings import settings

MOST_RUNS = 20  # later than the model's that are looked at
HASH_BYTES = 8


class NothingUnseenError(Exception):
    """There is no row to ask about; the text says why."""


@dataclass(frozen=True)
class UnseenRows:
    """Records as JSON lines with the label of each, the run whose test set has them, and what data it worked on."""

    records: list[str]
    labels: list[float]
    run: str
    data: dict[str, Any]


def newest(run: str, wanted: int, until: float) -> UnseenRows:
    """Return the newest rows that the model of a run has not seen, at most so many. Raises NothingUnseenError.

    until  of the monotonic clock, which bounds how long it looks for them
    """
    of_model = _ModelRun(run, until)
    for later, config in _later(run):
        if why := of_model.reads_otherwise_than(config["definition"]):
            raise NothingUnseenError(f"the model cannot be asked about the rows of run {later}, the newest ones: {why}")
        rows = _unseen_rows(later, of_model, wanted)
        if rows is None:
            continue
        if not rows:
            raise NothingUnseenError(f"its model has seen all rows of the test set of run {later}, the newest one")
        records, labels = zip(*rows, strict=True)
        return UnseenRows([*records], [*labels], later, _about(config["data"]))
    raise NothingUnseenError(
        f"no run since {run}, whose model answers, has left a test set of new data that is still there"
    )


def _folder(run: str) -> str:
    return f"s3://{settings.bucket}/runs/{run}"


def _later(run: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the runs after one, the newest first, with their configurations: those on the stack's own data."""
    _, folders = objects.level(f"s3://{settings.bucket}/runs/", after=f"runs/{run}/")
    ids = (key.split("/")[1] for key in folders)
    later = sorted((one for one in ids if RUN_ID.fullmatch(one) and one > run), reverse=True)
    for one in later[:MOST_RUNS]:
        config = objects.read_json_if_there(f"{_folder(one)}/config.json")
        # What an input has decided may be other data, or older ones.
        if config and not config.get("withheld") and config["data"]["prefix"] == settings.data_prefix:
            yield one, config


def _about(data: Mapping[str, Any]) -> dict[str, Any]:
    newest_file = {name: data["files"][-1][name] for name in ("Key", "VersionId")} if data["files"] else None
    known = {name: data[name] for name in ("bucket", "prefix", "listed_at", "fingerprint", "manifest")}
    return {**known, "files": data["file_count"], "newest": newest_file}


class _ModelRun:
    """The run whose model answers, and the rows that it knows. Raises NothingUnseenError: it left no list of them."""

    def __init__(self, run: str, until: float) -> None:
        self._folder, self._until = _folder(run), until
        self._definition = objects.read_json(f"{self._folder}/config.json")["definition"]
        report = objects.read_json_if_there(f"{self._folder}/report/report.json") or {}
        if report.get("identity") != specification(self._definition):
            raise NothingUnseenError(f"run {run}, whose model answers, left no list of the rows that it has seen")
        self._seen_rows = report["sets"]["train"] + report["sets"]["validation"]

    def reads_otherwise_than(self, definition: Mapping[str, Any]) -> str:
        """Return why rows of another definition are none that the model can be asked about; nothing where they are."""
        mine = self._definition
        if not reads_alike(definition, mine) or specification(definition) != specification(mine):
            return "it reads records, or tells rows, by other columns"
        return comparison.other_target(definition, mine) or comparison.other_groups(definition, mine)

    def unseen(self, later: str) -> comparison.Mask:
        """Return which test rows of a later run this one does not know `(n_rows,)`."""
        try:
            return self._not_known(later)
        except OutOfTimeError as error:
            why = f"reading the hashes of the {self._seen_rows:,} rows that its model has seen took too long"
            raise NothingUnseenError(f"{why} ({self._folder}/{FOLDER}/)") from error

    def _not_known(self, later: str) -> comparison.Mask:
        rows, pieces = hashes_of(_folder(later), "test"), SeenRows(self._folder, self._until)
        known = comparison.among(rows, pieces)
        if pieces.rows != self._seen_rows:
            there = f"{pieces.rows:,} of the {self._seen_rows:,} hashes of the rows that its model has seen are there"
            raise NothingUnseenError(f"{there} ({self._folder}/{FOLDER}/seen/)")
        known |= comparison.among(rows, [hashes_of(self._folder, "test")]) | comparison.untold(rows)
        rests = hashes_of(_folder(later), "rest")
        return ~(known | twins_of(rests, rows.size, self._folder, until=self._until))


def _unseen_rows(later: str, of_model: _ModelRun, wanted: int) -> list[tuple[str, float]] | None:
    """Return the newest test rows of a run that a model has not seen; None where it has left no whole test set."""
    parts = _parts(later)
    mask = of_model.unseen(later) if parts else np.empty(0, bool)
    if not parts or mask.size != sum(parts.values()):
        return None
    rows: list[tuple[str, float]] = []
    for part, is_unseen in reversed([*zip(parts, np.split(mask, np.cumsum([*parts.values()])[:-1]), strict=True)]):
        places = np.flatnonzero(is_unseen)[-(wanted - len(rows)) :]
        labels = predictions.labels(_lines(later, f"labels/{part}.csv"), part)
        records = _at(places.tolist(), _lines(later, f"test/{part}.jsonl"))
        if labels.size != is_unseen.size or len(records) != places.size:
            return None
        rows[:0] = zip(records, labels[places].tolist(), strict=True)
        if len(rows) == wanted:
            break
    return rows


def _at(places: Sequence[int], lines: Iterator[str]) -> list[str]:
    """Return the lines at these places, which ascend."""
    wanted = set(places)
    upto = islice(lines, places[-1] + 1) if places else ()
    return [line for place, line in enumerate(upto) if place in wanted]


def _parts(run: str) -> dict[str, int]:
    """Return the rows of each part of a run's test set, in order; none where a part of something is not there yet."""
    listed = {item["Key"]: item["Size"] // HASH_BYTES for item in objects.listed(f"{_folder(run)}/{FOLDER}/test/")}
    parts = {_part(key): rows for key, rows in sorted(listed.items())}
    others = [{_part(key) for key in objects.keys(f"{_folder(run)}/{folder}/")} for folder in ("labels", "test")]
    return parts if others == [set(parts)] * 2 else {}


def _part(key: str) -> str:
    return key.rsplit("/", 1)[-1].partition(".")[0]


def _lines(run: str, name: str) -> Iterator[str]:
    return (line for line in objects.lines(settings.bucket, f"runs/{run}/{name}") if line.strip())
