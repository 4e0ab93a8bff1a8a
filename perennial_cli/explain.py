"""From the endpoint that serves back to the data versions that its model was made of.

Endpoint -> endpoint configuration -> model -> run record -> code,
configuration, metrics and data versions. What is printed comes from what serves now, not from Parameter Store, but for
an endpoint that sleeps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial.data.broken import counted
from perennial.registry import promotion
from perennial.runs import trials
from perennial.runs.cause import safe
from perennial.runs.facts import counted_rows, data_bucket, doubtful_rows, trigger_text
from perennial.runs.naming import run_of
from perennial.runs.run_record import RunRecord
from perennial.words import between, number
from perennial_cli import stacks
from perennial_cli.console import CommandError

FILES_SHOWN = 20


class LineageError(CommandError):
    """The chain from the endpoint to the data is broken; the text says where."""


def lineage(stack: str) -> dict[str, Any]:
    """Return {"endpoint", "endpoint_config", "model", "artifacts", "run"} of what the stack's endpoint serves."""
    sagemaker = boto3.client("sagemaker")
    try:
        endpoint = _described(sagemaker.describe_endpoint, "EndpointName", stack)
    except LineageError as error:
        when, exported = stacks.chosen(stack).hours, _exported(stack)
        if when is None or exported is None:
            why = f"No model of {stack} has come into service: `perennial runs` says what became of its runs"
            raise LineageError(f"{error} {why}") from error
        endpoint = {"EndpointStatus": f"not there; it sleeps outside of {when}", "EndpointConfigName": exported}
    config = _described(sagemaker.describe_endpoint_config, "EndpointConfigName", endpoint["EndpointConfigName"])
    model = _described(sagemaker.describe_model, "ModelName", config["ProductionVariants"][0]["ModelName"])
    run_id = run_of(stack, model["ModelName"])
    if run_id is None:
        raise LineageError(f"endpoint {stack} serves {model['ModelName']}, which is not a model of this stack's runs")
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    artifacts = [container["ModelDataUrl"] for container in containers if container.get("ModelDataUrl")]
    return {
        "endpoint": {"name": stack, "status": endpoint["EndpointStatus"]},
        "endpoint_config": config["EndpointConfigName"],
        "model": model["ModelName"],
        "artifacts": artifacts,
        "run": _run(artifacts, run_id),
    }


def _exported(stack: str) -> str | None:
    """Return the configuration that Parameter Store names, of which a sleeping endpoint is made again."""
    parameters = boto3.client("ssm").get_parameters(Names=[f"/{stack}/endpoint-config"])["Parameters"]
    return str(parameters[0]["Value"]) if parameters else None


def _described(describe: Any, kind: str, name: str) -> dict[str, Any]:
    try:
        return dict(describe(**{kind: name}))
    except ClientError as error:
        message = error.response["Error"].get("Message", "")
        if message.startswith("Could not find"):
            raise LineageError(f"{message} The chain ends here.") from error
        raise


def _run(artifacts: list[str], run_id: str) -> dict[str, Any]:
    """Return the run record, from the bucket that holds the model's artifacts."""
    buckets = {uri.removeprefix("s3://").split("/", 1)[0] for uri in artifacts}
    key = f"runs/{run_id}/run.json"
    s3 = boto3.client("s3")
    for bucket in sorted(buckets):
        try:
            return dict(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
        except s3.exceptions.NoSuchKey:
            continue
    raise LineageError(
        f"{key} is not in {', '.join(sorted(buckets)) or 'any bucket'}: the run has not ended, or its record is gone"
    )


def tree(chain: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a lineage as people read it."""
    run = chain["run"]
    yield f"endpoint       {chain['endpoint']['name']} ({chain['endpoint']['status']})"
    yield f"└ config       {chain['endpoint_config']}"
    yield f"  └ model      {chain['model']}"
    yield from (f"    │ artifact {uri}" for uri in chain["artifacts"])
    yield f"    └ run      {run['run_id']} ({run['status']})"
    yield from (f"      {branch}" for branch in _branches(run))


def _branches(run: RunRecord) -> Iterator[str]:
    gate, algorithm = run.get("gate") or {}, run["configuration"]["algorithm"]
    yield f"├ started  {run['execution']['started_at']}; its input says: {safe(trigger_text(run), 120)}"
    yield from (f"├ promoted {safe(step, 500)}" for step in promotion.steps(run.get("promotions")))
    for path, source in sorted(run["configuration"].get("sources", {}).items()):
        yield f"├ set      {safe(path, 80)} by {safe(source, 80)}"
    if run.get("withheld"):
        yield f"├ withheld {safe(run['withheld'], 200)}"
    yield f"├ gate     {safe(gate.get('reason', 'not judged'), 500)}"
    yield from (f"├ {line}" for line in _measured_on(run))
    settings = trials.spoken(dict(sorted(trials.hyperparameters(run).items())))
    yield f"├ trained  {algorithm['name']} ({settings})"
    yield from (f"├ tuned    {safe(line, 500)}" for line in trials.line(run))
    for image in run.get("serving_images", ()):
        yield f"├ image    {image['specified']}, which is {(image['resolved'] or 'unknown').rpartition('@')[2]}"
    metrics = (run.get("metrics") or {}).get("candidate") or {}
    yield "├ metrics  " + ", ".join(f"{name} {number(value)}" for name, value in metrics.items())
    scripts = f", scripts of the model's folder {one}" if (one := run["code"].get("scripts")) else ""
    yield f"├ code     {run['code']['hash']} (commit {run['code']['commit']}){scripts}"
    data = run["data"]
    size = f"{counted(data['file_count'], 'file')}, {data['size_bytes']:,} bytes"
    yield f"└ data     {data['fingerprint'][:16]}: {size}, {data['manifest']}"
    for file in data["files"][:FILES_SHOWN]:
        yield f"  - s3://{data_bucket(run)}/{safe(file['Key'], 200)}  version {file['VersionId']}"
    if len(data["files"]) > FILES_SHOWN:
        yield f"  - and {len(data['files']) - FILES_SHOWN} more (--json lists them all)"


def _measured_on(run: RunRecord) -> Iterator[str]:
    """Yield the rows that the decision rests on, and the difference of the two models on them."""
    rows, compared = run.get("rows"), (run.get("metrics") or {}).get("comparison")
    if rows:
        yield f"rows     {counted_rows(rows)}"
    if compared:
        unseen, before = compared["unseen"], (run.get("champion") or {}).get("ModelName", "the model in service")
        text = f"{unseen['rows']:,} of {compared['rows']:,} test rows unseen by {before}"
        yield f"against  {text}: difference {between(unseen['difference'])} (95 % interval)"
        yield from (f"         {note}" for note in doubtful_rows(compared))
