"""`perennial ingest`, with the local feature store behind boto3's names."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.service import SageMakerService
from perennial.model import definition
from perennial_cli.stacks import Stack
from tests import local_feature_store
from tests.command import perennial
from tests.local_feature_store import Client, record

MODEL = """
problem: regression
target: price
columns:
  price: {type: float}
  miles: {type: integer, source: [Miles]}
  sale: {type: string, feature: false}
split: {method: random, key: [sale]}
gate: {metric: rmse, threshold: 3000}
feature_store:
  groups:
    sales: {record: sale, event_time: sold}
    owners: {record: owner, event_time: changed}
"""
ROLE = "arn:aws:iam::000000000000:role/features"
STACK = Stack("cars", {"DataBucketName": "lake", "DataPrefix": "raw/"}, {"ModelName": "cars", "KmsKeyArn": "key"})
SALES = "sale,sold,price,Miles,colour\na,2026-11-29T10:00:00Z,1.5,7,red\nb,2026-11-29T11:00:00Z,2,,\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMakerService]:
    service = local_feature_store.service(tmp_path / "state", monkeypatch)
    for module in ("say_whom", "is_local"):
        monkeypatch.setattr(f"perennial_cli.commands.ingesting.{module}", lambda: False)
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda _: STACK)
    parsed = definition.parse(MODEL, "model.yaml")
    monkeypatch.setattr("perennial_cli.commands.ingesting.definition_of", lambda _: parsed)
    monkeypatch.delenv("PERENNIAL_ROLE", raising=False)
    yield service
    service.stop()


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text(SALES)
    return path


def test_rows_are_records_of_a_group_that_is_made_where_the_stack_takes_its_data(
    store: SageMakerService, sales: Path
) -> None:
    ended = perennial("ingest", sales, "--role", ROLE, "--json")
    assert json.loads(ended.stdout) == {"group": "cars_sales", "created": True, "records": 2, "hours": 2}
    described = store.handle("DescribeFeatureGroup", {"FeatureGroupName": "cars_sales"})
    storage = described["OfflineStoreConfig"]["S3StorageConfig"]
    assert (storage["S3Uri"], storage["KmsKeyId"], described["RoleArn"]) == ("s3://lake/raw", "key", ROLE)
    assert {one["FeatureName"]: one["FeatureType"] for one in described["FeatureDefinitions"]} == {
        "sale": "String", "sold": "String", "price": "Fractional", "Miles": "Integral", "colour": "String",
    }  # fmt: skip
    assert record(store, "cars_sales", "a") == {
        "sale": "a", "sold": "2026-11-29T10:00:00Z", "price": "1.5", "Miles": "7", "colour": "red",
    }  # fmt: skip
    assert set(record(store, "cars_sales", "b")) == {"sale", "sold", "price"}
    again = perennial("ingest", sales)
    assert "2 records of" in again.stdout
    assert "which is new" not in again.stdout


def test_a_word_that_means_no_number_is_one_and_a_text_stays_what_it_is(
    store: SageMakerService, tmp_path: Path
) -> None:
    table = SALES.replace("1.5,7,red", "N/A,null,NA").replace("2,,", '2,,""')
    (tmp_path / "sales.csv.gz").write_bytes(gzip.compress(table.encode()))
    assert perennial("ingest", tmp_path / "sales.csv.gz", "--role", ROLE).exit_code == 0
    assert record(store, "cars_sales", "a") == {"sale": "a", "sold": "2026-11-29T10:00:00Z", "colour": "NA"}
    assert set(record(store, "cars_sales", "b")) == {"sale", "sold", "price"}


def test_where_runs_ingest_what_is_dropped_it_is_said_when_records_train(
    store: SageMakerService, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is the one that they fill, whatever else is there."""
    alone = MODEL.partition("    owners")[0] + "  ingest: true\n"
    monkeypatch.setattr(
        "perennial_cli.commands.ingesting.definition_of", lambda _: definition.parse(alone, "model.yaml")
    )
    store.handle("CreateFeatureGroup", made_by_others(FeatureGroupName="sales"))
    ended = perennial("ingest", sales, "--role", ROLE)
    assert "2 records of" in ended.stdout
    assert "the feature group cars_sales, which is new" in ended.stdout
    assert "They train with the next drop" in ended.stderr


def test_a_file_may_be_parquet_of_another_group_and_be_of_now(store: SageMakerService, tmp_path: Path) -> None:
    pq.write_table(pa.table({"owner": [1, 2], "income": [10.5, None]}), tmp_path / "owners.parquet")
    assert perennial("ingest", tmp_path / "owners.parquet", "--group", "owners", "--role", ROLE).exit_code == 0
    known = record(store, "cars_owners", "1")
    assert (known["income"], known["changed"][:2], known["changed"][-1]) == ("10.5", "20", "Z")
    assert set(record(store, "cars_owners", "2")) == {"owner", "changed"}


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            SALES,
            ["--group", "boats", "--role", ROLE],
            "'boats' is none of the feature groups of model.yaml: sales, owners",
        ),
        (
            SALES,
            [],
            "there is no feature group cars_sales. Name the role that SageMaker takes to write its records into",
        ),
        (SALES.replace("sale,", "id,"), ["--role", ROLE], "has no column 'sale', which tells the records of sales"),
        (
            SALES.replace(",7,", ",many,"),
            ["--role", ROLE],
            "row 2: Validation Error: the value 'many' of the feature 'Mi",
        ),
        ("", ["--role", ROLE], "cannot be read as CSV or Parquet"),
        (SALES.replace("Miles", "price"), ["--role", ROLE], "the column 'price' stands in the header more than once"),
        (SALES.partition("a,")[0], ["--role", ROLE], "holds no rows; expected one at least"),
    ],
)
def test_what_cannot_be_ingested_is_said_in_words(
    store: SageMakerService, sales: Path, text: str, options: list[str], said: str
) -> None:
    sales.write_text(text)
    ended = perennial("ingest", sales, *options)
    assert (ended.exit_code, said in ended.stderr) == (1, True), ended.stderr


def test_times_of_parquet_are_times_of_events(store: SageMakerService, tmp_path: Path) -> None:
    sold = [datetime(2026, 11, 29, 10, 15, 0, 250_000, UTC)]
    pq.write_table(pa.table({"sale": ["a"], "sold": sold, "price": [1.5]}), tmp_path / "sales.parquet")
    assert perennial("ingest", tmp_path / "sales.parquet", "--role", ROLE).exit_code == 0
    assert record(store, "cars_sales", "a")["sold"] == "2026-11-29T10:15:00.250Z"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-29T12:15:00+02:00", "2026-11-29T10:15:00.000Z"),
        ("2026-11-29 10:15:00", "2026-11-29T10:15:00.000Z"),
        ("2026-11-29", "2026-11-29T00:00:00.000Z"),
        ("2026-11-29T10:15:00Z", "2026-11-29T10:15:00Z"),
    ],
)
def test_times_of_events_are_read_as_times_of_data_files_are(
    store: SageMakerService, sales: Path, text: str, time: str
) -> None:
    sales.write_text(f"sale,sold,price\na,{text},1.5\n")
    ended = perennial("ingest", sales, "--role", ROLE)
    assert ended.exit_code == 0, ended.stderr
    assert record(store, "cars_sales", "a")["sold"] == time


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (",2026-11-29T10:00:00Z,2", "row 62 has no sale, its record; nothing has been ingested"),
        (
            "b,29.11.2026,2",
            "row 62 says '29.11.2026' in sold; expected an ISO 8601 time, the time of the event; nothing",
        ),
        ("b,,2\nc,x,3", "row 62 has no sold, and 1 more row; expected an ISO 8601 time"),
    ],
)
def test_rows_are_looked_at_before_any_is_put(store: SageMakerService, sales: Path, wrong: str, said: str) -> None:
    rows = "".join(f"s{n},2026-11-29T10:00:00Z,{n}\n" for n in range(60))
    sales.write_text(f"sale,sold,price\n{rows}{wrong}\n")
    ended = perennial("ingest", sales, "--role", ROLE)
    assert (ended.exit_code, said in " ".join(ended.stderr.split())) == (1, True), ended.stderr
    with pytest.raises(AwsError):
        store.handle("DescribeFeatureGroup", {"FeatureGroupName": "cars_sales"})


def test_events_of_many_hours_are_told_as_many_files(store: SageMakerService, sales: Path) -> None:
    rows = "".join(f"s{n},2026-11-{1 + n // 24:02}T{n % 24:02}:00:00Z,{n}\n" for n in range(120))
    sales.write_text(f"sale,sold,price\n{rows}")
    ended = perennial("ingest", sales, "--role", ROLE)
    assert "Their events lie in 120 hours, and SageMaker writes a file for each at least" in " ".join(
        ended.stderr.split()
    )


def test_records_that_were_not_taken_are_put_again_and_rows_are_counted_over_requests(
    store: SageMakerService, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.feature_groups.PAUSE_SECONDS", 0)
    sales.write_text("sale,sold,price\n" + "".join(f"s{n},2026-11-29T10:00:00Z,{n}\n" for n in range(60)))
    asked, take = list[int](), store.records.put_several

    def half(request: dict[str, Any]) -> dict[str, Any]:
        entries = request["Entries"]
        asked.append(len(entries))
        taken = take({"Entries": entries[: -(-len(entries) // 2)]})
        return {**taken, "UnprocessedEntries": entries[-(-len(entries) // 2) :]}

    monkeypatch.setitem(store.records._operations, "BatchWriteRecord", half)
    ended = perennial("ingest", sales, "--role", ROLE)
    assert "60 records of" in ended.stdout
    assert max(asked) == 25
    assert [record(store, "cars_sales", f"s{n}")["price"] for n in range(60)] == [str(n) for n in range(60)]
    monkeypatch.setattr("perennial_cli.feature_groups.ATTEMPTS", 2)
    assert "SageMaker does not take the rows from" in perennial("ingest", sales).stderr


def test_the_row_of_a_request_that_is_wrong_is_named(store: SageMakerService, sales: Path) -> None:
    rows = [f"s{n},2026-11-29T10:00:00Z,{'dear' if n == 40 else n}\n" for n in range(60)]
    sales.write_text("sale,sold,price\n" + "".join(rows))
    ended = perennial("ingest", sales, "--role", ROLE)
    assert "row 42: Validation Error: the value 'dear' of the feature 'price' is not Fractional" in ended.stderr


def test_a_column_that_the_group_does_not_have_is_refused_before_anything_is_put(
    store: SageMakerService, sales: Path
) -> None:
    assert perennial("ingest", sales, "--role", ROLE).exit_code == 0
    sales.write_text(SALES.replace("colour", "mood").replace("a,", "c,"))
    ended = perennial("ingest", sales)
    assert "the feature group cars_sales has no feature 'mood'" in ended.stderr
    assert record(store, "cars_sales", "c") == {}


def made_by_others(**changed: Any) -> dict[str, Any]:
    """What made a group for the rows of SALES, in a folder of its own where the stack takes its data."""
    names = ("sale", "sold", "price", "Miles", "colour")
    request = {
        "FeatureGroupName": "cars_sales",
        "RecordIdentifierFeatureName": "sale",
        "EventTimeFeatureName": "sold",
        "FeatureDefinitions": [{"FeatureName": name, "FeatureType": "String"} for name in names],
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        "OfflineStoreConfig": offline("s3://lake/raw/features/"),
        "RoleArn": ROLE,
    }
    return {key: value for key, value in {**request, **changed}.items() if value is not None}


def offline(uri: str) -> dict[str, Any]:
    return {"S3StorageConfig": {"S3Uri": uri}, "DisableGlueTableCreation": True}


@pytest.mark.parametrize("name", ["cars_sales", "sales"])
def test_a_group_below_the_data_prefix_is_the_stacks_whoever_made_it(
    store: SageMakerService, sales: Path, name: str
) -> None:
    """Groups that are there are called as in model.yaml, or as the stack calls them."""
    store.handle("CreateFeatureGroup", made_by_others(FeatureGroupName=name))
    assert json.loads(perennial("ingest", sales, "--json").stdout) == {
        "group": name,
        "created": False,
        "records": 2,
        "hours": 2,
    }
    assert record(store, name, "a")["price"] == "1.5"


@pytest.mark.parametrize(("bucket", "writer"), [("lake", "arn:aws:iam::000000000000:role/own"), ("other", None)])
def test_the_stacks_own_role_writes_into_its_own_bucket(
    store: SageMakerService, sales: Path, monkeypatch: pytest.MonkeyPatch, bucket: str, writer: str | None
) -> None:
    role = "arn:aws:iam::000000000000:role/own"
    own = {**STACK.outputs, "BucketName": bucket, "OfflineStoreRoleArn": role, "KeyArn": "the-stacks"}
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda _: Stack("cars", own, STACK.parameters))
    assert perennial("ingest", sales).exit_code == int(writer is None)
    if writer:
        made = store.handle("DescribeFeatureGroup", {"FeatureGroupName": "cars_sales"})
        assert made["RoleArn"] == writer
        assert made["OfflineStoreConfig"]["S3StorageConfig"]["KmsKeyId"] == "the-stacks"  # its bucket takes no other


def test_a_stack_has_a_group_of_its_own_beside_that_of_another_stack(store: SageMakerService, sales: Path) -> None:
    theirs = {"FeatureGroupName": "sales", "OfflineStoreConfig": offline("s3://lake/raw-of-others")}
    store.handle("CreateFeatureGroup", made_by_others(**theirs))
    ended = perennial("ingest", sales, "--role", ROLE, "--json")
    assert json.loads(ended.stdout) == {"group": "cars_sales", "created": True, "records": 2, "hours": 2}
    assert record(store, "sales", "a") == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"OfflineStoreConfig": offline("s3://lake/raw-of-others")},
            "is none of this stack: its records are written to s3://lake/raw-of-others, and runs read s3://lake/raw.",
        ),
        ({"OfflineStoreConfig": None}, "its records are written to no bucket"),
        ({"OnlineStoreConfig": None}, "the feature group cars_sales has no online store"),
        ({"RecordIdentifierFeatureName": "colour"}, "has the record 'colour'; model.yaml says 'sale'"),
        ({"EventTimeFeatureName": "colour"}, "has the event_time 'colour'; model.yaml says 'sold'"),
    ],
)
def test_a_group_of_that_name_that_is_none_of_the_stacks_gets_no_records(
    store: SageMakerService, sales: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str
) -> None:
    store.handle("CreateFeatureGroup", made_by_others(**changed))
    put = Mock()
    monkeypatch.setitem(store.records._operations, "BatchWriteRecord", put)
    ended = perennial("ingest", sales)
    assert (ended.exit_code, said in ended.stderr, put.called) == (1, True, False), ended.stderr


def test_a_group_that_is_being_made_is_waited_for(
    store: SageMakerService, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.feature_groups.PAUSE_SECONDS", 0)
    store.handle("CreateFeatureGroup", made_by_others())
    statuses = iter(["Creating", "Creating", "Creating", "CreateFailed"])
    describe = Client.__getattr__

    def failing(client: Client, method: str) -> Any:
        call = describe(client, method)
        if method != "describe_feature_group":
            return call
        return lambda **request: {**call(**request), "FeatureGroupStatus": next(statuses), "FailureReason": "no role"}

    monkeypatch.setattr(Client, "__getattr__", failing)
    assert "the feature group cars_sales is CreateFailed: no role" in perennial("ingest", sales).stderr
