"""The interpreter that stands in for the images' Python: it starts programs, where it can without their imports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .containers.fork_server import LENGTH

_SERVER = Path(__file__).parent / "containers" / "fork_server.py"
# What Python and libraries read when they start: a program that wants it otherwise cannot be a fork.
_READ_AT_START = (
    *("ARROW_", "BLIS_", "GLIBC_", "GOMP_", "GOTO_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MIMALLOC_", "MKL_"),
    *("NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHON", "SCIPY_"),
)
# Names that a program's own modules may have: those of Python, and of what the fork server loads.
_LOADED = sys.stdlib_module_names | {"numpy", "pyarrow", "scipy", "sitecustomize", "usercustomize"}
# The same in every program; OpenMP's threads sleep while they wait, or they take the processors from other jobs.
_LIBRARIES = {"OMP_WAIT_POLICY": "passive", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


class ForkedProcess:
    """A program of the fork server, in the words of `subprocess.Popen`."""

    def __init__(self, pid: int, status: IO[bytes], stdin: IO[bytes] | None, stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(status,), name=f"program {pid}", daemon=True).start()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, -n after signal n. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _watch(self, status: IO[bytes]) -> None:
        """Without its server a program would not be known to have ended, so it ends with it."""
        with status:
            said = status.readline()
        if not said:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.returncode = int(said or -signal.SIGKILL)
        self._ended.set()


Process = subprocess.Popen[bytes] | ForkedProcess


@dataclass
class ImagePython:
    """`path` is the interpreter; `root` is the state folder, by which a program that was left behind is known.

    Where `forks`, scripts start as forks of one process that has loaded what they import (containers/fork_server.py).
    macOS's own libraries do not survive a fork, so there each starts by itself.
    """

    path: Path
    root: Path
    forks: bool = sys.platform == "linux"
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: subprocess.Popen[bytes] | None = None
    _control: socket.socket | None = None

    @property
    def server_pid(self) -> int | None:
        """The process id of the fork server, while there is one."""
        return self._server.pid if self._server else None

    def environment(self, directory: Path) -> dict[str, str]:
        """What every program gets: nothing of this machine's environment but the search path."""
        return {
            "PATH": f"{self.path.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(directory / "home"),
            "TMPDIR": str(directory / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
        }

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: dict[str, str],
        *,
        holds_stdin: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a program in a session of its own, its two outputs in one pipe. Raises OSError.

        Its stdin is empty, or with `holds_stdin` a pipe that ends when this process does.
        """
        if self._can_fork(argv, environment) and (program := self._fork(argv, cwd, environment, holds_stdin, pass_fds)):
            return program
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE if holds_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    def warm_up(self) -> None:
        """Have the fork server load what programs import, while their files are fetched."""
        if self.forks:
            with self._lock:
                self._running()

    def close(self) -> None:
        """End the fork server, and every program that it still has."""
        with self._lock:
            self._end()

    def _can_fork(self, argv: Sequence[str], environment: dict[str, str]) -> bool:
        if not self.forks or argv[0] != str(self.path) or len(argv) < 2:
            return False
        known = len(argv) > 2 if argv[1] == "-c" else argv[1].endswith(".py") and Path(argv[1]).is_file()
        usual = _read_at_start(environment) == _read_at_start(self.environment(self.root))
        return known and usual and not any(map(_replaces_modules, _own_folders(argv[1], environment)))

    def _fork(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: dict[str, str],
        holds_stdin: bool,
        pass_fds: Sequence[int],
    ) -> ForkedProcess | None:
        """None when the fork server cannot do it."""
        ours, theirs = socket.socketpair()
        output, its_output = os.pipe()
        its_input, own = os.pipe() if holds_stdin else (os.open(os.devnull, os.O_RDONLY), None)
        status, stdout = ours.makefile("rb"), os.fdopen(output, "rb")
        stdin = None if own is None else os.fdopen(own, "wb", 0)
        request = {"argv": list(argv), "cwd": str(cwd), "environment": environment, "fds": [0, 1, 2, *pass_fds]}
        with ours:
            try:
                self._ask(json.dumps(request).encode(), [theirs.fileno(), its_input, its_output, its_output, *pass_fds])
            except OSError:
                pass
            finally:
                theirs.close()
                os.close(its_input)
                os.close(its_output)
        if pid := status.readline():
            return ForkedProcess(int(pid), status, stdin, stdout)
        for file in (status, stdout, stdin):
            if file:
                file.close()
        return None

    def _ask(self, request: bytes, descriptors: list[int]) -> None:
        with self._lock:
            control = self._running()
            socket.send_fds(control, [LENGTH.pack(len(request))], descriptors)
            control.sendall(request)

    def _running(self) -> socket.socket:
        """The control socket of a server that runs."""
        if self._control is None or self._server is None or self._server.poll() is not None:
            self._end()
            self._control, theirs = socket.socketpair()
            self.root.mkdir(parents=True, exist_ok=True)
            with theirs:
                self._server = subprocess.Popen(
                    [str(self.path), str(_SERVER), str(theirs.fileno()), str(self.root)],
                    cwd=self.root,
                    env=self.environment(self.root) | _LIBRARIES,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            self._server.wait()
        self._control = self._server = None


def _read_at_start(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith(_READ_AT_START) and name != "PYTHONPATH"
    }


def _own_folders(program: str, environment: dict[str, str]) -> list[Path]:
    """Where a program finds modules before those of the image."""
    named = environment.get("PYTHONPATH", "").split(os.pathsep)
    own = [*named, environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")]
    return [Path(program).resolve().parent, *(Path(folder) for folder in own if folder)]


def _replaces_modules(folder: Path) -> bool:
    """Whether a module there has the name of one that is loaded already: the program is to get its own."""
    names = (path.name.partition(".")[0] for path in folder.glob("*.*") if path.suffix in (".py", ".so"))
    packages = (path.parent.name for path in folder.glob("*/__init__.py"))
    return not _LOADED.isdisjoint((*names, *packages))
