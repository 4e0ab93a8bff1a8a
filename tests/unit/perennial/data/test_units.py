"""A changed unit is told from a changed world."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest

from perennial.data.column_statistics import NumericColumn
from perennial.data.distributions import Distribution, distribution
from perennial.data.units import CONVERSIONS, Numbers, change

Floats = npt.NDArray[np.float64]


def drawn(kind: str, rows: int, seed: int) -> Floats:
    random = np.random.default_rng(seed)
    return {
        "miles": lambda: np.maximum(random.normal(20_000, 8_000, rows), 10),
        "prices": lambda: random.lognormal(9.8, 0.5, rows),
        "celsius": lambda: random.normal(12, 8, rows),
        "centred": lambda: random.normal(0, 1, rows),
    }[kind]()


def described(values: Floats) -> Distribution:
    column = NumericColumn("x", integral=False)
    column.add(values)
    return distribution(column.statistics()["numerical_statistics"])


def verdict(kind: str, factor: float, offset: float = 0.0, unit: str | None = None) -> str | None:
    before, after = drawn(kind, 2000, 1), drawn(kind, 1000, 2) * factor + offset
    return change(described(before), described(after), (2000, 1000), 0.1, Numbers(unit))


@pytest.mark.parametrize(
    ("kind", "factor", "offset", "words"),
    [
        ("miles", 1.609344, 0, "as miles in kilometres"),
        ("miles", 1 / 1.609344, 0, "as miles in kilometres, the other way round"),
        ("celsius", 1.8, 32, "as degrees Celsius in Fahrenheit"),
        ("celsius", 1, 273.15, "as degrees Celsius in kelvins"),
    ],
)
def test_known_conversions_are_named(kind: str, factor: float, offset: float, words: str) -> None:
    assert verdict(kind, factor, offset) == words


@pytest.mark.parametrize(
    ("factor", "said"), [(0.001, r"0\.001"), (0.01, r"0\.01"), (100, "100"), (1000, "1,000"), (8.3, r"[78]\.\d+")]
)
def test_a_large_factor_for_every_row_alike_is_a_units(factor: float, said: str) -> None:
    assert re.fullmatch(f"({said}) times what they were", verdict("prices", factor) or "")


@pytest.mark.parametrize("factor", [0.7, 1.1, 1.3, 2.0])
def test_a_world_that_is_dearer_or_cheaper_is_no_other_unit(factor: float) -> None:
    assert verdict("prices", factor) is None


def test_numbers_around_zero_have_no_factor() -> None:
    assert verdict("centred", 2.20462262) is None


def test_a_large_factor_with_another_shape_is_no_unit() -> None:
    before, after = drawn("prices", 2000, 1), np.random.default_rng(2).uniform(1e5, 1e6, 1000)
    assert change(described(before), described(after), (2000, 1000), 0.1) is None


def weights(rows: int, shares: tuple[float, float, float], seed: int) -> Floats:
    """Return weights of three species."""
    random = np.random.default_rng(seed)
    species = random.choice(3, rows, p=shares)
    return np.maximum(random.normal(np.array([20, 33, 50])[species], np.array([3, 5, 8])[species]), 1)


def test_a_shift_of_three_species_is_no_unit_though_its_median_fits_one() -> None:
    before, after = weights(300, (0.3, 0.4, 0.3), 1), weights(200, (0.1, 0.3, 0.6), 2)
    by_id = np.random.default_rng(3).choice([0, 37, 74], 200)
    for shifted in (1.6 * after + 15, 1.3 * weights(200, (0.3, 0.4, 0.3), 2) + by_id):
        assert change(described(before), described(shifted), (300, 200), 0.1) is None
    pounds = described(before[:200] * 2.20462262)
    assert change(described(before), pounds, (300, 200), 0.1, Numbers("kg")) == "as kilograms in pounds"


@pytest.mark.parametrize("rows", [100, 200])
def test_a_small_window_says_of_a_column_without_a_unit_only_what_is_sure(rows: int) -> None:
    """After one of all known conversions little is left of a world that is dearer by half in so few rows."""
    before, more = described(drawn("prices", 2000, 1)), [drawn("prices", rows, seed) for seed in range(10)]
    dearer = [change(before, described(values * 1.5), (2000, rows), 0.1) for values in more]
    assert dearer == [None] * len(more)
    assert change(before, described(more[0] * 1.609344), (2000, rows), 0.1, Numbers("mile")) == "as miles in kilometres"
    assert change(before, described(more[0] * 1000), (2000, rows), 0.1) is not None


@pytest.mark.parametrize(
    ("unit", "factor", "offset", "words"),
    [
        ("mile", 1.609344, 0, "as miles in kilometres"),
        ("Kilometres", 1 / 1.609344, 0, "as miles in kilometres, the other way round"),
        ("kilometres", 1.609344, 0, None),
        ("g", 1.609344, 0, None),
        ("g", 1.8, 32, None),
    ],
)
def test_a_conversion_that_contradicts_the_columns_unit_is_none(
    unit: str, factor: float, offset: float, words: str | None
) -> None:
    assert verdict("miles", factor, offset, unit) == words


def test_of_all_known_conversions_hardly_one_is_missed() -> None:
    pairs = [(one, seed) for one in CONVERSIONS for seed in range(5)]
    missed = 0  # with a unit that is named: 1 % of windows
    for (factor, offset, _, names, _), seed in pairs:
        before, after = (drawn("celsius" if offset else "miles", rows, seed + rows) for rows in (500, 300))
        converted = described(after * factor + offset)
        missed += change(described(before), converted, (500, 300), 0.1, Numbers(min(names))) is None
    assert missed <= 1
