"""Rows joined with what the model answered: of several classes, and names that the file has taken."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from perennial.batch import result
from perennial.batch.result import Joiner, Predictions, writer
from perennial.batch.rows import FileKind, contract_of, kind_of, names_of_ours, rows_of
from perennial.evaluation.predictions import PredictionsError
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
