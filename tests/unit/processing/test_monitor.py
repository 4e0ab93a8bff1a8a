"""The monitor's job on files: what data capture, people and the baseline jobs have written, and one verdict of it."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.features.grammar import LARGEST
from perennial.monitoring import attribution, ground_truth
from perennial.monitoring.capture import Event, Payload, Tally
from perennial.monitoring.labelled import ABSENT
from perennial.monitoring.window import MOST_UNKNOWN, Window
from processing import job_script, monitor
from tests.memory import bounded
from tests.monitored import COLUMNS, MODEL, RUN, START, Car, Change, World, cars
from tests.pages import Page


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def moved(mileage: Callable[[float], Any] = lambda miles: miles, price: float = 1.0) -> Change:
    return lambda car: replace(car, fields=(mileage(car.fields[0]), *car.fields[1:]), price=car.price * price)


def test_a_window_like_the_training_data_is_healthy_and_described_in_model_monitors_files(world: World) -> None:
    world.send(cars(600, 2))
    world.label()
    verdict = world.judge()
    assert (verdict["verdict"], verdict["reasons"], verdict["records"]) == ("Healthy", [], 600)
    assert {name: one["verdict"] for name, one in verdict["analyses"].items()} == {
        "data_quality": "Healthy", "model_quality": "Healthy", "attribution": "Healthy",
    }  # fmt: skip
    assert verdict["collected"] == {"requests": 600, "examples": []}
    assert verdict["ground_truth"]["matched"] == 600
    statistics = world.read("data-quality/statistics.json")
    assert statistics["dataset"]["item_count"] == 600
    assert [(one["name"], one["inferred_type"]) for one in statistics["features"]] == [
        ("mileage", "Fractional"), ("doors", "Integral"), ("leather", "Integral"), ("make", "String"),
        ("price", "Fractional"),
    ]  # fmt: skip
    assert world.read("data-quality/constraint_violations.json") == {"violations": []}
    assert [one["name"] for one in world.read("data-quality/constraints.json")["features"]] == list(COLUMNS)
    quality = world.read("model-quality/statistics.json")
    assert set(quality["regression_metrics"]) == {"mae", "mse", "rmse", "r2"}
    times = {"start_time": "2026-11-29T10:00:00Z", "end_time": "2026-11-29T12:00:00Z"}
    assert {name: quality["dataset"][name] for name in ("item_count", *times)} == {"item_count": 600, **times}


def test_a_world_that_has_drifted_is_told_by_its_columns(world: World) -> None:
    world.send(cars(600, 2), moved(mileage=lambda miles: round(miles + 6000, 1)))
    verdict = world.judge()
    assert verdict["verdict"] == "Drift"
    assert [one["feature_name"] for one in world.read("data-quality/constraint_violations.json")["violations"]] == [
        "mileage"
    ]
    assert verdict["reasons"][0].startswith("mileage: median ")
    assert verdict["reasons"][1] == ("model_quality: not enough labels: 0 of 600 records; expected 100")


def test_prices_that_have_moved_are_found_in_the_labels_and_in_the_models_error(world: World) -> None:
    world.send(cars(600, 2), moved(price=1.3))
    world.label()
    verdict = world.judge()
    assert verdict["verdict"] == "Drift"
    assert [(one["subject"], one["check"]) for one in verdict["analyses"]["data_quality"]["findings"]] == [
        ("price", "baseline_drift_check")
    ]
    (violation,) = (
        one
        for one in world.read("model-quality/constraint_violations.json")["violations"]
        if one["metric_name"] == "rmse"
    )
    assert violation["constraint_check_type"] == "GreaterThanThreshold"


# ---- Rows that the endpoint was asked about

PROBED = {"run": "20261129080000-0a1b", "refused": 0, "unasked": 0, "data": {"files": 2, "listed_at": "2026-11-29"}}


def probe(world: World, rows: int, price: float = 1.0) -> str:
    """Leave what the endpoint was asked about; returns the folder."""
    asked = cars(rows, 9)
    labels, scores = [car.price * price for car in asked], [car.answer for car in asked]
    return given_probe(world, labels=labels, scores=scores, about={**PROBED, "rows": rows})


def given_probe(world: World, **document: Any) -> str:
    folder = world.folder / "probe"
    folder.mkdir()
    (folder / "probe.json").write_text(json.dumps(document))
    return str(folder)


def test_without_labels_the_model_is_judged_by_what_the_endpoint_was_asked_and_all_say_so(world: World) -> None:
    world.send(cars(600, 2))
    verdict = world.judge(probe=probe(world, 300))
    quality = verdict["analyses"]["model_quality"]
    assert (verdict["verdict"], quality["verdict"], quality["probed"]["rows"]) == ("Healthy", "Healthy", 300)
    said = "so the endpoint was probed with 300 labelled rows that its model has not seen"
    assert said in verdict["reasons"][0]
    dataset = world.read("model-quality/statistics.json")["dataset"]
    assert (dataset["item_count"], "start_time" in dataset) == (300, False)
    assert said in Page((world.folder / "output/report.html").read_bytes()).text


def test_rows_that_were_asked_about_are_no_traffic(world: World) -> None:
    world.send(cars(600, 2))
    verdict = world.judge(probe=probe(world, 300, price=1.3))
    assert (verdict["records"], verdict["ground_truth"]["matched"]) == (600, 0)
    assert "price" not in [one["name"] for one in verdict["analyses"]["data_quality"]["columns"]]
    assert verdict["labelled_rows"] == 0


def test_a_model_that_is_worse_on_newer_rows_is_drift_in_a_window_without_labels(world: World) -> None:
    world.send(cars(600, 2))
    verdict = world.judge(probe=probe(world, 300, price=1.3))
    assert verdict["verdict"] == "Drift"
    assert verdict["reasons"][0].startswith("Metric rmse with ")
    assert "300 probed rows)" in verdict["reasons"][0]


def test_labels_of_traffic_are_judged_where_they_are_enough_and_nothing_else(world: World) -> None:
    world.send(cars(600, 2))
    world.label()
    verdict = world.judge(probe=probe(world, 300, price=1.3))
    assert (verdict["verdict"], verdict["reasons"]) == ("Healthy", [])
    assert "probed" not in verdict["analyses"]["model_quality"]


@pytest.mark.parametrize(("price", "expected"), [(1.0, "NotEnoughData"), (1.3, "Drift")])
def test_a_window_without_traffic_is_healthy_by_no_question_and_has_drifted_by_one(
    world: World, price: float, expected: str
) -> None:
    verdict = world.judge(probe=probe(world, 300, price=price))
    assert (verdict["verdict"], verdict["records"]) == (expected, 0)
    assert verdict["analyses"]["model_quality"]["probed"]["rows"] == 300
    assert "data_quality: 0 records; expected at least 100 (monitoring.min_records)" in verdict["reasons"]


def test_an_endpoint_that_did_not_answer_fails_the_analysis_of_the_model_alone(world: World) -> None:
    world.send(cars(600, 2))
    verdict = world.judge(probe=given_probe(world, failed="endpoint cars does not answer"))
    analyses = {name: one["verdict"] for name, one in verdict["analyses"].items()}
    assert analyses == {"data_quality": "Healthy", "model_quality": "Failed", "attribution": "Healthy"}
    assert verdict["reasons"] == ["model_quality: the endpoint could not be probed: endpoint cars does not answer"]


def test_a_unit_that_changed_is_bad_data(world: World) -> None:
    world.send(cars(600, 2), moved(mileage=lambda miles: round(miles * 1.609344, 1)))
    verdict = world.judge()
    assert verdict["verdict"] == "BadData"
    assert "as miles in kilometres" in verdict["reasons"][0]


def test_values_that_model_yaml_does_not_allow_are_bad_data(world: World) -> None:
    world.send(cars(600, 2), moved(mileage=lambda miles: -1))
    verdict = world.judge()
    assert verdict["verdict"] == "BadData"
    assert (
        verdict["reasons"][0] == "mileage: 100.0% of the records break the rule minimum of mileage: expected at least 0"
    )


def test_a_schema_that_changed_since_the_baseline_is_bad_data(world: World) -> None:
    world.send(cars(600, 2), lambda car: replace(car, fields=(*car.fields, "red")))
    verdict = world.judge()
    assert verdict["verdict"] == "BadData"
    assert "*: 50.0% of the records have 5 fields; the model reads 4" in verdict["reasons"]


def test_a_window_without_traffic_is_not_enough_data(world: World) -> None:
    verdict = world.judge()
    assert verdict["verdict"] == "NotEnoughData"
    assert verdict["reasons"][0] == "data_quality: 0 records; expected at least 100 (monitoring.min_records)"


def test_requests_of_another_endpoint_are_not_judged(world: World) -> None:
    world.send(cars(200, 2), endpoint="cars-eu")
    verdict = world.judge()
    assert verdict["verdict"] == "NotEnoughData"
    assert verdict["collected"]["files_of_other_endpoints"] == 1
    assert "; left out: files of other endpoints: 1 (the first cars-eu/AllTraffic/2026/11/29/" in verdict["reasons"][0]


def test_an_endpoint_whose_clock_is_off_is_told_by_its_times(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.monitored.START", START - timedelta(hours=1))
    world.send(cars(300, 2))
    verdict = world.judge()
    assert (verdict["verdict"], verdict["collected"]["outside_window"]) == ("NotEnoughData", 300)
    assert verdict["reasons"][0] == (
        "data_quality: 0 records; expected at least 100 (monitoring.min_records); left out: records outside of the "
        "window by the endpoint's clock: 300 (2026-11-29T09:00:00Z to 2026-11-29T09:04:59Z)"
    )


def test_requests_that_cannot_be_read_are_counted_with_examples(world: World) -> None:
    world.send(cars(200, 2))
    (path,) = (world.folder / "capture").rglob("*.jsonl")
    event = json.loads(path.read_text().splitlines()[1])
    event["captureData"]["endpointInput"]["observedContentType"] = "image/png"
    path.write_text(path.read_text() + json.dumps(event) + "\n")
    collected = world.judge()["collected"]
    assert (collected["requests"], collected["unreadable_requests"]) == (201, 1)
    name = path.relative_to(world.folder / "capture").as_posix()
    expected = "expected text/csv, application/json or application/jsonlines"
    assert collected["examples"] == [f"{name}, line 201: a request of type 'image/png'; {expected}"]


def test_no_file_of_a_window_says_what_few_records_have(tmp_path: Path) -> None:
    """An id, a label or an answer that cannot be read, a text that few records have: nobody erases it from here."""
    secret, other = "Quentin-4711", "Zoe-42"
    world = World(tmp_path, MODEL)
    new = lambda car: replace(car, fields=(*car.fields[:3], "Borgward"))  # noqa: E731
    world.send(cars(200, 2))
    world.send(cars(20, 3), new)
    world.send(cars(9, 4), lambda car: replace(car, fields=(*car.fields[:3], secret)))
    for path in (world.folder / "capture").rglob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["captureData"]["endpointOutput"] = {"observedContentType": "", "data": other, "encoding": "CSV"}
        lines[0]["eventMetadata"]["inferenceId"] = other
        lines[2]["eventMetadata"]["inferenceTime"] = other
        lines[4]["captureData"]["endpointInput"] = {"observedContentType": "", "data": other, "encoding": "JSON"}
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + f"{other}\n")
    world.label()
    (world.folder / "ground-truth" / "sold.csv").write_text(f"inference_id,label\n{other},{other}\n{other}")
    verdict = world.judge()
    assert verdict["verdict"] == "Drift"
    assert "such as 'Borgward'" in " ".join(verdict["reasons"])
    assert [len(verdict[part]["examples"]) for part in ("collected", "ground_truth")] == [5, 2]
    texts = world.read("data-quality/statistics.json")["features"][3]["string_statistics"]
    written = [one["value"] for one in texts["distribution"]["categorical"]["buckets"]]
    assert (sorted(written), texts["distinct_count"]) == (["Borgward", "Buick", "Pontiac", "Saab"], 5)
    for path in (world.folder / "output").rglob("*.*"):
        assert secret not in path.read_text()
        assert other not in path.read_text()


def test_answers_that_cannot_be_read_are_counted_and_their_records_judged(world: World) -> None:
    world.send(cars(200, 2))
    (path,) = (world.folder / "capture").rglob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[:50]:
        line["captureData"]["endpointOutput"] = {"observedContentType": "text/csv", "data": "1,2", "encoding": "CSV"}
    del lines[60]["captureData"]["endpointOutput"]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    verdict = world.judge()
    assert (verdict["verdict"], verdict["records"]) == ("Healthy", 200)
    assert (verdict["collected"]["unreadable_answers"], verdict["collected"]["without_answer"]) == (50, 1)


def test_records_of_which_most_cannot_be_read_are_a_failure_of_the_capture(world: World) -> None:
    world.send(cars(200, 2))
    for path in (world.folder / "capture").rglob("*.jsonl"):
        path.write_text(path.read_text().replace('"captureData"', '"captured"'))
    verdict = world.judge()
    assert verdict["verdict"] == "Failed"
    assert verdict["reasons"][0].startswith(
        "data_quality: of 200 captured records 200 could not be read; the first: cars/"
    )
    assert verdict["reasons"][0].endswith(".jsonl, line 1: no captured record: it has no captureData")


def test_each_analysis_can_be_switched_off(tmp_path: Path) -> None:
    off = MODEL + "monitoring: {data_quality: {enabled: false}, attribution: {enabled: false}}\n"
    world = World(tmp_path, off)
    world.send(cars(200, 2))
    world.label()
    verdict = world.judge()
    assert list(verdict["analyses"]) == ["model_quality"]
    assert not (tmp_path / "output" / "data-quality").exists()


@pytest.mark.parametrize("broken", ["missing", "no JSON", "of another kind"])
def test_an_analysis_fails_for_itself_and_says_what_is_missing(world: World, broken: str) -> None:
    world.send(cars(200, 2))
    world.label()
    path = world.baselines / "model-quality" / "constraints.json"
    path.unlink()
    if broken != "missing":
        path.write_text({"no JSON": "{", "of another kind": "[]"}[broken])
    verdict = world.judge()
    assert verdict["verdict"] == "Failed"
    assert verdict["analyses"]["data_quality"]["verdict"] == "Healthy"
    reason = verdict["analyses"]["model_quality"]["reason"]
    written = f"run {RUN}, whose model answers, should have written it as baselines/model-quality/constraints.json"
    expected = {"of another kind": "AttributeError"}.get(broken, written)
    assert expected in reason


FACETS = "bias: {facets: [{column: make, values: [Saab]}], positive: {above: 15000}}"


WITH_FACETS = f"{MODEL}monitoring: {{{FACETS}}}\n"


def test_outcomes_of_facets_that_are_as_they_were_are_healthy(tmp_path: Path) -> None:
    world = World(tmp_path, WITH_FACETS)
    world.send(cars(600, 2))
    world.label()
    verdict = world.judge()
    assert (verdict["verdict"], verdict["analyses"]["bias"]["verdict"]) == ("Healthy", "Healthy")
    assert [one["metric"] for one in verdict["analyses"]["bias"]["metrics"]] == ["CI", "DPL", "DPPL", "DI"]
    assert world.read("bias/constraint_violations.json") == {"version": "1.0", "violations": []}


def worse_for_saab(car: Car) -> Car:
    return replace(car, answer=car.answer - 6_000) if car.fields[3] == "Saab" else car


def test_a_model_that_answers_less_for_some_is_drift_before_there_is_a_label(tmp_path: Path) -> None:
    world = World(tmp_path, WITH_FACETS)
    world.send(cars(600, 2), worse_for_saab)
    verdict = world.judge()
    assert (verdict["verdict"], verdict["analyses"]["data_quality"]["verdict"]) == ("Drift", "Healthy")
    violations = world.read("bias/constraint_violations.json")["violations"]
    assert {(one["facet"], one["facet_value"], one["constraint_check_type"]) for one in violations} == {
        ("make", "Saab", "bias_drift_check")
    }
    assert {one["metric_name"] for one in violations} == {"DPPL", "DI"}
    assert verdict["reasons"][0] == violations[0]["description"]


def test_labels_that_came_true_otherwise_for_some_are_bias_of_labels(tmp_path: Path) -> None:
    world = World(tmp_path, WITH_FACETS)
    world.send(cars(600, 2), lambda car: replace(car, price=worse_for_saab(car).answer))
    world.label()
    bias = world.judge()["analyses"]["bias"]
    assert [one["subject"] for one in bias["findings"]] == ["make Saab"]
    assert [one["metric"] for one in bias["metrics"] if one["worse"]] == ["DPL"]


def test_records_of_one_request_count_with_their_scores(tmp_path: Path) -> None:
    """Requests of several records have predictions, and no label can belong to them."""
    world = World(tmp_path, WITH_FACETS)
    world.send(cars(200, 2))
    (path,) = (world.folder / "capture").rglob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    both = {"observedContentType": "application/jsonlines", "encoding": "JSON"}
    lines[0]["captureData"]["endpointInput"] = {**both, "data": '{"make": "Saab"}\n{"make": "Buick"}\n'}
    lines[0]["captureData"]["endpointOutput"] = {**both, "data": '{"score": 1}\n{"score": 20000}\n'}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    world.label()
    verdict = world.judge()
    (make,) = world.read("bias/analysis.json")["post_training_bias_metrics"]["facets"]["make"]
    counts = make["counts"]["others"], make["counts"]["facet"]
    assert sum(one["predictions"] for one in counts) == sum(one["records"] for one in counts) == 201
    assert sum(one["labels"] for one in counts) == verdict["ground_truth"]["matched"] == 199


def test_a_facet_that_is_newer_than_the_run_is_no_failure_of_each_window(tmp_path: Path) -> None:
    """How a model is watched is what model.yaml says today."""
    world = World(tmp_path)
    facet = {"column": "colour", "values": ["red"], "above": None}
    bias = {**world.definition["monitoring"]["bias"], "facets": [facet], "positive": {"values": None, "above": 1.0}}
    world.config.write_text(
        json.dumps({"definition": {**world.definition, "monitoring": {**world.definition["monitoring"], "bias": bias}}})
    )
    world.send(cars(200, 2))
    verdict = world.judge()
    assert verdict["analyses"]["data_quality"]["verdict"] == "Healthy"
    assert (verdict["verdict"], verdict["analyses"]["bias"]["verdict"]) == ("Healthy", "NotEnoughData")
    assert "has no facet colour red" in verdict["analyses"]["bias"]["reason"]
    assert verdict["analyses"]["bias"]["reason"].endswith("a run that starts from now on knows it")


ANALYSES = ("data_quality", "model_quality", "bias", "attribution")


@pytest.mark.parametrize("enabled", list(itertools.product([True, False], repeat=4)))
def test_every_choice_of_analyses_is_valid(tmp_path: Path, enabled: tuple[bool, ...]) -> None:
    sections = {name: f"enabled: {str(one).lower()}" for name, one in zip(ANALYSES, enabled, strict=True)}
    sections["bias"] += f", {FACETS.removeprefix('bias: {').removesuffix('}')}"
    text = ", ".join(f"{name}: {{{section}}}" for name, section in sections.items())
    world = World(tmp_path, f"{MODEL}monitoring: {{{text}}}\n")
    world.send(cars(200, 2))
    world.label()
    verdict = world.judge()
    wanted = {name for name, one in zip(ANALYSES, enabled, strict=True) if one}
    assert set(verdict["analyses"]) == wanted
    assert verdict["verdict"] == ("Healthy" if wanted else "NotEnoughData")
    folders = {path.name.replace("-", "_") for path in (tmp_path / "output").iterdir() if path.is_dir()}
    assert folders & set(ANALYSES) == wanted


def test_outcomes_whose_run_is_older_than_the_analysis_are_described(tmp_path: Path) -> None:
    world = World(tmp_path, WITH_FACETS)
    (world.baselines / "bias" / "analysis.json").unlink()
    world.send(cars(200, 2))
    verdict = world.judge()
    assert {name: one["verdict"] for name, one in verdict["analyses"].items()} == {
        "data_quality": "Healthy", "model_quality": "NotEnoughData", "bias": "NotEnoughData", "attribution": "Healthy",
    }  # fmt: skip
    assert "has left no baselines/bias/analysis.json" in verdict["analyses"]["bias"]["reason"]
    (saab,) = world.read("bias/analysis.json")["post_training_bias_metrics"]["facets"]["make"]
    assert saab["counts"]["others"]["predictions"] + saab["counts"]["facet"]["predictions"] == 200


def test_scores_that_rest_on_other_features_are_drift_with_the_share_of_each_then_and_now(world: World) -> None:
    world.send(cars(600, 2), moved(mileage=lambda miles: 20_000.0))
    verdict = world.judge()
    assert verdict["verdict"] == "Drift"
    found = verdict["analyses"]["attribution"]
    assert found["verdict"] == "Drift"
    assert found["ndcg"] < found["limit"] == 0.9
    assert (found["records"], found["baseline_rows"]) == (attribution.RECORDS, 400)
    mileage, make, *rest = found["features"]
    assert (mileage["name"], mileage["rank_before"], mileage["rank_after"]) == ("mileage", 1, 2)
    assert (make["name"], make["rank_before"], make["rank_after"]) == ("make", 2, 1)
    assert mileage["before"] > 0.7 > 0.3 > make["before"]
    assert make["after"] > 0.7 > 0.3 > mileage["after"]
    assert [(one["name"], one["before"], one["after"]) for one in rest] == [("doors", 0, 0), ("leather", 0, 0)]
    (violation,) = world.read("attribution/constraint_violations.json")["violations"]
    assert violation["constraint_check_type"] == "feature_attribution_drift_check"
    assert violation["description"] in verdict["reasons"]
    weights = world.read("attribution/analysis.json")["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    assert weights["make"] > weights["mileage"] > 0


def test_a_run_that_is_older_than_the_baseline_of_attribution_is_no_failure_of_each_window(world: World) -> None:
    (world.baselines / "attribution" / "analysis.json").unlink()
    world.send(cars(200, 2))
    world.label()
    analyses = world.judge()["analyses"]
    assert {name: one["verdict"] for name, one in analyses.items()} == {
        "data_quality": "Healthy", "model_quality": "Healthy", "attribution": "NotEnoughData",
    }  # fmt: skip
    assert analyses["attribution"]["reason"] == (
        f"run {RUN}, whose model answers, has left no baselines/attribution/analysis.json: it is older than this "
        "analysis; a run that is started now leaves it"
    )


def test_a_model_that_its_run_could_not_explain_is_no_failure_of_each_window(world: World) -> None:
    path = world.baselines / "attribution" / "analysis.json"
    path.write_text(json.dumps({"version": "1.0", "explanations": {}, "reason": "model_algo-1 is an MXNet model"}))
    world.send(cars(200, 2))
    verdict = world.judge()
    assert verdict["verdict"] == "Healthy"
    assert verdict["reasons"][-1] == (
        "attribution: the run whose model answers could not explain it: model_algo-1 is an MXNet model"
    )


def test_too_few_labels_are_said(tmp_path: Path) -> None:
    world = World(tmp_path, MODEL + "monitoring: {model_quality: {min_labels: 50, min_labelled_share: 0.5}}\n")
    world.send(cars(200, 2))
    world.label(60)
    verdict = world.judge()
    assert verdict["verdict"] == "Healthy"
    assert verdict["analyses"]["model_quality"]["reason"].startswith(
        "not enough labels: 60 of 200 records; expected 50"
    )


def test_labels_of_which_none_can_be_read_are_bad_data_with_the_first(world: World) -> None:
    sold: Any = "EUR 1234"
    world.send(cars(300, 2), lambda car: replace(car, price=sold))
    world.label()
    verdict = world.judge()
    first = "2026/11/29/11/labels.csv, line 2: expected a finite number, at least 0"
    assert (verdict["verdict"], verdict["reasons"]) == (
        "BadData",
        [
            f"price: 100.0% of the labels cannot be read; the first: {first}",
            "model_quality: not enough labels: 0 of 300 records; expected 100; "
            f"300 could not be read, the first: {first}",
        ],
    )


def test_labels_that_were_corrected_or_are_of_other_requests_are_no_finding(world: World) -> None:
    world.send(cars(300, 2))
    world.label()
    broken = [f"{identifier},EUR 1234" for identifier, _ in world.sent]
    (world.folder / "ground-truth/export.csv").write_text("\n".join(["inference_id,label", *broken, "other,EUR 1"]))
    verdict = world.judge()
    assert (verdict["verdict"], verdict["ground_truth"]["unreadable_labels"]) == ("Healthy", 301)


KEYED = MODEL.replace("{method: random}", "{method: random, key: [vin]}")
FILE = "labelled/rows.csv"


def drifted(folder: Path, model: str, labels: int, mileage: Callable[[float], Any] = lambda miles: miles) -> World:
    """A window whose prices have moved, or whose labels have not come and whose cars have more doors."""
    world = World(folder, model)
    config = {"model": "cars", "definition": world.definition, "run_id": "20261101000000-aaaa"}
    world.config.write_text(json.dumps(config))
    world.send(cars(300, 2), lambda car: moved(mileage, 1.4)(replace(car, fields=(car.fields[0], 9, *car.fields[2:]))))
    world.label(labels)
    return world


def test_labelled_records_become_rows_that_train_with_their_lineage(tmp_path: Path) -> None:
    world = drifted(tmp_path, KEYED, labels=120)
    verdict = world.judge()
    counts = {"against_contract": 0, "replaced": 0, "rows": 120, "examples": []}
    assert (verdict["verdict"], verdict["labelled_rows"], verdict["labelled"]) == ("Drift", 120, counts)
    lines = (world.folder / "output" / FILE).read_text(encoding="utf-8-sig").splitlines()
    identifier, car = world.sent[1]
    assert lines[0] == "price,mileage,doors,leather,make,vin"
    assert lines[2] == f"{car.price},{','.join(map(str, car.fields))},{identifier}"
    assert len(lines) == 121
    assert world.read("labelled/lineage.json") == {
        "endpoint": "cars", "window": {"start": "2026-11-29T10:00:00Z", "end": "2026-11-29T12:00:00Z"},
        "run": "20261101000000-aaaa", "file": Path(FILE).name, "rows": 120, "counts": counts,
    }  # fmt: skip


def test_a_window_that_is_judged_again_writes_the_same_bytes(tmp_path: Path) -> None:
    world = drifted(tmp_path, KEYED, labels=300)
    world.judge()
    first = (world.folder / "output" / FILE).read_bytes()
    world.judge(labelled=str(tmp_path / "again"))
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["lineage.json", Path(FILE).name]
    assert (tmp_path / "again" / Path(FILE).name).read_bytes() == first


@pytest.mark.parametrize(
    ("model", "labels", "why"),
    [(MODEL, 300, "name a key of one column in model.yaml (split.key)"), (KEYED, 0, "no label of these requests")],
)
def test_why_no_record_may_train_is_said(tmp_path: Path, model: str, labels: int, why: str) -> None:
    world = drifted(tmp_path, model, labels)
    verdict = world.judge()
    assert (verdict["verdict"], verdict["labelled_rows"]) == ("Drift", 0)
    assert verdict["no_labelled_rows"].startswith(why)
    assert not (world.folder / "output" / "labelled").exists()


def test_labelled_records_that_all_break_the_contract_are_no_rows(tmp_path: Path) -> None:
    world = drifted(tmp_path, KEYED.replace("vin: {type: string", "vin: {type: integer"), labels=300)
    verdict = world.judge()
    assert (verdict["labelled_rows"], verdict["labelled"]["against_contract"]) == (0, 300)
    assert verdict["labelled"]["examples"] == ["vin: expected a whole number"]
    assert verdict["no_labelled_rows"] == (
        "no labelled record is a row that the data contract allows: vin: expected a whole number (300 of them)"
    )
    assert list((world.folder / "output" / "labelled").iterdir()) == []


def test_a_column_that_callers_do_not_send_is_named_with_what_helps(tmp_path: Path) -> None:
    taxed = "columns:\n  taxa: {type: string, feature: false}\n"
    why = drifted(tmp_path, KEYED.replace("columns:\n", taxed), labels=300).judge()["no_labelled_rows"]
    assert why.endswith(f"allows: taxa: expected a value (300 of them); {ABSENT}")


def test_a_healthy_window_leaves_rows_only_for_who_asks_for_them(tmp_path: Path) -> None:
    world = World(tmp_path, KEYED)
    world.send(cars(300, 2))
    world.label()
    assert "labelled_rows" not in world.judge()
    assert not (world.folder / "output" / "labelled").exists()
    verdict = world.judge(labelled=str(tmp_path / "export"))
    assert (verdict["verdict"], verdict["labelled_rows"]) == ("Healthy", 300)
    assert len((tmp_path / "export" / Path(FILE).name).read_text().splitlines()) == 301


@pytest.mark.parametrize(("start", "end"), [("yesterday", "2026-11-29"), ("2026-11-29", "2026-11-29")])
def test_a_window_that_is_none_is_refused(world: World, start: str, end: str) -> None:
    assert monitor.main(world.arguments(start=start, end=end)) == 1
    assert "expected two times" in (world.folder / "message").read_text()


def test_a_configuration_from_before_monitoring_is_refused(world: World) -> None:
    del world.definition["monitoring"]
    world.config.write_text(json.dumps({"definition": world.definition}))
    assert monitor.main(world.arguments()) == 1
    assert "start another run" in (world.folder / "message").read_text()


def test_the_report_is_drawn_after_the_verdict_of_which_it_says_the_same(world: World) -> None:
    world.send(cars(600, 2), moved(mileage=lambda miles: round(miles + 6000, 1)))
    world.label()
    earlier = {"run": "before", "verdict": "Healthy", "metric": "rmse", "value": 477.25, "limit": 499.0}
    history = world.folder / "history.json"
    history.write_text(json.dumps([{**earlier, "end": f"2026-11-{day}T12:00:00Z"} for day in (27, 28)]))
    verdict = world.judge(history=str(world.folder))
    assert verdict["report"]["file"] == "report.html"
    assert verdict["report"]["seconds"] > 0
    page = Page((world.folder / "output" / "report.html").read_bytes())
    assert list(page.unsafe()) == []
    for reason in verdict["reasons"]:
        assert reason in page.text
    for one in verdict["analyses"]["data_quality"]["columns"]:
        assert f"{one['name']} {one['before']}" in page.text
    assert "mileage, miles" in page.texts
    assert "600 of 600 rows" not in page.text
    assert "400 of 600 rows" in page.text
    assert page.text.count("477.25") == 2


def test_a_report_that_cannot_be_drawn_loses_no_verdict(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> bytes:
        raise ZeroDivisionError("no scale")

    monkeypatch.setattr("perennial.reports.window.report", broken)
    world.send(cars(600, 2))
    verdict = world.judge()
    assert (verdict["verdict"], verdict["report"]) == ("Healthy", {"problem": "ZeroDivisionError: no scale"})
    assert "ZeroDivisionError: no scale" in capfd.readouterr().err
    assert not (world.folder / "output" / "report.html").exists()


def test_the_command_of_the_guide_judges_copies_of_a_window(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written: the folders that `aws s3 sync` leaves beside each other."""
    guide = (Path(__file__).parents[3] / "docs/monitoring.md").read_text()
    (command,) = re.findall(r"^\.venvs/dev/bin/python -m processing\.monitor ((?:.*\\\n)*.*)", guide, re.MULTILINE)
    monkeypatch.setattr("tests.monitored.START", START + timedelta(minutes=10))
    world.send(cars(300, 2), moved(price=1.4))
    world.label()
    run = world.folder / "run"
    run.mkdir()
    for name, source in {
        "config.json": world.config, "serving": world.serving, "baselines": world.baselines,
    }.items():  # fmt: skip
        (run / name).symlink_to(source)
    (world.baselines / "data-quality").symlink_to(world.folder / "data-baseline")
    monkeypatch.chdir(world.folder)
    assert monitor.main(shlex.split(command.replace("\\\n", " ").replace("$STACK", "cars"))) == 0
    verdict = json.loads(Path("judged/verdict.json").read_text())
    assert (verdict["verdict"], verdict["records"], verdict["ground_truth"]["matched"]) == ("Drift", 300, 300)
    assert {one["verdict"] for one in verdict["analyses"].values()} == {"Drift", "Healthy"}


def test_a_history_that_is_no_json_is_left_out_of_the_report(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    (world.folder / "history.json").write_text("[")
    assert world.judge(history=str(world.folder))["report"]["file"] == "report.html"
    assert "going on without history.json: JSONDecodeError" in capfd.readouterr().out


# ---- Metrics of the model itself

OWN = """
def bias(actual, predicted):
    return (predicted - actual).mean()

def spread(actual, predicted):
    return (predicted - actual).std()

def fails_when_dear(actual, predicted):
    return 1.0 / (actual.mean() < 20_000)

def broken(actual, predicted):
    return actual.missing
"""
METRICS = "metrics: {bias: minimize, spread: minimize, fails_when_dear: maximize, broken: maximize}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model's folder, as the job code has it."""
    monkeypatch.setattr(job_script, "MODELS", tmp_path / "models")
    made = tmp_path / "models/cars"
    made.mkdir(parents=True)
    return made


def test_metrics_of_the_model_itself_are_in_the_baseline_and_held_against_it(tmp_path: Path, folder: Path) -> None:
    (folder / "metrics.py").write_text(OWN)
    world = World(tmp_path, MODEL + METRICS)
    quality = world.baselines / "model-quality"
    statistics = json.loads((quality / "statistics.json").read_text())["regression_metrics"]
    assert statistics["spread"]["value"] == pytest.approx(statistics["rmse"]["value"], rel=0.02)
    assert statistics["spread"]["standard_deviation"] > 0
    assert statistics["broken"] == {"value": "NaN", "standard_deviation": "NaN"}
    constraints = json.loads((quality / "constraints.json").read_text())["regression_constraints"]
    assert constraints["spread"]["comparison_operator"] == "GreaterThanThreshold"
    assert constraints["fails_when_dear"]["comparison_operator"] == "LessThanThreshold"
    assert "broken" not in constraints

    world.send(cars(600, 2), moved(price=1.3))
    world.label()
    verdict = world.judge()
    analysis = verdict["analyses"]["model_quality"]
    assert analysis["verdict"] == "Drift"
    measured = {one["name"]: one for one in analysis["metrics"]}
    low, high = measured["spread"]["interval"]
    assert low < measured["spread"]["value"] < high
    assert (measured["spread"]["worse"], measured["spread"]["is_own"]) == (True, True)
    assert measured["rmse"]["is_own"] is False
    why = "metrics.py, line 8: fails_when_dear returned inf for 600 rows; expected a finite number"
    assert analysis["failed"]["fails_when_dear"] == why
    assert analysis["failed"]["broken"].startswith("metrics.py, line 12: AttributeError: ")
    assert verdict["reasons"][-1].startswith(f"model_quality: fails_when_dear could not be measured: {why}; broken ")
    assert world.read("model-quality/statistics.json")["regression_metrics"]["spread"]["value"] > 0


@pytest.mark.parametrize(("metric", "verdict"), [("spread", "Healthy"), ("broken", "Failed")])
def test_a_window_fails_only_by_the_own_metric_of_the_gate(
    tmp_path: Path, folder: Path, metric: str, verdict: str
) -> None:
    (folder / "metrics.py").write_text(OWN)
    gate = f"gate: {{metric: {metric}, threshold: 0}}"
    world = World(tmp_path, MODEL.replace("gate: {metric: rmse, threshold: 3500}", gate) + METRICS)
    world.send(cars(600, 2))
    world.label()
    judged = world.judge()
    assert (judged["verdict"], judged["analyses"]["model_quality"]["verdict"]) == (verdict, verdict)
    assert {"rmse", "spread"} <= {one["name"] for one in judged["analyses"]["model_quality"]["metrics"]}


# ---- Captured requests of the model's own form

BASKETS = """import json

def records(request, request_type, answer, answer_type):
    basket = json.loads(request)["basket"]
    return zip(basket, json.loads(answer)["prices"])
"""


def as_baskets(world: World, spoiled: int = 0) -> None:
    """Let what was captured have been asked in a form of its own, and some of it have been none."""
    for path in (world.folder / "capture").rglob("*.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        for number, event in enumerate(events):
            captured, car = event["captureData"], world.sent[number][1]
            asked = {"basket": [dict(zip(COLUMNS, car.fields, strict=True))]} if number >= spoiled else {}
            for side, data in (("endpointInput", asked), ("endpointOutput", {"prices": [car.answer]})):
                captured[side] = {
                    "observedContentType": "application/x-basket", "encoding": "BASE64",
                    "data": base64.b64encode(json.dumps(data).encode()).decode(),
                }  # fmt: skip
        path.write_text("".join(json.dumps(event) + "\n" for event in events))


def test_requests_of_the_models_own_form_are_judged_like_any(tmp_path: Path, folder: Path) -> None:
    world = World(tmp_path)
    world.send(cars(600, 2))
    world.label()
    built_in = world.judge()
    as_baskets(world, spoiled=7)
    (folder / "capture.py").write_text(BASKETS)
    verdict = world.judge()
    assert (verdict["verdict"], verdict["records"], verdict["ground_truth"]["matched"]) == ("Healthy", 593, 593)
    assert verdict["collected"]["unreadable_records"] == 7
    assert verdict["collected"]["examples"][0].endswith(".jsonl, line 1: capture.py, line 4: KeyError")
    (then, now) = (one["analyses"]["model_quality"]["metrics"][0]["value"] for one in (built_in, verdict))
    assert now == pytest.approx(then, rel=0.05)


def test_labelled_rows_are_read_by_the_model_too(tmp_path: Path, folder: Path) -> None:
    world = drifted(tmp_path, KEYED, labels=120)
    as_baskets(world)
    (folder / "capture.py").write_text(BASKETS)
    verdict = world.judge()
    assert (verdict["verdict"], verdict["labelled_rows"]) == ("Drift", 120)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import pandaz\n", "capture.py, line 1: ModuleNotFoundError: No module named 'pandaz'"),
        ("def rows(): pass\n", "capture.py: has no function records(request, request_type, answer, answer_type)"),
        ("def records(*_):\n    return 5\n", "capture.py, line 1: records made int; expected pairs (row, prediction)"),
    ],
)
def test_a_broken_capture_fails_the_window_and_says_where(tmp_path: Path, folder: Path, code: str, why: str) -> None:
    world = World(tmp_path)
    world.send(cars(200, 2))
    (folder / "capture.py").write_text(code)
    verdict = world.judge()
    assert verdict["verdict"] == "Failed"
    assert all(reason.partition(": ")[2].startswith(why) for reason in verdict["reasons"])


def test_a_capture_that_raises_for_every_request_is_said_with_its_line(tmp_path: Path, folder: Path) -> None:
    world = World(tmp_path)
    world.send(cars(200, 2))
    (folder / "capture.py").write_text("def records(request, *_):\n    return requst\n")
    verdict = world.judge()
    assert verdict["verdict"] == "Failed"
    assert "of 200 captured records 200 could not be read; the first: cars/" in verdict["reasons"][0]
    assert verdict["reasons"][0].endswith("line 1: capture.py, line 2: NameError")


HOSTILE = {
    "html": "<script>alert(1)</script>",
    "formula": '=HYPERLINK("http://example.com")',
    "control": "\x1b[31m\r\nSubject: x\u202e",
    "surrogate": "\ud800",
    "long": "x" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_callers_and_those_who_send_labels_may_write_is_data_and_nothing_else(world: World, name: str) -> None:
    """In values, names of columns, ids and labels: every analysis reports, and report and mail say it harmlessly."""
    evil = HOSTILE[name]
    world.send(cars(100, 2))
    world.label()
    lines = []
    for number in range(50):
        fields = {"mileage": 1e308, "doors": 2, "leather": True, "make": evil, evil: number}
        lines.append(captured(json.dumps(fields), f"{evil}{number}"))
    (world.folder / "capture/cars/AllTraffic/2026/11/29/10/evil.jsonl").write_text("\n".join(lines))
    labels = [label(identifier, evil) for identifier, _ in world.sent[:50]] + [label(f"{evil}{1}", "5")]
    (world.folder / "ground-truth/2026/11/29/11/evil.jsonl").write_text("\n".join(labels))
    verdict = world.judge()
    assert verdict["verdict"] == "BadData"
    assert verdict["collected"]["requests"] == 150
    assert verdict["ground_truth"]["unreadable_labels"] >= 50
    assert "Failed" not in {one["verdict"] for one in verdict["analyses"].values()}
    assert (verdict["report"]["file"], max(map(len, verdict["reasons"])) < 1_000) == (monitor.REPORT, True)
    assert all(reason.isprintable() for reason in verdict["reasons"])
    page = (world.folder / "output" / monitor.REPORT).read_text()
    assert (len(page) < 1_000_000, "<script>alert" in page) == (True, False)


def captured(data: str, identifier: str) -> str:
    return json.dumps({
        "captureData": {
            "endpointInput": {"observedContentType": "application/json", "data": data, "encoding": "JSON"},
            "endpointOutput": {"observedContentType": "text/csv", "data": "1", "encoding": "CSV"},
        },
        "eventMetadata": {"eventId": identifier, "inferenceTime": "2026-11-29T10:05:00Z"},
    })  # fmt: skip


def label(identifier: str, data: str) -> str:
    truth = {"groundTruthData": {"data": data, "encoding": "CSV"}, "eventMetadata": {"eventId": identifier}}
    return json.dumps(truth)


def test_requests_of_megabytes_wait_for_no_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    flush = Window._flush
    monkeypatch.setattr(
        Window, "_flush", lambda self, kind: (sizes.append(len(self._waiting[kind])), flush(self, kind))[1]
    )
    fields = {"mileage": 1, "doors": 2, "leather": True, "make": "x" * 6_000_000}
    path = world.folder / "capture/cars/AllTraffic/2026/11/29/10/evil.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join([captured(json.dumps(fields), str(number)) for number in range(12)]))
    with bounded():
        assert world.judge()["records"] == 12
    assert max(sizes) == 3


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_a_number_that_is_too_large_is_told_as_that(world: World, kind: str) -> None:
    sent = ["1e39,4,true,Saab", "-1e400,4,true,Saab", "1,1e30,true,Saab"]
    window = Window(world.definition, Tally())
    for number, line in enumerate(sent):
        values = [json.loads(one) if one != "Saab" else one for one in line.split(",")]
        text = json.dumps(dict(zip(COLUMNS, values, strict=True))).replace("Infinity", "1e400")
        payload = Payload(line if kind == "text/csv" else text, kind)
        window.add([Event(str(number), START, payload, None)])
    assert window.described([]).broken == {
        ("mileage", "maximum"): (1, "at most 1000000"),
        ("mileage", "minimum"): (1, "at least 0"),
        ("doors", "type"): (1, LARGEST["integer"]),
    }


def test_names_that_differ_each_time_are_counted_up_to_a_bound(world: World) -> None:
    window = Window(world.definition, Tally())
    for number in range(30):
        names = tuple(f"{number}-{one}" for one in range(1_000))
        window._count_unknown(names, 1)
    assert len(window._unknown) == MOST_UNKNOWN


def test_more_scores_than_are_held_are_refused_with_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_truth, "MOST_SCORES", 100)
    world.send(cars(101, 2))
    verdict = world.judge()
    assert (verdict["verdict"], len(verdict["reasons"])) == ("Failed", 3)
    assert "the window has more than 100 requests with scores; expected at most 100" in verdict["reasons"][0]
    assert "judge shorter windows" in verdict["reasons"][0]
