"""Names of copies: safe, one for each version, with the suffixes of the file."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perennial.data.copies import copy_name

TEXT = some.text(min_size=1)


def named(key: str, version: str = "v1", etag: str = "e1") -> str:
    return copy_name({"Key": key, "VersionId": version, "ETag": etag, "Size": 1})


@pytest.mark.parametrize(
    ("key", "rest"),
    [
        ("raw/cars.csv", "cars.csv"),
        ("raw/deep/a b+%.csv.gz", "a_b_.csv.gz"),
        ("größe.parquet", "gr_e.parquet"),
        ("raw/../../etc/passwd", "passwd"),
        ("raw/..", ".."),
    ],
)
def test_a_copy_has_a_safe_name_that_keeps_its_suffixes(key: str, rest: str) -> None:
    assert named(key)[32:] == f"-{rest}"


@given(TEXT)
def test_a_copy_of_any_key_stays_in_its_folder(key: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}-[A-Za-z0-9._-]{0,80}", named(key))


def test_a_name_stays_what_it_is() -> None:
    """What runs have copied is told by it."""
    assert named("raw/cars.csv") == "491b4bc9b7faef9152edffaa7ef3bc05-cars.csv"


def test_each_version_has_a_name_of_its_own() -> None:
    others = [("raw/b.csv", "v1", "e1"), ("raw/a.csv", "v2", "e1"), ("raw/a.csv", "v1", "e2"), ("a.csv", "v1", "e1")]
    assert len({named("raw/a.csv"), *(named(*other) for other in others)}) == 5
