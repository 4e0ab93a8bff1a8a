"""Records of deployments: what they hold, how they are listed, and what happens where one cannot be written."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from perennial_cli import deployments
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.unit.conftest import BUCKET, FakeAws

CHANGE_SET = "arn:aws:cloudformation:us-east-1:123456789012:changeSet/samcli-deploy1764400000/1a2b"
WHO = "arn:aws:sts::123456789012:assumed-role/deploys-cars/GitHubActions"
STACK = Stack("cars", {"BucketName": BUCKET}, {"ModelName": "used-cars", "BakingSeconds": "300"})


def changed(action: str, name: str, **more: str) -> dict[str, Any]:
    resource = {"Action": action, "LogicalResourceId": name, "ResourceType": "AWS::SQS::Queue", **more}
    return {"Type": "Resource", "ResourceChange": resource}


@pytest.fixture
def cloudformation(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """CloudFormation and STS as their service models have them, beside a bucket."""
    real = boto3.client
    others = {name: real(name) for name in ("cloudformation", "sts")}
    monkeypatch.setattr(boto3, "client", lambda name: others.get(name) or real(name))
    with Stubber(others["cloudformation"]) as stubber, Stubber(others["sts"]) as sts:
        for _ in range(2):
            sts.add_response("get_caller_identity", {"Arn": WHO})
        yield stubber


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project with one commit, which is returned."""
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    (tmp_path / "template.yaml").write_text("Resources: {}\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_record_says_who_deployed_which_commit_and_what_changed(
    cloudformation: Stubber, clone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"Changes": [changed("Add", "Queue"), changed("Modify", "Other", Replacement="True")], "NextToken": "2"}
    cloudformation.add_response("describe_change_set", answer, {"ChangeSetName": CHANGE_SET})
    rest = {"Changes": [changed("Modify", "Third", Replacement="Conditional"), changed("Remove", "Fourth")]}
    cloudformation.add_response("describe_change_set", rest, {"ChangeSetName": CHANGE_SET, "NextToken": "2"})
    record = deployments.keep(STACK, "staging", CHANGE_SET)

    assert (record["stack"], record["environment"], record["change_set"]) == ("cars", "staging", CHANGE_SET)
    assert record["deployed_by"] == WHO
    assert (record["commit"], record["is_committed"]) == (clone, True)
    assert record["parameters"]["BakingSeconds"] == "300"
    assert [change["resource"] for change in record["changes"]] == ["Queue", "Other", "Third", "Fourth"]
    assert deployments.summary(record) == "1 added, 1 replaced, 1 modified, 1 removed"

    (tmp_path / "template.yaml").write_text("Resources: {Other: {}}\n")
    later = deployments.keep(STACK, "staging", None)
    assert (later["is_committed"], later["changes"], deployments.summary(later)) == (False, [], "nothing")

    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: STACK)
    assert json.loads(perennial("deployments", "--json").stdout) == [later, record]
    lines = perennial("deployments").stdout.splitlines()
    assert [f"{clone[:12]} and more" in line for line in lines] == [False, True, False]
    assert clone[:12] in lines[2]


def test_a_folder_without_a_history_has_no_commit(
    cloudformation: Stubber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    record = deployments.keep(STACK, "local", None)
    assert (record["commit"], record["is_committed"], deployments.commit_text(record)) == (None, None, "none")


@pytest.mark.usefixtures("cloudformation", "clone")
def test_a_record_that_cannot_be_written_is_an_error_that_says_that_the_stack_is_deployed() -> None:
    elsewhere = Stack("cars", {"BucketName": "gone"}, {})
    with pytest.raises(
        CommandError, match="the stack cars is deployed, but its record could not be written to s3://gone/"
    ):
        deployments.keep(elsewhere, "prod", None)
