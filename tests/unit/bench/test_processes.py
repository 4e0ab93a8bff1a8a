"""What a process takes is its own: not what who measures it has had, and with all that it starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import processes

PROGRAM = [sys.executable, "-I", "-S", "-c"]
MANY = 64  # MiB


def test_the_memory_of_a_program_is_not_that_of_who_measures_it() -> None:
    held = bytearray(b"x" * (MANY << 20))
    small, large = (processes.measured([*PROGRAM, f"bytearray(b'x' * ({size} << 20))"]) for size in (1, MANY))
    assert small.mebibytes < MANY / 2 < MANY < large.mebibytes
    assert len(held) == MANY << 20


def test_a_program_that_fails_is_not_measured(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        processes.measured([*PROGRAM, "raise SystemExit(3)"])
    assert "ended with 3" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux alone says it")
def test_what_runs_is_watched_with_all_below_it_and_each_once() -> None:
    waits = "input()"
    child = (
        f"import subprocess, sys; subprocess.run([*{PROGRAM!r}, \"held = b'x' * ({MANY} << 20); print(); {waits}\"])"
    )
    with subprocess.Popen([*PROGRAM, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        with processes.Watch(running.pid, running.pid, every_seconds=0.01) as memory:
            running.stdout and running.stdout.readline()  # it holds it
        running.communicate(b"\n")
    assert MANY / 2 < memory.most < 2 * MANY
    assert processes.mebibytes_of_all(running.pid) == 0  # it has ended
