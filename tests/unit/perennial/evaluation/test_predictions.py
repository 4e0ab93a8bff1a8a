"""Lines of a batch transform, as each algorithm's container writes them."""

import json
import math

import numpy as np
import pytest

from perennial.evaluation.predictions import PredictionsError, labels, scores, table


def test_scores_are_json_objects_or_bare_numbers() -> None:
    lines = ['{"score": 1.5}', '{"score": 0.25, "predicted_label": 0}', "22345.6", "1e-05", ""]
    assert scores(lines, "part").tolist() == [1.5, 0.25, 22345.6, 1e-05]


@pytest.mark.parametrize("form", ["{}", " {} ", '{{"score": {}}}', '{{"predicted_label":1,"score":{}}}'])
@pytest.mark.parametrize(
    ("spellings", "value"),
    [
        (("nan", "NaN", "NAN", "-nan", "+nan"), "nan"),
        (("inf", "Inf", "INF", "+inf", "Infinity", "infinity", "INFINITY"), "inf"),
        (("-inf", "-Inf", "-INF", "-Infinity", "-infinity"), "-inf"),
    ],
)
def test_score_that_is_no_finite_number_is_read_in_every_spelling(
    form: str, spellings: tuple[str, ...], value: str
) -> None:
    assert {str(score) for score in scores([form.format(text) for text in spellings], "part")} == {value}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_score_is_read_as_the_containers_write_it(value: float) -> None:
    batch_of_xgboost, lines_of_json = str(value), json.dumps({"score": value})
    assert {str(score) for score in scores([batch_of_xgboost, lines_of_json], "part")} == {str(value)}


def test_score_that_is_null_is_nan() -> None:
    assert math.isnan(scores(['{"score": null}'], "part")[0])


@pytest.mark.parametrize(
    "line",
    [
        "petrol",
        '{"label": 1}',
        '{"score": "1"}',
        "[]",
        '[1.0, "2"]',
        "true",
        '"1"',
        "{",
        "[" * 10_000,
        "nano",
        "nan nan",
        "1nan",
        "inf.",
        '"nan"',
        '{"score": "inf"}',
        '{"score": nan',
        "information",
        "n/a",
        "-",
    ],
)
def test_line_that_is_no_prediction_is_named(line: str) -> None:
    with pytest.raises(PredictionsError, match=r"part, line 2: got .* expected a number or"):
        scores(["1.0", line], "part")


def test_label_that_is_no_number_is_named() -> None:
    with pytest.raises(PredictionsError, match="part, line 1: got 'high'; expected a number"):
        labels(["high"], "part")


def test_scores_of_classes_are_read_in_lists_row_by_row() -> None:
    lines = ['{"score": [0.5, 0.25, 0.25], "predicted_label": "cat"}', "[0.1, null, 0.9]"]
    read = scores(lines, "part")
    assert read.shape == (2, 3)
    assert read[0].tolist() == [0.5, 0.25, 0.25]
    assert math.isnan(read[1, 1])


@pytest.mark.parametrize("second", ["[0.5, 0.5]", "0.5"])
def test_a_row_of_another_number_of_scores_is_named(second: str) -> None:
    with pytest.raises(PredictionsError, match=r"part, line 2: [12] scores; expected 3, as before"):
        scores(["[0.2, 0.3, 0.5]", second], "part")


def test_names_of_classes_are_fields_of_a_csv_file() -> None:
    columns = {"prediction": np.array(["cat", 'dog, "small"']), "label": np.array(["cat", "horse"])}
    assert b"".join(table(columns)).decode() == 'prediction,label\ncat,cat\n"dog, ""small""",horse\n'
