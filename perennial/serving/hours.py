"""When an endpoint is there: between two times of a day, on some days of the week, in a time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, cast
from zoneinfo import ZoneInfo

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
LEAD = timedelta(minutes=15)
"""So long before the hours begin an endpoint is made: until it answers takes minutes."""
WakeBy = Literal["clock", "run"]
_TEXT = re.compile(r"(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>\S+) (?P<days>\S+) (?P<by>clock|run)")


@dataclass(frozen=True)
class Hours:
    """The hours of an endpoint.

    end      not after `begin`: of the next day
    days     on which the hours begin, 0 for Monday
    wake_by  clock: it is made before they begin; run: when the first run of the hours has ended
    """

    begin: time
    end: time
    zone: ZoneInfo
    days: frozenset[int]
    wake_by: WakeBy

    def awake(self, now: datetime) -> bool:
        """Return whether the endpoint is to be there at a time, which is aware."""
        return any(begin <= now < end for begin, end in self._spans(now.astimezone(self.zone).date()))

    def begins(self, now: datetime) -> datetime:
        """Return when the next hours begin after a time, in UTC."""
        begins = (begin + self._lead for begin, _ in self._spans(now.astimezone(self.zone).date()))
        return min(begin for begin in begins if begin > now)

    def slept_through(self, start: datetime, end: datetime) -> bool:
        """Return whether the endpoint was not to be there at any moment of a time."""
        if end - start > timedelta(weeks=1):
            return False
        return not any(first < end and start < last for first, last in self._spans(start.astimezone(self.zone).date()))

    @property
    def share(self) -> float:
        """The share of a week in which the endpoint is there, at most: where runs wake it, it may be less."""
        day = timedelta(days=1)
        begin, end = (timedelta(hours=one.hour, minutes=one.minute) for one in (self.begin, self.end))
        return min(1.0, len(self.days) * (((end - begin) % day or day) + self._lead) / (7 * day))

    def schedule(self, today: date) -> str:
        """Return the cron expression of EventBridge, in UTC, by which the clock is looked at in the coming year.

        It names each minute and each hour that the begin or the end is at, in summer and in winter, and so some at
        which nothing is to be done. Source: EventBridge User Guide, "Setting a schedule pattern".
        """
        every = Hours(self.begin, self.end, self.zone, frozenset(range(7)), self.wake_by)
        weeks = (today + timedelta(days=7 * week) for week in range(53))
        moments = {moment for week in weeks for span in every._spans(week) for moment in span}
        minutes = sorted({moment.minute for moment in moments})
        hours = sorted({moment.hour for moment in moments})
        return f"cron({','.join(map(str, minutes))} {','.join(map(str, hours))} * * ? *)"

    @property
    def _lead(self) -> timedelta:
        return LEAD if self.wake_by == "clock" else timedelta(0)

    def _spans(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        """Yield when the endpoint is there, in UTC: from the day before until those of the same day a week later."""
        for number in range(-1, 9):
            first = day + timedelta(days=number)
            if first.weekday() in self.days:
                last = first + timedelta(days=self.end <= self.begin)
                begin = datetime.combine(first, self.begin, self.zone).astimezone(UTC)
                yield begin - self._lead, datetime.combine(last, self.end, self.zone).astimezone(UTC)

    def __str__(self) -> str:
        days = [name for number, name in enumerate(DAYS) if number in self.days]
        on = "" if len(days) == len(DAYS) else f" on {', '.join(days)}"
        woken = ", from the first run that ends in them" if self.wake_by == "run" else ""
        return f"{self.begin:%H:%M}-{self.end:%H:%M} {self.zone.key}{on}{woken}"


def read(text: str) -> Hours | None:
    """Return the hours of a text such as `07:00-19:00 Europe/Berlin MON,TUE clock`; None where it has no times.

    Raises ValueError: the zone is not known, or it is no such text.
    """
    if text.startswith(" ") or not text:
        return None
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"got {text!r}; expected such as '07:00-19:00 Europe/Berlin MON,TUE clock'")
    try:
        zone = ZoneInfo(match["zone"])
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"AwakeTimeZone: got {match['zone']!r}; expected a name of the time zone database, such as Europe/Berlin"
        ) from error
    begin, end = time.fromisoformat(match["begin"]), time.fromisoformat(match["end"])
    days = frozenset(DAYS.index(day) for day in match["days"].split(","))
    return Hours(begin, end, zone, days, cast(WakeBy, match["by"]))
