"""Lines to CloudWatch Logs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from localcloud.sagemaker.platform.aws import Aws

_LOG_FLUSH_SECONDS = 0.2
_LOG_BATCH = 1000
_LOG_PENDING = 10_000  # more waiting lines than this hold the writer back, so that memory stays bounded
_LOG_EVENT_CHARACTERS = 60_000  # 256 KiB an event, 4 bytes a character at most


class LogStream:
    """One CloudWatch Logs stream; lines are sent in batches from a thread of its own.

    A log that cannot be delivered never fails the job it tells about: `failures` counts the batches that were lost.
    """

    def __init__(self, aws: Aws, group: str, stream: str) -> None:
        self._aws = aws
        self._group, self._stream = group, stream
        self.failures = 0
        self._pending: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._written, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"logs {stream}", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line (without its newline); empty lines are left out, as CloudWatch refuses them."""
        if line.strip():
            event = {"timestamp": int(time.time() * 1000), "message": line[:_LOG_EVENT_CHARACTERS]}
            with self._lock:
                self._pending.append(event)
                waiting = len(self._pending)
            self._written.set()
            if waiting > _LOG_PENDING:
                self._flush()

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._closed.set()
        self._written.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        for operation, names in (
            ("CreateLogGroup", {"logGroupName": self._group}),
            ("CreateLogStream", {"logGroupName": self._group, "logStreamName": self._stream}),
        ):
            if not self._attempt(operation, **names):
                break
        while not self._closed.is_set():
            self._written.wait()
            self._closed.wait(_LOG_FLUSH_SECONDS)
            self._written.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._flushing:
            for batch in self._batches():
                self._attempt("PutLogEvents", logGroupName=self._group, logStreamName=self._stream, logEvents=batch)

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the pending lines in batches below the API's 10,000 events and 1 MiB."""
        with self._lock:
            pending, self._pending = self._pending, []
        batch: list[dict[str, Any]] = []
        size = 0
        for event in pending:
            weight = len(event["message"].encode()) + 26
            if batch and (len(batch) == _LOG_BATCH or size + weight > 1_000_000):
                yield batch
                batch, size = [], 0
            batch.append(event)
            size += weight
        if batch:
            yield batch

    def _attempt(self, operation: str, **members: Any) -> bool:
        headers = {"x-amz-target": f"Logs_20140328.{operation}", "content-type": "application/x-amz-json-1.1"}
        status, answer = self._aws.request("logs", "POST", "/", headers=headers, body=json.dumps(members).encode())
        if status == 200 or b"ResourceAlreadyExistsException" in answer:
            return True
        client = self._aws.client("logs")
        try:
            getattr(client, xform_name(operation))(**members)
        except client.exceptions.ResourceAlreadyExistsException:
            pass
        except (ClientError, BotoCoreError):
            self.failures += 1
            return False
        return True
