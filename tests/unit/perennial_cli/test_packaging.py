"""What `pip install .` brings is what the command imports, and the layer carries none of it."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Which distribution has a module, where the names differ. The images have the
# optional ones.
DISTRIBUTIONS = {
    "yaml": "pyyaml", "xgboost": "xgboost-cpu", "botocore": "boto3", "pydantic_core": "pydantic",
    "mlflow": "mlflow-skinny",
}  # fmt: skip
OPTIONAL = {"pandas", "sagemaker_containers"}
OF_SCRIPTS = {
    "joblib",
    "script_tables",
    "serve_script",
    "pyspark",
}  # a model's own, in an image that has them or beside them


def imported(package: str) -> set[str]:
    """The libraries that a package imports, anywhere in it."""
    names: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - {*sys.stdlib_module_names, *PACKAGES} - OPTIONAL - OF_SCRIPTS


def test_each_library_that_is_imported_is_a_dependency_and_no_other() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    offered = [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]
    needed = {DISTRIBUTIONS.get(name, name.replace("_", "-")) for package in PACKAGES for name in imported(package)}
    assert {re.match(r"[\w-]+", one)[0] for one in offered} == needed


def test_the_command_is_called_perennial() -> None:
    module, _, function = PROJECT["project"]["scripts"]["perennial"].partition(":")
    assert f"def {function}(" in (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()


def test_the_layer_and_the_jobs_carry_nothing_of_the_command() -> None:
    assert "perennial_cli" not in (ROOT / "functions/Makefile").read_text()
    for package in ("perennial", "perennial_aws", "processing", "functions"):
        assert not any("perennial_cli" in path.read_text() for path in (ROOT / package).rglob("*.py"))
