"""The answer to records that the model has scored."""

from __future__ import annotations

import json
from typing import Any

from perennial.serving.problems import failed


def answer(text: str, records: int, inference_id: str, unusual: str) -> dict[str, Any]:
    """Return the answer of the API: a prediction for each record, in their order. Raises ProblemError.

    text     what the endpoint answers, JSON lines; a score that JSON has no number for (Infinity) becomes null
    unusual  what the endpoint counts as unusual about the records (features.record_checks), if anything
    """
    try:
        predictions = [json.loads(line, parse_constant=lambda _: None) for line in text.splitlines()]
    except ValueError as error:
        raise failed("the model's answer is not readable") from error
    if len(predictions) != records:
        raise failed(f"the model gave {len(predictions)} answers to {records} records")
    about = {"unusual": unusual} if unusual else {}
    return {"inference_id": inference_id, **about, "predictions": predictions}
