"""What an operation needs besides its own action, of IAM users as of roles' sessions.

The requests are those that somebody with too little would send. Each has a twin that has enough.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.integration.conftest import Cloud, policy, unique
from tests.integration.localcloud.engine.test_guard import client, own, send, session, signed
from tests.waiting import wait_for
from tools import cfn

ROOT = Path(__file__).parents[4]
ACCOUNT = "000000000000"
KINDS = ("user", "session")


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    """A bucket that keeps versions."""
    name, s3 = unique("permitted"), cloud.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def allowed(cloud: Cloud, kind: str, *actions: str, resource: str = "*") -> Credentials:
    """The keys of somebody who may do these actions."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    if kind == "session":
        return session(cloud, statement)
    iam, name = cloud.client("iam"), unique("user")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy(statement))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(made["AccessKeyId"], made["SecretAccessKey"])


@contextmanager
def denied(action: str) -> Iterator[None]:
    with pytest.raises(ClientError) as refused:
        yield
    error = refused.value.response["Error"]
    assert error["Code"].startswith("AccessDenied"), error
    assert f"is not authorized to perform: {action} on resource" in error["Message"], error


def put(cloud: Cloud, bucket: str, key: str) -> str:
    return str(cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"1")["VersionId"])


def versions(cloud: Cloud, bucket: str, key: str) -> list[str]:
    listed = cloud.client("s3").list_object_versions(Bucket=bucket, Prefix=key)
    return [version["VersionId"] for version in listed.get("Versions", [])]


@pytest.mark.parametrize("kind", KINDS)
def test_deleting_versions_needs_its_own_permission_one_by_one_and_many_at_once(
    cloud: Cloud, bucket: str, kind: str
) -> None:
    key = unique("raw/k")
    old, new = put(cloud, bucket, key), put(cloud, bucket, key)
    mine = client(cloud, "s3", allowed(cloud, kind, "s3:DeleteObject"))
    both = [{"Key": key, "VersionId": old}, {"Key": key, "VersionId": new}]

    with denied("s3:DeleteObjectVersion"):
        mine.delete_object(Bucket=bucket, Key=key, VersionId=old)
    for objects in (both[:1], both, [{"Key": "other"}, *both]):
        answer = mine.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        refused = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in answer["Errors"]]
        assert refused == objects[-len(refused) :]
        assert [one["Key"] for one in answer.get("Deleted", [])] == [one["Key"] for one in objects[: -len(refused)]]
        assert {one["Code"] for one in answer["Errors"]} == {"AccessDenied"}
        assert "is not authorized to perform: s3:DeleteObjectVersion on resource: " in answer["Errors"][0]["Message"]
    assert versions(cloud, bucket, key) == [new, old]
    assert "Errors" not in mine.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "other"}]})

    more = client(cloud, "s3", allowed(cloud, kind, "s3:DeleteObjectVersion"))
    some = {"Objects": [both[0], {"Key": key}], "Quiet": True}
    (error,) = more.delete_objects(Bucket=bucket, Delete=some)["Errors"]
    assert (error["Key"], "VersionId" in error) == (key, False)
    assert "is not authorized to perform: s3:DeleteObject on resource: " in error["Message"]
    assert versions(cloud, bucket, key) == [new]
    more.delete_objects(Bucket=bucket, Delete={"Objects": both})
    assert versions(cloud, bucket, key) == []


@pytest.mark.parametrize("host", ["path", "virtual"])
def test_an_object_that_is_named_twice_in_a_deletion_is_asked_for_twice(cloud: Cloud, bucket: str, host: str) -> None:
    """S3 of MiniStack takes the first name, what asks for permissions the last."""
    key = unique("kept/k")
    version = put(cloud, bucket, key)
    keys = allowed(cloud, "session", "s3:DeleteObject", resource=f"arn:aws:s3:::{bucket}/mine/*")
    place = {"Host": f"{bucket}.s3.localhost:{cloud.settings.port}"} if host == "virtual" else {}
    path = "/?delete" if host == "virtual" else f"/{bucket}?delete"

    def is_denied(inside: str) -> bool:
        body = f"<Delete><Object>{inside}</Object></Delete>".encode()
        headers = {**signed(cloud, "POST", path, body, "s3", keys, **place), **place}
        answer = send(cloud, "POST", path, body, headers)
        assert answer.status == 200
        return b"<Code>AccessDenied</Code>" in answer.body

    mine = "<Key>mine/x</Key>"
    assert not is_denied(mine)
    assert is_denied(f"<Key>{key}</Key>{mine}")
    assert is_denied(f"{mine}<VersionId>{version}</VersionId><VersionId></VersionId>")
    assert versions(cloud, bucket, key) == [version]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", ["get_parameters", "delete_parameters"])
def test_each_of_several_parameters_is_asked_for(cloud: Cloud, kind: str, operation: str) -> None:
    ssm, mine, other = cloud.client("ssm"), unique("/mine/p"), unique("/other/p")
    for name in (mine, other):
        ssm.put_parameter(Name=name, Value="v", Type="String")
    action = f"ssm:{''.join(word.title() for word in operation.split('_'))}"
    keys = allowed(cloud, kind, action, resource="arn:aws:ssm:us-east-1:000000000000:parameter/mine/*")
    ask = getattr(client(cloud, "ssm", keys), operation)

    for names in ([other], [mine, other], [other, mine], ["/mine/none", mine, other]):
        with denied(action):
            ask(Names=names)
    assert [each["Name"] for each in ssm.get_parameters(Names=[mine, other])["Parameters"]] == [mine, other]
    ask(Names=[mine, "/mine/none"])


UPLOADS: list[tuple[dict[str, Any], str]] = [
    ({"Tagging": "a=b"}, "s3:PutObjectTagging"),
    ({"ACL": "private"}, "s3:PutObjectAcl"),
    ({"GrantRead": "id=x"}, "s3:PutObjectAcl"),
    ({"ObjectLockLegalHoldStatus": "ON"}, "s3:PutObjectLegalHold"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("given", "action"), UPLOADS)
def test_an_upload_with_more_than_content_needs_more(
    cloud: Cloud, bucket: str, kind: str, given: dict[str, Any], action: str
) -> None:
    s3 = client(cloud, "s3", allowed(cloud, kind, "s3:PutObject", "s3:GetObject"))
    source = {"Bucket": bucket, "Key": "source"}
    put(cloud, bucket, "source")
    copied = {"TaggingDirective": "REPLACE", **given} if "Tagging" in given else given

    with denied(action):
        s3.put_object(Bucket=bucket, Key="tagged", Body=b"1", **given)
    with denied(action):
        s3.create_multipart_upload(Bucket=bucket, Key="tagged", **given)
    with denied(action):
        s3.copy_object(Bucket=bucket, Key="tagged", CopySource=source, **copied)
    assert versions(cloud, bucket, "tagged") == []
    s3.put_object(Bucket=bucket, Key="plain", Body=b"1")
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=source)


def test_what_an_address_presigns_as_parameters_needs_what_headers_need(cloud: Cloud, bucket: str) -> None:
    less = allowed(cloud, "session", "s3:PutObject")
    enough = allowed(cloud, "session", "s3:PutObject", "s3:PutObjectTagging")
    for keys, status in ((less, 403), (enough, 200)):
        request = AWSRequest("PUT", f"{cloud.endpoint_url}/{bucket}/presigned?x-amz-tagging=a%3Db")
        S3SigV4QueryAuth(keys, "s3", cloud.region, 60).add_auth(request)
        assert send(cloud, "PUT", str(request.url).removeprefix(cloud.endpoint_url), b"1").status == status


@pytest.mark.parametrize("kind", KINDS)
def test_tags_are_put_by_who_may(cloud: Cloud, bucket: str, kind: str) -> None:
    s3 = client(cloud, "s3", allowed(cloud, kind, "s3:PutObject", "s3:PutObjectTagging"))
    s3.put_object(Bucket=bucket, Key="mine", Body=b"1", Tagging="a=b")
    tags = cloud.client("s3").get_object_tagging(Bucket=bucket, Key="mine")["TagSet"]
    assert tags == [{"Key": "a", "Value": "b"}]


def test_events_are_sent_by_who_may_send_all_of_them(cloud: Cloud) -> None:
    conditions = {
        "ForAllValues:StringEquals": {"events:source": "mine"},
        "StringEquals": {"events:detail-type": "Judged"},
    }
    statement = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", "Condition": conditions}
    events = client(cloud, "events", session(cloud, statement))
    own = {"Source": "mine", "DetailType": "Judged", "Detail": "{}"}
    assert events.put_events(Entries=[own, own])["FailedEntryCount"] == 0
    for other in ({**own, "Source": "theirs"}, {**own, "DetailType": "Other"}):
        for entries in ([other], [own, other]):
            with denied("events:PutEvents"):
                events.put_events(Entries=entries)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_under_a_key_needs_the_key(cloud: Cloud, bucket: str, kind: str) -> None:
    """By the path, and by a host of the bucket's own."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    cloud.client("s3").put_object(Bucket=bucket, Key="locked", Body=b"1", **encrypted)
    less, enough = allowed(cloud, kind, "s3:*"), allowed(cloud, kind, "s3:*", "kms:*")
    s3 = client(cloud, "s3", less)

    with denied("kms:GenerateDataKey"):
        s3.put_object(Bucket=bucket, Key="locked", Body=b"2", **encrypted)
    with denied("kms:Decrypt"):
        s3.get_object(Bucket=bucket, Key="locked")
    assert client(cloud, "s3", enough).get_object(Bucket=bucket, Key="locked")["Body"].read() == b"1"
    place = {"Host": f"{bucket}.s3.localhost:{cloud.settings.port}"}
    for keys, status in ((less, 403), (enough, 200)):
        headers = signed(cloud, "GET", "/locked", service="s3", keys=keys, **place)
        assert send(cloud, "GET", "/locked", headers={**headers, **place}).status == status


# ---- What is asked for is what is done


def aside(
    cloud: Cloud, keys: Credentials, service: str, path: str, body: bytes, method: str = "POST", **headers: str
) -> tuple[int, bytes]:
    """The answer to a request that no client of AWS makes."""
    if service == "s3":  # signs a path as it stands
        request = AWSRequest(method, cloud.endpoint_url + path, data=body, headers=headers)
        S3SigV4Auth(keys, service, cloud.region).add_auth(request)
        answer = send(cloud, method, path, body, dict(request.headers))
    else:
        answer = send(cloud, method, path, body, signed(cloud, method, path, body, service, keys, **headers))
    return answer.status, answer.body


@pytest.mark.parametrize(
    "path",
    ["/x/cars/invocations", "/endpoints/cars/invocations", "/endpoints/cars/invocations/", "/endpoints/cars", "/x"],
)
def test_who_may_invoke_an_endpoint_may_call_nothing_else_by_its_path(cloud: Cloud, path: str) -> None:
    keys = allowed(
        cloud, "user", "sagemaker:InvokeEndpoint", resource=f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/cars"
    )
    for operation in ("ListModels", "DeleteEndpoint", "CreateProcessingJob", "InvokeEndpoint"):
        target = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        status, body = aside(cloud, keys, "sagemaker", path, b'{"EndpointName": "cars"}', **target)
        assert status == 403, body
    owner = aside(cloud, own(cloud), "sagemaker", path, b"{}", **{"X-Amz-Target": "SageMaker.ListModels"})
    assert b"UnknownOperationException" in owner[1], owner


def test_an_endpoint_is_named_by_its_path_as_it_stands(cloud: Cloud) -> None:
    allow = {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"}
    deny = {**allow, "Effect": "Deny", "Resource": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/my-cars"}
    keys = session(cloud, allow, deny)

    def invoke(name: str) -> int:
        return aside(cloud, keys, "sagemaker", f"/endpoints/{name}/invocations", b"1")[0]

    assert (invoke("my-cars"), invoke("my%2Dcars"), invoke("MY-CARS")) == (403, 403, 403)
    assert invoke("my%252Dcars") == 403
    assert invoke("your-cars") == 400  # there is no such endpoint


def may_invoke(cloud: Cloud, keys: Credentials, endpoint: str) -> bool:
    """Whether a request has come as far as SageMaker, which has no such endpoint."""
    with pytest.raises(ClientError) as refused:
        client(cloud, "sagemaker-runtime", keys).invoke_endpoint(EndpointName=endpoint, Body=b"1")
    code = refused.value.response["Error"]["Code"]
    assert code in ("ValidationError", "AccessDeniedException")
    return bool(code == "ValidationError")


def test_every_invocation_is_decided_by_what_is_in_force_at_that_moment(cloud: Cloud) -> None:
    iam, name = cloud.client("iam"), unique("cars")
    invoke = {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": f"arn:*:endpoint/{name}"}
    keys = session(cloud, invoke)
    role = client(cloud, "sts", keys).get_caller_identity()["Arn"].split("/")[1]
    soon = datetime.now(UTC) + timedelta(seconds=3)

    def allowed_by(*statements: dict[str, Any]) -> bool:
        iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=policy(*statements))
        return may_invoke(cloud, keys, name)

    def under(operator: str, key: str, value: str) -> bool:
        return allowed_by(invoke | {"Condition": {operator: {key: value}}})

    assert under("DateLessThan", "aws:CurrentTime", soon.isoformat())
    wait_for(lambda: not may_invoke(cloud, keys, name), "the time is up")
    assert under("IpAddress", "aws:SourceIp", "127.0.0.0/8")
    assert not under("IpAddress", "aws:SourceIp", "10.0.0.0/8")
    assert not under("StringEquals", "aws:PrincipalTag/team", "cars")
    iam.tag_role(RoleName=role, Tags=[{"Key": "team", "Value": "cars"}])
    assert may_invoke(cloud, keys, name)
    assert allowed_by(invoke)
    assert not may_invoke(cloud, keys, f"{name}-eu")
    assert not allowed_by(invoke, {**invoke, "Effect": "Deny"})
    assert allowed_by(invoke)
    boundary = iam.create_policy(PolicyName=name, PolicyDocument=policy({**invoke, "Resource": "arn:*:endpoint/other"}))
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary["Policy"]["Arn"])
    assert not may_invoke(cloud, keys, name)
    iam.delete_role_permissions_boundary(RoleName=role)
    assert may_invoke(cloud, keys, name)
    iam.delete_role_policy(RoleName=role, PolicyName="all")
    with denied("sagemaker:InvokeEndpoint"):
        client(cloud, "sagemaker-runtime", keys).invoke_endpoint(EndpointName=name, Body=b"1")
    assert allowed_by(invoke)
    iam.delete_role_policy(RoleName=role, PolicyName="all")
    iam.delete_role(RoleName=role)
    assert not may_invoke(cloud, keys, name)


def test_users_invoke_endpoints_by_their_own_policies_and_by_those_of_their_groups(cloud: Cloud) -> None:
    iam, name = cloud.client("iam"), unique("cars")
    keys = allowed(cloud, "user", "sagemaker:InvokeEndpoint", resource=f"arn:*:endpoint/{name}")
    user = client(cloud, "sts", keys).get_caller_identity()["Arn"].rpartition("/")[2]

    assert may_invoke(cloud, keys, name)
    iam.delete_user_policy(UserName=user, PolicyName="all")
    assert not may_invoke(cloud, keys, name)
    iam.create_group(GroupName=name)
    everything = policy({"Effect": "Allow", "Action": "*", "Resource": "*"})
    iam.put_group_policy(GroupName=name, PolicyName="all", PolicyDocument=everything)
    iam.add_user_to_group(GroupName=name, UserName=user)
    assert may_invoke(cloud, keys, name)
    iam.remove_user_from_group(GroupName=name, UserName=user)
    assert not may_invoke(cloud, keys, name)


def as_form(cloud: Cloud, keys: Credentials, service: str, body: dict[str, str], query: dict[str, str]) -> int:
    path = f"/?{urlencode(query)}" if query else "/"
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    return aside(cloud, keys, service, path, urlencode(body).encode(), **form)[0]


def as_json(
    cloud: Cloud, keys: Credentials, service: str, target: str, body: dict[str, Any], path: str = "/"
) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
    return aside(cloud, keys, service, path, json.dumps(body).encode(), **headers)


def test_the_address_does_not_tell_the_permission_when_the_form_tells_the_work(cloud: Cloud) -> None:
    name, iam = unique("reader"), cloud.client("iam")
    iam.create_user(UserName=name)
    mine = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    keys = allowed(cloud, "session", "iam:GetUser", resource=mine)
    everything = policy({"Effect": "Allow", "Action": "*", "Resource": "*"})
    get = {"Action": "GetUser", "UserName": name}
    put = {"Action": "PutUserPolicy", "UserName": name, "PolicyName": "p", "PolicyDocument": everything}

    for body, query in (
        (put, get),
        (get, put),
        (put, {"Action": "GetUser"}),
        ({**put, "RoleName": "x"}, {}),
        (put, {}),
    ):
        assert as_form(cloud, keys, "iam", body, query) in (403, 404)
    assert iam.list_user_policies(UserName=name)["PolicyNames"] == []
    assert (as_form(cloud, keys, "iam", get, {}), as_form(cloud, keys, "iam", {}, get)) == (200, 200)


def test_a_topic_is_told_by_one_parameter(cloud: Cloud) -> None:
    sns = cloud.client("sns")
    mine, other = (sns.create_topic(Name=unique(name))["TopicArn"] for name in ("mine", "other"))
    keys = allowed(cloud, "session", "sns:DeleteTopic", "sns:Publish", resource=mine)
    delete = {"Action": "DeleteTopic", "TopicArn": other}

    assert as_form(cloud, keys, "sns", delete, {"TopicArn": mine}) == 404
    assert as_form(cloud, keys, "sns", delete, {"Action": "GetTopicAttributes", "TopicArn": mine}) == 404
    assert as_form(cloud, keys, "sns", {**delete, "TargetArn": mine}, {}) == 403
    publish = {"Action": "Publish", "TopicArn": mine, "Message": "m"}
    assert as_form(cloud, keys, "sns", {**publish, "TargetArn": other}, {}) == 403
    assert as_form(cloud, keys, "sns", publish, {}) == 200
    sns.get_topic_attributes(TopicArn=other)


def test_a_member_that_an_operation_does_not_have_permits_nothing(cloud: Cloud) -> None:
    ssm, dynamodb = cloud.client("ssm"), cloud.client("dynamodb")
    mine, other = unique("/mine/p"), unique("/other/p")
    for name in (mine, other):
        ssm.put_parameter(Name=name, Value="before", Type="String")
    tables = [unique(name) for name in ("mine", "other")]
    for name in tables:
        dynamodb.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        )  # fmt: skip
    everything = {"Effect": "Allow", "Action": ["ssm:*", "dynamodb:*"]}
    keys = session(
        cloud,
        {**everything, "Resource": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter{mine}"},
        {**everything, "Resource": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{tables[0]}"},
    )

    def ask(service: str, operation: str, **members: Any) -> int:
        prefix = {"ssm": "AmazonSSM", "dynamodb": "DynamoDB_20120810"}[service]
        return as_json(cloud, keys, service, f"{prefix}.{operation}", members)[0]

    key, select = {"k": {"S": "x"}}, "SELECT * FROM "
    get, arn = {"Get": {"TableName": tables[1], "Key": key}}, f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{tables[1]}"
    put = {"Value": "after", "Type": "String", "Overwrite": True}
    refused = [
        ask("ssm", "GetParameter", Name=other, Names=[mine]),
        ask("ssm", "PutParameter", Name=other, Names=[mine], Path=mine, **put),
        ask("ssm", "GetParameter", Name=f"{other}:1"),
        ask("dynamodb", "BatchGetItem", TableName=tables[0], RequestItems={tables[1]: {"Keys": [key]}}),
        ask("dynamodb", "BatchGetItem", RequestItems={name: {"Keys": [key]} for name in tables}),
        ask(
            "dynamodb",
            "TransactGetItems",
            TableName=tables[0],
            TransactItems=[get],
        ),
        ask("dynamodb", "ExecuteStatement", TableName=tables[0], Statement=select + tables[1]),
        ask("dynamodb", "ExecuteStatement", Statement=select + tables[0]),
        ask(
            "dynamodb",
            "GetItem",
            TableName=f"{arn}/{tables[0]}",
            Key=key,
        ),
    ]
    assert set(refused) <= {400, 403}, refused
    assert ssm.get_parameter(Name=other)["Parameter"]["Value"] == "before"
    assert ask("ssm", "PutParameter", Name=mine, Names=[other], **put) == 200
    assert ask("dynamodb", "BatchGetItem", TableName=tables[1], RequestItems={tables[0]: {"Keys": [key]}}) == 200


def test_an_execution_is_told_by_its_own_arn(cloud: Cloud) -> None:
    beginning = f"arn:aws:states:us-east-1:{ACCOUNT}:execution"
    keys = allowed(cloud, "session", "states:DescribeExecution", "states:StopExecution", resource=f"{beginning}:mine:*")
    for operation in ("DescribeExecution", "StopExecution"):
        target = f"AWSStepFunctions.{operation}"
        members = {"executionArn": f"{beginning}:other:x", "stateMachineArn": f"{beginning}:mine:x", "name": "mine"}
        status, body = as_json(cloud, keys, "states", target, members)
        assert (status, b"AccessDenied" in body) == (403, True), body
        assert b"ExecutionDoesNotExist" in as_json(
            cloud, keys, "states", target, {"executionArn": f"{beginning}:mine:x"}
        )[1]  # fmt: skip


def test_a_queue_is_told_by_the_address_as_it_is_read(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    mine, other = (sqs.create_queue(QueueName=unique(name))["QueueUrl"] for name in ("mine", "other"))
    sqs.send_message(QueueUrl=other, MessageBody="secret")
    path, theirs = urlsplit(mine).path, urlsplit(other).path
    keys = allowed(cloud, "session", "sqs:*", resource=f"arn:aws:sqs:us-east-1:{ACCOUNT}:{path.rpartition('/')[2]}")

    def receive(url: str, path: str = "/") -> tuple[int, bytes]:
        return as_json(cloud, keys, "sqs", "AmazonSQS.ReceiveMessage", {"QueueUrl": url}, path)

    for url in (other, f"{other}?x={path}", f"{other}#{path}", f"{other}/..{path}", f"{mine}/..{theirs}"):
        status, body = receive(url)
        assert (status in (400, 403), b"secret" in body) == (True, False), (url, body)
    assert b"secret" not in receive(mine, theirs)[1]
    query = {"Action": "ReceiveMessage", "Version": "2012-11-05"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert aside(cloud, keys, "sqs", theirs, urlencode(query).encode(), **form)[0] == 403
    assert aside(cloud, keys, "sqs", path, urlencode(query).encode(), **form)[0] == 200
    assert receive(mine)[0] == 200


@pytest.mark.parametrize("path", ["/{}//raw/x", "/{}/raw//../x", "/{}//", "/{}/raw/%2Fx", "/{}/raw%252Fx"])
def test_an_object_is_judged_by_the_key_that_is_stored(cloud: Cloud, bucket: str, path: str) -> None:
    keys = allowed(cloud, "session", "s3:PutObject", resource=f"arn:aws:s3:::{bucket}/raw/*")
    path = path.format(bucket)

    status, body = aside(cloud, keys, "s3", path, b"x", "PUT")

    key = unquote(path).removeprefix(f"/{bucket}/")
    stored = [each["Key"] for each in cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert (status == 200, key in stored) == (key.startswith("raw/"),) * 2, (status, body, key, stored)


@pytest.mark.parametrize(("method", "query", "granted"), [
    ("DELETE", "Action=GetObject", "s3:GetObject"),
    ("GET", "location", "s3:GetBucketLocation"),
    ("GET", "policy", "s3:GetBucketPolicy"),
    ("DELETE", "versionId=null&versionId=", "s3:DeleteObjectVersion"),
    ("PUT", "acl&tagging", "s3:PutObjectTagging"),
    ("PUT", "uploadId=x", "s3:AbortMultipartUpload"),
])  # fmt: skip
def test_no_parameter_makes_one_operation_of_an_object_pass_for_another(
    cloud: Cloud, bucket: str, method: str, query: str, granted: str
) -> None:
    key = unique("kept")
    put(cloud, bucket, key)
    keys = allowed(cloud, "session", granted)
    assert aside(cloud, keys, "s3", f"/{bucket}/{key}?{query}", b"", method)[0] == 403
    headers = {"X-Amz-Target": f"x.{granted.removeprefix('s3:')}"}
    assert aside(cloud, keys, "s3", f"/{bucket}/{key}", b"", "DELETE", **headers)[0] == 403
    assert len(versions(cloud, bucket, key)) == 1


@pytest.mark.parametrize("query", ["metrics", "analytics", "inventory", "intelligent-tiering"])
def test_no_parameter_makes_the_deletion_of_a_bucket_pass_for_another_operation(cloud: Cloud, query: str) -> None:
    name = unique("kept")
    cloud.client("s3").create_bucket(Bucket=name)
    keys = allowed(cloud, "session", "s3:PutMetricsConfiguration", "s3:Put*Configuration")
    assert aside(cloud, keys, "s3", f"/{name}?{query}", b"", "DELETE")[0] == 403
    cloud.client("s3").head_bucket(Bucket=name)


@pytest.mark.parametrize("host", ["{}.localhost", "{}.s3.localhost", "{}.s3-website.localhost"])
def test_a_bucket_as_the_host_is_asked_for_as_one_in_the_path(cloud: Cloud, bucket: str, host: str) -> None:
    """MiniStack asks for no permission of what it takes for no operation, and does it."""
    key, place = unique("kept"), {"Host": f"{host.format(bucket)}:{cloud.settings.port}"}
    put(cloud, bucket, key)
    keys = allowed(cloud, "session", "s3:GetObject", resource=f"arn:aws:s3:::{bucket}/{key}")
    unknown = [(method, f"/{key}?x=1&x=2") for method in ("GET", "PUT", "DELETE")]
    for method, path in (*unknown, ("GET", f"/{key}?torrent"), ("GET", "/?x=1&x=2"), ("DELETE", "/?metrics")):
        assert aside(cloud, keys, "s3", path, b"", method, **place)[0] == 403, (method, path)
    assert aside(cloud, keys, "s3", f"/{key}", b"", "GET", **place) == (200, b"1")
    assert len(versions(cloud, bucket, key)) == 1


def test_a_key_is_as_long_as_s3_takes_it(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="é" * 512, Body=b"1")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="é" * 512 + "x", Body=b"1")
    assert refused.value.response["Error"]["Code"] == "KeyTooLongError"


def test_what_nobody_has_mapped_is_root_s_alone(cloud: Cloud) -> None:
    """A policy that allows everything but one operation would else allow it under another name."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for service, operation in (("glue", "get_databases"), ("ec2", "describe_vpcs")):
        with pytest.raises(ClientError) as refused:
            getattr(client(cloud, service, session(cloud, everything)), operation)()
        assert "The local cloud does not know which permissions" in str(refused.value)
        getattr(cloud.client(service), operation)()


def test_images_are_pushed_and_pulled_by_root_alone(cloud: Cloud) -> None:
    """MiniStack's registry asks for no permission."""
    everything = session(cloud, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    name = unique("images")
    cloud.client("ecr").create_repository(repositoryName=name)
    path, blob = f"/v2/{name}/blobs/uploads/", b"layer"
    assert aside(cloud, everything, "ecr", path, blob)[0] >= 400
    assert aside(cloud, everything, "ecr", "/v2/_catalog", b"", "GET")[0] >= 400
    assert aside(cloud, own(cloud), "ecr", path, b"")[0] == 202


@pytest.mark.parametrize("names_the_key", [True, False])
def test_an_upload_in_parts_is_let_in_by_the_policy_of_the_stacks_bucket(cloud: Cloud, names_the_key: bool) -> None:
    """The parts of an upload name no encryption; what its beginning has named counts for each of them."""
    name, s3 = unique("parts"), cloud.client("s3")
    key, other = (cloud.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    s3.create_bucket(Bucket=name)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    template = cfn.load(ROOT / "template.yaml")["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]
    written = [one for one in template["Statement"] if one.get("Sid") in ("OnlyOwnKey", "NoKeyOfTheCaller")]
    assert len(written) == 2
    written[0]["Condition"]["StringNotEquals"] = {"s3:x-amz-server-side-encryption-aws-kms-key-id": key}
    s3.put_bucket_policy(
        Bucket=name, Policy=policy(*({**one, "Resource": f"arn:aws:s3:::{name}/*"} for one in written))
    )

    mine = client(cloud, "s3", allowed(cloud, "session", "s3:PutObject", "kms:*"))
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    by = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if names_the_key else {}
    mine.upload_fileobj(io.BytesIO(bytes(6 << 20)), name, "large", ExtraArgs=by, Config=parts)
    stored = s3.head_object(Bucket=name, Key="large")
    assert (stored["ContentLength"], stored["SSEKMSKeyId"]) == (6 << 20, key)
    by = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": other}
    with pytest.raises(ClientError, match="with an explicit deny in a resource-based policy"):
        mine.create_multipart_upload(Bucket=name, Key="large", **by)
