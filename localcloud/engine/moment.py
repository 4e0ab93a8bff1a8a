"""What has been found out of keys and permissions a moment ago, for what is asked thousands of times a second.

Whoever has changed a policy or a key, or knows that somebody did, has had an answer of this local cloud. Before each
answer all of this is forgotten (guard.py), but before those of the short way of invocations, which change nothing.
What changes while nobody asks (a session ends, the update of a stack goes on) counts SECONDS later. On AWS that takes
a while as well (IAM User Guide, "Changes that I make are not always immediately visible").
"""

import time
from collections.abc import Callable, Hashable
from typing import Any

SECONDS = 0.05


class Moment:
    """Values by what they were asked for. To be used on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._values: dict[Hashable, Any] = {}
        self._since = 0.0

    def get(self, key: Hashable) -> Any:
        """Return what was found out in this moment; None: nothing."""
        now = self._clock()
        if not 0 <= now - self._since < SECONDS:
            self._values.clear()
            self._since = now
        return self._values.get(key)

    def keep(self, key: Hashable, value: Any) -> None:
        """Keep what was found out since `get` was asked for it, with nothing awaited in between."""
        self._values[key] = value

    def forget(self) -> None:
        self._values.clear()


moment = Moment()
