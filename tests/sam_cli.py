"""The SAM CLI as a fork of a process that has loaded its imports, which take a second each time."""

from __future__ import annotations

import atexit
import os
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from localcloud.forks import POSSIBLE, ForkedProcess, ForkServer

COLUMNS = "20000"  # it reads the width of its tables when it is imported: what it prints is not wrapped
BIN = Path(__file__).resolve().parents[1] / ".venvs" / "sam" / "bin"


def sam(*arguments: str, cwd: Path, env: Mapping[str, str], timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Run the SAM CLI in a folder, with this environment and no other."""
    command = [str(BIN / "sam"), *arguments]
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as errors,
        Path(os.devnull).open() as nothing,
    ):
        files = {0: nothing.fileno(), 1: out.fileno(), 2: errors.fileno()}
        started = _server().fork([str(BIN / "python"), *command], cwd, env, files) if POSSIBLE else None
        if started is None:
            return subprocess.run(
                command,
                cwd=cwd,
                env={**env, "COLUMNS": COLUMNS},
                check=False,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
            )
        process = ForkedProcess(*started)
        try:
            code = process.wait(timeout_seconds)
        finally:
            process.kill()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), errors.read())


@cache
def _server() -> ForkServer:
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    environment |= {"COLUMNS": COLUMNS, "SAM_CLI_TELEMETRY": "0"}
    server = ForkServer(BIN / "python", ["sam"], Path(tempfile.gettempdir()), environment)
    atexit.register(server.close)
    return server
