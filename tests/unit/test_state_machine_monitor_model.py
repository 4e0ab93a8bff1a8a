"""The monitoring flow, walked: what it asks of AWS, how it ends, and that every element of it is taken by some walk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator

from perennial.runs import naming
from processing import monitor
from tests import flow_elements
from tests.unit.state_machine_walk import Call, Fake, Walk
from tests.unit.test_state_machine_train_model import (
    METADATA,
    RUN,
    STACK,
    failing,
    function,
    job,
    lost_by_the_platform,
    stopped,
)
from tools import asl, aws_api

pytestmark = pytest.mark.xdist_group("walks")

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "statemachines" / "monitor_model.asl.json").read_text()
WINDOW = "20261129100000-0a1b"
VALUES = {
    "Partition": "aws",
    "StackName": STACK,
    "ModelName": "used-cars",
    "CostCenter": "research",
    "Bucket": "cars",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1",
    "EndpointName": STACK,
    "MonitorRoleArn": "arn:aws:iam::123456789012:role/MonitorRole",
    "TrainModelArn": f"arn:aws:states:eu-west-1:123456789012:stateMachine:{STACK}-train-model",
}
DEFINITION = asl.parse(asl.substituted(TEXT, VALUES))
STATES = dict(asl.states(DEFINITION))
CAPTURE = {
    "InputName": "capture",
    "S3Input": {
        "S3Uri": f"s3://cars/monitoring/{WINDOW}/capture.manifest",
        "LocalPath": "/opt/ml/processing/input/capture",
        "S3DataType": "ManifestFile",
        "S3InputMode": "File",
    },
}
RESOLVED: dict[str, Any] = {
    "Decision": "Judge",
    "Reason": "since the last one",
    "WindowId": WINDOW,
    "Name": naming.stem(STACK, WINDOW),
    "Prefix": f"s3://cars/monitoring/{WINDOW}",
    "CodeUri": "s3://cars/code/0123456789abcdef",
    "RunId": RUN,
    "ImageUri": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0",
    "Start": "2026-11-29T09:00:00Z",
    "End": "2026-11-29T10:00:00Z",
    "Cut": "",
    "Probe": False,
    "Inputs": [CAPTURE],
    "Cluster": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 20},
    "MaxRuntimeInSeconds": 3600,
    "NetworkConfig": {"EnableNetworkIsolation": True},
}
QUIET = {"Verdict": "Healthy", "Retrain": False, "Reason": "no drift", "Labelled": []}
LABELLED = {
    "CopySource": f"cars/monitoring/{WINDOW}/labelled/rows.csv",
    "Key": f"raw/labelled/{WINDOW}.csv",
    "Metadata": {"judged-window": WINDOW},
}
ALREADY_STARTED = "StepFunctions.ExecutionAlreadyExistsException"
DRIFTED = {"Verdict": "Drift", "Retrain": True, "Reason": "drift", "Labelled": [LABELLED]}


def fakes() -> dict[str, Fake]:
    """A world in which a window is judged and has drifted."""
    return {
        "Resolve window": function(RESOLVED),
        "Probe endpoint": function({"Rows": 500, "Reason": ""}),
        "Judge window": job,
        "Decide retraining": function(DRIFTED),
        "Copy labelled rows": lambda call: {"CopyObjectResult": {"ETag": '"1"'}},
        "Start training": lambda call: {"ExecutionArn": "arn", **METADATA},
    }


def walk(otherwise: Mapping[str, Fake] | None = None, **resolved: Any) -> Walk:
    known = {**fakes(), "Resolve window": function({**RESOLVED, **resolved}), **(otherwise or {})}
    return Walk(DEFINITION, known).run()


def scenarios() -> list[Walk]:
    """The ways through the flow, without and with errors of every task."""
    ways = [
        walk(),
        walk({"Decide retraining": function({**DRIFTED, "Labelled": []})}),
        walk({"Decide retraining": function(QUIET)}),
        walk(Decision="NoWindow"),
        walk(Decision="Surprise"),
        walk({"Judge window": lost_by_the_platform()(job)}),
        walk({"Judge window": stopped}),
        walk({"Start training": failing(ALREADY_STARTED)(fakes()["Start training"])}),
    ]
    for name, body in STATES.items():
        if body["Type"] == "Task":
            errors = [retrier["ErrorEquals"][0] for retrier in body.get("Retry", [])]
            ways += [walk({name: failing(error, times=1)(fakes()[name])}, Probe=True) for error in errors]
            ways.append(walk({name: failing("Broken")(fakes()[name])}, Probe=True))
    return ways


@pytest.fixture(scope="module")
def walked() -> set[str]:
    return {element for way in scenarios() for element in way.taken}


@pytest.mark.parametrize("state", STATES)
def test_every_element_of_the_flow_is_taken_by_a_walk(walked: set[str], state: str) -> None:
    assert sorted(flow_elements.of_state(state, STATES[state]) - walked) == []


def test_drift_starts_one_training_run_after_its_rows_are_among_the_data() -> None:
    judged = walk()
    assert judged.error is None
    assert judged.states[-5:] == [
        "Add labelled rows", "Copy labelled rows", "Retrain?", "Start training", "Window judged",
    ]  # fmt: skip
    (copied,), (started,) = judged.called("Copy labelled rows"), judged.called("Start training")
    assert copied == {"Bucket": "cars", **LABELLED, "MetadataDirective": "REPLACE", "ContentType": "text/csv"}
    assert started["Name"] == f"drift-{WINDOW}"
    assert started["Input"]["Trigger"] == {"Type": "Drift", "Id": WINDOW, "Time": "2026-11-29T10:00:00Z"}


def test_a_run_that_has_ended_before_its_start_was_answered_is_started_all_the_same() -> None:
    """The request is made again; of a run that goes on it is answered as before, of one that has ended refused."""
    judged = walk({"Start training": failing(ALREADY_STARTED)(fakes()["Start training"])})
    assert (judged.error, judged.output["Retrain"]) == (None, True)


def test_rows_of_windows_that_started_no_run_come_too() -> None:
    earlier = {**LABELLED, "CopySource": "cars/monitoring/one/labelled/rows.csv", "Key": "raw/labelled/one.csv"}
    judged = walk({"Decide retraining": function({**DRIFTED, "Labelled": [earlier, LABELLED]})})
    assert [one["Key"] for one in judged.called("Copy labelled rows")] == [earlier["Key"], LABELLED["Key"]]
    assert len(judged.called("Start training")) == 1


def test_rows_of_a_window_that_is_judged_again_take_the_place_of_its_file_though_no_run_starts() -> None:
    judged = walk({"Decide retraining": function({**QUIET, "Labelled": [LABELLED]})})
    assert [one["Key"] for one in judged.called("Copy labelled rows")] == [LABELLED["Key"]]
    assert judged.called("Start training") == []


def test_without_rows_to_learn_from_the_run_starts_on_the_data_that_are_there() -> None:
    judged = walk({"Decide retraining": function({**DRIFTED, "Labelled": []})})
    assert judged.called("Copy labelled rows") == []
    assert len(judged.called("Start training")) == 1


@pytest.mark.parametrize("verdict", ["Healthy", "BadData", "NotEnoughData", "Failed"])
def test_a_verdict_that_does_not_retrain_starts_nothing(verdict: str) -> None:
    judged = walk({"Decide retraining": function({**QUIET, "Verdict": verdict})})
    assert judged.error is None
    assert judged.output["Verdict"] == verdict
    assert judged.called("Start training") == []


@pytest.mark.parametrize("decision", ["Armed", "NoModel", "NoWindow", "Duplicate"])
def test_nothing_to_judge_is_no_failure_and_costs_no_job(decision: str) -> None:
    judged = walk(Decision=decision)
    assert judged.output["Decision"] == decision
    assert judged.called("Judge window") == []


def test_an_answer_that_the_flow_does_not_know_fails() -> None:
    assert walk(Decision="Surprise").error == "UnknownDecision"


def test_a_job_that_the_platform_lost_is_made_again_under_another_name_and_at_most_ten_times() -> None:
    judged = walk({"Judge window": lost_by_the_platform(times=2)(job)})
    assert judged.error is None
    names = [arguments["ProcessingJobName"] for arguments in judged.called("Judge window")]
    assert len(set(names)) == 3
    assert walk({"Judge window": lost_by_the_platform(times=99)(job)}).error == "States.TaskFailed"


def test_a_job_that_was_stopped_is_no_verdict() -> None:
    judged = walk({"Judge window": stopped})
    assert judged.error == "States.QueryEvaluationError"
    assert "Decide retraining" not in judged.states


def test_the_job_gets_its_window_and_every_path_that_its_script_knows() -> None:
    (request,) = walk().called("Judge window")
    arguments = request["AppSpecification"]["ContainerArguments"]
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert (given["--start"], given["--end"]) == (RESOLVED["Start"], RESOLVED["End"])
    assert request["AppSpecification"]["ImageUri"] == RESOLVED["ImageUri"]
    options = [f"--{name.replace('_', '-')}" for name in monitor.INPUTS]
    folders = {
        f"--{name.replace('_', '-')}": f"/opt/ml/processing/input/{path}" for name, path in monitor.FOLDERS.items()
    }
    assert {name: given[name] for name in options} == folders
    inputs = {"code", "config", *(path.split("/")[0] for path in monitor.FOLDERS.values())}
    assert len(inputs) <= 10  # SageMaker API Reference, CreateProcessingJob, ProcessingInputs
    assert set(given) == {*options, "--config", "--output", "--message", "--endpoint", "--start", "--end"}
    names = [one["InputName"] for one in request["ProcessingInputs"]]
    assert names == ["code", "config", "capture"]


def test_the_endpoint_is_asked_before_the_job_where_model_yaml_wants_it() -> None:
    assert "Probe endpoint" not in walk().states
    judged = walk(Probe=True)
    assert judged.states[:4] == ["Resolve window", "Is there a window to judge?", "Probe endpoint", "Judge window"]
    (asked,) = judged.called("Probe endpoint")
    assert asked["Payload"] == {"WindowId": WINDOW, "RunId": RUN, "Prefix": RESOLVED["Prefix"]}


def test_a_window_without_requests_has_no_input_of_them_and_is_judged() -> None:
    (request,) = walk(Inputs=[]).called("Judge window")
    assert [one["InputName"] for one in request["ProcessingInputs"]] == ["code", "config"]


def test_aws_takes_what_the_flow_asks(subtests: pytest.Subtests) -> None:
    for call in walk().calls:
        if not call.resource.endswith(":lambda:invoke"):
            with subtests.test(call.state):
                validate(call)


def validate(call: Call) -> None:
    known = aws_api.call(call.resource)
    arguments = {name[0].lower() + name[1:] if known.service.service_name == "stepfunctions" else name: value
                 for name, value in call.arguments.items()}  # fmt: skip
    if "input" in arguments:
        arguments["input"] = str(arguments["input"])
    assert known.shape is not None
    report = ParamValidator().validate(arguments, known.shape)
    assert not report.has_errors(), report.generate_report()
