"""Which permissions an operation needs, as the Service Authorization Reference has it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from localcloud.engine.permissions import actions, requests
from localcloud.engine.permissions.actions import Needs, NotMappedError, Place
from localcloud.engine.permissions.decisions import Denial, decide, request, session_arn
from localcloud.settings import enforced

HERE = Place("us-east-1", "123456789012")
SAGEMAKER = "arn:aws:sagemaker:us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/path/job"
TAG = {"Key": "Run", "Value": "r1"}


def named(needs: list[Needs]) -> list[tuple[str, str]]:
    return [(each.action, each.resource) for each in needs]


def test_creating_a_job_needs_the_job_its_tags_and_its_role() -> None:
    needs = actions.sagemaker("CreateTrainingJob", {"TrainingJobName": "Job", "RoleArn": ROLE, "Tags": [TAG]}, HERE)
    own = f"{SAGEMAKER}:training-job/job"
    assert named(needs) == [("sagemaker:CreateTrainingJob", own), ("sagemaker:AddTags", own), ("iam:PassRole", ROLE)]
    assert needs[0].context == {"aws:RequestTag/Run": "r1", "aws:TagKeys": ["Run"]}
    assert needs[2].context == {"iam:PassedToService": "sagemaker.amazonaws.com"}


def test_a_tuning_job_hands_over_the_role_of_its_trials() -> None:
    parameters = {"HyperParameterTuningJobName": "Tune", "TrainingJobDefinition": {"RoleArn": ROLE}}
    own = f"{SAGEMAKER}:hyper-parameter-tuning-job/tune"
    made = actions.sagemaker("CreateHyperParameterTuningJob", parameters, HERE)
    assert named(made) == [("sagemaker:CreateHyperParameterTuningJob", own), ("iam:PassRole", ROLE)]
    listed = actions.sagemaker(
        "ListTrainingJobsForHyperParameterTuningJob", parameters | {"TrainingJobDefinition": {}}, HERE
    )
    assert named(listed) == [("sagemaker:ListTrainingJobsForHyperParameterTuningJob", own)]


@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_an_endpoint_is_made_of_itself_and_of_its_configuration(operation: str) -> None:
    needs = actions.sagemaker(operation, {"EndpointName": "e", "EndpointConfigName": "c"}, HERE)
    assert [each.resource for each in needs] == [f"{SAGEMAKER}:endpoint/e", f"{SAGEMAKER}:endpoint-config/c"]
    assert {each.action for each in needs} == {f"sagemaker:{operation}"}


def test_a_version_is_made_in_its_group() -> None:
    parameters = {"ModelPackageGroupName": "Cars", "ModelApprovalStatus": "Approved"}
    needs = actions.sagemaker("CreateModelPackage", parameters, HERE)
    resources = [f"{SAGEMAKER}:model-package/cars/*", f"{SAGEMAKER}:model-package-group/cars"]
    assert named(needs) == [("sagemaker:CreateModelPackage", resource) for resource in resources]
    assert [each.context for each in needs] == [{"sagemaker:ModelApprovalStatus": "Approved"}] * 2


@pytest.mark.parametrize("name", [f"{SAGEMAKER}:model-package/cars/1", "Cars/1"])
def test_a_version_is_named_by_its_arn_or_by_group_and_number(name: str) -> None:
    own = f"{SAGEMAKER}:model-package/cars/1"
    needs = actions.sagemaker("DescribeModelPackage", {"ModelPackageName": name}, HERE)
    assert named(needs) == [("sagemaker:DescribeModelPackage", own)]
    approval = {"ModelPackageArn": own, "ModelApprovalStatus": "Rejected"}
    (needed,) = actions.sagemaker("UpdateModelPackage", approval, HERE)
    assert (needed.resource, needed.context) == (own, {"sagemaker:ModelApprovalStatus": "Rejected"})


def test_versions_that_are_described_at_once_are_each_asked_for() -> None:
    arns = [f"{SAGEMAKER}:model-package/cars/{number}" for number in (1, 2)]
    needs = actions.sagemaker("BatchDescribeModelPackage", {"ModelPackageArnList": arns}, HERE)
    assert [each.resource for each in needs] == arns


def test_records_are_their_groups_and_a_group_is_handed_its_role() -> None:
    for operation in ("PutRecord", "GetRecord", "DeleteRecord"):
        needs = actions.sagemaker(operation, {"FeatureGroupName": f"{SAGEMAKER}:feature-group/Cars"}, HERE)
        assert named(needs) == [(f"sagemaker:{operation}", f"{SAGEMAKER}:feature-group/cars")]
    wanted = [{"FeatureGroupName": name} for name in ("Cars", "boats", "cars")]
    for operation, member in (("BatchGetRecord", "Identifiers"), ("BatchWriteRecord", "Entries")):
        needs = actions.sagemaker(operation, {member: wanted}, HERE)
        assert [each.resource for each in needs] == [f"{SAGEMAKER}:feature-group/{name}" for name in ("cars", "boats")]
    made = actions.sagemaker("CreateFeatureGroup", {"FeatureGroupName": "Cars", "RoleArn": ROLE}, HERE)
    assert named(made) == [
        ("sagemaker:CreateFeatureGroup", f"{SAGEMAKER}:feature-group/cars"),
        ("iam:PassRole", ROLE),
    ]


def test_a_list_has_no_resource() -> None:
    assert named(actions.sagemaker("ListEndpointConfigs", {}, HERE)) == [("sagemaker:ListEndpointConfigs", "*")]


@pytest.mark.parametrize("operation", ["CreateNotebookInstance", "ListNotebookInstances", "NotMapped"])
def test_an_operation_that_nobody_has_mapped_is_refused_by_name(operation: str) -> None:
    with pytest.raises(NotMappedError, match=f"sagemaker:{operation} needs, so it refuses it"):
        actions.sagemaker(operation, {}, HERE)


TASKS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (
        "arn:aws:states:::lambda:invoke",
        {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f"},
        [("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:f")],
    ),
    (
        "arn:aws:states:::aws-sdk:ssm:putParameter",
        {"Name": "/stack/model", "Value": "m"},
        [("ssm:PutParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/stack/model")],
    ),
    (
        "arn:aws:states:::sagemaker:createTransformJob.sync",
        {"TransformJobName": "t"},
        [("sagemaker:CreateTransformJob", f"{SAGEMAKER}:transform-job/t")],
    ),
    (
        "arn:aws:states:::aws-sdk:sagemaker:deleteEndpoint",
        {"EndpointName": "e"},
        [("sagemaker:DeleteEndpoint", f"{SAGEMAKER}:endpoint/e")],
    ),
]


@pytest.mark.parametrize(("resource", "given", "needed"), TASKS)
def test_a_task_needs_its_api_action(resource: str, given: dict[str, Any], needed: list[tuple[str, str]]) -> None:
    assert named(actions.task(resource, given, HERE)) == needed


def test_a_listing_is_allowed_by_its_prefix() -> None:
    given = {"Bucket": "b", "Prefix": "runs/r/", "MaxKeys": 10}
    (needs,) = actions.task("arn:aws:states:::aws-sdk:s3:listObjectsV2", given, HERE)
    assert needs == ("s3:ListBucket", "arn:aws:s3:::b", {"s3:prefix": "runs/r/", "s3:max-keys": "10"})


def test_a_copy_writes_the_one_and_reads_the_other() -> None:
    copy = "arn:aws:states:::aws-sdk:s3:copyObject"
    given = {"Bucket": "b", "Key": "raw/labelled/w.csv", "CopySource": "b/monitoring/w/labelled/rows%20.csv"}
    own = ("s3:PutObject", "arn:aws:s3:::b/raw/labelled/w.csv")
    assert named(actions.task(copy, given, HERE)) == [
        own,
        ("s3:GetObject", "arn:aws:s3:::b/monitoring/w/labelled/rows .csv"),
    ]
    described = {"MetadataDirective": "REPLACE", "Metadata": {"a": "b"}, "ContentType": "text/csv"}
    assert named(actions.task(copy, {**given, **described}, HERE)) == named(actions.task(copy, given, HERE))
    version = {**given, "CopySource": "b/k?versionId=1"}
    assert named(actions.task(copy, version, HERE)) == [own, ("s3:GetObjectVersion", "arn:aws:s3:::b/k")]
    with pytest.raises(NotMappedError, match="s3:CopyObject with ACL, Tagging needs"):
        actions.task(copy, {**given, "Tagging": "a=b", "ACL": "private"}, HERE)


def test_events_are_allowed_by_their_sources_and_types() -> None:
    window = {"Source": "perennial", "DetailType": "Perennial Window Judged"}
    (needs,) = actions.task("arn:aws:states:::events:putEvents", {"Entries": [window, window]}, HERE)
    assert needs.context == {"events:source": "perennial", "events:detail-type": "Perennial Window Judged"}
    other = {"Source": "other", "DetailType": "Perennial Window Judged", "EventBusName": "mine"}
    needs, default = actions.task("arn:aws:states:::events:putEvents", {"Entries": [window, other]}, HERE)
    assert [each.resource.rpartition("/")[2] for each in (needs, default)] == ["default", "mine"]
    assert needs.context == {**default.context, "events:source": ["other", "perennial"]}


def test_an_upload_is_allowed_by_the_encryption_that_it_names() -> None:
    headers = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k", "a": "b"}
    assert actions.s3_encryption(headers) == {
        "s3:x-amz-server-side-encryption": "aws:kms",
        "s3:x-amz-server-side-encryption-aws-kms-key-id": "k",
    }


def test_a_task_that_nobody_has_mapped_is_refused_by_name() -> None:
    with pytest.raises(NotMappedError, match="the task arn:aws:states:::aws-sdk:ec2:runInstances needs"):
        actions.task("arn:aws:states:::aws-sdk:ec2:runInstances", {}, HERE)


def test_only_tasks_that_wait_need_a_managed_rule() -> None:
    resources = ["arn:aws:states:::sagemaker:createTrainingJob", "arn:aws:states:::sagemaker:createProcessingJob.sync"]
    rule = "arn:aws:events:us-east-1:123456789012:rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule"
    assert {each.resource for each in actions.managed_rules(resources, HERE)} == {rule}


def test_a_log_group_is_matched_with_its_streams() -> None:
    group = {"logGroupName": "/aws/g"}
    assert actions.logs_resource("logs:CreateLogGroup", group, HERE).endswith(":log-group:/aws/g:log-stream:")
    stream = {**group, "logStreamName": "s"}
    assert actions.logs_resource("logs:PutLogEvents", stream, HERE).endswith(":log-group:/aws/g:log-stream:s")


@pytest.mark.parametrize("body", [b'{"Namespace": "N"}', b"Action=PutMetricData&Namespace=N"])
def test_the_namespace_of_a_metric_is_a_condition_key(body: bytes) -> None:
    assert actions.metrics_context(body) == {"cloudwatch:namespace": "N"}


def test_a_denial_is_told_in_the_words_of_aws() -> None:
    asked = request(session_arn(ROLE, "s"), "s3:PutObject", "arn:aws:s3:::b/k")
    assert Denial(asked, "because no identity-based policy allows the s3:PutObject action").text == (
        "User: arn:aws:sts::123456789012:assumed-role/job/s is not authorized to perform: s3:PutObject on resource: "
        '"arn:aws:s3:::b/k" because no identity-based policy allows the s3:PutObject action'
    )


def test_the_setting_that_switches_permissions_off_knows_two_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_PERMISSIONS", "off")
    assert not enforced()
    monkeypatch.setenv("LOCALCLOUD_PERMISSIONS", "no")
    with pytest.raises(ValueError, match="expected on or off"):
        enforced()


@pytest.mark.parametrize(
    ("role", "action", "denied"),
    [
        ("used-cars-prod-SnapshotDataRole-1A2B3C4D5E6F", "kms:Decrypt", False),
        ("used-cars-prod-SnapshotDataRole-1A2B3C4D5E6F", "kms:GenerateDataKey", True),
        ("used-cars-prod-PreprocessRole-1A2B3C4D5E6F", "kms:Decrypt", False),
        ("used-cars-prod-TrainRole-1A2B3C4D5E6F", "kms:Decrypt", True),
        ("used-cars-prod-eu-SnapshotDataRole-1A2B3C4D5E6F", "kms:Decrypt", True),
    ],
)
def test_a_former_key_is_opened_by_what_the_docs_say(
    role: str, action: str, denied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[4] / "docs" / "kms-key.md").read_text()
    statements = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[1])
    original = requests.iam_evaluator._resolve_condition_key
    replaced = requests._make_resolve_condition_key(original)
    monkeypatch.setattr("ministack.core.iam_evaluator._resolve_condition_key", replaced)
    session = session_arn(f"arn:aws:iam::123456789012:role/{role}", "a-session")
    asked = request(session, action, "arn:aws:kms:eu-west-1:123456789012:key/former")
    assert bool(decide(asked, [], {"Version": "2012-10-17", "Statement": statements})) == denied


@pytest.mark.parametrize(
    ("headers", "needed"),
    [({"x-amz-tagging-directive": "REPLACE"}, []), ({"x-amz-tagging": "a=b"}, [("s3:PutObjectTagging", "b/k")])],
)
def test_an_upload_that_sets_tags_needs_a_permission_and_one_that_sets_none_does_not(
    headers: dict[str, str], needed: list[tuple[str, str]]
) -> None:
    told = actions._for_headers(
        "b", "k", {"x-amz-copy-source": "b/other", "x-amz-tagging-directive": "REPLACE", **headers}
    )
    assert [(one.action, one.resource.removeprefix("arn:aws:s3:::")) for one in told] == needed


def test_an_update_that_alarms_may_take_back_needs_to_look_at_them() -> None:
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}, {"AlarmName": "latency"}]}}
    request_of = {"EndpointName": "cars", "EndpointConfigName": "new", "DeploymentConfig": rollback}
    needed = actions.sagemaker("UpdateEndpoint", request_of, actions.Place("eu-west-1", "123456789012"))
    alarms = [one.resource for one in needed if one.action == "cloudwatch:DescribeAlarms"]
    assert alarms == [f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}" for name in ("errors", "latency")]


@pytest.mark.parametrize(
    ("operation", "needed"),
    [
        ("RegisterScalableTarget", ["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"]),
        ("PutScalingPolicy", ["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms"]),
        ("DeregisterScalableTarget", ["cloudwatch:DeleteAlarms"]),
        ("DescribeScalableTargets", []),
    ],
)
def test_what_scales_is_looked_at_and_watched_with_the_permissions_of_who_asks(
    operation: str, needed: list[str]
) -> None:
    needs = actions.for_autoscaling(operation, {"ResourceId": "endpoint/Cars/variant/All"}, HERE)
    assert [each.action for each in needs] == needed
    alarm = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:TargetTracking-endpoint/Cars/variant/All-AlarmHigh"
    assert {each.resource for each in needs} <= {f"{SAGEMAKER}:endpoint/cars", alarm}


@pytest.mark.parametrize(
    ("members", "keys"),
    [
        ({"TableName": "runs", "Key": {"id": {"S": "a"}}}, ["a"]),
        ({"TableName": "arn:aws:dynamodb:us-east-1:1:table/runs", "Item": {"id": {"S": "a"}, "x": {"S": "b"}}}, ["a"]),
        ({"RequestItems": {"runs": {"Keys": [{"id": {"S": "a"}}, {"id": {"N": "1"}}]}}}, ["a", "1"]),
        ({"RequestItems": {"runs": [{"PutRequest": {"Item": {"id": {"S": "a"}}}}]}}, ["a"]),
        ({"TransactItems": [{"Put": {"TableName": "runs", "Item": {"id": {"S": "a"}}}}]}, ["a"]),
        ({"TableName": "runs"}, None),
        ({"TableName": "other", "Key": {"id": {"S": "a"}}}, None),
    ],
)
def test_the_leading_keys_of_a_request_are_those_of_its_items(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, Any], keys: list[str] | None
) -> None:
    tables = {"runs": {"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}}
    monkeypatch.setattr(actions, "dynamodb", type("Tables", (), {"_tables": tables}))
    assert actions.leading_keys(members) == ({"dynamodb:LeadingKeys": keys} if keys else {})
