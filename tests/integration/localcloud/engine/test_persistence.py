"""What a local cloud holds survives an orderly end and a kill, and interrupted executions are announced."""

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud import mailbox, process
from localcloud.disk import forced
from localcloud.faults import Client
from localcloud.settings import Settings, process_environment
from tests.integration.conftest import (
    ROLE,
    Cloud,
    history,
    kill,
    make_function,
    open_to,
    start_machine,
    with_role,
)
from tests.ports import free_port
from tests.waiting import wait_for

TABLE = {
    "TableName": "runs",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
TEMPLATE = {"Resources": {"Alerts": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "from-a-stack"}}}}
USES_LAYER = """
from big import SIZE
import big, os
def handler(event, context):
    return {"size": SIZE, "bytes": os.path.getsize(os.path.join(os.path.dirname(big.__file__), "big.bin"))}
"""


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of this test only: it ends and starts again."""
    settings = Settings(free_port(), tmp_path_factory.mktemp("own"))
    process.start(settings)
    yield with_role(Cloud(settings))
    process.stop(settings.state)


def fill(cloud: Cloud) -> dict[str, Any]:
    """Something in every kind of service that the application uses; returns what to compare later."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="data", Key="cars.csv", Body=body)["VersionId"] for body in (b"old", b"new")]
    cloud.client("ssm").put_parameter(Name="/stack/model", Value="m1", Type="String")
    cloud.client("dynamodb").create_table(**TABLE)
    cloud.client("dynamodb").put_item(TableName="runs", Item={"id": {"S": "run#1"}})
    queue = cloud.client("sqs").create_queue(QueueName="letters")["QueueUrl"]
    cloud.client("sqs").send_message(QueueUrl=queue, MessageBody="kept")
    cloud.client("events").put_rule(Name="drops", EventPattern='{"source": ["aws.s3"]}')
    cloud.client("cloudformation").create_stack(StackName="stack", TemplateBody=json.dumps(TEMPLATE))
    wait_for(lambda: stack_status(cloud) == "CREATE_COMPLETE", "the stack")
    layer = cloud.client("lambda").publish_layer_version(LayerName="big", Content={"ZipFile": big_layer()})
    function = make_function(cloud, USES_LAYER, Layers=[layer["LayerVersionArn"]])
    return {"versions": versions, "queue": queue, "function": function}


def big_layer() -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("python/big.py", "SIZE = 200_000\n")
        archive.writestr("python/big.bin", os.urandom(200_000))
    return package.getvalue()


def stack_status(cloud: Cloud) -> str:
    return str(cloud.client("cloudformation").describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"])


def check(cloud: Cloud, known: dict[str, Any]) -> None:
    s3 = cloud.client("s3")
    bodies = [s3.get_object(Bucket="data", Key="cars.csv", VersionId=v)["Body"].read() for v in known["versions"]]
    assert bodies == [b"old", b"new"]
    assert cloud.client("ssm").get_parameter(Name="/stack/model")["Parameter"]["Value"] == "m1"
    assert "Item" in cloud.client("dynamodb").get_item(TableName="runs", Key={"id": {"S": "run#1"}})
    assert cloud.client("sqs").receive_message(QueueUrl=known["queue"])["Messages"][0]["Body"] == "kept"
    assert cloud.client("events").describe_rule(Name="drops")["State"] == "ENABLED"
    assert stack_status(cloud) == "CREATE_COMPLETE"
    answer = cloud.client("lambda").invoke(FunctionName=known["function"])
    assert json.loads(answer["Payload"].read()) == {"size": 200_000, "bytes": 200_000}


def test_everything_is_there_after_an_orderly_end(own: Cloud) -> None:
    known = fill(own)

    assert process.stop(own.state)
    assert process.start(own.settings)

    check(own, known)


def test_everything_is_there_after_a_kill(own: Cloud) -> None:
    known = fill(own)

    kill(own)
    assert process.start(own.settings)

    check(own, known)
    check_after_a_power_cut(own)


def check_after_a_power_cut(own: Cloud) -> None:
    """A power cut may leave the newest file of a service empty, whatever it has said of it."""
    path = own.state / "engine" / "ssm.json"
    wait_for(forced(path).exists, "the file is forced to the device")
    kill(own)
    path.unlink()  # its link is another name of the same bytes
    path.write_bytes(b"")

    assert process.start(own.settings)

    assert own.client("ssm").get_parameter(Name="/stack/model")["Parameter"]["Value"] == "m1"
    assert str(path) in (process.status(own.settings) or {})["problem"]


BEFORE = (
    "import json, time\n"
    "from ministack import app\n"
    "from ministack.core import persistence\n"
    "from ministack.services import cloudwatch, cloudwatch_logs, dynamodb, iam, stepfunctions\n"
    'iam._create_role({"RoleName": ["test"], "AssumeRolePolicyDocument": ["{}"]})\n'
    "dynamodb._create_table(TABLE)\n"
    'dynamodb._put_item({"TableName": "runs", "Item": {"id": {"S": "run#1"}}})\n'
    'cloudwatch_logs._create_log_group({"logGroupName": "group"})\n'
    'cloudwatch_logs._create_log_stream({"logGroupName": "group", "logStreamName": "stream"})\n'
    'events = [{"timestamp": int(time.time() * 1000), "message": "kept"}]\n'
    'cloudwatch_logs._put_log_events({"logGroupName": "group", "logStreamName": "stream", "logEvents": events})\n'
    'cloudwatch.record_metric("Own", "Rows", 7.0, "Count", {})\n'
    'states = {"Pass": {"Type": "Pass", "End": True}, "Wait": {"Type": "Wait", "Seconds": 60, "End": True}}\n'
    "for first in states:\n"
    '    definition = json.dumps({"StartAt": first, "States": {first: states[first]}})\n'
    '    answer = stepfunctions._create_state_machine({"name": first, "definition": definition, "roleArn": ROLE})\n'
    "    assert answer[0] == 200, answer\n"
    '    arn = f"arn:aws:states:us-east-1:000000000000:stateMachine:{first}"\n'
    '    stepfunctions._start_execution({"stateMachineArn": arn, "name": first, "input": "[1]"})\n'
    "time.sleep(1)\n"
    "persistence.save_all(app._build_persistence_save_dict())\n"
)


def test_a_folder_that_an_earlier_version_has_left_is_taken_over(tmp_path: Path) -> None:
    """MiniStack's own files, in which everything was."""
    settings = Settings(free_port(), tmp_path)
    (tmp_path / "engine").mkdir()
    script = BEFORE.replace("(TABLE)", f"({TABLE!r})").replace("ROLE", repr(ROLE))
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=process_environment(settings), check=True)
    assert "kept" in (tmp_path / "engine/cloudwatch_logs.json").read_text()
    cloud, prefix = Cloud(settings), "arn:aws:states:us-east-1:000000000000:execution"
    process.start(settings)
    try:
        for _ in range(2):
            states = cloud.client("stepfunctions")
            described = states.describe_execution(executionArn=f"{prefix}:Pass:Pass")
            assert (described["status"], described["output"]) == ("SUCCEEDED", "[1]")
            types = [event["type"] for event in history(cloud, f"{prefix}:Wait:Wait")]
            assert types == ["ExecutionStarted", "WaitStateEntered", "ExecutionFailed"]
            assert "Item" in cloud.client("dynamodb").get_item(TableName="runs", Key={"id": {"S": "run#1"}})
            (event,) = cloud.client("logs").get_log_events(logGroupName="group", logStreamName="stream")["events"]
            assert event["message"] == "kept"
            (metric,) = cloud.client("cloudwatch").list_metrics(Namespace="Own")["Metrics"]
            assert metric["MetricName"] == "Rows"
            kill(cloud)
            process.start(settings)
        files = [tmp_path / f"engine/{name}.json" for name in ("cloudwatch", "cloudwatch_logs", "dynamodb")]
        files.append(tmp_path / "engine/stepfunctions.json")
        grown = ("kept", "Rows", "run#1", "WaitStateEntered")
        wait_for(lambda: not any(text in file.read_text() for file in files for text in grown), "files without these")
    finally:
        process.stop(tmp_path)


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first retry of an event comes after a minute or two."""
    monkeypatch.setenv("LOCALCLOUD_RETRY_SCALE", "120")


def throttled(cloud: Cloud) -> str:
    """A queue to which an event is on its way, and did not come at the first try; returns its address."""
    events, queue = cloud.client("events"), f"arn:aws:sqs:{cloud.region}:000000000000:letters"
    url = cloud.client("sqs").create_queue(
        QueueName="letters", Attributes={"Policy": open_to("events.amazonaws.com", "sqs:SendMessage", queue)}
    )["QueueUrl"]
    events.put_rule(Name="late", EventPattern='{"source": ["late"]}')
    events.put_targets(Rule="late", Targets=[{"Id": "queue", "Arn": queue}])
    Client(cloud.environment()).add("event:letters", "throttle")
    events.put_events(Entries=[{"Source": "late", "DetailType": "Test", "Detail": "{}"}])
    assert "retry 1 in" in (cloud.state / "server.log").read_text()
    return str(url)


@pytest.mark.usefixtures("long_pauses")
def test_an_end_does_not_wait_for_the_retry_of_an_event_and_the_next_start_keeps_its_pause(own: Cloud) -> None:
    url = throttled(own)

    assert process.stop(own.state)
    assert process.start(own.settings)

    assert "the shutdown was held up" not in (own.state / "server.log").read_text()
    assert "Messages" not in own.client("sqs").receive_message(QueueUrl=url)


def test_a_retry_that_was_due_while_nothing_ran_comes_after_the_start(own: Cloud) -> None:
    url = throttled(own)

    kill(own)
    time.sleep(1)
    assert process.start(own.settings)

    messages = own.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert [json.loads(message["Body"])["source"] for message in messages] == ["late"]


def test_a_layer_is_stored_once_and_deleted_with_its_last_use(own: Cloud) -> None:
    known = fill(own)
    process.stop(own.state)
    blobs = own.state / "engine" / "blobs"
    assert len(list(blobs.iterdir())) == 1
    assert (own.state / "engine" / "lambda.json").stat().st_size < 50_000

    process.start(own.settings)
    own.client("lambda").delete_function(FunctionName=known["function"])
    own.client("lambda").delete_layer_version(LayerName="big", VersionNumber=1)
    process.stop(own.state)
    process.start(own.settings)

    assert list(blobs.iterdir()) == []


@pytest.mark.parametrize("orderly", [True, False], ids=["orderly end", "kill"])
def test_an_execution_that_was_interrupted_has_failed_and_says_so_once(own: Cloud, *, orderly: bool) -> None:
    sns, events = own.client("sns"), own.client("events")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=open_to("events.amazonaws.com", "sns:Publish", topic)
    )
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ada@example.com")
    pattern = {"source": ["aws.states"], "detail": {"status": ["FAILED", "ABORTED", "TIMED_OUT"]}}
    events.put_rule(Name="ends", EventPattern=json.dumps(pattern), RoleArn=ROLE)
    events.put_targets(Rule="ends", Targets=[{"Id": "topic", "Arn": topic}])
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    slow = make_function(own, "import time\ndef handler(event, context):\n    time.sleep(19)\n")
    call = {"Type": "Task", "Resource": slow, "Catch": catch, "End": True}
    arn = start_machine(own, {"StartAt": "Call", "States": {"Call": call, "Caught": {"Type": "Succeed"}}})

    if orderly:
        process.stop(own.state)
    else:
        kill(own)
    process.start(own.settings)

    described = own.client("stepfunctions").describe_execution(executionArn=arn)
    assert (described["status"], described["error"]) == ("FAILED", "States.ServiceRestart")
    wait_for(lambda: mailbox.messages(own.state), "the mail")
    time.sleep(0.5)
    mails = mailbox.messages(own.state)
    assert [arn in mail.body for mail in mails] == [True]
