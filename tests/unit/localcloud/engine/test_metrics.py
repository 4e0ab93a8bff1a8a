"""Alarms and the embedded metric format, as CloudWatch documents them."""

import json
from typing import Any

import pytest

from localcloud.engine.cloudwatch.metrics import embedded_metrics, judge

ALARM = {"Threshold": 10, "ComparisonOperator": "GreaterThanThreshold"}


@pytest.mark.parametrize(
    ("values", "settings", "state"),
    [
        ([11], {}, "ALARM"),
        ([10], {}, "OK"),
        ([10], {"ComparisonOperator": "GreaterThanOrEqualToThreshold"}, "ALARM"),
        ([9], {"ComparisonOperator": "LessThanThreshold"}, "ALARM"),
        ([11, 9], {}, "OK"),
        ([11, 9, 12], {"DatapointsToAlarm": 2}, "ALARM"),
        ([None], {}, "INSUFFICIENT_DATA"),
        ([None], {"TreatMissingData": "ignore"}, None),
        ([None], {"TreatMissingData": "notBreaching"}, "OK"),
        ([None], {"TreatMissingData": "breaching"}, "ALARM"),
        ([11, None], {"TreatMissingData": "breaching"}, "ALARM"),
        ([11, None], {"TreatMissingData": "notBreaching"}, "OK"),
    ],
)
def test_the_state_follows_from_datapoints_and_from_what_missing_ones_mean(
    values: list[float | None], settings: dict[str, Any], state: str | None
) -> None:
    assert judge({**ALARM, **settings}, values) == state


def document(**values: Any) -> str:
    directive = {
        "Namespace": "Perennial",
        "Dimensions": [["service"], ["service", "model"]],
        "Metrics": [{"Name": "Rows", "Unit": "Count"}],
    }
    return json.dumps({"_aws": {"Timestamp": 0, "CloudWatchMetrics": [directive]}, **values})


def test_every_dimension_set_and_every_value_of_a_line_is_a_metric() -> None:
    found = list(embedded_metrics(f"START\n{document(service='s', model='m', Rows=[1, 2])}\nEND"))

    small, large = {"service": "s"}, {"service": "s", "model": "m"}
    assert found == [("Perennial", "Rows", float(n), "Count", dims) for dims in (small, large) for n in (1, 2)]


@pytest.mark.parametrize(
    "line",
    [
        "{not json _aws",
        '{"_aws": "text"}',
        '{"_aws": ' * 10_000,
        document(service="s"),
        document(service="s", model="m", Rows="many"),
    ],
)
def test_a_line_that_is_not_valid_yields_nothing(line: str) -> None:
    assert list(embedded_metrics(line)) == []
