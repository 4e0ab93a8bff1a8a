"""Expressions of states that were parsed once give what they give when they are parsed each time."""

import threading
from collections.abc import Iterator
from typing import Any

import jsonata
import pytest

from localcloud.engine.stepfunctions import expressions

INPUT = {"n": [3, 1, 2], "o": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "t": "2026-11-29", "e": None}
TEXTS = [
    "$states.input.n[0]",
    "$sort($states.input.n)",
    "$sort($states.input.n, function($l, $r) { $l < $r })",
    "$states.input.o^(>a).b",
    "$states.input.o{b: a}",
    "$states.input.o.{'is': b, 'of': %.t}",
    "$states.input.o#$i[$i = 1].b",
    "$states.input.o@$each.($each.a & $each.b)",
    "$states.input ~> |o|{'a': a + 1}, ['b']|",
    "( $f := function($x) { $x <= 1 ? 1 : $x * $f($x - 1) }; $f(5) )",
    "( $twice := function($x)<n:n> { 2 * $x }; $map($states.input.n, $twice) )",
    "$map($states.input.n, $power(?, 2))",
    "$match($states.input.t, /(\\d+)-(\\d+)/).groups",
    "$merge([$states.input, {'n': $states.input.n ~> $sum()}])",
    "[$states.input.o[a > 5]]",
]


def bound(value: Any) -> dict[str, Any]:
    return {"states": {"input": value}}


def parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield what a tree is made of, each of its nodes once."""
    if isinstance(value, list | tuple):
        yield len(value)
        for each in value:
            yield from parts(each, seen)
    elif isinstance(value, jsonata.Parser.Symbol):
        if id(value) in seen:
            return
        seen.add(id(value))
        for name, each in sorted(vars(value).items()):
            yield name
            yield from parts(each, seen)
    else:
        yield type(value), value if isinstance(value, str | int | float | None) else id(value)


@pytest.mark.parametrize("text", TEXTS)
def test_an_expression_gives_each_time_what_it_gives_when_it_is_parsed_for_that(text: str) -> None:
    before = list(parts(expressions._parsed(text).ast, set()))
    for value in (INPUT, {"n": 7, "o": [], "t": "1-2"}, INPUT):
        expected = jsonata.Jsonata.jsonata(text, timeout=1000).evaluate(None, bound(value))
        assert expressions.expression(text, timeout=1000).evaluate(None, bound(value)) == expected
    assert list(parts(expressions._parsed(text).ast, set())) == before


def test_what_one_evaluation_has_assigned_or_registered_the_next_has_not() -> None:
    first, second = (expressions.expression("$own", timeout=1000) for _ in range(2))
    first.assign("own", 1)
    assert [first.evaluate(None, {}), second.evaluate(None, {})] == [1, None]


def test_an_expression_has_its_whole_time_however_long_ago_it_was_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0]
    monkeypatch.setattr(jsonata.Timebox, "current_milli_time", lambda: clock[0])
    assert expressions.expression("1 + 1", timeout=1000).evaluate(None, {}) == 2
    clock[0] += 60_000
    late = expressions.expression("1 + 1", timeout=1000)
    assert late.evaluate(None, {}) == 2
    clock[0] += 1001
    with pytest.raises(jsonata.JException):
        late.evaluate(None, {})


def test_threads_share_what_is_parsed_and_nothing_else() -> None:
    text, answers = "$sum($map($states.input.n, function($x) { $x * $states.input.by }))", dict[int, set[Any]]()

    def ask(by: int) -> None:
        asked = (expressions.expression(text, timeout=1000) for _ in range(50))
        answers[by] = {one.evaluate(None, bound({"n": [1, 2], "by": by})) for one in asked}

    threads = [threading.Thread(target=ask, args=(by,)) for by in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {by: {3 * by} for by in range(4)}


def test_what_is_no_expression_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(jsonata.JException):
            expressions.expression("1 +", timeout=1000)
