"""Files that are scored in batch: score, batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import boto3
import typer

from perennial.data.broken import counted
from perennial.runs.batch_file import INCOMING
from perennial_cli import batches as scored
from perennial_cli import elsewhere, following, parts, runs, stacks
from perennial_cli.account import say_whom
from perennial_cli.commands import scoring_elsewhere as copied
from perennial_cli.commands.options import (
    AsJson,
    StackName,
    Yes,
    file_or_address,
    form_of,
    object_name,
    output_option,
    require_output,
)
from perennial_cli.console import FAILED, notice, pairs, safe, show, show_json, table
from perennial_cli.elsewhere import Address
from perennial_cli.stacks import Stack

NOTHING = ("Started", "NoFile")  # ends of a scan that are no failure


def score(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A file, s3://BUCKET/KEY, or all below s3://BUCKET/PREFIX/.")
    ] = None,
    stack: StackName = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Score what waits below batch/incoming/ instead, once more what failed.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(callback=object_name, help="Name of the object below batch/incoming/. Default: the file's."),
    ] = None,
    output: Annotated[
        Path | None, output_option("Where the result goes. Default: beside the file; of one in S3 it stays there.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait, and fetch the result.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a result that is there; copy once more what seems to wait.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Score a file by the newest approved model: drop it, follow, fetch the result.

    A file in S3 is copied by S3, with your rights, whatever bucket it is in.

    Exit code 1: it was not scored; the reason is said.
    """
    if (file is None) != waiting:
        raise typer.BadParameter("name a file, or --waiting", param_hint="FILE")
    source = file_or_address(file) if file else None
    is_many = waiting or (isinstance(source, Address) and source.is_folder)
    if output and (is_many or not follow):
        fetched = "the results of many files" if is_many else "a result that is not waited for"
        raise typer.BadParameter(f"{fetched} cannot be fetched; leave it out", param_hint="--output")
    if key and waiting:
        raise typer.BadParameter("--waiting drops no file; leave it out", param_hint="--key")
    if isinstance(source, Path) and follow:
        require_output(output or scored.beside(source), form_of(source), [source], force=force)
    if isinstance(source, Address) and output:
        require_output(output, form_of(Path(source.key)), [], force=force)
    say_whom()
    chosen = stacks.chosen(stack)
    if source is None:
        _score_waiting(chosen, as_json=as_json)
    elif is_many:
        copied.score_folder(chosen, cast("Address", source), key, copied.Options(follow, force, yes, as_json))
    else:
        _score_one(chosen, source, key, output, copied.Options(follow, force, yes, as_json))


def _score_waiting(stack: Stack, *, as_json: bool) -> None:
    ended = scored.outcome(stack, following.follow(runs.start(stack, {}, machine=scored.machine(stack))))
    show_json(ended) if as_json else show(ended["reasons"][0])
    if ended["status"] not in NOTHING:
        raise typer.Exit(FAILED)


def _score_one(
    stack: Stack, source: Path | Address, key: str | None, output: Path | None, options: copied.Options
) -> None:
    machine = scored.machine(stack)
    if isinstance(source, Address):
        dropped = copied.drop(stack, source, elsewhere.name_of(source, None, key), options)
    else:
        dropped = _drop(stack, source, f"{INCOMING}{key or source.name}")
        output = output or scored.beside(source)
    if not options.follow:
        if options.as_json:
            show_json({"bucket": stack.bucket, "key": dropped.key, "version": dropped.version})
        return
    arn = dropped.execution or following.wait_for_drop(stack, dropped.version, machine=machine)
    _end(stack, following.follow(arn), output, as_json=options.as_json)


def _drop(stack: Stack, file: Path, key: str) -> copied.Dropped:
    with file.open("rb") as body:
        version = parts.put(boto3.client("s3"), body, stack.bucket, key)
    notice(f"dropped {file} -> s3://{stack.bucket}/{key}")
    return copied.Dropped(key, version)


def _end(stack: Stack, described: Mapping[str, Any], target: Path | None, *, as_json: bool) -> None:
    """Fetch the result of a file that was scored, say what became of it, and leave with its exit code.

    target  where the result goes; None: it stays where it is
    """
    ended = scored.outcome(stack, described)
    is_scored = ended["status"] == scored.SCORED
    if is_scored and target:
        scored.fetch(ended["result"], target)
    written = {"written": str(target)} if is_scored and target else {}
    if as_json:
        show_json({**ended, **written})
    else:
        rows = f"{ended['scored']:,} of {ended['rows']:,} have a prediction" if is_scored else ""
        version = f", version {ended['version']}" if ended.get("version") else ""
        known = {
            "batch": f"{ended['id']}: {ended['status']}",
            "model": f"run {ended['run']}{version}" if ended.get("run") else "",
            "rows": rows,
            "refused": _refused(ended) if is_scored else "",
            "to know" if is_scored else "because": "; ".join(ended.get("reasons") or []),
            "waited": "; ".join(ended.get("waited") or []),
            "copied from": ended.get("source"),
            "result": ended.get("result") if is_scored and not target else "",
            "report": ended.get("page"),
            **written,
        }
        pairs({name: value for name, value in known.items() if value})
        if is_scored and ended.get("first_refused"):
            _name_refused(ended, str(target or ended["result"]))
    if not is_scored:
        raise typer.Exit(FAILED)


def _refused(batch: Mapping[str, Any]) -> str:
    """Return how many rows have no prediction, by the rule that they break, and where each has its reason."""
    if not batch.get("refused"):
        return ""
    rules = ", ".join(f"{rule} {rows:,}" for rule, rows in (batch.get("refusals") or {}).items())
    return f"{counted(batch['refused'])} ({rules}); the column `problem` of the result says why, row by row"


def _name_refused(batch: Mapping[str, Any], target: str) -> None:
    """Show the first rows without a prediction, each with its reason, and say where the others are."""
    named = batch["first_refused"]
    table("row", "refused because", rows=[(f"{one['row']:,}", safe(one["problem"])) for one in named], right=("row",))
    if more := batch["refused"] - len(named):
        show(f"and {more:,} more: the column `problem` of {target} has them all")


def batches(
    stack: StackName = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List files that were to be scored in batch, and how that ended."""
    say_whom()
    listed = scored.newest(stacks.chosen(stack), most)
    if as_json:
        show_json(listed)
        return
    table("batch", "status", "file", "rows", "predictions", "version", rows=map(_row, listed),
          right=("rows", "predictions", "version"))  # fmt: skip


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (f"{record[name]:,}" if record.get(name) is not None else "" for name in ("rows", "scored"))
    file = (record.get("file") or "").removeprefix(INCOMING)
    return (record["id"], record["status"], file, *counts, str(record.get("version") or ""))
