"""What transform jobs keep of records and answers."""

from typing import Any

import pytest

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.jobs import data_processing
from localcloud.sagemaker.jobs.data_processing import DataProcessing, RecordError

CSV, LINES, JSON = "text/csv", "application/jsonlines", "application/json"


def asked(kind: str, accept: str | None = None, split: str | None = None, **given: str) -> DataProcessing | None:
    how = split or ("None" if kind == JSON else "Line")
    return data_processing.of_request(
        {
            "DataProcessing": given,
            "TransformInput": {"ContentType": kind, "SplitType": how},
            "TransformOutput": {"Accept": accept or kind, "AssembleWith": how},
        }
    )


def made(kind: str, **given: str) -> DataProcessing:
    processing = asked(kind, **given)
    assert processing
    return processing


@pytest.mark.parametrize("given", [{}, {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}])
def test_the_defaults_change_nothing_whatever_the_format(given: dict[str, str]) -> None:
    assert asked("image/png", **given) is None


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("$[1:]", "2,3\n5,6\n"),
        ("$[0]", "1\n4\n"),
        ("$[-1]", "3\n6\n"),
        ("$[0,2]", "1,3\n4,6\n"),
        ("$[*]", "1,2,3\n4,5,6\n"),
    ],
)
def test_columns_are_selected_by_their_index(path: str, sent: str) -> None:
    assert made(CSV, InputFilter=path).before(b"1,2,3\n4,5,6\n") == sent.encode()


def test_an_answer_is_appended_to_its_csv_record_which_keeps_its_text() -> None:
    """Developer Guide: the record [1,2,3] with the result [1] is [1,2,3,1]."""
    join = made(CSV, InputFilter="$[1:]", JoinSource="Input")

    assert join.before(b'"a, b",2,3.50\n') == b"2,3.50\n"
    assert join.after(b'"a, b",2,3.50\n', b"1\n") == b'"a, b",2,3.50,1\n'


def test_an_output_filter_selects_from_what_is_joined() -> None:
    assert (
        made(CSV, JoinSource="Input", OutputFilter="$[0,-1]").after(b"7,2\n8,3\n", b"0.5\n0.6\n") == b"7,0.5\n8,0.6\n"
    )
    assert made(CSV, OutputFilter="$[0]").after(b"7,2\n", b"0.5,1\n") == b"0.5\n"


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("$.features", b"[1, 2]\n"),
        ("$['features']", b"[1, 2]\n"),
        ("$.features[1]", b"2\n"),
        ("$['id','features']", b'{"id": "a", "features": [1, 2]}\n'),
        ("$.deep.*", b"[3]\n"),
        ("$.deep.x", b"3\n"),
    ],
)
def test_members_are_selected_by_their_name(path: str, sent: bytes) -> None:
    record = b'{"id": "a", "features": [1, 2], "deep": {"x": 3}}\n'

    assert made(LINES, InputFilter=path).before(record) == sent


def test_an_answer_is_a_member_of_its_json_record() -> None:
    """Developer Guide: {"key": 1} with the result {"label": 1}, and SageMakerInput for a record that is no object."""
    join = made(LINES, JoinSource="Input")

    assert join.after(b'{"key": 1}\n[2]\n', b'{"label": 1}\n3\n') == (
        b'{"key": 1, "SageMakerOutput": {"label": 1}}\n{"SageMakerInput": [2], "SageMakerOutput": 3}\n'
    )
    named = made(LINES, JoinSource="Input", OutputFilter="$['key','SageMakerOutput']")
    assert named.after(b'{"key": 1, "x": 0}\n', b"2\n") == b'{"key": 1, "SageMakerOutput": 2}\n'


def test_a_json_file_is_one_record() -> None:
    assert made(JSON, JoinSource="Input").after(b'{\n"a": 1}', b'{"b": 2}') == b'{"a": 1, "SageMakerOutput": {"b": 2}}'


@pytest.mark.parametrize(
    ("kind", "path", "records", "why"),
    [
        (CSV, "$[5]", b"1,2\n", "a record has no element 5"),
        (LINES, "$.id", b"[1]\n", "a record has no member 'id'"),
        (LINES, "$[1:]", b"{}\n", "a record is no array"),
        (LINES, "$.*", b"1\n", "neither an object nor an array"),
        (LINES, "$.id", b"{no\n", "Expecting property name"),
        (CSV, "$[0]", b"\xff\n", "can't decode byte"),
    ],
)
def test_a_record_that_does_not_fit_says_why(kind: str, path: str, records: bytes, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        made(kind, InputFilter=path).before(records)


def test_as_many_answers_as_records_are_joined() -> None:
    with pytest.raises(RecordError, match="answered 1 records to 2"):
        made(CSV, JoinSource="Input").after(b"1\n2\n", b"1\n")


@pytest.mark.parametrize(
    ("kind", "members", "why"),
    [
        (CSV, {"InputFilter": "$[1:4]"}, "a slice with an end is not supported"),
        (CSV, {"InputFilter": "$[:3]"}, "a slice with an end is not supported"),
        (CSV, {"InputFilter": "$.id"}, "a CSV record is an array"),
        (CSV, {"InputFilter": "$[0][1]"}, "a CSV record is an array"),
        (LINES, {"InputFilter": "$[1:].id"}, "going on after several elements is not supported"),
        (LINES, {"InputFilter": "$..id"}, "'..id' is not supported"),
        (LINES, {"InputFilter": "$[?(@.a > 1)]"}, "is not supported"),
        (LINES, {"InputFilter": "id"}, "it must begin with"),
        (CSV, {"JoinSource": "Input", "accept": LINES}, "to be the same"),
        ("text/libsvm", {"JoinSource": "Input"}, "to be the same, one of text/csv"),
        (CSV, {"JoinSource": "Input", "split": "None"}, "SplitType and AssembleWith Line"),
        (JSON, {"JoinSource": "Input", "split": "Line"}, "SplitType and AssembleWith Line"),
    ],
)
def test_what_cannot_be_done_is_refused(kind: str, members: dict[str, Any], why: str) -> None:
    with pytest.raises(AwsError, match=why):
        asked(kind, **members)
