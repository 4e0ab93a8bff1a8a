"""Whether a model's scores rest on the features that they rested on when it was tested.

A feature's weight is the mean of its absolute contributions (SHAP values). What the baseline gives each feature is
added up in the order of the window, with less and less of it counted further down, and held against the same in the
baseline's own order: the NDCG of the ranking. 1 is the same order; moving what mattered most costs most. Source:
SageMaker Developer Guide, "Feature attribution drift for models in production", whose limit is 0.90.

The window has drifted when its NDCG is below the limit, and below what chance alone makes of the baseline's weights
in all but `false_alarms` of windows of this size. Chance is that of the bootstrap of the window's records (Efron,
1979), widened by sqrt(1 + records / rows of the baseline), because its rows are a sample as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perennial.data.column_statistics import Floats
from perennial.evaluation.resampling import draws
from perennial.monitoring.findings import MonitorError, WindowFinding
from perennial.monitoring.model_quality import INTERVAL
from perennial.words import between, number

RECORDS = 100  # of a window that are explained: half a millisecond each, for some hundred trees
ROWS = 1_000  # of a test set
FORMAT_VERSION = "1.0"
LABEL = "label0"  # Clarify's name of the only score; ours too for those of all classes together
CHECK = "feature_attribution_drift_check"
NAMED = 3  # features of a message


@dataclass(frozen=True)
class Contributions:
    """What features contribute to scores, `(n_records, n_features)`: with `expected` a record's add up to its score.

    Where a record has a score of each class, they are the sums of the absolute ones, and nothing is `expected`.
    """

    features: tuple[str, ...]
    values: Floats
    expected: float | None

    @property
    def weights(self) -> Floats:
        """The mean absolute contribution of each feature."""
        return np.asarray(np.abs(self.values).mean(axis=0))


@dataclass(frozen=True)
class FeatureResult:
    """A feature's share of all contributions, and its rank by it, then and now."""

    name: str
    before: float
    after: float
    rank_before: int
    rank_after: int


@dataclass(frozen=True)
class Attribution:
    """All features, what is found, and how alike both rankings are.

    by_chance  the NDCG that windows of this size come below in a share of `false_alarms` where nothing has changed
    """

    ndcg: float
    interval: tuple[float, float]
    by_chance: float
    limit: float
    records: int
    baseline_rows: int
    features: Sequence[FeatureResult]
    findings: Sequence[WindowFinding]

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "findings"}


def analysis(contributions: Contributions) -> dict[str, Any]:
    """Return the document analysis.json (SageMaker Developer Guide, "Analysis Results", SHAP), with our `dataset`."""
    weights = dict(zip(contributions.features, contributions.weights.tolist(), strict=True))
    explained = {LABEL: {"global_shap_values": weights, "expected_value": contributions.expected}}
    return {
        "version": FORMAT_VERSION,
        "explanations": {"kernel_shap": explained},
        "dataset": {"item_count": len(contributions.values)},
    }


def violations(findings: Sequence[WindowFinding]) -> dict[str, Any]:
    """Return the document constraint_violations.json (Developer Guide, "Feature Attribution Drift Violations")."""
    return {
        "version": FORMAT_VERSION,
        "violations": [
            {"label": one.subject, "metric_name": "shap", "constraint_check_type": one.check, "description": one.text}
            for one in findings
        ],
    }


def ndcg(baseline: Floats, window: Floats) -> Floats:
    """Return the NDCG of windows, `(..., n_features)`, by the weights of a baseline, `(n_features,)`.

    It is 1 where the baseline has no weights.
    """
    discounts = 1 / np.log2(np.arange(2, baseline.size + 2))
    best = float(np.sort(baseline)[::-1] @ discounts)
    ordered = baseline[np.argsort(-window, axis=-1, kind="stable")]
    return np.asarray(ordered @ discounts / best if best > 0 else np.ones(window.shape[:-1]))


def judge(baseline: Mapping[str, Any], window: Contributions, least: float, false_alarms: float) -> Attribution:
    """Compare a window with the document of its baseline. Raises MonitorError: it has other features."""
    known = baseline["explanations"]["kernel_shap"][LABEL]["global_shap_values"]
    if set(known) != set(window.features):
        raise MonitorError(
            f"the baseline explains {', '.join(sorted(known))}, the model has {', '.join(sorted(window.features))}; "
            "expected the baseline of the model that answered"
        )
    before, after = np.array([known[name] for name in window.features]), window.weights
    rows, records = baseline["dataset"]["item_count"], len(window.values)
    chance = (draws(records) @ np.abs(window.values) / records - after) * np.sqrt(1 + records / rows)
    score, by_chance = float(ndcg(before, after)), float(np.quantile(ndcg(before, before + chance), false_alarms))
    low, high = (float(bound) for bound in np.percentile(ndcg(before, after + chance), INTERVAL))
    features = _features(window.features, before, after)
    findings = [_finding(score, least, (low, high), records, features)] if score < min(least, by_chance) else []
    return Attribution(score, (low, high), by_chance, least, records, rows, features, findings)


def _features(names: Sequence[str], before: Floats, after: Floats) -> list[FeatureResult]:
    """Return the features with their shares, that which mattered most first."""
    shares = [weights / (weights.sum() or 1.0) for weights in (before, after)]
    ranks = [np.argsort(np.argsort(-weights, kind="stable"), kind="stable") + 1 for weights in (before, after)]
    columns = (column.tolist() for column in (*shares, *ranks))
    return sorted((FeatureResult(*one) for one in zip(names, *columns, strict=True)), key=lambda one: one.rank_before)


def _finding(
    score: float, least: float, interval: tuple[float, float], records: int, features: Sequence[FeatureResult]
) -> WindowFinding:
    moved = sorted(features, key=lambda one: -abs(one.after - one.before))[:NAMED]
    shares = ", ".join(f"{one.name} {one.before:.0%} -> {one.after:.0%}" for one in moved)
    text = (
        f"Scores rest on other features: NDCG of their ranking {number(score)}, expected at least {number(least)} "
        f"(95 % interval {between(interval)}, {records:,} records); {shares}"
    )
    return WindowFinding("drift", CHECK, LABEL, text, "label")
