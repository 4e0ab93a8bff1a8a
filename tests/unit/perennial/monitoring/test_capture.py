"""Captured records, as the endpoint's data capture writes them, and all that may be wrong with their files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.endpoints.capture import Capture, Exchange
from perennial.monitoring import capture
from perennial.monitoring.capture import Event, Payload, Tally, events
from perennial.runs.endpoint import own_question
from perennial.runs.naming import run_id

START, END = datetime(2026, 11, 29, 10), datetime(2026, 11, 29, 12)  # noqa: DTZ001 - UTC
NOON = datetime(2026, 11, 29, 11, 59, 59, tzinfo=UTC)
CONFIG: dict[str, Any] = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/capture",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}
Write = Callable[..., Path]


def captured(folder: Path, *exchanges: Exchange, endpoint: str = "cars", **config: Any) -> None:
    """Write what the local endpoint would."""
    writer = Capture(CONFIG | config, endpoint, "AllTraffic", lambda _uri, _content: None, lambda: 0.0)
    for one in exchanges:
        writer.offer(one)
    for uri, content in writer.take():
        path = folder / uri.removeprefix("s3://bucket/capture/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def exchange(**changes: Any) -> Exchange:
    given: dict[str, Any] = {
        "time": NOON, "request_body": b"1,2\n", "request_type": "text/csv", "response_body": b"3.5",
        "response_type": "text/csv; charset=utf-8", "event_id": "event-1",
    }  # fmt: skip
    return Exchange(**given | changes)


def collected(folder: Path, endpoint: str = "cars") -> tuple[list[Event], dict[str, Any]]:
    tally = Tally()
    return list(events(folder, endpoint, START, END, tally)), tally.as_json()


def file(folder: Path, content: bytes, name: str = "00-00-000-x.jsonl", endpoint: str = "cars") -> None:
    path = folder / endpoint / "AllTraffic" / "2026/11/29/11" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def line(**metadata: Any) -> bytes:
    payload = {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV"}
    about = {"eventId": "event-1", "inferenceTime": "2026-11-29T11:00:00Z", **metadata}
    return json.dumps({"captureData": {"endpointInput": payload}, "eventMetadata": about, "eventVersion": "0"}).encode()


@pytest.mark.parametrize("config", [{}, {"CaptureContentTypeHeader": {}}], ids=["text", "base64"])
@pytest.mark.parametrize("kind", ["text/csv", "application/json", "application/jsonlines"])
def test_requests_and_answers_are_read_in_every_encoding(tmp_path: Path, kind: str, config: dict[str, Any]) -> None:
    body = {"text/csv": b"1,2\n", "application/json": b'{"a": "\xc3\xa9"}', "application/jsonlines": b'{"a": 1}\n'}[
        kind
    ]
    captured(tmp_path, exchange(request_body=body, request_type=kind, inference_id="car-1"), **config)
    (event,), counts = collected(tmp_path)
    payloads = Payload(body.decode(), kind), Payload("3.5", "text/csv")
    assert event == Event("car-1", NOON.replace(tzinfo=None), *payloads, "car-1", event.file, 1)
    assert (tmp_path / event.file).is_file()
    assert counts == {"requests": 1, "examples": []}


def test_a_label_is_looked_for_by_the_event_where_the_caller_sent_no_id(tmp_path: Path) -> None:
    captured(tmp_path, exchange(event_id="event-7"))
    assert [(event.id, event.inference_id) for event in collected(tmp_path)[0]] == [("event-7", "")]


def test_our_own_questions_shadows_and_other_times_are_no_traffic_of_the_window(tmp_path: Path) -> None:
    before, after = NOON.replace(hour=9), NOON.replace(hour=12, minute=0, second=0)
    captured(
        tmp_path, exchange(), exchange(inference_id="verify-20261129000000-ab12-0"),
        exchange(inference_id="probe-20261129000000-ab12-17"), exchange(inference_id="explain-20261129000000-ab12-3"),
        exchange(time=before), exchange(time=after),
    )  # fmt: skip
    file(tmp_path, line(invocationSource="ShadowExperiment"))
    found, counts = collected(tmp_path)
    assert len(found) == 1
    ours = {"verification": 1, "probing": 1, "explaining": 1}
    assert counts == {"examples": [], "outside_window": 2, "requests": 1, "shadow": 1, **ours}


def test_what_cannot_be_read_and_is_of_another_time_is_no_fault_of_the_window(tmp_path: Path) -> None:
    document = json.loads(line(inferenceTime="2026-11-29T09:00:00Z"))
    document["captureData"]["endpointInput"] = {"data": "/w==", "encoding": "BASE64"}  # the byte 255
    file(tmp_path, json.dumps(document).encode())
    assert collected(tmp_path)[1] == {"examples": [], "outside_window": 1}


@pytest.mark.parametrize(
    "mine", ["probe-1", "probe-", "verify-me", "probe-20261129000000-ab12", "a probe-20261129000000-ab12-0"]
)
def test_a_caller_whose_ids_begin_like_our_own_is_traffic(tmp_path: Path, mine: str) -> None:
    captured(tmp_path, exchange(inference_id=mine))
    assert collected(tmp_path)[1] == {"examples": [], "requests": 1}


def test_what_is_our_own_has_the_id_of_a_run_or_a_window_in_it() -> None:
    known = run_id("arn:aws:states:eu-west-1:123456789012:execution:cars:one", NOON)
    assert [own_question(f"{name}{known}-7") for name in ("verify-", "probe-", "ask-")] == ["verify-", "probe-", ""]


def test_files_of_another_endpoint_are_counted_and_named(tmp_path: Path) -> None:
    captured(tmp_path, exchange(), endpoint="cars-eu")
    found, counts = collected(tmp_path)
    assert (found, counts["files_of_other_endpoints"]) == ([], 1)
    assert counts["examples"][0].endswith("not below cars/")


def test_gzip_is_read_and_of_a_torn_file_the_records_before_the_tear(tmp_path: Path) -> None:
    file(tmp_path, gzip.compress(line() + b"\n"), "a.jsonl.gz")
    many = b"".join(line(eventId=f"event-{number:06d}") + b"\n" for number in range(2000))
    packed = gzip.compress(many)
    file(tmp_path, packed[: len(packed) // 2], "b.jsonl.gz")
    found, counts = collected(tmp_path)
    assert 2 < len(found) < 2000
    assert counts["torn_files"] == 1


def test_a_file_that_is_still_written_ends_in_a_torn_line(tmp_path: Path) -> None:
    file(tmp_path, line() + b"\n" + line()[:-20])
    found, counts = collected(tmp_path)
    assert (len(found), counts["unreadable_records"]) == (1, 1)
    assert counts["examples"][0].startswith("cars/AllTraffic/2026/11/29/11/00-00-000-x.jsonl, line 2: ")


def test_empty_files_are_counted(tmp_path: Path) -> None:
    file(tmp_path, b"")
    file(tmp_path, b"\n", "b.jsonl")
    examples = [f"cars/AllTraffic/2026/11/29/11/{name}: no record" for name in ("00-00-000-x.jsonl", "b.jsonl")]
    assert collected(tmp_path) == ([], {"empty_files": 2, "examples": examples})


@pytest.mark.parametrize(
    "content",
    [
        b"[]", b"3", b"null", b"{}", b"\xff\xfe", b"nonsense", b'{"eventMetadata": {}}', b"[" * 100_000,
        line(inferenceTime="secret"), line(eventId={"secret": 1}), line(inferenceTime=None), line(eventId=None),
        line(eventId=3),
        line().replace(b'"data": "1,2"', b'"data": 5'), line().replace(b"CSV", b"BASE64"),
        line().replace(b'"1,2"', b'"/w=="').replace(b"CSV", b"BASE64"),
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_no_record_is_counted_with_an_example(tmp_path: Path, content: bytes) -> None:
    file(tmp_path, content)
    found, counts = collected(tmp_path)
    (example,) = counts["examples"]
    assert (found, counts["unreadable_records"]) == ([], 1)
    assert example.startswith("cars/AllTraffic/2026/11/29/11/00-00-000-x.jsonl, line 1: ")
    assert "secret" not in example


def test_examples_are_few(tmp_path: Path) -> None:
    file(tmp_path, b"nonsense\n" * 100)
    _, counts = collected(tmp_path)
    assert (counts["unreadable_records"], len(counts["examples"])) == (100, 5)


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_line_that_never_ends_is_one_that_cannot_be_read_and_takes_bounded_memory(
    tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "LONGEST_LINE", 1_000)
    captured(tmp_path, exchange())
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(pack(b"a" * 2_500 + b"\n" + path.read_bytes()))
    found, counts = collected(tmp_path)
    assert (len(found), counts["unreadable_records"]) == (1, 1)
    assert max(map(len, capture.lines(path, "a", Tally()))) == 1_000


def test_a_file_that_unpacks_without_end_is_read_as_far_as_records_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "MOST_UNPACKED", 100_000)
    (path := tmp_path / "bomb.gz").write_bytes(gzip.compress(b"first\n" + b"\n" * 3_000_000))
    assert list(capture.lines(path, "bomb", tally := Tally())) == [b"first\n"]
    assert tally.counts == {"torn_files": 1}
    assert tally.examples == ["bomb: 'it unpacks to more than 100 times its size, which no records do'"]


def test_the_name_of_a_file_is_told_on_one_line(tmp_path: Path) -> None:
    for name in ("cars/a\nb\u202e.jsonl", "c\td/x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no json\n")
    _, counts = collected(tmp_path)
    assert all(one.isprintable() for one in counts["examples"])
    assert counts["examples"][1].startswith("cars/a\\u000ab\\u202e.jsonl, line 1: no JSON")
