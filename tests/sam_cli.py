"""The SAM CLI as a fork of a process that has loaded its imports, which take a second each time."""

from __future__ import annotations

import atexit
import os
import subprocess
import tempfile
from collections.abc import Mapping
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


@cache
def _server() -> ForkServer:
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    environment |= {"COLUMNS": COLUMNS, "SAM_CLI_TELEMETRY": "0"}
    server = ForkServer(BIN / "python", ["sam"], Path(tempfile.gettempdir()), environment)
    atexit.register(server.close)
    return server
