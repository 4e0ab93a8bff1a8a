"""The jobs of runs as SageMaker has billed them, and what the next ones will cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import boto3

from perennial.model import tuning
from perennial.model.definition import Definition
from perennial.runs.costs import HOURS_A_MONTH, MACHINES, Cost, Job, asleep, billable, of_jobs, recorded_jobs, step_of
from perennial.serving.hours import Hours
from perennial_cli.prices import price

ASSUMED_SECONDS = 240  # of each job, where no run has been yet: docs/deploy-to-aws.md
STEPS = {
    "preprocess": "Processing", "train": "Training", "predict": "Transform", "champion": "Transform",
    "data-quality": "Processing", "model-quality": "Processing",
}  # fmt: skip
"""The kind of a run's jobs, by their step."""


def billed(record: Mapping[str, Any]) -> Iterator[Job]:
    """Yield the jobs of a run with the seconds that their own records have."""
    client = boto3.client("sagemaker")
    for job in record.get("jobs") or ():
        if job["kind"] == "Training":
            described: Any = client.describe_training_job(TrainingJobName=job["name"])
            machine, seconds = described["ResourceConfig"], described.get("BillableTimeInSeconds")
        elif job["kind"] == "Processing":
            described = client.describe_processing_job(ProcessingJobName=job["name"])
            machine, seconds = described["ProcessingResources"]["ClusterConfig"], _between(described, "Processing")
        else:
            described = client.describe_transform_job(TransformJobName=job["name"])
            machine, seconds = described["TransformResources"], _between(described, "Transform")
        if seconds is not None:
            yield Job(job["name"], job["kind"], machine["InstanceType"], machine["InstanceCount"], float(seconds))


def _between(described: Mapping[str, Any], kind: str) -> float | None:
    begun, ended = described.get(f"{kind}StartTime"), described.get(f"{kind}EndTime")
    return billable(begun, ended) if begun and ended else None


@dataclass(frozen=True)
class Expected:
    """What a run and a month will cost.

    runs      earlier ones, whose seconds the expectation rests on; 0: it is assumed
    endpoint  USD an hour of the machines that serve; None: the price is not known
    saved     USD a month that its sleep saves
    """

    run: Cost
    runs: int
    endpoint: float | None
    runs_a_month: float
    saved: float = 0.0

    @property
    def month(self) -> float:
        return self.run.usd * self.runs_a_month + (self.endpoint or 0.0) * HOURS_A_MONTH - self.saved


def expected(
    definition: Definition,
    region: str,
    records: list[dict[str, Any]],
    runs_a_month: float,
    when: Hours | None = None,
) -> Expected:
    """Return what a run of a definition will cost, from the seconds of earlier runs' jobs.

    when  when the endpoint is there; None: always
    """
    seconds: dict[str, list[float]] = {}
    with_jobs = [record for record in records if record.get("jobs")]
    for record in with_jobs:
        for job in recorded_jobs(record):  # type: ignore[arg-type]
            seconds.setdefault(step_of(job.name, record["run_id"]), []).append(job.seconds)
    jobs, tuned = [], bool(tuning.ranges(definition.hyperparameters.get(definition.algorithm, {})))
    for step, kind in STEPS.items():
        if tuned and step == "train":
            each = mean(seconds.get("trial") or seconds.get("train") or [ASSUMED_SECONDS])
            machine = definition.instances.train
            jobs += [Job("trial", kind, machine.type, machine.count, each)] * definition.tuning.jobs
        elif step in seconds or not with_jobs:
            machine = getattr(definition.instances, MACHINES[step])
            jobs.append(Job(step, kind, machine.type, machine.count, mean(seconds.get(step, [ASSUMED_SECONDS]))))
    serving = definition.instances.endpoint
    known = price(region, serving.type, "Hosting")
    hourly = None if known is None else known * serving.count
    return Expected(of_jobs(jobs, region, price), len(with_jobs), hourly, runs_a_month, asleep(hourly or 0.0, when))
