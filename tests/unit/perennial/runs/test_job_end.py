"""What the description of a job that did not complete says to a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perennial.runs import advice, cause, job_end
from perennial.runs.advice import Outcome

LIMIT = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}}


def processing(**more: Any) -> dict[str, Any]:
    return {"ProcessingJobName": "cars-1-preprocess-0", "ProcessingJobStatus": "Failed", **LIMIT, **more}


def said(description: dict[str, Any]) -> str:
    return cause.explained(f'State "Preprocess" failed: {json.dumps(description)}')


def advised(description: dict[str, Any], state: str = "Preprocess") -> str:
    return advice.advice(
        advice.Outcome("Failed", "States.TaskFailed", state, f'State "{state}" failed: {json.dumps(description)}')
    )


def test_a_job_s_own_words_are_the_reason() -> None:
    assert said(processing(ExitMessage="no column price", FailureReason="exit code: 1")) == "no column price"


def test_without_words_of_its_own_the_job_is_named_with_the_platform_s_reason() -> None:
    told = said(processing(FailureReason="AlgorithmError: , exit code: 1"))
    assert told == "job cars-1-preprocess-0 failed: AlgorithmError: , exit code: 1"
    assert "/aws/sagemaker/ProcessingJobs, stream cars-1-preprocess-0" in advised(processing(FailureReason="x"))


def test_what_a_feature_group_does_not_take_is_not_blamed_on_the_data() -> None:
    told = advised(processing(ExitMessage="raw/sold.csv, row 7: the feature group did not take it"), "Ingest records")
    assert told.startswith("Put right what the job says of the feature group, and start a run")


def test_a_bug_is_not_blamed_on_the_data() -> None:
    assert "drop them again" in advised(processing(ExitMessage="no column price"))
    assert "drop them again" not in advised(processing(FailureReason="AlgorithmError: , exit code: 1"))


def test_a_job_that_was_stopped_says_so_and_not_its_whole_description() -> None:
    stopped = processing(ProcessingJobStatus="Stopped", ProcessingStartTime=1000, ProcessingEndTime=2000)
    assert said(stopped) == "job cars-1-preprocess-0 was stopped"
    assert "Somebody stopped" in advised(stopped)


@pytest.mark.parametrize(
    "description",
    [
        processing(ProcessingJobStatus="Stopped", ProcessingStartTime=1000, ProcessingEndTime=3_601_000),
        {"TrainingJobName": "t", "TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded", **LIMIT},
    ],
)
def test_a_job_that_met_its_time_limit_says_which(description: dict[str, Any]) -> None:
    assert "time limit of 3600 seconds" in said(description)
    assert "max_runtime_seconds" in advised(description)


def test_a_job_that_waited_too_long_for_a_spot_instance_says_how_long_and_what_helps() -> None:
    limits = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}
    description = {
        "TrainingJobName": "t", "TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded",
        "StoppingCondition": limits,
    }  # fmt: skip
    assert "time limit of 900 seconds" in said(description)
    assert "spot: false" in advised(description)


@pytest.mark.parametrize(("code", "killed"), [(137, True), (1, False), (1370, False)])
def test_exit_code_137_is_a_kill(code: int, killed: bool) -> None:
    ended = job_end.of(processing(FailureReason=f"AlgorithmError: , exit code: {code}"))
    assert ended is not None
    assert ended.was_killed is killed
    assert ("memory" in advised(processing(FailureReason=f"AlgorithmError: , exit code: {code}"))) is killed


def test_the_innermost_state_is_where_it_failed() -> None:
    nested = 'State "Create baselines" failed: State "Baseline data drift" failed: no rows'
    assert cause.failed_state(nested) == "Baseline data drift"
    assert cause.explained(nested) == "no rows"


def test_what_describes_no_job_is_none() -> None:
    assert job_end.of({"errorMessage": "x"}) is None
    assert cause.failed_job("plain text") is None


@pytest.mark.parametrize(
    ("code", "text"), [("AccessDeniedException", "permission"), ("ThrottlingException", "too often")]
)
def test_a_service_that_refuses_has_advice_by_its_code(code: str, text: str) -> None:
    refused = f"No (Service: AmazonSageMaker; Status Code: 400; Error Code: {code}; Request ID: 1; Proxy: null)"
    assert text in advice.advice(Outcome("Failed", "SageMaker.AmazonSageMakerException", "Train", refused))


def test_a_call_by_the_aws_sdk_that_is_throttled_has_the_same_advice() -> None:
    cause = "Rate exceeded (Service: SageMaker, Status Code: 400, Request ID: 1)"
    assert "too often" in advice.advice(
        advice.Outcome("Failed", "SageMaker.SageMakerException", "Delete failed endpoint", cause)
    )


def test_a_job_for_which_there_was_no_machine_has_another_machine_for_advice() -> None:
    reason = "CapacityError: Unable to provision requested ML compute capacity."
    assert "no machine of this type" in advised(processing(FailureReason=reason))


@pytest.mark.parametrize("status", ["Aborted", "TimedOut"])
def test_a_run_that_ends_while_it_deploys_says_that_the_endpoint_may_have_changed(status: str) -> None:
    assert "may serve the new model" in advice.advice(Outcome(status, "", "Check deployment"))
    assert "may serve the new model" not in advice.advice(Outcome(status, "", "Train"))


@pytest.mark.parametrize("error", ["KeyError", "Sandbox.Timedout", "Ssm.SsmException"])
def test_what_fails_after_the_verification_is_no_reason_to_go_back(error: str) -> None:
    assert "Nothing is wrong with what serves" in advice.advice(Outcome("Failed", error, "Clean up"))
    assert "writes them all" in advice.advice(Outcome("Failed", error, "Write parameter"))


@pytest.mark.parametrize("state", ["Export configuration", "Write parameter"])
@pytest.mark.parametrize("status", ["Failed", "Aborted", "TimedOut"])
def test_a_run_that_ends_while_it_exports_is_not_to_be_taken_back(status: str, state: str) -> None:
    """Some of the names may be the new model's: a configuration that they name is not to be gone back to."""
    assert "writes them all" in advice.advice(Outcome(status, "", state))
    assert "update the endpoint" not in advice.advice(Outcome(status, "", state))
