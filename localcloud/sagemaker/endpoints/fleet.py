"""The running variants of one endpoint configuration, from their start to their last request."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.sagemaker.endpoints import undelivered
from localcloud.sagemaker.endpoints.capture import FLUSH_SECONDS, Capture, sampling
from localcloud.sagemaker.endpoints.metrics import NAMESPACE, InvocationMetrics
from localcloud.sagemaker.endpoints.model_server import STOP_GRACE_SECONDS, ContainerStartError, Log, ModelServer
from localcloud.sagemaker.endpoints.undelivered import is_reachable, put_object
from localcloud.sagemaker.errors import AwsError, JobFailedError
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.sagemaker.platform.log_stream import LogStream
from localcloud.sagemaker.platform.store import Document

LOG_GROUP = "/aws/sagemaker/Endpoints"
_DEFAULT_START_SECONDS = 240
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """One production variant that serves."""

    name: str
    weight: float
    instances: int
    server: ModelServer
    role_arn: str
    kms_key_id: str | None
    capture: Capture | None
    metrics: InvocationMetrics


class Fleet:
    """Servers, capture, metrics and logs of an endpoint under one configuration.

    `plan` holds what is needed to start it again, whatever has been deleted since: {"EndpointConfigName",
    "DataCaptureConfig"?, "Variants": [{"Variant": ProductionVariant, "Containers", "ExecutionRoleArn",
    "EnableNetworkIsolation"?}]}.
    """

    def __init__(
        self, endpoint: str, plan: Document, aws: Aws, directory: Path, image: ImagePython, undelivered: Path
    ) -> None:
        self.config_name: str = plan["EndpointConfigName"]
        self.is_new = False  # it is being deployed, and has metrics of its own besides
        self._endpoint, self._plan, self._aws = endpoint, plan, aws
        self._directory, self._image, self._undelivered = directory, image, undelivered
        self._instance = "i-" + hashlib.sha256(str(directory).encode()).hexdigest()[:17]
        self._variants: dict[str, Variant] = {}
        self._logs: list[LogStream] = []
        self._active = 0
        self._idle = threading.Condition()
        self._closed = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, name=f"flush {endpoint}", daemon=True)

    # ---- Life

    def start(self) -> None:
        """Start all variants at once. Raises JobFailedError; its text is the endpoint's FailureReason."""
        planned = self._plan["Variants"]
        try:
            for number, item in enumerate(planned):
                variant = self._variant(item, self._directory / str(number))
                self._variants[variant.name] = variant
        except AwsError as error:  # a role that SageMaker may not assume
            raise JobFailedError(error.message) from error
        with ThreadPoolExecutor(len(planned), thread_name_prefix="start variant") as pool:
            futures = [pool.submit(self._start, item["Variant"]) for item in planned]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((reason for future in done if (reason := future.exception())), None)
            if failed is not None:
                self.stop(0)
        if failed is not None:
            raise failed
        self._flusher.start()

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """End the servers and deliver everything that waits."""
        variants = list(self._variants.values())
        if variants:
            with ThreadPoolExecutor(len(variants), thread_name_prefix="stop variant") as pool:
                list(pool.map(lambda variant: variant.server.stop(grace_seconds), variants))
        if not self._closed.is_set():
            self._closed.set()
            if is_reachable(self._aws.endpoint_url):
                self._flush()
            self._keep_undelivered()
        for log in self._logs:
            log.close()

    def drain(self, timeout: float) -> None:
        """Wait until no request is under way, or the time is up."""
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0, timeout)

    # ---- Requests

    def enter(self) -> None:
        """Count a request that is about to use the fleet; `leave` ends it."""
        with self._idle:
            self._active += 1

    def leave(self) -> None:
        with self._idle:
            self._active -= 1
            if self._active == 0:
                self._idle.notify_all()

    def choose(self, target: str | None, chance: Callable[[], float] = random.random) -> Variant | None:
        """Return the target variant (None when there is no such), or one by the weights; weight 0 gets no traffic."""
        if target is not None:
            return self._variants.get(target)
        variants = list(self._variants.values())
        if len(variants) == 1:
            return variants[0]
        point = chance() * sum(variant.weight for variant in variants)
        for variant in variants:
            point -= variant.weight
            if point < 0:
                return variant
        return variants[0]

    # ---- Inside

    def _variant(self, item: Document, directory: Path) -> Variant:
        variant = item["Variant"]
        name: str = variant["VariantName"]
        aws = self._aws.for_role(item["ExecutionRoleArn"])
        is_pipeline = len(item["Containers"]) > 1

        def log_of(container: str) -> Log:
            return self._log(aws, f"{name}/{self._instance}" + (f"/{container}" if is_pipeline else ""))

        config = self._plan.get("DataCaptureConfig")
        return Variant(
            name,
            variant.get("InitialVariantWeight", 1.0),
            variant.get("InitialInstanceCount", 1),
            ModelServer(
                item["Containers"],
                directory,
                aws,
                _discard,
                self._image,
                log_of=log_of,
                isolated=item.get("EnableNetworkIsolation", False),
            ),
            item["ExecutionRoleArn"],
            config.get("KmsKeyId") if config else None,
            Capture(config, self._endpoint, name, partial(_put, aws, config), sampling()) if config else None,
            InvocationMetrics(self._endpoint, name),
        )

    def _start(self, variant: Document) -> None:
        name = variant["VariantName"]
        limit = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _DEFAULT_START_SECONDS)
        try:
            self._variants[name].server.start(limit)
        except ContainerStartError as error:
            raise JobFailedError(
                f"The {error.container} container for production variant {name} did not pass the ping health check. "
                f"Please check CloudWatch logs for this endpoint. {error.detail}"
            ) from error

    def _log(self, aws: Aws, stream: str) -> Log:
        log = LogStream(aws, f"{LOG_GROUP}/{self._endpoint}", stream)
        self._logs.append(log)
        return log.write

    def _flush_regularly(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            self._flush()

    def _keep_undelivered(self) -> None:
        """Keep on disk what could not be written: when the local cloud stops, S3 is gone before its endpoints are."""
        for variant in self._variants.values():
            role = variant.role_arn
            for uri, content in variant.capture.take() if variant.capture else ():
                undelivered.keep(self._undelivered, undelivered.Waiting(uri, role, variant.kms_key_id, content))

    def _flush(self) -> None:
        for variant in list(self._variants.values()):
            if variant.capture is not None:
                variant.capture.flush()
            if data := variant.metrics.drain(self.config_name if self.is_new else None):
                try:
                    self._aws.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)
                except (ClientError, BotoCoreError):
                    logger.warning("metrics of %s were not delivered", self._endpoint, exc_info=True)


def _discard(_line: str) -> None:
    """Each container has a log of its own."""


def _put(aws: Aws, config: Document, uri: str, content: bytes) -> None:
    put_object(aws, uri, content, config.get("KmsKeyId"))
