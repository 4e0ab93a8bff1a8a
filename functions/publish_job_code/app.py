"""Check a deployment and publish its job code to the bucket; when the stack is deleted, delete what its runs made.

Called by  CloudFormation, custom resources JobCode and RunsMade: on create, on update and on delete of the stack.
Raises     nothing: the answer to CloudFormation names the error, such as ConfigurationError, DefinitionError or
           StackNameError, and the deployment fails.

Definitions, stack parameters and the stack's name are checked first: what is wrong fails the deployment, with the
reason. Where an update changes when the endpoint is there, or how it scales, keep_hours looks at it. Code that is
published is kept, because records refer to it, unless the stack could not be created: then the bucket is deleted as
well, which has to be empty. What runs made (take_down) ends only with the stack itself, not when CloudFormation takes
RunsMade back with an update.
CloudFormation always gets an answer, without which a stack hangs until ServiceTimeout: also when this fails, when it is
about to run out of time, and when the layer cannot be loaded, of which this module therefore imports nothing at first.
"""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPException
from typing import Any, Literal, NotRequired, TypedDict

logger = logging.getLogger(__name__)

SECONDS_TO_ANSWER = 5
MAX_ANSWER_BYTES = 4096  # CloudFormation User Guide, "Custom resource response objects", Note
ANSWER_ATTEMPTS = 4
TOO_SLOW = "it took longer than the function may run; deploy again, or delete the stack again"


class Request(TypedDict):
    """The request of a custom resource (CloudFormation User Guide, "Custom resource request objects").

    ResourceProperties may hold StackOverrides (JSON text), AlertEmails (list of texts) and anything that changes when
    there is something to publish or to check, such as the layer's ARN.
    """

    RequestType: Literal["Create", "Update", "Delete"]
    ResponseURL: str
    StackId: str
    RequestId: str
    ResourceType: str
    LogicalResourceId: str
    PhysicalResourceId: NotRequired[str]
    ResourceProperties: NotRequired[dict[str, Any]]
    OldResourceProperties: NotRequired[dict[str, Any]]


class Answer(TypedDict):
    """The answer to it ("Custom resource response objects").

    Data  of what was published: CodeHash, CodeUri (s3://bucket/code/<hash>), Commit
    """

    Status: Literal["SUCCESS", "FAILED"]
    Reason: str
    PhysicalResourceId: str
    StackId: str
    RequestId: str
    LogicalResourceId: str
    Data: dict[str, str]


Outcome = tuple[Literal["SUCCESS", "FAILED"], str, dict[str, str]]


def handler(event: Request, context: Any) -> None:
    """Do what is asked within the time there is, and answer."""
    seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_ANSWER
    status, reason, data = _outcome(event, max(seconds, 1))
    _send(event["ResponseURL"], _answer(event, status, reason, data))


def _outcome(event: Request, seconds: float) -> Outcome:
    """(status, reason, data) of the work; what is not done in time goes on while the function lives."""
    pool = ThreadPoolExecutor(1)
    work = pool.submit(_work, event)
    pool.shutdown(wait=False)
    wait([work], seconds)
    if not work.done():
        return "FAILED", TOO_SLOW, {}
    if error := work.exception():
        logger.error("publishing failed", exc_info=error)
        return "FAILED", f"{type(error).__name__}: {error}", {}
    return "SUCCESS", "done", work.result()


def _work(event: Request) -> dict[str, str]:
    properties = event.get("ResourceProperties", {})
    is_job_code = event.get("ResourceType") != "Custom::RunsMade"
    if event["RequestType"] == "Delete":
        status = _stack_status(event["StackId"])
        if is_job_code and status == "ROLLBACK_IN_PROGRESS":
            _delete_code()
        if not is_job_code and status == "DELETE_IN_PROGRESS":
            from perennial_aws import take_down

            take_down.take_down(properties["StateMachineArn"])
    elif is_job_code:
        from perennial_aws import job_code

        return job_code.publish(properties)
    elif event["RequestType"] == "Update":
        from perennial_aws import endpoint_changes

        endpoint_changes.tell(event["RequestId"], event.get("OldResourceProperties", {}), properties)
    return {}


def _stack_status(stack_id: str) -> str:
    import boto3

    described = boto3.client("cloudformation").describe_stacks(StackName=stack_id)
    return str(described["Stacks"][0]["StackStatus"])


def _delete_code() -> None:
    """Delete all versions: nothing else was put into a bucket whose stack could not be created."""
    import boto3

    s3, bucket = boto3.client("s3"), os.environ["BUCKET"]
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="code/"):
        for version in page.get("Versions", []):
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def _answer(event: Request, status: Literal["SUCCESS", "FAILED"], reason: str, data: dict[str, str]) -> bytes:
    """Return the answer as CloudFormation takes it; a reason that is too long for it loses its end."""
    logical_id = event["LogicalResourceId"]
    body: Answer = {
        "Status": status,
        "Reason": reason,
        # The same for ever: CloudFormation deletes the old resource when this changes.
        "PhysicalResourceId": event.get("PhysicalResourceId") or f"{os.environ['STACK_NAME']}-{logical_id}",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": logical_id,
        "Data": data,
    }
    while len(content := json.dumps(body).encode()) > MAX_ANSWER_BYTES and reason:
        reason = reason[: len(reason) * 9 // 10]
        body["Reason"] = f"{reason}…"
    return content


def _send(address: str, content: bytes) -> None:
    """Put the answer at the address that CloudFormation gave; the address is signed for an empty content type."""
    request = urllib.request.Request(address, content, {"Content-Type": ""}, method="PUT")  # noqa: S310
    for attempt in range(1, ANSWER_ATTEMPTS + 1):
        try:
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        except (OSError, HTTPException):
            if attempt == ANSWER_ATTEMPTS:
                raise
            time.sleep(2**attempt / 4)
        else:
            return
