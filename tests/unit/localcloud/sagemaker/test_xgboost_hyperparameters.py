"""The container's checks of hyperparameters, in its words."""

import pytest

from localcloud.sagemaker.algorithms import xgboost_hyperparameters
from localcloud.sagemaker.algorithms.training_container import CustomerError


def read(**given: str) -> dict[str, object]:
    return xgboost_hyperparameters.read({"num_round": "10", **given})


def test_values_are_parsed_by_their_types() -> None:
    values = read(eta="0.2", max_depth="5", eval_metric="rmse,mae", monotone_constraints="(1,-1,0)", tree_method="hist")

    assert values == {
        "num_round": 10,
        "eta": 0.2,
        "max_depth": 5,
        "eval_metric": ["rmse", "mae"],
        "monotone_constraints": (1, -1, 0),
        "tree_method": "hist",
    }


def test_aliases_of_the_library_are_read_under_the_containers_names() -> None:
    assert read(learning_rate="0.1", reg_lambda="2", reg_alpha="1", min_split_loss="3") == {
        "num_round": 10,
        "eta": 0.1,
        "lambda": 2.0,
        "alpha": 1.0,
        "gamma": 3.0,
    }


def test_a_name_and_its_alias_together_are_refused() -> None:
    with pytest.raises(CustomerError, match="eta is given twice: learning_rate is another name for it"):
        read(eta="0.1", learning_rate="0.2")


def test_num_round_is_required() -> None:
    with pytest.raises(CustomerError, match="Missing required hyperparameter: num_round"):
        xgboost_hyperparameters.read({})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"silent": "1"}, "Extraneous hyperparameter found: silent"),
        ({"num_round": "0"}, r"Hyperparameter num_round: 0 is not in \[1, \+inf\)"),
        ({"num_round": "ten"}, "Hyperparameter num_round: could not parse value"),
        ({"eta": "1.5"}, r"Hyperparameter eta: 1.5 is not in \[0, 1\]"),
        ({"subsample": "0"}, r"Hyperparameter subsample: 0.0 is not in \(0, 1\]"),
        ({"tweedie_variance_power": "2"}, r"is not in \(1, 2\)"),
        ({"objective": "reg:nothing"}, "Hyperparameter objective: reg:nothing is not in"),
        ({"objective": "multi:softmax"}, "Require input for parameter 'num_class' for multi-classification"),
        ({"num_class": "3"}, "Do not need to setup parameter 'num_class'"),
        ({"eval_metric": "rmse,nothing"}, "Hyperparameter eval_metric: value .* not in range"),
        ({"eval_metric": "rmse@3"}, "Metric 'rmse@3' is not supported"),
        ({"eval_metric": "error@x"}, "Threshold value 't' in 'error@t' expects float input"),
        ({"eval_metric": "auc"}, "Metric 'auc' can only be applied for classification and ranking problems"),
        ({"eval_metric": "aft-nloglik"}, "can only be applied for 'survival:aft' objective"),
        ({"monotone_constraints": "(1,0)"}, "monotone_constraints can be used only when the tree_method"),
        ({"monotone_constraints": "(2,0)", "tree_method": "hist"}, r"value \(2, 0\) not in range"),
        ({"monotone_constraints": "print(1)", "tree_method": "hist"}, "could not parse value"),
        ({"interaction_constraints": "[[1,2]]"}, "interaction_constraints can be used only when"),
        ({"booster": "gblinear", "updater": "prune"}, "Linear updater should be one of these options"),
        ({"updater": "shotgun"}, "Tree updater should be selected from these options"),
        ({"updater": "grow_colmaker,grow_histmaker"}, "Only one tree grow plugin can be selected"),
        ({"process_type": "update", "updater": "sync"}, "process_type 'update' can only be used with updater"),
        ({"tree_method": "gpu_hist"}, "Training on GPUs is not supported by the local XGBoost"),
        ({"_kfold": "5"}, "cross-validation is not supported by the local XGBoost"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, str], text: str) -> None:
    with pytest.raises(CustomerError, match=text):
        read(**given)


def test_a_threshold_may_follow_the_metrics_that_have_one() -> None:
    assert read(objective="binary:logistic", eval_metric="error@0.7,auc")["eval_metric"] == ["error@0.7", "auc"]
