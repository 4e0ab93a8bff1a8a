"""The rules of a column in words: what breaks one, and what it expects.

type, missing, minimum, maximum, logarithm, category, period

A number that the column's type cannot hold is above the maximum or below the minimum, where the column has one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from perennial.features.column import Column
from perennial.features.grammar import EXPECTED, LARGEST, LARGEST_EXACT_FLOAT, LARGEST_FLOAT, NUMBER
from perennial.features.json_text import BeyondFloat
from perennial.features.parsing import NUMBERS, Parsing
from perennial.words import quoted

CATEGORIES_NAMED = 5  # in a message
_NUMBER = re.compile(NUMBER)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?(0,[0-9]+|[0-9]+,([0-9]{1,2}|[0-9]{4,}))\s*")  # and no comma of thousands
_LIMITS = {"float": LARGEST_FLOAT, "integer": LARGEST_EXACT_FLOAT}


def too_large(kind: str, value: Any, parsing: Parsing) -> float | None:
    """Return a number that its column's type cannot hold, which may be infinite here; None of anything else."""
    if kind not in NUMBERS:
        return None
    if isinstance(value, str):
        word = (parsing.plain(kind, value.strip()) or "").strip()
        number = float(word) if _NUMBER.fullmatch(word) else 0.0
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    elif isinstance(value, float):
        number = value if math.isfinite(value) or isinstance(value, BeyondFloat) else 0.0
    else:
        number = float(value) if abs(value) <= LARGEST_FLOAT else math.inf if value > 0 else -math.inf
    return number if abs(number) > _LIMITS[kind] else None


def rule_of_type(column: Column, value: Any) -> str:
    """Return the rule that a value breaks which is none of its column's type."""
    number = too_large(column.type, value, column.parsing)
    if number is not None and column.maximum is not None and number > column.maximum:
        return "maximum"
    return "minimum" if number is not None and column.minimum is not None and number < column.minimum else "type"


def expected_type(kind: str, value: Any, parsing: Parsing) -> str:
    """Return what a column of a type expects in place of a value."""
    if too_large(kind, value, parsing) is not None:
        return LARGEST[kind]
    return parsing.expected(kind) or EXPECTED[kind]


def broken_rule(column: Column, rule: str, value: object) -> str:
    """Return what is wrong with a value of a column."""
    expected = {
        "type": f"is not {expected_type(column.type, value, column.parsing)}{hint(column, rule, value)}",
        "minimum": f"is below the minimum {_number(column.minimum)}",
        "maximum": f"is above the maximum {_number(column.maximum)}",
        "logarithm": "is not above 0, and the model learns the logarithm (target.transform: log)",
        "category": f"is not one of the allowed categories: {_one_of(column.categories or ())}",
        "period": f"is not {column.period}{hint(column, rule, value)}",
    }
    return "is missing" if rule == "missing" else f"{quoted(value)} {expected[rule]}"


def hint(column: Column, rule: str, value: object) -> str:
    """Return what else may be meant by a value of a file that breaks a rule, in brackets; mostly nothing."""
    is_number = rule == "type" and column.type in NUMBERS and column.parsing.decimal == "."
    if is_number and isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value):
        return " (a decimal comma? files.decimal in model.yaml)"
    if rule == "period" and isinstance(value, str):
        with suppress(ValueError, OverflowError):  # it is in a form of parse.formats
            if (time := datetime.fromisoformat(value.strip())).tzinfo:
                return f" (in UTC it is {time.astimezone(UTC):%Y-%m-%d %H:%M:%S})"
    return ""


def expected_by(column: Column, rule: str, value: object = None) -> str:
    """Return what a rule expects of a column, in place of a value if one is known."""
    expected = {
        "type": expected_type(column.type, value, column.parsing),
        "missing": "a value",
        "minimum": f"at least {_number(column.minimum)}",
        "maximum": f"at most {_number(column.maximum)}",
        "logarithm": "more than 0, because the model learns the logarithm (target.transform: log)",
        "category": _one_of(column.categories or ()),
        "period": column.period,
    }
    return expected[rule]


def _number(limit: float | None) -> str:
    return "" if limit is None else f"{limit:.12g}"


def _one_of(categories: Sequence[str]) -> str:
    named = [quoted(category) for category in categories[:CATEGORIES_NAMED]]
    more = len(categories) - len(named)
    named += [f"{more:,} more"] if more else []
    return " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
