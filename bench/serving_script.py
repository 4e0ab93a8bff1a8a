"""How long the serving script takes by itself; `bench_endpoint` runs this in the image's Python.

    <python> bench/serving_script.py <unpacked preprocessor> <model file>

Calls the functions of code/inference.py as the scikit-learn container does, without HTTP. Prints one JSON document:
microseconds for one record by content type and by what it holds, records a second of 1,000 by content type, the same of
the floors (the CSV module and `float` alone; the model alone, one row), and the encoded line of a record.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
CARS: list[dict[str, Any]] = [
    {
        "mileage": 8221.5 + number,
        "cylinder": 4 + 2 * (number % 3),
        "doors": 2 + 2 * (number % 2),
        "cruise": number % 2 == 0,
        "sound": number % 3 == 0,
        "leather": number % 5 != 0,
        "make": ("Buick", "Chevy", "Saab", "Saturn", "Pontiac")[number % 5],
        "body": ("sedan", "coupe", "hatchback", "wagon")[number % 4],
    }
    for number in range(1000)
]

CAR = "8221.5,4,2,true,true,false,Buick,sedan\n"
# Records that are not what programs write for a machine, and what the model reads besides: changes of its first column.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a header": (f"{','.join(CARS[0])}\n{CAR}", {}),
    "in quotation marks": (",".join(f'"{field}"' for field in CAR.strip().split(",")), {}),
    "three values missing": ("8221.5,4,,true,,false,Buick,\n", {}),
    "two unknown texts": (CAR.replace("Buick", "Volvo").replace("sedan", "van"), {}),
    "in a unit": (CAR.replace("8221.5", "13231 km"), {"parse": {"units": {"mi": 1, "km": 0.621371}}}),
    "features.py": (CAR, {"features.py": True}),
}
FEATURES = """import pyarrow.compute as pc

def transform(table):
    return table.set_column(0, "mileage", pc.divide(table["mileage"], pc.cast(table["cylinder"], "float64")))
"""


def _changed(folder: Path, copy: Path, changes: dict[str, Any]) -> Path:
    """Return a folder of the same preprocessor, whose first column is read in another way, or with a features.py."""
    (copy / "code").mkdir(parents=True)
    document = json.loads((folder / "preprocessor.json").read_text())
    if parse := changes.get("parse"):
        document["columns"][0]["parse"] |= parse
    if changes.get("features.py"):
        (copy / "code" / "features.py").write_text(FEATURES)
    (copy / "preprocessor.json").write_text(json.dumps(document))
    return copy


def body_of(content_type: str, cars: list[dict[str, Any]]) -> str:
    """Return cars as a request has them."""
    if content_type == CSV:
        return "".join(f"{','.join(_field(value) for value in car.values())}\n" for car in cars)
    if content_type == JSON_LINES:
        return "".join(f"{json.dumps(car)}\n" for car in cars)
    return json.dumps({"instances": cars} if len(cars) > 1 else cars[0])


def _field(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def microseconds(call: Callable[[], Any], seconds: float = 0.6) -> float:
    """Return the median time of a call in rounds that take about so long in all."""
    began = time.perf_counter()
    call()
    number = max(1, int(seconds / 30 / max(time.perf_counter() - began, 1e-6)))
    rounds = []
    for _ in range(30):
        began = time.perf_counter()
        for _ in range(number):
            call()
        rounds.append((time.perf_counter() - began) / number)
    return statistics.median(rounds) * 1e6


def measured(folder: Path, model: Path) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with suppress(ImportError):
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    import numpy as np
    import xgboost

    from localcloud.sagemaker.containers import script_mode

    script_mode.install()
    sys.path.insert(0, str(folder / "code"))
    script = importlib.import_module("inference")
    preprocessor = script.model_fn(str(folder))

    def serve(body: str | bytes, content_type: str, model: Any = preprocessor) -> Any:
        return script.output_fn(script.predict_fn(script.input_fn(body, content_type), model), "*/*")

    def parse(body: str) -> int:
        return len([[float(cell) for cell in row[:3]] for row in csv.reader(io.StringIO(body))])

    one, many, lines = {}, {}, {}
    for content_type in (CSV, JSON, JSON_LINES):
        few, full = (body_of(content_type, CARS[:count]) for count in (1, 1000))
        if content_type == JSON_LINES:  # the container hands on bytes of all types but the other two
            few, full = few.encode(), full.encode()  # type: ignore[assignment]
        lines[content_type], _ = serve(few, content_type)
        one[content_type] = microseconds(lambda few=few, kind=content_type: serve(few, kind))  # type: ignore[misc]
        many[content_type] = 1e9 / microseconds(lambda full=full, kind=content_type: serve(full, kind))  # type: ignore[misc]
    with redirect_stdout(Path(os.devnull).open("w")), TemporaryDirectory() as name:  # what is unusual goes to the log
        for what, (body, changes) in OTHERS.items():
            other = script.model_fn(str(_changed(folder, Path(name) / what, changes)))
            serve(body, CSV, other)
            one[f"{CSV}, {what}"] = microseconds(partial(serve, body, CSV, other))
    booster = xgboost.Booster(model_file=model)
    booster.set_param({"nthread": 1})
    row = np.array([[float(cell) for cell in lines[CSV].split(",")]], dtype=np.float32)
    floors = [body_of(CSV, CARS[:count]) for count in (1, 1000)]
    return {
        "one_us": one,
        "records_per_second": many,
        "floor_one_us": microseconds(lambda: parse(floors[0])),
        "floor_records_per_second": 1e9 / microseconds(lambda: parse(floors[1])),
        "model_us": microseconds(lambda: booster.inplace_predict(row, validate_features=False)),
        "encoded": lines[CSV],
    }


if __name__ == "__main__":
    print(json.dumps(measured(*map(Path, sys.argv[1:3]))))
