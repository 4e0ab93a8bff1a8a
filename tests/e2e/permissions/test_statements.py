"""Each statement of each policy is taken out of the working stack: what needs it then fails, and says so as AWS does.

Most of what needs a statement is a run; it begins at the state in question (../resumed.py). What is no run is an event,
an alarm, a log, a deployment, a data scientist. Left out is what docs/permissions.md lists as not exercised, and
refusals (of plain HTTP, of other keys): test_permissions.py asks what real runs asked in the way that is refused.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import mailbox
from perennial.monitoring import period
from perennial.registry import approval
from perennial.runs import naming, work
from tests.e2e.api import Api
from tests.e2e.conftest import App, Run, struck
from tests.e2e.ingestion import offline, to_ingest
from tests.e2e.matrix import situation
from tests.e2e.permissions import policy_replay
from tests.e2e.permissions.conftest import (
    ALARM,
    BATCH,
    BATCH_SCHEDULE,
    CAR,
    HOURS,
    LOOKS,
    MENDS,
    MONITOR,
    MONITOR_SCHEDULE,
    PAST,
    SCHEDULE,
    STACK,
    Ask,
    Without,
    a_search_that_fails,
    ask_people,
    ask_with_the_turn,
    change_hours,
    deploy,
    find_drift,
    give_no_rows,
    go_back_to_what_was_made_before,
    keep_hours,
    look_at_logs,
    look_at_other_machines,
    no_machines,
    one_more_version,
    push_image,
    raise_alarm,
    score,
    seemingly_gone,
    tell_of_an_execution_that_is_gone,
    tell_of_nothing,
    tuned,
    watch,
)
from tests.e2e.permissions.policy_replay import Policy
from tests.e2e.resumed import Resumable
from tests.waiting import wait_for
from tools import demo_data, synthetic

pytestmark = pytest.mark.xdist_group("e2e-roles")

_numbers = count(1)


@dataclass(frozen=True)
class Deployed:
    """The stack, what its roles' parts are called, a run that succeeded there, and a window that was judged."""

    app: App
    run: Run
    resumable: Resumable
    window: Run
    monitor: Resumable
    scored: Run
    scoring: Resumable
    without: Without
    scientist: Ask
    approver: Ask
    operator: Ask
    mender: Ask
    caller: Api
    many: str

    def whose(self, state: str) -> Resumable:
        """What can go on from a state: the run, the monitor, or the file that is scored."""
        return next(one for one in (self.resumable, self.monitor, self.scoring) if one.has(state))


Act = Callable[[Deployed], str]
"""Do something that needs a statement which is not there, and return what was said about it."""


@pytest.fixture(scope="module")
def deployed(
    app: App,
    without: Without,
    scientist: Ask,
    approver: Ask,
    operator: Ask,
    mender: Ask,
    caller: Api,
    many: str,
) -> Deployed:
    """After a drop of cars that are new to what may serve, and many more than it has learned from."""
    run = app.drop("raw/again.csv", demo_data.new_listings(6000, seed=3))
    app.client("sqs").purge_queue(QueueUrl=app.outputs["UndeliveredEventsUrl"])
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    time.sleep(1)  # windows have whole seconds, and the endpoint serves the run's model before
    window = watch(app, **asked())
    assert (window.status, window.output["Verdict"]) == ("SUCCEEDED", "NotEnoughData")
    monitor, scored = Resumable(app, window, MONITOR), score(app)
    assert (scored.status, scored.cause) == ("SUCCEEDED", None)
    wait_for(
        lambda: _all_ends_are_told(app, run, window, scored), "what is told of ends: it needs what tests take away"
    )
    scoring = Resumable(app, scored, BATCH)
    resumable, people = Resumable(app, run), (scientist, approver, operator, mender)
    return Deployed(app, run, resumable, window, monitor, scored, scoring, without, *people, caller, many)


def _all_ends_are_told(app: App, *ends: Run) -> bool:
    """Whether the functions that tell of ends are done with these."""
    items = app.client("dynamodb").scan(TableName=app.outputs["RunTableName"], ConsistentRead=True)["Items"]
    told = [item for item in items if item.get("status", {}).get("S") == "COMPLETED"]
    return all(any(end.run_id in str(item) or end.execution_arn in str(item) for item in told) for end in ends)


@cache
def asked() -> dict[str, Any]:
    """The window until now. Who asks for it again finds it claimed."""
    now = datetime.now(UTC)
    return {"Window": {"Start": period.written(now - timedelta(hours=1)), "End": period.written(now)}}


# ---- What needs a statement


def a_run(deployed: Deployed) -> str:
    return _why(deployed.app.start())


def a_run_on_new_data(deployed: Deployed) -> str:
    """A run on a file that no run before has copied."""
    folder = f"new/{next(_numbers)}/"
    deployed.app.client("s3").put_object(Bucket=deployed.app.bucket, Key=f"{folder}cars.csv", Body=b"price\n1\n")
    return _why(deployed.app.start(DataPrefix=folder))


def _why(run: Run) -> str:
    assert run.status == "FAILED", run
    return str(run.cause)


def going_on_from(state: str) -> Act:
    """A run that does a state's work under new names."""
    return lambda deployed: _why(deployed.whose(state).go_on(state))


def ingesting(deployed: Deployed) -> str:
    return _why(deployed.resumable.go_on("Ingest records", answers=to_ingest(deployed.app)))


def written_offline(deployed: Deployed) -> str:
    answers = to_ingest(deployed.app)
    deployed.resumable.go_on("Ingest records", answers=answers)
    return offline(deployed.app, answers)


def tuning(deployed: Deployed) -> str:
    """A run that tunes what the one that succeeded has trained."""
    return _why(deployed.resumable.go_on("Tune or train?", answers=tuned(deployed.app)))


def asking_again(state: str) -> Act:
    """A run that asks about what there is."""
    return lambda deployed: _why(deployed.resumable.go_on(state, again=False))


def making_the_machine_of(state: str) -> Act:
    def make(deployed: Deployed) -> str:
        with pytest.raises(ClientError) as refused:
            deployed.whose(state).start(state)
        return str(refused.value)

    return make


def cleaning_up(deployed: Deployed) -> str:
    """There is a model of a run of long ago."""
    sagemaker = deployed.app.client("sagemaker")
    serving = sagemaker.describe_model(ModelName=deployed.run.output["Model"])
    old = {name: serving[name] for name in ("Containers", "ExecutionRoleArn")}
    sagemaker.create_model(ModelName=naming.stem(STACK, f"20200101000000-{next(_numbers):04x}"), **old)
    return asking_again("Clean up")(deployed)


def keeping_the_turn(act: Act) -> Act:
    """Who has the turn to deploy keeps it: a run of another state machine may not be looked at by those that follow."""

    def keep(deployed: Deployed) -> str:
        table, items = deployed.app.outputs["RunTableName"], deployed.app.client("dynamodb")
        before = items.get_item(TableName=table, Key={"id": {"S": "deployment"}})["Item"]
        try:
            return act(deployed)
        finally:
            items.put_item(TableName=table, Item=before)

    return keep


def meeting_another_run(act: Act) -> Act:
    """Another run works on the same, and has the turn to deploy."""

    def meet(deployed: Deployed) -> str:
        with _working(deployed) as arn:
            ask = {"RunId": situation.run_of(arn), "ExecutionArn": arn, "Champion": None}
            deployed.app.client("lambda").invoke(FunctionName=f"{STACK}-reserve-deployment", Payload=json.dumps(ask))
            return act(deployed)

    return meet


@contextmanager
def _working(deployed: Deployed) -> Iterator[str]:
    """An execution that works on its first job meanwhile."""
    app = deployed.app
    with app.faults.injected("job:preprocess", "hang") as fault:
        arn = situation.start(app)
        wait_for(lambda: app.faults.fired(fault), "the job")
        yield arn
        app.client("stepfunctions").stop_execution(executionArn=arn)


def the_schedule(name: str) -> Act:
    """The clock strikes."""

    def strike(deployed: Deployed) -> str:
        with struck(deployed.app, name):
            return _letter(deployed)

    return strike


def a_drop(deployed: Deployed) -> str:
    situation.put(deployed.app, "raw/more.csv", demo_data.new_listings(10, seed=next(_numbers)))
    return _letter(deployed)


def _letter(deployed: Deployed) -> str:
    """Why the next event was not delivered; it is taken out of the queue."""
    letter = wait_for(lambda: situation.letters(deployed.app), "a letter")[0]
    url = deployed.app.outputs["UndeliveredEventsUrl"]
    deployed.app.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
    attributes = letter.get("MessageAttributes", {})
    return str(attributes["ERROR_MESSAGE"]["StringValue"] if attributes else letter["Body"])


def an_untold_end(deployed: Deployed, **overrides: str) -> str:
    """The end of a run that cannot be told: what became of the event."""
    with deployed.app.faults.injected("function:snapshot_data", "error", error="KeyError", message="'no such key'"):
        assert deployed.app.start(**overrides).error == "KeyError"
    return _letter(deployed)


def an_untold_end_of_a_search(deployed: Deployed) -> str:
    a_search_that_fails(deployed.app)
    return _letter(deployed)


def an_untold_end_of_a_run_with_sets(deployed: Deployed) -> str:
    with deployed.app.faults.injected("function:seal_artifact", "error", error="KeyError", message="'no such key'"):
        assert deployed.app.start().error == "KeyError"
    return _letter(deployed)


def an_untold_end_of_many_files(deployed: Deployed) -> str:
    return an_untold_end(deployed, DataPrefix=deployed.many)


def _logged_since(log: Path, before: int) -> bytes:
    """What stands in a server's log behind a place. One that has grown large is put aside, and a new one begun."""
    content = log.read_bytes()
    return content[before if len(content) >= before else 0 :]


def seen_by_the_operator(act: Callable[[Deployed], Any]) -> Act:
    """What nobody is told: AWS refuses it, and goes on. Here the server's log says so."""

    def look(deployed: Deployed) -> str:
        log = deployed.app.state / "server.log"
        before = log.stat().st_size
        act(deployed)

        def denied() -> str:
            lines = _logged_since(log, before).decode().splitlines()
            return "\n".join(line for line in lines if "denied: " in line)

        return wait_for(denied, "a refusal in the server's log")

    return look


def a_job_that_is_stopped(state: str, action: str) -> Act:
    """A job goes on when it may not write its log, or metrics: it is stopped once that was refused."""

    def work(deployed: Deployed) -> None:
        log = deployed.app.state / "server.log"
        before = log.stat().st_size
        answers = to_ingest(deployed.app) if state == "Ingest records" else None
        arn = deployed.whose(state).start(state, answers=answers)
        wait_for(lambda: action.encode() in _logged_since(log, before), f"a refusal of {action}")
        deployed.app.client("stepfunctions").stop_execution(executionArn=arn)

    return seen_by_the_operator(work)


def an_undelivered_drop(deployed: Deployed) -> None:
    log = deployed.app.state / "server.log"
    before = log.stat().st_size
    with deployed.without("DataDropRole", "StartTraining"):
        situation.put(deployed.app, "raw/more.csv", demo_data.new_listings(10, seed=next(_numbers)))
        wait_for(lambda: b"sqs:SendMessage" in _logged_since(log, before), "what becomes of the event")


def an_unkept_end(deployed: Deployed) -> None:
    with deployed.app.faults.injected("function:notify_run", "error", error="KeyError", times="always") as fault:
        a_run_that_cannot_be(deployed)
        wait_for(lambda: deployed.app.faults.fired(fault) >= 3, "the last attempt")
    raised, state = f'ALARM: "{STACK}-ends-lost"', deployed.app.state
    wait_for(lambda: any(mail.subject.startswith(raised) for mail in mailbox.messages(state)), "the alarm's mail", 90)


def a_run_that_cannot_be(deployed: Deployed) -> Run:
    return deployed.app.start(NoSuchKey=1)


def its_end(deployed: Deployed) -> str:
    a_run_that_cannot_be(deployed)
    return _letter(deployed)


def asking_people(deployed: Deployed) -> str:
    """A run asks about a version that somebody has rejected before, for another reason."""
    arn = ask_people(deployed.app, deployed.run, approval.REJECTED)
    return _why(wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60, pause=0.1))


def asking_with_the_turn(deployed: Deployed) -> str:
    return ask_with_the_turn(deployed.app, deployed.run)


def _failure(deployed: Deployed, function: str, event: dict[str, Any]) -> str:
    """Call a function as Lambda does for an event, and return why it failed."""
    called = deployed.app.client("lambda").invoke(FunctionName=f"{STACK}-{function}", Payload=json.dumps(event))
    assert "FunctionError" in called
    return str(called["Payload"].read().decode())


def answering(deployed: Deployed) -> str:
    """The function is called as Lambda calls it when a version is approved for which a run has waited."""
    app, version = deployed.app, one_more_version(deployed.app, deployed.run, approval.APPROVED)
    waiting = {"id": f"approval#{version}", "run_id": deployed.run.run_id, "token": "gone"}
    item = {name: {"S": value} for name, value in waiting.items()}
    app.client("dynamodb").put_item(TableName=app.outputs["RunTableName"], Item=item)
    return _failure(deployed, "answer-approval", {"id": f"{next(_numbers)}", "detail": {"ModelPackageArn": version}})


def a_failure_after_registration(deployed: Deployed) -> str:
    """The function is called as Lambda calls it when a run has failed that had registered a version."""
    one_more_version(deployed.app, deployed.run, approval.APPROVED)
    detail = {"executionArn": deployed.run.execution_arn, "status": "FAILED", "stopDate": next(_numbers)}
    return _failure(deployed, "notify-run", {"detail": detail})


def deploying_a_version(deployed: Deployed) -> str:
    version = one_more_version(deployed.app, deployed.run, approval.APPROVED)
    arn = situation.start_with(deployed.app, {"ModelVersion": int(version.rpartition("/")[2])})
    return _why(situation.end_of(deployed.app, arn))


def reserving_for_a_version(deployed: Deployed) -> str:
    """A run that was approved asks for its turn again."""
    version = {"version": deployed.run.output["ModelPackage"]}
    return _why(deployed.resumable.go_on("Reserve deployment", again=False, variables=version))


def reserving_for_an_earlier_run(deployed: Deployed) -> str:
    answers = {"Resolve configuration": {"DeploymentId": f"20200101000000-{next(_numbers):04x}"}}
    return _why(deployed.resumable.go_on("Reserve deployment", again=False, answers=answers))


def going_back(deployed: Deployed) -> str:
    return str(go_back_to_what_was_made_before(deployed.app, deployed.run))


def an_unkept_answer(deployed: Deployed) -> None:
    tell_of_nothing(deployed.app, "answer-approval")


def looking_at_the_hours(deployed: Deployed) -> str:
    with seemingly_gone(deployed.app):
        return str(keep_hours(deployed.app)["Payload"].read().decode())


def looking_at_what_is_there(deployed: Deployed) -> str:
    return str(keep_hours(deployed.app)["Payload"].read().decode())


def letting_it_scale(deployed: Deployed) -> str:
    """As it does when it is in service again; whoever has registered it has taken that back."""
    service, known = deployed.app.client("application-autoscaling"), {"ServiceNamespace": "sagemaker"}
    for target in service.describe_scalable_targets(**known)["ScalableTargets"]:
        named = {name: target[name] for name in ("ResourceId", "ScalableDimension")}
        service.deregister_scalable_target(**known, **named)
    return str(keep_hours(deployed.app)["Payload"].read().decode())


def letting_it_scale_no_more(deployed: Deployed) -> str:
    """A deployment has ended it."""
    event = {"id": f"{next(_numbers)}", "source": "aws.cloudformation", "detail": {"Ended": ["Scaling"]}}
    return _failure(deployed, "keep-hours", event)


def on_other_machines(deployed: Deployed) -> str:
    return str(look_at_other_machines(deployed.app))


def not_waking(deployed: Deployed) -> str:
    with no_machines(deployed.app):
        return str(keep_hours(deployed.app)["Payload"].read().decode())


def a_mail_of_the_hours(deployed: Deployed) -> str:
    """What it is not made again for is in a mail."""
    state = deployed.app.state
    before = len(mailbox.messages(state))
    looking_at_the_hours(deployed)
    return str(wait_for(lambda: mailbox.messages(state)[before:], "the mail")[-1].body)


def an_endpoint_that_comes_into_service(deployed: Deployed) -> str:
    sagemaker = deployed.app.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    sagemaker.delete_endpoint(EndpointName=STACK)
    wait_for(lambda: not sagemaker.list_endpoints(NameContains=STACK)["Endpoints"], "the endpoint's end")
    sagemaker.create_endpoint(EndpointName=STACK, EndpointConfigName=config)
    return _letter(deployed)


def an_unkept_look(deployed: Deployed) -> None:
    tell_of_nothing(deployed.app, "keep-hours")


def an_answer(deployed: Deployed) -> str:
    version = one_more_version(deployed.app, deployed.run, approval.PENDING)
    deployed.app.client("sagemaker").update_model_package(
        ModelPackageArn=version, ModelApprovalStatus=approval.REJECTED
    )
    return _letter(deployed)


def a_window(deployed: Deployed) -> str:
    return _why(watch(deployed.app, **asked()))


def deciding(deployed: Deployed, **of_window: str) -> str:
    """A window that is not known yet."""
    unknown = {"WindowId": f"20200101000000-{next(_numbers):04x}", **of_window}
    return _why(deployed.monitor.go_on("Decide retraining", answers={"Resolve window": unknown}))


def judging_again(deployed: Deployed) -> str:
    """Rows of a window of the past are among the data, and it gives none any more."""
    give_no_rows(deployed.app, deployed.window.run_id)
    return deciding(deployed, Start=PAST[0], End=PAST[1])


def adding_rows(deployed: Deployed) -> str:
    find_drift(deployed.app, deployed.window.run_id)
    source = f"{deployed.app.bucket}/monitoring/{deployed.window.run_id}/labelled/rows.csv"
    key = naming.labelled_key("raw/", "2026-11-29T10:00:00Z", "2026-11-29T11:00:00Z")
    labelled = {"CopySource": source, "Key": key, "Metadata": {work.JUDGED_WINDOW: deployed.window.run_id}}
    answers = {"Decide retraining": {"Labelled": [labelled]}}
    return _why(deployed.monitor.go_on("Add labelled rows", answers=answers))


def telling(deployed: Deployed) -> str:
    """The function is called as Lambda calls it when a window with drift has been judged."""
    find_drift(deployed.app, deployed.window.run_id)
    detail = {"executionArn": deployed.window.execution_arn, "status": "SUCCEEDED", "stopDate": next(_numbers)}
    return _failure(deployed, "notify-window", {"detail": detail})


def an_unkept_end_of_a_window(deployed: Deployed) -> None:
    """The event of an execution that is gone: it is tried again, and then sent away."""
    tell_of_an_execution_that_is_gone(deployed.app, MONITOR, "notify-window")


def the_end_of_a_window(deployed: Deployed) -> str:
    assert watch(deployed.app, NoSuchKey=1).error == "ConfigurationError"
    return _letter(deployed)


def a_file(deployed: Deployed) -> str:
    return _why(score(deployed.app))


def a_file_again(deployed: Deployed) -> str:
    """Somebody asks for a file whose execution has failed."""
    arn = deployed.app.client("stepfunctions").start_execution(
        stateMachineArn=deployed.app.outputs[BATCH], input=json.dumps({"File": {"Key": _a_waiting_file(deployed)}})
    )["executionArn"]
    return _why(wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60, pause=0.1))


def files_that_wait(deployed: Deployed) -> str:
    """The clock comes, and a file waits that has failed."""
    _a_waiting_file(deployed)
    started = deployed.app.client("stepfunctions").start_execution(
        stateMachineArn=deployed.app.outputs[BATCH], input="{}"
    )
    arn = started["executionArn"]
    return _why(wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60, pause=0.1))


def _a_waiting_file(deployed: Deployed) -> str:
    """The key of a file whose execution has failed after it had claimed the file."""
    name = f"waits-{next(_numbers)}.csv"
    with deployed.app.faults.injected("job:batch-check", "raise"):
        assert score(deployed.app, name=name).status == "FAILED"
    return f"batch/incoming/{name}"


def a_file_that_is_dropped(deployed: Deployed) -> str:
    key = f"batch/incoming/{next(_numbers)}.csv"
    deployed.app.client("s3").put_object(Bucket=deployed.app.bucket, Key=key, Body=b"x")
    return _letter(deployed)


def by_the_rule(name: str, act: Act) -> Act:
    """What a rule is told of that stands still from the beginning."""

    def enable_and_act(deployed: Deployed) -> str:
        deployed.app.client("events").enable_rule(Name=name)
        return act(deployed)

    return enable_and_act


def telling_of_a_file(deployed: Deployed) -> str:
    """The function is called as Lambda calls it when a file was scored."""
    detail = {"executionArn": deployed.scored.execution_arn, "status": "SUCCEEDED", "stopDate": next(_numbers)}
    return _failure(deployed, "notify-batch", {"detail": detail})


def an_unkept_end_of_a_file(deployed: Deployed) -> None:
    tell_of_an_execution_that_is_gone(deployed.app, BATCH, "notify-batch")


def the_end_of_a_file(deployed: Deployed) -> str:
    score(deployed.app, body=b"x")
    return _letter(deployed)


def training_by_drift(deployed: Deployed) -> str:
    drifted = {"Decide retraining": {"Verdict": "Drift", "Retrain": True}}
    return _why(deployed.scoring.go_on("Start training", answers=drifted))


def an_alarm(deployed: Deployed) -> None:
    raise_alarm(deployed.app, f"{STACK}-undelivered-events")


def an_alarm_that_retrains(deployed: Deployed) -> str:
    raise_alarm(deployed.app, ALARM)
    return _letter(deployed)


def an_image_that_is_pushed(deployed: Deployed) -> str:
    push_image(deployed.app)
    return _letter(deployed)


def a_run_in_an_image_of_its_own(deployed: Deployed) -> str:
    return _why(deployed.app.start(Algorithm="own-image"))


def a_deployment(deployed: Deployed) -> str:
    return _refused(deploy(deployed.app))


def other_hours(deployed: Deployed) -> str:
    return _refused(change_hours(deployed.app))


def _refused(answer: dict[str, Any]) -> str:
    assert answer["Status"] == "FAILED"
    return str(answer["Reason"])


def by_a_new_worker(function: str, act: Act) -> Act:
    """Lambda takes a role when a worker starts, and a function that was changed starts a new one."""

    def change(deployed: Deployed) -> str:
        functions = deployed.app.client("lambda")
        functions.update_function_configuration(FunctionName=f"{STACK}-{function}", MemorySize=1024 + next(_numbers))
        return act(deployed)

    return change


def a_request(deployed: Deployed) -> str:
    """The function is called as API Gateway calls it, which tells nobody of its errors."""
    event = {"httpMethod": "POST", "headers": {"Content-Type": "application/json"}, "body": json.dumps(CAR)}
    return _failure(deployed, "answer-request", event)


def a_call(deployed: Deployed) -> str:
    answer = deployed.caller.post(CAR)
    assert answer.status in (403, 500)
    return str(answer.document["detail"])


def a_person(ask: Callable[[Ask, Deployed], Any]) -> Act:
    def try_it(deployed: Deployed) -> str:
        with pytest.raises(ClientError) as refused:
            ask(deployed.scientist, deployed)
        return str(refused.value)

    return try_it


def approving(ask: Callable[[Ask, Deployed], Any]) -> Act:
    def try_it(deployed: Deployed) -> str:
        with pytest.raises(ClientError) as refused:
            ask(deployed.approver, deployed)
        return str(refused.value)

    return try_it


def looking(sid: str) -> Act:
    def try_it(deployed: Deployed) -> str:
        with pytest.raises(ClientError) as refused:
            LOOKS[sid](deployed.operator, deployed.app, deployed.run)
        return str(refused.value)

    return try_it


def looking_at_logs(deployed: Deployed) -> str:
    with pytest.raises(ClientError) as refused:
        look_at_logs(deployed.operator, deployed.app)
    return str(refused.value)


def mending(sid: str) -> Act:
    def try_it(deployed: Deployed) -> str:
        with pytest.raises((ClientError, AssertionError)) as refused:
            MENDS[sid](deployed.mender, deployed.app)
        return str(refused.value)

    return try_it


def read_report_as(ask: Ask, deployed: Deployed) -> Any:
    return ask("s3").get_object(Bucket=deployed.app.bucket, Key=f"runs/{deployed.run.run_id}/report.html")


def put_as(ask: Ask, deployed: Deployed) -> Any:
    return ask("s3").put_object(Bucket=deployed.app.bucket, Key="raw/theirs.csv", Body=b"x")


def start_as(ask: Ask, deployed: Deployed) -> Any:
    machine = deployed.app.outputs["StateMachineArn"]
    return ask("stepfunctions").start_execution(stateMachineArn=machine, input="{}")


def code_of(deployed: Deployed) -> str:
    return deployed.app.outputs["CodeUri"].removeprefix(f"s3://{deployed.app.bucket}/")


LOGS = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
TRUST = "Trust"
# Which state, or whatever else, needs a role's statements; and those that need something of their own.
ACTS: dict[str | tuple[str, str], Act] = {
    "ResolveConfigurationRole": a_run,
    ("ResolveConfigurationRole", "Versions"): deploying_a_version,
    ("ResolveConfigurationRole", "Lists"): deploying_a_version,
    ("ResolveConfigurationRole", "OtherRuns"): meeting_another_run(a_run),
    "SnapshotDataRole": a_run_on_new_data,
    "PreprocessRole": going_on_from("Preprocess"),
    "IngestRole": ingesting,
    ("IngestRole", "LogGroup"): a_job_that_is_stopped("Ingest records", "logs:CreateLogGroup"),
    ("IngestRole", "Logs"): a_job_that_is_stopped("Ingest records", "logs:CreateLogStream"),
    "OfflineStoreRole": written_offline,
    ("PreprocessRole", "LogGroup"): a_job_that_is_stopped("Preprocess", "logs:CreateLogGroup"),
    ("PreprocessRole", "Logs"): a_job_that_is_stopped("Preprocess", "logs:CreateLogStream"),
    "TrainRole": going_on_from("Train"),
    ("TrainRole", "LogGroup"): a_job_that_is_stopped("Train", "logs:CreateLogGroup"),
    ("TrainRole", "Logs"): a_job_that_is_stopped("Train", "logs:CreateLogStream"),
    "ModelRole": going_on_from("Save model"),
    ("ModelRole", "LogGroups"): a_job_that_is_stopped("Save model", "logs:CreateLogGroup"),
    ("ModelRole", "Logs"): a_job_that_is_stopped("Save model", "logs:CreateLogStream"),
    "SealArtifactRole": asking_again("Seal preprocessor"),
    "QueryTrainingResultsRole": asking_again("Query training results"),
    "ReserveDeploymentRole": keeping_the_turn(asking_again("Reserve deployment")),
    ("ReserveDeploymentRole", "Versions"): keeping_the_turn(reserving_for_a_version),
    ("ReserveDeploymentRole", "Lists"): keeping_the_turn(reserving_for_an_earlier_run),
    ("ReserveDeploymentRole", "MadeBefore"): keeping_the_turn(going_back),
    ("ReserveDeploymentRole", "OtherRuns"): keeping_the_turn(meeting_another_run(asking_again("Reserve deployment"))),
    "RequestApprovalRole": asking_people,
    ("RequestApprovalRole", "Turn"): asking_with_the_turn,
    "AnswerApprovalRole": answering,
    ("AnswerApprovalRole", "Undelivered"): seen_by_the_operator(an_unkept_answer),
    "KeepHoursRole": looking_at_the_hours,
    ("KeepHoursRole", "Endpoint"): looking_at_what_is_there,
    ("KeepHoursRole", "Configuration"): a_mail_of_the_hours,
    ("KeepHoursRole", "Create"): a_mail_of_the_hours,
    ("KeepHoursRole", "Message"): not_waking,
    ("KeepHoursRole", "Said"): not_waking,
    ("KeepHoursRole", "Unscale"): letting_it_scale_no_more,
    ("KeepHoursRole", "ScalingAlarms"): letting_it_scale_no_more,
    "ScalingPolicy": letting_it_scale,
    ("KeepHoursRole", "OtherRuns"): keeping_the_turn(meeting_another_run(looking_at_the_hours)),
    ("KeepHoursRole", "Undelivered"): seen_by_the_operator(an_unkept_look),
    "BaselineRole": going_on_from("Create baselines"),
    ("BaselineRole", "LogGroup"): a_job_that_is_stopped("Create baselines", "logs:CreateLogGroup"),
    ("BaselineRole", "Logs"): a_job_that_is_stopped("Create baselines", "logs:CreateLogStream"),
    "CheckEndpointRole": asking_again("Check endpoint"),
    ("CheckEndpointRole", "Alarms"): going_on_from("Check endpoint"),
    ("CheckEndpointRole", "Configurations"): on_other_machines,
    ("CheckEndpointRole", "Unscale"): on_other_machines,
    ("CheckEndpointRole", "ScalingAlarms"): on_other_machines,
    "VerifyEndpointRole": asking_again("Verify endpoint"),
    "CleanUpRole": cleaning_up,
    "NotifyRunRole": an_untold_end,
    ("NotifyRunRole", "Expiry"): an_untold_end_of_a_run_with_sets,
    ("NotifyRunRole", "Manifest"): an_untold_end_of_many_files,
    ("NotifyRunRole", "Trials"): an_untold_end_of_a_search,
    ("NotifyRunRole", "Versions"): a_failure_after_registration,
    ("NotifyRunRole", "Readers"): seen_by_the_operator(a_run_that_cannot_be),
    ("NotifyRunRole", "Undelivered"): seen_by_the_operator(an_unkept_end),
    "PublishJobCodeRole": a_deployment,
    ("PublishJobCodeRole", "KeepHours"): other_hours,
    "TrainModelRole": a_run,
    ("TrainModelRole", TRUST): making_the_machine_of("Preprocess"),
    ("TrainModelRole", "JobEvents"): making_the_machine_of("Preprocess"),
    ("TrainModelRole", "ProcessingJobs"): going_on_from("Preprocess"),
    ("TrainModelRole", "Tags"): going_on_from("Preprocess"),
    ("TrainModelRole", "JobRoles"): going_on_from("Preprocess"),
    ("TrainModelRole", "TrainingJobs"): going_on_from("Train"),
    ("TrainModelRole", "TuningJobs"): tuning,
    ("QueryTrainingResultsRole", "Trials"): tuning,
    ("TrainModelRole", "Models"): going_on_from("Save model"),
    ("TrainModelRole", "TransformJobs"): going_on_from("Save model"),
    ("TrainModelRole", "Baselines"): asking_again("List baselines"),
    ("TrainModelRole", "Versions"): asking_again("Register model"),
    ("TrainModelRole", "EndpointConfigurations"): going_on_from("Create endpoint configuration"),
    ("TrainModelRole", "Endpoint"): going_on_from("Update endpoint"),
    ("TrainModelRole", "RollbackAlarms"): going_on_from("Check endpoint"),
    ("TrainModelRole", "FailedEndpoint"): going_on_from("Delete failed endpoint"),
    ("TrainModelRole", "ExportedNames"): asking_again("Export configuration"),
    "DataDropRole": a_drop,
    "RetrainScheduleRole": the_schedule(SCHEDULE),
    "RetrainAlarmsRole": an_alarm_that_retrains,
    "ImagePushedRole": an_image_that_is_pushed,
    "OwnImagesPolicy": a_run_in_an_image_of_its_own,
    "MonitorTriggerRole": the_schedule(MONITOR_SCHEDULE),
    "MonitorModelRole": going_on_from("Judge window"),
    ("MonitorModelRole", TRUST): making_the_machine_of("Judge window"),
    ("MonitorModelRole", "Functions"): a_window,
    ("MonitorModelRole", "JobEvents"): making_the_machine_of("Judge window"),
    ("MonitorModelRole", "LabelledRows"): adding_rows,
    ("MonitorModelRole", "NewData"): adding_rows,
    ("MonitorModelRole", "ObjectsKey"): adding_rows,
    ("MonitorModelRole", "StartTraining"): going_on_from("Start training"),
    "BatchTriggerRole": a_file_that_is_dropped,
    ("BatchTriggerRole", "StartScoring"): the_schedule(BATCH_SCHEDULE),
    "ScoreBatchRole": a_file,
    ("ScoreBatchRole", TRUST): making_the_machine_of("Check batch"),
    ("ScoreBatchRole", "JobEvents"): making_the_machine_of("Check batch"),
    ("ScoreBatchRole", "StartTraining"): training_by_drift,
    "ResolveBatchRole": a_file,
    ("ResolveBatchRole", "OtherBatches"): a_file_again,
    ("ResolveBatchRole", "StartScoring"): files_that_wait,
    "FinishBatchRole": going_on_from("Finish batch"),
    "NotifyBatchRole": telling_of_a_file,
    ("NotifyBatchRole", "UndeliveredEvents"): seen_by_the_operator(an_unkept_end_of_a_file),
    "BatchRole": going_on_from("Check batch"),
    ("BatchRole", "LogGroup"): a_job_that_is_stopped("Check batch", "logs:CreateLogGroup"),
    ("BatchRole", "Logs"): a_job_that_is_stopped("Check batch", "logs:CreateLogStream"),
    "ResolveWindowRole": a_window,
    "ProbeEndpointRole": going_on_from("Probe endpoint"),
    "DecideRetrainingRole": deciding,
    ("DecideRetrainingRole", "RowsBefore"): judging_again,
    "NotifyWindowRole": telling,
    ("NotifyWindowRole", "UndeliveredEvents"): seen_by_the_operator(an_unkept_end_of_a_window),
    "MonitorRole": going_on_from("Judge window"),
    ("MonitorRole", "LogGroup"): a_job_that_is_stopped("Judge window", "logs:CreateLogGroup"),
    ("MonitorRole", "Logs"): a_job_that_is_stopped("Judge window", "logs:CreateLogStream"),
    "JobBasicsPolicy": going_on_from("Preprocess"),
    ("JobBasicsPolicy", "Metrics"): a_job_that_is_stopped("Train", "cloudwatch:PutMetricData"),
    "FunctionBasicsPolicy": seen_by_the_operator(a_run_that_cannot_be),
    ("DataScientistPolicy", "DropData"): a_person(put_as),
    ("DataScientistPolicy", "TakeDataAway"): a_person(
        lambda ask, it: ask("s3").delete_object(Bucket=it.app.bucket, Key="raw/theirs.csv")
    ),
    ("DataScientistPolicy", "Key"): a_person(put_as),
    ("DataScientistPolicy", "ListDataAndRuns"): a_person(
        lambda ask, it: ask("s3").list_objects_v2(Bucket=it.app.bucket, Prefix="runs/")
    ),
    ("DataScientistPolicy", "ReadResults"): a_person(
        lambda ask, it: ask("s3").get_object(Bucket=it.app.bucket, Key=f"runs/{it.run.run_id}/config.json")
    ),
    ("DataScientistPolicy", "FindStack"): a_person(
        lambda ask, it: ask("cloudformation").describe_stacks(StackName=STACK)
    ),
    ("DataScientistPolicy", "ReadCode"): a_person(
        lambda ask, it: ask("s3").get_object(Bucket=it.app.bucket, Key=f"{code_of(it)}/code.zip")
    ),
    ("DataScientistPolicy", "AskModel"): a_person(
        lambda ask, it: ask("sagemaker-runtime").invoke_endpoint(EndpointName=STACK, Body=b"1")
    ),
    ("DataScientistPolicy", "ListVersions"): a_person(
        lambda ask, it: ask("sagemaker").list_model_packages(ModelPackageGroupName=STACK)
    ),
    ("DataScientistPolicy", "ReadVersions"): a_person(
        lambda ask, it: ask("sagemaker").describe_model_package(ModelPackageName=it.run.output["ModelPackage"])
    ),
    ("DataScientistPolicy", "StartRuns"): a_person(start_as),
    ("DataScientistPolicy", "WatchRuns"): a_person(
        lambda ask, it: ask("stepfunctions").describe_execution(executionArn=it.run.execution_arn)
    ),
    ("DataScientistPolicy", "ReadRuns"): a_person(
        lambda ask, it: ask("stepfunctions").get_execution_history(executionArn=it.run.execution_arn)
    ),
    ("DataScientistPolicy", "ReadNames"): a_person(lambda ask, it: ask("ssm").get_parameter(Name=f"/{STACK}/model")),
    ("JobLogsPolicy", "FindJobLogs"): a_person(lambda ask, it: ask("logs").describe_log_streams(**LOGS)),
    ("JobLogsPolicy", "ReadJobLogs"): a_person(
        lambda ask, it: ask("logs").get_log_events(**LOGS, logStreamName=f"{it.run.output['Model']}-train-0/x")
    ),
    "AnswerRequestRole": by_a_new_worker("answer-request", a_request),
    ("AnswerRequestRole", TRUST): a_request,
    "ApiCallerPolicy": a_call,
    ("AnswerRequestPermission", "Only"): seen_by_the_operator(a_call),
    ("Key", "AccountUses"): a_run,
    ("Key", "AlarmsPublish"): seen_by_the_operator(an_alarm),
    ("AlertTopicPolicy", "AlarmsPublish"): seen_by_the_operator(an_alarm),
    ("UndeliveredEventsPolicy", "RulesSend"): seen_by_the_operator(an_undelivered_drop),
    ("ModelApproverPolicy", "FindStack"): approving(
        lambda ask, it: ask("cloudformation").describe_stacks(StackName=STACK)
    ),
    ("ModelApproverPolicy", "ListVersions"): approving(
        lambda ask, it: ask("sagemaker").list_model_packages(ModelPackageGroupName=STACK)
    ),
    ("ModelApproverPolicy", "Answer"): approving(
        lambda ask, it: ask("sagemaker").describe_model_package(ModelPackageName=it.run.output["ModelPackage"])
    ),
    ("ModelApproverPolicy", "ReadNames"): approving(
        lambda ask, it: ask("ssm").get_parameter(Name=f"/{STACK}/model-package")
    ),
    ("ModelApproverPolicy", "ListRuns"): approving(
        lambda ask, deployed: ask("s3").list_objects_v2(Bucket=deployed.app.bucket, Prefix="runs/")
    ),
    ("ModelApproverPolicy", "ReadReports"): approving(read_report_as),
    ("ModelApproverPolicy", "Key"): approving(read_report_as),
    **{("OperatorPolicy", sid): looking(sid) for sid in LOOKS},
    ("OperatorLogsPolicy", "Logs"): looking_at_logs,
    **{("InterventionPolicy", sid): mending(sid) for sid in MENDS},
    ("RunEndedPermission", "Only"): its_end,
    ("DeploymentEndedPermission", "Only"): its_end,
    ("VersionAnsweredPermission", "Only"): an_answer,
    ("HoursPermission", "Only"): the_schedule(HOURS),
    ("HoursRunEndedPermission", "Only"): by_the_rule(f"{HOURS}-run-ended", its_end),
    ("HoursEndpointPermission", "Only"): by_the_rule(f"{HOURS}-endpoint", an_endpoint_that_comes_into_service),
    ("WindowEndedPermission", "Only"): the_end_of_a_window,
    ("BatchEndedPermission", "Only"): the_end_of_a_file,
}
FUNCTIONS = {
    "ResolveConfigurationRole": "resolve-configuration", "SnapshotDataRole": "snapshot-data",
    "SealArtifactRole": "seal-artifact",
    "QueryTrainingResultsRole": "query-training-results", "ReserveDeploymentRole": "reserve-deployment",
    "RequestApprovalRole": "request-approval", "AnswerApprovalRole": "answer-approval",
    "CheckEndpointRole": "check-endpoint", "VerifyEndpointRole": "verify-endpoint", "CleanUpRole": "clean-up",
    "NotifyRunRole": "notify-run", "PublishJobCodeRole": "publish-job-code",
    "ResolveWindowRole": "resolve-window", "ProbeEndpointRole": "probe-endpoint",
    "DecideRetrainingRole": "decide-retraining",
    "NotifyWindowRole": "notify-window", "ResolveBatchRole": "resolve-batch", "FinishBatchRole": "finish-batch",
    "NotifyBatchRole": "notify-batch", "AnswerRequestRole": "answer-request", "KeepHoursRole": "keep-hours",
}  # fmt: skip
# What is said when a service may not assume a role.
UNTRUSTED = (
    "The role defined for the function cannot be assumed by Lambda",
    "nor the regional one is authorized to assume the provided role",
    "EventBridge is not able to assume role",
    "Could not assume role",
)
# Where AWS does not name the action.
UNNAMED = {
    ("ModelRole", "Reads"): 'Also ensure that the role has "s3:GetObject" permissions',
    ("ResolveConfigurationRole", "Checksums"): "(403) when calling the HeadObject operation: Forbidden",
    ("ResolveBatchRole", "Incoming"): "(403) when calling the HeadObject operation: Forbidden",
    ("TrainModelRole", "JobEvents"): "is not authorized to create managed-rule",
    ("MonitorModelRole", "JobEvents"): "is not authorized to create managed-rule",
    ("ScoreBatchRole", "JobEvents"): "is not authorized to create managed-rule",
}


def _exercised() -> dict[tuple[str, str], set[str]]:
    """Each statement of the template with those of its actions that the laptop exercises."""
    found: dict[tuple[str, str], set[str]] = {}
    documented = policy_replay.documented()
    for part in policy_replay.template_parts():
        if part not in documented and part.sid not in policy_replay.REFUSALS:
            found.setdefault((part.policy, part.sid), set()).add(part.action)
    return found


EXERCISED = _exercised()


def _act(policy: str, sid: str) -> Act:
    act = ACTS.get((policy, sid)) or ACTS[policy]
    return by_a_new_worker(FUNCTIONS[policy], act) if sid == TRUST and policy in FUNCTIONS else act


@pytest.mark.parametrize(("policy", "sid"), EXERCISED)
def test_what_needs_a_statement_fails_without_it(deployed: Deployed, policy: str, sid: str) -> None:
    with deployed.without(policy, sid):
        told = _act(policy, sid)(deployed)
    if sid == TRUST:
        assert any(text in told for text in UNTRUSTED), told
    elif (policy, sid) in UNNAMED:
        assert UNNAMED[policy, sid] in told
    else:
        refused = re.findall(r"is not authorized to perform: (\S+) on resource: ", told)
        assert {action.replace("SNS:", "sns:") for action in refused} & EXERCISED[policy, sid], told


KEYS = "dynamodb:LeadingKeys"
PASSED, SERVICE = "iam:PassedToService", "sagemaker.amazonaws.com"
CONDITIONS = [
    pytest.param("TrainModelRole", PASSED, SERVICE, going_on_from("Preprocess"), "iam:PassRole", id="role of a run"),
    pytest.param("IngestRole", PASSED, SERVICE, ingesting, "iam:PassRole", id="role of a group"),
    pytest.param("MonitorModelRole", PASSED, SERVICE, going_on_from("Judge window"), "iam:PassRole", id="of a window"),
    pytest.param("ScoreBatchRole", PASSED, SERVICE, going_on_from("Check batch"), "iam:PassRole", id="of a file"),
    pytest.param("NotifyWindowRole", "events:source", "perennial", telling, "events:PutEvents", id="source"),
    pytest.param(
        "NotifyWindowRole", "events:detail-type", "Perennial Window Judged", telling, "events:PutEvents", id="type"
    ),
    pytest.param("KeepHoursRole", KEYS, "said#not-awake#*", not_waking, "dynamodb:PutItem", id="what was said"),
    pytest.param("RequestApprovalRole", KEYS, "approval#*", asking_people, "dynamodb:UpdateItem", id="token"),
    pytest.param("RequestApprovalRole", KEYS, "deployment", asking_with_the_turn, "dynamodb:PutItem", id="turn"),
]


@pytest.mark.parametrize(("role", "key", "value", "act", "action"), CONDITIONS)
def test_a_condition_with_another_value_allows_nothing(
    deployed: Deployed, policies: list[Policy], role: str, key: str, value: str, act: Act, action: str
) -> None:
    policy = next(each for each in policies if each.name == role and each.roles)
    text, condition = json.dumps(policy.document), json.dumps({key: value})[1:-1]
    assert text.count(condition) == 1
    with policy.replaced(json.loads(text.replace(condition, json.dumps({key: f"other {value}"})[1:-1]))):
        told = act(deployed)
    assert f"is not authorized to perform: {action} on resource: arn:aws:" in told


def test_with_all_statements_everything_works(deployed: Deployed) -> None:
    """Cars as they are sold years later, on which what serves is clearly worse."""
    run = deployed.app.drop("raw/later.csv", b"".join(synthetic.batches(3000, seed=1, years=8)))
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert deployed.app.parameters()["run"] == run.run_id
