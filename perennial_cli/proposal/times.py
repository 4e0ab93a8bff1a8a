"""Texts that are dates and times, in any of the usual forms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from perennial_cli.proposal.values import Reading, Words, read_as

MOST_BROKEN = 0.02
SAMPLE = 500  # texts that a form is tried on first
DAYS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
    "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y.%m.%d", "%Y%m%d",
)  # fmt: skip
MONTHS = ("%b-%Y", "%b %Y", "%B %Y", "%B-%Y", "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%b-%y")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S", "T%H%M%S")
FORMS = tuple(f"{day}{clock}" for day, clock in product(DAYS, CLOCKS)) + MONTHS
_MONTH = r"[^\W\d_]{3,9}"
_LIKE_A_TIME = re.compile(
    rf"(\d{{1,4}}[./-](\d{{1,2}}|{_MONTH})[./-]\d{{1,4}}|\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}}, \d{{4}}"
    r"|(19|20)\d{6})"
    r"([ T]\d.*)?"
    rf"|{_MONTH}[ -](\d\d)?\d\d|(19|20)\d\d[/-]\d\d?|\d\d?[/-](19|20)\d\d"
)
_PERIOD = re.compile(r"(19|20)\d\d[-/ ]?[QWHT]\d\d?|[QWHT]\d\d?[-/ ]?(19|20)\d\d", re.IGNORECASE)


def times(words: Words) -> Reading | None:
    """Return how texts are read as times; None: they are none."""
    sample = words.texts.slice(0, SAMPLE).to_pylist()
    if sum(bool(_LIKE_A_TIME.fullmatch(text)) for text in sample) < 0.9 * len(sample):
        return None
    iso = read_as("timestamp", words)
    if iso.broken_share <= MOST_BROKEN:
        return iso
    forms = forms_of(words)
    reading = read_as("timestamp", words, {"formats": forms[:1]}) if forms else None
    return reading if reading and reading.broken_share <= MOST_BROKEN else None


def are_periods(words: Words) -> bool:
    """Return whether texts are quarters, weeks or halves of years, which no form of strptime reads: 2024 Q2."""
    sample = words.texts.slice(0, SAMPLE).to_pylist()
    return sum(bool(_PERIOD.fullmatch(text)) for text in sample) >= 0.9 * len(sample)


def forms_of(words: Words) -> Sequence[str]:
    """Return the forms that read as many of the texts as the best one does; those of a sample are tried on all."""
    sample = Words(words.texts.slice(0, SAMPLE), words.counts[:SAMPLE], words.rows, words.missing)
    read = {form: read_as("timestamp", sample, {"formats": [form]}).broken_share for form in FORMS}
    likely = [form for form in FORMS if read[form] <= MOST_BROKEN]
    broken = {form: read_as("timestamp", words, {"formats": [form]}).broken_rows for form in likely}
    return [form for form in likely if broken[form] == min(broken.values())]
