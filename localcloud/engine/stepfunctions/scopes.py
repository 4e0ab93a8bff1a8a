"""Scopes: what has to stop when something ends early.

AWS stops the job of a `.sync` task when its execution is stopped, when its state or the execution times out, and when
a sibling branch fails. MiniStack's threads never learn of it. A `Scope` is one thing that may end early; scopes nest
(execution > branch > attempt at a task), and the current one travels with the context variables that MiniStack hands
to its own threads.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_POLL_SECONDS = 0.1


class Ended(SystemExit):
    """Leave the thread of an execution that has ended.

    A SystemExit, because MiniStack turns every Exception into a failed state, which a Retry or a Catch of the state
    machine could then pick up, and because a thread that leaves by SystemExit does so silently.
    """


class Scope:
    """An execution (`execution` is its record), or a part of one."""

    def __init__(self, parent: "Scope | None" = None, execution: dict[str, Any] | None = None) -> None:
        self._parent = parent
        self._cancelled = threading.Event()
        inherited: dict[str, Any] | None = parent.execution if parent else None
        self.execution: dict[str, Any] | None = execution if execution is not None else inherited

    def cancel(self) -> None:
        self._cancelled.set()

    def ended(self) -> bool:
        if self._cancelled.is_set() or _shutdown.is_set():
            return True
        if self._parent:
            return self._parent.ended()
        return self.execution is not None and self.execution.get("status") != "RUNNING"


_shutdown = threading.Event()
_current: ContextVar[Scope | None] = ContextVar("scope", default=None)


def current() -> Scope | None:
    """Return the innermost scope of this thread; None outside executions (TestState, for example)."""
    return _current.get()


@contextmanager
def enter(execution: dict[str, Any] | None = None) -> Iterator[Scope]:
    """Open a scope inside the current one, or the outermost one of `execution`."""
    scope = Scope(None if execution is not None else _current.get(), execution)
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


def end_all() -> None:
    """Leave every execution where it stands, as the process is about to end; the next start announces it as failed."""
    _shutdown.set()


def shutting_down() -> bool:
    return _shutdown.is_set()


def leave_if_ended() -> None:
    if (scope := _current.get()) and scope.ended():
        raise Ended


def sleep(seconds: float) -> None:
    """Sleep, but leave at once when the scope ends."""
    until = time.monotonic() + seconds
    while (seconds_left := until - time.monotonic()) > 0:
        leave_if_ended()
        time.sleep(min(seconds_left, _POLL_SECONDS))
    leave_if_ended()
