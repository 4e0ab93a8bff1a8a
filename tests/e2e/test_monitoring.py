"""Windows of a deployed stack: real requests with labels, bad data, drift that retrains, and what goes wrong."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from localcloud import mailbox
from perennial.runs import cause
from tests.command import perennial
from tests.e2e import ingestion
from tests.e2e.conftest import App, Run, mails, when_one_has_begun
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import has_entered
from tests.e2e.matrix.trips import Fault, fault
from tests.e2e.resumed import Resumable
from tests.pages import Page
from tests.waiting import wait_for
from tools import demo_drift, sales

pytestmark = pytest.mark.xdist_group("e2e-monitor")

STACK, MACHINE = "perennial-watched", "MonitorStateMachineArn"
KINDS = ("Bad data", "Drift", "Healthy again")
FUNCTIONS = ("resolve_window", "decide_retraining")
_numbers = count(100)


@dataclass
class Watched:
    """A stack whose model is watched."""

    app: App

    @property
    def machine(self) -> str:
        return self.app.outputs[MACHINE]

    def traffic(self, rows: int, *changes: sales.Change, labelled: bool = True, years: float = 0.0) -> list[sales.Sale]:
        """Ask about cars that were not seen before; their prices come back as labels. Returns them."""
        sold = sales.sales(rows, next(_numbers), *changes, years=years)
        sales.ask(self.app.client("sagemaker-runtime"), self.app.endpoint, sold)
        if labelled:
            key = f"ground-truth/{sold[0].id}.csv"
            self.app.client("s3").put_object(Bucket=self.app.bucket, Key=key, Body=sales.labels(sold))
        time.sleep(1.1)  # a window ends with a whole second
        return sold

    def start(self, **given: Any) -> str:
        started = self.app.client("stepfunctions").start_execution(
            stateMachineArn=self.machine, input=json.dumps(given)
        )
        return str(started["executionArn"])

    def judge(self, **given: Any) -> Run:
        """Have a window judged, and wait for the end."""
        arn = self.start(**given)
        return wait_for(lambda: Run.ended(arn), f"the end of {arn}", pause=0.1)

    def verdict(self, run: Run) -> dict[str, Any]:
        body = self.app.client("s3").get_object(
            Bucket=self.app.bucket, Key=f"monitoring/{run.output['WindowId']}/verdict.json"
        )["Body"]
        return dict(json.loads(body.read()))

    def mails(self, execution_arn: str, expected: int = 1) -> list[mailbox.Message]:
        """The messages about a window, once so many have come."""

        def about() -> list[mailbox.Message]:
            return [
                mail
                for mail in mails(self.app.state)
                if execution_arn.replace(":", "%3A") in mail.body or execution_arn in mail.body
            ]

        wait_for(lambda: len(about()) >= expected, f"a mail about {execution_arn}", 30)
        time.sleep(0.5)
        return about()

    def known(self) -> dict[str, Any]:
        """What the run table knows of windows and of who answered them."""
        table = self.app.outputs["RunTableName"]
        return dict(self.app.client("dynamodb").get_item(TableName=table, Key={"id": {"S": "monitoring"}})["Item"])

    def judged_until(self) -> str:
        return max(str(one["M"]["end"]["S"]) for one in self.known()["windows"]["L"])

    @cached_property
    def resumable(self) -> Resumable:
        """A window of now, from each of whose states others can go on."""
        return Resumable(self.app, self.judge(), MACHINE)

    def trainings(self) -> list[str]:
        """The runs that drift has started, newest first."""
        states = self.app.client("stepfunctions")
        listed = states.list_executions(stateMachineArn=self.app.outputs["StateMachineArn"])["executions"]
        return [str(one["executionArn"]) for one in listed if one["name"].startswith("drift-")]

    def decisions(self) -> list[str]:
        """What each execution of the monitor has answered that judged no window."""
        states = self.app.client("stepfunctions")
        arns = [one["executionArn"] for one in states.list_executions(stateMachineArn=self.machine)["executions"]]
        ended = [run for run in map(Run.ended, arns) if run]
        return [run.output["Decision"] for run in ended if "Decision" in run.output]


OWN_METRICS = "metrics: {within_a_fifth: maximize, broken: minimize}\n"
GROUPS = "feature_store: {groups: {sales: {record: sale, event_time: sold}}}\n"
OWN_CODE = """
def within_a_fifth(actual, predicted):
    return (abs(predicted - actual) <= 0.2 * actual).mean()

def broken(actual, predicted):
    return actual.missing
"""


@pytest.fixture(scope="module")
def watched(
    deploy: Callable[..., App], built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Watched:
    """The model has metrics of its own besides, and its rows may be records of a feature group."""
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("watched"))
    model = layer / "python/models/car-sales"
    (model / "metrics.py").write_text(OWN_CODE)
    (model / "model.yaml").write_text(f"{(model / 'model.yaml').read_text()}\n{OWN_METRICS}{GROUPS}")
    app = deploy(
        STACK, situation.with_layer(packaged, layer), ModelName="car-sales", QuietPeriodSeconds="0", PollSeconds="0",
        CaptureDelaySeconds="0", MonitorSchedule="rate(30 days)",
    )  # fmt: skip
    run = app.drop("raw/sold.csv", sales.as_csv(sales.sales(3000, seed=1)))
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    watched = Watched(app)
    wait_for(lambda: "Armed" in watched.decisions(), "the event of the endpoint in service")
    return watched


BROKEN = "metrics.py, line 6: AttributeError: 'numpy.ndarray' object has no attribute 'missing'"


def test_metrics_of_the_model_itself_are_in_record_mail_and_baseline_and_one_that_fails_stops_nothing(
    watched: Watched,
) -> None:
    run_id = watched.app.parameters()["run"]

    def about() -> list[mailbox.Message]:
        return [mail for mail in mails(watched.app.state) if f"runs/{run_id}/run.json" in mail.body]

    (mail,) = wait_for(about, "the mail about the run")
    assert f"Not measured  broken: {BROKEN}" in mail.body
    key = f"runs/{run_id}/run.json"
    record = json.loads(watched.app.client("s3").get_object(Bucket=watched.app.bucket, Key=key)["Body"].read())
    assert 0.3 < record["metrics"]["candidate"]["within_a_fifth"] <= 1
    assert record["metrics"]["failed"] == {"broken": BROKEN}
    key = f"runs/{run_id}/baselines/model-quality/constraints.json"
    baseline = json.loads(watched.app.client("s3").get_object(Bucket=watched.app.bucket, Key=key)["Body"].read())
    limit = baseline["regression_constraints"]["within_a_fifth"]
    assert limit["threshold"] == record["metrics"]["candidate"]["within_a_fifth"]
    assert limit["comparison_operator"] == "LessThanThreshold"


def test_a_healthy_window_is_judged_and_nobody_is_bothered(watched: Watched) -> None:
    watched.traffic(300)
    run = watched.judge()
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert run.output["Verdict"] == "Healthy"
    verdict = watched.verdict(run)
    assert (verdict["records"], verdict["ground_truth"]["matched"]) == (300, 300)
    quality = verdict["analyses"]["model_quality"]
    (own,) = [one for one in quality["metrics"] if one["is_own"]]
    assert own["interval"][0] <= own["value"] <= own["interval"][1]
    assert quality["failed"]["broken"] == BROKEN
    key = f"monitoring/{run.output['WindowId']}/{verdict['report']['file']}"
    page = Page(watched.app.client("s3").get_object(Bucket=watched.app.bucket, Key=key)["Body"].read())
    assert page.text.startswith("Healthy: ")
    assert {"Predicted and actual", "Attribution"} <= set(page.texts)
    assert watched.mails(run.execution_arn, expected=0) == []


def test_what_was_judged_is_not_judged_again_unless_it_is_asked_for(watched: Watched) -> None:
    empty = watched.judge()
    assert empty.output["Verdict"] == "NotEnoughData"
    assert "0 records" in watched.mails(empty.execution_arn)[0].body
    first = json.loads(watched.app.client("s3").get_object(
        Bucket=watched.app.bucket, Key=f"monitoring/{empty.output['WindowId']}/verdict.json"
    )["Body"].read())["window"]  # fmt: skip
    began = watched.known()["served"]["L"][-1]["M"]["since"]["S"]
    again = watched.judge(Window={"Start": began, "End": first["start"]})
    assert again.output["Verdict"] == "Healthy"
    assert watched.verdict(again)["records"] == 300


# ---- What goes wrong


@dataclass(frozen=True)
class Wrong:
    """What goes wrong in a window, and what its one mail says; first of all the cause."""

    what: str
    faults: tuple[Fault, ...]
    cause: str
    says: tuple[str, ...]

    def __str__(self) -> str:
        return self.what


def refused(error: str, **more: Any) -> Fault:
    return fault("sagemaker:CreateProcessingJob", "error", error=error, name="*-monitor-*", **more)


def throws(function: str) -> Fault:
    return fault(f"function:{function}", "error", error="KeyError", message="'no such key'")


def stumbles(function: str) -> list[Fault]:
    """What Lambda may do once, and a state tries again."""
    program = f"function:{function}"
    return [
        fault(program, "throttle", times=1),
        fault(program, "timeout", times=1),
        fault(program, "error", error="Lambda.ServiceException", times=1),
    ]


WRONG = [
    Wrong(
        "its job raises",
        (fault("job:monitor", "raise"),),
        "its job failed: AlgorithmError",
        ("state 'Judge window'", "exit code: 1", "-monitor-0"),
    ),
    Wrong(
        "its job is killed",
        (fault("job:monitor", "kill"),),
        "its job failed: AlgorithmError",
        ("state 'Judge window'", "exit code: 137"),
    ),
    Wrong(
        "its job runs past its limit",
        (fault("job:monitor", "overrun"),),
        "its job was stopped at its time limit",
        ("time limit of 3600 seconds",),
    ),
    Wrong(
        "its job has lost its verdict",
        (fault("job:monitor", "lose-output"),),
        "VerdictMissingError: s3:",
        ("verdict.json is not there",),
    ),
    Wrong(
        "its job may not be started",
        (refused("AccessDeniedException", times=99),),
        "The role is not authorized",
        ("not authorized",),
    ),
    *(
        Wrong(f"the function {name} throws", (throws(name),), "KeyError: 'no such key'", ("KeyError", "'no such key'"))
        for name in FUNCTIONS
    ),
]


@pytest.mark.parametrize(
    "wrong", [pytest.param(one, id=str(one), marks=matrix("Monitoring", one.what, ends="Failed")) for one in WRONG]
)
def test_a_monitor_that_fails_is_told_once_and_its_records_are_judged_by_the_next(
    watched: Watched, wrong: Wrong
) -> None:
    until = watched.judged_until()
    with watched.app.injected(*wrong.faults):
        run = watched.judge()
    assert run.status == "FAILED"
    (mail,) = watched.mails(run.execution_arn)
    assert mail.subject.startswith(f"Window not judged: {wrong.cause}")
    assert [text for text in wrong.says if text not in mail.body] == []
    assert "The records are kept" in mail.body
    assert watched.judged_until() == until


@matrix("Monitoring", "a person stops it", ends="Failed")
def test_a_monitor_that_a_person_stops_is_told(watched: Watched) -> None:
    with watched.app.injected(fault("job:monitor", "hang")):
        arn = watched.start()
        wait_for(lambda: has_entered(arn, "Judge window"), "the job's state")
        watched.app.client("stepfunctions").stop_execution(executionArn=arn, cause="by a test")
    (mail,) = watched.mails(arn)
    assert "a person or a deployment stopped the monitor" in mail.body


@matrix("Monitoring", "two monitors on one window", ends="Succeeded")
def test_a_second_monitor_leaves_the_window_to_the_first(watched: Watched) -> None:
    watched.traffic(120)
    with watched.app.injected(fault("job:monitor", "hang")):
        first = watched.start()
        wait_for(lambda: has_entered(first, "Judge window"), "the job's state")
        second = watched.judge()
        watched.app.client("stepfunctions").stop_execution(executionArn=first)
    assert second.output["Decision"] == "Duplicate"
    assert watched.judge().output["Verdict"] == "Healthy"


@matrix("Monitoring", "everything stumbles once", ends="Succeeded")
def test_what_stumbles_is_tried_again(watched: Watched) -> None:
    faults = [
        refused("ThrottlingException", times=1),
        refused("ResourceLimitExceeded", times=1),
        *(stumble for name in FUNCTIONS for stumble in stumbles(name)),
        fault("function:notify_window", "timeout", after=True, times=1),
    ]
    watched.traffic(120)
    with watched.app.injected(*faults) as have_fired:
        run = watched.judge()
        assert (run.status, run.cause) == ("SUCCEEDED", None)
        wait_for(have_fired, "every fault")
    assert run.output["Verdict"] == "Healthy"


@matrix("Monitoring", "a baseline is missing, and at first a machine", ends="Succeeded")
def test_a_baseline_that_is_missing_is_told_with_the_run_that_makes_it(watched: Watched) -> None:
    s3, run_id = watched.app.client("s3"), watched.app.parameters()["run"]
    keys = [f"runs/{run_id}/baselines/data-quality/{name}.json" for name in ("statistics", "constraints")]
    watched.traffic(120)
    for key in keys:
        s3.delete_object(Bucket=watched.app.bucket, Key=key)
    with watched.app.injected(fault("job:monitor", "no-capacity")):
        run = watched.judge()
    for key in keys:  # the delete markers go, and what they hide is there again
        (marker,) = s3.list_object_versions(Bucket=watched.app.bucket, Prefix=key)["DeleteMarkers"]
        s3.delete_object(Bucket=watched.app.bucket, Key=key, VersionId=marker["VersionId"])
    assert run.output["Verdict"] == "Failed"
    (mail,) = watched.mails(run.execution_arn)
    assert "baselines/data-quality/statistics.json" in mail.body


@matrix("Monitoring", "functions of another commit than the state machine", ends="Failed")
def test_an_answer_that_the_flow_does_not_know_is_no_verdict(watched: Watched) -> None:
    answers = {"Resolve window": {"Decision": "Surprise"}}
    asked = watched.resumable.go_on("Is there a window to judge?", answers=answers)
    assert asked.error == "UnknownDecision"


def test_drift_without_rows_to_learn_from_starts_a_run_that_says_that_it_changes_nothing(watched: Watched) -> None:
    window = {"WindowId": "20260101000000-0a1b", "End": "2026-01-01T00:00:00Z"}
    decided = {"Verdict": "Drift", "Retrain": True, "Reason": "drift", "Labelled": []}
    answers = {"Resolve window": window, "Decide retraining": decided}
    assert watched.resumable.go_on("Retrain?", answers=answers).status == "SUCCEEDED"
    arn = wait_for(lambda: next(iter(watched.trainings()), None), "the run")
    assert wait_for(lambda: Run.ended(arn), "its end").output["Decision"] == "AlreadyTrained"
    done = "StepFunctions.ExecutionAlreadyExistsException"  # the answer was lost, and the run has ended
    with watched.app.injected(fault("task:states:startExecution", "error", error=done)):
        assert watched.resumable.go_on("Retrain?", answers=answers).status == "SUCCEEDED"


@matrix("Monitoring", "the function probe_endpoint throws", ends="Failed")
def test_a_model_whose_callers_send_no_labels_is_judged_by_rows_of_newer_data(watched: Watched) -> None:
    """The newer data are priced by a die, so that no model of them replaces the one that serves."""
    sold = [replace(one, price=1000.0 + int(one.id[-6:]) * 7919 % 90_000) for one in sales.sales(1500, next(_numbers))]
    rejected = watched.app.drop("raw/by-a-die.csv", sales.as_csv(sold))
    assert rejected.error == "ModelAccuracyTooLow"
    watched.traffic(120, labelled=False)
    window = watched.judge()
    assert "probed" not in watched.verdict(window)["analyses"]["model_quality"]
    resumable = Resumable(watched.app, window, MACHINE)
    path = {"LocalPath": "/opt/ml/processing/input/probe", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    answer = resumable.answer("Resolve window")
    probe = {"InputName": "probe", "S3Input": {"S3Uri": f"{answer['Prefix']}/probe.json", **path}}
    first = "Is there a window to judge?"
    answers = {"Resolve window": {"Probe": True, "Inputs": [*answer["Inputs"], probe]}}
    with watched.app.injected(throws("probe_endpoint")):
        assert resumable.go_on(first, answers=answers).error == "KeyError"
    with watched.app.injected(*stumbles("probe_endpoint")) as have_fired:
        assert resumable.go_on(first, answers=answers).status == "SUCCEEDED"
        assert have_fired()
    verdict = watched.verdict(window)
    quality = verdict["analyses"]["model_quality"]
    assert (verdict["verdict"], quality["verdict"], verdict["ground_truth"]["matched"]) == ("Drift", "Drift", 0)
    assert (quality["probed"]["run"], quality["probed"]["data"]["files"]) == (rejected.run_id, 1)
    assert 200 < quality["probed"]["rows"] <= 500
    watched.traffic(120)
    after = watched.verdict(watched.judge())
    assert (after["records"], after["collected"]["probing"]) == (120, -(-quality["probed"]["rows"] // 100))


@matrix("Monitoring", "the copy of labelled rows and the start of a run stumble once", ends="Succeeded")
def test_the_demo_shows_bad_data_that_retrain_nothing_and_drift_that_does(watched: Watched) -> None:
    faults = [
        fault("task:s3:copyObject", "error", error="S3.S3Exception", message="Service Unavailable"),
        fault("task:states:startExecution", "error", error="StepFunctions.AWSStepFunctionsException"),
    ]
    before, known = watched.trainings(), len(mails(watched.app.state))
    with watched.app.injected(*faults) as have_fired:
        assert demo_drift.main(["--stack", STACK, "--state", str(watched.app.state)]) == 0
        assert have_fired()
    (started,) = [arn for arn in watched.trainings() if arn not in before]
    record = watched.app.record(Run.ended(started))  # type: ignore[arg-type]
    assert record["input"]["Trigger"]["Type"] == "Drift"
    assert watched.app.parameters()["run"] == record["run_id"]
    told = [mail for mail in mails(watched.app.state)[known:] if STACK in mail.subject]
    bad, drift, again = (next(mail for mail in told if mail.subject.startswith(kind)) for kind in KINDS)
    assert "mileage" in bad.subject
    assert "Nothing retrains on them" in bad.body
    assert "1,200 new labelled rows" in drift.body
    assert started in drift.body
    assert "report.html" in drift.body
    assert "report.html" in again.body


# ---- Rows of a feature group


def test_records_that_are_ingested_start_a_run_whose_model_serves(watched: Watched, tmp_path: Path) -> None:
    """They are worth so much less that the model in service is wrong about them. The local cloud makes the role."""
    app, sold = watched.app, sales.sales(400, next(_numbers), sales.dearer(0.3))
    (tmp_path / "sold.csv").write_bytes(sales.as_csv(sold))
    ended = perennial("ingest", tmp_path / "sold.csv", "--stack", STACK, "--json")
    assert ended.exit_code == 0, ended.stderr
    done = json.loads(ended.stdout)
    assert (done["group"], done["created"], done["records"]) == (f"{STACK}_sales", True, 400)

    run = app.wait(lambda given: f"/offline-store/{STACK}_sales-" in given["Trigger"].get("Object", {}).get("key", ""))
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    report = json.loads(app.client("s3").get_object(
        Bucket=app.bucket, Key=f"runs/{run.run_id}/report/report.json"
    )["Body"].read())  # fmt: skip
    assert report["rows"] == {"read": 400, "used": 400, "quarantined": 0, "written_to_quarantine": 0}
    assert app.parameters()["run"] == run.run_id
    (price,) = sales.ask(app.client("sagemaker-runtime"), app.endpoint, sold[:1])
    assert price == pytest.approx(sold[0].price, rel=0.5)

    online = app.client("sagemaker-featurestore-runtime").get_record(
        FeatureGroupName=f"{STACK}_sales", RecordIdentifierValueAsString=sold[0].id, FeatureNames=["price"]
    )
    assert float(online["Record"][0]["ValueAsString"]) == sold[0].price

    names, values = (line.split(",") for line in sales.as_csv(sales.sales(1, next(_numbers))).decode().splitlines())
    one = dict(zip(names, values, strict=True)) | {"sold": "2020-11-29T10:15:00Z"}
    record = [{"FeatureName": name, "ValueAsString": value} for name, value in one.items() if value]
    app.client("sagemaker-featurestore-runtime").put_record(FeatureGroupName=f"{STACK}_sales", Record=record)
    arn = wait_for(
        when_one_has_begun(
            lambda: app.find(lambda given: "/year=2020/" in given["Trigger"].get("Object", {}).get("key", ""))
        ),
        "a run of the record that was put",
        pause=0.1,
    )
    app.client("stepfunctions").stop_execution(executionArn=arn)
    assert situation.end_of(app, arn).status == "ABORTED"


@dataclass(frozen=True)
class Ingesting:
    """A stack whose runs put dropped rows into its feature group: its first run, and what it was given."""

    app: App
    run: Run
    sold: list[sales.Sale]

    def go_on(self, **given: Any) -> Run:
        """The end of a run that goes on with the ingestion of a car, and has nothing else."""
        return Resumable(self.app, self.run).go_on(ingestion.STATE, answers=ingestion.to_ingest(self.app), **given)


@pytest.fixture(scope="module")
def ingesting(
    deploy: Callable[..., App], built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ingesting:
    """The first of the dropped rows breaks the contract."""
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("ingesting"))
    model = layer / "python/models/car-sales/model.yaml"
    known = model.read_text().replace("training: {window: {newest_files: 1}}", "")
    model.write_text(f"{known}\n{GROUPS.replace('}}}', '}}, ingest: true}')}")
    quick = {"QuietPeriodSeconds": "0", "PollSeconds": "0"}
    app = deploy("perennial-sales", situation.with_layer(packaged, layer), ModelName="car-sales", **quick)
    sold = sales.sales(400, next(_numbers))
    header, first, *rows = sales.as_csv(sold).decode().splitlines(keepends=True)
    run = app.drop("raw/sold.csv", "".join([header, f"-1,{first.partition(',')[2]}", *rows]).encode())
    return Ingesting(app, run, sold)


@pytest.fixture
def undisturbed(ingesting: Ingesting) -> Iterator[Ingesting]:
    """The stack, which starts no run of what tests put into groups that its definition does not name."""
    events, rule = ingesting.app.client("events"), f"{ingesting.app.stack}-data-drop"
    events.disable_rule(Name=rule)
    yield ingesting
    events.enable_rule(Name=rule)


def test_rows_of_a_drop_are_records_of_a_group_of_the_stacks_own_and_start_no_other_run(ingesting: Ingesting) -> None:
    """Another stack of the model has a group of the same name. Rows that break the contract are no records."""
    app, sold = ingesting.app, ingesting.sold
    assert (ingesting.run.status, ingesting.run.cause) == ("SUCCEEDED", None)
    name, runtime = "perennial-sales_sales", app.client("sagemaker-featurestore-runtime")
    asked = [
        runtime.get_record(FeatureGroupName=name, RecordIdentifierValueAsString=one.id, FeatureNames=["price"])
        for one in (sold[0], sold[1], sold[-1])
    ]
    assert [float(one["Record"][0]["ValueAsString"]) for one in asked[1:]] == [sold[1].price, sold[-1].price]
    assert "Record" not in asked[0]

    written = app.wait(lambda given: f"/offline-store/{name}-" in given["Trigger"].get("Object", {}).get("key", ""))
    assert (written.status, written.output["Decision"]) == ("SUCCEEDED", "Superseded")
    listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix="raw/").get("Contents", [])
    bodies = [app.client("s3").get_object(Bucket=app.bucket, Key=item["Key"])["Body"].read() for item in listed]
    offline = [pq.read_table(io.BytesIO(body)) for body in bodies if body.startswith(b"PAR1")]
    assert {*pa.concat_tables(offline)["sale"].to_pylist()} == {one.id for one in sold[1:]}


@matrix("People", "the execution is aborted (Ingest records)", ends="Aborted")
def test_a_run_that_a_person_aborts_while_it_ingests_is_told_and_what_serves_stays(ingesting: Ingesting) -> None:
    app, before = ingesting.app, ingesting.app.in_service()
    sold = sales.as_csv(sales.sales(400, next(_numbers)))
    with app.injected(fault("job:ingest", "hang")):
        app.client("s3").put_object(Bucket=app.bucket, Key="raw/sold-2.csv", Body=sold)
        arn = wait_for(lambda: app.find(lambda given: "raw/sold-2.csv" in str(given)), "the run")
        wait_for(lambda: has_entered(arn, ingestion.STATE), "the job's state")
        app.client("stepfunctions").stop_execution(executionArn=arn, cause="by a test")
        run = wait_for(lambda: Run.ended(arn), "the end of the run", pause=0.1)
    (mail,) = app.mails(run)
    assert (run.status, app.record(run)["status"]) == ("ABORTED", "Aborted")
    assert ingestion.STATE in mail.body
    assert app.in_service() == before


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            what, marks=matrix("Jobs", f"{what} ({ingestion.STATE})", ends="Failed" if says else "its records are put")
        )
        for what, (_, says) in ingestion.WAYS.items()
    ],
)
def test_a_job_that_ingests_and_goes_wrong(undisturbed: Ingesting, what: str) -> None:
    """The run has nothing else, so that it fails in the next state where the job has completed."""
    injected, says = ingestion.WAYS[what]
    app = undisturbed.app
    with app.injected(injected) as have_fired:
        if what != "a person stops it":
            ended = undisturbed.go_on()
        else:
            resumable = Resumable(app, undisturbed.run)
            arn = resumable.start(ingestion.STATE, answers=ingestion.to_ingest(app))
            wait_for(have_fired, "the job")
            listed = app.client("sagemaker").list_processing_jobs(NameContains="-ingest-", StatusEquals="InProgress")
            for job in listed["ProcessingJobSummaries"]:
                app.client("sagemaker").stop_processing_job(ProcessingJobName=job["ProcessingJobName"])
            ended = wait_for(lambda: Run.ended(arn), "the end of the run", pause=0.1)
        assert have_fired()
    where = f'State "{ingestion.STATE}" failed' if says else "/preprocessor/model.tar.gz is not there"
    assert where in str(ended.cause)
    assert says in cause.explained(str(ended.cause))


@matrix(
    "Jobs", f"the service refuses for a while, then has no machine, then recovers ({ingestion.STATE})", ends="goes on"
)
def test_a_job_that_ingests_is_begun_again_when_the_platform_stumbles(undisturbed: Ingesting) -> None:
    create = {"operation": "sagemaker:CreateProcessingJob", "effect": "error", "name": "*-ingest-*", "times": 1}
    faults = [
        {**create, "error": "ThrottlingException"},
        {**create, "error": "ResourceLimitExceeded"},
        {**create, "error": "ResourceInUse"},
        {"operation": "job:ingest", "effect": "no-capacity", "times": 1},
    ]
    with undisturbed.app.injected(*faults) as have_fired:
        ended = undisturbed.go_on()
        assert have_fired()
    assert ended.error == "ArtifactMissingError"
