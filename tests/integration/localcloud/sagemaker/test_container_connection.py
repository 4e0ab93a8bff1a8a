"""Connections to containers: what is no whole answer is told by its kind, and what cannot go on is not kept."""

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import wraps

import pytest

from localcloud.sagemaker.endpoints.connection import Connection


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*arguments: object, **more: object) -> None:
        async def within_seconds() -> None:
            async with asyncio.timeout(10):
                await test(*arguments, **more)

        asyncio.run(within_seconds())

    return run


@asynccontextmanager
async def answering(*replies: bytes) -> AsyncIterator[Connection]:
    """A connection to a container that answers each request so, and hangs up after the last one."""
    own, its = socket.socketpair()

    async def serve() -> None:
        _, (descriptor,), _, _ = await asyncio.to_thread(socket.recv_fds, its, 1, 1)
        reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
        for reply in replies:
            await reader.read(1 << 16)
            writer.write(reply)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    with own, its:
        serving = asyncio.create_task(serve())
        connection = await Connection.to(own)
        yield connection
        connection.close()
        await serving


@on_a_loop
async def test_a_connection_takes_one_request_after_the_other() -> None:
    reply = b"HTTP/1.1 %d OK\r\nX-Name: v\r\nContent-Length: 3\r\n\r\na\r\n"
    async with answering(reply % 200, reply % 424, b"") as connection:
        for status in (200, 424):
            got = await connection.exchange("POST", "/invocations", b"1,2", {"Accept": "text/csv"})
            assert got == (status, {"x-name": "v", "content-length": "3"}, b"a\r\n")
            assert connection.may_be_kept


@on_a_loop
async def test_a_connection_that_the_container_closes_is_not_kept() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n") as connection:
        assert (await connection.exchange("GET", "/ping", None, {}))[0] == 200
        assert not connection.may_be_kept


@on_a_loop
async def test_a_connection_that_ends_while_nothing_is_asked_is_not_kept() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as connection:
        await connection.exchange("GET", "/ping", None, {})
        while connection.may_be_kept:
            await asyncio.sleep(0.01)
        with pytest.raises(http.client.RemoteDisconnected):
            await connection.exchange("GET", "/ping", None, {})


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", http.client.IncompleteRead),
        (b"nonsense\r\n\r\n", http.client.BadStatusLine),
    ],
)
@on_a_loop
async def test_what_is_no_whole_answer_is_an_error(reply: bytes, error: type[Exception]) -> None:
    async with answering(reply) as connection:
        with pytest.raises(error):
            await connection.exchange("POST", "/invocations", b"1", {})
        assert not connection.may_be_kept


@on_a_loop
async def test_a_header_cannot_bring_others() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as connection:
        with pytest.raises(ValueError, match="Invalid header value"):
            await connection.exchange("POST", "/invocations", b"1", {"Accept": "text/csv\r\nx-name: a"})
        assert (await connection.exchange("GET", "/ping", None, {}))[0] == 200


@on_a_loop
async def test_a_connection_waits_for_a_container_that_is_too_busy_to_take_it() -> None:
    own, its = socket.socketpair()
    with own, its:
        own.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += own.send(b"+" * 4096)
        connecting = asyncio.create_task(Connection.to(own))
        await asyncio.sleep(0.05)
        assert not connecting.done()
        while sent:
            sent -= len(its.recv(1 << 16))
        (await connecting).close()


@on_a_loop
async def test_a_container_that_has_ended_takes_no_connection() -> None:
    own, its = socket.socketpair()
    its.close()
    with own, pytest.raises(OSError, match="Broken pipe"):
        await Connection.to(own)


@on_a_loop
async def test_a_container_that_ends_before_it_takes_a_connection_hangs_up() -> None:
    own, its = socket.socketpair()
    with own:
        connection = await Connection.to(own)
        asked = asyncio.create_task(connection.exchange("GET", "/ping", None, {}))
        await asyncio.sleep(0)
        its.close()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            await asked
