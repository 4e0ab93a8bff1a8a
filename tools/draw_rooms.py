"""Draw the rooms of the code, and who may import whom, from the table that tests/unit/test_rooms.py enforces.

    python -m tools.draw_rooms           write docs/img/rooms.svg
    python -m tools.draw_rooms --check   exit with 1 if the picture is not what would be written

An arrow is left out where a longer way of arrows leads to the same room. What a room is for is the beginning of its
docstring.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path

from perennial_cli.flow_layout import CHARACTER, LINE, PADDING, TITLE, Arrow, Box, Drawing, column
from tests.unit.test_rooms import LIBRARIES, PARTS
from tools import draw_flow
from tools.draw_flow import ROOT
from tools.terminal import run

DOMAIN, COMMAND, LOCAL = "perennial", "perennial_cli", "localcloud"
WITHOUT_DOCSTRING = {"functions": "Lambda functions: thin handlers", "processing": "Scripts of SageMaker jobs"}
LEGEND = (("room", "the domain: no AWS"), ("task", "what meets AWS"), ("wait", "the laptop only"))
NOTE = "An arrow: may import. In brackets: libraries that it may import."
WRAP = 26


def picture(root: Path = ROOT) -> str:
    """Return the picture: what is deployed on the left, the local cloud on the right."""
    domain = {part: others for part, others in PARTS.items() if part.startswith(f"{DOMAIN}.")}
    local = {part: others for part, others in PARTS.items() if part.partition(".")[0] == LOCAL}
    called = {part: others for part, others in PARTS.items() if part.partition(".")[0] == COMMAND}
    deployed = {
        part: {DOMAIN if other == f"{DOMAIN}.*" else other for other in others}
        for part, others in PARTS.items()
        if part not in domain and part not in local and part not in called
    }
    rooms = _group(DOMAIN, _draw({part: _room(root, part, "room") for part in domain}, domain))
    left = _draw({part: rooms if part == DOMAIN else _room(root, part, "task") for part in deployed}, deployed)
    right = _draw({part: _room(root, part, "wait") for part in local}, local)
    command = _draw({part: _room(root, part, "wait") for part in called}, called)
    sides = [
        _group("What is deployed", left),
        _group("What people call", command),
        _group("The local cloud, which knows AWS and nothing else", right),
    ]
    drawing = column({side.name: side for side in sides}, {side.name: 0 for side in sides}, [], [], set())
    return draw_flow.page(drawing, "rooms", "The rooms of the code, and who may import whom", LEGEND, NOTE)


def _room(root: Path, part: str, kind: str) -> Box:
    name = part.rpartition(".")[2]
    libraries = sorted(PARTS[part] & LIBRARIES)
    texts = [_purpose(root, part), f"({', '.join(libraries)})" if libraries else ""]
    lines = [name, *(line for text in texts for line in textwrap.wrap(text, WRAP))]
    return Box(part, kind, max(map(len, lines)) * CHARACTER + 24, len(lines) * LINE + 14, lines, headings=1)


def _purpose(root: Path, part: str) -> str:
    """Return the beginning of a part's docstring, to the first colon; what follows it when that is only its name."""
    path = root / part.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    if not file.is_file():
        return WITHOUT_DOCSTRING[part]
    first = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
    head, _, rest = first.strip("`.").partition(": ")
    return rest if head.lower() == f"the {path.name}" else head


def _group(name: str, inner: Drawing) -> Box:
    width, height = inner.width + 2 * PADDING, inner.height + TITLE + PADDING
    return Box(name, "group", max(width, len(name) * CHARACTER + 24), height, [name], [inner])


def _draw(boxes: Mapping[str, Box], table: Mapping[str, Collection[str]]) -> Drawing:
    """Lay rooms out below all that may import them, the longest way on a straight line."""
    below = {part: [other for other in boxes if other in table[part]] for part in boxes}
    arrows = [Arrow(part, other) for part in boxes for other in below[part] if len(_longest(part, other, below)) == 2]
    heads = [part for part in boxes if not any(part in others for others in below.values())]
    ranks = {part: max(len(_longest(head, part, below)) for head in heads) - 1 for part in boxes}
    spine = max((_longest(head, part, below) for head in heads for part in boxes), key=len)
    return column(dict(sorted(boxes.items(), key=lambda one: ranks[one[0]])), ranks, arrows, [], set(spine))


def _longest(start: str, end: str, below: Mapping[str, Collection[str]]) -> list[str]:
    """Return the longest way from a part to another, both with it; empty if there is none."""
    if start == end:
        return [end]
    ways = [way for other in sorted(below[start]) if (way := _longest(other, end, below))]
    return [start, *max(ways, key=len)] if ways else []


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write the picture, or with --check compare it. Return the exit code."""
    return draw_flow.keep(argv, {root / "docs" / "img" / "rooms.svg": picture(root)}, "draw_rooms")


if __name__ == "__main__":
    run(main, sys.argv[1:])
