"""Clients, made when they are first used, so that importing a function does no I/O."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# Throttling and hiccups are waited out here, with jitter: 8 attempts take up to about a minute. An endpoint may take 60
# seconds for one answer, so that it is asked less often.
_ATTEMPTS = {"sagemaker-runtime": 3}


def attempts(service: str) -> int:
    """Return how often a service is asked at most, before its error is raised."""
    return _ATTEMPTS.get(service, 8)


@cache
def client(service: str) -> Any:
    """Return the one client of this process for a service."""
    retries: Any = {"mode": "standard", "total_max_attempts": attempts(service)}
    config = Config(retries=retries, connect_timeout=5, read_timeout=65, max_pool_connections=32)
    return boto3.client(service, config=config)  # type: ignore[call-overload]


@cache
def impatient(service: str) -> Any:
    """Return the client of this process for a service where a caller waits: one attempt, of 20 seconds at most.

    API Gateway gives up after 29 seconds, and whoever is told of a failure may ask again.
    """
    retries: Any = {"mode": "standard", "total_max_attempts": 1}
    config = Config(retries=retries, connect_timeout=2, read_timeout=20, max_pool_connections=2)
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def code_of(error: ClientError) -> str:
    """Return the error code that AWS gave."""
    return str(error.response.get("Error", {}).get("Code", ""))


def if_there(operation: Callable[..., Any], **name: str) -> dict[str, Any] | None:
    """Return SageMaker's answer, or None when there is nothing of this name, or no more."""
    try:
        return dict(operation(**name))
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def is_missing(error: ClientError) -> bool:
    """Return whether SageMaker says that something does not exist.

    Only that of a tuning job has a code of its own: ValidationException stands for every refusal, and its text tells.
    """
    message = str(error.response.get("Error", {}).get("Message", ""))
    missing = message.startswith("Could not find") or message.endswith("does not exist.")
    return code_of(error) == "ResourceNotFound" or (code_of(error) == "ValidationException" and missing)
