"""State machines whose transitions lead nowhere are refused when they are made or changed, as on AWS.

MiniStack takes them, and an execution fails when it comes there. CloudFormation's way to make a state machine does not
go through CreateStateMachine, so it is asked here, too. A state that nothing leads to passes here.
Source: AWS's answers, as quoted in github.com/localstack/localstack/pull/12487 and github.com/aws/aws-cdk (25798).
"""

import json
from collections.abc import Iterator
from typing import Any

from localcloud.engine.seams import replace

JsonObject = dict[str, Any]


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    from ministack.services.cloudformation import provisioners

    replace("services.stepfunctions", "_validate_definition_jsonata", _make_validate)
    made = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]
    made["create"] = _make_create(made["create"])


def _make_validate(original: Any) -> Any:
    def validate(definition: Any) -> str | None:
        """Why AWS refuses a definition (InvalidDefinition), if it does."""
        if invalid := original(definition):
            return str(invalid)
        try:
            machine = json.loads(definition)
        except (ValueError, TypeError, RecursionError):
            return None  # that is MiniStack's to say
        found = list(missing_targets(machine)) if isinstance(machine, dict) else []
        return f"Invalid State Machine Definition: '{', '.join(found)}'" if found else None

    return validate


def _make_create(original: Any) -> Any:
    def create(logical_id: str, props: JsonObject, stack_name: str) -> Any:
        from ministack.services import stepfunctions
        from ministack.services.cloudformation import provisioners

        if problem := stepfunctions._validate_definition_jsonata(provisioners._sfn_definition(props)):
            raise ValueError(
                f'Resource handler returned message: "{problem} (Service: AWSStepFunctions; Status Code: 400; '
                'Error Code: InvalidDefinition)"'
            )
        return original(logical_id, props, stack_name)

    return create


def missing_targets(machine: JsonObject, path: str = "") -> Iterator[str]:
    """What AWS says of each transition to a state that does not exist; branches have states of their own."""
    states: JsonObject = next((found for _, found in _parts(machine, "States")), {})
    steps = [(f"{path}/StartAt", machine.get("StartAt"))]
    for at, state in _parts(states, *states):
        here = f"{path}/States{at}"
        rules = [("", state), *_parts(state, "Choices", "Catch")]
        steps += [
            (f"{here}{rule_at}/{word}", rule.get(word)) for rule_at, rule in rules for word in ("Next", "Default")
        ]
        for inner_at, inner in _parts(state, "Branches", "ItemProcessor", "Iterator"):
            yield from missing_targets(inner, here + inner_at)
    for where, target in steps:
        if isinstance(target, str) and target not in states:
            yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at {where}"


def _parts(owner: JsonObject, *names: str) -> Iterator[tuple[str, JsonObject]]:
    """The objects under these names, and in lists under them, each with its place in `owner`."""
    for name in names:
        found = owner.get(name)
        if isinstance(found, dict):
            yield f"/{name}", found
        elif isinstance(found, list):
            yield from ((f"/{name}[{number}]", item) for number, item in enumerate(found) if isinstance(item, dict))
