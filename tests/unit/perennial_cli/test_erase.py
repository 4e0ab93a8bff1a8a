"""`make erase`: rows of somebody go from data, captures and runs, in all versions; what stays is told."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from perennial.data.copies import copy_name
from perennial.runs import naming, work
from perennial_cli import erase
from perennial_cli.without_rows import Wanted
from tests.command import exit_code, perennial, says
from tests.unit.conftest import BUCKET, EXECUTION_ARN, REGION, STACK, FakeAws, refusal
from tests.unit.perennial_cli.test_stacks import MISSING, listed

OLD, SERVING = "20261101000000-aaaa", "20261120000000-bbbb"  # runs; the model of the first is gone
MODEL = (Path(__file__).parents[3] / "models/used-cars/model.yaml").read_text()
CODE = "code/0123456789abcdef"
HEADER, MINE, OTHER = b"price,customer_id\n", b"1,17\n", b"2,18\n"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:{STACK}-train-model"
MONITOR = MACHINE.replace("train", "monitor")
COPY = "copies/0123456789abcdef0123456789abcdef-cars.csv"
OF_RUN = (*erase.DERIVED, *erase.LEARNED)


@pytest.fixture
def stack(aws: FakeAws, answers: Callable[..., list[Any]]) -> Iterator[FakeAws]:
    """A stack whose second run serves; both have trained on the rows."""
    answers("cloudformation", "DescribeStacks", described())
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    aws.put(f"{CODE}/code.zip", zipped(MODEL))
    aws.put(f"{CODE}/unpack.py", b"customer_id\n17\n")
    aws.serve(SERVING)
    for run in (OLD, SERVING):
        for part in OF_RUN:
            aws.put(f"runs/{run}/{part}" + ("part-00000" if part.endswith("/") else ""), "made of it")
        aws.put(f"runs/{run}/config.json", "{}")
        aws.put(f"runs/{run}/input.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/copies/"}, COPY[7:]]))
    aws.put(COPY, HEADER + MINE + OTHER)
    return aws


def zipped(model: str) -> bytes:
    """Job code with the definition of the stack's model."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("models/used-cars/model.yaml", model)
    return content.getvalue()


def described(data_bucket: str = BUCKET) -> tuple[int, str]:
    outputs = {
        "BucketName": BUCKET,
        "DataBucketName": data_bucket,
        "CodeUri": f"s3://{BUCKET}/{CODE}",
        "StateMachineArn": MACHINE,
        "MonitorStateMachineArn": MONITOR,
    }
    given = {
        "ModelName": "used-cars",
        "DataPrefix": "raw/",
        "ModelsToKeep": "5",
        "CaptureDays": "365",
        "LogRetentionDays": "90",
    }

    def members(key: str, value: str, pairs: dict[str, str]) -> str:
        listed = (f"<member><{key}>{one}</{key}><{value}>{two}</{value}></member>" for one, two in pairs.items())
        return "".join(listed)

    return 200, (
        '<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>'
        f"<Stacks><member><StackName>{STACK}</StackName><CreationTime>2026-11-20T00:00:00Z</CreationTime>"
        f"<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{members('OutputKey', 'OutputValue', outputs)}</Outputs>"
        f"<Parameters>{members('ParameterKey', 'ParameterValue', given)}</Parameters></member></Stacks>"
        "</DescribeStacksResult></DescribeStacksResponse>"
    )


def erased(*options: str) -> int:
    return exit_code("erase", STACK, "customer_id=17", "--yes", *options)


def everything(aws: FakeAws) -> dict[str, list[bytes]]:
    """Each version of each object, the newest first."""
    return aws.versions()


def of_run(objects: dict[str, list[bytes]], run: str) -> set[str]:
    return {key.removeprefix(f"runs/{run}/") for key in objects if key.startswith(f"runs/{run}/")}


def for_good(aws: FakeAws, key: str) -> None:
    """Delete each version of an object."""
    for one in aws.client("s3").list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]:
        aws.client("s3").delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])


def without_copy(aws: FakeAws, body: bytes) -> str:
    """Drop a file whose copy both runs have trained on, and which has expired since; return the file's version."""
    version = aws.put("raw/cars.csv", body)
    etag = aws.client("s3").head_object(Bucket=BUCKET, Key="raw/cars.csv")["ETag"].strip('"')
    name = copy_name({"Key": "raw/cars.csv", "VersionId": version, "ETag": etag})
    for_good(aws, COPY)
    for run in (OLD, SERVING):
        for_good(aws, f"runs/{run}/input.manifest")
        aws.put(f"runs/{run}/input.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/copies/"}, name]))
    return version


def test_a_run_whose_copies_have_expired_is_known_by_the_files_that_they_were_made_of(stack):
    version = without_copy(stack, HEADER + MINE + OTHER)
    stack.client("s3").delete_object(Bucket=BUCKET, Key="raw/cars.csv")  # its version is there until it expires, too
    assert erased() == 0
    assert of_run(everything(stack), OLD) == {"config.json", "input.manifest"}
    assert version not in str(stack.client("s3").list_object_versions(Bucket=BUCKET, Prefix="raw/").get("Versions"))


def test_a_run_is_named_of_which_neither_copy_nor_file_is_there_while_something_is_left_of_it(stack, capsys):
    without_copy(stack, HEADER + MINE + OTHER)
    for_good(stack, "raw/cars.csv")
    stack.put("raw/others.csv", HEADER + OTHER)
    for part in OF_RUN:
        for_good(stack, f"runs/{OLD}/{part}")
    assert exit_code("erase", STACK, "customer_id=17") == 0
    told = capsys.readouterr().out
    assert "nobody can tell whether they had such rows" in told
    assert f"  run {SERVING}: 1 file\n" in told
    assert f"run {OLD}: 1 file" not in told
    assert exit_code("erase", STACK, "customer_id=17", "--json") == 0
    assert json.loads(capsys.readouterr().out)["files_gone"] == {SERVING: 1}


def test_no_run_is_named_whose_copies_are_there(stack, capsys):
    assert exit_code("erase", STACK, "customer_id=99") == 0
    assert "nobody can tell whether they had" not in capsys.readouterr().out


def test_without_yes_it_shows_what_it_would_change_and_changes_nothing(stack, capsys):
    stack.put("raw/cars.csv", HEADER + MINE)
    stack.put("raw/cars.csv", HEADER + MINE + OTHER)
    before = everything(stack)
    assert exit_code("erase", STACK, "customer_id=17") == 0
    assert everything(stack) == before
    told = capsys.readouterr().out
    assert "\nThis is a look, which changes nothing: with --yes (make: YES=1)\n  runs/" in told
    older = "and deleted for good: 1 older version with such rows"
    assert f"raw/cars.csv: would be erased: 1 of 2 rows; {older}\n" in told
    assert f"{COPY}: would be erased: 1 of 2 rows\n" in told
    assert f"runs/{SERVING}/: would be deleted: its sets and predictions (15 object versions)\n" in told
    learned = "and what was learned, as no model of it is there"
    assert f"runs/{OLD}/: would be deleted: its sets and predictions, {learned} (21" in told
    assert told.endswith("Nothing was changed. To change it: --yes (make: YES=1)\n")


def test_a_key_is_told_without_what_a_terminal_obeys(stack, capsys):
    key = "raw/\x9b31m\u202eowned.csv"  # what XML can hold
    stack.put(key, HEADER + MINE)
    erased()
    told = capsys.readouterr().out
    assert r"erased: raw/\u009b31m\u202eowned.csv" in told
    assert all(line.isprintable() for line in told.split("\n"))


def test_a_file_is_replaced_and_its_versions_with_such_rows_are_gone(stack, capsys):
    for body in (HEADER + OTHER, HEADER + MINE, HEADER + OTHER + MINE):
        stack.put("raw/cars.csv", body)
    stack.client("s3").put_object(
        Bucket=BUCKET, Key="raw/typed.csv", Body=HEADER + MINE + OTHER, ContentType="text/csv"
    )
    assert erased() == 0
    now = everything(stack)
    assert now["raw/cars.csv"] == [HEADER + OTHER, HEADER + OTHER]
    assert now["raw/typed.csv"] == [HEADER + OTHER]
    assert stack.client("s3").head_object(Bucket=BUCKET, Key="raw/typed.csv")["ContentType"] == "text/csv"
    assert now[f"{CODE}/unpack.py"] == [b"customer_id\n17\n"]
    assert (
        "What was replaced starts a run, as any drop does: its model has not seen the rows" in capsys.readouterr().out
    )


def test_a_file_that_is_replaced_keeps_its_place_among_the_others(stack):
    """Under a key the file counts that came last: an old one without a row must not come after its correction."""
    stack.put("raw/old.csv", HEADER + MINE + OTHER)
    before = stack.client("s3").head_object(Bucket=BUCKET, Key="raw/old.csv")["LastModified"]
    for _ in range(2):
        assert erased() == 0
        head = stack.client("s3").head_object(Bucket=BUCKET, Key="raw/old.csv")
        assert work.dropped_at(head, head["LastModified"]) == before
        stack.client("s3").put_object(
            Bucket=BUCKET, Key="raw/old.csv", Body=HEADER + MINE + OTHER, Metadata=head["Metadata"]
        )


def test_labelled_rows_of_the_monitor_are_its_own_no_more_when_some_were_erased(stack, capsys):
    key = naming.labelled_key("raw/", "2026-11-29T10:00:00Z", "2026-11-29T11:00:00Z")
    s3 = stack.client("s3")
    s3.put_object(Bucket=BUCKET, Key=key, Body=HEADER + MINE + OTHER, Metadata={work.JUDGED_WINDOW: "20261129-0a1b"})
    assert work.is_of_monitor(s3.head_object(Bucket=BUCKET, Key=key))
    assert erased() == 0
    assert everything(stack)[key] == [HEADER + OTHER]
    assert not work.is_of_monitor(s3.head_object(Bucket=BUCKET, Key=key))
    assert "starts a run" in capsys.readouterr().out


def test_a_file_of_nobody_else_is_deleted_and_no_older_version_comes_back(stack):
    stack.put("raw/mine.csv", HEADER + OTHER)
    stack.put("raw/mine.csv", HEADER + MINE)
    assert erased() == 0
    assert stack.keys("raw/") == []
    assert everything(stack)["raw/mine.csv"] == [HEADER + OTHER]


def test_of_a_file_of_nobody_else_nothing_is_left(stack):
    stack.put("raw/mine.csv", HEADER + MINE)
    stack.put("raw/mine.csv", HEADER + MINE + MINE)
    assert erased() == 0
    listed = stack.client("s3").list_object_versions(Bucket=BUCKET, Prefix="raw/")
    assert (listed.get("Versions"), listed.get("DeleteMarkers")) == (None, None)


def test_rows_that_were_taken_away_before_are_erased_too(stack):
    stack.put("other-folder/mine.csv", HEADER + MINE)
    stack.client("s3").delete_object(Bucket=BUCKET, Key="other-folder/mine.csv")
    assert erased() == 0
    assert "other-folder/mine.csv" not in everything(stack)
    assert erased() == 0


def test_of_a_run_everything_that_was_made_of_the_rows_goes_and_what_serves_stays(stack, capsys):
    stack.put(f"runs/{SERVING}/train/part-00000", "another version")
    assert erased() == 0
    now = everything(stack)
    learned = {f"{part}part-00000" for part in erase.LEARNED}
    assert of_run(now, SERVING) == {*learned, "config.json", "erased.json", "input.manifest"}
    assert of_run(now, OLD) == {"config.json", "input.manifest"}
    assert now[COPY] == [HEADER + OTHER]
    told = capsys.readouterr().out
    assert f"the model of run {SERVING}, its preprocessor, its baselines and hashes of its rows: until a later" in told
    assert "deletes the model, as the newest 5 are kept" in told
    assert "in logs 90 days" in told


@pytest.mark.parametrize("lists", ["", "overridable: &o [gate.minimum_improvement]\ndeployable_overrides: *o\n"])
def test_while_the_model_in_service_knows_the_rows_it_says_how_another_comes(stack, capsys, lists):
    stack.put(f"{CODE}/code.zip", zipped(re.sub("(?m)^overridable:.*", "", MODEL) + lists))
    assert erased() == 0
    first = capsys.readouterr().out
    assert exit_code("erase", STACK, "customer_id=17") == 0
    for told in (first, capsys.readouterr().out):
        assert f"The model in service (run {SERVING}) was trained with these rows. It serves on until" in told
        assert ("in models/used-cars/model.yaml, under gate: minimum_improvement: -0.02" in told) == (not lists)
        given = '{"Overrides": {"GateMinimumImprovement": -0.02}}' if lists else "{}"
        command = f"aws stepfunctions start-execution --state-machine-arn {MACHINE} --input '{given}'\n"
        assert told.endswith(f"  {command}")
    stack.serve("20261121000000-cccc")
    assert erased() == 0
    assert "The model in service" not in capsys.readouterr().out


def test_what_was_learned_goes_once_the_model_is_gone(stack, capsys):
    assert erased() == 0
    stack.client("sagemaker").delete_model(ModelName=f"{STACK}-{SERVING}")
    assert exit_code("erase", STACK, "customer_id=17") == 0
    assert (
        f"runs/{SERVING}/: would be deleted: its sets and predictions, and what was learned" in capsys.readouterr().out
    )
    assert erased() == 0
    assert of_run(everything(stack), SERVING) == {"config.json", "input.manifest"}
    capsys.readouterr()
    assert erased() == 0
    assert "\n  none\n" in capsys.readouterr().out


def test_what_a_run_that_began_meanwhile_made_of_the_rows_goes_too(stack, monkeypatch, capsys):
    """Once the copies are clean nothing else ties it to the rows; what it writes later is found by its mark."""
    late, real = "20261121000000-cccc", erase.Eraser.erase

    def begins(eraser: Any, hits: Any) -> Any:
        stack.put(f"runs/{late}/input.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/copies/"}, COPY[7:]]))
        stack.put(f"runs/{late}/train/part-00000", "made of it")
        return real(eraser, hits)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(erase.Eraser, "erase", begins)
        assert erased() == 0
    assert of_run(everything(stack), late) == {"erased.json", "input.manifest"}
    stack.put(f"runs/{late}/quarantine/part-00000", "made of it")
    assert erased() == 0
    assert "quarantine/part-00000" not in of_run(everything(stack), late)


PROMOTED = "20261125000000-cccc"
TESTED = b'{"customer_id": 17, "mileage": 1}\n{"customer_id": 18, "mileage": 2}\n'


def promoted(stack, parts: dict[str, bytes]) -> None:
    """A run whose version has come from another environment, with what has come along."""
    record = {"run_id": PROMOTED, "promotions": [{"stack": "cars-dev"}]}
    for name, body in {"run.json": json.dumps(record).encode(), "rows/seen.u64": b"12345678", **parts}.items():
        stack.put(f"runs/{PROMOTED}/{name}", body)


@pytest.mark.parametrize(
    ("part", "body"),
    [
        ("test/part-00000.jsonl", TESTED),
        ("labels/part-00000.csv", b"customer_id,price\n17,1\n"),
        ("quarantine/part-00000.jsonl", b'{"customer_id": "17", "reason": "price is empty"}\n'),
        ("evaluation/predictions.csv", b"customer_id,prediction\n17,1.0\n"),
        ("verification/records.jsonl", TESTED),
        ("report/problems.txt", b"row 3, customer_id: got '17', expected a number below 10\n"),
    ],
)
@pytest.mark.parametrize("serves", [True, False])
def test_a_run_that_came_from_another_environment_is_found_by_what_came_along(stack, part, body, serves):
    promoted(stack, {part: body, "serving/model.tar.gz": b"m", "report/report.json": b"{}"})
    if serves:
        stack.create_model(f"{STACK}-{PROMOTED}")
    erased()
    left = {"run.json", "report/report.json"} | (
        {"rows/seen.u64", "serving/model.tar.gz", "erased.json"} if serves else set()
    )
    assert of_run(everything(stack), PROMOTED) == left


def test_a_run_that_came_from_another_environment_without_such_rows_stays(stack):
    promoted(stack, {"test/part-00000.jsonl": TESTED.replace(b"17", b"19"), "report/problems.txt": b"got '170'\n"})
    before = of_run(everything(stack), PROMOTED)
    erased()
    assert of_run(everything(stack), PROMOTED) == before


def test_a_run_that_came_from_another_environment_and_does_not_name_the_column_is_named(stack, capsys):
    promoted(stack, {"test/part-00000.jsonl": b'{"mileage": 1}\n', "labels/part-00000.csv": b"price\n1\n"})
    erased()
    told = capsys.readouterr().out
    assert (
        f"Without the column: 1 object; nobody can tell whose rows they hold\n  s3://{BUCKET}/runs/{PROMOTED}/," in told
    )


def test_what_is_protected_is_not_erased_and_nothing_else_is_either(stack, answers, capsys):
    status, text = described()
    member = "<member><ParameterKey>ProtectArtefacts</ParameterKey><ParameterValue>yes</ParameterValue></member>"
    answers("cloudformation", "DescribeStacks", (status, text.replace("<Parameters>", f"<Parameters>{member}")))
    stack.put("raw/cars.csv", HEADER + MINE + OTHER)
    assert exit_code("erase", STACK, "customer_id=17", "--yes") == 1
    told = capsys.readouterr().err
    assert (
        f"deployed with ProtectArtefacts=yes, by which nobody deletes what has served, and the models of {OLD}" in told
    )
    assert stack.client("s3").get_object(Bucket=BUCKET, Key="raw/cars.csv")["Body"].read() == HEADER + MINE + OTHER


def test_a_version_goes_with_what_it_names(stack, answers):
    versions = [
        {"ModelPackageArn": f"arn/{number}", "ModelPackageVersion": number, "ModelPackageDescription": text,
         "CreationTime": 1796000000, "ModelPackageStatus": "Completed"}
        for number, text in ((1, "run 20200101000000-aaaa"), (2, f"run {SERVING}"))
    ]  # fmt: skip
    answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": versions}))
    deleted = answers("sagemaker", "DeleteModelPackage", (200, {}))
    assert erased() == 0
    assert deleted == []  # its model is there
    stack.client("sagemaker").delete_model(ModelName=f"{STACK}-{SERVING}")
    assert erased() == 0
    assert {json.loads(request.body)["ModelPackageName"] for request in deleted} == {"arn/2"}


def test_rows_of_a_stack_without_a_group_are_erased_too(stack, answers):
    answers("sagemaker", "ListModelPackages", refusal("ValidationException", "ModelPackageGroup arn does not exist."))
    stack.client("sagemaker").delete_model(ModelName=f"{STACK}-{SERVING}")
    assert erased() == 0
    assert of_run(everything(stack), SERVING) == {"config.json", "input.manifest"}


def test_captured_requests_that_hold_the_row_go(stack):
    def request(data: str) -> bytes:
        return json.dumps({"captureData": {"endpointInput": {"data": data, "encoding": "CSV"}}}).encode() + b"\n"

    first, second = request("12000,8,2,true,true,true,Opel,wagon"), request("9,8,2,true,true,true,Ford,wagon")
    key = f"capture/{STACK}/AllTraffic/2026/11/20/10/00-00-000-a.jsonl"
    stack.put(key, first + second)
    assert exit_code("erase", STACK, "mileage=12000", "--yes") == 0
    assert everything(stack)[key] == [second]


def test_what_came_back_with_its_label_goes_by_its_key_wherever_it_stands(stack):
    """The id of an inference is the key of its row: in captures, in labels of both forms, in rows of both."""
    sales = (Path(__file__).parents[3] / "models/car-sales/model.yaml").read_text()
    stack.put(f"{CODE}/code.zip", zipped(sales))

    def line(identifier: str, **more: Any) -> bytes:
        return json.dumps({"eventMetadata": {**more, "eventId": identifier}}).encode() + b"\n"

    def asked(identifier: str) -> bytes:
        data = {"data": "12000,8,2,1,1,1,Saab,wagon", "encoding": "CSV"}
        metadata = {"eventId": "e", "inferenceId": identifier}
        return json.dumps({"captureData": {"endpointInput": data}, "eventMetadata": metadata}).encode() + b"\n"

    kept = {
        f"capture/{STACK}/AllTraffic/2026/11/20/10/a.jsonl": (asked("s-1"), asked("s-2")),
        "ground-truth/2026/11/20/10/a.jsonl": (line("s-1"), line("s-2")),
        "ground-truth/sold.csv": (b"inference_id,label\ns-1,5\n", b"s-2,6\n"),
        "monitoring/20261120000000-aaaa/labelled/w.csv": (b"\xef\xbb\xbfprice,sale\n5,s-1\n", b"6,s-2\n"),
        "raw/labelled/w.csv": (b"price,sale\n5,s-1\n", b"6,s-2\n"),
    }
    for key, parts in kept.items():
        stack.put(key, b"".join(parts))
    assert exit_code("erase", STACK, "sale=s-1", "--yes") == 0
    left = everything(stack)
    for key, (mine, other) in kept.items():
        header = mine.splitlines(keepends=True)[0] if key.endswith(".csv") else b""
        assert left[key] == [header + other]


WINDOW, OTHER_WINDOW = "monitoring/20261120110000-aaaa", "monitoring/20261120120000-bbbb"
CAPTURED = f"{STACK}/AllTraffic/2026/11/20/10/a.jsonl"


def judged(aws: FakeAws, folder: str, verdict: dict[str, Any], **manifests: str) -> None:
    """A window as its job has left it: judged by these files, one of each kind."""
    for name, key in manifests.items():
        name = name.replace("_", "-")
        aws.put(f"{folder}/{name}.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/{name}/"}, key]))
    aws.put(f"{folder}/config.json", "{}")
    aws.put(f"{folder}/verdict.json", json.dumps(verdict))
    aws.put(f"{folder}/report.html", "<p>a dot</p>")
    aws.put(f"{folder}/data-quality/statistics.json", json.dumps({"features": []}))
    aws.put(f"{folder}/labelled/lineage.json", "{}")


def of_window(objects: dict[str, list[bytes]], folder: str) -> set[str]:
    return {key.removeprefix(f"{folder}/") for key in objects if key.startswith(f"{folder}/")}


WHOLE = {"config.json", "verdict.json", "report.html", "data-quality/statistics.json", "labelled/lineage.json"}
KEPT = {"config.json", "verdict.json", "labelled/lineage.json"}


def test_what_windows_made_of_an_erased_key_goes_and_their_verdicts_stay_without_it(stack, capsys):
    sales = (Path(__file__).parents[3] / "models/car-sales/model.yaml").read_text()
    stack.put(f"{CODE}/code.zip", zipped(sales))
    data = {"data": "12000,8,2,1,1,1,Saab,wagon", "encoding": "CSV"}
    request = {"captureData": {"endpointInput": data}, "eventMetadata": {"eventId": "e", "inferenceId": "s-1"}}
    stack.put(f"capture/{CAPTURED}", json.dumps(request) + "\n")
    verdict = {
        "verdict": "Drift",
        "reasons": ["make: 3 % of the values are new, such as 's-1'", "make: 's-10' stays"],
        "collected": {"requests": 5, "examples": ["'s-1': an answer of type 'text/csv' holds no scores"]},
    }
    judged(stack, WINDOW, {**verdict, "reasons": ["an older version, of 's-1'"]})
    judged(stack, WINDOW, verdict, capture=CAPTURED, ground_truth="sold.csv")
    other = {**verdict, "reasons": [], "collected": {"examples": ["'s-2': no JSON"]}}
    judged(stack, OTHER_WINDOW, other, capture=CAPTURED.replace("a.jsonl", "b.jsonl"))
    assert exit_code("erase", STACK, "sale=s-1") == 0
    told = f"\n  {WINDOW}/: would be deleted: report, statistics and examples (6 object versions)\n"
    assert told in capsys.readouterr().out
    assert exit_code("erase", STACK, "sale=s-1", "--yes") == 0
    left = everything(stack)
    assert of_window(left, WINDOW) == KEPT | {"capture.manifest", "ground-truth.manifest"}
    assert of_window(left, OTHER_WINDOW) == WHOLE | {"capture.manifest"}
    assert [json.loads(body) for body in left[f"{WINDOW}/verdict.json"]] == [
        {
            "verdict": "Drift",
            "reasons": ["make: 3 % of the values are new, such as (erased)", "make: 's-10' stays"],
            "collected": {"requests": 5, "examples": []},
        }
    ]
    assert json.loads(left[f"{OTHER_WINDOW}/verdict.json"][0]) == other
    assert not [key for key, bodies in left.items() if any(b"'s-1'" in body for body in bodies)]
    capsys.readouterr()
    assert exit_code("erase", STACK, "sale=s-1", "--yes") == 0
    assert "\n  none\n" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["ground-truth/sold.csv", f"{WINDOW}/labelled/rows.csv"])
def test_a_window_is_found_by_a_label_and_by_a_labelled_row_too(stack, where):
    sales = (Path(__file__).parents[3] / "models/car-sales/model.yaml").read_text()
    stack.put(f"{CODE}/code.zip", zipped(sales))
    judged(stack, WINDOW, {"verdict": "Drift"}, ground_truth="sold.csv", capture=CAPTURED)  # which has expired
    stack.put(where, b"inference_id,label\ns-1,5\ns-2,6\n")
    assert exit_code("erase", STACK, "sale=s-1", "--yes") == 0
    kept = KEPT | {"ground-truth.manifest", "capture.manifest"}
    assert of_window(everything(stack), WINDOW) - {"labelled/rows.csv"} == kept


@pytest.mark.parametrize("with_label", [True, False])
def test_of_windows_that_have_read_the_same_files_that_of_the_request_goes(stack, with_label):
    """A job reads the files of an hour before and after its window, and all labels that came since it began."""
    sales = (Path(__file__).parents[3] / "models/car-sales/model.yaml").read_text()
    stack.put(f"{CODE}/code.zip", zipped(sales))
    about = {"eventId": "e", "inferenceId": "s-1", "inferenceTime": "2026-11-20T10:59:59.9Z"}
    asked = {"data": "12000,8,2,1,1,1,Saab,wagon", "encoding": "CSV"}
    request = {"captureData": {"endpointInput": asked}, "eventMetadata": about}
    stack.put(f"capture/{CAPTURED}", json.dumps(request) + "\n")
    if with_label:
        stack.put("ground-truth/sold.csv", b"inference_id,label\ns-1,5\ns-2,6\n")
    for folder, start, end in ((WINDOW, "10", "11"), (OTHER_WINDOW, "11", "12")):
        window = {"start": f"2026-11-20T{start}:00:00Z", "end": f"2026-11-20T{end}:00:00Z"}
        judged(stack, folder, {"window": window}, ground_truth="sold.csv", capture=CAPTURED)
    assert exit_code("erase", STACK, "sale=s-1", "--yes") == 0
    manifests = {"ground-truth.manifest", "capture.manifest"}
    assert of_window(everything(stack), WINDOW) == KEPT | manifests
    assert of_window(everything(stack), OTHER_WINDOW) == WHOLE | manifests


def test_what_the_endpoint_was_asked_about_goes_with_the_run_that_the_rows_are_of(stack):
    runs = "20261119000000-0a1b", "20261119000000-0b2c"
    stack.put(f"runs/{runs[0]}/input.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/copies/"}, COPY[7:]]))
    for folder, about in ((WINDOW, {"run": runs[0]}), (OTHER_WINDOW, {"run": runs[1]})):
        judged(stack, folder, {"verdict": "Drift"})
        stack.put(f"{folder}/probe.json", json.dumps({"labels": [1.0], "scores": [2.0], "about": about}))
    stack.put("monitoring/20261120130000-cccc/probe.json", json.dumps({"reason": "no run since"}))
    assert erased() == 0
    assert of_window(everything(stack), WINDOW) == KEPT
    assert of_window(everything(stack), OTHER_WINDOW) == WHOLE | {"probe.json"}


@pytest.mark.parametrize("part", ["distribution", "domains"])
def test_a_window_whose_captures_are_gone_is_found_by_a_text_of_the_column(stack, part):
    texts = {"string_statistics": {"distribution": {"categorical": {"buckets": [{"value": "Saab", "count": 1}]}}}}
    feature = texts if part == "distribution" else {"string_constraints": {"domains": ["Saab"]}}
    for folder, column in ((WINDOW, "make"), (OTHER_WINDOW, "body_type")):
        judged(stack, folder, {"verdict": "Healthy"})
        name = f"{folder}/data-quality/{'statistics' if part == 'distribution' else 'constraints'}.json"
        stack.put(name, json.dumps({"features": [{"name": column, **feature}]}))
    assert exit_code("erase", STACK, "make=Saab", "--yes") == 0
    assert of_window(everything(stack), WINDOW) == KEPT
    assert of_window(everything(stack), OTHER_WINDOW) >= WHOLE


def test_a_list_of_copies_that_cannot_be_read_is_named_and_is_no_success(stack, capsys):
    """Its run counts as one that has read the rows: the next search, without such copies, could not tell any more."""
    stack.put(f"runs/{OLD}/input.manifest", "[]torn")
    assert erased() == 1
    assert of_run(everything(stack), OLD) == {"config.json", "input.manifest"}
    assert f"s3://{BUCKET}/runs/{OLD}/input.manifest (version " in capsys.readouterr().out


def test_a_verdict_that_cannot_be_read_is_named_and_is_no_success(stack, capsys):
    stack.put(f"{WINDOW}/verdict.json", "[]torn")
    assert erased() == 1
    assert f"s3://{BUCKET}/{WINDOW}/verdict.json (version " in capsys.readouterr().out


def test_files_that_were_scored_are_data_and_what_jobs_left_of_them_is_not_looked_into(stack):
    batch = "20261129101500-1a2b"
    rows = [f"batch/{folder}/cars.csv" for folder in ("incoming", f"done/{batch}", f"scored/{batch}")]
    for key in (*rows, f"batch/work/{batch}/input/data", f"batch/scored/{batch}/odd.report.json"):
        stack.put(key, HEADER + MINE + OTHER)
    documents = [
        f"batch/runs/{batch}/verdict.json",
        f"batch/scored/{batch}/cars.csv.report.html",
        f"batch/scored/{batch}/cars.csv.report.json",
        f"batch/work/{batch}/result/report.json",
        f"batch/work/{batch}/predictions/part-00000.jsonl.out",
    ]
    for key in documents:
        stack.put(key, '{\n "rows": 2\n}\n')
    assert erased() == 0
    left = everything(stack)
    assert all(left[key] == [HEADER + OTHER] for key in (*rows, f"batch/scored/{batch}/odd.report.json"))
    assert all(len(left[key]) == 1 for key in documents)


def test_captured_requests_without_the_column_are_named(stack, capsys):
    line = {"captureData": {"endpointInput": {"data": "12000,8,2,true,true,true,Opel,wagon", "encoding": "CSV"}}}
    stack.put(key := f"capture/{STACK}/AllTraffic/2026/11/20/10/00-00-000-a.jsonl", json.dumps(line).encode())
    assert exit_code("erase", STACK, "customer_id=17") == 0
    said = capsys.readouterr().out
    assert f"s3://{BUCKET}/{key}" in said
    assert "captured requests that do not have the column: until 365 days after they were made" in said


def test_captured_requests_of_callers_who_sent_no_id_are_counted_and_named(stack, capsys):
    """SageMaker's own event id says nothing of whose request it was."""
    sales = (Path(__file__).parents[3] / "models/car-sales/model.yaml").read_text()
    stack.put(f"{CODE}/code.zip", zipped(sales))
    data = {"endpointInput": {"data": "12000,8,2,1,1,1,Saab,wagon", "encoding": "CSV"}}
    ids = {"inferenceId": "s-1"}, {"inferenceId": "s-2"}, {}
    lines = [json.dumps({"captureData": data, "eventMetadata": {"eventId": "e", **one}}) for one in ids]
    stack.put(mixed := f"capture/{STACK}/AllTraffic/2026/11/20/10/a.jsonl", "\n".join(lines))
    stack.put(named := mixed.replace("a.jsonl", "b.jsonl"), lines[1])
    assert exit_code("erase", STACK, "sale=s-1") == 0
    said = capsys.readouterr().out
    assert f"  {mixed}: would be erased: 1 of 3 requests\n" in said
    assert f"nobody can tell whose rows they hold\n  s3://{BUCKET}/{mixed}: 1 request\n" in said
    assert f"s3://{BUCKET}/{named}" not in said


def test_what_was_interrupted_is_finished_by_doing_it_again(stack, answers):
    stack.put("raw/1.csv", HEADER + MINE + OTHER)
    stack.put("raw/2.csv", HEADER + OTHER + MINE)
    attempts = 0
    while True:
        answers("s3", "DeleteObjects", None, None, ConnectionError("lost"))
        if erased() == 0:
            break
        attempts += 1
    assert attempts > 1
    now = everything(stack)
    assert not [key for key, bodies in now.items() if any(MINE in body for body in bodies)]
    assert now["raw/1.csv"] == now["raw/2.csv"] == [HEADER + OTHER]
    assert erased() == 0


def test_what_cannot_be_looked_into_is_named_and_is_no_success(stack, answers, capsys):
    version = stack.put("raw/torn.parquet", b"PAR1 and nothing")
    stack.put("raw/readme.txt", "hello")
    stack.put("deployments/20261120000000.json", "{}")
    assert erased() == 1
    told = capsys.readouterr().out
    assert f"s3://{BUCKET}/raw/torn.parquet (version {version}): " in told
    assert (
        f"Without the column: 1 object; nobody can tell whose rows they hold\n  s3://{BUCKET}/raw/readme.txt\n" in told
    )
    assert everything(stack)[COPY] == [HEADER + OTHER]  # the rest is done


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("custmer_id", "did you mean 'customer_id'?"),  # of a file
        ("milage", "did you mean 'mileage'?"),  # of the definition
        ("Boked-By", "did you mean 'Booked-By'?"),  # of Parquet
        ("x", "expected a column of the files"),
    ],
)
def test_a_column_that_nothing_has_is_an_error_that_names_the_nearest(stack, capsys, column, meant):
    sink = io.BytesIO()
    pq.write_table(pa.table({"Booked-By": ["me"]}), sink)
    stack.put("raw/cars.parquet", sink.getvalue())
    assert exit_code("erase", STACK, f"{column}=17", "--yes") == 1
    wanted = f"error: no file of s3://{BUCKET} has a column '{column}', nor does models/used-cars/model.yaml: {meant}\n"
    assert capsys.readouterr().err == wanted


@pytest.mark.parametrize("column", ["Customer ID", "mileage"])
def test_a_column_of_a_file_or_of_the_definition_may_have_no_such_row(stack, capsys, column):
    assert exit_code("erase", STACK, f"{column}=99", "--yes") == 0
    assert capsys.readouterr().err == ""


def test_a_bucket_that_is_not_the_stacks_is_searched_and_left_to_its_owner(stack, answers, capsys):
    s3, name = stack.client("s3"), "their-bucket"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="raw/cars.csv", Body=HEADER + MINE + OTHER)
    s3.put_object(Bucket=name, Key="elsewhere/cars.csv", Body=HEADER + MINE)
    answers("cloudformation", "DescribeStacks", described(name))
    assert erased() == 1
    told = capsys.readouterr().out
    assert (
        "In a bucket that the stack only reads; take the rows out there first, or a run takes them in again:\n" in told
    )
    assert "\n  raw/cars.csv: 1 of 2 rows\n" in told
    assert "elsewhere/" not in told
    assert s3.get_object(Bucket=name, Key="raw/cars.csv")["Body"].read() == HEADER + MINE + OTHER
    assert everything(stack)[COPY] == [HEADER + OTHER]


def test_nothing_is_erased_while_a_run_works(stack, answers, capsys):
    running = {
        "executionArn": EXECUTION_ARN,
        "stateMachineArn": "a",
        "name": "one",
        "status": "RUNNING",
        "startDate": 1,
    }
    none, works = (200, {"executions": []}), (200, {"executions": [running]})
    before = everything(stack)
    for what, replies in (("run(s)", [works]), ("monitor(s)", [none, works])):
        asked = answers("stepfunctions", "ListExecutions", *replies)
        assert erased() == 1
        assert f"1 {what} of {STACK} are working, such as {EXECUTION_ARN}" in capsys.readouterr().err
        assert everything(stack) == before
    assert json.loads(asked[-1].body)["stateMachineArn"] == MONITOR


def test_a_file_that_was_replaced_meanwhile_is_not_overwritten(stack, answers, capsys):
    stack.put("raw/cars.csv", HEADER + MINE + OTHER)
    refused = 412, "<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>"
    asked = answers("s3", "PutObject", None, None, refused)  # after the marks of two runs
    assert erased() == 1
    assert asked[-1].headers["If-Match"]
    told = f"error: s3://{BUCKET}/{COPY}: it was replaced meanwhile. What was"
    assert told in capsys.readouterr().err


def test_other_refusals_of_aws_are_told(stack, answers, capsys):
    answers("s3", "DeleteObjects", (403, "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"))
    assert erased() == 1
    told = capsys.readouterr().err
    assert f"error: s3://{BUCKET}/runs/{OLD}/" in told
    assert "An error occurred (AccessDenied)" in told
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DescribeStacks")
    answers("cloudformation", "DescribeStacks", error)
    assert erased() == 1
    assert "error: An error occurred (AccessDenied)" in capsys.readouterr().err


def test_versions_that_s3_does_not_delete_are_told_though_it_answers_with_200(stack, answers, capsys):
    refused = "".join(
        f"<Error><Key>raw/{number}.csv</Key><VersionId>v{number}</VersionId><Code>AccessDenied</Code>"
        "<Message>not you</Message></Error>"
        for number in range(5)
    )
    answers("s3", "DeleteObjects", (200, f"<DeleteResult>{refused}</DeleteResult>"))
    assert erased() == 1
    told = capsys.readouterr().err
    assert (
        f"error: S3 has not deleted 5 versions: s3://{BUCKET}/raw/0.csv (version v0): AccessDenied: not you; " in told
    )
    assert "; and 2 more. What was erased until now is erased; start again to go on" in told


def test_a_thousand_versions_are_deleted_at_once_and_those_that_hide_others_last(stack, answers, monkeypatch):
    monkeypatch.setattr(erase, "MOST_AT_ONCE", 3)
    for number in range(4):
        for _ in range(2):
            stack.put(f"raw/many-{number}.csv", HEADER + MINE)
    asked = answers("s3", "DeleteObjects", None)
    assert erased() == 0
    keys = [re.findall(rb"<Key>raw/(many-.)\.csv</Key>", request.body) for request in asked]
    assert [names for names in keys if names] == [
        [b"many-0"],
        [b"many-0"],
        [b"many-1"],
        [b"many-1"],
        [b"many-2"],
        [b"many-2"],
        [b"many-3"],
        [b"many-3"],
    ]
    assert not [key for key in everything(stack) if "many" in key]


def test_a_stack_that_is_not_there_is_told(answers, capsys):
    answers("cloudformation", "DescribeStacks", MISSING, listed(STACK))
    assert erased() == 1
    assert f"error: there is no stack {STACK}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lacks", "why"), [("code.zip", f"{CODE}/code.zip, which says how"), ("CaptureDays", "it has no CaptureDays")]
)
def test_a_stack_of_an_earlier_version_is_to_be_deployed_first(stack, answers, capsys, lacks, why):
    if lacks == "code.zip":
        stack.client("s3").delete_object(Bucket=BUCKET, Key=f"{CODE}/code.zip")
    status, text = described()
    answers("cloudformation", "DescribeStacks", (status, text.replace(f">{lacks}<", ">Unknown<")))
    assert erased("--yes") == 1
    told = capsys.readouterr().err
    assert f"error: the stack {STACK} was deployed by an earlier version: " in told
    assert why in told
    assert "Deploy it first (AWS: make deploy, with its ENV; " in told


@pytest.mark.parametrize("rows", ["17", "=17", "customer_id=", "customer_id= "])
def test_what_is_no_column_and_value_is_refused(rows):
    ended = perennial("erase", STACK, rows)
    assert ended.exit_code == 2
    assert "expected COLUMN=VALUE, such as customer_id=17" in " ".join(ended.stderr.replace("│", "").split())


def test_an_empty_name_of_a_stack_is_wrong_use():
    ended = perennial("erase", "", "customer_id=17")
    assert (ended.exit_code, says(ended, "got an empty text; expected the name of a stack")) == (2, True)


def test_a_column_of_the_definition_is_found_by_all_of_its_names():
    from perennial.model import definition

    text = MODEL.replace("make: {type: string}", "make: {type: string, source: [Hersteller, Brand]}")
    stack = erase.Stack(STACK, BUCKET, BUCKET, "", "", {}, definition.parse(text, "model.yaml"))
    assert set(stack.wanted("brand", "Opel").names) == {"brand", "Hersteller", "Brand", "make"}
    assert stack.wanted("customer", "17") == Wanted(("customer",), "17")
    assert not stack.wanted("make", "17").is_a_number
    assert stack.wanted("price", "17").is_a_number


def test_where_rows_are_is_json_for_machines(stack):
    stack.put("raw/cars.csv", HEADER + MINE + OTHER)
    before = everything(stack)
    ended = perennial("erase", STACK, "customer_id=17", "--json")
    assert ended.exit_code == 0
    looked = json.loads(ended.stdout)
    assert everything(stack) == before
    assert looked["erased"] == []
    assert (looked["column"], looked["value"], looked["models_that_stay"]) == ("customer_id", "17", [SERVING])
    assert looked["runs"].keys() == {OLD, SERVING}
    [dropped] = [one for one in looked["objects"] if one["key"] == "raw/cars.csv"]
    assert (len(dropped["versions"]), dropped["rows"], dropped["with_them"]) == (1, 2, 1)
    done = json.loads(perennial("erase", STACK, "customer_id=17", "--json", "--yes").stdout)
    assert {**done, "erased": []} == looked
    assert set(done["erased"]) == {one["key"] for one in looked["objects"]}
    assert everything(stack)["raw/cars.csv"] == [HEADER + OTHER]


def test_series_are_erased_as_a_whole_and_not_by_this_command(
    stack: FakeAws, answers: Callable[..., list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    answers("cloudformation", "DescribeStacks", described())
    stack.put(f"{CODE}/code.zip", zipped((Path(__file__).parents[3] / "models/employment/model.yaml").read_text()))
    assert erased() == 1
    assert "a series is erased as a whole: drop its file again without it" in capsys.readouterr().err
