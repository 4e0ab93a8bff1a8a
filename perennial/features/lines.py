"""Rows of Arrow columns as bytes: CSV and JSON lines, built column by column without a Python loop over rows.

Categories repeat, so text is escaped once for each dictionary value and then looked up. So do combinations of them, and
of flags and small numbers: where such fields stand side by side in many rows, they are looked up as one text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.features.values import as_dictionary, decoded, holds, to_texts

Fields: TypeAlias = pa.StringArray | pa.DictionaryArray
ROWS_OF_A_COMBINATION = 16  # on average, or it is no gain to make its text once
_UNIT = "\x1f"  # the separator of units of ASCII, which is in no text of people; one that has it is joined
_BY_COMMAS, _BY_UNITS = (
    pa_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none", batch_size=1 << 20)
    for delimiter in (",", _UNIT)
)


def csv_field(array: pa.Array) -> Fields:
    """Return a column as CSV fields; texts are quoted where RFC 4180 asks for it, missing values stay null."""
    return _mapped(array, csv_text) if _is_text(array.type) else to_texts(array)


def json_value(array: pa.Array, text: Fields | None = None) -> Fields:
    """Return a column as JSON values, `null` for missing ones; `text` is the column's csv_field where it is known."""
    if _is_text(array.type):
        text = _mapped(array, lambda value: json.dumps(value, ensure_ascii=False))
    elif pa.types.is_boolean(array.type):
        text = pa.DictionaryArray.from_arrays(pc.cast(array, pa.int8()), pa.array(["false", "true"]), safe=False)
    elif text is None:
        text = to_texts(array)
    return pc.fill_null(decoded(text), "null") if text.null_count else text


def csv_lines(fields: Sequence[Fields]) -> memoryview:
    """Return rows of fields as CSV bytes, each ended by a line feed. A null is an empty field."""
    texts = [*_combined(fields)]
    try:
        return _written(texts)
    except pa.ArrowInvalid:  # fields in quotation marks
        return bytes_of(_rows([part for text in texts for part in (",", text)][1:]))


def _combined(fields: Sequence[Fields]) -> Iterator[pa.StringArray]:
    """Yield the fields as texts; one text for neighbours that have few combinations."""
    few: list[pa.DictionaryArray] = []
    combinations = 1
    for field in fields:
        count = len(field.dictionary) if _is_dictionary(field) and not field.null_count else 0
        if few and not 0 < combinations * count * ROWS_OF_A_COMBINATION <= len(field):
            yield _as_one(few)
            few, combinations = [], 1
        if 0 < count * ROWS_OF_A_COMBINATION <= len(field):
            few.append(field)
            combinations *= count
        else:
            yield decoded(field)
    if few:
        yield _as_one(few)


def _as_one(fields: Sequence[pa.DictionaryArray]) -> pa.StringArray:
    """Return dictionaries without nulls as one text for each row."""
    if len(fields) == 1:
        return decoded(fields[0])
    sizes = [len(field.dictionary) for field in fields]
    places = np.zeros(len(fields[0]), np.int32)
    for field, size in zip(fields, sizes, strict=True):
        places = places * np.int32(size) + field.indices.to_numpy().astype(np.int32)
    of_each = np.unravel_index(np.arange(np.prod(sizes)), sizes)
    texts = [field.dictionary.take(pa.array(at)) for field, at in zip(fields, of_each, strict=True)]
    return pc.binary_join_element_wise(*texts, ",").take(pa.array(places))


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
        steps = (lines == ord(_UNIT)).view(np.uint8)
        steps *= ord(",") - ord(_UNIT)
        lines += steps
    return lines.data


def _characters(text: pa.StringArray) -> int:
    """Return the bytes of all texts of a column together."""
    if not len(text):
        return 0
    ends = np.frombuffer(text.buffers()[1], np.int32)
    return int(ends[text.offset + len(text)] - ends[text.offset])


def json_lines(names: Sequence[str], columns: Sequence[Fields]) -> pa.StringArray:
    """Return one JSON object a row, ended by a line feed, with the columns (json_value) under their names."""
    parts: list[str | pa.StringArray] = []
    for is_dictionary, some in groupby(zip(names, columns, strict=True), lambda item: _is_dictionary(item[1])):
        if is_dictionary:
            parts += [part for text in _combined([_named(*item) for item in some]) for part in (",", text)]
        else:
            parts += [part for name, text in some for part in (f",{json.dumps(name)}:", text)]
    return _rows(["{" + str(parts[0]).removeprefix(","), *parts[1:], "}"])


def _named(name: str, values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return JSON values with their name before them."""
    texts = pc.binary_join_element_wise(f"{json.dumps(name)}:", values.dictionary, "")
    return pa.DictionaryArray.from_arrays(values.indices, texts, safe=False)


def _rows(parts: Sequence[str | pa.StringArray]) -> pa.StringArray:
    """Return what stands side by side as one text for each row, ended by a line feed. A null is empty."""
    merged: list[str | pa.StringArray] = []
    for part in [*parts, "\n"]:  # neighbouring constants as one: a cheaper join
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return pc.binary_join_element_wise(*merged, "", null_handling="replace", null_replacement="")


def bytes_of(rows: pa.StringArray) -> memoryview:
    """Return the texts of all rows, one after the other, in UTF-8."""
    ends, data = rows.buffers()[1:]
    return memoryview(data)[: np.frombuffer(ends, np.int32)[len(rows)]] if len(rows) else memoryview(b"")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind))


def _is_dictionary(field: Fields) -> bool:
    return bool(pa.types.is_dictionary(field.type))


def _mapped(array: pa.Array, escape: Callable[[str], str]) -> pa.DictionaryArray:
    encoded = as_dictionary(array)
    escaped = pa.array(map(escape, encoded.dictionary.to_pylist()), pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, escaped, safe=False)


def csv_text(text: str) -> str:
    """Return a text as a CSV field, in quotation marks where RFC 4180 asks for it."""
    special = '"' in text or "," in text or "\n" in text or "\r" in text
    return '"' + text.replace('"', '""') + '"' if special else text
