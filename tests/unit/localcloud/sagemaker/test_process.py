"""Programs that end, hang, ignore signals or leave children behind; by themselves and as forks."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.sagemaker.jobs.process import ContainerProcess, Exit
from localcloud.sagemaker.platform.image_python import ImagePython


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "forked"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagePython]:
    if request.param and sys.platform != "linux":
        pytest.skip("programs are forks on Linux only")
    made = ImagePython(Path(sys.executable), tmp_path_factory.mktemp("state"), forks=request.param)
    yield made
    made.close()


def program(image: ImagePython, code: str, tmp_path: Path, grace: float = 5.0) -> ContainerProcess:
    return ContainerProcess(image, [sys.executable, "-c", code], tmp_path, image.environment(tmp_path), grace)


def run(
    image: ImagePython, code: str, tmp_path: Path, *, timeout: float = 30.0, grace: float = 5.0
) -> tuple[Exit, list[str]]:
    lines: list[str] = []
    return program(image, code, tmp_path, grace).run(lines.append, timeout, lambda pid: None), lines


@pytest.mark.parametrize("code", [0, 1, 2, 255])
def test_the_exit_code_is_the_programs(image: ImagePython, code: int, tmp_path: Path) -> None:
    assert run(image, f"raise SystemExit({code})", tmp_path)[0] == Exit(code, timed_out=False, stopped=False)


def test_a_signal_gives_dockers_exit_code(image: ImagePython, tmp_path: Path) -> None:
    assert run(image, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)[0].code == 137


def test_both_outputs_are_read_line_by_line(image: ImagePython, tmp_path: Path) -> None:
    _, lines = run(image, "import sys; print('a'); print('b', file=sys.stderr); sys.stdout.write('c')", tmp_path)
    assert lines == ["a", "b", "c"]


def test_a_program_that_is_not_there_exits_with_127(image: ImagePython, tmp_path: Path) -> None:
    lines: list[str] = []
    ended = ContainerProcess(image, ["/no/such/program"], tmp_path, {}, 1.0).run(lines.append, 5, lambda pid: None)
    assert ended.code == 127
    assert lines == ["/no/such/program: No such file or directory"]


def test_only_the_given_environment_reaches_the_program(
    image: ImagePython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    _, lines = run(image, "import os; print('SECRET_OF_THE_HOST' in os.environ)", tmp_path)
    assert lines == ["False"]


def test_a_time_limit_ends_the_program(image: ImagePython, tmp_path: Path) -> None:
    started = time.monotonic()
    ended, _ = run(image, "import time; time.sleep(60)", tmp_path, timeout=0.3)
    assert ended.timed_out
    assert time.monotonic() - started < 5


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace_time(image: ImagePython, tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on'); time.sleep(60)"
    ended, lines = run(image, code, tmp_path, timeout=0.5, grace=0.2)
    assert lines == ["on"]
    assert ended.code == 137


def test_a_program_may_use_the_grace_time_to_end_well(image: ImagePython, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "print('on'); time.sleep(60)"
    )
    lines: list[str] = []
    process = program(image, code, tmp_path, 10.0)

    def stop_when_on(line: str) -> None:
        lines.append(line)
        if line == "on":
            threading.Thread(target=process.stop).start()

    assert process.run(stop_when_on, 30, lambda pid: None) == Exit(0, timed_out=False, stopped=True)
    assert lines == ["on", "saved"]


def test_children_do_not_outlive_the_program(image: ImagePython, tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    started = time.monotonic()
    _, lines = run(image, code, tmp_path)
    assert time.monotonic() - started < 10
    for _ in range(100):
        if not _is_running(int(lines[0])):
            return
        time.sleep(0.02)
    os.kill(int(lines[0]), signal.SIGKILL)
    pytest.fail("the child still ran")


def test_a_program_that_was_stopped_before_it_started_does_not_start(image: ImagePython, tmp_path: Path) -> None:
    process = program(image, "open('ran', 'w')", tmp_path)
    process.stop()
    assert process.run(lambda line: None, 5, lambda pid: None).stopped
    assert not (tmp_path / "ran").exists()


def _is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie that waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_whose_start_cannot_be_noted_does_not_go_on(image: ImagePython, tmp_path: Path) -> None:
    started: list[int] = []

    def note(pid: int) -> None:
        started.append(pid)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    process = program(image, "import time; time.sleep(60)", tmp_path)
    with pytest.raises(OSError, match="No space left"):
        process.run(print, 60, note)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
