"""Paths that come from outside: object keys and archive members must stay inside their folder."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath

from .errors import JobFailedError

_CHUNK_BYTES = 1024 * 1024


class UnsafePathError(JobFailedError):
    """A key or an archive member that leaves its folder; refused before anything is written."""


def safe_path(root: Path, relative: str) -> Path:
    """`root / relative`, or UnsafePathError when that would leave `root` (`..`, absolute, NUL, empty)."""
    parts = PurePosixPath(relative).parts
    if not parts or ".." in parts or relative.startswith("/") or "\0" in relative or "\\" in relative:
        raise UnsafePathError(f"ClientError: the path {relative!r} leaves its folder; rename the object or the file.")
    return root.joinpath(*parts)


def extract_tar(archive: Path, destination: Path) -> None:
    """Unpack a tar (any compression) whose members are plain files and folders inside `destination`.

    Raises UnsafePathError for a link, a device or a path that leaves the folder, JobFailedError for what is no tar.
    Owner, group and special permission bits of the archive are ignored.
    """
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract_member(tar, member, destination)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise JobFailedError(f"ClientError: {archive.name} is not a readable tar archive: {error}") from error


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, destination: Path) -> None:
    if PurePosixPath(member.name) == PurePosixPath("."):
        return
    target = safe_path(destination, member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isfile() else None
    if source is None:
        raise UnsafePathError(f"ClientError: the archive's member {member.name!r} is a link or a device, not a file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            sink.write(chunk)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def regular_files(root: Path) -> list[Path]:
    """Every regular file below `root`, sorted; symbolic links are neither listed nor followed."""
    found: list[Path] = []
    for folder, _, names in os.walk(root):
        paths = (Path(folder, name) for name in names)
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def make_tar(source: Path, archive: Path) -> None:
    """Write the regular files of `source` into a gzip tar whose root is the content of the folder."""
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for file in regular_files(source):
            tar.add(file, arcname=file.relative_to(source).as_posix(), recursive=False)
