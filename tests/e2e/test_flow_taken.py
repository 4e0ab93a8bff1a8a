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
# Who takes a machine's elements: the group of tests whose local cloud has all its executions, and their files.
TAKEN_BY = {
    "train-model": (
        "e2e-used-cars",
        {f"test_matrix_{line}.py" for line in ("jobs", "endpoint", "functions", "people", "events")}
        | {"test_used_cars.py"},
    ),
    "monitor-model": ("e2e-monitor", {"test_monitoring.py"}),
    "score-batch": ("e2e-monitor", {"test_score_batch.py"}),
}


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
                events = client.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
                yield [event for page in events for event in page["events"]]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(TAKEN_BY[name][0])) for name in machines()]
)
def test_every_element_has_been_taken_by_a_run(name: str, request: pytest.FixtureRequest, cloud_state: Path) -> None:
    needed = TAKEN_BY[name][1]
    missing = needed - {item.path.name for item in request.session.items}
    if missing:
        pytest.skip(f"only a session with all of these tells: {', '.join(sorted(needed))}")
    definition = machines()[name]
    taken: set[str] = set()
    for events in histories(App.client("stepfunctions"), f"-{name}"):
        taken |= flow_elements.taken(definition, events)
    assert sorted(flow_elements.elements(definition) - taken) == []
