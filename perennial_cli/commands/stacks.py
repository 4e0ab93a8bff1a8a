"""Stacks: deploy, look at what was deployed and changed since, delete."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from perennial.runs import naming
from perennial_cli import (
    check_models,
    delete_stack,
    deployment,
    deployments,
    following,
    predictions,
    project,
    resource_drift,
    serving_api,
)
from perennial_cli import runs as history
from perennial_cli import stacks as known
from perennial_cli.account import say_whom
from perennial_cli.commands import options
from perennial_cli.commands.options import AsJson, StackName, Yes
from perennial_cli.console import FAILED, CommandError, is_terminal, notice, pairs, show, show_json, table, working
from perennial_cli.stacks import Stack

NO_DATA = "NoData"
EnvironmentName = Annotated[
    str | None,
    typer.Option("--env", metavar="SECTION", help="Section of samconfig.toml: its stack, model and parameters."),
]


def deploy(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A folder of models/, by its name or path. Default: the model that SECTION names.",
            autocompletion=options.model_names,
        ),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack",
            "-s",
            envvar="PERENNIAL_STACK",
            callback=options.not_empty,
            help="Name of the stack. Default: the section's for this model with --env, else perennial-MODEL.",
        ),
    ] = None,
    section: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="SECTION",
            help="Section of samconfig.toml with the parameters. Default: local or, on AWS, default.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="small, medium or large: a section of sizes.toml; SECTION's own parameters win."
        ),
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option(
            metavar="ARN",
            envvar="PERENNIAL_BOUNDARY",
            help="A policy that bounds what the stack's roles may: its PermissionsBoundaryArn, before SECTION's.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check a model, build its stack and deploy it, to the local cloud or to AWS.

    On AWS it asks first; where the section has confirm_changeset, about the change set. The stack's bucket keeps who
    deployed which commit and what that changed: `perennial deployments`.
    """
    whom = say_whom()
    environment = deployment.environment(section or ("local" if whom.is_local else "default"))
    if not (wanted := model or environment.model):
        raise CommandError(f"name a model: the section {environment.section} of {deployment.CONFIG} has no ModelName")
    folder = project.model_folder(wanted)
    model_name = folder.resolve().name
    of_section = environment.stack if (section or not model) and environment.model in (None, model_name) else None
    name = stack or of_section or deployment.stack_name(model_name)
    naming.check_stack_name(name)
    _require_its_own(name, model_name)
    asks = not whom.is_local and not yes
    confirms = asks and environment.confirms
    deploys = deployment.Deployment(model_name, name, environment, whom.is_local, confirms, size, boundary)
    deployment.check(deploys, whom.region)
    if not check_models.are_sound([folder], sys.stderr if as_json else None):
        raise typer.Exit(FAILED)
    if asks and not confirms:
        typer.confirm(f"Deploy {name} to {whom}?", abort=True, err=True)
    change_set = deployment.deploy(deploys)
    chosen = known.chosen(name)
    record = deployments.keep(chosen, environment.section, change_set)
    if as_json:
        show_json({"stack": chosen.name, "outputs": dict(chosen.outputs), "deployment": record})
        return
    api = serving_api.url_of(chosen, whom.endpoint_url)
    data = f"s3://{chosen.outputs['DataBucketName']}/{chosen.outputs['DataPrefix']}"
    pairs({"stack": chosen.name, "changed": deployments.summary(record), "data": data, **({"api": api} if api else {})})
    notice(f"Next: `perennial drop FILE{f' --stack {chosen.name}' if stack else ''}` puts data there, and a run starts")


def _require_its_own(stack: str, model: str) -> None:
    """Raise CommandError if a stack is there whose bucket, versions and endpoint are another model's."""
    if (there := known.model_of(stack)) not in (None, model):
        raise CommandError(
            f"the stack {stack} is the model {there}'s, with its data, versions and endpoint; a stack has one model. "
            f"Leave --stack (or PERENNIAL_STACK) out, which deploys {deployment.stack_name(model)}, or name another. "
            f"To give {stack} to {model}, delete it first: perennial delete {stack}"
        )


def list_deployments(stack: StackName = None, as_json: AsJson = False) -> None:
    """List the deployments of a stack: when, who, which commit, what it changed."""
    records = deployments.newest(known.chosen(stack))
    if as_json:
        show_json(records)
        return
    table(
        "deployed at", "environment", "commit", "by", "changed",
        rows=[
            [
                record["deployed_at"],
                record["environment"],
                deployments.commit_text(record),
                record["deployed_by"],
                deployments.summary(record),
            ]
            for record in records
        ],
    )  # fmt: skip


def stack_drift(
    stack: StackName = None,
    section: EnvironmentName = None,
    mail: Annotated[
        bool, typer.Option("--mail", help="Tell those who get the stack's mails, where it differs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether somebody has changed the stack's resources beside deployments.

    CloudFormation compares them with the template that was deployed. Exit code 1: something differs, or could not be
    compared.
    """
    whom = say_whom()
    chosen = _of(stack, section)
    drift = resource_drift.detect(chosen.name)
    if mail and not drift.is_none:
        resource_drift.tell(chosen, drift, str(whom))
    if as_json:
        show_json(asdict(drift))
    else:
        show(resource_drift.report(chosen.name, drift))
    if not drift.is_none:
        raise typer.Exit(FAILED)


def smoke(
    stack: StackName = None,
    section: EnvironmentName = None,
    starts_run: Annotated[
        bool, typer.Option("--run/--no-run", help="Start a run first; or ask the endpoint alone.")
    ] = True,
    serves: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            callback=options.run_of,
            help="The run whose model has to serve, or @FILE of `perennial promote --write-run`; none is started.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try a deployed stack: start a run on the data that are there, and ask its endpoint about an example.

    Exit code 1: there are no data, the run failed, its model was rejected, another run's model serves than the one that
    has to, or the endpoint does not answer.
    """
    say_whom()
    chosen = _of(stack, section)
    if serves is not None:
        _require_serving(serves, chosen)
    record = _tried(chosen) if starts_run and serves is None else None
    is_well = record is None or record["status"] in history.SUCCESSES
    example, answer = _answered_example(chosen) if is_well else (None, None)
    if as_json:
        show_json({"run": record, "serves": serves, "asked": example, "answered": answer})
    else:
        run = {"run": f"{record['run_id']}: {record['status']}"} if record else {}
        promoted = {"serves": serves} if serves else {}
        why = {"because": history.reason(record)} if record and not is_well else {}
        exchange = {"asked": json.dumps(example), "answered": json.dumps(answer)} if is_well else {}
        pairs({**run, **promoted, **why, **exchange})
    if not is_well:
        raise typer.Exit(FAILED)


def _require_serving(run_id: str, stack: Stack) -> None:
    """Raise CommandError when the model of another run serves, or none does."""
    if (serving := known.exported(stack.name, "run")) != run_id:
        instead = f"that of run {serving} does" if serving else "none does"
        raise CommandError(f"the model of run {run_id} does not serve in {stack.name}; {instead}")


def _tried(stack: Stack) -> dict[str, Any]:
    """Start a run and return its record. Raises CommandError: there are no data."""
    record = following.outcome(stack, following.follow(history.start(stack, {"Trigger": {"Type": "Manual"}})))
    if record["status"] == NO_DATA:
        raise CommandError(f"{stack.name} has no data to be tried on: perennial copy-data, or perennial drop")
    return record


def _answered_example(stack: Stack) -> tuple[Any, Any]:
    """Return an example of a record, and what the endpoint answers to it."""
    example = serving_api.example(stack)
    (one,) = predictions.answers(stack, [predictions.Record(1, example)])
    return example, one.answer


def _of(stack: str | None, section: str | None) -> Stack:
    return known.chosen(stack or (deployment.environment(section).stack if section else None))


def delete(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of the stack.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a stack and everything that its runs made.

    What holds data (the bucket, the run table, their key, feature groups) stays, and is named at the end.
    """
    whom = say_whom()
    stack_id, outliving = delete_stack.described(stack)
    if not yes and not _confirmed(stack, str(whom)):
        show_json({"stack": stack, "deleted": False}) if as_json else show("nothing was deleted")
        raise typer.Exit(FAILED)
    with working(f"deleting {stack}"):
        delete_stack.delete(stack_id)
    if as_json:
        show_json({"stack": stack, "deleted": True, "kept": outliving})
        return
    show(f"deleted stack {stack}")
    show("kept: " + (", ".join(f"{name} {physical}".rstrip() for name, physical in outliving.items()) or "nothing"))
    if outliving:
        show(f"also kept: SAM's bucket and, if it served, the log group /aws/sagemaker/Endpoints/{stack}")


def _confirmed(stack: str, whom: str) -> bool:
    """Ask the person at the terminal. Raises DeletionError where there is none."""
    if not is_terminal():
        raise delete_stack.DeletionError(
            "nothing was deleted: there is no terminal to ask for the stack's name. To delete "
            f"{stack} all the same: --yes"
        )
    answer: str = typer.prompt(
        f"Delete {stack} in {whom} and what serves with it? Type its name", default="", show_default=False, err=True
    )
    return answer == stack
