"""`perennial deploy`: what the SAM CLI is asked, and what is shown where it fails. The SAM CLI is a script here."""

import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perennial_cli import deployment, parameters
from perennial_cli.account import Account
from perennial_cli.console import CommandError
from perennial_cli.parameters import Setting
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
    for name in ("samconfig.toml", "sizes.toml", "template.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models/rents/model.yaml").write_text((ROOT / "models/used-cars/model.yaml").read_text())
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    monkeypatch.setenv("LAYER_PLATFORM", "arm")
    monkeypatch.delenv("PERENNIAL_STACK", raising=False)
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: LOCAL)
    monkeypatch.setattr("perennial_cli.deployments.keep", lambda stack, environment, change_set: {"changes": []})
    monkeypatch.setattr("perennial_cli.stacks.model_of", lambda name: None)
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
    assert '--parameter-overrides ModelName="rents" AlertEmails="you@example.com" ' in deployed
    assert "used-cars" not in deployed
    assert ended.stdout.splitlines()[-2:] == ["changed  nothing", "data     s3://b-2/raw/"]


def test_a_name_that_is_none_of_a_stack_is_refused_before_anything_is_built(project: Path) -> None:
    ended = perennial("deploy", "rents", "--stack", "Bad Name")
    assert (ended.exit_code, (project / "asked").exists()) == (1, False)
    assert "the stack name 'Bad Name' has 8 characters; expected at most 26, lower-case" in ended.stderr


def test_a_model_is_not_deployed_over_another_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_STACK", "perennial-flats")
    monkeypatch.setattr("perennial_cli.stacks.model_of", {"perennial-flats": "flats"}.get)
    ended = perennial("deploy", "rents")
    assert (ended.exit_code, (project / "asked").exists()) == (1, False)
    assert "the stack perennial-flats is the model flats's, with its data, versions and endpoint" in ended.stderr
    assert "Leave --stack (or PERENNIAL_STACK) out, which deploys perennial-rents, or name another." in ended.stderr
    monkeypatch.setattr("perennial_cli.stacks.model_of", {"perennial-flats": "rents"}.get)
    assert perennial("deploy", "rents").exit_code == 0


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
    assert deployed.endswith('ModelName="rents" CostCenter="staging" LogRetentionDays="30" BakingSeconds="300"')


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
    assert (
        ' --confirm-changeset --s3-prefix perennial-rents --parameter-overrides ModelName="rents" '
        in asked(project)[-1]
    )
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
    given = 'ModelName="used-cars" CostCenter="staging" LogRetentionDays="30" BakingSeconds="300"'
    assert asked(project)[1].endswith(given)


def test_an_environment_that_names_no_model_is_told(project: Path) -> None:
    (project / "samconfig.toml").unlink()
    (project / "samconfig.toml").write_text('[qa.deploy.parameters]\nstack_name = "x"\n')
    ended = perennial("deploy", "--env", "qa")
    assert "name a model: the section qa of samconfig.toml has no ModelName" in ended.stderr
    assert not (project / "asked").exists()


def replace(project: Path, text: str, name: str = "samconfig.toml") -> None:
    """Let another file of its name be there."""
    (project / name).unlink()
    (project / name).write_text(text)


EVERY_MINUTE = "MonitorSchedule='rate(1 minute)'"
TABLE = """{MonitorSchedule = "rate(1 minute)", PollSeconds = 0, AlertEmails = ["a@b.de", "c@d.de"]}"""
OF_TABLE = ['MonitorSchedule="rate(1 minute)"', 'PollSeconds="0"', 'AlertEmails="a@b.de,c@d.de"']


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (f'"ModelName=x {EVERY_MINUTE} PollSeconds=0"', OF_TABLE[:2]),
        ('"PollSeconds=0 ParameterKey=ModelName,ParameterValue=x"', OF_TABLE[1:2]),
        (f'["{EVERY_MINUTE}", "ModelName=x"]', OF_TABLE[:1]),
        (TABLE, OF_TABLE),
        ("""'HyperParameters="{\\"eta\\": 0.2}"'""", ['HyperParameters="{\\"eta\\": 0.2}"']),
        ("'CostCenter=x MonitorSchedule= Api=none'", ['CostCenter="x"', 'MonitorSchedule=""', 'Api="none"']),
        ('""', []),
    ],
    ids=["a text with quotes", "in full", "a list", "a table", "quotes in a value", "nothing, as a value", "none"],
)
def test_parameters_come_to_the_sam_cli_with_their_quotes(project: Path, overrides: str, expected: list[str]) -> None:
    replace(project, f"[local.deploy.parameters]\nparameter_overrides = {overrides}\n")
    assert perennial("deploy", "rents").exit_code == 0
    words = (project / "words").read_text().splitlines()
    assert words[words.index("--parameter-overrides") + 1 :] == ['ModelName="rents"', *expected]


SECTION = "[local.deploy.parameters]\nregion = 'us-east-1'\nparameter_overrides = "


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            "'ModelName=rents Baking'",
            "'Baking' is no parameter; expected NAME=VALUE, such as RetrainSchedule='rate(1 day)'",
        ),
        (
            "'LogRetentionDay=30'",
            "template.yaml has no parameter LogRetentionDay (here '30'); did you mean LogRetentionDays?",
        ),
        ("'LogRetentionDays=31'", "LogRetentionDays is '31'; expected one of 1, 3, 5, 7, 14, 30, 60,"),
        ("'Approval=manuel'", "Approval is 'manuel'; expected one of auto, manual; did you mean manual?"),
        ("'PollSeconds=301'", "PollSeconds is '301'; expected a whole number at least 0 and at most 300"),
        ("'PollSeconds=soon'", "PollSeconds is 'soon'; expected a whole number at least 0 and at most 300"),
        *(
            (f"'PollSeconds=\"{one}\"'", f"PollSeconds is '{one}'; expected a whole number")
            for one in ("1_0", " 1", "nan", "1.5", "5.0", "1e2", "\u0661")  # Python takes each for a number
        ),
        ("{PollSeconds = 5.0}", "PollSeconds is '5.0'; expected a whole number"),
        pytest.param(
            f"'AlertEmails={','.join(['a' * 60 + '@b.de'] * 63)}'",
            "AlertEmails has 4,157 bytes; CloudFormation takes 4,096 at most",
            id="4,157 bytes",
        ),
        (
            r"""{HyperParameters = '{"a": "\"b"}'}""",
            r"""HyperParameters is '{"a": "\\"b"}', which the SAM CLI reads otherwise; expected no backslash""",
        ),
        (
            "'MonitorSchedule=hourly'",
            "MonitorSchedule is 'hourly'; expected a schedule expression of EventBridge, 256 ",
        ),
        (
            "'AlertEmails=a@b.de,nobody'",
            "AlertEmails is 'a@b.de,nobody'; expected e-mail addresses, separated by commas",
        ),
        ("'CostCenter=a CostCenter=b'", "CostCenter is given twice, as 'a' and as 'b'; expected one of them"),
        (
            "'CaptureReplicaBucket=copies'",
            "CaptureReplicaBucket, CaptureReplicaAccount and CaptureReplicaKeyArn are given together or not at all. "
            "(template.yaml, rule CopiesOfCapturesHaveAPlace)",
        ),
        ("'VpcSubnetIds=subnet-1'", "VpcSubnetIds is given and VpcSecurityGroupIds is not."),
    ],
)
def test_what_the_template_does_not_take_is_told_before_anything_is_built(
    project: Path, overrides: str, told: str
) -> None:
    replace(project, SECTION + overrides)
    ended = perennial("deploy", "rents")
    assert (ended.exit_code, (project / "asked").exists()) == (1, False)
    assert f"samconfig.toml, section local: {told}" in ended.stderr


def test_all_that_is_wrong_is_told_at_once_and_with_its_file(project: Path) -> None:
    replace(project, f"{SECTION}'Api=open Approvals=auto'\nstack_nam = 'x'")
    replace(project, "[small]\nBakingSeconds = -1\nCapturedays = 3\n", "sizes.toml")
    ended = perennial("deploy", "rents", "--size", "small")
    told = ended.stderr.partition("error: ")[2].splitlines()
    assert [line.partition(": ")[0] for line in told] == [
        *["samconfig.toml, section local"] * 3, *["sizes.toml, section small"] * 2,
    ]  # fmt: skip
    assert "sam deploy has no option stack_nam; did you mean stack_name?" in told[0]
    assert told[4].endswith("template.yaml has no parameter Capturedays (here '3'); did you mean CaptureDays?")


def test_a_parameter_without_a_default_that_nobody_gives_is_told(project: Path) -> None:
    text = (ROOT / "template.yaml").read_text().replace("    Default: unassigned\n", "", 1)
    replace(project, text, "template.yaml")
    replace(project, SECTION + "''")
    ended = perennial("deploy", "rents")
    assert (
        "samconfig.toml, section local: CostCenter is missing, and template.yaml has no default of it" in ended.stderr
    )
    replace(project, SECTION + "'CostCenter=x'")
    assert perennial("deploy", "rents").exit_code == 0


def test_a_boundary_of_the_command_line_or_of_a_build_counts_before_the_sections(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = "arn:aws:iam::123456789012:policy/bounds-rents"
    replace(project, SECTION + f"'PermissionsBoundaryArn={arn}-before CostCenter=x'")
    assert perennial("deploy", "rents", "--boundary", arn).exit_code == 0
    monkeypatch.setenv("PERENNIAL_BOUNDARY", arn)
    assert perennial("deploy", "rents").exit_code == 0
    of_command, of_build = asked(project)[1::2]
    assert of_command == of_build
    assert of_build.endswith(f'PermissionsBoundaryArn="{arn}" ModelName="rents" CostCenter="x"')
    ended = perennial("deploy", "rents", "--boundary", "bounds-rents")
    told = (
        "the command line: PermissionsBoundaryArn is 'bounds-rents'; expected the ARN of a managed policy, or nothing"
    )
    assert told in ended.stderr


def test_a_region_without_the_images_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Account("123456789012", "xx-east-1", None)
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: elsewhere)
    ended = perennial("deploy", "rents", "--yes")
    assert "SageMaker does not publish all images that Perennial runs in this region." in ended.stderr
    assert not (project / "asked").exists()


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
    section = (
        "[local.deploy.parameters]\nparameter_overrides = \"ModelName=rents Api=key MonitorSchedule='rate(2 hours)'\"\n"
    )
    replace(project, section)
    assert perennial("deploy", "rents", "--size", "large").exit_code == 0
    words = (project / "words").read_text().splitlines()
    parameters = words[words.index("--parameter-overrides") + 1 :]
    own = ['ModelName="rents"', 'Api="key"', 'MonitorSchedule="rate(2 hours)"']
    rest = ['RetrainSchedule="rate(1 day)"', 'BatchSchedule="rate(1 hour)"', 'Approval="manual"', 'BakingSeconds="300"']
    assert parameters == [*own, *rest, 'ProtectArtefacts="yes"']


def test_a_size_that_is_not_there_is_told_with_those_that_are(project: Path) -> None:
    ended = perennial("deploy", "rents", "--size", "larger")
    told = "has no size 'larger'; there are: small, medium, large; did you mean large?"
    assert (ended.exit_code, told in ended.stderr) == (1, True)
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


def test_a_layer_is_packed_whatever_the_umask_and_with_what_links_lead_to(tmp_path: Path) -> None:
    """As the SAM CLI packs: `make_zip_with_permissions`."""
    layer = tmp_path / "layer"
    (layer / "python/a").mkdir(parents=True)
    (layer / "python/run").write_text("#!/bin/sh\n")
    (layer / "python/run").chmod(0o700)
    for folder in (layer / "python/a", tmp_path / "shared"):
        folder.mkdir(exist_ok=True)
        (folder / "süd.py").write_text("ONE = 1\n")
    (layer / "python/shared").symlink_to(tmp_path / "shared")
    packed = deployment.pack(layer, tmp_path / "one.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        modes = {entry.filename: stat.filemode(entry.external_attr >> 16) for entry in archive.infolist()}
    read = "-rw-r--r--"
    assert modes == {"python/a/süd.py": read, "python/shared/süd.py": read, "python/run": "-rwxr-xr-x"}
    (layer / "python/a/süd.py").chmod(0o664)
    assert deployment.pack(layer, tmp_path / "two.zip").read_bytes() == packed


@pytest.mark.parametrize("leads", ["nowhere", "."])
def test_a_link_that_leads_to_nothing_that_can_be_packed_is_told(tmp_path: Path, leads: str) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer/link").symlink_to(leads)
    with pytest.raises(CommandError, match=rf"layer/link is no file, a link to {re.escape(leads)}; expected files"):
        deployment.pack(tmp_path / "layer", tmp_path / "one.zip")


def test_a_second_deployment_from_one_folder_does_not_build_into_the_first(project: Path) -> None:
    (project / ".local").mkdir()
    with (project / ".local/deploy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = perennial("deploy", "rents")
        assert (ended.exit_code, (project / "asked").exists()) == (1, False)
        assert "another deployment builds in " in ended.stderr
    assert perennial("deploy", "rents").exit_code == 0


def test_what_is_deployed_is_what_was_packed(project: Path) -> None:
    assert perennial("deploy", "rents").exit_code == 0
    words = (project / "words").read_text().splitlines()
    assert words[words.index("--template-file") + 1] == str(project / ".aws-sam/build/packed.json")
    assert (project / ".aws-sam/build/packed.json").exists()


# ---- The sections, before anybody deploys them


def test_the_sections_of_this_project_are_sound() -> None:
    assert deployment.problems() == []


def test_each_section_is_checked_with_the_models(project: Path) -> None:
    shutil.copytree(project / "models/rents", project / "models/used-cars")
    ended = perennial("check")
    assert (ended.exit_code, "samconfig.toml, sizes.toml: ok" in ended.stdout) == (0, True)
    text = (ROOT / "samconfig.toml").read_text()
    for right, wrong in (
        ('stack_name = "used-cars-prod"', 'stack_name = "Used-Cars"'),
        ("ModelName=used-cars CostCenter=prod", "ModelName=used-car CostCenter=prod"),
        ("[staging.deploy.parameters]", "[staging.deploy.parameter]"),
        ("LogLevel=DEBUG", "LogLevel=DEBUGS"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    replace(project, text)
    replace(project, '[small]\nBakingSeconds = "never"\n', "sizes.toml")
    ended = perennial("check", "--json")
    assert (ended.exit_code, [one["sound"] for one in json.loads(ended.stdout)]) == (1, [True, True])
    assert [line.split(";")[0] for line in ended.stderr.splitlines()] == [
        "samconfig.toml, section default: LogLevel is 'DEBUGS'",
        "samconfig.toml has a table [staging.deploy] without [staging.deploy.parameters]",
        "samconfig.toml, section prod: ModelName is 'used-car'",
        "samconfig.toml, section prod: the stack name 'Used-Cars' has 9 characters",
        "sizes.toml, section small: BakingSeconds is 'never'",
    ]
    assert perennial("check", "rents").exit_code == 0, "of one model nothing else is asked"


@pytest.mark.parametrize("name", ["samconfig.toml", "sizes.toml"])
def test_a_file_of_sections_that_is_no_toml_is_told(project: Path, name: str) -> None:
    replace(project, "[small\n", name)
    ended = perennial("deploy", "rents", "--size", "small")
    assert (ended.exit_code, f"{name} is no TOML: " in ended.stderr) == (1, True)


def test_a_section_may_set_what_sam_deploy_knows() -> None:
    script = "from samcli.commands.deploy.command import cli; print(*(one.name for one in cli.params if one.name))"
    ended = subprocess.run([ROOT / ".venvs/sam/bin/python", "-c", script], capture_output=True, text=True, check=True)
    assert {*ended.stdout.split(), "template"} == deployment.OPTIONS


def test_what_a_section_says_for_all_commands_counts_as_with_the_sam_cli(project: Path) -> None:
    """SAM CLI, `SamConfig.get_all`."""
    common = (
        "[local.global.parameters]\nregion = 'eu-west-1'\nstack_name = 'x'\nparameter_overrides = 'PollSeconds=3'\n"
    )
    replace(project, f"{common}lint = true\n[local.deploy.parameters]\nstack_name = 'flats'\n")
    section = deployment.environment("local")
    assert (section.region, section.stack, section.parameters[0].value) == ("eu-west-1", "flats", "3")
    assert "lint" not in section.options
    replace(project, f"{common}[local.deploy.parameters]\nparameter_overrides = 'Api=none'\n")
    assert [one.name for one in deployment.environment("local").parameters] == ["Api"]


def test_an_upload_lies_below_the_stacks_name_where_the_section_says_nothing_else(project: Path) -> None:
    assert perennial("deploy", "rents").exit_code == 0
    assert " --s3-prefix perennial-rents " in asked(project)[-1]
    replace(project, "[local.deploy.parameters]\ns3_prefix = 'a/b'\n")
    assert perennial("deploy", "rents").exit_code == 0
    assert "--s3-prefix" not in asked(project)[-1]


SIGNS = st.text(alphabet="ab\"'\\ =,{}\n", max_size=8)


@settings(max_examples=1)
@given(st.lists(SIGNS, min_size=300, max_size=300))
@example(["ParameterKey=A,ParameterValue=b", '{"a": 1}', "\\", "'a'", '"a"'])
def test_a_value_that_the_sam_cli_reads_otherwise_is_known(values: list[str]) -> None:
    script = (
        "import json, sys; from samcli.cli.types import CfnParameterOverridesType as Type\n"
        "def read(one):\n"
        "    try: return Type().convert([one], None, None)\n"
        "    except Exception: return None\n"
        "print(json.dumps([read(one) for one in json.load(sys.stdin)]))"
    )
    written = [Setting("N", value, "here") for value in values]
    ended = subprocess.run(
        [ROOT / ".venvs/sam/bin/python", "-c", script],
        input=json.dumps([parameters.quoted(one) for one in written]), capture_output=True, text=True, check=True,
    )  # fmt: skip
    template = {"Parameters": {"N": {"Type": "String"}}}
    refused = [bool(parameters.problems_of_values(template, [one])) for one in written]
    assert refused == [one != {"N": value} for one, value in zip(json.loads(ended.stdout), values, strict=True)]


WRITTEN = [
    "ModelName=x PollSeconds=0",
    "A='rate(1 day)' B=\"a b\" C=a\\ b D=''",
    'HyperParameters="{\\"eta\\": 0.2}" AlertEmails=a@b.de,c@d.de',
    "ParameterKey=A,ParameterValue='x y' ParameterKey=B,ParameterValue=1",
    "  A=1  B=2 ",
    ["A=1", ["B='2 3'"], {"C": [1, " 2 ", ""], "D": 4, "E": True}],
    {"A": "rate(1 day)", "$include": "file://more.toml"},
    ["file://more.yaml", "Z=1"],
    "",
    [],
]


def test_parameters_are_read_as_the_sam_cli_reads_them(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text("B = ['x', 'y']\nC = 2\n")
    (tmp_path / "more.yaml").write_text("- B=1\n- {C: null, D: [1, 2]}\n")
    script = (
        "import json, sys; from samcli.cli.types import CfnParameterOverridesType as Type\n"
        "print(json.dumps([Type().convert(one, None, None) for one in json.load(sys.stdin)]))"
    )
    ended = subprocess.run(
        [ROOT / ".venvs/sam/bin/python", "-c", script],
        cwd=tmp_path, input=json.dumps(WRITTEN), capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = [{one.name: one.value for one in parameters.read(each, "here", tmp_path)} for each in WRITTEN]
    assert ours == json.loads(ended.stdout)


@pytest.mark.parametrize("content", ["A = 1\nA = 2\n", "$include = 'file://more.toml'\n"])
def test_a_file_of_parameters_that_cannot_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "more.toml").write_text(content)
    with pytest.raises(parameters.UnreadableError, match=r"here: .*more\.toml (cannot be read|names another file)"):
        list(parameters.read("file://more.toml", "here", tmp_path))
