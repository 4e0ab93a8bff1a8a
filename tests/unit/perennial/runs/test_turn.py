"""Whose turn it is to deploy, and whether a comparison still holds."""

import pytest

from perennial.runs.turn import Listed, decide, is_free
from perennial.runs.work import Holder

OLD = {"ModelName": "cars-1", "EndpointConfigName": "cars-1", "RunId": "1"}
NEW = {"ModelName": "cars-2", "EndpointConfigName": "cars-2", "RunId": "2"}
MINE = Listed("3", "2026-11-20T10:00:00.000Z")
EARLIER, LATER = Listed("2", "2026-11-20T09:59:59.999Z"), Listed("2", "2026-11-20T10:00:00.001Z")


@pytest.mark.parametrize(
    ("holder", "free"),
    [
        (None, True),
        (Holder("3", "Running"), True),
        (Holder("2", "Running"), False),
        (Holder("2", "Succeeded"), True),
        (Holder("2", "Aborted"), True),
        (Holder("2", "Lost"), True),
    ],
)
def test_the_turn_is_free_when_its_holder_has_ended_however_it_ended(holder: Holder | None, free: bool) -> None:
    assert is_free(holder, "3") is free


@pytest.mark.parametrize("compared", [None, OLD])
def test_a_first_model_has_nothing_to_wait_for(compared: dict[str, str] | None) -> None:
    assert decide(MINE, compared, None, None).turn == "Deploy"


@pytest.mark.parametrize("served", [EARLIER, LATER])
def test_a_comparison_with_the_model_in_service_holds(served: Listed) -> None:
    assert decide(MINE, OLD, OLD, served).turn == "Deploy"


@pytest.mark.parametrize("compared", [None, OLD])
def test_a_model_of_older_data_that_came_meanwhile_is_compared_with(compared: dict[str, str] | None) -> None:
    decision = decide(MINE, compared, NEW, EARLIER)
    assert decision.turn == "Compare"
    assert "cars-2" in decision.reason


def test_a_model_whose_age_nobody_knows_is_compared_with() -> None:
    assert decide(MINE, OLD, NEW, Listed("2", "")).turn == "Compare"


def test_a_model_of_newer_data_stays_and_the_reason_names_it() -> None:
    decision = decide(MINE, OLD, NEW, LATER)
    assert decision.turn == "Superseded"
    assert "cars-2" in decision.reason
    assert "run 2" in decision.reason
    assert LATER.at in decision.reason


def test_of_two_listings_in_the_same_millisecond_one_is_newer() -> None:
    twin = Listed("4", MINE.at)
    assert twin.newer_than(MINE) is not MINE.newer_than(twin)
