"""The policies of a stack, one statement less: in force, or to decide again what was allowed."""

import copy
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from localcloud import access
from localcloud.engine.permissions.decisions import Request, decide, request, statements
from tests.e2e.conftest import App
from tools import cfn

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "permissions.md"
Document = dict[str, Any]
REFUSALS = {
    "OnlyTls": {"aws:SecureTransport": "false"},
    "OnlyOwnKey": {"s3:x-amz-server-side-encryption": "AES256"},
    "NoKeyOfTheCaller": {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"},
}
"""What a statement that denies is good for: the same request is refused when it comes with this."""


class Part(NamedTuple):
    """One action of one statement: where it stands in the template, its Sid, and the action."""

    policy: str
    sid: str
    action: str


@dataclass(frozen=True)
class Policy:
    """One policy document, that of these roles, or else of the resource with this ARN; `put` puts another in force."""

    name: str
    document: Document
    put: Callable[[Document], Any]
    roles: tuple[str, ...] = ()
    arn: str = ""

    def has(self, sid: str) -> bool:
        return any(_sid(statement) == sid for statement in self.document["Statement"])

    def without(self, sid: str) -> AbstractContextManager[None]:
        """The policy in force with one statement less."""
        rest = [statement for statement in self.document["Statement"] if _sid(statement) != sid]
        assert len(rest) == len(self.document["Statement"]) - 1
        return self.replaced({**self.document, "Statement": rest})

    @contextmanager
    def replaced(self, document: Document) -> Iterator[None]:
        """Another document in force."""
        self.put(document)
        try:
            yield
        finally:
            self.put(self.document)

    def speaks_of(self, asked: Request) -> bool:
        """Whether this policy is asked about a request."""
        if self.roles:
            return asked.role in self.roles
        return asked.resource == self.arn or asked.resource.startswith(f"{self.arn}/")


def _parts(name: str, document: Document) -> Iterator[tuple[Part, Document]]:
    """Each action of each statement of a policy, with the document as it would be without it."""
    for index, statement in enumerate(document["Statement"]):
        actions = _actions(statement)
        for action in actions:
            rest = copy.deepcopy(document)
            if len(actions) > 1:
                rest["Statement"][index]["Action"] = [other for other in actions if other != action]
            else:
                del rest["Statement"][index]
            yield Part(name, _sid(statement), action), rest


def _actions(statement: Document) -> list[str]:
    return statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]


def _sid(statement: Document) -> str:
    """What a statement is called here. The one of a function's policy has a name that CloudFormation made."""
    if statement["Action"] == "lambda:InvokeFunction" and "Principal" in statement:
        return "Only"
    return str(statement.get("Sid") or ("Trust" if statement["Action"] == "sts:AssumeRole" else "Only"))


def requests(app: App) -> list[Request]:
    """What roles of the stack, and services at its resources, have been allowed since the local cloud started.

    Who somebody is may ask anybody, without a permission (STS API Reference, "GetCallerIdentity"); and of the roles
    that people take, and take them with, none is the stack's.
    """
    entries = access.call(os.environ, "GET", "/_localcloud/permissions")["Requests"]
    return [
        request(entry["Caller"], entry["Action"], entry["Resource"], entry["Context"])
        for entry in entries
        if entry["Allowed"]
        and entry["Action"] != "sts:GetCallerIdentity"
        and not (entry["Action"] == "sts:AssumeRole" and ":assumed-role/" in entry["Caller"])
        and app.stack in entry["Caller"] + entry["Resource"] + json.dumps(entry["Context"])
    ]


def policies(app: App) -> list[Policy]:
    """Every policy of the stack, as it is in force."""
    listed = App.client("cloudformation").describe_stack_resources(StackName=app.stack)["StackResources"]
    found = [(item["ResourceType"], item["LogicalResourceId"], item["PhysicalResourceId"]) for item in listed]
    roles = {name: physical for kind, name, physical in found if kind == "AWS::IAM::Role"}
    return [
        *(policy for name, role in roles.items() for policy in _of_role(name, role)),
        *(_managed(name, arn) for kind, name, arn in found if kind == "AWS::IAM::ManagedPolicy"),
        *(policy for kind, name, physical in found for policy in _of_resource(kind, name, physical)),
        *(_of_function(*permitted) for permitted in _permitted({name: each for _, name, each in found})),
    ]


def _of_role(name: str, role: str) -> Iterator[Policy]:
    iam = App.client("iam")
    description = iam.get_role(RoleName=role)["Role"]
    trust = _document(description["AssumeRolePolicyDocument"])
    yield Policy(name, trust, partial(_put_trust, role), arn=description["Arn"])
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        inline = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        yield Policy(name, _document(inline), partial(_put_inline, role, policy), roles=(role,))


def _put_trust(role: str, document: Document) -> None:
    """No trust policy is empty: one statement less is one that trusts a service that never comes."""
    nobody = {"Effect": "Allow", "Principal": {"Service": "nobody.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = {**document, "Statement": document["Statement"] or [nobody]}
    App.client("iam").update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))


def _put_inline(role: str, policy: str, document: Document) -> None:
    name = {"RoleName": role, "PolicyName": policy}
    if document["Statement"]:
        App.client("iam").put_role_policy(**name, PolicyDocument=json.dumps(document))
    else:
        App.client("iam").delete_role_policy(**name)


def _managed(name: str, arn: str) -> Policy:
    iam = App.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    attached = iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]
    roles = tuple(role["RoleName"] for role in attached)
    return Policy(name, _document(document), partial(_put_version, arn), roles=roles)


def _put_version(arn: str, document: Document) -> None:
    """A new default version; the one before it goes, because there are five at most. None is empty."""
    iam = App.client("iam")
    nothing = {"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}
    document = {**document, "Statement": document["Statement"] or [nothing]}
    before = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)
    iam.delete_policy_version(PolicyArn=arn, VersionId=before)


def _of_resource(kind: str, name: str, physical: str) -> Iterator[Policy]:
    """The resource's own policy. Its name is the template's resource that the policy comes from."""
    if kind == "AWS::S3::Bucket":
        yield _of_bucket(physical)
    elif kind == "AWS::SNS::Topic":
        yield _of_topic(f"{name}Policy", physical)
    elif kind == "AWS::SQS::Queue":
        yield _of_queue(f"{name}Policy", physical)
    elif kind == "AWS::KMS::Key":
        yield _of_key(name, physical)


def _of_bucket(bucket: str) -> Policy:
    s3 = App.client("s3")
    document = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])

    def put(document: Document) -> None:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))

    return Policy("BucketPolicy", document, put, arn=f"arn:aws:s3:::{bucket}")


def _of_topic(name: str, arn: str) -> Policy:
    sns = App.client("sns")
    document = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])

    def put(document: Document) -> None:
        sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(document))

    return Policy(name, document, put, arn=arn)


def _of_queue(name: str, url: str) -> Policy:
    sqs = App.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def put(document: Document) -> None:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(document)})

    return Policy(name, json.loads(attributes["Policy"]), put, arn=attributes["QueueArn"])


def _of_key(name: str, key: str) -> Policy:
    kms = App.client("kms")
    document = _document(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])

    def put(document: Document) -> None:
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(document))

    return Policy(name, document, put, arn=kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"])


def _permitted(physical: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Each permission of the template, the function that it is of, and how the ARN of who may call it ends."""
    for name, resource in cfn.resources(_template(), "AWS::Lambda::Permission").items():
        source = resource["Properties"]["SourceArn"]
        end = f"/{physical[source['Fn::GetAtt'][0]]}" if "Fn::GetAtt" in source else "/*"
        yield name, physical[resource["Properties"]["FunctionName"]["Ref"]], end


def _of_function(name: str, function: str, source: str) -> Policy:
    """The part of a function's policy that is a permission of its own."""
    client = App.client("lambda")
    document = json.loads(client.get_policy(FunctionName=function)["Policy"])
    (statement,) = (
        one for one in document["Statement"] if one["Condition"]["ArnLike"]["AWS:SourceArn"].endswith(source)
    )
    return Policy(
        name,
        {**document, "Statement": [statement]},
        partial(_put_permission, function, statement),
        arn=statement["Resource"],
    )


def _put_permission(function: str, statement: Document, document: Document) -> None:
    client, sid = App.client("lambda"), statement["Sid"]
    if not document["Statement"]:
        client.remove_permission(FunctionName=function, StatementId=sid)
        return
    condition = statement["Condition"]
    client.add_permission(
        FunctionName=function, StatementId=sid, Action=statement["Action"],
        Principal=statement["Principal"]["Service"], SourceArn=condition["ArnLike"]["AWS:SourceArn"],
    )  # fmt: skip


def _document(given: Any) -> Document:
    return dict(json.loads(given)) if isinstance(given, str) else dict(given)


def superfluous(asked: list[Request], stack: list[Policy]) -> set[Part]:
    """The parts without which every one of the requests would still be answered as it was."""
    about = {each: [policy for policy in stack if policy.speaks_of(each)] for each in asked}
    found = set[Part]()
    for policy in stack:
        mine = [(each, policies) for each, policies in about.items() if policy in policies]
        found |= {
            part
            for part, without in _parts(policy.name, policy.document)
            if not any(_changes(each, policies, policy, without, part) for each, policies in mine)
        }
    return found


def _changes(asked: Request, stack: list[Policy], policy: Policy, without: Document, part: Part) -> bool:
    if part.action not in (asked.action, f"{asked.action.partition(':')[0]}:*"):
        return False
    if part.sid in REFUSALS:
        asked = request(asked.caller, asked.action, asked.resource, {**dict(asked.context), **REFUSALS[part.sid]})
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
                own = {**document, "Statement": [*(own["Statement"] if own else []), *document["Statement"]]}
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
    """Managed policies, and roles, that a condition of the template left out of this stack."""
    names = {policy.name for policy in deployed}
    documents = [*_documents_of("AWS::IAM::ManagedPolicy"), *_documents_of("AWS::IAM::Role")]
    return {part for name, document in documents if name not in names for part, _ in _parts(name, document)}


def template_parts() -> list[Part]:
    """Each action of each statement that the template writes down, in its order."""
    kinds = (
        "AWS::KMS::Key", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy", "AWS::IAM::Role",
        "AWS::IAM::ManagedPolicy", "AWS::Lambda::Permission",
    )  # fmt: skip
    return [part for kind in kinds for name, document in _documents_of(kind) for part, _ in _parts(name, document)]


@cache
def _template() -> Document:
    return cfn.load(ROOT / "template.yaml")


def _documents_of(kind: str) -> Iterator[tuple[str, Document]]:
    """Without statements that a parameter adds, which this stack has not: unit/test_other_accounts.py has them."""
    for name, resource in cfn.resources(_template(), kind).items():
        properties = resource["Properties"]
        if kind == "AWS::Lambda::Permission":
            yield name, {"Statement": [properties]}
        for key in ("KeyPolicy", "AssumeRolePolicyDocument", "PolicyDocument"):
            if key in properties:
                always = [one for one in properties[key]["Statement"] if "Fn::If" not in one]
                yield name, {**properties[key], "Statement": always}
        for policy in properties.get("Policies", []):
            yield name, policy["PolicyDocument"]
