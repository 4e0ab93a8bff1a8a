"""How long a fresh clone takes to show its demo, and to test a change: the real commands, in a folder that is deleted.

    python -m bench.bench_from_nothing [--write]

The last commit is cloned. `make demo` makes the environments anew, starts a local cloud, builds and deploys, drops data
and asks the model; what it installs is in the caches of pip and uv by then, because a clone that does not count has
installed it before. Then `make test-changed` runs, once for each of CHANGED, in which one line is new; what it needs
beside the demo's environments is there by then. They get no variable of this process but those that find programs and
caches, and a port of their own, so that no local cloud that runs is touched. The floor of the demo is `make install`
alone. Memory is the most that a command has with all that it starts. Exits with 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench import local_stack, processes
from bench.table import Row, finish
from localcloud import process

ROOT = Path(__file__).resolve().parents[1]
INHERITED = re.compile(r"PATH|HOME|LANG|TZ|TMPDIR|XDG_CACHE_HOME|(PIP|UV|SSL|REQUESTS)_\w+|https?_proxy|no_proxy", re.I)
FOR_TESTS = (".venvs/notebooks/.installed", ".venvs/spark/.installed")
CHANGED = ("perennial/evaluation/gate.py", "functions/check_endpoint/app.py", "localcloud/engine/s3.py")


class Took(NamedTuple):
    """Seconds of a command; those of processors, and the most memory, of all that it has started."""

    seconds: float
    processor_seconds: float
    mebibytes: float

    def rows(self, what: str, floor: float | None = None) -> list[Row]:
        """Return its part of the table."""
        return [
            Row(what, self.seconds, "s", floor),
            Row(f"{what}: processor time", self.processor_seconds, "s"),
            Row(f"{what}: memory", self.mebibytes, "MiB"),
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for number in range(2):  # the first one fills the caches
            fresh = clone(folder / f"installed-{number}")
            installed = make(fresh, "install")
            make(fresh, *FOR_TESTS)
            shutil.rmtree(fresh)
        project = clone(folder / "project")
        port = f"PORT={local_stack.free_port()}"
        try:
            demo = make(project, "demo", port)
        finally:
            process.stop(project / ".local")
        rows = demo.rows("make demo", installed.seconds)
        make(project, *FOR_TESTS)
        for changed in CHANGED:
            file = project / changed
            text = file.read_text()
            file.write_text(f"{text}# a line more\n")
            took = make(project, "test-changed", "BASE=HEAD")
            file.write_text(text)
            rows += took.rows(f"make test-changed, {changed}")
    text = (
        "A fresh clone, with nothing but the caches of pip and uv. Floor: `make install`. One line of the file is new."
    )
    return finish("from nothing", text, rows, arguments.write, "make install")


def clone(folder: Path) -> Path:
    """Clone the last commit."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    return folder


def make(project: Path, *words: str) -> Took:
    """Run make in a project. Raises RuntimeError, with what it said last: it has failed."""
    variables = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    variables["LOCALCLOUD_OWNER"] = str(os.getpid())  # its local cloud ends with this process
    output = project.with_suffix(".log")
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with output.open("wb") as log:
        running = subprocess.Popen(["make", *words], cwd=project, env=variables, stdout=log, stderr=log)
        with processes.Watch(running.pid, every_seconds=0.5) as memory:
            while running.poll() is None:
                with suppress(FileNotFoundError, ValueError):
                    memory.roots[1:] = [json.loads((project / ".local/server.json").read_text())["pid"]]
                time.sleep(0.05)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if process.describe(project / ".local"):
        used += sum(map(processes.processor_seconds_of_all, memory.roots[1:]))
    if running.returncode:
        tail = output.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"make {' '.join(words)} ended with {running.returncode}: {tail}")
    print(f"make {' '.join(words)}: {seconds:.1f} s, {used:.1f} of processors, {memory.most:.0f} MiB", flush=True)
    return Took(seconds, used, memory.most)


if __name__ == "__main__":
    sys.exit(main())
