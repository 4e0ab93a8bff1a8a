"""Ask the endpoint about labelled rows that its model has not seen, for windows whose traffic brings too few labels.

Called by  monitor_model, state "Probe endpoint", where model.yaml wants it (monitoring.probing).
Reads      monitoring/<window id>/config.json; test sets of later runs than that whose model answers, their labels, and
           the hashes of the rows of both (perennial_aws.unseen_rows)
Writes     monitoring/<window id>/probe.json (perennial.monitoring.probing): labels and scores, or why there is nothing
           to ask about, or how the endpoint failed, which fails that analysis alone
Raises     botocore's ClientError: a permission is missing, which says nothing of the endpoint. Permanent.

The inference ids of the questions tell them from traffic: probe-<window id>-<number>.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from perennial.evaluation.predictions import Score
from perennial.monitoring import probing
from perennial.runs import naming
from perennial.runs.endpoint import PROBE, serves
from perennial_aws import objects, payloads, unseen_rows
from perennial_aws.asking import RefusedError, UnansweredError, ask
from perennial_aws.clients import client, code_of, if_there
from perennial_aws.settings import settings

logger = Logger()

# Since the function began; one question more may take three times 65, and the function has 300.
SECONDS = 100


@dataclass(frozen=True)
class Request:
    """A window with its folder, s3://bucket/monitoring/<window id>, and the run whose model answered in it."""

    WindowId: str
    RunId: str
    Prefix: str


@dataclass(frozen=True)
class Answer:
    """The number of rows that the endpoint has answered; Reason: why there are none."""

    Rows: int
    Reason: str


class _Questions:
    """Asks about records, as long as there is time; counts what the endpoint refuses and what was not asked."""

    def __init__(self, window_id: str, until: float) -> None:
        self._window_id, self._until = window_id, until
        self._number = self.refused = self.unasked = 0

    def scores(self, records: list[str]) -> list[Score | None]:
        """Return the score of each record; None where there is none. What refuses some of many is asked by halves."""
        if time.monotonic() > self._until:
            self.unasked += len(records)
            return [None] * len(records)
        try:
            return [*ask(settings.endpoint_name, records, f"{PROBE}{self._window_id}-{self._next()}")]
        except RefusedError:
            if len(records) > 1:
                half = len(records) // 2
                return self.scores(records[:half]) + self.scores(records[half:])
            self.refused += 1
            return [None]

    def _next(self) -> int:
        self._number += 1
        return self._number - 1


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Leave what the window's job judges the model by where labels are missing."""
    request = payloads.read(Request, event)
    document = _probe(request, time.monotonic() + SECONDS)
    objects.write_json(f"{request.Prefix}/{probing.FILE}", document)
    answer = Answer(len(document.get("scores", ())), document.get("reason") or document.get("failed") or "")
    logger.info("probed", window_id=request.WindowId, rows=answer.Rows, reason=answer.Reason)
    return asdict(answer)


def _probe(request: Request, until: float) -> dict[str, Any]:
    wanted = objects.read_json(f"{request.Prefix}/config.json")["definition"]["monitoring"]["probing"]["rows"]
    another = f"the model of run {request.RunId} does not serve now, or is about to be replaced"
    if not _serves(request.RunId):
        return {"reason": another}
    try:
        rows = unseen_rows.newest(request.RunId, wanted, until)
        answered = _answered(rows, _Questions(request.WindowId, until))
    except unseen_rows.NothingUnseenError as error:
        return {"reason": str(error)}
    except UnansweredError as error:
        return {"failed": str(error)}
    except ClientError as error:
        if error.operation_name != "InvokeEndpoint" or code_of(error) == "AccessDeniedException":
            raise
        return {"failed": f"endpoint {settings.endpoint_name}: {error}"}
    return answered if _serves(request.RunId) else {"reason": another}


def _serves(run: str) -> bool:
    description = if_there(client("sagemaker").describe_endpoint, EndpointName=settings.endpoint_name)
    return description is not None and serves(description, naming.stem(settings.stack_name, run))


def _answered(rows: unseen_rows.UnseenRows, questions: _Questions) -> dict[str, Any]:
    scores = [score for records in probing.batches(rows.records) for score in questions.scores(records)]
    both = [(label, score) for label, score in zip(rows.labels, scores, strict=True) if score is not None]
    counts = {"rows": len(both), "refused": questions.refused, "unasked": questions.unasked}
    about = {"run": rows.run, **counts, "data": rows.data}
    return {"labels": [label for label, _ in both], "scores": [score for _, score in both], "about": about}
