"""`perennial deploy`: what the SAM CLI is asked, and what is shown where it fails. The SAM CLI is a script here."""

import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from perennial_cli import deployment
from perennial_cli.account import Account
from perennial_cli.stacks import Stack
from tests.command import perennial

ROOT = Path(__file__).parents[3]
LOCAL = Account("000000000000", "us-east-1", "http://127.0.0.1:4566")
CLOUD = Account("123456789012", "eu-west-1", None)
SAM_BUILD_FAILED = "Build Failed\nError: CustomMakeBuilder:MakeBuild - Make Failed: make: *** [Makefile:7] Error 1\n"
# sam deploy 1.170.0 with COLUMNS=4000, its columns of 998 characters made shorter here
SAM_DEPLOY_FAILED = """\
CREATE_COMPLETE        AWS::IAM::Role     PublishJobCodeRole      -
CREATE_FAILED          Custom::JobCode    JobCode                 Received response status [FAILED]: StackNameError
DELETE_COMPLETE        AWS::IAM::Role     PublishJobCodeRole      -

Error: Failed to create/update the stack: perennial-rents, Waiter StackCreateComplete failed
"""
# what `sam build` has made of such a template, in part
BUILT = """\
AWSTemplateFormatVersion: '2010-09-09'
Resources:
  SharedLayer:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: SharedLayer
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      TopicName:
        Fn::Sub: ${AWS::StackName}-alerts
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the project. `sam build` and `sam deploy` fail where a file has what they then say."""
    (tmp_path / "models/rents").mkdir(parents=True)
    (tmp_path / ".aws-sam/build/SharedLayer/python").mkdir(parents=True)
    (tmp_path / ".aws-sam/build/template.yaml").write_text(BUILT)
    (tmp_path / ".venvs/sam/bin").mkdir(parents=True)
    sam = tmp_path / ".venvs/sam/bin/sam"
    asked = 'echo "$COLUMNS $LAYER_PLATFORM- $*" >>asked\nprintf "%s\\n" "$@" >words\n'
    script = f'{asked}[ ! -f "$1-says" ] || {{ cat "$1-says"; exit 1; }}\n'
    sam.write_text(f"#!/bin/sh\n{script}")
    sam.chmod(0o700)
    (tmp_path / "samconfig.toml").symlink_to(ROOT / "samconfig.toml")
    (tmp_path / "models/rents/model.yaml").write_text((ROOT / "models/used-cars/model.yaml").read_text())
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    monkeypatch.setenv("LAYER_PLATFORM", "arm")
    monkeypatch.delenv("PERENNIAL_STACK", raising=False)
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: LOCAL)
    monkeypatch.setattr("perennial_cli.deployments.keep", lambda stack, environment, change_set: {"changes": []})
    outputs = {"DataBucketName": "b-2", "DataPrefix": "raw/"}
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: Stack(name, outputs, {}))
    return tmp_path


def asked(project: Path) -> list[str]:
    return (project / "asked").read_text().splitlines()


def test_a_sound_model_is_deployed_to_the_local_cloud_with_its_own_parameters(project: Path) -> None:
    ended = perennial("deploy", "rents")
    assert ended.exit_code == 0
    build, deployed = asked(project)
    assert build == "4000 - build"  # for this machine's Python
    assert " --config-env local --stack-name perennial-rents " in deployed
    assert "--parameter-overrides ModelName=rents AlertEmails=you@example.com " in deployed
    assert "ModelName=used-cars" not in deployed
    assert ended.stdout.splitlines()[-2:] == ["changed  nothing", "data     s3://b-2/raw/"]


def test_a_name_that_is_none_of_a_stack_is_refused_before_anything_is_built(project: Path) -> None:
    ended = perennial("deploy", "rents", "--stack", "Bad Name")
    assert (ended.exit_code, (project / "asked").exists()) == (1, False)
    assert "the stack name 'Bad Name' has 8 characters; expected at most 26, lower-case" in ended.stderr


def test_what_was_deployed_is_json_for_machines_and_nothing_else(project: Path) -> None:
    ended = perennial("deploy", "rents", "--json")
    assert json.loads(ended.stdout)["outputs"]["DataPrefix"] == "raw/"
    assert "rents: ok" in ended.stderr


def test_on_aws_it_asks_first_and_takes_the_section_that_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: CLOUD)
    refused = perennial("deploy", "rents", typed="n\n")
    assert refused.exit_code == 1
    assert "Deploy perennial-rents to AWS, account 123456789012, region eu-west-1?" in refused.stderr
    assert not (project / "asked").exists()
    assert perennial("deploy", "rents", "--env", "staging", "--stack", "flats", "--yes").exit_code == 0
    build, deployed = asked(project)
    assert build == "4000 arm- build"
    assert "--config-env staging --stack-name flats " in deployed
    assert deployed.endswith("ModelName=rents CostCenter=staging LogRetentionDays=30 BakingSeconds=300")


def test_the_stack_is_the_section_s_own_for_the_model_that_it_names(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: CLOUD)
    (project / "models/rents").rename(project / "models/used-cars")
    assert perennial("deploy", "used-cars", "--env", "staging", "--yes").exit_code == 0
    assert "--config-env staging --stack-name used-cars-staging --no-confirm-changeset" in asked(project)[-1]
    (project / "models/used-cars").rename(project / "models/rents")
    assert perennial("deploy", "rents", "--env", "staging", "--yes").exit_code == 0
    assert "--config-env staging --stack-name perennial-rents " in asked(project)[-1]


def test_a_section_that_wants_change_sets_confirmed_has_the_sam_cli_ask(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: CLOUD)
    assert perennial("deploy", "rents", "--env", "prod").exit_code == 0
    assert " --confirm-changeset --parameter-overrides ModelName=rents " in asked(project)[-1]
    assert perennial("deploy", "rents", "--env", "prod", "--yes").exit_code == 0
    assert " --no-confirm-changeset " in asked(project)[-1]
    (project / "deploy-says").write_text("no\n")
    ended = perennial("deploy", "rents", "--env", "prod")
    assert (ended.exit_code, "error: sam deploy failed; its output is above" in ended.stderr) == (1, True)


def test_without_a_model_an_environment_says_which_stack_is_deployed(project: Path) -> None:
    shutil.copytree(project / "models/rents", project / "models/used-cars")
    ended = perennial("deploy", "--env", "staging")
    assert ended.exit_code == 0
    assert "--config-env staging --stack-name used-cars-staging " in asked(project)[1]
    assert asked(project)[1].endswith("ModelName=used-cars CostCenter=staging LogRetentionDays=30 BakingSeconds=300")


def test_an_environment_that_names_no_model_is_told(project: Path) -> None:
    (project / "samconfig.toml").unlink()
    (project / "samconfig.toml").write_text('[qa.deploy.parameters]\nstack_name = "x"\n')
    ended = perennial("deploy", "--env", "qa")
    assert "name a model: the section qa of samconfig.toml has no ModelName" in ended.stderr
    assert not (project / "asked").exists()


EVERY_MINUTE = 'MonitorSchedule="rate(1 minute)"'
TABLE = """{MonitorSchedule = "rate(1 minute)", PollSeconds = 0, AlertEmails = ["a@b", "c@d"], CostCenter = 'a "b"'}"""
OF_TABLE = [EVERY_MINUTE, 'PollSeconds="0"', 'AlertEmails="a@b,c@d"', r'CostCenter="a \"b\""']


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (f"'ModelName=x {EVERY_MINUTE} PollSeconds=0'", [f"{EVERY_MINUTE} PollSeconds=0"]),
        ("'PollSeconds=0 ParameterKey=ModelName,ParameterValue=x'", ["PollSeconds=0"]),
        (f"['{EVERY_MINUTE}', 'ModelName=x']", [EVERY_MINUTE]),
        (TABLE, OF_TABLE),
        ('""', []),
    ],
    ids=["a text with quotes", "in full", "a list", "a table", "none"],
)
def test_parameters_come_to_the_sam_cli_with_their_quotes(project: Path, overrides: str, expected: list[str]) -> None:
    (project / "samconfig.toml").unlink()
    (project / "samconfig.toml").write_text(f"[local.deploy.parameters]\nparameter_overrides = {overrides}\n")
    assert perennial("deploy", "rents").exit_code == 0
    words = (project / "words").read_text().splitlines()
    assert words[words.index("--parameter-overrides") + 1 :] == ["ModelName=rents", *expected]


def test_parameters_that_the_sam_cli_cannot_read_are_told_with_their_line(project: Path) -> None:
    (project / "deploy-says").write_text("Error: Invalid value for '--parameter-overrides': x is not a valid format.\n")
    ended = perennial("deploy", "rents")
    number = next(
        number
        for number, line in enumerate((ROOT / "samconfig.toml").read_text().splitlines(), 1)
        if "CostCenter=laptop" in line
    )
    assert f"x is not a valid format.\n\nThe parameters stand in samconfig.toml, line {number}\n" in ended.stderr


def test_a_configuration_that_is_no_toml_is_told_with_its_line(project: Path) -> None:
    (project / "samconfig.toml").unlink()
    (project / "samconfig.toml").write_text(
        '[local.deploy.parameters]\nparameter_overrides = "MonitorSchedule="rate""\n'
    )
    ended = perennial("deploy", "rents")
    assert (ended.exit_code, "samconfig.toml is no TOML: " in ended.stderr, "line 2" in ended.stderr) == (1, True, True)


def test_a_section_that_is_not_there_is_told_with_those_that_are(project: Path) -> None:
    ended = perennial("deploy", "rents", "--env", "production")
    assert ended.exit_code == 1
    assert "samconfig.toml has no section 'production' for deployments; there are: default, local" in ended.stderr


def test_a_wrong_model_is_told_before_anything_is_built(project: Path) -> None:
    text = (project / "models/rents/model.yaml").read_text()
    (project / "models/rents/model.yaml").write_text(text.replace("metric: rmse", "metric: speed"))
    ended = perennial("deploy", "rents")
    assert ended.exit_code == 1
    assert (
        "gate.metric: 'speed' is not a metric of regression; allowed: rmse, mae, mse, r2, mape, wql_p10" in ended.stderr
    )
    assert not (project / "asked").exists()


def test_of_a_deployment_that_fails_the_reasons_are_shown(project: Path) -> None:
    (project / "deploy-says").write_text(SAM_DEPLOY_FAILED)
    ended = perennial("deploy", "rents")
    assert ended.exit_code == 1
    assert ended.stderr.partition("sam deploy failed:\n")[2].rstrip("\n") == (
        "CREATE_FAILED  Custom::JobCode  JobCode  Received response status [FAILED]: StackNameError\n"
        "Error: Failed to create/update the stack: perennial-rents, Waiter StackCreateComplete failed\n"
        "\nThe whole output: .local/deploy.log"
    )
    assert (project / ".local/deploy.log").read_text() == SAM_DEPLOY_FAILED


def test_the_change_set_that_the_sam_cli_names_is_recorded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[str, str | None]] = []
    keep = lambda stack, environment, change_set: kept.append((environment, change_set)) or {"changes": []}  # noqa: E731
    monkeypatch.setattr("perennial_cli.deployments.keep", keep)
    arn = "arn:aws:cloudformation:eu-west-1:123456789012:changeSet/samcli-deploy1764447861/0b1e2f4c-9a77"
    sam = project / ".venvs/sam/bin/sam"
    sam.write_text(f"#!/bin/sh\necho; echo 'Changeset created successfully. {arn}'; echo\n")
    assert perennial("deploy", "rents").exit_code == 0
    sam.write_text("#!/bin/sh\necho 'No changes to deploy. Stack perennial-rents is up to date'\n")
    assert perennial("deploy", "rents").exit_code == 0
    assert kept == [("local", arn), ("local", None)]
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: CLOUD)
    sam.write_text(f"#!/bin/sh\nprintf 'Changeset created successfully. {arn}\nDeploy this changeset? [y/N]: '\n")
    ended = perennial("deploy", "rents", "--env", "prod")  # somebody answers
    assert "Deploy this changeset? [y/N]: " in ended.stderr
    assert kept[2:] == [("prod", arn)]


def test_of_a_build_that_fails_the_whole_output_is_shown(project: Path) -> None:
    (project / "build-says").write_text(SAM_BUILD_FAILED)
    ended = perennial("deploy", "rents")
    assert (ended.exit_code, SAM_BUILD_FAILED in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    ("model", "stack"), [("used-cars", "perennial-used-cars"), ("prices-of-many-houses", "prices-of-many-houses")]
)
def test_a_stack_is_named_after_its_model_as_far_as_its_name_may_be_long(model: str, stack: str) -> None:
    assert deployment.stack_name(model) == stack


def test_a_name_that_is_too_long_for_a_stack_needs_another(project: Path) -> None:
    (project / "models/rents").rename(project / "models/rents-of-all-the-flats-of-a-town")
    ended = perennial("deploy", "rents-of-all-the-flats-of-a-town")
    assert ended.exit_code == 1
    assert "a stack's name has at most 26 characters" in ended.stderr


def test_a_size_sets_what_the_section_does_not(project: Path) -> None:
    (project / "sizes.toml").symlink_to(ROOT / "sizes.toml")
    (project / "samconfig.toml").unlink()
    section = (
        "[local.deploy.parameters]\nparameter_overrides = \"ModelName=rents Api=key MonitorSchedule='rate(2 hours)'\"\n"
    )
    (project / "samconfig.toml").write_text(section)
    assert perennial("deploy", "rents", "--size", "large").exit_code == 0
    words = (project / "words").read_text().splitlines()
    parameters = words[words.index("--parameter-overrides") + 1 :]
    own = ["ModelName=rents", "Api=key MonitorSchedule='rate(2 hours)'"]
    rest = ['RetrainSchedule="rate(1 day)"', 'BatchSchedule="rate(1 hour)"', 'Approval="manual"', 'BakingSeconds="300"']
    assert parameters == [*own, *rest, 'ProtectArtefacts="yes"']


def test_a_size_that_is_not_there_is_told_with_those_that_are(project: Path) -> None:
    (project / "sizes.toml").symlink_to(ROOT / "sizes.toml")
    ended = perennial("deploy", "rents", "--size", "huge")
    assert (ended.exit_code, "has no size 'huge'; there are: small, medium, large" in ended.stderr) == (1, True)
    assert not (project / "asked").exists()


def test_the_same_layer_is_packed_into_the_same_bytes_which_everybody_may_read(project: Path) -> None:
    """Or CloudFormation would make the layer anew at each deployment; functions run as a user of their own."""
    build, module = project / ".aws-sam/build", project / ".aws-sam/build/SharedLayer/python/one.py"
    module.write_text("ONE = 1\n")
    module.chmod(0o600)
    document = json.loads(deployment.packed(build).read_text())
    first = (build / "SharedLayer.zip").read_bytes()
    assert document["Resources"]["SharedLayer"]["Properties"] == {"ContentUri": "SharedLayer.zip"}
    assert document["Resources"]["Topic"]["Properties"] == {"TopicName": {"Fn::Sub": "${AWS::StackName}-alerts"}}
    assert document["AWSTemplateFormatVersion"] == "2010-09-09"
    with zipfile.ZipFile(build / "SharedLayer.zip") as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, archive.read(entry)) == ("python/one.py", b"ONE = 1\n")
        assert stat.filemode(entry.external_attr >> 16) == "-rw-r--r--"
    os.utime(module, (1, 1))
    deployment.packed(build)
    assert (build / "SharedLayer.zip").read_bytes() == first


def test_what_is_deployed_is_what_was_packed(project: Path) -> None:
    assert perennial("deploy", "rents").exit_code == 0
    words = (project / "words").read_text().splitlines()
    assert words[words.index("--template-file") + 1] == str(project / ".aws-sam/build/packed.json")
    assert (project / ".aws-sam/build/packed.json").exists()
