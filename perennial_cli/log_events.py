"""What the functions, jobs, executions and the endpoint of a stack have logged."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial.runs.run_id import RUN_ID
from perennial_cli import stacks
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

JOBS = "/aws/sagemaker/{}Jobs"
OF_JOBS = tuple(JOBS.format(kind) for kind in ("Processing", "Training", "Transform"))
OF_A_STACK = ("/aws/lambda/{}-", "/aws/vendedlogs/states/{}-", "/aws/sagemaker/Endpoints/{}", "/aws/apigateway/{}")
MOST_PAGES = 20


def groups(stack: Stack) -> list[str]:
    """Return the log groups of a stack, and those that its jobs share with the account's others."""
    others = _longer(stack.name)
    listed = (name for prefix in OF_A_STACK for name in _named(prefix.format(stack.name)))
    return sorted({*(name for name in listed if _is_of(stack.name, name, others)), *OF_JOBS})


def _named(prefix: str) -> Iterator[str]:
    pages = boto3.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    yield from (group["logGroupName"] for page in pages for group in page["logGroups"])


def _longer(stack: str) -> list[str]:
    """Return the stacks whose names go on where this one's ends, such as cars-eu; none where they may not be listed."""
    try:
        return [name for name in stacks.names() if name.startswith(f"{stack}-")]
    except ClientError:
        return []


def _is_of(stack: str, name: str, others: Iterable[str]) -> bool:
    """Return whether a log group is a stack's, and not that of one whose name begins with this one's."""

    def fits(one: str) -> bool:
        prefixes = (prefix.format(one) for prefix in OF_A_STACK)
        return any(name.startswith(prefix) if prefix.endswith("-") else name == prefix for prefix in prefixes)

    return fits(stack) and not any(fits(one) for one in others)


def newest(stack: Stack, group: str, streams: str, hours: float, most: int) -> list[dict[str, Any]]:
    """Return the newest lines of the last hours, the oldest first: at most so many, and of jobs those of the stack.

    streams  what the names of their streams begin with

    Raises CommandError: the group is none of the stack.
    """
    if group not in OF_JOBS and not _is_of(stack.name, group, _longer(stack.name)):
        raise CommandError(f"{stack.name} has no log group {group}")
    only: dict[str, Any] = {"logStreamNamePrefix": streams} if streams else {}
    if group in OF_JOBS and not streams.startswith(f"{stack.name}-"):
        only = {"logStreamNamePrefix": f"{stack.name}-"}
    own = re.compile(rf"{re.escape(stack.name)}-{RUN_ID.pattern}-" if group in OF_JOBS else "")
    since = int((datetime.now(UTC) - timedelta(hours=hours)).timestamp() * 1000)
    pages = boto3.client("logs").get_paginator("filter_log_events")
    events: deque[dict[str, Any]] = deque(maxlen=most)
    try:
        for number, page in enumerate(pages.paginate(logGroupName=group, startTime=since, **only)):
            events.extend(one for one in page["events"] if own.match(one["logStreamName"]))
            if number == MOST_PAGES:
                break
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    return [
        {
            "time": datetime.fromtimestamp(one["timestamp"] / 1000, UTC).isoformat(timespec="milliseconds"),
            "stream": one["logStreamName"],
            "message": one["message"],
        }
        for one in sorted(events, key=lambda one: int(one["timestamp"]))
    ]
