"""The period whose rows train and judge: so many days back from the newest row (`training.window` of a definition).

Rows that are dated after the run are in it and do not move it: one mistyped year would leave out all others.
Memory: eight bytes a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def latest_sound(listed_at: datetime) -> datetime:
    """Return the time (UTC without a zone) after which no row of a run can be: a day later, so future anywhere."""
    return (listed_at + timedelta(days=1)).astimezone(UTC).replace(tzinfo=None)


def column_of(definition: Mapping[str, Any]) -> str | None:
    """Return the column that dates rows; None where no period limits them."""
    column: str | None = _section(definition).get("column")
    return column


def _section(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Older definitions have none."""
    return (definition.get("training") or {}).get("window") or {}


class TrainingPeriod:
    """Sees the valid rows once, in order, and then knows which of them are too old."""

    def __init__(self, column: str, days: int, listed_at: datetime | None) -> None:
        self._column, self._days, self._listed_at = column, days, listed_at
        self._times: list[npt.NDArray[np.datetime64]] = [np.empty(0, "datetime64[us]")]
        self._start: Any = None
        self._newest: Any = None
        self.older_rows = 0

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], listed_at: datetime | None) -> TrainingPeriod | None:
        """Return the period of a run that listed its data at this time; None where all rows count."""
        column = column_of(definition)
        return cls(column, _section(definition)["days"], listed_at) if column else None

    def times(self, rows: pa.Table) -> npt.NDArray[np.datetime64]:
        """Return the times of some valid rows `(n_rows,)`."""
        return np.asarray(pc.cast(rows[self._column], pa.timestamp("us")).to_numpy())

    def observe(self, times: npt.NDArray[np.datetime64]) -> None:
        """Take in the times of the next valid rows."""
        self._times.append(times)

    def older(self, counting: Mask) -> Mask:
        """Return which of the counting rows `(n_rows,)` are before the period, which their newest one ends."""
        times = np.concatenate(self._times)
        self._times.clear()
        of_counting = times[counting]
        sound = of_counting
        if self._listed_at is not None:
            sound = of_counting[of_counting <= np.datetime64(latest_sound(self._listed_at), "us")]
        if not of_counting.size:
            return counting
        self._newest = (sound if sound.size else of_counting).max()
        self._start = self._newest - np.timedelta64(self._days, "D")
        older: Mask = counting & (times < self._start)
        self.older_rows = int(older.sum())
        return older

    def as_json(self) -> dict[str, Any]:
        """Return the period as a report has it: `rows` are those that it leaves out."""
        ends = {"begins": self._start, "ends": self._newest}
        named = {name: None if time is None else time.astype(datetime).isoformat() for name, time in ends.items()}
        return {"column": self._column, "days": self._days, **named, "rows": self.older_rows}
