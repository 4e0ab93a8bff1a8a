"""Whether a column has changed because its unit has: one factor (or scale of temperature) explains all of it.

A factor is taken for a unit's where it is one of CONVERSIONS that the column's own unit allows and what is left after
it is no more than chance at every one of SHARES, or where it is CERTAIN or more, which the world does not do to every
row alike, and no more is left than the limit of distances. Where the column has no unit, all of CONVERSIONS are asked,
and after one of them little is left of many a shift: only with ENOUGH rows (bench_drift).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from perennial.data.distributions import Distribution, below, kolmogorov_smirnov, quantile
from perennial.words import number, spelling


class Conversion(NamedTuple):
    """What people call one unit by another; the names are spellings of model.yaml's `unit`."""

    factor: float
    offset: float
    text: str
    names: frozenset[str]
    other_names: frozenset[str]


def _conversion(factor: float, offset: float, text: str, names: str, other_names: str) -> Conversion:
    return Conversion(factor, offset, text, frozenset(names.split()), frozenset(other_names.split()))


_KELVIN = "k kelvin kelvins"
_CELSIUS = "c °c ℃ celsius degc degreecelsius degreescelsius"
# Those whose factor is less than CERTAIN.
CONVERSIONS = (
    _conversion(1.609344, 0.0, "miles in kilometres", "mi mile miles mph mi/h",
                "km kilometre kilometres kilometer kilometers km/h kmh kph"),
    _conversion(2.20462262, 0.0, "kilograms in pounds", "kg kgs kilo kilos kilogram kilograms", "lb lbs pound pounds"),
    _conversion(2.54, 0.0, "inches in centimetres", "in inch inches",
                "cm centimetre centimetres centimeter centimeters"),
    _conversion(3.2808399, 0.0, "metres in feet", "m metre metres meter meters", "ft foot feet"),
    _conversion(3.78541178, 0.0, "gallons in litres", "gal gallon gallons", "l litre litres liter liters"),
    _conversion(1.8, 32.0, "degrees Celsius in Fahrenheit", _CELSIUS,
                "f °f ℉ fahrenheit degf degreefahrenheit degreesfahrenheit"),
    _conversion(1.0, 273.15, "degrees Celsius in kelvins", _CELSIUS, _KELVIN),
)  # fmt: skip
CERTAIN = 5.0
USUAL = (7.0, 10.0, 12.0, 24.0, 60.0, 100.0, 365.0, 1e3, 3.6e3, 1e4, 1e5, 1e6, 1e9)  # factors of one unit to another
NEARLY = 0.05  # what the medians of few rows may be off
SHARES = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
# Standard errors: of 100 windows whose unit has changed two or three are farther off at one of SHARES; where the column
# names its unit, which leaves one conversion each way, one.
_DEVIATIONS, _DEVIATIONS_OF_NAMED = 3.0, 3.5
ENOUGH = 250  # rows, n * m / (n + m): of 500 in the window beside 500 in the baseline
_CHANCE = 1.95  # of 1,000 distances when nothing has changed one is above 1.95 * sqrt(1/n + 1/m) (Smirnov, 1948)


class Numbers(NamedTuple):
    """What a definition says of the numbers of a column: their unit, and what they are at least and at most.

    is_fixed      whether monitoring.data_quality.same_unit names the column
    below, above  how many rows were beyond that, and are not among those that are looked at
    """

    unit: str | None = None
    is_fixed: bool = False
    least: float = -math.inf
    most: float = math.inf
    below: int = 0
    above: int = 0


ANY = Numbers()


def numbers_of(
    definition: Mapping[str, Any], broken: Mapping[tuple[str, str], int] | None = None
) -> dict[str, Numbers]:
    """Return what a definition says of the numbers of each column.

    broken  how many rows broke which rule of a column, `minimum` or `maximum`, and are not looked at; None: values
            beyond a column's range are looked at as well
    """
    fixed = definition.get("monitoring", {}).get("data_quality", {}).get("same_unit", ())
    numbers = {
        name: Numbers(column.get("unit") or None, name in fixed) for name, column in definition["columns"].items()
    }
    if broken is None:
        return numbers
    return {
        name: one._replace(
            least=_or(definition["columns"][name].get("min"), -math.inf),
            most=_or(definition["columns"][name].get("max"), math.inf),
            below=broken.get((name, "minimum"), 0),
            above=broken.get((name, "maximum"), 0),
        )
        for name, one in numbers.items()
    }


def _or(limit: float | None, unlimited: float) -> float:
    return unlimited if limit is None else limit


def change(
    baseline: Distribution, window: Distribution, rows: tuple[int, int], limit: float, column: Numbers = ANY
) -> str | None:
    """Return what has become of the unit, in words for people; None where the change is not one of a unit's.

    A unit that a definition names has become no other than what it can be called by.

    rows  of the baseline and of the window, without those beyond its range
    """
    if column.is_fixed:
        return None
    unit, window = column.unit, _with_rest(window, rows[1], column)
    rows = rows[0], rows[1] + column.below + column.above

    def converted(factor: float, offset: float = 0.0) -> Distribution:
        values = baseline.values * factor + offset
        values = np.where(values > column.most, math.inf, np.where(values < column.least, -math.inf, values))
        return Distribution(values, baseline.shares)

    farthest = {
        text: _farthest(converted(factor, offset), window, rows)
        for factor, offset, text in _known(baseline, rows, unit)
    }
    nearest = min(farthest, key=farthest.__getitem__, default="")
    if nearest and farthest[nearest] <= (_DEVIATIONS_OF_NAMED if unit else _DEVIATIONS):
        return nearest
    rough = max(limit, _CHANCE * math.sqrt(1 / rows[0] + 1 / rows[1]))
    for factor in _large_factors(baseline, window):
        if kolmogorov_smirnov(converted(factor), window) <= rough:
            return f"{number(float(f'{factor:.3g}'))} times what they were"
    return None


def _known(baseline: Distribution, rows: tuple[int, int], unit: str | None) -> Iterator[tuple[float, float, str]]:
    has_sign, name = _has_sign(baseline), spelling(unit or "")
    if not name and rows[0] * rows[1] < ENOUGH * sum(rows):
        return
    for factor, offset, text, names, other_names in CONVERSIONS:
        if has_sign or offset:
            if not name or name in names:
                yield factor, offset, f"as {text}"
            if not name or name in other_names:
                yield 1 / factor, -offset / factor, f"as {text}, the other way round"


def _with_rest(window: Distribution, rows: int, column: Numbers) -> Distribution:
    """Return the values of a window with those beyond its range, of which nobody knows more than how many they are."""
    if not (column.below or column.above):
        return window
    every = rows + column.below + column.above
    inside = (column.below + window.shares * rows) / every
    values = np.concatenate([[-math.inf], window.values, [math.inf]])
    return Distribution(values, np.concatenate([[column.below / every], inside, [1.0]]))


def _has_sign(baseline: Distribution) -> bool:
    return quantile(baseline, 0.05) > 0 or quantile(baseline, 0.95) < 0


def _farthest(converted: Distribution, window: Distribution, rows: tuple[int, int]) -> float:
    """Return how far apart the shares of rows up to some values are at most, in standard errors."""
    at = np.array([quantile(converted, share) for share in SHARES])
    then, now = below(converted, at), below(window, at)
    together = (then * rows[0] + now * rows[1]) / sum(rows)
    error = np.sqrt(together * (1 - together) * (1 / rows[0] + 1 / rows[1]))
    return float((np.abs(then - now) / np.where(error > 0, error, np.inf)).max())


def _large_factors(baseline: Distribution, window: Distribution) -> Iterator[float]:
    """Yield the factor of CERTAIN or more, or its inverse, that the medians say; before it one that is usual."""
    before, after = quantile(baseline, 0.5), quantile(window, 0.5)
    if _has_sign(baseline) and 0 < before * after < math.inf and not 1 / CERTAIN < (factor := after / before) < CERTAIN:
        usual = min(
            (each for many in USUAL for each in (many, 1 / many)), key=lambda each: abs(math.log(each / factor))
        )
        yield from (usual, factor) if abs(math.log(usual / factor)) < NEARLY else (factor,)
