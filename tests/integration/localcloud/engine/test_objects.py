"""Objects in the local cloud: whatever their keys are, lists tell them and policies speak about them, as on AWS."""

import subprocess
from email.header import decode_header, make_header
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud import process
from tests.integration.conftest import Cloud, policy, unique
from tests.integration.localcloud.engine.test_guard import send, signed
from tests.waiting import wait_for

# XML takes a carriage return for a line feed, and knows no way to write the last two.
AWKWARD = "raw/ä +%41&<x>.csv"
KEYS = sorted([AWKWARD, "raw/a\nb.csv", "raw/a\rb.csv", "raw/a\r\nb.csv", "raw/\x01.csv", "raw/\ufffe.csv"])


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    """A bucket with every key, twice the first of them, and a mark that the last one is deleted."""
    s3, name = cloud.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key in (KEYS[0], *KEYS):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    s3.delete_object(Bucket=name, Key=KEYS[-1])
    return name


@pytest.mark.parametrize("size", [1, 1000])
def test_versions_are_listed_under_the_keys_that_were_put_page_by_page(cloud: Cloud, bucket: str, size: int) -> None:
    pages = list(
        cloud.client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket=bucket, Prefix="raw/", PaginationConfig={"PageSize": size})
    )
    assert [item["Key"] for page in pages for item in page.get("Versions", [])] == [KEYS[0], *KEYS]
    assert [item["Key"] for page in pages for item in page.get("DeleteMarkers", [])] == [KEYS[-1]]


@pytest.mark.parametrize("key", KEYS)
def test_a_prefix_a_marker_and_a_delimiter_come_back_as_they_were_given(cloud: Cloud, bucket: str, key: str) -> None:
    listed = cloud.client("s3").list_object_versions(Bucket=bucket, Prefix=key[:5], KeyMarker=key[:4], Delimiter=key[5])
    assert (listed["Prefix"], listed["KeyMarker"], listed["Delimiter"]) == (key[:5], key[:4], key[5])
    assert key[:6] in [group["Prefix"] for group in listed["CommonPrefixes"]]


def test_a_list_that_is_asked_for_encoded_keys_says_that_they_are(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    encoded = s3.list_object_versions(Bucket=bucket, Prefix=AWKWARD, EncodingType="url")
    assert (encoded["EncodingType"], encoded["Prefix"]) == ("url", "raw/%C3%A4%20%2B%2541%26%3Cx%3E.csv")
    assert encoded["Versions"][0]["Key"] == encoded["Prefix"]


@pytest.fixture
def restricted(cloud: Cloud) -> Any:
    """An S3 client whose role may do everything with tables under role/ that are not secret."""
    iam, name = cloud.client("iam"), unique("role")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    statements = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::*/role/*.csv"},
        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*/role/*secret?*"},
    ]
    iam.put_role_policy(RoleName=name, PolicyName="tables", PolicyDocument=policy(*statements))
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="ada")["Credentials"]
    make: Any = boto3.client  # its stubs know services by literal names only
    return make(
        "s3",
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@pytest.mark.parametrize("char", ["-", "\n", "\r", "\x01", "*", "\\"])
def test_a_wildcard_of_a_policy_stands_for_any_character(restricted: Any, bucket: str, char: str) -> None:
    assert restricted.put_object(Bucket=bucket, Key=f"role/a{char}.csv", Body=b"1")["VersionId"]
    for key in (f"role/{char}secret.csv", f"role/secret{char}.csv", f"role/{char}.CSV", f"role/a.csv{char}"):
        with pytest.raises(ClientError) as refused:
            restricted.put_object(Bucket=bucket, Key=key, Body=b"1")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def resident(cloud: Cloud) -> int:
    """The megabytes that the server has in memory."""
    described = process.describe(cloud.state)
    assert described
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(described["pid"])], capture_output=True, text=True, check=True
    )
    return int(shown.stdout) >> 10


def test_the_versions_of_an_object_are_on_the_disk_and_not_in_memory(cloud: Cloud, bucket: str) -> None:
    s3, size, contents = cloud.client("s3"), 8 << 20, [bytes([number]) * (8 << 20) for number in range(24)]
    s3.put_object(Bucket=bucket, Key="large", Body=contents[0])
    before = resident(cloud)
    versions = [s3.put_object(Bucket=bucket, Key="large", Body=content)["VersionId"] for content in contents]
    wait_for(lambda: resident(cloud) - before < 5 * size >> 20, "the memory", 20)

    marker = s3.delete_object(Bucket=bucket, Key="large")["VersionId"]
    for version, content in zip(versions, contents, strict=True):
        assert s3.get_object(Bucket=bucket, Key="large", VersionId=version)["Body"].read() == content
    s3.delete_object(Bucket=bucket, Key="large", VersionId=marker)
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == contents[-1]
    s3.delete_object(Bucket=bucket, Key="large", VersionId=versions[-1])
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == contents[-2]


def test_objects_of_many_keys_are_on_the_disk_and_not_in_memory(cloud: Cloud, bucket: str) -> None:
    s3, size = cloud.client("s3"), 8 << 20
    before = resident(cloud)
    for number in range(24):
        s3.put_object(Bucket=bucket, Key=f"large/{number}", Body=bytes([number]) * size)
    wait_for(lambda: resident(cloud) - before < 5 * size >> 20, "the memory", 20)
    assert s3.get_object(Bucket=bucket, Key="large/7")["Body"].read() == bytes([7]) * size


# ---- What a header cannot say


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("PUT", {"x-amz-meta-a": "v\r\nInjected: yes"}),
        ("PUT", {"x-amz-meta-a": "a\x00b"}),
        ("PUT", {"x-amz-meta-a\r\nInjected": "yes"}),
        ("PUT", {"x-amz-website-redirect-location": "/\n"}),
        ("PUT", {"x-amz-copy-source": "COPY", "x-amz-metadata-directive": "REPLACE", "x-amz-meta-a": "v\r"}),
        ("POST", {"uploads": "", "x-amz-meta-a": "v\n"}),
        ("GET", {"response-content-type": "text/csv\r\nInjected: yes"}),
    ],
    ids=repr,
)
def test_what_a_header_cannot_say_is_refused(cloud: Cloud, bucket: str, operation: str, more: dict[str, str]) -> None:
    """It comes in the query of an address, where it may be written."""
    given = {name: f"{bucket}/{quote(AWKWARD)}" if value == "COPY" else value for name, value in more.items()}
    path = f"/{bucket}/hostile?{urlencode(given, quote_via=quote)}"
    answer = send(cloud, operation, path, headers=signed(cloud, operation, path, service="s3"))
    assert (answer.status, "<Code>InvalidArgument</Code>" in answer.text) == (400, True), answer.text
    healthy = f"/{bucket}/healthy?x-amz-meta-a=v"
    assert send(cloud, "PUT", healthy, headers=signed(cloud, "PUT", healthy, service="s3")).status == 200
    assert cloud.client("s3").head_object(Bucket=bucket, Key="healthy")["Metadata"] == {"a": "v"}


def test_metadata_that_are_not_ascii_are_answered_encoded(cloud: Cloud, bucket: str) -> None:
    path = f"/{bucket}/encoded?x-amz-meta-a={quote('Fahrzeuge für Ähnliches')}"
    assert send(cloud, "PUT", path, headers=signed(cloud, "PUT", path, service="s3")).status == 200
    told = cloud.client("s3").head_object(Bucket=bucket, Key="encoded")["Metadata"]["a"]
    assert told.startswith("=?UTF-8?B?")
    assert str(make_header(decode_header(told))) == "Fahrzeuge für Ähnliches"


# ---- Uploads in parts

MB = 1 << 20
PART = "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>"


def upload(cloud: Cloud, bucket: str, key: str, *sizes: int) -> tuple[str, list[str]]:
    """The id of an upload with parts of these sizes, and their tags."""
    s3 = cloud.client("s3")
    place = {"Bucket": bucket, "Key": key}
    begun = s3.create_multipart_upload(**place)["UploadId"]
    numbered = enumerate(sizes, start=1)
    tags = [s3.upload_part(**place, UploadId=begun, PartNumber=n, Body=bytes(size))["ETag"] for n, size in numbered]
    return begun, tags


@pytest.mark.parametrize(("numbers", "code"), [
    ((), "MalformedXML"),
    ((2, 1), "InvalidPartOrder"),
    ((1, 1), "InvalidPartOrder"),
    ((1, 2, 3), "EntityTooSmall"),
    ((1, 4), "InvalidPart"),
    ((1, "one"), "MalformedXML"),
])  # fmt: skip
def test_an_upload_ends_with_its_parts_in_their_order(
    cloud: Cloud, bucket: str, numbers: tuple[Any, ...], code: str
) -> None:
    key, s3 = unique("parts"), cloud.client("s3")
    s3.put_object(Bucket=bucket, Key=key, Body=b"before")
    begun, tags = upload(cloud, bucket, key, 5 * MB, 100, 100)
    tag_of = dict(enumerate(tags, start=1))
    listed = "".join(PART.format(number, tag_of.get(number, tags[0])) for number in numbers)
    path = f"/{bucket}/{key}?uploadId={begun}"
    for body in (f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode(), b""):
        answer = send(cloud, "POST", path, body, signed(cloud, "POST", path, body, "s3"))
        assert (answer.status, f"<Code>{code if body else 'MalformedXML'}</Code>" in answer.text) == (400, True), answer
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"before"
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in tag_of.items() if number < 3]
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=begun, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 5 * MB + 100


def test_a_part_without_a_tag_ends_no_upload(cloud: Cloud, bucket: str) -> None:
    begun, _ = upload(cloud, bucket, "untagged", 100)
    with pytest.raises(ClientError, match="MalformedXML"):
        cloud.client("s3").complete_multipart_upload(
            Bucket=bucket, Key="untagged", UploadId=begun, MultipartUpload={"Parts": [{"PartNumber": 1}]}
        )


@pytest.mark.parametrize(("key", "number", "code"), [
    ("mine", "1", "NoSuchUpload"), ("theirs", "0", "InvalidArgument"), ("theirs", "10001", "InvalidArgument"),
    ("theirs", "x", "InvalidArgument"), ("theirs", "1", ""),
])  # fmt: skip
def test_a_copied_part_goes_into_the_upload_of_its_own_object(
    cloud: Cloud, bucket: str, key: str, number: str, code: str
) -> None:
    """Whoever may write an object could else write into an upload of any other."""
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="source", Body=b"1")
    begun, _ = upload(cloud, bucket, "theirs")
    path = f"/{bucket}/{key}?partNumber={number}&uploadId={begun}"
    source = {"X-Amz-Copy-Source": f"{bucket}/source"}
    answer = send(cloud, "PUT", path, headers=signed(cloud, "PUT", path, b"", "s3", **source))
    assert (answer.status == 200, f"<Code>{code}</Code>" in answer.text) == (not code, bool(code)), answer
    parts = s3.list_parts(Bucket=bucket, Key="theirs", UploadId=begun).get("Parts", [])
    assert len(parts) == (not code)
