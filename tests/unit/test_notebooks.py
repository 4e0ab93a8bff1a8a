"""What notebooks/ holds is code and words, and nothing that running them leaves."""

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# The folder of a person, of a session, of a checkout.
A_PLACE = re.compile(r"""["' ](/(home|Users|root|tmp|work|mnt|var)/|[A-Z]:\\)""")


def cells(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["cells"])


def test_there_is_a_notebook_for_each_question_in_order() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_explore_the_data", "02_train_and_tune", "03_prototype_a_flow", "04_read_the_results", "05_look_for_bias",
    ]  # fmt: skip


@each_notebook
def test_it_is_committed_as_nobody_has_run_it(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
    assert [cell["metadata"] for cell in cells(path)] == [{}] * len(cells(path))


@each_notebook
def test_it_begins_with_a_title_and_tells_a_story(path: Path) -> None:
    kinds = [cell["cell_type"] for cell in cells(path)]
    texts = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown"]
    assert kinds[0] == "markdown"
    assert [bool(re.match(r"# \S", text)) for text in texts] == [True] + [False] * (len(texts) - 1)
    assert sum(text.startswith("## ") or "\n## " in text for text in texts) >= 3


@each_notebook
def test_it_names_no_place_of_somebodys_machine(path: Path) -> None:
    assert [found[0] for cell in cells(path) if (found := A_PLACE.search("".join(cell["source"])))] == []


@each_notebook
def test_its_kernel_has_no_name_of_somebodys_environment(path: Path) -> None:
    metadata = json.loads(path.read_text())["metadata"]
    assert metadata["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert metadata["language_info"] == {"name": "python"}


@each_notebook
def test_what_it_imports_of_the_project_is_there(path: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        package = str(node.module)
        if not (ROOT / package.split(".")[0]).is_dir():
            continue
        for name in (alias.name for alias in node.names):
            try:
                importlib.import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":  # what only the notebooks' environment has
                    continue
                assert hasattr(importlib.import_module(package), name), f"{package}.{name}"
