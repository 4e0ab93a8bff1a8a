"""Metrics that a model brings itself: functions of its metrics.py, (actual, predicted) -> float, of any kind.

They are called in a process of their own (processing/measure_custom.py), which ends with whoever started it: what a
function raises, prints, loops or crashes is its own affair, and the other metrics are measured all the same. Each has
SECONDS in all for what it is asked.

An interval is that of the jackknife of up to 200 blocks of rows, because a function has to be called for each; draws of
the bootstrap are those of all metrics. Both as perennial.evaluation.resampling has them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Timer
from typing import Any, Self

import numpy as np

from perennial.evaluation.metrics import Metric, UndefinedMetricError
from perennial.evaluation.problem_types.measures import Floats, MetricError
from perennial.evaluation.problem_types.quality import MIN_ROWS_FOR_DEVIATION, with_deviation
from perennial.model.problem_types import Direction
from perennial.words import printable

FILE = "metrics.py"
SECONDS = 60.0
SECONDS_TO_ANSWER = 5.0  # longer, when the process cannot stop the function itself
MAX_WHY = 300  # characters
MOST_BYTES = 1 << 20  # of an answer: a number for each of a few thousand draws


class CustomMetricError(MetricError):
    """A function of the model's metrics.py does not keep its promise."""


@dataclass
class OwnMetrics:
    """The metrics of a model's metrics.py by name, and the process that calls them, which ends with the `with` block.

    program     processing/measure_custom.py
    file        the model's metrics.py
    directions  which of their values are better: `metrics` of the definition
    failed      by name: why a metric has no value
    errors      by name: what went wrong last, also with some of the rows only
    """

    program: Path
    file: Path
    problem: str
    directions: Mapping[str, Direction]
    seconds: float = SECONDS
    failed: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _connection: Connection | None = None
    _broken: dict[str, str] = field(default_factory=dict)

    @classmethod
    def none(cls, problem: str) -> OwnMetrics:
        """Return those of a model that brings none."""
        return cls(Path(), Path(), problem, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def by_name(self) -> dict[str, Metric]:
        return {name: CustomMetric(name, self.problem, to, self) for name, to in self.directions.items()}

    def values(self, labels: Floats, scores: Floats) -> dict[str, float]:
        """Return each metric over all rows; NaN for one that fails, which `failed` says."""
        return {name: self._or_nan(metric, labels, scores) for name, metric in self.by_name.items()}

    def described(self, labels: Floats, scores: Floats) -> dict[str, dict[str, Any]]:
        """Return each metric as Model Monitor's format has it: with the standard deviation, or "NaN"."""
        described = {}
        for name, value in self.values(labels, scores).items():
            enough = labels.size >= MIN_ROWS_FOR_DEVIATION and np.isfinite(value)
            try:
                samples = self.ask(name, "samples", labels, scores).tolist() if enough else []
            except CustomMetricError:
                samples = []
            described[name] = with_deviation(value, samples)
        return described

    def _or_nan(self, metric: Metric, labels: Floats, scores: Floats) -> float:
        try:
            return metric.value(labels, scores)
        except CustomMetricError as error:
            self.failed.setdefault(metric.name, str(error))
            return float("nan")

    def ask(self, name: str, of: str, labels: Floats, scores: Floats) -> Floats:
        """Return what a function says of each set of rows (resampling.ROW_SETS). Raises CustomMetricError."""
        if name in self._broken:
            raise CustomMetricError(self._broken[name])
        try:
            self._connected().send((name, of, labels, scores))
            answer = self._answer(name)
        except (OSError, EOFError):
            answer = {"error": f"{FILE}: {name} has ended its process, exit code {self._end(1.0)}", "is_final": True}
        if "error" in answer:
            self.errors[name] = why = printable(answer["error"], MAX_WHY)
            if answer.get("is_final"):
                self._broken[name] = why
            raise CustomMetricError(why)
        values: Floats = answer["values"]
        return values

    def _connected(self) -> Connection:
        """Return the way to the process; one that has ended is started again."""
        if self._connection is None:
            self._connection, theirs = Pipe()
            with theirs:
                program = [sys.executable, str(self.program), json.dumps(sys.path)]
                what = [str(self.file.absolute()), str(self.seconds), str(theirs.fileno())]
                # What a function prints is for the log, and not for whoever reads this program's own output.
                self._process = subprocess.Popen(
                    [*program, *what], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2
                )
        return self._connection

    def _answer(self, name: str) -> dict[str, Any]:
        connection = self._connected()
        if not connection.poll(self.seconds + SECONDS_TO_ANSWER):
            self._end()
            return {"error": f"{FILE}: {name} took longer than {self.seconds:g} s", "is_final": True}
        # Of a message that never becomes whole.
        watchdog = Timer(SECONDS_TO_ANSWER, self._process.kill if self._process else connection.close)
        watchdog.start()
        try:
            return _checked(json.loads(connection.recv_bytes(MOST_BYTES)))
        except (ValueError, KeyError, TypeError):
            self._end()
            return {"error": f"{FILE}: {name} writes where only the answer is written", "is_final": True}
        finally:
            watchdog.cancel()

    def _end(self, patience_seconds: float = 0.0) -> int | None:
        """End the process; return the exit code of one that has ended by itself."""
        process, connection, self._process, self._connection = self._process, self._connection, None, None
        if connection:
            connection.close()
        if process is None:
            return None
        try:
            return process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None


def _checked(answer: Any) -> dict[str, Any]:
    """Return an answer of the process. Raises ValueError, KeyError or TypeError: it is none."""
    if "error" in answer:
        return {"error": str(answer["error"]), "is_final": bool(answer.get("is_final"))}
    return {"values": np.array(answer["values"], np.float64)}


@dataclass(frozen=True)
class CustomMetric(Metric):
    """A metric that a function computes."""

    own: OwnMetrics

    @property
    def is_bounded(self) -> bool:
        """Nobody knows its best value."""
        return False

    def value(self, labels: Floats, scores: Floats) -> float:
        return float(self.own.ask(self.name, "whole", labels, scores)[0])

    def without_each(self, labels: Floats, scores: Floats) -> Floats:
        if labels.size < 2:
            raise UndefinedMetricError(f"{self.name} of {labels.size} rows has no interval")
        without = self.own.ask(self.name, "without_blocks", labels, scores)
        if not np.isfinite(without).all():
            raise UndefinedMetricError(f"{self.name} of {labels.size} rows has no value without some of them")
        return without

    def resampled(self, labels: Floats, scores: Floats) -> Floats:
        drawn = self.own.ask(self.name, "drawn", labels, scores)
        are_numbers = np.isfinite(drawn)
        if are_numbers.mean() < 1 / 2:
            raise CustomMetricError(f"{FILE}: {self.name} has no value for most draws of the {labels.size} rows")
        return drawn[are_numbers]
