"""The data-quality job on files: what it reads, what it writes, how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.data import baseline, in_order
from processing import analyze_data_quality

Job = Callable[..., dict[str, Any]]

DEFINITION: dict[str, Any] = {
    "problem": "regression",
    "target": "price",
    "columns": {
        "mileage": {"type": "float", "feature": True},
        "price": {"type": "float", "feature": False},
        "doors": {"type": "integer", "feature": True},
        "cruise": {"type": "boolean", "feature": True},
        "make": {"type": "string", "feature": True, "categories": ["Saab", "Buick"]},
        "body": {"type": "string", "feature": True, "categories": None, "nullable": True},
        "vin": {"type": "string", "feature": False},
    },
    "quality": {"max_categories": 100},
}
HEADER = "price,mileage,doors,cruise,make,body"
ROWS = ["9000.5,120.25,4,1,Buick,sedan", "12000,80,2,0,Buick,", ",,,,,sedan"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Run the job on the parts given as texts; return its documents, or its message."""

    def run(*parts: str, definition: dict[str, Any] = DEFINITION) -> dict[str, Any]:
        data, output, message = tmp_path / "baseline", tmp_path / "output", tmp_path / "exit" / "message"
        data.mkdir()
        for number, part in enumerate(parts):
            (data / f"part-{number:05d}.csv").write_text(part, encoding="utf-8")
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"definition": definition}))
        arguments = ["--config", config, "--baseline-data", data, "--output", output, "--message", message]
        code = analyze_data_quality.main([str(argument) for argument in arguments])
        if code:
            assert not output.exists()
            return {"code": code, "message": message.read_text(encoding="utf-8")}
        assert not message.exists()
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in output.iterdir()}

    return run


def lines(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def features(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {feature["name"]: feature for feature in document["features"]}


def test_features_stand_in_the_order_of_the_header_with_the_definitions_types(job: Job) -> None:
    documents = job(lines(*ROWS))
    assert set(documents) == {"statistics", "constraints"}
    expected = {
        "price": "Fractional",
        "mileage": "Fractional",
        "doors": "Integral",
        "cruise": "Integral",
        "make": "String",
        "body": "String",
    }
    for document in documents.values():
        found = {feature["name"]: feature["inferred_type"] for feature in document["features"]}
        assert list(found.items()) == list(expected.items())


def test_an_empty_field_is_missing_in_every_type(job: Job) -> None:
    documents = job(lines(*ROWS))
    assert documents["statistics"]["dataset"] == {"item_count": 3}
    completeness = {name: item["completeness"] for name, item in features(documents["constraints"]).items()}
    assert completeness == {name: pytest.approx(2 / 3) for name in HEADER.split(",")}


def test_constraints_are_what_one_computes_by_hand(job: Job) -> None:
    found = features(job(lines(*ROWS))["constraints"])
    assert found["mileage"]["num_constraints"] == {"is_non_negative": True}
    assert found["make"]["string_constraints"] == {"domains": ["Saab", "Buick"]}
    assert found["body"]["string_constraints"] == {"domains": ["sedan"]}


def test_several_parts_are_one_table(job: Job) -> None:
    found = features(job(lines(ROWS[0]), lines(ROWS[1]), lines())["statistics"])
    assert found["price"]["numerical_statistics"]["sum"] == 21000.5
    assert found["make"]["string_statistics"]["distinct_count"] == 1


def test_booleans_are_read_as_digits_or_words(job: Job) -> None:
    rows = [f"1,1,1,{value},a,b" for value in ("1", "0", "true", "false", "true")]
    cruise = features(job(lines(*rows))["statistics"])["cruise"]["numerical_statistics"]
    assert (cruise["mean"], cruise["sum"]) == (0.6, 3.0)


def test_not_a_number_is_missing(job: Job) -> None:
    found = features(job(lines("nan,1,1,1,a,b", "3,1,1,1,a,b"))["statistics"])["price"]["numerical_statistics"]
    assert found["common"] == {"num_present": 1, "num_missing": 1}


def test_words_that_other_readers_take_for_missing_are_texts(job: Job) -> None:
    rows = [f"1,1,1,1,Saab,{value}" for value in ("NA", "null", '"a,\nb"', "naïve")]
    buckets = features(job(lines(*rows))["statistics"])["body"]["string_statistics"]["distribution"]["categorical"]
    assert {bucket["value"] for bucket in buckets["buckets"]} == {"NA", "null", "a,\nb", "naïve"}


def test_a_column_that_the_definition_lacks_has_the_narrowest_type_of_its_values(job: Job) -> None:
    header = f"{HEADER},whole,real,code,none"
    rows = ["1,1,1,1,a,b,-7,1.5,A1,", "1,1,1,1,a,b,12,2,7,", "1,1,1,1,a,b,,1e-3,8,"]
    found = features(job(lines(rows[0], header=header), lines(*rows[1:], header=header))["constraints"])
    assert {name: found[name]["inferred_type"] for name in ("whole", "real", "code", "none")} == {
        "whole": "Integral",
        "real": "Fractional",
        "code": "String",
        "none": "Unknown",
    }
    assert found["whole"]["num_constraints"] == {"is_non_negative": False}


@pytest.mark.parametrize("cores", [1, 8])
def test_a_table_of_many_batches_is_described_as_pandas_does(
    job: Job, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(in_order, "cores", lambda: cores)
    monkeypatch.setattr(baseline, "BATCHES_AT_ONCE", 2)
    random = np.random.default_rng(1)
    count = 60_000
    table = pd.DataFrame(
        {
            "price": random.lognormal(9.8, 0.4, count),
            "mileage": np.where(random.random(count) < 0.1, np.nan, random.gamma(4, 5_000, count)),
            "doors": random.choice([2, 4], count),
            "cruise": random.integers(0, 2, count),
            "make": random.choice(["Saab", "Buick"], count),
            "body": pd.Series(random.choice(["sedan", "coupe"], count)).mask(random.random(count) < 0.1),
        }
    )
    text = table.to_csv(index=False)
    assert len(text) > 2 * baseline.BLOCK_BYTES
    found = features(job(text)["statistics"])
    for name in ("price", "mileage", "doors", "cruise"):
        statistics = found[name]["numerical_statistics"]
        assert statistics["common"]["num_missing"] == table[name].isna().sum()
        for key, expected in (("mean", table[name].mean()), ("std_dev", table[name].std(ddof=0))):
            assert statistics[key] == pytest.approx(expected, rel=1e-12)
        assert (statistics["min"], statistics["max"]) == (table[name].min(), table[name].max())
    for name in ("make", "body"):
        buckets = found[name]["string_statistics"]["distribution"]["categorical"]["buckets"]
        assert {bucket["value"]: bucket["count"] for bucket in buckets} == table[name].value_counts().to_dict()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "there is no CSV file below"),
        ([lines()], "there are no rows to describe"),
        ([""], "part-00000.csv starts with []; expected a header"),
        ([lines("1,1", header="price,price")], "expected a header of different column names"),
        ([lines("1,2", header="price,mileage")], "the columns ['doors', 'cruise', 'make', 'body'] of the definition"),
        ([lines(*ROWS), lines("1", header="price")], "part-00001.csv has the columns ['price'], but part-00000.csv"),
        ([lines("cheap,1,1,1,a,b")], "part-00000.csv: In CSV column #0: "),
        ([lines("1,1,1,1,a")], "part-00000.csv: CSV parse error: "),
        ([lines("inf,1,1,1,a,b")], "column 'price' holds an infinite number"),
    ],
)
def test_data_that_cannot_be_described_ends_the_job_with_the_reason(
    job: Job, parts: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = job(*parts)
    assert outcome["code"] == 1
    assert outcome["message"].startswith("The baseline of the data cannot be computed: ")
    assert message in outcome["message"]
    assert message in capsys.readouterr().err


def test_a_missing_configuration_is_a_bug_and_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        analyze_data_quality.main(["--config", str(tmp_path / "config.json")])
