"""List operations: filters, order and pages, the same for every kind of resource."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.errors import invalid
from localcloud.sagemaker.platform.store import Document

_DEFAULT_PAGE = 10
_TOKEN = re.compile(rb"[0-9]{1,12}")
_ASCENDING_BY_DEFAULT = ("ListTrainingJobs", "ListProcessingJobs", "ListModelPackageGroups", "ListModelPackages")
_TIMES = ("CreationTime", "LastModifiedTime")


def page(operation: str, noun: str, documents: list[Document], request: Document, member: str) -> Document:
    """Answer a List operation; `member` is the answer's list (`TrainingJobSummaries`), `noun` the names' word."""
    tests = _filters(noun, request)
    matching = [document for document in documents if all(test(document) for test in tests)]
    key = request.get("SortBy", "CreationTime")
    order = request.get("SortOrder") or ("Ascending" if operation in _ASCENDING_BY_DEFAULT else "Descending")
    matching.sort(key=lambda document: _place(document, noun, key), reverse=order == "Descending")
    start, size = _start(request), request.get("MaxResults", _DEFAULT_PAGE)
    summary = requests.output_shape(operation).members[member].member
    answer: Document = {member: [requests.project(summary, document) for document in matching[start : start + size]]}
    if start + size < len(matching):
        answer["NextToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return answer


def _place(document: Document, noun: str, key: str) -> tuple[Any, ...]:
    """Return what a list is ordered by. Versions of a group have no name: they are ordered by group and number."""
    version = document.get("ModelPackageGroupName"), document.get("ModelPackageVersion")
    name = (document[f"{noun}Name"],) if f"{noun}Name" in document else version
    return name if key == "Name" else (document[key if key.endswith("Time") else f"{noun}{key}"], *name)


def _filters(noun: str, request: Document) -> list[Callable[[Document], bool]]:
    """Return what a document has to be for a request to list it, one test for each filter that the request has."""
    tests: list[Callable[[Document], bool]] = []
    if part := request.get("NameContains", "").lower():
        tests.append(lambda document: part in document.get(f"{noun}Name", "").lower())
    if "WarmPoolStatusEquals" in request or "TrainingPlanArnEquals" in request:
        tests.append(lambda _: False)  # both are refused when a job is made, so no job has any
    if "StatusEquals" in request:
        tests.append(lambda document: document.get(f"{noun}Status") == request["StatusEquals"])
    for name in _TIMES:
        if any(request.get(f"{name}{side}") is not None for side in ("After", "Before")):
            tests.append(partial(_in_time, request, name))
    return tests


def _in_time(request: Document, name: str, document: Document) -> bool:
    moment, after, before = document.get(name), request.get(f"{name}After"), request.get(f"{name}Before")
    if moment is None:
        return False
    return (after is None or moment >= _epoch(after)) and (before is None or moment <= _epoch(before))


def _epoch(value: Any) -> float:
    if isinstance(value, str):
        raise invalid(f"Timestamps are epoch seconds, got {value!r}.")
    return float(value)


def _start(request: Document) -> int:
    token = request.get("NextToken")
    if token is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(token)
    except ValueError:
        text = b""
    if not _TOKEN.fullmatch(text):
        raise invalid(f"The NextToken {token!r} is not valid; use the one of the previous answer.")
    return int(text)
