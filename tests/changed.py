"""Run the tests of what differs from a commit, with what is not committed: `make test-changed` (BASE=main).

A unit test is about a file that it needs: what it imports, and what it or one of these starts or reads by name. Tests
that start a local cloud need all of it; so of them only those are about a file that name it, or are called after it.
What is in the middle of everything has tests for minutes: then the nearest are run, MOST files of them. What is left to
`make test` is said, and so is a file that no test is about.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 30  # files of tests, which take half a minute on two cores
FAR = 100  # steps
KINDS = {"unit": "unit tests", "integration": "of the local cloud", "e2e": "on stacks"}


class Project:
    """The files of a folder, also those that are gone, by their paths in it."""

    def __init__(self, root: Path, files: Collection[str]) -> None:
        self._root, self._files = root, sorted(files)
        self._meant: defaultdict[str, set[str]] = defaultdict(set)
        packages = {file.partition("/")[0] for file in files if file.endswith(".py")}
        for file in files:
            for name in names(file, packages):
                self._meant[name].add(file)
        self.read, self.next, self.needed = cache(self._read), cache(self._next), cache(self._needed)

    def tests(self, kinds: str) -> list[str]:
        """Return the test files of the kinds, a regular expression."""
        return [file for file in self._files if re.fullmatch(rf"tests/({kinds})/(.+/)?test_\w+\.py", file)]

    def tests_of(self, file: str) -> list[str]:
        """Return the test files that are about a file, but for those on stacks."""
        return [test for test in self.tests("unit|integration") if self._is_about(test, file)]

    def _is_about(self, test: str, file: str) -> bool:
        if test.startswith("tests/integration/"):
            return file in {test, *self.next(test)} or _is_called_after(file, test)
        of_all = test.count("/") == 2  # it lies in tests/unit itself, and may be about whole folders
        return file in self.needed(test) or (of_all and file.partition("/")[0] in self.read(test)[1])

    def steps(self, test: str, file: str) -> int:
        """Return over how many files a test file, which is about another, needs that; FAR where it is about folders."""
        return 1 if test.startswith("tests/integration/") else self.needed(test).get(file, FAR)

    def _needed(self, test: str) -> dict[str, int]:
        """In how many steps: a test file, conftest files above it, and what they import, start and read, these too."""
        level, found = {test, *(f"{folder}/conftest.py" for folder in Path(test).parents)}, dict[str, int]()
        step = 0
        while level:
            found |= dict.fromkeys(level, step)
            level = {other for file in level for other in self.next(file)} - found.keys()
            step += 1
        return found

    def _next(self, file: str) -> set[str]:
        """What a Python file imports, what it reads by name, and, a file of tests, what it starts by name."""
        imported, said = ({other for name in each for other in self._meant.get(name, ())} for each in self.read(file))
        return imported | {other for other in said if file.startswith("tests/") or not other.endswith(".py")}

    def _read(self, file: str) -> tuple[set[str], set[str]]:
        """What may be modules of what a file imports, and the words of its texts but docstrings; a path is one word.

        A conftest.py imports within a function for some tests only.
        """
        path, imported, texts, told = self._root / file, set[str](), set[str](), set[str]()
        if path.suffix != ".py" or not path.exists():
            return set(), set()
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                if path.name != "conftest.py" or node in tree.body:
                    within = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                    imported.update(within, (".".join([*within, name.name]) for name in node.names))
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                told.add(str(node.value.value))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
        if "importlib" in imported:  # it may import what it names
            imported.update(part for text in texts - told for part in (text, text.rpartition(".")[0]))
        return imported, {word for text in texts - told for word in re.findall(r"[\w./*-]+", text)}


def names(file: str, packages: Collection[str]) -> Iterator[str]:
    """Yield by what a text means a file.

    That is its path; its name, unless that is a common word; its module; the folder of a function; of what is no Python
    its kind, or the project's folder that it lies in if there is no Python in that.
    """
    path = Path(file)
    yield file
    if path.name not in ("app.py", "conftest.py", "__init__.py") and not re.fullmatch("[a-z]+", path.name):
        yield path.name
    if path.suffix == ".py":
        yield file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    elif len(path.parts) == 1:
        yield f"*{path.suffix or path.name}"
    elif path.parts[0] not in packages:
        yield path.parts[0]
    if path.name == "app.py":
        yield path.parent.name


def _is_called_after(file: str, test: str) -> bool:
    """tests/integration/localcloud/engine/test_events.py: after localcloud/engine/…/events.py, or a folder events."""
    folder, name = Path(*Path(test).parts[2:-1]), Path(test).stem.removeprefix("test_")
    return Path(file).is_relative_to(folder) and name in (Path(file).stem, *Path(file).parent.parts)


def nearest(steps: Mapping[str, int]) -> list[str]:
    """Return the test files that are the fewest steps from what differs, MOST of them."""
    return sorted(steps, key=lambda test: (steps[test], test))[:MOST]


def git(*arguments: str) -> set[str]:
    done = subprocess.run(["git", *arguments, "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: git {' '.join(arguments)}: {done.stderr.strip()}")
    return set(filter(None, done.stdout.split("\0")))


def main(base: str, *options: str) -> None:
    """Say what is run, and become pytest."""
    changed = git("diff", "--name-only", "--no-renames", "--merge-base", base)
    changed |= git("ls-files", "--others", "--exclude-standard")
    if not changed:
        raise SystemExit(f"error: nothing differs from {base}; name another commit: make test-changed BASE=HEAD~1")
    project, steps = Project(ROOT, git("ls-files") | changed), dict[str, int]()
    print(f"What differs from {base}, and how many files of tests are about it:")
    for file in sorted(changed):
        about = project.tests_of(file)
        print(f"  {file}: {len(about) or 'none'}")
        for test in about:
            if (ROOT / test).exists():
                steps[test] = min(project.steps(test, file), steps.get(test, FAR))
    chosen = set(nearest(steps))
    if len(chosen) < len(steps):
        print(f"The {MOST} of these {len(steps)} files that are nearest are run.")
    left = [f"{len({*project.tests(kind)} - chosen)} {what}" for kind, what in KINDS.items()]
    print(f"Files of tests that are left to `make test`: {', '.join(left)}.", flush=True)
    if not chosen:
        raise SystemExit("error: no quick test is about what differs; `make test` runs all")
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *options, *sorted(chosen)])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
