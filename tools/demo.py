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
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.markup import escape

from localcloud import mailbox
from perennial.runs.naming import run_id
from perennial.words import printable
from perennial_cli import following, stacks
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack
from tools import demo_data, terminal

START_LIMIT_SECONDS = 30
RUN_LIMIT_SECONDS = 300
PAUSE_SECONDS = 0.2
NOTICE_LIMIT_SECONDS = 30
FOOTER = "\n--\n"
NEW_LISTINGS = 200
SAMPLE_NAME = "a Cadillac convertible"
SAMPLE = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip

console = Console(highlight=False, soft_wrap=True)


class DemoError(CommandError):
    """Something that the demo promises did not happen; the text says what and where to look."""


def find_stack(name: str) -> Stack:
    try:
        return stacks.chosen(name)
    except stacks.NoStackError as error:
        raise DemoError(f"{error}; `make deploy-local` deploys one") from error


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
    return following.wait_for_drop(stack, version, START_LIMIT_SECONDS)


def follow(execution_arn: str) -> dict[str, Any]:
    """Print a line for each state as it ends, with a progress display for what runs, until the execution ends."""
    return following.follow(execution_arn, console, PAUSE_SECONDS, RUN_LIMIT_SECONDS)


def run_record(stack: Stack, identifier: str) -> dict[str, Any]:
    """Return the run's own document, once the notification has closed it."""
    key = f"runs/{identifier}/run.json"
    deadline = time.monotonic() + NOTICE_LIMIT_SECONDS
    with closing(boto3.client("s3")) as s3:
        while time.monotonic() < deadline:
            try:
                return dict(json.loads(s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()))
            except s3.exceptions.NoSuchKey:
                time.sleep(0.2)
    raise DemoError(f"s3://{stack.bucket}/{key} was not written; see the log of the notify_run function")


def predict(stack: Stack) -> float:
    """Return the price in dollars that the endpoint answers for the sample car."""
    reply = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=stack.outputs["EndpointName"],
        ContentType="application/jsonlines",
        Accept="application/jsonlines",
        Body=json.dumps(SAMPLE).encode(),
    )
    return float(json.loads(reply["Body"].read())["score"])


def parameters(prefix: str) -> dict[str, str]:
    """Return everything in Parameter Store below a prefix."""
    pages = boto3.client("ssm").get_paginator("get_parameters_by_path")
    names = pages.paginate(Path=prefix, Recursive=True)
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
    prefix = stack.outputs["ParameterPrefix"]
    names = parameters(prefix)
    if not names:
        raise DemoError(f"Parameter Store holds nothing below {prefix}")
    section("In service")
    line("endpoint", stack.outputs["EndpointName"])
    line(SAMPLE_NAME, f"${price:,.0f}")
    line("drop to answer", f"{seconds:.1f} s")
    for name, value in sorted(names.items()):
        line(name.removeprefix(f"{prefix}/"), f"{value}   [Parameter Store, {name}]")


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
  aws sagemaker describe-endpoint --endpoint-name {stack.outputs["EndpointName"]}
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
    """Run a demo on a stack, of which this one is the default; return its exit code. CommandError ends it in words."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.{module}", description=about.partition("\n")[0])
    parser.add_argument("--stack", default=stack, help="name of the stack (default: %(default)s)")
    parser.add_argument("--state", type=Path, default=Path(".local"), help="the local cloud's folder")
    arguments = parser.parse_args(argv)
    try:
        shows(arguments.stack, arguments.state.resolve())
    except CommandError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    terminal.run(main)
