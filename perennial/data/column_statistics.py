"""What a table's columns look like: statistics and suggested constraints in Model Monitor's file formats.

Columns take their values batch by batch and remember little: memory does not grow with the number of rows, and how
the rows are cut into batches changes nothing but the last digits of a sum. The format is that of the SageMaker
Developer Guide, pages "Schema for Statistics" and "Schema for Constraints" (model-monitor-byoc-statistics and
-constraints); docs/formats.md describes every field, and where the guide is silent, what we chose.

Needs numpy alone.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FORMAT_VERSION = 0.0
BUCKETS = 10

# Up to this many different texts a column's are all counted; beyond it the column is not a category: their number is
# estimated from this many of their hashes (relative standard error 1 / sqrt(n - 2) = 1 %), and no counts are kept.
MAX_DISTINCT = 10_000
MAX_CHARACTERS = 1 << 24  # of these texts together; with more it is the same

# What the container itself writes as its suggestion.
MONITORING_CONFIG: dict[str, Any] = {
    "evaluate_constraints": "Enabled",
    "emit_metrics": "Enabled",
    "datatype_check_threshold": 1.0,
    "domain_content_threshold": 1.0,
    "distribution_constraints": {
        "perform_comparison": "Enabled",
        "comparison_threshold": 0.1,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": 0.1,
        "categorical_drift_method": "LInfinity",
    },
}


class StatisticsError(ValueError):
    """The values cannot be described: not finite, of the wrong shape, or none at all."""


class ColumnStatistics(Protocol):
    """A column that has seen its values; `num_present` and `num_missing` count them."""

    name: str
    num_present: int
    num_missing: int

    def statistics(self) -> dict[str, Any]: ...

    def constraints(self) -> dict[str, Any]: ...


def statistics(columns: Sequence[ColumnStatistics]) -> dict[str, Any]:
    """Return the document statistics.json, features in the order given.

    Raises StatisticsError: there are no columns, no rows, or columns of different lengths.
    """
    return {
        "version": FORMAT_VERSION,
        "dataset": {"item_count": _row_count(columns)},
        "features": [column.statistics() for column in columns],
    }


def constraints(columns: Sequence[ColumnStatistics]) -> dict[str, Any]:
    """Return the document constraints.json: what these values suggest of later ones. Raises as `statistics` does."""
    _row_count(columns)
    return {
        "version": FORMAT_VERSION,
        "features": [column.constraints() for column in columns],
        "monitoring_config": MONITORING_CONFIG,
    }


def json_number(value: float) -> float | str:
    """Return the number, or its name where JSON has none, as Model Monitor writes it: "NaN", "Infinity"."""
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class NumericColumn:
    """Numbers: moments by the pairwise update of Chan, Golub and LeVeque (1979), ranks by a sketch."""

    def __init__(self, name: str, *, integral: bool) -> None:
        self.name = name
        self.inferred_type = "Integral" if integral else "Fractional"
        self.num_present = 0
        self.num_missing = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf
        self._mean = 0.0
        self._squares = 0.0
        self._sketch = Sketch()

    def add(self, values: Floats) -> None:
        """Take a batch `(n_rows,)`; NaN is a missing value. Raises StatisticsError: a value is infinite."""
        present = values[~np.isnan(values)]
        if not np.isfinite(present).all():
            raise StatisticsError(f"column {self.name!r} holds an infinite number; expected finite numbers")
        self.num_missing += values.size - present.size
        if present.size == 0:
            return
        self._add_moments(present)
        self.sum += float(present.sum())
        self.min = min(self.min, float(present.min()))
        self.max = max(self.max, float(present.max()))
        self._sketch.add(present)

    def merge(self, other: NumericColumn) -> None:
        """Take in what another has seen of the column, after what this one has."""
        self.num_missing += other.num_missing
        if not other.num_present:
            return
        self._add_counted(other.num_present, other._mean, other._squares)
        self.sum += other.sum
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        self._sketch.merge(other._sketch)

    def _add_moments(self, values: Floats) -> None:
        mean = float(values.mean())
        self._add_counted(values.size, mean, float(np.square(values - mean).sum()))

    def _add_counted(self, count: int, mean: float, squares: float) -> None:
        step, total = mean - self._mean, self.num_present + count
        self._squares += squares + step**2 * self.num_present * count / total
        self._mean += step * count / total
        self.num_present = total

    @property
    def mean(self) -> float:
        return self._mean

    @property
    def std_dev(self) -> float:
        """The population's: squares divided by n, as Deequ's StandardDeviation."""
        return math.sqrt(self._squares / self.num_present)

    def statistics(self) -> dict[str, Any]:
        if self.num_present == 0:
            return _unknown_statistics(self)
        moments = {key: json_number(getattr(self, key)) for key in ("mean", "sum", "std_dev", "min", "max")}
        return {
            "name": self.name,
            "inferred_type": self.inferred_type,
            "numerical_statistics": {"common": _common(self), **moments, "distribution": {"kll": self._distribution()}},
        }

    def _distribution(self) -> dict[str, Any]:
        levels = self._sketch.levels()
        parameters = {"c": Sketch.SHRINKAGE, "k": float(Sketch.SIZE)}
        return {
            "buckets": self._buckets(levels),
            "sketch": {"parameters": parameters, "data": [level.tolist() for level in levels]},
        }

    def _buckets(self, levels: list[Floats]) -> list[dict[str, float]]:
        """Ten buckets of equal width; a value on a bound belongs to the upper bucket, the maximum to the last."""
        width = self.max - self.min
        bounds = [self.min + width * i / BUCKETS for i in range(BUCKETS)] + [self.max]
        below = sum(2**height * np.searchsorted(level, bounds) for height, level in enumerate(levels))
        ranks = [*np.asarray(below).tolist()[:-1], self.num_present]
        return [
            {"lower_bound": bounds[i], "upper_bound": bounds[i + 1], "count": float(ranks[i + 1] - ranks[i])}
            for i in range(BUCKETS)
        ]

    def constraints(self) -> dict[str, Any]:
        if self.num_present == 0:
            return _feature_constraints(self, "Unknown")
        return _feature_constraints(self, self.inferred_type, num_constraints={"is_non_negative": self.min >= 0})


class StringColumn:
    """Texts: how many different ones, how often each.

    domain           the values that the model's definition allows, if it lists them
    max_categories   a column of more different values gets no domain suggested
    """

    def __init__(self, name: str, *, domain: Sequence[str] | None = None, max_categories: int = 100) -> None:
        self.name = name
        self.num_present = 0
        self.num_missing = 0
        self._domain = domain
        self._max_categories = max_categories
        self._counts: Counter[str] | None = Counter()
        self._characters = 0  # of the texts that are counted
        self._hashes: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)

    def add(self, counts: Iterable[tuple[str | None, int]]) -> None:
        """Take a batch as (value, number of rows); None is a missing value, the empty text is not."""
        present: Counter[str] = Counter()
        for value, count in counts:
            if value is None:
                self.num_missing += count
            else:
                present[value] += count
        self.num_present += present.total()
        if self._counts is None:
            self._add_hashes(present)
            return
        self._characters += sum(len(value) for value in present if value not in self._counts)
        self._counts.update(present)
        if len(self._counts) > MAX_DISTINCT or self._characters > MAX_CHARACTERS:
            self._add_hashes(self._counts)
            self._counts = None

    def merge(self, other: StringColumn) -> None:
        """Take in what another has seen of the column."""
        if other._counts is not None:
            self.add([*other._counts.items(), (None, other.num_missing)])
            return
        self.num_present += other.num_present
        self.num_missing += other.num_missing
        self._add_hashes(self._counts or ())
        self._counts = None
        self._keep_smallest(other._hashes)

    def _add_hashes(self, values: Iterable[str]) -> None:
        digests = b"".join(hashlib.blake2b(value.encode(), digest_size=8).digest() for value in values)
        self._keep_smallest(np.frombuffer(digests, dtype="<u8").astype(np.uint64))

    def _keep_smallest(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Keep the smallest hashes there are (bottom-k sketch, Bar-Yossef et al. 2002)."""
        self._hashes = np.unique(np.concatenate([self._hashes, hashes]))[:MAX_DISTINCT]

    @property
    def distinct_count(self) -> float:
        """Exact up to MAX_DISTINCT; beyond, estimated."""
        if self._counts is not None:
            return float(len(self._counts))
        if self._hashes.size < MAX_DISTINCT:
            return float(self._hashes.size)
        return float(round((MAX_DISTINCT - 1) / (float(self._hashes[-1]) / 2.0**64)))

    def _by_frequency(self) -> list[tuple[str, int]]:
        return sorted((self._counts or Counter()).items(), key=lambda item: (-item[1], item[0]))

    def statistics(self) -> dict[str, Any]:
        if self.num_present == 0:
            return _unknown_statistics(self)
        buckets = [{"value": value, "count": count} for value, count in self._by_frequency()]
        return {
            "name": self.name,
            "inferred_type": "String",
            "string_statistics": {
                "common": _common(self),
                "distinct_count": self.distinct_count,
                "distribution": {"categorical": {"buckets": buckets}},
            },
        }

    def constraints(self) -> dict[str, Any]:
        if self.num_present == 0:
            return _feature_constraints(self, "Unknown")
        domain = self._suggested_domain()
        details = {"string_constraints": {"domains": domain}} if domain is not None else {}
        return _feature_constraints(self, "String", **details)

    def _suggested_domain(self) -> list[str] | None:
        """Return the allowed values, else the values seen when they look complete: few, and at most a tenth seen once.

        The tenth is Deequ's (CategoricalRangeRule): many values seen once foretell values not seen yet.
        """
        if self._domain is not None:
            return list(self._domain)
        if self._counts is None or self.distinct_count > self._max_categories:
            return None
        values = self._by_frequency()
        once = sum(count == 1 for _, count in values)
        return [value for value, _ in values] if once <= 0.1 * len(values) else None


class Sketch:
    """Ranks of a stream of numbers in a few thousand of them (Karnin, Lang and Liberty, 2016: KLL).

    Level i holds values that stand for 2**i each. A full block of SIZE values is sorted and every second one moves
    up a level; a seeded coin says whether the odd or the even ones. Up to SIZE values all are kept: ranks are exact.
    Beyond, a block moves a rank by at most one of its weights, so that with n values a rank is off by at most
    (log2(n / SIZE) + 3) / SIZE of n (0.7 % at ten million); measured, it is about a tenth of that.

    Blocks are cut at fixed places of the stream, so the batches it arrives in change nothing.
    """

    SIZE = 2048
    SHRINKAGE = 0.64

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._buffers: list[Floats] = []
        self._coins: list[np.random.Generator] = []

    def add(self, values: Floats, height: int = 0) -> None:
        """Take finite values, in the order of the stream; above height 0 each stands for several."""
        while len(self._buffers) < height:
            self._grow()
        while values.size:
            if height == len(self._buffers):
                self._grow()
            held = np.concatenate([self._buffers[height], values])
            full = (held.size - 1) // self.SIZE * self.SIZE
            self._buffers[height] = held[full:].copy()
            values = self._halve(held[:full].reshape(-1, self.SIZE), self._coins[height])
            height += 1

    def merge(self, other: Sketch) -> None:
        """Take in another's values, each at its height: no block is cut that a single stream would not cut.

        So the bound on ranks is the same.
        """
        for height, values in enumerate(other._buffers):
            self.add(values, height)

    def _grow(self) -> None:
        self._coins.append(np.random.default_rng([self._seed, len(self._buffers)]))
        self._buffers.append(np.empty(0))

    def levels(self) -> list[Floats]:
        """Return the sorted values of each level.

        The level below the highest holds at most SHRINKAGE * SIZE values, the next SHRINKAGE times as many, and so
        on; what is over moves up first. The weights add up to the number of values that were added.
        """
        result: list[Floats] = []
        carried: Floats = np.empty(0)
        for height, buffer in enumerate(self._buffers):
            values = np.sort(np.concatenate([buffer, carried]))
            carried = np.empty(0)
            depth = len(self._buffers) - 1 - height
            if depth and values.size > self.SIZE * self.SHRINKAGE**depth:
                odd = values.size % 2
                coin = np.random.default_rng([self._seed, height, 1])
                carried = self._halve(values[odd:].reshape(1, -1), coin)
                values = values[:odd]
            result.append(values)
        return result

    @staticmethod
    def _halve(blocks: Floats, coin: np.random.Generator) -> Floats:
        """Return every second value of each sorted block `(n_blocks, even size)`, starting where the coin says."""
        start = coin.integers(0, 2, size=len(blocks))
        pairs = np.sort(blocks, axis=1).reshape(len(blocks), blocks.shape[1] // 2, 2)
        return np.asarray(np.take_along_axis(pairs, start[:, None, None], axis=2)).ravel()


def _row_count(columns: Sequence[ColumnStatistics]) -> int:
    counts = {column.name: column.num_present + column.num_missing for column in columns}
    if len(set(counts.values())) > 1:
        raise StatisticsError(f"the columns have different numbers of rows: {counts}")
    rows = next(iter(counts.values()), 0)
    if rows == 0:
        raise StatisticsError("there are no rows to describe; expected at least one")
    return rows


def _common(column: ColumnStatistics) -> dict[str, int]:
    return {"num_present": column.num_present, "num_missing": column.num_missing}


def _unknown_statistics(column: ColumnStatistics) -> dict[str, Any]:
    """Describe a column without a single value: it has no type, and the block of texts says so without a number."""
    empty = {"distinct_count": 0.0, "distribution": {"categorical": {"buckets": []}}}
    return {
        "name": column.name,
        "inferred_type": "Unknown",
        "string_statistics": {"common": _common(column), **empty},
    }


def _feature_constraints(column: ColumnStatistics, inferred_type: str, **details: Any) -> dict[str, Any]:
    completeness = column.num_present / (column.num_present + column.num_missing)
    return {"name": column.name, "inferred_type": inferred_type, "completeness": completeness, **details}
