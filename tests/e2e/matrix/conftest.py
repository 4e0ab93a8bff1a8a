"""The cases of the session, done once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import App
from tests.e2e.matrix.trips import Case, Outcome, take_all

STACKS = ("faulty-one", "faulty-two", "faulty-three", "faulty-four")
PARAMETERS = {"ModelName": "used-cars", "GateThreshold": "50000", "QuietPeriodSeconds": "0", "PollSeconds": "1"}


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, deploy: Callable[..., App]) -> dict[Case, Outcome]:
    """What came of every case that was selected. They all run before the first of them is judged."""
    cases = [
        item.callspec.params["case"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "case" in item.callspec.params
    ]
    cases = [case for case in cases if isinstance(case, Case)]
    names = STACKS[: len(cases)]
    first = deploy(names[0], **PARAMETERS)  # the first makes the bucket that the SAM CLI shares
    with ThreadPoolExecutor(len(names)) as pool:
        others = pool.map(lambda name: deploy(name, **PARAMETERS), names[1:])
        apps = [first, *others]
    return take_all(apps, cases)
