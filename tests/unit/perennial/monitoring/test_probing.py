"""By which rows a model is judged: requests with labels, or rows that the endpoint was asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.monitoring.probing import BATCH_CHARACTERS, BATCH_ROWS, batches, rows_to_judge

LABELLED = np.array([1.0]), np.array([2.0])
MISSING = "not enough labels: 1 of 600 records"
RUN = "20261129080000-0a1b"
ABOUT: dict[str, Any] = {
    "run": RUN, "rows": 3, "refused": 0, "unasked": 0,
    "data": {"files": 12, "listed_at": "2026-11-29T08:00:00Z", "newest": {"Key": "raw/new.csv", "VersionId": "v1"}},
}  # fmt: skip
PROBE: dict[str, Any] = {"labels": [1.0, 2.0, 3.0], "scores": [1.0, 2.5, None], "about": ABOUT}


def test_requests_that_have_labels_enough_are_judged_whatever_the_endpoint_was_asked() -> None:
    rows = rows_to_judge(LABELLED, "", PROBE, 3)
    assert (rows.labels.tolist(), rows.sentence, rows.are) == ([1.0], "", "labelled records")


def test_where_labels_are_too_few_the_rows_that_the_endpoint_was_asked_about_are_judged_and_named() -> None:
    rows = rows_to_judge(LABELLED, MISSING, PROBE, 3)
    assert rows.labels.tolist() == [1.0, 2.0, 3.0]
    assert rows.scores[:2].tolist() == [1.0, 2.5]
    assert np.isnan(rows.scores[2])
    assert rows.sentence == (
        f"{MISSING}; so the endpoint was probed with 3 labelled rows that its model has not seen, from the test set of "
        f"run {RUN}: 12 data files as of 2026-11-29T08:00:00Z, the newest raw/new.csv"
    )
    assert rows.are == "probed rows"


def test_scores_may_be_those_of_each_class() -> None:
    probe = {"labels": [0.0, 1.0], "scores": [[0.9, 0.1], [0.5, None]], "about": ABOUT}
    assert rows_to_judge(LABELLED, MISSING, probe, 2).scores.shape == (2, 2)


def test_rows_that_were_refused_or_not_asked_about_in_time_are_told() -> None:
    about = {**ABOUT, "refused": 2, "unasked": 1000, "data": {**ABOUT["data"], "newest": None}}
    sentence = rows_to_judge(LABELLED, MISSING, {**PROBE, "about": about}, 3).sentence
    assert sentence.endswith("as of 2026-11-29T08:00:00Z; 2 more were refused; 1,000 more were unasked")


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (None, MISSING),
        ({"reason": "no run since"}, f"{MISSING}; the endpoint was not probed: no run since"),
        (PROBE, f"{MISSING}; the endpoint was probed with 3 rows that its model has not seen; expected 4"),
    ],
)
def test_nothing_is_judged_by_too_few_rows(probe: dict[str, Any] | None, says: str) -> None:
    rows = rows_to_judge(LABELLED, MISSING, probe, 4)
    assert (rows.missing, dict(rows.about), rows.failed) == (says, {}, "")


def test_an_endpoint_that_failed_is_told_as_that() -> None:
    rows = rows_to_judge(LABELLED, MISSING, {"failed": "it does not answer"}, 3)
    assert rows.failed == "the endpoint could not be probed: it does not answer"
    assert rows_to_judge(LABELLED, "", {"failed": "it does not answer"}, 3).failed == ""


def test_requests_have_a_size_that_containers_take() -> None:
    assert [len(one) for one in batches(["{}"] * (2 * BATCH_ROWS + 1))] == [BATCH_ROWS, BATCH_ROWS, 1]
    wide = "x" * (BATCH_CHARACTERS // 2)
    assert [len(one) for one in batches([wide, wide, "x", wide * 3, "x"])] == [2, 1, 1, 1]
    assert batches([]) == []
