"""The line "Configuration" of the failure matrix: what is wrong is refused where it is given.

Beside it what goes wrong while the stack is updated, of the lines "Functions" and "People".

At deploy the stack stays what it was, and the reason names the parameter or the field of model.yaml and what is
allowed, or what the function that publishes the job code has met. At run the execution fails before anything is spent,
and its one message says the same.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import sam_cli
from tests.e2e.conftest import ROOT, SAM, App, mails
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told
from tests.waiting import wait_for
from tools import demo_data

pytestmark = pytest.mark.xdist_group("matrix-configuration")

STACK = "perennial-mx-config"
CAR = "12000,8,2,true,true,true,Cadillac,convertible"
ADVICE = "Correct what is named above (model.yaml, a stack parameter or the run's input) and start again"
# Name of the case, the execution's input, what the message says.
RUNS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown key": ({"Overides": {}}, ("Overides", "did you mean 'Overrides'")),
    "an unknown override": ({"Overrides": {"GateTreshold": 3000}}, ("GateTreshold", "did you mean 'GateThreshold'")),
    "an unknown hyperparameter": (
        {"Overrides": {"HyperParameters": {"etta": 0.2}}},
        ("HyperParameters.etta", "did you mean 'eta'"),
    ),
    "a value of another type": ({"Overrides": {"GateThreshold": "low"}}, ("GateThreshold", "'low'", "a number")),
    "an impossible value": (
        {"Overrides": {"HyperParameters": {"eta": 5}}},
        ("HyperParameters.eta", "got 5", "at least 0 and of at most 1"),
    ),
    "a machine that does not exist": (
        {"Overrides": {"Instances": {"Train": {"InstanceType": "m5.large"}}}},
        ("Instances.Train.InstanceType", "'m5.large'", "ml.m5.large"),
    ),
    "machines that the model does not allow": (
        {
            "Overrides": {
                "Instances": {"Train": {"InstanceType": "ml.p3.2xlarge"}, "Endpoint": {"InitialInstanceCount": 100}}
            }
        },
        (
            "Instances.Train.InstanceType: got 'ml.p3.2xlarge'; allowed: ml.m5.2xlarge, ml.m5.4xlarge",
            "Instances.Endpoint.InitialInstanceCount: got 100; allowed: at most 2 (instances.allowed.max_count)",
        ),
    ),
    "an unknown algorithm": ({"Overrides": {"Algorithm": "catboost"}}, ("Algorithm", "'catboost'", "linear-learner")),
    "a threshold for the wrong direction": (
        {"Overrides": {"GateThreshold": -3000}},
        ("GateThreshold", "got -3000", "a number above 0: lower is better"),
    ),
    "an override that the model does not allow": (
        {"Overrides": {"GateMinimumImprovement": 0.1}},
        (
            "GateMinimumImprovement",
            "may not be overridden by a run",
            "gate.threshold, instances, data_prefix",
        ),
    ),
    "a data prefix that holds results": (
        {"Overrides": {"DataPrefix": "runs/"}},
        ("DataPrefix", "'runs/'", "are the stack's own", "such as 'raw/'"),
    ),
    "a metric, which is the model's": ({"Overrides": {"GateMetric": "auc"}}, ("GateMetric: unknown key", "allowed: ")),
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
    "a value of another type": (
        {"HyperParameters": '{"eta": "much"}'},
        ("the stack's parameters", "hyperparameters.xgboost.eta", "got 'much'", "expected a number"),
    ),
    "machines that the model does not allow": (
        {"TrainInstanceType": "ml.p3.2xlarge"},
        ("the stack's parameters", "instances.train.type: got 'ml.p3.2xlarge'; allowed: ml.m5.2xlarge"),
    ),
    "a model that does not exist": (
        {"ModelName": "used-car"},
        ("ModelName", "models/used-car/model.yaml", "mammography, penguins, used-cars"),
    ),
    "a data prefix that holds results": (
        {"DataPrefix": "runs/x/"},
        ("the stack's parameters, DataPrefix", "'runs/x/'", "are the stack's own"),
    ),
}
# A model.yaml with a mistake in each of several sections, and what is said about them; all at once.
MISTAKES = {
    "target: price": "target: price\ncolour: red",
    "price: {type: float, unit: USD, min: 0, max: 500000}": "price: {type: float, unit: USD, min: 9, max: 5}",
    "seed: 42": "seed: yes",
    "metric: rmse": "metric: auc",
}
SAID = {
    "an unknown key": ("colour: unknown key; did you mean 'columns'?",),
    "an impossible value": ("columns.price.min", "more than max 5"),
    "a value of another type": ("split.seed: got True; expected a whole number",),
    "a metric that the problem does not have": ("gate.metric", "'auc' is not a metric of regression", "rmse"),
}


KM_A_MILE = 1.609
# What a later definition says otherwise.
REDEFINED = {
    "mileage: {type: float, unit: miles": "mileage: {type: float, source: odometer, unit: km",
    "  sound: {type: boolean, description: upgraded speakers}\n": "",
    "split: {method: random, seed: 42": "other_columns: ignore\nsplit: {method: random, seed: 43",
}


def rewrite(layer: Path, changes: dict[str, str]) -> None:
    """Change model.yaml in a copy of the layer."""
    path = layer / "python/models/used-cars/model.yaml"
    text = path.read_text()
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after, 1)
    path.write_text(text)


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
    with situation.unchanged(app):
        return situation.ends(app, {name: situation.start_with(app, given) for name, (given, _) in RUNS.items()})


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
    assert "the run's input, Overrides" in end.mail.body or "the execution's input" in end.mail.body
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
    pages = app.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=app.stack)
    failed = (event for page in pages for event in page["StackEvents"] if event["ResourceStatus"].endswith("FAILED"))
    return "\n".join(event.get("ResourceStatusReason", "") for event in failed)


def functions_environment(app: App) -> dict[str, str]:
    name = f"{app.stack}-resolve-configuration"
    described = app.client("lambda").get_function_configuration(FunctionName=name)
    return dict(described["Environment"]["Variables"])


def stack_overrides(app: App) -> str:
    return str(app.client("ssm").get_parameter(Name=f"/{app.stack}_overrides")["Parameter"]["Value"])


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=matrix("Configuration", f"{name}, at deploy", ends="no run, the stack stays"))
        for name in PARAMETERS
    ],
)
def test_a_wrong_stack_parameter_fails_the_deployment_and_the_stack_stays(app: App, first: End, case: str) -> None:
    parameters, says = PARAMETERS[case]
    with nothing_changes(app):
        assert update(app, **parameters) == "UPDATE_ROLLBACK_COMPLETE"
    said = reasons(app)
    assert [text for text in says if text not in said] == [], said


@matrix("Configuration", "an unknown algorithm, at deploy", ends="no run, the stack stays")
def test_a_value_that_the_template_does_not_list_is_refused_at_once(app: App, first: End) -> None:
    with nothing_changes(app), pytest.raises(ClientError, match="catboost"):
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
    text = f"Jobs and models in a VPC need both; {says}"
    with nothing_changes(app), pytest.raises(ClientError, match=text):
        update(app, **parameters)


def sam_deploy(app: App, template: Path, **parameters: str) -> subprocess.CompletedProcess[str]:
    """`sam deploy` of a build to the stack; what it prints is not wrapped."""
    values = {"QuietPeriodSeconds": "0", "PollSeconds": "1", "AlertEmails": "team@example.com", **parameters}
    return sam_cli.sam(
        "deploy", "--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local",
        "--template-file", str(template), "--stack-name", app.stack,
        "--parameter-overrides", *(f"{name}={value}" for name, value in values.items()),
        cwd=ROOT, env={**os.environ, **SAM}, timeout_seconds=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wrong_model(app: App, first: End, built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `sam deploy` says of a layer whose model.yaml has mistakes."""
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("wrong"))
    rewrite(layer, MISTAKES)
    with nothing_changes(app):
        ended = sam_deploy(app, situation.with_layer(packaged, layer))
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


@contextmanager
def nothing_changes(app: App) -> Iterator[None]:
    """What is refused leaves everything as it was, and sends no mail: no run has begun."""
    before, mails = stays(app), mails_of(app)
    yield
    assert stays(app) == before
    assert mails_of(app) == mails


def mails_of(app: App) -> list[str]:
    """The subjects of all mails that the stack has sent."""
    return [mail.subject for mail in mails(app.state) if f"[{app.stack}]" in mail.subject]


def stays(app: App) -> dict[str, Any]:
    """What a deployment that fails must leave as it was; the model's answer is a part of it."""
    (stack,) = app.client("cloudformation").describe_stacks(StackName=app.stack)["Stacks"]
    return {
        "serves": app.in_service(),
        "answer": app.invoke(CAR),
        "outputs": {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]},
        "parameters": {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]},
        "code of runs": functions_environment(app)["CODE_URI"],
        "environment": functions_environment(app),
        "overrides": stack_overrides(app),
    }


def assert_refused(app: App, ended: subprocess.CompletedProcess[str], before: dict[str, Any], *says: str) -> None:
    """`sam deploy` failed and printed why; everything is as before, and the code of the next run is whole."""
    assert ended.returncode == 1, ended.stdout
    assert [text for text in says if text not in ended.stdout] == [], ended.stdout
    (stack,) = app.client("cloudformation").describe_stacks(StackName=app.stack)["Stacks"]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stays(app) == before
    assert published(app, before["code of runs"]) == {"code.zip", "unpack.py"}


def published(app: App, code_uri: str) -> set[str]:
    """The names of the files below a code prefix."""
    prefix = code_uri.removeprefix(f"s3://{app.bucket}/") + "/"
    return {key.removeprefix(prefix) for key, _, _ in situation.versions(app, prefix)}


NO_ANSWER = "CloudFormation did not receive a response from your Custom Resource"
# Name of the case, what the function does at each attempt, what `sam deploy` prints besides.
SILENT: dict[str, tuple[str, dict[str, str], str]] = {
    "it throws": ("error", {"error": "KeyError", "message": "'no such key'"}, "KeyError: 'no such key'"),
    "it is over its time": ("timeout", {}, "Task timed out after 900.00 seconds"),
}


def publishing(case: str, ends: str = "no run, the stack stays") -> pytest.MarkDecorator:
    return matrix("Functions", f"{case} (publish_job_code, at deploy)", ends=ends)


@pytest.mark.parametrize("case", [pytest.param(name, marks=publishing(name)) for name in SILENT])
def test_a_function_that_cannot_answer_fails_the_deployment_and_the_stack_stays(
    app: App, first: End, packaged: Path, case: str
) -> None:
    effect, more, says = SILENT[case]
    before = stays(app)
    with app.faults.injected("function:publish_job_code", effect, times=3, **more) as number:
        ended = sam_deploy(app, packaged, GateThreshold="2999")
        assert app.faults.fired(number) == 3
    assert_refused(app, ended, before, NO_ANSWER, says)


@publishing("it throws half-way")
def test_code_that_is_half_published_is_never_taken(
    app: App, first: End, built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("half"))
    with (layer / "python/processing/preprocess.py").open("a") as script:
        script.write("# changed\n")
    publisher = layer / "python/perennial_aws/job_code.py"
    right, loop = publisher.read_text(), "    for name, content in published.items():\n"
    assert loop in right
    publisher.write_text(right.replace(loop, f"{loop}        if name == 'unpack.py': raise KeyError(name)\n"))
    before, known = stays(app), code_prefixes(app)

    ended = sam_deploy(app, situation.with_layer(packaged, layer))
    assert_refused(app, ended, before, "from custom resource. Message returned: KeyError: 'unpack.py")
    (half,) = code_prefixes(app) - known
    assert published(app, half) == {"code.zip"}

    publisher.write_text(right)
    assert sam_deploy(app, situation.with_layer(packaged, layer)).returncode == 0
    assert functions_environment(app)["CODE_URI"] == half
    assert published(app, half) == published(app, before["code of runs"])


def code_prefixes(app: App) -> set[str]:
    """Every prefix that code has been published under."""
    return {f"s3://{app.bucket}/{'/'.join(key.split('/')[:2])}" for key, _, _ in situation.versions(app, "code/")}


@publishing("its layer cannot be loaded")
def test_a_layer_that_cannot_be_loaded_fails_the_deployment_and_the_stack_stays(
    app: App, first: End, built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("other"))
    for library in (layer / "python/pydantic_core").glob("*.so"):
        library.unlink()  # as in a layer that was built for another machine
    before = stays(app)
    ended = sam_deploy(app, situation.with_layer(packaged, layer))
    assert_refused(app, ended, before, "Message returned: ModuleNotFoundError: No module named 'pydantic_core.")


@publishing("it is throttled, then not", ends="the stack is updated")
def test_a_function_that_is_throttled_publishes_when_it_is_not(app: App, first: End) -> None:
    with app.faults.injected("function:publish_job_code", "throttle", times=2) as number:
        assert update(app, GateThreshold="2998") == "UPDATE_COMPLETE"
        assert app.faults.fired(number) == 2
    assert '"GateThreshold":"2998"' in stack_overrides(app)
    assert update(app, GateThreshold="") == "UPDATE_COMPLETE"


@pytest.fixture(scope="module")
def updated(
    app: App, first: End, wrong_model: str, built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, End]:
    """The code that a run began with, and its end.

    Another definition, a new layer below every function and other parameters came in while it waited to train.
    """
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("update"))
    rewrite(layer, REDEFINED)
    template = situation.with_layer(packaged, layer)
    code = functions_environment(app)["CODE_URI"]
    with app.faults.injected("job:train", "delay", seconds=600.0):
        arn = situation.start(app)
        wait_for(lambda: situation.versions(app, f"runs/{situation.run_of(arn)}/report/"), "the run's report", 300)
        assert sam_deploy(app, template, LogLevel="DEBUG", PollSeconds="2").returncode == 0
    return code, situation.end(app, arn)


@matrix("People", "the stack is updated while a run works", ends="Succeeded")
def test_a_run_that_works_while_the_stack_is_updated_ends_as_it_began(app: App, updated: tuple[str, End]) -> None:
    code, end = updated
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert_told(end, "Model in service")
    assert app.parameters()["run"] == end.run.run_id
    assert functions_environment(app)["CODE_URI"] != code
    assert app.record(end.run)["code"]["uri"] == code


@matrix("Functions", "it throws for good (notify_run)", ends="Failed, an alarm")
def test_an_end_that_cannot_be_told_is_kept_and_the_alarm_mails(app: App, refused: dict[str, End]) -> None:
    with (
        situation.unchanged(app),
        app.faults.injected("function:notify_run", "error", error="KeyError", times="always"),
    ):
        run = situation.end_of(app, situation.start_with(app, {"Overides": {}}))
        (letter,) = wait_for(lambda: situation.letters(app), "the event in the dead-letter queue")
    assert run.status == "FAILED"
    kept = json.loads(letter["Body"])
    assert kept["requestPayload"]["detail"]["executionArn"] == run.execution_arn
    assert kept["responsePayload"]["errorType"] == "KeyError"
    (mail,) = wait_for(lambda: situation.alarms(app), "the alarm's mail", 90)
    for text in ("the end of one not reported", "in its body", f"{STACK}-notify-run", "What to do:", "Step Functions"):
        assert text in mail.body


def with_odometers(*files: bytes) -> bytes:
    """The rows of files in one table, with what each car has driven in kilometres as well."""
    header, *_ = files[0].decode().splitlines()
    rows = [row for file in files for row in file.decode().splitlines()[1:]]
    return situation.table(
        [f"{header},odometer", *(f"{row},{float(row.split(',')[1]) * KM_A_MILE:.1f}" for row in rows)]
    )


@matrix("Configuration", "a column is read from another source, under a model in service", ends="Succeeded")
@matrix("Configuration", "a column is gone, under a model in service", ends="Succeeded")
@matrix("Configuration", "rows are dealt by another seed, under a model in service", ends="Succeeded")
def test_a_changed_definition_is_compared_by_the_rows_as_the_model_in_service_reads_them(
    app: App, updated: tuple[str, End]
) -> None:
    """It is the healthy drop after all refusals, too. By their new features all rows would be new to the old model."""
    cars = with_odometers(demo_data.used_cars(), demo_data.new_listings(3000, seed=2))
    end = situation.dropped(app, "raw/cars.csv", cars)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert app.parameters()["run"] == end.run.run_id
    assert_told(
        end,
        "Model in service",
        "on the 645 test rows that it has not seen",
        "(21 known, 624 new)",
        "columns ignored: 'mileage', 'sound'",
    )
    asked, of_champion = (
        json.loads(situation.read(app, f"runs/{end.run.run_id}/{folder}/part-00000.jsonl").splitlines()[0])
        for folder in ("test", "rows/champion-test")
    )
    assert asked["mileage"] == pytest.approx(of_champion["mileage"] * KM_A_MILE, abs=0.1)
    assert of_champion.keys() - asked.keys() == {"sound"}
    alarms = [mail.subject for mail in situation.alarms(app)]  # the one of the test before, if it has run
    assert situation.strays(app) == alarms
    assert len(alarms) <= 1
