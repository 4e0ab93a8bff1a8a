"""What Clarify's analysis.json says: bias of the rows that train, bias of the answers to the test rows, and why.

The metrics are SageMaker Clarify's (Developer Guide, "Pre-training Bias Metrics" and "Post-training Data and Model Bias
Metrics"). d are the members of a facet and a the others; n(1) and n(0) count labels, n'(1) and n'(0) answers, of which
1 are the positive ones; TP, FP, TN and FN are those of the positive outcome. CI, DPL, DPPL and DI are those of
perennial.monitoring.bias; P are the shares of both outcomes among the labels of a side:

KL      sum of P_a log(P_a / P_d)
JS      (KL(P_a, M) + KL(P_d, M)) / 2, where M is the mean of both
LP      the square root of the sum of (P_a - P_d)^2
TVD     half the sum of |P_a - P_d|
KS      the largest |P_a - P_d|
CDDL    n_d(0) / n(0) - n_d(1) / n(1) within each group, weighted by the groups' records; CDDPL the same of answers
DCA     n_a(1) / n'_a(1) - n_d(1) / n'_d(1)
DCR     n_d(0) / n'_d(0) - n_a(0) / n'_a(0)
RD      recall of a - recall of d; SD, DAR, DRR, AD the same of specificity, precision, TN / n'(0) and accuracy, with
        SD and DRR the other way round
TE      FN_d / FP_d - FN_a / FP_a
FT      (F+ - F-) / n_d: members who are answered no where most of the nearest others are answered yes, and the reverse
GE      generalized entropy with alpha 2 of the benefits n'(1) - n(1) + 1 of all records

A metric has no value where a share is one of nothing. Clarify's open source (amazon-sagemaker-clarify 0.5) takes 0 / 0
for 0 and others for infinite, leaves outcomes that only one side has out of KL to KS, and takes FT the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.evaluation.problem_types.measures import Floats
from perennial.monitoring import bias
from perennial.monitoring.bias import FORMAT_VERSION, POST, PRE
from perennial.monitoring.facets import MEMBERS, OTHERS, FacetCounter, FacetCounts, Side, Sides, value_of

FLIP_ROWS = 4_000  # of a test set that the flip test asks about
NEIGHBOURS, FEW = 5, 9  # as Clarify: among FEW others and less the nearest one decides
MAX_GROUPS = 1_000
NO_GROUP = "model.yaml names no group (monitoring.bias.group)"
Counts = npt.NDArray[np.int64]


class UndefinedError(Exception):
    """A metric has no value for these records; the text says why."""


@dataclass(frozen=True)
class Outcomes:
    """The records of both sides of a facet by what came true and what the model said.

    counts   `(2 sides, n_groups, 2 labels, 2 answers)`; of records without answers all stand at the first
    flipped  the flip test's value, or why there is none
    ungrouped  why the groups tell nothing; empty where they do
    """

    rule: Mapping[str, Any]
    counts: Counts
    flipped: float | str = "the rows are not encoded here"
    ungrouped: str = ""

    @property
    def cells(self) -> Counts:
        """`(2 sides, 2 labels, 2 answers)`."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def as_counts(self) -> FacetCounts:
        """What the monitor counts of them."""
        return FacetCounts(self.rule, *(_side(self.cells[side]) for side in (OTHERS, MEMBERS)))

    @property
    def shares(self) -> Floats:
        """The shares of negative and positive labels, `(2 sides, 2)`. Raises UndefinedError."""
        labels = self.cells.sum(axis=2)
        return np.array([[_share(int(part), int(side.sum()), "records") for part in side] for side in labels])


def _side(cells: Counts) -> Side:
    records = int(cells.sum())
    return Side(records, records, int(cells[1].sum()), records, int(cells[:, 1].sum()))


def _share(part: int, whole: int, whole_name: str) -> float:
    if not whole:
        raise UndefinedError(f"one side has no {whole_name}")
    return part / whole


# ---- The metrics

Value = Callable[[Outcomes], float]


@dataclass(frozen=True)
class AnalysisMetric:
    """One metric: its name, what it is called, of which stage it is, and how it is computed. Raises UndefinedError."""

    name: str
    description: str
    stage: str
    value: Value


def _as_monitored(metric: bias.BiasMetric) -> Value:
    def value(outcomes: Outcomes) -> float:
        value = metric.value(outcomes.as_counts)
        if value is None:
            raise UndefinedError(bias.NO_VALUE)
        return value

    return value


def _divergence(first: Floats, second: Floats) -> float:
    there = first > 0
    if not second[there].all():
        raise UndefinedError("infinite: the members have no label of one kind")
    return float(np.sum(first[there] * np.log(first[there] / second[there])))


def _kl(outcomes: Outcomes) -> float:
    return _divergence(*outcomes.shares)


def _js(outcomes: Outcomes) -> float:
    shares = outcomes.shares
    return float(np.mean([_divergence(one, shares.mean(axis=0)) for one in shares]))


def _lp(outcomes: Outcomes) -> float:
    others, members = outcomes.shares
    return float(np.linalg.norm(others - members))


def _tvd(outcomes: Outcomes) -> float:
    others, members = outcomes.shares
    return float(np.abs(others - members).sum() / 2)


def _ks(outcomes: Outcomes) -> float:
    others, members = outcomes.shares
    return float(np.abs(others - members).max())


def _disparity(axis: int) -> Value:
    """Return CDD of labels, axis 2 of the counts, or of answers, axis 3."""

    def value(outcomes: Outcomes) -> float:
        if outcomes.ungrouped:
            raise UndefinedError(outcomes.ungrouped)
        counts = outcomes.counts.sum(axis=5 - axis)  # (2 sides, n_groups, 2 outcomes)
        together = counts.sum(axis=0)
        if not together.sum(axis=0).all():
            raise UndefinedError("all outcomes are of one kind")
        members = np.divide(counts[MEMBERS], together, where=together > 0, out=np.zeros(together.shape))
        records = together.sum(axis=1)
        return float((members[:, 0] - members[:, 1]) @ records / records.sum())

    return value


_ALL = np.ones((2, 2), np.int64)  # labels, answers
_LABELLED = np.array([[0, 0], [1, 1]])
_ANSWERED = _LABELLED.T
_TRUE_POSITIVE, _TRUE_NEGATIVE = _LABELLED * _ANSWERED, (1 - _LABELLED) * (1 - _ANSWERED)
_FALSE_POSITIVE, _FALSE_NEGATIVE = (1 - _LABELLED) * _ANSWERED, _LABELLED * (1 - _ANSWERED)


def _difference(part: Counts, whole: Counts, whole_name: str, sign: int) -> Value:
    """Return the others' share less the members', or with sign -1 the reverse."""

    def value(outcomes: Outcomes) -> float:
        others, members = (
            _share(int((cells * part).sum()), int((cells * whole).sum()), whole_name) for cells in outcomes.cells
        )
        return sign * (others - members) + 0.0  # not -0

    return value


def _entropy(outcomes: Outcomes) -> float:
    cells = outcomes.cells.sum(axis=0)
    benefits, records = np.array([[1, 2], [0, 1]]), cells.sum()
    if not (total := float((cells * benefits).sum())):
        raise UndefinedError("no record has any benefit")
    return float((cells * ((benefits * records / total) ** 2 - 1)).sum() / (2 * records))


def _flip(outcomes: Outcomes) -> float:
    if isinstance(outcomes.flipped, str):
        raise UndefinedError(outcomes.flipped)
    return outcomes.flipped


_MONITORED = {
    one.name: AnalysisMetric(one.name, one.description, one.stage, _as_monitored(one)) for one in bias.METRICS
}
METRICS = (
    _MONITORED["CI"],
    _MONITORED["DPL"],
    AnalysisMetric("KL", "Kullback-Leibler Divergence (KL)", PRE, _kl),
    AnalysisMetric("JS", "Jensen-Shannon Divergence (JS)", PRE, _js),
    AnalysisMetric("LP", "L-p Norm (LP)", PRE, _lp),
    AnalysisMetric("TVD", "Total Variation Distance (TVD)", PRE, _tvd),
    AnalysisMetric("KS", "Kolmogorov-Smirnov Distance (KS)", PRE, _ks),
    AnalysisMetric("CDDL", "Conditional Demographic Disparity in Labels (CDDL)", PRE, _disparity(2)),
    _MONITORED["DPPL"],
    _MONITORED["DI"],
    *(
        AnalysisMetric(name, f"{description} ({name})", POST, _difference(part, whole, whole_name, sign))
        for name, description, part, whole, whole_name, sign in (
            ("DCA", "Difference in Conditional Acceptance", _LABELLED, _ANSWERED, "positive answer", 1),
            ("DCR", "Difference in Conditional Rejection", 1 - _LABELLED, 1 - _ANSWERED, "negative answer", -1),
            ("RD", "Recall Difference", _TRUE_POSITIVE, _LABELLED, "positive label", 1),
            ("SD", "Specificity Difference", _TRUE_NEGATIVE, 1 - _LABELLED, "negative label", -1),
            ("DAR", "Difference in Acceptance Rates", _TRUE_POSITIVE, _ANSWERED, "positive answer", 1),
            ("DRR", "Difference in Rejection Rates", _TRUE_NEGATIVE, 1 - _ANSWERED, "negative answer", -1),
            ("AD", "Accuracy Difference", _TRUE_POSITIVE + _TRUE_NEGATIVE, _ALL, "records", 1),
            ("TE", "Treatment Equality", _FALSE_NEGATIVE, _FALSE_POSITIVE, "false positive answer", -1),
        )
    ),
    AnalysisMetric("CDDPL", "Conditional Demographic Disparity in Predicted Labels (CDDPL)", POST, _disparity(3)),
    AnalysisMetric("FT", "Flip Test (FT)", POST, _flip),
    AnalysisMetric("GE", "Generalized Entropy (GE)", POST, _entropy),
)


# ---- Counting


class OutcomeCounter:
    """Counts records by facet, side, group, label and answer."""

    def __init__(self, facets: FacetCounter, group: str | None) -> None:
        self.facets, self._group = facets, group
        self._numbers: dict[Any, int] = {}
        # The last group is that of all values beyond MAX_GROUPS.
        self._counts = np.zeros((len(facets.rules), 2, MAX_GROUPS + 1, 2, 2), np.int64)

    @property
    def columns(self) -> list[str]:
        """Those that are read of a record."""
        named = [str(rule["column"]) for rule in self.facets.rules]
        return list(dict.fromkeys([*named, *([self._group] if self._group else [])]))

    def add(self, table: pa.Table, labels: Floats, answers: Floats | None = None) -> Sides:
        """Count the records of a table; return their sides, `(n_rows, n_facets)`."""
        sides, kinds = self.facets.sides(table), self._groups(table) * 4 + 2 * self.facets.are_positive(labels)
        if answers is not None:
            kinds += self.facets.are_positive(answers)
        for place, side in product(range(sides.shape[1]), (OTHERS, MEMBERS)):
            counts = np.bincount(kinds[sides[:, place] == side], minlength=self._counts[place, side].size)
            self._counts[place, side] += counts.reshape(-1, 2, 2)
        return sides

    def _groups(self, table: pa.Table) -> Counts:
        """Return the number of each record's group; records without a value are one."""
        if not self._group:
            return np.zeros(table.num_rows, np.int64)
        encoded = pc.dictionary_encode(table[self._group].combine_chunks(), null_encoding="encode")
        for value in encoded.dictionary.to_pylist():
            if len(self._numbers) < MAX_GROUPS:
                self._numbers.setdefault(value, len(self._numbers))
        numbers = [self._numbers.get(value, MAX_GROUPS) for value in encoded.dictionary.to_pylist()]
        return np.take(np.array(numbers, np.int64), np.asarray(encoded.indices))

    def outcomes(self, flipped: Sequence[float | str]) -> list[Outcomes]:
        """Return what was counted of each facet; `flipped` are the values of the flip test."""
        too_many = f"{self._group} has more than {MAX_GROUPS:,} values" if self._counts[:, :, -1].any() else ""
        ungrouped = too_many if self._group else NO_GROUP
        return [
            Outcomes(rule, counts, flip, ungrouped)
            for rule, counts, flip in zip(self.facets.rules, self._counts, flipped, strict=True)
        ]


def flip_test(features: Floats, sides: npt.NDArray[np.int8], answers: npt.NDArray[np.bool_]) -> float | str:
    """Return FT of records by their features, `(n_rows, n_features)`; or why it has no value.

    Near is what Euclid's distance says of the features as they are, as Clarify has it.
    """
    others, members = sides == OTHERS, sides == MEMBERS
    if not others.any() or not members.any():
        return bias.NO_VALUE
    centred = features - features.mean(axis=0)
    nearest = NEIGHBOURS if others.sum() > FEW else 1
    flips = 0
    for some in np.array_split(centred[members], -(-int(members.sum()) // 500)):
        distances = (centred[others] ** 2).sum(axis=1) - 2 * some @ centred[others].T
        near = np.argpartition(distances, nearest - 1, axis=1)[:, :nearest]
        flips += int((answers[others][near].mean(axis=1) > 0.5).sum())
    return (flips - int(answers[members].sum())) / int(members.sum())


# ---- Clarify's document


def document(
    target: str,
    section: Mapping[str, Any],
    data: Sequence[Outcomes],
    model: Sequence[Outcomes],
    explained: Mapping[str, Any],
) -> dict[str, Any]:
    """Return analysis.json (Developer Guide, "Analysis Results").

    data       of the rows that train
    model      of the test rows
    explained  analysis.json of the attribution (perennial.monitoring.attribution)
    """
    positive = section["positive"]
    stages = {
        stage: {
            "label": target,
            "label_value_or_threshold": value_of(positive) if positive else "",
            "facets": _by_column(outcomes, stage),
        }
        for stage, outcomes in ((PRE, data), (POST, model))
    }
    known = {name: explained[name] for name in ("explanations", "dataset", "reason") if name in explained}
    return {"version": FORMAT_VERSION, **stages, **known}


def _by_column(facets: Iterable[Outcomes], stage: str) -> dict[str, list[dict[str, Any]]]:
    columns: dict[str, list[dict[str, Any]]] = {}
    for facet in facets:
        counts = facet.as_counts
        measured = [_measured(metric, facet) for metric in METRICS if metric.stage == stage]
        records = {"facet": counts.members.records, "others": counts.others.records}
        entry = {"value_or_threshold": counts.value, "metrics": measured, "records": records}
        columns.setdefault(counts.column, []).append(entry)
    return columns


def _measured(metric: AnalysisMetric, facet: Outcomes) -> dict[str, Any]:
    known = {"name": metric.name, "description": metric.description}
    try:
        return {**known, "value": metric.value(facet)}
    except UndefinedError as error:
        return {**known, "value": None, "error": str(error)}
