"""The matrix, line Jobs: every job state meets every way of failing that its kind of job has."""

import json
from collections.abc import Callable

import pytest

from tests.e2e import ingestion
from tests.e2e.conftest import App
from tests.e2e.matrix.situation import machine_states
from tests.e2e.matrix.test_matrix_events import AGAIN, COMPARISON
from tests.e2e.matrix.trips import Case, Outcome, Outcomes, Trip, fault, new_model_serves, parameters, prove

pytestmark = pytest.mark.xdist_group("matrix-trips")

FAILED = "States.TaskFailed"
REFUSED = "SageMaker.AmazonSageMakerException"
WEEK = 7 * 24 * 3600
PROCESSING, TRAINING = "/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs"
SCRIPTS = {
    "Preprocess": ("preprocess", PROCESSING),
    "Train": ("train", TRAINING),
    "Baseline data drift": ("data-quality", PROCESSING),
    "Baseline model quality": ("model-quality", PROCESSING),
}
TRANSFORMS = {"Predict with candidate": "predict", "Predict with champion": "champion"}


def stop(kind: str, step: str) -> Callable[[Trip], None]:
    return lambda trip: trip.stop_job(kind, step)


def refused(operation: str, step: str, **error: object) -> dict[str, object]:
    return fault(f"sagemaker:{operation}", "error", name=f"*-{step}-*", **error)


def limit_runs(seconds: int) -> Callable[[App], None]:
    """Give the stack's runs another time limit."""

    def limit(app: App) -> None:
        states, arn = app.client("stepfunctions"), app.outputs["StateMachineArn"]
        definition = json.loads(states.describe_state_machine(stateMachineArn=arn)["definition"])
        states.update_state_machine(
            stateMachineArn=arn, definition=json.dumps({**definition, "TimeoutSeconds": seconds})
        )

    return limit


# What is tuned makes no difference to the trees, so that every trial's model is as good as the one in service.
TUNED = {"HyperParameters": {"gamma": {"min": 0, "max": 1e-9}}, "Tuning": {"Jobs": 2, "ParallelJobs": 2}}
TUNE = "task:sagemaker:createHyperParameterTuningJob"
ON_A_GPU = {**TUNED, "HyperParameters": {**TUNED["HyperParameters"], "tree_method": "gpu_hist"}}
NO_MACHINE = json.dumps({"FailureReason": "CapacityError: Unable to provision requested ML compute capacity."})
HICCUPS = (
    ("SageMaker.ResourceLimitExceededException", "quota"),
    (REFUSED, "Rate exceeded"),
    ("SageMaker.ResourceInUseException", "a job with this name already exists"),
    (FAILED, NO_MACHINE),
)


def tuned_model_serves(outcome: Outcome) -> None:
    """Its version says what was found, too."""
    new_model_serves(outcome)
    named = outcome.after["Parameters"]["model-package"]
    version = outcome.stack.app.client("sagemaker").describe_model_package(ModelPackageName=named)
    assert 0 <= float(version["CustomerMetadataProperties"]["hyperparameter:gamma"]) <= 1e-9


CASES = [
    # The script raises: a bug, which the log explains.
    *(Case("Jobs", "the script raises", state, (fault(f"job:{step}", "raise"),), error=FAILED,
           says=(f"in state '{state}'", "exit code: 1", f"-{step}-0"), advises=log)
      for state, (step, log) in SCRIPTS.items()),
    # The script says what is wrong.
    Case("Jobs", "the script ends with a message", "Preprocess",
         (fault("job:preprocess", "exit", exit_code=1, message="cars.csv: no column 'price'"),), error=FAILED,
         says=("in state 'Preprocess'", "cars.csv: no column 'price'"), advises="drop them again"),
    Case("Jobs", "the script ends with a message", "Train",
         (fault("job:train", "exit", exit_code=3, message="ClientError: no finite label"),), error=FAILED,
         says=("in state 'Train'", "no finite label", "exit code: 3"), advises=TRAINING),
    *(Case("Jobs", "the script ends with a message", f"Baseline {what}",
           (fault(f"job:{step}", "exit", exit_code=1, message="predictions.csv: no rows"),), error=FAILED,
           says=(f"in state 'Baseline {what}'", "predictions.csv: no rows"), advises=PROCESSING)
      for what, step in [("data drift", "data-quality"), ("model quality", "model-quality")]),
    *(Case("Jobs", "the container fails", state,
           (fault(f"job:{step}", "exit", exit_code=1, message="no answer"),), error=FAILED,
           says=(f"in state '{state}'", f"-{step}-0"), advises="/aws/sagemaker/TransformJobs")
      for state, step in TRANSFORMS.items()),
    # Killed, by the kernel for example.
    *(Case("Jobs", "the script is killed", state, (fault(f"job:{step}", "kill"),), error=FAILED,
           says=(f"in state '{state}'", "exit code: 137"), advises="memory")
      for state, (step, _) in SCRIPTS.items()),
    *(Case("Jobs", "the container is killed", state, (fault(f"job:{step}", "kill"),), error=FAILED,
           says=(f"in state '{state}'", f"-{step}-0"), advises="/aws/sagemaker/TransformJobs")
      for state, step in TRANSFORMS.items()),
    # Past its limit; transform jobs have none.
    *(Case("Jobs", "it runs past its limit", state, (fault(f"job:{step}", "overrun"),), error=FAILED,
           says=(f"in state '{state}'", "time limit of 3600 seconds"), advises="max_runtime_seconds")
      for state, (step, _) in SCRIPTS.items()),
    Case("Jobs", "the run is past its limit", "Preprocess", (fault("job:preprocess", "hang"),), status="TIMED_OUT",
         error="States.Timeout", before=limit_runs(6), undo=limit_runs(WEEK),
         says=("Run timed out", "in state 'Preprocess'"), advises="took long"),
    # Stopped by a person.
    *(Case("Jobs", "a person stops it", state, (fault(f"job:{step}", "hang"),), error=FAILED,
           person=stop(kind, step), says=(f"in state '{state}'", "was stopped"), advises="start a run")
      for state, kind, step in [
          ("Preprocess", "processing", "preprocess"),
          ("Train", "training", "train"),
          ("Predict with candidate", "transform", "predict"),
          ("Predict with champion", "transform", "champion"),
          ("Baseline data drift", "processing", "data-quality"),
          ("Baseline model quality", "processing", "model-quality")]),
    # What it made is not there.
    Case("Jobs", "its output is missing", "Preprocess", (fault("job:preprocess", "lose-output"),),
         error="ArtifactMissingError",
         says=("in state 'Seal preprocessor'", "/preprocessor/model.tar.gz is not there"), advises=PROCESSING),
    Case("Jobs", "its artefact is missing", "Train", (fault("job:train", "lose-output"),),
         error="ArtifactMissingError",
         says=("in state 'Seal model'", "/output/model.tar.gz is not there"), advises="start a run"),
    Case("Jobs", "the model is refused", "Save model",
         (fault("sagemaker:CreateModel", "error", error="AccessDeniedException"),), error=REFUSED,
         says=("in state 'Save model'", "not authorized"), advises="permission"),
    Case("Jobs", "its output is missing", "Predict with candidate", (fault("job:predict", "lose-output"),),
         error="PredictionsError",
         says=("in state 'Query training results'", "predictions/candidate"), advises="predict"),
    Case("Jobs", "its output is missing", "Predict with champion", (fault("job:champion", "lose-output"),),
         error="PredictionsError",
         says=("in state 'Query training results'", "predictions/champion"), advises="predict"),
    Case("Jobs", "its output is missing", "Baseline data drift", (fault("job:data-quality", "lose-output"),),
         error="BaselinesMissing",
         says=("in state 'Create baselines'", "/baselines has no data-quality/statistics.json, "
               "data-quality/constraints.json; see the log of", "-data-quality-0"), advises=PROCESSING),
    Case("Jobs", "its output is missing", "Baseline model quality", (fault("job:model-quality", "lose-output"),),
         error="BaselinesMissing",
         says=("in state 'Create baselines'", "/baselines has no model-quality/statistics.json, "
               "model-quality/constraints.json, attribution/analysis.json, bias/analysis.json, "
               "analysis/analysis.json; see the log of",
               "-model-quality-0"), advises=PROCESSING),
    Case("Jobs", "what they made cannot be listed", "List baselines",
         (fault("task:s3:listObjectsV2", "error", error="S3.S3Exception", message="Service Unavailable"),),
         error="S3.S3Exception", says=("in state 'List baselines'", "Service Unavailable"), advises="start a run"),
    # The metric is missing, or no number.
    Case("Jobs", "the metric is missing", "Train", (fault("job:train", "lose-metrics"),), error="MetricMissingError",
         says=("in state 'Query training results'", "-train-0"), advises="eval_metric"),
    Case("Jobs", "the metric is NaN", "Predict with candidate",
         (fault("job:predict", "answer", answer="nan"),), error="ModelAccuracyTooLow",
         says=("Candidate rejected",), advises="start a run"),
    Case("Jobs", "the metric is NaN", "Predict with champion",
         (fault("job:champion", "answer", answer="nan"),), status="SUCCEEDED",
         says=("Model in service", "the model in service could not be measured (its rmse is nan)")),
    # Tuning.
    Case("Jobs", "every trial fails", "Tune", error=FAILED, overrides=ON_A_GPU,
         says=("in state 'Tune'", "No training job succeeded after 2 attempts", "Training on GPUs"), advises="ranges"),
    Case("Jobs", "the service refuses for good", "Tune",
         (fault(TUNE, "error", error=REFUSED, message="not authorized"),), error=REFUSED, overrides=TUNED,
         says=("in state 'Tune'", "not authorized"), advises="start a run"),
    Case("Jobs", "the service refuses for a while, then has no machine, then recovers", "Tune",
         tuple(fault(TUNE, "error", error=error, message=text, times=1) for error, text in HICCUPS),
         status="SUCCEEDED", overrides=TUNED, serves=tuned_model_serves,
         says=("Model in service", "Tuned         2 trials (2 completed), bayesian; best validation:rmse", "gamma=")),
    # Refused for good: permissions, mostly.
    *(
        Case("Jobs", "the service refuses for good", state, (refused(operation, step, error="AccessDeniedException"),),
             error=REFUSED,
             says=(f"in state '{state}'", "not authorized", "AccessDeniedException"), advises="permission")
        for state, operation, step in [
            ("Preprocess", "CreateProcessingJob", "preprocess"),
            ("Train", "CreateTrainingJob", "train"),
            ("Predict with candidate", "CreateTransformJob", "predict"),
            ("Predict with champion", "CreateTransformJob", "champion"),
            ("Baseline data drift", "CreateProcessingJob", "data-quality"),
            ("Baseline model quality", "CreateProcessingJob", "model-quality"),
        ]
    ),
    # Refused for a while: every job, and whatever else the run asks SageMaker for, in one run.
    Case("Jobs", "the service throttles, then recovers", "every state",
         (*(refused(operation, step, error="ThrottlingException", times=2)
            for operation, step in [
                ("CreateProcessingJob", "preprocess"), ("CreateTrainingJob", "train"),
                ("CreateTransformJob", "predict"), ("CreateTransformJob", "champion"),
                ("CreateProcessingJob", "data-quality"), ("CreateProcessingJob", "model-quality")]),
          *(fault(f"sagemaker:{operation}", "error", error="ThrottlingException", times=2)
            for operation in ("CreateModel", "CreateModelPackage", "CreateEndpointConfig", "UpdateEndpoint")),
          fault("task:s3:listObjectsV2", "error", error="S3.S3Exception", message="Please reduce your request rate.",
                times=2),
          fault("task:ssm:putParameter", "error", error="Ssm.TooManyUpdatesException", times=2)),
         status="SUCCEEDED", says=("Model in service",)),
    Case("Jobs", "the platform has no machine for it, then has, and takes away the one that trains", "every state",
         (*(fault(f"job:{step}", "no-capacity", times=1)
            for step in ("preprocess", "train", "predict", "champion", "data-quality", "model-quality")),
          fault("job:train", "interrupt"),
          fault("function:snapshot_data", "error", error="CopiesLeftError", message="1 of 2 versions", times=1)),
         status="SUCCEEDED", overrides={"Instances": {"Train": {"EnableManagedSpotTraining": True}}},
         says=("Model in service", "s of training are billed: ")),
    Case("Jobs", "out of quota for a while, then recovers", "every state",
         (*(refused(operation, step, error="ResourceLimitExceeded", times=3)
            for operation, step in [
                ("CreateProcessingJob", "preprocess"), ("CreateTrainingJob", "train"),
                ("CreateTransformJob", "predict"), ("CreateTransformJob", "champion"),
                ("CreateProcessingJob", "data-quality"), ("CreateProcessingJob", "model-quality")]),
          *(fault(f"sagemaker:{operation}", "error", error="ResourceLimitExceeded", times=2)
            for operation in ("CreateModel", "CreateEndpointConfig", "UpdateEndpoint"))),
         status="SUCCEEDED", says=("Model in service",)),
]  # fmt: skip


@parameters(CASES)
def test_job_that_goes_wrong(case: Case, outcomes: Outcomes) -> None:
    prove(outcomes[case])


ANY_JOB = {"a person stops it", "the service refuses for good"}
PROGRAM = ANY_JOB | {
    "the script raises",
    "the script ends with a message",
    "the script is killed",
    "it runs past its limit",
}
CONTAINERS = ANY_JOB | {"the container fails", "the container is killed", "its output is missing", "the metric is NaN"}
NEEDED = {
    "createProcessingJob.sync": PROGRAM | {"its output is missing"},
    "createTrainingJob.sync": PROGRAM | {"its artefact is missing", "the metric is missing"},
    "createTransformJob.sync": CONTAINERS,
    "createHyperParameterTuningJob.sync": {"every trial fails", "the service refuses for good"},
}


def test_every_job_state_has_every_way_of_failing_that_its_kind_of_job_has() -> None:
    tried = {(case.where, case.what) for case in CASES} | {(COMPARISON, what) for what in AGAIN}
    tried |= {(ingestion.STATE, what) for what in ingestion.WAYS}  # test_monitoring.py
    states = [(name, body["Resource"].rpartition(":")[2]) for name, body in machine_states() if body["Type"] == "Task"]
    needed = {(name, what) for name, action in states for what in NEEDED.get(action, ())}
    assert len(needed) > 30
    assert sorted(needed - tried) == []
