"""Headers of answers that HTTP cannot say: there may be some in states of earlier versions."""

import asyncio
from typing import Any

from localcloud.engine.guard import _sayable
from localcloud.engine.s3 import _sayable as as_s3_says


def test_metadata_that_no_header_can_say_are_counted() -> None:
    stored = {"Content-Length": "1", "x-amz-meta-a": "v\r\nInjected: yes", "x-amz-meta-b": "b", "x-amz-meta-c d": "c"}
    assert as_s3_says(stored) == {"Content-Length": "1", "x-amz-meta-b": "b", "x-amz-missing-meta": "2"}


def test_an_answer_that_cannot_be_said_is_an_error_and_no_hang_up() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def answer(value: bytes) -> None:
        said = _sayable(send)
        await said({"type": "http.response.start", "status": 200, "headers": [(b"content-type", value)]})
        await said({"type": "http.response.body", "body": b"1"})

    asyncio.run(answer(b"text/csv"))
    asyncio.run(answer(b"text/csv\r\nInjected: yes"))
    assert [message.get("status") or message["body"][:12] for message in sent] == [200, b"1", 500, b'{"message": ']
