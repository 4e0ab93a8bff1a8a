"""The function "Snapshot data": each recorded version is copied once for all runs, or the run says which is gone."""

import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import ConnectTimeoutError

from tests.unit.conftest import BUCKET, ROOT, load_function

RUN = "20261120093440-1a2b"
PREFIX = f"s3://{BUCKET}/runs/{RUN}"
FOLDER = f"s3://{BUCKET}/copies/"


@pytest.fixture
def app(aws):
    return load_function("snapshot_data")


@pytest.fixture
def lambda_context(lambda_context):
    lambda_context.seconds = 900.0
    return lambda_context


@pytest.fixture
def snapshot(app, lambda_context):
    return lambda: app.handler({"RunId": RUN, "Prefix": PREFIX}, lambda_context)


def record_versions(aws, *files, run=RUN):
    """Write the manifest of (key, version) pairs as they stand in the bucket now."""
    listed = []
    for key, version in files:
        head = aws.client("s3").head_object(Bucket=BUCKET, Key=key, VersionId=version)
        listed.append(
            {"Key": key, "VersionId": version, "ETag": head["ETag"].strip('"'), "Size": head["ContentLength"]}
        )
    aws.put(f"runs/{run}/manifest.json", json.dumps({"Files": listed, "Ignored": []}))


def copied(aws, run=RUN):
    """The copies that a run's list names, in its order: their names, without what tells the version, and content."""
    first, *names = aws.get_json(f"runs/{run}/input.manifest")
    assert first == {"prefix": FOLDER}
    assert all(re.fullmatch(r"[0-9a-f]{32}-[A-Za-z0-9._-]+", name) for name in names)
    return [(name[33:], aws.get(f"copies/{name}")) for name in names]


def test_files_are_listed_in_manifest_order_under_safe_names(aws, snapshot):
    keys = ["raw/b.csv", "raw/deep/a b+%é.csv.gz", "raw/b.csv/same.csv"]
    record_versions(aws, *[(key, aws.put(key, key)) for key in keys])
    assert snapshot() == {
        "Files": 3,
        "SizeBytes": sum(len(key.encode()) for key in keys),
        "ManifestUri": f"{PREFIX}/input.manifest",
    }
    assert copied(aws) == list(zip(["b.csv", "a_b_.csv.gz", "same.csv"], keys, strict=True))


def test_a_file_overwritten_after_the_listing_is_copied_as_it_was(aws, snapshot):
    version = aws.put("raw/a.csv", "recorded")
    record_versions(aws, ("raw/a.csv", version))
    aws.put("raw/a.csv", "overwritten")
    snapshot()
    assert copied(aws) == [("a.csv", "recorded")]


def test_a_file_deleted_after_the_listing_is_copied_as_it_was(aws, snapshot):
    version = aws.put("raw/a.csv", "recorded")
    record_versions(aws, ("raw/a.csv", version))
    aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/a.csv")
    snapshot()
    assert copied(aws) == [("a.csv", "recorded")]


def test_a_version_deleted_for_good_is_named(aws, app, snapshot):
    version = aws.put("raw/a.csv", "recorded")
    record_versions(aws, ("raw/a.csv", version))
    aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/a.csv", VersionId=version)
    with pytest.raises(
        app.versions.DataVersionMissingError, match=rf"{version} of 'raw/a.csv'.*[Dd]rop the file again"
    ):
        snapshot()


def test_an_object_larger_than_one_copy_call_is_copied_in_parts(aws, app, snapshot, monkeypatch):
    from boto3.s3.transfer import TransferConfig

    monkeypatch.setattr(app, "TRANSFER", TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20))
    body = b"0123456789abcdef" * (11 << 16)
    record_versions(aws, ("raw/big.csv", aws.put("raw/big.csv", body)))
    snapshot()
    (copy,) = aws.keys("copies/")
    head = aws.client("s3").head_object(Bucket=BUCKET, Key=copy)
    assert head["ContentLength"] == len(body)
    assert head["ETag"].endswith('-3"')


def test_a_large_copy_goes_on_part_by_part_in_the_next_call(aws, app, answers, lambda_context, monkeypatch):
    from boto3.s3.transfer import TransferConfig

    parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20, max_concurrency=1)
    monkeypatch.setattr(app, "TRANSFER", parts)
    left = iter([900_000, 900_000, app.LAST_START_MS - 1, 90_000, 900_000, 900_000, 900_000])
    monkeypatch.setattr(type(lambda_context), "get_remaining_time_in_millis", lambda _: next(left))
    body = b"0123456789abcdef" * (11 << 16)
    record_versions(aws, ("raw/big.csv", aws.put("raw/big.csv", body)))
    asked = answers("s3", "UploadPartCopy", None)
    with pytest.raises(app.CopiesLeftError, match="0 of 1 versions were copied when the time of a call was over"):
        app.handler({"RunId": RUN, "Prefix": PREFIX}, lambda_context)
    assert len(asked) == 1
    assert app.handler({"RunId": RUN, "Prefix": PREFIX}, lambda_context)["Files"] == 1
    assert [one.headers["x-amz-copy-source-range"] for one in asked] == [
        b"bytes=0-5242879", b"bytes=5242880-10485759", b"bytes=10485760-11534335",
    ]  # fmt: skip
    etag = aws.get_json(f"runs/{RUN}/manifest.json")["Files"][0]["ETag"]
    assert {one.headers["x-amz-copy-source-if-match"].decode() for one in asked} == {f'"{etag}"'}
    (copy,) = aws.keys("copies/")
    assert aws.client("s3").get_object(Bucket=BUCKET, Key=copy)["Body"].read() == body


def test_a_large_copy_that_another_run_has_made_whole_meanwhile_is_looked_for_again(
    aws, app, answers, snapshot, monkeypatch
):
    from boto3.s3.transfer import TransferConfig

    monkeypatch.setattr(app, "TRANSFER", TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20))
    record_versions(aws, ("raw/big.csv", aws.put("raw/big.csv", b"0123456789abcdef" * (11 << 16))))
    answers("s3", "CompleteMultipartUpload", s3_error(404, "NoSuchUpload"))
    with pytest.raises(app.CopiesLeftError):
        snapshot()


def record_in(aws, bucket, key, body):
    put = aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    listed = {"Key": key, "VersionId": put.get("VersionId", "null"), "ETag": put["ETag"].strip('"'), "Size": len(body)}
    aws.put(f"runs/{RUN}/manifest.json", json.dumps({"Bucket": bucket, "Files": [listed], "Ignored": []}))


def test_the_data_may_be_in_another_bucket_and_without_versions(aws, snapshot, their_bucket):
    record_in(aws, their_bucket, "raw/a.csv", b"recorded")
    snapshot()
    assert copied(aws) == [("a.csv", "recorded")]


def test_of_another_bucket_that_keeps_versions_the_recorded_one_is_copied(aws, snapshot, their_bucket):
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=their_bucket, VersioningConfiguration={"Status": "Enabled"})
    record_in(aws, their_bucket, "raw/a.csv", b"recorded")
    s3.put_object(Bucket=their_bucket, Key="raw/a.csv", Body=b"overwritten")
    snapshot()
    assert copied(aws) == [("a.csv", "recorded")]


def test_what_cannot_be_read_is_taken_away_where_it_is(aws, app, snapshot, their_bucket, answers):
    record_in(aws, their_bucket, "raw/a.csv", b"recorded")
    answers("s3", "CopyObject", (403, "<Error><Code>InvalidObjectState</Code></Error>"))
    with pytest.raises(app.versions.DataVersionRefusedError, match=f"aws s3 rm s3://{their_bucket}/raw/a.csv"):
        snapshot()


def test_without_versions_a_file_that_was_overwritten_is_not_taken_for_the_recorded_one(
    aws, app, snapshot, their_bucket, answers
):
    record_in(aws, their_bucket, "raw/a.csv", b"recorded")
    etag = aws.get_json(f"runs/{RUN}/manifest.json")["Files"][0]["ETag"]
    asked = answers("s3", "CopyObject", (412, "<Error><Code>PreconditionFailed</Code></Error>"))
    said = f"'raw/a.csv' was overwritten or deleted after the run had begun, and s3://{their_bucket} keeps no versions"
    with pytest.raises(app.versions.DataVersionMissingError, match=re.escape(said)):
        snapshot()
    assert asked[0].headers["x-amz-copy-source-if-match"].decode() == f'"{etag}"'
    assert asked[0].headers["x-amz-copy-source"].decode() == f"{their_bucket}/raw/a.csv"


def test_a_retried_call_copies_only_what_is_missing(aws, snapshot, answers):
    record_versions(aws, *[(key, aws.put(key, key)) for key in ("raw/a.csv", "raw/b.csv")])
    snapshot()
    (lost,) = [key for key in aws.keys("copies/") if key.endswith("-b.csv")]
    aws.client("s3").delete_object(Bucket=BUCKET, Key=lost)
    copies = answers("s3", "CopyObject", None)
    snapshot()
    assert [request.url.split("/copies/")[1] for request in copies] == [lost.removeprefix("copies/")]


def test_a_version_is_copied_once_for_all_runs_and_another_version_of_the_key_beside_it(
    aws, app, answers, lambda_context
):
    later = "20261121093440-2b3c"
    record_versions(aws, ("raw/a.csv", aws.put("raw/a.csv", "a")), ("raw/b.csv", first := aws.put("raw/b.csv", "b")))
    app.handler({"RunId": RUN, "Prefix": PREFIX}, lambda_context)
    record_versions(aws, ("raw/a.csv", aws.put("raw/a.csv", "A")), ("raw/b.csv", first), run=later)
    copies = answers("s3", "CopyObject", None)
    answer = app.handler({"RunId": later, "Prefix": PREFIX.replace(RUN, later)}, lambda_context)
    assert (answer["Files"], len(copies)) == (2, 1)
    assert copied(aws) == [("a.csv", "a"), ("b.csv", "b")]
    assert copied(aws, later) == [("a.csv", "A"), ("b.csv", "b")]


def days_later(monkeypatch, app, days):
    """Let copies expire after 60 days, and let this number of days pass."""
    now = datetime.now(UTC) + timedelta(days=days)
    monkeypatch.setenv("COPIES_DAYS", "60")
    monkeypatch.setattr(app, "datetime", SimpleNamespace(now=lambda _: now))


@pytest.mark.parametrize(("days", "made"), [(29, 0), (31, 1)])
def test_where_copies_expire_one_that_is_read_is_made_anew_after_half_its_days(
    aws, app, snapshot, answers, monkeypatch, days, made
):
    record_versions(aws, ("raw/a.csv", aws.put("raw/a.csv", "a")))
    snapshot()
    days_later(monkeypatch, app, days)
    copies = answers("s3", "CopyObject", None)
    snapshot()
    assert len(copies) == made
    assert copied(aws) == [("a.csv", "a")]


def test_an_old_copy_is_read_as_it_is_where_its_version_is_gone(aws, app, snapshot, monkeypatch):
    version = aws.put("raw/a.csv", "a")
    record_versions(aws, ("raw/a.csv", version))
    snapshot()
    aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/a.csv", VersionId=version)
    days_later(monkeypatch, app, 50)
    assert snapshot()["Files"] == 1
    assert copied(aws) == [("a.csv", "a")]


def test_an_old_copy_is_not_read_as_it_is_while_s3_is_disturbed(aws, app, snapshot, answers, monkeypatch):
    """It may be in its last days, and a later call makes it anew."""
    record_versions(aws, ("raw/a.csv", aws.put("raw/a.csv", "a")))
    snapshot()
    days_later(monkeypatch, app, 59)
    answers("s3", "CopyObject", (503, {}))
    with pytest.raises(app.versions.DataVersionUnavailableError):
        snapshot()


def test_no_copy_is_made_anew_where_none_expires(aws, app, snapshot, answers, monkeypatch):
    record_versions(aws, ("raw/a.csv", aws.put("raw/a.csv", "a")))
    snapshot()
    days_later(monkeypatch, app, 5_000)
    monkeypatch.setenv("COPIES_DAYS", "0")
    copies = answers("s3", "CopyObject", None)
    snapshot()
    assert not copies


def test_a_copy_that_is_not_what_the_version_was_is_made_again(aws, snapshot):
    record_versions(aws, ("raw/a.csv", aws.put("raw/a.csv", "recorded")))
    snapshot()
    (copy,) = aws.keys("copies/")
    aws.put(copy, "rec")  # of a row that was erased, say, or by hand
    snapshot()
    assert copied(aws) == [("a.csv", "recorded")]


def test_what_one_call_has_no_time_for_the_next_one_copies(aws, app, answers, lambda_context, monkeypatch):
    """The state machine calls again, as often as it takes: no number of files is too large for 15 minutes."""
    record_versions(aws, *[(f"raw/{number}.csv", aws.put(f"raw/{number}.csv", "a")) for number in range(5)])
    left = iter([500_000, 400_000, app.LAST_START_MS - 1, 90_000, 80_000, 400_000, 300_000, 200_000])
    monkeypatch.setattr(app, "THREADS", 1)
    monkeypatch.setattr(type(lambda_context), "get_remaining_time_in_millis", lambda _: next(left))
    said = "2 of 5 versions were copied when the time of a call was over"
    with pytest.raises(app.CopiesLeftError, match=said):
        app.handler({"RunId": RUN, "Prefix": PREFIX}, lambda_context)
    assert not aws.keys(f"runs/{RUN}/input.manifest")
    copies = answers("s3", "CopyObject", None)
    app.handler({"RunId": RUN, "Prefix": PREFIX}, lambda_context)
    assert len(copies) == 3
    assert len(copied(aws)) == 5


def s3_error(status, code, message="no"):
    return status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"


@pytest.fixture
def one_file(aws):
    version = aws.put("raw/a.csv", "a")
    record_versions(aws, ("raw/a.csv", version))
    return rf"'raw/a\.csv' \(version {version}\)"


def test_a_missing_permission_is_not_read_as_a_missing_version(one_file, app, snapshot, answers):
    words = "User: x is not authorized to perform: s3:PutObject on resource: y"
    answers("s3", "CopyObject", s3_error(403, "AccessDenied", words))
    with pytest.raises(app.versions.DataVersionRefusedError, match=f"S3 refuses {one_file}: .*{words}"):
        snapshot()


def test_an_archived_object_is_named_with_what_to_do(one_file, app, snapshot, answers):
    answers("s3", "CopyObject", s3_error(403, "InvalidObjectState"))
    said = rf"{one_file} is archived .* Restore it .*, or take it away: aws s3 rm s3://{BUCKET}/raw/a\.csv"
    with pytest.raises(app.versions.DataVersionRefusedError, match=said):
        snapshot()


@pytest.mark.parametrize(
    ("code", "words"),
    [("AccessDenied", "is not authorized to perform: kms:Decrypt on resource"), ("KMS.DisabledException", "disabled")],
)
def test_an_object_under_a_key_of_somebody_else_is_named_with_the_key(aws, app, snapshot, answers, code, words):
    key = aws.client("s3").put_object(
        Bucket=BUCKET,
        Key="raw/it's.csv",
        Body=b"a",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId="arn:aws:kms:x:1:key/k",
    )
    record_versions(aws, ("raw/it's.csv", key["VersionId"]))
    answers("s3", "CopyObject", s3_error(403, code, words))
    with pytest.raises(app.versions.DataVersionRefusedError) as refused:
        snapshot()
    assert '"raw/it\'s.csv" (version ' in str(refused.value)
    assert "is encrypted with the KMS key arn:aws:kms:x:1:key/k, which this function may not use" in str(refused.value)
    assert f"""take it away: aws s3 rm 's3://{BUCKET}/raw/it'"'"'s.csv'""" in str(refused.value)
    assert words in str(refused.value)


def test_a_slow_service_is_tried_again(one_file, snapshot, answers):
    requests = answers("s3", "CopyObject", (503, {}), (503, {}), None)
    assert snapshot()["Files"] == 1
    assert len(requests) == 3


@pytest.mark.parametrize(
    "answer",
    [(503, {}), s3_error(503, "SlowDown"), ConnectTimeoutError(endpoint_url="s3")],
    ids=["503", "slow", "time"],
)
def test_a_service_that_stays_slow_is_an_error_that_is_tried_again_later(one_file, app, snapshot, answers, answer):
    answers("s3", "CopyObject", answer)
    with pytest.raises(app.versions.DataVersionUnavailableError, match=f"S3 did not give {one_file}"):
        snapshot()


def test_what_is_to_be_tried_again_later_is_what_the_state_machine_retries():
    states = json.loads((ROOT / "statemachines" / "train_model.asl.json").read_text())["States"]
    for state in ("Resolve configuration", "Snapshot data"):
        retried = {error for retry in states[state]["Retry"] for error in retry["ErrorEquals"]}
        assert "DataVersionUnavailableError" in retried
        assert not {"DataVersionRefusedError", "DataVersionMissingError"} & retried


def test_calls_follow_one_another_for_longer_than_any_copying_takes():
    states = json.loads((ROOT / "statemachines" / "train_model.asl.json").read_text())["States"]
    (again,) = [one for one in states["Snapshot data"]["Retry"] if one["ErrorEquals"] == ["CopiesLeftError"]]
    assert again["MaxAttempts"] * states["Snapshot data"]["TimeoutSeconds"] > 24 * 3600
    assert (again["IntervalSeconds"], again["BackoffRate"]) == (1, 1)
