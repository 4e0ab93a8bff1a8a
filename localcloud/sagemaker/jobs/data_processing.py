"""Filters and joins of transform jobs: the part of a record that a model gets, and the parts that are written.

CSV records are arrays of text, which only indexes select from; a JSON record may be anything. The answer is appended
to a CSV record, is the member `SageMakerOutput` of a JSON object, and beside `SageMakerInput` of any other record.
Source  SageMaker Developer Guide, "Associate Prediction Results with Input Records"; API reference, DataProcessing. A
        slice with an end is refused: the guide counts the end in, the JSONPath to which it points does not.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.errors import invalid, one_line, unsupported
from localcloud.sagemaker.platform.store import Document

DEFAULTS = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
_CSV, _JSON = "text/csv", ("application/json", "application/jsonlines")
_INPUT, _OUTPUT = "SageMakerInput", "SageMakerOutput"
_NAME = re.compile(r"\.([^.\[\]*'\"\s]+)")
_NAMES = re.compile(r"\.?\[\s*((?:'[^']*'|\"[^\"]*\")(?:\s*,\s*(?:'[^']*'|\"[^\"]*\"))*)\s*\]")
_INDEXES = re.compile(r"\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\]")
_SLICE = re.compile(r"\[\s*(-?\d*)\s*:\s*(-?\d*)\s*\]")
_ALL = re.compile(r"\.\*|\[\s*\*\s*\]")

Step = Callable[[Any], Any]


class RecordError(Exception):
    """A record, or the answer to it, is not what a filter or a join needs; the text is for the data log."""


@dataclass(frozen=True)
class DataProcessing:
    """The filters and the join of a job, before and after the model."""

    input_filter: list[Step]
    output_filter: list[Step]
    joins: bool
    is_csv: bool
    by_lines: bool

    def before(self, payload: bytes) -> bytes:
        """Return the request's records with what the input filter keeps of them."""
        return self._written([_select(self.input_filter, record) for record in self._read(payload)])

    def after(self, payload: bytes, answer: bytes) -> bytes:
        """Return the answers, joined with the records where that is asked for, with what the output filter keeps."""
        answers = self._read(answer)
        if self.joins:
            records = self._read(payload)
            if len(records) != len(answers):
                raise RecordError(f"the model answered {len(answers)} records to {len(records)}; they cannot be joined")
            answers = [self._joined(*pair) for pair in zip(records, answers, strict=True)]
        return self._written([_select(self.output_filter, each) for each in answers])

    def _joined(self, record: Any, answer: Any) -> Any:
        if self.is_csv:
            return [*record, *answer]
        return {**record, _OUTPUT: answer} if isinstance(record, dict) else {_INPUT: record, _OUTPUT: answer}

    def _read(self, body: bytes) -> list[Any]:
        try:
            text = body.decode("utf-8")
            if self.is_csv:
                return list(csv.reader(io.StringIO(text, newline="")))
            return [json.loads(part) for part in (text.splitlines() if self.by_lines else [text])]
        except (ValueError, csv.Error, RecursionError) as error:
            raise RecordError(f"{one_line(str(error))} in {one_line(repr(body[:80]))}") from error

    def _written(self, records: Sequence[Any]) -> bytes:
        if self.is_csv:
            text = io.StringIO()
            rows = (record if isinstance(record, list) else [record] for record in records)
            csv.writer(text, lineterminator="\n").writerows(rows)
            return text.getvalue().encode()
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        return "".join(f"{line}\n" if self.by_lines else line for line in lines).encode()


def of_request(request: Document) -> DataProcessing | None:
    """Return what a request asks for; None when records and answers stay as they are. Refuses what cannot be done."""
    processing = DEFAULTS | request.get("DataProcessing", {})
    if processing == DEFAULTS:
        return None
    source, target = request["TransformInput"], request["TransformOutput"]
    kinds = [_kind(source.get("ContentType")), _kind(target.get("Accept"))]
    is_csv, by_lines = kinds[0] == _CSV, source.get("SplitType") == "Line"
    if kinds[0] != kinds[1] or kinds[0] not in (_CSV, *_JSON):
        raise invalid(
            "DataProcessing needs TransformInput.ContentType and TransformOutput.Accept to be the same, one of "
            f"{', '.join((_CSV, *_JSON))}; got {kinds[0] or 'none'} and {kinds[1] or 'none'}."
        )
    if by_lines != (target.get("AssembleWith") == "Line") or by_lines != (kinds[0] != "application/json"):
        raise invalid(
            "DataProcessing needs SplitType and AssembleWith Line for text/csv and application/jsonlines, and neither "
            "for application/json."
        )
    return DataProcessing(
        _steps(processing["InputFilter"], "DataProcessing.InputFilter", is_csv),
        _steps(processing["OutputFilter"], "DataProcessing.OutputFilter", is_csv),
        processing["JoinSource"] == "Input",
        is_csv,
        by_lines,
    )


def _kind(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _select(steps: list[Step], record: Any) -> Any:
    for step in steps:
        record = step(record)
    return record


def _steps(path: str, where: str, is_csv: bool) -> list[Step]:
    """Return the steps of a path. What selects several things ends it."""
    if not path.startswith("$"):
        raise invalid(f"{where} {path!r} is no JSONPath; it must begin with $.")
    steps: list[Step] = []
    position, is_open = 1, True
    while position < len(path):
        match, step, is_open_next = _step(path, position, where)
        if not is_open:
            raise unsupported(f"{where} {path!r}: going on after several elements")
        if is_csv and (match.re in (_NAME, _NAMES) or steps):
            raise invalid(
                f"{where} {path!r}: a CSV record is an array, so only one index or slice can be applied to it."
            )
        steps.append(step)
        position, is_open = match.end(), is_open_next
    return steps


def _step(path: str, position: int, where: str) -> tuple[re.Match[str], Step, bool]:
    """Return the part of a path that begins here, what it does, and whether something may follow."""
    if match := _NAME.match(path, position):
        return match, _member(match[1]), True
    if match := _NAMES.match(path, position):
        names = [single or double for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", match[1])]
        return (match, _member(names[0]), True) if len(names) == 1 else (match, _members(names), False)
    if match := _INDEXES.match(path, position):
        numbers = [int(number) for number in match[1].split(",")]
        return (match, _item(numbers[0]), True) if len(numbers) == 1 else (match, _items(numbers), False)
    if (match := _SLICE.match(path, position)) and not match[2]:
        return match, _rest(int(match[1] or 0)), False
    if match:
        raise unsupported(
            f"{where} {path!r}: a slice with an end", "Whether the end is part of it is not certain; list the indexes."
        )
    if match := _ALL.match(path, position):
        return match, _values, False
    raise unsupported(f"{where} {path!r}: {path[position:]!r}")


def _member(name: str) -> Step:
    def select(record: Any) -> Any:
        if not isinstance(record, dict) or name not in record:
            raise RecordError(f"a record has no member {name!r}")
        return record[name]

    return select


def _members(names: list[str]) -> Step:
    return lambda record: {name: _member(name)(record) for name in names}


def _item(index: int) -> Step:
    def select(record: Any) -> Any:
        if not isinstance(record, list) or not -len(record) <= index < len(record):
            raise RecordError(f"a record has no element {index}")
        return record[index]

    return select


def _items(indexes: list[int]) -> Step:
    return lambda record: [_item(index)(record) for index in indexes]


def _rest(start: int) -> Step:
    def select(record: Any) -> Any:
        if not isinstance(record, list):
            raise RecordError("a record is no array")
        return record[start:]

    return select


def _values(record: Any) -> Any:
    if isinstance(record, dict):
        return list(record.values())
    if isinstance(record, list):
        return record
    raise RecordError("a record is neither an object nor an array")
