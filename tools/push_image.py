"""Build an image of images/ and push it to ECR, tagged with its folder and the commit that has changed it last.

    python -m tools.push_image IMAGE REPOSITORY        image trees of images/trees, to the repository of this account

Docker builds and pushes (DOCKER=podman takes another program of the same commands), and is let into the registries of
AWS that the Dockerfile names. Refused are changes below the image's folder that no commit has; nothing is built where
the repository has an image of the folder and the commit, so that one that nobody has changed is not pushed again.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.terminal import run

ROOT = Path(__file__).parents[1]
REGISTRY = re.compile(r"([0-9]{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com)")
PLATFORM = "linux/amd64"  # of SageMaker's machines of the ml.m5 kind


class PushError(Exception):
    """The image cannot be built or pushed."""


def push(image: str, repository: str, root: Path = ROOT) -> str:
    """Build and push, and return the URI of the image. Raises PushError."""
    folder = root / "images" / image
    if not (folder / "Dockerfile").is_file():
        known = ", ".join(sorted(path.parent.name for path in root.glob("images/*/Dockerfile"))) or "none"
        raise PushError(f"there is no {folder / 'Dockerfile'}; images are: {known}")
    if changed := _output("git", "-C", str(root), "status", "--porcelain", "--", f"images/{image}"):
        raise PushError(f"images/{image} has changes that are not committed; commit them first:\n{changed}")
    tag = f"{image}-{_output('git', '-C', str(root), 'log', '-1', '--format=%H', '--', f'images/{image}')}"
    ecr = boto3.client("ecr")
    try:
        uri = f"{ecr.describe_repositories(repositoryNames=[repository])['repositories'][0]['repositoryUri']}:{tag}"
        if _is_there(ecr, repository, tag):
            return uri
        tokens = {uri.partition("/")[0]: _token(ecr)}
        for registry, region in REGISTRY.findall((root / "images" / image / "Dockerfile").read_text()):
            tokens[registry] = _token(boto3.client("ecr", region_name=region))
    except (ClientError, BotoCoreError) as error:
        raise PushError(f"repository {repository}: {error}") from error
    docker = os.environ.get("DOCKER", "docker")
    for registry, token in tokens.items():
        user, _, password = base64.b64decode(token).decode().partition(":")
        _done(docker, "login", "--username", user, "--password-stdin", registry, stdin=password)
    # SageMaker takes no list of manifests, which attestations would make of it.
    _done(docker, "build", "--platform", PLATFORM, "--provenance=false", "--tag", uri, str(folder))
    _done(docker, "push", uri)
    return uri


def _token(ecr: Any) -> str:
    (login,) = ecr.get_authorization_token()["authorizationData"]
    token: str = login["authorizationToken"]
    return token


def _is_there(ecr: object, repository: str, tag: str) -> bool:
    try:
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])  # type: ignore[attr-defined]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ImageNotFoundException":
            raise
        return False
    return True


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _done(*command: str, stdin: str | None = None) -> None:
    try:
        code = subprocess.run(command, check=False, text=True, input=stdin).returncode
    except FileNotFoundError as error:
        raise PushError(f"{command[0]} is not installed; install it, or name another in DOCKER") from error
    if code:
        raise PushError(f"{' '.join(command[:2])} ended with exit code {code}; what it wrote says why")


def main(argv: list[str]) -> int:
    """Push an image."""
    if len(argv) != 2 or not all(argv):
        sys.stderr.write("usage: make image IMAGE=trees REPOSITORY=images/trees\n")
        return 2
    try:
        print(push(argv[0], argv[1]))
    except PushError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    run(main, sys.argv[1:])
