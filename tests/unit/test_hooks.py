"""The hook that `make hooks` installs: git commits only what `make check-fast` accepts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.test_makefile import ROOT, make

PRE_COMMIT = ROOT / ".venvs/dev/bin/pre-commit"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the project's hook, whose check-fast accepts what has the file `good`."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "MAKE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    shutil.copy(ROOT / ".pre-commit-config.yaml", folder)
    (folder / "Makefile").write_text("check-fast:\n\ttest -e good\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    subprocess.run([PRE_COMMIT, "install"], cwd=folder, check=True, capture_output=True)
    return folder


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    somebody = ["-c", "user.name=Pat", "-c", "user.email=pat@example.com"]
    return subprocess.run(["git", *somebody, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_a_commit_is_made_when_check_fast_passes_and_not_before(repository: Path) -> None:
    refused = git(repository, "commit", "-m", "one")
    assert refused.returncode == 1
    assert "make check-fast" in refused.stderr
    assert git(repository, "log").returncode != 0

    (repository / "good").touch()
    git(repository, "add", "good")
    made = git(repository, "commit", "-m", "one")
    assert made.returncode == 0, made.stderr
    assert git(repository, "log", "--format=%s").stdout == "one\n"


def test_hooks_come_from_here_and_run_targets_of_the_makefile() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        program, *_, target = hook["entry"].split()
        assert program == "make"
        assert f"  {target} " in make("help")
    assert make("-n", "hooks").splitlines()[-1].endswith("pre-commit install")


def test_check_is_check_fast_and_more() -> None:
    fast, whole = (
        [line for line in make("-n", target).splitlines() if "venvs" in line] for target in ("check-fast", "check")
    )
    assert fast
    assert set(fast) < set(whole)
