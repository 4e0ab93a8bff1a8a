"""What the layer carries beside the package: the models' folders, and the commit that they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import perennial
from perennial.model import definition, folder
from perennial.model.complaints import ConfigurationError
from perennial.runs import configuration
from perennial.runs.configuration import Configuration
from perennial_aws.clients import client
from perennial_aws.settings import settings

FOLDER = Path(perennial.__file__).parent.parent


def configured(overrides: Mapping[str, Any], replayed: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration of the stack's model, with what a run's input sets over it.

    Raises ConfigurationError, also where its folder has no script for the algorithm.
    """
    model = settings.model_name
    resolved = configuration.resolve(
        model,
        definition.load(FOLDER / "models" / model / "model.yaml"),
        stack=configuration.stack_overrides(_overrides()),
        run=overrides,
        data_prefix=settings.data_prefix,
        replayed=replayed,
    )
    folder.check_train(FOLDER / "models" / model, resolved.definition.algorithm)
    return resolved


def _overrides() -> str:
    """Return the JSON text of what stack parameters set over model.yaml, as it is now.

    Raises ConfigurationError: somebody has deleted it.
    """
    ssm, name = client("ssm"), f"{settings.parameter_prefix}_overrides"
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound as error:
        raise ConfigurationError(
            f"{name} is not in Parameter Store, where the deployment has put what parameters of the stack set over "
            f"model.yaml; put it back (aws ssm put-parameter --type String --name {name} --value '{{}}' where none is "
            "set), or deploy with another value of one of them"
        ) from error


def check_machines(resolved: Configuration, image: str) -> None:
    """Raise ConfigurationError where a run asks for a cluster, and the stack has no image for that."""
    instances = resolved.definition.instances
    counts = {"preprocess": instances.preprocess.count, "baseline": instances.baseline.count}
    for step, count in counts.items():
        if count > 1 and not image:
            raise ConfigurationError(
                f"instances.{step}.count: got {count} where the stack's parameter SparkImage is empty; expected 1, or "
                "repository and tag of an image of images/spark, in which Apache Spark divides the files among "
                "machines (docs/spark.md)"
            )


def scripts() -> str | None:
    """Return a hash of the scripts that the stack's model brings in its folder; None where it brings none."""
    own = FOLDER / "models" / settings.model_name
    files = sorted(path for path in own.rglob("*.py") if "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(own)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16] if files else None


def commit() -> str:
    """Return the commit of this deployment, or `unknown`."""
    file = FOLDER / "commit.txt"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else "unknown"
