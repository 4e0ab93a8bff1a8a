"""What the functions, jobs, executions and the endpoint of a stack have logged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

JOBS = "/aws/sagemaker/{}Jobs"
OF_JOBS = tuple(JOBS.format(kind) for kind in ("Processing", "Training", "Transform"))
OF_A_STACK = ("/aws/lambda/{}-", "/aws/vendedlogs/states/{}-", "/aws/sagemaker/Endpoints/{}", "/aws/apigateway/{}")
MOST_PAGES = 20


def groups(stack: Stack) -> list[str]:
    """Return the log groups of a stack, and those that its jobs share with the account's others."""
    return sorted({*(name for prefix in OF_A_STACK for name in _named(prefix.format(stack.name))), *OF_JOBS})


def _named(prefix: str) -> Iterator[str]:
    pages = boto3.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    names = (group["logGroupName"] for page in pages for group in page["logGroups"])
    yield from (name for name in names if _is_of(prefix, name))


def _is_of(prefix: str, name: str) -> bool:
    """Return whether a group is that of a prefix: another stack's name may begin with this one's."""
    return name.startswith(prefix) if prefix.endswith("-") else name == prefix


def newest(stack: Stack, group: str, streams: str, hours: float, most: int) -> list[dict[str, Any]]:
    """Return the newest lines of the last hours, the oldest first: at most so many, and of jobs those of the stack.

    streams  what the names of their streams begin with

    Raises CommandError: the group is none of the stack.
    """
    if group not in OF_JOBS and not any(_is_of(prefix.format(stack.name), group) for prefix in OF_A_STACK):
        raise CommandError(f"{stack.name} has no log group {group}")
    only: dict[str, Any] = {"logStreamNamePrefix": streams} if streams else {}
    if group in OF_JOBS and not streams.startswith(f"{stack.name}-"):
        only = {"logStreamNamePrefix": f"{stack.name}-"}
    since = int((datetime.now(UTC) - timedelta(hours=hours)).timestamp() * 1000)
    pages = boto3.client("logs").get_paginator("filter_log_events")
    events: deque[dict[str, Any]] = deque(maxlen=most)
    try:
        for number, page in enumerate(pages.paginate(logGroupName=group, startTime=since, **only)):
            events.extend(page["events"])
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
