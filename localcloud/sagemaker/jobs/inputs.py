"""Bring S3 data to a job: prefixes and manifests, copied below a folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.sagemaker.errors import JobFailedError, invalid, one_line, unsupported
from localcloud.sagemaker.platform.aws import Aws, S3Object, split_uri
from localcloud.sagemaker.platform.files import EXPANDED_BYTES, MAX_EXPANSION, decompressing, safe_path

DATA_TYPES = ("S3Prefix", "ManifestFile")
_COPY_BYTES = 1024 * 1024
_FIRST_OBJECTS = 100


def check_source(data_type: str, where: str) -> None:
    """Refuse what the local cloud cannot read."""
    if data_type not in DATA_TYPES:
        raise unsupported(f"S3DataType {data_type} ({where})", f"Use one of: {', '.join(DATA_TYPES)}.")


def list_source(aws: Aws, uri: str, data_type: str, role_arn: str) -> list[S3Object]:
    """Return the objects of an S3Prefix or ManifestFile source.

    Raises JobFailedError with AWS's text when there are none.
    """
    if data_type == "ManifestFile":
        with _as_job_failure("Data download failed"):
            objects = _manifest(aws, uri)
    else:
        objects = list_prefix(aws, uri)
    if not objects:
        raise JobFailedError(f"ClientError: {no_objects(aws, uri, role_arn)}")
    return objects


def require_objects(aws: Aws, uri: str, data_type: str, role_arn: str) -> None:
    """Refuse the request when its source is empty, as CreateTrainingJob and CreateTransformJob do."""
    try:
        if data_type == "ManifestFile" or not list_prefix(aws, uri, _FIRST_OBJECTS):
            list_source(aws, uri, data_type, role_arn)
    except JobFailedError as error:
        raise invalid(str(error).removeprefix("ClientError: ")) from error


def list_prefix(aws: Aws, uri: str, at_most: int | None = None) -> list[S3Object]:
    """Return the objects of a prefix; none when the bucket does not exist."""
    with _as_job_failure("Data download failed"):
        try:
            return aws.list_objects(uri, at_most)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            return []


def no_objects(aws: Aws, uri: str, role_arn: str) -> str:
    """Return AWS's text for a source that is empty (seen in CreateTrainingJob and CreateTransformJob, 2021)."""
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists '
        f"in the selected region ({aws.region}), that objects exist under that S3 prefix, and that the role "
        f'"{role_arn}" has "s3:ListBucket" permissions on bucket "{split_uri(uri)[0]}".'
    )


def fetch(
    aws: Aws, objects: list[S3Object], destination: Path, *, gunzip: bool = False, checkpoint: Callable[[], None]
) -> None:
    """Copy the objects below the folder; `checkpoint` is called before each and may raise to end the copying.

    With `gunzip` every object is decompressed, and loses its `.gz`. Raises UnsafePathError before anything is
    written when a key leaves the folder.
    """
    targets = [(item, safe_path(destination, item.relative)) for item in objects]
    destination.mkdir(parents=True, exist_ok=True)
    for item, target in targets:
        checkpoint()
        with _as_job_failure("Data download failed"):
            aws.download_object(item, target)
        if gunzip:
            _gunzip(target)


def download(aws: Aws, item: S3Object, path: Path) -> None:
    """Copy one object to a file, with AWS's text when that fails."""
    with _as_job_failure("Data download failed"):
        aws.download_object(item, path)


def download_uri(aws: Aws, uri: str, path: Path) -> None:
    """Copy the object of a URI to a file, with AWS's text when that fails."""
    with _as_job_failure("Data download failed"):
        aws.download(uri, path)


@contextmanager
def uploading() -> Iterator[None]:
    """Turn what S3 refuses into the job's failure."""
    with _as_job_failure("Artifact upload failed"):
        yield


@contextmanager
def _as_job_failure(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        text = f"{error.response['Error'].get('Code')} ({status}): {error.response['Error'].get('Message')}"
        raise JobFailedError(f"ClientError: {what}:{text}") from error
    except BotoCoreError as error:
        raise JobFailedError(f"ClientError: {what}:{error}") from error


def _manifest(aws: Aws, uri: str) -> list[S3Object]:
    """Objects named by `[{"prefix": "s3://bucket/folder/"}, "relative/key", ...]`, in the manifest's order."""
    bucket, key = split_uri(uri)
    text = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    prefix, names = _parse_manifest(text, uri)
    place = split_uri(prefix + "x")
    return [S3Object(place[0], f"{place[1][:-1]}{name}", name, 0) for name in names]


def _parse_manifest(text: bytes, uri: str) -> tuple[str, list[str]]:
    expected = f'ClientError: the manifest {uri} must be a JSON list: [{{"prefix": "s3://..."}}, "relative/key", ...]'
    try:
        manifest: Any = json.loads(text)
        prefix, names = manifest[0]["prefix"], manifest[1:]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise JobFailedError(f"{expected}.") from error
    if not isinstance(prefix, str) or not all(isinstance(name, str) and name for name in names):
        raise JobFailedError(f"{expected}; its prefix and every key must be text.")
    return prefix, names


def _gunzip(path: Path) -> None:
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    packed = path.with_name(path.name + ".packed")
    path.rename(packed)
    most = max(EXPANDED_BYTES, MAX_EXPANSION * packed.stat().st_size)
    damaged = decompressing(f"Data download failed:{one_line(path.name)} is not a gzip file")
    try:
        with damaged, gzip.open(packed) as source, plain.open("wb") as sink:
            while chunk := source.read(_COPY_BYTES):
                if sink.tell() + len(chunk) > most:
                    expanded = f"expands to more than {MAX_EXPANSION} times its size"
                    raise JobFailedError(f"ClientError: Data download failed:{one_line(path.name)} {expanded}.")
                sink.write(chunk)
    finally:
        packed.unlink(missing_ok=True)
