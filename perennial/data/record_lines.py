"""Raw rows as lines of a test set, padded so that their encoded form fits into a request (data.payload)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.payload import LARGEST_LINE, WIDENING
from perennial.features.lines import Fields, bytes_of, json_lines, json_value
from perennial.features.values import DataError, decoded

Lengths = npt.NDArray[np.int64]


def encoded_lengths(fields: Sequence[Fields]) -> Lengths:
    """Return the bytes of each line that lines.csv_lines would make of fields, with its end."""
    texts = [pc.fill_null(_bytes(field), 0).to_numpy() for field in fields]
    return np.asarray(np.sum(texts, axis=0) + len(texts), np.int64)


def _bytes(field: Fields) -> pa.Array:
    if pa.types.is_dictionary(field.type):
        return pc.binary_length(field.dictionary).take(field.indices)
    return pc.binary_length(field)


def record_lines(
    rows: pa.Table, encoded: Lengths | None, shortest: int, texts: Mapping[str, Fields] | None = None
) -> memoryview:
    """Return rows as JSON lines of at least `shortest` bytes each, and a WIDENING-th of their encoded lengths if known.

    texts  columns as lines.csv_field makes them, as far as that has been done

    Raises DataError: a line is longer than a request may be.
    """
    texts = texts or {}
    values = [json_value(rows[name].combine_chunks(), texts.get(name)) for name in rows.column_names]
    lines = json_lines(rows.column_names, values)
    bare = pc.binary_length(lines).to_numpy()
    encoded = np.zeros_like(bare) if encoded is None else encoded
    wanted = np.maximum(-(-encoded // WIDENING), shortest)
    _require_short(np.maximum(bare, wanted), encoded)
    if (bare >= wanted).all():
        return bytes_of(lines)
    blanks = pc.binary_repeat(pa.scalar(" "), pa.array(np.maximum(wanted - bare, 0)))
    padded = pc.binary_join_element_wise(decoded(values[-1]), blanks, "")
    return bytes_of(json_lines(rows.column_names, [*values[:-1], padded]))


def _require_short(line: Lengths, encoded: Lengths) -> None:
    if line.max(initial=0) <= LARGEST_LINE:
        return
    longest = int(line.argmax())
    raise DataError(
        f"a row of the test set takes {line[longest]:,} bytes as a record and {encoded[longest]:,} as features; "
        f"expected at most {LARGEST_LINE:,} and {WIDENING * LARGEST_LINE:,}, because a request to the model holds no "
        "more. Leave out texts that are no features, lower quality.max_categories, or have features.py return less"
    )
