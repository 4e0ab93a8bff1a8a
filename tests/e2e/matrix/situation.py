"""What the tests of the matrix share: many executions side by side, and the four things that each case asserts."""

from __future__ import annotations

import json
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from localcloud import mailbox
from perennial.registry import description
from perennial.runs.naming import run_id, stem
from perennial_cli import deployment
from tests.e2e.conftest import ENDS, App, Run, is_noted, mails, when_one_has_begun
from tests.waiting import wait_for
from tools import asl, demo_data

T = TypeVar("T")
MACHINE = Path(__file__).resolve().parents[3] / "statemachines/train_model.asl.json"
LIMIT_SECONDS = 240
# So long after the last of several runs has ended, a second message about any of them would have come.
SETTLE_SECONDS = 1.5
# Mails that a test has waited for itself: another of the same kind is a stray.
SEEN: set[Path] = set()


@dataclass(frozen=True)
class End:
    """How a run ended, and the messages about it."""

    run: Run
    mails: tuple[mailbox.Message, ...]

    @property
    def mail(self) -> mailbox.Message:
        """The message, if there is exactly one."""
        assert len(self.mails) == 1, f"{len(self.mails)} messages about {self.run}"
        return self.mails[0]


def machine_states() -> list[tuple[str, dict[str, Any]]]:
    """Name and body of every state of the flow, at any depth."""
    return list(asl.states(asl.parse(MACHINE.read_text())))


def start(app: App, **overrides: Any) -> str:
    """Start a run by hand and return its execution."""
    given = {"Trigger": {"Type": "Manual", "By": "test"}, "Overrides": overrides}
    return start_with(app, given)


def start_with(app: App, given: Any) -> str:
    """Start an execution with any input."""
    started = app.client("stepfunctions").start_execution(
        stateMachineArn=app.outputs["StateMachineArn"], input=json.dumps(given)
    )
    return str(started["executionArn"])


@cache
def run_of(execution_arn: str) -> str:
    """The run id of an execution that has begun, which stays what it is."""
    described = App.client("stepfunctions").describe_execution(executionArn=execution_arn)
    return run_id(execution_arn, described["startDate"])


def end_of(app: App, execution_arn: str, seconds: float = LIMIT_SECONDS) -> Run:
    """Wait until an execution has ended."""
    return wait_for(lambda: Run.ended(execution_arn), f"the end of {execution_arn}", seconds, pause=0.1)


def executions(app: App) -> list[str]:
    """Every execution of the stack, newest first."""
    pages = app.client("stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=app.outputs["StateMachineArn"])
    return [str(item["executionArn"]) for page in found for item in page["executions"]]


def started_since(app: App, before: list[str], at_least: int = 1) -> list[str]:
    """The executions that were not there before, oldest first, once there are so many."""

    def enough() -> list[str] | None:
        new = [arn for arn in executions(app) if arn not in before]
        return new[::-1] if len(new) >= at_least else None

    return wait_for(when_one_has_begun(enough), f"{at_least} new executions", 60, pause=0.1)


def has_entered(execution_arn: str, state: str) -> bool:
    """Whether one of an execution's hundred newest events is that it enters a state; fails if it ended without."""
    if not is_noted(execution_arn, state, *ENDS):
        return False
    history = App.client("stepfunctions").get_execution_history(executionArn=execution_arn, reverseOrder=True)
    found = any(event.get("stateEnteredEventDetails", {}).get("name") == state for event in history["events"])
    ended = [event for event in history["events"] if event["type"] in ENDS]
    assert found or not ended, f"{execution_arn} ended before {state!r}: {ended}"
    return found


def is_waiting(execution_arn: str) -> bool:
    """Whether the function has answered that took an execution's token."""
    history = App.client("stepfunctions").get_execution_history(executionArn=execution_arn, reverseOrder=True)
    return history["events"][0]["type"] == "TaskSubmitted"


def has_left(execution_arn: str, state: str) -> bool:
    """Whether one of an execution's hundred newest events is that it leaves a state."""
    history = App.client("stepfunctions").get_execution_history(executionArn=execution_arn, reverseOrder=True)
    return any(event.get("stateExitedEventDetails", {}).get("name") == state for event in history["events"])


def ends(app: App, arns: Mapping[str, str], *, silent: bool = False) -> dict[str, End]:
    """Wait for executions and for their messages (silent: none is expected), and for one too many."""
    runs = {name: end_of(app, arn) for name, arn in arns.items()}

    def about(run: Run) -> tuple[mailbox.Message, ...]:
        return tuple(message for message in mails(app.state) if is_about(message, run.run_id))

    if not silent:
        for run in runs.values():
            wait_for(lambda run=run: about(run) or None, f"a message about {run.run_id} ({run.status})", 60)  # type: ignore[misc]
    time.sleep(SETTLE_SECONDS)
    return {name: End(run, about(run)) for name, run in runs.items()}


def is_about(message: mailbox.Message, run: str) -> bool:
    """Whether a message tells of a run; it may name other runs too, as what serves."""
    return re.search(rf"^Run +{run}$", message.body, re.MULTILINE) is not None


def strays(app: App) -> list[str]:
    """The subjects of messages that tell of none of the runs, but for alarms beside what runs and endpoint do."""
    runs = [run_of(arn) for arn in executions(app)]
    own = [message for message in mails(app.state) if app.stack in message.subject]
    alarms = ("failed-runs", "endpoint-errors", "endpoint-model-errors", "endpoint-latency", "endpoint-refusals")
    beside = tuple(f'ALARM: "{app.stack}-{name}"' for name in alarms)
    return [
        message.subject
        for message in own
        if message.path not in SEEN
        and not message.subject.startswith(beside)
        and not any(is_about(message, run) for run in runs)
    ]


def letters(app: App) -> list[dict[str, Any]]:
    """What waits in the dead-letter queue."""
    url = app.outputs["UndeliveredEventsUrl"]
    received = app.client("sqs").receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], VisibilityTimeout=0, MaxNumberOfMessages=10
    )
    return list(received.get("Messages", []))


def alarms(app: App) -> list[mailbox.Message]:
    """The mails of the dead-letter queue's alarm, each time that it was raised."""
    name = f'ALARM: "{app.stack}-undelivered-events"'
    return [message for message in mails(app.state) if message.subject.startswith(name)]


@contextmanager
def unchanged(app: App, *, dropped: int = 0) -> Iterator[None]:
    """What serves, its names and the data are afterwards as before, but for so many new versions of files."""
    serving, data = app.in_service(), versions(app, "raw/")
    yield
    assert app.in_service() == serving
    after = versions(app, "raw/")
    assert after >= data, f"gone: {data - after}"
    assert len(after - data) == dropped, f"new: {after - data}"


def end(app: App, execution_arn: str) -> End:
    """Wait for one execution and for its message."""
    return ends(app, {"one": execution_arn})["one"]


def dropped(app: App, key: str, body: bytes) -> End:
    """Put an object, wait for the run that its event started, and for its message."""
    before = executions(app)
    app.client("s3").put_object(Bucket=app.bucket, Key=key, Body=body)
    (arn,) = started_since(app, before)
    return end(app, arn)


def versions(app: App, prefix: str) -> set[tuple[str, str, str]]:
    """(key, version, ETag) of everything that is or was under a prefix."""
    pages = app.client("s3").get_paginator("list_object_versions").paginate(Bucket=app.bucket, Prefix=prefix)
    listed = [(kind, item) for page in pages for kind in ("Versions", "DeleteMarkers") for item in page.get(kind, [])]
    return {(item["Key"], item["VersionId"], item.get("ETag", kind)) for kind, item in listed}


def put(app: App, key: str, body: bytes) -> str:
    """Put an object and return its version."""
    return str(app.client("s3").put_object(Bucket=app.bucket, Key=key, Body=body)["VersionId"])


def read(app: App, key: str) -> bytes:
    """The content of an object."""
    return bytes(app.client("s3").get_object(Bucket=app.bucket, Key=key)["Body"].read())


def report(app: App, run: Run) -> dict[str, Any]:
    """What preprocessing counted."""
    return dict(json.loads(read(app, f"runs/{run.run_id}/report/report.json")))


def quarantine(app: App, run: Run) -> list[dict[str, Any]]:
    """The rows that a run put aside."""
    listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=f"runs/{run.run_id}/quarantine/")
    parts = (read(app, item["Key"]).decode() for item in listed.get("Contents", []))
    return [json.loads(line) for part in parts for line in part.splitlines()]


def delete(app: App, prefix: str) -> None:
    """Delete everything under a prefix, as a person does: with delete markers."""
    listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=prefix).get("Contents", [])
    for item in listed:
        app.client("s3").delete_object(Bucket=app.bucket, Key=item["Key"])


def same_rows(body: bytes, number: int) -> bytes:
    """The same rows in other bytes: new data for a run, and nothing that would make a model worse."""
    header, first, rest = body.split(b"\n", 2)
    price, _, others = first.partition(b",")
    return b"\n".join([header, price + b"0" * number + b"," + others, rest])


def names_of(app: App, run: str) -> dict[str, str]:
    """What a run exports to Parameter Store."""
    name, baselines = stem(app.stack, run), f"s3://{app.bucket}/runs/{run}/baselines"
    return {
        "model": name,
        "endpoint": app.endpoint,
        "endpoint-config": name,
        "data-quality-baseline": f"{baselines}/data-quality",
        "model-quality-baseline": f"{baselines}/model-quality",
        "bias-baseline": f"{baselines}/bias",
        "attribution-baseline": f"{baselines}/attribution",
        "model-package": version_of(app, run),
        "run": run,
    }


def version_of(app: App, run: str) -> str:
    """The one version that a run has registered; nothing where it has none."""
    began = datetime.strptime(run[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if run else datetime.now(UTC)
    listed = app.client("sagemaker").get_paginator("list_model_packages")
    pages = listed.paginate(ModelPackageGroupName=app.stack, CreationTimeAfter=began)
    versions = [
        item["ModelPackageArn"]
        for page in pages
        for item in page["ModelPackageSummaryList"]
        if item.get("ModelPackageDescription") == description.of_run(run)
    ]
    assert len(versions) < 2, versions
    return versions[0] if versions else ""


def is_whole(app: App, found: Mapping[str, Any]) -> bool:
    """Whether the endpoint serves what Parameter Store names (`App.in_service`), and all names are of one run."""
    names = names_of(app, found["Parameters"].get("run", ""))
    return (found["Status"], found["Config"], found["Parameters"]) == ("InService", names["endpoint-config"], names)


def cars() -> list[str]:
    """The real used cars as lines; the header is the first."""
    return demo_data.used_cars().decode().splitlines()


def table(lines: list[str], newline: str = "\n") -> bytes:
    """Lines as a file."""
    return (newline.join(lines) + newline).encode()


def copied_layer(built: Path, folder: Path) -> Path:
    """A copy of the build's layer, to be changed."""
    return Path(shutil.copytree(built.parent / "SharedLayer", folder / "layer"))


def with_layer(packaged: Path, layer: Path) -> Path:
    """The packaged template with another layer."""
    template = json.loads(packaged.read_text())
    file = deployment.pack(
        layer, layer.with_suffix(".zip"), zipfile.ZIP_STORED
    )  # for one stack, to compress it takes longer
    template["Resources"]["SharedLayer"]["Properties"]["ContentUri"] = str(file)
    path = layer.with_name("template.json")
    path.write_text(json.dumps(template))
    return path


def assert_told(end: End, *texts: str) -> None:
    """The one message names what, where and what to do; it says so in its first line where a run failed."""
    body = end.mail.body
    missing = [text for text in texts if text not in body]
    assert not missing, f"{missing} not in:\n{body}"
    if end.run.status != "SUCCEEDED":
        assert "What to do\n" in body, body
    assert len(end.mail.subject) < 100
