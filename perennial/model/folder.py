"""The code that a model's folder brings beside its model.yaml, checked without running it.

train.py       what an algorithm that is a script runs: processing.train_script
serve.py       how its model answers, where that is not as processing.serve_script does it
features.py    transform(table): features.encoding
metrics.py     a function for each name under `metrics` of model.yaml: evaluation.custom_metrics
capture.py     records(request, request_type, answer, answer_type): monitoring.adapter
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from perennial.model.algorithms import ALGORITHMS
from perennial.model.complaints import ConfigurationError
from perennial.model.definition import Definition
from perennial.model.problem_types import is_taken
from perennial.words import quoted

TRAIN, SERVE, REQUIREMENTS = "train.py", "serve.py", "requirements.txt"
SERVING_FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
FEATURES, METRICS, CAPTURE = "features.py", "metrics.py", "capture.py"
LIBRARIES = frozenset(("numpy", *sys.stdlib_module_names))
NAME, LONGEST_NAME = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", 32  # as template.yaml has it of ModelName
Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(folder: Path, defined: Definition) -> None:
    """Raise ConfigurationError for the first thing in the folder's code that is sure to fail."""
    _check_series(folder, defined)
    _parsed(folder / FEATURES)
    _check_scripts(folder, defined)
    _check_capture(folder / CAPTURE)
    path = folder / METRICS
    tree = _parsed(path)
    functions = _functions_of(tree)
    for problem in (*_imports(tree), *_functions(functions, defined)):
        raise ConfigurationError(f"{path}{problem}")
    for name in defined.metrics:
        if name not in functions:
            text = f"metrics.{name}: {METRICS} has no function {name}(actual, predicted)"
            raise ConfigurationError(f"{folder / 'model.yaml'}: {text}; write it, or leave the key out")


def _check_series(folder: Path, defined: Definition) -> None:
    """Raise ConfigurationError for code of which a forecasting would run nothing."""
    there = [name for name in (TRAIN, SERVE, FEATURES, METRICS, CAPTURE) if (folder / name).is_file()]
    if defined.series and there:
        raise ConfigurationError(
            f"{folder / there[0]}: has no meaning for a forecasting, which DeepAR trains, serves and is measured as; "
            "take it away"
        )


def check_name(name: str) -> str:
    """Return the name of a model's folder. Raises ConfigurationError: no stack can be deployed with it."""
    if not re.fullmatch(NAME, name):
        raise ConfigurationError(
            f"got {quoted(name)} as the name of a model's folder; expected lower-case letters, digits and hyphens, "
            f"{LONGEST_NAME} at most"
        )
    return name


def check_train(folder: Path, algorithm: str) -> None:
    """Raise ConfigurationError when the algorithm runs a script that is not there."""
    if ALGORITHMS[algorithm].is_script and not (folder / TRAIN).is_file():
        raise ConfigurationError(
            f"{folder / TRAIN}: there is no such file, and the algorithm {algorithm} runs it; "
            "write one that saves a model in the folder SM_MODEL_DIR, or take another algorithm"
        )


def _check_scripts(folder: Path, defined: Definition) -> None:
    """Raise ConfigurationError when a script is not there, is no Python, or cannot be called as it is."""
    check_train(folder, defined.algorithm)
    _parsed(folder / TRAIN)
    served = _functions_of(_parsed(folder / SERVE))
    parts = [name for name in SERVING_FUNCTIONS[1:4] if name in served]
    if (folder / SERVE).is_file() and not served.keys() & set(SERVING_FUNCTIONS):
        raise ConfigurationError(f"{folder / SERVE}: has none of the functions {', '.join(SERVING_FUNCTIONS)}")
    if "transform_fn" in served and parts:
        raise ConfigurationError(
            f"{folder / SERVE}: defines transform_fn, which does it all, and {', '.join(parts)}; leave one of them out"
        )
    for name, count in zip(SERVING_FUNCTIONS, (1, 2, 2, 2, 4), strict=True):
        if (function := served.get(name)) and not _takes(count, function.args):
            line = function.lineno
            raise ConfigurationError(
                f"{folder / SERVE}, line {line}: {name}: expected a function of {count} argument{'s' * (count > 1)}"
            )
    if (folder / REQUIREMENTS).is_file() and (folder / TRAIN).is_file():
        raise ConfigurationError(
            f"{folder / REQUIREMENTS}: nothing can be installed, as jobs and models have no network; expected what "
            "the image brings (scikit-learn, pandas, NumPy, PyArrow), or modules beside train.py"
        )


def _check_capture(path: Path) -> None:
    """Raise ConfigurationError when what reads captured requests has no such function."""
    function = _functions_of(_parsed(path)).get("records")
    expected = "def records(request, request_type, answer, answer_type)"
    if path.is_file() and function is None:
        raise ConfigurationError(f"{path}: has no function records; expected {expected}")
    if function and (isinstance(function, ast.AsyncFunctionDef) or not _takes(4, function.args)):
        raise ConfigurationError(f"{path}, line {function.lineno}: records: expected four arguments, {expected}")


def _functions_of(tree: ast.Module) -> dict[str, Function]:
    named = [node for node in tree.body if isinstance(node, Function)]
    return {node.name: node for node in named if not node.name.startswith("_")}


def _parsed(path: Path) -> ast.Module:
    """Return what a file says, nothing where there is none. Raises ConfigurationError: it is no Python."""
    try:
        content = path.read_bytes() if path.is_file() else b""
        compile(content, str(path), "exec")
        return ast.parse(content, str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ConfigurationError(f"{path}{line}: {type(error).__name__}: {error}") from error


def _imports(tree: ast.Module) -> Iterator[str]:
    """Metrics are measured in a function of the stack as well, which has no other libraries."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [node.module or "its folder"] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        for name in names:
            if name.partition(".")[0] not in LIBRARIES:
                yield f", line {node.lineno}: imports {name}; expected NumPy and what Python brings, and nothing else"


def _functions(functions: dict[str, Function], defined: Definition) -> Iterator[str]:
    for name, node in functions.items():
        where = f", line {node.lineno}: {name}"
        if is_taken(name):
            yield f"{where} is the name of a metric that there is already; take another one"
        if isinstance(node, ast.AsyncFunctionDef) or not _takes(2, node.args):
            yield f"{where}: expected a function of two arguments, def {name}(actual, predicted)"
        if name not in defined.metrics:
            which = f"expected `metrics: {{{name}: maximize}}` there, or minimize"
            yield f"{where}: model.yaml does not say which values are better; {which}. A helper is called _{name}"


def _takes(count: int, arguments: ast.arguments) -> bool:
    """Return whether a function can be called with so many positional arguments."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    needed = positional - len(arguments.defaults)
    named = [default for default in arguments.kw_defaults if default is None]
    return not named and needed <= count and (positional >= count or arguments.vararg is not None)
