"""What this package uses of MiniStack's insides: names, each declared where it is used, with a hash of its source.

MiniStack has no plug-in interface; its dispatch tables are dictionaries and its services are modules of functions that
find one another by name at call time. Both can be replaced before the server starts. The version is pinned, because a
function that keeps its name and its parameters may still change its meaning: `make seams` says what has changed in
another version, and `make check` compares with the installed one. A start looks at the version only: to parse what is
used of MiniStack takes seconds.
"""

import pkgutil
from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

PINNED_VERSION = "1.5.33"


class SeamError(RuntimeError):
    """MiniStack is not the one that this package was written for."""


class Seams:
    """Names of one module (or class) of MiniStack, which is imported at the first use.

    After `sqs = Seams("services.sqs", _queue_by_arn="1f0c9a3e")`, `sqs._queue_by_arn` is what stands there at that
    moment in ministack.services.sqs. A name that is not declared is an AttributeError. Functions, classes and context
    variables are looked up once: nobody but `replace` puts another one in their place.
    """

    _all: ClassVar[list["Seams"]] = []

    def __init__(self, owner: str, /, **hashes: str) -> None:
        self._path, self._hashes = f"ministack.{owner}", hashes
        self._all.append(self)

    @cached_property
    def _owner(self) -> Any:
        return pkgutil.resolve_name(self._path)

    def __getattr__(self, name: str) -> Any:
        if name not in self._hashes:
            raise AttributeError(f"{self._path}.{name} is used, but not declared as a seam")
        value = getattr(self._owner, name)
        if callable(value) or isinstance(value, ContextVar):
            self.__dict__[name] = value
        return value

    def replace(self, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(original)` where the original stood; it takes the same arguments."""
        setattr(self._owner, name, make(getattr(self, name)))
        for seams in self._all:
            seams.__dict__.pop(name, None)


def check(installed: str | None = None) -> None:
    """Refuse to start on another MiniStack than the one this package was written for.

    Raises:
        SeamError: names the installed and the expected version.
    """
    installed = installed or version("ministack")
    if installed != PINNED_VERSION:
        raise SeamError(
            f"MiniStack {installed} is installed; the local cloud is written for {PINNED_VERSION}.\n"
            "Install the locked environment (make install), or adapt localcloud/engine to it: `make seams` says what "
            "has changed."
        )
