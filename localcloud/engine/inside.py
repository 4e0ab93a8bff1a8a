"""Requests that this server makes to itself, without a socket: the same application answers, on the same loop.

A job's inputs may be many objects. Over HTTP each costs four milliseconds of processor time, most of it for
the connection and for boto3; so it costs one. Signature, permissions, faults and S3 itself are those of any request.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.engine.asgi import App

_SECONDS = 60.0
_serving: list[tuple[App, asyncio.AbstractEventLoop]] = []


def serve(app: App) -> None:
    """Let requests from inside be answered by this application, on the loop that runs now."""
    _serving[:] = [(app, asyncio.get_running_loop())]


def read_object(
    endpoint_url: str, region: str, keys: tuple[str, str, str | None], bucket: str, key: str
) -> bytes | None:
    """Return an object's content; None when S3 does not hand it out (ask again over HTTP, for its error).

    `keys` are access key, secret key and session token.
    """
    if not _serving:
        return None
    app, loop = _serving[0]
    url = f"{endpoint_url}/{quote(f'{bucket}/{key}', safe='/~')}"
    request = AWSRequest("GET", url)
    S3SigV4Auth(Credentials(*keys), "s3", region).add_auth(request)
    answer = _answer(app, url, {name: str(value) for name, value in request.headers.items()})
    try:
        status, body = asyncio.run_coroutine_threadsafe(answer, loop).result(_SECONDS)
    except (TimeoutError, RuntimeError):  # it is busy, or ends
        return None
    return body if status == 200 else None


async def _answer(app: App, url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": b"",
        "headers": [(b"host", parts.netloc.encode()), *((k.lower().encode(), v.encode()) for k, v in headers.items())],
        "client": (parts.hostname, 0),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
