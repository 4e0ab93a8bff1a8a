"""Files to score, made of the real data by a command: one that the model knows, one with outliers; and their demo."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from perennial.batch.rows import contract_of, rows_of
from perennial.model import definition
from perennial_cli.stacks import Stack
from tests.unit.conftest import BUCKET, STACK, FakeAws
from tools import batch_files, demo_batch, demo_data

ROOT = Path(__file__).resolve().parents[3]


def test_both_files_are_the_real_cars_without_prices_and_differ_in_mileage_alone(tmp_path: Path) -> None:
    assert batch_files.main([str(tmp_path)]) == 0
    names = (batch_files.SOUND, batch_files.WITH_OUTLIERS)
    sound, odd = (list(csv.DictReader(io.StringIO((tmp_path / name).read_text()))) for name in names)
    real = list(csv.DictReader(io.StringIO(demo_data.used_cars().decode())))
    assert [{name: row[name] for name in row if name != "id"} for row in sound] == [
        {name: row[name] for name in row if name != "price"} for row in real
    ]
    changed = [number for number, (one, other) in enumerate(zip(sound, odd, strict=True)) if one != other]
    assert changed == list(range(0, len(real), batch_files.EVERY))
    assert all({**one, "mileage": ""} == {**other, "mileage": ""} for one, other in zip(sound, odd, strict=True))


def test_each_value_of_both_files_is_one_that_the_definition_allows(tmp_path: Path) -> None:
    batch_files.main([str(tmp_path)])
    contract = contract_of(definition.load(ROOT / "models/used-cars/model.yaml").as_json())
    for path in tmp_path.iterdir():
        assert all(not some.checked.violations for some in rows_of(path, contract, path.name, []))


@pytest.mark.parametrize(
    ("mail", "written", "complaint"),
    [
        ("Drift in a file: cars-with-outliers.csv: mileage: 0.3", "runs/two/verdict.json", None),
        (
            "Drift in a file: cars-with-outliers.csv: year: 0.3",
            "runs/two/verdict.json",
            "does not name the column mileage",
        ),
        ("Drift in a file: cars-with-outliers.csv: mileage: 0.3", "scored/two/cars.csv", "there are predictions"),
    ],
    ids=["refused", "another column", "scored"],
)
def test_the_demo_ends_well_if_the_odd_file_has_no_predictions_and_a_mail_names_the_column(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, mail: str, written: str, complaint: str | None
) -> None:
    def drop(self: demo_batch.Scored, name: str, body: bytes, expected: str) -> tuple[dict[str, Any], str]:
        if expected == "Drift":
            aws.put(f"batch/{written}", "")
            return {"id": "two"}, mail
        aws.put("batch/scored/one/cars.csv", "prediction\n" + "1\n" * (body.count(b"\n") - 1))
        return {"id": "one", "result": f"s3://{BUCKET}/batch/scored/one/cars.csv"}, ""

    monkeypatch.setattr(demo_batch.Scored, "drop", drop)
    aws.put("raw/cars.csv", "")  # there is a first model
    scored = demo_batch.Scored(Stack(STACK, {"BucketName": BUCKET}, {}), Path())
    if complaint is None:
        demo_batch.run(scored)
    else:
        with pytest.raises(demo_batch.DemoError, match=complaint):
            demo_batch.run(scored)
