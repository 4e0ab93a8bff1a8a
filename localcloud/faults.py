"""Faults on purpose: which operation, job, function or endpoint fails, how, and how often. docs/faults.md is the guide.

A fault waits for what it matches, strikes `times` times, and then lets everything through again. Faults live in the
memory of the local cloud: a restart forgets them. Nothing here strikes unless somebody has asked for it.

The hooks are one line each at the places where requests pass: `take` there says whether a fault strikes. This module
knows of the local cloud only how to ask it, so every part may import it.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import re
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from localcloud import access
from localcloud.service_models import service_model

PATH = "/_localcloud/faults"
ALWAYS = 0

# What a fault may do, by the first word of its operation.
EFFECTS = {
    "sagemaker": ("error", "delay"),
    "task": ("error", "delay"),
    "function": ("error", "timeout", "throttle", "delay"),
    "event": ("error", "throttle"),
    "job": (
        *("raise", "exit", "kill", "hang", "overrun", "no-capacity", "interrupt"),
        *("lose-output", "lose-metrics", "answer", "delay"),
    ),
    "endpoint": ("creation-fails", "update-rolls-back", "new-model-fails", "answers-wrongly", "delay"),
}
_HOLD_SECONDS = 0.05
NEEDS = {"error": "error", "delay": "seconds", "exit": "exit_code", "answer": "answer"}
# The least and the most of a number. A program that ends with 0 has not failed, and a code has one byte.
RANGES = {"exit_code": (int, 1, 255), "seconds": (int | float, 0, 86_400), "skip": (int, 0, 1_000_000)}
# Codes that AWS's services share have texts of their own; another code needs a message.
TEXTS = {
    "ThrottlingException": "Rate exceeded",
    "ResourceLimitExceeded": "The account-level service limit for this resource is reached. Please use AWS Service "
    "Quotas to request an increase for this quota.",
    "AccessDeniedException": "The role is not authorized to perform this operation because no identity-based policy "
    "allows it",
    "InternalFailure": "The request processing has failed because of an unknown error, exception or failure.",
    "ServiceUnavailable": "The request has failed due to a temporary failure of the server.",
    "THROTTLING": "Rate exceeded",
}
STATUSES = {"InternalFailure": 500, "ServiceUnavailable": 503}


class FaultError(ValueError):
    """A fault that is not possible: the text says what is wrong and what is possible."""


@dataclass
class Fault:
    """One fault.

    operation  `sagemaker:<Operation>` an API call, whoever makes it; `task:<service>:<action>` a task of a state
               machine; `function:<name>`; `event:<part of its target's name>` a delivery by EventBridge;
               `job:<part of its name>`; `endpoint`. `*` stands for any.
    effect     what happens; EFFECTS says which are possible for which operation
    name       glob over the full name: of the resource that is asked for, of the state machine (task), of the function,
               of the event's rule, of the job, of the endpoint
    times      how often it strikes; ALWAYS, which is 0, is without end
    skip       how many matching calls pass before it strikes
    after      functions and operations of SageMaker: the work is done, and the answer is lost
    """

    operation: str
    effect: str
    name: str = "*"
    times: int = 1
    skip: int = 0
    error: str = ""
    message: str = ""
    exit_code: int | None = None
    seconds: float | None = None
    answer: str = ""
    after: bool = False
    id: int = 0
    fired: int = 0
    passed: int = 0
    last_fired: float | None = None

    @property
    def kind(self) -> str:
        return self.operation.partition(":")[0]

    @property
    def text(self) -> str:
        """The error's text: the one that was given, or AWS's."""
        return self.message or TEXTS.get(self.error, "A fault was injected into the local cloud.")

    @property
    def status(self) -> int:
        """The HTTP status of the error."""
        return STATUSES.get(self.error, 400)

    def matches(self, operation: str, name: str) -> bool:
        """Return whether this fault is meant; functions, jobs and targets of events go by a part of their names."""
        if self.times != ALWAYS and self.fired >= self.times:
            return False
        if self.kind != operation.partition(":")[0] or not fnmatchcase(name, self.name):
            return False
        wanted, operation_name = self.operation.partition(":")[2] or "*", operation.partition(":")[2]
        if self.kind in ("job", "function", "event"):
            return wanted == "*" or _has_part(operation_name, wanted)
        return fnmatchcase(operation_name, wanted)

    def as_json(self) -> dict[str, Any]:
        """Return what is set, and how often it fired."""
        members = {name: value for name, value in asdict(self).items() if value not in ("", None, False, 0)}
        if self.exit_code is not None:
            members["exit_code"] = self.exit_code
        return {**members, "times": self.times or "always", "fired": self.fired}


def _has_part(name: str, part: str) -> bool:
    """`train` is a part of `cars-2026-train-0`, and `clean_up` of `cars-CleanUpFunction-1A2B`; `rain` of neither."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()
    wanted = re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")
    return f"-{wanted}-" in "-" + re.sub(r"[^a-z0-9]+", "-", words) + "-"


def checked(document: Mapping[str, Any]) -> Fault:
    """Make a fault of a JSON document.

    Raises:
        FaultError: something is missing, unknown or impossible.
    """
    possible = {item.name for item in fields(Fault)} - {"id", "fired", "passed", "last_fired"}
    if unknown := sorted(set(document) - possible):
        raise FaultError(f"unknown: {', '.join(unknown)}; a fault has {', '.join(sorted(possible))}")
    for name in ("operation", "effect"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise FaultError(f"{name} is missing")
    fault = Fault(**{**document, "times": _times(document.get("times", 1))})
    if fault.kind not in EFFECTS:
        known = ", ".join(f"{kind}{'' if kind == 'endpoint' else ':...'}" for kind in EFFECTS)
        raise FaultError(f"{fault.operation!r} is no operation that can fail here; there are {known}")
    if fault.kind != "endpoint" and not fault.operation.partition(":")[2]:
        raise FaultError(f"{fault.operation!r} does not say which; for example {fault.kind}:*")
    if fault.effect not in EFFECTS[fault.kind]:
        raise FaultError(f"{fault.operation} cannot {fault.effect!r}; possible are {', '.join(EFFECTS[fault.kind])}")
    needed = NEEDS.get(fault.effect)
    if needed and getattr(fault, needed) in ("", None):
        raise FaultError(f"the effect {fault.effect!r} needs {needed}")
    if fault.after and (fault.kind not in ("sagemaker", "function") or fault.effect == "delay"):
        raise FaultError(
            "after is for errors of sagemaker:... and function:...; the others have no answer that is lost"
        )
    for name in RANGES:
        _check_number(name, getattr(fault, name))
    if fault.kind == "sagemaker":
        _check_operation(fault.operation.partition(":")[2])
    return fault


def _times(value: Any) -> int:
    if value == "always":
        return ALWAYS
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FaultError(f"times must be a number from 1, or 'always'; got {value!r}")
    return value


def _check_number(name: str, value: Any) -> None:
    kind, least, most = RANGES[name]
    if value is None or (isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most):
        return
    raise FaultError(f"{name} must be a number from {least} to {most}; got {value!r}")


def _check_operation(wanted: str) -> None:
    """Refuse an operation, or a glob over operations, that SageMaker does not have."""
    known = _sagemaker_operations()
    if any(fnmatchcase(operation, wanted) for operation in known):
        return
    by_lower = {operation.lower(): operation for operation in known}
    near = [by_lower[each] for each in difflib.get_close_matches(wanted.lower(), by_lower)]
    hint = (
        f"did you mean {' or '.join(near)}?" if near else "there are CreateTrainingJob, UpdateEndpoint, Describe*, ..."
    )
    raise FaultError(f"SageMaker has no operation {wanted!r}; {hint}")


@lru_cache(maxsize=1)
def _sagemaker_operations() -> list[str]:
    services = ("sagemaker", "sagemaker-runtime")
    return [operation for service in services for operation in service_model(service).operation_names]


@dataclass
class Faults:
    """All faults of one local cloud. Safe for threads."""

    _all: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 1

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            fault.id, self._next = self._next, self._next + 1
            self._all.append(fault)
        return fault

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.as_json() for fault in self._all]

    def clear(self, number: int | None = None) -> int:
        """Forget one fault, or all; returns how many there were."""
        with self._lock:
            others = [fault for fault in self._all if number is not None and fault.id != number]
            cleared, self._all = len(self._all) - len(others), others
        return cleared

    def is_there(self, fault: Fault) -> bool:
        """Return whether a fault is still set."""
        with self._lock:
            return any(other is fault for other in self._all)

    def take(self, operation: str, name: str, *effects: str) -> Fault | None:
        """Return the fault that strikes now, counted, or None. `effects` are those the caller can have."""
        if not self._all:  # the usual case costs nothing
            return None
        with self._lock:
            for fault in self._all:
                if not fault.matches(operation, name) or (effects and fault.effect not in effects):
                    continue
                if fault.passed < fault.skip:
                    fault.passed += 1
                else:
                    fault.fired, fault.last_fired = fault.fired + 1, round(time.time(), 3)
                    return fault
        return None


injected = Faults()
"""The faults of this process."""

take = injected.take


def wait_out(fault: Fault, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait for the seconds of a fault; go on at once when it is cleared."""
    until = time.monotonic() + (fault.seconds or 0)
    while (seconds_left := until - time.monotonic()) > 0 and injected.is_there(fault):
        sleep(min(seconds_left, _HOLD_SECONDS))


async def wait_out_on_loop(fault: Fault) -> None:
    """As `wait_out`, while the event loop goes on."""
    until = time.monotonic() + (fault.seconds or 0)
    while (seconds_left := until - time.monotonic()) > 0 and injected.is_there(fault):
        await asyncio.sleep(min(seconds_left, _HOLD_SECONDS))


def answer_http(method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Answer `GET` (lists), `POST` (adds one) and `DELETE` (forgets one by /<id>, or all)."""
    number = path.removeprefix(PATH).strip("/")
    if method == "GET":
        return 200, {"faults": injected.listed()}
    if method == "DELETE" and (not number or number.isdecimal()):
        return 200, {"cleared": injected.clear(int(number) if number else None)}
    if method == "POST" and not number:
        try:
            document = json.loads(body)
            if not isinstance(document, dict):
                raise FaultError("expected a JSON object")
            return 201, injected.add(checked(document)).as_json()
        except (ValueError, TypeError) as error:
            return 400, {"message": str(error)}
    return 405, {"message": f"{method} {path}: GET, POST and DELETE {PATH} are possible"}


class Client:
    """The faults of a local cloud that runs, from another process.

    `variables` are those of `localcloud env`: the environment of a process, for example. `name` is the glob for every
    fault that says none itself: a stack's `perennial-used-cars*` leaves others alone.
    """

    def __init__(self, variables: Mapping[str, str], name: str = "*") -> None:
        self._variables, self._name = variables, name

    def add(self, operation: str, effect: str, **more: Any) -> int:
        """Add a fault (members of `Fault`); returns its number. Raises FaultError."""
        document = {"operation": operation, "effect": effect, "name": self._name, **more}
        return int(self._call("POST", "", document)["id"])

    def listed(self) -> list[dict[str, Any]]:
        return list(self._call("GET")["faults"])

    def fired(self, number: int) -> int:
        """Return how often a fault has struck."""
        return next(int(fault["fired"]) for fault in self.listed() if fault["id"] == number)

    def clear(self, number: int | None = None) -> int:
        """Forget one fault, or all; returns how many there were."""
        return int(self._call("DELETE", "" if number is None else f"/{number}")["cleared"])

    @contextmanager
    def injected(self, operation: str, effect: str, **more: Any) -> Iterator[int]:
        """Inject a fault for as long as the block lasts."""
        number = self.add(operation, effect, **more)
        try:
            yield number
        finally:
            self.clear(number)

    def _call(self, method: str, path: str = "", document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = b"" if document is None else json.dumps(document).encode()
        try:
            return dict(access.call(self._variables, method, PATH + path, body))
        except urllib.error.HTTPError as error:
            with error:
                raise FaultError(json.load(error).get("message", str(error))) from error
