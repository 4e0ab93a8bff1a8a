"""Few records: what they mean, what is said of them and what they are encoded to is what it is as columns."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localcloud.sagemaker.containers import script_mode
from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.encoding import CategoryEncoding, Encoder, Encoding, NumberEncoding, PlainEncoding
from perennial.features.few_records import MOST_CHARACTERS, MOST_RECORDS, FewReader, FewRecords
from perennial.features.parsing import Parsing
from perennial.features.record_checks import RecordChecks, Rules
from perennial.features.target_encoding import TargetEncoding
from processing import inference

script_mode.install()  # the container's modules are there before the script

KINDS = {"mileage": "float", "doors": "integer", "cruise": "boolean", "make": "string", "trim": "string"}
COLUMNS = {name: Column(name, kind, nullable=name == "trim") for name, kind in KINDS.items()}
MAKES = ("Buick", "Saab", "make")  # the last one may be a value or a part of a header
ENCODINGS: tuple[Encoding, ...] = (
    NumberEncoding("mileage", 20000.5, True),
    NumberEncoding("doors", 3.25, False),
    NumberEncoding("cruise", 0.75, True),
    CategoryEncoding("make", MAKES, False),
    TargetEncoding("trim", (1,), ({"LS": 1.5}, {"LS": 2e-7, "LS Sport": 1e20}), {"LS": 3, "LS Sport": 2}, 7.25, True),
)
CHECKS = RecordChecks(
    {
        "mileage": Rules(0, 1e6, nullable=False),
        "doors": Rules(minimum=-1),
        "make": Rules(known=frozenset(MAKES), nullable=False),
    }
)
CAR = {"mileage": 8221.5, "doors": 4, "cruise": True, "make": "Saab", "trim": "LS"}
UNITS = Parsing(units=(("mi", 1.0), ("km", 0.621371)), thousands=",", missing=("-1", "sold"))


def derived(table: pa.Table) -> pa.Table:
    """What a features.py may do: numbers of all kinds, a text, what is no number."""
    ages = pc.divide(pc.cast(table["mileage"], pa.float64()), pc.cast(table["doors"], pa.float64()))
    sport = pc.match_substring(table["trim"], "Sport")
    few = pc.cast(table["doors"], pa.int16(), safe=False)
    return pa.table({"ages": ages, "sport": sport, "few": few, "make": pc.utf8_upper(table["make"])})


def model_of(
    columns: dict[str, Column],
    encodings: Sequence[Encoding] = ENCODINGS,
    hook: Callable[[pa.Table], pa.Table] | None = None,
    checks: RecordChecks = CHECKS,
    *,
    in_batch: bool = False,
) -> inference.Preprocessor:
    names = RequestNames(columns.values(), {"price": ["cost"]}, ignore=in_batch)
    return inference.Preprocessor(columns, names, Encoder(tuple(encodings), hook), in_batch, checks)


def read_as(name: str, **changes: Any) -> dict[str, Column]:
    return {**COLUMNS, name: replace(COLUMNS[name], **changes)}


MODELS = {
    "usual": model_of(COLUMNS),
    "in a batch": model_of(COLUMNS, checks=RecordChecks(), in_batch=True),
    "units": model_of(read_as("mileage", parsing=UNITS, sources=("Mileage (mi)", "km driven"))),
    "first number": model_of(read_as("doors", parsing=Parsing(number="first", units=(("k", 1000.0),)))),
    "words": model_of(read_as("cruise", parsing=Parsing(true=("ja",), false=("nein",), missing=("?",)))),
    "other decimals": model_of(read_as("mileage", parsing=Parsing(thousands=".", decimal=","))),
    "text as it is": model_of(read_as("make", parsing=Parsing(strip=False, missing=("Volvo",)))),
    "times": model_of(
        {**COLUMNS, "sold": Column("sold", "timestamp", nullable=True)}, [*ENCODINGS, PlainEncoding("sold")]
    ),
    "a name of digits": model_of(read_as("doors", sources=("4",))),
    "names of digits": model_of(
        {
            "doors": replace(COLUMNS["doors"], sources=("4",)),
            "mileage": replace(COLUMNS["mileage"], sources=("7",)),
        },
        [ENCODINGS[1], ENCODINGS[0]],
        checks=RecordChecks(),
    ),
    "texts": model_of(
        {name: COLUMNS[name] for name in ("make", "trim")},
        [CategoryEncoding("make", (), False), ENCODINGS[4]],
        checks=RecordChecks(),
    ),
    "as they are": model_of(COLUMNS, list(map(PlainEncoding, KINDS))),
    "one column": model_of({"make": COLUMNS["make"]}, [ENCODINGS[3]], checks=RecordChecks()),
    "refusing": model_of(COLUMNS, checks=replace(CHECKS, refused=frozenset({"unknown_category", "missing"}))),
    "features.py": model_of(
        COLUMNS,
        (
            NumberEncoding("ages", 3.5, True),
            PlainEncoding("sport"),
            NumberEncoding("few", 2, False),
            CategoryEncoding("make", ("SAAB", "BUICK"), True),
        ),
        derived,
    ),
}
BY_COLUMNS = {name: replace(model) for name, model in MODELS.items()}
for one in BY_COLUMNS.values():
    object.__setattr__(one, "few", FewReader(one.columns, one.names, most_records=0))

NUMBERS = st.one_of(
    st.integers(-(10**17), 10**17),
    st.floats(),
    st.decimals(-2, 2_000_000, places=3).map(float),
    st.sampled_from([0, -0.0, 1e15, 1e16, 1e-4, 9.9e-5, 2**53, 1e6, 5, 1, 4]),
)
TEXTS = st.sampled_from(
    [
        *(
            *MAKES,
            *KINDS,
            "LS",
            "LS Sport",
            "LS Coupe",
            "Volvo",
            "",
            " Saab",
            "Saab\t",
            "\x1fSaab",
            "null",
            "5",
            "true",
        ),
        *(
            "price",
            "4",
            "km driven",
            "a,b",
            'a "b"',
            "two\nlines",
            "ja",
            "?",
            "2024-05-01",
            "2024-05-01T10:00:00.5+02:00",
        ),
    ]
)
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none(), st.just([1]))
WRITTEN = st.sampled_from(
    [
        *(
            "true",
            "F",
            "YES",
            "1.0",
            "tRue",
            "1,5",
            "+5",
            "5.",
            ".5",
            "007",
            "1e3",
            "-0",
            "5.0",
            "٣",
            '"5"',
            "-1",
            "sold",
        ),
        *("12 km", "12,000 mi", "1.234,5", "4 doors", "2 k", "Mi 5"),
    ]
)
FIELDS = st.one_of(NUMBERS.map(str), TEXTS, WRITTEN)
ROWS = st.lists(st.lists(FIELDS, min_size=5, max_size=6), min_size=1, max_size=3)
PLAIN_ROW = ["8221.5", "4", "true", "Saab", "LS"]


def answers(model: inference.Preprocessor, body: str, content_type: str) -> Any:
    """What the container gets, or what is raised, and what is counted in the log."""
    log = io.StringIO()
    with redirect_stdout(log):
        try:
            found: Any = inference.predict_fn(inference.input_fn(body, content_type), model)
        except Exception as error:
            found = error
    counted = [json.loads(line) | {"_aws": None} for line in log.getvalue().splitlines()]
    return type(found), str(found), counted


@pytest.mark.parametrize("name", MODELS)
@given(ROWS, st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\n", "\n\n"]))
@settings(max_examples=40)
@example([PLAIN_ROW], False, False, "\n", "")
@example([list(KINDS), PLAIN_ROW, ["", "", "", "", ""]], False, False, "\n", "\n")
@example([list(reversed(KINDS)), list(reversed(PLAIN_ROW))], True, False, "\r\n", "\n")
@example([["5", "5", "t", "make", "make"]], False, True, "\n", "\n")
@example([["-1", "7", "make", "trim", "LS"], PLAIN_ROW, ["-1", "4", "true", "Saab", "LS"]], False, False, "\n", "")
@example([["4", "7", "true", "Saab", "LS"], ["4", "7", "true", "Saab", "LS"]], False, False, "\n", "")
@example([["make", "trim", "", "", ""], ["Saab", "LS", "", "", ""]], False, False, "\n", "")
@example([[*PLAIN_ROW, "2024-05-01"], [*PLAIN_ROW, ""]], False, False, "\n", "")
@example([["-1", "4", "true", "Saab", "LS"]], False, False, "\n", "")
@example([["1e3", "4.0", "NA", "Volvo", "LS Coupe"], ["-3", "-2", "t", "", ""]], True, False, "\n", "\n")
@example([["5", "4", "", "", ""], ["1e7", "-2", "t", "Volvo", "LS"], ["", "", "", "", ""]], False, False, "\n", "")
def test_csv_is_answered_as_its_columns_are(
    name: str,
    rows: list[list[str]],
    quoted: bool,
    bare: bool,
    between: str,
    end: str,
) -> None:
    width = len(MODELS[name].columns)
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator=between)
    writer.writerows((row * 2)[:width] if width != 5 else row for row in rows)
    body = text.getvalue().removesuffix(between) + end
    if bare:  # a quotation mark where none is expected
        body = body.replace("Saab", 'Sa"ab').replace('"5"', '5"')
    found, expected = (answers(which[name], body, "text/csv") for which in (MODELS, BY_COLUMNS))
    assert found == expected


@pytest.mark.parametrize("body", ["", "\n", "\n\n", "Saab\n\n", "\nSaab", '""', " ", "Saab\r"])
@pytest.mark.parametrize("name", ["usual", "one column"])
def test_blank_lines_are_records_or_none_as_in_columns(name: str, body: str) -> None:
    found, expected = (answers(which[name], body, "text/csv") for which in (MODELS, BY_COLUMNS))
    assert found == expected


@pytest.mark.parametrize("name", MODELS)
@given(st.lists(st.dictionaries(st.sampled_from([*KINDS, "Make", "km driven", "cost", "sold"]), VALUES), max_size=3))
@settings(max_examples=40)
@example([CAR, {**CAR, "trim": None}, {name: CAR[name] for name in KINDS if name != "trim"}])
@example([{**CAR, "mileage": True}, {**CAR, "doors": 4.0}])
@example([{"Mileage": 5, "DOORS": "4", "Make": "Volvo", "trim": None, "cost": 1}])
def test_json_is_answered_as_its_columns_are(name: str, records: list[dict[str, Any]]) -> None:
    lines = "\n".join(map(json.dumps, records))
    found, expected = (answers(which[name], lines, "application/jsonlines") for which in (MODELS, BY_COLUMNS))
    assert found == expected


LINE = "8221.5,0,4,1,0,0,1,0,1.5,0.0000002,3,0\n"
SAAB = "8221.5,4,true,Saab,LS"


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (SAAB, LINE),
        (f"{SAAB}\n" * 2, LINE * 2),
        (f"{','.join(KINDS)}\r\n{SAAB}\r\n", LINE),
        ('"8221.5","4","true","Saab","LS"', LINE),
        ('trim,Make,Cruise,doors,mileage\n"LS",Saab,yes,4.0,8.2215e3\n', LINE),
        ("8221.5,4,true,Saab,", LINE.replace("1.5,0.0000002,3,0", "7.25,7.25,0,1")),
        ("8221.5,,NA,Volvo,LS Coupe", "8221.5,0,3.25,0.75,1,0,0,0,1.5,1.5,0,0\n"),
        ("-5,4,true,Saab,LS", LINE.replace("8221.5", "-5")),
    ],
)
def test_a_record_of_csv_takes_no_column(body: str, lines: str) -> None:
    """Each of the ways to write records: without this the rest of the file might compare nothing."""
    assert by_value(body, "text/csv", MODELS["usual"]) == lines


def by_value(body: str, content_type: str, model: inference.Preprocessor) -> str:
    records = inference.read(inference.input_fn(body, content_type), model)
    assert isinstance(records, FewRecords)
    return inference.encode(records, model)


@pytest.mark.parametrize("content_type", ["application/json", "application/jsonlines"])
@pytest.mark.parametrize(
    "record", [CAR, {**CAR, "doors": 4.0, "mileage": "8.2215e3"}, {name.title(): value for name, value in CAR.items()}]
)
def test_a_record_of_json_takes_no_column(content_type: str, record: dict[str, Any]) -> None:
    assert by_value(json.dumps(record), content_type, MODELS["usual"]) == LINE


@pytest.mark.parametrize(
    ("name", "body", "lines"),
    [
        ("units", "13231 km,4,true,Saab,LS", LINE.replace("8221.5", "8221.359701")),
        ("units", "sold,4,true,Saab,LS", LINE.replace("8221.5,0", "20000.5,1")),
        ("first number", "8221.5,4 doors,true,Saab,LS", LINE),
        ("words", "8221.5,4,ja,Saab,LS", LINE),
        ("other decimals", '"8.221,5",4,true,Saab,LS', LINE),
        ("as they are", '8221.5,4,true,"a,b",', '8221.5,4,1,"a,b",\n'),
        ("features.py", "8221.5,4,true,Saab,LS Sport", "2055.375,0,1,4,1,0,0\n"),
    ],
)
def test_a_model_of_its_own_ways_takes_no_column_either(name: str, body: str, lines: str) -> None:
    assert by_value(body, "text/csv", MODELS[name]) == lines


LONG = "LS" * MOST_CHARACTERS


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (f"{SAAB}\n" * (MOST_RECORDS + 1), "text/csv"),
        (SAAB + LONG, "text/csv"),
        (json.dumps([CAR] * (MOST_RECORDS + 1)), "application/json"),
        (json.dumps({**CAR, "trim": LONG}), "application/json"),
        (json.dumps({**CAR, "trim": LONG}), "application/jsonlines"),
    ],
)
def test_many_records_and_long_texts_are_columns(body: str, content_type: str) -> None:
    """One by one long texts take longer, twice where they are refused."""
    assert isinstance(inference.read(inference.input_fn(body, content_type), MODELS["usual"]), pa.Table)
