"""One dialect: names of loggers, rulers between sections, and words that are no names."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = (
    "perennial",
    "perennial_aws",
    "perennial_cli",
    "functions",
    "processing",
    "tools",
    "localcloud",
    "bench",
    "tests",
)
RULER = re.compile(r"# ---- \S.*[^-. ]")
# Participles say what was done to a thing; a name says what the thing is.
NO_NAMES = {"told", "said", "gone", "came", "heard", "shown", "seen", "given", "kept", "found", "asked"}
# Keys of answers, records and files of runs; and a mask, which is an adjective.
CONTRACTS = {"Answer.Kept", "ChampionFiles.gone", "Since.gone", "Outcome.gone", "_Rows.seen", "compare.seen"}


def modules(*roots: str, about: str = "") -> list[Path]:
    """The modules in some folders, in which a text occurs."""
    return [path for root in roots for path in sorted((ROOT / root).rglob("*.py")) if about in text(path)]


@cache
def text(path: Path) -> str:
    return path.read_text()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(text(path))


def names(node: ast.AST, scope: str = "") -> Iterator[str]:
    """Whatever a module gives a name, `scope.name`: functions, classes, parameters, variables and attributes."""
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{scope}.{child.name}"
            inner = child.name
        elif isinstance(child, ast.arg):
            yield f"{scope}.{child.arg}"
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield f"{scope}.{child.id}"
        elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
            yield f"{scope}.{child.attr}"
        yield from names(child, inner)


@pytest.mark.parametrize("root", CODE)
def test_a_logger_is_called_logger(root: str) -> None:
    named = (
        (path, ast.unparse(node))
        for path in modules(root, about="Logger(")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assign) and re.match(r"(logging\.getLogger|Logger)\(", ast.unparse(node.value))
    )
    assert [(path, line) for path, line in named if not line.startswith("logger = ")] == []


@pytest.mark.parametrize("root", CODE)
def test_a_logger_has_the_name_of_its_module(root: str) -> None:
    calls = (
        (path, node)
        for path in modules(root, about="getLogger(")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "getLogger"
    )
    other = [(path, ast.unparse(node)) for path, node in calls if node.args and ast.unparse(node.args[0]) != "__name__"]
    assert other == []


@pytest.mark.parametrize("root", CODE)
def test_sections_of_a_module_have_one_kind_of_ruler(root: str) -> None:
    """A comment of one line, alone between blank lines, is one: `# ---- Title`; so it is within a class."""
    rulers = (
        (path, match[1])
        for path in modules(root)
        for match in re.finditer(r"(?<=\n\n) *(# .*)\n(?=\n)", text(path))
        if not match[1].startswith("# noqa")
    )
    assert [(path, ruler) for path, ruler in rulers if not RULER.fullmatch(ruler)] == []


@pytest.mark.parametrize("root", CODE[:-1])
def test_names_say_what_a_thing_is(root: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(root)
        for name in names(parsed(path))
        if name not in CONTRACTS and name.rpartition(".")[2].strip("_").lower() in NO_NAMES
    ]
    assert wrong == []


def test_a_class_of_the_domain_is_named_once() -> None:
    """But for what stands in a record, which has the name of what it records."""
    named: dict[str, Path] = {}
    for path in modules("perennial", "perennial_aws"):
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and path.name != "run_record.py":
                assert node.name not in named, f"{node.name} is in {named[node.name]} and in {path}"
                named[node.name] = path
