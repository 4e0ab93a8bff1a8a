"""Model package groups: what the versions of one model are listed under."""

from __future__ import annotations

import json
import threading

from localcloud.sagemaker.api import listing, requests, tags
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, invalid
from localcloud.sagemaker.platform.store import Document

GROUP = "model-package-group"
POLICY = "ResourcePolicy"  # as well, of a group that has one
LAST_VERSION = "LastVersion"  # no member of the API: a number is given once, also when its version is deleted


class ModelPackageGroups:
    """Create-, Describe-, List- and DeleteModelPackageGroup(s), and Put-, Get- and DeleteModelPackageGroupPolicy."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.changing = threading.RLock()  # held by whoever changes groups or their versions

    def create(self, request: Document) -> Document:
        """Make an empty group. AWS does not document its text where the name is taken."""
        requests.only(request, ("ModelPackageGroupName", "ModelPackageGroupDescription", "Tags"))
        name, store = request["ModelPackageGroupName"], self._context.store
        arn = self._context.aws.arn(GROUP, name)
        document = {key: value for key, value in request.items() if key != "Tags"} | {
            "ModelPackageGroupArn": arn,
            "CreationTime": now(),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
            LAST_VERSION: 0,
        }
        with self.changing:
            if not store.create(GROUP, name, document):
                raise invalid(f"Model Package Group already exists: {arn}")
            tags.put(store, arn, request.get("Tags", []))
        return {"ModelPackageGroupArn": arn}

    def describe(self, request: Document) -> Document:
        document = self.find(request["ModelPackageGroupName"])
        return requests.project(requests.output_shape("DescribeModelPackageGroup"), document)

    def list_all(self, request: Document) -> Document:
        if request.pop("CrossAccountFilterOption", "SameAccount") == "CrossAccount":
            return {"ModelPackageGroupSummaryList": []}  # there is one account
        groups = self._context.store.view(GROUP)
        return listing.page(
            "ListModelPackageGroups", "ModelPackageGroup", groups, request, "ModelPackageGroupSummaryList"
        )

    def delete(self, request: Document) -> Document:
        """Delete a group that has no version: the API has a ConflictException; its text on AWS is not documented."""
        with self.changing:
            group, store = self.find(request["ModelPackageGroupName"]), self._context.store
            name, arn = group["ModelPackageGroupName"], group["ModelPackageGroupArn"]
            if any(version["ModelPackageGroupName"] == name for version in store.view("model-package")):
                raise AwsError("ConflictException", f"{arn} still has model packages; delete them first.")
            store.delete(GROUP, name)
            tags.drop(store, arn)
        return {}

    def put_policy(self, request: Document) -> Document:
        """Keep who of other accounts may do what with a group. AWS does not document the text where it is no JSON."""
        name, text = self.find(request["ModelPackageGroupName"])["ModelPackageGroupName"], request["ResourcePolicy"]
        try:
            is_policy = isinstance(json.loads(text), dict)
        except ValueError:
            is_policy = False
        if not is_policy:
            raise invalid(f"The resource policy of {name} is not valid.")
        with self.changing:
            group = self._context.store.update(GROUP, name, lambda document: document.update({POLICY: text}))
        return {"ModelPackageGroupArn": group["ModelPackageGroupArn"]}

    def get_policy(self, request: Document) -> Document:
        """Return it. AWS does not document the text where there is none."""
        group = self.find(request["ModelPackageGroupName"])
        if POLICY not in group:
            raise invalid(f"Cannot find resource policy for: {group['ModelPackageGroupArn']}")
        return {"ResourcePolicy": group[POLICY]}

    def delete_policy(self, request: Document) -> Document:
        name = self.find(request["ModelPackageGroupName"])["ModelPackageGroupName"]
        with self.changing:
            self._context.store.update(GROUP, name, lambda document: document.pop(POLICY, None))
        return {}

    def find(self, name_or_arn: str) -> Document:
        arn = name_or_arn if name_or_arn.startswith("arn:") else self._context.aws.arn(GROUP, name_or_arn)
        document = self._context.store.get(GROUP, arn.rpartition("/")[2])
        if document is None or document["ModelPackageGroupArn"] != arn.lower():
            raise invalid(f"ModelPackageGroup {arn} does not exist.")
        return document

    def next_version(self, name: str) -> int:
        """Count a version; numbers begin at 1."""

        def count(group: Document) -> None:
            group[LAST_VERSION] += 1

        version: int = self._context.store.update(GROUP, name, count)[LAST_VERSION]
        return version
