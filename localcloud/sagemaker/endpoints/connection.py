"""One kept connection to a serving container, on an event loop; httptools reads the answers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
from collections.abc import Mapping
from typing import cast

import httptools

_BUSY_SECONDS = 0.01


class Connection(asyncio.Protocol):
    """A pair of sockets, one of them a container's. It takes one exchange after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._whole: asyncio.Future[None] | None = None
        self._began = self._is_open = False
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

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

    @property
    def may_be_kept(self) -> bool:
        """Whether the last exchange has left it as it was before."""
        return self._is_open and self._whole is None and self._headers.get("connection", "").lower() != "close"

    async def exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body of the answer.

        Raises:
            OSError, http.client.HTTPException: the connection has broken.
        """
        head = _head(method, path, body, headers)
        if not self._is_open:
            raise http.client.RemoteDisconnected("Remote end closed connection without response")
        self._headers, self._body, self._began = {}, [], False
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(head + body if body else head)
        await self._whole
        self._whole = None
        return self._parser.get_status_code(), self._headers, b"".join(self._body)

    def close(self) -> None:
        """Close it at once, whatever is under way."""
        self._is_open = False
        self._transport.abort()

    # ---- What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        self._began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(http.client.BadStatusLine(str(error)))

    def connection_lost(self, error: Exception | None) -> None:
        self._is_open = False
        if self._began:
            self._fail(error or http.client.IncompleteRead(b"".join(self._body)))
        else:
            self._fail(error or http.client.RemoteDisconnected("Remote end closed connection without response"))

    def _fail(self, error: Exception) -> None:
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(error)

    # ---- What httptools tells

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._whole is not None and not self._whole.done():
            self._whole.set_result(None)


async def _hand_over(its: socket.socket, control: socket.socket) -> None:
    """Send a socket to a container, which may be busy. Raises OSError."""
    while True:
        with contextlib.suppress(BlockingIOError):
            socket.send_fds(control, [b"+"], [its.fileno()], socket.MSG_DONTWAIT)
            return
        await asyncio.sleep(_BUSY_SECONDS)


def _head(method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is not None:
        lines += f"Content-Length: {len(body)}\r\n"
    for name, value in headers.items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"Invalid header value {value.encode('latin-1')!r}")
        lines += f"{name}: {value}\r\n"
    return f"{lines}\r\n".encode("latin-1")
