"""Data quality of a window: what is drift, what is bad data, and what is nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perennial.data.column_statistics import NumericColumn, StringColumn, constraints, statistics
from perennial.data.units import Numbers
from perennial.monitoring.data_quality import MAX_UNKNOWN, DataLimits, DataQuality, WindowRecords, judge
from perennial.monitoring.findings import MonitorError, verdict_of, violations

LIMITS = DataLimits(distance=0.1, stability=0.1, missing=0.1, invalid=0.01, false_alarms=0.01)
Columns = Mapping[str, Any]


def records(rows: int, seed: int, **changes: Any) -> dict[str, Any]:
    """Columns as people know them; `changes` replaces or, as functions of the values, changes some."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "mileage": np.maximum(random.normal(20_000, 8_000, rows), 10),
        "doors": random.choice([2.0, 4.0], rows, p=[0.3, 0.7]),
        "make": random.choice(["Buick", "Saab", "Pontiac", "Saturn"], rows, p=[0.4, 0.3, 0.2, 0.1]).tolist(),
    }
    for name, change in changes.items():
        columns[name] = change(columns[name]) if callable(change) else change
    return {name: values for name, values in columns.items() if values is not None}


def described(columns: Columns) -> list[Any]:
    found: list[Any] = []
    for name, values in columns.items():
        if isinstance(values, list):
            text = StringColumn(name)
            text.add(Counter(values).items())
            found.append(text)
        else:
            number = NumericColumn(name, integral=False)
            number.add(values)
            found.append(number)
    return found


BASELINE = described(records(2000, 0))


def judged(columns: Columns, baseline: list[Any] = BASELINE, limits: DataLimits = LIMITS, **seen: Any) -> DataQuality:
    rows = len(next(iter(columns.values())))
    described_now = statistics(described(columns))
    return judge(
        statistics(baseline), constraints(baseline), WindowRecords(described_now, rows, len(columns), **seen), limits
    )


def found(result: DataQuality) -> list[tuple[str, str, str]]:
    return [(one.kind, one.check, one.subject) for one in result.findings]


def test_a_window_like_the_baseline_is_healthy() -> None:
    result = judged(records(1000, 1))
    assert found(result) == []
    assert verdict_of(result.findings) == "Healthy"
    assert [one.name for one in result.columns] == ["mileage", "doors", "make"]
    assert violations(result.findings) == {"violations": []}


def test_a_shift_of_half_a_standard_deviation_is_drift_and_said_as_awss_samples_read_it() -> None:
    result = judged(records(1000, 1, mileage=lambda values: values + 4000))
    assert found(result) == [("drift", "baseline_drift_check", "mileage")]
    (violation,) = violations(result.findings)["violations"]
    assert violation["feature_name"] == "mileage"
    distance, limit = re.search("distance: (.+) exceeds threshold: (.+)", violation["description"]).groups()  # type: ignore[union-attr]
    assert float(distance) > float(limit) == 0.1
    shown = "median 19,724.3 -> median 23,719.2, by the population stability index. Baseline drift distance: "
    assert violation["description"].startswith(shown)


@pytest.mark.parametrize(
    ("column", "limit", "measure"),
    [
        ("mileage", {"stability": 100.0}, "Kolmogorov-Smirnov distance"),
        ("mileage", {"distance": 0.99}, "population stability index"),
        ("make", {"stability": 100.0}, "largest difference of a value's share"),
        ("make", {"distance": 0.99}, "population stability index"),
    ],
)
def test_a_reason_says_which_distance_it_speaks_of(column: str, limit: dict[str, float], measure: str) -> None:
    changes = {"mileage": lambda values: values + 4000, "make": lambda makes: ["Saab", *makes[1:500], *["Saab"] * 500]}
    result = judged(records(1000, 1, **{column: changes[column]}), limits=replace(LIMITS, **limit))
    (finding,) = result.findings
    (known,) = (one.distance for one in result.columns if one.name == column)
    assert known is not None
    value = known.psi if measure.startswith("population") else known.largest
    assert finding.text.endswith(f", by the {measure}. Baseline drift distance: {value:.4g} exceeds threshold: 0.1")


def test_a_change_that_is_no_more_than_chance_in_a_small_window_is_not_drift() -> None:
    result = judged(records(30, 5, mileage=lambda values: values + 2000))
    assert result.columns[0].distance is not None
    assert result.columns[0].distance.psi > LIMITS.stability
    assert found(result) == []


def test_a_sure_change_that_is_too_small_to_matter_is_not_drift() -> None:
    result = judged(records(100_000, 1, mileage=lambda values: values + 800), described(records(50_000, 0)))
    assert result.columns[0].distance is not None
    assert result.columns[0].distance.chance < 1e-6
    assert found(result) == []


def test_a_new_category_is_drift_and_named() -> None:
    result = judged(records(1000, 1, make=lambda values: ["Tesla"] * 60 + values[60:]))
    assert {("drift", "baseline_drift_check", "make"), ("drift", "categorical_values_check", "make")} == set(
        found(result)
    )
    assert any("'Tesla'" in one.text for one in result.findings)


def test_new_values_that_few_records_have_are_counted_and_not_named() -> None:
    result = judged(records(1000, 1, make=lambda values: [f"Tesla {n // 9}" for n in range(60)] + values[60:]))
    (new,) = (one.text for one in result.findings if one.check == "categorical_values_check")
    assert new == "6.0% of the values are new; known are 'Buick', 'Saab', 'Pontiac', 'Saturn'"
    assert "Tesla" not in str(result)


def test_a_column_in_which_every_text_is_rare_is_described_without_one() -> None:
    baseline, window = ([f"{side}-{n // 5}" for n in range(1000)] for side in ("then", "now"))
    result = judged({"make": window}, described({"make": baseline}))
    assert (result.columns[0].before, result.columns[0].after) == ("200 rare texts", "200 rare texts")
    assert "now-" not in str(result)


def test_of_a_domain_those_values_are_not_named_that_few_rows_had() -> None:
    baseline, window = ["Buick"] * 500 + ["Saab"] * 9, ["Buick"] * 400 + ["Tesla"] * 400
    result = judged({"make": window}, described({"make": baseline}))
    assert any(one.text.endswith("such as 'Tesla'; known are 'Buick'") for one in result.findings)


def test_a_changed_unit_is_bad_data_not_drift() -> None:
    result = judged(records(1000, 1, mileage=lambda values: values * 1.609344))
    assert found(result) == [("bad_data", "baseline_drift_check", "mileage")]
    assert "miles in kilometres" in result.findings[0].text


def test_missing_values_are_bad_data() -> None:
    some = np.random.default_rng(9).random(1000) < 0.25
    result = judged(records(1000, 1, mileage=lambda values: np.where(some, np.nan, values)))
    assert found(result) == [("bad_data", "completeness_check", "mileage")]
    assert "0.0% were" in result.findings[0].text


def test_an_empty_column_is_bad_data() -> None:
    result = judged(records(1000, 1, make=[None] * 1000))
    assert found(result) == [("bad_data", "completeness_check", "make")]
    assert {one.name: one.why for one in result.columns}["make"] == "the window has no value of it"


def test_values_outside_of_the_contract_are_bad_data_above_the_share_that_a_run_allows() -> None:
    few = judged(records(1000, 1), broken={("mileage", "maximum"): (12, "at most 100")})
    many = judged(records(1000, 1), broken={("mileage", "maximum"): (60, "at most 100")})
    assert found(few) == []
    assert found(many) == [("bad_data", "range_check", "mileage")]
    assert many.findings[0].text == "6.0% of the records break the rule maximum of mileage: expected at most 100"


def test_another_schema_is_bad_data() -> None:
    fields = judged(records(500, 1), fields={5: 400})
    assert found(fields) == [("bad_data", "extra_column_check", "*")]
    fewer = judged(records(500, 1), fields={2: 400})
    assert found(fewer) == [("bad_data", "missing_column_check", "*")]
    names = judged(records(1000, 1), unknown={"colour\ud800": 900, "typo": 3})
    assert found(names) == [("bad_data", "extra_column_check", r"colour\ud800")]
    absent = judged(records(1000, 1, make=[None] * 1000), absent={"make": 1000})
    assert found(absent) == [("bad_data", "missing_column_check", "make")]


def test_records_of_which_none_could_be_read_are_bad_data() -> None:
    empty = WindowRecords({"dataset": {"item_count": 0}, "features": []}, 200, 3, fields={9: 200})
    result = judge(statistics(BASELINE), constraints(BASELINE), empty, LIMITS)
    assert found(result) == [("bad_data", "extra_column_check", "*")]


def test_a_column_that_is_of_another_type_than_its_baseline_is_bad_data() -> None:
    result = judged(records(1000, 1, doors=lambda values: [f"{value}" for value in values]))
    assert found(result) == [("bad_data", "data_type_check", "doors")]


def test_a_baseline_of_another_model_is_said() -> None:
    with pytest.raises(MonitorError, match="expected the baseline of the model that answered"):
        judged({"height": np.arange(200.0)})


def test_a_column_that_the_baseline_does_not_describe_is_another_schema() -> None:
    result = judged(records(1000, 1) | {"colour": ["red"] * 1000})
    assert found(result) == [("bad_data", "extra_column_check", "colour")]


def test_columns_of_too_many_texts_are_passed_over_and_named() -> None:
    texts = [f"id-{number}" for number in range(12_000)]
    baseline = described({"id": texts, "doors": np.full(12_000, 4.0)})
    result = judged({"id": [f"new-{number}" for number in range(500)], "doors": np.full(500, 4.0)}, baseline)
    assert found(result) == []
    assert result.columns[0].why == "it has too many different texts to count"


def test_a_category_that_has_become_any_text_is_drift() -> None:
    texts = [f"id-{number}" for number in range(12_000)]
    result = judged(records(12_000, 1, make=texts), described(records(12_000, 0)))
    assert found(result) == [("drift", "categorical_values_check", "make")]
    assert re.search("1[12],[0-9]{3} different values; known are 'Buick'", result.findings[0].text)


def test_a_column_that_is_left_out_is_only_asked_to_be_there() -> None:
    limits = DataLimits(0.1, 0.1, 0.1, 0.01, 0.01, leave_out=("make", "mileage"))
    columns = records(1000, 1, make=["new"] * 1000, mileage=np.full(1000, np.nan))
    seen = WindowRecords(statistics(described(columns)), 1000, 3)
    result = judge(statistics(BASELINE), constraints(BASELINE), seen, limits)
    assert found(result) == [("bad_data", "completeness_check", "mileage")]


def test_values_that_are_new_by_chance_are_no_drift() -> None:
    """Of 60 values with few rows each some come only later; the baseline says how many to expect."""
    random, shares = np.random.default_rng(4), 1 / np.arange(1, 61) ** 1.2
    draw = lambda rows: random.choice([f"v{n}" for n in range(60)], rows, p=shares / shares.sum()).tolist()  # noqa: E731
    baseline = described({"text": draw(400)})
    assert [found(judged({"text": draw(2000)}, baseline)) for _ in range(5)] == [[]] * 5


def test_a_column_that_keeps_its_unit_drifts_and_labels_are_called_so() -> None:
    kilometres = records(1000, 1, mileage=lambda values: values * 1.609344)
    (fixed,) = judged(kilometres, limits=replace(LIMITS, numbers={"mileage": Numbers(is_fixed=True)})).findings
    (other,) = judged(kilometres, limits=replace(LIMITS, numbers={"mileage": Numbers("g")})).findings
    (labels,) = judged(
        kilometres, limits=replace(LIMITS, numbers={"mileage": Numbers("miles")}, target="mileage")
    ).findings
    assert (fixed.kind, other.kind, labels.kind) == ("drift", "drift", "bad_data")
    assert labels.text.startswith("the labels look as if in another unit, as miles in kilometres. median")


def test_of_many_names_that_the_model_does_not_know_those_of_the_most_records_are_findings() -> None:
    unknown = {f"c{number:05}": 500 + number for number in range(500)}
    findings = judged(records(1000, 1), unknown=unknown).findings
    assert len(findings) == MAX_UNKNOWN + 1
    assert findings[0].subject == "c00499"
    assert (findings[-1].subject, findings[-1].text) == (
        "*",
        "the records name 480 more that are no columns of the model",
    )
