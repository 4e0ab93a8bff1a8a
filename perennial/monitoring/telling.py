"""Of which windows people are told: of bad news, and of the good news that follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perennial.monitoring.findings import HEALTHY, NOT_ENOUGH

MAX_BAD_NEWS = 200  # windows that are remembered until one is healthy


def is_due(window: Mapping[str, Any], before: Sequence[str], bad_news: Sequence[str]) -> bool:
    """Return whether people are told: of what is not healthy, and when it becomes healthy again.

    A stretch without enough data is told once.

    before    the verdicts of the windows before, oldest first
    bad_news  the windows (`span`) that were told and that no good news has followed
    """
    if window["verdict"] == HEALTHY:
        return span(window) in bad_news or (window["is_newest"] and bool(bad_news))
    return window["verdict"] != NOT_ENOUGH or not before or before[-1] != NOT_ENOUGH


def bad_news_after(window: Mapping[str, Any], bad_news: Sequence[str]) -> list[str]:
    """Return the bad news that no good news has followed, when people have been told of this window too.

    The newest window that is healthy is good news after all of them; one of the past takes back its own.
    """
    if window["verdict"] == HEALTHY and window["is_newest"]:
        return []
    others = [one for one in bad_news if one != span(window)]
    return others if window["verdict"] == HEALTHY else [*others, span(window)][-MAX_BAD_NEWS:]


def span(window: Mapping[str, Any]) -> str:
    """Return what a window is known by when it is judged again: its model and its times."""
    return f"{window['run']} {window['start']} {window['end']}"
