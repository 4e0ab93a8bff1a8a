"""How the texts of one column are read: `parse` of model.yaml, for files and requests alike.

A text is made plain first: units and signs are taken off, marks and words are replaced. What is left is read by the one
grammar of all columns (from_text). A text that does not fit becomes NO_VALUE, which that grammar refuses.

Numbers that are numbers already (in JSON, in Parquet) are in the column's unit; only `missing` applies to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

NUMBERS = ("float", "integer")
NO_VALUE = "?"  # no number, word or time
# Blank texts and these are missing, except in strings.
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none"})
_MARKS = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}  # as they are typed, and as programs write them
_LETTER = r"[^\W\d_]"
PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?")


@dataclass(frozen=True)
class Parsing:
    """What stands around and instead of the values of a column.

    strip            blanks around a string are no part of it
    missing          texts that mean a missing value, in any case; those that are numbers, by the marks and units of the
                     column, also as numbers
    units            what may stand before or after a number, with the factor into the column's unit
    thousands        the mark between groups of digits; empty: there is none
    decimal          the mark before the fraction
    number           `whole`: the text is one number; `first`: the first number in the text counts
    true, false      words instead of the usual ones (TRUE_WORDS, FALSE_WORDS)
    formats          of times, as Python's strptime has them, instead of ISO 8601
    """

    strip: bool = True
    missing: tuple[str, ...] = ()
    units: tuple[tuple[str, float], ...] = ()
    thousands: str = ""
    decimal: str = "."
    number: str = "whole"
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> Parsing:
        """Read `parse` of a resolved definition, or what `as_json` wrote."""
        fields = {key: value for key, value in (document or {}).items() if value is not None}
        for key in {"missing", "true", "false", "formats"} & fields.keys():
            fields[key] = tuple(fields[key])
        if "units" in fields:
            fields["units"] = tuple(fields["units"].items())
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "units": dict(self.units)}

    def expected(self, kind: str) -> str:
        """Return what a value of the column may be, where that is other than usual; else an empty text."""
        if self.true:
            return " or ".join(f"'{word}'" for word in (*self.true, *self.false))
        if self.formats:
            return f"a time in the form {' or '.join(self.formats)}"
        marks = [f"'{self.thousands}' between thousands"] if self.thousands else []
        marks += [f"the decimal mark '{self.decimal}'"] if self.decimal != "." else []
        number = "a whole number" if kind == "integer" else "a number"
        number += f" with {' and '.join(marks)}" if marks else ""
        if self.number == "first":
            return f"a text that holds {number}"
        if self.units:
            return f"{number}, alone or with {' or '.join(repr(unit) for unit, _ in self.units)}"
        return number if marks else ""

    def plain(self, kind: str, text: str) -> str | None:
        """Return a text of a number, boolean or time as the grammar of all columns reads it; None: it is missing."""
        words, word = _words(self, kind), _word(kind, text)
        if word in words:
            return words[word]
        folded = text.lower()
        if folded in MISSING_WORDS:
            return None
        if kind in NUMBERS:
            return self._number(text)
        if kind == "timestamp" and self.formats:
            return _time(text, self.formats)
        return NO_VALUE if self.true and folded not in ("true", "false") else text

    def _number(self, text: str) -> str:
        if self.number == "first":
            match, unit = _first_pattern(self).search(text), _unit_pattern(self)
            named = unit.search(text) if unit else None
            names = [named[0]] if named else []
        else:
            match = _whole_pattern(self).fullmatch(text)
            names = [name for name in match.group("before", "after") if name] if match and self.units else []
        if match is None or len(signs := [sign for sign in map(match.groupdict().get, ("sign", "inner")) if sign]) > 1:
            return NO_VALUE
        digits = re.sub(_mark(self.thousands), "", match["number"]) if self.thousands else match["number"]
        number = "".join(signs) + digits.replace(self.decimal, ".")
        return _scaled(number, [_factor(self.units, name) for name in names])


PLAIN = Parsing()


def _scaled(number: str, factors: Sequence[float]) -> str:
    """Return a number times factors, computed in decimals, so that 1.1 thousand are 1100."""
    try:
        result = Decimal(number)
        for factor in factors:
            result *= Decimal(repr(factor))
    except ArithmeticError:
        return NO_VALUE
    return str(result) if any(factor != 1 for factor in factors) else number


def _factor(units: Sequence[tuple[str, float]], name: str) -> float:
    exact = dict(units).get(name)
    if exact is not None:
        return exact
    same = (factor for unit, factor in units if re.fullmatch(re.escape(unit), name, re.IGNORECASE))
    return next(same)  # there is one: these are the units of the patterns


def _time(text: str, formats: Sequence[str]) -> str:
    """Return a time in ISO 8601, UTC. Digits of other scripts, which strptime takes, are no digits here."""
    if any(char.isdigit() and not char.isascii() for char in text):
        return NO_VALUE
    for one in formats:
        try:
            time = datetime.strptime(text, one)  # noqa: DTZ007 - UTC without a zone
            return (time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time).isoformat()
        except (ValueError, OverflowError):
            continue
    return NO_VALUE


# ---- Patterns, each made once


@cache
def _words(parsing: Parsing, kind: str) -> Mapping[str, str | None]:
    """Return the texts that stand for a whole value, as `_word` has them."""
    meanings: dict[str, str | None] = {_word(kind, word): None for word in parsing.missing}
    meanings |= {_word(kind, word): "true" for word in parsing.true}
    return meanings | {_word(kind, word): "false" for word in parsing.false}


def _word(kind: str, text: str) -> str:
    """Return what spellings of a word have in common: its case, and in booleans 2 is 2.0."""
    word = text.strip().lower()
    return str(float(word) + 0.0) if kind == "boolean" and PLAIN_NUMBER.fullmatch(word) else word


@cache
def markers(parsing: Parsing, *, whole: bool) -> Sequence[float]:
    """Return the numbers, or whole numbers, that mean a missing value.

    Each is a text as a whole, also with number: first.
    """
    texts = (replace(parsing, number="whole")._number(text.strip()) for text in parsing.missing)
    numbers = [Decimal(text) for text in texts if text != NO_VALUE]
    if not whole:
        return [float(number) for number in numbers]
    in_range = (number for number in numbers if -(2**63) <= number < 2**63)
    return [int(number) for number in in_range if number == number.to_integral_value()]


def _mark(mark: str) -> str:
    return _MARKS.get(mark, re.escape(mark))


def _digits(parsing: Parsing) -> str:
    """Return the pattern of a number without sign. Groups have three digits, or two (12,34,567)."""
    mark, point = _mark(parsing.thousands), re.escape(parsing.decimal)
    grouped = rf"[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}(?![0-9])|" if parsing.thousands else ""
    return rf"(?P<number>(?:(?:{grouped}[0-9]+)(?:{point}[0-9]*)?|(?<!\w){point}[0-9]+)(?:[eE][+-]?[0-9]+)?)"


def _units(parsing: Parsing) -> str:
    return "|".join(re.escape(unit) for unit, _ in sorted(parsing.units, key=lambda unit: -len(unit[0])))


@cache
def _whole_pattern(parsing: Parsing) -> re.Pattern[str]:
    if not parsing.units:
        return re.compile(rf"(?P<sign>[+-])?{_digits(parsing)}")
    before = rf"(?P<before>{_units(parsing)})\s*(?P<inner>[+-])?"
    after = rf"\s*(?P<after>{_units(parsing)})"
    return re.compile(rf"(?P<sign>[+-])?(?:{before})?{_digits(parsing)}(?:{after})?", re.IGNORECASE)


@cache
def _first_pattern(parsing: Parsing) -> re.Pattern[str]:
    """Return the pattern in which a sign counts only behind a blank or a bracket: 1500-2500 begins with 1500."""
    return re.compile(rf"(?:(?<![^\s(\[])(?P<sign>[+-]))?{_digits(parsing)}")


@cache
def _unit_pattern(parsing: Parsing) -> re.Pattern[str] | None:
    pattern = rf"(?<!{_LETTER})(?:{_units(parsing)})(?!{_LETTER})"
    return re.compile(pattern, re.IGNORECASE) if parsing.units else None
