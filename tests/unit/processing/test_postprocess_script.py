"""The last container of a pipeline whose model learned a logarithm: every form of answer, in the target's unit."""

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


def transform(folder: Path, name: str = "log") -> str:
    (folder / "preprocessor.json").write_text(json.dumps({"format": 2, "target_transform": name}))
    return postprocess.model_fn(str(folder))


def ask(body: bytes | str, content_type: str | None, accept: str | None) -> Any:
    return postprocess.output_fn(postprocess.predict_fn(postprocess.input_fn(body, content_type), "log"), accept)


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
    assert transform(tmp_path) == "log"
    with pytest.raises(ValueError, match="target_transform is 'sqrt'; expected log"):
        transform(tmp_path, "sqrt")
