"""Drop data into the bucket of the local stack, follow the run live and show what it left.

The local cloud is up and the stack is deployed when this starts (`make demo` sees to both). The first drop is the
real used-car data; every later one is a file of new listings, so that the run meets a model in service.

Exit code 0 only if the run ended, a model serves, a prediction came back, the names are in Parameter Store and the
mail arrived.
"""

import argparse
import csv
import io
import json
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from localcloud import mailbox
from perennial.runs.naming import run_id
from perennial.words import printable
from perennial_cli import stacks
from tools import demo_data, terminal

RUN_LIMIT_SECONDS = 300
NOTICE_LIMIT_SECONDS = 30
FOOTER = "\n--\n"
NEW_LISTINGS = 200
SAMPLE_NAME = "a Cadillac convertible"
SAMPLE = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip

console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """Something that the demo promises did not happen; the text says what and where to look."""


@dataclass(frozen=True)
class Stack:
    """The outputs of the deployed stack."""

    bucket: str
    state_machine_arn: str
    endpoint: str
    parameter_prefix: str


def find_stack(name: str) -> Stack:
    try:
        stack = stacks.find(name)
    except stacks.NoStackError as error:
        raise DemoError(f"{error}; `make deploy-local` deploys one") from error
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}
    return Stack(
        bucket=outputs["BucketName"],
        state_machine_arn=outputs["StateMachineArn"],
        endpoint=outputs["EndpointName"],
        parameter_prefix=outputs["ParameterPrefix"],
    )


def drop(stack: Stack) -> tuple[str, float]:
    """Put the next data file; return the version that the bucket gave it and when (monotonic seconds)."""
    s3 = boto3.client("s3")
    number = s3.list_objects_v2(Bucket=stack.bucket, Prefix="raw/").get("KeyCount", 0) + 1
    body = demo_data.used_cars() if number == 1 else demo_data.new_listings(NEW_LISTINGS, seed=number)
    rows = sum(1 for _ in csv.reader(io.StringIO(body.decode()))) - 1
    key = f"raw/cars-{number:04d}.csv"
    version = s3.put_object(Bucket=stack.bucket, Key=key, Body=body, ContentType="text/csv")["VersionId"]
    what = "the used-car data" if number == 1 else "new listings"
    console.print(f"\n[bold]Dropped {what}[/bold]: {rows} rows -> s3://{stack.bucket}/{key}")
    return version, time.monotonic()


def execution_for(stack: Stack, version: str) -> str:
    """Return the execution that the S3 event of this object version started."""
    states = boto3.client("stepfunctions")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for item in states.list_executions(stateMachineArn=stack.state_machine_arn, maxResults=10)["executions"]:
            document = json.loads(states.describe_execution(executionArn=item["executionArn"])["input"])
            if document.get("Trigger", {}).get("Object", {}).get("version-id") == version:
                return item["executionArn"]
        time.sleep(0.2)
    raise DemoError(
        "no execution started within 30 s of the drop; see `python -m localcloud logs --server` "
        "and the rule that maps the bucket to the state machine"
    )


def history(execution_arn: str) -> list[dict[str, Any]]:
    pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [dict(event) for page in pages for event in page["events"]]


def state_spans(events: list[dict[str, Any]]) -> Iterator[tuple[str, float | None]]:
    """Yield (state name, seconds or None while it runs) in the order the states were entered."""
    entered: dict[str, list[Any]] = {}
    for event in events:
        if event["type"].endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            entered.setdefault(name, [event["timestamp"], None])
        elif event["type"].endswith("StateExited"):
            name = event["stateExitedEventDetails"]["name"]
            if name in entered:
                entered[name][1] = event["timestamp"]
    for name, (start, end) in entered.items():
        yield name, (end - start).total_seconds() if end else None


def follow(execution_arn: str) -> dict[str, Any]:
    """Print a line for each state as it ends, with a progress display for what runs, until the execution ends."""
    states = boto3.client("stepfunctions")
    printed: set[str] = set()
    deadline = time.monotonic() + RUN_LIMIT_SECONDS
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(pulse_style="cyan"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        running: dict[str, Any] = {}
        while time.monotonic() < deadline:
            execution = states.describe_execution(executionArn=execution_arn)
            for name, seconds in state_spans(history(execution_arn)):
                if seconds is None and name not in running and execution["status"] == "RUNNING":
                    running[name] = progress.add_task(name, total=None)
                elif seconds is not None and name not in printed:
                    printed.add(name)
                    if name in running:
                        progress.remove_task(running.pop(name))
                    progress.console.print(f"  [green]✓[/green] {name:<36} {seconds:6.1f} s")
            if execution["status"] != "RUNNING":
                return dict(execution)
            time.sleep(0.2)
    raise DemoError(f"the run did not end within {RUN_LIMIT_SECONDS} s: {execution_arn}")


def run_record(stack: Stack, identifier: str) -> dict[str, Any]:
    """Return the run's own document, once the notification has closed it."""
    s3 = boto3.client("s3")
    key = f"runs/{identifier}/run.json"
    deadline = time.monotonic() + NOTICE_LIMIT_SECONDS
    while time.monotonic() < deadline:
        try:
            return dict(json.loads(s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()))
        except s3.exceptions.NoSuchKey:
            time.sleep(0.2)
    raise DemoError(f"s3://{stack.bucket}/{key} was not written; see the log of the notify_run function")


def predict(stack: Stack) -> float:
    """Return the price in dollars that the endpoint answers for the sample car."""
    reply = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=stack.endpoint,
        ContentType="application/jsonlines",
        Accept="application/jsonlines",
        Body=json.dumps(SAMPLE).encode(),
    )
    return float(json.loads(reply["Body"].read())["score"])


def parameters(stack: Stack) -> dict[str, str]:
    """Return everything in Parameter Store below the stack's prefix."""
    pages = boto3.client("ssm").get_paginator("get_parameters_by_path")
    names = pages.paginate(Path=stack.parameter_prefix, Recursive=True)
    return {item["Name"]: item["Value"] for page in names for item in page["Parameters"]}


def wait_for_mail(state: Path, identifier: str) -> mailbox.Message:
    """Return the mail that names a run or an execution."""
    deadline = time.monotonic() + NOTICE_LIMIT_SECONDS
    while time.monotonic() < deadline:
        for message in mailbox.messages(state):
            if identifier in message.body:
                return message
        time.sleep(0.2)
    raise DemoError(f"no mail about {identifier} came within {NOTICE_LIMIT_SECONDS} s; see `python -m localcloud mail`")


def show_gate(record: dict[str, Any]) -> None:
    gate = record["gate"]
    bound = "at most" if gate["direction"] == "minimize" else "at least"
    best = (
        "none, this is the first model"
        if gate["champion"] is None
        else f"{gate['champion']:,.0f} on the test rows that it has not seen"
    )
    section("The gate")
    line(gate["metric"].upper(), f"{gate['candidate']:,.0f}")
    line("threshold", f"{bound} {gate['threshold']:,.0f}")
    line("previous best", best)
    line("decision", gate["reason"])


def show_service(stack: Stack, price: float, seconds: float) -> None:
    names = parameters(stack)
    if not names:
        raise DemoError(f"Parameter Store holds nothing below {stack.parameter_prefix}")
    section("In service")
    line("endpoint", stack.endpoint)
    line(SAMPLE_NAME, f"${price:,.0f}")
    line("drop to answer", f"{seconds:.1f} s")
    for name, value in sorted(names.items()):
        line(name.removeprefix(f"{stack.parameter_prefix}/"), f"{value}   [Parameter Store, {name}]")


def show_mail(message: mailbox.Message) -> None:
    section("The mail")
    line("file", str(message.path))
    line("to", message.recipient)
    line("subject", message.subject)
    console.print()
    show_text(textwrap.indent(message.body.partition(FOOTER)[0].strip(), "  "))


def show_next_steps(stack: Stack) -> None:
    section("Where to go from here")
    console.print(
        f"""\
  eval "$(.venvs/dev/bin/python -m localcloud env)"   # every AWS tool now speaks to the local cloud
  export PATH="$PWD/.venvs/cli/bin:$PATH"             # the AWS CLI, if you have none
  aws s3 cp my-cars.csv s3://{stack.bucket}/raw/
  aws sagemaker describe-endpoint --endpoint-name {stack.endpoint}
  .venvs/dev/bin/python -m localcloud mail --latest

  make explain    from the endpoint that serves back to the data
  make demo       new listings meet the model in service
  make stop       end the local cloud; its data stay""",
        markup=False,
    )


def section(title: str) -> None:
    console.print(f"\n[bold cyan]{title}[/bold cyan]")


def line(name: str, value: str) -> None:
    show_text(f"  {name:<24}{value}")


def show_text(text: str) -> None:
    """Print what others may have chosen, without what a terminal would obey."""
    console.print("\n".join(printable(each, len(each)) for each in text.split("\n")), markup=False)


def run(stack: Stack, state: Path) -> None:
    """Drop, follow and show.

    Raises:
        DemoError: something that the demo promises did not happen.
    """
    version, dropped = drop(stack)
    execution = follow(execution_for(stack, version))
    identifier = run_id(execution["executionArn"], execution["startDate"])
    ended = time.monotonic()
    if execution["status"] != "SUCCEEDED" and execution.get("error") != "ModelAccuracyTooLow":
        show_text(wait_for_mail(state, identifier).body)
        raise DemoError(f"the run ended as {execution['status']}: {execution.get('error')}; the mail above says why")
    price, seconds = predict(stack), time.monotonic() - dropped
    console.print(f"  the run ended after {ended - dropped:.1f} s as {execution['status']}")
    show_gate(run_record(stack, identifier))
    show_service(stack, price, seconds)
    show_mail(wait_for_mail(state, identifier))
    show_next_steps(stack)


def main(argv: list[str] | None = None) -> int:
    return started(argv, "demo", __doc__, "perennial-used-cars", lambda name, state: run(find_stack(name), state))


def started(argv: list[str] | None, module: str, about: str, stack: str, shows: Callable[[str, Path], None]) -> int:
    """Run a demo on a stack, of which this one is the default; return its exit code. DemoError ends it in words."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.{module}", description=about.partition("\n")[0])
    parser.add_argument("--stack", default=stack, help="name of the stack (default: %(default)s)")
    parser.add_argument("--state", type=Path, default=Path(".local"), help="the local cloud's folder")
    arguments = parser.parse_args(argv)
    try:
        shows(arguments.stack, arguments.state.resolve())
    except DemoError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    terminal.run(main)
