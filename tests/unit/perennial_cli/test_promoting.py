"""`perennial promote`: what an environment gets of a version of another one, once, and what is refused."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count, cycle
from operator import add
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest

from perennial.registry import approval
from perennial.runs.keeping import VERIFICATION
from perennial_cli import account
from perennial_cli.account import Account
from perennial_cli.console import INTERRUPTED
from perennial_cli.promotion import ASK_SECONDS
from perennial_cli.runs import Execution
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, REGION, FakeAws, xml_refusal
from tests.unit.perennial.runs.test_message import RECORD

ROOT = Path(__file__).parents[3]
RUN, SERVING = "20261101000000-aaaa", "20261120000000-bbbb"
DEV, PROD, DEV_BUCKET = "cars-dev", "cars-prod", "dev-bucket"
FILES = {
    "baselines/data-quality/statistics.json": "{}",
    "config.json": "{}",
    "evaluation/evaluation.json": "{}",
    "rows/v1/seen/part-00000.u64": "12345678",
    "serving/model.tar.gz": "a model",
    "serving/preprocessor.tar.gz": "a preprocessor",
    VERIFICATION: "{}",
}
SETS = {
    "labels/part-00000.csv": "1",
    "predictions/candidate/part-00000.jsonl.out": "{}",
    "test/part-00000.jsonl": "{}",
}
STAY = {
    **SETS,
    "evaluation/predictions.csv": "rows",
    "input/00000-cars.csv": "rows",
    "train/part-00000.csv": "rows",
    "preprocessor/model.tar.gz": "as it was written",
}
PUBLISHED = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"


def group_of(stack: str) -> str:
    account = {DEV: "111111111111", PROD: "222222222222"}[stack]
    return f"arn:aws:sagemaker:{REGION}:{account}:model-package/{stack}"


@dataclass
class Registries:
    """The versions of both stacks, as SageMaker describes them, and what the approvals in prod have started there."""

    versions: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {DEV: [], PROD: []})
    started: list[Execution] = field(default_factory=list)

    def create(self, request: Any) -> tuple[int, Any]:
        wanted = json.loads(request.body)
        group = self.versions[wanted["ModelPackageGroupName"]]
        for one in group:
            if "ClientToken" in wanted and one.get("ClientToken") == wanted["ClientToken"]:
                return 200, {"ModelPackageArn": one["ModelPackageArn"]}
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
        self.answer(wanted["ModelPackageArn"], wanted["ModelApprovalStatus"])
        return 200, {"ModelPackageArn": wanted["ModelPackageArn"]}

    def answer(self, arn: str, status: str) -> None:
        """Approve or reject a version: what approves it deploys it; the same answer again is no change."""
        version = self.of(arn)
        if version["ModelApprovalStatus"] == status:
            return
        answered_at = len(self.started) + 2
        version.update(ModelApprovalStatus=status, LastModifiedTime=answered_at)
        if status == approval.APPROVED:
            name, at = f"{PROD}:version-{version['ModelPackageVersion']}-{answered_at}", datetime.fromtimestamp(9, UTC)
            self.started.insert(0, Execution(name, f"2026110{answered_at}000000-cccc", at, "RUNNING", None))

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

    def let_people_approve(self) -> None:
        prod = self.stacks[PROD]
        self.stacks[PROD] = replace(prod, parameters={**prod.parameters, "Approval": "manual"})

    def interrupt(self) -> None:
        """Stop a promotion where it looks at the deployment that it has started."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("perennial_cli.following.wait_for_version", stopped)
            assert self.promote().exit_code == INTERRUPTED

    def empty_prod(self) -> None:
        """Take away whatever came to prod."""
        s3 = self.aws.client("s3")
        for one in s3.list_object_versions(Bucket=BUCKET).get("Versions", []):
            s3.delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])
        self.aws.client("dynamodb").delete_item(TableName="runs", Key={"id": {"S": f"run#{RUN}"}})
        self.aws.client("ssm").delete_parameters(Names=[f"/{PROD}/model-package"])
        self.registries.versions[PROD].clear()
        self.registries.started.clear()

    def copies(self) -> dict[str, str]:
        """The files of the run in prod, and their newest versions."""
        listed = self.aws.client("s3").list_object_versions(Bucket=BUCKET).get("Versions", [])
        return {one["Key"].removeprefix(f"runs/{RUN}/"): one["VersionId"] for one in listed if one["IsLatest"]}


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
    looks = cycle(accounts)
    monkeypatch.setenv("PERENNIAL_HOME", str(ROOT))
    monkeypatch.setattr("perennial_cli.stacks.chosen", stacks.__getitem__)
    monkeypatch.setattr("perennial_cli.account.session", lambda profile, role=None: boto3.DEFAULT_SESSION)
    monkeypatch.setattr("perennial_cli.account.say_whom", lambda: next(looks))
    registries = Registries()
    for operation in ("create", "describe", "update"):
        answers("sagemaker", f"{operation.title()}ModelPackage", getattr(registries, operation))
    answers("sagemaker", "ListModelPackages", registries.list)
    planned = {"status": "Succeeded"}

    def followed(arn: str) -> dict[str, Any]:
        number = arn.split("-")[-2]
        version = f"{group_of(PROD)}/{number}"
        if planned["status"] == "Succeeded":
            name = f"/{PROD}/model-package"
            aws.client("ssm").put_parameter(Name=name, Value=version, Type="String", Overwrite=True)
            runs_of_functions().update(RUN, serving_images=[])  # as functions/verify_endpoint does
        else:
            registries.answer(version, approval.REJECTED)
        registries.started[:] = [
            replace(one, ended_at=datetime.fromtimestamp(10, UTC)) if one.arn == arn else one
            for one in registries.started
        ]
        return {"executionArn": arn}

    monkeypatch.setattr("perennial_cli.following.follow", followed)
    monkeypatch.setattr("perennial_cli.following.outcome", lambda stack, end: dict(planned))
    monkeypatch.setattr("perennial_cli.runs.executions", lambda stack: registries.started)
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


def stopped(*_: object) -> str:
    raise KeyboardInterrupt


def runs_of_functions() -> Any:
    from perennial_aws import runs

    return runs


@pytest.fixture
def overtakes(
    environments: Environments, answers: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int], list[str]]:
    """Let another promotion do everything before a write of this one; returns how it ends, once it has.

    One file at a time: moto looks whether an object is there and then makes it, S3 does both in one step.
    """
    monkeypatch.setattr("perennial_cli.promotion.AT_ONCE", 1)
    services = {"PutObject": "s3", "PutItem": "dynamodb"}

    def overtake(operation: str, number: int) -> list[str]:
        service, ended, came = services.get(operation, "sagemaker"), list[str](), count()
        answer = {
            "CreateModelPackage": environments.registries.create, "UpdateModelPackage": environments.registries.update,
        }.get(operation, lambda request: None)  # fmt: skip

        def first_the_other(request: Any) -> Any:
            if next(came) == number:
                ended.append(environments.status())
            return answer(request)

        for one, plain in (("PutObject", None), ("PutItem", None)):
            answers(services[one], one, plain)
        answers(service, operation, first_the_other)
        return ended

    return overtake


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


def test_sets_come_along_where_an_earlier_version_has_left_nothing_else_to_verify_by(
    environments: Environments,
) -> None:
    of_an_earlier_version(environments)
    assert environments.status() == "Serves"
    assert set(environments.copies()) == {*FILES, *SETS, "evaluation/predictions.csv", "run.json"} - {VERIFICATION}


def test_the_record_says_where_the_version_comes_from_and_where_it_is(environments: Environments) -> None:
    environments.status()
    known = runs_of_functions().get(RUN)
    body = environments.aws.client("s3").get_object(Bucket=BUCKET, Key=f"runs/{RUN}/run.json")["Body"].read()
    assert {**json.loads(body), "serving_images": []} == known
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


def test_its_run_is_written_for_the_next_step_once_it_is_there(environments: Environments, tmp_path: Path) -> None:
    written = tmp_path / "output"
    environments.planned["status"] = "Failed"
    environments.promote("--write-run", str(written))
    assert not written.exists()
    environments.planned["status"] = "Succeeded"
    environments.registries.answer(f"{group_of(PROD)}/1", approval.APPROVED)
    environments.promote("--write-run", str(written))
    assert written.read_text() == f"run={RUN}\n"
    assert f"run     {RUN}" in environments.promote(f"@{written}").stdout


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


def test_what_an_earlier_promotion_has_left_otherwise_is_replaced(environments: Environments) -> None:
    """Somebody has deleted the version there, and overwritten what it served."""
    assert environments.status() == "Serves"
    environments.registries.versions[PROD].clear()
    environments.aws.client("ssm").delete_parameters(Names=[f"/{PROD}/model-package"])
    other = environments.put(BUCKET, f"runs/{RUN}/serving/model.tar.gz", "another model")
    assert environments.status() == "Serves"
    sealed, copies = runs_of_functions().get(RUN)["artifacts"]["model"]["sealed"], environments.copies()
    assert sealed["version_id"] == copies["serving/model.tar.gz"] != other
    assert environments.aws.get(f"runs/{RUN}/serving/model.tar.gz") == "a model"


@pytest.mark.parametrize("key", ["verification/records.jsonl", "run.json"])
def test_what_others_write_again_and_again_ends_in_words(
    environments: Environments, answers: Callable[..., list[Any]], key: str
) -> None:
    conflict = 409, "<Error><Code>ConditionalRequestConflict</Code></Error>"
    answers("s3", "PutObject", lambda request: conflict if request.url.endswith(f"{RUN}/{key}") else None)
    ended = environments.promote()
    said = f"s3://{BUCKET}/runs/{RUN}/{key} is written by somebody else again and again; promote again later"
    assert (ended.exit_code, said in ended.stderr) == (1, True)
    assert environments.registries.versions[PROD] == []


def test_the_record_of_a_run_of_the_environment_itself_stays(environments: Environments) -> None:
    """What came from there does not go back."""
    own = json.dumps({**environments.record, "artifacts": {}})
    environments.put(BUCKET, f"runs/{RUN}/run.json", own)
    ended = environments.promote()
    assert (ended.exit_code, f"the run {RUN} is one of cars-prod itself" in ended.stderr) == (1, True)
    assert environments.aws.get(f"runs/{RUN}/run.json") == own


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
    mails = answers("sns", "Publish", (200, PUBLISHED))
    environments.let_people_approve()
    serves = {"Name": f"/{PROD}/model", "Value": f"{PROD}-{SERVING}"}
    environments.aws.client("ssm").put_parameter(**serves, Type="String")
    assert environments.status() == environments.status() == "PendingManualApproval"
    (mail,) = mails
    body = parse_qs(mail.body)["Message"][0]
    assert f"aws sagemaker update-model-package --model-package-arn {group_of(PROD)}/1" in body
    assert "without being measured again" in body
    assert "\nIn service    cars-prod-20261120000000-bbbb (now)\n" in body
    assert "nobody answers" not in body
    environments.registries.versions[PROD][0]["ModelApprovalStatus"] = approval.REJECTED
    ended = environments.promote()
    assert (ended.exit_code, "Rejected" in ended.stdout) == (1, True)
    assert f"version 1 of {PROD} was rejected: no reason was given. To try it nevertheless: " in ended.stderr


@pytest.mark.parametrize(("later", "asked"), [(0, 1), (ASK_SECONDS, 2)])
def test_where_the_mail_that_asks_was_not_sent_it_is_once_nobody_sends_it(
    environments: Environments,
    answers: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    later: int,
    asked: int,
) -> None:
    mails = answers("sns", "Publish", xml_refusal(404, "NotFound"), (200, PUBLISHED))
    environments.let_people_approve()
    assert environments.promote().exit_code == 1
    monkeypatch.setattr("time.time", partial(add, time.time(), later))
    assert environments.status() == environments.status() == "PendingManualApproval"
    assert len(mails) == asked


def test_a_deployment_that_fails_fails_it_and_trying_again_tries_again(environments: Environments) -> None:
    environments.planned["status"] = "Failed"
    ended = environments.promote()
    assert (ended.exit_code, "Failed" in ended.stdout) == (1, True)
    again = environments.promote()
    assert "To try it nevertheless: perennial approve 1 --stack cars-prod" in again.stderr
    assert (again.exit_code, len(environments.registries.started)) == (1, 1)
    environments.planned["status"] = "Succeeded"
    environments.registries.answer(f"{group_of(PROD)}/1", approval.APPROVED)
    assert environments.status() == "Serves"


@pytest.mark.parametrize("people", ["auto", "manual"])
def test_a_deployment_that_was_left_alone_is_found_and_followed(environments: Environments, people: str) -> None:
    """Somebody stopped looking, or a person has approved it meanwhile."""
    environments.interrupt()
    if people == "manual":
        environments.let_people_approve()
    assert environments.status() == "Serves"
    assert len(environments.registries.started) == 1


def test_what_deployed_it_before_its_last_approval_is_not_taken_for_what_does(environments: Environments) -> None:
    environments.interrupt()
    (before,) = environments.registries.started
    began = replace(before, arn=before.arn.replace("version-1-", "version-1-9"))
    environments.registries.started[:] = [replace(before, ended_at=datetime.fromtimestamp(1, UTC))]
    looks = iter([[], [began]])
    sleeps: list[float] = []

    def pause(seconds: float) -> None:
        sleeps.append(seconds)
        environments.registries.started[:0] = next(looks)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("time.sleep", pause)
        assert environments.status() == "Serves"
    assert len(sleeps) == 2


@matrix("Promotion", "two promote one version at once", ends="one version serves, both are told so")
def test_two_at_once_are_one_version_wherever_the_one_overtakes_the_other(
    environments: Environments, overtakes: Callable[[str, int], list[str]]
) -> None:
    """The whole of the other comes before a write of the one, which then finds what is there."""
    others = [(name, 0) for name in ("PutItem", "CreateModelPackage", "UpdateModelPackage")]
    for operation, number in [("PutObject", 0), ("PutObject", len(FILES)), *others]:
        environments.empty_prod()
        other = overtakes(operation, number)
        assert (environments.status(), other) == ("Serves", ["Serves"]), (operation, number)
        s3 = environments.aws.client("s3")
        kept = [one["Key"] for one in s3.list_object_versions(Bucket=BUCKET)["Versions"]]
        assert len(kept) == len(set(kept)) == len(FILES) + 1, (operation, number)
        (version,) = environments.registries.versions[PROD]
        assert (version["ModelApprovalStatus"], len(environments.registries.started)) == ("Approved", 1)
        known = runs_of_functions().get(RUN)
        record = json.loads(s3.get_object(Bucket=BUCKET, Key=f"runs/{RUN}/run.json")["Body"].read())
        assert known == {**record, "serving_images": []}, (operation, number)
        copies = environments.copies()
        sealed = {name: one["sealed"]["version_id"] for name, one in known["artifacts"].items()}
        assert sealed == {name: copies[f"serving/{name}.tar.gz"] for name in ("preprocessor", "model")}


@matrix("Promotion", "what serves in the other stack has learned from newer data", ends="refused: what serves stays")
def test_what_has_learned_from_newer_data_is_not_replaced(environments: Environments) -> None:
    newer = {"run_id": SERVING, "data": {"listed_at": "2026-11-20T00:00:00.000Z"}}
    environments.put(BUCKET, f"runs/{SERVING}/run.json", json.dumps(newer))
    environments.registries.create(_Request(registration().replace(RUN, SERVING).replace(DEV, PROD)))
    name, value = f"/{PROD}/model-package", f"{group_of(PROD)}/1"
    environments.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String")
    environments.aws.client("ssm").put_parameter(Name=f"/{PROD}/run", Value=SERVING, Type="String")
    ended = environments.promote()
    assert (ended.exit_code, f"what serves in cars-prod (run {SERVING}) on newer ones" in ended.stderr) == (1, True)
    assert "listed at 2026-11-20T00:00:00.000Z. To have it all the same: perennial reject 1 --stack" in ended.stderr
    assert len(environments.registries.versions[PROD]) == 1
    environments.registries.answer(f"{group_of(PROD)}/1", approval.REJECTED)
    assert environments.status() == "Serves"


@pytest.mark.parametrize(
    ("serving", "way"), [(2, "perennial approve 1 --stack cars-prod, then perennial rollback 1 --stack"), (None, None)]
)
def test_an_older_version_of_there_is_no_way_back(
    environments: Environments, serving: int | None, way: str | None
) -> None:
    environments.interrupt()
    (version,) = environments.registries.versions[PROD]
    version["ModelApprovalStatus"] = approval.PENDING
    environments.registries.create(_Request(registration().replace(RUN, SERVING).replace(DEV, PROD)))
    if serving:
        name, value = f"/{PROD}/model-package", f"{group_of(PROD)}/{serving}"
        environments.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String")
    ended = environments.promote()
    assert (ended.exit_code, "version 2 of cars-prod is approved and newer than version 1" in ended.stderr) == (1, True)
    assert ((way or "perennial") in ended.stderr) == bool(way)


def other_bytes(it: Environments) -> None:
    it.record["artifacts"]["model"]["sha256"] = "0" * 64


def no_seal(it: Environments) -> None:
    it.record["artifacts"]["model"] = f"s3://{DEV_BUCKET}/model.tar.gz"


def of_an_earlier_version(it: Environments) -> None:
    it.aws.client("s3").delete_object(Bucket=DEV_BUCKET, Key=f"runs/{RUN}/{VERIFICATION}")


def erased(it: Environments) -> None:
    of_an_earlier_version(it)
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


def no_artefact(it: Environments) -> None:
    it.aws.client("s3").delete_object(Bucket=DEV_BUCKET, Key=f"runs/{RUN}/serving/model.tar.gz")


NOTHING = "refused: nothing is registered, what serves stays"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_bytes, f"; its run has recorded {'0' * 64}. Nothing was registered"),
        (no_seal, f"the record of run {RUN} does not say which model serves"),
        (erased, f"s3://{DEV_BUCKET}/runs/{RUN}/test/ is gone"),
        pytest.param(
            no_artefact,
            f"s3://{DEV_BUCKET}/runs/{RUN}/serving/model.tar.gz is gone",
            marks=matrix("Promotion", "an artefact of the version is gone", ends=NOTHING),
        ),
        (by_hand, "version 1 of cars-dev was made by no run, but by hand"),
        (refused, f"is of run {RUN}, and its gate has not accepted the model (rmse 9 is too high)"),
        (withheld, f"is of run {RUN}, and its model is withheld: its input decides data_prefix"),
        pytest.param(
            another_model,
            "cars-dev and cars-prod have models of their own, used-cars and rents",
            marks=matrix("Promotion", "the other stack is of another model", ends=NOTHING),
        ),
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


@matrix("Promotion", "the version is rejected where it comes from while it is copied", ends=NOTHING)
def test_what_is_rejected_while_it_is_copied_is_not_registered(
    environments: Environments, answers: Callable[..., list[Any]]
) -> None:
    def put(request: Any) -> None:
        environments.registries.versions[DEV][0]["ModelApprovalStatus"] = approval.REJECTED

    answers("s3", "PutObject", put)
    ended = environments.promote()
    assert (ended.exit_code, "version 1 of cars-dev is Rejected; expected an approved one" in ended.stderr) == (1, True)
    assert environments.registries.versions[PROD] == []


@matrix("Promotion", "the key of the other stack is refused", ends=NOTHING)
def test_where_the_key_is_refused_nothing_is_registered(
    environments: Environments, answers: Callable[..., list[Any]]
) -> None:
    text = "User: arn:aws:iam::2:user/ada is not authorized to perform: kms:GenerateDataKey on the resource"
    answers("s3", "PutObject", (403, f"<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>"))
    ended = environments.promote()
    assert (ended.exit_code, text in ended.stderr) == (1, True)
    assert environments.registries.versions[PROD] == []


def test_a_role_is_spoken_as_where_the_profile_says(
    aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a private address of S3."""
    keys = "aws_access_key_id = testing\naws_secret_access_key = testing\n"
    services = "services = ours\n[services ours]\ns3 =\n  endpoint_url = https://s3.ours\n"
    (tmp_path / "config").write_text(f"[profile prod]\nregion = {REGION}\n{keys}{services}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    taken = account.session("prod", "arn:aws:iam::123456789012:role/promoted")
    assert taken.client("s3").meta.endpoint_url == "https://s3.ours"
    who = taken.client("sts").get_caller_identity()["Arn"]
    assert ":assumed-role/promoted/" in who
