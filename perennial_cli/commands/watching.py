"""What the monitor judges: windows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perennial.monitoring import findings, period
from perennial.runs.cause import explained
from perennial.runs.naming import run_id
from perennial_cli import following, runs, stacks
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, StackName
from perennial_cli.console import FAILED, pairs, short, show_json, table
from perennial_cli.stacks import Stack

SOUND = (findings.HEALTHY, findings.NOT_ENOUGH, None)  # None: there was nothing to judge


def _time(text: str | None) -> str | None:
    """Return a time as it is. Raises BadParameter: it is none."""
    try:
        return None if text is None else period.written(period.read(text))
    except ValueError as error:
        raise typer.BadParameter(f"got {text!r}; {period.EXPECTED}") from error


def monitor(
    stack: StackName = None,
    start: Annotated[
        str | None,
        typer.Option(callback=_time, metavar="TIME", help="When the window begins, such as 2026-11-29T10:00:00Z."),
    ] = None,
    end: Annotated[
        str | None, typer.Option(callback=_time, metavar="TIME", help="When it ends; the end is not in it.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the verdict.")] = True,
    as_json: AsJson = False,
) -> None:
    """Judge requests now: what came since the last window, or between two times.

    What follows of it is what follows of a window by the clock: an event, a mail, and a run where the model's
    definition lets drift retrain. Exit code 1: drift or bad data, or it could not be judged.
    """
    if (start is None) != (end is None):
        raise typer.BadParameter("a window has both, or neither", param_hint="--start and --end")
    say_whom()
    chosen = stacks.chosen(stack)
    wanted = {"Window": {"Start": start, "End": end}} if start else {}
    arn = runs.start(chosen, wanted, machine=chosen.outputs["MonitorStateMachineArn"])
    if not follow:
        begun = {"window": runs.id_of(arn), "execution": arn}
        show_json(begun) if as_json else pairs(begun)
        return
    judged = _outcome(chosen, following.follow(arn))
    show_json(judged) if as_json else _show(judged)
    if judged["status"] != "Succeeded" or judged["verdict"] not in SOUND:
        raise typer.Exit(FAILED)


def _outcome(stack: Stack, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an execution that has ended says of its window, with the verdict; without one, why there is none."""
    output = json.loads(described.get("output") or "{}")
    known = {
        "id": run_id(described["executionArn"], described["startDate"]),
        "status": described["status"].title().replace("_", ""),
        "verdict": None,
        "reasons": [output.get("Reason") or explained(described.get("cause"))],
    }
    if "Verdict" not in output:
        return known
    return {**known, **runs.window(stack, known["id"]), "retrain": output["Retrain"], "follows": output["Reason"]}


def _show(judged: Mapping[str, Any]) -> None:
    span = judged.get("window") or {}
    rows = {
        "window": f"{judged['id']}: {judged['verdict'] or judged['status']}",
        "requests": f"{judged['records']:,} from {span['start']} to {span['end']}" if judged["verdict"] else "",
        "because": "\n".join(judged["reasons"]),
        "follows": judged.get("follows", "") if judged["verdict"] not in SOUND else "",
        "report": judged.get("report", ""),
    }
    pairs({name: value for name, value in rows.items() if value})


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
