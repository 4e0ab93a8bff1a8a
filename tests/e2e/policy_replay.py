"""What each statement of a stack's policies is good for: requests that were allowed, decided again without it."""

import copy
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from localcloud.engine.permissions.decisions import Request, decide, request, statements
from tests.e2e.conftest import App
from tools import cfn

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "permissions.md"
Document = dict[str, Any]


class Part(NamedTuple):
    """One action of one statement: where it stands in the template, its Sid, and the action."""

    policy: str
    sid: str
    action: str


@dataclass(frozen=True)
class Policy:
    """One policy document. `identity` policies belong to roles, the others to the resource with this ARN."""

    name: str
    document: Document
    roles: tuple[str, ...] = ()
    arn: str = ""

    def parts(self) -> Iterator[tuple[Part, Document]]:
        """Each action of each statement, with the document as it would be without it."""
        for index, statement in enumerate(self.document["Statement"]):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            for action in actions:
                rest = [other for other in actions if other != action]
                yield Part(self.name, _sid(statement), action), self._with(index, rest)

    def _with(self, index: int, actions: list[str]) -> Document:
        document = copy.deepcopy(self.document)
        if actions:
            document["Statement"][index]["Action"] = actions
        else:
            del document["Statement"][index]
        return document

    def speaks_of(self, asked: Request) -> bool:
        """Whether this policy is asked about a request."""
        if self.roles:
            return asked.role in self.roles
        return asked.resource == self.arn or asked.resource.startswith(f"{self.arn}/")


def _sid(statement: Document) -> str:
    return str(statement.get("Sid") or ("Trust" if statement["Action"] == "sts:AssumeRole" else "Only"))


def requests(app: App) -> list[Request]:
    """What roles of the stack, and services at its resources, have been allowed since the local cloud started."""
    url = f"{app.client('sts').meta.endpoint_url}/_localcloud/permissions"
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310
        entries = json.load(reply)["Requests"]
    return [
        request(entry["Caller"], entry["Action"], entry["Resource"], entry["Context"])
        for entry in entries
        if entry["Allowed"] and app.stack in entry["Caller"] + entry["Resource"] + json.dumps(entry["Context"])
    ]


def policies(app: App) -> list[Policy]:
    """Every policy of the stack, as it is in force."""
    listed = boto3.client("cloudformation").describe_stack_resources(StackName=app.stack)["StackResources"]
    found = [(item["ResourceType"], item["LogicalResourceId"], item["PhysicalResourceId"]) for item in listed]
    roles = {name: physical for kind, name, physical in found if kind == "AWS::IAM::Role"}
    return [
        *(policy for name, role in roles.items() for policy in _of_role(name, role)),
        *(_managed(name, arn) for kind, name, arn in found if kind == "AWS::IAM::ManagedPolicy"),
        *(policy for kind, name, physical in found for policy in _of_resource(app, kind, name, physical)),
    ]


def _of_role(name: str, role: str) -> Iterator[Policy]:
    iam = boto3.client("iam")
    description = iam.get_role(RoleName=role)["Role"]
    yield Policy(name, _document(description["AssumeRolePolicyDocument"]), arn=description["Arn"])
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        inline = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        yield Policy(name, _document(inline), roles=(role,))


def _managed(name: str, arn: str) -> Policy:
    iam = boto3.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    attached = iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]
    return Policy(name, _document(document), roles=tuple(role["RoleName"] for role in attached))


def _of_resource(app: App, kind: str, name: str, physical: str) -> Iterator[Policy]:
    """The resource's own policy. Its name is the template's resource that the policy comes from."""
    if kind == "AWS::S3::Bucket":
        text = boto3.client("s3").get_bucket_policy(Bucket=physical)["Policy"]
        yield Policy("BucketPolicy", json.loads(text), arn=f"arn:aws:s3:::{physical}")
    elif kind == "AWS::SNS::Topic":
        text = boto3.client("sns").get_topic_attributes(TopicArn=physical)["Attributes"]["Policy"]
        yield Policy(f"{name}Policy", json.loads(text), arn=physical)
    elif kind == "AWS::SQS::Queue":
        attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=physical, AttributeNames=["All"])["Attributes"]
        yield Policy(f"{name}Policy", json.loads(attributes["Policy"]), arn=attributes["QueueArn"])
    elif kind == "AWS::KMS::Key":
        kms = boto3.client("kms")
        text = kms.get_key_policy(KeyId=physical, PolicyName="default")["Policy"]
        yield Policy(name, _document(text), arn=kms.describe_key(KeyId=physical)["KeyMetadata"]["Arn"])
    elif kind == "AWS::Lambda::Permission":
        yield _permission(name, app)


def _permission(name: str, app: App) -> Policy:
    """The policy of the stack's only function that has one."""
    client = boto3.client("lambda")
    for function in client.list_functions()["Functions"]:
        if function["FunctionName"].startswith(f"{app.stack}-"):
            with suppress(client.exceptions.ResourceNotFoundException):
                document = json.loads(client.get_policy(FunctionName=function["FunctionName"])["Policy"])
                if document["Statement"]:
                    return Policy(name, document, arn=function["FunctionArn"])
    raise AssertionError(f"no function has the policy of {name}")


def _document(given: Any) -> Document:
    return dict(json.loads(given)) if isinstance(given, str) else dict(given)


def superfluous(asked: list[Request], stack: list[Policy]) -> set[Part]:
    """The parts without which every one of the requests would still be answered as it was."""
    return {
        part
        for policy in stack
        for part, without in policy.parts()
        if not any(_changes(each, stack, policy, without, part) for each in asked if policy.speaks_of(each))
    }


def _changes(asked: Request, stack: list[Policy], policy: Policy, without: Document, part: Part) -> bool:
    if part.action not in (asked.action, f"{asked.action.partition(':')[0]}:*"):
        return False
    if part.sid == "OnlyTls":  # a refusal: the same request over plain HTTP
        asked = request(
            asked.caller, asked.action, asked.resource, {**dict(asked.context), "aws:SecureTransport": "false"}
        )
        return bool(answer(asked, stack)) and not answer(asked, stack, policy, without)
    return bool(answer(asked, stack, policy, without))


def answer(asked: Request, stack: list[Policy], policy: Policy | None = None, without: Document | None = None) -> str:
    """AWS's text if the request is refused, with one policy's document exchanged; empty if it is allowed."""
    identity, own = [], None
    for each in stack:
        if each.speaks_of(asked):
            document = without if each is policy and without is not None else each.document
            if each.roles:
                identity.append(statements(json.dumps(document)))
            elif document["Statement"] or not asked.role:
                own = document
    denial = decide(asked, identity, own)
    return denial.text if denial else ""


def documented() -> set[Part]:
    """The rows of the guide's table of what the laptop cannot exercise: | `Policy` | `Sid` | `action`, ... | why |."""
    section = GUIDE.read_text().split("## What the laptop cannot exercise")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    assert all(re.search(r"(Guide|Reference), \"", why) for *_, why in rows), "a row without its source"
    return {
        Part(policy.strip(" `"), sid.strip(" `"), action.strip(" `"))
        for policy, sid, actions, _ in rows
        for action in actions.split(",")
    }


def undeployed(deployed: list[Policy]) -> set[Part]:
    """Managed policies that a condition of the template left out of this stack."""
    names = {policy.name for policy in deployed}
    template = cfn.load(ROOT / "template.yaml")
    left_out = {
        name: resource["Properties"]["PolicyDocument"]
        for name, resource in cfn.resources(template, "AWS::IAM::ManagedPolicy").items()
        if name not in names
    }
    return {part for name, document in left_out.items() for part, _ in Policy(name, document).parts()}
