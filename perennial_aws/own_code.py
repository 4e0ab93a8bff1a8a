"""What jobs and containers of a run need to run the scripts of the model's folder; nothing, where an algorithm trains.

The code comes in a channel, because the jobs have no network. Sources: SageMaker API Reference, AlgorithmSpecification,
Channel, ContainerDefinition; sagemaker-containers, `_params.py`, `_files.py`, `_modules.py`.
"""

from __future__ import annotations

from typing import Any, TypedDict

from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.own_code import metric_definitions
from perennial.runs.configuration import Configuration

_CODE, _START = "/opt/ml/input/data/code", "unpack.py"
_NO_DOWNLOADS = {"PIP_NO_BUILD_ISOLATION": "0"}  # of what script mode packs a script with


class OwnCode(TypedDict):
    """Members of payloads.AlgorithmPayload."""

    Program: dict[str, Any]
    Channels: list[dict[str, Any]]
    Serving: dict[str, Any]


def of_run(resolved: Configuration, code_uri: str, prefix: str) -> OwnCode:
    """Return what a run adds to the requests of an algorithm; `prefix` is its folder, s3://bucket/runs/<run id>."""
    algorithm = ALGORITHMS[resolved.definition.algorithm]
    if not algorithm.is_own:
        return {"Program": {}, "Channels": [], "Serving": {}}
    metrics = {"MetricDefinitions": metric_definitions(resolved.definition.problem)}
    config = _channel("config", f"{prefix}/config.json")
    if not algorithm.is_script:
        return {"Program": metrics, "Channels": [config], "Serving": {}}
    start = ["python3", f"{_CODE}/{_START}", "train_script", "--root", "/opt/ml"]
    return {
        "Program": metrics if resolved.ranges else {"ContainerEntrypoint": start, **metrics},
        "Channels": [_channel("code", f"{code_uri}/"), config],
        "Serving": {
            "Environment": {
                "SAGEMAKER_PROGRAM": "serve_script.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
                **_NO_DOWNLOADS,
            }
        },
    }


def of_trials(resolved: Configuration) -> dict[str, Any]:
    """Return what the definition of a tuning job's trials has besides; nothing where no script is tuned.

    It has no entry point (API Reference, HyperParameterAlgorithmSpecification), so that script mode starts the script.
    """
    if not (resolved.ranges and ALGORITHMS[resolved.definition.algorithm].is_script):
        return {}
    mode = {"sagemaker_program": _START, "sagemaker_submit_directory": _CODE}
    return {"StaticHyperParameters": {**resolved.hyperparameters, **mode}, "Environment": _NO_DOWNLOADS}


def checkpoints(resolved: Configuration, prefix: str) -> dict[str, Any]:
    """Return where code of one's own goes on from when its machine is taken away; nothing where none is, or searches.

    Trials would share the place.
    """
    goes_on = ALGORITHMS[resolved.definition.algorithm].is_own and resolved.spot() and not resolved.ranges
    place = {"S3Uri": f"{prefix}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    return {"CheckpointConfig": place} if goes_on else {}


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}
