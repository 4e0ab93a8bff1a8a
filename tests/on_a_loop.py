"""Tests that are coroutines: each on an event loop of its own, and not for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*arguments: object, **more: object) -> None:
        async def within_seconds() -> None:
            async with asyncio.timeout(20):
                await test(*arguments, **more)

        asyncio.run(within_seconds())

    return run
