"""Put the predictions of a file where people read them, and the file aside.

Called by  score_batch, state "Finish batch", when its jobs have ended: the predictions are whole.
Reads      batch/work/<batch id>/result/report.json
Writes     batch/scored/<batch id>/<name>, <name>.report.json and <name>.report.html; batch/done/<batch id>/<name>;
           what the monitor reads below capture/<endpoint>/batch/. Last it deletes the version of the file that was
           scored from batch/incoming/: one that was dropped under the same name meanwhile stays. Tried again it comes
           to the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial_aws import batches, objects, payloads
from perennial_aws.clients import client
from perennial_aws.settings import settings

logger = Logger()


@dataclass(frozen=True)
class Request:
    """A batch whose jobs have ended."""

    BatchId: str
    Work: str
    Key: str
    VersionId: str


@dataclass(frozen=True)
class Answer:
    """Where the predictions are, their report and the original, and how many rows have a prediction.

    Page  the report for people; None where it could not be drawn
    """

    Scored: str
    Report: str
    Page: str | None
    Done: str
    Rows: int
    Predictions: int


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Move what is whole."""
    request = payloads.read(Request, event)
    report, name = objects.read_json(f"{request.Work}/result/report.json"), batches.relative(request.Key)
    scored = f"{batches.folder('scored', request.BatchId)}/{name}"
    done = f"{batches.folder('done', request.BatchId)}/{name}"
    batches.copy(f"{request.Work}/result/result", scored)
    batches.copy(f"{request.Work}/result/report.json", f"{scored}.report.json")
    page = f"{scored}.report.html" if "file" in report.get("page", {}) else None
    if page:
        batches.copy(f"{request.Work}/result/{report['page']['file']}", page)
    _hand_to_monitor(request, report)
    batches.copy(f"{request.Work}/input/data", done)
    client("s3").delete_object(Bucket=settings.bucket, Key=request.Key, VersionId=request.VersionId)
    logger.info("finished", batch_id=request.BatchId, rows=report["rows"], scored=report["scored"])
    return asdict(Answer(scored, f"{scored}.report.json", page, done, report["rows"], report["scored"]))


def _hand_to_monitor(request: Request, report: dict[str, Any]) -> None:
    """Put scored rows among the captured requests, below the hour that they are of."""
    hour = f"{datetime.fromisoformat(report['captured_at']):%Y/%m/%d/%H}"
    for key in objects.keys(f"{request.Work}/result/capture/"):
        part = key.rpartition("/")[2]
        target = f"s3://{settings.bucket}/capture/{settings.endpoint_name}/batch/{hour}/{request.BatchId}-{part}"
        batches.copy(f"s3://{settings.bucket}/{key}", target)
