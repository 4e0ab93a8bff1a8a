"""Serve the fitted preprocessor: raw records in, encoded features out, as the first container of a pipeline.

Called by  the scikit-learn serving container (script mode), as code/inference.py of the preprocessor's model.tar.gz.
Input      text/csv: features in the definition's order, or in that of a first line with their names;
           application/jsonlines: one object by column name a line; application/json: one object, or
           {"instances": [objects]}. An empty CSV field, a JSON null and an absent name are missing values. Texts mean
           what they mean in a dropped file (`parse` of model.yaml), and names may be those in the files. Under their
           names other columns of the definition may stand there too, row numbers, and with `other_columns: ignore`
           anything else; they are passed over.
Header     the first line of a CSV request is one when it names the features that may not be null, and either most
           features or nothing but columns; where it has as many fields as a row of values both. In a batch transform
           only the features' names in their order are a header: the lines after it may come in other requests.
Lines      in text/csv and application/jsonlines every line is a record, so that answer n belongs to line n. A blank one
           is refused by number, but for those after the last record, which are harmless; in a batch transform these
           too, because they may be the middle of a file. In CSV of one feature a line without text is a record whose
           value is missing.
Output     text/csv, one line a record, shape (n_records, n_encoded_features), whatever the request accepts.
Refuses    with status 400, text/plain: what is wrong, what was expected, in which record. Missing values are imputed
           and unknown categories are zeros, as in training.
Checks     unknown categories, values out of range and values that may not be missing (features.record_checks): the
           answer's header X-Amzn-SageMaker-Custom-Attributes names kinds and columns, lines in the embedded metric
           format count them, and what `serving` of the definition says is refused with 400.
Bounds     an answer of more than LARGEST_ANSWER bytes is refused with 413 and how many records fit: the next container
           would refuse it (XGBoost: MAX_CONTENT_LENGTH). Nothing above it is made, and no more than ROWS_AT_ONCE rows
           at a time. The test set of a batch transform fits by its lines (data.payload).
In batch   names that this model does not know are passed over, and nothing is checked: it may be older than the
           definition of the test set that it is compared on.
Why        nothing is raised for a bad record: the container makes of any exception a 500 without its text
           (sagemaker-containers 2.8.6, `_functions.error_wrapper`); the status of a Response is the caller's. Three
           functions, because not every version of the container calls a `transform_fn`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.features.column import Column
from perennial.features.column_names import Header, Named, RequestNames
from perennial.features.encoding import FORMAT_VERSION, Encoder, load_hook
from perennial.features.few_records import FewReader, FewRecords
from perennial.features.from_json import ValueRefusedError, from_python
from perennial.features.from_text import from_text
from perennial.features.json_text import decode
from perennial.features.record_checks import RecordChecks, attributes, metric_lines
from perennial.words import printable, quoted

CSV, JSON_LINES, JSON = "text/csv", "application/jsonlines", "application/json"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
LARGEST_ANSWER = 6 * 1024**2  # bytes
ROWS_AT_ONCE = 2_000
LONGEST_HEADER = 1 << 18  # characters
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}  # of files, which requests do not have
LONGEST_LIST = 400  # characters of the names in a refusal
_LINE_END = re.compile(r"\r\n|\n|\r")
_BLANK_LINE = re.compile(r"(\A|\n|\r(?!\n))(?=[\r\n])")  # its match ends where the line begins


class RecordError(ValueError):
    """The request is wrong, not the service; the text says what, where and what was expected."""


class TooWideError(RecordError):
    """The encoded records are more than the next container takes."""


@dataclass(frozen=True)
class Request:
    """A request that is not read yet."""

    body: bytes | bytearray | str
    content_type: str | None


@dataclass(frozen=True)
class Preprocessor:
    """The fitted preprocessor: raw features, in CSV order, and their encoder."""

    columns: Mapping[str, Column]
    names: RequestNames
    encoder: Encoder
    in_batch: bool = False
    checks: RecordChecks = field(default_factory=RecordChecks)
    few: FewReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "few", FewReader(self.columns, self.names))


@dataclass(frozen=True)
class Unusual:
    """Encoded features, one line a record, and what is unusual about the records, as a header's value."""

    lines: str
    attributes: str


def model_fn(model_dir: str) -> Preprocessor:
    """Load the preprocessor from an unpacked model.tar.gz."""
    document = json.loads((Path(model_dir) / "preprocessor.json").read_text(encoding="utf-8"))
    if document["format"] != FORMAT_VERSION:
        raise ValueError(f"preprocessor.json has format {document['format']}; this code reads {FORMAT_VERSION}")
    # The container may have moved the code out of the model's folder.
    hook = load_hook(Path(__file__).with_name("features.py")) or load_hook(Path(model_dir) / "code" / "features.py")
    columns = {column["name"]: Column.from_json(column) for column in document["columns"]}
    in_batch = os.environ.get("SAGEMAKER_BATCH", "").lower() == "true"
    others = document.get("passed_over", {})
    names = RequestNames(columns.values(), others.get("columns", {}), ignore=in_batch or others.get("unknown", False))
    checks = RecordChecks() if in_batch else RecordChecks.from_json(document.get("checks", {}))
    return Preprocessor(columns, names, Encoder.from_json(document["encodings"], hook), in_batch, checks)


def input_fn(body: bytes | bytearray | str, content_type: str | None) -> Request:
    """Take a request in; `predict_fn`, which knows the columns, reads it."""
    return Request(body, content_type)


def predict_fn(request: Request, model: Preprocessor) -> str | Unusual | RecordError:
    """Return the encoded features of the records, one line each, or what is wrong with the request."""
    try:
        records = read(request, model)
        unusual = check(records, model.checks)
        lines = encode(records, model)
        return Unusual(lines, unusual) if unusual else lines
    except RecordError as refused:
        return refused


def output_fn(prediction: str | Unusual | RecordError, accept: str | None) -> Any:
    """Return the answer and its type, which is not what the caller accepts but what the next container reads."""
    if isinstance(prediction, str):
        return prediction, CSV
    from sagemaker_containers.beta.framework import worker  # only the container has it

    if isinstance(prediction, Unusual):
        return worker.Response(response=prediction.lines, headers={ATTRIBUTES: prediction.attributes}, mimetype=CSV)
    status = 413 if isinstance(prediction, TooWideError) else 400
    return worker.Response(response=str(prediction), status=status, mimetype="text/plain")


def encode(records: pa.Table | FewRecords, model: Preprocessor) -> str:
    """Return the encoded features, one line a record. Raises TooWideError."""
    parts, size = [], 0
    for start in range(0, records.num_rows, ROWS_AT_ONCE):
        parts.append(bytes(model.encoder.encode(records.slice(start, ROWS_AT_ONCE))))
        size += len(parts[-1])
        if size > LARGEST_ANSWER and not model.in_batch:
            widest = max(len(line) + 1 for part in parts for line in part.split(b"\n"))
            raise TooWideError(
                f"the request holds {records.num_rows:,} records; expected at most {LARGEST_ANSWER // widest:,}: each "
                f"becomes up to {widest:,} bytes of features, and the model takes {LARGEST_ANSWER:,} bytes"
            )
    return b"".join(parts).decode()


def check(records: pa.Table | FewRecords, checks: RecordChecks) -> str:
    """Return what is unusual about the records, and count it in the log. Raises RecordError: `serving` refuses it."""
    findings = checks.find(records)
    if not findings:
        return ""
    refusal = checks.refusal(records, findings)
    service, moment_ms = os.environ.get("STACK_NAME", "unknown"), time.time_ns() // 1_000_000
    for line in metric_lines(findings, service, moment_ms, refused=refusal is not None):
        print(line, flush=True)
    if refusal:
        raise RecordError(refusal)
    return attributes(findings)


def read(request: Request, model: Preprocessor) -> pa.Table | FewRecords:
    """Return the records as typed columns of raw features, or a few by value. Raises RecordError."""
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if media_type not in _READERS:
        raise RecordError(f"content type {quoted(request.content_type)}; expected {', '.join(_READERS)}")
    try:
        text = request.body if isinstance(request.body, str) else bytes(request.body).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"byte {error.start} of the request is not UTF-8; expected UTF-8") from error
    if "\ufffd" in text:  # the container decodes some types itself, and puts this where a byte is not UTF-8
        raise RecordError("the request is not UTF-8, or holds U+FFFD, which stands for what was not; expected UTF-8")
    return _READERS[media_type](text.removeprefix("\ufeff"), model)


# ---- CSV


def _read_csv(text: str, model: Preprocessor) -> pa.Table | FewRecords:
    if few := model.few.from_csv(text):
        return few
    header = _header(text, model)
    if header and (few := model.few.from_csv(text, header)):
        return few
    skipped = int(bool(header))  # the header is no record
    header = header or Header(list(model.columns), {name: name for name in model.columns})
    fields = _fields(text, header.names, skipped, model).slice(skipped)
    _require_records(fields.num_rows, model)
    typed = {}
    for name, column in model.columns.items():
        if (place := header.place(name)) is None:
            typed[name], _ = from_text(column.type, pa.nulls(fields.num_rows, pa.string()))
            continue
        values = fields.column(place).combine_chunks()
        typed[name], invalid = from_text(column.type, values, column.parsing)
        position = -1 if invalid is None else pc.index(invalid, True).as_py()
        if position >= 0:
            raise _refused(position, name, f"got {quoted(values[position])}, expected {column.expected}")
    return pa.table(typed)


def _header(text: str, model: Preprocessor) -> Header | None:
    """Return the names in the first line; None when it is a row of values. Raises RecordError: it is another header."""
    try:
        first = next(csv.reader(io.StringIO(text[:LONGEST_HEADER], newline="")), [])
    except csv.Error:
        return None
    features, named = list(model.columns), model.names.of(first)
    meant = [model.names.column(name) for name in first]
    missing = [name for name in features if name not in named.fields and not model.columns[name].nullable]
    may_be_values = len(first) == len(features)
    only_names = bool(named.fields) and None not in meant and not may_be_values
    most = only_names or 2 * len(named.fields) > len(features)
    sound = not (missing or named.unknown or named.twice or (may_be_values and None in meant))
    if most and sound and (meant == features or not model.in_batch):
        return Header(first, named.fields)
    if not most and (may_be_values or 2 * (len(meant) - meant.count(None)) <= len(first)):
        return None
    raise _other_header(named, missing, model)


def _other_header(named: Named, missing: Sequence[str], model: Preprocessor) -> RecordError:
    problems = [f"{_listed(missing)} missing"] if missing else []
    problems += [_unknown(named.unknown, "column")] if named.unknown else []
    problems += [f"{quoted(one)} and {quoted(other)} are both {column}" for one, other, column in named.twice[:1]]
    what = f"the first line is a header with other columns{': ' if problems else ''}{', '.join(problems)}"
    order = "in this order, which a batch transform needs" if model.in_batch else "in any order"
    return RecordError(f"{what}; expected {','.join(model.columns)} {order}")


def _fields(text: str, names: Sequence[str], skipped: int, model: Preprocessor) -> pa.Table:
    """Return the fields of a CSV text, one row a line; `names` are what its fields are, `skipped` rows no records."""
    if len(names) == 1:  # a line without text is an empty field
        return _table_of(text, names, skipped, blank_lines=True) if text else pa.table({"0": pa.array([], pa.string())})
    records = _table_of(text, names, skipped)
    if text[:1] in ("\r", "\n") or any(ends in text for ends in ("\n\n", "\n\r", "\r\r")):
        _require_no_blank_line(text, names, records.num_rows, model)
    return records


def _require_no_blank_line(text: str, names: Sequence[str], records: int, model: Preprocessor) -> None:
    """Raise RecordError for a blank line of a text with so many records. Line ends in quotes are no lines."""
    count = _table_of(text, names, blank_lines=True).num_rows - records
    ends = len(_LINE_END.findall(text, len(text.rstrip("\r\n"))))
    if count > (0 if model.in_batch else max(0, ends - bool(records))):
        starts = [line.end() for line in _BLANK_LINE.finditer(text)]
        first = next((start for start in starts if text.count('"', 0, start) % 2 == 0), starts[0])
        raise _blank(1 + len(_LINE_END.findall(text, 0, first)))


def _table_of(text: str, names: Sequence[str], skipped: int = 0, *, blank_lines: bool = False) -> pa.Table:
    """Return the rows of a CSV text, and one of empty fields for each blank line if these are wanted."""
    ragged: list[pa_csv.InvalidRow] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        if not ragged:
            ragged.append(row)
        return "skip"

    body, columns = text.encode("utf-8", "replace"), [str(position) for position in range(len(names))]
    if not body.strip() and not blank_lines:
        return pa.table({name: pa.array([], pa.string()) for name in columns})
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(body),
            read_options=pa_csv.ReadOptions(column_names=columns, use_threads=False, block_size=len(body) + 1),
            parse_options=pa_csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=skip, ignore_empty_lines=not blank_lines
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise RecordError(f"the request is not readable as CSV: {quoted(error, 200)}") from error
    if ragged:
        row = ragged[0]
        raise RecordError(
            f"record {row.number - skipped}: got {row.actual_columns} fields, expected {len(names)}: "
            f"{printable(','.join(names), LONGEST_LIST)}{_delimiter_hint(row, len(names))}"
        )
    last = table.column(-1)[-1].as_py() if table.num_rows else ""
    if _is_torn(text, last):
        raise RecordError(f"record {table.num_rows - skipped}: a quotation mark is not closed")
    return table.combine_chunks()


def _delimiter_hint(row: pa_csv.InvalidRow, expected: int) -> str:
    """Say what another delimiter than commas would make of a row of too few fields; nothing when it makes no more."""
    for delimiter, spoken in OTHER_DELIMITERS.items():
        if row.text.count(delimiter) + 1 >= expected > row.actual_columns:
            return f"; the fields look separated by {spoken}, and requests have commas"
    return ""


def _is_torn(text: str, last: str) -> bool:
    """Whether a CSV text ends inside its last field, which was opened by a quotation mark."""
    field = '"' + last.replace('"', '""')
    return text == field or text.endswith(tuple(before + field for before in ",\r\n"))


# ---- JSON


def _read_json_lines(text: str, model: Preprocessor) -> pa.Table | FewRecords:
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    while lines and not lines[-1].strip() and not model.in_batch:
        lines.pop()
    return _table([_json_line(line, number) for number, line in enumerate(lines, 1)], len(text), model)


def _json_line(line: str, number: int) -> Any:
    if not line or line.isspace():
        raise _blank(number)
    return _json(line, f"record {number}")


def _read_json(text: str, model: Preprocessor) -> pa.Table | FewRecords:
    document = _json(text, "the request")
    records = document.get("instances", [document]) if isinstance(document, dict) else document
    if not isinstance(records, list):
        raise RecordError('expected one JSON object, or {"instances": [objects]}')
    return _table(records, len(text), model)


def _json(text: str, where: str) -> Any:
    try:
        return decode(text)
    except ValueError as error:
        raise RecordError(f"{where} is not readable as JSON: {error}") from error


def _table(records: Sequence[Any], characters: int, model: Preprocessor) -> pa.Table | FewRecords:
    _require_records(len(records), model)
    shapes: dict[tuple[str, ...], Mapping[str, str]] = {}
    named = [_named(record, f"record {number}", model, shapes) for number, record in enumerate(records, 1)]
    if few := model.few.from_json(named, characters):
        return few
    typed = {}
    for name, column in model.columns.items():
        try:
            typed[name] = from_python(column.type, [record.get(name) for record in named], column.parsing)
        except ValueRefusedError as error:
            raise _refused(error.index, name, str(error)) from error
    return pa.table(typed)


def _named(
    record: Any, where: str, model: Preprocessor, shapes: dict[tuple[str, ...], Mapping[str, str]]
) -> Mapping[str, Any]:
    """Return the features of a record under the columns' own names."""
    if not isinstance(record, dict):
        raise RecordError(f"{where}: got {quoted(record)}, expected an object with {', '.join(model.columns)}")
    if record.keys() <= model.columns.keys():
        return record
    names = tuple(record)
    if names not in shapes:
        shapes[names] = _fields_of(names, where, model)
    return {column: record[name] for column, name in shapes[names].items()}


def _fields_of(names: Sequence[str], where: str, model: Preprocessor) -> Mapping[str, str]:
    """Return the name of each feature that is among the names of a record."""
    named, expected = model.names.of(names), ", ".join(model.columns)
    for one, other, column in named.twice:
        raise RecordError(
            f"{where}: the fields {quoted(one)} and {quoted(other)} are both {column}; expected one of them"
        )
    if named.unknown and not model.in_batch:
        raise RecordError(f"{where}: {_unknown(named.unknown, 'field')}; expected {expected}")
    return named.fields


def _unknown(names: Sequence[str], what: str) -> str:
    return f"unknown {what}{'s' if len(names) > 1 else ''} {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    """Return names for a refusal, as many as LONGEST_LIST has room for."""
    listed = [quoted(name) for name in names]
    ends = itertools.accumulate(len(name) + 2 for name in listed)
    fitting = sum(end <= LONGEST_LIST for end in ends)
    return ", ".join(listed[:fitting]) + (f" and {len(listed) - fitting} more" if fitting < len(listed) else "")


def _require_records(count: int, model: Preprocessor) -> None:
    if not count:
        raise RecordError(f"the request holds no record; expected {', '.join(model.columns)}")


def _blank(line: int) -> RecordError:
    return RecordError(
        f"line {line} is blank; expected a record in every line, because the answers are matched with lines"
    )


def _refused(position: int, name: str, problem: str) -> RecordError:
    return RecordError(f"record {position + 1}, field '{name}': {problem}")


_READERS: dict[str, Callable[[str, Preprocessor], pa.Table | FewRecords]] = {
    CSV: _read_csv,
    JSON_LINES: _read_json_lines,
    JSON: _read_json,
}
