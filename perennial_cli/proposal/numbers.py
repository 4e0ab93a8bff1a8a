"""Texts that are numbers, with whatever stands around them: units, currency, marks between digits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc

from perennial_cli.proposal.values import MARKERS, Reading, Words, read_as

MOST_BROKEN = 0.02  # of the rows with a text: more, and the column is no column of numbers
MOST_UNITS = 8
MOST_NAMES = 20  # different texts that may be names with a number in them
LEAST_REPEATED = 10  # times that a name comes on average
MOST_LETTERS = 20  # of a unit
CURRENCIES = {
    "usd",
    "eur",
    "gbp",
    "inr",
    "chf",
    "jpy",
    "cny",
    "aud",
    "cad",
    "sek",
    "nok",
    "dkk",
    "pln",
    "rs",
    "rs.",
    "us$",
    "r$",
    "kr",
    "kr.",
}
MOST_MARKERS = 10  # different ones
MARKS: tuple[dict[str, str], ...] = (
    {}, {"thousands": ","}, {"thousands": "'"}, {"thousands": " "}, {"thousands": " ", "decimal": ","},
    {"thousands": ".", "decimal": ","}, {"decimal": ","},
)  # fmt: skip
# By a mark that stands before each three digits: how the same texts may be read besides.
OTHER_MARKS: dict[str, dict[str, str]] = {".": {"thousands": ".", "decimal": ","}, ",": {"decimal": ","}}
GROUPS = "^[^0-9]*[1-9][0-9]{{0,2}}(?:{}[0-9]{{3}})+(?:[^0-9]|$)"  # no 0.125, and no 1.5
MULTIPLES = {
    "k": 1e3,
    "tsd": 1e3,
    "thousand": 1e3,
    "lakh": 1e5,
    "lac": 1e5,
    "crore": 1e7,
    "cr": 1e7,
    "mio": 1e6,
    "million": 1e6,
    "bn": 1e9,
    "billion": 1e9,
}
# Units of one quantity, with the factor into the first of each line.
QUANTITIES: tuple[dict[str, float], ...] = (
    {"nm": 1, "kgm": 9.80665},
    {"kg": 1, "g": 0.001, "lb": 0.45359237, "lbs": 0.45359237},
    {"km": 1, "m": 0.001, "mi": 1.609344, "mile": 1.609344, "miles": 1.609344},
    {"bhp": 1, "hp": 1, "kw": 1.34102, "ps": 0.98632},
    {"l": 1, "ml": 0.001, "cl": 0.01},
    {"gb": 1, "mb": 0.001, "tb": 1000},
    {"h": 1, "min": 1 / 60, "hours": 1, "hour": 1, "minutes": 1 / 60},
)
_AROUND = re.compile(r"([^\d+\-.,'(]*)\s*[+-]?(?:\d[\d.,'\s]*\d|\d|[.,]\d+)(?:[eE][+-]?\d+)?[.,]?\s*([^\d]*)")
_WORD = re.compile(r"[^\W\d_]+")


def numbers(words: Words) -> Reading | None:
    """Return how texts are read as numbers; None: they are none."""
    plain = _whole(read_as("float", words))
    if not plain.broken_rows:
        return plain
    for readings in (_of_whole_texts, _of_first_numbers):
        # Of those that read as much the plainest one.
        best = min(readings(words), key=lambda reading: (reading.broken_rows, len(reading.parse)), default=plain)
        if best.broken_share <= MOST_BROKEN:
            return best
    return None


def in_other_marks(reading: Reading) -> Reading | None:
    """Return what the same texts are where the decimal mark is the other one; None: they can only be read so.

    60.000 is sixty or sixty thousand, and where each number of a column is so nobody can tell by that column.
    """
    mark, texts = reading.parse.get("thousands", "."), reading.words.texts
    if mark not in OTHER_MARKS or {"decimal", "number"} & reading.parse.keys():
        return None
    marked = texts.filter(pc.match_substring(texts, mark))
    in_groups = pc.match_substring_regex(marked, GROUPS.format(re.escape(mark)))
    is_long = mark == "." and pc.any(pc.match_substring_regex(texts, "[0-9]{4}")).as_py()  # 1234 has no mark
    if not len(marked) or is_long or not pc.all(in_groups).as_py():
        return None
    others = {key: value for key, value in reading.parse.items() if key != "thousands"}
    other = _whole(read_as("float", reading.words, {**others, **OTHER_MARKS[mark]}))
    return other if other.broken_rows == reading.broken_rows else None


def decimal_mark(reading: Reading) -> str | None:
    """Return the decimal mark that texts leave no doubt about; None: they say nothing of it."""
    mark = str(reading.parse.get("decimal", "."))
    has = reading.parse.get("thousands") in OTHER_MARKS or pc.any(pc.match_substring(reading.words.texts, mark)).as_py()
    return mark if has and in_other_marks(reading) is None else None


def _of_whole_texts(words: Words) -> Iterator[Reading]:
    units = _units(words)
    for marks in MARKS:
        for parse in ({}, {"units": units}) if units else ({},):
            yield _with_markers(_whole(read_as("float", words, {**parse, **marks})))


def _of_first_numbers(words: Words) -> Iterator[Reading]:
    if len(words) > MOST_NAMES and _begin_with_digits(words):
        quantity = _quantity(words)
        for marks in ({}, {"thousands": ","}):
            units_of = {"units": quantity} if quantity else {}
            yield _with_markers(_whole(read_as("float", words, {"number": "first", **units_of, **marks})))


def _begin_with_digits(words: Words) -> bool:
    """Return whether nearly all texts do: 190Nm@ 2000rpm, but not VS1."""
    digits = pc.match_substring_regex(words.texts, r"^\W*\d").to_numpy(zero_copy_only=False)
    return int(words.counts[digits].sum()) >= words.known * (1 - MOST_BROKEN)


def _whole(reading: Reading) -> Reading:
    """Return the same texts as integers where all are."""
    as_integer = read_as("integer", reading.words, reading.parse)
    return as_integer if as_integer.broken_rows == reading.broken_rows else reading


def _with_markers(reading: Reading) -> Reading:
    """Return a reading in which texts without a digit, if they are few, mean a missing value."""
    left = reading.words.where(reading.broken)
    if not len(left) or len(left) > MOST_MARKERS:
        return reading
    markers = [text for text in left.texts.to_pylist() if not re.search(r"\d", text) and _is_marker(text, left)]
    if not markers:
        return reading
    return _whole(read_as("float", reading.words, {**reading.parse, "missing": markers}))


def _is_marker(text: str, left: Words) -> bool:
    return text.lower() in MARKERS or left.known <= left.rows * 0.3


def _are_names(words: Words) -> bool:
    """Return whether texts are few that come again and again, and have digits as names have: 1Fam, 2fmCon, 1. White."""
    if len(words) > MOST_NAMES or words.known < LEAST_REPEATED * len(words):
        return False
    return any(re.search(r"\d[^\W\d_]|^\d+\s*[.):-]\s*[^\W\d_]", text) for text in words.texts.to_pylist())


def _units(words: Words) -> dict[str, float]:
    """Return what stands before and after numbers, each with a factor; nothing if that is too much to be units."""
    if _are_names(words):
        return {}
    names: Counter[str] = Counter()
    for text, count in zip(words.texts.to_pylist(), words.counts.tolist(), strict=True):
        if match := _AROUND.fullmatch(text):
            before, after = (name.strip() for name in match.groups())
            if (re.search(_WORD, before) and before.lower() not in CURRENCIES) or re.search("[<>=~]", text):
                return {}  # VS1 and <=50K are names
            names.update({name: count for name in (before, after) if name and _can_be_unit(name)})
    if not names or len(names) > MOST_UNITS:
        return {}
    (first, _), *_ = names.most_common()
    return {name: factor_into(first, name) for name, _ in names.most_common()}


def _can_be_unit(name: str) -> bool:
    return name[0] not in "0123456789+-.,)" and len(name) <= MOST_LETTERS


def factor_into(first: str, name: str) -> float:
    """Return what a unit is of another one; 1 where nobody here knows."""
    if name.lower() in MULTIPLES:
        return MULTIPLES[name.lower()]
    for quantity in QUANTITIES:
        if {first.lower(), name.lower()} <= quantity.keys():
            return round(quantity[name.lower()] / quantity[first.lower()], 6)
    return 1.0


def _quantity(words: Words) -> dict[str, float]:
    """Return the units of one quantity that stand anywhere in texts; nothing where there are not two."""
    names: Counter[str] = Counter()
    for text, count in zip(words.texts.to_pylist(), words.counts.tolist(), strict=True):
        names.update(dict.fromkeys(_WORD.findall(text), count))
    for quantity in QUANTITIES:
        present = {name.lower(): name for name, _ in reversed(names.most_common()) if name.lower() in quantity}
        ordered = sorted(present.values(), key=lambda name: -names[name])
        if len(ordered) > 1:
            return {name: factor_into(ordered[0], name) for name in ordered}
    return {}


def sentinels(reading: Reading) -> list[str]:
    """Return numbers that nobody measures, such as -999, beside values that are never negative."""
    values = reading.values.to_numpy(zero_copy_only=False).astype(np.float64)
    known = values[~np.isnan(values)]
    negative = sorted(set(known[known < 0].tolist()))
    usual = {-9.0, -99.0, -999.0, -9999.0}
    is_beside = bool(negative) and known.max() >= 0
    return [f"{value:.0f}" for value in negative] if is_beside and set(negative) <= usual else []


def unit_of(parse: dict[str, Any]) -> str | None:
    """Return the unit that a column of such texts is in."""
    units = parse.get("units") or {}
    return next((name for name, factor in units.items() if factor == 1), None)
