"""Waiting for what comes in its own time, with a limit and without a fixed pause."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: Callable[[], T | None], description: str, seconds: float = 60.0, pause: float = 0.1) -> T:
    """The first true value of `what`; fails with the description when there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:.0f} s: {description}")
