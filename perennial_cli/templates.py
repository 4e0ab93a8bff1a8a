"""Read a CloudFormation template without expanding it: short tags become their long form."""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml


class Loader(yaml.CSafeLoader):
    """The quick SafeLoader, that knows !Ref, !GetAtt and the other short forms of intrinsic functions."""


def _intrinsic(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name: value}


Loader.add_multi_constructor("!", _intrinsic)


def load(path: Path) -> dict[str, Any]:
    """Return the template as plain dictionaries and lists."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Any]:
    """Return the template in a text. Raises TypeError if it is not a mapping."""
    template = pickle.loads(_read(text))  # noqa: S301 - its own
    if not isinstance(template, dict):
        raise TypeError(f"a template is a mapping; got {type(template).__name__}")
    return template


@lru_cache(maxsize=8)
def _read(text: str) -> bytes:
    """Remember what a text says, which takes long to read, so that each reader gets a copy of its own."""
    return pickle.dumps(yaml.load(text, Loader))  # noqa: S506 - a SafeLoader with more tags
