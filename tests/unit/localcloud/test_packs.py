"""A pack of small files: what is read is what is there, and what has not changed is not read again."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from localcloud import packs


class Folder:
    """Files of one number each, and which of them are read."""

    def __init__(self, path: Path) -> None:
        self.path, self.pack = path / "files", path / "pack"
        self.path.mkdir()
        self.read: list[str] = []

    def write(self, *numbers: int, content: int = 0) -> None:
        for number in numbers:
            (self.path / f"{number}.json").write_text(json.dumps(content))

    def found(self) -> dict[str, Any]:
        self.read = []
        return {path.name: value for path, value in packs.read(self.path, ".json", self._read, self.pack)}

    def _read(self, path: Path) -> Any:
        self.read.append(path.name)
        return json.loads(path.read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_files_that_are_as_they_were_are_not_read_again(folder: Folder) -> None:
    folder.write(*range(packs.MANY + 10))
    (folder.path / "other.txt").write_text("no JSON")
    everything = dict.fromkeys((f"{number}.json" for number in range(packs.MANY + 10)), 0)
    assert folder.found() == everything
    assert len(folder.read) == packs.MANY + 10
    assert folder.found() == everything
    assert folder.read == []


def test_a_file_that_was_changed_added_or_deleted_is_found_as_it_is(folder: Folder) -> None:
    folder.write(*range(packs.MANY))
    folder.found()
    folder.write(3, content=7)
    folder.write(1000, content=8)
    (folder.path / "4.json").unlink()
    replaced = folder.path / "5.json"
    was = replaced.stat()
    folder.path.joinpath("draft").write_text("9")
    folder.path.joinpath("draft").replace(replaced)
    os.utime(replaced, ns=(was.st_atime_ns, was.st_mtime_ns))  # of the same length, and of the same time

    found = folder.found()
    assert (found["3.json"], found["1000.json"], found["5.json"]) == (7, 8, 9)
    assert "4.json" not in found
    assert sorted(folder.read) == ["1000.json", "3.json", "5.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 0, "files": {}}', b'{"version": 1}'])
def test_a_pack_that_is_none_is_written_anew(folder: Folder, content: bytes) -> None:
    folder.write(*range(packs.MANY))
    folder.pack.write_bytes(content)
    assert len(folder.found()) == packs.MANY
    folder.found()
    assert folder.read == []


def test_a_pack_forgets_files_that_are_gone(folder: Folder) -> None:
    folder.write(*range(2 * packs.MANY))
    folder.found()
    for number in range(packs.MANY):
        (folder.path / f"{number}.json").unlink()
    folder.found()
    assert len(json.loads(folder.pack.read_text())["files"]) == packs.MANY


def test_what_is_packed_comes_out_as_it_was_read(folder: Folder) -> None:
    odd = {"number": math.inf, "half": "\ud83d", "large": 2**70, "text": "é"}
    for number in range(packs.MANY):
        (folder.path / f"{number}.json").write_text(json.dumps(odd))
    for _ in range(2):
        assert list(folder.found().values()) == [odd] * packs.MANY
    assert folder.read == []
