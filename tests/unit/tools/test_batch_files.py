"""Files to score, made of the real data by a command: one that the model knows, one with outliers."""

import csv
import io
from pathlib import Path

from perennial.batch.rows import contract_of, rows_of
from perennial.model import definition
from tools import batch_files, demo_data

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
