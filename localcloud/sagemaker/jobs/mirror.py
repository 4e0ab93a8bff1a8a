"""Keep an S3 prefix the same as a folder while a job runs: `Continuous` outputs and checkpoints."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.jobs.inputs import uploading
from localcloud.sagemaker.platform.aws import Aws, split_uri
from localcloud.sagemaker.platform.files import regular_files

_INTERVAL_SECONDS = 1.0
logger = logging.getLogger(__name__)

Stamp = tuple[int, int]


class Mirror:
    """Uploads new and changed files every second, and deletes what disappeared when `deletes` is set.

    A context manager: leaving it makes the last pass, and raises JobFailedError when that one fails; earlier failures
    are tried again.
    """

    def __init__(
        self, aws: Aws, directory: Path, uri: str, *, kms_key_id: str | None = None, deletes: bool = False
    ) -> None:
        self._aws, self._directory, self._uri = aws, directory, uri.rstrip("/")
        self._kms_key_id, self._deletes = kms_key_id, deletes
        self._stamps: dict[str, Stamp] = self._scan() if deletes else {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mirror {uri}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        with uploading():
            self._copy()

    def _run(self) -> None:
        while not self._closed.wait(_INTERVAL_SECONDS):
            try:
                self._copy()
            except (ClientError, BotoCoreError, OSError, JobFailedError):
                logger.warning("could not copy %s to %s; trying again", self._directory, self._uri, exc_info=True)

    def _copy(self) -> None:
        files = self._scan()
        for relative, stamp in files.items():
            if self._stamps.get(relative) != stamp:
                self._aws.upload(self._directory / relative, f"{self._uri}/{relative}", self._kms_key_id)
                self._stamps[relative] = stamp
        for relative in set(self._stamps) - set(files) if self._deletes else ():
            bucket, key = split_uri(f"{self._uri}/{relative}")
            self._aws.client("s3").delete_object(Bucket=bucket, Key=key)
            del self._stamps[relative]

    def _scan(self) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        for file in regular_files(self._directory):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            stamps[file.relative_to(self._directory).as_posix()] = (status.st_mtime_ns, status.st_size)
        return stamps
