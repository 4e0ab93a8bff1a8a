"""What an operation acts on: the resources that its permission is asked for, from the operation's own members.

Source: Service Authorization Reference, one page a service: resource types and their ARNs. An operation that is not
here is refused: which of its members names a resource is not to be guessed.
"""

import base64
import re
from collections.abc import Callable

from localcloud.engine.operations import QUEUE_URL, Call
from localcloud.engine.permissions.actions import NotMappedError, Place, key_arn, logs_resource
from localcloud.engine.seams import Seams
from localcloud.scalable_targets import target_id

iam = Seams("services.iam", _groups="8466c15d", _instance_profiles="5ed743b8", _roles="190f3297", _users="493abfc5")
secretsmanager = Seams("services.secretsmanager", _resolve="53eb5bd2")

_ANY = "*"
_ACTIONS = {
    "lambda:GetLayerVersionByArn": "lambda:GetLayerVersion",
    "lambda:Invoke": "lambda:InvokeFunction",
    "lambda:InvokeAsync": "lambda:InvokeFunction",
    "lambda:InvokeWithResponseStream": "lambda:InvokeFunction",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sns:PublishBatch": "sns:Publish",
}
"""Operations whose permission has another name."""
_EVERYWHERE = {
    "application-autoscaling": "DescribeScalableTargets DescribeScalingActivities DescribeScalingPolicies",
    "cloudformation": "DescribeStackDriftDetectionStatus ListExports ListImports ListStacks ValidateTemplate",
    "dynamodb": "DescribeEndpoints DescribeLimits ListTables TransactGetItems TransactWriteItems",
    "ecr": "DescribeRegistry GetAuthorizationToken",
    "events": "ListArchives ListEventBuses ListReplays ListRuleNamesByTarget TestEventPattern",
    "iam": (
        "GenerateCredentialReport GetAccountAuthorizationDetails GetAccountPasswordPolicy GetAccountSummary "
        "GetCredentialReport ListAccountAliases ListGroups ListInstanceProfiles ListOpenIDConnectProviders "
        "ListPolicies ListRoles ListSAMLProviders ListUsers SimulateCustomPolicy"
    ),
    "kms": "CreateKey GenerateRandom ListAliases ListKeys",
    "lambda": "CreateEventSourceMapping GetAccountSettings ListEventSourceMappings ListFunctions ListLayers",
    "logs": "DescribeLogGroups DescribeResourcePolicies GetQueryResults StopQuery",
    "monitoring": (
        "DescribeAlarmsForMetric GetMetricData GetMetricStatistics ListDashboards ListMetrics PutMetricData"
    ),
    "secretsmanager": "BatchGetSecretValue GetRandomPassword ListSecrets",
    "sns": (
        "GetSubscriptionAttributes ListSubscriptions ListTopics SetSubscriptionAttributes Unsubscribe "
        "ListPlatformApplications"
    ),
    "sqs": "ListQueues",
    "ssm": "DescribeParameters",
    "states": (
        "ListActivities ListStateMachines SendTaskFailure SendTaskHeartbeat SendTaskSuccess "
        "ValidateStateMachineDefinition"
    ),
    "sts": "GetAccessKeyInfo GetCallerIdentity GetFederationToken GetSessionToken",
}
"""Operations that have no resource type, or whose resources are asked for one by one by MiniStack (transactions)."""
_REFUSED = re.compile(
    r"dynamodb:((Batch)?Execute.*|ImportTable)|events:.*(ApiDestination|Connection|Endpoint|EventSource|Partner).*"
    r"|logs:.*(KmsKey|Scheduled).*|iam:.*(SAML|OpenID|MFA|ServiceLinked).*|ssm:(?!.*(Parameter|Tags)).*|states:(TestState|CreateStateMachineAlias)"
)
"""Operations whose members mean something else than the same members of the service's other operations."""


def action_of(call: Call, namespace: str) -> str:
    """Return the action of an operation, which is mostly its name."""
    action = f"{namespace}:{call.operation}"
    return _ACTIONS.get(action, action)


def resources_of(call: Call, place: Place) -> list[str]:
    """Return the ARNs of all that an operation acts on, `*` where that is no resource.

    Raises:
        NotMappedError: it is not known what the operation acts on.
    """
    name = f"{call.service}:{call.operation}"
    if call.operation in _EVERYWHERE.get(call.service, "").split():
        return [_ANY]
    named = _SERVICES.get(call.service)
    if named is None or _REFUSED.fullmatch(name):
        raise NotMappedError(name)
    arns = named(call, place)
    if arns is None:
        raise NotMappedError(name)
    return list(dict.fromkeys(arns)) or [_ANY]


def _by_members(**ends: Callable[[str, Place], str]) -> Callable[[Call, Place], list[str] | None]:
    """All that these members of an operation name."""

    def named(call: Call, place: Place) -> list[str] | None:
        own = {member: arn for member, arn in ends.items() if call.has(member)}
        return [arn(text, place) for member, arn in own.items() for text in call.texts(member)] if own else None

    return named


def _in_registry(**ends: Callable[[str, Place], str]) -> Callable[[Call, Place], list[str] | None]:
    """All that these members name in the registry of an account, which `registryId` may be another's."""
    by_members = _by_members(**ends)

    def named(call: Call, place: Place) -> list[str] | None:
        (account,) = call.texts("registryId") or [place.account]
        return by_members(call, place._replace(account=account))

    return named


def _end(service: str, end: str) -> Callable[[str, Place], str]:
    """Return an ARN from a name; what is an ARN already stays."""
    return lambda text, place: text if text.startswith("arn:") else place.arn(service, end.format(text))


def _itself(text: str, _: Place) -> str:
    return text


def _scalable_target(text: str, place: Place) -> str:
    return place.arn("application-autoscaling", f"scalable-target/{target_id(text)}")


def _table(text: str, place: Place) -> str:
    """DynamoDB of MiniStack takes an ARN's table, whatever stands behind it."""
    beginning = place.arn("dynamodb", "table/")
    if text.startswith("arn:") and not text.startswith(beginning):
        return text
    return beginning + text.removeprefix(beginning).split("/")[0]


def _dynamodb(call: Call, place: Place) -> list[str] | None:
    index = call.texts("IndexName")
    arns = _TABLES(call, place)
    return [f"{arn}/index/{index[0]}" for arn in arns] if arns and index and call.has("TableName") else arns


_TABLES = _by_members(
    BackupArn=_itself, ExportArn=_itself, ImportArn=_itself, RequestItems=_table, ResourceArn=_itself,
    SourceTableArn=_itself, SourceTableName=_table, TableArn=_table, TableName=_table, TargetTableName=_table,
)  # fmt: skip


def tables_of_transaction(call: Call, place: Place) -> list[str]:
    """Return the tables of a transaction, whose items MiniStack asks for as items."""
    items = call.members.get("TransactItems", []) if call.service == "dynamodb" else []
    return [_table(detail["TableName"], place) for item in items for detail in item.values() if "TableName" in detail]


def _bus(text: str) -> str:
    return text.rpartition("event-bus/")[2] if text.startswith("arn:") else text


def _events(call: Call, place: Place) -> list[str] | None:
    if call.operation == "PutEvents":
        buses = [entry.get("EventBusName") or "default" for entry in call.members.get("Entries", [])]
        return [_end("events", "event-bus/{}")(bus, place) for bus in buses]
    bus = next(iter(call.texts("EventBusName")), "default")
    if call.operation.endswith("EventBus"):
        return [_end("events", "event-bus/{}")(name, place) for name in call.texts("Name") or ["default"]]
    if call.operation in ("PutPermission", "RemovePermission"):
        return [_end("events", "event-bus/{}")(bus, place)]
    if call.operation == "ListRules":
        return [_ANY]
    if call.has("EventBusName"):
        of_bus = "" if _bus(bus) == "default" else f"{_bus(bus)}/"
        return [place.arn("events", f"rule/{of_bus}{name}") for name in call.texts("Name") + call.texts("Rule")]
    return _EVENTS(call, place)


_EVENTS = _by_members(
    ArchiveName=_end("events", "archive/{}"), ReplayName=_end("events", "replay/{}"), ResourceARN=_itself
)


def _iam(call: Call, place: Place) -> list[str] | None:
    """Return the first kind that an operation names: who adds a user to a group changes the group."""
    for member, stored, word in _OF_IAM:
        if call.has(member):
            path = "/" if call.operation != f"Create{member.removesuffix('Name')}" else (call.texts("Path") or ["/"])[0]
            names = call.texts(member)
            return [_stored(stored, name) or f"arn:aws:iam::{place.account}:{word}{path}{name}" for name in names]
    if call.operation == "CreatePolicy":
        path = (call.texts("Path") or ["/"])[0]
        return [f"arn:aws:iam::{place.account}:policy{path}{name}" for name in call.texts("PolicyName")]
    return _POLICIES(call, place)


_OF_IAM = (
    ("InstanceProfileName", "_instance_profiles", "instance-profile"),
    ("GroupName", "_groups", "group"),
    ("RoleName", "_roles", "role"),
    ("UserName", "_users", "user"),
)
_POLICIES = _by_members(PolicyArn=_itself, PolicySourceArn=_itself)


def _stored(kind: str, name: str) -> str:
    """Return the ARN of what there is, with its path."""
    return str((getattr(iam, kind).get(name) or {}).get("Arn", ""))


def _kms(call: Call, place: Place) -> list[str] | None:
    """Return a key for itself or by its alias, and that which is written in what is to be decrypted."""
    arns = _KEYS(call, place)
    try:
        written = base64.b64decode(next(iter(call.texts("CiphertextBlob")), ""))[:36].decode("ascii")
    except ValueError:  # nothing that MiniStack has encrypted with a symmetric key
        written = ""
    return [*(arns or []), key_arn(written, place)] if re.fullmatch(r"[0-9a-f-]{36}", written) else arns


_KEYS = _by_members(AliasName=_end("kms", "{}"), KeyId=key_arn, TargetKeyId=key_arn)


def _function(text: str, place: Place) -> str:
    """Lambda API Reference, "Invoke", FunctionName: a name, a partial ARN or an ARN, each with a version or alias."""
    account, _, name = text.rpartition("function:")
    if text.startswith("arn:"):
        return text
    return Place(place.region, account.rstrip(":") or place.account).arn("lambda", f"function:{name}")


def _lambda(call: Call, place: Place) -> list[str] | None:
    if call.has("LayerName"):
        version = "".join(f":{text}" for text in call.texts("VersionNumber"))
        return [place.arn("lambda", f"layer:{name}{version}") for name in call.texts("LayerName")]
    if call.operation == "GetLayerVersionByArn":
        return call.texts("Arn")
    return _FUNCTIONS(call, place)


_FUNCTIONS = _by_members(
    CodeSigningConfigArn=_itself, FunctionName=_function, Resource=_itself,
    UUID=_end("lambda", "event-source-mapping:{}"),
)  # fmt: skip


def _logs(call: Call, place: Place) -> list[str] | None:
    if call.has("resourceArn") and call.operation in ("ListTagsForResource", "TagResource", "UntagResource"):
        return call.texts("resourceArn")
    members = [name for name in _GROUPS if call.has(name)]
    groups = [_group(text) for name in members for text in call.texts(name)]
    stream = next(iter(call.texts("logStreamName")), "")
    named = [{"logGroupName": group, "logStreamName": stream} for group in groups]
    return [logs_resource("", each, place) for each in named] if members else None


_GROUPS = ("logGroupName", "logGroupNames", "logGroupIdentifier", "logGroupIdentifiers")


def _group(text: str) -> str:
    return text.split(":log-group:")[-1].removesuffix(":*") if text.startswith("arn:") else text


def _secret(text: str, place: Place) -> str:
    _, secret = secretsmanager._resolve(text)
    return str(secret["ARN"]) if secret else _end("secretsmanager", "secret:{}")(text, place)


def _queue(text: str, place: Place) -> str:
    address = QUEUE_URL.fullmatch(text)
    return Place(place.region, address[1] or place.account).arn("sqs", address[2]) if address else _ANY


def _parameter(text: str, place: Place) -> str:
    """Systems Manager User Guide, "Working with parameter versions": a name may go on with a version or a label."""
    beginning = place.arn("ssm", "parameter")
    if text.startswith("arn:") and not text.startswith(beginning):
        return text
    name = text.removeprefix(beginning)
    return f"{beginning}/{name.removeprefix('/').partition(':')[0]}"


def _ssm(call: Call, place: Place) -> list[str] | None:
    others = call.has("ResourceType") and call.texts("ResourceType") != ["Parameter"]
    return None if others else _PARAMETERS(call, place)


def _path(text: str, place: Place) -> str:
    return _parameter(text.rstrip("/"), place)


_PARAMETERS = _by_members(Name=_parameter, Names=_parameter, Path=_path, ResourceId=_parameter)


def _states(call: Call, place: Place) -> list[str] | None:
    kind = {"CreateActivity": "activity", "CreateStateMachine": "stateMachine"}.get(call.operation)
    return [place.arn("states", f"{kind}:{name}") for name in call.texts("name")] if kind else _MACHINES(call, place)


_MACHINES = _by_members(
    activityArn=_itself, executionArn=_itself, mapRunArn=_itself, resourceArn=_itself, stateMachineAliasArn=_itself,
    stateMachineArn=_itself, stateMachineVersionArn=_itself,
)  # fmt: skip


def _stack(text: str, place: Place) -> str:
    return _end("cloudformation", "stack/{}/*")(text, place)


def _cloudformation(call: Call, place: Place) -> list[str] | None:
    """Judge a change set that is named by its ARN as its own stack's, whichever stack the request names."""
    if any(text.startswith("arn:") for text in call.texts("ChangeSetName")):
        return None
    return _by_members(StackName=_stack)(call, place)


def _dashboard(text: str, place: Place) -> str:
    return f"arn:aws:cloudwatch::{place.account}:dashboard/{text}"


_SERVICES: dict[str, Callable[[Call, Place], list[str] | None]] = {
    "application-autoscaling": _by_members(ResourceId=_scalable_target),
    "cloudformation": _cloudformation,
    "dynamodb": _dynamodb,
    "ecr": _in_registry(
        repositoryName=_end("ecr", "repository/{}"), repositoryNames=_end("ecr", "repository/{}"), resourceArn=_itself,
    ),
    "events": _events,
    "iam": _iam,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "monitoring": _by_members(
        AlarmName=_end("cloudwatch", "alarm:{}"), AlarmNames=_end("cloudwatch", "alarm:{}"),
        DashboardName=_dashboard, DashboardNames=_dashboard, ResourceARN=_itself,
    ),
    "secretsmanager": _by_members(Name=_secret, SecretId=_secret),
    "sns": _by_members(Name=_end("sns", "{}"), ResourceArn=_itself, TargetArn=_itself, TopicArn=_itself),
    "sqs": _by_members(QueueName=_end("sqs", "{}"), QueueUrl=_queue),
    "ssm": _ssm,
    "states": _states,
    "sts": _by_members(RoleArn=_itself),
}  # fmt: skip
