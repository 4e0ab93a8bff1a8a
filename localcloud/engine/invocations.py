"""InvokeEndpoint, which is asked thousands of times a second, on the event loop and without MiniStack's routing.

The guard has found out who asks. What is left are the caller's permission, the service and the answer. A request that
may be something else (S3 may have a bucket `endpoints`) goes MiniStack's way, which comes to the same service.

Nearly all invocations are small and look alike: head and body are here at once, and signed in a header. Those have a
direct answer, without the guard's questions that are answered by what they look like (DirectInvocations). One that
looks otherwise, or whose signature is not right, goes the whole way, which also says what is wrong.
"""

import re
import time
from collections.abc import Coroutine, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from localcloud.engine import operations
from localcloud.engine.asgi import Receive, Scope, Send, answer
from localcloud.engine.connections import DirectAnswer, Header
from localcloud.engine.guard import Guard, Signer, admitted, signed_for
from localcloud.engine.permissions.requests import refusal_to_invoke
from localcloud.engine.sagemaker import SageMaker
from localcloud.settings import HOST, enforced

_OTHERWISE = {b"x-amz-target", b"content-encoding", b"x-amz-decoded-content-length"}
"""What names another operation, and what says that the body is not what it seems."""
_URL = re.compile(rb"/endpoints/[A-Za-z0-9-]+/invocations")
_UNUSUAL = {*(name.decode() for name in _OTHERWISE), "origin", "sec-fetch-site", "transfer-encoding", "upgrade"}
"""And what web pages say, and what needs another look at the connection."""


def is_invocation(scope: Scope, port: int) -> bool:
    """Return whether a request is InvokeEndpoint and nothing else, whatever its path or host might mean to S3."""
    if signed_for() != "sagemaker" or not operations.sagemaker(scope["method"], scope["path"], {})[1]:
        return False
    headers = dict(scope["headers"])
    return headers.keys().isdisjoint(_OTHERWISE) and headers.get(b"host", b"").decode("latin-1") in _hosts(port)


async def answer_invocation(sagemaker: SageMaker, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is an invocation."""
    request, signer = admitted()
    chunks, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return  # before all of the body was here
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    _, endpoint = operations.sagemaker(request.method, request.path, request.headers)
    status, headers, content = await _answered(
        sagemaker, endpoint, request.headers, signer, scope["client"][0], b"".join(chunks), enforced=enforced()
    )
    await answer(send, status, {**headers, "Content-Length": str(len(content))}, content)


class DirectInvocations:
    """The direct answers of invocations that can be nothing else, and whose signature is right."""

    def __init__(self, guard: Guard, sagemaker: SageMaker, port: int) -> None:
        self._guard, self._sagemaker, self._hosts = guard, sagemaker, _hosts(port)
        self._enforced = enforced()  # the environment of this process stays as it is

    def is_meant(self, method: bytes, url: bytes) -> bool:
        return method == b"POST" and _URL.fullmatch(url) is not None

    def admitted(
        self, url: bytes, headers: Sequence[Header], body: bytes, client: str
    ) -> Coroutine[Any, Any, DirectAnswer] | None:
        try:
            texts = {name.decode("ascii"): value.decode("ascii") for name, value in headers}
        except UnicodeDecodeError:
            return None
        if texts.get("host") not in self._hosts or len(texts) != len(headers) or not texts.keys().isdisjoint(_UNUSUAL):
            return None
        path = url.decode("ascii")
        if (signer := self._guard.signer(path, texts, body)) is None:
            return None
        endpoint = path.split("/")[2]
        return _answered(self._sagemaker, endpoint, texts, signer, client, body, enforced=self._enforced)


async def _answered(
    sagemaker: SageMaker, endpoint: str, headers: dict[str, str], signer: Signer, client: str, body: bytes, *,
    enforced: bool,
) -> DirectAnswer:  # fmt: skip
    response = None
    if enforced and signer.credential:
        response = refusal_to_invoke(endpoint, signer.credential, client, headers)
    if response is None:
        response = await sagemaker.invoke(endpoint, headers, body)
    status, own, content = response
    return status, {**own, "Date": _date(int(time.time()))}, content


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(maxsize=1)
def _hosts(port: int) -> tuple[str, str]:
    return f"{HOST}:{port}", f"localhost:{port}"
