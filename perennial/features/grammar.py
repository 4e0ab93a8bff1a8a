"""What single texts and numbers mean, without Arrow: words, patterns and limits that all readers of values share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

EXPECTED = {
    "float": "a finite number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
    "timestamp": "an ISO 8601 time",
}
LARGEST = {  # what is expected of a number that its column's type cannot hold
    "float": "a number up to 3.4e+38, the largest in single precision, in which models compute",
    "integer": "a whole number of 64 bits (beyond 9,007,199,254,740,991 without a point and an exponent)",
}
LARGEST_FLOAT = float.fromhex("0x1.fffffep+127")  # the algorithms compute in single precision; beyond it is infinity
LARGEST_EXACT_FLOAT = 2**53 - 1  # beyond it a float may be a neighbouring integer, rounded
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0", "0.0"})
FIRST_TIME, LAST_TIME = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - UTC
MAX_SHORT_DIGITS = 18  # so many, with a sign, always fit into 64 bits
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
_SURROGATE = re.compile("[\ud800-\udfff]")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?"
    r"(?: ?(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?))?)?"
)


def has_surrogates(text: str) -> bool:
    """Return whether a text holds half of a surrogate pair, as JSON may have it: it has no UTF-8."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def integer_of_64_bits(text: str) -> int | None:
    """Return signed digits as an integer; None beyond 64 bits."""
    digits = text.lstrip("+-").lstrip("0")
    value = int(digits or "0") * (-1 if text.startswith("-") else 1) if len(digits) <= MAX_SHORT_DIGITS + 1 else 2**63
    return value if -(2**63) <= value < 2**63 else None


def utc_time(word: str) -> datetime | None:
    """Return a time as UTC without a zone; a text without a zone is UTC already. None: not a time.

    Not by `datetime.fromisoformat`, whose grammar differs between versions of Python.
    """
    fields = _TIME.fullmatch(word)
    if fields is None:
        return None
    *parts, fraction, sign, hours, minutes = fields.groups(default="0")
    year, month, day, hour, minute, second = map(int, parts)
    microsecond = int(fraction.ljust(6, "0")[:6])
    away = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    try:
        time = datetime(year, month, day, hour, minute, second, microsecond, timezone(away))
        return time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
