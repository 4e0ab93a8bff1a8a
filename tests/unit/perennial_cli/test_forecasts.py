"""`perennial predict` of a forecasting: series are checked and asked about, and forecasts shown with their bands."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perennial.model import definition
from perennial_cli import forecasts
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.unit.conftest import BUCKET, FakeAws

CODE = "0123456789abcdef"
MODEL = """
problem: forecasting
target: sold
columns:
  shop: {type: string, feature: false}
  month: {type: timestamp, feature: false}
  sold: {type: float, unit: t, min: 0}
  town: {type: string, categories: [Oslo, Rome]}
  days: {type: integer, max: 31}
series: {key: shop, time: month, frequency: M, context_length: 12, prediction_length: 2}
algorithm: deepar
gate: {metric: mean_wql, threshold: 0.2}
"""
SHOP = {"item_id": "oslo-1", "start": "2020-01-01 00:00:00", "target": [1, None, 3], "cat": [0]}
SHOP |= {"dynamic_feat": [[20, 21, 22, 23, 24]]}


@pytest.fixture
def endpoint(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, answers: Callable[..., list[Any]]) -> list[Any]:
    """An endpoint that forecasts 1,000 and 2,000 with quantiles around."""
    outputs = {"BucketName": BUCKET, "CodeUri": f"s3://{BUCKET}/code/{CODE}", "EndpointName": "shops"}
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: Stack("shops", outputs, {"ModelName": "shops"}))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("models/shops/model.yaml", MODEL)
    aws.put(f"code/{CODE}/code.zip", packed.getvalue())
    quantiles = {f"0.{tenth}": [1000 + 100 * (tenth - 5), 2000 + 100 * (tenth - 5)] for tenth in range(1, 10)}
    answer = {"predictions": [{"mean": [1000, 2000], "quantiles": quantiles}]}
    return answers("sagemaker-runtime", "InvokeEndpoint", (200, answer))


def test_a_series_is_shown_with_its_band(endpoint: list[Any]) -> None:
    ended = perennial("predict", json.dumps(SHOP))
    assert ended.exit_code == 0, ended.stderr
    first, names, *rows = ended.stdout.splitlines()
    assert first == "oslo-1: sold, t, with the band of four in five values"
    assert names.split() == ["period", "p10", "median", "p90"]
    assert [row.split() for row in rows] == [
        ["2020-04-01", "600", "1,000", "1,400"],
        ["2020-05-01", "1,600", "2,000", "2,400"],
    ]
    asked = json.loads(endpoint[0].body)
    assert asked["instances"] == [{name: value for name, value in SHOP.items() if name != "item_id"}]


def test_a_missing_value_is_asked_about_as_json_has_it(endpoint: list[Any]) -> None:
    assert perennial("predict", json.dumps({**SHOP, "target": [1, float("nan"), "NaN"]})).exit_code == 0
    assert json.loads(endpoint[0].body)["instances"][0]["target"] == [1, None, None]


def test_a_damaged_file_of_series_is_told_for_what_it_is(endpoint: list[Any], tmp_path: Path) -> None:
    (tmp_path / "shops.json.gz").write_bytes(gzip.compress(json.dumps(SHOP).encode())[:-9])
    ended = perennial("predict", tmp_path / "shops.json.gz")
    assert (ended.exit_code, ended.stdout, endpoint) == (1, "", [])
    assert "shops.json.gz: the gzip data are damaged or cut off" in " ".join(ended.stderr.split())


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["text", "gzip"])
def test_series_are_read_from_standard_input_as_records_are(endpoint: list[Any], pack: Any) -> None:
    ended = perennial("predict", "-", typed=pack(json.dumps(SHOP, indent=2 if pack is bytes else None).encode()))
    assert ended.exit_code == 0, ended.stderr
    assert [row.split(",")[:2] for row in ended.stdout.splitlines()[1:]] == [["1", "oslo-1"], ["1", "oslo-1"]]


def test_series_of_a_file_are_answered_as_a_table_of_periods(endpoint: list[Any], tmp_path: Path) -> None:
    lines = f"{json.dumps(SHOP)}\n{json.dumps({**SHOP, 'item_id': 'rome-1', 'cat': ['Rome']})}\n"
    (tmp_path / "shops.json.gz").write_bytes(gzip.compress(lines.encode()))
    ended = perennial("predict", tmp_path / "shops.json.gz")
    assert ended.exit_code == 0, ended.stderr
    header, *rows = ended.stdout.splitlines()
    assert header == "row,item_id,period,mean,p10,p20,p30,p40,p50,p60,p70,p80,p90"
    assert [row.split(",")[:4] for row in rows] == [
        ["1", "oslo-1", "2020-04-01 00:00:00", "1000.0"],
        ["1", "oslo-1", "2020-05-01 00:00:00", "2000.0"],
        ["2", "rome-1", "2020-04-01 00:00:00", "1000.0"],
        ["2", "rome-1", "2020-05-01 00:00:00", "2000.0"],
    ]
    assert json.loads(endpoint[1].body)["instances"][0]["cat"] == [1]


TABLE = """shop,month,sold,town,days
rome-1,2020-02-01,5,Rome,20
oslo-1,2020-01-01,1,Oslo,20
oslo-1,2020-03-01,3,Oslo,22
oslo-1,2020-04-01,,Oslo,23
oslo-1,2020-05-01,,Oslo,24
"""


def test_the_table_that_a_model_was_made_of_is_asked_about_by_its_series(endpoint: list[Any], tmp_path: Path) -> None:
    """A month without a row has no value, and the numbers of the one before; those of the months ahead have rows."""
    (tmp_path / "shops.csv").write_text(f"{TABLE}rome-1,2020-03-01,,Rome,21\nrome-1,2020-04-01,,Rome,22\n")
    ended = perennial("predict", tmp_path / "shops.csv")
    assert ended.exit_code == 0, ended.stderr
    rows = [line.split(",") for line in ended.stdout.splitlines()]
    assert [row[:4] for row in rows[1:]] == [
        ["2", "rome-1", "2020-03-01 00:00:00", "1000.0"],
        ["2", "rome-1", "2020-04-01 00:00:00", "2000.0"],
        ["3", "oslo-1", "2020-04-01 00:00:00", "1000.0"],
        ["3", "oslo-1", "2020-05-01 00:00:00", "2000.0"],
    ]
    oslo = json.loads(endpoint[1].body)["instances"]
    asked = {**SHOP, "dynamic_feat": [[20, 20, 22, 23, 24]]}
    assert oslo == [{name: value for name, value in asked.items() if name != "item_id"}]


def test_series_of_a_table_that_cannot_be_asked_about_and_broken_rows_are_named(
    endpoint: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "shops.csv").write_text(
        f"{TABLE}oslo-1,2020-02-01,-4,Oslo,21\nrome-2,2020-03-01,,Rome,21\noslo-1,9020-05-01,9,Oslo,20\n"
    )
    ended = perennial("predict", tmp_path / "shops.csv", "--json")
    answers = json.loads(ended.stdout)
    assert (ended.exit_code, [one["row"] for one in answers], len(endpoint)) == (1, [2, 3, 7, 8, 9], 1)
    assert [one["error"] for one in answers if "error" in one] == [
        "series 'rome-1' has no row that says days of 2020-03-01 00:00:00; "
        "expected a row for each of the 2 periods after its last sold, with no sold",
        "sold: '-4' is below the minimum 0",
        "series 'rome-2' has no value of sold; a forecast needs what came before",
        "month: is after now, so that nobody can know its sold",
    ]
    assert json.loads(endpoint[0].body)["instances"][0]["target"] == [1, None, 3]


def test_series_of_a_table_may_be_named_by_numbers() -> None:
    numbered = definition.parse(MODEL.replace("shop: {type: string", "shop: {type: integer"), "model.yaml")
    rows = [f"7,2020-0{month}-01,{value},Oslo,20" for month, value in ((1, 5), (2, 6), (3, ""), (4, ""))]
    (asked,) = forecasts.questions("\n".join(["shop,month,sold,town,days", *rows]).encode(), numbered, [], "shops.csv")
    assert (asked.name, asked.problems, asked.instance["target"]) == ("7", (), [5, 6])


def test_a_table_of_other_columns_is_no_question(endpoint: list[Any], tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("shop,town,Jan 2020,Feb 2020\noslo-1,Oslo,1,2\n")
    ended = perennial("predict", tmp_path / "wide.csv")
    assert (ended.exit_code, ended.stdout, endpoint) == (1, "", [])
    assert "wide.csv: column 'month' is missing; column 'sold' is missing; column 'days' is missing" in " ".join(
        ended.stderr.split()
    )


def test_a_forecast_for_machines_names_its_quantiles(endpoint: list[Any]) -> None:
    (said,) = json.loads(perennial("predict", json.dumps(SHOP), "--json").stdout)
    assert (said["item_id"], said["period"][0], said["p90"]) == ("oslo-1", "2020-04-01 00:00:00", [1400, 2400])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start": "2020-01-15 00:00:00"}, "start '2020-01-15 00:00:00' is not the begin of a month"),
        ({"cat": [2]}, "cat 2 is no category of town, which has 2 from 0"),
        ({"cat": ["Bonn"]}, "town: 'Bonn' is not one of the allowed categories"),
        ({"start": None}, "start is missing"),
        ({"target": [1, True, 3]}, "target: 'True' is not a number"),
        ({"target": [1, -2, 3]}, "sold: '-2' is below the minimum 0"),
        ({"dynamic_feat": [[20, 21, 22, 23, 32]]}, "days: '32' is above the maximum 31"),
        ({"dynamic_feat": [[20, 21, 22]]}, "has 3 values, and target and the periods ahead have together 5"),
        ({"dynamic_feat": [[20, 21, 22, 23, None]]}, "days: is missing; only the target may miss some"),
        ({"target": [1, 2, 10**400]}, "target: '1000000000000000000000000000000000000...' is not a number up to"),
        ({"target": [1, 2, "3"]}, "target: '3' is not a number"),
        ({"item_id": ["oslo-1"]}, "item_id is '['oslo-1']', expected one value of all its rows"),
    ],
)
def test_a_series_that_breaks_the_definition_is_named_and_not_asked_about(
    endpoint: list[Any], wrong: dict[str, Any], told: str
) -> None:
    ended = perennial("predict", "-", typed=f"{json.dumps({**SHOP, **wrong})}\n")
    assert ended.exit_code == 1
    assert "row 1 is not asked about: " in ended.stderr
    assert told in " ".join(ended.stderr.split())
    assert endpoint == []


def test_a_forecast_is_not_explained(endpoint: list[Any]) -> None:
    ended = perennial("predict", json.dumps(SHOP), "--explain")
    assert ended.exit_code == 2
    assert "a forecast is not explained" in ended.stderr


def test_try_says_what_last_season_again_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/shops").mkdir(parents=True)
    (tmp_path / "models/shops/model.yaml").write_text(MODEL)
    shops = [{**SHOP, "item_id": f"oslo-{number}", "target": [*range(1, 121)]} for number in range(3)]
    shops = [{**one, "start": "2010-01-01", "dynamic_feat": [[20] * 120]} for one in shops]
    shops.append({**SHOP, "item_id": "oslo-3", "start": "9090-01-01", "target": [1], "dynamic_feat": [[20]]})
    (tmp_path / "shops.json").write_text("".join(f"{json.dumps(one)}\n" for one in shops))
    ended = perennial("try", "shops", "--file", tmp_path / "shops.json")
    assert ended.exit_code == 0, ended.stderr
    assert "sets      train 348, validation 6, test 6, none 1" in ended.stdout
    words = " ".join(ended.stderr.split())
    assert "DeepAR is not trained here; last season again reaches mean_wql 0.1004 (6 values that test)" in words
    assert "orders of magnitude" not in words
    assert "1 row dated after now (month, the latest 9090-01-01T00:00:00): look at their times" in words


def test_what_forecasts_rest_on_is_not_analyzed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/shops").mkdir(parents=True)
    (tmp_path / "models/shops/model.yaml").write_text(MODEL)
    (tmp_path / "shops.json").write_text(json.dumps(SHOP))
    ended = perennial("analyze", "shops", "--file", tmp_path / "shops.json")
    assert ended.exit_code == 1
    assert "a forecasting has no outcomes of groups" in ended.stderr
