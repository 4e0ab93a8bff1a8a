"""The news of a run, for the subject and the first lines of its mail, the most important first.

Each item is a few words, which a subject has room for, and a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perennial.evaluation.gate import TWINS
from perennial.runs.cause import problems
from perennial.runs.facts import MOVED_SHOWN, counted, dropped_key, unit_of, unreadable
from perennial.runs.run_record import RunRecord
from perennial.runs.strays import PUT_ASIDE
from perennial.runs.work import AWAITS_APPROVAL
from perennial.words import number

MAX_KEY = 30  # characters of a key in a subject; its end says the most
NEWS = 60  # characters that tell one reason from another


@dataclass(frozen=True)
class Item:
    """A piece of news. `line` is empty where the mail's first line says it anyway."""

    brief: str
    line: str = ""


def missing(record: RunRecord) -> Iterator[Item]:
    """Yield what is new and was not used, or is used no more: the outcome is of other data than people think."""
    since, keys = record.get("since") or {}, _put_aside(record)
    lost = [file for file in since.get("unreadable", []) if not is_reported(file["reason"], record)]
    if lost:
        count, rows = unreadable(since)
        of = f"{rows:,} of {since['rows']:,} rows"
        which = f"{counted(count)} that the model in service was trained on cannot be read now"
        yield Item(f"{of} unreadable: {_end(lost[0]['name'])}", f"{which}: {of} are missing ({lost[0]['name']})")
    if keys:
        files, more = counted(len(keys)), f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
        yield Item(f"{files} put aside: {_end(keys[0])}{more}", f"{files} put aside: {keys[0]}{more}")


def cautions(record: RunRecord) -> Iterator[Item]:
    """Yield what makes the gate's answer doubtful: it may be about data that are wrong."""
    gate, comparison = record.get("gate") or {}, (record.get("metrics") or {}).get("comparison") or {}
    if gate.get("targets_changed"):
        yield Item(f"{comparison['changed']['rows']:,} tested rows have other targets now")
    if gate.get("worse_on_known"):
        known = comparison["known"]
        yield Item(f"worse on known rows ({number(known['candidate'])}, before {number(known['champion'])})")
    if late := record.get("late"):
        rows, are = ("1 row", "is") if late["rows"] == 1 else (f"{late['rows']:,} rows", "are")
        if record["configuration"]["definition"].get("series"):
            means = "in no set, as nobody can know yet what they say"
        elif _is_by_time(record):
            means = "a split by time tests on them before all others"
        else:
            means = "training.window does not count back from them"
        line = f"{rows} {are} dated after this run ({late['column']}, the latest {late['latest']}): {means}."
        yield Item(f"{rows} dated after the run", line)
    if TWINS in (comparison.get("untold") or ""):
        line = (
            "Most test rows that nobody has seen are known ones under other keys: look at how the new files write keys."
        )
        yield Item("known rows under other keys", line)
    if (earlier_run := record.get("gone_back_from")) and gate:
        line = f"Somebody has gone back from the model of run {earlier_run}, and all files of that run are here again."
        yield Item("data of a model that was gone back from", line)
    if only_copies(record) and gate:
        line = "All rows of the new files are rows of known files (New files, below)."
        yield Item("new files only repeat known rows", line)
    moved = (record.get("drift") or {}).get("moved", [])
    if moved and gate:
        some = ", ".join(one["column"] for one in moved[:MOVED_SHOWN])
        more = f" and {len(moved) - MOVED_SHOWN} more" if len(moved) > MOVED_SHOWN else ""
        line = f"The new files are not like the data of the model in service: {some}{more} (Drift, below)."
        if scaled := [f"{one['column']} {one['unit']}" for one in moved if one.get("unit")][:MOVED_SHOWN]:
            line += f" Is it another unit? Its numbers are: {'; '.join(scaled)}."
        yield Item(f"new files differ: {some}{more}", line)


def unbound(record: RunRecord) -> str:
    """Say that too few known rows were left for gate.maximum_regression, and why; empty where it could bind."""
    gate, compared = record.get("gate") or {}, (record.get("metrics") or {}).get("comparison") or {}
    if compared.get("unfair") or gate.get("maximum_regression") is None:
        return ""
    known, before, needed = compared.get("known") or {}, compared.get("tested_before", 0), gate["minimum_unseen_rows"]
    if known.get("rows", 0) >= needed or before < needed:
        return ""
    is_changed = (compared.get("changed") or {}).get("rows")
    why = ": newer ones have pushed them into training (split.method: time)" if _is_by_time(record) else ""
    why = ": training.window leaves older ones out" if _leaves_out(record) else why
    why = "" if is_changed else why
    return (
        f"The bound on known rows (gate.maximum_regression) did not bind: of the {before:,} rows that the model in "
        f"service was tested on {known.get('rows', 0):,} test now{why}."
    )


def _is_by_time(record: RunRecord) -> bool:
    return bool(record["configuration"]["definition"]["split"]["method"] == "time")


def _leaves_out(record: RunRecord) -> bool:
    """Return whether training.window leaves out rows that the model in service may know."""
    files = ((record.get("since") or {}).get("older") or {}).get("files", 0)
    return bool(files or (record.get("training_window") or {}).get("rows", 0))


def nothing_served(record: RunRecord) -> str:
    """Say that the model in service did not serve when the run deployed; empty where it did, or nobody knows."""
    if not record.get("champion") or "Create endpoint" not in (record.get("durations_seconds") or {}):
        return ""
    return (
        "There was no endpoint when this run deployed (somebody had deleted it, or its creation had failed): what is "
        "called the model in service here is the last one that was."
    )


def only_copies(record: RunRecord) -> bool:
    """Return whether the new files hold nothing but rows that files of the model in service hold, too."""
    new = record.get("new_files") or {}
    fresh = new.get("rows", 0) - new.get("quarantined", 0)
    all_known = fresh > 0 and new.get("repeated", 0) >= fresh
    return (
        bool(record.get("champion"))
        and not new.get("replaced")
        and (all_known or 0 < new.get("files", 0) == new.get("copies"))
    )


def outcome(record: RunRecord) -> str:
    """Return in few words what the gate found; empty where it was not asked."""
    gate = record.get("gate")
    if not gate or record["status"] not in ("Succeeded", "Rejected", AWAITS_APPROVAL):
        return ""
    notes = [item.brief for item in cautions(record)]
    if record["status"] != "Rejected":
        return "; ".join([*notes, _accepted(record, gate), *_searched(record)])
    if gate.get("obstacle") in ("known", "changed"):  # which says the first of them
        notes = notes[1:]
    return "; ".join([gate["brief"], *notes, *_searched(record)]) if gate.get("brief") else ""


def _searched(record: RunRecord) -> Iterator[str]:
    """Yield of how many trials the candidate is the best, and how many have failed."""
    if tuned := record.get("tuning"):
        total, failed = sum(tuned["counts"].values()), tuned["counts"].get("Failed")
        noun = "trial" if total == 1 else "trials"
        yield f"best of {total} {noun}{f', {failed} failed' if failed else ''}"


def is_reported(reason: str, record: RunRecord) -> bool:
    """Return whether the cause of the failure already has the reason for which a file was put aside."""
    return any(reason[:NEWS] in line for line in problems(record.get("failure") or {}))


def _accepted(record: RunRecord, gate: Mapping[str, Any]) -> str:
    """Return the metric of a model that has come into service, and that of the one before, on the same rows."""
    unseen = ((record.get("metrics") or {}).get("comparison") or {}).get("unseen") or {}
    is_compared = gate.get("champion") is not None and not gate.get("targets_changed")
    if is_compared and unseen.get("candidate") is not None:
        return f"{gate['metric']} {number(unseen['candidate'])}{unit_of(record)}, before {number(gate['champion'])}"
    alone = ", not compared" if record.get("champion") else ""
    return f"{gate['metric']} {number(gate['candidate'])}{unit_of(record)}{alone}"


def _put_aside(record: RunRecord) -> list[str]:
    """Return the keys of new files put aside that nothing else reports; that of the one that started the run first."""
    data, dropped = record.get("data") or {}, dropped_key(record)
    fresh = [stray for stray in data.get("aside", []) if stray["Key"] == dropped or not stray.get("KnownSince")]
    aside = [stray["Key"] for stray in fresh if not is_reported(stray["Reason"], record)]
    earlier = [item["Key"] for item in data.get("ignored", []) if str(item.get("Reason")).startswith(PUT_ASIDE)]
    lost = {file["name"] for file in (record.get("since") or {}).get("unreadable", [])}
    reported = {*aside, *(key for key in earlier if key == dropped)} - lost
    return sorted(reported, key=lambda key: (key != dropped, key))


def _end(key: str) -> str:
    return key if len(key) <= MAX_KEY else f"...{key[3 - MAX_KEY :]}"
