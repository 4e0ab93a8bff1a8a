"""Finding the columns of the definition in a file's header, and the message where they are not all there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from perennial.data.file_form import FileForm
from perennial.features.column import Column
from perennial.features.column_names import Matched, is_index, match
from perennial.features.values import DataError
from perennial.words import printable, quoted

MAX_CANDIDATES = 200  # looked at for a column that may have been renamed
MAX_REASON = 200
MOST_NAMES = 5
MANY_NAMES = 20  # beyond which a message does not list what a file has to have
SEPARATORS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "vertical bars",
    ":": "colons",
    "~": "tildes",
    "^": "carets",
    " ": "blanks",
}


class FileError(DataError):
    """A file cannot be used at all; the text begins with its name."""


class NoRowsError(FileError):
    """A file is empty, though it has bytes."""


def reason(error: Exception) -> str:
    """Return what a library says about a file, short and on one line: it may quote the file."""
    return printable(" ".join(str(error).split()), MAX_REASON)


def positions(
    name: str, header: Sequence[str], columns: Sequence[Column], form: FileForm, notes: list[str] | None
) -> Mapping[str, int]:
    """Return where each column stands in a header; one that may be null may be absent, but for the values of series.

    Adds what a person should know of it to the notes, if they are wanted. Raises FileError when the header does not fit
    the definition.
    """
    matched = match(header, columns)
    others = _others(header, matched, columns)
    values = form.series.target if form.series else None
    may_be_absent = [one for one in matched.absent if one.optional or (one.nullable and one.name != values)]
    missing = [column for column in matched.absent if column not in may_be_absent]
    problems = _header_problem(header, columns, missing, others)
    if not problems:
        problems = [*_column_problems(matched, missing, others, form), *matched.collisions[:MOST_NAMES]]
    if problems:
        raise FileError(f"{name}: {'; '.join(problems)}. {_expectation(header, columns, missing)}")
    if notes is not None:
        notes += _notes(header, matched, others)
    return matched.positions


def _notes(header: Sequence[str], matched: Matched, others: Sequence[str]) -> Iterator[str]:
    """Yield what a person should know of a header that fits the definition."""
    yield from absence([column.name for column in matched.absent])
    free = [position for position in range(len(header)) if position not in _taken(matched)]
    nameless = sum(not header[position].strip() for position in free if position)  # R puts its row numbers first
    numbering = sum(is_index(header[position]) for position in free) - nameless
    if numbering:
        yield f"{numbering} column{'s' if numbering > 1 else ''} of row numbers passed over"
    if nameless:
        columns_without = f"{nameless} column{'s' if nameless > 1 else ''} without a name passed over"
        yield f"{columns_without} (a delimiter at the end of each line makes one)"
    if others:
        meant = {column.name: close for column in matched.absent if (close := _alike(column, others[:MOST_NAMES]))}
        hints = " ".join(f"is {quoted(close)} the column '{name}'?" for name, close in meant.items())
        yield f"columns ignored: {some_of(others)}" + (f" ({hints})" if hints else "")


def absence(names: Sequence[str]) -> list[str]:
    """Return what the report says of columns that a file does not have."""
    return [f"columns that are absent, so missing in every row: {', '.join(names)}"] if names else []


def _expectation(header: Sequence[str], columns: Sequence[Column], missing: Sequence[Column]) -> str:
    """Return which names a file has to have; of many only how many, where it has most of them."""
    needed = [column for column in columns if not column.optional]
    has = len(match(header, needed).positions)
    if len(needed) > MANY_NAMES and 2 * has > len(needed):
        return f"It has the other {has} of {len(needed)} columns" if missing else f"Expected {len(needed)} columns"
    return f"Expected the columns {expected(columns)}"


def expected(columns: Sequence[Column]) -> str:
    """Return the names that a file has to have, for a message."""
    return ", ".join(" or ".join(dict.fromkeys(column.names_in_files)) for column in columns if not column.optional)


def _taken(matched: Matched) -> set[int]:
    return set(matched.positions.values())


def _others(header: Sequence[str], matched: Matched, columns: Sequence[Column]) -> list[str]:
    """Return the names that are no column of the definition, and no numbering."""
    own = {column.name for column in columns if not column.optional}
    taken = {header[position] for name, position in matched.positions.items() if name in own}
    return [name for name in dict.fromkeys(header) if name not in taken and not is_index(name)]


def _header_problem(
    header: Sequence[str], columns: Sequence[Column], missing: Sequence[Column], others: Sequence[str]
) -> list[str]:
    """Return what is wrong with the line as a whole."""
    if not missing:
        return []
    line = ",".join(header)
    for separator, spoken in SEPARATORS.items():
        parts = [part.strip(' "') for part in line.split(separator)]
        is_read = separator == "," and len(header) > 1
        if not is_read and len(match(parts, columns).positions) > max(1, len(columns) // 2):
            return [f"the fields are separated by {spoken}; set files.delimiter in model.yaml, or leave it out"]
    needed = [column for column in columns if not column.optional]
    if not match(header, needed).positions and not any(_alike(column, others) for column in missing):
        none = f"no column name of the definition stands in the first line, which has {some_of(header)}"
        return [f"{none}: a header line is needed, with the names below or others that `source` names"]
    return []


def _column_problems(matched: Matched, missing: Sequence[Column], others: Sequence[str], form: FileForm) -> list[str]:
    problems = []
    collided = " ".join(matched.collisions)
    renamed = _renamed(matched.absent, others)
    for column in sorted(missing, key=lambda one: one.name not in renamed)[:MOST_NAMES]:
        close = renamed.get(column.name)
        hint = f" (is it {quoted(close)}, renamed? columns.{column.name}.source names it)" if close is not None else ""
        problems.append(f"column '{column.name}' is missing{hint}")
    if len(missing) > MOST_NAMES:
        problems.append(f"and {len(missing) - MOST_NAMES} more are missing")
    closes = [renamed[column.name] for column in missing if column.name in renamed]
    unexpected = [name for name in others if name not in closes and quoted(name) not in collided]
    if unexpected and form.other_columns == "refuse":
        plural = "s" if len(unexpected) > 1 else ""
        problems.append(f"unexpected column{plural} {some_of(unexpected)} (other_columns: ignore passes over such)")
    return problems


def some_of(names: Sequence[str]) -> str:
    """Return the first few of some names, quoted."""
    return ", ".join(quoted(name) for name in names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")


def _renamed(absent: Sequence[Column], others: Sequence[str]) -> dict[str, str]:
    """Return which name may be that of an absent column, by the column's; each name stands for the nearest alone."""
    nearest: dict[str, tuple[float, str]] = {}
    for column in absent:
        if (close := _alike(column, others)) is not None:
            pairs = ((_spelling(name), _spelling(close)) for name in column.names_in_files)
            ratio = max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
            nearest[close] = max(nearest.get(close, (0.0, "")), (ratio, column.name), key=lambda one: one[0])
    return {column: close for close, (_, column) in nearest.items()}


def _alike(column: Column, candidates: Sequence[str]) -> str | None:
    """Return the candidate that looks like a column under another spelling."""
    spelled = {_spelling(candidate): candidate for candidate in candidates[:MAX_CANDIDATES]}
    for name in column.names_in_files:
        close = difflib.get_close_matches(_spelling(name), list(spelled), n=1, cutoff=0.75)
        prefixed = [spelling for spelling in spelled if spelling.startswith(_spelling(name) + " ")]
        if close or prefixed:
            return spelled[(close or prefixed)[0]]
    return None


def _spelling(name: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", name.lower()))
