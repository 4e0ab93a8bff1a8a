"""What state machines and functions say to one another: payloads and what is read of answers, by declared types."""

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from perennial_aws import payloads
from tests.unit.conftest import ROOT, load_function
from tools import asl

MACHINES = {path.name: asl.parse(path.read_text()) for path in sorted(ROOT.glob("statemachines/*.asl.json"))}
PATH = r"((?:\.[A-Za-z]\w*)+)"
LITERALS = re.compile(r"\$(?P<name>\w*)" + PATH + r" (?:=|!=|in) (?P<literals>'[^']*'|\[[^\]]*\])")


def calls(machine: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(state, folder of its function, the state) for each state that calls a function."""
    for name, body in asl.states(machine):
        if ":lambda:invoke" in body.get("Resource", ""):
            stem = re.fullmatch(r"\$\{(\w+)FunctionArn\}", body["Arguments"]["FunctionName"])[1]  # type: ignore[index]
            yield name, re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower(), body


def resolved(kind: Any, path: list[str]) -> list[Any]:
    """The types that a path may have; none where no type has it. What is not described further is Any."""
    if kind is Any or not path:
        return [kind]
    if get_origin(kind) in (Union, UnionType):
        return [found for one in get_args(kind) for found in resolved(one, path)]
    if get_origin(kind) is dict:
        return resolved(get_args(kind)[1], path[1:])
    known = get_type_hints(kind) if isinstance(kind, type) and kind.__module__ != "builtins" else {}
    return resolved(known[path[0]], path[1:]) if path[0] in known else []


def literals(kinds: list[Any]) -> set[Any] | None:
    """The values of which one must be; None where a type has no end of them."""
    found: set[Any] = set()
    for kind in kinds:
        if get_origin(kind) is not Literal:
            return None
        found |= set(get_args(kind))
    return found


def variables(machine: dict[str, Any]) -> dict[str, list[Any]]:
    """The types of the variables that hold a whole answer."""
    known: dict[str, list[Any]] = {}
    for _, function, body in calls(machine):
        for name, value in body.get("Assign", {}).items():
            if value == "{% $states.result.Payload %}":
                known.setdefault(name, []).append(load_function(function).Answer)
    return known


def wrong(machine: dict[str, Any]) -> list[str]:
    """What a state machine sends or reads that no type declares."""
    found = []
    for name, function, body in calls(machine):
        request = load_function(function).Request
        payload, declared = set(body["Arguments"]["Payload"]), {one.name for one in fields(request)}
        required = {one.name for one in fields(request) if one.default is MISSING}
        found += [f"{name}: sends {key!r}, which {function} does not take" for key in sorted(payload - declared)]
        found += [f"{name}: does not send {key!r}, which {function} needs" for key in sorted(required - payload)]
    known = variables(machine)
    for name, body in asl.states(machine):
        own = [load_function(function).Answer for state, function, _ in calls(machine) if state == name]
        answers = {**known, "": own} if own else known
        for _, text in asl.strings(body):
            text = text.replace("$states.result.Payload", "$")
            for variable, path in re.findall(r"\$(\w*)" + PATH, text):
                if variable in answers and not _types(answers[variable], path):
                    found.append(f"{name}: reads ${variable}{path}, which no answer has")
            for variable, path, said in LITERALS.findall(text):
                allowed = literals(_types(answers.get(variable, [Any]), path))
                values = set(re.findall(r"'([^']*)'", said))
                if allowed is not None and values - allowed:
                    found.append(f"{name}: compares ${variable}{path} with {sorted(values - allowed)}")
    return found


def _types(answers: list[Any], path: str) -> list[Any]:
    return [kind for answer in answers for kind in resolved(answer, path.strip(".").split("."))]


@pytest.mark.parametrize("name", MACHINES)
def test_a_state_machine_sends_and_reads_what_its_functions_declare(name: str) -> None:
    assert wrong(MACHINES[name]) == []


@pytest.mark.parametrize(
    ("right", "misspelt", "said"),
    [
        (
            '"TrainingJobName": "{% $trainingJobName',
            '"TrainingJob": "{% $trainingJobName',
            "does not send 'TrainingJobName'",
        ),
        ('"TrainingJobName": "{% $trainingJobName', '"TrainingJob": "{% $trainingJobName', "sends 'TrainingJob'"),
        ("$run.Withheld = null", "$run.Witheld = null", "reads $run.Witheld, which no answer has"),
        ("$run.Instances.Train", "$run.Instances.Training", "reads $run.Instances.Training, which no answer has"),
        ("$states.result.Payload.Uri", "$states.result.Payload.URI", "reads $.URI, which no answer has"),
        ("$turn.Turn = 'Compare'", "$turn.Turn = 'Compared'", "compares $turn.Turn with ['Compared']"),
        ("'AlreadyTrained', 'NoData'", "'AlreadyTrained', 'NoDate'", "compares $run.Decision with ['NoDate']"),
        (
            "Payload.Action in ['Update', 'Wait']",
            "Payload.Action in ['Update', 'Waits']",
            "compares $.Action with ['Waits']",
        ),
    ],
)
def test_a_misspelt_key_or_literal_is_named(right: str, misspelt: str, said: str) -> None:
    text = json.dumps(MACHINES["train_model.asl.json"], ensure_ascii=False)
    assert right in text
    assert any(said in one for one in wrong(json.loads(text.replace(right, misspelt))))


def test_a_run_that_began_before_an_update_may_send_what_is_no_longer_taken() -> None:
    request = load_function("clean_up").Request
    assert payloads.read(request, {"RunId": "one", "Name": "of an earlier version"}) == request(RunId="one")
    with pytest.raises(TypeError, match="'RunId'"):
        payloads.read(request, {"Name": "of an earlier version"})
