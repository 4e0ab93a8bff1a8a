"""How long eight steps that do nothing take, warm: Pass states and Lambda tasks, beside MiniStack as it is published.

    python -m bench.bench_orchestration [--rounds 15] [--write]

An execution is measured from StartExecution until DescribeExecution says that it has ended. Ours saves every event
before it goes on and asks whether the role may; the peer is the same version of MiniStack in a process of its own,
unchanged, in turn. Memory is that of the server with its functions, after all of it. Exits with 1 when a bound is
missed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3

from bench import local_stack, processes
from bench.table import Row, finish

STEPS = 8
KINDS = ("Pass", "Task")
SERVICES = [f"{name}.amazonaws.com" for name in ("lambda", "sagemaker", "states")]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": SERVICES}, "Action": "sts:AssumeRole"}],
}
ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Clients:
    """Clients of one local AWS."""

    def __init__(self, **options: str) -> None:
        self._options = options

    def __getattr__(self, service: str) -> Any:
        make: Any = boto3.client
        made = make(service, **self._options)
        setattr(self, service, made)
        return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        settings = stack.enter_context(local_stack.local_cloud())
        options, peer = stack.enter_context(ministack())
        sides = {"us": Clients(), "peer": Clients(**options)}
        machines = {side: prepare(clients) for side, clients in sides.items()}
        took: dict[tuple[str, str], list[float]] = {}
        for number in range(-1, arguments.rounds):
            for side, clients in sides.items():
                for kind, arn in machines[side].items():
                    seconds = run(clients, arn)
                    if number >= 0:  # the first round starts functions
                        took.setdefault((kind, side), []).append(seconds)
        mebibytes = [processes.mebibytes_of_all(server) for server in (local_stack.pid(settings), peer)]
    medians = {key: statistics.median(values) for key, values in took.items()}
    text = (
        f"Medians of {arguments.rounds} executions, warm, from StartExecution to the end as DescribeExecution says it. "
        "Floor: an execution of one state. MiniStack is of the same version, in a process of its own, unchanged."
    )
    names = {"Pass": f"{STEPS} Pass states", "Task": f"{STEPS} Lambda tasks"}
    rows = [
        Row(names[kind], medians[kind, "us"], "s", medians["one", "us"], {"MiniStack": medians[kind, "peer"]})
        for kind in KINDS
    ]
    rows.append(Row("memory", mebibytes[0], "MiB", peers={"MiniStack": mebibytes[1]}))
    return finish("orchestration", text, rows, arguments.write, "one state")


@contextmanager
def ministack() -> Iterator[tuple[dict[str, str], int]]:
    """Start MiniStack as it is published, with its state saved as its own switch does.

    Yields options of clients, and its process.
    """
    port = local_stack.free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {
            "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "PERSIST_STATE": "1", "STATE_DIR": f"{folder}/state",
            "S3_DATA_DIR": f"{folder}/s3", "LAMBDA_EXECUTOR": "local", "DOCKER_HOST": f"unix://{folder}/no.sock",
            "TMPDIR": folder,
        }  # fmt: skip
        with (Path(folder) / "log").open("wb") as log:
            command = [sys.executable, "-m", "ministack"]
            process = subprocess.Popen(command, env=environment | own, cwd=folder, stdout=log, stderr=log)
        try:
            local_stack.wait_for_port(port)
            options = {
                "endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1",
                "aws_access_key_id": "test", "aws_secret_access_key": "test",
            }  # fmt: skip
            yield options, process.pid
        finally:
            process.terminate()
            process.wait(30)


def prepare(clients: Clients) -> dict[str, str]:
    """Make the state machines; return their ARNs by what their states are."""
    role = make_role(clients)
    function = make_function(clients, role)
    nothing: dict[str, Any] = {"Type": "Pass"}
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": {}},
        "Output": "{% $states.result.Payload %}",
    }
    chains = {"Pass": (STEPS, nothing), "Task": (STEPS, task), "one": (1, nothing)}
    return {
        name: clients.stepfunctions.create_state_machine(
            name=f"bench-{name}", definition=json.dumps(chain(number, state)), roleArn=role
        )["stateMachineArn"]
        for name, (number, state) in chains.items()
    }


def make_role(clients: Clients) -> str:
    """Make a role that may do anything."""
    role = clients.iam.create_role(RoleName="bench", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    clients.iam.put_role_policy(RoleName="bench", PolicyName="all", PolicyDocument=json.dumps(ANYTHING))
    return str(role)


def make_function(clients: Clients, role: str) -> str:
    """Make a function that does nothing."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return {}\n")
    return str(
        clients.__getattr__("lambda").create_function(
            FunctionName="bench-nothing", Runtime="python3.11", Role=role, Handler="app.handler",
            Code={"ZipFile": packed.getvalue()},
        )["FunctionArn"]
    )  # fmt: skip


def chain(number: int, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state machine of so many states, one after the other."""
    states = {f"Step {step}": {**state, "Next": f"Step {step + 1}"} for step in range(1, number)}
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Step 1",
        "States": {**states, f"Step {number}": {**state, "End": True}},
    }


def run(clients: Clients, arn: str) -> float:
    """Execute a state machine; return the seconds. Raises RuntimeError: it did not succeed."""
    began = time.perf_counter()
    execution = clients.stepfunctions.start_execution(stateMachineArn=arn, input="{}")["executionArn"]
    while (description := clients.stepfunctions.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.002)
    if description["status"] != "SUCCEEDED":
        raise RuntimeError(
            f"{execution} ended as {description['status']}: {description.get('error')}: {description.get('cause')}"
        )
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
