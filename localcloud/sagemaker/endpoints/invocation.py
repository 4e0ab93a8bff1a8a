"""InvokeEndpoint: choosing the fleet that answers, the exchange with it, and the capture of the answer."""

from __future__ import annotations

import asyncio
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from localcloud import faults
from localcloud.sagemaker.endpoints import capture
from localcloud.sagemaker.endpoints.fleet import LOG_GROUP, Fleet, Variant
from localcloud.sagemaker.endpoints.model_server import INVOCATION_TIMEOUT_SECONDS, InvocationTimeoutError, Reply
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.store import Document

LARGEST_BODY_BYTES = 6_291_456
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")
# InvokeEndpoint's members by their HTTP headers (botocore, sagemaker-runtime).
_REQUEST_HEADERS = {
    "ContentType": "content-type",
    "Accept": "accept",
    "CustomAttributes": "x-amzn-sagemaker-custom-attributes",
    "TargetModel": "x-amzn-sagemaker-target-model",
    "TargetVariant": "x-amzn-sagemaker-target-variant",
    "TargetContainerHostname": "x-amzn-sagemaker-target-container-hostname",
    "InferenceId": "x-amzn-sagemaker-inference-id",
    "EnableExplanations": "x-amzn-sagemaker-enable-explanations",
    "InferenceComponentName": "x-amzn-sagemaker-inference-component",
    "SessionId": "x-amzn-sagemaker-session-id",
    "PrefixAwareId": "x-amzn-sagemaker-prefix-aware-id",
}
_RESPONSE_HEADERS = {
    "ContentType": "Content-Type",
    "InvokedProductionVariant": "x-Amzn-Invoked-Production-Variant",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
}
_CARRIED_OUT = ("EndpointName", "Body", "ContentType", "Accept", "CustomAttributes", "TargetVariant", "InferenceId")


class Invocations:
    """The way of a request to the fleet that serves; who starts and ends fleets says which that is.

    A model has 60 seconds to answer, as on AWS, or LOCALCLOUD_INVOCATION_TIMEOUT_SECONDS.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.timeout_seconds = float(
            os.environ.get("LOCALCLOUD_INVOCATION_TIMEOUT_SECONDS", INVOCATION_TIMEOUT_SECONDS)
        )
        self._lock = threading.Lock()
        self._serving: dict[str, Fleet] = {}
        self._arriving: dict[str, tuple[Fleet, float]] = {}
        self._expected: dict[str, Future[None]] = {}
        self._closed = False

    # ---- Who serves

    def serve(self, name: str, fleet: Fleet) -> None:
        """Send all traffic to the fleet from now on."""
        with self._lock:
            if not self._closed:
                self._serving[name.lower()] = fleet

    def let_in(self, name: str, fleet: Fleet, share: float) -> None:
        """Send a share of the requests to a new fleet from now on, the others to the one that serves."""
        with self._lock:
            if not self._closed:
                self._arriving[name.lower()] = (fleet, share)

    def take_back(self, name: str) -> None:
        """Send nothing more to the new fleet."""
        with self._lock:
            self._arriving.pop(name.lower(), None)

    def settle_on(self, name: str) -> Fleet | None:
        """Let the new fleet be the one that serves; returns the one that did."""
        with self._lock:
            old = self._serving.get(name.lower())
            arriving = self._arriving.pop(name.lower(), None)
            if arriving is not None:
                self._serving[name.lower()] = arriving[0]
            return old

    def withdraw(self, name: str) -> Fleet | None:
        """Send no more requests to the endpoint; returns the fleet that had them."""
        with self._lock:
            self._arriving.pop(name.lower(), None)
            return self._serving.pop(name.lower(), None)

    def expect(self, name: str) -> None:
        """Let requests wait until `settle`: a fleet that has served before is being started."""
        self._expected[name.lower()] = Future()

    def expects(self, name: str) -> bool:
        return name.lower() in self._expected

    def settle(self, name: str) -> None:
        """Answer the requests that wait, by the fleet that serves now or by saying that there is none."""
        self._expected.pop(name.lower()).set_result(None)

    def close(self) -> None:
        """Withdraw every endpoint for good."""
        with self._lock:
            self._closed = True
            self._serving.clear()
            self._arriving.clear()

    async def _entered(self, name: str) -> Fleet:
        """Return the fleet that serves, which is not stopped before the caller leaves it. Raises AwsError."""
        fleet = self._take(name)
        if fleet is None and (expected := self._expected.get(name.lower())) is not None:
            await asyncio.wait([asyncio.wrap_future(expected)], timeout=self.timeout_seconds)
            fleet = self._take(name)
        if fleet is None:
            raise AwsError("ValidationError", f"Endpoint {name} of account {self._aws.account_id} not found.")
        return fleet

    def _take(self, name: str) -> Fleet | None:
        with self._lock:
            fleet = self._serving.get(name.lower())
            if arriving := self._arriving.get(name.lower()):
                fleet = arriving[0] if random.random() < arriving[1] else fleet
            if fleet is not None:
                fleet.enter()
            return fleet

    # ---- Requests

    async def invoke_http(
        self, name: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer `POST /endpoints/<name>/invocations`; header names are lower case. Raises AwsError."""
        members = {member: headers[header] for member, header in _REQUEST_HEADERS.items() if header in headers}
        answer = await self.invoke({"EndpointName": name, "Body": body, **members})
        own_headers = {header: answer[member] for member, header in _RESPONSE_HEADERS.items() if member in answer}
        return 200, {**own_headers, "x-amzn-RequestId": answer["RequestId"]}, answer["Body"]

    async def invoke(self, request: Document) -> Document:
        """InvokeEndpoint: {"Body", "ContentType", "InvokedProductionVariant", "CustomAttributes"?, "RequestId"}.

        Raises AwsError: ValidationError (no such endpoint or variant, body too large), ModelError (the model's answer
        is not 2xx, or none came in time).
        """
        _check_invocation(request)
        began = time.perf_counter()
        fleet = await self._entered(request["EndpointName"])
        try:
            variant = fleet.choose(request.get("TargetVariant"))
            if variant is None:
                raise AwsError(
                    "ValidationError",
                    f"Could not find variant {request['TargetVariant']} of endpoint {request['EndpointName']}.",
                )
            return await self._ask(variant, request, began, is_new=fleet.is_new)
        finally:
            fleet.leave()

    async def _ask(self, variant: Variant, request: Document, began: float, *, is_new: bool) -> Document:
        attributes = request.get("CustomAttributes")
        headers = {"X-Amzn-SageMaker-Custom-Attributes": attributes} if attributes else {}
        content_type = request.get("ContentType") or "application/octet-stream"
        moment, start = capture.utc_now(), time.perf_counter()
        try:
            reply = await variant.server.invoke(
                request.get("Body", b""), content_type, request.get("Accept"), headers, self.timeout_seconds
            )
        except InvocationTimeoutError as error:
            reply = Reply(0, {}, str(error).encode(), error.container)
        if is_new and (fault := faults.take("endpoint", request["EndpointName"], "new-model-fails")):
            reply = reply._replace(status=500, body=fault.text.encode())
        if fault := faults.take("endpoint", request["EndpointName"], "answers-wrongly"):
            reply = reply._replace(body=fault.answer.encode() or _NUMBER.sub(b"0", reply.body))
        answered = time.perf_counter()
        request_id = str(uuid.uuid4())
        if reply.succeeded and variant.capture is not None:
            variant.capture.offer(_exchange(request, content_type, reply, moment, request_id))
        model_seconds = answered - start
        variant.metrics.record(
            reply.status, model_seconds, time.perf_counter() - began - model_seconds, variant.instances
        )
        if not reply.succeeded:
            raise self._model_error(request["EndpointName"], reply)
        answer = {
            "Body": reply.body,
            "ContentType": reply.content_type,
            "InvokedProductionVariant": variant.name,
            "RequestId": request_id,
        }
        if returned := reply.headers.get(_REQUEST_HEADERS["CustomAttributes"]):
            answer["CustomAttributes"] = returned
        return answer

    def _model_error(self, name: str, reply: Reply) -> AwsError:
        region, account = self._aws.region, self._aws.account_id
        side = "client" if 400 <= reply.status < 500 else "server"
        message = reply.body.decode("utf-8", "replace")
        return AwsError(
            "ModelError",
            f'Received {side} error ({reply.status}) from {reply.container} with message "{message}". See '
            f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group="
            f"{LOG_GROUP}/{name} in account {account} for more information.",
            424,
            OriginalStatusCode=reply.status,
            OriginalMessage=message,
            LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{LOG_GROUP}/{name}",
        )


def _check_invocation(request: Document) -> None:
    for member in request:
        if member not in _CARRIED_OUT:
            raise AwsError("ValidationError", f"InvokeEndpoint: {member} is not supported by the local SageMaker.")
    if len(request.get("Body", b"")) > LARGEST_BODY_BYTES:
        raise _violation("body", f"Member must have length less than or equal to {LARGEST_BODY_BYTES}")
    inference_id = request.get("InferenceId")
    if inference_id is not None and not 1 <= len(inference_id) <= 64:
        raise _violation("inferenceId", "Member must have length between 1 and 64, inclusive")
    if len(request.get("CustomAttributes", "")) > 1024:
        raise _violation("customAttributes", "Member must have length less than or equal to 1024")


def _violation(member: str, rule: str) -> AwsError:
    text = f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}"
    return AwsError("ValidationError", text)


def _exchange(request: Document, content_type: str, reply: Reply, moment: Any, request_id: str) -> capture.Exchange:
    return capture.Exchange(
        moment,
        request.get("Body", b""),
        content_type,
        reply.body,
        reply.content_type,
        request_id,
        request.get("InferenceId"),
        request.get("CustomAttributes"),
    )
