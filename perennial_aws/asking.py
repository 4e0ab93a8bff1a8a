"""Asking the endpoint about records whose answers are judged; what it says of a fault is passed on in its own words."""

from __future__ import annotations

import json
from collections.abc import Sequence

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from perennial.evaluation import forecasts, predictions
from perennial.evaluation.predictions import Score
from perennial.evaluation.problem_types.measures import Floats
from perennial_aws.clients import client, code_of

JSON, JSON_LINES = "application/json", "application/jsonlines"


class UnansweredError(Exception):
    """The endpoint does not answer, or with something else than a score for each record."""


class RefusedError(UnansweredError):
    """The endpoint answers with 400: a record is not as `serving` of the definition wants it."""


def ask(endpoint: str, records: Sequence[str], inference_id: str) -> list[Score]:
    """Return the score of each record, a JSON line, or those of each class; raises UnansweredError.

    An error that says nothing of endpoint and records, such as a missing permission, is botocore's own.
    """
    answer = _answer(endpoint, JSON_LINES, "\n".join(records), inference_id)
    return _scores(answer, len(records), f"the answer of endpoint {endpoint}")


def ask_series(endpoint: str, record: str, inference_id: str) -> Floats:
    """Return the forecast of a series, a JSON line, as `ask` does (evaluation.forecasts)."""
    request = {"instances": [json.loads(record)], "configuration": forecasts.CONFIGURATION}
    answer, where = _answer(endpoint, JSON, json.dumps(request), inference_id), f"the answer of endpoint {endpoint}"
    try:
        (forecast,) = json.loads(answer)["predictions"]
        return forecasts.forecast(forecast, where)
    except (ValueError, KeyError, TypeError) as error:
        text = str(error) if isinstance(error, predictions.PredictionsError) else f"{where} holds no forecast"
        raise UnansweredError(text) from error


def _answer(endpoint: str, media_type: str, body: str, inference_id: str) -> str:
    try:
        reply = client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint, ContentType=media_type, Accept=media_type, InferenceId=inference_id,
            Body=body.encode(),
        )  # fmt: skip
        return str(reply["Body"].read().decode("utf-8", "replace"))
    except ClientError as error:
        if code_of(error) not in ("ModelError", "ValidationError"):
            raise
        kind = RefusedError if error.response.get("OriginalStatusCode") == 400 else UnansweredError
        raise kind(f"endpoint {endpoint} refuses a test record: {_refusal(error)}") from error
    except (ConnectionError, HTTPClientError) as error:
        raise UnansweredError(f"endpoint {endpoint} does not answer: {error}") from error


def _scores(answer: str, records: int, where: str) -> list[Score]:
    try:
        scores = predictions.scores(answer.splitlines(), where)
    except predictions.PredictionsError as error:
        raise UnansweredError(str(error)) from error
    if len(scores) != records:
        raise UnansweredError(f"{where}: {len(scores)} scores for {records} records")
    answered: list[Score] = scores.tolist()
    return answered


def _refusal(error: ClientError) -> str:
    """Return the model's own words, if there are some."""
    reason = error.response.get("OriginalMessage") or error.response["Error"].get("Message", "")
    return f"{code_of(error)} {error.response.get('OriginalStatusCode', '')}: {str(reason)[:300]}"
