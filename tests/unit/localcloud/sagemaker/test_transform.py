"""How batch transform cuts objects into requests and joins answers."""

import io

import pytest

from localcloud.sagemaker.jobs.transform import PayloadTooLargeError, assembled, payloads


def cut(data: bytes, split: str = "Line", strategy: str = "MultiRecord", limit: int = 100) -> list[bytes]:
    return list(payloads(io.BytesIO(data), split, strategy, limit))


def test_an_object_that_is_not_split_is_one_request() -> None:
    assert cut(b"a\nb\n", split="None") == [b"a\nb\n"]


def test_an_object_that_is_not_split_must_fit() -> None:
    assert cut(b"x" * 100, split="None") == [b"x" * 100]
    with pytest.raises(PayloadTooLargeError, match="larger than 100 bytes"):
        cut(b"x" * 101, split="None")


def test_as_many_lines_as_fit_are_one_request() -> None:
    assert cut(b"aa\nbb\ncc\n", limit=6) == [b"aa\nbb\n", b"cc\n"]


def test_single_records_are_one_request_each() -> None:
    assert cut(b"aa\nbb", strategy="SingleRecord") == [b"aa\n", b"bb\n"]


def test_no_line_is_lost_or_doubled_whatever_the_limit() -> None:
    lines = [b"%d" % number * (number % 7 + 1) for number in range(200)]
    for limit in (40, 41, 100, 10_000):
        assert b"".join(cut(b"\n".join(lines), limit=limit)).split(b"\n")[:-1] == lines


def test_line_ends_of_other_systems_become_newlines() -> None:
    assert cut(b"a\r\nb\r\n") == [b"a\nb\n"]


def test_a_line_without_text_is_passed_on_so_that_answers_cannot_shift_unseen() -> None:
    assert cut(b"a\r\n\r\nb\n\n") == [b"a\n\nb\n\n"]
    assert cut(b"a\n\nb\n", limit=3) == [b"a\n\n", b"b\n"]


def test_a_line_that_does_not_fit_is_named() -> None:
    with pytest.raises(PayloadTooLargeError, match="line 2 is larger than 10 bytes"):
        cut(b"a\n" + b"x" * 10, limit=10)


def test_an_empty_object_has_no_lines() -> None:
    assert cut(b"") == []


@pytest.mark.parametrize(
    ("answer", "how", "written"),
    [
        (b"1\n2", "Line", b"1\n2\n"),
        (b"1\n2\n", "Line", b"1\n2\n"),
        (b"1\r\n", "Line", b"1\n"),
        (b"", "Line", b""),
        (b"1\n2", "None", b"1\n2"),
    ],
)
def test_answers_are_joined_with_one_newline_a_record(answer: bytes, how: str, written: bytes) -> None:
    assert assembled(answer, how) == written
