"""Captured data that S3 did not take before the local cloud stopped: kept on disk, delivered at the next start."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.disk import write_whole
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.platform.aws import Aws, split_uri

_DELIVERY_SECONDS = 60.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """One object that is to be written under a role."""

    uri: str
    role_arn: str
    kms_key_id: str | None
    content: bytes


def is_reachable(endpoint_url: str) -> bool:
    """Return whether anybody listens at the URL; asking S3 itself would take seconds of retries when nobody does."""
    parts = urlsplit(endpoint_url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=1.0):
            return True
    except OSError:
        return False


def put_object(aws: Aws, uri: str, content: bytes, kms_key_id: str | None) -> None:
    bucket, key = split_uri(uri)
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=content, **encryption)


def keep(folder: Path, waiting: Waiting) -> None:
    """Write the object to a file of its own, complete or not at all."""
    document = {
        "Uri": waiting.uri,
        "RoleArn": waiting.role_arn,
        "KmsKeyId": waiting.kms_key_id,
        "Content": base64.b64encode(waiting.content).decode("ascii"),
    }
    write_whole(folder / f"{uuid.uuid4()}.json", json.dumps(document).encode())


def deliver(folder: Path, aws: Aws) -> None:
    """Write everything that was kept, and forget it. Keeps what S3 still refuses after a minute."""
    until = time.monotonic() + _DELIVERY_SECONDS
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text("utf-8"))
        while True:
            try:
                role = aws.for_role(document["RoleArn"])
                content = base64.b64decode(document["Content"])
                put_object(role, document["Uri"], content, document["KmsKeyId"])
                path.unlink()
                break
            except (AwsError, ClientError, BotoCoreError):
                if time.monotonic() > until:
                    logger.warning("captured data still waits in %s", path, exc_info=True)
                    break
                time.sleep(0.5)
