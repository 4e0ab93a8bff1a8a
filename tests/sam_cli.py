"""The SAM CLI as a fork of a process that has loaded its imports, which take a second each time.

Who starts it as a program of its own, as `perennial deploy` does, is given one that asks this process for a fork.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from localcloud.forks import ForkServer
from tests import forked

COLUMNS = "20000"  # it reads the width of its tables when it is imported: what it prints is not wrapped
BIN = Path(__file__).resolve().parents[1] / ".venvs" / "sam" / "bin"


def sam(*arguments: str, cwd: Path, env: Mapping[str, str], timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Run the SAM CLI in a folder, with this environment and no other."""
    command = [str(BIN / "python"), str(BIN / "sam"), *arguments]
    return forked.run(_server(), command, cwd=cwd, env={**env, "COLUMNS": COLUMNS}, timeout_seconds=timeout_seconds)


LIMIT_SECONDS = 300.0
PROGRAM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    asked.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    asked.shutdown(socket.SHUT_WR)
    code, out, errors = json.load(asked.makefile())
print(out, end="")
print(errors, end="", file=sys.stderr)
sys.exit(code)
"""


@contextmanager
def as_program(folder: Path) -> Iterator[None]:
    """Have `sam` in the folder bin/ of a new environment, for as long as the block lasts; nobody can talk with it."""
    program = folder / "bin" / "sam"
    program.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address := f"{place}/sam")  # which may have a hundred characters
        listener.listen()
        program.write_text(PROGRAM.format(python=sys.executable, address=address))
        program.chmod(0o755)
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            asked, _ = listener.accept()
        except OSError:  # the block has ended
            return
        with asked, asked.makefile("rw") as program:
            arguments, cwd, environment = json.load(program)
            ended = sam(*arguments, cwd=Path(cwd), env=environment, timeout_seconds=LIMIT_SECONDS)
            json.dump([ended.returncode, ended.stdout, ended.stderr], program)


@cache
def _server() -> ForkServer:
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    environment |= {"COLUMNS": COLUMNS, "SAM_CLI_TELEMETRY": "0"}
    server = ForkServer(BIN / "python", ["sam"], Path(tempfile.gettempdir()), environment)
    atexit.register(server.close)
    return server
