"""The jobs of a model that tells classes: what is prepared, its baselines, and a window of its endpoint's requests."""

from __future__ import annotations

import csv
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localcloud.sagemaker.algorithms.linear_model import LinearModel
from localcloud.sagemaker.endpoints.capture import Capture, Exchange
from perennial.features.values import DataError
from perennial.model import definition
from processing import analyze_data_quality, analyze_model_quality, monitor, postprocess, preprocess
from tests.archives import unpack
from tests.monitored import CAPTURE
from tests.pages import Page

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
CLASSES = ("iris", "lily", "rose")
MODEL = """
problem: multiclass_classification
target: kind
columns:
  kind: {type: string, categories: [iris, lily, rose]}
  petal: {type: float, unit: cm, min: 0, max: 100}
  colour: {type: string, categories: [blue, white]}
split: {method: random, validation: 0.2, test: 0.2}
algorithm: linear-learner
gate: {metric: accuracy, threshold: 0.5}
monitoring:
  bias: {facets: [{column: colour, values: [blue]}], positive: {values: [lily, rose]}}
"""
WHOLE_NUMBERS = MODEL.replace("{type: string, categories: [iris, lily, rose]}", "{type: integer, min: 3, max: 5}")
WHOLE_NUMBERS = WHOLE_NUMBERS.replace("values: [lily, rose]", "values: [4, 5]")
LEARNED = LinearModel(
    "multiclass_classifier",
    np.array([[-2.0, 0.0, 2.0], [0.5, 0.0, -0.5], [-0.5, 0.0, 0.5]]),  # petal, colour=blue, colour=white
    np.array([10.0, 3.0, -13.0]),
    is_probability=True,
)


@dataclass(frozen=True)
class Flower:
    """A flower, and the number of its class."""

    petal: float
    colour: str
    kind: int

    @property
    def encoded(self) -> list[float]:
        return [self.petal, float(self.colour == "blue"), float(self.colour == "white")]


def flowers(rows: int, seed: int) -> list[Flower]:
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        petal, colour = round(float(random.uniform(1, 10)), 3), str(random.choice(["blue", "white"]))
        scores = LEARNED.score(np.array([Flower(petal, colour, 0).encoded]))[0]
        made.append(Flower(petal, colour, int(random.choice(3, p=scores))))
    return made


class World:
    """A run's folder, and what its endpoint was asked in a window."""

    def __init__(self, folder: Path, model: str = MODEL) -> None:
        self.folder, self.definition = folder, definition.parse(model, "model.yaml").as_json()
        self.names: Sequence[Any] = CLASSES if model is MODEL else (3, 4, 5)
        self.config = folder / "config.json"
        self.config.write_text(json.dumps({"model": "flowers", "definition": self.definition, "trigger": "Manual"}))
        self.sent: list[Flower] = []

    def prepare(self, sold: Sequence[Flower]) -> Path:
        """Run preprocessing on these flowers; return its output."""
        (self.folder / "data").mkdir()
        rows = [f"{self.names[one.kind]},{one.petal},{one.colour}" for one in sold]
        (self.folder / "data/00000-flowers.csv").write_text("\n".join(["kind,petal,colour", *rows, ""]))
        config = json.loads(self.config.read_text())
        preprocess.run(config, self.folder / "data", self.folder / "prepared")
        return self.folder / "prepared"

    def baselines(self, prepared: Path) -> None:
        """Write the predictions of the test set, the artefacts that serve, and run both baseline jobs."""
        serving, predicted = self.folder / "serving", self.folder / "predictions"
        serving.mkdir()
        predicted.mkdir()
        (prepared / "preprocessor/model.tar.gz").rename(serving / "preprocessor.tar.gz")
        LEARNED.save(serving / "model_algo-1")
        with tarfile.open(serving / "model.tar.gz", "w:gz") as archive:
            archive.add(serving / "model_algo-1", "model_algo-1")
        tested = [json.loads(line) for line in (prepared / "test/part-00000.jsonl").read_text().splitlines()]
        labels = [int(line) for line in (prepared / "labels/part-00000.csv").read_text().split()]
        scores = LEARNED.score(np.array([Flower(one["petal"], one["colour"], 0).encoded for one in tested]))
        rows = [
            [self.names[int(each.argmax())], self.names[label], *map(str, each)]
            for each, label in zip(scores, labels, strict=True)
        ]
        header = ["prediction", "label", "probability_0", "probability_1", "probability_2"]
        with (predicted / "predictions.csv").open("w") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
        common = [f"--config={self.config}", f"--output={self.folder / 'data-baseline'}"]
        assert analyze_data_quality.main([*common, f"--baseline-data={prepared / 'baseline'}"]) == 0
        paths = [f"--predictions={predicted}", f"--test={prepared / 'test'}", f"--serving={serving}"]
        paths.append(f"--baseline-data={prepared / 'baseline'}")
        config = [f"--config={self.config}", f"--output={self.folder / 'baselines'}"]
        assert analyze_model_quality.main([*config, *paths]) == 0

    def send(self, asked: Sequence[Flower]) -> None:
        """Ask the endpoint; it answers in turn as CSV and as JSON lines, as the third container does."""
        target = postprocess.Target("classes", self.names)
        capture = Capture(CAPTURE, "flowers", "AllTraffic", lambda *_: None, lambda: 0.0)
        for number, one in enumerate(asked):
            scores = LEARNED.score(np.array([one.encoded]))[0].tolist()
            learned = postprocess.input_fn(json.dumps({"score": scores}), postprocess.JSON_LINES)
            kind = postprocess.CSV if number % 2 else postprocess.JSON_LINES
            answer, kind = postprocess.output_fn(postprocess.predict_fn(learned, target), kind)
            body = f"{one.petal},{one.colour}".encode()
            name, time = f"flower-{len(self.sent)}", START + timedelta(seconds=number)
            capture.offer(Exchange(time, body, "text/csv", answer.encode(), kind, f"event-{name}", name))
            self.sent.append(one)
        for uri, content in capture.take():
            path = self.folder / uri.removeprefix("s3://bucket/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def label(self, *more: str) -> None:
        path = self.folder / "ground-truth/labels.csv"
        path.parent.mkdir(parents=True)
        lines = [f"flower-{number},{self.names[one.kind]}" for number, one in enumerate(self.sent)]
        path.write_text("\n".join(["inference_id,label", *lines, *more, ""]))

    def judge(self) -> dict[str, Any]:
        baselines = self.folder / "baselines"
        given = {
            "config": self.config, "capture": self.folder / "capture", "ground-truth": self.folder / "ground-truth",
            "data-baseline": self.folder / "data-baseline", "model-baseline": baselines / "model-quality",
            "attribution-baseline": baselines / "attribution", "bias-baseline": baselines / "bias",
            "serving": self.folder / "serving", "output": self.folder / "output", "message": self.folder / "message",
            "endpoint": "flowers", "start": "2026-11-29T10:00:00Z", "end": "2026-11-29T12:00:00Z",
        }  # fmt: skip
        assert monitor.main([f"--{option}={value}" for option, value in given.items()]) == 0
        return self.read("output/verdict.json")

    def read(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / name).read_text())
        return document


@pytest.fixture(scope="module", params=[MODEL, WHOLE_NUMBERS], ids=["names", "numbers"])
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    """A window of which two labels are no classes, judged."""
    made = World(tmp_path_factory.mktemp("flowers"), request.param)
    made.baselines(made.prepare(flowers(1500, 0)))
    made.send(flowers(400, 1))
    made.label("flower-0,tulip", "flower-1,6")
    made.judge()
    return made


def test_a_window_of_classes_is_healthy_and_measured_in_every_analysis(world: World) -> None:
    verdict = world.read("output/verdict.json")
    assert {name: one["verdict"] for name, one in verdict["analyses"].items()} == dict.fromkeys(
        ("data_quality", "model_quality", "bias", "attribution"), "Healthy"
    )
    metrics = {one["name"]: one for one in verdict["analyses"]["model_quality"]["metrics"]}
    assert set(metrics) == {
        "accuracy", "weighted_f1", "weighted_f0_5", "weighted_f2", "weighted_precision", "weighted_recall",
    }  # fmt: skip
    low, high = metrics["accuracy"]["interval"]
    assert low < metrics["accuracy"]["value"] < high
    matrix = world.read("output/model-quality/statistics.json")["multiclass_classification_metrics"]["confusion_matrix"]
    assert list(matrix) == [str(name) for name in world.names]
    assert sum(sum(row.values()) for row in matrix.values()) == 400

    target = world.read("output/data-quality/statistics.json")["features"][-1]
    assert target["name"] == "kind"
    if world.names is CLASSES:
        counts = {
            one["value"]: one["count"] for one in target["string_statistics"]["distribution"]["categorical"]["buckets"]
        }
        assert counts == {name: sum(one.kind == number for one in world.sent) for number, name in enumerate(CLASSES)}
    else:
        assert (target["numerical_statistics"]["min"], target["numerical_statistics"]["max"]) == (3, 5)


def test_positive_classes_are_those_that_the_definition_names(world: World) -> None:
    analysis = world.read("output/bias/analysis.json")["pre_training_bias_metrics"]
    counts = analysis["facets"]["colour"][0]["counts"]["facet"]
    blue = [one for one in world.sent if one.colour == "blue"]
    said = LEARNED.score(np.array([one.encoded for one in blue])).argmax(axis=1)
    assert analysis["label_value_or_threshold"] == ",".join(map(str, world.names[1:]))
    assert (counts["labels"], counts["positive_labels"]) == (len(blue), sum(one.kind > 0 for one in blue))
    assert (counts["predictions"], counts["positive_predictions"]) == (len(blue), int((said > 0).sum()))


def test_classes_of_the_rows_that_train_are_positive_as_those_of_the_test_set_are(world: World) -> None:
    analysis = world.read("baselines/analysis/analysis.json")["pre_training_bias_metrics"]
    (blue,) = analysis["facets"]["colour"]
    with (world.folder / "prepared/baseline/part-00000.csv").open() as file:
        trained = list(csv.DictReader(file))
    positive = [
        [row["kind"] != str(world.names[0]) for row in trained if (row["colour"] == "blue") == member]
        for member in (False, True)
    ]
    value = next(one["value"] for one in blue["metrics"] if one["name"] == "DPL")
    assert value == pytest.approx(np.mean(positive[0]) - np.mean(positive[1]))


def test_contributions_are_the_sums_of_the_absolute_ones_to_all_classes(world: World) -> None:
    baseline = world.read("baselines/attribution/analysis.json")
    explained = world.read("output/attribution/analysis.json")["explanations"]["kernel_shap"]["label0"]
    assert explained["expected_value"] is None
    assert set(explained["global_shap_values"]) == {"petal", "colour"}
    mean = baseline["means"][0]
    expected = np.mean([abs(one.petal - mean) for one in world.sent]) * np.abs(LEARNED.weights[0]).sum()
    assert explained["global_shap_values"]["petal"] == pytest.approx(expected, rel=0.1)  # of 250 of the 400 records


def test_a_label_of_no_known_class_is_counted_and_said_by_its_line(world: World) -> None:
    truth = world.read("output/verdict.json")["ground_truth"]
    assert (truth["unknown_classes"], truth["matched"]) == (2, 400)
    assert truth["examples"][0].startswith("labels.csv, line 402: expected ")
    assert "tulip" not in json.dumps(truth)


def test_many_labels_of_no_known_class_are_drift_of_the_target(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.baselines(world.prepare(flowers(1500, 0)))
    world.send(flowers(300, 1))
    world.label()
    path = world.folder / "ground-truth/labels.csv"
    path.write_text(re.sub(r"^(flower-\d*[147]),.*$", r"\1,tulip", path.read_text(), flags=re.MULTILINE))
    verdict = world.judge()
    assert (verdict["verdict"], verdict["analyses"]["model_quality"]["verdict"]) == ("Drift", "Healthy")
    (reason,) = verdict["reasons"]
    assert reason.startswith("kind: 30.0% of the labels name no class that the model knows; the first: labels.csv, li")
    assert "tulip" not in reason
    (violation,) = world.read("output/data-quality/constraint_violations.json")["violations"]
    assert (violation["feature_name"], violation["constraint_check_type"]) == ("kind", "categorical_values_check")


def test_a_log_loss_of_the_gate_is_watched_though_model_monitor_has_none(tmp_path: Path) -> None:
    world = World(tmp_path, MODEL.replace("metric: accuracy, threshold: 0.5", "metric: logloss, threshold: 1"))
    world.names = CLASSES
    world.baselines(world.prepare(flowers(600, 0)))
    limit = world.read("baselines/model-quality/constraints.json")["multiclass_classification_constraints"]["logloss"]
    assert limit["comparison_operator"] == "GreaterThanThreshold"
    world.send([Flower(one.petal, one.colour, (one.kind + 1) % 3) for one in flowers(200, 1)])
    world.label()
    findings = world.judge()["analyses"]["model_quality"]["findings"]
    assert [one["subject"] for one in findings if one["kind"] == "drift"] == ["logloss"]


def test_a_model_that_confuses_its_classes_has_drifted_and_its_pictures_say_how(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.baselines(world.prepare(flowers(600, 0)))
    world.send([Flower(one.petal, one.colour, (one.kind + 1) % 3) for one in flowers(400, 1)])
    world.label()
    verdict = world.judge()
    assert verdict["analyses"]["model_quality"]["verdict"] == "Drift"
    assert any(reason.startswith("Metric accuracy with ") for reason in verdict["reasons"])
    page = Page((world.folder / "output/report.html").read_bytes())
    text = page.text
    for part in (
        "Confusion matrix",
        f"actual {world.names[1]}",
        "most often taken for",
        "share of the predicted class",
    ):
        assert part in text


# ---- What is prepared


def test_algorithms_learn_the_numbers_of_the_classes_and_serving_knows_their_values(world: World) -> None:
    prepared = world.folder / "prepared"
    learned = np.loadtxt(prepared / "train/part-00000.csv", delimiter=",")
    assert set(learned[:, 0]) == {0, 1, 2}
    first = (prepared / "baseline/part-00000.csv").read_text().splitlines()[:2]
    assert first[0] == "kind,petal,colour"
    assert first[1].split(",")[0] == str(world.names[int(learned[0, 0])])
    unpack(world.folder / "serving/preprocessor.tar.gz", world.folder / "unpacked")
    assert postprocess.model_fn(str(world.folder / "unpacked")) == postprocess.Target("classes", list(world.names))
    assert (world.folder / "unpacked/code/postprocess.py").is_file()


def test_the_report_counts_the_rows_of_each_class_by_set(world: World) -> None:
    report = world.read("prepared/report/report.json")
    assert [one["class"] for one in report["classes"]] == [str(name) for name in world.names]
    for name in ("train", "validation", "test"):
        assert sum(one[name] for one in report["classes"]) == report["sets"][name]


@pytest.mark.parametrize("rare", [0, 1])
def test_a_class_with_too_few_rows_for_the_split_is_named_with_what_there_is(tmp_path: Path, rare: int) -> None:
    world = World(tmp_path)
    others = [one for one in flowers(600, 0) if one.kind != 2]
    with pytest.raises(DataError) as refused:
        world.prepare([*others, *[Flower(9.5, "blue", 2)] * rare])
    first, second = refused.value.lines
    assert first.startswith("kind: 1 of 3 classes have too few rows for the split: each needs at least one that ")
    assert second.startswith("rose: ")
    assert second.count(" 0 in ") == 3 - rare


def test_a_class_that_the_definition_does_not_list_breaks_the_contract(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.names = ("iris", "lily", "tulip")
    with pytest.raises(DataError, match="break the data contract"):
        world.prepare(flowers(300, 0))


def test_a_text_of_many_values_is_refused_as_classes_have_no_mean(tmp_path: Path) -> None:
    model = MODEL.replace("{type: string, categories: [blue, white]}", "{type: string}")
    world = World(tmp_path, model.replace("colour, values: [blue]", "colour, values: [c1]"))
    world.names = CLASSES
    many = [Flower(one.petal, f"c{number}", one.kind) for number, one in enumerate(flowers(300, 0))]
    with pytest.raises(DataError, match=r"column 'colour' has 1\d\d different texts; expected at most 100 \(quality"):
        world.prepare(many)


def test_seven_to_max_categories_texts_are_encoded_one_by_one(tmp_path: Path) -> None:
    model = MODEL.replace("{type: string, categories: [blue, white]}", "{type: string}")
    world = World(tmp_path, model.replace("colour, values: [blue]", "colour, values: [c1]"))
    world.names = CLASSES
    some = [Flower(one.petal, f"c{number % 9}", one.kind) for number, one in enumerate(flowers(300, 0))]
    report = json.loads((world.prepare(some) / "report/report.json").read_text())
    assert report["features"] == ["petal", *(f"colour=c{number}" for number in range(9))]


# ---- Baselines


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("prediction,label,probability_0,probability_1,probability_2\niris,tulip,1,0,0\n", "label is empty or none of"),
        ("prediction,label,probability_0,probability_1,probability_2\n,iris,1,0,0\n", "prediction is empty or none of"),
        ("prediction,label,probability_0,probability_1\niris,iris,1,0\n", "expected probability_2 too"),
        (
            "prediction,label,probability_0,probability_1,probability_2\niris,iris,,0,1\n",
            "probability_0 is empty or not",
        ),
    ],
)
def test_predictions_that_are_not_of_the_classes_are_refused(tmp_path: Path, lines: str, why: str) -> None:
    world = World(tmp_path)
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions/part.csv").write_text(lines)
    paths = [f"--{name}={tmp_path / name}" for name in ("predictions", "test", "serving", "message")]
    output = f"--output={tmp_path / 'baselines'}"
    assert analyze_model_quality.main([f"--config={world.config}", output, *paths]) == 1
    assert why in (tmp_path / "message").read_text()


def test_names_with_commas_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text(
        'prediction,label,probability_0,probability_1\n"a, b",c,0.75,0.25\n', encoding="utf-8"
    )
    columns = analyze_model_quality.read(tmp_path, ["a, b", "c"])
    assert (columns["prediction"].tolist(), columns["label"].tolist()) == (["a, b"], ["c"])
    assert columns["probability_0"].tolist() == [0.75]
