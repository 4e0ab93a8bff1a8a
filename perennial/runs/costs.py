"""What the jobs of a run cost, at public prices.

Prices are those of machines on demand in USD an hour, as https://aws.amazon.com/sagemaker/pricing/ has them for
processing, training, batch transform and hosting alike; other regions and types are not in the table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perennial.runs.run_record import RunRecord
from perennial.serving.hours import Hours
from perennial.words import number

HOURS_A_MONTH = 730
DATE = "2026-11-29"
USD_AN_HOUR: dict[str, dict[str, float]] = {
    "us-east-1": {"ml.m5.large": 0.115, "ml.m5.xlarge": 0.23, "ml.m5.2xlarge": 0.461, "ml.m5.4xlarge": 0.922}
}
# Which machine of the definition (`instances`) a job has, by its step.
MACHINES = {
    "preprocess": "preprocess", "ingest": "preprocess", "train": "train", "predict": "predict", "champion": "predict",
    "again": "predict", "data-quality": "baseline", "model-quality": "baseline", "trial": "train",
}  # fmt: skip

_TRIAL = re.compile(r"t\d+-\d{3,}-\w+")  # runs.naming.tuning_stem, and what SageMaker adds
Price = Callable[[str, str, str], float | None]  # (region, machine, kind of the job) -> USD an hour


@dataclass(frozen=True)
class Job:
    """A job and what it is billed for: its machines, and so many seconds of each.

    kind  Processing, Training or Transform
    """

    name: str
    kind: str
    machine: str
    count: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What some jobs cost; `unknown` are the machines whose price is not known, which `usd` leaves out."""

    usd: float
    seconds: float
    jobs: int
    unknown: tuple[str, ...] = ()


def listed_price(region: str, machine: str, kind: str) -> float | None:
    """Return the price of the table in USD an hour; None: it has none."""
    return USD_AN_HOUR.get(region, {}).get(machine)


def of_jobs(jobs: Iterable[Job], region: str, price: Price = listed_price) -> Cost:
    """Return what jobs cost."""
    jobs = list(jobs)
    prices = {(job.machine, job.kind): price(region, job.machine, job.kind) for job in jobs}
    priced = [(job, known) for job in jobs if (known := prices[job.machine, job.kind]) is not None]
    usd = sum(job.seconds * job.count * known / 3600 for job, known in priced)
    unknown = sorted({machine for (machine, _), known in prices.items() if known is None})
    return Cost(usd, sum(job.seconds * job.count for job in jobs), len(jobs), tuple(unknown))


def recorded_jobs(record: RunRecord) -> list[Job]:
    """Return the jobs that a record names, from their creation to their end: at most what is billed."""
    machines = ((record.get("configuration") or {}).get("definition") or {}).get("instances") or {}
    return [job for one in record.get("jobs") or () if (job := _recorded(one, record, machines)) is not None]


def billable(begun: datetime, ended: datetime) -> float:
    """Return the seconds of a job that are billed: whole ones, and at least one."""
    return float(max(1, math.ceil((ended - begun).total_seconds())))


def step_of(name: str, run: str) -> str:
    """Return what the name of a run's job says after the run: its step, as `data-quality`; of a tuning job: `trial`."""
    rest = name.partition(f"{run}-")[2]
    return "trial" if _TRIAL.fullmatch(rest) else rest.rpartition("-")[0]


def short_name(name: str, run: str) -> str:
    """Return the name of a run's job without what all have: `train-0`, and of a trial `t0-001`."""
    rest = name.rpartition(f"{run}-")[2]
    return rest.rpartition("-")[0] if _TRIAL.fullmatch(rest) else rest


def _recorded(job: Mapping[str, Any], record: RunRecord, machines: Mapping[str, Any]) -> Job | None:
    machine = machines.get(MACHINES.get(step_of(job["name"], record["run_id"]), ""))
    if machine is None or not job.get("ended_at"):
        return None
    begun, ended = (datetime.fromisoformat(job[name]) for name in ("created_at", "ended_at"))
    return Job(job["name"], job["kind"], machine["type"], machine.get("count", 1), billable(begun, ended))


def line(record: RunRecord) -> str:
    """Return what a run has cost, for a mail; an empty text where nobody here knows."""
    region = record["execution"].get("arn", "").split(":")[3:4]
    cost = of_jobs(recorded_jobs(record), region[0] if region else "")
    if not cost.jobs:
        return ""
    if cost.unknown:
        machines = f"{', '.join(cost.unknown)} in {region[0] if region else 'this region'}"
        return f"{_jobs(cost.jobs)} of {cost.seconds:,.0f} s; `perennial cost` asks AWS for the price of {machines}"
    jobs = f"{_jobs(cost.jobs)} of {cost.seconds:,.0f} s from creation to end"
    return f"at most {spoken(cost.usd)} for {jobs} (public prices of {DATE})"


def _jobs(number_of_jobs: int) -> str:
    return "1 job" if number_of_jobs == 1 else f"{number_of_jobs:,} jobs"


def asleep(hourly: float, when: Hours | None) -> float:
    """Return what an endpoint of so many USD an hour saves in a month with its hours; where runs wake it, at least."""
    return 0.0 if when is None else hourly * HOURS_A_MONTH * (1 - when.share)


def spoken(usd: float) -> str:
    """Return an amount as people read it: cents, and of less than a dollar three digits that say something."""
    return f"{usd:,.2f} USD" if usd >= 1 else f"{number(usd, 3)} USD"
