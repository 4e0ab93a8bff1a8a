"""Check what is deployed; publish the job code that the layer carries to the bucket, under a hash of its content.

Under code/<hash>/ are code.zip, with all of it, and unpack.py, by which a job starts one of its scripts.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import leather
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from perennial.model import definition, folder
from perennial.model.complaints import ConfigurationError
from perennial.runs import configuration, naming
from perennial.serving import hours, scaling
from perennial_aws import shipped
from perennial_aws.clients import client
from perennial_aws.settings import settings

logger = Logger()
T = TypeVar("T")

# The layer carries the job scripts and the model definitions beside the package.
FOLDERS = ("processing", "perennial", "models")
# Libraries that the image of the jobs does not have; of Python alone, because its version is another than the layer's.
LIBRARIES = (leather,)
HASH_LENGTH = 16
BURSTABLE = "ml.t2."  # SageMaker Developer Guide, "Register a model"
MOST_OF_NETWORK = {"VpcSubnetIds": 16, "VpcSecurityGroupIds": 5}  # SageMaker API Reference, VpcConfig


def publish(properties: Mapping[str, Any]) -> dict[str, str]:
    """Publish and return {"CodeHash", "CodeUri", "Commit"}; `properties` are those of the custom resource.

    With hours of the endpoint also "HoursSchedule", by which the clock looks at them.

    Raises:
        ConfigurationError: what is deployed would fail every run; nothing is published.
    """
    _check(properties)
    when = _read(hours.read, properties, "Hours")
    files = dict(_files())
    code_hash = _hash(files)
    published = {"code.zip": _archive(files), "unpack.py": (shipped.FOLDER / "processing/unpack.py").read_bytes()}
    for name, content in published.items():
        client("s3").put_object(Bucket=settings.bucket, Key=f"code/{code_hash}/{name}", Body=content)
    logger.info("published", code_hash=code_hash, files=len(files))
    answer = {"CodeHash": code_hash, "CodeUri": f"s3://{settings.bucket}/code/{code_hash}", "Commit": shipped.commit()}
    return {**answer, "HoursSchedule": when.schedule(datetime.now(UTC).date())} if when else answer


def _read(read: Callable[[str], T], properties: Mapping[str, Any], name: str) -> T:
    try:
        return read(str(properties.get(name, "")))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _check(properties: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for what would fail every run."""
    naming.check_stack_name(settings.stack_name)
    _check_addresses(properties.get("AlertEmails", []))
    for name, most in MOST_OF_NETWORK.items():
        if len(listed := properties.get(name, [])) > most:
            raise ConfigurationError(
                f"{name}: got {len(listed)}; expected at most {most}, which is what SageMaker takes for jobs and models"
            )
    if properties.get("DataBucket"):
        _check_data_bucket(str(properties["DataBucket"]))
    model, models = settings.model_name, sorted(path.parent for path in shipped.FOLDER.glob("models/*/model.yaml"))
    mine = shipped.FOLDER / "models" / model
    if mine not in models:
        known = ", ".join(path.name for path in models) or "none"
        raise ConfigurationError(f"ModelName: there is no models/{model}/model.yaml; there are: {known}")
    defined = definition.load(mine / "model.yaml")
    folder.check(mine, defined)
    for path, text in definition.notes(defined):
        logger.warning("note", path=path, text=text)
    stack = configuration.stack_overrides(properties.get("StackOverrides"))
    resolved = configuration.resolve(model, defined, stack=stack, data_prefix=settings.data_prefix)
    folder.check_train(mine, resolved.definition.algorithm)
    shipped.check_machines(resolved, str(properties.get("SparkImage", "")))
    machine = resolved.definition.instances.endpoint.type
    if _read(scaling.read, properties, "Scaling") and machine.startswith(BURSTABLE):
        raise ConfigurationError(
            f"MaxInstances: the endpoint's machines are {machine}, and SageMaker does not scale burstable ones; "
            "expected another EndpointInstanceType, such as ml.m5.large, or MaxInstances=0"
        )
    for other in models:
        if other != mine:
            _look_at_other(other)


def _check_addresses(addresses: Sequence[str]) -> None:
    """Raise ConfigurationError when two are one subscription: the template names each by its letters and digits."""
    known: dict[str, str] = {}
    for address in addresses:
        name = re.sub(r"[^0-9A-Za-z]", "", address)
        if name in known:
            raise ConfigurationError(
                f"AlertEmails: {known[name]} and {address} are alike but for punctuation; expected addresses that "
                "differ in letters or digits, because one subscription would stand for both. Leave one of them out; "
                "once the stack is deployed, it can be subscribed to the topic by hand (aws sns subscribe)"
            )
        known[name] = address


def _check_data_bucket(name: str) -> None:
    """Raise ConfigurationError when the bucket of the data cannot be read, or sends no events of drops."""
    where = f"DataBucket: s3://{name}"
    try:
        head = client("s3").head_bucket(Bucket=name)
        notifications = client("s3").get_bucket_notification_configuration(Bucket=name)
    except ClientError as error:
        raise ConfigurationError(
            f"{where} cannot be looked at ({error}); expected a bucket that exists, with a policy that does not "
            "refuse the roles of this stack, and lets them in where it is one of another account (DataBucketAccount)"
        ) from error
    here, region = client("s3").meta.region_name, head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and region != here:
        raise ConfigurationError(f"{where} is in {region}; expected one in {here}: its events do not leave its region")
    if "EventBridgeConfiguration" not in notifications:
        raise ConfigurationError(
            f"{where} does not send its events to EventBridge, so that no drop would start a run. Switch that on: S3 "
            'console, Properties, "Amazon EventBridge"; or EventBridgeConfiguration in its notification configuration'
        )


def _look_at_other(other: Path) -> None:
    """Log what is wrong with a model that another stack deploys: it is not this stack's business."""
    try:
        folder.check(other, definition.load(other / "model.yaml"))
    except (ConfigurationError, OSError) as error:
        logger.warning("another model's folder is broken", model=other.name, problem=str(error))


def _files() -> Iterator[tuple[str, Path]]:
    """(name under the prefix, file) of what the jobs need."""
    libraries = (Path(library.__file__).parent for library in LIBRARIES)
    for root in (*(shipped.FOLDER / name for name in FOLDERS), *libraries):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
                yield path.relative_to(root.parent).as_posix(), path


def _archive(files: Mapping[str, Path]) -> bytes:
    """Return a zip of the files that says nothing of when and where it was made."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _hash(files: dict[str, Path]) -> str:
    """Return a hash of names and contents: the same code has the same hash wherever it is built."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:HASH_LENGTH]
