"""The last container of a pipeline whose model learned a logarithm or classes: every form of answer, as the target."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.containers import script_mode
from processing import postprocess

script_mode.install()  # the container's modules are there before the script

CSV, LINES, JSON, ANY = "text/csv", "application/jsonlines", "application/json", "*/*"
LEARNED = [0.0, 1.5, -2.0]
XGBOOST = {
    CSV: "0.0\n1.5\n-2.0\n",
    LINES: '{"score": 0.0}\n{"score": 1.5}\n{"score": -2.0}\n',
    JSON: '{"predictions": [{"score": 0.0}, {"score": 1.5}, {"score": -2.0}]}',
}


def transform(folder: Path, name: str = "log") -> postprocess.Target:
    (folder / "preprocessor.json").write_text(json.dumps({"format": 2, "target_transform": name}))
    return postprocess.model_fn(str(folder))


LOG = postprocess.Target("log")


def ask(body: bytes | str, content_type: str | None, accept: str | None, target: postprocess.Target = LOG) -> Any:
    return postprocess.output_fn(postprocess.predict_fn(postprocess.input_fn(body, content_type), target), accept)


def scores(text: str, media_type: str) -> list[float]:
    if media_type == JSON:
        return [item["score"] for item in json.loads(text)["predictions"]]
    return [json.loads(line)["score"] if media_type == LINES else float(line) for line in text.splitlines()]


@pytest.mark.parametrize("came", [CSV, LINES, JSON])
@pytest.mark.parametrize("accept", [CSV, LINES, JSON, ANY, None])
def test_every_form_that_the_algorithms_answer_becomes_the_form_that_the_caller_accepts(
    came: str, accept: str | None
) -> None:
    text, kind = ask(XGBOOST[came].encode(), f"{came}; charset=utf-8", accept)
    assert kind == (came if accept in (ANY, None) else accept)
    assert scores(text, kind) == [math.exp(value) for value in LEARNED]


def test_scores_in_one_line_are_one_a_record() -> None:
    assert ask("0.0,1.5,-2.0", CSV, ANY) == ask(XGBOOST[CSV], CSV, ANY)


@pytest.mark.parametrize(("learned", "answered"), [("nan", "nan"), ("inf", "inf"), ("-inf", "0.0"), ("1000", "inf")])
def test_what_is_no_finite_number_stays_what_it_is(learned: str, answered: str) -> None:
    assert ask(f"{learned}\n", CSV, ANY) == (f"{answered}\n", CSV)


def test_a_missing_score_stays_missing() -> None:
    assert ask('{"score": null}\n', LINES, LINES) == ('{"score": null}\n', LINES)


def test_a_form_that_cannot_be_made_is_refused_with_those_that_can() -> None:
    refused = ask(XGBOOST[CSV], CSV, "application/x-recordio-protobuf")
    assert (refused.status_code, refused.mimetype) == (406, "text/plain")
    assert b"expected text/csv, application/jsonlines or application/json" in refused.data


def test_an_unknown_transform_ends_the_container_at_its_start(tmp_path: Path) -> None:
    assert transform(tmp_path) == LOG
    with pytest.raises(ValueError, match="target_transform is 'sqrt'; expected log, classes"):
        transform(tmp_path, "sqrt")


# ---- Classes

PLAIN = postprocess.Target("classes", ["cat", "dog, small", "horse"])
WHOLE_NUMBERS = postprocess.Target("classes", [3, 4, 5])
FIRST, SECOND = [0.5, 0.375, 0.125], [0.25, 0.25, 0.5]
OF_CLASSES = {
    CSV: "0.5,0.375,0.125\n0.25,0.25,0.5\n",
    "in a batch": "[0.5, 0.375, 0.125]\n[0.25, 0.25, 0.5]\n",
    "in one line": "[0.5, 0.375, 0.125],[0.25, 0.25, 0.5]",
    LINES: '{"score": [0.5, 0.375, 0.125], "predicted_label": 0}\n{"score": [0.25, 0.25, 0.5], "predicted_label": 2}\n',
    JSON: '{"predictions": [{"score": [0.5, 0.375, 0.125]}, {"score": [0.25, 0.25, 0.5]}]}',
}


@pytest.mark.parametrize("came", OF_CLASSES)
def test_the_class_and_all_probabilities_are_answered_whatever_form_the_algorithm_has(came: str) -> None:
    kind, body = came if "/" in came else CSV, OF_CLASSES[came]
    records = [{"score": FIRST, "predicted_label": "cat"}, {"score": SECOND, "predicted_label": "horse"}]
    assert json.loads(ask(body, kind, JSON, PLAIN)[0]) == {"predictions": records}
    assert [json.loads(line) for line in ask(body, kind, LINES, PLAIN)[0].splitlines()] == records
    assert ask(body, kind, CSV, PLAIN) == ("cat,0.5,0.375,0.125\nhorse,0.25,0.25,0.5\n", CSV)
    assert ask(body, kind, ANY, PLAIN)[1] == kind


def test_whole_numbers_are_answered_as_numbers_and_names_with_commas_in_quotes() -> None:
    assert json.loads(ask("0.1,0.8,0.1", CSV, LINES, WHOLE_NUMBERS)[0])["predicted_label"] == 4
    assert ask("0.1,0.8,0.1", CSV, CSV, WHOLE_NUMBERS) == ("4,0.1,0.8,0.1\n", CSV)
    assert ask("0.1,0.8,0.1", CSV, CSV, PLAIN) == ('"dog, small",0.1,0.8,0.1\n', CSV)


def test_the_first_of_equally_probable_classes_is_answered_and_none_where_a_probability_is_no_number() -> None:
    assert json.loads(ask("0.4,0.4,0.2", CSV, LINES, PLAIN)[0])["predicted_label"] == "cat"
    assert json.loads(ask("nan,0.4,0.2", CSV, LINES, PLAIN)[0])["predicted_label"] is None


def test_an_answer_of_another_number_of_classes_is_no_answer() -> None:
    with pytest.raises(ValueError, match="record 2: 1 scores; expected one for each of 3 classes"):
        ask("0.1,0.8,0.1,0.5", CSV, LINES, PLAIN)


def test_classes_are_read_from_the_archive(tmp_path: Path) -> None:
    document = {"format": 2, "target_transform": "classes", "classes": [3, 4, 5]}
    (tmp_path / "preprocessor.json").write_text(json.dumps(document))
    assert postprocess.model_fn(str(tmp_path)) == WHOLE_NUMBERS
