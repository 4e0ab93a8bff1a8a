"""What the pipeline has to know of an algorithm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perennial.model.algorithms.hyperparameter import Allowed, free
from perennial.model.algorithms.ranges import is_range, problems
from perennial.model.complaints import Complaint, suggestion
from perennial.model.images import Image
from perennial.model.problem_types import Direction

# `--name value` is how it comes to the script; what begins otherwise is SageMaker's.
ARGUMENT = re.compile(r"(?!sagemaker_)[a-zA-Z][a-zA-Z0-9_-]{0,63}")
ARGUMENT_IN_WORDS = (
    "at most 64 letters, digits, - and _ that begin with a letter, and not with sagemaker_: learning_rate"
)


InputMode = Literal["File", "FastFile"]


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm of SageMaker, or the model's own code in an image of AWS's or of one's own.

    name              in model.yaml
    image             what trains and serves; `image_variable` of the functions' environment holds its URI. None: the
                      image is one's own, of the stack's repository
    is_own            code of one's own trains, which takes hyperparameters of any name
    hyperparameters   what it accepts
    refused           hyperparameters of the container that cannot work with the files that a run writes, and why
    defaults          what a run sets where nobody else does
    of_problem        for each problem type that it learns: the hyperparameters that must be one of some values
    derived           (problem type, metric of the gate, seed, number of named classes) -> the hyperparameters that
                      follow from them
    training_metrics  all hyperparameters -> the metrics that its training job must report
    tunable           the hyperparameters that may be ranges
    objectives        problem type -> the metrics of the validation set that a tuning job may go by, and which values of
                      each are better
    of_definition     a resolved definition -> the hyperparameters that follow from its own sections
    reads_series      it learns from and answers series of JSON, one in each line, and serves without a preprocessor
    input_modes       how it takes its sets: copied, or read from S3 as files (FastFile)
    scripts_from      the first version whose image runs job scripts too, with what reads its models; None: none
    """

    name: str
    image: Image | None
    hyperparameters: Mapping[str, Allowed]
    refused: Mapping[str, str]
    defaults: Mapping[str, str]
    of_problem: Mapping[str, Mapping[str, tuple[str, ...]]]
    derived: Callable[[str, str, int, int], dict[str, str]]
    training_metrics: Callable[[Mapping[str, str]], tuple[str, ...]]
    tunable: tuple[str, ...] = ()
    objectives: Callable[[str], Mapping[str, Direction]] = lambda _problem_type: {}
    scripts_from: tuple[int, int] | None = None
    of_definition: Callable[[Mapping[str, Any]], dict[str, str]] = lambda _definition: {}
    reads_series: bool = False
    is_own: bool = False
    input_modes: tuple[InputMode, ...] = ("File",)

    @property
    def image_variable(self) -> str:
        """The variable that holds the image's URI: LINEAR_LEARNER_IMAGE for linear-learner."""
        if self.image is None:
            return "OWN_IMAGE"
        return f"{re.sub('(?<=[a-z])(?=[A-Z][a-z])', '_', self.image.name).upper()}_IMAGE"

    @property
    def is_script(self) -> bool:
        """Whether it runs train.py of the model's folder."""
        return self.is_own and self.image is not None

    def table(self, values: Mapping[str, Any]) -> Mapping[str, Allowed]:
        """Return what hyperparameters of these names may be: of a script what their values are, which may be ranges."""
        return {name: free(value) for name, value in values.items()} if self.is_own else self.hyperparameters

    def complaints(self, values: Mapping[str, Any]) -> Iterable[Complaint]:
        """Yield (name, what is wrong and what is allowed) for each hyperparameter that the algorithm would refuse."""
        table = self.table(values)
        for name, value in values.items():
            allowed = table.get(name)
            if self.is_own and not ARGUMENT.fullmatch(name):
                yield name, f"cannot be the name of an argument; expected {ARGUMENT_IN_WORDS}"
            elif name in self.refused:
                yield name, self.refused[name]
            elif allowed is None:
                yield name, f"is not a hyperparameter of {self.name}{suggestion(name, self.hyperparameters)}"
            elif is_range(value):
                yield from ((name, text) for text in self._range_problems(name, value, allowed))
            elif not isinstance(value, bool | int | float | str):
                yield name, f"got {value!r}; expected {allowed.expected()}"
            elif (complaint := allowed.problem(value)) is not None:
                yield name, complaint

    def _range_problems(self, name: str, value: Any, allowed: Allowed) -> Iterable[str]:
        if not self.is_own and name not in self.tunable:
            tunable = f"{self.name} tunes only {', '.join(self.tunable)}"
            return [f"got a range; expected one value, {allowed.expected()} ({tunable})"]
        return problems(value, allowed)

    def complaints_for(self, problem_type: str, values: Mapping[str, Any]) -> Iterable[Complaint]:
        """Yield (name, what is wrong and what is allowed) for each hyperparameter that is of another problem type."""
        for name, allowed in self.of_problem.get(problem_type, {}).items():
            parts = str(values[name]).split(",") if name in values and not is_range(values[name]) else []
            wrong = [value for value in parts if value.split("@")[0] not in allowed]
            if wrong:
                yield name, f"got {', '.join(wrong)!r}; allowed for {problem_type}: {', '.join(allowed)}"
