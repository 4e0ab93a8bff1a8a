"""What a service has is written as json would write it, and large bytes that a file refers to stay."""

import copy
import hashlib
import json
import os
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from localcloud import disk
from localcloud.engine import persistence


def default(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"__bytes__": value.decode()}
    raise TypeError(value)


@pytest.mark.parametrize(
    "state",
    [
        {"text": "ä\n\u2028\x00", "list": [1, -2.5, 1e300, True, None], "tuple": (1, "a"), "bytes": b"x"},
        {2: "number", None: "nothing", True: "true", "": {}},
        {"large": 2**64, "half": "\ud800"},
    ],
    ids=["values", "names", "what orjson refuses"],
)
def test_what_is_written_is_read_as_what_json_writes(state: Any) -> None:
    assert json.loads(persistence._encoded(state, default)) == json.loads(json.dumps(state, default=default))


@pytest.mark.parametrize("name", ["name", "\ud800"], ids=["orjson", "what orjson refuses"])
def test_what_is_there_as_json_is_written_as_its_value(name: str) -> None:
    text = persistence._encoded({name: persistence.Encoded([1, "ä"], '[1,"ä"]'.encode())}, default)
    assert json.loads(text) == {name: [1, "ä"]}


def test_what_cannot_be_written_is_an_error() -> None:
    with pytest.raises(TypeError):
        persistence._encoded({"set": {1}}, default)


def test_large_bytes_that_a_file_of_either_form_names_are_kept(tmp_path: Path) -> None:
    named = {"a" * 64: json.dumps, "b" * 64: lambda value: persistence._encoded(value, default).decode()}
    for digest, write in named.items():
        (tmp_path / f"{digest[0]}.json").write_text(write({"Code": {persistence._BLOB_KEY: digest}}))
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    disk.forced(tmp_path / "a.json").write_text(json.dumps({"Code": {persistence._BLOB_KEY: "d" * 64}}))
    named["d" * 64] = json.dumps  # of the file that is there for a power cut
    for digest in (*named, "c" * 64):
        (blobs / digest).write_bytes(b"")
    persistence.prune_blobs(tmp_path, blobs)
    assert {path.name for path in blobs.iterdir()} == set(named)


def saved_by_ministack(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """Return MiniStack's load_state for the folder, as the local cloud has it."""
    original = pkgutil.resolve_name("ministack.core.persistence:load_state")
    monkeypatch.setattr("ministack.core.persistence.PERSIST_STATE", True)
    monkeypatch.setattr("ministack.core.persistence.STATE_DIR", str(folder))
    monkeypatch.setattr(persistence, "unreadable", [])
    return persistence._make_load_state(original)


@pytest.mark.parametrize(
    "left", [b"", bytes(100), b"\xff" * 100, b'{"payload": {"na'], ids=["empty", "zeros", "bytes", "torn"]
)
@pytest.mark.parametrize("is_kept", [True, False])
def test_what_a_power_cut_has_left_of_a_service_is_replaced_by_what_was_forced_before_or_said_to_be_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: bytes, is_kept: bool
) -> None:
    path = tmp_path / "ssm.json"
    monkeypatch.setattr(disk, "_forcing", disk._Forcing())
    disk.write_whole(path, b'{"__ministack_format__": 1, "payload": {"name": 1}}', keep=is_kept)
    disk._forcing.force()
    (tmp_path / "next").write_bytes(left)
    (tmp_path / "next").replace(path)

    state = saved_by_ministack(monkeypatch, tmp_path)("ssm")

    assert state == ({"name": 1} if is_kept else None)
    assert path.exists() is is_kept
    assert (tmp_path / "ssm.json.unreadable").read_bytes() == left
    assert [str(path) in why for why in persistence.unreadable] == [True]


def test_what_the_last_process_had_no_time_to_force_is_forced_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "ssm.json"
    path.write_bytes(b'{"__ministack_format__": 1, "payload": {"name": 1}}')
    monkeypatch.setattr(disk, "_forcing", disk._Forcing())

    assert saved_by_ministack(monkeypatch, tmp_path)("ssm") == {"name": 1}
    disk._forcing.force()

    assert disk.forced(path).samefile(path)


def test_a_file_that_was_replaced_while_it_was_forced_is_not_kept_as_forced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, forcing = tmp_path / "ssm.json", disk._Forcing()
    path.write_bytes(b"old")
    forcing.add(path, keep=True)

    def replace_meanwhile(_: int) -> None:
        (tmp_path / "new").write_bytes(b"new")
        (tmp_path / "new").replace(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", replace_meanwhile)
        forcing.force()
    assert [one.name for one in tmp_path.iterdir()] == ["ssm.json"]


def test_large_bytes_that_are_not_what_their_name_says_are_an_error_and_written_again(tmp_path: Path) -> None:
    blobs, data = persistence.Blobs(tmp_path), bytes(bytearray(b"layer"))
    (path,) = [tmp_path / blobs.put(data)]
    path.write_bytes(b"")

    again = persistence.Blobs(tmp_path)
    with pytest.raises(ValueError, match="not what its name says"):
        again.get(path.name)
    again.put(data)

    assert again.get(path.name) == data


def test_code_that_is_not_what_its_name_says_is_none_and_written_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ministack: Any = pkgutil.resolve_name("ministack.services.lambda_svc")
    monkeypatch.setattr(ministack, "CODE_BLOB_DIR", str(tmp_path))
    monkeypatch.setattr(persistence, "unreadable", [])
    read = persistence._make_read_code_blob(ministack._read_code_blob)
    digest = ministack._write_code_blob(b"code")
    assert read(digest) == b"code"

    (path,) = tmp_path.iterdir()
    path.write_bytes(bytes(4))
    assert read(digest) is None
    assert [str(path) in why for why in persistence.unreadable] == [True]

    ministack._write_code_blob(b"code")
    assert read(digest) == b"code"


def test_large_bytes_are_kept_in_memory_for_as_long_as_something_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    digests, layer, deleted = persistence.Digests(), bytes(bytearray(b"layer")), bytes(bytearray(b"deleted"))
    known = [digests.of(layer), digests.of(deleted)]
    del deleted

    digests.of(b"what is new")

    assert known == [hashlib.sha256(content).hexdigest() for content in (b"layer", b"deleted")]
    assert {content for content, _ in digests._known.values()} == {b"layer", b"what is new"}
    monkeypatch.setattr(persistence, "hashlib", None)
    assert digests.of(layer) == known[0]


@pytest.mark.parametrize("versions", [{}, {"1": {"config": {}, "code_zip": b"zip"}}])
def test_a_function_that_is_saved_under_the_name_of_its_code_keeps_the_code(versions: dict[str, Any]) -> None:
    function = {"config": {"Layers": []}, "code_zip": b"zip", "versions": versions}
    before = copy.deepcopy(function)

    saved = persistence._with_records_of_its_own(function)
    for record in (saved, *saved["versions"].values()):
        record["code_zip"] = {"code_blob_ref": "name"}

    assert function == before
    assert saved["config"] is function["config"]


@pytest.mark.parametrize(("changes", "pause"), [(True, 60), (False, 600)])
def test_a_service_that_takes_long_to_write_is_written_for_a_small_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch, changes: bool, pause: int
) -> None:
    """That is what may be lost of a service whose requests are not written before they are answered."""
    clock = [1000.0]
    monkeypatch.setattr(persistence.time, "monotonic", lambda: clock[0])
    saver = persistence.Saver({})

    def save(service: str, _: Any) -> bool:
        clock[0] += 0.25
        return changes

    monkeypatch.setattr(saver, "_save_service", save)
    saver._each({"slow": lambda: None}, saver._is_due)  # type: ignore[dict-item]
    clock[0] = 1000.25 + pause * 0.25 - 0.01
    assert not saver._is_due("slow")
    clock[0] += 0.02
    assert saver._is_due("slow")


def test_a_definition_is_written_once_under_its_hash_and_read_again_whatever_it_is_changed_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An execution that starts has the state of the service written, and there may be hundreds of definitions."""
    load, blobs, path = saved_by_ministack(monkeypatch, tmp_path), tmp_path / "blobs", tmp_path / "stepfunctions.json"
    ministack: Any = pkgutil.resolve_name("ministack.core.persistence")
    for name, make in (("_json_default", persistence._make_encoder), ("_json_object_hook", persistence._make_decoder)):
        monkeypatch.setattr(ministack, name, make(getattr(ministack, name), persistence.Blobs(blobs)))
    stepfunctions: Any = pkgutil.resolve_name("ministack.services.stepfunctions")
    machines, saver = stores()[1](), persistence.Saver({})
    monkeypatch.setattr(stepfunctions, "_state_machines", machines)
    written = set[int]()

    definitions = {"large": "ä\ud800" * 5000, "small": "{}"}
    for change in ({}, {"small": "[]"}, {"large": "b" * 10_000}):
        for name, definition in (definitions | change).items():
            machines.set_scoped("0", "here", name, {"definition": definition, "name": name})
        assert saver._save_service("stepfunctions", stepfunctions.get_state)
        assert load("stepfunctions")["state_machines"].to_dict() == machines.to_dict()
        assert len(path.read_bytes()) < 1000
        written |= {file.stat().st_ino for file in blobs.iterdir()}

    assert len(written) == 2
    persistence.prune_blobs(tmp_path, blobs)
    assert [file.read_bytes() for file in blobs.iterdir()] == [b"b" * 10_000]


def stores() -> tuple[Any, Any]:
    return tuple(
        pkgutil.resolve_name(f"ministack.core.responses:{name}")
        for name in ("AccountScopedDict", "AccountRegionScopedDict")
    )  # type: ignore[return-value]


@pytest.mark.parametrize("number", [0, 1])
def test_the_copy_of_a_store_is_one_of_its_own_with_what_the_store_has(number: int) -> None:
    made = stores()[number]()
    made.set_scoped("0", "here", "a", {"list": [1]})
    for store in (stores()[number](), made):
        copied = persistence._deepcopy(store, {})
        assert type(copied) is type(store)
        assert copied.to_dict() == store.to_dict()
        assert copied._data is not store._data
    copied.get_scoped("0", "here", "a")["list"].append(2)
    assert made.get_scoped("0", "here", "a") == {"list": [1]}


def test_a_service_is_written_on_the_loop_only_while_that_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, took, saved = [1000.0], [0.0005], list[str]()
    monkeypatch.setattr(persistence.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(persistence, "_files_of", lambda *names: names)
    monkeypatch.setattr(persistence, "_states", lambda: {"ssm": lambda: None})
    saver = persistence.Saver({})

    def save(service: str, _: Any) -> bool:
        clock[0] += took[0]
        saved.append(service)
        return True

    monkeypatch.setattr(saver, "_save_service", save)
    assert not saver.settle_at_once("ssm")  # nobody knows yet how long it takes
    assert saved == []
    saver.settle("ssm")
    took[0] = 0.002
    assert saver.settle_at_once("ssm")
    assert saved == ["ssm"] * 2
    assert not saver.settle_at_once("ssm")  # it took too long
    took[0] = 0.0005
    saver.settle("ssm")
    with saver._turns["ssm"]:
        assert not saver.settle_at_once("ssm")  # somebody else writes it, perhaps for long
    assert saved == ["ssm"] * 3
    assert saver.settle_at_once("ssm")
    assert saved == ["ssm"] * 4


def test_what_cannot_be_written_on_the_loop_is_said_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistence, "_files_of", lambda *names: names)
    monkeypatch.setattr(persistence, "_states", lambda: {"ssm": lambda: None})
    saver = persistence.Saver({})
    monkeypatch.setattr(saver, "_took", {"ssm": 0.0})

    def save(service: str, _: Any) -> bool:
        raise OSError("no room")

    monkeypatch.setattr(saver, "_save_service", save)
    assert saver.settle_at_once("ssm")
    assert saver.problem == "the state was not saved: no room"
    assert saver._dirty.is_set()


@pytest.mark.parametrize("name", [persistence._BLOB_KEY, persistence._TEXT_KEY])
@pytest.mark.parametrize("value", ["{path}", "../secret", 5, {"S": "a"}])
def test_tags_that_are_called_like_a_reference_are_tags(tmp_path: Path, name: str, value: Any) -> None:
    """To follow one would delete the file that it names: its content is not what its name says."""
    secret, blobs = tmp_path / "secret", tmp_path / "blobs"
    secret.write_text("somebody's")
    blobs.mkdir()
    tags = {name: value.format(path=secret) if isinstance(value, str) else value}
    decode = persistence._make_decoder(lambda value: value, persistence.Blobs(blobs))
    assert decode(tags) == tags
    assert decode({**tags, "a": "b"}) == {**tags, "a": "b"}
    assert secret.read_text() == "somebody's"
