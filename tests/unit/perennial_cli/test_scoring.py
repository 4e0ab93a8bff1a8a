"""The commands that score files, on a stack of which only the bucket and the executions are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perennial.runs.naming import run_id
from perennial_cli import batches, stacks
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
    monkeypatch.setattr("perennial_cli.following.wait_for_drop", lambda stack, version, machine: ARN)

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
