"""What the jobs of a run cost, by the machines of its definition and the seconds that its record has."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.runs import costs
from perennial.runs.costs import Job

RUN = "20261120093440-1a2b"
ARN = "arn:aws:states:us-east-1:123456789012:execution:cars:one"


def job(step: str, kind: str, minutes: int | None) -> dict[str, Any]:
    ended = None if minutes is None else f"2026-11-20T10:{minutes:02}:00.000Z"
    return {"kind": kind, "name": f"cars-{RUN}-{step}-0", "created_at": "2026-11-20T10:00:00.000Z", "ended_at": ended}


def record(*jobs: dict[str, Any], arn: str = ARN, train: str = "ml.m5.xlarge") -> Any:
    machines = {"train": {"type": train, "count": 1}, "predict": {"type": "ml.m5.large", "count": 2}}
    definition = {"instances": {**machines, "baseline": {"type": "ml.m5.large", "count": 1}}}
    return {
        "run_id": RUN,
        "execution": {"arn": arn},
        "jobs": [*jobs],
        "configuration": {"definition": definition},
    }


def test_each_job_costs_its_seconds_times_its_machines() -> None:
    some = record(job("train", "Training", 30), job("predict", "Transform", 6), job("data-quality", "Processing", 6))
    cost = costs.of_jobs(costs.recorded_jobs(some), "us-east-1")
    assert cost.usd == pytest.approx(0.5 * 0.23 + 0.1 * 2 * 0.115 + 0.1 * 0.115)
    assert (cost.seconds, cost.jobs, cost.unknown) == (1800 + 720 + 360, 3, ())


def test_the_machine_of_each_job_of_the_flow_is_known() -> None:
    flow = (Path(__file__).parents[4] / "statemachines/train_model.asl.json").read_text()
    steps = set(re.findall(r"\$run\.Name & '-([a-z-]+)-' &", flow))
    assert {"preprocess", "ingest", "train", "again"} <= steps <= costs.MACHINES.keys()


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 1), (200, 1), (1000, 1), (1001, 2)])
def test_seconds_are_billed_as_whole_ones_and_at_least_one(milliseconds: int, seconds: float) -> None:
    begun = datetime(2026, 11, 20, tzinfo=UTC)
    assert costs.billable(begun, begun + timedelta(milliseconds=milliseconds)) == seconds


def test_a_job_that_has_not_ended_or_is_of_no_known_step_is_left_out() -> None:
    assert costs.recorded_jobs(record(job("train", "Training", None), job("monitor", "Processing", 3))) == []


def test_a_machine_without_a_price_is_named_and_not_in_the_sum() -> None:
    jobs = [Job("a", "Training", "ml.x9.huge", 1, 3600), Job("b", "Training", "ml.m5.large", 1, 3600)]
    assert costs.of_jobs(jobs, "us-east-1") == costs.Cost(0.115, 7200, 2, ("ml.x9.huge",))


def test_the_mail_has_a_line_where_all_prices_are_known() -> None:
    expected = f"at most 0.115 USD for 1 job of 1,800 s from creation to end (public prices of {costs.DATE})"
    assert costs.line(record(job("train", "Training", 30))) == expected
    elsewhere = costs.line(record(job("train", "Training", 30), arn=ARN.replace("us-east-1", "mars-1")))
    assert elsewhere.startswith("1 job of 1,800 s; `perennial cost` asks AWS for the price of ml.")
    assert elsewhere.endswith(" in mars-1")
    other = costs.line(record(job("train", "Training", 30), train="ml.x9.huge"))
    assert other.endswith("asks AWS for the price of ml.x9.huge in us-east-1")
    assert costs.line(record()) == ""


@pytest.mark.parametrize(("usd", "text"), [(1234.5, "1,234.50 USD"), (0.115, "0.115 USD"), (0.00123, "0.00123 USD")])
def test_small_amounts_keep_three_digits_that_say_something(usd: float, text: str) -> None:
    assert costs.spoken(usd) == text
