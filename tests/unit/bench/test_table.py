"""The table of benchmarks: what is missed, how it reads, and where it goes."""

from pathlib import Path

import pytest

from bench import table
from bench.bounds import Bound, least, most
from bench.table import Row

Bounds = dict[str, dict[str, Bound]]


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> Bounds:
    """Bounds of no benchmark, to which a test adds its own."""
    own: Bounds = {}
    monkeypatch.setattr(table, "BOUNDS", own)
    return own


@pytest.mark.parametrize(
    ("row", "missed"),
    [
        (Row("a", 3.0, "s", most=3), False),
        (Row("a", 3.01, "s", most=3), True),
        (Row("a", 100, "1/s", least=100), False),
        (Row("a", 99, "1/s", least=100), True),
        (Row("a", 99, "s"), False),
    ],
)
def test_a_bound_is_met_up_to_and_including_it(row: Row, missed: bool) -> None:
    assert row.missed is missed


@pytest.mark.parametrize(
    ("seconds", "mebibytes", "missed"), [(2, 100, []), (2.01, 100, ["took, s"]), (2, 101, ["memory, MiB"])]
)
def test_a_bound_that_is_missed_fails_the_command_of_time_as_of_memory(
    seconds: float, mebibytes: float, missed: list[str], capsys: pytest.CaptureFixture[str], bounds: Bounds
) -> None:
    bounds["any"] = {"took, s": most(times=2), "memory, MiB": most(100)}
    rows = [Row("other", 1000, "s"), Row("took", seconds, "s", peers={"A": 1}), Row("memory", mebibytes, "MiB")]
    assert table.finish("any 1,000 rows", "Text.", rows, write=False) == bool(missed)
    lines = [line for line in capsys.readouterr().out.splitlines() if "missed" in line]
    assert [line.split("|")[1].strip() for line in lines] == missed


def test_a_bound_of_a_row_that_was_not_measured_is_missed(capsys: pytest.CaptureFixture[str], bounds: Bounds) -> None:
    bounds["any"] = {"memory, MiB": most(100)}
    assert table.finish("any", "Text.", [Row("memory of all", 1, "MiB")], write=False) == 1
    assert "missed: 'memory, MiB' has a bound and was not measured" in capsys.readouterr().out


def test_a_bound_is_a_number_and_so_many_times_the_best_peer_a_named_one_or_another_row() -> None:
    rows = [Row("one", 10, "s", peers={"A": 5, "B": 4}, others={"C": 1}), Row("two", 3, "s"), Row("three", 5, "s")]
    held = {"one, s": most(2, times=3), "two, s": least(times=0.5, of="one, s"), "*, s": most(9)}
    one, two, three = table.bounded(rows, held)
    assert (one.most, two.least, two.most, three.most) == (14, 5, None, 9)
    assert [row.missed for row in (one, two, three)] == [False, True, False]
    assert table.bounded(rows, {"one, s": least(times=2, of="A")})[0].least == 10
    with pytest.raises(ValueError, match=r"'two, s' is bound by 'peer', which was not measured"):
        table.bounded(rows, {"two, s": most(times=1)})


@pytest.mark.parametrize(("what", "best"), [("answers a second", ("B", 3)), ("median", ("A", 2))])
def test_the_best_peer_has_the_most_a_second_or_the_least_of_all_else(what: str, best: tuple[str, float]) -> None:
    assert Row(what, 1, "", peers={"A": 2, "B": 3, "C": None}, others={"D": 0}).best_peer == best
    assert Row(what, 1, "", others={"D": 0}).best_peer is None


def test_the_table_shows_what_was_measured_and_nothing_for_what_was_not() -> None:
    rows = [
        Row("one", 1234.5, "ms", floor=0.01234, peers={"A": 56.78, "B": 4}, others={"C": 5}),
        Row("of all", 0.5, "", most=0.6),
    ]
    assert table.markdown(rows, "Arrow").splitlines() == [
        "|         | floor: Arrow | us    | A    | B | C | bound       |     |",
        "|---------|--------------|-------|------|---|---|-------------|-----|",
        "| one, ms | 0.0123       | 1,234 | 56.8 | 4 | 5 |             |     |",
        "| of all  |              | 0.5   |      |   |   | at most 0.6 | met |",
    ]
    assert table.markdown(rows[1:]).splitlines()[0] == "|        | us  | bound       |     |"


def test_benchmarks_of_one_run_are_one_table_with_the_best_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounds: Bounds
) -> None:
    monkeypatch.setenv("BENCH_ROWS", str(tmp_path / "rows"))
    peers: list[dict[str, float]] = [{}, {"A": 4, "B": 2}]
    for name, some in zip("ab", peers, strict=True):
        bounds[name] = {"one, s": most(3)}
        table.finish(name, "Text.", [Row("one", 1, "s", floor=0.5, peers=some)], write=False, floor="C" * bool(some))
    assert table.together(tmp_path / "rows").splitlines() == [
        "| benchmark |        | floor | us | best peer | bound     |     |",
        "|-----------|--------|-------|----|-----------|-----------|-----|",
        "| a         | one, s | 0.5   | 1  |           | at most 3 | met |",
        "| b         | one, s | 0.5 C | 1  | 2 B       | at most 3 | met |",
    ]


def test_the_page_gets_the_section_between_its_marks_again_and_again() -> None:
    page = "before\n<!-- bench: a -->\nold\n<!-- end -->\nbetween\n<!-- bench: b -->\n<!-- end -->\nafter\n"
    once = table.replaced(page, "a", "new")
    assert once == page.replace("old\n", "\nnew\n\n")
    assert table.replaced(once, "a", "new") == once
    with pytest.raises(ValueError, match="no place for 'c'"):
        table.replaced(page, "c", "new")
