"""The matrix, line People: an execution is aborted in each state that takes time; and what serves is tampered with."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import App
from tests.e2e.matrix import situation
from tests.e2e.matrix.situation import machine_states
from tests.e2e.matrix.test_matrix_endpoint import (
    LISTS_LATER,
    SLOW_VERIFICATION,
    WRONG,
    break_creation,
    delete,
    new_model_without_names,
    updating_by_hand,
    what_the_person_chose,
)
from tests.e2e.matrix.test_matrix_jobs import TUNE, TUNED
from tests.e2e.matrix.trips import (
    Case,
    Fault,
    Outcome,
    Outcomes,
    Trip,
    fault,
    new_model_serves,
    old_or_new_model_serves,
    parameters,
    prove,
)

pytestmark = pytest.mark.xdist_group("matrix-trips")

SLOW_SECONDS = 60.0
CHECK, UPDATE = "function:check_endpoint", "sagemaker:UpdateEndpoint"
LOST_MODEL, LOST_CONFIGURATION = (
    fault(f"sagemaker:{operation}", "error", error="InternalFailure", after=True)
    for operation in ("CreateModel", "CreateEndpointConfig")
)
ELSEWHERE = {"Quiet period", "Wait for turn", "Predict with new champion", "Wait for approval", "Ingest records"}
"""Of runs that meet others, in test_matrix_events.py; of one that waits for people, in ../test_approval.py; of one that
fills a feature group, in ../test_monitoring.py."""


def abort_in(state: str) -> Callable[[Trip], None]:
    def abort(trip: Trip) -> None:
        trip.until_held_in(state)
        trip.abort()

    return abort


def abort_beside(state: str, other: str) -> Callable[[Trip], None]:
    """Abort in a state of one branch when that of the other is over: the mail names one that is under way."""

    def abort(trip: Trip) -> None:
        trip.until_held_in(state)
        trip.until_left(other)
        trip.abort()

    return abort


def abort_in_slow(state: str, after: str) -> Callable[[Trip], None]:
    """Abort in a state that asks about the endpoint, as others do before it: it is slow only after this one."""

    def abort(trip: Trip) -> None:
        trip.until_in(after)
        trip.app.faults.add(CHECK, "delay", seconds=SLOW_SECONDS)
        abort_in(state)(trip)

    return abort


def update_and_abort(trip: Trip) -> None:
    with updating_by_hand(trip):
        trip.abort()


def endpoint_is_failed_or_gone(outcome: Outcome) -> None:
    assert outcome.after["Status"] in ("Failed", "gone")
    assert outcome.after["Parameters"] == outcome.before["Parameters"]


def run_is_as_it_was(outcome: Outcome) -> None:
    """The names are written one by one, the run last: who reads it knows whether the others belong to it."""
    assert outcome.after["Parameters"]["run"] == outcome.before["Parameters"]["run"]
    assert outcome.after["Config"] == f"{outcome.stack.app.stack}-{outcome.run.run_id}"


def slow(operation: str, **more: Any) -> Fault:
    """Long enough to be aborted in."""
    return fault(operation, "delay", seconds=SLOW_SECONDS, **more)


def let_the_call_through(app: App) -> None:
    """A call that was under way when the execution was aborted is not taken back."""
    time.sleep(1.5)


def aborted(state: str, *held: Fault, advises: str = "nothing of the model in service changes", **more: Any) -> Case:
    return Case(
        "People",
        "the execution is aborted",
        state,
        held,
        status="ABORTED",
        **{
            "person": abort_in(state),
            "says": ("Run aborted", f"in state '{state}'"),
            "advises": advises,
            **more,
        },
    )


def while_deploying(state: str, *held: Fault, **more: Any) -> Case:
    return aborted(state, *held, **{"advises": "may serve", "serves": old_or_new_model_serves, **more})


CASES = [
    aborted("Resolve configuration", slow("function:resolve_configuration")),
    aborted("Snapshot data", slow("function:snapshot_data")),
    aborted("Preprocess", fault("job:preprocess", "hang")),
    aborted("Train", fault("job:train", "hang")),
    aborted("Tune", slow(TUNE), overrides=TUNED),
    aborted("Seal preprocessor", slow("function:seal_artifact")),
    aborted("Seal model", slow("function:seal_artifact", skip=1)),
    aborted("Save model", slow("sagemaker:CreateModel")),
    aborted("Look for model", LOST_MODEL, slow("task:sagemaker:describeModel")),
    # Two branches are under way: of the states that are, the one that was entered last is named.
    aborted("Predict with candidate", fault("job:predict", "hang"), says=("Run aborted", "in state 'Predict with ")),
    aborted("Predict with champion", fault("job:champion", "hang"),
            person=abort_beside("Predict with champion", "Predict with candidate")),
    aborted("Query training results", slow("function:query_training_results")),
    aborted("Reserve deployment", slow("function:reserve_deployment")),
    aborted("Baseline data drift", fault("job:data-quality", "hang"), says=("Run aborted", "in state 'Baseline ")),
    aborted("Baseline model quality", fault("job:model-quality", "hang"),
            person=abort_beside("Baseline model quality", "Baseline data drift")),
    aborted("List baselines", slow("task:s3:listObjectsV2")),
    aborted("Register model", slow("sagemaker:CreateModelPackage")),
    aborted("Create endpoint configuration", slow("sagemaker:CreateEndpointConfig")),
    aborted("Look for configuration", LOST_CONFIGURATION, slow("task:sagemaker:describeEndpointConfig")),
    aborted("Check endpoint", slow(CHECK)),
    aborted("Wait for endpoint", LISTS_LATER, person=update_and_abort, serves=what_the_person_chose),
    aborted("Delete failed endpoint", slow("sagemaker:DeleteEndpoint"), before=break_creation,
            undo=let_the_call_through, serves=endpoint_is_failed_or_gone),
    while_deploying("Create endpoint", slow("sagemaker:CreateEndpoint"), before=delete, undo=let_the_call_through),
    while_deploying("Update endpoint", slow(UPDATE), undo=let_the_call_through),
    while_deploying("Wait for deployment", fault("endpoint", "delay", seconds=SLOW_SECONDS)),
    while_deploying("Check deployment", person=abort_in_slow("Check deployment", after="Update endpoint")),
    while_deploying("Verify endpoint", slow("function:verify_endpoint")),
    while_deploying("Write parameter", slow("task:ssm:putParameter", skip=1), serves=run_is_as_it_was,
                    advises="writes them all"),
    aborted("Clean up", slow("function:clean_up"), advises="Nothing is wrong with what serves",
            serves=new_model_serves),
    while_deploying("Check what serves", WRONG, SLOW_VERIFICATION,
                    person=abort_in_slow("Check what serves", after="Verify endpoint")),
    while_deploying("Restore previous model", WRONG, slow(UPDATE, skip=1), undo=let_the_call_through),
    while_deploying("Wait for restoration", WRONG, fault("endpoint", "delay", seconds=SLOW_SECONDS, skip=1)),
]  # fmt: skip


def replace_the_preprocessor(trip: Trip) -> None:
    trip.until_held_in("Train")
    situation.put(trip.app, f"runs/{trip.run_id}/preprocessor/model.tar.gz", b"somebody else's code")


def sealed(app: App) -> str:
    """What the model that Parameter Store names is made of."""
    return f"runs/{app.parameters()['run']}/serving/preprocessor.tar.gz"


def replace_what_serves(trip: Trip) -> None:
    trip.until_in("Verify endpoint")
    situation.put(trip.app, sealed(trip.app), b"somebody else's code")


def put_back_what_serves(app: App) -> None:
    """As the mail says."""
    newest = app.client("s3").head_object(Bucket=app.bucket, Key=sealed(app))["VersionId"]
    app.client("s3").delete_object(Bucket=app.bucket, Key=sealed(app), VersionId=newest)


TAMPERED = [
    Case("People", "somebody replaces what preprocessing has packed", "Train",
         (fault("job:train", "delay", seconds=SLOW_SECONDS),), error="ArtifactChangedError",
         person=replace_the_preprocessor,
         says=("in state 'Seal model'", "the preprocessor of run", "and its newest version is"),
         advises="Somebody has written where only a job of the run writes"),
    Case("People", "somebody replaces what the model to go back to is made of", "Check what serves",
         (WRONG, SLOW_VERIFICATION), error="EndpointVerificationError",
         person=replace_what_serves, undo=put_back_what_serves, serves=new_model_without_names,
         says=("in state 'Verify endpoint'", "was not set back to", "/serving/ are not those that were recorded"),
         advises="start a run"),
]  # fmt: skip


@parameters(TAMPERED)
def test_what_somebody_has_replaced_does_not_serve(case: Case, outcomes: Outcomes) -> None:
    prove(outcomes[case])


@parameters(CASES)
def test_execution_that_a_person_aborts(case: Case, outcomes: Outcomes) -> None:
    prove(outcomes[case])


def test_every_state_that_takes_time_is_aborted_once() -> None:
    take_time = {name for name, body in machine_states() if body["Type"] in ("Task", "Wait")}
    assert {case.where for case in CASES} | ELSEWHERE == take_time
