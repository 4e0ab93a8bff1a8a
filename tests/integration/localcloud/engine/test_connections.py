"""What a program without a key may hold of the server and send to it; beside it, what honest programs do.

The server is uvicorn with our protocol, in this process; the deadline is shorter than the real one.
"""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from localcloud.engine import connections
from localcloud.engine.asgi import Receive, Scope, Send, answer
from localcloud.engine.connections import BoundedHttp

SECONDS = 0.4
LIMIT = BoundedHttp.HEAD_BYTES
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT = b"POST /short HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell how large the head and the body were; /short answers before the body is there."""
    if scope["type"] == "lifespan":
        return
    size, more = 0, scope["path"] != "/short"
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await answer(send, 200, {"content-length": "64"}, f"{len(scope['query_string'])} {size}".ljust(64).encode())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    class Quick(BoundedHttp):
        HEAD_SECONDS = SECONDS

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, interface="asgi3", http=Quick, ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def heard(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up: a reset, where we have sent what it did not read any more."""
    received = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(65536):
            received += more
    return received


def assert_answered(connection: socket.socket) -> None:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    assert (reply.status, len(reply.read())) == (200, 64)


def get(headers: bytes = b"", query: bytes = b"") -> bytes:
    return b"GET /?%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (query, headers)


TOO_LARGE = {
    "one header": get(b"X-A: %b\r\n" % (b"a" * LIMIT)),
    "one header without an end": get(b"X-A: ")[:-2] + b"a" * LIMIT,
    "headers": get(b"A: b\r\n" * 1000),
    "short headers without an end": get()[:-2] + b"A: b\r\n" * (LIMIT // 6 + 1),
    "an address": get(query=b"a" * LIMIT),
    "an address without an end": b"GET /" + b"a" * LIMIT,
    "a trailer": CHUNKED + b"1\r\na\r\n0\r\nX-A: " + b"a" * 9 * LIMIT,
    "an extension of a chunk": CHUNKED + b"1;" + b"a" * 9 * LIMIT,
}


@pytest.mark.parametrize("request_", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_head_that_is_too_large_is_refused(port: int, request_: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(request_)
        assert connection.recv(65536).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_the_head_of_a_second_request_is_bounded_too(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(get())
        assert_answered(connection)
        connection.sendall(TOO_LARGE["one header without an end"])
        assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")


def slowly(text: bytes) -> Callable[[socket.socket], None]:
    """One byte after the other, each well within the time for all."""

    def send(connection: socket.socket) -> None:
        for at in range(len(text)):
            connection.sendall(text[at : at + 1])
            time.sleep(SECONDS / 4)

    return send


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (b"", b""),
        (b"", get()),
        (b"", b"\r\n" * 20),
        (get(), get()),
        (get(), b"\r\n" * 20),
        (SHORT, b"1234567890"),  # a body that nobody waits for
    ],
    ids=["nothing", "half", "blank lines", "half of the next", "blank lines after one", "half of a body"],
)
def test_a_request_that_does_not_come_is_not_waited_for(port: int, before: bytes, text: bytes) -> None:
    with connected(port) as connection:
        if before:
            connection.sendall(before)
            assert_answered(connection)
        sender = threading.Thread(target=_until_closed, args=(slowly(text), connection))
        began = time.monotonic()
        sender.start()
        assert heard(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert SECONDS * 0.8 < time.monotonic() - began < 4 * SECONDS
        sender.join()


def _until_closed(send: Callable[[Any], None], connection: socket.socket) -> None:
    with suppress(OSError):
        send(connection)


def test_an_upload_may_be_slow(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nConnection: close\r\n\r\n")
        slowly(b"123456789012")(connection)  # three times as long as the time for a head
        assert heard(connection).startswith(b"HTTP/1.1 200 ")


def test_an_upload_may_be_large_and_in_small_chunks(port: int) -> None:
    """What chunks have besides their content is many times the largest head."""
    with connected(port) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for _ in range(400):
            connection.sendall(b"3\r\nabc\r\n" * 1000)
        connection.sendall(b"0\r\n\r\n")
        assert b"0 1200000 " in heard(connection)


def test_a_long_address_and_many_headers_are_taken(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(get(b"x-amz-meta-a: b\r\n" * 400 + b"Connection: close\r\n", query=b"a" * 32_000))
        assert b"32000 0 " in heard(connection)


def test_connections_are_kept(port: int) -> None:
    """For longer than the time for a head; so are requests that come at once."""
    kept = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(100)]
    for _ in range(2):
        for connection in kept:
            connection.request("GET", "/")
        for connection in kept:
            assert connection.getresponse().read().startswith(b"0 0 ")
        time.sleep(2 * SECONDS)
    opened = [connection.sock for connection in kept]
    assert all(opened)
    for connection in kept:
        connection.close()
    with connected(port) as connection:
        connection.sendall(get() * 3)
        time.sleep(SECONDS)
        assert connection.recv(65536).count(b"HTTP/1.1 200 ") == 3


def test_no_more_connections_are_taken_than_leave_descriptors_for_files(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 5)
    kept = http.client.HTTPConnection("127.0.0.1", port)
    kept.request("GET", "/")
    kept.getresponse().read()
    held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(4)]
    with connected(port) as connection:
        assert heard(connection).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    kept.request("GET", "/")
    assert kept.getresponse().read().startswith(b"0 0 ")
    for connection in held:  # what holds them without a request is ended in time
        assert heard(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()
    with connected(port) as connection:
        connection.sendall(get(b"Connection: close\r\n"))
        assert heard(connection).startswith(b"HTTP/1.1 200 ")
    kept.close()
