"""What S3 brings to a job: compressed objects and manifests, as people and attackers write them."""

import gzip
import io
import json
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.jobs import inputs
from localcloud.sagemaker.platform.aws import Aws, S3Object

URI = "s3://cars/manifest"


class Bucket:
    """Objects by key, as the part of Aws that inputs use."""

    def __init__(self, **objects: bytes) -> None:
        self._objects = objects

    def download_object(self, item: S3Object, path: Path) -> None:
        path.write_bytes(self._objects[item.key])

    def client(self, name: str) -> Any:
        return self

    def get_object(self, **request: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._objects[request["Key"]])}


def fetched(content: bytes, folder: Path, name: str = "cars.csv.gz") -> dict[str, bytes]:
    """The files of a job whose input is one compressed object."""
    item = S3Object("cars", "data", name, len(content))
    bucket = cast(Aws, Bucket(data=content))
    inputs.fetch(bucket, [item], folder, gunzip=True, checkpoint=lambda: None)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_compressed_input_is_unpacked_and_loses_its_ending(tmp_path: Path) -> None:
    assert fetched(gzip.compress(b"1,2\n") + gzip.compress(b"3,4\n"), tmp_path) == {"cars.csv": b"1,2\n3,4\n"}
    assert fetched(gzip.compress(b"1,2\n"), tmp_path / "other", "cars.csv") == {"cars.csv": b"1,2\n"}


def test_a_compressed_input_that_expands_beyond_measure_fails_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "EXPANDED_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(30 << 20))
    assert len(bomb) < 1 << 16
    with pytest.raises(JobFailedError, match=r"cars\.csv\.gz expands to more than 200 times its size"):
        fetched(bomb, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200 * len(bomb)


@pytest.mark.parametrize(
    "content",
    [b"1,2\n", gzip.compress(b"1,2\n" * 99)[:-9], gzip.compress(b"1")[:-8] + bytes(8)],
    ids=["plain", "torn", "another checksum"],
)
def test_a_compressed_input_that_is_none_fails_the_job(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match=r"Data download failed:cars\.csv\.gz is not a gzip file"):
        fetched(content, tmp_path)


def test_the_key_of_a_compressed_input_is_told_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError) as failed:
        fetched(b"1,2\n", tmp_path, "a\n\x1b[31m\u202e.gz")
    assert str(failed.value).startswith(r"ClientError: Data download failed:a\n\x1b[31m\u202e.gz is not a gzip file")
    assert str(failed.value).isprintable()


def listed(manifest: bytes) -> list[str]:
    bucket = cast(Aws, Bucket(manifest=manifest))
    return [f"{item.bucket}/{item.key}" for item in inputs.list_source(bucket, URI, "ManifestFile", "role")]


def test_a_manifest_names_objects_below_its_prefix() -> None:
    assert listed(json.dumps([{"prefix": "s3://cars/raw/"}, "a.csv", "b/c.csv"]).encode()) == [
        "cars/raw/a.csv",
        "cars/raw/b/c.csv",
    ]


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"{}", b"[]", b"5", b"[5]", b'[{"prefix": 5}, "a"]', b'[{"prefix": "s3://b/"}, 5]', b"\xff\xfe",
        b'[{"prefix": "s3://b/"}, ""]', b'[{"prefix": "s3://b/"}, ' + b"9" * 5000 + b"]",
        b"[" * 10_000, b'{"a":' * 10_000, b'[{"prefix": ' + b"[" * 900 + b"]" * 900 + b"}]",
    ],
    ids=lambda manifest: repr(manifest[:24]),
)  # fmt: skip
def test_a_manifest_that_is_none_fails_the_job(manifest: bytes) -> None:
    with pytest.raises(JobFailedError, match="the manifest s3://cars/manifest must be a JSON list"):
        listed(manifest)
