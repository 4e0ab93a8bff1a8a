"""Every state, way out of a Choice, Retry and Catch of every state machine has been taken by a run of this session.

What cannot be provoked within seconds (a clock of hours that runs out) is taken by runs that go on from there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import flow_elements
from tests.e2e.conftest import App
from tools import asl

ROOT = Path(__file__).resolve().parents[2]
# Who takes a machine's elements: groups of tests, each of which has its executions in one local cloud, and their files.
TAKEN_BY = {
    ("train-model", "matrix-trips"): {
        f"test_matrix_{line}.py" for line in ("jobs", "endpoint", "functions", "people", "events")
    },
    ("train-model", "e2e-used-cars"): {"test_used_cars.py"},
    ("train-model", "e2e-models"): {"test_approval.py"},
    ("train-model", "e2e-monitor"): {"test_monitoring.py"},
    ("monitor-model", "e2e-monitor"): {"test_monitoring.py"},
    ("score-batch", "e2e-monitor"): {"test_score_batch.py"},
}
LAMBDA_ERRORS = (
    "Lambda.ServiceException, Lambda.AWSLambdaException, Lambda.SdkClientException, Sandbox.Timedout, Lambda.Unknown, "
    "Lambda.ClientExecutionTimeoutException"
)
OWN = {
    ("train-model", "e2e-used-cars"): {
        "choice Better than previous best? -> Model accuracy too low",
        "choice Is it only deployed? -> May this run deploy?",
        "choice Is there a version? -> Reserve deployment",
        "choice Is there work to do? -> Unknown decision",
        "choice May its model serve? -> Trained only",
        "choice May this run deploy? -> Check endpoint",
        "choice May this run deploy? -> Create endpoint configuration",
        "choice May this run deploy? -> Save model",
        "choice May this run deploy? -> Turn never came",
        "choice What does the endpoint need? -> Deployment failed",
        "choice What does the endpoint need? -> Verify endpoint",
        "state Trained only",
        "state Turn never came",
        "state Unknown decision",
    },
    ("train-model", "e2e-models"): {
        "catch Wait for approval [States.ALL] -> Not approved",
        "choice Needs approval? -> Wait for approval",
        f"retry Wait for approval [{LAMBDA_ERRORS}]",
        "retry Wait for approval [Lambda.TooManyRequestsException]",
        "state Not approved",
        "state Wait for approval",
    },
    ("train-model", "e2e-monitor"): {
        "catch Ingest records [States.ALL] -> Ingest records again?",
        "choice Ingest records again? -> Ingest records",
        "choice Ingest records again? -> Run failed",
        "choice Is there anything to ingest? -> Ingest records",
        "retry Ingest records [SageMaker.AmazonSageMakerException]",
        "retry Ingest records [SageMaker.ResourceInUseException]",
        "retry Ingest records [SageMaker.ResourceLimitExceededException]",
        "state Ingest records",
        "state Ingest records again?",
    },
}
"""The elements of a machine that are for this group to take; all others are for the machine's other group."""


def machines() -> dict[str, dict[str, Any]]:
    """The project's state machines, by the end of their names."""
    return {path.name.split(".")[0].replace("_", "-"): asl.parse(path.read_text()) for path in _files()}


def _files() -> list[Path]:
    return sorted(ROOT.glob("statemachines/*.asl.json"))


def histories(client: Any, suffix: str) -> Iterator[list[dict[str, Any]]]:
    """The histories of all executions of the session, of all stacks."""
    pages = client.get_paginator("list_state_machines").paginate()
    for machine in (machine for page in pages for machine in page["stateMachines"]):
        if machine["name"].endswith(suffix):
            listed = client.get_paginator("list_executions").paginate(stateMachineArn=machine["stateMachineArn"])
            for execution in (item for page in listed for item in page["executions"]):
                wanted = {"executionArn": execution["executionArn"], "PaginationConfig": {"PageSize": 1000}}
                events = client.get_paginator("get_execution_history").paginate(**wanted)
                yield [event for page in events for event in page["events"]]


def for_group(name: str, group: str) -> set[str]:
    """The elements of a machine that a group's runs have to take."""
    others = {element for (of, who), own in OWN.items() if of == name and who != group for element in own}
    return OWN.get((name, group)) or flow_elements.elements(machines()[name]) - others


def test_each_machine_has_groups_that_take_all_of_it() -> None:
    for name, definition in machines().items():
        groups = [group for of, group in TAKEN_BY if of == name]
        assert set().union(*(for_group(name, group) for group in groups)) == flow_elements.elements(definition)


@pytest.mark.parametrize(
    ("name", "group"),
    [pytest.param(*each, id=" by ".join(each), marks=pytest.mark.xdist_group(each[1])) for each in TAKEN_BY],
)
def test_every_element_has_been_taken_by_a_run(
    name: str, group: str, request: pytest.FixtureRequest, cloud_state: Path
) -> None:
    needed = TAKEN_BY[name, group]
    missing = needed - {item.path.name for item in request.session.items}
    if missing:
        pytest.skip(f"only a session with all of these tells: {', '.join(sorted(needed))}")
    definition = machines()[name]
    not_taken, executions = for_group(name, group), histories(App.client("stepfunctions"), f"-{name}")
    while not_taken and (events := next(executions, None)):
        not_taken = not_taken - flow_elements.taken(definition, events)
    assert sorted(not_taken) == []
