"""Show the loop closed: requests with labels, a changed unit, a world that shifts, and the model that follows it.

The local cloud is up and the stack of models/car-sales is deployed when this starts (`make demo-drift` sees to both).
The first time cars are sold to it, so that a first model serves.

Exit code 0 only if each window was judged as the demo says, nothing but drift started a run, the new model serves, and
its first window is healthy.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from perennial.runs.naming import run_id
from perennial_cli.stacks import Stack
from tools import demo, sales, terminal
from tools.demo import DemoError, console, line, section, show_text

FIRST_SALES, REQUESTS, SHIFTED = 3000, 300, 1200
YEARS, DEARER, NEW_MAKE, EVERY = 2.0, 1.35, "Tesla", 8
LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Watched:
    """The stack, and where the mails are."""

    stack: Stack
    state: Path

    def window(self, sold: list[sales.Sale], expected: str) -> dict[str, Any]:
        """Ask about cars, send what they were sold for, have the window judged and show its verdict."""
        began = time.monotonic()
        with closing(boto3.client("sagemaker-runtime")) as runtime:
            prices = sales.ask(runtime, self.stack.outputs["EndpointName"], sold)
        errors = sorted(abs(price - sale.price) for price, sale in zip(prices, sold, strict=True))
        key = f"ground-truth/{sold[0].id}.csv"
        with closing(boto3.client("s3")) as s3:
            s3.put_object(Bucket=self.stack.bucket, Key=key, Body=sales.labels(sold))
        line("requests", f"{len(sold)}, each with the price of the sale; the typical answer is off by "
                         f"${errors[len(errors) // 2]:,.0f}")  # fmt: skip
        time.sleep(1.1)  # a window ends with a whole second
        with closing(boto3.client("stepfunctions")) as states:
            monitor = self.stack.outputs["MonitorStateMachineArn"]
            arn = states.start_execution(stateMachineArn=monitor, input="{}")["executionArn"]
        execution = ended(arn)
        if execution["status"] != "SUCCEEDED":
            raise DemoError(
                f"the monitor ended as {execution['status']}: {execution.get('error')}: {execution.get('cause')}"
            )
        outcome = json.loads(execution["output"])
        line("verdict", f"{outcome['Verdict']}, {time.monotonic() - began:.1f} s after the first request")
        if outcome["Verdict"] != expected:
            raise DemoError(f"window {outcome['WindowId']} is {outcome['Verdict']}; expected {expected}")
        return {**outcome, "Execution": arn}

    def show_mail(self, arn: str) -> None:
        """Show the mail about an execution of the monitor."""
        message = demo.wait_for_mail(self.state, f"/executions/details/{arn}")
        console.print()
        show_text("\n".join(f"  | {text}" for text in message.body.partition(demo.FOOTER)[0].strip().split("\n")))

    def trainings(self) -> list[str]:
        """Return the runs that drift has started."""
        with closing(boto3.client("stepfunctions")) as states:
            listed = states.list_executions(stateMachineArn=self.stack.state_machine_arn)
        return [one["executionArn"] for one in listed["executions"] if one["name"].startswith("drift-")]


def ended(arn: str) -> dict[str, Any]:
    """Return an execution once it has ended."""
    deadline = time.monotonic() + LIMIT_SECONDS
    with closing(boto3.client("stepfunctions")) as states:
        while time.monotonic() < deadline:
            execution = states.describe_execution(executionArn=arn)
            if execution["status"] != "RUNNING":
                return dict(execution)
            time.sleep(0.1)
    raise DemoError(f"{arn} did not end within {LIMIT_SECONDS} s")


def first_model(watched: Watched) -> None:
    """Sell the first cars, if no model serves yet."""
    s3 = boto3.client("s3")
    if s3.list_objects_v2(Bucket=watched.stack.bucket, Prefix="raw/").get("KeyCount"):
        return
    section("A first model")
    body = sales.as_csv(sales.sales(FIRST_SALES, seed=1))
    version = s3.put_object(Bucket=watched.stack.bucket, Key="raw/sold-0001.csv", Body=body)["VersionId"]
    line("dropped", f"{FIRST_SALES} sales")
    execution = demo.follow(demo.execution_for(watched.stack, version))
    if execution["status"] != "SUCCEEDED":
        raise DemoError(f"the first run ended as {execution['status']}: {execution.get('error')}")


def run(watched: Watched) -> None:
    """Go through four windows.

    Raises:
        DemoError: something that the demo promises did not happen.
    """
    first_model(watched)
    number = int(time.time())  # cars that no demo before has sold
    before = watched.trainings()
    section("1. A day as any other")
    watched.window(sales.sales(REQUESTS, number), "Healthy")
    section("2. A caller sends kilometres in place of miles")
    # The same cars each time, as nothing learns from them: of other 300 one window in a hundred has too odd a sample.
    spoilt = watched.window(sales.sales(REQUESTS, 2, sales.in_kilometres, ids=number + 1), "BadData")
    watched.show_mail(spoilt["Execution"])
    if watched.trainings() != before:
        raise DemoError("bad data have started a run")
    section(f"3. The world shifts: older cars, {DEARER - 1:.0%} dearer, and {NEW_MAKE} is sold")
    shift = (sales.dearer(DEARER), sales.with_make(NEW_MAKE, EVERY))
    drifted = watched.window(sales.sales(SHIFTED, number + 2, *shift, years=YEARS), "Drift")
    watched.show_mail(drifted["Execution"])
    started = [arn for arn in watched.trainings() if arn not in before]
    if len(started) != 1:
        raise DemoError(f"drift has started {len(started)} runs; expected one: {drifted['Reason']}")
    section("The run that drift has started")
    execution = demo.follow(started[0])
    if execution["status"] != "SUCCEEDED":
        raise DemoError(f"the run ended as {execution['status']}: {execution.get('error')}: {execution.get('cause')}")
    demo.show_gate(demo.run_record(watched.stack, run_id(execution["executionArn"], execution["startDate"])))
    section("4. The new model answers in the new world")
    healed = watched.window(sales.sales(REQUESTS, number + 3, *shift, years=YEARS), "Healthy")
    watched.show_mail(healed["Execution"])


def main(argv: list[str] | None = None) -> int:
    return demo.started(
        argv, "demo_drift", __doc__ or "", "perennial-car-sales",
        lambda name, state: run(Watched(demo.find_stack(name), state)),
    )  # fmt: skip


if __name__ == "__main__":
    terminal.run(main)
