"""The hyperparameters of DeepAR: names, ranges and defaults.

Sources: SageMaker Developer Guide, "DeepAR Hyperparameters"; the defaults and their spelling are those that a job
logs. The words of refusals are those of the library that Amazon's own algorithms share (`ConfigValidator`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.algorithms.time_series import TIME_FREQ
from localcloud.sagemaker.algorithms.training_container import CustomerError

GAUSSIAN, BETA, NEGATIVE_BINOMIAL, STUDENT, DETERMINISTIC = (
    "gaussian", "beta", "negative-binomial", "student-t", "deterministic-l1",
)  # fmt: skip
LIKELIHOODS = (GAUSSIAN, BETA, NEGATIVE_BINOMIAL, STUDENT, DETERMINISTIC)
REQUIRED = ("context_length", "epochs", "prediction_length", "time_freq")
DEFAULTS = {
    "_tuning_objective_metric": "",
    "cardinality": "auto",
    "dropout_rate": "0.10",
    "early_stopping_patience": "",
    "embedding_dimension": "10",
    "learning_rate": "0.001",
    "likelihood": "student-t",
    "mini_batch_size": "128",
    "num_cells": "40",
    "num_dynamic_feat": "auto",
    "num_eval_samples": "100",
    "num_layers": "2",
    "test_quantiles": "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]",
}
IGNORE = ("", "ignore")


@dataclass(frozen=True)
class _Kind:
    """How a value is read; `read` raises ValueError for what is not `expected`."""

    read: Callable[[str], Any]
    expected: str


def _whole(lowest: int) -> _Kind:
    def read(text: str) -> Any:
        return _within(int(text), lowest, math.inf)

    return _Kind(read, f"an integer of at least {lowest}")


def _number(low: float, high: float, expected: str) -> _Kind:
    return _Kind(lambda text: _within(float(text), low, high), expected)


def _within(value: Any, low: float, high: float) -> Any:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _likelihood(text: str) -> str:
    if text.lower() not in LIKELIHOODS:
        raise ValueError(text)
    return text.lower()


def _time_freq(text: str) -> str:
    if not TIME_FREQ.fullmatch(text):
        raise ValueError(text)
    return text


def _cardinality(text: str) -> Any:
    if text == "auto" or text in IGNORE:
        return text if text == "auto" else ""
    return tuple(_each(text, int, 1, math.inf))


def _each(text: str, kind: type, low: float, high: float) -> list[Any]:
    values = json.loads(text)
    if not isinstance(values, list) or not values or any(type(value) not in (kind, int) for value in values):
        raise ValueError(text)
    return [_within(value, low, high) for value in values]


def _features(text: str) -> Any:
    return text if text == "auto" else "" if text in IGNORE else _within(int(text), 1, math.inf)


_POSITIVE = 1e-300
_KINDS = {
    "context_length": _whole(1),
    "epochs": _whole(1),
    "prediction_length": _whole(1),
    "time_freq": _Kind(_time_freq, "a string which matches the pattern '^([1-9][0-9]*)?(M|W|D|H|min)$'"),
    "_tuning_objective_metric": _Kind(str, "a string"),
    "cardinality": _Kind(_cardinality, "'auto', 'ignore', an empty string, or an array of positive integers"),
    "dropout_rate": _number(0, 1 - 1e-12, "a number of at least 0 and below 1"),
    "early_stopping_patience": _Kind(lambda text: _within(int(text), 1, math.inf) if text else None, "an integer"),
    "embedding_dimension": _whole(1),
    "learning_rate": _number(_POSITIVE, math.inf, "a number above 0"),
    "likelihood": _Kind(
        _likelihood,
        "one of the following: 'gaussian', 'beta', 'negative-binomial', 'student-T', 'deterministic-L1'",
    ),
    "mini_batch_size": _whole(1),
    "num_cells": _whole(1),
    "num_dynamic_feat": _Kind(_features, "'auto', 'ignore', an empty string, or a positive integer"),
    "num_eval_samples": _whole(1),
    "num_layers": _whole(1),
    "test_quantiles": _Kind(
        lambda text: _each(text, float, _POSITIVE, 1 - 1e-12), "an array of numbers above 0 and below 1"
    ),
}


def read(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return every hyperparameter with its default filled in. CustomerError for what is wrong.

    `cardinality` and `num_dynamic_feat` are "auto", "" (what the data have is ignored) or the numbers that are given.
    """
    if missing := [f"'{name}'" for name in REQUIRED if name not in texts]:
        raise _refused(f"No value(s) were specified for {', '.join(missing)} which are required hyperparameter(s)")
    if extra := [f"'{name}'" for name in texts if name not in _KINDS]:
        verb = "was" if len(extra) == 1 else "were"
        raise _refused(f"Additional hyperparameters are not allowed ({', '.join(extra)} {verb} unexpected)")
    return {name: _read(name, text) for name, text in (DEFAULTS | dict(texts)).items()}


def _read(name: str, text: str) -> Any:
    kind = _KINDS[name]
    try:
        return kind.read(text)
    except (ValueError, RecursionError) as error:
        raise _refused(
            f"The value '{text}' is not valid for the '{name}' hyperparameter which expects {kind.expected}"
        ) from error


def _refused(text: str) -> CustomerError:
    return CustomerError(f"{text} (caused by ValidationError)")
