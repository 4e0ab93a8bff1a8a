"""The line "Configuration" of the failure matrix, and two of "People": what is wrong is refused where it is given.

At deploy the stack stays what it was, and the reason names the parameter or the field of model.yaml and what is
allowed. At run the execution fails before anything is spent, and its one message says the same.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import ROOT, App
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told
from tests.waiting import wait_for
from tools import demo_data

pytestmark = pytest.mark.xdist_group("matrix-configuration")

STACK = "perennial-mx-config"
ADVICE = "Correct what is named above (model.yaml, a stack parameter or the run's input) and start again"
# Name of the case, the execution's input, what the message says.
RUNS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown key": ({"Overides": {}}, ("Overides", "did you mean 'Overrides'")),
    "an unknown override": ({"Overrides": {"GateTreshold": 3000}}, ("GateTreshold", "did you mean 'GateThreshold'")),
    "an unknown hyperparameter": (
        {"Overrides": {"HyperParameters": {"etta": 0.2}}},
        ("hyperparameters.xgboost.etta", "did you mean 'eta'"),
    ),
    "a value of another type": ({"Overrides": {"GateThreshold": "low"}}, ("GateThreshold", "'low'", "a number")),
    "an impossible value": (
        {"Overrides": {"HyperParameters": {"eta": 5}}},
        ("hyperparameters.xgboost.eta", "got 5", "at least 0 and of at most 1"),
    ),
    "a machine that does not exist": (
        {"Overrides": {"Instances": {"Train": {"InstanceType": "m5.large"}}}},
        ("instances.train.type", "'m5.large'", "ml.m5.large"),
    ),
    "an unknown algorithm": ({"Overrides": {"Algorithm": "catboost"}}, ("algorithm", "'catboost'", "linear-learner")),
    "a threshold for the wrong direction": (
        {"Overrides": {"GateThreshold": -3000}},
        ("gate.threshold", "got -3000", "a number above 0: lower is better"),
    ),
    "an override that the model does not allow": (
        {"Overrides": {"GateMinimumImprovement": 0.1}},
        ("gate.minimum_improvement", "may not be overridden by a run", "gate.threshold, instances, data_prefix"),
    ),
    "a data prefix that holds results": (
        {"Overrides": {"DataPrefix": "runs/"}},
        ("data_prefix", "'runs/'", "hold results of runs"),
    ),
    "a trigger that does not exist": ({"Trigger": {"Type": "Moon"}}, ("Trigger.Type", "'Moon'", "DataDrop")),
}
PARAMETERS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "a threshold for the wrong direction": (
        {"GateThreshold": "-5"},
        ("models/used-cars/model.yaml", "gate.threshold: got -5", "a number above 0: lower is better"),
    ),
    "an unknown hyperparameter": (
        {"HyperParameters": '{"etta": 0.2}'},
        ("the stack's parameters", "hyperparameters.xgboost.etta", "did you mean 'eta'"),
    ),
    "a model that does not exist": (
        {"ModelName": "used-car"},
        ("ModelName", "models/used-car/model.yaml", "mammography, used-cars"),
    ),
    "a data prefix that holds results": ({"DataPrefix": "runs/x/"}, ("data_prefix", "'runs/x/'", "hold results")),
}
# A model.yaml with a mistake in each of several sections, and what is said about them; all at once.
MISTAKES = {
    "target: price": "target: price\ncolour: red",
    "price: {type: float, unit: USD, min: 0, max: 500000}": "price: {type: float, unit: USD, min: 9, max: 5}",
    "seed: 42": "seed: yes",
    "metric: rmse": "metric: auc",
}
SAID = {
    "an unknown key": ("colour",),
    "an impossible value": ("columns.price.min", "more than max 5"),
    "a value of another type": ("split.seed", "True"),
    "a metric that the problem does not have": ("gate.metric", "'auc' is not a metric of regression", "rmse"),
}


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App]) -> App:
    return deploy(STACK, QuietPeriodSeconds="0")


@pytest.fixture(scope="module")
def first(app: App) -> End:
    end = situation.dropped(app, "raw/cars.csv", demo_data.used_cars())
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    return end


@pytest.fixture(scope="module")
def refused(app: App, first: End) -> dict[str, End]:
    """All wrong inputs, side by side; what serves stays."""
    serving = app.in_service()
    ends = situation.ends(app, {name: situation.start_with(app, given) for name, (given, _) in RUNS.items()})
    assert app.in_service() == serving
    return ends


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=matrix("Configuration", f"{name}, at run", ends="Failed")) for name in RUNS]
)
def test_a_wrong_input_of_a_run_is_refused_before_anything_is_spent(
    app: App, refused: dict[str, End], case: str
) -> None:
    end = refused[case]
    assert end.run.status == "FAILED"
    assert end.run.error in ("ConfigurationError", "DefinitionError")
    assert_told(end, "in state 'Resolve configuration'", ADVICE, *RUNS[case][1])
    assert app.record(end.run)["jobs"] == []


def update(app: App, **parameters: str) -> str:
    """Update the stack with other parameters and wait; returns how it ended."""
    cloudformation = app.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=app.stack)["Stacks"]
    kept = [
        {"ParameterKey": item["ParameterKey"], "UsePreviousValue": True}
        for item in stack["Parameters"]
        if item["ParameterKey"] not in parameters
    ]
    changed = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    cloudformation.update_stack(
        StackName=app.stack,
        UsePreviousTemplate=True,
        Parameters=[*kept, *changed],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )

    def ended() -> str | None:
        (stack,) = cloudformation.describe_stacks(StackName=app.stack)["Stacks"]
        status = str(stack["StackStatus"])
        return None if status.endswith("PROGRESS") else status

    return wait_for(ended, "the end of the update", 120)


def reasons(app: App) -> str:
    """Why resources of the stack failed, the newest first."""
    events = app.client("cloudformation").describe_stack_events(StackName=app.stack)["StackEvents"]
    failed = (event for event in events if event["ResourceStatus"].endswith("FAILED"))
    return "\n".join(event.get("ResourceStatusReason", "") for event in failed)


def functions_environment(app: App) -> dict[str, str]:
    name = f"{app.stack}-resolve-configuration"
    described = app.client("lambda").get_function_configuration(FunctionName=name)
    return dict(described["Environment"]["Variables"])


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=matrix("Configuration", f"{name}, at deploy", ends="no run, the stack stays"))
        for name in PARAMETERS
    ],
)
def test_a_wrong_stack_parameter_fails_the_deployment_and_the_stack_stays(app: App, first: End, case: str) -> None:
    parameters, says = PARAMETERS[case]
    before = functions_environment(app)
    assert update(app, **parameters) == "UPDATE_ROLLBACK_COMPLETE"
    said = reasons(app)
    assert [text for text in says if text not in said] == [], said
    assert functions_environment(app) == before


@matrix("Configuration", "an unknown algorithm, at deploy", ends="no run, the stack stays")
def test_a_value_that_the_template_does_not_list_is_refused_at_once(app: App, first: End) -> None:
    with pytest.raises(ClientError, match="catboost"):
        update(app, Algorithm="catboost")


HALF_A_NETWORK = {
    "subnets without security groups": ({"VpcSubnetIds": "subnet-1,subnet-2"}, "give security groups, or no subnets"),
    "security groups without subnets": ({"VpcSecurityGroupIds": "sg-1"}, "give subnets, or no security groups"),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=matrix("Configuration", f"{name}, at deploy", ends="no run, the stack stays"))
        for name in HALF_A_NETWORK
    ],
)
def test_parameters_that_need_each_other_are_refused_at_once_when_one_is_missing(
    app: App, first: End, case: str
) -> None:
    parameters, says = HALF_A_NETWORK[case]
    with pytest.raises(ClientError, match=f"Jobs and models in a VPC need both; {says}"):
        update(app, **parameters)


@pytest.fixture(scope="module")
def wrong_model(app: App, first: End, built: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `sam deploy` says of a layer whose model.yaml has mistakes."""
    folder = tmp_path_factory.mktemp("wrong")  # as deep as the build, whose paths are relative
    shutil.copytree(built.parent, folder, dirs_exist_ok=True)
    path = folder / "SharedLayer/python/models/used-cars/model.yaml"
    text = path.read_text()
    for right, wrong in MISTAKES.items():
        assert right in text
        text = text.replace(right, wrong, 1)
    path.write_text(text)
    ended = subprocess.run(
        [str(ROOT / ".venvs/sam/bin/sam"), "deploy", "--config-file", str(ROOT / "samconfig.toml"),
         "--config-env", "local", "--template-file", str(folder / "template.yaml"), "--stack-name", app.stack,
         "--parameter-overrides", "QuietPeriodSeconds=0", "PollSeconds=1", "AlertEmails=team@example.com"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout
    said = reasons(app)
    assert "definition" in said, ended.stdout + ended.stderr
    return said


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=matrix("Configuration", f"{name} in model.yaml", ends="no run, the stack stays"))
        for name in SAID
    ],
)
def test_a_wrong_model_definition_fails_the_deployment_with_file_and_field(wrong_model: str, case: str) -> None:
    assert "models/used-cars/model.yaml: not a valid model definition" in wrong_model
    assert [text for text in SAID[case] if text not in wrong_model] == [], wrong_model


@matrix("People", "the stack is updated while a run works", ends="Succeeded")
def test_a_run_that_works_while_the_stack_is_updated_ends_as_it_began(app: App, first: End, wrong_model: str) -> None:
    with app.faults.injected("sagemaker:CreateTrainingJob", "delay", seconds=1.0):
        arn = situation.start(app)
        wait_for(
            lambda: situation.versions(app, f"runs/{situation.run_of(app, arn)}/config.json"), "the run's configuration"
        )
        assert update(app, LogLevel="DEBUG", PollSeconds="2") == "UPDATE_COMPLETE"
        end = situation.end(app, arn)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert_told(end, "Model in service")
    assert app.parameters()["run"] == end.run.run_id


def test_a_healthy_drop_works_after_all_refusals(app: App, wrong_model: str) -> None:
    end = situation.dropped(app, "raw/more.csv", demo_data.new_listings(3000, seed=2))
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert app.parameters()["run"] == end.run.run_id
