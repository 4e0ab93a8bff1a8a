"""Columns are compared with bounds, and looked up among values, as Python compares single values."""

import operator

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from perennial.features.comparing import above, below, is_one_of

INTEGERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
)
FLOATS = st.floats(allow_nan=False)
BOUNDS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.one_of(st.none(), INTEGERS)), st.one_of(BOUNDS, INTEGERS))
@example([2**53 + 1, -1, None], 0.0)
@example([2**53 + 1], float(2**53))
@example([2**63 - 1, -(2**63)], float(2**63))
@example([2**63 - 1, -(2**63)], -1e30)
@example([-(2**63), 5], -float(2**63))
def test_integers_of_64_bits_have_bounds_of_any_size(numbers: list[int | None], bound: float) -> None:
    compared(pa.array(numbers, pa.int64()), numbers, bound)


@given(st.lists(st.one_of(st.none(), FLOATS)), BOUNDS)
@example([-0.0, 5e-324], 0.0)
def test_floats_have_bounds(numbers: list[float | None], bound: float) -> None:
    compared(pa.array(numbers, pa.float64()), numbers, bound)


def compared(column: pa.Array, numbers: list[int | None] | list[float | None], bound: float) -> None:
    for of_column, of_one in ((below, operator.lt), (above, operator.gt)):
        expected = [number is not None and of_one(number, bound) for number in numbers]
        assert [found is True for found in of_column(column, bound).to_pylist()] == expected


@given(st.lists(st.one_of(st.none(), FLOATS)), st.lists(FLOATS, max_size=3))
@example([-0.0, 0.0, 1.0, None], [0.0])
@example([-0.0, 0.0, None], [-0.0])
def test_zero_is_among_values_with_either_sign(numbers: list[float | None], wanted: list[float]) -> None:
    found = is_one_of(pa.array(numbers, pa.float64()), wanted)
    assert found.to_pylist() == [number is not None and number in wanted for number in numbers]
