"""Captured requests of a form of a model's own: its capture.py turns each of them into rows and predictions.

What it makes is passed on as the JSON or CSV that the endpoint itself reads, so that everything after it is the same.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn

from perennial import hooks
from perennial.hooks import HookError, HookFile
from perennial.monitoring.capture import Payload, Payloads, UnreadableError, content

FUNCTION = "records(request, request_type, answer, answer_type)"
EXPECTED = (
    "expected pairs (row, prediction): a dict by column or a list of the features' fields, and a number, a list of one "
    "for each class, or None"
)


@dataclass(frozen=True)
class Adapter:
    """The function `records` of a model's capture.py."""

    file: HookFile
    records: Callable[..., Any]

    @classmethod
    def load(cls, path: Path) -> Adapter | None:
        """Return what a file holds; None where there is no such file. Raises HookError."""
        if not (file := hooks.load(path)):
            return None
        records = getattr(file.module, "records", None)
        if not callable(records):
            raise HookError(f"{file.name}: has no function {FUNCTION}")
        return cls(file, records)

    def payloads(self, captured: Mapping[str, Any]) -> Payloads:
        """Return the request of `captureData` and its answer, as the endpoint's own.

        Raises UnreadableError: the function has raised. HookError: it returned something else than expected.
        """
        answer = captured.get("endpointOutput")
        both = (*content(captured["endpointInput"]), *((b"", "") if answer is None else content(answer)))
        try:
            made = self.file.call(self.records, *both)
            pairs: list[Any] = self.file.call(list, made) if isinstance(made, Iterable) else self._refuse(made)
        except HookError as error:
            if not error.fault:
                raise
            raise UnreadableError(error.fault) from error
        rows, predictions = self._checked(pairs)
        return self._request(rows), _answer(predictions)

    def _checked(self, pairs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        for pair in pairs:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                self._refuse(pair)
            row, prediction = pair
            if (
                not isinstance(row, Mapping | Sequence)
                or isinstance(row, str | bytes)
                or type(row) is not type(pairs[0][0])
            ):
                self._refuse(row)
            if not all(isinstance(one, Real) for one in _numbers(prediction)):
                self._refuse(prediction)
        return [row for row, _ in pairs], [prediction for _, prediction in pairs]

    def _request(self, rows: Sequence[Any]) -> Payload:
        if rows and not isinstance(rows[0], Mapping):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            return Payload(text.getvalue(), "text/csv")
        try:
            return Payload(json.dumps({"instances": [dict(row) for row in rows]}, default=_plain), "application/json")
        except (TypeError, ValueError) as error:
            raise HookError(f"{self.file.at(self.records)}: records made a row that is no JSON ({error})") from error

    def _refuse(self, made: Any) -> NoReturn:
        raise HookError(f"{self.file.at(self.records)}: records made {type(made).__name__}; {EXPECTED}")


def _numbers(prediction: Any) -> Sequence[Any]:
    """Return what a prediction consists of: nothing, one, or one for each class."""
    if prediction is None:
        return ()
    listed = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    return listed if isinstance(listed, list | tuple) else (listed,)


def _answer(predictions: Sequence[Any]) -> Payload | None:
    """Return predictions as an answer; None where there is none of them."""
    known = next((prediction for prediction in predictions if prediction is not None), None)
    if known is None:
        return None
    numbers = [[float(one) for one in _numbers(prediction)] for prediction in predictions]
    if isinstance(known, Real):
        scores: list[Any] = [one[0] if one else None for one in numbers]
    else:
        scores = [one or [None] * len(_numbers(known)) for one in numbers]
    return Payload(json.dumps({"predictions": [{"score": score} for score in scores]}), "application/json")


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python's. Raises TypeError."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__}")
