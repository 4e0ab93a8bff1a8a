"""What callers are told when the endpoint gives no answer.

Sources: Amazon SageMaker API Reference, InvokeEndpoint, "Errors"; botocore's model of sagemaker-runtime. An endpoint
that is not there, or that is being created for the first time, is a ValidationError whose text says so; a model that
takes longer than 60 seconds is a ModelError without a status of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from perennial.serving.hours import Hours
from perennial.serving.problems import ProblemError, failed, not_there

THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException")
UNAVAILABLE = ("ServiceUnavailable", "ServiceUnavailableException", "ModelNotReadyException")
FAILED = ("InternalFailure", "InternalServerError", "InternalDependencyException")
RUN_SECONDS = 600  # until one may ask again whether a run has woken the endpoint
_OWN_WORDS = {400: HTTPStatus.BAD_REQUEST, 413: HTTPStatus.REQUEST_ENTITY_TOO_LARGE}


def of_response(response: Mapping[str, Any], when: Hours | None, now: datetime) -> ProblemError | None:
    """Return what an error of botocore is to a caller; None where it says nothing of endpoint and request.

    when  when the endpoint is there; None: always
    """
    code, message = response["Error"].get("Code", ""), response["Error"].get("Message", "")
    if code == "ModelError":
        return _of_model(response)
    if code == "ValidationError" and message.rstrip(".").endswith("not found"):
        return _not_there(when, now)
    if code == "ValidationError" and "length less than or equal" in message:
        detail = "the records are more than the endpoint takes; send fewer at a time"
        return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if code in THROTTLED:
        detail = "the endpoint is asked more often than it may be; ask again in a second, or less often"
        return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": "1"})
    if code in UNAVAILABLE:
        return not_there("the endpoint is not available for a while")
    return failed("the endpoint failed") if code in FAILED else None


def _not_there(when: Hours | None, now: datetime) -> ProblemError:
    """Return the refusal of an endpoint that sleeps, and until when; or that is not there for another reason."""
    if when is None or (when.awake(now) and when.wake_by == "clock"):
        return not_there("the endpoint is not there, or is being created")
    if when.awake(now):
        return not_there(
            f"the endpoint sleeps until the first run of today ends ({when})", RUN_SECONDS, is_expected=True
        )
    begins = when.begins(now)
    woken = "" if when.wake_by == "clock" else " at the earliest"
    text = f"the endpoint sleeps until {begins:%Y-%m-%dT%H:%M:%SZ}{woken} ({when})"
    return not_there(text, math.ceil((begins - now).total_seconds()), is_expected=True)


def _of_model(response: Mapping[str, Any]) -> ProblemError:
    """Return what a model's error is; its words are for callers only where it says that they are wrong."""
    status, text = response.get("OriginalStatusCode", 0), response.get("OriginalMessage", "")
    if status in _OWN_WORDS:
        return ProblemError(_OWN_WORDS[status], text or "the model refuses the records")
    if "timed out" in text or "timed out" in response["Error"].get("Message", ""):
        return late()
    return failed(f"the model failed with status {status}")


def late() -> ProblemError:
    """Return the refusal of a request whose answer did not come in time."""
    return ProblemError(HTTPStatus.GATEWAY_TIMEOUT, "the model did not answer in time; send fewer records, or again")
