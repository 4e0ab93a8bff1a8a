"""One value without Arrow means what it means to the endpoint, and breaks the rules that a file's would."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.data.contract import Contract, check
from perennial.features.column import Column
from perennial.features.from_json import from_json
from perennial.features.one_value import NoValueError, broken, read
from perennial.features.parsing import Parsing
from tests.unit.perennial.features.test_one_grammar import KINDS, NASTY, PARSING, TEXTS, USUAL

BARE = {kind: Parsing(strip=False, missing=("5", "a")) for kind in KINDS}
OTHERS: list[Any] = [
    *(0, 1, -1, 2, 5, 9999, 20240501, 2**53 + 1, 2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 10**400),
    *(5.0, 5.5, -0.0, 9999.0, 1e39, 3.5e38, 3.4028234663852886e38, 1e300, math.nan, math.inf, -math.inf),
    *(True, False, None, [], {}, [1], {"a": 1}, "\ud800", "ja", "a", "x\x1c"),
]


def by_arrow(kind: str, value: Any, parsing: Parsing) -> str:
    parsed = from_json(kind, [value], parsing)
    is_invalid = parsed.invalid is not None and parsed.invalid[0].as_py()
    return "none" if is_invalid else repr(parsed.values[0].as_py())


def alone(kind: str, value: Any, parsing: Parsing) -> str:
    try:
        return repr(read(kind, value, parsing))
    except NoValueError:
        return "none"


@pytest.mark.parametrize("parsings", [USUAL, PARSING, BARE], ids=["usual", "parse", "bare"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_means_what_it_means_to_the_endpoint(kind: str, parsings: dict[str, Parsing]) -> None:
    values = [*NASTY, *OTHERS]
    differing = {
        ascii(value): (here, there)
        for value in values
        if (here := alone(kind, value, parsings[kind])) != (there := by_arrow(kind, value, parsings[kind]))
    }
    assert differing == {}


@pytest.mark.parametrize("parsings", [USUAL, PARSING], ids=["usual", "parse"])
@given(TEXTS | st.floats() | st.integers())
@settings(max_examples=40)
def test_any_value_means_what_it_means_to_the_endpoint(parsings: dict[str, Parsing], value: Any) -> None:
    for kind, parsing in parsings.items():
        assert alone(kind, value, parsing) == by_arrow(kind, value, parsing), kind


COLUMNS = [
    Column("x", "float", minimum=0, maximum=5),
    Column("x", "integer", minimum=-3, nullable=True),
    Column("x", "string", categories=("a", "b")),
    Column("x", "string", categories=("a", "b"), nullable=True),
    Column("x", "boolean"),
]


@pytest.mark.parametrize("column", COLUMNS, ids=["float", "integer", "categories", "nullable", "boolean"])
@pytest.mark.parametrize(
    "value", ["0", "5", "5.5", "-4", "", "NA", "a", "c", "true", "x", " a ", "1e300", "-1e300", "1e17", "inf"]
)
def test_a_value_breaks_the_rule_that_it_breaks_in_a_file(column: Column, value: str) -> None:
    contract = Contract((column,), column, "regression", None)
    violations = check(contract, pa.RecordBatch.from_pydict({"x": pa.array([value])})).violations
    assert broken(column, value) == (violations[0].rule if violations else None)
