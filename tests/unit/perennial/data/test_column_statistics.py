"""ColumnStatistics statistics against pandas and numpy, their shapes against the developer guide's examples."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.data.column_statistics import (
    MAX_CHARACTERS,
    MAX_DISTINCT,
    ColumnStatistics,
    NumericColumn,
    Sketch,
    StatisticsError,
    StringColumn,
    constraints,
    json_number,
    statistics,
)

Floats = npt.NDArray[np.float64]

PRICE = {
    "name": "price",
    "inferred_type": "Fractional",
    "numerical_statistics": {
        "common": {"num_present": 5, "num_missing": 0},
        "mean": 3.0,
        "sum": 15.0,
        "std_dev": 1.4142135623730951,
        "min": 1.0,
        "max": 5.0,
        "distribution": {
            "kll": {
                "buckets": [
                    {"lower_bound": 1.0, "upper_bound": 1.4, "count": 1.0},
                    {"lower_bound": 1.4, "upper_bound": 1.8, "count": 0.0},
                    {"lower_bound": 1.8, "upper_bound": 2.2, "count": 1.0},
                    {"lower_bound": 2.2, "upper_bound": 2.6, "count": 0.0},
                    {"lower_bound": 2.6, "upper_bound": 3.0, "count": 0.0},
                    {"lower_bound": 3.0, "upper_bound": 3.4, "count": 1.0},
                    {"lower_bound": 3.4, "upper_bound": 3.8, "count": 0.0},
                    {"lower_bound": 3.8, "upper_bound": 4.2, "count": 1.0},
                    {"lower_bound": 4.2, "upper_bound": 4.6, "count": 0.0},
                    {"lower_bound": 4.6, "upper_bound": 5.0, "count": 1.0},
                ],
                "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": [[1.0, 2.0, 3.0, 4.0, 5.0]]},
            }
        },
    },
}
FUEL = {
    "name": "fuel",
    "inferred_type": "String",
    "string_statistics": {
        "common": {"num_present": 5, "num_missing": 0},
        "distinct_count": 2.0,
        "distribution": {
            "categorical": {"buckets": [{"value": "petrol", "count": 3}, {"value": "diesel", "count": 2}]}
        },
    },
}


def numbers(values: Any, name: str = "x", *, integral: bool = False) -> NumericColumn:
    column = NumericColumn(name, integral=integral)
    column.add(np.asarray(values, dtype=np.float64))
    return column


def texts(values: list[str | None], name: str = "s", **settings: Any) -> StringColumn:
    column = StringColumn(name, **settings)
    column.add(Counter(values).items())
    return column


def kll(column: NumericColumn) -> dict[str, Any]:
    distribution: dict[str, Any] = column.statistics()["numerical_statistics"]["distribution"]["kll"]
    return distribution


def rank(levels: list[Floats], points: Floats) -> Floats:
    return np.asarray(sum(2**height * np.searchsorted(level, points) for height, level in enumerate(levels)))


def test_statistics_have_the_documented_shape_to_the_last_field() -> None:
    columns: list[ColumnStatistics] = [
        numbers([1, 2, 3, 4, 5], "price"),
        texts(["petrol", "diesel", "petrol", "petrol", "diesel"], "fuel"),
    ]
    assert statistics(columns) == {"version": 0.0, "dataset": {"item_count": 5}, "features": [PRICE, FUEL]}


def test_constraints_have_the_documented_shape_to_the_last_field() -> None:
    columns: list[ColumnStatistics] = [
        numbers([1, 2, 3, 4, 5], "price"),
        texts(["petrol", "diesel", "petrol", "petrol", "diesel"], "fuel"),
    ]
    assert constraints(columns) == {
        "version": 0.0,
        "features": [
            {
                "name": "price",
                "inferred_type": "Fractional",
                "completeness": 1.0,
                "num_constraints": {"is_non_negative": True},
            },
            {
                "name": "fuel",
                "inferred_type": "String",
                "completeness": 1.0,
                "string_constraints": {"domains": ["petrol", "diesel"]},
            },
        ],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": 0.1,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": 0.1,
                "categorical_drift_method": "LInfinity",
            },
        },
    }


def test_moments_and_buckets_equal_those_of_pandas_and_numpy() -> None:
    random = np.random.default_rng(1)
    values = random.lognormal(9.8, 0.4, 2_000)
    values[random.random(2_000) < 0.1] = np.nan
    series, found = pd.Series(values), numbers(values).statistics()["numerical_statistics"]
    assert found["common"] == {"num_present": series.count(), "num_missing": series.isna().sum()}
    for name, expected in {
        "mean": series.mean(),
        "sum": series.sum(),
        "std_dev": series.std(ddof=0),
        "min": series.min(),
        "max": series.max(),
    }.items():
        assert found[name] == pytest.approx(expected, rel=1e-12), name
    counts, edges = np.histogram(series.dropna(), bins=10)
    buckets = found["distribution"]["kll"]["buckets"]
    assert [bucket["count"] for bucket in buckets] == counts.tolist()
    assert [bucket["lower_bound"] for bucket in buckets] == pytest.approx(edges[:-1].tolist())
    assert buckets[-1]["upper_bound"] == series.max()


def test_the_spread_of_large_numbers_is_not_lost_in_rounding() -> None:
    column = NumericColumn("epoch", integral=True)
    for part in np.split(1e12 + np.arange(1_000, dtype=np.float64), 10):
        column.add(part)
    assert column.std_dev == pytest.approx(np.arange(1_000).std(), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30_000),
    st.lists(st.integers(0, 30_000), max_size=8),
)
def test_any_way_of_cutting_numbers_into_batches_gives_the_same_statistics(
    seed: int, rows: int, cuts: list[int]
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(100, 50, rows).round(1)
    values[1:][random.random(rows - 1) < 0.05] = np.nan  # a column without any value has other statistics
    whole, parted = numbers(values), NumericColumn("x", integral=False)
    for part in np.split(values, sorted(cut % rows for cut in cuts)):
        parted.add(part)
    assert kll(parted) == kll(whole)
    assert (parted.num_present, parted.num_missing) == (whole.num_present, whole.num_missing)
    assert parted.sum == pytest.approx(whole.sum, rel=1e-12)
    assert parted.mean == pytest.approx(whole.mean, rel=1e-12)
    assert parted.std_dev == pytest.approx(whole.std_dev, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.sampled_from([None, "a", "b", "c", ""]), min_size=1, max_size=50), st.integers(0, 50))
def test_any_way_of_cutting_texts_into_batches_gives_the_same_statistics(values: list[str | None], cut: int) -> None:
    parted = StringColumn("s")
    for part in (values[:cut], values[cut:]):
        parted.add(Counter(part).items())
    assert parted.statistics() == texts(values).statistics()
    assert parted.constraints() == texts(values).constraints()


@pytest.mark.parametrize("pieces", [2, 40])
def test_columns_that_are_merged_say_what_one_says_and_ranks_are_as_close_as_documented(pieces: int) -> None:
    values = np.random.default_rng(1).lognormal(10, 1, 200_000)
    values[::50] = np.nan
    whole, parted = numbers(values), numbers([])
    for piece in np.array_split(np.sort(values), pieces):
        parted.merge(numbers(piece))
    assert (parted.num_present, parted.num_missing) == (whole.num_present, whole.num_missing)
    assert (parted.min, parted.max) == (whole.min, whole.max)
    assert [parted.sum, parted.mean] == pytest.approx([whole.sum, whole.mean], rel=1e-12)
    assert parted.std_dev == pytest.approx(whole.std_dev, rel=1e-9)
    levels = [np.array(level) for level in kll(parted)["sketch"]["data"]]
    known = np.sort(values[~np.isnan(values)])
    points = np.quantile(known, np.linspace(0, 1, 301))
    error = np.abs(rank(levels, points) - np.searchsorted(known, points)).max() / known.size
    assert sum(2**height * level.size for height, level in enumerate(levels)) == known.size
    assert error <= (np.log2(known.size / Sketch.SIZE) + 3) / Sketch.SIZE


@pytest.mark.parametrize("different", [[3, 40], [30_000, 5], [5, 30_000], [9_000, 9_000], [20_000, 30_000]])
def test_texts_that_are_merged_say_what_one_column_says(different: list[int]) -> None:
    pieces = [[None, *(f"{number}" for number in range(count)), "0"] for count in different]
    parted = StringColumn("s")
    for piece in pieces:
        parted.merge(texts(piece))
    whole = texts([value for piece in pieces for value in piece])
    assert parted.statistics() == whole.statistics()
    assert parted.constraints() == whole.constraints()


def test_up_to_2048_values_the_sketch_is_all_of_them() -> None:
    values = np.random.default_rng(1).normal(size=2_048)
    assert kll(numbers(values))["sketch"]["data"] == [sorted(values.tolist())]
    assert len(kll(numbers(np.append(values, 0.0)))["sketch"]["data"]) == 2


@pytest.mark.parametrize("order", ["random", "ascending", "descending", "few values"])
@pytest.mark.parametrize("rows", [2_049, 50_000, 1_000_000])
def test_ranks_of_the_sketch_are_as_close_as_documented(order: str, rows: int) -> None:
    values = np.random.default_rng(1).lognormal(0, 1, rows)
    if order == "few values":
        values = values.round()
    elif order != "random":
        values = np.sort(values)[:: 1 if order == "ascending" else -1]
    sketch = Sketch()
    sketch.add(values)
    levels = sketch.levels()
    assert sum(2**height * level.size for height, level in enumerate(levels)) == rows
    points = np.quantile(values, np.linspace(0, 1, 301))
    error = np.abs(rank(levels, points) - np.searchsorted(np.sort(values), points)).max() / rows
    assert error <= (np.log2(rows / Sketch.SIZE) + 3) / Sketch.SIZE / 3


def test_the_sketch_stays_small() -> None:
    sketch = Sketch()
    sketch.add(np.random.default_rng(1).normal(size=3_000_000))
    assert sum(level.size for level in sketch.levels()) < 6_000


def test_reading_the_sketch_changes_nothing() -> None:
    values = np.random.default_rng(1).normal(size=40_000)
    read_between, read_once = Sketch(), Sketch()
    read_between.add(values[:30_000])
    read_between.levels()
    for sketch, part in ((read_between, values[30_000:]), (read_once, values)):
        sketch.add(part)
    for first, second in zip(read_between.levels(), read_once.levels(), strict=True):
        assert first.tolist() == second.tolist()


def test_bucket_counts_of_many_values_add_up_to_them() -> None:
    column = numbers(np.random.default_rng(1).normal(size=100_000))
    assert sum(bucket["count"] for bucket in kll(column)["buckets"]) == 100_000


def test_a_constant_column_is_one_full_bucket() -> None:
    column = numbers([7.0, 7.0, 7.0])
    assert column.std_dev == 0
    assert [bucket["count"] for bucket in kll(column)["buckets"]] == [0] * 9 + [3]
    assert {bucket["upper_bound"] for bucket in kll(column)["buckets"]} == {7.0}


def test_one_row_is_enough() -> None:
    found = statistics([numbers([2.5]), texts(["red"])])
    assert found["dataset"]["item_count"] == 1
    assert found["features"][0]["numerical_statistics"]["std_dev"] == 0
    assert found["features"][1]["string_statistics"]["distinct_count"] == 1


@pytest.mark.parametrize("column", [numbers([np.nan, np.nan]), texts([None, None], "x")])
def test_a_column_without_a_value_is_unknown_and_says_how_many_are_missing(
    column: NumericColumn | StringColumn,
) -> None:
    feature = statistics([column])["features"][0]
    assert feature["inferred_type"] == "Unknown"
    assert feature["string_statistics"]["common"] == {"num_present": 0, "num_missing": 2}
    assert constraints([column])["features"] == [{"name": "x", "inferred_type": "Unknown", "completeness": 0.0}]


def test_integers_are_integral() -> None:
    assert numbers([1, 2], integral=True).statistics()["inferred_type"] == "Integral"
    assert numbers([1, 2], integral=True).constraints()["inferred_type"] == "Integral"


def test_one_negative_number_ends_is_non_negative() -> None:
    assert numbers([0, 1]).constraints()["num_constraints"] == {"is_non_negative": True}
    assert numbers([-0.1, 1]).constraints()["num_constraints"] == {"is_non_negative": False}


def test_completeness_is_the_share_that_was_present() -> None:
    assert numbers([1, np.nan, 2, 3]).constraints()["completeness"] == 0.75
    assert texts(["a", None]).constraints()["completeness"] == 0.5


def test_the_empty_text_is_a_value_and_none_is_not() -> None:
    column = texts(["", None, "a"])
    assert (column.num_present, column.num_missing, column.distinct_count) == (2, 1, 2)


def test_categories_come_by_frequency_then_by_name() -> None:
    buckets = texts(["b", "a", "c", "c"]).statistics()["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert buckets == [{"value": "c", "count": 2}, {"value": "a", "count": 1}, {"value": "b", "count": 1}]


def test_a_declared_domain_is_kept_whatever_the_rows_show() -> None:
    found = texts(["a"], domain=["b", "a"]).constraints()
    assert found["string_constraints"] == {"domains": ["b", "a"]}


def test_no_domain_is_suggested_when_many_values_were_seen_once() -> None:
    repeated = [f"v{i}" for i in range(9)] * 2
    assert "string_constraints" in texts([*repeated, "once"]).constraints()
    assert "string_constraints" not in texts([*repeated[1:], "once"]).constraints()


def test_no_domain_is_suggested_beyond_max_categories() -> None:
    assert "string_constraints" in texts(["a", "b"] * 2, max_categories=2).constraints()
    assert "string_constraints" not in texts(["a", "b", "c"] * 2, max_categories=2).constraints()


def test_beyond_max_distinct_the_number_of_texts_is_estimated_and_none_is_kept() -> None:
    rows = 6 * MAX_DISTINCT
    column, shuffled = StringColumn("vin"), StringColumn("vin")
    names = [f"vin-{i}" for i in range(rows)]
    column.add((name, 2) for name in names)
    for part in np.split(np.random.default_rng(1).permutation(rows), 5):
        shuffled.add((names[i], 2) for i in part)
    found = column.statistics()["string_statistics"]
    assert found["distinct_count"] == pytest.approx(rows, rel=0.04)
    assert found["common"]["num_present"] == 2 * rows
    assert found["distribution"] == {"categorical": {"buckets": []}}
    assert shuffled.statistics() == column.statistics()
    assert "string_constraints" not in column.constraints()


def test_exactly_max_distinct_texts_are_all_counted() -> None:
    column = StringColumn("vin")
    column.add((str(i), 1) for i in range(MAX_DISTINCT))
    assert column.distinct_count == MAX_DISTINCT
    assert len(column.statistics()["string_statistics"]["distribution"]["categorical"]["buckets"]) == MAX_DISTINCT


def test_an_infinite_number_is_refused_by_the_columns_name() -> None:
    with pytest.raises(StatisticsError, match="column 'x' holds an infinite number"):
        numbers([1.0, np.inf])


@pytest.mark.parametrize("columns", [[], [NumericColumn("x", integral=False)]])
def test_no_rows_are_refused(columns: list[NumericColumn]) -> None:
    for document in (statistics, constraints):
        with pytest.raises(StatisticsError, match="no rows"):
            document(columns)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(StatisticsError, match=r"different numbers of rows: \{'x': 2, 's': 1\}"):
        statistics([numbers([1, 2]), texts(["a"])])


def test_numbers_that_json_lacks_are_written_by_name() -> None:
    written = [json_number(value) for value in (1.5, float("nan"), float("inf"), float("-inf"))]
    assert written == [1.5, "NaN", "Infinity", "-Infinity"]


def test_documents_are_json_even_where_a_sum_overflows() -> None:
    with np.errstate(over="ignore"):
        column = numbers([1.7e308, 1.7e308])
        assert (
            json.loads(json.dumps(statistics([column]), allow_nan=False))["features"][0]["numerical_statistics"]["sum"]
            == "Infinity"
        )


def test_texts_that_are_long_together_are_no_category() -> None:
    column = StringColumn("x", max_categories=100)
    column.add((f"{number}{'x' * (MAX_CHARACTERS // 10)}", 5) for number in range(20))
    column.add([("0" + "x" * (MAX_CHARACTERS // 10), 5), ("short", 1)])
    assert (column.distinct_count, column.num_present) == (21, 106)
    assert column.statistics()["string_statistics"]["distribution"]["categorical"]["buckets"] == []
    assert "string_constraints" not in column.constraints()
