"""GitHub's workflows, as they are written: what their jobs run, and a promotion as GitHub runs it."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
ON = True  # as YAML reads "on"

Run = Callable[[str, str, dict[str, str]], bool]
"""Runs a step of an environment with variables of its own; returns whether it went well."""


def jobs(workflow: str) -> dict[str, Any]:
    jobs: dict[str, Any] = WORKFLOWS[workflow]["jobs"]
    return jobs


def runs(workflow: str, job: str, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a job that run something, without those whose condition is an input that is not set."""
    steps = [step for step in jobs(workflow)[job]["steps"] if "run" in step]
    return [step for step in steps if "if" not in step or inputs.get(step["if"].removeprefix("inputs."))]


def commands(workflow: str, job: str, inputs: Mapping[str, Any]) -> list[str]:
    return [step["run"] for step in runs(workflow, job, inputs)]


def promote(
    run: Run, output: Path, event: Mapping[str, str], of_environments: Mapping[str, Mapping[str, str]] | None = None
) -> list[str]:
    """Run promote.yml and return the environments whose jobs have gone well.

    A job gives its outputs to those that need it, which else do not run; a step that fails ends its job.

    output           where a step writes what the next ones read
    event            what expressions about what has started it are, such as `inputs.version`
    of_environments  the variables of the environments of the repository
    """
    outputs: dict[str, str] = {}
    ended = []
    (called,) = jobs("promote-to").values()
    for name, job in jobs("promote").items():
        if job.get("needs", name) not in (name, *ended):
            continue
        inputs = _evaluated(job["with"], {**outputs, **event})
        own = (of_environments or {}).get(inputs["environment"], {})
        context = {f"inputs.{key}": value for key, value in inputs.items()}
        variables = _evaluated(called["env"], {**context, **{f"vars.{key}": value for key, value in own.items()}})
        steps: dict[str, str] = {}
        for step in runs("promote-to", "promote", job["with"]):
            output.write_text("")
            of_step = {**variables, **_evaluated(step.get("env", {}), steps), "GITHUB_OUTPUT": str(output)}
            if not run(inputs["environment"], step["run"], of_step):
                break
            steps |= _named(f"steps.{step.get('id')}", output.read_text().splitlines())
        else:
            of_job = _evaluated(called["outputs"], steps)
            given = _named("jobs.promote", [f"{key}={value}" for key, value in of_job.items()])
            of_workflow = WORKFLOWS["promote-to"][ON]["workflow_call"]["outputs"]
            of_call = _evaluated({key: one["value"] for key, one in of_workflow.items()}, given)
            outputs |= _named(f"needs.{name}", [f"{key}={value}" for key, value in of_call.items()])
            ended.append(name)
    return ended


def _named(prefix: str, lines: Iterable[str]) -> dict[str, str]:
    return {f"{prefix}.outputs.{key}": value for key, _, value in (line.partition("=") for line in lines)}


def _evaluated(texts: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    return {name: evaluated(text, known) for name, text in texts.items()}


def evaluated(text: Any, known: Mapping[str, str]) -> str:
    """Return a text of a workflow with its expressions replaced by what is known; nothing is known of the others."""

    def value(expression: str) -> str:
        alternatives = (re.sub(r"format\('\{0\}', (\S+)\)", r"\1", one) for one in expression.split(" || "))
        return next((known[one] for one in alternatives if known.get(one)), "")

    return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: value(match[1]), str(text))
