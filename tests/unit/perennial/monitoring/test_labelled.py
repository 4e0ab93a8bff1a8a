"""Captured records with labels as rows that train: as their callers sent them, and only what model.yaml allows."""

from dataclasses import replace
from pathlib import Path

import pytest

from perennial.model import definition
from perennial.monitoring import labelled
from tests.monitored import MODEL, World, cars

KEYED = MODEL.replace("split: {method: random}", "split: {method: random, key: [vin]}")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, KEYED)


def rows(world: World) -> list[str]:
    return (world.folder / "output/labelled/rows.csv").read_text().splitlines()


def test_a_window_that_has_drifted_leaves_its_labelled_records_as_rows_of_the_model(world: World) -> None:
    sold = [replace(car, price=car.price * 1.4) for car in cars(300, 2)]
    world.send(sold)
    world.label(200)
    verdict = world.judge()
    assert (verdict["verdict"], verdict["labelled_rows"]) == ("Drift", 200)
    header, *lines = rows(world)
    assert header == "price,mileage,doors,leather,make,vin"
    assert len(lines) == 200
    (identifier, car) = world.sent[0]
    leather = str(car.fields[2])
    assert f"{car.price},{car.fields[0]},{car.fields[1]},{leather.lower()},{car.fields[3]},{identifier}" in [
        line.replace("True", "true").replace("False", "false") for line in lines
    ]
    lineage = world.read("labelled/lineage.json")
    assert (lineage["rows"], lineage["endpoint"]) == (200, "cars")
    assert lineage["window"] == verdict["window"]


def test_the_same_window_gives_the_same_bytes(world: World) -> None:
    world.send(cars(300, 2), lambda car: replace(car, price=car.price * 1.4))
    world.label()
    world.judge()
    first = rows(world)
    world.judge()
    assert rows(world) == first


def test_what_model_yaml_does_not_allow_trains_nobody(world: World) -> None:
    spoilt = [replace(car, fields=(-5.0, *car.fields[1:])) for car in cars(2, 3)]
    world.send([*spoilt, *cars(300, 2)], lambda car: replace(car, price=car.price * 1.4))
    world.label()
    verdict = world.judge()
    assert (verdict["labelled_rows"], verdict["labelled_rows_not_allowed"]) == (300, 2)
    assert not any(",-5.0," in line for line in rows(world))


def test_without_a_key_nothing_becomes_data_and_the_verdict_says_what_would_help(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.send(cars(300, 2), lambda car: replace(car, price=car.price * 1.4))
    world.label()
    verdict = world.judge()
    assert (verdict["verdict"], verdict["labelled_rows"]) == ("Drift", 0)
    assert "split.key" in verdict["no_labelled_rows"]
    assert not (tmp_path / "output/labelled").exists()


def test_without_labels_there_is_nothing_to_learn_from(world: World) -> None:
    world.send(cars(300, 2), lambda car: replace(car, fields=(car.fields[0] + 20_000, *car.fields[1:])))
    verdict = world.judge()
    assert (verdict["verdict"], verdict["labelled_rows"]) == ("Drift", 0)
    assert "send labels below ground-truth/" in verdict["no_labelled_rows"]


def test_a_healthy_window_leaves_no_rows(world: World) -> None:
    world.send(cars(300, 2))
    world.label()
    assert "labelled_rows" not in world.judge()
    assert not (world.folder / "output/labelled").exists()


def test_a_column_that_no_request_says_is_named() -> None:
    model = KEYED.replace("vin: {", "seller: {type: string, feature: false}\n  vin: {")
    assert "'seller'" in str(labelled.why_not(definition.parse(model, "model.yaml").as_json()))
    nullable = model.replace("seller: {type: string,", "seller: {type: string, nullable: true,")
    assert labelled.why_not(definition.parse(nullable, "model.yaml").as_json()) is None
    dated = KEYED.replace("vin: {", "sold_on: {type: timestamp, feature: false}\n  vin: {")
    assert labelled.why_not(definition.parse(dated, "model.yaml").as_json()) is None
