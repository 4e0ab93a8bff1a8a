"""A proposed model.yaml for series: which column names them, which is their time, and how often they have a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.words import number
from perennial_cli.proposal.columns import ColumnGuess
from perennial_cli.proposal.target import TargetError, TargetGuess

DAY = 86_400
# Seconds between two periods, up to which they are so many; periods to look back on and to forecast.
_FREQUENCIES = (
    (60, "min", 120, 60), (3600, "H", 168, 24), (DAY, "D", 28, 7), (7 * DAY, "W", 52, 8), (31 * DAY, "M", 24, 12),
    (92 * DAY, "3M", 8, 4), (366 * DAY, "12M", 8, 2),
)  # fmt: skip
_SHORTEST = {"M": 28 * DAY, "3M": 89 * DAY, "12M": 365 * DAY}
LEAST_PERIODS = 12
MOST_MISSING = 0.01  # of the rows, as a run puts aside: NA may be Namibia
OF_HISTORY = 6  # parts, of which two at most are forecast and looked back on


@dataclass(frozen=True)
class Series:
    """How rows are points of series, as the section `series` of a model.yaml has it."""

    key: ColumnGuess
    time: ColumnGuess
    frequency: str
    context_length: int
    prediction_length: int

    def fields(self) -> dict[str, object]:
        return {
            "key": self.key.name,
            "time": self.time.name,
            "frequency": self.frequency,
            "context_length": self.context_length,
            "prediction_length": self.prediction_length,
        }


def guessed(columns: Sequence[ColumnGuess], target: TargetGuess, texts: dict[str, pa.StringArray]) -> Series:
    """Return the series that rows are. Raises TargetError: they are none, and why."""
    others = [guess for guess in columns if guess.name != target.column.name]
    time = next((guess for guess in others if guess.type == "timestamp"), None)
    if time is None or target.problem != "regression":
        raise TargetError("no series: expected a column of times and a target that is a number")
    stamps = _stamps(time, texts[time.header])
    for key in sorted(
        (guess for guess in others if guess.type in ("string", "integer")), key=lambda guess: guess.type != "string"
    ):
        names = texts[key.header].to_pylist()
        pairs = set(zip(names, stamps, strict=True))
        few = key.missing_rows <= MOST_MISSING * len(names)
        if few and len(pairs) == len(names) and len(set(names)) * LEAST_PERIODS <= len(names):
            return _of(key, time, stamps)
    if len(set(stamps)) == len(stamps):
        raise TargetError(
            f"each row has another {time.name}, so that these are one series, and no column says the same in each row; "
            'expected one, to tell its series from others that may come. Add it to all files (pandas: table["series"] '
            '= "all"), and start again'
        )
    raise TargetError(
        f"no series: expected a column that, beside {time.name}, tells each row from all others and says of which "
        "series it is"
    )


def _of(key: ColumnGuess, time: ColumnGuess, stamps: Sequence[float | None]) -> Series:
    apart = np.diff(np.unique([one for one in stamps if one is not None]))
    usual = float(np.median(apart)) if len(apart) else 0.0
    for seconds, frequency, context, ahead in _FREQUENCIES:
        if _SHORTEST.get(frequency, seconds) <= usual <= seconds:
            most = max(1, (len(apart) + 1) // OF_HISTORY)
            return Series(key, time, frequency, min(context, 2 * most), min(ahead, most))
    raise TargetError(
        f"no series: {time.name} has a new value every {number(usual)} seconds as a rule; expected a minute, an hour, "
        "a day, a week, a month, a quarter or a year. Write the definition by hand (docs/add-a-model.md, Forecasting)"
    )


def _stamps(time: ColumnGuess, texts: pa.StringArray) -> list[float | None]:
    """Return the time of each row in seconds since 1970; None where it has none."""
    if time.reading is None:
        return [None] * len(texts)
    microseconds = pc.cast(
        time.reading.values, pa.int64()
    ).to_pylist()  # UTC: by the clock of this machine two may be one
    values = [None if value is None else value / 1e6 for value in microseconds]
    known = dict(zip(time.reading.words.texts.to_pylist(), values, strict=True))
    return [None if text is None else known.get(text.strip()) for text in texts.to_pylist()]


def lines(
    series: Series, columns: Sequence[ColumnGuess], target: TargetGuess
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the columns as a definition has them: but for the three of the series none that is learned from."""
    for guess in columns:
        fields = {key: value for key, value in guess.fields.items() if key not in ("nullable", "feature")}
        if guess.name == target.column.name:
            missing = {"nullable": True} if guess.fields.get("nullable") else {}
            yield guess.name, {**fields, **missing}
        elif guess.name in (series.key.name, series.time.name):
            fields.pop("categories", None)
            yield guess.name, {**fields, "feature": False}
        else:
            yield guess.name, {**fields, "nullable": True, "feature": False}
