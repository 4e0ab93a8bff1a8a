"""EventBridge as on AWS, where MiniStack's delivery differs.

* Events of a versioned bucket carry `detail.object.version-id` (contracts: S3 User Guide, "ev-events").
* An event that cannot be delivered is tried again, or goes to the target's dead-letter queue (`deliveries.py`). Not
  deliverable are: the target does not exist, or a state machine refuses its input.
* An event goes to a bus of another account, which MiniStack does not look for, and a bus that is not there is said.
* Lambda targets are invoked asynchronously with Lambda's own retries and failure destinations (`functions.py`).
* The name of an execution that an event starts is that of the delivery, which starts it once only when it is repeated.
* An event whose detail is no JSON object is refused (AWS's answer is recorded in github.com/localstack/localstack,
  tests/aws/services/events/test_events.snapshot.json).
* Alarms send 'CloudWatch Alarm State Change' (CloudWatch User Guide, "cloudwatch-and-eventbridge").
* An image that is pushed sends 'ECR Image Action' (Amazon ECR User Guide, "ecr-eventbridge").
"""

import json
import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from localcloud.engine.eventbridge.deliveries import Deliveries, Delivery, fail
from localcloud.engine.journal import Journal
from localcloud.engine.seams import Seams

responses = Seams(
    "core.responses",
    get_account_id="270e1115",
    get_region="5f4ea734",
    json_response="4036e9b5",
    request_scope="1136c5e3",
)
ecr = Seams("services.ecr", _put_image="39aaa234")
cloudwatch = Seams("services.cloudwatch", _dispatch_alarm_actions="84dc6d68")
eventbridge = Seams(
    "services.eventbridge",
    _dispatch_event="62c46f8b",
    _dispatch_to_event_bus="1b64b186",
    _dispatch_to_lambda="c85a227d",
    _dispatch_to_sns="b9adfff1",
    _dispatch_to_sqs="7da17941",
    _dispatch_to_stepfunctions="52b7fc40",
    _event_buses="02e75d97",
    _invoke_target="20155d64",
    _put_events="5806f9e2",
)
lambda_svc = Seams(
    "services.lambda_svc",
    _execution_record_for_config="bc713c95",
    _get_func_record_for_ref="ab104970",
    invoke_async_with_retry="a59c5982",
)
s3 = Seams("services.s3", _fire_s3_event="a5e2222d")
sns = Seams("services.sns", _topic_by_arn_any_scope="b274fbbc")
sqs = Seams("services.sqs", _queue_by_arn="941c4539")
stepfunctions = Seams("services.stepfunctions", _resolve_state_machine_arn="5e2f33a6", _start_execution="157b243b")

JsonObject = dict[str, Any]
logger = logging.getLogger(__name__)

_MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
_version_id: ContextVar[str | None] = ContextVar("version_id", default=None)
_delivered: ContextVar[tuple[str, Delivery] | None] = ContextVar("delivered", default=None)
_matches: ContextVar[list[Delivery] | None] = ContextVar("matches", default=None)


def register(journal: Journal, changed: Callable[[], None], settle: Callable[..., None]) -> Deliveries:
    """Replace the seams. MiniStack must be importable (the environment is set). Returns how events are delivered.

    `changed` is called for every event, which may change any service without a request to it, `settle` writes the
    services that a delivery has changed.
    """
    invoke_target = eventbridge._invoke_target

    def send(name: str, delivery: Delivery) -> None:
        token = _delivered.set((name, delivery))
        try:
            invoke_target(delivery.target, delivery.event, delivery.rule)
        finally:
            _delivered.reset(token)

    deliveries = Deliveries(journal, send, changed, settle)
    s3.replace("_fire_s3_event", _make_fire_s3_event)
    eventbridge.replace("_put_events", _make_put_events)
    eventbridge.replace("_dispatch_event", lambda original: _make_dispatch_event(original, deliveries))
    eventbridge.replace("_invoke_target", lambda _: _make_invoke_target(deliveries))
    eventbridge.replace("_dispatch_to_event_bus", _make_dispatch_to_event_bus)
    eventbridge.replace("_dispatch_to_lambda", lambda _: _dispatch_to_lambda)
    eventbridge.replace("_dispatch_to_sqs", _make_dispatch_to_sqs)
    eventbridge.replace("_dispatch_to_sns", _make_dispatch_to_sns)
    eventbridge.replace("_dispatch_to_stepfunctions", lambda _: _dispatch_to_stepfunctions)
    cloudwatch.replace("_dispatch_alarm_actions", _make_dispatch_alarm_actions)
    ecr.replace("_put_image", _make_put_image)
    return deliveries


def _make_put_events(original: Any) -> Any:
    def put_events(data: JsonObject, allow_aws_source: bool = False) -> Any:
        """Refuse the entries whose detail is no JSON object, each for itself, and send the others."""
        entries = data.get("Entries", [])
        good = [entry for entry in entries if _is_object(entry.get("Detail", "{}"))]
        status, headers, body = original({**data, "Entries": good}, allow_aws_source)
        if len(good) == len(entries) or status >= 400:
            return status, headers, body
        answer = json.loads(body)
        results = iter(answer["Entries"])
        answers = [next(results) if _is_object(entry.get("Detail", "{}")) else _MALFORMED for entry in entries]
        failed = answer["FailedEntryCount"] + len(entries) - len(good)
        return responses.json_response({"FailedEntryCount": failed, "Entries": answers})

    return put_events


def _is_object(detail: str) -> bool:
    try:
        return isinstance(json.loads(detail), dict)
    except (ValueError, TypeError, RecursionError):
        return False


def put_entry(entry: JsonObject, account_id: str, region: str) -> None:
    """Send an event as an AWS service does (PutEvents refuses sources that begin with `aws.`)."""
    with responses.request_scope(account_id, region):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def _make_fire_s3_event(original: Any) -> Any:
    def fire_s3_event(*arguments: Any, version_id: str | None = None, **options: Any) -> None:
        token = _version_id.set(version_id)
        try:
            original(*arguments, version_id=version_id, **options)
        finally:
            _version_id.reset(token)

    return fire_s3_event


def _make_dispatch_event(original: Any, deliveries: Deliveries) -> Any:
    def dispatch_event(event: JsonObject, view: Any = None) -> None:
        """Find all targets of an event, and only then deliver it: so they are written down together."""
        version = _version_id.get()
        if version and event.get("Source") == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event, view = {**event, "Detail": json.dumps(detail)}, None
        matches: list[Delivery] = []
        token = _matches.set(matches)
        try:
            original(event, view)
        finally:
            _matches.reset(token)
        deliveries.take(*matches)

    return dispatch_event


def _make_invoke_target(deliveries: Deliveries) -> Any:
    def invoke_target(target: JsonObject, event: JsonObject, rule: JsonObject, view: Any = None) -> None:
        """Deliver an event; a schedule comes here without a dispatch."""
        delivery = Delivery(target, event, rule)
        matches = _matches.get()
        deliveries.take(delivery) if matches is None else matches.append(delivery)

    return invoke_target


def _make_dispatch_to_event_bus(original: Any) -> Any:
    def dispatch_to_event_bus(spec: Any, event: JsonObject, *arguments: Any) -> None:
        """Put an event on a bus, also on one of another account, where it stays the event of the account it is from.

        EventBridge User Guide, "Sending and receiving events between AWS accounts".
        """
        event = {**event, "Account": event.get("Account") or responses.get_account_id()}
        with responses.request_scope(spec.account_id, spec.region):
            if spec.resource.removeprefix("event-bus/") not in eventbridge._event_buses:
                fail("NO_RESOURCE", f"Event bus {spec} does not exist.")
                return
            original(spec, event, *arguments)

    return dispatch_to_event_bus


def _dispatch_to_lambda(arn: str, payload: str) -> None:
    func, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if not func or not config:
        fail("NO_RESOURCE", f"Function not found: {arn}")
        return
    try:
        event = json.loads(payload)
    except ValueError:
        event = {"body": payload}
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(func, config), event)


def _make_dispatch_to_sqs(original: Any) -> Any:
    def dispatch_to_sqs(spec: Any, payload: str, sqs_parameters: JsonObject | None = None) -> None:
        if not sqs._queue_by_arn(str(spec)):
            fail("NO_RESOURCE", f"The specified queue does not exist: {spec}")
            return
        original(spec, payload, sqs_parameters)

    return dispatch_to_sqs


def _make_dispatch_to_sns(original: Any) -> Any:
    def dispatch_to_sns(arn: str, payload: str) -> None:
        if not sns._topic_by_arn_any_scope(arn):
            fail("NO_RESOURCE", f"Topic does not exist: {arn}")
            return
        original(arn, payload)

    return dispatch_to_sns


def _dispatch_to_stepfunctions(arn: str, payload: str) -> None:
    if stepfunctions._resolve_state_machine_arn(arn) is None:
        fail("NO_RESOURCE", f"State Machine Does Not Exist: '{arn}'")
        return
    request = {"stateMachineArn": arn, "input": payload}
    if delivered := _delivered.get():
        request["name"] = f"{delivered[1].event['EventId']}_{delivered[0]}"  # AWS's form: two UUIDs
    status, _, body = stepfunctions._start_execution(request)
    answer = json.loads(body)
    if status >= 400 and not answer.get("__type", "").endswith("ExecutionAlreadyExists"):
        fail("ERROR_FROM_TARGET", answer["message"])


def _make_put_image(original: Any) -> Any:
    def put_image(data: JsonObject) -> Any:
        status, headers, body = original(data)
        if status < 400:
            image = json.loads(body)["image"]
            tag = {"image-tag": image["imageId"]["imageTag"]} if "imageTag" in image["imageId"] else {}
            detail = {
                "result": "SUCCESS",
                "repository-name": image["repositoryName"],
                "image-digest": image["imageId"]["imageDigest"],
                "action-type": "PUSH",
                **tag,
            }
            entry = {"Source": "aws.ecr", "DetailType": "ECR Image Action", "Detail": json.dumps(detail)}
            put_entry(entry, responses.get_account_id(), responses.get_region())
        return status, headers, body

    return put_image


def _make_dispatch_alarm_actions(original: Any) -> Any:
    def dispatch_alarm_actions(alarm: JsonObject, old_state: str, new_state: str, reason: str) -> None:
        original(alarm, old_state, new_state, reason)
        try:
            _announce_alarm(alarm, old_state, new_state, reason)
        except Exception:  # an event that cannot be built must not undo the alarm's actions
            logger.exception("no event for alarm %s", alarm.get("AlarmName"))

    return dispatch_alarm_actions


def _announce_alarm(alarm: JsonObject, old_state: str, new_state: str, reason: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    metric = {"namespace": alarm.get("Namespace"), "name": alarm.get("MetricName"), "dimensions": _dimensions(alarm)}
    statistic = {"metric": metric, "period": alarm.get("Period"), "stat": alarm.get("Statistic")}
    detail = {
        "alarmName": alarm["AlarmName"],
        "configuration": {
            "description": alarm.get("AlarmDescription", ""),
            "metrics": [{"id": str(uuid.uuid4()), "metricStat": statistic, "returnData": True}],
        },
        "previousState": {"value": old_state},
        "state": {"value": new_state, "reason": reason, "timestamp": now},
    }
    entry = {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Resources": [alarm["AlarmArn"]],
        "Detail": json.dumps(detail),
    }
    put_entry(entry, responses.get_account_id(), responses.get_region())


def _dimensions(alarm: JsonObject) -> dict[str, str]:
    return {entry["Name"]: entry["Value"] for entry in alarm.get("Dimensions") or []}
