"""An algorithm for tests: what would be perennial/model/algorithms/mean.py."""

from __future__ import annotations

from collections.abc import Mapping

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.hyperparameter import integer, words
from perennial.model.images import FRAMEWORKS, Image

_ANSWERS = {"regression": ("mean", "median"), "grading": ("mode",)}


def _derived(problem_type: str, _metric: str, seed: int, _classes: int) -> dict[str, str]:
    return {"answer": _ANSWERS[problem_type][0], "seed": str(seed)}


def _training_metrics(_hyperparameters: Mapping[str, str]) -> tuple[str, ...]:
    return ("validation:error",)


MEAN = Algorithm(
    name="mean",
    image=Image(
        name="Mean",
        registry=FRAMEWORKS,
        repository="mean-learner",
        tag="7.0-1",
        tags="7[.]0-[0-9]",
        expected="a version such as 7.0-1",
        description="Version of the mean learner's image, or its digest. Empty means what Perennial ships.",
    ),
    hyperparameters={"answer": words("mean", "median", "mode"), "window": integer(1), "seed": integer(0)},
    refused={},
    defaults={"window": "10"},
    of_problem={problem: {"answer": answers} for problem, answers in _ANSWERS.items()},
    derived=_derived,
    training_metrics=_training_metrics,
)
