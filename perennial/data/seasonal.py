"""The seasonal-naive forecast: what came a season ago comes again. Whatever forecasts has to be better than it.

Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def seasonal_naive(values: Floats, season: int, length: int) -> Floats:
    """Return the forecast `(length,)` after values `(n,)`, of which NaN is none.

    It is the last value of the same period of a season; the last one of all, where no season has one. NaN without any.
    """
    observed = np.flatnonzero(~np.isnan(values))
    last = values[observed[-1]] if observed.size else np.nan
    forecast = np.full(length, last)
    for step in range(length):
        same = observed[(len(values) + step - observed) % season == 0]
        if same.size:
            forecast[step] = values[same[-1]]
    return forecast
