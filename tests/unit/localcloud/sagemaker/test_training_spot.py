"""What is billed of a training job."""

from typing import Any, cast

import pytest

from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.jobs.training import TrainingJobs


@pytest.mark.parametrize(
    ("spot", "lasted", "billed"), [(True, 100, 30), (True, 0, 1), (False, 100, 100)], ids=["spot", "short", "on demand"]
)
def test_three_tenths_of_the_seconds_on_spot_instances_are_billed_and_all_of_others(
    spot: bool, lasted: int, billed: int
) -> None:
    job = {"TrainingStartTime": now() - lasted, "EnableManagedSpotTraining": spot}
    TrainingJobs.on_status(cast(Any, None), job, "Completed")
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (max(1, lasted), billed)
