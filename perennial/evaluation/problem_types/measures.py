"""What the pipeline has to know of how a problem type is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.str_]
Terms = Callable[[Floats, Floats], Floats]
Finish = Callable[[Floats], Floats]
Quality = Callable[[str, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None, int], tuple[int, dict[str, Any]]]

TOO_LARGE = "numbers too large to square"


class MetricError(ValueError):
    """The base of what measuring raises."""


class MetricInputError(MetricError):
    """Labels, scores or settings cannot be measured at all: empty, of different lengths, not finite, out of range."""


@dataclass(frozen=True)
class Measures:
    """How a problem type is measured. Labels are `(n_rows,)`, and so are scores where each row has one.

    metrics     by name: terms, finish, and when there is no value, in words (perennial.evaluation.metrics.Metric)
    check       (labels, scores) -> None; raises MetricInputError for those of another problem type
    measurable  scores -> which of them a metric can be computed of
    columns     (labels, scores, names of classes) -> the columns of predictions.csv, which the model-quality baseline
                reads
    quality     which of perennial.evaluation.problem_types.quality the model-quality baseline is
    dimensions  2 where scores are one for each class, `(n_rows, n_classes)`
    groups      scores -> what tells the rows that err alike (n_rows,): chance is what other groups would have made of
                it; None where each row is for itself
    constant    (labels, scores) -> scores of these rows by whoever gives all the same answer, as good as one can be
    """

    metrics: Mapping[str, tuple[Terms, Finish, str]]
    check: Callable[[Floats, Floats], None]
    measurable: Callable[[Floats], npt.NDArray[np.bool_]]
    columns: Callable[[Floats, Floats, Sequence[str]], Mapping[str, Columns]]
    quality: Quality
    dimensions: int = 1
    groups: Callable[[Floats], Floats] | None = None
    constant: Callable[[Floats, Floats], Floats] | None = None


def require(what: str, values: Floats, good: npt.NDArray[np.bool_], expected: str) -> None:
    """Raise MetricInputError, which names the first value that is not good."""
    bad = np.flatnonzero(~good)
    if bad.size:
        raise MetricInputError(
            f"{bad.size} of {len(values)} {what} are not {expected}; the first is {values[bad[0]]} in row {bad[0]}"
        )


def mean(sums: Floats) -> Floats:
    """Return the mean of the second term, where the first counts rows."""
    return np.asarray(sums[..., 1] / sums[..., 0])
