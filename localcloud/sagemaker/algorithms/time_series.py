"""Time series as DeepAR reads them: records, files of a channel, and the frequency that tells their seasons.

A record is `{"start": "2009-11-01 00:00:00", "target": [4.3, "NaN", 5.1], "cat": [0, 1], "dynamic_feat": [[1, 2, 3]]}`;
`cat` and `dynamic_feat` are optional. A missing value of the target is null or "NaN", in Parquet nan.
Source  SageMaker Developer Guide, "Use the SageMaker AI DeepAR forecasting algorithm", "Input/Output Interface", and
        "How the DeepAR Algorithm Works"
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms.training_container import CustomerError
from localcloud.sagemaker.errors import one_line

Array = npt.NDArray[np.float64]

FORMATS = ("json", "json.gz", "parquet")
TIME_FREQ = re.compile(r"([1-9][0-9]{0,5})?(M|W|D|H|min)")
_CYCLES = {"M": (12,), "W": (52,), "D": (7, 364), "H": (24, 168), "min": (1440, 10080)}
"""Of each base frequency: the season, and a longer cycle, both in its own steps."""
_LARGEST = np.finfo(np.float32).max
_EPOCH = date(1969, 12, 29)  # a Monday


class RecordError(ValueError):
    """A record is no time series."""


@dataclass(frozen=True)
class TimeSeries:
    """One series: `target` has shape (n,) with NaN for what is missing, `dynamic_feat` (features, steps)."""

    start: datetime
    target: Array
    cat: tuple[int, ...] = ()
    dynamic_feat: Array = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True)
class Frequency:
    """A multiple of months, weeks, days, hours or minutes, as in `15min`."""

    multiple: int
    base: str

    @staticmethod
    def parse(text: str) -> Frequency:
        """Read `15min` or `M`. Raises ValueError."""
        if not (match := TIME_FREQ.fullmatch(text)):
            raise ValueError(text)
        return Frequency(int(match[1] or 1), match[2])

    @property
    def cycles(self) -> tuple[int, ...]:
        """The season and longer cycles, in steps: the fewest steps that are whole cycles."""
        return tuple(cycle // math.gcd(cycle, self.multiple) for cycle in _CYCLES[self.base])

    def number(self, moment: datetime) -> int:
        """Return the step that a moment is in, counted from one that all series share."""
        days = (moment.date() - _EPOCH).days
        steps = {
            "M": moment.year * 12 + moment.month - 1,
            "W": days // 7,
            "D": days,
            "H": days * 24 + moment.hour,
            "min": (days * 24 + moment.hour) * 60 + moment.minute,
        }
        return steps[self.base] // self.multiple


def parse_record(record: Any) -> TimeSeries:
    """Return the series of a record. Raises RecordError: what is wrong with it."""
    if not isinstance(record, Mapping):
        raise RecordError(f"a time series is an object with start and target, got {_quoted(record)}")
    for name in ("start", "target"):
        if record.get(name) is None:
            raise RecordError(f"'{name}' is missing")
    target = _numbers(record["target"], "target", may_miss=True)
    features = record.get("dynamic_feat")
    if features is None or not len(_list(features, "dynamic_feat")):
        return TimeSeries(_start(record["start"]), target, _categories(record.get("cat")))
    rows = [_numbers(row, "dynamic_feat") for row in features]
    if len({len(row) for row in rows}) > 1:
        raise RecordError(f"series of dynamic_feat differ in length: {', '.join(str(len(row)) for row in rows)}")
    return TimeSeries(_start(record["start"]), target, _categories(record.get("cat")), np.array(rows))


def _start(value: Any) -> datetime:
    try:
        start = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        start = None
    if start is None or start.tzinfo is not None:
        raise RecordError(f"start is {_quoted(value)}, expected 'YYYY-MM-DD HH:MM:SS' without a time zone")
    return start


def _numbers(values: Any, name: str, *, may_miss: bool = False) -> Array:
    plain = [math.nan if value is None or value == "NaN" else value for value in _list(values, name)]
    for position, value in enumerate(plain):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecordError(f"value {position} of {name} is {_quoted(value)}, expected a number")
    numbers = np.array(plain, dtype=float)
    if (large := np.abs(numbers) > _LARGEST).any():
        raise RecordError(f"value {int(large.argmax())} of {name} is larger than a 32-bit number can be")
    if not may_miss and np.isnan(numbers).any():
        raise RecordError(
            f"value {int(np.isnan(numbers).argmax())} of {name} is missing; only the target may miss some"
        )
    return numbers


def _categories(values: Any) -> tuple[int, ...]:
    categories = tuple(_list([] if values is None else values, "cat"))
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in categories):
        raise RecordError(f"cat is {_quoted(values)}, expected whole numbers from 0")
    return categories


def _list(values: Any, name: str) -> Any:
    if not isinstance(values, list):
        raise RecordError(f"{name} is {_quoted(values)}, expected a list")
    return values


def _quoted(value: Any) -> str:
    return one_line(repr(value), 60)


def read_channel(folder: Path, content_type: str | None) -> Iterator[TimeSeries]:
    """Yield the series of a channel: of all files but those that begin with a dot and Spark's `_SUCCESS`.

    Raises CustomerError: a file has no known format, or a record is not as it should be.
    """
    if content_type and content_type not in FORMATS:
        raise CustomerError(f"{content_type} is not an accepted ContentType: {', '.join(FORMATS)}.")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.name != "_SUCCESS":
            yield from _read_file(path, content_type or _format(path))


def _format(path: Path) -> str:
    for name in FORMATS:
        if path.name.endswith(f".{name}"):
            return name
    raise CustomerError(
        f"The format of {path.name} is not known: expected a name that ends in {', '.join(f'.{f}' for f in FORMATS)}, "
        "or a ContentType of the channel."
    )


def _read_file(path: Path, kind: str) -> Iterator[TimeSeries]:
    records = _parquet(path) if kind == "parquet" else _json_lines(path, zipped=kind == "json.gz")
    for number, record in records:
        try:
            yield parse_record(record)
        except (RecordError, OverflowError) as error:
            raise CustomerError(f"Time series {number} of {path.name}: {error}") from error


def _json_lines(path: Path, *, zipped: bool) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if zipped else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file):
                if line.strip():
                    yield number, json.loads(line)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise CustomerError(f"Error when parsing json: line {number} of {path.name}: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        records = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise CustomerError(f"Error when parsing parquet: {path.name}: {error}") from error
    yield from enumerate(records)
