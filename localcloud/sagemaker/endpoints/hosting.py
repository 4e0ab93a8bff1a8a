"""Endpoints: create, update without losing a request, describe, delete.

Statuses as in the Developer Guide: Creating -> InService | Failed; InService -> Updating -> InService, or
Updating -> RollingBack -> InService with the old configuration and a FailureReason; any -> Deleting. An update
starts a second fleet, moves traffic to it in the steps of its DeploymentConfig while it watches alarms, and ends the
first when its last request is done.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud import disk, faults
from localcloud.sagemaker.api import events, listing, requests, tags
from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.endpoints import description, models, scaling, undelivered
from localcloud.sagemaker.endpoints.deployment import Deployment, Step
from localcloud.sagemaker.endpoints.fleet import Fleet
from localcloud.sagemaker.endpoints.invocation import Invocations
from localcloud.sagemaker.endpoints.model_server import container_names
from localcloud.sagemaker.errors import JobFailedError, invalid
from localcloud.sagemaker.platform import images
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.sagemaker.platform.store import Document, Store

KIND = "endpoint"
DEPLOYMENT_EVENT = "SageMaker Endpoint Deployment State Change"
_MAX_FAILURE_REASON = 1024
_READY = ("InService", "Updating", "RollingBack", "SystemUpdating")
_RESTORE_SECONDS = 60.0
_WATCH_SECONDS = 0.25
logger = logging.getLogger(__name__)

Send = Callable[[str, list[str], Document], None]


class Endpoints:
    """All endpoints of the account. `send(detail type, resources, detail)` tells EventBridge.

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
        invocations: Invocations,
    ) -> None:
        self._store, self._aws, self._send = store, aws, send
        self._image, self._invocations = image, invocations
        self._root = root.absolute() / "endpoints"
        self._undelivered = root.absolute() / "undelivered"
        self._lock = threading.RLock()
        self._fleets: set[Fleet] = set()
        self._closing = threading.Event()

    # ---- Operations

    def create(self, request: Document) -> Document:
        """CreateEndpoint. A DeploymentConfig is checked and, as on AWS, has no effect on the first deployment."""
        name = request["EndpointName"]
        arn = self._aws.arn(KIND, name)
        taken = invalid(f'Cannot create already existing endpoint "{arn}".')
        if self._store.get(KIND, name) is not None:
            raise taken
        plan = self._plan(request["EndpointConfigName"])
        Deployment.of(request.get("DeploymentConfig", {}), plan).require_alarms(self._aws)
        document = description.described(plan, "Creating") | {
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
        name, config = request["EndpointName"], request.get("DeploymentConfig", {})
        with self._lock:
            document = self._idle(name)
            arn = document["EndpointArn"]
            if document["EndpointStatus"] != "InService":
                status = document["EndpointStatus"]
                raise invalid(f'Cannot update endpoint "{arn}" with status {status}; delete it and create it again.')
            plan = self._plan(request["EndpointConfigName"])
            if plan["EndpointConfigName"] == document["EndpointConfigName"]:
                raise invalid(
                    f'Cannot update endpoint "{arn}" to the endpoint configuration that it has '
                    f'("{plan["EndpointConfigName"]}"); configurations do not change, create a new one.'
                )
            scaling.refuse_other_machines(self._store, name, document["Plan"], plan)
            if request.get("RetainAllVariantProperties"):
                plan = _retaining(plan, document, request.get("ExcludeRetainedVariantProperties", []))
            deployment = Deployment.of(config, plan)
            deployment.require_alarms(self._aws)
            members: Document = {"PendingDeploymentSummary": description.creating(plan)}
            if config:
                members["LastDeploymentConfig"] = config
            self._set(name, "Updating", members, drop=("FailureReason",))
        self._in_background(self._replace, name, plan, deployment)
        return {"EndpointArn": arn}

    def describe(self, request: Document) -> Document:
        return requests.project(requests.output_shape("DescribeEndpoint"), self._find(request["EndpointName"]))

    def list(self, request: Document) -> Document:
        return listing.page("ListEndpoints", "Endpoint", self._store.view(KIND), request, "Endpoints")

    def delete(self, request: Document) -> Document:
        name = request["EndpointName"]
        with self._lock:
            self._idle(name)
            self._set(name, "Deleting")
            fleet = self._invocations.withdraw(name)
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
                self._invocations.expect(name)
                self._in_background(self._start_again, name, document)

    def stop(self) -> None:
        """End every container and deliver what was captured; the documents stay as they are."""
        self._closing.set()
        self._invocations.close()
        with self._lock:
            fleets = list(self._fleets)
        threads = [threading.Thread(target=fleet.stop, args=(1.0,)) for fleet in fleets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # ---- Work in the background

    def _start_first(self, name: str, plan: Document) -> None:
        try:
            _strike(name, plan, "creation-fails")
            fleet = self._started(name, plan)
        except JobFailedError as error:
            self._finish(name, "Failed", {"FailureReason": _reason(error)})
            return
        self._invocations.serve(name, fleet)
        self._finish(name, "InService", description.described(plan))

    def _start_again(self, name: str, document: Document) -> None:
        """Serve what served before the restart; an update that had not switched yet is rolled back."""
        plan = document["Plan"]
        interrupted = document["EndpointStatus"] != "InService" and "PendingDeploymentSummary" in document
        try:
            fleet = self._started_patiently(name, plan)
        except JobFailedError as error:
            self._finish(name, "Failed", {"FailureReason": _reason(error)}, drop=("PendingDeploymentSummary",))
        else:
            self._invocations.serve(name, fleet)
            if interrupted:
                members = description.described(plan) | {"EndpointConfigName": plan["EndpointConfigName"]}
                if plan["EndpointConfigName"] != document["PendingDeploymentSummary"]["EndpointConfigName"]:
                    members["FailureReason"] = "The update was interrupted by a restart of the local cloud."
                self._finish(name, "InService", members, drop=("PendingDeploymentSummary",))
        finally:
            self._invocations.settle(name)

    def _replace(self, name: str, plan: Document, deployment: Deployment) -> None:
        """Carry out one blue/green deployment."""
        until = time.monotonic() + deployment.limit_seconds
        try:
            _strike(name, plan, "update-rolls-back")
            fleet = self._started(name, plan)
        except JobFailedError as error:
            self._roll_back(name, _reason(error))
            return
        old_plan = self._find(name)["Plan"]
        for step in deployment.steps:
            self._shift(name, fleet, plan, step)
            why = self._bake(name, plan, step, deployment, until)
            if why:
                self._invocations.take_back(name)
                self._store.update(KIND, name, lambda document: document.update(Plan=old_plan))
                self._roll_back(name, why)
                self._retire(fleet)
                return
        old = self._invocations.settle_on(name)
        fleet.is_new = False
        members = description.described(plan) | {"EndpointConfigName": plan["EndpointConfigName"]}
        self._finish(name, "InService", members, drop=("PendingDeploymentSummary",))
        self._retire(old)

    def _shift(self, name: str, fleet: Fleet, plan: Document, step: Step) -> None:
        """Let the new fleet answer its share. With all of it, a restart goes on with the new fleet."""
        with self._lock:
            fleet.is_new = True
            self._invocations.let_in(name, fleet, step.share)
            if step.share == 1:
                self._store.update(KIND, name, lambda document: document.update(Plan=plan))

    def _bake(self, name: str, plan: Document, step: Step, deployment: Deployment, until: float) -> str:
        """Watch the alarms for as long as the step says; return why the update is to be rolled back, if it is."""
        end = time.monotonic() + step.seconds
        if step.seconds:
            self._progress(name, description.baking(plan, step))
        while time.monotonic() < end:
            if alarms := deployment.in_alarm(self._aws):
                return f"The update was rolled back: CloudWatch alarm(s) in the state ALARM: [{', '.join(alarms)}]."
            if time.monotonic() > until:
                return "The update was rolled back: it took longer than MaximumExecutionTimeoutInSeconds."
            if self._closing.wait(min(_WATCH_SECONDS, max(0.0, end - time.monotonic()))):
                break
        return ""

    def _roll_back(self, name: str, reason: str) -> None:
        if not self._closing.is_set():
            self._set(name, "RollingBack")
        self._finish(name, "InService", {"FailureReason": reason}, drop=("PendingDeploymentSummary",))

    def _remove(self, name: str, fleet: Fleet | None) -> None:
        self._retire(fleet)
        if not self._closing.is_set():
            with self._lock:
                document = self._store.get(KIND, name)
                self._store.delete(KIND, name)
                scaling.forget(self._store, name)
                if document is not None:
                    tags.drop(self._store, document["EndpointArn"])

    def _started(self, name: str, plan: Document) -> Fleet:
        """Start a fleet that is ready. Raises JobFailedError with the reason, and leaves nothing running."""
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
            logger.exception("endpoint %s could not be started", name)
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

    def _retire(self, fleet: Fleet | None) -> None:
        """Stop a fleet that gets no new requests, when its last one is done."""
        if fleet is not None:
            fleet.drain(self._invocations.timeout_seconds)
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
                logger.exception("%s of endpoint %s failed", work.__name__, name)
                reason = "InternalServerError: the local cloud failed; its log has the traceback."
                with contextlib.suppress(KeyError):
                    self._finish(name, "Failed", {"FailureReason": reason})

        threading.Thread(target=run, name=f"{work.__name__.strip('_')} {name}", daemon=True).start()

    # ---- Documents

    def _find(self, name: str) -> Document:
        document = self._store.get(KIND, name)
        if document is None:
            raise invalid(f'Could not find endpoint "{self._aws.arn(KIND, name)}".')
        return document

    def _idle(self, name: str) -> Document:
        """Return the document of an endpoint on which nothing is under way."""
        document = self._find(name)
        if document["EndpointStatus"] not in ("InService", "Failed", "OutOfService") or self._invocations.expects(name):
            raise invalid(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')
        return document

    def _plan(self, config_name: str) -> Document:
        """Return configuration and models as they are now. Raises AwsError when one is missing."""
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
        """End a piece of work, unless the whole service ends: then `restore` goes on from what is stored."""
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
            pending = description.milliseconds(document["PendingDeploymentSummary"])
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


def _retaining(plan: Document, document: Document, excluded: list[Document]) -> Document:
    """Return the plan with the instance counts and weights that variants of the same names have now."""
    properties = {"DesiredInstanceCount": "InitialInstanceCount", "DesiredWeight": "InitialVariantWeight"}
    for item in excluded:
        properties.pop(item["VariantPropertyType"], None)
    there = {variant["VariantName"]: variant for variant in document["ProductionVariants"]}

    def retained(variant: Document) -> Document:
        before = there.get(variant["VariantName"], {})
        return variant | {initial: before[desired] for desired, initial in properties.items() if desired in before}

    return plan | {"Variants": [item | {"Variant": retained(item["Variant"])} for item in plan["Variants"]]}


def _reason(error: JobFailedError) -> str:
    """FailureReason without the prefix that job failures carry."""
    return str(error).removeprefix("ClientError: ").removeprefix("AlgorithmError: ")[:_MAX_FAILURE_REASON]
