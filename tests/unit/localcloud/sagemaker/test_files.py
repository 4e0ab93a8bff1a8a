"""Keys and archives that try to leave their folder."""

import contextlib
import errno
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.platform import files
from localcloud.sagemaker.platform.files import (
    ArchiveTooLargeError,
    UnsafePathError,
    extract_tar,
    make_tar,
    regular_files,
    safe_path,
)


def archive(path: Path, *members: tuple[str, bytes | None, bytes], link: str = "") -> Path:
    """A gzip tar of (name, content, type)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content or b""), link
            tar.addfile(info, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize("relative", ["../x", "a/../../x", "/etc/passwd", "a/..", "", "a\0b", "..\\x"])
def test_a_path_that_leaves_its_folder_is_refused(relative: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match="leaves its folder"):
        safe_path(tmp_path, relative)


@pytest.mark.parametrize("relative", ["a", "a/b.csv", "..a/b..", "a b/ü.csv"])
def test_a_path_inside_the_folder_is_kept(relative: str, tmp_path: Path) -> None:
    assert safe_path(tmp_path, relative) == tmp_path / relative


def test_an_archive_comes_back_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "code").mkdir(parents=True)
    (source / "code" / "a.py").write_text("1")
    (source / "model").write_bytes(b"\0\1")
    make_tar(source, tmp_path / "model.tar.gz")
    extract_tar(tmp_path / "model.tar.gz", tmp_path / "copy")
    copied = {file.relative_to(tmp_path / "copy").as_posix() for file in regular_files(tmp_path / "copy")}
    assert copied == {"code/a.py", "model"}
    assert (tmp_path / "copy" / "model").read_bytes() == b"\0\1"


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped"])
def test_an_archive_member_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar.gz", (name, b"x", tarfile.REGTYPE))
    with pytest.raises(UnsafePathError):
        extract_tar(packed, tmp_path / "inside")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_refused(kind: bytes, tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar.gz", ("link", None, kind), link="/etc/passwd")
    with pytest.raises(UnsafePathError, match="link or a device"):
        extract_tar(packed, tmp_path / "inside")


def test_a_name_that_no_file_system_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match="longer than 255 bytes"):
        safe_path(tmp_path, "a/" + "ü" * 128)
    assert safe_path(tmp_path, "ü" * 127).name == "ü" * 127


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_an_archive_that_expands_beyond_measure_is_refused(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "EXPANDED_BYTES", 1 << 20)
    with tarfile.open(tmp_path / "bomb.tar.gz", mode) as tar:
        info = tarfile.TarInfo("zeros")
        info.size = 30 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(ArchiveTooLargeError, match="more than 200 times its size"):
        extract_tar(tmp_path / "bomb.tar.gz", tmp_path / "inside")
    assert not (tmp_path / "inside" / "zeros").exists()


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_MEMBERS", 3)
    packed = archive(tmp_path / "a.tar.gz", *((f"{number}", b"", tarfile.REGTYPE) for number in range(4)))
    with pytest.raises(ArchiveTooLargeError, match="more than 3 files"):
        extract_tar(packed, tmp_path / "inside")


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.REGTYPE], ids=["folders", "files"])
def test_the_folders_that_a_member_needs_count_as_well(
    kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_MEMBERS", 100)
    sound = archive(tmp_path / "sound.tar.gz", *((f"{'d/' * 90}{number}", b"", kind) for number in range(10)))
    extract_tar(sound, tmp_path / "inside")
    bomb = archive(tmp_path / "bomb.tar.gz", *((f"{number}/{'d/' * 90}d", b"", kind) for number in range(10)))
    with pytest.raises(ArchiveTooLargeError, match="more than 100 files and folders"):
        extract_tar(bomb, tmp_path / "other")
    assert sum(1 for _ in (tmp_path / "other").rglob("*")) <= 100


@pytest.mark.parametrize("depth", [101, 500, 1_500, 100_000])
def test_folders_in_one_another_without_end_are_refused(depth: int, tmp_path: Path) -> None:
    packed = archive(tmp_path / "deep.tar.gz", ("d/" * (depth - 1) + "d", None, tarfile.DIRTYPE))
    with pytest.raises(UnsafePathError, match=r"'d/d/.* is more than 100 levels deep") as refused:
        extract_tar(packed, tmp_path / "inside")
    assert len(str(refused.value)) < 400
    assert list((tmp_path / "inside").iterdir()) == []


def test_an_archive_of_the_folder_itself_is_unpacked(tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar.gz", (".", None, tarfile.DIRTYPE), ("./a", b"x", tarfile.REGTYPE))
    extract_tar(packed, tmp_path / "inside")
    assert (tmp_path / "inside" / "a").read_bytes() == b"x"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.REGTYPE], ids=["link", "file"])
@pytest.mark.parametrize(
    "nasty", ["../x\n\x1b[31m\u202e", "../" + "long" * 100_000, "x\n\x1b" * 100], ids=["escape", "long", "lines"]
)
def test_names_in_an_archive_are_told_short_and_on_one_line(kind: bytes, nasty: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar.gz", (nasty, b"" if kind == tarfile.REGTYPE else None, kind))
    with pytest.raises(UnsafePathError) as refused:
        extract_tar(packed, tmp_path / "inside")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_an_endless_header_in_an_archive_is_not_read(kind: bytes, tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar.gz", ("header", bytes(2 << 20), kind))
    with pytest.raises(ArchiveTooLargeError, match="a header of 2,097,152 bytes"):
        extract_tar(packed, tmp_path / "inside")


@given(position=st.integers(0, 10_000), content=st.binary(max_size=40), mode=st.sampled_from(["w", "w:gz", "w:bz2"]))
def test_a_damaged_archive_is_refused_or_unpacked_inside(
    tmp_path_factory: pytest.TempPathFactory, position: int, content: bytes, mode: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    with tarfile.open(folder / "a.tar", mode, format=tarfile.PAX_FORMAT) as tar:
        for name in ("code/inference.py", "ü" * 90, "model"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    packed = bytearray((folder / "a.tar").read_bytes())
    start = position % len(packed)
    packed[start : start + len(content)] = content
    (folder / "a.tar").write_bytes(packed)
    with contextlib.suppress(JobFailedError):
        extract_tar(folder / "a.tar", folder / "inside")
    assert {path.name for path in folder.iterdir()} <= {"a.tar", "inside"}


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_text("hello")
    with pytest.raises(JobFailedError, match=r"model\.tar\.gz is not a readable tar archive"):
        extract_tar(tmp_path / "model.tar.gz", tmp_path / "inside")


def test_a_sound_archive_that_finds_no_room_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", refuse)
    packed = archive(tmp_path / "model.tar.gz", ("model", b"abc", tarfile.REGTYPE))
    with pytest.raises(OSError, match="No space left"):
        extract_tar(packed, tmp_path / "inside")


def test_symbolic_links_are_neither_listed_nor_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "real").write_text("x")
    (inside / "file-link").symlink_to(outside / "secret")
    (inside / "folder-link").symlink_to(outside)
    assert regular_files(inside) == [inside / "real"]
