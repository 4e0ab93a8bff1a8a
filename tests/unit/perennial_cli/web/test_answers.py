"""What the console answers: what commands print with --json, errors in words, and nothing else of the disk."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perennial.runs.costs import DATE
from perennial_cli import local_cloud, run_flow
from perennial_cli.account import Account
from perennial_cli.stacks import Stack
from perennial_cli.web.app import LARGEST_DOCUMENT, NAME_ONE, ONLY_READS, Console, application
from tests import verdicts
from tests.asgi import PORT, SECRET, ask
from tests.command import perennial
from tests.unit.conftest import BUCKET, REGION, FakeAws, refusal

ROOT = Path(__file__).parents[4]
RUN = "20261120093440-1a2b"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:cars"
EXECUTION = f"arn:aws:states:{REGION}:123456789012:execution:cars:one"
HOSTILE = "<img src=x onerror=alert(1)>\"'&\u2028.csv"
ACCOUNT = Account("123456789012", REGION, None)
OUTPUTS = {
    "BucketName": BUCKET, "DataBucketName": BUCKET, "DataPrefix": "raw/", "StateMachineArn": MACHINE,
    "CodeUri": f"s3://{BUCKET}/code/0123", "EndpointName": "cars", "ParameterPrefix": "/cars",
}  # fmt: skip
RECORD = {
    "run_id": RUN, "status": "Failed", "execution": {"started_at": "2026-11-20T09:34:40.000Z", "duration_seconds": 8.1},
    "gate": {"metric": "rmse", "candidate": float("nan"), "threshold": 3000.0},
    "failure": {"error": "JobFailed", "cause": HOSTILE, "state": "Train"},
}  # fmt: skip


@pytest.fixture
def stack(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: Stack("cars", OUTPUTS, {"ModelName": "used-cars"}))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for model in ("used-cars", "employment"):
            archive.write(ROOT / f"models/{model}/model.yaml", f"models/{model}/model.yaml")
    aws.put("code/0123/code.zip", packed.getvalue())
    aws.put(f"runs/{RUN}/run.json", json.dumps(RECORD))
    return aws


@pytest.fixture
def app(stack: FakeAws) -> Any:
    return application(Console(ACCOUNT), PORT, SECRET)


@pytest.fixture
def local(stack: FakeAws) -> Any:
    return application(Console(Account("000000000000", REGION, "http://127.0.0.1:4566")), PORT, SECRET)


# ---- The page


def test_the_page_is_served_and_nothing_else_of_the_disk(app: Any) -> None:
    page = ask(app, "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert ask(app, "/main.js").headers["content-type"].startswith("text/javascript")
    for path in ("/../app.py", "/app.py", "/%2e%2e/app.py", "//etc/passwd", "/page/main.js", "/api/nothing"):
        assert ask(app, path).status == 404, path


# ---- What commands print


@pytest.fixture
def one_run(stack: FakeAws, answers: Callable[..., list[Any]]) -> None:
    item = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "name": "one", "startDate": 1.0, "status": "RUNNING"}
    answers("stepfunctions", "ListExecutions", (200, {"executions": [item]}))
    answers("stepfunctions", "DescribeExecution", (200, {**item, "input": "{}"}))
    pending = {
        "ModelPackageArn": "arn:aws:sagemaker:eu-west-1:1:model-package/cars/3", "ModelPackageVersion": 3,
        "ModelPackageDescription": f"run {RUN}", "ModelApprovalStatus": "PendingManualApproval", "CreationTime": 0.0,
        "ModelPackageStatus": "Completed",
    }  # fmt: skip
    answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": [pending]}))
    answers("sagemaker", "DescribeModelPackage", (200, {**pending, "ModelPackageStatusDetails": {}}))


@pytest.fixture
def one_window(stack: FakeAws) -> None:
    stack.put(f"monitoring/{RUN}/verdict.json", json.dumps(verdicts.drifted("mileage")))


@pytest.mark.parametrize("command", ["runs", "versions", "windows"])
def test_it_answers_what_the_command_prints(one_run: None, one_window: None, app: Any, command: str) -> None:
    answered = ask(app, f"/api/{command}").json
    for one in answered:
        one.pop("decision", None)  # what the command's own list shows
    assert answered
    assert answered == json.loads(perennial(command, "--json").stdout)


def test_the_distance_of_each_feature_is_in_the_answer_about_windows(one_window: None, app: Any) -> None:
    ((window,), about) = (ask(app, f"/api/{path}").json for path in ("windows", "stack"))
    (column,) = window["analyses"]["data_quality"]["columns"]
    assert (column["name"], column["distance"]["largest"] > about["drift"]["distance"]) == ("mileage", True)


def test_what_runs_and_a_month_cost_is_what_the_command_says(
    one_run: None, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.billing.price", lambda *_: 0.128)
    known = ask(app, "/api/cost").json
    assert known["month"] > known["run"]["usd"] > 0
    assert {**known, "prices": DATE} == json.loads(perennial("cost", "--json").stdout)


def test_one_that_shows_a_stack_alone_reads_and_changes_no_other(one_run: None, stack: FakeAws, answers) -> None:
    changes = answers("sagemaker", "UpdateModelPackage", (200, {"ModelPackageArn": "arn"}))
    app = application(Console(ACCOUNT, "cars"), PORT, SECRET)
    for path, method, document in (
        ("versions", "GET", b""),
        ("versions/3", "POST", {"status": "Approved"}),
        ("files", "POST", b"a,b\n"),
    ):
        answer = ask(app, f"/api/{path}", method, document, stack="vans", name="a.csv")
        assert (answer.status, "shows cars alone" in answer.json["message"]) == (400, True)
    assert (changes, stack.keys("raw/")) == ([], [])
    assert [ask(app, "/api/versions", **query).status for query in ({}, {"stack": "cars"})] == [200, 200]


def test_what_comes_from_data_stays_what_it_is_and_no_number_is_no_json(one_run: None, app: Any) -> None:
    answer = ask(app, "/api/runs")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("application/json", "nosniff")
    record = next(one for one in answer.json if one["run_id"] == RUN)
    assert (record["failure"]["cause"], record["gate"]["candidate"]) == (HOSTILE, None)


def test_a_run_is_in_the_list_while_its_record_is_being_written(one_run: None, app: Any, answers) -> None:
    now = time.time()

    def ended(request: Any) -> Any:
        item = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "name": "one", "startDate": now - 99}
        listed = [
            {**item, "executionArn": f"{EXECUTION}-{seconds}", "status": "SUCCEEDED", "stopDate": now - seconds}
            for seconds in (1, 60)
        ]
        return 200, {"executions": [] if "statusFilter" in json.loads(request.body) else listed}

    answers("stepfunctions", "ListExecutions", ended)
    statuses = [one["status"] for one in ask(app, "/api/runs").json]
    assert statuses == ["Running", "Failed"], "what ended a minute ago has left no record"


def test_a_run_without_a_record_has_none_yet(stack: FakeAws, app: Any) -> None:
    assert ask(app, "/api/runs/20261121093440-1a2b").json == {"record": None}


@pytest.mark.parametrize("run", ["latest", "..", "<b>", "20261120093440"])
def test_what_is_no_id_of_a_run_is_refused_in_words(app: Any, run: str) -> None:
    for path in (f"/api/runs/{run}", f"/api/runs/{run}/flow"):
        answer = ask(app, path)
        assert (answer.status, "is no id of a run" in answer.json["message"]) == (400, True)


def test_a_report_is_given_as_a_file_that_no_browser_shows_here(stack: FakeAws, app: Any) -> None:
    for folder, place in (("runs", "runs"), ("windows", "monitoring")):
        stack.put(f"{place}/{RUN}/report.html", f"<script>{folder}</script>")
        report = ask(app, f"/api/{folder}/{RUN}/report")
        assert (report.body.decode(), report.headers["content-type"]) == (
            f"<script>{folder}</script>",
            "application/octet-stream",
        )
    for path in ("/api/runs/20261121093440-1a2b/report", "/api/raw/20261121093440-1a2b/report", "/api/runs/../report"):
        refused = ask(app, path)
        assert (refused.status, refused.headers["content-type"]) == (400, "application/json")


def test_who_may_not_list_the_stacks_is_told_to_name_one(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no DescribeStacks"}}, "DescribeStacks")

    monkeypatch.setattr("perennial_cli.stacks.names", refuse)
    answer = ask(app, "/api/whom")
    assert (answer.status, answer.json["message"].splitlines()[1]) == (400, NAME_ONE)
    assert "no DescribeStacks" in answer.json["message"]
    assert ask(application(Console(ACCOUNT, "cars"), PORT, SECRET), "/api/whom").json["stacks"] == ["cars"]


def test_a_disk_without_room_for_a_file_is_told_in_words(app: Any, stack: FakeAws, monkeypatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    answer = ask(app, "/api/files", "POST", b"a,b\n", name="a.csv")
    assert (answer.status, answer.json["message"]) == (400, "[Errno 28] No space left on device")
    assert stack.keys("raw/") == []


def test_who_may_not_look_is_told_what_aws_says(app: Any, answers: Callable[..., list[Any]]) -> None:
    answers("sagemaker", "ListModelPackages", refusal("AccessDeniedException", "You may not list model packages"))
    answer = ask(app, "/api/versions")
    assert (answer.status, "You may not list model packages" in answer.json["message"]) == (400, True)


# ---- What a person does


def test_a_file_goes_where_the_stack_takes_its_data(app: Any, stack: FakeAws) -> None:
    body = bytes(range(256)) * 5000
    put = ask(app, "/api/files", "POST", body, name="my cars (1).csv").json
    assert (put["bucket"], put["key"], stack.body(put["key"])) == (BUCKET, "raw/my cars (1).csv", body)


@pytest.mark.parametrize(
    "name",
    ["", "../a.csv", "a/b.csv", "a\\b.csv", ".hidden", "a\nb.csv", "a\x00.csv", "x" * 201, HOSTILE],
    ids=range(9),
)
def test_a_name_that_is_none_of_a_file_is_refused(app: Any, stack: FakeAws, name: str) -> None:
    answer = ask(app, "/api/files", "POST", b"a,b\n", name=name)
    assert (answer.status, "is no name of a file" in answer.json["message"]) == (400, True)
    assert stack.keys("raw/") == []


def test_the_run_of_a_drop_is_found_by_its_version(one_run: None, app: Any, answers: Callable[..., list[Any]]) -> None:
    assert ask(app, "/api/dropped/v1").json == {"run": None}
    given = json.dumps({"Trigger": {"Object": {"version-id": "v1"}}})
    described = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "startDate": 1.0, "status": "RUNNING"}
    answers("stepfunctions", "DescribeExecution", (200, {**described, "input": given}))
    assert ask(app, "/api/dropped/v1").json["run"].startswith("1970")


def test_a_version_is_approved_and_rejected_with_a_reason(one_run: None, app: Any, answers) -> None:
    changes = answers("sagemaker", "UpdateModelPackage", (200, {"ModelPackageArn": "arn"}))
    approved = ask(app, "/api/versions/3", "POST", {"status": "Approved"})
    assert (approved.json["before"], approved.json["status"]) == ("PendingManualApproval", "Approved")
    assert ask(app, "/api/versions/3", "POST", {"status": "Rejected", "reason": "biased"}).status == 200
    sent = [json.loads(change.body) for change in changes]
    assert [one["ModelApprovalStatus"] for one in sent] == ["Approved", "Rejected"]
    assert sent[1]["ApprovalDescription"] == "biased"


def test_whose_role_may_not_approve_is_told_so(one_run: None, app: Any, answers: Callable[..., list[Any]]) -> None:
    answers("sagemaker", "UpdateModelPackage", refusal("AccessDeniedException", "no policy allows it"))
    answer = ask(app, "/api/versions/3", "POST", {"status": "Approved"})
    assert (answer.status, "no policy allows it" in answer.json["message"]) == (400, True)


@pytest.mark.parametrize(
    ("path", "document", "why"),
    [
        ("/api/versions/3", {"status": "Rejected"}, "reason is missing"),
        ("/api/versions/3", {"status": "Rejected", "reason": " "}, "reason is missing"),
        ("/api/versions/3", {"status": "Serves"}, "expected Approved or Rejected"),
        ("/api/versions/9", {"status": "Approved"}, "has no version 9"),
        ("/api/predictions", {"record": [1]}, "record is missing"),
        ("/api/predictions", b"[]", "expected a JSON object"),
        ("/api/predictions", b"\xff", "expected a JSON object"),
        ("/api/predictions", b"[" * 100_000, "expected a JSON object"),
        ("/api/predictions", b" " * (LARGEST_DOCUMENT + 1), "expected a JSON object of at most 1 MiB"),
        ("/api/faults", {"operation": "job:train"}, "only the local cloud has faults"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_done_is_refused_in_words(one_run: None, app: Any, path: str, document: Any, why: str) -> None:
    answer = ask(app, path, "POST", document)
    assert (answer.status, why in answer.json["message"]) == (400, True)


def test_of_an_account_it_only_reads_unless_more_is_asked_for(one_run: None, stack: FakeAws, answers) -> None:
    changes = answers("sagemaker", "UpdateModelPackage", (200, {"ModelPackageArn": "arn"}))
    app = application(Console(ACCOUNT, may_change=False), PORT, SECRET)
    for path in ("/api/versions/3", "/api/files", "/api/predictions", "/api/faults", "/api/faults/clear"):
        answer = ask(app, path, "POST", {"status": "Approved"}, name="a.csv")
        assert (answer.status, answer.json["message"]) == (403, ONLY_READS)
    assert (changes, stack.keys("raw/")) == ([], [])
    assert ask(app, "/api/versions").status == 200


def test_a_record_that_breaks_the_definition_is_not_asked_about(app: Any) -> None:
    car = {
        "mileage": -1,
        "cylinder": 8,
        "doors": 2,
        "cruise": True,
        "sound": True,
        "leather": True,
        "make": "A",
        "body": "b",
    }
    answer = ask(app, "/api/predictions", "POST", {"record": car}).json
    assert [text.split(":")[0] for text in answer["problems"]] == ["mileage"]


@pytest.fixture
def jobs(stack: FakeAws, monkeypatch: pytest.MonkeyPatch, answers: Callable[..., list[Any]]) -> list[Any]:
    """A stack that forecasts; what its endpoint was asked."""
    chosen = Stack("jobs", OUTPUTS, {"ModelName": "employment"})
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: chosen)
    quantiles = {f"0.{tenth}": [1000 + tenth] * 12 for tenth in range(1, 10)}
    answer = {"predictions": [{"mean": [1000] * 12, "quantiles": quantiles}]}
    return answers("sagemaker-runtime", "InvokeEndpoint", (200, answer))


def test_the_form_for_series_begins_with_one_that_is_forecast_with_a_drawing_of_its_band(
    app: Any, jobs: list[Any]
) -> None:
    form = ask(app, "/api/record").json["series"]
    assert (form["begin"][:20], form["ahead"], form["categories"]["sector"][0]) == ("the begin of a month", 12, "Total")
    known = ask(app, "/api/predictions", "POST", {"series": form["example"]}).json
    (one,) = known["forecasts"]
    assert (known["problems"], one["item_id"], one["period"][0]) == ([], "an example", "2026-01-01 00:00:00")
    assert (one["p10"], one["p50"], one["p90"]) == ([1001] * 12, [1005] * 12, [1009] * 12)
    assert one["drawing"][:2] == ["svg", {**one["drawing"][1], "role": "img"}]
    assert one["drawing"][2] == ["title", {}, "value, thousand people by periods ahead: before, median, band"]
    (asked,) = jobs
    assert json.loads(asked.body)["instances"][0]["cat"] == [0]


def test_series_that_break_the_definition_are_named_and_the_others_forecast(app: Any, jobs: list[Any]) -> None:
    line = json.loads(ask(app, "/api/record").json["series"]["example"])
    lines = [{**line, "item_id": name, "target": values} for name, values in (("a", [1, None, 2]), ("b", [1, "x"]))]
    known = ask(app, "/api/predictions", "POST", {"series": "\n".join(map(json.dumps, lines))}).json
    assert [one["item_id"] for one in known["forecasts"]] == ["a"]
    assert [text.split(":")[0] for text in known["problems"]] == ["line 2 is not asked about"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"record": {}}, "series is missing"),
        ({"series": " \n"}, "series is missing"),
        ({"series": "\n".join(["{}"] * 21)}, "the text holds 21 series; expected 1 to 20; ask about more by"),
    ],
    ids=["a record", "nothing", "many"],
)
def test_a_model_of_series_is_asked_about_some_of_them(app: Any, jobs: list[Any], document: Any, why: str) -> None:
    answer = ask(app, "/api/predictions", "POST", document)
    assert (answer.status, why in answer.json["message"], jobs) == (400, True, [])


@pytest.mark.parametrize(
    "text",
    ["<b>", "[]", "{}", '{"target": []}', "\ud800", "[" * 10_000,
     '{"start": "2024-01-01", "target": [1e999], "cat": [0]}',
     '{"start": "9999-12-01", "target": [1], "cat": [0]}', '{"start": "2024-01-01", "target": [1], "cat": [[]]}'],
    ids=range(9),
)  # fmt: skip
def test_any_text_is_forecast_or_refused_in_words(app: Any, jobs: list[Any], text: str) -> None:
    answer = ask(app, "/api/predictions", "POST", {"series": text})
    assert answer.status in (200, 400)
    assert answer.json.get("problems") or answer.json["message"]
    assert jobs == []


def test_the_form_is_made_from_the_definition_and_begins_with_what_it_allows(app: Any) -> None:
    schema = ask(app, "/api/record").json
    assert schema["properties"]["doors"] | {"maximum": 5, "minimum": 2} == schema["properties"]["doors"]
    assert (schema["usual"], schema["examples"][0]["doors"]) == ({}, 3)
    assert "price" not in schema["examples"][0]


# ---- The local cloud's own


def test_mails_and_faults_are_those_of_the_local_cloud(local: Any, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(local_cloud, "call", lambda *words: asked.append(words) or {})
    fault = {"operation": "job:train", "effect": "raise"}
    for path, document in (("faults", fault), ("faults/clear", {"number": 3}), ("faults/clear", {})):
        assert ask(local, f"/api/{path}", "POST", document).status == 200
    assert ask(local, "/api/mails").status == 200
    own = "/_localcloud/faults"
    cleared = [("DELETE", f"{own}/3", None), ("DELETE", own, None)]
    assert ask(local, "/api/faults/clear", "POST", {"number": "../x"}).status == 400
    assert asked == [("POST", own, fault), *cleared, ("GET", "/_localcloud/mails", None)]
    assert "only the local cloud has mails" in ask(app, "/api/mails").json["message"]


# ---- Logs


def test_logs_are_those_of_the_stack_alone(
    app: Any, answers: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's name may begin with this one's: its functions, executions and jobs are not this one's."""
    names = ["/aws/lambda/cars-clean-up", "/aws/sagemaker/Endpoints/cars", "/aws/sagemaker/Endpoints/cars-two",
             "/aws/lambda/cars-two-clean-up", "/aws/vendedlogs/states/cars-two-train-model"]  # fmt: skip
    monkeypatch.setattr("perennial_cli.stacks.names", lambda: ["cars", "cars-two", "carsharing"])

    def groups(request: Any) -> Any:
        prefix = json.loads(request.body)["logGroupNamePrefix"]
        return 200, {"logGroups": [{"logGroupName": name} for name in names if name.startswith(prefix)]}

    answers("logs", "DescribeLogGroups", groups)
    event = {"timestamp": 1000, "logStreamName": f"cars-{RUN}-train-0/algo-1", "message": HOSTILE}
    foreign = {"timestamp": 1000, "logStreamName": f"cars-two-{RUN}-train-0/algo-1", "message": "of cars-two"}
    asked = answers("logs", "FilterLogEvents", (200, {"events": [*[event] * 300, foreign]}))
    listed = ask(app, "/api/logs").json["groups"]
    jobs = [f"/aws/sagemaker/{kind}Jobs" for kind in ("Processing", "Training", "Transform")]
    assert listed == sorted([*names[:2], *jobs])
    events = ask(app, "/api/logs", group="/aws/sagemaker/TrainingJobs", streams="").json["events"]
    assert (len(events), {one["message"] for one in events}) == (200, {HOSTILE})
    ask(app, "/api/logs", group="/aws/sagemaker/TrainingJobs", streams="others-job")
    ask(app, "/api/logs", group="/aws/sagemaker/TrainingJobs", streams="cars-train-0")
    assert [json.loads(one.body)["logStreamNamePrefix"] for one in asked] == ["cars-", "cars-", "cars-train-0"]
    for group in ("/aws/lambda/others", *names[2:]):
        refused = ask(app, "/api/logs", group=group)
        assert (refused.status, refused.json["message"]) == (400, f"cars has no log group {group}")


# ---- The flow


def test_the_flow_is_drawn_from_the_definition_that_the_execution_runs(one_run: None, app: Any, answers) -> None:
    machine = (ROOT / "statemachines/train_model.asl.json").read_text()
    described = {"stateMachineArn": MACHINE, "name": "cars", "definition": machine, "roleArn": "r", "updateDate": 0}
    answers("stepfunctions", "DescribeStateMachineForExecution", (200, described))
    run = ask(app, "/api/runs").json[-1]["run_id"]
    drawing = ask(app, f"/api/runs/{run}/drawing").json
    assert {"Preprocess", "Train", "Verify endpoint"} <= {box["name"] for box in drawing["boxes"]}
    ways = {(line["source"], line["target"]) for line in drawing["lines"]}
    assert ("Seal preprocessor", "Tune or train?") in ways
    assert all(source and target for source, target in ways)


def test_the_flow_of_a_run_says_what_works_now(one_run: None, app: Any, answers: Callable[..., list[Any]]) -> None:
    entered = {"timestamp": 2.0, "type": "TaskStateEntered", "id": 1, "stateEnteredEventDetails": {"name": HOSTILE}}
    answers("stepfunctions", "GetExecutionHistory", (200, {"events": [entered]}))
    run = ask(app, "/api/runs").json[-1]["run_id"]
    flow = ask(app, f"/api/runs/{run}/flow").json
    assert (flow["status"], flow["usd"], flow["ways"]) == ("Running", None, [])
    assert [(one["name"], one["status"], one["seconds"]) for one in flow["states"]] == [(HOSTILE, run_flow.WORKS, None)]


@pytest.mark.parametrize(
    "record",
    [b"{}", b'{"x": 1}', b'{"mileage": NaN}', b'{"mileage": 1e999}', b'{"mileage": [[]]}', b'{"make": "\\ud800"}',
     b'{"mileage": ' + b"9" * 5000 + b"}", b'{"a\\u0000b": "<b>"}', b'{"mileage": null}'],
    ids=lambda record: record[:20].decode(),
)  # fmt: skip
def test_any_record_is_asked_about_or_refused_in_words(app: Any, record: bytes) -> None:
    answer = ask(app, "/api/predictions", "POST", b'{"record": ' + record + b"}")
    assert (answer.status, bool(answer.json.get("problems") or answer.json.get("message"))) in (
        (200, True),
        (400, True),
    )
