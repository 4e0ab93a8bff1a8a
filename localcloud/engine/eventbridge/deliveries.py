"""Deliveries of EventBridge: the first try of each target, the retries, and the dead-letter queue.

* A delivery that fails is tried again with exponential backoff and jitter until one limit of the target's RetryPolicy
  is reached (185 times and 24 hours unless it says otherwise). AWS does not say how long the pauses are; here they
  double from one second to ten minutes, up to half of it left out at random: 185 of them last most of a day.
* What does not mend itself is not tried again. AWS names missing permissions, missing resources, and answers of the
  target with a status of 4xx other than 429; the list of codes here follows from that.
* Then the event goes as it was received to the target's dead-letter queue, with AWS's attributes, or is lost. So does
  one that EventBridge has no permission to deliver (`permissions/services.py`).

Services of one process do not fail by themselves, so that retries come of faults on purpose (docs/faults.md). A retry
is for the target as it was at the first try.

What is to be delivered is in the journal from the moment that its event is put, and until its target has it on the
disk. The next start goes on with it, so that a target may get an event twice, as on AWS.

Source: EventBridge User Guide, "eb-rule-retry-policy" and "eb-rule-dlq"; AWS re:Post,
"eventbridge-resolve-failedinvocation-errors" (4xx).
"""

import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from localcloud import faults
from localcloud.engine.journal import Entry, Journal
from localcloud.engine.permissions.services import dead_letter_refusal, delivery_refusal
from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import scopes
from localcloud.settings import enforced, retry_scale

responses = Seams("core.responses", get_account_id="270e1115", get_region="5f4ea734", request_scope="1136c5e3")
eventbridge = Seams("services.eventbridge", _pattern_event_view="5b0214f9")
sqs = Seams("services.sqs", _ensure_msg_fields="66389d58", _queue_by_arn="941c4539")

JsonObject = dict[str, Any]
Failure = tuple[str, str]  # ERROR_CODE, ERROR_MESSAGE
logger = logging.getLogger(__name__)

_LIMITS = {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400}
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 600.0
_NOT_RETRIED = frozenset(
    {"ERROR_FROM_TARGET", "FAILED_TO_ASSUME_ROLE", "INVALID_JSON", "INVALID_PARAMETER", "NO_PERMISSIONS", "NO_RESOURCE"}
)
_IN_MEMORY = {"sns", "sqs"}  # what they take is on the disk when they are settled; other targets see to that
origin: ContextVar[str] = ContextVar("origin", default="")
"""The entry of the journal that the event of this context was, before its deliveries were."""
_failure: ContextVar[Failure | None] = ContextVar("failure", default=None)


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target of a rule.

    retries      how often it has been tried again
    age_seconds  the pauses so far, as long as they are on AWS
    due          when it is tried next (seconds since 1970)
    """

    target: JsonObject
    event: JsonObject
    rule: JsonObject
    retries: int = 0
    age_seconds: float = 0.0
    due: float = 0.0

    def exhausted(self) -> str | None:
        """Return the limit of the target's RetryPolicy that has been reached, if one has."""
        reached = {"MaximumRetryAttempts": self.retries, "MaximumEventAgeInSeconds": self.age_seconds}
        return next((name for name, value in reached.items() if value >= self._limit(name)), None)

    def again(self) -> "Delivery":
        """Return the next try; how much older it is than this one is the pause before it."""
        longest = min(_FIRST_PAUSE_SECONDS * 2.0**self.retries, _LONGEST_PAUSE_SECONDS)
        age = self.age_seconds + longest * random.uniform(0.5, 1)
        return replace(self, retries=self.retries + 1, age_seconds=min(age, self._limit("MaximumEventAgeInSeconds")))

    def _limit(self, name: str) -> int:
        return int((self.target.get("RetryPolicy") or {}).get(name, _LIMITS[name]))


def fail(code: str, message: str) -> None:
    """Say, while a delivery is being sent, that it did not arrive."""
    _failure.set((code, message))


class Deliveries:
    """All deliveries.

    `send` hands one over once (its name and itself), and calls `fail` if that does not work. `changed` is called before
    every try, which may change any service without a request to it; `settle` writes the services that it names.
    """

    def __init__(
        self,
        journal: Journal,
        send: Callable[[str, Delivery], None],
        changed: Callable[[], None],
        settle: Callable[..., None],
    ) -> None:
        self._journal, self._send, self._changed, self._settle = journal, send, changed, settle

    def take(self, *deliveries: Delivery) -> None:
        """Write them down together, then try each of them once. Never waits."""
        names = self._journal.note(*map(_entry, deliveries), instead_of=origin.get())
        origin.set("")  # what follows from these is no longer its
        for name, delivery in zip(names, deliveries, strict=True):
            self._deliver(name, delivery)

    def resume(self, name: str, entry: Entry) -> None:
        """Go on with what an earlier process has left."""
        delivery = Delivery(**entry["delivery"])
        self._wait(name, delivery) if delivery.due > time.time() else self._deliver(name, delivery)

    def _deliver(self, name: str, delivery: Delivery) -> None:
        """Try once; if that fails, leave the rest to a timer or to the dead-letter queue."""
        self._changed()
        if failure := _try(delivery, partial(self._send, name)):
            condition = delivery.exhausted()
            if failure[0] not in _NOT_RETRIED and not condition:
                self._try_later(name, delivery, failure)
                return
            _dead_letter(delivery, failure, None if failure[0] in _NOT_RETRIED else condition)
            self._settle("sqs")
        self._settle(*_IN_MEMORY & {*delivery.target.get("Arn", "").split(":")[2:3]})
        self._journal.strike(name)

    def _try_later(self, name: str, delivery: Delivery, failure: Failure) -> None:
        following = delivery.again()
        pause = (following.age_seconds - delivery.age_seconds) * retry_scale()
        arn, retry = delivery.target.get("Arn"), following.retries
        logger.warning("event for %s was not delivered: %s; retry %d in %.2f s", arn, ": ".join(failure), retry, pause)
        following = replace(following, due=time.time() + pause)
        self._journal.replace(name, _entry(following))
        self._wait(name, following)

    def _wait(self, name: str, delivery: Delivery) -> None:
        def retry(scope: tuple[str, str]) -> None:
            if not scopes.shutting_down():  # what it would do now might not be saved any more
                with responses.request_scope(*scope):
                    self._deliver(name, delivery)

        pause = max(0.0, delivery.due - time.time())
        timer = threading.Timer(pause, retry, args=((responses.get_account_id(), responses.get_region()),))
        timer.daemon = True
        timer.start()


def _entry(delivery: Delivery) -> Entry:
    return {
        "kind": "delivery",
        "scope": (responses.get_account_id(), responses.get_region()),
        "delivery": vars(delivery),
    }


def _try(delivery: Delivery, send: Callable[[Delivery], None]) -> Failure | None:
    """Hand the event over as the rule may, unless somebody has asked for a failure; returns why it did not arrive."""
    token = _failure.set(None)
    try:
        if enforced() and (refusal := delivery_refusal(delivery.target, delivery.rule)):
            return "NO_PERMISSIONS", refusal
        resource = delivery.target.get("Arn", "").split(":", 5)[-1]
        if fault := faults.take(f"event:{resource}", delivery.rule.get("Name", "")):
            code = "THROTTLING" if fault.effect == "throttle" else fault.error
            return code, fault.message or faults.TEXTS.get(code, fault.text)
        send(delivery)
        return _failure.get()
    finally:
        _failure.reset(token)


def _dead_letter(delivery: Delivery, failure: Failure, condition: str | None = None) -> None:
    """Put the event as it was received into the target's dead-letter queue, if it has one."""
    target, rule, (code, message) = delivery.target, delivery.rule, failure
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    logger.warning("event for %s was not delivered: %s; dead-letter queue: %s", target.get("Arn"), message, queue_arn)
    queue = sqs._queue_by_arn(queue_arn) if queue_arn else None
    if queue is None or queue_arn is None:
        return
    if enforced() and (refusal := dead_letter_refusal(queue_arn, rule)):
        logger.warning("the event is lost, its dead-letter queue refuses it: %s", refusal)
        return
    attributes = {
        "RULE_ARN": rule.get("Arn", ""),
        "TARGET_ARN": target.get("Arn", ""),
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
        "RETRY_ATTEMPTS": str(delivery.retries),
        **({"EXHAUSTED_RETRY_CONDITION": condition} if condition else {}),
    }
    body = json.dumps(eventbridge._pattern_event_view(delivery.event).event_with_detail())
    _send(queue, body, {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()})


def _send(queue: JsonObject, body: str, attributes: dict[str, dict[str, str]]) -> None:
    now = time.time()
    message = {
        "id": str(uuid.uuid4()),
        "body": body,
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now,
        "receive_count": 0,
        "attributes": {},
        "message_attributes": attributes,
        "sys": {"SenderId": "events.amazonaws.com", "SentTimestamp": str(int(now * 1000))},
    }
    sqs._ensure_msg_fields(message)
    queue["messages"].append(message)
