"""The flow that scores files, walked: what it asks of AWS, how it ends, every element of it taken by some walk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from perennial.runs import naming
from processing import check_batch, job_script, join_predictions
from tests import flow_elements
from tests.unit import test_state_machine_monitor_model as monitor_model
from tests.unit import test_state_machine_train_model as train_model
from tests.unit.state_machine_walk import Fake, Walk
from tests.unit.test_state_machine_monitor_model import validate
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
from tools import asl

pytestmark = pytest.mark.xdist_group("walks")

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "statemachines" / "score_batch.asl.json").read_text()
BATCH = "20261129100000-0a1b"
VALUES = {
    "Partition": "aws",
    "StackName": STACK,
    "ModelName": "used-cars",
    "CostCenter": "research",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1",
    "SklearnImage": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
    "BatchRoleArn": "arn:aws:iam::123456789012:role/BatchRole",
    "TrainModelArn": f"arn:aws:states:eu-west-1:123456789012:stateMachine:{STACK}-train-model",
}
DEFINITION = asl.parse(asl.substituted(TEXT, VALUES))
STATES = dict(asl.states(DEFINITION))
RESOLVED: dict[str, Any] = {
    "Decision": "Score",
    "Reason": "version 3 scores it",
    "BatchId": BATCH,
    "Name": naming.stem(STACK, BATCH),
    "Prefix": f"s3://cars/batch/runs/{BATCH}",
    "Work": f"s3://cars/batch/work/{BATCH}",
    "Key": "batch/incoming/cars.csv",
    "VersionId": "v1",
    "RunId": RUN,
    "Version": 3,
    "ModelName": naming.stem(STACK, RUN),
    "Baseline": f"s3://cars/runs/{RUN}/baselines/data-quality/",
    "CodeUri": "s3://cars/code/0123456789abcdef",
    "Time": "2026-11-29T10:00:00Z",
    "Predict": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    "Cluster": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 20},
    "MaxRuntimeInSeconds": 3600,
    "NetworkConfig": {"EnableNetworkIsolation": True},
}
HEALTHY = {"Verdict": "Healthy", "Retrain": False, "Reason": "no drift", "Labelled": []}
DRIFTED = {**HEALTHY, "Verdict": "Drift", "Retrain": True, "Reason": "drift starts a training run"}
MOVED = {"Scored": "s3://cars/batch/scored/x/cars.csv", "Report": "r", "Done": "d", "Rows": 10, "Predictions": 10}
STARTED = {"ExecutionArn": "arn", **METADATA}
JOBS = ("Check batch", "Score", "Join predictions")
SCORED = [
    "Resolve batch", "Is there a file to score?", "Check batch", "Decide retraining", "May it be scored?", "Score",
    "Join predictions", "Finish batch", "Batch scored",
]  # fmt: skip


def says(found: str) -> Fake:
    return lambda call: {**job(call), "ExitMessage": found}


def fakes() -> dict[str, Fake]:
    """A world in which a file is sound."""
    return {
        "Resolve batch": function(RESOLVED),
        "Check batch": says("Healthy: 10 rows, 0 of them refused"),
        "Decide retraining": function(HEALTHY),
        "Start training": lambda call: STARTED,
        "Score": job,
        "Join predictions": job,
        "Finish batch": function(MOVED),
    }


def walk(otherwise: Mapping[str, Fake] | None = None, **resolved: Any) -> Walk:
    known = {**fakes(), "Resolve batch": function({**RESOLVED, **resolved}), **(otherwise or {})}
    return Walk(DEFINITION, known).run()


def scenarios() -> list[Walk]:
    """The ways through the flow, without and with errors of every task."""
    drifted = {"Decide retraining": function(DRIFTED)}
    ways = [
        walk(),
        walk(drifted),
        walk({"Decide retraining": function({**DRIFTED, "Retrain": False})}),
        walk({**drifted, "Start training": failing("StepFunctions.ExecutionAlreadyExistsException")(job)}),
        walk(Decision="Started"),
        walk(Decision="Surprise"),
        *(walk({name: lost_by_the_platform()(fakes()[name])}) for name in JOBS),
    ]
    for name, body in STATES.items():
        if body["Type"] == "Task":
            world = drifted if name == "Start training" else {}
            errors = [retrier["ErrorEquals"][0] for retrier in body.get("Retry", [])]
            ways += [walk({**world, name: failing(error, times=1)(fakes()[name])}) for error in errors]
            ways.append(walk({**world, name: failing("Broken")(fakes()[name])}))
    return ways


@pytest.fixture(scope="module")
def walked() -> set[str]:
    return {element for way in scenarios() for element in way.taken}


@pytest.mark.parametrize("state", STATES)
def test_every_element_of_the_flow_is_taken_by_a_walk(walked: set[str], state: str) -> None:
    assert sorted(flow_elements.of_state(state, STATES[state]) - walked) == []


def test_a_sound_file_is_checked_scored_joined_and_put_aside_in_this_order() -> None:
    scored = walk()
    assert scored.states == SCORED
    assert scored.output == {**MOVED, "BatchId": BATCH, "RunId": RUN, "Version": 3, "Verdict": "Healthy"}
    (moved,) = scored.called("Finish batch")
    assert moved["Payload"] == {name: RESOLVED[name] for name in ("BatchId", "Work", "Key", "VersionId")}


def test_a_file_too_small_to_tell_drift_by_is_scored() -> None:
    assert walk({"Decide retraining": function({**HEALTHY, "Verdict": "NotEnoughData"})}).states == SCORED


@pytest.mark.parametrize(
    ("verdict", "error"), [("Drift", "InputDrifted"), ("BadData", "InputBroken"), ("Failed", "InputNotChecked")]
)
def test_what_may_not_be_scored_is_not_and_the_cause_says_what_was_found(verdict: str, error: str) -> None:
    found = f"{verdict}: 10 rows, 0 of them refused; mileage: distance 0.4"
    refused = walk({
        "Check batch": says(found), "Decide retraining": function({**HEALTHY, "Verdict": verdict, "Reason": "why not"})
    })  # fmt: skip
    assert refused.error == error
    assert refused.cause == (
        f"batch/incoming/cars.csv was not scored. {found}. Retraining: why not. All that was found: "
        f"s3://cars/batch/runs/{BATCH}/verdict.json"
    )
    assert [refused.called(name) for name in ("Score", "Start training", "Finish batch")] == [[], [], []]


def test_drift_starts_one_training_run_and_nothing_is_scored() -> None:
    drifted = walk({"Decide retraining": function(DRIFTED)})
    (started,) = drifted.called("Start training")
    assert started["Name"] == f"drift-{BATCH}"
    assert started["Input"]["Trigger"] == {"Type": "Drift", "Id": BATCH, "Time": RESOLVED["Time"]}
    assert (drifted.error, drifted.called("Score")) == ("InputDrifted", [])


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_failed_ends_the_batch_and_starts_no_training(name: str) -> None:
    failed = walk({name: failing("States.TaskFailed")(fakes()[name])})
    assert failed.error == "States.TaskFailed"
    assert str(failed.cause).startswith(f'State "{name}" failed: ')
    assert (failed.called("Start training"), failed.called("Finish batch")) == ([], [])
    assert walk({name: stopped}).error == "States.QueryEvaluationError"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_the_platform_lost_is_made_again_under_another_name_and_at_most_ten_times(name: str) -> None:
    scored = walk({name: lost_by_the_platform(times=2)(fakes()[name])})
    assert scored.error is None
    key = "TransformJobName" if name == "Score" else "ProcessingJobName"
    names = [arguments[key] for arguments in scored.called(name)]
    assert len(set(names)) == 3
    assert all(len(one) <= naming.MAX_NAME for one in names)
    lost = walk({name: lost_by_the_platform(times=99)(fakes()[name])})
    assert (lost.error, lost.states[-1]) == ("States.TaskFailed", "Batch failed")


@pytest.mark.parametrize("decision", ["Duplicate", "NoFile", "NoModel", "Started"])
def test_nothing_to_score_is_no_failure_and_costs_no_job(decision: str) -> None:
    done = walk(Decision=decision)
    assert done.output == {"Decision": decision, "Reason": RESOLVED["Reason"]}
    assert done.called("Check batch") == []


def test_an_answer_that_the_flow_does_not_know_fails() -> None:
    assert walk(Decision="Surprise").error == "UnknownDecision"


def test_the_file_is_judged_as_a_window_is() -> None:
    (asked,) = walk().called("Decide retraining")
    assert asked["Payload"] == {
        "WindowId": BATCH, "RunId": RUN, "Prefix": RESOLVED["Prefix"], "Start": RESOLVED["Time"],
        "End": RESOLVED["Time"], "File": RESOLVED["Key"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "script"),
    [("Check batch", check_batch), ("Join predictions", join_predictions)],
    ids=lambda one: str(one)[:16],
)
def test_a_job_gets_the_paths_that_its_script_knows(state: str, script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = walk().called(state)
    arguments = request["AppSpecification"]["ContainerArguments"]
    known: dict[str, Any] = {}

    def paths(argv: list[str], *_: Any, **folders: str) -> None:
        known.update(folders)
        raise InterruptedError

    monkeypatch.setattr(job_script, "paths", paths)
    with pytest.raises(InterruptedError):
        script.main(arguments)
    assert {one for one in arguments if one.startswith("--")} == {
        "--config", "--output", "--message", *(f"--{name}" for name in known),
    }  # fmt: skip
    assert request["AppSpecification"]["ContainerEntrypoint"][-1] == script.__name__.rpartition(".")[2]


def test_aws_takes_what_the_flow_asks(subtests: pytest.Subtests) -> None:
    for call in [*walk().calls, *walk({"Decide retraining": function(DRIFTED)}).calls]:
        if not call.resource.endswith(":lambda:invoke"):
            with subtests.test(call.state):
                validate(call)


# ---- What all three flows ask

CREATES = re.compile(r".*:sagemaker:create((?:Processing|Training|HyperParameterTuning|Transform)Job|Model)(?:\.sync)?")
KEY = VALUES["KmsKeyArn"]


def created(vpc: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(state, what it makes, its request) of each job and model of the three flows; of a search that of its trials."""
    network = {"NetworkConfig": {"EnableNetworkIsolation": True, **vpc}}
    cluster = {**network, "Cluster": {**RESOLVED["Cluster"], "VolumeKmsKeyId": KEY}}
    work = {**network, "Vpc": vpc, "Ingest": train_model.INGEST}
    turns = (train_model.turn(turn, train_model.NEW_CHAMPION) for turn in ("Compare", "Deploy"))
    again = {"Reserve deployment": train_model.functions(*turns)}
    trained = [train_model.walk(again, work=work), train_model.walk(work={**work, "Tuning": train_model.TUNING})]
    scored = walk(**cluster, Predict={**RESOLVED["Predict"], "VolumeKmsKeyId": KEY})
    for walks in (trained, [scored], [monitor_model.walk(**cluster)]):
        states = dict(asl.states(walks[0].definition))
        kinds = {name: kind[1] for name in states if (kind := CREATES.fullmatch(states[name].get("Resource", "")))}
        calls = [call for way in walks for call in way.calls if call.state in kinds]
        assert {call.state for call in calls} == set(kinds)
        for call in calls:
            yield call.state, kinds[call.state], call.arguments.get("TrainingJobDefinition", call.arguments)


def test_every_job_and_model_is_in_the_network_of_the_stack_where_it_has_one(subtests: pytest.Subtests) -> None:
    for vpc in ({"VpcConfig": train_model.VPC}, {}):
        for state, kind, request in created(vpc):
            expected = {} if kind == "TransformJob" else vpc  # it runs in the network of its model
            asked = request["NetworkConfig"] if kind == "ProcessingJob" else request
            with subtests.test(state, inside=bool(vpc)):
                assert {name: asked[name] for name in asked if name == "VpcConfig"} == expected


def test_what_every_job_writes_and_its_disk_are_under_the_key_of_the_stack(subtests: pytest.Subtests) -> None:
    trains = ("OutputDataConfig", "ResourceConfig")
    places = {
        "ProcessingJob": ("ProcessingOutputConfig", "ProcessingResources"),
        "TransformJob": ("TransformOutput", "TransformResources"),
        **dict.fromkeys(("TrainingJob", "HyperParameterTuningJob"), trains),
    }
    for state, kind, request in created({}):
        if kind != "Model":
            output, machines = (request[place] for place in places[kind])
            with subtests.test(state):
                assert output["KmsKeyId"] == machines.get("ClusterConfig", machines)["VolumeKmsKeyId"] == KEY
