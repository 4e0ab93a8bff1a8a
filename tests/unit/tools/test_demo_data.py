"""The demo's data are the real ones and keep the contracts of the model definitions."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from perennial.model import definition
from processing import preprocess
from tools import demo_data

MODELS = Path(__file__).resolve().parents[3] / "models"


def test_used_cars_have_one_make_and_one_body_again() -> None:
    cars = pd.read_csv(io.BytesIO(demo_data.used_cars()))
    assert list(cars.columns) == ["price", "mileage", "cylinder", "doors", "cruise", "sound", "leather", "make", "body"]
    assert len(cars) == 804
    assert cars["make"].value_counts().to_dict() == {
        "Chevy": 320, "Pontiac": 150, "Saab": 114, "Buick": 80, "Cadillac": 80, "Saturn": 60,
    }  # fmt: skip
    assert cars["body"].value_counts().to_dict() == {
        "sedan": 490, "coupe": 140, "wagon": 64, "hatchback": 60, "convertible": 50,
    }  # fmt: skip
    assert cars.iloc[0].tolist() == [22661.05, 20105, 6, 4, 1, 0, 0, "Buick", "sedan"]


def test_masses_have_the_published_counts() -> None:
    masses = pd.read_csv(io.BytesIO(demo_data.mammography()))
    assert masses.shape == (830, 6)
    assert masses["malignant"].sum() == 403
    assert (masses["bi_rads"] == 55).sum() == 1


def test_new_listings_have_the_columns_of_the_first_drop() -> None:
    listings = demo_data.new_listings(200, seed=2)
    assert listings.splitlines()[0] == demo_data.used_cars().splitlines()[0]
    assert listings.count(b"\n") == 201
    assert listings == demo_data.new_listings(200, seed=2) != demo_data.new_listings(200, seed=3)


@pytest.mark.parametrize(
    ("model", "data", "quarantined"),
    [
        ("used-cars", demo_data.used_cars, 0),
        ("used-cars", lambda: demo_data.new_listings(300, seed=2), 0),
        ("mammography", demo_data.mammography, 1),
        ("penguins", demo_data.penguins, 0),
    ],
)
def test_demo_data_keep_the_contract_of_their_model(tmp_path: Path, model: str, data: object, quarantined: int) -> None:
    document = definition.load(MODELS / model / "model.yaml").as_json()
    (tmp_path / "data").mkdir()
    assert callable(data)
    (tmp_path / "data" / "00000-data.csv").write_bytes(data())
    preprocess.run({"model": model, "definition": document}, tmp_path / "data", tmp_path / "output")
    report = json.loads((tmp_path / "output" / "report" / "report.json").read_text())
    assert report["rows"]["quarantined"] == quarantined


def test_penguins_have_the_published_counts() -> None:
    penguins = pd.read_csv(io.BytesIO(demo_data.penguins()))
    assert penguins["species"].value_counts().to_dict() == {"Adelie": 152, "Gentoo": 124, "Chinstrap": 68}
    assert penguins["sex"].isna().sum() == 11


def test_series_of_employment_have_their_own_beginning_and_end() -> None:
    series = {one["item_id"]: one for one in map(json.loads, demo_data.employment(sectors=True).splitlines())}
    assert len(series) == 148
    assert sum(len(one["target"]) for one in series.values()) == 72_339
    total, coal = series["PAYNSA"], series["CEU1021210001"]
    assert (total["start"], len(total["target"]), total["target"][-1]) == ("1939-01-01 00:00:00", 969, 151949)
    assert (coal["start"], len(coal["target"]), coal["target"][0]) == ("1985-01-01 00:00:00", 417, 169.6)
    assert series["CEU1011330001"]["cat"] == coal["cat"] != series["TEMPHELPN"]["cat"] == series["CEU6000000001"]["cat"]
    plain = [json.loads(line) for line in demo_data.employment().splitlines()]
    assert plain[0] == {name: series[plain[0]["item_id"]][name] for name in ("item_id", "start", "target")}


def test_command_writes_all_files(tmp_path: Path) -> None:
    assert demo_data.main([str(tmp_path / "demo")]) == 0
    assert (tmp_path / "demo" / "used-cars.csv").read_bytes() == demo_data.used_cars()
    assert (tmp_path / "demo" / "mammography.csv").read_bytes() == demo_data.mammography()
    assert (tmp_path / "demo" / "penguins.csv").read_bytes() == demo_data.penguins()
    assert (tmp_path / "demo" / "employment.json").read_bytes() == demo_data.employment(sectors=True)
    assert demo_data.main([]) == 2
    assert demo_data.main(["--help"]) == 2


def test_missing_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_data, "PACKAGES", tmp_path)
    with pytest.raises(FileNotFoundError, match="make install"):
        demo_data.used_cars()
