"""What one column of somebody's files may be: its type, its range, and whether a model can learn from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.from_text import from_text
from perennial.features.grammar import FALSE_WORDS, TRUE_WORDS
from perennial.words import number, quoted
from perennial_cli.proposal.numbers import in_other_marks, numbers, sentinels, unit_of
from perennial_cli.proposal.times import are_periods, forms_of, times
from perennial_cli.proposal.values import MARKERS_IN_STRINGS, Reading, Words, read_as

MOST_CATEGORIES, LEAST_ROWS_OF_CATEGORY = 20, 20
LONG_TEXT = 60  # characters on average: nobody names a category so
MOST_TEXTS = 100_000  # different ones: what the encoding of a text counts at most
# Words that mean yes and no, in their languages.
TRUTHS = (
    ("on", "off"), ("ja", "nein"), ("oui", "non"), ("si", "no"), ("sí", "no"), ("sim", "não"), ("tak", "nie"),
    ("wahr", "falsch"), ("vrai", "faux"), ("да", "нет"), ("ano", "ne"), ("yes", "no"),
)  # fmt: skip
_ID_NAME = re.compile(r"(^|_)(id|ids|uuid|guid|key|nr|no|num|number|code|index|row|rownames|vin|serial)$")
_YEAR_NAME = re.compile(r"(^|_)(year|yr|jahr|annee|baujahr)(_|$)")


@dataclass(frozen=True)
class ColumnGuess:
    """One column of a model.yaml.

    header    what files call it
    fields    what model.yaml says of it, in the order of its keys
    evidence  why, in words
    doubts    what is not understood, or may be wrong
    """

    name: str
    header: str
    fields: dict[str, Any]
    evidence: str
    words: Words
    doubts: tuple[str, ...] = ()
    reading: Reading | None = field(default=None, compare=False)

    @property
    def type(self) -> str:
        return str(self.fields["type"])

    @property
    def is_feature(self) -> bool:
        return bool(self.fields.get("feature", True))

    @property
    def missing_rows(self) -> int:
        """Rows that have no value."""
        return self.reading.missing_rows if self.reading else self.words.missing

    @property
    def broken_rows(self) -> int:
        """Rows that would be put aside because of this column."""
        return self.reading.broken_rows if self.reading else 0

    def with_doubt(self, *doubts: str) -> ColumnGuess:
        return replace(self, doubts=(*self.doubts, *doubts))

    def without_feature(self, why: str) -> ColumnGuess:
        """Return the column as one that callers need not send, unless it may be the key of the rows (split.key)."""
        is_key = len(self.words) == self.words.rows and _ID_NAME.search(self.name)
        may_be_absent = {} if is_key else {"nullable": True}
        fields = {**self.fields, **may_be_absent, "feature": False}
        return replace(self, fields=fields, evidence=f"{why}; {self.evidence}")


def guessed(name: str, header: str, column: pa.StringArray, decimal: str | None = None) -> ColumnGuess:
    """Return what a column of texts may be.

    decimal  the mark that the other columns of the files have, if they leave no doubt
    """
    words = Words.of(column)
    if not len(words):
        fields = {"type": "string", "nullable": True, "feature": False}
        return ColumnGuess(
            name, header, fields, "empty in every row", words, ("has no value: nobody can tell what it is",)
        )
    for guess in (_boolean, _time, _period, partial(_number, decimal=decimal)):  # 20240501 is a time, 2024 Q2 no 2024
        if (column_guess := guess(name, header, words)) is not None:
            return _judged(column_guess, column)
    return _judged(_string(name, header, words), column)


# ---- Booleans


def _boolean(name: str, header: str, words: Words) -> ColumnGuess | None:
    present = {text.lower() for text in words.texts.slice(0, 8).to_pylist()}
    if len(words) > 6 or present <= {"0", "1", "0.0", "1.0"}:  # those are numbers
        return None
    truth = _truth(present)
    if truth is None:
        return None
    reading = read_as("boolean", words, {"true": [truth[0]], "false": [truth[1]]} if truth[0] else None)
    if reading.broken_rows:
        return None
    evidence = f"{' and '.join(quoted(text) for text in words.examples())} in {words.known:,} rows"
    return _guess(name, header, reading, {}, evidence)


def _truth(present: set[str]) -> tuple[str, str] | None:
    """Return the words for true and false among texts; empty ones where they are the usual ones."""
    left = present - {"na", "n/a", "nan", "null", "none"}
    if left & TRUE_WORDS and left & FALSE_WORDS and left <= TRUE_WORDS | FALSE_WORDS:
        return "", ""
    return next((truth for truth in TRUTHS if left == set(truth)), None)


# ---- Times


def _time(name: str, header: str, words: Words) -> ColumnGuess | None:
    reading = times(words)
    if reading is None:
        return None
    span = pc.min_max(reading.values)
    evidence = f"{span['min'].as_py()} to {span['max'].as_py()}; a time is no feature itself (docs/add-a-model.md)"
    # The time of a request stands for one that needs no parse (monitoring.labelled).
    may_be_absent = {"nullable": True} if reading.parse else {}
    guess = _guess(name, header, reading, {**may_be_absent, "feature": False}, evidence)
    forms = forms_of(words) if "formats" in reading.parse else []
    if len(forms) > 1:
        return guess.with_doubt(
            f"every value reads as {forms[0]} and as {forms[1]}: which one it is, is for you to say"
        )
    return guess


def _period(name: str, header: str, words: Words) -> ColumnGuess | None:
    if not are_periods(words):
        return None
    example = quoted(words.examples(most=1)[0])
    guess = _guess(
        name, header, read_as("string", words), {"feature": False}, f"{len(words):,} periods, such as {example}"
    )
    return guess.with_doubt(
        f"{example} names a period, which comes once and says nothing of later ones: it is no feature. As a date, that "
        "of its first day, it can order the rows; the number of a quarter or a week alone can be a feature"
    )


# ---- Numbers


def _number(name: str, header: str, words: Words, decimal: str | None) -> ColumnGuess | None:
    reading = numbers(words)
    other = in_other_marks(reading) if reading else None
    is_other = other is not None and other.parse.get("decimal") == decimal
    reading = other if is_other else reading
    if reading is None or (reading.parse and _ID_NAME.search(name) and len(words) > MOST_CATEGORIES):  # 7590-VHVEG
        return None
    values = known_values(reading)
    if not len(values):
        return None
    if markers := sentinels(reading):
        reading = read_as(
            reading.type, words, {**reading.parse, "missing": [*reading.parse.get("missing", []), *markers]}
        )
        values = known_values(reading)
    low, high = _range(name, reading.type, values)
    unit = unit_of(reading.parse)
    limits = {**({"unit": unit} if unit else {}), "min": low, "max": high}
    lowest, highest = float(values.min()), float(values.max())
    is_year = _is_year(name, reading.type, lowest, highest)
    span = f"{lowest:.0f} to {highest:.0f}" if is_year else f"{number(lowest)} to {number(highest)}"
    example = f", such as {quoted(words.examples(most=1)[0])}" if reading.parse else ""
    example += ", with the decimal comma of other columns" if is_other else ""
    guess = _guess(name, header, reading, limits, span + example)
    unsure = _doubts_of_marks(reading, other) if other and decimal is None else []
    return guess.with_doubt(*unsure, *_doubts_of_number(reading, values, markers))


def known_values(reading: Reading) -> npt.NDArray[np.float64]:
    """Return the value of each row that has one `(n_rows,)`, those of the same text together."""
    known = pc.is_valid(reading.values).to_numpy(zero_copy_only=False)
    values = pc.cast(reading.values.drop_null(), pa.float64(), safe=False).to_numpy()
    return np.repeat(np.asarray(values, np.float64), reading.words.counts[known])


def _range(name: str, kind: str, values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return limits with room: from 0 where nothing is negative, to about twice the width of what is there."""
    low, high = float(values.min()), float(values.max())
    if _is_year(name, kind, low, high):
        return int(low) - 20, int(high) + 10
    if kind == "integer" and (low, high) == (0.0, 1.0):
        return 0, 1
    width = (high - low) or abs(high) or 1.0
    below = 0.0 if low >= 0 else low - width
    return round_number(below, up=False), round_number(high + width, up=True)


def _is_year(name: str, kind: str, low: float, high: float) -> bool:
    return kind == "integer" and _YEAR_NAME.search(name) is not None and low >= 1800 and high <= 2100


def round_number(value: float, *, up: bool) -> float:
    """Return a number of two digits at or beyond a value, as people write limits."""
    if value == 0:
        return 0
    step = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    rounded = float(f"{(np.ceil if up else np.floor)(round(value / step, 6)) * step:.6g}")
    return plain(rounded)


def plain(value: float) -> float:
    """Return a whole number without a fraction, as far as model.yaml has whole numbers: they have 64 bits."""
    return int(value) if value.is_integer() and abs(value) < 2**63 else value


def _doubts_of_marks(reading: Reading, other: Reading) -> list[str]:
    """Say that a point may stand before thousands; of a comma before each three digits nobody doubts it."""
    if "thousands" in reading.parse:
        return []
    values, others = (each.values.to_pylist() for each in (reading, other))
    place = next(place for place, (value, wide) in enumerate(zip(values, others, strict=True)) if value != wide)
    text, value, wide = quoted(reading.words.texts[place].as_py()), number(values[place]), number(others[place])
    return [f"{text} is taken for {value}: if it is {wide}, write thousands: ., decimal: ',' into parse"]


def _doubts_of_number(reading: Reading, values: npt.NDArray[np.float64], markers: list[str]) -> list[str]:
    units = reading.parse.get("units", {})
    others = [name for name, factor in units.items() if factor == 1][1:]
    doubts = []
    if others:
        doubts.append(
            f"{' and '.join(map(quoted, others))} is taken for the same unit as {quoted(unit_of(reading.parse))}: "
            "if it is another, give its factor"
        )
    if reading.parse.get("number") == "first" and not units:
        text, value = next(
            (text, value)
            for text, value in zip(reading.words.texts.to_pylist(), reading.values.to_pylist(), strict=True)
            if value is not None and text.strip() != number(value)
        )
        clock = ": of a clock or a duration features.py can make a number" if ":" in text else ""
        doubts.append(f"only the first number of each text counts, {quoted(text)} as {number(value)}{clock}")
    if markers:
        doubts.append(f"{', '.join(markers)} is taken for a missing value")
    most = float(np.quantile(values, 0.999))
    if len(values) > 1000 and values.max() > 20 * most > 0:
        doubts.append(
            f"the largest value is {number(float(values.max()))}, and 99.9 % are at most {number(most)}: "
            "if it is a mistake, lower max"
        )
    return doubts


# ---- Texts


def _string(name: str, header: str, words: Words) -> ColumnGuess:
    markers = [text for text in words.texts.slice(0, 1000).to_pylist() if text.lower() in MARKERS_IN_STRINGS]
    reading = read_as("string", words, {"missing": markers} if markers else None)
    known = pc.is_valid(reading.values).to_numpy(zero_copy_only=False)
    left = words.where(known)
    evidence = f"{len(left):,} different texts, such as {quoted(left.examples(most=1)[0]) if len(left) else 'none'}"
    if _has_fixed_categories(left):
        fields = {"categories": sorted(left.texts.to_pylist())}
        evidence = f"these {len(left)} texts only; take categories away where new ones may come"
        return _guess(name, header, reading, fields, evidence)
    return _guess(name, header, reading, {}, evidence)


def _has_fixed_categories(words: Words) -> bool:
    return 1 < len(words) <= MOST_CATEGORIES and int(words.counts.min()) >= LEAST_ROWS_OF_CATEGORY


# ---- Whatever it is


def _guess(name: str, header: str, reading: Reading, more: dict[str, Any], evidence: str) -> ColumnGuess:
    nullable = {"nullable": True} if reading.missing_rows else {}
    parse = {"parse": reading.parse} if reading.parse else {}
    fields = {"type": reading.type, **more, **nullable, **parse}
    if reading.missing_rows:
        evidence += f"; missing in {reading.missing_rows:,} of {reading.words.rows:,} rows"
    doubts: tuple[str, ...] = ()
    if reading.broken_rows:
        examples = ", ".join(map(quoted, reading.words.examples(reading.broken)))
        rows = "1 row is" if reading.broken_rows == 1 else f"{reading.broken_rows:,} rows are"
        doubts = (f"{rows} put aside, because this is no {reading.type}: {examples}",)
    return ColumnGuess(name, header, fields, evidence, reading.words, doubts, reading)


def _judged(guess: ColumnGuess, column: pa.StringArray) -> ColumnGuess:
    """Return a guess that is no feature where a model can learn nothing from the column."""
    for useless in (_constant, _numbering, _identifier, _free_text):
        if (why := useless(guess, column)) is not None:
            return guess.without_feature(why)
    return guess


def _constant(guess: ColumnGuess, _: pa.StringArray) -> str | None:
    if len(guess.words) == 1 and not guess.words.missing:
        return f"the same in every row ({quoted(guess.words.examples(most=1)[0])})"
    return None


def _numbering(guess: ColumnGuess, column: pa.StringArray) -> str | None:
    """Whole numbers that grow by one from row to row."""
    is_plain = guess.type == "integer" and "parse" not in guess.fields and not guess.broken_rows
    if not is_plain or len(guess.words) != len(column) or len(column) < 3:
        return None
    values = from_text("integer", column).values
    return "numbers the rows" if not values.null_count and (np.diff(values.to_numpy()) == 1).all() else None


def _identifier(guess: ColumnGuess, column: pa.StringArray) -> str | None:
    if guess.type not in ("integer", "string") or guess.words.known < 20:
        return None
    share = len(guess.words) / guess.words.known
    if share == 1 and _ID_NAME.search(guess.name):
        return "another value in every row, and named as an id"
    if guess.type == "string" and (share > 0.95 or len(guess.words) > MOST_TEXTS):
        return f"another text in nearly every row ({len(guess.words):,} of {guess.words.known:,})"
    return None


def _free_text(guess: ColumnGuess, _: pa.StringArray) -> str | None:
    if guess.type != "string" or len(guess.words) <= MOST_CATEGORIES:
        return None
    length = pc.mean(pc.utf8_length(guess.words.texts)).as_py()
    return (
        f"free text of {length:.0f} characters on average; features.py can make features of it"
        if length > LONG_TEXT
        else None
    )
