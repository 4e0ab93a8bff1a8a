"""Draw a state machine from its own file, so that the picture cannot go stale.

    python -m tools.draw_flow           write docs/img/<name>.svg for every statemachines/<name>.asl.json
    python -m tools.draw_flow --check   exit with 1 if a picture is not what would be written

The layout is that of perennial_cli/flow_layout.py. The colours read on white and on black.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from perennial_cli.flow_layout import ASPECT, GAP_X, GAP_Y, LINE, PADDING, TITLE, Box, Drawing, Line, draw
from perennial_cli.state_machines import flows
from tools import asl
from tools.terminal import run

ROOT = Path(__file__).parents[1]
FONT = 13

FILLS = {
    "task": "#dbeafe",
    "job": "#ddf4e4",
    "choice": "#fff3c4",
    "wait": "#eceef1",
    "room": "#fff3c4",
    "succeed": "#b6e3c1",
    "fail": "#ffd7d5",
}
STROKES = {
    "task": "#4c7fc4",
    "job": "#3a9a5b",
    "choice": "#b98a06",
    "wait": "#8b949e",
    "room": "#b98a06",
    "succeed": "#1a7f37",
    "fail": "#cf222e",
    "group": "#8b949e",
}
LEGEND = (("job", "SageMaker"), ("task", "function or AWS call"), ("choice", "decision"), ("wait", "wait"))


# ---- SVG


def svg(name: str, definition: dict[str, Any]) -> str:
    """Return the picture of a state machine."""
    note = "Every step retries what is transient; any other error ends the run as failed."
    return page(draw(next(flows(definition)), ASPECT), name, definition.get("Comment", name), LEGEND, note)


def page(drawing: Drawing, name: str, title: str, legend: Sequence[tuple[str, str]], note: str) -> str:
    """Return a drawing as a file, with a legend (kind of box, what it stands for) and a note under it."""
    width, height = drawing.width + 2 * PADDING, drawing.height + 2 * PADDING + TITLE
    body = "\n".join(_drawing(drawing, PADDING, PADDING))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" \
width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(name)}" \
font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="{FONT}" text-anchor="middle">
<title>{escape(title)}</title>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0,0 L8,4 L0,8 z" fill="#768390"/></marker></defs>
{body}
{_legend(PADDING, height - PADDING - 8, legend, note)}
</svg>
"""


def _drawing(drawing: Drawing, dx: float, dy: float) -> Iterator[str]:
    yield from dict.fromkeys(part for line in drawing.lines for part in _line(line, dx, dy))
    for box in drawing.boxes:
        yield from _box(box, dx, dy)


def _line(line: Line, dx: float, dy: float) -> Iterator[str]:
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for x, y in line.points)
    dash = ' stroke-dasharray="4 3"' if line.error else ""
    yield (
        f'<polyline points="{points}" fill="none" stroke="#768390" stroke-width="1.4" stroke-linejoin="round"'
        f'{dash} marker-end="url(#arrow)"/>'
    )
    if line.label:
        x, y = line.points[-1]
        y -= GAP_Y / 2
        yield (
            f'<text x="{x + dx + 4:.1f}" y="{y + dy - 3:.1f}" font-size="10.5" fill="#768390" text-anchor="start">'
            f"{escape(line.label)}</text>"
        )


def _box(box: Box, dx: float, dy: float) -> Iterator[str]:
    if box.kind == "group":
        yield from _group_box(box, dx, dy)
        return
    x, y = box.x + dx, box.y + dy
    style = f'fill="{FILLS[box.kind]}" stroke="{STROKES[box.kind]}" stroke-width="1.3"'
    if box.kind == "choice":
        half, tall = box.width / 2, box.height / 2
        points = f"{x - half:.1f},{y:.1f} {x:.1f},{y - tall:.1f} {x + half:.1f},{y:.1f} {x:.1f},{y + tall:.1f}"
        yield f'<polygon points="{points}" {style}/>'
    else:
        radius = box.height / 2 if box.kind in ("succeed", "fail") else 7
        yield (
            f'<rect x="{x - box.width / 2:.1f}" y="{y - box.height / 2:.1f}" width="{box.width:.1f}"'
            f' height="{box.height:.1f}" rx="{radius:.1f}" {style}/>'
        )
    first = y - (len(box.lines) - 1) * LINE / 2 + FONT * 0.35
    for number, text in enumerate(box.lines):
        weight = ' font-weight="600"' if number < box.headings else ""
        yield f'<text x="{x:.1f}" y="{first + number * LINE:.1f}" fill="#1f2328"{weight}>{escape(text)}</text>'


def _group_box(box: Box, dx: float, dy: float) -> Iterator[str]:
    left, top = box.x - box.width / 2 + dx, box.top + dy
    yield (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="9"'
        f' fill="#768390" fill-opacity="0.10" stroke="{STROKES["group"]}" stroke-dasharray="5 3"/>'
    )
    yield (
        f'<text x="{left + box.width / 2:.1f}" y="{top + 16:.1f}" fill="#768390" font-weight="600">'
        f"{escape(box.name)}</text>"
    )
    spare = box.width - 2 * PADDING - sum(d.width for d in box.inner) - GAP_X * (len(box.inner) - 1)
    x = left + PADDING + spare / 2
    for drawing in box.inner:
        yield from _drawing(drawing, x, top + TITLE)
        x += drawing.width + GAP_X


def _legend(x: float, y: float, legend: Sequence[tuple[str, str]], note: str) -> str:
    parts = []
    for kind, text in legend:
        parts.append(
            f'<rect x="{x:.0f}" y="{y - 10:.0f}" width="14" height="11" rx="3" fill="{FILLS[kind]}"'
            f' stroke="{STROKES[kind]}"/><text x="{x + 19:.0f}" y="{y:.0f}" font-size="11" fill="#768390"'
            f' text-anchor="start">{text}</text>'
        )
        x += 40 + len(text) * 6
    parts.append(f'<text x="{x:.0f}" y="{y:.0f}" font-size="11" fill="#768390" text-anchor="start">{note}</text>')
    return "\n".join(parts)


def pictures(root: Path) -> dict[Path, str]:
    """Return path and content of every picture."""
    files = sorted(root.glob("statemachines/*.asl.json"))
    return {
        root / "docs" / "img" / f"{name}.svg": svg(name, asl.parse(file.read_text()))
        for file in files
        for name in [file.name.removesuffix(".asl.json")]
    }


def keep(argv: list[str], files: dict[Path, str], tool: str) -> int:
    """Write files, or with --check compare them with what is there. Return the exit code."""
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    if argv == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path} is not the picture of what it shows; run: python -m tools.{tool}\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return 0


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write the pictures, or with --check compare them. Return the exit code."""
    return keep(argv, pictures(root), "draw_flow")


if __name__ == "__main__":
    run(main, sys.argv[1:])
