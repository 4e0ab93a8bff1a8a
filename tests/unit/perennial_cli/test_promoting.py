"""`perennial promote`: what an environment gets of a version of another one, once, and what is refused."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest

from perennial.registry import approval
from perennial_cli.account import Account
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.unit.conftest import BUCKET, REGION, FakeAws
from tests.unit.perennial.runs.test_message import RECORD

ROOT = Path(__file__).parents[3]
RUN, SERVING = "20261101000000-aaaa", "20261120000000-bbbb"
DEV, PROD, DEV_BUCKET = "cars-dev", "cars-prod", "dev-bucket"
FILES = {
    "baselines/data-quality/statistics.json": "{}",
    "config.json": "{}",
    "predictions/candidate/part-00000.jsonl.out": "{}",
    "rows/v1/seen/part-00000.u64": "12345678",
    "serving/model.tar.gz": "a model",
    "serving/preprocessor.tar.gz": "a preprocessor",
    "test/part-00000.jsonl": "{}",
}
STAY = {
    "input/00000-cars.csv": "rows",
    "train/part-00000.csv": "rows",
    "preprocessor/model.tar.gz": "as it was written",
}
IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"


def group_of(stack: str) -> str:
    account = {DEV: "111111111111", PROD: "222222222222"}[stack]
    return f"arn:aws:sagemaker:{REGION}:{account}:model-package/{stack}"


@dataclass
class Registries:
    """The versions of both stacks, as SageMaker describes them."""

    versions: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {DEV: [], PROD: []})

    def create(self, request: Any) -> tuple[int, Any]:
        wanted = json.loads(request.body)
        group = self.versions[wanted["ModelPackageGroupName"]]
        number = len(group) + 1
        arn = f"{group_of(wanted['ModelPackageGroupName'])}/{number}"
        known = {"ModelPackageArn": arn, "ModelPackageVersion": number, "CreationTime": 1}
        group.append({**wanted, **known, "ModelPackageStatus": "Completed"})
        return 200, {"ModelPackageArn": arn}

    def describe(self, request: Any) -> tuple[int, Any]:
        return 200, self.of(json.loads(request.body)["ModelPackageName"])

    def list(self, request: Any) -> tuple[int, Any]:
        return 200, {"ModelPackageSummaryList": self.versions[json.loads(request.body)["ModelPackageGroupName"]][::-1]}

    def update(self, request: Any) -> tuple[int, Any]:
        wanted = json.loads(request.body)
        self.of(wanted["ModelPackageArn"]).update(wanted)
        return 200, {"ModelPackageArn": wanted["ModelPackageArn"]}

    def of(self, arn: str) -> dict[str, Any]:
        return next(one for group in self.versions.values() for one in group if one["ModelPackageArn"] == arn)


@dataclass
class Environments:
    """Dev, whose version 1 is approved, and prod, which has none; `planned` is how its deployment ends."""

    aws: FakeAws
    registries: Registries
    stacks: dict[str, Stack]
    record: dict[str, Any]
    accounts: list[Account]
    planned: dict[str, Any]

    def write_record(self) -> None:
        self.put(DEV_BUCKET, f"runs/{RUN}/run.json", json.dumps(self.record))

    def put(self, bucket: str, key: str, body: str) -> str:
        return str(self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())["VersionId"])

    def promote(self, *words: str) -> Any:
        places = ("--from-stack", DEV, "--to-stack", PROD, "--to", "prod")
        return perennial("promote", *words, *places)

    def status(self) -> str:
        ended = self.promote("--json")
        assert ended.exit_code == 0, ended.stderr
        return str(json.loads(ended.stdout)["status"])

    def copies(self) -> dict[str, str]:
        """The files of the run in prod, and their versions."""
        listed = self.aws.client("s3").list_object_versions(Bucket=BUCKET).get("Versions", [])
        return {one["Key"].removeprefix(f"runs/{RUN}/"): one["VersionId"] for one in listed}


@pytest.fixture
def environments(aws: FakeAws, answers: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch) -> Environments:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=DEV_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=DEV_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    outputs = {"RunTableName": "runs", "TopicArn": f"arn:aws:sns:{REGION}:123456789012:alerts"}
    parameters = {"ModelName": "used-cars", "Approval": "auto", "ApproverTopicArn": ""}
    stacks = {
        DEV: Stack(DEV, {**outputs, "BucketName": DEV_BUCKET}, parameters),
        PROD: Stack(PROD, {**outputs, "BucketName": BUCKET}, parameters),
    }
    accounts = [Account("222222222222", REGION, None), Account("111111111111", REGION, None)]
    looks = iter(accounts * 9)
    monkeypatch.setenv("PERENNIAL_HOME", str(ROOT))
    monkeypatch.setattr("perennial_cli.stacks.chosen", stacks.__getitem__)
    monkeypatch.setattr("perennial_cli.account.session", lambda profile, role=None: boto3.DEFAULT_SESSION)
    monkeypatch.setattr("perennial_cli.account.say_whom", lambda: next(looks))
    registries = Registries()
    for operation in ("create", "describe", "update"):
        answers("sagemaker", f"{operation.title()}ModelPackage", getattr(registries, operation))
    answers("sagemaker", "ListModelPackages", registries.list)
    planned = {"status": "Succeeded"}

    def deployed(stack: Stack, number: int, before: set[str]) -> str:
        if planned["status"] == "Succeeded":
            arn = f"{group_of(PROD)}/{number}"
            name = f"/{PROD}/model-package"
            aws.client("ssm").put_parameter(Name=name, Value=arn, Type="String", Overwrite=True)
        return f"version-{number}"

    monkeypatch.setattr("perennial_cli.following.wait_for_version", deployed)
    monkeypatch.setattr("perennial_cli.following.follow", lambda arn: {"executionArn": arn})
    monkeypatch.setattr("perennial_cli.following.outcome", lambda stack, end: dict(planned))
    monkeypatch.setattr("perennial_cli.runs.executions", lambda stack: [])
    data = {"listed_at": "2026-11-01T00:00:00.000Z", "manifest": f"s3://{DEV_BUCKET}/runs/{RUN}/manifest.json"}
    record: dict[str, Any] = {**RECORD, "run_id": RUN, "stack": DEV, "bucket": DEV_BUCKET, "artifacts": {}}
    record["data"], record["gate"] = {**RECORD["data"], **data}, {**RECORD["gate"], "accepted": True}
    made = Environments(aws, registries, stacks, record, accounts, planned)
    versions = {name: made.put(DEV_BUCKET, f"runs/{RUN}/{name}", body) for name, body in {**FILES, **STAY}.items()}
    for name in ("preprocessor", "model"):
        key = f"serving/{name}.tar.gz"
        uri = f"s3://{DEV_BUCKET}/runs/{RUN}/{key}"
        digest = hashlib.sha256(FILES[key].encode()).hexdigest()
        written = {"uri": f"s3://{DEV_BUCKET}/runs/{RUN}/model/x", "version_id": "1"}
        sealed = {"uri": uri, "version_id": versions[key]}
        record["artifacts"][name] = {"written": written, "sealed": sealed, "sha256": digest}
    registered = json.loads(registration())["InferenceSpecification"]["Containers"]
    record["containers"] = [{**one} for one in registered]
    for one in record["containers"]:
        one.pop("ImageDigest", None)  # which SageMaker adds
    made.write_record()
    registries.create(_Request(registration()))
    return made


@dataclass(frozen=True)
class _Request:
    body: str


def registration() -> str:
    """What the run of dev has registered."""
    prefix = f"s3://{DEV_BUCKET}/runs/{RUN}"
    environment = {"SAGEMAKER_PROGRAM": "inference.py", "STACK_NAME": DEV}
    containers = [
        {"Image": "sklearn", "ModelDataUrl": f"{prefix}/serving/preprocessor.tar.gz", "Environment": environment},
        {"Image": IMAGE, "ModelDataUrl": f"{prefix}/serving/model.tar.gz", "ImageDigest": "sha256:1"},
    ]
    statistics = {"ContentType": "application/json", "S3Uri": f"{prefix}/baselines/data-quality/statistics.json"}
    return json.dumps({
        "ModelPackageGroupName": DEV,
        "ModelPackageDescription": f"run {RUN}",
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {"Containers": containers, "SupportedContentTypes": ["text/csv"]},
        "ModelMetrics": {"ModelDataQuality": {"Statistics": statistics}},
        "CustomerMetadataProperties": {"run": RUN, "manifest": f"{prefix}/manifest.json"},
    })  # fmt: skip


def test_what_serves_comes_along_and_what_it_was_trained_on_stays(environments: Environments) -> None:
    assert environments.status() == "Serves"
    assert set(environments.copies()) == {*FILES, "run.json"}
    (version,) = environments.registries.versions[PROD]
    prefix = f"s3://{BUCKET}/runs/{RUN}"
    preprocessor, model = version["InferenceSpecification"]["Containers"]
    assert preprocessor["Environment"] == {"SAGEMAKER_PROGRAM": "inference.py", "STACK_NAME": PROD}
    assert model == {"Image": IMAGE, "ModelDataUrl": f"{prefix}/serving/model.tar.gz"}
    statistics = version["ModelMetrics"]["ModelDataQuality"]["Statistics"]["S3Uri"]
    assert statistics == f"{prefix}/baselines/data-quality/statistics.json"
    assert (version["ModelPackageDescription"], version["ModelApprovalStatus"]) == (f"run {RUN}", "Approved")
    assert version["CustomerMetadataProperties"] == {
        "run": RUN, "manifest": f"s3://{DEV_BUCKET}/runs/{RUN}/manifest.json", "promoted-from": f"{group_of(DEV)}/1",
    }  # fmt: skip


def test_the_record_says_where_the_version_comes_from_and_where_it_is(environments: Environments) -> None:
    environments.status()
    from perennial_aws import runs

    known: Any = runs.get(RUN)
    body = environments.aws.client("s3").get_object(Bucket=BUCKET, Key=f"runs/{RUN}/run.json")["Body"].read()
    assert json.loads(body) == known
    assert (known["stack"], known["bucket"], known["deployed"]) == (PROD, BUCKET, None)
    (step,) = known["promotions"]
    assert (step["version"], step["stack"]) == (f"{group_of(DEV)}/1", DEV)
    assert step["by"].startswith("arn:aws:")
    model, copies = known["artifacts"]["model"], environments.copies()
    address = f"s3://{BUCKET}/runs/{RUN}/serving/model.tar.gz"
    assert model["sealed"] == {"uri": address, "version_id": copies["serving/model.tar.gz"]}
    assert model["written"]["uri"].startswith(f"s3://{DEV_BUCKET}/")
    (version,) = environments.registries.versions[PROD]
    assert known["containers"] == version["InferenceSpecification"]["Containers"]  # or it would not be deployed


def test_promoted_twice_it_is_one_version_and_nothing_is_copied_again(environments: Environments) -> None:
    assert environments.status() == "Serves"
    copies = environments.copies()
    assert environments.status() == "Serves"
    assert environments.copies() == copies
    assert len(environments.registries.versions[PROD]) == 1


def test_what_was_interrupted_goes_on(environments: Environments, answers: Callable[..., list[Any]]) -> None:
    full = 400, {"__type": "ResourceLimitExceeded", "message": "full"}
    answers("sagemaker", "CreateModelPackage", full, environments.registries.create)
    assert environments.promote().exit_code == 1
    copies = {name: version for name, version in environments.copies().items() if name != "run.json"}
    assert environments.status() == "Serves"
    assert {name: version for name, version in environments.copies().items() if name != "run.json"} == copies


def test_the_versions_that_the_run_recorded_are_copied_not_what_was_put_there_since(environments: Environments) -> None:
    environments.put(DEV_BUCKET, f"runs/{RUN}/serving/model.tar.gz", "another model")
    environments.status()
    body = environments.aws.client("s3").get_object(Bucket=BUCKET, Key=f"runs/{RUN}/serving/model.tar.gz")["Body"]
    assert body.read() == b"a model"


def test_by_its_run_or_number_and_not_while_it_is_not_approved(environments: Environments) -> None:
    environments.registries.create(_Request(registration().replace(RUN, SERVING).replace("Approved", "Rejected")))
    ended = environments.promote("2")
    assert (ended.exit_code, "version 2 of cars-dev is Rejected; expected an approved one" in ended.stderr) == (1, True)
    assert environments.promote(RUN).exit_code == 0
    assert "has no version 9" in environments.promote("9").stderr


@pytest.mark.parametrize("other", ["containers", "origin"])
def test_what_others_have_registered_for_the_run_is_not_approved(environments: Environments, other: str) -> None:
    """Whoever may register a version may name any run."""
    theirs = json.loads(registration())
    origin = {"promoted-from": f"{group_of(DEV)}/{1 if other == 'containers' else 9}"}
    environments.registries.create(
        _Request(json.dumps({
            **theirs, "ModelPackageGroupName": PROD, "ModelApprovalStatus": "PendingManualApproval",
            "CustomerMetadataProperties": origin,
        }))
    )  # fmt: skip
    ended = environments.promote()
    assert ended.exit_code == 1
    assert f"version 1 of {PROD} says that run {RUN} has made it, and is not what version 1 of {DEV}" in ended.stderr
    (version,) = environments.registries.versions[PROD]
    assert version["ModelApprovalStatus"] == "PendingManualApproval"


def test_where_people_approve_they_are_asked_once_and_nothing_serves_before(
    environments: Environments, answers: Callable[..., list[Any]]
) -> None:
    reply = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
    mails = answers("sns", "Publish", (200, reply))
    prod = environments.stacks[PROD]
    environments.stacks[PROD] = replace(prod, parameters={**prod.parameters, "Approval": "manual"})
    assert environments.status() == environments.status() == "PendingManualApproval"
    (mail,) = mails
    body = parse_qs(mail.body)["Message"][0]
    assert f"aws sagemaker update-model-package --model-package-arn {group_of(PROD)}/1" in body
    assert "nothing is compared again" in body
    assert "nobody answers" not in body
    environments.registries.versions[PROD][0]["ModelApprovalStatus"] = approval.REJECTED
    ended = environments.promote()
    assert (ended.exit_code, "Rejected" in ended.stdout) == (1, True)
    assert "somebody has rejected it: no reason was given; whoever approves it has it deployed" in ended.stderr


def test_a_deployment_that_fails_fails_it_and_trying_again_tries_again(environments: Environments) -> None:
    environments.planned["status"] = "Failed"
    ended = environments.promote()
    assert (ended.exit_code, "Failed" in ended.stdout) == (1, True)
    environments.planned["status"] = "Succeeded"
    assert environments.status() == "Serves"


def test_what_has_learned_from_newer_data_is_not_replaced(environments: Environments) -> None:
    newer = {"run_id": SERVING, "data": {"listed_at": "2026-11-20T00:00:00.000Z"}}
    environments.put(BUCKET, f"runs/{SERVING}/run.json", json.dumps(newer))
    environments.registries.create(_Request(registration().replace(RUN, SERVING).replace(DEV, PROD)))
    name, value = f"/{PROD}/model-package", f"{group_of(PROD)}/1"
    environments.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String")
    ended = environments.promote()
    assert (ended.exit_code, f"what serves in cars-prod (run {SERVING}) on newer ones" in ended.stderr) == (1, True)
    assert len(environments.registries.versions[PROD]) == 1


def test_an_older_version_of_there_is_no_way_back(environments: Environments) -> None:
    environments.planned["status"] = "Failed"
    environments.promote()
    environments.registries.create(_Request(registration().replace(RUN, SERVING).replace(DEV, PROD)))
    ended = environments.promote()
    assert (ended.exit_code, "version 2 of cars-prod is approved and newer than version 1" in ended.stderr) == (1, True)


def other_bytes(it: Environments) -> None:
    it.record["artifacts"]["model"]["sha256"] = "0" * 64


def no_seal(it: Environments) -> None:
    it.record["artifacts"]["model"] = f"s3://{DEV_BUCKET}/model.tar.gz"


def erased(it: Environments) -> None:
    it.aws.client("s3").delete_object(Bucket=DEV_BUCKET, Key=f"runs/{RUN}/test/part-00000.jsonl")


def by_hand(it: Environments) -> None:
    it.registries.versions[DEV][0]["ModelPackageDescription"] = "mine"


def refused(it: Environments) -> None:
    it.record["gate"] = {**it.record["gate"], "accepted": False, "reason": "rmse 9 is too high"}


def withheld(it: Environments) -> None:
    it.record["withheld"] = "its input decides data_prefix"


def another_model(it: Environments) -> None:
    it.stacks[PROD] = replace(it.stacks[PROD], parameters={**it.stacks[PROD].parameters, "ModelName": "rents"})


def another_region(it: Environments) -> None:
    it.accounts[0] = replace(it.accounts[0], region="us-east-1")


def one_stack(it: Environments) -> None:
    it.stacks[PROD] = it.stacks[DEV]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_bytes, f"; its run has recorded {'0' * 64}. Nothing was registered"),
        (no_seal, f"the record of run {RUN} does not say which model serves"),
        (erased, f"s3://{DEV_BUCKET}/runs/{RUN}/test/ is gone"),
        (by_hand, "version 1 of cars-dev was made by no run, but by hand"),
        (refused, f"is of run {RUN}, and its gate has not accepted the model (rmse 9 is too high)"),
        (withheld, f"is of run {RUN}, and its model is withheld: its input decides data_prefix"),
        (another_model, "cars-dev and cars-prod have models of their own, used-cars and rents"),
        (another_region, f"are in {REGION} and us-east-1; expected one region"),
        (one_stack, "cars-dev is where the version is already"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_there_as_it_was_is_refused_and_nothing_is_registered(
    environments: Environments, change: Callable[[Environments], None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(environments)
    environments.write_record()
    monkeypatch.setattr("perennial_cli.account.say_whom", iter(environments.accounts).__next__)
    ended = environments.promote()
    assert (ended.exit_code, why in ended.stderr) == (1, True), ended.stderr
    assert environments.registries.versions[PROD] == []
