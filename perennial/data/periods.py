"""Periods of series: times as counts of months, days, hours or minutes since 1970, and back.

A series of frequency 15min has a period every 15 units, of W every 7, of M every 1; it may begin with any.
Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.model.series import multiple_and_unit

Times = npt.NDArray[np.datetime64]
Units = npt.NDArray[np.int64]
_NUMPY = {"M": "M", "W": "D", "D": "D", "H": "h", "min": "m"}
_WORDS = {"M": "month", "W": "day", "D": "day", "H": "hour", "min": "minute"}


@dataclass(frozen=True)
class Periods:
    """What a frequency means: `step` units of numpy's `unit` (M, D, h, m) from a period to the next."""

    frequency: str
    unit: str
    step: int

    @classmethod
    def of(cls, frequency: str) -> Periods:
        multiple, unit = multiple_and_unit(frequency)
        return cls(frequency, _NUMPY[unit], multiple * (7 if unit == "W" else 1))

    @property
    def expected(self) -> str:
        """What a time has to be, in words."""
        word = _WORDS[multiple_and_unit(self.frequency)[1]]
        return f"the begin of a {word}, as series.frequency {self.frequency} asks"

    def units(self, times: Times) -> Units:
        """Return the units of times `(n,)`, those in which they lie."""
        return times.astype(f"datetime64[{self.unit}]").astype(np.int64)

    def times(self, units: Units) -> Times:
        """Return when units `(n,)` begin."""
        return np.asarray(units, np.int64).astype(f"datetime64[{self.unit}]").astype("datetime64[us]")

    def is_beyond_calendar(self, unit: int) -> bool:
        """Return whether a unit is later than what a date can say."""
        return bool(np.array(unit).astype(f"datetime64[{self.unit}]") > np.datetime64("9999-12-31"))

    def begin(self, times: Times) -> npt.NDArray[np.bool_]:
        """Return which of the times `(n,)` are the begin of a unit."""
        return np.asarray(self.times(self.units(times)) == times)

    def text(self, unit: int) -> str:
        """Return when a unit begins, as DeepAR reads it."""
        return str(self.times(np.array([unit]))[0].astype("datetime64[s]")).replace("T", " ")


def periods_of(definition: Mapping[str, Any]) -> Periods:
    """Return what the frequency of a resolved definition means."""
    return Periods.of(definition["series"]["frequency"])
