"""The report of a training run says what its record says, and shows what it left, as far as it got."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

import numpy as np

from perennial.data.column_statistics import statistics
from perennial.evaluation.gate import Compared, Comparison
from perennial.model import definition
from perennial.reports.training import ReportedRun, report
from perennial.runs.run_record import RunRecord
from tests.monitored import MODEL
from tests.pages import Page
from tests.unit.perennial.reports.test_window_report import HOSTILE, numbers, texts

RECORD: dict[str, Any] = {
    "run_id": "20261120093440-1a2b",
    "stack": "perennial-used-cars",
    "model": "used-cars",
    "bucket": "cars",
    "status": "Rejected",
    "execution": {"arn": "arn", "started_at": "2026-11-20T09:34:40Z", "ended_at": "2026-11-20T10:36:02Z",
                  "duration_seconds": 3682.0},
    "input": {},
    "configuration": {
        "problem": "regression", "target": "price",
        "definition": definition.parse(MODEL.replace("min: 0}", "min: 0, unit: USD}", 1), "model.yaml").as_json(),
    },
    "failure": {"error": "Rejected", "cause": "worse", "state": "Model accuracy too low"},
    "metrics": {
        "test_rows": 300, "candidate": {"rmse": 2345.5, "mae": 1800.25}, "champion": {"rmse": 2100.75, "mae": None},
        "candidate_interval": [2000.5, 2700.5], "champion_interval": None,
        "comparison": asdict(Comparison(300, unseen=Compared(123, 2340.5, 2110.5, (-20.5, 480.5)))),
        "training": {},
    },
    "gate": {"metric": "rmse", "direction": "minimize", "threshold": 2222.0, "minimum_improvement": 0.0,
             "candidate": 2345.5, "champion": 2100.75, "accepted": False, "reason": "rmse 2,345.5 is above 2,222"},
    "durations_seconds": {"Train": 61.5},
}  # fmt: skip
CONTRACT = {
    "rows": {"read": 807, "used": 804, "quarantined": 3},
    "sets": {"train": 520, "validation": 120, "test": 161},
    "rules": [{"column": "bi_rads", "rule": "maximum", "rows": 3, "example": "55"}],
    "files": [{"name": "cars.csv", "bytes": 1000, "rows": 807, "quarantined": 3}],
}
STATISTICS = statistics([numbers("mileage", range(1000)), texts("make", {"Buick": 600, "Saab": 400})])
WEIGHTS = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {"make": 30.0, "mileage": 90.0}}}}}
ANALYSIS = {
    "pre_training_bias_metrics": {
        "label": "price", "label_value_or_threshold": "(15000, inf)",
        "facets": {
            "make": [{
                "value_or_threshold": "Saab", "records": {"facet": 120, "others": 400},
                "metrics": [{"name": "CI", "description": "Class Imbalance (CI)", "value": 0.5384615}],
            }],
            "mileage": [{
                "value_or_threshold": "(60000, inf)", "records": {"facet": 0, "others": 520},
                "metrics": [{"name": "CI", "description": "Class Imbalance (CI)", "value": None, "error": "<empty>"}],
            }],
        },
    },
    "post_training_bias_metrics": {"label": "price", "label_value_or_threshold": "(15000, inf)", "facets": {}},
}  # fmt: skip
LABELS = np.linspace(1000, 9000, 250)


def read(record: dict[str, Any] = RECORD, **known: Any) -> Page:
    return Page(report(ReportedRun(cast(RunRecord, record), **known)))


def test_bias_is_a_table_of_metrics_by_facets() -> None:
    page = read(analysis=ANALYSIS)
    assert list(page.unsafe()) == []
    assert "Bias in the training rows" in page.text
    assert "positive is price (15000, inf)" in page.text
    assert "metric make Saab mileage (60000, inf) members 120 of 520 0 of 520" in page.text
    assert "Class Imbalance (CI) 0.5385 none: <empty>" in page.text
    assert "Bias in the answers" not in page.text


TUNED = {
    "job": "t0", "strategy": "Bayesian", "metric": "validation:rmse", "direction": "minimize", "best": "t0-002",
    "counts": {"Completed": 1, "Failed": 1},
    "trials": [
        {"name": "t0-002", "status": "Completed", "value": 2.5, "hyperparameters": {"eta": "0.09983532168900672"}},
        {"name": "t0-001", "status": "Failed", "value": None, "hyperparameters": {"eta": "<b>"}},
    ],
}  # fmt: skip


def test_what_was_tried_is_a_table_the_best_first() -> None:
    page = read({**RECORD, "tuning": TUNED})
    assert list(page.unsafe()) == []
    assert "What was tried" in page.text
    assert "2 trials (1 completed, 1 failed), bayesian; best validation:rmse 2.5 with eta=0.09984" in page.text
    assert "0.0998353" not in page.text
    assert page.text.index("t0-002") < page.text.index("t0-001")


def test_all_that_a_run_left_is_on_one_page_that_needs_nothing() -> None:
    page = read(contract=CONTRACT, labels=LABELS, scores=LABELS + 10, statistics=STATISTICS, attribution=WEIGHTS)
    assert list(page.unsafe()) == []
    assert page.text.startswith("Candidate rejected: perennial-used-cars, run 20261120093440-1a2b")
    for fact in (
        "rmse 2,345.5 is above 2,222", "rmse 2,345.5 (2,000.5 to 2,700.5) 2,100.75", "mae 1,800.25", "threshold 2,222",
        "unseen 123 2,340.5 2,110.5 -20.5, 480.5", "The first 250 of 300 test rows.", "predicted, USD", "mileage 75.0%",
        "make 25.0%", "read 807", "train 520", "bi_rads maximum 3 55", "cars.csv", "mileage, miles", "Buick 60.0%",
        "Train 61.5 s",
    ):  # fmt: skip
        assert fact in page.text, fact


def test_a_first_run_without_slices_has_no_row_for_what_it_has_not() -> None:
    measured = {**RECORD["metrics"], "champion": None, "comparison": {}, "slices": []}
    page = read({**RECORD, "metrics": measured})
    assert "both models on the same rows" not in page.text
    assert "slices" not in page.text
    assert "threshold 2,222" in page.text


def test_what_differs_from_the_model_in_service_is_a_table_and_what_both_rest_on_stands_side_by_side() -> None:
    algorithm = {"name": "xgboost", "hyperparameters": {"eta": "0.1"}}
    now = {
        **RECORD,
        "configuration": {**RECORD["configuration"], "algorithm": algorithm},
        "data": {"file_count": 3, "prefix": "raw/"},
    }
    served = {
        **now,
        "run_id": "20261119093440-1a2b",
        "data": {"file_count": 2, "prefix": "raw/", "files": [{"Key": HOSTILE, "VersionId": "v1"}]},
        "configuration": {**now["configuration"], "algorithm": {**algorithm, "hyperparameters": {"eta": "0.2"}}},
        "metrics": {"candidate": {"rmse": 2000.0}},
    }
    before = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {"make": 30.0, "doors": 10.0}}}}}
    page = read(now, attribution=WEIGHTS, champion=served, champion_attribution=before)
    assert list(page.unsafe()) == []
    for fact in (
        "What differs from the model in service, of run 20261119093440-1a2b", "what in service this run",
        "hyperparameters.eta 0.2 0.1", "data.file_count 2 3", "make 25.0% 75.0%", "feature share in service",
    ):  # fmt: skip
        assert fact in page.text, fact
    assert "metrics.candidate.rmse" not in page.text, "of other rows; those on the same rows stand at the gate"
    assert "Nothing in configuration, code, data and rows." in read(champion=cast(RunRecord, RECORD)).text


def test_without_a_model_in_service_there_is_nothing_to_differ_from() -> None:
    assert "What differs" not in read(attribution=WEIGHTS).text


def test_a_run_that_ended_early_has_a_page_of_what_it_reached() -> None:
    early = {name: RECORD[name] for name in ("run_id", "stack", "model", "bucket", "execution", "input")}
    failure = {"error": "ConfigurationError", "cause": "gate.threshold: got -1", "state": "Resolve configuration"}
    page = read({**early, "status": "Failed", "failure": failure})
    assert page.text.startswith("Run failed: perennial-used-cars")
    assert "gate.threshold: got -1" in page.text
    assert page.of("svg") == []


def test_what_files_say_stands_there_as_text() -> None:
    contract = {**CONTRACT, "rules": [{HOSTILE: HOSTILE}], "problems": [HOSTILE], "files": [{"name": HOSTILE}]}
    weights = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {HOSTILE: 1.0}}}}}
    described = statistics([texts(HOSTILE, {HOSTILE: 5})])
    record = {**RECORD, "failure": {"error": HOSTILE, "cause": HOSTILE, "state": HOSTILE}, "status": "Failed"}
    page = read(record, contract=contract, statistics=described, attribution=weights)
    assert list(page.unsafe()) == []
    assert page.text.count('"><script>alert(1)') > 5
