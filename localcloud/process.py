"""The background process of a local cloud: start it, find it, end it.

The server holds a lock on `<state>/lock` for as long as it lives, and describes itself in `<state>/server.json`. The
lock, not the process id, says whether it runs: it goes with the process, however that ends.
"""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from localcloud import access, disk
from localcloud.settings import HOST, Settings, variables

_START_SECONDS = 60.0
_STOP_SECONDS = 25.0
_KILL_SECONDS = 5.0
_LOG_BYTES = 20 * 1024 * 1024
_LOG_TAIL_LINES = 15

Status = dict[str, Any]
_children: dict[Path, subprocess.Popen[bytes]] = {}  # servers that this process started; reaped when it stops them


class ProcessError(RuntimeError):
    """The local cloud cannot be started or stopped; the text says why and what to do."""


@contextmanager
def hold(settings: Settings) -> Iterator[None]:
    """Own the state folder while the server runs in this process.

    Raises:
        ProcessError: another process owns it.
    """
    access.private(settings.state)
    with (settings.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessError(
                f"The state folder {settings.state} is in use by another local cloud. Stop it "
                f"(python -m localcloud down --state {settings.state}) or choose another folder with --state."
            ) from None
        description = {"pid": os.getpid(), "port": settings.port, "region": settings.region}
        (settings.state / "server.json").write_text(json.dumps(description))
        yield


def describe(state: Path) -> dict[str, Any] | None:
    """Return `{"pid", "port", "region"}` of the server that owns the state folder; None when none runs."""
    try:
        with (state / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _description(state)
    return None


def _description(state: Path) -> dict[str, Any]:
    """Return the server's own description; it may be writing it right now."""
    for _ in range(50):
        try:
            description: dict[str, Any] = json.loads((state / "server.json").read_text())
        except (FileNotFoundError, ValueError):
            time.sleep(0.02)
        else:
            return description
    raise ProcessError(f"{state / 'server.json'} cannot be read although a server runs. End it and try again.")


def status(settings: Settings, timeout_seconds: float = 5.0) -> Status | None:
    """Return the status of the local cloud of this state folder; None when nothing or something else listens there."""
    try:
        document = access.call(variables(settings), "GET", access.STATUS_PATH, timeout_seconds=timeout_seconds)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "pid" in document else None


def start(settings: Settings, progress: Callable[[str], None] = lambda _: None) -> bool:
    """Start the server in the background and wait until it is ready. False when it already ran.

    Raises:
        ProcessError: the port or the state folder is taken, or the server did not come up.
    """
    access.private(settings.state)
    with (settings.state / "up.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two `up` at once: the second finds what the first started
        if running := describe(settings.state):
            if running["port"] != settings.port:
                raise ProcessError(
                    f"The local cloud of {settings.state} already runs, on port {running['port']}, not {settings.port}."
                    f" Use it there, or stop it first: python -m localcloud down --state {settings.state}"
                )
            _wait_until_ready(settings, None, progress)
            return False
        _reap(settings.state)
        require_free_port(settings)
        child = _spawn(settings)
        try:
            _wait_until_ready(settings, child, progress)
        except BaseException:
            child.kill()
            child.wait()
            raise
        _children[settings.state] = child
        return True


def require_free_port(settings: Settings) -> None:
    """Raise ProcessError, with who has the port as far as that can be known."""
    port = settings.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise ProcessError(f"Port {port} needs privileges. Choose one above 1023 with --port.") from error
        except OSError as error:
            raise _port_taken(settings) from error


def _port_taken(settings: Settings) -> ProcessError:
    port = settings.port
    if other := _server_on(port):
        owner = f"the local cloud of {other[1]} (process {other[0]})"
        remedy = f"Stop it: python -m localcloud down --state {other[1]}"
    else:
        owner = "another program"
        remedy = f"See which one: lsof -nP -iTCP:{port} -sTCP:LISTEN"
    return ProcessError(f"Port {port} is in use by {owner}. {remedy}; or choose another port: --port, or make up PORT=")


def _server_on(port: int) -> tuple[int, str] | None:
    """Return process and state folder of this user's local cloud on a port, found by the watcher that each one has.

    The local cloud itself tells that to nobody who does not know its keys.
    """
    listed = subprocess.run(["ps", "axww", "-o", "command="], capture_output=True, text=True, check=False).stdout
    for state in re.findall(r"/localcloud/engine/leftovers\.py (.+)$", listed, re.MULTILINE):
        with suppress(OSError, ProcessError):  # another user's
            if (running := describe(Path(state))) and running["port"] == port:
                return running["pid"], state
    return None


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    log_path = settings.state / "server.log"
    _put_aside(log_path)
    command = [sys.executable, "-m", "localcloud", "up", "--foreground"]
    command += ["--port", str(settings.port), "--state", str(settings.state), "--region", settings.region]
    command += ["--account", settings.account_id]
    project = str(Path(__file__).resolve().parents[1])
    with log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=settings.state,
            env={**os.environ, "PYTHONPATH": project},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _put_aside(log: Path) -> bool:
    """Keep a log that has grown large as the one before; it takes the place of an earlier one."""
    large = log.exists() and log.stat().st_size > _LOG_BYTES
    if large:
        log.replace(log.with_suffix(".log.1"))
    return large


def bound_log(state: Path) -> None:
    """Begin a new server.log if this process writes to one that has grown large."""
    path = state / "server.log"
    if path.exists() and os.path.samestat(os.fstat(1), path.stat()) and _put_aside(path):
        with path.open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)


def _wait_until_ready(
    settings: Settings, child: subprocess.Popen[bytes] | None, progress: Callable[[str], None]
) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if (answer := status(settings)) and answer.get("ready"):
            if answer["problem"]:
                progress(f"Warning: {answer['problem']}\n")
            return
        if child and child.poll() is not None:
            raise ProcessError(
                f"The local cloud ended while it started (exit code {child.returncode}).\n{_tail(settings)}"
            )
        progress(".")
        time.sleep(0.1)
    raise ProcessError(f"The local cloud was not ready within {_START_SECONDS:.0f} s.\n{_tail(settings)}")


def _tail(settings: Settings) -> str:
    path = settings.state / "server.log"
    lines = path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:] if path.exists() else []
    full = [f"Warning: {why}"] if (why := disk.problem(settings.state)) else []
    return "\n".join([*(f"  {line}" for line in lines), f"The whole log: {path}", *full])


def stop(state: Path, progress: Callable[[str], None] = lambda _: None) -> bool:
    """End the server in order, by force if it does not end in time. False when none ran.

    Raises:
        ProcessError: it could not be ended.
    """
    running = describe(state)
    if not running:
        return False
    for signal_number, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.kill(running["pid"], signal_number)
        if _ended(state, patience, progress):
            _reap(state)
            return True
    raise ProcessError(f"Process {running['pid']} did not end. End it by hand: kill -9 {running['pid']}")


def _reap(state: Path) -> None:
    if child := _children.pop(state, None):
        child.wait()


def _ended(state: Path, patience: float, progress: Callable[[str], None]) -> bool:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if describe(state) is None:
            return True
        progress(".")
        time.sleep(0.1)
    return False
