"""Answers say what json would say."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from localcloud.engine import json_answers


@pytest.mark.parametrize(
    "value",
    [
        {"text": 'ä "\n\u2028\x00\x7f', "list": [1, -2.5, 1e300, 1e-7, True, None], "tuple": (1, "a")},
        {"large": 2**64, "negative": -(2**63) - 1},
        {2: "number", None: "nothing", True: "true"},
        {"half": "\ud800"},
    ],
)
def test_an_answer_is_read_as_what_json_writes(value: Any) -> None:
    expected = json.loads(json.dumps(value))
    assert json.loads(json_answers.dumps(value, ensure_ascii=False).encode()) == expected
    assert json.loads(json_answers.dumps(value, ensure_ascii=True)) == expected


def test_what_is_no_number_is_none_afterwards_either() -> None:
    said = json.loads(json_answers.dumps({"a": math.nan, "b": -math.inf}, ensure_ascii=False))
    assert math.isnan(said["a"])
    assert said["b"] == -math.inf


@pytest.mark.parametrize("value", [{"a": datetime.now(UTC)}, {"a": {1}}, {"a": b"bytes"}])
def test_what_json_refuses_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        json_answers.dumps(value, ensure_ascii=False)
