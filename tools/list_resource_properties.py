"""Write resource_properties.json of the local CloudFormation: the properties that a template may set, by resource type.

    .venvs/sam/bin/python tools/list_resource_properties.py [--check]

Each property has the properties inside it, at any depth (those of its items, if it is a list), or null when it is plain
or free, as a policy document is. The schemas are those of cfn-lint, which carries AWS's own (CloudFormation registry,
us-east-1). The types are those that the file has already; to add one, add it with null and run this again.
"""

import json
import sys
from pathlib import Path
from typing import Any

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

FILE = Path(__file__).parents[1] / "localcloud" / "engine" / "cloudformation" / "resource_properties.json"
Schema = dict[str, Any]
Names = dict[str, Any]


def settable(resource_type: str) -> Names:
    """Return the properties of a type, without those that only AWS sets."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    return _inside(schema, schema, frozenset(schema.get("readOnlyProperties", [])), "/properties") or {}


def _inside(node: Schema, schema: Schema, hidden: frozenset[str], path: str) -> Names | None:
    """Return the names inside a part of a schema, or None when AWS does not say which there may be."""
    node = _followed(node, schema)
    if "items" in node:
        return _inside(node["items"], schema, hidden, f"{path}/*")
    if node.get("additionalProperties") is not False or "patternProperties" in node:
        return None
    parts = {name: (part, f"{path}/{name}") for name, part in node.get("properties", {}).items()}
    return {
        name: _inside(part, schema, hidden, below)
        for name, (part, below) in sorted(parts.items())
        if below not in hidden
    }


def _followed(node: Schema, schema: Schema) -> Schema:
    """Return a part of a schema, with what it refers to."""
    if "$ref" not in node:
        return node
    definition = schema
    for name in node["$ref"].removeprefix("#/").split("/"):
        definition = definition[name]
    return {**_followed(definition, schema), **{name: value for name, value in node.items() if name != "$ref"}}


def main() -> int:
    types = json.loads(FILE.read_text(encoding="utf-8"))
    blocks = []
    for resource_type in sorted(types):
        lines = [f"    {json.dumps(name)}: {json.dumps(inside)}" for name, inside in settable(resource_type).items()]
        blocks.append(f"  {json.dumps(resource_type)}: {{\n" + ",\n".join(lines) + "\n  }")
    text = "{\n" + ",\n".join(blocks) + "\n}\n"
    if "--check" in sys.argv:
        if FILE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{FILE.name} is not what cfn-lint's schemas say; run tools/list_resource_properties.py", file=sys.stderr)
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
