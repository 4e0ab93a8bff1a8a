"""Preprocessing of feature groups: the files that the local feature store writes become rows of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pytest

from localcloud.sagemaker.features import offline, values
from perennial.data.copies import copy_name
from perennial.features.values import DataError
from perennial.model import definition
from processing import preprocess

MODEL = """
problem: regression
target: price
columns:
  price: {type: float}
  miles: {type: integer}
  leather: {type: boolean}
  income: {type: float, nullable: true}
  sale: {type: string, feature: false}
  sold: {type: timestamp, feature: false}
split: {method: random, key: [sale]}
quality: {min_rows: 10}
gate: {metric: rmse, threshold: 3000}
feature_store:
  groups:
    sales: {record: sale, event_time: sold}
    owners: {record: owner, event_time: changed}
"""
TYPES = {
    "sales": {"sale": "String", "sold": "String", "owner": "Integral", "price": "Fractional", "miles": "Integral",
              "leather": "Integral"},
    "owners": {"owner": "Integral", "changed": "Fractional", "income": "Fractional"},
}  # fmt: skip
TIMES = {"sales": "sold", "owners": "changed"}


class Job:
    """A run's data, and its preprocessing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, list[dict[str, str]]()
        (folder / "data").mkdir()

    def put(self, group: str, *records: dict[str, Any]) -> None:
        """Write a file as the offline store does."""
        features = [{"FeatureName": name, "FeatureType": kind} for name, kind in TYPES[group].items()]
        described = {"FeatureGroupName": group, "FeatureDefinitions": features, "EventTimeFeatureName": TIMES[group]}
        entries = [
            {
                "Features": {name: str(value) for name, value in record.items()},
                "Event": values.event_time(described, str(record[TIMES[group]])),
                "Invoked": 1_764_500_000.0,
                "Deleted": False,
            }
            for record in records
        ]
        hour = "year=2025/month=11/day=29/hour=10"
        key = f"raw/1/sagemaker/r/offline-store/{group}-17/data/{hour}/{len(self.files)}.parquet"
        self.files.append({"Key": key, "VersionId": "v", "ETag": str(len(self.files))})
        offline.write_parquet(described, entries, 1_764_500_000.0, self.folder / "data" / copy_name(self.files[-1]))

    def run(self, model: str = MODEL) -> dict[str, Any]:
        config = {
            "model": "cars", "definition": definition.parse(model, "model.yaml").as_json(), "trigger": "Manual",
            "data": {"files": self.files},
        }  # fmt: skip
        preprocess.run(config, self.folder / "data", self.folder / "output")
        report: dict[str, Any] = json.loads((self.folder / "output/report/report.json").read_text())
        return report


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def sale(number: int, miles: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "sale": f"s{number}", "sold": f"2025-11-29T10:{minute:02}:00Z", "owner": number % 3, "price": 100.0 + number,
        "miles": miles, "leather": number % 2, **more,
    }  # fmt: skip


def test_records_of_groups_are_the_rows_that_train(job: Job) -> None:
    ten = 1_764_410_400  # 2025-11-29T10:00:00Z
    job.put("sales", *(sale(number, 1) for number in range(60)))
    job.put(
        "owners", {"owner": 0, "changed": ten - 60, "income": 10.0}, {"owner": 1, "changed": ten + 60, "income": 99.0}
    )
    job.put("sales", *(sale(number, 2, minute=30) for number in range(50, 70)))  # ten of them known before
    report = job.run()
    assert report["rows"] == {"read": 70, "used": 70, "quarantined": 0, "written_to_quarantine": 0}
    assert [(file["rows"], "offline-store" in file["name"]) for file in report["files"]] == [
        (50, True),
        (0, True),
        (20, True),
    ]
    trained = pa_csv.read_csv(job.folder / "output/baseline/part-00000.csv").to_pylist()
    assert len(trained) == report["sets"]["train"]
    for row in trained:
        number = int(row["price"]) - 100
        assert row["miles"] == (2 if number >= 50 else 1)
        assert row["leather"] == number % 2
        # Owner 0 earned it before every sale, owner 1 between the first and the others; of owner 2 nothing is known.
        assert row["income"] == (10.0 if number % 3 == 0 else 99.0 if number % 3 == 1 and number >= 50 else None)


def test_records_after_as_of_do_not_count(job: Job) -> None:
    job.put("sales", *(sale(number, 1) for number in range(60)))
    job.put("sales", *(sale(number, 2, minute=30) for number in range(50, 70)))  # ten of them known before
    report = job.run(f"{MODEL}  as_of: 2025-11-29T10:15:00Z\n")
    assert report["rows"]["used"] == 60
    trained = pa_csv.read_csv(job.folder / "output/baseline/part-00000.csv").to_pylist()
    assert len(trained) == report["sets"]["train"]
    assert {row["miles"] for row in trained} == {1}


def test_a_file_that_is_not_its_groups_ends_the_job(job: Job) -> None:
    job.put("sales", *(sale(number, 1) for number in range(60)))
    (job.folder / "data" / copy_name(job.files[0])).write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="the Parquet data are damaged or cut off"):
        job.run()
