"""The local model registry: groups, versions, approval, and what is refused."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from localcloud.sagemaker.api.events import package_detail
from localcloud.sagemaker.endpoints.models import containers
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.platform.aws import Aws, Credentials
from localcloud.sagemaker.service import SageMakerService
from tests.waiting import wait_for

ARN = "arn:aws:sagemaker:eu-west-1:000000000000"
IMAGE = "000000000000.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"
FIRST = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/first.tar.gz", "Environment": {"A": "1"}}
SECOND = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/second.tar.gz"}
ROLE = "arn:aws:iam::000000000000:role/model"


MISSING = ClientError({"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "HeadObject")  # type: ignore[typeddict-item]


class Registry:
    """A service with one group, and the events that it sends."""

    def __init__(self, state: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.service = SageMakerService(
            state,
            "http://127.0.0.1:1",
            "eu-west-1",
            "000000000000",
            Path("python"),
            credentials=Credentials("key", "secret"),
            put_event=self.events.append,
        )

    def __call__(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.service.handle(operation, request)

    def register(self, **members: Any) -> str:
        request = {
            "ModelPackageGroupName": "Cars",
            "InferenceSpecification": {"Containers": [FIRST, SECOND]},
            **members,
        }
        return str(self("CreateModelPackage", **request)["ModelPackageArn"])

    def refusal(self, operation: str, **request: Any) -> AwsError:
        with pytest.raises(AwsError) as refused:
            self(operation, **request)
        return refused.value

    def listed(self, **request: Any) -> list[int]:
        listed = self("ListModelPackages", **{"ModelPackageGroupName": "Cars", **request})
        return [summary["ModelPackageVersion"] for summary in listed["ModelPackageSummaryList"]]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setattr(Aws, "client", lambda *_: Anything())
    registry = Registry(tmp_path)
    registry("CreateModelPackageGroup", ModelPackageGroupName="Cars", Tags=[{"Key": "a", "Value": "1"}])
    yield registry
    registry.service.stop()


class Anything:
    """An S3 that has every object."""

    def head_object(self, **_: Any) -> dict[str, Any]:
        return {}


def test_versions_are_counted_and_their_names_are_lower_case_in_arns(registry: Registry) -> None:
    assert [registry.register(), registry.register()] == [f"{ARN}:model-package/cars/1", f"{ARN}:model-package/cars/2"]
    registry("DeleteModelPackage", ModelPackageName=f"{ARN}:model-package/cars/2")
    assert registry.register() == f"{ARN}:model-package/cars/3"  # a number is given once


def test_a_version_is_described_as_it_was_registered(registry: Registry) -> None:
    quality = {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://bucket/statistics.json"}}
    arn = registry.register(
        ModelMetrics={"ModelQuality": quality},
        CustomerMetadataProperties={"hyperparameter:eta": "0.2", "data": "über/1 = a+b@c"},
        SkipModelValidation="All",
    )
    described = registry("DescribeModelPackage", ModelPackageName=arn)
    assert described["ModelPackageGroupName"] == "Cars"
    assert described["ModelMetrics"] == {"ModelQuality": quality}
    assert described["CustomerMetadataProperties"]["data"] == "über/1 = a+b@c"
    assert (described["ModelPackageStatus"], described["ModelApprovalStatus"]) == ("Completed", "PendingManualApproval")
    assert "ClientToken" not in described
    assert described == registry("DescribeModelPackage", ModelPackageName="Cars/1")


def test_a_request_that_is_sent_again_makes_no_second_version(registry: Registry) -> None:
    assert registry.register(ClientToken="one") == registry.register(ClientToken="one")
    assert registry.register(ClientToken="two") == f"{ARN}:model-package/cars/2"
    assert registry.listed() == [1, 2]


def test_two_requests_with_one_token_make_one_version_however_close_they_are(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        arns = set(pool.map(lambda _: registry.register(ClientToken="one"), range(24)))
    assert (arns, registry.listed()) == ({f"{ARN}:model-package/cars/1"}, [1])


def test_no_version_is_left_without_its_group_whoever_deletes_it_meanwhile(registry: Registry) -> None:
    def register_or_delete(number: int) -> str:
        try:
            if number % 2:
                return registry.register()
            return str(registry("DeleteModelPackageGroup", ModelPackageGroupName="Cars"))
        except AwsError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(register_or_delete, range(24)))
    versions = [answer for answer in answers if answer.startswith("arn:")]
    there = registry("ListModelPackageGroups")["ModelPackageGroupSummaryList"]
    assert len(there) == (1 if versions else 0)
    assert set(answers) - set(versions) <= {"{}", "ValidationException", "ConflictException"}


@pytest.mark.parametrize(
    "token",
    ["LTU=", "MWU0MDA=", "dHJ1ZQ==", "MS41", "bnVsbA==", "W10=", "é", "=", "MTIzNDU2Nzg5MDEyMzQ=", "SW5maW5pdHk="],
)
def test_a_forged_token_of_a_page_is_refused(registry: Registry, token: str) -> None:
    registry.register()
    for operation in ("ListModelPackages", "ListModelPackageGroups"):
        assert registry.refusal(operation, NextToken=token).code == "ValidationException"
    group = f"{ARN}:model-package-group/cars"
    assert registry.refusal("ListTags", ResourceArn=group, NextToken=token).code == "ValidationException"


@pytest.mark.parametrize("place", ["eu-west-9:000000000000", "eu-west-1:999999999999"])
def test_a_group_of_another_account_or_region_has_no_tags(registry: Registry, place: str) -> None:
    elsewhere = f"arn:aws:sagemaker:{place}:model-package-group/cars"
    assert (
        "Could not find"
        in registry.refusal("AddTags", ResourceArn=elsewhere, Tags=[{"Key": "b", "Value": "2"}]).message
    )
    assert registry("ListTags", ResourceArn=f"{ARN}:model-package-group/Cars")["Tags"] == [{"Key": "a", "Value": "1"}]


def test_a_token_does_not_stand_for_another_request(registry: Registry) -> None:
    registry.register(ClientToken="one")
    with pytest.raises(AwsError, match="ConflictException: ClientToken one"):
        registry.register(ClientToken="one", ModelPackageDescription="another")


def test_versions_outlive_a_restart(registry: Registry, tmp_path: Path) -> None:
    arn = registry.register(ClientToken="one")
    again = Registry(tmp_path)
    assert again("DescribeModelPackage", ModelPackageName=arn)["ModelPackageVersion"] == 1
    assert (again.register(ClientToken="one"), again.register()) == (arn, f"{ARN}:model-package/cars/2")
    again.service.stop()


def test_an_approval_is_recorded_and_announced_with_what_it_changed(registry: Registry) -> None:
    arn = registry.register()
    registry("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good")
    described = registry("DescribeModelPackage", ModelPackageName=arn)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == ("Approved", "good")
    wait_for(lambda: len(registry.events) == 2, "two events", 5)
    created, approved = registry.events
    assert created["DetailType"] == approved["DetailType"] == "SageMaker Model Package State Change"
    assert approved["Resources"] == [arn]
    assert '"UpdatedModelPackageFields": ["ModelApprovalStatus", "ApprovalDescription"]' in approved["Detail"]
    assert "UpdatedModelPackageFields" not in created["Detail"]


def test_times_of_an_event_are_iso_8601() -> None:
    assert package_detail({"CreationTime": 1614186014.25}, []) == {
        "CreationTime": "2021-02-24T17:00:14Z",
        "UpdatedModelPackageFields": [],
    }


def test_metadata_are_merged_and_taken_away(registry: Registry) -> None:
    arn = registry.register(CustomerMetadataProperties={"a": "1", "b": "2"})
    registry(
        "UpdateModelPackage",
        ModelPackageArn=arn,
        CustomerMetadataProperties={"b": "3", "c": "4"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    described = registry("DescribeModelPackage", ModelPackageName=arn)
    assert described["CustomerMetadataProperties"] == {"b": "3", "c": "4"}


def test_an_update_that_says_a_part_of_what_is_there_takes_nothing_away(registry: Registry) -> None:
    arn = registry.register(CustomerMetadataProperties={"a": "1", "b": "2"})
    registry("UpdateModelPackage", ModelPackageArn=arn, CustomerMetadataProperties={"a": "1"})
    described = registry("DescribeModelPackage", ModelPackageName=arn)
    assert described["CustomerMetadataProperties"] == {"a": "1", "b": "2"}


def test_of_an_approval_and_a_rejection_at_once_the_last_one_holds_and_both_are_announced(registry: Registry) -> None:
    arn, statuses = registry.register(), ["Approved", "Rejected"] * 10
    with ThreadPoolExecutor(8) as pool:
        for status in statuses:
            pool.submit(registry, "UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus=status)
    wait_for(lambda: len(registry.events) == 1 + len(statuses), "an event of each", 5)
    last = json.loads(registry.events[-1]["Detail"])["ModelApprovalStatus"]
    assert registry("DescribeModelPackage", ModelPackageName=arn)["ModelApprovalStatus"] == last


def test_more_metadata_than_aws_takes_are_refused(registry: Registry) -> None:
    arn = registry.register(CustomerMetadataProperties={str(number): "1" for number in range(50)})
    refused = registry.refusal("UpdateModelPackage", ModelPackageArn=arn, CustomerMetadataProperties={"51": "1"})
    assert "would have 51 entries" in refused.message


@pytest.mark.parametrize("value", ["", "a,b", '{"a": 1}', "a" * 257], ids=["empty", "comma", "JSON", "long"])
def test_metadata_outside_the_pattern_are_refused(registry: Registry, value: str) -> None:
    with pytest.raises(AwsError, match="customerMetadataProperties"):
        registry.register(CustomerMetadataProperties={"a": value})


def test_lists_are_in_order_by_status_and_in_pages(registry: Registry) -> None:
    for status in ("Approved", "Rejected", "Approved"):
        registry.register(ModelApprovalStatus=status)
    newest = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    assert registry.listed() == [1, 2, 3]  # ascending, as the API says of these lists
    assert registry.listed(**newest) == [3, 2, 1]
    assert registry.listed(ModelApprovalStatus="Approved", MaxResults=1, **newest) == [3]
    page = registry("ListModelPackages", ModelPackageGroupName="Cars", MaxResults=2)
    assert registry.listed(MaxResults=2, NextToken=page["NextToken"]) == [3]
    assert registry("ListModelPackages") == {"ModelPackageSummaryList": []}  # without a group: unversioned ones
    both = registry("ListModelPackages", ModelPackageType="Both")
    assert len(both["ModelPackageSummaryList"]) == 3


def test_ten_versions_of_one_moment_are_in_the_order_of_their_numbers(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localcloud.sagemaker.registry.packages.now", lambda: 1.0)
    for _ in range(11):
        registry.register()
    assert registry.listed(MaxResults=100) == [*range(1, 12)]


def test_several_versions_are_described_at_once(registry: Registry) -> None:
    arn = registry.register(ModelApprovalStatus="Approved")
    answer = registry("BatchDescribeModelPackage", ModelPackageArnList=[arn, f"{arn}0"])
    assert answer["ModelPackageSummaries"][arn]["ModelApprovalStatus"] == "Approved"
    error = answer["BatchDescribeModelPackageErrorMap"][f"{arn}0"]
    assert error == {"ErrorCode": "ValidationException", "ErrorResponse": f"ModelPackage {arn}0 does not exist."}


def test_a_group_with_versions_is_not_deleted(registry: Registry) -> None:
    arn = registry.register()
    assert registry.refusal("DeleteModelPackageGroup", ModelPackageGroupName="Cars").code == "ConflictException"
    registry("DeleteModelPackage", ModelPackageName=arn)
    registry("DeleteModelPackageGroup", ModelPackageGroupName=f"{ARN}:model-package-group/cars")
    assert registry("ListModelPackageGroups")["ModelPackageGroupSummaryList"] == []


def test_a_group_has_tags_and_a_version_has_none_of_its_own(registry: Registry) -> None:
    group = f"{ARN}:model-package-group/cars"
    assert registry("ListTags", ResourceArn=group) == {"Tags": [{"Key": "a", "Value": "1"}]}
    with pytest.raises(AwsError, match="tags of its group"):
        registry.register(Tags=[{"Key": "a", "Value": "1"}])


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("CreateModelPackageGroup", {"ModelPackageGroupName": "cars"}, "Model Package Group already exists: "),
    ("DescribeModelPackageGroup", {"ModelPackageGroupName": "x"}, "model-package-group/x does not exist."),
    ("DescribeModelPackage", {"ModelPackageName": "cars/1"}, "model-package/cars/1 does not exist."),
    ("ListModelPackages", {"ModelPackageGroupName": "x"}, "does not exist."),
    ("ListModelPackages", {"ModelPackageGroupName": "cars", "NameContains": "c"}, "not supported"),
    ("CreateModelPackage", {"ModelPackageGroupName": "cars"}, "'inferenceSpecification'"),
    ("CreateModelPackage", {"InferenceSpecification": {"Containers": [FIRST]}}, "'modelPackageGroupName'"),
    ("CreateModelPackage", {"ModelPackageGroupName": "cars", "ModelPackageName": "x"}, "Both ModelPackageName and"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "request_", "text"), REFUSED, ids=[f"{one[0]}: {one[2][:30]}" for one in REFUSED]
)
def test_what_is_refused_says_why(registry: Registry, operation: str, request_: dict[str, Any], text: str) -> None:
    refused = registry.refusal(operation, **request_)
    assert refused.code == "ValidationException"
    assert text in refused.message


# ---- A version is deployed


def test_a_model_is_made_of_all_containers_of_an_approved_version(registry: Registry) -> None:
    arn = registry.register(ModelApprovalStatus="Approved")
    registry("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": arn})
    registry("DeleteModelPackage", ModelPackageName=arn)  # what is deployed serves on
    stored = registry.service.store.get("model", "m")
    assert stored is not None
    assert containers(stored) == [FIRST, SECOND]
    described = registry("DescribeModel", ModelName="m")
    assert described["PrimaryContainer"] == {"ModelPackageName": arn}
    assert "DeployedContainers" not in described


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_a_version_that_is_not_approved_is_not_deployed(registry: Registry, status: str) -> None:
    container = {"ModelPackageName": registry.register(ModelApprovalStatus=status)}
    refused = registry.refusal("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert f"is {status}; expected Approved" in refused.message


def test_an_approved_version_whose_archive_is_gone_is_not_deployed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = {"ModelPackageName": registry.register(ModelApprovalStatus="Approved")}
    monkeypatch.setattr(Anything, "head_object", Mock(side_effect=MISSING))
    refused = registry.refusal("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert refused.message == "Could not find model data at s3://bucket/first.tar.gz."


def test_a_variable_of_a_container_replaces_that_of_the_version(registry: Registry) -> None:
    arn = registry.register(InferenceSpecification={"Containers": [FIRST]}, ModelApprovalStatus="Approved")
    container = {"ModelPackageName": arn, "Environment": {"B": "2"}}
    registry("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    stored = registry.service.store.get("model", "m")
    assert stored is not None
    assert containers(stored)[0]["Environment"] == {"A": "1", "B": "2"}


def test_a_group_has_the_policy_that_it_was_given_last_and_shows_it_nowhere_else(registry: Registry) -> None:
    group = {"ModelPackageGroupName": "Cars"}
    missing = registry.refusal("GetModelPackageGroupPolicy", **group)
    assert missing.message.startswith("Cannot find resource policy for: arn:aws:sagemaker:")
    for text in ('{"Statement": []}', '{"Version": "2012-10-17"}'):
        registry("PutModelPackageGroupPolicy", **group, ResourcePolicy=text)
        assert registry("GetModelPackageGroupPolicy", **group) == {"ResourcePolicy": text}
    assert "ResourcePolicy" not in registry("DescribeModelPackageGroup", **group)
    refused = registry.refusal("PutModelPackageGroupPolicy", **group, ResourcePolicy="nothing")
    assert "is not valid" in refused.message
    registry("DeleteModelPackageGroupPolicy", **group)
    assert registry.refusal("GetModelPackageGroupPolicy", **group).message == missing.message


def test_a_version_says_who_has_registered_and_who_has_changed_it(registry: Registry) -> None:
    from localcloud import access

    made, changed = ({"IamIdentity": {"Arn": f"arn:{name}", "PrincipalId": name}} for name in ("run", "ada"))
    arn = registry.register()
    assert registry("DescribeModelPackage", ModelPackageName=arn)["CreatedBy"] == {}, "nobody has asked from outside"
    access.caller.set(made)
    arn = registry.register()
    access.caller.set(changed)
    registry("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved")
    described = registry("DescribeModelPackage", ModelPackageName=arn)
    assert (described["CreatedBy"], described["LastModifiedBy"]) == (made, changed)
    access.caller.set({})


def test_a_service_that_is_stopped_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # other tests' services may not have been stopped
    service = Registry(tmp_path).service
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("sagemaker")]
    assert threads

    service.stop()

    wait_for(lambda: not any(thread.is_alive() for thread in threads), "the end of its threads", 10, pause=0.01)
