"""`kill -9` at any moment loses nothing that was answered: objects and their events, executions, parameters, items.

The moments are random, and the state is small in one case and large in the other.
"""

import json
import os
import random
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from localcloud import process
from localcloud.engine.lambda_.functions import SIDE_BY_SIDE
from localcloud.engine.stepfunctions.files import ExecutionFiles
from localcloud.settings import Settings
from tests.integration.conftest import ROLE, Cloud, history, kill, make_function, make_machine, open_to, with_role
from tests.integration.localcloud.engine.test_persistence import TABLE
from tests.ports import free_port
from tests.waiting import wait_for

DROPS, KILLS = 30, 3
QUICK = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}}
NOTES = """
import boto3, json, os
SQS = boto3.client("sqs")
def handler(event, context):
    SQS.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=event["detail"]["executionArn"])
"""


@dataclass
class Answered:
    """What clients were told, by what they had asked for."""

    objects: dict[str, str] = field(default_factory=dict)
    executions: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def old_executions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of many of them."""
    settings = Settings(0, tmp_path_factory.mktemp("old"))
    for number in range(2000):
        old_execution(settings, number)
    return settings.state / "engine"


@pytest.fixture(params=["a small state", "a large state"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    settings = Settings(free_port(), tmp_path_factory.mktemp("own"))
    if request.param == "a large state":
        old = request.getfixturevalue("old_executions")
        shutil.copytree(old, settings.state / "engine", copy_function=os.link)
    process.start(settings)
    yield with_role(Cloud(settings))
    process.stop(settings.state)


def old_execution(settings: Settings, number: int) -> None:
    """What a run of the application leaves: a hundred events, 50 KB."""
    arn = f"arn:aws:states:{settings.region}:000000000000:execution:old:{number}"
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 86_400))
    details = {"stateEnteredEventDetails": {"name": "State", "input": "x" * 400}}
    execution: dict[str, Any] = {
        "executionArn": arn, "stateMachineArn": arn.replace("execution:old:", "stateMachine:old#").partition("#")[0],
        "name": str(number), "status": "SUCCEEDED", "startDate": at, "stopDate": at, "input": "{}", "output": "{}",
        "events": [{"id": i, "type": "TaskStateEntered", "timestamp": at, **details} for i in range(1, 101)],
    }  # fmt: skip
    folder = settings.state / "engine" / "executions"
    folder.mkdir(parents=True, exist_ok=True)
    ExecutionFiles(folder).begin(execution, known_status="SUCCEEDED")


def set_up(cloud: Cloud) -> tuple[str, str, str]:
    """A bucket whose objects start executions, whose ends call a function, which sends them to a queue."""
    s3, sqs, events = cloud.client("s3"), cloud.client("sqs"), cloud.client("events")
    s3.create_bucket(Bucket="drops")
    s3.put_bucket_versioning(Bucket="drops", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket="drops", NotificationConfiguration={"EventBridgeConfiguration": {}})
    machine = make_machine(cloud, QUICK)
    queue = sqs.create_queue(QueueName="ended")["QueueUrl"]
    function = make_function(cloud, NOTES, Environment={"Variables": {"QUEUE": queue}})
    cloud.client("lambda").add_permission(
        FunctionName=function, StatementId="events", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )
    events.put_rule(Name="drops", EventPattern='{"source": ["aws.s3"], "detail-type": ["Object Created"]}')
    events.put_targets(Rule="drops", Targets=[{"Id": "machine", "Arn": machine, "RoleArn": ROLE}])
    ended = {"source": ["aws.states"], "detail": {"status": ["SUCCEEDED", "FAILED"]}}
    events.put_rule(Name="ended", EventPattern=json.dumps(ended))
    events.put_targets(Rule="ended", Targets=[{"Id": "function", "Arn": function}])
    cloud.client("dynamodb").create_table(**TABLE)
    return machine, queue, function


def work(cloud: Cloud, machine: str, answered: Answered, stop: threading.Event) -> None:
    """Ask for one thing after another; the connection breaks whenever the local cloud is killed."""
    s3, ssm, dynamodb, states = (cloud.client(name) for name in ("s3", "ssm", "dynamodb", "stepfunctions"))
    while not stop.is_set():
        name = uuid.uuid4().hex
        try:
            answered.objects[name] = s3.put_object(Bucket="drops", Key=name, Body=name.encode())["VersionId"]
            ssm.put_parameter(Name=f"/{name}", Value="1", Type="String")
            answered.parameters.append(name)
            dynamodb.put_item(TableName="runs", Item={"id": {"S": name}})
            answered.items.append(name)
            started = states.start_execution(stateMachineArn=machine, name=name, input=json.dumps({"by": "hand"}))
            answered.executions.append(started["executionArn"])
        except (BotoCoreError, ClientError):
            time.sleep(0.05)


def test_what_was_answered_is_there_after_kills_at_random_moments(own: Cloud) -> None:
    machine, queue, _ = set_up(own)
    answered, stop = Answered(), threading.Event()
    worker = threading.Thread(target=work, args=(own, machine, answered, stop))
    worker.start()
    moments = random.Random(os.urandom(8))
    for number in range(1, KILLS + 1):
        wait_for(lambda wanted=number * DROPS // KILLS: len(answered.objects) >= wanted, "the drops", pause=0.01)
        time.sleep(moments.uniform(0, 0.3))
        kill(own)
        began = time.monotonic()
        process.start(own.settings)
        print(f"started again in {time.monotonic() - began:.2f} s")
    stop.set()
    worker.join()

    everything_is_there(own, machine, queue, answered)


def everything_is_there(cloud: Cloud, machine: str, queue: str, answered: Answered) -> None:
    s3, ssm, dynamodb = cloud.client("s3"), cloud.client("ssm"), cloud.client("dynamodb")
    for name, version in answered.objects.items():
        assert s3.get_object(Bucket="drops", Key=name, VersionId=version)["Body"].read() == name.encode()
    for name in answered.parameters:
        ssm.get_parameter(Name=f"/{name}")
    for name in answered.items:
        assert "Item" in dynamodb.get_item(TableName="runs", Key={"id": {"S": name}})
    ended = wait_for(lambda: all_ended(cloud, machine), "the end of all executions")
    assert [arn for arn in answered.executions if arn not in ended] == []
    started: Counter[str] = Counter()
    for arn in ended:
        described = cloud.client("stepfunctions").describe_execution(executionArn=arn)
        if "detail" in (given := json.loads(described["input"])):
            started[given["detail"]["object"]["key"]] += 1
        types = [event["type"] for event in history(cloud, arn)]
        assert (types[0], types[-1][:9], types.count("ExecutionStarted")) == ("ExecutionStarted", "Execution", 1), types
    assert [name for name in answered.objects if name not in started] == []
    told: Counter[str] = Counter()

    def all_told() -> bool:
        sqs = cloud.client("sqs")
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                told[message["Body"]] += 1
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return all(arn in told for arn in ended)

    wait_for(all_told, "the functions of all ends")
    repeated = [sum(1 for count in counted.values() if count > 1) for counted in (started, told)]
    print(f"{len(answered.objects)} drops, {len(ended)} executions; repeated: {repeated[0]} drops, {repeated[1]} ends")
    assert repeated[0] <= KILLS
    assert repeated[1] <= 2 * KILLS * SIDE_BY_SIDE


def all_ended(cloud: Cloud, machine: str) -> list[str] | None:
    pages = cloud.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine)
    found = [execution for page in pages for execution in page["executions"]]
    running = [execution for execution in found if execution["status"] == "RUNNING"]
    return None if running else [execution["executionArn"] for execution in found]


def test_a_function_that_worked_is_invoked_again(own: Cloud) -> None:
    sqs, events = own.client("sqs"), own.client("events")
    queue = sqs.create_queue(QueueName="begun")["QueueUrl"]
    source = NOTES.replace('event["detail"]["executionArn"]', 'event["id"]') + "    import time; time.sleep(8)\n"
    function = make_function(own, source, Environment={"Variables": {"QUEUE": queue}})
    own.client("lambda").add_permission(
        FunctionName=function, StatementId="events", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )
    events.put_rule(Name="calls", EventPattern='{"source": ["calls"]}')
    events.put_targets(Rule="calls", Targets=[{"Id": "function", "Arn": function}])
    events.put_events(Entries=[{"Source": "calls", "DetailType": "Test", "Detail": "{}"}])
    first = wait_for(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "the function")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first[0]["ReceiptHandle"])

    kill(own)
    process.start(own.settings)

    again = wait_for(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "the function again")
    assert again[0]["Body"] == first[0]["Body"]


def test_logs_and_a_queue_of_dead_letters_are_there(own: Cloud) -> None:
    logs, sqs, events = own.client("logs"), own.client("sqs"), own.client("events")
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    now = int(time.time() * 1000)
    logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=[{"timestamp": now, "message": "kept"}])
    arn = f"arn:aws:sqs:{own.region}:000000000000:letters"
    policy = open_to("events.amazonaws.com", "sqs:SendMessage", arn)
    url = sqs.create_queue(QueueName="letters", Attributes={"Policy": policy})["QueueUrl"]
    events.put_rule(Name="lost", EventPattern='{"source": ["lost"]}')
    nowhere = f"arn:aws:sqs:{own.region}:000000000000:nowhere"
    events.put_targets(Rule="lost", Targets=[{"Id": "queue", "Arn": nowhere, "DeadLetterConfig": {"Arn": arn}}])
    events.put_events(Entries=[{"Source": "lost", "DetailType": "Test", "Detail": "{}"}])

    kill(own)
    process.start(own.settings)

    (event,) = logs.get_log_events(logGroupName="group", logStreamName="stream")["events"]
    assert (event["timestamp"], event["message"]) == (now, "kept")
    (letter,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(letter["Body"])["source"] == "lost"
