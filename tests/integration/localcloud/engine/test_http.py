"""HTTP itself, as clients other than boto3 write it: byte for byte over a socket."""

import socket

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.integration.conftest import Cloud, unique
from tests.integration.localcloud.engine.test_guard import FORM, own, session

WHO = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("http")
    cloud.client("s3").create_bucket(Bucket=name)
    return name


def head(
    cloud: Cloud, method: str, path: str, body: bytes = b"", service: str = "s3", keys: Credentials | None = None,
    **more: str,
) -> bytes:  # fmt: skip
    """The head of a signed request, without its end."""
    request = AWSRequest(method, cloud.endpoint_url + path, data=body, headers=more)
    sign = S3SigV4Auth if service == "s3" else SigV4Auth
    sign(keys or own(cloud), service, cloud.region).add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{cloud.settings.port}", *lines, ""]).encode()


def sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def spoken(cloud: Cloud, *parts: bytes) -> bytes:
    """All that comes back until the server hangs up; each part is sent when the one before it was answered."""
    with socket.create_connection(("127.0.0.1", cloud.settings.port), timeout=10) as connection:
        heard = b""
        for part in parts:
            connection.sendall(part)
            if part is not parts[-1]:
                heard += connection.recv(65536)
        while received := connection.recv(65536):
            heard += received
        return heard


@pytest.mark.parametrize("key", ["a//b", "100%25", "%C3%A9t%C3%A9", "a%2Fb%20c%2B", "x~_.-", "a%3Fb%23c"])
def test_a_path_arrives_as_it_was_written(cloud: Cloud, bucket: str, key: str) -> None:
    path = f"/{bucket}/{key}"
    assert spoken(cloud, head(cloud, "PUT", path, b"1", Connection="close") + sized(b"1")).startswith(b"HTTP/1.1 200 ")
    assert spoken(cloud, head(cloud, "GET", path, Connection="close") + b"\r\n").endswith(b"\r\n\r\n1")


def test_a_body_waits_for_100_continue(cloud: Cloud, bucket: str) -> None:
    asked = head(cloud, "PUT", f"/{bucket}/expected", b"12345", Expect="100-continue", Connection="close")
    heard = spoken(cloud, asked + b"Content-Length: 5\r\n\r\n", b"12345")
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_a_body_comes_in_chunks(cloud: Cloud, bucket: str) -> None:
    asked = head(cloud, "PUT", f"/{bucket}/chunked", b"12345", Connection="close")
    heard = spoken(cloud, asked + b"Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n3\r\n345\r\n0\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 200 ")
    assert cloud.client("s3").get_object(Bucket=bucket, Key="chunked")["Body"].read() == b"12345"


def test_a_header_that_comes_twice_is_one_with_both_values(cloud: Cloud, bucket: str) -> None:
    asked = head(cloud, "PUT", f"/{bucket}/twice", b"1", **{"x-amz-meta-a": "1,2", "Connection": "close"})
    assert b"x-amz-meta-a: 1,2\r\n" in asked
    twice = asked.replace(b"x-amz-meta-a: 1,2\r\n", b"X-Amz-Meta-A: 1\r\nx-amz-meta-a:  2 \r\n")
    assert spoken(cloud, twice + sized(b"1")).startswith(b"HTTP/1.1 200 ")
    assert cloud.client("s3").head_object(Bucket=bucket, Key="twice")["Metadata"]["a"].replace(" ", "") == "1,2"


def test_answers_without_a_body_leave_the_connection_usable(cloud: Cloud, bucket: str) -> None:
    path = f"/{bucket}/small"
    etag = cloud.client("s3").put_object(Bucket=bucket, Key="small", Body=b"123")["ETag"]
    asked = [
        head(cloud, "HEAD", path),
        head(cloud, "GET", path, **{"If-None-Match": etag}),
        head(cloud, "DELETE", path),
        head(cloud, "GET", path, Connection="close"),
    ]
    heard = spoken(cloud, *[one + b"\r\n" for one in asked]).decode()
    assert [answer[:3] for answer in heard.split("HTTP/1.1 ")[1:]] == ["200", "304", "204", "404"]


def test_one_connection_serves_one_caller_after_the_other(cloud: Cloud) -> None:
    """Nothing of a request is there for the next, whether that waits for its answer or is sent at once."""
    keys = session(cloud)
    mine = head(cloud, "POST", "/", WHO, "sts", **FORM) + sized(WHO)
    theirs = head(cloud, "POST", "/", WHO, "sts", keys, **FORM) + sized(WHO)
    unsigned = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + sized(WHO)
    asked = [mine, theirs, mine, unsigned]
    for parts in (asked, [b"".join(asked)]):
        answers = spoken(cloud, *parts).decode().split("HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == ["200", "200", "200", "403"]
        assert [":root<" in answer for answer in answers] == [True, False, True, False]
        assert ":assumed-role/" in answers[1]


@pytest.mark.parametrize(
    "text",
    [
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused(cloud: Cloud, text: bytes) -> None:
    assert spoken(cloud, text).startswith(b"HTTP/1.1 400 ")


def test_a_web_socket_is_refused(cloud: Cloud) -> None:
    asked = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert spoken(cloud, asked).startswith(b"HTTP/1.1 403 ")
