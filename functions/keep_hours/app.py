"""Delete the endpoint outside of its hours, make it again within them (AwakeHours), and let it scale (MaxInstances).

Called by  EventBridge: the clock; the end of an execution of train_model; an endpoint that is in service, or has failed
           publish_job_code: a deployment has changed hours or scaling
Reads      the configuration of the model in service (Parameter Store), whose turn it is to deploy
Writes     the endpoint, and whether it scales; a message where it could not be made, once, with or without hours
Raises     EndpointGoesError: it is being deleted and has to be there. Transient.

What counts is the time now and how the endpoint is, so that events may come twice, late or in another order. While a
run deploys nothing is done: its end is an event. Model, configuration and names stay.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from perennial.runs import endpoint, message
from perennial.serving import hours, scaling
from perennial_aws import autoscaling, champion, ends, payloads, runs
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger()

STATUS = "NotAwake"  # of the message, for the filters of subscriptions
SAID_SECONDS = 7 * 86400
Done = Literal[endpoint.Due, "Scale"]


@dataclass(frozen=True)
class Request:
    """The event; that of a deployment says what has "Ended": "Hours", "Scaling" or both."""

    id: str
    source: Literal["aws.cloudformation", "aws.events", "aws.sagemaker", "aws.states"]
    detail: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What was done of the endpoint, and how it was."""

    Done: Done
    Status: str | None


class EndpointGoesError(Exception):
    """The endpoint is being deleted, and can be made when it is gone."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Do what is due now."""
    request, when = payloads.read(Request, event), hours.read(settings.hours)
    ended = request.detail.get("Ended", ())
    if "Scaling" in ended:
        autoscaling.deregister()
    described = if_there(client("sagemaker").describe_endpoint, EndpointName=settings.endpoint_name)
    status = str(described["EndpointStatus"]) if described else None
    act: Done = endpoint.due(
        status,
        awake=when is None or when.awake(datetime.now(UTC)),
        may_wake=_may_wake(request, when),
        has_failed=request.detail.get("EndpointStatus") == "FAILED",
    )
    if act == "Nothing" and status == "InService" and (wanted := scaling.read(settings.scaling)):
        act = "Nothing" if autoscaling.is_as(wanted) else "Scale"
    if act != "Nothing" and (run := runs.deploying()):
        logger.info("left to the run that deploys", run_id=run, act=act)
        act = "Nothing"
    if act == "Tell" and described and described["EndpointConfigName"] != champion.config_name():
        act = "Nothing"  # a run has made it, whose own mail says so
    answer = Answer(_do(act, request.id, described or {}), status)
    logger.info("looked", endpoint=settings.endpoint_name, status=status, done=answer.Done)
    return asdict(answer)


def _may_wake(request: Request, when: hours.Hours | None) -> bool:
    """Return whether what has happened makes the endpoint: without hours only that they have ended."""
    if when is None:
        return "Hours" in request.detail.get("Ended", ())
    return when.wake_by == "clock" or request.source == "aws.states"


def _do(act: Done, event_id: str, described: dict[str, Any]) -> Done:
    if act == "Scale" and (wanted := scaling.read(settings.scaling)):
        autoscaling.register(wanted)
    if act in ("Delete", "Recreate"):
        autoscaling.deregister()
        if_there(client("sagemaker").delete_endpoint, EndpointName=settings.endpoint_name)
    if act in ("LookAgain", "Recreate"):
        raise EndpointGoesError(f"endpoint {settings.endpoint_name} is being deleted, and is to be there now")
    if act == "Tell":
        why = described.get("FailureReason") or "its creation failed, and SageMaker does not say why"
        _tell(why, f"{described['CreationTime']:%Y-%m-%dT%H:%M:%SZ}", event_id)
    return _create(event_id) if act == "Create" else act


def _create(event_id: str) -> endpoint.Due:
    """Create the endpoint of the model in service, with the tags of its configuration; there may be none yet."""
    config = champion.config_name()
    if config is None:
        return "Nothing"
    sagemaker = client("sagemaker")
    try:
        arn = sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"]
        tags = sagemaker.list_tags(ResourceArn=arn)["Tags"]
        sagemaker.create_endpoint(EndpointName=settings.endpoint_name, EndpointConfigName=config, Tags=tags)
    except ClientError as error:
        if "already existing" in str(error):  # SageMaker has one code for all that it refuses
            return "Nothing"
        _tell(str(error), event_id, event_id)
        return "Tell"
    return "Create"


def _tell(why: str, what: str, event_id: str) -> None:
    """Tell people once of each failure: SageMaker may send several events of one."""
    text = message.not_awake(settings.stack_name, why, has_hours=hours.read(settings.hours) is not None)
    if runs.is_first_to_say(f"not-awake#{what}", event_id, SAID_SECONDS):
        ends.publish(settings.topic_arn, text, STATUS)
