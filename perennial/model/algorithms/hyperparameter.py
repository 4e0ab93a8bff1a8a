"""What one hyperparameter may be. SageMaker wants every value as a string; `as_text` is how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MAX_TEXT = 2500  # characters. SageMaker API Reference, CreateTrainingJob, HyperParameters; of which there may be 100
MAX_NUMBER = 100
MAX_INTEGER = 2**63 - 1

Value = bool | int | float | str


@dataclass(frozen=True)
class Allowed:
    """What one hyperparameter may be: a number in a range, one of some words, or text of a form.

    low, high              inclusive bounds; None is unbounded
    above, below           exclusive bounds
    """

    kind: Literal["integer", "number", "text", "words"] = "words"
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    words: tuple[str, ...] = ()
    form: str = ""
    example: str = ""

    def problem(self, value: Value) -> str | None:
        """Return why the value is refused, with what is allowed, or None when it is fine."""
        text, longest = as_text(value), MAX_TEXT if self.kind == "text" else MAX_NUMBER
        if len(text) > longest:
            return f"got {len(text):,} characters; expected at most {longest:,}"
        return None if self._accepts(text) else f"got {value!r}; expected {self.expected()}"

    def _accepts(self, text: str) -> bool:
        if text in self.words:
            return True
        if self.kind in ("integer", "number"):
            return self._in_range(text)
        return self.kind == "text" and re.fullmatch(self.form, text) is not None

    def _in_range(self, text: str) -> bool:
        try:
            number = float(text)
        except ValueError:
            return False
        is_integer = re.fullmatch(r"[+-]?\d+", text) is not None and abs(int(text)) <= MAX_INTEGER
        whole = self.kind == "number" or is_integer
        return (
            whole
            and math.isfinite(number)
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def expected(self) -> str:
        """Return what is allowed, in words."""
        parts = [", ".join(self.words)] if self.words else []
        if self.kind in ("integer", "number"):
            parts.append(" ".join(["a whole number" if self.kind == "integer" else "a number", *self._bounds()]))
        if self.kind == "text":
            parts.append(f"text such as {self.example}")
        return ("one of " if self.kind == "words" else "") + " or ".join(parts)

    def _bounds(self) -> list[str]:
        words = {"of at least": self.low, "above": self.above, "of at most": self.high, "below": self.below}
        parts = [f"{word} {bound:g}" for word, bound in words.items() if bound is not None]
        return [" and ".join(parts)] if parts else []


def as_text(value: Value) -> str:
    """Return the value as SageMaker takes it: every hyperparameter is a string there."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value).strip()


def free(value: object) -> Allowed:
    """Return what a hyperparameter that nobody but its script knows may be: what its value is, or its range holds."""
    if isinstance(value, Mapping):
        ends = [value.get("min"), value.get("max")]
        return integer() if all(type(end) is int for end in ends) else number()
    if isinstance(value, list | tuple):
        return Allowed("words", words=tuple(as_text(one) for one in value if isinstance(one, Value)))
    if isinstance(value, bool):
        return FLAG
    if isinstance(value, int | float):
        return number()
    return Allowed("text", form=r"[^\x00-\x08\x0a-\x1f\x7f]+", example="some words in one line")


def integer(low: float | None = None, high: float | None = None, words: tuple[str, ...] = ()) -> Allowed:
    """Return a whole number in a range, or one of some words."""
    return Allowed("integer", low=low, high=high, words=words)


def number(low: float | None = None, high: float | None = None, words: tuple[str, ...] = ()) -> Allowed:
    """Return a finite number in a range, or one of some words."""
    return Allowed("number", low=low, high=high, words=words)


def words(*allowed: str) -> Allowed:
    """Return one of some words."""
    return Allowed("words", words=allowed)


AUTO = ("auto",)
FLAG = words("true", "false")
SHARE = Allowed("number", above=0, high=1)
POSITIVE = Allowed("number", above=0)
