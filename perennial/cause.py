"""What the cause of a failed execution says to a person.

Causes may quote contents of data files, so `safe` stands between them and any mail or terminal.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MAX_CAUSE = 4000

_STATE = re.compile(r'State "(?P<state>[^"]{1,80})" failed: ')
_LINK = re.compile(r"(?i)\b(https?|ftp)://")


def failed_state(cause: str | None) -> str | None:
    """Return the state that a cause of the state machine names: `State "Train" failed: ...`."""
    match = _STATE.match(cause or "")
    return match["state"] if match else None


def explained(cause: str | None) -> str:
    """Return what a cause says to a person.

    Step Functions wraps it: the cause of a failed job is its whole description as JSON, that of a function is JSON
    with errorMessage and stackTrace; the state machine puts the state's name before it.
    """
    text = _STATE.sub("", (cause or "").strip(), count=1).strip()
    start = text.find("{")
    try:
        document = json.loads(text[start:]) if start >= 0 else None
    except json.JSONDecodeError:
        document = None
    said = _said(document) if isinstance(document, dict) else None
    return (f"{text[:start]}{said}" if said else text)[:MAX_CAUSE].strip()


def _said(document: Mapping[str, Any]) -> str | None:
    """An exit message is the job's own words; the rest is what the platform says about it."""
    for key in ("ExitMessage", "FailureReason", "errorMessage", "Cause"):
        if document.get(key):
            return str(document[key])
    return None


def safe(text: Any, limit: int) -> str:
    """Return text on one line, of at most `limit` characters, without control characters and live links."""
    kept = "".join(" " if char.isspace() else char for char in str(text) if char.isspace() or _printable(char))
    kept = _LINK.sub(_broken, re.sub(r" {2,}", " ", kept)).strip()
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."


def _broken(link: re.Match[str]) -> str:
    """`hxxps://`, `fxp://`: readable, and no mail program makes a link of it."""
    return re.sub("[tT]", lambda letter: "x" if letter[0] == "t" else "X", link[0])


def _printable(char: str) -> bool:
    """Unicode's categories C* are control, formatting (also right-to-left marks), surrogate and unassigned."""
    return not unicodedata.category(char).startswith("C")
