"""Requests to a model take turns: a few at once, the first that came first, and none waits for a slow one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from localcloud.sagemaker.endpoints import turns
from localcloud.sagemaker.endpoints.turns import AT_ONCE, Turns


class Lab:
    """Requests that hold their turns until they are let go; `begun` are those whose turn has come, in that order."""

    def __init__(self) -> None:
        self.turns, self.begun = Turns(), list[int]()
        self.tasks, self._ends = list[asyncio.Task[None]](), list[asyncio.Event]()

    async def come(self, count: int) -> None:
        for _ in range(count):
            self._ends.append(asyncio.Event())
            self.tasks.append(asyncio.create_task(self._request(len(self.tasks))))
        await self.settled()

    async def end(self, *numbers: int) -> None:
        for number in numbers:
            self._ends[number].set()
        await self.settled()

    async def settled(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _request(self, number: int) -> None:
        async with self.turns.taken():
            self.begun.append(number)
            await self._ends[number].wait()


def run(test: Callable[[Lab], Awaitable[None]]) -> None:
    async def with_lab() -> None:
        await test(Lab())

    asyncio.run(with_lab())


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is long."""
    monkeypatch.setattr(turns, "LONG_SECONDS", 3600.0)


@pytest.mark.usefixtures("endless")
def test_a_few_go_at_once_and_the_others_in_the_order_in_which_they_came() -> None:
    async def test(lab: Lab) -> None:
        await lab.come(AT_ONCE + 3)
        assert lab.begun == list(range(AT_ONCE))
        await lab.end(5)
        await lab.end(0, 1)
        assert lab.begun == list(range(AT_ONCE + 3))

    run(test)


@pytest.mark.usefixtures("endless")
def test_whoever_comes_while_others_wait_does_not_overtake_them() -> None:
    async def test(lab: Lab) -> None:
        await lab.come(AT_ONCE + 1)
        lab._ends[0].set()
        await lab.come(1)
        assert lab.begun == list(range(AT_ONCE + 1))

    run(test)


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("has_begun", [True, False])
def test_one_that_is_cancelled_takes_no_turn_with_it(has_begun: bool) -> None:
    async def test(lab: Lab) -> None:
        await lab.come(AT_ONCE + 2)
        lab.tasks[0 if has_begun else AT_ONCE].cancel()
        await lab.settled()
        await lab.end(*range(AT_ONCE + 2))
        begun = len(lab.begun)
        await lab.come(AT_ONCE + 1)
        assert len(lab.begun) == begun + AT_ONCE

    run(test)


@pytest.mark.usefixtures("endless")
def test_one_that_is_cancelled_just_when_its_turn_comes_passes_it_on() -> None:
    async def test(lab: Lab) -> None:
        await lab.come(AT_ONCE + 2)
        lab.turns.pass_on()  # gives the turn to the first that waits
        lab.tasks[AT_ONCE].cancel()
        await lab.settled()
        assert lab.begun[AT_ONCE:] == [AT_ONCE + 1]

    run(test)


def test_many_slow_ones_go_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONG_SECONDS", 0.001)

    async def test(lab: Lab) -> None:
        await lab.come(4 * AT_ONCE)
        async with asyncio.timeout(5):
            while len(lab.begun) < 4 * AT_ONCE:
                await asyncio.sleep(0.001)
        assert lab.begun == sorted(lab.begun)
        await lab.end(*range(4 * AT_ONCE))
        monkeypatch.setattr(turns, "LONG_SECONDS", 3600.0)
        await lab.come(2 * AT_ONCE)  # and afterwards there are as many turns as before
        assert len(lab.begun) == 5 * AT_ONCE

    run(test)
