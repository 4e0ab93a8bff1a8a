"""Which permissions an operation needs, beyond the action of its own name.

Source of actions, resource types and condition keys: Service Authorization Reference, one page a service. Where an
operation needs more than its own action, the source is next to it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import fromstring

from localcloud.engine.permissions import owners
from localcloud.engine.seams import Seams

iam_actions = Seams("core.iam_actions", _s3_source_object="b0dce96a")
responses = Seams("core.responses", get_account_id="270e1115", get_region="5f4ea734")
dynamodb = Seams("services.dynamodb", _tables="ddecc1c0")
kms = Seams("services.kms", _resolve_key="fb184b47")
s3 = Seams(
    "services.s3",
    _bucket_default_sse_headers="b3e3c404",
    _buckets="feba7881",
    _multipart_uploads="31750c2d",
    _object_versions="aed03739",
    _resolve_sse_write_headers="b721990d",
    _stored_sse_headers="4dc567bc",
)
sns = Seams("services.sns", _topic_by_arn_any_scope="b274fbbc")
sqs = Seams("services.sqs", _queue_by_arn="941c4539")
stepfunctions = Seams("services.stepfunctions", _executions="4ed433bf", _state_machines="79f3cc64")

JsonObject = dict[str, Any]


class Needs(NamedTuple):
    """One permission that a caller needs."""

    action: str
    resource: str
    context: dict[str, Any] = {}  # noqa: RUF012  (a NamedTuple's default; never changed)

    @property
    def service(self) -> str:
        """The word before the action's colon."""
        return self.action.partition(":")[0]


class Place(NamedTuple):
    """Where a request is carried out."""

    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


class NotMappedError(Exception):
    """The local cloud does not know which permissions an operation needs, so it is refused."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The local cloud does not know which permissions {what} needs, so it refuses it. "
            "Add the operation to localcloud/engine/permissions/resources.py, with its source."
        )


def here() -> Place:
    """Return the account and region that the current request or execution belongs to."""
    return Place(responses.get_region(), responses.get_account_id())


# ---- SageMaker

_OWN = {
    "ProcessingJob": ("processing-job", "ProcessingJobName"),
    "TrainingJob": ("training-job", "TrainingJobName"),
    "TransformJob": ("transform-job", "TransformJobName"),
    "HyperParameterTuningJob": ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
    "Model": ("model", "ModelName"),
    "ModelPackageGroup": ("model-package-group", "ModelPackageGroupName"),
    "ModelPackage": ("model-package", "ModelPackageName"),
    "EndpointConfig": ("endpoint-config", "EndpointConfigName"),
    "Endpoint": ("endpoint", "EndpointName"),
    "FeatureGroup": ("feature-group", "FeatureGroupName"),
    "Record": ("feature-group", "FeatureGroupName"),
}
"""The noun of an operation -> the ARN's word for it, and the member that names it."""
_VERBS = ("Create", "Describe", "Update", "Delete", "Stop", "Invoke", "Put", "Get")
_TAGGING = ("AddTags", "ListTags", "DeleteTags")
_ROLES = {
    "CreateProcessingJob": "RoleArn",
    "CreateTrainingJob": "RoleArn",
    "CreateModel": "ExecutionRoleArn",
    "CreateFeatureGroup": "RoleArn",
}
_LIST_TRIALS = "ListTrainingJobsForHyperParameterTuningJob"
_OF_CONFIGURATION = ("CreateEndpoint", "UpdateEndpoint")
"""Their resource types are endpoint and endpoint-config."""


def sagemaker(operation: str, parameters: JsonObject, place: Place) -> list[Needs]:
    """Return an operation's permissions, its own first.

    A role that is handed over needs iam:PassRole (SageMaker Developer Guide, "How to use SageMaker AI execution roles",
    "Passing roles"), tags in a request that creates need sagemaker:AddTags (Developer Guide, "Provide permissions for
    tagging SageMaker AI resources"), and alarms that roll an update back need cloudwatch:DescribeAlarms (Developer
    Guide, "Auto-Rollback Configuration and Monitoring").

    Raises:
        NotMappedError: an operation that the local SageMaker does not have.
    """
    if operation in _TAGGING:
        return [
            Needs(f"sagemaker:{operation}", parameters.get("ResourceArn", "*"), tag_context(parameters.get("Tags")))
        ]
    verb = next((verb for verb in _VERBS if operation.startswith(verb)), "")
    noun = operation.removeprefix(verb)
    if operation.startswith("List") and noun.removeprefix("List").removesuffix("s") in _OWN:
        group = str(parameters.get("ModelPackageGroupName", ""))
        is_named_whole = operation == "ListModelPackages" and group.startswith("arn:")  # it may be another account's
        return [Needs(f"sagemaker:{operation}", _arn("model-package-group", group, place) if is_named_whole else "*")]
    if operation == "BatchDescribeModelPackage":
        return [Needs(f"sagemaker:{operation}", arn) for arn in parameters.get("ModelPackageArnList") or ["*"]]
    if member := {"BatchGetRecord": "Identifiers", "BatchWriteRecord": "Entries"}.get(operation):
        groups = [str(one.get("FeatureGroupName", "")) for one in parameters.get(member) or [{}]]
        names = dict.fromkeys(group.rpartition("/")[2].lower() for group in groups)
        return [Needs(f"sagemaker:{operation}", place.arn("sagemaker", f"feature-group/{name}")) for name in names]
    if operation == _LIST_TRIALS:
        verb, noun = "List", "HyperParameterTuningJob"
    noun = noun.removesuffix("Policy")  # of a group
    if not verb or noun not in _OWN:
        raise NotMappedError(f"sagemaker:{operation}")
    if noun == "ModelPackage":
        return _of_package(operation, parameters, place)
    word, member = _OWN[noun]
    own = _arn(word, str(parameters.get(member, "")), place)
    tags = tag_context(parameters.get("Tags"))
    needs = [Needs(f"sagemaker:{operation}", own, tags)]
    if operation in _OF_CONFIGURATION:
        name = str(parameters.get("EndpointConfigName", "")).lower()
        needs.append(Needs(f"sagemaker:{operation}", place.arn("sagemaker", f"endpoint-config/{name}"), tags))
    if parameters.get("Tags"):
        needs.append(Needs("sagemaker:AddTags", own, tags))
    rollback = (parameters.get("DeploymentConfig") or {}).get("AutoRollbackConfiguration") or {}
    for alarm in rollback.get("Alarms") or ():
        needs.append(Needs("cloudwatch:DescribeAlarms", place.arn("cloudwatch", f"alarm:{alarm.get('AlarmName')}")))
    definition = parameters.get("TrainingJobDefinition") or {}
    if role := parameters.get(_ROLES.get(operation, "")) or definition.get("RoleArn"):
        needs.append(Needs("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"}))
    return needs


def _of_package(operation: str, parameters: JsonObject, place: Place) -> list[Needs]:
    """Return what an operation of versions needs; to make one, also the group (Service Authorization Reference).

    A version that is not there yet has no number: policies of groups that let another account register name
    `model-package/<group>/*` (Developer Guide, "Register a Model Version from a Different Account").
    """
    status = parameters.get("ModelApprovalStatus")
    context = {"sagemaker:ModelApprovalStatus": status} if status else {}
    if operation == "CreateModelPackage":
        group = str(parameters.get("ModelPackageGroupName", ""))
        arns = [f"{_arn('model-package', group, place)}/*", _arn("model-package-group", group, place)]
        return [Needs(f"sagemaker:{operation}", arn, context) for arn in arns]
    named = str(parameters.get("ModelPackageArn") or parameters.get("ModelPackageName") or "").lower()
    arn = named if named.startswith("arn:") else place.arn("sagemaker", f"model-package/{named}")
    return [Needs(f"sagemaker:{operation}", arn, context)]


def _arn(word: str, name_or_arn: str, place: Place) -> str:
    """Return the ARN of what is named, also by an ARN, which may be of another account."""
    if name_or_arn.startswith("arn:") and name_or_arn.count(":") == 5:
        place = place._replace(account=name_or_arn.split(":")[4])
    return place.arn("sagemaker", f"{word}/{name_or_arn.rpartition('/')[2].lower()}")


def tag_context(tags: list[Mapping[str, str]] | None) -> dict[str, Any]:
    """Return the condition keys of the tags in a request."""
    if not tags:
        return {}
    return {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags} | {"aws:TagKeys": [t["Key"] for t in tags]}


# ---- KMS: what a service asks of its caller when the resource is encrypted with a customer managed key


def for_sns_publish(topic_arn: str) -> list[Needs]:
    """SNS Developer Guide, "Securing Amazon SNS data with server-side encryption": GenerateDataKey* and Decrypt."""
    topic = sns._topic_by_arn_any_scope(topic_arn)
    key = topic["attributes"].get("KmsMasterKeyId") if topic else None
    return _key_needs(key, "sns", "kms:GenerateDataKey", "kms:Decrypt")


def for_sqs(action: str, queue_arn: str) -> list[Needs]:
    """SQS Developer Guide, "Key management": producers need GenerateDataKey and Decrypt, consumers Decrypt."""
    queue = sqs._queue_by_arn(queue_arn)
    key = queue["attributes"].get("KmsMasterKeyId") if queue else None
    if action == "sqs:SendMessage":
        return _key_needs(key, "sqs", "kms:GenerateDataKey", "kms:Decrypt")
    return _key_needs(key, "sqs", "kms:Decrypt") if action == "sqs:ReceiveMessage" else []


def for_states(action: str, parameters: JsonObject) -> list[Needs]:
    """Step Functions Developer Guide, "Data at rest encryption in Step Functions", permissions for API callers.

    Who starts or stops an execution needs nothing; what executions themselves need of the key is asked of nobody.
    """
    if action.partition(":")[2] not in _READS_OF_STATES:
        return []
    execution = stepfunctions._executions.get(parameters.get("executionArn", ""), {})
    arn = execution.get("stateMachineArn") or parameters.get("stateMachineArn", "")
    machine = stepfunctions._state_machines.get(arn, {})
    key = machine.get("encryptionConfiguration", {}).get("kmsKeyId")
    context = {"kms:EncryptionContext:aws:states:stateMachineArn": arn}
    return [needs._replace(context=needs.context | context) for needs in _key_needs(key, "states", "kms:Decrypt")]


_READS_OF_STATES = (
    "DescribeExecution", "DescribeStateMachine", "DescribeStateMachineForExecution", "GetExecutionHistory"
)  # fmt: skip
_ENCRYPTION_HEADERS = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
)
_OF_HEADERS = {
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-grant-": "s3:PutObjectAcl",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    "x-amz-tagging": "s3:PutObjectTagging",
}
"""The beginning of an upload's header -> what it needs besides s3:PutObject.

S3 User Guide, "Required permissions for Amazon S3 API operations": PutObject, CopyObject and CreateMultipartUpload.
"""
_ITEM_ACTIONS = (
    "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem",
    "TransactGetItems", "TransactWriteItems",
)  # fmt: skip


def for_dynamodb(action: str, table_arn: str) -> list[Needs]:
    """DynamoDB Developer Guide, "Encryption at rest: how it works": the table key is decrypted for each principal."""
    if action.removeprefix("dynamodb:") not in _ITEM_ACTIONS:
        return []
    table = dynamodb._tables.get(table_arn.rpartition(":table/")[2].split("/")[0])
    key = ((table or {}).get("SSEDescription") or {}).get("KMSMasterKeyArn")
    return _key_needs(key, "dynamodb", "kms:Decrypt")


def leading_keys(members: JsonObject) -> JsonObject:
    """Return dynamodb:LeadingKeys: the partition keys of the items that a request names by a key or as a whole.

    DynamoDB Developer Guide, "Using IAM policy conditions for fine-grained access control". Of a Query it is not found
    here, and of a Scan there is none.
    """
    keys = [value for table, item in _items_of(members) if (value := _partition_key(table, item)) is not None]
    return {"dynamodb:LeadingKeys": keys} if keys else {}


def _items_of(members: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """Yield (table, item or key) of a request for one item, for several, or of a transaction."""
    actions = [members, *(detail for entry in members.get("TransactItems", []) for detail in entry.values())]
    for table, wanted in (members.get("RequestItems") or {}).items():
        gets = wanted.get("Keys", []) if isinstance(wanted, dict) else []
        writes = [] if isinstance(wanted, dict) else [detail for entry in wanted for detail in entry.values()]
        actions += [{"TableName": table, "Key": key} for key in gets] + [{"TableName": table, **one} for one in writes]
    for action in actions:
        for item in (action.get("Key"), action.get("Item")):
            if isinstance(item, dict):
                yield str(action.get("TableName", "")), item


def _partition_key(table: str, item: JsonObject) -> str | None:
    schema = (dynamodb._tables.get(table.rpartition("/")[2]) or {}).get("KeySchema", [])
    name = next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), None)
    value = item.get(name) if name else None
    return str(next(iter(value.values()), "")) if isinstance(value, dict) else None


def for_s3(action: str, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, Any]) -> list[Needs]:
    """Return what S3 asks besides the action itself: the key, and s3:ListBucket where an object is not there.

    S3 User Guide, "Using server-side encryption with AWS KMS keys", Permissions: GenerateDataKey to write, Decrypt to
    read, and Decrypt for the parts of a multipart upload. API Reference, HeadObject: no data, so that only a checksum
    (x-amz-checksum-mode) needs Decrypt; GetObject: without s3:ListBucket a missing object is a 403. Such a request has
    no prefix, so that a condition on s3:prefix is not met.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    if not key:
        return []
    if action == "s3:PutObject":
        encrypted = _for_writing(bucket, headers, "uploadId" in query)
        return encrypted + _for_headers(bucket, key, headers) + _for_copying(bucket, headers)
    if action not in ("s3:GetObject", "s3:GetObjectVersion"):
        return []
    record = _object(bucket, key, _first(query.get("versionId")))
    if record is None:
        return [_to_be_told_that_it_is_missing(bucket)]
    if method == "HEAD" and "x-amz-checksum-mode" not in headers:
        return []
    return _key_needs(_key_of(record, bucket), "s3", "kms:Decrypt")


def for_s3_deletions(path: str, body: bytes) -> list[Needs]:
    """Return what DeleteObjects needs of each object that it names: s3:DeleteObjectVersion where it names a version.

    S3 API Reference, DeleteObjects, permissions. Each name of an object that has several counts, whichever S3 takes.
    """
    try:
        objects = [element for element in fromstring(body).iter() if tag(element) == "Object"]
    except (ParseError, ValueError):  # S3 refuses it
        return []
    return [needs for element in objects for needs in of_deletion(path.strip("/"), element)]


def of_deletion(bucket: str, element: Any) -> list[Needs]:
    """Return what one object of a DeleteObjects needs."""
    versions = [each.text for each in element if tag(each) == "VersionId"] or [None]
    verbs = ["s3:DeleteObjectVersion" if version else "s3:DeleteObject" for version in versions]
    keys = [each.text for each in element if tag(each) == "Key" and each.text]
    return [Needs(verb, f"arn:aws:s3:::{bucket}/{key}") for key in keys for verb in dict.fromkeys(verbs)]


def tag(element: Any) -> str:
    """Return what an element of XML is called, without its namespace."""
    return str(element.tag).rpartition("}")[2]


def s3_encryption(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the condition keys of the encryption that an upload names (not of the bucket's default).

    Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3", PutObject.
    """
    return {f"s3:{name}": headers[name] for name in _ENCRYPTION_HEADERS if name in headers}


def encryption_of_upload(query: Mapping[str, Any]) -> dict[str, str] | None:
    """Return these keys of what its upload named, for a part and for the end of an upload; None for another request.

    Their requests name no encryption: S3 User Guide, "Uploading and copying objects using multipart upload".
    """
    upload = s3._multipart_uploads.get(_first(query.get("uploadId")))
    if upload is None:
        return None
    return s3_encryption(upload["preserved_headers"]) if upload["requested_sse"] else {}


def _for_writing(bucket: str, headers: Mapping[str, str], part: bool) -> list[Needs]:
    encryption, _ = s3._resolve_sse_write_headers(dict(headers), bucket)
    key = (encryption or {}).get("x-amz-server-side-encryption-aws-kms-key-id")
    return _key_needs(key, "s3", *(["kms:Decrypt"] if part else []), "kms:GenerateDataKey")


def _for_headers(bucket: str, key: str, headers: Mapping[str, str]) -> list[Needs]:
    names = [name for name in headers if name != "x-amz-tagging-directive"]  # which sets no tags by itself
    needed = {verb for name in names for beginning, verb in _OF_HEADERS.items() if name.startswith(beginning)}
    if headers.get("x-amz-copy-source") and headers.get("x-amz-tagging-directive", "COPY").upper() != "REPLACE":
        needed.discard("s3:PutObjectTagging")  # the header is ignored
    return [Needs(verb, f"arn:aws:s3:::{bucket}/{key}") for verb in sorted(needed)]


def _for_copying(bucket: str, headers: Mapping[str, str]) -> list[Needs]:
    source = iam_actions._s3_source_object(dict(headers))
    if source is None:
        return []
    from_bucket, _, key = source[0].removeprefix("arn:aws:s3:::").partition("/")
    with owners.scope(owners.of_bucket(from_bucket)):
        record = _object(from_bucket, key, source[1])
        if record is None:
            return [_to_be_told_that_it_is_missing(from_bucket)]
        return _key_needs(_key_of(record, from_bucket), "s3", "kms:Decrypt")


def _to_be_told_that_it_is_missing(bucket: str) -> Needs:
    return Needs("s3:ListBucket", f"arn:aws:s3:::{bucket}")


def _object(bucket: str, key: str, version: str) -> JsonObject | None:
    record = s3._buckets.get(bucket)
    if record is None:
        return {}  # there is no such bucket, and S3 says so itself
    if version:
        versions = s3._object_versions.get((bucket, key), [])
        return next((entry for entry in versions if entry["version_id"] == version), None)
    entry: JsonObject | None = record["objects"].get(key)
    return entry


def _key_of(record: JsonObject, bucket: str) -> str | None:
    stored = s3._stored_sse_headers(record) or (s3._bucket_default_sse_headers(bucket) if record else {})
    key: str | None = stored.get("x-amz-server-side-encryption-aws-kms-key-id")
    return key


def _first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value or "") if value else ""


def _key_needs(key: str | None, service: str, *actions: str) -> list[Needs]:
    """Permissions for a customer managed key; the keys that AWS manages (`alias/aws/...`) allow their whole account."""
    if not key or key.rpartition(":")[2].startswith("alias/aws/"):
        return []
    place, record = here(), kms._resolve_key(key) or {}
    # IAM User Guide, "Controlling access to AWS resources using tags"; KMS Developer Guide, "ABAC for AWS KMS"
    tags = {f"aws:ResourceTag/{tag['TagKey']}": tag["TagValue"] for tag in record.get("Tags", ())}
    context = {"kms:ViaService": f"{service}.{place.region}.amazonaws.com", **tags}
    return [Needs(action, key_arn(key, place), context) for action in actions]


def key_arn(key: str, place: Place) -> str:
    """Return the ARN of a key that is given by id, alias or ARN."""
    record = kms._resolve_key(key)
    if record:
        return str(record["Arn"])
    return key if key.startswith("arn:") else place.arn("kms", f"key/{key}")


# ---- CloudWatch


def logs_resource(action: str, parameters: JsonObject, place: Place) -> str:
    """Return the ARN that a policy has to match: `log-group:<name>:log-stream:<name>`.

    Without a stream it is the whole group's. CloudWatch Logs User Guide, "Log group ARN": in policies the ARN with the
    trailing `:*`, except for tagging.
    """
    group = parameters.get("logGroupName") or ""
    if not group:
        return "*"
    return place.arn("logs", f"log-group:{group}:log-stream:{parameters.get('logStreamName', '')}")


def metrics_context(body: bytes) -> dict[str, str]:
    """cloudwatch:namespace of a PutMetricData, as JSON or as a form."""
    try:
        namespace = json.loads(body).get("Namespace")
    except (ValueError, AttributeError, RecursionError):
        namespace = parse_qs(body.decode("utf-8", "replace")).get("Namespace", [None])[0]
    return {"cloudwatch:namespace": str(namespace)} if namespace else {}


# ---- Application Auto Scaling


def for_autoscaling(operation: str, members: JsonObject, place: Place) -> list[Needs]:
    """Return what Application Auto Scaling does with the permissions of who asks for it.

    Application Auto Scaling User Guide, "Identity-based policies", Permissions for service APIs on target services and
    CloudWatch: the variant to be scaled, and the alarms, whose names are those of a target tracking policy.
    """
    resource = str(members.get("ResourceId", ""))
    endpoint = place.arn("sagemaker", "/".join(resource.split("/")[:2]).lower())
    alarms = place.arn("cloudwatch", f"alarm:TargetTracking-{resource}-AlarmHigh")
    needed = {
        "RegisterScalableTarget": (
            *(("sagemaker:DescribeEndpoint", endpoint), ("sagemaker:UpdateEndpointWeightsAndCapacities", endpoint)),
        ),
        "PutScalingPolicy": (("cloudwatch:PutMetricAlarm", alarms), ("cloudwatch:DescribeAlarms", alarms)),
        "DeregisterScalableTarget": (("cloudwatch:DeleteAlarms", alarms),),
        "DeleteScalingPolicy": (("cloudwatch:DeleteAlarms", alarms),),
    }
    return [Needs(action, arn) for action, arn in needed.get(operation, ())]


def autoscaling_context(members: JsonObject) -> JsonObject:
    """Return the condition keys of a scalable target."""
    keys = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
    return {f"application-autoscaling:{key}": members[name] for key, name in keys.items() if name in members}


# ---- EventBridge


def events_context(entries: list[JsonObject]) -> JsonObject:
    """Return the condition keys of a PutEvents: a text, or a list where its events differ.

    Service Authorization Reference, "Actions, resources, and condition keys for Amazon EventBridge", PutEvents. Whether
    one event that is not allowed refuses the others is not written; here it refuses all.
    """
    members = {"events:source": "Source", "events:detail-type": "DetailType"}
    values = {key: sorted({str(entry.get(name)) for entry in entries}) for key, name in members.items()}
    return {key: texts[0] if len(texts) == 1 else texts for key, texts in values.items()}


# ---- Tasks of state machines


def _lambda(parameters: JsonObject, place: Place) -> list[Needs]:
    name = str(parameters.get("FunctionName", ""))
    arn = name if name.startswith("arn:") else place.arn("lambda", f"function:{name}")
    return [Needs("lambda:InvokeFunction", arn)]


def _parameter(action: str) -> Callable[[JsonObject, Place], list[Needs]]:
    def needs(parameters: JsonObject, place: Place) -> list[Needs]:
        arn = place.arn("ssm", f"parameter/{str(parameters.get('Name', '')).lstrip('/')}")
        tags = tag_context(parameters.get("Tags"))
        return [Needs(f"ssm:{action}", arn, tags), *([Needs("ssm:AddTagsToResource", arn, tags)] if tags else [])]

    return needs


def _item(action: str) -> Callable[[JsonObject, Place], list[Needs]]:
    def needs(parameters: JsonObject, place: Place) -> list[Needs]:
        name = str(parameters.get("TableName", ""))
        arn = name if name.startswith("arn:") else place.arn("dynamodb", f"table/{name}")
        return [Needs(f"dynamodb:{action}", arn), *for_dynamodb(f"dynamodb:{action}", arn)]

    return needs


def _publish(parameters: JsonObject, place: Place) -> list[Needs]:
    arn = parameters.get("TopicArn") or parameters.get("TargetArn") or "*"
    return [Needs("sns:Publish", arn), *for_sns_publish(arn)]


def _send(parameters: JsonObject, place: Place) -> list[Needs]:
    arn = place.arn("sqs", str(parameters.get("QueueUrl", "")).rstrip("/").rpartition("/")[2])
    return [Needs("sqs:SendMessage", arn), *for_sqs("sqs:SendMessage", arn)]


def _put_events(parameters: JsonObject, place: Place) -> list[Needs]:
    entries = parameters.get("Entries", [])
    arns = {_bus_arn(str(entry.get("EventBusName") or "default"), place) for entry in entries}
    return [Needs("events:PutEvents", arn, events_context(entries)) for arn in sorted(arns)]


def _bus_arn(bus: str, place: Place) -> str:
    return bus if bus.startswith("arn:") else place.arn("events", f"event-bus/{bus}")


# Parameters of CopyObject that need no other permissions than the copy does.
_OF_COPIES = {"Bucket", "ContentType", "CopySource", "Key", "Metadata", "MetadataDirective"}


def _copy_object(parameters: JsonObject, place: Place) -> list[Needs]:
    """S3 API Reference, CopyObject, permissions: to write the one, to read the other, and the keys of both."""
    if others := parameters.keys() - _OF_COPIES:
        raise NotMappedError(f"s3:CopyObject with {', '.join(sorted(others))}")
    headers = {"x-amz-copy-source": str(parameters.get("CopySource", ""))}
    path = f"{parameters.get('Bucket', '')}/{parameters.get('Key', '')}"
    needs = [Needs("s3:PutObject", f"arn:aws:s3:::{path}"), *for_s3("s3:PutObject", "PUT", path, headers, {})]
    if source := iam_actions._s3_source_object(headers):
        arn, version = source
        needs.append(Needs("s3:GetObjectVersion" if version else "s3:GetObject", arn))
    return needs


def _list_objects(parameters: JsonObject, place: Place) -> list[Needs]:
    """Service Authorization Reference, Amazon S3: ListBucket, with the condition keys of a listing."""
    keys = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys"}
    context = {key: str(parameters[name]) for name, key in keys.items() if name in parameters}
    return [Needs("s3:ListBucket", f"arn:aws:s3:::{parameters.get('Bucket', '')}", context)]


def _start_execution(parameters: JsonObject, place: Place) -> list[Needs]:
    return [Needs("states:StartExecution", str(parameters.get("StateMachineArn", "*")))]


_TASKS: dict[str, Callable[[JsonObject, Place], list[Needs]]] = {
    "lambda:invoke": _lambda,
    "aws-sdk:lambda:invoke": _lambda,
    "aws-sdk:ssm:putParameter": _parameter("PutParameter"),
    "aws-sdk:ssm:getParameter": _parameter("GetParameter"),
    "aws-sdk:ssm:deleteParameter": _parameter("DeleteParameter"),
    **{
        f"{prefix}dynamodb:{action[0].lower()}{action[1:]}": _item(action)
        for prefix in ("", "aws-sdk:")
        for action in ("GetItem", "PutItem", "UpdateItem", "DeleteItem")
    },
    "sns:publish": _publish,
    "aws-sdk:sns:publish": _publish,
    "sqs:sendMessage": _send,
    "aws-sdk:sqs:sendMessage": _send,
    "events:putEvents": _put_events,
    "aws-sdk:eventbridge:putEvents": _put_events,
    "aws-sdk:s3:copyObject": _copy_object,
    "aws-sdk:s3:listObjectsV2": _list_objects,
    "states:startExecution": _start_execution,
    "aws-sdk:sfn:startExecution": _start_execution,
}
"""Resource of a Task state, without `arn:aws:states:::` and `.sync` -> its permissions.

Step Functions Developer Guide, "IAM policies for integrated services"; an SDK integration needs its API action.
"""


def task(resource: str, parameters: JsonObject, place: Place) -> list[Needs]:
    """Return the permissions of a Task state when it begins.

    Raises:
        NotMappedError: a resource that is not known here.
    """
    if ":function:" in resource and resource.startswith("arn:aws:lambda:"):
        return [Needs("lambda:InvokeFunction", resource)]
    name = task_name(resource)
    for prefix in ("sagemaker:", "aws-sdk:sagemaker:", "aws-sdk:sagemakerruntime:"):
        if name.startswith(prefix):
            action = name.removeprefix(prefix)
            return sagemaker(action[:1].upper() + action[1:], parameters, place)
    if name not in _TASKS:
        raise NotMappedError(f"the task {resource}")
    return _TASKS[name](parameters, place)


def task_name(resource: str) -> str:
    """Convert `arn:aws:states:::sagemaker:createTrainingJob.sync` -> `sagemaker:createTrainingJob`."""
    return resource.removeprefix("arn:aws:states:::").split(".")[0]


_MANAGED_RULES = {
    "sagemaker:createProcessingJob": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "sagemaker:createTrainingJob": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "sagemaker:createTransformJob": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "sagemaker:createHyperParameterTuningJob": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    "states:startExecution": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}


def managed_rules(resources: list[str], place: Place) -> list[Needs]:
    """Return what `.sync` tasks need of the role when the state machine is made: the rule that tells a job's end.

    Step Functions Developer Guide, "IAM policies for SageMaker AI" and "... for Step Functions".
    """
    names = {_MANAGED_RULES[task_name(r)] for r in resources if ".sync" in r and task_name(r) in _MANAGED_RULES}
    return [
        Needs(f"events:{action}", place.arn("events", f"rule/{name}"))
        for name in sorted(names)
        for action in ("PutTargets", "PutRule", "DescribeRule")
    ]
