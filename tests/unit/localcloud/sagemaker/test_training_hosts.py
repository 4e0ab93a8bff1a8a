"""Several hosts of one training job: which of them is why it has failed."""

import pytest

from localcloud.sagemaker.jobs.training import cause

BAD_ROW = "ClientError: Failed to load csv data with exception: part-00001.csv"
LOST = "framework error: \nXGBoostError: [14:41:33] /workspace/src/collective/result.cc:83: Ring allgather failed"


@pytest.mark.parametrize(("failures", "place"), [
    ([BAD_ROW], 0),
    ([LOST, BAD_ROW], 1),  # it lost the other before that had ended
    ([LOST, "", BAD_ROW], 2),
    ([BAD_ROW, "", LOST], 0),
    (["", LOST], 0),  # killed, and so without words
    ([LOST, LOST, ""], 0),
])  # fmt: skip
def test_a_host_that_has_lost_another_is_not_why_a_job_has_failed(failures: list[str], place: int) -> None:
    assert cause(failures) == place
