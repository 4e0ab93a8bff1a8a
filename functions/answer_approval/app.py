"""Let a run go on, or end, when somebody has approved or rejected the version that it waits for.

Called by  EventBridge, "SageMaker Model Package State Change", of versions of the stack's group whose approval changed

What the registry says now is what counts: events may come more than once, and in another order than the answers.
What fails here is raised, so that Lambda tries again and then keeps the event in the dead-letter queue.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial_aws import approvals, payloads

logger = Logger()


class Detail(TypedDict):
    """The detail of the event, as far as it is read."""

    ModelPackageArn: str


@dataclass(frozen=True)
class Request:
    """The event."""

    detail: Detail


@dataclass(frozen=True)
class Answer:
    """The version, what the registry says of it (None: it is gone), and whether a run that waited has heard it."""

    Version: str
    Status: str | None
    Resumed: bool


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tell the run that waits, if one does."""
    arn = payloads.read(Request, event).detail["ModelPackageArn"]
    described = approvals.version(arn)
    status = str(described["ModelApprovalStatus"]) if described else None
    answer = Answer(arn, status, bool(described and approvals.resume(described)))
    logger.info("answered", version=arn, status=answer.Status, resumed=answer.Resumed)
    return asdict(answer)
