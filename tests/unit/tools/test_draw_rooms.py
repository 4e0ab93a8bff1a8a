"""The picture of the rooms is that of the table of imports."""

import re
from pathlib import Path

import pytest

from tests.unit.test_rooms import PARTS
from tests.unit.tools.test_draw_flow import boxes, texts
from tools import draw_rooms
from tools.draw_flow import Box, Drawing, Line


def drawn(table: dict[str, set[str]]) -> Drawing:
    return draw_rooms._draw({part: Box(part, "room", 50, 30, [part]) for part in table}, table)


def test_the_picture_is_that_of_the_table() -> None:
    assert draw_rooms.main(["--check"]) == 0


def test_every_part_is_in_the_picture_with_what_its_docstring_says() -> None:
    shown = texts(draw_rooms.picture())
    assert [part for part in PARTS if part.rpartition(".")[2] not in shown] == []
    assert "runs A run (pydantic)" in shown
    assert "features Values and encodings (numpy, pyarrow)" in shown


def test_an_arrow_leads_from_each_part_to_what_it_may_import_unless_a_longer_way_does() -> None:
    drawing = drawn({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}})
    where = {(box.x, box.bottom): box.name for box in drawing.boxes}
    below = {(box.x, box.top): box.name for box in drawing.boxes}

    def ends(line: Line) -> str:
        return where[line.points[0]] + below[line.points[-1]]

    assert sorted(map(ends, drawing.lines)) == ["ab", "bc", "dc"]


def test_a_part_stands_below_all_that_may_import_it() -> None:
    heights = {box.name: box.y for box in drawn({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}).boxes}
    assert heights["a"] < heights["b"] < heights["c"]
    assert heights["a"] == heights["d"]
    assert [box.name for box in boxes(drawn({"a": set()}))] == ["a"]


def test_a_stale_picture_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw_rooms, "picture", lambda root: "<svg/>")
    assert draw_rooms.main(["--check"], tmp_path) == 1
    assert draw_rooms.main([], tmp_path) == 0
    assert draw_rooms.main(["--check"], tmp_path) == 0
    assert re.search(r"rooms\.svg is not the picture .* python -m tools\.draw_rooms", capsys.readouterr().err)
