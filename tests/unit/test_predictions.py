"""Lines of a batch transform, as each algorithm's container writes them."""

import math

import pytest

from perennial.predictions import PredictionsError, labels, scores


def test_scores_are_json_objects_or_bare_numbers() -> None:
    lines = ['{"score": 1.5}', '{"score": 0.25, "predicted_label": 0}', "22345.6", "1e-05", ""]
    assert scores(lines, "part").tolist() == [1.5, 0.25, 22345.6, 1e-05]


def test_score_that_is_no_number_is_nan() -> None:
    assert all(math.isnan(value) for value in scores(['{"score": null}', "NaN"], "part"))


@pytest.mark.parametrize(
    "line", ["petrol", '{"label": 1}', '{"score": "1"}', "[1.0, 2.0]", "true", '"1"', "{", "[" * 10_000]
)
def test_line_that_is_no_prediction_is_named(line: str) -> None:
    with pytest.raises(PredictionsError, match=r"part, line 2: got .* expected a number or"):
        scores(["1.0", line], "part")


def test_label_that_is_no_number_is_named() -> None:
    with pytest.raises(PredictionsError, match="part, line 1: got 'high'; expected a number"):
        labels(["high"], "part")
