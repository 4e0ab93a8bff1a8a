"""What every serving container shares: requests come in over sockets, and answers go out.

A container listens nowhere: over a socket that it has from its start, its owner hands it one end of a pair of sockets
for each connection, so nobody else can speak to it. Connections are taken before the model is loaded, and nothing is
answered until it is: a `/ping` that waits is the earliest possible notice of a container that is ready. Source of the
contract: SageMaker Developer Guide, "Use Your Own Inference Code with Hosting Services".

The requests of a connection (`frames.py`) are answered one after the other by one thread, as long as they are quick:
several threads would take the interpreter from each other. Once a few in a row have taken more than QUICK_SECONDS, or
one LONG_SECONDS, the others go on beside them, AT_ONCE at a time, and the next ones too: a slow model waits for
something, or computes for long, and answers several side by side, as on AWS. One that goes on for longer than
LONG_SECONDS makes room for another, so that no request waits for a slow one.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from localcloud.sagemaker.containers import frames
from localcloud.sagemaker.errors import few_lines

CSV, JSON, JSON_LINES, RECORDIO = (
    "text/csv",
    "application/json",
    "application/jsonlines",
    "application/x-recordio-protobuf",
)
ANY = "*/*"
LARGEST_BODY = 128 * 1024**2  # bytes; a batch transform sends at most 100 MB
AT_ONCE = 8
QUICK_SECONDS, LONG_SECONDS = 0.002, 0.02
_SLOW_IN_A_ROW = 3  # one may be quick, and have lost the processor to another program
_SLOW_REQUESTS = 100
"""How many requests after slow ones have threads of their own."""
_TICK_SECONDS = 0.005
_IDLE_TICKS = 200
_RECEIVED_BYTES = 1 << 18
_INVOCATIONS = "POST /invocations"
_TOGETHER_BYTES = 1 << 16
_SOON_SECONDS = 0.001
"""An answer waits so long for those of the requests that came with its own."""


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
    """A loaded model, which is called from several threads at once.

    One that has also `invoke_together(requests) -> responses` is asked so by requests that have waited together.
    """

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
    threading.Thread(target=server.take_connections, daemon=True).start()
    try:
        application = load(arguments.root)
    except Exception:  # whatever the model's code raises ends the container, as in AWS
        traceback.print_exc()
        return 1
    log("Ready to answer")
    server.answer_by(application)
    server.watch()
    return 0


class _Server:
    """The connections of one container, and the watch over how long their requests take."""

    application: Application

    def __init__(self, control: int) -> None:
        os.set_inheritable(control, False)  # a process that a model leaves behind would hold it open
        self._control = socket.socket(fileno=control)
        self._is_loaded, self._is_busy = threading.Event(), threading.Event()
        self._connections: set[_Connection] = set()

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

    def watch(self) -> None:
        """Let nothing wait for a slow request, for ever; sleep while there are none."""
        idle_ticks = 0
        while True:
            time.sleep(_TICK_SECONDS)
            idle_ticks = 0 if self._relieve() else idle_ticks + 1
            if idle_ticks > _IDLE_TICKS:
                self._is_busy.clear()
                if not self._relieve():
                    self._is_busy.wait()

    def _relieve(self) -> bool:
        at_work = [connection.relieve() for connection in list(self._connections)]
        return any(at_work)

    def _serve(self, socket_: socket.socket) -> None:
        self._is_loaded.wait()
        connection = _Connection(socket_, self.application, self._is_busy, self._connections.discard)
        self._connections.add(connection)
        connection.lead(0)


class _Helper:
    """A thread that answers requests beside the one that takes them in."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.counts = True
        """It is one of those that go side by side; one that takes long has made room for another."""


class _Connection:
    """The requests of one connection. One thread leads: it takes them in, and answers them unless they are slow."""

    def __init__(
        self,
        connection: socket.socket,
        application: Application,
        is_busy: threading.Event,
        ended: Callable[[_Connection], None],
    ) -> None:
        self._connection, self._application, self._is_busy, self._ended = connection, application, is_busy, ended
        self._together = getattr(application, "invoke_together", None)
        self._reader = frames.Reader()
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._waiting: deque[frames.Frame] = deque()
        self._answers: deque[bytes] = deque()
        self._leader = 0  # a leader that was relieved finds another number
        self._since = 0.0  # since when the leader is at what it answers; 0: it is not
        self._apart = 0  # how many requests still get threads of their own
        self._slow_in_a_row = 0
        self._helpers: set[_Helper] = set()
        self._received = False

    def lead(self, number: int) -> None:
        """Take requests in until the owner hangs up, or until another thread leads."""
        while self._receive():
            if not self._is_busy.is_set():
                self._is_busy.set()
            if not self._apart and not self._answer_waiting(number):
                return
            if self._apart:
                self._help()
        self._ended(self)

    def relieve(self) -> bool:
        """Let another thread lead in place of one that has a slow request; return whether there is something to do."""
        long_ago, new_leader = time.monotonic() - LONG_SECONDS, 0
        with self._lock:
            was_received, self._received = self._received, False
            if self._since and self._since < long_ago:
                self._leader = new_leader = self._leader + 1
                self._since, self._apart = 0.0, _SLOW_REQUESTS
            for helper in self._helpers:
                helper.counts = helper.counts and helper.since >= long_ago
            is_at_work = bool(was_received or self._since or self._helpers)
        if new_leader:
            threading.Thread(target=self.lead, args=(new_leader,), daemon=True).start()
            self._send()
        if self._apart:
            self._help()
        return is_at_work

    def _receive(self) -> bool:
        """Wait for requests; False when there will be no more."""
        try:
            data = self._connection.recv(_RECEIVED_BYTES)
        except OSError:
            return False
        received = self._reader.frames(data)
        with self._lock:
            self._waiting.extend(received)
            self._received = True
        return bool(data)

    def _answer_waiting(self, number: int) -> bool:
        """Answer what waits, one after the other, unless it is slow; False when another thread leads meanwhile."""
        began, some = time.monotonic(), list[frames.Frame]()
        while True:
            now = time.monotonic()
            with self._lock:
                if leads := self._leader == number:
                    if some:
                        self._note((now - self._since) / len(some))
                    some = [] if self._apart else self._taken()
                    self._since = now if some else 0.0
            if not leads or not some:
                self._send()
                return leads
            if now - began > _SOON_SECONDS:
                self._send()
            self._answer(some)

    def _note(self, took: float) -> None:
        """Count how many in a row were slow."""
        self._slow_in_a_row = self._slow_in_a_row + 1 if took > QUICK_SECONDS else 0
        if self._slow_in_a_row >= _SLOW_IN_A_ROW:
            self._slow_in_a_row, self._apart = 0, _SLOW_REQUESTS

    def _taken(self) -> list[frames.Frame]:
        """Take the next request, or those that may be answered together."""
        some: list[frames.Frame] = []
        size = 0
        while self._waiting and (not some or (self._together and size + len(self._waiting[0].body) < _TOGETHER_BYTES)):
            some.append(self._waiting.popleft())
            size += len(some[-1].body)
        return some

    def _help(self) -> None:
        """Start threads for what waits, AT_ONCE and one more for each that takes long."""
        while True:
            with self._lock:
                if not self._waiting or sum(helper.counts for helper in self._helpers) >= AT_ONCE:
                    return
                self._helpers.add(helper := _Helper())
                request = self._waiting.popleft()
            threading.Thread(target=self._assist, args=(helper, request), daemon=True).start()

    def _assist(self, helper: _Helper, request: frames.Frame | None) -> None:
        while request:
            helper.since = time.monotonic()
            self._answer([request])
            self._send()
            with self._lock:
                took_long = time.monotonic() - helper.since > LONG_SECONDS
                self._apart = _SLOW_REQUESTS if took_long else max(0, self._apart - 1)
                request = self._waiting.popleft() if self._waiting and helper.counts else None
                if not request:
                    self._helpers.discard(helper)

    # ---- Answers

    def _answer(self, some: list[frames.Frame]) -> None:
        """Leave the answers for `_send`."""
        requests = [_invocation(frame) for frame in some]
        if self._together and len(some) > 1 and None not in requests:
            with suppress(Exception):  # whose fault it is shows when they are asked one by one
                for frame, response in zip(some, [*self._together(requests)], strict=True):
                    self._leave(frame, response)
                return
        for frame, request in zip(some, requests, strict=True):
            self._leave(frame, self._response(frame, request))

    def _response(self, frame: frames.Frame, request: Request | None) -> Response:
        try:
            return self._application.invoke(request) if request else self._besides(frame)
        except Exception as error:  # a request must not end the container
            traceback.print_exc()
            return Response(500, few_lines(f"{type(error).__name__}: {error}").encode())
        except BaseException:  # nor must a script that ends its thread
            traceback.print_exc()
            return Response(frames.HUNG_UP)

    def _besides(self, frame: frames.Frame) -> Response:
        """Answer what is no invocation."""
        line, _ = frames.first_and_headers(frame.head)
        if line == "GET /ping":
            return Response(200)
        if line == "GET /execution-parameters":
            return self._application.execution_parameters()
        if line == _INVOCATIONS:
            return Response(413, f"The body is larger than {LARGEST_BODY} bytes".encode())
        return Response(404, b"Not Found")

    def _leave(self, frame: frames.Frame, response: Response) -> None:
        kind = {} if response.status == 204 else {"Content-Type": response.content_type}
        try:
            head = frames.head("", {**kind, **response.headers} if response.headers else kind)
        except ValueError as error:  # a header that is none, which werkzeug refuses too
            response, head = Response(500, str(error).encode()), b"\nContent-Type: text/plain; charset=utf-8"
        self._answers.append(frames.packed(frame.number, response.status, head, response.body))
        if response.status >= 400:
            log(f'"{frames.first_and_headers(frame.head)[0]}" {response.status}', "ERROR")

    def _send(self) -> None:
        """Send what is answered. The owner may have hung up."""
        with self._sending, suppress(OSError):
            answers = []
            while self._answers:
                answers.append(self._answers.popleft())
            self._connection.sendall(b"".join(answers))


def _invocation(frame: frames.Frame) -> Request | None:
    line, headers = frames.first_and_headers(frame.head)
    return Request(frame.body, headers) if line == _INVOCATIONS and len(frame.body) <= LARGEST_BODY else None
