"""Bind the artefact of a job to what will serve: record its version and SHA-256, and copy it out of jobs' reach.

Called by  train_model, states "Seal preprocessor" and "Seal model", each when the job has ended.
Writes     the copy, and the run's record: artifacts
Raises     ArtifactMissingError: the job has left no artefact. ArtifactChangedError: a recorded artefact of this run, or
           of the model in service, has been replaced since. Both permanent.
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
    """The artefact of a job, and the model in service, with which the run compares."""

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
    """Seal one artefact; then check that those sealed before are unchanged."""
    request = payloads.read(Request, event)
    known = artifacts.seal(request.RunId, request.Name, request.Uri)
    artifacts.require_written(request.RunId, known)
    artifacts.require_sealed_champion(request.Champion)
    uri = known[request.Name]["sealed"]["uri"]
    logger.info("sealed", run_id=request.RunId, artifact=request.Name, uri=uri)
    return asdict(Answer(uri))
