"""A request has one meaning: the permission and the work read the same operation, and the same members."""

import json
import re
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from localcloud.engine import operations
from localcloud.engine.operations import Call, UnclearError, one_meaning
from localcloud.engine.permissions import resources
from localcloud.engine.permissions.actions import NotMappedError, Place

PLACE = Place("us-east-1", "000000000000")
JSON_SERVICES = sorted(name for name in operations.MODELS if operations._model(name).metadata.get("targetPrefix"))
QUERY_SERVICES = ("cloudformation", "iam", "monitoring", "sns", "sqs", "sts")
OWN, OTHER = "own", "other"
URL = "http://127.0.0.1:4566/000000000000/{}"


def named(shape: Any, text: str, depth: int = 0) -> Any:
    """A value of a shape in which every text is the same."""
    kind = shape.type_name
    if kind == "structure":
        return {} if depth > 3 else {name: named(each, text, depth + 1) for name, each in shape.members.items()}
    if kind == "list":
        return [named(shape.member, text, depth + 1)]
    if kind == "map":
        return {text: named(shape.value, text, depth + 1)}
    return {"string": text, "boolean": True, "blob": "", "timestamp": 0}.get(kind, 1)


def every_member(service: str) -> dict[str, Any]:
    """Every member that any operation of a service has at its top."""
    names = sorted(operations._operations(service))
    return {name: shape for other in names for name, shape in operations._members(service, other).items()}


def full(service: str, operation: str, text: str) -> dict[str, Any]:
    members = {name: named(shape, text) for name, shape in operations._members(service, operation).items()}
    return {**members, "QueueUrl": URL.format(text)} if "QueueUrl" in members else members


def as_json(service: str, operation: str, document: Any, query: Any = None) -> tuple[Call, operations.Parts]:
    prefix = operations._model(service).metadata["targetPrefix"]
    headers = {"x-amz-target": f"{prefix}.{operation}"}
    call, parts = one_meaning(service, ("POST", "/", headers, json.dumps(document).encode(), query or {}))
    assert call is not None
    return call, parts


def judged(call: Call) -> list[str] | str:
    try:
        return resources.resources_of(call, PLACE)
    except NotMappedError as error:
        return str(error)


def _self(text: str, _: Place) -> str:
    return text


_SECRETS = resources._by_members(Name=_self, SecretId=_self)


@pytest.fixture(autouse=True)
def no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no keys, secrets, users: names are what they are called."""
    monkeypatch.setattr(resources, "_KEYS", resources._by_members(AliasName=_self, KeyId=_self, TargetKeyId=_self))
    known = {"secretsmanager": _SECRETS, "application-autoscaling": resources._by_members(ResourceId=_self)}
    monkeypatch.setattr(resources, "_SERVICES", {**resources._SERVICES, **known})
    monkeypatch.setattr(resources, "_stored", lambda kind, name: "")


@pytest.mark.parametrize("service", JSON_SERVICES)
def test_a_member_that_an_operation_does_not_have_reaches_neither_the_permission_nor_the_work(service: str) -> None:
    aliens = {name: named(shape, OTHER) for name, shape in every_member(service).items()}
    for operation in sorted(operations._operations(service)):
        document = full(service, operation, OWN)
        call, parts = as_json(service, operation, document)
        told, told_parts = as_json(service, operation, {**aliens, **document}, {"Action": ["X"], "TableName": [OTHER]})

        assert (told, told_parts) == (call, parts)
        assert json.loads(parts[3]).keys() <= operations._members(service, operation).keys()
        assert OTHER not in parts[3].decode()


@pytest.mark.parametrize("service", QUERY_SERVICES)
def test_a_parameter_that_an_operation_does_not_have_reaches_neither_either(service: str) -> None:
    aliens = dict.fromkeys(every_member(service), OTHER)
    for operation in sorted(operations._operations(service)):
        members = operations._members(service, operation)
        own = dict.fromkeys(members, OWN) | ({"QueueUrl": URL.format(OWN)} if "QueueUrl" in members else {})
        sent = {"Action": operation, **aliens, **own}
        for method, body, query in (("POST", sent, {}), ("GET", {}, sent), ("POST", {}, sent)):
            listed = {name: [text] for name, text in query.items()}
            call, (_, path, _, content, left) = one_meaning(
                service, (method, "/", {}, urlencode(body).encode(), listed)
            )
            assert call == Call(service, operation, own)
            reached = {name: text for name, (text,) in [*parse_qs(content.decode()).items(), *left.items()]}
            assert (path, reached) == ("/", {"Action": operation, **own})
            assert bool(content) == (method == "POST"), "one of both, whichever the work would rather read"


@pytest.mark.parametrize("service", QUERY_SERVICES)
def test_a_parameter_that_is_given_twice_is_refused(service: str) -> None:
    operation = sorted(operations._operations(service))[0]
    for body, query in (
        (f"Action={operation}&Action={operation}", {}),
        (f"Action={operation}", {"Action": [operation]}),
        (f"Action={operation}&RoleName=a", {"RoleName": ["b"]}),
        (f"Action={operation}", {"RoleName": ["a", "b"]}),
    ):
        with pytest.raises(UnclearError) as refused:
            one_meaning(service, ("POST", "/", {}, body.encode(), dict(query)))
        assert (refused.value.code, refused.value.status) == ("MalformedQueryString", 404)


@pytest.mark.parametrize("service", sorted(operations.MODELS))
def test_whatever_may_name_a_resource_is_judged_or_known_to_name_none(service: str) -> None:
    """Whoever may act on some of what a request names must not act on the rest."""
    unjudged = set()
    for operation in sorted(operations._operations(service)):
        own, other = (full(service, operation, text) for text in (OWN, OTHER))
        before = judged(Call(service, operation, own))
        if isinstance(before, str) or before == ["*"]:
            continue
        for name in filter(NAMING.search, own):
            after = json.dumps(judged(Call(service, operation, {**own, name: other[name]})))
            unjudged |= set() if OTHER in after else {name}
    assert unjudged == set(NO_RESOURCES[service].split())


NAMING = re.compile(r"(Arns?|ARNs?|arn|Names?|Ids?|Identifiers?|Url|Source|Path|name)$")
NO_RESOURCES = {
    "application-autoscaling": "PolicyName RoleARN ScheduledActionName ScheduledActionNames",
    "cloudformation": (
        "ChangeSetName GeneratedTemplateName LogicalResourceId LogicalResourceIds NotificationARNs "
        "OperationId PhysicalResourceId RoleARN StackSetName UniqueId "
    ),
    "dynamodb": (
        "BackupName ExclusiveStartBackupArn ExpectedRevisionId ExpressionAttributeNames "
        "GlobalTableSourceArn S3SseKmsKeyId StreamArn "
    ),
    "ecr": "imageId imageIds subjectId uploadId",
    "events": "EndpointId EventSourceArn EventSourceName Ids KmsKeyIdentifier RoleArn StatementId",
    "iam": (
        "AccessKeyId ActionNames CallerArn CertificateId NewGroupName NewPath NewUserName PolicyArn "
        "PolicyName ResourceArns RoleName SSHPublicKeyId ServiceName ServiceSpecificCredentialId "
        "UserName VersionId "
    ),
    "kms": "GrantId KeyMaterialId Name PolicyName",
    "lambda": (
        "DurableExecutionName InvokedViaFunctionUrl KMSKeyArn Name OrganizationId RevisionId "
        "RuntimeVersionArn SourceArn SourceKMSKeyArn StatementId TenantId "
    ),
    "logs": (
        "destinationArn filterName kmsKeyId logStreamNames metricName name queryDefinitionId roleArn "
        "taskName vpcEndpointId "
    ),
    "monitoring": (
        "ActionLogLineRoleArn AlarmContributorId ChildrenOfAlarmName MetricName ParentsOfAlarmName ThresholdMetricId "
    ),
    "secretsmanager": (
        "ExternalSecretRotationRoleArn KmsKeyId MoveToVersionId RemoveFromVersionId RotationLambdaARN VersionId "
    ),
    "sns": ("AWSAccountId ActionName AttributeName MessageDeduplicationId MessageGroupId ReturnSubscriptionArn "),
    "sqs": (
        "AWSAccountIds AttributeNames MessageAttributeNames MessageDeduplicationId MessageGroupId "
        "MessageSystemAttributeNames QueueOwnerAWSAccountId ReceiveRequestAttemptId "
    ),
    "ssm": "KeyId",
    "states": "name revisionId roleArn workerName",
    "sts": "ExternalId PolicyArns PrincipalArn ProviderId RoleSessionName",
}
"""Names of what is inside of a resource, of what it refers to, or of conditions; Service Authorization Reference."""


@pytest.mark.parametrize("path", [
    "/2015-03-31/functions/own/../other", "/2015-03-31/functions/other%23own", "/2015-03-31/functions//other",
    "/2015-03-31/functions/own/functions/other", "/functions/own", "/2015-03-31/functions/a%2Fb",
])  # fmt: skip
def test_a_path_that_is_no_operation_of_lambda_is_refused(path: str) -> None:
    with pytest.raises(UnclearError):
        one_meaning("lambda", ("GET", path, {}, b"", {}))


def test_the_path_tells_the_operation_of_lambda_whatever_else_says_another() -> None:
    parts = ("DELETE", "/2015-03-31/functions/own", {}, b"", {"Action": ["GetFunction"], "FunctionName": ["other"]})
    call, _ = one_meaning("lambda", parts)
    assert call is not None
    assert (call.operation, judged(call)) == ("DeleteFunction", ["arn:aws:lambda:us-east-1:000000000000:function:own"])
    with pytest.raises(UnclearError):
        one_meaning("lambda", (*parts[:2], {"x-amz-target": "AWSLambda.GetFunction"}, *parts[3:]))


@pytest.mark.parametrize("body", [
    b"[]", b"{", b'{"TableName": ["a"]}', b'{"TableName": {"a": 1}}', b'{"RequestItems": []}', b"[" * 100_000,
])  # fmt: skip
def test_json_of_another_shape_is_refused(body: bytes) -> None:
    headers = {"x-amz-target": "DynamoDB_20120810.BatchGetItem"}
    if b"TableName" in body:
        headers = {"x-amz-target": "DynamoDB_20120810.GetItem"}
    with pytest.raises(UnclearError) as refused:
        one_meaning("dynamodb", ("POST", "/", headers, body, {}))
    assert refused.value.code == "SerializationException"


@pytest.mark.parametrize(("path", "target", "document"), [
    ("/BatchGetRecord", None, {"Identifiers": ["cars"]}),
    ("/BatchGetRecord", None, {"Identifiers": {"a": 1}}),
    ("/", "AddTags", {"ResourceArn": "arn", "Tags": "all"}),
    ("/", "CreateEndpoint", {"EndpointName": "cars", "DeploymentConfig": "none"}),
])  # fmt: skip
def test_a_member_of_sagemaker_that_is_none_of_its_type_is_refused(path: str, target: str, document: Any) -> None:
    headers = {"x-amz-target": f"SageMaker.{target}"} if target else {}
    with pytest.raises(UnclearError) as refused:
        one_meaning("sagemaker", ("POST", path, headers, json.dumps(document).encode(), {}))
    assert refused.value.code == "SerializationException"


def test_of_a_member_that_is_given_twice_both_read_the_same() -> None:
    headers = {"x-amz-target": "AmazonSSM.GetParameter"}
    call, parts = one_meaning("ssm", ("POST", "/", headers, b'{"Name": "a", "Name": "b", "Name2": 1}', {}))
    assert call is not None
    assert (call.members, json.loads(parts[3])) == ({"Name": "b"}, {"Name": "b"})


@pytest.mark.parametrize("url", [
    URL.format("other") + "?x=/000000000000/own", URL.format("other") + "#/000000000000/own", "own/../other",
    URL.format("other") + "/../own", "http://127.0.0.1:4566/000000000000/own/other",
])  # fmt: skip
def test_an_address_that_is_no_queue_s_is_refused(url: str) -> None:
    with pytest.raises(UnclearError):
        as_json("sqs", "ReceiveMessage", {"QueueUrl": url})


def test_a_request_of_random_parts_never_reaches_the_work_with_two_operations() -> None:
    random = Random(7)
    prefixes = ["AmazonSSM", "DynamoDB_20120810", "AWSStepFunctions", "x"]
    for _ in range(2000):
        service = random.choice(["ssm", "dynamodb", "states", "sns", "iam"])
        headers = {
            "x-amz-target": f"{random.choice(prefixes)}.{random.choice(['GetParameter', 'GetItem', 'a.GetItem'])}"
        }
        path = random.choice(["/", "//", "/x", "/000000000000/q", "/?"])
        query = {name: [OTHER] for name in random.sample(["Action", "Name", "TableName"], random.randint(0, 3))}
        try:
            call, parts = one_meaning(service, ("POST", path, headers, b"{}", query))
        except UnclearError:
            continue
        assert call is not None
        assert path == parts[1] == "/"
        assert parts[4] == {}
        assert headers["x-amz-target"] == f"{operations._model(service).metadata['targetPrefix']}.{call.operation}"
