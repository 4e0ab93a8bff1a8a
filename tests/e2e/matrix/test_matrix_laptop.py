"""The line "The laptop" of the failure matrix, and the deletion of a stack: a local cloud of its own, in this order.

It finds itself already running and its port taken, is killed while a run works, and finds its disk full; nothing is
lost.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from localcloud import process
from localcloud.disk import RESERVE_VARIABLE
from localcloud.settings import Settings
from tests.e2e.conftest import App, Run, package, pointed_at
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told
from tests.e2e.matrix.trips import Fault, fault
from tests.integration import servers
from tests.ports import free_port
from tests.waiting import wait_for
from tools import demo_data

pytestmark = pytest.mark.xdist_group("matrix-laptop")

STACK = "perennial-mx-laptop"
CAR = "12000,8,2,true,true,true,Cadillac,convertible"
FEW_ROUNDS = r"{\"num_round\":25,\"eta\":0.4}"  # how well a model is trained makes no difference here
ALL_OF_IT = str(1 << 30)  # a reserve that no disk has: a full one


@dataclasses.dataclass(frozen=True)
class Laptop:
    """A local cloud that the tests may kill."""

    port: int
    state: Path

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m localcloud` as a person does."""
        place = ["--port", str(self.port), "--state", str(self.state)]
        return servers.command(*place, *arguments, env={**os.environ, **variables})

    def up(self, **variables: str) -> None:
        started = self.command("up", **variables)
        assert started.returncode == 0, started.stderr

    def down(self) -> None:
        assert self.command("down").returncode == 0


@pytest.fixture(scope="module")
def laptop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A local cloud beside the session's; the process environment points at it for as long as it is there."""
    own = Laptop(free_port(), tmp_path_factory.mktemp("laptop"))
    own.up()
    with pointed_at(Settings(own.port, own.state)):
        yield own
    own.command("down")


@pytest.fixture(scope="module")
def template(laptop: Laptop, built: Path) -> Path:
    """What `sam package` makes for this local cloud."""
    return package(built, built.with_name("laptop.json"))


@pytest.fixture(scope="module")
def app(laptop: Laptop, deploy: Callable[..., App], template: Path) -> App:
    deployed = deploy(STACK, template, QuietPeriodSeconds="0", HyperParameters=FEW_ROUNDS)
    return dataclasses.replace(deployed, state=laptop.state)


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


@dataclasses.dataclass(frozen=True)
class Kill:
    """The local cloud is killed while a run works, and what must be so when it has been started again.

    held     the fault that holds the run in the state; the end of the process forgets it
    at_work  what is under way there
    serves   whose configuration the endpoint serves: the one "before", or the "new" one, whose update was over; its
             names are then put right by the next drop
    names    what Parameter Store already has of the new model
    advises  a text of the mail's part "What to do"
    """

    state: str
    held: Fault
    at_work: Callable[[App], bool] = lambda app: app.in_service()["Status"] == "InService"
    serves: Literal["before", "new"] = "before"
    names: tuple[str, ...] = ()
    advises: str = "start a run"

    def left(self, app: App, run: str, before: dict[str, Any]) -> dict[str, Any]:
        """What serves in the end, as `App.in_service` says it."""
        new = situation.names_of(app, run)
        config = new["endpoint-config"] if self.serves == "new" else before["Config"]
        names = {**before["Parameters"], **{name: new[name] for name in self.names}}
        return {"Status": "InService", "Config": config, "Parameters": names}


def a_job_works(app: App) -> bool:
    return bool(app.client("sagemaker").list_processing_jobs(StatusEquals="InProgress")["ProcessingJobSummaries"])


HELD_SECONDS = 600.0
KILLS = [
    Kill("Preprocess", fault("job:preprocess", "hang"), at_work=a_job_works),
    # What had not switched the traffic yet is rolled back.
    Kill("Wait for deployment", fault("endpoint", "delay", seconds=HELD_SECONDS),
         at_work=lambda app: app.in_service()["Status"] == "Updating", advises="may serve the new model"),
    # What had switched it stays, and is named by the next run.
    Kill("Verify endpoint", fault("function:verify_endpoint", "delay", seconds=HELD_SECONDS),
         serves="new", advises="may serve the new model"),
    Kill("Write parameter", fault("task:ssm:putParameter", "delay", seconds=HELD_SECONDS, skip=1),
         serves="new", names=("model",), advises="writes them all"),
]  # fmt: skip


def killed_in(state: str) -> pytest.MarkDecorator:
    return matrix("The laptop", f"it is killed while a run works, and started again ({state})", ends="Failed")


@pytest.mark.parametrize("kill", [pytest.param(kill, id=kill.state, marks=killed_in(kill.state)) for kill in KILLS])
def test_a_kill_loses_the_run_and_nothing_else(laptop: Laptop, app: App, first: End, kill: Kill) -> None:
    before, answer, data = app.in_service(), app.invoke(CAR), situation.versions(app, "raw/")
    app.faults.add(**kill.held)
    arn = situation.start(app)
    left = kill.left(app, situation.run_of(arn), before)
    kill_in(laptop, app, arn, kill, left["Parameters"])
    laptop.up()
    end = situation.end(app, arn)
    assert end.run.status == "FAILED"
    assert_told(end, "Run failed", f"in state '{kill.state}'", "interrupted", "raw/")
    assert kill.advises in end.mail.body.partition("What to do")[2]
    wait_for(lambda: app.in_service()["Status"] == "InService", "the endpoint")
    assert app.in_service() == left
    assert app.invoke(CAR) == answer  # the new model has learned from the same data
    assert situation.versions(app, "raw/") == data
    assert not a_job_works(app)
    if kill.serves == "new":
        assert_a_drop_works(app, KILLS.index(kill) + 1)
    else:  # the runs of the next kills, which come further, and the drops after them find nothing wrong
        assert situation.is_whole(app, left), left


def assert_a_drop_works(app: App, number: int) -> None:
    """The next thing that happens, with nothing put right by hand: other bytes, each time."""
    end = situation.dropped(app, "raw/cars.csv", situation.same_rows(demo_data.used_cars(), number))
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    found = app.in_service()
    assert situation.is_whole(app, found), found
    assert found["Parameters"]["run"] == end.run.run_id
    assert json.loads(app.invoke(CAR))["score"] > 0


def kill_in(laptop: Laptop, app: App, arn: str, kill: Kill, names: dict[str, str]) -> None:
    """Kill the local cloud when its disk knows that the run is in the state, and these names.

    It stands still while that is looked at, so that nothing else is there when it is killed.
    """
    pid = (process.describe(laptop.state) or {})["pid"]

    def stands_there() -> bool:
        assert Run.ended(arn) is None, f"the run ended before {kill.state!r}: {Run.ended(arn)}"
        if not kill.at_work(app):
            return False
        os.kill(pid, signal.SIGSTOP)
        there = False
        try:
            there = is_saved(laptop, arn, kill.state) and saved_names(laptop, app) == names
        finally:
            os.kill(pid, signal.SIGKILL if there else signal.SIGCONT)
        return there

    wait_for(stands_there, f"{arn} in {kill.state!r} on the disk, with {names}", situation.LIMIT_SECONDS, pause=0.3)
    wait_for(lambda: process.describe(laptop.state) is None, "the end of the process")


def is_saved(laptop: Laptop, arn: str, state: str) -> bool:
    """Whether the disk knows that an execution has entered a state, and not that it has left it."""
    written = [path.read_text() for path in (laptop.state / "engine/executions").iterdir()]
    lines = [json.loads(line) for content in written if f'"{arn}"' in content for line in content.splitlines()]
    passed = [
        (kind, line["event"][f"state{kind}EventDetails"]["name"])
        for line in lines
        for kind in ("Entered", "Exited")
        if f"state{kind}EventDetails" in line.get("event", {})
    ]
    return passed[-1:] == [("Entered", state)]


def saved_names(laptop: Laptop, app: App) -> dict[str, str]:
    prefix = f"{app.outputs['ParameterPrefix']}/"
    saved = json.loads((laptop.state / "engine/ssm.json").read_text())["payload"]["parameters"]["data"].values()
    names = {item["Name"]: item["Value"] for item in saved}
    return {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}


@matrix("The laptop", "its disk is full", ends="Failed")
def test_a_full_disk_is_said_and_nothing_is_half_written(laptop: Laptop, app: App, first: End) -> None:
    serving, before = app.in_service(), situation.versions(app, "raw/")
    situation.put(app, "cases/uncopied/cars.csv", demo_data.used_cars())
    laptop.down()
    laptop.up(**{RESERVE_VARIABLE: ALL_OF_IT, "LOCALCLOUD_RETRY_SCALE": "0.01"})
    wait_for(lambda: app.in_service()["Status"] == "InService", "the endpoint")
    with pytest.raises(ClientError, match="the disk of the local cloud is full"):
        situation.put(app, "raw/large.csv", demo_data.new_listings(5000, seed=3))
    assert "the disk of the local cloud is full" in laptop.command("status").stdout
    end = situation.end(app, situation.start(app, DataPrefix="cases/uncopied/"))
    assert end.run.status == "FAILED"
    assert_told(end, "in state 'Snapshot data'", "the disk of the local cloud is full", "Free some space")
    assert json.loads(app.invoke(CAR))["score"] > 0
    laptop.down()
    laptop.up()
    wait_for(lambda: app.in_service()["Status"] == "InService", "the endpoint")
    assert app.in_service() == serving
    assert situation.versions(app, "raw/") == before


@matrix("The laptop", "it is killed while a drop's event waits for its retry, and started again", ends="Succeeded")
def test_a_drop_that_no_run_knows_yet_is_trained_after_a_kill(laptop: Laptop, app: App, first: End) -> None:
    """It is the healthy drop after all this, too."""
    before = situation.executions(app)
    number = app.faults.add("event:train-model", "throttle")
    situation.put(app, "raw/more.csv", demo_data.new_listings(3000, seed=2))
    wait_for(lambda: app.faults.fired(number), "the try that was throttled")
    os.kill((process.describe(laptop.state) or {})["pid"], signal.SIGKILL)
    wait_for(lambda: process.describe(laptop.state) is None, "the end of the process")
    laptop.up()
    (arn,) = situation.started_since(app, before)
    end = situation.end(app, arn)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    found = app.in_service()
    assert situation.is_whole(app, found), found
    assert found["Parameters"]["run"] == end.run.run_id
    assert situation.executions(app) == [arn, *before]


@matrix("People", "the stack is deleted and deployed again beside its kept bucket", ends="Succeeded")
def test_a_stack_that_was_deleted_is_deployed_again_and_takes_its_old_data(
    app: App, first: End, deploy: Callable[..., App], template: Path
) -> None:
    s3, data = app.client("s3"), situation.versions(app, "raw/")
    app.client("cloudformation").delete_stack(StackName=app.stack)
    app.client("cloudformation").get_waiter("stack_delete_complete").wait(
        StackName=app.stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert situation.versions(app, "raw/") == data
    assert app.client("dynamodb").describe_table(TableName=app.outputs["RunTableName"])["Table"]["ItemCount"] > 0
    assert app.client("sagemaker").list_endpoints()["Endpoints"] == []
    assert app.parameters() == {}
    again = dataclasses.replace(deploy(STACK, template, QuietPeriodSeconds="2"), state=app.state)
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
