"""CloudFormation stacks and their resources, where MiniStack takes what AWS refuses.

* A property that a resource type does not have, at any depth, fails the resource, in the words of the CloudFormation
  registry (all types here are in it). The names are in resource_properties.json, for the types that our templates use
  (tools/list_resource_properties.py writes it from cfn-lint's copy of AWS's schemas).
* A stack whose creation was rolled back can only be deleted (CloudFormation User Guide, "View stack information",
  ROLLBACK_COMPLETE). The words are AWS's: answers to CreateChangeSet, as bug reports of the SAM CLI, the AWS CLI and
  ECS Compose-X quote them.
* A bucket that holds objects or versions is not deleted with its stack, which then is DELETE_FAILED.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from localcloud.engine.seams import Seams

cloudformation = Seams("services.cloudformation", _ACTION_HANDLERS="1e9377ac")
handlers = Seams("services.cloudformation.handlers", _error="d9074d61", _p="78178f5f", _resolve_stack="3df9dcd7")
provisioners = Seams(
    "services.cloudformation.provisioners",
    _RESOURCE_HANDLERS="70ecdfd3",
    _provision_resource="8a290cd7",
    _update_resource="3473c3d3",
)
stacks = Seams("services.cloudformation.stacks", _provision_resource="8a290cd7", _update_resource="3473c3d3")
s3 = Seams("services.s3", _bucket_has_versions="0353e244", _ensure_bucket="d2d983a9")

JsonObject = dict[str, Any]
PROPERTIES = Path(__file__).with_name("resource_properties.json")
_CHANGES = ("CreateStack", "UpdateStack", "CreateChangeSet")
_ONLY_DELETED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")


def register() -> None:
    """Put checks before MiniStack's provisioners. MiniStack must be importable (the environment is set)."""
    known: dict[str, JsonObject] = json.loads(PROPERTIES.read_text(encoding="utf-8"))
    for module in (provisioners, stacks):  # the second has names of its own for the first's functions
        module.replace("_provision_resource", lambda original: _make_provision(original, known))
        module.replace("_update_resource", lambda original: _make_update(original, known))
    provisioners.replace("_RESOURCE_HANDLERS", _with_full_buckets_kept)
    cloudformation.replace("_ACTION_HANDLERS", _with_failed_stacks_left)


def _with_failed_stacks_left(handlers: Mapping[str, Callable[..., Any]]) -> JsonObject:
    """Return the operations that make or change a stack, which leave one alone that could not be created."""
    return {**handlers, **{name: _make_unless_failed(name, handlers[name]) for name in _CHANGES}}


def _make_unless_failed(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def change(params: JsonObject) -> Any:
        name = handlers._p(params, "StackName")
        stack = handlers._resolve_stack(name) if name else None
        if not stack or stack.get("StackStatus") not in _ONLY_DELETED:
            return original(params)
        if operation == "CreateStack":
            return handlers._error("AlreadyExistsException", f"Stack [{name}] already exists")
        if handlers._p(params, "ChangeSetType") == "CREATE":
            change_set = handlers._p(params, "ChangeSetName")
            message = f"Stack [{name}] already exists and cannot be created again with the changeSet [{change_set}]."
        else:
            message = f"Stack:{stack['StackId']} is in {stack['StackStatus']} state and can not be updated."
        return handlers._error("ValidationError", message)

    return change


def _make_provision(original: Callable[..., Any], known: Mapping[str, JsonObject]) -> Callable[..., Any]:
    def provision_resource(resource_type: str, logical_id: str, props: JsonObject, stack_name: str) -> Any:
        _check(resource_type, logical_id, props, known)
        return original(resource_type, logical_id, props, stack_name)

    return provision_resource


def _make_update(original: Callable[..., Any], known: Mapping[str, JsonObject]) -> Callable[..., Any]:
    def update_resource(
        resource_type: str,
        physical_id: str,
        old_props: JsonObject,
        new_props: JsonObject,
        stack_name: str,
        logical_id: str | None = None,
        old_attrs: JsonObject | None = None,
    ) -> Any:
        if new_props != old_props:
            _check(resource_type, logical_id or physical_id, new_props, known)
        return original(resource_type, physical_id, old_props, new_props, stack_name, logical_id, old_attrs)

    return update_resource


def _check(resource_type: str, logical_id: str, properties: Any, known: Mapping[str, JsonObject]) -> None:
    problems = list(extraneous(properties, known.get(resource_type)))
    if problems:
        raise ValueError(
            f"Properties validation failed for resource {logical_id} with message: [{', '.join(problems)}]"
        )


def extraneous(properties: Any, known: JsonObject | None, path: str = "#") -> Iterator[str]:
    """Yield AWS's words on each name that does not exist; `known` has the names inside each name, or None for any."""
    if known is None:
        return
    if isinstance(properties, list):
        for number, item in enumerate(properties):
            yield from extraneous(item, known, f"{path}/{number}")
    elif isinstance(properties, dict):
        yield from (
            f"{path}: extraneous key [{name}] is not permitted" for name in sorted(properties.keys() - known.keys())
        )
        for name in sorted(properties.keys() & known.keys()):
            yield from extraneous(properties[name], known[name], f"{path}/{name}")


def _with_full_buckets_kept(handlers: dict[str, JsonObject]) -> dict[str, JsonObject]:
    """Return the same table (MiniStack's modules hold it by reference) with another deletion of buckets."""
    bucket = handlers["AWS::S3::Bucket"]
    bucket["delete"] = _make_delete_bucket(bucket["delete"])
    return handlers


def _make_delete_bucket(original: Callable[..., Any]) -> Callable[..., Any]:
    def delete_bucket(name: str, properties: JsonObject) -> None:
        bucket = s3._ensure_bucket(name)
        if bucket and (bucket["objects"] or s3._bucket_has_versions(name)):
            raise ValueError(
                "The bucket you tried to delete is not empty. You must delete all versions in the bucket. "
                "(Service: S3, Status Code: 409)"
            )
        original(name, properties)

    return delete_bucket
