"""One kept connection to a serving container: requests go out in one piece, answers are read by httptools.

`http.client` reads headers with the parser of mails, which takes longer than the rest of an exchange.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping

import httptools

_CHUNK_BYTES = 1 << 16


class Connection:
    """A connection to a port of this machine, made with the first exchange."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.may_be_kept = False
        """Whether the last exchange has left it as it was before."""

    def exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body of the answer.

        Raises:
            TimeoutError: for so long nothing has come.
            OSError, http.client.HTTPException: there is no connection, or it has broken.
        """
        self.may_be_kept = False
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(timeout)
        self._socket.sendall(self._head(method, path, body, headers) + (body or b""))
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.is_whole:
            data = self._socket.recv(_CHUNK_BYTES)
            if not data and not answer.began:
                raise http.client.RemoteDisconnected("Remote end closed connection without response")
            if not data:
                raise http.client.IncompleteRead(b"".join(answer.body))
            answer.began = True
            try:
                parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise http.client.BadStatusLine(str(error)) from error
        self.may_be_kept = answer.headers.get("connection", "").lower() != "close"
        return parser.get_status_code(), answer.headers, b"".join(answer.body)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _head(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        length = {} if body is None else {"Content-Length": str(len(body))}
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        for name, value in {**length, **headers}.items():
            if "\r" in value or "\n" in value:
                raise ValueError(f"Invalid header value {value.encode('latin-1')!r}")
            lines.append(f"{name}: {value}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class _Answer:
    """What httptools tells of an answer."""

    def __init__(self) -> None:
        self.began = self.is_whole = False
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.is_whole = True
