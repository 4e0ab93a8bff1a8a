"""Each rule of the state machine lint finds the mistake that it is for, and the project's own file has none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import cfn, lint_state_machines
from tools.lint_state_machines import ROOT, Machine

RETRY = {
    "ErrorEquals": ["SageMaker.AmazonSageMakerException"],
    "IntervalSeconds": 5,
    "MaxAttempts": 4,
    "BackoffRate": 2,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}
SAID = "{% $merge([$states.errorOutput, {'Cause': 'Nothing was trained. ' & $states.errorOutput.Cause}]) %}"
CATCH = {"ErrorEquals": ["States.ALL"], "Output": SAID, "Next": "Failed"}
TRAIN = {
    "Type": "Task",
    "Resource": "arn:${Partition}:states:::sagemaker:createTrainingJob.sync",
    "Arguments": "{% $merge([$job, {'TrainingJobName': $states.context.State.RetryCount}, $states.input.Vpc]) %}",
    "TimeoutSeconds": 60,
    "Retry": [RETRY],
    "Catch": [CATCH],
    "Next": "Good?",
}
GOOD: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Prepare",
    "TimeoutSeconds": 3600,
    "States": {
        "Prepare": {
            "Type": "Pass",
            "Assign": {
                "score": "{% $states.input.score %}",
                "job": {
                    "RoleArn": "${RoleArn}",
                    "AlgorithmSpecification": {"TrainingInputMode": "File"},
                    "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
                    "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20},
                    "StoppingCondition": {"MaxRuntimeInSeconds": "{% $states.input.seconds %}"},
                },
            },
            "Next": "Train",
        },
        "Train": TRAIN,
        "Good?": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $score > 0.5 %}", "Next": "Pause"}],
            "Default": "Rejected",
        },
        "Pause": {"Type": "Wait", "Seconds": "{% $score * 10 %}", "Next": "Export"},
        "Export": {
            "Type": "Map",
            "Items": [{"Name": "a", "Value": "b"}],
            "MaxConcurrency": 1,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "Write",
                "States": {
                    "Write": {
                        "Type": "Task",
                        "Resource": "arn:${Partition}:states:::aws-sdk:ssm:putParameter",
                        "Arguments": {"Name": "{% $states.input.Name %}", "Value": "x", "Type": "String"},
                        "TimeoutSeconds": 60,
                        "Retry": [{**RETRY, "ErrorEquals": ["Ssm.TooManyUpdatesException"]}],
                        "Catch": [{**CATCH, "Next": "Not written"}],
                        "End": True,
                    },
                    "Not written": {"Type": "Fail", "Error": "NotWritten"},
                },
            },
            "Catch": [CATCH],
            "Next": "Done",
        },
        "Done": {"Type": "Succeed"},
        "Rejected": {"Type": "Fail", "Error": "Rejected"},
        "Failed": {"Type": "Fail", "Error": "{% $states.input.Error %}"},
    },
}


def found(definition: dict[str, Any] | str, **given: Any) -> str:
    """Return the problems of a definition as one text."""
    text = definition if isinstance(definition, str) else json.dumps(definition)
    fields = {"substitutions": frozenset({"Partition", "RoleArn"}), "own_errors": frozenset({"DataError"}), **given}
    return "\n".join(lint_state_machines.problems(Machine("test.asl.json", text, **fields)))


def test_a_state_machine_without_a_mistake_has_no_problem() -> None:
    assert found(GOOD) == ""


def test_a_state_may_be_found_to_have_worked_by_a_look_that_else_ends_in_a_failure() -> None:
    definition = copy.deepcopy(GOOD)
    look = copy.deepcopy(GOOD["States"]["Train"])
    look |= {"Resource": "arn:${Partition}:states:::aws-sdk:sagemaker:describeModel", "Arguments": {"ModelName": "a"}}
    look.pop("Assign", None)
    definition["States"]["Look"] = look
    change("Train/Catch/0/Next", "Look")(definition)
    assert "is no Fail" not in found(definition)
    change("Look/Catch/0/Next", "Done")(definition)
    assert "can reach 'Done', which is no Fail" in found(definition)


def test_a_state_may_be_tried_again_by_a_decision_that_else_ends_in_a_failure() -> None:
    definition = copy.deepcopy(GOOD)
    again = {"Type": "Choice", "Choices": [{"Condition": "{% $score > 1 %}", "Next": "Train"}], "Default": "Failed"}
    definition["States"]["Again?"] = again
    change("Train/Catch/0/Next", "Again?")(definition)
    assert found(definition) == ""
    change("Again?/Default", "Done")(definition)
    assert "can reach 'Done', which is no Fail" in found(definition)


def test_an_error_that_says_that_all_is_done_may_end_well_and_no_other() -> None:
    definition = copy.deepcopy(GOOD)
    definition["States"]["Train"] |= {
        "Resource": "arn:${Partition}:states:::states:startExecution",
        "Catch": [{"ErrorEquals": lint_state_machines.ALREADY_DONE, "Next": "Done"}],
    }
    wrong = ["leaves errors out", "is no Fail"]
    assert not [one for one in wrong if one in found(definition)]
    change("Train/Catch/0/ErrorEquals", ["StepFunctions.AWSStepFunctionsException"])(definition)
    assert [one for one in wrong if one in found(definition)] == wrong


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a mistake: sets what is at State/key/key... to a value, or removes it if that is None."""

    def apply(definition: dict[str, Any]) -> None:
        holder: Any = definition["States"]
        *parents, last = path.split("/")
        for key in parents:
            holder = holder[int(key) if isinstance(holder, list) else key]
        place = int(last) if isinstance(holder, list) else last
        if value is None:
            del holder[place]
        else:
            holder[place] = value

    return apply


WRITE = "Export/ItemProcessor/States/Write"
MISTAKES = [
    # the language
    ("Train/Next", "Nowhere", "Nowhere"),
    ("Train/Retry/0/MaxAttempt", 3, "MaxAttempt"),
    ("Good?/Type", "Choise", "Choise"),
    ("Pause/Next", None, "Next"),
    ("Orphan", {"Type": "Succeed"}, "Orphan"),
    # expressions
    ("Good?/Choices/0/Condition", "{% $score > %}", "Good?"),
    ("Good?/Choices/0/Condition", "{% score > 0.5 %}", "'score' reads a document"),
    ("Failed/Cause", "because of {% $states.input.Cause %}", "an expression is the whole text"),
    ("Pause/Seconds", "{% $eval('1') %}", "$eval is assigned nowhere"),
    # variables
    ("Pause/Seconds", "{% $scored * 10 %}", "$scored is assigned nowhere"),
    ("Prepare/Assign/score", None, "$score is assigned nowhere"),
    ("Prepare/Assign/unused", 1, "$unused is assigned and never read"),
    ("Rejected/Cause", "{% $late %}", "$late is assigned nowhere"),
    # calls
    ("Train/Resource", "arn:${Partition}:states:::sagemaker:createTrainingJob.synk", "has no .synk"),
    ("Train/Resource", "arn:${Partition}:states:::sagemaker:trainJob.sync", "no optimised integration"),
    (f"{WRITE}/Resource", "arn:${Partition}:states:::aws-sdk:ssm:putParametr", "did you mean 'putParameter'?"),
    (f"{WRITE}/Resource", "arn:${Partition}:states:::aws-sdk:smm:putParameter", "names the service 'smm'"),
    (f"{WRITE}/Resource", "arn:${Partition}:states:::aws-sdk:ssm:putParameter.sync", "has no .sync"),
    (f"{WRITE}/Resource", "putParameter", "is not arn:"),
    (f"{WRITE}/Arguments/Nam", "a", "Arguments.Nam is no argument"),
    (f"{WRITE}/Arguments/Value", None, "Arguments.Value is required and missing"),
    (f"{WRITE}/Arguments/Value", 5, "Arguments.Value: expected string, got 5"),
    (f"{WRITE}/Arguments/Type", "Text", "allowed are String, StringList, SecureString"),
    (f"{WRITE}/Arguments/Tags", "Key", "Arguments.Tags: expected a list"),
    (f"{WRITE}/Arguments/Overwrite", 1, "Arguments.Overwrite: expected boolean"),
    ("Prepare/Assign/job/RoleArn", None, "Arguments.RoleArn is required and missing"),
    ("Prepare/Assign/job/RoleArm", "a", "Arguments.RoleArm is no argument"),
    ("Prepare/Assign/job/ResourceConfig/InstanceCount", "1", "ResourceConfig.InstanceCount: expected integer"),
    ("Train/Arguments", "{% $lookup($job, 'x') %}", "Arguments cannot be checked"),
    # partition and substitutions
    (f"{WRITE}/Resource", "arn:aws:states:::aws-sdk:ssm:putParameter", "write arn:${Partition}"),
    ("Prepare/Comment", "${Nobody}", "${Nobody} is not among the DefinitionSubstitutions"),
    ("Prepare/Assign/job/RoleArn", "arn", "defines the substitution RoleArn, which nothing here uses"),
    # safety nets
    ("Train/TimeoutSeconds", None, "a Task needs TimeoutSeconds"),
    ("Train/Retry", None, "a Task needs Retry"),
    ("Train/Catch/0/ErrorEquals", ["States.Timeout"], 'the last entry of a Catch is for ["States.ALL"]'),
    ("Good?/Default", None, "a Choice needs a Default"),
    # true states
    ("Train/Catch/0/Output", None, "this Catch only hands the error on"),
    ("Train/Catch/0/Output", "{% $states.errorOutput %}", "this Catch only hands the error on"),
    ("Train/Catch/0/Output", lint_state_machines.UNCHANGED[-1], "this Catch only hands the error on"),
    # failures
    ("Train/Catch/0/Next", "Done", "can reach 'Done', which is no Fail"),
    ("Train/Catch/0/Next", "Pause", "can reach 'Done', which is no Fail"),
    (f"{WRITE}/Catch/0/Next", "Write", "can reach 'Write', which is no Fail"),
    ("Train/Catch/0/Next", "Good?", "can reach 'Done', which is no Fail"),
    # retries
    ("Train/Retry/0/ErrorEquals", ["States.ALL"], "Retry names States.ALL"),
    ("Train/Retry/0/JitterStrategy", None, "has no JitterStrategy"),
    ("Train/Retry/0/JitterStrategy", "NONE", "JitterStrategy is 'NONE'"),
    ("Train/Retry/0/MaxDelaySeconds", None, "has no MaxDelaySeconds"),
    ("Train/Retry/0/MaxAttempts", 100, "100 retries"),
    ("Train/Arguments", "{% $merge([$job, {'TrainingJobName': 'a'}]) %}", "needs $states.context.State.RetryCount"),
    # error names
    ("Train/Retry/0/ErrorEquals", ["Sagemaker.ValidationException"], "is no error that can happen here"),
    ("Train/Retry/0/ErrorEquals", ["Ssm.TooManyUpdatesException"], "is no error that can happen here"),
    ("Train/Catch/0/ErrorEquals", ["DatumError"], "'DatumError' is no error"),
    # order
    ("Done", {"Comment": "a", "Type": "Succeed"}, "their order is Type, Comment"),
]


@pytest.mark.parametrize(("path", "value", "expected"), MISTAKES, ids=[f"{m[0]} {m[2]}" for m in MISTAKES])
def test_a_seeded_mistake_is_found(path: str, value: Any, expected: str) -> None:
    definition = copy.deepcopy(GOOD)
    change(path, value)(definition)
    assert expected in found(definition)


def test_what_catches_nothing_fails_itself_unless_others_run_beside_it() -> None:
    definition = copy.deepcopy(GOOD)
    for path in ("Train/Catch", "Export/Catch", f"{WRITE}/Catch"):
        change(path, None)(definition)
    for unused in ("Failed", "Export/ItemProcessor/States/Not written"):
        change(unused, None)(definition)
    assert found(definition) == ""
    change("Export/MaxConcurrency", 2)(definition)
    assert found(definition) == '"Write": a state of a branch needs a Catch that names it: others run beside it'


def test_a_variable_assigned_on_one_path_only_is_found() -> None:
    definition = copy.deepcopy(GOOD)
    definition["States"]["Pause"]["Assign"] = {"pause": 1}
    definition["States"]["Good?"]["Choices"].append({"Condition": "{% $score > 0.1 %}", "Next": "Export"})
    definition["States"]["Done"]["Output"] = "{% $pause %}"
    assert "$pause is not assigned on every path to here" in found(definition)


def test_a_variable_assigned_by_the_state_is_not_yet_there_on_its_error_path() -> None:
    definition = copy.deepcopy(GOOD)
    definition["States"]["Train"]["Assign"] = {"model": "{% $states.result.ModelArtifacts %}"}
    definition["States"]["Failed"]["Cause"] = "{% $model %}"
    assert "$model is not assigned on every path to here" in found(definition)


def test_a_variable_of_a_branch_is_unknown_outside_of_it() -> None:
    definition = copy.deepcopy(GOOD)
    change(f"{WRITE}/Assign", {"version": "{% $states.result.Version %}"})(definition)
    definition["States"]["Done"]["Output"] = "{% $version %}"
    assert '"Done": Output: $version is not assigned' in found(definition)


def test_errors_of_the_functions_are_known() -> None:
    definition = copy.deepcopy(GOOD)
    definition["States"]["Train"]["Catch"].insert(0, {**CATCH, "ErrorEquals": ["DataError"]})
    assert found(definition) == ""


def test_invalid_json_is_found_also_when_only_the_substitution_makes_it_valid() -> None:
    assert "not valid JSON" in found('{"StartAt": ${Start}}')


def test_a_key_given_twice_is_found() -> None:
    assert "keys given twice in one object: StartAt" in found('{"StartAt": "a", "StartAt": "b"}')


def test_a_state_machine_without_a_time_limit_is_found() -> None:
    endless = {key: value for key, value in GOOD.items() if key != "TimeoutSeconds"}
    assert "the state machine has no TimeoutSeconds" in found(endless)


def test_a_file_that_the_template_does_not_deploy_is_found() -> None:
    assert "no AWS::StepFunctions::StateMachine" in found(GOOD, substitutions=None)


def test_the_state_machines_of_the_project_have_no_problem() -> None:
    template, errors = cfn.load(ROOT / "template.yaml"), lint_state_machines.own_errors(ROOT)
    files = sorted(ROOT.glob("statemachines/*.asl.json"))
    assert files
    for file in files:
        assert lint_state_machines.problems(lint_state_machines.machine_of(file, template, errors)) == []


def test_the_command_names_file_and_problem_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.asl.json"
    file.write_text("{")
    assert lint_state_machines.main([str(file)]) == 1
    assert f"{file}: not valid JSON" in capsys.readouterr().err


def test_the_command_passes_on_the_project() -> None:
    assert lint_state_machines.main([]) == 0
