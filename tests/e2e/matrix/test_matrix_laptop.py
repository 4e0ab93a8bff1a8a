"""The line "The laptop" of the failure matrix, and the deletion of a stack: a local cloud of its own, in this order.

It is killed while a run works, finds its disk full, its port taken and itself already running; nothing is lost.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from localcloud import process
from localcloud.disk import RESERVE_VARIABLE
from localcloud.engine import environment
from tests.e2e.conftest import ROOT, App
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told
from tests.ports import free_port
from tests.waiting import wait_for
from tools import demo_data

pytestmark = pytest.mark.xdist_group("matrix-laptop")

STACK = "perennial-mx-laptop"
CAR = "12000,8,2,true,true,true,Cadillac,convertible"
ALL_OF_IT = str(1 << 30)  # a reserve that no disk has: a full one


@dataclasses.dataclass(frozen=True)
class Laptop:
    """A local cloud that the tests may kill."""

    port: int
    state: Path

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m localcloud` as a person does."""
        python = str(ROOT / ".venvs/dev/bin/python")
        place = ["--port", str(self.port), "--state", str(self.state)]
        return subprocess.run(
            [python, "-m", "localcloud", *place, *arguments],
            cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=90,
        )  # fmt: skip

    def up(self, **variables: str) -> None:
        started = self.command("up", **variables)
        assert started.returncode == 0, started.stderr

    def down(self) -> None:
        assert self.command("down").returncode == 0


@pytest.fixture(scope="module")
def laptop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A local cloud beside the session's; the process environment points at it for as long as it is there."""
    own = Laptop(free_port(), tmp_path_factory.mktemp("laptop"))
    before = dict(os.environ)
    own.up()
    os.environ.update(environment(own.port))
    yield own
    own.command("down")
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def app(laptop: Laptop, deploy: Callable[..., App]) -> App:
    return dataclasses.replace(deploy(STACK, QuietPeriodSeconds="0"), state=laptop.state)


@pytest.fixture(scope="module")
def first(app: App) -> End:
    end = situation.dropped(app, "raw/cars.csv", demo_data.used_cars())
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    return end


def refused(ended: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert ended.returncode == 1, ended.stdout
    assert [text for text in texts if text not in ended.stderr] == [], ended.stderr
    assert "Traceback" not in ended.stderr


@matrix("The laptop", "two of them at once, in one state folder", ends="the first goes on")
def test_a_second_one_in_the_same_folder_uses_the_first_or_is_refused(laptop: Laptop, app: App, first: End) -> None:
    again = laptop.command("up")
    assert (again.returncode, "was already up" in again.stdout) == (0, True)
    elsewhere = dataclasses.replace(laptop, port=free_port())
    refused(elsewhere.command("up"), f"already runs, on port {laptop.port}", "stop it first")
    assert json.loads(app.invoke(CAR))["score"] > 0


@matrix("The laptop", "two of them at once, on one port", ends="the first goes on")
def test_a_second_one_on_the_same_port_is_told_whose_it_is(
    laptop: Laptop, app: App, first: End, tmp_path: Path
) -> None:
    other = Laptop(laptop.port, tmp_path)
    refused(other.command("up"), f"Port {laptop.port} is in use by the local cloud of {laptop.state}", "Stop it")
    assert json.loads(app.invoke(CAR))["score"] > 0


@matrix("The laptop", "its port is taken by another program", ends="nothing starts")
def test_a_port_of_another_program_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(
            Laptop(port, tmp_path).command("up"), f"Port {port} is in use by another program", f"lsof -nP -iTCP:{port}"
        )


@matrix("The laptop", "the local cloud is killed while a run works, and started again", ends="Failed")
def test_a_kill_loses_the_run_and_nothing_else(laptop: Laptop, app: App, first: End) -> None:
    serving, answer = app.in_service(), app.invoke(CAR)
    data = situation.versions(app, "raw/")
    app.faults.add("job:preprocess", "hang")  # the end of the process forgets it
    arn = situation.start(app)
    jobs = app.client("sagemaker").list_processing_jobs
    wait_for(lambda: jobs(StatusEquals="InProgress")["ProcessingJobSummaries"], "a job that works")
    wait_for(lambda: _is_saved(laptop, arn), "the state on the disk")
    os.kill((process.describe(laptop.state) or {})["pid"], signal.SIGKILL)
    wait_for(lambda: process.describe(laptop.state) is None, "the end of the process")
    laptop.up()
    end = situation.end(app, arn)
    assert end.run.status == "FAILED"
    assert_told(end, "Run failed", "interrupted", "raw/")
    wait_for(lambda: app.in_service()["Status"] == "InService", "the endpoint")
    assert app.in_service() == serving
    assert app.invoke(CAR) == answer
    assert situation.versions(app, "raw/") == data
    assert not jobs(StatusEquals="InProgress")["ProcessingJobSummaries"]


def _is_saved(laptop: Laptop, arn: str) -> bool:
    path = laptop.state / "engine/stepfunctions.json"
    return path.exists() and arn in path.read_text()


@matrix("The laptop", "its disk is full", ends="Failed")
def test_a_full_disk_is_said_and_nothing_is_half_written(laptop: Laptop, app: App, first: End) -> None:
    serving, before = app.in_service(), situation.versions(app, "raw/")
    laptop.down()
    laptop.up(**{RESERVE_VARIABLE: ALL_OF_IT})
    wait_for(lambda: app.in_service()["Status"] == "InService", "the endpoint")
    with pytest.raises(ClientError, match="the disk of the local cloud is full"):
        situation.put(app, "raw/large.csv", demo_data.new_listings(5000, seed=3))
    assert "the disk of the local cloud is full" in laptop.command("status").stdout
    end = situation.end(app, situation.start(app))
    assert end.run.status == "FAILED"
    assert_told(end, "in state 'Snapshot data'", "the disk of the local cloud is full", "Free some space")
    assert json.loads(app.invoke(CAR))["score"] > 0
    laptop.down()
    laptop.up()
    wait_for(lambda: app.in_service()["Status"] == "InService", "the endpoint")
    assert app.in_service() == serving
    assert situation.versions(app, "raw/") == before


def test_a_healthy_drop_works_after_all_this(app: App, first: End) -> None:
    end = situation.dropped(app, "raw/more.csv", demo_data.new_listings(3000, seed=2))
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert app.parameters()["run"] == end.run.run_id


@matrix("People", "the stack is deleted and deployed again beside its kept bucket", ends="Succeeded")
def test_a_stack_that_was_deleted_is_deployed_again_and_takes_its_old_data(
    app: App, first: End, deploy: Callable[..., App]
) -> None:
    s3, data = app.client("s3"), situation.versions(app, "raw/")
    answer = app.invoke(CAR)
    app.client("cloudformation").delete_stack(StackName=app.stack)
    app.client("cloudformation").get_waiter("stack_delete_complete").wait(
        StackName=app.stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert situation.versions(app, "raw/") == data
    assert app.client("dynamodb").describe_table(TableName=app.outputs["RunTableName"])["Table"]["ItemCount"] > 0
    assert app.invoke(CAR) == answer  # the endpoint is no part of the stack
    names = [f"{app.outputs['ParameterPrefix']}/{name}" for name in app.parameters()]
    app.client("ssm").delete_parameters(Names=names)  # docs/operate.md says why
    again = dataclasses.replace(deploy(STACK, QuietPeriodSeconds="2"), state=app.state)
    assert again.bucket != app.bucket
    before = situation.executions(again)
    keys = sorted({key for key, _, _ in data})
    for key in keys:
        s3.copy_object(CopySource={"Bucket": app.bucket, "Key": key}, Bucket=again.bucket, Key=key)
    arns = situation.started_since(again, before, len(keys))
    runs = {arn: situation.end_of(again, arn) for arn in arns}
    (worked,) = (arn for arn, run in runs.items() if "Decision" not in run.output)
    end = situation.end(again, worked)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert_told(end, "none; this is the first model")
    assert again.in_service()["Config"].endswith(end.run.run_id)
    assert again.parameters()["run"] == end.run.run_id
    assert [file["Key"] for file in app.record(first.run)["data"]["files"]] == ["raw/cars.csv"]  # the old records stay
    assert sorted(file["name"] for file in situation.report(again, end.run)["files"]) == keys
