"""The line "Events" of the failure matrix, on one stack, in this order: twice, late, in bursts and together."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from localcloud import mailbox
from tests.e2e.conftest import App
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told, has_entered
from tests.waiting import wait_for
from tools import demo_data, synthetic

# The trips are under way meanwhile: they and these tests wait in turn.
pytestmark = [pytest.mark.xdist_group("matrix-trips"), pytest.mark.usefixtures("trips")]

BURST, ROWS_OF_A_FILE = 50, 40
ROWS_IN_PARTS = 2000
ROWS_BEFORE = (804, 100, 2500, 4000, ROWS_IN_PARTS, 50)
"""Of each file before the burst, in the order of the drops; the last is lost."""


def listings(rows: int, years: int, seed: int = 1) -> bytes:
    """Cars as they are sold years later: a model that has not seen them is clearly worse on them."""
    return b"".join(synthetic.batches(rows, seed=seed, years=years))


PART_BYTES = 5 << 20  # what each part but the last has at least


def parquet_of(rows: bytes, padding: int) -> bytes:
    """CSV rows as a Parquet file that is larger by some bytes of metadata."""
    table = pa_csv.read_csv(pa.BufferReader(rows)).replace_schema_metadata({"padding": "x" * padding})
    pq.write_table(table, sink := pa.BufferOutputStream())
    return bytes(sink.getvalue())


# The endpoint is updating for as long as the fault is there.
DEPLOYING = {"operation": "endpoint", "effect": "delay", "seconds": 3600.0}


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App]) -> App:
    return deploy("perennial-mx-events", QuietPeriodSeconds="2")


@pytest.fixture(scope="module")
def first(app: App) -> End:
    """The first drop, whose event reaches the state machine with the third try."""
    with app.faults.injected("event:train-model", "throttle", times=2) as number:
        end = situation.dropped(app, "raw/cars.csv", demo_data.used_cars())
        assert app.faults.fired(number) == 2
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    return end


def event_of(app: App, end: End) -> dict[str, Any]:
    """What EventBridge gave to an execution; delivered again, it gives the same."""
    described = app.client("stepfunctions").describe_execution(executionArn=end.run.execution_arn)
    return dict(json.loads(described["input"]))


def states_of(app: App, arn: str) -> list[str]:
    """The states that an execution has entered."""
    pages = app.client("stepfunctions").get_paginator("get_execution_history")
    found = pages.paginate(executionArn=arn)
    events = [event for page in found for event in page["events"] if "stateEnteredEventDetails" in event]
    return [event["stateEnteredEventDetails"]["name"] for event in events]


def assert_nothing_done(end: End, decision: str) -> None:
    assert (end.run.status, end.run.output.get("Decision"), end.mails) == ("SUCCEEDED", decision, ())


@matrix("Events", "an event whose target is throttled, then not", ends="Succeeded")
def test_an_event_that_is_throttled_twice_is_one_run_and_one_message(app: App, first: End) -> None:
    assert situation.executions(app) == [first.run.execution_arn]
    assert event_of(app, first)["Trigger"]["Object"]["key"] == "raw/cars.csv"
    assert_told(first, "Model in service", first.run.run_id)
    assert app.parameters()["run"] == first.run.run_id
    kept = app.client("sqs").receive_message(QueueUrl=app.outputs["UndeliveredEventsUrl"])
    assert "Messages" not in kept


@matrix("Events", "the same event again, late", ends="Succeeded, without work")
def test_an_event_that_comes_late_again_trains_nothing(app: App, first: End) -> None:
    with situation.unchanged(app):
        arns = {name: situation.start_with(app, event_of(app, first)) for name in ("again", "and again")}
        ends = situation.ends(app, arns, silent=True)
    for end in ends.values():
        assert_nothing_done(end, "AlreadyTrained")
        assert first.run.run_id in end.run.output["Reason"]


@matrix("Events", "data already trained on are dropped again", ends="Succeeded, without work")
def test_the_same_bytes_dropped_again_train_nothing(app: App, first: End) -> None:
    before = situation.executions(app)
    with situation.unchanged(app, dropped=1):
        situation.put(app, "raw/cars.csv", demo_data.used_cars())
        (arn,) = situation.started_since(app, before)
        assert_nothing_done(situation.ends(app, {"again": arn}, silent=True)["again"], "AlreadyTrained")


@matrix("Events", "a file outside of the prefix", ends="no run")
def test_a_file_outside_of_the_prefix_starts_nothing(app: App, first: End) -> None:
    before = situation.executions(app)
    with situation.unchanged(app):
        for key in ("elsewhere/cars.csv", "raw.csv", "rawer/cars.csv"):
            situation.put(app, key, demo_data.used_cars())
        with pytest.raises(AssertionError, match="not within"):
            wait_for(lambda: situation.executions(app) != before, "an execution", seconds=1.5)


@matrix("People", "the execution is aborted (Quiet period)", ends="Aborted")
def test_a_run_that_is_aborted_in_its_quiet_period_leaves_its_data_to_the_next(app: App, first: End) -> None:
    before = situation.executions(app)
    with situation.unchanged(app, dropped=1):
        situation.put(app, "raw/aborted.csv", listings(100, 1, seed=9))
        (arn,) = situation.started_since(app, before)
        wait_for(lambda: states_of(app, arn), "the first state")
        app.client("stepfunctions").stop_execution(executionArn=arn, cause="by a test")
        end = situation.end(app, arn)
    assert (end.run.status, states_of(app, arn)) == ("ABORTED", ["Quiet period"])
    assert_told(end, "Run aborted", "in state 'Quiet period'", "nothing of the model in service changes")


@dataclass(frozen=True)
class Race:
    """Two runs, of which the first listed its data before the second's were dropped."""

    older: End
    newer: End
    serving: dict[str, Any]
    aborted: End | None = None
    """A third one that somebody ended while it waited for its turn."""


@pytest.fixture(scope="module")
def overtaken(app: App, first: End) -> Race:
    """A run trains, and the run of a newer drop comes into service meanwhile."""
    older = situation.start(app)
    with app.faults.injected("job:train", "delay", name=f"{_name(app, older)}-*", seconds=600.0) as held:
        wait_for(lambda: app.faults.fired(held), "the training of the older run")
        before = situation.executions(app)
        situation.put(app, "raw/newer.csv", listings(2500, 2))
        (newer,) = situation.started_since(app, before)
        situation.end_of(app, newer)
    ends = situation.ends(app, {"older": older, "newer": newer})
    return Race(ends["older"], ends["newer"], app.in_service())


def _name(app: App, arn: str) -> str:
    return f"{app.stack}-{situation.run_of(arn)}"


@matrix("Events", "a drop while a run trains", ends="Succeeded")
def test_a_drop_while_a_run_trains_is_a_run_of_its_own(overtaken: Race) -> None:
    assert (overtaken.newer.run.status, overtaken.newer.run.cause) == ("SUCCEEDED", None)
    assert overtaken.serving["Parameters"]["run"] == overtaken.newer.run.run_id
    assert_told(overtaken.newer, "Model in service")


@matrix("Events", "an older run reaches the deployment after a newer one", ends="Superseded")
def test_older_data_do_not_replace_the_model_of_newer_ones(app: App, overtaken: Race) -> None:
    older, newer = overtaken.older, overtaken.newer
    assert (older.run.status, older.run.error) == ("FAILED", "SupersededByNewerData")
    assert_told(older, "Candidate superseded", newer.run.run_id, "Nothing: the newer model serves")
    assert app.record(older.run)["status"] == "Superseded"
    assert overtaken.serving["Config"].endswith(newer.run.run_id)


@pytest.fixture(scope="module")
def together(app: App, overtaken: Race) -> Race:
    """A run updates the endpoint, and the run of a drop from meanwhile reaches the deployment too.

    What it then asks for, a comparison with the model that has come into service, is refused for a while.
    """
    refused = [
        app.faults.add("sagemaker:CreateTransformJob", "error", error=error, name=f"{app.stack}-*-again-*", times=times)
        for error, times in (("ThrottlingException", 2), ("ResourceLimitExceeded", 3))
    ]
    with app.faults.injected(**DEPLOYING):
        older = situation.start(app)
        wait_for(lambda: has_entered(older, "Check deployment"), "the deployment", 300)
        before = situation.executions(app)
        situation.put(app, "raw/meanwhile.csv", listings(4000, 4))
        (newer,) = situation.started_since(app, before)
        wait_for(lambda: has_entered(newer, "Wait for turn"), "the second deployment", 300)
        third = situation.start(app, GateThreshold=3499)
        wait_for(lambda: has_entered(third, "Wait for turn"), "the third deployment", 300)
        app.client("stepfunctions").stop_execution(executionArn=third, cause="by a test")
    ends = situation.ends(app, {"older": older, "newer": newer, "third": third})
    assert [app.faults.fired(number) for number in refused] == [2, 3]
    return Race(ends["older"], ends["newer"], app.in_service(), ends["third"])


@matrix("People", "the execution is aborted (Wait for turn)", ends="Aborted")
def test_a_run_that_is_aborted_while_it_waits_for_its_turn_holds_nobody_up(together: Race) -> None:
    assert together.aborted
    assert together.aborted.run.status == "ABORTED"
    assert_told(together.aborted, "Run aborted", "in state 'Wait for turn'", "nothing of the model in service changes")
    assert together.newer.run.status == "SUCCEEDED"


@matrix("Events", "a drop while a run deploys", ends="Succeeded")
def test_a_drop_while_a_run_deploys_waits_for_its_turn_and_compares_with_what_serves_then(
    app: App, together: Race
) -> None:
    older, newer = together.older, together.newer
    assert (older.run.status, older.run.cause) == ("SUCCEEDED", None)
    assert (newer.run.status, newer.run.cause) == ("SUCCEEDED", None)
    states = states_of(app, newer.run.execution_arn)
    assert states.count("Predict with new champion") == 1
    assert states.count("Query training results") == 2
    assert app.record(newer.run)["champion"]["RunId"] == older.run.run_id
    assert "Predict with new champion" not in states_of(app, older.run.execution_arn)


@matrix("Events", "two runs reach the deployment together", ends="Succeeded, the newer data serve")
def test_of_two_runs_that_reach_the_deployment_together_the_newer_data_serve(app: App, together: Race) -> None:
    assert "Wait for turn" in states_of(app, together.newer.run.execution_arn)
    assert together.serving["Parameters"]["run"] == together.newer.run.run_id
    assert together.serving["Config"].endswith(together.newer.run.run_id)
    for end in (together.older, together.newer):
        assert_told(end, "Model in service")


COMPARISON = "Predict with new champion"
WHERE = f"in state '{COMPARISON}'"
TRANSFORM = {"error": "States.TaskFailed", "says": (WHERE, "-again-", "/aws/sagemaker/TransformJobs")}
# What may go wrong with the comparison that a run makes again, because another model has come into service: the line of
# the matrix, the fault, how the run ends, what its message says. The first may come into service, so it begins first.
AGAIN: dict[str, dict[str, Any]] = {
    "the metric is NaN": {
        "first": {"operation": "job:again", "effect": "no-capacity"},  # the comparison is made once more
        "fault": {"operation": "job:again", "effect": "answer", "answer": "nan"},
        "status": "SUCCEEDED",
        "says": ("Model in service", "the model in service could not be measured (its rmse is nan)"),
    },
    "the service refuses for good": {
        "fault": {
            "operation": "sagemaker:CreateTransformJob", "effect": "error", "error": "AccessDeniedException",
            "times": "always", "suffix": "again-*",
        },
        "error": "SageMaker.AmazonSageMakerException",
        "says": (WHERE, "not authorized", "lacks the permission"),
    },
    "the container fails": {
        "fault": {"operation": "job:again", "effect": "exit", "exit_code": 1, "message": "no answer"}, **TRANSFORM
    },
    "the container is killed": {"fault": {"operation": "job:again", "effect": "kill"}, **TRANSFORM},
    "its output is missing": {
        "fault": {"operation": "job:again", "effect": "lose-output"},
        "error": "PredictionsError",
        "says": ("in state 'Query training results'", "predictions/champion-again-0"),
    },
    "a person stops it": {
        "fault": {"operation": "job:again", "effect": "hang"},
        "error": "States.TaskFailed",
        "says": (WHERE, "was stopped", "start a run"),
    },
    "the execution is aborted": {
        "line": "People",
        "fault": {"operation": "job:again", "effect": "hang"},
        "status": "ABORTED",
        "says": (WHERE, "Run aborted", "nothing of the model in service changes"),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def compared_again(app: App, together: Race) -> dict[str, End]:
    """A run comes into service while others wait for it, each of which then fails to compare itself with it."""
    with app.faults.injected(**DEPLOYING):
        deploying = situation.start(app)
        wait_for(lambda: has_entered(deploying, "Check deployment"), "the deployment", 300)
        arns = {}
        for number, name in enumerate(AGAIN):
            arns[name] = situation.start(app, GateThreshold=3498 - number)
            if number == 0:  # what lists the data after it is newer
                wait_for(lambda arn=arns[name]: has_entered(arn, "Snapshot data"), "the first listing", 300)
        for name, arn in arns.items():
            wait_for(lambda arn=arn: has_entered(arn, "Wait for turn"), f"the run of {name!r} that waits", 300)
            for part in ("first", "fault"):
                if part in AGAIN[name]:
                    _inject(app, arn, **AGAIN[name][part])
    by_hand = {arns["a person stops it"]: _stop_comparison, arns["the execution is aborted"]: _abort}
    while by_hand:
        arn = wait_for(lambda: next((a for a in by_hand if has_entered(a, COMPARISON)), ""), "the comparison", 300)
        by_hand.pop(arn)(app, arn)
    ends = situation.ends(app, {"deploying": deploying, **arns})
    assert (ends["deploying"].run.status, ends["deploying"].run.cause) == ("SUCCEEDED", None)
    assert situation.is_whole(app, app.in_service())
    assert app.parameters()["run"] == ends["the metric is NaN"].run.run_id
    return ends


def _inject(app: App, arn: str, *, suffix: str = "*", **fault: Any) -> None:
    """A fault of this run only."""
    app.faults.add(**fault, name=f"{_name(app, arn)}-{suffix}")


def _stop_comparison(app: App, arn: str) -> None:
    sagemaker, name = app.client("sagemaker"), f"{_name(app, arn)}-again"

    def at_work() -> list[dict[str, Any]]:
        return list(sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"])

    sagemaker.stop_transform_job(TransformJobName=wait_for(at_work, name)[0]["TransformJobName"])


def _abort(app: App, arn: str) -> None:
    app.client("stepfunctions").stop_execution(executionArn=arn, cause="by a test")


def _again(name: str) -> Any:
    case = AGAIN[name]
    ends = {"FAILED": "Failed", "SUCCEEDED": "Succeeded", "ABORTED": "Aborted"}[case.get("status", "FAILED")]
    return pytest.param(name, marks=matrix(case.get("line", "Jobs"), f"{name} ({COMPARISON})", ends=ends))


@pytest.mark.parametrize("case", [_again(name) for name in AGAIN])
def test_a_comparison_that_goes_wrong_when_it_is_made_again(compared_again: dict[str, End], case: str) -> None:
    end, expected = compared_again[case], AGAIN[case]
    assert (end.run.status, end.run.error) == (expected.get("status", "FAILED"), expected.get("error"))
    assert_told(end, *expected["says"])


@matrix("Events", "an object that was uploaded in parts", ends="Succeeded")
def test_an_upload_in_parts_is_one_drop(app: App, compared_again: dict[str, End]) -> None:
    s3, where = app.client("s3"), {"Bucket": app.bucket, "Key": "raw/parts.parquet"}
    before, body = situation.executions(app), parquet_of(listings(ROWS_IN_PARTS, 8), PART_BYTES)
    upload = s3.create_multipart_upload(**where)["UploadId"]
    contents = {2: body[PART_BYTES:], 1: body[:PART_BYTES]}  # S3 joins them by their numbers
    tags = {
        number: s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=content)["ETag"]
        for number, content in contents.items()
    }
    parts = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    (arn,) = situation.started_since(app, before)
    end = situation.end(app, arn)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert situation.report(app, end.run)["rows"]["read"] == sum(ROWS_BEFORE[:-1])


@dataclass(frozen=True)
class Lost:
    """An event that reached nobody: its letter, the alarm's mail, and the executions that were started meanwhile."""

    letter: dict[str, Any]
    mail: mailbox.Message
    started: list[str]


@pytest.fixture(scope="module")
def lost(app: App, compared_again: dict[str, End]) -> Lost:
    """A drop while the rule's target is a state machine that does not exist."""
    events, rule, before = app.client("events"), f"{app.stack}-data-drop", situation.executions(app)
    (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.put_targets(Rule=rule, Targets=[{**target, "Arn": target["Arn"] + "-gone"}])
    try:
        with situation.unchanged(app, dropped=1):
            situation.put(app, "raw/lost.csv", demo_data.new_listings(50, seed=5))
            (letter,) = wait_for(lambda: situation.letters(app), "the event in the dead-letter queue")
            (mail,) = wait_for(lambda: situation.alarms(app), "the alarm's mail", 90)
    finally:
        events.put_targets(Rule=rule, Targets=[target])
    return Lost(letter, mail, [arn for arn in situation.executions(app) if arn not in before])


@matrix("Events", "an event whose target refuses it", ends="no run, an alarm")
def test_an_event_that_reaches_nobody_is_kept_and_the_alarm_mails(app: App, lost: Lost) -> None:
    assert json.loads(lost.letter["Body"])["detail"]["object"]["key"] == "raw/lost.csv"
    why = lost.letter["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    assert "not authorized to perform: states:StartExecution" in why
    for text in (
        "A run, a window or a file's scoring was not started",
        f"in the queue {app.stack}-UndeliveredEvents-",
        "start a run by hand",
    ):
        assert text in lost.mail.body
    assert lost.started == []


@dataclass(frozen=True)
class Burst:
    """The one run of a burst that worked, all others, and an event that came twice."""

    worked: End
    others: list[End]
    again: End
    serving: dict[str, Any]


@pytest.fixture(scope="module")
def burst(app: App, lost: Lost) -> Burst:
    """Fifty files in one second, and the newest one's event once more while its run works.

    They come near the end, as the upload in parts does: each run after them has so much more to read.
    """
    before = situation.executions(app)
    files = {f"raw/burst/{number:02d}.csv": listings(ROWS_OF_A_FILE, 14, number) for number in range(BURST)}
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda item: situation.put(app, *item), files.items()))
    arns = situation.started_since(app, before, BURST)
    working = wait_for(lambda: _working(app, arns), "the run of the burst")
    event = json.loads(app.client("stepfunctions").describe_execution(executionArn=working)["input"])
    again = situation.start_with(app, event)
    runs = {arn: arn for arn in arns if arn != working}
    others = situation.ends(app, {**runs, "again": again}, silent=True)
    return Burst(situation.end(app, working), [others[arn] for arn in runs], others["again"], app.in_service())


def _working(app: App, arns: list[str]) -> str | None:
    """The execution that has claimed its work: its manifest is in the bucket."""
    found = {key for key, _, _ in situation.versions(app, "runs/") if key.endswith("/manifest.json")}
    return next((arn for arn in arns if f"runs/{situation.run_of(arn)}/manifest.json" in found), None)


@matrix("Events", "fifty files in one second", ends="Succeeded, once")
def test_a_burst_of_files_is_one_training_with_all_rows_and_one_message(app: App, burst: Burst) -> None:
    assert (burst.worked.run.status, burst.worked.run.cause) == ("SUCCEEDED", None)
    assert situation.report(app, burst.worked.run)["rows"]["read"] == sum(ROWS_BEFORE) + BURST * ROWS_OF_A_FILE
    assert_told(burst.worked, "Model in service", f"{BURST + len(ROWS_BEFORE)} files under 'raw/'")
    assert burst.serving["Parameters"]["run"] == burst.worked.run.run_id
    assert len(burst.others) == BURST - 1
    for end in burst.others:
        assert end.run.status == "SUCCEEDED"
        assert end.run.output["Decision"] in ("Superseded", "Duplicate")
        assert end.mails == ()


@matrix("Events", "the same event again, while its run works", ends="Succeeded, without work")
def test_an_event_that_comes_twice_while_its_run_works_trains_once(burst: Burst) -> None:
    assert_nothing_done(burst.again, "Duplicate")
    assert burst.worked.run.run_id in burst.again.run.output["Reason"]


def test_a_healthy_drop_after_all_this_takes_what_was_not_delivered_too(app: App, burst: Burst) -> None:
    end = situation.dropped(app, "raw/last.csv", listings(6000, 24))
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    keys = [file["Key"] for file in app.record(end.run)["data"]["files"]]
    assert {"raw/cars.csv", "raw/meanwhile.csv", "raw/lost.csv", "raw/last.csv"} < set(keys)
    assert app.parameters()["run"] == end.run.run_id
    (alarm,) = situation.strays(app)
    assert alarm.startswith(f'ALARM: "{app.stack}-undelivered-events"')
