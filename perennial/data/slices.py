"""Which rows are in which of a definition's slices (`gate.slices`): a bit of a number for each row.

Bit n is the n-th slice in the order of their names. A row without a value of a column is in no slice of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

FOLDER = "slices"  # beside the hashes of rows (data.rows.FOLDER): 8 bytes a test row, little-endian


def slices_of(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the slices of a definition in the order of their bits. Older definitions have none."""
    return dict(sorted((definition.get("gate", {}).get("slices") or {}).items()))


def columns_of(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that decide about slices."""
    return tuple({column: None for one in slices_of(definition).values() for column in one["where"]})


def masks(bits: Bits, names: list[str]) -> dict[str, Mask]:
    """Return which rows `(n_rows,)` each slice holds."""
    return {name: (bits >> np.uint64(place)) & np.uint64(1) == 1 for place, name in enumerate(names)}
