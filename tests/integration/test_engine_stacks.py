"""Stacks whose template or deletion AWS refuses."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.engine import resources
from tests.integration.conftest import Cloud, unique
from tests.waiting import wait_for

ENDED = ("COMPLETE", "FAILED")


def status_after(cloud: Cloud, stack: str) -> str:
    """The status of a stack once nothing is in progress."""

    def ended() -> str | None:
        described = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return str(described) if described.endswith(ENDED) else None

    return wait_for(ended, f"end of what {stack} does")


def create(cloud: Cloud, **stack_resources: dict[str, Any]) -> tuple[str, str]:
    """The id and the status of a new stack of these resources."""
    template = json.dumps({"Resources": stack_resources})
    made = cloud.client("cloudformation").create_stack(StackName=unique("stack"), TemplateBody=template)
    return str(made["StackId"]), status_after(cloud, made["StackId"])


def reasons(cloud: Cloud, stack: str) -> list[str]:
    events = cloud.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    return [event.get("ResourceStatusReason", "") for event in events]


def bucket(name: str, **attributes: Any) -> dict[str, Any]:
    versioning = {"VersioningConfiguration": {"Status": "Enabled"}}
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name, **versioning}, **attributes}


def test_a_property_that_a_resource_does_not_have_fails_the_stack(cloud: Cloud) -> None:
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": unique("topic"), "KmsKeyId": "x"}}
    stack, status = create(cloud, Topic=topic)
    assert status == "ROLLBACK_COMPLETE"
    assert any("Encountered unsupported property KmsKeyId" in reason for reason in reasons(cloud, stack))


def test_an_update_with_such_a_property_is_rolled_back(cloud: Cloud) -> None:
    name = unique("bucket")
    stack, _ = create(cloud, Bucket=bucket(name))
    changed = bucket(name)
    changed["Properties"]["VersionConfiguration"] = {}
    cloud.client("cloudformation").update_stack(
        StackName=stack, TemplateBody=json.dumps({"Resources": {"Bucket": changed}})
    )
    assert status_after(cloud, stack) == "UPDATE_ROLLBACK_COMPLETE"
    assert any("Encountered unsupported property VersionConfiguration" in reason for reason in reasons(cloud, stack))


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
    stack, _ = create(cloud, Bucket=bucket(name, DeletionPolicy="Retain"))
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


def test_the_first_unknown_property_is_named() -> None:
    known = frozenset({"BucketName", "Tags"})
    assert resources.unsupported({"Tags": [], "Zone": 1, "Acl": 1}, known) == "Acl"
    assert resources.unsupported({"Tags": []}, known) is None
    assert resources.unsupported(None, known) is None
