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
from localcloud.engine.connections import BoundedHttp, DirectAnswer

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


class Directly:
    """Answers what is sent to /direct/..., in as many seconds as the body says; not what says so."""

    def is_meant(self, method: bytes, url: bytes) -> bool:
        return method == b"POST" and url.startswith(b"/direct/")

    def admitted(self, url: bytes, headers: Any, body: bytes, client: str) -> Any:
        if url.endswith(b"/breaks"):
            raise KeyError("x")
        return None if url.endswith(b"/not") else self._answer(url, body)

    async def _answer(self, url: bytes, body: bytes) -> DirectAnswer:
        await asyncio.sleep(float(body or b"0"))
        if url.endswith(b"/fails"):
            raise KeyError("x")
        headers = {"X-A": "1\r\nX-B: 2"} if url.endswith(b"/unsayable") else {"X-A": "1"}
        return 200, headers, b"direct " + body


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    class Quick(BoundedHttp):
        HEAD_SECONDS = SECONDS
        direct = Directly()

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


# ---- Direct answers


def post(path: bytes, body: bytes = b"", headers: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (path, version, headers, len(body))
    return head + body


END = b"Connection: close\r\n"


def statuses_and_bodies(port: int, *parts: bytes) -> list[tuple[int, str]]:
    """The answers to parts that are sent one shortly after the other, until the server hangs up."""
    with connected(port) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.05)
        answers = heard(connection).split(b"HTTP/1.1 ")[1:]
    return [(int(text[:3]), text.partition(b"\r\n\r\n")[2].decode().strip()) for text in answers]


def test_a_request_that_has_come_as_a_whole_is_answered_directly(port: int) -> None:
    asked = [post(b"/direct/a"), post(b"/direct/b", b"0.01"), post(b"/last", headers=END)]
    assert statuses_and_bodies(port, *asked) == [(200, "direct"), (200, "direct 0.01"), (200, "0 0")]


def test_requests_that_come_at_once_are_answered_in_their_order(port: int) -> None:
    asked = [post(b"/direct/a", b"0.1"), post(b"/x", b"12"), post(b"/direct/b", b"0"), post(b"/x", b"1", END)]
    answers = [(200, "direct 0.1"), (200, "0 2"), (200, "0 1"), (200, "0 1")]
    assert statuses_and_bodies(port, b"".join(asked)) == answers


@pytest.mark.parametrize(
    "parts",
    [
        (post(b"/direct/not", b"12"), post(b"/last", headers=END)),
        (post(b"/direct/breaks", b"12"), post(b"/last", headers=END)),
        (post(b"/direct/a", b"12", END)[:-1], b"2"),
        (post(b"/direct/a", b"12", END)[:-2], b"12"),
        (post(b"/direct/a", b"12", b"Expect: 100-continue\r\n" + END),),
        (post(b"/direct/a", b"12", END),),
        (post(b"/direct/a", b"12", version=b"1.0"),),
        (get()[:-2] + END + b"\r\n",),
    ],
    ids=[
        "not wanted",
        "broken",
        "a body in two parts",
        "a body that comes later",
        "100",
        "the last one",
        "1.0",
        "another",
    ],
)
def test_what_may_have_no_direct_answer_goes_to_the_application(port: int, parts: tuple[bytes, ...]) -> None:
    (status, body), *_ = [one for one in statuses_and_bodies(port, *parts) if one[0] != 100]
    assert (status, body) == (200, "0 0" if parts[0].startswith(b"GET") else "0 2")


def test_an_answer_that_fails_or_that_http_cannot_say_is_500_and_the_connection_goes_on(port: int) -> None:
    asked = [post(b"/direct/fails"), post(b"/direct/unsayable"), post(b"/last", headers=END)]
    (failed, _), (unsayable, why), last = statuses_and_bodies(port, *asked)
    assert (failed, unsayable, last) == (500, 500, (200, "0 0"))
    assert "HTTP cannot say" in why


def test_who_hangs_up_disturbs_nobody(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(b"/direct/a", b"0.2"))
    time.sleep(0.3)
    assert statuses_and_bodies(port, post(b"/direct/a", b"0"), post(b"/last", headers=END))[0] == (200, "direct 0")


def test_a_connection_with_direct_answers_ends_when_nothing_comes(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(b"/direct/a", b"0"))
        assert b" 200 " in connection.recv(65536)
        connection.sendall(post(b"/direct/a", b"0")[:20])
        assert heard(connection).startswith(b"HTTP/1.1 408 ")
