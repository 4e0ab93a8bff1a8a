"""Images of a repository as DescribeImages tells of them: which are asked for, and what an artefact is.

Source: Amazon ECR API Reference, DescribeImages, DescribeImagesFilter and ImageDetail (`artifactMediaType`).
"""

import json
from typing import Any

from localcloud.engine.seams import Seams

responses = Seams("core.responses", error_response_json="8a1cabf9", json_response="4036e9b5")
ecr = Seams("services.ecr", _describe_images="2d723471", _find_image="7929728b", _images="dab49c42")

JsonObject = dict[str, Any]


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    ecr.replace("_describe_images", _make_describe_images)


def _make_describe_images(original: Any) -> Any:
    def describe_images(data: JsonObject) -> Any:
        status, headers, body = original(data)
        if status >= 400:
            return status, headers, body
        name, wanted = data["repositoryName"], data.get("imageIds") or []
        if missing := next((one for one in wanted if not ecr._find_image(name, one)), None):
            return responses.error_response_json(
                "ImageNotFoundException",
                f"The image with imageId {json.dumps(missing)} does not exist within the repository with name '{name}'",
                400,
            )
        manifests = {one["imageDigest"]: one.get("imageManifest") for one in ecr._images[name]}
        tagged = {"TAGGED": True, "UNTAGGED": False}.get(data.get("filter", {}).get("tagStatus"))
        details = [
            _described(one, manifests.get(one["imageDigest"]))
            for one in json.loads(body)["imageDetails"]
            if tagged is None or bool(one["imageTags"]) == tagged
        ]
        return responses.json_response({"imageDetails": details})

    return describe_images


def _described(detail: JsonObject, manifest: Any) -> JsonObject:
    """Return a detail with the type of the artefact that its manifest says: that of its configuration."""
    try:
        kind = json.loads(manifest)["config"]["mediaType"]
    except (ValueError, TypeError, LookupError):
        kind = None
    known = {name: value for name, value in detail.items() if name != "artifactMediaType"}
    return {**known, "artifactMediaType": kind} if kind else known
