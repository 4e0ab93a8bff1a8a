"""Bounds of what anybody of this machine may hold and send before the guard: connections, and heads of requests.

Of uvicorn's options none bounds that for httptools: h11_max_incomplete_event_size is h11's, timeout_keep_alive ends
with the next byte, and limit_concurrency refuses a request whose head was read, over a connection that stays.
"""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from localcloud.engine.asgi import Receive, Scope, Send, answer


def most_connections() -> int:
    """Return half of the descriptors that this process may have: the others are for its files, jobs and endpoints."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else min(1024, soft // 2)


class Gathering:
    """A transport that writes at once what one turn of the loop gives it: the head of an answer, and its body.

    Uvicorn gives it both apart, and each write takes a system call here, and there wakes who reads for a half.
    """

    MOST_BYTES = 64 << 10
    """Larger parts go on at once: who sends them is to learn when the other side does not keep up."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > self.MOST_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedHttp(HttpToolsProtocol):
    """Uvicorn's protocol with bounds: bytes, headers and seconds of a head; and a bound on connections."""

    HEAD_BYTES = 64 << 10
    HEADERS = 1000
    HEAD_SECONDS = 10.0
    """From the connection, or from the first byte after an answer, until the head of a request is there."""

    _deadline: asyncio.TimerHandle | None = None
    _unread = 0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.transport: Any = Gathering(transport, self.loop)
        if len(self.connections) > (most := most_connections()):
            self._refuse(b"503 Service Unavailable", f"{most} connections are open, which is all that are taken")
            self.transport.close()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Count what follows the last piece of a body, to the accuracy of one read, and a whole head exactly."""
        if self._refused:
            return
        self._unread += len(data)
        super().data_received(data)
        if self._unread > self.HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", self._too_large)
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        size = len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        if size > self.HEAD_BYTES or len(self.headers) > self.HEADERS:
            self.app, self.url = self._answer_too_large, b"/"  # httptools does not read a longer address
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.HEAD_SECONDS, self._end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        if not self._refused:
            self._refuse(b"408 Request Timeout", f"no whole request within {self.HEAD_SECONDS:g} seconds")
        self.transport.close()

    @property
    def _too_large(self) -> str:
        return f"the head of a request has at most {self.HEAD_BYTES} bytes and {self.HEADERS} headers"

    async def _answer_too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"content-type": "text/plain; charset=utf-8", "connection": "close"}
        await answer(send, 431, headers, self._too_large.encode())

    def _refuse(self, status: bytes, text: str) -> None:
        """Answer, and take what else comes without looking at it until the deadline: who sends it may read why."""
        self._refused = True
        head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d" % len(text)
        self.transport.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, head, text.encode()))
        self._await_head()
