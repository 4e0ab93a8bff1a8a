"""What a machine that may be taken away saves, as the training job says.

Source: Amazon SageMaker API Reference, DescribeTrainingJob: TrainingTimeInSeconds, BillableTimeInSeconds ("the billable
time in seconds for the billable entity"), SecondaryStatusTransitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perennial.runs.run_record import Spot


def of_job(described: Mapping[str, Any]) -> Spot | None:
    """Return what a training job took and what of it is billed; None of other machines, and before that is known."""
    took, billed = described.get("TrainingTimeInSeconds"), described.get("BillableTimeInSeconds")
    if not described.get("EnableManagedSpotTraining") or took is None or billed is None:
        return None
    interruptions = sum(one["Status"] == "Interrupted" for one in described.get("SecondaryStatusTransitions", ()))
    return {
        "job": described["TrainingJobName"],
        "training_seconds": took,
        "billable_seconds": billed,
        "interruptions": interruptions,
    }
