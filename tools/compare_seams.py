"""Compare the declared seams of the local cloud with MiniStack's source.

    python -m tools.compare_seams [FOLDER] [--write]

FOLDER is where another version is: `pip install --no-deps --target FOLDER ministack==...`; without it, the installed
one is meant. Every name is declared in the module that uses it (localcloud/engine/seams.py), with a hash of its source:
a function, a class or the statements that assign it, without comments, docstrings and formatting. Prints each
declaration whose original has changed or is missing, and each name that is used without one or declared without use.
`--write` replaces the hashes of what has changed: read the changes first, and adapt what relies on them.
"""

import argparse
import ast
import gc
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.terminal import run

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "localcloud" / "engine"
HASH_LENGTH = 8


@dataclass(frozen=True)
class Seam:
    """A name of MiniStack, and where a module of ours declares it with which hash."""

    owner: str
    name: str
    hash: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: ministack.{self.owner}.{self.name}"


def declared(path: Path) -> dict[str, list[Seam]]:
    """Return the seams of a module of ours, by the variable that has them."""
    seams: dict[str, list[Seam]] = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.Assign([ast.Name(variable)], ast.Call(ast.Name("Seams"), [ast.Constant(str(owner))], keywords)):
                seams[variable] = [
                    Seam(owner, str(word.arg), str(word.value.value), path, word.value.lineno)
                    for word in keywords
                    if isinstance(word.value, ast.Constant)
                ]
    return seams


def misused(path: Path) -> Iterator[str]:
    """Say what a module uses without a declaration, and what it declares without use."""
    seams = declared(path)
    used: dict[str, set[str]] = {variable: set() for variable in seams}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Attribute(ast.Name(variable), name) if variable in seams and name != "replace":
                used[variable].add(name)
                if name not in {seam.name for seam in seams[variable]}:
                    yield f"{path}:{node.lineno}: {variable}.{name} is used but not declared"
            case ast.Constant(str(name)):  # what is handed to `replace`, perhaps by a loop
                for names_used in used.values():
                    names_used.add(name)
    for variable, those in seams.items():
        yield from (f"{seam} is declared but not used" for seam in those if seam.name not in used[variable])


def original_hash(folder: Path, owner: str, name: str) -> str | None:
    """Return the hash of what a name of MiniStack stands for, or None if it stands for nothing."""
    statements = _names(folder, owner).get(name, [])
    for node in statements:
        match node:
            case ast.ImportFrom(str(module), names, level) if level or module.startswith("ministack."):
                package = owner if _path(folder, owner).name == "__init__.py" else owner.rpartition(".")[0]
                upwards = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                source = ".".join([*upwards, module]).removeprefix("ministack.")
                return original_hash(folder, source, next(each.name for each in names if _name_of(each) == name))
    text = "".join(repr(_meaning(node)) for node in statements)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH] if statements else None


def _path(folder: Path, module: str) -> Path:
    path = folder.joinpath("ministack", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _names(folder: Path, owner: str) -> dict[str, list[ast.stmt]]:
    """Return the statements of a module or class, by the names to which they give a value."""
    module, _, name = owner.rpartition(".")
    if (path := _path(folder, owner)).is_file():
        bodies = [ast.parse(path.read_text("utf-8")).body]
    else:
        bodies = [node.body for node in _names(folder, module).get(name, []) if isinstance(node, ast.ClassDef)]
    statements: dict[str, list[ast.stmt]] = {}
    for node in (node for body in bodies for node in _flat(body)):
        for bound in _bound(node):
            statements.setdefault(bound, []).append(node)
    return statements


def _flat(nodes: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """Yield the statements, those inside an `if` or `try` among them."""
    for node in nodes:
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.If | ast.Try | ast.ExceptHandler | ast.With | ast.For):
            yield from _flat(ast.iter_child_nodes(node))


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value."""
    match node:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return {name}
        case ast.Import(names) | ast.ImportFrom(names=names):
            return {_name_of(each) for each in names}
        case ast.Assign(targets):
            return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        case ast.AnnAssign(ast.Name(name)) | ast.AugAssign(ast.Name(name)):
            return {name}
    return set()


def _name_of(imported: ast.alias) -> str:
    return imported.asname or imported.name


def _meaning(node: Any) -> Any:
    """Return a tree without places, idle texts and empty fields: the same in all versions of Python."""
    if isinstance(node, list):
        return [_meaning(each) for each in node if not _is_text(each)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, _meaning(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return type(node).__name__, fields


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def write(seam: Seam, new: str) -> None:
    """Replace a hash where it is declared."""
    lines = seam.path.read_text("utf-8").split("\n")
    lines[seam.line - 1] = re.sub(rf'\b{seam.name}="\w*"', f'{seam.name}="{new}"', lines[seam.line - 1])
    seam.path.write_text("\n".join(lines), "utf-8")


def compare(modules: Sequence[Path], folder: Path, may_write: bool) -> list[str]:
    """Return what is not as declared; hashes that may be written are written and printed."""
    differences = [text for path in modules for text in misused(path)]
    for seam in (seam for path in modules for seams in declared(path).values() for seam in seams):
        new = original_hash(folder, seam.owner, seam.name)
        if new is None:
            differences.append(f"{seam} is gone")
        elif new != seam.hash:
            changed = f"{seam} has changed: it is {new}, declared is {seam.hash}"
            if may_write:
                write(seam, new)
                print(changed)
            else:
                differences.append(changed)
    return differences


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, or write; exit code 1 when something is not as declared."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="folder with another ministack/ (the installed one)")
    parser.add_argument("--write", action="store_true", help="write the hashes of what has changed")
    arguments = parser.parse_args(argv)
    spec = importlib.util.find_spec("ministack")
    folder = arguments.folder or Path(str(spec and spec.origin)).parents[1]
    if not (folder / "ministack").is_dir():
        parser.error(f"there is no ministack/ in {folder}; pip install --no-deps --target {folder} ministack==...")
    modules = [Path(os.path.relpath(path)) for path in sorted(ENGINE.rglob("*.py"))]
    gc.disable()  # trees of code stay: to look for garbage among them took two thirds of the time
    differences = compare(modules, folder, arguments.write)
    gc.enable()
    print("\n".join(differences), file=sys.stderr, end="\n" if differences else "")
    return 1 if differences else 0


if __name__ == "__main__":
    run(main)
