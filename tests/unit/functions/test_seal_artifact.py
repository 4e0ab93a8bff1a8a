"""The function "Seal artifact": what a job wrote is what serves, or the run fails."""

import hashlib

import pytest

from tests.unit.conftest import BUCKET, STACK, load_function

RUN, OF_CHAMPION = "20261120093440-1a2b", "20261119093440-1a2b"
WRITTEN = {"preprocessor": "preprocessor/model.tar.gz", "model": "model/cars-train-0/output/model.tar.gz"}
CHAMPION = {"ModelName": f"{STACK}-{OF_CHAMPION}", "EndpointConfigName": "config", "RunId": "one before"}


@pytest.fixture
def seal(aws, lambda_context):
    from perennial_aws import runs

    app = load_function("seal_artifact")
    for run in (RUN, OF_CHAMPION):
        runs.put({"run_id": run, "artifacts": {}})

    def call(name, run=RUN, champion=None):
        event = {"RunId": run, "Name": name, "Uri": f"s3://{BUCKET}/runs/{run}/{WRITTEN[name]}", "Champion": champion}
        return app.handler(event, lambda_context)["Uri"]

    return call


@pytest.fixture
def changed(seal):
    from perennial_aws.artifacts import ArtifactChangedError

    return lambda text: pytest.raises(ArtifactChangedError, match=text)


def write(aws, name, content="as the job wrote it", run=RUN):
    return aws.put(f"runs/{run}/{WRITTEN[name]}", content)


def test_what_serves_is_a_copy_of_what_the_job_wrote_and_the_record_says_of_which(aws, seal):
    from perennial_aws import runs

    version = write(aws, "preprocessor")
    assert seal("preprocessor") == f"s3://{BUCKET}/runs/{RUN}/serving/preprocessor.tar.gz"
    assert aws.get(f"runs/{RUN}/serving/preprocessor.tar.gz") == "as the job wrote it"
    recorded = runs.get(RUN)["artifacts"]["preprocessor"]
    assert recorded["written"] == {"uri": f"s3://{BUCKET}/runs/{RUN}/{WRITTEN['preprocessor']}", "version_id": version}
    assert recorded["sha256"] == hashlib.sha256(b"as the job wrote it").hexdigest()
    assert recorded["size_bytes"] == len(b"as the job wrote it")


def test_both_are_recorded(aws, seal):
    from perennial_aws import artifacts, runs

    for name in WRITTEN:
        write(aws, name)
        seal(name)
    assert set(runs.get(RUN)["artifacts"]) == set(WRITTEN)
    artifacts.require_sealed(RUN)


def test_a_call_that_is_repeated_finds_its_own_copy_unchanged(aws, seal):
    from perennial_aws import artifacts

    for name in ("preprocessor", "preprocessor", "model", "model"):
        write(aws, name)
        assert seal(name) == seal(name)
    artifacts.require_sealed(RUN)


def test_a_preprocessor_that_was_replaced_while_the_training_worked_ends_the_run(aws, seal, changed):
    version = write(aws, "preprocessor")
    seal("preprocessor")
    replaced_by = write(aws, "preprocessor", "somebody else's code")
    write(aws, "model")
    with changed(
        f"the preprocessor of run {RUN} is not .*: s3://{BUCKET}/runs/{RUN}/preprocessor/model.tar.gz had version "
        rf"{version} \(SHA-256 [0-9a-f]{{64}}\), and its newest version is {replaced_by}"
    ):
        seal("model")
    assert aws.get(f"runs/{RUN}/serving/preprocessor.tar.gz") == "as the job wrote it"


def test_one_that_was_deleted_meanwhile_ends_the_run_too(aws, seal, changed):
    write(aws, "preprocessor")
    seal("preprocessor")
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{RUN}/{WRITTEN['preprocessor']}")
    write(aws, "model")
    with changed("and it was deleted"):
        seal("model")


def test_a_job_that_left_nothing_is_told_by_what_is_missing(seal):
    from perennial_aws.artifacts import ArtifactMissingError

    with pytest.raises(ArtifactMissingError, match=f"{WRITTEN['model']} is not there; expected the model of run {RUN}"):
        seal("model")


def test_a_run_compares_only_with_a_model_in_service_that_is_as_it_was(aws, seal, changed):
    for name in WRITTEN:
        write(aws, name, run=OF_CHAMPION)
        seal(name, OF_CHAMPION)
        write(aws, name)
    assert seal("preprocessor", champion=CHAMPION)
    aws.put(f"runs/{OF_CHAMPION}/serving/model.tar.gz", "somebody else's")
    with changed(f"the model of run {OF_CHAMPION} is not the one that was recorded"):
        seal("model", champion=CHAMPION)


def test_of_a_model_that_an_earlier_version_made_nothing_is_asked(aws, seal):
    from perennial_aws import runs

    write(aws, "model")
    runs.update(OF_CHAMPION, artifacts={"model": "s3://bucket/model.tar.gz"})
    assert seal("model", champion=CHAMPION)
    runs.update(OF_CHAMPION, artifacts=None)
    assert seal("model", champion=CHAMPION)


def test_a_run_whose_record_does_not_say_what_was_made_does_not_deploy(aws, seal, changed):
    from perennial_aws import artifacts

    write(aws, "model")
    seal("model")
    with changed(f"the record of run {RUN} does not say what its preprocessor was"):
        artifacts.require_sealed(RUN)


def test_the_copy_that_is_recorded_is_the_one_that_was_made_whatever_came_after_it(aws, seal, answers):
    from perennial_aws import runs

    write(aws, "preprocessor")
    versions = answers("s3", "ListObjectVersions", None)
    heads = answers("s3", "HeadObject", None)
    seal("preprocessor")
    (copied,) = aws.client("s3").list_object_versions(Bucket=BUCKET, Prefix=f"runs/{RUN}/serving/")["Versions"]
    assert runs.get(RUN)["artifacts"]["preprocessor"]["sealed"]["version_id"] == copied["VersionId"]
    assert len(versions) == 3  # which version the job wrote, before and after the copy; and this test's own
    assert heads == []


def test_what_is_too_large_for_one_call_is_copied_as_well(aws, seal, monkeypatch):
    from boto3.s3.transfer import TransferConfig

    from perennial_aws import artifacts, copying

    monkeypatch.setattr(copying, "TRANSFER", TransferConfig(multipart_threshold=3))
    for name in WRITTEN:
        write(aws, name)
        seal(name)
        assert aws.get(f"runs/{RUN}/serving/{name}.tar.gz") == "as the job wrote it"
    artifacts.require_sealed(RUN)
