"""Check every IAM statement of the templates: least privilege, and names that IAM knows.

    python -m tools.lint_policies [TEMPLATE...]

Prints one line for each problem and exits with 1 if there is any. cfn-lint knows neither misspelt actions nor
wildcards. Which action takes which resource is parliament's knowledge (AWS, Service Authorization Reference).
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools import cfn
from tools.terminal import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # parliament imports pkg_resources, which says that it is deprecated
    import parliament

ROOT = Path(__file__).parents[1]
TEMPLATES = (ROOT / "template.yaml", *sorted((ROOT / "delivery").glob("*.yaml")))
ACCOUNT, REGION, STACK = "123456789012", "us-east-1", "stack"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
    "StackName": STACK,  # of delivery/deployer.yaml
    # Parameters that are empty by default.
    "OwnImageRepository": "images/trees",
    "OwnImageAccount": ACCOUNT,
    "ImageRepository": "images/trees",  # of delivery/deployer.yaml
    "BoundaryOpensArns": f"arn:aws:s3:::bucket arn:aws:s3:::bucket/* arn:aws:kms:{REGION}:{ACCOUNT}:key/1 "
    f"arn:aws:sns:{REGION}:{ACCOUNT}:data-owners arn:aws:ecr:{REGION}:{ACCOUNT}:repository/images/trees",
    "SourceConnectionArn": f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/1",
    "TemplateObjectArn": "arn:aws:s3:::bucket/deployer.yaml",  # of delivery/portfolio.yaml
    "DataBucket": "bucket",
    "DataBucketAccount": ACCOUNT,
    "BucketName": "bucket",  # of delivery/data.yaml
    "ReaderAccount": ACCOUNT,
    "ReaderStack": STACK,
    "DataBucketKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
    "DataTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:data-owners",
    "ApproverTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:approvers",
}
# What stands for a resource of the template when its ARN is asked for, or what is part of an ARN.
ARNS = {
    "AWS::ApiGateway::RestApi": "a1b2c3d4e5",
    "AWS::ApiGateway::Stage": "v1",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{STACK}",
    "AWS::CodeBuild::Project": f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/deploys-{STACK}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{STACK}",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{STACK}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{STACK}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{STACK}:*",
    "AWS::S3::Bucket": f"arn:aws:s3:::{STACK}",
    "AWS::SageMaker::ModelPackageGroup": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group/{STACK}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}",
    "AWS::Serverless::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}",
}
# What parameters are the ARN of, by the end of their names.
PARAMETERS = {"RoleArn": "AWS::IAM::Role", "KeyArn": "AWS::KMS::Key"}
# An ARN that names a kind of resource and then anything: endpoint/*, table/*, log-group:*.
ANY_OF_A_KIND = re.compile(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:(?:[\w-]+[/:])?\*")
# A policy of this name gives nothing: it bounds what others give, and may name actions by how they begin or end.
BOUNDARY = "BoundaryPolicy"
SOME_OF_A_SERVICE = re.compile(r"[\w-]+:(?:[A-Z]\w+\*|\*[A-Z]\w+)")
# Findings of parliament that a rule here reports with more to say.
REPORTED_HERE = {"RESOURCE_STAR"}
# Kinds of resources that are one of two; parliament takes both for required.
STACK_TAG = "0a1b2c3d"  # the beginning of a stack's own id
ALTERNATIVES = (":express:", ":mapRun:")  # an execution of an express workflow; executions of a map run
# What a finding of a file is about that is meant so.
MEANT = {
    "deployer.yaml": (
        "RESOURCE_POLICY_PRIVILEGE_ESCALATION",  # who deploys a bucket writes its policy
        "codestar-connections:GetConnection",  # of a connection whose ARN has the service's earlier name
        "kms:CreateAlias",  # it takes an alias and a key; parliament takes either for all
        "lambda:GetFunctionScalingConfig",  # younger than parliament
    )
}


@dataclass(frozen=True)
class Statement:
    """One IAM statement and where it stands.

    kinds      resources of the template and their types
    texts      what stands for pseudo parameters, and the defaults of parameters
    explained  a comment is next to its Resource
    """

    where: str
    body: dict[str, Any]
    kinds: dict[str, str]
    texts: dict[str, str]
    explained: bool

    @property
    def identity(self) -> bool:
        """Whether it belongs to a role, not to a resource or to a trust policy."""
        return "Principal" not in self.body

    @property
    def bounds(self) -> bool:
        """Whether it belongs to a boundary."""
        return self.where.startswith(f"{BOUNDARY}, ")

    @property
    def actions(self) -> list[str]:
        """The actions that it names."""
        return _listed(self.body.get("Action", []))

    @property
    def resources(self) -> list[str]:
        """The resources that it names, with samples for what only a deployment knows."""
        listed = _listed(self.body.get("Resource", []))
        texts = [text for resource in listed for text in self._text(resource).split()]  # of Fn::Split, several
        return [text.replace(":aws:transform/", f":{ACCOUNT}:transform/") for text in texts]  # macros of AWS itself

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        name, argument = next(iter(value.items()))
        if name == "Ref":
            return self.texts.get(argument) or self._arn(argument)
        if name == "Fn::GetAtt":
            return self._arn(argument[0])
        if name == "Fn::Sub":
            text, values = argument if isinstance(argument, list) else (argument, {})
            return re.sub(r"\$\{([\w:.]+)\}", lambda match: self._part(match[1], values), text)
        if name == "Fn::Split" and argument[0] == " ":
            return self._text(argument[1])
        if name == "Fn::Select":
            return STACK_TAG
        if name == "Fn::FindInMap":
            return ACCOUNT  # the accounts of images
        if name == "Fn::If":
            return self._text(argument[1])
        raise ValueError(f"{self.where}: this lint does not understand {name} in a Resource; teach it")

    def _part(self, name: str, values: dict[str, Any]) -> str:
        if name in values:
            return self._text(values[name])
        if name in self.texts and not name.endswith(tuple(PARAMETERS)):
            return self.texts[name] or STACK  # a name
        return self.texts.get(name) or self._arn(name.partition(".")[0])

    def _arn(self, logical_id: str) -> str:
        kind = self.kinds.get(logical_id, "")
        if logical_id in self.texts:  # a parameter
            kind = next((ends for end, ends in PARAMETERS.items() if logical_id.endswith(end)), kind)
        if kind not in ARNS:
            raise ValueError(f"{self.where}: no sample ARN for {logical_id} ({kind or 'no resource'}); add one to ARNS")
        return ARNS[kind]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(text: str) -> Iterator[Statement]:
    """Yield every statement in a template: all that has an Effect and an action, wherever it stands."""
    loader = cfn.Loader(text)
    root, lines = loader.get_single_node(), text.splitlines()
    template = cfn.parse(text)
    kinds = {name: body.get("Type", "") for name, body in template["Resources"].items() if isinstance(body, dict)}
    parameters = {name: str(body.get("Default", "")) for name, body in template.get("Parameters", {}).items()}
    visited_ids: set[int] = set()
    for resource, node in _mapping(_mapping_of(root)["Resources"]):
        for mapping in _statement_nodes(node, visited_ids):
            body = loader.construct_object(mapping, deep=True)
            where = f"{resource}, line {mapping.start_mark.line + 1}" + (f" ({body['Sid']})" if "Sid" in body else "")
            yield Statement(where, body, kinds, parameters | PSEUDO, _explained(mapping, lines))


def _statement_nodes(node: yaml.Node, visited_ids: set[int]) -> Iterator[yaml.MappingNode]:
    if id(node) in visited_ids:  # an alias
        return
    visited_ids.add(id(node))
    if isinstance(node, yaml.MappingNode):
        if "Effect" in (keys := _mapping_of(node)) and {"Action", "NotAction"} & set(keys):
            yield node
        for _, value in _mapping(node):
            yield from _statement_nodes(value, visited_ids)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _statement_nodes(value, visited_ids)


def _mapping(node: yaml.Node) -> list[tuple[str, yaml.Node]]:
    return [(key.value, value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _mapping_of(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return dict(_mapping(node)) if node is not None else {}


def _explained(statement: yaml.MappingNode, lines: list[str]) -> bool:
    """Return whether a comment stands on the line of the key Resource or on the line before it."""
    for key, _ in statement.value:
        if key.value == "Resource":
            line = key.start_mark.line
            return " # " in lines[line] or lines[line - 1].strip().startswith("# ")
    return False


def problems(text: str) -> list[str]:
    """Return what is wrong with the policies of a template; empty if nothing is."""
    listed = [f"{statement.where}: {problem}" for statement in statements(text) for problem in _problems(statement)]
    return listed + list(_managed_policies(cfn.parse(text)))


def _problems(statement: Statement) -> Iterator[str]:
    for word in ("NotAction", "NotResource", "NotPrincipal"):
        if word in statement.body:
            yield f"{word} allows whatever AWS adds next; name what is meant"
    if statement.body["Effect"] != "Allow":
        return
    for action in statement.actions:
        if ("*" in action or "?" in action) and not (statement.bounds and SOME_OF_A_SERVICE.fullmatch(action)):
            yield f"{action!r} is a wildcard action; name the actions"
    yield from _resource_problems(statement)
    if statement.body.get("Principal") in ("*", {"AWS": "*"}):
        yield "everybody is allowed: name the principal"
    if "iam:PassRole" in statement.actions and "iam:PassedToService" not in json.dumps(statement.body.get("Condition")):
        yield "iam:PassRole needs the condition iam:PassedToService, or the role serves services that nobody meant"
    if statement.identity:
        yield from _unknown(statement)


def _resource_problems(statement: Statement) -> Iterator[str]:
    for resource in statement.resources:
        wide = resource == "*" or ANY_OF_A_KIND.fullmatch(resource)
        if wide and not statement.explained:
            yield f"Resource {resource!r} is not the stack's own; narrow it, or say in a comment above it why not"


def _unknown(statement: Statement) -> Iterator[str]:
    """Yield what parliament reports: unknown actions, actions that do not take such a resource, malformed ARNs."""
    actions = [action for action in statement.actions if not (statement.bounds and "*" in action)]
    body = {**statement.body, "Resource": statement.resources, "Action": actions}
    # Conditions hold intrinsic functions; that they are there is checked above.
    document = {"Version": "2012-10-17", "Statement": [{k: v for k, v in body.items() if k != "Condition"}]}
    for finding in parliament.analyze_policy_string(json.dumps(document)).findings:
        text = f"{finding.issue}: {finding.detail or finding.location.get('string', '')}"
        if finding.issue not in REPORTED_HERE and not any(kind in text for kind in ALTERNATIVES):
            yield text


def _managed_policies(template: dict[str, Any]) -> Iterator[str]:
    for name, role in cfn.resources(template, "AWS::IAM::Role").items():
        for arn in role["Properties"].get("ManagedPolicyArns", []):
            if ":aws:policy/" in json.dumps(arn):
                yield f"{name}: {json.dumps(arn)} is a policy of AWS, wider than what is needed; write the statements"


def main(argv: list[str]) -> int:
    """Check templates. Return the exit code."""
    is_sound = True
    for path in map(Path, argv) if argv else TEMPLATES:
        for problem in problems(path.read_text()):
            if not any(meant in problem for meant in MEANT.get(path.name, ())):
                sys.stderr.write(f"{path}: {problem}\n")
                is_sound = False
    return 0 if is_sound else 1


if __name__ == "__main__":
    run(main, sys.argv[1:])
