"""State machines that cannot work are refused when they are made or changed, as on AWS.

MiniStack takes what is no JSON, states of unknown types, states that lead nowhere and machines without an end, and
ValidateStateMachineDefinition finds nothing. CloudFormation's way to make a state machine does not go through
CreateStateMachine, so it is asked here, too. A state that nothing leads to passes here.

Source: Step Functions API Reference, "ValidateStateMachineDefinitionDiagnostic"; AWS's answers, as recorded in
github.com/localstack/localstack (tests/aws/services/stepfunctions/v2/test_sfn_api_validation, pull request 12487),
github.com/floci-io/floci (pull request 2786) and github.com/aws/aws-cdk (25798). How AWS says that a state has neither
Next nor End is not known; the words are ours.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localcloud.engine.seams import Seams

responses = Seams("core.responses", error_response_json="8a1cabf9", json_response="4036e9b5")
provisioners = Seams("services.cloudformation.provisioners", _RESOURCE_HANDLERS="70ecdfd3", _sfn_definition="6e3f0922")
stepfunctions = Seams(
    "services.stepfunctions",
    _create_state_machine="9e50830c",
    _validate_definition_jsonata="11d0b6be",
    _validate_state_machine_definition="f11ca86c",
)

JsonObject = dict[str, Any]
_SCHEMA = "SCHEMA_VALIDATION_FAILED"
_REQUIRED = {
    "Task": ["Resource"],
    "Wait": [],
    "Pass": [],
    "Succeed": [],
    "Fail": [],
    "Choice": ["Choices"],
    "Parallel": ["Branches"],
    "Map": [],
}
"""The types of states, in AWS's order, and the fields that each of them must have."""
_ENDS = ("Succeed", "Fail")
_MOST_EXPRESSIONS = 10_000
_MACHINE_TYPES = ("STANDARD", "EXPRESS")


@dataclass(frozen=True)
class Diagnostic:
    """A diagnostic of ValidateStateMachineDefinition; `place` is a path into the definition."""

    code: str
    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" at {self.place}" if self.place else "")


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    stepfunctions.replace("_validate_definition_jsonata", _make_validate)
    stepfunctions.replace("_validate_state_machine_definition", lambda _: _validate_state_machine_definition)
    stepfunctions.replace("_create_state_machine", _make_create_state_machine)
    made = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]
    made["create"] = _make_create(made["create"])


def _make_validate(original: Any) -> Any:
    sound: set[str] = set()

    def validate(definition: Any) -> str | None:
        """Return why AWS refuses a definition (InvalidDefinition), if it does.

        Expressions that were sound before are not parsed again: a machine that is made of another has hundreds of them.
        """
        if diagnostics := problems(definition):
            return f"Invalid State Machine Definition: '{', '.join(map(str, diagnostics))}'"
        if (expressions := frozenset(_expressions(json.loads(definition)))) <= sound:
            return None
        invalid: str | None = original(definition)
        if invalid is None:
            if len(sound) > _MOST_EXPRESSIONS:
                sound.clear()
            sound.update(expressions)
        return invalid

    return validate


def _expressions(value: Any) -> Iterator[str]:
    """Yield the texts in which MiniStack looks for an expression."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _expressions(each)
    elif isinstance(value, str) and value.startswith("{%"):
        yield value


def _validate_state_machine_definition(data: JsonObject) -> Any:
    mistakes = problems(data.get("definition"))
    if not mistakes and (invalid := stepfunctions._validate_definition_jsonata(data.get("definition"))):
        code, _, message = invalid.partition(": ")
        mistakes = [Diagnostic(code, message)]
    diagnostics = [
        {"severity": "ERROR", "code": each.code, "message": each.message}
        | ({"location": each.place} if each.place else {})
        for each in mistakes
    ]
    return responses.json_response(
        {"result": "FAIL" if mistakes else "OK", "diagnostics": diagnostics, "truncated": False}
    )


def _make_create_state_machine(original: Any) -> Any:
    def create_state_machine(data: JsonObject) -> Any:
        if (kind := data.get("type", "STANDARD")) not in _MACHINE_TYPES:
            return responses.error_response_json(
                "ValidationException",
                f"1 validation error detected: Value '{kind}' at 'type' failed to satisfy constraint: Member must "
                f"satisfy enum value set: [{', '.join(_MACHINE_TYPES)}]",
                400,
            )
        return original(data)

    return create_state_machine


def _make_create(original: Any) -> Any:
    def create(logical_id: str, props: JsonObject, stack_name: str) -> Any:
        if problem := stepfunctions._validate_definition_jsonata(provisioners._sfn_definition(props)):
            raise ValueError(
                f'Resource handler returned message: "{problem} (Service: AWSStepFunctions; Status Code: 400; '
                'Error Code: InvalidDefinition)"'
            )
        return original(logical_id, props, stack_name)

    return create


def problems(definition: Any) -> list[Diagnostic]:
    """Return what AWS finds wrong with a definition (a text), other than in its expressions."""
    try:
        machine = json.loads(definition) if definition else None
    except (ValueError, TypeError, RecursionError) as error:
        return [Diagnostic("INVALID_JSON_DESCRIPTION", str(error))]
    if not isinstance(machine, dict):
        return [Diagnostic(_SCHEMA, "Definition must be a valid JSON object")]
    if malformed := list(_malformed(machine, "")):
        return malformed
    missing = list(_missing_targets(machine, ""))
    ends = any(state["Type"] in _ENDS or state.get("End") is True for state in machine["States"].values())
    return missing if ends else [*missing, Diagnostic("MISSING_END_STATE", "Workflow has no terminal state")]


def _malformed(machine: JsonObject, path: str) -> Iterator[Diagnostic]:
    """Yield the mistakes in the form of a machine or a branch; branches have states of their own."""
    if missing := [name for name in ("States", "StartAt") if name not in machine]:
        yield Diagnostic(_SCHEMA, f"These fields are required: [{', '.join(missing)}]", path or "/")
        return
    states = machine["States"]
    if not isinstance(states, dict) or not states:
        yield Diagnostic(_SCHEMA, "Value cannot be empty", f"{path}/States")
        return
    for name, state in states.items():
        here = f"{path}/States/{name}"
        kind = state.get("Type") if isinstance(state, dict) else None
        if not isinstance(kind, str) or kind not in _REQUIRED:
            types = ", ".join(_REQUIRED)
            yield Diagnostic(_SCHEMA, f"The field 'Type' should have one of these values: [{types}]", f"{here}/Type")
            continue
        if absent := [field for field in _REQUIRED[kind] if field not in state]:
            yield Diagnostic(_SCHEMA, f"These fields are required: [{', '.join(absent)}]", here)
        if kind not in ("Choice", *_ENDS) and ("Next" in state) is (state.get("End") is True):
            yield Diagnostic(_SCHEMA, "Exactly one of these fields is required: [Next, End]", here)
        for inner_at, inner in _parts(state, "Branches", "ItemProcessor", "Iterator"):
            yield from _malformed(inner, here + inner_at)


def _missing_targets(machine: JsonObject, path: str) -> Iterator[Diagnostic]:
    """Each transition to a state that does not exist."""
    states = machine["States"]
    steps = [(f"{path}/StartAt", machine["StartAt"])]
    for name, state in states.items():
        here = f"{path}/States/{name}"
        rules = [("", state), *_parts(state, "Choices", "Catch")]
        steps += [
            (f"{here}{rule_at}/{word}", rule.get(word)) for rule_at, rule in rules for word in ("Next", "Default")
        ]
        for inner_at, inner in _parts(state, "Branches", "ItemProcessor", "Iterator"):
            yield from _missing_targets(inner, here + inner_at)
    for where, target in steps:
        if isinstance(target, str) and target not in states:
            yield Diagnostic("MISSING_TRANSITION_TARGET", f"Missing 'Next' target: {target}", where)


def _parts(owner: JsonObject, *names: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield the objects under these names, and in lists under them, each with its place in `owner`."""
    for name in names:
        value = owner.get(name)
        if isinstance(value, dict):
            yield f"/{name}", value
        elif isinstance(value, list):
            yield from ((f"/{name}[{number}]", item) for number, item in enumerate(value) if isinstance(item, dict))
