"""The report of preprocessing: counts for the run record, and the checks on the data as a whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.contract import Contract
from perennial.data.drift import ColumnDrift
from perennial.data.quarantine import Quarantine
from perennial.data.split import SETS
from perennial.features.values import DataError, extremes
from perennial.model.problem_types import PROBLEM_TYPES
from perennial.words import printable

MAX_REASON = 1000
WIDE_RANGE = 100  # the largest training target over the smallest, from which on a logarithm may help


@dataclass
class TargetRange:
    """Extremes of the target in one set, or of the numbers of its classes; None until there is a row."""

    min: float | None = None
    max: float | None = None

    def update(self, target: pa.Array) -> None:
        """Take in the target of some rows, of which none is missing."""
        if len(target):
            self._widen(*extremes(pc.cast(target, pa.float64(), safe=False)))

    def merge(self, other: TargetRange) -> None:
        """Take in the extremes of other rows."""
        if other.min is not None and other.max is not None:
            self._widen(other.min, other.max)

    def _widen(self, lowest: float, highest: float) -> None:
        self.min = lowest if self.min is None else min(self.min, lowest)
        self.max = highest if self.max is None else max(self.max, highest)


@dataclass
class Report:
    """Counts of rows by file, rule and set.

    new_files          rows, quarantined and rules of the files that the model in service was not trained on, and how
                       many of their rows repeat one of a known file, or, with a key, have the key of one and say
                       something else (of many rows, estimates); how many of the files are copies of another
    noted              what a person should know of them, and of which
    since              what has become of definition and data since the model in service was trained (data.since)
    aside              files that cannot be read as this table: no row of theirs is used or counted
    problems           why the job failed, if it did: the first line says the most
    rows_repeated      rows that repeat an earlier one, whatever their set; of many rows, an estimate
    rows_left_out      of those: that count nowhere, because a copy is measured or a later row has their key
    rows_in_no_set     points of series that are neither learned from nor tested: without a value in the last periods or
                       before them, or dated after the run
    rows_trained_again rows that train beside a copy; of many rows, an estimate
    identity           what the hashes of rows depend on (data.rows.specification), and those under `champion/`
    late               how many rows are dated later than the run (by a split by time, or training.window), and the
                       latest of these times
    training_window    the period that trains and judges, and how many rows are before it (data.training_window)
    absent             columns that no file has
    champion_untold    how many rows cannot be told by the columns of the model in service, by the reason
    champion_target    of how many rows both definitions read the target, and of how many as another, where they differ
    moved, drift       how far the new files lie from the baseline of the model in service (data.drift), and what
                       of it is written
    texts              how text columns were encoded (data.coverage)
    logarithm          whether the algorithm learns the logarithm of the target
    is_series          whether rows are points of series, each of which DeepAR learns at its own scale
    note_of_series     what is conspicuous about which of them test; empty if nothing is
    classes            names of the target's classes, where they have some; class_rows counts the rows of each by set
    """

    files: list[dict[str, Any]] = field(default_factory=list)
    new_files: dict[str, Any] = field(default_factory=lambda: {"files": 0, "rows": 0, "quarantined": 0})
    noted: dict[str, list[str]] = field(default_factory=dict)
    since: dict[str, Any] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    rows_read: int = 0
    rows_used: int = 0
    rows_written_to_quarantine: int = 0
    rows_by_set: dict[str, int] = field(default_factory=dict)
    targets: dict[str, TargetRange] = field(default_factory=lambda: {name: TargetRange() for name in SETS})
    rows_repeated: int = 0
    rows_left_out: int = 0
    rows_trained_again: int = 0
    rows_in_no_set: int = 0
    identity: str = ""
    champion_identity: str = ""
    late: dict[str, Any] | None = None
    training_window: dict[str, Any] | None = None
    absent: list[str] = field(default_factory=list)
    champion_target: dict[str, int] | None = None
    champion_untold: dict[str, int] = field(default_factory=dict)
    moved: list[ColumnDrift] = field(default_factory=list)
    drift: dict[str, Any] | None = None
    feature_names: list[str] = field(default_factory=list)
    texts: dict[str, Any] = field(default_factory=dict)
    logarithm: bool = False
    is_series: bool = False
    note_of_series: str = ""
    aside: list[dict[str, Any]] = field(default_factory=list)
    problems: Sequence[str] = ()
    widest_row: int | None = None
    classes: Sequence[str] = ()
    class_rows: dict[str, list[int]] = field(default_factory=dict)

    def put_aside(self, position: int, name: str, error: DataError) -> None:
        """Name a file that cannot be read as a table, by its position in the manifest."""
        first, *others = error.lines
        reason = "; ".join([first.removeprefix(f"{name}: "), *others[:1]])[:MAX_REASON]
        self.aside.append({"position": position, "name": name, "reason": reason, "problems": others[1:]})

    def add_file(
        self, name: str, size: int, used: int, quarantined: int, notes: Sequence[str] = (), *, is_new: bool = True
    ) -> None:
        """Count a file of so many bytes that was read to its end, with what a person should know of it."""
        rows = used + quarantined
        noted = {"notes": [*notes]} if notes else {}
        self.files.append({"name": name, "bytes": size, "rows": rows, "quarantined": quarantined, **noted})
        self.rows_read += rows
        self.rows_used += used
        if is_new:
            new = self.new_files
            new["files"] += 1
            new["rows"] += rows
            new["quarantined"] += quarantined
            for text in notes:
                self.noted.setdefault(text, []).append(name)

    def add_copy(self, name: str, size: int, original: str, *, is_new: bool) -> None:
        """Count a file that was not read, because it has the bytes of another one."""
        self.add_file(name, size, 0, 0, [f"the same file as {original}, which counts once"], is_new=is_new)
        if is_new:
            self.new_files["copies"] = self.new_files.get("copies", 0) + 1

    def add_late(self, column: str | None, late: Sequence[tuple[int, str]]) -> None:
        """Count rows of a file that are dated later than the run, given (how many, the latest time)."""
        known = self.late or {"rows": 0, "latest": ""}
        counts, times = zip((known["rows"], known["latest"]), *late, strict=True)
        if sum(counts):
            self.late = {"column": column, "rows": sum(counts), "latest": max(times)}

    def add_to_set(self, name: str, target: pa.Array) -> None:
        """Count some rows of a set, given their targets or the numbers of their classes."""
        self.rows_by_set[name] = self.rows_by_set.get(name, 0) + len(target)
        self.targets[name].update(target)
        if self.classes:
            counts = np.bincount(target.to_numpy(), minlength=len(self.classes))
            self.class_rows[name] = (counts + self.class_rows.get(name, 0)).tolist()

    def of_sets(self) -> Report:
        """Return an empty report, which counts rows of sets as this one."""
        return Report(logarithm=self.logarithm, classes=self.classes)

    def merge_sets(self, other: Report) -> None:
        """Count the rows of sets that another report has counted."""
        for name, rows in other.rows_by_set.items():
            self.rows_by_set[name] = self.rows_by_set.get(name, 0) + rows
            self.targets[name].merge(other.targets[name])
        for name, counts in other.class_rows.items():
            known = self.class_rows.get(name, [0] * len(counts))
            self.class_rows[name] = [one + more for one, more in zip(known, counts, strict=True)]

    def add_quarantine(self, quarantine: Quarantine) -> None:
        """Add the counts of rows that break the contract."""
        self.rules, self.new_files["rules"] = quarantine.all.rules(), quarantine.new.rules()
        self.rows_written_to_quarantine = quarantine.written - quarantine.written_of_strays

    @property
    def rows_older(self) -> int:
        """How many rows training.window leaves out."""
        return int((self.training_window or {}).get("rows", 0))

    def rows_by_class(self) -> list[dict[str, Any]]:
        """Return how many rows of each set are of each class, which have names; nothing where they have none."""
        return [
            {"class": name, **{one: counts[number] for one, counts in self.class_rows.items()}}
            for number, name in enumerate(self.classes)
        ]

    def notes(self) -> list[str]:
        """Return what may make the model better."""
        if self.note_of_series:
            return [self.note_of_series]
        lowest, highest = self.targets["train"].min, self.targets["train"].max
        if self.is_series or self.logarithm or not lowest or not highest or lowest < 0 or highest < WIDE_RANGE * lowest:
            return []
        return [
            f"the target of the training rows goes from {lowest:g} to {highest:g}; where it spans orders of magnitude, "
            "target: {column: ..., transform: log} in model.yaml often makes a better model"
        ]

    def write(self, folder: Path) -> None:
        """Write report.json, and problems.txt if there are any."""
        document: dict[str, Any] = {
            "rows": {
                "read": self.rows_read,
                "used": self.rows_used,
                "quarantined": self.rows_read - self.rows_used,
                "written_to_quarantine": self.rows_written_to_quarantine,
                **({"in_no_set": self.rows_in_no_set} if self.rows_in_no_set else {}),
            },
            "sets": self.rows_by_set,
            "target": {name: asdict(extremes) for name, extremes in self.targets.items()},
            "classes": self.rows_by_class(),
            "duplicates": {
                "rows": self.rows_repeated,
                "left_out": self.rows_left_out,
                "trained_again": self.rows_trained_again,
            },
            "identity": self.identity,
            "champion_identity": self.champion_identity,
            "champion_target": self.champion_target,
            "champion_untold": self.champion_untold,
            "late": self.late,
            "training_window": self.training_window,
            "absent": self.absent,
            "drift": self.drift,
            "since": self.since,
            "rules": self.rules,
            "new_files": {**self.new_files, "notes": [_noted(text, names) for text, names in self.noted.items()]},
            "files": self.files,
            "aside": self.aside,
            "problems": [printable(line, MAX_REASON) for line in self.problems],
            "features": self.feature_names,
            "widest_row": self.widest_row,
            "texts": self.texts,
            "notes": self.notes(),
        }
        (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        if self.problems:
            text = "".join(f"{line}\n" for line in document["problems"])
            (folder / "problems.txt").write_text(text, encoding="utf-8")


IN_QUARANTINE = "of the rows are in the quarantine folder of the run"


def _noted(text: str, names: Sequence[str]) -> str:
    """Return each note once, with the files that it is about."""
    return f"{names[0]}: {text}" if len(names) == 1 else f"in {len(names):,} files, such as {names[0]}: {text}"


def judge_rows(report: Report, quarantine: Quarantine, quality: Mapping[str, Any]) -> None:
    """Raise DataError when too many rows break the contract, or too few are left.

    Keys of `quality`: max_invalid_share (itself allowed, of the rows read), min_rows.
    """
    if not report.rows_read and report.aside:
        raise DataError(*_aside(report, "no file can be read as this table"))
    if not report.rows_read:
        raise DataError("no data: there is no file. Upload a CSV or Parquet file with rows")
    allowed, broken = quality["max_invalid_share"], quarantine.all.rows
    if broken / report.rows_read > allowed:
        raise DataError(
            f"{quarantine.worst}: {quarantine.all.headline(report.rows_read, allowed)}",
            *quarantine.all.problems(),
            f"{report.rows_written_to_quarantine:,} {IN_QUARANTINE}",
        )
    rows, older = report.rows_used - report.rows_older, report.rows_older
    if rows < quality["min_rows"]:
        but = f" ({older:,} more are too old for training.window)" if older else ""
        raise DataError(f"{rows:,} rows can be used{but}; expected at least {quality['min_rows']:,} (quality.min_rows)")


def judge_trained(since: Mapping[str, Any], quality: Mapping[str, Any]) -> None:
    """Raise DataError when too many rows that the model in service was trained on cannot be read any more.

    Keys of `quality`: max_invalid_share (itself allowed, of the rows that it was trained on).
    """
    unreadable, allowed = since.get("unreadable", []), quality["max_invalid_share"]
    lost = sum(file["rows"] for file in unreadable)
    if lost and lost / since["rows"] > allowed:
        raise DataError(
            f"{lost:,} of the {since['rows']:,} rows that the model in service was trained on cannot be read any more "
            f"({lost / since['rows']:.2%}); allowed are {allowed:.2%} (quality.max_invalid_share)",
            *(f"{file['name']} ({file['rows']:,} rows): {file['reason']}" for file in unreadable),
        )


def judge_news(report: Report, new_files: frozenset[int]) -> None:
    """Raise DataError when all that is new since the model in service was put aside: there is nothing to learn."""
    if new_files and new_files <= {item["position"] for item in report.aside}:
        raise DataError(*_aside(report, "nothing that is new can be read as this table"))


def _aside(report: Report, headline: str) -> list[str]:
    """Return the reason of one file, or a headline and a line for each."""
    reasons = [[f"{item['name']}: {item['reason']}", *item["problems"]] for item in report.aside]
    return reasons[0] if len(reasons) == 1 else [f"{headline} ({len(reasons)} files)", *itertools.chain(*reasons)]


def judge_sets(report: Report, contract: Contract) -> None:
    """Raise DataError when a set is empty, or its target says nothing."""
    name, problem_type = contract.target.name, PROBLEM_TYPES[contract.problem]
    for set_name, target in report.targets.items():
        if target.min is None or target.max is None:
            raise DataError(
                f"the {set_name} set is empty: too few rows (or groups, or times) for the shares in split, or too many "
                "that are alike; where rows of the same features are not the same thing, name what tells them apart "
                "in split.key"
            )
        strange = {target.min, target.max} - set(problem_type.values or (target.min, target.max))
        if strange:
            expected = " or ".join(f"{value:g}" for value in problem_type.values)
            what = contract.problem.replace("_", " ")
            raise DataError(f"{name}: the target of a {what} is {expected}; got {max(strange):g}")
        if target.min == target.max and (problem_type.is_classes or set_name == "train"):
            value = report.classes[int(target.min)] if report.classes else f"{target.min:g}"
            raise DataError(
                f"{name}: the target is {value} in every row of the {set_name} set; "
                "a model cannot learn from a constant. Check how the column is filled"
            )
    _judge_classes(report, name)


def _judge_classes(report: Report, target: str) -> None:
    """Raise DataError when a class has no row that trains or tests: nobody would know how well it is told."""
    rare = [one for one in report.rows_by_class() if not (one["train"] and one["test"])]
    if rare:
        raise DataError(
            f"{target}: {len(rare)} of {len(report.classes)} classes have too few rows for the split: each needs at "
            "least one that trains and one that tests. Collect more rows of them, or take them out of the classes of "
            "the target in model.yaml, together with their rows; where rows of the same features are not the same "
            "thing, name what tells them apart in split.key",
            *(f"{one['class']}: " + ", ".join(f"{one[name]:,} in {name}" for name in SETS) for one in rare),
        )
