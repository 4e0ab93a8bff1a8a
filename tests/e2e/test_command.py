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
import yaml
from botocore.exceptions import ClientError

from localcloud import access, mailbox
from localcloud.settings import Settings, variables
from tests import lifecycle, sam_cli
from tests.command import perennial
from tests.e2e.conftest import pointed_at
from tests.integration import servers
from tests.ports import free_port
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-models")
ROOT = Path(__file__).resolve().parents[2]
LESIONS = 830
STACK = "tumour-findings"
SHARED_WITH, STRANGER = ("111111111111", "333333333333"), "444444444444"
WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.fixture(scope="module")
def project(cloud_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one's own, made by `sam init` from an archive of this repository, with no models yet."""
    folder = tmp_path_factory.mktemp("own")
    passed_over = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    shutil.copytree(ROOT, folder / "perennial", ignore=shutil.ignore_patterns(".git", *passed_over))
    shutil.make_archive(str(folder / "perennial"), "zip", folder, "perennial")
    words = ("init", "--no-interactive", "--location", "perennial.zip", "--name", "own")
    made = sam_cli.sam(*words, cwd=folder, env=dict(os.environ), timeout_seconds=60)
    assert made.returncode == 0, made.stderr
    own = folder / "own"
    (own / ".venvs").symlink_to(ROOT / ".venvs")
    shutil.rmtree(own / "models")
    (own / "models").mkdir()
    samconfig = (own / "samconfig.toml").read_text().replace('"perennial-used-cars"', f'"{STACK}"')
    (own / "samconfig.toml").write_text(samconfig.replace("ModelName=used-cars", f"ModelName={STACK}"))
    return own


def steps(workflow: str) -> list[str]:
    """Return what the jobs of a workflow run."""
    jobs = yaml.safe_load((WORKFLOWS / f"{workflow}.yml").read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def deliver(project: Path, step: str, env: str = "local", **others: str) -> str:
    """Run a step of a pipeline in an environment; return what it prints."""
    command = ["sh", "-ec", f"{step} ENV={env} --assume-old=install"]  # the environments are those of this repository
    aws = {name: value for name, value in os.environ.items() if not others or not name.startswith("AWS_")}
    ended = subprocess.run(command, cwd=project, env={**aws, **others}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def prod(tmp_path: Path) -> Iterator[Settings]:
    """A local cloud of another account than the session's."""
    own = Settings(free_port(), tmp_path / "prod", account_id="222222222222")
    place = ["--port", str(own.port), "--state", str(own.state)]
    started = servers.command(*place, "up", "--account", own.account_id, env=dict(os.environ))
    assert started.returncode == 0, started.stderr
    yield own
    servers.command(*place, "down", env=dict(os.environ))


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
    cloudformation, name = boto3.client("cloudformation", **keys), f"{stack}-pipeline"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "delivery/deployer.yaml").read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in {"StackName": stack, **parameters}.items()
        ],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return {one["OutputKey"]: one["OutputValue"] for one in outputs}


def policy_to_promote(keys: Keys, stack: str) -> Any:
    """Return what delivery/deployer.yaml lets the role do that brings versions to a stack, as it was deployed."""
    cloudformation, iam = boto3.client("cloudformation", **keys), boto3.client("iam", **keys)
    named = {"StackName": f"{stack}-pipeline", "LogicalResourceId": "PromotePolicy"}
    arn = cloudformation.describe_stack_resource(**named)["StackResourceDetail"]["PhysicalResourceId"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def test_a_persons_own_file_becomes_a_model_that_serves(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    (record,) = json.loads(perennial("deployments", *stack, "--json").stdout)
    assert (record["environment"], record["commit"], record["parameters"]["ModelName"]) == ("local", None, STACK)
    assert {change["action"] for change in record["changes"]} == {"Add"}


def let_sets_expire() -> None:
    """Let the days of the bucket's rules pass for all runs of the stack: a version may be promoted after that."""
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    bucket = next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "BucketName")
    left = lifecycle.let_days_pass(boto3.client("s3"), bucket, "runs/")
    folders = {key.split("/")[2] for key in left}
    assert ("verification" in folders, folders & {"test", "train", "predictions"}) == (True, set())


def test_a_version_that_serves_in_one_account_serves_in_another_and_nobody_may_more_than_that(
    project: Path, prod: Settings, tmp_path: Path
) -> None:
    """After the first test: what it has trained goes to an account of its own, by the roles of the pipelines."""
    samconfig = (project / "samconfig.toml").read_text()
    section = samconfig[samconfig.index("[local.deploy.parameters]") : samconfig.index("[default.deploy.parameters]")]
    other = (
        section.replace("local.", "other.")
        .replace(STACK, f"{STACK}-prod", 1)
        .replace("CostCenter", f"Approval=auto SharedWith={','.join(SHARED_WITH)} CostCenter")
    )
    (project / "samconfig.toml").write_text(f"{samconfig}\n{other}")
    here, there = dict(os.environ), variables(prod)
    deploy, _ = steps("deploy")
    local = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for size in ("medium", "large"):
        deliver(project, f"{deploy} SIZE={size}", "other", **{**local, **there})
    with pointed_at(prod):
        (stack,) = boto3.client("cloudformation").describe_stacks(StackName=f"{STACK}-prod")["Stacks"]
    size = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert (size["Approval"], size["ProtectArtefacts"], size["Api"]) == ("auto", "yes", "iam")

    let_sets_expire()
    promoted, step = steps("promote-to")
    (mine_arn, mine), (their_arn, theirs) = agent(here), agent(there)
    promoter = f"deploys-{STACK}-prod"
    source = pipeline(
        mine, STACK, AgentRoleArn=mine_arn, PromoterRoleArn=f"arn:aws:iam::{prod.account_id}:role/{promoter}"
    )
    from_role = source["PromotedRoleArn"]
    target = pipeline(theirs, f"{STACK}-prod", AgentRoleArn=their_arn, FromRoleArn=from_role)
    deployer = taken(taken(theirs, their_arn), target["RoleArn"])
    policy = policy_to_promote(theirs, f"{STACK}-prod")
    profiles = {
        "prod": deployer,
        "prod-in-dev": guest(here, prod.account_id, Role=promoter, Policy=policy),  # the same role, where dev is
        "dev-promoted": {
            "role_arn": from_role,
            "source_profile": "prod-in-dev",
            "endpoint_url": local["AWS_ENDPOINT_URL"],
        },
    }
    texts = [
        "\n".join([f"[profile {name}]", *(f"{key} = {value}" for key, value in {"region": "us-east-1", **one}.items())])
        for name, one in profiles.items()
    ]
    config = tmp_path / "config"
    config.write_text("\n".join(texts) + "\n")
    files = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    by = {**files, "AWS_PROFILE": "prod", "FROM_ENV": "local", "GITHUB_OUTPUT": str(tmp_path / "output")}
    github = {**by, "PERENNIAL_FROM_ROLE": from_role, "PERENNIAL_FROM_PROFILE": "prod-in-dev"}
    lines = deliver(project, promoted, "other", **github)
    assert re.search(rf"from    version \d of {STACK}, ", lines)
    assert f"to      version 1 of {STACK}-prod" in lines
    assert "status  Serves" in lines
    (promoted_run,) = re.findall(r"run=(\S+)", (tmp_path / "output").read_text())
    assert '"score": ' in deliver(project, step, "other", **by, RUN=promoted_run)
    jenkins = {**by, "PERENNIAL_FROM_PROFILE": "dev-promoted"}
    assert "status  Serves" in deliver(project, promoted, "other", **jenkins)
    with pytest.raises(ClientError, match="because no resource-based policy allows the sts:AssumeRole action"):
        taken(guest(here, prod.account_id), from_role)

    sagemaker, dev = boto3.client("sagemaker", **theirs), boto3.client("sagemaker", **mine)
    group = sagemaker.describe_model_package_group(ModelPackageGroupName=f"{STACK}-prod")["ModelPackageGroupArn"]
    (version,) = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert version["ModelPackageArn"].split(":")[4] == "222222222222"
    described = sagemaker.describe_model_package(ModelPackageName=version["ModelPackageArn"])
    origin, run = (described["CustomerMetadataProperties"][name] for name in ("promoted-from", "run"))
    assert (tmp_path / "output").read_text() == f"run={run}\n"
    assert dev.describe_model_package(ModelPackageName=origin)["ModelApprovalStatus"] == "Approved"
    (mail,) = mailbox.messages(prod.state)
    assert f"it was {origin}, which arn:aws:sts::222222222222:assumed-role/deploys-{STACK}-prod/" in mail.body
    with pointed_at(prod):
        chain = perennial("explain", "--stack", f"{STACK}-prod").stdout
    assert f"promoted {origin}, by arn:aws:sts::222222222222:assumed-role/deploys-{STACK}-prod/" in chain

    bucket = next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "BucketName")
    model = f"runs/{run}/serving/model.tar.gz"
    s3 = boto3.client("s3", **taken(theirs, their_arn))
    for change in (s3.delete_object, partial(s3.put_object, Body=b"mine")):
        with pytest.raises(ClientError, match="with an explicit deny in a resource-based policy"):
            change(Bucket=bucket, Key=model)

    for account in SHARED_WITH:
        registry, store = (boto3.client(name, **guest(there, account)) for name in ("sagemaker", "s3"))
        assert store.get_object(Bucket=bucket, Key=model)["ContentLength"] > 0
        again = {"InferenceSpecification": described["InferenceSpecification"], "ModelPackageGroupName": group}
        registered = registry.create_model_package(**again, ModelApprovalStatus="PendingManualApproval")
        assert registry.describe_model_package(ModelPackageName=registered["ModelPackageArn"])["CreatedBy"]
        for refused in (
            partial(registry.create_model_package, **again, ModelApprovalStatus="Approved"),
            partial(
                registry.update_model_package,
                ModelPackageArn=version["ModelPackageArn"],
                ModelApprovalStatus="Rejected",
            ),
            partial(store.put_object, Bucket=bucket, Key="raw/theirs.csv", Body=b""),
        ):
            with pytest.raises(ClientError, match="because no resource-based policy allows"):
                refused()
    registry, store = (boto3.client(name, **guest(there, STRANGER)) for name in ("sagemaker", "s3"))
    for refused in (
        partial(store.get_object, Bucket=bucket, Key=model),
        partial(registry.list_model_packages, ModelPackageGroupName=group),
        partial(registry.describe_model_package, ModelPackageName=version["ModelPackageArn"]),
        partial(registry.create_model_package, **again, ModelApprovalStatus="PendingManualApproval"),
    ):
        with pytest.raises(ClientError, match="because no resource-based policy allows"):
            refused()
