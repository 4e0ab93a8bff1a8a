"""Rows joined with what the model answered: of several classes, and names that the file has taken."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.batch import result
from perennial.batch.result import Joiner, Predictions, writer
from perennial.batch.rows import FileKind, contract_of, kind_of, names_of_ours, rows_of
from perennial.evaluation.predictions import PredictionsError, scores
from perennial.model import definition

PENGUINS = definition.load(Path(__file__).parents[4] / "models/penguins/model.yaml").as_json()
CLASSES = contract_of(PENGUINS).classes
ROW: dict[str, Any] = {
    "island": "Biscoe", "bill_length_mm": 45.0, "bill_depth_mm": 15.0, "flipper_length_mm": 210, "body_mass_g": 4500,
    "sex": "male", "year": 2008,
}  # fmt: skip


def features() -> dict[str, Any]:
    """A record that the definition takes, of the columns that it has."""
    return {column.name: ROW.get(column.name) for column in contract_of(PENGUINS).features}


def joined(folder: Path, kind: FileKind, content: bytes, answers: list[Any]) -> Path:
    path, predictions = folder / "data", folder / "predictions"
    path.write_bytes(content)
    predictions.mkdir()
    (predictions / "part-00000.jsonl.out").write_text("".join(f"{json.dumps(one)}\n" for one in answers))
    (some,) = rows_of(path, contract_of(PENGUINS), "penguins", [])
    assert some.batch.whole is not None
    names = names_of_ours(some.batch.whole.schema.names, has_classes=True)
    with writer(folder / "result", kind, some.batch.whole.schema, names) as written:
        joiner = Joiner(written, Predictions(predictions), "batch", CLASSES)
        joiner.add(some)
        joiner.finish()
    assert joiner.summary() is None
    assert joiner.distribution() == {"classes": list(CLASSES), "rows": [1, 1, 0]}
    return folder / "result"


ANSWERS = [{"score": [0.1, 0.7, 0.2], "predicted_label": "x"}, {"score": [0.5, 0.25, 0.25], "predicted_label": "y"}]
LINES = "".join(f"{json.dumps(features())}\n" for _ in ANSWERS).encode()


def test_of_several_classes_the_most_probable_one_is_predicted_and_all_probabilities_are_there(tmp_path: Path) -> None:
    result = joined(tmp_path, FileKind("jsonl", gzip=False), LINES, ANSWERS)
    rows = [json.loads(line) for line in result.read_text().splitlines()]
    assert [row["prediction"] for row in rows] == [CLASSES[1], CLASSES[0]]
    assert [row["probabilities"] for row in rows] == [one["score"] for one in ANSWERS]


def test_in_tables_the_probabilities_are_a_list_in_one_column(tmp_path: Path) -> None:
    header, values = ",".join(features()), ",".join("" if one is None else str(one) for one in features().values())
    content = f"{header}\n{values}\n{values}\n".encode()
    for kind in (FileKind("csv", gzip=False), FileKind("parquet", gzip=False)):
        folder = tmp_path / kind.kind
        folder.mkdir()
        result = joined(folder, kind, content, ANSWERS)
        if kind.kind == "csv":
            with result.open(newline="") as file:
                rows = list(csv.DictReader(file))
        else:
            rows = pq.read_table(result).to_pylist()
        assert [row["prediction"] for row in rows] == [CLASSES[1], CLASSES[0]]
        assert [json.loads(row["probabilities"]) for row in rows] == [one["score"] for one in ANSWERS]


@pytest.mark.parametrize("answers", [ANSWERS[:1], [*ANSWERS, ANSWERS[0]]], ids=["too few", "too many"])
def test_another_number_of_predictions_is_no_result(tmp_path: Path, answers: list[Any]) -> None:
    with pytest.raises(PredictionsError, match="expected one for each"):
        joined(tmp_path, FileKind("jsonl", gzip=False), LINES, answers)


def test_names_that_the_file_has_are_left_to_it() -> None:
    assert names_of_ours(["prediction", "perennial_prediction", "id"], has_classes=False) == {
        "prediction": "perennial_perennial_prediction", "inference_id": "inference_id", "problem": "problem",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"PAR1", "parquet"), (b'\xef\xbb\xbf {"a": 1}', "jsonl"), (b"a,b\n", "csv"), (b"", "csv")],
)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "file").write_bytes(start)
    assert kind_of(tmp_path / "file") == FileKind(kind, gzip=False)  # type: ignore[arg-type]


def test_a_sample_of_a_stream_is_every_nth_of_it_however_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "MOST_SAMPLED", 10)
    for sizes in ([41], [1] * 41, [3, 17, 0, 21]):
        sample, start = result._EvenSample(), 0
        for size in sizes:
            sample.add(np.arange(start, start + size, dtype=np.float64))
            start += size
        assert sample.values.tolist() == [0, 8, 16, 24, 32, 40]


NUMBERS = st.one_of(
    st.floats().map(json.dumps),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["-0", "-0.0", "0", "1E5", "1e-400", "1e400", "+1", ".5", "1.", "01", "null", "true", '"1"', "[1]", "1 "]
    ),
)
WRITTEN = [
    '{{"score": {}}}', '{{"score":{}}}', '{{ "score": {}}}', "{}", '{{"score": {}, "label": 1}}', '{{"score": {}}}x',
]  # fmt: skip


@given(st.lists(st.tuples(NUMBERS, st.sampled_from(WRITTEN)), min_size=1), st.none() | st.sampled_from(WRITTEN))
def test_scores_are_those_that_are_read_line_by_line_or_none(lines: list[tuple[str, str]], alike: str | None) -> None:
    texts = [(alike or written).format(number) for number, written in lines]
    found = result.plain_scores(texts)
    if found is not None:
        expected = scores(texts, "here")
        assert found.tobytes() == expected.tobytes()
    elif alike in WRITTEN[:2] and all(re.fullmatch(r"[1-9]\d{0,5}(\.\d+)?", number) for number, _ in lines):
        raise AssertionError(f"{texts} are plain")


@pytest.mark.parametrize("at_once", [1, 7, 1 << 20])
def test_answers_are_lines_of_any_number_of_files_but_for_blank_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(result, "CHARACTERS_AT_ONCE", at_once)
    for name, text in {"a": "1.5\r\n\n2\n", "b": '{"score": 3}\n  \n{"score": nan}', "c": "", "d": "5"}.items():
        (tmp_path / f"{name}.out").write_bytes(text.encode())
    answers = Predictions(tmp_path)
    assert answers.take(1).tolist() == [1.5]
    assert answers.take(0).tolist() == []
    assert answers.take(2).tolist() == [2, 3]
    np.testing.assert_array_equal(answers.take(2), [np.nan, 5])
    answers.require_end()
    with pytest.raises(PredictionsError, match="5 predictions; expected one for each of 6 records"):
        answers.take(1)
    others = Predictions(tmp_path)
    others.take(4)
    with pytest.raises(PredictionsError, match="more than 4 predictions"):
        others.require_end()
