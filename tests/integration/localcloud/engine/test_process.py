"""`python -m localcloud`: one server for each state folder, found and ended again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud import faults, process
from localcloud.settings import PROJECT, Settings
from tests.integration import servers
from tests.integration.conftest import Cloud, make_function, with_role
from tests.integration.sagemaker_requests import processing
from tests.ports import free_port
from tests.waiting import wait_for

SHELL = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def run(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    return servers.command(*arguments, env={**SHELL, **options})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    run("down", "--state", str(tmp_path / "state"))


def test_up_status_and_down_of_one_server(state: Path) -> None:
    port, place = str(free_port()), ("--state", str(state))
    assert run("status", *place).returncode == 1

    up = run("up", "--port", port, *place)

    assert up.returncode == 0, up.stderr
    assert f"up at http://127.0.0.1:{port}" in up.stdout
    assert f'eval "$({sys.executable} {PROJECT}/localcloud --state {state} env)"' in up.stdout
    assert "AWS_SECRET" not in up.stdout
    again = run("up", *place)
    assert (again.returncode, "already up" in again.stdout) == (0, True)
    status = run("status", *place)
    assert status.returncode == 0
    assert "MiniStack 1.5.33" in status.stdout
    assert run("down", *place).stdout == "The local cloud is stopped.\n"
    assert run("status", *place).returncode == 1
    assert run("down", *place).returncode == 0


def test_it_listens_on_the_loopback_only(cloud: Cloud) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.2", cloud.settings.port))  # fails when someone listens on all addresses


def test_two_at_once_start_one_server(state: Path) -> None:
    command = [sys.executable, "-m", "localcloud", "up", "--port", str(free_port()), "--state", str(state)]
    both = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    said = sorted(process.communicate(timeout=90)[0].split("up at")[0] for process in both)

    assert [process.returncode for process in both] == [0, 0]
    assert said == ["The local cloud is ", "The local cloud was already "]


def test_a_port_of_another_program_is_refused_with_what_to_do(state: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        refused = run("up", "--port", str(port), "--state", str(state))

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: Port {port} is in use by another program.")
    assert "--port" in refused.stderr


def test_a_port_of_another_local_cloud_is_refused_with_its_folder(cloud: Cloud, state: Path) -> None:
    refused = run("up", "--port", str(cloud.settings.port), "--state", str(state))

    assert refused.returncode == 1
    assert f"in use by the local cloud of {cloud.state}" in refused.stderr


def test_a_state_folder_in_use_is_refused(cloud: Cloud) -> None:
    refused = run("up", "--foreground", "--port", str(free_port()), "--state", str(cloud.state))

    assert refused.returncode == 1
    assert f"The state folder {cloud.state} is in use by another local cloud." in refused.stderr


def test_another_port_for_a_running_one_is_refused(cloud: Cloud) -> None:
    refused = run("up", "--port", str(free_port()), "--state", str(cloud.state))

    assert refused.returncode == 1
    assert f"already runs, on port {cloud.settings.port}" in refused.stderr


def test_env_runs_a_command_against_the_running_one(cloud: Cloud) -> None:
    ask = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"

    asked = run(
        "env", "--state", str(cloud.state), "--", sys.executable, "-c", ask,
        AWS_CA_BUNDLE="/nowhere.pem", AWS_PROFILE="nobody", HTTP_PROXY="http://127.0.0.1:9",
    )  # fmt: skip

    assert (asked.returncode, asked.stdout) == (0, "000000000000\n"), asked.stderr


def test_a_command_against_another_port_than_the_running_one_is_refused(cloud: Cloud) -> None:
    refused = run("env", "--port", "4999", "--state", str(cloud.state), "--", "true")

    assert refused.returncode == 1
    assert f"runs on port {cloud.settings.port}, not 4999." in refused.stderr


def test_a_command_is_not_run_where_no_local_cloud_runs(state: Path) -> None:
    refused = run("env", "--state", str(state), "--", "echo", "ran")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"error: No local cloud runs from {state}. Start it: make up, or" in refused.stderr


def test_env_prints_what_a_shell_can_evaluate(cloud: Cloud) -> None:
    script = (
        f'eval "$({sys.executable} -m localcloud env --state {cloud.state})"; echo "$AWS_ENDPOINT_URL/$AWS_PROFILE"'
    )
    variables = {**SHELL, "AWS_PROFILE": "nobody"}

    shell = subprocess.run(
        ["sh", "-c", script], cwd=PROJECT, env=variables, capture_output=True, text=True, check=True, timeout=30
    )

    assert shell.stdout == f"{cloud.endpoint_url}/\n"


def test_it_works_from_any_folder(cloud: Cloud, tmp_path: Path) -> None:
    command = [sys.executable, str(PROJECT / "localcloud"), "status", "--state", str(cloud.state)]

    status = subprocess.run(command, cwd=tmp_path, env=SHELL, capture_output=True, text=True, check=False, timeout=30)

    assert (status.returncode, cloud.endpoint_url in status.stdout) == (0, True), status.stderr


def test_env_gives_the_session_of_a_role(cloud: Cloud) -> None:
    ask = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"

    asked = run("env", "--role", "test", "--state", str(cloud.state), "--", sys.executable, "-c", ask)

    arn = "arn:aws:sts::000000000000:assumed-role/test/localcloud"
    assert (asked.returncode, asked.stdout) == (0, f"{arn}\n"), asked.stderr


def test_env_says_why_a_role_cannot_be_assumed(cloud: Cloud) -> None:
    refused = run("env", "--role", "Nobody", "--state", str(cloud.state), "--", "true")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: The role Nobody cannot be assumed: Role Nobody not found.\n"


def test_mail_lists_and_shows(cloud: Cloud) -> None:
    sns = cloud.client("sns")
    topic = sns.create_topic(Name="cli-mail")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="cli@example.com")
    sns.publish(TopicArn=topic, Subject="From the CLI test", Message="the text")

    listed, latest = run("mail", "--state", str(cloud.state)), run("mail", "--latest", "--state", str(cloud.state))

    row = next(line for line in listed.stdout.splitlines() if "From the CLI test" in line)
    assert "cli@example.com" in row
    assert "Subject: From the CLI test" in latest.stdout
    assert "the text" in run("mail", row.split()[0], "--state", str(cloud.state)).stdout
    missing = run("mail", "9999", "--state", str(cloud.state))
    assert (missing.returncode, "No mail 9999: there are mails 1 to" in missing.stderr) == (1, True)


def test_logs_lists_groups_and_shows_and_follows_one(cloud: Cloud) -> None:
    function = make_function(cloud, "def handler(event, context):\n    print('said', event['n'])\n").rsplit(":", 1)[1]

    def invoke(n: int) -> None:
        cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"n": n}))

    invoke(1)
    assert f"/aws/lambda/{function}" in run("logs", "--state", str(cloud.state)).stdout.splitlines()
    assert "said 1" in run("logs", function, "--state", str(cloud.state)).stdout
    command = [sys.executable, "-m", "localcloud", "logs", function, "--follow", "--state", str(cloud.state)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, env=SHELL) as follower:
        assert follower.stdout
        lines = iter(follower.stdout.readline, "")
        assert any("said 1" in line for line in lines)
        invoke(2)
        assert any("said 2" in line for line in lines)
        follower.terminate()
    assert run("logs", "nothing", "--state", str(cloud.state)).returncode == 1
    assert "local cloud at" in run("logs", "--server", "--state", str(cloud.state)).stdout


def test_results_are_json_for_machines(cloud: Cloud) -> None:
    cloud.client("logs").create_log_group(logGroupName="/test/json")
    cloud.client("logs").create_log_stream(logGroupName="/test/json", logStreamName="one")
    event = {"timestamp": 1_700_000_000_000, "message": "said"}
    cloud.client("logs").put_log_events(logGroupName="/test/json", logStreamName="one", logEvents=[event])

    def printed(*words: str) -> Any:
        ended = run(*words, "--json", "--state", str(cloud.state))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    assert (printed("status")["status"], printed("status")["endpoint"]) == ("up", cloud.endpoint_url)
    assert printed("env")["AWS_ENDPOINT_URL"] == cloud.endpoint_url
    assert "/test/json" in printed("logs")
    assert {**printed("logs", "/test/json"), "time": None} == {"time": None, "stream": "one", "message": "said"}
    fault = printed("faults", "add", "function:nobody", "--timeout")
    assert fault in printed("faults", "list")
    assert printed("faults", "clear", str(fault["id"])) == {"cleared": 1}
    assert run("logs", "--server", "--json", "--state", str(cloud.state)).returncode == 1


def started_by(state: Path) -> list[int]:
    """The processes whose files are in the state folder: what a server has started."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if f" TMPDIR={state}/" in line]


def test_what_a_killed_server_has_started_ends_with_it(state: Path) -> None:
    """A function that works, and what it has started itself; a job; and before all of them the server."""
    settings = Settings(free_port(), state)
    process.start(settings)
    cloud = with_role(Cloud(settings))
    source = (
        "import subprocess, time\n"
        "def handler(event, context):\n    subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "    time.sleep(600)\n"
    )
    cloud.client("lambda").invoke(FunctionName=make_function(cloud, source), InvocationType="Event")
    job = processing("hangs", "import time; time.sleep(600)", "/opt/ml")
    with faults.Client(cloud.environment()).injected("job:hangs", "hang"):
        cloud.client("sagemaker").create_processing_job(**job)
        wait_for(lambda: len(started_by(state)) >= 3, "function, its process and the job")
    running = process.describe(state)
    assert running

    os.kill(running["pid"], signal.SIGKILL)

    wait_for(lambda: not started_by(state), "the end of all of them", 10)


def test_a_server_ends_with_its_owner(state: Path) -> None:
    """What `make test` starts ends when that is interrupted, however it is."""
    script = f"""
import os, subprocess, sys, time
command = [sys.executable, "-m", "localcloud", "up", "--state", {str(state)!r}, "--port", "{free_port()}"]
subprocess.run(command, env={{**os.environ, "LOCALCLOUD_OWNER": str(os.getpid())}}, check=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.DEVNULL) as owner:
        wait_for(lambda: process.describe(state), "the server", 60)
        wait_for(lambda: run("status", "--state", str(state)).returncode == 0, "it to be up", 60)
        owner.kill()

    wait_for(lambda: process.describe(state) is None, "its end", 30)


def test_a_shutdown_that_is_held_up_ends_all_the_same(state: Path) -> None:
    """A custom resource whose function never answers keeps MiniStack from ending in order."""
    port, place = free_port(), ("--state", str(state))
    assert run("up", "--port", str(port), *place).returncode == 0
    template = {
        "Resources": {
            "Never": {
                "Type": "Custom::Never",
                "Properties": {"ServiceToken": "arn:aws:lambda:us-east-1:000000000000:function:mute"},
            }
        }
    }
    script = f"""
import boto3, io, json, zipfile
trust = {{"Effect": "Allow", "Principal": {{"Service": "lambda.amazonaws.com"}}, "Action": "sts:AssumeRole"}}
boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps({{"Statement": [trust]}}))
package = io.BytesIO()
with zipfile.ZipFile(package, "w") as archive:
    archive.writestr("app.py", "def handler(event, context): pass")
boto3.client("lambda").create_function(FunctionName="mute", Runtime="python3.13", Handler="app.handler",
    Role="arn:aws:iam::000000000000:role/r", Code={{"ZipFile": package.getvalue()}})
boto3.client("cloudformation").create_stack(StackName="waits", TemplateBody={json.dumps(json.dumps(template))})
"""
    started = run("env", *place, "--", sys.executable, "-c", script)
    assert started.returncode == 0, started.stderr
    time.sleep(1)

    began = time.monotonic()
    assert run("down", *place).returncode == 0
    assert time.monotonic() - began < 25
    assert run("up", "--port", str(port), *place).returncode == 0
    wait_for(lambda: run("status", *place).returncode == 0, "it to be up again")
