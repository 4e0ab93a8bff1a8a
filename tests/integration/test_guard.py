"""Attacks on the local cloud: by web pages, by other users of the machine, by programs with a role of their own.

Each request is what a browser or curl would send. A healthy twin of the attack works, so that the refusal is not for
another reason.
"""

import hashlib
import http.client
import io
import json
import os
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
from localcloud.engine.guard import Guard
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
    """botocore signs as if it were another time."""
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


# Web pages ------------------------------------------------------------------------------------------------------------

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


def test_a_status_that_is_refused_says_whose_it_is_and_what_to_do(cloud: Cloud) -> None:
    told = json.loads(send(cloud, "GET", STATUS).body)

    assert told["state"] == str(cloud.state)
    assert f'eval "$(python -m localcloud --state {cloud.state} env)"' in told["message"]


# Signatures -----------------------------------------------------------------------------------------------------------


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


# Presigned addresses --------------------------------------------------------------------------------------------------


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


# Uploads --------------------------------------------------------------------------------------------------------------

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


# Files ----------------------------------------------------------------------------------------------------------------


def test_the_state_folder_and_its_keys_are_their_owners_only(cloud: Cloud) -> None:
    assert cloud.state.stat().st_mode & 0o777 == 0o700
    assert (cloud.state / "keys.json").stat().st_mode & 0o777 == 0o600


# Cost -----------------------------------------------------------------------------------------------------------------


def test_the_guard_costs_little(cloud: Cloud) -> None:
    """A small part of the millisecond or more that any request takes; generous, for machines that are busy."""
    import asyncio

    async def inner(*_: Any) -> None:
        pass

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    body = urlencode(IDENTITY).encode()
    headers = signed(cloud, "POST", "/", body, **FORM, Host=f"127.0.0.1:{cloud.settings.port}")
    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    guard = Guard(Settings(cloud.settings.port, cloud.state), inner)

    async def many() -> float:
        await guard(scope, receive, inner)  # imports what it needs
        began = time.process_time()
        for _ in range(500):
            await guard(scope, receive, inner)
        return (time.process_time() - began) / 500

    assert asyncio.run(many()) < 0.001
