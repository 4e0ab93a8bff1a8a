"""CloudFormation resources, where MiniStack takes what AWS refuses.

* A property that a resource type does not have fails the resource: "Encountered unsupported property X". The names are
  in resource_properties.json, for the types that our templates use (tools/list_resource_properties.py writes it from
  cfn-lint's copy of AWS's schemas); properties inside properties are not looked at.
* A bucket that holds objects or versions is not deleted with its stack, which then is DELETE_FAILED.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.engine.seams import replace

JsonObject = dict[str, Any]
PROPERTIES = Path(__file__).with_name("resource_properties.json")


def register() -> None:
    """Wrap the handlers of resource types. MiniStack must be importable (the environment is set)."""
    known: dict[str, list[str]] = json.loads(PROPERTIES.read_text(encoding="utf-8"))
    replace("services.cloudformation.provisioners", "_RESOURCE_HANDLERS", lambda handlers: _wrapped(handlers, known))


def _wrapped(handlers: dict[str, JsonObject], known: dict[str, list[str]]) -> dict[str, JsonObject]:
    """The same table (MiniStack's modules hold it by reference), with checks before its handlers."""
    for resource_type, properties in known.items():
        handler = handlers.get(resource_type, {})
        if "create" in handler:
            handler["create"] = _checked(handler["create"], 1, frozenset(properties))
        if "update" in handler:
            handler["update"] = _checked(handler["update"], 2, frozenset(properties))
    bucket = handlers["AWS::S3::Bucket"]
    bucket["delete"] = _make_delete_bucket(bucket["delete"])
    return handlers


def _checked(original: Callable[..., Any], position: int, known: frozenset[str]) -> Callable[..., Any]:
    """A handler that first checks the properties, which are its argument at `position`."""

    def checked(*arguments: Any) -> Any:
        if unknown := unsupported(arguments[position], known):
            raise ValueError(f"Encountered unsupported property {unknown}")
        return original(*arguments)

    return checked


def unsupported(properties: Any, known: frozenset[str]) -> str | None:
    """The first property that the type does not have."""
    return min(set(properties or {}) - known, default=None)


def _make_delete_bucket(original: Callable[..., Any]) -> Callable[..., Any]:
    def delete_bucket(name: str, properties: JsonObject) -> None:
        from ministack.services import s3

        bucket = s3._ensure_bucket(name)
        if bucket and (bucket["objects"] or s3._bucket_has_versions(name)):
            raise ValueError(
                "The bucket you tried to delete is not empty. You must delete all versions in the bucket. "
                "(Service: S3, Status Code: 409)"
            )
        original(name, properties)

    return delete_bucket
