"""Serve the target itself: answers of the algorithm in, the same answers with their scores turned back, out.

Called by  the scikit-learn serving container (script mode), as code/postprocess.py of the preprocessor's model.tar.gz:
           the last container of a pipeline whose model learned the logarithm of its target (target.transform: log) or
           the numbers of its classes (problem: multiclass_classification).
Input      what the algorithm answers: text/csv, bare numbers, one a line (XGBoost; also all of them in one line), of
           classes as many as these for each record; application/jsonlines, {"score": x} a line; application/json,
           {"predictions": [{"score": x}]}. Of classes x is a list of their probabilities
Output     the same records in the same order, in the form that the request accepts; where it accepts anything, in the
           form that came. Of a logarithm exp(score); one beyond the largest double is Infinity, as XGBoost spells it.
           Of classes the most probable one, as a value of the target, and the probabilities in the order of model.yaml:
           {"score": [x, ...], "predicted_label": value}, in text/csv value,x,...
Refuses    with status 406, text/plain: a form that cannot be made, such as recordio. An answer that cannot be read is
           a bug and raises.
Why        scores are read from any form, because SageMaker does not say whether containers before the last one are
           sent the caller's Accept header; exp(mean of logarithms) is the middle of what a record may cost, and below
           its mean where the noise is large: docs/decisions/0010 has the measurement.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CSV, JSON_LINES, JSON, ANY = "text/csv", "application/jsonlines", "application/json", "*/*"
TRANSFORMS = {"log": math.exp}
CLASSES = "classes"
_NO_BRACKETS = str.maketrans("", "", "[] ")  # of lists, which XGBoost's container writes in a batch

Score = float | None


@dataclass(frozen=True)
class Target:
    """How answers are turned back. `classes` are values of the target, in the order of their numbers."""

    transform: str
    classes: Sequence[str | int] = ()


@dataclass(frozen=True)
class Answer:
    """The algorithm's answer, and the media type that it came in."""

    text: str
    media_type: str


@dataclass(frozen=True)
class Predictions:
    """What is said of each record, and the media type that the algorithm's answer came in."""

    records: Sequence[dict[str, Any]]
    media_type: str


def model_fn(model_dir: str) -> Target:
    """Return how answers are turned back, from an unpacked model.tar.gz."""
    document = json.loads((Path(model_dir) / "preprocessor.json").read_text(encoding="utf-8"))
    transform: str = document["target_transform"]
    if transform not in (*TRANSFORMS, CLASSES):
        expected = ", ".join((*TRANSFORMS, CLASSES))
        raise ValueError(f"preprocessor.json: target_transform is {transform!r}; expected {expected}")
    return Target(transform, document.get("classes", ()))


def input_fn(body: bytes | bytearray | str, content_type: str | None) -> Answer:
    """Take the algorithm's answer in; `predict_fn`, which knows the target, reads it."""
    return Answer(body if isinstance(body, str) else bytes(body).decode("utf-8"), _media_type(content_type or CSV))


def predict_fn(answer: Answer, target: Target) -> Predictions:
    """Return what the answer says of each record: scores in the target's unit, or the class and its probabilities."""
    if target.transform == CLASSES:
        records = [_classified(scores, target.classes) for scores in _lists(answer, len(target.classes))]
    else:
        records = [{"score": _turned_back(score, target.transform)} for score in _scores(answer)]
    return Predictions(records, answer.media_type)


def output_fn(predictions: Predictions, accept: str | None) -> Any:
    """Return the predictions as text with its type."""
    wanted = _media_type(accept or ANY)
    media_type = predictions.media_type if wanted == ANY else wanted
    if media_type == JSON:
        return json.dumps({"predictions": predictions.records}), JSON
    if media_type == JSON_LINES:
        return "".join(f"{json.dumps(record)}\n" for record in predictions.records), JSON_LINES
    if media_type == CSV:
        return _csv(predictions.records), CSV
    from sagemaker_containers.beta.framework import worker  # only the container has it

    reason = f"Accept {media_type}: expected {CSV}, {JSON_LINES} or {JSON} of this model"
    return worker.Response(response=reason, status=406, mimetype="text/plain")


# ---- Reading


def _scores(answer: Answer) -> list[Score]:
    if answer.media_type == CSV:
        return [*map(float, _fields(answer.text))]
    return [_number(score) for score in _of_json(answer)]


def _lists(answer: Answer, count: int) -> list[list[Score]]:
    """Return the probabilities of all classes, of each record."""
    if answer.media_type == CSV:
        flat = [*map(float, _fields(answer.text))]
        lists: list[list[Score]] = [[*flat[start : start + count]] for start in range(0, len(flat), count)]
    else:
        lists = [[_number(one) for one in scores] for scores in _of_json(answer)]
    for position, scores in enumerate(lists):
        if len(scores) != count:
            raise ValueError(f"record {position + 1}: {len(scores)} scores; expected one for each of {count} classes")
    return lists


def _fields(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip():
            yield from line.translate(_NO_BRACKETS).split(",")


def _of_json(answer: Answer) -> Iterator[Any]:
    if answer.media_type == JSON:
        items = json.loads(answer.text)["predictions"]
    else:
        items = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
    return (item["score"] if isinstance(item, dict) else item for item in items)


def _number(score: Any) -> Score:
    return None if score is None else float(score)


# ---- Turning back and writing


def _classified(scores: Sequence[Score], classes: Sequence[str | int]) -> dict[str, Any]:
    known = [score for score in scores if score is not None and not math.isnan(score)]
    label = classes[scores.index(max(known))] if len(known) == len(scores) else None
    return {"score": scores, "predicted_label": label}


def _turned_back(score: Score, transform: str) -> Score:
    try:
        return None if score is None else TRANSFORMS[transform](score)
    except OverflowError:
        return math.inf


def _csv(records: Sequence[dict[str, Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for record in records:
        scores = record["score"]
        writer.writerow([record["predicted_label"], *scores] if isinstance(scores, list) else [scores])
    return written.getvalue()


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
