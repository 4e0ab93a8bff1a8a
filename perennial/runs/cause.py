"""Reading the cause of a failed execution, for people.

Causes may quote contents of data files, so `safe` stands between them and any mail or terminal.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from perennial.runs import job_end
from perennial.runs.job_end import JobEnd

MAX_CAUSE = 25_000

_STATES = re.compile(r'(?:State "(?P<state>[^"]{1,80})" failed: )+')
_LINK = re.compile(r"(?i)(https?|ftps?|file)://|www\.")


def failed_state(cause: str | None) -> str | None:
    """Return the state that a cause of the state machine names: `State "Train" failed: ...`.

    A state inside another (a branch, an item) is named after it: the innermost is where it failed.
    """
    named = _STATES.match((cause or "").strip())
    return named["state"] if named else None


def explained(cause: str | None) -> str:
    """Return what a cause says to a person.

    Step Functions wraps it: the cause of a failed job is its whole description as JSON, that of a function is JSON
    with errorMessage and stackTrace. Where the state machine has looked at an error, the state's name is before it.
    """
    before, document = _parts(cause)
    words = _words(document)
    return (f"{before}{words}" if words else _text(cause))[:MAX_CAUSE].strip()


def in_few_words(cause: str | None) -> str:
    """Return what a cause says where the name of the job that failed would take the room."""
    words, job = explained(cause), failed_job(cause)
    return words.replace(f"job {job.name} ", "its job ") if job else words


def problems(failure: Mapping[str, Any]) -> list[str]:
    """Return what went wrong with a failed run, one problem a line; the first says the most."""
    lines = failure.get("problems") or explained(failure.get("cause")).splitlines()
    return [str(line) for line in (*lines, *filter(None, [failure.get("trial")]))]


def failed_job(cause: str | None) -> JobEnd | None:
    """Return how the job ended that a cause describes, or None when it describes none."""
    return job_end.of(_parts(cause)[1])


def _text(cause: str | None) -> str:
    return _STATES.sub("", (cause or "").strip(), count=1).strip()


def _parts(cause: str | None) -> tuple[str, dict[str, Any]]:
    """Return (what stands before the JSON document, the document); the document is empty when there is none."""
    text = _text(cause)
    start = text.find("{")
    try:
        document = json.loads(text[start:]) if start >= 0 else None
    except (ValueError, RecursionError):
        document = None
    return (text[:start], document) if isinstance(document, dict) else (text, {})


def _words(document: Mapping[str, Any]) -> str | None:
    """Return the words of a job or a function; None when the document is neither's."""
    ended = job_end.of(document)
    if ended is not None:
        return str(ended)
    for key in ("ExitMessage", "FailureReason", "errorMessage", "Cause"):
        if document.get(key):
            return str(document[key])
    return None


def safe(text: Any, limit: int) -> str:
    """Return text on one line, of at most `limit` characters, without control characters and live links."""
    line = "".join(_readable(char) for char in str(text) if char.isspace() or _printable(char))
    line = _LINK.sub(_broken, re.sub(r" {2,}", " ", line)).strip()
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _broken(link: re.Match[str]) -> str:
    """`hxxps://`, `fxp://`, `www[.]`: readable, and no mail program makes a link of it."""
    if link[0].endswith("."):
        return f"{link[0][:-1]}[.]"
    return re.sub("[tTiI]", lambda letter: "x" if letter[0].islower() else "X", link[0])


def _readable(char: str) -> str:
    """Return a blank for what separates words, and with escapes the ends of lines that only Unicode has."""
    if char in "\u2028\u2029":
        return f"\\u{ord(char):x}"
    return " " if char.isspace() else char


def _printable(char: str) -> bool:
    """Unicode's categories C* are control, formatting (also right-to-left marks), surrogate and unassigned."""
    return not unicodedata.category(char).startswith("C")
