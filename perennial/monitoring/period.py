"""Which window is judged: since the last one, or one that was asked for, and always of one model.

A window of two models would hold one's answers against the other's baseline, so it is cut where the model changed.
Times are aware and in UTC, whole seconds; the end of a window is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

MAX_SERVED = 50  # models that are remembered with the time since which they answer
MAX_DAYS = 400  # of a window
EXPECTED = "expected a time in UTC such as 2026-11-29T10:00:00Z"


class WindowError(ValueError):
    """The window that was asked for is none. The text says what was expected."""


@dataclass(frozen=True)
class Period:
    """A window of one model.

    cut      where it was cut and why, or nothing
    skipped  what of it other models answered, and is not judged with it: each of one model, oldest first
    """

    run: str
    start: datetime
    end: datetime
    cut: str = ""
    skipped: tuple[Period, ...] = ()


def noted(served: Sequence[Mapping[str, str]], run: str, since: datetime) -> list[dict[str, str]]:
    """Return which model answers since when, with the one that answers now, which is noted once."""
    known = [dict(one) for one in served]
    if known and known[-1]["run"] == run:
        return known
    if known:
        since = max(since, read(known[-1]["since"]))
    return [*known, {"run": run, "since": written(since)}][-MAX_SERVED:]


def next_period(
    served: Sequence[Mapping[str, str]], judged_until: datetime | None, now: datetime, delay: timedelta
) -> Period | None:
    """Return the window since the last one that was judged; None while there is nothing to judge.

    delay  how long captured records take to arrive
    """
    if not served:
        return None
    run, since = served[-1]["run"], read(served[-1]["since"])
    start, end = max(since, judged_until or since), (now - delay).replace(microsecond=0)
    cut = f"the model of run {run} answers since {written(since)}" if start == since and len(served) > 1 else ""
    skipped = _of_others(served, judged_until or read(served[0]["since"]), start)
    return Period(run, start, end, cut, skipped) if start < end else None


def asked_period(served: Sequence[Mapping[str, str]], start: str, end: str, now: datetime) -> Period:
    """Return the window that was asked for, as far as one model answered: the one of its end. Raises WindowError."""
    first, last = _time(start, "Start"), _time(end, "End")
    if not first < last:
        raise WindowError(f"Window: got {start} to {end}; expected a start before the end")
    if last > now:
        raise WindowError(f"Window.End: got {end}, which is in the future; expected at most {written(now)}")
    if last - first > timedelta(days=MAX_DAYS):
        raise WindowError(f"Window: got {(last - first).days} days; expected at most {MAX_DAYS}")
    answering = [one for one in served if read(one["since"]) < last]
    if not answering:
        first_known = f"the first that is known answers since {served[0]['since']}" if served else "none is known"
        raise WindowError(f"Window.End: got {end}, before any model of this stack answered: {first_known}")
    run, since = answering[-1]["run"], read(answering[-1]["since"])
    cut = f"the model of run {run} answers since {written(since)}" if since > first else ""
    return Period(run, max(first, since), last, cut, _of_others(answering, first, since))


def _of_others(served: Sequence[Mapping[str, str]], start: datetime, end: datetime) -> tuple[Period, ...]:
    """Return what each of the models before the last answered of a time."""
    periods = []
    for one, following in pairwise(served):
        first, last = max(start, read(one["since"])), min(end, read(following["since"]))
        if first < last:
            periods.append(Period(one["run"], first, last))
    return tuple(periods)


def hours(start: datetime, end: datetime) -> tuple[str, str]:
    """Return the first folder of data capture that may hold records of a window, and the one beyond the last.

    A file stands in the hour of its records' inference (Developer Guide, "Data capture"); one hour more at both ends
    for clocks that differ.
    """
    return hour(start - timedelta(hours=1)), hour(end + timedelta(hours=2))


def hour(time: datetime) -> str:
    """Return the folder of an hour, in data capture and in Model Monitor's ground truth; in its order names sort."""
    return f"{time.astimezone(UTC):%Y/%m/%d/%H}"


def _time(text: str, name: str) -> datetime:
    try:
        return read(text)
    except ValueError as error:
        raise WindowError(f"Window.{name}: got {text!r}; {EXPECTED}") from error


def read(text: str) -> datetime:
    """Return a time that `written` has written."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def written(time: datetime) -> str:
    """Return a time as it stands in windows: `2026-11-29T10:00:00Z`."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
