"""The matrix, line People: an execution is aborted, early and late."""

from collections.abc import Callable

import pytest

from tests.e2e.matrix.trips import Case, Fault, Outcome, Trip, fault, parameters, prove

pytestmark = pytest.mark.xdist_group("e2e-used-cars")


def abort_in(state: str) -> Callable[[Trip], None]:
    def abort(trip: Trip) -> None:
        trip.until_in(state)
        trip.abort()

    return abort


def names_are_as_they_were(outcome: Outcome) -> None:
    """An update that has been asked for goes on after the abort; the names are of what was verified last."""
    assert outcome.after["Parameters"] == outcome.before["Parameters"]


def aborted(state: str, held: Fault, *, updated: bool = False) -> Case:
    """The state takes long enough to be aborted in."""
    return Case(
        "People",
        "the execution is aborted",
        state,
        (held,),
        status="ABORTED",
        person=abort_in(state),
        says=("Run aborted", f"in state '{state}'"),
        advises="may serve" if updated else "nothing of the model in service changes",
        serves=names_are_as_they_were if updated else None,
    )


CASES = [
    aborted("Resolve configuration", fault("function:resolve_configuration", "delay", seconds=1.0)),
    aborted("Snapshot data", fault("function:snapshot_data", "delay", seconds=1.0)),
    aborted("Preprocess", fault("job:preprocess", "hang")),
    aborted("Train", fault("job:train", "hang")),
    aborted("Predict with champion", fault("job:champion", "hang")),
    aborted("Baseline model quality", fault("job:model-quality", "hang")),
    aborted("Check endpoint", fault("function:check_endpoint", "delay", seconds=1.0)),
    aborted("Verify endpoint", fault("function:verify_endpoint", "delay", seconds=2.0), updated=True),
]


@parameters(CASES)
def test_execution_that_a_person_aborts(case: Case, outcomes: dict[Case, Outcome]) -> None:
    prove(outcomes[case])
