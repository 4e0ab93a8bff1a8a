"""Verdicts of windows, as the monitor writes them."""

from __future__ import annotations

from typing import Any

from perennial.monitoring.data_quality import ColumnResult, DataQuality
from perennial.monitoring.distances import Distance
from perennial.monitoring.findings import DRIFT, WindowFinding
from perennial.monitoring.verdict import Analysis, document

WINDOW = {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T12:00:00Z"}


def drifted(name: str) -> dict[str, Any]:
    """Return the verdict on a window in which one feature has drifted."""
    column = ColumnResult(name, "median 200", "median 900", 0.0, 0.0, Distance(0.4, 0.9, 0.001, 0.4))
    finding = WindowFinding("drift", "baseline_drift_check", name, "median 200 -> median 900")
    judged = Analysis(DRIFT, findings=[finding], details=DataQuality([column], [finding], 0.001).as_json())
    return document({"data_quality": judged}, {"window": WINDOW, "records": 300})
