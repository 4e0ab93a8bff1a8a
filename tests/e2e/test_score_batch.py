"""Files scored by a deployed stack: predictions for each row, drift and broken files, and what goes wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from localcloud import mailbox
from perennial.runs.batch_file import INCOMING
from tests.command import perennial
from tests.e2e.conftest import App, Run, dropped_version, given_to, mails, struck, when_one_has_begun
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import has_entered
from tests.e2e.matrix.trips import Fault, fault
from tests.e2e.resumed import Resumable
from tests.waiting import wait_for
from tools import batch_files, demo_batch, demo_data, synthetic

pytestmark = pytest.mark.xdist_group("e2e-monitor")

STACK, MACHINE = "perennial-batch", "BatchStateMachineArn"
FUNCTIONS = ("resolve_batch", "decide_retraining", "finish_batch")
SOUND, ROWS = batch_files.cars(), 804
OLDER = b"".join(synthetic.batches(300, seed=5, years=demo_data.YEARS_LATER + 8))
_numbers = count(1)


@dataclass
class Scoring:
    """A stack whose model scores files; `sound` is one that it scores."""

    app: App
    sound: bytes = SOUND

    @property
    def machine(self) -> str:
        return self.app.outputs[MACHINE]

    def put(self, body: bytes | None = None, name: str = "") -> str:
        """Drop a file, and return its version."""
        key, content = f"{INCOMING}{name or f'cars-{next(_numbers)}.csv'}", self.sound if body is None else body
        return str(self.app.client("s3").put_object(Bucket=self.app.bucket, Key=key, Body=content)["VersionId"])

    def started(self, version: str) -> str:
        """The execution of a version of a file: of its event, or of a scan."""

        def find() -> str | None:
            listed = self.app.client("stepfunctions").list_executions(stateMachineArn=self.machine)["executions"]
            arns = (str(one["executionArn"]) for one in listed)
            return next((arn for arn in arns if _version(json.loads(given_to(arn))) == version), None)

        return wait_for(when_one_has_begun(find), f"the execution of {version}", pause=0.1)

    def drop(self, body: bytes | None = None, name: str = "") -> Run:
        """Drop a file, and wait until it has been scored or refused."""
        return self.ended(self.started(self.put(body, name)))

    def ended(self, arn: str) -> Run:
        return wait_for(lambda: Run.ended(arn), f"the end of {arn}", 120, pause=0.1)

    def scan(self) -> Run:
        """Have all files scored that wait."""
        started = self.app.client("stepfunctions").start_execution(stateMachineArn=self.machine, input="{}")
        return self.ended(str(started["executionArn"]))

    def read(self, uri: str) -> bytes:
        key = uri.removeprefix(f"s3://{self.app.bucket}/")
        return bytes(self.app.client("s3").get_object(Bucket=self.app.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        listed = self.app.client("s3").list_objects_v2(Bucket=self.app.bucket, Prefix=prefix)
        return [str(item["Key"]) for item in listed.get("Contents", [])]

    def mails(self, run: Run, expected: int = 1) -> list[mailbox.Message]:
        """The messages about a file, once so many have come."""

        def about() -> list[mailbox.Message]:
            return [mail for mail in mails(self.app.state) if run.execution_arn in mail.body]

        wait_for(lambda: len(about()) >= expected, f"a mail about {run.execution_arn}", 30)
        time.sleep(0.3)
        return about()

    @cached_property
    def resumable(self) -> Resumable:
        """A file that was scored, from each of whose states others can go on."""
        return Resumable(self.app, self.drop(), MACHINE)

    def trained(self) -> list[str]:
        """The executions that train."""
        machine = self.app.outputs["StateMachineArn"]
        listed = self.app.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
        return [str(one["executionArn"]) for one in listed]

    def clear(self) -> None:
        """Take away what waits."""
        for key in self.keys(INCOMING):
            self.app.client("s3").delete_object(Bucket=self.app.bucket, Key=key)


def _version(given: dict[str, Any]) -> str | None:
    return dropped_version(given) or (given.get("File") or {}).get("VersionId")


@pytest.fixture(scope="module")
def scoring(deploy: Callable[..., App]) -> Scoring:
    app = deploy(
        STACK, ModelName="used-cars", QuietPeriodSeconds="0", PollSeconds="0", CaptureDelaySeconds="0",
        BatchSchedule="rate(30 days)",
    )  # fmt: skip
    run = app.drop("raw/cars.csv", demo_data.used_cars())
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    return Scoring(app)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_file_that_lies_elsewhere_is_copied_scored_row_by_row_and_put_aside(scoring: Scoring) -> None:
    packed, name, s3 = gzip.compress(SOUND), "eu/cars of today ü.csv.gz", scoring.app.client("s3")
    s3.create_bucket(Bucket="lake-of-cars")
    s3.put_object(Bucket="lake-of-cars", Key=name, Body=packed)
    words = ("score", f"s3://lake-of-cars/{name}", "--key", name, "--stack", STACK, "--no-follow", "--json")
    run = scoring.ended(scoring.started(json.loads(perennial(*words).stdout)["version"]))
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert (run.output["Verdict"], run.output["Rows"], run.output["Version"]) == ("Healthy", ROWS, 1)
    scored = f"s3://{scoring.app.bucket}/batch/scored/{run.run_id}/eu/cars of today ü.csv.gz"
    assert run.output["Scored"] == scored
    rows, before = rows_of(gzip.decompress(scoring.read(scored))), rows_of(SOUND)
    assert [{name: row[name] for name in before[0]} for row in rows] == before
    assert all(2_000 < float(row["prediction"]) < 120_000 for row in rows)
    fields = [text for name, text in before[0].items() if name != "id"]
    answer = json.loads(scoring.app.invoke(",".join(fields)))
    assert float(rows[0]["prediction"]) == pytest.approx(answer["score"], rel=1e-6)
    assert json.loads(scoring.read(run.output["Report"]))["captured"] == ROWS
    assert scoring.read(run.output["Done"]) == packed
    assert scoring.keys(INCOMING) == []
    assert b"<h1>Scored: " in scoring.read(run.output["Page"])
    (mail,) = scoring.mails(run)
    assert mail.subject.startswith(f"File scored: {ROWS} of the {ROWS} rows of eu/cars of today")
    assert "Report        s3://" in mail.body
    assert f"Copied from   s3://lake-of-cars/{name}?etag=" in mail.body
    assert s3.get_object(Bucket="lake-of-cars", Key=name)["Body"].read() == packed


def test_parquet_gzip_and_json_lines_are_scored_side_by_side_and_come_back_in_their_own_forms(
    scoring: Scoring,
) -> None:
    table = pa_csv.read_csv(io.BytesIO(SOUND)).slice(0, 40)
    parquet, text = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    pa_csv.write_csv(table, text)
    lines = "".join(f"{json.dumps(row)}\n" for row in table.to_pylist()).encode()
    files = {"a.parquet": parquet.getvalue(), "a.csv.gz": gzip.compress(text.getvalue()), "a.jsonl": lines}
    started = [scoring.started(version) for version in [scoring.put(body, name) for name, body in files.items()]]
    outputs = [scoring.ended(arn).output for arn in started]
    assert [one["Scored"].rpartition("/")[2] for one in outputs] == list(files)
    columnar, packed, by_line = (scoring.read(one["Scored"]) for one in outputs)
    scored = pq.read_table(io.BytesIO(columnar))
    assert scored.select(table.column_names) == table
    predictions = scored["prediction"].to_pylist()
    assert all(2_000 < prediction < 120_000 for prediction in predictions)
    assert [float(row["prediction"]) for row in rows_of(gzip.decompress(packed))] == predictions
    assert [json.loads(line)["prediction"] for line in by_line.splitlines()] == predictions


def test_the_monitor_reads_scored_rows_as_requests(scoring: Scoring) -> None:
    time.sleep(1.1)  # a window ends with a whole second
    states = scoring.app.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=scoring.app.outputs["MonitorStateMachineArn"], input="{}")
    window = scoring.ended(arn["executionArn"])
    key = f"monitoring/{window.output['WindowId']}/verdict.json"
    verdict = json.loads(scoring.read(f"s3://{scoring.app.bucket}/{key}"))
    assert (verdict["verdict"], verdict["records"]) == ("Healthy", ROWS + 3 * 40 + 1)  # one was asked of the endpoint


@matrix("Batch", "the file has drifted", ends="Failed")
def test_drift_is_told_with_its_columns_starts_training_and_scores_nothing(scoring: Scoring) -> None:
    run = scoring.drop(OLDER, "drifted.csv")
    assert (run.status, run.error) == ("FAILED", "InputDrifted")
    assert scoring.keys(f"batch/scored/{run.run_id}") == []
    assert scoring.keys(INCOMING) == [f"{INCOMING}drifted.csv"]
    (mail,) = scoring.mails(run)
    assert mail.subject.startswith("Drift in a file: drifted.csv: mileage: ")
    assert "exceeds threshold" in mail.body
    assert "Retraining     started: " in mail.body
    trained = scoring.app.client("stepfunctions").describe_execution(
        executionArn=scoring.app.outputs["StateMachineArn"].replace("stateMachine", "execution")
        + f":drift-{run.run_id}"
    )
    assert json.loads(trained["input"])["Trigger"]["Type"] == "Drift"


@matrix("Batch", "the clock comes, and the same model has refused the file", ends="no run")
def test_the_clock_scores_what_waits_but_not_what_the_same_model_has_refused(scoring: Scoring) -> None:
    assert scoring.scan().output["Reason"] == "of 1 files that wait 0 are scored now"
    scoring.clear()
    assert scoring.scan().output["Decision"] == "NoFile"


BROKEN = [
    pytest.param(b"", "the file is empty", id="empty", marks=matrix("Batch", "an empty file", ends="Failed")),
    pytest.param(
        gzip.compress(SOUND)[:-40], "damaged or cut off", id="torn", marks=matrix("Batch", "torn gzip", ends="Failed")
    ),
    pytest.param(
        SOUND.replace(b"mileage", b"distance", 1), "column 'mileage' is missing", id="columns",
        marks=matrix("Batch", "other columns", ends="Failed"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), BROKEN)
def test_a_broken_file_is_told_and_starts_no_training(scoring: Scoring, body: bytes, reason: str) -> None:
    run = scoring.drop(body)
    assert (run.status, run.error) == ("FAILED", "InputBroken")
    (mail,) = scoring.mails(run)
    assert mail.subject.startswith("Broken file: cars-")
    assert reason in mail.body
    assert "Retraining" not in mail.body
    scoring.clear()


@dataclass(frozen=True)
class Wrong:
    """What goes wrong while a file is scored, and what its one mail says; first of all the cause."""

    what: str
    fault: Fault
    says: tuple[str, ...]

    def __str__(self) -> str:
        return self.what


def throws(function: str) -> Fault:
    return fault(f"function:{function}", "error", error="KeyError", message="'no such key'")


STEPS = {"check": "CreateProcessingJob", "score": "CreateTransformJob", "join": "CreateProcessingJob"}


def refused(operation: str, error: str, step: str) -> Fault:
    return fault(f"sagemaker:{operation}", "error", error=error, name=f"*-batch-{step}-*")


WRONG = [
    Wrong("the check raises", fault("job:batch-check", "raise"), ("state 'Check batch'", "exit code: 1")),
    Wrong("the join is killed", fault("job:batch-join", "kill"), ("state 'Join predictions'", "exit code: 137")),
    Wrong("the transform job ends with an error", fault("job:batch-score", "exit", exit_code=3, message="no model"),
          ("state 'Score'", "-batch-score-0")),
    Wrong("predictions are lost", fault("job:batch-score", "lose-output"), ("state 'Join predictions'",)),
    Wrong("the join runs past its limit", fault("job:batch-join", "overrun"), ("time limit of 3600 seconds",)),
    Wrong("the check has lost its verdict", fault("job:batch-check", "lose-output"), ("verdict.json is not there",)),
    *(Wrong(f"the function {name} throws", throws(name), ("KeyError", "'no such key'")) for name in FUNCTIONS),
]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [pytest.param(one, id=str(one), marks=matrix("Batch", one.what, ends="Failed")) for one in WRONG]
)
def test_a_failure_is_told_once_trains_nothing_and_leaves_the_file_where_it_is(scoring: Scoring, wrong: Wrong) -> None:
    trained = scoring.trained()
    with scoring.app.injected(wrong.fault):
        run = scoring.drop(name="cars.csv")
    assert run.status == "FAILED"
    (mail,) = scoring.mails(run)
    assert mail.subject.startswith("File not scored: cars.csv: ")
    assert [text for text in wrong.says if text not in mail.body] == []
    assert scoring.keys(INCOMING) == [f"{INCOMING}cars.csv"]
    assert scoring.keys(f"batch/scored/{run.run_id}") == []
    assert scoring.trained() == trained
    scoring.clear()


@matrix("Batch", "a failure, and the clock comes later", ends="Succeeded")
def test_what_failed_is_scored_when_the_clock_comes(scoring: Scoring) -> None:
    with scoring.app.injected(throws("finish_batch")):
        assert scoring.drop(name="late.csv").error == "KeyError"
    (key,) = scoring.keys(INCOMING)
    version = scoring.app.client("s3").head_object(Bucket=scoring.app.bucket, Key=key)["VersionId"]
    with struck(scoring.app, f"{STACK}-batch-schedule"):
        arn = wait_for(lambda: _of_scan(scoring, version), "the execution of the scan")
    assert scoring.ended(arn).status == "SUCCEEDED"
    assert scoring.keys(INCOMING) == []


def _of_scan(scoring: Scoring, version: str) -> str | None:
    listed = scoring.app.client("stepfunctions").list_executions(stateMachineArn=scoring.machine)["executions"]
    arns = (str(one["executionArn"]) for one in listed if one["name"].startswith("scan-"))
    return next((arn for arn in arns if _version(json.loads(given_to(arn))) == version), None)


@matrix("Batch", "a person stops it, and the file is overwritten meanwhile", ends="Failed")
def test_a_file_that_is_overwritten_while_it_is_scored_is_scored_twice_and_one_that_is_stopped_stays(
    scoring: Scoring,
) -> None:
    states = scoring.app.client("stepfunctions")
    with scoring.app.injected(fault("job:batch-score", "hang")):
        first = scoring.started(scoring.put(name="twice.csv"))
        wait_for(lambda: has_entered(first, "Score"), "the transform job's state")
        header, *rows = SOUND.splitlines(keepends=True)
        newer = header + b"".join(rows[::4])
        second = scoring.drop(newer, "twice.csv")
        states.stop_execution(executionArn=first, cause="by a test")
    assert (second.status, second.output["Rows"]) == ("SUCCEEDED", 201)
    stopped = scoring.ended(first)
    (mail,) = scoring.mails(stopped)
    assert "somebody has stopped it" in mail.subject
    versions = scoring.app.client("s3").list_object_versions(Bucket=scoring.app.bucket, Prefix=f"{INCOMING}twice.csv")
    assert [one["Size"] for one in versions["Versions"]] == [len(SOUND)]
    scoring.clear()


@matrix("Batch", "everything stumbles once", ends="Succeeded")
def test_what_stumbles_is_tried_again(scoring: Scoring) -> None:
    faults = [
        *(refused(operation, error, step) for step, operation in STEPS.items()
          for error in ("ThrottlingException", "ResourceLimitExceeded")),
        *(stumble for name in FUNCTIONS for stumble in (
            fault(f"function:{name}", "throttle", times=1), fault(f"function:{name}", "timeout", times=1),
            fault(f"function:{name}", "error", error="Lambda.ServiceException", times=1),
        )),
        fault("function:notify_batch", "timeout", after=True, times=1),
    ]  # fmt: skip
    with scoring.app.injected(*faults) as have_fired:
        run = scoring.drop()
        assert (run.status, run.cause) == ("SUCCEEDED", None)
        wait_for(have_fired, "every fault")
    assert len(scoring.mails(run)) == 1


@matrix("Batch", "at first no job finds a machine", ends="Succeeded")
def test_a_job_that_found_no_machine_is_made_again(scoring: Scoring) -> None:
    with scoring.app.injected(*(fault(f"job:batch-{step}", "no-capacity") for step in STEPS)) as have_fired:
        run = scoring.drop()
        assert (run.status, run.cause, have_fired()) == ("SUCCEEDED", None, True)


@matrix("Batch", "functions of another commit than the state machine", ends="Failed")
def test_an_answer_that_the_flow_does_not_know_scores_nothing(scoring: Scoring) -> None:
    answers = {"Resolve batch": {"Decision": "Surprise"}}
    assert scoring.resumable.go_on("Is there a file to score?", answers=answers).error == "UnknownDecision"


def test_a_training_run_that_has_begun_already_is_the_same(scoring: Scoring) -> None:
    answers = {
        "Resolve batch": {"BatchId": "20260101000000-0a1b"},
        "Decide retraining": {"Verdict": "Drift", "Retrain": True, "Reason": "drift", "Labelled": []},
    }
    stumble = fault("task:states:startExecution", "error", error="StepFunctions.AWSStepFunctionsException")
    done = fault("task:states:startExecution", "error", error="StepFunctions.ExecutionAlreadyExistsException")
    for one in (stumble, done):
        with scoring.app.injected(one):
            assert scoring.resumable.go_on("May it be scored?", answers=answers).error == "InputDrifted"


def test_the_demo_scores_a_file_and_refuses_one_with_outliers(scoring: Scoring) -> None:
    assert demo_batch.main(["--stack", STACK, "--state", str(scoring.app.state)]) == 0
    scoring.clear()


@matrix("Batch", "no version is approved", ends="Failed")
def test_only_an_approved_version_scores(scoring: Scoring) -> None:
    registry, version = scoring.app.client("sagemaker"), scoring.app.parameters()["model-package"]
    registry.update_model_package(ModelPackageArn=version, ModelApprovalStatus="PendingManualApproval")
    refused_run = scoring.drop(name="waits.csv")
    assert refused_run.error == "NoApprovedVersionError"
    (mail,) = scoring.mails(refused_run)
    assert "no version of the model is approved" in mail.subject
    registry.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Approved")
    scoring.scan()
    wait_for(lambda: scoring.keys(INCOMING) == [], "the file to be scored")
