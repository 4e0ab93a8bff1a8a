"""Comparing a candidate with the model in service on test rows: which of them compare fairly, and what both are worth.

Rows are identified by their hashes (data.rows). A run leaves those of the rows that its model has seen, of the rows
it was tested on, and of their targets. Needs numpy alone; memory grows with the test rows, not with the rows that a
model has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from perennial.data.rows import READ, UNKNOWN, Hashes, reads_target_alike
from perennial.evaluation.gate import Compared, Comparison
from perennial.evaluation.metrics import Metric, can_be_measured, interval, interval_of_difference
from perennial.evaluation.problem_types.measures import Floats, MetricError
from perennial.evaluation.slices import Sliced
from perennial.model.problem_types import classes_of
from perennial.model.series import category_columns, dynamic_columns

T = TypeVar("T")
Mask = npt.NDArray[np.bool_]
REASONS_NAMED = 3
_DECIDES_TARGET = ("type", "unit")
_DECIDES_GROUPS = ("method", "column", "seed", "validation", "test")
_ROUNDING = 1e-12  # of two sums of the same numbers in another order


def among(rows: Hashes, others: Iterable[Hashes]) -> Mask:
    """Return which rows `(n_rows,)` are among others, which come in pieces of any size and order."""
    distinct, places = np.unique(rows, return_inverse=True)
    is_among = np.zeros(len(distinct), bool)
    for piece in others if len(distinct) else ():
        at = np.minimum(np.searchsorted(distinct, piece), len(distinct) - 1)
        is_among[at[distinct[at] == piece]] = True
    return np.asarray(is_among[places], bool)


def other_target(
    definition: Mapping[str, Any], champion: Mapping[str, Any], counted: Mapping[str, int] | None = None
) -> str:
    """Return why two models' metrics are not of the same thing; empty when they are.

    counted  where the definitions read the target otherwise, its values decide: of how many rows both know it, and of
             how many it is another (`champion_target` of the candidate's report)
    """
    if classes_of(definition) != classes_of(champion) and definition["problem"] == champion["problem"]:
        return "its target has other classes"
    one, other = (_what_is_predicted(document) for document in (definition, champion))
    alike = reads_target_alike(definition, champion) or bool(counted and counted["rows"] and not counted["other"])
    return "" if one == other and alike else "it predicts another target, or the same one in another unit"


def other_groups(definition: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    """Return why a test set of whole groups tells nothing about a model that was split otherwise.

    It may have trained on other rows of each group. Empty where the groups are read and dealt alike, and where rows are
    not split by group.
    """
    split, before = definition["split"], champion["split"]
    if split["method"] != "group":
        return ""
    ours, theirs = (document["columns"].get(split["column"], {}) for document in (definition, champion))
    read_alike = all(ours.get(key) == theirs.get(key) for key in READ)
    if read_alike and all(split.get(key) == before.get(key) for key in _DECIDES_GROUPS):
        return ""
    return f"it was not split by the same groups ({split['column']}), so it may have trained on rows of each of them"


def other_series(definition: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    """Return why a model in service forecasts something else than a definition asks; empty where it is the same."""
    if _what_is_forecast(definition) == _what_is_forecast(champion):
        return ""
    return "it forecasts by another frequency, another number of periods ahead, or with other features or categories"


def _what_is_forecast(definition: Mapping[str, Any]) -> list[Any]:
    series = definition.get("series")
    if not series:
        return []
    decisive = [series[name] for name in ("frequency", "prediction_length")]
    return [*decisive, list(category_columns(definition).items()), dynamic_columns(definition)]


def _what_is_predicted(definition: Mapping[str, Any]) -> list[Any]:
    column = definition["columns"][definition["target"]]
    return [definition["problem"], definition["target"], *(column.get(key) for key in _DECIDES_TARGET)]


def compare(
    metric: Metric,
    labels: Floats,
    candidate: Floats,
    champion: Floats,
    *,
    seen: Mask,
    tested: Mask,
    changed: Mask,
) -> Comparison:
    """Compare by a metric, without the rows that the model in service cannot score.

    Of the test rows `(n_rows,)` it is given which that model has seen, which its own run tested it on, and which of
    those have another target now.
    """
    scored = can_be_measured(metric.problem, champion)
    unseen = ~seen & scored

    def on(rows: Mask) -> Compared:
        return _compared(metric, labels[rows], candidate[rows], champion[rows])

    other = unseen & tested & changed
    return Comparison(
        rows=len(labels),
        unseen=on(unseen),
        known=on(unseen & tested & ~changed),
        changed=replace(on(other), champion_interval=_or_none(interval, metric, labels[other], champion[other])),
        new=on(unseen & ~tested),
        unscored=int((~seen & ~scored).sum()),
    )


def of_slices(
    metric: Metric,
    labels: Floats,
    candidate: Floats,
    champion: Floats | None,
    *,
    inside: Mapping[str, Mask],
    fair: Mask,
    rules: Mapping[str, Mapping[str, Any]],
) -> list[Sliced]:
    """Measure each slice of the test rows `(n_rows,)`, which `inside` tells.

    champion  its scores; None where nothing compares
    fair      the rows that it has not seen
    rules     what each slice asks: `gate.slices` of the definition
    """
    scored = fair & can_be_measured(metric.problem, champion) if champion is not None else fair
    return [
        Sliced(
            name,
            rows=int(rows.sum()),
            candidate=_or_none(Metric.compute, metric, labels[rows], candidate[rows]),
            compared=None if champion is None else _compared(
                metric, labels[rows & scored], candidate[rows & scored], champion[rows & scored]
            ),
            threshold=rules[name]["threshold"],
            maximum_regression=rules[name]["maximum_regression"],
        )
        for name, rows in inside.items()
    ]  # fmt: skip


def _compared(metric: Metric, labels: Floats, candidate: Floats, champion: Floats) -> Compared:
    ours, theirs = (_or_none(Metric.compute, metric, labels, scores) for scores in (candidate, champion))
    if ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=_ROUNDING):
        ours = theirs
    return Compared(
        rows=len(labels),
        candidate=ours,
        champion=theirs,
        difference=_or_none(interval_of_difference, metric, labels, candidate, champion),
    )


def _or_none(measure: Callable[..., T], metric: Metric, *rows: Floats) -> T | None:
    """Return the value of a measure for some rows; None where it has none."""
    try:
        return measure(metric, *rows)
    except MetricError:
        return None


def no_evidence(twins: Mask, unseen: Mask, usual: float | None) -> bool:
    """Return whether twins (`Comparison.twins`) are most of the rows that nobody has seen, as they were not before.

    In a table of few different rows most rows have a twin, and are things of their own.

    usual  the share of such rows in the test set of the model in service; None where nobody knows
    """
    return bool(usual is not None and usual <= 1 / 2 and twins.sum() > unseen.sum() / 2)


def why_untold(rows: int, reasons: Mapping[str, int]) -> str:
    """Return how many test rows have no hash, and why, in words; empty where there are none.

    reasons  of rows of the run, the most first (`champion_untold` of the candidate's report)
    """
    because = f" ({'; '.join(list(reasons)[:REASONS_NAMED])})" if reasons else ""
    return f"{rows:,} cannot be told from rows that it has seen{because}" if rows else ""


def untold(rows: Hashes) -> Mask:
    """Return which rows have no hash: they count as seen."""
    return np.asarray(rows == UNKNOWN, bool)
