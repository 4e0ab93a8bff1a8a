"""The HTTP side that every serving container shares.

A container listens nowhere: over a socket that it has from its start, its owner hands it one end of a pair of sockets
for each connection, so nobody else can speak to it. Connections are taken before the model is loaded, and nothing is
answered until it is: a `/ping` that waits is the earliest possible notice of a container that is ready. Source of the
contract: SageMaker Developer Guide, "Use Your Own Inference Code with Hosting Services".
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from localcloud.sagemaker.errors import few_lines

CSV, JSON, JSON_LINES, RECORDIO = (
    "text/csv",
    "application/json",
    "application/jsonlines",
    "application/x-recordio-protobuf",
)
ANY = "*/*"
LARGEST_BODY = 128 * 1024**2  # bytes; a batch transform sends at most 100 MB
_LONGEST_LINE, _MOST_HEADERS = 65_536, 100
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Request:
    """One POST /invocations; header names are lower case."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def accept(self) -> str | None:
        """None when the caller takes anything."""
        accept = self.headers.get("accept")
        return None if accept in (None, "", ANY) else accept


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def refused(status: int, message: str) -> Response:
    """Return an error whose text is the body, as the containers answer."""
    text = few_lines(message, 1000)
    log(text, "ERROR")
    return Response(status, text.encode())


class Application(Protocol):
    """A loaded model. `invoke` is called from several threads at once."""

    def invoke(self, request: Request) -> Response: ...

    def execution_parameters(self) -> Response: ...


def log(message: str, level: str = "INFO") -> None:
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S', time.gmtime())}:{level}] {few_lines(message)}", flush=True)


def base_type(content_type: str) -> str:
    """Convert `text/csv; charset=utf-8` -> `text/csv`."""
    return content_type.split(";")[0].strip().lower()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(load: Callable[[Path], Application], argv: Sequence[str]) -> int:
    """Load the model from `<root>/model`, answer until SIGTERM. Returns 1 when the model cannot be loaded.

    SIGTERM ends it without a handler: Python calls those in the main thread, and not if that has just begun to wait.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path("/opt/ml"), help="stands for /opt/ml")
    parser.add_argument("--fd", type=int, required=True, help="the socket over which the owner hands connections")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # also where the owner ignores it
    server = _Server(arguments.fd)
    taking = threading.Thread(target=server.take_connections, daemon=True)
    taking.start()
    try:
        application = load(arguments.root)
    except Exception:  # whatever the model's code raises ends the container, as in AWS
        traceback.print_exc()
        return 1
    log("Ready to answer")
    server.answer_by(application)
    taking.join()
    return 0


class _Server:
    """A thread for each connection, and the local cloud keeps its connections."""

    application: Application

    def __init__(self, control: int) -> None:
        os.set_inheritable(control, False)  # a process that a model leaves behind would hold it open
        self._control = socket.socket(fileno=control)
        self._is_loaded = threading.Event()

    def answer_by(self, application: Application) -> None:
        """Answer from now on, those who wait first."""
        self.application = application
        self._is_loaded.set()

    def take_connections(self) -> None:
        """Take what the owner hands over, and end when it has gone, even by SIGKILL."""
        while (handed := socket.recv_fds(self._control, 1, 1))[0]:
            for descriptor in handed[1]:  # none when this process may have no more
                os.set_inheritable(descriptor, False)
                connection = socket.socket(fileno=descriptor)
                try:
                    threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
                except RuntimeError:  # nor more threads
                    connection.close()
        os._exit(0)

    def _serve(self, connection: socket.socket) -> None:
        self._is_loaded.wait()
        with connection, connection.makefile("rb") as requests, suppress(ConnectionError):  # callers may hang up
            _Connection(connection, requests, self.application).answer_all()


class _RefusedError(Exception):
    """A request that is not answered by the model, and after which the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.response = Response(status, text.encode())


class _Connection:
    """One request after the other, in the part of HTTP/1.1 that the local cloud speaks; all else is refused."""

    def __init__(self, connection: socket.socket, requests: IO[bytes], application: Application) -> None:
        self._connection, self._requests, self._application = connection, requests, application
        self._request_line = "a request"

    def answer_all(self) -> None:
        """Answer until the caller hangs up, or has said something that is refused."""
        try:
            while self._answer_next():
                continue
        except _RefusedError as refused:
            self._send(refused.response, close=True)

    def _answer_next(self) -> bool:
        """Answer a request; returns whether another may follow. Raises _RefusedError."""
        if not (line := self._line(414)):
            return False
        words = line.split()
        if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise _RefusedError(400, "Bad request line")
        method, path = words[0].decode("latin-1"), words[1].decode("latin-1")
        self._request_line = f"{method} {path}"
        headers = self._headers()
        close = words[2] == b"HTTP/1.0" or headers.get("connection", "").lower() == "close"
        self._send(self._answer(method, path, headers), close)
        return not close

    def _line(self, too_long: int) -> bytes:
        line = self._requests.readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise _RefusedError(too_long, f"A line of the head is longer than {_LONGEST_LINE} bytes")
        return line

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_MOST_HEADERS + 1):
            line = self._line(431)
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name or name != name.strip():
                raise _RefusedError(400, "Bad header")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        raise _RefusedError(431, f"There are more than {_MOST_HEADERS} headers")

    def _answer(self, method: str, path: str, headers: dict[str, str]) -> Response:
        if method == "POST":
            body = self._body(headers)
            return self._invoke(Request(body, headers)) if path == "/invocations" else Response(404, b"Not Found")
        if method != "GET":
            raise _RefusedError(501, "Unsupported method")
        if path == "/ping":
            return Response(200)
        if path == "/execution-parameters":
            return self._application.execution_parameters()
        return Response(404, b"Not Found")

    def _invoke(self, request: Request) -> Response:
        try:
            return self._application.invoke(request)
        except Exception as error:  # a request must not end the container
            traceback.print_exc()
            return Response(500, few_lines(f"{type(error).__name__}: {error}").encode())

    def _body(self, headers: Mapping[str, str]) -> bytes:
        length = headers.get("content-length")
        if "transfer-encoding" in headers or length is None:
            raise _RefusedError(411, "Content-Length is required")
        if not _LENGTH.fullmatch(length):
            raise _RefusedError(400, "Content-Length must be one number")
        if int(length) > LARGEST_BODY:
            raise _RefusedError(413, f"The body is larger than {LARGEST_BODY} bytes")
        body = self._requests.read(int(length))
        if len(body) < int(length):
            raise _RefusedError(400, "The body is shorter than its Content-Length")
        return body

    def _send(self, response: Response, close: bool) -> None:
        kind = {} if response.status == 204 else {"Content-Type": response.content_type}
        end = {"Connection": "close"} if close else {}
        headers = {**kind, **response.headers, "Content-Length": str(len(response.body)), **end}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, '')}\r\n{lines}\r\n"
        self._connection.sendall(head.encode("latin-1") + response.body)
        if response.status >= 400:
            log(f'"{self._request_line}" {response.status}', "ERROR")
