"""Stacks whose template or deletion AWS refuses."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from boto3 import Session
from botocore.exceptions import ClientError
from typer.testing import Result

from localcloud.engine.cloudformation import unknown_properties
from tests.command import perennial
from tests.integration.conftest import ROLE, Cloud, policy, run_machine, unique
from tests.waiting import wait_for

ENDED = ("COMPLETE", "FAILED")


def status_after(cloud: Cloud, stack: str) -> str:
    """The status of a stack once nothing is in progress."""

    def ended() -> str | None:
        described = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return str(described) if described.endswith(ENDED) else None

    return wait_for(ended, f"end of what {stack} does")


def create(cloud: Cloud, **stack_resources: dict[str, Any]) -> tuple[str, str]:
    """The id and the status of a new stack of these resources, which passes for one of Perennial."""
    parameters = {"ModelName": {"Type": "String", "Default": "used-cars"}}
    template = json.dumps({"Parameters": parameters, "Resources": stack_resources})
    made = cloud.client("cloudformation").create_stack(
        StackName=unique("stack"), TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    return str(made["StackId"]), status_after(cloud, made["StackId"])


def reasons(cloud: Cloud, stack: str) -> list[str]:
    events = cloud.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    return [event.get("ResourceStatusReason", "") for event in events]


def bucket(name: str, deletion_policy: str = "Delete", **properties: Any) -> dict[str, Any]:
    given = {"BucketName": name, "VersioningConfiguration": {"Status": "Enabled"}, **properties}
    return {"Type": "AWS::S3::Bucket", "Properties": given, "DeletionPolicy": deletion_policy}


def test_a_property_that_a_resource_does_not_have_fails_the_stack(cloud: Cloud) -> None:
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": unique("topic"), "KmsKeyId": "x"}}
    stack, status = create(cloud, Topic=topic)
    assert status == "ROLLBACK_COMPLETE"
    said = (
        "Properties validation failed for resource Topic with message: [#: extraneous key [KmsKeyId] is not permitted]"
    )
    assert said in reasons(cloud, stack)


def test_a_stack_that_could_not_be_created_can_only_be_deleted(cloud: Cloud) -> None:
    """As `sam deploy` meets it, which updates what is there, and in AWS's words."""
    cloudformation, name = cloud.client("cloudformation"), unique("stack")
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"KmsKeyId": "x"}}}})
    given = {"StackName": name, "TemplateBody": template}
    stack = cloudformation.create_stack(**given)["StackId"]
    assert status_after(cloud, stack) == "ROLLBACK_COMPLETE"
    no_update = f"Stack:{stack} is in ROLLBACK_COMPLETE state and can not be updated."
    no_creation = f"Stack [{name}] already exists and cannot be created again with the changeSet [one]."
    for call, said in (
        (lambda: cloudformation.create_change_set(**given, ChangeSetName="one", ChangeSetType="UPDATE"), no_update),
        (lambda: cloudformation.create_change_set(**given, ChangeSetName="one", ChangeSetType="CREATE"), no_creation),
        (lambda: cloudformation.update_stack(**given), no_update),
        (lambda: cloudformation.create_stack(**given), f"Stack [{name}] already exists"),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Message"] == said
    cloudformation.delete_stack(StackName=name)
    assert status_after(cloud, stack) == "DELETE_COMPLETE"
    assert cloudformation.create_stack(**given)["StackId"] != stack


def test_a_property_inside_another_that_does_not_exist_fails_the_stack(cloud: Cloud) -> None:
    rules = [{"Id": "runs", "Status": "Enabled", "ExpirationInDays": 9}, {"Status": "Enabled", "ExpiresInDays": 9}]
    stack, status = create(cloud, Bucket=bucket(unique("bucket"), LifecycleConfiguration={"Rules": rules}))
    assert status == "ROLLBACK_COMPLETE"
    said = "[#/LifecycleConfiguration/Rules/1: extraneous key [ExpiresInDays] is not permitted]"
    assert f"Properties validation failed for resource Bucket with message: {said}" in reasons(cloud, stack)


def test_an_update_with_such_a_property_is_rolled_back(cloud: Cloud) -> None:
    name = unique("bucket")
    stack, _ = create(cloud, Bucket=bucket(name))
    changed = bucket(name)
    changed["Properties"]["VersionConfiguration"] = {}
    cloud.client("cloudformation").update_stack(
        StackName=stack, TemplateBody=json.dumps({"Resources": {"Bucket": changed}})
    )
    assert status_after(cloud, stack) == "UPDATE_ROLLBACK_COMPLETE"
    said = "Bucket with message: [#: extraneous key [VersionConfiguration] is not permitted]"
    assert f"Properties validation failed for resource {said}" in reasons(cloud, stack)


@pytest.mark.parametrize("deleted", [False, True], ids=["an object", "only versions"])
def test_a_stack_with_a_bucket_that_is_not_empty_is_not_deleted(cloud: Cloud, *, deleted: bool) -> None:
    name, s3 = unique("bucket"), cloud.client("s3")
    stack, _ = create(cloud, Bucket=bucket(name))
    version = s3.put_object(Bucket=name, Key="model", Body=b"1")["VersionId"]
    if deleted:
        s3.delete_object(Bucket=name, Key="model")
    cloud.client("cloudformation").delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_FAILED"
    assert any("The bucket you tried to delete is not empty" in reason for reason in reasons(cloud, stack))
    assert s3.get_object(Bucket=name, Key="model", VersionId=version)["Body"].read() == b"1"


def test_a_bucket_to_retain_outlives_its_stack_with_its_objects(cloud: Cloud) -> None:
    name, s3 = unique("bucket"), cloud.client("s3")
    stack, _ = create(cloud, Bucket=bucket(name, "Retain"))
    s3.put_object(Bucket=name, Key="model", Body=b"1")
    cloud.client("cloudformation").delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_COMPLETE"
    assert s3.get_object(Bucket=name, Key="model")["Body"].read() == b"1"


def test_an_empty_bucket_goes_with_its_stack(cloud: Cloud) -> None:
    name = unique("bucket")
    stack, _ = create(cloud, Bucket=bucket(name))
    cloud.client("cloudformation").delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_COMPLETE"
    with pytest.raises(ClientError, match="404"):
        cloud.client("s3").head_bucket(Bucket=name)


WRONG = {"Type": "AWS::SNS::Topic", "DependsOn": "Bucket", "Properties": {"KmsKeyId": "x"}}


@pytest.mark.parametrize(("policy", "stays"), [("Retain", True), ("RetainExceptOnCreate", False)])
def test_a_bucket_of_a_failed_creation_is_kept_or_not_as_its_policy_says(
    cloud: Cloud, policy: str, *, stays: bool
) -> None:
    name = unique("bucket")
    _, status = create(cloud, Bucket=bucket(name, policy), Topic=WRONG)
    assert status == "ROLLBACK_COMPLETE"
    assert (name in [item["Name"] for item in cloud.client("s3").list_buckets()["Buckets"]]) == stays


def test_a_bucket_that_is_kept_but_for_a_failed_creation_outlives_its_stack(cloud: Cloud) -> None:
    name = unique("bucket")
    stack, _ = create(cloud, Bucket=bucket(name, "RetainExceptOnCreate"))
    cloud.client("cloudformation").delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_COMPLETE"
    cloud.client("s3").head_bucket(Bucket=name)


@pytest.fixture
def delete(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """What `make delete` does."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the credentials of another local cloud
    return lambda stack: perennial("delete", stack, "--yes")


def test_a_stack_whose_creation_failed_can_be_deleted(cloud: Cloud, delete: Callable[[str], Result]) -> None:
    stack, _ = create(cloud, Bucket=bucket(unique("bucket"), "RetainExceptOnCreate"), Topic=WRONG)
    name = stack.split("/")[1]
    ended = delete(name)
    assert ended.exit_code == 0
    assert ended.stdout == f"deleted stack {name}\nkept: nothing\n"
    ended = delete(name)
    assert ended.exit_code == 1
    assert f"error: there is no stack {name}: " in ended.stderr


def test_a_stack_without_outputs_can_be_deleted_and_what_stays_is_named(
    cloud: Cloud, delete: Callable[[str], Result]
) -> None:
    name = unique("bucket")
    stack, _ = create(cloud, Bucket=bucket(name, "Retain"))
    ended = delete(stack)
    assert ended.exit_code == 0
    assert f"kept: bucket {name}\n" in ended.stdout


def test_a_stack_whose_exports_another_one_has_is_not_deleted_before_it(
    cloud: Cloud, delete: Callable[[str], Result]
) -> None:
    cloudformation, exports, imports = cloud.client("cloudformation"), unique("exports"), unique("imports")
    outputs = {"Arn": {"Value": {"Ref": "Topic"}, "Export": {"Name": f"{exports}-Arn"}}}
    parameters = {"ModelName": {"Type": "String", "Default": "used-cars"}}
    topic = {"Type": "AWS::SNS::Topic", "Properties": {}}
    importing = {**topic, "Properties": {"DisplayName": {"Fn::ImportValue": f"{exports}-Arn"}}}
    for name, resource, more in ((exports, topic, {"Outputs": outputs}), (imports, importing, {})):
        template = json.dumps({"Parameters": parameters, "Resources": {"Topic": resource}, **more})
        cloudformation.create_stack(StackName=name, TemplateBody=template)
        assert status_after(cloud, name) == "CREATE_COMPLETE"
    ended = delete(exports)
    assert ended.exit_code == 1
    assert f"nothing was deleted: {imports} uses what {exports} exports; delete that first" in ended.stderr
    for name in (imports, exports):
        assert delete(name).exit_code == 0


def test_what_could_not_be_deleted_is_told_with_its_reason(cloud: Cloud, delete: Callable[[str], Result]) -> None:
    name = unique("bucket")
    stack, _ = create(cloud, Bucket=bucket(name))
    cloud.client("s3").put_object(Bucket=name, Key="model", Body=b"1")
    ended = delete(stack)
    assert ended.exit_code == 1
    assert "Bucket: The bucket you tried to delete is not empty" in ended.stderr


def test_a_state_machine_that_leads_nowhere_fails_the_stack(cloud: Cloud) -> None:
    definition = {"StartAt": "${Start}", "States": {"Only": {"Type": "Succeed"}}}
    properties = {"Definition": definition, "DefinitionSubstitutions": {"Start": "Nowhere"}, "RoleArn": ROLE}
    stack, status = create(cloud, Machine={"Type": "AWS::StepFunctions::StateMachine", "Properties": properties})
    assert status == "ROLLBACK_COMPLETE"
    said = "MISSING_TRANSITION_TARGET: Missing 'Next' target: Nowhere at /StartAt"
    assert any(said in reason and "Error Code: InvalidDefinition" in reason for reason in reasons(cloud, stack))


def test_a_standard_parameter_has_4096_characters_and_an_advanced_one_more(cloud: Cloud) -> None:
    ssm, name = cloud.client("ssm"), unique("/parameter")
    given = {"Name": name, "Type": "String", "Overwrite": True}
    ssm.put_parameter(**given, Value="x" * 4096)
    with pytest.raises(ssm.exceptions.ClientError, match="support a maximum parameter value of 4096 characters") as met:
        ssm.put_parameter(**given, Value="x" * 4097)
    assert met.value.response["Error"]["Code"] == "ValidationException"
    assert len(ssm.get_parameter(Name=name)["Parameter"]["Value"]) == 4096
    ssm.put_parameter(**given, Value="x" * 4097, Tier="Advanced")
    ssm.put_parameter(**given, Value="x" * 4098)  # it stays advanced


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Tags": [{"Key": "a", "Value": "b"}], "Policy": {"Statement": [{"Any": 1}]}, "Name": "x"}, []),
        ({"Name": "x", "Zone": 1, "Acl": 1}, [("#", "Acl"), ("#", "Zone")]),
        ({"Tags": [{"Key": "a"}, {"key": "b", "Value": "c"}], "Acl": 1}, [("#", "Acl"), ("#/Tags/1", "key")]),
        ({"Set": {"Inner": {"Deep": [[{"Wrong": 1}]]}}}, [("#/Set/Inner/Deep/0/0", "Wrong")]),
        ({"Name": {"any": "thing"}, "Tags": "none", "Set": None}, []),
        (None, []),
    ],
)
def test_every_name_that_does_not_exist_is_told_with_its_place(given: Any, said: list[tuple[str, str]]) -> None:
    known = {
        "Name": None, "Policy": None, "Tags": {"Key": None, "Value": None}, "Set": {"Inner": {"Deep": {"Right": None}}},
    }  # fmt: skip
    found = list(unknown_properties.extraneous(given, known))
    assert found == [f"{path}: extraneous key [{name}] is not permitted" for path, name in said]


def test_free_documents_have_any_names() -> None:
    known = json.loads(unknown_properties.PROPERTIES.read_text())
    free = {
        "AWS::Events::Rule": ["EventPattern"],
        "AWS::IAM::Role": ["AssumeRolePolicyDocument", "Policies.PolicyDocument"],
        "AWS::Lambda::Function": ["Environment.Variables"],
        "AWS::SSM::Parameter": ["Tags"],
        "AWS::SNS::TopicPolicy": ["PolicyDocument"],
        "AWS::StepFunctions::StateMachine": ["Definition", "DefinitionSubstitutions"],
    }
    for resource_type, paths in free.items():
        for path in paths:
            inside = known[resource_type]
            for name in path.split("."):
                inside = inside[name]
            assert inside is None, (resource_type, path)


def test_a_model_package_group_comes_with_a_stack_and_goes_with_it_when_it_is_empty(cloud: Cloud) -> None:
    sagemaker, cloudformation, name = cloud.client("sagemaker"), cloud.client("cloudformation"), unique("group")
    policy = {"Version": "2012-10-17", "Statement": []}
    properties = {"ModelPackageGroupName": name, "ModelPackageGroupPolicy": policy}
    group = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}
    output = {"Arn": {"Value": {"Ref": "Group"}}}
    template = json.dumps({"Resources": {"Group": group}, "Outputs": output})
    stack = cloudformation.create_stack(StackName=name, TemplateBody=template, Tags=[{"Key": "a", "Value": "1"}])[
        "StackId"
    ]
    assert status_after(cloud, stack) == "CREATE_COMPLETE"
    arn = sagemaker.describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
    in_force = sagemaker.get_model_package_group_policy(ModelPackageGroupName=name)["ResourcePolicy"]
    assert json.loads(in_force) == policy
    assert cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"][0]["OutputValue"] == arn
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert (tags["a"], tags["aws:cloudformation:stack-name"]) == ("1", name)

    containers = [{"Image": "x/sagemaker-xgboost:3.2-0", "ModelDataUrl": "s3://b/m.tar.gz"}]
    version = sagemaker.create_model_package(
        ModelPackageGroupName=name, InferenceSpecification={"Containers": containers}
    )["ModelPackageArn"]
    cloudformation.delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_FAILED"
    assert any("still has model packages" in reason for reason in reasons(cloud, stack))
    sagemaker.delete_model_package(ModelPackageName=version)
    cloudformation.delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_COMPLETE"
    assert sagemaker.list_model_package_groups(NameContains=name)["ModelPackageGroupSummaryList"] == []


def test_a_model_package_group_that_somebody_has_deleted_is_not_in_the_way_of_its_stack(cloud: Cloud) -> None:
    name = unique("group")
    group = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": name}}
    stack, status = create(cloud, Group=group)
    assert status == "CREATE_COMPLETE"
    cloud.client("sagemaker").delete_model_package_group(ModelPackageGroupName=name)
    cloud.client("cloudformation").delete_stack(StackName=stack)
    assert status_after(cloud, stack) == "DELETE_COMPLETE"


# ---- A role's boundary


def bounded(name: str, boundary: str | None) -> dict[str, Any]:
    """A role that may use parameters and keys, and a policy that bounds it to what is called or tagged so."""
    key = {"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"}
    own = {"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": f"arn:aws:ssm:*:*:parameter/{name}/*"}
    tagged = {**key, "Condition": {"StringEquals": {"aws:ResourceTag/Stack": name}}}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}
    by_root = {**trust, "Principal": {"AWS": "arn:aws:iam::000000000000:root"}}
    may = policy({"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": "*"}, key)
    role = {
        "RoleName": name,
        "AssumeRolePolicyDocument": json.loads(policy(trust, by_root)),
        "Policies": [{"PolicyName": "may", "PolicyDocument": json.loads(may)}],
    }
    bounds = {"ManagedPolicyName": f"bounds-{name}", "PolicyDocument": json.loads(policy(own, tagged))}
    given = {"PermissionsBoundary": boundary} if boundary else {}
    return {
        "Role": {"Type": "AWS::IAM::Role", "DependsOn": "Bounds", "Properties": {**role, **given}},
        "Bounds": {"Type": "AWS::IAM::ManagedPolicy", "Properties": bounds},
    }


def refusals(cloud: Cloud, name: str, keys: list[str]) -> list[str]:
    """What somebody with the role, and a state machine under it, may not do, of its own things and of others'."""
    arn, found = f"arn:aws:iam::000000000000:role/{name}", list[str]()
    session = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="ada")["Credentials"]
    ask = Session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"], region_name="us-east-1")
    for place in (name, "other"):
        put = {"Name": f"/{place}/x", "Value": "1", "Type": "String", "Overwrite": True}
        task = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:ssm:putParameter", "Arguments": put, "End": True}
        ended = run_machine(cloud, {"StartAt": "Put", "States": {"Put": task}}, role=arn)
        if ended["status"] != "SUCCEEDED":
            assert "is not authorized to perform: ssm:PutParameter" in ended["cause"]
            found.append(f"task {place}")
        with suppress(ClientError):
            ask.client("ssm", endpoint_url=cloud.endpoint_url).put_parameter(**put)
            continue
        found.append(f"put {place}")
    for key in keys:
        with suppress(ClientError):
            ask.client("kms", endpoint_url=cloud.endpoint_url).describe_key(KeyId=key)
            continue
        found.append(f"key {keys.index(key)}")
    return found


def test_a_role_of_a_stack_may_what_its_boundary_allows_as_well(cloud: Cloud) -> None:
    name, kms = unique("bounded"), cloud.client("kms")
    keys = [
        kms.create_key(Tags=[{"TagKey": "Stack", "TagValue": value}])["KeyMetadata"]["KeyId"]
        for value in (name, "other")
    ]
    boundary = f"arn:aws:iam::000000000000:policy/bounds-{name}"
    stack, status = create(cloud, **bounded(name, boundary))
    assert status == "CREATE_COMPLETE"
    assert refusals(cloud, name, keys) == ["task other", "put other", "key 1"]
    template = json.dumps({"Resources": bounded(name, None)})
    cloud.client("cloudformation").update_stack(
        StackName=stack, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    assert status_after(cloud, stack) == "UPDATE_COMPLETE"
    assert refusals(cloud, name, keys) == []


def test_a_boundary_that_is_not_there_fails_the_stack(cloud: Cloud) -> None:
    stack, status = create(cloud, **bounded(unique("unbounded"), "arn:aws:iam::000000000000:policy/nobody-s"))
    assert status == "ROLLBACK_COMPLETE"
    assert any("nobody-s" in reason for reason in reasons(cloud, stack)), reasons(cloud, stack)
