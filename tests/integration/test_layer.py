"""What `sam build` makes of the layer: every function imports from it and from what the Lambda runtime has, alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
# The Python runtimes of Lambda have boto3 and what it needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")

pytestmark = pytest.mark.xdist_group("layer")


def build(folder: Path, platform: str) -> Path:
    environment = {**os.environ, "ARTIFACTS_DIR": str(folder), "LAYER_PLATFORM": platform}
    command = ["make", "--no-print-directory", "-C", str(ROOT / "functions"), "build-SharedLayer"]
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    return folder / "python"


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("layer"), "")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds only what the Lambda runtime brings."""
    folder = tmp_path_factory.mktemp("runtime")
    installed = Path(pytest.__file__).parents[1]
    for name in RUNTIME:
        (folder / name).symlink_to(installed / name)
    return folder


def alone(program: str, runtime: Path) -> subprocess.CompletedProcess[str]:
    """Run a program without the environment (-I) and without what is installed (-S).

    Byte code is kept beside the runtime, for the next program: nothing is written into the layer.
    """
    options = ["-I", "-S", "-X", f"pycache_prefix={runtime / 'byte code'}"]
    return subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=60)


IMPORT_EACH = """
import os, sys, traceback
sys.path[:0] = [{layer!r}, {runtime!r}]
import boto3, perennial_aws.job_code
for function in {functions!r}:
    if os.fork() == 0:
        try:
            sys.path.insert(0, os.path.join({root!r}, function))
            import app
            assert callable(app.handler)
            os._exit(0)
        except BaseException:
            print(function, traceback.format_exc(), flush=True)
            os._exit(1)
    print(function, os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture(scope="module")
def imported(layer: Path, runtime: Path) -> str:
    """What a process has printed that imports each function in a fork: what all of them import is loaded once."""
    places = {"layer": str(layer), "runtime": str(runtime), "root": str(ROOT / "functions")}
    ended = alone(IMPORT_EACH.format(functions=FUNCTIONS, **places), runtime)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_imports_what_its_package_holds_and_nothing_else(function: str, imported: str) -> None:
    assert f"{function} 0" in imported.splitlines(), imported


def test_import_that_is_not_packaged_is_found_out(layer: Path, runtime: Path) -> None:
    program = f"import sys; sys.path[:0] = {[str(layer), str(runtime)]}; import pytest"
    ended = alone(program, runtime)
    assert "No module named 'pytest'" in ended.stderr


def test_layer_for_aws_holds_libraries_of_the_lambda_runtime_only(tmp_path: Path) -> None:
    libraries = [path.name for path in build(tmp_path, "aarch64-manylinux_2_28").rglob("*.cpython-*.so")]
    assert any(name.startswith("_pydantic_core") for name in libraries)
    assert [name for name in libraries if "cpython-313-aarch64" not in name] == []


def test_layer_carries_the_job_scripts_the_models_and_the_commit(layer: Path) -> None:
    assert (layer / "processing" / "preprocess.py").is_file()
    assert (layer / "models" / "used-cars" / "model.yaml").is_file()
    assert (layer / "commit.txt").read_text().strip()
    assert not list(layer.rglob("__pycache__"))


def test_building_twice_gives_the_same_files(layer: Path, tmp_path: Path) -> None:
    again = build(tmp_path, "")
    assert _contents(again) == _contents(layer)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
