"""Configuration: who wins, what a run may override, and what follows from the problem."""

import pytest

from perennial.model import definition
from perennial.model.algorithms import ALGORITHMS
from perennial.runs import configuration, run_input
from perennial.runs.batch_input import batch_input
from perennial.runs.configuration import ConfigurationError

TEXT = """
problem: regression
target: price
columns:
  price: {type: float}
  mileage: {type: float}
split: {method: random, seed: 7}
gate: {metric: rmse, threshold: 3000, minimum_improvement: 0.02}
hyperparameters:
  xgboost: {num_round: 50, eta: 0.3}
  linear-learner: {epochs: 5}
instances: {allowed: {types: [ml.c5.*], max_count: 3, max_volume_gb: 99}}
overridable: [algorithm, hyperparameters, gate.threshold, instances, data_prefix]
"""
MODEL = definition.parse(TEXT, "model.yaml")
BINARY = definition.parse(
    TEXT.replace("regression", "binary_classification")
    .replace("rmse", "auc")
    .replace("3000", "0.8")
    .replace("price: {type: float}", "price: {type: boolean}"),
    "model.yaml",
)


def resolve(model=MODEL, **layers):
    return configuration.resolve("cars", model, **layers)


def overridable(*paths):
    return MODEL.model_copy(update={"overridable": paths})


# ---- Precedence


def test_a_built_in_default_is_the_lowest_layer():
    bare = MODEL.model_copy(update={"hyperparameters": {}})
    assert resolve(bare).hyperparameters["num_round"] == "2000"


@pytest.mark.parametrize("algorithm", ["xgboost", "linear-learner"])
def test_built_in_defaults_are_what_the_containers_accept(algorithm):
    assert list(ALGORITHMS[algorithm].complaints(ALGORITHMS[algorithm].defaults)) == []


def test_training_ends_by_the_validation_set_also_where_a_definition_sets_its_own_rounds():
    assert resolve().hyperparameters["early_stopping_rounds"] == "50"


def test_the_definition_wins_over_built_in_defaults():
    assert resolve().hyperparameters["num_round"] == "50"


def test_a_stack_parameter_wins_over_the_definition():
    resolved = resolve(stack={"GateThreshold": "2500", "HyperParameters": '{"num_round": 60}'})
    assert resolved.gate.threshold == 2500
    assert resolved.hyperparameters["num_round"] == "60"


def test_the_runs_input_wins_over_all():
    resolved = resolve(
        stack={"GateThreshold": "2500", "HyperParameters": {"num_round": 60}},
        run={"GateThreshold": 2000, "HyperParameters": {"num_round": 70}},
        data_prefix="raw/",
    )
    assert resolved.gate.threshold == 2000
    assert resolved.hyperparameters["num_round"] == "70"
    assert resolved.hyperparameters["eta"] == "0.3"


def test_each_overridden_field_knows_who_set_it():
    resolved = resolve(stack={"GateThreshold": "2500", "Algorithm": "linear-learner"}, run={"GateThreshold": 2000})
    assert resolved.sources == {"algorithm": configuration.STACK, "gate.threshold": configuration.RUN}


def test_empty_stack_parameters_are_not_set():
    empty = {"Algorithm": "", "GateThreshold": "", "HyperParameters": {}, "Instances": {}, "DataPrefix": None}
    assert resolve(stack=empty) == resolve()


def test_stack_parameters_need_no_permission_of_the_definition():
    assert resolve(overridable(), stack={"GateThreshold": "2500"}).gate.threshold == 2500


def test_the_definition_itself_is_not_changed_by_an_override():
    resolve(run={"GateThreshold": 1})
    assert MODEL.gate.threshold == 3000


def test_the_data_prefix_has_layers_too():
    assert resolve(data_prefix="drop/").data_prefix == "drop/"
    assert resolve(data_prefix="drop/", run={"DataPrefix": "other/"}).data_prefix == "other/"


def test_machines_are_overridden_field_by_field():
    resolved = resolve(
        stack={"Instances": {"Train": {"InstanceType": "ml.c5.xlarge"}}},
        run={"Instances": {"Train": {"VolumeSizeInGB": 99}, "Endpoint": {"InitialInstanceCount": 2}}},
    )
    machines = resolved.instances("key")
    assert machines["Train"] == {
        "InstanceType": "ml.c5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 99,
        "MaxRuntimeInSeconds": 3600,
        "VolumeKmsKeyId": "key",
    }
    assert machines["Endpoint"] == {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2, "KmsKeyId": "key"}


def test_a_run_may_train_on_a_machine_that_may_be_taken_away():
    assert resolve().spot() == {}
    limits = {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600}
    spot = {"EnableManagedSpotTraining": True}
    assert resolve(run={"Instances": {"Train": spot}}).spot() == {**spot, "StoppingCondition": limits}
    shorter = {**spot, "MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}
    limits = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}
    assert resolve(run={"Instances": {"Train": shorter}}).spot()["StoppingCondition"] == limits


def test_transform_jobs_and_the_endpoint_may_have_several_machines():
    given = {"Predict": {"InstanceCount": 3}, "Endpoint": {"InitialInstanceCount": 2}}
    machines = resolve(run={"Instances": given}).instances("key")
    assert machines["Predict"] == {"InstanceType": "ml.m5.large", "InstanceCount": 3, "VolumeKmsKeyId": "key"}
    assert machines["Endpoint"]["InitialInstanceCount"] == 2


# Families that SageMaker has for jobs and endpoints (botocore's service model), by whether EC2 gives them disks.
WITHOUT_DISKS = (
    "c4 c5 c5n c6g c6gn c6i c6in c7g c7i c7i-flex c8g c8i c8i-flex inf1 inf2 m4 m5 m6g m6i m7i m7i-flex m8g m8i "
    "m8i-flex p2 p3 r5 r6g r6i r7i r8g r8i r8i-flex t2 t3"
)
WITH_DISKS = (
    "c5d c6gd dl1 g4dn g5 g6 g6e g7 g7e m5d m6gd p3dn p4d p4de p5 p5e p5en p6-b200 p6-b300 p6e-gb200 r5d r6gd r7gd "
    "trn1 trn1n trn2 m5dn m6id r6idn i3 i3en z1d x1 d3"
)


@pytest.mark.parametrize(("families", "taken"), [(WITHOUT_DISKS, True), (WITH_DISKS, False)])
def test_a_key_is_asked_for_where_the_only_storage_is_a_volume(families: str, taken: bool):
    for family in families.split():
        steps = ", ".join(f"{step}: {{type: ml.{family}.2xlarge}}" for step in ("preprocess", "predict", "endpoint"))
        model = definition.parse(TEXT.replace("instances: {", f"instances: {{{steps}, "), "model.yaml")
        machines = resolve(model).instances("key")
        asked = [machines["Preprocess"], machines["Predict"], machines["Endpoint"]]
        found = [bool({"VolumeKmsKeyId", "KmsKeyId"} & set(machine)) for machine in asked]
        assert found == [taken] * 3, family


# ---- Machines that may be asked for


@pytest.mark.parametrize("layer", ["stack", "run"])
@pytest.mark.parametrize(
    ("step", "asked", "path", "refused"),
    [
        (
            "Train",
            {"InstanceType": "ml.p3.2xlarge"},
            "train.type",
            "got 'ml.p3.2xlarge'; allowed: ml.c5.*, ml.m5.large ",
        ),
        (
            "Endpoint",
            {"InitialInstanceCount": 100},
            "endpoint.count",
            "got 100; allowed: at most 3 (instances.allowed.max_",
        ),
        ("Predict", {"InstanceCount": 4}, "predict.count", "got 4; allowed: at most 3 (instances.allowed.max_count)"),
        (
            "Train",
            {"VolumeSizeInGB": 100},
            "train.volume_gb",
            "got 100; allowed: at most 99 (instances.allowed.max_vol",
        ),
        (
            "Train",
            {"MaxRuntimeInSeconds": 3601},
            "train.max_runtime_seconds",
            "got 3601; allowed: at most 3600 (instan",
        ),
    ],
    ids=["type", "instances of the endpoint", "instances of a job", "volume", "runtime"],
)
def test_machines_beyond_what_the_definition_allows_are_refused_to_stack_and_run(layer, step, asked, path, refused):
    with pytest.raises(ConfigurationError) as caught:
        resolve(**{layer: {"Instances": {step: asked}}})
    source = {"stack": configuration.STACK, "run": configuration.RUN}[layer]
    assert str(caught.value).startswith(f"{source}: more than the model's instances allow (1 problem)")
    name = {"stack": f"instances.{path}", "run": f"Instances.{step}.{next(iter(asked))}"}[layer]
    assert f"\n  {name}: {refused}" in str(caught.value)


def test_a_definition_that_allows_nothing_more_allows_the_machines_of_its_own_steps():
    text = TEXT.replace("{allowed: {types: [ml.c5.*], max_count: 3, max_volume_gb: 99}}", "{predict: {count: 2}}")
    model = definition.parse(text, "model.yaml")
    resolve(model, run={"Instances": {"Endpoint": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2}}})
    for asked in ({"InstanceType": "ml.c5.large"}, {"InitialInstanceCount": 3}):
        with pytest.raises(ConfigurationError, match=r"allowed: (ml\.m5\.large|at most 2) "):
            resolve(model, run={"Instances": {"Endpoint": asked}})


# ---- What keeps a run's model out of service

GATED = ("gate.threshold", "gate.minimum_improvement", "gate.without_comparison")
FREE = overridable("algorithm", "hyperparameters", "instances", "data_prefix", *GATED)
WITHHOLDS = {
    "gate.threshold": {"GateThreshold": 3001},
    "gate.minimum_improvement": {"GateMinimumImprovement": 0.01},
    "gate.without_comparison": {"GateWithoutComparison": "threshold"},
    "instances.endpoint": {"Instances": {"Endpoint": {"InitialInstanceCount": 2}}},
    "data_prefix": {"DataPrefix": "raw/mine/"},
}


@pytest.mark.parametrize("path", WITHHOLDS)
def test_a_run_that_decides_what_serves_deploys_only_where_the_definition_lists_exactly_that(path):
    assert resolve(FREE, run=WITHHOLDS[path]).withheld == (path,)
    assert resolve(FREE, run=WITHHOLDS[path]).decisive() != resolve(FREE).decisive()
    others = tuple(known for known in definition.DEPLOYABLE if known != path)
    for listed, expected in (((path,), ()), (others, (path,))):
        model = FREE.model_copy(update={"deployable_overrides": listed})
        assert resolve(model, run=WITHHOLDS[path]).withheld == expected


@pytest.mark.parametrize(
    "run",
    [
        {},
        {"Algorithm": "linear-learner"},
        {"HyperParameters": {"eta": 0.9}},
        {"GateThreshold": 2999},
        {"GateThreshold": 3000, "GateMinimumImprovement": 0.02, "GateWithoutComparison": "reject"},
        {"GateMinimumImprovement": 0.1},
        {"Instances": {"Train": {"InstanceType": "ml.c5.large"}, "Endpoint": {"InitialInstanceCount": 1}}},
        {"DataPrefix": "raw/"},
    ],
)
def test_what_the_gate_judges_and_what_asks_for_more_keeps_no_model_out_of_service(run):
    resolved = resolve(FREE, run=run)
    assert (resolved.withheld, resolved.withheld_because) == ((), None)


@pytest.mark.parametrize(("threshold", "withheld"), [(0.79, ("gate.threshold",)), (0.81, ())])
def test_a_threshold_that_is_to_be_exceeded_is_weakened_by_a_lower_one(threshold, withheld):
    assert resolve(BINARY, run={"GateThreshold": threshold}).withheld == withheld


def test_a_run_is_held_against_the_gate_of_the_stack_and_the_stack_against_nothing():
    assert resolve(stack={"GateThreshold": "9000"}).withheld == ()
    assert resolve(stack={"GateThreshold": "2000"}, run={"GateThreshold": 2500}).withheld == ("gate.threshold",)
    assert resolve(stack={"GateThreshold": "9000"}, run={"GateThreshold": 8000}).withheld == ()


def test_what_keeps_a_model_out_of_service_is_said():
    said = resolve(FREE, run={**WITHHOLDS["data_prefix"], **WITHHOLDS["gate.threshold"]}).withheld_because
    assert said.startswith(
        "its input decides gate.threshold, data_prefix, which deployable_overrides in the model.yaml"
    )


def test_a_replay_deploys_only_where_the_definition_lists_it_and_where_the_run_could_whose_data_it_has():
    listed = FREE.model_copy(update={"deployable_overrides": ("replay",)})
    other = resolve(FREE, run=WITHHOLDS["data_prefix"]).sources
    assert resolve(FREE, replayed={}).withheld == ("replay",)
    assert resolve(listed, replayed={}).withheld == ()
    assert resolve(listed, replayed=other).withheld == ("data_prefix",)
    again = resolve(listed, replayed=other).sources
    assert resolve(listed, replayed=again).withheld == ("data_prefix",)


# ---- Overrides that are refused


@pytest.mark.parametrize(
    ("allowed", "run", "field"),
    [
        ((), {"GateThreshold": 1}, "GateThreshold"),
        (("algorithm",), {"DataPrefix": "x/"}, "DataPrefix"),
        (
            ("instances.train",),
            {"Instances": {"Predict": {"InstanceType": "ml.m5.large"}}},
            "Instances.Predict.InstanceType",
        ),
        (("hyperparameters.eta",), {"HyperParameters": {"max_depth": 2}}, "HyperParameters.max_depth"),
        (("hyperparameters",), {"GateMinimumImprovement": 0.1}, "GateMinimumImprovement"),
    ],
)
def test_what_is_not_overridable_is_refused_naming_field_and_list(allowed, run, field):
    with pytest.raises(ConfigurationError) as caught:
        resolve(overridable(*allowed), run=run)
    assert f"{field}: may not be overridden by a run; allowed: {', '.join(allowed) or 'nothing'}" in str(caught.value)


@pytest.mark.parametrize(
    ("allowed", "run", "line"),
    [
        ((), {"Algorithm": "linear-learner", "GateThreshold": 3000}, "algorithm, gate.threshold"),
        (("algorithm",), {"HyperParameters": {"eta": 0.2}}, "algorithm, hyperparameters.eta"),
        (
            ("instances.train",),
            {"Instances": {"Predict": {"InstanceType": "ml.c5.large"}}},
            "instances.train, instances.predict.type",
        ),
    ],
)
def test_the_line_that_a_refusal_shows_allows_it(allowed, run, line):
    with pytest.raises(ConfigurationError) as caught:
        resolve(overridable(*allowed), run=run)
    assert str(caught.value).endswith(
        f"\n  to allow it, write overridable: [{line}] in models/cars/model.yaml, and deploy"
    )
    written = MODEL.model_dump(mode="json", exclude_unset=True) | {"overridable": line.split(", ")}
    assert resolve(definition.validated(written, "model.yaml"), run=run).sources


@pytest.mark.parametrize(
    ("allowed", "run"),
    [
        (("instances.train",), {"Instances": {"Train": {"InstanceType": "ml.c5.large"}}}),
        (("hyperparameters.eta",), {"HyperParameters": {"eta": 0.5}}),
    ],
)
def test_a_part_may_be_overridable_alone(allowed, run):
    assert resolve(overridable(*allowed), run=run).sources


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (
            {"run": {"Algorithm": "xgbost"}},
            "the run's input, Overrides: not valid with models/cars/model.yaml (1 problem)",
        ),
        ({"run": {"Threshold": 1}}, "Threshold: unknown key; did you mean 'GateThreshold'?"),
        ({"run": {"GateThreshold": "many"}}, "GateThreshold: got 'many'; expected a number"),
        ({"run": {"GateThreshold": 0}}, "GateThreshold: got 0; expected for rmse a number above 0"),
        ({"run": {"HyperParameters": {"eta": 7}}}, "HyperParameters.eta: got 7; expected a number"),
        (
            {"run": {"Algorithm": "linear-learner", "HyperParameters": {"eta": 0.1}}},
            "HyperParameters.eta: is not a hyperparameter of linear-learner",
        ),
        ({"run": {"Instances": {"Train": {"Type": "x"}}}}, "Instances.Train.Type: unknown key"),
        ({"run": {"Instances": {"Serve": {}}}}, "Instances.Serve: unknown key; allowed: Preprocess, Train"),
        ({"run": {"Instances": {"Train": {"InstanceType": "large"}}}}, "Instances.Train.InstanceType: got 'large'"),
        (
            {"run": {"Instances": {"Endpoint": {"VolumeSizeInGB": 5}}}},
            "Endpoint.VolumeSizeInGB: unknown key; allowed: InstanceType, Init",
        ),
        (
            {"run": {"Instances": {"Predict": {"MaxRuntimeInSeconds": 600}}}},
            "Instances.Predict.MaxRuntimeInSeconds: unknown key; allowed: InstanceType, InstanceCount",
        ),
        (
            {"run": {"DataPrefix": "runs/1/"}},
            "runs/1/'; runs/, copies/, code/, capture/, batch/, monitoring/, ground-truth/, ingested/, deployments/",
        ),
        ({"run": {"DataPrefix": "raw"}}, "DataPrefix: got 'raw'; expected a folder of its own such as 'raw/'"),
        ({"stack": {"GateThreshold": "many"}}, "the stack's parameters, GateThreshold: got 'many'; expected a number"),
        (
            {"stack": {"HyperParameters": "{eta}"}},
            "the stack's parameters, HyperParameters: got '{eta}'; expected JSON",
        ),
        ({"stack": {"GateThreshold": "-1"}}, "the stack's parameters: not a valid model definition"),
        ({"data_prefix": "/raw/"}, "DataPrefix: got '/raw/'"),
    ],
)
def test_a_wrong_override_names_its_layer_and_what_is_allowed(layers, expected):
    with pytest.raises(ConfigurationError) as caught:
        resolve(**layers)
    assert expected in str(caught.value)


# ---- The input of an execution


def test_an_empty_input_is_a_person_who_starts_a_run():
    assert run_input.execution_input({}).Trigger.Type == "Manual"


def test_what_the_console_adds_is_ignored():
    given = {"Comment": "Insert your JSON here", "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "arn"}
    assert run_input.execution_input(given).Overrides == {}


def test_the_input_of_a_data_drop_is_kept_whole():
    dropped = {"key": "raw/a b.csv", "version-id": "v", "etag": "e", "size": 5, "sequencer": "0A"}
    trigger = {"Type": "DataDrop", "Id": "1", "Time": "2026-11-20T09:34:40Z", "Bucket": "b", "Object": dropped}
    assert run_input.execution_input({"Trigger": trigger}).Trigger.model_dump(exclude_none=True) == trigger


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"Trigger": {"Type": "Weather"}}, "Trigger.Type: got 'Weather'; allowed: 'DataDrop', 'Manual'"),
        ({"Override": {}}, "Override: unknown key; did you mean 'Overrides'?"),
        ([], "expected keys with values"),
        ({"Overrides": 5}, "Overrides: got 5; expected keys with values"),
    ],
)
def test_a_wrong_input_is_refused(given, expected):
    with pytest.raises(ConfigurationError) as caught:
        run_input.execution_input(given)
    assert expected in str(caught.value)


@pytest.mark.parametrize("levels", [20, 500, 10_000])
@pytest.mark.parametrize("around", ["Trigger", "Overrides", "Replay", "HyperParameters", "Object"])
def test_an_input_that_is_nested_without_end_is_refused(levels, around):
    for wrap in (lambda inner: [inner], lambda inner: {"a": inner}):
        given = 1
        for _ in range(levels):
            given = wrap(given)
        given = {"Overrides": {around: given}} if around == "HyperParameters" else {around: given}
        given = {"Trigger": {"Type": "DataDrop", **given}} if around == "Object" else given
        with pytest.raises(ConfigurationError, match="nested on more than 16 levels; expected an object with Trigger,"):
            run_input.execution_input(given)


@pytest.mark.parametrize(
    "given", [{"Trigger": {"By": "a" * 20_001}}, {"Overrides": {"HyperParameters": {"é" * 10_000: 1}}}]
)
def test_an_input_larger_than_a_record_can_hold_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"input has 20,0\d\d bytes; expected at most 20,000"):
        run_input.execution_input(given)


@pytest.mark.parametrize("dropped", [{}, {"key": None}, {"key": ["raw/a"]}, {"key": ""}, {"key": "a\0b"}])
def test_a_dropped_object_without_a_key_is_refused(dropped):
    with pytest.raises(ConfigurationError, match=r"Trigger\.Object\.key: got .*; expected the key of the object"):
        run_input.execution_input({"Trigger": {"Type": "DataDrop", "Object": dropped}})


@pytest.mark.parametrize("version", [7, 1.5, True, [], {}, "a\0b", "x" * 1025])
@pytest.mark.parametrize(
    ("read", "kind"), [(run_input.execution_input, "DataDrop"), (batch_input, "BatchDrop")], ids=["run", "batch"]
)
def test_a_dropped_object_with_a_version_that_is_none_is_refused(read, kind, version):
    dropped = {"key": "batch/incoming/a.csv", "version-id": version}
    with pytest.raises(ConfigurationError, match=r"Trigger\.Object\.version-id: got .*; expected its version"):
        read({"Trigger": {"Type": kind, "Object": dropped}})


@pytest.mark.parametrize("version", [None, "", "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo"])
def test_a_dropped_object_may_have_no_version(version):
    run_input.execution_input({"Trigger": {"Type": "DataDrop", "Object": {"key": "raw/a", "version-id": version}}})


@pytest.mark.parametrize("given", [
    {"Trigger": {"By": "\ud800"}}, {"Trigger": {"Type": "DataDrop", "Object": {"key": "raw/\ud800"}}},
    {"Overrides": {"\udcff": 1}}, {"Comment": ["\udfff"]},
])  # fmt: skip
def test_an_input_with_half_of_a_character_is_refused(given):
    with pytest.raises(ConfigurationError, match="half of a character, a surrogate alone; expected text"):
        run_input.execution_input(given)


@pytest.mark.parametrize("levels", [20, 500, 10_000])
def test_a_stack_parameter_that_is_nested_without_end_is_refused(levels):
    for text in ("[" * levels + "]" * levels, '{"eta": ' + "[" * levels + "]" * levels + "}"):
        with pytest.raises(ConfigurationError, match=r"HyperParameters|hyperparameters") as refused:
            resolve(stack={"HyperParameters": text})
        assert len(str(refused.value)) < 1200
        with pytest.raises(ConfigurationError):
            resolve(stack=configuration.stack_overrides(f'{{"HyperParameters": {text}}}'))


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_a_stack_without_overrides_has_none(text):
    assert configuration.stack_overrides(text) == {}


@pytest.mark.parametrize("text", ['{"Algorithm": "a"b"}', "[]", "5"])
def test_overrides_of_the_stack_that_are_no_json_object_are_refused(text):
    with pytest.raises(ConfigurationError, match="the stack's parameters"):
        configuration.stack_overrides(text)


# ---- What follows


def test_hyperparameters_are_strings():
    given = {"HyperParameters": {"eta": 0.00001, "max_depth": 3, "deterministic_histogram": True}}
    assert resolve(run=given).hyperparameters == {
        **ALGORITHMS["xgboost"].defaults,
        "num_round": "50",
        "objective": "reg:squarederror",
        "eval_metric": "rmse",
        "seed": "7",
        "eta": "1e-05",
        "max_depth": "3",
        "deterministic_histogram": "true",
    }


@pytest.mark.parametrize(
    ("model", "algorithm", "expected"),
    [
        (MODEL, "xgboost", {"objective": "reg:squarederror", "eval_metric": "rmse"}),
        (BINARY, "xgboost", {"objective": "binary:logistic", "eval_metric": "auc"}),
        (MODEL, "linear-learner", {"predictor_type": "regressor"}),
        (
            BINARY,
            "linear-learner",
            {
                "predictor_type": "binary_classifier",
                "binary_classifier_model_selection_criteria": "loss_function",
            },
        ),
    ],
)
def test_objective_and_predictor_follow_from_the_problem(model, algorithm, expected):
    given = resolve(model, run={"Algorithm": algorithm}).hyperparameters
    assert expected.items() <= given.items()


@pytest.mark.parametrize(
    ("metric", "watched"), [("rmse", "rmse"), ("mae", "mae"), ("r2", "rmse"), ("mse", "rmse"), ("mape", "mape")]
)
def test_xgboost_watches_what_is_nearest_to_the_gate(metric, watched):
    model = definition.parse(TEXT.replace("rmse", metric).replace("3000", "0.9"), "model.yaml")
    resolved = resolve(model)
    assert resolved.hyperparameters["eval_metric"] == watched
    assert resolved.training_metrics == (f"validation:{watched}",)


def test_linear_learner_learns_the_quantile_that_the_gate_asks_for():
    model = definition.parse(TEXT.replace("rmse", "wql_p90").replace("3000", "0.2"), "model.yaml")
    given = resolve(model, run={"Algorithm": "linear-learner"}).hyperparameters
    assert (given["loss"], given["quantile"]) == ("quantile_loss", "0.9")


def test_what_the_definition_says_wins_over_what_would_follow():
    model = definition.parse(TEXT.replace("num_round: 50", "num_round: 50, eval_metric: 'mae,rmse'"), "model.yaml")
    assert resolve(model).training_metrics == ("validation:mae", "validation:rmse")


def test_linear_learner_reports_its_objective():
    assert resolve(run={"Algorithm": "linear-learner"}).training_metrics == ("validation:objective_loss",)


@pytest.mark.parametrize(("model", "direction"), [(MODEL, "minimize"), (BINARY, "maximize")])
def test_the_direction_of_the_gate_follows_from_its_metric(model, direction):
    assert resolve(model).gate.direction == direction


def test_who_set_a_value_makes_no_other_work_but_the_value_does():
    same = resolve(stack={"GateThreshold": "3000"})
    assert same.decisive() == resolve().decisive()
    assert same.as_json() != resolve().as_json()
    assert resolve(stack={"GateThreshold": "2999"}).decisive() != resolve().decisive()


def test_how_a_model_is_watched_makes_no_other_model():
    watched = definition.parse(TEXT + "monitoring: {min_records: 500}\n", "model.yaml")
    assert resolve(watched).decisive() == resolve().decisive()
    assert resolve(watched).as_json()["definition"]["monitoring"]["min_records"] == 500


def test_what_limits_the_rows_that_train_makes_another_model():
    limited = definition.parse(TEXT + "training: {window: {newest_files: 12}}\n", "model.yaml")
    assert resolve(limited).decisive() != resolve().decisive()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"HyperParameters": ' + "9" * 5000 + "}"])
def test_hostile_stack_parameters_are_refused(text):
    with pytest.raises(ConfigurationError, match="not readable as JSON near") as refused:
        configuration.stack_overrides(text)
    assert len(str(refused.value)) < 500


def test_an_endless_prefix_takes_no_endless_line():
    with pytest.raises(ConfigurationError, match="DataPrefix") as refused:
        configuration.resolve("cars", MODEL, run={"DataPrefix": "x" * 100_000})
    assert len(str(refused.value)) < 500


SPECIES = definition.parse(
    TEXT.replace("regression", "multiclass_classification")
    .replace("rmse", "accuracy")
    .replace("3000", "0.8")
    .replace("price: {type: float}", "price: {type: string, categories: [low, middle, high, no price]}"),
    "model.yaml",
)


def test_what_an_algorithm_has_to_know_of_classes_follows_from_the_target():
    xgboost, linear = (resolve(model).hyperparameters for model in (SPECIES, of_algorithm(SPECIES, "linear-learner")))
    assert (xgboost["objective"], xgboost["num_class"]) == ("multi:softprob", "4")
    assert xgboost["eval_metric"] == "merror,mlogloss"  # the last one ends training
    assert resolve(SPECIES).training_metrics == ("validation:merror", "validation:mlogloss")
    assert (linear["predictor_type"], linear["num_classes"]) == ("multiclass_classifier", "4")


def of_algorithm(model, name):
    return model.model_copy(update={"algorithm": name})
