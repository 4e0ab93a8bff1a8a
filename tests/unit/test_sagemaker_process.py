"""Programs that end, hang, ignore signals or leave children behind."""

import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from localcloud.sagemaker.process import ContainerProcess, Exit


def run(code: str, tmp_path: Path, *, timeout: float = 30.0, grace: float = 5.0) -> tuple[Exit, list[str]]:
    lines: list[str] = []
    process = ContainerProcess([sys.executable, "-uc", code], tmp_path, {"PATH": os.environ["PATH"]}, grace)
    return process.run(lines.append, timeout, lambda pid: None), lines


@pytest.mark.parametrize("code", [0, 1, 2, 255])
def test_the_exit_code_is_the_programs(code: int, tmp_path: Path) -> None:
    assert run(f"raise SystemExit({code})", tmp_path)[0] == Exit(code, timed_out=False, stopped=False)


def test_a_signal_gives_dockers_exit_code(tmp_path: Path) -> None:
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)[0].code == 137


def test_both_outputs_are_read_line_by_line(tmp_path: Path) -> None:
    _, lines = run("import sys; print('a'); print('b', file=sys.stderr); sys.stdout.write('c')", tmp_path)
    assert lines == ["a", "b", "c"]


def test_a_program_that_is_not_there_exits_with_127(tmp_path: Path) -> None:
    lines: list[str] = []
    ended = ContainerProcess(["/no/such/program"], tmp_path, {}, 1.0).run(lines.append, 5, lambda pid: None)
    assert ended.code == 127
    assert lines == ["/no/such/program: No such file or directory"]


def test_only_the_given_environment_reaches_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    _, lines = run("import os; print('SECRET_OF_THE_HOST' in os.environ)", tmp_path)
    assert lines == ["False"]


def test_a_time_limit_ends_the_program(tmp_path: Path) -> None:
    started = time.monotonic()
    ended, _ = run("import time; time.sleep(60)", tmp_path, timeout=0.3)
    assert ended.timed_out
    assert time.monotonic() - started < 5


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on'); time.sleep(60)"
    ended, lines = run(code, tmp_path, timeout=0.5, grace=0.2)
    assert lines == ["on"]
    assert ended.code == 137


def test_a_program_may_use_the_grace_time_to_end_well(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "print('on'); time.sleep(60)"
    )
    lines: list[str] = []
    process = ContainerProcess([sys.executable, "-uc", code], tmp_path, {}, 10.0)

    def stop_when_on(line: str) -> None:
        lines.append(line)
        if line == "on":
            threading.Thread(target=process.stop).start()

    assert process.run(stop_when_on, 30, lambda pid: None) == Exit(0, timed_out=False, stopped=True)
    assert lines == ["on", "saved"]


def test_children_do_not_outlive_the_program(tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    started = time.monotonic()
    _, lines = run(code, tmp_path)
    assert time.monotonic() - started < 10
    for _ in range(100):
        if not _is_running(int(lines[0])):
            return
        time.sleep(0.02)
    os.kill(int(lines[0]), signal.SIGKILL)
    pytest.fail("the child still ran")


def test_a_program_that_was_stopped_before_it_started_does_not_start(tmp_path: Path) -> None:
    process = ContainerProcess([sys.executable, "-c", "open('ran', 'w')"], tmp_path, {}, 1.0)
    process.stop()
    assert process.run(lambda line: None, 5, lambda pid: None).stopped
    assert not (tmp_path / "ran").exists()


def _is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie that waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_whose_start_cannot_be_noted_does_not_go_on(tmp_path: Path) -> None:
    started: list[int] = []

    def note(pid: int) -> None:
        started.append(pid)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    program = ContainerProcess([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, {}, 1.0)
    with pytest.raises(OSError, match="No space left"):
        program.run(print, 60, note)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
