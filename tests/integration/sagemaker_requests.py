"""Requests for SageMaker jobs, as short as they can be, and how to wait for their end."""

import json
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

ROLE = "arn:aws:iam::000000000000:role/test"
REGISTRY = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:1.9-0-cpu-py3"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:3.2-0"
LINEAR_LEARNER = f"{REGISTRY}/linear-learner:1"
DEEPAR = f"{REGISTRY}/forecasting-deepar:1"
# Tests change requests, and not what others send.
RESOURCES: Mapping[str, Any] = MappingProxyType(
    {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
)
Document = dict[str, Any]


def processing(name: str, code: str, *arguments: str, **members: Any) -> Document:
    """A processing job that runs this Python code."""
    program = {"ImageUri": SKLEARN, "ContainerEntrypoint": ["python3", "-c", code]}
    if arguments:
        program["ContainerArguments"] = list(arguments)
    return {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": dict(RESOURCES)},
        "AppSpecification": program,
        "RoleArn": ROLE,
        **members,
    }


def processing_input(name: str, uri: str, **source: Any) -> Document:
    path = f"/opt/ml/processing/input/{name}"
    return {
        "InputName": name,
        "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File", **source},
    }


def processing_output(name: str, uri: str, mode: str = "EndOfJob") -> Document:
    path = f"/opt/ml/processing/output/{name}"
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": mode}}


def training(name: str, bucket: str, parameters: dict[str, str], image: str = XGBOOST, **members: Any) -> Document:
    """A training job on `<bucket>/train/` and `<bucket>/validation/`; the model goes below `<bucket>/model`."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "HyperParameters": parameters,
        "InputDataConfig": [
            channel("train", f"s3://{bucket}/train/"),
            channel("validation", f"s3://{bucket}/validation/"),
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/model"},
        "ResourceConfig": dict(RESOURCES),
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        "RoleArn": ROLE,
        **members,
    }


def channel(name: str, uri: str) -> Document:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}


def transform(name: str, model: str, source: str, target: str, **members: Any) -> Document:
    """A transform job over CSV lines that answers JSON lines."""
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": target, "Accept": "application/jsonlines", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **members,
    }


def end(describe: Callable[[], Document], noun: str, seconds: float = 60.0) -> Document:
    """The description of a job once it has ended; `noun` is the API's word (`TrainingJob`)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        described = describe()
        if described[f"{noun}Status"] in ("Completed", "Failed", "Stopped"):
            return described
        time.sleep(0.02)
    raise AssertionError(f"the job did not end within {seconds} s: {json.dumps(described, default=str)}")


def numbers(rows: int) -> bytes:
    """CSV rows `label,feature,feature` in which the label follows from the features."""
    lines = (f"{a * 2 + b},{a},{b}" for a, b in ((n % 17, n % 5) for n in range(rows)))
    return ("\n".join(lines) + "\n").encode()
