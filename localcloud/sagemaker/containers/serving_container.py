"""The HTTP side that every serving container shares.

The socket listens before the model is loaded, and nothing is answered until it is: a `/ping` that waits is the
earliest possible notice of a container that is ready. Source of the contract: SageMaker Developer Guide, "Use Your
Own Inference Code with Hosting Services".
"""

from __future__ import annotations

import argparse
import hmac
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn, Protocol

from localcloud.sagemaker.errors import few_lines

CSV, JSON, JSON_LINES, RECORDIO = (
    "text/csv",
    "application/json",
    "application/jsonlines",
    "application/x-recordio-protobuf",
)
ANY = "*/*"
BACKLOG = 128
LARGEST_BODY = 128 * 1024**2  # bytes; a batch transform sends at most 100 MB
KEY_VARIABLE, KEY_HEADER = "LOCALCLOUD_CONTAINER_KEY", "x-localcloud-key"
"""Who may speak to a container is who started it: on AWS nobody else reaches it, here every program of the machine."""

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
    said = few_lines(message, 1000)
    log(said, "ERROR")
    return Response(status, said.encode())


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
    """Listen, load the model from `<root>/model`, answer until SIGTERM. Returns 1 when the model cannot be loaded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path("/opt/ml"), help="stands for /opt/ml")
    parser.add_argument("--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    parser.add_argument("--fd", type=int, help="an inherited listening socket; its owner keeps our stdin open")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _exit_now)
    key = os.environ.pop(KEY_VARIABLE, "")
    if arguments.fd is None:
        listener = socket.create_server(("127.0.0.1", arguments.port), backlog=BACKLOG)
    else:
        listener = socket.socket(fileno=arguments.fd)
        threading.Thread(target=_exit_with_owner, daemon=True).start()
    try:
        application = load(arguments.root)
    except Exception:  # whatever the model's code raises ends the container, as in AWS
        traceback.print_exc()
        return 1
    log(f"Listening at: http://127.0.0.1:{listener.getsockname()[1]}")
    _Server(listener, application, key).serve_forever()
    return 0


def _exit_now(*_: object) -> NoReturn:
    os._exit(0)


def _exit_with_owner() -> None:
    """The owner holds the other end of stdin; when it is gone, even by SIGKILL, so are we."""
    while os.read(0, 1024):
        continue
    os._exit(0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, application: Application, key: str) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.application, self.key = application, key

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no error of the container."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Server

    def parse_request(self) -> bool:
        """Refuse what does not have the key, before anything else is read."""
        if not super().parse_request():
            return False
        given = self.headers.get(KEY_HEADER, "")
        if hmac.compare_digest(given.encode(), self.server.key.encode()):
            return True
        self.close_connection = True
        self._answer(Response(403, b"This container answers the local cloud only; use InvokeEndpoint"))
        return False

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._answer(Response(200))
        elif self.path == "/execution-parameters":
            self._answer(self.server.application.execution_parameters())
        else:
            self._answer(Response(404, b"Not Found"))

    def do_POST(self) -> None:
        body = self._body()
        if isinstance(body, Response):
            self.close_connection = True  # where the next request starts is not known
            self._answer(body)
            return
        if self.path != "/invocations":
            self._answer(Response(404, b"Not Found"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers.pop(KEY_HEADER, None)
        try:
            response = self.server.application.invoke(Request(body, headers))
        except Exception as error:  # a request must not end the container
            traceback.print_exc()
            response = Response(500, few_lines(f"{type(error).__name__}: {error}").encode())
        self._answer(response)

    def _body(self) -> bytes | Response:
        """The request's body, or why there is none that can be read."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            return Response(411, b"Content-Length is required")
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            return Response(400, b"Content-Length must be one number")
        if int(lengths[0]) > LARGEST_BODY:
            return Response(413, f"The body is larger than {LARGEST_BODY} bytes".encode())
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            return Response(400, b"The body is shorter than its Content-Length")
        return body

    def _answer(self, response: Response) -> None:
        self.send_response_only(response.status)
        if response.status != 204:
            self.send_header("Content-Type", response.content_type)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)
        if response.status >= 400:
            log(f'"{self.command} {self.path}" {response.status}', "ERROR")

    def log_message(self, format: str, *args: Any) -> None:
        """The handler's own notes (malformed requests); requests that succeed are not logged one by one."""
        log(format % args, "ERROR")
