"""What became of definition and data since the model in service was trained."""

from typing import Any

import pytest

from perennial.data.since import ChampionFiles, changed, rows_by_key

MANIFEST = {"Files": [{"Key": "raw/a.csv"}, {"Key": "raw/read me.txt"}, {"Key": "raw/b.csv"}]}
REPORT: dict[str, Any] = {
    "aside": [{"position": 1, "name": "raw/read me.txt", "reason": "no table"}],
    "files": [
        {"name": "raw/a.csv", "rows": 3400, "quarantined": 39},
        {"name": "raw/b.csv", "rows": 1500, "quarantined": 0},
    ],
}


def test_the_rows_of_each_file_that_a_run_has_used_are_those_of_its_report() -> None:
    assert rows_by_key(MANIFEST, REPORT) == {"raw/a.csv": 3361, "raw/b.csv": 1500}


def test_a_run_that_left_no_whole_report_has_no_rows() -> None:
    assert rows_by_key(MANIFEST, {}) == rows_by_key({}, REPORT) == {}


def test_a_file_is_there_put_aside_or_gone() -> None:
    rows = {"raw/a.csv": 1, "raw/b.csv": 20, "raw/c.csv": 300}
    ignored = {"raw/b.csv": "an empty object", "raw/x": "hidden"}
    found = ChampionFiles.among(rows, ["raw/new.csv", "raw/a.csv"], [0], ignored)
    assert found.there == {1: 1}
    assert found.unreadable == [{"name": "raw/b.csv", "rows": 20, "reason": "an empty object"}]
    assert (found.rows, found.gone) == (321, {"files": 1, "rows": 300})
    assert ChampionFiles.from_json(found.as_json()) == found


def test_what_a_run_puts_aside_is_unreadable_if_the_model_in_service_was_trained_on_it() -> None:
    found = ChampionFiles.among({"raw/a.csv": 1}, ["raw/new.csv", "raw/a.csv"], [0], {})
    aside = [{"position": number, "name": name, "reason": "no"} for number, name in enumerate(["raw/new", "raw/a"])]
    assert found.as_report(aside)["unreadable"] == [{"name": "raw/a", "rows": 1, "reason": "no"}]
    none = {"files": 0, "rows": 0}
    assert found.as_report([]) == {"rows": 1, "gone": none, "older": none, "replaced": none, "unreadable": []}


def test_a_file_that_is_only_too_old_for_the_window_is_neither_lost_nor_unreadable() -> None:
    ignored = {"raw/a.csv": "left out by training.window: older than the newest 1 files"}
    known = ChampionFiles.among({"raw/a.csv": 7, "raw/b.csv": 20}, ["raw/b.csv"], [], ignored, {"raw/a.csv"})
    assert (known.older, known.unreadable, known.gone["files"]) == ({"files": 1, "rows": 7}, [], 0)
    assert ChampionFiles.from_json(known.as_json()) == known
    assert known.as_report([])["older"] == {"files": 1, "rows": 7}


def test_a_file_that_was_overwritten_is_replaced_unless_it_cannot_be_read() -> None:
    found = ChampionFiles.among(
        {"raw/a.csv": 1, "raw/b.csv": 20, "raw/c.csv": 300}, ["raw/a.csv", "raw/b.csv"], [0, 1], {}
    )
    assert ChampionFiles.from_json(found.as_json()) == found
    assert found.as_report([])["replaced"] == {"files": 2, "rows": 21}
    told = found.as_report([{"position": 1, "name": "raw/b.csv", "reason": "no"}])
    assert (told["replaced"], told["unreadable"][0]["rows"]) == ({"files": 1, "rows": 1}, 20)


BEFORE: dict[str, Any] = {
    "description": "cars",
    "columns": {"x": {"type": "float", "max": 5, "parse": {"units": {"km": 1.0}}}, "y": {"type": "float"}},
    "split": {"seed": 42, "key": None},
    "hyperparameters": {"xgboost": {"eta": 0.1}},
    "instances": {"train": {"type": "ml.m5.large"}},
}


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({}, []),
        ({"split": {"seed": 43, "key": ["vin"]}}, ["split.seed", "split.key"]),
        ({"columns": {"x": {**BEFORE["columns"]["x"], "max": 9}, "y": {"type": "float"}}}, ["columns.x.max"]),
        ({"columns": {"z": {"type": "string"}, "y": {"type": "float"}}}, ["columns.z", "columns.x"]),
        (
            {"columns": {"x": {"type": "float", "max": 5, "parse": {"units": {"km": 1.0, "mi": 1.6}}}, "y": {}}},
            ["columns.x.parse.units.mi"],
        ),
        ({"hyperparameters": {"xgboost": {"eta": 0.1, "num_round": 9}}}, ["hyperparameters.xgboost.num_round"]),
        ({"description": "vans", "instances": {"train": {"type": "ml.m5.xlarge"}}}, []),
        ({"quality": {"max_drift": None}}, []),  # older code had no such key
    ],
)
def test_a_definition_that_says_otherwise_is_told_by_its_keys(change: dict[str, Any], paths: list[str]) -> None:
    assert changed(BEFORE, {**BEFORE, **change}) == paths
