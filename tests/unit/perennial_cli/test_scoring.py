"""The commands that score files, on a stack of which only the bucket and the executions are there."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perennial.runs.naming import run_id
from perennial_cli import batches, elsewhere, parts, stacks
from perennial_cli.commands import scoring_elsewhere
from perennial_cli.console import CommandError
from perennial_cli.elsewhere import Address
from perennial_cli.stacks import Stack
from tests.command import perennial, says
from tests.unit.conftest import BUCKET, REGION, FakeAws

MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:cars-score-batch"
ARN = f"{MACHINE}:one"
BATCH = run_id(ARN, datetime.fromtimestamp(1, UTC))
RESULT = f"s3://{BUCKET}/batch/scored/{BATCH}/cars.csv"
RECORD = {
    "id": BATCH, "status": "Scored", "file": "batch/incoming/cars.csv", "run": "20261120093440-1a2b", "version": 3,
    "rows": 2, "scored": 1, "refused": 1, "refusals": {"mileage: minimum": 1}, "reasons": ["2 rows"],
    "result": RESULT, "page": f"{RESULT}.report.html",
}  # fmt: skip


@pytest.fixture
def stack(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    outputs = {"BucketName": BUCKET, "BatchStateMachineArn": MACHINE}
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: Stack("cars", outputs, {"ModelName": "used-cars"}))
    monkeypatch.setattr("perennial_cli.following.POLL_SECONDS", 0)
    monkeypatch.setattr("perennial_cli.following.RECORD_LIMIT_SECONDS", 1.0)
    return aws


@pytest.fixture
def executions(
    stack: FakeAws, answers: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Let one execution have ended so, that the event of any drop has started."""
    monkeypatch.setattr("perennial_cli.following.wait_for_drop", lambda stack, version, machine, **_: ARN)

    def ended(status: str = "SUCCEEDED", output: Any = None, **more: Any) -> None:
        item = {"executionArn": ARN, "stateMachineArn": MACHINE, "name": "one", "startDate": 1, "status": status}
        answers("stepfunctions", "StartExecution", (200, {"executionArn": ARN, "startDate": 0}))
        answers("stepfunctions", "GetExecutionHistory", (200, {"events": []}))

        answers("stepfunctions", "DescribeExecution", (200, {**item, "output": json.dumps(output or {}), **more}))

    return ended


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "cars.csv").write_text("mileage\n1\n-2\n")
    return tmp_path / "cars.csv"


def test_a_file_is_dropped_followed_and_its_result_fetched(stack, executions, file: Path) -> None:
    executions()
    stack.put(f"batch/runs/{BATCH}/batch.json", json.dumps(RECORD))
    stack.put(RESULT.removeprefix(f"s3://{BUCKET}/"), "mileage,prediction\n1,2\n")
    ended = perennial("score", file, "--key", "eu/cars.csv")
    assert ended.exit_code == 0
    assert stack.get("batch/incoming/eu/cars.csv") == file.read_text()
    assert file.with_name("cars.scored.csv").read_text() == "mileage,prediction\n1,2\n"
    assert "1 of 2 have a prediction" in ended.stdout
    assert (
        "refused  1 row (mileage: minimum 1); the column `problem` of the result says why, row by row" in ended.stdout
    )
    assert "to know  2 rows" in ended.stdout
    assert "version 3" in ended.stdout
    assert f"{RESULT}.report.html" in "".join(ended.stdout.split())
    elsewhere = file.with_name("other.csv")
    answer = json.loads(perennial("score", file, "--key", "x.csv", "--output", elsewhere, "--json").stdout)
    assert (answer["status"], answer["written"]) == ("Scored", str(elsewhere))


def test_the_first_rows_without_a_prediction_are_named_with_the_reason_and_the_place_of_the_others(
    stack, executions, file: Path
) -> None:
    executions()
    first = [{"row": 1_007, "problem": "mileage: '-5' is below the minimum 0"}, {"row": 2_000, "problem": "\x1b[1m"}]
    stack.put(f"batch/runs/{BATCH}/batch.json", json.dumps({**RECORD, "refused": 12, "first_refused": first}))
    stack.put(RESULT.removeprefix(f"s3://{BUCKET}/"), "mileage,prediction\n1,2\n")
    lines = perennial("score", file).stdout.splitlines()
    named = lines[[" ".join(line.split()) for line in lines].index("row refused because") + 1 :]
    assert [" ".join(line.split()) for line in named[:2]] == [
        "1,007 mileage: '-5' is below the minimum 0",
        "2,000 \\u001b[1m",
    ]
    assert (
        "".join(named[2:]) == f"and 10 more: the column `problem` of {file.with_name('cars.scored.csv')} has them all"
    )


def test_a_result_that_is_there_is_replaced_only_where_that_is_wanted(stack, executions, file: Path) -> None:
    executions()
    stack.put(f"batch/runs/{BATCH}/batch.json", json.dumps(RECORD))
    stack.put(RESULT.removeprefix(f"s3://{BUCKET}/"), "new")
    there = file.with_name("cars.scored.csv")
    there.write_text("mine")
    refused = perennial("score", file)
    assert refused.exit_code == 1
    assert "cars.scored.csv is there already; choose another --output, or replace it with --force" in refused.stderr
    assert (there.read_text(), stack.keys("batch/incoming/")) == ("mine", [])
    assert perennial("score", file, "--force").exit_code == 0
    assert there.read_text() == "new"
    itself = perennial("score", file, "-o", file, "--force")
    assert (itself.exit_code, "cars.csv is what is read; choose another --output" in itself.stderr) == (1, True)
    assert says(perennial("score", file, "-o", "x.parquet"), "x.parquet is named as Parquet is, and CSV is written")


def test_a_file_that_is_not_scored_ends_with_the_reason(stack, executions, file: Path) -> None:
    executions("FAILED", error="InputDrifted", cause="…")
    refused = {**RECORD, "status": "Drift", "reasons": ["mileage: by the distance"], "result": None}
    stack.put(f"batch/runs/{BATCH}/batch.json", json.dumps(refused))
    ended = perennial("score", file)
    assert ended.exit_code == 1
    assert "mileage: by the distance" in ended.stdout
    assert not file.with_name("cars.scored.csv").exists()


def test_an_end_without_a_record_says_what_the_execution_says(executions, file: Path, monkeypatch) -> None:
    monkeypatch.setattr("perennial_cli.following.RECORD_LIMIT_SECONDS", 0)
    executions("FAILED", error="E", cause="no permission")
    ended = perennial("score", file)
    assert (ended.exit_code, "no permission" in ended.stdout) == (1, True)


def test_a_drop_need_not_be_followed(stack, file: Path) -> None:
    answer = json.loads(perennial("score", file, "--no-follow", "--json").stdout)
    assert (answer["bucket"], answer["key"]) == (BUCKET, "batch/incoming/cars.csv")


@pytest.mark.parametrize(("decision", "exit_code"), [("Started", 0), ("NoFile", 0), ("NoModel", 1)])
def test_what_waits_is_scored_on_demand(executions, decision: str, exit_code: int) -> None:
    executions(output={"Decision": decision, "Reason": "of 2 files that wait 1 are scored now"})
    ended = perennial("score", "--waiting")
    assert (ended.exit_code, ended.stdout) == (exit_code, "of 2 files that wait 1 are scored now\n")


def test_a_file_or_what_waits_is_to_be_named(stack, file: Path) -> None:
    assert perennial("score").exit_code == 2
    assert perennial("score", file, "--waiting").exit_code == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--waiting", "--output", "x.csv"), "the results of many files cannot be fetched"),
        (("--waiting", "--key", "x.csv"), "--waiting drops no file"),
        ((__file__, "--no-follow", "-o", "x.csv"), "a result that is not waited for cannot be fetched"),
        ((__file__, "-o", f"{__file__}.d/x.csv"), f"the folder {__file__}.d of {__file__}.d/x.csv is not there"),
        ((__file__, "-o", f"{__file__}/x.csv"), "is no folder; make it first"),
    ],
)
def test_where_a_result_cannot_go_is_wrong_use_before_anything_is_dropped(stack, words, problem: str) -> None:
    ended = perennial("score", *words)
    assert (ended.exit_code, stack.keys("batch/incoming/")) == (2, [])
    assert says(ended, problem)


def test_a_stack_that_is_older_says_what_to_do(stack, file: Path, monkeypatch) -> None:
    older = Stack("cars", {"BucketName": BUCKET}, {"ModelName": "used-cars"})
    monkeypatch.setattr(stacks, "chosen", lambda name: older)
    with pytest.raises(batches.CommandError, match="`perennial deploy` makes it do so"):
        batches.machine(older)
    assert perennial("score", file).exit_code == 1


def test_batches_are_listed_the_newest_first(stack) -> None:
    older = {**RECORD, "id": "20201120093440-1a2b", "status": "BadData", "rows": None, "scored": None, "version": None}
    for one in (older, RECORD | {"id": "20261129101500-1a2b"}):
        stack.put(f"batch/runs/{one['id']}/batch.json", json.dumps(one))
    stack.put("batch/runs/20261129101501-1a2b/config.json", "{}")
    listed = json.loads(perennial("batches", "--json").stdout)
    assert [one["id"] for one in listed] == ["20261129101500-1a2b", "20201120093440-1a2b"]
    lines = perennial("batches").stdout.splitlines()
    assert "cars.csv" in lines[-1]
    assert len(json.loads(perennial("batches", "--most", "2", "--json").stdout)) == 1  # one has not ended


def test_the_result_goes_beside_the_file() -> None:
    assert [batches.beside(Path(name)).name for name in ("cars.csv.gz", "cars")] == [
        "cars.scored.csv.gz", "cars.scored",
    ]  # fmt: skip


# ---- Files that lie elsewhere

LAKE = "the-lake"


@pytest.fixture
def lake(stack: FakeAws) -> Any:
    """S3, with a bucket of somebody's that keeps versions."""
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=LAKE, VersioningConfiguration={"Status": "Enabled"})
    return s3


def test_a_file_elsewhere_is_copied_by_s3_in_its_version_and_says_where_it_is_from(
    stack, executions, lake, tmp_path: Path
) -> None:
    lake.put_object(Bucket=LAKE, Key="daily/cars.csv.gz", Body=b"old")
    put = lake.put_object(
        Bucket=LAKE, Key="daily/cars.csv.gz", Body=b"new", ContentType="text/csv", Metadata={"a": "b"}
    )
    uri = f"s3://{LAKE}/daily/cars.csv.gz"
    executions()
    stack.put(f"batch/runs/{BATCH}/batch.json", json.dumps({**RECORD, "source": f"{uri}?versionId={put['VersionId']}"}))
    stack.put(RESULT.removeprefix(f"s3://{BUCKET}/"), "mileage,prediction\n1,2\n")
    ended = perennial("score", uri)
    assert (ended.exit_code, stack.body("batch/incoming/cars.csv.gz")) == (0, b"new")
    head = lake.head_object(Bucket=BUCKET, Key="batch/incoming/cars.csv.gz")
    assert head["Metadata"] == {"source": f"{uri}?versionId={put['VersionId']}"}
    assert head["ContentType"] == "text/csv"
    said = "".join(ended.stdout.split())
    assert f"copiedfrom{uri}?versionId={put['VersionId']}result{RESULT}" in said
    fetched = tmp_path / "x.csv.gz"
    assert perennial("score", uri, "--key", "eu/cars.csv.gz", "-o", fetched, "--json").exit_code == 0
    assert fetched.read_text() == "mileage,prediction\n1,2\n"
    assert stack.body("batch/incoming/eu/cars.csv.gz") == b"new"


def test_what_an_interrupted_call_has_copied_is_not_copied_again(stack, executions, answers, lake) -> None:
    uri, key = f"s3://{LAKE}/cars.csv", "batch/incoming/cars.csv"
    lake.put_object(Bucket=LAKE, Key="cars.csv", Body=b"1")
    dropped = json.loads(perennial("score", uri, "--no-follow", "--json").stdout)
    assert dropped["key"] == key
    executions(output={"Decision": "Duplicate", "Reason": "batch x scores this version of the file now"})
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    started = answers("stepfunctions", "StartExecution", (200, {"executionArn": ARN, "startDate": 0}))
    ended = perennial("score", uri)
    assert says(ended, f"{uri} waits already: s3://{BUCKET}/{key}")
    waits = {"Key": key, "VersionId": dropped["version"]}
    assert [json.loads(json.loads(one.body)["input"])["File"] for one in started] == [waits]
    assert len(stack.versions()[key]) == 1
    assert perennial("score", f"s3://{BUCKET}/{key}").exit_code == 1  # of the stack's own waiting files none is copied
    assert json.loads(json.loads(started[-1].body)["input"])["File"] == {"Key": key}
    lake.put_object(Bucket=LAKE, Key="cars.csv", Body=b"2")
    perennial("score", uri, "--no-follow")
    assert stack.versions()[key] == [b"2", b"1"]


def test_who_may_not_see_what_waits_is_asked_before_it_is_copied_again(stack, lake, monkeypatch) -> None:
    lake.put_object(Bucket=LAKE, Key="cars.csv", Body=b"1")
    found = elsewhere.find(lake, Address(LAKE, "cars.csv"))
    key = "batch/incoming/cars.csv"
    stack.put(key, "2")
    monkeypatch.setattr(lake, "head_object", denied(403))
    with pytest.raises(CommandError, match=r"as large as s3://the-lake/cars\.csv, waits already"):
        elsewhere.waiting(lake, BUCKET, key, found, force=False)
    assert elsewhere.waiting(lake, BUCKET, key, found, force=True) is None
    stack.put(key, "another size")
    assert elsewhere.waiting(lake, BUCKET, key, found, force=False) is None


def denied(status: int, code: str = "") -> Callable[..., Any]:
    def refuse(**_: Any) -> Any:
        answer = {
            "Error": {"Code": code or str(status), "Message": "no"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(answer, "Operation")  # type: ignore[arg-type]

    return refuse


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("s3://no-such-bucket/cars.csv", "there is no bucket no-such-bucket"),
        (f"s3://{LAKE}/nothing.csv", f"there is no file s3://{LAKE}/nothing.csv"),
        (f"s3://{LAKE}/daily", f"is a folder; with a slash at its end all files in it are scored: s3://{LAKE}/daily/"),
        (f"s3://{LAKE}/empty.csv", f"s3://{LAKE}/empty.csv is empty; expected rows"),
        (f"s3://{LAKE}/old.csv", f"is archived (DEEP_ARCHIVE): restore it first, which takes hours: aws s3api "
                                 f"restore-object --bucket {LAKE} --key 'old.csv' --restore-request Days=1"),
        (f"s3://{LAKE}/none/", f"there are no files below s3://{LAKE}/none/"),
        ("s3://no-such-bucket/", "there is no bucket no-such-bucket"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_said_before_anything_is_copied(stack, lake, uri: str, problem: str) -> None:
    lake.put_object(Bucket=LAKE, Key="daily/cars.csv", Body=b"1")
    lake.put_object(Bucket=LAKE, Key="empty.csv", Body=b"")
    lake.put_object(Bucket=LAKE, Key="old.csv", Body=b"1", StorageClass="DEEP_ARCHIVE")
    ended = perennial("score", uri)
    assert (ended.exit_code, stack.keys("batch/incoming/")) == (1, [])
    assert says(ended, problem)


def test_who_may_not_read_or_not_write_is_told_which_right_is_missing(stack, lake, monkeypatch) -> None:
    lake.put_object(Bucket=LAKE, Key="cars.csv", Body=b"1")
    found = elsewhere.find(lake, Address(LAKE, "cars.csv"))
    monkeypatch.setattr(lake, "copy_object", denied(403, "AccessDenied"))
    with pytest.raises(
        CommandError, match="cannot be copied to s3://stack-bucket/k: no".replace("stack-bucket", BUCKET)
    ):
        elsewhere.copy(lake, found, BUCKET, "k", lambda _: None)
    monkeypatch.setattr(lake, "copy_object", denied(412, "PreconditionFailed"))
    with pytest.raises(CommandError, match="has changed or gone while it was copied; try it once more"):
        elsewhere.copy(lake, found, BUCKET, "k", lambda _: None)
    monkeypatch.setattr(lake, "head_object", denied(403))
    with pytest.raises(CommandError, match=r"you may not read s3://the-lake/cars.csv: .*s3:GetObject, and kms:Decrypt"):
        elsewhere.find(lake, Address(LAKE, "cars.csv"))


def test_a_file_that_one_call_does_not_take_is_copied_in_parts_and_nothing_is_left_of_a_half(
    stack, lake, monkeypatch
) -> None:
    monkeypatch.setattr(elsewhere, "LARGEST", 1 << 20)
    monkeypatch.setattr(elsewhere, "PART_BYTES", 5 << 20)
    body = bytes(range(256)) * (6 << 12)
    lake.put_object(Bucket=LAKE, Key="large.csv", Body=body, ContentEncoding="gzip")
    done: list[int] = []
    found = elsewhere.find(lake, Address(LAKE, "large.csv"))
    version = elsewhere.copy(lake, found, BUCKET, "batch/incoming/large.csv", done.append)
    got = lake.get_object(Bucket=BUCKET, Key="batch/incoming/large.csv", VersionId=version)
    assert (sum(done), got["Body"].read() == body, got["ContentEncoding"]) == (len(body), True, "gzip")
    assert got["Metadata"] == {"source": found.source}
    monkeypatch.setattr(lake, "upload_part_copy", denied(403, "AccessDenied"))
    with pytest.raises(CommandError, match="cannot be copied"):
        elsewhere.copy(lake, found, BUCKET, "batch/incoming/large-2.csv", done.append)
    assert "Uploads" not in lake.list_multipart_uploads(Bucket=BUCKET)


def test_a_file_of_this_machine_that_one_call_does_not_take_is_sent_in_parts(stack, lake, monkeypatch) -> None:
    """S3 takes parts of five megabytes at the least, and 5 GB in one call."""
    monkeypatch.setattr(parts, "LARGEST", 1 << 20)
    monkeypatch.setattr(parts, "PART_BYTES", 5 << 20)
    body = os.urandom(12 << 20)
    version = parts.put(lake, io.BytesIO(body), BUCKET, "raw/large.csv")
    got = lake.get_object(Bucket=BUCKET, Key="raw/large.csv", VersionId=version)
    assert (got["Body"].read() == body, got["ETag"].endswith('-3"')) == (True, True)
    monkeypatch.setattr(lake, "upload_part", denied(403, "AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        parts.put(lake, io.BytesIO(body), BUCKET, "raw/large-2.csv")
    assert "Uploads" not in lake.list_multipart_uploads(Bucket=BUCKET)
    monkeypatch.setattr(lake, "abort_multipart_upload", denied(403, "NotThis"))
    with pytest.raises(ClientError, match="AccessDenied"):
        parts.put(lake, io.BytesIO(body), BUCKET, "raw/large-2.csv")


def test_all_files_below_a_folder_are_scored_and_counted_first(stack, executions, lake) -> None:
    for name, body in (("a.csv", b"1"), ("de/a.csv", b"22"), ("empty.csv", b""), ("folder/", b"")):
        lake.put_object(Bucket=LAKE, Key=f"daily/{name}", Body=body)
    executions()
    stack.put(f"batch/runs/{BATCH}/batch.json", json.dumps(RECORD))
    ended = perennial("score", f"s3://{LAKE}/daily/", "--key", "today")
    assert says(ended, f"3 files, 3 bytes, below s3://{LAKE}/daily/")
    assert stack.keys("batch/incoming/") == ["batch/incoming/today/a.csv", "batch/incoming/today/de/a.csv"]
    assert (ended.exit_code, ended.stdout.splitlines()[-1]) == (1, "1 file of 3 not scored")
    records = json.loads(perennial("score", f"s3://{LAKE}/daily/", "--json").stdout)
    assert [(one["source"], one["status"]) for one in records] == [
        (f"s3://{LAKE}/daily/a.csv", "Scored"),
        (f"s3://{LAKE}/daily/de/a.csv", "Scored"),
        (f"s3://{LAKE}/daily/empty.csv", "NotCopied"),
    ]
    fetched = perennial("score", f"s3://{LAKE}/daily/", "--output", "x.csv")
    assert (fetched.exit_code, says(fetched, "the results of many files cannot be fetched")) == (2, True)


def test_very_many_files_are_scored_where_that_is_said(stack, lake, monkeypatch) -> None:
    monkeypatch.setattr(scoring_elsewhere, "MANY", 1)
    for name in ("a.csv", "b.csv"):
        lake.put_object(Bucket=LAKE, Key=name, Body=b"1")
    ended = perennial("score", f"s3://{LAKE}")
    assert (ended.exit_code, stack.keys("batch/incoming/")) == (1, [])
    assert says(ended, "2 files, 2 bytes, below s3://the-lake/: each is an execution with jobs that cost; --yes scores")
    assert perennial("score", f"s3://{LAKE}", "--yes", "--no-follow").exit_code == 0
    assert len(stack.keys("batch/incoming/")) == 2


def test_sizes_are_told_in_words() -> None:
    told = [scoring_elsewhere.size(one) for one in (0, 999, 1_000, 1.5e9, 5e15)]
    assert told == ["0 bytes", "999 bytes", "1.0 kB", "1.5 GB", "5,000.0 TB"]


@pytest.mark.parametrize("word", ["nowhere.csv", ".", "s3://"])
def test_what_is_neither_a_file_nor_an_address_is_wrong_use(stack, word: str) -> None:
    assert perennial("score", word).exit_code == 2
