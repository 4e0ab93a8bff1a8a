"""A local cloud of a benchmark's own, in a folder that is deleted, with the built application deployed if asked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcloud import process
from localcloud.settings import Settings, environment
from perennial_cli import stacks

ROOT = Path(__file__).resolve().parents[1]
STACK = "perennial-bench"


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 30) -> None:
    """Wait until somebody listens. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens at port {port} after {seconds:g} s")


def pid(settings: Settings) -> int:
    """Return the process of a local cloud; what it runs is below it."""
    return int((process.describe(settings.state) or {})["pid"])


@contextmanager
def local_cloud() -> Iterator[Settings]:
    """Start a local cloud, point boto3 at it, and end it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    settings = Settings(free_port(), folder / "state")
    os.environ["LOCALCLOUD_OWNER"] = str(os.getpid())
    process.start(settings)
    os.environ.update(environment(settings))
    try:
        yield settings
    finally:
        process.stop(settings.state)
        shutil.rmtree(folder)


def deploy() -> dict[str, str]:
    """Build and deploy the application as `make demo` does; return the stack's outputs. Raises RuntimeError."""
    sam = [str(ROOT / ".venvs/sam/bin/sam")]
    variables = {**os.environ, "LAYER_PLATFORM": "", "SAM_CLI_POLL_DELAY": "1"}
    for command in (["build"], ["deploy", "--config-env", "local", "--stack-name", STACK]):
        done = subprocess.run([*sam, *command], cwd=ROOT, capture_output=True, text=True, env=variables)
        if done.returncode:
            raise RuntimeError(f"sam {command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {item["OutputKey"]: item["OutputValue"] for item in stacks.find(STACK).get("Outputs", [])}
