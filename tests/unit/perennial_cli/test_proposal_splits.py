"""How `perennial init` proposes to deal rows: by time, by what they are about or by chance; and by which key."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from perennial.data.file_form import FileForm
from perennial.model import definition
from perennial_cli.proposal import document, splits, target
from perennial_cli.proposal.splits import SplitGuess
from perennial_cli.proposal.texts import Texts
from tests.command import perennial, says

ROWS = 200
DAYS = [str(date(2025, 1, 1) + timedelta(days=row)) for row in range(ROWS)]
MIXED = [(row * 77) % ROWS for row in range(ROWS)]
PRICE = [str(100 + row % 37) for row in range(ROWS)]


def proposed(**columns: list[str | None]) -> document.Proposal:
    arrays = {name: pa.array(texts, pa.string()) for name, texts in columns.items()}
    arrays["price"] = pa.array(PRICE, pa.string())
    texts = Texts(arrays, FileForm(), ROWS, [Path("cars.csv")])
    guesses = document.columns_of(texts)
    return document.Proposal.of("cars", texts, guesses, target.as_target("price", guesses, "named"))


def split(**columns: list[str | None]) -> SplitGuess:
    return proposed(**columns).split


@pytest.mark.parametrize(
    "days",
    [DAYS, DAYS[::-1], [DAYS[row // 3 * 3] for row in range(ROWS)], [*DAYS[2:10], DAYS[0], DAYS[1], *DAYS[10:]]],
    ids=["oldest first", "newest first", "with ties", "some late"],
)
def test_rows_in_the_order_of_a_time_are_split_by_it(days) -> None:
    guess = split(sold_at=days, mileage=[str(row) for row in MIXED])
    assert guess.fields(0) == {"method": "time", "column": "sold_at", "validation": 0.15, "test": 0.2}
    assert guess.evidence[0].startswith("By time: rows stand in the order of sold_at")
    assert guess.doubts == ()


@pytest.mark.parametrize(("rows", "validation", "test"), [(4_000, 0.15, 0.2), (10_000, 0.1, 0.1), (90_000, 0.05, 0.05)])
def test_by_time_no_more_is_held_out_than_tells_models_apart(rows: int, validation: float, test: float) -> None:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    days = [f"{first + timedelta(hours=row):%Y-%m-%d %H:%M:%S}" for row in range(rows)]
    columns = {"sold_at": pa.array(days), "price": pa.array([PRICE[row % ROWS] for row in range(rows)])}
    texts = Texts(columns, FileForm(), rows, [Path("cars.csv")])
    guess = splits.guessed(texts, document.columns_of(texts), "price")
    section = {"method": "time", "column": "sold_at", "validation": validation, "test": test}
    assert guess.fields(0) == section
    assert [guess.fields(variant)["test"] for variant in (1, 2)] == [test / 2, pytest.approx(1.5 * test)]
    assert guess.with_larger_sets().fields(0) == {**section, "validation": 0.15, "test": 0.2}


def test_a_time_in_another_form_that_splits_the_rows_is_required() -> None:
    german = [f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS]
    whole = document.parsed(proposed(sold=german, mileage=[str(row) for row in MIXED]), 50.0)
    assert (whole.split.method, whole.split.column) == ("time", "sold")
    assert not whole.columns["sold"].nullable


def test_series_are_told_for_what_they_are() -> None:
    shops = [f"shop {row // 50}" for row in range(ROWS)]
    (doubt, *_) = split(shop=shops, sold_at=[DAYS[row % 50] for row in range(ROWS)]).doubts
    assert doubt.startswith(
        "shop and sold_at: each shop has a row of a sold_at, as series have. What comes next of each"
    )


def test_a_quarter_is_a_time_of_series_as_well() -> None:
    quarters = [f"{1990 + row % 50 // 4} Q{row % 4 + 1}" for row in range(ROWS)]
    doubts = split(shop=[f"shop {row // 50}" for row in range(ROWS)], quarter=quarters).doubts
    assert any(doubt.startswith("shop and quarter: each shop has a row of a quarter") for doubt in doubts)


@pytest.mark.parametrize(
    ("shops", "days"),
    [
        ([f"shop {row // 50}" for row in range(ROWS)], DAYS),
        ([f"shop {row % 4}" for row in range(ROWS)], [DAYS[row // 8] for row in range(ROWS)]),
        ([f"shop {row}" for row in range(ROWS)], [DAYS[row % 50] for row in range(ROWS)]),
    ],
    ids=["times of their own", "several rows of a time", "a row of each name"],
)
def test_rows_of_names_and_times_that_are_no_series_are_not_called_so(shops: list[str], days: list[str]) -> None:
    assert not any("as series have" in doubt for doubt in split(shop=shops, sold_at=days).doubts)


def test_files_that_are_each_in_order_may_come_in_any() -> None:
    days = {"sold_at": pa.array([*DAYS[100:], *DAYS[:100]], pa.string()), "price": pa.array(PRICE, pa.string())}
    for files, method in (([Path("feb.csv"), Path("jan.csv")], "time"), ([Path("all.csv")], "random")):
        texts = Texts(days, FileForm(), ROWS, files)
        assert splits.guessed(texts, document.columns_of(texts), "price").method == method


@pytest.mark.parametrize(
    ("name", "days", "says"),
    [
        ("sold_at", [DAYS[row] for row in MIXED], "take {method: time, column: sold_at}"),
        ("sold_at", [*DAYS[: ROWS // 2], *DAYS[: ROWS // 2]], "take {method: time, column: sold_at}"),
        ("sold_at", [None, *DAYS[1:]], "in the order of sold_at, but 1 have none: a split by time needs them"),
        ("birth_date", DAYS, ""),
        ("sold_at", [DAYS[row // 20] for row in range(ROWS)], ""),
    ],
    ids=["mixed", "one after the other", "missing", "of birth", "few"],
)
def test_other_times_split_no_rows_and_what_nobody_can_know_is_said(name: str, days, says: str) -> None:
    guess = split(**{name: days})
    assert guess.fields(0) == {"method": "random", "seed": 42, "validation": 0.15, "test": 0.2}
    assert says in "".join(guess.doubts)
    assert bool(says) == bool(guess.doubts)


def test_rows_of_one_customer_are_in_one_set_and_his_id_is_no_feature() -> None:
    proposal = proposed(CustomerID=[str(1000 + row // 4 * 3) for row in MIXED], mileage=[str(row) for row in MIXED])
    assert proposal.split.evidence[0].startswith("By customer_id: each has 4 rows on average")
    whole = document.parsed(proposal, 50.0)
    assert (whole.split.method, whole.split.column, whole.split.seed) == ("group", "customer_id", 42)
    assert not whole.columns["customer_id"].feature
    assert not whole.columns["customer_id"].nullable


@pytest.mark.parametrize(
    ("columns", "method", "says"),
    [
        ({"sold_at": DAYS, "user_id": [f"u{row // 4}" for row in MIXED]}, "time", "each user_id has 4 rows"),
        ({"shop_id": [f"s{row % 3}" for row in MIXED]}, "random", ""),
        ({"user_id": [None, *(f"u{row // 4}" for row in MIXED[1:])]}, "random", ""),
        ({"zip_code": [f"{row // 4:05d}" for row in MIXED]}, "random", ""),
        ({"n_customer": [f"{row // 4}" for row in MIXED]}, "random", ""),
        ({"unit_number": [f"{row // 4 + 1}" for row in MIXED]}, "group", ""),
        ({"unit": [f"{row // 4}" for row in MIXED]}, "random", ""),
        ({"customerid": [f"{row // 4 * 3}" for row in MIXED]}, "group", ""),
        ({"vin": [f"v{row // 2}" for row in MIXED], "patient": [f"p{row // 4}" for row in MIXED]}, "group", "each vin"),
    ],
    ids=[
        "time first",
        "few shops",
        "missing",
        "a place",
        "how many",
        "a thing",
        "a word",
        "no blank",
        "somebody first",
    ],
)
def test_where_a_name_of_what_rows_are_about_splits_nothing_it_is_named_if_it_could(columns, method, says) -> None:
    guess = split(**columns)
    assert guess.method == method
    assert says in "".join(guess.doubts)
    assert bool(says) == bool(guess.doubts)


def test_of_a_name_with_many_rows_it_is_for_a_person_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MOST_ROWS", 3)
    guess = split(shop_id=[f"s{row // 4}" for row in MIXED])
    assert (guess.method, guess.column) == ("random", None)
    assert "each shop_id has 4 rows on average, and they are in several sets" in guess.doubts[0]


@pytest.mark.parametrize(
    ("name", "texts", "key", "says"),
    [
        ("sale_id", [str(5 * row) for row in MIXED], "sale_id", ""),
        ("EmployeeNumber", [f"e{row}" for row in MIXED], "employee_number", ""),
        ("CustomerID", [f"{row:04d}-{'AB'[row % 2]}" for row in MIXED], "customer_id", ""),
        ("sale_id", [str(row) for row in MIXED], None, "and counts them: if it stays with its row in later files"),
        ("plate", [f"B-{row}" for row in MIXED], None, "take key: [plate] here and no nullable there"),
        ("notes", [f"a text of car {row}" for row in MIXED], None, ""),
        ("mileage", [str(5 * row) for row in MIXED], None, ""),
    ],
    ids=["an id", "a number", "digits and a letter", "counts", "a code", "sentences", "a measurement"],
)
def test_what_is_another_one_in_every_row_and_named_so_is_the_key(name: str, texts, key, says: str) -> None:
    proposal = proposed(**{name: texts}, seats=[str(row % 5) for row in MIXED])
    assert proposal.split.fields(0).get("key") == ([key] if key else None)
    assert document.parsed(proposal, 50.0).split.key == ((key,) if key else None)
    assert says in "".join(proposal.split.doubts)
    assert bool(says) == bool(proposal.split.doubts)


@pytest.fixture
def sales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{day},{row * 13 % 97},{row % 5},{price}" for row, (day, price) in enumerate(zip(DAYS, PRICE, strict=True))
    ]
    (tmp_path / "sales.csv").write_text("\n".join(["sold_at,mileage,seats,price", *rows]))
    return tmp_path / "sales.csv"


def test_a_proposed_split_by_time_is_one_that_trains(sales: Path) -> None:
    ended = perennial("init", sales)
    assert ended.exit_code == 0, ended.stderr
    assert "split       time sold_at" in ended.stdout
    text = (sales.parent / "models/sales/model.yaml").read_text()
    assert "# By time: rows stand in the order of sold_at" in text
    assert "# Quick fits on 3 splits by time reach rmse " in text
    assert perennial("try", "sales", "--file", sales).exit_code == 0


def test_a_quick_fit_of_a_split_by_time_is_measured_on_the_latest_rows_as_the_gate_will(sales: Path) -> None:
    header, *rows = sales.read_text().splitlines()
    late = [f"{row.rpartition(',')[0]},{float(row.rpartition(',')[2]) + 1000}" for row in rows[-ROWS // 5 :]]
    sales.write_text("\n".join([header, *rows[: -ROWS // 5], *late]))
    assert perennial("init", sales).exit_code == 0
    fit = json.loads(perennial("try", "sales", "--file", sales, "--json").stdout)["fit"]
    assert (fit["rows"], fit["model"] > 900) == (ROWS // 5, True)


def test_a_split_that_would_leave_a_set_empty_is_one_by_chance(sales: Path) -> None:
    header, *rows = sales.read_text().splitlines()
    sales.write_text("\n".join([header, *rows[:30], *[f"2026-01-01,{row.split(',', 1)[1]}" for row in rows[30:]]]))
    ended = perennial("init", sales)
    assert (ended.exit_code, says(ended, "look at split: a split by sold_at leaves a set with too few rows")) == (
        0,
        True,
    )
    path = sales.parent / "models/sales/model.yaml"
    assert definition.load(path).split.method == "random"
    assert "# By chance: a split by sold_at leaves a set with too few rows." in path.read_text()


def test_small_sets_that_leave_one_without_a_class_are_as_large_as_elsewhere(sales: Path, monkeypatch) -> None:
    monkeypatch.setattr(splits, "ENOUGH_ROWS", 10)
    header, *rows = sales.read_text().splitlines()
    kinds = ["yes" if row % 3 and row < ROWS - 15 else "no" for row in range(ROWS)]
    sales.write_text("\n".join([f"{header},returned", *(f"{row},{kinds[number]}" for number, row in enumerate(rows))]))
    ended = perennial("init", sales, "--target", "returned")
    assert ended.exit_code == 0, ended.stderr
    split = definition.load(sales.parent / "models/sales/model.yaml").split
    assert (split.method, split.validation, split.test) == ("time", 0.15, 0.2)


# ---- What says the target


@pytest.mark.parametrize(
    ("net", "is_doubted"),
    [
        ([f"{float(price) / 1.19:.2f}" for price in PRICE], True),
        ([f"{1000 - float(price)}" for price in PRICE], True),
        ([None if row % 4 else price for row, price in enumerate(PRICE)], True),
        ([f"{float(price) + row % 9}" for row, price in enumerate(PRICE)], False),
        ([str(row) for row in MIXED], False),
        (["80"] * ROWS, False),
        ([f"{float(price) > 118:d}" for price in PRICE], False),
    ],
    ids=["of it", "against it", "where it is there", "near it", "another", "constant", "of two values"],
)
def test_a_column_in_the_order_of_the_target_is_for_people_to_look_at(net: list[str | None], is_doubted: bool) -> None:
    doubts = [doubt for doubt in proposed(net=net).doubts if "puts the rows in nearly the order of price" in doubt]
    assert bool(doubts) == is_doubted
    assert all(doubt.startswith("net: ") for doubt in doubts)
