"""Retries of EventBridge's deliveries: how many, how long the pauses are, and which limit ends them."""

from itertools import pairwise
from typing import Any

import pytest

from localcloud.engine.eventbridge.deliveries import Delivery


def ages(**policy: int) -> tuple[list[float], str | None]:
    """How old an event is at each try that its target refuses, and the limit that ends them."""
    target: dict[str, Any] = {"Arn": "arn:aws:sqs:us-east-1:000000000000:queue"}
    delivery = Delivery({**target, "RetryPolicy": policy} if policy else target, {}, {})
    tries = [delivery.age_seconds]
    while not delivery.exhausted():
        delivery = delivery.again()
        tries.append(delivery.age_seconds)
    return tries, delivery.exhausted()


def test_without_a_policy_an_event_is_retried_185_times_over_most_of_a_day() -> None:
    tries, condition = ages()

    assert (len(tries), condition) == (186, "MaximumRetryAttempts")
    assert 0.75 * 86_400 < tries[-1] < 86_400


def test_pauses_double_from_a_second_to_ten_minutes_and_are_never_shortened_by_more_than_half() -> None:
    tries, _ = ages()

    pauses = [later - earlier for earlier, later in pairwise(tries)]
    for number, pause in enumerate(pauses):
        longest = min(2.0**number, 600)
        assert longest / 2 <= pause + 1e-6
        assert pause <= longest + 1e-6
    assert len({round(pause, 3) for pause in pauses[-20:]}) > 10


@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_a_policy_says_how_often(attempts: int) -> None:
    tries, condition = ages(MaximumRetryAttempts=attempts)

    assert (len(tries), condition) == (1 + attempts, "MaximumRetryAttempts")


def test_the_last_try_is_when_the_event_is_as_old_as_the_policy_lets_it_become() -> None:
    tries, condition = ages(MaximumEventAgeInSeconds=3600)

    assert (tries[-1], condition) == (3600, "MaximumEventAgeInSeconds")
    assert max(tries[:-1]) < 3600
