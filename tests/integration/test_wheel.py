"""The command as `pip install .` installs it: a wheel of this folder, in an environment of its own, away from it."""

import json
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import demo_data

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
UV = ROOT / ".venvs/uv/bin/uv"


def done(*words: object, cwd: Path) -> str:
    ended = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def perennial(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs the installed command in a folder; the libraries that it asks for are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("perennial-*.whl")
    done(UV, "venv", "--quiet", "--offline", "--python", sys.executable, folder / "env", cwd=folder)
    python = folder / "env/bin/python"
    install = ("pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--python", python, wheel)
    done(UV, *install, cwd=folder)
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    return lambda *words, cwd: done(folder / "env/bin/perennial", *words, cwd=cwd)


def test_the_installed_command_knows_its_version_and_its_commands(
    perennial: Callable[..., str], tmp_path: Path
) -> None:
    assert perennial("--version", cwd=tmp_path).strip() == VERSION
    assert "reproduce" in perennial("--help", cwd=tmp_path)


def test_the_installed_command_checks_the_models_of_the_folder_that_it_is_called_in(
    perennial: Callable[..., str],
) -> None:
    assert "used-cars: ok, 9 columns\n" in perennial("check", cwd=ROOT)


def test_the_installed_command_makes_a_model_of_a_file_anywhere(perennial: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "cars.csv").write_bytes(demo_data.used_cars())
    assert json.loads(perennial("init", "cars.csv", "--json", cwd=tmp_path))["target"] == "price"
    tried = json.loads(perennial("try", "cars", "--file", "cars.csv", "--json", cwd=tmp_path))
    assert tried["report"]["rows"]["used"] == 804
