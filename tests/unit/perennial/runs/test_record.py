"""The run record: what it holds, what DynamoDB and JSON take of it, and how long states took."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as some

from perennial.model import definition
from perennial.model.complaints import MAX_INPUT_BYTES
from perennial.runs import record

START = datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)
OPENED = {
    "run_id": "20261120093440-1a2b",
    "stack": "cars",
    "bucket": "b",
    "status": "Running",
    "execution": {"arn": "arn", "started_at": "2026-11-20T09:34:40.000Z"},
    "data": {"files": [], "manifest": "s3://b/m"},
}


def closed(status="Succeeded", **more):
    given = {
        "status": status,
        "ended_at": START + timedelta(seconds=61.5),
        "failure": None,
        "durations_seconds": {"Train": 2.5},
        "retries": {},
        "report": None,
        "aside": [],
        "jobs": [],
        "version": None,
        "endpoint": "cars",
        "name": "cars-20261120093440-1a2b",
    }
    return record.closed(OPENED, **{**given, **more})


def event(seconds, kind, name):
    details = {"Entered": "stateEnteredEventDetails", "Exited": "stateExitedEventDetails"}[kind]
    return {"timestamp": START + timedelta(seconds=seconds), "type": f"TaskState{kind}", details: {"name": name}}


def test_a_closed_record_keeps_what_was_there_and_adds_the_end():
    document = closed()
    assert document["run_id"] == OPENED["run_id"]
    assert document["execution"]["ended_at"] == "2026-11-20T09:35:41.500Z"
    assert document["execution"]["duration_seconds"] == 61.5
    assert document["deployed"] == {
        "endpoint": "cars",
        "endpoint_config": "cars-20261120093440-1a2b",
        "model": "cars-20261120093440-1a2b",
    }


def test_a_run_that_only_trained_names_nothing_that_serves():
    document = closed("TrainedOnly")
    assert (document["deployed"], document["baselines"]) == (None, None)


def test_what_was_put_aside_stands_with_the_data():
    aside = [{"Key": "raw/readme.txt", "VersionId": "v", "Reason": "no table"}]
    assert closed(aside=aside)["data"] == {**OPENED["data"], "aside": aside}
    assert "aside" not in closed()["data"]


@pytest.mark.parametrize("status", ["Failed", "Rejected", "TimedOut", "Aborted"])
def test_a_run_that_did_not_succeed_has_deployed_nothing(status):
    document = closed(status, failure={"error": "e"})
    assert (document["deployed"], document["baselines"]) == (None, None)


def test_durations_add_up_visits_of_a_state():
    events = [
        event(0, "Entered", "Wait"),
        event(2, "Exited", "Wait"),
        event(3, "Entered", "Wait"),
        event(7, "Exited", "Wait"),
    ]
    assert record.durations(events, START) == ({"Wait": 6.0}, [])


def test_a_state_that_was_never_left_lasts_until_the_end_and_is_named():
    events = [event(0, "Entered", "Train"), {"timestamp": START, "type": "ExecutionFailed"}]
    assert record.durations(events, START + timedelta(seconds=9)) == ({"Train": 9.0}, ["Train"])


def test_parallel_states_have_their_own_durations():
    events = [
        event(0, "Entered", "a"),
        event(1, "Entered", "b"),
        event(3, "Exited", "a"),
        event(5, "Exited", "b"),
    ]
    assert record.durations(events, START)[0] == {"a": 3.0, "b": 4.0}


def history(*steps):
    """Events of an execution: (type, the event before, name of the state or error)."""
    events = [{"id": 1, "type": "ExecutionStarted", "previousEventId": 0}]
    for number, (kind, before, text) in enumerate(steps, 2):
        details = {f"{kind[0].lower()}{kind[1:]}EventDetails": {"error": text}} if text else {}
        if kind.endswith("StateEntered"):
            details = {"stateEnteredEventDetails": {"name": text}}
        events.append({"id": number, "type": kind, "previousEventId": before, **details})
    return events


BUSY = "SageMaker.ResourceLimitExceededException"


def test_a_state_that_tried_again_is_known_with_its_errors_until_it_gave_up():
    tried = [
        ("TaskStateEntered", 1, "Train"),
        ("TaskScheduled", 2, None),
        ("TaskSubmitFailed", 3, BUSY),
        ("TaskScheduled", 4, None),
        ("TaskTimedOut", 5, "States.Timeout"),
        ("TaskScheduled", 6, None),
        ("TaskFailed", 7, "States.TaskFailed"),
    ]
    assert record.retries(history(*tried)) == {"Train": {"times": 2, "errors": [BUSY, "States.Timeout"]}}


def test_branches_tried_again_for_themselves_and_a_caught_failure_is_no_retry():
    tried = [
        ("ParallelStateEntered", 1, "Baselines"),
        ("TaskStateEntered", 2, "One"),
        ("TaskStateEntered", 2, "Two"),
        ("TaskScheduled", 3, None),
        ("TaskScheduled", 4, None),
        ("TaskFailed", 5, None),
        ("TaskFailed", 6, "E"),
        ("TaskScheduled", 7, None),
        ("TaskStateEntered", 8, "Tell"),
        ("TaskScheduled", 10, None),
    ]
    assert record.retries(history(*tried)) == {"One": {"times": 1, "errors": []}}


@pytest.mark.parametrize(("section", "name"), record.ROOM_IN_ITEM)
def test_an_item_of_long_lists_keeps_some_and_says_how_many_it_leaves_out(section, name):
    entries = [{"Key": str(number)} for number in range(record.FILES_IN_ITEM + 3)]
    item = record.as_item({**OPENED, section: {**OPENED.get(section, {}), name: entries}})
    assert len(item[section][name]) == record.FILES_IN_ITEM
    assert item[section][f"{name}_left_out"] == 3
    assert len(entries) == record.FILES_IN_ITEM + 3


def size_in_dynamodb(value):
    """DynamoDB Developer Guide, "DynamoDB item sizes and formats": an upper bound."""
    if isinstance(value, dict):
        return 3 + sum(1 + len(key.encode()) + size_in_dynamodb(item) for key, item in value.items())
    if isinstance(value, list):
        return 3 + sum(1 + size_in_dynamodb(item) for item in value)
    return len(value.encode()) if isinstance(value, str) else 21


def test_the_largest_record_fits_into_an_item():
    key, version = "é" * 512, "v" * 1024  # a key has at most 1,024 bytes, a version id as well
    columns = [f"{number:064}" for number in range(definition.MAX_COLUMNS)]
    job = {"kind": "Training", "name": "n" * 63, "status": "Failed", "reason": "r" * 1024}
    written = "d" * (definition.MAX_BYTES + 20_000)  # the hyperparameters stand there twice
    largest = {
        **OPENED, "configuration": {"definition": written}, "input": {"Trigger": {"By": "b" * MAX_INPUT_BYTES}},
        "failure": {"cause": "c" * 32_768}, "jobs": [job] * 30,
        "drift": {"distances": dict.fromkeys(columns, 0.1234)},
    }  # fmt: skip
    entries = {
        "files": {
            "Key": key,
            "VersionId": version,
            "ETag": "e" * 40,
            "Size": 1,
            "LastModified": "t" * 32,
            "Checksum": "c" * 60,
        },
        "ignored": {"Key": key, "VersionId": version, "Reason": f"hidden: {key} begins with '_'"},
        "aside": {"Key": key, "VersionId": version, "Reason": "r" * 1000},
        "moved": {
            "column": columns[0],
            "distance": 0.1234,
            "chance": 0.1,
            "before": "'" + "é" * 40 + "' 1.0 %",
            "after": "é" * 50,
        },
        "rules": {"column": columns[0], "rule": "r" * 300, "rows": 12_345, "examples": ["é" * 60] * 5},
        "unreadable": {"name": key, "rows": 12_345, "reason": "r" * 1000},
    }
    for (section, name), room in record.ROOM_IN_ITEM.items():
        entry = entries.get(name, "é" * (room // 200 - 2))  # texts that fill the room to its end
        largest[section] = {**largest.get(section, {}), name: [entry] * 5000}
    assert size_in_dynamodb(record.as_item(largest)) < 400_000


def test_an_item_is_found_by_its_run():
    assert record.as_item(OPENED)["id"] == "run#20261120093440-1a2b"


def test_numbers_that_are_not_finite_become_null():
    assert record.to_dynamodb({"a": [float("nan"), float("inf"), 1.5]}) == {"a": [None, None, Decimal("1.5")]}
    assert record.json_safe({"a": (float("nan"), 1.5)}) == {"a": [None, 1.5]}


@pytest.mark.parametrize(
    ("value", "kept"), [(1e-200, Decimal(0)), (1e300, None), (-1e300, None), (1e-100, Decimal("1e-100"))]
)
def test_numbers_beyond_dynamodbs_range_do_not_break_the_record(value, kept):
    assert record.to_dynamodb(value) == kept


numbers = some.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100).filter(
    lambda value: value == 0 or abs(value) > 1e-100
)
documents = some.recursive(
    some.none() | some.booleans() | some.integers(-(10**15), 10**15) | numbers | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(documents)
def test_a_document_survives_the_table(document):
    stored = TypeSerializer().serialize(record.to_dynamodb(document))
    assert record.from_dynamodb(TypeDeserializer().deserialize(stored)) == document


@given(documents)
def test_a_document_is_strict_json(document):
    assert json.loads(json.dumps(record.json_safe(document), allow_nan=False)) == document


def test_times_are_in_utc_whatever_zone_they_came_in():
    assert record.timestamp(START) == "2026-11-20T09:34:40.000Z"


def test_a_closed_record_says_what_preprocessing_found():
    report = {
        "rows": {"read": 12, "used": 10, "quarantined": 2},
        "sets": {"train": 7, "validation": 1, "test": 1},
        "duplicates": {"rows": 3, "left_out": 1, "trained_again": 2},
        "drift": {"rows": 4, "moved": [], "distances": {}, "uncounted": []},
        "since": {"rows": 12, "gone": {"files": 0, "rows": 0}, "unreadable": [], "definition": ["split.seed"]},
    }
    document = closed("Rejected", report=report)
    assert document["rows"] == {
        "read": 12, "used": 10, "quarantined": 2, "repeated": 3, "trained_again": 2, "train": 7, "validation": 1,
        "test": 1,
    }  # fmt: skip
    assert (document["drift"], document["since"]) == (report["drift"], report["since"])
    assert (closed()["rows"], closed()["drift"]) == (None, None)
    window = {"column": "sold_on", "days": 365, "rows": 4}
    limited = closed(report={**report, "training_window": window})
    assert (limited["rows"]["older"], limited["training_window"]) == (4, window)
