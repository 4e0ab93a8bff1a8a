"""The section `tuning` of a model.yaml: how hyperparameters that are ranges are searched."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.ranges import combinations, is_range
from perennial.model.complaints import Complaint, Strict
from perennial.model.problem_types import Direction

MOST_SECONDS = 432_000  # five days: what the state that waits for a tuning job allows, less an hour (JOB_SECONDS)


class Tuning(Strict):
    """How many trials there are, how they are chosen, and by which metric of the validation set.

    jobs           trials in all; each is a training job, and billed
    parallel_jobs  trials at a time
    early_stopping  whether trials that are worse than the median of those before are stopped
    warm_start     whether the search begins with what the tuning job of the model in service has tried
    metric         what the training jobs report and the best has least or most of; None: what training watches
    """

    strategy: Literal["bayesian", "random"] = "bayesian"
    jobs: int = Field(default=10, ge=1, le=500)
    parallel_jobs: int = Field(default=2, ge=1, le=100)
    early_stopping: bool = False
    warm_start: bool = False
    metric: str | None = None


def ranges(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those hyperparameters of an algorithm that are ranges."""
    return {name: value for name, value in hyperparameters.items() if is_range(value)}


def objective(algorithm: str, problem: str, watched: Sequence[str], chosen: str | None) -> tuple[str, Direction]:
    """Return the metric by which trials are told apart, and which of its values are better.

    watched  the metrics that the training jobs must report
    """
    known = ALGORITHMS[algorithm].objectives(problem)
    name = chosen or ([name for name in watched if name in known] or list(known))[-1]
    return name, known[name]


def note(algorithm: str, hyperparameters: Mapping[str, Mapping[str, Any]]) -> Iterator[Complaint]:
    """Yield (path, text) where a section `tuning` is written and nothing is searched."""
    if not ranges(hyperparameters.get(algorithm, {})):
        text = f"has no effect until a hyperparameter of {algorithm} is a range, such as {{min: 2, max: 8}}"
        yield "tuning", f"{text}, here or in a run's input"


def check(
    tuning: Tuning, problem: str, algorithm: str, hyperparameters: Mapping[str, Mapping[str, Any]], seconds: int
) -> Iterator[Complaint]:
    """Yield (path, text) for what cannot be tuned so; `seconds` is how long one training job may take."""
    if tuning.parallel_jobs > tuning.jobs:
        yield (
            "tuning.parallel_jobs",
            f"got {tuning.parallel_jobs}; expected at most as many as there are jobs, {tuning.jobs}",
        )
    objectives = ALGORITHMS[algorithm].objectives(problem)
    if tuning.metric is not None and tuning.metric not in objectives:
        allowed = f"allowed for {problem} with {algorithm}: {', '.join(objectives)}"
        yield "tuning.metric", f"got {tuning.metric!r}; {allowed}"
    tuned = ranges(hyperparameters.get(algorithm, {}))
    if not tuned:
        return
    if (different := combinations(tuned, ALGORITHMS[algorithm].table(tuned))) < tuning.jobs:
        text = f"got {tuning.jobs}, and the ranges allow {different:.0f} different trials; take fewer, or wider ranges"
        yield "tuning.jobs", text
    longest = math.ceil(tuning.jobs / tuning.parallel_jobs) * seconds
    if longest > MOST_SECONDS:
        text = (
            f"got {tuning.jobs}, {tuning.parallel_jobs} at a time, each of up to {seconds:,} s "
            f"(instances.train.max_runtime_seconds): together up to {longest:,} s; expected at most {MOST_SECONDS:,}"
        )
        yield "tuning.jobs", text
