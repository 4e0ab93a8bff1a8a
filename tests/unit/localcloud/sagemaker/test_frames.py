"""Frames between the local cloud and its serving containers: what goes in comes out, however it is cut."""

import random

import pytest

from localcloud.sagemaker.containers import frames

SENT = [
    frames.Frame(number, status, frames.head("POST /invocations", {"Content-Type": "text/csv"} if number else {}), body)
    for number, (status, body) in enumerate([(0, b""), (200, b"1,2\n"), (500, bytes(range(256)) * 300), (0, b"\n\n")])
]


@pytest.mark.parametrize("longest", [1, 7, 19, 100, 10**6])
def test_frames_that_are_cut_anywhere_come_out_whole(longest: int) -> None:
    text, chance, reader = b"".join(frames.packed(*frame) for frame in SENT), random.Random(longest), frames.Reader()
    received: list[frames.Frame] = []
    while text:
        size = chance.randint(1, longest)
        received += reader.frames(text[:size])
        text = text[size:]
    assert received == SENT


def test_names_of_headers_are_read_in_lower_case_and_values_as_they_are() -> None:
    headers = {"Content-Type": "text/csv; charset=utf-8", "X-Name": ": é ", "Accept": ""}
    first, read = frames.first_and_headers(frames.head("GET /ping", headers))
    assert first == "GET /ping"
    assert read == {"content-type": "text/csv; charset=utf-8", "x-name": ": é ", "accept": ""}


@pytest.mark.parametrize("headers", [{"Accept": "a\nX: b"}, {"Accept": "a\rb"}, {"A: b\nX": "c"}, {"Accept": "\u20ac"}])
def test_a_header_cannot_bring_others_nor_what_no_header_holds(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"Invalid header|latin-1"):
        frames.head("POST /invocations", headers)
