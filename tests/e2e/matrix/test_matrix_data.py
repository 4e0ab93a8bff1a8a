"""The line "Data" of the failure matrix: whatever a person drops, on one stack, most cases side by side.

Each case has its own prefix, so that cases do not mix; some are real drops. A run that fails on its data changes
nothing in service, and its one message names the file, the rule and what to do.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from perennial.runs import strays
from tests.broken_data import (
    ADVICE,
    BROKEN,
    HEADER,
    ROWS,
    SILENT,
    TORN,
    TRIED,
    json_lines,
    parquet,
    prefix,
    prices_as_texts,
    some,
    with_column,
    without,
)
from tests.e2e.conftest import App
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told, cars, table
from tests.waiting import wait_for
from tools import demo_data

pytestmark = pytest.mark.xdist_group("matrix-data")

# What trains first: a model of all rows, which comes later, is better than one of these by more than chance.
FEW = table(cars()[:401])
# An object that S3 does not hand out: how it is uploaded (members of PutObject), what the message says.
CLOSED: dict[str, tuple[Callable[[App], dict[str, str]], tuple[str, ...]]] = {
    "an archived object": (
        lambda app: {"StorageClass": "GLACIER"},
        ("is archived (GLACIER) and cannot be read before it is restored", "aws s3api restore-object"),
    ),
    "an object under a key that the stack may not use": (
        lambda app: {
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": app.client("kms").create_key()["KeyMetadata"]["Arn"],
        },
        ("is encrypted with the KMS key arn:aws:kms:", "which this function may not use", "Upload it again"),
    ),
}


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App]) -> App:
    return deploy("perennial-mx-data", QuietPeriodSeconds="1")


@pytest.fixture(scope="module")
def first(app: App) -> End:
    """The healthy drop with which everything begins: what serves, and has to stay."""
    end = situation.dropped(app, "raw/cars.csv", FEW)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    return end


@dataclass(frozen=True)
class Tried:
    """What was before the cases ran, and how each of them ended."""

    in_service: dict[str, Any]
    data: set[tuple[str, str, str]]
    ends: dict[str, End]


@pytest.fixture(scope="module")
def tried(app: App, first: End) -> Tried:
    """Broken files of each kind and closed objects, each below its own prefix, and all their runs side by side."""
    for name in TRIED:
        for file, content in BROKEN[name].files.items():
            situation.put(app, prefix(name) + file, content)
    for name, (uploaded, _) in CLOSED.items():
        situation.put(app, prefix(name) + "good.csv", FEW)
        app.client("s3").put_object(Bucket=app.bucket, Key=prefix(name) + "closed.csv", Body=FEW, **uploaded(app))
    serving, data = app.in_service(), situation.versions(app, "cases/")
    arns = {name: situation.start(app, DataPrefix=prefix(name)) for name in (*TRIED, *CLOSED)}
    silent = situation.ends(app, {name: arns.pop(name) for name in SILENT}, silent=True)
    return Tried(serving, data, {**silent, **situation.ends(app, arns)})


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=matrix("Data", name, ends="Failed")) for name in TRIED if name not in SILENT]
)
def test_data_that_cannot_be_used_end_the_run_with_one_message_that_says_why(tried: Tried, case: str) -> None:
    end = tried.ends[case]
    assert (end.run.status, end.run.error) == ("FAILED", "States.TaskFailed")
    assert_told(end, "Run failed: in state 'Preprocess'", prefix(case), ADVICE, *BROKEN[case].says)


@pytest.mark.parametrize("case", [pytest.param(name, marks=matrix("Data", name, ends="Failed")) for name in CLOSED])
def test_an_object_that_s3_does_not_hand_out_fails_the_run_before_anything_is_spent(
    app: App, tried: Tried, case: str
) -> None:
    end, key = tried.ends[case], prefix(case) + "closed.csv"
    assert (end.run.status, end.run.error) == ("FAILED", "DataVersionRefusedError")
    take_away = f"\n    {strays.removal(app.bucket, key)}\n"
    assert_told(end, "Run failed: in state 'Resolve configuration'", repr(key), take_away, *CLOSED[case][1])
    assert "good.csv" not in end.mail.body


@matrix("Data", "nothing but empty files", ends="Succeeded, without work")
def test_a_run_over_nothing_says_so_and_disturbs_nobody(tried: Tried) -> None:
    end = tried.ends["an empty file by hand"]
    assert (end.run.status, end.run.output["Decision"], end.mails) == ("SUCCEEDED", "NoData", ())
    assert "1 objects ignored" in end.run.output["Reason"]


def test_broken_data_change_nothing_that_serves_and_none_of_the_data(app: App, tried: Tried) -> None:
    assert app.in_service() == tried.in_service
    assert situation.versions(app, "cases/") == tried.data


@matrix("Data", "too many broken rows are kept aside with their reasons", ends="Failed")
def test_rows_that_break_the_contract_are_in_quarantine_with_their_reasons(app: App, tried: Tried) -> None:
    run = tried.ends["values of another type"].run
    rows = situation.quarantine(app, run)
    assert len(rows) == 81
    assert rows[0]["file"] == prefix("values of another type") + "cars.csv"
    assert rows[0]["row"] == 2
    assert rows[0]["reasons"] == ["doors: 'four' is not a whole number"]
    assert rows[0]["record"]["doors"] == "four"
    (aside,) = situation.report(app, run)["aside"]
    assert aside["reason"].startswith("doors, rule 'type', 81 rows: 81 of 804 rows (10.07%) break the data contract")


@matrix("Data", "hostile texts never reach a mail as they are", ends="Failed")
def test_nothing_of_a_file_stands_in_a_mail_whole_or_live(tried: Tried) -> None:
    mail = tried.ends["hostile texts"].mail
    assert "https://evil.example" not in mail.body
    assert "</script>" not in mail.body  # an example is cut to 40 characters
    assert mail.body.count("evil") <= 2 * 3
    assert mail.path.read_bytes().count(b"text/html") == 0


@matrix("Data", "an empty file", ends="Failed")
def test_an_empty_file_that_is_dropped_is_reported(app: App, first: End) -> None:
    with situation.unchanged(app, dropped=1):
        end = situation.dropped(app, "raw/empty.csv", b"")
    assert (end.run.status, end.run.error) == ("FAILED", "EmptyFileError")
    assert_told(end, "the dropped file 'raw/empty.csv' is empty: it has 0 bytes", "Upload the file again")


@matrix("Data", "a folder marker", ends="Succeeded, without work")
def test_a_folder_that_a_console_makes_starts_no_training(app: App, first: End) -> None:
    before = situation.executions(app)
    with situation.unchanged(app, dropped=1):
        situation.put(app, "raw/2026/", b"")
        (arn,) = situation.started_since(app, before)
        end = situation.ends(app, {"marker": arn}, silent=True)["marker"]
    assert (end.run.status, end.run.output["Decision"], end.mails) == ("SUCCEEDED", "NoData", ())


@matrix("Data", "a bad file dropped beside good ones, by an event", ends="Failed")
def test_a_bad_file_that_is_dropped_is_named_by_its_key_and_later_ones_work_without_it(app: App, first: End) -> None:
    key = "raw/2026/März 1+2 50% \"x\" 'y'.csv"
    with situation.unchanged(app, dropped=1):
        end = situation.dropped(app, key, table(without("make")))
    assert (end.run.status, end.run.error) == ("FAILED", "States.TaskFailed")
    assert_told(end, f"{key}: column 'make' is missing", ADVICE)
    app.client("s3").delete_object(Bucket=app.bucket, Key=key)


@matrix("Data", "a bad file with control characters in its key", ends="Failed")
def test_a_key_that_cannot_be_printed_is_told_readably_and_recorded_exactly(app: App, first: End) -> None:
    key, readable = "raw/2026/\x01\x1b[31m\r\n\ufffe.csv", "raw/2026/??[31m???.csv"
    end = situation.dropped(app, key, table(with_column("doors", some("four"))))
    assert (end.run.status, end.run.error) == ("FAILED", "States.TaskFailed")
    assert_told(end, f"{readable} row 2: 'four'", "DataDrop (raw/2026/[31m .csv)", ADVICE)
    assert all(line.isprintable() for line in end.mail.body.split("\n"))
    assert key in [file["Key"] for file in app.record(end.run)["data"]["files"]]
    assert {row["file"] for row in situation.quarantine(app, end.run)} == {readable}
    app.client("s3").delete_object(Bucket=app.bucket, Key=key)


@matrix("Data", "a file is overwritten while the run works", ends="Trained only")
@matrix("Data", "a file is deleted while the run works", ends="Trained only")
@matrix("People", "a run on other data than the stack's own", ends="Trained only")
def test_the_recorded_versions_are_what_trains_and_other_data_than_the_stacks_own_do_not_deploy(
    app: App, first: End
) -> None:
    serving = app.in_service()
    files = {"cases/changing/a.csv": FEW, "cases/changing/b.csv": table([HEADER])}
    recorded = {key: situation.put(app, key, content) for key, content in files.items()}
    with app.faults.injected("function:snapshot_data", "delay", seconds=1.0):
        arn = situation.start(app, DataPrefix="cases/changing/")
        run = situation.run_of(arn)
        wait_for(lambda: situation.versions(app, f"runs/{run}/manifest.json"), "the manifest")
        situation.put(app, "cases/changing/a.csv", b"something else")
        app.client("s3").delete_object(Bucket=app.bucket, Key="cases/changing/b.csv")
        end = situation.end(app, arn)
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert "Trained only: its input decides data_prefix, which deployable_overrides" in end.mail.body.splitlines()[0]
    assert_told(end, "2 files under 'cases/changing/'", "(as before)", "under the stack's own prefix")
    assert app.in_service() == serving
    assert app.record(end.run)["deployed"] is None
    assert situation.report(app, end.run)["rows"]["read"] == 400
    assert {file["Key"]: file["VersionId"] for file in app.record(end.run)["data"]["files"]} == recorded
    _, *names = json.loads(situation.read(app, f"runs/{run}/input.manifest"))
    copies = [situation.read(app, f"copies/{name}") for name in names]
    assert copies == list(files.values())
    kept = {(key, version) for key, version, _ in situation.versions(app, "cases/changing/")}
    assert kept > set(recorded.items())


@matrix("Data", "a file is deleted for good while the run works", ends="Failed")
def test_a_version_that_is_gone_for_good_ends_the_run_and_is_named(app: App, first: End) -> None:
    key = "cases/gone/cars.csv"
    recorded = situation.put(app, key, demo_data.used_cars())
    with situation.unchanged(app), app.faults.injected("function:snapshot_data", "delay", seconds=1.0):
        arn = situation.start(app, DataPrefix="cases/gone/")
        run = situation.run_of(arn)
        wait_for(lambda: situation.versions(app, f"runs/{run}/manifest.json"), "the manifest")
        app.client("s3").delete_object(Bucket=app.bucket, Key=key, VersionId=recorded)
        end = situation.end(app, arn)
    assert (end.run.status, end.run.error) == ("FAILED", "DataVersionMissingError")
    assert_told(end, recorded, key, "Drop it again")


# ---- What the gate compares: nothing of this comes into service


def dearer(rows: list[str]) -> list[str]:
    """The same cars, each for a fifth more."""
    fields = [row.split(",") for row in rows]
    return [",".join([f"{float(price) * 1.2:.2f}", *rest]) for price, *rest in fields]


def wrong(rows: list[str]) -> list[str]:
    """Cars of one make whose prices are in another currency and whose mileages are in kilometres."""
    fields = [row.split(",") for row in rows if ",Chevy," in row]
    return [",".join([f"{float(price) * 1.6:.2f}", str(float(miles) * 1.609), *rest]) for price, miles, *rest in fields]


COMPARED = {
    # Files under a prefix, overrides of the run, error, what the message says.
    "the same rows in other files and another order": (
        {f"{number:02}.csv": table([HEADER, *ROWS[number::20]]) for number in range(20)},
        {"GateThreshold": 1.0},
        ("misses the threshold", "has not seen 179 (90 known, 89 new)"),
    ),
    "a file dropped again under another name, and its rows in another order": (
        {"a.csv": table(cars()), "b.csv": table(cars()), "c.csv": table([HEADER, *reversed(ROWS)])},
        {"GateThreshold": 1.0},
        (
            "1,608 read, 0 quarantined, 804 repeat others",
            "b.csv: the same file as ",
            "has not seen 179 (90 known, 89 new)",
        ),
    ),
    "wrong rows beside good ones": (
        {"a.csv": table(cars()), "b.csv": table([HEADER, *wrong(ROWS)])},
        {"GateThreshold": 50_000.0},
        ("of the model in service on the 90 test rows that it was tested on, by more than chance", "mileage by 0."),
    ),
    "the same rows with other targets": (
        {"a.csv": table([HEADER, *dearer(ROWS)])},
        {"GateThreshold": 50_000.0},
        (
            "is possible: 90 of the 90 test rows that it was tested on have other targets now: its rmse is ",
            "has not seen 179 (0 known, 90 with another target now, 89 new)",
            "If they are corrected, the threshold can decide: set gate.without_comparison: threshold",
        ),
    ),
    "too few rows that the model in service has not seen": (
        {"a.csv": table(cars()[:120])},
        {},
        (
            "no fair comparison",
            "and 30 are needed (gate.minimum_unseen_rows)",
            "set gate.without_comparison: threshold",
        ),
    ),
}


@pytest.fixture(scope="module")
def compared(app: App, first: End) -> dict[str, End]:
    """Runs on other files than those of the model in service, side by side; all of them end at the gate."""
    for name, (files, _, _) in COMPARED.items():
        for file, content in files.items():
            situation.put(app, prefix(name) + file, content)
    with situation.unchanged(app):
        arns = {
            name: situation.start(app, DataPrefix=prefix(name), **overrides)
            for name, (_, overrides, _) in COMPARED.items()
        }
        return situation.ends(app, arns)


@pytest.mark.parametrize("case", [pytest.param(name, marks=matrix("Data", name, ends="Rejected")) for name in COMPARED])
def test_a_comparison_rests_on_rows_that_the_model_in_service_has_not_seen(compared: dict[str, End], case: str) -> None:
    assert (compared[case].run.status, compared[case].run.error) == ("FAILED", "ModelAccuracyTooLow")
    assert_told(compared[case], "Candidate rejected", *COMPARED[case][2])


# What is unusual and sound: one drop of all of it, one run, every row in it.
UNUSUAL = {
    "a byte order mark": ("bom.csv", b"\xef\xbb\xbf" + table(cars()[:101]), 100),
    "columns in another order": (
        "reordered.csv",
        table([",".join(reversed(line.split(","))) for line in [HEADER, *ROWS[100:200]]]),
        100,
    ),
    "line ends of another system": ("windows.csv", table([HEADER, *ROWS[200:300]], "\r\n"), 100),
    "quoted line breaks": (
        "breaks.csv",
        table([HEADER, *(",".join([*row.split(",")[:-1], '"sedan,\r\n4 doors"']) for row in ROWS[300:310])]),
        10,
    ),
    "a gzip file": ("cars.csv.gz", gzip.compress(table([HEADER, *ROWS[310:400]])), 90),
    "a Parquet file": ("cars.parquet", parquet(), 804),
    "another delimiter": ("german.csv", b"sep=;\r\n" + table([HEADER, *ROWS[:30]]).replace(b",", b";"), 30),
    "UTF-16": ("utf-16.csv", "\n".join([HEADER, *ROWS[30:60]]).encode("utf-16"), 30),
    "names in another spelling, and row numbers": (
        "pandas.csv",
        table(
            [
                "," + HEADER.upper().replace("MAKE", "Ma-ke"),
                *(f"{number},{row}" for number, row in enumerate(ROWS[60:90])),
            ]
        ),
        30,
    ),
    "JSON lines": ("cars.jsonl", json_lines(ROWS[90:120]), 30),
    "a Parquet file whose numbers are texts": ("texts.parquet", parquet(price=prices_as_texts()), 804),
    "a gzip file that is not called so": ("zipped.csv", gzip.compress(table([HEADER, *ROWS[400:500]])), 100),
    "spaces in the key": ("new cars.csv", table([HEADER, *ROWS[500:520]]), 20),
    "plus signs in the key": ("a+b.csv", table([HEADER, *ROWS[520:540]]), 20),
    "percent signs in the key": ("50%25.csv", table([HEADER, *ROWS[540:560]]), 20),
    "quotes in the key": ('"it\'s".csv', table([HEADER, *ROWS[560:580]]), 20),
    "non-ASCII characters in the key": ("März/自動車.csv", table([HEADER, *ROWS[580:600]]), 20),
    "carriage returns in the key": ("carriage\r\rreturn.csv", table([HEADER, *ROWS[600:620]]), 20),
    "line feeds in the key": ("line\nfeed.csv", table([HEADER, *ROWS[620:640]]), 20),
    "control characters in the key": ("control\x01\x1b[31m\ufffe.csv", table([HEADER, *ROWS[640:660]]), 20),
    "few broken rows": (
        "few.csv",
        table([HEADER, *ROWS[660:], *(ROWS[0].replace(",", ",x", 1) for _ in range(3)), "1,2,3"]),
        144,
    ),
}


# What programs leave beside files: no data, no run of their own, no mail. Spark writes `_SUCCESS` last.
NO_DATA = {
    "a temporary file of Spark": ("_temporary/0/part-00000.csv", table([HEADER, *ROWS[:10]]), "hidden: '_temporary'"),
    "an empty part of Spark beside full ones": ("part-00007.csv", b"", "an empty object"),
    "a folder marker of Hadoop": ("part_$folder$", b"", "a folder marker"),
    "a thumbnail of a desktop": ("Thumbs.db", b"thumbs", "a thumbnail or folder setting of a desktop"),
    "a lock file of an office program": ("~$cars.xlsx", b"ada", "a lock file of an office program"),
    "_SUCCESS after the files of Spark": ("_SUCCESS", b"", "hidden: '_SUCCESS'"),
}


STRAY = "raw/unusual/read me.txt"


@dataclass(frozen=True)
class Burst:
    """One drop of many objects: the run that worked, and what the other executions answered."""

    end: End
    answers: tuple[dict[str, Any], ...]


@pytest.fixture(scope="module")
def burst(app: App, first: End) -> Burst:
    """Everything unusual and sound in one drop beside the first file: twice as many rows, and the first ones twice."""
    situation.delete(app, "raw/empty")
    before = situation.executions(app)
    situation.put(app, STRAY, b"These are our cars.\nAsk Ada.\n")
    for name, content, _ in (*UNUSUAL.values(), *NO_DATA.values()):
        situation.put(app, f"raw/unusual/{name}", content)
    arns = situation.started_since(app, before, 1 + len(UNUSUAL) + len(NO_DATA))
    runs = {arn: situation.end_of(app, arn) for arn in arns}
    worked = [arn for arn, run in runs.items() if "Decision" not in run.output]
    assert len(worked) == 1, runs
    assert {run.status for run in runs.values()} == {"SUCCEEDED"}
    return Burst(situation.end(app, worked[0]), tuple(run.output for arn, run in runs.items() if arn not in worked))


@pytest.fixture(scope="module")
def unusual(burst: Burst) -> End:
    return burst.end


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=matrix("Data", name, ends="Succeeded, without work")) for name in NO_DATA]
)
def test_what_is_no_data_starts_no_training_and_is_listed_with_the_reason(app: App, burst: Burst, case: str) -> None:
    name, _, reason = NO_DATA[case]
    key = f"raw/unusual/{name}"
    (answer,) = [answer for answer in burst.answers if answer["Reason"].startswith(repr(key))]
    assert answer["Decision"] == "NoData"
    ignored = {item["Key"]: item["Reason"] for item in app.record(burst.end.run)["data"]["ignored"]}
    assert ignored[key].startswith(reason)
    assert ("0 bytes, ignored" in burst.end.mail.body, key in burst.end.mail.body) == (
        True,
        reason == "an empty object",
    )


def test_a_later_healthy_drop_works_and_takes_what_is_unusual_but_sound(app: App, unusual: End) -> None:
    assert (unusual.run.status, unusual.run.cause) == ("SUCCEEDED", None)
    assert_told(unusual, "Model in service", f"{len(UNUSUAL) + 2} files under 'raw/'", f"{1 + len(NO_DATA)} ignored")
    assert app.parameters()["run"] == unusual.run.run_id


@pytest.mark.parametrize("case", [pytest.param(name, marks=matrix("Data", name, ends="Succeeded")) for name in UNUSUAL])
def test_what_is_unusual_but_sound_is_trained_on_whole(app: App, unusual: End, case: str) -> None:
    name, _, rows = UNUSUAL[case]
    files = {file["name"]: file for file in situation.report(app, unusual.run)["files"]}
    readable = "".join(char if char.isprintable() else "?" for char in name)
    found = files[f"raw/unusual/{readable}"]
    assert found["rows"] - found["quarantined"] == rows


@matrix("Data", "few broken rows are put aside, and the rest trains", ends="Succeeded")
def test_few_broken_rows_are_in_quarantine_and_do_not_fail_the_run(app: App, unusual: End) -> None:
    rows = situation.quarantine(app, unusual.run)
    assert len(rows) == 4
    assert {row["file"] for row in rows} == {"raw/unusual/few.csv"}
    assert sorted(reason for row in rows for reason in row["reasons"])[-1] == "the row has 3 fields, expected 9"


@matrix("Data", "duplicate rows", ends="Succeeded")
def test_rows_that_are_there_twice_are_counted(app: App, unusual: End) -> None:
    assert situation.report(app, unusual.run)["duplicates"]["rows"] >= len(ROWS)


@matrix("Data", "one bad file among good ones", ends="Succeeded")
def test_a_file_that_cannot_be_read_is_put_aside_with_one_mail_and_stops_nothing(app: App, unusual: End) -> None:
    command = f"aws s3 rm 's3://{app.bucket}/{STRAY}'"
    assert_told(unusual, "1 put aside", f"{STRAY}: no column name of the definition stands in the first line", command)
    (aside,) = app.record(unusual.run)["data"]["aside"]
    assert aside["Key"] == STRAY
    arn = situation.start_with(app, {"Trigger": {"Type": "Schedule"}})
    end = situation.ends(app, {"again": arn}, silent=True)["again"]
    assert (end.run.status, end.run.output["Decision"], end.mails) == ("SUCCEEDED", "AlreadyTrained", ())
    assert unusual.run.run_id in end.run.output["Reason"]


@matrix("Data", "a file of the model in service is replaced by one that cannot be read", ends="Failed")
def test_rows_that_the_model_in_service_was_trained_on_are_not_left_out_quietly(app: App, unusual: End) -> None:
    with situation.unchanged(app, dropped=1):
        end = situation.dropped(app, "raw/cars.csv", TORN)
    assert (end.run.status, end.run.error) == ("FAILED", "States.TaskFailed")
    assert_told(
        end,
        "rows that the model in service was trained on cannot be read any more",
        "raw/cars.csv (400 rows): the gzip data are damaged or cut off",
        "To train without its rows on purpose, take it away",
    )
    before = situation.executions(app)
    situation.put(app, "raw/cars.csv", FEW)
    (arn,) = situation.started_since(app, before)
    again = situation.ends(app, {"again": arn}, silent=True)["again"]
    assert (again.run.status, again.run.output["Decision"]) == ("SUCCEEDED", "AlreadyTrained")


def test_no_mail_has_come_that_tells_of_no_run(app: App, unusual: End) -> None:
    assert situation.strays(app) == []
