"""What commands print while they work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from perennial_cli import console


def test_where_nobody_looks_at_a_terminal_a_line_now_and_then_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 9.9, 10.0, 19.9, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with console.working("looking") as step:
        for name in "abcd":
            step(name)
    assert capsys.readouterr() == ("", "looking: b\nlooking: d\n")


def test_how_far_it_is_is_said_after_each_item(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    @contextmanager
    def working(text: str) -> Iterator[Callable[[str], None]]:
        steps.append(text)
        yield steps.append

    monkeypatch.setattr(console, "working", working)
    assert [*console.each("ab", 2, "asking")] == ["a", "b"]
    assert steps == ["asking", "1 of 2", "2 of 2"]


def test_a_list_of_nothing_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("run", "status", rows=[])
    out, err = capsys.readouterr()
    assert (out.split(), err) == (["run", "status"], "none yet\n")
