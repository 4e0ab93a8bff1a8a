"""Stacks: deploy, delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perennial_cli import check_models, delete_stack, deployment, project, serving_api
from perennial_cli import stacks as known
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, ModelName, Yes
from perennial_cli.console import FAILED, notice, pairs, show, show_json, working


def deploy(
    model: ModelName,
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack",
            "-s",
            envvar="PERENNIAL_STACK",
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
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check a model, build its stack and deploy it, to the local cloud or to AWS.

    On AWS it asks first; where the section has confirm_changeset, about the change set.
    """
    folder = project.model_folder(model)
    if not check_models.are_sound([folder], sys.stderr if as_json else None):
        raise typer.Exit(FAILED)
    whom = say_whom()
    chosen_section = section or ("local" if whom.is_local else "default")
    named, confirms = deployment.of_section(chosen_section, folder.resolve().name)
    name = stack or (named if section else None) or deployment.stack_name(folder.resolve().name)
    asks = not whom.is_local and not yes
    if asks and not confirms:
        typer.confirm(f"Deploy {name} to {whom}?", abort=True, err=True)
    deployment.deploy(
        deployment.Deployment(folder.resolve().name, name, chosen_section, whom.is_local, asks and confirms)
    )
    chosen = known.chosen(name)
    if as_json:
        show_json({"stack": chosen.name, "outputs": dict(chosen.outputs)})
        return
    api = serving_api.url_of(chosen, whom.endpoint_url)
    data = f"s3://{chosen.outputs['DataBucketName']}/{chosen.outputs['DataPrefix']}"
    pairs({"stack": chosen.name, "data": data, **({"api": api} if api else {})})
    notice(f"Next: `perennial drop FILE{f' --stack {chosen.name}' if stack else ''}` puts data there, and a run starts")


def delete(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of the stack.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a stack and everything that its runs made.

    What holds data (the bucket, the run table, their key) stays, and is named at the end.
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
    show("kept: " + (", ".join(f"{name} {physical}" for name, physical in outliving.items()) or "nothing"))
    if outliving:
        show(f"also kept: SAM's bucket and, if it served, the log group /aws/sagemaker/Endpoints/{stack}")


def _confirmed(stack: str, whom: str) -> bool:
    """Ask the person at the terminal. Raises DeletionError where there is none."""
    if not _is_terminal():
        raise delete_stack.DeletionError(
            "nothing was deleted: there is no terminal to ask for the stack's name. To delete "
            f"{stack} all the same: --yes"
        )
    answer: str = typer.prompt(
        f"Delete {stack} in {whom} and what serves with it? Type its name", default="", show_default=False, err=True
    )
    return answer == stack


def _is_terminal() -> bool:
    return sys.stdin.isatty()
