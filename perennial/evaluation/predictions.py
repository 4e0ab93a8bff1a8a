"""Reading what a batch transform and the preprocessing wrote: scores and labels, row by row.

A prediction is a line: `{"score": x}`, as Linear Learner answers `application/jsonlines`, or the bare number that
XGBoost's container writes in a batch transform whatever it is asked for (sagemaker-xgboost-container, serve.py). Of a
multiclass classification the score is a list, one number for each class. A label is a number a line. Line n of the
predictions answers line n of the labels.

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

from perennial.evaluation.problem_types.measures import Columns, Floats

_NO_FINITE_NUMBER = re.compile(r"(?<![\w.\"])[-+]?(nan|inf(inity)?)(?![\w.\"])", re.IGNORECASE)

Score = float | list[float]  # of a record, or those of each class


class PredictionsError(ValueError):
    """Predictions do not fit the test set: rows missing or too many, or lines that are no predictions. Permanent."""


def scores(lines: Iterable[str], where: str) -> Floats:
    """Return the scores `(n_rows,)`, or `(n_rows, n_classes)` where each is a list; null is NaN.

    Raises PredictionsError: a line is no prediction, or has another number of scores than the one before.
    """
    values, width = array("d"), None
    for number, line in enumerate(_filled(lines), start=1):
        of_row = score(line, f"{where}, line {number}")
        size = len(of_row) if isinstance(of_row, list) else None
        if number > 1 and size != width:
            raise PredictionsError(f"{where}, line {number}: {size or 1} scores; expected {width or 1}, as before")
        width = size
        values.extend(of_row if isinstance(of_row, list) else (of_row,))
    flat = np.frombuffer(values, dtype=np.float64)
    return flat if width is None else flat.reshape(-1, width)


def score(line: str, where: str) -> Score:
    """Return the score of one line, or those of each class. Raises PredictionsError: it is no prediction."""
    try:
        answer = _answer(line)
        value = answer["score"] if isinstance(answer, dict) else answer
    except (ValueError, KeyError, RecursionError) as error:
        raise _refused(line, where) from error
    if isinstance(value, list) and value:
        return [_number(one, line, where) for one in value]
    return _number(value, line, where)


def _number(value: Any, line: str, where: str) -> float:
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
    return PredictionsError(f"{where}: got {line[:80]!r}; expected a number or {{'score': number}}, or a list of them")


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
    if len(truth) != len(answers):
        raise PredictionsError(
            f"{where}: {len(answers)} predictions for {len(truth)} test rows; expected one for each row, in order"
        )


def decimal(value: float) -> str:
    """Return a number in plain decimals: Model Monitor's readers do not know scientific notation."""
    return np.format_float_positional(value, trim="-")


def table(columns: Mapping[str, Columns]) -> Iterator[bytes]:
    """Yield the lines of a CSV file, the names first."""
    yield f"{','.join(columns)}\n".encode()
    for row in zip(*map(_texts, columns.values()), strict=True):
        yield f"{','.join(row)}\n".encode()


def _texts(values: Columns) -> Iterable[str]:
    if values.dtype.kind == "U":
        return map(_field, values.tolist())
    return map(str, values.tolist()) if values.dtype.kind == "i" else map(decimal, values)


def _field(text: str) -> str:
    """Return a text as a field, quoted where RFC 4180 asks for it."""
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text
