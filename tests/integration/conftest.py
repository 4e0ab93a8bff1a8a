"""One local cloud for all integration tests of a worker, and the few things that many of them do with it."""

import io
import json
import os
import signal
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config

from localcloud import access, process
from localcloud.sagemaker.platform.aws import Credentials
from localcloud.settings import Settings, environment, image_python
from tests.integration import servers
from tests.ports import free_port
from tests.waiting import wait_for

ROLE = "arn:aws:iam::000000000000:role/test"
Execution = dict[str, Any]
T = TypeVar("T")
_making_clients = threading.Lock()


@cache
def _client(name: str, endpoint_url: str, region: str, access_key: str, secret_key: str) -> Any:
    """Made once: to make one costs as much as twenty requests."""
    make: Any = boto3.client  # its stubs know services by literal names only
    return make(
        name,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@dataclass(frozen=True)
class Cloud:
    """A running local cloud. `image_python` is the interpreter that stands in for the SageMaker images."""

    settings: Settings

    @property
    def endpoint_url(self) -> str:
        return self.settings.endpoint_url

    @property
    def region(self) -> str:
        return self.settings.region

    @property
    def state(self) -> Path:
        return self.settings.state

    @property
    def image_python(self) -> Path:
        return image_python()

    def client(self, name: str) -> Any:
        """A boto3 client of this cloud that reads neither the environment nor ~/.aws, and does not retry."""
        with _making_clients:  # clients are safe for threads, making them is not
            return _client(name, self.endpoint_url, self.region, *self.keys().values())

    def keys(self) -> dict[str, str]:
        """The account's own keys, as boto3 takes them."""
        keys = access.keys(self.state)
        return {"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key}

    def environment(self) -> dict[str, str]:
        """The environment of a subprocess that uses this cloud."""
        return environment(self.settings)

    def credentials(self) -> Credentials:
        """The account's own keys, as the local SageMaker takes them."""
        return Credentials(*self.keys().values())


@pytest.fixture(scope="session", autouse=True)
def _quick_starts() -> Iterator[None]:
    """What tests start in their own process is a fork; the commands of people start servers as ever."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "_spawn", servers.spawn)
        yield


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    settings = Settings(free_port(), tmp_path_factory.mktemp("cloud"))
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("LOCALCLOUD_RETRY_SCALE", "0.01")  # retries come after hundredths of the pauses that AWS makes
        process.start(settings)
    yield with_role(Cloud(settings))
    process.stop(settings.state)


def kill(cloud: Cloud) -> None:
    """End a cloud as `kill -9` does."""
    running = process.describe(cloud.state)
    assert running
    os.kill(running["pid"], signal.SIGKILL)
    wait_for(lambda: process.describe(cloud.state) is None, "the process to be gone", pause=0.02)


def with_role(cloud: Cloud) -> Cloud:
    """The cloud, with the role `ROLE` that every service may assume and that may do everything."""
    services = [f"{name}.amazonaws.com" for name in ("lambda", "states", "sagemaker", "events", "scheduler")]
    trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam, name = cloud.client("iam"), ROLE.rpartition("/")[2]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=policy(everything))
    return cloud


def policy(*statements: dict[str, Any]) -> str:
    """A policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def open_to(service: str, action: str, resource: str) -> str:
    """A resource's policy that lets a service do one thing."""
    return policy({"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource})


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def make_function(
    cloud: Cloud, source: str, handler: str = "app.handler", beside: Mapping[str, str] | None = None, **settings: Any
) -> str:
    """Create a Lambda function of app.py and what is `beside` it (file name to text); returns its ARN."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        for name, text in {"app.py": source, **(beside or {})}.items():
            archive.writestr(name, text)
    created = cloud.client("lambda").create_function(
        FunctionName=unique("function"),
        Runtime="python3.13",
        Role=ROLE,
        Handler=handler,
        Code={"ZipFile": package.getvalue()},
        Timeout=20,
        **settings,
    )
    return str(created["FunctionArn"])


def make_machine(cloud: Cloud, definition: dict[str, Any], role: str = ROLE) -> str:
    """Create a JSONata state machine that works under a role; returns its ARN."""
    document = json.dumps({"QueryLanguage": "JSONata", **definition})
    created = cloud.client("stepfunctions").create_state_machine(
        name=unique("machine"), definition=document, roleArn=role
    )
    return str(created["stateMachineArn"])


def start_machine(cloud: Cloud, definition: dict[str, Any], given: Any = None, role: str = ROLE) -> str:
    """Start an execution of a new state machine; returns its ARN."""
    started = cloud.client("stepfunctions").start_execution(
        stateMachineArn=make_machine(cloud, definition, role), input=json.dumps(given or {})
    )
    return str(started["executionArn"])


def end_of(cloud: Cloud, execution_arn: str, seconds: float = 20.0) -> Execution:
    """The description of an execution once it has ended."""
    client = cloud.client("stepfunctions")

    def ended() -> Execution | None:
        described: Execution = client.describe_execution(executionArn=execution_arn)
        return None if described["status"] == "RUNNING" else described

    return wait_for(ended, f"end of {execution_arn}", seconds)


def run_machine(
    cloud: Cloud, definition: dict[str, Any], given: Any = None, seconds: float = 20.0, role: str = ROLE
) -> Execution:
    """Run a new state machine to its end and return the description of the execution."""
    return end_of(cloud, start_machine(cloud, definition, given, role), seconds)


def history(cloud: Cloud, execution_arn: str) -> list[dict[str, Any]]:
    pages = cloud.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [event for page in pages for event in page["events"]]


def watch_events(cloud: Cloud, pattern: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
    """Start to collect the events that match; the returned function gives those that came so far."""
    sqs, events = cloud.client("sqs"), cloud.client("events")
    url = sqs.create_queue(QueueName=unique("events"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": open_to("events.amazonaws.com", "sqs:SendMessage", arn)}
    )
    rule = unique("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    collected: list[dict[str, Any]] = []

    def so_far() -> list[dict[str, Any]]:
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                collected.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return collected

    return so_far
