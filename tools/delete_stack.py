"""Delete a stack and everything that its runs made: endpoint, endpoint configurations, models, exported names.

    python -m tools.delete_stack STACK [--yes]

The stack does that itself (functions/publish_job_code), so that it may as well be deleted with CloudFormation. What
holds data (the bucket, the run table, their key) stays, and is named at the end.
"""

import argparse
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from perennial.words import printable
from tools import stacks
from tools.terminal import run

SHOWN_CHARACTERS = 2_000
WAIT_SECONDS = 1800
POLL_SECONDS = 2
STORES = {"Bucket": "bucket", "RunTable": "table", "Key": "key"}


class DeletionError(Exception):
    """Something could not be deleted; the text says what is left."""


def described(stack: str) -> tuple[str, dict[str, str]]:
    """Return the stack's id, and the names of what it has that outlives it, by what they are.

    What a failed creation has left has no outputs.
    """
    stack_id = stacks.find(stack)["StackId"]
    there = {item["LogicalResourceId"]: item for item in resources(stack_id)}
    remaining = [name for name in STORES if name in there and there[name]["ResourceStatus"] != "DELETE_COMPLETE"]
    return stack_id, {STORES[name]: there[name].get("PhysicalResourceId", "") for name in remaining}


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


def _confirmed(stack: str) -> bool:
    """Ask the person at the terminal. Raises DeletionError where there is none."""
    if not sys.stdin.isatty():
        raise DeletionError(
            f"nothing was deleted: there is no terminal to ask for the stack's name. To delete {stack} all the same: "
            f"make delete STACK={stack} YES=1, or --yes"
        )
    try:
        return input(f"Delete {stack} and what serves with it? Type its name: ") == stack
    except EOFError:  # Ctrl-D
        return False


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.delete_stack", description=__doc__.partition("\n")[0])
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args(argv)
    try:
        stack_id, outliving = described(arguments.stack)
        if not arguments.yes and not _confirmed(arguments.stack):
            print("nothing was deleted")
            return 1
        delete(stack_id)
    except (DeletionError, stacks.NoStackError, ClientError, BotoCoreError) as error:
        lines = [printable(line, SHOWN_CHARACTERS) for line in str(error).split("\n")]
        print("error: " + "\n".join(lines), file=sys.stderr)
        return 1
    print(f"deleted stack {arguments.stack}")
    print("kept: " + (", ".join(f"{name} {physical}" for name, physical in outliving.items()) or "nothing"))
    if outliving:
        print(f"also kept: SAM's bucket and, if it served, the log group /aws/sagemaker/Endpoints/{arguments.stack}")
    return 0


if __name__ == "__main__":
    run(main)
