"""What a window's requests add up to: statistics of columns, what breaks the data contract, scores to be labelled.

Records pass in batches, so that memory grows with the number of requests by 16 bytes each, and not with their columns;
where facets are named (monitoring.bias), by 4 bytes more and one for each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import column_statistics
from perennial.data.column_statistics import NumericColumn, StringColumn
from perennial.data.contract import Contract, Violation, check
from perennial.evaluation.predictions import Score
from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.from_json import from_json
from perennial.features.rules import expected_by, rule_of_type, too_large
from perennial.monitoring import attribution
from perennial.monitoring.capture import Event, Tally, UnreadableError, fault
from perennial.monitoring.data_quality import WindowRecords
from perennial.monitoring.facets import NEITHER, FacetCounter, Sides
from perennial.monitoring.ground_truth import Requests
from perennial.monitoring.requests import FieldsError, RequestReader, Row, scores
from perennial.monitoring.sample import RecordSample

BATCH, MOST_WAITING = 4096, 1 << 24  # records, and characters of their requests
MOST_UNKNOWN = 10_000  # names of no column that are counted one by one
LABELS_AT_ONCE = 1 << 20
# The score of a record, or those of its classes, and the place of its request in Window.requests
Answered = tuple[Score, int]
NO_SCORE, NO_PLACE = float("nan"), -1
_UNREADABLE = ("unreadable_records", "unreadable_requests")
_NO_CONSTRAINTS: dict[str, Any] = {"version": column_statistics.FORMAT_VERSION, "features": []}
_NO_ROWS = {**_NO_CONSTRAINTS, "dataset": {"item_count": 0}}


class Window:
    """Takes in captured requests of one model, whose configuration has this definition."""

    def __init__(self, definition: Mapping[str, Any], tally: Tally) -> None:
        contract = Contract.from_definition(definition)
        self.target, self.classes = contract.target, contract.classes
        self._contract = replace(contract, columns=contract.features, split_column=None, key=())
        others = {column.name: column.sources for column in contract.columns if not column.feature}
        names = RequestNames(contract.features, others, ignore=contract.form.other_columns == "ignore")
        self._reader = RequestReader(self._contract.names, names)
        self._columns = [new_column(column, definition) for column in contract.features]
        self._tally = tally
        self._waiting: dict[str, list[Row]] = {"text": [], "json": []}
        self._answered: dict[str, list[Answered]] = {"text": [], "json": []}
        self._broken = Counter[tuple[str, str]]()
        self._too_large: dict[tuple[str, str], Any] = {}  # a value of those
        self._unknown, self._absent, self._fields = Counter[str](), Counter[str](), Counter[int]()
        self.requests = Requests(len(contract.classes))
        self._no_score: Score = [NO_SCORE] * len(contract.classes) if contract.classes else NO_SCORE
        self.facets = FacetCounter(definition)
        self._sides: list[tuple[npt.NDArray[np.uint32], Sides]] = []
        self.sample = RecordSample(attribution.RECORDS)
        self.records = 0
        self._size = 0  # of what waits

    def add(self, events: Iterable[Event]) -> None:
        """Take in requests."""
        for event in events:
            try:
                self._add(event)
            except FieldsError as error:
                self.records += 1
                self._fields[error.count] += 1
            except UnreadableError as error:
                self._tally.refuse("unreadable_requests", f"{event.where}: {error}")
        for kind in self._waiting:
            self._flush(kind)

    def _add(self, event: Event) -> None:
        rows = self._reader.rows(event.request)
        self._count_unknown(rows.unknown, len(rows.values))
        self._absent.update(dict.fromkeys(rows.absent, len(rows.values)))
        self.records += len(rows.values)
        kind = "text" if event.request.media_type == "text/csv" else "json"
        self._waiting[kind] += rows.values
        self._answered[kind] += self._take_scores(event, len(rows.values))
        self._size += len(event.request.text)
        if self._is_full():
            for each in self._waiting:
                self._flush(each)
            self._size = 0

    def _is_full(self) -> bool:
        return max(map(len, self._waiting.values())) >= BATCH or self._size > MOST_WAITING

    @property
    def to_be_labelled(self) -> int:
        """How many labels there can be."""
        return self.records

    def _count_unknown(self, names: Sequence[str], records: int) -> None:
        """Count names of no column: of many that differ each time, the first that came."""
        for name in names:
            if name in self._unknown or len(self._unknown) < MOST_UNKNOWN:
                self._unknown[name] += records

    def _take_scores(self, event: Event, records: int) -> list[Answered]:
        """Return what each record was answered, also where nothing was that can be read: its fields count all the same.

        A request of several records has no place among those that labels belong to.
        """
        nothing = [(self._no_score, NO_PLACE)] * records
        if event.answer is None:
            self._tally.counts["without_answer"] += 1
            return nothing
        if records > 1:
            self._tally.counts["requests_of_several_records"] += 1
        try:
            read = scores(event.answer, len(self.classes))
            if len(read) != records:
                raise UnreadableError(f"{len(read)} scores for {records} records")
        except ValueError as error:
            self._tally.refuse("unreadable_answers", f"{event.where}: {fault(error)}")
            return nothing
        if records > 1:
            return [(score, NO_PLACE) for score in read]
        return [(read[0], self.requests.add(event.id, read[0]))]

    def _flush(self, kind: str) -> None:
        rows, self._waiting[kind] = self._waiting[kind], []
        answered, self._answered[kind] = self._answered[kind], []
        if not rows:
            return
        values = {
            column.name: each for column, each in zip(self._contract.columns, zip(*rows, strict=True), strict=True)
        }
        batch = pa.record_batch(
            {column.name: _typed(column, list(values[column.name])) for column in self._contract.columns}
        )
        checked = check(self._contract, batch)
        self.sample.add(checked.table)
        for violation in checked.violations:
            self._count_broken(violation, values[violation.column.name])
        for column in self._columns:
            observe(column, checked.table[column.name].combine_chunks())
        if self.facets.rules:
            self._count_outcomes(self.facets.sides(checked.table), answered)

    def _count_broken(self, violation: Violation, values: Sequence[Any]) -> None:
        """Count rows by the rule that they break; a number too large for its type is above the maximum, as in files."""
        column = violation.column
        if violation.rule != "type":
            self._broken[column.name, violation.rule] += violation.rows.size
            return
        for value in (values[row] for row in violation.rows):
            key = column.name, rule_of_type(column, value)
            self._broken[key] += 1
            if too_large(column.type, value, column.parsing) is not None:
                self._too_large[key] = value

    def _count_outcomes(self, sides: Sides, answered: Sequence[Answered]) -> None:
        read, places = (np.array(column) for column in zip(*answered, strict=True))
        self.facets.add(sides)
        self.facets.add_scores(sides, read)
        can_be_labelled = places != NO_PLACE
        self._sides.append((places[can_be_labelled].astype(np.uint32), sides[can_be_labelled]))

    @property
    def categories(self) -> dict[str, Sequence[str]]:
        """The texts that model.yaml lists, by column."""
        columns = (*self._contract.columns, self.target)
        return {column.name: column.categories or () for column in columns}

    @property
    def sides(self) -> Sides:
        """The sides of each facet that the requests are on, `(n_requests, n_facets)`."""
        sides = np.full((len(self.requests), len(self.facets.rules)), NEITHER, np.int8)
        for places, some in self._sides:
            sides[places] = some
        return sides

    @property
    def unreadable(self) -> int:
        """What was captured and could not be read: no record, or no request."""
        return sum(self._tally.counts[what] for what in _UNREADABLE)

    @property
    def first_unreadable(self) -> str:
        """Where the first of them stands, and what is wrong with it."""
        return next((self._tally.first[what] for what in _UNREADABLE if what in self._tally.first), "")

    @property
    def left_out(self) -> str:
        """What was captured and is no record of the window, for people."""
        return self._tally.left_out

    @property
    def statistics(self) -> dict[str, Any]:
        """The document statistics.json. Of no row it has no column."""
        return column_statistics.statistics(self._columns) if self._has_rows else _NO_ROWS

    @property
    def constraints(self) -> dict[str, Any]:
        """The document constraints.json that these records suggest."""
        return column_statistics.constraints(self._columns) if self._has_rows else _NO_CONSTRAINTS

    @property
    def _has_rows(self) -> bool:
        return any(column.num_present + column.num_missing for column in self._columns)

    def described(self, labels: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> WindowRecords:
        """Return what data quality is judged by; `labels` of the window are one more column, the target."""
        statistics = self.statistics
        if len(labels) and self._has_rows:
            statistics = {**statistics, "features": [*statistics["features"], self._described_labels(labels)]}
        columns = {column.name: column for column in self._contract.columns}
        broken = {
            (name, rule): (rows, expected_by(columns[name], rule, self._too_large.get((name, rule))))
            for (name, rule), rows in self._broken.items()
        }
        return WindowRecords(statistics, self.records, len(columns), broken, self._unknown, self._fields, self._absent)

    def _described_labels(self, labels: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
        """Return the statistics of the target, given labels or the numbers of their classes."""
        if self.target.type == "string":
            counts = np.bincount(np.asarray(labels, np.int64), minlength=len(self.classes)).tolist()
            texts = StringColumn(self.target.name, domain=self.target.categories, max_categories=len(self.classes))
            texts.add((name, count) for name, count in zip(self.classes, counts, strict=True) if count)
            return texts.statistics()
        numbers = NumericColumn(self.target.name, integral=self.target.type != "float")
        classes = np.array(self.classes, np.float64)
        for first in range(0, len(labels), LABELS_AT_ONCE):
            some = np.asarray(labels[first : first + LABELS_AT_ONCE], np.float64)
            numbers.add(classes[some.astype(np.int64)] if classes.size else some)
        return numbers.statistics()


def new_column(column: Column, definition: Mapping[str, Any]) -> NumericColumn | StringColumn:
    """Return the statistics of a column that has seen no value yet."""
    if column.type == "string":
        most = definition["quality"]["max_categories"]
        return StringColumn(column.name, domain=column.categories, max_categories=most)
    return NumericColumn(column.name, integral=column.type != "float")


def _typed(column: Column, values: Sequence[Any]) -> pa.StructArray:
    """Return the values of a column of requests as data.contract.check takes values that are read."""
    read, invalid = from_json(column.type, values, column.parsing)
    invalid = pa.array(np.zeros(len(values), bool)) if invalid is None else pc.fill_null(invalid, False)
    return pa.StructArray.from_arrays([read, invalid], ["value", "invalid"])


def observe(column: NumericColumn | StringColumn, values: pa.Array) -> None:
    """Take in typed values of a column."""
    if isinstance(column, NumericColumn):
        column.add(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        return
    counts = pc.value_counts(values)
    column.add(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
