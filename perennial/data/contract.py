"""The data contract of a model: what every row must be like, and which rows are not.

Rules, each for one column: `type` (not readable as the column's type), `missing` (empty, and not nullable),
`minimum` and `maximum`, `logarithm` (a target that is not above 0, of a model that learns its logarithm), `category`
(not one of those allowed), `period` (a time of a series that no period begins at). A row with another number of fields
than the header breaks the rule `fields`. The column that the split uses, the one that training.window counts by and the
key are never nullable, and neither is the target, but for one of series.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import training_window
from perennial.data.file_form import USUAL, FileForm
from perennial.data.periods import Periods
from perennial.data.series_form import SeriesForm
from perennial.data.slices import slices_of
from perennial.features.column import Column
from perennial.features.comparing import above, below
from perennial.features.from_arrow import from_arrow
from perennial.features.from_text import from_text
from perennial.features.parsing import NUMBERS
from perennial.features.rules import broken_rule, rule_of_type
from perennial.features.values import Parsed, extremes, holds_blanks
from perennial.model.problem_types import classes_of


@dataclass(frozen=True)
class Contract:
    """The columns of a model's data in the order of the definition."""

    columns: tuple[Column, ...]
    target: Column
    problem: str
    split_column: str | None
    form: FileForm = USUAL
    key: tuple[str, ...] = ()
    window_column: str | None = None
    classes: tuple[str, ...] = ()
    slices: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Contract:
        """Read a resolved definition (config.json).

        Keys: columns, files, gate.slices, other_columns, problem, split, target, target_transform, training.
        """
        target, split_column = definition["target"], definition["split"].get("column")
        form = FileForm.from_definition(definition)
        key, window_column = tuple(definition["split"].get("key") or ()), training_window.column_of(definition)
        columns = tuple(
            Column.from_definition(
                name,
                column,
                required=name in (split_column, window_column, *key) or (name == target and not form.series),
                feature=column.get("feature", True) and name != target,
                logarithm=name == target and definition.get("target_transform") == "log",
            )
            for name, column in definition["columns"].items()
        )
        if form.series:  # a period without a value is no fault: the target of a row may be missing
            period = Periods.of(form.series.frequency).expected
            of_series: dict[str, dict[str, Any]] = {target: {"nullable": True}, form.series.time: {"period": period}}
            columns = tuple(replace(one, **of_series.get(one.name, {})) for one in columns)
        by_name = {column.name: column for column in columns}
        classes = classes_of(definition)
        slices = tuple(one["where"] for one in slices_of(definition).values())
        return cls(
            columns, by_name[target], definition["problem"], split_column, form, key, window_column, classes, slices
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[Column, ...]:
        """The feature columns, in the order of the CSV records that callers send."""
        return tuple(column for column in self.columns if column.feature)

    @property
    def baseline(self) -> tuple[str, ...]:
        """The columns of the data baseline: the target, then the features."""
        return (self.target.name, *(column.name for column in self.features))

    @property
    def working_columns(self) -> tuple[Column, ...]:
        """What later steps need: telling_columns, the one that training.window counts by, and those of slices."""
        telling, others = self.telling_columns, {self.window_column, *itertools.chain(*self.slices)}
        return tuple(column for column in self.columns if column in telling or column.name in others)

    @property
    def telling_columns(self) -> tuple[Column, ...]:
        """What a row says: the features, the target, the column that splits and the key."""
        needed = (self.target.name, self.split_column, *self.key)
        return tuple(column for column in self.columns if column.feature or column.name in needed)


@dataclass(frozen=True)
class Violation:
    """Rows of a batch that break one rule; `rows` are positions in the batch, ascending."""

    column: Column
    rule: str
    rows: npt.NDArray[np.int64]

    def reason(self, value: object) -> str:
        """Return why a row with this value breaks the rule, for people."""
        return f"{self.column.name}: {broken_rule(self.column, self.rule, value)}"


@dataclass(frozen=True)
class Checked:
    """A batch after the check: all its rows, typed (`Contract.working_columns`), and what breaks the contract."""

    table: pa.Table
    violations: tuple[Violation, ...]

    def invalid_rows(self) -> npt.NDArray[np.int64]:
        """Return positions of the rows that break a rule, ascending, each once."""
        if not self.violations:
            return np.empty(0, np.int64)
        return np.unique(np.concatenate([violation.rows for violation in self.violations]))

    def valid(self) -> pa.Table:
        """Return the rows that keep the contract."""
        if not self.violations:
            return self.table
        keep = np.ones(self.table.num_rows, bool)
        keep[self.invalid_rows()] = False
        return self.table.filter(pa.array(keep))


def check(contract: Contract, source: pa.RecordBatch) -> Checked:
    """Check a batch with the contract's columns: texts of a CSV file, Parquet values or values that are read."""
    violations: list[Violation] = []
    typed: dict[str, pa.Array] = {}
    working = frozenset(column.name for column in contract.working_columns)
    for column in contract.columns:
        read = parsed if column.name in working else _not_kept
        values, invalid = read(column, source.column(column.name))
        typed[column.name] = values
        if invalid is not None and pc.any(invalid).as_py():
            violations += _not_of_type(column, source.column(column.name), _positions(invalid))
        violations += _violations(column, values, invalid)
        if (series := contract.form.series) and column.name == series.time:
            violations += _between_periods(series, column, values)
    return Checked(pa.table({name: typed[name] for name in typed if name in working}), tuple(violations))


def class_numbers(target: pa.Array, classes: Sequence[str]) -> pa.Array:
    """Return the targets of rows as algorithms know them: as numbers of their classes, where these have names.

    What is none of the classes is null.
    """
    if not classes:
        return target
    names = target if pa.types.is_dictionary(target.type) else pc.cast(target, pa.string()).dictionary_encode()
    return pc.index_in(names.dictionary, pa.array(classes)).take(names.indices)


def parsed(column: Column, array: pa.Array) -> Parsed:
    """Return the values of a column of a batch, as the column reads them."""
    if pa.types.is_struct(array.type):
        return Parsed(array.field("value"), array.field("invalid"))
    if array.type == pa.string():
        return from_text(column.type, array, column.parsing)
    return from_arrow(column.type, array, column.parsing)


def _not_kept(column: Column, array: pa.Array) -> Parsed:
    """Return the values of a column that only the check looks at: of any text only whether it is there."""
    if array.type != pa.string() or column.type != "string" or column.categories or column.parsing.missing:
        return parsed(column, array)
    is_missing = pc.equal(pc.binary_length(array), 0)
    if column.parsing.strip and holds_blanks(array):
        is_missing = pc.or_(is_missing, pc.utf8_is_space(array))
    return Parsed(pc.if_else(is_missing, None, True), None)


def _not_of_type(column: Column, array: pa.Array, rows: npt.NDArray[np.int64]) -> Iterator[Violation]:
    """Yield what values break that are none of the column's type: each is looked at once, where it is known."""
    is_told = not pa.types.is_struct(array.type) or array.type.get_field_index("text") >= 0
    if column.type not in NUMBERS or (column.minimum is None and column.maximum is None) or not is_told:
        yield Violation(column, "type", rows)
        return
    texts = array.field("text") if pa.types.is_struct(array.type) else array
    encoded = texts.take(pa.array(rows)).dictionary_encode()
    rules = np.array([rule_of_type(column, value) for value in encoded.dictionary.to_pylist()])
    rules = rules[encoded.indices.to_numpy(zero_copy_only=False)]
    for rule in ("type", "minimum", "maximum"):
        if (some := rows[rules == rule]).size:
            yield Violation(column, rule, some)


def _violations(column: Column, values: pa.Array, invalid: pa.BooleanArray | None) -> Iterator[Violation]:
    """Yield what one column breaks. The healthy path looks at extremes and counts only."""
    if values.null_count and not column.nullable:
        missing = pc.is_null(values) if invalid is None else pc.and_not(pc.is_null(values), invalid)
        if pc.any(missing).as_py():
            yield Violation(column, "missing", _positions(missing))
    if column.minimum is not None or column.maximum is not None or column.logarithm:
        yield from _out_of_range(column, values)
    if column.categories is not None:
        yield from _not_a_category(column, column.categories, values)


def _between_periods(series: SeriesForm, column: Column, values: pa.Array) -> Iterator[Violation]:
    """Yield the times of series that are not the begin of a period."""
    times = values.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    wrong = ~np.isnat(times) & ~Periods.of(series.frequency).begin(times)
    if wrong.any():
        yield Violation(column, "period", np.flatnonzero(wrong))


def _out_of_range(column: Column, values: pa.Array) -> Iterator[Violation]:
    lowest, highest = extremes(values)
    if lowest is None:
        return
    if column.minimum is not None and lowest < column.minimum:
        yield Violation(column, "minimum", _positions(below(values, column.minimum)))
    if column.maximum is not None and highest > column.maximum:
        yield Violation(column, "maximum", _positions(above(values, column.maximum)))
    if column.logarithm and lowest <= 0:
        yield Violation(column, "logarithm", _positions(pc.less_equal(values, 0)))


def _not_a_category(column: Column, categories: Sequence[str], values: pa.DictionaryArray) -> Iterator[Violation]:
    allowed = pc.is_in(values.dictionary, value_set=pa.array(categories, pa.string()))
    if not pc.all(allowed, min_count=0).as_py():
        yield Violation(column, "category", _positions(pc.invert(allowed.take(values.indices))))


def _positions(mask: pa.BooleanArray) -> npt.NDArray[np.int64]:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
