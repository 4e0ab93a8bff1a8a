"""Permissions of AWS services that act for the stack without a request: EventBridge, Lambda, CloudWatch, SageMaker."""

import hashlib
import hmac
import logging
import os
from datetime import UTC, datetime
from typing import Any

from localcloud.engine.cloudwatch import metrics
from localcloud.engine.permissions import actions
from localcloud.engine.permissions.actions import Needs
from localcloud.engine.permissions.decisions import Denial, check, session_arn
from localcloud.engine.seams import Seams
from localcloud.settings import enforced

iam_evaluator = Seams("core.iam_evaluator", _resource_policy="881ce6ea")
lambda_runtime = Seams("core.lambda_runtime", execution_credentials="84d9fdeb")
responses = Seams("core.responses", request_scope="1136c5e3")
cloudwatch = Seams("services.cloudwatch", _dispatch_alarm_actions="84dc6d68")
cloudwatch_logs = Seams("services.cloudwatch_logs", _log_groups="efb237e9")
lambda_svc = Seams(
    "services.lambda_svc", _emit_lambda_logs="744516da", _functions="cdeb4246", _route_async_failure="59646370"
)
iam = Seams("services.iam", _roles="190f3297")
sts = Seams(
    "services.sts",
    _error="bb134803",
    _evict_expired_sessions="d28d3d3b",
    _session_expired="20122a5b",
    _session_policies="ac1a2d24",
    _sessions="c712c346",
    register_session="97189b42",
)

JsonObject = dict[str, Any]
logger = logging.getLogger(__name__)

_EVENTS, _LAMBDA, _CLOUDWATCH = "events.amazonaws.com", "lambda.amazonaws.com", "cloudwatch.amazonaws.com"
_SAGEMAKER, _API_GATEWAY = "sagemaker.amazonaws.com", "apigateway.amazonaws.com"
_TARGETS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}
"""Targets that a resource-based policy opens (EventBridge User Guide, "Using resource-based policies")."""
_ROLE_TARGETS = {"states": "states:StartExecution", "events": "events:PutEvents"}
"""Targets that EventBridge reaches under the target's role (EventBridge User Guide, "Target permissions")."""


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    lambda_runtime.replace("execution_credentials", lambda _: _execution_credentials)
    if not enforced():
        return
    sts.replace("_evict_expired_sessions", lambda _: _evict_expired_sessions)
    sts.replace("_session_policies", _make_session_policies)
    lambda_svc.replace("_emit_lambda_logs", _make_emit_lambda_logs)
    lambda_svc.replace("_route_async_failure", _make_route_async_failure)
    cloudwatch.replace("_dispatch_alarm_actions", _make_dispatch_alarm_actions)


# ---- EventBridge


def delivery_refusal(target: JsonObject, rule: JsonObject) -> str:
    """Return why EventBridge may not deliver to a target; empty if it may."""
    arn, source = target.get("Arn", ""), rule.get("Arn", "")
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    if service in _ROLE_TARGETS:
        return _refusal_by_role(_ROLE_TARGETS[service], arn, target.get("RoleArn"), source)
    if service not in _TARGETS:
        return str(actions.NotMappedError(f"a target of EventBridge such as {arn}"))
    if not _exists(service, arn):
        return ""  # the delivery itself says so
    denial = _first_denial(_EVENTS, Needs(_TARGETS[service], arn), source)
    return denial.text if denial else ""


def _exists(service: str, arn: str) -> bool:
    """Return whether there is such a function, queue or topic."""
    return iam_evaluator._resource_policy(service, arn) is not None


def _refusal_by_role(action: str, arn: str, role: str | None, source: str) -> str:
    if not role:
        return f"RoleArn is required for target {arn}."
    if _may_not_assume(_EVENTS, role, source):
        return f"EventBridge is not able to assume role {role}: the role's trust policy does not allow {_EVENTS}."
    denial = check(session_arn(role, hashlib.md5(source.encode(), usedforsecurity=False).hexdigest()), action, arn)
    return denial.text if denial else ""


def dead_letter_refusal(queue_arn: str, rule: JsonObject) -> str:
    """Return why EventBridge may not put an event into a dead-letter queue; empty if it may."""
    denial = _first_denial(_EVENTS, Needs("sqs:SendMessage", queue_arn), rule.get("Arn", ""))
    return denial.text if denial else ""


def _first_denial(service: str, needs: Needs, source: str) -> Denial | None:
    """Return the first refusal of what a service needs at a resource, its key included."""
    keys = {"sns:Publish": actions.for_sns_publish, "sqs:SendMessage": _key_of_queue}.get(needs.action)
    all_needs = [needs, *(keys(needs.resource) if keys else [])]
    account = actions.here().account
    context = {"aws:SourceArn": source, "aws:SourceAccount": account}
    if service == _CLOUDWATCH:
        context["aws:SourceOwner"] = account  # of the policy that a topic has by default
    denials = (check(service, each.action, each.resource, {**each.context, **context}) for each in all_needs)
    return next((denial for denial in denials if denial), None)


def _key_of_queue(queue_arn: str) -> list[Needs]:
    return actions.for_sqs("sqs:SendMessage", queue_arn)


def _may_not_assume(service: str, role_arn: str, source: str = "") -> bool:
    context = {"aws:SourceAccount": actions.here().account} | ({"aws:SourceArn": source} if source else {})
    return check(service, "sts:AssumeRole", role_arn, context) is not None


# ---- API Gateway


def may_invoke(function_arn: str, called: str) -> bool:
    """Return whether a function's policy lets API Gateway invoke it for a method: api/stage/METHOD/path."""
    if not enforced():
        return True
    source = actions.here().arn("execute-api", called)
    return _first_denial(_API_GATEWAY, Needs("lambda:InvokeFunction", function_arn), source) is None


# ---- CloudWatch alarms


def _make_dispatch_alarm_actions(original: Any) -> Any:
    def dispatch_alarm_actions(alarm: JsonObject, old_state: str, new_state: str, reason: str) -> None:
        """Leave out the topics that do not let CloudWatch publish; their policy and their key must."""
        lists = ("AlarmActions", "OKActions", "InsufficientDataActions")
        actions = {name: [arn for arn in alarm.get(name) or [] if _may_publish(alarm, arn)] for name in lists}
        original({**alarm, **actions}, old_state, new_state, reason)

    return dispatch_alarm_actions


def _may_publish(alarm: JsonObject, arn: str) -> bool:
    if ":sns:" not in arn:
        return True  # MiniStack carries out no other actions
    return _first_denial(_CLOUDWATCH, Needs("sns:Publish", arn), alarm["AlarmArn"]) is None


# ---- Lambda


def _execution_credentials(config: JsonObject) -> dict[str, str]:
    """Return the credentials of a function's role, if Lambda may assume it; the account's own when nothing is enforced.

    AWS checks that when the function is made; here it is checked whenever a worker starts.
    """
    if not enforced():
        own = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        return {**own, "AWS_SESSION_TOKEN": ""}
    role = config.get("Role", "")
    if _may_not_assume(_LAMBDA, role):
        raise PermissionError(f"The role defined for the function cannot be assumed by Lambda: {role}")
    name = config["FunctionName"]
    key, secret, token = begin_session(session_arn(role, name), f"{role.rsplit('/', 1)[-1]}:{name[:64]}")
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def _make_emit_lambda_logs(original: Any) -> Any:
    def emit_lambda_logs(
        func: JsonObject, request_id: str, log_text: str, error: bool, duration_ms: int, *,
        log_source: str | None = None,
    ) -> None:  # fmt: skip
        """Write a function's log if its role may; AWS says nothing when it may not."""
        config = func.get("config") or func
        if not _log_denial(config):
            original(func, request_id, log_text, error, duration_ms, log_source=log_source)

    return emit_lambda_logs


def _log_denial(config: JsonObject) -> Denial | None:
    """Return the first refusal of what a function's log needs."""
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"
    place = actions.here()
    stream = f"{datetime.now(UTC):%Y/%m/%d}/[{config.get('Version', '$LATEST')}]"
    resource = place.arn("logs", f"log-group:{group}:log-stream:{stream}")
    needed = [Needs("logs:CreateLogStream", resource), Needs("logs:PutLogEvents", resource)]
    if group not in cloudwatch_logs._log_groups:
        needed.insert(0, Needs("logs:CreateLogGroup", place.arn("logs", f"log-group:{group}:log-stream:")))
    caller = session_arn(config["Role"], config["FunctionName"])
    denials = (check(caller, needs.action, needs.resource) for needs in needed)
    return next((denial for denial in denials if denial), None)


def _make_route_async_failure(original: Any) -> Any:
    def route_async_failure(target_arn: str, func_name: str, event: JsonObject, result: JsonObject) -> None:
        """Send a failed event to its destination if the function's role may."""
        config = (lambda_svc._functions.get(func_name) or {}).get("config") or {}
        if not config or not _destination_denial(config, target_arn):
            original(target_arn, func_name, event, result)
        else:
            metrics.record_lost_event(config)

    return route_async_failure


def _destination_denial(config: JsonObject, target_arn: str) -> Denial | None:
    action = _TARGETS.get(target_arn.split(":")[2])
    if action is None:
        raise actions.NotMappedError(f"the destination {target_arn}")
    further = {"sns:Publish": actions.for_sns_publish, "sqs:SendMessage": _key_of_queue}.get(action)
    needed = [Needs(action, target_arn), *(further(target_arn) if further else [])]
    caller = session_arn(config["Role"], config["FunctionName"])
    denials = (check(caller, needs.action, needs.resource, needs.context) for needs in needed)
    return next((denial for denial in denials if denial), None)


# ---- Sessions of roles


def begin_session(arn: str, user_id: str) -> tuple[str, str, str]:
    """Keys and token of a session: the same each time, and not to be guessed without the account's secret."""
    account = os.environ["AWS_SECRET_ACCESS_KEY"].encode()

    def made(part: str) -> str:
        return hmac.new(account, f"{part} of {arn}".encode(), hashlib.sha256).hexdigest()

    key, secret, token = f"ASIA{made('key')[:16].upper()}", made("secret"), made("token")
    sts.register_session(key, {"Arn": arn, "UserId": user_id, "SecretAccessKey": secret, "SessionToken": token})
    return key, secret, token


def _evict_expired_sessions() -> None:
    """Forget expired sessions; MiniStack fails here when another thread begins one at the same time."""
    for key, session in list(sts._sessions.items()):
        if sts._session_expired(session):
            sts._sessions.pop(key, None)


def _make_session_policies(original: Any) -> Any:
    def session_policies(params: JsonObject, account_id: str | None = None, check: bool = True) -> tuple[Any, Any]:
        """Refuse what MiniStack gives: a session that lasts longer than the role lets, and a role by another path.

        STS API Reference, "AssumeRole", DurationSeconds. There is no role of an ARN whose path is not the role's.
        """
        policies, error = original(params, account_id, check)
        named = {name: value[0] if isinstance(value, list) else value for name, value in params.items() if value}
        arn = str(named.get("RoleArn", ""))
        role = iam._roles.get_scoped(account_id, None, arn.rsplit("/", 1)[-1]) if arn and account_id else None
        if error or not role:
            return policies, error
        if role["Arn"] != arn:
            text = f"User:  is not authorized to perform: sts:AssumeRole on resource: {arn}"
            return None, sts._error(403, "AccessDenied", text, ns="sts")
        if int(str(named.get("DurationSeconds", 0))) > role["MaxSessionDuration"]:
            text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            return None, sts._error(400, "ValidationError", text, ns="sts")
        return policies, None

    return session_policies


# ---- SageMaker


def assume_role(role_arn: str, session: str, account_id: str, region: str) -> tuple[str, str, str]:
    """Return keys and token of a session in which SageMaker acts under a role.

    Raises:
        PermissionError: AWS's text, when the role is not there or does not trust SageMaker.
    """
    with responses.request_scope(account_id, region):
        if _may_not_assume(_SAGEMAKER, role_arn):
            raise PermissionError(
                f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
                f"'{_SAGEMAKER}' to assume the role."
            )
        return begin_session(session_arn(role_arn, session), session)
