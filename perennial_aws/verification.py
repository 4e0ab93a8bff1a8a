"""The records that an endpoint is verified by: the first of the test set, with what the candidate predicted for each.

A run leaves them when its candidate is accepted, because its sets go before its model comes into service for the last
time: by an approval, a way back or a promotion, months later. {"record": a line of test/, "answer": its prediction}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from perennial.evaluation import predictions
from perennial.evaluation.predictions import Score
from perennial.runs.keeping import VERIFICATION
from perennial_aws import objects

RECORDS = 5
MOST_REFUSED = 200  # test records that `serving` of the definition refuses, such as those of a new category


def leave(prefix: str) -> None:
    """Write the records of a run, from its test set and the predictions of the candidate; prefix is its folder."""
    records = (
        {"record": record, "answer": answer} for record, answer, _ in islice(_of_sets(prefix), RECORDS + MOST_REFUSED)
    )
    objects.write_text(f"{prefix}/{VERIFICATION}", "".join(f"{json.dumps(one)}\n" for one in records))


def known(prefix: str) -> Iterator[tuple[str, Score]]:
    """Yield (test record as a JSON line, what the batch predicted for it). A run of an earlier version has its sets."""
    bucket, key = objects.split_uri(f"{prefix}/{VERIFICATION}")
    if key not in objects.keys(f"{prefix}/{VERIFICATION}"):
        left = _of_sets(prefix)
    else:
        records = (json.loads(line) for line in objects.lines(bucket, key))
        left = ((one["record"], one["answer"], key) for one in records)
    for record, answer, where in islice(left, RECORDS + MOST_REFUSED):
        yield record, predictions.score(answer, where)


def _of_sets(prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield (test record, its prediction, where that stands), as lines."""
    bucket, _ = objects.split_uri(prefix)
    for key in objects.keys(f"{prefix}/test/"):
        answers = key.replace("/test/", "/predictions/candidate/") + ".out"
        for record, answer in zip(objects.lines(bucket, key), objects.lines(bucket, answers), strict=False):
            yield record, answer, answers
