"""CloudFormation: templates in YAML are read by libyaml, ten times as fast as by PyYAML's own parser.

`sam deploy` uploads YAML, whatever it is given, where `use_json` is not set; a deployment reads it several times. Known
are the short forms of rules' functions too (CloudFormation User Guide, "Rule-specific intrinsic functions"), which
MiniStack evaluates in their long form alone.
"""

from typing import Any

import yaml

from localcloud.engine.seams import Seams

engine = Seams("services.cloudformation.engine", CfnLoader="04b55e48", _construct_cfn_tag="129d1749")
_OF_RULES = ("Contains", "EachMemberEquals", "EachMemberIn", "RefAll", "ValueOf", "ValueOfAll")


def register() -> None:
    """Replace the loader. MiniStack must be importable (the environment is set)."""
    engine.replace("CfnLoader", _make_loader)


def _make_loader(original: Any) -> Any:
    of_rules = {f"!{name}": engine._construct_cfn_tag(f"Fn::{name}") for name in _OF_RULES}
    constructors = {**original.yaml_constructors, **of_rules}

    class CfnLoader(yaml.CSafeLoader):
        """The original's short forms of functions, on libyaml, and those of rules."""

        yaml_constructors = constructors

    return CfnLoader
