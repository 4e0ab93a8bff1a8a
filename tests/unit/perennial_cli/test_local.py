"""`perennial local ...`: the local cloud's own commands, as they are."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from localcloud.__main__ import CALLED, main
from perennial_cli.commands import local
from tests.command import perennial


@pytest.mark.parametrize("command", sorted(local.COMMANDS))
def test_a_command_is_passed_on_with_its_arguments_and_its_exit_code(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], Any]] = []
    called: list[str] = []

    def run(arguments: list[str], **options: Any) -> Any:
        calls.append((arguments, options["cwd"]))
        called.append(options["env"]["LOCALCLOUD_CALLED"])
        return subprocess.CompletedProcess(arguments, 3)

    monkeypatch.setattr("perennial_cli.commands.local.subprocess.run", run)
    monkeypatch.setattr("perennial_cli.project.program", lambda *parts: tmp_path.joinpath(*parts))
    monkeypatch.setattr("perennial_cli.project.required", lambda: tmp_path)
    words = ("--follow", "a b", "--", "sh", "-c", "true")
    assert perennial("local", command, *words).exit_code == 3
    python = str(tmp_path / "dev" / "bin" / "python")
    assert calls == [([python, "-m", "localcloud", command, *words], tmp_path)]
    assert called == ["perennial local"]


def test_what_is_wrong_about_words_is_told_in_those_of_whoever_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("perennial local", "python -m localcloud"):
        if name.startswith("perennial"):
            monkeypatch.setenv(CALLED, name)
        with pytest.raises(SystemExit):
            main(["mail", "abc"])
        said = capsys.readouterr().err
        assert said.startswith(f"usage: {name} mail")
        assert "'abc' is no number of a mail; expected one that the list shows, or --latest" in said
