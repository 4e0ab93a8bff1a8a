"""Every state, every way out of a Choice, every Retry and every Catch of the training flow is taken by some walk.

Which of them real runs take is counted at the end of the end-to-end tests (tests/e2e/test_flow_taken.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests import flow_elements
from tests.unit.state_machine_walk import Fake, Walk
from tests.unit.test_state_machine_train_model import (
    BUSY,
    CHAMPION,
    DEFINITION,
    DEPLOYED,
    INGEST,
    JOBS,
    MANUAL,
    NAME,
    NEW_CHAMPION,
    RESULT,
    TUNING,
    WORK,
    failing,
    fakes,
    function,
    functions,
    given_turn,
    job,
    listed,
    lost_by_the_platform,
    seen,
    turn,
    walk,
)
from tools import asl

pytestmark = pytest.mark.xdist_group("walks")  # they are walked once
STATES = dict(asl.states(DEFINITION))
REFUSED = {"Verify endpoint": failing("EndpointVerificationError")(function({}))}


def scenarios() -> list[Walk]:
    """The ways through the flow, without and with errors of every task."""
    new = {"Check endpoint": function(seen("Create", None, "NotFound"))}
    again = {"Reserve deployment": functions(turn("Wait", None), turn("Compare", NEW_CHAMPION), turn("Deploy", None))}
    capacity = {state: lost_by_the_platform()(job) for state in JOBS}
    ways = [
        walk(),
        walk(capacity),
        walk({"Tune": lost_by_the_platform()(job)}, work={"Tuning": TUNING}),
        walk({"Ingest records": lost_by_the_platform()(job)}, work={"Ingest": INGEST}),
        walk({**again, "Predict with new champion": lost_by_the_platform()(job)}),
        walk(new, work={"Champion": None}),
        *(walk(work={"Decision": decision}) for decision in ("NoData", "Surprise")),
        walk({"Query training results": function({**RESULT, "MeetsThreshold": False, "Accepted": False})}),
        walk({"Query training results": function({**RESULT, "Accepted": False})}),
        walk(work={"Withheld": "its input decides data_prefix"}),
        walk(again),
        walk({"Reserve deployment": function(turn("Superseded", NEW_CHAMPION))}),
        walk({"Reserve deployment": function(turn("Wait", None))}, limit=20_000),
        walk({"Check endpoint": functions(seen("Wait", CHAMPION, "Updating"), seen("Recreate", None), seen("Create"))}),
        walk(definition=MANUAL),
        walk(given_turn(model=False, configuration=False), work=DEPLOYED),
        walk(given_turn(model=True, configuration=True), work=DEPLOYED),
        walk({"List baselines": listed()}),
        walk({"Check endpoint": function(seen("Done", NAME))}),
        walk({"Check endpoint": function(seen("Failed"))}),
        walk({"Check deployment": function(seen("RolledBack", CHAMPION))}),
        walk(REFUSED),
        walk({"Update endpoint": failing("SageMaker.SageMakerException", BUSY, times=5)(function({}))}),
        walk({**REFUSED, "Check what serves": failing("ArtifactChangedError")(function({}))}),
    ]
    return ways + [broken for name, body in STATES.items() for broken in _broken(name, body)]


def _broken(name: str, body: dict[str, Any]) -> list[Walk]:
    """A task that fails for good, and one that fails once with an error of each Retry."""
    if body["Type"] != "Task":
        return []
    usual = fakes().get(name, job)
    once = [retrier["ErrorEquals"][0] for retrier in body.get("Retry", [])]
    machine = MANUAL if name == "Wait for approval" else DEFINITION
    return [
        walk({**_way_to(name), name: failing("Broken")(usual)}, definition=machine),
        *(walk({**_way_to(name), name: failing(error, times=1)(usual)}, definition=machine) for error in once),
    ]


def _way_to(name: str) -> dict[str, Fake]:
    """What has to be so that the flow comes to a state which it usually does not need."""
    if name == "Tune":
        return {"Resolve configuration": function({**WORK, "Tuning": TUNING})}
    if name == "Ingest records":
        return {"Resolve configuration": function({**WORK, "Ingest": INGEST})}
    if name == "Create endpoint":
        return {"Check endpoint": function(seen("Create", None, "NotFound"))}
    if name == "Delete failed endpoint":
        return {"Check endpoint": functions(seen("Recreate"), seen("Create"))}
    if name == "Predict with new champion":
        return {"Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION))}
    return REFUSED if name in ("Check what serves", "Restore previous model") else {}


@pytest.fixture(scope="module")
def walked() -> set[str]:
    return {element for way in scenarios() for element in way.taken}


@pytest.mark.parametrize("state", STATES)
def test_every_element_of_the_flow_is_taken_by_a_walk(walked: set[str], state: str) -> None:
    assert sorted(flow_elements.of_state(state, STATES[state]) - walked) == []


def test_a_walk_takes_nothing_that_the_flow_does_not_have(walked: set[str]) -> None:
    assert sorted(walked - flow_elements.elements(DEFINITION)) == []


def test_what_a_history_shows_is_read_along_each_branch() -> None:
    failed = {"taskFailedEventDetails": {"error": "SageMaker.AmazonSageMakerException"}}
    events = [
        {"id": 1, "type": "ExecutionStarted", "previousEventId": 0},
        entered(2, 1, "Save model"),
        {"id": 3, "type": "TaskScheduled", "previousEventId": 2},
        {"id": 4, "type": "TaskFailed", "previousEventId": 3, **failed},
        entered(5, 1, "Preprocess"),  # of another branch, in between
        {"id": 6, "type": "TaskScheduled", "previousEventId": 4},
        {"id": 7, "type": "TaskStateExited", "previousEventId": 6, "stateExitedEventDetails": {"name": "Save model"}},
        entered(8, 7, "Look for model"),
        entered(9, 8, "Restore previous model"),
        {"id": 10, "type": "TaskFailed", "previousEventId": 9, **failed},
        {"id": 11, "type": "TaskStateExited", "previousEventId": 10,
         "stateExitedEventDetails": {"name": "Restore previous model"}},
        entered(12, 11, "Wait for restoration"),  # as after its success
        entered(13, 1, "Train", "Pass"),  # of a run that has left it out
    ]  # fmt: skip
    assert flow_elements.taken(DEFINITION, events) == {
        "state Save model",
        "state Preprocess",
        "state Look for model",
        "retry Save model [SageMaker.AmazonSageMakerException]",
        "catch Save model [States.ALL] -> Look for model",
        "state Restore previous model",
        "catch Restore previous model [States.ALL] -> Wait for restoration",
        "state Wait for restoration",
    }


def entered(number: int, previous: int, name: str, kind: str = "") -> dict[str, Any]:
    details = {"stateEnteredEventDetails": {"name": name}}
    return {
        "id": number, "type": f"{kind or STATES[name]['Type']}StateEntered", "previousEventId": previous, **details
    }  # fmt: skip
