"""What tells rows apart: by what they say, whatever file they came in, and by their key where they have one."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.data import row_hasher
from perennial.data.row_hasher import RowHasher
from perennial.data.rows import (
    UNKNOWN,
    Hashes,
    are_among,
    combined,
    identity_columns,
    lots,
    lots_below,
    mixed,
    specification,
)
from perennial.features.values import ARROW_TYPES, STRING

COLUMNS = {
    "price": {"type": "float"},
    "mileage": {"type": "float", "min": 0},
    "make": {"type": "string"},
    "vin": {"type": "string", "feature": False},
    "sold_on": {"type": "timestamp", "feature": False},
}
SPLIT = {"method": "random", "column": None, "key": None}


def definition(split: dict[str, Any] | None = None, **columns: Any) -> dict[str, Any]:
    return {"target": "price", "columns": {**COLUMNS, **columns}, "split": {**SPLIT, **(split or {})}}


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode().cast(STRING)


def test_features_tell_rows_apart_and_the_target_does_not() -> None:
    assert identity_columns(definition()) == ["make", "mileage"]


def test_the_column_that_splits_tells_rows_apart_too() -> None:
    assert identity_columns(definition({"method": "time", "column": "sold_on"})) == ["make", "mileage", "sold_on"]


def test_a_key_alone_tells_rows_apart() -> None:
    assert identity_columns(definition({"key": ["vin"], "method": "time", "column": "sold_on"})) == ["vin"]


def test_rules_and_the_order_of_columns_change_no_identity() -> None:
    changed = definition(mileage={"type": "float", "max": 10, "nullable": True, "unit": "km"})
    reordered = {**changed, "columns": dict(reversed(changed["columns"].items()))}
    assert specification(definition()) == specification(changed) == specification(reordered)


@pytest.mark.parametrize("mileage", [{"type": "integer"}, {"type": "float", "parse": {"percent": True}}])
def test_another_reading_of_a_column_is_another_identity(mileage: dict[str, Any]) -> None:
    assert specification(definition()) != specification(definition(mileage=mileage))


def test_another_encoding_of_files_is_another_identity_where_texts_tell_rows() -> None:
    def encoded(encoding: str, split: dict[str, Any] | None = None, **columns: Any) -> str:
        return specification({**definition(split, **columns), "files": {"encoding": encoding}})

    assert encoded("utf-8") == specification(definition()) == "9f2da560ab43d478"  # as earlier versions have it
    assert len({encoded(one) for one in ("utf-8", "cp1252", "cp1250")}) == 3
    number, by_number = {"type": "integer", "feature": False}, {"key": ["number"]}
    assert encoded("cp1252", by_number, number=number) == encoded("utf-8", by_number, number=number)


def test_equal_rows_have_equal_hashes_in_any_batch_and_dictionary() -> None:
    hasher = RowHasher(["make", "mileage"])
    one = hasher.hashes(pa.table({"make": texts("a", "b", None), "mileage": [1.0, 2.0, None]}))
    other = hasher.hashes(pa.table({"make": texts(None, "x", "b"), "mileage": [None, 7.0, 2.0]}))
    assert one[1] == other[2]
    assert one[2] == other[0]
    assert len({*one.tolist(), *other.tolist()}) == 4


@pytest.mark.parametrize("kind", ["float", "integer", "boolean", "timestamp", "string"])
def test_missing_is_a_value_of_its_own(kind: str) -> None:
    values = texts("0", None) if kind == "string" else pa.array([0, None], pa.int64()).cast(ARROW_TYPES[kind])
    one, other = RowHasher(["x"]).hashes(pa.table({"x": values}))
    assert one != other


def test_large_whole_numbers_are_told_apart() -> None:
    hashes = RowHasher(["x"]).hashes(pa.table({"x": pa.array([2**60, 2**60 + 1], pa.int64())}))
    assert hashes[0] != hashes[1]


def test_minus_zero_is_zero() -> None:
    hashes = RowHasher(["x"]).hashes(pa.table({"x": [0.0, -0.0]}))
    assert hashes[0] == hashes[1]


def test_hashes_are_those_of_today_so_that_a_new_version_forgets_no_row() -> None:
    table = pa.table({"make": texts("Buick", None), "mileage": [12.5, None], "year": pa.array([2005, -1], pa.int64())})
    assert RowHasher(["make", "mileage", "year"]).hashes(table).tolist() == [17343293336862067610, 145543924675227963]


def test_no_row_is_unknown() -> None:
    assert RowHasher([]).hashes(pa.table({"x": [1]}))[0] != UNKNOWN


def test_forgotten_texts_keep_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_hasher, "MAX_REMEMBERED", 2)
    hasher = RowHasher(["make"])
    one, other = (hasher.hashes(pa.table({"make": texts(*"abcd")})) for _ in range(2))
    assert np.array_equal(one, other)


@given(st.one_of(st.floats(0, 1), st.sampled_from([0.2, 0.35, 0.15 + 0.2, 1 / 3, 2.0**-53, 1 - 2.0**-53])))
def test_lots_are_below_a_share_as_their_floating_point_numbers_are(share: float) -> None:
    limit = lots_below(share)
    near = np.array([lot for lot in range(limit - 3000, limit + 3000) if 0 <= lot < 1 << 64], np.uint64)
    assert ((near < limit) == (near / 2.0**64 < share)).all()


def test_lots_are_uniform_and_independent_of_the_seed_and_of_regular_values() -> None:
    hashes = RowHasher(["x"]).hashes(pa.table({"x": np.arange(100_000)}))
    drawn = lots(hashes, 42) / 2.0**64
    assert np.histogram(drawn, 10, (0, 1))[0] == pytest.approx([10_000] * 10, abs=500)
    assert abs(np.corrcoef(drawn, lots(hashes, 43))[0, 1]) < 0.02


def test_combined_depends_on_the_order() -> None:
    one, other = mixed(np.array([1], np.uint64)), mixed(np.array([2], np.uint64))
    assert combined(one, other) != combined(other, one)


HASHES = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1))).map(lambda each: np.array(each, np.uint64))


@given(HASHES, HASHES)
def test_hashes_that_are_known_are_those_of_a_set(hashes: Hashes, known: Hashes) -> None:
    assert are_among(hashes, known).tolist() == [each in set(known.tolist()) for each in hashes.tolist()]
