"""A changed unit is told from a changed world."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from perennial.data.column_statistics import NumericColumn
from perennial.data.distributions import Distribution, distribution
from perennial.monitoring.units import change

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


def verdict(kind: str, factor: float, offset: float = 0.0) -> str | None:
    before, after = drawn(kind, 2000, 1), drawn(kind, 1000, 2) * factor + offset
    return change(described(before), described(after), (2000, 1000), 0.1)


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


@pytest.mark.parametrize("factor", [0.001, 0.01, 100, 1000])
def test_a_large_factor_for_every_row_alike_is_a_units(factor: float) -> None:
    found = verdict("prices", factor)
    assert found is not None
    assert found.endswith("times what they were")


@pytest.mark.parametrize("factor", [0.7, 1.1, 1.3, 2.0])
def test_a_world_that_is_dearer_or_cheaper_is_no_other_unit(factor: float) -> None:
    assert verdict("prices", factor) is None


def test_numbers_around_zero_have_no_factor() -> None:
    assert verdict("centred", 2.20462262) is None


def test_a_large_factor_with_another_shape_is_no_unit() -> None:
    before, after = drawn("prices", 2000, 1), np.random.default_rng(2).uniform(1e5, 1e6, 1000)
    assert change(described(before), described(after), (2000, 1000), 0.1) is None
