"""Captured data that waits on disk for S3, and the sums of an endpoint's invocations."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from localcloud.sagemaker.endpoints import undelivered
from localcloud.sagemaker.endpoints.metrics import InvocationMetrics
from localcloud.sagemaker.endpoints.undelivered import Waiting


class FakeAws:
    """Takes objects after some refusals, and remembers the role under which each was written."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.written: list[dict[str, Any]] = []
        self.roles: list[str] = []

    def for_role(self, role_arn: str) -> "FakeAws":
        self.roles.append(role_arn)
        return self

    def client(self, _service: str) -> "FakeAws":
        return self

    def put_object(self, **request: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise EndpointConnectionError(endpoint_url="http://localhost")
        self.written.append(request)


WAITING = Waiting("s3://bucket/capture/a.jsonl", "arn:aws:iam::1:role/model", "key", b"{}\n")


def test_what_is_kept_is_delivered_under_its_role_and_key_and_forgotten(tmp_path: Path) -> None:
    undelivered.keep(tmp_path / "kept", WAITING)
    aws = FakeAws()
    undelivered.deliver(tmp_path / "kept", aws)  # type: ignore[arg-type]

    assert aws.written == [
        {
            "Bucket": "bucket",
            "Key": "capture/a.jsonl",
            "Body": b"{}\n",
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "key",
        }
    ]
    assert aws.roles == ["arn:aws:iam::1:role/model"]
    assert list((tmp_path / "kept").iterdir()) == []


def test_delivery_waits_for_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcloud.sagemaker.endpoints.undelivered.time.sleep", lambda _: None)
    undelivered.keep(tmp_path, WAITING)
    aws = FakeAws(refusals=3)
    undelivered.deliver(tmp_path, aws)  # type: ignore[arg-type]

    assert len(aws.written) == 1


def test_delivery_gives_up_after_its_time_and_keeps_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(undelivered, "_DELIVERY_SECONDS", -1.0)
    undelivered.keep(tmp_path, WAITING)
    undelivered.deliver(tmp_path, FakeAws(refusals=99))  # type: ignore[arg-type]

    assert len(list(tmp_path.iterdir())) == 1
    assert "captured data still waits in" in caplog.text


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 1000])
def test_many_latencies_are_few_values_of_the_same_count_sum_least_and_largest(count: int) -> None:
    metrics = InvocationMetrics("cars", "AllTraffic")
    for number in range(count):
        metrics.record(200, (number * 7919 % count + 1) / 1e6, 0.0, instances=1)

    (data,) = (datum for datum in metrics.drain() if datum["MetricName"] == "ModelLatency")
    values, counts = data["Values"], data["Counts"]
    assert len(values) == len(counts) == min(count, 10)
    assert sum(counts) == count
    assert sum(value * times for value, times in zip(values, counts, strict=True)) == pytest.approx(
        count * (count + 1) / 2
    )
    assert (values[0], values[-1]) == pytest.approx((1, count))
    assert values == sorted(values)


def test_nobody_is_reachable_at_a_closed_port() -> None:
    assert not undelivered.is_reachable("http://127.0.0.1:9")


def test_invocations_are_summed_by_metric() -> None:
    metrics = InvocationMetrics("cars", "AllTraffic")
    metrics.record(200, 0.002, 0.0005, instances=2)
    metrics.record(500, 0.004, 0.0005, instances=2)
    metrics.record(0, 60.0, 0.0005, instances=2)

    data = {datum["MetricName"]: datum for datum in metrics.drain()}
    assert data["ModelLatency"]["Unit"] == "Microseconds"
    assert data["ModelLatency"]["Values"] == [2000.0, 4000.0, 60_000_000.0]
    assert data["ModelLatency"]["Counts"] == [1.0, 1.0, 1.0]
    sums = {name: datum["StatisticValues"]["Sum"] for name, datum in data.items() if "StatisticValues" in datum}
    assert sums["Invocations"] == 3
    assert sums["InvocationsPerInstance"] == 1.5
    assert (sums["Invocation4XXErrors"], sums["Invocation5XXErrors"], sums["InvocationModelErrors"]) == (0, 1, 2)
    assert data["Invocations"]["Dimensions"] == [
        {"Name": "EndpointName", "Value": "cars"},
        {"Name": "VariantName", "Value": "AllTraffic"},
    ]
    assert metrics.drain() == []
