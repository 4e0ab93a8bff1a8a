"""The table of advice, row by row: an end of a run that each is for, and states that the state machine has."""

import json

import pytest

from perennial.runs.advice import TRAIN_MODEL, Outcome, Row, advice
from perennial.runs.work import NOT_APPROVED, TRAINED_ONLY
from tests.unit.conftest import ROOT
from tools import asl

STATES = {name for name, _ in asl.states(asl.parse((ROOT / "statemachines/train_model.asl.json").read_text()))}


def job(**words: str) -> str:
    """The cause of a state whose processing job failed, as Step Functions gives it."""
    described = {"ProcessingJobName": "run-preprocess", "ProcessingJobStatus": "Failed", **words}
    return f'State "Preprocess" failed: {json.dumps(described)}'


BUSY = 'State "Update endpoint" failed: Cannot update in-progress endpoint "arn:aws:sagemaker:::endpoint/x".'
DENIED = 'State "Train" failed: User: x is not authorized to perform: sagemaker:CreateTrainingJob'
THROTTLED = 'State "Train" failed: No (Service: AmazonSageMaker; Error Code: ThrottlingException; Request ID: 1)'
# For each row of the table an end that it is for, in the table's order.
ENDS = [
    Outcome("AlreadyTrained"),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="unfair"),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="changed"),
    Outcome("Rejected", "ModelAccuracyTooLow", cause="gain: metrics.py, line 3: no", obstacle="unmeasured"),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="chance", is_doubtful=True, has_only_copies=True),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="threshold", is_doubtful=True),
    Outcome("Succeeded", is_doubtful=True),
    Outcome("Succeeded", is_doubtful=True, has_new_files=False),
    Outcome("Succeeded"),
    Outcome(TRAINED_ONLY),
    Outcome(NOT_APPROVED),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="chance"),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="slice"),
    Outcome("Failed", "SageMaker.SageMakerException", "Register model", "ModelPackageGroup arn does not exist."),
    Outcome("Failed", "Ssm.SsmException", "Write parameter", 'State "Write parameter" failed: no'),
    Outcome("Failed", "KeyError", "Clean up", 'State "Clean up" failed: no'),
    Outcome("Aborted", state="Verify endpoint"),
    Outcome("Failed", "KeyError", "Check deployment", "no"),
    Outcome("Failed", "SageMaker.SageMakerException", "Update endpoint", BUSY),
    Outcome("Failed", "SageMaker.AmazonSageMakerException", "Train", DENIED),
    Outcome("Failed", "States.TaskFailed", "Preprocess", job(ExitMessage="features.py, line 3: no")),
    Outcome("Failed", "States.TaskFailed", "Baseline data drift", job(FailureReason="InternalServerError: no")),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="naive"),
    Outcome("Rejected", "ModelAccuracyTooLow", obstacle="known", is_doubtful=True, has_new_files=False),
]


def row_of(ended: Outcome) -> Row:
    return next(row for row in TRAIN_MODEL if row.fits(ended))


def ends() -> list[Outcome]:
    by_error = [
        Outcome("Failed", name, "Save model", 'State "x" failed: no') for row in TRAIN_MODEL for name in row.errors
    ]
    return [
        *ENDS,
        *by_error,
        Outcome("Failed", "SageMaker.AmazonSageMakerException", "Train", THROTTLED),
        Outcome("Failed", "States.TaskFailed", "Preprocess", job(ExitMessage="cars.csv: no column price")),
        Outcome("Failed", "States.TaskFailed", "Ingest records", job(ExitMessage="sold.csv, row 7: not taken")),
        Outcome("Failed", "States.TaskFailed", "Train", job(ExitMessage="eta is negative")),
        Outcome("Failed", "Surprise", "Save model", 'State "Save model" failed: ?'),
    ]


def test_each_row_is_there_for_an_end_that_no_row_above_it_is_for() -> None:
    reached = list(dict.fromkeys(map(row_of, ends())))
    assert sorted(reached, key=TRAIN_MODEL.index) == list(TRAIN_MODEL)


@pytest.mark.parametrize("name", sorted({name for row in TRAIN_MODEL for name in row.errors}))
def test_an_error_that_has_advice_of_its_own_gets_it(name: str) -> None:
    assert name in row_of(Outcome("Failed", name, "Save model", 'State "Save model" failed: no')).errors


def test_where_all_trials_failed_their_logs_and_the_ranges_are_to_be_looked_at() -> None:
    described = {"HyperParameterTuningJobName": "r-t0", "HyperParameterTuningJobStatus": "Failed"}
    told = advice(Outcome("Failed", "States.TaskFailed", "Tune", f'State "Tune" failed: {json.dumps(described)}'))
    assert "/aws/sagemaker/TrainingJobs, streams r-t0-..." in told
    assert "ranges of hyperparameters" in told


def test_states_of_the_table_are_states_of_the_state_machine() -> None:
    assert [state for row in TRAIN_MODEL for state in row.states if state not in STATES] == []


def test_whatever_ended_a_run_there_is_something_to_say_unless_it_succeeded() -> None:
    assert [ended for ended in ends() if not advice(ended)] == [Outcome("Succeeded")]
