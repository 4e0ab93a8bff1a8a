"""From a person's own file to answers: a project of one's own, the command, and the very steps of the pipelines."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localcloud import access, faults, mailbox
from localcloud.settings import Settings, variables
from tests import delivered, lifecycle, sam_cli
from tests.command import perennial
from tests.e2e.conftest import pointed_at
from tests.integration import servers
from tests.pipelines import jobs, promote
from tests.ports import free_port
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-models")
ROOT = Path(__file__).resolve().parents[2]
LESIONS = 830
STACK = "tumour-findings"
STACKS = {"dev": STACK, "staging": f"{STACK}-staging", "prod": f"{STACK}-prod"}
ACCOUNTS = {"staging": "111111111111", "prod": "222222222222"}
DEV, STRANGER = "000000000000", "444444444444"
SHARED_WITH = (DEV, ACCOUNTS["prod"])  # by staging


@pytest.fixture(scope="module")
def project(cloud_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of one's own, made by `sam init` from an archive of this repository, with no models yet."""
    folder = tmp_path_factory.mktemp("own")
    passed_over = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    shutil.copytree(ROOT, folder / "perennial", ignore=shutil.ignore_patterns(".git", *passed_over))
    shutil.make_archive(str(folder / "perennial"), "zip", folder, "perennial")
    words = ("init", "--no-interactive", "--location", "perennial.zip", "--name", "own")
    made = sam_cli.sam(*words, cwd=folder, env=dict(os.environ), timeout_seconds=60)
    assert made.returncode == 0, made.stderr
    own = folder / "own"
    (own / ".venvs").mkdir()
    for installed in (ROOT / ".venvs").iterdir():
        if installed.name != "sam":
            (own / ".venvs" / installed.name).symlink_to(installed)
    shutil.rmtree(own / "models")
    (own / "models").mkdir()
    samconfig = (own / "samconfig.toml").read_text().replace("ModelName=used-cars", f"ModelName={STACK}")
    for theirs, name in (("perennial-used-cars", STACK), ("used-cars-dev", STACK), ("used-cars-", f"{STACK}-")):
        samconfig = samconfig.replace(f'stack_name = "{theirs}', f'stack_name = "{name}')
    (own / "samconfig.toml").write_text(samconfig)
    with sam_cli.as_program(own / ".venvs" / "sam"):
        yield own


def steps(workflow: str) -> list[str]:
    """Return what the jobs of a workflow run."""
    return [step["run"] for job in jobs(workflow).values() for step in job["steps"] if "run" in step]


def ran(project: Path, step: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step of a pipeline with variables, in the environments of this repository."""
    command = ["sh", "-ec", f"{step} --assume-old=install"]
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)


def deliver(project: Path, step: str, env: str = "local", **others: str) -> str:
    """Run a step of a pipeline in an environment; return what it prints."""
    aws = {name: value for name, value in os.environ.items() if not others or not name.startswith("AWS_")}
    ended = ran(project, step, **{**aws, **others, "ENV": env})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def others(tmp_path: Path) -> Iterator[dict[str, Settings]]:
    """Local clouds of other accounts than the session's."""
    clouds = {name: Settings(free_port(), tmp_path / name, account_id=account) for name, account in ACCOUNTS.items()}
    for own in clouds.values():
        started = servers.command(*_place(own), "up", "--account", own.account_id, env=dict(os.environ))
        assert started.returncode == 0, started.stderr
    yield clouds
    for own in clouds.values():
        servers.command(*_place(own), "down", env=dict(os.environ))


def _place(cloud: Settings) -> list[str]:
    return ["--port", str(cloud.port), "--state", str(cloud.state)]


Keys = dict[str, str]
"""How boto3 speaks to an account: with the account's own keys, or those of a role's session."""


def taken(keys: Keys, role: str) -> Keys:
    """Take a role; return how its session speaks."""
    session = boto3.client("sts", **keys).assume_role(RoleArn=role, RoleSessionName="pipeline")["Credentials"]
    secrets = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey"}
    secrets["aws_session_token"] = "SessionToken"
    return {**keys, **{name: session[member] for name, member in secrets.items()}}


def agent(known: Mapping[str, str]) -> tuple[str, Keys]:
    """Make the role of an agent in an account, where it may do everything; return its ARN, and the account's keys."""
    keys = {
        "region_name": known["AWS_REGION"],
        "endpoint_url": known["AWS_ENDPOINT_URL"],
        "aws_access_key_id": known["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": known["AWS_SECRET_ACCESS_KEY"],
    }
    iam, whoever = boto3.client("iam", **keys), boto3.client("sts", **keys).get_caller_identity()["Account"]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{whoever}:root"}, "Action": "sts:AssumeRole"}
    takes = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    documents = [json.dumps({"Version": "2012-10-17", "Statement": [one]}) for one in (trust, takes)]
    arn = iam.create_role(RoleName="agent", AssumeRolePolicyDocument=documents[0])["Role"]["Arn"]
    iam.put_role_policy(RoleName="agent", PolicyName="takes", PolicyDocument=documents[1])
    return arn, keys


def guest(known: Mapping[str, str], account: str, **role: Any) -> Keys:
    """Return the keys of somebody of another account, who may do everything there, or of a role of it."""
    session = access.call(known, "POST", "/_localcloud/guests", json.dumps({"Account": account, **role}).encode())
    return {
        "region_name": known["AWS_REGION"],
        "endpoint_url": known["AWS_ENDPOINT_URL"],
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }


def pipeline(keys: Keys, stack: str, **parameters: str) -> dict[str, str]:
    """Deploy delivery/deployer.yaml for a stack; return its outputs."""
    cloudformation = boto3.client("cloudformation", **keys)
    return delivered.deploy(cloudformation, f"{stack}-pipeline", "deployer", StackName=stack, **parameters)


def deployed(cloud: Settings, name: str) -> tuple[dict[str, str], str]:
    """Return the parameters and the bucket of a stack in an account."""
    with pointed_at(cloud):
        (stack,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}, outputs["BucketName"]


def policy_to_promote(keys: Keys, stack: str) -> Any:
    """Return what delivery/deployer.yaml lets the role do that brings versions to a stack, as it was deployed."""
    cloudformation, iam = boto3.client("cloudformation", **keys), boto3.client("iam", **keys)
    named = {"StackName": f"{stack}-pipeline", "LogicalResourceId": "PromotePolicy"}
    arn = cloudformation.describe_stack_resource(**named)["StackResourceDetail"]["PhysicalResourceId"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def sign_in(clouds: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, Any], dict[str, str], dict[str, Keys]]:
    """Make the roles of the pipelines in dev, staging and prod, as docs/environments.md says.

    Return the profiles of an agent: of each environment, of the same role where it reads (NAME-before), and of the role
    that prod takes in staging (staging-promoted); then the role that each environment reads with; then the keys of
    the accounts.
    """
    profiles: dict[str, Any] = {}
    from_roles: dict[str, str] = {}
    keys: dict[str, Keys] = {}
    for before, name, after in ((None, "dev", "staging"), ("dev", "staging", "prod"), ("staging", "prod", None)):
        arn, keys[name] = agent(clouds[name])
        roles = {"AgentRoleArn": arn}
        if before:
            roles["FromRoleArn"] = from_roles[name]
        if after:
            roles["PromoterRoleArn"] = f"arn:aws:iam::{ACCOUNTS[after]}:role/deploys-{STACKS[after]}"
        made = pipeline(keys[name], STACKS[name], **roles)
        profiles[name] = taken(taken(keys[name], arn), made["RoleArn"])
        if before:
            same = {"Role": f"deploys-{STACKS[name]}", "Policy": policy_to_promote(keys[name], STACKS[name])}
            profiles[f"{name}-before"] = guest(clouds[before], ACCOUNTS[name], **same)
        if after:
            from_roles[after] = made["PromotedRoleArn"]
    profiles["staging-promoted"] = {
        "role_arn": from_roles["prod"],
        "source_profile": "prod-before",
        "endpoint_url": clouds["staging"]["AWS_ENDPOINT_URL"],
    }
    return profiles, from_roles, keys


def written(profiles: Mapping[str, Mapping[str, str]], file: Path) -> str:
    """Write profiles as AWS reads them; return where."""
    texts = [
        "\n".join([f"[profile {name}]", *(f"{key} = {value}" for key, value in {"region": "us-east-1", **one}.items())])
        for name, one in profiles.items()
    ]
    file.write_text("\n".join(texts) + "\n")
    return str(file)


def test_a_persons_own_file_becomes_a_model_that_serves(
    project: Path, cloud_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real data as somebody's spreadsheet may write them: semicolons, a mark, a unit, another language."""
    rows = [row.split(",") for row in demo_data.mammography().decode().splitlines()[1:]]
    theirs = [
        f"{number};{bi_rads};{age} years;{';'.join(findings)};{'ja' if malignant == '1' else 'nein'}"
        for number, (bi_rads, age, *findings, malignant) in enumerate(rows)
    ]
    file = project / "Tumour findings.csv"
    names = ";".join(["", "BI-RADS", "Age", "Shape", "Margin", "Density", "Malignant"])
    file.write_bytes("\r\n".join([names, *theirs, ""]).encode("utf-8-sig"))
    monkeypatch.setenv("PERENNIAL_HOME", str(project))
    stack = ("--stack", STACK)

    proposed = json.loads(perennial("init", file, "--json").stdout)
    assert (proposed["model"], proposed["target"], proposed["rows"]) == ("tumour-findings", "malignant", LESIONS)
    assert 0.6 < proposed["threshold"] < min(proposed["quick_fits"])
    tried = json.loads(perennial("try", "tumour-findings", "--file", file, "--json").stdout)
    assert (tried["report"]["rows"]["used"], tried["problems"]) == (LESIONS, [])

    deploy, smoke = steps("deploy")
    assert " added" in deliver(project, deploy)
    dropped = perennial("drop", file, *stack, "--json")
    assert dropped.exit_code == 0, dropped.stderr
    record = json.loads(dropped.stdout)
    assert (record["status"], record["rows"]["used"]) == ("Succeeded", LESIONS)

    asked = {"bi_rads": 5, "age": 75, "shape": 4, "margin": 5, "density": 3}
    (answer,) = json.loads(perennial("predict", json.dumps(asked), *stack, "--json").stdout)
    assert answer["score"] > 0.5
    (explained,) = json.loads(perennial("predict", json.dumps(asked), *stack, "--explain", "--json").stdout)
    shares = {one["feature"]: one["contribution"] for one in explained["contributions"]}
    assert (explained["score"], explained["is_exact"]) == (answer["score"], True)
    assert sum(shares.values()) == pytest.approx(explained["score"] - explained["typical_score"])
    assert shares["bi_rads"] > 0
    answers = perennial("predict", file, *stack)
    assert (answers.exit_code, len(answers.stdout.splitlines())) == (0, LESIONS + 1)
    assert perennial("reproduce", "latest", *stack).exit_code == 0
    jobs = json.loads(perennial("cost", record["run_id"], *stack, "--json").stdout)["jobs"]
    assert {job["kind"] for job in jobs} == {"Processing", "Training", "Transform"}

    assert '"score": ' in deliver(project, smoke)
    (look,) = steps("watch")
    assert f"{STACK} is as it was deployed" in deliver(project, look)
    sqs, named = boto3.client("sqs"), {"StackName": STACK, "LogicalResourceId": "UndeliveredEvents"}
    resource = boto3.client("cloudformation").describe_stack_resource(**named)["StackResourceDetail"]
    queue = resource["PhysicalResourceId"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MessageRetentionPeriod": "60"})
    assert ran(project, look, **os.environ, ENV="local").returncode != 0
    subject = f"{STACK}: 1 resource not as deployed"
    (mail,) = [mail for mail in mailbox.messages(cloud_state) if mail.subject == subject]
    assert f"UndeliveredEvents (AWS::SQS::Queue, {queue}): modified" in mail.body
    assert "/MessageRetentionPeriod: deployed as 1209600, now 60" in mail.body
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MessageRetentionPeriod": "1209600"})
    (record,) = json.loads(perennial("deployments", *stack, "--json").stdout)
    assert (record["environment"], record["commit"], record["parameters"]["ModelName"]) == ("local", None, STACK)
    assert {change["action"] for change in record["changes"]} == {"Add"}
    assert record["deployed_by"] == boto3.client("sts").get_caller_identity()["Arn"]


def let_sets_expire() -> None:
    """Let the days of the bucket's rules pass for all runs of the stack: a version may be promoted after that."""
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    bucket = next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "BucketName")
    left = lifecycle.let_days_pass(boto3.client("s3"), bucket, "runs/")
    folders = {key.split("/")[2] for key in left}
    assert ("verification" in folders, folders & {"test", "train", "predictions"}) == (True, set())


def test_a_version_that_serves_in_one_account_serves_in_two_others_and_nobody_may_more_than_that(
    project: Path, others: dict[str, Settings], tmp_path: Path
) -> None:
    """After the first test: what it has trained goes to staging, is tried there, and goes to prod, by promote.yml."""
    config = project / "samconfig.toml"
    sections = config.read_text().replace("CostCenter=prod", "AlertEmails=you@example.com CostCenter=prod")
    shared = f"SharedWith={','.join(SHARED_WITH)} CostCenter=staging"
    config.write_text(sections.replace("CostCenter=staging", shared))
    here, there = dict(os.environ), {name: variables(cloud) for name, cloud in others.items()}
    deploy, _ = steps("deploy")
    local = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name, size in (("staging", "medium"), ("prod", "large")):
        deliver(project, f"{deploy} SIZE={size}", name, **{**local, **there[name]})
    prod = others["prod"]
    size, shared_bucket = deployed(others["staging"], STACKS["staging"])
    schedules = [size[f"{what}Schedule"] for what in ("Retrain", "Monitor", "Batch")]
    assert schedules == ["rate(7 days)", "rate(1 hour)", "rate(1 hour)"]
    size, bucket = deployed(prod, STACKS["prod"])
    assert (size["Approval"], size["ProtectArtefacts"], size["Api"]) == ("manual", "yes", "iam")

    let_sets_expire()
    promoted, smoke = steps("promote-to")
    profiles, from_roles, keys = sign_in({"dev": here, **there})
    others_of_aws = {name: value for name, value in here.items() if not name.startswith("AWS_")}
    files = {"AWS_CONFIG_FILE": written(profiles, tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    called: list[tuple[str, str, str]] = []

    def run(environment: str, step: str, own: dict[str, str]) -> bool:
        """The first trial in staging finds an endpoint that does not answer."""
        if step == smoke and len(called) == 1:
            faults.Client(there["staging"]).add("sagemaker:InvokeEndpoint", "error", error="ModelError")
        by = {"AWS_PROFILE": environment, "PERENNIAL_FROM_PROFILE": f"{environment}-before"}
        ended = ran(project, step, **{**others_of_aws, **files, **by, **own})
        called.append((environment, step, ended.stdout + ended.stderr))
        return ended.returncode == 0

    vars_of = {name: {"FROM_ROLE_ARN": role} for name, role in from_roles.items()}
    dev, staged, sagemaker = (boto3.client("sagemaker", **keys[name]) for name in ("dev", "staging", "prod"))
    assert promote(run, tmp_path / "output", {}, vars_of) == []
    assert [one[:2] for one in called] == [("staging", promoted), ("staging", smoke)], called
    assert "status  Serves" in called[0][2]
    assert f"the endpoint {STACK}-staging refuses records" in called[1][2]
    group = sagemaker.describe_model_package_group(ModelPackageGroupName=STACKS["prod"])["ModelPackageGroupArn"]
    assert sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] == []

    assert promote(run, tmp_path / "output", {}, vars_of) == ["staging", "prod"], called
    _, _, again, tried, to_prod = (printed for *_, printed in called)
    assert re.search(rf"from    version \d of {STACK}, ", again)
    assert '"score": ' in tried
    assert re.search(rf"from    version 1 of {STACK}-staging, .*\nto      version 1 of {STACK}-prod, ", to_prod)
    assert "status  PendingManualApproval" in to_prod
    assert sagemaker.list_endpoints()["Endpoints"] == []
    with pointed_at(prod):
        assert perennial("approve", 1, "--stack", STACKS["prod"]).exit_code == 0
    jenkins = {**files, "AWS_PROFILE": "prod", "PERENNIAL_FROM_PROFILE": "staging-promoted", "FROM_ENV": "staging"}
    assert "status  Serves" in deliver(project, promoted, "prod", **jenkins, GITHUB_OUTPUT=str(tmp_path / "output"))
    for account, role in ((ACCOUNTS["staging"], "Guest"), (ACCOUNTS["prod"], f"deploys-{STACKS['prod']}")):
        with pytest.raises(ClientError, match="because no resource-based policy allows the sts:AssumeRole action"):
            taken(guest(here, account, Role=role), from_roles["staging"])

    (version,) = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert version["ModelPackageArn"].split(":")[4] == ACCOUNTS["prod"]
    described = sagemaker.describe_model_package(ModelPackageName=version["ModelPackageArn"])
    step_before, run_id = (described["CustomerMetadataProperties"][name] for name in ("promoted-from", "run"))
    assert (tmp_path / "output").read_text() == f"run={run_id}\n"
    origin = staged.describe_model_package(ModelPackageName=step_before)["CustomerMetadataProperties"]["promoted-from"]
    assert dev.describe_model_package(ModelPackageName=origin)["ModelApprovalStatus"] == "Approved"
    *_, mail = mailbox.messages(prod.state)
    by_prod = f"arn:aws:sts::{ACCOUNTS['prod']}:assumed-role/deploys-{STACK}-prod/"
    assert f"it was {step_before}, which {by_prod}" in mail.body
    with pointed_at(prod):
        chain = perennial("explain", "--stack", STACKS["prod"]).stdout
    assert f"promoted {step_before}, by {by_prod}" in chain
    assert f"promoted {origin}, by arn:aws:sts::{ACCOUNTS['staging']}:assumed-role/deploys-{STACK}-staging/" in chain

    model = f"runs/{run_id}/serving/model.tar.gz"
    s3 = boto3.client("s3", **taken(keys["prod"], f"arn:aws:iam::{ACCOUNTS['prod']}:role/agent"))
    for change in (s3.delete_object, partial(s3.put_object, Body=b"mine")):
        with pytest.raises(ClientError, match="with an explicit deny in a resource-based policy"):
            change(Bucket=bucket, Key=model)

    described = staged.describe_model_package(ModelPackageName=step_before)
    group = staged.describe_model_package_group(ModelPackageGroupName=STACKS["staging"])["ModelPackageGroupArn"]
    again = {"InferenceSpecification": described["InferenceSpecification"], "ModelPackageGroupName": group}
    for account in SHARED_WITH:
        registry, store = (boto3.client(name, **guest(there["staging"], account)) for name in ("sagemaker", "s3"))
        assert store.get_object(Bucket=shared_bucket, Key=model)["ContentLength"] > 0
        registered = registry.create_model_package(**again, ModelApprovalStatus="PendingManualApproval")
        creator = registry.describe_model_package(ModelPackageName=registered["ModelPackageArn"])["CreatedBy"]
        assert creator["IamIdentity"]["Arn"].split(":")[4] == account
        number = registered["ModelPackageArn"].rpartition("/")[2]
        with pointed_at(others["staging"]):
            approved = perennial("approve", number, "--stack", STACKS["staging"]).stdout
        assert f"Account {account} has registered it: it is not deployed here" in approved
        for refused in (
            partial(registry.create_model_package, **again, ModelApprovalStatus="Approved"),
            partial(registry.update_model_package, ModelPackageArn=step_before, ModelApprovalStatus="Rejected"),
            partial(store.put_object, Bucket=shared_bucket, Key="raw/theirs.csv", Body=b""),
        ):
            with pytest.raises(ClientError, match="because no resource-based policy allows"):
                refused()
    registry, store = (boto3.client(name, **guest(there["staging"], STRANGER)) for name in ("sagemaker", "s3"))
    for refused in (
        partial(store.get_object, Bucket=shared_bucket, Key=model),
        partial(registry.list_model_packages, ModelPackageGroupName=group),
        partial(registry.describe_model_package, ModelPackageName=step_before),
        partial(registry.create_model_package, **again, ModelApprovalStatus="PendingManualApproval"),
    ):
        with pytest.raises(ClientError, match="because no resource-based policy allows"):
            refused()
