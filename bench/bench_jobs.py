"""How long the local cloud's programs take by themselves, and as forks of a process that has loaded their imports.

    python -m bench.bench_jobs [--rounds 9] [--write]

Each program is started as a job or an endpoint starts it, on 804 used-car rows, in turn both ways. Prints medians of
the time until it has ended (a server: until it is ready) and of the processor time that it takes; on Linux. The first
round, in which the fork server starts, does not count; nor do the programs whose memory is looked at, with the fork
server's. Exits with 1 when a bound is missed. --write puts the table into docs/benchmark.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from bench import processes
from bench.bench_preprocess import DEFINITION
from bench.table import Row, finish
from localcloud.sagemaker.endpoints.model_server import Container
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.settings import image_python
from tools import synthetic

ROOT = Path(__file__).resolve().parents[1]
SAGEMAKER = ROOT / "localcloud" / "sagemaker"
ROWS = 804

Program = Callable[..., float]
"""Runs once, with `image`, and returns the seconds that it took."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        programs = prepare(Path(folder))
        ways = {forks: ImagePython(image_python(), Path(folder), forks) for forks in (False, True)}
        took: dict[tuple[str, bool], list[tuple[float, float]]] = {}
        for number in range(-1, arguments.rounds):
            for (name, program), (forks, image) in product(programs.items(), ways.items()):
                before = processor_seconds(image)
                seconds = program(image=image)
                used = processor_seconds(image) - before
                if number >= 0:  # the first round makes input, starts the server and fills caches
                    took.setdefault((name, forks), []).append((seconds, used))
        with processes.Watch(ways[True].server_pid or 0, every_seconds=0.01) as memory:
            for program in [*programs.values()] * (1 + arguments.rounds):  # one look may come too late
                program(image=ways[True])
        for image in ways.values():
            image.close()
    text = f"Programs on {ROWS} rows, medians of {arguments.rounds} rounds. Us: forks. Memory: with the fork server."
    table = [*rows(list(programs), took), Row("memory", memory.most, "MiB")]
    return finish("jobs", text, table, arguments.write)


def prepare(folder: Path) -> dict[str, Program]:
    """Return the programs, in the order in which they make each other's input."""
    (folder / "data").mkdir()
    with (folder / "data" / "00000-cars.csv").open("wb") as file:
        file.writelines(synthetic.batches(ROWS, seed=42, wide=True))
    (folder / "config.json").write_text(json.dumps({"model": "used-cars", "definition": DEFINITION}), encoding="utf-8")
    for name in ("processing", "perennial"):
        shutil.copytree(ROOT / name, folder / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    prepared, training = folder / "prepared", folder / "training"
    configuration = training / "input" / "config"
    configuration.mkdir(parents=True)
    channel = {"ContentType": "text/csv", "TrainingInputMode": "File"}
    channels = dict.fromkeys(("train", "validation"), channel)
    (configuration / "inputdataconfig.json").write_text(json.dumps(channels))
    (configuration / "hyperparameters.json").write_text('{"num_round": "100"}')
    (training / "input" / "data").symlink_to(prepared)

    def job(script: str, **paths: Path) -> Program:
        paths |= {"config": folder / "config.json", "message": folder / "message"}
        options = [f"--{name.replace('_', '-')}={path}" for name, path in paths.items()]
        return partial(run, folder, str(folder / "code" / "processing" / f"{script}.py"), *options)

    return {
        "nothing": partial(run, folder, "-c", "pass"),
        "preprocess": job("preprocess", data=folder / "data", output=prepared),
        "data baseline": job("analyze_data_quality", baseline_data=prepared / "baseline", output=folder / "baseline"),
        "train XGBoost": partial(run, folder, str(SAGEMAKER / "algorithms" / "xgboost_train.py"), f"--root={training}"),
        "serve XGBoost": partial(serve, folder, "xgboost_serve.py", training),
    }


def run(folder: Path, *arguments: str, image: ImagePython) -> float:
    """Run a program as a job does."""
    began = time.perf_counter()
    environment = image.environment(folder) | {"PYTHONPATH": str(folder / "code")}
    process = image.start([str(image.path), *arguments], folder, environment)
    output = process.stdout.read() if process.stdout else b""
    if process.wait():
        raise RuntimeError(f"{arguments}: {output.decode()}")
    return time.perf_counter() - began


def serve(folder: Path, program: str, root: Path, *, image: ImagePython) -> float:
    """Start a server as an endpoint does, until it is ready, and end it."""
    command = [str(image.path), str(SAGEMAKER / "containers" / program), "--root", str(root)]
    container = Container(program, command, folder, image.environment(folder), lambda _line: None, image)
    began = time.perf_counter()
    container.start(60)
    seconds = time.perf_counter() - began
    container.stop()
    return seconds


def processor_seconds(image: ImagePython) -> float:
    """Return what the programs that have ended took, and the fork server itself."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime
    if (server := image.server_pid) is not None:
        total += processes.processor_seconds(server)
    return total


def rows(names: Sequence[str], took: dict[tuple[str, bool], list[tuple[float, float]]]) -> list[Row]:
    """Return the table: forks beside what the same programs take by themselves."""
    lines, sums = [], {True: 0.0, False: 0.0}
    for name in names:
        for which, what in enumerate(("until it has ended", "processor time")):
            of = {forks: statistics.median(run[which] for run in took[name, forks]) for forks in sums}
            lines.append(Row(f"{name}, {what}", of[True] * 1000, "ms", peers={"by itself": of[False] * 1000}))
        sums = {forks: sums[forks] + of[forks] for forks in sums}
    return [*lines, Row("processor time of all, times the peer's", sums[True] / sums[False], "")]


if __name__ == "__main__":
    sys.exit(main())
