"""Every role of the stack has what it needs and nothing more: real runs, and what each statement was good for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from perennial.registry.approval import APPROVED, PENDING, REJECTED
from perennial.runs.naming import is_labelled_key, run_id
from tests.command import perennial
from tests.e2e.api import Answer, Api
from tests.e2e.conftest import App, Run, dropped_version, worthless_cars
from tests.e2e.ingestion import offline, to_ingest
from tests.e2e.matrix import situation
from tests.e2e.permissions import policy_replay
from tests.e2e.permissions.conftest import (
    ALARM,
    APPROVER,
    BATCH,
    CAR,
    LOOKS,
    MENDS,
    MONITOR,
    PAST,
    SCHEDULE,
    SCIENTIST,
    STACK,
    Ask,
    Without,
    a_search_that_fails,
    ask_people,
    ask_with_the_turn,
    change_hours,
    find_drift,
    give_no_rows,
    go_back_to_what_was_made_before,
    keep_hours,
    look_at_logs,
    look_at_other_machines,
    no_machines,
    push_image,
    raise_alarm,
    score,
    seemingly_gone,
    sleep_and_wake,
    sound_file,
    tell_of_an_execution_that_is_gone,
    tell_of_nothing,
    tuned,
    watch,
)
from tests.e2e.resumed import Resumable
from tests.waiting import wait_for
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-roles")


@pytest.fixture(scope="module")
def undelivered(app: App, without: Without) -> dict[str, Any]:
    """What becomes of a drop while the rule's role may not start the state machine: the letter."""
    with without("DataDropRole", "StartTraining"):
        app.client("s3").put_object(Bucket=app.bucket, Key="raw/cars.csv", Body=demo_data.used_cars())
        return dict(wait_for(lambda: situation.letters(app), "a letter")[0])


def test_drop_that_may_not_start_a_run_is_kept_with_the_reason(app: App, undelivered: dict[str, Any]) -> None:
    attributes = {name: value["StringValue"] for name, value in undelivered["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert (
        "is not authorized to perform: states:StartExecution on resource: arn:aws:states:"
        in (attributes["ERROR_MESSAGE"])
    )
    assert json.loads(undelivered["Body"])["detail"]["object"]["key"] == "raw/cars.csv"


def test_alarm_of_the_undelivered_event_reaches_people(app: App, undelivered: dict[str, Any]) -> None:
    (mail,) = wait_for(lambda: situation.alarms(app), "the alarm's mail")
    assert f"in the queue {STACK}-UndeliveredEvents-" in mail.body


REFUSED = [
    pytest.param("SnapshotDataRole", "Copies", "Snapshot data", "s3:PutObject", id="a function"),
    pytest.param("PreprocessRole", "Writes", "Preprocess", "s3:PutObject", id="a job"),
    pytest.param("TrainModelRole", "TrainingJobs", "Train", "sagemaker:CreateTrainingJob", id="a task"),
]


@pytest.mark.parametrize(("role", "sid", "state", "action"), REFUSED)
def test_run_without_a_statement_fails_with_the_words_of_aws_in_its_mail(
    app: App, without: Without, undelivered: dict[str, Any], role: str, sid: str, state: str, action: str
) -> None:
    with without(role, sid):
        run = app.start()
    assert run.status == "FAILED"
    body = app.mails(run)[0].body
    assert f"in state '{state}'" in body
    assert f"is not authorized to perform: {action} on resource:" in body
    assert "permission" in body.partition("What to do")[2]
    assert f"because no identity-based policy allows the {action} action" in str(run.cause)


@pytest.fixture(scope="module")
def caught(app: App, many: str, undelivered: dict[str, Any]) -> Run:
    """The clock's run on the drop whose event was lost. It meets an endpoint whose creation has failed."""
    if endpoints := app.client("sagemaker").list_endpoints(NameContains=STACK)["Endpoints"]:
        app.client("sagemaker").delete_endpoint(EndpointName=endpoints[0]["EndpointName"])
    assert "data_prefix" in app.start(DataPrefix=many).output["Withheld"]
    with app.faults.injected("endpoint", "creation-fails"):
        assert app.start().status == "FAILED"
    return started_by_the_clock(app)


@pytest.fixture(scope="module")
def updated(app: App, scientist: Ask, caught: Run) -> Run:
    """The run of a data scientist's drop; it updates the endpoint."""
    put = scientist("s3").put_object(Bucket=app.bucket, Key="raw/more.csv", Body=demo_data.new_listings(3000, seed=2))
    return app.wait(lambda given: dropped_version(given) == put["VersionId"])


@pytest.fixture(scope="module")
def idle(app: App, scientist: Ask, updated: Run) -> Run:
    """What the clock starts while the data are those of the run before; here a data scientist is the clock."""
    given = {"Trigger": {"Type": "Schedule", "Id": "the next minute"}}
    machine = app.outputs["StateMachineArn"]
    scientist("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(given))
    return app.wait(given.__eq__)


def started_by_the_clock(app: App) -> Run:
    """Let the clock go on until it has started a run, and wait until that has ended."""
    events, since = app.client("events"), datetime.now(UTC).isoformat(timespec="seconds")

    def is_due(given: dict[str, Any]) -> bool:
        trigger = given.get("Trigger", {})
        return trigger.get("Type") == "Schedule" and trigger["Time"] >= since

    events.enable_rule(Name=SCHEDULE)
    try:
        return app.wait(is_due)
    finally:
        events.disable_rule(Name=SCHEDULE)


def test_schedule_trains_on_the_drop_whose_event_was_lost(app: App, caught: Run) -> None:
    assert (caught.status, caught.cause) == ("SUCCEEDED", None)
    record = app.record(caught)
    assert record["input"]["Trigger"]["Type"] == "Schedule"
    assert [file["Key"] for file in record["data"]["files"]] == ["raw/cars.csv"]


def test_schedule_leaves_alone_what_was_trained_on(app: App, updated: Run, idle: Run) -> None:
    assert (updated.status, updated.cause) == ("SUCCEEDED", None)
    assert (idle.status, idle.output["Decision"]) == ("SUCCEEDED", "AlreadyTrained")
    assert app.mails(idle, expected=0) == []


@pytest.fixture(scope="module")
def results(app: App, scientist: Ask, updated: Run) -> dict[str, bytes]:
    """What a data scientist reads of a run: its files below the run's prefix, and the lines of its training job."""
    app.record(updated)  # it is the last that is written
    s3, logs = scientist("s3"), scientist("logs")
    upload = s3.create_multipart_upload(Bucket=app.bucket, Key="raw/given-up.csv")
    s3.abort_multipart_upload(Bucket=app.bucket, Key="raw/given-up.csv", UploadId=upload["UploadId"])
    s3.delete_object(Bucket=app.bucket, Key="raw/dropped by mistake.csv")
    prefix = f"runs/{updated.run_id}/"
    listed = s3.list_objects_v2(Bucket=app.bucket, Prefix=prefix)["Contents"]
    keys = [item["Key"].removeprefix(prefix) for item in listed]
    found = {key: s3.get_object(Bucket=app.bucket, Key=prefix + key)["Body"].read() for key in keys if is_result(key)}
    group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
    job = f"{STACK}-{updated.run_id}-train"
    (stream,) = logs.describe_log_streams(**group, logStreamNamePrefix=job)["logStreams"]
    lines = logs.get_log_events(**group, logStreamName=stream["logStreamName"])["events"]
    return {**found, "log": "\n".join(line["message"] for line in lines).encode()}


def is_result(key: str) -> bool:
    """Whether a run's file, named below its prefix, is for data scientists."""
    return "/" not in key or key.split("/")[0] in ("baselines", "evaluation", "predictions", "quarantine", "report")


def test_data_scientist_reads_what_became_of_a_drop(updated: Run, results: dict[str, bytes]) -> None:
    assert json.loads(results["report/report.json"])["rows"]["used"] > 1000
    assert json.loads(results["evaluation/evaluation.json"])["gate"]["accepted"] is True
    assert json.loads(results["run.json"])["run_id"] == updated.run_id
    wanted = {"config.json", "manifest.json", "report.html", "baselines/data-quality/statistics.json"}
    assert {*wanted, "predictions/candidate/part-00000.jsonl.out"} <= set(results)
    assert b"rmse" in results["log"]


@pytest.fixture(scope="module")
def seen(app: App, scientist: Ask, updated: Run, idle: Run) -> dict[str, str]:
    """What a data scientist sees of the executions and of the names in Parameter Store."""
    states, ssm, machine = scientist("stepfunctions"), scientist("ssm"), app.outputs["StateMachineArn"]
    arns = [item["executionArn"] for item in states.list_executions(stateMachineArn=machine)["executions"]]
    assert {updated.execution_arn, idle.execution_arn} <= set(arns)
    assert states.describe_execution(executionArn=idle.execution_arn)["status"] == idle.status
    history = states.get_execution_history(executionArn=updated.execution_arn)["events"]
    entered = [event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event]
    flow = json.loads(states.describe_state_machine_for_execution(executionArn=idle.execution_arn)["definition"])
    assert flow["StartAt"] == entered[0]
    (model,) = ssm.get_parameters(Names=[f"/{STACK}/model"])["Parameters"]
    assert ssm.get_parameter(Name=f"/{STACK}/run")["Parameter"]["Value"] in model["Value"]
    registry, newest = scientist("sagemaker"), {"SortBy": "CreationTime", "SortOrder": "Descending"}
    version = registry.list_model_packages(ModelPackageGroupName=STACK, **newest)["ModelPackageSummaryList"][0]
    registry.describe_model_package(ModelPackageName=version["ModelPackageArn"])
    return {"first state": entered[0], "model": model["Value"]}


@pytest.fixture(scope="module")
def asked(scientist: Ask, updated: Run) -> float:
    """What a data scientist gets of the endpoint, who finds its name and the definition as the command does."""
    (described,) = scientist("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described["Outputs"]}
    key = outputs["CodeUri"].removeprefix(f"s3://{outputs['BucketName']}/")
    assert scientist("s3").get_object(Bucket=outputs["BucketName"], Key=f"{key}/code.zip")["Body"].read(2) == b"PK"
    reply = scientist("sagemaker-runtime").invoke_endpoint(
        EndpointName=outputs["EndpointName"],
        ContentType="text/csv",
        Accept="application/jsonlines",
        Body=b"12000,8,2,true,true,true,Cadillac,convertible",
    )
    return float(json.loads(reply["Body"].read())["score"])


def test_data_scientist_asks_the_model_in_service(asked: float) -> None:
    assert asked > 0


@pytest.fixture(scope="module")
def called(caller: Api, updated: Run) -> tuple[Answer, Answer]:
    """What a caller of the API gets who has the policy for it: a price, and what the API is."""
    return caller.post(CAR), caller.get()


def test_caller_with_the_policy_is_answered_and_others_are_not(
    app: App, scientist: Ask, called: tuple[Answer, Answer]
) -> None:
    assert [answer.status for answer in called] == [200, 200]
    assert called[0].document["predictions"][0]["score"] > 0
    theirs = scientist("sts")._request_signer._credentials.get_frozen_credentials()
    strangers = {
        "MISSING_AUTHENTICATION_TOKEN": Api.of(app),
        "INVALID_SIGNATURE": Api.of(app, Credentials(theirs.access_key, "x" * 40, theirs.token)),
        "ACCESS_DENIED": Api.of(app, Credentials(*theirs)),
    }
    for title, stranger in strangers.items():
        answer = stranger.post(CAR)
        assert (answer.status, answer.document["title"]) == (403, title)
    assert "is not authorized to perform: execute-api:Invoke on resource:" in answer.document["detail"]


def test_data_scientist_follows_runs_and_sees_what_serves(updated: Run, seen: dict[str, str]) -> None:
    assert seen["first state"] == "Quiet period"
    assert seen["model"] == f"{STACK}-{updated.run_id}"


@pytest.fixture(scope="module")
def window(app: App, scientist: Ask, updated: Run, idle: Run) -> Run:
    """What a data scientist has judged: the requests since the last model answers, with their own labels."""
    label = b"inference_id,label\nlisting-1,17250\n"
    scientist("s3").put_object(Bucket=app.bucket, Key="ground-truth/sold.csv", Body=label)
    theirs = scientist("sts")._request_signer._credentials.get_frozen_credentials()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boto3.DEFAULT_SESSION", boto3.Session(*theirs))
        ended = perennial("monitor", "--stack", STACK)
    assert (ended.exit_code, "NotEnoughData" in ended.stdout) == (0, True), ended.stderr
    newest = app.client("stepfunctions").list_executions(stateMachineArn=app.outputs[MONITOR])["executions"][0]
    return wait_for(lambda: Run.ended(str(newest["executionArn"])), "the end of the window", 1)


def test_data_scientist_has_a_window_judged_and_reads_its_verdict(app: App, scientist: Ask, window: Run) -> None:
    assert (window.status, window.output.get("Verdict")) == ("SUCCEEDED", "NotEnoughData")
    key = f"monitoring/{window.output['WindowId']}/verdict.json"
    verdict = json.loads(scientist("s3").get_object(Bucket=app.bucket, Key=key)["Body"].read())
    assert (verdict["verdict"], verdict["ground_truth"]["unmatched"]) == ("NotEnoughData", 1)
    (mail,) = app.mails(window)
    assert mail.subject.startswith("Not enough data to judge")


@pytest.fixture(scope="module")
def scored(app: App, scientist: Ask, updated: Run) -> Run:
    """What a data scientist has scored."""
    return score(app, scientist)


def test_data_scientist_has_a_file_scored_and_reads_the_predictions(app: App, scientist: Ask, scored: Run) -> None:
    assert (scored.status, scored.output.get("Rows")) == ("SUCCEEDED", 20)
    for uri in (scored.output["Scored"], scored.output["Report"], scored.output["Done"]):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        assert scientist("s3").get_object(Bucket=bucket, Key=key)["Body"].read()


@dataclass(frozen=True)
class Attack:
    """What a data scientist tries to put into service, by what each run asks for; and what serves before and after."""

    runs: dict[str, Run]
    served: list[dict[str, Any]]


@pytest.fixture(scope="module")
def attack(app: App, scientist: Ask, updated: Run, idle: Run) -> Attack:
    """Rows of their own, which make a model that answers 1.54 dollars, and runs whose input asks for it."""
    key, before, machine = "raw/mine/cars.csv", app.in_service(), app.outputs["StateMachineArn"]
    put = scientist("s3").put_object(Bucket=app.bucket, Key=key, Body=worthless_cars())
    dropped = {"key": key, "version-id": put["VersionId"]}
    runs = {"the drop": app.wait(lambda given: dropped_version(given) == put["VersionId"] and "Overrides" not in given)}
    machines = {"Train": {"InstanceType": "ml.p3.2xlarge"}, "Endpoint": {"InitialInstanceCount": 100}}

    def ask(name: str, **given: Any) -> None:
        wanted = {"Trigger": {"Type": "DataDrop", "By": "the clock", "Object": dropped}, **given}
        scientist("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(wanted))
        runs[name] = app.wait(wanted.__eq__)

    ask("other data", Overrides={"DataPrefix": "raw/mine/"})
    ask("the same again", Replay=runs["other data"].run_id)
    ask("machines", Overrides={"DataPrefix": "raw/mine/", "Instances": machines})
    ask("a lower bar", Overrides={"GateThreshold": 500_000})
    scientist("s3").delete_object(Bucket=app.bucket, Key=key)
    return Attack(runs, [before, app.in_service()])


ATTACKS = {
    "the drop": ("FAILED", "ModelAccuracyTooLow", ""),
    "other data": ("SUCCEEDED", None, "its input decides data_prefix,"),
    "the same again": ("SUCCEEDED", None, "its input decides data_prefix, replay,"),
    "machines": (
        "FAILED",
        "ConfigurationError",
        "Instances.Train.InstanceType: got 'ml.p3.2xlarge'; allowed: ml.m5.2xlarge",
    ),
    "a lower bar": ("FAILED", "ModelAccuracyTooLow", ""),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_data_scientist_puts_nothing_into_service_by_what_an_input_says(app: App, attack: Attack, name: str) -> None:
    run, (status, error, says) = attack.runs[name], ATTACKS[name]
    assert (run.status, run.error) == (status, error)
    assert says in run.output.get("Withheld", "") + str(run.cause)
    assert attack.served[0] == attack.served[1]


def test_mail_says_what_an_input_says_as_what_it_says(app: App, attack: Attack) -> None:
    (mail,) = app.mails(attack.runs["other data"])
    assert "Input says    DataDrop (raw/mine/cars.csv); who started it: CloudTrail, event StartExecution" in mail.body


def version(app: App, key: str) -> str:
    return str(app.client("s3").head_object(Bucket=app.bucket, Key=key)["VersionId"])


FORBIDDEN: list[tuple[str, Callable[[Ask, App, Run], Any]]] = [
    (
        "sagemaker:UpdateEndpoint",
        lambda ask, app, run: ask("sagemaker").update_endpoint(EndpointName=STACK, EndpointConfigName=f"{STACK}-x"),
    ),
    ("sagemaker:DeleteEndpoint", lambda ask, app, run: ask("sagemaker").delete_endpoint(EndpointName=STACK)),
    (
        "sagemaker:UpdateModelPackage",
        lambda ask, app, run: ask("sagemaker").update_model_package(
            ModelPackageArn=app.parameters()["model-package"], ModelApprovalStatus="Approved"
        ),
    ),
    (
        "sagemaker:CreateModel",
        lambda ask, app, run: ask("sagemaker").create_model(
            ModelName=f"{STACK}-x", ExecutionRoleArn=role_arn(app, "ModelRole")
        ),
    ),
    (
        "ssm:PutParameter",
        lambda ask, app, run: ask("ssm").put_parameter(Name=f"/{STACK}/model", Value="x", Overwrite=True),
    ),
    (
        "states:SendTaskSuccess",  # of a run that waits for its approval: the token stands in its history
        lambda ask, app, run: ask("stepfunctions").send_task_success(taskToken="x" * 40, output="{}"),
    ),
    ("s3:PutObject", lambda ask, app, run: ask("s3").put_object(Bucket=app.bucket, Key="code/x.py")),
    (
        "s3:PutObject",
        lambda ask, app, run: ask("s3").put_object(Bucket=app.bucket, Key=f"monitoring/{run.run_id}/verdict.json"),
    ),
    ("s3:PutObject", lambda ask, app, run: ask("s3").put_object(Bucket=app.bucket, Key=f"runs/{run.run_id}/run.json")),
    (
        "s3:DeleteObject",
        lambda ask, app, run: ask("s3").delete_object(Bucket=app.bucket, Key=f"runs/{run.run_id}/run.json"),
    ),
    (
        "s3:DeleteObjectVersion",
        lambda ask, app, run: ask("s3").delete_object(
            Bucket=app.bucket, Key="raw/more.csv", VersionId=version(app, "raw/more.csv")
        ),
    ),
    (
        "s3:GetObject",
        lambda ask, app, run: ask("s3").get_object(
            Bucket=app.bucket, Key=f"runs/{run.run_id}/preprocessor/model.tar.gz"
        ),
    ),
    ("s3:GetObject", lambda ask, app, run: ask("s3").get_object(Bucket=app.bucket, Key="raw/cars.csv")),
    (
        "logs:GetLogEvents",  # of a stack whose name goes on from this one's
        lambda ask, app, run: ask("logs").get_log_events(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=f"{STACK}-eu-{run.run_id}-train-0/algo-1-1"
        ),
    ),
    (
        "kms:GenerateDataKey",
        lambda ask, app, run: ask("kms").generate_data_key(KeyId=f"alias/{STACK}", KeySpec="AES_256"),
    ),
    (
        "states:StopExecution",
        lambda ask, app, run: ask("stepfunctions").stop_execution(executionArn=run.execution_arn),
    ),
]


@pytest.mark.parametrize(("action", "attempt"), FORBIDDEN)
def test_data_scientist_cannot_change_what_serves_nor_read_models(
    app: App, scientist: Ask, updated: Run, action: str, attempt: Callable[[Ask, App, Run], Any]
) -> None:
    before = app.in_service()
    with pytest.raises(ClientError) as refused:
        attempt(scientist, app, updated)
    error = refused.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException")
    assert f"assumed-role/{SCIENTIST}/ada is not authorized to perform: {action} on resource:" in error["Message"]
    assert error["Message"].endswith(f"because no identity-based policy allows the {action} action")
    assert app.in_service() == before


OTHER_KEYS = [
    pytest.param({"ServerSideEncryption": "AES256"}, id="of S3"),
    pytest.param({"ServerSideEncryption": "aws:kms"}, id="S3's own of KMS"),
    pytest.param(
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": f"arn:aws:kms:us-east-1:1:key/{'0' * 8}"}, id="KMS"
    ),
    pytest.param({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, id="the caller's"),
]


@pytest.mark.parametrize("encryption", OTHER_KEYS)
def test_data_under_another_key_are_refused(app: App, scientist: Ask, encryption: dict[str, str]) -> None:
    with pytest.raises(ClientError) as refused:
        scientist("s3").put_object(Bucket=app.bucket, Key="raw/kept-from-you.csv", Body=b"", **encryption)
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDenied"
    assert error["Message"].endswith("with an explicit deny in a resource-based policy")


@pytest.fixture(scope="module")
def looked(app: App, operator: Ask, updated: Run) -> dict[str, Any]:
    """What an operator sees; a run that has ended is stopped in vain."""
    found = {name: look(operator, app, updated) for name, look in LOOKS.items()}
    found["Logs"] = look_at_logs(operator, app)
    operator("stepfunctions").describe_state_machine_for_execution(executionArn=updated.execution_arn)
    with pytest.raises(ClientError, match="not running"):
        operator("stepfunctions").stop_execution(executionArn=updated.execution_arn)
    operator("ssm").get_parameters(Names=[f"/{STACK}/run"])
    queue = app.outputs["UndeliveredEventsUrl"]
    operator("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    return found


def test_operator_sees_how_runs_end_and_what_serves_and_rings(updated: Run, looked: dict[str, Any]) -> None:
    assert json.loads(looked["ReadRecords"]["Body"].read())["run_id"] == updated.run_id
    assert looked["WatchAndStopRuns"]["status"] == "SUCCEEDED"
    assert looked["Describe"]["EndpointStatus"] == "InService"
    assert [version["IsLatest"] for version in looked["ListVersionsOfArtefacts"]["Versions"]] == [True]
    assert [alarm["AlarmName"] for alarm in looked["Alarms"]["MetricAlarms"]] == [f"{STACK}-failed-runs"]
    assert looked["Logs"]["events"]
    assert looked["Undelivered"]["Messages"]


@pytest.mark.parametrize(
    "words", ["runs", "show latest", "versions", "compare latest 1", "explain", "cost", "cost latest", "follow {run}"]
)
def test_operator_looks_with_the_command(
    operator: Ask, updated: Run, looked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    theirs = operator("sts")._request_signer._credentials.get_frozen_credentials()
    monkeypatch.setattr("boto3.DEFAULT_SESSION", boto3.Session(*theirs))
    ended = perennial(*words.format(run=updated.run_id).split(), "--stack", STACK)
    assert (ended.exit_code, "AccessDenied" in ended.stderr) == (0, False), ended.stderr


@pytest.fixture(scope="module")
def mended(app: App, mender: Ask, updated: Run) -> Ask:
    """Somebody who has done once what is done where something is wrong."""
    for mend in MENDS.values():
        mend(mender, app)
    car = b"12000,8,2,true,true,true,Cadillac,convertible"
    mender("sagemaker-runtime").invoke_endpoint(EndpointName=STACK, ContentType="text/csv", Body=car)
    return mender


def test_who_mends_what_is_wrong_reads_no_model_and_deletes_nothing_for_good(
    app: App, mended: Ask, updated: Run
) -> None:
    (version,) = mended("s3").list_object_versions(
        Bucket=app.bucket, Prefix=f"runs/{updated.run_id}/serving/model.tar.gz"
    )["Versions"]
    named = {"Bucket": app.bucket, "Key": version["Key"]}
    for action, ask in (
        ("s3:GetObject", lambda: mended("s3").get_object(**named)),
        ("s3:DeleteObject", lambda: mended("s3").delete_object(**named)),
        ("s3:DeleteObjectVersion", lambda: mended("s3").delete_object(**named, VersionId=version["VersionId"])),
    ):
        with pytest.raises(ClientError, match=f"is not authorized to perform: {action} on"):
            ask()


LOOKED_AT: dict[str, Callable[[Ask, App, Run], Any]] = {
    "s3:GetObject": lambda ask, app, run: ask("s3").get_object(
        Bucket=app.bucket, Key=f"runs/{run.run_id}/serving/model.tar.gz"
    ),
    "states:StartExecution": lambda ask, app, run: ask("stepfunctions").start_execution(
        stateMachineArn=app.outputs["StateMachineArn"], input="{}"
    ),
    "sagemaker:UpdateModelPackage": lambda ask, app, run: ask("sagemaker").update_model_package(
        ModelPackageArn=run.output["ModelPackage"], ModelApprovalStatus=REJECTED
    ),
    "sagemaker:InvokeEndpoint": lambda ask, app, run: ask("sagemaker-runtime").invoke_endpoint(
        EndpointName=STACK, Body=b"1"
    ),
}


@pytest.mark.parametrize("action", LOOKED_AT)
def test_who_only_has_the_policy_of_operators_changes_nothing_and_reads_no_model(
    app: App, operator: Ask, updated: Run, action: str
) -> None:
    with pytest.raises(ClientError, match=f"is not authorized to perform: {action}"):
        LOOKED_AT[action](operator, app, updated)


@pytest.fixture(scope="module")
def exercised(
    app: App,
    approver: Ask,
    caller: Api,
    caught: Run,
    updated: Run,
    idle: Run,
    results: dict[str, bytes],
    seen: dict[str, str],
    asked: float,
    called: tuple[Answer, Answer],
    attack: Attack,
    window: Run,
    scored: Run,
    looked: dict[str, Any],
    mended: Ask,
) -> list[policy_replay.Request]:
    """What the roles of the stack were allowed while everything that they are for happened once."""
    ask_about_newer_rows(app, window)
    sleep_and_wake(app, caller)
    with no_machines(app):
        keep_hours(app)
    assert change_hours(app)["Status"] == "SUCCESS"
    assert json.loads(look_at_other_machines(app))["Action"] == "Update"
    assert scales(app) == [], "it would be refused what it is to be updated to"
    keep_hours(app)
    assert scales(app) == [(1, 4)]
    tell_of_a_drop_that_is_gone(app)
    for job in ("preprocess", "train", "predict"):
        stop_during(app, job, updated)
    tune_and_stop(app, updated)
    ingest(app, updated)
    assert app.mails(a_search_that_fails(app))
    stop_a_monitor(app)
    start_training_by_drift_and_alarm(app, window)
    start_training_by_images(app)
    score_files(app, scored)
    answer_versions(app, approver, updated)
    reject_what_has_failed(app, caught)
    tell_of_events_that_cannot_be_worked_on(app)
    return policy_replay.requests(app)


def scales(app: App) -> list[tuple[int, int]]:
    """The bounds between which the endpoint scales, if it does."""
    known = app.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    return [(target["MinCapacity"], target["MaxCapacity"]) for target in known["ScalableTargets"]]


def score_files(app: App, scored: Run) -> None:
    """Files are stopped while their jobs work, asked for again, and scored when the clock comes; drift starts a run."""
    states, machine = app.client("stepfunctions"), app.outputs[BATCH]
    for step in ("check", "score"):
        with app.faults.injected(f"job:batch-{step}", "hang") as fault:
            app.client("s3").put_object(Bucket=app.bucket, Key=f"batch/incoming/{step}.csv", Body=sound_file())
            wait_for(lambda: app.faults.fired(fault), f"the job {step}")
            again = {"File": {"Key": f"batch/incoming/{step}.csv"}}
            arn = states.start_execution(stateMachineArn=machine, input=json.dumps(again))["executionArn"]
            ended = wait_for(lambda arn=arn: Run.ended(arn), "its end")  # type: ignore[misc]
            assert ended.output["Decision"] == "Duplicate"
            for one in states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]:
                states.stop_execution(executionArn=one["executionArn"], cause="by hand")
        running = {"stateMachineArn": machine, "statusFilter": "RUNNING"}
        wait_for(lambda: not states.list_executions(**running)["executions"], "the end")  # noqa: B023
    states.start_execution(stateMachineArn=machine, input="{}")
    incoming = {"Bucket": app.bucket, "Prefix": "batch/incoming/"}
    wait_for(lambda: "Contents" not in app.client("s3").list_objects_v2(**incoming), "the files to be scored", 60)
    drifted = {
        "Resolve batch": {"BatchId": "20200101000000-0002"},
        "Decide retraining": {"Verdict": "Drift", "Retrain": True, "Reason": "a test"},
    }
    with app.faults.injected("function:resolve_configuration", "error", error="KeyError"):
        ended = Resumable(app, scored, BATCH).go_on("May it be scored?", answers=drifted)
        assert ended.error == "InputDrifted"
        app.wait(lambda given: given["Trigger"].get("Id") == "20200101000000-0002")


def ask_about_newer_rows(app: App, window: Run) -> None:
    """The endpoint is asked about the rows of the drop that the gate has not let in."""
    monitor = Resumable(app, window, MONITOR)
    assert monitor.go_on("Probe endpoint").status == "SUCCEEDED"
    key = f"monitoring/{window.output['WindowId']}/probe.json"
    probe = json.loads(app.client("s3").get_object(Bucket=app.bucket, Key=key)["Body"].read())
    assert probe["about"]["rows"] > 0


def stop_during(app: App, job: str, other: Run) -> None:
    """Start a run, stop it while one of its jobs works, and before that let others ask for its work and its turn."""
    given = json.dumps({"Trigger": {"Type": "Manual", "Id": job, "By": "test"}})
    states = app.client("stepfunctions")
    with app.faults.injected(f"job:{job}", "hang") as fault:
        arn = states.start_execution(stateMachineArn=app.outputs["StateMachineArn"], input=given)["executionArn"]
        wait_for(lambda: app.faults.fired(fault), f"the job {job}")
        same = {"Trigger": {"Type": "Schedule", "Id": job}}
        states.start_execution(stateMachineArn=app.outputs["StateMachineArn"], input=json.dumps(same))
        assert app.wait(same.__eq__).output["Decision"] == "Duplicate"
        for run, execution in (
            (run_id(arn, states.describe_execution(executionArn=arn)["startDate"]), arn),
            (other.run_id, other.execution_arn),
        ):
            ask = {"RunId": run, "ExecutionArn": execution, "Champion": {"ModelName": "another", "RunId": run}}
            app.client("lambda").invoke(FunctionName=f"{STACK}-reserve-deployment", Payload=json.dumps(ask))
        with seemingly_gone(app):
            keep_hours(app)  # who has the turn may be at work
        states.stop_execution(executionArn=arn, cause="by hand")
    wait_for(lambda: states.describe_execution(executionArn=arn)["status"] == "ABORTED", "the end of the run")


def tune_and_stop(app: App, updated: Run) -> None:
    """What a run has trained is tuned; then again, and stopped while its trials work."""
    resumable, states = Resumable(app, updated), app.client("stepfunctions")
    done = resumable.go_on("Tune or train?", answers=tuned(app))
    assert (done.status, done.cause) == ("SUCCEEDED", None)
    answers = tuned(app)
    endless = {"num_round": "1000000", "num_parallel_tree": "300"}
    algorithm = resumable.answer("Resolve configuration")["Algorithm"]
    answers["Resolve configuration"]["Algorithm"] = {**algorithm, "HyperParameters": endless}
    arn = resumable.start("Tune or train?", answers=answers)
    name = {"NameContains": answers["Resolve configuration"]["Tuning"]["Name"]}
    wait_for(lambda: app.client("sagemaker").list_training_jobs(**name)["TrainingJobSummaries"], "trials")
    states.stop_execution(executionArn=arn, cause="by hand")
    job = {**name, "StatusEquals": "Stopped"}
    listed = app.client("sagemaker").list_hyper_parameter_tuning_jobs
    wait_for(lambda: listed(**job)["HyperParameterTuningJobSummaries"], "the end of the tuning job")


def ingest(app: App, updated: Run) -> None:
    """A car becomes a record of a feature group; of its run there is nothing else that could go on."""
    answers = to_ingest(app)
    ended = Resumable(app, updated).go_on("Ingest records", answers=answers)
    assert ended.error == "ArtifactMissingError"
    assert offline(app, answers) == ""


def answer_versions(app: App, approver: Ask, updated: Run) -> None:
    """Who approves versions answers before and after a run waits for them, and reads the run's report."""
    assert "MessageId" in ask_with_the_turn(app, updated)
    registry, states = approver("sagemaker"), app.client("stepfunctions")
    (described,) = approver("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    assert described["StackName"] == STACK
    for status, end in ((APPROVED, "Reserve deployment"), (REJECTED, "Not approved")):
        before = ask_people(app, updated, status)
        after = ask_people(app, updated, PENDING)
        wait_for(lambda arn=after: situation.is_waiting(arn), "the token")  # type: ignore[misc]
        newest = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 1}
        (version,) = registry.list_model_packages(ModelPackageGroupName=STACK, **newest)["ModelPackageSummaryList"]
        registry.describe_model_package(ModelPackageName=version["ModelPackageArn"])
        registry.update_model_package(ModelPackageArn=version["ModelPackageArn"], ModelApprovalStatus=status)
        for arn in (before, after):
            wait_for(lambda arn=arn, end=end: situation.has_entered(arn, end), end)  # type: ignore[misc]
            if status == APPROVED:
                states.stop_execution(executionArn=arn)
    go_on_with_what_is_there(app, updated)
    go_back(app, approver, updated)
    there = go_back_to_what_was_made_before(app, updated)["There"]
    assert there == {"Model": False, "Configuration": False}
    s3, folder = approver("s3"), f"runs/{updated.run_id}/"
    listed = s3.list_objects_v2(Bucket=app.bucket, Prefix=f"{folder}approval.")["Contents"]
    assert [item["Key"] for item in listed] == [f"{folder}approval.html", f"{folder}approval.json"]
    report, so_far = (s3.get_object(Bucket=app.bucket, Key=item["Key"])["Body"].read() for item in listed)
    assert b"Approval needed" in report
    assert json.loads(so_far)["metrics"]["candidate"]


def go_on_with_what_is_there(app: App, updated: Run) -> None:
    """A run whose requests for its model and configuration were answered, and the answers lost."""
    turn = {"Turn": "Deploy", "There": {"Configuration": False}}
    lost = {"answers": {"Resolve configuration": {"Decision": "Deploy"}}, "variables": {"turn": turn}}
    done = Resumable(app, updated).go_on("Look for model", again=False, **lost)
    assert (done.status, done.cause) == ("SUCCEEDED", None)


def go_back(app: App, approver: Ask, updated: Run) -> None:
    """Who approves versions rejects the one in service: the newest approved one, of the same model, takes its place."""
    serving = approver("ssm").get_parameter(Name=f"/{STACK}/model-package")["Parameter"]["Value"]
    assert serving == updated.output["ModelPackage"]
    approver("sagemaker").update_model_package(ModelPackageArn=serving, ModelApprovalStatus=REJECTED)
    by = approver("sagemaker").describe_model_package(ModelPackageName=serving)["LastModifiedBy"]["IamIdentity"]
    assert by["Arn"].endswith(f":assumed-role/{APPROVER}/ada")
    run = app.wait(lambda given: "ModelVersion" in given)
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert app.parameters()["model-package"] == run.output["ModelPackage"] != serving


def reject_what_has_failed(app: App, run: Run) -> None:
    """The function is called as Lambda calls it when a run has failed that had registered a version."""
    detail = {"executionArn": run.execution_arn, "status": "FAILED", "stopDate": 1}
    app.client("lambda").invoke(FunctionName=f"{STACK}-notify-run", Payload=json.dumps({"detail": detail}))
    version = app.client("sagemaker").describe_model_package(ModelPackageName=run.output["ModelPackage"])
    assert version["ModelApprovalStatus"] == REJECTED


def test_people_take_the_roles_that_name_them_and_nobody_else_does(app: App, scientist: Ask, caller: Api) -> None:
    """The account's root is not named, a caller of the API is not, and a data scientist becomes no approver."""
    assert scientist("sts").get_caller_identity()["Arn"].endswith(f":assumed-role/{SCIENTIST}/ada")
    approver = app.client("iam").get_role(RoleName=APPROVER)["Role"]["Arn"]
    assert approver.endswith(f":role/people/{APPROVER}")
    keys = [caller.credentials.access_key, caller.credentials.secret_key, caller.credentials.token]
    for ask in (scientist, app.client, boto3.Session(*keys).client):
        with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole on resource: "):
            ask("sts").assume_role(RoleArn=approver, RoleSessionName="ada")


def test_who_only_has_the_policy_of_data_scientists_approves_nothing(scientist: Ask, updated: Run) -> None:
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:UpdateModelPackage"):
        scientist("sagemaker").update_model_package(
            ModelPackageArn=updated.output["ModelPackage"], ModelApprovalStatus=REJECTED
        )


TRAINING: dict[str, Callable[[Ask, App], Any]] = {
    "states:StartExecution": lambda ask, app: ask("stepfunctions").start_execution(
        stateMachineArn=app.outputs["StateMachineArn"], input="{}"
    ),
    "sagemaker:CreateTrainingJob": lambda ask, app: ask("sagemaker").create_training_job(
        TrainingJobName=f"{STACK}-x", RoleArn=role_arn(app, "TrainRole"), AlgorithmSpecification=XGBOOST,
        OutputDataConfig={"S3OutputPath": f"s3://{app.bucket}/x"}, StoppingCondition={"MaxRuntimeInSeconds": 60},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    ),
    "sagemaker:UpdateEndpoint": lambda ask, app: ask("sagemaker").update_endpoint(
        EndpointName=STACK, EndpointConfigName=f"{STACK}-x"
    ),
    "s3:PutObject": lambda ask, app: ask("s3").put_object(Bucket=app.bucket, Key="raw/theirs.csv"),
}  # fmt: skip
XGBOOST = {"TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/xgboost:1", "TrainingInputMode": "File"}


@pytest.mark.parametrize("action", TRAINING)
def test_who_only_has_the_policy_of_approvers_trains_and_deploys_nothing(app: App, approver: Ask, action: str) -> None:
    with pytest.raises(ClientError) as refused:
        TRAINING[action](approver, app)
    assert refused.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
    assert f"is not authorized to perform: {action}" in refused.value.response["Error"]["Message"]


def tell_of_a_drop_that_is_gone(app: App) -> None:
    """The event of a version that is not in the bucket any more: S3 says so to who may list it."""
    given = {"Trigger": {"Type": "DataDrop", "Id": "late", "Object": {"key": "raw/gone.csv", "version-id": "gone"}}}
    app.client("stepfunctions").start_execution(stateMachineArn=app.outputs["StateMachineArn"], input=json.dumps(given))
    assert app.wait(given.__eq__).output["Decision"] == "AlreadyTrained"


def tell_of_events_that_cannot_be_worked_on(app: App) -> None:
    machines = {"notify-run": "StateMachineArn", "notify-window": MONITOR, "notify-batch": BATCH}
    for function, machine in machines.items():
        tell_of_an_execution_that_is_gone(app, machine, function)
    others = ["answer-approval", "keep-hours"]
    for function in others:
        tell_of_nothing(app, function)
    functions = [*machines, *others]

    def told() -> bool:
        bodies = [letter["Body"] for letter in situation.letters(app) if "RetriesExhausted" in letter["Body"]]
        return all(any(f":function:{STACK}-{function}" in body for body in bodies) for function in functions)

    wait_for(told, "the functions' letters")


def stop_a_monitor(app: App) -> None:
    """Stop a monitor while its job works, and before that let another ask for the same window."""
    states = app.client("stepfunctions")
    with app.faults.injected("job:monitor", "hang") as fault:
        arn = states.start_execution(stateMachineArn=app.outputs[MONITOR], input="{}")["executionArn"]
        wait_for(lambda: app.faults.fired(fault), "the monitor's job")
        assert watch(app).output["Decision"] == "Duplicate"
        states.stop_execution(executionArn=arn, cause="by hand")
    wait_for(lambda: states.describe_execution(executionArn=arn)["status"] == "ABORTED", "the end of the monitor")


def start_training_by_drift_and_alarm(app: App, window: Run) -> None:
    """The window's rows become a drop, drift and an alarm start runs; all end before they have learned from them."""
    known = "20200101000000-0000"
    give_no_rows(app, window.run_id)
    past = {"Resolve window": {"WindowId": "20200101000000-0001", "Start": PAST[0], "End": PAST[1]}}
    assert Resumable(app, window, MONITOR).go_on("Decide retraining", answers=past).status == "SUCCEEDED"
    find_drift(app, window.run_id)
    find_drift(app, known)
    with app.faults.injected("function:resolve_configuration", "error", error="KeyError", times="always"):
        drifted = {"Resolve window": {"WindowId": known}}
        judged = Resumable(app, window, MONITOR).go_on("Decide retraining", answers=drifted)
        assert (judged.status, judged.output["Retrain"]) == ("SUCCEEDED", True), judged
        assert app.wait(lambda given: given["Trigger"].get("Type") == "Drift").error == "KeyError"
        app.wait(lambda given: is_labelled_key(given["Trigger"].get("Object", {}).get("key", ""), "raw/"))
        raise_alarm(app, ALARM)
        app.wait(lambda given: given["Trigger"] == {**given["Trigger"], "Type": "Alarm", "Id": ALARM})


def start_training_by_images(app: App) -> None:
    """The stack has no image of its own to train in: its runs end when they have looked which there are."""
    earlier = {"Type": "Image", "Image": push_image(app)}
    assert app.wait(lambda given: given["Trigger"].get("Type") == "Image").output["Decision"] == "Superseded"
    push_image(app)
    app.client("stepfunctions").start_execution(
        stateMachineArn=app.outputs["StateMachineArn"],
        input=json.dumps({"Trigger": earlier, "Overrides": {"Algorithm": "own-image"}}),
    )
    assert app.wait(lambda given: given["Trigger"] == earlier).output["Decision"] == "Superseded"


def test_alarm_of_the_next_lost_event_reaches_people_though_the_queue_was_not_emptied(
    app: App, exercised: list[policy_replay.Request]
) -> None:
    wait_for(lambda: len(situation.alarms(app)) == 2, "the alarm's second mail")


@pytest.fixture(scope="module")
def in_force(app: App, exercised: list[policy_replay.Request]) -> list[policy_replay.Policy]:
    """Every policy of the stack, as it is after all of that."""
    return policy_replay.policies(app)


@pytest.fixture(scope="module")
def without_use(
    exercised: list[policy_replay.Request], in_force: list[policy_replay.Policy]
) -> set[policy_replay.Part]:
    """The parts of policies that nothing of all that has needed."""
    return policy_replay.superfluous(exercised, in_force) | policy_replay.undeployed(in_force)


def test_every_request_is_answered_the_same_way_again(
    exercised: list[policy_replay.Request], in_force: list[policy_replay.Policy]
) -> None:
    assert len(exercised) > 100
    assert [text for asked in exercised if (text := policy_replay.answer(asked, in_force))] == []


def test_no_action_of_any_statement_is_superfluous(without_use: set[policy_replay.Part]) -> None:
    assert sorted(without_use - policy_replay.documented()) == []


def test_what_is_documented_as_not_exercised_is_exactly_that(without_use: set[policy_replay.Part]) -> None:
    assert sorted(policy_replay.documented() - without_use) == []


def test_only_services_can_assume_the_roles_of_the_stack(policies: list[policy_replay.Policy]) -> None:
    trusts = [policy for policy in policies if policy.arn.startswith("arn:aws:iam:")]
    principals = [statement["Principal"] for policy in trusts for statement in policy.document["Statement"]]
    assert len(principals) > 10
    assert {kind for principal in principals for kind in principal} == {"Service"}


def test_people_who_start_runs_by_hand_need_no_role_of_the_stack(app: App) -> None:
    with pytest.raises(boto3.client("sts").exceptions.ClientError, match="not authorized to perform: sts:AssumeRole"):
        app.client("sts").assume_role(RoleArn=role_arn(app, "TrainModelRole"), RoleSessionName="me")


def role_arn(app: App, name: str) -> str:
    described = app.client("cloudformation").describe_stack_resource(StackName=app.stack, LogicalResourceId=name)
    physical = described["StackResourceDetail"]["PhysicalResourceId"]
    return str(app.client("iam").get_role(RoleName=physical)["Role"]["Arn"])
