"""A repository tells of its images, and of what is none, as ECR does."""

import json

import pytest

from tests.integration.conftest import Cloud, unique

KINDS = {
    "v1": "application/vnd.docker.container.image.v1+json",
    "sbom": "application/spdx+json",
    None: "application/vnd.oci.image.config.v1+json",
}


def test_images_are_told_by_what_their_manifest_says_and_those_alone_that_are_asked_for(cloud: Cloud) -> None:
    ecr, name = cloud.client("ecr"), unique("trees")
    ecr.create_repository(repositoryName=name)
    digests = {}
    for tag, kind in KINDS.items():
        named = {"imageTag": tag} if tag else {}
        manifest = json.dumps({"config": {"mediaType": kind}})
        pushed = ecr.put_image(repositoryName=name, imageManifest=manifest, **named)
        digests[pushed["image"]["imageId"]["imageDigest"]] = kind
    ecr.put_image(repositoryName=name, imageManifest="no manifest", imageTag="v0")

    def told(**wanted: object) -> dict[str, str | None]:
        details = ecr.describe_images(repositoryName=name, **wanted)["imageDetails"]
        return {one["imageDigest"]: one.get("artifactMediaType") for one in details}

    assert digests.items() <= told().items()
    assert set(told(filter={"tagStatus": "UNTAGGED"}).values()) == {KINDS[None]}
    assert set(told(filter={"tagStatus": "TAGGED"}).values()) == {KINDS["v1"], KINDS["sbom"], None}
    with pytest.raises(ecr.exceptions.ImageNotFoundException, match="does not exist within the repository"):
        told(imageIds=[{"imageTag": "v1"}, {"imageDigest": f"sha256:{'0' * 64}"}])
