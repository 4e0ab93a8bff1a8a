"""What commands print while they work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from perennial_cli import console


def test_how_far_it_is_is_said_after_each_item(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    @contextmanager
    def working(text: str) -> Iterator[Callable[[str], None]]:
        steps.append(text)
        yield steps.append

    monkeypatch.setattr(console, "working", working)
    assert [*console.each("ab", 2, "asking")] == ["a", "b"]
    assert steps == ["asking", "1 of 2", "2 of 2"]
