"""One verdict from those of the analyses."""

from __future__ import annotations

import pytest

from perennial.monitoring.findings import WindowFinding
from perennial.monitoring.verdict import Analysis, document, reasons, verdict

DRIFT = WindowFinding("drift", "baseline_drift_check", "price", "median 1 -> median 2")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["Healthy", "Healthy"], "Healthy"),
        (["Healthy", "Drift"], "Drift"),
        (["Drift", "BadData"], "BadData"),
        (["Failed", "Drift"], "Drift"),
        (["Failed", "Healthy"], "Failed"),
        (["Healthy", "NotEnoughData"], "Healthy"),
        (["NotEnoughData", "NotEnoughData"], "NotEnoughData"),
        ([], "NotEnoughData"),
    ],
)
def test_bad_data_goes_before_drift_and_drift_before_what_could_not_be_done(given: list[str], expected: str) -> None:
    assert verdict({str(number): Analysis(one) for number, one in enumerate(given)}) == expected


def test_the_document_says_why_and_what_could_not_be_done() -> None:
    analyses = {
        "data_quality": Analysis("Drift", findings=[DRIFT], details={"level": 0.01}),
        "model_quality": Analysis("Failed", "the baseline has no statistics.json"),
    }
    found = document(analyses, {"endpoint": "cars"})
    assert (found["verdict"], found["endpoint"]) == ("Drift", "cars")
    assert found["reasons"] == ["price: median 1 -> median 2", "model_quality: the baseline has no statistics.json"]
    assert found["analyses"]["data_quality"]["level"] == 0.01


def test_of_drift_the_gates_metric_comes_first_and_bad_data_before_it() -> None:
    columns = [WindowFinding("drift", "check", "mileage", "moved"), WindowFinding("bad_data", "check", "age", "empty")]
    metric = WindowFinding("drift", "check", "rmse", "Metric rmse with 8", "metric_name")
    analyses = {"data_quality": Analysis("BadData", "", columns), "model_quality": Analysis("Drift", "", [metric])}
    assert reasons(analyses) == ["age: empty", "Metric rmse with 8", "mileage: moved"]
