"""Writing the sets of a forecasting: series in DeepAR's JSON lines, from a spill file of their points.

Three times decide: when the periods begin that validate and that test, and the last period. What learns ends before
those that validate. What DeepAR measures itself by, its channel `test`, ends before those that test: its last periods
are those that validate. What is asked about the last periods ends before them as well, with the dynamic features up to
the last one. A series tests where it has a value both before and in the last periods; one that ended earlier is asked
about with missing values up to them.

Memory: the points of some series, or of the longest one (data.series).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from perennial.data import series_rows
from perennial.data.contract import Contract
from perennial.data.parts import PartWriter
from perennial.data.report import Report
from perennial.data.row_numbers import OfRows
from perennial.data.rows import CHAMPION_TEST, FOLDER, Hashes
from perennial.data.seasonal import seasonal_naive
from perennial.data.series import AllSeries, Series
from perennial.data.sets import Spill, rows_of_sets
from perennial.data.split import SETS, TEST, TRAIN, VALIDATION, SeriesHorizon
from perennial.features.lines import csv_field, csv_lines
from perennial.features.values import DataError
from perennial.model.series import MONITORED, category_columns, dynamic_columns, season_of
from perennial.words import quoted

Mask = npt.NDArray[np.bool_]
FEW_TESTED = 0.5
FEWEST_OBSERVATIONS = 300  # Developer Guide, "DeepAR Forecasting Algorithm", best practices
FEWEST_CHANGES = 2  # within a series, of a category that comes and goes: one change is a series that has moved
BASELINE_TIMES = 8  # a horizon apart, back from the periods that test: how series differ by the times


class SeriesWriter:
    """Writes the sets of one run below a folder, in parts of at most `per_part` lines.

    champion  the definition of a model in service that forecasts other series; None where it forecasts the same
    """

    def __init__(
        self,
        contract: Contract,
        definition: Mapping[str, Any],
        folder: Path,
        per_part: int,
        champion: Mapping[str, Any] | None = None,
    ) -> None:
        horizon = SeriesHorizon.from_definition(definition)
        if contract.form.series is None or horizon is None:
            raise ValueError("the definition has no series")
        self._contract, self._form = contract, contract.form.series
        self._periods, self._length, self._section = horizon.periods, horizon.length, definition["series"]
        self._champion, self._per_part = champion, per_part
        header = ",".join([*contract.baseline, *MONITORED])
        self._writers = {
            name: PartWriter(folder / name, suffix, per_part, f"{header}\n".encode() if name == "baseline" else b"")
            for name, suffix in (
                ("train", ".json"), ("validation", ".json"), ("test", ".jsonl"), ("labels", ".csv"),
                ("baseline", ".csv"), (CHAMPION_TEST, ".jsonl"),
            )
        }  # fmt: skip
        self._hashes = {
            name: PartWriter(folder / FOLDER / name, ".u64", per_part) for name in ("seen", "test", "target")
        }
        self._lines_in_part = self._labels_in_part = self._observed = 0
        self._last = self._series = self._tested = 0
        self._latest = ""  # a series that has the last value of all
        self._alternating = np.zeros(len(self._form.categories), np.int64)

    def write(self, spill: Spill, sets: OfRows, report: Report) -> None:
        """Write all sets, and count their points. Raises DataError: there is too little to learn from or to test."""
        every = AllSeries(partial(rows_of_sets, spill, sets, (TRAIN, VALIDATION, TEST), None), self._form, spill.folder)
        report.rows_by_set, self._last = dict.fromkeys(SETS, 0), every.last
        for one in every:
            self._write(one, report)
            self._alternating += (np.diff(one.points.categories, axis=0) != 0).sum(axis=0) >= FEWEST_CHANGES
        for writer in (*self._writers.values(), *self._hashes.values()):
            writer.close()
        different = report.rows_used - report.rows_repeated
        report.rows_in_no_set = max(0, different - sum(report.rows_by_set.values()))
        self._judge_categories()
        last = f"which end with {self._periods.text(self._last)} of series {quoted(self._latest)}"
        _judge(self._observed, report.rows_by_set, last)
        if self._tested < FEW_TESTED * self._series:
            report.note_of_series = (
                f"only {self._tested:,} of {self._series:,} series have a value in the last periods, {last}; nothing "
                "tests the others. Is that time right?"
            )

    def _judge_categories(self) -> None:
        """Raise DataError when a category is none of the series, as it comes and goes in most of them."""
        for (name, _), alternating in zip(self._form.categories, self._alternating.tolist(), strict=True):
            if 2 * alternating > self._series:
                raise DataError(
                    f"{name}: its category comes and goes within {alternating:,} of {self._series:,} series; DeepAR "
                    "knows one for the whole of a series; make numbers of what changes from period to period, "
                    "such as 1 and 0 for each category, or set feature: false"
                )

    def _write(self, one: Series, report: Report) -> None:
        points, validation, test = one.points, self._place(one, 2), self._place(one, 1)
        self._series += 1
        if not np.isnan(points.values[points.units == self._last]).all():
            self._latest = one.key
        is_observed = ~np.isnan(points.values)
        for number in (TRAIN, VALIDATION):
            of_set = points.sets == number
            report.rows_by_set[SETS[number]] += int(of_set.sum())
            report.targets[SETS[number]].update(pa.array(points.values[of_set & is_observed]))
        self._write_hashes("seen", points.identities[points.sets != TEST])
        trained = int((~np.isnan(one.values[:validation])).sum())
        self._observed += trained
        if trained:
            self._writers["train"].write(1, self._line(one, validation))
        if trained and not np.isnan(one.values[validation:test]).all():
            self._writers["validation"].write(1, self._line(one, test))
        tested = (points.sets == TEST) & is_observed
        if tested.any() and not np.isnan(one.values[:test]).all():
            report.rows_by_set["test"] += int(tested.sum())
            report.targets["test"].update(pa.array(points.values[tested]))
            self._write_test(one, test, tested)
            self._tested += 1
        for back in range(BASELINE_TIMES):
            if line := self._baseline_line(one, test - back * self._length):
                self._writers["baseline"].write(1, line)

    def _write_test(self, one: Series, test: int, tested: Mask) -> None:
        """Write what is asked about a series, and what happened then: both of a part belong together."""
        steps, labels = one.places[tested] - test, one.points.values[tested]
        naive = seasonal_naive(one.values[:test], season_of(self._section), self._length)
        if self._labels_in_part + steps.size > self._per_part:
            for name in ("test", "labels", CHAMPION_TEST):
                self._writers[name].close()
            self._lines_in_part = self._labels_in_part = 0
        self._writers["test"].write(1, self._line(one, test, ahead=self._length))
        if self._champion:
            self._writers[CHAMPION_TEST].write(1, self._line_of_champion(one, test, self._champion))
        for step, label in zip(steps.tolist(), labels.tolist(), strict=True):
            line = f"{self._lines_in_part},{step + 1},{label!r},{float(naive[step])!r}\n"
            self._writers["labels"].write(1, line.encode())
        self._lines_in_part += 1
        self._labels_in_part += steps.size
        self._write_hashes("test", one.points.identities[tested])
        self._write_hashes("target", one.points.targets[tested])

    def _write_hashes(self, name: str, hashes: Hashes) -> None:
        if hashes.size:
            self._hashes[name].write(hashes.size, hashes.astype("<u8").tobytes())

    def _place(self, one: Series, horizons: int) -> int:
        """Return how many periods a series has before the last ones, those of so many horizons; 0 for none."""
        ahead = horizons * self._length * self._periods.step
        return max(0, -(-(self._last - ahead + 1 - one.first) // self._periods.step))

    def _line(self, one: Series, end: int, ahead: int | None = None) -> bytes:
        """Return a series up to a period as DeepAR reads it.

        What learns ends with its last value; what is asked about has dynamic features of so many periods ahead.
        """
        values = one.values[:end]
        if ahead is None:
            end = int(np.flatnonzero(~np.isnan(values))[-1]) + 1
        target: list[Any] = [None if value != value else value for value in values[:end].tolist()]
        target += [None] * (end - len(target))
        record: dict[str, Any] = {"start": self._periods.text(one.first), "target": target}
        if self._form.categories:
            record["cat"] = [*one.categories]
        if self._form.dynamic:
            record["dynamic_feat"] = one.dynamic_until(end + (ahead or 0)).T.tolist()
        return json.dumps(record).encode() + b"\n"

    def _line_of_champion(self, one: Series, end: int, champion: Mapping[str, Any]) -> bytes:
        """Return a series as a model in service can be asked about that knows others: nothing compares with its answer.

        What it cannot know is what comes first of its own: any category, and zeros.
        """
        record_of_test = json.loads(self._line(one, end, ahead=0))
        record = {name: record_of_test[name] for name in ("start", "target")}
        if categories := category_columns(champion):
            record["cat"] = [0] * len(categories)
        if dynamic := dynamic_columns(champion):
            zeros = [0.0] * (end + champion["series"]["prediction_length"])
            record["dynamic_feat"] = [zeros] * len(dynamic)
        return json.dumps(record).encode() + b"\n"

    def _baseline_line(self, one: Series, end: int) -> bytes:
        """Return the series up to a period as a row that monitoring compares others with; nothing without values."""
        known = one.values[: max(0, end)]
        if len(known) < end or np.isnan(known).all():
            return b""
        last = float(known[~np.isnan(known)][-1])
        numbers = zip(self._form.categories, one.categories, strict=True)
        texts = {name: categories[number] for (name, categories), number in numbers}
        ahead = one.dynamic[end : end + self._length]
        means = dict(zip(self._form.dynamic, ahead.mean(axis=0).tolist(), strict=True)) if len(ahead) else {}
        means = {name: means.get(name, np.nan) for name in self._form.dynamic}
        values = {self._form.target: last, **series_rows.row(known, texts, means, self._section)}
        columns = [*self._contract.baseline, *MONITORED]
        return bytes(csv_lines([csv_field(pa.array([values[name]])) for name in columns]))


def _judge(observed: int, points: Mapping[str, int], last: str) -> None:
    """Raise DataError when there is too little to learn from, or nothing to test. `last` says which periods test."""
    if observed < FEWEST_OBSERVATIONS:
        raise DataError(
            f"the series have {observed:,} values that train, before the last two times "
            f"series.prediction_length periods; DeepAR needs at least {FEWEST_OBSERVATIONS} over all series"
        )
    if not points["test"]:
        raise DataError(
            f"no series has a value both in the last series.prediction_length periods, {last}, and before them"
        )
    if not points["validation"]:
        raise DataError("no series has a row in the series.prediction_length periods before the last ones")
