"""Which image of one's own a run trains and serves with: the pinned one, else the newest of the stack's repository.

Amazon ECR API Reference, DescribeImages, ImageDetail. What a push says of itself in the input of a run decides nothing:
whoever may start a run may write anything there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from perennial.model.complaints import ConfigurationError
from perennial_aws.clients import client, code_of

WHERE = "algorithm own-image"
# What the manifest of an image says it is. A signature, an attestation or a bill of materials says something else, or
# has the digest of the image that it is about as its tag (cosign; OCI Distribution Spec, "Referrers Tag Schema").
IMAGES = ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json")
ABOUT_ANOTHER = re.compile(r"sha256-[0-9a-f]{64}(\..+)?")


def uri(repository_uri: str, pinned: str | None) -> str:
    """Return the URI of the image by its digest. Raises ConfigurationError: there is no such image.

    repository_uri  the registry and the repository, which may be none: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/
    """
    repository = repository_uri.partition("/")[2]
    if not repository:
        raise ConfigurationError(
            f"{WHERE}: the stack's parameter OwnImageRepository is empty; expected the name of a repository of this "
            "account in ECR, in the stack's region"
        )
    wanted = {"imageIds": [{"imageDigest": pinned}]} if pinned else {"filter": {"tagStatus": "TAGGED"}}
    pages = client("ecr").get_paginator("describe_images").paginate(repositoryName=repository, **wanted)
    try:
        details = [image for page in pages for image in page["imageDetails"]]
    except ClientError as error:
        if code_of(error) == "RepositoryNotFoundException":
            raise ConfigurationError(
                f"{WHERE}: there is no repository {repository} in this account and region (OwnImageRepository); create "
                "it, or name another"
            ) from error
        if code_of(error) == "ImageNotFoundException":
            raise ConfigurationError(
                f"{WHERE}: the repository {repository} has no image {pinned}, to which image_digest of model.yaml, "
                "OwnImageDigest or the run's input pins it; expected the digest of one that is there"
            ) from error
        raise
    images = details if pinned else [image for image in details if _is_image(image)]
    if not images:
        raise ConfigurationError(
            f"{WHERE}: the repository {repository} has no tagged image; expected one (docs/own-algorithm.md)"
        )
    newest = max(enumerate(images), key=lambda one: (one[1]["imagePushedAt"], one[0]))[1]
    return f"{repository_uri}@{newest['imageDigest']}"


def _is_image(described: Mapping[str, Any]) -> bool:
    """Return whether a tagged artefact is an image, and nothing about one."""
    own = [tag for tag in described.get("imageTags", ["?"]) if not ABOUT_ANOTHER.fullmatch(tag)]
    return bool(own) and described.get("artifactMediaType", IMAGES[0]) in IMAGES


def is_there(repository_uri: str, digest: str) -> bool:
    """Return whether the repository has an image still."""
    repository = repository_uri.partition("/")[2]
    try:
        client("ecr").describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    except ClientError as error:
        if code_of(error) != "ImageNotFoundException":
            raise
        return False
    return True
