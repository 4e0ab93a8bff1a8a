"""Who may speak to a model's containers now: first come, first served, a few at once.

Of what is under way at once, each takes its share of the processors, and more of them are no quicker. A request that
takes long waits for something, or has a model that computes for long: it makes room for another, so that slow models
answer side by side, as on AWS, and no request waits for a slow one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager

AT_ONCE = 8
LONG_SECONDS = 0.02


class Turns:
    """A queue on one event loop; `async with turns.taken():` is one turn."""

    def __init__(self) -> None:
        self._free = AT_ONCE
        self._waiting: deque[asyncio.Future[None]] = deque()

    def taken(self) -> AbstractAsyncContextManager[None]:
        return _Turn(self)

    async def begin(self) -> None:
        """Return when it is the caller's turn; a caller that is cancelled meanwhile has had none."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give a turn that has ended to the one who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class _Turn(AbstractAsyncContextManager[None]):
    """One turn, which is passed on when it ends, or when it has been long."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._has_room = turns, True

    async def __aenter__(self) -> None:
        await self._turns.begin()
        self._timer = asyncio.get_running_loop().call_later(LONG_SECONDS, self._pass_on)

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        self._pass_on()

    def _pass_on(self) -> None:
        if self._has_room:
            self._has_room = False
            self._turns.pass_on()
