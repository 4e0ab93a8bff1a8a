"""The server's log: printable lines, of bounded length, in a file of bounded size; and how it is shown."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localcloud import __main__ as program
from localcloud import mailbox, process
from localcloud.engine.log_lines import Lines

HOSTILE = "\x1b]0;owned\x07\r\n2026-01-01 INFO forged\x9b"


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("localcloud.guard", logging.WARNING, "", 0, message, arguments, info)


def test_a_record_is_one_printable_line_of_bounded_length() -> None:
    lines = Lines("%(name)s %(message)s")

    assert lines.format(record("refused %s", HOSTILE)) == (
        r"localcloud.guard refused \x1b]0;owned\x07\r\n2026-01-01 INFO forged\x9b"
    )
    assert len(lines.format(record("x" * 1_000_000))) < 5_000


def test_a_traceback_keeps_its_lines_and_nothing_that_a_terminal_obeys() -> None:
    told = Lines("%(message)s").format(record("it failed", error=ValueError(HOSTILE))).split("\n")

    assert told[:2] == ["it failed", r"ValueError: \x1b]0;owned\x07\r"]
    assert all(line.isprintable() for line in told)


def test_a_log_that_has_grown_large_is_put_aside_while_the_server_writes(tmp_path: Path) -> None:
    """By a process whose output is the log, as the server's is."""
    log = tmp_path / "server.log"
    source = (
        "import sys; from pathlib import Path; from localcloud import process; process._LOG_BYTES = 100\n"
        "for word in ('first', 'second', 'third'):\n"
        "    print(word * 50, flush=True)\n"
        "    process.bound_log(Path(sys.argv[1]))\n"
        "print('last', file=sys.stderr)\n"
    )
    with log.open("ab") as output:
        command = [sys.executable, "-c", source, str(tmp_path)]
        subprocess.run(command, stdout=output, stderr=output, check=True, cwd=Path(__file__).parents[4])

    assert log.read_text() == "last\n"
    assert log.with_suffix(".log.1").read_text() == "third" * 50 + "\n"


def test_a_log_that_is_of_another_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_LOG_BYTES", 1)
    (tmp_path / "server.log").write_text("of an earlier server")
    process.bound_log(tmp_path)
    assert (tmp_path / "server.log").read_text() == "of an earlier server"


def test_what_is_shown_of_the_log_is_printable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "server.log").write_text(f"refused {HOSTILE}\nä line\n")
    assert program._server_log(tmp_path / "server.log", follow=False) == 0
    told = capsys.readouterr().out
    assert told.endswith("\nä line\n")
    assert all(line.isprintable() for line in told.split("\n"))


def test_who_follows_a_log_sees_what_comes_after_it_was_put_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "server.log"
    log.write_text("one\n")
    steps = iter(["aside", "end"])

    def sleep(_: float) -> None:
        if next(steps) == "end":
            raise KeyboardInterrupt
        with log.open("a") as file:
            file.write("two\n")
        log.replace(log.with_suffix(".log.1"))
        log.write_text("three\n")

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        program._server_log(log, follow=True)
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_a_mail_is_shown_without_what_a_terminal_obeys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail = mailbox.Notification("arn:x", "ada@example.com", f"a text\n{HOSTILE}", "http://x", subject="\x1b[2J\x07now")
    mailbox.deliver(tmp_path, mail)
    for options in ([], ["--latest"]):
        program.main(["--state", str(tmp_path), "mail", *options])
        told = capsys.readouterr().out
        assert "now" in told
        assert all(line.isprintable() for line in told.split("\n"))
