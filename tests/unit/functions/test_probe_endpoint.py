"""The function "Probe endpoint": which rows the endpoint is asked about, what it answers, and what is left behind."""

import json

import numpy as np
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from perennial.data.rows import FOLDER, specification
from perennial.model import definition
from perennial.runs.endpoint import own_question
from tests.unit.conftest import BUCKET, ROOT, STACK, load_function, refusal

MODEL = definition.load(ROOT / "models" / "used-cars" / "model.yaml").as_json()
RUN, LATER, LATEST = "20261120100000-0a1b", "20261121100000-0a1b", "20261122100000-0a1b"
WINDOW = "20261129100000-0a1b"
LISTED_AT = "2026-11-21T10:00:00Z"
SEEN, TESTED = [1, 2, 3], [4, 5]


@pytest.fixture
def app(aws):
    return load_function("probe_endpoint")


@pytest.fixture
def probe(aws, app, lambda_context):
    """Call the function; returns what it has left."""

    def call(rows=500):
        watched = {**MODEL, "monitoring": {**MODEL["monitoring"], "probing": {"enabled": True, "rows": rows}}}
        aws.put(f"monitoring/{WINDOW}/config.json", json.dumps({"definition": watched}))
        event = {"WindowId": WINDOW, "RunId": RUN, "Prefix": f"s3://{BUCKET}/monitoring/{WINDOW}"}
        answer = app.handler(event, lambda_context)
        document = aws.get_json(f"monitoring/{WINDOW}/probe.json")
        reason = document.get("reason") or document.get("failed") or ""
        assert answer == {"Rows": len(document.get("scores", [])), "Reason": reason}
        return document

    return call


@pytest.fixture
def serves(answers):
    """Let the endpoint serve the model of a run, and answer a record with a tenth of its mileage; returns requests."""

    def serve(*replies, config=f"{STACK}-{RUN}", then=None):
        described = [
            (200, {"EndpointName": STACK, "EndpointStatus": "InService", "EndpointConfigName": name})
            for name in (config, then or config)
        ]
        answers("sagemaker", "DescribeEndpoint", *described)
        return answers("sagemaker-runtime", "InvokeEndpoint", *(replies or [scored]))

    return serve


def scored(request):
    lines = request.body.decode().splitlines()
    return 200, "\n".join(json.dumps({"score": json.loads(line)["mileage"] / 10}) for line in lines)


def hashes(aws, run, folder, numbers, part=0):
    aws.put(f"runs/{run}/{FOLDER}/{folder}/part-{part:05}.u64", np.array(numbers, "<u8").tobytes())


def model_run(aws, seen=SEEN):
    aws.put(f"runs/{RUN}/config.json", json.dumps({"definition": MODEL}))
    report = {"identity": specification(MODEL), "sets": {"train": 2, "validation": 1, "test": 2}}
    aws.put(f"runs/{RUN}/report/report.json", json.dumps(report))
    hashes(aws, RUN, "seen", seen)
    hashes(aws, RUN, "test", TESTED)


def later_run(aws, *parts, run=LATER, model=MODEL, withheld=(), prefix="raw/"):
    """Leave the test set of a run: the row with the hash 7 has a mileage of 70 and a price of 8."""
    files = [{"Key": f"{prefix}{name}.csv", "VersionId": f"v-{name}"} for name in ("old", "new")]
    data = {
        "bucket": BUCKET, "prefix": prefix, "fingerprint": "f1", "listed_at": LISTED_AT, "file_count": 2,
        "manifest": f"s3://{BUCKET}/runs/{run}/manifest.json", "files": files,
    }  # fmt: skip
    config = {"definition": model, "withheld": list(withheld), "data": data}
    aws.put(f"runs/{run}/config.json", json.dumps(config))
    for part, numbers in enumerate(parts):
        hashes(aws, run, "test", numbers, part)
        aws.put(f"runs/{run}/labels/part-{part:05}.csv", "".join(f"{number + 1}\n" for number in numbers))
        records = "".join(json.dumps({"mileage": number * 10}) + "\n" for number in numbers)
        aws.put(f"runs/{run}/test/part-{part:05}.jsonl", records)


def asked(requests):
    return [[json.loads(line)["mileage"] // 10 for line in request.body.decode().splitlines()] for request in requests]


# ---- Which rows


def test_the_endpoint_is_asked_about_rows_that_its_model_has_neither_trained_nor_been_tested_on(aws, probe, serves):
    model_run(aws)
    later_run(aws, [1, 9, 4], [10, 3, 11])
    requests = serves()
    document = probe()
    assert asked(requests) == [[9, 10, 11]]
    assert (document["labels"], document["scores"]) == ([10.0, 11.0, 12.0], [9.0, 10.0, 11.0])
    about = document["about"]
    assert (about["run"], about["rows"], about["refused"], about["unasked"]) == (LATER, 3, 0, 0)
    assert about["data"]["newest"] == {"Key": "raw/new.csv", "VersionId": "v-new"}
    assert (about["data"]["files"], about["data"]["listed_at"]) == (2, LISTED_AT)


def test_of_more_rows_than_wanted_the_newest_are_asked_about(aws, probe, serves):
    model_run(aws)
    later_run(aws, [9, 10], [11, 1, 12, 13])
    requests = serves()
    assert probe(rows=4)["labels"] == [11.0, 12.0, 13.0, 14.0]
    assert asked(requests) == [[10, 11, 12, 13]]


def test_the_newest_run_that_has_left_a_whole_test_set_is_taken(aws, probe, serves):
    model_run(aws)
    later_run(aws, [9])
    later_run(aws, [10], run=LATEST)
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{LATEST}/test/part-00000.jsonl")
    serves()
    assert probe()["about"]["run"] == LATER
    aws.put(f"runs/{LATEST}/test/part-00000.jsonl", '{"mileage": 100}\n')
    assert probe()["about"]["run"] == LATEST
    aws.put(f"runs/{LATEST}/test/part-00000.jsonl", "")
    assert probe()["about"]["run"] == LATER


def test_what_an_input_has_decided_is_no_data_of_the_stack(aws, probe, serves):
    model_run(aws)
    later_run(aws, [9], withheld=["replay"])
    later_run(aws, [10], run=LATEST, prefix="theirs/")
    requests = serves()
    assert probe() == {
        "reason": f"no run since {RUN}, whose model answers, has left a test set of new data that is still there"
    }
    assert requests == []


def test_rows_whose_twins_under_another_key_were_trained_on_are_none(aws, probe, serves):
    model_run(aws)
    later_run(aws, [9, 10])
    hashes(aws, RUN, "seen-rest", [90])
    hashes(aws, LATER, "rest", [90, 91])
    serves()
    assert probe()["labels"] == [11.0]


def changed(column, **keys):
    return {**MODEL, "columns": {**MODEL["columns"], column: {**MODEL["columns"][column], **keys}}}


OTHERS = [
    (changed("make", source="brand"), "by other columns"),
    ({**MODEL, "target": "mileage"}, "by other columns"),
    (changed("price", unit="EUR"), "another unit"),
]


@pytest.mark.parametrize(("model", "says"), OTHERS)
def test_rows_that_mean_something_else_to_the_model_are_none(aws, probe, serves, model, says):
    model_run(aws)
    later_run(aws, [9], model=model)
    serves()
    assert says in probe()["reason"]


def test_rows_that_are_all_known_are_none(aws, probe, serves):
    model_run(aws)
    later_run(aws, [1, 4])
    serves()
    assert probe() == {"reason": f"its model has seen all rows of the test set of run {LATER}, the newest one"}


def test_without_the_whole_list_of_what_was_trained_on_nothing_is_asked(aws, probe, serves):
    model_run(aws, seen=SEEN[:2])
    later_run(aws, [9])
    requests = serves()
    assert "2 of the 3 hashes of the rows that its model has seen are there" in probe()["reason"]
    aws.put(f"runs/{RUN}/report/report.json", "{}")
    assert "left no list of the rows that it has seen" in probe()["reason"]
    assert requests == []


# ---- Asking


def test_questions_go_together_under_ids_that_tell_them_from_traffic(aws, probe, serves):
    model_run(aws)
    later_run(aws, range(100, 350))
    requests = serves()
    assert probe()["about"]["rows"] == 250
    assert [len(one) for one in asked(requests)] == [100, 100, 50]
    ids = [request.headers["X-Amzn-SageMaker-Inference-Id"] for request in requests]
    texts = [one.decode() if isinstance(one, bytes) else one for one in ids]
    assert texts == [f"probe-{WINDOW}-{number}" for number in range(3)]
    assert {own_question(text) for text in texts} == {"probe-"}


def test_a_record_that_is_refused_is_left_out_and_the_others_are_judged(aws, probe, serves):
    refused = (
        424,
        {"__type": "ModelError", "OriginalStatusCode": 400, "OriginalMessage": "make: 'Lada'", "Message": "x"},
    )
    model_run(aws)
    later_run(aws, [9, 10, 11, 12])
    serves(lambda request: refused if b'"mileage": 110' in request.body else scored(request))
    document = probe()
    assert document["labels"] == [10.0, 11.0, 13.0]
    assert (document["about"]["rows"], document["about"]["refused"]) == (3, 1)


def test_asking_ends_when_its_time_is_over(aws, app, probe, serves, monkeypatch):
    clock = [0.0]

    def slowly(request):
        clock[0] = app.SECONDS + 1.0
        return scored(request)

    monkeypatch.setattr(app.time, "monotonic", lambda: clock[0])
    model_run(aws)
    later_run(aws, range(100, 350))
    requests = serves(slowly)
    about = probe()["about"]
    assert (len(requests), about["rows"], about["unasked"]) == (1, 100, 150)


def test_looking_for_the_rows_takes_of_the_time_of_asking(aws, app, probe, serves, monkeypatch):
    """Lambda ends the function, and with it the window, that begins to ask when half of its time is over."""
    clock, newest = [0.0], app.unseen_rows.newest

    def slow(*given):
        rows = newest(*given)
        clock[0] = app.SECONDS + 1.0
        return rows

    monkeypatch.setattr(app.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(app.unseen_rows, "newest", slow)
    model_run(aws)
    later_run(aws, [9, 10, 11])
    requests = serves()
    assert (probe()["about"]["unasked"], len(requests)) == (3, 0)


def test_reading_what_its_model_has_seen_is_bounded_in_time(aws, app, probe, serves, monkeypatch):
    clock, read = [0.0], app.objects.read_hashes

    def slow(prefix_uri):
        for piece in read(prefix_uri):
            clock[0] += app.SECONDS + 1.0 if "/seen/" in prefix_uri else 0.0
            yield piece

    monkeypatch.setattr(app.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(app.objects, "read_hashes", slow)
    model_run(aws)
    later_run(aws, [9, 10, 11])
    requests = serves()
    assert "took too long" in probe()["reason"]
    assert requests == []


FAILURES = [
    ((424, {"__type": "ModelError", "OriginalStatusCode": 500, "OriginalMessage": "no such column"}), "no such column"),
    (refusal("InternalFailure", "try later"), "try later"),
    (ReadTimeoutError(endpoint_url="https://runtime"), "does not answer"),
    ((200, '{"score": 1}'), "1 scores for 2 records"),
    ((200, "<html>\n<html>"), "expected a number"),
]


@pytest.mark.parametrize(("reply", "says"), FAILURES)
def test_how_the_endpoint_fails_is_left_for_the_job(aws, probe, serves, reply, says):
    model_run(aws)
    later_run(aws, [9, 10])
    serves(reply)
    assert says in probe()["failed"]


def test_a_missing_permission_is_no_fault_of_the_endpoint(aws, probe, serves):
    model_run(aws)
    later_run(aws, [9])
    serves(refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        probe()


@pytest.mark.parametrize("other", [{"config": f"{STACK}-{LATER}"}, {"then": f"{STACK}-{LATER}"}])
def test_answers_of_another_model_than_the_windows_are_none(aws, probe, serves, other):
    model_run(aws)
    later_run(aws, [9])
    serves(**other)
    assert probe() == {"reason": f"the model of run {RUN} does not serve now, or is about to be replaced"}


def test_an_endpoint_that_is_gone_is_asked_nothing(aws, answers, probe):
    answers("sagemaker", "DescribeEndpoint", refusal("ValidationException", "Could not find endpoint"))
    assert "does not serve now" in probe()["reason"]
