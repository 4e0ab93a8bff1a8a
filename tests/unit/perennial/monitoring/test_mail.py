"""The mail about a window: what it says."""

from datetime import UTC, datetime
from typing import Any

import pytest

from perennial.model.definition import Retraining
from perennial.monitoring import mail
from perennial.monitoring.labelled import ABSENT, NOT_ALLOWED
from perennial.monitoring.policy import decide

WINDOW: dict[str, Any] = {
    "stack": "cars",
    "start": "2026-11-29T09:00:00Z",
    "end": "2026-11-29T10:00:00Z",
    "cut": "",
    "skipped": [],
    "run": "20261128090000-0a1b",
    "prefix": "s3://bucket/monitoring/20261129100000-0a1b",
    "verdict": "Drift",
    "reasons": ["mileage: Baseline drift distance: 0.31 exceeds threshold: 0.1", "Metric rmse with 4,100 was worse"],
    "records": 1200,
    "labels": 300,
    "label_counts": dict.fromkeys(mail.LABELS, 0),
    "metric": {"name": "rmse", "value": 4100.0, "interval": [3900.0, 4300.0], "limit": 2200.0, "worse": True},
    "own_metrics": [],
    "probed": None,
    "limit_before": None,
    "decision": {"retrain": True, "reason": "drift starts a training run with 300 new labelled rows"},
    "trains": "",
    "training": "arn:aws:states:eu-west-1:123456789012:execution:cars-train-model:drift-20261129100000-0a1b",
    "failure": None,
    "file_before": None,
    "report": None,
    "execution": "arn:aws:states:eu-west-1:123456789012:execution:cars-monitor-model:one",
    "waited": [],
}


def composed(**changed: Any) -> tuple[str, str]:
    message = mail.compose({**WINDOW, **changed}, region="eu-west-1")
    return message.subject, message.body


def test_the_first_line_says_what_was_found_and_the_rest_the_numbers_the_policy_and_where_it_stands() -> None:
    title, body = composed()
    assert title == "Drift: mileage: Baseline drift distance: 0.31 exceeds threshold: 0.1 [cars]"
    assert body.startswith("Drift: mileage: Baseline drift distance: 0.31")
    assert "rmse 4,100 (3,900 to 4,300), limit 2,200" in body
    assert "1,200, 300 with a label" in body
    assert "Retraining     started: drift starts a training run with 300 new labelled rows" in body
    assert "execution:cars-train-model:drift-20261129100000-0a1b" in body
    assert "Verdict    s3://bucket/monitoring/20261129100000-0a1b/verdict.json" in body


def test_metrics_of_the_model_itself_stand_beside_that_of_the_gate_and_one_that_failed_is_said() -> None:
    own = {"name": "gain", "value": -3.0, "interval": [-4.0, -2.0], "limit": 5.0, "worse": False}
    failed = "model_quality: cost could not be measured: metrics.py, line 3: KeyError: 'x'"
    title, body = composed(verdict="Healthy", reasons=[failed], own_metrics=[own], decision=None)
    assert title == "Healthy again: nothing was found [cars]"
    assert "Metric        gain -3 (-4 to -2), limit 5\n" in body
    assert failed in body


def test_a_metric_whose_interval_is_beyond_its_limit_and_does_not_count_says_why() -> None:
    _, body = composed(metric={**WINDOW["metric"], "worse": False, "not_worse": "less than max_drop, 90 %"})
    assert "rmse 4,100 (3,900 to 4,300), limit 2,200; what is lost is less than max_drop, 90 %\n" in body


def test_labels_that_contradict_others_or_that_nobody_can_use_are_said() -> None:
    counts = dict(zip(mail.LABELS, (12, 10, 2, 3, 0, 4488), strict=True))
    _, body = composed(label_counts=counts)
    assert (
        "Labels        12 came again, 10 of these say another thing than the last, which counts, 2 requests have only "
        "labels that cannot be read, or name no class of the model, 3 of all that were read cannot be, "
        "4,488 of all that were read are of no request of this window\n"
    ) in body
    assert "Labels  " not in composed()[1]


def test_a_healthy_window_says_what_was_not_judged_and_found_nothing() -> None:
    title, body = composed(verdict="Healthy", reasons=["model_quality: not enough labels"], decision=None)
    assert title == "Healthy again: nothing was found [cars]"
    assert "What was found" not in body
    assert "What could not be judged, or was in another way\n  model_quality: not enough labels" in body


def test_a_model_that_was_judged_by_asking_it_is_told_with_the_rows_and_their_data() -> None:
    data = {"files": 3, "listed_at": "2026-11-29T08:00:00Z"}
    _, body = composed(labels=0, probed={"rows": 1312, "run": "20261129080000-0a1b", "data": data})
    assert "Probed        1,312 rows of the test set of run 20261129080000-0a1b, 3 data files as of 2026-11" in body


def test_a_limit_that_changed_with_the_model_is_told_with_the_one_before() -> None:
    _, body = composed(limit_before={"run": "20261127090000-0a1b", "limit": 1381.0})
    assert "Limit         2,200 now, 1,381 with the model before (run 20261127090000-0a1b)" in body
    assert "Limit  " not in composed()[1]


def test_drift_that_retrains_says_what_else_trains_and_drift_that_does_not_what_people_can_do() -> None:
    assert "What to do\n  Rows of the world before" in composed(trains="Rows of the world before train too")[1]
    _, body = composed(trains="Rows of the world before train too", training=None)
    assert "What to do\n  Look at the report. If the world is like this now, drop labelled data" in body
    assert "Rows of the world before" not in body
    assert "What to do" not in composed()[1]


def test_what_other_models_answered_of_the_window_is_told_with_the_input_that_judges_it() -> None:
    skipped = [{"Run": "20261127090000-0a1b", "Start": "2026-11-29T08:51:00Z", "End": "2026-11-29T09:00:00Z"}]
    _, body = composed(skipped=skipped)
    line = '{"Window": {"Start": "2026-11-29T08:51:00Z", "End": "2026-11-29T09:00:00Z"}}   run 20261127090000-0a1b'
    assert "Not judged     what other models answered, unless a window before has" in body
    assert f"\n  {line}\n" in body
    assert "Not judged" not in composed()[1]


def test_a_retraining_that_was_not_started_is_told_with_its_reason() -> None:
    _, body = composed(decision={"retrain": False, "reason": "0 new labelled rows"}, training=None)
    assert "Retraining     not started: 0 new labelled rows" in body


def test_the_reasons_why_labelled_records_are_no_rows_are_not_cut_off() -> None:
    window = {"id": "one", "run": "one", "verdict": "Drift", "end": "2026-11-29T10:00:00Z", "labelled_rows": 0}
    rules = Retraining().model_dump()
    allowed = f"{NOT_ALLOWED}: taxa: expected a value (300 of them); {ABSENT}"
    decided = decide(window, [window], rules, datetime(2026, 11, 29, 11, tzinfo=UTC), allowed)
    assert decided is not None
    _, body = composed(decision={"retrain": decided.retrain, "reason": decided.reason}, training=None)
    assert f"training on the same data would change nothing; {allowed}\n" in body


def test_a_window_that_was_judged_before_says_what_became_of_its_file_and_what_is_left_to_do() -> None:
    uri = "s3://bucket/raw/labelled/20261129090000-20261129100000.csv"
    assert "Labelled rows" not in composed()[1]
    _, taken = composed(verdict="Healthy", training=None, file_before={"uri": uri, "became": "taken away"})
    assert f"its file was taken away from the data, because it gives no rows now\n               {uri}\n" in taken
    assert "start a run" in taken
    _, replaced = composed(file_before={"uri": uri, "became": "replaced"})
    assert f"its file among the data has the rows of now\n               {uri}\n" in replaced
    assert "start a run" not in replaced  # one has been started


def test_bad_data_say_that_nothing_learns_from_them() -> None:
    title, body = composed(verdict="BadData", reasons=["mileage: kilometres"], decision=None, training=None)
    assert title == "Bad data: mileage: kilometres [cars]"
    assert "Nothing retrains on them" in body


def test_a_monitor_that_failed_says_the_cause_and_that_nothing_is_lost() -> None:
    failure = {"error": "SageMaker.AmazonSageMakerException", "cause": "no permission", "state": "Judge window"}
    _, body = composed(
        verdict="Failed", reasons=["the monitor failed in state 'Judge window'"], records=None, metric=None,
        decision=None, training=None, failure=failure,
    )  # fmt: skip
    assert "Cause (SageMaker.AmazonSageMakerException, state 'Judge window')\n  no permission" in body
    assert "The records are kept" in body
    assert "verdict.json" not in body


@pytest.mark.parametrize("failure", [None, {"error": "E", "cause": "no permission", "state": "Judge window"}])
def test_a_window_that_failed_is_told_with_the_input_that_judges_it_again(failure: dict[str, Any] | None) -> None:
    _, body = composed(verdict="Failed", reasons=["no baseline"], decision=None, training=None, failure=failure)
    assert '\n  {"Window": {"Start": "2026-11-29T09:00:00Z", "End": "2026-11-29T10:00:00Z"}}\n' in body
    assert "Window" not in composed(verdict="Failed", start=None, failure=failure)[1].partition("What to do")[2]


def test_what_a_captured_record_may_have_brought_is_no_link() -> None:
    title, body = composed(reasons=["make: new value https://evil.example/\r\nBcc: all@example.com"])
    assert "https://evil" not in title + body
    assert "\r" not in body
    assert "\nBcc" not in body
