"""SageMaker's events for EventBridge: shapes as in "Automating Amazon SageMaker with Amazon EventBridge".

They differ from the API's: times are epoch milliseconds (text in training events, ISO 8601 in those of packages), tags
are a map, processing events write enumerations in capitals, endpoint events write `IN_SERVICE` for `InService`.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.store import Document, Store

DETAIL_TYPES = {
    "TrainingJob": "SageMaker Training Job State Change",
    "ProcessingJob": "SageMaker Processing Job State Change",
    "TransformJob": "SageMaker Transform Job State Change",
    "HyperParameterTuningJob": "SageMaker HyperParameter Tuning Job State Change",
    "Endpoint": "SageMaker Endpoint State Change",
    "Model": "SageMaker Model State Change",
    "ModelPackage": "SageMaker Model Package State Change",
    "FeatureGroup": "SageMaker Feature Group State Change",
}
_KIND = "Event"
_NOT_IN_EVENTS = ("Environment", "FinalMetricDataList", "TrainingTimeInSeconds", "BillableTimeInSeconds")
_UPPER_CASE = ("S3DataType", "S3InputMode", "S3DataDistributionType", "S3CompressionType", "S3UploadMode")
_ONE_WORD = ("S3DataDistributionType",)
logger = logging.getLogger(__name__)


class Outbox:
    """Delivers events in order from a thread of its own, so that a slow target never holds a job up.

    Until the bus has it, an event is in the store, and `start` sends what an earlier process has left. One that the bus
    refuses is logged; it cannot change what happened to the job.
    """

    def __init__(self, aws: Aws, store: Store) -> None:
        self._aws, self._store = aws, store
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="sagemaker events", daemon=True).start()

    def start(self) -> None:
        for unsent in sorted(self._store.all(_KIND), key=lambda event: float(event["At"])):
            self._waiting.put(unsent["Name"])

    def send(self, detail_type: str, resources: list[str], detail: Document) -> None:
        name = str(uuid.uuid4())
        self._store.put(_KIND, name, {"Name": name, "At": time.time(), "Event": [detail_type, resources, detail]})
        self._waiting.put(name)

    def close(self) -> None:
        """Send what waits, and nothing more."""
        self._waiting.put("")

    def _run(self) -> None:
        while name := self._waiting.get():
            if (document := self._store.get(_KIND, name)) is None:  # the store has been emptied meanwhile
                continue
            detail_type, resources, detail = document["Event"]
            try:
                self._aws.emit_event(detail_type, resources, detail)
            except Exception:
                logger.exception("%s of %s was not delivered", detail_type, resources)
            self._store.delete(_KIND, name)


def job_detail(noun: str, document: Document, tags: dict[str, str]) -> Document:
    """Return the `detail` of a job's event; `noun` is the API's word (`TrainingJob`)."""
    detail = _DETAILS[noun](document)
    return detail if noun == "ProcessingJob" else detail | {"Tags": tags}


def model_detail(document: Document, tags: dict[str, str]) -> Document:
    """Return a model's event; AWS does not document its detail, so it holds what DescribeModel does."""
    return _milliseconds(document, int) | {"Tags": tags}


def package_detail(description: Document, updated: list[str] | None) -> Document:
    """Return a package's event: what DescribeModelPackage answers, and which members an update has changed."""
    times = {
        name: datetime.fromtimestamp(int(description[name]), UTC).isoformat().replace("+00:00", "Z")
        for name in ("CreationTime", "LastModifiedTime")
        if name in description
    }
    return description | times | ({} if updated is None else {"UpdatedModelPackageFields": updated})


def feature_group_detail(description: Document, tags: dict[str, str]) -> Document:
    """Return the `detail` of a feature group's event from what DescribeFeatureGroup answers."""
    return _milliseconds(description, int) | {"Tags": tags}


def endpoint_detail(description: Document, tags: dict[str, str]) -> Document:
    """Return the `detail` of an endpoint's event from what DescribeEndpoint answers (wire form)."""
    members = ("EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants", "EndpointStatus")
    times = ("CreationTime", "LastModifiedTime")
    detail = {name: description[name] for name in (*members, "FailureReason", *times) if name in description}
    detail["EndpointStatus"] = snake(detail["EndpointStatus"])
    return _milliseconds(detail, float) | {"Tags": tags}


def snake(word: str) -> str:
    """Convert `InService` -> `IN_SERVICE`, `S3Prefix` -> `S3_PREFIX`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).upper()


def _training(document: Document) -> Document:
    detail = _milliseconds(_described("TrainingJob", document), str)
    transitions = [_milliseconds(transition, int) for transition in document.get("SecondaryStatusTransitions", [])]
    return {"VpcConfig": {}} | detail | {"SecondaryStatusTransitions": transitions}


def _processing(document: Document) -> Document:
    detail: Document = _capitals(_described("ProcessingJob", document))
    return {"ExperimentConfig": {}} | _milliseconds(detail, int)


def _transform(document: Document) -> Document:
    environment = {"Environment": document.get("Environment", {})}
    return environment | _milliseconds(_described("TransformJob", document), int)


def _tuning(document: Document) -> Document:
    described = _described("HyperParameterTuningJob", document)
    return _milliseconds({name: described[name] for name in _OF_TUNING if name in described}, int)


_OF_TUNING = (
    "HyperParameterTuningJobName", "HyperParameterTuningJobArn", "TrainingJobDefinition",
    "HyperParameterTuningJobStatus", "CreationTime", "LastModifiedTime", "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
)  # fmt: skip
_DETAILS = {
    "TrainingJob": _training,
    "ProcessingJob": _processing,
    "TransformJob": _transform,
    "HyperParameterTuningJob": _tuning,
}


def _described(noun: str, document: Document) -> Document:
    described = requests.project(requests.output_shape(f"Describe{noun}"), document)
    return {name: value for name, value in described.items() if name not in _NOT_IN_EVENTS}


def _milliseconds(document: Document, form: Callable[[int], Any]) -> Document:
    """Return the document with its own times (not nested ones) as epoch milliseconds."""
    return {
        name: form(round(value * 1000)) if name.endswith("Time") and isinstance(value, int | float) else value
        for name, value in document.items()
    }


def _capitals(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _capitals(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_capitals(item) for item in value]
    if name in _ONE_WORD:
        return str(value).upper()
    return snake(value) if name in _UPPER_CASE else value
