"""`make copy-data`: files keep the order of their drops, by which the last row of a key counts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from perennial.runs import work
from perennial_cli import copy_data
from tests.command import exit_code, perennial
from tests.unit.conftest import BUCKET, REGION, STACK, FakeAws
from tests.unit.perennial_cli.test_erase import described

OLD = "old-bucket"


@pytest.fixture
def old(aws: FakeAws, answers: Callable[..., list[Any]]) -> Any:
    """The client of a bucket of a stack that was deleted; the new one has the data prefix `raw/`."""
    answers("cloudformation", "DescribeStacks", described())
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=OLD, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=OLD, VersioningConfiguration={"Status": "Enabled"})
    return s3


def order(s3: Any) -> list[str]:
    """The keys of the stack's data in the order in which a run takes them."""
    ages = []
    for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/").get("Contents", []):
        head = s3.head_object(Bucket=BUCKET, Key=item["Key"])
        ages.append((work.dropped_at(head, head["LastModified"]), item["Key"]))
    return [key for _, key in sorted(ages)]


def copied(source: str = f"s3://{OLD}/in/") -> int:
    return exit_code("copy-data", source, STACK)


def test_copies_have_the_times_of_their_originals(old):
    drops = {}
    for day, name in enumerate(("z.csv", "m.csv", "a.csv")):
        stated = f"2026-11-0{day + 1}T00:00:00+00:00"
        old.put_object(Bucket=OLD, Key=f"in/{name}", Body=name.encode(), Metadata={"dropped-at": stated, "by": "me"})
        drops[f"raw/{name}"] = stated
    old.put_object(Bucket=OLD, Key="in/new.csv", Body=b"n", ContentType="text/csv")
    written = old.head_object(Bucket=OLD, Key="in/new.csv")["LastModified"]
    assert copied() == 0
    assert order(old) == ["raw/z.csv", "raw/m.csv", "raw/a.csv", "raw/new.csv"]
    for key, stated in drops.items():
        assert old.head_object(Bucket=BUCKET, Key=key)["Metadata"] == {"dropped-at": stated, "by": "me"}
    head = old.head_object(Bucket=BUCKET, Key="raw/new.csv")
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"dropped-at": written.isoformat()})
    assert old.get_object(Bucket=BUCKET, Key="raw/new.csv")["Body"].read() == b"n"


def test_a_copy_is_never_newer_than_a_correction_that_came_after_its_original(old):
    """A later drop has its own time; the copies keep theirs, though they are written after it."""
    old.put_object(Bucket=OLD, Key="in/old.csv", Body=b"old", Metadata={"dropped-at": "2026-11-01T00:00:00+00:00"})
    old.put_object(Bucket=BUCKET, Key="raw/a-correction.csv", Body=b"new")
    assert copied() == 0
    assert order(old) == ["raw/old.csv", "raw/a-correction.csv"]


def test_the_oldest_is_copied_first_and_what_is_there_stays(old, capsys):
    for name, day in (("b.csv", 1), ("a.csv", 2)):
        old.put_object(
            Bucket=OLD, Key=f"in/{name}", Body=b"theirs", Metadata={"dropped-at": f"2026-11-0{day}T00:00:00+00:00"}
        )
    old.put_object(Bucket=BUCKET, Key="raw/a.csv", Body=b"mine")
    assert copied() == 0
    assert capsys.readouterr().out.splitlines() == [
        "copied: raw/b.csv, dropped at 2026-11-01T00:00:00+00:00",
        "there already, and left as it is: raw/a.csv",
    ]
    assert old.get_object(Bucket=BUCKET, Key="raw/a.csv")["Body"].read() == b"mine"


def test_what_is_no_data_and_what_was_deleted_is_not_copied(old):
    for key in ("in/cars.csv", "in/_SUCCESS", "in/gone.csv"):
        old.put_object(Bucket=OLD, Key=key, Body=b"x")
    old.delete_object(Bucket=OLD, Key="in/gone.csv")
    assert copied() == 0
    assert order(old) == ["raw/cars.csv"]


def test_a_prefix_without_data_is_an_error_that_names_it(old, capsys):
    assert copied() == 1
    assert "error: there are no data below s3://old-bucket/in/; expected files" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["old-bucket/in/", "s3://old-bucket", "s3://old-bucket/in"])
def test_a_source_that_is_no_address_of_a_prefix_is_refused(old, source):
    ended = perennial("copy-data", source, STACK)
    assert ended.exit_code == 2
    assert f"got '{source}'; expected s3://BUCKET/PREFIX/" in " ".join(ended.stderr.replace("│", "").split())


def test_a_stack_that_is_not_deployed_whole_gets_nothing(old, answers):
    status, text = described()
    answers("cloudformation", "DescribeStacks", (status, text.replace("DataBucketName", "Other")))
    with pytest.raises(copy_data.CopyDataError, match="or not deployed whole"):
        copy_data.prefix_of(STACK)


def test_what_was_copied_is_json_for_machines(old):
    old.put_object(Bucket=OLD, Key="in/b.csv", Body=b"b", Metadata={"dropped-at": "2026-11-01T00:00:00+00:00"})
    expected = [{"key": "raw/b.csv", "copied": True, "dropped_at": "2026-11-01 00:00:00+00:00"}]
    assert json.loads(perennial("copy-data", f"s3://{OLD}/in/", STACK, "--json").stdout) == expected
    again = json.loads(perennial("copy-data", f"s3://{OLD}/in/", STACK, "--json").stdout)
    assert again == [{**expected[0], "copied": False}]
