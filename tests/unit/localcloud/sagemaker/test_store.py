"""Documents on disk."""

import errno
import os
import threading
from pathlib import Path

import pytest

from localcloud import disk
from localcloud.sagemaker.platform.store import Document, Store


def test_a_document_survives_a_restart(tmp_path: Path) -> None:
    Store(tmp_path).create("model", "Used-Cars", {"ModelName": "Used-Cars"})
    assert Store(tmp_path).get("model", "used-cars") == {"ModelName": "Used-Cars"}


def test_a_name_is_taken_whatever_its_case(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.create("model", "a", {"n": 1})
    assert not store.create("model", "A", {"n": 2})
    assert store.get("model", "A") == {"n": 1}


def test_what_is_handed_out_is_a_copy(tmp_path: Path) -> None:
    store = Store(tmp_path)
    given: Document = {"list": [1]}
    store.put("model", "a", given)
    given["list"].append(2)
    (store.get("model", "a") or {})["list"].append(3)
    store.all("model")[0]["list"].append(4)
    assert store.get("model", "a") == {"list": [1]}


def test_a_view_does_not_change_when_a_document_does(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("model", "a", {"list": [1]})
    seen = store.view("model")
    store.update("model", "a", lambda document: document["list"].append(2))
    assert (seen, store.view("model")) == ([{"list": [1]}], [{"list": [1, 2]}])


def test_names_may_be_arns(tmp_path: Path) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model/a"
    Store(tmp_path).put("tags", arn, {"k": "v"})
    assert Store(tmp_path).get("tags", arn) == {"k": "v"}


def test_updates_from_many_threads_are_all_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("job", "a", {"n": 0})

    def count() -> None:
        for _ in range(20):
            store.update("job", "a", lambda document: document.update(n=document["n"] + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Store(tmp_path).get("job", "a") == {"n": 80}


def test_an_update_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("job", "a", {"n": 0})

    def change(document: Document) -> None:
        document["n"] = 1
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        store.update("job", "a", change)
    assert store.get("job", "a") == {"n": 0}
    with pytest.raises(KeyError):
        store.update("job", "b", change)


def test_a_deleted_document_is_gone_for_good(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("job", "a", {})
    assert store.delete("job", "A")
    assert not store.delete("job", "a")
    assert Store(tmp_path).all("job") == []


def test_half_written_files_are_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("job", "a", {})
    (tmp_path / "job" / "b.tmp").write_text('{"half": ')
    assert Store(tmp_path).all("job") == [{}]


@pytest.mark.parametrize("left", [b"", bytes(40)], ids=["empty", "zeros"])
def test_a_document_of_which_a_power_cut_has_left_nothing_is_left_out(left: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("job", "a", {"n": 1})
    store.put("job", "b", {"n": 2})
    (tmp_path / "job" / "b.json").write_bytes(left)

    again = Store(tmp_path)
    assert again.all("job") == [{"n": 1}]
    assert again.create("job", "b", {"n": 3})
    assert Store(tmp_path).get("job", "b") == {"n": 3}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing finds room any more, until this is undone."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "write_whole", refuse)
    return monkeypatch


def test_a_new_document_that_finds_no_room_is_not_there(tmp_path: Path, full: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        store.create("job", "a", {"n": 1})
    assert store.get("job", "a") is None
    full.undo()
    assert store.create("job", "a", {"n": 2})


def test_a_change_that_finds_no_room_holds_and_is_written_with_the_next(
    tmp_path: Path, full: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "a.json").write_text('{"n": 1}')
    store = Store(tmp_path)

    store.update("job", "a", lambda document: document.update(n=2))

    assert store.get("job", "a") == {"n": 2}
    assert Store(tmp_path).get("job", "a") == {"n": 1}
    full.undo()
    store.put("job", "b", {})

    assert Store(tmp_path).get("job", "a") == {"n": 2}


def test_another_failure_to_write_is_no_full_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "job").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        store.put("job", "a", {})
