"""What a start knows of log events without reading them: the same as with reading them, whatever was written when."""

from pathlib import Path
from typing import Any

import pytest

from localcloud import disk
from localcloud.engine.logs import index

ALWAYS, NEVER = 1, 1 << 60


def event(time: int, message: str = "x") -> dict[str, Any]:
    return {"timestamp": time, "message": message, "ingestionTime": time + 5, "eventId": str(time)}


def add(path: Path, stream: str, *events: dict[str, Any]) -> None:
    disk.append(path, disk.line({"stream": stream, "created": 1, "events": list(events)}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with lines of two streams, one of them late."""
    made = tmp_path / "group.jsonl"
    add(made, "one", event(10, "a"), event(12, "é\ud83d"))
    add(made, "two", event(11))
    add(made, "one", event(9, "late"))
    return made


def described(streams: Any) -> dict[str, Any]:
    return {name: (dict(stream), index.characters(stream)) for name, stream in streams.items()}


def test_streams_are_described_without_their_events_and_have_them_when_they_are_asked_for(path: Path) -> None:
    streams = index.streams(path, write_after=NEVER)
    times = {"firstEventTimestamp": 9, "lastEventTimestamp": 12, "lastIngestionTime": 17}
    assert dict(streams["one"]) == {"uploadSequenceToken": "1", "creationTime": 1, **times}
    assert (index.characters(streams["one"]), index.first_timestamp(streams["one"])) == (7, 9)
    assert not index.is_empty(streams["one"])
    assert "events" not in streams["one"]
    assert streams["one"]["events"] == [event(9, "late"), event(10, "a"), event(12, "é\ud83d")]
    assert streams["two"].get("events", []) == [event(11)]
    assert (index.characters(streams["one"]), index.first_timestamp(streams["one"])) == (7, 9)
    with pytest.raises(KeyError):
        streams["one"]["other"]


def test_an_index_spares_the_lines_that_it_knows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = described(index.streams(path, write_after=ALWAYS))
    read: list[int] = []
    lines = disk.whole_lines

    def noted(file: Path, start: int = 0) -> list[bytes]:
        found = lines(file, start)
        read.append(len(found))
        return found

    monkeypatch.setattr(disk, "whole_lines", noted)
    assert described(index.streams(path, write_after=ALWAYS)) == expected
    add(path, "three", event(20))
    add(path, "one", event(21, "new"))
    streams = index.streams(path, write_after=NEVER)
    assert read == [0, 2]
    assert [one["message"] for one in streams["one"]["events"]] == ["late", "a", "é\ud83d", "new"]
    assert streams["three"]["events"] == [event(20)]
    index.place(path).unlink()
    assert described(index.streams(path, write_after=NEVER)).keys() == {"one", "two", "three"}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 0}', b'{"version": 1, "size": 1000000, "streams": {}}'])
def test_an_index_that_is_none_or_of_another_file_is_not_believed(path: Path, content: bytes) -> None:
    expected = described(index.streams(path, write_after=NEVER))
    index.place(path).write_bytes(content)
    assert described(index.streams(path, write_after=NEVER)) == expected


def test_a_line_that_is_torn_is_cut_off_and_one_that_is_none_left_out(path: Path) -> None:
    index.streams(path, write_after=ALWAYS)
    disk.append(path, b"nonsense\n")
    add(path, "one", event(30))
    size = path.stat().st_size
    disk.append(path, b'{"stream": "one", "crea')
    streams = index.streams(path, write_after=NEVER)
    assert path.stat().st_size == size
    assert streams["one"]["events"][-1] == event(30)
