"""Values as texts for people, in mails, reports, logs and errors; and names whatever their spelling."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_PASSED_OVER = re.compile(r"[\s_-]+")


def spelling(name: str) -> str:
    """Return what two spellings of a name have in common: all but case, blanks, hyphens and underscores."""
    return _PASSED_OVER.sub("", name.casefold())


def quoted(value: object, limit: int = 40) -> str:
    """Return a value as a short quoted text without control characters, safe for logs and mails. Never raises."""
    try:
        text = str(value)
    except (RecursionError, ValueError, OverflowError):  # too deep, too many digits, no year of the calendar
        text = f"a {type(value).__name__} that has no text"
    return f"'{printable(text, limit)}'"


def printable(text: str, limit: int) -> str:
    """Return text on one line, of at most `limit` characters before those that are no print become escapes."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def number(value: float | None, digits: int = 6) -> str:
    """Return a metric as people read it: six significant digits, or all before the point, thousands separated.

    Without an exponent, but for what has a dozen zeros.
    """
    if value is None:
        return "missing"
    if not math.isfinite(value):
        return str(value)
    text = f"{value:,.{digits}g}"
    if "e" not in text or not 1e-12 < abs(value) < 1e15:
        return text
    places = digits - 1 - int(text.partition("e")[2])
    return f"{value:,.{places}f}".rstrip("0") if places > 0 else f"{value:,.0f}"


def apart(*values: float | None) -> list[str]:
    """Return metrics as people read them, with as many digits as tell those apart that differ."""
    texts: list[str] = []
    for digits in (6, 9, 12, 17):
        texts = [number(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def between(bounds: Sequence[float] | None) -> str:
    """Return an interval as people read it."""
    return f"{number(bounds[0])} to {number(bounds[1])}" if bounds else "not known"


def caller(who: str) -> str:
    """Return who has asked AWS for something as people read it: of an ARN what comes after the account."""
    return who.split(":", 5)[5] if who.startswith("arn:") else who
