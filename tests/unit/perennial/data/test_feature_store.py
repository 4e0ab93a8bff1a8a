"""Rows of feature groups: a constructed case of sales whose owners change, and what was known when."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.data import feature_store
from perennial.data.header import FileError

SECTION = {
    "groups": {
        "sales": {"record": "sale", "event_time": "sold"},
        "owners": {"record": "owner", "event_time": "changed"},
    },
    "as_of": None,
}
WANTED = {"sale", "price", "income", "city"}
FOLDER = "raw/000000000000/sagemaker/eu-west-1/offline-store"


class Lake:
    """Files of an offline store, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys, self.files = folder, list[str](), list[tuple[str, Path]]()

    def add(self, group: str, *rows: dict[str, Any], created: int = 1764000000) -> None:
        number = len(self.keys)
        self.keys.append(f"{FOLDER}/{group}-{created}/data/year=2026/month=11/day=29/hour=10/f{number}.parquet")
        path = self.folder / f"{number:05}.parquet"
        later = datetime(2026, 11, 30, tzinfo=UTC)
        pq.write_table(pa.Table.from_pylist([{"is_deleted": False, "write_time": later, **row} for row in rows]), path)
        self.files.append((f"f{number}", path))

    def read(self, **changes: Any) -> list[list[dict[str, Any]] | None]:
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        made = feature_store.rows(self.files, self.keys, {**SECTION, **changes}, WANTED, out)
        assert [name for name, _ in made] == [name for name, _ in self.files]
        return [None if path is None else pq.read_table(path).to_pylist() for _, path in made]

    def rows(self, **changes: Any) -> list[dict[str, Any]]:
        return [row for rows in self.read(**changes) for row in rows or ()]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def at(hour: int) -> str:
    return f"2026-11-29T{hour:02}:00:00Z"


def sale(name: str, hour: int, owner: str | None = "ada", price: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"sale": name, "sold": at(hour), "owner": owner, "price": price, **more}


def owner(name: str, hour: int, income: int | None, **more: Any) -> dict[str, Any]:
    return {"owner": name, "changed": at(hour), "income": income, **more}


def test_a_row_gets_what_was_known_at_its_event_and_nothing_of_the_future(lake: Lake) -> None:
    lake.add("owners", owner("ada", 9, 100), owner("ada", 12, 900), owner("bob", 11, 50))
    lake.add("sales", sale("before", 8), sale("between", 10), sale("the same time", 12), sale("after", 13))
    lake.add("sales", sale("too early", 10, "bob"), sale("late enough", 11, "bob"), sale("nobody", 11, None))
    lake.add("owners", owner("ada", 10, 200))  # comes late, and its event was at ten
    assert {row["sale"]: row["income"] for row in lake.rows()} == {
        "before": None, "between": 200, "the same time": 900, "after": 900,
        "too early": None, "late enough": 50, "nobody": None,
    }  # fmt: skip


def test_the_future_changes_nothing_of_the_past(lake: Lake) -> None:
    """Whatever comes with later events, rows of earlier ones are what they were."""
    random = np.random.default_rng(0)
    lake.add("owners", *(owner(f"o{random.integers(5)}", int(hour), int(income)) for hour, income in
                         zip(random.integers(0, 12, 200), random.integers(0, 99, 200), strict=True)))  # fmt: skip
    lake.add(
        "sales", *(sale(f"s{number}", int(random.integers(0, 12)), f"o{random.integers(5)}") for number in range(99))
    )
    before = lake.rows()
    lake.add("owners", *(owner(f"o{number}", 12 + number, 1_000) for number in range(5)))
    lake.add("sales", *(sale(f"t{number}", 12 + number, f"o{number}") for number in range(5)))
    after = lake.rows()
    assert after[: len(before)] == before
    assert [row["income"] for row in after[len(before) :]] == [1_000] * 5


def test_a_record_is_a_row_once_as_its_latest_event_says_however_it_came(lake: Lake) -> None:
    lake.add("sales", sale("a", 12, price=3.0), sale("b", 9))
    lake.add("sales", sale("a", 10, price=1.0))
    lake.add("sales", sale("b", 10, price=5.0), sale("c", 8))
    first, second, third = lake.read()
    assert [(row["sale"], row["price"]) for row in first or ()] == [("a", 3.0)]
    assert second is None  # its only record is superseded by one that came before it
    assert [(row["sale"], row["price"]) for row in third or ()] == [("b", 5.0), ("c", 1.0)]


def test_as_of_a_time_later_events_do_not_count(lake: Lake) -> None:
    lake.add("sales", sale("a", 9, price=1.0), sale("b", 11))
    lake.add("sales", sale("a", 12, price=2.0))
    lake.add("owners", owner("ada", 8, 10), owner("ada", 10, 20))
    assert lake.read(as_of=at(10)) == [[{"sale": "a", "price": 1.0, "income": 10}], None, None]


def test_a_deleted_record_is_no_row_and_gives_no_values(lake: Lake) -> None:
    lake.add("sales", sale("a", 9), sale("b", 9), sale("c", 11))
    lake.add("sales", {"sale": "a", "sold": at(10), "is_deleted": True})
    lake.add("sales", {"sale": "b", "sold": at(8), "is_deleted": True})  # before what came next
    lake.add("owners", owner("ada", 8, 10), {"owner": "ada", "changed": at(10), "is_deleted": True})
    assert {row["sale"]: row["income"] for row in lake.rows()} == {"b": 10, "c": None}


def test_of_events_of_one_time_the_one_that_was_written_last_counts(lake: Lake) -> None:
    early = {"write_time": datetime(2026, 11, 29, tzinfo=UTC)}
    lake.add("sales", sale("a", 9, price=2.0), sale("a", 9, price=1.0, **early))
    assert [row["price"] for row in lake.rows()] == [2.0]


def test_columns_are_those_of_the_definition_and_the_rows_own_come_first(lake: Lake) -> None:
    lake.add("sales", sale("a", 9, city="Paris", secret=1))
    lake.add("owners", owner("ada", 8, 10, city="London", mood="good"))
    assert lake.rows() == [{"sale": "a", "price": 1.0, "city": "Paris", "income": 10}]


def test_seconds_and_numbers_tell_times_and_records_too(lake: Lake) -> None:
    lake.add("sales", {"sale": 7, "sold": 1_764_410_400.5, "owner": 3, "price": 1.0})
    lake.add(
        "owners",
        {"owner": 3, "changed": 1_764_410_400.25, "income": 1},
        {"owner": 3, "changed": 1_764_410_400.75, "income": 2},
    )
    assert lake.rows() == [{"sale": 7, "price": 1.0, "income": 1}]


def test_a_group_that_was_deleted_and_made_again_has_the_records_of_the_new_one_alone(lake: Lake) -> None:
    lake.add("sales", sale("a", 9), sale("b", 9, price=2.0), created=1_764_000_100)
    lake.add("sales", {**sale("a", 12), "price": "dear"}, {**sale("c", 9), "price": "cheap"}, created=999)
    lake.add("owners", owner("ada", 8, 10), created=1_764_000_000)
    lake.add("owners", owner("ada", 9, 99), created=999)
    assert lake.read() == [
        [{"sale": "a", "price": 1.0, "income": 10}, {"sale": "b", "price": 2.0, "income": 10}], None, None, None
    ]  # fmt: skip


def test_a_group_is_called_as_in_the_definition_or_as_its_stack_calls_it(lake: Lake) -> None:
    """Its records from before it was called otherwise are not lost, as those of a group that was made again are."""
    lake.add("sales", sale("a", 9, price=1.0), sale("b", 9), created=999)
    lake.add("used-cars_sales", sale("a", 10, price=2.0))
    lake.add("used-cars_owners", owner("ada", 8, 10))
    lake.add("used-cars_boats", {"anything": 1})
    lake.add("used-cars_sales", sale("gone", 9), created=999)
    assert lake.read()[:3] == [
        [{"sale": "b", "price": 1.0, "income": 10}],
        [{"sale": "a", "price": 2.0, "income": 10}],
        None,
    ]
    assert lake.read()[3:] == [
        [{"anything": 1, "is_deleted": False, "write_time": datetime(2026, 11, 30, tzinfo=UTC)}],
        None,
    ]


def test_files_of_a_group_whose_types_do_not_fit_are_told(lake: Lake) -> None:
    lake.add("sales", sale("a", 9))
    lake.add("sales", {**sale("b", 9), "price": "dear"})
    with pytest.raises(FileError, match=r"^f0: other files of its feature group have other types \(.*price.*string"):
        lake.rows()


def test_what_is_of_no_group_stays_as_it_is(lake: Lake) -> None:
    lake.add("sales", sale("a", 9))
    lake.add("boats", sale("b", 9))
    lake.files.append(("labelled.csv", Path("labelled.csv")))
    lake.keys.append("raw/labelled/rows.csv")
    made = feature_store.rows(lake.files, lake.keys, SECTION, WANTED, lake.folder)
    assert [path for _, path in made[1:]] == [path for _, path in lake.files[1:]]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"sold": at(9)}, "f0: has no column 'sale', the record identifier of its feature group"),
        ({"sale": "a"}, "f0: has no column 'sold', the event time of its feature group"),
        ({"sale": "a", "sold": "yesterday"}, "f0: sold holds no event times"),
    ],
)
def test_a_file_that_cannot_be_read_as_its_group_is_named(lake: Lake, row: dict[str, Any], text: str) -> None:
    lake.add("sales", row)
    with pytest.raises(FileError, match=text):
        lake.rows()


def test_a_file_that_is_cut_off_is_named(lake: Lake) -> None:
    lake.add("sales", sale("a", 9))
    path = lake.files[0][1]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="f0: the Parquet data are damaged or cut off"):
        lake.rows()
