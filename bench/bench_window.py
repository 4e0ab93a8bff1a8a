"""How long the job takes that judges a window, where its time goes, and how much memory it needs.

    python -m bench.bench_window [--rounds 15] [--records 10000000] [--write]

Used cars with a label each, two facets, a linear model and one of XGBoost (TREES), both explained. Captures are made up
as SageMaker writes them, labels in Model Monitor's layout. Without --records: a window of FEW, its parts in the fastest
of some rounds, in a process that has judged one before, in processor time: others on the machine change it least; the
memory is that of a process of its own, as a job is. With --records: one window of so many in a process of its own, in
the Python of the image. It drifts, so that its labelled rows are written too: the most that the job does. It takes
0.7 KB of disk a record, and has a bound of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from time import process_time
from typing import Any
from unittest import mock

import numpy as np
import xgboost

from bench.bench_preprocess import IMAGE_PYTHON
from bench.processes import CACHE, Run, measured
from bench.table import Row, finish
from perennial.monitoring.window import Window
from perennial_aws import job_code
from processing import contributions, monitor
from tests.monitored import BIAS, MAKES, MODEL, START, WEIGHTS, World, cars

FEW = 1_000
TREES = 150  # of six levels
DEARER = 1.4  # times the price, where the window drifts
IN_FILE = 100_000
FACETS = """
monitoring:
  bias:
    facets: [{column: make, values: [Saab]}, {column: mileage, above: 20000}]
    positive: {above: 15000}
"""
PARTS: dict[str, tuple[Any, str]] = {
    "collect": (Window, "add"),
    "labels": (monitor, "_joined"),
    "data quality": (monitor, "_data_quality"),
    "model quality": (monitor, "_model_quality"),
    "bias": (monitor, "_bias"),
    "attribution": (monitor, "_attribution"),
    "report": (monitor, "_report"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Judge windows, print the table and return 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--records", type=int, help="one window of so many records, instead of the table of parts")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="window-", dir=CACHE) as folder, contextlib.redirect_stdout(io.StringIO()):
        if arguments.records:
            rows = list(many(Path(folder), arguments.records))
        else:
            rows = list(few(Path(folder), arguments.rounds))
    how = "" if arguments.records else "; processor time"
    text = f"A window of {arguments.records or FEW:,} labelled records, judged by every analysis{how}."
    name = "window of many" if arguments.records else "window"
    return finish(name, text, rows, arguments.write and not arguments.records)


def few(folder: Path, rounds: int) -> Iterator[Row]:
    """Yield the parts of the time of a small window, and their sum."""
    world = made(folder, FEW, 1.0)
    for model, prepare in (("linear", None), ("XGBoost", grow_trees)):
        if prepare:
            prepare(world)
        judged = [parts(world) for _ in range(rounds + 1)][1:]
        fastest = min(judged, key=lambda one: sum(one.values()))
        for name, seconds in fastest.items():
            if model == "linear" or name == "attribution":
                yield Row(f"share: {name} ({model})", 1000 * seconds, "ms")
        yield Row(f"work beyond starting ({model})", sum(fastest.values()), "s")
    yield Row("memory", process(world).mebibytes, "MiB")


def many(folder: Path, records: int) -> Iterator[Row]:
    """Yield how long one process takes for a large window that drifts, and its peak of memory."""
    world = made(folder, records, DEARER)
    run = process(world)
    verdict = world.read("verdict.json")
    counts = verdict["verdict"], verdict["ground_truth"]["matched"], verdict["labelled_rows"], verdict["report"]["file"]
    if counts != ("Drift", records, records, monitor.REPORT):
        raise SystemExit(f"the window was not judged whole: {json.dumps(verdict)[:2000]}")
    yield Row("the whole process", run.seconds, "s")
    yield Row("memory", run.mebibytes, "MiB")


def process(world: World) -> Run:
    """Judge the window in a process of its own, by the code as jobs get it."""
    code = world.folder / "code"
    for name, path in job_code._files():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, code / name)
    return measured([str(IMAGE_PYTHON), str(code / "processing/monitor.py"), *world.arguments()], code)


def parts(world: World) -> dict[str, float]:
    """Judge the window, and return how many seconds of the processor each part took, and the rest."""
    seconds: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        for name, (owner, attribute) in PARTS.items():
            timed = _timed(getattr(owner, attribute), name, seconds)
            stack.enter_context(mock.patch.object(owner, attribute, timed))
        began = process_time()
        world.judge()
        whole = process_time() - began
    return {**{name: seconds[name] for name in PARTS}, "the rest": whole - sum(seconds.values())}


def _timed(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        began = process_time()
        answer = function(*arguments)
        seconds[name] = process_time() - began
        return answer

    return timed


# ---- Made-up windows


def grow_trees(world: World) -> None:
    """Put a model of XGBoost in the place of the linear one, and the baseline of what its scores rest on."""
    sold = cars(1_500, 0)
    features = np.array([[*car.fields[:3], *(car.fields[3] == make for make in MAKES)] for car in sold], np.float32)
    matrix = xgboost.DMatrix(features, label=[car.price for car in sold], nthread=1)
    booster = xgboost.train({"max_depth": 6, "eta": 0.1, "nthread": 1}, matrix, TREES)
    with tarfile.open(world.serving / "model.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(content := bytes(booster.save_raw()))
        archive.addfile(member, io.BytesIO(content))
    lines = (world.test / "part-00000.jsonl").read_bytes().splitlines(keepends=True)
    explained = contributions.baseline("xgboost", world.serving, lines)
    (world.baselines / "attribution" / "analysis.json").write_text(json.dumps(explained))
    config = json.loads(world.config.read_text())
    config["definition"]["algorithm"] = "xgboost"
    world.config.write_text(json.dumps(config))


def made(folder: Path, records: int, dearer: float) -> World:
    """Return the files of a window of so many records, whose prices are so many times what the model has learned."""
    world = World(folder, MODEL.replace("{method: random}", "{method: random, key: [vin]}") + FACETS)
    random = np.random.default_rng(2)
    for first in range(0, records, IN_FILE):
        lines = list(_lines(first, min(IN_FILE, records - first), records, dearer, random))
        for name, texts in zip(("capture/cars/AllTraffic", "ground-truth"), zip(*lines, strict=True), strict=True):
            path = folder / name / f"{START:%Y/%m/%d/%H}/{first:09}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(texts))
    return world


def _lines(first: int, count: int, of: int, dearer: float, random: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield the line of a captured request and that of its label."""
    miles = np.maximum(10, random.normal(20_000, 8_000, count)).round(1)
    makes = random.choice(len(MAKES), count, p=[0.5, 0.2, 0.3])
    doors, leather = random.choice([2, 4], count), (random.random(count) < 0.7).astype(int)
    answers = (BIAS + WEIGHTS[0] * miles + WEIGHTS[-1] * (makes == len(MAKES) - 1)).round(2)
    prices = np.maximum(1, (dearer * answers + random.normal(0, 500, count)).round(2))
    for at, fields in enumerate(zip(miles, doors, leather, makes, answers, prices, strict=True)):
        number, (*features, make, answer, price) = first + at, fields
        time = START + timedelta(seconds=7_000 * number // of)
        request = f'"data":"{",".join(map(str, features))},{MAKES[make]}","encoding":"CSV"'
        about = f'"eventId":"{number:032x}","inferenceId":"sale-{number}","inferenceTime":"{time:%Y-%m-%dT%H:%M:%SZ}"'
        yield (
            f'{{"captureData":{{"endpointInput":{{"observedContentType":"text/csv","mode":"INPUT",{request}}},'
            f'"endpointOutput":{{"observedContentType":"text/csv; charset=utf-8","mode":"OUTPUT","data":"{answer}",'
            f'"encoding":"CSV"}}}},"eventMetadata":{{{about}}},"eventVersion":"0"}}\n',
            f'{{"groundTruthData":{{"data":"{price}","encoding":"CSV"}},"eventMetadata":{{"eventId":"sale-{number}"}},'
            '"eventVersion":"0"}\n',
        )


if __name__ == "__main__":
    sys.exit(main())
