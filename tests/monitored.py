"""A used-car model in service, as far as its monitor sees it: baselines, captured requests, labels."""

from __future__ import annotations

import json
import tarfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from localcloud.sagemaker.algorithms.linear_model import LinearModel
from localcloud.sagemaker.endpoints.capture import Capture, Exchange
from perennial.data.contract import Contract
from perennial.features.encoding import CategoryEncoding, Encoder, NumberEncoding
from perennial.features.record_checks import RecordChecks
from perennial.model import definition
from processing import analyze_data_quality, analyze_model_quality, monitor, preprocess

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
MODEL = """
problem: regression
target: price
columns:
  price: {type: float, min: 0}
  mileage: {type: float, unit: miles, min: 0, max: 1000000}
  doors: {type: integer}
  leather: {type: boolean}
  make: {type: string}
  vin: {type: string, feature: false}
split: {method: random}
algorithm: linear-learner
gate: {metric: rmse, threshold: 3500}
"""
RUN = "20261101000000-aaaa"
COLUMNS = ("mileage", "doors", "leather", "make")
CAPTURE: dict[str, Any] = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/capture",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


MAKES = ("Buick", "Pontiac", "Saab")
ENCODER = Encoder(
    (*(NumberEncoding(name, 0, indicator=False) for name in COLUMNS[:3]), CategoryEncoding("make", MAKES, False))
)
WEIGHTS = (-0.2, 0.0, 0.0, 0.0, 0.0, 1_000.0)
BIAS = 20_000.0


@dataclass(frozen=True)
class Car:
    """A request: its fields in the definition's order, what the model said, and what the car was sold for."""

    fields: tuple[Any, ...]
    answer: float
    price: float


@cache
def cars(rows: int, seed: int) -> tuple[Car, ...]:
    random, made = np.random.default_rng(seed), []
    for _ in range(rows):
        miles = round(max(10.0, random.normal(20_000, 8_000)), 1)
        doors, leather = int(random.choice([2, 4])), int(random.random() < 0.7)
        make = str(random.choice(["Buick", "Saab", "Pontiac"], p=[0.5, 0.3, 0.2]))
        price = BIAS + WEIGHTS[0] * miles + WEIGHTS[-1] * (make == MAKES[-1])
        made.append(Car((miles, doors, leather, make), round(price, 2), round(price + random.normal(0, 500), 2)))
    return tuple(made)


Change = Callable[[Car], Car]


def as_json(car: Car) -> str:
    return json.dumps(dict(zip(COLUMNS, car.fields, strict=False)))


def save_model(
    definition: dict[str, Any],
    serving: Path,
    encoder: Encoder = ENCODER,
    hook: Path = Path("features.py"),
    weights: Sequence[float] = WEIGHTS,
) -> None:
    """Write what serves: a preprocessor, and a Linear Learner model: that which made the answers of the cars."""
    serving.mkdir()
    contract, model = Contract.from_definition(definition), serving / "model_algo-1"
    preprocess.pack_preprocessor("cars", contract, encoder, RecordChecks(), hook, serving)
    (serving / "model.tar.gz").rename(serving / "preprocessor.tar.gz")
    LinearModel("regressor", np.array(weights), BIAS).save(model)
    with tarfile.open(serving / "model.tar.gz", "w:gz") as archive:
        archive.add(model, model.name)


class World:
    """A run's configuration and baselines, and the folders of one window's job."""

    def __init__(self, folder: Path, model: str = MODEL) -> None:
        self.folder = folder
        self.definition = definition.parse(model, "model.yaml").as_json()
        self.config = folder / "config.json"
        self.config.write_text(json.dumps({"model": "cars", "definition": self.definition, "run_id": RUN}))
        trained, tested = cars(1500, 0), cars(400, 1)
        rows = [f"{car.price},{','.join(map(str, car.fields))}" for car in trained]
        self._job(analyze_data_quality, "baseline-data", "data-baseline", [f"price,{','.join(COLUMNS)}", *rows])
        self.serving, self.test, self.baselines = folder / "serving", folder / "test", folder / "baselines"
        save_model(self.definition, self.serving)
        self.test.mkdir()
        (self.test / "part-00000.jsonl").write_text("".join(f"{as_json(car)}\n" for car in tested))
        rows = [f"{car.answer},{car.price}" for car in tested]
        given = [f"--test={self.test}", f"--serving={self.serving}", f"--baseline-data={folder / 'baseline-data'}"]
        self._job(analyze_model_quality, "predictions", "baselines", ["prediction,label", *rows], *given)
        self.sent: list[tuple[str, Car]] = []

    def _job(self, script: Any, option: str, output: str, lines: Sequence[str], *more: str) -> None:
        given = self.folder / option
        given.mkdir()
        (given / "part-0.csv").write_text("\n".join(lines) + "\n")
        paths = [f"--config={self.config}", f"--{option}={given}", f"--output={self.folder / output}", *more]
        assert script.main(paths) == 0

    def send(self, sold: Sequence[Car], change: Change = lambda car: car, endpoint: str = "cars") -> None:
        """Ask the endpoint, in turn as CSV and as JSON lines, which capture writes in base64."""
        written: list[tuple[str, bytes]] = []
        capture = Capture(CAPTURE, endpoint, "AllTraffic", lambda *_: None, lambda: 0.0)
        for number, car in enumerate(map(change, sold)):
            identifier = str(uuid.UUID(int=len(self.sent)))
            body, kind = (
                (",".join(map(str, car.fields)), "text/csv") if number % 2 else (as_json(car), "application/jsonlines")
            )
            answer = json.dumps({"score": car.answer})
            capture.offer(
                Exchange(
                    START + timedelta(seconds=number),
                    body.encode(),
                    kind,
                    answer.encode(),
                    "application/jsonlines",
                    f"event-{identifier}",
                    identifier,
                )
            )
            self.sent.append((identifier, car))
        written = capture.take()
        for uri, content in written:
            path = self.folder / uri.removeprefix("s3://bucket/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def label(self, rows: int | None = None) -> None:
        path = self.folder / "ground-truth" / "2026/11/29/11" / "labels.csv"
        path.parent.mkdir(parents=True)
        lines = [f"{identifier},{car.price}" for identifier, car in self.sent[:rows]]
        path.write_text("\n".join(["inference_id,label", *lines]) + "\n")

    def arguments(self, **changes: str) -> list[str]:
        given = {
            "config": self.config, "capture": self.folder / "capture", "ground-truth": self.folder / "ground-truth",
            "data-baseline": self.folder / "data-baseline", "model-baseline": self.baselines / "model-quality",
            "attribution-baseline": self.baselines / "attribution", "serving": self.serving,
            "bias-baseline": self.baselines / "bias",
            "output": self.folder / "output", "message": self.folder / "message", "endpoint": "cars",
            "start": "2026-11-29T10:00:00Z", "end": "2026-11-29T12:00:00Z",
        }  # fmt: skip
        return [f"--{option}={value}" for option, value in {**given, **changes}.items()]

    def judge(self, **changes: str) -> dict[str, Any]:
        assert monitor.main(self.arguments(**changes)) == 0
        return self.read("verdict.json")

    def read(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "output" / name).read_text())
        return document
