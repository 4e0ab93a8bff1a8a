"""Bounds of what anybody of this machine may hold and send before the guard: connections, and heads of requests.

Of uvicorn's options none bounds that for httptools: h11_max_incomplete_event_size is h11's, timeout_keep_alive ends
with the next byte, and limit_concurrency refuses a request whose head was read, over a connection that stays.

And a short way for what is asked thousands of times a second: a request whose head and body have come together is
offered to somebody (`Direct`) who may answer it without uvicorn's cycle of an application.
"""

import asyncio
import logging
import re
import resource
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import Context
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from localcloud.engine.asgi import Receive, Scope, Send, answer
from localcloud.sagemaker.errors import one_line

Header = tuple[bytes, bytes]
"""Its name, in lower case, and its value."""
DirectAnswer = tuple[int, Mapping[str, str], bytes]
"""Status, headers without the body's length, and body."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
UNSAYABLE = b'{"message": "The answer has a header that HTTP cannot say; see the log."}'
_PLAIN = {"content-type": "text/plain; charset=utf-8"}
_LOGGED = 300
logger = logging.getLogger(__name__)


class Direct(Protocol):
    """Answers requests that are here as a whole. Both are called in a context of the request's own."""

    def is_meant(self, method: bytes, url: bytes) -> bool:
        """Return whether a request may have a direct answer; asked before its body is here."""
        ...

    def admitted(
        self, url: bytes, headers: Sequence[Header], body: bytes, client: str
    ) -> Awaitable[DirectAnswer] | None:
        """Return what answers; None: the request goes the usual way, as if nobody had been asked."""
        ...


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

    def write_whole(self, data: bytes) -> None:
        """Write a whole answer, after which there is nothing to gather."""
        if self._parts:
            self.write(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Nobody:
    """Who waits for more of a request that is here as a whole."""

    def set(self) -> None:
        """Go on."""


class _Cycle:
    """What uvicorn's protocol asks of a request that is under way, for one that is answered directly."""

    response_complete = disconnected = more_body = False
    keep_alive = True
    message_event = _Nobody()


class BoundedHttp(HttpToolsProtocol):
    """Uvicorn's protocol with bounds: bytes, headers and seconds of a head; and a bound on connections."""

    HEAD_BYTES = 64 << 10
    HEADERS = 1000
    HEAD_SECONDS = 10.0
    """From the connection, or from the first byte after an answer, until the head of a request is there."""

    direct: Direct | None = None

    _deadline: asyncio.TimerHandle | None = None
    _unread = 0
    _refused = False
    _held: list[bytes] | None = None
    """The body, as far as it is here, of a request that may have a direct answer."""

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
        if self._held is not None:
            self._go_the_usual_way()
        if self._unread > self.HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", self._too_large)
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        size = len(self.url) + sum([len(name) + len(value) + len(": \r\n") for name, value in self.headers])
        if size > self.HEAD_BYTES or len(self.headers) > self.HEADERS:
            self.app, self.url = self._answer_too_large, b"/"  # httptools does not read a longer address
        elif self.direct and self.direct.is_meant(self.parser.get_method(), self.url) and self._is_alone():
            self._held = []
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        if self._held is not None and not self._goes_directly(b"".join(self._held)):
            self._go_the_usual_way()
        if self._held is None:
            super().on_message_complete()
        self._held = None

    def _is_alone(self) -> bool:
        """Return whether the connection has nothing else to do, goes on afterwards, and nobody waits for a word."""
        is_free = self.cycle is None or self.cycle.response_complete
        http_1_1 = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        return is_free and http_1_1 and not self.expect_100_continue

    def _goes_directly(self, body: bytes) -> bool:
        context = Context()
        client = self.client[0] if self.client else ""
        try:
            answering = self.direct and context.run(self.direct.admitted, self.url, self.headers, body, client)
        except Exception:  # as an error of the parser it would be a 400
            logger.exception("a request goes the usual way")
            return False
        if not answering:
            return False
        self.cycle: Any = _Cycle()
        task = self.loop.create_task(self._answer_directly(self.cycle, answering), context=context)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        return True

    def _go_the_usual_way(self) -> None:
        held, self._held = self._held or [], None
        super().on_headers_complete()
        for part in held:
            super().on_body(part)

    async def _answer_directly(self, cycle: _Cycle, answering: Awaitable[DirectAnswer]) -> None:
        try:
            status, headers, body = await answering
        except Exception:
            logger.exception("a request has no answer")
            status, headers, body = 500, _PLAIN, b"Internal Server Error"
        lines = "".join([f"{name.lower()}: {value}\r\n" for name, value in headers.items()]).encode(
            "latin-1", "replace"
        )
        if lines.count(b"\r") != len(headers) or lines.count(b"\n") != len(headers) or _CONTROL.search(lines):
            logger.error("answered 500: %s", one_line(repr(lines), _LOGGED))
            status, lines, body = 500, b"content-type: application/json\r\n", UNSAYABLE
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        end = b"" if cycle.keep_alive else b"connection: close\r\n"
        cycle.response_complete = True
        self.transport.write_whole(
            b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], lines, end, len(body), body)
        )
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

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
