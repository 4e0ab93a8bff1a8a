"""Bind what a job has just written to what will serve: record its version and SHA-256, and copy it out of jobs' reach.

Called by  train_model, states "Seal preprocessor" and "Seal model", each when the job has ended.
Writes     the copy, and the run's record: artifacts
Raises     ArtifactMissingError: the job has left nothing. ArtifactChangedError: what was recorded of this run has
           been replaced since, or what the model in service is made of. Both permanent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import run_record
from perennial_aws import artifacts, payloads

logger = Logger()


@dataclass(frozen=True)
class Request:
    """An artifact as its job has left it, and the model in service, with which the run compares."""

    RunId: str
    Name: Literal["preprocessor", "model"]
    Uri: str
    Champion: run_record.Champion | None


@dataclass(frozen=True)
class Answer:
    """The copy of which the model is made: s3://bucket/runs/<run id>/serving/<name>.tar.gz."""

    Uri: str


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Seal one; then look whether what was sealed before is untouched."""
    request = payloads.read(Request, event)
    uri = artifacts.seal(request.RunId, request.Name, request.Uri)
    artifacts.require_written(request.RunId)
    artifacts.require_sealed_champion(request.Champion)
    logger.info("sealed", run_id=request.RunId, artifact=request.Name, uri=uri)
    return asdict(Answer(uri))
