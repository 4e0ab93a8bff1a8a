"""How far new files lie from the data that the model in service was trained on, against an independent computation."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from perennial.data.column_statistics import NumericColumn, StringColumn, statistics
from perennial.data.drift import ColumnDrift, DropDrift, judge, summary
from perennial.data.units import Numbers, numbers_of
from perennial.features.values import STRING, DataError

RANDOM = np.random.default_rng(5)
MILES = RANDOM.normal(20_000, 8_000, 1_500)
MAKES = RANDOM.choice(["Buick", "Saab", "Chevy"], 1_500, p=[0.2, 0.3, 0.5])


def baseline(miles: Any = MILES, makes: Any = MAKES) -> dict[str, Any]:
    numbers, texts = NumericColumn("mileage", integral=False), StringColumn("make")
    numbers.add(np.asarray(miles, np.float64))
    texts.add((str(make), 1) for make in makes)
    return statistics([numbers, texts])


def found(miles: Any, makes: Any, given: dict[str, Any] | None = None, batch: int = 300) -> dict[str, ColumnDrift]:
    rows = pa.table({"mileage": pa.array(miles, pa.float64()), "make": texts(makes)})
    drift = DropDrift(given or baseline(), ["mileage", "make", "colour"])
    for start in range(0, rows.num_rows, batch):
        drift.observe(rows.slice(start, batch))
    return {one.column: one for one in drift.distances()}


def texts(values: Any) -> pa.Array:
    return pa.array(list(values), pa.string()).dictionary_encode().cast(STRING)


def test_rows_of_the_same_kind_have_not_moved() -> None:
    now = found(RANDOM.normal(20_000, 8_000, 900), RANDOM.choice(["Buick", "Saab", "Chevy"], 900, p=[0.2, 0.3, 0.5]))
    assert set(now) == {"mileage", "make"}
    assert not any(one.moved for one in now.values())


def test_the_distance_of_numbers_is_that_of_kolmogorov_and_smirnov() -> None:
    miles = RANDOM.normal(26_000, 9_000, 700)
    now = found(miles, MAKES[:700])["mileage"]
    assert now.distance == pytest.approx(ks_2samp(MILES, miles).statistic, abs=1e-4)
    assert now.moved
    assert now.before == f"median {np.sort(MILES)[749]:,.6g}"


def test_of_two_and_three_texts_the_distance_is_the_largest_difference_of_a_share() -> None:
    one = found(MILES[:600], ["Saab"] * 600)["make"]
    share = float(np.mean(MAKES == "Saab"))
    assert one.distance == pytest.approx(1 - share, abs=1e-4)
    assert (one.before, one.after) == (f"'Saab' {share:.1%}", "100.0%")
    assert one.moved


DISTRICTS = [f"Stadtteil {number}" for number in range(80)]


def districts(values: Any, before: Any = None) -> ColumnDrift:
    (one,) = seen(values, RANDOM.choice(DISTRICTS, 2_000) if before is None else before).distances()
    return one


def seen(values: Any, before: Any) -> DropDrift:
    drift = DropDrift(baseline([0] * len(before), before), ["make"])
    for start in range(0, len(values), 700):
        drift.observe(pa.table({"make": texts(values[start : start + 700])}))
    return drift


@pytest.mark.parametrize("rows", [10, 30, 1_500])
def test_values_that_the_baseline_never_had_have_moved(rows: int) -> None:
    """Also in a file of few rows, and though no value had more than some hundredths of the rows."""
    one = districts(["Stadtteil Neustadt"] * rows)
    assert (one.distance, one.moved) == (1.0, True)
    said = "rows with a value never seen before, such as 'Stadtteil Neustadt': 0.0%"
    assert (one.before, one.after) == (said, "100.0%")


@pytest.mark.parametrize("new", [30, 20_000], ids=["some new ones", "more than are counted"])
def test_new_values_count_together(new: int) -> None:
    values = [f"Neu {number % new}" for number in range(30_000)] + RANDOM.choice(DISTRICTS, 10_000).tolist()
    one = districts(values)
    assert one.distance == pytest.approx(0.75, abs=0.01)
    assert one.moved
    assert one.after == "75.0%"
    assert "such as 'Neu 0'" in one.before


def test_the_distance_of_many_texts_is_their_total_variation() -> None:
    """Where half of the values come no more, no value has moved by more than a hundredth or two."""
    before = RANDOM.choice(DISTRICTS, 2_000)
    values = RANDOM.choice([*DISTRICTS[:40], "Neu"], 1_500, p=[0.0225] * 40 + [0.1]).tolist()
    shares = [np.array([np.mean(np.array(rows) == name) for name in [*DISTRICTS, "Neu"]]) for rows in (before, values)]
    one = districts(values, before)
    assert one.distance == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2, abs=1e-4)
    assert one.before == "80 values, most of all rows with a value never seen before, such as 'Neu': 0.0%"
    assert one.moved
    without = districts([value for value in values if value != "Neu"], before)
    assert without.before.startswith("80 values, most of all 'Stadtteil ")
    assert without.moved


@pytest.mark.parametrize(("values", "before", "rows"), [
    (80, 2_000, 1_500), (80, 2_000, 100), (80, 2_000, 20), (80, 300, 300), (80, 100, 2_000), (80, 2_000, 1),
    (1_000, 2_000, 1_500), (1_000, 500, 5_000), (9_000, 8_000, 3_000), (2, 600, 200), (3, 150, 10),
])  # fmt: skip
@pytest.mark.parametrize("skew", [0, 1], ids=["equally likely", "few frequent ones"])
def test_values_that_differ_by_chance_have_not_moved(values: int, before: int, rows: int, skew: int) -> None:
    """Equally likely values, and some that are frequent with a long tail; large files and small ones."""
    shares = 1.0 / np.arange(1, values + 1) ** skew
    for seed in range(20):
        random = np.random.default_rng(seed)
        drawn = [
            [f"value {n}" for n in random.choice(values, count, p=shares / shares.sum())] for count in (before, rows)
        ]
        one = districts(drawn[1], drawn[0])
        assert not one.moved
        judge([one], 0.01)


def test_texts_that_are_new_in_each_row_as_ever_have_not_moved() -> None:
    assert not districts([f"text {n}" for n in range(5_000, 9_000)], [f"text {n}" for n in range(5_000)]).moved


def test_values_are_not_compared_where_the_baseline_has_not_all_of_them_and_that_is_told() -> None:
    drift = seen(["other"] * 500, [f"car {number}" for number in range(10_001)])
    assert (drift.uncounted, drift.distances()) == (["make"], [])
    assert summary([], 500, drift.uncounted)["uncounted"] == ["make"]
    cut = baseline([0] * 1_000, ["a"] * 900 + ["b"] * 100)
    del cut["features"][1]["string_statistics"]["distribution"]["categorical"]["buckets"][1]
    drift = DropDrift(cut, ["make"])
    drift.observe(pa.table({"make": texts(["b"] * 500)}))
    assert (drift.uncounted, drift.distances()) == (["make"], [])


def test_few_rows_that_differ_by_chance_have_not_moved() -> None:
    one = found(MILES[:20] + 3_000, MAKES[:20])["mileage"]
    assert one.distance > 0.1
    assert not one.moved


def test_columns_without_a_row_are_passed_over() -> None:
    assert found([], []) == {}


def test_values_that_are_missing_now_have_moved() -> None:
    miles = [None if row % 2 else value for row, value in enumerate(MILES[:600].tolist())]
    now = found(miles, [None] * 600)
    assert (now["mileage"].distance, now["mileage"].before, now["mileage"].after) == (0.5, "missing 0.0%", "50.0%")
    assert (now["make"].distance, now["make"].before, now["make"].after) == (1.0, "missing 0.0%", "100.0%")
    assert now["mileage"].moved
    assert now["make"].moved


def test_values_that_come_where_none_were_have_moved() -> None:
    before = baseline([np.nan] * 1_500)
    now = found(MILES[:600], MAKES[:600], before)["mileage"]
    assert (now.distance, now.before, now.after) == (1.0, "missing 100.0%", "0.0%")


def test_missing_texts_are_seen_where_too_many_are_different_to_be_compared() -> None:
    before = baseline(makes=[f"car {number}" for number in range(1_500)])
    assert (
        found(MILES[:600], [None] * 300 + [f"other {number}" for number in range(300)], before)["make"].distance == 0.5
    )


def test_a_few_missing_values_more_are_chance() -> None:
    assert not found([None, None, *MILES[:18].tolist()], MAKES[:20])["mileage"].moved


def test_a_column_of_another_kind_is_passed_over() -> None:
    drift = DropDrift(baseline(), ["mileage", "make"])
    drift.observe(pa.table({"mileage": texts(["a", "b"]), "make": pa.array([1.0, 2.0])}))
    assert drift.distances() == []


def test_a_large_baseline_is_compared_by_its_sketch() -> None:
    miles = RANDOM.normal(20_000, 8_000, 200_000)
    later = RANDOM.normal(24_000, 8_000, 50_000)
    one = found(later, ["Saab"] * 50_000, baseline(miles, ["Saab"] * 200_000), batch=10_000)["mileage"]
    assert one.distance == pytest.approx(ks_2samp(miles, later).statistic, abs=0.01)


def test_the_summary_has_the_farthest_first_and_all_distances() -> None:
    moved = list(found(MILES[:700] + 9_000, MAKES[:700]).values())
    document = summary(moved, 700)
    assert [one["column"] for one in document["moved"]] == ["mileage"]
    assert set(document["distances"]) == {"mileage", "make"}
    assert document["rows"] == 700


def test_a_definition_may_refuse_a_drop_that_has_moved() -> None:
    moved = list(found(MILES[:700] + 9_000, MAKES[:700]).values())
    with pytest.raises(DataError, match=r"mileage by 0\.\d\d \(median .* -> median .*\); at most 0\.2 is allowed"):
        judge(moved, 0.2)
    judge(moved, 0.9)
    judge(moved, None)


def test_chance_alone_is_never_refused() -> None:
    judge(list(found(MILES[:20] + 3_000, MAKES[:20]).values()), 0.05)


@pytest.mark.parametrize(
    ("unit", "factor", "said"),
    [
        ("miles", 1.609344, "as miles in kilometres"),
        (None, 100.0, "100 times what they were"),
        (None, 1.3, None),  # dearer, and in no other unit
    ],
)
def test_a_column_that_moved_as_another_unit_would_move_it_says_so(unit, factor, said) -> None:
    values = np.random.default_rng(1).gamma(3.0, 1000.0, 3000)
    moving = DropDrift(baseline(values[:1500]), ["mileage"], {"mileage": Numbers(unit)})
    moving.observe(pa.table({"mileage": pa.array(values[1500:] * factor)}))
    (moved,) = moving.distances()
    assert moved.moved
    if said is None:
        assert moved.unit == ""
    else:
        assert re.search(f": the numbers are {said}, is it another unit\\?", str(moved))


def moved_by(factor: float, said: Numbers) -> ColumnDrift:
    """A column whose numbers are multiplied, and of which those beyond its range were put aside."""
    values = np.random.default_rng(1).gamma(3.0, 1000.0, 6000)
    new = values[3000:] * factor
    said = said._replace(above=int((new > said.most).sum()))
    moving = DropDrift(baseline(values[:3000], ["Saab"] * 3000), ["mileage"], {"mileage": said})
    moving.observe(pa.table({"mileage": pa.array(new[new <= said.most])}))
    (moved,) = moving.distances()
    return moved


def test_nobody_is_asked_about_the_unit_of_a_column_whose_unit_never_changes() -> None:
    for factor in (1.609344, 100.0):
        assert moved_by(factor, Numbers("miles")).unit
        fixed = moved_by(factor, Numbers("miles", is_fixed=True))
        assert (fixed.moved, fixed.unit) == (True, "")
        assert "?" not in str(fixed)


@pytest.mark.parametrize("most", [8_000.0, 5_000.0, 3_000.0])
def test_another_unit_is_told_by_the_rows_that_are_within_the_range(most: float) -> None:
    """Those beyond were put aside: 9, 33 and 67 % of them."""
    assert moved_by(1.609344, Numbers("miles", most=most)).unit == "as miles in kilometres"
    assert moved_by(1.3, Numbers("miles", most=most)).unit == ""


def test_what_a_definition_says_of_numbers_is_their_unit_their_range_and_whether_the_unit_stays() -> None:
    columns = {"mileage": {"type": "float", "unit": "mi", "min": 0, "max": 9}, "age": {"type": "float", "max": None}}
    monitoring = {"data_quality": {"same_unit": ["mileage"]}}
    definition = {"columns": columns, "monitoring": monitoring}
    broken = {("mileage", "maximum"): 7, ("age", "missing"): 3}
    assert numbers_of(definition, broken) == {"mileage": Numbers("mi", True, 0, 9, 0, 7), "age": Numbers()}
    assert numbers_of(definition) == {"mileage": Numbers("mi", True), "age": Numbers()}
