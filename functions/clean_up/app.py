"""Delete models and endpoint configurations of earlier runs, beyond the number to keep.

Called by  train_model, state "Clean up".

Kept are: what any endpoint of the account uses or is about to use, the newest MODELS_TO_KEEP models that were ever
deployed (so that one can go back), and all that belongs to a run that is newer or still works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import naming, work
from perennial_aws import payloads, runs
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger()


@dataclass(frozen=True)
class Request:
    """The run that has deployed."""

    RunId: str


@dataclass(frozen=True)
class Answer:
    """Names of models and endpoint configurations."""

    DeletedModels: list[str]
    DeletedEndpointConfigs: list[str]
    Kept: list[str]


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Delete configurations first, so that no configuration is left without its model."""
    stack, run_id = settings.stack_name, payloads.read(Request, event).RunId
    configs, models = runs.with_config(stack), runs.with_model(stack)
    used_configs, used_models = _in_use()
    deployed = sorted(configs, reverse=True)[: settings.models_to_keep]
    earlier = {run for run in configs | models if run < run_id and run not in deployed and not _works(run)}
    deleted_configs = _delete(stack, earlier & configs, used_configs, _delete_config)
    deleted_models = _delete(stack, earlier & models, used_models, _delete_model)
    kept_models = sorted({naming.stem(stack, run) for run in models} - set(deleted_models))
    logger.info("cleaned up", run_id=run_id, deleted_models=len(deleted_models), kept=len(kept_models))
    return asdict(Answer(deleted_models, deleted_configs, kept_models))


def _in_use() -> tuple[set[str], set[str]]:
    """Return (configurations, models) that an endpoint serves or is being updated to."""
    configs = set(_configs_of_endpoints())
    return configs, {model for config in configs for model in _models_of(config)}


def _configs_of_endpoints() -> Iterator[str]:
    for page in client("sagemaker").get_paginator("list_endpoints").paginate():
        for item in page["Endpoints"]:
            # What exists may be deleted between listing and describing.
            description = if_there(client("sagemaker").describe_endpoint, EndpointName=item["EndpointName"]) or {}
            for part in (description, description.get("PendingDeploymentSummary", {})):
                if part.get("EndpointConfigName"):
                    yield part["EndpointConfigName"]


def _models_of(config: str) -> Iterator[str]:
    description = if_there(client("sagemaker").describe_endpoint_config, EndpointConfigName=config) or {}
    for variant in [*description.get("ProductionVariants", []), *description.get("ShadowProductionVariants", [])]:
        if variant.get("ModelName"):
            yield variant["ModelName"]


def _works(run_id: str) -> bool:
    return (runs.get(run_id) or {}).get("status") == work.RUNNING


def _delete(stack: str, run_ids: set[str], used: set[str], delete: Callable[[str], Any]) -> list[str]:
    names = [naming.stem(stack, run) for run in sorted(run_ids)]
    deleted = [name for name in names if name not in used]
    for name in deleted:
        delete(name)
    return deleted


def _delete_config(name: str) -> None:
    if_there(client("sagemaker").delete_endpoint_config, EndpointConfigName=name)


def _delete_model(name: str) -> None:
    if_there(client("sagemaker").delete_model, ModelName=name)
