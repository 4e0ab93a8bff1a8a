"""What an endpoint needs, for each status that SageMaker documents and for one that it does not."""

import pytest

from perennial.runs.endpoint import decide

WANTED = "cars-20261120093440-1a2b"


def described(status, config="old", **more):
    return {"EndpointStatus": status, "EndpointConfigName": config, **more}


@pytest.mark.parametrize(
    ("description", "action"),
    [
        (None, "Create"),
        (described("InService"), "Update"),
        (described("InService", WANTED), "Done"),
        (described("Creating"), "Wait"),
        (described("Updating"), "Wait"),
        (described("SystemUpdating"), "Wait"),
        (described("RollingBack"), "Wait"),
        (described("Deleting"), "Wait"),
        (described("UpdateRollbackFailed"), "Update"),
        (described("Failed"), "Recreate"),
        (described("OutOfService"), "Recreate"),
        (described("Levitating"), "Failed"),
    ],
)
def test_before_a_deployment(description, action):
    assert decide(description, WANTED, "Before").action == action


@pytest.mark.parametrize(
    ("description", "action"),
    [
        (described("InService", WANTED), "Done"),
        (described("Creating", WANTED), "Wait"),
        (described("Updating"), "Wait"),
        (described("SystemUpdating"), "Wait"),
        (described("RollingBack"), "Wait"),
        (described("InService", PendingDeploymentSummary={"EndpointConfigName": WANTED}), "Wait"),
        (described("InService"), "RolledBack"),
        (described("Failed", WANTED), "Failed"),
        (described("UpdateRollbackFailed"), "Failed"),
        (described("OutOfService"), "Failed"),
        (described("Deleting"), "Failed"),
        (None, "Failed"),
        (described("Levitating"), "Failed"),
    ],
)
def test_after_a_deployment_was_asked_for(description, action):
    assert decide(description, WANTED, "After").action == action


def test_an_update_that_was_rolled_back_is_in_service_and_no_success():
    decision = decide(described("InService", FailureReason="alarm 5xx went off"), WANTED, "After")
    assert (decision.action, decision.status, decision.serving_config) == ("RolledBack", "InService", "old")
    assert "old serves" in decision.reason
    assert "alarm 5xx went off" in decision.reason


def test_an_old_failure_reason_does_not_hold_up_the_next_deployment():
    assert decide(described("InService", FailureReason="last week"), WANTED, "Before").action == "Update"


def test_a_failed_creation_says_why():
    assert "no capacity" in decide(described("Failed", FailureReason="no capacity"), WANTED, "After").reason


def test_an_endpoint_that_a_person_deleted_meanwhile_is_a_failure_with_that_reason():
    decision = decide(None, WANTED, "After")
    assert (decision.status, decision.serving_config) == ("NotFound", None)
    assert "deleted" in decision.reason


@pytest.mark.parametrize(
    ("description", "action", "reason"),
    [
        (described("InService", WANTED), "Update", f"The endpoint serves {WANTED}"),
        (
            described("UpdateRollbackFailed", WANTED, FailureReason="why"),
            "Update",
            f"The endpoint serves {WANTED} (why)",
        ),
        (described("InService", "old"), "Done", "The endpoint serves old again"),
        (
            described("InService", "theirs"),
            "Failed",
            "serves theirs, which somebody else has deployed and which is left",
        ),
        (described("Updating", WANTED), "Wait", "The endpoint is Updating"),
        (described("SystemUpdating", WANTED), "Wait", "The endpoint is SystemUpdating"),
        (described("InService", WANTED, PendingDeploymentSummary={}), "Wait", "The endpoint is InService"),
        (described("UpdateRollbackFailed", "old"), "Failed", "The endpoint is UpdateRollbackFailed"),
        (described("Failed", WANTED, FailureReason="why"), "Failed", "The endpoint is Failed (why)"),
        (described("Deleting", WANTED), "Failed", "was deleted"),
        (None, "Failed", "was deleted"),
    ],
)
def test_on_the_way_back_to_the_previous_model(description, action, reason):
    decision = decide(description, WANTED, "Back", "old")
    assert decision.action == action
    assert reason in decision.reason


@pytest.mark.parametrize("status", ["InService", "Updating"])
def test_without_a_previous_model_there_is_no_way_back_to_wait_for(status):
    decision = decide(described(status, WANTED), WANTED, "Back", None)
    assert (decision.action, "no model to go back to" in decision.reason) == ("Failed", True)
