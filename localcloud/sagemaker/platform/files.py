"""Paths that come from outside: object keys and archive members must stay inside their folder."""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path, PurePosixPath

from localcloud import disk
from localcloud.sagemaker.errors import JobFailedError, one_line

MAX_MEMBERS, MAX_LEVELS = 100_000, 100  # files and folders of an archive; folders in one another
MAX_EXPANSION, EXPANDED_BYTES = 200, 1 << 30  # an archive that grows beyond both is a bomb

_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)  # what the decompressors raise
_CHUNK_BYTES = 1024 * 1024
_NAME_BYTES = 255  # what file systems hold
_HEADER_BYTES = 1024 * 1024
_EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class UnsafePathError(JobFailedError):
    """A key or an archive member that leaves its folder; refused before anything is written."""


def safe_path(root: Path, relative: str) -> Path:
    """Return `root / relative`.

    Raises UnsafePathError when that leaves `root` (`..`, absolute, NUL, empty), or is long or deep.
    """
    parts = PurePosixPath(relative).parts
    name = f"'{one_line(relative)}'"
    if not parts or ".." in parts or relative.startswith("/") or "\0" in relative or "\\" in relative:
        raise UnsafePathError(f"ClientError: the path {name} leaves its folder; rename the object or the file.")
    if len(parts) > MAX_LEVELS:
        raise UnsafePathError(f"ClientError: the path {name} is more than {MAX_LEVELS} levels deep; put it higher.")
    if any(len(part.encode("utf-8", "surrogatepass")) > _NAME_BYTES for part in parts):
        raise UnsafePathError(f"ClientError: a name in {name} is longer than {_NAME_BYTES} bytes; shorten it.")
    return root.joinpath(*parts)


class ArchiveTooLargeError(JobFailedError):
    """An archive that unpacks to more than anybody packs."""


class _Member(tarfile.TarInfo):
    """A member whose extended header is read only when it is as short as a name: tarfile reads it as a whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED_HEADERS and self.size > _HEADER_BYTES:
            raise ArchiveTooLargeError(f"ClientError: the archive has a header of {self.size:,} bytes.")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return member


def extract_tar(archive: Path, destination: Path) -> None:
    """Unpack a tar (any compression) whose members are plain files and folders inside `destination`.

    Raises UnsafePathError for a link, a device or a path that leaves the folder, ArchiveTooLargeError for a bomb,
    JobFailedError for what is no tar. Owner, group and special permission bits of the archive are ignored.
    """
    destination.mkdir(parents=True, exist_ok=True)
    size_left, room = max(EXPANDED_BYTES, MAX_EXPANSION * archive.stat().st_size), MAX_MEMBERS
    failure = f"{archive.name} is not a readable tar archive"
    damaged = decompressing(failure, tarfile.TarError, ValueError, OverflowError)
    with damaged, tarfile.open(archive, tarinfo=_Member) as tar:
        for member in tar:
            target = _target(member, destination)
            size_left -= member.size if member.isreg() else 0
            room -= 1 + _missing(target.parent)
            if size_left < 0 or room < 0:
                raise ArchiveTooLargeError(
                    f"ClientError: {archive.name} unpacks to more than {MAX_EXPANSION} times its size, or to more "
                    f"than {MAX_MEMBERS:,} files and folders."
                )
            _extract_member(tar, member, target)


@contextmanager
def decompressing(failure: str, *others: type[Exception]) -> Iterator[None]:
    """Turn data that cannot be decompressed into the job's failure; that the disk is full is no fault of the data."""
    try:
        yield
    except _UNREADABLE + others as error:
        if disk.is_full(error):
            raise
        raise JobFailedError(f"ClientError: {failure}: {one_line(str(error))}") from error


def _target(member: tarfile.TarInfo, destination: Path) -> Path:
    is_root = member.isdir() and PurePosixPath(member.name) == PurePosixPath(".")
    return destination if is_root else safe_path(destination, member.name)


def _missing(folder: Path) -> int:
    """Return the number of folders that do not exist yet on the way to one, itself included."""
    return sum(1 for _ in takewhile(lambda each: not each.exists(), (folder, *folder.parents)))


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isfile() else None
    if source is None:
        name = one_line(member.name)
        raise UnsafePathError(f"ClientError: the archive's member '{name}' is a link or a device, not a file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            sink.write(chunk)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def regular_files(root: Path) -> list[Path]:
    """Return every regular file below `root`, sorted; symbolic links are neither listed nor followed."""
    files: list[Path] = []
    for folder, _, names in os.walk(root):
        paths = (Path(folder, name) for name in names)
        files += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(files)


def make_tar(source: Path, archive: Path) -> None:
    """Write the regular files of `source` into a gzip tar whose root is the content of the folder."""
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for file in regular_files(source):
            tar.add(file, arcname=file.relative_to(source).as_posix(), recursive=False)
