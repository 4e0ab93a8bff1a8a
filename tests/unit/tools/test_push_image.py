"""An image is built of what is committed, by its folder and commit, once; docker is a script that notes its calls."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import push_image

URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/images/trees"


class Registry:
    """ECR, as far as a push asks it."""

    def __init__(self, *tags: str) -> None:
        self.tags = tags

    def describe_repositories(self, **asked: list[str]) -> dict[str, Any]:
        if asked["repositoryNames"] != ["images/trees"]:
            error = {"Error": {"Code": "RepositoryNotFoundException", "Message": "The repository does not exist"}}
            raise push_image.ClientError(error, "DescribeRepositories")
        return {"repositories": [{"repositoryUri": URI}]}

    def describe_images(self, **asked: Any) -> None:
        if asked["imageIds"][0]["imageTag"] not in self.tags:
            raise push_image.ClientError({"Error": {"Code": "ImageNotFoundException"}}, "DescribeImages")

    def get_authorization_token(self) -> dict[str, Any]:
        return {"authorizationData": [{"authorizationToken": "QVdTOnNlY3JldA=="}]}  # AWS:secret


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one image, and a docker that writes down its arguments and what it reads."""
    root = tmp_path / "project"
    (root / "images" / "trees").mkdir(parents=True)
    (root / "images" / "trees" / "Dockerfile").write_text("FROM scratch\n")
    for command in (
        ["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "a"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(root), *command], check=True)
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n[ "$1" = login ] && cat >> {tmp_path}/read\nexit 0\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(docker))
    monkeypatch.setattr(push_image.boto3, "client", lambda _: Registry())
    return root


def commit(root: Path) -> str:
    return subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_what_is_committed_is_built_tagged_with_the_commit_and_pushed(project: Path) -> None:
    uri = f"{URI}:trees-{commit(project)}"
    assert push_image.push("trees", "images/trees", project) == uri
    folder = project / "images" / "trees"
    assert (project.parent / "called").read_text().splitlines() == [
        f"login --username AWS --password-stdin {URI.partition('/')[0]}",
        f"build --platform linux/amd64 --provenance=false --tag {uri} {folder}",
        f"push {uri}",
    ]
    assert (project.parent / "read").read_text() == "secret"


def test_another_folder_of_the_same_commit_is_another_image(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_image.boto3, "client", lambda _: Registry(f"bushes-{commit(project)}", commit(project)))
    push_image.push("trees", "images/trees", project)
    assert "push" in (project.parent / "called").read_text()


def test_what_is_there_is_not_built_again_until_its_folder_changes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = commit(project)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(project), *author, "commit", "-q", "--allow-empty", "-m", "b"], check=True)
    monkeypatch.setattr(push_image.boto3, "client", lambda _: Registry(f"trees-{changed}"))
    assert push_image.push("trees", "images/trees", project).endswith(f":trees-{changed}")
    assert not (project.parent / "called").exists()


def test_what_cannot_be_pushed_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for image, repository, why in (
        ("bushes", "images/trees", "there is no .*images/bushes/Dockerfile; images are: trees"),
        ("trees", "elsewhere", "repository elsewhere: .*The repository does not exist"),
    ):
        with pytest.raises(push_image.PushError, match=why):
            push_image.push(image, repository, project)
    monkeypatch.setenv("DOCKER", "false")
    with pytest.raises(push_image.PushError, match="false login ended with exit code 1"):
        push_image.push("trees", "images/trees", project)
    monkeypatch.setenv("DOCKER", "no-such-docker")
    with pytest.raises(push_image.PushError, match="no-such-docker is not installed; install it, or name another in"):
        push_image.push("trees", "images/trees", project)
    (project / "images" / "trees" / "program.py").write_text("")
    with pytest.raises(push_image.PushError, match="has changes that are not committed; commit them first"):
        push_image.push("trees", "images/trees", project)
    assert push_image.main(["trees", ""]) == 2
    assert push_image.main(["bushes", "images/trees"]) == 1
    assert "images are: spark, trees" in capsys.readouterr().err


def test_docker_is_let_into_the_registry_of_aws_that_an_image_is_built_from(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = "173754725891.dkr.ecr.eu-central-1.amazonaws.com"
    (project / "images/trees/Dockerfile").write_text(f"FROM {registry}/sagemaker-spark-processing:1\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(project), *author, "commit", "-qam", "b"], check=True)
    asked: list[str | None] = []

    def client(_: str, region_name: str | None = None) -> Registry:
        asked.append(region_name)
        return Registry()

    monkeypatch.setattr(push_image.boto3, "client", client)
    push_image.push("trees", "images/trees", project)
    assert asked == [None, "eu-central-1"]
    logins = [line for line in (project.parent / "called").read_text().splitlines() if line.startswith("login")]
    assert [line.rsplit(" ", 1)[1] for line in logins] == [URI.partition("/")[0], registry]
