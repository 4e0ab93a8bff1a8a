"""The job that puts rows of dropped files into a feature group, with the local feature store behind boto3's names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.features.journal import Journal
from localcloud.sagemaker.service import SageMakerService
from perennial.data.copies import copy_name
from perennial.model import definition
from processing import ingest_records
from tests import local_feature_store
from tests.local_feature_store import record

MODEL = """
problem: regression
target: price
columns:
  price: {type: float, min: 1}
  miles: {type: float, nullable: true}
  sale: {type: string, feature: false}
  sold: {type: timestamp, feature: false}
split: {method: random, key: [sale]}
gate: {metric: rmse, threshold: 3000}
feature_store: {groups: {sales: {record: sale, event_time: sold}}, ingest: true}
"""
GROUP, ROLE = "cars_sales", "arn:aws:iam::000000000000:role/offline-store"
ROWS = "sale,sold,price\n" + "".join(f"s{number},2026-11-29T10:00:00Z,{number}\n" for number in range(1, 201))


class Job:
    """A run's files, and the job."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.aside = folder, list[dict[str, str]](), list[dict[str, Any]]()
        (folder / "data").mkdir()

    def drop(self, name: str, text: str) -> Path:
        self.files.append({
            "Key": f"raw/{name}", "VersionId": "v", "ETag": name, "LastModified": "2026-11-30T09:00:00Z",
        })  # fmt: skip
        copy = self.folder / "data" / copy_name(self.files[-1])
        copy.write_text(text)
        return copy

    def run(self, role: str = ROLE) -> str:
        """What the job says; nothing where it succeeds."""
        config = {"definition": definition.parse(MODEL, "model.yaml").as_json(), "data": {"files": self.files}}
        (self.folder / "config.json").write_text(json.dumps(config))
        (self.folder / "report").mkdir(exist_ok=True)
        (self.folder / "report/report.json").write_text(json.dumps({"aside": self.aside}))
        options = {
            "config": self.folder / "config.json", "data": self.folder / "data", "report": self.folder / "report",
            "group": GROUP, "record": "sale", "event-time": "sold", "role": role, "key": "key",
            "bucket": "lake", "prefix": "raw/",
            "output": self.folder / "output", "message": self.folder / "message",
        }  # fmt: skip
        code = ingest_records.main([part for name, value in options.items() for part in (f"--{name}", str(value))])
        message = self.folder / "message"
        assert code == int(message.exists())
        return message.read_text() if code else ""

    def done(self) -> list[str]:
        """The names of the files that are noted as ingested."""
        return sorted(path.name for path in (self.folder / "output/ingested").glob("*"))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMakerService]:
    monkeypatch.setattr("processing.ingest_records.PAUSE_SECONDS", 0)
    service = local_feature_store.service(tmp_path / "state", monkeypatch)
    yield service
    service.stop()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def offline(store: SageMakerService, tmp_path: Path) -> list[dict[str, Any]]:
    """What waits to be written offline."""
    return [entry for path in (tmp_path / "state").rglob("offline.jsonl") for entry in Journal(path).read()]


def test_rows_that_keep_the_contract_are_records_online_and_offline_of_a_group_that_is_made(
    store: SageMakerService, job: Job, tmp_path: Path
) -> None:
    copy = job.drop("sales.csv", ROWS.replace("s7,", "s7x,").replace(",7\n", ",free\n"))
    assert job.run() == ""
    described = store.handle("DescribeFeatureGroup", {"FeatureGroupName": GROUP})
    assert described["OfflineStoreConfig"]["S3StorageConfig"]["S3Uri"] == "s3://lake/raw"
    assert described["OfflineStoreConfig"]["S3StorageConfig"]["KmsKeyId"] == "key"
    assert described["RoleArn"] == ROLE
    assert record(store, GROUP, "s200") == {"sale": "s200", "sold": "2026-11-29T10:00:00.000Z", "price": "200"}
    assert record(store, GROUP, "s7x") == {}
    assert len(offline(store, tmp_path)) == 199
    assert job.done() == [copy.name]


def test_a_row_that_is_put_again_changes_nothing_and_none_that_is_older(store: SageMakerService, job: Job) -> None:
    job.drop("sales.csv", ROWS)
    assert job.run() == ""
    job.drop("older.csv", "sale,sold,price\ns1,2026-11-28T10:00:00Z,77\ns2,2026-11-30T08:00:00Z,88\n")
    assert job.run() == ""
    assert [record(store, GROUP, name)["price"] for name in ("s1", "s2", "s3")] == ["1", "88", "3"]


def test_what_preprocessing_has_put_aside_is_not_ingested(store: SageMakerService, job: Job) -> None:
    job.drop("stray.csv", "sale,sold,price\nstray,2026-11-29T10:00:00Z,1\n")
    copy = job.drop("sales.csv", ROWS)
    job.aside = [{"position": 0, "name": "raw/stray.csv"}]
    assert job.run() == ""
    assert record(store, GROUP, "stray") == {}
    assert job.done() == [copy.name]


def test_a_record_that_is_not_taken_fails_the_job_and_the_next_run_loses_none(
    store: SageMakerService, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = job.drop("first.csv", ROWS), job.drop("second.csv", ROWS.replace("\ns", "\nt"))
    put = store.records.put

    def refuse(request: dict[str, Any]) -> dict[str, Any]:
        if any(one["ValueAsString"] == "t150" for one in request["Record"]):
            raise AwsError("ServiceUnavailable", "the store is busy", 503)
        return put(request)

    monkeypatch.setitem(store.records._operations, "PutRecord", refuse)
    text = job.run()
    assert text.startswith(f"raw/second.csv, row 151: the feature group {GROUP} did not take it: ")
    assert "the store is busy" in text
    assert text.endswith("the next run puts them once more")
    names = sorted([first.name, second.name])
    assert len(job.done()) == 1 if names[1] == second.name else job.done() == []
    monkeypatch.setitem(store.records._operations, "PutRecord", put)
    (job.folder / "message").unlink()
    assert job.run() == ""
    assert job.done() == names
    assert record(store, GROUP, "t150")["price"] == "150"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"EventTimeFeatureName": "seen"},
            f"the feature group {GROUP} has the event_time 'seen'; model.yaml says 'sold'",
        ),
        (
            {"OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://other"}, "DisableGlueTableCreation": True}},
            "its records are written to s3://other, and runs read s3://lake/raw",
        ),
    ],
)
def test_a_group_that_is_none_of_the_stacks_gets_nothing(
    store: SageMakerService, job: Job, changed: dict[str, Any], text: str
) -> None:
    put = Mock()
    store.records._operations["PutRecord"] = put
    features = [{"FeatureName": name, "FeatureType": "String"} for name in ("sale", "sold", "seen", "price")]
    made = {
        "FeatureGroupName": GROUP, "RecordIdentifierFeatureName": "sale", "EventTimeFeatureName": "sold",
        "FeatureDefinitions": features,
        "OnlineStoreConfig": {"EnableOnlineStore": True}, "RoleArn": ROLE,
        "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://lake/raw"}, "DisableGlueTableCreation": True},
    }  # fmt: skip
    store.handle("CreateFeatureGroup", {**made, **changed})
    job.drop("sales.csv", ROWS)
    assert text in job.run()
    put.assert_not_called()


def test_without_a_role_a_group_has_to_be_there(store: SageMakerService, job: Job) -> None:
    job.drop("sales.csv", ROWS)
    assert job.run(role="").startswith(f"there is no feature group {GROUP}, and this stack makes none in a bucket that")


def test_a_group_that_is_being_made_is_waited_for(
    store: SageMakerService, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses, describe = iter(["Creating", "Creating", "CreateFailed"]), store.handle

    def creating(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = describe(operation, request)
        if operation != "DescribeFeatureGroup":
            return answer
        return {**answer, "FeatureGroupStatus": next(statuses), "FailureReason": "no role"}

    monkeypatch.setattr(store, "handle", creating)
    job.drop("sales.csv", ROWS)
    assert job.run() == f"the feature group {GROUP} is CreateFailed: no role"
