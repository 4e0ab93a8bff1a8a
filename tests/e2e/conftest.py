"""A local cloud for the whole session, stacks deployed by the real `sam deploy`, and a way to drop data and wait."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest

from localcloud import disk, faults, mailbox
from localcloud.mailbox import messages as mails
from localcloud.settings import Settings, environment
from perennial.runs.naming import run_id
from perennial_cli import deployment
from perennial_cli.commands.local import CONSOLE
from tests import sam_cli
from tests.ports import free_port
from tests.waiting import wait_for
from tools import demo_data

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
RUN_LIMIT_SECONDS = 300
SAM = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "1"}  # the variables of the SAM CLI
ENDS = ("ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
_MAKING_CLIENTS = threading.Lock()
_states: dict[str, Path] = {}  # the state folders of local clouds, by their addresses


@cache
def _client(name: str, endpoint_url: str, access_key: str) -> Any:
    return boto3.client(name, endpoint_url=endpoint_url)


@cache
def given_to(execution_arn: str) -> str:
    """The input of an execution, which stays what it is."""
    return str(App.client("stepfunctions").describe_execution(executionArn=execution_arn)["input"])


def is_noted(execution_arn: str, *texts: str) -> bool:
    """Whether the local cloud has written one of these texts about an execution; it is to be asked only then.

    Many tests wait for many executions: to ask for each again and again took it more time than some of its services.
    """
    state = _states.get(os.environ["AWS_ENDPOINT_URL"])
    path = state and disk.lines_of(state / "engine/executions", execution_arn)
    if not path or not path.exists():
        return True
    written = path.read_bytes()
    return any(json.dumps(text).encode() in written for text in texts)


def when_one_has_begun(look: Callable[[], T | None]) -> Callable[[], T | None]:
    """What looks for an execution, for `wait_for`: it looks again when one has begun since, and each second.

    To list all of them ten times a second took as much time as what they did.
    """
    folder, last = _states[os.environ["AWS_ENDPOINT_URL"]] / "engine/executions", (-1, 0.0)

    def look_again() -> T | None:
        nonlocal last
        now = sum(1 for _ in folder.glob("*.jsonl")), time.monotonic()
        if now[0] == last[0] and now[1] < last[1] + 1:
            return None
        last = now
        return look()

    return look_again


@contextmanager
def pointed_at(settings: Settings) -> Iterator[None]:
    """Point this process at a local cloud: its environment, and boto3's own session, which remembers the keys."""
    before = dict(os.environ)
    os.environ.update(environment(settings))
    _states[settings.endpoint_url] = settings.state
    boto3.DEFAULT_SESSION = None
    yield
    os.environ.clear()
    os.environ.update(before)
    boto3.DEFAULT_SESSION = None


@dataclass(frozen=True)
class Run:
    """One execution that ended."""

    run_id: str
    execution_arn: str
    status: str
    error: str | None
    cause: str | None
    output: dict[str, Any]

    @classmethod
    def ended(cls, execution_arn: str) -> Run | None:
        """An execution's end, or None while it works."""
        if not is_noted(execution_arn, *ENDS):
            return None
        described = App.client("stepfunctions").describe_execution(executionArn=execution_arn)
        if described["status"] == "RUNNING":
            return None
        return cls(
            run_id=run_id(execution_arn, described["startDate"]),
            execution_arn=execution_arn,
            status=described["status"],
            error=described.get("error"),
            cause=described.get("cause"),
            output=json.loads(described.get("output") or "{}"),
        )


@dataclass(frozen=True)
class App:
    """One deployed stack and the clients to use it."""

    stack: str
    outputs: dict[str, str]
    state: Path

    @staticmethod
    def client(name: str) -> Any:
        with _MAKING_CLIENTS:  # clients are safe for threads, making them is not
            return _client(name, os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_ACCESS_KEY_ID"])

    @property
    def faults(self) -> faults.Client:
        """What may be made to fail on purpose: faults of this stack only."""
        return faults.Client(os.environ, name=f"{self.stack}*")

    @contextmanager
    def injected(self, *faults: Mapping[str, Any]) -> Iterator[Callable[[], bool]]:
        """Let these go wrong until the end of the block; yields whether all have."""
        numbers = [self.faults.add(**one) for one in faults]
        try:
            yield lambda: all(self.faults.fired(number) for number in numbers)
        finally:
            for number in numbers:
                self.faults.clear(number)

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    @property
    def endpoint(self) -> str:
        return self.outputs["EndpointName"]

    def drop(self, key: str, body: bytes) -> Run:
        """Put an object and wait until the execution that its event started has ended."""
        version = self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)["VersionId"]
        return self.wait(lambda given: dropped_version(given) == version)

    def start(self, **overrides: Any) -> Run:
        """Start a run by hand and wait until it has ended."""
        marker = f"{time.time_ns()}"
        given = {"Trigger": {"Type": "Manual", "Id": marker, "By": "test"}, "Overrides": overrides}
        self.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["StateMachineArn"], input=json.dumps(given)
        )
        return self.wait(lambda found: found.get("Trigger", {}).get("Id") == marker)

    def wait(self, is_mine: Callable[[dict[str, Any]], bool]) -> Run:
        arn = wait_for(when_one_has_begun(lambda: self.find(is_mine)), "an execution", RUN_LIMIT_SECONDS, pause=0.1)
        return wait_for(lambda: Run.ended(arn), f"the end of {arn}", RUN_LIMIT_SECONDS, pause=0.1)

    def find(self, is_mine: Callable[[dict[str, Any]], bool], newest: int = 20) -> str | None:
        """One of the newest executions, by its input."""
        states = self.client("stepfunctions")
        listed = states.list_executions(stateMachineArn=self.outputs["StateMachineArn"], maxResults=newest)
        arns = (str(item["executionArn"]) for item in listed["executions"])
        return next((arn for arn in arns if is_mine(json.loads(given_to(arn)))), None)

    def mails(self, run: Run, *, expected: int = 1) -> list[mailbox.Message]:
        """The messages about a run, once as many as expected are there and no more have come for a second."""
        deadline = time.monotonic() + 20
        found: list[mailbox.Message] = []
        while time.monotonic() < deadline and len(found) < expected:
            time.sleep(0.1)
            found = [message for message in mails(self.state) if run.run_id in message.body]
        time.sleep(1)
        return [message for message in mails(self.state) if run.run_id in message.body]

    def record(self, run: Run) -> dict[str, Any]:
        """The run's own document in the bucket; it is there once the notification has gone out."""
        told = f"a message about {run}"
        wait_for(lambda: any(run.run_id in message.body for message in mails(self.state)), told, 20)
        body = self.client("s3").get_object(Bucket=self.bucket, Key=f"runs/{run.run_id}/run.json")["Body"]
        return dict(json.loads(body.read()))

    def parameters(self) -> dict[str, str]:
        """Parameter Store below the stack's prefix, by the last part of the name."""
        pages = self.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(Path=self.outputs["ParameterPrefix"], Recursive=True)
        return {p["Name"].rsplit("/", 1)[-1]: p["Value"] for page in found for p in page["Parameters"]}

    def in_service(self) -> dict[str, Any]:
        """What serves now: status and configuration of the endpoint, and the names in Parameter Store."""
        described = self.client("sagemaker").describe_endpoint(EndpointName=self.endpoint)
        return {
            "Status": described["EndpointStatus"],
            "Config": described["EndpointConfigName"],
            "Parameters": self.parameters(),
        }

    def invoke(self, body: str, content_type: str = "text/csv", accept: str = "application/jsonlines") -> str:
        reply = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.endpoint, ContentType=content_type, Accept=accept, Body=body.encode()
        )
        return str(reply["Body"].read().decode())


def dropped_version(given: dict[str, Any]) -> str | None:
    """The version of the object whose event gave an execution its input, if one did."""
    version: str | None = given.get("Trigger", {}).get("Object", {}).get("version-id")
    return version


@contextmanager
def struck(app: App, name: str) -> Iterator[None]:
    """The rule of a clock, which gets a pattern so that it need not be waited for, and an event of it."""
    events = app.client("events")
    rule = events.describe_rule(Name=name)
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}), State="ENABLED")
    try:
        events.put_events(Entries=[{"Source": name, "DetailType": "now", "Detail": "{}"}])
        yield
    finally:
        events.put_rule(Name=name, ScheduleExpression=rule["ScheduleExpression"], State=rule["State"])


def worthless_cars() -> bytes:
    """400 cars for about 1.54 dollars each: a model of them is perfect on them, and what serves is far off."""
    header, *rows = demo_data.new_listings(400, seed=7).decode().splitlines()
    priced = [f"{1.5 + number % 9 / 100:.2f},{row.partition(',')[2]}" for number, row in enumerate(rows)]
    return "\n".join([header, *priced, ""]).encode()


GROUPS = (
    "e2e-roles", "e2e-models", "matrix-trips", "e2e-monitor", "e2e-used-cars", "matrix-laptop", "matrix-configuration",
    "matrix-data", "spark", "full-disk", "layer",
)  # fmt: skip
"""Groups of tests that stay on one worker, the longest first. Single tests come after them, so that none waits long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first. In the longest group, what waits for the trips comes last, and then what counts."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[int, int]:
    mark = item.get_closest_marker("xdist_group")
    if mark is None or mark.args[0] not in GROUPS:
        return len(GROUPS), int("unit" in item.path.parts)
    group = GROUPS.index(mark.args[0])
    if item.path.name == "test_flow_taken.py":  # all executions of its group's local cloud
        return group, 2
    return group, int("outcomes" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def cloud_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a local cloud that runs for the session; the process environment points at it."""
    state = tmp_path_factory.mktemp("cloud")
    port = free_port()
    python = ROOT / ".venvs/dev/bin/python"
    run = [str(python), "-m", "localcloud", "--port", str(port), "--state", str(state)]
    # Retries come after hundredths of the pauses that AWS makes; everything else has its time.
    env = {**os.environ, **CONSOLE, "LOCALCLOUD_RETRY_SCALE": "0.01"}
    subprocess.run([*run, "up"], cwd=ROOT, check=True, timeout=60, env=env)
    with pointed_at(Settings(port, state)):
        yield state
    subprocess.run([*run, "down"], cwd=ROOT, check=False, timeout=60)


@pytest.fixture(scope="session")
def built(cloud_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sam build` makes for this machine's Python, packed as `perennial deploy` does: once for all workers."""
    base, alone = tmp_path_factory.getbasetemp(), "PYTEST_XDIST_WORKER" not in os.environ
    folder = (base if alone else base.parent) / "build"
    with folder.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "packed.json").exists():
            sam("build", "--build-dir", str(folder), LAYER_PLATFORM="")
            deployment.packed(folder)
    return folder / "packed.json"


@pytest.fixture(scope="session")
def packaged(built: Path, cloud_state: Path) -> Path:
    """The session's local cloud has all files of all stacks."""
    return package(built, built.with_name(f"packaged-{os.getpid()}.json"))


def package(built: Path, template: Path) -> Path:
    """What `sam package` makes of the build: a template of files that were uploaded, once for all stacks."""
    sam(
        "package", "--region", "us-east-1", "--resolve-s3", "--language-extensions", "--use-json",
        "--template-file", str(built), "--output-template-file", str(template),
    )  # fmt: skip
    return template


@pytest.fixture(scope="session")
def deploy(packaged: Path, cloud_state: Path) -> Callable[..., App]:
    def _deploy(stack: str, template: Path = packaged, **parameters: str) -> App:
        values = {"AlertEmails": "team@example.com", "QuietPeriodSeconds": "2", "PollSeconds": "1", **parameters}
        given = [f'{name}="{value}"' if " " in value else f"{name}={value}" for name, value in values.items()]
        sam(
            "deploy", "--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local",
            "--template-file", str(template), "--stack-name", stack,
            "--parameter-overrides", *given,
        )  # fmt: skip
        described = App.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {item["OutputKey"]: item["OutputValue"] for item in described["Outputs"]}
        return App(stack=stack, outputs=outputs, state=cloud_state)

    return _deploy


def sam(*arguments: str, **environ: str) -> None:
    """Run the SAM CLI; its output is part of the failure."""
    ended = sam_cli.sam(*arguments, cwd=ROOT, env={**os.environ, **SAM, **environ}, timeout_seconds=300)
    assert ended.returncode == 0, f"sam {' '.join(arguments)}\n{ended.stdout}\n{ended.stderr}"
