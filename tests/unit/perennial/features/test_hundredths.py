"""Prices as texts: what is looked up is what Arrow writes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perennial.features.hundredths import MOST, text_of_hundredths
from perennial.features.values import NARROW, to_texts


@given(st.lists(st.integers(0, MOST - 1) | st.integers(0, 200_000)))
@example([MOST - 1, 0, 1, 9, 10, 99, 100, 110, 999_999, 1_000_000, 1_000_001, 10_000_000])
def test_numbers_of_two_decimals_at_most_have_the_text_that_any_number_has(hundredths: list[int]) -> None:
    numbers = pa.array([number / 100 for number in hundredths], pa.float64())
    text = text_of_hundredths(numbers)
    assert text is not None
    text.validate(full=True)
    assert text.equals(pc.cast(numbers, pa.string()))
    assert text_of_hundredths(numbers[1:]).to_pylist() == text.to_pylist()[1:]


@given(st.lists(st.floats() | st.none(), min_size=1))
def test_any_numbers_have_that_text_or_none(numbers: list[float | None]) -> None:
    array = pa.array(numbers, pa.float64())
    text = text_of_hundredths(array)
    assert text is None or text.equals(pc.cast(array, pa.string()))


@pytest.mark.parametrize("other", [None, -0.0, -1.25, 0.125, 1e8, 99_999_999.995, float("inf"), float("nan")])
def test_a_column_with_another_number_is_not_looked_up(other: float | None) -> None:
    assert text_of_hundredths(pa.array([0.25, other], pa.float64())) is None


def test_long_columns_of_numbers_are_looked_up_where_they_can_be() -> None:
    prices = np.arange(NARROW) * 1.25
    assert to_texts(pa.array(prices)).to_pylist() == [f"{price:.2f}".rstrip("0").rstrip(".") for price in prices]
    assert to_texts(pa.array(prices / 8)).equals(pc.cast(pa.array(prices / 8), pa.string()))
