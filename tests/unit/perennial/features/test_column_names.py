"""Names in files and requests, and the columns that they mean."""

from perennial.features.column import Column
from perennial.features.column_names import RequestNames, is_index, match, spelling

PRICE, KILOMETRES, FUEL = (
    Column("price", "float"),
    Column("km_driven", "integer"),
    Column("fuel", "string", sources=("fuelType", "Fuel (kind)"), nullable=True),
)
COLUMNS = [PRICE, KILOMETRES, FUEL]


def found(*header: str) -> dict[str, int]:
    matched = match(header, COLUMNS)
    assert matched.collisions == []
    return matched.positions


def test_spelling_passes_over_case_blanks_hyphens_and_underscores() -> None:
    assert {spelling(name) for name in ("km_driven", "Km Driven", "KM-DRIVEN ", "kmdriven")} == {"kmdriven"}
    assert spelling("STRASSE") == spelling("Straße")


def test_a_column_is_found_by_its_name_by_another_spelling_and_by_its_sources() -> None:
    assert found("price", "km_driven", "fuelType") == {"price": 0, "km_driven": 1, "fuel": 2}
    assert found("Fuel (kind)", "Km Driven", "PRICE") == {"price": 2, "km_driven": 1, "fuel": 0}
    assert found("price", "KmDriven", "Fuel Type") == {"price": 0, "km_driven": 1, "fuel": 2}


def test_a_columns_own_name_holds_where_none_of_its_sources_is_there() -> None:
    assert found("price", "km_driven", "fuel") == {"price": 0, "km_driven": 1, "fuel": 2}
    assert found("price", "km_driven", "FU-EL") == {"price": 0, "km_driven": 1, "fuel": 2}
    assert found("price", "fuel", "km_driven", "Fuel Type") == {"price": 0, "km_driven": 2, "fuel": 3}


def test_a_columns_own_name_that_is_another_columns_source_is_told() -> None:
    columns = [Column("fuel", "string", sources=("kind",)), Column("type", "string", sources=("Fuel",))]
    assert match(["fuel", "kind"], columns).positions == {"fuel": 1, "type": 0}
    assert match(["fuel"], columns).collisions == ["column 'fuel' may be fuel or type"]


def test_the_exact_name_wins_over_other_spellings() -> None:
    assert found("Price", "price", "km_driven") == {"price": 1, "km_driven": 2}


def test_names_that_are_one_column_are_told() -> None:
    assert match(["Price", "PRICE", "km_driven"], COLUMNS).collisions == [
        "columns 'Price' and 'PRICE' are all column 'price'"
    ]
    assert match(["fuelType", "Fuel (kind)"], [FUEL]).collisions == [
        "columns 'fuelType' and 'Fuel (kind)' are all column 'fuel'"
    ]
    assert match(["price", "price"], [PRICE]).collisions == ["column 'price' stands more than once"]


def test_a_name_that_is_two_columns_is_told() -> None:
    columns = [Column("a_b", "float"), Column("ab", "float")]
    assert match(["a_b", "ab"], columns).collisions == []
    assert match(["A B"], columns).collisions == ["column 'A B' may be a_b or ab"]


def test_columns_of_another_contract_share_what_they_need_and_may_be_absent() -> None:
    """The model in service reads the same file by its own definition."""
    other = [
        Column("served.price", "string", sources=("Preis",), own_name="price", optional=True),
        Column("served.km", "string", sources=("km_driven",), own_name="km", optional=True),
        Column("served.x", "string", own_name="x", optional=True),
    ]
    matched = match(["Price", "km_driven"], [PRICE, KILOMETRES, *other])
    assert matched.positions == {"price": 0, "km_driven": 1, "served.price": 0, "served.km": 1}
    assert (matched.absent, matched.collisions) == ([], [])


def test_numberings_are_known() -> None:
    assert all(is_index(name) for name in ("", " ", "Unnamed: 0", "Unnamed: 12_level_1", "__index_level_0__"))
    assert all(is_index(name) for name in ("Unnamed: 0.1", "Unnamed: 0.1.1"))  # of a table that was saved twice
    assert not any(is_index(name) for name in ("index", "id", "unnamed", "Unnamed: x", "Unnamed: 0."))


def test_callers_may_use_every_name() -> None:
    names = RequestNames(COLUMNS)
    for name, column in {"fuel": "fuel", "fuelType": "fuel", "FUEL TYPE": "fuel", "Km-Driven": "km_driven"}.items():
        assert names.column(name) == column
    assert names.column("colour") is None


def test_a_columns_own_name_wins_over_the_source_of_another_in_requests() -> None:
    names = RequestNames([Column("mileage", "float", sources=("km",)), Column("km_l", "float", sources=("Mileage",))])
    assert (names.column("mileage"), names.column("Mileage"), names.column("MILEAGE")) == ("mileage", "km_l", None)
