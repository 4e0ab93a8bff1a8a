"""Versions of a group: registered, described, listed, approved or rejected, deleted.

A version is `Completed` at once, because validation is for the marketplace. What AWS does not document, and is so here:
the texts of refusals, and that a ClientToken that has made a version answers its ARN as long as the version is there.
"""

from __future__ import annotations

import hashlib
import json

from localcloud import access
from localcloud.sagemaker.api import events, listing, requests
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, invalid, unsupported
from localcloud.sagemaker.platform.store import Document
from localcloud.sagemaker.registry.groups import ModelPackageGroups

PACKAGE = "model-package"
_MAX_METADATA = 50
_MEMBERS = (
    "ModelPackageGroupName",
    "ModelPackageDescription",
    "InferenceSpecification",
    "ModelApprovalStatus",
    "MetadataProperties",
    "ModelMetrics",
    "DriftCheckBaselines",
    "CustomerMetadataProperties",
    "SkipModelValidation",
    "Domain",
    "Task",
    "SamplePayloadUrl",
    "SourceUri",
    "ClientToken",
)
_CHANGEABLE = ("ModelApprovalStatus", "ApprovalDescription")
_METADATA = ("CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove")
_TOKEN, _REQUEST = "ClientToken", "RequestHash"  # no members of a description


class ModelPackages:
    """CreateModelPackage, DescribeModelPackage, UpdateModelPackage, ListModelPackages, DeleteModelPackage."""

    def __init__(self, context: Context, groups: ModelPackageGroups) -> None:
        self._context, self._groups = context, groups
        self._changing = groups.changing

    def create(self, request: Document) -> Document:
        self._check(request)
        request_hash = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        with self._changing:
            group = self._groups.find(request["ModelPackageGroupName"])["ModelPackageGroupName"]
            if made := self._made(group, request.get(_TOKEN)):
                if made[_REQUEST] != request_hash:
                    raise AwsError("ConflictException", f"ClientToken {request[_TOKEN]} has made another version.")
                return {"ModelPackageArn": made["ModelPackageArn"]}
            version = self._groups.next_version(group)
            document = self._document(request, group, version) | {_REQUEST: request_hash}
            self._context.store.put(PACKAGE, f"{group}/{version}", document)
            self._announce(document)  # here, so that events are in the order of changes
        return {"ModelPackageArn": document["ModelPackageArn"]}

    def describe(self, request: Document) -> Document:
        document = self.find(request["ModelPackageName"])
        return requests.project(requests.output_shape("DescribeModelPackage"), document)

    def describe_several(self, request: Document) -> Document:
        """Answer BatchDescribeModelPackage: what is not there has an error of its own."""
        shape = requests.output_shape("BatchDescribeModelPackage").members["ModelPackageSummaries"].value
        summaries, errors = {}, {}
        for arn in request["ModelPackageArnList"]:
            try:
                summaries[arn] = requests.project(shape, self.find(arn))
            except AwsError as error:
                errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
        return {"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors}

    def update(self, request: Document) -> Document:
        """Change what may be changed of a version. Metadata are added to those that are there."""
        requests.only(request, ("ModelPackageArn", *_CHANGEABLE, *_METADATA, _TOKEN))
        with self._changing:
            known = self.find(request["ModelPackageArn"])
            wanted = {name: request[name] for name in _CHANGEABLE if name in request} | _metadata(known, request)
            changed = {name: value for name, value in wanted.items() if value != known.get(name)}
            document = known | changed | {"LastModifiedTime": now(), "LastModifiedBy": access.caller.get()}
            self._context.store.put(PACKAGE, _key(known), document)
            self._announce(document, list(changed))
        return {"ModelPackageArn": known["ModelPackageArn"]}

    def list_all(self, request: Document) -> Document:
        """List versions: those of the group, or with `ModelPackageType` Versioned or Both those of all groups."""
        if "NameContains" in request:
            raise unsupported("NameContains of ListModelPackages", "Versions have no names; use ModelPackageGroupName.")
        kind = request.get("ModelPackageType", "Versioned" if "ModelPackageGroupName" in request else "Unversioned")
        versions = self._context.store.view(PACKAGE) if kind != "Unversioned" else []
        if "ModelPackageGroupName" in request:
            group = self._groups.find(request["ModelPackageGroupName"])["ModelPackageGroupName"]
            versions = [version for version in versions if version["ModelPackageGroupName"] == group]
        status = request.get("ModelApprovalStatus")
        versions = [version for version in versions if status in (None, version["ModelApprovalStatus"])]
        return listing.page("ListModelPackages", "ModelPackage", versions, request, "ModelPackageSummaryList")

    def delete(self, request: Document) -> Document:
        with self._changing:
            self._context.store.delete(PACKAGE, _key(self.find(request["ModelPackageName"])))
        return {}

    def find(self, name_or_arn: str) -> Document:
        """Return a version by its ARN, or by `<group>/<number>`."""
        arn = name_or_arn if name_or_arn.startswith("arn:") else self._context.aws.arn(PACKAGE, name_or_arn)
        document = self._context.store.get(PACKAGE, arn.partition("/")[2])
        if document is None or document["ModelPackageArn"] != arn.lower():
            raise invalid(f"ModelPackage {arn} does not exist.")
        return document

    def _check(self, request: Document) -> None:
        if "ModelPackageName" in request and "ModelPackageGroupName" in request:
            raise invalid("Both ModelPackageName and ModelPackageGroupName are provided in the input.")
        if "ModelPackageGroupName" in request and request.get("Tags"):
            raise invalid("Tags cannot be provided for a model package of a group: it has the tags of its group.")
        requests.only(request, _MEMBERS)
        requests.require(request, "ModelPackageGroupName", "InferenceSpecification")
        _check_metadata(request.get("CustomerMetadataProperties", {}))

    def _made(self, group: str, token: str | None) -> Document | None:
        """Return the version that a request with this token has made."""
        versions = (version for version in self._context.store.view(PACKAGE) if token and version.get(_TOKEN) == token)
        return next((version for version in versions if version["ModelPackageGroupName"] == group), None)

    def _document(self, request: Document, group: str, version: int) -> Document:
        return {"ModelApprovalStatus": "PendingManualApproval"} | request | {
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
            "ModelPackageArn": self._context.aws.arn(PACKAGE, f"{group}/{version}"),
            "CreationTime": now(),
            "CreatedBy": access.caller.get(),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }  # fmt: skip

    def _announce(self, document: Document, updated: list[str] | None = None) -> None:
        arn, shape = document["ModelPackageArn"], requests.output_shape("DescribeModelPackage")
        detail = events.package_detail(requests.project(shape, document), updated)
        self._context.outbox.send(events.DETAIL_TYPES["ModelPackage"], [arn], detail)


def deployable(version: Document) -> list[Document]:
    """Return the containers of a version as CreateModel takes them. Only an approved one is deployed.

    SageMaker API Reference, CreateModelPackage, ModelApprovalStatus: it "must be set to Approved to deploy the model".
    """
    status = version["ModelApprovalStatus"]
    if status != "Approved":
        raise invalid(f"{version['ModelPackageArn']} is {status}; expected Approved, or it cannot be deployed.")
    taken = ("ContainerHostname", "Image", "ModelDataUrl", "Environment")
    containers = version["InferenceSpecification"]["Containers"]
    return [{name: container[name] for name in taken if name in container} for container in containers]


def _key(version: Document) -> str:
    return f"{version['ModelPackageGroupName']}/{version['ModelPackageVersion']}"


def _metadata(known: Document, request: Document) -> Document:
    """Return the member of a version's metadata after an update; nothing where the update has none to say."""
    if not any(name in request for name in _METADATA):
        return {}
    added, removed = (request.get(name, []) for name in _METADATA)
    metadata = known.get("CustomerMetadataProperties", {}) | dict(added)
    metadata = {key: value for key, value in metadata.items() if key not in removed}
    _check_metadata(metadata)
    return {"CustomerMetadataProperties": metadata}


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > _MAX_METADATA:
        raise invalid(f"CustomerMetadataProperties would have {len(metadata)} entries; at most {_MAX_METADATA}.")
