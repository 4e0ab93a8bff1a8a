"""What the monitor has judged: windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perennial_cli import runs, stacks
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, StackName
from perennial_cli.console import short, show_json, table


def windows(
    stack: StackName = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List windows of requests that the monitor has judged, with verdict and first reason."""
    say_whom()
    chosen = stacks.chosen(stack)
    listed = runs.windows(chosen, most)
    if as_json:
        show_json(listed)
        return
    table("window", "verdict", "start", "end", "records", "labels", "reason", rows=map(_row, listed),
          right=("records", "labels"))  # fmt: skip


def _row(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    period, labels = verdict.get("window") or {}, (verdict.get("ground_truth") or {}).get("matched", 0)
    counts = (f"{verdict.get('records', 0):,}", f"{labels:,}")
    reason = short(next(iter(verdict.get("reasons") or []), ""))
    return (verdict["id"], verdict["verdict"], period.get("start", ""), period.get("end", ""), *counts, reason)
