"""Lines to CloudWatch Logs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

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
        self._client = aws.client("logs")
        self._group, self._stream = group, stream
        self.failures = 0
        self._pending: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"logs {stream}", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line (without its newline); empty lines are left out, as CloudWatch refuses them."""
        if line.strip():
            event = {"timestamp": int(time.time() * 1000), "message": line[:_LOG_EVENT_CHARACTERS]}
            with self._lock:
                self._pending.append(event)
                waiting = len(self._pending)
            if waiting > _LOG_PENDING:
                self._flush()

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._closed.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        self._attempt(self._create)
        while not self._closed.wait(_LOG_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _create(self) -> None:
        for create, names in (
            (self._client.create_log_group, {"logGroupName": self._group}),
            (self._client.create_log_stream, {"logGroupName": self._group, "logStreamName": self._stream}),
        ):
            try:
                create(**names)
            except self._client.exceptions.ResourceAlreadyExistsException:
                continue

    def _flush(self) -> None:
        with self._flushing:
            for batch in self._batches():
                names = {"logGroupName": self._group, "logStreamName": self._stream}
                self._attempt(partial(self._client.put_log_events, logEvents=batch, **names))

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """The pending lines in batches below the API's 10,000 events and 1 MiB."""
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

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except (ClientError, BotoCoreError):
            self.failures += 1
