"""The model in service, as Parameter Store names it."""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

from perennial_aws.clients import client, if_there

logger = Logger(child=True)


def current() -> dict[str, str] | None:
    """Return {"ModelName", "EndpointConfigName", "RunId"}, or None before the first model or when it is gone."""
    prefix = os.environ["PARAMETER_PREFIX"]
    fields = {
        f"{prefix}/model": "ModelName",
        f"{prefix}/endpoint-config": "EndpointConfigName",
        f"{prefix}/run": "RunId",
    }
    found = client("ssm").get_parameters(Names=list(fields))["Parameters"]
    champion = {fields[item["Name"]]: item["Value"] for item in found}
    if len(champion) < len(fields):
        return None
    if if_there(client("sagemaker").describe_model, ModelName=champion["ModelName"]) is None:
        logger.warning("the model named in Parameter Store is gone", model=champion["ModelName"])
        return None
    return champion
