"""Labelled requests as rows that train: what callers sent, each key once, and only what the contract allows."""

import csv
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perennial.data.contract import Contract, check
from perennial.data.csv_files import Batch
from perennial.data.files import read
from perennial.model import definition
from perennial.monitoring import labelled
from perennial.monitoring.capture import Event, Payload, Tally
from perennial.monitoring.ground_truth import Joined, Requests
from perennial.monitoring.labelled import NO_KEY, NO_LABELS, LabelledRows

MODEL = """
problem: regression
target: price
columns:
  price: {type: float, unit: USD, min: 0}
  mileage: {type: float, source: [Miles], min: 0}
  doors: {type: integer, nullable: true}
  leather: {type: boolean}
  make: {type: string}
  sale: {type: string, source: [SaleId], feature: false}
  sold_on: {type: timestamp, feature: false, nullable: true}
split: {method: random, key: [sale]}
gate: {metric: rmse, threshold: 3500}
"""
NAMES = ["price", "mileage", "doors", "leather", "make", "sale", "sold_on"]
START = datetime(2026, 11, 29, 10)  # noqa: DTZ001 - UTC
Asked = tuple[str, str, str]  # inference id, media type, body


def asked(identifier: str, body: str | dict[str, Any]) -> Asked:
    return (
        (identifier, "text/csv", body) if isinstance(body, str) else (identifier, "application/json", json.dumps(body))
    )


def document(model: str = MODEL) -> dict[str, Any]:
    return definition.parse(model, "model.yaml").as_json()


def written(
    path: Path, requests: Sequence[Asked], labels: Sequence[float | None], model: str = MODEL
) -> tuple[int, Tally]:
    """Write the requests that have labels, which came second after second: (how many rows, what was counted)."""
    known, events = Requests(), []
    for second, (identifier, kind, body) in enumerate(requests):
        known.add(identifier or f"event-{second}", 1.0)
        time = START + timedelta(seconds=second)
        events.append(Event(identifier or f"event-{second}", time, Payload(body, kind), None, identifier))
    tally, values = Tally(), np.array(labels, np.float64)
    joined = Joined(*known.sort(), values, known.scores)
    return LabelledRows(document(model), joined, tally).write(events, path), tally


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def trained_on(path: Path, model: str = MODEL) -> list[dict[str, Any]]:
    """The rows as a run reads them."""
    contract = Contract.from_definition(document(model))
    tables: list[pa.Table] = []
    batches: list[Batch] = list(read(path, contract.columns, path.name, contract.form, []))
    for batch in batches:
        checked = check(contract, batch.table)
        assert not checked.violations
        tables.append(checked.table)
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labelled" / "window.csv"


def test_a_row_has_the_definitions_names_the_callers_values_and_the_label(path: Path) -> None:
    requests = [
        asked("s-1", "20000,4,true,Buick"),
        asked("s-2", {"Miles": 1234.5, "doors": None, "leather": False, "make": 'Land, "Rover"\nII'}),
        asked("s-3", "mileage,make,leather,sale,sold_on\n7,Saab,1,own,2026-11-01\n"),
    ]
    assert written(path, requests, [17250.0, 9000.5, 1.0])[0] == 3
    assert list(rows(path)[0]) == NAMES
    assert [list(row.values()) for row in rows(path)] == [
        ["17250", "20000", "4", "true", "Buick", "s-1", ""],
        ["9000.5", "1234.5", "", "false", 'Land, "Rover"\nII', "s-2", ""],
        ["1", "7", "", "1", "Saab", "own", "2026-11-01"],
    ]
    assert [(row["sale"], row["price"], row["mileage"], row["make"]) for row in trained_on(path)] == [
        ("s-1", 17250.0, 20000.0, "Buick"), ("s-2", 9000.5, 1234.5, 'Land, "Rover"\nII'), ("own", 1.0, 7.0, "Saab"),
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["files: {encoding: cp1252, delimiter: ;, decimal: ','}", "other_columns: ignore"])
def test_a_file_is_read_back_whatever_form_files_have(path: Path, line: str) -> None:
    model = MODEL + line + "\n"
    requests = [asked("s-é", {"mileage": 0.5, "leather": True, "make": "Citroën"})]
    assert written(path, requests, [1.25], model)[0] == 1
    (row,) = trained_on(path, model)
    assert (row["sale"], row["price"], row["mileage"], row["make"]) == ("s-é", 1.25, 0.5, "Citroën")


def test_units_that_callers_write_are_those_that_the_contract_reads(path: Path) -> None:
    model = MODEL.replace("source: [Miles], ", "parse: {units: {miles: 1, km: 0.5}}, ")
    assert written(path, [asked("s-1", "20000 km,4,true,Buick")], [1.0], model)[0] == 1
    assert rows(path)[0]["mileage"] == "20000 km"
    assert trained_on(path, model)[0]["mileage"] == 10_000


def test_labels_of_other_types_are_written_as_the_target_is_read(path: Path) -> None:
    whole = MODEL.replace("price: {type: float, unit: USD, min: 0}", "price: {type: integer}")
    assert written(path, [asked("s-1", "1,4,true,Buick")], [3.0], whole)[0] == 1
    assert trained_on(path, whole)[0]["price"] == 3
    binary = whole.replace("regression", "binary_classification").replace("type: integer}\n  m", "type: boolean}\n  m")
    binary = binary.replace("rmse, threshold: 3500", "auc, threshold: 0.5")
    assert written(path, [asked("s-1", "1,4,true,Buick")], [1.0], binary)[0] == 1
    assert trained_on(path, binary)[0]["price"] is True


def test_a_label_of_several_classes_is_written_as_the_class_of_its_number(path: Path) -> None:
    classes = MODEL.replace("regression", "multiclass_classification").replace(
        "rmse, threshold: 3500", "accuracy, threshold: 0.5"
    )
    classes = classes.replace(
        "price: {type: float, unit: USD, min: 0}", "price: {type: string, categories: [low, fair, high]}"
    )
    requests = [asked(f"s-{number}", "1,4,true,Buick") for number in range(3)]
    assert written(path, requests, [2.0, 0.0, 1.0], classes)[0] == 3
    assert [row["price"] for row in rows(path)] == ["high", "low", "fair"]
    assert [row["price"] for row in trained_on(path, classes)] == ["high", "low", "fair"]


def test_a_date_that_every_row_needs_is_the_time_of_a_request_that_says_none(path: Path) -> None:
    dated = MODEL.replace("feature: false, nullable: true}", "feature: false}")
    own = {"mileage": 1, "leather": True, "make": "Saab", "sold_on": "2026-11-01"}
    assert written(path, [asked("s-0", "1,4,true,Buick"), asked("s-1", own)], [1.0, 2.0], dated)[0] == 2
    assert [row["sold_on"] for row in rows(path)] == ["2026-11-29T10:00:00", "2026-11-01"]
    assert len(trained_on(path, dated)) == 2


def test_records_without_a_label_are_not_written(path: Path) -> None:
    assert written(path, [asked("s-1", "1,4,true,Buick"), asked("s-2", "2,4,true,Buick")], [None, 5.0])[0] == 1
    assert [row["sale"] for row in rows(path)] == ["s-2"]


def test_a_record_that_breaks_the_contract_is_counted_with_the_reason(path: Path) -> None:
    requests = [asked("s-1", "-1,4,true,Buick"), asked("s-2", {"mileage": 1, "leather": None, "make": "Saab"})]
    count, tally = written(path, [*requests, asked("s-3", "1,2,false,Saab")], [1.0, 2.0, 3.0])
    assert (count, tally.counts["against_contract"]) == (1, 2)
    assert tally.examples == ["mileage: expected at least 0", "leather: expected a value"]


@pytest.mark.parametrize("key", [None, "", "field"])
def test_a_record_that_nothing_tells_from_others_does_not_train(path: Path, key: str | None) -> None:
    """An event id is SageMaker's own: the same sale would come again under another one."""
    body = {"mileage": 1, "leather": True, "make": "Saab", "sale": key}
    count, tally = written(path, [asked("", body)], [1.0])
    assert count == (key == "field")
    assert tally.counts["without_key"] == 1 - count
    assert path.exists() == bool(count)


def test_of_records_with_one_key_the_last_one_counts(path: Path) -> None:
    """Whatever told the key, and whatever broke the contract after it."""
    own = {"mileage": 2, "leather": True, "make": "Saab", "sale": " s-1"}
    first, broken = asked("s-1", "1,4,true,Buick"), asked("s-1", "-1,4,true,Buick")
    requests = [first, asked("x", own), asked("s-2", "3,4,true,Buick"), broken]
    count, tally = written(path, requests, [10.0, 20.0, 30.0, 10.0])
    assert (count, tally.counts["replaced"], tally.counts["against_contract"]) == (2, 1, 1)
    assert [(row["sale"].strip(), row["price"]) for row in rows(path)] == [("s-1", "20"), ("s-2", "30")]


def test_rows_pass_in_batches_and_are_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [asked(f"s-{number % 40}", f"{number},4,true,Buick") for number in range(100)]
    assert written(path, requests, [1.0] * 100)[0] == 40
    whole = path.read_bytes()
    monkeypatch.setattr(labelled, "BATCH", 7)
    monkeypatch.setattr(labelled, "AT_ONCE", 3)
    written(path, requests, [1.0] * 100)
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


def test_why_there_are_none_is_said() -> None:
    none, some = (Joined(*Requests().sort(), np.zeros(count), np.zeros(count)) for count in (0, 1))
    assert labelled.why_none(document(), some) == ""
    assert labelled.why_none(document(), none) == NO_LABELS
    for key in ("", ", key: [sale, make]"):
        assert labelled.why_none(document(MODEL.replace(", key: [sale]", key)), some) == NO_KEY
