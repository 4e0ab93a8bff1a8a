"""Functions start without their imports: as forks of a process that has loaded boto3 and what their layers bring.

There is one such process for each set of layers, and of variables that Python reads when it starts; it ends when it has
not been used for long. A function that brings a module which is found elsewhere too starts by itself, and so does one
whose layers have a folder of site packages, which may run code.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from localcloud.engine.seams import Seams
from localcloud.forks import POSSIBLE, ForkedProcess, ForkServer, has_module_of, read_at_start

lambda_runtime = Seams("core.lambda_runtime", subprocess="20da1ca6")


class Worker(ForkedProcess):
    """A worker in the words of `subprocess.Popen`, with text in its pipes."""

    def __init__(self, pid: int, status: IO[bytes], stdin: int, stdout: int, stderr: int) -> None:
        super().__init__(pid, status)
        self.stdin = TextIOWrapper(os.fdopen(stdin, "wb", 0), write_through=True)
        self.stdout, self.stderr = os.fdopen(stdout), os.fdopen(stderr)


@dataclass
class _Origin:
    """What workers are forks of."""

    server: ForkServer
    used: float = 0.0
    workers: list[Worker] = field(default_factory=list)


_origins: dict[tuple[Any, ...], _Origin] = {}
_lock = threading.Lock()


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    if POSSIBLE:
        lambda_runtime.replace("subprocess", lambda _: _Subprocess())


def end_idle(oldest: float) -> None:
    """End what has no worker any more and was last used before."""
    with _lock:
        for key, origin in list(_origins.items()):
            origin.workers = [worker for worker in origin.workers if worker.returncode is None]
            if not origin.workers and origin.used < oldest:
                _origins.pop(key).server.close()


class _Subprocess:
    """The module `subprocess`, in which Python workers start as forks where they can."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, command: Sequence[str], **options: Any) -> Any:  # noqa: N802 - the module's own name
        if command[0] == sys.executable and (worker := _fork(command, Path(options["cwd"]), options["env"])):
            return worker
        return subprocess.Popen(command, **options)


def _fork(command: Sequence[str], code: Path, environment: dict[str, str]) -> Worker | None:
    """None when the worker has to start by itself."""
    layers = [Path(layer) for layer in environment.get("_LAMBDA_LAYERS_DIRS", "").split(os.pathsep) if layer]
    folders = [str(folder) for layer in reversed(layers) for folder in (layer, layer / "python")]
    if any((layer / "python" / "lib").exists() for layer in layers):
        return None
    if has_module_of(sys.stdlib_module_names.union(*map(_names, [*folders, *sys.path])), code):
        return None
    with _lock:
        origin = _origin(Path(command[0]), folders, read_at_start(environment))
        origin.used = time.time()
    if worker := _start(origin.server, command, code, environment):
        origin.workers.append(worker)
    return worker


def _origin(python: Path, folders: list[str], variables: dict[str, str]) -> _Origin:
    key = (*folders, *sorted(variables.items()))
    if key not in _origins:
        own = {name: os.environ[name] for name in ("PATH", "TMPDIR")}  # by which what was left behind is known
        loads = ["layers", *folders] if folders else ["runtime"]
        _origins[key] = _Origin(ForkServer(python, loads, Path(own["TMPDIR"]), own | variables))
    return _origins[key]


def _start(server: ForkServer, command: Sequence[str], code: Path, environment: dict[str, str]) -> Worker | None:
    (its_stdin, stdin), (stdout, its_stdout), (stderr, its_stderr) = os.pipe(), os.pipe(), os.pipe()
    try:
        started = server.fork(command, code, environment, {0: its_stdin, 1: its_stdout, 2: its_stderr})
    finally:
        for descriptor in (its_stdin, its_stdout, its_stderr):
            os.close(descriptor)
    if started:
        return Worker(*started, stdin, stdout, stderr)
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    return None


@cache
def _names(folder: str) -> frozenset[str]:
    """Return the names of what can be imported from a folder."""
    path = Path(folder)
    return frozenset(entry.name.partition(".")[0] for entry in path.iterdir()) if path.is_dir() else frozenset()
