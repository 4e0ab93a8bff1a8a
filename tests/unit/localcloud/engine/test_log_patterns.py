"""Filter patterns of CloudWatch Logs, with the examples of the User Guide."""

import json
from typing import Any

import pytest

from localcloud.engine.logs.patterns import UnsupportedError, matcher

LINES = [
    "[ERROR 400] BAD REQUEST",
    "[ERROR 401] UNAUTHORIZED REQUEST",
    "[ERROR 419] MISSING ARGUMENTS",
    "[ERROR 420] INVALID ARGUMENTS",
    "[info] error free",
]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("ERROR", [0, 1, 2, 3]),
        ("error", [4]),
        ("ERROR ARGUMENTS", [2, 3]),
        ("ERROR -ARGUMENTS", [0, 1]),
        ("?MISSING ?BAD", [0, 2]),
        ('"BAD REQUEST"', [0]),
        ('ERROR -"BAD REQUEST" -INVALID', [1, 2]),
    ],
)
def test_terms_are_looked_for_with_their_case(pattern: str, matched: list[int]) -> None:
    assert [number for number, line in enumerate(LINES) if matcher(pattern)(line)] == matched


EVENT = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "ThisFlag": True,
    "a b": 3,
}


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{ $.eventType != "UpdateTrail" }', False),
        ('{ $.sourceIPAddress = "111.111.*" }', True),
        ('{ $.sourceIPAddress != "123.123.*" }', True),
        ('{ $.arrayKey[0] = "value" }', True),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[1].id >= 2.5 }", False),
        ("{ $.objectList[2].id = 2 }", False),
        ("{ $['a b'] > 1 }", True),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.SomeOtherObject IS NULL }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.ThisFlag IS TRUE }", True),
        ("{ $.ThisFlag = 1 }", False),
        ('{ ($.objectList[0].id = 1) && ($.eventType = "x" || $.ThisFlag IS TRUE) }', True),
        ('{ $.eventType = "x" && $.objectList[0].id = 1 || $.ThisFlag IS FALSE }', False),
        ('{ $.missing != "x" }', False),
    ],
)
def test_a_condition_is_asked_of_lines_that_are_json(pattern: str, holds: bool) -> None:
    assert matcher(pattern)(json.dumps(EVENT)) is holds
    assert not matcher(pattern)("no JSON")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("[ip, user, status = 404]", "is not evaluated by the local cloud; terms and"),
        ("%ERR.*R%", "is not evaluated by the local cloud"),
        ("{ $.level = %ERR% }", "is not evaluated by the local cloud"),
        ("{ $.level }", "not complete"),
        ("{ ($.level = 1 }", "not closed"),
        ("{ level = 1 }", "selector as"),
        ('{ $.level = "a }', "was not expected"),
    ],
)
def test_what_is_not_evaluated_is_refused_in_words(pattern: str, said: Any) -> None:
    with pytest.raises(UnsupportedError, match=said):
        matcher(pattern)
