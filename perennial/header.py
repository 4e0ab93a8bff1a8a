"""Whether the columns of a dropped file are those of the definition, and what to say when they are not."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from perennial.contract import Column
from perennial.values import DataError, printable, shown

MAX_CANDIDATES = 200  # looked at for a column that may have been renamed
MAX_REASON = 200


class FileError(DataError):
    """A whole file cannot be used; the text begins with its name."""


def reason(error: Exception) -> str:
    """Return what a library says about a file, short and on one line: it may quote the file."""
    return printable(" ".join(str(error).split()), MAX_REASON)


def check_header(name: str, header: list[str], columns: Sequence[Column]) -> None:
    """Raise FileError when a header is not the definition's columns, in any order."""
    expected = [column.name for column in columns]
    counts = Counter(header)
    missing = [column for column in expected if column not in counts]
    extra = [column for column in counts if column not in expected]
    repeated = [column for column, count in counts.items() if count > 1]
    if not (missing or extra or repeated):
        return
    hint = _separator_hint(header, expected)
    if not hint and len(missing) == len(expected) and not any(_alike(column, extra) for column in missing):
        hint = "no column name of the definition stands in the first line: a header line is needed"
    problems = [hint] if hint else _column_problems(missing, extra, repeated)
    raise FileError(f"{name}: {'; '.join(problems)}. Expected the columns {', '.join(expected)}")


def _separator_hint(header: list[str], expected: list[str]) -> str:
    """Name the separator when the header splits into expected names with another one."""
    line = ",".join(header)
    for separator, spoken in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars"), (":", "colons")):
        if sum(part.strip(' "') in expected for part in line.split(separator)) > max(1, len(expected) // 2):
            return f"the fields are separated by {spoken}; expected commas"
    return ""


def _column_problems(missing: list[str], extra: list[str], repeated: list[str]) -> list[str]:
    problems = []
    renamed = {column: close for column in missing if (close := _alike(column, extra)) is not None}
    for column in missing:
        close = renamed.get(column)
        problems.append(
            f"column '{column}' is missing" + (f" (is it {shown(close)}, renamed?)" if close is not None else "")
        )
    unexpected = [column for column in extra if column not in renamed.values()]
    if unexpected:
        some = ", ".join(shown(column) for column in unexpected[:5]) + (", ..." if len(unexpected) > 5 else "")
        problems.append(f"unexpected column{'s' if len(unexpected) > 1 else ''} {some}")
    problems += [f"column {shown(column)} stands more than once" for column in repeated[:5]]
    return problems


def _alike(column: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that looks like a column under another spelling."""
    spelled = {_spelling(candidate): candidate for candidate in candidates[:MAX_CANDIDATES]}
    close = difflib.get_close_matches(_spelling(column), list(spelled), n=1, cutoff=0.75)
    prefixed = [spelling for spelling in spelled if spelling.startswith(_spelling(column) + " ")]
    return spelled[(close or prefixed)[0]] if close or prefixed else None


def _spelling(name: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", name.lower()))
