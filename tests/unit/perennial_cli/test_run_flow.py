"""What each state of a run did, took and cost, from histories such as Step Functions writes them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from perennial.runs.costs import DATE, Price, listed_price
from perennial_cli import run_flow
from perennial_cli.run_flow import DONE, FAILED, WORKS, State, taken
from perennial_cli.runs import Execution

ARN = "arn:aws:states:us-east-1:123456789012:execution:cars:one"


class History:
    """Events as Step Functions numbers them; each names the one before it, unless another is named."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, second: float = 0, before: int | None = None, **details: Any) -> int:
        number = len(self.events) + 1
        event = {"id": number, "type": kind, "timestamp": datetime.fromtimestamp(second, UTC)}
        event["previousEventId"] = number - 1 if before is None else before
        if details:
            member = next(end for end in ("StateEntered", "StateExited", kind) if kind.endswith(end))
            event[f"{member[0].lower()}{member[1:]}EventDetails"] = details
        self.events.append(event)
        return number

    def enter(self, name: str, second: float = 0, kind: str = "Task", **more: Any) -> int:
        return self.add(f"{kind}StateEntered", second, name=name, **more)

    def leave(self, name: str, second: float = 0, kind: str = "Task", **more: Any) -> int:
        return self.add(f"{kind}StateExited", second, name=name, **more)

    def call(self, resource: str, kind: str = "sagemaker", output: Any = None, **parameters: Any) -> None:
        self.add("TaskScheduled", resourceType=kind, resource=resource, parameters=json.dumps(parameters))
        if output is not None:
            self.add("TaskSucceeded", resourceType=kind, resource=resource, output=json.dumps(output))

    def states(self) -> list[State]:
        return list(taken(self.events, "cars").states.values())


def test_a_state_says_which_job_function_or_call_it_made_and_why() -> None:
    history = History()
    history.enter("Resolve", 1)
    history.call(
        "invoke", "lambda", {"Payload": {"Reason": "2 files"}}, FunctionName="arn:aws:lambda:r:1:function:cars-resolve"
    )
    history.leave("Resolve", 2.5)
    history.enter("Train", 2.5)
    history.call("createTrainingJob.sync", TrainingJobName="cars-train-0")
    history.leave("Train", 4)
    history.enter("Save", 4)
    history.call("createModel", "aws-sdk:sagemaker")
    resolve, train, save = history.states()
    assert (resolve.did, resolve.seconds, resolve.status) == (["function resolve", "2 files"], 1.5, DONE)
    assert (train.did, train.jobs) == (["Training job cars-train-0"], [{"kind": "Training", "name": "cars-train-0"}])
    assert (save.did, save.seconds, save.status) == (["sagemaker: createModel"], None, WORKS)


def test_the_way_that_was_taken_is_known_and_where_a_choice_led() -> None:
    history = History()
    history.enter("Begin", kind="Pass")
    history.leave("Begin", kind="Pass")
    history.enter("Good enough?", kind="Choice")
    history.leave("Good enough?", kind="Choice")
    history.enter("Deploy")
    way = taken(history.events, "cars")
    assert way.ways == [("Begin", "Good enough?"), ("Good enough?", "Deploy")]
    assert way.states["Good enough?"].did == ["led to Deploy"]


def test_branches_are_told_apart_by_the_event_before() -> None:
    history = History()
    start = history.enter("Both", kind="Parallel")
    one = history.add("TaskStateEntered", before=start, name="One")
    other = history.add("TaskStateEntered", before=start, name="Other")
    for before, name in ((other, "other-0"), (one, "one-0")):
        parameters = json.dumps({"TransformJobName": name})
        history.add("TaskScheduled", before=before, resource="createTransformJob.sync", parameters=parameters)
    jobs = {state.name: [job["name"] for job in state.jobs] for state in history.states()}
    assert jobs == {"Both": [], "One": ["one-0"], "Other": ["other-0"]}


def test_all_visits_of_a_state_count() -> None:
    history = History()
    for second in (0, 10):
        history.enter("Wait", second, kind="Wait")
        history.leave("Wait", second + 2, kind="Wait")
    (wait,) = history.states()
    assert (wait.visits, wait.seconds) == (2, 4.0)


def test_what_was_tried_again_and_worked_is_no_failure() -> None:
    history = History()
    history.enter("Train")
    history.call("createTrainingJob.sync", TrainingJobName="cars-train-0")
    history.add("TaskFailed", error="SageMaker.Throttled", cause="Rate exceeded")
    history.call("createTrainingJob.sync", output={}, TrainingJobName="cars-train-1")
    history.leave("Train", 9)
    (train,) = history.states()
    assert (train.status, train.error, train.retries) == (DONE, "", {"times": 1, "errors": ["SageMaker.Throttled"]})
    assert [job["name"] for job in train.jobs] == ["cars-train-0", "cars-train-1"]


def test_a_caught_error_stays_with_the_state_that_had_it() -> None:
    history = History()
    history.enter("Train")
    history.call("createTrainingJob.sync", TrainingJobName="cars-train-0")
    history.add("TaskFailed", error="States.TaskFailed", cause="no column price")
    history.leave("Train", 9)
    history.enter("Training failed", 9, kind="Fail")
    train, failed = history.states()
    assert (train.status, train.error, train.cause) == (FAILED, "States.TaskFailed", "no column price")
    assert failed.error == ""


def test_the_cause_of_a_failed_job_is_what_the_job_says() -> None:
    described = {"TrainingJobName": "cars-train-0", "TrainingJobStatus": "Failed", "FailureReason": "no column price"}
    history = History()
    history.enter("Train")
    history.add("TaskFailed", error="States.TaskFailed", cause=json.dumps(described))
    (train,) = history.states()
    assert train.cause == "job cars-train-0 failed: no column price"


@pytest.mark.parametrize("text", ["[1]", "{cut", "null", ""])
def test_what_is_no_object_in_a_history_says_nothing(text: str) -> None:
    history = History()
    history.enter("Train")
    history.add("TaskScheduled", resourceType="lambda", resource="invoke", parameters=text)
    history.add("TaskSucceeded", resourceType="lambda", resource="invoke", output=text)
    assert [state.error for state in history.states()] == [""]


def of(
    answers: Callable[..., list[Any]], history: History, status: str, price: Price = listed_price, **more: Any
) -> dict[str, Any]:
    answers("stepfunctions", "GetExecutionHistory", (200, {"events": [
        {**event, "timestamp": event["timestamp"].timestamp()} for event in history.events
    ]}))  # fmt: skip
    described = {"executionArn": ARN, "stateMachineArn": ARN, "startDate": 0.0, "status": status, **more}
    answers("stepfunctions", "DescribeExecution", (200, described))
    execution = Execution(ARN, "20261120093440-1a2b", datetime.fromtimestamp(0, UTC), status, None)
    return run_flow.of(execution, "cars", "us-east-1", price)


def test_a_state_costs_what_its_jobs_are_billed(answers: Callable[..., list[Any]]) -> None:
    described = {
        "TrainingJobName": "cars-billed-0", "TrainingJobArn": "a", "CreationTime": 0.0, "BillableTimeInSeconds": 3600,
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
    }  # fmt: skip
    asked = answers("sagemaker", "DescribeTrainingJob", (200, described))
    history = History()
    history.enter("Train")
    history.call("createTrainingJob.sync", TrainingJobName="cars-billed-0")
    for _ in range(2):
        flow = of(answers, history, "RUNNING")
        assert (flow["states"][0]["usd"], flow["usd"]) == (pytest.approx(0.23), pytest.approx(0.23))
        billed = {"machine": "ml.m5.large", "count": 2, "seconds": 3600, "usd_an_hour": 0.115}
        assert (flow["states"][0]["billed"], flow["region"], flow["prices"]) == ([billed], "us-east-1", DATE)
    assert len(asked) == 1, "what has ended is asked about once"


def test_a_search_costs_what_its_trials_are_billed(answers: Callable[..., list[Any]]) -> None:
    names = ["cars-trial-1", "cars-trial-2"]
    listed = [
        {"TrainingJobName": name, "TrainingJobArn": "a", "CreationTime": 0.0, "TrainingJobStatus": "Completed",
         "TunedHyperParameters": {}} for name in names
    ]  # fmt: skip
    answers("sagemaker", "ListTrainingJobsForHyperParameterTuningJob", (200, {"TrainingJobSummaries": listed}))
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    answers("sagemaker", "DescribeTrainingJob", lambda asked: (200, {
        "TrainingJobName": json.loads(asked.body)["TrainingJobName"], "TrainingJobArn": "a", "CreationTime": 0.0,
        "BillableTimeInSeconds": 3600, "ResourceConfig": resources,
    }))  # fmt: skip
    history = History()
    history.enter("Tune")
    history.call("createHyperParameterTuningJob.sync", HyperParameterTuningJobName="cars-tune")
    flow = of(answers, history, "RUNNING")
    assert (flow["states"][0]["did"], flow["usd"]) == (["HyperParameterTuning job cars-tune"], pytest.approx(0.23))


def test_the_price_of_an_unknown_machine_is_not_made_up(answers: Callable[..., list[Any]]) -> None:
    described = {
        "TrainingJobName": "cars-unknown-0", "TrainingJobArn": "a", "CreationTime": 0.0, "BillableTimeInSeconds": 1,
        "ResourceConfig": {"InstanceType": "ml.x9.huge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    }  # fmt: skip
    answers("sagemaker", "DescribeTrainingJob", (200, described))
    history = History()
    history.enter("Train")
    history.call("createTrainingJob.sync", TrainingJobName="cars-unknown-0")
    flow = of(answers, history, "RUNNING")
    assert (flow["states"][0]["usd"], flow["usd"]) == (None, None)
    assert [(one["machine"], one["usd_an_hour"]) for one in flow["states"][0]["billed"]] == [("ml.x9.huge", None)]
    assert flow["prices"] == DATE
    flow = of(answers, history, "RUNNING", price=lambda *_: 7.2)
    assert (flow["usd"], flow["prices"]) == (pytest.approx(0.002), "AWS's price list of today")


def test_a_run_that_failed_says_so_at_the_state_where_it_ended(answers: Callable[..., list[Any]]) -> None:
    history = History()
    history.enter("Begin")
    history.leave("Begin")
    history.enter("Model accuracy too low", kind="Fail")
    flow = of(answers, history, "FAILED", error="ModelAccuracyTooLow", cause="rmse 9 is above 3", stopDate=5.0)
    begin, failed = flow["states"]
    assert (begin["status"], begin["error"]) == (DONE, "")
    assert (failed["status"], failed["error"], failed["cause"]) == (FAILED, "ModelAccuracyTooLow", "rmse 9 is above 3")
    assert (flow["status"], flow["ended_at"]) == ("Failed", "1970-01-01T00:00:05.000Z")


def test_of_a_run_that_was_stopped_whatever_worked_has_failed(answers: Callable[..., list[Any]]) -> None:
    history = History()
    history.enter("Train")
    flow = of(answers, history, "TIMED_OUT", stopDate=5.0)
    assert (flow["status"], flow["states"][0]["status"], flow["states"][0]["error"]) == ("TimedOut", FAILED, "TimedOut")
