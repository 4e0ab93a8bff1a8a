"""What is there under the names of a version that is deployed later: kept where it is as it would be made now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from perennial.runs import made_before
from perennial_aws.clients import client, if_there

logger = Logger(child=True)


def keep_or_delete(model: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether model and configuration are there; what its request would make otherwise is deleted.

    Neither may serve: whoever asks has the turn to deploy, and what serves has other names.
    """
    sagemaker = client("sagemaker")
    requests = (("Configuration", "EndpointConfigName", configuration), ("Model", "ModelName", model))
    operations = {
        "Configuration": (sagemaker.describe_endpoint_config, sagemaker.delete_endpoint_config),
        "Model": (sagemaker.describe_model, sagemaker.delete_model),
    }
    there = {}
    for kind, member, request in requests:
        (describe, delete), name = operations[kind], {member: request[member]}
        described = if_there(describe, **name)
        there[kind] = described is not None and made_before.is_as_asked(request, described)
        if described is not None and not there[kind]:
            logger.info("made under other settings, and made again", kind=kind, **name)
            delete(**name)
    return there
