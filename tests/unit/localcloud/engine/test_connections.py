"""What is written to a connection together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from localcloud.engine.connections import Gathering


class Written:
    """A transport that notes what it is asked to do."""

    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def writelines(self, parts: list[bytes]) -> None:
        self.done.append(b"".join(parts))

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


def written(use: Callable[[Any, Written], Awaitable[None]]) -> list[bytes | str]:
    """What has been done to a transport after something was done to the one that gathers for it."""

    async def run() -> list[bytes | str]:
        transport = Written()
        await use(Gathering(cast(asyncio.Transport, transport), asyncio.get_running_loop()), transport)
        return transport.done

    return asyncio.run(run())


def test_head_and_body_of_an_answer_are_written_at_once() -> None:
    async def answer_twice(gathering: Any, transport: Written) -> None:
        for answer in ("one", "two"):
            gathering.write(b"head of " + answer.encode())
            gathering.write(b", body")
            await asyncio.sleep(0)

    assert written(answer_twice) == [b"head of one, body", b"head of two, body"]


def test_what_is_not_written_yet_goes_out_before_the_connection_is_closed() -> None:
    async def close(gathering: Any, transport: Written) -> None:
        gathering.write(b"last words")
        gathering.close()
        assert gathering.is_closing()
        await asyncio.sleep(0)

    assert written(close) == [b"last words", "closed"]


def test_much_goes_on_at_once_so_that_the_sender_learns_of_a_slow_reader() -> None:
    async def send(gathering: Any, transport: Written) -> None:
        gathering.write(b"head")
        gathering.write(b"x" * Gathering.MOST_BYTES)
        assert [len(part) for part in transport.done] == [4 + Gathering.MOST_BYTES]
        gathering.write(b"end")
        await asyncio.sleep(0)

    assert written(send)[1:] == [b"end"]
