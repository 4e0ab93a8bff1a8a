"""How far the new files of a run lie from the data that the model in service was trained on, column by column.

Only rows that no file had that it was trained on: in a file of old and new rows the old ones would thin out the new.

distance   numbers: the largest difference of the two cumulative distributions (Kolmogorov-Smirnov). Texts: which share
           of the rows would need another value (total variation: half the sum of all differences of shares); where
           that may be chance, because there are many values and few rows, the largest difference of one share, in which
           all values that the baseline never had count as one. Missing values: the difference of their shares, where
           that has moved farther than the values that are there. All 0 (alike) to 1.
chance     what a distance may be when nothing has changed: for n new rows and m of the baseline at most
           1.95 * sqrt(1/n + 1/m) in 999 of 1,000 columns (Smirnov, 1948; for shares an upper bound). Differences that
           chance makes add up in a total variation: of values with the shares p its mean is at most
           sum(sqrt(p * (1 - p))) / 2 * sqrt(1/n + 1/m), and it keeps within 1.95 * sqrt(1/n + 1/m) of it (McDiarmid,
           1989). Values that are rare are new by chance: of m rows about as many as there are values in the baseline
           that came once (Good, 1953), with the standard error sqrt(once + 2 * twice) (Esty, 1983).
moved      a distance above MOVED and above chance. MOVED is Model Monitor's own suggestion of a threshold.

The baseline is `statistics.json` of the run that made the model; a column that it does not describe, or describes as
of another type, is passed over, and so are texts of which it does not have all values. Memory does not grow with rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import units
from perennial.data.column_statistics import MAX_DISTINCT, MONITORING_CONFIG, Floats, NumericColumn
from perennial.data.distributions import distribution, kolmogorov_smirnov, quantile
from perennial.data.moved import in_words
from perennial.features.values import STRING, DataError
from perennial.words import number, quoted

MOVED: float = MONITORING_CONFIG["distribution_constraints"]["comparison_threshold"]
CHANCE, NORMAL = 1.95, 3.09  # of 1,000 standard normal values one is above the second
NAMED = 10  # columns in a message


@dataclass(frozen=True)
class ColumnDrift:
    """A column of the new files beside the baseline. `before` and `after` say it in words.

    unit  what has become of its unit, where one change of unit explains all of it; else empty
    """

    column: str
    distance: float
    chance: float
    before: str
    after: str
    unit: str = ""

    @property
    def moved(self) -> bool:
        return self.distance > max(MOVED, self.chance)

    def __str__(self) -> str:
        return in_words(asdict(self))


class DropDrift:
    """Sees the rows of the new files, and compares them with a baseline.

    numbers_of  what model.yaml says of the columns' numbers (units.numbers_of)
    """

    def __init__(
        self, baseline: Mapping[str, Any], columns: Sequence[str], numbers_of: Mapping[str, units.Numbers] | None = None
    ) -> None:
        self._numbers_of = numbers_of or {}
        known = {feature["name"]: feature for feature in baseline["features"]}
        self._baseline = {name: known[name] for name in columns if name in known}
        self._new_columns: dict[str, NumericColumn | _Texts] = {}

    def observe(self, rows: pa.Table) -> None:
        """Take in rows of new files."""
        for name, before in self._baseline.items():
            values = rows[name].combine_chunks()
            if values.type == STRING:
                counts = pc.value_counts(values)
                texts = self._new_columns.setdefault(name, _Texts(before))
                pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
                if isinstance(texts, _Texts):
                    texts.add(pairs)
            elif not pa.types.is_timestamp(values.type):
                numbers = self._new_columns.setdefault(name, NumericColumn(name, integral=False))
                if isinstance(numbers, NumericColumn):
                    numbers.add(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))

    def merge(self, other: DropDrift) -> None:
        """Take in what another has seen of rows after these."""
        for name, theirs in other._new_columns.items():
            ours: Any = self._new_columns.setdefault(name, theirs)
            if ours is not theirs:
                ours.merge(theirs)

    def distances(self) -> list[ColumnDrift]:
        """Return the columns that could be compared, the farthest first."""
        compared = (self._compared(name, column) for name, column in self._new_columns.items())
        return sorted((one for one in compared if one), key=lambda one: (-one.distance, one.column))

    @property
    def uncounted(self) -> list[str]:
        """The columns of texts of which the baseline does not have all values, so that they cannot be compared."""
        return [
            name for name, column in self._new_columns.items() if isinstance(column, _Texts) and not column.is_whole
        ]

    def _compared(self, name: str, new: NumericColumn | _Texts) -> ColumnDrift | None:
        """Compare a column with its description; None when they are of different kinds, or it holds no distribution.

        Values and the share of missing ones are compared; what has moved farther, beside chance, stands for the column.
        """
        kind = next(
            (kind for kind in ("numerical_statistics", "string_statistics") if kind in self._baseline[name]), ""
        )
        if not kind:
            return None
        before = self._baseline[name][kind]
        counts = [(one["num_present"], one["num_missing"]) for one in (before["common"], vars(new))]
        present, rows = [one for one, _ in counts], [sum(one) for one in counts]
        distances: list[ColumnDrift] = []
        if all(present):
            if isinstance(new, NumericColumn) != (kind == "numerical_statistics"):
                return None
            distances += (
                _numbers(name, before, new, self._numbers_of.get(name, units.ANY))
                if isinstance(new, NumericColumn)
                else new.compared(name)
            )
        compares_values = bool(distances) or not all(present)
        if all(rows):
            one, other = (missing / of for (_, missing), of in zip(counts, rows, strict=True))
            distances.append(_moved(name, abs(one - other), _chance(*rows), f"missing {one:.1%}", f"{other:.1%}"))
        if not compares_values and not distances[0].moved:
            return None
        return max(distances, key=lambda one: one.distance - one.chance, default=None)


def merged(parts: Iterable[DropDrift]) -> DropDrift:
    """Return what several have seen, one after the other, as if one had seen it."""
    together, *others = parts
    for other in others:
        together.merge(other)
    return together


_NO_TEXTS: dict[str, Any] = {"common": {"num_present": 0}, "distribution": {"categorical": {"buckets": []}}}


class _Texts:
    """Counts values of new rows: those of a baseline one by one, and what it never had, as many as it might have."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        texts = described.get("string_statistics", _NO_TEXTS)
        buckets = texts["distribution"]["categorical"]["buckets"]
        self._before: dict[str, float] = {bucket["value"]: bucket["count"] for bucket in buckets}
        self._rows_before: int = texts["common"]["num_present"]
        self.num_present = self.num_missing = 0
        self._known, self._unseen = Counter[str](), Counter[str]()

    @property
    def is_whole(self) -> bool:
        """Whether the baseline has all of its values: it has none of a column with more than MAX_DISTINCT."""
        return sum(self._before.values()) == self._rows_before

    def add(self, counts: Iterable[tuple[str | None, int]]) -> None:
        """Take in a batch as (value, number of rows); None is a missing value."""
        for value, count in counts:
            if value is None:
                self.num_missing += count
                continue
            self.num_present += count
            if value in self._before:
                self._known[value] += count
            elif value in self._unseen or len(self._unseen) < MAX_DISTINCT:
                self._unseen[value] += count

    def merge(self, other: _Texts) -> None:
        """Take in what another has counted."""
        self.num_missing += other.num_missing
        unnamed = other.num_present - other._known.total() - other._unseen.total()
        self.add([*other._known.items(), *other._unseen.items()])
        self.num_present += unnamed

    def compared(self, column: str) -> Iterator[ColumnDrift]:
        """Yield how far all values together, one of them, and the unseen ones have moved."""
        if not self.is_whole:
            return
        values, before = list(self._before), np.array(list(self._before.values()), np.float64)
        after = np.array([self._known[value] for value in values], np.float64)
        rows, new = float(before.sum()), float(self.num_present)
        unseen, chance = new - float(after.sum()), _chance(rows, new)
        apart = np.abs(before / rows - after / new)
        at = int(apart.argmax())
        most = f"{quoted(values[at])} {before[at] / rows:.1%}", f"{after[at] / new:.1%}"
        yield _moved(column, float(apart[at]), chance, *most)
        if unseen:
            example = max(sorted(self._unseen), key=self._unseen.__getitem__)
            shares = f"rows with a value never seen before, such as {quoted(example)}: 0.0%", f"{unseen / new:.1%}"
            once, twice = float((before == 1).sum()), float((before == 2).sum())
            expected = (once + NORMAL * math.sqrt(once + 2 * twice)) / rows
            yield _moved(column, unseen / new, chance + expected, *shares)
            most = shares if unseen / new > apart[at] else most
        distance, mean = (float(apart.sum()) + unseen / new) / 2, self._mean_by_chance(before + after, rows, new)
        yield _moved(column, distance, chance + mean, f"{len(values):,} values, most of all {most[0]}", most[1])

    def _mean_by_chance(self, known: Floats, before: float, after: float) -> float:
        """Return what the total variation is on average, or less, when nothing has changed.

        `known` counts rows of both.
        """
        unseen = np.array(list(self._unseen.values()), np.float64)
        shares = np.concatenate([known, unseen]) / (before + after)
        others = (1 - float(shares.sum())) * math.sqrt(before + after)  # as if each were alone with its value
        return (float(np.sqrt(shares * (1 - shares)).sum()) + others) / 2 * math.sqrt(1 / before + 1 / after)


def _moved(column: str, distance: float, chance: float, before: str, after: str) -> ColumnDrift:
    return ColumnDrift(column, round(distance, 4), round(chance, 4), before, after)


def _chance(before: float, after: float) -> float:
    return CHANCE * math.sqrt((before + after) / (before * after))


def _numbers(name: str, before: Mapping[str, Any], new: NumericColumn, numbers: units.Numbers) -> Iterator[ColumnDrift]:
    one, other = distribution(before), distribution(new.statistics()["numerical_statistics"])
    rows = before["common"]["num_present"], new.num_present
    medians = [f"median {number(quantile(each, 0.5))}" for each in (one, other)]
    moved = _moved(name, kolmogorov_smirnov(one, other), _chance(*rows), *medians)
    yield replace(moved, unit=units.change(one, other, rows, MOVED, numbers) or "") if moved.moved else moved


def summary(columns: Sequence[ColumnDrift], rows: int, uncounted: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the report says: the columns that moved, and how far each compared one lies."""
    return {
        "rows": rows,
        "moved": [asdict(one) for one in columns if one.moved],
        "distances": {one.column: one.distance for one in columns},
        "uncounted": list(uncounted),
    }


def judge(columns: Sequence[ColumnDrift], most: float | None) -> None:
    """Raise DataError when a column has moved farther than a definition allows (quality.max_drift); None allows all."""
    too_far = [] if most is None else [one for one in columns if one.distance > max(most, one.chance)]
    if too_far:
        raise DataError(
            f"the new files are not like the data that the model in service was trained on: {_listed(too_far)}; "
            f"at most {most:g} is allowed (quality.max_drift). If the world has changed so, raise it and start a run; "
            "if the files are wrong, take them away"
        )


def _listed(columns: Sequence[ColumnDrift]) -> str:
    return "; ".join(_named(columns))


def _named(columns: Sequence[ColumnDrift]) -> Iterator[str]:
    yield from (str(one) for one in columns[:NAMED])
    if len(columns) > NAMED:
        yield f"{len(columns) - NAMED} more"
