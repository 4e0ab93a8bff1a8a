"""A model's own reading of captured requests: what it gets, what it may return, and what is its fault."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from perennial.hooks import HookError
from perennial.monitoring.adapter import Adapter
from perennial.monitoring.capture import Payload, UnreadableError

CAPTURED = {
    "endpointInput": {
        "observedContentType": "application/x-cars; v=2", "encoding": "BASE64",
        "data": base64.b64encode(b"\xff\x00car").decode(),
    },
    "endpointOutput": {"observedContentType": "text/plain", "encoding": "CSV", "data": "1 2"},
}  # fmt: skip


def adapter(folder: Path, body: str, before: str = "import numpy as np") -> Adapter:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    (folder / "capture.py").write_text(f"{before}\n\ndef records(request, request_type, answer, answer_type):\n{lines}")
    made = Adapter.load(folder / "capture.py")
    assert made is not None
    return made


def test_it_gets_bytes_and_content_types_as_they_were_captured(tmp_path: Path) -> None:
    reads = adapter(tmp_path, "yield {'seen': [list(request), request_type, answer.decode(), answer_type]}, 1")
    request, _ = reads.payloads(CAPTURED)
    (row,) = json.loads(request.text)["instances"]
    assert row["seen"] == [[255, 0, 99, 97, 114], "application/x-cars; v=2", "1 2", "text/plain"]


def test_an_answer_that_was_not_captured_is_empty(tmp_path: Path) -> None:
    reads = adapter(tmp_path, "return [({'empty': answer == b'' and answer_type == ''}, None)]")
    request, answer = reads.payloads({"endpointInput": CAPTURED["endpointInput"]})
    assert request.text == '{"instances": [{"empty": true}]}'
    assert answer is None


def test_rows_by_name_and_their_predictions_are_read_on_as_json(tmp_path: Path) -> None:
    reads = adapter(tmp_path, "return [({'a': np.int64(1), 'b': None}, np.float32(0.5)), ({'a': 2, 'b': 'x'}, None)]")
    assert reads.payloads(CAPTURED) == (
        Payload('{"instances": [{"a": 1, "b": null}, {"a": 2, "b": "x"}]}', "application/json"),
        Payload('{"predictions": [{"score": 0.5}, {"score": null}]}', "application/json"),
    )


@pytest.mark.parametrize("three", ["[0.5, 0.25, 0.25]", "np.array([0.5, 0.25, 0.25])"])
def test_of_several_classes_there_is_a_prediction_for_each(tmp_path: Path, three: str) -> None:
    _, answer = adapter(tmp_path, f"return [({{'a': 1}}, None), ({{'a': 2}}, {three})]").payloads(CAPTURED)
    assert answer is not None
    scores = [one["score"] for one in json.loads(answer.text)["predictions"]]
    assert scores == [[None, None, None], [0.5, 0.25, 0.25]]


def test_fields_in_the_order_of_the_columns_are_read_on_as_csv(tmp_path: Path) -> None:
    reads = adapter(tmp_path, "yield ['a,b', 1, None], 2\nyield ['c', 2.5, ''], 3")
    request, answer = reads.payloads(CAPTURED)
    assert request == Payload('"a,b",1,\nc,2.5,\n', "text/csv")
    assert answer is not None
    assert answer.text == '{"predictions": [{"score": 2.0}, {"score": 3.0}]}'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return [(request['rows'], 1)]", "capture.py, line 4: TypeError"),
        ("yield {'a': 1}, 1\nraise ValueError('Mr. Smith')", "capture.py, line 5: ValueError"),
        ("raise SystemExit", "capture.py, line 4: SystemExit"),
    ],
)
def test_a_request_that_it_cannot_read_is_told_by_line_and_kind_and_no_value(
    tmp_path: Path, body: str, why: str
) -> None:
    with pytest.raises(UnreadableError) as told:
        adapter(tmp_path, body).payloads(CAPTURED)
    assert str(told.value) == why


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ("return None", "NoneType"), ("return 5", "int"), ("return [{'a': 1}]", "dict"),
        ("return {'a': 1}", "str"), ("return [('a', 1)]", "str"), ("return [({'a': 1}, 'x')]", "str"),
        ("return [({'a': 1}, 1), ([1], 1)]", "list"), ("return [({'a': 1}, 1, 2)]", "tuple"),
    ],
)  # fmt: skip
def test_what_it_must_not_return_is_told_by_the_line_of_the_function(tmp_path: Path, body: str, made: str) -> None:
    with pytest.raises(HookError, match=rf"capture\.py, line 3: records made {made}; expected pairs"):
        adapter(tmp_path, body).payloads(CAPTURED)


def test_a_value_that_is_no_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(HookError, match=r"capture\.py, line 3: records made a row that is no JSON"):
        adapter(tmp_path, "return [({'a': object()}, 1)]").payloads(CAPTURED)


def test_a_file_without_the_function_is_told_and_none_is_none(tmp_path: Path) -> None:
    assert Adapter.load(tmp_path / "capture.py") is None
    (tmp_path / "capture.py").write_text("rows: int = 1\n")
    with pytest.raises(HookError, match=r"capture\.py: has no function records"):
        Adapter.load(tmp_path / "capture.py")


def test_data_that_are_no_base64_are_unreadable(tmp_path: Path) -> None:
    captured: Any = {"endpointInput": {**CAPTURED["endpointInput"], "data": "~"}}
    with pytest.raises(UnreadableError, match="not in base64"):
        adapter(tmp_path, "return []").payloads(captured)
