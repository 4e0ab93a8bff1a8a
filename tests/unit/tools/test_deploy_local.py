"""`make deploy-local` shows why a model is not deployed. The SAM CLI is one that writes what the real one does."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SAM_BUILD_FAILED = "Build Failed\nError: CustomMakeBuilder:MakeBuild - Make Failed: make: *** [Makefile:7] Error 1\n"
# sam deploy 1.170.0 with COLUMNS=4000, its columns of 998 characters made shorter here
SAM_DEPLOY_FAILED = """\
CREATE_COMPLETE        AWS::IAM::Role     PublishJobCodeRole      -
CREATE_FAILED          Custom::JobCode    JobCode                 Received response status [FAILED]: StackNameError
DELETE_COMPLETE        AWS::IAM::Role     PublishJobCodeRole      -

Error: Failed to create/update the stack: perennial-rents, Waiter StackCreateComplete failed
"""
# aws cloudformation describe-stacks --output text
STACK_OUTPUTS = r"BucketName\tb-1\nDataBucketName\tb-2\nAlertsTo\tyou and me\nDataPrefix\traw/\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What deploy_local needs of the project. `sam build` and `sam deploy` fail where a file has what they then say."""
    (tmp_path / ".local").mkdir()
    (tmp_path / "models/rents").mkdir(parents=True)
    (tmp_path / ".venvs/sam/bin").mkdir(parents=True)
    sam = tmp_path / ".venvs/sam/bin/sam"
    sam.write_text('#!/bin/sh\necho "$COLUMNS $*" >>asked\n[ ! -f "$1-says" ] || { cat "$1-says"; exit 1; }\n')
    sam.chmod(0o700)
    aws = tmp_path / ".venvs/cli/bin/aws"
    aws.parent.mkdir(parents=True)
    aws.write_text(f'#!/bin/sh\necho "$*" >>asked-aws\nprintf "{STACK_OUTPUTS}"\n')
    aws.chmod(0o700)
    for name in ("tools", "perennial", "samconfig.toml", ".venvs/dev"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models/rents/model.yaml").write_text((ROOT / "models/used-cars/model.yaml").read_text())
    return tmp_path


def deploy(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", (ROOT / "tools/deploy_local").read_text(), project / "tools/deploy_local"]
    environ = {**os.environ, "MODEL": "rents", "STACK": "perennial-rents", **environ}
    return subprocess.run(command, env=environ, cwd=project, capture_output=True, text=True, check=False)


def test_a_sound_model_is_deployed(project: Path) -> None:
    ended = deploy(project)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("rents: ok, 9 columns\nsam build ... ")
    build, deployed = (project / "asked").read_text().splitlines()
    assert build == "4000 build"
    assert "--stack-name perennial-rents --parameter-overrides ModelName=rents " in deployed
    assert "--stack-name perennial-rents" in (project / "asked-aws").read_text()
    *_, says, command = ended.stdout.splitlines()
    assert says == "Drop data, and a run starts:"
    assert command.endswith('-m localcloud env -- .venvs/cli/bin/aws s3 cp FILE "s3://b-2/raw/"')


def test_the_stack_may_have_another_name(project: Path) -> None:
    assert deploy(project, STACK="flats").returncode == 0
    assert "--stack-name flats " in (project / "asked").read_text()


def test_a_wrong_model_is_told_before_anything_is_built(project: Path) -> None:
    text = (project / "models/rents/model.yaml").read_text()
    (project / "models/rents/model.yaml").write_text(text.replace("metric: rmse", "metric: speed"))
    ended = deploy(project)
    assert ended.returncode == 1
    problem = "gate.metric: 'speed' is not a metric of regression; allowed: rmse, mae, mse, r2, mape"
    assert ended.stderr == f"models/rents/model.yaml: not a valid model definition (1 problem)\n  {problem}\n"
    assert not (project / "asked").exists()


def test_of_a_deployment_that_fails_the_reasons_are_shown(project: Path) -> None:
    (project / "deploy-says").write_text(SAM_DEPLOY_FAILED)
    ended = deploy(project)
    assert ended.returncode == 1
    assert ended.stdout.partition("failed\n\n")[2] == (
        "CREATE_FAILED  Custom::JobCode  JobCode  Received response status [FAILED]: StackNameError\n"
        "Error: Failed to create/update the stack: perennial-rents, Waiter StackCreateComplete failed\n"
        "\nThe whole output: .local/deploy.log\n"
    )
    assert (project / ".local/deploy.log").read_text() == SAM_DEPLOY_FAILED


def test_of_a_build_that_fails_the_whole_output_is_shown(project: Path) -> None:
    (project / "build-says").write_text(SAM_BUILD_FAILED)
    assert deploy(project).stdout.endswith(SAM_BUILD_FAILED)
