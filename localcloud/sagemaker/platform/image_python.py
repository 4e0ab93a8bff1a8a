"""The interpreter that stands in for the images' Python: it starts programs, where it can without their imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO

from localcloud.fork_server import LOADS
from localcloud.forks import POSSIBLE, ForkedProcess, ForkServer, has_module_of, read_at_start

# Names that a program's own modules may have: those of Python, and of what the fork server loads.
_PRELOADED = {name.partition(".")[0] for name in (*LOADS["image"].packages, *LOADS["image"].without_sklearn)}
_LOADED = sys.stdlib_module_names | _PRELOADED | {"sitecustomize", "usercustomize"}
_MOST_SOURCE_FILES = 500
_OURS = Path(__file__).resolve().parents[1]  # whose programs look for modules elsewhere
_NO_INSTALLERS = Path(__file__).parents[1] / "containers" / "bin"  # pip of this machine would change what others run in
# The same in every program; OpenMP's threads sleep while they wait, or they take the processors from other jobs.
_LIBRARIES = {"OMP_WAIT_POLICY": "passive", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


class Program(ForkedProcess):
    """A program in the words of `subprocess.Popen`, with bytes in its pipes."""

    def __init__(self, pid: int, status: IO[bytes], stdout: IO[bytes]) -> None:
        super().__init__(pid, status)
        self.stdout = stdout


Process = subprocess.Popen[bytes] | Program


class ImagePython:
    """`path` is the interpreter; `root` is the state folder, by which a program that was left behind is known.

    Where `forks`, scripts start as forks of one process that has loaded what they import.
    """

    def __init__(self, path: Path, root: Path, forks: bool = POSSIBLE) -> None:
        self.path, self.root, self.forks = path, root, forks
        self._server = ForkServer(path, ["image"], root, self.environment(root) | _LIBRARIES)

    @property
    def server_pid(self) -> int | None:
        """The process id of the fork server, while there is one."""
        return self._server.pid

    def environment(self, directory: Path) -> dict[str, str]:
        """Return what every program gets: nothing of this machine's environment but the search path."""
        return {
            "PATH": f"{_NO_INSTALLERS}:{self.path.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
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
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a program in a session of its own, its stdin empty and its two outputs in one pipe. Raises OSError."""
        if self._can_fork(argv, environment) and (program := self._fork(argv, cwd, environment, pass_fds)):
            return program
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    def warm_up(self) -> None:
        """Have the fork server load what programs import, while their files are fetched."""
        if self.forks:
            self._server.start()

    def close(self) -> None:
        """End the fork server, and every program that it still has."""
        self._server.close()

    def _can_fork(self, argv: Sequence[str], environment: dict[str, str]) -> bool:
        if not self.forks or argv[0] != str(self.path) or len(argv) < 2:
            return False
        known = len(argv) > 2 if argv[1] == "-c" else argv[1].endswith(".py") and Path(argv[1]).is_file()
        usual = read_at_start(environment) == read_at_start(self.environment(self.root))
        own = [folder for folder in _own_folders(argv[1], environment) if not folder.is_relative_to(_OURS)]
        return known and usual and not any(has_module_of(_LOADED, folder) for folder in own)

    def _fork(
        self, argv: Sequence[str], cwd: Path, environment: dict[str, str], pass_fds: Sequence[int]
    ) -> Program | None:
        """None when the fork server cannot do it."""
        output, its_output = os.pipe()
        its_input, stdout = os.open(os.devnull, os.O_RDONLY), os.fdopen(output, "rb")
        try:
            files = {0: its_input, 1: its_output, 2: its_output} | {number: number for number in pass_fds}
            started = self._server.fork(argv, cwd, environment, files, self._sources(argv[1], environment))
        finally:
            os.close(its_input)
            os.close(its_output)
        if started:
            return Program(*started, stdout)
        stdout.close()
        return None

    def _sources(self, program: str, environment: dict[str, str]) -> list[Path]:
        """Return the modules, and archives of modules, in the program's own folders."""
        folders = [folder for folder in _own_folders(program, environment) if folder.is_relative_to(self.root)]
        files = chain.from_iterable(folder.rglob("*") for folder in folders)
        return list(islice((path for path in files if path.suffix in (".py", ".zip")), _MOST_SOURCE_FILES))


def _own_folders(program: str, environment: dict[str, str]) -> list[Path]:
    """Return the folders in which a program finds modules before those of the image."""
    named = environment.get("PYTHONPATH", "").split(os.pathsep)
    own = [*named, environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")]
    return [Path(program).resolve().parent, *(Path(folder) for folder in own if folder)]
