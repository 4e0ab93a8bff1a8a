"""The preprocessing job from files to outputs, in this process."""

import csv
import errno
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from bench import made_up_names
from localcloud.sagemaker.algorithms import linear_learner_train, training_container
from localcloud.sagemaker.algorithms.linear_model import LinearModel
from localcloud.sagemaker.jobs.transform import payloads
from perennial.data import baseline, csv_files, in_order, ingest, sets
from perennial.data.column_statistics import NumericColumn, StringColumn, statistics
from perennial.data.copies import copy_name
from perennial.data.machines import OneMachine
from perennial.data.parts import PartWriter
from perennial.data.slices import masks
from perennial.features.target_encoding import FOLDS
from perennial.features.values import DataError
from processing import inference, preprocess
from tests.archives import unpack
from tests.e2e.matrix.registry import matrix
from tools import synthetic

SPLIT = {"method": "random", "column": None, "seed": 42, "validation": 0.15, "test": 0.2}
CARS: dict[str, Any] = {
    "problem": "regression",
    "target": "price",
    "columns": {
        "price": {"type": "float", "min": 0, "max": 500000},
        "mileage": {"type": "float", "min": 0, "max": 1000000},
        "cylinder": {"type": "integer", "min": 2, "max": 16},
        "doors": {"type": "integer", "min": 2, "max": 5},
        "cruise": {"type": "boolean"},
        "sound": {"type": "boolean"},
        "leather": {"type": "boolean"},
        "make": {"type": "string"},
        "body": {"type": "string"},
    },
    "split": SPLIT,
    "quality": {"max_invalid_share": 0.01, "min_rows": 100, "max_categories": 100},
}
OF_ROWS = ("train", "validation", "test", "labels", "baseline")
FEATURES = [name for name in CARS["columns"] if name != "price"]


def cars(rows: int, seed: int = 1, **options: Any) -> bytes:
    return b"".join(synthetic.batches(rows, seed=seed, **options))


def changed(definition: dict[str, Any], **changes: dict[str, Any]) -> dict[str, Any]:
    """A definition with some keys of its sections set."""
    return {**definition, **{section: {**definition[section], **change} for section, change in changes.items()}}


class Job:
    """Files in a folder, one run of the job, and what it left."""

    def __init__(self, folder: Path, listed_at: str | None = None) -> None:
        self.folder, self.output = folder, folder / "output"
        self.config: dict[str, Any] = {"data": {"listed_at": listed_at}} if listed_at else {}

    def run(self, definition: dict[str, Any], *files: bytes | tuple[str, bytes]) -> int:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(files):
            name, content = file if isinstance(file, tuple) else (f"{number:05d}-cars.csv", file)
            (self.folder / "data" / name).write_bytes(content)
        config = {"model": "used-cars", "definition": definition, **self.config}
        (self.folder / "config.json").write_text(json.dumps(config))
        paths = {name: str(self.folder / name) for name in ("data", "champion", "output", "message")}
        arguments = [f"--{name}={path}" for name, path in paths.items()]
        return preprocess.main([f"--config={self.folder / 'config.json'}", *arguments])

    def fails(self, definition: dict[str, Any], *files: bytes | tuple[str, bytes]) -> str:
        assert self.run(definition, *files) == 1
        message = (self.folder / "message").read_bytes()
        assert len(message) <= 1024
        return message.decode()

    def parts(self, name: str) -> list[bytes]:
        return [part.read_bytes() for part in sorted((self.output / name).glob("part-*"))]

    def matrix(self, name: str) -> pd.DataFrame:
        return pd.concat([pd.read_csv(io.BytesIO(part), header=None) for part in self.parts(name)], ignore_index=True)

    def records(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for part in self.parts(name) for line in part.decode().splitlines()]

    @property
    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.output / "report" / "report.json").read_text())
        return document

    def digest(self) -> str:
        files = sorted(path for path in self.output.rglob("*") if path.is_file())
        content = [path.relative_to(self.output).as_posix().encode() + path.read_bytes() for path in files]
        return hashlib.sha256(b"".join(content)).hexdigest()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two healthy files; the parts are small so that there are several."""
    job = Job(tmp_path_factory.mktemp("healthy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocess, "ROWS_PER_PART", 300)
        assert job.run(CARS, cars(1500), cars(501, seed=2)) == 0
    return job


# ---- A healthy run


def raw_frame() -> pd.DataFrame:
    return pd.concat([pd.read_csv(io.BytesIO(file)) for file in (cars(1500), cars(501, seed=2))], ignore_index=True)


def test_every_row_is_in_exactly_one_set(healthy: Job) -> None:
    train = pd.concat([pd.read_csv(io.BytesIO(part)) for part in healthy.parts("baseline")])
    test = pd.DataFrame(healthy.records("test")).assign(price=[*map(float, b"".join(healthy.parts("labels")).split())])
    validation_prices = healthy.matrix("validation")[0].tolist()
    seen = sorted(train["price"].tolist() + test["price"].tolist() + validation_prices)
    assert seen == sorted(raw_frame()["price"].tolist())
    assert healthy.report["sets"] == {"train": 1251, "validation": 334, "test": 416}


def test_encoded_sets_are_those_of_scikit_learn(healthy: Job) -> None:
    train = pd.concat([pd.read_csv(io.BytesIO(part)) for part in healthy.parts("baseline")], ignore_index=True)
    numbers, categories = ["mileage", "cylinder", "doors", "cruise", "sound", "leather"], ["make", "body"]
    imputer = SimpleImputer().fit(train[numbers])
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train[categories])
    expected = np.hstack([train[["price"]], imputer.transform(train[numbers]), one_hot.transform(train[categories])])
    np.testing.assert_allclose(healthy.matrix("train").to_numpy(), expected, rtol=1e-12)
    frame = raw_frame().set_index("price", drop=False).loc[healthy.matrix("validation")[0]]
    expected = np.hstack([frame[["price"]], imputer.transform(frame[numbers]), one_hot.transform(frame[categories])])
    np.testing.assert_allclose(healthy.matrix("validation").to_numpy(), expected, rtol=1e-12)


def test_test_records_are_raw_and_match_their_labels_line_by_line(healthy: Job) -> None:
    by_price = raw_frame().set_index("price")
    tests, labels = healthy.parts("test"), healthy.parts("labels")
    assert len(tests) == len(labels) == 2
    for lines, prices in zip(tests, labels, strict=True):
        assert lines.count(b"\n") == prices.count(b"\n")
        for line, price in zip(lines.splitlines(), prices.split(), strict=True):
            record = json.loads(line)
            assert list(record) == FEATURES
            assert isinstance(record["cruise"], bool)
            assert by_price.loc[[float(price)]].eq(pd.Series(record)).all(axis=1).any()


def test_parts_are_bounded_and_baseline_parts_have_a_header(healthy: Job) -> None:
    assert [part.count(b"\n") for part in healthy.parts("train")] == [300, 300, 300, 300, 51]
    baseline = healthy.parts("baseline")
    assert [part.count(b"\n") for part in baseline] == [301, 301, 301, 301, 52]
    assert {part.split(b"\n", 1)[0] for part in baseline} == {b"price," + ",".join(FEATURES).encode()}


def test_report_counts_by_file_and_set(healthy: Job) -> None:
    report = healthy.report
    assert report["rows"] == {"read": 2001, "used": 2001, "quarantined": 0, "written_to_quarantine": 0}
    assert [(file["name"], file["rows"]) for file in report["files"]] == [
        ("00000-cars.csv", 1500),
        ("00001-cars.csv", 501),
    ]
    assert report["features"][:7] == ["mileage", "cylinder", "doors", "cruise", "sound", "leather", "make=Buick"]
    assert report["rules"] == []
    assert report["duplicates"] == {"rows": 0, "left_out": 0, "trained_again": 0}
    assert healthy.parts("quarantine") == []
    assert not (healthy.folder / "message").exists()


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = Job(tmp_path / "one"), Job(tmp_path / "other")
    for job in (one, other):
        job.run(CARS, cars(700, invalid=0.005), gzip.compress(cars(300, seed=2), mtime=0))
    assert one.report["rows"]["quarantined"] > 0
    assert one.digest() == other.digest()


def test_any_number_of_cores_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a file, batches, pieces of parts and what is wrong with rows: all of them several times, as in one."""
    monkeypatch.setattr(preprocess, "ROWS_PER_PART", 130)
    texts = {name: {**CARS["columns"][name], "nullable": True} for name in ("mileage", "make")}
    definition = {**changed(CARS, columns=texts), "quality": {**CARS["quality"], "max_categories": 3}}
    ragged = cars(900, seed=2, invalid=0.005).replace(b",wagon", b",wagon,more", 4)
    quoted = cars(800, seed=3).replace(b"Saab", b'"Sa,ab"'), cars(800, seed=5).replace(b"Saab", b'Sa"ab', 9)
    files = (cars(1_200), ragged, *quoted, gzip.compress(cars(300, seed=4)))
    in_one = Job(tmp_path / "one")
    assert in_one.run(definition, *files) == 0
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 4_096)
    monkeypatch.setattr(sets, "BATCH_BYTES", 8_192)
    digests = set[str]()
    for number in (1, 2, 8):
        monkeypatch.setattr(in_order, "cores", lambda number=number: number)
        job = Job(tmp_path / str(number))
        assert job.run(definition, *files) == 0
        digests.add(job.digest())
    assert len(digests) == 1
    for name in (*OF_ROWS, "quarantine"):
        assert job.parts(name) == in_one.parts(name), name
    assert {reason for entry in job.records("quarantine") for reason in entry["reasons"]} > {
        "the row has 10 fields, expected 9"
    }
    assert len(job.parts("test")) > 2


def test_serving_knows_ranges_texts_of_training_rows_and_what_may_be_missing(tmp_path: Path) -> None:
    columns = {**CARS["columns"]}
    columns["body"] = {"type": "string", "categories": ["coupe", "sedan", "hatchback", "wagon", "convertible", "van"]}
    columns["cylinder"] = {"type": "integer", "nullable": True}
    job = Job(tmp_path)
    serving = {"unknown_category": "refuse", "out_of_range": "answer", "missing": "refuse"}
    assert job.run({**CARS, "columns": columns, "serving": serving}, cars(400)) == 0
    with tarfile.open(job.output / "preprocessor" / "model.tar.gz") as archive:
        checks = json.load(archive.extractfile("preprocessor.json") or io.BytesIO())["checks"]
    trained = {row["make"] for row in csv.DictReader(io.StringIO(job.parts("baseline")[0].decode()))}
    nothing = {"min": None, "max": None, "known": None}
    assert checks["refused"] == ["missing", "unknown_category"]
    assert list(checks["rules"]) == FEATURES
    assert checks["rules"]["mileage"] == {"min": 0, "max": 1000000, "known": None, "nullable": False}
    assert checks["rules"]["cylinder"] == {**nothing, "nullable": True}
    assert checks["rules"]["make"] == {**nothing, "known": sorted(trained), "nullable": False}
    assert checks["rules"]["body"]["known"] == sorted(columns["body"]["categories"])


def coloured(rows: int, colours: int) -> tuple[dict[str, Any], bytes]:
    """A definition of one short text column, and rows of it."""
    columns = {"y": {"type": "float"}, "c": {"type": "string"}}
    definition = {**CARS, "target": "y", "columns": columns, "split": {**SPLIT, "key": None}}
    return definition, b"y,c\n" + b"".join(b"%d.5,k%d\n" % (row, row % colours) for row in range(rows))


@pytest.mark.parametrize("champions", [0, 2000])
def test_no_request_of_the_test_set_becomes_more_than_the_next_container_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, champions: int
) -> None:
    """One text column of 100 categories: 200 bytes of 10. Payloads and limit are a hundredth of those of AWS."""
    job, (definition, rows) = Job(tmp_path), coloured(4000, 100)
    (tmp_path / "champion").mkdir()
    (tmp_path / "champion" / "champion.json").write_text(json.dumps({"widest_row": champions}))
    assert job.run(definition, rows) == 0
    unpack(job.output / "preprocessor" / "model.tar.gz", tmp_path / "model")
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    model = inference.model_fn(str(tmp_path / "model"))
    part, widest = job.parts("test")[0], 0
    for payload in payloads(io.BytesIO(part), "Line", "MultiRecord", 2**20 // 100):
        answer = inference.predict_fn(inference.input_fn(payload, "application/jsonlines"), model)
        assert isinstance(answer, str)
        assert len(answer) <= 6 * 2**20 // 100
        assert len(payload) // payload.count(b"\n") * 5 >= champions
        widest = max(widest, *(len(line) + 1 for line in answer.splitlines()))
    assert json.loads((job.output / "report" / "report.json").read_text())["widest_row"] == widest


def test_what_is_served_is_what_was_trained(healthy: Job, tmp_path: Path) -> None:
    """The archive alone, in the image's Python without our folder on its path, encodes raw rows as the job did."""
    with tarfile.open(healthy.output / "preprocessor" / "model.tar.gz") as archive:
        assert all(member.mtime == 0 and member.isreg() for member in archive)
    unpack(healthy.output / "preprocessor" / "model.tar.gz", tmp_path)
    baseline = healthy.parts("baseline")[0].decode().splitlines()[1:]
    records = [row.split(",", 1)[1] for row in baseline]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1] + '/code'); import inference as i; m = i.model_fn(sys.argv[1]);"
        "print(i.predict_fn(i.input_fn(sys.stdin.read(), 'text/csv'), m), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path)],
        input="\n".join(records),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [line.split(",", 1)[1] for line in healthy.parts("train")[0].decode().splitlines()]
    assert done.stdout.splitlines() == expected


RAW: dict[str, Any] = {
    **CARS,
    "target": "price",
    "other_columns": "ignore",
    "columns": {
        "price": {"type": "integer", "source": "Preis (€)",
                  "parse": {"units": {"€": 1, "T€": 1000}, "thousands": ".", "decimal": ","}},
        "mileage": {"type": "float", "nullable": True,
                    "parse": {"units": {"km": 1, "mi": 1.609}, "missing": ["-", "0"]}},
        "power": {"type": "integer", "nullable": True, "source": ["PS", "Leistung"], "parse": {"number": "first"}},
        "sold": {"type": "boolean", "parse": {"true": ["V", "Ja"], "false": ["B", "Nein"]}},
        "make": {"type": "string", "nullable": True, "parse": {"missing": ["k.A."]}},
        "dealer": {"type": "string", "parse": {"strip": False}},
        "share": {"type": "float", "parse": {"units": {"%": 0.01}, "decimal": ","}},
        "age": {"type": "integer", "nullable": True},
        "listed": {"type": "timestamp", "feature": False, "parse": {"formats": ["%d.%m.%Y"]}},
    },
    "split": {**SPLIT, "method": "time", "column": "listed"},
}  # fmt: skip


def raw_rows(count: int) -> list[dict[str, str]]:
    """Rows as a German spreadsheet has them."""
    random = np.random.default_rng(0)
    words = {
        "Preis (€)": lambda n: f"{n // 1000}.{n % 1000:03d} €" if n >= 1000 else f"{n} €",
        "Mileage": lambda n: ["-", "0", f"{n} km", f"{n / 10} mi", str(n)][n % 5],
        "PS": lambda n: ["", f"{n}PS@ 2000rpm", f"ca. {n} (kW)", str(n)][n % 4],
        "SOLD": lambda n: ["V", "nein", "B", "JA"][n % 4],
        "make": lambda n: ["k.A.", " Saab ", "Buick", "Škoda, a.s."][n % 4],
        "dealer": lambda n: [" a", "a"][n % 2],
        "Sha-re": lambda n: [f"{n % 100},5 %", f"0,{n}"][n % 2],
        "listed": lambda n: f"{1 + n % 28:02d}.{1 + n % 12:02d}.20{10 + n % 15}",
        "colour": lambda n: "red",
    }
    return [{name: word(int(random.integers(1, 9999))) for name, word in words.items()} for _ in range(count)]


def test_raw_rows_mean_the_same_in_training_and_in_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a German CSV file, of JSON lines and of Parquet, and what the baseline has of them.

    With them what the archive answers to each, also in batch.
    """
    rows = raw_rows(600)
    frame = pd.DataFrame(rows)
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame), parquet)
    german = ("sep=;\r\n" + frame.to_csv(sep=";")).encode("utf-16")
    lines = frame.to_json(orient="records", lines=True, force_ascii=False).encode()
    jobs = [Job(tmp_path / str(number)) for number in range(3)]
    for job, content in zip(jobs, (german, lines, parquet.getvalue()), strict=True):
        assert job.run(RAW, content) == 0
        assert job.report["rows"] == {"read": 600, "used": 600, "quarantined": 0, "written_to_quarantine": 0}
    assert len({b"".join(b"".join(job.parts(name)) for name in OF_ROWS) for job in jobs}) == 1
    assert "columns that are absent, so missing in every row: age" in jobs[0].report["files"][0]["notes"]

    unpack(jobs[0].output / "preprocessor" / "model.tar.gz", tmp_path / "model")
    model = inference.model_fn(str(tmp_path / "model"))
    order = sorted(range(600), key=lambda row: datetime.strptime(rows[row]["listed"], "%d.%m.%Y").timestamp())  # noqa: DTZ007
    order = [row for row in range(600) if row in set(order[: jobs[0].report["sets"]["train"]])]
    trained = [line.split(",", 1)[1] for line in b"".join(jobs[0].parts("train")).decode().splitlines()]
    features = ["Mileage", "PS", "SOLD", "make", "dealer", "Sha-re"]
    records = [{name: rows[row][name] for name in features} for row in order]
    as_json = "\n".join(map(json.dumps, records))
    text = io.StringIO()
    csv.writer(text).writerows([[*record.values(), ""] for record in records])
    whole = "\n".join(json.dumps(rows[row]) for row in order)
    with_header = frame.iloc[order].to_csv()
    for body, kind in (
        (as_json, "application/jsonlines"),
        (whole, "application/jsonlines"),
        (text.getvalue(), "text/csv"),
        (with_header, "text/csv"),
    ):
        answered = inference.predict_fn(inference.input_fn(body, kind), model)
        assert str(answered).splitlines() == trained
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    in_batch = inference.model_fn(str(tmp_path / "model"))
    for body in (as_json, whole):
        answered = inference.predict_fn(inference.input_fn(body, "application/jsonlines"), in_batch)
        assert str(answered).splitlines() == trained
    baseline = pd.read_csv(
        io.BytesIO(b"".join(jobs[0].parts("baseline"))), keep_default_na=False, na_values={"mileage": "", "power": ""}
    )
    expected = pd.DataFrame([typed(rows[row]) for row in order])
    pd.testing.assert_frame_equal(baseline[list(expected)], expected, check_dtype=False)
    assert set(baseline) - set(expected) == {"age"}
    assert set(baseline["age"]) == {""}


def typed(row: dict[str, str]) -> dict[str, Any]:
    """What one of `raw_rows` means, said once more by other means."""
    number, mile = r"\d+(?:\.\d+)?", 1.609
    miles = re.match(number, row["Mileage"])
    power = re.search(number, row["PS"])
    distance = float(miles[0]) * (mile if row["Mileage"].endswith("mi") else 1) if miles else 0
    share = float(re.sub(r"[ %]", "", row["Sha-re"]).replace(",", "."))
    return {
        "price": int(re.sub(r"[. €]", "", row["Preis (€)"])),
        "mileage": distance or None,
        "power": int(power[0]) if power else None,
        "sold": int(row["SOLD"] in ("V", "JA")),
        "make": "" if row["make"] == "k.A." else row["make"].strip(),
        "dealer": row["dealer"],
        "share": share * (0.01 if "%" in row["Sha-re"] else 1),
    }


def test_a_logarithm_is_what_the_algorithm_learns_and_everything_else_keeps_the_unit(tmp_path: Path) -> None:
    plain, logarithm = Job(tmp_path / "plain"), Job(tmp_path / "logarithm")
    assert plain.run(CARS, cars(700)) == 0
    assert logarithm.run({**CARS, "target_transform": "log"}, cars(700)) == 0
    for name in ("train", "validation"):
        np.testing.assert_allclose(logarithm.matrix(name)[0], np.log(plain.matrix(name)[0]), rtol=1e-15)
    for name in ("test", "labels", "baseline"):
        assert logarithm.parts(name) == plain.parts(name)
    assert logarithm.report["target"] == plain.report["target"]
    assert packed_names(logarithm) - packed_names(plain) == {"code/postprocess.py"}


def test_a_whole_number_of_more_than_53_bits_is_a_target_and_a_feature(job: Job) -> None:
    columns = CARS["columns"] | {"price": {"type": "integer", "min": 1.0}, "doors": {"type": "integer", "min": 2.0}}
    rows = pd.read_csv(io.BytesIO(cars(400)), dtype=str)
    rows.loc[::7, ["price", "doors"]] = str(2**53 + 1)
    rows["price"] = rows["price"].str.partition(".")[0]
    rows["make"] += rows.index.astype(str).str[-1]  # of many values, whose means are taken
    broken = "9,30000,4,1,1,1,0,Chevy,sedan\n"
    definition = {**CARS, "columns": columns, "target_transform": "log"}
    assert job.run(definition, (rows.to_csv(index=False) + broken).encode()) == 0
    (row,) = job.records("quarantine")
    assert row["reasons"] == ["doors: '1' is below the minimum 2"]
    assert job.matrix("train")[0].max() == pytest.approx(np.log(2.0**53))


def packed_names(job: Job) -> set[str]:
    with tarfile.open(job.output / "preprocessor" / "model.tar.gz") as archive:
        return set(archive.getnames())


def test_a_target_that_spans_orders_of_magnitude_is_noted_where_its_logarithm_is_not_learned(tmp_path: Path) -> None:
    rows = pd.read_csv(io.BytesIO(cars(400)))
    rows["price"] = np.geomspace(50, 50_000, 400).round(2)
    wide = rows.to_csv(index=False).encode()
    for definition, noted in ((CARS, True), ({**CARS, "target_transform": "log"}, False)):
        job = Job(tmp_path / str(noted))
        assert job.run(definition, wide) == 0
        assert any("transform: log" in note for note in job.report["notes"]) == noted
    assert Job(tmp_path / "usual").run(CARS, cars(400)) == 0
    assert Job(tmp_path / "usual").report["notes"] == []


def test_a_target_that_has_no_logarithm_breaks_the_contract(job: Job) -> None:
    free = b"0,30000,4,4,1,1,0,Chevy,sedan\n"
    assert job.run({**CARS, "target_transform": "log"}, cars(400), HEADER + free) == 0
    (row,) = job.records("quarantine")
    assert row["reasons"] == ["price: '0' is not above 0, and the model learns the logarithm (target.transform: log)"]


def test_many_values_are_encoded_out_of_fold_in_training_only(job: Job) -> None:
    rows = pd.read_csv(io.BytesIO(cars(900)))
    rows["make"] = [f"{make} {number % 40}" for number, make in enumerate(rows["make"])]
    assert job.run(changed(CARS, quality={"max_categories": 20}), rows.to_csv(index=False).encode()) == 0
    names = job.report["features"]
    means = names.index("make=mean")
    assert names[means - 1 : means + 2] == ["make=mean of 1 word", "make=mean", "make=rows"]
    texts = job.report["texts"]
    assert texts["body"] == {
        "encoding": "category",
        "values": 5,
        "unseen_share": {"train": 0, "validation": 0, "test": 0},
        "unseen": {},
    }
    trained = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")])["make"].value_counts()
    assert texts["make"]["values"] == len(trained)
    assert texts["make"]["unseen_share"]["train"] == 0
    new = [record["make"] not in trained for record in job.records("test")]
    assert texts["make"]["unseen_share"]["test"] == pytest.approx(np.mean(new), abs=1e-6)
    assert texts["make"]["unseen"].keys() <= set(rows["make"]) - set(trained.index)
    train, validation = job.matrix("train"), job.matrix("validation")
    assert train[1 + means - 1].nunique() == FOLDS * rows["make"].str.split().str[0].nunique()
    assert validation[1 + means - 1].nunique() == rows["make"].str.split().str[0].nunique()


def linear_learners_error(job: Job, root: Path) -> float:
    """RMSE on the validation rows of a Linear Learner (the local cloud's) with default hyperparameters."""
    sets = {name: job.matrix(name).to_numpy(float) for name in ("train", "validation")}
    (root / "input/config").mkdir(parents=True)
    for name, rows in sets.items():
        (root / "input/data" / name).mkdir(parents=True)
        np.savetxt(root / "input/data" / name / "part-00000.csv", rows, delimiter=",", fmt="%.9g")
    channel = {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    for file, content in (
        ("hyperparameters", {"predictor_type": "regressor"}),
        ("inputdataconfig", dict.fromkeys(sets, channel)),
    ):
        (root / "input/config" / f"{file}.json").write_text(json.dumps(content))
    assert training_container.run(linear_learner_train.train, ["--root", str(root)]) == 0
    predicted = LinearModel.load(root / "model/model_algo-1").score(sets["validation"][:, 1:])
    return float(np.sqrt(np.mean((sets["validation"][:, 0] - predicted) ** 2)))


def test_a_linear_learner_profits_from_the_means_of_many_values(tmp_path: Path) -> None:
    """Generated cars with 635 names, and the logarithm of the price: without the means nothing says what a name is."""
    definition: dict[str, Any] = {
        **CARS,
        "target_transform": "log",
        "columns": {
            **{name: {"type": "integer"} for name in ("price", "year", "km", "engine")},
            **{name: {"type": "string"} for name in ("fuel", "gearbox", "owner", "name")},
        },
    }
    errors = []
    for feature in (True, False):
        columns = {**definition["columns"], "name": {"type": "string", "feature": feature}}
        job = Job(tmp_path / f"job-{feature}")
        assert job.run({**definition, "columns": columns}, made_up_names.cars()) == 0
        assert ("name=mean" in job.report["features"]) == feature
        errors.append(linear_learners_error(job, tmp_path / f"root-{feature}"))
    assert errors[0] < 0.8 * errors[1], errors


def test_rows_of_the_first_run_keep_their_set_in_the_second(tmp_path: Path) -> None:
    first, second = Job(tmp_path / "first"), Job(tmp_path / "second")
    assert first.run(CARS, cars(804)) == 0
    assert second.run(CARS, cars(804), cars(200, seed=2)) == 0
    trained = {line for part in first.parts("baseline") for line in part.splitlines()[1:]}
    fresh = {
        ",".join([price, *(str(int(value)) if isinstance(value, bool) else str(value) for value in record.values())])
        for record, price in zip(second.records("test"), b"".join(second.parts("labels")).decode().split(), strict=True)
    }
    assert trained.isdisjoint(line.encode() for line in fresh)
    assert len(second.records("test")) == 208


def test_forms_of_the_same_data_give_the_same_sets(tmp_path: Path, job: Job) -> None:
    text = cars(400)
    frame = pd.read_csv(io.BytesIO(text))
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame[reversed(frame.columns)]), parquet)
    reordered = frame[list(reversed(frame.columns))].to_csv(index=False).encode()
    expected = None
    for number, form in enumerate((text, b"\xef\xbb\xbf" + text, gzip.compress(text), parquet.getvalue(), reordered)):
        job = Job(tmp_path / str(number))
        assert job.run(CARS, form) == 0
        sets = [job.parts(name) for name in ("train", "validation", "test", "labels", "baseline")]
        expected = expected or sets
        assert sets == expected


def in_reverse(table: bytes) -> bytes:
    """The same rows in another file."""
    header, *rows = table.splitlines(keepends=True)
    return header + b"".join(reversed(rows))


def test_a_file_that_comes_twice_is_read_once(tmp_path: Path) -> None:
    once, twice = Job(tmp_path / "once"), Job(tmp_path / "twice")
    assert once.run(CARS, cars(500)) == 0
    assert twice.run(CARS, cars(500), ("00001-copy.csv", cars(500)), ("00002-copy.csv", cars(500))) == 0
    assert twice.report["duplicates"] == {"rows": 0, "left_out": 0, "trained_again": 0}
    for name in ("train", "test", "labels", "validation", "baseline"):
        assert twice.parts(name) == once.parts(name)
    assert [file["rows"] for file in twice.report["files"]] == [500, 0, 0]
    assert twice.report["new_files"]["copies"] == 2
    note = "in 2 files, such as 00001-copy.csv: the same file as 00000-cars.csv, which counts once"
    assert note in twice.report["new_files"]["notes"]


def test_a_copy_is_read_where_its_rows_may_say_something(tmp_path: Path) -> None:
    """With a key an old file that comes again puts its rows back, and a few rows may be the same by chance."""
    keyed, few = Job(tmp_path / "keyed"), Job(tmp_path / "few")
    by_vin = changed({**WIDE, "columns": {**CARS["columns"], "vin": WIDE["columns"]["vin"]}}, split={"key": ["vin"]})
    old, new = (with_columns(cars(500, seed=seed), vin=lambda row: f"v{row}") for seed in (1, 2))
    assert keyed.run(by_vin, old, new, old) == 0
    assert [file["rows"] for file in keyed.report["files"]] == [500, 500, 500]
    assert few.run(CARS, cars(500), cars(19, seed=2), cars(19, seed=2)) == 0
    assert [file["rows"] for file in few.report["files"]] == [500, 19, 19]


def test_rows_that_are_dropped_twice_show_in_the_report_and_help_no_test(tmp_path: Path) -> None:
    once, twice = Job(tmp_path / "once"), Job(tmp_path / "twice")
    assert once.run(CARS, cars(500)) == 0
    assert twice.run(CARS, cars(500), in_reverse(cars(500))) == 0
    held_out = once.report["sets"]["validation"] + once.report["sets"]["test"]
    again = once.report["sets"]["train"]
    assert twice.report["duplicates"] == {"rows": 500, "left_out": held_out, "trained_again": again}
    for name in ("test", "labels", "validation"):
        assert twice.parts(name) == once.parts(name)
    assert twice.report["sets"]["train"] == 2 * once.report["sets"]["train"]


def test_the_same_rows_packed_otherwise_are_the_same_test_set(tmp_path: Path) -> None:
    """One file, or twenty of them in another order: what tests and what trains are the same rows."""
    one, many = Job(tmp_path / "one"), Job(tmp_path / "many")
    header, *rows = cars(1000).splitlines(keepends=True)
    assert one.run(CARS, header + b"".join(rows)) == 0
    shuffled = [rows[int(place)] for place in np.random.default_rng(3).permutation(len(rows))]
    assert many.run(CARS, *(header + b"".join(shuffled[start::20]) for start in range(20))) == 0
    for name in ("test", "baseline"):
        lines = [sorted(b"".join(job.parts(name)).splitlines()) for job in (one, many)]
        assert [line for line in lines[0] if line != header.strip()] == [
            line for line in lines[1] if line != header.strip()
        ]
        assert len(lines[0]) > 150


def test_copies_in_another_kind_of_file_and_width_of_number_are_copies(job: Job) -> None:
    """CSV, and Parquet with numbers in single precision, as decimals and as texts."""
    text = cars(400).replace(b".", b".3")  # numbers that single precision cannot hold
    frame = pd.read_csv(io.BytesIO(text))
    frame["mileage"] += 0.1
    plain = pa.Table.from_pandas(frame)
    kinds = (pa.float32(), pa.decimal128(12, 3), pa.string())
    packed = []
    for kind in kinds:
        column = pc.cast(plain["mileage"], kind, safe=False) if kind != pa.string() else pc.cast(plain["mileage"], kind)
        sink = io.BytesIO()
        pq.write_table(plain.set_column(plain.column_names.index("mileage"), "mileage", column), sink)
        packed.append(sink.getvalue())
    assert job.run(CARS, frame.to_csv(index=False).encode(), *packed) == 0
    assert job.report["duplicates"]["rows"] == len(kinds) * 400


def test_hashes_tell_the_rows_that_a_model_has_seen_line_by_line(healthy: Job) -> None:
    seen, tested, targets = (hashes(healthy, name) for name in ("seen", "test", "target"))
    labels = [part.split() for part in healthy.parts("labels")]
    assert [len(part) for part in tested] == [len(part) for part in targets] == [len(part) for part in labels]
    told = set(zip(np.concatenate(targets).tolist(), [text for part in labels for text in part], strict=True))
    assert len(told) == len({target for target, _ in told}) == len({text for _, text in told}) > 1
    sets = healthy.report["sets"]
    assert sum(map(len, seen)) == sets["train"] + sets["validation"]
    assert not np.isin(np.concatenate(tested), np.concatenate(seen)).any()
    assert len(healthy.report["identity"]) == 16


def test_slices_tell_line_by_line_which_test_records_they_hold(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocess, "ROWS_PER_PART", 30)
    slices = {"saab": {"where": {"make": {"values": ["Saab"]}}}, "dear": {"where": {"price": {"above": 20_000}}}}
    assert job.run({**CARS, "gate": {"slices": slices}}, cars(500)) == 0
    bits, prices = hashes(job, "slices"), np.concatenate([np.loadtxt(io.BytesIO(part)) for part in job.parts("labels")])
    assert [part.size for part in bits] == [len(part.splitlines()) for part in job.parts("test")]
    inside = masks(np.concatenate(bits), ["dear", "saab"])
    makes = np.array([record["make"] for record in job.records("test")])
    np.testing.assert_array_equal(inside["saab"], makes == "Saab")
    np.testing.assert_array_equal(inside["dear"], prices > 20_000)
    assert all(0 < rows.sum() < rows.size for rows in inside.values())


def hashes(job: Job, name: str) -> list[Any]:
    return [np.frombuffer(part, "<u8") for part in job.parts(f"rows/v1/{name}")]


# ---- Beside a model in service


def champion(job: Job, **about: Any) -> Job:
    """The same job, which knows a model in service."""
    (job.folder / "champion").mkdir(parents=True)
    statistics = about.pop("statistics", None)
    (job.folder / "champion" / "champion.json").write_text(json.dumps(about))
    if statistics:
        (job.folder / "champion" / "statistics.json").write_text(json.dumps(statistics))
    return job


def test_rows_are_told_and_tested_as_the_model_in_service_reads_them(tmp_path: Path) -> None:
    """Its definition knew another name and another type of the mileage, and no doors; the files are the same."""
    columns = {name: column for name, column in CARS["columns"].items() if name not in ("mileage", "doors")}
    miles = {"type": "integer", "source": "mileage"}
    before = {**CARS, "columns": {**columns, "miles": miles, "doors": {"type": "integer", "feature": False}}}
    served, fresh = Job(tmp_path / "served"), champion(Job(tmp_path / "fresh"), definition=before, new_files=[])
    assert served.run(before, cars(600)) == 0
    assert fresh.run(CARS, cars(600), cars(100, seed=2)) == 0
    assert fresh.report["champion_identity"] == served.report["identity"] != fresh.report["identity"]
    told, seen = (np.concatenate(hashes(job, name)) for job, name in ((fresh, "champion"), (served, "seen")))
    tested = np.concatenate(hashes(served, "test"))
    assert len(told) == fresh.report["sets"]["test"]
    assert np.isin(told, np.concatenate([seen, tested])).sum() > 80  # of 600 of 700 rows a fifth
    records, as_served = fresh.records("test"), fresh.records("rows/champion-test")
    assert [{**row, "doors": None, "mileage": None} for row in records] == [
        {**{name: row.get(name) for name in FEATURES}, "doors": None, "mileage": None} for row in as_served
    ]
    assert [row["mileage"] for row in records] == [row["miles"] for row in as_served]
    assert list(as_served[0]) == [name for name in before["columns"] if name not in ("price", "doors")]


def with_columns(text: bytes, **columns: Callable[[int], str]) -> bytes:
    """The same rows with further columns, by the number of the row."""
    header, *rows = text.decode().splitlines()
    made = [",".join([row, *(make(number) for make in columns.values())]) for number, row in enumerate(rows)]
    return "\n".join([",".join([header, *columns]), *made, ""]).encode()


def defined(**columns: dict[str, Any]) -> dict[str, Any]:
    return {**CARS, "other_columns": "ignore", "columns": {**CARS["columns"], **columns}}


def share_told(fresh: Job, served: Job) -> float:
    """The share of test rows that the model in service has trained or validated on, as its own columns tell."""
    seen = np.concatenate(hashes(served, "seen"))
    return float(np.isin(np.concatenate(hashes(fresh, "champion")), seen).mean())


def test_a_feature_that_comes_from_another_column_of_the_file_does_not_hide_what_was_seen(tmp_path: Path) -> None:
    before, now = (defined(age={"type": "float", "source": name}) for name in ("years", "months"))
    data = with_columns(cars(600), years=lambda n: str(n % 9), months=lambda n: str(n * 7 % 100))
    served, fresh = Job(tmp_path / "served"), champion(Job(tmp_path / "fresh"), definition=before, new_files=[])
    assert served.run(before, data) == 0
    assert fresh.run(now, data) == 0
    assert share_told(fresh, served) > 0.7
    assert {row["age"] for row in fresh.records("rows/champion-test")} <= set(map(float, range(9)))


def test_a_feature_whose_column_was_renamed_in_the_files_is_told_as_before(tmp_path: Path) -> None:
    before, now = (defined(age={"type": "float", "source": name}) for name in ("years", "alter"))
    served, fresh = Job(tmp_path / "served"), champion(Job(tmp_path / "fresh"), definition=before, new_files=[0])
    assert served.run(before, with_columns(cars(600), years=lambda n: str(n % 9))) == 0
    assert fresh.run(now, with_columns(cars(600), alter=lambda n: str(n % 9))) == 0
    assert np.isin(np.concatenate(hashes(fresh, "champion")), np.concatenate(hashes(served, "test"))).all()
    assert fresh.report["champion_target"] == {"rows": 600, "other": 0}


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_rows_whose_nullable_column_is_gone_from_the_files_cannot_be_told(tmp_path: Path, form: str) -> None:
    before = defined(owners={"type": "integer", "nullable": True})
    data = cars(600)
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.csv.read_csv(io.BytesIO(data)), sink)
        data = sink.getvalue()
    if form == "json":
        data = pd.read_csv(io.BytesIO(data)).to_json(orient="records", lines=True).encode()
    fresh = champion(Job(tmp_path / "fresh"), definition=before, new_files=[0])
    assert fresh.run(CARS, data) == 0
    assert not np.concatenate(hashes(fresh, "champion")).any()


@pytest.mark.parametrize(
    ("new", "absent", "is_told"), [([], [], True), ([0], ["trim"], True), ([0], [], False)],
    ids=["a file that it was trained on", "none of its files had it", "some may have had it"],
)  # fmt: skip
def test_a_nullable_column_that_is_absent_and_was_is_null_to_both(
    tmp_path: Path, new: list[int], absent: list[str], is_told: bool
) -> None:
    trim = {"type": "string", "nullable": True}
    before, now = defined(trim=trim), defined(trim=trim, z={"type": "float"})
    data = with_columns(cars(600), z=lambda n: str(n % 7))
    served = Job(tmp_path / "served")
    assert served.run(before, data) == 0
    assert served.report["absent"] == ["trim"]
    fresh = champion(Job(tmp_path / "fresh"), definition=before, new_files=new, absent=absent)
    assert fresh.run(now, data) == 0
    known = np.concatenate([*hashes(served, "seen"), *hashes(served, "test")])
    assert np.isin(np.concatenate(hashes(fresh, "champion")), known).all() == is_told
    assert fresh.report["champion_untold"] == ({} if is_told else {"trim is absent from their files": 600})


def test_a_column_that_was_absent_and_is_now_read_from_another_field_does_not_hide_what_was_seen(
    tmp_path: Path,
) -> None:
    before, now = (defined(trim={"type": "string", "nullable": True, **more}) for more in ({}, {"source": "line"}))
    data = with_columns(cars(600), line=lambda n: f"line {n % 7}")
    served, fresh = Job(tmp_path / "served"), champion(Job(tmp_path / "fresh"), definition=before, new_files=[])
    assert served.run(before, data) == 0
    assert fresh.run(now, data) == 0
    known = np.concatenate([*hashes(served, "seen"), *hashes(served, "test")])
    assert np.isin(np.concatenate(hashes(fresh, "champion")), known).all()


@pytest.mark.parametrize(("was", "is_now"), [("cp1252", "cp1250"), ("cp1250", "cp1252")])
def test_texts_that_were_others_in_another_encoding_make_rows_that_cannot_be_told(
    tmp_path: Path, was: str, is_now: str
) -> None:
    city = {"type": "string"}
    before, now = ({**defined(city=city), "files": {"encoding": encoding}} for encoding in (was, is_now))
    data = with_columns(cars(600), city=lambda n: ("Łódź", "Radom")[n % 2]).decode().encode("cp1250")
    served = Job(tmp_path / "served")
    assert served.run(before, data) == 0
    fresh = champion(Job(tmp_path / "fresh"), definition=before, new_files=[])
    assert fresh.run(now, data) == 0
    assert fresh.report["champion_identity"] == served.report["identity"] != fresh.report["identity"]
    told, cities = np.concatenate(hashes(fresh, "champion")), [row["city"] for row in fresh.records("test")]
    assert (told == 0).tolist() == [name != "Radom" for name in cities]
    known = np.concatenate([*hashes(served, "seen"), *hashes(served, "test")])
    assert np.isin(told[told != 0], known).all()
    untold = {"city has characters that were others in its files.encoding": 300}
    assert fresh.report["champion_untold"] == untold


def test_values_that_the_model_in_service_cannot_read_make_rows_that_cannot_be_told(tmp_path: Path) -> None:
    before = defined(trip={"type": "float", "nullable": True})
    now = defined(trip={"type": "float", "nullable": True, "parse": {"units": {"km": 1}}})
    fresh = champion(Job(tmp_path / "fresh"), definition=before, new_files=[0])
    assert fresh.run(now, with_columns(cars(600), trip=lambda n: "12 km" if n % 2 else "12")) == 0
    assert 0.4 < (np.concatenate(hashes(fresh, "champion")) == 0).mean() < 0.6
    assert fresh.report["champion_untold"] == {"trip holds what it cannot read": 300}


@pytest.mark.parametrize(
    ("change", "other"),
    [({"parse": {"units": {"$": 1}}}, 0), ({"parse": {"missing": ["POA"]}}, 0), ({"parse": {"units": {"usd": 2}}}, 0),
     ({"source": "asked"}, 600)],
)  # fmt: skip
def test_another_reading_of_the_target_is_compared_by_its_values(
    tmp_path: Path, change: dict[str, Any], other: int
) -> None:
    now = defined(price={**CARS["columns"]["price"], **change})
    fresh = champion(Job(tmp_path / "fresh"), definition=CARS, new_files=[0])
    assert fresh.run(now, with_columns(cars(600), asked=lambda n: str(400_000 + n))) == 0
    assert fresh.report["champion_target"] == {"rows": 600, "other": other}


@pytest.mark.parametrize(("number", "other"), [(lambda n: n % 3, 0), (lambda n: (n + 1) % 3, 600)])
def test_classes_that_come_from_another_field_are_compared_by_their_names(
    tmp_path: Path, number: Callable[[int], int], other: int
) -> None:
    kinds = ["coupe", "sedan", "wagon"]
    columns = {**CARS["columns"], "price": {"type": "float"}, "kind": {"type": "string", "categories": kinds}}
    before = {**CARS, "problem": "multiclass_classification", "target": "kind", "columns": columns}
    now = {**before, "columns": {**columns, "kind": {**columns["kind"], "source": "new_kind"}}}
    data = with_columns(cars(600), kind=lambda n: kinds[n % 3], new_kind=lambda n: kinds[number(n)])
    fresh = champion(Job(tmp_path / "fresh"), definition={**before, "other_columns": "ignore"}, new_files=[0])
    assert fresh.run({**now, "other_columns": "ignore"}, data) == 0
    assert fresh.report["champion_target"] == {"rows": 600, "other": other}


@pytest.mark.parametrize("change", [{"parse": {"units": {"km": 0.62}}}, {"unit": "km"}, {"source": ["way"]}])
def test_drift_passes_over_a_column_whose_values_mean_something_else_now(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    now = defined(mileage={"type": "float", **change})
    now = changed(now, quality={"max_drift": 0.3})
    fresh = champion(Job(tmp_path / "fresh"), definition=CARS, new_files=[1], statistics=described(cars(600)))
    new = pd.read_csv(io.BytesIO(cars(200, seed=2)))
    new = new.assign(mileage=new["mileage"] * 3, way=new["mileage"] * 3)
    files = (with_columns(cars(600), way=str), new.to_csv(index=False).encode())
    assert fresh.run(now, *files) == 0
    assert set(fresh.report["drift"]["distances"]) == {"make"}


def test_rows_that_lack_what_told_them_before_have_no_hash(job: Job) -> None:
    columns = {**CARS["columns"], "colour": {"type": "string"}, "note": {"type": "string", "nullable": True}}
    champion(job, definition={**CARS, "columns": columns})
    assert job.run(CARS, cars(300)) == 0
    assert not np.concatenate(hashes(job, "champion")).any()
    assert {row["colour"] for row in job.records("rows/champion-test")} == {None}


def test_a_column_that_only_the_model_in_service_knows_is_unexpected_as_ever(job: Job) -> None:
    without = {**CARS, "columns": {name: column for name, column in CARS["columns"].items() if name != "doors"}}
    assert "unexpected column 'doors'" in champion(job, definition=CARS).fails(without, cars(300))


@pytest.mark.parametrize("definition", [None, CARS, changed(CARS, columns={"mileage": {"type": "float", "max": 9e5}})])
def test_a_model_in_service_that_reads_alike_needs_nothing_else(job: Job, definition: dict[str, Any] | None) -> None:
    assert champion(job, definition=definition).run(CARS, cars(300)) == 0
    assert job.report["champion_identity"] == ""
    assert job.parts("rows/v1/champion") == job.parts("rows/champion-test") == []


def described(rows: bytes) -> dict[str, Any]:
    frame = pd.read_csv(io.BytesIO(rows))
    miles, makes = NumericColumn("mileage", integral=False), StringColumn("make")
    miles.add(frame["mileage"].to_numpy(np.float64))
    makes.add((make, 1) for make in frame["make"])
    return statistics([miles, makes])


def test_new_files_are_compared_with_the_data_of_the_model_in_service(job: Job) -> None:
    champion(job, definition=CARS, new_files=[1], statistics=described(cars(1000)))
    assert job.run(CARS, cars(1000), cars(400, seed=2, years=2)) == 0
    drift = job.report["drift"]
    assert drift["rows"] == 400
    assert [one["column"] for one in drift["moved"]] == ["mileage"]
    assert drift["moved"][0]["distance"] > 0.5
    assert drift["distances"]["make"] < 0.1


def test_a_definition_may_stop_a_drop_that_has_moved_before_anything_is_trained(job: Job) -> None:
    champion(job, definition=CARS, new_files=[1], statistics=described(cars(1000)))
    strict = changed(CARS, quality={"max_drift": 0.3})
    assert "mileage by 0." in job.fails(strict, cars(1000), cars(400, seed=2, years=2))
    assert job.report["drift"]["moved"]


def multiplied(rows: bytes, factor: float) -> bytes:
    frame = pd.read_csv(io.BytesIO(rows))
    return frame.assign(mileage=frame["mileage"] * factor).to_csv(index=False).encode()


@pytest.mark.parametrize(
    ("factor", "most", "said"),
    [
        (1.609344, 50_000, "as miles in kilometres"),  # some rows are beyond the range
        (1e4, 100_000, "10,000 times what they were"),  # each row is
    ],
)
def test_a_file_that_is_beyond_a_range_in_another_unit_says_which(
    job: Job, factor: float, most: int, said: str
) -> None:
    ranged = defined(mileage={"type": "float", "min": 0, "max": most, "unit": "miles"})
    champion(job, definition=ranged, new_files=[1], statistics=described(cars(1000)))
    message = job.fails(ranged, cars(1000), multiplied(cars(1000, seed=2), factor))
    assert f"; mileage: the numbers are {said}, is it another unit?" in message
    (aside,) = job.report["aside"]
    assert f"mileage: the numbers are {said}, is it another unit?" in aside["reason"]


@pytest.mark.parametrize("same_unit", [["mileage"], []])
def test_drift_names_another_unit_though_many_rows_are_put_aside_for_their_range(
    job: Job, same_unit: list[str]
) -> None:
    ranged = defined(mileage={"type": "float", "min": 0, "max": 40_000, "unit": "miles"})
    lenient = changed(ranged, quality={"max_invalid_share": 0.5})
    definition = {**lenient, "monitoring": {"data_quality": {"same_unit": same_unit}}}
    champion(job, definition=definition, new_files=[1], statistics=described(cars(1000)))
    assert job.run(definition, cars(1000), multiplied(cars(1000, seed=2), 1.609344)) == 0
    assert job.report["new_files"]["quarantined"] > 200
    (moved,) = job.report["drift"]["moved"]
    assert (moved["column"], moved["unit"]) == ("mileage", "" if same_unit else "as miles in kilometres")


@pytest.mark.parametrize("same_unit", [["mileage"], []])
def test_a_file_beyond_a_range_in_no_other_unit_is_asked_nothing(job: Job, same_unit: list[str]) -> None:
    ranged = defined(mileage={"type": "float", "min": 0, "max": 50_000, "unit": "miles"})
    definition = {**ranged, "monitoring": {"data_quality": {"same_unit": same_unit}}}
    champion(job, definition=definition, new_files=[1], statistics=described(cars(1000)))
    message = job.fails(definition, cars(1000), multiplied(cars(1000, seed=2), 1.609344 if same_unit else 1.9))
    assert "rule 'maximum'" in message
    assert "another unit" not in message


def test_texts_that_the_model_in_service_never_saw_stop_a_drop(job: Job) -> None:
    champion(job, definition=CARS, new_files=[1], statistics=described(cars(1000)))
    strict = changed(CARS, quality={"max_drift": 0.9})
    makes = {name.encode() for name in pd.read_csv(io.BytesIO(cars(1000)))["make"]}
    renamed = re.sub(b"|".join(makes), b"Neustadt", cars(400, seed=2))
    said = "make by 1.00 (rows with a value never seen before, such as 'Neustadt': 0.0% -> 100.0%)"
    assert said in job.fails(strict, cars(1000), renamed)


def test_texts_of_any_characters_are_known_by_their_baseline(tmp_path: Path) -> None:
    words = ['a "b"', "c, d", "e\nf", "g\rh", "i\r\nj", "NA", "null", '"', "\u00a0x", "Škoda 京", "0"]
    kept = {"type": "string", "parse": {"strip": False}}
    noted = with_columns(cars(600), note=lambda row: '"{}"'.format(words[row % len(words)].replace('"', '""')))
    served = Job(tmp_path / "served")
    assert served.run(defined(note=kept), noted) == 0
    described_rows = statistics(baseline.describe(defined(note=kept), served.output / "baseline"))
    (note,) = [feature["string_statistics"] for feature in described_rows["features"] if feature["name"] == "note"]
    assert {bucket["value"] for bucket in note["distribution"]["categorical"]["buckets"]} == set(words)
    fresh = champion(Job(tmp_path / "fresh"), definition=defined(note=kept), new_files=[1], statistics=described_rows)
    others = with_columns(cars(600, seed=2), note=lambda row: '"{}"'.format(words[row % len(words)].replace('"', '""')))
    assert fresh.run(defined(note=kept), noted, others) == 0
    assert fresh.report["drift"]["distances"]["note"] < 0.05


def test_the_groups_that_rows_were_split_by_are_not_compared(tmp_path: Path) -> None:
    """The baseline has those of the training rows alone."""
    grouped = changed(CARS, split={"method": "group", "column": "make"})
    for name, definition in {"by group": grouped, "random": CARS}.items():
        fresh = champion(Job(tmp_path / name), definition=definition, new_files=[1], statistics=described(cars(600)))
        assert fresh.run(CARS, cars(600), cars(200, seed=2)) == 0
        assert ("make" in fresh.report["drift"]["distances"]) == (name == "random")


@pytest.mark.parametrize("key", [None, ["vin"]])
def test_old_rows_in_a_new_file_do_not_thin_out_what_has_moved(tmp_path: Path, key: list[str] | None) -> None:
    """60 rows of another mileage alone, and in an export of all rows; by a key, they may have those of old rows."""
    definition = changed({**WIDE, "columns": {**CARS["columns"], "vin": WIDE["columns"]["vin"]}}, split={"key": key})
    old = with_columns(cars(600), vin=lambda row: f"v{row}")
    header, *wrong = with_columns(cars(60, seed=2, years=2), vin=lambda row: f"v{row}").splitlines(keepends=True)
    found = []
    for number, new in enumerate((header + b"".join(wrong), old + b"".join(wrong))):
        about = {"definition": definition, "new_files": [1], "statistics": described(cars(600))}
        fresh = champion(Job(tmp_path / str(number)), **about)
        assert fresh.run(definition, old, new) == 0
        found.append(fresh.report["drift"])
    assert found[0] == found[1]
    assert found[0]["rows"] == 60
    assert found[0]["distances"]["mileage"] > 0.5


@pytest.mark.parametrize(("files", "new"), [(1, []), (2, [1])], ids=["no new file", "a copy of a known file"])
def test_without_new_rows_nothing_is_compared(job: Job, files: int, new: list[int]) -> None:
    champion(job, definition=CARS, new_files=new, statistics=described(cars(1000)))
    assert job.run(CARS, *[cars(1000)] * files) == 0
    assert job.report["drift"] is None


# ---- Splits by time and by group


WIDE = {
    **CARS,
    "columns": {
        **CARS["columns"],
        "sold_on": {"type": "timestamp", "feature": False},
        "seller": {"type": "string", "feature": False},
        "vin": {"type": "string", "feature": False},
    },
}


def test_split_by_time_tests_on_the_latest_rows(job: Job) -> None:
    text = cars(1000, wide=True)
    definition = changed(WIDE, split={"method": "time", "column": "sold_on"})
    assert job.run(definition, text) == 0
    frame = pd.read_csv(io.BytesIO(text)).sort_values("sold_on")
    labels = sorted(map(float, b"".join(job.parts("labels")).split()))
    days = frame.set_index("price")["sold_on"]
    assert days.loc[labels].min() > days.drop(labels).max()
    assert abs(len(labels) - 200) <= 5
    assert list(job.records("test")[0]) == FEATURES


def test_split_by_group_keeps_sellers_apart(job: Job) -> None:
    text = cars(3000, wide=True)
    assert job.run(changed(WIDE, split={"method": "group", "column": "seller"}), text) == 0
    frame = pd.read_csv(io.BytesIO(text)).drop_duplicates("price", keep=False).set_index("price")
    train = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")])["price"]
    sets = [train, job.matrix("validation")[0], job.matrix("labels")[0]]
    sellers = [set(frame.loc[frame.index.intersection(prices), "seller"]) for prices in sets]
    assert min(map(len, sellers)) > 100
    assert len(set.union(*sellers)) == sum(map(len, sellers))


@pytest.mark.parametrize("column", ["sold_on", None])
def test_rows_that_are_dated_after_the_run_are_counted_where_rows_are_split_by_time(
    tmp_path: Path, column: str | None
) -> None:
    """But for a day, which is what time zones may make of now; those of a file that is put aside are no rows."""
    definition = changed(WIDE, split={"method": "time", "column": column}) if column else WIDE
    header, *rows = cars(600, wide=True).decode().splitlines()
    at = header.split(",").index("sold_on")
    rows = [
        ",".join([*row.split(",")[:at], day, *row.split(",")[at + 1 :]])
        for row, day in zip(rows, ["2026-11-20 20:00:00", "2026-11-21 23:00:00", "2099-01-01", *days(597)], strict=True)
    ]
    job = Job(tmp_path, listed_at="2026-11-20T22:30:00.000Z")
    stray = "\n".join([header, *(row.replace("2099", "2100") for row in rows[:40]), "a,b"])
    assert job.run(definition, "\n".join([header, *rows]).encode(), (stray + '\n"').encode()) == 0
    assert len(job.report["aside"]) == 1
    late = {"column": "sold_on", "rows": 2, "latest": "2099-01-01T00:00:00"}
    assert job.report["late"] == (late if column else None)


def test_a_record_that_comes_back_with_its_label_is_never_tested_on_by_a_model_that_has_trained_on_it(
    tmp_path: Path,
) -> None:
    """Key and seed decide a row's set, in whatever file it comes and whatever else it says."""
    keyed = changed(CARS, split={"key": ["sale"]})
    keyed["columns"] = {**CARS["columns"], "sale": {"type": "string", "feature": False}}
    header, *lines = cars(1200).decode().splitlines()
    known = [f"{line},s-{number}" for number, line in enumerate(lines[:1000])]
    again = [f"{1 + number},{line.split(',', 1)[1]},s-{number}" for number, line in enumerate(lines[200:1200], 200)]
    table = "\n".join([f"{header},sale", *known]) + "\n"
    labelled = "\ufeff" + "\n".join([f"{header},sale", *again]) + "\n"
    served, fresh = Job(tmp_path / "served"), Job(tmp_path / "fresh")
    assert served.run(keyed, table.encode()) == 0
    assert fresh.run(keyed, table.encode(), ("00001-labelled.csv", labelled.encode())) == 0
    assert fresh.report["duplicates"]["left_out"] == 800
    tested, seen = seen_by(served, fresh)
    assert tested == fresh.report["sets"]["test"] > 200
    assert seen == 0


WINDOW = {"training": {"window": {"column": "sold_on", "days": 90, "newest_files": None}}}


def test_rows_before_the_window_are_in_no_set_and_counted(tmp_path: Path) -> None:
    text = cars(1000, wide=True)
    frame = pd.read_csv(io.BytesIO(text))
    sold_on = pd.to_datetime(frame["sold_on"])
    inside = sold_on >= sold_on.max() - pd.Timedelta(days=90)
    job = Job(tmp_path)
    assert job.run({**WIDE, **WINDOW}, text) == 0
    assert job.report["training_window"]["rows"] == (~inside).sum() > 100
    assert sum(job.report["sets"].values()) == inside.sum()
    trained = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")])
    assert set(trained["price"]) <= set(frame.loc[inside, "price"])
    assert "sold_on" not in trained.columns


def test_too_few_rows_in_the_window_are_told_as_that(job: Job) -> None:
    quality = {"min_rows": 900}
    told = job.fails(changed({**WIDE, **WINDOW}, quality=quality), cars(1000, wide=True))
    assert re.match(r"\d+ rows can be used \(\d+ more are too old for training.window\); expected at least 900", told)


def test_a_date_that_only_limits_the_window_tells_no_row_from_another(tmp_path: Path) -> None:
    """Otherwise a model with a window would know no row of one without it."""
    key = changed(WIDE, split={"key": ["seller"]})
    plain, limited = Job(tmp_path / "plain"), Job(tmp_path / "limited")
    assert plain.run(key, cars(400, wide=True)) == 0
    days = {"training": {"window": {"column": "sold_on", "days": 100_000}}}
    assert limited.run({**key, **days}, cars(400, wide=True)) == 0
    for name in ("seen", "test", "target", "rest", "seen-rest"):
        assert [part.tolist() for part in hashes(plain, name)] == [part.tolist() for part in hashes(limited, name)]


def days(count: int) -> list[str]:
    return [f"2025-{1 + day // 28 % 12:02}-{1 + day % 28:02}" for day in range(count)]


def seen_by(served: Job, fresh: Job, name: str = "test") -> tuple[int, int]:
    """(test rows of a run, how many of them the model of an earlier run has trained or validated on)."""
    tested, seen = np.concatenate(hashes(fresh, name)), np.concatenate(hashes(served, "seen"))
    return len(tested), int(np.isin(tested, seen).sum())


@matrix("Data", "older rows come later, split by time", ends="compared on what is unseen")
def test_older_rows_that_come_later_leave_half_of_a_test_set_by_time_unseen(tmp_path: Path) -> None:
    """They push rows that trained the model in service into the test set; the hashes of its run tell which."""
    by_time = changed(WIDE, split={"method": "time", "column": "sold_on"})
    header, *rows = cars(2000, wide=True).splitlines(keepends=True)
    rows.sort(key=lambda row: row.split(b",")[header.split(b",").index(b"sold_on")])
    older, newer = (header + b"".join(part) for part in (rows[:1000], rows[1000:]))
    served, fresh = Job(tmp_path / "served"), Job(tmp_path / "fresh")
    assert served.run(by_time, newer) == 0
    assert fresh.run(by_time, newer, older) == 0
    assert fresh.report["identity"] == served.report["identity"]
    tested, seen = seen_by(served, fresh)
    assert tested == pytest.approx(400, abs=10)
    assert seen == tested - served.report["sets"]["test"] == pytest.approx(200, abs=10)


@pytest.mark.parametrize("split", [{"method": "time", "column": "sold_on"}, {"method": "group", "column": "seller"}])
@matrix("Data", "another split method in model.yaml", ends="compared on what is unseen")
def test_after_a_change_of_the_split_method_rows_are_told_as_the_model_in_service_told_them(
    tmp_path: Path, split: dict[str, Any]
) -> None:
    text = cars(1000, wide=True)
    served = Job(tmp_path / "served")
    fresh = champion(Job(tmp_path / "fresh"), definition=WIDE, new_files=[])
    assert served.run(WIDE, text) == 0
    assert fresh.run(changed(WIDE, split=split), text) == 0
    assert fresh.report["champion_identity"] == served.report["identity"] != fresh.report["identity"]
    (tested, seen), sets = seen_by(served, fresh, "champion"), served.report["sets"]
    assert 0.65 < seen / tested < 0.95  # of 80 % of the rows
    known = np.isin(np.concatenate(hashes(fresh, "champion")), np.concatenate(hashes(served, "test"))).sum()
    assert seen + known == tested
    assert sets["train"] + sets["validation"] == sum(map(len, hashes(served, "seen")))


# ---- A binary target, nullable columns and a hook


def lesions(rows: int, target: Callable[[int], str] = lambda row: str(row % 3 // 2)) -> bytes:
    random = np.random.default_rng(0)
    lines = [f"{row},{'' if row % 10 == 0 else random.integers(20, 90)},{target(row)}" for row in range(rows)]
    return "\n".join(["case,age,malignant", *lines]).encode()


LESIONS: dict[str, Any] = {
    **CARS,
    "problem": "binary_classification",
    "target": "malignant",
    "columns": {
        "case": {"type": "integer", "feature": False},
        "age": {"type": "integer", "nullable": True},
        "malignant": {"type": "integer", "min": 0, "max": 1},
    },
    "split": {**SPLIT, "key": ["case"]},
}


@pytest.mark.parametrize("kind", ["integer", "boolean"])
def test_binary_target_is_0_or_1_and_missing_values_have_a_feature(job: Job, kind: str) -> None:
    words = {"integer": ("0", "1"), "boolean": ("false", "true")}[kind]
    definition = changed(LESIONS, columns={"malignant": {"type": kind}})
    assert job.run(definition, lesions(300, lambda row: words[row % 3 // 2])) == 0
    train = job.matrix("train")
    assert set(train[0]) == {0, 1}
    assert set(b"".join(job.parts("labels")).split()) == {b"0", b"1"}
    assert job.report["features"] == ["age", "age=missing"]
    baseline = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")], ignore_index=True)
    assert train[2].tolist() == baseline["age"].isna().astype(int).tolist()
    assert train.loc[train[2] == 1, 1].unique() == pytest.approx(baseline["age"].mean())
    assert None in [record["age"] for record in job.records("test")]


def features_of(job: Job, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give the job's model a features.py of its own."""
    code = job.folder / "code"
    (code / "models" / "used-cars").mkdir(parents=True)
    for name in ("processing", "perennial"):
        (code / name).symlink_to(preprocess.CODE / name)
    (code / "models" / "used-cars" / "features.py").write_text(text)
    monkeypatch.setattr(preprocess, "CODE", code)


def test_what_trains_is_dealt_to_the_hosts_in_files_of_one_size_and_nothing_else_changes(
    job: Job, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocess, "ROWS_PER_PART", 100)
    together = Job(tmp_path_factory.mktemp("together"))
    assert together.run(CARS, cars(300)) == 0
    job.config = {"algorithm": {"hosts": 3}}
    assert job.run(CARS, cars(300)) == 0
    rows = [part.splitlines() for part in together.parts("train")]
    dealt = [part.splitlines() for part in job.parts("train")]
    assert len(dealt) == 3 * len(rows)
    assert [dealt[number] for number in range(3)] == [rows[0][number::3] for number in range(3)]
    assert {len(part) for part in dealt[:3]} <= {33, 34}
    assert sorted(chain(*dealt)) == sorted(chain(*rows))
    for name in ("validation", "test", "labels", "baseline"):
        assert job.parts(name) == together.parts(name)


def test_a_models_own_features_are_made_by_one_thread_whatever_the_number_of_cores(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's code may keep what only the thread that made it may use, or what two must not use at once."""
    text = """import threading
        threads = set()
        def transform(table):
            threads.add(threading.get_ident())
            if len(threads) > 1:
                raise ValueError("another thread")
            return table
        """
    features_of(job, monkeypatch, text.replace("\n        ", "\n"))
    monkeypatch.setattr(in_order, "cores", lambda: 8)
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 4_096)
    monkeypatch.setattr(sets, "BATCH_BYTES", 8_192)
    assert job.run(CARS, cars(2_000)) == 0


def test_a_script_gets_columns_as_they_are_under_their_names_and_so_does_what_it_serves(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.read_csv(io.BytesIO(cars(300)))
    frame["make"] = frame["make"].replace({"Buick": 'Buick, "old"', "Saab": ""})
    columns = {**CARS["columns"], "make": {"type": "string", "nullable": True}}
    definition = {**CARS, "columns": columns, "preprocessing": "none"}
    job.config = {"algorithm": {"is_own": True}}
    assert job.run(definition, frame.to_csv(index=False).encode()) == 0
    assert job.report["features"] == FEATURES
    train, baseline = (
        pd.concat([pd.read_csv(io.BytesIO(one)) for one in job.parts(name)]) for name in ("train", "baseline")
    )
    pd.testing.assert_frame_equal(train, baseline, check_dtype=False)
    assert {'Buick, "old"', np.nan} <= {*train["make"]}

    unpack(job.output / "preprocessor" / "model.tar.gz", job.folder / "model")
    model = inference.model_fn(str(job.folder / "model"))
    record = {
        **dict.fromkeys(FEATURES, 2),
        "cruise": True,
        "sound": False,
        "leather": True,
        "make": "a,b",
        "body": "wagon",
    }
    lines = "".join(json.dumps({**record, "make": make}) + "\n" for make in ("a,b", None))
    request = inference.input_fn(lines, "application/jsonlines")
    answer = inference.predict_fn(request, model)
    text = getattr(answer, "lines", answer)
    assert text == '2,2,2,1,0,1,"a,b",wagon\n2,2,2,1,0,1,,wagon\n'


def test_hook_of_the_model_is_applied_and_packed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "import pyarrow as pa, pyarrow.compute as pc\n\n"
        "def transform(table):\n    return pa.table({'log_mileage': pc.ln(table['mileage']), 'make': table['make']})\n"
    )
    features_of(job, monkeypatch, text)
    assert job.run(CARS, cars(300)) == 0
    assert job.report["features"][:2] == ["log_mileage", "make=Buick"]
    mileage = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")])["mileage"]
    np.testing.assert_allclose(job.matrix("train")[1], np.log(mileage))
    with tarfile.open(job.output / "preprocessor" / "model.tar.gz") as archive:
        assert "code/features.py" in archive.getnames()


def test_a_date_is_learned_from_as_the_docs_say(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that training rows did not have is no unknown category then."""
    docs = (Path(__file__).parents[3] / "docs" / "add-a-model.md").read_text()
    (text,) = [code for code in re.findall(r"```python\n(.*?)```", docs, re.DOTALL) if "listed" in code]
    features_of(job, monkeypatch, text)
    frame = pd.read_csv(io.BytesIO(cars(300)))
    frame["listed"] = [f"{2020 + row % 5}-{1 + row % 12:02d}-15" if row else "soon" for row in range(300)]
    definition = {**CARS, "columns": {**CARS["columns"], "listed": {"type": "string"}}}
    assert job.run(definition, frame.to_csv(index=False).encode()) == 0
    assert job.report["features"][-2:] == ["listed_year", "listed_month"]
    baseline = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")], ignore_index=True)
    dated = baseline["listed"] != "soon"
    encoded = job.matrix("train")[dated.to_numpy()]
    expected = [[int(part) for part in day.split("-")[:2]] for day in baseline["listed"][dated]]
    assert encoded.iloc[:, -2:].to_numpy().tolist() == expected
    with tarfile.open(job.output / "preprocessor" / "model.tar.gz") as archive:
        rules = json.load(archive.extractfile("preprocessor.json") or io.BytesIO())["checks"]["rules"]
    assert rules["make"]["known"]
    assert rules["listed"]["known"] is None


def test_a_mistake_in_features_is_the_message_of_the_job_and_its_traceback_is_in_the_log(
    job: Job, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    features_of(job, monkeypatch, "def transform(table):\n    return table['yaer']\n")
    said = job.fails(CARS, cars(300))
    assert said == "features.py, line 2: KeyError: 'Field \"yaer\" does not exist in schema'"
    log = capfd.readouterr().err
    assert "return table['yaer']" in log
    assert log.splitlines()[-1] == f"error: {said}"


# ---- Data that break the contract


def with_rows(text: bytes, *rows: str) -> bytes:
    return text + "".join(row + "\n" for row in rows).encode()


SOUND_ROW = "20000,15000,6,4,1,0,1,Buick,sedan"


def test_broken_rows_are_quarantined_with_their_reasons_and_the_rest_is_used(job: Job) -> None:
    broken = [
        "20000,23.4 kmpl,6,4,1,0,1,Buick,sedan",
        ",15000,6,4,1,0,1,Buick,sedan",
        "20000,-5,60,4,1,0,1,Buick," + "x" * 500,
        "20000,15000,6",
    ]
    assert job.run(CARS, cars(600), with_rows(cars(399, seed=2), broken[0], SOUND_ROW, *broken[1:])) == 0
    quarantined = sorted(job.records("quarantine"), key=lambda line: line["row"])
    assert [(row["file"], row["row"], row["reasons"]) for row in quarantined] == [
        ("00001-cars.csv", 401, ["mileage: '23.4 kmpl' is not a finite number"]),
        ("00001-cars.csv", 403, ["price: is missing"]),
        ("00001-cars.csv", 404, ["mileage: '-5' is below the minimum 0", "cylinder: '60' is above the maximum 16"]),
        ("00001-cars.csv", 405, ["the row has 3 fields, expected 9"]),
    ]
    assert quarantined[0]["record"]["mileage"] == "23.4 kmpl"
    assert len(quarantined[2]["record"]["body"]) == 80
    report = job.report
    assert report["rows"] == {"read": 1004, "used": 1000, "quarantined": 4, "written_to_quarantine": 4}
    assert sum(report["sets"].values()) == 1000
    assert [file["quarantined"] for file in report["files"]] == [0, 4]
    assert {(rule["column"], rule["rule"]): rule["rows"] for rule in report["rules"]} == {
        ("", "fields"): 1,
        ("cylinder", "maximum"): 1,
        ("mileage", "minimum"): 1,
        ("mileage", "type"): 1,
        ("price", "missing"): 1,
    }
    assert "x" * 500 not in str(job.report)


def test_too_many_broken_rows_fail_with_rule_count_and_examples(job: Job) -> None:
    rows = [f"20000,{number}.5 kmpl\x1b,6,4,1,0,1,Buick,sedan" for number in range(30)] + [",1,6,4,1,0,1,Buick,sedan"]
    message = job.fails(CARS, cars(500), with_rows(cars(100, seed=2), *rows))
    assert message.startswith(
        "00001-cars.csv: mileage, rule 'type', 30 rows: 31 of 631 rows (4.91%) break the data contract; allowed"
    )
    assert message.splitlines()[-1] == "31 of the rows are in the quarantine folder of the run"
    expected = "mileage breaks the rule 'type' in 30 rows: expected a finite number"
    assert f"{expected} (00001-cars.csv row 102: '0.5 kmpl\\u001b'; " in message
    assert message.count("kmpl") == 3
    assert "price breaks the rule 'missing' in 1 row: expected a value (00001-cars.csv row 132)" in message
    assert len(job.records("quarantine")) == 31
    assert job.report["rows"]["quarantined"] == 31


def test_of_several_broken_files_the_worst_comes_first_and_the_others_are_counted(job: Job) -> None:
    files = [with_rows(cars(100, seed=seed), *[BROKEN] * rows) for seed, rows in ((1, 3), (2, 9), (3, 2))]
    assert job.fails(CARS, *files).startswith("00001-cars.csv and 2 files more: price, rule 'missing', 14 rows: 14 of")


def test_share_of_broken_rows_is_allowed_up_to_and_including_the_limit(job: Job) -> None:
    broken = [",1,6,4,1,0,1,Buick,sedan"] * 10
    assert job.run(CARS, with_rows(cars(990), *broken)) == 0
    assert "11 of 1,000 rows" in Job(job.folder / "more").fails(CARS, with_rows(cars(989), *broken, broken[0]))


BROKEN = ",1,6,4,1,0,1,Buick,sedan"


def test_a_file_without_a_valid_row_is_put_aside_with_the_rule_and_an_example(job: Job) -> None:
    assert job.run(CARS, cars(5000), (HEADER.decode() + f"{BROKEN}\n" * 3).encode()) == 0
    (aside,) = job.report["aside"]
    assert aside["reason"] == (
        "each of its 3 rows breaks the data contract; price breaks the rule 'missing' in 3 rows: expected a value "
        "(00001-cars.csv row 2; 00001-cars.csv row 3; 00001-cars.csv row 4)"
    )
    assert job.report["rows"]["quarantined"] == 0
    assert job.report["rules"] == []
    assert len(job.records("quarantine")) == 3


def test_the_only_file_without_a_valid_row_fails_with_every_rule(job: Job) -> None:
    rows = "$4,2,6,4,1,0,1,Buick,sedan\n" * 2 + f"{BROKEN}\n"
    assert job.fails(CARS, (HEADER.decode() + rows).encode()).splitlines() == [
        "00000-cars.csv: each of its 3 rows breaks the data contract; price breaks the rule 'type' in 2 rows: "
        "expected a finite number (00000-cars.csv row 2: '$4'; 00000-cars.csv row 3: '$4')",
        "price breaks the rule 'missing' in 1 row: expected a value (00000-cars.csv row 4)",
        "units, marks, and words for missing values are told by columns.<name>.parse of model.yaml",
    ]


def after_a_model(folder: Path, old: bytes, *new: bytes, definition: dict[str, Any] = CARS) -> dict[str, Any]:
    """The report of a run whose model in service has been trained on the first of some files."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "00000-old").write_bytes(old)
    for number, content in enumerate(new, 1):
        (folder / "data" / f"{number:05d}-new").write_bytes(content)
    config = {"model": "used-cars", "definition": definition, "trigger": "DataDrop"}
    champion = preprocess.ChampionData(definition=definition, new_files=frozenset(range(1, len(new) + 1)))
    preprocess.run(config, folder / "data", folder / "output", champion)
    report: dict[str, Any] = json.loads((folder / "output/report/report.json").read_text())
    return report


def test_a_small_new_file_of_many_broken_rows_is_put_aside_and_stops_no_later_run(tmp_path: Path) -> None:
    broken, reason = (
        with_rows(cars(21, seed=2), *[BROKEN] * 9),
        "price, rule 'missing', 9 rows: 9 of 30 rows (30.00%) break the data contract; allowed",
    )
    with pytest.raises(DataError, match=f"^00001-new: {re.escape(reason)} are 1"):
        after_a_model(tmp_path / "alone", cars(5000), broken)
    report = after_a_model(tmp_path / "beside", cars(5000), broken, cars(100, seed=3))
    assert [(item["name"], reason in item["reason"]) for item in report["aside"]] == [("00001-new", True)]
    assert (report["new_files"]["files"], report["rows"]["used"]) == (1, 5100)


def test_a_few_broken_rows_of_a_small_new_file_are_quarantined_and_told(tmp_path: Path) -> None:
    report = after_a_model(tmp_path, with_rows(cars(5000), *[BROKEN] * 2), with_rows(cars(30, seed=2), BROKEN))
    new = report["new_files"]
    assert (new["files"], new["rows"], new["quarantined"]) == (1, 31, 1)
    assert [(rule["column"], rule["rule"], rule["examples"]) for rule in new["rules"]] == [
        ("price", "missing", ["00001-new row 32"])
    ]
    assert report["rules"][0]["rows"] == 3


def test_new_rows_that_repeat_known_ones_are_counted(tmp_path: Path) -> None:
    """A file dropped again under another name is told as such; what it repeats of itself is not."""
    old, fresh = cars(500), cars(100, seed=2)
    assert after_a_model(tmp_path / "copy", old, in_reverse(old))["new_files"]["repeated"] == 500
    both = after_a_model(
        tmp_path / "both", old, fresh, in_reverse(fresh), with_rows(old, *fresh.decode().splitlines()[1:])
    )
    assert (both["new_files"]["rows"], both["new_files"]["repeated"]) == (800, 500)
    assert both["duplicates"]["rows"] == 700


def test_new_rows_under_a_known_key_repeat_or_replace_the_known_row(tmp_path: Path) -> None:
    """The same rows as Parquet, and with later ones and corrected ones: each row is counted once in the sets."""
    definition = changed(
        {**WIDE, "columns": {**CARS["columns"], "vin": WIDE["columns"]["vin"]}}, split={"key": ["vin"]}
    )
    whole = with_columns(cars(700), vin=lambda row: f"v{row}")
    old, frame = b"".join(whole.splitlines(keepends=True)[:501]), pd.read_csv(io.BytesIO(whole))
    frame.loc[:39, "price"] += 1
    sink = io.BytesIO()
    pq.write_table(pa.csv.read_csv(io.BytesIO(old)), sink)
    report = after_a_model(tmp_path, old, sink.getvalue(), frame.to_csv(index=False).encode(), definition=definition)
    new = report["new_files"]
    assert (new["rows"], new["repeated"], new["replaced"]) == (1200, 960, 40)
    assert (report["rows"]["used"], report["duplicates"]["rows"], sum(report["sets"].values())) == (1700, 1000, 700)


def test_rows_under_keys_that_are_written_otherwise_are_told_by_the_rest_of_them(tmp_path: Path) -> None:
    """The same cars with `7.0` for `7`: other keys and the same rest, and a note."""
    definition = changed(
        {**WIDE, "columns": {**CARS["columns"], "vin": WIDE["columns"]["vin"]}}, split={"key": ["vin"]}
    )
    text = cars(600)
    job = Job(tmp_path)
    files = [with_columns(text, vin=lambda row, end=end: f"{row}{end}") for end in ("", ".0")]
    assert job.run(definition, *files) == 0
    rest, seen_rest = (np.concatenate(hashes(job, name)) for name in ("rest", "seen-rest"))
    sets = job.report["sets"]
    assert (len(rest), len(seen_rest)) == (sets["test"], sets["train"] + sets["validation"])
    assert sum(sets.values()) == 1200
    assert len(np.unique(np.concatenate([rest, seen_rest]))) == 600
    assert 0.7 < np.isin(rest, seen_rest).mean() < 0.9
    (note,) = job.report["new_files"]["notes"]
    assert note.startswith("00001-cars.csv: vin: some keys are whole numbers with a fraction (7.0)")


def test_without_a_key_no_rest_of_rows_is_left(healthy: Job) -> None:
    assert hashes(healthy, "rest") == hashes(healthy, "seen-rest") == []


@pytest.mark.parametrize(("new_files", "rows"), [([2], 500), ([1, 2], 560)], ids=["served", "rejected"])
def test_an_old_file_that_comes_again_after_a_correction_replaces_rows(
    tmp_path: Path, new_files: list[int], rows: int
) -> None:
    """Whether the model with the correction has served, or was rejected."""
    definition = changed(
        {**WIDE, "columns": {**CARS["columns"], "vin": WIDE["columns"]["vin"]}}, split={"key": ["vin"]}
    )
    old = with_columns(cars(500), vin=lambda row: f"v{row}")
    frame = pd.read_csv(io.BytesIO(old))[:60]
    frame["price"] += 1
    corrected = frame.to_csv(index=False).encode()
    job = Job(tmp_path)
    files = (("00000-old", old), ("00001-corrected", corrected), ("00002-again", in_reverse(old)))
    (tmp_path / "champion").mkdir(parents=True)
    champion = {"definition": definition, "new_files": new_files}
    (tmp_path / "champion/champion.json").write_text(json.dumps(champion))
    assert job.run(definition, *files) == 0
    new = job.report["new_files"]
    assert (new["rows"], new["repeated"], new["replaced"]) == (rows, 500, 60)


def test_a_note_about_several_new_files_is_said_once(tmp_path: Path) -> None:
    first, second = (
        "\n".join(f",{line}" for line in cars(100, seed=seed).decode().splitlines()).encode() for seed in (2, 3)
    )
    report = after_a_model(tmp_path, cars(5000), first, cars(100, seed=4), second)
    (note,) = report["new_files"]["notes"]
    assert note.startswith("in 2 files, such as 00001-new: 1 column of row numbers passed over")
    assert [len(file.get("notes", [])) for file in report["files"]] == [0, 1, 0, 1]


def test_notes_of_new_files_are_kept_apart(tmp_path: Path) -> None:
    with_numbers = "\n".join(f",{line}" for line in cars(100, seed=2).decode().splitlines()).encode()
    (note,) = after_a_model(tmp_path, cars(5000), with_numbers)["new_files"]["notes"]
    assert note.startswith("00001-new: ")


# ---- Files that the model in service was trained on


def trained_on(tmp_path: Path, definition: dict[str, Any], *files: tuple[bytes, int], **about: Any) -> tuple[int, Job]:
    """A job beside a model that was trained on the first files: how many rows of each it has used (0: a new file)."""
    there = {str(number): rows for number, (_, rows) in enumerate(files) if rows}
    gone = about.pop("gone", {"files": 0, "rows": 0})
    unreadable = about.pop("unreadable", [])
    rows = sum(there.values()) + gone["rows"] + sum(file["rows"] for file in unreadable)
    trained = {"rows": rows, "there": there, "replaced": [], "unreadable": unreadable, "gone": gone}
    new = [number for number, (_, rows) in enumerate(files) if not rows]
    sources = {"split": "the run's input, Overrides", "algorithm": "the run's input, Overrides"}
    job = champion(Job(tmp_path), definition=CARS, new_files=new, trained=trained, sources=sources)
    return job.run(definition, *(content for content, _ in files)), job


NOT_UTF_8 = cars(300, seed=4).replace(b"Buick", b"Bu\xefck")


def test_rows_of_the_model_in_service_that_cannot_be_read_any_more_stop_the_run(tmp_path: Path) -> None:
    definition = changed(CARS, split={"seed": 43})
    code, job = trained_on(tmp_path, definition, (NOT_UTF_8, 300), (cars(600), 600), (cars(300, seed=5), 0))
    assert code == 1
    lines = (job.folder / "message").read_text().splitlines()
    assert lines[0] == (
        "300 of the 900 rows that the model in service was trained on cannot be read any more (33.33%); allowed are "
        "1.00% (quality.max_invalid_share)"
    )
    assert lines[1].startswith("00000-cars.csv (300 rows): not UTF-8")
    assert job.report["since"]["definition"] == ["split.seed"]
    assert job.report["since"]["sources"] == {"split.seed": "the run's input, Overrides"}
    assert [file["rows"] for file in job.report["since"]["unreadable"]] == [300]


def test_rows_that_an_earlier_run_could_not_read_stop_the_run_as_well(tmp_path: Path) -> None:
    unreadable = [{"name": "raw/a.csv", "rows": 500, "reason": "put aside by run 20261101000000-aaaa: not UTF-8"}]
    code, job = trained_on(tmp_path, CARS, (cars(600), 600), (cars(300, seed=5), 0), unreadable=unreadable)
    assert code == 1
    assert "500 of the 1,100 rows that the model in service was trained on" in (job.folder / "message").read_text()


def test_few_rows_that_cannot_be_read_any_more_and_files_that_people_took_away_are_told(tmp_path: Path) -> None:
    gone = {"files": 2, "rows": 900}
    code, job = trained_on(tmp_path, CARS, (NOT_UTF_8, 6), (cars(600), 600), (cars(300, seed=5), 0), gone=gone)
    assert code == 0
    since = job.report["since"]
    assert (since["rows"], since["gone"], since["definition"]) == (1506, gone, [])
    assert [(file["name"], file["rows"]) for file in since["unreadable"]] == [("00000-cars.csv", 6)]


def test_a_first_run_has_nothing_to_say_of_a_model_before(healthy: Job) -> None:
    assert healthy.report["since"] == {}


def test_quarantine_is_bounded_and_still_counts_all(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perennial.data.quarantine.MAX_WRITTEN", 5)
    job.fails(CARS, with_rows(cars(100), *[",1,6,4,1,0,1,Buick,sedan"] * 10, *["1,2"] * 10))
    assert len(job.records("quarantine")) == 5
    assert job.report["rows"] == {"read": 120, "used": 100, "quarantined": 20, "written_to_quarantine": 5}


HEADER = (synthetic.HEADER + "\n").encode()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([], "no data: there is no file. Upload"),
        ([b""], "00000-cars.csv: the file is empty: it holds no rows; expected at least one"),
        ([HEADER, b""], "no file can be read as this table (2 files)\n00000-cars.csv: the file is empty"),
        ([cars(99)], "99 rows can be used; expected at least 100 (quality.min_rows)"),
        ([b"price;mileage\n1;2\n"], "00000-cars.csv: "),
        ([gzip.compress(cars(300))[:-20]], "00000-cars.csv: the gzip data are damaged or cut off"),
        ([cars(300).replace(b"Buick", b"Bu\xefck"), b""], "00000-cars.csv: not UTF-8"),
        ([HEADER + (SOUND_ROW + "\n").encode() * 300], "price: the target is 20000 in every row of the train set"),
    ],
    ids=["no file", "empty", "header only", "too few", "bad header", "torn gzip", "encoding", "constant target"],
)
def test_data_that_cannot_be_used_are_explained(job: Job, files: list[bytes], problem: str) -> None:
    assert problem in job.fails(CARS, *files)
    assert (job.output / "report" / "report.json").is_file()
    assert not (job.output / "preprocessor" / "model.tar.gz").exists()


# ---- Files that cannot be read


def late(rows: int, seed: int) -> bytes:
    """Cars, of which only the last row is no UTF-8."""
    return cars(rows, seed) + SOUND_ROW.encode().replace(b"Buick", b"Bu\xefck") + b"\n"


STRAYS = {
    "a text": (b"This folder holds our cars.\nAsk Ada.\n", "no column name of the definition"),
    "another table": (b"make,people\nSaab,1\n", "column 'price' is missing"),
    "a torn gzip file": (gzip.compress(cars(3000, seed=5))[:-20], "the gzip data are damaged or cut off"),
    "broken text at the end": (late(3000, seed=6), "not UTF-8: byte b'\\xef'"),
    "broken rows, then broken text": (b"\n".join([cars(3000, 7), b"x," * 8] * 2) + late(9, 8)[90:], "not UTF-8"),
}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come in many batches, so that much of a file has been taken in when its end turns out to be broken."""
    monkeypatch.setattr("perennial.data.csv_files.BLOCK_BYTES", 8192)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("split", [SPLIT, {**SPLIT, "key": ["make", "mileage"]}], ids=["random", "by a key"])
def test_a_file_that_cannot_be_read_is_put_aside_whole(tmp_path: Path, stray: str, split: dict[str, Any]) -> None:
    definition, (content, reason) = {**CARS, "split": split}, STRAYS[stray]
    with_it, without_it = Job(tmp_path / "with"), Job(tmp_path / "without")
    assert with_it.run(definition, ("00000-a", cars(400)), ("00001-b", content), ("00002-c", cars(300, seed=2))) == 0
    assert without_it.run(definition, ("00000-a", cars(400)), ("00002-c", cars(300, seed=2))) == 0
    ours, expected = with_it.report, without_it.report
    (aside,) = ours.pop("aside")
    assert (aside["position"], aside["name"]) == (1, "00001-b")
    assert reason in aside["reason"]
    assert ours == {key: value for key, value in expected.items() if key != "aside"}
    for folder in ("train", "validation", "test", "labels", "baseline", "rows/v1/seen", "rows/v1/test", "preprocessor"):
        assert with_it.parts(folder) == without_it.parts(folder), folder


def test_a_file_that_cannot_be_read_fails_the_run_where_the_definition_says_so(job: Job) -> None:
    definition = changed(CARS, quality={"stray_files": "fail"})
    assert job.fails(definition, cars(300), b"make\nSaab\n").startswith("00001-cars.csv: column 'price' is missing")


def test_when_no_file_can_be_read_each_is_named_on_a_line(job: Job) -> None:
    said = job.fails(CARS, b"make\nSaab\n", gzip.compress(cars(300))[:-20])
    assert [line[:31] for line in said.split("\n")] == [
        "no file can be read as this tab", "00000-cars.csv: column 'price' ", "00001-cars.csv: the gzip data a",
    ]  # fmt: skip
    assert (job.output / "report" / "problems.txt").read_text().splitlines()[1:] == job.report["problems"][1:]
    assert len(job.report["aside"]) == 2


@pytest.mark.parametrize(("trigger", "new", "trains"), [
    ("DataDrop", {1}, False), ("Schedule", {1}, False), ("Manual", {1}, True), ("DataDrop", {0, 1}, True),
    ("DataDrop", set(), True),
])  # fmt: skip
def test_a_drop_of_nothing_but_files_that_cannot_be_read_trains_no_twin(
    tmp_path: Path, trigger: str, new: set[int], trains: bool
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "00000-a").write_bytes(cars(300))
    (tmp_path / "data" / "00001-b").write_bytes(b"make\nSaab\n")
    config = {"model": "used-cars", "definition": CARS, "trigger": trigger}
    champion = preprocess.ChampionData(new_files=frozenset(new))
    with nullcontext() if trains else pytest.raises(DataError, match="00001-b: column 'price' is missing"):
        preprocess.run(config, tmp_path / "data", tmp_path / "output", champion)
    assert (tmp_path / "output/preprocessor/model.tar.gz").exists() == trains


def prices(job: Job) -> dict[str, Any]:
    column = NumericColumn("price", integral=False)
    column.add(pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")])["price"].to_numpy())
    return dict(column.statistics()["numerical_statistics"])


@pytest.mark.usefixtures("small_blocks")
def test_drift_is_that_of_the_files_that_can_be_read(tmp_path: Path, healthy: Job) -> None:
    statistics = {"features": [{"name": "price", "numerical_statistics": prices(healthy)}]}
    found = {}
    for name, content in {"with": late(3000, seed=6), "without": b""}.items():
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "00000-a").write_bytes(cars(300, years=9))
        (folder / "data" / "00001-b").write_bytes(content)
        champion = preprocess.ChampionData(new_files=frozenset({0, 1}), statistics=statistics)
        config = {"model": "used-cars", "definition": CARS, "trigger": "DataDrop"}
        preprocess.run(config, folder / "data", folder / "output", champion)
        found[name] = json.loads((folder / "output/report/report.json").read_text())["drift"]
    assert found["with"] == found["without"]
    assert found["with"]["rows"] == 300


def test_the_spill_file_is_on_the_volume_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths of inputs and outputs are mounted (API Reference, ProcessingS3Output); /tmp is the container's own."""
    flow = json.loads((preprocess.CODE / "statemachines" / "train_model.asl.json").read_text())
    outputs = flow["States"]["Preprocess"]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    mounted = {output["S3Output"]["LocalPath"] for output in outputs}
    spills: list[Path] = []

    def spy(*given: Any) -> Any:
        spills.extend(one.spill.folder for one in given if isinstance(one, OneMachine))
        assert spills[0] in given  # for what is kept of each row
        return ingest.ingest(*given)

    monkeypatch.setattr(preprocess, "ingest", spy)
    job = Job(tmp_path)
    assert job.run(CARS, cars(300)) == 0
    (spill,) = spills
    folder = "/opt/ml/processing/output" / spill.relative_to(job.output) / "rows.arrow"
    assert any(Path(path) in folder.parents for path in mounted)


def parquet_without_rows() -> bytes:
    file = io.BytesIO()
    pd.read_csv(io.BytesIO(cars(2))).head(0).to_parquet(file)
    return file.getvalue()


EMPTY = {
    "header": HEADER,
    "header without a line end": HEADER.rstrip(),
    "header and blank lines": HEADER + b"\n  \n",
    "blank lines": b"\n\n",
    "no bytes": b"",
    "gzip of nothing": gzip.compress(b""),
    "gzip of a header": gzip.compress(HEADER),
    "a mark": b"\xef\xbb\xbf",
    "an empty JSON list": b"[ ]\n",
    "Parquet": parquet_without_rows(),
}


@pytest.mark.parametrize("content", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("stray_files", ["put_aside", "fail"])
def test_a_file_without_rows_is_put_aside_beside_others(job: Job, content: bytes, stray_files: str) -> None:
    assert job.run(changed(CARS, quality={"stray_files": stray_files}), content, cars(300)) == 0
    (aside,) = job.report["aside"]
    assert (aside["position"], aside["reason"]) == (0, "the file is empty: it holds no rows; expected at least one")
    assert [file["name"] for file in job.report["files"]] == ["00001-cars.csv"]


@pytest.mark.parametrize("content", EMPTY.values(), ids=EMPTY)
def test_a_drop_of_a_file_without_rows_trains_no_twin(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"^00001-new: the file is empty"):
        after_a_model(tmp_path, cars(300), content)


@pytest.mark.parametrize("value", ["0", "1"])
def test_binary_target_of_one_class_is_explained(job: Job, value: str) -> None:
    message = job.fails(LESIONS, lesions(300, lambda row: value))
    assert message.startswith(f"malignant: the target is {value} in every row of the train set")


def test_binary_target_with_other_numbers_is_explained(job: Job) -> None:
    definition = changed(LESIONS, columns={"malignant": {"type": "integer"}})
    message = job.fails(definition, lesions(300, lambda row: str(row % 3)))
    assert message == "malignant: the target of a binary classification is 0 or 1; got 2"


def test_set_without_rows_is_explained(job: Job) -> None:
    lines = [line.split(b",") for line in cars(300, wide=True).splitlines()]
    one_seller = b"\n".join([b",".join(lines[0])] + [b",".join([*line[:10], b"only", line[11]]) for line in lines[1:]])
    message = job.fails(changed(WIDE, split={"method": "group", "column": "seller"}), one_seller)
    assert "set is empty: too few rows (or groups, or times)" in message


def test_message_is_cut_between_characters(job: Job) -> None:
    names = ",".join("ä" * 60 + str(number) for number in range(50))
    assert job.fails(CARS, f"{names}\n1\n".encode())
    assert list(job.folder.rglob("spill-*")) == []


def test_bug_is_not_taken_for_bad_data(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PartWriter, "place", broken)
    with pytest.raises(ZeroDivisionError):
        job.run(CARS, cars(300))
    assert not (job.folder / "message").exists()
    assert list(job.folder.rglob("spill-*")) == []


def test_text_with_commas_quotes_and_line_breaks_survives_every_output(job: Job) -> None:
    names = ["Rolls, Royce", 'Ci"troën', "line\nbreak", "Škoda"]
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(synthetic.HEADER.split(","))
    for number in range(400):
        writer.writerow([1000 + number, number, 4, 4, 1, 0, 1, names[number % 4], "sedan"])
    assert job.run(CARS, rows.getvalue().encode()) == 0
    assert {record["make"] for record in job.records("test")} == set(names)
    baseline = pd.concat([pd.read_csv(io.BytesIO(part)) for part in job.parts("baseline")])
    assert set(baseline["make"]) == set(names)
    assert [name for name in job.report["features"] if name.startswith("make")] == [
        f"make={name}" for name in sorted(names)
    ]


def test_a_file_is_called_by_its_key_wherever_people_read_of_it(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.folder.mkdir(exist_ok=True)
    definition = changed(CARS, quality={"stray_files": "fail"})
    data = {"files": [recorded("raw/b.csv"), recorded("raw/2026/März 1+2 100%.csv")]}
    (tmp_path / "config.json").write_text(json.dumps({"model": "used-cars", "definition": definition, "data": data}))
    (tmp_path / "data").mkdir()
    for file, content in zip(data["files"], (cars(200), b"price\n1\n"), strict=True):
        (tmp_path / "data" / copy_name(file)).write_bytes(content)
    paths = [f"--{name}={tmp_path / name}" for name in ("data", "output", "message")]
    assert preprocess.main([f"--config={tmp_path / 'config.json'}", *paths]) == 1
    assert (tmp_path / "message").read_text().startswith("raw/2026/März 1+2 100%.csv: column 'mileage' is missing")
    assert [file["name"] for file in job.report["files"]] == ["raw/b.csv"]


def recorded(key: str) -> dict[str, Any]:
    return {"Key": key, "VersionId": f"version of {key}", "ETag": "0" * 32}


def test_files_are_read_in_the_order_of_the_manifest_however_many_there_are() -> None:
    listed = [recorded(f"raw/{number}.csv") for number in range(100_002)]
    files = [Path(name) for name in sorted(map(copy_name, listed))]
    named = preprocess.named(files, {"data": {"files": listed}})
    assert [name for name, _ in named] == [file["Key"] for file in listed]
    assert named[7][1].name == copy_name(listed[7])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "do not fit into memory; take a larger instance (instances.preprocess.type"),
        (pa.ArrowMemoryError("malloc of size 34359738368 failed"), "do not fit into memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "do not fit on the volume; take a larger one"),
    ],
)
def test_a_machine_that_is_too_small_is_said_to_be(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(preprocess, "run", fail)
    assert said in Job(tmp_path).fails(CARS, b"")


def test_another_error_of_the_system_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(preprocess, "run", fail)
    with pytest.raises(PermissionError):
        Job(tmp_path).run(CARS, b"")
