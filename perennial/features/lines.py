"""Rows of Arrow columns as bytes: CSV and JSON lines, built column by column without a Python loop over rows.

Categories repeat, so text is escaped once for each dictionary value and then looked up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.features.values import holds, to_text

_UNIT = "\x1f"  # the separator of units of ASCII, which is in no text of people; one that has it is joined
_BY_COMMAS, _BY_UNITS = (
    pa_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none", batch_size=1 << 20)
    for delimiter in (",", _UNIT)
)


def csv_field(array: pa.Array) -> pa.StringArray:
    """Return a column as CSV fields; texts are quoted where RFC 4180 asks for it, missing values stay null."""
    return _mapped(array, _quoted) if _is_text(array.type) else to_text(array)


def json_value(array: pa.Array, text: pa.StringArray | None = None) -> pa.StringArray:
    """Return a column as JSON values, `null` for missing ones; `text` is the column's csv_field where it is known."""
    if _is_text(array.type):
        text = _mapped(array, lambda value: json.dumps(value, ensure_ascii=False))
    elif pa.types.is_boolean(array.type):
        text = pc.cast(array, pa.string())
    else:
        text = to_text(array) if text is None else text
    return pc.fill_null(text, "null") if text.null_count else text


def csv_lines(fields: Sequence[pa.StringArray]) -> memoryview:
    """Return rows of fields as CSV bytes, each ended by a line feed. A null is an empty field."""
    try:
        return _written(fields)
    except pa.ArrowInvalid:  # fields in quotation marks
        return _joined([part for field in fields for part in (",", field)][1:])


def _written(fields: Sequence[pa.StringArray]) -> memoryview:
    """Return the same by Arrow's writer, several times as fast. Raises ArrowInvalid: a field has a quotation mark.

    It would not take fields with commas either, of which one here may be several; so it is told of another separator.
    """
    has_commas = any(holds(field, ",") for field in fields)
    rows = pa.RecordBatch.from_arrays([*fields], names=[str(position) for position in range(len(fields))])
    buffer = pa.allocate_buffer(sum(_characters(field) for field in fields) + rows.num_rows * len(fields))
    sink = pa.FixedSizeBufferWriter(buffer)
    pa_csv.write_csv(rows, sink, _BY_UNITS if has_commas else _BY_COMMAS)
    lines = np.frombuffer(buffer, np.uint8)[: sink.tell()]  # a null may have kept characters
    if has_commas:
        lines += (lines == ord(_UNIT)) * np.uint8(ord(",") - ord(_UNIT))
    return lines.data


def _characters(text: pa.StringArray) -> int:
    """Return the bytes of all texts of a column together."""
    if not len(text):
        return 0
    ends = np.frombuffer(text.buffers()[1], np.int32)
    return int(ends[text.offset + len(text)] - ends[text.offset])


def json_lines(names: Sequence[str], columns: Sequence[pa.StringArray]) -> memoryview:
    """Return one JSON object a row, with the columns under their names."""
    parts: list[str | pa.StringArray] = []
    for name, values in zip(names, columns, strict=True):
        parts += ["," if parts else "{", json.dumps(name) + ":", values]
    return _joined([*parts, "}"])


def _joined(parts: Sequence[str | pa.StringArray]) -> memoryview:
    merged: list[str | pa.StringArray] = []
    for part in [*parts, "\n"]:  # neighbouring constants as one: a cheaper join
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    rows = pc.binary_join_element_wise(*merged, "", null_handling="replace", null_replacement="")
    ends, data = rows.buffers()[1:]
    return memoryview(data)[: np.frombuffer(ends, np.int32)[len(rows)]] if len(rows) else memoryview(b"")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind))


def _mapped(array: pa.Array, escape: Callable[[str], str]) -> pa.StringArray:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    return pa.array(map(escape, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


def _quoted(text: str) -> str:
    special = '"' in text or "," in text or "\n" in text or "\r" in text
    return '"' + text.replace('"', '""') + '"' if special else text
