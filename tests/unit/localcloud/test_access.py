"""The keys of a state folder."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localcloud import access
from localcloud.engine.guard import foreign


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_for_each_folder_and_are_random(tmp_path: Path) -> None:
    first = access.keys(tmp_path / "a")

    assert access.keys(tmp_path / "a") == first
    assert access.keys(tmp_path / "b") != first
    assert (len(first.access_key), len(first.secret_key)) == (20, 40)


def test_only_their_owner_can_read_them_whatever_the_umask_and_the_folder_were(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    before = os.umask(0)
    try:
        access.keys(tmp_path)
    finally:
        os.umask(before)

    assert (mode(tmp_path), mode(tmp_path / "keys.json")) == (0o700, 0o600)


def test_whoever_asks_at_the_same_time_gets_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: access.keys(tmp_path), range(32)))

    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1.example", "example:4566", "[::2]", "localhost.", "127.0.0.1:4566:1", "0"]
)
def test_a_host_that_is_not_the_loopback_is_foreign(host: str) -> None:
    assert foreign({"host": host})
    assert not foreign({"host": "127.0.0.1:4566", "origin": "http://127.0.0.1:4566", "sec-fetch-site": "same-origin"})


def test_a_request_that_names_no_host_is_foreign() -> None:
    assert foreign({})
