"""The jobs of a file that is scored, on files as people send them: checked, answered, joined."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.data import csv_files, parquet_files
from perennial.monitoring.capture import Tally, events
from perennial.words import number
from processing import check_batch, join_predictions
from tests.memory import bounded
from tests.monitored import COLUMNS, Car, World, cars
from tests.pages import Page

BATCH = "20261129101500-1a2b"
OURS = ["prediction", "inference_id", "problem"]


@dataclass
class Scoring:
    """One file on its way through both jobs, in a folder of its own."""

    world: World
    folder: Path

    def check(self, content: bytes, baseline: Path | None = None, **batch: Any) -> dict[str, Any]:
        about = {"id": BATCH, "key": "cars.csv", "widest_row": 0, "version": 3, "captured": 100, **batch}
        known = json.loads(self.world.config.read_text())
        self.config.write_text(json.dumps({**known, "definition": self.world.definition, "batch": about}))
        (self.folder / "input").mkdir()
        (self.folder / "input/data").write_bytes(content)
        arguments = [
            f"--config={self.config}", f"--input={self.folder / 'input'}", f"--records={self.folder / 'records'}",
            f"--baseline={baseline or self.world.folder / 'data-baseline'}", f"--output={self.folder / 'checked'}",
            f"--message={self.folder / 'message'}",
        ]  # fmt: skip
        assert check_batch.main(arguments) == 0
        document: dict[str, Any] = json.loads((self.folder / "checked/verdict.json").read_text())
        return document

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def records(self) -> list[dict[str, Any]]:
        parts = sorted((self.folder / "records").glob("part-*.jsonl"))
        return [json.loads(line) for part in parts for line in part.read_text().splitlines()]

    def answer(self, says: Callable[[dict[str, Any]], Any] = lambda record: record["mileage"]) -> None:
        """Do what the transform job does, part by part."""
        folder = self.folder / "predictions"
        folder.mkdir()
        for part in sorted((self.folder / "records").glob("part-*.jsonl")):
            lines = [json.dumps({"score": says(json.loads(line))}) for line in part.read_text().splitlines()]
            (folder / f"{part.name}.out").write_text("".join(f"{line}\n" for line in lines))

    def join(self) -> int:
        return join_predictions.main([
            f"--config={self.config}", f"--input={self.folder / 'input'}",
            f"--predictions={self.folder / 'predictions'}", f"--output={self.folder / 'joined'}",
            f"--verdict={self.folder / 'checked'}", f"--statistics={self.folder / 'checked'}",
            f"--baseline={self.world.folder / 'data-baseline'}",
            f"--message={self.folder / 'message'}",
        ])  # fmt: skip

    def scored(self, content: bytes, **batch: Any) -> bytes:
        """Check, answer and join; return the result."""
        verdict = self.check(content, **batch)
        assert verdict["verdict"] in check_batch.SCORED, verdict["reasons"]
        self.answer()
        assert self.join() == 0
        return self.result

    @property
    def result(self) -> bytes:
        return (self.folder / "joined/result").read_bytes()

    @property
    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "joined/report.json").read_text())
        return document


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def scoring(world: World, tmp_path: Path) -> Scoring:
    return Scoring(world, tmp_path)


def as_csv(sold: Sequence[Car], header: Sequence[str] = COLUMNS) -> bytes:
    rows = [",".join(map(str, car.fields)) for car in sold]
    return "\n".join([",".join(header), *rows, ""]).encode()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


SOUND = as_csv(cars(300, 5))


def test_every_row_of_a_sound_file_has_its_prediction_in_its_place(scoring: Scoring) -> None:
    rows = rows_of(scoring.scored(SOUND))
    before = rows_of(SOUND)
    assert [{name: row[name] for name in COLUMNS} for row in rows] == before
    assert [float(row["prediction"]) for row in rows] == [float(row["mileage"]) for row in before]
    assert [row["inference_id"] for row in rows] == [f"{BATCH}-{number}" for number in range(1, 301)]
    assert {row["problem"] for row in rows} == {""}
    report = scoring.report
    assert (report["rows"], report["scored"], report["refused"], report["version"]) == (300, 300, 0, 3)
    predictions = [float(row["prediction"]) for row in rows]
    assert report["predictions"]["min"] == min(predictions)
    assert report["predictions"]["mean"] == pytest.approx(sum(predictions) / 300)


def test_a_page_shows_rows_predictions_and_the_distances_of_the_columns(scoring: Scoring) -> None:
    scoring.scored(SOUND)
    assert scoring.report["page"] == {"file": "report.html"}
    shares = scoring.report["distribution"]["shares"]
    assert (len(shares), sum(shares)) == (20, pytest.approx(1))
    page = Page((scoring.folder / "joined/report.html").read_bytes())
    assert list(page.unsafe()) == []
    low, high = (number(scoring.report["predictions"][name]) for name in ("min", "max"))
    for said in (
        "Scored: cars.csv", f"Batch {BATCH}", "version 3", "with a prediction 300", f"min {low}", f"max {high}",
        "predicted price", "mileage", "distance is above",
    ):  # fmt: skip
        assert said in page.text, said


def test_a_page_that_cannot_be_drawn_is_a_reason_in_the_report_and_fails_nothing(scoring: Scoring) -> None:
    scoring.check(SOUND)
    scoring.answer()
    (scoring.folder / "checked/statistics.json").write_text("{")
    assert scoring.join() == 0
    assert scoring.report["page"]["problem"].startswith("JSONDecodeError: ")
    assert not (scoring.folder / "joined/report.html").exists()


def test_drift_leaves_nothing_to_score_and_names_the_column_with_its_distance(scoring: Scoring) -> None:
    older = [replace(car, fields=(car.fields[0] * 1.35, *car.fields[1:])) for car in cars(400, 6)]
    verdict = scoring.check(as_csv(older))
    assert verdict["verdict"] == "Drift"
    assert [one["subject"] for one in verdict["analyses"]["data_quality"]["findings"]] == ["mileage"]
    assert "exceeds threshold" in verdict["reasons"][0]
    assert scoring.records == []
    page = Page((scoring.folder / "checked" / verdict["page"]["file"]).read_bytes())
    assert page.text.startswith("Drift: cars.csv")
    assert "Now: this file" in page.text
    assert (scoring.folder / "message").read_text().startswith("Drift: 400 rows, 0 of them refused; mileage: ")


def test_a_file_too_small_to_tell_drift_by_is_scored_if_it_keeps_the_contract(scoring: Scoring) -> None:
    older = [replace(car, fields=(car.fields[0] * 3, *car.fields[1:])) for car in cars(20, 6)]
    verdict = scoring.check(as_csv(older))
    assert (verdict["verdict"], len(scoring.records)) == ("NotEnoughData", 20)
    assert "monitoring.min_records" in verdict["reasons"][0]


def test_a_file_that_can_be_compared_with_nothing_is_neither_drift_nor_scored(scoring: Scoring) -> None:
    verdict = scoring.check(SOUND, baseline=scoring.folder / "nothing")
    assert (verdict["verdict"], scoring.records) == ("Failed", [])
    assert verdict["reasons"][0].endswith("(baselines/data-quality); start another run")


def test_a_row_that_the_contract_refuses_has_no_prediction_but_the_reason(scoring: Scoring) -> None:
    lines = SOUND.decode().splitlines()
    lines[7] = "-5,4,True,Saab"
    rows = rows_of(scoring.scored("\n".join(lines).encode() + b"\n"))
    assert len(rows) == 300
    assert (rows[6]["prediction"], rows[6]["problem"]) == ("", "mileage: '-5' is below the minimum 0")
    assert [float(row["prediction"]) for row in rows[:6] + rows[7:]] == [
        float(row["mileage"]) for row in rows[:6] + rows[7:]
    ]
    assert scoring.report["refused"] == 1


def test_a_line_that_is_no_row_stays_in_its_place_without_a_prediction(scoring: Scoring) -> None:
    lines = SOUND.decode().splitlines()
    lines[10:10] = ["1,2"]
    lines.append("1,2,3,4,5")
    rows = rows_of(scoring.scored("\n".join(lines).encode() + b"\n"))
    assert [row["problem"] for row in (rows[9], rows[-1])] == [
        "row 11 cannot be read: 2 fields, expected 4", "row 303 cannot be read: 5 fields, expected 4",
    ]  # fmt: skip
    assert scoring.report["first_refused"] == [
        {"row": 10, "problem": "row 11 cannot be read: 2 fields, expected 4"},
        {"row": 302, "problem": "row 303 cannot be read: 5 fields, expected 4"},
    ]
    assert [row["inference_id"] for row in rows] == [f"{BATCH}-{number}" for number in range(1, 303)]
    assert [row["mileage"] for row in rows if row["mileage"]] == [row["mileage"] for row in rows_of(SOUND)]


def test_many_broken_rows_are_bad_data(scoring: Scoring) -> None:
    lines = [line if number % 4 else f"-{line}" for number, line in enumerate(SOUND.decode().splitlines(), 3)]
    verdict = scoring.check("\n".join(lines).encode())
    assert verdict["verdict"] == "BadData"
    assert "break the rule minimum of mileage: expected at least 0" in verdict["reasons"][0]
    assert verdict["refusals"] == {"mileage: minimum": 75}
    assert scoring.records == []


@pytest.mark.parametrize(("factor", "is_told"), [(1.609344, True), (1.3, False)])
def test_a_file_in_another_unit_is_told_by_the_rows_that_are_within_the_range(
    scoring: Scoring, factor: float, is_told: bool
) -> None:
    """Those beyond it, a tenth and more, are not asked about."""
    scoring.world = copy.copy(scoring.world)
    columns = scoring.world.definition["columns"]
    ranged = {**columns, "mileage": {**columns["mileage"], "max": 40_000 if is_told else 33_000}}
    scoring.world.definition = {**scoring.world.definition, "columns": ranged}
    sold = [replace(car, fields=(car.fields[0] * factor, *car.fields[1:])) for car in cars(1000, 4)]
    verdict = scoring.check(as_csv(sold))
    assert verdict["verdict"] == "BadData"
    assert verdict["refusals"]["mileage: maximum"] > 50
    assert any("as miles in kilometres" in reason for reason in verdict["reasons"]) == is_told


CHANGED: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "the file is empty: it holds no rows"),
    "a header alone": (b"mileage,doors,leather,make\n", "the file is empty: it holds no rows"),
    "other columns": (SOUND.replace(b"mileage", b"distance", 1), "column 'mileage' is missing"),
    "no header": (SOUND.split(b"\n", 1)[1], "a header line is needed"),
    "torn gzip": (gzip.compress(SOUND)[:-20], "the gzip data are damaged or cut off"),
    "torn Parquet": (b"PAR1nothing", "the Parquet data are damaged or cut off"),
    "only broken rows": (b"mileage,doors,leather,make\n-1,4,True,Saab\n", "none of its 1 rows keeps the data contract"),
    "an open quotation mark": (SOUND.rstrip(b"\n") + b'\n1,2,True,"Saab\n', "cut off"),
}


@pytest.mark.parametrize(("content", "reason"), CHANGED.values(), ids=CHANGED)
def test_a_file_that_cannot_be_scored_is_bad_data_that_says_why(scoring: Scoring, content: bytes, reason: str) -> None:
    verdict = scoring.check(content)
    assert (verdict["verdict"], scoring.records, verdict["page"]) == ("BadData", [], {"file": "report.html"})
    assert verdict["reasons"][0].startswith("cars.csv: ")
    assert reason in verdict["reasons"][0]


def test_other_columns_and_quoted_line_ends_come_back_as_they_were(scoring: Scoring) -> None:
    written = io.StringIO(newline="")
    table = csv.writer(written)
    notes = ['says "good"', "two\nlines", "a, comma", " blanks ", "", "größer"]
    table.writerow(["id", *COLUMNS, "note", "prediction"])
    table.writerows([n, *car.fields, notes[n % len(notes)], "mine"] for n, car in enumerate(cars(120, 5)))
    content = written.getvalue().encode("utf-8-sig")
    rows = rows_of(scoring.scored(content))
    assert [row["note"] for row in rows] == [notes[number % len(notes)] for number in range(120)]
    assert {row["prediction"] for row in rows} == {"mine"}
    assert [float(row["perennial_prediction"]) for row in rows] == [float(row["mileage"]) for row in rows]
    assert [row["id"] for row in rows] == [str(number) for number in range(120)]


def test_gzip_comes_back_as_gzip_with_the_same_bytes_each_time(scoring: Scoring, world: World, tmp_path: Path) -> None:
    packed = scoring.scored(gzip.compress(SOUND))
    (tmp_path / "again").mkdir()
    assert packed == Scoring(world, tmp_path / "again").scored(gzip.compress(SOUND))
    assert len(rows_of(gzip.decompress(packed))) == 300


def parquet(**more: pa.Array) -> bytes:
    fields = list(zip(*(car.fields for car in cars(300, 5)), strict=True))
    columns = {name: pa.array(values) for name, values in zip(COLUMNS, fields, strict=True)}
    written = io.BytesIO()
    pq.write_table(pa.table({**columns, **more}), written, row_group_size=128)
    return written.getvalue()


def test_parquet_comes_back_as_parquet_with_its_own_types(scoring: Scoring) -> None:
    more = {"when": pa.array(range(300), pa.timestamp("us")), "tags": pa.array([["a"], [], None] * 100)}
    before = pq.read_table(io.BytesIO(parquet(**more)))
    after = pq.read_table(io.BytesIO(scoring.scored(parquet(**more))))
    assert after.select(before.column_names) == before
    assert after["prediction"].type == pa.float64()
    assert after["prediction"].to_pylist() == before["mileage"].to_pylist()
    assert after["inference_id"].to_pylist() == [f"{BATCH}-{number}" for number in range(1, 301)]
    assert after["problem"].null_count == 300


def wide(kind: str) -> bytes:
    """A file of 80 MB to its reader, quick to read: few rows, with a long column that is passed through."""
    written, some = io.BytesIO(), cars(100, 5)
    columns = {name: [car.fields[at] for car in some] for at, name in enumerate(COLUMNS)}
    rows = pa.table({**columns, "note": ["x" * 40_000] * len(some)})
    if kind == "parquet":
        with pq.ParquetWriter(written, rows.schema, compression="zstd", use_dictionary=False) as parquet:
            for _ in range(20):
                parquet.write_table(rows)
        return written.getvalue()
    header, *lines = as_csv(some).splitlines()
    with gzip.GzipFile("", "wb", compresslevel=1, fileobj=written) as packed:
        packed.write(header + b",note\n")
        for _ in range(20):
            packed.writelines(line + b"," + b"x" * 40_000 + b"\n" for line in lines)
    return written.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "gzip"])
def test_memory_does_not_grow_with_the_file(scoring: Scoring, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "BATCH_BYTES", 4 << 20)  # which is most of what a job holds of a file
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 2 << 20)
    content = wide(kind)
    pa.default_memory_pool().release_unused()  # what is kept from before could be taken again unseen
    with bounded(megabytes=70):  # what reads all of it first takes 85 and more
        assert scoring.check(content)["verdict"] == "Healthy"
    scoring.answer()
    with bounded(megabytes=70):
        assert scoring.join() == 0
    assert (scoring.report["scored"], scoring.report["format"]) == (2000, "csv" if kind == "gzip" else kind)


def test_parquet_of_other_types_is_bad_data_that_names_the_column(scoring: Scoring) -> None:
    fields = list(zip(*(car.fields for car in cars(300, 5)), strict=True))
    columns = {name: pa.array(values) for name, values in zip(COLUMNS, fields, strict=True)}
    written = io.BytesIO()
    pq.write_table(pa.table({**columns, "mileage": pa.array([[1.0]] * 300)}), written)
    verdict = scoring.check(written.getvalue())
    assert verdict["verdict"] == "BadData"
    assert "column 'mileage' has the Parquet type list" in verdict["reasons"][0]


def test_json_lines_keep_what_else_they_say(scoring: Scoring) -> None:
    records = [{**dict(zip(COLUMNS, car.fields, strict=True)), "extra": {"deep": [1, "é"]}} for car in cars(200, 5)]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    lines[3:3] = ["no json", ""]
    result = [json.loads(line) for line in scoring.scored("\n".join(lines).encode()).splitlines()]
    assert len(result) == 201
    assert result[3] == {
        "prediction": None, "inference_id": f"{BATCH}-4", "problem": "row 4 cannot be read: the line is no JSON object",
    }  # fmt: skip
    sound = [one for one in result if "mileage" in one]
    assert [{name: one[name] for name in records[0]} for one in sound] == records
    assert [one["prediction"] for one in sound] == [record["mileage"] for record in records]


def test_a_prediction_that_is_missing_fails_the_job_and_leaves_no_report(scoring: Scoring) -> None:
    scoring.check(SOUND)
    scoring.answer()
    (part,) = (scoring.folder / "predictions").glob("*.out")
    lines = part.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:-1]))
    assert scoring.join() == 1
    assert "299 predictions; expected one for each of 300 records" in (scoring.folder / "message").read_text()
    assert not (scoring.folder / "joined/report.json").exists()
    part.write_text("".join([*lines, lines[0]]))
    assert scoring.join() == 1


def test_parts_are_answered_in_the_order_of_the_file(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_batch, "ROWS_PER_PART", 7)
    rows = rows_of(scoring.scored(SOUND))
    assert len(list((scoring.folder / "records").iterdir())) == 43
    assert [float(row["prediction"]) for row in rows] == [float(row["mileage"]) for row in rows]


def test_scored_rows_are_captured_as_the_monitor_reads_requests(scoring: Scoring) -> None:
    scoring.scored(SOUND)
    captured = scoring.folder / "capture"
    (captured / "cars/batch").mkdir(parents=True)
    shutil.copytree(scoring.folder / "joined/capture", captured / "cars/batch/hour")
    tally = Tally()
    now = datetime.now(UTC).replace(tzinfo=None)
    read = list(events(captured, "cars", now - timedelta(minutes=5), now + timedelta(minutes=1), tally))
    assert [one.id for one in read] == [f"{BATCH}-{number}" for number in range(1, 301)]
    assert json.loads(read[0].request.text) == scoring.records[0]
    assert read[0].answer is not None
    assert json.loads(read[0].answer.text) == {"score": scoring.records[0]["mileage"]}
    assert scoring.report["captured"] == 300


def test_a_share_of_the_rows_is_captured_and_none_where_another_model_serves(
    scoring: Scoring, world: World, tmp_path: Path
) -> None:
    scoring.scored(SOUND, captured=25)
    assert 40 < scoring.report["captured"] < 110
    (tmp_path / "none").mkdir()
    none = Scoring(world, tmp_path / "none")
    none.scored(SOUND, captured=0)
    assert none.report["captured"] == 0
