"""The audit of locked packages: what it finds, and what it says where it cannot ask."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tools import audit_packages
from tools.audit_packages import main


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "dev.txt"
    path.write_text("# made by make lock\nold==1.0 \\\n    --hash=sha256:aa\nnew==2.0 ; python_version < '3.12' \\\n")
    return path


def test_a_package_with_a_known_vulnerability_fails_the_check(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(lock)], lambda packages: [["GHSA-x", "PYSEC-1"] if name == "old" else [] for name, _ in packages])
    assert capsys.readouterr().out.startswith("old 1.0 (dev.txt) has GHSA-x, PYSEC-1: see https://osv.dev/GHSA-x")


def test_packages_without_one_pass(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(lock)], lambda packages: [[] for _ in packages]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("failure", [OSError("no route to host"), ValueError("no JSON"), KeyError("results")])
def test_an_audit_that_cannot_be_made_says_so_and_why(
    lock: Path, capsys: pytest.CaptureFixture[str], failure: Exception
) -> None:
    def ask(packages: list[tuple[str, str]]) -> list[list[str]]:
        raise failure

    assert main([str(lock)], ask) == 0
    assert (
        f"audit of 2 locked packages skipped: {audit_packages.URL} did not answer ({failure})"
        in capsys.readouterr().out
    )


def test_every_locked_package_is_asked_for_at_once(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def urlopen(request: Any, timeout: float) -> io.BytesIO:
        asked.append((request.full_url, json.loads(request.data), timeout))
        return io.BytesIO(json.dumps({"results": [{"vulns": [{"id": "GHSA-x", "modified": "2026"}]}, {}]}).encode())

    monkeypatch.setattr(audit_packages, "urlopen", urlopen)
    assert main([str(lock)]) == 1
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in (("old", "1.0"), ("new", "2.0"))
    ]
    assert asked == [(audit_packages.URL, {"queries": queries}, 5)]
