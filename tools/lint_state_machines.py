"""Check statemachines/*.asl.json for mistakes that nothing else finds before an execution meets them.

    python -m tools.lint_state_machines [FILE ...]

Prints one line for each problem and exits with 1 if there is any. sam validate and cfn-lint do not look into the state
machines of AWS::StepFunctions::StateMachine, and CreateStateMachine accepts most of these mistakes.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonata
from statelint.config import Config
from statelint.linter import Linter
from statelint.problem import ProblemType

from tools import asl, aws_api, cfn
from tools.terminal import run

ROOT = Path(__file__).parents[1]
KEY_ORDER = (
    *("Type", "Comment", "Resource", "Arguments", "Seconds", "Items", "MaxConcurrency", "Branches", "ItemProcessor"),
    *("Choices", "Default", "Error", "Cause", "Assign", "Output", "TimeoutSeconds", "Retry", "Catch", "Next", "End"),
)
STATES_ERRORS = {
    f"States.{name}"
    for name in (
        *("ALL", "TaskFailed", "Timeout", "Permissions", "QueryEvaluationError", "HeartbeatTimeout"),
        *("ExceedToleratedFailureThreshold", "ItemReaderFailed", "ResultWriterFailed"),
    )
}
# Developer Guide, "Handle transient Lambda service exceptions"; a function that is over its time is Sandbox.Timedout.
LAMBDA_ERRORS = {"Lambda.Unknown", "Sandbox.Timedout"} | {
    f"Lambda.{name}Exception"
    for name in ("Service", "AWSLambda", "SdkClient", "TooManyRequests", "ClientExecutionTimeout")
}
# An error that says that what was asked for is done: Step Functions API Reference, StartExecution.
ALREADY_DONE = ["StepFunctions.ExecutionAlreadyExistsException"]
# What a Catch hands on that adds nothing to the error but the state's name.
UNCHANGED = (
    *(None, "{% $states.errorOutput %}"),
    "{% $merge([$states.errorOutput, {'State': $states.context.State.Name}]) %}",
)
WILDCARDS = {"States.ALL", "States.TaskFailed"}
RETRY_FIELDS = ("IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy")
# Job names end with the retry count, and their 63 characters have room for two digits.
MOST_ATTEMPTS = 99


@dataclass(frozen=True)
class Machine:
    """One state machine file and what belongs to it."""

    name: str
    text: str
    substitutions: frozenset[str] | None
    own_errors: frozenset[str]

    @cached_property
    def definition(self) -> dict[str, Any]:
        """The definition with sample values in the places of the substitutions."""
        return asl.parse(asl.substituted(self.text))

    @cached_property
    def assigned(self) -> dict[str, list[Any]]:
        """Everything that is assigned to each variable anywhere."""
        values: dict[str, list[Any]] = {}
        for _, body in asl.states(self.definition):
            for holder in (body, *body.get("Choices", []), *body.get("Catch", [])):
                for name, value in holder.get("Assign", {}).items():
                    values.setdefault(name, []).append(value)
        return values


Rule = Callable[[Machine], Iterator[str]]


def structure(machine: Machine) -> Iterator[str]:
    """Yield the Amazon States Language itself, by statelint."""
    # FLOAT: statelint refuses "BackoffRate": 2, which the language allows.
    config = Config(ignored_problem_types={ProblemType.FLOAT})
    definition = copy.deepcopy(machine.definition)
    for _, body in asl.states(definition):
        # statelint does not know that these may be expressions.
        for field in ("Seconds", "TimeoutSeconds"):
            if asl.expression(body.get(field)) is not None:
                body[field] = 1
    yield from Linter.validate(definition, config)


def expressions(machine: Machine) -> Iterator[str]:
    """JSONata that cannot be parsed, is not delimited, or reads a document that is not there."""
    for name, body in asl.states(machine.definition):
        for path, text in asl.strings(body):
            code = asl.expression(text)
            if code is None:
                if "{%" in text or "%}" in text:
                    yield f"{_at(name)}{path}: an expression is the whole text, from {{% to %}}; got {text!r}"
                continue
            try:
                tree = asl.tree(code)
            except jsonata.JException as error:
                yield f"{_at(name)}{path}: {error} in {code!r}"
                continue
            for bare in asl.bare_names(tree):
                yield f"{_at(name)}{path}: {bare!r} reads a document, and Step Functions has none; write ${bare}?"


def variables(machine: Machine) -> Iterator[str]:
    """Variables that are not assigned on every path to where they are read, and those that nobody reads."""
    builtins = asl.builtins()
    read: set[str] = set()
    before = _assigned_before(machine.definition)
    for name, body in asl.states(machine.definition):
        for path, text in asl.strings(body):
            free = _free_variables(text) - builtins
            read |= free
            for missing in sorted(free - before.get(name, free)):
                known = "not assigned on every path to here" if missing in machine.assigned else "assigned nowhere"
                yield f"{_at(name)}{path}: ${missing} is {known}"
    for unread in sorted(set(machine.assigned) - read):
        yield f"${unread} is assigned and never read"


def _free_variables(text: str) -> set[str]:
    code = asl.expression(text)
    if code is None:
        return set()
    try:
        return asl.free_variables(asl.tree(code))
    except jsonata.JException:
        return set()  # reported by `expressions`


def _assigned_before(definition: dict[str, Any]) -> dict[str, set[str]]:
    """Return for each reachable state the variables that are assigned whichever way it was reached."""
    before: dict[str, set[str]] = {}
    for flow in asl.flows(definition):  # outer flows first: what they assign, inner ones read
        before[flow.start] = set(before.get(flow.owner or "", set()))
        waiting = [flow.start]
        while waiting:
            name = waiting.pop()
            for edge in asl.edges(flow.states.get(name, {})):
                after = before[name] | edge.assigns
                common = after & before[edge.target] if edge.target in before else after
                if common != before.get(edge.target):
                    before[edge.target] = common
                    waiting.append(edge.target)
    return before


def calls(machine: Machine) -> Iterator[str]:
    """Actions and arguments that botocore's service models do not know."""
    for name, body in _tasks(machine):
        try:
            call = aws_api.call(body.get("Resource", ""))
        except aws_api.UnknownCallError as error:
            yield f"{_at(name)}{error}"
            continue
        arguments = _arguments(machine, body.get("Arguments", {}))
        if arguments is None:
            yield f"{_at(name)}Arguments cannot be checked: write an object, or $merge of objects and variables"
            continue
        for problem in aws_api.argument_problems(arguments, call.shape):
            yield f"{_at(name)}{problem}"


def _arguments(machine: Machine, arguments: Any) -> dict[str, Any] | None:
    """Return the arguments as one object, with {% %} for what only an execution knows; None if that cannot be seen."""
    code = asl.expression(arguments)
    if code is None:
        return arguments if isinstance(arguments, dict) else None
    try:
        tree = asl.tree(code)
    except jsonata.JException:
        return {}  # reported by `expressions`
    if tree.type != "function" or tree.procedure.value != "merge" or tree.arguments[0].value != "[":
        return None
    merged: dict[str, Any] = {}
    for operand in tree.arguments[0].expressions:
        if operand.type == "variable":
            for value in machine.assigned.get(operand.value, []):
                merged |= value if isinstance(value, dict) else {}
        elif operand.value == "{":
            merged |= {key.value: "{% %}" for key, _ in operand.lhs_object}
    return merged


def partition(machine: Machine) -> Iterator[str]:
    """ARNs of one partition only."""
    for name, body in asl.states(asl.parse(machine.text)):
        for path, text in asl.strings(body):
            if "arn:aws" in text:
                yield f"{_at(name)}{path}: write arn:${{Partition}}:..., for China and GovCloud"


def substitution(machine: Machine) -> Iterator[str]:
    """${Names} that the template does not define, and those it defines for nobody."""
    if machine.substitutions is None:
        yield "no AWS::StepFunctions::StateMachine in template.yaml has this file as its DefinitionS3Location"
        return
    used = asl.substitutions(machine.text)
    for name in sorted(used - machine.substitutions):
        yield f"${{{name}}} is not among the DefinitionSubstitutions in template.yaml"
    for name in sorted(machine.substitutions - used):
        yield f"template.yaml defines the substitution {name}, which nothing here uses"


def safety_nets(machine: Machine) -> Iterator[str]:
    """Tasks without time limit or retry; a Catch that leaves errors out; Choice without Default."""
    if "TimeoutSeconds" not in machine.definition:
        yield "the state machine has no TimeoutSeconds: a loop could run, and cost, for a year"
    for name, body in asl.states(machine.definition):
        kind = body.get("Type")
        for field in ("TimeoutSeconds", "Retry") if kind == "Task" else ():
            if not body.get(field):
                yield f"{_at(name)}a Task needs {field}"
        if "Catch" in body and (body["Catch"] or [{}])[-1].get("ErrorEquals") not in (["States.ALL"], ALREADY_DONE):
            yield f'{_at(name)}the last entry of a Catch is for ["States.ALL"], or it leaves errors out'
        if kind == "Choice" and "Default" not in body:
            yield f"{_at(name)}a Choice needs a Default, or what no rule expects ends as States.NoChoiceMatched"


def true_states(machine: Machine) -> Iterator[str]:
    """Yield each Catch that only hands the error on, and each state that has none and needs one.

    After a Catch that does, another state is the failed one. Where states run beside each other, the error of the state
    around them does not say which has failed.
    """
    bodies = dict(asl.states(machine.definition))
    for flow in asl.flows(machine.definition):
        around = bodies.get(flow.owner or "", {"MaxConcurrency": 1})
        side_by_side = around.get("MaxConcurrency") != 1
        for name, body in flow.states.items():
            if body.get("Type") in ("Task", "Parallel", "Map") and side_by_side and not body.get("Catch"):
                yield f"{_at(name)}a state of a branch needs a Catch that names it: others run beside it"
            for catcher in body.get("Catch", []) if not side_by_side else ():
                if _only_hands_on(catcher, flow.states.get(catcher.get("Next", ""), {})):
                    yield f"{_at(name)}this Catch only hands the error on: without it the state itself fails"


def _only_hands_on(catcher: dict[str, Any], following: dict[str, Any]) -> bool:
    is_handed_on = following.get("Type") == "Fail" and following.get("Error") == "{% $states.input.Error %}"
    return is_handed_on and not catcher.get("Assign") and catcher.get("Output") in UNCHANGED


def failures(machine: Machine) -> Iterator[str]:
    """Ways from an error to a success, other than to try the state again, or to find that it has worked after all.

    Where the error itself says so (ALREADY_DONE), its Catch may lead to one.
    """
    for flow in asl.flows(machine.definition):
        for name, body in flow.states.items():
            for edge in asl.edges(body):
                if edge.kind != "catch" or edge.target in _already_done(body):
                    continue
                for end in flow.reachable(_when_given_up(flow, name, edge.target)):
                    body_at_end = flow.states.get(end, {})
                    if body_at_end.get("Type") == "Succeed" or body_at_end.get("End"):
                        yield f"{_at(name)}an error caught here can reach {end!r}, which is no Fail"


def _already_done(body: dict[str, Any]) -> set[str]:
    return {one.get("Next", "") for one in body.get("Catch", []) if one.get("ErrorEquals") == ALREADY_DONE}


def _when_given_up(flow: asl.Flow, name: str, target: str) -> str:
    """Return where an error leads that is not tried again.

    That is the Default of a Choice whose rules all lead back to the state; of a description of what the state may have
    made, the last of its own Catch.
    """
    body = flow.states.get(target, {})
    if ":describe" in str(body.get("Resource")):
        return str(body["Catch"][-1]["Next"])
    back = [name in flow.reachable(choice.get("Next", "")) for choice in body.get("Choices", [])]
    return str(body.get("Default", target)) if back and all(back) else target


def retries(machine: Machine) -> Iterator[str]:
    """Retries of errors that are not transient, without jitter or bounds; job names that a retry would use twice."""
    for name, body in _tasks(machine):
        for retrier in body.get("Retry", []):
            for error in WILDCARDS & set(retrier.get("ErrorEquals", [])):
                yield f"{_at(name)}Retry names {error}: name the transient errors, others fail again"
            for field in RETRY_FIELDS:
                if field not in retrier:
                    yield f"{_at(name)}Retry of {retrier.get('ErrorEquals')} has no {field}"
            if retrier.get("JitterStrategy", "FULL") != "FULL":
                yield f"{_at(name)}JitterStrategy is {retrier['JitterStrategy']!r}; FULL spreads retries out"
        yield from _job_name_problems(name, body)


def _job_name_problems(name: str, body: dict[str, Any]) -> Iterator[str]:
    if not re.search(r"sagemaker:create\w+Job\b", body.get("Resource", "")):
        return
    if "$states.context.State.RetryCount" not in json.dumps(body.get("Arguments", "")):
        yield f"{_at(name)}the job's name needs $states.context.State.RetryCount: a name is used once"
    attempts = sum(retrier.get("MaxAttempts", 3) for retrier in body.get("Retry", []))
    if attempts > MOST_ATTEMPTS:
        yield f"{_at(name)}{attempts} retries: the job's name has room for {MOST_ATTEMPTS}"


def error_names(machine: Machine) -> Iterator[str]:
    """Yield names in Retry and Catch under which no error will ever come."""
    known = STATES_ERRORS | LAMBDA_ERRORS | machine.own_errors
    known |= {body["Error"] for _, body in asl.states(machine.definition) if body.get("Type") == "Fail"}
    for name, body in asl.states(machine.definition):
        errors = known | _errors_of_calls(body)
        for handler in (*body.get("Retry", []), *body.get("Catch", [])):
            for error in handler.get("ErrorEquals", []):
                if error not in errors:
                    yield f"{_at(name)}{error!r} is no error that can happen here"


def _errors_of_calls(body: dict[str, Any]) -> set[str]:
    errors: set[str] = set()
    bodies = [body, *(inner for machine in asl.inner_machines(body) for _, inner in asl.states(machine))]
    for task in (b for b in bodies if b.get("Type") == "Task"):
        try:
            errors |= aws_api.call(task.get("Resource", "")).errors
        except aws_api.UnknownCallError:
            continue  # reported by `calls`
    return errors


def key_order(machine: Machine) -> Iterator[str]:
    """States whose keys are not in the order of the house."""
    for name, body in asl.states(machine.definition):
        keys = [key for key in body if key in KEY_ORDER]
        if keys != sorted(keys, key=KEY_ORDER.index):
            order = ", ".join(sorted(keys, key=KEY_ORDER.index))
            yield f"{_at(name)}keys are {', '.join(keys)}; their order is {order}"


def _tasks(machine: Machine) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, body) for name, body in asl.states(machine.definition) if body.get("Type") == "Task")


def _at(name: str) -> str:
    return f'"{name}": '


RULES: tuple[Rule, ...] = (
    *(structure, expressions, variables, calls, partition, substitution),
    *(safety_nets, true_states, failures, retries, error_names, key_order),
)


def problems(machine: Machine) -> list[str]:
    """Return what is wrong with a state machine; empty if nothing is."""
    for text in (machine.text, asl.substituted(machine.text)):
        try:
            asl.parse(text)
        except ValueError as error:
            return [f"not valid JSON: {error}"]
    return [problem for rule in RULES for problem in rule(machine)]


def machine_of(path: Path, template: dict[str, Any], own_errors: frozenset[str]) -> Machine:
    """Return the state machine in a file of the project."""
    uri = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else path.as_posix()
    resources = cfn.resources(template, "AWS::StepFunctions::StateMachine").values()
    defined = [set(r["Properties"].get("DefinitionSubstitutions", {})) for r in resources if _definition(r) == uri]
    return Machine(uri, path.read_text(), frozenset(defined[0]) if defined else None, own_errors)


def _definition(resource: dict[str, Any]) -> Any:
    return resource["Properties"].get("DefinitionS3Location")


def own_errors(root: Path) -> frozenset[str]:
    """Return the names of the exceptions that the functions can raise: classes whose name ends in Error."""
    files = [path for folder in ("functions", "perennial", "perennial_aws") for path in root.glob(f"{folder}/**/*.py")]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return frozenset(n.name for n in nodes if isinstance(n, ast.ClassDef) and n.name.endswith("Error"))


def main(argv: list[str]) -> int:
    """Check the given files, or all. Return the exit code."""
    paths = [Path(argument) for argument in argv] or sorted(ROOT.glob("statemachines/*.asl.json"))
    if not paths:
        sys.stderr.write("no statemachines/*.asl.json\n")
        return 1
    template, errors = cfn.load(ROOT / "template.yaml"), own_errors(ROOT)
    listed = [(path, p) for path in paths for p in problems(machine_of(path, template, errors))]
    for path, problem in listed:
        sys.stderr.write(f"{path}: {problem}\n")
    return 1 if listed else 0


if __name__ == "__main__":
    run(main, sys.argv[1:])
