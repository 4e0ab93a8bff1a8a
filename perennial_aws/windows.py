"""What is known of windows and of who answered them, in the run table; one item, whatever time has passed.

The item `monitoring`: `served` (which model answers since when), `windows` (the newest that were judged, by their end),
`batches` (the newest files that were checked before they were scored, likewise),
`bad_news` (the windows that people were told of and that no good news has followed).
`window#<which>` is the claim of a window that is being judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from perennial.monitoring import period, policy, telling
from perennial.runs import work
from perennial_aws import runs

_ITEM = "monitoring"
_ATTEMPTS = 8
Kind = Literal["windows", "batches"]


class HistoryContestedError(Exception):
    """What is known of windows changed again and again. Transient."""


class WindowContestedError(Exception):
    """The claim of a window changed hands again and again. Transient."""


def served() -> list[dict[str, str]]:
    """Return which models answered since when, oldest first: {"run", "since"}."""
    return list(known().get("served", []))


def known() -> dict[str, Any]:
    """Return the item, for who asks more than one of the next three."""
    return runs.item(_ITEM) or {}


def serving(item: Mapping[str, Any] | None = None) -> str | None:
    """Return the run whose model answers now; None before any has."""
    return next((one["run"] for one in reversed((item or known()).get("served", []))), None)


def history(item: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the newest windows that were judged, by their end (monitoring.policy)."""
    return list((item or known()).get("windows", []))


def batches(item: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the newest files that were checked before they were scored, by their end, as windows are."""
    return list((item or known()).get("batches", []))


def judged_until() -> datetime | None:
    """Return until when records were judged (monitoring.policy)."""
    until = policy.judged_until(history())
    return period.read(until) if until else None


def note_served(run: str, since: datetime) -> list[dict[str, str]]:
    """Note which model answers; return all that did."""
    changed = _change(lambda known: {**known, "served": period.noted(known.get("served", []), run, since)})
    return list(changed["served"])


def remember(
    window_id: str,
    judge: Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], Mapping[str, Any]],
    kind: Kind = "windows",
) -> list[dict[str, Any]]:
    """Add a window once, or a file that was checked; return the history with it.

    judge  makes its entry of the history to which it is added, and of the other one: anew, when others have added
           theirs meanwhile, so that of two that end at the same time the second knows what the first has started
    """

    def change(known: dict[str, Any]) -> dict[str, Any]:
        history = known.get(kind, [])
        if any(one["id"] == window_id for one in history):
            return known
        others = known.get("batches" if kind == "windows" else "windows", [])
        return {**known, kind: policy.remembered(history, judge(history, others))}

    return list(_change(change)[kind])


def bad_news(item: Mapping[str, Any] | None = None) -> list[str]:
    """Return the windows that people were told of and that no good news has followed (monitoring.telling)."""
    return list((item or known()).get("bad_news", []))


def note_news(window: Mapping[str, Any]) -> None:
    """Note that people were told of a window."""
    _change(lambda known: {**known, "bad_news": telling.bad_news_after(window, known.get("bad_news", []))})


def take_back_retraining(window_id: str) -> None:
    """Note that the run of a window could not be started: its rows wait for the next one, and it starts no rest."""

    def change(known: dict[str, Any]) -> dict[str, Any]:
        return {**known, "windows": policy.without_retraining(known.get("windows", []), window_id)}

    _change(change)


def _change(change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Write what changes and return it; monitors that end at the same time do not lose anything."""
    for _ in range(_ATTEMPTS):
        before = known()
        after = change(before)
        if after == before:
            return before
        if runs.replace({**after, "id": _ITEM}, before.get("revision", 0)):
            return after
    raise HistoryContestedError(f"what is known of windows changed {_ATTEMPTS} times while it was added to")


def claim(which: str, window_id: str, execution_arn: str) -> str | None:
    """Take a window and return None, or return the id of the window that is judging it now."""
    item_id = f"window#{which}"
    for _ in range(_ATTEMPTS):
        held = runs.item(item_id)
        if held and held["run_id"] == window_id:
            return None
        if held and runs.status_of_execution(held["execution_arn"]) == work.RUNNING:
            return str(held["run_id"])
        if runs.take(item_id, window_id, execution_arn, held["run_id"] if held else None):
            return None
    raise WindowContestedError(f"window {which} changed hands {_ATTEMPTS} times while {window_id} asked for it")
