"""The records that an endpoint is verified by: the first of the test set, with what the candidate predicted for each.

A run leaves them when its candidate is accepted, because its sets go before its model comes into service for the last
time: by an approval, a way back or a promotion, months later. {"record": a line of test/, "answer": its prediction}
A record may be a series, and its answer a forecast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from perennial.evaluation import forecasts, predictions
from perennial.evaluation.predictions import Score
from perennial.evaluation.problem_types.measures import Floats
from perennial.runs.keeping import VERIFICATION
from perennial_aws import objects

RECORDS = 5
MOST_REFUSED = 200  # test records that `serving` of the definition refuses, such as those of a new category


def leave(prefix: str, *, is_series: bool = False) -> None:
    """Write the records of a run, from its test set and the predictions of the candidate; prefix is its folder.

    Series are long, and none is refused.
    """
    most = RECORDS if is_series else RECORDS + MOST_REFUSED
    records = ({"record": record, "answer": answer} for record, answer, _ in islice(_of_sets(prefix), most))
    objects.write_text(f"{prefix}/{VERIFICATION}", "".join(f"{json.dumps(one)}\n" for one in records))


def known(prefix: str) -> Iterator[tuple[str, Score | Floats]]:
    """Yield (test record as a JSON line, what the batch predicted for it). A run of an earlier version has its sets.

    What was predicted for a series is its forecast.
    """
    bucket, key = objects.split_uri(f"{prefix}/{VERIFICATION}")
    if key not in objects.keys(f"{prefix}/{VERIFICATION}"):
        left = _of_sets(prefix)
    else:
        records = (json.loads(line) for line in objects.lines(bucket, key))
        left = ((one["record"], one["answer"], key) for one in records)
    for record, answer, where in islice(left, RECORDS + MOST_REFUSED):
        yield record, forecasts.answer(answer, where) if _is_forecast(answer) else predictions.score(answer, where)


def _is_forecast(answer: str) -> bool:
    return '"quantiles"' in answer


def _of_sets(prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield (test record, its prediction, where that stands), as lines."""
    bucket, _ = objects.split_uri(prefix)
    for key in objects.keys(f"{prefix}/test/"):
        answers = key.replace("/test/", "/predictions/candidate/") + ".out"
        for record, answer in zip(objects.lines(bucket, key), objects.lines(bucket, answers), strict=False):
            yield record, answer, answers
