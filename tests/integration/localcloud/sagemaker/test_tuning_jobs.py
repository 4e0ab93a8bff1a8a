"""Tuning jobs against a real local cloud: real trials of the real XGBoost, side by side."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import Cloud, run_machine, unique, watch_events
from tests.integration.sagemaker_requests import Document, end, numbers, training
from tests.waiting import wait_for

STATIC = {"objective": "reg:squarederror", "nthread": "1"}
FOREVER = {**STATIC, "num_round": "1000000", "num_parallel_tree": "300"}
OBJECTIVE = {"Type": "Minimize", "MetricName": "validation:rmse"}
ROUNDS = {"IntegerParameterRanges": [{"Name": "num_round", "MinValue": "1", "MaxValue": "9"}]}
ETA = {
    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.01", "MaxValue": "1", "ScalingType": "Logarithmic"}]
}


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("tuning")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name)
    for prefix in ("train", "validation"):
        s3.put_object(Bucket=name, Key=f"{prefix}/part-00000.csv", Body=numbers(200))
    return name


def tuning(
    name: str,
    bucket: str,
    ranges: Document,
    static: dict[str, str] = STATIC,
    limits: tuple[int, int] = (3, 2),
    **config: Any,
) -> Document:
    trial = training(name, bucket, {})
    definition = {key: value for key, value in trial.items() if key not in ("TrainingJobName", "HyperParameters")}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": OBJECTIVE,
            "ResourceLimits": {"MaxNumberOfTrainingJobs": limits[0], "MaxParallelTrainingJobs": limits[1]},
            "ParameterRanges": ranges,
            "RandomSeed": 1,
            **config,
        },
        "TrainingJobDefinition": {**definition, "StaticHyperParameters": static},
    }


def tune(cloud: Cloud, request: Document, **members: Any) -> Document:
    client = cloud.client("sagemaker")
    client.create_hyper_parameter_tuning_job(**request, **members)
    return ended(cloud, request["HyperParameterTuningJobName"])


def ended(cloud: Cloud, name: str) -> Document:
    client = cloud.client("sagemaker")
    return end(
        lambda: client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name), "HyperParameterTuningJob"
    )


def trials_of(cloud: Cloud, name: str, **asked: Any) -> list[Document]:
    client = cloud.client("sagemaker")
    listed = client.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, **asked)
    return list(listed["TrainingJobSummaries"])


@pytest.fixture(scope="module")
def tuned(cloud: Cloud, bucket: str) -> Document:
    """A Bayesian tuning job of six trials that has completed."""
    request = tuning(unique("bayes"), bucket, {**ROUNDS, **ETA}, limits=(6, 2), Strategy="Bayesian")
    return tune(cloud, request, Tags=[{"Key": "Stack", "Value": "cars"}])


def test_the_best_of_real_trials_is_described(cloud: Cloud, tuned: Document) -> None:
    name = tuned["HyperParameterTuningJobName"]
    assert tuned["HyperParameterTuningJobStatus"] == "Completed"
    none = {"InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    assert tuned["TrainingJobStatusCounters"] == {"Completed": 6, **none}
    assert tuned["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    ordered = trials_of(cloud, name, SortBy="FinalObjectiveMetricValue", SortOrder="Ascending")
    values = [one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for one in ordered]
    assert values == sorted(values)
    assert len(set(values)) > 1
    best = tuned["BestTrainingJob"]
    assert best["TrainingJobName"] == ordered[0]["TrainingJobName"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {**OBJECTIVE, "Value": values[0]}
    assert best["ObjectiveStatus"] == "Succeeded"
    assert best["TunedHyperParameters"].keys() == {"num_round", "eta"}


def test_each_trial_is_a_training_job_with_the_suffix_of_aws(cloud: Cloud, tuned: Document, bucket: str) -> None:
    name, client = tuned["HyperParameterTuningJobName"], cloud.client("sagemaker")
    listed = trials_of(cloud, name)
    numbered = [re.fullmatch(rf"{name}-(\d{{3}})-[0-9a-f]{{8}}", one["TrainingJobName"]) for one in listed]
    assert [match and match[1] for match in numbered] == ["001", "002", "003", "004", "005", "006"]
    trial = client.describe_training_job(TrainingJobName=listed[0]["TrainingJobName"])
    assert trial["TuningJobArn"] == tuned["HyperParameterTuningJobArn"]
    assert trial["HyperParameters"] == {
        **STATIC, "_tuning_objective_metric": "validation:rmse", **listed[0]["TunedHyperParameters"],
    }  # fmt: skip
    at = f"s3://{bucket}/model/{listed[0]['TrainingJobName']}/output/model.tar.gz"
    assert trial["ModelArtifacts"]["S3ModelArtifacts"] == at
    tags = client.list_tags(ResourceArn=trial["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "Stack", "Value": "cars"}]
    assert client.list_tags(ResourceArn=tuned["HyperParameterTuningJobArn"])["Tags"] == tags


def test_trials_run_side_by_side_and_never_more_than_asked_for(cloud: Cloud, tuned: Document) -> None:
    listed = trials_of(cloud, tuned["HyperParameterTuningJobName"])
    spans = [(one["TrainingStartTime"], one["TrainingEndTime"]) for one in listed]
    at_once = [sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans]
    assert max(at_once) == 2


def test_tuning_jobs_are_listed_and_deleted(cloud: Cloud, bucket: str) -> None:
    client, name = cloud.client("sagemaker"), tune(cloud, tuning(unique("gone"), bucket, ROUNDS, limits=(1, 1)))[
        "HyperParameterTuningJobName"
    ]  # fmt: skip
    listed = client.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"]
    assert [(one["Strategy"], one["TrainingJobStatusCounters"]["Completed"]) for one in listed] == [("Random", 1)]
    client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(ClientError) as error:
        client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert error.value.response["Error"]["Code"] == "ResourceNotFound"
    assert error.value.response["Error"]["Message"] == f"Amazon SageMaker can't find a tuning job with the name {name}"


def test_machines_may_be_said_as_the_sagemaker_sdk_says_them(cloud: Cloud, bucket: str) -> None:
    client, request = cloud.client("sagemaker"), tuning(unique("sdk"), bucket, ROUNDS, limits=(1, 1))
    definition = request["TrainingJobDefinition"]
    machines = definition["HyperParameterTuningResourceConfig"] = definition.pop("ResourceConfig")
    described = tune(cloud, request)
    assert described["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] == machines
    assert "ResourceConfig" not in described["TrainingJobDefinition"]
    trial = client.describe_training_job(TrainingJobName=described["BestTrainingJob"]["TrainingJobName"])
    assert trial["ResourceConfig"] == machines


def test_changes_of_status_are_events_with_the_counters(cloud: Cloud, bucket: str) -> None:
    name = unique("events")
    pattern = {"detail-type": ["SageMaker HyperParameter Tuning Job State Change"]}
    events = watch_events(cloud, {**pattern, "detail": {"HyperParameterTuningJobName": [name]}})
    tune(cloud, tuning(name, bucket, ROUNDS, limits=(1, 1)))
    seen = wait_for(lambda: found if len(found := events()) > 1 else None, "two events")
    assert [one["detail"]["HyperParameterTuningJobStatus"] for one in seen] == ["InProgress", "Completed"]
    assert seen[-1]["detail"]["TrainingJobStatusCounters"]["Completed"] == 1
    assert isinstance(seen[-1]["detail"]["CreationTime"], int)


def test_a_trial_that_fails_does_not_fail_the_job(cloud: Cloud, bucket: str) -> None:
    rates = {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.5", "MaxValue": "1.5"}]}
    job = tune(cloud, tuning(unique("some"), bucket, rates, {**STATIC, "num_round": "2"}, (4, 2)))
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    counters = job["TrainingJobStatusCounters"]
    assert counters["Completed"] > 0
    assert counters["NonRetryableError"] == 4 - counters["Completed"] > 0
    assert job["ObjectiveStatusCounters"]["Failed"] == counters["NonRetryableError"]
    assert float(job["BestTrainingJob"]["TunedHyperParameters"]["eta"]) <= 1
    failed = trials_of(cloud, job["HyperParameterTuningJobName"], StatusEquals="Failed")
    assert len(failed) == counters["NonRetryableError"]
    assert all("is not in [0, 1]" in one["FailureReason"] for one in failed)


def test_a_trial_that_is_worse_than_the_median_stops_early(cloud: Cloud, bucket: str) -> None:
    rates = {"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.3", "0.00001"]}]}
    depths = {"IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "3", "MaxValue": "6"}]}
    static = {**STATIC, "num_round": "1500"}
    request = tuning(unique("early"), bucket, {**rates, **depths}, static, (3, 1), TrainingJobEarlyStoppingType="Auto")
    job = tune(cloud, request)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    listed = trials_of(cloud, job["HyperParameterTuningJobName"])
    ends = [(one["TunedHyperParameters"]["eta"], one["TrainingJobStatus"]) for one in listed]
    assert ends[0] == ("0.3", "Completed")
    assert ("0.00001", "Stopped") in ends
    assert job["TrainingJobStatusCounters"]["Stopped"] == sum(status == "Stopped" for _, status in ends)
    assert all(one["ObjectiveStatus"] == "Succeeded" for one in listed)


def test_a_job_whose_first_five_trials_fail_gives_up_and_says_so(cloud: Cloud, bucket: str) -> None:
    job = tune(cloud, tuning(unique("all"), bucket, ROUNDS, {"objective": "nonsense"}, (9, 2)))
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    attempts = job["TrainingJobStatusCounters"]["NonRetryableError"]
    assert attempts in (5, 6)  # the sixth was on its way
    assert job["FailureReason"] == (
        f"No training job succeeded after {attempts} attempts. Please take a look at the training job failures to get "
        "more details."
    )
    assert "BestTrainingJob" not in job


def test_a_job_that_a_person_stops_stops_its_trials(cloud: Cloud, bucket: str) -> None:
    client, name = cloud.client("sagemaker"), unique("stop")
    client.create_hyper_parameter_tuning_job(**tuning(name, bucket, ETA, FOREVER))
    wait_for(lambda: len(trials_of(cloud, name)) == 2, "the trials to begin")
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    job = ended(cloud, name)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2
    assert {one["TrainingJobStatus"] for one in trials_of(cloud, name)} == {"Stopped"}


def test_a_job_begins_with_what_its_parents_have_tried(cloud: Cloud, bucket: str, tuned: Document) -> None:
    parent = {"HyperParameterTuningJobName": tuned["HyperParameterTuningJobName"]}
    warm = {"ParentHyperParameterTuningJobs": [parent], "WarmStartType": "IdenticalDataAndAlgorithm"}
    request = tuning(unique("warm"), bucket, {**ROUNDS, **ETA}, limits=(1, 1), Strategy="Bayesian")
    job = tune(cloud, request, WarmStartConfig=warm)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    both = [job["BestTrainingJob"], tuned["BestTrainingJob"]]
    values = [one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for one in both]
    assert job["OverallBestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(values)


def test_a_parent_with_other_hyperparameters_is_refused(cloud: Cloud, bucket: str, tuned: Document) -> None:
    parents = [{"HyperParameterTuningJobName": tuned["HyperParameterTuningJobName"]}]
    warm = {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "TransferLearning"}
    with pytest.raises(ClientError, match="the set of hyperparameters, tuned and static, is not that of the parent"):
        tune(cloud, tuning(unique("warm"), bucket, ROUNDS), WarmStartConfig=warm)


def test_a_sync_task_gives_the_best_training_job(cloud: Cloud, bucket: str) -> None:
    resource = "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync"
    arguments = tuning(unique("task"), bucket, ROUNDS, limits=(1, 1))
    state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}
    execution = run_machine(cloud, {"StartAt": "Tune", "States": {"Tune": state}}, seconds=60)
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert '"BestTrainingJob"' in execution["output"]
    assert "-001-" in execution["output"]


REFUSED: list[tuple[str, Document, str]] = [
    ("a name of 33 characters", {"HyperParameterTuningJobName": "n" * 33}, "less than or equal to 32"),
    ("ends the wrong way round", {"ranges": [("Integer", "num_round", "9", "1")]}, "larger than MaxValue"),
    ("an integer range of fractions", {"ranges": [("Integer", "max_depth", "1.5", "9")]}, "is not an integer"),
    ("a logarithm from zero", {"ranges": [("Continuous", "eta", "0", "1", "Logarithmic")]}, "greater than 0"),
    ("a reversed logarithm to one", {"ranges": [("Continuous", "eta", "0", "1", "ReverseLogarithmic")]}, "0 <= x < 1"),
    ("static and tuned", {"ranges": [("Integer", "nthread", "1", "9")]}, "both static and in"),
    ("what cannot be tuned", {"ranges": [("Integer", "seed", "1", "9")]}, "seed of sagemaker-xgboost cannot be tuned"),
    ("more side by side than at all", {"limits": (2, 3)}, "at most MaxNumberOfTrainingJobs"),
    ("too few combinations", {"ranges": [("Integer", "num_round", "1", "2")]}, "You don't have enough combinations"),
    ("another metric", {"metric": "validation:f2"}, "A metric is required for this hyperparameter tuning job"),
    ("another strategy", {"Strategy": "Hyperband"}, "The strategy Hyperband is not supported"),
    ("a parent that is gone", {"parent": "nobody"}, "can't find a tuning job with the name nobody"),
    ("machines in both ways", {"machines": {"InstanceType": "ml.m5.large"}}, "has both ResourceConfig and"),
    ("no machine", {"count": 0}, "InstanceCount 0"),
    ("machines to choose from", {"machines": {"AllocationStrategy": "Prioritized"}}, "AllocationStrategy"),
]


@pytest.mark.parametrize(("change", "message"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_cannot_be_tuned_is_refused(cloud: Cloud, bucket: str, change: Document, message: str) -> None:
    ranges: Document = dict(ROUNDS)
    for kind, name, low, high, *scaling in change.get("ranges", []):
        item = {"Name": name, "MinValue": low, "MaxValue": high, **({"ScalingType": scaling[0]} if scaling else {})}
        ranges = {f"{kind}ParameterRanges": [item]}
    request = tuning(unique("no"), bucket, ranges, limits=change.get("limits", (3, 2)))
    config = request["HyperParameterTuningJobConfig"]
    config["Strategy"] = change.get("Strategy", "Random")
    config["HyperParameterTuningJobObjective"] = {**OBJECTIVE, "MetricName": change.get("metric", "validation:rmse")}
    request["TrainingJobDefinition"]["ResourceConfig"]["InstanceCount"] = change.get("count", 1)
    if machines := change.get("machines"):
        request["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = machines
    if parent := change.get("parent"):
        parents = [{"HyperParameterTuningJobName": parent}]
        request["WarmStartConfig"] = {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "TransferLearning"}
    request["HyperParameterTuningJobName"] = change.get("HyperParameterTuningJobName", unique("no"))
    with pytest.raises(ClientError) as error:
        cloud.client("sagemaker").create_hyper_parameter_tuning_job(**request)
    assert error.value.response["Error"]["Code"] == "ValidationException"
    assert message in error.value.response["Error"]["Message"]
