"""Programs that do without pandas: some of the local images, and the local cloud itself."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class WithoutPandas(MetaPathFinder):
    """PyArrow imports pandas, which takes a second, to ask whether a list is one of its series: here none is."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("the script names no pandas", name=fullname)


def leave_out_pandas() -> None:
    """Have PyArrow and others find no pandas in this process."""
    sys.meta_path.insert(0, WithoutPandas())
