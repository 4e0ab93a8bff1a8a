"""Write localcloud/engine/resource_properties.json: the properties that a template may set, by resource type.

    .venvs/sam/bin/python tools/list_resource_properties.py [--check]

The schemas are those of cfn-lint, which carries AWS's own (CloudFormation registry, us-east-1). The types are those
that the file has already; to add one, add it with an empty list and run this again.
"""

import json
import sys
from pathlib import Path

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

FILE = Path(__file__).parents[1] / "localcloud" / "engine" / "resource_properties.json"


def settable(resource_type: str) -> list[str]:
    """The properties of a type, without those that only AWS sets."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    paths = [path.split("/")[2:] for path in schema.get("readOnlyProperties", [])]
    return sorted(set(schema["properties"]) - {path[0] for path in paths if len(path) == 1})


def main() -> int:
    types = json.loads(FILE.read_text(encoding="utf-8"))
    lines = [f"  {json.dumps(name)}: {json.dumps(settable(name))}" for name in sorted(types)]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if "--check" in sys.argv:
        if FILE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{FILE.name} is not what cfn-lint's schemas say; run tools/list_resource_properties.py", file=sys.stderr)
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
