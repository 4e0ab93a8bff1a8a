"""Python that a model's folder brings: it is loaded and called here, and what goes wrong in it is told by its line."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class HookError(Exception):
    """The model's own code does not keep its promise.

    `fault` says where, and what kind of error it was, and nothing of the values; empty where no error was raised.
    """

    fault = ""


@dataclass(frozen=True)
class HookFile:
    """A file that has been loaded: its path as tracebacks have it, and its module."""

    path: str
    module: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """Have it loaded from its text where it is unpickled, which may be another machine."""
        return _of_text, (self.path, Path(self.path).read_text("utf-8"))

    @property
    def name(self) -> str:
        return Path(self.path).name

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of the file. What it raises is a HookError that says line and exception."""
        return _guarded(lambda: function(*arguments), self.path)

    def at(self, function: Callable[..., Any]) -> str:
        """Return `capture.py, line 7`, where a function begins; the file's name alone for what is no plain function."""
        code = getattr(function, "__code__", None)
        return f"{self.name}, line {code.co_firstlineno}" if code and code.co_filename == self.path else self.name


def load(path: Path) -> HookFile | None:
    """Return a file of a model's folder; None where there is no such file.

    What goes wrong in it is a HookError that says line and exception.
    """
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"perennial_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise HookError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    run, file = spec.loader.exec_module, str(spec.origin)  # absolute, as tracebacks have it
    _guarded(lambda: run(module), file)
    return HookFile(file, module)


def _of_text(path: str, text: str) -> HookFile:
    module = ModuleType(f"perennial_model_{Path(path).stem}")
    _guarded(lambda: exec(compile(text, path, "exec"), vars(module)), path)  # noqa: S102
    return HookFile(path, module)


def _guarded(call: Callable[[], T], file: str) -> T:
    try:
        return call()
    except MemoryError:  # the machine is too small
        raise
    except (Exception, SystemExit) as error:
        fault = f"{Path(file).name}{line_of(error, file)}: {type(error).__name__}"
        hook_error = HookError(f"{fault}: {error}")
        hook_error.fault = fault
        raise hook_error from error


def line_of(error: BaseException, file: str) -> str:
    """Return `, line 7`: where in a file an error came from; empty when it did not."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f", line {error.lineno}"
    lines = [number for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return f", line {lines[-1]}" if lines else ""
