"""Objects in the local cloud: whatever their keys are, lists tell them, as on AWS."""

import pytest

from tests.integration.conftest import Cloud, unique

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
