"""What tools and tests read templates with."""

from __future__ import annotations

from typing import Any

from perennial_cli.templates import Loader, load, parse

__all__ = ["Loader", "load", "parse", "resources"]


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the resources of one type by logical id, those of an Fn::ForEach under its name."""
    matching = {}
    for name, resource in template.get("Resources", {}).items():
        body = next(iter(resource[2].values())) if name.startswith("Fn::ForEach::") else resource
        if body.get("Type") == kind:
            matching[name] = body
    return matching
