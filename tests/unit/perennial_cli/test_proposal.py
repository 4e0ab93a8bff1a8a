"""`perennial init` on files as people have them: what each column is taken for, why, and what is said of the rest."""

import csv
import gzip
import json
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from perennial.data.file_form import FileForm
from perennial.data.header import FileError
from perennial.model import definition, tuning
from perennial_cli import quick_fit
from perennial_cli.proposal import document, series, target
from perennial_cli.proposal.columns import ColumnGuess, guessed
from perennial_cli.proposal.names import column_names, model_name, needs_source
from perennial_cli.proposal.target import TargetError
from perennial_cli.proposal.texts import Texts, read_texts
from tests.command import perennial, says
from tools import demo_data

TABLE = b"".join([b"a,b\n", *(b"%d,%d\n" % (row, row % 7) for row in range(100))])


def column(*texts: str | None, name: str = "column") -> ColumnGuess:
    return guessed(name, name, pa.array(texts, pa.string()))


def fields(*texts: str | None, name: str = "column") -> dict[str, object]:
    return column(*texts, name=name).fields


# ---- Values


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("1", "2", "30"), {"type": "integer", "min": 0, "max": 59}),
        (("1.5", "2", "30"), {"type": "float", "min": 0, "max": 59}),
        (("-3", "2", "5"), {"type": "integer", "min": -11, "max": 13}),
        (("0", "1", "1"), {"type": "integer", "min": 0, "max": 1}),
        (("23.4 kmpl", "21 kmpl", "20 kmpl"),
         {"type": "float", "unit": "kmpl", "min": 0, "max": 27, "parse": {"units": {"kmpl": 1.0}}}),
        (("$1,200", "$999", "$12,000"),
         {"type": "integer", "unit": "$", "min": 0, "max": 24000, "parse": {"units": {"$": 1.0}, "thousands": ","}}),
        (("1.234,50 €", "999,00 €", "12.000,10 €"),
         {"type": "float", "unit": "€", "min": 0, "max": 24000,
          "parse": {"units": {"€": 1.0}, "thousands": ".", "decimal": ","}}),
        (("1,5", "2,25", "30"), {"type": "float", "min": 0, "max": 59, "parse": {"decimal": ","}}),
        (("1 234", "12 000", "9"), {"type": "integer", "min": 0, "max": 24000, "parse": {"thousands": " "}}),
        (("45 %", "3 %", "99 %"),
         {"type": "integer", "unit": "%", "min": 0, "max": 200, "parse": {"units": {"%": 1.0}}}),
        (("5 kg", "300 g", "2 kg", "1 kg"),
         {"type": "float", "unit": "kg", "min": 0, "max": 9.7, "parse": {"units": {"kg": 1.0, "g": 0.001}}}),
    ],
)  # fmt: skip
def test_numbers_are_read_with_what_stands_around_them(texts, expected) -> None:
    assert fields(*texts) == expected


@pytest.mark.parametrize(
    ("texts", "among", "expected"),
    [
        (["60.000 km", "500 km"], ["1,5", "2,25"], (500, 60_000)),
        (["60.000", "500"], ["1.234,50", "999,00"], (500, 60_000)),
        (["12,345", "1,250"], ["1,5", "2,25"], (1.25, 12.345)),
        (["60.000 km", "500 km"], ["1.5", "2.25"], (60, 500)),
        (["60,000", "500"], ["1.5", "2.25"], (500, 60_000)),
        (["60,000", "500"], ["a", "b"], (500, 60_000)),
        (["0.125", "1.250"], ["1,5", "2,25"], (0.125, 1.25)),
        (["60.000", "1234"], ["1,5", "2,25"], (60, 1234)),
        (["1.250.000", "500"], ["1.5", "2.25"], (500, 1_250_000)),
    ],
)
def test_marks_that_may_stand_before_thousands_are_read_as_other_columns_show(texts, among, expected) -> None:
    other = [*among, "3"][: len(texts)]
    first, _ = document.columns_of(Texts({"a": pa.array(texts), "b": pa.array(other)}, FileForm(), len(texts), []))
    assert first.reading is not None
    values = first.reading.values.to_pylist()
    assert (min(values), max(values), first.doubts) == (*map(pytest.approx, expected), ())


@pytest.mark.parametrize("among", [["a", "b", "c"], ["1,5", "2,25", "3,5"]], ids=["no other number", "several marks"])
def test_a_point_that_may_stand_before_thousands_is_said_to_be_for_people_to_decide(among: list[str]) -> None:
    columns = {"a": pa.array(["60.000 km", "500 km", "1.200 km"]), "b": pa.array(among), "c": pa.array(["1.5"] * 3)}
    if among[0] == "a":
        del columns["c"]
    first, *_ = document.columns_of(Texts(columns, FileForm(), 3, []))
    assert first.doubts == (
        "'60.000 km' is taken for 60: if it is 60,000, write thousands: ., decimal: ',' into parse",
    )


def test_of_texts_with_several_numbers_the_first_counts_in_the_unit_that_they_name() -> None:
    torques = [f"{number}Nm@ {number}00rpm" for number in range(100, 130)]
    guess = column(*torques, "12.7@ 2,700(kgm@ rpm)", "22.4 kgm at 1750-2750rpm", None)
    assert guess.fields["parse"] == {"number": "first", "units": {"Nm": 1.0, "kgm": 9.80665}}
    assert (guess.fields["type"], guess.fields["unit"], guess.fields["nullable"]) == ("float", "Nm", True)


def test_names_with_a_digit_are_no_numbers() -> None:
    assert fields(*["1Fam", "2fmCon"] * 30) == {"type": "string", "categories": ["1Fam", "2fmCon"]}
    assert fields(*["1. White", "2. Black"] * 30) == {"type": "string", "categories": ["1. White", "2. Black"]}
    assert fields(*["VS1", "VS2", "SI1", "IF"] * 30) == {"type": "string", "categories": ["IF", "SI1", "VS1", "VS2"]}


def test_a_target_of_two_numbers_is_a_class_and_the_rarer_one_is_asked_for() -> None:
    (column,) = guesses(default=["1", "1", "2"] * 40)
    found = target.as_target("default", [column], "")
    assert (found.problem, found.metric) == ("binary_classification", "auc")
    assert found.column.fields == {"type": "boolean", "parse": {"true": ["2"], "false": ["1"]}}


@pytest.mark.parametrize("marker", ["-", "?", "unknown", "n.a."])
def test_words_for_a_missing_value_are_told(marker: str) -> None:
    assert fields("1", "2", marker, "3")["parse"] == {"missing": [marker]}
    assert fields("1", "2", marker, "3")["nullable"] is True
    assert fields("red", "blue", marker, "green")["parse"] == {"missing": [marker]}


def test_a_number_that_nobody_measures_is_a_missing_value_and_said_to_be() -> None:
    guess = column("5", "7", "-999", "8")
    assert guess.fields == {"type": "integer", "min": 0, "max": 11, "nullable": True, "parse": {"missing": ["-999"]}}
    assert guess.doubts == ("-999 is taken for a missing value",)


def test_units_of_which_nobody_knows_the_factor_are_named() -> None:
    (doubt,) = column("20 kmpl", "21 kmpl", "30 km/kg").doubts
    assert doubt == "'km/kg' is taken for the same unit as 'kmpl': if it is another, give its factor"


def test_few_values_that_are_no_numbers_are_put_aside_and_shown() -> None:
    guess = column(*map(str, range(100)), "12 or 13")
    assert (guess.type, guess.broken_rows) == ("integer", 1)
    assert guess.doubts == ("1 row is put aside, because this is no integer: '12 or 13'",)


@pytest.mark.parametrize(
    ("texts", "parse"),
    [
        (("Yes", "No"), None),
        (("true", "FALSE"), None),
        (("ja", "nein"), {"true": ["ja"], "false": ["nein"]}),
        (("on", "off"), {"true": ["on"], "false": ["off"]}),
    ],
)
def test_words_for_yes_and_no_are_booleans(texts, parse) -> None:
    assert fields(*texts) == {"type": "boolean", **({"parse": parse} if parse else {})}


@pytest.mark.parametrize(
    ("texts", "forms"),
    [
        (("2024-05-01", "2023-12-31"), None),
        (("2024-05-01 10:00:00", "2023-12-31T23:59:59"), None),
        (("01.05.2024", "31.12.2023"), ["%d.%m.%Y"]),
        (("12/31/2023", "01/05/2024"), ["%m/%d/%Y"]),
        (("1 May 2024", "31 Dec 2023"), ["%d %b %Y"]),
        (("20240501", "20231231"), ["%Y%m%d"]),
        (("31/12/2023 10:15", "01/05/2024 09:00"), ["%d/%m/%Y %H:%M"]),
        (("Jan-2018", "Dec-2017"), ["%b-%Y"]),
        (("January 2018", "December 2017"), ["%B %Y"]),
        (("2018-01", "2017-12"), ["%Y-%m"]),
        (("01/2018", "12/2017"), ["%m/%Y"]),
    ],
)
def test_dates_are_read_in_their_form_and_are_no_features(texts, forms) -> None:
    form = {"nullable": True, "parse": {"formats": forms}} if forms else {}
    expected = {"type": "timestamp", "feature": False, **form}
    assert fields(*texts) == expected


@pytest.mark.parametrize("texts", [("1998 Q1", "1998 Q2"), ("Q4 2020", "q1 2021"), ("2018-W05", "2018-W06")], ids=ascii)
def test_quarters_and_weeks_are_neither_numbers_nor_features(texts: tuple[str, ...]) -> None:
    guess = column(*texts)
    assert guess.fields == {"type": "string", "feature": False}
    assert "names a period, which comes once" in guess.doubts[0]


@pytest.mark.parametrize("texts", [("2018", "2017"), ("12.2018", "11.2017"), ("Type 12", "Type 2018"), ("4-1", "9-3")])
def test_numbers_and_names_are_no_months_and_no_quarters(texts: tuple[str, ...]) -> None:
    guess = column(*texts)
    assert guess.type != "timestamp"
    assert not any("period" in doubt for doubt in guess.doubts)


def test_a_date_that_reads_in_two_ways_is_said_to_be_for_people_to_decide() -> None:
    (doubt,) = column("01/02/2024", "03/04/2024").doubts
    assert doubt == "every value reads as %d/%m/%Y and as %m/%d/%Y: which one it is, is for you to say"


@pytest.mark.parametrize(
    ("guess", "why"),
    [
        (column(*["80"] * 30), "the same in every row ('80')"),
        (column(*["-999"] * 30), "the same in every row ('-999')"),
        (column(*map(str, range(1, 40))), "numbers the rows"),
        (column(*(str(2**60 + n) for n in range(30))), "numbers the rows"),
        (
            column(*(str(7 * n) for n in range(30)), name="customer_id"),
            "another value in every row, and named as an id",
        ),
        (column(*(f"note {n} of its own" for n in range(30))), "another text in nearly every row (30 of 30)"),
        (column(*(f"{'a long story ' * 8}{n % 25}" for n in range(100))), "free text of 10"),
    ],
    ids=["constant", "nothing but missing", "row numbers", "large row numbers", "id", "all different", "free text"],
)
def test_what_says_nothing_is_no_feature_and_why(guess: ColumnGuess, why: str) -> None:
    assert not guess.is_feature
    assert guess.evidence.startswith(why)


@pytest.mark.parametrize("largest", [2**62, 2**63 - 1, 10**25])
def test_a_range_of_large_numbers_is_one_that_model_yaml_has(largest: int) -> None:
    fields = column(str(largest), "7", "9").fields
    assert definition.read(yaml.safe_dump(fields), "model.yaml") == fields
    assert fields["min"] == 0
    assert fields["max"] > largest


@pytest.mark.parametrize(
    "texts", [[*map(str, range(1, 30)), "n/a"], ["NaN", "1", "2"], [str(2**63 - 1 - n) for n in range(30)]]
)
def test_numbers_that_are_all_different_number_no_rows_where_one_is_missing_or_they_fall(texts: list[str]) -> None:
    guess = column(*texts)
    assert (guess.type, guess.is_feature) == ("integer", True)


@pytest.mark.parametrize(
    ("guess", "nullable"),
    [
        (column("x", "x"), True),
        (column("1", "2", "3"), True),
        (column("1", "2", "3", name="sale_id"), None),  # may be the key, and a key is in each row
        (column("2026-11-01", "2026-11-02"), None),  # the time of a request stands for it
        (column("01.11.2026", "25.11.2026"), True),
    ],
    ids=["constant", "row numbers", "id", "time", "time with a form"],
)
def test_what_is_no_feature_may_be_absent_because_callers_do_not_send_it(guess: ColumnGuess, nullable: object) -> None:
    assert (guess.is_feature, guess.fields.get("nullable")) == (False, nullable)


def test_a_column_without_a_value_is_not_understood() -> None:
    guess = column("", None, " ")
    assert guess.fields == {"type": "string", "nullable": True, "feature": False}
    assert guess.doubts == ("has no value: nobody can tell what it is",)


def test_many_different_texts_stay_a_feature_and_have_no_categories() -> None:
    assert fields(*(f"Maruti {n % 40}x" for n in range(400))) == {"type": "string"}


def test_years_get_years_for_room() -> None:
    assert fields("1983", "2020", "2001", name="year") == {"type": "integer", "min": 1963, "max": 2030}


def test_a_maximum_that_is_far_away_from_all_others_is_pointed_at() -> None:
    (doubt,) = column(*(str(n % 100) for n in range(2000)), "900000").doubts
    assert doubt.startswith("the largest value is 900,000, and 99.9 % are at most 99")


# ---- Names


def test_names_are_those_of_a_definition_and_no_two_are_alike() -> None:
    headers = ["BusinessTravel", "Preis (€)", "2nd owner", "Größe", "price", "Price ", "€"]
    assert list(column_names(headers).values()) == [
        "business_travel", "preis", "c_2nd_owner", "groe", "price", "price_2", "column_7",
    ]  # fmt: skip


def test_a_source_is_written_where_the_name_alone_does_not_find_the_column() -> None:
    assert not needs_source("business_travel", "BusinessTravel", ["BusinessTravel"])
    assert needs_source("preis", "Preis (€)", ["Preis (€)"])
    assert needs_source("price_2", "Price ", ["price", "Price "])


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("car_details_v3.csv", "car-details-v3"),
        ("Häuser.csv.gz", "hauser"),
        ("€", "model"),
        (f"{'a' * 31} b.csv", "a" * 31),
    ],
)
def test_a_model_is_called_after_its_file(stem: str, name: str) -> None:
    assert model_name(stem) == name


# ---- Files


HEADER, ROW = "name;größe", "Zoë;12"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (f"{HEADER}\n{ROW}\n".encode(), "utf-8"),
        (f"{HEADER}\r\n{ROW}\r\n".encode("utf-8-sig"), "utf-8"),
        (f"{HEADER}\n{ROW}\n".encode("utf-16"), "utf-8"),  # its mark says so
        ((f"{HEADER}\n" + f"{ROW} Straße über Köln\n" * 30).encode("cp1252"), "cp1252"),
        (("имя;цена\n" + "Москва и область;12\n" * 30).encode("cp1251"), "cp1251"),
        (gzip.compress(f"{HEADER}\n{ROW}\n".encode()), "utf-8"),
    ],
    ids=["utf-8", "a mark", "utf-16", "cp1252", "cp1251", "gzip"],
)
def test_the_encoding_is_declared_where_no_mark_says_it(tmp_path: Path, body: bytes, encoding: str) -> None:
    (tmp_path / "file.csv").write_bytes(body)
    texts = read_texts([tmp_path / "file.csv"])
    assert texts.form.encoding == encoding
    assert len(texts.columns) == 2
    first, _ = texts.columns.values()
    assert first[0].as_py().startswith(("Zoë", "Москва"))


TEXTS = {
    "koi8-r": "Иван Петров;Нижний Новгород;улица Ленина;квартира",
    "cp866": "Мария Смирнова;Екатеринбург;цена;город",
    "iso-8859-5": "Иван Петров;Нижний Новгород;улица Ленина;квартира",
    "iso-8859-2": "świeca;Częstochowa;źródło;powierzchnia użytkowa;Śląsk",
    "cp1250": "świeca;Częstochowa;źródło;powierzchnia użytkowa;Śląsk",
    "cp1252": "Génération;École;Besançon;prénom;Noël;où",
    "cp850": "Müller;Köln;Straße;Größe;Düsseldorf",
    "cp1253": "Γιώργος;Αθήνα;Θεσσαλονίκη;διαμέρισμα;ημερομηνία",
    "cp1254": "Ağaç;İstanbul;çığ;Eskişehir;müşteri",
    "big5": "產品甲;臺北市;高雄市信義區;客戶名稱",
    "gb18030": "产品;北京市;相机;客户名称",
    "shift_jis": "製品;東京都;カメラ;お客様",
    "euc_jp": "製品;東京都;カメラ;お客様",
    "euc_kr": "제품;서울;카메라;고객",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_an_encoding_that_nobody_says_is_guessed_and_said_to_be_a_guess(tmp_path: Path, encoding: str) -> None:
    rows = "".join(f"{text};{number}\n" for number in range(50) for text in TEXTS[encoding].split(";"))
    (tmp_path / "file.csv").write_bytes(("name;size\n" + rows).encode(encoding))
    texts = read_texts([tmp_path / "file.csv"])
    assert texts.columns["name"].unique().to_pylist() == TEXTS[encoding].split(";")
    (doubt,) = texts.doubts
    first = next(word for word in TEXTS[encoding].replace(" ", ";").split(";") if not word.isascii())
    assert f"It is taken for {texts.form.encoding}, in which it has '{first}'" in doubt


@pytest.mark.parametrize("text", ["Königin Straße", "Müller", "Straße"])
@pytest.mark.parametrize("unit", ["°F", "°C", "m²", "km²", "k€"])
def test_the_sign_of_a_unit_beside_a_letter_breaks_no_word(tmp_path: Path, unit: str, text: str) -> None:
    rows = "".join(f"{text} {number % 5};{number}\n" for number in range(200))
    (tmp_path / "file.csv").write_bytes((f"name;size ({unit})\n" + rows).encode("cp1252"))
    texts = read_texts([tmp_path / "file.csv"])
    assert list(texts.columns) == ["name", f"size ({unit})"]
    assert texts.form.encoding == "cp1252"


def test_another_encoding_without_a_word_in_it_is_not_shown(tmp_path: Path) -> None:
    rows = "".join(f"Newark;{number}\n" for number in range(50))
    (tmp_path / "file.csv").write_bytes(("name;size (°F)\n" + rows).encode("cp1252"))
    (doubt,) = read_texts([tmp_path / "file.csv"]).doubts
    assert " it would have ." not in doubt


def test_of_two_encodings_that_a_text_may_be_in_the_other_is_shown_as_well(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(("name;size\n" + "Győr;1\nszűrő;2\n" * 30).encode("cp1250"))
    (doubt,) = read_texts([tmp_path / "file.csv"]).doubts
    assert "'Gyõr', 'szûrõ'. As cp1250 it would have 'Győr', 'szűrő'. If that is wrong" in doubt


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_encoding_that_a_file_says_itself_is_no_guess(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "file.csv").write_text("größe\nzwölf\n", encoding=encoding)
    assert read_texts([tmp_path / "file.csv"]).doubts == []


@pytest.mark.parametrize(("delimiter", "declared"), [(",", None), (";", None), ("\t", None), ("|", None), ("^", "^")])
def test_a_delimiter_is_declared_where_runs_do_not_look_for_it(
    tmp_path: Path, delimiter: str, declared: str | None
) -> None:
    rows = [delimiter.join(row) for row in (["a", "b", "c"], ["1", "x y", "3"], ["4", "z", "6"])]
    (tmp_path / "file.csv").write_text("\n".join(rows))
    texts = read_texts([tmp_path / "file.csv"])
    assert texts.form.delimiter == declared
    assert texts.columns["b"].to_pylist() == ["x y", "z"]


def test_json_lines_and_parquet_are_read_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"a": n, "b": None if n else "x"}) + "\n" for n in range(3)))
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), tmp_path / "a.parquet")
    texts = read_texts([tmp_path / "a.jsonl", tmp_path / "a.parquet"])
    assert texts.columns["a"].to_pylist() == ["0", "1", "2", "1", "2"]
    assert texts.columns["b"].to_pylist() == ["x", None, None, "x", None]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("#,Name,HP", "{0},Bulbasaur {0},4{0}"),
        ("#CHROM\tPOS\tREF", "chr1\t1{0}\tA"),
        ("# x;y", "1{0};{0}"),
        ("sample,400.5,401.0,401.5", "{0},0.12,0.5{0},0.7"),
        ("store,0.1,0.5,0.9", "{0},-1,20{0},3{0}"),
        ("id,nan,inf", "{0},nan,1{0}"),
        ("Datum;Temperatur;Regen", "{0}.01.2024;1,{0};0,5"),
        ("id|tags|y", "{0}|a,b,c,d|1"),
        ("name^address^price", "n{0}^10115 Berlin, Mitte, D^1"),
        ("id,text,y", '{0},"' + 140_000 * "a" + '",1'),
    ],
    ids=[
        *("a numbered list", "a hash before a name", "NumPy's", "wavelengths", "quantiles", "words for numbers"),
        *("decimal commas", "lists", "addresses", "long texts"),
    ],
)
def test_names_that_look_like_a_comment_or_a_row_are_names(tmp_path: Path, header: str, row: str) -> None:
    (tmp_path / "a.csv").write_text("\n".join([header, *(row.format(number) for number in range(30))]))
    texts = read_texts([tmp_path / "a.csv"])
    assert {*texts.columns, *texts.index} == set(header.translate(dict.fromkeys(map(ord, ";\t|^"), ",")).split(","))


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.csv": "1,2\n3,4\n"}, "the first line holds numbers only"),
        (
            {"a.csv": "3,gas,88.6\n" + "3,gas,90.1\n1,diesel,70.0\n" * 20},
            "a.csv: the first line seems to be a row and not the names of the columns: '3', 'gas', '88.6' stand below",
        ),
        (
            {"a.csv": "# By country\n#\n\na,b,c\n" + "1,2,3\n" * 20},
            "a.csv: the first line is '# By country', and the names of the columns seem to stand in line 4",
        ),
        ({"a.csv": "Sales of 2024\n\na;b;c\n" + "1;2;3\n" * 20}, "seem to stand in line 3; .* \\(tail -n \\+3\\)"),
        ({"a.csv": "a,a\n3,4\n"}, "'a' stands more than once in the first line"),
        ({"a.csv": 'a,"b\n' + "1" * 140_000 + ",2\n"}, "the first line is not readable as CSV"),
        ({"a.csv": ""}, "the file is empty"),
        ({"a.csv": "a,b\n1,2\n", "b.csv": "a^b\n1^2\n"}, "b.csv: is read as utf-8 with the delimiter"),
        (
            {"a.csv": "a,b\n1,2\n", "b.csv": "c,d\n1,2\n"},
            "b.csv: has none of the columns of a.csv \\('a', 'b'\\), but 'c', 'd'; expected files of one table",
        ),
        ({"a.csv": "id,a,b\n1,2,3\n", "b.csv": "ID,c,d\n1,2,3\n"}, "b.csv: has 1 of the columns of a.csv"),
    ],
)
def test_what_no_definition_can_read_is_refused_in_words(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=problem):
        read_texts([tmp_path / name for name in files])


def test_a_first_line_that_never_ends_is_told_however_long_a_field_the_csv_module_takes(tmp_path: Path) -> None:
    before = csv.field_size_limit(1 << 22)
    try:
        (tmp_path / "a.csv").write_text('a,"b\n' + "1" * 140_000 + ",2\n")
        with pytest.raises(FileError, match="the first line is not readable as CSV"):
            read_texts([tmp_path / "a.csv"])
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.parquet", b"\xf5\x00\x91" * 100, r"a\.parquet: its name says Parquet, and it does not begin as that does"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"begins as JSON lines, and line 2 is no JSON object \(Expecting value"),
        ("a.json", b'[{"a": 1}]', "this begins as a JSON list; expected one JSON object a line"),
        ("a.gz", gzip.compress(TABLE)[:-9], r"a\.gz: the gzip data are damaged or cut off"),
        ("a.gz", gzip.compress(TABLE)[:-8] + b"12345678", r"a\.gz: the gzip data are damaged or cut off \(CRC check"),
        ("a.gz", b"\x1f\x8b", r"a\.gz: the gzip data are damaged or cut off"),
        (
            "a.parquet",
            b"PAR1\xf5\x00\x91PAR1",
            r"a\.parquet: the Parquet data are damaged or cut off \(.*upload it again",
        ),
        ("a.json", b'{"instances": [{"a": 1}]}\n', "'instances' holds a list; expected one object a record"),
    ],
)
def test_a_file_of_another_kind_is_told_for_what_it_is(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=problem):
        read_texts([tmp_path / name])


@pytest.mark.parametrize("value", ["1" * 10_000, "[" * 100_000 + "]" * 100_000], ids=["digits", "deep"])
def test_a_json_line_that_nobody_can_take_is_a_broken_row(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"a": {value}}}\n{{"a": 5, "b": 6}}\n')
    texts = read_texts([tmp_path / "a.jsonl"])
    assert {name: column.to_pylist() for name, column in texts.columns.items()} == {"a": ["5"], "b": ["6"]}
    assert len(texts.broken) == 1


@pytest.mark.parametrize("value", [True, [1], {"a": 1}], ids=ascii)
def test_rows_that_only_a_fit_refuses_are_allowed_for_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    """As text they may be a value: no file of JSON lines says more, until it is read by a type."""
    monkeypatch.chdir(tmp_path)
    rows = [{"a": row % 9, "b": row % 9 + row % 4} for row in range(200)]
    rows += [{"a": value, "b": row} for row in range(5)]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    ended = perennial("init", "a.jsonl", "-t", "b", "-y")
    assert ended.exit_code == 0, ended.stderr
    assert says(ended, "look at a")
    assert says(ended, "put aside")
    assert "quality: {max_invalid_share: 0.04," in (tmp_path / "models/a/model.yaml").read_text()


def test_a_column_that_one_of_several_files_does_not_have_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("a\n3\n")
    _, b = document.columns_of(read_texts([tmp_path / "a.csv", tmp_path / "b.csv"]))
    assert b.fields["nullable"] is True
    assert b.evidence.startswith("not in b.csv; ")


# ---- The target


def guesses(**columns: list[str]) -> list[ColumnGuess]:
    return [guessed(name, name, pa.array(texts, pa.string())) for name, texts in columns.items()]


def test_a_target_is_guessed_by_its_name_and_else_the_last_column() -> None:
    numbers = ["1", "2", "4"]
    answers, words = ["Yes", "No", "No"], ["Single", "Married", "Divorced"]
    for columns, name, doubt in (
        ({"carat": numbers, "price": numbers, "x": numbers, "y": numbers, "z": numbers}, "price", ""),
        ({"x1": numbers, "y": numbers, "x2": numbers}, "y", ""),
        ({"rise": numbers, "attrition": answers, "age": numbers}, "attrition", ""),
        ({"attrition": answers, "marital_status": words}, "attrition", ""),
        ({"price": numbers, "category": words, "area": numbers}, "price", "it may as well be category: "),
        ({"price": numbers, "cost": numbers, "age": numbers}, "cost", "it may as well be price: "),
        ({"price": numbers, "label": words}, "label", ""),
        ({"salary_rise": numbers, "age": numbers}, "salary_rise", "its name says little, and no other says more: "),
        ({"income": numbers, "visits": numbers}, "income", "its name says little, and no other says more: "),
        ({"first": numbers, "second": numbers}, "second", "no name says what is to be predicted: "),
        ({"first": numbers, "timestamp": numbers}, "first", "no name says what is to be predicted: "),
        ({"rating": numbers, "timestamp": numbers}, "rating", "its name says little, and no other says more: "),
        ({"surface": numbers, "code_commune": numbers}, "surface", "no name says what is to be predicted: "),
        ({"area": numbers, "year": numbers, "latitude": numbers}, "area", "no name says what is to be predicted: "),
        ({"year": numbers, "zip": numbers}, "zip", "no name says what is to be predicted: "),
        ({"kaufpreis": numbers, "flaeche": numbers}, "kaufpreis", ""),
        (
            {"min_price": numbers, "price": numbers, "max_price": numbers},
            "price",
            "it may as well be min_price or max_price: ",
        ),
        ({"sales": numbers, "price": numbers}, "sales", "it may as well be price: "),
        (
            {"university_rating": numbers, "chance_of_admit": numbers},
            "chance_of_admit",
            "it may as well be university_rating: ",
        ),
        ({"amount": numbers, "default": ["1", "2", "1"]}, "default", "it may as well be amount: "),
        (
            {"letter": words, **dict.fromkeys(("width", "height", "edge"), numbers)},
            "letter",
            "no name says what is to be predicted: ",
        ),
        (
            {"type": answers, "ring_type": words, "habitat": words},
            "type",
            "its name says little, and no other says more: ",
        ),
        ({"spam": answers, "number": words}, "spam", ""),
        ({"result": words, "patient_class": ["a", "b", "c"]}, "patient_class", "it may as well be result: "),
        ({"result": words, "patient_class": ["a", "b", ""]}, "result", "it may as well be patient_class: "),
    ):
        guess = target.guess_name(guesses(**columns))
        assert (guess.name, guess.doubt) == (name, f"{doubt}--target names it" if doubt else ""), columns


@pytest.mark.parametrize(("typed", "chosen"), [("\n", "cost"), ("price\n", "price")])
def test_at_a_terminal_it_asks_what_is_to_be_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, chosen: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("perennial_cli.commands.proposing.is_terminal", lambda: True)
    rows = "".join(f"{number},{100 + 3 * number},{50 + number % 7 * number}\n" for number in range(200))
    (tmp_path / "parts.csv").write_text("length,price,cost\n" + rows)
    ended = perennial("init", "parts.csv", typed=typed)
    assert ended.exit_code == 0, ended.stderr
    assert "it may as well be price: --target names it" in ended.stderr
    assert "Which column is to be predicted? [cost]:" in ended.stderr
    assert f"target      {chosen}, named when asked" in ended.stdout


def test_a_target_that_may_be_another_is_a_doubt_where_nobody_can_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{number},{100 + 3 * number},{50 + number % 7 * number}\n" for number in range(200))
    (tmp_path / "parts.csv").write_text("length,price,cost\n" + rows)
    doubts = json.loads(perennial("init", "parts.csv", "--json").stdout)["doubts"]
    assert "target: it may as well be price: --target names it" in doubts
    text = (tmp_path / "models/parts/model.yaml").read_text()
    assert "# * target: it may as well be price: --target names it" in text


@pytest.mark.parametrize(
    ("columns", "file", "expected"),
    [
        ({"pcos": ["0", "1", "1"], "age": ["3", "4", "5"]}, "pcos", "pcos"),
        ({"resp": ["0", "1", "1"], "age": ["3", "4", "5"]}, "", "resp"),
        ({"area": ["3", "4", "6"], "zipcode": ["3", "4", "5"]}, "", "area"),
        ({"area": ["3", "4", "6"], "commune": ["3", "4", "5"]}, "", "area"),
        ({"area": ["3", "4", "6"], "sub_region_code": ["3", "4", "5"]}, "", "area"),
    ],
)
def test_a_target_is_rather_what_the_file_is_called_after_than_what_names_a_place(columns, file, expected) -> None:
    assert target.guess_name(guesses(**columns), file).name == expected


def test_two_words_are_a_class_and_the_rarer_one_is_asked_for() -> None:
    texts = ["<=50K"] * 30 + [">50K"] * 10
    wanted = target.as_target("income", guesses(income=texts), "")
    assert (wanted.problem, wanted.metric) == ("binary_classification", "auc")
    assert wanted.column.fields == {"type": "boolean", "parse": {"true": [">50K"], "false": ["<=50K"]}}


def test_several_texts_are_classes_and_all_of_them_categories() -> None:
    wanted = target.as_target("species", guesses(species=["Gentoo", "Adelie", "Chinstrap", "Adelie"]), "")
    assert (wanted.problem, wanted.metric) == ("multiclass_classification", "accuracy")
    assert wanted.column.fields == {"type": "string", "categories": ["Adelie", "Chinstrap", "Gentoo"]}


def test_classes_of_few_rows_are_left_out_where_a_run_could_not_test_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    classes = [*(f"kind {row % 3}" for row in range(300)), "odd", "even"]
    (tmp_path / "a.csv").write_text(
        "\n".join(["x,class", *(f"{n * 7 % 301},{name}" for n, name in enumerate(classes))])
    )
    ended = perennial("init", "a.csv", "-y")
    assert ended.exit_code == 0, ended.stderr
    assert says(ended, "look at target: no classes are 'even' (1), 'odd' (1), of fewer than 20 rows")
    assert definition.load(tmp_path / "models/a/model.yaml").classes == ("kind 0", "kind 1", "kind 2")


def of_classes(tmp_path: Path, *classes: str) -> None:
    rows = (f"{n * 7 % 301},{name}" for n, name in enumerate(classes))
    (tmp_path / "a.csv").write_text("\n".join(["x,Kind of it?", *rows]))


def test_where_two_classes_are_left_one_of_them_is_asked_for_and_the_rest_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_classes(tmp_path, *["good"] * 200, *["bad"] * 100, "odd")
    ended = perennial("init", "a.csv", "-y")
    assert ended.exit_code == 0, ended.stderr
    assert says(ended, "look at target: no classes are 'odd' (1), of fewer than 20 rows")
    written = definition.load(tmp_path / "models/a/model.yaml")
    assert (written.problem, written.gate.metric) == ("binary_classification", "auc")
    column = written.as_json()["columns"]["kind_of_it"]
    assert (column["parse"]["true"], column["parse"]["false"]) == (["bad"], ["good"])
    assert column["source"] == ["Kind of it?"]


def test_as_many_rows_are_asked_for_as_half_of_those_that_a_run_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_classes(tmp_path, *["good"] * 50, *["bad"] * 45, "odd", *[""] * 110)
    ended = perennial("init", "a.csv", "-y", "--target", "Kind of it?")
    assert ended.exit_code == 0, ended.stderr
    assert definition.load(tmp_path / "models/a/model.yaml").quality.min_rows == 47


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["good"] * 200 + ["bad"], "kind_of_it: 'bad' stands in 1 of 201 rows; expected some 20 of each class"),
        (["Yes"] * 200 + ["No"] * 2, "kind_of_it: 'No' stands in 2 of 202 rows; expected some 20 of each class"),
        (["a"] * 200 + ["b", "c"], "kind_of_it: 'b' stands in 1, 'c' stands in 1 of 202 rows; expected some 20"),
    ],
)
def test_a_class_that_nobody_can_learn_is_named_with_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    of_classes(tmp_path, *classes)
    ended = perennial("init", "a.csv", "-y")
    assert ended.exit_code == 1
    assert says(ended, f"error: a run could not use the files as {tmp_path}/models/a/model.yaml is now: {said}")
    assert ended.stderr.strip().splitlines()[-1].endswith("or predict another column (--target)")


def test_texts_that_would_need_a_mean_of_classes_are_no_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"maker {row % 150},{row % 7},kind {row % 3}" for row in range(600)]
    (tmp_path / "a.csv").write_text("\n".join(["maker,x,class", *rows]))
    ended = perennial("init", "a.csv", "-y")
    assert ended.exit_code == 0, ended.stderr
    assert says(ended, "look at maker: is no feature: 150 different texts, and classes have no mean")
    columns = definition.load(tmp_path / "models/a/model.yaml").columns
    assert (columns["maker"].feature, columns["x"].feature) == (False, True)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("colour", "'colour' cannot be predicted: it has 120 different texts"),
        ("pric", "no column 'pric'.*did you mean 'price'"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_words(name: str, problem: str) -> None:
    with pytest.raises(TargetError, match=problem):
        target.as_target(name, guesses(colour=[f"c{n}x" for n in range(120)], price=["1", "2", "3"]), "")


# ---- The whole


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty; expected a line of names and rows below it"),
        ("a,b\n", "expected at least 10 rows below the names of columns; it has 0"),
        ("a,b\n1,2\n", "expected at least 10 rows below the names of columns; it has 1"),
        ("a\n" + "1\n2\n" * 20, "expected a column to predict and at least one to predict it from; it has 'a'"),
        ('{"start": "2020-01-01", "target": [1, 2]}\n' * 20, "these are series as DeepAR reads them"),
        (",a\n" + "1,2\n" * 20, "expected a column to predict and at least one to predict it from; it has 'a'"),
        (
            f"{','.join(f'a{n}' for n in range(501))}\n" + "1\n" * 20,
            "expected at most 500 columns, as a definition has",
        ),
    ],
    ids=["nothing", "no row", "one row", "one column", "series", "a column and numbers", "too many columns"],
)
def test_a_file_that_nothing_can_be_learned_from_is_refused_by_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.csv").write_text(text)
    ended = perennial("init", "some.csv")
    assert (ended.exit_code, ended.stderr.startswith(f"error: some.csv: {problem}")) == (1, True), ended.stderr
    assert not (tmp_path / "models").exists()


def test_a_time_and_a_value_are_nothing_to_learn_a_row_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weeks = [f"{date(2025, 1, 5) + timedelta(weeks=week)},{100 + week % 7}" for week in range(60)]
    (tmp_path / "visits.csv").write_text("\n".join(["week,visits", *weeks]) + "\n")
    ended = perennial("init", "visits.csv", "--yes")
    words = " ".join(ended.stderr.split())
    assert ended.exit_code == 1
    assert (
        "no column is left to predict visits from: week can be no feature. What comes next of visits by week is"
        in words
    )


@pytest.mark.parametrize(
    ("names", "are_periods"),
    [
        ([f"{month} 2025" for month in ("Jan", "Feb", "Mar", "Apr", "May", "Jun")], True),
        ([f"2025-{month:02}" for month in range(1, 7)], True),
        ([f"0{day}.11.2025" for day in range(1, 7)], True),
        ([f"sensor{number:02}" for number in range(1, 7)], False),
        ([f"bill_amt{number}" for number in range(1, 7)], False),
    ],
    ids=["months by name", "months", "days", "numbered", "numbered from 1"],
)
def test_a_column_for_each_period_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], are_periods: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [",".join([f"shop {row % 3}", *(str(row + place) for place in range(6))]) for row in range(9)]
    (tmp_path / "wide.csv").write_text("\n".join([",".join(["shop", *names]), *rows]) + "\n")
    ended = perennial("init", "wide.csv", "--yes")  # of so few rows nothing is proposed
    assert ended.exit_code == 1
    assert ("their names are times, as of series" in " ".join(ended.stderr.split())) == are_periods


@pytest.mark.parametrize("name", ["../../x", "Bad Name!", "a_b", "a" * 33, "-a", "a-"])
def test_a_name_that_no_stack_can_be_deployed_with_is_wrong_use(cars: Path, name: str) -> None:
    ended = perennial("init", cars, "--name", name, "--force")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert says(ended, "name of a model's folder; expected lower-case letters, digits and hyphens, 32 at most")
    assert not (cars.parent / "models").exists()


def proposal_of(**columns: list[str]) -> document.Proposal:
    texts = Texts({name: pa.array(values) for name, values in columns.items()}, FileForm(), len(columns["y"]), [])
    guesses = document.columns_of(texts)
    return document.Proposal.of("model", texts, guesses, target.as_target("y", guesses, "", ""))


MEASURED = [f"{n / 7:.3f}" for n in range(120)]


def test_texts_that_yaml_has_for_numbers_stay_texts() -> None:
    rooms = ["1E5", "12e-3", "+1e400", "1e5a"]
    sound = document.parsed(proposal_of(room=rooms * 30, y=MEASURED), 1.0)
    assert sound.columns["room"].categories == (*sorted(rooms),)


@pytest.mark.parametrize("first", ["0001-01-01", "2024-03-31"])  # an hour of the latter is on no clock in Berlin
def test_times_of_series_are_those_of_no_clock(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        hours = [f"{first} {hour:02d}:00" for hour in range(24)]
        proposal = proposal_of(site=["a"] * 24 + ["b"] * 24, at=hours * 2, y=MEASURED[:48])
        assert series.guessed(proposal.columns, proposal.target, proposal.texts.columns).frequency == "H"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_missing_in_a_row_is_no_key() -> None:
    ids = [str(3 * n) for n in range(119)]
    assert document.parsed(proposal_of(row_id=[*ids, "1"], x=MEASURED, y=MEASURED), 1.0).split.key == ("row_id",)
    assert not document.parsed(proposal_of(row_id=[*ids, "n/a"], x=MEASURED, y=MEASURED), 1.0).split.key


def test_the_threshold_of_a_target_that_is_one_number_in_double_precision_is_one_that_a_definition_may_have(
    tmp_path: Path,
) -> None:
    proposal = proposal_of(x=["1", "2", "3"] * 40, y=[str(2**62 + n) for n in range(120)])
    proposal, measured = document.measured(proposal, tmp_path, lambda _: None)
    assert definition.parse(document.text(proposal, measured), "model.yaml").gate.threshold > 0


@pytest.fixture
def cars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 300 cars as somebody exports them: a nameless index, units, blanks, words for missing values."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f'{n},"Make {n % 7} type {n % 90}",{2000 + n % 20},"{10_000 + 500 * (n % 20):,} km",'
        f"{'-' if n % 50 == 0 else n % 5},{'Yes' if n % 3 else 'No'},{3000 + 400 * (n % 20) + 90 * (n % 7)} EUR"
        for n in range(300)
    ]
    header = ",Name,Year,Driven,Seats,Sold Before,Selling Price"
    (tmp_path / "My Cars.csv").write_bytes("\r\n".join([header, *rows, ""]).encode("utf-8-sig"))
    return tmp_path / "My Cars.csv"


@pytest.fixture
def proposed(cars: Path) -> tuple[Path, str]:
    ended = perennial("init", cars)
    assert ended.exit_code == 0, ended.stderr
    path = cars.parent / "models/my-cars/model.yaml"
    return path, ended.stdout


def test_a_proposal_is_a_definition_that_reads_the_file_whole(proposed: tuple[Path, str], cars: Path) -> None:
    path, printed = proposed
    sound = definition.load(path)
    assert (sound.target, sound.problem, sound.gate.metric) == ("selling_price", "regression", "rmse")
    assert list(sound.columns) == ["name", "year", "driven", "seats", "sold_before", "selling_price"]
    assert str(path) in printed
    tried = json.loads(perennial("try", "my-cars", "--file", cars, "--no-fit", "--json").stdout)
    assert tried["report"]["rows"] == {"read": 300, "used": 300, "quarantined": 0, "written_to_quarantine": 0}


def test_a_threshold_lies_between_quick_fits_and_the_mean_predictor(proposed: tuple[Path, str]) -> None:
    text, sound = proposed[0].read_text(), definition.load(proposed[0])
    assert "# Quick fits on 3 random splits reach rmse " in text
    assert "EUR; always answering the mean gives 1," in text
    assert 100 < sound.gate.threshold < 2000


@pytest.mark.parametrize(
    ("values", "constants", "threshold", "is_unsure"),
    [
        ((500, 520, 510), (1000, 1000, 1000), 640, False),  # 510 and a quarter of 490
        ((500, 800, 510), (1000, 1000, 1000), 940, False),  # 800, and how they differ
        ((500, 990, 510), (1000, 1000, 1000), 990, True),  # as near as three digits are, and not reached by the mean
        ((996, 996, 996), (1000, 1000, 1000), 999, False),  # hardly better: between the two
        ((1200, 1200, 1200), (1003, 1003, 1003), 1000, False),  # no better: only what is passes
        ((2.1, 2.1, 2.1), (2.13, 2.13, 2.13), 2.12, False),
    ],
)
def test_a_threshold_is_never_reached_by_the_mean_predictor_and_by_a_better_model_always(
    proposed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, values, constants, threshold, is_unsure
) -> None:
    fits = iter([quick_fit.Fit("rmse", *pair, 50) for pair in zip(values, constants, strict=True)] * 2)
    monkeypatch.setattr(document, "tried", lambda *_: quick_fit.Trial({}, [], [], next(fits)))
    ended = perennial("init", proposed[0].parents[2] / "My Cars.csv", "--force")
    assert definition.load(proposed[0]).gate.threshold == threshold
    assert ("differ much from split to split" in ended.stderr) is is_unsure
    assert ("differ much from split to split" in proposed[0].read_text()) is is_unsure


def test_the_example_of_ranges_is_a_definition_that_tunes(proposed: tuple[Path, str]) -> None:
    text = proposed[0].read_text()
    assert tuning.ranges(definition.load(proposed[0]).hyperparameters.get("xgboost", {})) == {}
    for key in ("hyperparameters", "tuning"):
        assert f"# {key}: " in text
        text = text.replace(f"# {key}: ", f"{key}: ")
    sound = definition.parse(text, "model.yaml")
    assert list(tuning.ranges(sound.hyperparameters["xgboost"])) == ["eta", "max_depth"]
    assert sound.tuning.jobs == 10


def test_every_guess_is_there_with_its_evidence(proposed: tuple[Path, str]) -> None:
    text = proposed[0].read_text()
    assert "# Passed over as row numbers: ''." in text
    assert "# The target is guessed by its name." in text
    assert "  year: {type: integer, min: 1980, max: 2029}  # 2000 to 2019\n" in text
    assert "such as '-'" not in text
    assert "missing in 6 of 300 rows" in text


@pytest.mark.parametrize(("price", "is_said"), [("{} EUR", False), ("{}", True)], ids=["with a unit", "without"])
def test_a_target_without_a_unit_is_to_be_given_one(cars: Path, price: str, is_said: bool) -> None:
    cars.write_text(cars.read_text("utf-8-sig").replace(" EUR", price.removeprefix("{}")))
    assert perennial("init", cars).exit_code == 0
    text = (cars.parent / "models/my-cars/model.yaml").read_text()
    assert ("# Give selling_price its unit (unit: USD) below" in text) is is_said


def test_names_that_yaml_takes_for_truth_are_those_of_columns(cars: Path) -> None:
    cars.write_text("\n".join(["No,on,yes", *(f"{n % 9},{n % 7},{n % 9 + n % 7}" for n in range(300))]))
    assert perennial("init", cars).exit_code == 0
    sound = definition.load(cars.parent / "models/my-cars/model.yaml")
    assert (sound.target, list(sound.columns)) == ("yes", ["no", "on", "yes"])


def test_lines_that_repeat_the_names_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("kind,n\n" + "x,1\ny,2\n" * 20 + "kind,n\nx,3\n")
    texts = read_texts([tmp_path / "a.csv"])
    assert (texts.rows, set(texts.columns["kind"].to_pylist())) == (41, {"x", "y"})
    assert texts.broken == ["a.csv: 1 rows below repeat the names of the columns: take such lines away"]


def test_a_duration_is_said_to_lose_what_stands_behind_its_first_number() -> None:
    (doubt,) = column(*(f"{2 + n % 3}:{n % 60:02}:11" for n in range(200))).doubts
    assert ":11' as " in doubt
    assert "of a clock or a duration features.py can make a number" in doubt


@pytest.mark.parametrize(
    ("times", "frequency", "ahead"),
    [
        ([date(2020 + n // 12, n % 12 + 1, 1) for n in range(72)], "M", 12),
        ([date(2025, 1, 5) + timedelta(weeks=n) for n in range(60)], "W", 8),
        ([date(2025, 1, 5) + timedelta(days=n) for n in range(200)], "D", 7),
    ],
)
def test_series_get_a_definition_that_runs_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[date], frequency: str, ahead: int
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{shop},{time},{n % 7 + len(shop) + n * n % 5}"
        for shop in ("Oslo", "Rome", "Paris", "Bern", "Berlin", "Lausanne", "Stuttgart", "Copenhagen")
        for n, time in enumerate(times)
    ]
    (tmp_path / "shops.csv").write_text("\n".join(["shop,period,sold", *rows]))
    ended = perennial("init", "shops.csv", "--forecast", "--json")
    assert ended.exit_code == 0, ended.stderr
    sound, told = definition.load(tmp_path / "models/shops/model.yaml"), json.loads(ended.stdout)
    series = sound.series
    assert series
    assert (series.key, series.time, series.frequency) == ("shop", "period", frequency)
    assert (sound.problem, sound.target, series.prediction_length) == ("forecasting", "sold", ahead)
    assert 0.9 * told["naive"] < sound.gate.threshold <= told["naive"]  # what has to be beaten in any case


def test_a_column_for_each_period_becomes_a_row_for_each_as_the_error_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    months = [f"{year}-{month:02}" for year in range(2018, 2024) for month in range(1, 13)]
    random = np.random.default_rng(1)
    table = pd.DataFrame({"shop": [f"s{n}" for n in range(9)]} | {name: random.poisson(40, 9) for name in months})
    table.to_csv("wide.csv", index=False)
    ended = perennial("init", "wide.csv", "--forecast")
    assert ended.exit_code == 1
    assert says(ended, "wide.csv: columns '2018-01' to '2023-12': their names are times")
    assert says(
        ended, """table.melt(['shop'], var_name="period", value_name="value").to_csv("long.csv", index=False)"""
    )
    table.melt(["shop"], var_name="period", value_name="value").to_csv("long.csv", index=False)
    ended = perennial("init", "long.csv", "--forecast", "--target", "value")
    assert ended.exit_code == 0, ended.stderr
    series = definition.load(tmp_path / "models/long/model.yaml").series
    assert series
    assert (series.key, series.time, series.frequency) == ("shop", "period", "M")


def test_one_series_gets_a_definition_once_a_column_says_that_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    months = [f"{year}-{month:02}" for year in range(1949, 1991) for month in range(1, 13)]
    table = pd.DataFrame({"month": months, "passengers": np.random.default_rng(1).poisson(140, len(months))})
    table.to_csv("air.csv", index=False)
    ended = perennial("init", "air.csv", "--forecast")
    assert ended.exit_code == 1
    assert says(ended, "each row has another month, so that these are one series")
    assert says(ended, 'pandas: table["series"] = "all"')
    table["series"] = "all"
    table.to_csv("air.csv", index=False)
    ended = perennial("init", "air.csv", "--forecast")
    assert ended.exit_code == 0, ended.stderr
    series = definition.load(tmp_path / "models/air/model.yaml").series
    assert series
    assert (series.key, series.time, series.frequency) == ("series", "month", "M")


def test_rows_that_are_no_series_get_no_forecast(cars: Path) -> None:
    ended = perennial("init", cars, "--forecast", "--target", "selling price")
    assert (ended.exit_code, ended.stderr.startswith("error: no series: expected a column of times")) == (1, True)


def test_a_column_that_few_rows_have_is_no_key_of_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one series each row has another time, so that any column would tell rows apart beside it."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{date(2025, 1, 5) + timedelta(weeks=n)},{n % 3 if n % 2 else ''},{n * n % 17}" for n in range(90)]
    (tmp_path / "shows.csv").write_text("\n".join(["aired,rank,sold", *rows]))
    ended = perennial("init", "shows.csv", "--forecast", "--target", "sold")
    assert (ended.exit_code, "error: each row has another aired, so that these are one series" in ended.stderr) == (
        1,
        True,
    )


def test_a_definition_that_is_there_is_not_replaced_unless_so_asked(proposed: tuple[Path, str], cars: Path) -> None:
    proposed[0].write_text("mine")
    refused = perennial("init", cars)
    assert refused.exit_code == 1
    assert "model.yaml is there already; choose another --name, or replace it with --force" in refused.stderr
    assert proposed[0].read_text() == "mine"
    assert perennial("init", cars, "--force", "--target", "sold before").exit_code == 0
    assert definition.load(proposed[0]).target == "sold_before"


def test_columns_that_say_nothing_of_the_target_are_said_to(cars: Path) -> None:
    coin = [f"{n},{(n * 7919) % 1000},{(n * n * 31 + n * 17) % 997}" for n in range(300)]
    cars.write_text("\n".join(["a,b,value", *coin]))
    ended = perennial("init", cars)
    assert ended.exit_code == 0
    assert "a quick fit is hardly better than always the same answer" in ended.stderr
    assert "the threshold asks for little" in (cars.parent / "models/my-cars/model.yaml").read_text()


def test_the_json_is_for_machines(cars: Path) -> None:
    answer = json.loads(perennial("init", cars, "--json").stdout)
    assert (answer["model"], answer["target"], answer["problem"]) == ("my-cars", "selling_price", "regression")
    assert len(answer["quick_fits"]) == 3


# ---- try


def test_try_says_what_is_put_aside_and_why_and_what_a_fit_reaches(proposed: tuple[Path, str], cars: Path) -> None:
    other = cars.with_name("new.csv")
    lines = cars.read_text(encoding="utf-8-sig").splitlines()
    other.write_text(
        "\n".join([*lines, '300,Make 1,1850,"12,000 km",3,Yes,4000 EUR', "301,Make 1,2001,many,3,Yes,4000 EUR"])
    )
    ended = perennial("try", "my-cars", "--file", other)
    assert ended.exit_code == 0
    assert "302 read, 300 used, 2 put aside" in ended.stdout
    assert "year breaks the rule 'minimum' in 1 row: expected at least 1980" in ended.stderr
    assert "driven: 'many' is not a whole number" in ended.stdout
    assert "A quick fit reaches rmse" in ended.stdout


def test_try_warns_where_the_threshold_asks_for_hardly_more_than_the_mean(
    proposed: tuple[Path, str], cars: Path
) -> None:
    sound = perennial("try", "my-cars", "--file", cars)
    assert "is hardly better than what always the same answer reaches" not in sound.stderr
    threshold = f"threshold: {definition.load(proposed[0]).gate.threshold:g}"
    text = proposed[0].read_text()
    assert threshold in text
    proposed[0].write_text(text.replace(threshold, "threshold: 90000"))
    ended = perennial("try", "my-cars", "--file", cars)
    assert (ended.exit_code, "gate.threshold, 90,000, is hardly better than" in ended.stderr) == (0, True)


def test_rows_that_break_the_contract_for_want_of_a_target_are_told_so(cars: Path) -> None:
    rows = [f"{n},{(n * 7) % 90},{n * 3 if n % 10 else ''}" for n in range(300)]
    cars.write_text("\n".join(["a,b,value", *rows]))
    assert perennial("init", cars, "--target", "value").exit_code == 0
    text = (cars.parent / "models/my-cars/model.yaml").read_text()
    assert "# 10.00% of these rows break the contract as it is written here: 10.00% have no value, the target." in text


def test_a_target_that_few_rows_have_is_learned_from_those(cars: Path) -> None:
    rows = [f"{n},{(n * 7) % 997},{n * 3 if n % 20 == 0 else ''}" for n in range(4000)]
    cars.write_text("\n".join(["a,b,value", *rows]))
    ended = perennial("init", cars, "--target", "value")
    assert ended.exit_code == 0, ended.stderr
    assert says(ended, "look at target: 3,800 of 4,000 rows have no value (they are put aside)")
    whole = definition.load(cars.parent / "models/my-cars/model.yaml")
    assert whole.quality.max_invalid_share == 0.98


def test_a_proposal_that_a_run_could_not_use_is_written_all_the_same_and_says_why(cars: Path) -> None:
    """Nobody can correct what is not there."""
    cars.write_text("\n".join(["place,temperature", *(f"{'abc'[row % 3]},{row % 40}" for row in range(300))]))
    ended = perennial("init", cars, "-y")
    path = cars.parent / "models/my-cars/model.yaml"
    assert (ended.exit_code, f"a run could not use the files as {path} is now: the " in ended.stderr) == (1, True)
    assert "quick fits  none" in ended.stdout
    whole, text = definition.load(path), path.read_text()
    assert whole.gate.threshold == 12  # the standard deviation is 11.5
    assert "# * a run could not use the files as this is now: the " in text
    assert "# There is no quick fit of these rows (see above)" in text
    ended = perennial("init", cars, "-y", "--force", "--json")
    assert (ended.exit_code, json.loads(ended.stdout)["usable"]) == (1, False)


def test_where_no_project_is_it_says_where_the_model_belongs(cars: Path) -> None:
    assert says(perennial("init", cars, "-y"), "into models/ of the project's folder, where `perennial deploy my-cars`")


def test_try_ends_with_1_where_a_run_would_fail(proposed: tuple[Path, str], cars: Path) -> None:
    other = cars.with_name("new.csv")
    other.write_text("Name,Year\nx,2001\n")
    ended = perennial("try", "my-cars", "--file", other)
    assert ended.exit_code == 1
    assert "a run would fail: new.csv: column 'driven' is missing" in ended.stderr
    assert (ended.stdout, ended.stderr.count("is missing")) == ("", 3)
    assert "Expected the columns" in ended.stderr
    lines = cars.read_text(encoding="utf-8-sig").splitlines()
    other.write_text("\n".join([*lines, *['1,Make 1,1850,"12 km",3,Yes,40 EUR'] * 50, ""]))
    ended = perennial("try", "my-cars", "--file", other)
    assert (ended.exit_code, ended.stdout.splitlines()[0]) == (1, "rows  350 read, none used, 50 put aside")
    assert ended.stderr.count("year breaks the rule 'minimum'") == 1
    assert "quarantine" not in ended.stderr


def test_a_file_of_another_table_is_told_which_names_it_has(proposed: tuple[Path, str], cars: Path) -> None:
    other = cars.with_name("new.csv")
    other.write_text("a,b\n1,2\n")
    ended = perennial("try", "my-cars", "--file", other)
    assert "no column name of the definition stands in the first line, which has 'a', 'b'" in ended.stderr


def test_try_names_the_line_of_features_py_that_is_wrong(proposed: tuple[Path, str], cars: Path) -> None:
    (proposed[0].parent / "features.py").write_text("def transform(table):\n    return table['yaer']\n")
    ended = perennial("try", "my-cars", "--file", cars)
    assert ended.exit_code == 1
    assert "features.py, line 2: KeyError" in ended.stderr


def test_a_quick_fit_of_classes_is_held_against_the_shares_of_the_classes(tmp_path: Path) -> None:
    sound = definition.load(Path(__file__).parents[3] / "models/penguins/model.yaml")
    (tmp_path / "penguins.csv").write_bytes(demo_data.penguins())
    trial = quick_fit.tried(sound, "penguins", [tmp_path / "penguins.csv"], tmp_path)
    assert trial.fit is not None
    assert trial.fit.metric == "accuracy"
    assert 0.3 < trial.fit.constant < 0.6 < 0.9 < trial.fit.model
