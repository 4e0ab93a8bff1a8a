"""How a SageMaker job ended, from the description that Step Functions gives as the cause of a failed `.sync` task.

Source: Amazon SageMaker API Reference, DescribeProcessingJob, DescribeTrainingJob, DescribeTransformJob,
DescribeHyperParameterTuningJob. Times in the cause are epoch milliseconds. A job that met its time limit is Stopped;
only training says so itself (SecondaryStatus).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("Processing", "Training", "Transform", "HyperParameterTuning")
KILLED = 137  # 128 + SIGKILL: who kills is mostly the kernel, for want of memory
_EXIT_CODE = re.compile(r"exit code: (\d+)")


@dataclass(frozen=True)
class JobEnd:
    """The end of a job that did not complete: `own_words` are its script's, `reason` is the platform's."""

    kind: str
    name: str
    status: str
    own_words: str
    reason: str
    limit_seconds: int | None
    """The time limit, if the job met it."""

    @property
    def log(self) -> str:
        if self.kind == "HyperParameterTuning":
            return f"/aws/sagemaker/TrainingJobs, streams {self.name}-..."
        return f"/aws/sagemaker/{self.kind}Jobs, stream {self.name}/..."

    @property
    def was_killed(self) -> bool:
        code = _EXIT_CODE.search(self.reason)
        return code is not None and int(code[1]) == KILLED

    def __str__(self) -> str:
        if self.own_words:
            return self.own_words
        if self.limit_seconds is not None:
            limit = "1 second" if self.limit_seconds == 1 else f"{self.limit_seconds} seconds"
            return f"job {self.name} was stopped at its time limit of {limit}"
        if self.status == "Stopped":
            return f"job {self.name} was stopped"
        return f"job {self.name} failed: {self.reason or 'no reason was given'}"


def of(description: Mapping[str, Any]) -> JobEnd | None:
    """Return how the job ended that a document describes, or None when it describes none."""
    kind = next((kind for kind in KINDS if f"{kind}JobName" in description), None)
    if kind is None:
        return None
    return JobEnd(
        kind=kind,
        name=str(description[f"{kind}JobName"]),
        status=str(description.get(f"{kind}JobStatus", "Failed")),
        own_words=str(description.get("ExitMessage") or ""),
        reason=str(description.get("FailureReason") or ""),
        limit_seconds=_limit_met(kind, description),
    )


def _limit_met(kind: str, description: Mapping[str, Any]) -> int | None:
    limits = description.get("StoppingCondition") or {}
    limit = limits.get("MaxRuntimeInSeconds")
    if limit is None or description.get(f"{kind}JobStatus") != "Stopped":
        return None
    if description.get("SecondaryStatus") == "MaxWaitTimeExceeded":
        return int(limits.get("MaxWaitTimeInSeconds", limit))
    if description.get("SecondaryStatus") == "MaxRuntimeExceeded":
        return int(limit)
    started, ended = (description.get(f"{kind}{moment}Time") for moment in ("Start", "End"))
    took_it_all = started is not None and ended is not None and float(ended) - float(started) >= 1000 * float(limit)
    return int(limit) if took_it_all else None
