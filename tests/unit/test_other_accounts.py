"""Who of other accounts may do what, and who may touch what serves: the template's policies, decided as IAM decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.engine.permissions import requests
from localcloud.engine.permissions.decisions import decide, request, session_arn, statements
from tests.unit.test_template import COPIES, ROOT, TEMPLATE, by_sid, holds, parameter_values, properties, rendered
from tools import cfn

OWNER, DEV, PROD, OTHER = "999999999999", "111111111111", "222222222222", "333333333333"
STACK, BUCKET = "cars-prod", "arn:aws:s3:::cars-prod-bucket"
SAGEMAKER = f"arn:aws:sagemaker:eu-west-1:{OWNER}"
KEY = f"arn:aws:kms:eu-west-1:{OWNER}:key/1"
TREES = f"arn:aws:ecr:eu-west-1:{OWNER}:repository/images/trees"
RUN = f"{BUCKET}/runs/20261101000000-aaaa"
EVERYTHING = statements('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}')
IMAGES = cfn.load(ROOT / "delivery/images.yaml")
DATA = cfn.load(ROOT / "delivery/data.yaml")
POLICIES = {
    "s3": properties("BucketPolicy")["PolicyDocument"],
    "kms": properties("Key")["KeyPolicy"],
    "sagemaker": properties("ModelVersions")["ModelPackageGroupPolicy"],
    "ecr": IMAGES["Resources"]["Images"]["Properties"]["RepositoryPolicyText"],
}
ORGANIZATION = "aws:PrincipalOrgID"
THROUGH_S3 = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}


def whole(value: Any, given: dict[str, Any], template: Any = TEMPLATE) -> Any:
    """A part of a template, as CloudFormation makes it."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::")):
        made = rendered(value, given, template)
        return whole(made, given, template) if isinstance(made, dict) else made
    if isinstance(value, dict):
        made = {name: whole(item, given, template) for name, item in value.items()}
        return {name: item for name, item in made.items() if item is not None}
    if isinstance(value, list):
        return [item for item in (whole(each, given, template) for each in value) if item is not None]
    return value


def policy(service: str, **parameters: Any) -> Any:
    """The policy of the bucket, the key, the group or the images with these parameters."""
    return made(POLICIES[service], **parameters)


def made(document: Any, **parameters: Any) -> Any:
    """A policy of the template, as CloudFormation makes it for a stack with these parameters."""
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": OWNER, "AWS::StackName": STACK}
    arns = {"Bucket.Arn": BUCKET, "SealArtifactRole.Arn": f"arn:aws:iam::{OWNER}:role/seal", "Key.Arn": KEY}
    given = {**parameter_values(), **pseudo, **arns, "AWS::URLSuffix": "amazonaws.com", **parameters}
    return whole(document, given)


def refusal(
    who: tuple[str, str], action: str, resource: str, identity: Any = EVERYTHING, *, shared: Any = (DEV, PROD),
    protects: str = "no", organization: str = "", **context: str,
) -> str:  # fmt: skip
    """Why a role of an account may not do something; empty where it may."""
    account, role = who
    asked = request(session_arn(f"arn:aws:iam::{account}:role/{role}", "s"), action, resource, context)
    parameters = {"SharedWith": list(shared) or "", "ProtectArtefacts": protects}
    parameters["SharedWithOrganization"] = organization
    document = policy(asked.service, **parameters)
    denial = decide(asked, [identity], document, OWNER)
    return denial.reason if denial else ""


ALLOWED = [
    ("sagemaker:CreateModelPackage", f"{SAGEMAKER}:model-package-group/{STACK}", {}),
    (
        "sagemaker:CreateModelPackage",
        f"{SAGEMAKER}:model-package/{STACK}/3",
        {"sagemaker:ModelApprovalStatus": "PendingManualApproval"},
    ),
    ("sagemaker:DescribeModelPackage", f"{SAGEMAKER}:model-package/{STACK}/3", {}),
    ("sagemaker:ListModelPackages", f"{SAGEMAKER}:model-package-group/{STACK}", {}),
    ("s3:GetObject", f"{RUN}/serving/model.tar.gz", {}),
    ("s3:GetObjectVersion", f"{RUN}/run.json", {}),
    ("s3:ListBucketVersions", BUCKET, {"s3:prefix": "runs/20261101000000-aaaa/"}),
    ("kms:Decrypt", KEY, THROUGH_S3),
    ("ecr:BatchCheckLayerAvailability", TREES, {}),
    ("ecr:BatchGetImage", TREES, {}),
    ("ecr:GetDownloadUrlForLayer", TREES, {}),
]
REFUSED = [
    ("sagemaker:UpdateModelPackage", f"{SAGEMAKER}:model-package/{STACK}/3", {}),
    ("sagemaker:DeleteModelPackage", f"{SAGEMAKER}:model-package/{STACK}/3", {}),
    ("sagemaker:CreateModelPackage", f"{SAGEMAKER}:model-package-group/{STACK}-2", {}),
    (
        "sagemaker:CreateModelPackage",
        f"{SAGEMAKER}:model-package-group/{STACK}",
        {"sagemaker:ModelApprovalStatus": "Approved"},
    ),
    ("s3:GetObject", f"{BUCKET}/raw/cars.csv", {}),
    ("s3:PutObject", f"{RUN}/serving/model.tar.gz", {}),
    ("s3:DeleteObject", f"{RUN}/run.json", {}),
    ("s3:ListBucket", BUCKET, {"s3:prefix": "raw/"}),
    ("kms:Decrypt", KEY, {}),
    ("kms:GenerateDataKey", KEY, THROUGH_S3),
    ("ecr:PutImage", TREES, {}),
    ("ecr:BatchDeleteImage", TREES, {}),
    ("ecr:SetRepositoryPolicy", TREES, {}),
]


def ids(cases: list[tuple[str, str, dict[str, str]]]) -> list[str]:
    return [f"{action} {resource.rpartition(':')[2]} {'via' if context else ''}" for action, resource, context in cases]


@pytest.mark.parametrize(("action", "resource", "context"), ALLOWED, ids=ids(ALLOWED))
def test_the_accounts_of_the_parameter_read_and_register_and_no_other(
    action: str, resource: str, context: dict[str, str]
) -> None:
    for account in (DEV, PROD):
        assert refusal((account, "pipeline"), action, resource, **context) == ""
        why = refusal((account, "pipeline"), action, resource, [], **context)
        assert why == f"because no identity-based policy allows the {action} action"
    nobody = f"because no resource-based policy allows the {action} action"
    assert refusal((OTHER, "pipeline"), action, resource, **context) == nobody
    assert refusal((DEV, "pipeline"), action, resource, shared=(), **context) == nobody
    assert refusal((OWNER, "pipeline"), action, resource, shared=(), **context) == ""


@pytest.mark.parametrize(("action", "resource", "context"), ALLOWED, ids=ids(ALLOWED))
def test_an_account_that_has_left_the_organization_of_the_parameter_may_no_more(
    action: str, resource: str, context: dict[str, str]
) -> None:
    asked: dict[str, Any] = {"organization": "o-a1b2c3d4e5", **context}
    nobody = f"because no resource-based policy allows the {action} action"
    assert refusal((DEV, "pipeline"), action, resource, **asked, **{ORGANIZATION: "o-a1b2c3d4e5"}) == ""
    assert refusal((DEV, "pipeline"), action, resource, **asked, **{ORGANIZATION: "o-0000000000"}) == nobody
    assert refusal((DEV, "pipeline"), action, resource, **asked) == nobody


@pytest.mark.parametrize(("action", "resource", "context"), REFUSED, ids=ids(REFUSED))
def test_nothing_else_is_open_to_them(action: str, resource: str, context: dict[str, str]) -> None:
    assert refusal((DEV, "pipeline"), action, resource, **context) == (
        f"because no resource-based policy allows the {action} action"
    )


def test_jobs_and_models_pull_images_of_another_account_where_both_sides_say_so() -> None:
    assert IMAGES["Resources"]["Images"]["Properties"]["ImageTagMutability"] == "IMMUTABLE"
    assert IMAGES["Conditions"].items() <= TEMPLATE["Conditions"].items()  # by which this page renders the policy
    rule = TEMPLATE["Rules"]["ImagesOfAnAccountHaveARepository"]
    (has_repository,) = (one["Assert"] for one in rule["Assertions"])

    def may(account: str, repository: str = "images/trees", shared: tuple[str, ...] = (PROD,)) -> bool:
        given = parameter_values(OwnImageRepository="images/trees", OwnImageAccount=account)
        assert holds(rule["RuleCondition"], given) is (account != "")
        assert holds(has_repository, given)
        pulls = made({"Version": "2012-10-17", "Statement": [images]}, **given, **{"AWS::AccountId": PROD})
        resource = f"arn:aws:ecr:eu-west-1:{DEV}:repository/{repository}"
        asked = request(session_arn(f"arn:aws:iam::{PROD}:role/model", "s"), "ecr:BatchGetImage", resource, {})
        document = policy("ecr", SharedWith=list(shared), SharedWithOrganization="")
        return decide(asked, [statements(json.dumps(pulls))], document, DEV) is None

    images = by_sid(properties("JobBasicsPolicy")["PolicyDocument"])["Images"]
    assert may(DEV)
    assert not may("")
    assert not may(OTHER)
    assert not may(DEV, repository="images/other")
    assert not may(DEV, shared=(OTHER,))
    assert not holds(has_repository, parameter_values(OwnImageAccount=DEV))


@pytest.fixture
def principals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditions know the role of a session."""
    original = requests.iam_evaluator._resolve_condition_key
    replaced = requests._make_resolve_condition_key(original)
    monkeypatch.setattr("ministack.core.iam_evaluator._resolve_condition_key", replaced)


def test_data_of_another_account_are_read_in_place_by_the_roles_of_one_stack_that_read_data(principals: None) -> None:
    of_stack = {"DataBucket": BUCKET.rpartition(":")[2], "DataBucketAccount": OTHER, "DataBucketKeyArn": KEY}
    reader = {"BucketName": of_stack["DataBucket"], "ReaderAccount": OWNER, "ReaderStack": STACK}
    bucket, key = (DATA["Resources"][name]["Properties"] for name in ("BucketPolicy", "Key"))
    theirs = {
        "s3": made(bucket["PolicyDocument"], **reader, **{"AWS::AccountId": OTHER}),
        "kms": made(key["KeyPolicy"], **reader, **{"AWS::AccountId": OTHER}),
    }
    read = [("s3:GetObject", f"{BUCKET}/raw/cars.csv", {}), ("s3:GetObjectVersion", f"{BUCKET}/raw/cars.csv", {})]
    read += [("s3:ListBucketVersions", BUCKET, {"s3:prefix": "raw/"}), ("kms:Decrypt", KEY, THROUGH_S3)]
    look = [("s3:ListBucket", BUCKET, {}), ("s3:GetBucketNotification", BUCKET, {})]
    nothing = [("s3:PutObject", f"{BUCKET}/raw/cars.csv", {}), ("s3:DeleteObject", f"{BUCKET}/raw/cars.csv", {})]
    nothing += [
        ("s3:GetObject", f"{BUCKET}/hr/people.csv", {}),
        ("s3:ListBucketVersions", BUCKET, {"s3:prefix": "hr/"}),
    ]
    nothing += [("kms:Decrypt", KEY, {}), ("kms:Encrypt", KEY, THROUGH_S3), ("s3:PutBucketNotification", BUCKET, {})]

    def may(role: str, account: str = OWNER, identity: Any = EVERYTHING) -> list[Any]:
        """What the other account lets a role do."""
        session = session_arn(f"arn:aws:iam::{account}:role/{role}-1A2B", "s")
        asked = [(one, request(session, *one)) for one in read + look + nothing]
        return [one for one, of in asked if decide(of, [identity], theirs[of.service], OTHER) is None]

    for role in ("SnapshotDataRole", "ResolveConfigurationRole"):
        assert may(f"{STACK}-{role}") == read + look
    assert may(f"{STACK}-PublishJobCodeRole") == look
    assert may(f"{STACK}-NotifyRunRole") == may(f"{STACK}-2-SnapshotDataRole") == []
    assert may(f"{STACK}-SnapshotDataRole", DEV) == []
    for name, allowed in (
        ("DataBucketPolicy", [*read[:3], look[0]]),
        ("DataBucketKeyPolicy", [read[3]]),
        ("DataBucketCheckPolicy", look),
    ):
        document = properties(name)["PolicyDocument"]
        own, at_home = (
            statements(json.dumps(made(document, **{**of_stack, "DataBucketAccount": account})))
            for account in (OTHER, "")
        )
        assert may(f"{STACK}-SnapshotDataRole", identity=own) == allowed
        assert may(f"{STACK}-SnapshotDataRole", identity=at_home) == [one for one in allowed if one[0][:3] == "kms"]


def test_the_bucket_of_the_data_keeps_every_version_under_its_key_and_sends_its_events() -> None:
    bucket, policy = (DATA["Resources"][name]["Properties"] for name in ("Bucket", "BucketPolicy"))
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
    }
    own = properties("Bucket")
    for name in ("PublicAccessBlockConfiguration", "OwnershipControls"):
        assert bucket[name] == own[name]
    plain = by_sid(policy["PolicyDocument"])["OnlyTls"]
    assert {**plain, "Condition": None} == {
        **by_sid(properties("BucketPolicy")["PolicyDocument"])["OnlyTls"],
        "Condition": None,
    }
    assert plain["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    for name in ("Bucket", "Key"):
        kept = {key: TEMPLATE["Resources"][name][key] for key in ("DeletionPolicy", "UpdateReplacePolicy")}
        assert kept.items() <= DATA["Resources"][name].items()


def test_the_account_of_the_data_alone_sends_events_that_start_runs() -> None:
    bus = properties("DataBus")
    given = {"DataBucket": "lake", "DataBucketAccount": OTHER}
    policy = made(bus["Policy"], **given)
    rule, role = (DATA["Resources"][name]["Properties"] for name in ("DropRule", "DropRole"))
    reader = {"ReaderAccount": OWNER, "ReaderStack": STACK, "BucketName": "lake"}
    (target,) = rule["Targets"]
    arn = made(target["Arn"], **reader)
    assert arn == f"arn:aws:events:eu-west-1:{OWNER}:event-bus/{made(bus['Name'])}"
    (sends,) = role["Policies"]
    identity = statements(json.dumps(made(sends["PolicyDocument"], **reader)))

    def may(account: str) -> bool:
        asked = request(session_arn(f"arn:aws:iam::{account}:role/drops", "s"), "events:PutEvents", arn, {})
        return decide(asked, [identity], policy, OWNER) is None

    assert may(OTHER)
    assert not may(DEV)
    dropped = properties("DataDropRule")
    assert dropped["EventBusName"] == {"Fn::If": ["HasDataBucketAccount", {"Ref": "DataBus"}, {"Ref": "AWS::NoValue"}]}
    on_bus = [
        name
        for name, one in cfn.resources(TEMPLATE, "AWS::Events::Rule").items()
        if "EventBusName" in one["Properties"]
    ]
    assert on_bus == ["DataDropRule"]
    pattern = {key: made(rule["EventPattern"], **reader)[key] for key in ("source", "detail-type", "detail")}
    assert pattern == {key: made(dropped["EventPattern"], **given)[key] for key in pattern}
    rule = TEMPLATE["Rules"]["AccountHasDataBucket"]
    (needs_bucket,) = (one["Assert"] for one in rule["Assertions"])
    assert holds(rule["RuleCondition"], parameter_values(DataBucketAccount=OTHER))
    assert not holds(needs_bucket, parameter_values(DataBucketAccount=OTHER))


@pytest.mark.parametrize(
    "action",
    ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"],
)
def test_what_serves_is_nobodys_to_change_where_it_is_protected(action: str, principals: None) -> None:
    model = f"{RUN}/serving/model.tar.gz"
    denied = "with an explicit deny in a resource-based policy"
    for role in ("admin", "seal", f"deploys-{STACK}"):
        assert refusal((OWNER, role), action, model) == ""
        writes = action == "s3:PutObject" and role != "admin"
        assert refusal((OWNER, role), action, model, protects="yes") == ("" if writes else denied)
        assert refusal((OWNER, role), action, f"{RUN}/train/part-0", protects="yes") == ""


def test_who_copies_captured_traffic_reads_that_alone_and_writes_there_alone() -> None:
    policy = properties("ReplicationPolicy")
    assert policy["Roles"] == [{"Ref": "ReplicationRole"}]
    theirs = statements(json.dumps(made(policy["PolicyDocument"], **COPIES)))
    captured, copied = f"{BUCKET}/capture/a.jsonl", "arn:aws:s3:::ops-captures/capture/a.jsonl"
    places = (BUCKET, captured, f"{BUCKET}/raw/cars.csv", copied, "arn:aws:s3:::ops-captures/raw/cars.csv")
    # S3 User Guide, "Setting up permissions for live replication", "Changing the replica owner".
    expected = {
        BUCKET: {"s3:GetReplicationConfiguration", "s3:ListBucket"},
        captured: {"s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"},
        copied: {"s3:ObjectOwnerOverrideToBucketOwner", "s3:ReplicateObject", "s3:ReplicateTags"},
        KEY: {"kms:Decrypt"},
        COPIES["CaptureReplicaKeyArn"]: {"kms:Encrypt"},
    }
    others = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ReplicateDelete", "kms:GenerateDataKey"}

    def may(action: str, resource: str, **context: str) -> bool:
        session = session_arn(f"arn:aws:iam::{OWNER}:role/replication", "s")
        return decide(request(session, action, resource, context), [theirs], None, OWNER) is None

    for place in (*places, KEY, COPIES["CaptureReplicaKeyArn"]):
        actions = {action for action in others.union(*expected.values()) if may(action, place, **THROUGH_S3)}
        assert actions == expected.get(place, set()), place
    assert not may("kms:Decrypt", KEY)


DATA_SCIENTISTS = [
    ("s3:PutObject", "arn:aws:s3:::{stack}-bucket/raw/cars.csv"),
    ("s3:GetObject", "arn:aws:s3:::{stack}-bucket/runs/20261101000000-aaaa/run.json"),
    ("kms:Decrypt", "arn:aws:kms:eu-west-1:{account}:key/{stack}"),
    ("states:StartExecution", "arn:aws:states:eu-west-1:{account}:stateMachine:{stack}-train-model"),
    ("sagemaker:DescribeModelPackage", "arn:aws:sagemaker:eu-west-1:{account}:model-package/{stack}/3"),
    ("sagemaker:InvokeEndpoint", "arn:aws:sagemaker:eu-west-1:{account}:endpoint/{stack}"),
    ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:{account}:parameter/{stack}/model"),
]
OPEN_TO_DEV = {"s3:GetObject", "kms:Decrypt", "sagemaker:DescribeModelPackage"}
"""What production opens to those whom dev lets, where its SharedWith names dev."""


def of_data_scientist(
    action: str, resource: str, *, account: str, stack: str, shared: Any = (DEV,), anything: bool = False
) -> bool:
    """Whether a data scientist of cars-dev, or somebody whom dev lets do anything, may do something in an account."""
    machines = ("TrainModel", "MonitorModel", "ScoreBatch")
    given = {
        **parameter_values(), "AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": DEV,
        "AWS::StackName": "cars-dev", "AWS::URLSuffix": "amazonaws.com", "AWS::StackId": f"arn:{DEV}/cars-dev/0a1b2c3d",
        "Bucket.Arn": "arn:aws:s3:::cars-dev-bucket", "Key.Arn": f"arn:aws:kms:eu-west-1:{DEV}:key/cars-dev",
        **dict.fromkeys(machines, f"arn:aws:states:eu-west-1:{DEV}:stateMachine:cars-dev-train-model"),
    }  # fmt: skip
    text = json.dumps(properties("DataScientistPolicy")["PolicyDocument"]).replace("${Bucket.Arn}", given["Bucket.Arn"])
    theirs = EVERYTHING if anything else statements(json.dumps(whole(json.loads(text), given)))
    session = session_arn(f"arn:aws:iam::{DEV}:role/ada", "s")
    asked = request(session, action, resource.format(account=account, stack=stack), THROUGH_S3)
    of_prod = {"SharedWith": list(shared) or "", "SharedWithOrganization": "", "AWS::AccountId": PROD}
    guarded = (account, stack) == (PROD, STACK) and asked.service in POLICIES
    return decide(asked, [theirs], policy(asked.service, **of_prod) if guarded else None, account) is None


@pytest.mark.parametrize(("action", "resource"), DATA_SCIENTISTS, ids=[action for action, _ in DATA_SCIENTISTS])
def test_data_scientists_of_dev_reach_nothing_of_production_in_its_account_or_in_theirs(
    action: str, resource: str
) -> None:
    """Also where production's own policies would let dev's account."""
    assert of_data_scientist(action, resource, account=DEV, stack="cars-dev")
    assert not of_data_scientist(action, resource, account=DEV, stack=STACK)
    assert not of_data_scientist(action, resource, account=PROD, stack="cars-dev")
    assert not of_data_scientist(action, resource, account=PROD, stack=STACK)
    opened = of_data_scientist(action, resource, account=PROD, stack=STACK, anything=True)
    assert opened == (action in OPEN_TO_DEV)


def test_data_scientists_of_dev_list_versions_of_production_where_it_shares_them_with_dev() -> None:
    """Their policy cannot name the group: which resource its list is asked of is not known (docs/local-cloud.md)."""
    group = ("sagemaker:ListModelPackages", "arn:aws:sagemaker:eu-west-1:{account}:model-package-group/{stack}")
    assert of_data_scientist(*group, account=PROD, stack=STACK)
    assert not of_data_scientist(*group, account=PROD, stack=STACK, shared=())
