"""Numbers of columns compared as Python compares them, one by one.

Arrow takes minus zero for another value than zero where it looks for one among some, and refuses to compare a float
with integers that it cannot hold exactly, beyond 53 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

LOWEST_INTEGER, HIGHEST_INTEGER = -(2**63), 2**63 - 1


def is_one_of(values: pa.Array, wanted: Sequence[float]) -> pa.BooleanArray:
    """Return whether each number is among some; false for a missing one."""
    both_zeros = [0.0, -0.0] if pa.types.is_floating(values.type) and 0 in wanted else []
    return pc.is_in(values, value_set=pa.array([*wanted, *both_zeros], values.type))


def below(values: pa.Array, bound: float) -> pa.BooleanArray:
    """Return whether each number is less than a bound; not true for a missing one."""
    if pa.types.is_floating(values.type):
        return pc.less(values, bound)
    least = max(math.ceil(bound), LOWEST_INTEGER)  # of the integers that are not below
    return pc.less(values, least) if least <= HIGHEST_INTEGER else pc.is_valid(values)


def above(values: pa.Array, bound: float) -> pa.BooleanArray:
    """Return whether each number is more than a bound; not true for a missing one."""
    if pa.types.is_floating(values.type):
        return pc.greater(values, bound)
    most = min(math.floor(bound), HIGHEST_INTEGER)  # of the integers that are not above
    return pc.greater(values, most) if most >= LOWEST_INTEGER else pc.is_valid(values)
