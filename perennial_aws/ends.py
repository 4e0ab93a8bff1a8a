"""Ends of executions, as EventBridge tells of them: worked on once, however often the event comes, and told to people.

What fails is raised, so that Lambda tries again and then keeps the event in the dead-letter queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypedDict

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import facts, record
from perennial.runs.message import Message
from perennial_aws.clients import client
from perennial_aws.settings import settings

# EventBridge delivers an event for up to 24 hours; Lambda tries for 6.
REMEMBER_SECONDS = 7 * 24 * 3600


class Detail(TypedDict):
    """The detail of the event, as far as it is read: that of an execution with encrypted data holds no more."""

    executionArn: str
    status: str
    stopDate: int | None


def once(tell: Callable[..., dict[str, Any]], detail: Detail, context: LambdaContext) -> dict[str, Any]:
    """Return what `tell(end=, detail=)` answers to the end of an execution, and the same when its event comes again."""
    end = {"execution_arn": detail["executionArn"], "stop_date": detail.get("stopDate")}
    configured = IdempotencyConfig(expires_after_seconds=REMEMBER_SECONDS)
    configured.register_lambda_context(context)
    tell_once = idempotent_function(tell, data_keyword_argument="end", persistence_store=store(), config=configured)
    return dict(tell_once(end=end, detail=detail))


@cache
def store() -> DynamoDBPersistenceLayer:
    """Return where it is kept which ends were worked on: the run table."""
    return DynamoDBPersistenceLayer(
        table_name=settings.run_table,
        key_attr="id",
        expiry_attr="expires_at",
        boto3_client=client("dynamodb"),
    )


def history(execution_arn: str) -> Iterator[dict[str, Any]]:
    """Yield the events of an execution, the oldest first, without its data."""
    pages = client("stepfunctions").get_paginator("get_execution_history")
    wanted = {"executionArn": execution_arn, "includeExecutionData": False, "PaginationConfig": {"PageSize": 1000}}
    for page in pages.paginate(**wanted):
        yield from page["events"]


def waited(execution_arn: str) -> list[str]:
    """Return what an execution that scores a file or judges a window has waited for.

    Their jobs are made again, by the same state, where SageMaker had no machine or has lost them, and for nothing else.
    """
    events = list(history(execution_arn))
    entered = Counter(one["stateEnteredEventDetails"]["name"] for one in events if one["type"] == "TaskStateEntered")
    why = "SageMaker had no machine or lost it"
    again = [
        f"in state {state!r}, its job was made again {facts.counted_times(times - 1)}: {why}"
        for state, times in entered.items()
        if times > 1
    ]
    return [*facts.for_quotas(record.retries(events)), *again]


def publish(topic_arn: str, text: Message, status: str) -> str:
    """Send a message to a topic, with the attributes by which subscriptions filter; return its id."""
    reply = client("sns").publish(
        TopicArn=topic_arn,
        Subject=text.subject,
        Message=text.body,
        MessageAttributes={
            "Status": {"DataType": "String", "StringValue": status},
            "Stack": {"DataType": "String", "StringValue": settings.stack_name},
        },
    )
    return str(reply["MessageId"])
