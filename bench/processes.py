"""What processes take: wall time, processor time and memory of one that is run, and of those that run already.

    python bench/processes.py PROGRAM [ARGUMENT...]

runs one and prints what it took, as JSON. `measured` does so in a small process between: the most memory that a process
has had counts as that of the program which takes its place (Linux, exec_mmap), so that a benchmark which has read a
table itself would find it again in what it starts.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".local" / "bench"
EIGHT = 8  # cores that this machine may not have
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Run:
    """One run of a program: wall time, processor time of all its threads and of the main one, its peak memory."""

    seconds: float
    processor_seconds: float
    main_seconds: float
    mebibytes: float

    @property
    def speedup(self) -> float:
        """How many times as fast EIGHT cores are as one."""
        return self.processor_seconds / (self.main_seconds + (self.processor_seconds - self.main_seconds) / EIGHT)


def measured(arguments: Sequence[str], path: str | Path = ROOT, variables: Mapping[str, str] | None = None) -> Run:
    """Run a program that finds its modules in `path`, and return what it took. Raises CalledProcessError.

    Nobody reads what it prints. It finds them compiled, as libraries are when they are installed.
    """
    own = {"PYTHONPATH": str(path), "PYTHONPYCACHEPREFIX": str(CACHE / "compiled"), **(variables or {})}
    environment = {**os.environ, **own}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    between = [sys.executable, "-I", "-S", __file__, *arguments]
    done = subprocess.run(between, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return Run(*json.loads(done.stdout))


def _run(arguments: list[str]) -> Run:
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    process = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=quiet)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    main_seconds = _of_main_thread(process)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{arguments[:3]} ended with {os.waitstatus_to_exitcode(status)}")
    mebibytes = usage.ru_maxrss / (1024 if sys.platform == "linux" else MEBIBYTE)
    return Run(seconds, usage.ru_utime + usage.ru_stime, main_seconds, mebibytes)


def _of_main_thread(process: int) -> float:
    """Return the processor time of the main thread of a process that has ended; NaN where nobody says it.

    Source: the Linux kernel's documentation, "Scheduler Statistics", /proc/<pid>/schedstat.
    """
    statistics_of_it = Path(f"/proc/{process}/task/{process}/schedstat")
    return int(statistics_of_it.read_text().split()[0]) / 1e9 if statistics_of_it.exists() else math.nan


# ---- Processes that run, with all below them


def processor_seconds(process: int) -> float:
    """Return what a process has taken, with those of its children that have ended and were waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def processor_seconds_of_all(root: int) -> float:
    """Return what a process and all below it took, also those that have ended and were waited for."""
    return sum(map(processor_seconds, _with_children(root)))


def mebibytes_of_all(*roots: int) -> float:
    """Return the memory that processes and all below them have now; what several share counts once (PSS).

    Source: the Linux kernel's documentation, "The /proc Filesystem", /proc/<pid>/smaps_rollup.
    """
    kibibytes = 0
    for process in {one for root in roots for one in _with_children(root)}:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            kibibytes += int(text.partition("\nPss:")[2].split(None, 1)[0])
    return kibibytes / 1024


def _with_children(root: int) -> Iterator[int]:
    yield root
    for path in Path(f"/proc/{root}/task").glob("*/children"):
        children = ""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            children = path.read_text()
        for child in children.split():
            yield from _with_children(int(child))


class Watch:
    """Looks again and again at the memory of processes and all below them, and keeps the most: `with Watch(pid) as it`.

    Processes may join while it looks. It takes some of the processors' time, so nothing should be timed meanwhile.
    """

    def __init__(self, *roots: int, every_seconds: float = 0.05) -> None:
        self.roots, self.most = list(roots), 0.0
        self._every, self._over = every_seconds, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while True:
            self.most = max(self.most, mebibytes_of_all(*self.roots))
            if self._over.wait(self._every):
                return

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    print(json.dumps(astuple(_run(sys.argv[1:]))))
