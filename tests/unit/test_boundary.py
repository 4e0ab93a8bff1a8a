"""What bounds the roles of a stack, and what who deploys it may do with roles, decided as IAM decides."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from localcloud.engine.permissions.decisions import decide, request, session_arn, statements
from tests.unit import test_operators as operators
from tests.unit import test_template as template
from tests.unit.test_other_accounts import whole
from tools import cfn

DEPLOYER = cfn.load(template.ROOT / "delivery/deployer.yaml")
PORTFOLIO = cfn.load(template.ROOT / "delivery/portfolio.yaml")
STACK, ACCOUNT = operators.STACK["AWS::StackName"], operators.OF_AWS["AWS::AccountId"]
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/bounds-{STACK}"
LONGEST_BODY = 51_200  # CloudFormation, "Quotas": bytes of a template that a request has
OPENED = {
    "DataBucket": "lake",
    "DataBucketKeyArn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/of-the-lake",
    "DataTopicArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:data-owners",
    "ApproverTopicArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:approvers",
    "OwnImageRepository": "images/trees",
    "OwnImageAccount": "222222222222",
    "SparkImage": "images/spark:1",
    "CaptureReplicaBucket": "ops-captures",
    "CaptureReplicaAccount": "333333333333",
    "CaptureReplicaKeyArn": "arn:aws:kms:eu-west-1:333333333333:key/of-ops",
    "KmsKeyArn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/of-the-account",
}
"""Parameters that name what is not the stack's."""
OPENS = [
    "arn:aws:s3:::lake", "arn:aws:s3:::lake/raw/*", "arn:aws:s3:::ops-captures/capture/*",
    *(value for name, value in OPENED.items() if name.endswith("Arn")),
    *(f"arn:aws:ecr:eu-west-1:{account}:repository/images/*" for account in (ACCOUNT, OPENED["OwnImageAccount"])),
]  # fmt: skip

Document = dict[str, Any]


def deployer(name: str, boundary: str = "stack", stack: str = STACK, **more: Any) -> Document:
    """A policy of delivery/deployer.yaml, as CloudFormation makes it."""
    given = {name: body.get("Default", "") for name, body in DEPLOYER["Parameters"].items()}
    given |= {"BoundaryOpensArns": [""], "StackName": stack, "Boundary": boundary, "BoundaryPolicy": BOUNDARY}
    given["BoundaryPolicy"] = f"arn:aws:iam::{ACCOUNT}:policy/bounds-{stack}"
    properties = DEPLOYER["Resources"][name]["Properties"]
    return dict(whole(properties["PolicyDocument"], {**operators.OF_AWS, **given, **more}, DEPLOYER))


def parsed(document: Document) -> Any:
    return statements(json.dumps(document))


# ---- What the roles do


def stack(**named: Any) -> dict[str, Any]:
    """What a stack is made of, with the names that CloudFormation gives."""
    words = {
        name: re.sub(r"(?<!^)(?=[A-Z])", "-", name.removesuffix("Function")).lower() for name in template.RESOURCES
    }
    prefix = {
        "AWS::Serverless::Function": "lambda:eu-west-1:{account}:function:{stack}-{word}",
        "AWS::StepFunctions::StateMachine": "states:eu-west-1:{account}:stateMachine:{stack}-{word}",
        "AWS::IAM::Role": "iam::{account}:role/{stack}-{name}-1A2B3C4D5E6F",
        "AWS::DynamoDB::Table": "dynamodb:eu-west-1:{account}:table/{stack}-{name}-1A2B3C4D5E6F",
        "AWS::SNS::Topic": "sns:eu-west-1:{account}:{stack}-{name}-1A2B3C4D5E6F",
        "AWS::SQS::Queue": "sqs:eu-west-1:{account}:{stack}-{name}-1A2B3C4D5E6F",
        "AWS::S3::Bucket": "s3:::{stack}-bucket-1a2b3c4d5e6f",
        "AWS::KMS::Key": "kms:eu-west-1:{account}:key/1",
        "AWS::SageMaker::ModelPackageGroup": "sagemaker:eu-west-1:{account}:model-package-group/{stack}",
        "AWS::CloudWatch::Alarm": "cloudwatch:eu-west-1:{account}:alarm:{stack}-{word}",
        "AWS::Logs::LogGroup": "logs:eu-west-1:{account}:log-group:/aws/lambda/{stack}-{word}:*",
    }
    arns = {
        name: f"arn:aws:{prefix[body['Type']].format(account=ACCOUNT, stack=STACK, word=words[name], name=name)}"
        for name, body in template.RESOURCES.items()
        if body["Type"] in prefix
    }
    known = {f"{name}{end}": arn for name, arn in arns.items() for end in ("", ".Arn")}
    lists = {"AlertEmails": ["a@b.de"], "SharedWith": [""], "RetrainAlarms": ["x"], "VpcSubnetIds": ["subnet-1"]}
    parts = {"RestApi": "a1b2c3d4e5", "ApiStage": "v1", "VpcSecurityGroupIds": ["sg-1"]}
    with_all = {"MaxInstances": "4", "AwakeHours": "07:00-19:00", "Api": "iam", "RetrainSchedule": "rate(1 day)"}
    return {**template.parameter_values(), **with_all, **operators.STACK, **known, **parts, **lists, **named}


def documents(given: dict[str, Any]) -> Iterator[tuple[str, Document]]:
    """Each policy that roles of a stack, and those of people, have."""
    for name, body in template.RESOURCES.items():
        properties = body["Properties"]
        if "Condition" in body and not template.condition(body["Condition"], given):
            continue
        if body["Type"] == "AWS::IAM::ManagedPolicy" and name != "ApiCallerPolicy":  # of who calls, not of the stack
            yield name, properties["PolicyDocument"]
        for policy in properties.get("Policies", []) if body["Type"] == "AWS::IAM::Role" else []:
            yield name, policy["PolicyDocument"]


def asked(document: Document, given: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A request for each action and resource of a policy, whose wildcards stand for something."""
    text = json.dumps(document).replace("${Bucket.Arn}", given["Bucket.Arn"])
    for statement in whole(json.loads(text), given)["Statement"]:
        for action, resource in itertools.product(*map(template.listed, (statement["Action"], statement["Resource"]))):
            context = _context(statement.get("Condition", {}))
            if resource == given["Key.Arn"] or ":function:" in resource:
                context["aws:ResourceTag/Stack"] = STACK
            yield action, resource.replace("?", "0").replace("*", "x"), context


def _context(conditions: dict[str, Any]) -> dict[str, str]:
    found = {}
    for operator, tests in conditions.items():
        for key, value in tests.items():
            first = str(template.listed(value)[0]).lower() if operator == "Bool" else str(template.listed(value)[0])
            found[key] = first.replace("*", "x").replace("?", "0") if "Like" in operator else first
    return found


def outside(boundary: Document, given: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What policies of the stack allow and a boundary does not."""
    caller, bounds = session_arn(f"arn:aws:iam::{ACCOUNT}:role/{STACK}-X", "s"), parsed(boundary)
    found = []
    for name, document in documents(given):
        text = json.dumps(document).replace("${Bucket.Arn}", given["Bucket.Arn"])
        own = [parsed(whole(json.loads(text), given))]
        for action, resource, context in asked(document, given):
            one = request(caller, action, resource, context)
            assert decide(one, own, None) is None, (name, action, resource, context)
            if decide(one, own, None, boundary=bounds):
                found.append((name, action, resource))
    return found


def test_the_boundary_leaves_to_each_role_what_its_policies_allow() -> None:
    boundary = deployer("BoundaryPolicy")
    assert outside(boundary, stack()) == []
    assert outside(deployer("BoundaryPolicy", BoundaryOpensArns=OPENS), stack(**OPENED)) == []
    closed = {resource for _, _, resource in outside(boundary, stack(**OPENED))}
    assert len(closed) >= len(OPENS) - 2, "what bears another name is opened by the parameter alone"


def requests_of(given: dict[str, Any]) -> set[Any]:
    caller = session_arn(f"arn:aws:iam::{ACCOUNT}:role/{STACK}-X", "s")
    return {request(caller, *one) for _, document in documents(given) for one in asked(document, given)}


def parts(document: Document) -> Iterator[tuple[str, Document]]:
    """Each action and each resource of a policy, with the policy without it."""
    for index, statement in enumerate(document["Statement"]):
        for key in ("Action", "Resource"):
            every = template.listed(statement[key])
            for one in every if len(every) > 1 else []:
                rest = copy.deepcopy(document)
                rest["Statement"][index][key] = [other for other in every if other != one]
                yield f"{statement['Sid']} {one}", rest


def test_the_boundary_has_nothing_that_no_role_needs() -> None:
    """Of what it names by its beginning, that beginning; images in accounts of AWS are named by the kind."""
    boundary = deployer("BoundaryPolicy", BoundaryOpensArns=OPENS)
    every = requests_of(stack(**OPENED)) | requests_of(stack())
    needless = {
        part
        for part, rest in parts(boundary)
        if not any(decide(one, [EVERYTHING], None, boundary=parsed(rest)) for one in every)
    }
    assert needless == set()


FUNCTION = "AWS::Serverless::Function"
EVERYTHING = parsed({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
OTHER_STACK = f"{STACK}-eu"
BEYOND = [
    ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/{STACK}-Admin-1"),
    ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainRole-1"),
    ("iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainRole-1"),
    ("iam:DeleteRolePermissionsBoundary", f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainRole-1"),
    ("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainRole-1"),
    ("iam:CreatePolicyVersion", BOUNDARY),
    ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/x"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{OTHER_STACK}-TrainRole-1"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/deploys-{STACK}"),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/Admin"),
    ("s3:GetObject", "arn:aws:s3:::payroll/2026.csv"),
    ("s3:GetObject", f"arn:aws:s3:::{OTHER_STACK}-bucket-1a2b/raw/cars.csv"),
    ("s3:PutBucketPolicy", f"arn:aws:s3:::{STACK}-bucket-1a2b"),
    ("kms:Decrypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/of-others"),
    ("kms:PutKeyPolicy", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"),
    ("dynamodb:GetItem", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/{OTHER_STACK}-RunTable-1"),
    ("lambda:UpdateFunctionCode", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{STACK}-clean-up"),
    ("states:UpdateStateMachine", f"arn:aws:states:eu-west-1:{ACCOUNT}:stateMachine:{STACK}-train-model"),
    ("sagemaker:CreateTrainingJob", f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:training-job/others"),
    ("lambda:InvokeFunction", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{OTHER_STACK}-answer-approval"),
    ("states:StartExecution", f"arn:aws:states:eu-west-1:{ACCOUNT}:stateMachine:{OTHER_STACK}-train-model"),
    ("states:StopExecution", f"arn:aws:states:eu-west-1:{ACCOUNT}:execution:{OTHER_STACK}-train-model:1"),
    ("states:DescribeExecution", f"arn:aws:states:eu-west-1:{ACCOUNT}:execution:{OTHER_STACK}-monitor-model:1"),
    ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:x"),
    ("ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*"),
    ("organizations:LeaveOrganization", "*"),
]


@pytest.mark.parametrize(("action", "resource"), BEYOND, ids=[f"{action} {arn[-24:]}" for action, arn in BEYOND])
def test_a_role_may_nothing_beyond_the_boundary_whatever_a_changed_template_gives_it(
    action: str, resource: str
) -> None:
    context = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    one = request(session_arn(f"arn:aws:iam::{ACCOUNT}:role/{STACK}-Admin-1", "s"), action, resource, context)
    assert decide(one, [EVERYTHING], None) is None
    assert decide(one, [EVERYTHING], None, boundary=parsed(deployer("BoundaryPolicy")))


def test_a_role_is_passed_to_sagemaker_alone() -> None:
    role, bounds = f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainRole-1", parsed(deployer("BoundaryPolicy"))
    caller = session_arn(f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainModelRole-1", "s")
    refused = {
        service: decide(
            request(caller, "iam:PassRole", role, {"iam:PassedToService": f"{service}.amazonaws.com"}),
            [EVERYTHING], None, boundary=bounds,
        ) is not None
        for service in ("sagemaker", "lambda", "ec2")
    }  # fmt: skip
    assert refused == {"sagemaker": False, "lambda": True, "ec2": True}


def test_functions_are_told_by_the_tag_that_all_of_the_stack_have() -> None:
    """Those of a stack whose name begins alike would match a pattern, and the names are too many for one policy."""
    one = ("lambda:InvokeFunction", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{STACK}-eu-clean-up")
    caller, bounds = session_arn(f"arn:aws:iam::{ACCOUNT}:role/{STACK}-X", "s"), parsed(deployer("BoundaryPolicy"))
    allowed = {
        whose: decide(request(caller, *one, {"aws:ResourceTag/Stack": whose}), [EVERYTHING], None, boundary=bounds)
        is None
        for whose in (STACK, OTHER_STACK)
    }
    assert allowed == {STACK: True, OTHER_STACK: False}
    tags = cfn.load(template.ROOT / "template.yaml")["Globals"]["Function"]["Tags"]
    assert tags["Stack"] == {"Ref": "AWS::StackName"}
    own = [body["Properties"].get("Tags", {}) for body in cfn.resources(template.TEMPLATE, FUNCTION).values()]
    assert all(tags.get("Stack", {"Ref": "AWS::StackName"}) == {"Ref": "AWS::StackName"} for tags in own)


@pytest.mark.parametrize("opened", [[""], [OPENED["KmsKeyArn"]]])
def test_a_role_gives_grants_to_aws_alone(opened: list[str]) -> None:
    """A grant is of anybody, of another account too, and outlasts the role that gave it."""
    bounds = parsed(deployer("BoundaryPolicy", BoundaryOpensArns=opened))
    caller, key = session_arn(f"arn:aws:iam::{ACCOUNT}:role/{STACK}-X", "s"), OPENED["KmsKeyArn"]
    own = {"aws:ResourceTag/Stack": STACK}

    def grants(**context: str) -> bool:
        asked = request(caller, "kms:CreateGrant", key, own | context)
        return decide(asked, [EVERYTHING], None, boundary=bounds) is None

    assert grants(**{"kms:GrantIsForAWSResource": "true"})
    assert not grants(**{"kms:GrantIsForAWSResource": "false"})
    assert not grants()


# ---- Who deploys

OWN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/{STACK}-TrainModelRole-1A2B3C4D5E6F"
OWN_POLICY = f"arn:aws:iam::{ACCOUNT}:policy/{STACK}-JobBasicsPolicy-1A2B3C4D5E6F"
BOUND = {"iam:PermissionsBoundary": BOUNDARY}
GRANT = ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:DeleteRolePolicy")
OTHERS_BOUNDARY = "arn:aws:iam::aws:policy/AdministratorAccess"


def deploys(action: str, resource: str, policies: list[Document] | None = None, **context: str) -> bool:
    """Whether the deployer of the stack may do something, with the policies of its role that speak of IAM."""
    caller = session_arn(f"arn:aws:iam::{ACCOUNT}:role/deploys-{STACK}", "s")
    own = policies or [deployer("StackPolicy"), deployer("RolesPolicy")]
    return decide(request(caller, action, resource, context), map(parsed, own), None) is None


@pytest.mark.parametrize("action", [*GRANT, "iam:PutRolePermissionsBoundary"])
def test_who_deploys_gives_rights_to_roles_that_are_bounded_alone(action: str) -> None:
    assert deploys(action, OWN_ROLE, **BOUND)
    assert not deploys(action, OWN_ROLE)
    assert not deploys(action, OWN_ROLE, **{"iam:PermissionsBoundary": OTHERS_BOUNDARY})
    assert deploys(action, OWN_ROLE, [deployer("RolesPolicy", boundary="")]), "the condition keeps it"
    theirs = [deployer("RolesPolicy", boundary=OTHERS_BOUNDARY)]
    assert deploys(action, OWN_ROLE, theirs, **{"iam:PermissionsBoundary": OTHERS_BOUNDARY})
    assert not deploys(action, OWN_ROLE, theirs, **BOUND)


def test_who_deploys_takes_no_boundary_away_and_changes_none() -> None:
    assert not deploys("iam:DeleteRolePermissionsBoundary", OWN_ROLE, **BOUND)
    for action in ("iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion"):
        assert deploys(action, OWN_POLICY)
        assert not deploys(action, BOUNDARY)


def test_what_a_stack_is_made_of_with_roles_is_allowed_to_who_deploys_it() -> None:
    for action in ("iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"):
        assert deploys(action, OWN_ROLE)
    for name, body in template.RESOURCES.items():
        if body["Type"] == "AWS::IAM::Role":
            assert deploys("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{name}-1A2B", **BOUND), name
        if body["Type"] == "AWS::IAM::ManagedPolicy":
            assert deploys("iam:CreatePolicy", f"arn:aws:iam::{ACCOUNT}:policy/{STACK}-{name}-1A2B"), name


OF_ROLES = (*GRANT, "iam:UpdateAssumeRolePolicy", "iam:DeleteRole", "iam:TagRole", "iam:PassRole")
NOT_THE_STACKS = [
    f"arn:aws:iam::{ACCOUNT}:role/{OTHER_STACK}-TrainModelRole-1A2B3C4D5E6F",
    f"arn:aws:iam::{ACCOUNT}:role/{STACK}-2-TrainModelRole-1A2B3C4D5E6F",
    f"arn:aws:iam::{ACCOUNT}:role/deploys-{STACK}",
    f"arn:aws:iam::{ACCOUNT}:role/people/{STACK}-approver",
    f"arn:aws:iam::{ACCOUNT}:role/Admin",
]


@pytest.mark.parametrize("role", NOT_THE_STACKS)
def test_who_deploys_changes_no_role_of_another_stack_whose_name_begins_alike(role: str) -> None:
    context = {**BOUND, "iam:PassedToService": "lambda.amazonaws.com"}
    assert [action for action in OF_ROLES if deploys(action, role, **context)] == []
    if role.split(":role/")[1].startswith(f"{STACK}-"):
        open_to_all = json.loads(json.dumps(deployer("RolesPolicy")).replace(f":role/{STACK}-T*", f":role/{STACK}-*"))
        assert all(deploys(action, role, [open_to_all], **context) for action in OF_ROLES), "the capitals keep it"


CHANGES = {
    "AWS::Serverless::Function": ("lambda:CreateFunction", "lambda:UpdateFunctionCode"),
    "AWS::StepFunctions::StateMachine": ("states:CreateStateMachine", "states:UpdateStateMachine"),
    "AWS::S3::Bucket": ("s3:CreateBucket", "s3:PutBucketPolicy"),
    "AWS::DynamoDB::Table": ("dynamodb:CreateTable", "dynamodb:UpdateTable"),
    "AWS::SNS::Topic": ("sns:CreateTopic", "sns:SetTopicAttributes"),
    "AWS::SQS::Queue": ("sqs:CreateQueue", "sqs:SetQueueAttributes"),
}
"""What runs under roles of a stack or holds its data, and what somebody does who makes and who changes it."""


@pytest.mark.parametrize("kind", CHANGES)
def test_who_deploys_changes_what_the_stack_is_made_of_and_nothing_of_one_whose_name_begins_alike(kind: str) -> None:
    policies, given = [deployer("ResourcesPolicy"), deployer("DataPolicy")], stack()
    names = cfn.resources(template.TEMPLATE, kind)
    assert names
    for name, action in itertools.product(names, CHANGES[kind]):
        arn = given[f"{name}.Arn"]
        assert deploys(action, arn, policies), arn
        other = re.sub(rf"\b{STACK}-", f"{OTHER_STACK}-", arn)
        assert other != arn
        assert not deploys(action, other, policies), other


def test_who_deploys_changes_neither_its_own_policies_nor_those_of_another_stack() -> None:
    """docs/delivery.md calls the stack of a pipeline as its stack begins."""
    for stack, policy in (
        (f"{STACK}-pipeline", "StackPolicy"),
        (f"{STACK}-pipeline", "RolesPolicy"),
        (OTHER_STACK, "JobLogsPolicy"),
    ):
        arn = f"arn:aws:iam::{ACCOUNT}:policy/{stack}-{policy}-1A2B3C4D5E6F"
        assert not deploys("iam:CreatePolicyVersion", arn)
        assert not deploys("iam:DeletePolicy", arn)


DATA, CALLED = "DataPolicy", {"aws:CalledVia": "cloudformation.amazonaws.com"}
KEY_OF_OTHERS = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/of-others"


def test_who_deploys_makes_no_key_of_others_the_stacks_by_a_tag() -> None:
    """What the tag Stack opens: to decrypt, to give away, to delete."""
    named, policies = {"aws:RequestTag/Stack": STACK}, [deployer(DATA)]
    assert deploys("kms:TagResource", KEY_OF_OTHERS, policies, **named, **CALLED), "of a key that is being made"
    assert not deploys("kms:TagResource", KEY_OF_OTHERS, policies, **named)
    assert not deploys("kms:TagResource", KEY_OF_OTHERS, policies, **CALLED, **{"aws:RequestTag/Stack": "others"})
    assert not deploys("kms:PutKeyPolicy", KEY_OF_OTHERS, policies)
    assert deploys("kms:PutKeyPolicy", KEY_OF_OTHERS, policies, **{"aws:ResourceTag/Stack": STACK})


UPLOADS = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-1a2b3c"


def test_who_deploys_writes_no_upload_of_another_stack() -> None:
    """The SAM CLI names an upload by the MD5 of what it should be, and uploads nothing where that name is taken.

    SAM CLI, `S3Uploader.upload_with_dedup`.
    """
    every = [deployer(name) for name in ("WatchPolicy", "StackPolicy", "RolesPolicy", "ResourcesPolicy", DATA)]
    for action in ("s3:GetObject", "s3:PutObject"):
        assert deploys(action, f"{UPLOADS}/{STACK}/0123.template", every)
        for key in ("0123.template", f"{OTHER_STACK}/0123", f"{STACK}.template"):
            assert not deploys(action, f"{UPLOADS}/{key}", every), key
    sams = f"arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/aws-sam-cli-managed-default/1"
    assert deploys("cloudformation:DescribeStacks", sams, every)
    for action, arn in (
        ("cloudformation:CreateChangeSet", sams),
        ("cloudformation:ExecuteChangeSet", sams),
        ("s3:PutBucketPolicy", UPLOADS),
        ("s3:PutReplicationConfiguration", UPLOADS),
        ("s3:DeleteBucket", UPLOADS),
    ):
        assert not deploys(action, arn, every), action


def test_the_bucket_of_uploads_is_what_the_sam_cli_looks_for() -> None:
    """SAM CLI, `bootstrap.manage_stack`: a stack of this name and tag, and this output; docs/delivery.md makes it."""
    made = cfn.load(template.ROOT / "delivery/uploads.yaml")
    (bucket,) = cfn.resources(made, "AWS::S3::Bucket")
    assert made["Outputs"]["SourceBucket"]["Value"] == {"Ref": bucket}
    name = f"aws-sam-cli-managed-default-{bucket.lower()}-1a2b3c"
    assert deploys("s3:PutObject", f"arn:aws:s3:::{name}/{STACK}/x", [deployer(DATA)])
    page = (template.ROOT / "docs/delivery.md").read_text()
    assert "--stack-name aws-sam-cli-managed-default --template-body file://delivery/uploads.yaml" in page
    assert "--tags Key=ManagedStackSource,Value=AwsSamCli" in page


def test_nobody_is_told_to_start_builds_which_may_be_given_other_commands() -> None:
    """AWS CodeBuild API Reference, StartBuild: buildspecOverride, sourceLocationOverride, serviceRoleOverride."""
    pages = [*template.ROOT.glob("docs/**/*.md"), *template.ROOT.glob("*.md"), *template.ROOT.glob("delivery/*")]
    told = [page.name for page in pages if re.search(r"aws codebuild start-build|StartBuild`? on", page.read_text())]
    assert told == []
    variables = DEPLOYER["Resources"]["BuildProject"]["Properties"]["Environment"]["EnvironmentVariables"]
    assert {"Name": "AGAIN", "Value": {"Ref": "Again"}} in variables, "a change of the parameter updates the stack"


def test_no_page_attaches_a_policy_to_who_deploys_that_it_may_write_anew() -> None:
    assert deploys("iam:CreatePolicyVersion", f"arn:aws:iam::{ACCOUNT}:policy/{STACK}-DataScientistPolicy-1A2B3C4D5E6F")
    pages = [*template.ROOT.glob("docs/**/*.md"), *template.ROOT.glob("*.md")]
    assert [
        page for page in pages if re.search(r"attach-role-policy[^\n]*--role-name deploys-", page.read_text())
    ] == []


# ---- Self-service


def test_a_product_bounds_the_roles_of_its_stack_and_its_launch_makes_the_boundary() -> None:
    text, _ = PORTFOLIO["Resources"]["OnlyKnownSources"]["Properties"]["Rules"]["Fn::Sub"]
    (bounded,) = json.loads(text)["Bounded"]["Assertions"]
    assert bounded["Assert"] == {"Fn::Equals": [{"Ref": "Boundary"}, "stack"]}
    given = dict.fromkeys(PORTFOLIO["Parameters"], "x") | operators.OF_AWS
    launch = whole(PORTFOLIO["Resources"]["LaunchPolicy"]["Properties"]["PolicyDocument"], given, PORTFOLIO)
    for action in ("iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy"):
        caller = session_arn(f"arn:aws:iam::{ACCOUNT}:role/launches/launch", "s")
        assert decide(request(caller, action, BOUNDARY), [parsed(launch)], None) is None


def test_a_build_gives_the_stack_its_boundary() -> None:
    given = {"Boundary": "stack", "BoundaryPolicy": BOUNDARY}
    *_, bounds = DEPLOYER["Resources"]["BuildProject"]["Properties"]["Environment"]["EnvironmentVariables"]
    assert whole(bounds, given, DEPLOYER) == {"Name": "PERENNIAL_BOUNDARY", "Value": BOUNDARY}
    assert whole(bounds, {"Boundary": OTHERS_BOUNDARY}, DEPLOYER)["Value"] == OTHERS_BOUNDARY
    assert whole(bounds, {"Boundary": ""}, DEPLOYER) is None


# ---- The templates


@pytest.mark.parametrize("arn", ["", BOUNDARY])
def test_every_role_of_the_stack_has_the_boundary_of_the_parameter(arn: str) -> None:
    given = template.parameter_values(PermissionsBoundaryArn=arn)
    bounds = {
        name: template.rendered(body["Properties"]["PermissionsBoundary"], given)
        for name, body in cfn.resources(template.TEMPLATE, "AWS::IAM::Role").items()
    }
    assert set(bounds.values()) == {arn or None}


@pytest.mark.parametrize("name", list(cfn.resources(DEPLOYER, "AWS::IAM::ManagedPolicy")))
def test_a_policy_of_who_deploys_is_not_longer_than_iam_takes(name: str) -> None:
    longest = {"AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-1"}
    given = {"FromRoleArn": "a" * 64, "BoundaryOpensArns": [""], **longest}
    document = deployer(name, stack="s" * 26, **given)
    assert len(json.dumps(document, separators=(",", ":"))) <= operators.LONGEST_POLICY


@pytest.mark.parametrize("path", sorted((template.ROOT / "delivery").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_template_is_not_larger_than_a_request_takes(path: Any) -> None:
    """create-stack --template-body sends the text as it is."""
    assert len(path.read_bytes()) <= LONGEST_BODY
