"""Serve the target's unit: answers of the algorithm in, the same answers with their scores turned back, out.

Called by  the scikit-learn serving container (script mode), as code/postprocess.py of the preprocessor's model.tar.gz:
           the last container of a pipeline whose model learned the logarithm of its target (target.transform: log).
Input      what the algorithm answers: text/csv, bare numbers, one a line (XGBoost; also all of them in one line);
           application/jsonlines, {"score": x} a line; application/json, {"predictions": [{"score": x}]}
Output     the same records in the same order with exp(score), in the form that the request accepts; where it accepts
           anything, in the form that came. A score beyond the largest double is Infinity, as XGBoost spells it.
Refuses    with status 406, text/plain: a form that cannot be made, such as recordio. An answer that cannot be read is
           a bug and raises.
Why        scores are read from any form, because SageMaker does not say whether containers before the last one are
           sent the caller's Accept header; exp(mean of logarithms) is the middle of what a record may cost, and below
           its mean where the noise is large: docs/decisions/0010 has the measurement.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CSV, JSON_LINES, JSON, ANY = "text/csv", "application/jsonlines", "application/json", "*/*"
TRANSFORMS = {"log": math.exp}


@dataclass(frozen=True)
class Answer:
    """Scores in the unit that the algorithm learned, and the media type that they came in."""

    scores: list[float | None]
    media_type: str


def model_fn(model_dir: str) -> str:
    """Return the transform of the target, from an unpacked model.tar.gz."""
    document = json.loads((Path(model_dir) / "preprocessor.json").read_text(encoding="utf-8"))
    transform: str = document["target_transform"]
    if transform not in TRANSFORMS:
        raise ValueError(f"preprocessor.json: target_transform is {transform!r}; expected {', '.join(TRANSFORMS)}")
    return transform


def input_fn(body: bytes | bytearray | str, content_type: str | None) -> Answer:
    """Read the algorithm's answer."""
    media_type = _media_type(content_type or CSV)
    text = body if isinstance(body, str) else bytes(body).decode("utf-8")
    if media_type == JSON:
        return Answer([_score(item) for item in json.loads(text)["predictions"]], media_type)
    lines = [line for line in text.splitlines() if line.strip()]
    if media_type == JSON_LINES:
        return Answer([_score(json.loads(line)) for line in lines], media_type)
    return Answer([float(field) for line in lines for field in line.split(",")], media_type)


def predict_fn(answer: Answer, transform: str) -> Answer:
    """Return the answer in the target's unit."""
    return Answer([_turned_back(score, transform) for score in answer.scores], answer.media_type)


def output_fn(answer: Answer, accept: str | None) -> Any:
    """Return the answer as text with its type."""
    wanted = _media_type(accept or ANY)
    media_type = answer.media_type if wanted == ANY else wanted
    if media_type == JSON:
        return json.dumps({"predictions": [{"score": score} for score in answer.scores]}), JSON
    if media_type == JSON_LINES:
        return "".join(f"{json.dumps({'score': score})}\n" for score in answer.scores), JSON_LINES
    if media_type == CSV:
        return "".join(f"{score}\n" for score in answer.scores), CSV
    from sagemaker_containers.beta.framework import worker  # only the container has it

    reason = f"Accept {media_type}: expected {CSV}, {JSON_LINES} or {JSON}, where target.transform is not none"
    return worker.Response(response=reason, status=406, mimetype="text/plain")


def _score(item: Any) -> float | None:
    score = item["score"] if isinstance(item, dict) else item
    return None if score is None else float(score)


def _turned_back(score: float | None, transform: str) -> float | None:
    try:
        return None if score is None else TRANSFORMS[transform](score)
    except OverflowError:
        return math.inf


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
