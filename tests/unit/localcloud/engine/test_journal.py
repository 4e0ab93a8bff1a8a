"""The journal of what is to be done: what it keeps over the end of the process, and how large it becomes."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcloud import disk
from localcloud.engine import s3
from localcloud.engine.journal import Entry, Journal


def entry(text: str) -> Entry:
    return {"kind": "letter", "scope": ["000000000000", "us-east-1"], "text": text}


@contextmanager
def no_scope(*_: str) -> Iterator[None]:
    yield


def left(path: Path) -> list[str]:
    """What the next start finds to be done, in its order."""
    found: list[str] = []
    Journal(path).resume({"letter": lambda _, it: found.append(it["text"])}, no_scope)
    return found


def test_what_was_noted_and_not_struck_out_is_done_by_the_next_start_in_its_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    first, second, _ = journal.note(entry("first"), entry("second"), entry("third"))
    journal.strike(second)
    journal.replace(first, entry("first, again"))

    assert left(tmp_path / "journal") == ["first, again", "third"]


def test_what_follows_from_something_takes_its_place_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    (event,) = journal.note(entry("event"))
    lines = len(path.read_bytes().splitlines())

    journal.note(entry("one delivery"), entry("another"), instead_of=event)

    assert len(path.read_bytes().splitlines()) == lines + 1
    assert left(path) == ["one delivery", "another"]


def test_what_this_process_notes_is_not_done_again_by_it(tmp_path: Path) -> None:
    found: list[Entry] = []
    journal = Journal(tmp_path / "journal")
    journal.note(entry("mine"))

    journal.resume({"letter": lambda _, it: found.append(it)}, no_scope)

    assert found == []


@pytest.mark.parametrize("torn", [b'{"name": {"kin', b"\0\0\0\0", b'\0\0"}\n'])
def test_a_line_that_is_torn_is_left_out_and_the_others_hold(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal"
    Journal(path).note(entry("whole"))
    with path.open("ab") as file:
        file.write(torn)

    Journal(path).note(entry("after"))

    assert left(path) == ["whole", "after"]


def test_the_file_stays_small_whatever_has_gone_through_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.note(entry("kept"))
    largest = 0
    for _ in range(2000):
        journal.strike(*journal.note(entry("x" * 1000)))
        largest = max(largest, path.stat().st_size)

    assert largest < 300_000
    assert left(path) == ["kept"]


def test_many_that_are_left_are_not_written_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    original: Callable[[Path, bytes], None] = disk.write_whole

    def count(path: Path, content: bytes) -> None:
        written.append(len(content))
        original(path, content)

    monkeypatch.setattr(disk, "write_whole", count)
    journal = Journal(tmp_path / "journal")
    for number in range(3000):
        journal.note(entry(f"{number}" + "x" * 500))

    assert len(written) < 10
    assert len(left(tmp_path / "journal")) == 3000


def test_what_finds_no_room_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    waits: list[bool] = []
    journal = Journal(tmp_path / "journal")
    journal.waits = lambda: waits.append(True)
    journal.note(entry("before"))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", full)
        patch.setattr(disk, "write_whole", full)
        journal.note(entry("meanwhile"))
        assert journal.error is not None
        assert waits
        with pytest.raises(OSError, match="No space left"):
            journal.save()

    journal.save()

    assert journal.error is None
    assert left(tmp_path / "journal") == ["before", "meanwhile"]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_files_of_which_a_kill_left_some_out_of_place_are_all_put_there(tmp_path: Path, done: int) -> None:
    pairs = [(tmp_path / f"{name}.new.tmp", tmp_path / name) for name in ("content", "content.meta.json")]
    for number, (draft, path) in enumerate(pairs):
        path.write_text("old")
        draft.write_text("new")
        if number < done:
            draft.replace(path)
    Journal(tmp_path / "journal").note({"kind": "files", "files": [(str(draft), str(path)) for draft, path in pairs]})

    s3.finish(Journal(tmp_path / "journal"))

    assert [path.read_text() for _, path in pairs] == ["new", "new"]
    assert [path.name for path in tmp_path.glob("*.tmp")] == []
    assert left(tmp_path / "journal") == []
