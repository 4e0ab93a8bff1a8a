"""Comparing a candidate with the model in service on test rows: which of them compare fairly, and what both are worth.

Rows are told by their hashes (data.rows): a run leaves those of the rows that its model has seen, and of the rows
that it tested on. Needs numpy alone; memory grows with the test rows, not with the rows that a model has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.data.rows import UNKNOWN, Hashes, reads_target_alike
from perennial.evaluation import metrics
from perennial.evaluation.gate import Compared, Comparison, Interval
from perennial.evaluation.predictions import Floats

Mask = npt.NDArray[np.bool_]
_DECIDES_TARGET = ("type", "unit")
_DECIDES_GROUPS = ("method", "column", "seed", "validation", "test")


def found_in(rows: Hashes, others: Iterable[Hashes]) -> Mask:
    """Return which rows `(n_rows,)` are among others, which come in pieces of any size and order."""
    distinct, places = np.unique(rows, return_inverse=True)
    found = np.zeros(len(distinct), bool)
    for piece in others if len(distinct) else ():
        at = np.minimum(np.searchsorted(distinct, piece), len(distinct) - 1)
        found[at[distinct[at] == piece]] = True
    return np.asarray(found[places], bool)


def other_target(
    definition: Mapping[str, Any], champion: Mapping[str, Any], counted: Mapping[str, int] | None = None
) -> str:
    """Return why two models' metrics are not of the same thing; empty when they are.

    counted  where the definitions read the target otherwise, its values decide: of how many rows both know it, and of
             how many it is another (`champion_target` of the candidate's report)
    """
    one, other = (_what_is_predicted(given) for given in (definition, champion))
    alike = reads_target_alike(definition, champion) or bool(counted and counted["rows"] and not counted["other"])
    return "" if one == other and alike else "it predicts another target, or the same one in another unit"


def other_groups(split: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    """Return why a test set of whole groups tells nothing about a model that was split otherwise: it may have trained
    on other rows of each group. Empty where the groups are dealt alike, and where rows are not split by group.
    """
    if split["method"] != "group" or all(split.get(key) == champion.get(key) for key in _DECIDES_GROUPS):
        return ""
    return f"it was not split by the same groups ({split['column']}), so it may have trained on rows of each of them"


def _what_is_predicted(definition: Mapping[str, Any]) -> list[Any]:
    column = definition["columns"][definition["target"]]
    return [definition["problem"], definition["target"], *(column.get(key) for key in _DECIDES_TARGET)]


def compare(name: str, labels: Floats, candidate: Floats, champion: Floats, *, seen: Mask, known: Mask) -> Comparison:
    """Compare by a metric of evaluation.metrics, given which test rows `(n_rows,)` the model in service has seen, and
    which its own run tested it on.
    """

    def on(rows: Mask) -> Compared:
        return _compared(name, labels[rows], candidate[rows], champion[rows])

    return Comparison(rows=len(labels), unseen=on(~seen), known=on(~seen & known), new=on(~seen & ~known))


def _compared(name: str, labels: Floats, candidate: Floats, champion: Floats) -> Compared:
    return Compared(
        rows=len(labels),
        candidate=_value(name, labels, candidate),
        champion=_value(name, labels, champion),
        difference=_difference(name, labels, candidate, champion),
    )


def _value(name: str, labels: Floats, scores: Floats) -> float | None:
    try:
        return metrics.metric_named(name).compute(labels, scores)
    except metrics.MetricError:
        return None


def _difference(name: str, labels: Floats, candidate: Floats, champion: Floats) -> Interval | None:
    try:
        return metrics.interval_of_difference(name, labels, candidate, champion)
    except metrics.MetricError:
        return None


def untold(rows: Hashes) -> Mask:
    """Return which rows cannot be told: they count as seen."""
    return np.asarray(rows == UNKNOWN, bool)
