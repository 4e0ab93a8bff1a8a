"""What is said of an answer about a version to whoever has given it."""

from itertools import count

import pytest

from perennial.registry.approval import APPROVED, PENDING, REJECTED, outcome


@pytest.mark.parametrize(
    ("number", "status", "before", "serving", "newest", "said"),
    [
        (3, APPROVED, PENDING, 2, 3, "Until a run has deployed it, version 2 is in service."),
        (1, APPROVED, PENDING, None, 1, "Until a run has deployed it, nothing is in service."),
        (3, APPROVED, REJECTED, 4, 3, "Until a run has deployed it, version 4 is in service."),
        (3, APPROVED, APPROVED, 2, 3, "Nothing follows, because only a change is heard; version 2 is in service. Wh"),
        (1, APPROVED, PENDING, 2, 2, "It is not deployed: version 2 is in service, and of the approved versions only"),
        (1, APPROVED, PENDING, 2, 3, "It is not deployed: version 3 is approved as well, and version 2 is in service,"),
        (2, APPROVED, PENDING, 2, 2, "It is in service."),
        (1, REJECTED, APPROVED, 2, 2, "As before, version 2 is in service."),
        (1, REJECTED, PENDING, None, None, "As before, nothing is in service."),
        (2, REJECTED, APPROVED, 2, 1, "It stays in service until version 1 is deployed."),
        (2, REJECTED, APPROVED, 2, None, "It stays in service because no other version is approved."),
    ],
    ids=count(1),
)
def test_what_follows_from_an_answer_is_told(
    number: int, status: str, before: str, serving: int | None, newest: int | None, said: str
) -> None:
    assert outcome(number, status, before, serving=serving, newest=newest).startswith(said)
