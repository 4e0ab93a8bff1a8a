"""Waiting for what comes in its own time, with a limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: Callable[[], T | None], description: str, seconds: float = 60.0, pause: float | None = None) -> T:
    """The first true value of `what`; fails with the description when there is none in time.

    To ask is work too: without a pause, the pause is a twentieth of what was waited so far, from 0.1 to 0.5 seconds.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        if found := what():
            return found
        time.sleep(pause or min(max(0.1, waited / 20), 0.5))
    raise AssertionError(f"not within {seconds:.0f} s: {description}")
