"""Bind what a job has just written to what will serve: record its version and SHA-256, and copy it out of jobs' reach.

Called by  train_model, states "Seal preprocessor" and "Seal model", each when the job has ended.
Input      {"RunId": str, "Name": "preprocessor" | "model", "Uri": "s3://...", "Champion": {"ModelName", "RunId", ...} |
           None}: the model in service, with which the run compares
Output     {"Uri": "s3://bucket/runs/<run id>/serving/<name>.tar.gz"}, of which the model is made
Writes     the copy, and the run's record: artifacts
Raises     ArtifactMissingError: the job has left nothing. ArtifactChangedError: what was recorded of this run has
           been replaced since, or what the model in service is made of. Both permanent.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial_aws import artifacts

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Seal one; then look whether what was sealed before is untouched."""
    run_id = event["RunId"]
    uri = artifacts.seal(run_id, event["Name"], event["Uri"])
    artifacts.require_written(run_id)
    artifacts.require_sealed_champion(event["Champion"])
    logger.info("sealed", run_id=run_id, artifact=event["Name"], uri=uri)
    return {"Uri": uri}
