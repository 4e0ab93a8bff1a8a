"""Attacks on the local cloud: by web pages, by other users of the machine, by programs with a role of their own.

Each request is what a browser or curl would send. A healthy twin of the attack works, so that the refusal is not for
another reason.
"""

import asyncio
import gzip
import hashlib
import http.client
import io
import json
import os
import socket
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode, urlsplit
from zlib import crc32

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from localcloud import access
from localcloud.engine import guard as guard_module
from localcloud.engine.guard import Guard, _require_scope
from localcloud.settings import Settings
from tests.integration.conftest import ROLE, Cloud, make_function, policy, unique

STATUS = access.STATUS_PATH
IDENTITY = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def send(cloud: Cloud, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """One request, with these headers and no others but Host and Content-Length."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.port, timeout=20)
    try:
        connection.request(method, path, body or None, headers or {})
        reply = connection.getresponse()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


@contextmanager
def clock(moved: timedelta) -> Iterator[None]:
    """Botocore signs as if it were another time."""
    with patch.object(botocore.auth, "get_current_datetime", lambda **_: datetime.now(UTC) + moved):
        yield


def own(cloud: Cloud) -> Credentials:
    keys = access.keys(cloud.state)
    return Credentials(keys.access_key, keys.secret_key)


def signed(
    cloud: Cloud, method: str, path: str, body: bytes = b"", service: str = "sts", keys: Credentials | None = None,
    **headers: str,
) -> dict[str, str]:  # fmt: skip
    """The headers of a signed request."""
    request = AWSRequest(method, cloud.endpoint_url + path, data=body, headers=headers)
    botocore.auth.SigV4Auth(keys or own(cloud), service, cloud.region).add_auth(request)
    return dict(request.headers)


def signed_query(
    cloud: Cloud, method: str, path: str, body: bytes, service: str, keys: Credentials, seconds: Any = 300
) -> str:
    """The path with a signature in its query."""

    class Auth(botocore.auth.SigV4QueryAuth):
        def payload(self, request: Any) -> str:  # botocore would sign an empty one
            return hashlib.sha256(body).hexdigest()

    request = AWSRequest(method, cloud.endpoint_url + path)
    Auth(keys, service, cloud.region, seconds).add_auth(request)
    parts = urlsplit(str(request.url))
    return f"{parts.path}?{parts.query}"


def identity(cloud: Cloud, **headers: str) -> Answer:
    """A healthy request, with some headers more."""
    body = urlencode(IDENTITY).encode()
    return send(cloud, "POST", "/", body, {**signed(cloud, "POST", "/", body, **FORM), **headers})


# ---- Web pages

THEIRS = (
    {"Host": "attacker.example"},
    {"Host": "attacker.example:4566"},
    {"Host": "127.0.0.1.attacker.example"},
    {"Host": "localhost.attacker.example"},
    {"Host": "192.168.1.7"},
    {"Host": "0.0.0.0"},  # noqa: S104
    {"Host": "127.0.0.1@attacker.example"},
    {"Host": ""},
    {"Origin": "https://attacker.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8888"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


def test_a_program_of_this_machine_is_answered(cloud: Cloud) -> None:
    answer = identity(cloud)

    assert (answer.status, ":root" in answer.text) == (200, True)
    assert identity(cloud, **{"Sec-Fetch-Site": "none"}).status == 200


@pytest.mark.parametrize("headers", THEIRS, ids=str)
def test_a_web_page_is_refused_even_with_the_right_signature(cloud: Cloud, headers: dict[str, str]) -> None:
    body = urlencode(IDENTITY).encode()
    answer = send(cloud, "POST", "/", body, {**signed(cloud, "POST", "/", body, **FORM, **headers), **headers})

    assert answer.status == 403, answer.text
    assert json.loads(answer.text)["message"].startswith("The request ")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "[::1]", "x.localhost"])
def test_every_name_of_the_loopback_is_taken(cloud: Cloud, host: str) -> None:
    body, given = urlencode(IDENTITY).encode(), {"Host": f"{host}:{cloud.settings.port}"}

    assert send(cloud, "POST", "/", body, {**signed(cloud, "POST", "/", body, **FORM, **given), **given}).status == 200


def test_no_answer_lets_a_web_page_read_it(cloud: Cloud) -> None:
    answers = [
        identity(cloud),
        send(cloud, "OPTIONS", "/", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}),
        send(cloud, "OPTIONS", "/"),
        send(cloud, "GET", "/_ministack/health"),
        send(cloud, "GET", "/"),
        send(cloud, "GET", "/", headers=signed(cloud, "GET", "/", service="s3")),
    ]

    assert [answer.status for answer in answers] == [200, 403, 403, 403, 403, 200]
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


def code_of_the_attack() -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return 'owned'\n")
    return package.getvalue()


GUESSES = [("local", "local"), ("test", "test"), ("000000000000", "local"), ("000000000000", "test"), ("", "")]


@pytest.mark.parametrize(("key", "secret"), GUESSES)
def test_three_simple_posts_of_a_page_create_and_invoke_no_function(cloud: Cloud, key: str, secret: str) -> None:
    """Cross-site POSTs that need no preflight: text/plain, and the signature (00, or a guess) in the address."""
    name = unique("owned")
    function = {
        "FunctionName": name, "Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE,
        "Code": {"ZipFile": b64encode(code_of_the_attack()).decode()},
    }  # fmt: skip
    create, plain = json.dumps(function).encode(), {"Content-Type": "text/plain"}
    posts = [("/2015-03-31/functions", create), (f"/2015-03-31/functions/{name}/invocations", b"{}")]
    for page in ({}, {"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site"}):
        for path, body in posts:
            guessed = signed_query(cloud, "POST", path, body, "lambda", Credentials(key or "x", secret or "x"))
            nought = guessed[: guessed.index("X-Amz-Signature=")] + "X-Amz-Signature=00"
            known = nought.replace(f"={key}%2F", f"={access.keys(cloud.state).access_key}%2F") if key else nought
            for address in (guessed, nought, known, path):
                assert send(cloud, "POST", address, body, {**plain, **page}).status == 403

    listed = cloud.client("lambda").list_functions()["Functions"]
    assert name not in [each["FunctionName"] for each in listed]


def test_the_same_posts_with_the_keys_are_served(cloud: Cloud) -> None:
    name = make_function(cloud, "def handler(event, context):\n    return 'mine'\n").rpartition(":")[2]
    path, plain = f"/2015-03-31/functions/{name}/invocations", {"Content-Type": "text/plain"}

    invoked = send(cloud, "POST", signed_query(cloud, "POST", path, b"{}", "lambda", own(cloud)), b"{}", plain)

    assert (invoked.status, invoked.text) == (200, '"mine"')
    other = send(cloud, "POST", signed_query(cloud, "POST", path, b"{}", "lambda", own(cloud)), b'{"a":1}', plain)
    assert other.status == 403


CONTROL = (
    ("POST", "/_ministack/reset", b""),
    ("POST", "/_ministack/reset?init=1", b""),
    ("POST", "/_ministack/config", b'{"stepfunctions._SFN_WAIT_SCALE": 0}'),
    ("POST", access_path := "/_localcloud/faults", b'{"operation": "endpoint", "effect": "creation-fails"}'),
    ("DELETE", access_path, b""),
    ("GET", access_path, b""),
    ("GET", "/_localcloud/permissions", b""),
    ("GET", STATUS, b""),
    ("GET", "/_ministack/health", b""),
    ("GET", "/_localstack/health", b""),
    ("GET", "/health", b""),
    ("GET", "/_ministack/ses/messages", b""),
    ("GET", "/_ministack/sqs/messages?QueueUrl=x", b""),
    ("GET", "/_ministack/lambda-code/000000000000/us-east-1/any", b""),
    ("PUT", "/_ministack/cfn-response/guessed", b'{"Status": "SUCCESS"}'),
    ("PUT", "/_ministack/cfn-signal/guessed", b"{}"),
    ("POST", "/_ministack/rds/iam-auth", b"{}"),
    ("GET", "/_aws/lambda-url/x/", b""),
    ("GET", "/bucket/key", b""),
    ("PUT", "/bucket", b""),
    ("POST", "/bucket", b"--x\r\n"),
    ("POST", "/endpoints/cars/invocations", b"1"),
)


@pytest.mark.parametrize(("method", "path", "body"), CONTROL)
def test_nothing_is_served_without_a_signature(cloud: Cloud, method: str, path: str, body: bytes) -> None:
    bucket = unique("kept")
    cloud.client("s3").create_bucket(Bucket=bucket)

    answer = send(cloud, method, path, body, {"Content-Type": "text/plain"})

    assert answer.status == 403, answer.text
    cloud.client("s3").head_bucket(Bucket=bucket)


@pytest.mark.parametrize("keys", ["none", "role's"])
def test_a_status_that_is_refused_says_what_to_do_and_neither_folder_nor_process(cloud: Cloud, keys: str) -> None:
    headers = {} if keys == "none" else signed(cloud, "GET", STATUS, service="localcloud", keys=session(cloud))
    answer = send(cloud, "GET", STATUS, headers=headers)

    told = json.loads(answer.body)
    assert (answer.status, list(told)) == (403, ["message"])
    assert 'eval "$(python -m localcloud env)"' in told["message"]
    assert str(cloud.state) not in answer.text


# ---- Signatures


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("guarded")
    cloud.client("s3").create_bucket(Bucket=name)
    return name


def session(cloud: Cloud, *statements: dict[str, Any]) -> Credentials:
    """Keys of a role's session."""
    iam, name = cloud.client("iam"), unique("role")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    allowed = statements or ({"Effect": "Allow", "Action": "*", "Resource": "*"},)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(*allowed))
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="ada")["Credentials"]
    return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def client(cloud: Cloud, service: str, keys: Credentials | None = None, **config: Any) -> Any:
    keys = keys or own(cloud)
    make: Any = boto3.client
    return make(
        service, endpoint_url=cloud.endpoint_url, region_name=cloud.region, aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key, aws_session_token=keys.token,
        config=Config(retries={"total_max_attempts": 1}, proxies={}, **config),
    )  # fmt: skip


def test_a_session_lasts_no_longer_than_its_role_lets(cloud: Cloud) -> None:
    """STS API Reference, "AssumeRole": of MaxSessionDuration an hour, if nothing else is said."""
    iam, sts, trust = cloud.client("iam"), cloud.client("sts"), {"Effect": "Allow", "Principal": {"AWS": "*"}}
    document = policy({**trust, "Action": "sts:AssumeRole"})
    for most in (3600, 7200):
        given = {"RoleName": unique("role"), "AssumeRolePolicyDocument": document, "MaxSessionDuration": most}
        arn = iam.create_role(**given)["Role"]["Arn"]
        assert sts.assume_role(RoleArn=arn, RoleSessionName="ada", DurationSeconds=most)["Credentials"]
        with pytest.raises(ClientError, match="exceeds the MaxSessionDuration set for this role") as error:
            sts.assume_role(RoleArn=arn, RoleSessionName="ada", DurationSeconds=most + 1)
        assert error.value.response["Error"]["Code"] == "ValidationError"


def test_a_role_is_not_there_by_another_path(cloud: Cloud) -> None:
    """A policy about role/x says nothing of role/people/x."""
    iam, sts, name = cloud.client("iam"), cloud.client("sts"), unique("role")
    document = policy({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    given = {"RoleName": name, "Path": "/people/", "AssumeRolePolicyDocument": document}
    arn = iam.create_role(**given)["Role"]["Arn"]
    assert sts.assume_role(RoleArn=arn, RoleSessionName="ada")["Credentials"]
    for other in (arn.replace("/people/", "/"), arn.replace("/people/", "/others/")):
        with pytest.raises(ClientError) as error:
            sts.assume_role(RoleArn=other, RoleSessionName="ada")
        assert error.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.parametrize(("service", "operation", "code"), [
    ("s3", "list_buckets", "SignatureDoesNotMatch"),
    ("sts", "get_caller_identity", "SignatureDoesNotMatch"),
    ("sagemaker", "list_models", "InvalidSignatureException"),
    ("lambda", "list_functions", "InvalidSignatureException"),
    ("cloudwatch", "list_metrics", "SignatureDoesNotMatch"),
    ("sqs", "list_queues", "SignatureDoesNotMatch"),
])  # fmt: skip
def test_another_secret_is_refused_in_the_words_of_each_service(
    cloud: Cloud, service: str, operation: str, code: str
) -> None:
    wrong = Credentials(access.keys(cloud.state).access_key, "guess")
    with pytest.raises(ClientError) as refused:
        getattr(client(cloud, service, wrong), operation)()

    assert refused.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("key", ["local", "test", "000000000000", "123456789012", "AKIAIOSFODNN7EXAMPLE"])
def test_keys_that_MiniStack_knows_without_being_told_are_unknown(cloud: Cloud, key: str) -> None:
    for secret in ("local", "test", access.keys(cloud.state).secret_key):
        with pytest.raises(ClientError) as refused:
            client(cloud, "s3", Credentials(key, secret)).list_buckets()
        assert refused.value.response["Error"]["Code"] == "InvalidAccessKeyId"


def test_the_keys_of_another_state_folder_are_refused(cloud: Cloud, tmp_path: Path) -> None:
    other = access.keys(tmp_path)
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        client(cloud, "sts", Credentials(other.access_key, other.secret_key)).get_caller_identity()


def test_a_session_needs_its_own_secret_and_token(cloud: Cloud) -> None:
    keys = session(cloud)
    assert ":assumed-role/" in client(cloud, "sts", keys).get_caller_identity()["Arn"]
    for wrong in (
        Credentials(keys.access_key, "guess", keys.token),
        Credentials(keys.access_key, keys.secret_key, "guess"),
        Credentials(keys.access_key, keys.secret_key),
    ):
        with pytest.raises(ClientError):
            client(cloud, "sts", wrong).get_caller_identity()


@pytest.mark.parametrize("moved", [timedelta(minutes=-16), timedelta(minutes=16)])
def test_an_old_signature_is_refused(cloud: Cloud, moved: timedelta) -> None:
    with clock(moved), pytest.raises(ClientError, match="RequestTimeTooSkewed"):
        client(cloud, "s3").list_buckets()


def test_a_signed_body_cannot_be_replaced(cloud: Cloud, bucket: str) -> None:
    request = AWSRequest("PUT", f"{cloud.endpoint_url}/{bucket}/body", data=b"mine")
    botocore.auth.S3SigV4Auth(own(cloud), "s3", cloud.region).add_auth(request)

    replaced = send(cloud, "PUT", f"/{bucket}/body", b"your", dict(request.headers))
    assert (replaced.status, "XAmzContentSHA256Mismatch" in replaced.text) == (400, True)
    with pytest.raises(ClientError, match="404"):
        cloud.client("s3").head_object(Bucket=bucket, Key="body")
    assert send(cloud, "PUT", f"/{bucket}/body", b"mine", dict(request.headers)).status == 200

    body = urlencode(IDENTITY).encode()
    headers = signed(cloud, "POST", "/", body, **FORM)
    assert send(cloud, "POST", "/", body.replace(b"GetCallerIdentity", b"GetSessionToken"), headers).status == 403


def test_a_signature_holds_for_its_method_path_query_and_headers(cloud: Cloud, bucket: str) -> None:
    request = AWSRequest("GET", f"{cloud.endpoint_url}/{bucket}?list-type=2", headers={"x-amz-meta": "1"})
    botocore.auth.S3SigV4Auth(own(cloud), "s3", cloud.region).add_auth(request)
    headers = dict(request.headers)

    assert send(cloud, "GET", f"/{bucket}?list-type=2", headers=headers).status == 200
    assert send(cloud, "DELETE", f"/{bucket}?list-type=2", headers=headers).status == 403
    assert send(cloud, "GET", f"/{bucket}-other?list-type=2", headers=headers).status == 403
    assert send(cloud, "GET", f"/{bucket}?versions", headers=headers).status == 403
    assert send(cloud, "GET", f"/{bucket}?list-type=2", headers={**headers, "x-amz-meta": "2"}).status == 403


AUTHORIZATIONS = (
    "Bearer x",
    "AWS local:AAAA",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 Credential=",
    "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=",
    "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=\xff",
    "AWS4-ECDSA-P256-SHA256 Credential={key}/20260101/sts/aws4_request, SignedHeaders=host, Signature=00",
)


@pytest.mark.parametrize("text", AUTHORIZATIONS)
def test_what_is_no_signature_is_refused(cloud: Cloud, text: str) -> None:
    value = text.format(key=access.keys(cloud.state).access_key)
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for path in ("/", STATUS):
        assert send(cloud, "GET", path, headers={"Authorization": value, "X-Amz-Date": date}).status in (400, 403)


def test_a_role_cannot_pass_for_root_by_naming_two_keys(cloud: Cloud) -> None:
    keys, root = session(cloud, {"Effect": "Allow", "Action": "s3:Nothing", "Resource": "*"}), own(cloud).access_key
    body = urlencode({"Action": "ListUsers", "Version": "2010-05-08"}).encode()
    headers = signed(cloud, "POST", "/", body, "iam", keys, **FORM)
    assert send(cloud, "POST", "/", body, headers).status == 403
    assert send(cloud, "POST", "/", body, signed(cloud, "POST", "/", body, "iam", **FORM)).status == 200
    algorithm, _, fields = headers["Authorization"].partition(" ")
    headers["Authorization"] = f"{algorithm} RootCredential={root}/20260101/us-east-1/iam/aws4_request, {fields}"
    assert "more than one access key" in send(cloud, "POST", "/", body, headers).text
    del headers["Authorization"]
    twice = signed_query(cloud, "GET", f"/?{urlencode({'X-Amz-Credential': root})}", b"", "iam", keys)
    assert send(cloud, "GET", twice).status == 400
    both = signed_query(cloud, "GET", f"/?{urlencode({'AWSAccessKeyId': root})}", b"", "iam", keys)
    assert send(cloud, "GET", both).status == 400


def test_the_paths_of_the_local_cloud_are_not_for_roles(cloud: Cloud) -> None:
    keys = session(cloud)
    for method, path in (("GET", STATUS), ("POST", "/_ministack/reset"), ("GET", "/_localcloud/faults")):
        headers = signed(cloud, method, path, service="localcloud", keys=keys)
        assert send(cloud, method, path, headers=headers).status == 403


def test_what_the_credentials_of_functions_and_jobs_are_cannot_be_told_from_their_names(cloud: Cloud) -> None:
    """MiniStack makes them of the function's ARN and the role's alone."""
    source = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
    arn = make_function(cloud, source)
    payload = cloud.client("lambda").invoke(FunctionName=arn)["Payload"].read()
    seen = json.loads(payload)

    digest = hashlib.sha256(f"{arn}:{ROLE}".encode()).hexdigest()
    known = hashlib.sha256(f"secret:{digest}".encode()).hexdigest()
    assert seen["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert seen["AWS_SECRET_ACCESS_KEY"] != known
    assert access.keys(cloud.state).secret_key not in seen.values()


# ---- Presigned addresses


@pytest.mark.parametrize("version", [None, "s3v4"])
@pytest.mark.parametrize("key", ["plain.csv", "folder/ä +%41&<x>.csv", "a//b", "../x"])
def test_a_presigned_address_works_for_its_time_and_its_object_only(
    cloud: Cloud, bucket: str, version: str, key: str
) -> None:
    s3 = client(cloud, "s3", signature_version=version)
    s3.put_object(Bucket=bucket, Key=key, Body=b"content")

    def address(operation: str = "get_object", seconds: int = 60) -> str:
        url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds)
        return str(url).removeprefix(cloud.endpoint_url)

    assert send(cloud, "GET", address()).body == b"content"
    assert send(cloud, "PUT", address("put_object"), b"new").status == 200
    assert send(cloud, "GET", address()).body == b"new"
    assert send(cloud, "DELETE", address()).status == 403
    assert send(cloud, "GET", address().replace(bucket, f"{bucket}x")).status == 403
    short = address(seconds=1)
    assert send(cloud, "GET", short).status == 200
    time.sleep(2.1)
    over = send(cloud, "GET", short)
    assert over.status == 403, over.text
    assert "expired" in over.text


def test_a_presigned_address_of_more_than_a_week_or_of_no_number_is_refused(cloud: Cloud, bucket: str) -> None:
    for seconds in (7 * 24 * 3600 + 1, "x", -5):
        path = signed_query(cloud, "GET", "/", b"", "sts", own(cloud), seconds)
        assert send(cloud, "GET", path).status == 403


def test_a_presigned_address_under_a_role_works(cloud: Cloud, bucket: str) -> None:
    keys = session(cloud)
    cloud.client("s3").put_object(Bucket=bucket, Key="a b", Body=b"1")
    for version in (None, "s3v4"):
        s3 = client(cloud, "s3", keys, signature_version=version)
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
        assert send(cloud, "GET", url.removeprefix(cloud.endpoint_url)).status == 200


def test_the_address_of_a_functions_code_is_signed(cloud: Cloud) -> None:
    arn = make_function(cloud, "def handler(event, context):\n    return 1\n")
    url = cloud.client("lambda").get_function(FunctionName=arn)["Code"]["Location"]
    parts = urlsplit(url)

    path, host = f"{parts.path}?{parts.query}", {"Host": parts.netloc}
    assert zipfile.ZipFile(io.BytesIO(send(cloud, "GET", path, headers=host).body)).namelist() == ["app.py"]
    assert send(cloud, "GET", parts.path, headers=host).status == 403
    assert send(cloud, "GET", path.replace("function", "other"), headers=host).status == 403


# ---- What a link is for

JSON_1_0, JSON_1_1 = "application/x-amz-json-1.0", "application/x-amz-json-1.1"
OTHER_SERVICES = (
    ("AmazonSSM.PutParameter", JSON_1_1, {"Name": "owned", "Value": "1", "Type": "String"}),
    ("AmazonSSM.GetParametersByPath", JSON_1_1, {"Path": "/", "Recursive": True}),
    ("DynamoDB_20120810.ListTables", JSON_1_0, {}),
    ("AWSStepFunctions.ListStateMachines", JSON_1_0, {}),
    ("SageMaker.ListEndpoints", JSON_1_1, {}),
    ("AnyScaleFrontendService.Anything", JSON_1_1, {}),
    ("Unheard.Of", JSON_1_1, {}),
)


def link(cloud: Cloud, bucket: str, version: str, operation: str = "get_object", **params: str) -> str:
    """The path of a presigned address of one object."""
    s3 = client(cloud, "s3", signature_version=version)
    cloud.client("s3").put_object(Bucket=bucket, Key="linked", Body=b"of the link")
    cloud.client("s3").put_object(Bucket=bucket, Key="secret", Body=b"of nobody")
    url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "linked", **params}, ExpiresIn=60)
    return str(url).removeprefix(cloud.endpoint_url)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_link_signs_what_it_asks_of_the_headers_of_the_answer(cloud: Cloud, bucket: str, version: str) -> None:
    asked = {
        "ResponseContentType": "text/csv; charset=utf-8",
        "ResponseContentDisposition": 'attachment; filename="a b"',
    }
    path = link(cloud, bucket, version, **asked)
    answer = send(cloud, "GET", path)
    assert (answer.status, answer.body) == (200, b"of the link"), answer.text
    assert answer.headers["content-type"] == asked["ResponseContentType"]
    assert answer.headers["content-disposition"] == asked["ResponseContentDisposition"]
    assert send(cloud, "GET", path.replace("text%2Fcsv", "text%2Fhtml")).status == 403
    unasked = link(cloud, bucket, version)
    assert send(cloud, "GET", f"{unasked}&response-content-type=text%2Fhtml").status == 403


def test_an_object_that_a_browser_opens_runs_no_script_and_is_not_of_the_consoles_origin(
    cloud: Cloud, bucket: str
) -> None:
    page = send(cloud, "GET", link(cloud, bucket, "s3v4", ResponseContentType="text/html"))
    assert (page.status, page.headers["content-type"]) == (200, "text/html")
    for answer in (page, send(cloud, "GET", link(cloud, bucket, "s3"))):
        assert (answer.status, answer.headers["content-security-policy"]) == (200, "sandbox")
    signed = cloud.client("s3").get_object(Bucket=bucket, Key="linked")
    assert "content-security-policy" not in signed["ResponseMetadata"]["HTTPHeaders"]


def test_what_is_below_the_consoles_path_checks_its_callers_itself_behind_host_and_origin(cloud: Cloud) -> None:
    assert (send(cloud, "GET", "/_console/").status, send(cloud, "GET", "/_consoles/").status) == (404, 403)
    for stranger in ({"Host": "attacker.example"}, {"Origin": "https://attacker.example"}):
        assert send(cloud, "GET", "/_console/", headers=stranger).status == 403


@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize(("target", "form", "asked"), OTHER_SERVICES)
def test_a_link_to_an_object_reaches_no_other_service(
    cloud: Cloud, bucket: str, version: str, target: str, form: str, asked: dict[str, Any]
) -> None:
    for operation, method in (("get_object", "GET"), ("put_object", "PUT")):
        path = link(cloud, bucket, version, operation)
        answer = send(cloud, method, path, json.dumps(asked).encode(), {"X-Amz-Target": target, "Content-Type": form})
        assert answer.status in (400, 403), answer.text

    assert cloud.client("ssm").get_parameters(Names=["owned"])["Parameters"] == []
    assert cloud.client("s3").get_object(Bucket=bucket, Key="linked")["Body"].read() == b"of the link"


def test_the_refusal_says_for_which_service_it_would_have_to_be_signed(cloud: Cloud, bucket: str) -> None:
    headers = {"X-Amz-Target": "AmazonSSM.PutParameter", "Content-Type": JSON_1_1}
    told = json.loads(send(cloud, "GET", link(cloud, bucket, "s3v4"), b"{}", headers).body)

    assert told["__type"] == "InvalidSignatureException"
    assert told["message"] == "Credential should be scoped to correct service: 'ssm'. "


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_form_that_is_sent_to_a_link_asks_nobody_for_anything(cloud: Cloud, bucket: str, version: str) -> None:
    form = urlencode({"Action": "ListUsers", "Version": "2010-05-08", "tagging": "", "versionId": "x"}).encode()

    kind = FORM if version == "s3v4" else {}  # Version 2 signs that there is none
    assert send(cloud, "GET", link(cloud, bucket, version), form, kind).body == b"of the link"
    s3 = client(cloud, "s3", signature_version=version)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "form"}, ExpiresIn=60)
    assert send(cloud, "PUT", url.removeprefix(cloud.endpoint_url), form, kind).status == 200
    assert cloud.client("s3").get_object(Bucket=bucket, Key="form")["Body"].read() == form


@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-copy-source", "/{bucket}/secret"),
        ("x-amz-acl", "public-read"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-meta-note", "mine"),
        ("x-amz-server-side-encryption", "AES256"),
    ],
)
def test_a_header_that_the_link_does_not_sign_is_refused(
    cloud: Cloud, bucket: str, version: str, name: str, value: str
) -> None:
    path = link(cloud, bucket, version, "put_object")
    refused = send(cloud, "PUT", path, b"", {name: value.format(bucket=bucket)})

    assert refused.status == 403, refused.text
    if version == "s3v4":
        assert "There were headers present in the request which were not signed" in refused.text
        assert f"<HeadersNotSigned>{name}</HeadersNotSigned>" in refused.text
    assert cloud.client("s3").get_object(Bucket=bucket, Key="linked")["Body"].read() == b"of the link"
    assert send(cloud, "PUT", path, b"new").status == 200


@pytest.mark.parametrize(
    "added", ["Action=ListUsers", "x-amz-copy-source={bucket}%2Fsecret", "retention", "attributes"]
)
def test_a_parameter_that_version_2_does_not_sign_is_refused(cloud: Cloud, bucket: str, added: str) -> None:
    for operation, method in (("get_object", "GET"), ("put_object", "PUT")):
        path = link(cloud, bucket, "s3", operation)
        assert send(cloud, method, f"{path}&{added.format(bucket=bucket)}").status == 403
    assert cloud.client("s3").get_object(Bucket=bucket, Key="linked")["Body"].read() == b"of the link"


def test_a_signed_link_to_a_listing_or_with_headers_of_its_own_works(cloud: Cloud, bucket: str) -> None:
    listing = client(cloud, "s3", signature_version="s3").generate_presigned_url(
        "list_objects_v2", Params={"Bucket": bucket, "Prefix": "linked"}
    )
    assert send(cloud, "GET", listing.removeprefix(cloud.endpoint_url)).status == 200
    path = link(cloud, bucket, "s3v4", "put_object", Tagging="a=b")
    assert send(cloud, "PUT", path, b"new").status == 403  # the header is signed, and is not there
    assert send(cloud, "PUT", path, b"new", {"x-amz-tagging": "a=b"}).status == 200


def test_what_a_header_signs_includes_the_host_and_all_that_changes_what_is_done(cloud: Cloud) -> None:
    body = json.dumps({"Name": "owned", "Value": "1", "Type": "String"}).encode()
    target = {"X-Amz-Target": "AmazonSSM.PutParameter", "Content-Type": JSON_1_1}
    unsigned = {**signed(cloud, "POST", "/", body, "ssm"), **target}
    assert "'x-amz-target' must be a 'SignedHeader'" in send(cloud, "POST", "/", body, unsigned).text
    elsewhere = signed(cloud, "POST", "/", body, "sts", **target)
    assert "scoped to correct service: 'ssm'" in send(cloud, "POST", "/", body, elsewhere).text
    unknown = signed(cloud, "GET", "/", service="no-such-service")
    assert send(cloud, "GET", "/", headers=unknown).status == 403
    with patch.object(botocore.auth.SigV4Auth, "headers_to_sign", lambda self, request: without_host(request)):
        hostless = signed(cloud, "POST", "/", body, "ssm", **target)
    assert "'Host'" in send(cloud, "POST", "/", body, hostless).text
    assert cloud.client("ssm").get_parameters(Names=["owned"])["Parameters"] == []


def without_host(request: AWSRequest) -> Any:
    """All headers but the host."""
    message = http.client.HTTPMessage()
    for name, value in request.headers.items():
        message[name.lower()] = value
    return message


def test_whatever_botocore_signs_is_for_the_service_that_it_asks() -> None:
    """Of all services that MiniStack tells by X-Amz-Target."""
    told = 0
    for path in Path(botocore.__file__).parent.glob("data/*/*/service-2.json.gz"):
        with gzip.open(path, "rt") as file:
            text = file.read(3000)  # it begins with the metadata; to read all of it takes nine seconds
        metadata, _ = json.JSONDecoder().raw_decode(text, text.index("{", text.index('"metadata"')))
        if prefix := metadata.get("targetPrefix"):
            _require_scope(metadata.get("signingName", metadata["endpointPrefix"]), f"{prefix}.Anything")
            told += 1
    assert told > 80


# ---- Links of notifications


def subscription(cloud: Cloud) -> str:
    """The ARN of an e-mail subscription."""
    sns = cloud.client("sns")
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    subscribed = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ada@example.com", ReturnSubscriptionArn=True)
    return str(subscribed["SubscriptionArn"])


def unsubscribe(arn: str, **more: str) -> str:
    return "/?" + urlencode({"Action": "Unsubscribe", "Version": "2010-03-31", "SubscriptionArn": arn, **more})


def test_the_link_of_a_mail_unsubscribes(cloud: Cloud) -> None:
    arn = subscription(cloud)
    assert send(cloud, "GET", unsubscribe(arn)).status == 200
    assert arn not in json.dumps(cloud.client("sns").list_subscriptions()["Subscriptions"])


def test_a_link_opens_nothing_else(cloud: Cloud, bucket: str) -> None:
    """Neither a bucket nor a function's address, nor SNS with more than the link says."""
    arn = subscription(cloud)
    function = make_function(cloud, "def handler(event, context):\n    return 'open'\n")
    lambda_ = cloud.client("lambda")
    url = lambda_.create_function_url_config(FunctionName=function, AuthType="NONE")["FunctionUrl"]
    lambda_.add_permission(
        FunctionName=function, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE",
    )  # fmt: skip
    s3, everybody = cloud.client("s3"), {"Effect": "Allow", "Principal": "*", "Action": "s3:*"}
    s3.delete_public_access_block(Bucket=bucket)
    public = policy({**everybody, "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]})
    s3.put_bucket_policy(Bucket=bucket, Policy=public)
    name, port = urlsplit(url).netloc.split(".")[0], cloud.settings.port
    hosts = (
        f"{bucket}.s3.localhost:{port}", f"{bucket}.localhost:{port}", f"{name}.lambda-url.us-east-1.localhost:{port}",
        f"x.execute-api.localhost:{port}", f"iam.localhost:{port}",
    )  # fmt: skip
    for host in hosts:
        for path in (unsubscribe(arn), "/?Action=Unsubscribe", "/?Action=ConfirmSubscription&TopicArn=x&Token=y"):
            assert send(cloud, "GET", path, headers={"Host": host}).status == 403
    for path in ("/?Action=Unsubscribe", unsubscribe(arn, list=""), unsubscribe(arn) + "&Action=ListTopics"):
        assert send(cloud, "GET", path).status == 403
    assert send(cloud, "GET", unsubscribe(arn), headers={"X-Amz-Meta": "1"}).status == 403
    s3.delete_bucket_policy(Bucket=bucket)
    assert send(cloud, "GET", unsubscribe(arn), b"Action=DeleteTopic", FORM).status == 200


# ---- Refusals


def refused_by_its_head(cloud: Cloud, method: str, path: str, headers: dict[str, str]) -> Answer:
    """The answer to a request of which no more than the head has been sent; its body would have 10 GB."""
    with socket.create_connection(("127.0.0.1", cloud.settings.port), timeout=10) as connection:
        head = {"Host": f"127.0.0.1:{cloud.settings.port}", **headers, "Content-Length": str(10 << 30)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return Answer(reply.status, dict(reply.getheaders()), reply.read())


def test_what_the_head_decides_is_decided_before_the_body_is_read(cloud: Cloud, bucket: str) -> None:
    unknown, wrong = Credentials("AKIAIOSFODNN7EXAMPLE", "x"), Credentials(own(cloud).access_key, "x")
    chunks = {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    requests = (
        ("POST", "/", {}),
        ("POST", "/", {"Authorization": "Bearer x"}),
        ("POST", "/", {"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature=0"}),
        ("POST", "/", signed(cloud, "POST", "/", b"", keys=unknown, **FORM)),
        ("POST", "/", {**signed(cloud, "POST", "/", b""), "X-Amz-Target": "AmazonSSM.PutParameter"}),
        ("POST", "/", signed(cloud, "POST", "/", b"", **FORM)),  # it is larger than anything
        ("PUT", f"/{bucket}/x", signed(cloud, "PUT", f"/{bucket}/x", b"", "s3", wrong, **chunks)),
        ("PUT", f"/{bucket}/x?X-Amz-Algorithm=x&X-Amz-Credential=x&X-Amz-Signature=x", {}),
        ("GET", unsubscribe("none"), {"Authorization": "x"}),
    )
    for method, path, headers in requests:
        answer = refused_by_its_head(cloud, method, path, headers)
        assert answer.status in (400, 403, 413), answer
    refused_by_its_head(cloud, "GET", unsubscribe("arn:aws:sns:us-east-1:000000000000:x:y"), {})


def test_a_body_without_a_length_is_read_as_far_as_any_operation_goes(cloud: Cloud) -> None:
    headers = signed(cloud, "POST", "/", b"", **FORM)
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.port, timeout=60)
    connection.request("POST", "/", iter([b"x" * (1 << 20)] * 140), headers, encode_chunked=True)
    reply = connection.getresponse()
    assert (reply.status, b"Request must be smaller than" in reply.read()) == (413, True)
    connection.close()


def test_a_refusal_is_one_short_printable_line_of_the_log(cloud: Cloud) -> None:
    log = cloud.state / "server.log"
    before = log.stat().st_size
    for path in ("/%1b%5d0;owned%07", "/a%0a2026-01-01%20INFO%20forged", f"/{'x' * 20_000}"):
        assert send(cloud, "GET", path).status == 403
    assert send(cloud, "GET", "/", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=\x1b[2J\x9b"}).status == 400
    lines = log.read_bytes()[before:].decode().splitlines()

    assert [line for line in lines if "/\\x1b]0;owned\\x07" in line]
    assert not [line for line in lines if line.startswith("2026-01-01 INFO forged")]
    assert all(line.isprintable() and len(line) < 1000 for line in lines)


# ---- Uploads

UPLOADS: dict[str, dict[str, Any]] = {
    "default": {},
    "checksum only when required": {"request_checksum_calculation": "when_required"},
    "unsigned payload": {"s3": {"payload_signing_enabled": False}},
}


@pytest.mark.parametrize("config", UPLOADS.values(), ids=UPLOADS)
def test_boto3_uploads_in_each_of_its_ways(cloud: Cloud, bucket: str, config: dict[str, Any]) -> None:
    s3, content = client(cloud, "s3", **config), os.urandom(300_000)

    s3.put_object(Bucket=bucket, Key="u/bytes", Body=content, Metadata={"note": "a  b"})
    s3.upload_fileobj(io.BytesIO(content * 40), bucket, "u/parts")
    for algorithm in ("SHA256", "CRC32", "SHA1"):
        s3.put_object(Bucket=bucket, Key="u/checksum", Body=io.BytesIO(content), ChecksumAlgorithm=algorithm)

    assert s3.get_object(Bucket=bucket, Key="u/bytes")["Body"].read() == content
    assert s3.head_object(Bucket=bucket, Key="u/parts")["ContentLength"] == 40 * len(content)


def chunked(content: bytes, trailer: bytes = b"") -> bytes:
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(content), content, trailer)


def test_a_chunked_upload_with_an_unsigned_trailer_is_taken(cloud: Cloud, bucket: str) -> None:
    """What SDKs send over TLS; over HTTP some send it as well."""
    content = b"streamed" * 1000
    checksum = b64encode(crc32(content).to_bytes(4, "big"))
    body = chunked(content, b"x-amz-checksum-crc32:%s\r\n" % checksum)
    headers = {
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding": "aws-chunked",
        "X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length": str(len(content)),
    }  # fmt: skip
    request = AWSRequest("PUT", f"{cloud.endpoint_url}/{bucket}/streamed", headers=headers)
    botocore.auth.SigV4Auth(own(cloud), "s3", cloud.region).add_auth(request)

    assert send(cloud, "PUT", f"/{bucket}/streamed", body, dict(request.headers)).status == 200
    assert cloud.client("s3").get_object(Bucket=bucket, Key="streamed")["Body"].read() == content
    other = {**dict(request.headers), "Authorization": request.headers["Authorization"][:-4] + "0000"}
    assert send(cloud, "PUT", f"/{bucket}/streamed", body, other).status == 403


# ---- Files


def test_the_state_folder_and_its_keys_are_their_owners_only(cloud: Cloud) -> None:
    assert cloud.state.stat().st_mode & 0o777 == 0o700
    assert (cloud.state / "keys.json").stat().st_mode & 0o777 == 0o600


# ---- Cost


def _scope(cloud: Cloud) -> dict[str, Any]:
    body = urlencode(IDENTITY).encode()
    headers = signed(cloud, "POST", "/", body, **FORM, Host=f"127.0.0.1:{cloud.settings.port}")
    return {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip


def test_the_guard_costs_little(cloud: Cloud) -> None:
    """A small part of the millisecond or more that any request takes; generous, for machines that are busy."""

    async def inner(*_: Any) -> None:
        pass

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    body = urlencode(IDENTITY).encode()
    scope = _scope(cloud)
    guard = Guard(Settings(cloud.settings.port, cloud.state), inner)

    async def many() -> float:
        await guard(scope, receive, inner)  # imports what it needs
        began = time.process_time()
        for _ in range(500):
            await guard(scope, receive, inner)
        return (time.process_time() - began) / 500

    assert asyncio.run(many()) < 0.001


# ---- Size and time


def test_a_head_is_bounded_before_anything_else(cloud: Cloud, bucket: str) -> None:
    """What the bound is exactly: test_connections.py. A presigned address with long parameters is far below it."""
    assert send(cloud, "GET", "/", headers={"X-A": "a" * 65_536}).status == 431
    answer = send(cloud, "GET", link(cloud, bucket, "s3v4", ResponseContentDisposition="a" * 12_000))
    assert (answer.status, len(answer.headers.get("content-disposition", ""))) == (200, 12_000), answer.text


def test_a_body_that_tells_whether_a_signature_is_right_is_not_waited_for_without_end(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known is the access key of any presigned address."""
    monkeypatch.setattr(guard_module, "_BODY_SECONDS", 0.05)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Guard(Settings(cloud.settings.port, cloud.state), keep)(_scope(cloud), receive, keep))
    assert sent[0]["status"] == 400
    assert b"RequestTimeout" in sent[1]["body"]
