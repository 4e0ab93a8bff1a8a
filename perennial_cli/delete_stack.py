"""Deleting a stack and everything that its runs made: endpoint, endpoint configurations, models, exported names.

The stack does that itself (functions/publish_job_code), so that it may as well be deleted with CloudFormation. What
holds data (the bucket, the run table, their key, feature groups) stays, and is named at the end.
"""

from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from perennial.model.feature_groups import group_name
from perennial_cli import stacks
from perennial_cli.console import CommandError

WAIT_SECONDS = 1800
POLL_SECONDS = 2
STORES = {"Bucket": "bucket", "RunTable": "table", "Key": "key"}


class DeletionError(CommandError):
    """Something could not be deleted; the text says what is left."""


def described(stack: str) -> tuple[str, dict[str, str]]:
    """Return the stack's id, and the names of what it has that outlives it, by what they are.

    What a failed creation has left has no outputs. Raises DeletionError: another stack has what this one exports, such
    as that of delivery/people.yaml.
    """
    description = stacks.find(stack)
    exports = [output["ExportName"] for output in description.get("Outputs", []) if "ExportName" in output]
    if users := sorted({name for export in exports for name in _imported_by(export)}):
        raise DeletionError(f"nothing was deleted: {', '.join(users)} uses what {stack} exports; delete that first")
    stack_id = description["StackId"]
    there = {item["LogicalResourceId"]: item for item in resources(stack_id)}
    remaining = [name for name in STORES if name in there and there[name]["ResourceStatus"] != "DELETE_COMPLETE"]
    outliving = {STORES[name]: there[name].get("PhysicalResourceId", "") for name in remaining}
    return stack_id, {**outliving, **{f"feature group {name}": "" for name in feature_groups(stack)}}


def _imported_by(export: str) -> list[str]:
    """Return the stacks that import an export; none, too, where whoever asks may not know, and is told later."""
    try:
        names: list[str] = boto3.client("cloudformation").list_imports(ExportName=export)["Imports"]
    except ClientError:  # so it is as well where there is none
        return []
    return names


def feature_groups(stack: str) -> list[str]:
    """Return the feature groups of a stack; none where whoever asks may not list them."""
    try:
        listed = boto3.client("sagemaker").list_feature_groups(NameContains=group_name(stack, ""), MaxResults=100)
    except ClientError:
        return []
    names = (one["FeatureGroupName"] for one in listed["FeatureGroupSummaries"])
    return sorted(name for name in names if name.startswith(group_name(stack, "")))


def resources(stack_id: str) -> list[Any]:
    """Return what the stack has, as CloudFormation lists it."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack_id)
    return [item for page in pages for item in page["StackResourceSummaries"]]


def delete(stack_id: str) -> None:
    """Delete the stack and wait until CloudFormation has done it."""
    cloudformation = boto3.client("cloudformation")
    cloudformation.delete_stack(StackName=stack_id)
    waiting = {"Delay": POLL_SECONDS, "MaxAttempts": WAIT_SECONDS // POLL_SECONDS}
    try:
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack_id, WaiterConfig=waiting)
    except WaiterError as error:
        why = "\n  ".join(reasons(stack_id) or [str(error)])
        raise DeletionError(f"the stack is not deleted; delete it again:\n  {why}") from error


def reasons(stack_id: str) -> list[str]:
    """Return why each resource that is still there could not be deleted."""
    failed = {item["LogicalResourceId"] for item in resources(stack_id) if item["ResourceStatus"] == "DELETE_FAILED"}
    pages = boto3.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack_id)
    reason_of: dict[str, str] = {}
    for event in (event for page in pages for event in page["StackEvents"]):  # the newest first
        if event["LogicalResourceId"] in failed and event["ResourceStatus"] == "DELETE_FAILED":
            reason_of.setdefault(event["LogicalResourceId"], event.get("ResourceStatusReason", ""))
    return [f"{name}: {reason}" for name, reason in reason_of.items()]
