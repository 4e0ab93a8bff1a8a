"""Connections to containers: each request gets its own answer, and what can be none is told by its kind."""

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from localcloud.sagemaker.containers import frames
from localcloud.sagemaker.endpoints.connection import Connection
from tests.on_a_loop import on_a_loop

Answering = Callable[[list[frames.Frame]], bytes]
HEAD = frames.head("", {"X-Name": "v"})


def backwards(asked: list[frames.Frame]) -> bytes:
    """Answer each request with its own body, the last one first."""
    return b"".join(frames.packed(one.number, 200 + len(one.body), HEAD, one.body) for one in reversed(asked))


@asynccontextmanager
async def answering(*answers: Answering) -> AsyncIterator[tuple[Connection, list[int]]]:
    """A connection to a container that answers so what comes at once, and hangs up after the last one."""
    own, its = socket.socketpair()
    counts: list[int] = []

    async def serve() -> None:
        _, (descriptor,), _, _ = await asyncio.to_thread(socket.recv_fds, its, 1, 1)
        reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
        cut = frames.Reader()
        for answer in answers:
            asked = cut.frames(await reader.read(1 << 16))
            counts.append(len(asked))
            writer.write(answer(asked))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    with own, its:
        serving = asyncio.create_task(serve())
        connection = await Connection.to(own)
        yield connection, counts
        connection.close()
        await serving


@on_a_loop
async def test_what_is_asked_at_once_goes_out_at_once_and_each_gets_its_own_answer() -> None:
    bodies = [b"x" * size for size in range(20)]
    async with answering(backwards, backwards) as (connection, counts):
        for some in (bodies, bodies[:1]):
            asked = (connection.exchange("POST", "/invocations", body, {"Accept": "text/csv"}) for body in some)
            got = await asyncio.gather(*asked)
            assert got == [(200 + len(body), {"x-name": "v"}, body) for body in some]
        assert counts == [20, 1]


@on_a_loop
async def test_the_answer_to_one_that_nobody_waits_for_goes_to_nobody() -> None:
    async with answering(lambda _: b"", backwards) as (connection, _):
        first = asyncio.create_task(connection.exchange("POST", "/invocations", b"1", {}))
        await asyncio.sleep(0.05)
        first.cancel()
        late = frames.packed(1, 200, HEAD, b"late")
        connection.data_received(late)
        assert (await connection.exchange("POST", "/invocations", b"2", {}))[2] == b"2"


@on_a_loop
async def test_a_connection_that_ends_while_nothing_is_asked_is_not_open() -> None:
    async with answering(backwards) as (connection, _):
        await connection.exchange("GET", "/ping", b"", {})
        while connection.is_open:
            await asyncio.sleep(0.01)
        with pytest.raises(http.client.RemoteDisconnected):
            await connection.exchange("GET", "/ping", b"", {})


@pytest.mark.parametrize("part", [0, 10, 30])
@on_a_loop
async def test_all_that_are_under_way_when_it_ends_are_told(part: int) -> None:
    async with answering(lambda asked: backwards(asked)[:part]) as (connection, _):
        asked = (connection.exchange("POST", "/invocations", bytes(50), {}) for _ in range(3))
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in ended] == [http.client.RemoteDisconnected] * 3
        assert not connection.is_open


@on_a_loop
async def test_an_answer_that_there_is_none_of_is_an_error_of_its_request_only() -> None:
    def all_but_one(asked: list[frames.Frame]) -> bytes:
        return frames.packed(asked[0].number, frames.HUNG_UP, b"", b"") + backwards(asked[1:])

    async with answering(all_but_one, backwards) as (connection, _):
        asked = (connection.exchange("POST", "/invocations", body, {}) for body in (b"1", b"2"))
        none, other = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(none, http.client.RemoteDisconnected)
        assert other == (201, {"x-name": "v"}, b"2")
        assert connection.is_open


@on_a_loop
async def test_a_header_cannot_bring_others() -> None:
    async with answering(backwards) as (connection, _):
        with pytest.raises(ValueError, match="Invalid header value"):
            await connection.exchange("POST", "/invocations", b"1", {"Accept": "text/csv\r\nx-name: a"})
        assert (await connection.exchange("GET", "/ping", b"", {}))[0] == 200


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
        asked = asyncio.create_task(connection.exchange("GET", "/ping", b"", {}))
        await asyncio.sleep(0)
        its.close()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            await asked
