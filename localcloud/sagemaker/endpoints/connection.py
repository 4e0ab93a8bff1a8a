"""One kept connection to a serving container, on an event loop: requests go out in frames, answers come in any order.

What is asked in one turn of the loop goes out at once, and reaches the container together.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import math
import socket
from collections.abc import Mapping
from typing import cast

from localcloud.sagemaker.containers import frames

_BUSY_SECONDS = 0.01
Answer = tuple[int, Mapping[str, str], bytes]


class LateError(Exception):
    """The time of a request is up."""


class Connection(asyncio.Protocol):
    """A pair of sockets, one of them a container's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = frames.Reader()
        self._under_way: dict[int, tuple[asyncio.Future[Answer], float]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._leaving: list[bytes] = []
        self._number = 0
        self.is_open = False

    @classmethod
    async def to(cls, control: socket.socket) -> Connection:
        """Return a connection to the container at the other end of `control`. Raises OSError."""
        own, its = socket.socketpair()
        with contextlib.ExitStack() as unless_sent:
            unless_sent.callback(own.close)
            with its:
                await _hand_over(its, control)
            own.setblocking(False)
            _, connection = await asyncio.get_running_loop().create_unix_connection(cls, sock=own)
            unless_sent.pop_all()
        return connection

    async def exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], until: float = math.inf
    ) -> Answer:
        """Return status, headers (names in lower case, to be read only) and body of the answer.

        until  a time of the loop

        Raises:
            OSError, http.client.HTTPException: the connection has broken, or what answered the request has ended.
            LateError: there is no answer by then.
            ValueError: a header's value would bring others.
        """
        head = frames.head(f"{method} {path}", headers)
        if not self.is_open:
            raise _hung_up()
        self._number = number = self._number + 1
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._under_way[number] = answer, until
        if until < math.inf and (self._alarm is None or until < self._alarm.when()):
            self._set_alarm(until)
        if not self._leaving:
            self._loop.call_soon(self._leave)
        self._leaving.append(frames.packed(number, 0, head, body))
        try:
            return await answer
        finally:
            self._under_way.pop(number, None)  # also of one that nobody waits for any longer

    def close(self) -> None:
        """Close it at once, whatever is under way."""
        self.is_open = False
        self._transport.abort()

    def _set_alarm(self, when: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._end_late)

    def _end_late(self) -> None:
        """End the requests whose time is up; one timer is for all, because nearly all are answered long before."""
        self._alarm = None
        now = self._loop.time()
        for answer, until in self._under_way.values():
            if until <= now and not answer.done():
                answer.set_exception(LateError())
        times = [until for answer, until in self._under_way.values() if now < until < math.inf]
        if times:
            self._set_alarm(min(times))

    def _leave(self) -> None:
        leaving, self._leaving = self._leaving, []
        if self.is_open:
            self._transport.write(b"".join(leaving))

    # ---- What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        for number, status, head, body in self._reader.frames(data):
            answer, _ = self._under_way.pop(number, (None, 0.0))
            if answer is None or answer.done():
                continue
            if status == frames.HUNG_UP:
                answer.set_exception(_hung_up())
            else:
                answer.set_result((status, frames.first_and_headers(head)[1], body))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._alarm:
            self._alarm.cancel()
        for answer, _ in self._under_way.values():
            if not answer.done():
                answer.set_exception(error or _hung_up())


def _hung_up() -> Exception:
    return http.client.RemoteDisconnected("Remote end closed connection without response")


async def _hand_over(its: socket.socket, control: socket.socket) -> None:
    """Send a socket to a container, which may be busy. Raises OSError."""
    while True:
        with contextlib.suppress(BlockingIOError):
            socket.send_fds(control, [b"+"], [its.fileno()], socket.MSG_DONTWAIT)
            return
        await asyncio.sleep(_BUSY_SECONDS)
