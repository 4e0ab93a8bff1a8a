"""Layers are unpacked once, where MiniStack unpacks them again for every worker of every function.

A layer with numpy takes about a second and 80 MB each time; here its workers share one folder, named by the content's
hash, and so also the byte code that the first of them compiles. The folders stay for the next start, which deletes
those of layers that are gone; what a power cut has left of one is found by its checksums, and unpacked again.

Layers with the same content have it in memory once; ten stacks of an application would have it ten times.
"""

import io
import os
import shutil
import tempfile
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

from localcloud.engine.persistence import digests
from localcloud.engine.seams import Seams

Worker = Seams("core.lambda_runtime.Worker", _spawn="b2c42ad0")
lambda_svc = Seams("services.lambda_svc", _layers="7870682e", _resolve_layer_zip="98ba7507")
s3 = Seams("services.s3", _get_object_data="242b0d80")

JsonObject = dict[str, Any]
_unpacking = threading.Lock()
_whole: set[Path] = set()


def register(folder: Path, contents: Path) -> None:
    """Replace the seam, and delete what is unpacked of contents that are not in their folder (`persistence.Blobs`).

    MiniStack must be importable (the environment is set).
    """
    for path in folder.glob("*"):
        if not (contents / path.name).exists():
            shutil.rmtree(path, ignore_errors=True)
    Worker.replace("_spawn", lambda original: _make_spawn(original, folder))
    s3.replace("_get_object_data", _make_get_object_data)


def _make_get_object_data(original: Any) -> Any:
    def get_object_data(*arguments: Any, **options: Any) -> bytes | None:
        """Return an object for another service: where a layer has been made of the same bytes, those themselves."""
        data: bytes | None = original(*arguments, **options)
        known = (version["_zip_data"] for layer in lambda_svc._layers.all_values() for version in layer["versions"])
        return next((content for content in known if content == data), data)

    return get_object_data


def _make_spawn(original: Any, folder: Path) -> Any:
    def spawn(self: Any) -> None:
        """Give Python workers the shared folders, in the variable through which MiniStack's own script finds layers."""
        config = self.config
        if not config.get("Layers") or not str(config.get("Runtime", "")).startswith("python"):
            original(self)
            return
        variables = dict((config.get("Environment") or {}).get("Variables") or {})
        variables["PYTHONDONTWRITEBYTECODE"] = ""  # whatever this machine's environment says
        variables["_LAMBDA_LAYERS_DIRS"] = os.pathsep.join(str(path) for path in _unpacked(config["Layers"], folder))
        self.config = {**config, "Layers": [], "Environment": {"Variables": variables}}
        try:
            original(self)
        finally:
            self.config = config

    return spawn


def _unpacked(layers: list[JsonObject | str], folder: Path) -> list[Path]:
    paths = []
    for layer in layers:
        content = lambda_svc._resolve_layer_zip(layer)
        if content:
            paths.append(unpack(content, folder))
        elif not (isinstance(layer, dict) and layer.get("CodeSize") == 0):
            raise RuntimeError(f"The layer {layer} of the function has no content; publish it again.")
    return paths


def unpack(content: bytes, folder: Path) -> Path:
    """Return the folder with the content of a zip file, made whole or not at all."""
    path = folder / digests.of(content)
    with _unpacking:
        if path not in _whole or not path.exists():
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                _make_whole(path, archive)
            _whole.add(path)
    return path


def _make_whole(path: Path, archive: zipfile.ZipFile) -> None:
    if _is_whole(path, archive):
        return
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        archive.extractall(draft)
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _is_whole(path: Path, archive: zipfile.ZipFile) -> bool:
    try:
        return path.exists() and all(
            zlib.crc32((path / member.filename).read_bytes()) == member.CRC
            for member in archive.infolist()
            if not member.is_dir()
        )
    except OSError:
        return False
