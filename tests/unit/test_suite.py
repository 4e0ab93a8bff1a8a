"""What the suite relies on to be fast: tests that share a deployment stay on one worker."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import browser, conftest

ROOT = Path(__file__).parents[2]


@pytest.mark.xdist_group("together")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is only one worker")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@together"), "this pytest and this pytest-xdist do not know each other"


@pytest.mark.parametrize(
    ("test", "dealt_with"),
    [
        ("tests/integration/a/test_b.py::test_c[d::e]", "tests/integration/a/test_b.py"),
        ("tests/integration/a/test_b.py::test_c@group", "group"),
        ("tests/unit/test_b.py::test_c[1]", "tests/unit/test_b.py"),
    ],
)
def test_what_is_of_no_group_is_dealt_by_files_in_the_order_of_the_tests(test: str, dealt_with: str) -> None:
    values = {"dist": "loadgroup", "tx": ["popen"]}
    config: Any = SimpleNamespace(option=SimpleNamespace(loadscopereorder=True), getvalue=values.get)
    scheduler = conftest.pytest_xdist_make_scheduler(config, log=None)
    assert (scheduler._split_scope(test), config.option.loadscopereorder) == (dealt_with, False)


def test_no_id_of_a_test_is_longer_than_200_characters(all_ids):
    assert [name[:200] for name in all_ids if len(name) > 200] == []


def test_a_test_that_hangs_ends_its_worker_and_the_run_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("import time\ndef test_hangs(): time.sleep(300)\ndef test_passes(): pass\n")
    run = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-n", "1"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        [*run, "-o", "faulthandler_timeout=1", str(tmp_path)], capture_output=True, text=True, env=environ, timeout=60
    )
    assert ended.returncode == 1
    assert "crashed while running" in ended.stdout
    assert "1 failed" in ended.stdout.splitlines()[-1]
    assert 'test_one.py", line 2 in test_hangs' in ended.stderr


def test_without_a_browser_its_tests_are_skipped_and_say_so_unless_there_has_to_be_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv(browser.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"there is no chromium or .+ on this machine: make browser"):
        browser.program()
    monkeypatch.setenv(browser.REQUIRED, "required")
    with pytest.raises(AssertionError, match="make browser"):
        browser.program()
