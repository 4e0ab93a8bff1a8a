"""Whether outcomes differ more between a facet's members and all others than when the model was tested.

The metrics are SageMaker Clarify's (Developer Guide, "Pre-training Bias Metrics" and "Post-training Data and Model Bias
Metrics"). d are the members of a facet (perennial.monitoring.facets) and a the others, n counts records, n(1) those
with the positive outcome, and q = n(1) / n:

CI      class imbalance, (n_a - n_d) / (n_a + n_d)
DPL     difference in proportions of labels, q_a - q_d, of what came true
DPPL    difference in positive proportions in predicted labels, q'_a - q'_d, of what the model said
DI      disparate impact, q'_d / q'_a. It has no value where no other record is positive; Clarify's is infinite there

Bias is the distance from no bias: the absolute value, and of DI 1 - min(DI, 1 / DI), the measure of the four-fifths
rule. As in Model Monitor only bias that has grown is found; here, when it has grown by more than `max_increase` and the
change is larger than chance, at the false-alarm rate divided by the number of facets and metrics (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perennial.monitoring.distances import chance_of_difference, chance_of_shares
from perennial.monitoring.facets import FacetCounts, Share, Side, value_of
from perennial.monitoring.findings import NewerThanRunError, WindowFinding
from perennial.words import number

FORMAT_VERSION = "1.0"
CHECK = "bias_drift_check"
PRE, POST = "pre_training_bias_metrics", "post_training_bias_metrics"
NO_VALUE = "one side is empty, or none of the others is positive"


@dataclass(frozen=True)
class BiasMetric:
    """One metric. `shares` is what it compares of both sides; None of CI, which counts the sides themselves."""

    name: str
    description: str
    stage: str
    shares: Callable[[Side], Share] | None
    is_ratio: bool = False

    def value(self, facet: FacetCounts) -> float | None:
        """Return the metric, or None where a side is empty."""
        if self.shares is None:
            others, members = facet.others.records, facet.members.records
            return (others - members) / (others + members) if others + members else None
        (others, n_others), (members, n_members) = self.shares(facet.others), self.shares(facet.members)
        if not n_others or not n_members or (self.is_ratio and not others):
            return None
        of_others, of_members = others / n_others, members / n_members
        return of_members / of_others if self.is_ratio else of_others - of_members

    def bias(self, value: float) -> float:
        """Return how far a value is from no bias."""
        if not self.is_ratio:
            return abs(value)
        return 1 - min(value, 1 / value) if value else 1.0

    def chance(self, before: FacetCounts, after: FacetCounts) -> float:
        """Return the probability of a change as large when nothing has changed."""
        if self.shares is None:
            one, other = (
                (side.members.records, side.members.records + side.others.records) for side in (before, after)
            )
            return chance_of_shares(one, other)
        sides = [[self.shares(side.others), self.shares(side.members)] for side in (before, after)]
        return chance_of_difference(np.array(sides), self.is_ratio)


_IN_LABELS = "Difference in Positive Proportions in Labels (DPL)"
_IN_PREDICTED_LABELS = "Difference in Positive Proportions in Predicted Labels (DPPL)"
METRICS = (
    BiasMetric("CI", "Class Imbalance (CI)", PRE, None),
    BiasMetric("DPL", _IN_LABELS, PRE, lambda side: side.labelled),
    BiasMetric("DPPL", _IN_PREDICTED_LABELS, POST, lambda side: side.predicted),
    BiasMetric("DI", "Disparate Impact (DI)", POST, lambda side: side.predicted, is_ratio=True),
)


@dataclass(frozen=True)
class BiasResult:
    """A metric of a facet then and now, how much its bias has grown, and the probability of that by chance."""

    facet: str
    facet_value: str
    metric: str
    before: float | None
    after: float | None
    increase: float | None
    limit: float
    chance: float | None
    worse: bool


@dataclass(frozen=True)
class Bias:
    """All facets and metrics, what is found, and the level that each test was held against."""

    results: Sequence[BiasResult]
    findings: Sequence[WindowFinding]
    level: float

    def as_json(self) -> dict[str, Any]:
        return {"level": self.level, "metrics": [asdict(one) for one in self.results]}

    def violations(self) -> dict[str, Any]:
        """Return the document constraint_violations.json (Developer Guide, "Bias Drift Violations")."""
        worse = [one for one in self.results if one.worse]
        return {
            "version": FORMAT_VERSION,
            "violations": [
                {
                    "facet": one.facet,
                    "facet_value": one.facet_value,
                    "metric_name": one.metric,
                    "constraint_check_type": CHECK,
                    "description": finding.text,
                }
                for one, finding in zip(worse, self.findings, strict=True)
            ],
        }


# ---- Clarify's document


def analysis(target: str, section: Mapping[str, Any], facets: Sequence[FacetCounts]) -> dict[str, Any]:
    """Return the document analysis.json (Developer Guide, "Analysis Results"); `counts` of each facet are ours."""
    stages = {
        stage: {
            "label": target,
            "label_value_or_threshold": value_of(section["positive"]) if section["positive"] else "",
            "facets": _by_column(facets, stage),
        }
        for stage in (PRE, POST)
    }
    return {"version": FORMAT_VERSION, **stages}


def _by_column(facets: Sequence[FacetCounts], stage: str) -> dict[str, list[dict[str, Any]]]:
    columns: dict[str, list[dict[str, Any]]] = {}
    for facet in facets:
        measured = [_measured(metric, facet) for metric in METRICS if metric.stage == stage]
        counts = {"others": asdict(facet.others), "facet": asdict(facet.members)}
        entry = {"value_or_threshold": facet.value, "metrics": measured, "counts": counts}
        columns.setdefault(facet.column, []).append(entry)
    return columns


def _measured(metric: BiasMetric, facet: FacetCounts) -> dict[str, Any]:
    value = metric.value(facet)
    known = {"name": metric.name, "description": metric.description, "value": value}
    return known if value is not None else {**known, "error": NO_VALUE}


def _of_baseline(baseline: Mapping[str, Any], rule: Mapping[str, Any]) -> FacetCounts:
    """Return the counts of a facet from a document. Raises NewerThanRunError: it does not have the facet."""
    for entry in baseline[PRE]["facets"].get(rule["column"], []):
        if entry["value_or_threshold"] == value_of(rule):
            return FacetCounts(rule, *(Side(**entry["counts"][side]) for side in ("others", "facet")))
    raise NewerThanRunError(
        f"the baseline has no facet {rule['column']} {value_of(rule)}; it is that of another model, or the run whose "
        "model answers was started before model.yaml named the facet: a run that starts from now on knows it"
    )


# ---- Judging


def judge(
    baseline: Mapping[str, Any], facets: Sequence[FacetCounts], max_increase: Mapping[str, float], false_alarms: float
) -> Bias:
    """Compare the facets of a window with the document of its baseline. Raises NewerThanRunError: it lacks a facet."""
    level = false_alarms / max(1, len(METRICS) * len(facets))
    pairs = [(_of_baseline(baseline, facet.rule), facet) for facet in facets]
    results, findings = [], []
    for before, after in pairs:
        for metric in METRICS:
            result = _compared(metric, before, after, max_increase[metric.name], level)
            results.append(result)
            if result.worse:
                findings.append(_finding(metric, before, after))
    return Bias(results, findings, level)


def _compared(metric: BiasMetric, before: FacetCounts, after: FacetCounts, limit: float, level: float) -> BiasResult:
    then, now = metric.value(before), metric.value(after)
    if then is None or now is None:
        return BiasResult(after.column, after.value, metric.name, then, now, None, limit, None, worse=False)
    increase, chance = metric.bias(now) - metric.bias(then), metric.chance(before, after)
    worse = increase > limit and chance < level
    return BiasResult(after.column, after.value, metric.name, then, now, increase, limit, chance, worse)


def _finding(metric: BiasMetric, before: FacetCounts, after: FacetCounts) -> WindowFinding:
    """Return a finding that begins as Model Monitor's do."""
    then, now = metric.value(before), metric.value(after)
    positive = "" if metric.shares is None else "positive are "
    text = (
        f"Value {number(now)} does not meet the constraint requirement: {metric.description} of {after.name} was "
        f"{number(then)} when the model was tested; {positive}{_shares(metric, after)} (then {_shares(metric, before)})"
    )
    return WindowFinding("drift", CHECK, after.name, text, "facet")


def _shares(metric: BiasMetric, facet: FacetCounts) -> str:
    if metric.shares is None:
        of = facet.members.records + facet.others.records
        return f"{facet.members.records / of:.1%} of {of:,} records"
    (members, n_members), (others, n_others) = metric.shares(facet.members), metric.shares(facet.others)
    return f"{members / n_members:.1%} of {n_members:,} records and {others / n_others:.1%} of {n_others:,} others"
