"""The rules of a column in words: what breaks one, and what it expects.

type, missing, minimum, maximum, logarithm, category
"""

from __future__ import annotations

from collections.abc import Sequence

from perennial.features.column import Column
from perennial.words import quoted

CATEGORIES_NAMED = 5  # in a message


def broken_rule(column: Column, rule: str, value: object) -> str:
    """Return what is wrong with a value of a column."""
    expected = {
        "type": f"is not {column.expected}",
        "minimum": f"is below the minimum {_number(column.minimum)}",
        "maximum": f"is above the maximum {_number(column.maximum)}",
        "logarithm": "is not above 0, and the model learns the logarithm (target.transform: log)",
        "category": "is not one of the allowed categories",
    }
    return "is missing" if rule == "missing" else f"{quoted(value)} {expected[rule]}"


def expected_by(column: Column, rule: str) -> str:
    """Return what a rule expects of a column."""
    expected = {
        "type": column.expected,
        "missing": "a value",
        "minimum": f"at least {_number(column.minimum)}",
        "maximum": f"at most {_number(column.maximum)}",
        "logarithm": "more than 0, because the model learns the logarithm (target.transform: log)",
        "category": _one_of(column.categories or ()),
    }
    return expected[rule]


def _number(limit: float | None) -> str:
    return "" if limit is None else f"{limit:.12g}"


def _one_of(categories: Sequence[str]) -> str:
    named = [quoted(category) for category in categories[:CATEGORIES_NAMED]]
    more = len(categories) - len(named)
    named += [f"{more:,} more"] if more else []
    return " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
