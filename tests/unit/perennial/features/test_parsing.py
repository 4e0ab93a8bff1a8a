"""`parse` of model.yaml: what a text means by it, the same in files and requests."""

import json
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from perennial.features import one_value
from perennial.features.from_arrow import from_arrow
from perennial.features.from_json import from_json
from perennial.features.from_text import from_text
from perennial.features.parsing import Parsing

INVALID = "invalid"


def read(kind: str, parse: dict[str, Any], *texts: str) -> list[Any]:
    """The values of texts, by every way that they come in."""
    parsing = Parsing.from_json(parse)
    assert Parsing.from_json(json.loads(json.dumps(parsing.as_json()))) == parsing
    ways = [
        from_text(kind, pa.array(texts), parsing),
        from_json(kind, texts, parsing),
        from_json(kind, [*texts, None], parsing),
        from_arrow(kind, pa.array(texts).dictionary_encode(), parsing),
    ]
    results = []
    for values, invalid in ways:
        marks = invalid.to_pylist() if invalid is not None else [False] * len(values)
        results.append([INVALID if mark else value for value, mark in zip(values.to_pylist(), marks, strict=True)])
    alone = [value for text in texts for value in _alone(kind, parsing, text)]
    assert results == [results[0], results[0], [*results[0], None], results[0]]
    assert [_by_value(kind, parsing, text) for text in texts] == results[0]
    assert alone == results[0]
    return results[0]


def _alone(kind: str, parsing: Parsing, text: str) -> list[Any]:
    values, invalid = from_text(kind, pa.array([text]), parsing)
    return [INVALID] if invalid is not None and invalid[0].as_py() else values.to_pylist()


def _by_value(kind: str, parsing: Parsing, text: str) -> Any:
    try:
        return one_value.read(kind, text, parsing)
    except one_value.NoValueError:
        return INVALID


def test_units_are_converted_and_a_bare_number_is_in_the_columns_unit() -> None:
    parse = {"units": {"kmpl": 1, "km/kg": 1.4}}
    assert read("float", parse, "23.4 kmpl", "10 km/kg", "1.1KM/KG", "7", " 8kmpl ", "-1e1 kmpl") == [
        23.4, 14, 1.54, 7, 8, -10,
    ]  # fmt: skip
    assert read("float", parse, "23.4 mpg", "kmpl", "23.4 kmpl kmpl", "km/kg 3 4", "1,5 kmpl") == [INVALID] * 5
    assert read("float", parse, "", "NA") == [None, None]


def test_units_stand_before_and_after_and_multiply() -> None:
    parse = {"units": {"$": 1, "US$": 1, "€": 1.1, "k": 1000, "M": 1e6, "%": 0.01}}
    assert read("float", parse, "$5", "US$ 5", "-$5", "$-5", "$1.1k", "1.2M", "10 €", "45%", "45 %") == [
        5, 5, -5, -5, 1100, 1_200_000, 11, 0.45, 0.45,
    ]  # fmt: skip
    assert read("float", parse, "-$-5", "- 5", "$", "$ $5", "5 $ k") == [INVALID] * 5
    assert read("integer", parse, "$1.1k", "5k", "1.0005k") == [1100, 5000, INVALID]


def test_units_that_differ_in_case_alone_are_told_apart_where_both_are_given() -> None:
    assert read("float", {"units": {"mW": 0.001, "MW": 1e6}}, "5 mW", "5 MW") == [0.005, 5e6]


def test_a_unit_is_known_by_letters_that_look_alike_whatever_program_wrote_it() -> None:
    """The sign of micro is another character than the Greek letter that keyboards have; so is the old sign of ohm."""
    assert read("float", {"units": {"\u00b5g": 1, "mg": 1000}}, "5 \u00b5g", "5 \u03bcg", "5 \u039cG", "2 mg") == [
        5,
        5,
        5,
        2000,
    ]
    assert read("float", {"number": "first", "units": {"k\u03a9": 1000}}, "5 k\u2126 here", "5 K\u03c9") == [5000, 5000]


def test_marks_of_thousands_stand_between_groups_of_digits() -> None:
    parse = {"thousands": ","}
    assert read("float", parse, "1,234", "1,234,567.8", "12,34,567", "-1,000", "1234", "999") == [
        1234, 1_234_567.8, 1_234_567, -1000, 1234, 999,
    ]  # fmt: skip
    assert read("float", parse, "1,5", "1,23", ",123", "1,,234", "1234,567", "1,2345", "1.5,000") == [INVALID] * 7
    assert read("integer", {"thousands": "."} | {"decimal": ","}, "1.234", "1.234,0", "1,5") == [1234, 1234, INVALID]
    assert read("float", {"thousands": " "}, "1 234", "1\u202f234", "1\u00a0234.5") == [1234, 1234, 1234.5]
    assert read("float", {"thousands": "'"}, "1'234", "1\u2019234") == [1234, 1234]


def test_another_decimal_mark_stands_instead_of_the_point() -> None:
    assert read("float", {"decimal": ","}, "1,5", "-0,5", ",5", "2", "1.5", "1,5e3") == [
        1.5,
        -0.5,
        0.5,
        2,
        INVALID,
        1500,
    ]


def test_the_first_number_of_a_text() -> None:
    parse = {"number": "first", "units": {"Nm": 1, "kgm": 10}}
    texts = [
        "190Nm@ 2000rpm",
        "12.7@ 2,700(kgm@ rpm)",
        "22.4 KGM at 1750-2750rpm",
        "113.75nm@ 4000rpm",
        "110(11.2)@ 4800",
    ]
    assert read("float", parse, *texts) == [190, 127, 224, 113.75, 110]
    assert read("float", {"number": "first"}, "1500-2500", "from -5 to 5", "No.7", "A4 1.8", "none of it", "x") == [
        1500, -5, 7, 4, INVALID, INVALID,
    ]  # fmt: skip


def test_markers_mean_a_missing_value_also_as_numbers() -> None:
    parse = {"missing": ["-", "POA", "n.a.", "-1", "9999"]}
    assert read("float", parse, "-", "poa", " N.A. ", "-1", "-1.0", "9999", "1", "?") == [*[None] * 6, 1, INVALID]
    assert read("integer", parse, "-1", "9999.0", "+7") == [None, None, 7]
    assert read("string", parse, "POA", "-1", "a", " - ") == [None, None, "a", None]
    for kind, values in (("float", [-1.0, 2.0]), ("integer", [-1, 2])):
        parsing = Parsing.from_json(parse)
        assert from_json(kind, values, parsing).values.to_pylist() == [None, 2]
        assert from_arrow(kind, pa.array(values), parsing).values.to_pylist() == [None, 2]


def test_a_marker_of_zero_has_no_sign() -> None:
    assert read("float", {"missing": ["0"]}, "0", "-0", "-0.0", "1e-999") == [None] * 4
    numbers = [-0.0, 0.0, 1.5]
    assert from_json("float", numbers, Parsing(missing=("0",))).values.to_pylist() == [None, None, 1.5]
    assert from_arrow("float", pa.array(numbers), Parsing(missing=("0",))).values.to_pylist() == [None, None, 1.5]


@pytest.mark.parametrize(
    ("marker", "texts"),
    [("Κανένας", ["ΚΑΝΈΝΑΣ", "κανένας"]), ("Bİlİnmİyor", ["BİLİNMİYOR"]), ("Straße?", ["STRAßE?"])],
)
def test_markers_in_any_case_are_in_that_of_their_language(marker: str, texts: list[str]) -> None:
    for kind in ("string", "float"):
        assert read(kind, {"missing": [marker]}, *texts, marker) == [None] * (len(texts) + 1)
    assert read("string", {"missing": ["BİLİNMİYOR"]}, "bilinmiyor") == ["bilinmiyor"]


def test_markers_that_are_numbers_are_read_by_the_marks_of_the_column() -> None:
    parse = {"thousands": ".", "decimal": ",", "missing": ["9.999", "-1,5", "2k"], "units": {"k": 1000}}
    assert read("float", parse, "9.999", "9999", "9,999", "-1,5", "-1,50", "2.000", "-1.5") == [
        None, None, 9.999, None, None, None, INVALID,
    ]  # fmt: skip
    parsing = Parsing.from_json(parse)
    numbers = [9999.0, 9.999, -1.5, 2000.0]
    assert from_json("float", numbers, parsing).values.to_pylist() == [None, 9.999, None, None]
    assert from_arrow("float", pa.array(numbers), parsing).values.to_pylist() == [None, 9.999, None, None]
    first = Parsing.from_json({"number": "first", "missing": ["no 5", "7"]})
    assert from_json("float", [5, 7], first).values.to_pylist() == [5, None]


def test_markers_of_booleans_are_numbers_too() -> None:
    parse = {"missing": ["9"]}
    assert read("boolean", parse, "1", "0", "9", "9.0", "2") == [True, False, None, None, INVALID]
    for array in ([1, 0, 9], [1.0, 0.0, 9.0]):
        for values, invalid in (
            from_json("boolean", array, Parsing.from_json(parse)),
            from_arrow("boolean", pa.array(array), Parsing.from_json(parse)),
        ):
            assert values.to_pylist() == [True, False, None]
            assert invalid is None or not any(invalid.to_pylist())


@pytest.mark.parametrize("marker", [str(2**63 - 1), str(2**63), "1e999999999", "1e-999999999"])
def test_a_marker_of_any_size_is_one(marker: str) -> None:
    assert read("integer", {"missing": [marker]}, "5", marker) == [5, None]
    assert read("float", {"missing": [marker]}, "5", marker) == [5, None]


def test_markers_mean_a_missing_value_after_the_conversion() -> None:
    """So that what a file says and what the test set says of it are the same."""
    parse = {"units": {"k": 1000}, "missing": ["9000"]}
    assert read("float", parse, "9k", "9000", "9") == [None, None, 9]


def test_words_stand_instead_of_the_usual_ones() -> None:
    parse = {"true": ["M", "<=50K"], "false": ["B", ">50K"]}
    assert read("boolean", parse, "M", "b", " <=50k ", ">50K", "true", "FALSE", "yes", "1", "") == [
        True, False, True, False, True, False, INVALID, INVALID, None,
    ]  # fmt: skip
    numbers = Parsing.from_json({"true": ["2"], "false": ["1"]})
    assert read("boolean", {"true": ["2"], "false": ["1"]}, "2", "1", "0", "2.0") == [True, False, INVALID, True]
    assert from_json("boolean", [2, 1.0, True, None], numbers).values.to_pylist() == [True, False, True, None]
    for array in (pa.array([2, 1]), pa.array([2.0, 1.0])):
        assert from_arrow("boolean", array, numbers).values.to_pylist() == [True, False]


def test_formats_of_times_stand_instead_of_iso() -> None:
    day = datetime(2024, 2, 1)  # noqa: DTZ001 - UTC without a zone, as in the column
    parse = {"formats": ["%d.%m.%Y", "%d %b %Y %H:%M %z"]}
    texts = ["01.02.2024", "1.2.2024", "01 Feb 2024 02:00 +0200", "2024-02-01", "32.01.2024", "\u0660\u0661.02.2024"]
    assert read("timestamp", parse, *texts) == [day, day, day, INVALID, INVALID, INVALID]
    assert read("timestamp", {"missing": ["00.00.0000"], **parse}, "00.00.0000", "") == [None, None]


@pytest.mark.parametrize(("strip", "values"), [(True, ["a b", None, "c"]), (False, [" a b ", " ", "c"])])
def test_blanks_around_a_string_are_no_part_of_it_unless_the_definition_says_so(strip: bool, values: list[Any]) -> None:
    assert read("string", {"strip": strip}, " a b ", " ", "c") == values


@pytest.mark.parametrize("text", ["1e999999999 k", "9" * 5000 + " k", "1e-999999999 k"])
def test_a_number_that_no_column_can_hold_is_invalid_or_nothing(text: str) -> None:
    assert read("float", {"units": {"k": 1000}}, text)[0] in (INVALID, 0)


def test_what_is_expected_is_said_in_the_words_of_the_definition() -> None:
    said = {
        "a number, alone or with 'kmpl' or 'km/kg'": ("float", {"units": {"kmpl": 1, "km/kg": 1.4}}),
        "'M' or 'B'": ("boolean", {"true": ["M"], "false": ["B"]}),
        "a time in the form %d.%m.%Y": ("timestamp", {"formats": ["%d.%m.%Y"]}),
        "a number with the decimal mark ','": ("float", {"decimal": ","}),
        "a number with '.' between thousands and the decimal mark ','": ("float", {"thousands": ".", "decimal": ","}),
        "a whole number with ',' between thousands, alone or with 'km'": (
            "integer",
            {"units": {"km": 1}, "thousands": ","},
        ),
        "a text that holds a number with the decimal mark ','": (
            "float",
            {"number": "first", "units": {"Nm": 1}, "decimal": ","},
        ),
        "": ("float", {}),
    }
    for text, (kind, parse) in said.items():
        assert Parsing.from_json(parse).expected(kind) == text
