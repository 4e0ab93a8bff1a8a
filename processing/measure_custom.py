"""Call the functions of a model's metrics.py for whoever asks: a process of its own, so that they break nothing else.

Runs as    python measure_custom.py SYS_PATH METRICS_PY SECONDS DESCRIPTOR, by perennial.evaluation.custom_metrics
Reads      from the descriptor: pickled (name, name in resampling.ROW_SETS, labels, scores), both `(n_rows,)`
Answers    there, as JSON: {"values": a number for each set of rows, NaN where there is none}; or {"error": file, line
           and what went wrong}, with "is_final": true where the function has used up its SECONDS

A function gets copies of the rows, and none of the credentials that its parent has in its environment. What returns no
number is told by the line in which it begins.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from numbers import Real
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])

import numpy as np

from perennial import hooks, words
from perennial.evaluation.resampling import ROW_SETS


class TooSlowError(BaseException):
    """The time is up: no `except Exception` of a function keeps it."""


def main() -> None:
    """Answer until nobody asks any more."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    connection = Connection(int(sys.argv[4]))
    answers = _Answers(Path(sys.argv[2]), float(sys.argv[3]))
    while True:
        try:
            question = connection.recv()
        except (EOFError, OSError):
            return
        connection.send_bytes(json.dumps(answers.of(*question)).encode())


class _Answers:
    """What the functions of a file say, each within its time."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds, self._used = path, seconds, defaultdict[str, float](float)
        self._file: hooks.HookFile | None = None

    def of(self, name: str, of: str, labels: Any, scores: Any) -> dict[str, Any]:
        try:
            with self._limited(name):
                return {"values": self._values(name, of, labels, scores)}
        except hooks.HookError as error:
            return {"error": str(error)}
        except TooSlowError as error:
            line = hooks.line_of(error, str(self._path))
            return {"error": f"{self._path.name}{line}: {name} {error}", "is_final": True}

    @contextmanager
    def _limited(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        signal.signal(signal.SIGALRM, self._stop)
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self._seconds - self._used[name]))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._used[name] += time.monotonic() - began

    def _stop(self, *_: object) -> None:
        raise TooSlowError(f"takes longer than {self._seconds:g} s for all that it is asked")

    def _values(self, name: str, of: str, labels: Any, scores: Any) -> list[float]:
        file, function = self._function(name)
        with np.errstate(all="ignore"):
            values = [_number(name, file, function, labels[rows], scores[rows]) for rows in ROW_SETS[of](labels.size)]
        if of == "whole" and not np.isfinite(values[0]):
            raise _no_number(name, file.at(function), f"{values[0]} for {labels.size} rows")
        return values

    def _function(self, name: str) -> tuple[hooks.HookFile, Callable[..., Any]]:
        self._file = self._file or hooks.load(self._path)
        if self._file is None:
            raise hooks.HookError(f"{self._path.name}: there is no such file in the model's folder")
        function: Callable[..., Any] | None = getattr(self._file.module, name, None)
        if function is None or not callable(function):
            raise hooks.HookError(f"{self._path.name}: has no function {name}(actual, predicted)")
        return self._file, function


def _number(name: str, file: hooks.HookFile, function: Callable[..., Any], labels: Any, scores: Any) -> float:
    value = file.call(function, labels, scores)
    if isinstance(value, Real) or getattr(value, "shape", None) == ():
        with suppress(TypeError, ValueError):
            return float(value)
    raise _no_number(name, file.at(function), f"{type(value).__name__} {words.quoted(value)}")


def _no_number(name: str, where: str, returned: str) -> hooks.HookError:
    return hooks.HookError(f"{where}: {name} returned {returned}; expected a finite number")


if __name__ == "__main__":
    main()
