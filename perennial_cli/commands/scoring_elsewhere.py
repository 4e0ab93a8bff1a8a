"""Files in S3 that are scored where they are named: one, or all below a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import typer

from perennial.data.broken import counted
from perennial.runs.batch_file import INCOMING
from perennial_cli import batches as scored
from perennial_cli import elsewhere, following, runs
from perennial_cli.console import FAILED, CommandError, notice, safe, short, show, show_json, table
from perennial_cli.elsewhere import Address, size
from perennial_cli.stacks import Stack

MANY = 100  # files that are scored without a question: each is an execution with its jobs
NOT_COPIED = "NotCopied"


@dataclass(frozen=True)
class Options:
    """What somebody wants of it."""

    follow: bool
    force: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True)
class Dropped:
    """A file below batch/incoming/. `execution` is what scores it, where that is known: else its event starts one."""

    key: str
    version: str
    execution: str | None = None


def drop(stack: Stack, at: Address, key: str, options: Options) -> Dropped:
    """Let S3 copy a file below batch/incoming/, unless it waits there. Raises CommandError: it cannot."""
    if at.bucket == stack.bucket and at.key.startswith(INCOMING):
        notice(f"{at} waits there already")
        return Dropped(at.key, "", _start(stack, {"Key": at.key}))
    s3 = boto3.client("s3")
    original = elsewhere.find(s3, at)
    if version := elsewhere.waiting(s3, stack.bucket, key, original, force=options.force):
        notice(f"{at} waits already: s3://{stack.bucket}/{key}")
        return Dropped(key, version, _again(stack, key, version))
    version = elsewhere.copy_visibly(s3, original, stack.bucket, key)
    notice(f"copied {at} -> s3://{stack.bucket}/{key}")
    return Dropped(key, version)


def _start(stack: Stack, file: Mapping[str, str]) -> str:
    """Start the execution of a file that waits."""
    return runs.start(stack, {"Trigger": {"Type": "Manual"}, "File": file}, machine=scored.machine(stack))


def _again(stack: Stack, key: str, version: str) -> str:
    """Return what scores a version that waits: the execution that works on it, or a new one."""
    begun = following.started_by_drop(scored.machine(stack), version, {})
    if begun and boto3.client("stepfunctions").describe_execution(executionArn=begun)["status"] == "RUNNING":
        return begun
    return _start(stack, {"Key": key, "VersionId": version})


def score_folder(stack: Stack, folder: Address, name: str | None, options: Options) -> None:
    """Score all files below a folder; say of each what became of it, and leave with 1 where one was not scored."""
    machine = scored.machine(stack)
    files = elsewhere.below(boto3.client("s3"), folder)
    counts = f"{counted(len(files), 'file')}, {size(sum(size_bytes for _, size_bytes in files))}, below {folder}"
    notice(counts)
    if len(files) > MANY and not options.yes:
        raise CommandError(f"{counts}: each is an execution with jobs that cost; --yes scores them all")
    dropped = [_dropped(stack, at, elsewhere.name_of(at, folder, name), options) for at, _ in files]
    ended = _followed(stack, machine, dropped) if options.follow else dropped
    records = [{"source": str(at), **_as_record(one)} for (at, _), one in zip(files, ended, strict=True)]
    show_json(records) if options.as_json else _tell(records)
    if any(one["status"] not in (scored.SCORED, "Dropped") for one in records):
        raise typer.Exit(FAILED)


def _dropped(stack: Stack, at: Address, key: str, options: Options) -> Dropped | dict[str, Any]:
    """Return a copy, or the record of a file that is none: the others are copied all the same."""
    try:
        return drop(stack, at, key, options)
    except CommandError as error:
        return {"status": NOT_COPIED, "reasons": [str(error)]}


def _followed(
    stack: Stack, machine: str, dropped: Sequence[Dropped | dict[str, Any]]
) -> list[Dropped | dict[str, Any]]:
    known: dict[str, Any] = {}
    ended: list[Dropped | dict[str, Any]] = []
    for one in dropped:
        if isinstance(one, Dropped):
            among = len(dropped) + following.NEWEST
            arn = one.execution or following.wait_for_drop(
                stack, one.version, machine=machine, known=known, among=among
            )
            notice(one.key)
            ended.append(scored.outcome(stack, following.follow(arn)))
        else:
            ended.append(one)
    return ended


def _as_record(one: Dropped | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(one, Dropped):
        return {"status": "Dropped", "key": one.key, "version": one.version}
    return {name: value for name, value in one.items() if name != "source"}


def _tell(records: Sequence[Mapping[str, Any]]) -> None:
    def row(one: Mapping[str, Any]) -> tuple[str, ...]:
        counts = (f"{one[name]:,}" if one.get(name) is not None else "" for name in ("rows", "scored"))
        what = one.get("result") or one.get("key") or short("; ".join(one.get("reasons") or []))
        return (safe(one["source"]), one["status"], *counts, safe(what))

    table("file", "status", "rows", "predictions", "result", rows=map(row, records), right=("rows", "predictions"))
    unscored = [one for one in records if one["status"] not in (scored.SCORED, "Dropped")]
    if unscored:
        show(f"{counted(len(unscored), 'file')} of {len(records):,} not scored")
