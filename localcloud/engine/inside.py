"""Requests that this server makes to itself, without a socket: the same application answers, on the same loop.

A job's inputs and outputs may be many objects. Over HTTP each costs four milliseconds of processor time and more, most
of it for the connection and for boto3; so it costs one or two. Signature, permissions, faults and the service itself
are those of any request.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.engine.asgi import App

_SECONDS = 60.0
_serving: list[tuple[App, asyncio.AbstractEventLoop]] = []


def serve(app: App) -> None:
    """Let requests from inside be answered by this application, on the loop that runs now."""
    _serving[:] = [(app, asyncio.get_running_loop())]


def ask(
    endpoint_url: str,
    region: str,
    keys: tuple[str, str, str | None],
    service: str,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[int, bytes] | None:
    """Return the status and the body of the answer to a request; None when it must be made over HTTP.

    `keys` are access key, secret key and session token.
    """
    if not _serving:
        return None
    app, loop = _serving[0]
    url = f"{endpoint_url}{quote(path, safe='/~')}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
    request = AWSRequest(method, url, dict(headers), body)
    sign = S3SigV4Auth if service == "s3" else SigV4Auth
    sign(Credentials(*keys), service, region).add_auth(request)
    signed = {name: str(value) for name, value in request.headers.items()}
    answer = _answer(app, method, url, {**signed, "content-length": str(len(body))}, body)
    try:
        # In a context of its own, as a request has it that comes over a connection.
        answered = contextvars.Context().run(asyncio.run_coroutine_threadsafe, answer, loop)
        return answered.result(_SECONDS)
    except (CancelledError, TimeoutError, RuntimeError):  # it is busy, or ends
        return None


async def _answer(app: App, method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(b"host", parts.netloc.encode()), *((k.lower().encode(), v.encode()) for k, v in headers.items())],
        "client": (parts.hostname, 0),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
