"""What is refused when the disk is nearly full, and what a write does that finds no room."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from localcloud import disk
from tests.waiting import wait_for


def put(size: int, method: str = "PUT", **headers: str) -> dict[str, Any]:
    given = {"content-length": str(size), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "method": method,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(disk.RESERVE_VARIABLE, str(1 << 30))


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    "request_", [put(1 << 20), put(0, x_amz_copy_source="b/k"), put(0, transfer_encoding="chunked")]
)
def test_large_uploads_and_copies_are_refused_with_what_to_do(request_: dict[str, Any], tmp_path: Path) -> None:
    why = disk.refusal(request_, tmp_path)
    assert str(tmp_path) in why
    assert "Free some space" in why
    assert disk.problem(tmp_path)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("request_", [put(1000), put(1 << 20, "POST"), put(1 << 20, "GET"), {"type": "lifespan"}])
def test_what_is_small_and_what_stores_nothing_goes_through(request_: dict[str, Any], tmp_path: Path) -> None:
    assert disk.refusal(request_, tmp_path) == ""


def test_nothing_is_refused_while_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(disk.RESERVE_VARIABLE, "0")
    assert disk.refusal(put(1 << 20), tmp_path) == ""
    assert disk.problem(tmp_path) == ""


def test_an_upload_that_would_not_leave_the_reserve_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(disk.RESERVE_VARIABLE, "0")
    assert disk.refusal(put(1 << 60), tmp_path)


def test_the_answer_is_an_error_of_s3() -> None:
    assert disk.answer("a & b < c").startswith(b"<Error><Code>InsufficientStorage</Code><Message>a &amp; b &lt; c<")


def test_the_text_of_a_full_disk_needs_no_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "a" / "b") in disk.full(tmp_path / "a" / "b")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, ""), OSError(errno.EDQUOT, "")])
def test_no_room_and_no_quota_are_a_full_disk(error: OSError) -> None:
    assert disk.is_full(error)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, ""), OSError("text"), ValueError(errno.ENOSPC)])
def test_other_failures_are_none(error: Exception) -> None:
    assert not disk.is_full(error)


def test_a_file_that_finds_no_room_is_what_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.json"
    disk.write_whole(path, b"old")

    def refuse(draft: Path, content: bytes) -> int:
        with draft.open("wb") as file:
            file.write(content[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", refuse)
        with pytest.raises(OSError, match="No space left"):
            disk.write_whole(path, b"newer")
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"old", [path])

    disk.write_whole(path, b"newer")
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"newer", [path])


def test_files_are_forced_to_the_device_soon_each_once_however_often_it_was_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forced: list[bytes] = []

    def note(file: int) -> None:
        content = os.pread(file, 100, 0)
        forced.extend([content] if content.startswith(b"mine") else [])  # those of other tests may come meanwhile

    monkeypatch.setattr(disk, "_FORCE_SECONDS", 0.1)
    monkeypatch.setattr(disk, "_forcing", disk._Forcing())
    monkeypatch.setattr(os, "fsync", note)
    for number in range(3):
        disk.write_whole(tmp_path / "state", f"mine {number}".encode())
    disk.write_whole(tmp_path / "deleted", b"mine")
    disk.write_whole(tmp_path / "other", b"mine too")
    (tmp_path / "deleted").unlink()

    wait_for(lambda: len(forced) >= 2, "two files are forced")
    assert forced == [b"mine 2", b"mine too"]  # in the order in which they were written
    disk.write_whole(tmp_path / "state", b"mine again")
    wait_for(lambda: len(forced) >= 3, "the file that was replaced again is forced")
    assert forced[2] == b"mine again"
