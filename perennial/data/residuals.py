"""What numbers and small texts leave of the target, so that the mean of a text of many values tells only of the text.

A name whose rows happen to be old has a low mean price, and the algorithm, which knows the age as well, would count it
twice. So the means are taken of residuals: the target less a linear function of the other columns, whose coefficients
come from differences between rows of the same value only (the "within" estimator of fixed effects; W. Greene,
Econometric Analysis, chapter 11). Otherwise a column that goes along with the text, the engine of a car, would take a
part of what the text says. It is fitted on a sample in memory, by ridge regression of standardized numbers.

A number is cut off at CUT standard deviations, is 0 where it is missing, and then has a coefficient of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.target_encoding import Floats, Rows

SAMPLE = 20_000  # rows
MAX_FEATURES = 200  # of the linear function; what does not fit is left out
RIDGE = 1.0
CUT = 5.0

Values = npt.NDArray[Any]  # numbers with NaN, or texts with None


class Sample:
    """The training rows of the smallest hashes, at most SAMPLE: the same ones however files are packed."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Values]] = {}
        self._target: list[Floats] = []
        self._identity: list[npt.NDArray[np.uint64]] = []
        self._rows, self._below = 0, np.uint64(2**64 - 1)

    def update(self, table: pa.Table, target: Floats, identity: npt.NDArray[np.uint64]) -> None:
        """Take in some training rows."""
        wanted = np.flatnonzero(identity <= self._below)
        some = table.take(pa.array(wanted))
        for name in table.column_names:
            self._columns.setdefault(name, []).append(_plain(some[name].combine_chunks()))
        self._target.append(target[wanted])
        self._identity.append(identity[wanted])
        self._rows += len(wanted)
        if self._rows > 2 * SAMPLE:
            self._cut()

    def merge(self, other: Sample) -> None:
        """Take in the rows of another, which come after these."""
        for name, parts in other._columns.items():
            self._columns.setdefault(name, []).extend(parts)
        self._target += other._target
        self._identity += other._identity
        self._rows += other._rows
        if self._rows > 2 * SAMPLE:
            self._cut()

    def _cut(self) -> None:
        """Keep the rows of the smallest hashes, in their order."""
        identity = np.concatenate(self._identity)
        smallest = np.argsort(identity, kind="stable")[:SAMPLE]
        self._columns = {name: [np.concatenate(parts)[smallest]] for name, parts in self._columns.items()}
        self._target, self._identity = [np.concatenate(self._target)[smallest]], [identity[smallest]]
        self._rows, self._below = len(smallest), self._identity[0].max(initial=0)

    def rows(self) -> tuple[dict[str, Values], Floats]:
        """Return the columns and the target."""
        self._cut()
        return {name: parts[0] for name, parts in self._columns.items()}, self._target[0]


def _plain(values: pa.Array) -> Values:
    if pa.types.is_dictionary(values.type):
        return np.asarray(values.cast(pa.string()).to_numpy(zero_copy_only=False), object)
    return _numbers(values)


def _numbers(values: pa.Array) -> Floats:
    numbers = values if pa.types.is_floating(values.type) else pc.cast(values, pa.float64(), safe=False)
    return np.asarray(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False), np.float64)


@dataclass(frozen=True)
class Explained:
    """A linear function of some columns.

    numbers  mean, standard deviation, coefficient, and what a missing number stands for, by column
    texts    the coefficient of each value, by column; others and missing ones have 0
    """

    numbers: Mapping[str, tuple[float, float, float, float]]
    texts: Mapping[str, Mapping[str, float]]

    def of(self, table: pa.Table) -> Floats:
        """Return the value of the function for each row."""
        total = np.zeros(table.num_rows)
        for name, (mean, deviation, slope, missing) in self.numbers.items():
            numbers = _numbers(table[name].combine_chunks())
            total += slope * _standard(numbers, mean, deviation) + missing * np.isnan(numbers)
        for name, by_text in self.texts.items():
            values = table[name].combine_chunks()
            effects = np.array([*(by_text.get(text, 0.0) for text in values.dictionary.to_pylist()), 0.0])
            total += effects[pc.fill_null(values.indices, len(effects) - 1).to_numpy(zero_copy_only=False)]
        return total


def fitted(columns: Mapping[str, Values], target: Floats, group: str, texts: Mapping[str, Sequence[str]]) -> Explained:
    """Return the function that explains differences of the target between rows with the same value of a column.

    group  the column
    texts  the values of text columns that explain, if they are others; those that are not named do not
    """
    groups: dict[str | None, int] = {}
    group_of_row = np.array([groups.setdefault(text, len(groups)) for text in columns[group].tolist()], np.int64)
    design: list[Floats] = []
    moments: dict[str, tuple[float, float]] = {}
    known: dict[str, Sequence[str]] = {}
    for name, values in columns.items():
        if values.dtype != object and len(design) + 2 <= MAX_FEATURES:
            moments[name] = _moments(values)
            design += [_standard(values, *moments[name]), np.isnan(values).astype(np.float64)]
        elif name in texts and name != group and len(design) + len(texts[name]) <= MAX_FEATURES:
            known[name] = texts[name]
            design += [np.asarray(values == text, np.float64) for text in texts[name]]
    weights = iter(_ridge(_within([*design, target], group_of_row, len(groups))) if design else ())
    by_column = {name: (next(weights), next(weights)) if name in moments else [next(weights) for _ in known[name]]
                 for name in columns if name in moments or name in known}  # fmt: skip
    return Explained(
        {name: (*moments[name], *by_column[name]) for name in moments},
        {name: dict(zip(known[name], by_column[name], strict=True)) for name in known},
    )


def _moments(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
    return (float(mean), float(deviation)) if np.isfinite(deviation) and deviation > 0 else (0.0, np.inf)


def _standard(values: Floats, mean: float, deviation: float) -> Floats:
    return np.nan_to_num(np.clip((values - mean) / deviation, -CUT, CUT))


def _within(columns: Sequence[Floats], groups: Rows, count: int) -> Floats:
    """Return columns less their means by group, shape (rows, columns)."""
    rows = np.bincount(groups, minlength=count)
    return np.stack([column - (np.bincount(groups, column, count) / rows)[groups] for column in columns], axis=1)


def _ridge(rows: Floats) -> list[float]:
    """Return the coefficients of all columns but the last, which they explain."""
    design, target = rows[:, :-1], rows[:, -1]
    squares = design.T @ design + RIDGE * np.eye(design.shape[1])
    return [float(value) for value in np.linalg.solve(squares, design.T @ target)]
