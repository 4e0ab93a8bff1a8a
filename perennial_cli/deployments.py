"""What each deployment leaves in the stack's bucket: who deployed which commit, for which environment."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial_cli import project
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

PREFIX = "deployments/"
NEWEST = 20
COMMIT_LENGTH = 12
# Dynamic: CloudFormation knows only when it does it
VERBS = {"Add": "added", "Modify": "modified", "Remove": "removed", "Import": "imported", "Dynamic": "perhaps modified"}


def keep(stack: Stack, environment: str, change_set: str | None) -> dict[str, Any]:
    """Write the record of a deployment that is done, and return it.

    Args:
        environment: the section of samconfig.toml
        change_set: the ARN of what was executed; None: nothing was to change

    Raises:
        CommandError: the record could not be written
    """
    now = datetime.now(UTC)
    commit = _git("rev-parse", "HEAD")
    record = {
        "stack": stack.name,
        "environment": environment,
        "deployed_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "deployed_by": boto3.client("sts").get_caller_identity()["Arn"],
        "commit": commit,
        "is_committed": _git("status", "--porcelain") == "" if commit else None,
        "parameters": dict(stack.parameters),
        "change_set": change_set,
        "changes": _changes(change_set) if change_set else [],
    }
    key = f"{PREFIX}{now:%Y%m%dT%H%M%S.%fZ}.json"
    body = json.dumps(record, indent=2).encode()
    try:
        boto3.client("s3").put_object(Bucket=stack.bucket, Key=key, Body=body, ContentType="application/json")
    except ClientError as error:
        raise CommandError(
            f"the stack {stack.name} is deployed, but its record could not be written to s3://{stack.bucket}/{key}: "
            f"{error}"
        ) from error
    return record


def newest(stack: Stack) -> list[dict[str, Any]]:
    """Return the newest records of a stack, the newest first."""
    s3 = boto3.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix=PREFIX)
    keys = sorted(item["Key"] for page in pages for item in page.get("Contents", []))[-NEWEST:]
    return [json.load(s3.get_object(Bucket=stack.bucket, Key=key)["Body"]) for key in reversed(keys)]


def summary(record: Mapping[str, Any]) -> str:
    """Return how many resources a deployment added, modified, replaced and removed."""
    counted = Counter(
        "replaced" if change["replacement"] == "True" else VERBS.get(change["action"], change["action"])
        for change in record["changes"]
    )
    return ", ".join(f"{number} {verb}" for verb, number in counted.items()) or "nothing"


def commit_text(record: Mapping[str, Any]) -> str:
    """Return the commit of a record as people read it."""
    if record["commit"] is None:
        return "none"
    return f"{record['commit'][:COMMIT_LENGTH]}{'' if record['is_committed'] else ' and more'}"


def _changes(change_set: str) -> list[dict[str, Any]]:
    pages = boto3.client("cloudformation").get_paginator("describe_change_set").paginate(ChangeSetName=change_set)
    changes = [change["ResourceChange"] for page in pages for change in page.get("Changes", [])]
    return [
        {
            "action": change["Action"],
            "resource": change["LogicalResourceId"],
            "type": change["ResourceType"],
            "replacement": change.get("Replacement"),
        }
        for change in changes
    ]


def _git(*arguments: str) -> str | None:
    """Return what git says of the project's folder; None: it is no repository, or there is no git."""
    folder: Path = project.required()
    try:
        ended = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ended.stdout.strip()
