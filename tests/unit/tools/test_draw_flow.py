"""The picture shows the state machine as its file has it, and a stale one is found."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from perennial_cli import flow_layout
from perennial_cli.flow_layout import Box, Drawing
from tools import asl, draw_flow
from tools.draw_flow import ROOT

FILES = sorted(ROOT.glob("statemachines/*.asl.json"))


def task(**more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", **more}


def machine(states: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def drawn(states: dict[str, Any], aspect: float = 0) -> Drawing:
    return flow_layout.draw(next(asl.flows(machine(states))), aspect)


def boxes(drawing: Drawing) -> Iterator[Box]:
    for box in drawing.boxes:
        yield box
        for inner in box.inner:
            yield from boxes(inner)


def texts(svg: str) -> str:
    return " ".join(element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))  # noqa: S314


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_state_but_those_that_only_report_an_error_is_in_the_picture(file: Path) -> None:
    definition = asl.parse(file.read_text())
    shown = texts(draw_flow.svg("name", definition))
    caught = {edge.target for _, body in asl.states(definition) for edge in asl.edges(body) if edge.kind == "catch"}
    again = {f"{name} again?" for name, _ in asl.states(definition)} | {"Predict again?"}
    caught |= {edge.target for name, body in asl.states(definition) if name in again for edge in asl.edges(body)}
    for name, body in asl.states(definition):
        if not ((body["Type"] == "Fail" or name in again) and name in caught):
            assert name in shown


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_two_boxes_of_a_picture_overlap_and_all_are_inside(file: Path) -> None:
    drawing = flow_layout.draw(next(asl.flows(asl.parse(file.read_text()))), flow_layout.ASPECT)
    for one, other in combinations(drawing.boxes, 2):
        apart = one.right < other.left or other.right < one.left or one.bottom < other.top or other.bottom < one.top
        assert apart, f"{one.name} and {other.name}"
    points = [point for line in drawing.lines for point in line.points]
    points += [corner for box in drawing.boxes for corner in ((box.left, box.top), (box.right, box.bottom))]
    assert all(-1 <= x <= drawing.width + 1 and -1 <= y <= drawing.height + 1 for x, y in points)


def test_a_state_stands_below_all_that_lead_to_it() -> None:
    drawing = drawn(
        {
            "Which?": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $a = 'Short' %}", "Next": "End"}],
                "Default": "Long",
            },
            "Long": task(Next="Longer"),
            "Longer": task(Next="End"),
            "End": {"Type": "Succeed"},
        }
    )
    heights = {box.name: box.y for box in drawing.boxes}
    assert heights["Which?"] < heights["Long"] < heights["Longer"] < heights["End"]


def test_the_way_to_success_is_a_straight_line_and_a_failure_is_beside_it() -> None:
    drawing = drawn(
        {
            "Try": task(Next="Good?"),
            "Good?": {"Type": "Choice", "Choices": [{"Condition": "{% $a %}", "Next": "Yes"}], "Default": "No"},
            "Yes": {"Type": "Succeed"},
            "No": {"Type": "Fail"},
        }
    )
    where = {box.name: box for box in drawing.boxes}
    assert where["Try"].x == where["Good?"].x == where["Yes"].x
    assert where["No"].left > where["Yes"].right
    assert where["No"].kind == "fail"


def test_a_loop_goes_beside_the_boxes_and_ends_where_it_leads() -> None:
    drawing = drawn(
        {
            "Wait": {"Type": "Wait", "Next": "Look"},
            "Look": task(Next="Done?"),
            "Done?": {"Type": "Choice", "Choices": [{"Condition": "{% $a %}", "Next": "End"}], "Default": "Wait"},
            "End": {"Type": "Succeed"},
        }
    )
    back = next(line for line in drawing.lines if line.points[0][1] > line.points[-1][1])
    wait = next(box for box in drawing.boxes if box.name == "Wait")
    assert back.points[-1] == (wait.left, wait.y)
    assert back.points[1][0] < min(box.left for box in drawing.boxes)


def test_branches_stand_in_the_box_of_their_parallel_state() -> None:
    drawing = drawn(
        {
            "Both": {
                "Type": "Parallel",
                "Branches": [machine({"A": task(End=True)}), machine({"B": task(End=True)})],
                "End": True,
            }
        }
    )
    (group,) = drawing.boxes
    assert group.kind == "group"
    assert [box.name for box in boxes(drawing)] == ["Both", "A", "B"]


def test_an_error_that_leads_to_more_than_a_failure_is_drawn_dashed() -> None:
    drawing = drawn(
        {
            "Deploy": task(Next="End", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Undo"}]),
            "Undo": task(Next="Failed", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Failed"}]),
            "End": {"Type": "Succeed"},
            "Failed": {"Type": "Fail"},
        }
    )
    assert [line.label for line in drawing.lines if line.error] == ["error"]
    assert len(drawing.lines) == 3


def test_an_error_that_only_leads_back_to_its_state_is_not_drawn() -> None:
    again = {"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "Train"}], "Default": "Failed"}
    states = {
        "Train": task(Next="End", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Again?"}]),
        "Again?": again,
        "End": {"Type": "Succeed"},
        "Failed": {"Type": "Fail"},
    }
    assert {box.name for box in boxes(drawn(states))} == {"Train", "End"}
    states["Again?"] = {**again, "Default": "End"}
    assert {box.name for box in boxes(drawn(states))} == {"Train", "Again?", "End"}


def test_a_long_flow_is_broken_into_columns_where_one_line_leads_on() -> None:
    states: dict[str, Any] = {f"Step {number}": task(Next=f"Step {number + 1}") for number in range(12)}
    states["Step 12"] = {"Type": "Succeed"}
    tall, broken = drawn(states), drawn(states, aspect=1.7)
    assert broken.height < tall.height / 2
    assert len(broken.lines) == len(tall.lines) == 12


def test_text_of_a_state_cannot_break_the_picture() -> None:
    svg = draw_flow.svg("name", machine({"A < B & C": {"Type": "Succeed"}}))
    assert "A < B & C" in texts(svg)


def test_the_pictures_are_those_of_the_files() -> None:
    assert draw_flow.main(["--check"]) == 0


def test_a_stale_or_missing_picture_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "statemachines").mkdir()
    file = tmp_path / "statemachines" / "small.asl.json"
    file.write_text('{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}')
    picture = tmp_path / "docs" / "img" / "small.svg"
    assert draw_flow.main(["--check"], tmp_path) == 1
    assert draw_flow.main([], tmp_path) == 0
    assert draw_flow.main(["--check"], tmp_path) == 0
    file.write_text(file.read_text().replace('"A"', '"B"'))
    assert draw_flow.main(["--check"], tmp_path) == 1
    assert re.search(rf"{picture} is not the picture .* python -m tools.draw_flow", capsys.readouterr().err)
