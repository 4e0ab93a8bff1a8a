"""What each feature of a record contributes to the answer of the endpoint, which is asked about records between."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import boto3
import numpy as np
from botocore.exceptions import ClientError

from perennial.evaluation.contributions import Explanation, explain, typical
from perennial.evaluation.predictions import PredictionsError, scores
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.record_checks import UNKNOWN_CATEGORY, named_in
from perennial.model.definition import Definition
from perennial.model.problem_types import classes_of
from perennial.runs.endpoint import EXPLANATION
from perennial.words import number, printable
from perennial_cli import predictions, stacks
from perennial_cli.console import CommandError
from perennial_cli.predictions import Record
from perennial_cli.stacks import Stack

MOST_RECORDS = 20  # each takes up to 2,000 questions


@dataclass(frozen=True)
class Explainer:
    """Explains answers of the endpoint of a stack.

    usual    the typical record: medians and most frequent texts of what the model in service was tested with
    classes  in the order of the probabilities that the endpoint answers
    """

    stack: Stack
    usual: Mapping[str, Any]
    classes: tuple[str, ...]
    _ids: Iterator[str] = field(repr=False)

    @classmethod
    def of(cls, stack: Stack, definition: Definition) -> Explainer:
        """Return that of what serves now. Raises CommandError: nothing does, or its baseline cannot be read."""
        run, folder = predictions.require_served(stack), stacks.exported(stack.name, "data-quality-baseline")
        if folder is None:
            raise CommandError(f"the model that {stack.name} serves has no baseline, so no typical record is known")
        bucket, _, key = f"{folder}/statistics.json".removeprefix("s3://").partition("/")
        try:
            statistics = json.loads(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            raise CommandError(f"the baseline of the model that serves, s3://{bucket}/{key}: {error}") from error
        types = {column.name: column.type for column in predictions.features_of(definition).columns}
        ids = (f"{EXPLANATION}{run}-{number}" for number in count())
        return cls(stack, typical(statistics, types), classes_of(definition.as_json()), ids)

    def explain(self, record: Record) -> Explanation:
        """Explain the answer to a record. Raises CommandError: a question is refused, or not answered with scores."""
        return explain(record.features, self.usual, self._scores)

    def unknown(self, record: Record) -> frozenset[str]:
        """Return the features of which the model does not know the record's text, as the endpoint counts them."""
        (answer,) = predictions.answers(self.stack, [record], self._ids)
        return named_in(answer.unusual, UNKNOWN_CATEGORY)

    def _scores(self, records: Sequence[Mapping[str, Any]]) -> Floats:
        endpoint = self.stack.outputs["EndpointName"]
        questions = [Record(number, dict(features)) for number, features in enumerate(records, 1)]
        answers = predictions.answers(self.stack, questions, self._ids)
        try:
            values = scores((json.dumps(one.answer) for one in answers), f"the answer of {endpoint}")
        except PredictionsError as error:
            raise CommandError(str(error)) from error
        if not np.isfinite(values).all():
            raise CommandError(f"{endpoint} has no finite score for each record between this one and a typical one")
        return values


def as_json(explainer: Explainer, record: Record, one: Explanation, unknown: Collection[str] = ()) -> dict[str, Any]:
    """Return an explanation for machines; values are those of the record and of the typical one.

    unknown  the features of which the model does not know the record's text
    """
    shares = [
        {"feature": name, "value": record.features[name], "typical": explainer.usual[name], "contribution": value}
        for name, value in one.contributions.items()
    ]
    return {
        "score": one.score,
        **({} if one.position is None else {"class": explainer.classes[one.position]}),
        "typical_score": one.typical,
        "contributions": shares,
        "unknown_categories": sorted(unknown),
        "is_exact": one.is_exact,
    }


def headline(explainer: Explainer, definition: Definition, one: Explanation) -> str:
    """Return both answers in their unit, and of what they are the probability."""
    column = definition.columns[definition.target]
    unit = f" {column.unit}" if definition.problem == "regression" and column.unit else ""
    named = "" if one.position is None else f"{explainer.classes[one.position]} with probability "
    sampled = "" if one.is_exact else f" (means over orders of {len(one.contributions)} features)"
    return f"{named}{number(one.score)}{unit}; a typical record {number(one.typical)}{unit}{sampled}"


def lines(
    explainer: Explainer, record: Record, one: Explanation, unknown: Collection[str] = ()
) -> Iterator[tuple[str, str, str, str]]:
    """Yield features with both values and the contribution, and their sum."""
    for name, value in one.contributions.items():
        known = " (unknown to the model)" if name in unknown else ""
        yield name, f"{_text(record.features[name])}{known}", _text(explainer.usual[name]), _signed(value)
    yield "together", "", "", _signed(sum(one.contributions.values()))


def _text(value: Any) -> str:
    return "" if value is None else number(value) if type(value) is float else printable(str(value), 40)


def _signed(value: float) -> str:
    return number(value) if value < 0 else f"+{number(value)}"
