"""The report of a window says what verdict.json says, whatever the data say, in one small file."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from perennial.data.column_statistics import NumericColumn, StringColumn, statistics
from perennial.model import definition
from perennial.reports import scored
from perennial.reports.window import MAX_FIGURES, JudgedWindow, report
from tests.monitored import MODEL
from tests.pages import Page

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x00</style>'
CONFIG: dict[str, Any] = {
    "run_id": "20261101120000-abcd",
    "definition": definition.parse(MODEL.replace("min: 0}", "min: 0, unit: USD}", 1), "model.yaml").as_json(),
}
DISTANCE = {"largest": 0.287, "psi": 0.506, "chance": 1.2e-42, "robust": 0.2}


def column(name: str, distance: dict[str, float] | None = None, why: str = "") -> dict[str, Any]:
    return {
        "name": name, "before": "median 19,884", "after": "median 25,897", "missing_before": 0.0,
        "missing_after": 0.125, "distance": distance, "why": why,
    }  # fmt: skip


def finding(subject: str, text: str) -> dict[str, str]:
    return {"kind": "drift", "check": "baseline_drift_check", "subject": subject, "text": text}


VERDICT: dict[str, Any] = {
    "format": 1,
    "verdict": "Drift",
    "reasons": ["mileage: median 19,884 -> median 25,897"],
    "endpoint": "cars",
    "window": {"start": "2026-11-29T10:00:00Z", "end": "2026-11-29T12:00:00Z"},
    "records": 1234,
    "collected": {"outside_window": 17, "examples": ["part-0: no JSON"]},
    "ground_truth": {"matched": 700, "examples": []},
    "analyses": {
        "data_quality": {
            "verdict": "Drift", "reason": "", "findings": [finding("mileage", "median 19,884 -> median 25,897")],
            "level": 0.00033,
            "columns": [column("mileage", DISTANCE), column("make", None, "model.yaml leaves it out")],
        },
        "model_quality": {
            "verdict": "Healthy", "reason": "", "findings": [], "left_out": 0,
            "metrics": [
                {
                    "name": "rmse", "value": 487.5, "interval": [470.25, 505.75], "limit": 499.5, "lost": -12.0,
                    "operator": "GreaterThanThreshold", "lost_at_least": -30.0, "worse": False,
                }
            ],
        },
    },
}  # fmt: skip


def numbers(name: str, values: Any) -> NumericColumn:
    made = NumericColumn(name, integral=False)
    made.add(np.asarray(values, np.float64))
    return made


def texts(name: str, counts: dict[str, int]) -> StringColumn:
    made = StringColumn(name, domain=None, max_categories=100)
    made.add(counts.items())
    return made


THEN = statistics([numbers("mileage", range(1000)), texts("make", {"Buick": 600, "Saab": 400})])
NOW = statistics([numbers("mileage", range(500, 1500)), texts("make", {"Buick": 300, "Saab": 600, "Tesla": 100})])
NOTHING = np.empty(0)


def read(
    verdict: dict[str, Any] = VERDICT, then: Any = THEN, now: Any = NOW, labels: Any = NOTHING, scores: Any = NOTHING,
    history: Any = (),
) -> Page:  # fmt: skip
    return Page(report(JudgedWindow(verdict, CONFIG, then, now, np.asarray(labels), np.asarray(scores), history)))


def with_analyses(**analyses: Any) -> dict[str, Any]:
    return {**VERDICT, "analyses": analyses}


def test_what_the_verdict_says_is_on_the_page_the_verdict_first() -> None:
    page = read()
    text = page.text
    assert text.startswith("Drift: cars, 2026-11-29T10:00:00Z to 2026-11-29T12:00:00Z")
    for said in (
        "1,234 records", "20261101120000-abcd", *VERDICT["reasons"], "outside window 17", "part-0: no JSON",
        "matched 700",
        "mileage", "0.287", "0.506", "1.2e-42", "0.0% -> 12.5%", "distance is above 0.1",
        "population stability index above 0.1", "that of Kolmogorov and Smirnov", "chance is below 0.00033",
        "model.yaml leaves it out", "rmse decides", "487.5", "470.25 to 505.75", "at most 499.5", "-12", "-30",
    ):  # fmt: skip
        assert said in text, said
    assert text.index(VERDICT["reasons"][0]) < text.index("outside window") < text.index("0.287")


def test_dots_of_rows_stand_on_a_grid_from_which_no_value_is_read() -> None:
    labels = np.random.default_rng(0).normal(15_000, 4_000, 2_000)
    dots = [one for one in read(labels=labels, scores=labels[::-1]).of("circle") if float(one["r"]) > 1]
    assert len(dots) == 400
    for axis in ("cx", "cy"):
        places = {float(one[axis]) for one in dots}
        assert 20 < len(places) <= scored.GRID


def test_a_page_needs_nothing_beside_itself_and_runs_nothing() -> None:
    page = read()
    assert list(page.unsafe()) == []
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_what_data_say_stands_there_as_text_and_nothing_else() -> None:
    verdict = copy.deepcopy(VERDICT)
    quality, measured = verdict["analyses"]["data_quality"], verdict["analyses"]["model_quality"]
    verdict["reasons"] = measured["reason"] = HOSTILE
    verdict["reasons"] = [HOSTILE]
    verdict["endpoint"], verdict["collected"] = HOSTILE, {"outside_window": 1, "examples": [HOSTILE]}
    quality["findings"], quality["columns"] = [finding(HOSTILE, HOSTILE)], [column(HOSTILE, DISTANCE)]
    verdict["analyses"][HOSTILE] = {
        "verdict": "Drift", "reason": "", "findings": [finding(HOSTILE, HOSTILE)], HOSTILE: [{HOSTILE: HOSTILE}],
        "groups": {HOSTILE: {"a": HOSTILE}, "b": {"a": 1}},
    }  # fmt: skip
    side = statistics([texts(HOSTILE, {HOSTILE: 5, "x": 5})])
    history = [{"end": "2026-11-28T12:00:00Z", "run": HOSTILE, "verdict": HOSTILE, "metric": "rmse", "value": 1.0}]
    page = read(verdict, side, side, history=history)
    assert list(page.unsafe()) == []
    assert page.text.count('"><script>alert(1)') > 15
    assert "\\u202e" in page.text
    assert "\x00" not in page.text


@pytest.mark.parametrize("drifted", [0, 200])
def test_200_columns_of_10000_texts_each_make_a_small_page(drifted: int) -> None:
    names = [f"column_{number}" for number in range(200)]
    sides = []
    for start in (0, 1000):
        many = statistics([texts("", {f"{'x' * 200}{start + value}": 1 for value in range(10_000)})])["features"][0]
        numeric = statistics([numbers("", np.random.default_rng(start).normal(size=3000))])["features"][0]
        sides.append({"features": [{**(many if name in names[:5] else numeric), "name": name} for name in names]})
    verdict = copy.deepcopy(VERDICT)
    verdict["reasons"] = [f"{name}: {'x' * 1000}" for name in names]
    quality = verdict["analyses"]["data_quality"]
    quality["columns"] = [column(name, DISTANCE) for name in names]
    quality["findings"] = [finding(name, "x" * 1000) for name in names[:drifted]]
    window = JudgedWindow(verdict, CONFIG, sides[0], sides[1], NOTHING, NOTHING)
    content = report(window)
    assert len(content) < 500_000
    page = Page(content)
    assert len([one for one in page.of("svg") if one["class"] == "spark"]) == 200
    assert len(page.of("figure")) == min(drifted, MAX_FIGURES)


def test_a_column_of_numbers_has_its_outline_then_and_now_with_its_unit() -> None:
    page = read()
    assert "mileage, miles" in page.texts
    charts = [one for one in page.of("svg") if one["class"] == "chart"]
    assert len(charts) == 1
    lines = [one for one in page.of("path") if one["stroke"] in ("#2f6fb5", "#c8500a")]
    assert [one.get("stroke-dasharray") for one in lines] == ["5 3", None]


def test_a_column_of_texts_has_the_share_of_each_value_then_and_now() -> None:
    verdict = copy.deepcopy(VERDICT)
    verdict["analyses"]["data_quality"]["findings"] = [finding("make", "new")]
    page = read(verdict)
    assert "Buick 60.0% 30.0% " in page.text
    assert "Saab 40.0% 60.0% " in page.text
    assert "Tesla 0.0% 10.0% " in page.text
    widths = [one["style"] for one in page.of("div") if one.get("class", "").startswith("bar")]
    assert widths == [f"width: {share}%" for share in ("60.0", "30.0", "40.0", "60.0", "0.0", "10.0")]


def test_predicted_and_actual_of_many_rows_are_few_points() -> None:
    random = np.random.default_rng(0)
    labels = random.normal(20_000, 5000, 50_000)
    page = read(labels=labels, scores=labels + random.normal(100, 500, 50_000))
    assert len(page.of("circle")) == 400
    assert "400 of 50,000 rows" in page.text
    assert "predicted, USD" in page.texts
    assert "actual - predicted, USD" in page.texts


def test_a_classification_has_its_confusion_matrix_and_calibration() -> None:
    config = copy.deepcopy(CONFIG)
    config["definition"]["problem"] = "binary_classification"
    labels = np.repeat([0.0, 1.0], 100)
    scores = np.concatenate([np.linspace(0, 0.8, 100), np.linspace(0.2, 1, 100)])
    page = Page(report(JudgedWindow(VERDICT, config, THEN, NOW, labels, scores)))
    wrong = int((scores[:100] > 0.5).sum())
    assert f"actual 0 {wrong} ({wrong / 100:.1%}) {100 - wrong} ({(100 - wrong) / 100:.1%}) 100" in page.text
    assert "Calibration" in page.text
    assert "predicted probability of 1" in page.texts


def test_earlier_windows_are_drawn_with_their_limit_and_a_mark_where_the_model_changed() -> None:
    earlier = [
        {"end": f"2026-11-{day}T12:00:00Z", "run": run, "verdict": "Healthy", "metric": "rmse", "value": 400 + day,
         "limit": 499.5}
        for day, run in ((20, "first"), (21, "first"), (22, "20261101120000-abcd"))
    ]  # fmt: skip
    page = read(history=[*earlier, {"end": "never"}, "nothing", {**earlier[0], "metric": "mae", "value": 7.77}])
    text = page.text
    assert "rmse of 4 windows" in text
    assert "From 2026-11-22T12:00:00Z on run 20261101120000-abcd answered." in text
    assert "other model" in text
    assert "2026-11-29T12:00:00Z 20261101120000-abcd Drift 487.5 499.5" in text
    assert "7.77" not in text


def test_a_window_that_was_judged_again_is_one_with_what_came_last() -> None:
    unlabelled = {"end": "2026-11-28T12:00:00Z", "run": "one", "verdict": "Healthy", "metric": "rmse", "value": None}
    page = read(history=[unlabelled, {**unlabelled, "value": 412.5, "limit": 499.5}])
    assert page.text.count("2026-11-28T12:00:00Z one Healthy") == 1
    assert "2026-11-28T12:00:00Z one Healthy 412.5 499.5" in page.text


def test_what_a_new_analysis_says_is_on_the_page_without_being_known_to_it() -> None:
    page = read(
        with_analyses(
            bias={
                "verdict": "Drift", "reason": "", "findings": [finding("group", "DPL 0.3, was 0.1")],
                "limit": 0.05, "facets": [{"name": "make", "dpl": {"then": 0.125, "now": 0.375}, "worse": True}],
            },
            attribution={"verdict": "Failed", "reason": "the baseline has no attribution.json", "findings": []},
        )
    )  # fmt: skip
    for said in (
        "Bias Drift DPL 0.3, was 0.1 limit 0.05", "name dpl, then dpl, now worse make 0.125 0.375 yes",
        "Attribution Failed: the baseline has no attribution.json",
    ):  # fmt: skip
        assert said in page.text, page.text


@pytest.mark.parametrize(
    "values", [[1e300, -1e300], [5.0], [0.0], [1e-300, 2e-300], [1e15, 1e15 + 0.25], [-(2.0**63), 7]]
)
def test_whatever_numbers_a_column_has_there_is_a_page(values: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        side = statistics([numbers("mileage", values)])
    assert "mileage" in read(then=side, now=THEN).text


def test_a_window_without_records_has_a_page() -> None:
    verdict = {**VERDICT, "verdict": "NotEnoughData", "records": 0, "reasons": [], "analyses": {
        name: {"verdict": "NotEnoughData", "reason": "0 records; expected at least 100", "findings": []}
        for name in VERDICT["analyses"]
    }}  # fmt: skip
    assert "NotEnoughData: 0 records; expected at least 100" in read(verdict, None, None).text
