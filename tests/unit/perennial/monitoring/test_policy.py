"""What follows from a verdict, by each key of monitoring.retraining."""

from datetime import UTC, datetime
from typing import Any

import pytest

from perennial.model.definition import Retraining
from perennial.monitoring import policy

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def rules(**changed: Any) -> dict[str, Any]:
    return Retraining(**changed).model_dump()


def window(verdict: str, hour: int, **more: Any) -> dict[str, Any]:
    return {"id": str(hour), "run": "one", "start": f"2026-11-29T{hour - 1:02}:00:00Z",
            "end": f"2026-11-29T{hour:02}:00:00Z", "verdict": verdict, "labelled_rows": 50, **more}  # fmt: skip


def decided(*windows: dict[str, Any], **changed: Any) -> policy.Decision:
    """What is decided about the last of these windows."""
    found = policy.decide(windows[-1], windows, rules(**changed), NOW)
    assert found is not None
    return found


def test_drift_with_rows_to_learn_from_retrains_by_default() -> None:
    assert decided(window("Drift", 11)) == policy.Decision(
        True, "drift starts a training run with 50 new labelled rows"
    )


@pytest.mark.parametrize("verdict", ["Healthy", "BadData", "NotEnoughData", "Failed"])
def test_nothing_but_drift_retrains(verdict: str) -> None:
    assert policy.decide(window(verdict, 11), [window(verdict, 11)], rules(), NOW) is None


def test_a_policy_that_only_tells_does_not_retrain() -> None:
    assert "action: notify" in decided(window("Drift", 11), action="notify").reason
    assert decided(window("Drift", 11), action="retrain").retrain


def test_breaches_have_to_come_in_a_row() -> None:
    assert "1 of 2 windows" in decided(window("Drift", 11), breaches=2).reason
    assert "1 of 2" in decided(window("Drift", 9), window("Healthy", 10), window("Drift", 11), breaches=2).reason
    assert decided(window("Drift", 10), window("Drift", 11), breaches=2).retrain


def test_a_window_without_enough_data_neither_adds_a_breach_nor_ends_the_row() -> None:
    assert decided(window("Drift", 9), window("NotEnoughData", 10), window("Drift", 11), breaches=2).retrain
    assert not decided(window("NotEnoughData", 10), window("Drift", 11), breaches=2).retrain


def test_breaches_are_those_of_one_model() -> None:
    before = window("Drift", 9, run="the one before")
    assert "1 of 2" in decided(before, window("NotEnoughData", 10), window("Drift", 11), breaches=2).reason
    assert decided(before, window("Drift", 10), window("Drift", 11), breaches=2).retrain


def test_a_retraining_starts_the_count_of_breaches_anew() -> None:
    before = window("Drift", 9, retrained_at="2026-11-28T09:00:00Z")
    assert "1 of 2" in decided(before, window("Drift", 11), breaches=2).reason


def test_between_two_retrainings_there_is_a_rest() -> None:
    before = window("Drift", 9, retrained_at="2026-11-29T09:00:00Z")
    assert "not before 2026-11-29 15:00 UTC" in decided(before, window("Drift", 11)).reason
    assert decided(before, window("Drift", 11), cooldown_hours=3).retrain


def test_drift_starts_no_more_runs_a_day_than_allowed() -> None:
    before = [window("Drift", hour, retrained_at=f"2026-11-29T{hour:02}:00:00Z") for hour in (7, 8, 9, 10)]
    assert "started 4 runs within a day" in decided(*before, window("Drift", 11), cooldown_hours=0).reason
    assert decided(*before, window("Drift", 11), cooldown_hours=0, runs_a_day=5).retrain


def test_without_new_labelled_rows_retraining_would_change_nothing_and_the_reason_says_what_helps() -> None:
    one = window("Drift", 11, labelled_rows=0)
    found = policy.decide(one, [one], rules(), NOW, "name a key in model.yaml")
    assert found is not None
    assert not found.retrain
    assert "would change nothing; name a key in model.yaml" in found.reason
    assert decided(window("Drift", 11, labelled_rows=0), min_labelled_rows=0).retrain


def test_rows_that_no_retraining_has_had_count_together() -> None:
    had = window("Drift", 8, retrained_at="2026-11-28T08:00:00Z")
    history = [had, window("Drift", 9), window("Healthy", 10, labelled_rows=0), window("Drift", 11)]
    assert [one["id"] for one in policy.unlearned(history, "11")] == ["9", "11"]
    assert decided(*history, min_labelled_rows=100).retrain
    assert not decided(*history, min_labelled_rows=101).retrain


def test_only_the_newest_window_decides() -> None:
    history = [window("Drift", 10), window("Healthy", 11)]
    found = policy.decide(history[0], history, rules(), NOW)
    assert found is not None
    assert "a later window" in found.reason


def test_a_window_of_a_model_that_no_longer_serves_retrains_nothing() -> None:
    one = window("Drift", 10)
    found = policy.decide(one, [one], rules(), NOW, serving="two")
    assert found == policy.Decision(False, "the model of run one no longer serves: windows of run two decide")
    assert policy.decide(one, [one], rules(), NOW, serving="one") == decided(one)


def test_a_window_that_has_started_a_run_starts_no_other_when_it_is_judged_again() -> None:
    again = window("Drift", 11, retrained_at="2026-11-28T09:00:00Z")
    assert decided(again).reason == "this window has started a run already, at 2026-11-28T09:00:00Z"


def test_a_window_that_is_judged_again_takes_its_own_place_and_keeps_its_retraining() -> None:
    before = [window("Drift", 10, retrained_at="2026-11-29T10:05:00Z"), window("Healthy", 11)]
    again = {**window("Healthy", 10), "id": "again"}
    after = policy.remembered(before, again)
    assert [one["id"] for one in after] == ["again", "11"]
    assert after[0]["retrained_at"] == "2026-11-29T10:05:00Z"


def test_only_the_newest_windows_are_remembered() -> None:
    known: list[dict[str, Any]] = []
    for number in range(policy.MAX_WINDOWS + 5):
        entry = {**window("Healthy", 1), "end": f"{2000 + number}-01-01T00:00:00Z"}
        known = policy.remembered(known, entry)
    assert len(known) == policy.MAX_WINDOWS
    assert known[0]["end"] == "2005-01-01T00:00:00Z"


def test_the_limit_of_the_model_before_is_known_where_it_was_another() -> None:
    def one(hour: int, run: str, limit: float, name: str = "rmse") -> dict[str, Any]:
        return window("Healthy", hour, run=run, metric={"name": name, "limit": limit})

    none = window("NotEnoughData", 10, run="two", metric=None)
    history = [one(8, "one", 8.0), one(9, "two", 13.8), none, one(11, "three", 16.1), one(12, "three", 16.1)]
    found = [policy.limit_before(history, str(hour)) for hour in (8, 9, 10, 11, 12)]
    two = {"run": "two", "limit": 13.8}
    assert found == [None, {"run": "one", "limit": 8.0}, None, two, two]
    assert policy.limit_before([one(8, "one", 8.0), one(9, "two", 8.0)], "9") is None
    assert policy.limit_before([one(8, "one", 8.0, "mae"), one(9, "two", 9.0)], "9") is None
    assert policy.limit_before([], "9") is None


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (None, "all that there are"), ({"days": 90, "column": "sold"}, "those of 90 days"),
        ({"newest_files": 12}, "those of the newest 12 files"),
    ],
)  # fmt: skip
def test_what_trains_beside_the_drifted_window_is_said_with_the_key_that_limits_it(limit: Any, said: str) -> None:
    text = policy.what_trains({"training": {"window": limit}})
    assert said in text
    assert "training.window of model.yaml" in text


def test_where_only_the_newest_file_trains_nothing_is_to_be_said() -> None:
    assert policy.what_trains({"training": {"window": {"newest_files": 1}}}) == ""


def test_what_was_judged_ends_where_the_newest_window_ends() -> None:
    assert policy.judged_until([]) is None
    windows = [window("Drift", 9), window("BadData", 10), window("NotEnoughData", 11)]
    assert policy.judged_until(windows) == "2026-11-29T11:00:00Z"


def test_a_failed_window_is_judged_once_more_with_the_next_and_does_not_grow_without_end() -> None:
    history, ends = [window("Healthy", 9)], []
    for hour in (10, 11, 12, 13, 14):
        failed = {**window("Failed", hour), "start": policy.judged_until(history)}
        history = policy.remembered(history, failed)
        ends.append((failed["start"][11:13], hour))
    assert ends == [("09", 10), ("09", 11), ("11", 12), ("11", 13), ("13", 14)]


def test_a_failed_window_before_one_that_was_judged_is_not_gone_back_to() -> None:
    assert policy.judged_until([window("Failed", 9), window("Healthy", 10)]) == "2026-11-29T10:00:00Z"
    again = policy.remembered([window("Healthy", 9), window("Failed", 10)], {**window("Healthy", 10), "id": "again"})
    assert policy.judged_until(again) == "2026-11-29T10:00:00Z"


def test_the_course_of_the_metric_is_that_of_earlier_windows() -> None:
    metric = {"name": "rmse", "value": 480.5, "interval": [470.0, 490.0], "limit": 500.0}
    history = [window("Healthy", 9, metric=metric), window("NotEnoughData", 10, metric=None), window("Drift", 11)]
    assert policy.course(history, history[-1]["end"]) == [
        {"end": "2026-11-29T09:00:00Z", "run": "one", "verdict": "Healthy", "metric": "rmse", "value": 480.5,
         "limit": 500.0},
        {"end": "2026-11-29T10:00:00Z", "run": "one", "verdict": "NotEnoughData", "metric": None, "value": None,
         "limit": None},
    ]  # fmt: skip
