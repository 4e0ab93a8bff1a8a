"""`perennial local ...`: the local cloud's own commands, as they are."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from perennial_cli.commands import local
from tests.command import perennial


@pytest.mark.parametrize("command", sorted(local.COMMANDS))
def test_a_command_is_passed_on_with_its_arguments_and_its_exit_code(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], Any]] = []

    def run(arguments: list[str], **options: Any) -> Any:
        calls.append((arguments, options["cwd"]))
        return subprocess.CompletedProcess(arguments, 3)

    monkeypatch.setattr("perennial_cli.commands.local.subprocess.run", run)
    monkeypatch.setattr("perennial_cli.project.program", lambda *parts: tmp_path.joinpath(*parts))
    monkeypatch.setattr("perennial_cli.project.required", lambda: tmp_path)
    words = ("--follow", "a b", "--", "sh", "-c", "true")
    assert perennial("local", command, *words).exit_code == 3
    python = str(tmp_path / "dev" / "bin" / "python")
    assert calls == [([python, "-m", "localcloud", command, *words], tmp_path)]
