"""Keys and archives that try to leave their folder."""

import io
import tarfile
from pathlib import Path

import pytest

from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.files import UnsafePathError, extract_tar, make_tar, regular_files, safe_path


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


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_text("hello")
    with pytest.raises(JobFailedError, match=r"model\.tar\.gz is not a readable tar archive"):
        extract_tar(tmp_path / "model.tar.gz", tmp_path / "inside")


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
