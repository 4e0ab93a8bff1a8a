"""Every operation of the local SageMaker: its answers against botocore's model, its refusals against AWS's texts."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from botocore.validate import ParamValidator

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.service import SageMakerService
from tests.integration.conftest import Cloud, unique, watch_events
from tests.integration.localcloud.sagemaker.test_tuning_jobs import ETA, FOREVER, ROUNDS, STATIC, tuning
from tests.integration.sagemaker_requests import (
    ROLE,
    XGBOOST,
    Document,
    end,
    numbers,
    processing,
    training,
    transform,
)
from tests.waiting import wait_for

SOLD = "2026-11-29T10:15:00Z"
ACCOUNT = "arn:aws:sagemaker:us-east-1:000000000000"


class CheckedService:
    """Answers like the service, and refuses any answer that botocore's own model does not allow."""

    def __init__(self, service: SageMakerService) -> None:
        self.service = service
        self.called: set[str] = set()

    def __call__(self, operation: str, **request: Any) -> Document:
        answer = self.service.handle(operation, request)
        shape = requests.output_shape(operation)
        self.called.add(operation)
        if shape is None:
            assert answer == {}
        else:
            # AWS leaves ModelArtifacts out until there is a model, though its own model calls it required.
            early = {"ModelArtifacts": {"S3ModelArtifacts": ""}} if operation == "DescribeTrainingJob" else {}
            # Nor has a version a name: Developer Guide, "View and edit the details of a model version".
            early |= {"ModelPackageName": "none"} if operation == "DescribeModelPackage" else {}
            problems = ParamValidator().validate(early | answer, shape)
            assert not problems.has_errors(), f"{operation}: {problems.generate_report()}"
        return answer


@pytest.fixture
def checked(cloud: Cloud, tmp_path: Path) -> Iterator[CheckedService]:
    service = SageMakerService(
        tmp_path,
        cloud.endpoint_url,
        cloud.region,
        "000000000000",
        cloud.image_python,
        credentials=cloud.credentials(),
        put_event=lambda event: None,
        stop_grace_seconds=0.3,
    )
    service.start()
    yield CheckedService(service)
    service.stop()


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("api")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name)
    for prefix in ("train", "validation"):
        s3.put_object(Bucket=name, Key=f"{prefix}/part-00000.csv", Body=numbers(100))
    s3.put_object(Bucket=name, Key="score/a.csv", Body=b"1,2\n")
    s3.put_object(Bucket=name, Key="model.tar.gz", Body=b"never unpacked")
    return name


def in_service(checked: CheckedService, name: str) -> Document | None:
    described = checked("DescribeEndpoint", EndpointName=name)
    return described if described["EndpointStatus"] == "InService" else None


def test_every_answer_of_every_operation_has_the_shape_of_the_model(checked: CheckedService, bucket: str) -> None:
    jobs(checked, bucket)
    tuning_jobs(checked, bucket)
    models_and_endpoints(checked)
    registry(checked, bucket)
    feature_groups(checked, bucket)
    tags(checked)
    deletions(checked)
    assert checked.called == set(checked.service.supported)


def feature_groups(checked: CheckedService, bucket: str) -> None:
    checked("CreateFeatureGroup", **cars(bucket))
    checked("DescribeFeatureGroup", FeatureGroupName="cars")
    checked("ListFeatureGroups")
    colour = {"FeatureName": "colour", "FeatureType": "String"}
    checked("UpdateFeatureGroup", FeatureGroupName="cars", FeatureAdditions=[colour])
    checked("DeleteFeatureGroup", FeatureGroupName="cars")


def cars(bucket: str) -> Document:
    return {
        "FeatureGroupName": "cars",
        "RecordIdentifierFeatureName": "vin",
        "EventTimeFeatureName": "sold",
        "FeatureDefinitions": [{"FeatureName": name, "FeatureType": "String"} for name in ("vin", "sold")],
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        "OfflineStoreConfig": {
            "S3StorageConfig": {"S3Uri": f"s3://{bucket}/lake"},
            "DisableGlueTableCreation": True,
        },
        "RoleArn": ROLE,
    }


def test_records_are_put_and_read_by_boto3_and_reach_the_bucket(cloud: Cloud, bucket: str) -> None:
    cloud.client("sagemaker").create_feature_group(**cars(bucket))
    runtime = cloud.client("sagemaker-featurestore-runtime")
    record = [{"FeatureName": name, "ValueAsString": value} for name, value in (("vin", "a"), ("sold", SOLD))]
    runtime.put_record(FeatureGroupName="cars", Record=record)
    assert runtime.get_record(FeatureGroupName="cars", RecordIdentifierValueAsString="a")["Record"] == record
    one = runtime.get_record(
        FeatureGroupName=f"{ACCOUNT}:feature-group/cars", RecordIdentifierValueAsString="a", FeatureNames=["vin"]
    )
    assert one["Record"] == record[:1]
    wanted = [{"FeatureGroupName": "cars", "RecordIdentifiersValueAsString": ["a", "b"]}]
    assert [found["Record"] for found in runtime.batch_get_record(Identifiers=wanted)["Records"]] == [record]
    other = [{"FeatureName": "vin", "ValueAsString": "b"}, record[1]]
    written = runtime.batch_write_record(Entries=[{"FeatureGroupName": "cars", "Record": other}])
    assert (written["Errors"], written["UnprocessedEntries"]) == ([], [])
    assert runtime.get_record(FeatureGroupName="cars", RecordIdentifierValueAsString="b")["Record"] == other
    later = SOLD.replace("10:", "12:")
    runtime.delete_record(FeatureGroupName="cars", RecordIdentifierValueAsString="a", EventTime=later)
    assert "Record" not in runtime.get_record(FeatureGroupName="cars", RecordIdentifierValueAsString="a")
    with pytest.raises(ClientError, match="no feature 'colour'") as refused:
        runtime.put_record(FeatureGroupName="cars", Record=[{"FeatureName": "colour", "ValueAsString": "red"}])
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    s3, wanted_hours = cloud.client("s3"), {"hour=10", "hour=12"}

    def hours() -> set[str]:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="lake/").get("Contents", [])
        return {item["Key"].split("/")[-2] for item in listed}

    wait_for(lambda: hours() == wanted_hours, "the offline store", 10, pause=0.1)


def jobs(checked: CheckedService, bucket: str) -> None:
    checked("CreateProcessingJob", **processing("p", ""))
    checked("CreateTrainingJob", **training("t", bucket, {"num_round": "1"}))
    for noun, name in (("ProcessingJob", "p"), ("TrainingJob", "t")):
        end(lambda noun=noun, name=name: checked(f"Describe{noun}", **{f"{noun}Name": name}), noun)  # type: ignore[misc]
        checked(f"List{noun}s")
    url = checked("DescribeTrainingJob", TrainingJobName="t")["ModelArtifacts"]["S3ModelArtifacts"]
    for name in ("m1", "m2"):
        container = {"Image": XGBOOST, "ModelDataUrl": url, "Environment": {"A": "b"}}
        checked("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, Containers=[container])
    checked("CreateTransformJob", **transform("b", "m1", f"s3://{bucket}/score/", f"s3://{bucket}/scores"))
    end(lambda: checked("DescribeTransformJob", TransformJobName="b"), "TransformJob")
    checked("ListTransformJobs")
    for noun, request in (
        ("ProcessingJob", processing("p2", "import time; time.sleep(60)")),
        ("TrainingJob", training("t2", bucket, {"num_round": "1000000", "num_parallel_tree": "300"})),
        ("TransformJob", transform("b2", "m1", f"s3://{bucket}/score/", f"s3://{bucket}/scores")),
    ):
        checked(f"Create{noun}", **request)
        checked(f"Stop{noun}", **{f"{noun}Name": request[f"{noun}Name"]})


def tuning_jobs(checked: CheckedService, bucket: str) -> None:
    for name, static in (("h", STATIC), ("h2", FOREVER)):
        ranges = ROUNDS if name == "h" else ETA
        checked("CreateHyperParameterTuningJob", **tuning(name, bucket, ranges, static, limits=(1, 1)))
    checked("StopHyperParameterTuningJob", HyperParameterTuningJobName="h2")
    for name in ("h", "h2"):
        named = {"HyperParameterTuningJobName": name}
        end(lambda named=named: checked("DescribeHyperParameterTuningJob", **named), "HyperParameterTuningJob")  # type: ignore[misc]
        checked("ListTrainingJobsForHyperParameterTuningJob", **named)
        checked("DeleteHyperParameterTuningJob", **named)
    checked("ListHyperParameterTuningJobs")


def models_and_endpoints(checked: CheckedService) -> None:
    checked("DescribeModel", ModelName="m1")
    checked("ListModels")
    for number in ("1", "2"):
        variant = {
            "VariantName": "v",
            "ModelName": f"m{number}",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        checked("CreateEndpointConfig", EndpointConfigName=f"c{number}", ProductionVariants=[variant])
    checked("DescribeEndpointConfig", EndpointConfigName="c1")
    checked("ListEndpointConfigs")
    checked("CreateEndpoint", EndpointName="e", EndpointConfigName="c1")
    wait_for(lambda: in_service(checked, "e"), "the endpoint", 30)
    checked("UpdateEndpoint", EndpointName="e", EndpointConfigName="c2")
    checked("DescribeEndpoint", EndpointName="e")
    wait_for(lambda: in_service(checked, "e"), "the update", 30)
    checked("ListEndpoints")


def registry(checked: CheckedService, bucket: str) -> None:
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}
    checked("CreateModelPackageGroup", ModelPackageGroupName="g")
    checked("DescribeModelPackageGroup", ModelPackageGroupName="g")
    checked("ListModelPackageGroups")
    checked("PutModelPackageGroupPolicy", ModelPackageGroupName="g", ResourcePolicy='{"Statement": []}')
    checked("GetModelPackageGroupPolicy", ModelPackageGroupName="g")
    checked("DeleteModelPackageGroupPolicy", ModelPackageGroupName="g")
    arn = checked("CreateModelPackage", ModelPackageGroupName="g", InferenceSpecification={"Containers": [container]})[
        "ModelPackageArn"
    ]
    checked("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved")
    checked("DescribeModelPackage", ModelPackageName=arn)
    checked("BatchDescribeModelPackage", ModelPackageArnList=[arn, f"{arn}0"])
    checked("ListModelPackages", ModelPackageGroupName="g")
    checked("CreateModel", ModelName="m3", ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": arn})
    checked("DescribeModel", ModelName="m3")
    checked("DeleteModelPackage", ModelPackageName=arn)
    checked("DeleteModelPackageGroup", ModelPackageGroupName="g")


def tags(checked: CheckedService) -> None:
    arn = f"{ACCOUNT}:model/m1"
    checked("AddTags", ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    checked("AddTags", ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    checked("DeleteTags", ResourceArn=arn, TagKeys=["b"])
    assert checked("ListTags", ResourceArn=arn) == {"Tags": [{"Key": "a", "Value": "3"}]}


def deletions(checked: CheckedService) -> None:
    checked("DeleteProcessingJob", ProcessingJobName="p")
    checked("DeleteTrainingJob", TrainingJobName="t")
    checked("DeleteEndpoint", EndpointName="e")
    checked("DeleteEndpointConfig", EndpointConfigName="c1")
    checked("DeleteModel", ModelName="m1")


UNKNOWN = [
    ("DescribeTrainingJob", {"TrainingJobName": "x"}, "ValidationException", "Requested resource not found."),
    ("StopTrainingJob", {"TrainingJobName": "x"}, "ValidationException", "Requested resource not found."),
    (
        "DescribeProcessingJob",
        {"ProcessingJobName": "x"},
        "ValidationException",
        "Could not find requested job with name: x",
    ),
    (
        "DescribeTransformJob",
        {"TransformJobName": "x"},
        "ValidationException",
        "Could not find requested job with name: x",
    ),
    ("DescribeModel", {"ModelName": "X"}, "ValidationException", f'Could not find model "{ACCOUNT}:model/x".'),
    ("DeleteModel", {"ModelName": "x"}, "ValidationException", f'Could not find model "{ACCOUNT}:model/x".'),
    (
        "DescribeEndpointConfig",
        {"EndpointConfigName": "x"},
        "ValidationException",
        f'Could not find endpoint configuration "{ACCOUNT}:endpoint-config/x".',
    ),
    (
        "DescribeEndpoint",
        {"EndpointName": "x"},
        "ValidationException",
        f'Could not find endpoint "{ACCOUNT}:endpoint/x".',
    ),
    (
        "DeleteEndpoint",
        {"EndpointName": "x"},
        "ValidationException",
        f'Could not find endpoint "{ACCOUNT}:endpoint/x".',
    ),
    (
        "DescribeFeatureGroup",
        {"FeatureGroupName": "x"},
        "ResourceNotFound",
        "Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name x",
    ),
    ("DeleteTrainingJob", {"TrainingJobName": "x"}, "ResourceNotFound", "Requested resource not found."),
]


@pytest.mark.parametrize(("operation", "request_", "code", "message"), UNKNOWN, ids=[item[0] for item in UNKNOWN])
def test_what_does_not_exist_is_said_in_aws_words(
    cloud: Cloud, operation: str, request_: Document, code: str, message: str
) -> None:
    client = cloud.client("sagemaker")
    method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation)[1:]
    with pytest.raises(ClientError) as refused:
        getattr(client, method)(**request_)
    assert refused.value.response["Error"] == {"Code": code, "Message": message}
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_models_and_configurations_are_made_once(cloud: Cloud, bucket: str) -> None:
    client, name = cloud.client("sagemaker"), unique("once")
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    for method, request, message in (
        (
            client.create_model,
            {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": ROLE},
            f'Cannot create already existing model "{ACCOUNT}:model/{name}".',
        ),
        (
            client.create_endpoint_config,
            {"EndpointConfigName": name, "ProductionVariants": [variant]},
            f'Cannot create already existing endpoint configuration "{ACCOUNT}:endpoint-config/{name}".',
        ),
    ):
        method(**request)
        with pytest.raises(ClientError) as refused:
            method(**request)
        assert refused.value.response["Error"] == {"Code": "ValidationException", "Message": message}


MODELS: list[tuple[Document, str]] = [
    (
        {"PrimaryContainer": {"Image": XGBOOST, "ModelDataUrl": "s3://{bucket}/none.tar.gz"}},
        "Could not find model data at s3://",
    ),
    ({"PrimaryContainer": {"Image": "x/huggingface:1", "ModelDataUrl": "s3://{bucket}/model.tar.gz"}}, "'huggingface'"),
    ({"PrimaryContainer": {"Image": XGBOOST}}, "ModelDataUrl is required"),
    ({}, "Either PrimaryContainer or Containers must be specified"),
    (
        {"PrimaryContainer": {"Image": XGBOOST, "Mode": "MultiModel", "ModelDataUrl": "s3://{bucket}/model.tar.gz"}},
        "MultiModel is not supported",
    ),
]


@pytest.mark.parametrize(("members", "message"), MODELS, ids=[message for _, message in MODELS])
def test_models_that_could_not_serve_are_refused(cloud: Cloud, bucket: str, members: Document, message: str) -> None:
    if "PrimaryContainer" in members:
        filled = {name: value.format(bucket=bucket) for name, value in members["PrimaryContainer"].items()}
        members = {"PrimaryContainer": filled}
    with pytest.raises(ClientError) as refused:
        cloud.client("sagemaker").create_model(ModelName=unique("m"), ExecutionRoleArn=ROLE, **members)
    assert message in refused.value.response["Error"]["Message"]


VARIANT = {"VariantName": "v", "ModelName": "no-such-model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
CONFIGS: list[tuple[Document, str]] = [
    ({"ProductionVariants": [VARIANT]}, f'Could not find model "{ACCOUNT}:model/no-such-model".'),
    (
        {"ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]},
        "'productionVariants.1.member.initialInstanceCount'",
    ),
    (
        {"ProductionVariants": [{**VARIANT, "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}]},
        "ServerlessConfig is not supported",
    ),
    ({"ProductionVariants": [VARIANT, VARIANT]}, "variant names must be unique"),
    (
        {"ProductionVariants": [VARIANT], "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/x"}}},
        "AsyncInferenceConfig is not supported",
    ),
]


@pytest.mark.parametrize(("members", "message"), CONFIGS, ids=[message for _, message in CONFIGS])
def test_configurations_that_could_not_serve_are_refused(cloud: Cloud, members: Document, message: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("sagemaker").create_endpoint_config(EndpointConfigName=unique("c"), **members)
    assert message in refused.value.response["Error"]["Message"]


def test_an_operation_that_is_not_there_is_refused_by_name(cloud: Cloud) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("sagemaker").list_notebook_instances()
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
    message = refused.value.response["Error"]["Message"]
    assert message.startswith(
        "The operation ListNotebookInstances is not supported by the local SageMaker. It supports: "
    )


def test_boto3_refuses_before_us_what_is_no_request(cloud: Cloud) -> None:
    with pytest.raises(ParamValidationError):
        cloud.client("sagemaker").describe_model()


def test_a_request_past_boto3_is_refused_by_the_service(cloud: Cloud) -> None:
    """boto3 without its own validation shows what the service itself answers."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "sagemaker",
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.region,
        **cloud.keys(),
        config=Config(parameter_validation=False, proxies={}),
    )
    with pytest.raises(ClientError) as missing:
        client.describe_model()  # type: ignore[call-arg]
    assert missing.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value null at 'modelName' failed to satisfy constraint: "
        "Member must not be null",
    }


def test_lists_are_filtered_sorted_and_paged(cloud: Cloud, bucket: str) -> None:
    client, stem = cloud.client("sagemaker"), unique("list")
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}
    names = [f"{stem}-{letter}" for letter in "bac"]
    for name in names:
        client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        time.sleep(0.005)

    def listed(**request: Any) -> list[str]:
        return [item["ModelName"] for item in client.list_models(NameContains=stem, **request)["Models"]]

    assert listed() == names[::-1]
    assert listed(SortBy="Name", SortOrder="Ascending") == sorted(names)
    assert listed(MaxResults=2) == names[:0:-1]
    paginator = client.get_paginator("list_models").paginate(NameContains=stem, PaginationConfig={"PageSize": 1})
    assert [item["ModelName"] for page in paginator for item in page["Models"]] == names[::-1]
    created = client.describe_model(ModelName=names[1])["CreationTime"]
    assert listed(CreationTimeAfter=created) == names[:0:-1]
    assert listed(CreationTimeBefore=created) == names[1::-1]
    with pytest.raises(ClientError, match="NextToken 'nonsense' is not valid"):
        client.list_models(NextToken="nonsense")


def test_models_are_events_when_made_and_deleted(cloud: Cloud, bucket: str) -> None:
    so_far = watch_events(cloud, {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Model State Change"]})
    client, name = cloud.client("sagemaker"), unique("told")
    container = {"Image": XGBOOST, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}
    client.create_model(
        ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE, Tags=[{"Key": "a", "Value": "b"}]
    )
    client.delete_model(ModelName=name)

    def both() -> list[Document] | None:
        found = [event for event in so_far() if event["detail"]["ModelName"] == name]
        return found if len(found) == 2 else None

    assert wait_for(both, "two events")[0]["detail"]["Tags"] == {"a": "b"}


def test_tags_belong_to_resources_that_exist(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="Could not find the resource"):
        cloud.client("sagemaker").add_tags(ResourceArn=f"{ACCOUNT}:model/none", Tags=[{"Key": "a", "Value": "b"}])


def test_tags_are_gone_with_their_resource(cloud: Cloud, bucket: str) -> None:
    client, name = cloud.client("sagemaker"), unique("tagged")
    request: Document = {
        "ModelName": name,
        "PrimaryContainer": {"Image": XGBOOST, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"},
        "ExecutionRoleArn": ROLE,
    }
    client.create_model(**request, Tags=[{"Key": "a", "Value": "b"}])
    arn = f"{ACCOUNT}:model/{name}"
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    client.delete_model(ModelName=name)
    client.create_model(**request)
    assert client.list_tags(ResourceArn=arn)["Tags"] == []


def test_the_aws_cli_works(cloud: Cloud) -> None:
    cli = Path(__file__).parents[4] / ".venvs" / "cli" / "bin" / "aws"
    if not cli.exists():
        pytest.skip("the AWS CLI is not installed; make install does it")
    name = unique("cli")

    def aws(*arguments: str) -> Document:
        command = [str(cli), "sagemaker", *arguments, "--output", "json"]
        ran = subprocess.run(command, env=cloud.environment(), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        answer: Document = json.loads(ran.stdout)
        return answer

    created = aws("create-processing-job", "--cli-input-json", json.dumps(processing(name, "")))
    assert created == {"ProcessingJobArn": f"{ACCOUNT}:processing-job/{name}"}
    wait_for(lambda: job_ended(cloud, name), "the job")
    assert aws("describe-processing-job", "--processing-job-name", name)["ProcessingJobStatus"] == "Completed"


def job_ended(cloud: Cloud, name: str) -> bool:
    described = cloud.client("sagemaker").describe_processing_job(ProcessingJobName=name)
    return bool(described["ProcessingJobStatus"] == "Completed")
