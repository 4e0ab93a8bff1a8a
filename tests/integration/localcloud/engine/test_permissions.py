"""What an operation needs besides its own action, of IAM users as of roles' sessions.

The requests are those that somebody with too little would send. Each has a twin that has enough.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.integration.conftest import Cloud, policy, unique
from tests.integration.localcloud.engine.test_guard import client, own, send, session, signed
from tests.waiting import wait_for

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
        with denied("s3:DeleteObjectVersion"):
            mine.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert versions(cloud, bucket, key) == [new, old]
    assert "Errors" not in mine.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "other"}]})

    more = client(cloud, "s3", allowed(cloud, kind, "s3:DeleteObjectVersion"))
    with denied("s3:DeleteObject"):
        more.delete_objects(Bucket=bucket, Delete={"Objects": [*both, {"Key": key}]})
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

    def ask(inside: str) -> int:
        body = f"<Delete><Object>{inside}</Object></Delete>".encode()
        return send(
            cloud, "POST", path, body, {**signed(cloud, "POST", path, body, "s3", keys, **place), **place}
        ).status

    mine = "<Key>mine/x</Key>"
    assert ask(mine) == 200
    assert ask(f"<Key>{key}</Key>{mine}") == 403
    assert ask(f"{mine}<VersionId>{version}</VersionId><VersionId></VersionId>") == 403
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
