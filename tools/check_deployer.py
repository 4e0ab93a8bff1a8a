"""Check that who deploys a template may do what CloudFormation does for it.

One role of delivery/deployer.yaml may all of it for template.yaml, one may look; the role of delivery/portfolio.yaml
makes what delivery/deployer.yaml has.

    .venvs/sam/bin/python -m tools.check_deployer

CloudFormation acts with the rights of whoever deploys. Which actions it takes for a type of resource stands in the
type's schema (CloudFormation registry, us-east-1), which cfn-lint carries. Prints each action that is missing, and
exits with 1 if one is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tools import cfn
from tools.terminal import run

ROOT = Path(__file__).parents[1]
_ALL = ("create", "read", "update", "delete")
# What somebody does with a template's resources, and the policies that let him.
HANDLERS = (
    (
        "template.yaml", _ALL, "delivery/deployer.yaml",
        ("WatchPolicy", "StackPolicy", "RolesPolicy", "ResourcesPolicy", "DataPolicy"),
    ),
    ("template.yaml", ("read",), "delivery/deployer.yaml", ("WatchPolicy",)),
    ("delivery/deployer.yaml", _ALL, "delivery/portfolio.yaml", ("LaunchPolicy",)),
)  # fmt: skip
# What SAM makes of its own types.
OF_SAM = {
    "AWS::Serverless::Function": ("AWS::Lambda::Function", "AWS::Lambda::EventInvokeConfig"),
    "AWS::Serverless::LayerVersion": ("AWS::Lambda::LayerVersion",),
}
# Builds write into a log group whose key is AWS's own, and deliver to nobody; the roles of pipelines have no boundary.
OF_BUILDS = (
    "logs:CreateLogDelivery", "logs:*KmsKey", "logs:PutResourcePolicy", "logs:DeleteResourcePolicy",
    "iam:PutRolePermissionsBoundary",
)  # fmt: skip
# Actions for what the template does not set, by the reason, and names in schemas that are no actions of policies.
NOT_TAKEN = {
    "no stream, import, policy or copy in another region of the table": (
        "dynamodb:*Replica",
        "dynamodb:*KinesisStreamingDestination",
        "dynamodb:*Import*",
        "dynamodb:*Item",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:*tResourcePolicy",
        "dynamodb:DeleteResourcePolicy",
        "dynamodb:UpdateContributorInsights",
        "kinesis:*",
        "firehose:*",
    ),
    "managed policies are attached to roles, and a boundary is never taken away": (
        "iam:*Group*",
        "iam:*UserPolicy",
        "iam:*UserPermissionsBoundary",
        "iam:DeleteRolePermissionsBoundary",
        "iam:CreateServiceLinkedRole",
    ),
    "functions have no VPC, file system, signed code or capacity of their own": (
        "ec2:*",
        "elasticfilesystem:*",
        "s3files:*",
        "lambda:*CodeSigningConfig",
        "lambda:PassCapacityProvider",
        "lambda:PutFunctionScalingConfig",
        "lambda:AssociateRuntimeAlias",
    ),
    "buckets have no tables, websites, ACLs or locks, and are not emptied": (
        "s3tables:*",
        "s3:*BucketMetadata*",
        "s3:GetObjectMetadata",
        "s3:*Analytics*",
        "s3:*BucketCors",
        "s3:PutBucketCORS",
        "s3:DeleteBucketEncryption",
        "s3:DeleteBucketLifecycle",
        "s3:*Website",
        "s3:*Inventory*",
        "s3:*IntelligentTiering*",
        "s3:*BucketReplication",  # in policies that is PutReplicationConfiguration
        "s3:PutAccelerateConfiguration",
        "s3:PutMetricsConfiguration",
        "s3:DeleteBucketMetricsConfiguration",
        "s3:*Abac",
        "s3:Put*Acl",
        "s3:Put*ObjectLockConfiguration",
        "s3:DeleteObject",
        "s3:GetObjectVersion",
        "s3:REST.PUT.OBJECT",
    ),
    "log groups have no policies of their own, and services write into them": (
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
        "logs:*tDataProtectionPolicy",
        "logs:DeleteDataProtectionPolicy",
        "logs:PutBearerTokenAuthentication",
        "logs:PutLogGroupDeletionProtection",
        "logs:*tIndexPolicy",
        "logs:DeleteIndexPolicy",
    ),
    "the bus of events has no key of its own": (
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:ReEncrypt*",
    ),
    "topics have no data protection, and keys stay enabled": (
        "sns:PutDataProtectionPolicy",
        "kms:DisableKey",
    ),
}


def types(template: str) -> set[str]:
    """Return the types of a template's resources after the SAM transform, without custom ones."""
    written = cfn.parse(template)["Resources"]
    bodies = [next(iter(body[2].values())) if isinstance(body, list) else body for body in written.values()]
    whole = {one for body in bodies for one in OF_SAM.get(body["Type"], (body["Type"],))}
    return {name for name in whole if name.startswith("AWS::")}


def missing(needed: Iterable[str], template: str, policies: Sequence[str]) -> list[str]:
    """Return the needed actions that none of the named policies of a template names."""
    resources = cfn.parse(template)["Resources"]
    allowed = {
        action.lower()
        for name in policies
        for statement in resources[name]["Properties"]["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
    }
    patterns = [pattern for some in NOT_TAKEN.values() for pattern in some]
    return sorted(
        action
        for action in needed
        if action.lower() not in allowed and not any(fnmatchcase(action, pattern) for pattern in patterns)
    )


def _needed(kinds: Iterable[str], handlers: Sequence[str]) -> set[str]:
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    schemas = [PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema for kind in kinds]
    return {
        action
        for schema in schemas
        for name in handlers
        for action in schema.get("handlers", {}).get(name, {}).get("permissions", [])
    }


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def main() -> int:
    """Compare the templates. Return the exit code."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for row in HANDLERS for name in (row[0], row[2])}
    lacking = [
        f"{where}: {action} is in none of {', '.join(policies)}, and CloudFormation takes it for {what}"
        for what, handlers, where, policies in HANDLERS
        for action in missing(_needed(types(texts[what]), handlers), texts[where], policies)
        if not (what != "template.yaml" and any(fnmatchcase(action, pattern) for pattern in OF_BUILDS))
        if (action, handlers) != ("iam:PassRole", ("read",))  # some schemas say so, and looking passes no role on
    ]
    for line in lacking:
        sys.stderr.write(f"{line}\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    run(main)
