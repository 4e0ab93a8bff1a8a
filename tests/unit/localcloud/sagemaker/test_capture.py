"""Data capture: records and keys as on AWS, and never in the way of an invocation."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from localcloud.sagemaker.endpoints.capture import Capture, Exchange, summary

CONFIG: dict[str, Any] = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/capture/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


class Bucket(dict[str, bytes]):
    """Objects by URI; refuses to take any while `broken`."""

    broken = False

    def put(self, uri: str, content: bytes) -> None:
        if self.broken:
            raise ConnectionError("no S3")
        self[uri] = content

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for content in self.values() for line in content.splitlines()]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def make(bucket: Bucket, chance: float = 0.0, **changes: Any) -> Capture:
    return Capture(CONFIG | changes, "used-cars", "AllTraffic", bucket.put, lambda: chance)


def exchange(**changes: Any) -> Exchange:
    given: dict[str, Any] = {
        "time": datetime(2026, 11, 20, 9, 5, 7, 42_000, tzinfo=UTC),
        "request_body": b"132,25\n",
        "request_type": "text/csv",
        "response_body": b"0.01",
        "response_type": "text/csv; charset=utf-8",
        "event_id": "feca1ab1-8025-47e3-8f6a-99e3fdd7b8d9",
    }
    return Exchange(**given | changes)


def test_a_record_has_awss_shape(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange(inference_id="car-1", custom_attributes="k=v"))
    capture.flush()

    assert bucket.records == [
        {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "text/csv",
                    "mode": "INPUT",
                    "data": "132,25\n",
                    "encoding": "CSV",
                },
                "endpointOutput": {
                    "observedContentType": "text/csv; charset=utf-8",
                    "mode": "OUTPUT",
                    "data": "0.01",
                    "encoding": "CSV",
                },
            },
            "eventMetadata": {
                "eventId": "feca1ab1-8025-47e3-8f6a-99e3fdd7b8d9",
                "inferenceId": "car-1",
                "customAttributes": ["k=v"],
                "inferenceTime": "2026-11-20T09:05:07Z",
            },
            "eventVersion": "0",
        }
    ]


def test_the_key_has_the_utc_hour_and_the_time_of_the_first_record(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange())
    capture.offer(exchange(time=datetime(2026, 11, 20, 9, 5, 9, tzinfo=UTC)))
    capture.flush()

    (uri,) = bucket
    assert re.fullmatch(r"s3://bucket/capture/used-cars/AllTraffic/2026/11/20/09/05-07-042-[0-9a-f-]{36}\.jsonl", uri)
    assert len(bucket.records) == 2


def test_records_of_two_hours_are_two_files(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange(time=datetime(2026, 11, 20, 9, 59, 59, tzinfo=UTC)))
    capture.offer(exchange(time=datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)))
    capture.flush()

    assert [uri.split("/")[-2] for uri in bucket] == ["09", "10"]


def test_inference_id_and_attributes_are_left_out_when_the_caller_sent_none(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange())
    capture.flush()

    assert sorted(bucket.records[0]["eventMetadata"]) == ["eventId", "inferenceTime"]


@pytest.mark.parametrize("header", [{}, {"JsonContentTypes": ["application/json"]}])
def test_what_is_not_listed_is_base64(bucket: Bucket, header: dict[str, list[str]]) -> None:
    capture = make(bucket, CaptureContentTypeHeader=header)
    capture.offer(exchange())
    capture.flush()

    found = bucket.records[0]["captureData"]["endpointInput"]
    assert found["encoding"] == "BASE64"
    assert base64.b64decode(found["data"]) == b"132,25\n"


def test_json_and_its_parameters_are_recognised(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange(response_type="Application/JSON;charset=utf-8", response_body=b'{"score": 1}'))
    capture.flush()

    found = bucket.records[0]["captureData"]["endpointOutput"]
    assert (found["encoding"], found["data"]) == ("JSON", '{"score": 1}')


def test_bytes_that_are_no_text_are_base64_even_when_listed(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange(request_body=b"\xff\xfe"))
    capture.flush()

    assert bucket.records[0]["captureData"]["endpointInput"]["encoding"] == "BASE64"


@pytest.mark.parametrize(
    ("modes", "parts"),
    [
        (["Input"], ["endpointInput"]),
        (["Output"], ["endpointOutput"]),
        (["InputAndOutput"], ["endpointInput", "endpointOutput"]),
    ],
)
def test_only_the_modes_asked_for_are_captured(bucket: Bucket, modes: list[str], parts: list[str]) -> None:
    capture = make(bucket, CaptureOptions=[{"CaptureMode": mode} for mode in modes])
    capture.offer(exchange())
    capture.flush()

    assert list(bucket.records[0]["captureData"]) == parts


@pytest.mark.parametrize(
    ("percentage", "chance", "captured"), [(0, 0.0, 0), (30, 0.29, 1), (30, 0.3, 0), (100, 0.999, 1)]
)
def test_sampling_takes_that_share(bucket: Bucket, percentage: int, chance: float, captured: int) -> None:
    capture = make(bucket, chance, InitialSamplingPercentage=percentage)
    capture.offer(exchange())
    capture.flush()

    assert len(bucket.records) == captured


def test_a_capture_that_is_switched_off_takes_nothing(bucket: Bucket) -> None:
    capture = make(bucket, EnableCapture=False)
    capture.offer(exchange())
    capture.flush()

    assert not bucket


def test_records_wait_while_s3_does_not_answer(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    capture = make(bucket)
    bucket.broken = True
    capture.offer(exchange(inference_id="one"))
    capture.flush()
    capture.offer(exchange(inference_id="two"))
    bucket.broken = False
    capture.flush()

    assert [record["eventMetadata"]["inferenceId"] for record in bucket.records] == ["one", "two"]
    assert "could not be written; trying again" in caplog.text


def test_what_waits_can_be_taken_as_objects(bucket: Bucket) -> None:
    capture = make(bucket)
    capture.offer(exchange())

    ((uri, content),) = capture.take()
    assert uri.startswith("s3://bucket/capture/used-cars/AllTraffic/2026/11/20/09/")
    assert json.loads(content)["eventVersion"] == "0"
    assert capture.take() == []


def test_a_flush_without_records_writes_nothing(bucket: Bucket) -> None:
    make(bucket).flush()

    assert not bucket


def test_the_summary_says_whether_capture_is_on() -> None:
    assert summary(CONFIG | {"EnableCapture": False, "KmsKeyId": "key"}) == {
        "EnableCapture": False,
        "CaptureStatus": "Stopped",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/capture/",
        "KmsKeyId": "key",
    }
    assert summary(None) is None
