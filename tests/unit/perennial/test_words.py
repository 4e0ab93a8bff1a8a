"""Values as people read them."""

from __future__ import annotations

import pytest

from perennial.words import apart, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "missing"),
        (0.0, "0"),
        (12.5, "12.5"),
        (1234.5678, "1,234.57"),
        (2_200_000.0, "2,200,000"),
        (-1_234_567.89, "-1,234,568"),
        (999_999.7, "1,000,000"),
        (8.23e-05, "0.0000823"),
        (-0.000012345678, "-0.0000123457"),
        (1e300, "1e+300"),
        (1e-300, "1e-300"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_has_no_exponent_that_people_would_have_to_read(value: float | None, text: str) -> None:
    assert number(value) == text


def test_numbers_that_differ_are_told_apart_by_more_digits() -> None:
    assert apart(2_200_000.25, 2_200_000.5) == ["2,200,000.25", "2,200,000.5"]
