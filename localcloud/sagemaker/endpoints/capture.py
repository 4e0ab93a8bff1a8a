"""Data capture: requests and answers of an endpoint, as JSON lines in S3.

Key and record as in the Developer Guide, "Capture data from real-time endpoint":
`<DestinationS3Uri>/<endpoint>/<variant>/yyyy/mm/dd/hh/<MM>-<SS>-<mmm>-<uuid>.jsonl`, in UTC, by the time of the
invocation. AWS takes about two minutes to deliver; here records are in S3 after two seconds.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from localcloud.sagemaker.platform.store import Document

FLUSH_SECONDS = 1.0
_LARGEST_BUFFER_BYTES = 256 * 1024 * 1024
_LARGEST_FILE_BYTES = 16 * 1024 * 1024
_text = json.encoder.encode_basestring_ascii
logger = logging.getLogger(__name__)

Put = Callable[[str, bytes], None]
"""Write an object: (S3 URI, content)."""


class Exchange(NamedTuple):
    """One invocation that succeeded."""

    time: datetime
    request_body: bytes
    request_type: str
    response_body: bytes
    response_type: str
    event_id: str
    inference_id: str | None = None
    custom_attributes: str | None = None


class Capture:
    """The capture of one variant. `offer` never blocks and never fails; `flush` writes what is there.

    `config` is an endpoint configuration's DataCaptureConfig. What cannot be written stays for the next flush, up to
    256 MiB; beyond that the oldest records are dropped and `dropped` counts them (AWS stops when its disk is full).
    """

    def __init__(self, config: Document, endpoint: str, variant: str, put: Put, chance: Callable[[], float]) -> None:
        self._prefix = f"{config['DestinationS3Uri'].rstrip('/')}/{endpoint}/{variant}"
        self._enabled = config.get("EnableCapture", True)
        self._percentage = config["InitialSamplingPercentage"]
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        self._input = bool(modes & {"Input", "InputAndOutput"})
        self._output = bool(modes & {"Output", "InputAndOutput"})
        headers = config.get("CaptureContentTypeHeader", {})
        self._encodings = {base_type(name): "CSV" for name in headers.get("CsvContentTypes", [])}
        self._encodings |= {base_type(name): "JSON" for name in headers.get("JsonContentTypes", [])}
        self._put, self._chance = put, chance
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._waiting: deque[tuple[datetime, bytes]] = deque()
        self._bytes = 0
        self.dropped = 0

    def offer(self, exchange: Exchange) -> None:
        """Take the exchange into the buffer if the sampling says so."""
        if not self._enabled or self._chance() * 100 >= self._percentage:
            return
        line = self._record(exchange).encode()
        with self._lock:
            self._waiting.append((exchange.time, line))
            self._bytes += len(line)
            self._drop_oldest()

    def flush(self) -> None:
        """Write everything that waits, a file for each hour (or 16 MiB)."""
        with self._writing:
            with self._lock:
                taken, self._waiting, self._bytes = list(self._waiting), deque(), 0
            written = 0
            try:
                for records in _files(taken):
                    self._put(self._key(records[0][0]), b"".join(line for _, line in records))
                    written += len(records)
            except Exception:  # whatever S3 answers, serving goes on
                logger.warning("captured data of %s could not be written; trying again", self._prefix, exc_info=True)
                self._give_back(taken[written:])

    def take(self) -> list[tuple[str, bytes]]:
        """Return everything that waits, as objects (URI, content) that somebody else writes."""
        with self._writing, self._lock:
            taken, self._waiting, self._bytes = list(self._waiting), deque(), 0
        return [(self._key(records[0][0]), b"".join(line for _, line in records)) for records in _files(taken)]

    def _give_back(self, records: list[tuple[datetime, bytes]]) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(records))
            self._bytes += sum(len(line) for _, line in records)
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        while self._bytes > _LARGEST_BUFFER_BYTES:
            self._bytes -= len(self._waiting.popleft()[1])
            self.dropped += 1

    def _key(self, first: datetime) -> str:
        stamp = first.strftime("%M-%S-") + f"{first.microsecond // 1000:03d}"
        return f"{self._prefix}/{first:%Y/%m/%d/%H}/{stamp}-{uuid.uuid4()}.jsonl"

    def _record(self, exchange: Exchange) -> str:
        """Return the line of an exchange, without a space that need not be."""
        data = []
        if self._input:
            data.append(self._payload("endpointInput", exchange.request_body, exchange.request_type, "INPUT"))
        if self._output:
            data.append(self._payload("endpointOutput", exchange.response_body, exchange.response_type, "OUTPUT"))
        of_caller = f',"inferenceId":{_text(exchange.inference_id)}' if exchange.inference_id else ""
        if exchange.custom_attributes:
            of_caller += f',"customAttributes":[{_text(exchange.custom_attributes)}]'
        return (
            f'{{"captureData":{{{",".join(data)}}},"eventMetadata":{{"eventId":{_text(exchange.event_id)}{of_caller},'
            f'"inferenceTime":"{exchange.time.isoformat(timespec="seconds")[:19]}Z"}},"eventVersion":"0"}}\n'
        )

    def _payload(self, name: str, body: bytes, content_type: str, mode: str) -> str:
        text, encoding = self._encoded(body, content_type)
        return (
            f'"{name}":{{"observedContentType":{_text(content_type)},"mode":"{mode}","data":{_text(text)},'
            f'"encoding":"{encoding}"}}'
        )

    def _encoded(self, body: bytes, content_type: str) -> tuple[str, str]:
        """Text as it is for the listed content types, base64 for all others and for what is no UTF-8."""
        encoding = self._encodings.get(base_type(content_type))
        if encoding is not None:
            try:
                return body.decode("utf-8"), encoding
            except UnicodeDecodeError:
                pass
        return base64.b64encode(body).decode("ascii"), "BASE64"


@lru_cache(maxsize=256)
def base_type(content_type: str) -> str:
    """Convert `text/csv; charset=utf-8` -> `text/csv`: a CaptureContentTypeHeader lists types without parameters."""
    return content_type.split(";")[0].strip().lower()


def _files(records: list[tuple[datetime, bytes]]) -> Iterator[list[tuple[datetime, bytes]]]:
    """Yield the records of one hour each, in order, and not more than 16 MiB at a time."""
    for _, of_hour in groupby(records, key=lambda record: record[0].replace(minute=0, second=0, microsecond=0)):
        batch: list[tuple[datetime, bytes]] = []
        size = 0
        for record in of_hour:
            if batch and size + len(record[1]) > _LARGEST_FILE_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(record)
            size += len(record[1])
        yield batch


def summary(config: Document | None) -> dict[str, Any] | None:
    """Return DescribeEndpoint's DataCaptureConfig."""
    if config is None:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def sampling() -> Callable[[], float]:
    """Return a source of numbers from 0 to 1, not shared with anything that seeds its own."""
    return random.Random().random


def utc_now() -> datetime:
    return datetime.now(UTC)
