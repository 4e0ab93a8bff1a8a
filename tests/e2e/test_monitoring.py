"""Windows of a deployed stack: real requests with labels, bad data, drift that retrains, and what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from localcloud import mailbox
from tests.e2e.conftest import App, Run, mails
from tests.waiting import wait_for
from tools import sales

pytestmark = pytest.mark.xdist_group("e2e-monitor")

STACK = "perennial-watched"
_numbers = count(100)


@dataclass(frozen=True)
class Watched:
    """A stack whose model is watched."""

    app: App

    @property
    def machine(self) -> str:
        return self.app.outputs["MonitorStateMachineArn"]

    def traffic(self, rows: int, *changes: sales.Change, labelled: bool = True, years: float = 0.0) -> list[sales.Sale]:
        """Ask about cars that were not seen before; their prices come back as labels. Returns them."""
        sold = sales.sales(rows, next(_numbers), *changes, years=years)
        sales.ask(self.app.client("sagemaker-runtime"), self.app.endpoint, sold)
        if labelled:
            key = f"ground-truth/{sold[0].id}.csv"
            self.app.client("s3").put_object(Bucket=self.app.bucket, Key=key, Body=sales.labels(sold))
        time.sleep(1.1)  # a window ends with a whole second
        return sold

    def start(self, **given: Any) -> str:
        started = self.app.client("stepfunctions").start_execution(
            stateMachineArn=self.machine, input=json.dumps(given)
        )
        return str(started["executionArn"])

    def judge(self, **given: Any) -> Run:
        """Have a window judged, and wait for the end."""
        arn = self.start(**given)
        return wait_for(lambda: Run.ended(arn), f"the end of {arn}", pause=0.1)

    def verdict(self, run: Run) -> dict[str, Any]:
        body = self.app.client("s3").get_object(
            Bucket=self.app.bucket, Key=f"monitoring/{run.output['WindowId']}/verdict.json"
        )["Body"]
        return dict(json.loads(body.read()))

    def mails(self, execution_arn: str, expected: int = 1) -> list[mailbox.Message]:
        """The messages about a window, once so many have come."""

        def about() -> list[mailbox.Message]:
            return [
                mail
                for mail in mails(self.app.state)
                if execution_arn.replace(":", "%3A") in mail.body or execution_arn in mail.body
            ]

        wait_for(lambda: len(about()) >= expected, f"a mail about {execution_arn}", 30)
        time.sleep(0.5)
        return about()

    def trainings(self) -> list[str]:
        """The runs that drift has started, newest first."""
        states = self.app.client("stepfunctions")
        listed = states.list_executions(stateMachineArn=self.app.outputs["StateMachineArn"])["executions"]
        return [str(one["executionArn"]) for one in listed if one["name"].startswith("drift-")]

    def decisions(self) -> list[str]:
        """What each execution of the monitor has answered that judged no window."""
        states = self.app.client("stepfunctions")
        arns = [one["executionArn"] for one in states.list_executions(stateMachineArn=self.machine)["executions"]]
        ended = [run for run in map(Run.ended, arns) if run]
        return [run.output["Decision"] for run in ended if "Decision" in run.output]


@pytest.fixture(scope="module")
def watched(deploy: Callable[..., App]) -> Watched:
    app = deploy(
        STACK, ModelName="car-sales", QuietPeriodSeconds="0", PollSeconds="0", CaptureDelaySeconds="0",
        MonitorSchedule="rate(30 days)",
    )  # fmt: skip
    run = app.drop("raw/sold.csv", sales.as_csv(sales.sales(3000, seed=1)))
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    watched = Watched(app)
    wait_for(lambda: "Armed" in watched.decisions(), "the event of the endpoint in service")
    return watched


def test_a_healthy_window_is_judged_and_nobody_is_bothered(watched: Watched) -> None:
    watched.traffic(300)
    run = watched.judge()
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert run.output["Verdict"] == "Healthy"
    verdict = watched.verdict(run)
    assert (verdict["records"], verdict["ground_truth"]["matched"]) == (300, 300)
    assert watched.mails(run.execution_arn, expected=0) == []


def test_what_was_judged_is_not_judged_again_unless_it_is_asked_for(watched: Watched) -> None:
    empty = watched.judge()
    assert empty.output["Verdict"] == "NotEnoughData"
    assert "0 records" in watched.mails(empty.execution_arn)[0].body
    first = json.loads(watched.app.client("s3").get_object(
        Bucket=watched.app.bucket, Key=f"monitoring/{empty.output['WindowId']}/verdict.json"
    )["Body"].read())["window"]  # fmt: skip
    began = wait_for(lambda: _armed_since(watched), "the time since which the model answers")
    again = watched.judge(Window={"Start": began, "End": first["start"]})
    assert again.output["Verdict"] == "Healthy"
    assert watched.verdict(again)["records"] == 300


def _armed_since(watched: Watched) -> str:
    item = watched.app.client("dynamodb").get_item(
        TableName=watched.app.outputs["RunTableName"], Key={"id": {"S": "monitoring"}}
    )["Item"]
    return str(item["served"]["L"][-1]["M"]["since"]["S"])


def test_bad_data_are_told_with_the_column_and_retrain_nothing(watched: Watched) -> None:
    watched.traffic(300, sales.in_kilometres)
    run = watched.judge()
    assert run.output["Verdict"] == "BadData"
    (mail,) = watched.mails(run.execution_arn)
    assert mail.subject.startswith("Bad data: mileage")
    assert "Nothing retrains on them" in mail.body
    assert watched.trainings() == []
