"""What is no data by its name: hidden files, folder markers, what desktops, office programs and copies leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perennial.runs import no_data


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("raw/", "a folder marker"),
        ("raw/2026/", "a folder marker"),
        ("raw/2026_$folder$", "a folder marker"),
        ("raw/_SUCCESS", "hidden: '_SUCCESS' begins with '_'"),
        ("raw/day=1/_committed_123", "hidden: '_committed_123' begins with '_'"),
        ("raw/_temporary/0/part-00000.csv", "hidden: '_temporary' begins with '_'"),
        ("raw/.spark-staging-1/part-00000.csv", "hidden: '.spark-staging-1' begins with '.'"),
        ("raw/.DS_Store", "hidden: '.DS_Store' begins with '.'"),
        ("raw/.~lock.cars.csv#", "hidden: '.~lock.cars.csv#' begins with '.'"),
        ("raw/__MACOSX/cars.csv", "hidden: '__MACOSX' begins with '_'"),
        ("raw/Thumbs.db", "a thumbnail or folder setting of a desktop"),
        ("raw/a/desktop.ini", "a thumbnail or folder setting of a desktop"),
        ("raw/~$cars.xlsx", "a lock file of an office program"),
        ("raw/~lock.cars.csv#", "a lock file of an office program"),
        ("raw/part-00000.csv.crc", "a checksum file"),
        ("raw/cars.csv.tmp", no_data.UNFINISHED),
        ("raw/cars.csv._COPYING_", no_data.UNFINISHED),
    ],
)
def test_what_programs_leave_beside_files_is_no_data(key, reason):
    assert no_data.reason(key, "raw/") == reason


@pytest.mark.parametrize(
    "key",
    [
        "raw/cars.csv",
        "raw/part-00000-1b2c.snappy.parquet",
        "raw/_day=1/part-00000.csv",  # the folder of a partition column
        "raw/thumbs.db.csv",
        "raw/~cars.csv",
        "raw/a_b/c.d/cars.csv",
        "raw/tmp",
    ],
)
def test_what_may_be_data_is_not_left_out_by_its_name(key):
    assert no_data.reason(key, "raw/") is None


def test_only_what_stands_below_the_data_prefix_counts():
    assert no_data.reason("_data/.in/cars.csv", "_data/.in/") is None
    assert no_data.reason("_data/.in/_SUCCESS", "_data/.in/") == "hidden: '_SUCCESS' begins with '_'"


@given(some.text(alphabet="abcdefghij.-_ =0", min_size=1).filter(lambda name: name[0] not in "._"))
def test_a_name_of_letters_and_digits_with_a_usual_ending_is_always_data(name):
    assert no_data.reason(f"raw/{name}.csv", "raw/") is None
