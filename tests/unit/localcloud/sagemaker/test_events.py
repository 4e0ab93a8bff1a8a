"""Events in the shapes of the EventBridge page of the developer guide."""

from typing import Any

import pytest

from localcloud.sagemaker.api import events

PROCESSING: dict[str, Any] = {
    "ProcessingJobName": "p",
    "ProcessingJobArn": "arn:p",
    "ProcessingJobStatus": "Failed",
    "FailureReason": "AlgorithmError: , exit code: 1",
    "CreationTime": 1704320199.0,
    "ProcessingStartTime": 1704320734.001,
    "ProcessingEndTime": 1704320746.0,
    "LastModifiedTime": 1704320746.0,
    "Environment": {"SECRET": "x"},
    "ProcessingInputs": [
        {
            "InputName": "i",
            "S3Input": {
                "S3Uri": "s3://Bucket/Key",
                "LocalPath": "/opt/ml/processing/In",
                "S3DataType": "ManifestFile",
                "S3InputMode": "Pipe",
                "S3DataDistributionType": "FullyReplicated",
            },
        }
    ],
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b", "S3UploadMode": "EndOfJob"}}]
    },
}


def test_processing_events_write_enumerations_in_capitals_and_nothing_else() -> None:
    detail = events.job_detail("ProcessingJob", PROCESSING, {})
    source = detail["ProcessingInputs"][0]["S3Input"]
    assert source == {
        "S3Uri": "s3://Bucket/Key",
        "LocalPath": "/opt/ml/processing/In",
        "S3DataType": "MANIFEST_FILE",
        "S3InputMode": "PIPE",
        "S3DataDistributionType": "FULLYREPLICATED",
    }
    assert detail["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] == "END_OF_JOB"
    assert detail["ProcessingJobStatus"] == "Failed"


def test_processing_events_have_times_as_numbers_and_no_environment() -> None:
    detail = events.job_detail("ProcessingJob", PROCESSING, {})
    assert detail["ProcessingStartTime"] == 1704320734001
    assert detail["ExperimentConfig"] == {}
    assert "Environment" not in detail
    assert "Tags" not in detail


def test_training_events_have_times_as_text_and_tags_as_a_map() -> None:
    job = {
        "TrainingJobName": "t",
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "CreationTime": 1583831889.05,
        "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": 1583831889.05, "StatusMessage": "m"}],
        "FinalMetricDataList": [{"MetricName": "m", "Value": 1.0, "Timestamp": 1.0}],
    }
    detail = events.job_detail("TrainingJob", job, {"Stack": "cars"})
    assert detail["CreationTime"] == "1583831889050"
    assert detail["SecondaryStatusTransitions"][0]["StartTime"] == 1583831889050
    assert detail["Tags"] == {"Stack": "cars"}
    assert detail["VpcConfig"] == {}
    assert "FinalMetricDataList" not in detail


def test_transform_events_leave_out_what_is_kept_for_ourselves() -> None:
    job = {"TransformJobName": "t", "TransformJobStatus": "InProgress", "CreationTime": 1.5, "Model": {"secret": 1}}
    detail = events.job_detail("TransformJob", job, {})
    assert detail == {
        "Environment": {},
        "TransformJobName": "t",
        "TransformJobStatus": "InProgress",
        "CreationTime": 1500,
        "Tags": {},
    }


def test_endpoint_events_write_the_status_with_underscores() -> None:
    described = {
        "EndpointName": "e",
        "EndpointStatus": "InService",
        "CreationTime": 1592411992.203,
        "LastModifiedTime": 1592411994.287,
        "DataCaptureConfig": {},
    }
    detail = events.endpoint_detail(described, {"a": "b"})
    assert detail == {
        "EndpointName": "e",
        "EndpointStatus": "IN_SERVICE",
        "CreationTime": 1592411992203.0,
        "LastModifiedTime": 1592411994287.0,
        "Tags": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("status", "written"),
    [("RollingBack", "ROLLING_BACK"), ("Failed", "FAILED"), ("UpdateRollbackFailed", "UPDATE_ROLLBACK_FAILED")],
)
def test_statuses_of_several_words_are_split(status: str, written: str) -> None:
    assert events.snake(status) == written
