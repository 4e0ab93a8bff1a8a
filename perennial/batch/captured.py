"""Scored rows as data capture writes requests and answers, so that a window of the monitor reads them like those.

Source: SageMaker Developer Guide, "Capture data from real-time endpoint". A row is a request of its own: its inference
id is what its label is found by.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

import pyarrow as pa

from perennial.data.parts import PartWriter
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.lines import json_lines, json_value

ROWS_PER_PART = 100_000
JSON_LINES = "application/jsonlines"


class CapturedRows:
    """Writes a share of the scored rows, in percent: the same ones whoever asks. All are of one moment.

    at  when, aware
    """

    def __init__(self, folder: Path, percentage: float, at: datetime) -> None:
        self._time = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._writer, self._percentage = PartWriter(folder, ".jsonl", ROWS_PER_PART), percentage
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, records: pa.Table, scores: Floats, ids: Sequence[str]) -> None:
        """Take in scored records, `(n_rows,)` scores or `(n_rows, n_classes)`, and their inference ids."""
        if not self._percentage or not ids:
            return
        values = [json_value(column.combine_chunks()) for column in records.columns]
        lines = json_lines(records.column_names, values).to_pylist()
        for line, score, identifier in zip(lines, scores.tolist(), ids, strict=True):
            if crc32(identifier.encode()) % 10_000 < self._percentage * 100:
                document = _captured(line.rstrip("\n"), json.dumps({"score": score}), identifier, self._time)
                self._writer.write(1, (json.dumps(document, ensure_ascii=False) + "\n").encode())
                self.rows += 1


def _captured(request: str, answer: str, identifier: str, time: str) -> dict[str, Any]:
    return {
        "captureData": {
            "endpointInput": _payload(request, "INPUT"),
            "endpointOutput": _payload(answer, "OUTPUT"),
        },
        "eventMetadata": {"eventId": identifier, "inferenceId": identifier, "inferenceTime": time},
        "eventVersion": "0",
    }


def _payload(text: str, mode: str) -> dict[str, str]:
    return {"observedContentType": JSON_LINES, "mode": mode, "data": text, "encoding": "JSON"}
