"""When the expressions of a state machine are parsed."""

import json
from typing import Any

import pytest

from localcloud.engine.stepfunctions import definitions


def machine(*expressions: str) -> str:
    """A definition with these expressions, at different depths."""
    first, *others = expressions
    state = {"Type": "Pass", "Output": {"first": first, "others": [{"each": each} for each in others]}, "End": True}
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "Only", "States": {"Only": state}})


@pytest.fixture
def parsed() -> list[str]:
    """The definitions whose expressions were parsed."""
    return []


@pytest.fixture
def validate(parsed: list[str]) -> Any:
    """What refuses each definition that holds the text `broken`."""

    def parse(definition: str) -> str | None:
        parsed.append(definition)
        return "INVALID_JSONATA_EXPRESSION: ..." if "broken" in definition else None

    return definitions._make_validate(parse)


def test_expressions_that_were_sound_are_not_parsed_again(validate: Any, parsed: list[str]) -> None:
    known = machine("{% $a %}", "{% $b %}", "{% $c %}")
    assert [validate(known), validate(machine("{% $c %}", "no expression, $a"))] == [None, None]
    assert parsed == [known]


def test_one_expression_that_is_new_has_its_definition_parsed(validate: Any, parsed: list[str]) -> None:
    given = [machine("{% $a %}"), machine("{% $a %}", "{% $b %}")]
    assert [validate(each) for each in given] == [None, None]
    assert parsed == given


def test_a_definition_that_was_refused_is_refused_again(validate: Any) -> None:
    assert validate(machine("{% $a %}")) is None
    for _ in range(2):
        assert str(validate(machine("{% $a %}", "{% broken %}"))).startswith("INVALID_JSONATA_EXPRESSION")
