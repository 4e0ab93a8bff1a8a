"""model.yaml: what is accepted, and that every mistake is named with its field and what is allowed."""

import re
import sys
from pathlib import Path

import botocore.session
import pytest

from perennial.model import definition
from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.hyperparameter import MAX_TEXT
from perennial.model.definition import DefinitionError

MODELS = Path(__file__).parents[4] / "models"

GOOD = """
problem: regression
target: price
columns:
  price: {type: float, unit: USD, min: 0, max: 500000}
  mileage: {type: float}
  make: {type: string, categories: [Saab, Buick]}
  sold_on: {type: timestamp, feature: false}
  seller: {type: string, feature: false}
split: {method: random, seed: 7}
gate: {metric: rmse, threshold: 3000}
"""


def parse(text=GOOD, **replaced):
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return definition.parse(text, "model.yaml")


def refused(old, new, text=GOOD):
    """The message about the good definition with one part replaced."""
    assert old in text
    with pytest.raises(DefinitionError) as caught:
        definition.parse(text.replace(old, new), "models/x/model.yaml")
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/model.yaml")), ids=lambda path: path.parent.name)
def test_every_model_that_comes_with_the_project_is_valid(path):
    assert definition.load(path).features


def test_defaults_are_filled_in():
    model = parse()
    assert model.algorithm == "xgboost"
    assert (model.split.validation, model.split.test) == (0.15, 0.2)
    assert model.instances.train.type == "ml.m5.large"
    assert model.overridable == ()
    assert model.as_json()["serving"] == {"unknown_category": "answer", "out_of_range": "answer", "missing": "answer"}


SPLIT_LINE = "split: {method: random, seed: 7}"


@pytest.mark.parametrize("window", ["{column: sold_on, days: 365}", "{newest_files: 12}"])
def test_a_window_of_days_or_of_files_may_limit_what_trains(window):
    assert parse().training.window is None
    model = parse(**{SPLIT_LINE: f"{SPLIT_LINE}\ntraining: {{window: {window}}}"})
    assert model.training.window is not None


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{column: sold_on}", "training.window: days is missing; expected column and days, or newest_files alone"),
        ("{days: 3}", "training.window: column is missing; expected column and days, or newest_files alone"),
        ("{}", "training.window: column and days are missing; expected column and days, or newest_files alone"),
        ("{column: sold_on, days: 3, newest_files: 2}", "training.window: says both which files and which days train"),
        ("{days: 3, newest_files: 2}", "training.window: says both which files and which days train"),
        ("{column: sold_at, days: 3}", "training.window.column: 'sold_at' is not one of the columns; did you mean"),
        (
            "{column: seller, days: 3}",
            "training.window.column: 'seller' is string; expected a column of type timestamp",
        ),
        ("{column: sold_on, days: 0}", "training.window.days: got 0; expected"),
        ("{newest_files: 0}", "training.window.newest_files: got 0; expected"),
        ("{newest: 2}", "did you mean 'newest_files'"),
    ],
)
def test_a_window_that_says_nothing_sound_is_refused(window, message):
    text = refused(SPLIT_LINE, f"{SPLIT_LINE}\ntraining: {{window: {window}}}")
    assert text.startswith("models/x/model.yaml: not a valid model definition")
    assert message in text


def test_a_window_needs_a_date_in_every_row():
    text = GOOD.replace("feature: false}", "feature: false, nullable: true}", 1)
    assert "'sold_on' is nullable" in refused(
        SPLIT_LINE, f"{SPLIT_LINE}\ntraining: {{window: {{column: sold_on, days: 9}}}}", text
    )


def test_how_a_model_is_watched_has_defaults_and_bounds():
    watched = parse().as_json()["monitoring"]
    assert (watched["min_records"], watched["false_alarm_rate"]) == (100, 0.01)
    assert watched["data_quality"] == {
        "enabled": True,
        "distance": 0.1,
        "stability": 0.1,
        "missing": 0.1,
        "leave_out": [],
        "same_unit": [],
    }
    assert watched["model_quality"]["enabled"] is True
    with pytest.raises(DefinitionError, match=r"monitoring\.data_quality\.distance"):
        parse(GOOD + "monitoring: {data_quality: {distance: 0}}")
    with pytest.raises(DefinitionError, match=r"monitoring\.model_qualty"):
        parse(GOOD + "monitoring: {model_qualty: {enabled: false}}")
    with pytest.raises(DefinitionError, match=r"leave_out\[0\]: 'mak' is not one of the columns.*make"):
        parse(GOOD + "monitoring: {data_quality: {leave_out: [mak]}}")
    with pytest.raises(DefinitionError, match=r"same_unit\[0\]: 'mak' is not one of the columns.*make"):
        parse(GOOD + "monitoring: {data_quality: {same_unit: [mak]}}")


def test_an_endpoint_is_probed_where_model_yaml_says_so_with_rows_that_can_be_enough():
    assert parse().as_json()["monitoring"]["probing"] == {"enabled": False, "rows": 500}
    wanted = parse(GOOD + "monitoring: {probing: {enabled: true, rows: 100}}").as_json()
    assert wanted["monitoring"]["probing"] == {"enabled": True, "rows": 100}
    parse(GOOD + "monitoring: {probing: {rows: 99}, model_quality: {enabled: false}}")
    for rows, expected in ((9, "10"), (5001, "5000")):
        with pytest.raises(DefinitionError, match=rf"monitoring\.probing\.rows: .*{expected}"):
            parse(GOOD + f"monitoring: {{probing: {{rows: {rows}}}}}")
    few = r"monitoring\.probing\.rows: got 99; expected at least 100 \(monitoring\.model_quality\.min_labels\)"
    with pytest.raises(DefinitionError, match=few):
        parse(GOOD + "monitoring: {probing: {enabled: true, rows: 99}}")
    with pytest.raises(DefinitionError, match=r"monitoring\.probing\.enabled: got true where .* is false"):
        parse(GOOD + "monitoring: {probing: {enabled: true}, model_quality: {enabled: false}}")


def test_features_stand_in_the_order_of_the_columns_without_target_and_the_rest():
    assert parse().features == ("mileage", "make")


def test_the_json_for_jobs_has_every_default_and_no_target_among_the_features():
    document = parse().as_json()
    assert document["columns"]["price"]["feature"] is False
    assert document["columns"]["mileage"] == {
        "type": "float",
        "source": None,
        "parse": None,
        "unit": None,
        "min": None,
        "max": None,
        "categories": None,
        "nullable": False,
        "feature": True,
        "description": None,
    }
    assert document["columns"]["make"]["categories"] == ["Saab", "Buick"]
    assert list(document["columns"]) == ["price", "mileage", "make", "sold_on", "seller"]


def test_the_target_may_be_learned_as_its_logarithm():
    assert parse().target_transform == "none"
    assert parse(**{"target: price": "target: {column: price}"}) == parse()
    model = parse(**{"target: price": "target: {column: price, transform: log}"})
    assert (model.target, model.target_transform) == ("price", "log")
    assert model.features == parse().features
    assert definition.validated(model.as_json(), "json") == model


@pytest.mark.parametrize(
    ("long_form", "said"),
    [
        ("{column: price, transform: sqrt}", "target.transform: got 'sqrt'; allowed: 'none', 'log'"),
        ("{column: price, transfrom: log}", "target.transfrom: unknown key; did you mean 'transform'?"),
        ("{transform: log}", "target.column: is missing"),
        ("{column: prize, transform: log}", "target: 'prize' is not one of the columns; did you mean 'price'?"),
        ("[price]", "target: got ['price']; expected text"),
    ],
)
def test_a_wrong_long_form_of_the_target_is_named(long_form, said):
    assert said in refused("target: price", f"target: {long_form}")


def test_a_logarithm_of_what_cannot_have_one_is_refused():
    assert "target.transform: got 'log'; only the target of a regression is transformed" in refused(
        "problem: regression\ntarget: price", "problem: binary_classification\ntarget: {column: price, transform: log}"
    )
    below = GOOD.replace("target: price", "target: {column: price, transform: log}")
    assert "target.transform: a logarithm needs a target above 0, and columns.price.max is -1" in refused(
        "min: 0, max: 500000", "min: -9, max: -1", below
    )


def test_the_json_is_a_valid_definition_again():
    model = parse()
    assert definition.validated(model.as_json(), "json") == model


def test_a_definition_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse().gate.threshold = 1.0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # unknown keys, wrong types, missing
        ("unit: USD", "units: USD", "columns.price.units: unknown key; did you mean 'unit'?"),
        ("problem:", "problm: x\nproblem:", "problm: unknown key; did you mean 'problem'?"),
        ("target: price\n", "", "target: is missing"),
        ("min: 0", "min: low", "columns.price.min: got 'low'; expected a number"),
        ("min: 0", "min: .nan", "columns.price.min: got nan; expected a finite number"),
        ("seed: 7", "seed: 7.5", "split.seed: got 7.5; expected a whole number"),
        ("seed: 7", "seed: true", "split.seed: got True; expected a whole number"),
        ("type: timestamp", "type: date", "columns.sold_on.type: got 'date'; allowed: 'float', 'integer'"),
        (
            "problem: regression",
            "problem: ranking",
            "problem: got 'ranking'; allowed: 'regression', 'binary_classification'",
        ),
        ("[Saab, Buick]", "[Saab, No]", "columns.make.categories[1]: got False; expected text (YAML reads yes, no"),
        ("[Saab, Buick]", "[]", "columns.make.categories: got []; expected at least 1 of them"),
        ("split: {method: random, seed: 7}", "split: random", "split: got 'random'; expected keys with values"),
        # columns
        ("mileage:", "Mileage:", "columns.Mileage: expected a lower-case name"),
        ("max: 500000", "max: -1", "columns.price.min: got 0, which is more than max -1"),
        ("[Saab, Buick]", "[Saab, Saab]", "columns.make.categories: given more than once: Saab"),
        ("[Saab, Buick]", "[Saab, '']", "columns.make.categories: an empty text means a missing value"),
        (
            "[Saab, Buick]",
            "[Saab, ' Buick']",
            "columns.make.categories: ' Buick' has blanks around it, which are no part",
        ),
        (
            "[Saab, Buick]",
            "[Saab, Buick], parse: {missing: [saab]}",
            "columns.make.categories: 'Saab' means a missing value (parse.missing)",
        ),
        ("mileage: {type: float}", "mileage: {type: boolean, min: 0}", "columns.mileage.min: only float and integer"),
        (
            "mileage: {type: float}",
            "mileage: {type: integer, min: 0.5}",
            "columns.mileage.min: got 0.5; expected a whole",
        ),
        (
            "mileage: {type: float}",
            "mileage: {type: float, categories: [a]}",
            "columns.mileage.categories: only string",
        ),
        ("timestamp, feature: false", "timestamp", "columns.sold_on.feature: a timestamp cannot be a feature"),
        # target
        ("target: price", "target: prize", "target: 'prize' is not one of the columns; did you mean 'price'?"),
        ("unit: USD", "nullable: true", "columns.price.nullable: this is the target"),
        ("unit: USD", "feature: true", "columns.price.feature: this is the target"),
        (
            "target: price",
            "target: make",
            "columns.make.type: got 'string'; the target of a regression is float or integer",
        ),
        # split
        ("seed: 7", "validation: 0.5, test: 0.5", "split: validation and test add up to 1; expected less than 1"),
        ("seed: 7", "test: 0", "split.test: got 0; expected more than 0"),
        ("method: random, seed: 7", "method: time", "split.column: is missing; the method time needs one"),
        ("method: random, seed: 7", "method: random, column: seller", "split.column: only the methods time and group"),
        (
            "method: random, seed: 7",
            "method: time, column: sold",
            "split.column: 'sold' is not one of the columns; did you",
        ),
        (
            "method: random, seed: 7",
            "method: time, column: make",
            "split.column: 'make' is string; the method time needs",
        ),
        ("method: random, seed: 7", "method: group, column: price", "split.column: this is the target"),
        ("random, seed: 7", "time, column: sold_on, seed: 1", "split.seed: a split by time has no chance in it"),
        # gate
        (
            "metric: rmse",
            "metric: rmsee",
            "gate.metric: 'rmsee' is not a metric of regression; allowed: rmse, mae, mse, r2",
        ),
        ("metric: rmse", "metric: auc", "gate.metric: 'auc' is not a metric of regression"),
        # metrics of the model itself
        ("gate:", "metrics: {gain: up}\ngate:", "metrics.gain: got 'up'"),
        ("gate:", "metrics: {auc: maximize}\ngate:", "metrics.auc: is the name of a metric that there is already"),
        ("gate:", "metrics: {Gain: maximize}\ngate:", "metrics.Gain: expected the name of a function"),
        pytest.param(
            "gate: {metric: rmse",
            "metrics: {gain: maximize}\ngate: {metric: gian",
            "gate.metric: 'gian' is not a metric of regression; allowed: rmse, mae, mse, r2, mape, wql_p10, "
            "wql_p50, wql_p90, gain; did you mean",
            id="a metric of its own",
        ),
        (
            "threshold: 3000",
            "threshold: 0",
            "gate.threshold: got 0; expected for rmse a number above 0: lower is better",
        ),
        (
            "threshold: 3000",
            "threshold: 3000, minimum_improvement: 1",
            "gate.minimum_improvement: got 1; expected less than 1",
        ),
        (
            "metric: rmse, threshold: 3000",
            "metric: r2, threshold: 80",
            "gate.threshold: got 80; expected for r2 a number from 0",
        ),
        # the rest
        (
            "gate:",
            "algorithm: linear-learner\ninstances: {train: {input_mode: FastFile}}\ngate:",
            "instances.train.input_mode: got FastFile; allowed: File, as linear-learner reads its data",
        ),
        (
            "gate:",
            "algorithm: xgboost\ninstances: {train: {input_mode: FastFile}}\ngate:",
            "instances.train.input_mode: got FastFile; allowed: File, as xgboost reads its data",
        ),
        (
            "gate:",
            "instances: {train: {max_wait_seconds: 3600}}\ngate:",
            "instances.train.max_wait_seconds: got a number where spot is not true",
        ),
        (
            "gate:",
            "instances: {train: {spot: true, max_wait_seconds: 1800}}\ngate:",
            "instances.train.max_runtime_seconds: got 3,600; expected at most 1,800, the time that waiting",
        ),
        (
            "gate:",
            "instances: {train: {spot: true, max_runtime_seconds: 7200}}\ngate:",
            "instances.train.max_runtime_seconds: got 7,200; expected at most 3,600, the time that waiting",
        ),
        (
            "gate:",
            "instances: {train: {spot: true, max_wait_seconds: 7200}}\ngate:",
            "instances.train.max_wait_seconds: got 7,200; expected at most 3,600: xgboost has no checkpoints",
        ),
        (
            "gate:",
            "instances: {train: {type: m5.large}}\ngate:",
            "instances.train.type: got 'm5.large'; expected a SageMaker",
        ),
        (
            "gate:",
            "algorithm: scikit-learn-script\ninstances: {train: {count: 2}}\ngate:",
            "instances.train.count: got 2; allowed: 1, scikit-learn-script trains on one machine (take a larger type)",
        ),
        (
            "gate:",
            "hyperparameters: {xgboost: {tree_method: exact}}\ninstances: {train: {count: 2}}\ngate:",
            "hyperparameters.xgboost.tree_method: got 'exact', which trains on one machine; expected 'hist'",
        ),
        (
            "gate:",
            "instances: {predict: {max_runtime_seconds: 600}}\ngate:",
            "instances.predict.max_runtime_seconds: unknown key; allowed: type, count",
        ),
        (
            "gate:",
            "instances: {predict: {volume_gb: 50}}\ngate:",
            "instances.predict.volume_gb: unknown key; allowed: type, count",
        ),
        ("gate:", "instances: {serve: {}}\ngate:", "instances.serve: unknown key; allowed: preprocess, train, predict"),
        (
            "gate:",
            "overridable: [instance]\ngate:",
            "overridable[0]: 'instance' cannot be overridden; did you mean 'instances'?",
        ),
        ("gate:", "overridable: [instances, instances]\ngate:", "overridable: 'instances' stands more than once"),
        (
            "gate:",
            "overridable: [data_prefix]\ndeployable_overrides: [data_prefx]\ngate:",
            "deployable_overrides[0]: 'data_prefx' is unknown; did you mean 'data_prefix'?",
        ),
        (
            "gate:",
            "overridable: [gate.threshold]\ndeployable_overrides: [replay, data_prefix]\ngate:",
            "deployable_overrides[1]: 'data_prefix' is not overridable; list it under overridable as well",
        ),
        (
            "gate:",
            "overridable: [algorithm]\ndeployable_overrides: [algorithm]\ngate:",
            "deployable_overrides[0]: 'algorithm' keeps no model out of service; leave it out",
        ),
        (
            "gate:",
            "instances: {allowed: {types: ['*']}}\ngate:",
            "instances.allowed.types[0]: got '*'; expected a SageMaker instance type or a family, such as",
        ),
        ("gate:", "instances: {allowed: {max_count: 0}}\ngate:", "instances.allowed.max_count: got 0; expected at"),
        ("gate:", "algorithm: xgbost\ngate:", "algorithm: got 'xgbost'; allowed: 'xgboost', 'linear-learner'"),
        ("gate:", "quality: {min_rows: 1}\ngate:", "quality.min_rows: got 1; expected at least 10"),
        ("gate:", "quality: {max_categories: 1001}\ngate:", "quality.max_categories: got 1001; expected at most 1000"),
        (
            "gate:",
            "hyperparameters: {xgboost: {etaa: 1}}\ngate:",
            "hyperparameters.xgboost.etaa: is not a hyperparameter",
        ),
        (
            "gate:",
            "hyperparameters: {xgboost: {eta: 2}}\ngate:",
            "hyperparameters.xgboost.eta: got 2; expected a number",
        ),
        (
            "gate:",
            "hyperparameters: {xgboost: {eta: [1]}}\ngate:",
            "hyperparameters.xgboost.eta: got a list; a number is tuned between two ends",
        ),
        ("gate:", "hyperparameters: {xgboost: {num_round: 1.5}}\ngate:", "num_round: got 1.5; expected a whole number"),
        (
            "gate:",
            "hyperparameters: {xgboost: {csv_weights: 1}}\ngate:",
            "csv_weights: the training files carry no weights",
        ),
        (
            "gate:",
            "hyperparameters: {catboost: {}}\ngate:",
            "hyperparameters.catboost: got 'catboost'; allowed: 'xgboost'",
        ),
        (
            "gate:",
            "hyperparameters: {xgboost: {objective: 'binary:logistic'}}\ngate:",
            "objective: got 'binary:logistic'; allowed for regression: reg:squarederror",
        ),
        (
            "gate:",
            "hyperparameters: {xgboost: {eval_metric: 'rmse,auc'}}\ngate:",
            "eval_metric: got 'auc'; allowed for regression",
        ),
        (
            "gate:",
            "hyperparameters: {linear-learner: {loss: huge_loss}}\ngate:",
            "hyperparameters.linear-learner.loss: got 'huge_loss'; expected one of auto, squared_loss",
        ),
    ],
)
def test_a_mistake_names_field_and_what_is_allowed(old, new, expected):
    message = refused(old, new)
    assert message.startswith("models/x/model.yaml: not a valid model definition (")
    assert expected in message


def test_every_problem_is_in_one_message_also_of_form_and_of_meaning():
    broken = (
        GOOD.replace("unit: USD", "units: USD").replace("metric: rmse", "metric: rmsee").replace("seed: 7", "test: 0.9")
    )
    with pytest.raises(DefinitionError) as caught:
        definition.parse(broken, "model.yaml")
    message = str(caught.value)
    assert "(3 problems)" in message
    assert all(path in message for path in ("columns.price.units", "gate.metric", "split:"))


@pytest.mark.parametrize("threshold", [0.49, 1.01, 75, -0.8])
def test_an_auc_that_no_model_or_every_model_reaches_is_no_threshold(threshold):
    text = GOOD.replace("problem: regression", "problem: binary_classification").replace(
        "price: {type: float, unit: USD, min: 0, max: 500000}", "price: {type: boolean}"
    )
    message = refused("metric: rmse, threshold: 3000", f"metric: auc, threshold: {threshold}", text)
    assert f"gate.threshold: got {threshold:g}; expected for auc a number from 0.5 up to 1" in message


@pytest.mark.parametrize("target", ["{type: boolean}", "{type: integer, min: 0, max: 1}"])
def test_a_binary_target_is_boolean_or_zero_and_one(target):
    text = GOOD.replace("{type: float, unit: USD, min: 0, max: 500000}", target).replace("3000", "0.8")
    model = parse(text, regression="binary_classification", rmse="auc")
    assert model.target == "price"


@pytest.mark.parametrize("target", ["{type: integer}", "{type: integer, min: 0, max: 2}", "{type: string}"])
def test_another_binary_target_is_refused(target):
    text = GOOD.replace("{type: float, unit: USD, min: 0, max: 500000}", target).replace("3000", "0.8")
    message = refused("regression", "binary_classification", text.replace("rmse", "auc"))
    assert "the target of a binary classification is boolean, or integer with min: 0 and max: 1" in message


def test_no_feature_is_refused():
    text = "problem: regression\ntarget: a\ncolumns: {a: {type: float}, b: {type: float, feature: false}}\n"
    text += "split: {method: random}\ngate: {metric: mae, threshold: 1}\n"
    with pytest.raises(DefinitionError, match="no column is a feature"):
        definition.parse(text, "model.yaml")


@pytest.mark.parametrize("split", ["{method: time, column: sold_on}", "{method: group, column: seller, seed: 3}"])
def test_rows_may_be_split_by_time_and_by_group(split):
    assert parse(**{"{method: random, seed: 7}": split}).split.column in ("sold_on", "seller")


# ---- YAML


def test_a_key_that_stands_twice_is_refused_with_its_line():
    with pytest.raises(DefinitionError, match=r"line 4: the key 'target' stands more than once"):
        definition.parse("problem: regression\ntarget: a\n# why\ntarget: b\n", "model.yaml")


def test_a_nested_key_that_stands_twice_is_refused():
    assert "the key 'min' stands more than once" in refused("min: 0, max: 500000", "min: 0, min: 1")


def test_scientific_notation_is_a_number():
    assert parse(**{"max: 500000": "max: 5e5"}).columns["price"].max == 500000


def test_anchors_and_merges_are_yaml_too():
    text = GOOD.replace(
        "mileage: {type: float}", "mileage: &number {type: float, min: 0}\n  age: {<<: *number, max: 90}"
    )
    assert parse(text).columns["age"].min == 0


@pytest.mark.parametrize("text", ["", "- a", "just text", "a: [", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(DefinitionError, match=r"model\.yaml: (expected keys|not readable as YAML)"):
        definition.parse(text, "model.yaml")


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(DefinitionError, match="1"):
        definition.parse(GOOD + "1: x\n", "model.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DefinitionError, match="there is no such file"):
        definition.load(tmp_path / "model.yaml")


def test_a_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "model.yaml").write_bytes("target: größe".encode("latin-1"))
    with pytest.raises(DefinitionError, match="not UTF-8"):
        definition.load(tmp_path / "model.yaml")


def test_every_problem_is_told_on_a_line_of_its_own():
    columns = "\n".join(f"  c{number}: {{typ: float}}" for number in range(30))
    message = refused("columns:\n", f"columns:\n{columns}\n")
    assert "(60 problems)" in message
    assert len(message.split("\n")) == 61


def test_a_list_of_problems_that_no_cause_could_hold_is_shortened_and_says_so():
    columns = "\n".join(f"  c{number}: {{typ: float}}" for number in range(400))
    message = refused("columns:\n", f"columns:\n{columns}\n")
    assert "(800 problems)" in message
    assert len(message) < 20_200
    told = message.count("\n") - 1
    assert message.endswith(f"  ... and {800 - told} more")


@pytest.fixture
def usual_recursion():
    """The limit of a new process: jsonata, which other tests use, raises it for good."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "more than 100,000 values, aliases expanded"),
        ("a: &a [*a]", "more than 100,000 values, aliases expanded"),
        ("[" * 2_000, "recursion"),
        ("{a: " * 2_000, "recursion"),
        ("seed: 0x" + "f" * 6000, "line 1: a whole number of more than 64 bits"),
        ("a: !!int x", "invalid literal"),
        ("a: !!bool x", "a value is not of its type"),
        ("a: !!timestamp x", "a value is not of its type"),
        ("a: 2024-13-45", "month must be in 1..12"),
        ("a: !!python/object/apply:os.system [touch /tmp/x]", "could not determine a constructor"),
    ],
)
def test_hostile_yaml_is_refused_with_its_reason(usual_recursion, text, reason):
    with pytest.raises(DefinitionError, match=f"(?s)^m: not readable as YAML: .*{re.escape(reason)}") as refused:
        definition.parse(text, "m")
    assert len(str(refused.value)) < 1100


@pytest.mark.parametrize("text", ["a: [\u202e\u2066b", "\u202ea: &\u202e", '? "\\e[31m": 1\n? "\\e[31m": 2'])
def test_what_yaml_quotes_is_printable(text):
    with pytest.raises(DefinitionError, match="not readable as YAML") as refused:
        definition.parse(text, "m")
    assert all(line.isprintable() for line in str(refused.value).split("\n"))


def test_a_problem_is_one_short_line_whatever_stands_in_the_file():
    with pytest.raises(DefinitionError) as refused:
        definition.parse(f'problem: regression\n"a\\n\\e[31m\\u202e{"x" * 5000}": 1\n', "m")
    lines = str(refused.value).split("\n")
    assert all(line.isprintable() and len(line) <= 1002 for line in lines)


# ---- Limits: a definition stands whole in the record of each run


def test_a_marker_that_is_a_number_is_written_with_the_marks_of_its_column():
    wanted = "mileage: {type: float, parse: {missing: [%s], decimal: ','%s}}"
    for marker, thousands in (("-1.5", ""), ("'-9.99'", ", thousands: '.'")):
        message = refused("mileage: {type: float}", wanted % (marker, thousands))
        assert "columns.mileage.parse.missing: '-" in message
        assert "is no number of this column; expected its decimal mark: '-" in message
    for marker, thousands in (("'-1,5', -1, n.a.", ""), ("'9.999'", ", thousands: '.'")):
        assert parse(GOOD.replace("mileage: {type: float}", wanted % (marker, thousands)))


def test_categories_with_blanks_are_sound_where_blanks_are_kept():
    column = parse(GOOD.replace("[Saab, Buick]", "[Saab, ' Saab'], parse: {strip: false}")).columns["make"]
    assert column.categories == ("Saab", " Saab")


def of_categories(*categories):
    return GOOD.replace("[Saab, Buick]", f"[{', '.join(categories)}]")


def test_the_most_categories_of_the_greatest_length_that_are_allowed():
    assert len(parse(of_categories(*(f"c{n}" for n in range(5000)))).columns["make"].categories) == 5000
    assert parse(of_categories("a" * 256)).columns["make"].categories == ("a" * 256,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (of_categories(*(f"c{n}" for n in range(5001))), "columns.make.categories: .*; expected at most 5000 of them"),
        (of_categories("ok", "a" * 257), r"columns.make.categories\[1\]: .*; expected text of at most 256 characters"),
        (of_categories(*(f"c{n:0200}" for n in range(1500))), "got 30[0-9],[0-9]{3} bytes as JSON .* at most 150,000"),
        (
            GOOD.replace("  seller:", "".join(f"  c{n}: {{type: float}}\n" for n in range(496)) + "  seller:"),
            "columns: got .*; expected at most 500 of them",
        ),
        (f"{GOOD}overridable: [{', '.join(f'instances.x{n}' for n in range(101))}]", "overridable: .* at most 100 of"),
        (f"{GOOD}description: {'d' * 150_000}", "as JSON with all defaults; expected at most 150,000"),
        (
            GOOD + 'hyperparameters: {xgboost: {eval_metric: "' + "rmse," * 500 + 'rmse"}}',
            "hyperparameters.xgboost.eval_metric: got 2,504 characters; expected at most 2,500",
        ),
        (
            GOOD + 'hyperparameters: {xgboost: {eta: "0.' + "1" * 99 + '"}}',
            "hyperparameters.xgboost.eta: got 101 characters; expected at most 100",
        ),
    ],
    ids=["categories", "a category", "all categories", "columns", "overridable", "a text", "a long value", "digits"],
)  # fmt: skip
def test_what_is_more_than_a_run_can_carry_is_refused_with_its_limit(text, expected):
    with pytest.raises(DefinitionError, match=expected):
        definition.parse(text, "m")


def test_limits_of_hyperparameters_are_those_of_sagemaker():
    model = botocore.session.get_session().get_service_model("sagemaker")
    most, longest = (model.shape_for(name).metadata["max"] for name in ("HyperParameters", "HyperParameterValue"))
    assert all(len(one.hyperparameters) <= most for one in ALGORITHMS.values())
    assert longest == MAX_TEXT


# ---- The key of a row, and what the gate compares


KEYED = ("split: {method: random, seed: 7}", "split: {method: random, seed: 7, key: [seller]}")


def test_a_key_of_rows_is_one_or_more_columns():
    assert parse(**{KEYED[0]: KEYED[1]}).split.key == ("seller",)
    assert parse().split.key is None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("[price]", "split.key[0]: this is the target"),
        ("[sellr]", "split.key[0]: 'sellr' is not one of the columns; did you mean 'seller'?"),
        ("[seller, seller]", "split.key[1]: 'seller' stands more than once"),
        ("[mileage]", "split.key[0]: 'mileage' is float; rows are told by numbers in single precision"),
        ("[]", "split.key: got []; expected at least 1 of them"),
    ],
)
def test_a_key_that_tells_no_row_is_refused(key, expected):
    assert expected in refused(KEYED[0], f"split: {{method: random, seed: 7, key: {key}}}")


def test_a_key_that_may_be_missing_is_refused():
    text = GOOD.replace(*KEYED).replace("seller: {type: string", "seller: {type: string, nullable: true")
    with pytest.raises(DefinitionError, match="'seller' is nullable; a row without its key cannot be told from others"):
        definition.parse(text, "model.yaml")


def test_what_the_gate_compares_has_defaults():
    gate = parse().gate
    assert (gate.maximum_regression, gate.minimum_unseen_rows, gate.without_comparison) == (0.25, 30, "reject")
    assert parse().quality.max_drift is None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("maximum_regression: -0.1", "gate.maximum_regression: got -0.1; expected at least 0"),
        ("minimum_unseen_rows: 1", "gate.minimum_unseen_rows: got 1; expected at least 2"),
        ("without_comparison: maybe", "gate.without_comparison: got 'maybe'; allowed: 'reject', 'threshold'"),
    ],
)
def test_a_gate_that_compares_nothing_sound_is_refused(key, expected):
    assert expected in refused("threshold: 3000", f"threshold: 3000, {key}")


def test_a_bound_may_be_switched_off():
    assert parse(**{"threshold: 3000": "threshold: 3000, maximum_regression: null"}).gate.maximum_regression is None


def test_an_improvement_that_would_lead_beyond_a_perfect_metric_is_noted():
    model = parse(**{"metric: rmse, threshold: 3000": "metric: r2, threshold: 0.5, minimum_improvement: 0.05"})
    ((path, text),) = definition.notes(model)
    assert path == "gate.minimum_improvement"
    assert "above 0.909, 0.05 more would come near 1 or go beyond it; half of what is left to 1 is asked there" in text
    assert definition.notes(parse()) == []
    assert definition.notes(parse(**{"threshold: 3000": "threshold: 3000, minimum_improvement: 0.05"})) == []


@pytest.mark.parametrize(
    ("bounds", "noted"),
    [("min: 0", True), ("unit: USD", True), ("min: -5, max: 5", True), ("min: 0.01", False), ("max: -1", False)],
)
def test_a_relative_error_of_a_target_that_may_be_zero_is_noted(bounds, noted):
    asked = {"price: {type: float, unit: USD, min: 0, max: 500000}": f"price: {{type: float, {bounds}}}"}
    found = definition.notes(parse(**asked, **{"metric: rmse, threshold: 3000": "metric: mape, threshold: 0.2"}))
    assert [path for path, _ in found] == ["gate.metric"] * noted
    assert all("as soon as price is 0 in one test row" in text for _, text in found)


@pytest.mark.parametrize(("metric", "noted"), [("wql_p90", True), ("wql_p50", False), ("rmse", False)])
def test_a_quantile_that_the_algorithm_does_not_learn_is_noted(metric, noted):
    found = definition.notes(parse(**{"metric: rmse, threshold: 3000": f"metric: {metric}, threshold: 0.2"}))
    assert [path for path, _ in found] == ["algorithm"] * noted
    assert all("take linear-learner, which learns the one that the gate asks for" in text for _, text in found)


KEYED_CARS = GOOD.replace("split: {method: random, seed: 7}", "split: {method: random, seed: 7, key: [sale]}").replace(
    "  mileage:", "  sale: {type: string, feature: false}\n  mileage:"
)


def test_a_column_that_callers_do_not_send_and_that_labelled_rows_need_is_noted():
    ((path, text),) = definition.notes(parse(KEYED_CARS))  # seller; of sold_on the time of the request is known
    assert path == "columns.seller"
    assert "labelled records without it cannot train after drift" in text
    assert "set nullable: true, or have callers send it" in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seller: {type: string", "seller: {type: string, nullable: true"),
        ("key: [sale]", "key: [seller, sale]"),
        ("gate:", "monitoring: {retraining: {action: notify}}\ngate:"),
    ],
    ids=["may be absent", "no key of one column", "drift retrains nothing"],
)
def test_what_keeps_no_labelled_row_from_training_is_not_noted(old, new):
    assert definition.notes(parse(KEYED_CARS, **{old: new})) == []


def test_a_column_that_the_split_needs_may_not_be_absent_and_has_to_be_sent():
    split = "split: {method: time, column: sold_on, key: [sale]}"
    told = KEYED_CARS.replace("split: {method: random, seed: 7, key: [sale]}", split)
    told = told.replace("timestamp, feature: false", "timestamp, feature: false, parse: {formats: ['%d.%m.%Y']}")
    texts = dict(definition.notes(parse(told)))
    assert texts["columns.sold_on"].endswith(
        "(monitoring.retraining): have callers send it, as a field of JSON or under a CSV header"
    )


# ---- How files and values are read


def test_what_stands_around_values_is_given_short_or_in_full():
    model = parse(
        **{
            "mileage: {type: float}": "mileage: {type: float, source: km, parse: {units: km, missing: [-1, '-']}}",
            "make: {type: string,": "make: {type: string, source: [Make, Brand/Marke], parse: {strip: false},",
            "seller: {type: string,": "seller: {type: boolean, parse: {true: M, false: [B, 2]},",
        }
    )
    assert model.columns["mileage"].source == ("km",)
    assert model.columns["make"].source == ("Make", "Brand/Marke")
    columns = model.as_json()["columns"]
    assert columns["mileage"]["parse"]["units"] == {"km": 1}
    assert columns["mileage"]["parse"]["missing"] == ["-1", "-"]
    assert (columns["seller"]["parse"]["true"], columns["seller"]["parse"]["false"]) == (["M"], ["B", "2"])


def test_decimal_mark_of_files_is_that_of_every_number_that_names_none():
    text = GOOD + "files: {decimal: ',', encoding: cp1252, delimiter: ';'}\nother_columns: ignore\n"
    model = parse(text, **{"mileage: {type: float}": "mileage: {type: float, parse: {decimal: .}}"})
    assert [column["parse"] and column["parse"]["decimal"] for column in model.as_json()["columns"].values()] == [
        ",", ".", None, None, None,
    ]  # fmt: skip
    assert (model.other_columns, model.files.encoding, model.files.delimiter) == ("ignore", "cp1252", ";")


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("mileage: {type: float, parse: {unit: km}}", "columns.mileage.parse.unit: unknown key; did you mean 'units'?"),
        ("mileage: {type: float, parse: {units: {km: -1}}}", "parse.units.km: got -1; expected more than 0"),
        ("mileage: {type: float, parse: {units: {'5 km': 1}}}", "parse.units: '5 km' begins like a number"),
        ("mileage: {type: float, parse: {units: ['+']}}", "the + of 10,000+, number: first passes over)"),
        ("mileage: {type: float, parse: {thousands: .}}", "parse.thousands: '.' is also the decimal mark"),
        ("mileage: {type: float, parse: {thousands: x}}", "parse.thousands: got 'x'; allowed: ',', '.'"),
        ("mileage: {type: float, parse: {strip: false}}", "parse.strip: only for columns of type string; this one is"),
        ("mileage: {type: string, parse: {units: km}}", "parse.units: only for columns of type float and integer"),
        ("mileage: {type: float, parse: {true: a, false: b}}", "parse.true: only for columns of type boolean"),
        ("mileage: {type: boolean, parse: {true: [M]}}", "parse: true and false go together"),
        ("mileage: {type: boolean, parse: {true: [M], false: [m]}}", "parse.false: 'm' stands in true as well"),
        ("mileage: {type: boolean, parse: {true: [Yes], false: [No]}}", "YAML reads yes, no, on and off as true"),
        ("mileage: {type: float, parse: {missing: [no]}}", "parse.missing[0]: got False; expected text (YAML"),
        ("mileage: {type: float, source: []}", "columns.mileage.source: got []; expected at least 1"),
        ("mileage: {type: float, strip: false}", "columns.mileage.strip: unknown key; write parse: {strip: false}"),
        ("mileage: {type: float, thousands: ','}", 'mileage.thousands: unknown key; write parse: {thousands: ","}'),
        ("mileage: {type: float, units: km}", "unknown key; did you mean 'unit'? Or write parse: {units: \"km\"}"),
        ("mileage: {type: boolean, true: [M], false: F}", "mileage.true: unknown key; write parse: {true: ...}"),
        ("mileage: {type: float, parse: {nullable: true}}", "it belongs one level higher, beside parse"),
        ("mileage: {type: float, parse: {source: km}}", "parse.source: unknown key; it belongs one level higher"),
        ("mileage: {type: float, source: make}", "'make' is also a name of column 'mileage'; rename the column"),
        ("mileage: {type: float, source: MAKE}", "columns.make: the field 'MAKE' of files, which is column 'mileage'"),
        ("mileage: {type: timestamp, feature: false, parse: {formats: ['%d.%m.']}}", "'%d.%m.' tells no date"),
        ("mileage: {type: timestamp, feature: false, parse: {formats: '%Q'}}", "parse.formats[0]: '%Q' tells no date"),
    ],
)  # fmt: skip
def test_mistakes_in_how_values_are_read_are_named(column, problem):
    assert problem in refused("mileage: {type: float}", column)


def test_columns_whose_fields_differ_in_spelling_alone_name_both():
    both = {"mileage: {type: float}": "mileage: {type: float, source: MAKE}", "make: {": "make: {source: make, "}
    assert parse(**both).columns["make"].source == ("make",)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [("windows-1252", "cp1252"), ("ISO-8859-1", "latin-1"), ("latin1", "latin-1"), ("utf8", "utf-8"),
     ("UTF_8", "utf-8"), ("utf-8-sig", "utf-8"), ("sjis", "shift_jis"),
     ("utf-16le", "utf-16-le"), ("ISO8859-15", "iso-8859-15")],
)  # fmt: skip
def test_encodings_have_all_names_that_python_knows(spelled, name):
    assert definition.parse(f"{GOOD}files: {{encoding: {spelled}}}\n", "m").files.encoding == name


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("files: {encoding: utf7}", "files.encoding: got 'utf7'; allowed: 'utf-8', 'cp1252'"),
        ('files: {encoding: "a\\0b"}', "files.encoding: got"),
        ("files: {encoding: 1252}", "files.encoding: got 1252; allowed: 'utf-8', 'cp1252'"),
        ("encoding: cp1252", 'encoding: unknown key; write files: {encoding: "cp1252"}'),
        (
            "files: {other_columns: ignore}",
            "files.other_columns: unknown key; it belongs one level higher, beside files",
        ),
        ("files: {delimiter: ';;'}", "files.delimiter: got ';;'; allowed: ',', ';'"),
        ("files: {decimals: ','}", "files.decimals: unknown key; did you mean 'decimal'?"),
        ("other_columns: drop", "other_columns: got 'drop'; allowed: 'refuse', 'ignore'"),
    ],
)
def test_mistakes_in_the_form_of_files_are_named(section, problem):
    assert problem in refused("split:", f"{section}\nsplit:")


@pytest.mark.parametrize(
    ("files", "thousands", "sound"), [(",", ".", True), (",", ",", False), (".", ",", True), (".", ".", False)]
)
def test_the_mark_of_thousands_is_another_than_that_of_the_files(files, thousands, sound):
    text = f"{GOOD}files: {{decimal: '{files}'}}\n".replace(
        "mileage: {type: float}", f"mileage: {{type: float, parse: {{thousands: '{thousands}'}}}}"
    )
    if sound:
        assert definition.parse(text, "m").columns["mileage"].parse.thousands == thousands
    else:
        with pytest.raises(DefinitionError, match=r"columns.mileage.parse.thousands: '.' is also the decimal mark"):
            definition.parse(text, "m")


# ---- Classes

SPECIES = """
problem: multiclass_classification
target: species
columns:
  species: {type: string, categories: [Adelie, Chinstrap, Gentoo]}
  mass: {type: float}
split: {method: random}
gate: {metric: accuracy, threshold: 0.9}
"""
NAMES = "{type: string, categories: [Adelie, Chinstrap, Gentoo]}"


def test_classes_are_the_categories_of_the_target_or_its_whole_numbers_in_their_order():
    assert definition.parse(SPECIES, "model.yaml").classes == ("Adelie", "Chinstrap", "Gentoo")
    numbers = SPECIES.replace(NAMES, "{type: integer, min: -1, max: 2}")
    assert definition.parse(numbers, "model.yaml").classes == ("-1", "0", "1", "2")
    assert parse().classes == ()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("{type: string}", "columns.species.categories: is missing; expected the classes of the target"),
        (
            "{type: string, categories: [on_time, late]}",
            "species.categories: 2 classes; expected at least 3 (of two",
        ),
        (
            f"{{type: string, categories: {[f'c{n}' for n in range(101)]}}}",
            "categories: 101 classes; expected at most 100",
        ),
        ('{type: string, categories: [a, b, "c\\td"]}', "is not of one printable line, as a class has to be"),
        (
            "{type: integer, min: 1}",
            "columns.species.type: got 'integer'; the target of a multiclass classification is",
        ),
        ("{type: integer, min: 1, max: 2}", "columns.species.max: 2 classes; expected at least 3"),
        (
            "{type: integer, min: 0, max: 1000000000000000}",
            "columns.species.max: 1,000,000,000,000,001 classes; expected",
        ),
        (
            "{type: float, min: 1, max: 5}",
            "columns.species.type: got 'float'; the target of a multiclass classification is",
        ),
        ("{type: boolean}", "columns.species.type: got 'boolean'; the target of a multiclass classification is"),
    ],
)
def test_what_are_no_classes_is_refused(column, expected):
    assert expected in refused(NAMES, column, SPECIES)


def test_a_multiclass_model_is_gated_on_its_own_metrics_and_learns_no_logarithm():
    assert "'auc' is not a metric of multiclass_classification; allowed: accuracy, logloss, weighted_f1" in refused(
        "metric: accuracy", "metric: auc", SPECIES
    )
    assert "gate.threshold: got 1.5; expected for accuracy a number above 0 up to 1" in refused("0.9", "1.5", SPECIES)
    assert "only the target of a regression is transformed" in refused(
        "target: species", "target: {column: species, transform: log}", SPECIES
    )
    assert definition.parse(SPECIES.replace("accuracy, threshold: 0.9", "logloss, threshold: 0.7"), "model.yaml")


@pytest.mark.parametrize(
    ("hyperparameters", "expected"),
    [
        ("xgboost: {num_class: 3}", "num_class: follows from the classes of the target; leave it out"),
        ("linear-learner: {num_classes: 3}", "num_classes: follows from the classes of the target; leave it out"),
        ("xgboost: {objective: multi:softmax}", "objective: got 'multi:softmax'; expected"),
        (
            "xgboost: {objective: binary:logistic}",
            "got 'binary:logistic'; allowed for multiclass_classification: multi",
        ),
        ("xgboost: {eval_metric: auc}", "got 'auc'; allowed for multiclass_classification: mlogloss, merror"),
        (
            "linear-learner: {loss: logistic}",
            "got 'logistic'; allowed for multiclass_classification: auto, softmax_loss",
        ),
        ("linear-learner: {predictor_type: regressor}", "allowed for multiclass_classification: multiclass_classifier"),
    ],
)
def test_hyperparameters_of_other_problems_are_refused(hyperparameters, expected):
    said = refused("gate:", f"hyperparameters: {{{hyperparameters}}}\ngate:", SPECIES)
    assert expected in said
