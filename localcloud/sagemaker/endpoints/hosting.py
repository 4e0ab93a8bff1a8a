"""Endpoints: create, update without losing a request, describe, delete, invoke.

Statuses as in the Developer Guide: Creating -> InService | Failed; InService -> Updating -> InService, or
Updating -> RollingBack -> InService with the old configuration and a FailureReason; any -> Deleting. An update
starts a second fleet, switches traffic in one step, waits, and ends the first when its last request is done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from localcloud import disk, faults
from localcloud.sagemaker.api import events, listing, requests, tags
from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.endpoints import capture, models, undelivered
from localcloud.sagemaker.endpoints.fleet import LOG_GROUP, Fleet, Variant
from localcloud.sagemaker.endpoints.model_server import (
    INVOCATION_TIMEOUT_SECONDS,
    InvocationTimeoutError,
    ModelServer,
    Reply,
    container_names,
)
from localcloud.sagemaker.errors import AwsError, JobFailedError, invalid, unsupported
from localcloud.sagemaker.platform import images
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.sagemaker.platform.store import Document, Store

__all__ = ["Endpoints", "ModelServer", "Reply"]

KIND = "endpoint"
DEPLOYMENT_EVENT = "SageMaker Endpoint Deployment State Change"
LARGEST_BODY_BYTES = 6_291_456
_MAX_FAILURE_REASON = 1024
_READY = ("InService", "Updating", "RollingBack", "SystemUpdating")
_RESTORE_SECONDS = 60.0
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_logger = logging.getLogger(__name__)

Send = Callable[[str, list[str], Document], None]
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


class Endpoints:
    """All endpoints of the account. `send(detail type, resources, detail)` tells EventBridge.

    A model has 60 seconds to answer, as on AWS, or LOCALCLOUD_INVOCATION_TIMEOUT_SECONDS.

    Documents of the store hold what DescribeEndpoint answers, and `Plan`, from which the endpoint can be started again
    after a restart, even when its configuration or model has been deleted since.
    """

    def __init__(
        self,
        store: Store,
        aws: Aws,
        image: ImagePython,
        root: Path,
        send: Send,
        *,
        invocation_timeout: float | None = None,
    ) -> None:
        self._store, self._aws, self._send = store, aws, send
        self._image = image
        self._root = root.absolute() / "endpoints"
        self._undelivered = root.absolute() / "undelivered"
        self._invocation_timeout = invocation_timeout or float(
            os.environ.get("LOCALCLOUD_INVOCATION_TIMEOUT_SECONDS", INVOCATION_TIMEOUT_SECONDS)
        )
        self._lock = threading.RLock()
        self._serving: dict[str, Fleet] = {}
        self._loading: dict[str, threading.Event] = {}
        self._fleets: set[Fleet] = set()
        self._closing = threading.Event()

    # Operations -------------------------------------------------------------------------------------------------------

    def create(self, request: Document) -> Document:
        """CreateEndpoint. A DeploymentConfig is checked and, as on AWS, has no effect on the first deployment."""
        name = request["EndpointName"]
        arn = self._aws.arn(KIND, name)
        taken = invalid(f'Cannot create already existing endpoint "{arn}".')
        if self._store.get(KIND, name) is not None:
            raise taken
        _check_deployment(request.get("DeploymentConfig", {}))
        plan = self._plan(request["EndpointConfigName"])
        document = _described(plan, "Creating") | {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": plan["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now(),
            "LastModifiedTime": now(),
            "Plan": plan,
        }
        with self._lock:
            if not self._store.create(KIND, name, document):
                raise taken
            tags.put(self._store, arn, request.get("Tags", []))
            self._announce(document)
        self._in_background(self._start_first, name, plan)
        return {"EndpointArn": arn}

    def update(self, request: Document) -> Document:
        """UpdateEndpoint: the old configuration serves until the new one is ready."""
        retained = ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties")
        requests.only(request, ("EndpointName", "EndpointConfigName", "DeploymentConfig", *retained))
        name, deployment = request["EndpointName"], request.get("DeploymentConfig", {})
        with self._lock:
            document = self._idle(name)
            arn = document["EndpointArn"]
            if document["EndpointStatus"] != "InService":
                status = document["EndpointStatus"]
                raise invalid(f'Cannot update endpoint "{arn}" with status {status}; delete it and create it again.')
            _check_deployment(deployment)
            plan = self._plan(request["EndpointConfigName"])
            if plan["EndpointConfigName"] == document["EndpointConfigName"]:
                raise invalid(
                    f'Cannot update endpoint "{arn}" to the endpoint configuration that it has '
                    f'("{plan["EndpointConfigName"]}"); configurations do not change, create a new one.'
                )
            if request.get("RetainAllVariantProperties"):
                plan = _retaining(plan, document, request.get("ExcludeRetainedVariantProperties", []))
            members: Document = {"PendingDeploymentSummary": _pending(plan, "Creating", "Launching")}
            if deployment:
                members["LastDeploymentConfig"] = deployment
            self._set(name, "Updating", members, drop=("FailureReason",))
        self._in_background(self._replace, name, plan, deployment)
        return {"EndpointArn": arn}

    def describe(self, request: Document) -> Document:
        return requests.project(requests.output_shape("DescribeEndpoint"), self._find(request["EndpointName"]))

    def list(self, request: Document) -> Document:
        return listing.page("ListEndpoints", "Endpoint", self._store.all(KIND), request, "Endpoints")

    def delete(self, request: Document) -> Document:
        name = request["EndpointName"]
        with self._lock:
            self._idle(name)
            self._set(name, "Deleting")
            fleet = self._serving.pop(name.lower(), None)
        self._in_background(self._remove, name, fleet)
        return {}

    def restore(self) -> None:
        """After a restart: serve again what served, finish what was under way. Requests wait until it is loaded."""
        shutil.rmtree(self._root, ignore_errors=True)
        if self._undelivered.is_dir():
            threading.Thread(target=undelivered.deliver, args=(self._undelivered, self._aws), daemon=True).start()
        for document in self._store.all(KIND):
            name, status = document["EndpointName"], document["EndpointStatus"]
            if status == "Deleting":
                self._remove(name, None)
            elif status == "Creating":
                self._in_background(self._start_first, name, document["Plan"])
            elif status in _READY:
                self._loading[name.lower()] = threading.Event()
                self._in_background(self._start_again, name, document)

    def stop(self) -> None:
        """End every container and deliver what was captured; the documents stay as they are."""
        self._closing.set()
        with self._lock:
            fleets = list(self._fleets)
            self._serving.clear()
        threads = [threading.Thread(target=fleet.stop, args=(1.0,)) for fleet in fleets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # InvokeEndpoint ---------------------------------------------------------------------------------------------------

    def invoke_http(self, name: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """`POST /endpoints/<name>/invocations`; header names are lower case. Raises AwsError."""
        given = {member: headers[header] for member, header in _REQUEST_HEADERS.items() if header in headers}
        answer = self.invoke({"EndpointName": name, "Body": body, **given})
        found = {header: answer[member] for member, header in _RESPONSE_HEADERS.items() if member in answer}
        return 200, {**found, "x-amzn-RequestId": answer["RequestId"]}, answer["Body"]

    def invoke(self, request: Document) -> Document:
        """InvokeEndpoint: {"Body", "ContentType", "InvokedProductionVariant", "CustomAttributes"?, "RequestId"}.

        Raises AwsError: ValidationError (no such endpoint or variant, body too large), ModelError (the model's answer
        is not 2xx, or none came in time).
        """
        _check_invocation(request)
        began = time.perf_counter()
        with self._entered(request["EndpointName"]) as fleet:
            variant = fleet.choose(request.get("TargetVariant"))
            if variant is None:
                raise AwsError(
                    "ValidationError",
                    f"Could not find variant {request['TargetVariant']} of endpoint {request['EndpointName']}.",
                )
            return self._ask(variant, request, began)

    def _ask(self, variant: Variant, request: Document, began: float) -> Document:
        attributes = request.get("CustomAttributes")
        headers = {"X-Amzn-SageMaker-Custom-Attributes": attributes} if attributes else {}
        content_type = request.get("ContentType") or "application/octet-stream"
        moment, asked = capture.utc_now(), time.perf_counter()
        try:
            reply = variant.server.invoke(
                request.get("Body", b""), content_type, request.get("Accept"), headers, self._invocation_timeout
            )
        except InvocationTimeoutError as error:
            reply = Reply(0, {}, str(error).encode(), error.container)
        if fault := faults.take("endpoint", request["EndpointName"], "answers-wrongly"):
            reply = replace(reply, body=fault.answer.encode() or _NUMBER.sub(b"0", reply.body))
        answered = time.perf_counter()
        request_id = str(uuid.uuid4())
        if reply.succeeded and variant.capture is not None:
            variant.capture.offer(_exchange(request, content_type, reply, moment, request_id))
        model_seconds = answered - asked
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

    @contextmanager
    def _entered(self, name: str) -> Iterator[Fleet]:
        """The fleet that serves, which is not stopped before the caller is done with it."""
        fleet = self._take(name)
        if fleet is None and (loading := self._loading.get(name.lower())) is not None:
            loading.wait(self._invocation_timeout)
            fleet = self._take(name)
        if fleet is None:
            raise AwsError("ValidationError", f"Endpoint {name} of account {self._aws.account_id} not found.")
        try:
            yield fleet
        finally:
            fleet.leave()

    def _take(self, name: str) -> Fleet | None:
        with self._lock:
            fleet = self._serving.get(name.lower())
            if fleet is not None:
                fleet.enter()
            return fleet

    # Work in the background -------------------------------------------------------------------------------------------

    def _start_first(self, name: str, plan: Document) -> None:
        try:
            _strike(name, plan, "creation-fails")
            fleet = self._started(name, plan)
        except JobFailedError as error:
            self._finish(name, "Failed", {"FailureReason": _reason(error)})
            return
        self._switch(name, fleet)
        self._finish(name, "InService", _described(plan))

    def _start_again(self, name: str, document: Document) -> None:
        """Serve what served before the restart; an update that had not switched yet is rolled back."""
        plan = document["Plan"]
        interrupted = document["EndpointStatus"] != "InService" and "PendingDeploymentSummary" in document
        try:
            fleet = self._started_patiently(name, plan)
        except JobFailedError as error:
            self._finish(name, "Failed", {"FailureReason": _reason(error)}, drop=("PendingDeploymentSummary",))
        else:
            self._switch(name, fleet)
            if interrupted:
                members = _described(plan) | {"EndpointConfigName": plan["EndpointConfigName"]}
                if plan["EndpointConfigName"] != document["PendingDeploymentSummary"]["EndpointConfigName"]:
                    members["FailureReason"] = "The update was interrupted by a restart of the local cloud."
                self._finish(name, "InService", members, drop=("PendingDeploymentSummary",))
        finally:
            self._loading.pop(name.lower()).set()

    def _replace(self, name: str, plan: Document, deployment: Document) -> None:
        """One blue/green deployment, all at once."""
        try:
            _strike(name, plan, "update-rolls-back")
            fleet = self._started(name, plan)
        except JobFailedError as error:
            if not self._closing.is_set():
                self._set(name, "RollingBack")
            members = {"FailureReason": _reason(error)}
            self._finish(name, "InService", members, drop=("PendingDeploymentSummary",))
            return
        bake = deployment.get("BlueGreenUpdatePolicy", {}).get("TerminationWaitInSeconds", 0)
        with self._lock:
            old = self._switch(name, fleet)
            self._store.update(KIND, name, lambda document: document.update(Plan=plan))
        if bake:
            self._progress(name, _pending(plan, "Baking", f"Baking for {bake} seconds (TerminationWaitInSeconds)"))
            self._closing.wait(bake)
        members = _described(plan) | {"EndpointConfigName": plan["EndpointConfigName"]}
        self._finish(name, "InService", members, drop=("PendingDeploymentSummary",))
        self._retire(old)

    def _remove(self, name: str, fleet: Fleet | None) -> None:
        self._retire(fleet)
        if not self._closing.is_set():
            with self._lock:
                document = self._store.get(KIND, name)
                self._store.delete(KIND, name)
                if document is not None:
                    tags.drop(self._store, document["EndpointArn"])

    def _started(self, name: str, plan: Document) -> Fleet:
        """A fleet that is ready. Raises JobFailedError with the reason, and leaves nothing running."""
        directory = self._root / name / uuid.uuid4().hex[:8]
        fleet = Fleet(name, plan, self._aws, directory, self._image, self._undelivered)
        with self._lock:
            if self._closing.is_set():
                raise JobFailedError("The local cloud stopped.")
            self._fleets.add(fleet)
        try:
            fleet.start()
        except JobFailedError:
            self._discard(fleet)
            raise
        except Exception as error:
            _logger.exception("endpoint %s could not be started", name)
            self._discard(fleet)
            reason = disk.full(self._root) if disk.is_full(error) else f"{type(error).__name__}: {error}"
            raise JobFailedError(f"InternalServerError: {reason}") from error
        return fleet

    def _started_patiently(self, name: str, plan: Document) -> Fleet:
        """At a restart the models may be asked for before S3 answers."""
        until = time.monotonic() + _RESTORE_SECONDS
        while True:
            try:
                return self._started(name, plan)
            except JobFailedError as error:
                if "Could not connect" not in str(error) or time.monotonic() > until or self._closing.wait(0.5):
                    raise

    def _switch(self, name: str, fleet: Fleet) -> Fleet | None:
        """Send all traffic to the fleet from now on; returns the one that had it."""
        with self._lock:
            old = self._serving.get(name.lower())
            if not self._closing.is_set():
                self._serving[name.lower()] = fleet
            return old

    def _retire(self, fleet: Fleet | None) -> None:
        """Stop a fleet that gets no new requests, when its last one is done."""
        if fleet is not None:
            fleet.drain(self._invocation_timeout)
            self._discard(fleet)

    def _discard(self, fleet: Fleet) -> None:
        fleet.stop()
        with self._lock:
            self._fleets.discard(fleet)

    def _in_background(self, work: Callable[..., None], name: str, *arguments: Any) -> None:
        def run() -> None:
            try:
                work(name, *arguments)
            except Exception:
                _logger.exception("%s of endpoint %s failed", work.__name__, name)
                reason = "InternalServerError: the local cloud failed; its log has the traceback."
                with contextlib.suppress(KeyError):
                    self._finish(name, "Failed", {"FailureReason": reason})

        threading.Thread(target=run, name=f"{work.__name__.strip('_')} {name}", daemon=True).start()

    # Documents --------------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Document:
        document = self._store.get(KIND, name)
        if document is None:
            raise invalid(f'Could not find endpoint "{self._aws.arn(KIND, name)}".')
        return document

    def _idle(self, name: str) -> Document:
        """The document of an endpoint on which nothing is under way."""
        document = self._find(name)
        if document["EndpointStatus"] not in ("InService", "Failed", "OutOfService") or name.lower() in self._loading:
            raise invalid(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')
        return document

    def _plan(self, config_name: str) -> Document:
        """Configuration and models as they are now. Raises AwsError when one is missing."""
        config = self._store.get(models.ENDPOINT_CONFIG, config_name)
        if config is None:
            arn = self._aws.arn(models.ENDPOINT_CONFIG, config_name)
            raise invalid(f'Could not find endpoint configuration "{arn}".')
        variants = []
        for variant in config["ProductionVariants"]:
            model = self._store.get(models.MODEL, variant["ModelName"])
            if model is None:
                raise invalid(f'Could not find model "{self._aws.arn(models.MODEL, variant["ModelName"])}".')
            of_model = {name: model[name] for name in ("ExecutionRoleArn", "EnableNetworkIsolation")}
            containers = [
                container | {"ResolvedImage": images.resolved(container["Image"], self._image.path)}
                for container in models.containers(model)
            ]
            variants.append({"Variant": variant, "Containers": containers, **of_model})
        plan: Document = {"EndpointConfigName": config["EndpointConfigName"], "Variants": variants}
        return plan | {name: config[name] for name in ("DataCaptureConfig",) if name in config}

    def _set(self, name: str, status: str, members: Document | None = None, drop: tuple[str, ...] = ()) -> None:
        def change(document: Document) -> None:
            for member in drop:
                document.pop(member, None)
            document.update(members or {}, EndpointStatus=status, LastModifiedTime=now())

        with self._lock:
            self._announce(self._store.update(KIND, name, change))

    def _finish(self, name: str, status: str, members: Document, drop: tuple[str, ...] = ()) -> None:
        """The end of a piece of work, unless the whole service ends: then `restore` goes on from what is stored."""
        if not self._closing.is_set():
            self._set(name, status, members, drop)

    def _progress(self, name: str, pending: Document) -> None:
        if not self._closing.is_set():
            self._set(name, "Updating", {"PendingDeploymentSummary": pending})

    def _announce(self, document: Document) -> None:
        arn = document["EndpointArn"]
        detail = events.endpoint_detail(document, tags.read(self._store, arn))
        self._send(events.DETAIL_TYPES["Endpoint"], [arn], detail)
        if "PendingDeploymentSummary" in document:
            pending = _milliseconds(document["PendingDeploymentSummary"])
            self._send(DEPLOYMENT_EVENT, [arn], detail | {"PendingDeploymentSummary": pending})


def _strike(name: str, plan: Document, failure: str) -> None:
    """Be slow, or fail, as somebody has asked (docs/faults.md). Raises JobFailedError, with AWS's text."""
    if fault := faults.take("endpoint", name, "delay"):
        faults.wait_out(fault)
    if fault := faults.take("endpoint", name, failure):
        variant = plan["Variants"][0]
        raise JobFailedError(
            fault.message
            or f"The {container_names(variant['Containers'])[0]} container for production variant "
            f"{variant['Variant']['VariantName']} did not pass the ping health check. Please check CloudWatch logs for "
            "this endpoint."
        )


def _check_deployment(deployment: Document) -> None:
    """All at once is here; the rest is refused rather than done differently."""
    if "RollingUpdatePolicy" in deployment:
        raise unsupported("DeploymentConfig.RollingUpdatePolicy", "Use BlueGreenUpdatePolicy with ALL_AT_ONCE.")
    if deployment.get("AutoRollbackConfiguration", {}).get("Alarms"):
        raise unsupported("DeploymentConfig.AutoRollbackConfiguration", "Leave it out.")
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE")
    if routing != "ALL_AT_ONCE":
        raise unsupported(f"TrafficRoutingConfiguration.Type {routing}", "Use ALL_AT_ONCE.")


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


def _retaining(plan: Document, document: Document, excluded: list[Document]) -> Document:
    """The plan with the instance counts and weights that variants of the same names have now."""
    properties = {"DesiredInstanceCount": "InitialInstanceCount", "DesiredWeight": "InitialVariantWeight"}
    for item in excluded:
        properties.pop(item["VariantPropertyType"], None)
    there = {variant["VariantName"]: variant for variant in document["ProductionVariants"]}

    def kept(variant: Document) -> Document:
        before = there.get(variant["VariantName"], {})
        return variant | {initial: before[desired] for desired, initial in properties.items() if desired in before}

    return plan | {"Variants": [item | {"Variant": kept(item["Variant"])} for item in plan["Variants"]]}


def _described(plan: Document, status: str | None = None) -> Document:
    """DescribeEndpoint's members that follow from the configuration."""
    described: Document = {"ProductionVariants": [_summary(item, status) for item in plan["Variants"]]}
    if captured := capture.summary(plan.get("DataCaptureConfig")):
        described["DataCaptureConfig"] = captured
    return described


def _summary(item: Document, status: str | None, message: str | None = None) -> Document:
    """A ProductionVariantSummary; `status` says what is being done with the variant."""
    variant = item["Variant"]
    weight, count = variant.get("InitialVariantWeight", 1.0), variant.get("InitialInstanceCount", 1)
    summary: Document = {
        "VariantName": variant["VariantName"],
        "DeployedImages": [
            # A plan of an earlier version of the local cloud does not know what its images led to.
            {"SpecifiedImage": container["Image"], "ResolutionTime": now()}
            | {name: container[name] for name in ("ResolvedImage",) if name in container}
            for container in item["Containers"]
        ],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": 0 if status == "Creating" else count,
        "DesiredInstanceCount": count,
    }
    if status:
        text = {"StatusMessage": message} if message else {}
        summary["VariantStatus"] = [{"Status": status, "StartTime": now(), **text}]
    return summary


def _pending(plan: Document, status: str, action: str) -> Document:
    """PendingDeploymentSummary of an update in this stage."""
    variants = []
    for item in plan["Variants"]:
        count = item["Variant"].get("InitialInstanceCount", 1)
        ending = "." if status == "Creating" else f" with traffic enabled on full capacity of {count} instance(s)."
        message = f"{action} {count} instance(s)." if status == "Creating" else f"{action}{ending}"
        variants.append(_summary(item, status, message) | {"InstanceType": item["Variant"]["InstanceType"]})
    return {"EndpointConfigName": plan["EndpointConfigName"], "StartTime": now(), "ProductionVariants": variants}


def _milliseconds(value: Any, name: str = "") -> Any:
    """A document's times as events have them."""
    if isinstance(value, dict):
        return {key: _milliseconds(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_milliseconds(item) for item in value]
    return round(value * 1000) if name.endswith("Time") else value


def _reason(error: JobFailedError) -> str:
    """FailureReason without the prefix that job failures carry."""
    return str(error).removeprefix("ClientError: ").removeprefix("AlgorithmError: ")[:_MAX_FAILURE_REASON]
