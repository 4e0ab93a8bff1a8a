"""Write into template.yaml what follows from other places: the images that a stack runs, the names of API deployments.

    python -m tools.stamp_template           write what differs; part of `make format`
    python -m tools.stamp_template --check   exit with 1, and name the blocks, if something differs

A block stands between the lines `# stamped: NAME` and `# end`. The template stays one that deploys as it is. An image
has a parameter for its version, a variable of the functions, accounts that own it, and a repository that jobs may pull.

An API answers as it was when its deployment was made, and CloudFormation makes a new one only under a new name: it ends
with a hash of methods and responses, as those that SAM makes do (CloudFormation User Guide, ApiGateway::Deployment).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perennial.model.algorithms import ALGORITHMS
from perennial.model.images import SKLEARN, Image
from tools import cfn
from tools.terminal import run

ROOT = Path(__file__).parents[1]
WIDTH = 120
OF_API = ("RestApi", "Resource", "Method", "GatewayResponse")
_DEPLOYMENT = re.compile(r"\b(ApiDeploymentOf(?:Keys|Signatures))[0-9a-f]*\b")
_BLOCK = re.compile(r"^( *)# stamped: (.*)\n((?:.*\n)*?)\1# end\n", re.MULTILINE)


def images() -> dict[str, Image]:
    """Return all images by the variable that holds their URI."""
    return {**{one.image_variable: one.image for one in ALGORITHMS.values() if one.image}, "SKLEARN_IMAGE": SKLEARN}


def regions() -> list[str]:
    """Return the regions that have all images."""
    return sorted(set.intersection(*(set(one.registry.accounts) for one in images().values())))


def _parameter_group() -> Iterator[str]:
    yield f"Parameters: [{', '.join(f'{one.name}Tag' for one in images().values())}]"


def _algorithms() -> Iterator[str]:
    yield f"AllowedValues: ['', {', '.join(ALGORITHMS)}]"


def _parameters() -> Iterator[str]:
    for one in images().values():
        yield f"{one.name}Tag:"
        yield "  Description: >-"
        yield from textwrap.wrap(one.description, WIDTH - 2, initial_indent=" " * 4, subsequent_indent=" " * 4)
        yield "  Type: String"
        yield "  Default: ''"
        yield f"  AllowedPattern: '({one.tags}|sha256:[0-9a-f]{{64}})?'"
        yield f"  ConstraintDescription: {one.expected}, a digest (sha256:<64 hexadecimal digits>), or nothing"


def _regions() -> Iterator[str]:
    yield from textwrap.wrap(f"- [{', '.join(regions())}]", WIDTH - 10, subsequent_indent="   ", break_on_hyphens=False)


def _mappings() -> Iterator[str]:
    yield "ImageTags:"
    yield f"  Shipped: {{{', '.join(f'{one.name}: {chr(39)}{one.tag}{chr(39)}' for one in images().values())}}}"
    yield "# Accounts that own the images. A region that is absent has not all of them."
    yield "ImageAccounts:"
    registries = {one.registry.name: one.registry for one in images().values()}
    for region in regions():
        accounts = (f"{name}: '{registry.accounts[region]}'" for name, registry in registries.items())
        yield f"  {region}: {{{', '.join(accounts)}}}"


def _conditions() -> Iterator[str]:
    for one in images().values():
        yield f"Has{one.name}Tag: !Not [!Equals [!Ref {one.name}Tag, '']]"


def _variables() -> Iterator[str]:
    for variable, one in images().items():
        yield f"{variable}: &{variable.lower().replace('_', '-')} !Join"
        yield "  - '@sha256:'"
        yield "  - !Split"
        yield "    - ':sha256:'"
        yield "    - !Sub"
        yield f"      - ${{Account}}.dkr.ecr.${{AWS::Region}}.${{AWS::URLSuffix}}/{one.repository}:${{Tag}}"
        yield f"      - Account: !FindInMap [ImageAccounts, !Ref AWS::Region, {one.registry.name}]"
        yield f"        Tag: !If [Has{one.name}Tag, !Ref {one.name}Tag, !FindInMap [ImageTags, Shipped, {one.name}]]"


def _repositories() -> Iterator[str]:
    for one in images().values():
        yield "- !Sub"
        yield f"  - arn:${{AWS::Partition}}:ecr:${{AWS::Region}}:${{Account}}:repository/{one.repository}"
        yield f"  - Account: !FindInMap [ImageAccounts, !Ref AWS::Region, {one.registry.name}]"


BLOCKS = {
    "images, their parameters": _parameter_group,
    "algorithms": _algorithms,
    "images, their versions": _parameters,
    "images, their regions": _regions,
    "images, their accounts": _mappings,
    "images, which are asked for": _conditions,
    "images, their URIs": _variables,
    "images, their repositories": _repositories,
}


def stamped(text: str) -> str:
    """Return a template with the blocks as the images say. Raises ValueError: a block has no place in it."""
    there = sorted(block[2] for block in _BLOCK.finditer(text))
    if there != sorted(BLOCKS):
        raise ValueError(f"the template has the stamped blocks {there}; expected each of {sorted(BLOCKS)} once")
    text = _BLOCK.sub(_with_block, text)
    return _DEPLOYMENT.sub(rf"\g<1>{_api_hash(cfn.parse(text))}", text)


def _api_hash(template: dict[str, Any]) -> str:
    """Return what stands for all that a deployment of the API is made of."""
    parts = [cfn.resources(template, f"AWS::ApiGateway::{kind}") for kind in OF_API]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def _with_block(block: re.Match[str]) -> str:
    lines = textwrap.indent("\n".join(BLOCKS[block[2]]()), block[1])
    return f"{block[1]}# stamped: {block[2]}\n{lines}\n{block[1]}# end\n"


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write the template, or with --check compare it. Return the exit code."""
    path = root / "template.yaml"
    text = path.read_text()
    wanted = stamped(text)
    if wanted == text:
        return 0
    if argv != ["--check"]:
        path.write_text(wanted)
        return 0
    blocks = zip(_BLOCK.finditer(text), _BLOCK.finditer(wanted), strict=True)
    names = [repr(now[2]) for now, then in blocks if now[3] != then[3]]
    if [one[0] for one in _DEPLOYMENT.finditer(text)] != [one[0] for one in _DEPLOYMENT.finditer(wanted)]:
        names.append("the names of the API's deployments")
    say = "are not as perennial/model/images.py, algorithms/ and the API's own parts say; run: make format"
    sys.stderr.write(f"{path}: {', '.join(names)} {say}\n")
    return 1


if __name__ == "__main__":
    run(main, sys.argv[1:])
