"""The rest of AWS, seen from SageMaker: S3, CloudWatch, logs and events of the same local endpoint."""

from __future__ import annotations

import json
import re
import shutil
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from localcloud.sagemaker.errors import JobFailedError, one_line
from localcloud.sagemaker.platform.files import regular_files, safe_path

_CHUNK_BYTES = 1024 * 1024
_SESSION = "SageMaker"
_ROLES = 16  # whose clients are kept
_TRANSFER = TransferConfig(use_threads=False)
_HEADERS = {
    "ACL": "x-amz-acl",
    "ContentType": "content-type",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
_CONFIG = Config(
    s3={"addressing_style": "path"},
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=32,
    proxies={},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


@dataclass(frozen=True)
class Credentials:
    """Keys of an account or of an assumed role; `token` is empty for an account's own keys."""

    access_key: str
    secret_key: str
    token: str = ""


@dataclass(frozen=True)
class S3Object:
    bucket: str
    key: str
    relative: str
    """Path below the folder that the object is copied to."""
    size: int


PutEvent = Callable[[dict[str, Any]], None]
AssumeRole = Callable[[str, str], Credentials]
Answer = tuple[int, bytes]
Ask = Callable[[Credentials, str, str, str, Mapping[str, str], Mapping[str, str], bytes], Answer | None]


_HTTPS = re.compile(
    r"https://(?:(?P<bucket>[a-z0-9][a-z0-9.-]+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?/(?P<rest>.+)"
)


def s3_uri(url: str) -> str:
    """Return an https address of an object, with the bucket in its host or in its path, as an S3 URI; others stay.

    Source: S3 User Guide, "Methods for accessing a bucket"; CreateModel takes both as ModelDataUrl.
    """
    match = _HTTPS.fullmatch(url)
    if not match:
        return url
    return f"s3://{match['bucket']}/{unquote(match['rest'])}" if match["bucket"] else f"s3://{unquote(match['rest'])}"


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` -> (bucket, key)."""
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise JobFailedError(f"ClientError: {uri!r} is not an S3 URI; expected s3://bucket/key.")
    return parts.netloc, uri.split(parts.netloc, 1)[1].lstrip("/")


class Aws:
    """Clients for the local endpoint under one set of credentials.

    `put_event` takes one PutEvents entry (the engine's own way in, because PutEvents refuses `aws.*` sources);
    `assume_role(role_arn, session_name)` gives the credentials of a role, and raises AwsError when SageMaker may not.
    Without it everything runs under `credentials`, the account's own. `ask` makes a request without a socket between
    (`request`).
    """

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        account_id: str,
        *,
        credentials: Credentials,
        put_event: PutEvent | None = None,
        assume_role: AssumeRole | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        self.account_id = account_id
        self.credentials = credentials
        self._put_event = put_event
        self._assume_role = assume_role
        self._ask = ask
        self._clients: dict[str, Any] = {}
        self._under = lru_cache(_ROLES)(self._with)

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource of a kind (`training-job`); SageMaker lower-cases names in ARNs."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"

    def client(self, service: str) -> Any:
        with _making_clients:
            if service not in self._clients:
                # The stubs of boto3 know services by literal names only.
                make: Any = _session().client
                self._clients[service] = make(
                    service,
                    region_name=self.region,
                    endpoint_url=self.endpoint_url,
                    config=_CONFIG,
                    aws_access_key_id=self.credentials.access_key,
                    aws_secret_access_key=self.credentials.secret_key,
                    aws_session_token=self.credentials.token or None,
                )
            return self._clients[service]

    def request(
        self,
        service: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Return the status and the body of an answer without a socket between; the status is 0 when that cannot be.

        What is no success is to be asked again through a client, for its error.
        """
        answer = self._ask and self._ask(self.credentials, service, method, path, query or {}, headers or {}, body)
        return answer or (0, b"")

    def for_role(self, role_arn: str) -> Aws:
        """Return the same endpoint under a role's credentials, as the platform uses a job's or a model's role.

        All sessions have one name, so that the clients of a role serve job after job: making them was a sixth of what
        the local cloud itself does in a run.
        """
        return self._under(self._assume_role(role_arn, _SESSION)) if self._assume_role else self

    def _with(self, credentials: Credentials) -> Aws:
        return Aws(
            self.endpoint_url,
            self.region,
            self.account_id,
            put_event=self._put_event,
            assume_role=self._assume_role,
            ask=self._ask,
            credentials=credentials,
        )

    def environment(self, *, isolated: bool = False) -> dict[str, str]:
        """Return what a container gets so that boto3 inside it finds this endpoint, with these credentials.

        One that is isolated from the network gets neither (SageMaker Developer Guide, "Run Training and Inference
        Containers in Internet-Free Mode"): what it reads and writes in S3, the platform fetches and stores.
        """
        environment = {
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if isolated:
            return environment
        token = {"AWS_SESSION_TOKEN": self.credentials.token} if self.credentials.token else {}
        return environment | {
            "AWS_ACCESS_KEY_ID": self.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            **token,
        }

    def emit_event(self, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
        """Put one event of source `aws.sagemaker` on the default bus."""
        entry = {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Resources": resources,
            "Detail": json.dumps(detail),
        }
        if self._put_event is not None:
            self._put_event(entry)
            return
        failed = self.client("events").put_events(Entries=[entry])
        if failed["FailedEntryCount"]:
            raise RuntimeError(f"the event bus refused {detail_type!r}: {failed['Entries'][0]}")

    # ---- S3

    def list_objects(self, uri: str, at_most: int | None = None) -> list[S3Object]:
        """Return every object whose key starts with the URI's key, with its path relative to it, sorted by key.

        A prefix that is cut inside a name keeps that name's whole text (`data/part` finds `part-0.csv`), so an exact
        key gives its basename. Folder markers (keys that end in `/`) are left out.
        """
        bucket, prefix = split_uri(uri)
        objects: list[S3Object] = []
        for keys in self._pages(bucket, prefix):
            page = (S3Object(bucket, key, _relative(prefix, key), size) for key, size in keys)
            objects += (item for item in page if not item.key.endswith("/"))
            if at_most and len(objects) >= at_most:
                break
        return objects[:at_most]

    def _pages(self, bucket: str, prefix: str) -> Iterator[list[tuple[str, int]]]:
        """Yield the keys below a prefix and their sizes, page by page."""
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        status, body = self.request("s3", "GET", f"/{bucket}", query=query)
        page = ET.fromstring(body) if status == 200 else None  # noqa: S314  its own answer
        if page is not None and page.findtext("{*}IsTruncated") == "false":
            contents = page.iterfind("{*}Contents")
            yield [(unquote_plus(item.findtext("{*}Key", "")), int(item.findtext("{*}Size", "0"))) for item in contents]
            return
        for answer in self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield [(item["Key"], item["Size"]) for item in answer.get("Contents", [])]

    def download_prefix(self, uri: str, destination: Path) -> int:
        """Copy every object of the prefix below `destination`; returns how many there were."""
        objects = self.list_objects(uri)
        for item in objects:
            self.download_object(item, safe_path(destination, item.relative))
        return len(objects)

    def download_object(self, item: S3Object, path: Path) -> None:
        try:
            self._copy(item.bucket, item.key, path)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise JobFailedError(
                "ClientError: Data download failed:Failed to download data. Please check your s3 objects and ensure "
                f"that there is no object that is both a folder as well as a file ({one_line(item.key)})."
            ) from error

    def download(self, uri: str, path: Path) -> None:
        """Copy one object to a file."""
        self._copy(*split_uri(uri), path)

    def upload(
        self,
        path: Path,
        uri: str,
        kms_key_id: str | None = None,
        content_type: str | None = None,
        acl: str | None = None,
    ) -> None:
        """Copy one file to an object; with a key id it is encrypted by SSE-KMS."""
        bucket, key = split_uri(uri)
        extra: dict[str, str] = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        extra |= {name: value for name, value in (("ContentType", content_type), ("ACL", acl)) if value}
        if path.stat().st_size < _TRANSFER.multipart_threshold:
            headers = {_HEADERS[name]: value for name, value in extra.items()}
            status, _ = self.request("s3", "PUT", f"/{bucket}/{key}", headers=headers, body=path.read_bytes())
            if status == 200:
                return
        try:
            self.client("s3").upload_file(str(path), bucket, key, ExtraArgs=extra, Config=_TRANSFER)
        except S3UploadFailedError as error:  # boto3's own, around what S3 answered
            raise error.__context__ or error from None

    def upload_dir(self, directory: Path, uri: str, kms_key_id: str | None = None) -> int:
        """Copy every regular file of a folder below the prefix, links left out; returns how many there were."""
        files = regular_files(directory)
        for file in files:
            self.upload(file, f"{uri.rstrip('/')}/{file.relative_to(directory).as_posix()}", kms_key_id)
        return len(files)

    def _copy(self, bucket: str, key: str, path: Path) -> None:
        """One request an object (boto3's download_file makes two), in pieces, so that any size fits into memory."""
        path.parent.mkdir(parents=True, exist_ok=True)
        status, content = self.request("s3", "GET", f"/{bucket}/{key}")
        if status == 200:
            path.write_bytes(content)
            return
        with self.client("s3").get_object(Bucket=bucket, Key=key)["Body"] as source, path.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK_BYTES)


def _relative(prefix: str, key: str) -> str:
    rest = key[len(prefix) :]
    if prefix.endswith("/") or rest.startswith("/") or not prefix:
        return rest[1:] if rest.startswith("/") else rest
    return prefix.rsplit("/", 1)[-1] + rest


_making_clients = threading.Lock()  # clients are safe for threads, a session that makes them is not


@cache
def _session() -> boto3.Session:
    """One for all credentials: the first client of a session takes 45 ms of processor time, each further one 2 ms."""
    return boto3.Session()
