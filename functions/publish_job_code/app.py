"""Check what is deployed and publish the job code to the bucket, as a part of the deployment itself.

Called by  CloudFormation, custom resource JobCode: on create, on update and on delete of the stack.
Input      the request of a custom resource; ResourceProperties may hold StackOverrides (JSON text) and anything
           that changes when there is something new to publish or to check, such as the layer's ARN
Output     Data {"CodeHash": str, "CodeUri": "s3://bucket/code/<hash>", "Commit": str}

Definitions, stack parameters and the stack's name are checked first: what is wrong fails the deployment, with the
reason. Code that is published is never deleted here: executions that are under way, and records, refer to it.
CloudFormation always gets an answer, also when this fails or is about to run out of time: without one a stack hangs.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from pathlib import Path
from typing import Any
from urllib.error import URLError

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from perennial_aws.clients import client

import perennial
from perennial import configuration, definition, naming
from perennial.problems import ConfigurationError

logger = Logger()

# The layer carries the job scripts and the model definitions beside the package.
SHIPPED = Path(perennial.__file__).parent.parent
FOLDERS = ("processing", "perennial", "models")
HASH_LENGTH = 16
SECONDS_TO_ANSWER = 5
MAX_REASON = 3000  # CloudFormation takes an answer of 4096 bytes
ANSWER_ATTEMPTS = 4


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Do what is asked within the time there is, and answer."""
    status, reason, data = "SUCCESS", "", {}
    pool = ThreadPoolExecutor(1)
    try:
        left = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_ANSWER
        work: Future[dict[str, str]] = pool.submit(_publish, event)
        data = work.result(timeout=max(left, 1))
    except OutOfTime:
        status, reason = "FAILED", "publishing the job code took longer than the function may run; deploy again"
    except ConfigurationError as error:
        status, reason = "FAILED", str(error)
    except Exception as error:
        logger.exception("publishing failed")
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
    pool.shutdown(wait=False, cancel_futures=True)
    _answer(event, status, reason, data)


def _publish(event: dict[str, Any]) -> dict[str, str]:
    if event["RequestType"] == "Delete":
        return {}
    _check(event.get("ResourceProperties", {}))
    files = dict(_files())
    code_hash = _hash(files)
    for name, path in files.items():
        client("s3").put_object(Bucket=os.environ["BUCKET"], Key=f"code/{code_hash}/{name}", Body=path.read_bytes())
    logger.info("published", code_hash=code_hash, files=len(files))
    return {"CodeHash": code_hash, "CodeUri": f"s3://{os.environ['BUCKET']}/code/{code_hash}", "Commit": _commit()}


def _check(properties: dict[str, Any]) -> None:
    """Raise ConfigurationError for what every run would trip over."""
    naming.check_stack_name(os.environ["STACK_NAME"])
    definitions = {path.parent.name: definition.load(path) for path in sorted(SHIPPED.glob("models/*/model.yaml"))}
    model = os.environ["MODEL_NAME"]
    if model not in definitions:
        known = ", ".join(definitions) or "none"
        raise ConfigurationError(f"ModelName: there is no models/{model}/model.yaml; there are: {known}")
    stack = configuration.stack_overrides(properties.get("StackOverrides") or os.environ.get("STACK_OVERRIDES"))
    configuration.resolve(model, definitions[model], stack=stack, data_prefix=os.environ["DATA_PREFIX"])


def _files() -> Iterator[tuple[str, Path]]:
    """(name under the prefix, file) of what the jobs need, sorted."""
    for folder in FOLDERS:
        for path in sorted((SHIPPED / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
                yield path.relative_to(SHIPPED).as_posix(), path


def _hash(files: dict[str, Path]) -> str:
    """A hash of names and contents: the same code has the same hash wherever it is built."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:HASH_LENGTH]


def _commit() -> str:
    file = SHIPPED / "commit.txt"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else "unknown"


def _answer(event: dict[str, Any], status: str, reason: str, data: dict[str, str]) -> None:
    """Put the answer at the address that CloudFormation gave; the address is signed for an empty content type."""
    body = {
        "Status": status,
        "Reason": reason[:MAX_REASON] or "see the log of the function",
        # The same for ever: CloudFormation deletes the old resource when this changes.
        "PhysicalResourceId": event.get("PhysicalResourceId") or f"{os.environ['STACK_NAME']}-job-code",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": data,
    }
    content = json.dumps(body).encode()
    request = urllib.request.Request(event["ResponseURL"], content, {"Content-Type": ""}, method="PUT")  # noqa: S310
    for attempt in range(1, ANSWER_ATTEMPTS + 1):
        try:
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        except URLError:
            if attempt == ANSWER_ATTEMPTS:
                raise
            time.sleep(2**attempt / 4)
        else:
            return
