"""The definition of the model in service, remembered, and read again when another model serves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from perennial.serving.requests import RecordContract
from perennial_aws.clients import impatient
from perennial_aws.settings import settings

logger = Logger(child=True)

FRESH_SECONDS = 30.0


@dataclass(frozen=True)
class ServedModel:
    """The run whose model serves, its definition as config.json has it, and what it expects of records."""

    run: str
    definition: Mapping[str, Any]
    records: RecordContract


class Memory:
    """What this process knows of the model in service."""

    def __init__(self) -> None:
        self._model: ServedModel | None = None
        self._looked = 0.0

    def model(self, fresh_seconds: float = FRESH_SECONDS) -> ServedModel | None:
        """Return the model in service, as it was so many seconds ago at most; None before the first one.

        While Parameter Store or the bucket does not answer, what is known counts. Raises botocore's error: nothing is.
        """
        now = time.monotonic()
        if self._model is None or now - self._looked > fresh_seconds:
            try:
                self._model = _read(self._model)
                self._looked = now
            except (ClientError, BotoCoreError) as error:
                if self._model is None:
                    raise
                logger.warning("the model in service could not be looked up", error=str(error))
        return self._model


def _read(known: ServedModel | None) -> ServedModel | None:
    """Return what is in service now. The run is exported last (train_model, "Export configuration")."""
    name = f"{settings.parameter_prefix}/run"
    parameters = impatient("ssm").get_parameters(Names=[name])["Parameters"]
    if not parameters:
        return None
    run = parameters[0]["Value"]
    if known and known.run == run:
        return known
    body = impatient("s3").get_object(Bucket=settings.bucket, Key=f"runs/{run}/config.json")["Body"]
    definition = json.loads(body.read())["definition"]
    return ServedModel(run, definition, RecordContract.from_definition(definition))


memory = Memory()
