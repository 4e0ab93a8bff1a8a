"""Layers that stay unpacked between starts: what is not as it was packed is unpacked again."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from localcloud.engine import persistence
from localcloud.engine.lambda_ import layers


def _packed() -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("python/one.py", "ONE = 1\n")
        archive.writestr("python/two.py", "TWO = 2\n")
    return package.getvalue()


def _tear(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


@pytest.mark.parametrize("damage", [_tear, Path.unlink, lambda file: file.write_bytes(b"")])
def test_what_a_power_cut_has_left_of_a_layer_is_unpacked_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = layers.unpack(_packed(), tmp_path)
    compiled = path / "python/__pycache__/one.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    layers._whole.clear()  # another start
    assert layers.unpack(_packed(), tmp_path) == path
    assert compiled.exists()

    damage(path / "python/two.py")
    layers._whole.clear()
    assert (layers.unpack(_packed(), tmp_path) / "python/two.py").read_text() == "TWO = 2\n"
    assert [*tmp_path.iterdir()] == [path]


def test_a_layer_that_is_unpacked_is_not_read_for_each_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _packed()
    path = layers.unpack(package, tmp_path)
    monkeypatch.setattr(persistence, "hashlib", None)
    monkeypatch.setattr(layers, "zipfile", None)
    assert layers.unpack(package, tmp_path) == path


def test_layers_of_many_stacks_with_the_same_content_have_it_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(key: str) -> bytes | None:
        return {"same": bytes(bytearray(package)), "other": b"other"}.get(key)

    package, deleted = _packed(), {"_zip_data": None}
    stored = {"mine": {"versions": [deleted, {"_zip_data": b"another"}, {"_zip_data": package}]}}
    monkeypatch.setattr(layers, "lambda_svc", SimpleNamespace(_layers=SimpleNamespace(all_values=stored.values)))
    assert get("same") is not package

    shared = layers._make_get_object_data(get)

    assert shared("same") is package
    assert shared("other") == b"other"
    assert shared("none") is None
