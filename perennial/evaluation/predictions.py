"""Reading what a batch transform and the preprocessing wrote: scores and labels, row by row.

A prediction is a line: `{"score": x}`, as Linear Learner answers `application/jsonlines`, or the bare number that
XGBoost's container writes in a batch transform whatever it is asked for (sagemaker-xgboost-container, serve.py). A
label is a number a line. Line n of the predictions answers line n of the labels.

A score that is no finite number is read in any spelling: `nan`, `inf` and `-inf` are how XGBoost's container writes one
in a batch (Python's `str`), `NaN`, `Infinity` and `-Infinity` how JSON writers do.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.evaluation.problem_types.measures import Floats

_NO_FINITE_NUMBER = re.compile(r"(?<![\w.\"])[-+]?(nan|inf(inity)?)(?![\w.\"])", re.IGNORECASE)


class PredictionsError(ValueError):
    """Predictions do not fit the test set: rows missing or too many, or lines that are no predictions. Permanent."""


def scores(lines: Iterable[str], where: str) -> Floats:
    """Return the scores `(n_rows,)`; null is NaN.

    Raises PredictionsError: a line is no prediction.
    """
    values = array("d")
    for number, line in enumerate(_filled(lines), start=1):
        values.append(score(line, f"{where}, line {number}"))
    return np.frombuffer(values, dtype=np.float64)


def score(line: str, where: str) -> float:
    """Return the score of one line. Raises PredictionsError: it is no prediction."""
    try:
        answer = _answer(line)
        value = answer["score"] if isinstance(answer, dict) else answer
    except (ValueError, KeyError, RecursionError) as error:
        raise _refused(line, where) from error
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(line, where)
    return float(value)


def _answer(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return json.loads(_NO_FINITE_NUMBER.sub(_as_json, line))


def _as_json(spelling: re.Match[str]) -> str:
    """Return the same value as Python's JSON reader knows it."""
    if spelling[1].lower() == "nan":
        return "NaN"
    return "-Infinity" if spelling[0].startswith("-") else "Infinity"


def _refused(line: str, where: str) -> PredictionsError:
    return PredictionsError(f"{where}: got {line[:80]!r}; expected a number or {{'score': number}}")


def labels(lines: Iterable[str], where: str) -> Floats:
    """Return the labels `(n_rows,)`. Raises PredictionsError: a line is no number."""
    values = array("d")
    for number, line in enumerate(_filled(lines), start=1):
        try:
            values.append(float(line))
        except ValueError as error:
            raise PredictionsError(f"{where}, line {number}: got {line[:80]!r}; expected a number") from error
    return np.frombuffer(values, dtype=np.float64)


def _filled(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())


def require_same_length(truth: Floats, answers: Floats, where: str) -> None:
    """Raise PredictionsError when a part has not one prediction for each label."""
    if truth.size != answers.size:
        raise PredictionsError(
            f"{where}: {answers.size} predictions for {truth.size} test rows; expected one for each row, in order"
        )


def decimal(value: float) -> str:
    """Return a number in plain decimals: Model Monitor's readers do not know scientific notation."""
    return np.format_float_positional(value, trim="-")


def table(columns: Mapping[str, Floats | npt.NDArray[np.int64]]) -> Iterator[bytes]:
    """Yield the lines of a CSV file, the names first."""
    yield f"{','.join(columns)}\n".encode()
    for row in zip(*map(_texts, columns.values()), strict=True):
        yield f"{','.join(row)}\n".encode()


def _texts(values: Floats | npt.NDArray[np.int64]) -> Iterable[str]:
    return map(str, values.tolist()) if values.dtype.kind == "i" else map(decimal, values)
