"""The training flow, walked: what it asks of AWS, in which order, and how it ends when something goes wrong."""

from __future__ import annotations

import copy
import hashlib
import heapq
import json
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator

from perennial.model.algorithms import ALGORITHMS
from perennial.registry import description, metadata
from perennial.runs import cause, endpoint, naming
from perennial.runs.work import NOT_APPROVED, run_status
from perennial_aws import algorithm_requests
from tests.unit.state_machine_walk import Call, Fake, StateError, Walk
from tools import asl, aws_api

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "statemachines" / "train_model.asl.json").read_text()
STACK, RUN = "a" * naming.MAX_STACK_NAME, "20261120100000-0a1b"
VERSION = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{STACK}/3"
NAME, CHAMPION = f"{STACK}-{RUN}", f"{STACK}-20261119100000-0a1b"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
VALUES = {
    "Partition": "aws",
    "StackName": STACK,
    "CostCenter": "research",
    "Bucket": "cars",
    "KmsKeyArn": KEY,
    "EndpointName": STACK,
    "ParameterPrefix": f"/{STACK}",
    "QuietPeriodSeconds": "60",
    "PollSeconds": "30",
    "DataCapturePercentage": "100",
    "Approval": "auto",
    "ApprovalDays": "7",
    "SklearnImage": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
    "SparkImage": "1.dkr.ecr.eu-west-1.amazonaws.com/images/spark:spark-1a2b",
    **{
        name: f"arn:aws:iam::123456789012:role/{name}"
        for name in ("PreprocessRoleArn", "IngestRoleArn", "TrainRoleArn", "BaselineRoleArn", "ModelRoleArn")
    },
    "DataBucket": "lake",
    "DataPrefix": "raw/",
    "OfflineStoreRole": "arn:aws:iam::123456789012:role/offline-store",
}
DEFINITION = asl.parse(asl.substituted(TEXT, VALUES))
MANUAL = asl.parse(asl.substituted(TEXT, {**VALUES, "Approval": "manual"}))
VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
MACHINE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeKmsKeyId": KEY}
JOB = {**MACHINE, "VolumeSizeInGB": 20, "MaxRuntimeInSeconds": 3600}
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600},
}
WORK: dict[str, Any] = {
    "Decision": "Train",
    "Reason": "1 file",
    "RunId": RUN,
    "Name": NAME,
    "Prefix": f"s3://cars/runs/{RUN}",
    "CodeUri": "s3://cars/code/0123456789abcdef",
    "Model": "used-cars",
    "Problem": "regression",
    "TargetTransform": "none",
    "Algorithm": {
        "Name": "xgboost",
        "Image": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0",
        "ExplainImage": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0",
        "HyperParameters": {"num_round": "200"},
        **algorithm_requests.of_algorithm(ALGORITHMS["xgboost"]),
    },
    "Instances": {
        **dict.fromkeys(("Preprocess", "Train", "Baseline"), JOB),
        "Predict": MACHINE,
        "Endpoint": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1, "KmsKeyId": KEY},
    },
    "NetworkConfig": {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True},
    "Vpc": {},
    "Gate": {
        "Metric": "rmse",
        "Direction": "minimize",
        "Threshold": 3000.0,
        "MinimumImprovement": 0.0,
        "MaximumRegression": 0.05,
        "MinimumUnseenRows": 30,
        "WithoutComparison": "reject",
    },
    "Tuning": None,
    "Withheld": None,
    "DeploymentId": None,
    "ChampionTest": f"s3://cars/runs/{RUN}/test/",
    "Lineage": {"run": RUN, "commit": "0123abc", "hyperparameter:num_round": "200"},
    "Champion": {"ModelName": CHAMPION, "EndpointConfigName": CHAMPION, "RunId": "20261119100000-0a1b"},
}
INGEST = {"Group": f"{STACK}_sales", "Record": "sale", "EventTime": "sold"}
TUNING = {
    "Name": naming.tuning_stem("0a1b2c3d", RUN),
    "Config": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {
            "IntegerParameterRanges": [
                {"Name": "max_depth", "MinValue": "2", "MaxValue": "8", "ScalingType": "Auto"},
            ],
            "ContinuousParameterRanges": [],
            "CategoricalParameterRanges": [],
        },
        "TrainingJobEarlyStoppingType": "Off",
    },
    "Definition": {},
    "WarmStart": {},
}
PARENT = {
    "WarmStartConfig": {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "0a1b2c3d-20261119100000-0a1b-t0"}],
        "WarmStartType": "TransferLearning",
    }
}
NEW_CHAMPION = {name: value.replace("19", "20") for name, value in WORK["Champion"].items()}
RESULT = {
    "Metric": "rmse",
    "Candidate": 2000.0,
    "Champion": 2500.0,
    "CandidateInterval": [1900.0, 2100.0],
    "ChampionInterval": None,
    "MeetsThreshold": True,
    "BeatsChampion": True,
    "Accepted": True,
    "Reason": "rmse 2,000 meets the threshold",
    "TrainingMetrics": {},
}
BASELINES = [
    *(f"{kind}/{name}.json" for kind in ("data-quality", "model-quality") for name in ("statistics", "constraints")),
    "attribution/analysis.json",
    "bias/analysis.json",
    "analysis/analysis.json",
]
STEPS = {
    "data-quality": "data-quality",
    "model-quality": "model-quality",
    "attribution": "model-quality",
    "bias": "model-quality",
    "analysis": "model-quality",
}
EXPORTED = [
    "model", "endpoint", "endpoint-config", "data-quality-baseline", "model-quality-baseline", "attribution-baseline",
    "bias-baseline", "model-package", "run",
]  # fmt: skip
JOBS = {
    "Preprocess": "preprocess",
    "Train": "train",
    "Predict with candidate": "predict",
    "Predict with champion": "champion",
    "Baseline data drift": "data-quality",
    "Baseline model quality": "model-quality",
}


METADATA = {
    "SdkHttpMetadata": {
        "AllHttpHeaders": {"x-amzn-RequestId": ["1"]}, "HttpHeaders": {"x-amzn-RequestId": "1"}, "HttpStatusCode": 200
    },
    "SdkResponseMetadata": {"RequestId": "1"},
}  # fmt: skip
"""What the answer of an optimised call says of itself."""


def answered(payload: Any) -> dict[str, Any]:
    """The result of `lambda:invoke`."""
    return {"ExecutedVersion": "$LATEST", "Payload": payload, **METADATA, "StatusCode": 200}


def function(payload: Any) -> Fake:
    return lambda call: answered(copy.deepcopy(payload))


def functions(*payloads: Any) -> Fake:
    """Answers one after another, the last for ever."""
    return in_turn(*map(function, payloads))


def in_turn(*one_by_one: Fake) -> Fake:
    waiting = list(one_by_one)
    return lambda call: (waiting.pop(0) if len(waiting) > 1 else waiting[0])(call)


def job(call: Call, status: str = "Completed") -> dict[str, Any]:
    kinds = ("Processing", "Training", "Transform", "HyperParameterTuning")
    kind = next(kind for kind in kinds if f"{kind}JobName" in call.arguments)
    best = {
        "TrainingJobName": f"{call.arguments[f'{kind}JobName']}-003-0f0444b1",
        "TunedHyperParameters": {"max_depth": "4"},
    }
    artefact = {
        "Training": {"ModelArtifacts": {"S3ModelArtifacts": "s3://cars/model.tar.gz"}},
        "HyperParameterTuning": {"BestTrainingJob": best},
    }.get(kind, {})
    return {f"{kind}JobName": call.arguments[f"{kind}JobName"], f"{kind}JobStatus": status, **artefact}


def sealed(call: Call) -> dict[str, Any]:
    given = call.arguments["Payload"]
    assert given["Uri"].startswith("s3://cars/")
    return answered({"Uri": f"s3://cars/runs/{RUN}/serving/{given['Name']}.tar.gz"})


def stopped(call: Call) -> dict[str, Any]:
    return job(call, "Stopped")


def listed(*names: str) -> Fake:
    """A listing of these files of the baselines, as S3 answers: nothing found is no member Contents."""

    def answer(call: Call) -> dict[str, Any]:
        contents = [{"Key": f"{call.arguments['Prefix']}{name}", "Size": 1} for name in names]
        return {"KeyCount": len(names), "IsTruncated": False, **({"Contents": contents} if contents else {})}

    return answer


def failing(error: str, why: str = "why", times: int = 1000) -> Callable[[Fake], Fake]:
    """A fake that fails so many times, and then does as another."""

    def around(fake: Fake) -> Fake:
        left = iter(range(times))

        def call_it(call: Call) -> Any:
            if next(left, None) is not None:
                raise StateError(error, why)
            return fake(call)

        return call_it

    return around


NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)


def lost_by_the_platform(reason: str = NO_CAPACITY, times: int = 1, **said: str) -> Callable[[Fake], Fake]:
    """SageMaker loses so many jobs: the task fails with the job's description. A name is used once, as it says."""
    left, names = iter(range(times)), set()

    def around(fake: Fake) -> Fake:
        def call_it(call: Call) -> Any:
            name = next(value for key, value in call.arguments.items() if key.endswith("JobName"))
            if name in names:
                raise StateError("SageMaker.ResourceInUseException", f"a job with this name already exists ({name})")
            names.add(name)
            if next(left, None) is not None:
                raise StateError(
                    "States.TaskFailed", json.dumps({**job(call, "Failed"), "FailureReason": reason, **said})
                )
            return fake(call)

        return call_it

    return around


def seen(action: str, serving: str | None = None, status: str = "InService") -> dict[str, Any]:
    return {"Action": action, "Status": status, "ServingConfigName": serving, "Reason": f"because {action}"}


def seen_going_back(status: str, serving: str = NAME) -> dict[str, Any]:
    """What the function says in these words when a model is taken back."""
    known = {"EndpointStatus": status, "EndpointConfigName": serving}
    found = endpoint.decide(known, NAME, "Back", CHAMPION)
    return {"Action": found.action, "Status": status, "ServingConfigName": serving, "Reason": found.reason}


def turn(kind: str, champion: Any = WORK["Champion"]) -> dict[str, Any]:
    return {"Turn": kind, "Reason": f"because {kind}", "Champion": champion}


def reserved(call: Call) -> dict[str, Any]:
    """The turn is free, and the model in service is the one that was compared with."""
    return answered(turn("Deploy", call.arguments["Payload"]["Champion"]))


def fakes(**work: Any) -> dict[str, Fake]:
    """A world in which everything goes well, with a model in service."""
    return {
        "Resolve configuration": function({**WORK, **work}),
        "Snapshot data": function({"Files": 1}),
        **dict.fromkeys((*JOBS, "Ingest records"), job),
        "Tune": job,
        "Seal preprocessor": sealed,
        "Seal model": sealed,
        "Save model": lambda call: {"ModelArn": "arn", **METADATA},
        "Look for model": failing("SageMaker.SageMakerException", "Could not find", times=99)(job),
        "Query training results": function(RESULT),
        "Reserve deployment": reserved,
        "Predict with new champion": job,
        "List baselines": listed(*BASELINES),
        "Register model": lambda call: {"ModelPackageArn": VERSION},
        "Wait for approval": lambda call: {"Reason": "looks good"},
        "Create endpoint configuration": lambda call: {"EndpointConfigArn": "arn"},
        "Look for configuration": failing("SageMaker.SageMakerException", "Could not find", times=99)(job),
        "Check endpoint": function(seen("Update", CHAMPION)),
        "Create endpoint": lambda call: {"EndpointArn": "arn", **METADATA},
        "Update endpoint": lambda call: {"EndpointArn": "arn"},
        "Delete failed endpoint": lambda call: {},
        "Check deployment": functions(seen("Wait", CHAMPION, "Updating"), seen("Done", NAME)),
        "Verify endpoint": function({"Verified": 5}),
        "Check what serves": functions(seen("Update", NAME), seen("Wait", NAME, "Updating"), seen("Done", CHAMPION)),
        "Restore previous model": lambda call: {"EndpointArn": "arn"},
        "Write parameter": lambda call: {"Version": 1},
        "Clean up": function({"DeletedModels": []}),
    }


def walk(
    otherwise: Mapping[str, Fake] | None = None,
    *,
    given: Any = None,
    work: Mapping[str, Any] | None = None,
    limit: int = 2000,
    definition: dict[str, Any] = DEFINITION,
) -> Walk:
    """Walk the flow; some states may behave otherwise, and the work that is resolved may differ."""
    world = {**fakes(**(work or {})), **(otherwise or {})}
    return Walk(definition, world, {} if given is None else given, limit=limit).run()


DIFFERENT = {
    "Verify endpoint": failing("EndpointVerificationError", '{"errorMessage": "answers differ"}')(function({}))
}


def update_to(config: str) -> dict[str, Any]:
    """As many instances as there are: scaling is not undone."""
    return {"EndpointName": STACK, "EndpointConfigName": config, "RetainAllVariantProperties": True}


def failed_in(done: Walk) -> str:
    """The state that record and mail name, as functions/notify_run finds it."""
    return cause.failed_state(done.cause) or done.states[-1]


def exported(done: Walk) -> list[str]:
    return [arguments["Name"].removeprefix(f"/{STACK}/") for arguments in done.called("Write parameter")]


# ---- When all goes well


SCRIPT = {
    "Program": {"ContainerEntrypoint": ["python3", "train.py"], "MetricDefinitions": [{"Name": "a", "Regex": "b"}]},
    "Channels": [{"ChannelName": "code"}],
    "Serving": {"Environment": {"SAGEMAKER_PROGRAM": "serve_script.py"}},
}
OF_TRIALS = {
    "StaticHyperParameters": {"sagemaker_program": "unpack.py"},
    "Environment": {"PIP_NO_BUILD_ISOLATION": "0"},
}


def test_a_script_adds_its_start_its_code_and_how_it_serves_to_the_same_states() -> None:
    work = {"Algorithm": {**WORK["Algorithm"], **SCRIPT}}
    done = walk(work=work)
    assert done.error is None
    (job,) = done.called("Train")
    image = WORK["Algorithm"]["Image"]
    specification = {"TrainingImage": image, "TrainingInputMode": "File", **SCRIPT["Program"]}
    assert job["AlgorithmSpecification"] == specification
    assert [one["ChannelName"] for one in job["InputDataConfig"]] == ["train", "validation", "code"]
    (model,) = done.called("Save model")
    container = model["Containers"][1]
    assert (container["Image"], container["Environment"]) == (image, SCRIPT["Serving"]["Environment"])


@pytest.mark.parametrize(("count", "shared"), [(1, "FullyReplicated"), (3, "ShardedByS3Key")])
def test_of_several_machines_each_reads_a_share_of_what_trains(count: int, shared: str) -> None:
    instances = {**WORK["Instances"], "Train": {**JOB, "InstanceCount": count}}
    (job,) = walk(work={"Instances": instances}).called("Train")
    read = {one["ChannelName"]: one["DataSource"]["S3DataSource"] for one in job["InputDataConfig"]}
    assert read["train"]["S3DataDistributionType"] == shared
    assert read["validation"]["S3DataDistributionType"] == "FullyReplicated"


def test_sets_are_read_from_s3_where_the_definition_says_so_and_code_is_copied() -> None:
    sets = algorithm_requests.of_algorithm(ALGORITHMS["scikit-learn-script"], "FastFile")["Sets"]
    (job,) = walk(work={"Algorithm": {**WORK["Algorithm"], **SCRIPT, "Sets": sets}}).called("Train")
    assert job["AlgorithmSpecification"]["TrainingInputMode"] == "File"
    modes = {one["ChannelName"]: one.get("InputMode") for one in job["InputDataConfig"]}
    assert modes == {"train": "FastFile", "validation": "FastFile", "code": None}


def test_deepar_gets_series_in_its_channels_one_a_payload_and_serves_alone() -> None:
    """Developer Guide, "DeepAR Forecasting Algorithm" and "DeepAR Inference Formats"."""
    done = walk(
        work={
            "Algorithm": {**WORK["Algorithm"], **algorithm_requests.of_algorithm(ALGORITHMS["deepar"]), "Channels": []}
        }
    )
    assert done.error is None
    (job,) = done.called("Train")
    channels = {
        one["ChannelName"]: (one["ContentType"], one["DataSource"]["S3DataSource"]["S3Uri"])
        for one in job["InputDataConfig"]
    }
    assert channels == {
        "train": ("json", f"s3://cars/runs/{RUN}/train/"), "test": ("json", f"s3://cars/runs/{RUN}/validation/"),
    }  # fmt: skip
    (model,) = done.called("Save model")
    (container,) = model["Containers"]
    assert json.loads(container["Environment"]["DEEPAR_INFERENCE_CONFIG"])["output_types"] == ["mean", "quantiles"]
    for state in ("Predict with candidate", "Predict with champion"):
        (transform,) = done.called(state)
        assert (transform["BatchStrategy"], transform["TransformInput"]["SplitType"]) == ("SingleRecord", "Line")
        assert transform["TransformOutput"]["AssembleWith"] == "Line"


def test_trials_of_a_script_have_what_starts_it_in_a_definition_that_knows_no_entry_point() -> None:
    metrics = {"MetricDefinitions": SCRIPT["Program"]["MetricDefinitions"]}
    work = {"Algorithm": {**WORK["Algorithm"], "Program": metrics}, "Tuning": {**TUNING, "Definition": OF_TRIALS}}
    (job,) = walk(work=work).called("Tune")
    definition = job["TrainingJobDefinition"]
    assert {name: definition[name] for name in OF_TRIALS} == OF_TRIALS
    image = WORK["Algorithm"]["Image"]
    expected = {"TrainingImage": image, "TrainingInputMode": "File", **metrics}
    assert definition["AlgorithmSpecification"] == expected


def test_the_first_run_creates_the_endpoint_and_compares_with_nothing() -> None:
    done = walk({"Check endpoint": function(seen("Create", None, "NotFound"))}, work={"Champion": None})
    assert done.error is None, done.cause
    assert "Predict with champion" not in done.states
    assert done.called("Query training results")[0]["Payload"]["ChampionPredictions"] is None
    assert done.called("Create endpoint")[0]["EndpointName"] == STACK
    assert not done.called("Update endpoint")
    assert done.output["Model"] == NAME


def test_a_run_against_a_model_in_service_scores_both_on_the_same_test_set_and_updates() -> None:
    done = walk()
    assert done.error is None, done.cause
    candidate, champion = (done.called(f"Predict with {who}")[0] for who in ("candidate", "champion"))
    assert candidate["TransformInput"] == champion["TransformInput"]
    assert (candidate["ModelName"], champion["ModelName"]) == (NAME, CHAMPION)
    assert candidate["TransformOutput"]["S3OutputPath"] != champion["TransformOutput"]["S3OutputPath"]
    assert done.called("Update endpoint") == [update_to(NAME)]


def test_names_are_exported_after_the_verification_and_the_run_last() -> None:
    done = walk()
    assert exported(done) == EXPORTED
    assert done.states.index("Verify endpoint") < done.states.index("Export configuration")
    assert done.states[-2:] == ["Clean up", "Model in service"]


def test_a_model_that_passed_is_a_version_with_its_containers_baselines_and_origin() -> None:
    done = walk()
    (version,) = done.called("Register model")
    assert version["ModelPackageGroupName"] == STACK
    assert version["ModelPackageDescription"] == description.of_run(RUN)
    assert version["ModelApprovalStatus"] == "Approved"
    assert version["InferenceSpecification"]["Containers"] == done.called("Save model")[0]["Containers"]
    assert version["InferenceSpecification"]["SupportedRealtimeInferenceInstanceTypes"] == ["ml.m5.large"]
    *compared, analysed = (f"s3://cars/runs/{RUN}/baselines/{name}" for name in BASELINES)
    assert set(addresses(version["DriftCheckBaselines"])) == set(compared)
    assert set(addresses(version["ModelMetrics"])) == {*compared[:4], analysed}
    measured = {"metric": "rmse", "candidate": "2000", "champion": "2500", "compared-with": CHAMPION}
    assert version["CustomerMetadataProperties"] == WORK["Lineage"] | measured
    assert len(measured) == metadata.MEASURED
    assert version["MetadataProperties"]["CommitId"] == "0123abc"
    assert done.output["ModelPackage"] == VERSION
    exports = {one["Name"]: one["Value"] for one in done.called("Write parameter")}
    assert exports[f"/{STACK}/model-package"] == VERSION


def addresses(value: Any) -> list[str]:
    """Every S3Uri in a part of a request."""
    if not isinstance(value, dict):
        return []
    return [value["S3Uri"]] if "S3Uri" in value else [uri for part in value.values() for uri in addresses(part)]


def test_the_first_version_was_compared_with_nothing() -> None:
    done = walk({"Query training results": function({**RESULT, "Champion": None})}, work={"Champion": None})
    entries = done.called("Register model")[0]["CustomerMetadataProperties"]
    assert entries.keys() & {"champion", "compared-with"} == set()


def test_a_version_has_the_container_that_turns_answers_back() -> None:
    done = walk(work={"TargetTransform": "log"})
    version, model = done.called("Register model")[0], done.called("Save model")[0]
    assert version["InferenceSpecification"]["Containers"] == model["Containers"]
    assert len(model["Containers"]) == 3


def test_a_version_that_is_asked_for_again_is_the_same() -> None:
    registered = fakes()["Register model"]
    done = walk({"Register model": failing("SageMaker.SageMakerException", "Rate exceeded", times=2)(registered)})
    requests = done.called("Register model")
    assert (len(requests), done.error) == (3, None)
    assert requests[0] == requests[1] == requests[2]
    assert re.fullmatch("[0-9a-f]{32}", requests[0]["ClientToken"])
    assert requests[0]["ClientToken"] == hashlib.md5(NAME.encode(), usedforsecurity=False).hexdigest()


def test_a_model_that_cannot_be_registered_is_not_deployed() -> None:
    done = walk(
        {"Register model": failing("SageMaker.SageMakerException", "ModelPackageGroup arn does not exist.")(job)}
    )
    assert (failed_in(done), done.error) == ("Register model", "SageMaker.SageMakerException")
    assert not done.called("Create endpoint configuration")


def test_only_drops_wait_for_more_files() -> None:
    start = Walk(DEFINITION, {}).now
    drop, manual = (walk(given={"Trigger": {"Type": kind}}) for kind in ("DataDrop", "Schedule"))
    assert drop.now - manual.now == 60_000
    assert manual.now - start == 2 * 30_000  # two looks at the deployment


def test_the_configuration_is_asked_with_the_execution_itself() -> None:
    (arguments,) = walk(given={"Trigger": {"Type": "Manual", "By": "me"}}).called("Resolve configuration")
    assert arguments["Payload"]["Input"] == {"Trigger": {"Type": "Manual", "By": "me"}}
    assert arguments["Payload"]["StartTime"] == "2026-11-20T10:00:00.000Z"


# ---- What is asked of AWS


def requests() -> list[Any]:
    creating = walk({"Check endpoint": functions(seen("Recreate"), seen("Create"))}, work={"Champion": None})
    restoring = walk({"Verify endpoint": failing("EndpointVerificationError")(function({}))})
    again = walk({"Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION))})
    tuned = walk(work={"Tuning": {**TUNING, "Definition": OF_TRIALS, "WarmStart": PARENT}, "Spot": SPOT})
    calls = [*creating.calls, *walk().calls, *restoring.calls, *again.calls, *tuned.calls]
    of_each_state = {call.state: call for call in calls if not call.resource.endswith("lambda:invoke")}
    return [pytest.param(call, id=state) for state, call in of_each_state.items()]


@pytest.mark.parametrize("call", requests())
def test_every_request_is_what_the_api_takes(call: Call) -> None:
    known = aws_api.call(call.resource)
    assert known.shape is not None
    report = ParamValidator().validate(call.arguments, known.shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("call", requests())
def test_everything_that_is_created_has_the_tags_of_the_costs(call: Call) -> None:
    if ":create" in call.resource and call.state != "Register model":  # a version has the tags of its group
        tags = {tag["Key"]: tag["Value"] for tag in call.arguments["Tags"]}
        serving = "endpoint" in call.state  # it outlives the run that created it
        assert {"Project", "Stack", "Model", "Component", "CostCenter"} | (set() if serving else {"Run"}) == set(tags)
        assert (tags["Component"], tags["CostCenter"]) == ("serving" if serving else "training", "research")


@pytest.mark.parametrize(("step", "state"), [("Preprocess", "Preprocess"), ("Baseline", "Baseline data drift")])
def test_several_machines_are_a_cluster_of_spark_whose_machines_talk_to_each_other(step: str, state: str) -> None:
    machines = {**WORK["Instances"], step: {**JOB, "InstanceCount": 4}}
    one, several = (walked.called(state)[0] for walked in (walk(), walk(work={"Instances": machines})))
    entry = [job["AppSpecification"]["ContainerEntrypoint"] for job in (one, several)]
    assert [job["AppSpecification"]["ImageUri"] for job in (one, several)] == [
        VALUES["SklearnImage"],
        VALUES["SparkImage"],
    ]
    assert [program for program, *_ in entry] == ["python3", "/opt/perennial/submit"]
    assert entry[0][1:] == entry[1][1:]
    assert several["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 4
    assert several["NetworkConfig"] == {**WORK["NetworkConfig"], "EnableNetworkIsolation": False}
    changed = ("AppSpecification", "ProcessingResources", "NetworkConfig")
    assert [{key: job[key] for key in job if key not in changed} for job in (one,)] == [
        {key: several[key] for key in several if key not in changed}
    ]


def test_how_good_the_model_is_is_measured_on_one_machine() -> None:
    """Each of several would write all of it."""
    machines = {**WORK["Instances"], "Baseline": {**JOB, "InstanceCount": 4}}
    (job,) = walk(work={"Instances": machines}).called("Baseline model quality")
    assert job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 1


def test_volumes_have_the_key_where_the_machine_takes_one() -> None:
    resources = {
        "Preprocess": lambda job: job["ProcessingResources"]["ClusterConfig"],
        "Train": lambda job: job["ResourceConfig"],
        "Predict with candidate": lambda job: job["TransformResources"],
        "Predict with champion": lambda job: job["TransformResources"],
        "Baseline data drift": lambda job: job["ProcessingResources"]["ClusterConfig"],
        "Baseline model quality": lambda job: job["ProcessingResources"]["ClusterConfig"],
    }
    keys = ("VolumeKmsKeyId", "KmsKeyId")
    instances = {
        step: {name: value for name, value in machine.items() if name not in keys}
        for step, machine in WORK["Instances"].items()
    }
    with_key, without = walk(), walk(work={"Instances": instances})
    for state, of in resources.items():
        assert of(with_key.called(state)[0])["VolumeKmsKeyId"] == KEY
        assert {"InstanceType", "InstanceCount"} <= set(of(without.called(state)[0])) <= {*MACHINE, "VolumeSizeInGB"}
        assert "VolumeKmsKeyId" not in of(without.called(state)[0])
    assert with_key.called("Create endpoint configuration")[0]["KmsKeyId"] == KEY
    assert "KmsKeyId" not in without.called("Create endpoint configuration")[0]


def test_jobs_and_model_have_no_network() -> None:
    walked = walk()
    for state in ("Train", "Save model"):
        assert walked.called(state)[0]["EnableNetworkIsolation"] is True
    for state in ("Preprocess", "Baseline data drift", "Baseline model quality"):
        assert walked.called(state)[0]["NetworkConfig"] == WORK["NetworkConfig"]
    assert walked.called("Train")[0]["EnableInterContainerTrafficEncryption"] is True


def test_rows_of_dropped_files_are_records_before_anything_trains_where_the_definition_says_so() -> None:
    """The job calls SageMaker, so it has a network: that of the stack, if that has one."""
    vpc = {**WORK["NetworkConfig"], "VpcConfig": VPC}
    done = walk(work={"Ingest": INGEST, "NetworkConfig": vpc})
    place = done.states.index("Ingest records")
    assert (done.states[place - 2], done.states[place + 1]) == ("Preprocess", "Seal preprocessor")
    (asked,) = done.called("Ingest records")
    assert asked["ProcessingJobName"] == f"{NAME}-ingest-0"
    assert asked["NetworkConfig"] == {**vpc, "EnableNetworkIsolation": False}
    assert asked["RoleArn"] == VALUES["IngestRoleArn"]
    options = iter(asked["AppSpecification"]["ContainerArguments"])
    given = dict(zip(options, options, strict=True))
    assert [given[f"--{name}"] for name in ("group", "record", "event-time", "bucket", "prefix", "role", "key")] == [
        f"{STACK}_sales", "sale", "sold", "lake", "raw/", VALUES["OfflineStoreRole"], KEY
    ]  # fmt: skip
    inputs = {one["InputName"]: one["S3Input"]["S3Uri"] for one in asked["ProcessingInputs"]}
    assert inputs["data"] == f"s3://cars/runs/{RUN}/ingest.manifest"
    (output,) = asked["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == f"s3://cars/ingested/{STACK}_sales"


def test_what_cannot_be_ingested_ends_the_run_before_anything_trains() -> None:
    ended = walk({"Ingest records": failing("States.TaskFailed", "row 7")(job)}, work={"Ingest": INGEST})
    assert ended.states[-1] == "Run failed"
    assert ended.cause == 'State "Ingest records" failed: row 7'
    assert not ended.called("Train")


WITHOUT_AN_INDEX = {"SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code", "PIP_NO_BUILD_ISOLATION": "0"}
"""The script is in the model, and pip (0: yes, as for any PIP_NO_) asks no index for what builds a package."""


def test_the_model_is_the_preprocessor_and_then_the_algorithm() -> None:
    first, second = walk().called("Save model")[0]["Containers"]
    assert first["ModelDataUrl"] == f"s3://cars/runs/{RUN}/serving/preprocessor.tar.gz"
    assert first["Environment"]["SAGEMAKER_PROGRAM"] == "inference.py"
    assert first["Environment"].items() >= WITHOUT_AN_INDEX.items()
    assert second == {"Image": WORK["Algorithm"]["Image"], "ModelDataUrl": f"s3://cars/runs/{RUN}/serving/model.tar.gz"}


def test_what_jobs_wrote_is_sealed_when_each_has_ended_and_looked_at_before_it_serves() -> None:
    done = walk()
    preprocessor, model = (done.called(f"Seal {what}")[0]["Payload"] for what in ("preprocessor", "model"))
    assert done.states.index("Seal preprocessor") == done.states.index("Preprocess") + 2  # is there anything to ingest?
    assert done.states.index("Seal model") == done.states.index("Train") + 1
    assert preprocessor["Uri"] == f"s3://cars/runs/{RUN}/preprocessor/model.tar.gz"
    assert model["Uri"] == "s3://cars/model.tar.gz"
    assert model["Champion"] == WORK["Champion"]
    again = walk({"Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION))})
    for way, champion in ((done, WORK["Champion"]), (again, NEW_CHAMPION)):
        looked = way.called("Check endpoint")[0]["Payload"]
        assert (looked["RunId"], looked["Champion"]) == (RUN, champion)


def test_a_model_whose_files_were_replaced_is_not_gone_back_to() -> None:
    done = walk({**DIFFERENT, "Check what serves": failing("ArtifactChangedError")(function({}))})
    assert not done.called("Restore previous model")
    assert f"not set back to {CHAMPION}, because files below s3://cars/runs/20261119100000-0a1b/serving/" in done.cause
    assert cause.explained(done.cause).endswith("answers differ")


@pytest.mark.parametrize("state", ["Predict with candidate", "Predict with champion"])
def test_requests_of_a_transform_hold_what_the_lines_of_the_test_set_are_made_for(state: str) -> None:
    """perennial.data.payload; with room to spare where a model is wider that came into service meanwhile."""
    (job,) = walk().called(state)
    assert (job["BatchStrategy"], job["MaxPayloadInMB"]) == ("MultiRecord", 1)
    assert int(job["Environment"]["MAX_CONTENT_LENGTH"]) == 20 * 2**20


def test_a_third_container_turns_answers_back_where_the_target_is_transformed() -> None:
    containers = walk(work={"TargetTransform": "log"}).called("Save model")[0]["Containers"]
    assert containers[:2] == walk().called("Save model")[0]["Containers"]
    (third,) = containers[2:]
    assert (third["Image"], third["ModelDataUrl"]) == (containers[0]["Image"], containers[0]["ModelDataUrl"])
    assert third["Environment"]["SAGEMAKER_PROGRAM"] == "postprocess.py"
    assert third["Environment"].items() >= WITHOUT_AN_INDEX.items()


def test_what_the_endpoint_is_asked_and_answers_is_captured_and_encrypted() -> None:
    capture = walk().called("Create endpoint configuration")[0]["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == 100
    assert [option["CaptureMode"] for option in capture["CaptureOptions"]] == ["Input", "Output"]
    assert (capture["DestinationS3Uri"], capture["KmsKeyId"]) == ("s3://cars/capture", VALUES["KmsKeyArn"])


@pytest.mark.parametrize(("state", "step"), JOBS.items())
def test_names_of_jobs_are_those_that_the_functions_know(state: str, step: str) -> None:
    (arguments,) = walk().called(state)
    (name,) = (value for key, value in arguments.items() if key.endswith("JobName"))
    assert name == naming.job_name(STACK, RUN, step)


# ---- Tuning


def test_the_best_trial_of_a_tuning_job_goes_on_as_a_training_job_does() -> None:
    done = walk(work={"Tuning": TUNING})
    assert done.error is None, done.cause
    assert "Train" not in done.states
    (asked,) = done.called("Tune")
    best = f"{asked['HyperParameterTuningJobName']}-003-0f0444b1"
    sealed_model = done.called("Seal model")[0]["Payload"]
    assert sealed_model["Uri"] == f"s3://cars/runs/{RUN}/model/{best}/output/model.tar.gz"
    (queried,) = (call["Payload"] for call in done.called("Query training results"))
    assert (queried["TrainingJobName"], queried["TuningJobName"]) == (best, asked["HyperParameterTuningJobName"])
    assert walk().called("Query training results")[0]["Payload"]["TuningJobName"] is None


def test_the_version_of_a_tuned_model_has_the_values_of_the_best_trial() -> None:
    (tuned,) = walk(work={"Tuning": TUNING}).called("Register model")
    (trained,) = walk().called("Register model")
    about = "CustomerMetadataProperties"
    assert tuned[about] == {**trained[about], "hyperparameter:max_depth": "4"}


def test_a_search_that_does_not_say_what_it_has_tuned_goes_on() -> None:
    def silent(call: Call) -> dict[str, Any]:
        answered = job(call)
        answered["BestTrainingJob"].pop("TunedHyperParameters")
        return answered

    assert walk({"Tune": silent}, work={"Tuning": TUNING}).error is None


def test_training_and_each_trial_may_be_on_machines_that_may_be_taken_away() -> None:
    (trained,) = walk(work={"Spot": SPOT}).called("Train")
    (tuned,) = walk(work={"Spot": SPOT, "Tuning": TUNING}).called("Tune")
    for job in (trained, tuned["TrainingJobDefinition"]):
        assert {name: job[name] for name in SPOT} == SPOT
    (usual,) = walk().called("Train")
    assert "EnableManagedSpotTraining" not in usual
    assert usual["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}


def test_a_trial_is_asked_for_as_a_training_job_is() -> None:
    (tuned,) = walk(work={"Tuning": TUNING}).called("Tune")
    (trained,) = walk().called("Train")
    trial = tuned["TrainingJobDefinition"]
    own = {"TrainingJobName", "Tags", "HyperParameters"}
    assert trial == {
        **{name: value for name, value in trained.items() if name not in own},
        "StaticHyperParameters": trained["HyperParameters"],
    }
    assert tuned["Tags"] == trained["Tags"]
    assert "WarmStartConfig" not in tuned


def test_a_search_goes_on_from_an_earlier_one_where_there_is_one() -> None:
    (asked,) = walk(work={"Tuning": {**TUNING, "WarmStart": PARENT}}).called("Tune")
    assert asked["WarmStartConfig"] == PARENT["WarmStartConfig"]


def test_a_tuning_job_that_is_tried_again_has_a_new_name_of_at_most_32_characters() -> None:
    waits = failing("SageMaker.ResourceLimitExceededException", times=80)
    names = [
        call["HyperParameterTuningJobName"]
        for call in walk({"Tune": waits(job)}, work={"Tuning": TUNING}).called("Tune")
    ]
    assert names == [f"0a1b2c3d-{RUN}-t{retry}" for retry in range(81)]
    assert max(map(len, names)) == 32


def test_a_tuning_job_that_the_platform_lost_is_tried_again() -> None:
    done = walk({"Tune": lost_by_the_platform(times=2)(job)}, work={"Tuning": TUNING})
    assert done.error is None, done.cause
    assert [call["HyperParameterTuningJobName"][-1] for call in done.called("Tune")] == ["0", "0", "1", "0", "1", "2"]


def test_a_tuning_job_that_was_stopped_is_a_failure() -> None:
    done = walk({"Tune": stopped}, work={"Tuning": TUNING})
    assert done.error == "States.QueryEvaluationError"
    assert "ended as Stopped" in (done.cause or "")


def test_a_tuning_job_whose_trials_all_failed_ends_the_run_with_its_reason() -> None:
    reason = "No training job succeeded after 5 attempts."
    done = walk({"Tune": lost_by_the_platform(reason, times=9)(job)}, work={"Tuning": TUNING})
    assert done.error == "States.TaskFailed"
    assert failed_in(done) == "Tune"
    assert reason in cause.explained(done.cause)
    assert len(done.called("Tune")) == 1


def test_a_run_that_began_before_there_were_tuning_jobs_trains() -> None:
    answers = {name: value for name, value in WORK.items() if name != "Tuning"}
    assert "Train" in walk({"Resolve configuration": function(answers)}).states


# ---- When it goes otherwise


@pytest.mark.parametrize("decision", ["Duplicate", "Superseded", "AlreadyTrained", "NoData"])
def test_a_run_without_work_is_a_success_that_says_why(decision: str) -> None:
    answer = {"Decision": decision, "Reason": "because", "RunId": RUN, "Name": NAME}
    done = walk({"Resolve configuration": function(answer)})
    assert done.states[-1] == "Nothing to do"
    assert done.output == {"Decision": decision, "Reason": "because"}
    assert len(done.calls) == 1


def test_a_decision_that_is_not_known_is_no_success() -> None:
    done = walk({"Resolve configuration": function({"Decision": "Trian"})})
    assert done.error == "UnknownDecision"
    assert "Trian" in (done.cause or "")


@pytest.mark.parametrize(
    "verdict",
    [
        {"MeetsThreshold": False, "Accepted": False},
        {"MeetsThreshold": True, "Accepted": False, "BeatsChampion": False},
        {"MeetsThreshold": None, "Accepted": None, "Candidate": None},
    ],
    ids=["threshold", "previous best", "no metric"],
)
def test_a_model_that_is_not_good_enough_changes_nothing(verdict: dict[str, Any]) -> None:
    done = walk({"Query training results": function({**RESULT, **verdict, "Reason": "too bad"})})
    assert (done.error, done.cause) == ("ModelAccuracyTooLow", "too bad")
    assert not {call.state for call in done.calls} & {"Create endpoint configuration", "Update endpoint"}
    assert exported(done) == []


def test_a_model_that_its_run_may_not_deploy_is_measured_and_changes_nothing() -> None:
    done = walk(work={"Withheld": "its input decides data_prefix"})
    assert (done.error, done.states[-1], done.states[-3]) == (None, "Trained only", "Better than previous best?")
    assert done.output["Withheld"] == "its input decides data_prefix"
    assert (done.output["Candidate"], done.output["Champion"]) == (2000.0, 2500.0)
    on_the_way = {call.state for call in walk().calls}
    assert on_the_way - {call.state for call in done.calls} == {
        "Reserve deployment", "Baseline data drift", "Baseline model quality", "List baselines",
        "Register model", "Create endpoint configuration", "Check endpoint", "Update endpoint", "Check deployment",
        "Verify endpoint", "Write parameter", "Clean up",
    }  # fmt: skip


def test_a_model_that_its_run_may_not_deploy_is_rejected_like_any_other() -> None:
    bad = {"Query training results": function({**RESULT, "Accepted": False})}
    assert walk(bad, work={"Withheld": "why"}).error == "ModelAccuracyTooLow"


def tasks() -> list[str]:
    on_the_way = set(walk().states)
    return [name for name, body in asl.states(DEFINITION) if body["Type"] == "Task" and name in on_the_way]


@pytest.mark.parametrize("state", tasks())
def test_an_error_of_any_task_ends_the_run_as_failed_and_names_the_state(state: str) -> None:
    done = walk({state: failing("BadError", '{"errorMessage": "why"}')(job)})
    assert done.error == "BadError"
    assert failed_in(done) == state
    assert cause.explained(done.cause).endswith("why")
    assert "Model in service" not in done.states
    assert exported(done) == {"Write parameter": ["model"], "Clean up": EXPORTED}.get(state, [])


LOOKS = [("Save model", "Look for model"), ("Create endpoint configuration", "Look for configuration")]
LOST = 'Cannot create already existing model "arn:aws:sagemaker:eu-west-1:123456789012:model/x".'


def after_a_lost_answer(state: str, look: str, target_transform: str = "none", **other: Any) -> Walk:
    """What comes of a creation whose answer was lost, when what is there is as asked for but for some members."""
    asked: dict[str, Any] = {}

    def created(call: Call) -> Any:
        asked.update(call.arguments)
        raise StateError(refusing(state), LOST)

    return walk({state: created, look: lambda call: {**asked, **other}}, work={"TargetTransform": target_transform})


@pytest.mark.parametrize(("state", "look"), LOOKS)
@pytest.mark.parametrize("target_transform", ["none", "log"])
def test_what_was_made_though_the_answer_was_lost_is_gone_on_with(state: str, look: str, target_transform: str) -> None:
    done = after_a_lost_answer(state, look, target_transform)
    assert (done.error, done.states.count(look)) == (None, 1)
    assert exported(done) == EXPORTED


OTHERS = [
    (0, {"ExecutionRoleArn": "another"}),
    (0, {"Containers": [{"Image": "another"}]}),
    (1, {"ProductionVariants": [{"ModelName": "another"}]}),
    (1, {"ProductionVariants": []}),
]


@pytest.mark.parametrize(("which", "other"), OTHERS)
def test_what_is_there_but_is_another_fails_as_the_creation_did(which: int, other: dict[str, Any]) -> None:
    state, look = LOOKS[which]
    done = after_a_lost_answer(state, look, **other)
    assert (done.error, done.cause) == (refusing(state), f'State "{state}" failed: {LOST}')
    assert exported(done) == []


@pytest.mark.parametrize("state", JOBS)
def test_a_job_that_was_stopped_or_met_its_time_limit_is_a_failure(state: str) -> None:
    done = walk({state: stopped})
    assert done.error == "States.QueryEvaluationError"
    assert "ended as Stopped" in (done.cause or "")
    assert exported(done) == []


@pytest.mark.parametrize("state", [*JOBS, "Predict with new champion"])
def test_a_job_whose_status_is_not_told_has_not_failed(state: str) -> None:
    """What of a description a `.sync` task answers is not documented; a job that failed is an error of the task."""

    def answer(call: Call) -> dict[str, Any]:
        return {name: value for name, value in job(call).items() if not name.endswith("JobStatus")}

    way = {"Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION))}
    done = walk({**(way if state == "Predict with new champion" else {}), state: answer})
    assert done.error is None, done.cause
    assert done.called(state)


@pytest.mark.parametrize(("state", "step"), JOBS.items())
def test_a_job_that_is_tried_again_has_a_new_name_that_fits(state: str, step: str) -> None:
    waits = failing("SageMaker.ResourceLimitExceededException", times=80)
    done = walk({state: waits(job)})
    assert done.error is None, done.cause
    names = [value for call in done.called(state) for key, value in call.items() if key.endswith("JobName")]
    assert names == [naming.job_name(STACK, RUN, step, retry) for retry in range(81)]
    assert all(len(name) <= naming.MAX_NAME and re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name) for name in names)


@pytest.mark.parametrize("reason", [NO_CAPACITY, "InternalServerError: We encountered an internal error."])
@pytest.mark.parametrize(("state", "step"), JOBS.items())
def test_a_job_that_the_platform_lost_is_tried_again_under_a_new_name(state: str, step: str, reason: str) -> None:
    done = walk({state: lost_by_the_platform(reason, times=3)(job)})
    assert done.error is None, done.cause
    names = [value for call in done.called(state) for key, value in call.items() if key.endswith("JobName")]
    assert [int(name.rpartition("-")[2]) for name in names] == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]
    assert names[-1] == naming.job_name(STACK, RUN, step, 3)
    assert exported(done) == EXPORTED


def test_a_platform_that_stays_out_of_machines_ends_the_run_with_its_words() -> None:
    done = walk({"Train": lost_by_the_platform(times=1000)(job)})
    assert done.error == "States.TaskFailed"
    assert cause.failed_state(done.cause) == "Train"
    assert NO_CAPACITY in cause.explained(done.cause)
    assert naming.job_name(STACK, RUN, "train", 10) in cause.explained(done.cause)
    assert done.states.count("Train") == 11


def test_a_new_comparison_that_the_platform_lost_is_made_again() -> None:
    done = walk(
        {
            "Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION)),
            "Predict with new champion": lost_by_the_platform()(job),
        }
    )
    assert done.error is None, done.cause
    names = [call["TransformJobName"] for call in done.called("Predict with new champion")]
    assert names == [naming.job_name(STACK, RUN, "again", retry) for retry in (0, 0, 1)]


@pytest.mark.parametrize(
    "said",
    [
        {"FailureReason": "AlgorithmError: , exit code: 1"},
        {"FailureReason": "ClientError: Data download failed"},
        {"FailureReason": "AlgorithmError: InternalServerError: no"},
        {"FailureReason": "AlgorithmError: , exit code: 1", "ExitMessage": '"FailureReason": "CapacityError: "'},
    ],
)
@pytest.mark.parametrize("state", JOBS)
def test_a_job_that_failed_itself_is_not_tried_again(state: str, said: dict[str, str]) -> None:
    done = walk({state: lost_by_the_platform("", times=1000, **said)(job)})
    assert done.error == "States.TaskFailed"
    assert len(done.called(state)) == 1


def test_a_quota_that_never_frees_up_ends_the_run() -> None:
    done = walk({"Train": failing("SageMaker.ResourceLimitExceededException", "quota")(job)})
    assert done.error == "SageMaker.ResourceLimitExceededException"
    assert len(done.called("Train")) == 81


@pytest.mark.parametrize("error", ["States.TaskFailed", "States.Timeout", "DataError"])
def test_what_fails_again_is_not_tried_again(error: str) -> None:
    assert len(walk({"Preprocess": failing(error)(job)}).called("Preprocess")) == 1


FUNCTIONS = [name for name, body in asl.states(DEFINITION) if body.get("Resource", "").endswith("lambda:invoke")]
OVER_TIME = ["Sandbox.Timedout", "Lambda.Unknown", "Lambda.ClientExecutionTimeoutException", "States.Timeout"]


def retrier(state: str, error: str) -> dict[str, Any]:
    body = dict(asl.states(DEFINITION))[state]
    return next(dict(found) for found in body["Retry"] if error in found["ErrorEquals"])


@pytest.mark.parametrize("state", FUNCTIONS)
def test_a_function_without_room_does_not_use_up_the_attempts_of_other_errors(state: str) -> None:
    assert retrier(state, "Lambda.TooManyRequestsException")["ErrorEquals"] == ["Lambda.TooManyRequestsException"]


@pytest.mark.parametrize("seconds", [2, 5, 10, 20])
def test_a_thousand_drops_at_once_all_get_through_ten_functions(seconds: float) -> None:
    """Each call takes so long; what finds no room waits a random part of the pause (JitterStrategy FULL).

    A thousand calls of 10 seconds keep ten functions busy for 1,000 seconds. Forty attempts take 84 minutes on average:
    pauses of up to 2, 4, ... 256 seconds, half of it 255, and 32 of up to 300 seconds, half of it 4,800.
    """
    retries = retrier("Resolve configuration", "Lambda.TooManyRequestsException")
    chance = random.Random(1)
    asking = [(chance.uniform(0, 2), drop, 0) for drop in range(1000)]
    heapq.heapify(asking)
    ends: list[float] = []
    while asking:
        now, drop, attempt = heapq.heappop(asking)
        ends = [end for end in ends if end > now]
        if len(ends) < 10:
            ends.append(now + seconds)
            continue
        assert attempt < retries["MaxAttempts"], f"drop {drop} is lost after {now:.0f} s"
        pause = retries["IntervalSeconds"] * retries["BackoffRate"] ** attempt
        heapq.heappush(asking, (now + chance.uniform(0, min(pause, retries["MaxDelaySeconds"])), drop, attempt + 1))


@pytest.mark.parametrize("error", OVER_TIME)
@pytest.mark.parametrize("state", FUNCTIONS)
def test_a_function_that_was_cut_short_is_asked_again_because_it_goes_on(state: str, error: str) -> None:
    assert retrier(state, error)["MaxAttempts"] == 2


@pytest.mark.parametrize("state", ["List baselines", "Write parameter"])
def test_what_can_be_asked_twice_is_asked_again_after_its_time(state: str) -> None:
    done = walk({state: failing("States.Timeout", times=1)(fakes()[state])})
    assert done.error is None, done.cause


def test_what_would_be_made_twice_is_not_asked_again_after_its_time() -> None:
    for state in (*JOBS, "Predict with new champion", "Save model", "Create endpoint configuration"):
        retries = dict(asl.states(DEFINITION))[state]["Retry"]
        assert not [found for found in retries if "States.Timeout" in found["ErrorEquals"]], state


def test_a_claim_that_changes_hands_is_asked_for_again() -> None:
    answer = failing("ClaimContestedError", times=2)(function(WORK))
    assert walk({"Resolve configuration": answer}).error is None


# ---- Whose turn it is


def test_a_run_waits_while_another_one_deploys() -> None:
    done = walk({"Reserve deployment": functions(turn("Wait"), turn("Wait"), turn("Deploy"))})
    assert done.error is None, done.cause
    assert done.states.count("Wait for turn") == 2
    assert len(done.called("Baseline data drift")) == 1


def test_a_turn_that_never_comes_ends_the_run_after_a_day_and_names_the_other_run() -> None:
    done = walk({"Reserve deployment": function(turn("Wait"))}, limit=20_000)
    assert done.error == "DeploymentBusy"
    assert "because Wait" in (done.cause or "")
    assert cause.failed_state(done.cause) == "Reserve deployment"
    assert exported(done) == []


def test_a_model_that_came_into_service_meanwhile_is_compared_with_on_the_same_test_set() -> None:
    done = walk({"Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION))})
    assert done.error is None, done.cause
    (again,) = done.called("Predict with new champion")
    assert again["ModelName"] == NEW_CHAMPION["ModelName"]
    assert again["TransformJobName"] == naming.job_name(STACK, RUN, "again")
    assert again["TransformInput"] == done.called("Predict with candidate")[0]["TransformInput"]
    first, second = (arguments["Payload"] for arguments in done.called("Query training results"))
    assert first["ChampionPredictions"] != second["ChampionPredictions"] == again["TransformOutput"]["S3OutputPath"]
    assert done.called("Reserve deployment")[1]["Payload"]["Champion"] == NEW_CHAMPION
    assert len(done.called("Predict with candidate")) == len(done.called("Baseline data drift")) == 1


def test_a_candidate_that_loses_the_second_comparison_is_rejected() -> None:
    worse = {**RESULT, "Accepted": False, "Reason": "worse"}
    done = walk(
        {
            "Reserve deployment": function(turn("Compare", NEW_CHAMPION)),
            "Query training results": functions(RESULT, worse),
        }
    )
    assert (done.error, done.cause) == ("ModelAccuracyTooLow", "worse")
    assert exported(done) == []


def test_what_is_taken_back_after_a_second_comparison_is_the_model_of_then() -> None:
    done = walk(
        {
            "Reserve deployment": functions(turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION)),
            "Verify endpoint": failing("EndpointVerificationError")(function({})),
        }
    )
    (restored,) = done.called("Restore previous model")
    assert restored["EndpointConfigName"] == NEW_CHAMPION["EndpointConfigName"]


def test_older_data_do_not_replace_newer_ones() -> None:
    done = walk({"Reserve deployment": function(turn("Superseded", NEW_CHAMPION))})
    assert (done.error, done.cause) == ("SupersededByNewerData", "because Superseded")
    assert not {call.state for call in done.calls} & {"Create endpoint configuration", "Update endpoint"}
    assert exported(done) == []


# ---- Approval by people


def test_a_stack_that_asks_people_registers_a_pending_version_and_asks_with_a_token() -> None:
    done = walk(definition=MANUAL)
    assert done.error is None, done.cause
    assert done.called("Register model")[0]["ModelApprovalStatus"] == "PendingManualApproval"
    (asked,) = (arguments["Payload"] for arguments in done.called("Wait for approval"))
    assert (asked["RunId"], asked["Version"], asked["Days"], asked["TaskToken"]) == (RUN, VERSION, 7, "token")
    assert not walk().called("Wait for approval")


def test_a_run_that_was_approved_asks_for_its_turn_again_and_makes_nothing_twice() -> None:
    done = walk({"Reserve deployment": functions(turn("Deploy"), turn("Wait"), turn("Deploy"))}, definition=MANUAL)
    assert done.error is None, done.cause
    assert done.states.index("Wait for approval") < done.states.index("Wait for turn")
    once = ("Baseline data drift", "Register model", "Wait for approval", "Create endpoint configuration")
    assert [len(done.called(state)) for state in once] == [1, 1, 1, 1]
    assert exported(done) == EXPORTED


def test_a_run_that_was_approved_has_a_day_again_for_its_turn() -> None:
    def days_later(call: Call) -> dict[str, Any]:
        waiting.now += 5 * 86_400_000
        return {}

    turns = functions(turn("Deploy"), turn("Wait"), turn("Deploy"))
    waiting = Walk(MANUAL, {**fakes(), "Reserve deployment": turns, "Wait for approval": days_later})
    assert waiting.run().error is None, waiting.cause


def test_a_model_that_came_while_people_decided_is_compared_with_before_the_approved_one_serves() -> None:
    turns = functions(turn("Deploy"), turn("Compare", NEW_CHAMPION), turn("Deploy", NEW_CHAMPION))
    done = walk({"Reserve deployment": turns}, definition=MANUAL)
    assert done.error is None, done.cause
    assert done.called("Predict with new champion")[0]["ModelName"] == NEW_CHAMPION["ModelName"]
    assert len(done.called("Wait for approval")) == 1
    assert exported(done) == EXPORTED


@pytest.mark.parametrize(
    ("raised", "error", "why"),
    [
        (
            ("VersionRejectedError", "somebody has rejected it: biased"),
            "VersionRejectedError",
            "somebody has rejected it: biased",
        ),
        (("States.Timeout", ""), "ApprovalTimedOut", "nobody has approved or rejected it within 7 days"),
    ],
    ids=["rejected", "not answered"],
)
def test_a_version_that_was_not_approved_ends_the_run_and_changes_nothing(
    raised: tuple[str, str], error: str, why: str
) -> None:
    done = walk({"Wait for approval": failing(*raised)(job)}, definition=MANUAL)
    assert (done.error, cause.failed_state(done.cause)) == (error, "Wait for approval")
    assert cause.explained(done.cause) == f"version 3: {why}"
    assert run_status("FAILED", error) == NOT_APPROVED
    assert not {call.state for call in done.calls} & {"Create endpoint configuration", "Update endpoint"}
    assert exported(done) == []


# ---- A version of an earlier run

DEPLOYED: dict[str, Any] = {
    "Decision": "Deploy",
    "DeploymentId": "20261121100000-0a1b",
    "Version": {
        "Arn": VERSION,
        "Number": 3,
        "Containers": [{"Image": "sklearn", "ModelDataUrl": "s3://p"}, {"Image": "xgboost", "ModelDataUrl": "s3://m"}],
        "Result": {"Metric": "rmse", "Candidate": 2000.0, "Champion": 2500.0, "Reason": "the newest approved one"},
    },
}


def given_turn(model: bool, configuration: bool) -> dict[str, Fake]:
    """The turn, with what is there of the version as it would be made now."""
    there = {"Model": model, "Configuration": configuration}
    return {"Reserve deployment": function({**turn("Deploy"), "There": there})}


def test_a_version_of_an_earlier_run_is_only_deployed() -> None:
    done = walk(given_turn(model=False, configuration=False), work={**DEPLOYED, "Vpc": {"VpcConfig": VPC}})
    assert done.error is None, done.cause
    trains = {"Snapshot data", *JOBS, "Query training results", "Register model", "Wait for approval"}
    assert not {call.state for call in done.calls} & trains
    assert done.called("Save model")[0]["Containers"] == DEPLOYED["Version"]["Containers"]
    assert done.called("Reserve deployment")[0]["Payload"]["DeploymentId"] == DEPLOYED["DeploymentId"]
    assert done.called("Update endpoint") == [update_to(NAME)]
    exports = {one["Name"]: one["Value"] for one in done.called("Write parameter")}
    assert (exports[f"/{STACK}/run"], exports[f"/{STACK}/model-package"]) == (RUN, VERSION)
    assert (done.output["ModelPackage"], done.output["Reason"]) == (VERSION, "the newest approved one")


MAKES = ("Save model", "Create endpoint configuration")


@pytest.mark.parametrize("model", [True, False])
@pytest.mark.parametrize("configuration", [True, False])
def test_of_a_version_what_is_still_there_as_it_would_be_made_is_not_made_again(
    model: bool, configuration: bool
) -> None:
    done = walk(given_turn(model, configuration), work=DEPLOYED)
    assert done.error is None, done.cause
    assert exported(done) == EXPORTED
    made = [name for name, there in zip(MAKES, (model, configuration), strict=True) if not there]
    assert [call.state for call in done.calls if call.state in MAKES] == made
    assert len(done.called("Reserve deployment")) == 1


@pytest.mark.parametrize("keys", [{"KmsKeyId": KEY}, {}])
def test_whether_it_is_as_it_would_be_made_is_asked_of_the_requests_that_make_it(keys: dict[str, str]) -> None:
    endpoint = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1, **keys}
    instances = {**WORK["Instances"], "Endpoint": endpoint}
    work = {**DEPLOYED, "Vpc": {"VpcConfig": VPC}, "Instances": instances}
    done = walk(given_turn(model=False, configuration=False), work=work)
    (asked,) = (call["Payload"] for call in done.called("Reserve deployment"))
    made, configured = (done.called(name)[0] for name in MAKES)
    assert asked["Model"] == made
    assert {**asked["Configuration"], "Tags": configured["Tags"]} == configured
    assert made["VpcConfig"] == VPC
    trained = walk().called("Reserve deployment")[0]["Payload"]
    assert (trained["Model"], trained["Configuration"]) == (None, None)


def test_a_version_that_is_not_the_newest_approved_one_any_more_stays_out() -> None:
    done = walk({"Reserve deployment": function(turn("Superseded"))}, work=DEPLOYED)
    assert done.error == "SupersededByNewerData"
    assert exported(done) == []


def test_a_version_that_was_rejected_after_its_approval_does_not_serve() -> None:
    raised = failing("VersionRejectedError", '{"errorMessage": "version 3: somebody has rejected it"}')
    done = walk({"Reserve deployment": in_turn(reserved, raised(job))}, definition=MANUAL)
    assert run_status("FAILED", done.error) == NOT_APPROVED
    assert exported(done) == []


# ---- The baselines


def test_baselines_are_looked_for_where_the_jobs_write_and_where_the_exported_names_point() -> None:
    done = walk()
    (looked,) = done.called("List baselines")
    folder = f"s3://{looked['Bucket']}/{looked['Prefix']}"
    written = [
        output["S3Output"]["S3Uri"]
        for state in ("Baseline data drift", "Baseline model quality")
        for output in done.called(state)[0]["ProcessingOutputConfig"]["Outputs"]
    ]
    named = [item["Value"] for item in done.called("Write parameter") if item["Name"].endswith("-baseline")]
    assert written == [*named, f"{folder}analysis"]
    assert named == [
        f"{folder}data-quality", f"{folder}model-quality", f"{folder}attribution", f"{folder}bias",
    ]  # fmt: skip


@pytest.mark.parametrize("missing", [[name] for name in BASELINES] + [BASELINES[:2], BASELINES[2:], BASELINES[1:3]])
def test_a_baseline_that_is_not_there_ends_the_run_before_the_endpoint_and_names_file_and_job(
    missing: list[str],
) -> None:
    done = walk({"List baselines": listed(*(name for name in BASELINES if name not in missing))})
    assert done.error == "BaselinesMissing"
    assert cause.failed_state(done.cause) == "Create baselines"
    jobs = dict.fromkeys(naming.job_name(STACK, RUN, STEPS[name.partition("/")[0]]) for name in missing)
    assert cause.explained(done.cause) == (
        f"its jobs completed, but s3://cars/runs/{RUN}/baselines has no {', '.join(missing)}; "
        f"see the log of {' and '.join(jobs)}"
    )
    assert not {call.state for call in done.calls} & {"Create endpoint configuration", "Update endpoint"}
    assert exported(done) == []


@pytest.mark.parametrize("empty", [listed(), lambda call: {"KeyCount": 0, "Contents": []}], ids=["absent", "empty"])
def test_no_baseline_at_all_names_every_file_and_both_jobs(empty: Fake) -> None:
    said = walk({"List baselines": empty}).cause or ""
    assert all(name in said for name in BASELINES)
    assert all(naming.job_name(STACK, RUN, step) in said for step in ("data-quality", "model-quality"))


def test_the_job_that_is_named_is_the_one_that_completed_not_an_earlier_attempt() -> None:
    tried_again = failing("SageMaker.AmazonSageMakerException", times=2)(job)
    done = walk({"Baseline data drift": tried_again, "List baselines": listed(*BASELINES[2:])})
    assert (done.cause or "").endswith(naming.job_name(STACK, RUN, "data-quality", 2))


def test_other_files_beside_the_baselines_do_no_harm() -> None:
    assert walk({"List baselines": listed("", *BASELINES, "data-quality/report.html")}).error is None


# ---- The endpoint


def test_an_update_in_progress_is_waited_out() -> None:
    done = walk({"Check endpoint": functions(*[seen("Wait", CHAMPION, "Updating")] * 5, seen("Update", CHAMPION))})
    assert done.error is None, done.cause
    assert done.states.count("Wait for endpoint") == 5


@pytest.mark.parametrize("state", ["Check endpoint", "Check deployment"])
def test_an_endpoint_that_does_not_settle_ends_the_run_after_two_hours(state: str) -> None:
    done = walk({state: function(seen("Wait", CHAMPION, "Updating"))})
    assert done.error == "DeploymentFailed"
    assert "because Wait" in (done.cause or "")
    assert "within two hours" in (done.cause or "")
    assert done.now - Walk(DEFINITION, {}).now <= 7_200_000 + (30 + 120) * 1000  # the last pause is the longest
    assert done.states.count(state) < 120  # pauses grow: the history of an execution ends at 25,000 events
    assert exported(done) == []


def test_a_failed_endpoint_is_deleted_and_made_again() -> None:
    looks = functions(
        seen("Recreate", None, "Failed"), seen("Wait", None, "Deleting"), seen("Create", None, "NotFound")
    )
    done = walk({"Check endpoint": looks})
    assert done.error is None, done.cause
    order = [state for state in done.states if state in ("Delete failed endpoint", "Create endpoint")]
    assert order == ["Delete failed endpoint", "Create endpoint"]


BUSY = 'Cannot update in-progress endpoint "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x".'
TAKEN = 'Cannot create already existing endpoint "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x".'
ABSENT = 'Could not find endpoint "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x".'
CHANGED_MEANWHILE = [
    ("Create endpoint", TAKEN, seen("Create", None, "NotFound")),
    ("Update endpoint", BUSY, seen("Update", CHAMPION)),
    ("Update endpoint", ABSENT, seen("Update", CHAMPION)),
    ("Delete failed endpoint", BUSY, seen("Recreate", None, "Failed")),
    ("Delete failed endpoint", ABSENT, seen("Recreate", None, "Failed")),
]


def refusing(state: str) -> str:
    """The name of any refusal by SageMaker."""
    sdk = ":aws-sdk:" in dict(asl.states(DEFINITION))[state]["Resource"]
    return f"SageMaker.{'SageMaker' if sdk else 'AmazonSageMaker'}Exception"


@pytest.mark.parametrize("after", [seen("Done", NAME), seen("Update", "another")], ids=["our own", "another's"])
@pytest.mark.parametrize(("state", "text", "before"), CHANGED_MEANWHILE)
def test_an_endpoint_that_has_changed_meanwhile_is_looked_at_again(
    state: str, text: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    looks = functions(before, seen("Wait", None, "Updating"), after)
    done = walk({state: failing(refusing(state), text)(fakes()[state]), "Check endpoint": looks, **still(state)})
    assert done.error is None, done.cause
    assert done.states.count("Wait for endpoint") == 2
    assert exported(done) == EXPORTED


def still(state: str) -> dict[str, Fake]:
    """An update is refused five times, its retries included, and then works."""
    busy = failing(refusing(state), BUSY, times=5)
    return {state: busy(fakes()[state])} if state == "Update endpoint" else {}


@pytest.mark.parametrize(("state", "text", "before"), CHANGED_MEANWHILE)
def test_an_endpoint_that_changes_for_ever_ends_the_run_after_two_hours(
    state: str, text: str, before: dict[str, Any]
) -> None:
    done = walk({state: failing(refusing(state), text)(fakes()[state]), "Check endpoint": function(before)})
    assert (done.error, cause.failed_state(done.cause)) == (refusing(state), state)
    assert text in (done.cause or "")
    assert 2 < done.states.count(state) < 120


def test_an_endpoint_that_was_deleted_between_look_and_update_is_created() -> None:
    looks = functions(seen("Update", CHAMPION), seen("Create", None, "NotFound"))
    done = walk(
        {"Check endpoint": looks, "Update endpoint": failing(refusing("Update endpoint"), ABSENT)(function({}))}
    )
    assert done.error is None, done.cause
    assert done.called("Create endpoint")
    assert exported(done) == EXPORTED


def test_a_configuration_that_is_gone_is_not_looked_for_in_the_endpoint() -> None:
    text = 'Could not find endpoint configuration "arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/x".'
    done = walk({"Update endpoint": failing(refusing("Update endpoint"), text)(function({}))})
    assert (done.error, done.states.count("Check endpoint")) == (refusing("Update endpoint"), 1)


@pytest.mark.parametrize("action", ["RolledBack", "Failed", "Surprise"])
def test_a_deployment_that_was_rolled_back_is_a_failure_that_says_what_serves(action: str) -> None:
    done = walk({"Check deployment": function(seen(action, CHAMPION))})
    assert done.error == "DeploymentFailed"
    assert f"does not serve {NAME}: because {action}" in (done.cause or "")
    assert exported(done) == []


def test_a_deployment_that_is_already_there_is_verified_and_not_repeated() -> None:
    done = walk({"Check endpoint": function(seen("Done", NAME))})
    assert done.error is None
    assert not done.called("Update endpoint")


def test_a_model_that_answers_otherwise_than_tested_is_taken_back() -> None:
    looks = [seen_going_back("InService"), seen_going_back("Updating"), seen_going_back("InService", CHAMPION)]
    done = walk({**DIFFERENT, "Check what serves": functions(*looks)})
    assert done.called("Restore previous model") == [update_to(CHAMPION)]
    assert done.error == "EndpointVerificationError"
    assert cause.failed_state(done.cause) == "Verify endpoint"
    assert cause.explained(done.cause) == f"The endpoint serves {CHAMPION} again. Nothing was exported. answers differ"
    assert exported(done) == []


@pytest.mark.parametrize(
    ("settled", "asked", "told"),
    [
        (seen_going_back("InService"), 2, f"The endpoint serves {CHAMPION} again."),
        (seen_going_back("InService", CHAMPION), 1, f"The endpoint serves {CHAMPION} again."),
        (seen_going_back("InService", "theirs"), 1, "The endpoint serves theirs, which somebody else has deployed and"),
    ],
    ids=["ours", "the previous one", "theirs"],
)
def test_a_change_that_is_in_the_way_of_the_way_back_is_waited_out_and_then_what_serves_decides(
    settled: dict[str, Any], asked: int, told: str
) -> None:
    busy = failing(refusing("Restore previous model"), BUSY, times=5)(function({}))  # its retries included
    looks = [seen_going_back("InService"), seen_going_back("Updating"), settled]
    looks += [seen_going_back("InService", CHAMPION)] if asked == 2 else []
    done = walk({**DIFFERENT, "Restore previous model": busy, "Check what serves": functions(*looks)})
    assert done.states.count("Restore previous model") == asked
    assert done.error == "EndpointVerificationError"
    assert cause.explained(done.cause).startswith(told)


def test_a_change_that_has_begun_before_the_first_look_is_waited_out_too() -> None:
    looks = [seen_going_back(status) for status in ("Updating", "Updating", "InService", "Updating")]
    looks.append(seen_going_back("InService", CHAMPION))
    done = walk({**DIFFERENT, "Check what serves": functions(*looks)})
    assert done.called("Restore previous model") == [update_to(CHAMPION)]
    assert f"serves {CHAMPION} again" in (done.cause or "")


def test_a_way_back_that_was_rolled_back_is_not_asked_for_again() -> None:
    looks = functions(seen_going_back("InService"), seen_going_back("Updating"), seen_going_back("InService"))
    done = walk({**DIFFERENT, "Check what serves": looks})
    assert done.states.count("Restore previous model") == 1
    assert cause.explained(done.cause).startswith(
        f"The endpoint serves {NAME}; it could not be set back to {CHAMPION}. Nothing was exported."
    )


@pytest.mark.parametrize(("status", "text"), [("InService", BUSY), ("Updating", "")], ids=["refuses", "changes"])
def test_an_endpoint_that_lets_itself_not_be_set_back_ends_the_run_after_two_hours(status: str, text: str) -> None:
    refuses = (
        {"Restore previous model": failing(refusing("Restore previous model"), text)(function({}))} if text else {}
    )
    start = walk(DIFFERENT).now
    done = walk({**DIFFERENT, **refuses, "Check what serves": function(seen_going_back(status))})
    assert done.error == "EndpointVerificationError"
    assert f"; it could not be set back to {CHAMPION}" in (done.cause or "")
    assert 7_000_000 < done.now - start < 7_200_000 + (30 + 120) * 1000
    assert done.states.count("Check what serves") < 120


BROKEN = failing("Broken")(function({}))
OURS = function(seen_going_back("InService"))


@pytest.mark.parametrize(
    ("looks", "refusal", "told"),
    [
        ([BROKEN], None, "What serves now is not known (Broken)."),
        ([OURS], "Refused", f"The endpoint serves {NAME}; it could not be set back to {CHAMPION} (Refused)."),
        ([OURS, BROKEN], None, f"The endpoint goes back to {CHAMPION}; whether it has done so is not known (Broken)."),
        ([OURS, BROKEN], "Refused", "What serves now is not known (Broken)."),
    ],
)
def test_a_model_that_cannot_be_taken_back_is_told_with_the_reason_of_the_failure(
    looks: list[Fake], refusal: str | None, told: str
) -> None:
    refuses = {"Restore previous model": failing(refusal)(function({}))} if refusal else {}
    done = walk({**DIFFERENT, **refuses, "Check what serves": in_turn(*looks)})
    assert done.error == "EndpointVerificationError"
    assert cause.explained(done.cause) == f"{told} Nothing was exported. answers differ"
    assert exported(done) == []


def test_a_refusal_without_a_cause_is_told_as_any_other() -> None:
    """Whether a time-out of Step Functions always has one is not written."""
    late = failing("States.Timeout", None)(function({}))  # type: ignore[arg-type]
    done = walk({**DIFFERENT, "Restore previous model": late, "Check what serves": in_turn(OURS)})
    assert cause.explained(done.cause).startswith(
        f"The endpoint serves {NAME}; it could not be set back to {CHAMPION} (States.Timeout)."
    )


@pytest.mark.parametrize(
    ("champion", "serves", "told"),
    [
        (None, "InService", "The endpoint is InService, and there is no model to go back to. Nothing was exported."),
        (WORK["Champion"], "another", "The endpoint serves another, which somebody else has deployed"),
    ],
    ids=["no previous model", "somebody was faster"],
)
def test_only_what_this_run_deployed_over_a_model_is_taken_back(champion: Any, serves: str, told: str) -> None:
    if champion:
        found = seen_going_back("InService", serves)
    else:
        found = seen("Failed", NAME) | {"Reason": endpoint.decide({"EndpointStatus": serves}, NAME, "Back").reason}
    done = walk({**DIFFERENT, "Check what serves": function(found)}, work={"Champion": champion})
    assert not done.called("Restore previous model")
    assert done.error == "EndpointVerificationError"
    assert cause.explained(done.cause).startswith(told)


def test_the_cause_of_a_failure_is_cut_to_what_step_functions_takes() -> None:
    done = walk({"Train": failing("States.TaskFailed", json.dumps({"FailureReason": "x" * 40_000}))(job)})
    assert len(done.cause or "") <= 32_768
