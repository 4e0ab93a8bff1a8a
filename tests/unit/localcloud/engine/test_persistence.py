"""What a service has is written as json would write it, and large bytes that a file refers to stay."""

import copy
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from localcloud.engine import persistence


def default(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"__bytes__": value.decode()}
    raise TypeError(value)


@pytest.mark.parametrize("service", ["ssm", persistence.METRICS])
@pytest.mark.parametrize(
    "state",
    [
        {"text": "ä\n\u2028\x00", "list": [1, -2.5, 1e300, True, None], "tuple": (1, "a"), "bytes": b"x"},
        {2: "number", None: "nothing", True: "true", "": {}},
        {"large": 2**64, "half": "\ud800"},
    ],
    ids=["values", "names", "what orjson refuses"],
)
def test_what_is_written_is_read_as_what_json_writes(state: Any, service: str) -> None:
    assert json.loads(persistence._encoded(state, default, service)) == json.loads(json.dumps(state, default=default))


def test_what_cannot_be_written_is_an_error() -> None:
    with pytest.raises(TypeError):
        persistence._encoded({"set": {1}}, default, "ssm")


def test_a_point_that_is_no_number_stays_one() -> None:
    assert math.isnan(json.loads(persistence._encoded({"Value": math.nan}, default, persistence.METRICS))["Value"])


def test_large_bytes_that_a_file_of_either_form_names_are_kept(tmp_path: Path) -> None:
    named = {"a" * 64: json.dumps, "b" * 64: lambda value: persistence._encoded(value, default, "lambda").decode()}
    for digest, write in named.items():
        (tmp_path / f"{digest[0]}.json").write_text(write({"Code": {persistence._BLOB_KEY: digest}}))
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for digest in (*named, "c" * 64):
        (blobs / digest).write_bytes(b"")
    persistence.prune_blobs(tmp_path, blobs)
    assert {path.name for path in blobs.iterdir()} == set(named)


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
