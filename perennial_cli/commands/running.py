"""Runs: drop, run, follow, runs, versions, show, explain, compare, reproduce."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, cast

import typer

from perennial.data.broken import counted
from perennial.model import definition
from perennial.model.complaints import ConfigurationError
from perennial.registry import approval, promotion
from perennial.runs import comparison, configuration, costs, facts, run_input, trials
from perennial.runs.cause import explained, problems
from perennial.runs.run_record import RunRecord
from perennial.serving import hours
from perennial.words import caller, number
from perennial_cli import explain as lineages
from perennial_cli import following, mlflow_export, serving_api, stacks
from perennial_cli import runs as history
from perennial_cli import versions as registry
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, StackName, file_or_address, object_name
from perennial_cli.console import FAILED, WrongUseError, each, notice, pairs, short, show, show_json, table, warn
from perennial_cli.deployed import definition_of
from perennial_cli.elsewhere import Address
from perennial_cli.stacks import Stack
from perennial_cli.versions import Version

Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Look at the run until it has ended.")]
RUN_HELP = "The id of a run, such as 20261129101500-1a2b, the number of its version, or `latest`."
Run = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)]
EXAMPLE = "expected one such as 0.2 or, in quotes of the shell, {min: 0.01, max: 0.3}"


class Exporter(StrEnum):
    """What runs can be exported to."""

    MLFLOW = "mlflow"


def _stack(name: str | None) -> Stack:
    say_whom()
    return stacks.chosen(name)


def drop(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or s3://BUCKET/KEY.", show_default=False)],
    stack: StackName = None,
    key: Annotated[
        str | None,
        typer.Option(callback=object_name, help="Name of the object below the data prefix. Default: the file's."),
    ] = None,
    follow: Follow = True,
    as_json: AsJson = False,
) -> None:
    """Put a data file where a stack takes its data, and look at the run that it starts.

    A file in S3 is copied by S3, with your rights. Exit code 1: the run failed, or its model was rejected.
    """
    source = file_or_address(file)
    if isinstance(source, Address) and source.is_folder:
        why = f"{file} is a folder, and one file is dropped; all below it: perennial copy-data {source}"
        raise typer.BadParameter(why, param_hint="FILE")
    chosen = _stack(stack)
    if isinstance(source, Address):
        put = history.drop_copy(chosen, key or source.key.rpartition("/")[2], source)
    else:
        with source.open("rb") as body:
            put = history.drop(chosen, key or source.name, body)
    notice(f"dropped {file} -> s3://{put['bucket']}/{put['key']}")
    if not follow:
        if as_json:
            show_json(put)
        return
    _end(chosen, following.wait_for_drop(chosen, put["version"]), as_json=as_json)


def run(
    stack: StackName = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An override, its value as in model.yaml, such as HyperParameters.eta=0.2; may be repeated.",
        ),
    ] = None,
    document: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="The whole input of the run instead.")
    ] = None,
    follow: Follow = True,
    as_json: AsJson = False,
) -> None:
    """Start a run on the data that are there.

    Its input is checked first, by the definition that the stack was deployed with. Exit code 1: it is refused, the run
    failed, or its model was rejected.

    A range is searched: --set 'HyperParameters.eta={min: 0.01, max: 0.3, scale: logarithmic}' --set Tuning.Jobs=20
    """
    if settings and document is not None:
        raise typer.BadParameter(
            "it is the whole input; write Overrides into it, or leave it out", param_hint="--input"
        )
    overrides = {"Overrides": _overrides(settings)} if settings else {}
    wanted = {"Trigger": {"Type": "Manual"}, **(overrides if document is None else _parsed(document))}
    _require_input(wanted)
    chosen = _stack(stack)
    _start(chosen, wanted, follow=follow, as_json=as_json)


def _require_input(wanted: Mapping[str, Any]) -> None:
    """Raise WrongUseError where it is no input of any run, before anybody is asked."""
    try:
        configuration.require_overrides(run_input.execution_input(wanted).Overrides)
    except ConfigurationError as error:
        raise WrongUseError(str(error)) from error


def _parsed(document: str) -> dict[str, Any]:
    try:
        parsed = json.loads(document)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"no JSON: {error}", param_hint="--input") from error
    if not isinstance(parsed, dict):
        raise typer.BadParameter(f"got {document!r}; expected an object", param_hint="--input")
    return parsed


def _overrides(settings: list[str]) -> dict[str, Any]:
    """Return settings as overrides: a dot goes into a section, and a value is read as model.yaml is."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not (path and equals):
            raise typer.BadParameter(f"got {setting!r}; expected NAME=VALUE", param_hint="--set")
        *sections, name = path.split(".")
        section = overrides
        for one in sections:
            section = section.setdefault(one, {})
            if not isinstance(section, dict):
                raise typer.BadParameter(f"{one} of {path} has a value already: {section!r}", param_hint="--set")
        section[name] = _value(path, text)
    return overrides


def _value(path: str, text: str) -> Any:
    try:
        value = definition.read(text, path)
    except definition.DefinitionError as error:
        raise typer.BadParameter(f"{error}\n{EXAMPLE}", param_hint="--set") from error
    if value is None:
        raise typer.BadParameter(f"{path} has no value; {EXAMPLE}", param_hint="--set")
    return value


def _start(stack: Stack, wanted: Mapping[str, Any], *, follow: bool, as_json: bool) -> None:
    checked = run_input.execution_input(wanted)
    resolved = configuration.resolve(
        stack.model, definition_of(stack), run=checked.Overrides, data_prefix=stack.outputs["DataPrefix"]
    )
    if "Tuning" in checked.Overrides and not resolved.ranges:
        warn("Tuning has no effect: no hyperparameter is a range, in model.yaml or here, and the run trains once")
    arn = history.start(stack, wanted)
    if follow:
        _end(stack, arn, as_json=as_json)
    else:
        begun = {"run": history.id_of(arn), "execution": arn}
        show_json(begun) if as_json else pairs(begun)


def _end(stack: Stack, arn: str, *, as_json: bool) -> None:
    """Look at a run until it has ended, print what it left, and leave with its exit code."""
    record = following.outcome(stack, following.follow(arn))
    show_json(record) if as_json else _show_end(stack, record)
    if record["status"] not in history.SUCCESSES:
        raise typer.Exit(FAILED)


def _show_end(stack: Stack, record: Mapping[str, Any]) -> None:
    reason = history.reason(record)
    failure = record.get("failure") if record["status"] in history.FAILURES else None
    more = [line for line in problems(failure or {}) if line not in reason]
    rows = {
        "run": f"{record['run_id']}: {record['status']}",
        "because": "\n".join([reason, *more]),
        "withheld": record.get("withheld") or "",
        **_deployed(stack, record),
        "sleeps": f"outside of {when}" if (when := hours.read(record.get("hours") or "")) else "",
        "report": record.get("report") or "",
    }
    pairs({name: value for name, value in rows.items() if value})
    for line in history.doubts(record):
        warn(line)


def _deployed(stack: Stack, record: Mapping[str, Any]) -> dict[str, str]:
    """Return which endpoint serves the model of a run, or has served it, if Parameter Store names another by now."""
    deployed = record.get("deployed") or {}
    mine, serving = (record.get("version") or {}).get("arn"), registry.serving_arn(stack.name) if deployed else None
    if not (mine and serving) or mine == serving:
        return {"serves": deployed.get("endpoint", "")}
    number_now = registry.number_of(serving)
    now = f"version {number_now}" if number_now else "another model"
    return {"served": f"{deployed['endpoint']}, where {now} is in service now"}


def follow(
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="The id of a run. Default: the newest.")] = None,
    stack: StackName = None,
    as_json: AsJson = False,
) -> None:
    """Look at a run until it has ended.

    Exit code 1: it failed, or its model was rejected.
    """
    chosen = _stack(stack)
    _end(chosen, history.execution(chosen, run_id).arn, as_json=as_json)


def runs(
    stack: StackName = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="How many, the newest first.")] = 20,
    export: Annotated[
        Exporter | None, typer.Option(help="Write those that have ended to this tool; again: update them.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="URI", help="Where it is, such as http://localhost:5000.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs with their metrics and what was decided, or export them."""
    if (export is None) != (to is None):
        raise typer.BadParameter("--export and --to go together", param_hint="--export")
    chosen = _stack(stack)
    listed = history.newest(chosen, most)
    if to is not None:
        ended = [record for record in listed if record["status"] not in history.AT_WORK]
        exported = mlflow_export.export(chosen, each(ended, len(ended), "exporting runs"), to)
        show_json(exported) if as_json else show(f"exported {counted(len(exported), 'run')} of {chosen.name} to {to}")
        return
    if as_json:
        show_json(listed)
        return
    table(
        "run",
        "status",
        "rows",
        "metric",
        "threshold",
        "decision",
        rows=map(_row, listed),
        right=("rows", "metric", "threshold"),
    )
    if api := serving_api.address(chosen):
        notice(f"the API is at {api}")


def versions(
    stack: StackName = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="How many, the newest first.")] = 10,
    as_json: AsJson = False,
) -> None:
    """List the versions of the model in the model registry: each has passed the gate in a run."""
    listed = registry.newest(_stack(stack).name, most)
    if as_json:
        show_json([version.as_json() for version in listed])
        return
    table(
        "version",
        "status",
        "serves",
        "by",
        "metric",
        "run",
        "registered",
        rows=map(_version_row, listed),
        right=("version", "metric"),
    )


def _version_row(version: Version) -> tuple[str, ...]:
    metric = f"{version.metric} {number(version.candidate)}" if version.metric else ""
    by = caller(version.by) if version.by else ""
    serves = "yes" if version.serves else ""
    run = f"{version.run or 'by hand'}{f', of account {version.other}' if version.other else ''}"
    return str(version.number), version.status, serves, by, metric, run, version.created_at


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    gate, rows = record.get("gate") or {}, record.get("rows") or {}
    used = f"{rows['used']:,}" if "used" in rows else ""
    metric = f"{gate['metric']} {number(gate.get('candidate'))}" if gate else ""
    return (
        record["run_id"],
        record["status"],
        used,
        metric,
        number(gate["threshold"]) if gate else "",
        short(history.decision(record)),
    )


def show_run(run_id: Run, stack: StackName = None, as_json: AsJson = False) -> None:
    """Show one run whole: what it was made of, what it measured and decided, how long it took."""
    chosen = _stack(stack)
    record = history.of(chosen, run_id, may_wait=True)
    if as_json:
        show_json({**record, "hyperparameters": trials.hyperparameters(record)})
        return
    _show_end(chosen, record)
    pairs({**_version(record), **_made_of(record), **({"api": api} if (api := serving_api.address(chosen)) else {})})
    metrics = record.get("metrics") or {}
    candidate, champion = metrics.get("candidate") or {}, metrics.get("champion") or {}
    if candidate:
        show()
        table(
            "metric",
            "this model",
            "the one in service then",
            rows=(
                (name, number(value), number(champion[name]) if name in champion else "")
                for name, value in candidate.items()
            ),
            right=("this model", "the one in service then"),
        )
    show()
    _tried(record)
    retries = record.get("retries") or {}
    table(
        "state",
        "seconds",
        *(["retries"] if retries else []),
        rows=(
            (name, f"{seconds:,.1f}", *([facts.tried_again(retries[name]) if name in retries else ""] * bool(retries)))
            for name, seconds in (record.get("durations_seconds") or {}).items()
        ),
        right=("seconds",),
    )


def _version(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the registry says now of the version of a run."""
    if not (version := record.get("version")):
        return {}
    if not (described := registry.described(version["arn"])):
        return {"version": f"{version['number']}, which is not in the registry any more"}
    by, why = approval.answered_by(described), described.get("ApprovalDescription")
    status = f"{described['ModelApprovalStatus']}{f' by {caller(by)}' if by else ''}{f': {why}' if why else ''}"
    return {"version": f"{version['number']}, {status}"}


def _tried(record: Mapping[str, Any]) -> None:
    """Show the trials of a run that has tuned."""
    if tuned := record.get("tuning"):
        for line in trials.line(record):
            show(line)
        table(
            "trial",
            "status",
            tuned["metric"],
            "hyperparameters",
            rows=(
                (
                    costs.short_name(one["name"], record["run_id"]),
                    one["status"],
                    number(one["value"]) if one["value"] is not None else "",
                    trials.spoken(one["hyperparameters"]),
                )
                for one in tuned["trials"]
            ),
            right=(tuned["metric"],),
        )
        show()


def _made_of(record: Mapping[str, Any]) -> dict[str, str]:
    execution = record["execution"]
    about = {
        **{f"promoted {number}": step for number, step in enumerate(promotion.steps(record.get("promotions")), 1)},
        "started": execution["started_at"],
        **({"took": f"{execution['duration_seconds']:,.1f} s"} if "duration_seconds" in execution else {}),
    }
    if not history.has_begun(record):
        return about
    data, code, algorithm = record["data"], record["code"], record["configuration"]["algorithm"]
    settings = trials.spoken(dict(sorted(trials.hyperparameters(record).items())))
    size = f"{counted(data['file_count'], 'file')}, {data['size_bytes']:,} bytes"
    return {
        **about,
        "data": f"{size}, fingerprint {data['fingerprint'][:16]}",
        "rows": ", ".join(f"{name} {count:,}" for name, count in (record.get("rows") or {}).items()),
        "algorithm": f"{algorithm['name']} ({settings})",
        "code": f"{code['hash']} (commit {code['commit']})",
        **({"spot": saved} if (saved := facts.spot(cast(RunRecord, record))) else {}),
        **({"waited": "\n".join(waited)} if (waited := facts.waits(cast(RunRecord, record))) else {}),
    }


def explain(stack: StackName = None, as_json: AsJson = False) -> None:
    """Go from the endpoint that serves back to the model, the run, its configuration and its data."""
    say_whom()
    chain = lineages.lineage(stack or stacks.chosen(None).name)
    if as_json:
        show_json(chain)
        return
    for line in lineages.tree(chain):
        show(line)


def compare(first: Run, second: Run, stack: StackName = None, as_json: AsJson = False) -> None:
    """Say what differs between two runs: metrics, importances, data, gate, configuration and code.

    Where the model of one was in service when that of the other was tested, the metrics of both on the same rows come
    first. Of a run that waits for an approval its record so far is compared.
    """
    chosen = _stack(stack)
    one, other = (history.explained(chosen, history.of(chosen, run, may_wait=True)) for run in (first, second))
    differences = comparison.differences(one, other)
    if as_json:
        show_json([difference.as_json() for difference in differences])
        return
    for untrained in (record for record in (one, other) if not record.get("metrics")):
        cause = explained((untrained.get("failure") or {}).get("cause")).partition("\n")[0]
        notice(
            f"{untrained['run_id']} {untrained['status']} before its model was measured, so that there is nothing of "
            f"it to compare but what is below{f': {cause}' if cause else ''}"
        )
        side = "first" if untrained is one else "second"
        differences = [each for each in differences if getattr(each, side) is not None]
    if not differences:
        show(f"{one['run_id']} and {other['run_id']} do not differ in configuration, code, data, rows or metrics")
        return
    table(
        "what",
        _header(first, one),
        _header(second, other),
        rows=((item.path, *comparison.cells(item, one, other)) for item in differences),
        in_blocks=True,
    )


def _header(wanted: str, record: Mapping[str, Any]) -> str:
    return f"version {wanted} ({record['run_id']})" if wanted.isdecimal() else str(record["run_id"])


def reproduce(run_id: Run, stack: StackName = None, as_json: AsJson = False) -> None:
    """Run the same again from a run's record, and compare the metrics to the last digit.

    The new run trains on the recorded versions of the data with the recorded overrides, and deploys nothing unless the
    definition says so. Exit code 1: it failed, or its metrics are others.
    """
    chosen = _stack(stack)
    before = history.of(chosen, run_id)
    history.require_here(before)
    changed = comparison.not_the_same(before, definition_of(chosen), chosen.outputs["CodeUri"])
    for line in changed:
        warn(line)
    after = following.outcome(chosen, following.follow(history.start(chosen, history.replay(before))))
    metrics, again = ((record.get("metrics") or {}).get("candidate") or {} for record in (before, after))
    is_same = bool(metrics) and metrics == again
    if as_json:
        both = {"run": before["run_id"], "again": after["run_id"], "same": is_same}
        show_json({**both, "metrics": metrics, "metrics_again": again, "changed": changed})
    else:
        how = "the same to the last digit" if is_same else "others"
        because = {} if after["status"] in history.SUCCESSES else {"because": history.reason(after)}
        pairs({"run": before["run_id"], "again": f"{after['run_id']}: {after['status']}", **because, "metrics": how})
    if not is_same:
        rows = ((name, repr(metrics.get(name)), repr(again.get(name))) for name in {**metrics, **again})
        if not as_json:
            table("metric", "before", "again", rows=rows)
        raise typer.Exit(FAILED)
