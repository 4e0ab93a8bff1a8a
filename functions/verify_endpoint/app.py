"""Prove that the endpoint serves the new model: its configuration, and its answers to known records.

Called by  train_model, state "Verify endpoint".
Writes     the images that serve, with the digests that their tags led to, into the run's record (`serving_images`)
Raises     EndpointVerificationError: another configuration serves, an answer differs or does not come. Permanent.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.evaluation.predictions import Score
from perennial.evaluation.problem_types.forecasting import MEDIAN
from perennial.evaluation.problem_types.measures import Floats
from perennial.runs import keeping
from perennial.runs.endpoint import VERIFICATION, serves
from perennial_aws import objects, payloads, runs, verification
from perennial_aws.asking import RefusedError, UnansweredError, ask, ask_series
from perennial_aws.clients import client

logger = Logger()

# Batch and real time run the same model on the same machine type; only the order of float32 sums may differ.
RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-6
BAND_SHARE = 0.5  # of a forecast's band from the quantile 0.1 to 0.9, by which medians may differ


class EndpointVerificationError(Exception):
    """The endpoint does not serve what was tested."""


@dataclass(frozen=True)
class Request:
    """A run with its folder (s3://bucket/runs/<run id>), and what the endpoint must serve."""

    RunId: str
    Prefix: str
    EndpointName: str
    WantedConfigName: str


@dataclass(frozen=True)
class Answer:
    """The number of records that were answered as in the batch predictions."""

    Verified: int


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Compare the endpoint with the batch predictions."""
    request = payloads.read(Request, event)
    endpoint, run_id, prefix = request.EndpointName, request.RunId, request.Prefix
    description = _require_configuration(endpoint, request.WantedConfigName)
    verified, refused = 0, None
    for position, (known, expected) in enumerate(verification.known(prefix)):
        try:
            _require_alike(endpoint, known, expected, f"{VERIFICATION}{run_id}-{position}", position)
        except RefusedError as error:
            is_sound = refused is None and not _may_refuse(prefix)
            refused = EndpointVerificationError(str(error))
            if is_sound:
                raise refused from error
            continue
        except UnansweredError as error:
            raise EndpointVerificationError(str(error)) from error
        verified += 1
        if verified == verification.RECORDS:
            break
    if not verified:
        nothing = f"{prefix}/{keeping.VERIFICATION} holds no record to ask endpoint {endpoint} about"
        raise refused or EndpointVerificationError(nothing)
    runs.update(run_id, serving_images=_images(description))
    logger.info("verified", run_id=run_id, endpoint=endpoint, records=verified)
    return asdict(Answer(verified))


def _require_alike(endpoint: str, known: str, expected: Score | Floats, inference_id: str, position: int) -> None:
    """Ask about a record. Raises EndpointVerificationError: the answer differs. UnansweredError: there is none."""
    if isinstance(expected, np.ndarray):
        forecast = ask_series(endpoint, known, inference_id)
        if not _are_of_one_model(forecast, expected):
            raise EndpointVerificationError(
                f"endpoint {endpoint} forecasts {forecast[:, MEDIAN].tolist()} for test series {position}; the median "
                f"in the batch is {expected[:, MEDIAN].tolist()} (tolerance {BAND_SHARE:g} of the band p10 to p90)"
            )
        return
    (answer,) = ask(endpoint, [known], inference_id)
    if not _are_close(answer, expected):
        raise EndpointVerificationError(
            f"endpoint {endpoint} answers {answer!r} for test record {position}; the batch prediction is "
            f"{expected!r} (tolerance {RELATIVE_TOLERANCE:g} relative)"
        )


def _are_of_one_model(forecast: Floats, expected: Floats) -> bool:
    """Return whether two forecasts of a series are the same but for chance: DeepAR draws samples for each answer.

    The medians of 100 samples and of 100 others differ by 0.18 standard deviations (one of their difference), which are
    0.07 of the band from the quantile 0.1 to 0.9 of a normal distribution: half of the band is seven times as much.
    """
    if len(forecast) != len(expected):
        return False
    band = np.abs(expected[:, -1] - expected[:, 1])
    rounding = RELATIVE_TOLERANCE * np.abs(expected[:, MEDIAN]) + ABSOLUTE_TOLERANCE
    return bool((np.abs(forecast - expected)[:, MEDIAN] <= np.maximum(BAND_SHARE * band, rounding)).all())


def _are_close(answer: Score, expected: Score) -> bool:
    """Return whether two scores, or those of each class, are the same but for rounding."""
    pairs = zip(*(one if isinstance(one, list) else [one] for one in (answer, expected)), strict=False)
    sizes = [len(one) if isinstance(one, list) else None for one in (answer, expected)]
    near = (math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE) for one, other in pairs)
    return sizes[0] == sizes[1] and all(near)


def _may_refuse(prefix: str) -> bool:
    """Return whether the endpoint may refuse sound records, such as one with a category that is new in the test set."""
    return "refuse" in objects.read_json(f"{prefix}/config.json")["definition"].get("serving", {}).values()


def _require_configuration(endpoint: str, wanted: str) -> dict[str, Any]:
    description = dict(client("sagemaker").describe_endpoint(EndpointName=endpoint))
    if not serves(description, wanted):
        serving, status = description["EndpointConfigName"], description["EndpointStatus"]
        raise EndpointVerificationError(f"endpoint {endpoint} is {status} and serves {serving}; expected {wanted}")
    return description


def _images(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the images that serve, by container: what the model names, and its digest, if SageMaker says it."""
    deployed = (image for variant in description["ProductionVariants"] for image in variant.get("DeployedImages", ()))
    return [{"specified": image["SpecifiedImage"], "resolved": image.get("ResolvedImage")} for image in deployed]
