"""InvokeEndpoint, which is asked thousands of times a second, on the event loop and without MiniStack's routing.

The guard has found out who asks. What is left are the caller's permission, the service and the answer. A request that
may be something else (S3 may have a bucket `endpoints`) goes MiniStack's way, which comes to the same service.
"""

from email.utils import formatdate

from localcloud.engine import operations
from localcloud.engine.asgi import Receive, Scope, Send, answer
from localcloud.engine.guard import admitted, signed_for
from localcloud.engine.permissions.requests import refusal_to_invoke
from localcloud.engine.sagemaker import SageMaker
from localcloud.settings import HOST, enforced

_OTHERWISE = {b"x-amz-target", b"content-encoding", b"x-amz-decoded-content-length"}
"""What names another operation, and what says that the body is not what it seems."""


def is_invocation(scope: Scope, port: int) -> bool:
    """Return whether a request is InvokeEndpoint and nothing else, whatever its path or host might mean to S3."""
    if signed_for() != "sagemaker" or not operations.sagemaker(scope["method"], scope["path"], {})[1]:
        return False
    headers, hosts = dict(scope["headers"]), (f"{HOST}:{port}", f"localhost:{port}")
    return headers.keys().isdisjoint(_OTHERWISE) and headers.get(b"host", b"").decode("latin-1") in hosts


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
    response = None
    if enforced() and signer.credential:
        response = refusal_to_invoke(endpoint, signer.credential, scope["client"][0], request.headers)
    if response is None:
        response = await sagemaker.invoke(endpoint, request.headers, b"".join(chunks))
    status, headers, content = response
    own = {"Date": formatdate(usegmt=True), "Content-Length": str(len(content))}
    await answer(send, status, {**headers, **own}, content)
