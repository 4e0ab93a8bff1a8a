"""Whether a column has changed because its unit has: one factor (or scale of temperature) explains all of it.

A factor is taken for a unit's where it is one of CONVERSIONS and what is left after it is no more than chance, or where
it is CERTAIN or more, which the world does not do to every row alike, and no more is left than the limit of distances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from perennial.data.distributions import Distribution, kolmogorov_smirnov, quantile

# What people call one unit by another, where the factor is less than CERTAIN: (factor, offset, in words).
CONVERSIONS = (
    (1.609344, 0.0, "miles in kilometres"),
    (2.20462262, 0.0, "kilograms in pounds"),
    (2.54, 0.0, "inches in centimetres"),
    (3.2808399, 0.0, "metres in feet"),
    (3.78541178, 0.0, "gallons in litres"),
    (1.8, 32.0, "degrees Celsius in Fahrenheit"),
    (1.0, 273.15, "degrees Celsius in kelvins"),
)
CERTAIN = 5.0
_CHANCE = 1.95  # of 1,000 distances when nothing has changed one is above 1.95 * sqrt(1/n + 1/m) (Smirnov, 1948)


def change(baseline: Distribution, window: Distribution, rows: tuple[int, int], limit: float) -> str | None:
    """Return what has become of the unit, in words for people; None where the change is not one of a unit's."""
    chance = _CHANCE * math.sqrt(1 / rows[0] + 1 / rows[1])
    for factor, offset, text, allowed in _candidates(baseline, window, chance, max(limit, chance)):
        converted = Distribution(baseline.values * factor + offset, baseline.shares)
        if kolmogorov_smirnov(converted, window) <= allowed:
            return text
    return None


def _candidates(
    baseline: Distribution, window: Distribution, chance: float, rough: float
) -> Iterator[tuple[float, float, str, float]]:
    has_sign = quantile(baseline, 0.05) > 0 or quantile(baseline, 0.95) < 0
    for factor, offset, text in CONVERSIONS:
        if has_sign or offset:
            yield factor, offset, f"as {text}", chance
            yield 1 / factor, -offset / factor, f"as {text}, the other way round", chance
    before, after = quantile(baseline, 0.5), quantile(window, 0.5)
    if has_sign and before * after > 0 and not 1 / CERTAIN < after / before < CERTAIN:
        yield after / before, 0.0, f"{after / before:,.3g} times what they were", rough
