"""CloudFormation: templates in YAML are read by libyaml, ten times as fast as by PyYAML's own parser.

`sam deploy` uploads YAML, whatever it is given, where `use_json` is not set; a deployment reads it several times.
"""

from typing import Any

import yaml

from localcloud.engine.seams import Seams

engine = Seams("services.cloudformation.engine", CfnLoader="04b55e48")


def register() -> None:
    """Replace the loader. MiniStack must be importable (the environment is set)."""
    engine.replace("CfnLoader", _make_loader)


def _make_loader(original: Any) -> Any:
    class CfnLoader(yaml.CSafeLoader):
        """The original's short forms of functions, on libyaml."""

        yaml_constructors = original.yaml_constructors

    return CfnLoader
