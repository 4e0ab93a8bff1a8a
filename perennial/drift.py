"""How far the new files of a run lie from the data that the model in service was trained on, column by column.

distance   numbers: the largest difference of the two cumulative distributions (Kolmogorov-Smirnov). Texts: the largest
           difference of the shares of one value (Model Monitor's LInfinity). Missing values: the difference of
           their shares, where that has moved farther than the values that are there. All 0 (alike) to 1.
chance     what a distance may be when nothing has changed: for n new rows and m of the baseline at most
           1.95 * sqrt((n + m) / (n * m)) in 999 of 1,000 columns (Smirnov, 1948; for shares an upper bound).
moved      a distance above MOVED and above chance. MOVED is Model Monitor's own suggestion of a threshold.

The baseline is `statistics.json` of the run that made the model; a column that it does not describe, or describes as
of another type, is passed over. Memory does not grow with rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.statistics import MAX_DISTINCT, MONITORING_CONFIG, NumericColumn, StringColumn
from perennial.values import STRING, DataError, shown

MOVED: float = MONITORING_CONFIG["distribution_constraints"]["comparison_threshold"]
CHANCE = 1.95
NAMED = 10  # columns in a message

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moved:
    """A column of the new files beside the baseline. `before` and `after` say it in words."""

    column: str
    distance: float
    chance: float
    before: str
    after: str

    @property
    def moved(self) -> bool:
        return self.distance > max(MOVED, self.chance)

    def __str__(self) -> str:
        return f"{self.column} by {self.distance:.2f} ({self.before} -> {self.after})"


class DropDrift:
    """Sees the rows of the new files, and compares them with a baseline."""

    def __init__(self, baseline: Mapping[str, Any], columns: Sequence[str]) -> None:
        known = {feature["name"]: feature for feature in baseline["features"]}
        self._baseline = {name: known[name] for name in columns if name in known}
        self._seen: dict[str, NumericColumn | StringColumn] = {}

    def observe(self, rows: pa.Table) -> None:
        """Take in rows of new files."""
        for name in self._baseline:
            values = rows[name].combine_chunks()
            if values.type == STRING:
                counts = pc.value_counts(values)
                seen = self._seen.setdefault(name, StringColumn(name))
                texts, numbers = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
                if isinstance(seen, StringColumn):
                    seen.add(zip(texts, numbers, strict=True))
            elif not pa.types.is_timestamp(values.type):
                seen = self._seen.setdefault(name, NumericColumn(name, integral=False))
                if isinstance(seen, NumericColumn):
                    seen.add(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))

    def found(self) -> list[Moved]:
        """Return the columns that could be compared, the farthest first."""
        compared = (self._compared(name, column.statistics()) for name, column in self._seen.items())
        return sorted((one for one in compared if one), key=lambda one: (-one.distance, one.column))

    def _compared(self, name: str, new: Mapping[str, Any]) -> Moved | None:
        """Compare the descriptions of a column; None when they are of different kinds, or hold no distribution.

        Values and the share of missing ones are compared; what has moved farther, beside chance, stands for the column.
        """
        before = self._baseline[name]
        kinds = [next((kind for kind in _COMPARED if kind in one), "") for one in (before, new)]
        if not all(kinds):
            return None
        counts = [one[kind]["common"] for one, kind in zip((before, new), kinds, strict=True)]
        present = [count["num_present"] for count in counts]
        found = []
        if all(present):
            if kinds[0] != kinds[1]:
                return None
            if values := _COMPARED[kinds[0]](before[kinds[0]], new[kinds[0]]):
                found.append(Moved(name, round(values[0], 4), _chance(*present), *values[1:]))
        rows = [count["num_present"] + count["num_missing"] for count in counts]
        if all(rows):
            one, other = (count["num_missing"] / of for count, of in zip(counts, rows, strict=True))
            found.append(Moved(name, round(abs(one - other), 4), _chance(*rows), f"missing {one:.1%}", f"{other:.1%}"))
        if all(present) and len(found) == 1 and not found[0].moved:  # more different texts than are counted
            return None
        return max(found, key=lambda one: one.distance - one.chance, default=None)


def _chance(before: float, after: float) -> float:
    return round(CHANCE * math.sqrt((before + after) / (before * after)), 4)


def _numbers(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, str, str]:
    one, other = _weighted(before), _weighted(after)
    at = np.union1d(one[0], other[0])
    distance = float(np.abs(_below(one, at) - _below(other, at)).max())
    return distance, f"median {_median(one):,.6g}", f"median {_median(other):,.6g}"


def _weighted(described: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """(values, share of rows up to and with each), of a sketch: a number in list i stands for 2**i rows."""
    levels = described["distribution"]["kll"]["sketch"]["data"]
    values = np.concatenate([np.asarray(level, np.float64) for level in levels])
    weights = np.concatenate([np.full(len(level), 2.0**height) for height, level in enumerate(levels)])
    order = np.argsort(values, kind="stable")
    return values[order], np.cumsum(weights[order]) / weights.sum()


def _below(distribution: tuple[Floats, Floats], at: Floats) -> Floats:
    values, shares = distribution
    return np.concatenate([[0.0], shares])[np.searchsorted(values, at, side="right")]


def _median(distribution: tuple[Floats, Floats]) -> float:
    values, shares = distribution
    return float(values[np.searchsorted(shares, 0.5)])


def _texts(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, str, str] | None:
    one, other = _shares(before), _shares(after)
    if not one or not other:  # more different texts than are counted
        return None
    value, distance = max(
        ((text, abs(one.get(text, 0.0) - other.get(text, 0.0))) for text in sorted({*one, *other})),
        key=lambda item: item[1],
    )
    return distance, f"{shown(value)} {one.get(value, 0.0):.1%}", f"{other.get(value, 0.0):.1%}"


def _shares(described: Mapping[str, Any]) -> dict[str, float]:
    buckets = described["distribution"]["categorical"]["buckets"]
    rows = float(described["common"]["num_present"])
    return {bucket["value"]: bucket["count"] / rows for bucket in buckets[:MAX_DISTINCT]}


_COMPARED = {"numerical_statistics": _numbers, "string_statistics": _texts}


def summary(found: Sequence[Moved], rows: int) -> dict[str, Any]:
    """Return what the report says: the columns that moved, and how far each compared one lies."""
    return {
        "rows": rows,
        "moved": [asdict(one) for one in found if one.moved],
        "distances": {one.column: one.distance for one in found},
    }


def judge(found: Sequence[Moved], most: float | None) -> None:
    """Raise DataError when a column has moved farther than a definition allows (quality.max_drift); None allows all."""
    too_far = [] if most is None else [one for one in found if one.distance > max(most, one.chance)]
    if too_far:
        raise DataError(
            f"the new files are not like the data that the model in service was trained on: {_listed(too_far)}; "
            f"at most {most:g} is allowed (quality.max_drift). If the world has changed so, raise it and start a run; "
            "if the files are wrong, take them away"
        )


def _listed(found: Sequence[Moved]) -> str:
    return "; ".join(_named(found))


def _named(found: Sequence[Moved]) -> Iterator[str]:
    yield from (str(one) for one in found[:NAMED])
    if len(found) > NAMED:
        yield f"{len(found) - NAMED} more"
