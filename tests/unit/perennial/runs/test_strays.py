"""Files that are put aside: known to later runs until they, or what reads them, change; as many as fit."""

import json
from datetime import UTC, datetime

import pytest

from perennial.model import definition
from perennial.runs import strays
from perennial.runs.work import DataFile, Listing
from tests.unit.conftest import ROOT

NOW = datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)
DEFINITION = definition.load(ROOT / "models" / "used-cars" / "model.yaml").as_json()
README = {"Key": "raw/readme.txt", "VersionId": "v1", "Reason": "no table"}
READER = strays.reader(DEFINITION, "code")


def listing(*files):
    return Listing(tuple(DataFile(key, version, "e", 1, NOW) for key, version in files), (), NOW)


def test_a_known_stray_is_ignored_with_its_reason_until_it_is_replaced():
    known = strays.remembered([], [README], READER, "run-1")
    data = strays.without(listing(("raw/a.csv", "v1"), ("raw/readme.txt", "v1")), known, READER)
    assert [file.key for file in data.files] == ["raw/a.csv"]
    assert [(item.key, item.reason) for item in data.ignored] == [
        ("raw/readme.txt", "put aside by run run-1: no table")
    ]
    replaced = listing(("raw/a.csv", "v1"), ("raw/readme.txt", "v2"))
    assert strays.without(replaced, known, READER) == replaced


def test_in_a_bucket_without_versions_a_stray_is_known_by_its_content():
    known = strays.remembered([], [README | {"VersionId": "null", "ETag": "e"}], READER, "run-1")
    assert strays.without(listing(("raw/readme.txt", "null")), known, READER).files == ()
    replaced = Listing((DataFile("raw/readme.txt", "null", "other", 1, NOW),), (), NOW)
    assert strays.without(replaced, known, READER) == replaced


@pytest.mark.parametrize("code", ["other code", "code"])
def test_a_stray_is_tried_again_when_what_reads_it_has_changed(code):
    known = strays.remembered([], [README], READER, "run-1")
    columns = {**DEFINITION["columns"], "colour": {"type": "string"}}
    other = strays.reader(DEFINITION if code != "code" else {**DEFINITION, "columns": columns}, code)
    data = listing(("raw/readme.txt", "v1"))
    assert strays.without(data, known, other) == data
    assert strays.reader({**DEFINITION, "gate": {}, "hyperparameters": {}}, "code") == READER


def test_a_stray_is_remembered_once_with_the_run_that_met_it_first():
    once = strays.remembered([], [README], READER, "run-1")
    assert strays.remembered(once, [README], READER, "run-2") == once
    since = {stray["mark"]: stray["run_id"] for stray in once}
    assert strays.with_first_run(README, since, READER, "run-1") == README
    assert strays.with_first_run(README, since, READER, "run-2") == {**README, "KnownSince": "run-1"}


def test_the_newest_strays_are_remembered_and_they_fit_into_an_item():
    many = [{"Key": f"raw/{number}", "VersionId": "v", "Reason": "é" * 500} for number in range(5000)]
    known = strays.remembered([], many, READER, "run-1")
    assert 500 < len(known) < 5000
    assert known[-1]["mark"] == strays.mark("raw/4999", "v", READER)
    assert len(json.dumps(known, ensure_ascii=False).encode()) < 310_000
    assert len(strays.remembered(known, [README], READER, "run-2")) in (len(known), len(known) + 1)


def test_what_a_report_names_by_position_is_found_by_key_and_version():
    files = [{"Key": f"raw/{name}.csv", "VersionId": f"v{name}", "ETag": "e"} for name in ("a", "b\x01")]
    report = {"aside": [{"position": 1, "name": "raw/b?.csv", "reason": "torn"}]}
    assert strays.put_aside(report, files) == [{**files[1], "Reason": "torn"}]
    assert strays.put_aside(None, files) == strays.put_aside({"rows": {}}, files) == []


@pytest.mark.parametrize(
    ("problems", "reason"),
    [
        (["two", "three"], "torn; two; three"),
        (["x" * 400] * 5, f"torn; {'x' * 400}; {'x' * 400}; and 3 more in report/report.json (aside)"),
        (["x" * 950], "torn; and 1 more in report/report.json (aside)"),
    ],
)
def test_the_reason_of_a_file_has_all_of_its_problems_that_fit(problems, reason):
    files = [{"Key": "raw/a.csv", "VersionId": "v", "ETag": "e"}]
    report = {"aside": [{"position": 0, "name": "raw/a.csv", "reason": "torn", "problems": problems}]}
    assert strays.put_aside(report, files) == [{**files[0], "Reason": reason}]


def test_the_command_that_takes_a_file_away_can_be_pasted():
    assert strays.removal("b", "raw/a b's.csv") == "aws s3 rm 's3://b/raw/a b'\"'\"'s.csv'"
