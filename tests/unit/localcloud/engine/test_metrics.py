"""Alarms and the embedded metric format, as CloudWatch documents them."""

import json
import math
import pkgutil
from typing import Any

import pytest

from localcloud.engine import persistence
from localcloud.engine.cloudwatch import metrics
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


def test_what_is_saved_of_metrics_is_what_they_have_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a metric with other points than before is encoded anew: there may be tens of thousands of points."""
    cloudwatch: Any = pkgutil.resolve_name("ministack.services.cloudwatch")
    stored = type(cloudwatch._metrics)()
    monkeypatch.setattr(cloudwatch, "_metrics", stored)
    monkeypatch.setattr(metrics, "_texts", {})
    encode, encoded = metrics._encoded, list[int]()
    monkeypatch.setattr(metrics, "_encoded", lambda points: encoded.append(len(points)) or encode(points))

    def saved() -> dict[str, Any]:
        encoded.clear()
        document = persistence._encoded(metrics._points_to_save()["metrics"].to_dict()["0", "here", "a"], repr)
        return {"a": json.loads(document), "encoded": [*encoded]}

    def point(at: int, value: float = 1.0) -> dict[str, Any]:
        return {"Timestamp": at, "Value": value, "Unit": "Count", "Dimensions": {"ä": "b"}}

    points, other = [point(1)], [point(1), point(2)]
    for key, those in {"a": points, "b": other}.items():
        stored.set_scoped("0", "here", key, those)
    assert saved() == {"a": points, "encoded": [1, 2]}
    assert saved() == {"a": points, "encoded": []}
    points.append(point(2))
    assert saved() == {"a": points, "encoded": [2]}
    points[:] = [point(2), point(3)]
    assert saved() == {"a": points, "encoded": [2]}
    stored.set_scoped("0", "here", "a", points := [point(7), points[-1]])
    assert saved() == {"a": points, "encoded": [2]}
    stored.pop_scoped("0", "here", "b")
    points.append(point(4, math.nan))
    assert math.isnan(saved()["a"][-1]["Value"])
    assert metrics._texts.keys() == {("0", "here", "a")}
    points.clear()
    assert saved() == {"a": [], "encoded": [0]}
