"""Names, types and ranges of hyperparameters, with the error texts of SageMaker's algorithm toolkit.

Values arrive as strings. Source of the texts: sagemaker-xgboost-container, `sagemaker_algorithm_toolkit`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from localcloud.sagemaker.algorithms.training_container import CustomerError


class Range(Protocol):
    def __contains__(self, value: Any, /) -> bool: ...


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends; None is no end. Prints as the toolkit does: `[0, +inf)`."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: Any) -> bool:
        above = self.low is None or (value > self.low if self.low_open else value >= self.low)
        below = self.high is None or (value < self.high if self.high_open else value <= self.high)
        return above and below

    def __str__(self) -> str:
        low = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low}"
        high = "+inf)" if self.high is None else f"{self.high}{')' if self.high_open else ']'}"
        return f"{low}, {high}"


@dataclass(frozen=True)
class Hyperparameter:
    """One name. `elements` says that the range holds for each member of the parsed value, not for the whole."""

    name: str
    parse: Callable[[str], Any]
    allowed: Range | None = None
    required: bool = False
    elements: bool = False
    alias: str | None = None

    def read(self, text: str) -> Any:
        """Return the value; CustomerError when it cannot be read or is out of range."""
        try:
            value = self.parse(text)
        except (ValueError, SyntaxError, TypeError) as error:
            raise CustomerError(
                f"Hyperparameter {self.name}: could not parse value (caused by {type(error).__name__}); "
                f"got '{text}', expected {self._expected()}"
            ) from error
        if self.elements:
            if any(member not in self._range for member in _flat(value)):
                raise CustomerError(f"Hyperparameter {self.name}: value {value} not in range {self._range}")
        elif value not in self._range:
            raise CustomerError(f"Hyperparameter {self.name}: {value} is not in {self._range}")
        return value

    @property
    def _range(self) -> Range:
        return Interval() if self.allowed is None else self.allowed

    def _expected(self) -> str:
        kind = {int: "a whole number", float: "a number"}.get(self.parse, "a value")  # type: ignore[call-overload]
        return f"{kind} in {self.allowed}" if self.allowed is not None else str(kind)


def validate(table: Iterable[Hyperparameter], texts: Mapping[str, str]) -> dict[str, Any]:
    """Read every given value under its own name; aliases are resolved, unknown and missing names are refused."""
    by_name = {parameter.name: parameter for parameter in table}
    aliases = {parameter.alias: parameter.name for parameter in by_name.values() if parameter.alias}
    named: dict[str, str] = {}
    for name, text in texts.items():
        target = aliases.get(name, name)
        if target in named:
            raise CustomerError(f"Hyperparameter {target} is given twice: {name} is another name for it.")
        named[target] = text
    for parameter in by_name.values():
        if parameter.required and parameter.name not in named:
            raise CustomerError(f"Missing required hyperparameter: {parameter.name}")
    for name in named:
        if name not in by_name:
            raise CustomerError(f"Extraneous hyperparameter found: {name}")
    return {name: by_name[name].read(text) for name, text in named.items()}


def integer(name: str, allowed: Range | None = None, *, required: bool = False) -> Hyperparameter:
    return Hyperparameter(name, int, allowed, required)


def number(name: str, allowed: Range | None = None, *, alias: str | None = None) -> Hyperparameter:
    return Hyperparameter(name, float, allowed, alias=alias)


def choice(name: str, *values: str, required: bool = False) -> Hyperparameter:
    return Hyperparameter(name, str, list(values), required)


def comma_list(name: str, allowed: Range) -> Hyperparameter:
    return Hyperparameter(name, lambda text: [part.strip() for part in text.split(",")], allowed, elements=True)


def literal(name: str, kind: type, allowed: Range) -> Hyperparameter:
    """Return a Python tuple or list of numbers, such as `(1,-1,0)` or `[[1,2],[3,4]]`."""

    def parse(text: str) -> Any:
        value = ast.literal_eval(text)
        if not isinstance(value, kind):
            raise ValueError(text)  # noqa: TRY004 - the caller words every unreadable value alike
        return value

    return Hyperparameter(name, parse, allowed, elements=True)


def _flat(value: Iterable[Any]) -> Iterable[Any]:
    for member in value:
        if isinstance(member, list | tuple):
            yield from _flat(member)
        else:
            yield member
