"""Run a container's program as a process group of its own, with a way to end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from localcloud.sagemaker.platform.image_python import ImagePython, Process

_LINE_BYTES = 64 * 1024
_DRAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Exit:
    code: int
    """Docker's convention: 128 + n for a process that signal n ended, 127 for a program that is not there."""
    timed_out: bool
    stopped: bool


class ContainerProcess:
    """One program. `run` blocks until it has ended; `stop` may be called from any thread.

    Stopping follows `docker stop`: SIGTERM to the program, SIGKILL to its whole group after `grace_seconds`.
    Whatever the program leaves behind in its group is killed when it ends, as a container's processes are.
    """

    def __init__(
        self, image: ImagePython, argv: list[str], cwd: Path, environment: dict[str, str], grace_seconds: float
    ) -> None:
        self._image, self._argv, self._cwd, self._environment = image, argv, cwd, environment
        self._grace_seconds = grace_seconds
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._ended = False
        self._stopped = False
        self._timed_out = False
        self._timers: list[threading.Timer] = []

    def run(self, on_line: Callable[[str], None], timeout_seconds: float, on_start: Callable[[int], None]) -> Exit:
        """Start, report every line of stdout and stderr, wait. `on_start` gets the process id (= group id)."""
        try:
            process = self._start()
        except OSError as error:
            on_line(f"{self._argv[0]}: {error.strerror}")
            return Exit(127, timed_out=False, stopped=self._stopped)
        try:
            on_start(process.pid)
        except OSError:
            self._finish(process.pid)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            raise
        self._after(timeout_seconds, self._time_out)
        reader = threading.Thread(target=_read, args=(process.stdout, on_line), daemon=True)
        reader.start()
        code = process.wait()
        self._finish(process.pid)
        reader.join(_DRAIN_SECONDS)
        return Exit(code if code >= 0 else 128 - code, self._timed_out, self._stopped)

    def stop(self) -> None:
        """Ask the program to end; it is killed when it has not after the grace time."""
        with self._lock:
            self._stopped = True
            if self._process is None or self._ended:
                return
            self._process.send_signal(signal.SIGTERM)
        self._after(self._grace_seconds, self.kill)

    def kill(self) -> None:
        """End the whole group now."""
        with self._lock:
            if self._process is not None and not self._ended:
                _kill_group(self._process.pid)

    def _start(self) -> Process:
        with self._lock:
            if self._stopped:
                raise OSError(0, "stopped before it started")
            self._process = self._image.start(self._argv, self._cwd, self._environment)
            return self._process

    def _finish(self, group: int) -> None:
        with self._lock:
            self._ended = True
            _kill_group(group)
        for timer in self._timers:
            timer.cancel()

    def _time_out(self) -> None:
        self._timed_out = True
        self.stop()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), action)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()


def _read(pipe: IO[bytes] | None, on_line: Callable[[str], None]) -> None:
    if pipe is None:
        return
    with pipe:
        while line := pipe.readline(_LINE_BYTES):
            on_line(line.decode("utf-8", "replace").rstrip("\r\n"))


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def kill_orphan(pid: int, mark: str) -> None:
    """Kill the group of a program that an earlier, killed service left; `mark` must be in its command or environment.

    The check keeps us from killing a stranger that has got the same process id since.
    """
    listed = subprocess.run(
        ["ps", "eww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    if mark in listed.stdout:
        _kill_group(pid)
