"""Telling which slices (`data.slices`) hold each row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.slices import Bits
from perennial.features.comparing import above, below, is_one_of


def slice_bits(rows: pa.Table, slices: Sequence[Mapping[str, Any]]) -> Bits:
    """Return the number of each row: bit n says that it fulfils the conditions (`where`) of slice n."""
    bits = np.zeros(rows.num_rows, np.uint64)
    for place, conditions in enumerate(slices):
        holds = np.ones(rows.num_rows, bool)
        for name, condition in conditions.items():
            holds &= pc.fill_null(_fulfils(rows[name].combine_chunks(), condition), False).to_numpy(
                zero_copy_only=False
            )
        bits |= holds.astype(np.uint64) << np.uint64(place)
    return bits


def _fulfils(values: pa.Array, condition: Mapping[str, Any]) -> pa.BooleanArray:
    """Return whether each value is one of those named, or between the bounds; null where there is none."""
    if (named := condition.get("values")) is not None:
        if pa.types.is_dictionary(values.type):
            return pc.is_in(values.dictionary, value_set=pa.array(named, values.type.value_type)).take(values.indices)
        return pc.and_(pc.is_valid(values), is_one_of(values, named))
    lower, upper = condition.get("above"), condition.get("below")
    parts = [above(values, lower)] if lower is not None else []
    parts += [below(values, upper)] if upper is not None else []
    return pc.and_(*parts) if len(parts) == 2 else parts[0]
