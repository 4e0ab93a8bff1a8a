"""Windows: since the last one or as asked, and never of two models."""

from datetime import UTC, datetime, timedelta

import pytest

from perennial.monitoring import period
from perennial.monitoring.period import Period, WindowError

NOW = datetime(2026, 11, 29, 12, 0, 30, 999, tzinfo=UTC)
SERVED = [
    {"run": "one", "since": "2026-11-28T00:00:00Z"},
    {"run": "two", "since": "2026-11-29T06:00:00Z"},
]
DELAY = timedelta(minutes=10)


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


def test_a_window_begins_where_the_last_one_ended_and_ends_before_records_may_be_on_their_way() -> None:
    chosen = period.next_period(SERVED, at(29, 11), NOW, DELAY)
    assert chosen == Period("two", at(29, 11), at(29, 11, 50, 30))


def test_the_first_window_of_a_model_begins_where_it_began_to_answer_and_says_so() -> None:
    chosen = period.next_period(SERVED, at(29, 5), NOW, DELAY)
    assert chosen is not None
    assert (chosen.start, chosen.cut) == (at(29, 6), "the model of run two answers since 2026-11-29T06:00:00Z")
    assert chosen.skipped == (Period("one", at(29, 5), at(29, 6)),)


def test_the_first_window_of_the_first_model_is_not_cut() -> None:
    chosen = period.next_period(SERVED[:1], None, NOW, DELAY)
    assert chosen == Period("one", at(28, 0), at(29, 11, 50, 30))


def test_there_is_no_window_while_nothing_can_have_come_or_nothing_answers() -> None:
    assert period.next_period(SERVED, at(29, 11, 50, 30), NOW, DELAY) is None
    assert period.next_period([], None, NOW, DELAY) is None


def test_a_window_that_was_asked_for_may_lie_in_the_past_and_is_of_the_model_that_answered_then() -> None:
    asked = period.asked_period(SERVED, "2026-11-28T10:00:00Z", "2026-11-28T11:00:00Z", NOW)
    assert asked == Period("one", at(28, 10), at(28, 11))


def test_each_part_that_another_model_answered_is_a_window_that_can_be_asked_for() -> None:
    served = [*SERVED, {"run": "three", "since": "2026-11-29T08:00:00Z"}]
    asked = period.asked_period(served, "2026-11-27T10:00:00Z", "2026-11-29T11:00:00Z", NOW)
    parts = (Period("one", at(28, 0), at(29, 6)), Period("two", at(29, 6), at(29, 8)))
    assert asked.skipped == parts
    for part in parts:
        assert period.asked_period(served, period.written(part.start), period.written(part.end), NOW) == part


def test_a_window_that_was_asked_for_is_cut_where_the_model_changed() -> None:
    asked = period.asked_period(SERVED, "2026-11-28T10:00:00Z", "2026-11-29T11:00:00Z", NOW)
    assert (asked.run, asked.start, asked.end) == ("two", at(29, 6), at(29, 11))
    assert "answers since 2026-11-29T06:00:00Z" in asked.cut


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-11-29T11:00:00Z", "2026-11-29T10:00:00Z", "expected a start before the end"),
        ("2026-11-29T11:00:00Z", "2026-11-29T11:00:00Z", "expected a start before the end"),
        ("yesterday", "2026-11-29T11:00:00Z", "Window.Start: got 'yesterday'; expected a time in UTC"),
        ("2026-11-29T10:00:00Z", "2026-11-29T11:00:00", "Window.End: got '2026-11-29T11:00:00'"),
        ("2026-11-29T10:00:00Z", "2026-11-29T13:00:00Z", "is in the future"),
        ("2020-11-29T10:00:00Z", "2026-11-29T11:00:00Z", "expected at most 400"),
        ("2026-11-01T10:00:00Z", "2026-11-02T11:00:00Z", "the first that is known answers since 2026-11-28T00:00:00Z"),
    ],
    ids=lambda value: None,
)
def test_a_window_that_is_none_is_refused_with_what_was_expected(start: str, end: str, said: str) -> None:
    with pytest.raises(WindowError, match=said.replace("(", r"\(")):
        period.asked_period(SERVED, start, end, NOW)


def test_before_any_model_no_window_can_be_asked_for() -> None:
    with pytest.raises(WindowError, match="none is known"):
        period.asked_period([], "2026-11-01T10:00:00Z", "2026-11-02T11:00:00Z", NOW)


def test_a_model_is_noted_once_however_often_it_is_seen() -> None:
    once = period.noted(SERVED, "three", NOW)
    assert once[-1] == {"run": "three", "since": "2026-11-29T12:00:30Z"}
    assert period.noted(once, "three", NOW + DELAY) == once


def test_a_model_that_serves_again_is_noted_again_and_never_before_the_one_that_it_follows() -> None:
    back = period.noted(SERVED, "one", at(20, 0))
    assert [one["run"] for one in back] == ["one", "two", "one"]
    assert back[-1]["since"] == SERVED[-1]["since"]


def test_only_the_newest_models_are_remembered() -> None:
    served: list[dict[str, str]] = []
    for number in range(period.MAX_SERVED + 5):
        served = period.noted(served, str(number), NOW + timedelta(hours=number))
    assert len(served) == period.MAX_SERVED
    assert served[-1]["run"] == str(period.MAX_SERVED + 4)


def test_the_folders_of_a_window_are_its_hours_and_one_more_at_both_ends() -> None:
    assert period.hours(at(29, 23, 30), at(29, 23, 59)) == ("2026/11/29/22", "2026/11/30/01")
