"""Rows of dropped files as records: what keeps the contract, as the same columns read it back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.data import records
from perennial.data.contract import Contract
from perennial.data.header import FileError
from perennial.model import definition

MODEL = """
problem: regression
target: price
columns:
  price: {type: float, min: 1}
  miles: {type: integer, source: [Miles], nullable: true}
  weight: {type: float, nullable: true, parse: {units: {lb: 0.45}, decimal: ","}}
  leather: {type: boolean, nullable: true}
  sound: {type: boolean, nullable: true, parse: {"true": ["fitted"], "false": ["none"]}}
  colour: {type: string, nullable: true}
  sale: {type: string, feature: false, source: [sale_id]}
other_columns: ignore
split: {method: random, key: [sale]}
gate: {metric: rmse, threshold: 3000}
"""
CONTRACT = Contract.from_definition(definition.parse(MODEL, "model.yaml").as_json())
DROPPED = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)


def of(path: Path, features: Collection[str] | None = None) -> list[tuple[int, dict[str, str]]]:
    group = records.RecordGroup("sale_id", "sold", features)
    return [(number, {**row}) for number, row in records.records(path, "sales.csv", CONTRACT, group, DROPPED)]


def csv(folder: Path, text: str) -> Path:
    path = folder / "sales.csv"
    path.write_text(text)
    return path


def test_rows_that_keep_the_contract_are_records_and_the_others_none(tmp_path: Path) -> None:
    text = (
        "sale_id,sold,price,Miles,weight,leather,colour\n"
        's1,2026-11-29T10:00:00+01:00,17250.0,7.0,"1200,5 lb",yes,red\n'
        "s2,2026-11-29T10:00:00Z,0.5,7,,,\n"  # too cheap
        "s3,2026-11-29T10:00:00Z,2,many,,,\n"
        ",2026-11-29T10:00:00Z,2,7,,,\n"
        "s4,,1e3,,,n/a,\n"
    )
    first = {"sale_id": "s1", "price": "17250", "miles": "7", "weight": "540,225", "leather": "1", "colour": "red"}
    last = {"sale_id": "s4", "price": "1000"}
    assert of(csv(tmp_path, text)) == [
        (2, {**first, "sold": "2026-11-29T09:00:00.000Z"}),
        (6, {**last, "sold": "2026-11-30T09:00:00Z"}),  # of the time of the drop
    ]


def test_what_is_read_back_is_what_the_file_says(tmp_path: Path) -> None:
    text = 'sale_id,sold,price,Miles,weight,leather,colour\ns1,2026-11-29,17.5,7,"1200,5 lb",no, deep red \n'
    ((_, row),) = of(csv(tmp_path, text))
    again = csv(tmp_path, ",".join(row) + "\n" + ",".join(f'"{value}"' for value in row.values()) + "\n")
    assert [record for _, record in of(again)] == [row]


def test_a_parquet_file_gives_the_same_records(tmp_path: Path) -> None:
    sold = [datetime(2026, 11, 29, 10, 15, 0, 250_000, UTC), None]
    table = {"sale_id": [1, 2], "sold": sold, "price": [17.5, 2.0], "leather": [True, False], "miles": [None, 3]}
    pq.write_table(pa.table(table), tmp_path / "sales.parquet")
    assert of(tmp_path / "sales.parquet") == [
        (1, {"sale_id": "1", "sold": "2026-11-29T10:15:00.250Z", "price": "17.5", "leather": "1"}),
        (2, {"sale_id": "2", "sold": "2026-11-30T09:00:00Z", "price": "2", "leather": "0", "miles": "3"}),
    ]


def test_json_lines_give_the_same_records(tmp_path: Path) -> None:
    lines = [
        '{"sale_id": "s1", "sold": "2026-11-29T10:00:00Z", "price": 17.5, "weight": "1200,5 lb", "leather": true}',
        '{"sale_id": "s2", "price": 2, "weight": 1200.5, "leather": false, "sound": "fitted", "colour": null}',
        '{"sale_id": "s3", "price": "free"}',
    ]
    assert of(csv(tmp_path, "\n".join(lines))) == [
        (
            1,
            {
                "sale_id": "s1",
                "sold": "2026-11-29T10:00:00.000Z",
                "price": "17.5",
                "weight": "540,225",
                "leather": "1",
            },
        ),
        (
            2,
            {
                "sale_id": "s2",
                "sold": "2026-11-30T09:00:00Z",
                "price": "2",
                "weight": "1200,5",
                "leather": "0",
                "sound": "fitted",
            },
        ),
    ]


def test_features_are_called_as_the_group_calls_them_and_one_that_it_lacks_is_told(tmp_path: Path) -> None:
    path = csv(tmp_path, "sale_id,sold,price,Miles\ns1,2026-11-29,17.5,7\n")
    ((_, row),) = of(path, ["sale_id", "sold", "price", "Miles"])
    assert row["Miles"] == "7"
    with pytest.raises(FileError, match=r"^sales.csv: the feature group has no feature 'miles'; it has sale_id, sold"):
        of(path, ["sale_id", "sold", "price"])


def test_a_time_that_is_none_is_told_with_its_row(tmp_path: Path) -> None:
    path = csv(tmp_path, "sale_id,sold,price\ns1,2026-11-29,0\ns2,yesterday,17.5\n")
    with pytest.raises(FileError, match=r"^sales.csv, row 3: sold is no time of an event; expected ISO 8601 in UTC"):
        of(path)


def test_a_group_that_is_made_has_a_feature_for_each_column() -> None:
    made: list[dict[str, Any]] = records.definitions(CONTRACT, records.RecordGroup("sale_id", "sold"))
    assert {one["FeatureName"]: one["FeatureType"] for one in made} == {
        "price": "Fractional", "miles": "Integral", "weight": "String", "leather": "String",
        "sound": "String", "colour": "String",
        "sale_id": "String", "sold": "String",
    }  # fmt: skip
