"""Of which windows people are told."""

from typing import Any

import pytest

from perennial.monitoring import telling


def judged(verdict: str, hour: int = 10, **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "run": "one", "start": f"{hour - 1}", "end": f"{hour}", "is_newest": True, **more}


@pytest.mark.parametrize(
    ("verdict", "before", "due"),
    [
        ("Drift", [], True), ("Drift", ["Drift"], True), ("BadData", ["Healthy"], True), ("Failed", [], True),
        ("Healthy", [], False), ("Healthy", ["Healthy"], False),
        ("NotEnoughData", [], True), ("NotEnoughData", ["NotEnoughData"], False), ("NotEnoughData", ["Drift"], True),
    ],
)  # fmt: skip
def test_people_are_told_of_what_is_not_healthy_and_not_enough_data_once(
    verdict: str, before: list[str], due: bool
) -> None:
    assert telling.is_due(judged(verdict), before, []) is due


@pytest.mark.parametrize("verdict", ["Drift", "BadData", "Failed", "NotEnoughData"])
def test_whoever_had_bad_news_has_the_good_ones_once(verdict: str) -> None:
    told = telling.bad_news_after(judged(verdict, 9), [])
    assert telling.is_due(judged("Healthy"), [], told)
    assert telling.bad_news_after(judged("Healthy"), told) == []
    assert not telling.is_due(judged("Healthy", 11), [], [])


def test_a_window_of_the_past_that_is_healthy_after_all_takes_back_its_own_bad_news_alone() -> None:
    told = telling.bad_news_after(judged("Drift", 10), telling.bad_news_after(judged("Drift", 9), []))
    past = judged("Healthy", 9, is_newest=False)
    assert telling.is_due(past, [], told)
    rest = telling.bad_news_after(past, told)
    assert rest == [telling.span(judged("Drift", 10))]
    assert not telling.is_due(past, [], rest)
    assert telling.is_due(judged("Healthy", 11), [], rest)


def test_the_same_window_is_bad_news_once_and_only_the_newest_bad_news_are_remembered() -> None:
    told: list[str] = []
    for hour in (9, *range(9, 9 + telling.MAX_BAD_NEWS), 8):
        told = telling.bad_news_after(judged("Drift", hour), told)
    assert (len(told), told[-1]) == (telling.MAX_BAD_NEWS, telling.span(judged("Drift", 8)))
    assert telling.span(judged("Drift", 9)) not in told
