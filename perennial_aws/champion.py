"""The model in service, as Parameter Store names it."""

from __future__ import annotations

from typing import cast

from aws_lambda_powertools import Logger

from perennial.runs import naming
from perennial.runs.run_record import Champion
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger(child=True)


def run_of(serving: Champion) -> str:
    """Return the run that made a model: the model's name says it, also when the export of the names was cut short."""
    return naming.run_of(settings.stack_name, serving["ModelName"]) or serving["RunId"]


def version_arn() -> str | None:
    """Return the version of the model in service, or None before the first; Parameter Store names it with the model."""
    return _exported("model-package")


def config_name() -> str | None:
    """Return the endpoint configuration of the model in service, or None before the first."""
    return _exported("endpoint-config")


def _exported(name: str) -> str | None:
    parameters = client("ssm").get_parameters(Names=[f"{settings.parameter_prefix}/{name}"])["Parameters"]
    return str(parameters[0]["Value"]) if parameters else None


def current() -> Champion | None:
    """Return the model in service, or None before the first model or when it is gone."""
    prefix = settings.parameter_prefix
    fields = {
        f"{prefix}/model": "ModelName",
        f"{prefix}/endpoint-config": "EndpointConfigName",
        f"{prefix}/run": "RunId",
    }
    parameters = client("ssm").get_parameters(Names=list(fields))["Parameters"]
    champion = {fields[item["Name"]]: item["Value"] for item in parameters}
    if len(champion) < len(fields):
        return None
    if if_there(client("sagemaker").describe_model, ModelName=champion["ModelName"]) is None:
        logger.warning("the model named in Parameter Store is gone", model=champion["ModelName"])
        return None
    return cast(Champion, champion)
