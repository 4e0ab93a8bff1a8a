"""Tags of every resource, kept apart from its description and found by ARN."""

from __future__ import annotations

import re

from localcloud.sagemaker.api.context import Context
from localcloud.sagemaker.errors import invalid
from localcloud.sagemaker.platform.store import Document, Store

Tags = list[dict[str, str]]
_KIND = "tags"
_MAX_TAGS = 50
_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:\d{12}:(?P<kind>[a-z-]+)/(?P<name>[^/]+)")
RESOURCE_KINDS = (
    "processing-job",
    "training-job",
    "transform-job",
    "hyper-parameter-tuning-job",
    "model",
    "model-package-group",
    "feature-group",
    "endpoint-config",
    "endpoint",
)


def put(store: Store, arn: str, tags: Tags) -> None:
    """Add tags in the API's form; a key that is there gets the new value."""
    added = {tag["Key"]: tag["Value"] for tag in tags}
    if not added:
        return
    merged = read(store, arn) | added
    if len(merged) > _MAX_TAGS:
        raise invalid(f"The number of tags on a resource must not exceed {_MAX_TAGS}: {arn} would have {len(merged)}.")
    store.put(_KIND, arn, merged)


def read(store: Store, arn: str) -> dict[str, str]:
    return store.get(_KIND, arn) or {}


def drop(store: Store, arn: str) -> None:
    """Forget the tags of a resource that is gone."""
    store.delete(_KIND, arn)


class TagOperations:
    """AddTags, ListTags and DeleteTags for the resources that the local cloud has."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def add(self, request: Document) -> Document:
        self._must_exist(request["ResourceArn"])
        put(self._context.store, request["ResourceArn"], request["Tags"])
        return {"Tags": self._listed(request["ResourceArn"])}

    def list_all(self, request: Document) -> Document:
        self._must_exist(request["ResourceArn"])
        if token := request.get("NextToken"):
            raise invalid(f"The NextToken {token!r} is not valid: all tags of a resource are on one page.")
        return {"Tags": self._listed(request["ResourceArn"])}

    def delete(self, request: Document) -> Document:
        arn = request["ResourceArn"]
        self._must_exist(arn)
        others = {key: value for key, value in read(self._context.store, arn).items() if key not in request["TagKeys"]}
        self._context.store.put(_KIND, arn, others)
        return {}

    def _listed(self, arn: str) -> Tags:
        return [{"Key": key, "Value": value} for key, value in read(self._context.store, arn).items()]

    def _must_exist(self, arn: str) -> None:
        match, context = _ARN.fullmatch(arn), self._context
        known = match is not None and match["kind"] in RESOURCE_KINDS
        if (
            match is None
            or not known
            or context.aws.arn(match["kind"], match["name"]) != arn.lower()
            or context.store.get(match["kind"], match["name"]) is None
        ):
            raise invalid(f"Could not find the resource {arn}.")
