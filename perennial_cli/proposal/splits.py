"""How the rows of some files may be dealt to sets, and what tells a row from all others.

A split asks of a model what service will ask. Rows that stand in the order of a time were written down one after the
other, and a model is asked about the next ones: the latest test. Rows of one customer or machine are alike, and a model
that has trained on some of them knows more of the others than of strangers: all of one are in one set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial_cli.proposal.columns import ColumnGuess
from perennial_cli.proposal.texts import Texts
from perennial_cli.proposal.times import are_periods

IN_ORDER = 0.98  # correlation of the ranks of times with sorted ones: a log with some late rows has more
LEAST_DIFFERENT = 20  # times, or groups: of fewer a set could be empty
FORECASTING = "forecasting (docs/add-a-model.md), for which `perennial init --forecast` writes a definition"
LEAST_FILLED = 0.3  # of the times of all names: who buys now and then fills less
MOST_ROWS = 50  # of one name on average: of more it is rather a category, such as a shop
MOST_CHARACTERS = 40  # of a key, on average
VALIDATION, TEST = 0.15, 0.2
SEEDS, TIMES_TEST = (42, 43, 44), (1.0, 0.5, 1.5)  # of the quick fits; the first is proposed
# By time the newest rows are held out, and train no model: more of them than tells models apart make it stale.
ENOUGH_ROWS, LEAST_SHARE = 1000, 0.05
_BORN = re.compile(r"(^|_)(birth|birthday|born|dob|geburt)")
_ID = re.compile(r"(^|_)(id|uuid|guid|vin|serial)$")
_WHOM = (
    "account|applicant|battery|borrower|client|customer|device|donor|driver|employee|household|machine|member|participant"
    "|patient|person|player|pupil|rider|sensor|student|subject|user|vehicle"
)
_SOMEBODY = re.compile(rf"(^|_)({_WHOM})$")
_NAMED = re.compile(rf"(^|_)({_WHOM}|asset|engine|equipment|truck|unit)_?(id|no|nr|num|number|key|code)$")
_KEY = re.compile(r"(^|_)(id|uuid|guid|vin|serial|key|nr|no|num|number|code)$")


@dataclass(frozen=True)
class SplitGuess:
    """The section `split` of a model.yaml.

    most      of a split by time, the share that validates and that tests, where it is less than else
    evidence  why it is this one
    doubts    what is for a person to decide
    """

    method: str = "random"
    column: str | None = None
    key: str | None = None
    most: float = TEST
    evidence: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def fields(self, variant: int) -> dict[str, Any]:
        """Return the section; variants deal the same rows otherwise, and 0 is the one to propose."""
        column = {"column": self.column} if self.column else {}
        key = {"key": [self.key]} if self.key else {}
        by_time = self.method == "time"
        seed = {} if by_time else {"seed": SEEDS[variant]}
        test = round(TIMES_TEST[variant] * self.most, 3) if by_time else TEST
        return {"method": self.method, **column, **key, **seed, "validation": min(VALIDATION, self.most), "test": test}

    def with_larger_sets(self) -> SplitGuess:
        """Return a split by time whose sets are as large as those of any other."""
        return replace(self, most=TEST)

    def by_chance(self, why: str) -> SplitGuess:
        """Return a split by chance in place of one that leaves a set empty."""
        doubt = (
            f"{why}, so it is one by chance: rows are tested beside which others of the same {self.column} have trained"
        )
        evidence = (f"By chance: {why}.", *self.evidence[1:])
        return replace(self, method="random", column=None, evidence=evidence, doubts=(*self.doubts, doubt))


def guessed(texts: Texts, columns: Iterable[ColumnGuess], target: str) -> SplitGuess:
    """Return how the rows may be dealt."""
    others = [guess for guess in columns if guess.name != target and guess.reading is not None]
    key, of_key = _key([guess for guess in others if guess.type in ("integer", "string")])
    time, of_times = _time(texts, [guess for guess in others if guess.type == "timestamp"])
    groups = {guess.name: guess.words.known / len(guess.words) for guess in others if _may_be_group(guess)}
    somebody = [guess.name for guess in others if guess.name in groups and _names_somebody(guess)]
    certain = [*somebody, *(name for name, rows in groups.items() if rows <= MOST_ROWS)]
    group = certain[0] if certain and not time else None
    series = _of_series(texts, others)
    doubts = [*series, *of_times, *(_of_group(name, rows) for name, rows in groups.items() if name != group), *of_key]
    evidence = [f"key: {key} is another one in every row. A later row of the same {key} replaces the earlier one."]
    if time:
        why = f"By time: rows stand in the order of {time}, and a model is asked about later ones; the latest test."
    elif group:
        why = f"By {group}: each has {groups[group]:.3g} rows on average, which are alike; those of one are in one set."
    else:
        why = "By chance: no time orders the rows, and nothing says that some are of one customer, machine or the like."
    method = "time" if time else "group" if group else "random"
    most = min(TEST, max(LEAST_SHARE, round(ENOUGH_ROWS / texts.rows, 2))) if time else TEST
    return SplitGuess(method, time or group, key, most, (why, *(evidence if key else [])), tuple(doubts))


def fitted(split: SplitGuess, columns: Iterable[ColumnGuess]) -> tuple[ColumnGuess, ...]:
    """Return the columns so that the split can be: the one that it goes by is in every row, and no feature."""
    return tuple(_required(guess) if guess.name == split.column else guess for guess in columns)


def _required(guess: ColumnGuess) -> ColumnGuess:
    fields = {key: value for key, value in guess.fields.items() if key not in ("nullable", "feature")}
    return replace(guess, fields={**fields, "feature": False}, evidence=f"the rows are split by it; {guess.evidence}")


# ---- Time


def _time(texts: Texts, times: Sequence[ColumnGuess]) -> tuple[str | None, list[str]]:
    """Return the first time that orders the rows, and what is to be said of others."""
    doubts, first = [], None
    for guess in times:
        name, is_event = guess.name, not _BORN.search(guess.name)
        if not is_event or len(guess.words) < LEAST_DIFFERENT:
            continue
        missing = guess.reading.missing_rows if guess.reading else 0
        if not _orders(guess, texts):
            doubts.append(
                f"rows have a time, {name}, and do not stand in its order: to predict later ones from earlier ones "
                f"take {{method: time, column: {name}}}"
            )
        elif missing:
            doubts.append(f"rows stand in the order of {name}, but {missing:,} have none: a split by time needs them")
        elif first is None:
            first = name
    return first, [] if first else doubts


def _orders(guess: ColumnGuess, texts: Texts) -> bool:
    """Return whether rows stand in the order of a time, the oldest or the newest first."""
    if guess.reading is None:
        return False
    stripped = pc.utf8_trim_whitespace(texts.columns[guess.header])
    places = pc.index_in(stripped, value_set=guess.words.texts)
    ranked = ranks(pc.cast(guess.reading.values, pa.int64()).take(places).drop_null().to_numpy())
    in_order, steps = np.sort(ranked), np.diff(ranked)
    is_by_files = min((steps < 0).sum(), (steps > 0).sum()) < len(texts.files)  # each in order, the files in any
    alike = max(float(np.corrcoef(ranked, order)[0, 1]) for order in (in_order, in_order[::-1]))
    return bool(is_by_files) or alike >= IN_ORDER


def _of_series(texts: Texts, columns: Sequence[ColumnGuess]) -> list[str]:
    """Return what is to be said where each name has a row of a time, over and over, as series have."""
    names = [guess for guess in columns if guess.type in ("integer", "string") and len(guess.words) > 1]
    times = [guess for guess in columns if guess.type == "timestamp" or are_periods(guess.words)]
    for time in (guess for guess in times if len(guess.words) >= LEAST_DIFFERENT):
        for name in names:
            both = len(name.words) * len(time.words)
            codes = [_codes(guess, texts) for guess in (name, time)]
            pairs = len(np.unique(codes[0] * len(time.words) + codes[1]))
            if 2 * len(time.words) <= texts.rows and pairs >= IN_ORDER * texts.rows and pairs >= LEAST_FILLED * both:
                return [
                    f"{name.name} and {time.name}: each {name.name} has a row of a {time.name}, as series have. What "
                    f"comes next of each is {FORECASTING}"
                ]
    return []


def _codes(guess: ColumnGuess, texts: Texts) -> npt.NDArray[np.int64]:
    """Return which of its words each row has; -1 for none."""
    stripped = pc.utf8_trim_whitespace(texts.columns[guess.header])
    places = pc.fill_null(pc.index_in(stripped, value_set=guess.words.texts), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), np.int64)


def ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the rank of each value; equal ones share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean: npt.NDArray[np.float64] = np.cumsum(counts) - (counts + 1) / 2
    return mean[places]


# ---- Groups and keys


def _may_be_group(guess: ColumnGuess) -> bool:
    """Return whether a column names what rows are about, and rows of one name come again."""
    is_whole = guess.type in ("integer", "string") and not guess.words.missing and not guess.fields.get("nullable")
    is_name = _ID.search(guess.name) is not None or _names_somebody(guess)
    return is_name and is_whole and LEAST_DIFFERENT <= len(guess.words) < guess.words.rows


def _names_somebody(guess: ColumnGuess) -> bool:
    """Return whether a column names customers, machines or the like; numbers without an ending may count them."""
    is_name = guess.type == "string" and _SOMEBODY.search(guess.name) is not None
    return is_name or _NAMED.search(guess.name) is not None


def _of_group(name: str, rows: float) -> str:
    return (
        f"each {name} has {rows:.3g} rows on average, and they are in several sets: for a model that is asked about "
        f"others take {{method: group, column: {name}}}"
    )


def _key(names: Iterable[ColumnGuess]) -> tuple[str | None, list[str]]:
    """Return the column that tells each row from all others, and those that may."""
    different = [guess for guess in names if not guess.is_feature and len(guess.words) == guess.words.rows]
    unique = [guess for guess in different if not guess.missing_rows]
    for guess in unique:
        if _KEY.search(guess.name) and not _counts(guess):
            return guess.name, []
    for guess in unique:
        if _KEY.search(guess.name) or _is_code(guess):
            what = f"{guess.name} is another one in every row{', and counts them' if _counts(guess) else ''}"
            there = " here and no nullable there" if "nullable" in guess.fields else ""
            return None, [f"{what}: if it stays with its row in later files, take key: [{guess.name}]{there}"]
    return None, []


def _is_code(guess: ColumnGuess) -> bool:
    """Return whether texts are short and of one word."""
    texts = guess.words.texts
    is_short = guess.type == "string" and pc.mean(pc.utf8_length(texts)).as_py() <= MOST_CHARACTERS
    return is_short and not pc.any(pc.match_substring_regex(texts, r"\s")).as_py()


def _counts(guess: ColumnGuess) -> bool:
    """Return whether whole numbers have no gaps, as those of rows, which the next file may begin anew."""
    if guess.reading is None or guess.type != "integer":
        return False
    ends = pc.min_max(guess.reading.values)
    return bool(ends["max"].as_py() - ends["min"].as_py() == len(guess.words) - 1)
