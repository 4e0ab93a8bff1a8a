"""The period whose rows train and judge: so many days back from the newest row (`training.window` of a definition).

Rows that are dated after the run are in it and do not move it: one mistyped year would leave out all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.row_numbers import OfRows, RowNumbers, pieces

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

    def __init__(self, column: str, days: int, listed_at: datetime | None, folder: Path | None = None) -> None:
        self._column, self._days, self._listed_at = column, days, listed_at
        self._times = RowNumbers("datetime64[us]", folder)
        self._start: Any = None
        self._newest: Any = None
        self.older_rows = 0

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], listed_at: datetime | None, folder: Path | None = None
    ) -> TrainingPeriod | None:
        """Return the period of a run that listed its data at this time; None where all rows count.

        folder  where there may be files of the times of rows
        """
        column = column_of(definition)
        return cls(column, _section(definition)["days"], listed_at, folder) if column else None

    def times(self, rows: pa.Table) -> npt.NDArray[np.datetime64]:
        """Return the times of some valid rows `(n_rows,)`."""
        return np.asarray(pc.cast(rows[self._column], pa.timestamp("us")).to_numpy())

    def observe(self, times: npt.NDArray[np.datetime64]) -> None:
        """Take in the times of the next valid rows."""
        self._times.append(times)

    def begin(self, used: OfRows) -> None:
        """Find where the period begins, given which rows are used: the newest of them ends it."""
        sound, every = None, None
        limit = None if self._listed_at is None else np.datetime64(latest_sound(self._listed_at), "us")
        for start, mask in pieces(used):
            times = self._times[start : start + len(mask)][mask]
            every = _newest(every, times)
            sound = _newest(sound, times if limit is None else times[times <= limit])
        self._newest = every if sound is None else sound
        if self._newest is not None:
            self._start = self._newest - np.timedelta64(self._days, "D")

    def older(self, start: int, used: Mask) -> Mask:
        """Return which used rows of a piece, which begins at some row, are before the period."""
        if self._start is None:
            return np.zeros(len(used), np.bool_)
        older: Mask = used & (self._times[start : start + len(used)] < self._start)
        self.older_rows += int(np.count_nonzero(older))
        return older

    def as_json(self) -> dict[str, Any]:
        """Return the period as a report has it: `rows` are those that it leaves out."""
        ends = {"begins": self._start, "ends": self._newest}
        named = {name: None if time is None else time.astype(datetime).isoformat() for name, time in ends.items()}
        return {"column": self._column, "days": self._days, **named, "rows": self.older_rows}


def _newest(before: Any, times: npt.NDArray[np.datetime64]) -> Any:
    """Return the newest of some times and the newest before; None where there is none."""
    newest = times.max() if times.size else None
    return max((time for time in (before, newest) if time is not None), default=None)
