"""Draw the page about a file that was to be scored: for the job that checks it, and the one that joins predictions."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perennial.monitoring import texts

NAME = "report.html"


def draw(
    config: Mapping[str, Any],
    joined: Mapping[str, Any] | None,
    output: Path,
    *,
    verdict: Path,
    statistics: Path,
    baseline: Path,
) -> dict[str, str]:
    """Draw report.html of what stands in these folders; return its name, or why there is none: no job fails of it."""
    try:
        from perennial.reports import batch as drawing  # with what draws

        then = _document(baseline / "statistics.json")
        if then:
            then, _ = texts.without_rare(then, {"features": []}, {}, {})
        now = _document(statistics / "statistics.json")
        whole = drawing.BatchFile(_document(verdict / "verdict.json"), config, then, now, joined)
        (output / NAME).write_bytes(drawing.report(whole))
    except Exception as error:
        traceback.print_exception(error)
        return {"problem": f"{type(error).__name__}: {error}"}
    return {"file": NAME}


def _document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
