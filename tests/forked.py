"""Programs that end, run as forks of a process that has loaded their imports."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcloud.forks import POSSIBLE, ForkedProcess, ForkServer


def run(
    server: ForkServer, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout_seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with this environment and no other: as `subprocess.run`, where it cannot be a fork."""
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as errors,
        Path(os.devnull).open() as nothing,
    ):
        files = {0: nothing.fileno(), 1: out.fileno(), 2: errors.fileno()}
        started = server.fork(command, cwd, env, files) if POSSIBLE else None
        if started is None:
            return subprocess.run(
                command, cwd=cwd, env=env, check=False, capture_output=True, text=True, timeout=timeout_seconds
            )
        process = ForkedProcess(*started)
        try:
            code = process.wait(timeout_seconds)
        finally:
            process.kill()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(list(command), code, out.read(), errors.read())
