"""Log lines of Amazon's own algorithms, which the expressions of their metrics match."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from localcloud.sagemaker.errors import few_lines


def log(message: str) -> None:
    """One line in their format, `[11/20/2026 10:00:00 INFO 139933004003136] message`."""
    stamp = time.strftime("%m/%d/%Y %H:%M:%S", time.gmtime())
    print(f"[{stamp} INFO {os.getpid()}] {few_lines(message)}", flush=True)


def quality(values: Mapping[str, float], part: str, epoch: int | None = None) -> None:
    """`#quality_metric` lines; keys carry the kind, as in `mse <loss>`."""
    host = "host=algo-1" if epoch is None else f"host=algo-1, epoch={epoch}"
    for name, value in values.items():
        log(f"#quality_metric: {host}, {part} {name}={value}")
