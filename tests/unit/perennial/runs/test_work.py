"""Work: what the data are, who works on them, and which of many events does."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perennial.runs.run_input import TriggerType
from perennial.runs.work import (
    DataFile,
    Holder,
    Listing,
    NoWork,
    already_trained,
    checksum,
    claim,
    configuration_key,
    drop_time,
    empty_drop,
    fingerprint,
    is_mailed,
    listing,
    newest,
    run_status,
    superseded,
    work_key,
)

NOW = datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)
QUIET = 30


def file(key, age=0.0, version="v1", etag="e1", size=10, checksum=""):
    return DataFile(key, version, etag, size, NOW - timedelta(seconds=age), checksum)


def version(key, **more):
    return {"Key": key, "VersionId": "v", "ETag": '"e"', "Size": 5, "LastModified": NOW, "IsLatest": True, **more}


# ---- The listing


def listed(*versions):
    return listing(versions, "raw/", NOW)


def test_older_versions_folder_markers_empty_objects_and_what_is_no_data_are_left_out():
    found = listed(
        version("raw/_SUCCESS", Size=0), version("raw/a"), version("raw/a", IsLatest=False), version("raw/"),
        version("raw/e", Size=0), version("raw/.hidden/b"),
    )  # fmt: skip
    assert [item.key for item in found.files] == ["raw/a"]
    assert [(item.key, item.reason) for item in found.ignored] == [
        ("raw/", "a folder marker"),
        ("raw/.hidden/b", "hidden: '.hidden' begins with '.'"),
        ("raw/_SUCCESS", "hidden: '_SUCCESS' begins with '_'"),
        ("raw/e", "an empty object"),
    ]


def test_files_stand_in_the_order_in_which_they_came_then_by_key():
    later = NOW + timedelta(seconds=1)
    found = listed(version("raw/b"), version("raw/z", LastModified=later), version("raw/a"))
    assert [item.key for item in found.files] == ["raw/a", "raw/b", "raw/z"]


def test_the_manifest_is_as_the_jobs_know_it():
    assert listed(version("raw/a"), version("raw/")).as_manifest() == {
        "Files": [{"Key": "raw/a", "VersionId": "v", "ETag": "e", "Size": 5, "LastModified": "2026-11-20T09:34:40Z"}],
        "Ignored": [{"Key": "raw/", "VersionId": "v", "Reason": "a folder marker"}],
    }


# ---- Empty files


def drop(key):
    return {"key": key, "version-id": "v"}


def at(seconds):
    return {"LastModified": NOW - timedelta(seconds=seconds)}


def told(key, *versions, now=NOW):
    return empty_drop(drop(key), listed(*versions), now, QUIET)


def test_an_empty_file_that_comes_alone_is_told_by_its_own_run():
    alone = told("raw/e", version("raw/a", **at(500)), version("raw/e", Size=0, **at(QUIET)))
    assert (alone.others, alone.reported_by) == (0, None)


def test_only_an_empty_file_that_is_still_there_is_one():
    versions = version("raw/a"), version("raw/folder/", Size=0), version("raw/e", Size=0)
    assert told("raw/a", *versions) is None
    assert told("raw/folder/", *versions) is None
    assert empty_drop(None, listed(*versions), NOW, QUIET) is None


@pytest.mark.parametrize("seconds", [-QUIET, 0, QUIET])
def test_an_empty_file_beside_data_of_the_same_drop_is_told_by_the_run_of_the_data(seconds):
    near = told("raw/e", version("raw/a", **at(60 + seconds)), version("raw/e", Size=0, **at(60)))
    assert "came together with data" in near.reported_by
    far = told("raw/e", version("raw/a", **at(60 + 2 * QUIET)), version("raw/e", Size=0, **at(60)))
    assert far.reported_by is None


def test_of_several_empty_files_that_come_together_the_newest_tells_of_all():
    versions = [version(f"raw/{number}", Size=0, **at(QUIET - number)) for number in range(5)]
    answers = {item["Key"]: told(item["Key"], *versions) for item in versions}
    newest = answers.pop("raw/4")
    assert (newest.others, newest.reported_by) == (4, None)
    assert all("its run tells of both" in answer.reported_by for answer in answers.values())


def test_a_newer_empty_file_whose_event_may_have_been_lost_tells_of_nothing():
    versions = [version("raw/a", Size=0, **at(1)), version("raw/b", Size=0)]
    assert told("raw/a", *versions, now=NOW + timedelta(seconds=2 * QUIET + 60)).reported_by
    assert told("raw/a", *versions, now=NOW + timedelta(seconds=2 * QUIET + 61)).reported_by is None


# ---- The fingerprint


def test_the_same_bytes_put_again_are_the_same_data_where_s3_keeps_a_checksum():
    before, again = (file("a", etag=etag, checksum="CRC64NVME:abc=") for etag in ("e1", "e2"))
    assert fingerprint([before]) == fingerprint([again])
    assert fingerprint([file("a", checksum="CRC64NVME:other=")]) != fingerprint([before])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"ChecksumCRC64NVME": "abc="}, "CRC64NVME:abc="),
        ({"ChecksumCRC32": "x==", "ChecksumSHA256": "y=="}, "SHA256:y=="),
        ({"ETag": "e"}, ""),
    ],
)
def test_a_checksum_names_its_algorithm(head, expected):
    assert checksum(head) == expected


@given(some.permutations([file("a"), file("b", 5), file("c", 9, etag="e2")]))
def test_the_fingerprint_does_not_depend_on_the_order(files):
    assert fingerprint(files) == fingerprint([file("a"), file("b", 5), file("c", 9, etag="e2")])


def test_the_fingerprint_does_not_depend_on_times_and_version_ids():
    assert fingerprint([file("a", 0, "v1")]) == fingerprint([file("a", 99, "v2")])


@pytest.mark.parametrize(
    "other", [[file("b")], [file("a", etag="x")], [file("a", size=11)], [file("a"), file("b")], []]
)
def test_other_data_have_another_fingerprint(other):
    assert fingerprint(other) != fingerprint([file("a")])


def test_names_and_contents_cannot_be_shifted_into_each_other():
    assert fingerprint([file("a", etag="be")]) != fingerprint([file("ab", etag="e")])


def test_the_work_key_depends_on_data_configuration_and_code():
    keys = {
        work_key("d", configuration_key({"a": 1}), "c"),
        work_key("x", configuration_key({"a": 1}), "c"),
        work_key("d", configuration_key({"a": 2}), "c"),
        work_key("d", configuration_key({"a": 1}), "x"),
    }
    assert len(keys) == 4
    assert configuration_key({"a": 1, "b": 2}) == configuration_key({"b": 2, "a": 1})


# ---- Bursts


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def test_the_newest_drop_works():
    files = [file("a", 5), file("b", 0)]
    assert superseded({"key": "b"}, NOW, files, NOW, QUIET) is None


def test_an_older_drop_leaves_the_work_to_the_newest():
    reason = superseded({"key": "a"}, ago(5), [file("a", 5), file("b", 0)], NOW, QUIET)
    assert reason is not None
    assert "'b'" in reason


def test_of_files_of_the_same_second_exactly_one_works():
    files = [file(f"{number:02}") for number in range(50)]
    working = [item.key for item in files if superseded({"key": item.key}, NOW, files, NOW, QUIET) is None]
    assert working == ["49"]


@pytest.mark.parametrize("seconds", [0, 9])
def test_an_older_version_of_the_newest_file_is_superseded(seconds):
    files = [file("a", version="v2")]
    assert superseded({"key": "a", "version-id": "v1"}, ago(seconds), files, NOW, QUIET)
    assert superseded({"key": "a", "version-id": "v2"}, NOW, files, NOW, QUIET) is None


def test_without_a_version_the_content_tells_whether_it_is_the_newest():
    files = [file("a", etag="new")]
    assert superseded({"key": "a", "etag": "old"}, NOW, files, NOW, QUIET)
    assert superseded({"key": "a", "etag": '"new"'}, NOW, files, NOW, QUIET) is None
    assert superseded({"key": "a"}, NOW, files, NOW, QUIET) is None


@pytest.mark.parametrize(("came", "leaves"), [(ago(8), True), (ago(2), False), (None, False)])
def test_a_file_deleted_meanwhile_leaves_the_work_to_newer_ones_only(came, leaves):
    assert (superseded({"key": "gone"}, came, [file("a", 5)], NOW, QUIET) is not None) is leaves


def test_when_a_drop_came_is_when_its_version_came():
    listed = [version("a", VersionId="v3", LastModified=NOW), version("a", VersionId="v2", LastModified=ago(5))]
    assert drop_time({"key": "a", "version-id": "v2"}, listed) == ago(5)
    assert drop_time({"key": "a"}, listed) == NOW
    assert drop_time({"key": "a", "version-id": "v1"}, listed) is None
    assert drop_time({"key": "b", "version-id": "v2"}, listed) is None


@pytest.mark.parametrize(("age", "leaves"), [(2 * QUIET + 60, True), (2 * QUIET + 61, False)])
def test_a_late_event_works_itself_when_the_newest_files_event_may_be_lost(age, leaves):
    files = [file("a", age + 5), file("b", age)]
    assert (superseded({"key": "a"}, ago(age + 5), files, NOW, QUIET) is not None) is leaves


def test_other_triggers_are_never_superseded():
    assert superseded(None, None, [file("a")], NOW, QUIET) is None


# ---- The newest files


def test_only_the_newest_files_are_kept_and_the_others_are_ignored_with_the_reason():
    data = Listing((file("b", age=3), file("c", age=2), file("a", age=1)), (), NOW)
    kept = newest(data, 2)
    assert [one.key for one in kept.files] == ["c", "a"]
    assert [(one.key, one.reason) for one in kept.ignored] == [
        ("b", "left out by training.window: older than the newest 2 files")
    ]
    assert fingerprint(kept.files) != fingerprint(data.files)


@pytest.mark.parametrize("count", [None, 1, 2])
def test_without_older_files_all_are_kept(count):
    data = Listing((file("a"),), (), NOW)
    assert newest(data, count) == data


# ---- Claims


def test_free_work_is_taken():
    assert claim(None, "me", by_person=False) == "Take"


def test_the_own_claim_is_gone_on_with():
    assert claim(Holder("me", "Running"), "me", by_person=False) == "Own"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("Running", "Duplicate"),
        ("Succeeded", "AlreadyTrained"),
        ("Rejected", "AlreadyTrained"),
        ("Failed", "TakeOver"),
        ("TimedOut", "TakeOver"),
        ("Aborted", "TakeOver"),
        ("Lost", "TakeOver"),
    ],
)
def test_what_another_run_holds_depends_on_its_status(status, outcome):
    assert claim(Holder("other", status), "me", by_person=False) == outcome
    assert claim(Holder("other", status), "me", by_person=True) == "TakeOver"


@pytest.mark.parametrize("trigger", ["Drift", "Alarm"])
def test_whoever_asks_for_another_model_learns_that_the_same_data_make_the_same_one(trigger):
    assert already_trained(Holder("other", "Succeeded"), trigger) == (
        "run other has trained on the same data, configuration and code (Succeeded), and retraining on the same data "
        "would change nothing; new labelled data would"
    )


@pytest.mark.parametrize("trigger", ["DataDrop", "Schedule"])
def test_others_learn_how_to_train_known_data_again(trigger):
    reason = already_trained(Holder("other", "Rejected"), trigger)
    assert reason.endswith("(Rejected); start a run by hand to train again")


@pytest.mark.parametrize("trigger", get_args(TriggerType))
@pytest.mark.parametrize("decision", get_args(NoWork))
def test_only_drift_and_alarms_are_told_that_there_was_no_work(decision, trigger):
    told = {(one, by) for one in ("AlreadyTrained", "NoData") for by in ("Drift", "Alarm")}
    assert is_mailed(decision, trigger) == ((decision, trigger) in told)


@pytest.mark.parametrize(
    ("execution", "error", "status"),
    [
        ("RUNNING", None, "Running"),
        ("SUCCEEDED", None, "Succeeded"),
        ("FAILED", "ModelAccuracyTooLow", "Rejected"),
        ("FAILED", "States.Timeout", "Failed"),
        ("FAILED", None, "Failed"),
        ("TIMED_OUT", None, "TimedOut"),
        ("ABORTED", "ModelAccuracyTooLow", "Aborted"),
        ("PENDING_REDRIVE", None, "Failed"),
    ],
)
def test_a_runs_status_follows_from_its_execution(execution, error, status):
    assert run_status(execution, error) == status
