"""`make test-changed` runs the tests that are about what differs, says what it leaves out, and never runs nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import changed
from tests.unit.test_makefile import ROOT, make

FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": "def price():\n    from shop import taxes\n",
    "shop/taxes.py": "RATES = open('rates.json')",
    "shop/rates.json": "{}",
    "functions/sell/app.py": "import shop.prices",
    "cloud/engine/queues/fifo.py": "",
    "cloud/engine/other.py": "import cloud.engine.queues.fifo",
    "docs/guide.md": "",
    "LICENSE": "",
    "tests/help.py": "",
    "tests/unit/conftest.py": "import tests.help\ndef fixture():\n    import shop.prices\n",
    "tests/unit/test_whole.py": "for path in 'shop', 'docs': pass",
    "tests/unit/shop/test_taxes.py": "from shop.taxes import RATES",
    "tests/unit/functions/test_sell.py": "load('sell')",
    "tests/unit/test_said.py": '"""The folder shop and rates.json."""',
    "tests/integration/cloud/engine/test_queues.py": "import tests.help",
    "tests/integration/cloud/engine/test_others.py": "import cloud.engine.other",
    "tests/e2e/test_all.py": "import shop.taxes, shop.prices",
}
WHOLE, TAXES, SELL, SAID = (
    f"tests/unit/{name}.py" for name in ("test_whole", "shop/test_taxes", "functions/test_sell", "test_said")
)
QUEUES, OTHERS = (f"tests/integration/cloud/engine/test_{name}.py" for name in ("queues", "others"))


@pytest.fixture
def project_files(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "about"),
    [
        ("shop/taxes.py", [SELL, TAXES, WHOLE]),  # of the function through what it imports, within a function too
        ("shop/prices.py", [SELL, WHOLE]),  # not of each test whose conftest.py may import it for others
        ("shop/rates.json", [SELL, TAXES, WHOLE]),  # read by its name
        ("shop/gone.py", [WHOLE]),
        ("functions/sell/app.py", [SELL]),
        ("docs/guide.md", [WHOLE]),
        ("cloud/engine/queues/fifo.py", [QUEUES]),  # called after its folder; what others import needs all of the cloud
        ("cloud/engine/other.py", [OTHERS]),
        ("tests/help.py", [QUEUES, SELL, TAXES, SAID, WHOLE]),
        (TAXES, [TAXES]),
        (QUEUES, [QUEUES]),
        ("tests/e2e/test_all.py", []),
        ("LICENSE", []),
    ],
)
def test_tests_of_a_file_are_those_that_import_start_or_read_it(
    project_files: Path, file: str, about: list[str]
) -> None:
    assert changed.Project(project_files, {*FILES, file}).tests_of(file) == sorted(about)


@pytest.fixture(scope="module")
def own() -> changed.Project:
    """This project: what its files import is read once."""
    return changed.Project(ROOT, changed.git("ls-files"))


@pytest.mark.xdist_group("own-files")
def test_a_module_has_the_tests_that_are_called_after_it(own: changed.Project) -> None:
    files = changed.git("ls-files")
    after = {test: test.removeprefix("tests/unit/").replace("test_", "") for test in own.tests("unit")}
    pairs = [(test, file) for test, name in after.items() for file in (name, name.replace(".py", "/app.py"))]

    assert len([file for _, file in pairs if file in files]) > 60
    assert [(test, file) for test, file in pairs if file in files and not own._is_about(test, file)] == []


@pytest.mark.parametrize(
    ("test", "file", "steps"),
    [
        (SELL, SELL, 0),
        (SELL, "functions/sell/app.py", 1),
        (SELL, "shop/taxes.py", 3),
        (QUEUES, "cloud/engine/queues/fifo.py", 1),
        (WHOLE, "shop/gone.py", changed.FAR),
    ],
)
def test_how_near_a_test_is_to_a_file(project_files: Path, test: str, file: str, steps: int) -> None:
    assert changed.Project(project_files, FILES).steps(test, file) == steps


@pytest.mark.xdist_group("own-files")
def test_of_very_many_tests_the_nearest_are_run(own: changed.Project) -> None:
    changes = "perennial/evaluation/gate.py"
    steps = {test: own.steps(test, changes) for test in own.tests_of(changes)}
    chosen = changed.nearest(steps)

    assert len(steps) > 2 * changed.MOST == 2 * len(chosen)
    assert max(map(steps.get, chosen)) <= min(steps[test] for test in steps.keys() - set(chosen))
    assert steps["tests/unit/perennial/evaluation/test_gate.py"] == 1


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of which `main` is what is there."""
    monkeypatch.setattr(changed, "ROOT", tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("")
        (tmp_path / f"tests/unit/{name}").mkdir(parents=True)
        (tmp_path / f"tests/unit/{name}/test_{name}.py").write_text(f"import {name}\ndef test_it(): assert {name}\n")
    (tmp_path / "notes").write_text("")
    for command in ("init -q -b main", "add .", "-c user.name=a -c user.email=a@b commit -q -m first"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    return tmp_path


def test_what_is_committed_changed_and_new_is_tested_and_the_rest_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (repository / "one.py").write_text("changed = True")
    (repository / "notes").write_text("changed")
    (repository / "new.py").write_text("")
    monkeypatch.setattr(os, "execv", lambda *given: print("run:", *given[1][1:]))

    changed.main("main", "-q")

    assert capfd.readouterr().out.splitlines() == [
        "What differs from main, and how many files of tests are about it:",
        "  new.py: none",
        "  notes: none",
        "  one.py: 1",
        "Files of tests that are left to `make test`: 1 unit tests, 0 of the local cloud, 0 on stacks.",
        "run: -m pytest -q tests/unit/one/test_one.py",
    ]


def test_tests_that_are_farther_than_others_are_said_to_be_left(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (repository / "one.py").write_text("import two")
    (repository / "two.py").write_text("changed = True")
    monkeypatch.setattr(changed, "MOST", 1)
    monkeypatch.setattr(os, "execv", lambda *given: print("run:", *given[1][1:]))

    changed.main("main")

    *_, nearest, left, run = capfd.readouterr().out.splitlines()
    assert nearest == "The 1 of these 2 files that are nearest are run."
    assert left.endswith("1 unit tests, 0 of the local cloud, 0 on stacks.")
    assert run.endswith("pytest tests/unit/one/test_one.py")  # both are one step away, and this is the first by name


@pytest.mark.parametrize(
    ("base", "text", "says"),
    [
        ("main", "", "nothing differs from main; name another commit"),
        ("main", "changed", "no quick test is about what differs; `make test` runs all"),
        ("nowhere", "", "git diff .* nowhere: fatal: .*nowhere"),
    ],
)
def test_nothing_to_test_is_an_error(repository: Path, base: str, text: str, says: str) -> None:
    (repository / "notes").write_text(text)

    with pytest.raises(SystemExit, match=f"error: {says}"):
        changed.main(base)


def test_make_takes_the_base_and_runs_as_many_workers_as_for_all() -> None:
    assert "-m tests.changed main -n 7 --dist loadgroup" in make("-n", "test-changed", "WORKERS=7")
    assert "-m tests.changed HEAD -n 7" in make("-n", "test-changed", "BASE=HEAD", "WORKERS=7")
    assert "pytest -n 7 --dist loadgroup" in make("-n", "test", "WORKERS=7")
    assert "make test-changed BASE=" in make("help")
