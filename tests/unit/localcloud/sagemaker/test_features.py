"""The local feature store: groups, records online and offline, and what is refused."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from localcloud.engine.operations import feature_record
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.features import offline, records, values
from localcloud.sagemaker.http import handle_record
from localcloud.sagemaker.platform.aws import Aws, Credentials
from localcloud.sagemaker.service import SageMakerService
from tests.waiting import wait_for

ARN = "arn:aws:sagemaker:eu-west-1:000000000000:feature-group/cars"
ROLE = "arn:aws:iam::000000000000:role/features"
FEATURES = {"vin": "String", "miles": "Integral", "price": "Fractional", "sold": "String"}
ONLINE = {"OnlineStoreConfig": {"EnableOnlineStore": True}}
STORAGE = {"S3StorageConfig": {"S3Uri": "s3://lake/features/"}, "DisableGlueTableCreation": True}
OFFLINE: dict[str, Any] = {"OfflineStoreConfig": STORAGE, "RoleArn": ROLE}
CARS: dict[str, Any] = {
    "FeatureGroupName": "Cars",
    "RecordIdentifierFeatureName": "vin",
    "EventTimeFeatureName": "sold",
    "FeatureDefinitions": [{"FeatureName": name, "FeatureType": kind} for name, kind in FEATURES.items()],
}


def as_record(**features: Any) -> list[dict[str, str]]:
    return [{"FeatureName": name, "ValueAsString": str(value)} for name, value in features.items()]


FIRST = {"vin": "a", "miles": 10, "price": 99.5, "sold": "2026-11-29T10:15:00Z"}
LATER = {**FIRST, "miles": 20, "sold": "2026-11-29T11:30:00.250Z"}


class Lake:
    """A feature store over a folder that stands for S3."""

    def __init__(self, state: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.named = set[tuple[str | None, str]]()  # keys and ACLs of what is written
        self.bucket, self.state = state / "s3", state
        self.service = self.started()

    def started(self) -> SageMakerService:
        return SageMakerService(
            self.state,
            "http://127.0.0.1:1",
            "eu-west-1",
            "000000000000",
            Path("python"),
            credentials=Credentials("key", "secret"),
            put_event=self.events.append,
        )

    def __call__(self, operation: str, **request: Any) -> dict[str, Any]:
        handle = self.service.handle if "FeatureGroup" in operation else self.service.records.handle
        return handle(operation, {"FeatureGroupName": "Cars", **request} if "List" not in operation else request)

    def told(self, events: int) -> list[dict[str, Any]]:
        """What so many events say of the group, in their order."""
        wait_for(lambda: len(self.events) >= events, "the events", 10, pause=0.01)
        return [json.loads(event["Detail"]) for event in self.events]

    def put(self, features: dict[str, Any], **members: Any) -> None:
        assert self("PutRecord", Record=as_record(**features), **members) == {}

    def get(self, identifier: str = "a", **members: Any) -> dict[str, str]:
        found = self("GetRecord", RecordIdentifierValueAsString=identifier, **members).get("Record", [])
        return {one["FeatureName"]: one["ValueAsString"] for one in found}

    def refusal(self, operation: str, **request: Any) -> AwsError:
        with pytest.raises(AwsError) as refused:
            self(operation, **request)
        return refused.value

    def written(self, files: int) -> dict[str, pa.Table]:
        """The files of the offline store, when there are so many, by their keys."""
        wait_for(lambda: len(list(self.bucket.rglob("*.parquet"))) >= files, "the offline store", 10, pause=0.01)
        found = {str(path.relative_to(self.bucket)): pq.read_table(path) for path in self.bucket.rglob("*.parquet")}
        return dict(sorted(found.items()))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    def upload(_: Aws, path: Path, uri: str, key: str | None = None, *, acl: str) -> None:
        lake.named.add((key, acl))
        place = lake.bucket / uri.removeprefix("s3://")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place.with_suffix(".part")).rename(place)

    monkeypatch.setattr(Aws, "upload", upload)
    monkeypatch.setattr(offline, "SECONDS", 0.02)
    monkeypatch.setattr(offline, "AGAIN_SECONDS", 0.02)
    lake = Lake(tmp_path)
    yield lake
    lake.service.stop()


@pytest.fixture
def cars(lake: Lake) -> Lake:
    lake("CreateFeatureGroup", **CARS, **ONLINE, **OFFLINE, Tags=[{"Key": "a", "Value": "1"}])
    return lake


def test_files_are_written_with_an_acl_and_under_awss_own_key_where_the_group_names_none(cars: Lake) -> None:
    """SageMaker Developer Guide, "Security and access control", and AmazonSageMakerFeatureStoreAccess."""
    cars.put(FIRST)
    cars.written(1)
    assert cars.named == {("alias/aws/s3", "bucket-owner-full-control")}


# ---- Groups


def test_a_group_is_described_with_where_its_records_go(cars: Lake) -> None:
    described = cars("DescribeFeatureGroup", FeatureGroupName=ARN)
    created = int(described["CreationTime"])
    assert described["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"] == (
        f"s3://lake/features/000000000000/sagemaker/eu-west-1/offline-store/Cars-{created}/data"
    )
    assert (described["FeatureGroupStatus"], described["OfflineStoreStatus"]) == ("Created", {"Status": "Active"})
    assert described["FeatureDefinitions"] == CARS["FeatureDefinitions"]
    assert described == cars("DescribeFeatureGroup")
    (detail,) = cars.told(1)
    (event,) = cars.events
    assert (event["DetailType"], event["Resources"]) == ("SageMaker Feature Group State Change", [ARN])
    assert (detail["FeatureGroupStatus"], detail["Tags"]) == ("Created", {"a": "1"})
    assert detail["CreationTime"] == round(described["CreationTime"] * 1000)


def test_groups_are_listed_by_name_and_store(cars: Lake) -> None:
    cars("CreateFeatureGroup", **{**CARS, "FeatureGroupName": "boats"}, **ONLINE)

    def listed(**request: Any) -> list[str]:
        listed = cars("ListFeatureGroups", **request)["FeatureGroupSummaries"]
        return [summary["FeatureGroupName"] for summary in listed]

    assert listed(SortBy="Name", SortOrder="Ascending") == ["Cars", "boats"]
    assert listed(NameContains="oat") == listed(OfflineStoreStatusEquals="Disabled") == ["boats"]
    assert listed(FeatureGroupStatusEquals="Deleting") == []


def test_features_are_added_and_records_of_before_have_none(cars: Lake) -> None:
    cars.put(FIRST)
    colour = {"FeatureName": "colour", "FeatureType": "String"}
    assert cars("UpdateFeatureGroup", FeatureAdditions=[colour]) == {"FeatureGroupArn": ARN}
    cars.put({**LATER, "vin": "b", "colour": "red"})
    assert (cars.get("a"), cars.get("b")["colour"]) == ({k: str(v) for k, v in FIRST.items()}, "red")
    described = cars("DescribeFeatureGroup")
    assert described["FeatureDefinitions"][-1] == colour
    assert described["LastUpdateStatus"] == {"Status": "Successful"}
    assert "more than once" in cars.refusal("UpdateFeatureGroup", FeatureAdditions=[colour]).message


def test_a_deleted_group_is_gone_online_and_its_records_stay_offline(cars: Lake) -> None:
    cars.put(FIRST)
    assert cars("DeleteFeatureGroup") == {}
    assert cars.refusal("DescribeFeatureGroup").code == "ResourceNotFound"
    assert cars.refusal("GetRecord", RecordIdentifierValueAsString="a").code == "ResourceNotFound"
    assert len(cars.written(1)) == 1
    _, deleting = cars.told(2)
    assert (deleting["FeatureGroupStatus"], deleting["Tags"]) == ("Deleting", {"a": "1"})
    cars("CreateFeatureGroup", **CARS, **ONLINE)
    assert cars.get() == {}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "At least one of OnlineStoreConfig, with EnableOnlineStore, and OfflineStoreConfig is needed."),
        ({"OfflineStoreConfig": STORAGE}, "at 'roleArn' failed to satisfy constraint: Member must not be null"),
        ({**OFFLINE, "OfflineStoreConfig": {**STORAGE, "DisableGlueTableCreation": False}}, "A Glue table is not"),
        ({**OFFLINE, "OfflineStoreConfig": {**STORAGE, "TableFormat": "Iceberg"}}, "TableFormat Iceberg is not"),
        ({"OnlineStoreConfig": {"EnableOnlineStore": True, "StorageType": "InMemory"}}, "StorageType InMemory is not"),
        ({**ONLINE, "RecordIdentifierFeatureName": "price"}, "'price' must be the name of a feature of type String or"),
        ({**ONLINE, "EventTimeFeatureName": "when"}, "'when' must be the name of a feature of type String or"),
        ({**ONLINE, "FeatureDefinitions": [{"FeatureName": "Write_Time", "FeatureType": "String"}]}, "is reserved"),
        ({**ONLINE, "FeatureDefinitions": as_record()}, "Member must have length greater than or equal to 1"),
    ],
)
def test_what_makes_no_group_is_refused(lake: Lake, changes: dict[str, Any], text: str) -> None:
    refused = lake.refusal("CreateFeatureGroup", **{**CARS, **changes})
    assert (refused.code, text in refused.message) == ("ValidationException", True), refused.message


def test_a_name_is_given_once(cars: Lake) -> None:
    assert cars.refusal("CreateFeatureGroup", **CARS, **ONLINE).code == "ResourceInUse"


# ---- Online


def test_online_is_what_the_latest_event_says_whenever_it_comes(cars: Lake) -> None:
    cars.put(LATER)
    cars.put(FIRST)  # later than it, and of an earlier event
    assert cars.get() == {name: str(value) for name, value in LATER.items()}
    assert cars.get(FeatureNames=["price", "vin"]) == {"price": "99.5", "vin": "a"}
    assert cars.get("b") == {}


def test_records_are_read_at_once_of_several_groups(cars: Lake) -> None:
    cars.put(FIRST)
    wanted = [
        {"FeatureGroupName": ARN, "RecordIdentifiersValueAsString": ["a", "b"], "FeatureNames": ["miles"]},
        {"FeatureGroupName": "boats", "RecordIdentifiersValueAsString": ["c"]},
    ]
    answer = cars.service.records.handle("BatchGetRecord", {"Identifiers": wanted})
    assert answer["Records"] == [
        {"FeatureGroupName": ARN, "RecordIdentifierValueAsString": "a", "Record": as_record(miles=10)}
    ]
    (error,) = answer["Errors"]
    assert (error["RecordIdentifierValueAsString"], error["ErrorCode"]) == ("c", "ResourceNotFound")


def test_records_are_put_at_once_and_one_that_is_wrong_keeps_no_other_out(cars: Lake) -> None:
    wrong = {"FeatureGroupName": "Cars", "Record": as_record(**{**FIRST, "miles": "many"})}
    right = {"FeatureGroupName": ARN, "Record": as_record(**FIRST)}
    nowhere = {"FeatureGroupName": "boats", "Record": as_record(**FIRST)}
    answer = cars.service.records.handle("BatchWriteRecord", {"Entries": [wrong, right, nowhere]})
    found = [(error["Entry"], error["ErrorCode"]) for error in answer["Errors"]]
    assert found == [(wrong, "ValidationError"), (nowhere, "ResourceNotFound")]
    assert (cars.get()["miles"], answer["UnprocessedEntries"]) == ("10", [])


def test_a_deletion_is_an_event_and_counts_where_it_is_later(cars: Lake) -> None:
    gone = {"RecordIdentifierValueAsString": "a"}
    cars.put(LATER)
    cars("DeleteRecord", **gone, EventTime=FIRST["sold"])
    assert cars.get()
    refused = cars.refusal("DeleteRecord", **gone, EventTime=FIRST["sold"], DeletionMode="HardDelete")
    assert refused.code == "ValidationError"
    cars("DeleteRecord", **gone, EventTime="2026-11-29T12:00:00Z")
    cars.put(FIRST)  # of an earlier event than the deletion
    assert cars.get() == {}
    cars("DeleteRecord", **gone, EventTime="2026-11-29T13:00:00Z", DeletionMode="HardDelete")
    cars.put(FIRST)  # nothing is known of it any more
    assert cars.get()["miles"] == "10"


def test_what_was_put_is_there_when_the_local_cloud_starts_again(cars: Lake) -> None:
    cars.put(FIRST)
    cars.put({**FIRST, "vin": "b"})
    cars("DeleteRecord", RecordIdentifierValueAsString="b", EventTime=LATER["sold"])
    cars.service.stop()
    cars.service = cars.started()
    assert (cars.get("a")["miles"], cars.get("b")) == ("10", {})


def test_the_file_of_records_online_grows_with_the_records_and_not_with_their_changes(
    cars: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "FEW_LINES", 10)
    for minute in range(50):
        cars.put({**FIRST, "miles": minute, "sold": f"2026-11-29T10:{minute:02}:00Z"})
    cars.put({**FIRST, "vin": "b"})
    (journal,) = cars.state.rglob("online.jsonl")
    assert 2 <= len([line for line in journal.read_bytes().split(b"\n") if line]) < 15
    cars.service.stop()
    cars.service = cars.started()
    assert [cars.get(name)["miles"] for name in ("a", "b")] == ["49", "10"]


def test_what_a_power_cut_has_torn_takes_nothing_that_comes_after_it_along(
    cars: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "SECONDS", 60)
    for name in ("a", "torn"):
        cars.put({**FIRST, "vin": name})
    cars.service.stop()
    for name in ("online", "offline"):
        (journal,) = cars.state.rglob(f"{name}.jsonl")
        os.truncate(journal, journal.stat().st_size - 9)
    cars.service = cars.started()
    cars.put({**FIRST, "vin": "b"})
    cars.service.stop()
    monkeypatch.setattr(offline, "SECONDS", 0.02)
    cars.service = cars.started()
    assert [cars.get(name).get("vin") for name in ("a", "torn", "b")] == ["a", None, "b"]
    cars.service.offline_store.start()
    (table,) = cars.written(1).values()
    assert table["vin"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ({**FIRST, "colour": "red"}, "has no feature 'colour'"),
        ({**FIRST, "miles": "1.5"}, "the value '1.5' of the feature 'miles' is not Integral"),
        ({**FIRST, "miles": 2**63}, "is not Integral"),
        ({**FIRST, "price": "dear"}, "is not Fractional"),
        ({**FIRST, "price": "1_000"}, "is not Fractional"),
        ({**FIRST, "vin": "\ud800"}, "is not String"),  # half a character, which no Parquet file can hold
        ({**FIRST, "miles": "\u0663"}, "is not Integral"),
        ({"vin": "a", "miles": 1}, "the record has no value of 'sold'"),
        ({**FIRST, "sold": "2026-11-29 10:15"}, "the event time '2026-11-29 10:15' is no ISO 8601 time"),
        ({**FIRST, "sold": "2026-13-29T10:15:00Z"}, "is no ISO 8601 time"),
    ],
)
def test_a_record_that_is_none_of_the_groups_is_refused(cars: Lake, features: dict[str, Any], text: str) -> None:
    refused = cars.refusal("PutRecord", Record=as_record(**features))
    assert (refused.code, text in refused.message) == ("ValidationError", True), refused.message


def test_a_store_that_the_group_does_not_have_is_refused(lake: Lake) -> None:
    lake("CreateFeatureGroup", **CARS, **ONLINE)
    refused = lake.refusal("PutRecord", Record=as_record(**FIRST), TargetStores=["OfflineStore"])
    assert "has no OfflineStore" in refused.message


# ---- Offline


def test_every_record_is_offline_by_the_hour_of_its_event_with_what_the_store_adds(cars: Lake) -> None:
    cars.put(LATER)
    cars.put({**FIRST, "vin": "b"})
    cars.put({"vin": "c", "sold": "2026-11-29T10:59:59Z"})
    cars("DeleteRecord", RecordIdentifierValueAsString="a", EventTime="2026-11-30T00:00:00Z")
    wait_for(lambda: sum(t.num_rows for t in cars.written(3).values()) == 4, "four rows", 10, pause=0.01)
    created = int(cars("DescribeFeatureGroup")["CreationTime"])
    folder = f"lake/features/000000000000/sagemaker/eu-west-1/offline-store/Cars-{created}/data/year=2026/month=11"
    keys, tables = list(cars.written(3)), list(cars.written(3).values())
    assert {key.rpartition("/")[0] for key in keys} == {
        f"{folder}/day={place}" for place in ("29/hour=10", "29/hour=11", "30/hour=00")
    }
    assert all(len(key.rpartition("_")[2]) == len("0123456789abcdef.parquet") for key in keys)
    assert "/20261129T113000Z_" in keys[-2]
    assert tables[0].schema.names == [*FEATURES, "write_time", "api_invocation_time", "is_deleted"]
    assert [str(field.type) for field in tables[0].schema][1:4] == ["int64", "double", "string"]
    rows = [row for table in tables for row in table.to_pylist()]
    assert {(row["vin"], row["miles"], row["is_deleted"]) for row in rows} == {
        ("a", 20, False), ("b", 10, False), ("c", None, False), ("a", None, True),
    }  # fmt: skip
    ages = [
        (datetime.now(UTC) - row[name]).total_seconds()
        for row in rows
        for name in ("write_time", "api_invocation_time")
    ]
    assert all(0 <= age < 60 for age in ages)


def test_records_that_go_on_coming_are_a_file_a_minute_and_lone_ones_are_written_at_once() -> None:
    pauses = [0.0]
    for quiet in [math.inf, *[0.5] * 7]:
        pauses.append(offline.next_pause(pauses[-1], quiet))
    assert pauses[1:] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert offline.next_pause(60, 120) == 1


def test_target_stores_say_where_a_record_goes(cars: Lake) -> None:
    cars.put(FIRST, TargetStores=["OnlineStore"])
    cars.put({**FIRST, "vin": "b"}, TargetStores=["OfflineStore"])
    (table,) = cars.written(1).values()
    assert (table["vin"].to_pylist(), cars.get("a")["vin"], cars.get("b")) == (["b"], "a", {})


def test_records_wait_where_they_cannot_be_written_and_the_group_says_why(
    cars: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("AccessDenied of s3:PutObject")

    with monkeypatch.context() as broken:
        broken.setattr(Aws, "upload", refuse)
        cars.put(FIRST)
        wait_for(
            lambda: cars("DescribeFeatureGroup")["OfflineStoreStatus"]["Status"] == "Blocked", "it", 10, pause=0.01
        )
        status = cars("DescribeFeatureGroup")["OfflineStoreStatus"]
        assert status["BlockedReason"] == "AccessDenied of s3:PutObject"
    assert len(cars.written(1)) == 1
    wait_for(lambda: cars("DescribeFeatureGroup")["OfflineStoreStatus"] == {"Status": "Active"}, "it", 10, pause=0.01)
    assert [detail["OfflineStoreStatus"] for detail in cars.told(3)] == [
        {"Status": "Active"}, status, {"Status": "Active"},
    ]  # fmt: skip


def test_what_was_not_written_when_the_local_cloud_stopped_is_written_when_it_starts(
    cars: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "SECONDS", 60)
    cars.put(FIRST)
    cars.service.stop()
    assert not list(cars.bucket.rglob("*.parquet"))
    monkeypatch.setattr(offline, "SECONDS", 0.02)
    cars.service = cars.started()
    cars.service.offline_store.start()
    assert len(cars.written(1)) == 1


def test_a_record_that_can_no_longer_be_written_holds_up_no_other(cars: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version took half a character for a text."""
    with monkeypatch.context() as before:
        before.setattr(values, "typed", lambda name, kind, text: text)
        before.setattr(offline, "SECONDS", 60)
        cars.put({**FIRST, "vin": "\ud800"})
        cars.put({**FIRST, "vin": "b"})
        cars.service.stop()
    cars.service = cars.started()
    cars.service.offline_store.start()
    (table,) = cars.written(1).values()
    assert table["vin"].to_pylist() == ["b"]


def test_an_event_time_may_be_seconds(lake: Lake) -> None:
    definitions = [{"FeatureName": "id", "FeatureType": "Integral"}, {"FeatureName": "at", "FeatureType": "Fractional"}]
    group = {"FeatureGroupName": "Cars", "RecordIdentifierFeatureName": "id", "EventTimeFeatureName": "at"}
    lake("CreateFeatureGroup", **group, FeatureDefinitions=definitions, **OFFLINE)
    lake.put({"id": 1, "at": 1_764_410_400.5})
    assert [key.partition("/data/")[2][:36] for key in lake.written(1)] == ["year=2025/month=11/day=29/hour=10/20"]
    assert "Unix timestamp" in lake.refusal("PutRecord", Record=as_record(id=1, at=-5)).message
    assert "has no online store" in lake.refusal("GetRecord", RecordIdentifierValueAsString="1").message


# ---- The way in


@pytest.mark.parametrize(
    ("method", "path", "operation", "group"),
    [
        ("PUT", "/FeatureGroup/cars", "PutRecord", "cars"),
        ("GET", "/FeatureGroup/cars", "GetRecord", "cars"),
        pytest.param("DELETE", f"/FeatureGroup/{ARN}", "DeleteRecord", ARN, id="by its ARN"),
        ("POST", "/BatchGetRecord", "BatchGetRecord", ""),
        ("POST", "/BatchWriteRecord", "BatchWriteRecord", ""),
        ("POST", "/FeatureGroup/cars/Record", "UpdateRecord", "cars"),
        ("POST", "/FeatureGroup/cars/ListRecords", "ListRecords", "cars"),
        ("POST", "/FeatureGroup/cars", "", ""),
        ("GET", "/BatchGetRecord", "", ""),
        ("GET", "/endpoints/x/invocations", "", ""),
    ],
)
def test_the_address_says_which_operation_it_is(method: str, path: str, operation: str, group: str) -> None:
    assert feature_record(method, path) == (operation, group)


def test_members_are_in_the_address_and_in_the_body(cars: Lake) -> None:
    def asked(operation: str, query: str = "", body: bytes = b"") -> tuple[int, dict[str, Any]]:
        status, headers, content = handle_record(cars.service, operation, "Cars", parse_qs(query), body)
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(content)

    assert asked("PutRecord", body=json.dumps({"Record": as_record(**FIRST)}).encode()) == (200, {})
    wanted = "RecordIdentifierValueAsString=a&FeatureName=miles&FeatureName=vin"
    assert asked("GetRecord", wanted) == (200, {"Record": as_record(miles=10, vin="a")})
    assert asked("DeleteRecord", f"RecordIdentifierValueAsString=a&EventTime={LATER['sold']}")[0] == 200
    assert asked("GetRecord", wanted) == (200, {})
    status, refused = asked("GetRecord")
    assert (status, refused["__type"]) == (400, "ValidationError")
    assert "UpdateRecord of sagemaker-featurestore-runtime is not supported" in asked("UpdateRecord")[1]["message"]
