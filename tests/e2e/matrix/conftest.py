"""The cases of the session, done once, while other tests of the group go on."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

import pytest

from tests.e2e.conftest import App
from tests.e2e.matrix.trips import Case, Outcomes, take_all

STACKS = ("faulty-one", "faulty-two")
PARAMETERS = {
    "ModelName": "used-cars", "GateThreshold": "50000", "QuietPeriodSeconds": "0", "PollSeconds": "1",
    "HyperParameters": r"{\"num_round\":20}",  # a hundred runs train, and how well makes no difference to them
}  # fmt: skip


@pytest.fixture(scope="session")
def trips(request: pytest.FixtureRequest, deploy: Callable[..., App]) -> Iterator[Future[Outcomes]]:
    """Every case that was selected is under way, on stacks of its own."""
    waiting: SimpleQueue[Case] = SimpleQueue()
    for case in _selected(request.session.items):
        waiting.put(case)
    names = STACKS[: waiting.qsize()]
    apps = [deploy(name, **PARAMETERS) for name in names[:1]]  # makes the bucket that the SAM CLI shares

    def take() -> Outcomes:
        with ThreadPoolExecutor(len(STACKS)) as pool:
            apps.extend(pool.map(lambda name: deploy(name, **PARAMETERS), names[1:]))
        return take_all(apps, waiting)

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(take)
        with suppress(Empty):  # a session that ends early asks for no more of them
            while True:
                waiting.get_nowait()


def _selected(items: list[pytest.Item]) -> Iterator[Case]:
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if isinstance(case := parameters.get("case"), Case):
            yield case


@pytest.fixture(scope="session")
def outcomes(trips: Future[Outcomes]) -> Outcomes:
    """What came of every case that was selected. They are all over before the first of them is judged."""
    return trips.result()
