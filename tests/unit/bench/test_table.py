"""The table of benchmarks: what is missed, how it reads, and where it goes."""

from pathlib import Path

import pytest

from bench import table
from bench.table import Row


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
def test_a_bound_is_met_up_to_and_including_it(row: Row, missed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert row.missed is missed
    assert table.finish("any", "Text.", [Row("b", 1, ""), row], write=False) == int(missed)
    assert ("missed" in capsys.readouterr().out) is missed


def test_the_table_shows_what_was_measured_and_nothing_for_what_was_not() -> None:
    rows = [Row("one", 1234.5, "ms", floor=0.01234, peer=56.78), Row("of all", 0.5, "", most=0.6)]
    assert table.markdown(rows).splitlines() == [
        "|         | floor  | us    | peer | bound       |     |",
        "|---------|--------|-------|------|-------------|-----|",
        "| one, ms | 0.0123 | 1,234 | 56.8 |             |     |",
        "| of all  |        | 0.5   |      | at most 0.6 | met |",
    ]


def test_more_peers_have_columns_of_their_own_which_rows_without_them_leave_empty() -> None:
    rows = [Row("one", 1, "%", peer=2, most=3, others=(4, 5)), Row("two", 6, "%", peer=7)]
    assert table.markdown(rows, ["A", "B"]).splitlines() == [
        "|        | floor | us | peer | A | B | bound     |     |",
        "|--------|-------|----|------|---|---|-----------|-----|",
        "| one, % |       | 1  | 2    | 4 | 5 | at most 3 | met |",
        "| two, % |       | 6  | 7    |   |   |           |     |",
    ]


def test_benchmarks_of_one_run_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ROWS", str(tmp_path / "rows"))
    for name in ("a", "b"):
        table.finish(name, "Text.", [Row("one", 1, "s", peer=2, most=3, others=(4,))], write=False, others=["A"])
    assert table.together(tmp_path / "rows").splitlines() == [
        "| benchmark |        | floor | us | peer | bound     |     |",
        "|-----------|--------|-------|----|------|-----------|-----|",
        "| a         | one, s |       | 1  | 2    | at most 3 | met |",
        "| b         | one, s |       | 1  | 2    | at most 3 | met |",
    ]


def test_the_page_gets_the_section_between_its_marks_again_and_again() -> None:
    page = "before\n<!-- bench: a -->\nold\n<!-- end -->\nbetween\n<!-- bench: b -->\n<!-- end -->\nafter\n"
    once = table.replaced(page, "a", "new")
    assert once == page.replace("old\n", "\nnew\n\n")
    assert table.replaced(once, "a", "new") == once
    with pytest.raises(ValueError, match="no place for 'c'"):
        table.replaced(page, "c", "new")
