"""The matrix, line Endpoint: whatever happens to the endpoint, the model that was known to be good serves on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from localcloud import mailbox
from tests.e2e.conftest import App, mails
from tests.e2e.matrix.situation import SEEN
from tests.e2e.matrix.trips import (
    LIMIT_SECONDS,
    Case,
    Outcome,
    Outcomes,
    Trip,
    endpoint_status,
    fault,
    old_or_new_model_serves,
    parameters,
    prove,
)
from tests.waiting import wait_for

pytestmark = pytest.mark.xdist_group("matrix-trips")

BY_HAND = "by-hand"


def until(status: str | None, app: App) -> None:
    """Wait until the endpoint has a status, or is gone."""
    wait_for(lambda: endpoint_status(app) == status, f"status {status} of endpoint {app.endpoint}", LIMIT_SECONDS)


def delete(app: App) -> None:
    if endpoint_status(app) is not None:
        app.client("sagemaker").delete_endpoint(EndpointName=app.endpoint)
    until(None, app)


def break_creation(app: App) -> None:
    """Leave an endpoint behind whose creation failed, as that of a deployment which ends its hours; a mail says so."""
    delete(app)

    def told() -> mailbox.Message | None:
        own = (mail for mail in mails(app.state) if mail.subject.endswith(f"[{app.stack}]") and mail.path not in SEEN)
        return next((mail for mail in own if mail.subject.startswith("Endpoint not awake: ")), None)

    with app.faults.injected("endpoint", "creation-fails"):
        app.client("sagemaker").create_endpoint(
            EndpointName=app.endpoint, EndpointConfigName=app.parameters()["endpoint-config"]
        )
        until("Failed", app)
    mail = wait_for(told, "the mail", LIMIT_SECONDS)
    assert f"aws sagemaker create-endpoint --endpoint-name {app.endpoint}" in mail.body
    SEEN.add(mail.path)


@contextmanager
def updating_by_hand(trip: Trip) -> Iterator[None]:
    """Somebody updates the endpoint while the run is about to; the run waits for it."""
    trip.until_held_in("List baselines")
    with trip.app.faults.injected("endpoint", "delay", name=trip.app.endpoint, seconds=600.0):
        ask_for_an_update(trip.app)
        trip.until_in("Wait for endpoint")
        yield


def update_by_hand(trip: Trip) -> None:
    with updating_by_hand(trip):
        pass


def update_by_hand_while_verified(trip: Trip) -> None:
    trip.until_held_in("Verify endpoint")
    ask_for_an_update(trip.app)
    until("InService", trip.app)


def ask_for_an_update(app: App) -> None:
    """Update to a configuration of another name, with the model that Parameter Store names."""
    client, name = app.client("sagemaker"), f"{app.stack}-{BY_HAND}-{time.time_ns()}"
    serving = client.describe_endpoint_config(EndpointConfigName=app.parameters()["endpoint-config"])
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=serving["ProductionVariants"])
    client.update_endpoint(EndpointName=app.endpoint, EndpointConfigName=name)


def delete_before_update(trip: Trip) -> None:
    trip.until_held_in("Update endpoint")
    delete(trip.app)


def only_endpoint(status: str) -> Callable[[Outcome], None]:
    """The endpoint is in this status; the names in Parameter Store are as they were."""

    def check(outcome: Outcome) -> None:
        assert outcome.after["Status"] == status
        assert outcome.after["Parameters"] == outcome.before["Parameters"]

    return check


def what_the_person_chose(outcome: Outcome) -> None:
    """Nobody takes back what somebody else has deployed."""
    assert BY_HAND in outcome.after["Config"]
    assert outcome.after["Parameters"] == outcome.before["Parameters"]


def disturb_the_way_back(trip: Trip) -> None:
    """Lambda is busy, fails and is late exactly when it is asked what serves, and whether the way back is done."""
    for state in ("Verify endpoint", "Restore previous model"):
        trip.until_in(state)
        trip.app.faults.add("function:check_endpoint", "throttle")
        trip.app.faults.add("function:check_endpoint", "error", error="Lambda.ServiceException")
        trip.app.faults.add("function:check_endpoint", "timeout")


def break_check_after(state: str) -> Callable[[Trip], None]:
    def break_it(trip: Trip) -> None:
        trip.until_in(state)
        trip.app.faults.add("function:check_endpoint", "error", error="KeyError", message="'no such key'")

    return break_it


def old_model_serves(outcome: Outcome) -> None:
    """Whether the way back is over could not be asked; it is."""
    assert outcome.after["Status"] == "InService"
    assert outcome.after["Config"] == outcome.before["Config"]
    assert outcome.after["Parameters"] == outcome.before["Parameters"]


def new_model_without_names(outcome: Outcome) -> None:
    assert outcome.after["Parameters"] == outcome.before["Parameters"]
    assert outcome.after["Config"] == f"{outcome.stack.app.stack}-{outcome.run.run_id}"


DENIED = {"error": "AccessDeniedException"}
BUSY = 'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/x".'
TAKEN = 'Cannot create already existing endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/x".'
WRONG = fault("endpoint", "answers-wrongly")
SLOW_VERIFICATION = fault("function:verify_endpoint", "delay", seconds=1.5)
LISTS_LATER = fault("task:s3:listObjectsV2", "delay", seconds=2.0)
CASES = [
    Case("Endpoint", "it is being updated by somebody else", "Check endpoint", (LISTS_LATER,), status="SUCCEEDED",
         person=update_by_hand, says=("Model in service",)),
    Case("Endpoint", "it is in a failed state, and its replacement is refused for a while", "Check endpoint",
         (fault("sagemaker:DeleteEndpoint", "error", error="ThrottlingException", times=1),
          fault("sagemaker:CreateEndpoint", "error", error="ThrottlingException", times=1),
          fault("sagemaker:CreateEndpoint", "error", error="ResourceLimitExceeded", times=1)),
         status="SUCCEEDED", before=break_creation, says=("Model in service",)),
    Case("Endpoint", "it is in a failed state, and the answers are lost", "Delete failed endpoint",
         (fault("sagemaker:DeleteEndpoint", "error", error="ValidationException", message=BUSY, times=5),
          fault("sagemaker:CreateEndpoint", "error", error="ValidationException", message=TAKEN, times=5)),
         status="SUCCEEDED", before=break_creation, says=("Model in service",)),
    Case("Endpoint", "the answers to the creation of its model, version and configuration are lost", "Look for model",
         (fault("sagemaker:CreateModel", "error", error="InternalFailure", after=True),
          fault("sagemaker:CreateModelPackage", "error", error="InternalFailure", after=True, times=2),
          fault("sagemaker:CreateEndpointConfig", "error", error="InternalFailure", after=True)),
         status="SUCCEEDED", says=("Model in service",)),
    Case("Endpoint", "an update has begun meanwhile", "Update endpoint",
         (fault("sagemaker:UpdateEndpoint", "error", error="ValidationException", message=BUSY, times=5),),
         status="SUCCEEDED", says=("Model in service",)),
    Case("Endpoint", "it answers wrongly, and an update has begun meanwhile", "Restore previous model",
         (WRONG,
          fault("sagemaker:UpdateEndpoint", "error", error="ValidationException", message=BUSY, skip=1, times=5)),
         error="EndpointVerificationError",
         says=("in state 'Verify endpoint'", "again. Nothing was exported."), advises="start a run"),
    Case("Endpoint", "its creation fails", "Create endpoint", (fault("endpoint", "creation-fails"),),
         error="DeploymentFailed", before=delete, serves=only_endpoint("Failed"),
         says=("is Failed", "did not pass the ping health check"), advises="endpoint's log"),
    Case("Endpoint", "its update rolls back", "Update endpoint",
         (fault("endpoint", "update-rolls-back"), fault("endpoint", "delay", seconds=4.0)),
         error="DeploymentFailed",
         says=("was rolled back", "did not pass the ping health check"),
         advises="the previous model serves"),
    Case("Endpoint", "it serves, but answers wrongly", "Verify endpoint",
         (WRONG, SLOW_VERIFICATION,
          fault("sagemaker:UpdateEndpoint", "error", error="ThrottlingException", skip=1, times=1),
          fault("sagemaker:UpdateEndpoint", "error", error="ResourceLimitExceeded", skip=1, times=1)),
         error="EndpointVerificationError", person=disturb_the_way_back,
         says=("in state 'Verify endpoint'", "again. Nothing was exported.", "for test record"), advises="start a run"),
    Case("Endpoint", "it answers wrongly, and the way back is refused", "Restore previous model",
         (WRONG, fault("sagemaker:UpdateEndpoint", "error", skip=1, **DENIED)),
         error="EndpointVerificationError", serves=new_model_without_names,
         says=("in state 'Verify endpoint'", "could not be set back to"), advises="start a run"),
    Case("Endpoint", "it answers wrongly, and what serves cannot be asked", "Check what serves",
         (WRONG, SLOW_VERIFICATION), error="EndpointVerificationError", person=break_check_after("Verify endpoint"),
         serves=new_model_without_names, says=("in state 'Verify endpoint'", "not known"), advises="start a run"),
    Case("Endpoint", "it answers wrongly, and whether it went back cannot be asked", "Check what serves",
         (WRONG,), error="EndpointVerificationError", person=break_check_after("Restore previous model"),
         serves=old_model_serves, says=("in state 'Verify endpoint'", "goes back to"), advises="start a run"),
    Case("Endpoint", "it answers wrongly, and the way back is rolled back", "Check what serves",
         (WRONG, fault("endpoint", "update-rolls-back", skip=1), fault("endpoint", "delay", seconds=4.0, skip=1)),
         error="EndpointVerificationError",
         serves=new_model_without_names, says=("in state 'Verify endpoint'", "could not be set back to"),
         advises="start a run"),
    Case("Endpoint", "it is updated by somebody else", "Verify endpoint",
         (fault("function:verify_endpoint", "delay", seconds=60.0),), error="EndpointVerificationError",
         person=update_by_hand_while_verified, serves=what_the_person_chose,
         says=("in state 'Verify endpoint'", "which somebody else has deployed and which is left in service", BY_HAND),
         advises="start a run"),
    Case("Endpoint", "a person deletes it between check and update", "Update endpoint",
         (fault("sagemaker:UpdateEndpoint", "delay", seconds=60.0, times=1),),
         status="SUCCEEDED", person=delete_before_update, says=("Model in service",)),
    Case("Endpoint", "the group of its versions is gone", "Register model",
         (fault("sagemaker:CreateModelPackage", "error", error="ValidationException",
                message="ModelPackageGroup arn:aws:sagemaker:us-east-1:000000000000:model-package-group/x "
                "does not exist."),), error="SageMaker.SageMakerException",
         says=("in state 'Register model'", "does not exist"), advises="create-model-package-group"),
    Case("Endpoint", "its configuration is refused", "Create endpoint configuration",
         (fault("sagemaker:CreateEndpointConfig", "error", **DENIED),), error="SageMaker.SageMakerException",
         says=("in state 'Create endpoint configuration'", "not authorized"), advises="permission"),
    Case("Endpoint", "its creation is refused", "Create endpoint",
         (fault("sagemaker:CreateEndpoint", "error", **DENIED),), error="SageMaker.AmazonSageMakerException",
         before=delete, serves=only_endpoint("gone"),
         says=("in state 'Create endpoint'", "not authorized"), advises="permission"),
    Case("Endpoint", "a failed one cannot be deleted", "Delete failed endpoint",
         (fault("sagemaker:DeleteEndpoint", "error", **DENIED),), error="SageMaker.SageMakerException",
         before=break_creation, serves=only_endpoint("Failed"),
         says=("in state 'Delete failed endpoint'", "not authorized"), advises="permission"),
    Case("Endpoint", "how its update goes cannot be asked", "Check deployment",
         (fault("function:check_endpoint", "error", error="KeyError", message="'no such key'", skip=1),),
         error="KeyError", serves=old_or_new_model_serves,
         says=("in state 'Check deployment'", "'no such key'"), advises="may serve"),
    Case("Endpoint", "its names cannot be written", "Write parameter",
         (fault("task:ssm:putParameter", "error", error="Ssm.SsmException", message="not authorized"),),
         error="Ssm.SsmException", serves=new_model_without_names,
         says=("in state 'Write parameter'", "not authorized"), advises="writes them all"),
]  # fmt: skip


@parameters(CASES)
def test_endpoint_that_goes_wrong(case: Case, outcomes: Outcomes) -> None:
    prove(outcomes[case])
