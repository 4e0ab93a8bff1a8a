"""CloudFormation: `AWS::SageMaker::ModelPackageGroup`, a type that MiniStack does not have.

Source: CloudFormation template reference, "AWS::SageMaker::ModelPackageGroup": Ref gives the ARN, name and description
cannot be changed in place. The policy of a group decides for callers of other accounts (permissions/guests.py).
"""

import json
from collections.abc import Callable
from typing import Any

from localcloud.engine.seams import Seams

provisioners = Seams(
    "services.cloudformation.provisioners", _RESOURCE_HANDLERS="70ecdfd3", _STACK_TAG_PROPERTY="b409911e"
)

JsonObject = dict[str, Any]
Handle = Callable[[str, JsonObject], JsonObject]
TYPE = "AWS::SageMaker::ModelPackageGroup"
_FIXED = ("ModelPackageGroupName", "ModelPackageGroupDescription")


def register(handle: Handle) -> None:
    """Add the type; `handle` answers an operation of SageMaker.

    MiniStack must be importable (the environment is set).
    """
    provisioners._RESOURCE_HANDLERS[TYPE] = {
        "create": _calling(handle, _create),
        "update": _calling(handle, _update),
        "delete": _calling(handle, _delete),
    }
    provisioners._STACK_TAG_PROPERTY[TYPE] = ("Tags", "list")


def _calling(handle: Handle, act: Callable[..., Any]) -> Callable[..., Any]:
    """Word a refusal as a resource handler does."""

    def acting(*arguments: Any, **options: Any) -> Any:
        from localcloud.sagemaker.errors import AwsError

        try:
            return act(handle, *arguments, **options)
        except AwsError as error:
            text = f"{error.message} (Service: SageMaker, Status Code: {error.status})"
            raise ValueError(f'Resource handler returned message: "{text}"') from error

    return acting


def _create(handle: Handle, logical_id: str, props: JsonObject, stack_name: str) -> tuple[str, JsonObject]:
    handle("CreateModelPackageGroup", {key: props[key] for key in (*_FIXED, "Tags") if key in props})
    group = handle("DescribeModelPackageGroup", {"ModelPackageGroupName": props["ModelPackageGroupName"]})
    arn: str = group["ModelPackageGroupArn"]
    _set_policy(handle, {}, props)
    return arn, {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": group["ModelPackageGroupStatus"]}


def _update(
    handle: Handle, arn: str, old: JsonObject, new: JsonObject, stack_name: str, *_: Any, **__: Any
) -> tuple[str, JsonObject]:
    if changed := [name for name in _FIXED if old.get(name) != new.get(name)]:
        raise ValueError(f"{TYPE}: the local cloud does not replace a group; changed: {', '.join(changed)}")
    _set_policy(handle, old, new)
    removed = {tag["Key"] for tag in old.get("Tags", [])} - {tag["Key"] for tag in new.get("Tags", [])}
    if removed:
        handle("DeleteTags", {"ResourceArn": arn, "TagKeys": sorted(removed)})
    if new.get("Tags"):
        handle("AddTags", {"ResourceArn": arn, "Tags": new["Tags"]})
    return arn, {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed"}


def _set_policy(handle: Handle, old: JsonObject, new: JsonObject) -> None:
    """Give the group the policy of the template, which CloudFormation takes as JSON or as its text."""
    policy, group = new.get("ModelPackageGroupPolicy"), {"ModelPackageGroupName": new["ModelPackageGroupName"]}
    if policy:
        text = policy if isinstance(policy, str) else json.dumps(policy)
        handle("PutModelPackageGroupPolicy", {**group, "ResourcePolicy": text})
    elif old.get("ModelPackageGroupPolicy"):
        handle("DeleteModelPackageGroupPolicy", group)


def _delete(handle: Handle, arn: str, props: JsonObject) -> None:
    """Delete the group; one that somebody has deleted is gone (CloudFormation, resource type contract, "Delete")."""
    from localcloud.sagemaker.errors import AwsError

    try:
        handle("DeleteModelPackageGroup", {"ModelPackageGroupName": arn})
    except AwsError as error:
        if not error.message.endswith("does not exist."):
            raise
