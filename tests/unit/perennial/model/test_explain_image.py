"""In which image jobs explain a model."""

from __future__ import annotations

import pytest

from perennial.model.algorithms import explain_image

REGISTRY = "1.dkr.ecr.eu-west-1.amazonaws.com"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:1.9-0-cpu-py3"
DIGEST = f"{REGISTRY}/sagemaker-xgboost@sha256:{'12' * 32}"


@pytest.mark.parametrize("tag", ["3.2-0", "3.2-0-cpu-py3", "3.10-1", "4.0-0"])
def test_a_model_of_xgboost_is_explained_in_the_image_that_trained_it(tag: str) -> None:
    own = f"{REGISTRY}/sagemaker-xgboost:{tag}"
    assert explain_image("xgboost", {"preprocessor": SKLEARN, "algorithm": own}) == own
    assert explain_image("xgboost", {"preprocessor": SKLEARN, "algorithm": DIGEST}) == DIGEST


@pytest.mark.parametrize("tag", ["1.7-1", "3.0-5", "3.0-5-cpu-py3"])
def test_an_image_whose_python_is_too_old_for_job_scripts_runs_none(tag: str) -> None:
    own = f"{REGISTRY}/sagemaker-xgboost:{tag}"
    assert explain_image("xgboost", {"preprocessor": SKLEARN, "algorithm": own}) == SKLEARN


def test_a_linear_model_is_explained_where_job_scripts_run() -> None:
    own = f"{REGISTRY}/linear-learner:1"
    assert explain_image("linear-learner", {"preprocessor": SKLEARN, "algorithm": own}) == SKLEARN
