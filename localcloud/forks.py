"""Programs that start without their imports: forks of one process that has loaded them (fork_server.py)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from localcloud.fork_server import LENGTH

SCRIPT = Path(__file__).with_name("fork_server.py")
POSSIBLE = sys.platform == "linux"
"""macOS's own libraries do not survive a fork, so there each program starts by itself."""
# What Python and libraries read when they start: a program that wants it otherwise cannot be a fork.
_READ_AT_START = (
    *("ARROW_", "AWS_LAMBDA_INITIALIZATION_TYPE", "BLIS_", "GLIBC_", "GOMP_", "GOTO_", "KMP_", "LANG", "LC_", "LD_"),
    *("MALLOC_", "MIMALLOC_", "MKL_", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYDANTIC_", "PYTHON", "SCIPY_"),
)


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that must be the same in a program and in the process that it is forked from."""
    return {
        name: value for name, value in environment.items() if name.startswith(_READ_AT_START) and name != "PYTHONPATH"
    }


def has_module_of(names: Iterable[str], folder: Path) -> bool:
    """Return whether a module or a package in the folder has one of the names."""
    modules = (path.name.partition(".")[0] for path in folder.glob("*.*") if path.suffix in (".py", ".so"))
    packages = (path.parent.name for path in folder.glob("*/__init__.py"))
    return not set(names).isdisjoint((*modules, *packages))


class ForkedProcess:
    """A program of the fork server, in the words of `subprocess.Popen`."""

    def __init__(self, pid: int, status: IO[bytes]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(status,), name=f"program {pid}", daemon=True).start()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, -n after signal n. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _watch(self, status: IO[bytes]) -> None:
        """Without its server a program would not be known to have ended, so it ends with it."""
        with status:
            line = status.readline()
        if not line:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.returncode = int(line or -signal.SIGKILL)
        self._ended.set()


@dataclass
class ForkServer:
    """One process that programs are forked from; it is started when it is needed, and again when it has ended.

    loads    what it loads, and the folders that it searches first: arguments of fork_server.py
    folder   its working folder; `ps` shows it for every program
    """

    python: Path
    loads: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: subprocess.Popen[bytes] | None = None
    _control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Have it load, before anything is to be forked."""
        with self._lock:
            self._running()

    def fork(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        files: Mapping[int, int],
        sources: Sequence[Path] = (),
    ) -> tuple[int, IO[bytes]] | None:
        """Start a program with these files: its number to ours.

        What it imports of `sources`, modules and archives of modules, is compiled for all programs once.
        Returns its process id, and the file in which its exit code will be. None when it cannot be a fork.
        """
        ours, theirs = socket.socketpair()
        status = ours.makefile("rb")
        request = {
            "argv": list(argv),
            "cwd": str(cwd),
            "environment": dict(environment),
            "fds": [*files],
            "sources": [str(path) for path in sources],
        }
        with ours, theirs, suppress(OSError):
            self._ask(json.dumps(request).encode(), [theirs.fileno(), *files.values()])
        if pid := status.readline():
            return int(pid), status
        status.close()
        return None

    def close(self) -> None:
        """End it, and every program that it still has."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes, descriptors: list[int]) -> None:
        with self._lock:
            control = self._running()
            socket.send_fds(control, [LENGTH.pack(len(request))], descriptors)
            control.sendall(request)

    def _running(self) -> socket.socket:
        """Return the control socket of a process that runs."""
        if self._control is None or self._process is None or self._process.poll() is not None:
            self._end()
            self._control, theirs = socket.socketpair()
            self.folder.mkdir(parents=True, exist_ok=True)
            with theirs:
                self._process = subprocess.Popen(
                    [str(self.python), str(SCRIPT), str(theirs.fileno()), str(self.folder), *self.loads],
                    cwd=self.folder,
                    env=dict(self.environment),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()
        self._control = self._process = None
