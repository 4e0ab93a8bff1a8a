"""The serving script in this process: what a request means, and what is said about a broken one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localcloud.engine.cloudwatch.metrics import embedded_metrics
from localcloud.sagemaker.containers import script_mode
from processing import inference
from tests.e2e.matrix.registry import matrix

script_mode.install()  # the container's modules are there before the script

COLUMNS = {"mileage": "float", "doors": "integer", "cruise": "boolean", "make": "string"}
ENCODINGS = [
    {"name": "mileage", "kind": "number", "fill": 20000.5, "indicator": True},
    {"name": "doors", "kind": "number", "fill": 3.25, "indicator": False},
    {"name": "cruise", "kind": "number", "fill": 0.75, "indicator": False},
    {"name": "make", "kind": "category", "categories": ["Buick", "Saab"], "indicator": False},
]
CSV, LINES, JSON = "text/csv", "application/jsonlines", "application/json"
SAAB = {"mileage": 12000, "doors": 2, "cruise": True, "make": "Saab"}
SAAB_ENCODED = "12000,0,2,1,0,1\n"
ALL_MISSING = "20000.5,1,3.25,0.75,0,0\n"


def preprocessor(folder: Path, **changes: Any) -> inference.Preprocessor:
    columns = [{"name": name, "type": kind, "nullable": False} for name, kind in COLUMNS.items()]
    document = {"format": 2, "model": "cars", "columns": columns, "encodings": ENCODINGS, **changes}
    (folder / "preprocessor.json").write_text(json.dumps(document))
    return inference.model_fn(str(folder))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> inference.Preprocessor:
    return preprocessor(tmp_path_factory.mktemp("model"))


def ask(model: inference.Preprocessor, body: bytes | str, content_type: str | None) -> Any:
    """What the container gets from the script's three functions."""
    prediction = inference.predict_fn(inference.input_fn(body, content_type), model)
    return inference.output_fn(prediction, "application/json")


def answer(model: inference.Preprocessor, body: bytes | str, content_type: str | None) -> str:
    text, kind = ask(model, body, content_type)
    assert kind == CSV
    assert isinstance(text, str)
    return text


def refusal(model: inference.Preprocessor, body: bytes | str, content_type: str | None = CSV) -> str:
    response = ask(model, body, content_type)
    assert (response.status_code, response.mimetype) == (400, "text/plain")
    text: str = response.data.decode()
    return text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("12000,2,1,Saab", CSV),
        (b"12000,2,true,Saab\r\n", "text/csv; charset=utf-8"),
        ('\ufeff"12000","2","yes","Saab"\n', "Text/CSV"),
        ("mileage,doors,cruise,make\n12000,2,1,Saab\n", CSV),
        (json.dumps(SAAB), LINES),
        (json.dumps(SAAB).encode() + b"\n\n", LINES),
        (json.dumps(dict(reversed(SAAB.items()))), JSON),
        (json.dumps({"instances": [{**SAAB, "mileage": 12000.0, "cruise": 1}]}), JSON),
        (json.dumps([SAAB]), JSON),
    ],
)
def test_same_record_gets_the_same_answer_in_every_form(
    model: inference.Preprocessor, body: bytes | str, content_type: str
) -> None:
    assert answer(model, body, content_type) == SAAB_ENCODED


def test_every_record_gets_one_line_in_order(model: inference.Preprocessor) -> None:
    lines = "\n".join(json.dumps({**SAAB, "mileage": miles}) for miles in range(500))
    assert [line.split(",")[0] for line in answer(model, lines, LINES).splitlines()] == [*map(str, range(500))]
    text = "".join(f"{miles},2,1,Saab\n" for miles in range(500))
    assert answer(model, text, CSV) == answer(model, lines, LINES)


ONE, OTHER = "1,2,0,Saab", '{"mileage": 1}'
QUOTED = '1,2,0,"Sa\n\nab"'


@pytest.mark.parametrize(
    ("body", "content_type", "number"),
    [
        (f"{ONE}\n\n{ONE}", CSV, 2),
        (f"\n{ONE}", CSV, 1),
        (f"\r\n{ONE}\r\n", CSV, 1),
        (f"{ONE}\r\n{ONE}\r\n\r\n\r\n{ONE}\r\n", CSV, 3),
        (f"{ONE}\r\r{ONE}", CSV, 2),
        (f"{ONE}\n,,,\n\n,,,\n", CSV, 3),
        (f"{QUOTED}\n{ONE}\n\n{QUOTED}", CSV, 5),
        (f"mileage,doors,cruise,make\n\n{ONE}", CSV, 2),
        (f"\nmileage,doors,cruise,make\n{ONE}", CSV, 1),
        (f"{OTHER}\n\n{OTHER}", LINES, 2),
        (f"{OTHER}\r\n \t\r\n{OTHER}", LINES, 2),
        (f"\n{OTHER}", LINES, 1),
    ],
)
@matrix("Endpoint", "a blank line before a record of a request", ends="status 400")
def test_blank_line_before_a_record_is_refused_by_number(
    model: inference.Preprocessor, body: str, content_type: str, number: int
) -> None:
    """Callers match answers with lines; a line that is passed over would shift all that follow."""
    assert refusal(model, body, content_type).startswith(f"line {number} is blank; expected a record in every line")


@pytest.mark.parametrize("end", ["\n\n", "\n\n\n", "\r\n\r\n", "\r\r"])
@pytest.mark.parametrize(("record", "content_type"), [(ONE, CSV), (QUOTED, CSV), (OTHER, LINES)])
@matrix("Endpoint", "blank lines after the last record of a request", ends="answered")
def test_blank_lines_after_the_last_record_are_harmless_outside_of_a_batch(
    model: inference.Preprocessor, record: str, content_type: str, end: str
) -> None:
    """In a batch a payload may end where its file goes on."""
    body = f"{record}\n{record}"
    assert answer(model, body + end, content_type) == answer(model, body, content_type)
    if "\n" in end or content_type == CSV:
        in_batch = replace(model, in_batch=True)
        number = 1 + body.count("\n") + 1
        assert refusal(in_batch, body + end, content_type).startswith(f"line {number} is blank")
        assert answer(in_batch, body + end[: len(end) // 2], content_type) == answer(model, body, content_type)


@given(st.lists(st.sampled_from([ONE, ",,,", QUOTED, ""]), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_answer_belongs_to_the_line_of_its_number_or_there_is_none(
    model: inference.Preprocessor, lines: list[str], end: str, in_batch: bool
) -> None:
    result = ask(replace(model, in_batch=in_batch), "".join(line + end for line in lines), CSV)
    while lines and not lines[-1] and not in_batch:
        lines.pop()
    expected = "".join(answer(model, line, CSV) for line in lines) if lines and "" not in lines else None
    assert (result[0] if isinstance(result, tuple) else None) == expected


@pytest.mark.parametrize(
    ("body", "answered"),
    [("a\n\nb\n", "100"), ("\na", "01"), ("a\n\n", "10"), ("\n", "0"), ("a\r\n\r\n", "10"), ("a", "1")],
)
@pytest.mark.parametrize("in_batch", [False, True])
def test_line_without_text_is_a_record_of_one_missing_value_where_there_is_one_feature(
    tmp_path: Path, body: str, answered: str, in_batch: bool
) -> None:
    columns = [{"name": "grade", "type": "string", "nullable": True}]
    encodings = [{"name": "grade", "kind": "category", "categories": ["a"], "indicator": False}]
    one_feature = replace(preprocessor(tmp_path, columns=columns, encodings=encodings), in_batch=in_batch)
    assert answer(one_feature, body, CSV) == "".join(f"{value}\n" for value in answered)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(",,,", CSV), ("NaN,NA,null,", CSV), ("{}", JSON), ('{"make": null, "mileage": NaN}', LINES)],
)
def test_missing_values_are_imputed(model: inference.Preprocessor, body: str, content_type: str) -> None:
    assert answer(model, body, content_type) == ALL_MISSING


def test_unknown_category_is_no_category(model: inference.Preprocessor) -> None:
    assert answer(model, '1,2,0,"Lada, ""old"""\n', CSV) == "1,0,2,0,0,0\n"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "the request holds no record; expected mileage, doors, cruise, make"),
        ("mileage,doors,cruise,make\n", "the request holds no record"),
        ("1,2,0,Saab\n1,2,0\n", "record 2: got 3 fields, expected 4: mileage,doors,cruise,make"),
        ("9000,1,2,0,Saab", "record 1: got 5 fields, expected 4"),
        (
            "1;2;0;Saab\n",
            "record 1: got 1 fields, expected 4: mileage,doors,cruise,make; the fields look separated by "
            "semicolons, and requests have commas",
        ),
        ("mileage\tdoors\tcruise\tmake\n1\t2\t0\tSaab", "the fields look separated by tabs, and requests have commas"),
        ("1,2,0,Saab\n9000|1,5|2|0|Saab", "record 2: got 2 fields, expected 4: mileage,doors,cruise,make; the fields"),
        ("1,2,0,Saab\n23.4 kmpl,2,0,Saab", "record 2, field 'mileage': got '23.4 kmpl', expected a finite number"),
        ("1,2.5,0,Saab", "record 1, field 'doors': got '2.5', expected a whole number"),
        ("1,2,maybe,Saab", "record 1, field 'cruise': got 'maybe', expected true or false"),
        ("mileage,doors,cruise,make\n1,x,0,Saab", "record 1, field 'doors': got 'x'"),
        ("make,doors,cruise,mileage\n1,2,0,Saab", "record 1, field 'mileage': got 'Saab', expected a finite number"),
        (
            "make,doors,cruise\n1,2,0",
            "a header with other columns: 'mileage' missing; expected mileage,doors,cruise,make",
        ),
        ("make,doors,cruise,miles\n1,2,0,Saab", "header with other columns: 'mileage' missing, unknown column 'miles'"),
        ("make,doors,cruise,mileage,x,y\n", "a header with other columns: unknown columns 'x', 'y'; expected mileage,"),
        ("make,doors,cruise,mileage,Make\n", "'make' and 'Make' are both make"),
        ("make,doors,cruise,mileage,make\n", "'make' and 'make' are both make"),
        ("make,doors,cruise,mileage,\n1,2,0,5\n", "record 1: got 4 fields, expected 5: make,doors,cruise,mileage,"),
        ('1,2,0,"Saab\n1,2,0,Saab', "record 1: a quotation mark is not closed"),
        ('1,2,0,Saab\n1,2,0,"Sa', "record 2: a quotation mark is not closed"),
        ('1,2,0,"Sa""b""', "record 1: a quotation mark is not closed"),
        ('1,2,0,"', "record 1: a quotation mark is not closed"),
        ('make,doors,cruise,mileage\nSaab,1,0,"2', "record 1: a quotation mark is not closed"),
        ('1,2,0,Saab\n1,"2,0,Saab', "record 2: got 2 fields, expected 4"),
        (b"1,2,0,Saab\n1,2,0,Citro\xebn", "byte 22 of the request is not UTF-8"),
        ("1,2,0,Citro\ufffdn", "holds U+FFFD, which stands for what was not"),
    ],
)
def test_broken_csv_is_refused_with_record_and_field(
    model: inference.Preprocessor, body: bytes | str, problem: str
) -> None:
    assert problem in refusal(model, body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}\n{", "record 2 is not readable as JSON"),
        ('{}\n{"make": "a", "make": "b"}', "record 2 is not readable as JSON: the name 'make' stands more than once"),
        ("[1]", "record 1: got '[1]', expected an object with mileage, doors, cruise, make"),
        ('{"milage": 1}', "record 1: unknown field 'milage'; expected mileage, doors, cruise, make"),
        ('{"y": 1, "make": "a", "x": 2}', "record 1: unknown fields 'y', 'x'; expected mileage, doors, cruise, make"),
        (
            json.dumps(dict.fromkeys(f"name {n}" for n in range(500))),
            "'name 35', 'name 36' and 463 more; expected mile",
        ),
        ('{}\n{"mileage": "1 mi"}', "record 2, field 'mileage': got '1 mi', expected a finite number"),
        ('{"mileage": true}', "record 1, field 'mileage': got 'True'"),
        ('{"mileage": Infinity}', "Infinity is no JSON number"),
        ('{"mileage": 1e999}', "record 1, field 'mileage': got '1e999', expected a number up to 3.4e+38"),
        ('{"make": 5.5}', "record 1, field 'make': got '5.5', expected a text"),
        ('{"make": "\\ud800"}', "record 1, field 'make': got '\\ud800'"),
        ("[" * 100_000, "not readable as JSON"),
        ("1" * 5000, "not readable as JSON"),
    ],
)
def test_broken_json_line_is_refused_with_record_and_field(
    model: inference.Preprocessor, body: str, problem: str
) -> None:
    assert problem in refusal(model, body, LINES)


@pytest.mark.parametrize("body", ['{"make": 1, "make": 2}', '{"instances": [{"make": "a", "make": "a"}]}'])
def test_a_name_that_stands_twice_in_an_object_is_refused(model: inference.Preprocessor, body: str) -> None:
    assert "the name 'make' stands more than once in one object" in refusal(model, body, JSON)


@pytest.mark.parametrize("body", ['1,2,0,"Saab"', '1,2,0,"Sa\n""ab"""\n', '1,2,0,5"', '1"5,2,0,"a\nb"'])
def test_a_quotation_mark_that_is_closed_or_stands_in_a_text_opens_nothing(
    model: inference.Preprocessor, body: str
) -> None:
    assert "quotation mark" not in str(ask(model, body, CSV))


@pytest.mark.parametrize("content_type", [LINES, JSON])
@pytest.mark.parametrize("shape", ['{"mileage": %s}', '{"make": %s}', "%s", '{"unknown": %s}'])
def test_values_in_one_another_are_refused_at_every_depth(
    model: inference.Preprocessor, shape: str, content_type: str
) -> None:
    """At some of them Python reads the value and cannot write it."""
    for depth in range(900, 1001):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            refusal(model, shape % (opening * depth + "1" + closing * depth), content_type)


@pytest.mark.parametrize("body", ["[]", '{"instances": []}', '{"instances": 5}', "5", '"a"', "null", ""])
def test_json_without_records_is_refused(model: inference.Preprocessor, body: str) -> None:
    assert refusal(model, body, JSON)


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-npy", "csv"])
def test_other_content_types_are_refused_by_name(model: inference.Preprocessor, content_type: str | None) -> None:
    assert "expected text/csv, application/jsonlines, application/json" in refusal(model, "1", content_type)


def test_a_failure_of_the_script_itself_is_no_refusal(
    model: inference.Preprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(inference, "from_python", broken)
    with pytest.raises(ValueError, match="a bug"):
        ask(model, json.dumps({**SAAB, "mileage": "12,000"}), LINES)


def test_batch_transform_passes_over_names_that_this_model_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert answer(preprocessor(tmp_path), json.dumps({**SAAB, "colour": "red"}), LINES) == SAAB_ENCODED


def test_request_that_becomes_more_than_the_model_takes_is_refused_with_how_many_records_fit(
    model: inference.Preprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "LARGEST_ANSWER", 10 * len(SAAB_ENCODED))
    monkeypatch.setattr(inference, "ROWS_AT_ONCE", 4)
    line = f"{json.dumps(SAAB)}\n"
    assert answer(model, line * 10, LINES) == SAAB_ENCODED * 10
    response = ask(model, line * 11, LINES)
    assert (response.status_code, response.mimetype) == (413, "text/plain")
    assert response.data == (
        b"the request holds 11 records; expected at most 10: each becomes up to 16 bytes of features, "
        b"and the model takes 160 bytes"
    )
    assert answer(replace(model, in_batch=True), line * 11, LINES) == SAAB_ENCODED * 11


CHECKS = {
    "mileage": {"min": 0, "max": 50000, "known": None, "nullable": False},
    "make": {"min": None, "max": None, "known": ["Buick", "Saab"], "nullable": True},
}


def test_unusual_records_are_answered_counted_and_named_in_the_answers_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACK_NAME", "cars")
    checked = preprocessor(tmp_path, checks={"rules": CHECKS, "refused": []})
    assert answer(checked, json.dumps(SAAB), LINES) == SAAB_ENCODED
    assert capsys.readouterr().out == ""

    response = ask(checked, f'{json.dumps(SAAB)}\n{{"make": "Lada", "mileage": 50001}}\n{{}}', LINES)
    assert (response.status_code, response.mimetype) == (200, CSV)
    assert response.headers == {
        "X-Amzn-SageMaker-Custom-Attributes": "missing=mileage:1;out_of_range=mileage:1;unknown_category=make:1"
    }
    assert response.data.decode() == f"{SAAB_ENCODED}50001,0,3.25,0.75,0,0\n{ALL_MISSING}"
    printed = capsys.readouterr().out
    assert "Lada" not in printed
    assert {(metric, dimensions.get("column")) for _, metric, _, _, dimensions in embedded_metrics(printed)} == {
        ("MissingValues", None), ("MissingValues", "mileage"), ("ValuesOutOfRange", None),
        ("ValuesOutOfRange", "mileage"), ("UnknownCategories", None), ("UnknownCategories", "make"),
    }  # fmt: skip


@matrix("Endpoint", "a value that the definition refuses (serving: refuse)", ends="status 400")
def test_kinds_that_the_definition_refuses_are_refused_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = preprocessor(tmp_path, checks={"rules": CHECKS, "refused": ["unknown_category"]})
    assert "record 2, field 'make': got 'Lada', expected one of 'Buick', 'Saab'" in refusal(
        checked, "1,2,0,Saab\n1,2,0,Lada\n"
    )
    assert [metric for _, metric, *_ in embedded_metrics(capsys.readouterr().out)] == [
        "UnknownCategories", "UnknownCategories", "RefusedRequests",
    ]  # fmt: skip
    assert ask(checked, "99999,2,0,Saab", CSV).status_code == 200


def test_batch_transform_checks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model in service scores a test set of a newer definition."""
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    checked = preprocessor(tmp_path, checks={"rules": CHECKS, "refused": ["unknown_category", "missing"]})
    assert answer(checked, '{"make": "Lada"}', LINES) == ALL_MISSING
    assert capsys.readouterr().out == ""


PARSED = [
    {"name": "mileage", "type": "float", "nullable": True, "sources": ["Km/Stand"], "parse": {"units": {"km": 1}}},
    {"name": "doors", "type": "integer", "nullable": False, "sources": [], "parse": {"missing": ["-1"]}},
    {"name": "cruise", "type": "boolean", "nullable": False, "parse": {"true": ["mit"], "false": ["ohne"]}},
    {"name": "make", "type": "string", "nullable": False, "sources": ["Marke"]},
]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("12000 km,2,mit, Saab \n", CSV),
        ("Km/Stand,DOORS,cruise,marke\n12000 km,2,mit,Saab\n", CSV),
        ('{"Km/Stand": "12000 km", "Doors": "2", "Cruise": "MIT", "Marke": "Saab"}', LINES),
        ('{"mileage": 12000, "doors": 2, "cruise": true, "make": "Saab"}', JSON),
    ],
)
def test_names_and_texts_of_files_mean_the_same_in_requests(tmp_path: Path, body: str, content_type: str) -> None:
    assert answer(preprocessor(tmp_path, columns=PARSED), body, content_type) == SAAB_ENCODED


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"mileage": "5 mi"}', "field 'mileage': got '5 mi', expected a number, alone or with 'km'"),
        ('{"cruise": "yes"}', "field 'cruise': got 'yes', expected 'mit' or 'ohne'"),
        ('{"Marke": "a", "make": "b"}', "record 1: the fields 'Marke' and 'make' are both make; expected one of them"),
        ('{"colour": "a", "MARKE": "b"}', "record 1: unknown field 'colour'; expected mileage, doors, cruise, make"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_definition(tmp_path: Path, body: str, problem: str) -> None:
    assert problem in refusal(preprocessor(tmp_path, columns=PARSED), body, LINES)


PASSED_OVER = {"columns": {"price": ["Preis (€)"], "vin": []}, "unknown": False}
NUMBERED = {"price": 9000, **SAAB, "VIN": "x", "": 7, "Unnamed: 0": 7, "__index_level_0__": 7}


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("content_type", [LINES, JSON])
def test_a_row_of_a_file_is_a_record_and_what_is_no_feature_is_passed_over(
    tmp_path: Path, content_type: str, unknown: bool
) -> None:
    model = preprocessor(tmp_path, passed_over={**PASSED_OVER, "unknown": unknown})
    assert answer(model, json.dumps(NUMBERED), content_type) == SAAB_ENCODED
    assert answer(model, json.dumps({**SAAB, "Preis (€)": 1, "PRICE": 2}), content_type) == SAAB_ENCODED
    others = json.dumps({**NUMBERED, "colour": "red", "": 5})
    if unknown:
        assert answer(model, others, content_type) == SAAB_ENCODED
    else:
        assert "record 1: unknown field 'colour'; expected mileage," in refusal(model, others, content_type)


def test_a_source_counts_before_the_own_name_where_other_columns_are_ignored(tmp_path: Path) -> None:
    model = preprocessor(tmp_path, columns=PARSED, passed_over={"columns": {}, "unknown": True})
    assert answer(model, json.dumps({**SAAB, "make": "raw", "Marke": "Saab"}), LINES) == SAAB_ENCODED
    assert "are both make" in refusal(model, json.dumps({"MARKE": "Saab", "marke": "Saab"}), LINES)


NULLABLE = [{"name": name, "type": kind, "nullable": name == "doors"} for name, kind in COLUMNS.items()]


@pytest.mark.parametrize(
    "body",
    [
        "make,cruise,doors,mileage\nSaab,1,2,12000\n",
        '"Make",CRUISE,"doors",Mileage\r\nSaab,1,2,12000\r\n',
        ",price,make,cruise,doors,mileage\n1,9000,Saab,1,2,12000\n",
        "Preis (€),make,cruise,doors,mileage,vin\n9000,Saab,1,2,12000,x\n",
        "Unnamed: 0,make,cruise,doors,mileage\n7,Saab,1,2,12000\n",
    ],
)
def test_csv_is_read_by_its_header(tmp_path: Path, body: str) -> None:
    assert answer(preprocessor(tmp_path, passed_over=PASSED_OVER), body, CSV) == SAAB_ENCODED


@pytest.mark.parametrize("header", ["make,cruise,mileage", "make,cruise,mileage,vin", "price,make,vin,cruise,mileage"])
def test_a_column_that_may_be_null_may_be_absent_from_a_header(tmp_path: Path, header: str) -> None:
    model = preprocessor(tmp_path, columns=NULLABLE, passed_over=PASSED_OVER)
    values = {"make": "Saab", "cruise": "1", "mileage": "12000"}
    row = ",".join(values.get(name, "x") for name in header.split(","))
    assert answer(model, f"{header}\n{row}\n{row}\n", CSV) == "12000,0,3.25,1,0,1\n" * 2


def test_a_header_may_name_few_columns_where_it_is_no_row_of_values(tmp_path: Path) -> None:
    columns = [{**column, "nullable": column["name"] != "make"} for column in NULLABLE]
    model = preprocessor(tmp_path, columns=columns, passed_over=PASSED_OVER)
    assert answer(model, "make\nSaab\n", CSV) == "20000.5,1,3.25,0.75,0,1\n"
    assert answer(model, "vin,make\nx,Saab\n", CSV) == "20000.5,1,3.25,0.75,0,1\n"
    assert "header with other columns: 'make' missing" in refusal(model, "vin,doors\nx,2\n")


def test_other_columns_of_a_header_are_passed_over_where_the_definition_says_so(tmp_path: Path) -> None:
    model = preprocessor(tmp_path, passed_over={**PASSED_OVER, "unknown": True})
    others = [f"other {number}" for number in range(20)]
    header, row = ",".join([*others, *COLUMNS]), ",".join(["x"] * 20 + ["12000", "2", "1", "Saab"])
    assert answer(model, f"{header}\n{row}\n", CSV) == SAAB_ENCODED
    assert "got 24 fields, expected 4" in refusal(model, f"{row}\n{row}\n", CSV)


@pytest.mark.parametrize("row", ["price,vin", "x,", "x,vin", "y,price", "y,y", ",x", "price,5"])
def test_a_row_of_values_is_no_header(tmp_path: Path, row: str) -> None:
    """However like a name a value is."""
    columns = [{"name": name, "type": "string", "nullable": True} for name in ("x", "y")]
    encodings = [{"name": name, "kind": "category", "categories": ["x"], "indicator": False} for name in ("x", "y")]
    model = preprocessor(tmp_path, columns=columns, encodings=encodings, passed_over=PASSED_OVER | {"unknown": True})
    first, second = (int(value == "x") for value in row.split(","))
    assert answer(model, f"{row}\n", CSV) == f"{first},{second}\n"


def test_a_batch_transform_reads_no_columns_by_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines after it may come in other requests, which have none."""
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    model = preprocessor(tmp_path, passed_over=PASSED_OVER)
    assert answer(model, "mileage,doors,cruise,make\n12000,2,1,Saab", CSV) == SAAB_ENCODED
    for header in ("make,cruise,doors,mileage", "price,mileage,doors,cruise,make"):
        assert "expected mileage,doors,cruise,make in this order, which a batch" in refusal(model, f"{header}\n", CSV)


def test_preprocessor_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has format 1; this code reads 2"):
        preprocessor(tmp_path, format=1)


def test_hook_beside_the_model_is_applied(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "features.py").write_text(
        "import pyarrow as pa\n\ndef transform(table):\n    return pa.table({'doors': table['doors']})\n"
    )
    assert answer(preprocessor(tmp_path, encodings=ENCODINGS[1:2]), "12000,2,1,Saab", CSV) == "2\n"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*COLUMNS, "x"]), inner, max_size=5),
    max_leaves=8,
)
bodies = (
    st.binary(max_size=200)
    | st.text(max_size=200)
    | st.text('0123456789.,;"\n\rtrueSab \\{}[]:e-', max_size=200)
    | json_values.map(json.dumps)
    | st.lists(json_values.map(json.dumps), max_size=4).map("\n".join)
)


@given(bodies, st.sampled_from([CSV, LINES, JSON]))
@settings(max_examples=300)
@example('1,2,0,"' + "a\n" * 1000, CSV)
@example("\x00,1,1,\x00\n", CSV)
def test_any_request_is_answered_line_by_line_or_refused(
    model: inference.Preprocessor, body: bytes | str, content_type: str
) -> None:
    result = ask(model, body, content_type)
    if not isinstance(result, tuple):
        assert result.status_code == 400
        assert result.data
        return
    text, kind = result
    assert kind == CSV
    lines = text.split("\n")
    assert lines.pop() == ""
    assert lines
    assert all(len([float(field) for field in line.split(",")]) == 6 for line in lines)
