"""When an endpoint sleeps: in any time zone, over midnight, and where clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from perennial.serving import hours

BERLIN = "07:00-19:00 Europe/Berlin MON,TUE,WED,THU,FRI clock"
EVERY = "MON,TUE,WED,THU,FRI,SAT,SUN"


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", " UTC MON clock"])
def test_without_hours_an_endpoint_never_sleeps(text):
    assert hours.read(text) is None


@pytest.mark.parametrize(
    ("now", "awake"),
    [
        ("2026-11-30T05:44:59", False),  # Monday; Berlin is an hour ahead in winter
        ("2026-11-30T05:45:00", True),  # made before the hours begin
        ("2026-11-30T17:59:59", True),
        ("2026-11-30T18:00:00", False),
        ("2026-11-29T12:00:00", False),  # Sunday
        ("2026-07-06T04:44:59", False),  # two hours ahead in summer
        ("2026-07-06T04:45:00", True),
        ("2026-07-06T17:00:00", False),
    ],
)
def test_an_endpoint_is_there_in_its_hours_as_its_people_read_the_clock(now, awake):
    assert hours.read(BERLIN).awake(utc(now)) is awake


@pytest.mark.parametrize(
    ("now", "awake"),
    [("2026-11-29T22:14", False), ("2026-11-29T22:15", True), ("2026-11-30T03:59", True), ("2026-11-30T04:00", False)],
)
def test_hours_may_go_over_midnight(now, awake):
    assert hours.read("22:30-04:00 UTC SUN clock").awake(utc(now)) is awake


def test_equal_times_are_a_whole_day():
    weekend = hours.read("00:00-00:00 UTC SAT,SUN run")
    assert weekend.awake(utc("2026-11-28T00:00"))
    assert weekend.awake(utc("2026-11-29T23:59"))
    assert not weekend.awake(utc("2026-11-30T00:00"))
    assert weekend.share == pytest.approx(2 / 7)


def test_where_runs_wake_it_hours_have_no_lead():
    when = hours.read("07:00-19:00 UTC MON run")
    assert [when.awake(utc(f"2026-11-30T{time}")) for time in ("06:59", "07:00")] == [False, True]


def test_when_it_is_there_again_is_the_begin_of_the_next_hours():
    when = hours.read(BERLIN)
    assert when.begins(utc("2026-11-27T18:00")) == utc("2026-11-30T06:00")
    assert when.begins(utc("2026-11-30T05:50")) == utc("2026-11-30T06:00")
    assert when.begins(utc("2026-11-30T06:00")) == utc("2026-12-01T06:00")


def test_the_share_of_a_week_counts_the_lead_and_is_at_most_one():
    assert hours.read(BERLIN).share == pytest.approx(5 * 12.25 / 168)
    assert hours.read(f"00:00-00:00 UTC {EVERY} clock").share == 1


@pytest.mark.parametrize(
    ("start", "end", "slept"),
    [
        ("2026-11-27T18:00", "2026-11-30T05:45", True),
        ("2026-11-27T17:59", "2026-11-30T05:45", False),
        ("2026-11-27T18:00", "2026-11-30T05:46", False),
        ("2026-11-29T01:00", "2026-11-29T02:00", True),
        ("2026-11-01T01:00", "2026-11-29T02:00", False),
    ],
)
def test_a_time_is_slept_through_when_no_moment_of_it_is_in_the_hours(start, end, slept):
    assert hours.read(BERLIN).slept_through(utc(start), utc(end)) is slept


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("07:00-19:00 UTC MON clock", "cron(0,45 6,19 * * ? *)"),
        (BERLIN, "cron(0,45 4,5,17,18 * * ? *)"),
        ("22:30-04:00 Asia/Kolkata SUN run", "cron(0,30 17,22 * * ? *)"),
        ("09:00-17:00 Australia/Lord_Howe SUN run", "cron(0,30 6,22 * * ? *)"),
    ],
)
def test_the_clock_is_looked_at_when_hours_begin_and_end_in_summer_and_in_winter(text, schedule):
    assert hours.read(text).schedule(date(2026, 11, 29)) == schedule


@pytest.mark.parametrize(
    "text", [BERLIN, "23:30-00:15 America/St_Johns SAT clock", f"00:00-12:00 Pacific/Apia {EVERY} run"]
)
def test_every_begin_and_end_of_a_year_is_in_the_schedule(text):
    """By what the hours themselves say, minute by minute around each change."""
    when = hours.read(text)
    minutes, times = (set(map(int, part.split(","))) for part in when.schedule(date(2026, 1, 1))[5:].split()[:2])
    now = utc("2026-01-01T00:00")
    before = when.awake(now - timedelta(minutes=15))
    while now < utc("2026-12-24T00:00"):
        if (awake := when.awake(now)) is not before:
            assert now.minute in minutes
            assert now.hour in times
        before = awake
        now += timedelta(minutes=15)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "07:00-19:00 Europe/Atlantis MON clock",
            "AwakeTimeZone: got 'Europe/Atlantis'; expected a name of the time zone",
        ),
        ("07:00-19:00 ../etc MON clock", "AwakeTimeZone: got '../etc'"),
        ("seven to seven", "expected such as '07:00-19:00 Europe/Berlin MON,TUE clock'"),
    ],
)
def test_what_are_no_hours_is_refused_with_what_was_expected(text, says):
    with pytest.raises(ValueError, match=says):
        hours.read(text)


def test_hours_are_read_by_people():
    assert str(hours.read(BERLIN)) == "07:00-19:00 Europe/Berlin on MON, TUE, WED, THU, FRI"
    assert str(hours.read(f"07:00-19:00 UTC {EVERY} run")) == "07:00-19:00 UTC, from the first run that ends in them"
    assert hours.read(BERLIN).zone == ZoneInfo("Europe/Berlin")
