"""Lay out a state machine for a picture: where each state stands, and the lines between them.

The layout is layered, top down: a state stands below all that lead to it, the longest way to a success is the straight
line, and where a single line leads on, the picture may go on in the next column. Errors that end in a Fail at once, and
those that a Choice leads back to the same state or to a Fail, are not drawn: every task has the one, every job the
other.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from perennial_cli.state_machines import Edge, Flow, edges, flows, inner_machines

CHARACTER, LINE = 6.9, 16
WRAP, CHOICE_WRAP = 22, 16
GAP_X, GAP_Y, PADDING, LANE = 22, 26, 12, 14
TITLE = 24
COLUMN_GAP = 46
MIN_RANKS = 3  # of a column
# Width to height of a screen.
ASPECT = 1.7


@dataclass
class Box:
    """A state, or a place where a long line passes a rank. x and y are its centre; the first lines may be a heading."""

    name: str
    kind: str
    width: float
    height: float
    lines: list[str] = field(default_factory=list)
    inner: list[Drawing] = field(default_factory=list)
    headings: int = 0
    x: float = 0
    y: float = 0
    row_top: float = 0

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2


@dataclass
class Line:
    """A way from a state to another through points; `error` is a caught error that does not end in a Fail at once."""

    points: list[tuple[float, float]]
    label: str = ""
    error: bool = False
    source: str = ""
    target: str = ""


@dataclass
class Drawing:
    """Boxes and lines of one flow, in a rectangle from (0, 0) to (width, height)."""

    width: float
    height: float
    boxes: list[Box]
    lines: list[Line]


@dataclass(frozen=True)
class Arrow:
    """An edge that is drawn."""

    source: str
    target: str
    label: str = ""
    error: bool = False


# ---- What is drawn


def box_of(name: str, body: dict[str, Any]) -> Box:
    """Return the box of a state, sized for its text."""
    kind = {"Choice": "choice", "Wait": "wait", "Succeed": "succeed", "Fail": "fail"}.get(body["Type"], "task")
    if ":sagemaker:" in body.get("Resource", ""):
        kind = "job"
    machines = inner_machines(body)
    if machines:
        return _group(name, [draw(next(flows(machine))) for machine in machines])
    lines = textwrap.wrap(name, CHOICE_WRAP if kind == "choice" else WRAP)
    text_width, text_height = max(map(len, lines)) * CHARACTER, len(lines) * LINE
    if kind == "choice":
        height = text_height + 34
        # The corners of the text touch the sides of the diamond.
        return Box(name, kind, text_width / (1 - text_height / height) * 0.95, height, lines)
    return Box(name, kind, text_width + 24, text_height + 14, lines)


def _group(name: str, inner: list[Drawing]) -> Box:
    width = sum(drawing.width for drawing in inner) + GAP_X * (len(inner) - 1) + 2 * PADDING
    height = max(drawing.height for drawing in inner) + TITLE + PADDING
    return Box(name, "group", max(width, len(name) * CHARACTER + 24), height, [name], inner)


def arrows_of(flow: Flow) -> list[Arrow]:
    """Return the edges to draw, each pair of states once."""
    arrow_of_edge: dict[tuple[str, str], Arrow] = {}
    for name, body in flow.states.items():
        for edge in edges(body):
            error = edge.kind == "catch"
            if error and _fails_or_tries_again(flow, name, edge.target):
                continue
            arrow_of_edge.setdefault((name, edge.target), Arrow(name, edge.target, _label(edge, body), error))
    arrows = list(arrow_of_edge.values())
    names = _drawn(flow, arrows)
    return [arrow for arrow in arrows if arrow.source in names]


def _fails_or_tries_again(flow: Flow, name: str, target: str) -> bool:
    """Return whether a caught error leads to nothing but a Fail, or by a Choice back to its own state."""
    ways = [edge.target for edge in edges(flow.states[target])]
    ends = [way for way in ways if way != name]
    return flow.states[target]["Type"] == "Fail" or (
        name in ways and all(flow.states[way]["Type"] == "Fail" for way in ends)
    )


def _label(edge: Edge, body: dict[str, Any]) -> str:
    if edge.kind == "catch":
        return "error"
    if len(body.get("Choices", [])) == 1:  # the names of choices are questions
        return {"choice": "yes", "default": "no"}[edge.kind]
    match = re.match(r"^\$[\w.]+ = '(\w+)'", edge.label)
    return match[1].lower() if match else ""


def _drawn(flow: Flow, arrows: list[Arrow]) -> list[str]:
    """Return the states to draw in the order in which arrows come to them: neighbours stand in the choice's order."""
    names = [flow.start]
    for name in names:
        names += dict.fromkeys(a.target for a in arrows if a.source == name and a.target not in names)
    return names


# ---- Where it stands


def _loops(flow: Flow, arrows: list[Arrow]) -> list[Arrow]:
    """Return the arrows that lead back to an earlier state."""
    back: set[Arrow] = set()
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        for arrow in (a for a in arrows if a.source == name):
            if arrow.target in way:
                back.add(arrow)
            elif arrow.target not in done:
                visit(arrow.target, (*way, arrow.target))
        done.add(name)

    visit(flow.start, (flow.start,))
    return [arrow for arrow in arrows if arrow in back]


def _ranks(start: str, forward: list[Arrow]) -> dict[str, int]:
    """Return for each state the length of the longest way to it."""
    ranks = {start: 0}
    changed = True
    while changed:
        changed = False
        for arrow in forward:
            if arrow.source in ranks and ranks.get(arrow.target, -1) <= ranks[arrow.source]:
                ranks[arrow.target] = ranks[arrow.source] + 1
                changed = True
    return ranks


def _spine(flow: Flow, forward: list[Arrow], ranks: dict[str, int]) -> list[str]:
    """Return the longest way from the start to an end that is no failure."""
    ends = [name for name in ranks if flow.states[name]["Type"] != "Fail"]
    name = max(ends, key=lambda end: ranks[end])
    way = [name]
    while name != flow.start:
        name = next(a.source for a in forward if a.target == name and ranks[a.source] == ranks[name] - 1)
        way.append(name)
    return way[::-1]


def draw(flow: Flow, aspect: float = 0) -> Drawing:
    """Lay a flow out. With an aspect (width / height) it is broken into columns to come near it."""
    arrows = arrows_of(flow)
    loops = _loops(flow, arrows)
    forward = [arrow for arrow in arrows if arrow not in loops]
    ranks = _ranks(flow.start, forward)
    boxes = {name: box_of(name, flow.states[name]) for name in _drawn(flow, arrows)}
    spine = set(_spine(flow, forward, ranks))

    def drawing(cuts: tuple[int, ...]) -> Drawing:
        return _columns(boxes, ranks, forward, loops, spine, cuts)

    ways = (w for w in _cuts(ranks, arrows) if not w or _balanced(w, max(ranks.values()))) if aspect else iter([()])
    # The smallest screen that it fits on.
    return drawing(min(ways, key=lambda cuts: max((d := drawing(cuts)).width, d.height * aspect)))


def _cuts(ranks: dict[str, int], arrows: list[Arrow]) -> Iterator[tuple[int, ...]]:
    """Yield sets of ranks after which the picture may go on in the next column: where one line leads on."""
    last = max(ranks.values())
    single = [
        rank
        for rank in range(last)
        if sum(rank in range(*sorted((ranks[a.source], ranks[a.target]))) for a in arrows) == 1
    ]
    yield ()
    for first in single:
        yield (first,)
        yield from ((first, second) for second in single if second > first)


def _balanced(cuts: tuple[int, ...], last: int) -> bool:
    return all(below - above >= MIN_RANKS for above, below in pairwise([-1, *cuts, last]))


def _columns(
    boxes: dict[str, Box],
    ranks: dict[str, int],
    forward: list[Arrow],
    loops: list[Arrow],
    spine: set[str],
    cuts: tuple[int, ...],
) -> Drawing:
    bounds = [-1, *cuts, max(ranks.values())]
    left, height = 0.0, 0.0
    lines: list[Line] = []
    gutters: list[float] = []
    for first, last in pairwise(bounds):
        inside = {name for name, rank in ranks.items() if first < rank <= last}
        part = column(
            {name: boxes[name] for name in boxes if name in inside},
            {name: ranks[name] - first - 1 for name in inside},
            [a for a in forward if a.source in inside and a.target in inside],
            [a for a in loops if a.source in inside],
            spine,
        )
        _shift(part, left, GAP_Y if first >= 0 else 0)
        lines += part.lines
        left += part.width + COLUMN_GAP
        gutters.append(left - COLUMN_GAP / 2)
        height = max(height, part.height + (GAP_Y if first >= 0 else 0) + (GAP_Y if last in cuts else 0))
    for arrow in forward:
        source, target = boxes[arrow.source], boxes[arrow.target]
        for cut, gutter in zip(cuts, gutters, strict=False):
            if ranks[arrow.source] <= cut < ranks[arrow.target]:
                lines.append(_over(source, target, gutter))
    return Drawing(left - COLUMN_GAP, height, list(boxes.values()), lines)


def _worded(arrow: Arrow) -> tuple[str, bool, str, str]:
    return arrow.label, arrow.error, arrow.source, arrow.target


def _over(source: Box, target: Box, gutter: float) -> Line:
    """Return a line from the end of a column to the head of the next."""
    below, above = source.bottom + GAP_Y / 2, target.top - GAP_Y / 2
    points = [(source.x, source.bottom), (source.x, below), (gutter, below), (gutter, above), (target.x, above)]
    return Line([*points, (target.x, target.top)], source=source.name, target=target.name)


def _shift(drawing: Drawing, dx: float, dy: float = 0) -> None:
    for box in drawing.boxes:
        box.x += dx
        box.y += dy
    for line in drawing.lines:
        line.points = [(x + dx, y + dy) for x, y in line.points]


def column(
    boxes: dict[str, Box], ranks: dict[str, int], forward: list[Arrow], loops: list[Arrow], spine: set[str]
) -> Drawing:
    """Lay one column out: rows of boxes, with places for the lines that pass."""
    rows: list[list[Box]] = [[] for _ in range(max(ranks.values()) + 1)]
    for name, box in boxes.items():
        rows[ranks[name]].append(box)
    ways = {arrow: _passages(arrow, boxes, ranks, rows) for arrow in forward}
    _place(rows, ways, spine)
    lines = [Line(_route(way), *_worded(arrow)) for arrow, way in ways.items()]
    left, right = min(box.left for row in rows for box in row), max(box.right for row in rows for box in row)
    for arrow in loops:
        source, target = boxes[arrow.source], boxes[arrow.target]
        if all(row[0] in (source, target) for row in rows if source in row or target in row):
            left -= LANE
            points = [(source.left, source.y), (left, source.y), (left, target.y), (target.left, target.y)]
        else:
            right += LANE
            points = [(source.right, source.y), (right, source.y), (right, target.y), (target.right, target.y)]
        lines.append(Line(points, source=arrow.source, target=arrow.target))
    height = max(box.bottom for row in rows for box in row)
    drawing = Drawing(right - left, height, list(boxes.values()), lines)
    _shift(drawing, -left)
    return drawing


def _passages(arrow: Arrow, boxes: dict[str, Box], ranks: dict[str, int], rows: list[list[Box]]) -> list[Box]:
    """Return the boxes on an arrow's way, with a narrow one in every row that it passes."""
    way = [boxes[arrow.source]]
    for rank in range(ranks[arrow.source] + 1, ranks[arrow.target]):
        passage = Box("", "passage", 4, 0)
        rows[rank].append(passage)
        way.append(passage)
    return [*way, boxes[arrow.target]]


def _place(rows: list[list[Box]], ways: dict[Arrow, list[Box]], spine: set[str]) -> None:
    """Put the spine on a straight line and the rest to its right, near what leads to it."""
    before: dict[int, list[Box]] = {}
    for way in ways.values():
        for above, below in pairwise(way):
            before.setdefault(id(below), []).append(above)
    y = 0.0
    for row in rows:
        height = max(box.height for box in row)
        wanted = {id(box): _mean([above.x for above in before.get(id(box), [])]) for box in row}
        row.sort(key=lambda box: (box.name not in spine, wanted[id(box)]))
        edge: float | None = None
        for box in row:
            # Beside the spine, not on it.
            box.x = 0.0 if box.name in spine else wanted[id(box)]
            if edge is not None:
                box.x = max(box.x, edge + GAP_X + box.width / 2)
            elif box.name not in spine and box.kind == "passage":
                box.x = max(box.x, GAP_X)
            box.y, box.row_top = y + height / 2, y
            edge = box.right
        y += height + GAP_Y
    for way in ways.values():
        passages = way[1:-1]
        for passage in passages:  # one straight line
            passage.x = max(p.x for p in passages)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _route(way: list[Box]) -> list[tuple[float, float]]:
    """Right angles: down, across in the gap between two rows, down."""
    points = [(way[0].x, way[0].bottom)]
    for above, below in pairwise(way):
        if abs(above.x - below.x) > 0.5:
            middle = below.row_top - GAP_Y / 2
            points += [(above.x, middle), (below.x, middle)]
        points.append((below.x, below.top))
    return points
