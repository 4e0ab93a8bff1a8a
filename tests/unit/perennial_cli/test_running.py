"""Commands about runs, on a stack of which only the bucket and the executions are there."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import NoCredentialsError
from rich.console import Console

from perennial.evaluation.contributions import Explanation
from perennial.model import definition
from perennial.runs import comparison, trials
from perennial.runs.naming import run_id
from perennial_cli import explanations, following, predictions, stacks
from perennial_cli.console import CommandError
from perennial_cli.explanations import Explainer
from perennial_cli.predictions import Answer, Record
from perennial_cli.stacks import Stack
from tests.command import perennial, says
from tests.unit.conftest import BUCKET, REGION, FakeAws, refusal

ROOT = Path(__file__).parents[3]
MODEL_YAML = (ROOT / "models/used-cars/model.yaml").read_text()
RUN, OTHER = "20261120093440-1a2b", "20261121093440-1a2b"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:cars"
CODE = "0123456789abcdef"


def record(run: str = RUN, rmse: float = 2345.6789012345, **more: Any) -> dict[str, Any]:
    return {
        "run_id": run,
        "status": "Succeeded",
        "input": {"Trigger": {"Type": "Manual"}, "Overrides": {"GateThreshold": 3000}},
        "execution": {"started_at": "2026-11-20T09:34:40.000Z", "duration_seconds": 8.1},
        "configuration": {
            "algorithm": {"name": "xgboost", "hyperparameters": {"eta": "0.1"}},
            "definition": definition.parse(MODEL_YAML, "model.yaml").as_json(),
            "sources": {"gate.threshold": "the run's input"},
        },
        "code": {"hash": CODE, "commit": "abc"},
        "data": {
            "fingerprint": "f" * 64,
            "file_count": 1,
            "size_bytes": 50_180,
            "files": [{"Key": "raw/a.csv", "VersionId": "v1"}],
        },
        "rows": {"read": 804, "used": 804},
        "metrics": {"candidate": {"rmse": rmse}},
        "gate": {"metric": "rmse", "candidate": rmse, "threshold": 3000.0, "reason": "meets the threshold"},
        "deployed": {"endpoint": "cars"},
        **more,
    }


@pytest.fixture
def stack(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    outputs = {
        "BucketName": BUCKET, "DataBucketName": BUCKET, "DataPrefix": "raw/", "StateMachineArn": MACHINE,
        "MonitorStateMachineArn": f"{MACHINE}-monitor", "CodeUri": f"s3://{BUCKET}/code/{CODE}", "EndpointName": "cars",
    }  # fmt: skip
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: Stack("cars", outputs, {"ModelName": "used-cars"}))
    monkeypatch.setattr("perennial_cli.following.POLL_SECONDS", 0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("models/used-cars/model.yaml", MODEL_YAML)
    aws.put(f"code/{CODE}/code.zip", packed.getvalue())
    aws.put(f"runs/{RUN}/run.json", json.dumps(record()))
    return aws


@pytest.fixture
def executions(stack: FakeAws, answers: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Let executions be listed, each (ARN's end, start, status), and described as ended with an output."""

    def listed(*some: tuple[str, float, str], output: dict[str, Any] | None = None, given: Any = None) -> list[Any]:
        items = [
            {"executionArn": f"{MACHINE}:{name}", "stateMachineArn": MACHINE, "name": name, "startDate": start,
             "status": status}
            for name, start, status in some
        ]  # fmt: skip
        answers("stepfunctions", "ListExecutions", (200, {"executions": items}))
        ended = {**items[0], "input": json.dumps(given or {}), "output": json.dumps(output or {})} if items else {}
        answers("stepfunctions", "DescribeExecution", (200, ended))
        answers("stepfunctions", "GetExecutionHistory", (200, {"events": []}))
        started = {"executionArn": f"{MACHINE}:{some[0][0]}" if some else "", "startDate": 0.0}
        return answers("stepfunctions", "StartExecution", (200, started))

    return listed


# ---- Who is spoken to


def test_every_command_says_whom_it_speaks_to(executions) -> None:
    executions()
    assert perennial("runs").stderr == f"AWS, account 123456789012, region {REGION}\n"


def test_where_the_api_is_stands_below_the_runs_and_with_each_of_them(executions, stack, monkeypatch) -> None:
    executions(("one", 1, "SUCCEEDED"))
    stack.put(f"runs/{RUN}/run.json", json.dumps(record()))
    assert "api" not in perennial("show", RUN).stdout
    url = "https://a1b2.execute-api.eu-west-1.amazonaws.com/v1"
    with_api = replace(stacks.chosen(None), outputs={**stacks.chosen(None).outputs, "ApiUrl": url})
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: with_api)
    assert f"the API is at {url}" in perennial("runs").stderr
    assert url in perennial("show", RUN).stdout


def test_without_a_configuration_it_says_how_to_get_one(stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> None:
        raise NoCredentialsError

    monkeypatch.setattr("perennial_cli.commands.running.say_whom", nobody)
    ended = perennial("runs")
    assert ended.exit_code == 1
    assert 'eval "$(perennial local env)"' in ended.stderr


# ---- drop, run, follow


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "cars.csv").write_text("a,b\n1,2\n")
    return tmp_path / "cars.csv"


def test_a_file_is_dropped_under_the_data_prefix(stack, file: Path) -> None:
    answer = json.loads(perennial("drop", file, "--no-follow", "--json").stdout)
    assert (answer["bucket"], answer["key"]) == (BUCKET, "raw/cars.csv")
    assert stack.get("raw/cars.csv") == "a,b\n1,2\n"


def test_a_file_that_lies_elsewhere_is_dropped_by_a_copy_that_s3_makes(stack) -> None:
    s3, uri = stack.client("s3"), "s3://the-lake/daily/cars.csv"
    s3.create_bucket(Bucket="the-lake", CreateBucketConfiguration={"LocationConstraint": REGION})
    for key, body in (("daily/cars.csv", b"a,b"), ("daily/_cars.csv", b"a,b"), ("daily/none.csv", b"")):
        s3.put_object(Bucket="the-lake", Key=key, Body=body)
    answer = json.loads(perennial("drop", uri, "--no-follow", "--json").stdout)
    head = s3.head_object(Bucket=BUCKET, Key="raw/cars.csv")
    assert answer == {"bucket": BUCKET, "key": "raw/cars.csv", "version": head["VersionId"]}
    assert head["Metadata"]["source"].startswith(f"{uri}?etag=")
    assert says(perennial("drop", "s3://the-lake/daily/_cars.csv"), "would be taken for no data: hidden")
    assert says(perennial("drop", "s3://the-lake/daily/none.csv"), "is empty; expected rows")
    folder = perennial("drop", "s3://the-lake/daily/")
    assert (folder.exit_code, stack.keys("raw")) == (2, ["raw/cars.csv"])
    assert says(folder, "all below it: perennial copy-data s3://the-lake/daily/")


@pytest.mark.parametrize("given", ['{"Data": "s3://lake/x.csv"}', '{"Overrides": {"DataPrefix": "s3://lake/x/"}}'])
def test_an_input_that_names_data_is_told_how_a_run_gets_them(stack, given: str) -> None:
    ended = perennial("run", "--input", given)
    assert ended.exit_code == 2
    assert says(ended, "its input names no data. Bring a file there with `perennial drop s3://BUCKET/KEY`")


def test_of_a_dropped_file_its_own_run_is_looked_at_until_its_end(executions, file: Path, monkeypatch) -> None:
    executions(("one", 1, "SUCCEEDED"), output={"Decision": "AlreadyTrained", "Reason": "on these data"})
    monkeypatch.setattr("perennial_cli.following.wait_for_drop", lambda stack, version: f"{MACHINE}:one")
    ended = perennial("drop", file, "--key", "2026/cars.csv")
    assert ended.exit_code == 0
    assert f"dropped {file} -> s3://{BUCKET}/raw/2026/cars.csv" in ended.stderr
    assert "AlreadyTrained" in ended.stdout
    assert "on these data" in ended.stdout


@pytest.mark.parametrize("command", ["drop", "score"])
@pytest.mark.parametrize("key", ["../x.csv", "a//x.csv", "/x.csv", "a/./x.csv", "a/", "a/ "])
def test_a_name_that_is_none_of_a_file_in_folders_is_wrong_use(stack, file: Path, command: str, key: str) -> None:
    ended = perennial(command, file, "--key", key)
    assert (ended.exit_code, stack.keys("raw"), stack.keys("batch")) == (2, [], [])
    assert says(ended, f"got {key!r}; expected a name such as cars.csv or 2026/cars.csv")


@pytest.mark.parametrize(
    ("name", "text", "words", "why"),
    [
        ("_cars.csv", "a,b", (), "hidden: '_cars.csv' begins with '_'"),
        ("cars.csv", "a,b", ("--key", ".x/cars.csv"), "hidden: '.x' begins with '.'"),
        ("cars.csv.tmp", "a,b", (), "an unfinished copy or a temporary file"),
        ("cars.csv", "", (), "an empty object"),
    ],
)
def test_what_a_run_would_take_for_no_data_is_not_dropped(stack, tmp_path: Path, name, text, words, why) -> None:
    (tmp_path / name).write_text(text)
    ended = perennial("drop", tmp_path / name, *words)
    assert (ended.exit_code, stack.keys("raw")) == (1, [])
    assert says(ended, f"would be taken for no data: {why}")


def test_the_run_of_a_drop_is_the_one_whose_event_names_the_version(executions, monkeypatch) -> None:
    wanted = {"Trigger": {"Object": {"version-id": "v"}}}
    executions(("one", 1, "RUNNING"), given=wanted)
    assert following.wait_for_drop(stacks.chosen(None), "v") == f"{MACHINE}:one"
    monkeypatch.setattr(following, "START_LIMIT_SECONDS", 0)
    with pytest.raises(CommandError, match="nothing began within 0 s"):
        following.wait_for_drop(stacks.chosen(None), "another")


@pytest.mark.parametrize(
    "given", [[], 5, {"Trigger": 5}, {"Trigger": {"Object": None}}, {"Trigger": {"Object": ["v"]}}]
)
def test_a_run_that_somebody_has_started_with_anything_is_not_that_of_a_drop(executions, monkeypatch, given) -> None:
    executions(("one", 1, "FAILED"), given=given)
    monkeypatch.setattr(following, "START_LIMIT_SECONDS", 0.01)
    with pytest.raises(CommandError, match="nothing began within"):
        following.wait_for_drop(stacks.chosen(None), "v")


def test_a_run_starts_with_overrides_that_the_definition_allows(executions) -> None:
    requests = executions(("one", 1, "RUNNING"))
    ended = perennial("run", "--set", "GateThreshold=3000", "--set", "HyperParameters.eta=0.2", "--no-follow")
    run = run_id(f"{MACHINE}:one", datetime.fromtimestamp(1, UTC))
    assert (ended.exit_code, ended.stdout) == (0, f"run        {run}\nexecution  {MACHINE}:one\n")
    sent = json.loads(json.loads(requests[0].body)["input"])
    overrides = {"GateThreshold": 3000, "HyperParameters": {"eta": 0.2}}
    assert sent == {"Trigger": {"Type": "Manual"}, "Overrides": overrides}


@pytest.mark.parametrize(
    ("code", "words", "problem"),
    [
        (1, ("--set", "GateMinimumImprovement=0.1"), "GateMinimumImprovement: may not be overridden by a run"),
        (2, ("--set", "Speed=1"), "Speed: unknown key"),
        (1, ("--set", "HyperParameters.eta={min: 0.3, max: 0.1}"), "HyperParameters.eta: min 0.3 is not less than max"),
        (
            1,
            ("--set", "HyperParameters.eta={min: 0.1, max: 1, scale: log}"),
            "scale is 'log'; did you mean 'logarithmic'?",
        ),
        (2, ("--input", '{"Overrides": 3}'), "Overrides: got 3"),
        (2, ("--input", '{"Replays": "x"}'), "Replays: unknown key; did you mean 'Replay'?"),
    ],
)
def test_an_input_that_a_run_would_refuse_starts_none(executions, code: int, words, problem: str) -> None:
    requests = executions(("one", 1, "RUNNING"))
    ended = perennial("run", *words)
    assert ended.exit_code == code
    assert problem in ended.stderr
    assert requests == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{min: 0.01, max: 0.3, scale: logarithmic}", {"min": 0.01, "max": 0.3, "scale": "logarithmic"}),
        ('{"min": 1e-2, "max": 0.3}', {"min": 0.01, "max": 0.3}),
        ("1e-2", 0.01),
    ],
)
def test_a_setting_is_read_as_model_yaml_is(executions, text: str, value: object) -> None:
    requests = executions(("one", 1, "RUNNING"))
    ended = perennial("run", "--set", f"HyperParameters.eta={text}", "--no-follow")
    assert ended.exit_code == 0, ended.stderr
    assert json.loads(json.loads(requests[0].body)["input"])["Overrides"] == {"HyperParameters": {"eta": value}}


@pytest.mark.parametrize(
    ("words", "is_said"), [((), True), (("--set", "HyperParameters.eta={min: 0.1, max: 1}"), False)]
)
def test_a_search_without_a_range_is_said_to_have_no_effect(executions, words, is_said: bool) -> None:
    requests = executions(("one", 1, "RUNNING"))
    ended = perennial("run", "--set", "Tuning.Jobs=4", *words, "--no-follow")
    assert (ended.exit_code, len(requests) > 0) == (0, True)
    assert ("Tuning has no effect" in ended.stderr) is is_said


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--set", "GateThreshold"), "expected NAME=VALUE"),
        (("--set", "GateThreshold="), "GateThreshold has no value"),
        (("--set", "HyperParameters.eta={min: 0.1"), "HyperParameters.eta: not readable as YAML"),
        (("--set", "HyperParameters.eta={min: 0.1, min: 0.2}"), "the key 'min' stands more than once"),
        (("--set", "Tuning=4", "--set", "Tuning.Jobs=4"), "Tuning of Tuning.Jobs has a value already: 4"),
        (("--input", "{"), "no JSON"),
        (("--input", "[]"), "expected an object"),
        (("--input", "{}", "--set", "GateThreshold=1"), "it is the whole input"),
    ],
)
def test_what_is_no_setting_is_wrong_use(executions, words, problem: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended = perennial("run", *words)
    assert ended.exit_code == 2
    assert problem in ended.stderr


@pytest.mark.parametrize(
    ("status", "output", "code"),
    [("SUCCEEDED", {"Decision": "Superseded", "Reason": "by a newer drop"}, 0), ("FAILED", {"Decision": "Failed"}, 1)],
)
def test_follow_ends_as_the_run_did(executions, status: str, output: dict[str, str], code: int) -> None:
    executions(("one", 1, status), output=output)
    ended = perennial("follow")
    assert ended.exit_code == code
    assert output["Decision"] in ended.stdout


def test_whoever_follows_a_run_that_waits_for_people_is_told_once_how_they_answer(aws, answers) -> None:
    flow = json.loads((ROOT / "statemachines/train_model.asl.json").read_text())["States"]
    assert flow[following.ASKS]["Resource"].endswith(".waitForTaskToken")
    execution = {"executionArn": "one", "stateMachineArn": MACHINE, "startDate": 1}
    described = [(200, {**execution, "status": status}) for status in ("RUNNING", "RUNNING", "SUCCEEDED")]
    answers("stepfunctions", "DescribeExecution", *described)
    entered = {
        "id": 1,
        "type": "TaskStateEntered",
        "timestamp": 1,
        "stateEnteredEventDetails": {"name": following.ASKS},
    }
    answers("stepfunctions", "GetExecutionHistory", (200, {"events": [entered]}))
    printed = io.StringIO()
    following.follow("one", Console(file=printed, width=200), pause_seconds=0)
    assert printed.getvalue().count("`perennial approve NUMBER`") == 1


def test_a_stack_that_has_not_run_says_how_it_does(executions) -> None:
    executions()
    assert "cars has not run yet; `perennial drop FILE` starts a run" in perennial("follow").stderr


# ---- runs, show, compare


def test_runs_are_listed_newest_first_with_those_at_work(executions, stack) -> None:
    stack.put(f"runs/{OTHER}/run.json", json.dumps(record(OTHER, status="Rejected")))
    executions(("now", 1796000000, "RUNNING"))
    listed = json.loads(perennial("runs", "--json").stdout)
    assert [one["status"] for one in listed] == ["Running", "Rejected", "Succeeded"]
    text = perennial("runs").stdout
    assert text.splitlines()[0].split() == ["run", "status", "rows", "metric", "threshold", "decision"]
    assert "rmse 2,345.68" in text


def test_of_a_run_that_waits_for_people_the_list_says_so_and_for_which_version(executions, stack, answers) -> None:
    executions(("now", 1796000000, "RUNNING"), ("later", 1796000060, "RUNNING"))
    run = run_id(f"{MACHINE}:now", datetime.fromtimestamp(1796000000, UTC))
    pending = {"ModelPackageArn": f"{ARN}/7", "ModelPackageVersion": 7, "ModelApprovalStatus": "PendingManualApproval",
               "CreationTime": 1796000001, "ModelPackageDescription": f"run {run}"}  # fmt: skip
    requests = answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": [pending]}))
    working, waiting, ended = json.loads(perennial("runs", "--json").stdout)
    assert [one["status"] for one in (working, waiting, ended)] == ["Running", "AwaitsApproval", "Succeeded"]
    assert (waiting["run_id"], waiting["version"]["number"]) == (run, 7)
    (asked,) = (json.loads(request.body) for request in requests)
    assert (asked["ModelPackageGroupName"], asked["ModelApprovalStatus"]) == ("cars", "PendingManualApproval")
    (line,) = (line for line in perennial("runs").stdout.splitlines() if run in line)
    assert line.split(maxsplit=2)[1:] == ["AwaitsApproval", "perennial approve 7, or reject 7"]
    assert json.loads(perennial("show", "latest", "--json").stdout)["run_id"] == RUN, "it has not ended"


@pytest.mark.parametrize(
    "refused",
    [refusal("AccessDeniedException"), refusal("ValidationException", "ModelPackageGroup cars does not exist.")],
)
def test_who_may_not_list_versions_sees_a_run_that_waits_as_running(executions, answers, refused) -> None:
    executions(("now", 1796000000, "RUNNING"))
    answers("sagemaker", "ListModelPackages", refused)
    assert [one["status"] for one in json.loads(perennial("runs", "--json").stdout)] == ["Running", "Succeeded"]


def test_versions_are_asked_for_only_where_a_run_is_at_work(executions, answers) -> None:
    executions(("one", 1, "SUCCEEDED"))
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    requests = answers("sagemaker", "ListModelPackages", refusal("AccessDeniedException"))
    assert perennial("runs").exit_code == 0
    assert requests == []


def test_on_a_narrow_screen_ids_stay_whole_and_a_decision_is_cut_at_the_end_of_a_word(
    executions, stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    gate = {"metric": "rmse", "candidate": 2345.678, "threshold": 3000.0, "reason": "because " * 40}
    executions()
    stack.put(f"runs/{OTHER}/run.json", json.dumps(record(OTHER, gate=gate)))
    text = perennial("runs").stdout
    assert {OTHER, RUN} <= set(text.split())
    decided = [word for word in text.split() if word.startswith("b")]
    assert (set(decided), text.count("...")) == ({"because"}, 1)


@pytest.mark.parametrize(("columns", "in_blocks"), [("80", True), ("200", False)])
def test_on_a_narrow_screen_a_difference_is_a_block_of_lines(
    stack, monkeypatch: pytest.MonkeyPatch, columns: str, in_blocks: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    stack.put(f"runs/{OTHER}/run.json", json.dumps(record(OTHER, withheld="x", status="y" * 59)))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in perennial("compare", OTHER, RUN).stdout.splitlines()]
    block = ["status", f"  {OTHER}  {'y' * 59}", f"  {RUN}  Succeeded"]
    assert (any(lines[place : place + 3] == block for place in range(len(lines)))) is in_blocks
    assert any(line.split() == ["status", "y" * 59, "Succeeded"] for line in lines) is not in_blocks


def test_a_run_is_shown_whole(executions) -> None:
    text = perennial("show", RUN).stdout
    for part in (f"{RUN}: Succeeded", "meets the threshold", "xgboost (eta=0.1)", "2,345.68", CODE):
        assert part in text
    assert json.loads(perennial("show", RUN, "--json").stdout) == {**record(), "hyperparameters": {"eta": "0.1"}}


DEPLOYS = {
    "run_id": OTHER,
    "status": "Succeeded",
    "input": {"Trigger": {"Type": "Approval"}},
    "execution": {"started_at": "2026-11-21T09:34:40.000Z", "duration_seconds": 8.1},
    "deployment": {"run_id": RUN, "reason": "version 1 is approved, and serves", "instead_of": None},
    "deployed": {"endpoint": "cars"},
}  # a run that has deployed the version of another


def test_a_run_that_deploys_is_shown_without_what_it_has_not_used(executions, stack) -> None:
    stack.put(f"runs/{OTHER}/run.json", json.dumps(DEPLOYS))
    lines = perennial("show", OTHER).stdout.splitlines()
    assert f"{OTHER}: Succeeded" in lines[0]
    assert not {line.split()[0] for line in lines if line} & {"data", "rows", "algorithm", "code"}


@pytest.mark.parametrize(
    ("run", "problem"), [("yesterday", "'yesterday' is no id of a run"), (OTHER, "has no record: it has not ended")]
)
def test_a_run_that_is_not_there_is_told_in_words(stack, run: str, problem: str) -> None:
    ended = perennial("show", run)
    assert (ended.exit_code, problem in ended.stderr) == (1 if run == OTHER else 2, True)


def test_compare_says_what_differs_and_nothing_else(stack) -> None:
    other = record(OTHER, rmse=2000.0, data={**record()["data"], "files": [{"Key": "raw/a.csv", "VersionId": "v2"}]})
    stack.put(f"runs/{OTHER}/run.json", json.dumps(other))
    differences = json.loads(perennial("compare", RUN, OTHER, "--json").stdout)
    assert {item["path"]: (item["first"], item["second"]) for item in differences} == {
        "metrics.candidate.rmse": (2345.6789012345, 2000.0),
        "data.files raw/a.csv": ("v1", "v2"),
    }
    assert "do not differ" in perennial("compare", RUN, RUN).stdout


def test_compare_says_of_a_run_that_has_no_model_why(stack) -> None:
    failed = {**record(OTHER), "status": "Failed", "metrics": None, "failure": {"cause": "cars.csv: no price\nmore"}}
    stack.put(f"runs/{OTHER}/run.json", json.dumps(failed))
    ended = perennial("compare", RUN, OTHER)
    assert says(ended, f"{OTHER} Failed before its model was measured")
    assert says(ended, "what is below: cars.csv: no price")
    assert "candidate.rmse" not in ended.stdout


@pytest.mark.parametrize("order", [(RUN, OTHER), (OTHER, RUN)])
def test_compare_has_both_metrics_on_the_same_rows_and_what_the_answers_rest_on(stack, order) -> None:
    measured = {"candidate": {"rmse": 2000.0, "mae": 1500.0}, "champion": {"rmse": 2300.0, "mae": 1500.0}}
    served = {"RunId": RUN, "ModelName": f"cars-{RUN}", "EndpointConfigName": "c"}
    records = {RUN: record(rmse=2345.6), OTHER: record(OTHER, rmse=2000.0, metrics=measured, champion=served)}
    both = {RUN: {"make": 3.0, "doors": 1.0}, OTHER: {"make": 1.0, "doors": 1.0}}
    for run, one in records.items():
        stack.put(f"runs/{run}/run.json", json.dumps(one))
        analysis = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": both[run]}}}}
        stack.put(f"runs/{run}/baselines/attribution/analysis.json", json.dumps(analysis))
    differences = json.loads(perennial("compare", *order, "--json").stdout)
    values = {item["path"]: (item["first"], item["second"]) for item in differences}
    assert differences[0]["path"] == "metrics on the same rows.rmse"
    expected = {"metrics on the same rows.rmse": (2300.0, 2000.0), "importances.make": (0.75, 0.5)}
    for path, pair in expected.items():
        assert values[path] == (pair if order == (RUN, OTHER) else pair[::-1])
    assert "metrics on the same rows.mae" not in values, "it is the same"


def test_compare_has_what_the_models_were_trained_with_and_each_fact_once_the_most_important_first() -> None:
    one, other = record(), record(OTHER, rmse=2000.0, tuning=TUNED, code={"hash": "other", "commit": "abc"})
    for each, threshold, depth in ((one, 3000.0, 6), (other, 2500.0, {"min": 2, "max": 8})):
        each["gate"]["threshold"] = threshold
        each["configuration"]["gate"] = {"threshold": threshold}
        each["configuration"]["definition"]["gate"]["threshold"] = threshold
        each["configuration"]["definition"]["hyperparameters"]["xgboost"] = {"max_depth": depth}
    one["configuration"]["algorithm"]["hyperparameters"]["max_depth"] = "6"
    differences = [(each.path, each.first, each.second) for each in comparison.differences(one, other)]
    assert differences == [
        ("metrics.candidate.rmse", 2345.6789012345, 2000.0),
        ("hyperparameters.max_depth", "6", "4"),
        ("tuning.strategy", None, "Random"),
        ("tuning.trials", None, 2),
        ("tuning.trials.Completed", None, 1),
        ("tuning.trials.Failed", None, 1),
        ("tuning.metric", None, "validation:rmse"),
        ("tuning.best_value", None, 2.5),
        ("ranges.max_depth.min", None, 2),
        ("ranges.max_depth.max", None, 8),
        ("gate.threshold", 3000.0, 2500.0),
        ("code.hash", CODE, "other"),
    ]


def test_of_slices_each_number_that_differs_is_compared() -> None:
    one, other = record(), record()
    for each, candidate in ((one, 1.5), (other, 2.5)):
        slices = [
            {"name": "north", "rows": 40, "candidate": candidate},
            {"name": "south", "rows": 30, "candidate": 1.0},
        ]
        each["metrics"] = {**each["metrics"], "slices": slices}
    (difference,) = comparison.differences(one, other)
    assert (difference.path, difference.first, difference.second) == ("metrics.slices.north.candidate", 1.5, 2.5)


def test_a_threshold_of_the_run_and_another_of_the_definition_are_two_facts() -> None:
    one, other = record(), record(OTHER)
    one["gate"]["threshold"] = 2800.0
    one["configuration"]["definition"]["gate"]["threshold"] = 3600.0
    paths = [each.path for each in comparison.differences(one, other)]
    assert paths == ["gate.threshold", "configuration.definition.gate.threshold"]


def test_an_interval_is_read_like_other_numbers() -> None:
    assert comparison.readable([2001.23456789012, 2400]) == "2,001.23457 to 2,400"
    assert comparison.readable(["a", "b"]) == "['a', 'b']"


def test_of_gates_on_two_metrics_each_number_is_named(stack) -> None:
    one = record(metrics={"candidate": {"rmse": 2345.6}, "candidate_interval": [2001.2, 2400]})
    other = record(OTHER, metrics={"candidate": {"mae": 1500.0}, "candidate_interval": [1400, 1600.5]})
    other["gate"] = {**other["gate"], "metric": "mae", "threshold": 2000.0}
    for each in (one, other):
        stack.put(f"runs/{each['run_id']}/run.json", json.dumps(each))
    rows = [re.split(r"\s{2,}", line.strip()) for line in perennial("compare", RUN, OTHER).stdout.splitlines()]
    assert ["metrics.candidate_interval", "2,001.2 to 2,400 (rmse)", "1,400 to 1,600.5 (mae)"] in rows
    assert ["gate.threshold", "3,000 (rmse)", "2,000 (mae)"] in rows
    assert ["metrics.candidate.rmse", "2,345.6", "-"] in rows
    other["gate"]["metric"] = "rmse"
    stack.put(f"runs/{OTHER}/run.json", json.dumps(other))
    assert re.search(r" 2,001\.2 to 2,400 +1,400 to 1,600\.5 ", perennial("compare", RUN, OTHER).stdout), (
        "of one metric"
    )


def test_where_the_output_is_no_terminal_no_line_is_broken(executions, stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reason = "because " * 12
    executions()
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(gate={"metric": "m", "threshold": 1.0, "reason": reason})))
    header, row = perennial("runs").stdout.splitlines()
    assert reason.strip() in row
    assert len(header) == len(row)


def test_a_run_that_only_deploys_a_version_says_why(executions, stack) -> None:
    executions()
    deployment = {"run_id": OTHER, "reason": "the newest approved"}
    version = {"run_id": RUN, "status": "Succeeded", "execution": {"started_at": "x"}, "deployment": deployment}
    stack.put(f"runs/{RUN}/run.json", json.dumps(version))
    assert "the newest approved" in perennial("runs").stdout
    assert "the newest approved" in perennial("show", RUN).stdout


CAUSE_OF_JOB = 'State "Preprocess" failed: ' + json.dumps(
    {
        "ProcessingInputs": [{"InputName": "code"}], "ProcessingJobName": "cars-1", "ProcessingJobStatus": "Failed",
        "ExitMessage": "raw/a.csv: column 'year' is missing\nraw/b.csv: column 'price' is missing",
    }
)  # fmt: skip
CAUSE_OF_FUNCTION = json.dumps({"errorMessage": "raw/a.csv is empty", "errorType": "E", "stackTrace": ["File app.py"]})


@pytest.mark.parametrize(
    ("failure", "first", "rest"),
    [
        ({"cause": CAUSE_OF_JOB, "state": "Preprocess"}, "raw/a.csv: column 'year' is missing",
         ["raw/b.csv: column 'price' is missing"]),
        ({"cause": CAUSE_OF_FUNCTION, "state": "Preprocess"}, "raw/a.csv is empty", []),
        ({"cause": CAUSE_OF_FUNCTION, "state": "Preprocess", "problems": ["one", "another"]}, "one", ["another"]),
        ({"cause": CAUSE_OF_FUNCTION, "state": "Preprocess", "trial": "trial 3: eta"}, "raw/a.csv is empty",
         ["trial 3: eta"]),
    ],
    ids=["of a job", "of a function", "with all problems", "of a trial"],
)  # fmt: skip
def test_a_run_that_failed_says_why_in_the_words_of_its_mail(executions, stack, failure, first, rest) -> None:
    executions()
    failed = record(status="Failed", failure={"error": "States.TaskFailed", **failure})
    stack.put(f"runs/{RUN}/run.json", json.dumps(failed))
    ended = perennial("show", RUN)
    lines = [f"because  in state 'Preprocess': {first}", *(f"         {line}" for line in rest)]
    assert "\n".join([*lines, ""]) in ended.stdout
    assert "column" not in ended.stderr
    assert f"in state 'Preprocess': {first}" in perennial("runs").stdout
    assert "ProcessingInputs" not in ended.output
    assert "stackTrace" not in ended.output


def test_a_run_is_shown_with_what_it_waited_for_and_what_spot_machines_saved(executions, stack) -> None:
    executions()
    busy = {"times": 3, "errors": ["SageMaker.ResourceLimitExceededException"]}
    spot = {"job": "t", "training_seconds": 500, "billable_seconds": 100, "interruptions": 2}
    jobs = [{"name": f"cars-{RUN}-train-0", "status": "Failed", "reason": "CapacityError: no ml.m5.large"}]
    seconds = {"Train": 61.5, "Clean up": 1.0}
    waited = record(stack="cars", spot=spot, retries={"Train": busy}, jobs=jobs, durations_seconds=seconds)
    stack.put(f"runs/{RUN}/run.json", json.dumps(waited))
    lines = [" ".join(line.split()) for line in perennial("show", RUN).stdout.splitlines()]
    again = "tried again 3 times, after SageMaker.ResourceLimitExceededException"
    assert "spot 100 of 500 s of training are billed: 80% saved; interrupted 2 times, and begun anew" in lines
    place = lines.index(f"waited in state 'Train', {again}")
    assert lines[place + 1] == "job train-0 was made again: CapacityError: no ml.m5.large"
    assert lines[lines.index("state seconds retries") + 1 :] == [f"Train 61.5 {again}", "Clean up 1.0"]


def test_whoever_follows_a_run_is_told_that_it_tries_again(aws, answers) -> None:
    execution = {"executionArn": "one", "stateMachineArn": MACHINE, "startDate": 1}
    described = [(200, {**execution, "status": status}) for status in ("RUNNING", "RUNNING", "SUCCEEDED")]
    answers("stepfunctions", "DescribeExecution", *described)
    error = {"error": "SageMaker.ResourceLimitExceededException"}
    steps = [
        ("TaskStateEntered", {"stateEnteredEventDetails": {"name": "Train"}}),
        ("TaskScheduled", {}),
        ("TaskSubmitFailed", {"taskSubmitFailedEventDetails": error}),
        ("TaskScheduled", {}),
    ]
    events = [
        {"id": number, "previousEventId": number - 1, "type": kind, "timestamp": 1, **details}
        for number, (kind, details) in enumerate(steps, 1)
    ]
    answers("stepfunctions", "GetExecutionHistory", (200, {"events": events}))
    printed = io.StringIO()
    following.follow("one", Console(file=printed, width=200), pause_seconds=0)
    told = "Train: tried again once, after SageMaker.ResourceLimitExceededException"
    assert printed.getvalue().count(told) == 1


def test_a_list_of_runs_has_the_reason_of_a_job_not_its_name(executions, stack) -> None:
    executions()
    job = {"TrainingJobName": f"cars-{RUN}-train", "FailureReason": "CapacityError: no ml.m5.large"}
    failure = {"error": "States.TaskFailed", "cause": json.dumps(job), "state": "Train"}
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(status="Failed", failure=failure)))
    assert "in state 'Train': CapacityError: no ml.m5.large" in perennial("runs").stdout
    assert f"job cars-{RUN}-train failed: CapacityError" in perennial("show", RUN).stdout


def test_a_file_that_was_put_aside_is_named_with_the_reason(executions, stack) -> None:
    executions()
    aside = [
        {"Key": "raw/b.csv", "VersionId": "v", "Reason": "the file is empty: it holds no rows", "KnownSince": None}
    ]
    data = {**record()["data"], "aside": aside}
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(data=data)))
    ended = perennial("show", RUN)
    assert "1 file put aside: raw/b.csv\nraw/b.csv: the file is empty: it holds no rows\n" in ended.stderr


@pytest.mark.usefixtures("stack")
def test_a_run_without_a_record_says_what_its_execution_says(
    answers: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perennial_cli.following.RECORD_LIMIT_SECONDS", 0)
    at = 1796000000
    spans = [("Begin run", "Entered"), ("Begin run", "Exited"), ("Train", "Entered")]
    events = [
        {"type": f"TaskState{end}", "id": place, "timestamp": at, f"state{end}EventDetails": {"name": name}}
        for place, (name, end) in enumerate(spans, 1)
    ]
    answers("stepfunctions", "GetExecutionHistory", (200, {"events": events}))
    described = {"executionArn": f"{MACHINE}:a", "startDate": datetime.fromtimestamp(at, UTC), "status": "TIMED_OUT"}
    ended = following.outcome(stacks.chosen(None), described)
    assert (ended["status"], ended["failure"]["state"]) == ("TimedOut", "Train")


# ---- versions

ARN = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/cars"


@pytest.fixture
def registry(stack: FakeAws, answers: Callable[..., list[Any]]) -> list[Any]:
    """Two versions of runs and one by hand, the newest first; returns the requests for their list."""
    described = (f"run {OTHER}", None, f"run {RUN}")
    summaries = [
        {"ModelPackageArn": f"{ARN}/{number}", "ModelPackageVersion": number, "ModelApprovalStatus": "Approved",
         "CreationTime": 1796000000, **({"ModelPackageDescription": text} if text else {})}
        for number, text in zip((3, 2, 1), described, strict=True)
    ]  # fmt: skip
    measured = {"CustomerMetadataProperties": {"metric": "rmse", "candidate": "2345.5"}}
    who = {"IamIdentity": {"Arn": "arn:aws:sts::123456789012:assumed-role/approver/ada", "PrincipalId": "AROA1:ada"}}
    answered = {**measured, "LastModifiedTime": 1796000000, "LastModifiedBy": who}
    answers("sagemaker", "DescribeModelPackage", (200, answered), (200, {}), (200, measured))
    return answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": summaries}))


def test_versions_are_listed_newest_first_with_their_run_and_metric(registry, monkeypatch) -> None:
    monkeypatch.setattr("perennial_cli.versions.AT_ONCE", 1)
    listed = json.loads(perennial("versions", "--json").stdout)
    assert [one["serves"] for one in listed] == [False, False, False]
    assert [(one["number"], one["run"], one["candidate"], one["by"]) for one in listed] == [
        (3, OTHER, 2345.5, "arn:aws:sts::123456789012:assumed-role/approver/ada"),
        (2, None, None, None),
        (1, RUN, 2345.5, None),
    ]
    request = json.loads(registry[0].body)
    assert (request["ModelPackageGroupName"], request["SortOrder"]) == ("cars", "Descending")


def test_of_the_versions_the_one_in_service_is_marked(registry, stack, monkeypatch) -> None:
    monkeypatch.setattr("perennial_cli.versions.AT_ONCE", 1)
    stack.client("ssm").put_parameter(Name="/cars/model-package", Value=f"{ARN}/1", Type="String")
    assert [one["serves"] for one in json.loads(perennial("versions", "--json").stdout)] == [False, False, True]
    lines = [line.split() for line in perennial("versions").stdout.splitlines()]
    assert lines[0][:3] == ["version", "status", "serves"]
    assert [line[2] == "yes" for line in lines[1:]] == [False, False, True]


@pytest.mark.parametrize(
    ("now", "said"),
    [(3, ["serves", "cars"]), (1, ["served", "cars, where version 1 is in service now"]),
     ("none", ["served", "cars, where another model is in service now"])],
)  # fmt: skip
def test_a_run_says_whether_its_version_serves_by_now(stack, answers, now: object, said: list[str]) -> None:
    answers("sagemaker", "DescribeModelPackage", (200, {"ModelApprovalStatus": "Approved"}))
    stack.client("ssm").put_parameter(Name="/cars/model-package", Value=f"{ARN}/{now}", Type="String")
    version = {"arn": f"{ARN}/3", "number": 3, "status": "Approved"}
    stack.put(f"runs/{OTHER}/run.json", json.dumps(record(OTHER, version=version)))
    shown = [line.split(maxsplit=1) for line in perennial("show", OTHER).stdout.splitlines()]
    assert [line for line in shown if line and line[0].startswith("serve")] == [said]


def test_a_run_says_who_has_rejected_its_version_and_why(registry, stack, answers) -> None:
    who = {"IamIdentity": {"Arn": "arn:aws:sts::123456789012:assumed-role/approver/ada"}}
    said = {"ModelApprovalStatus": "Rejected", "ApprovalDescription": "biased"}
    answers("sagemaker", "DescribeModelPackage", (200, {**said, "LastModifiedTime": 1796000000, "LastModifiedBy": who}))
    version = {"arn": f"{ARN}/3", "number": 3, "status": "Approved"}
    stack.put(f"runs/{OTHER}/run.json", json.dumps(record(OTHER, version=version)))
    assert "3, Rejected by assumed-role/approver/ada: biased\n" in perennial("show", "3").stdout
    answers("sagemaker", "DescribeModelPackage", refusal("ValidationException", "ModelPackage x does not exist."))
    assert "3, which is not in the registry any more\n" in perennial("show", "3").stdout


def test_versions_are_a_table_of_as_many_as_are_asked_for(registry) -> None:
    text = perennial("versions", "--most", "1").stdout
    assert all(part in text for part in ("3", "Approved", "assumed-role/approver/ada", "rmse 2,345.5", OTHER))
    assert RUN not in text


def test_a_version_stands_for_its_run(registry, stack) -> None:
    stack.put(f"runs/{OTHER}/run.json", json.dumps(record(OTHER, rmse=2000.0)))
    differences = json.loads(perennial("compare", "1", "3", "--json").stdout)
    assert ("metrics.candidate.rmse", 2345.6789012345, 2000.0) in [tuple(item.values()) for item in differences]
    header = perennial("compare", "1", "3").stdout.splitlines()[0]
    assert header.split("  ", 1)[1].strip() == f"version 1 ({RUN})  version 3 ({OTHER})"
    assert json.loads(perennial("show", "1", "--json").stdout)["run_id"] == RUN


def test_a_version_whose_run_waits_for_people_is_compared_and_shown_as_far_as_it_is_known(registry, stack) -> None:
    waits = {"status": "AwaitsApproval", "deployed": None, "execution": {"started_at": "2026-11-21T09:34:40.000Z"}}
    stack.put(f"runs/{OTHER}/approval.json", json.dumps(record(OTHER, rmse=2000.0, **waits)))
    differences = json.loads(perennial("compare", "1", "3", "--json").stdout)
    values = [tuple(item.values()) for item in differences]
    assert ("metrics.candidate.rmse", 2345.6789012345, 2000.0) in values
    assert ("status", "Succeeded", "AwaitsApproval") in values
    shown = perennial("show", "3").stdout
    assert f"{OTHER}: AwaitsApproval" in shown
    assert "took" not in shown
    assert "it has not ended" in perennial("reproduce", "3").stderr


def test_who_may_not_list_the_whole_bucket_is_told_of_a_missing_record_in_words(stack, answers) -> None:
    answers("s3", "GetObject", (403, "<Error><Code>AccessDenied</Code></Error>"))
    assert "has no record: it has not ended" in perennial("show", OTHER).stderr
    assert "AccessDenied" in perennial("show", RUN).stderr, "it is there"


def test_of_a_run_that_has_ended_the_record_of_its_end_is_shown(stack) -> None:
    stack.put(f"runs/{RUN}/approval.json", json.dumps(record(status="AwaitsApproval")))
    assert f"{RUN}: Succeeded" in perennial("show", RUN).stdout


@pytest.mark.parametrize(("number", "problem"), [("2", "by hand"), ("4", "cars has no version 4")])
def test_a_version_without_a_run_is_told_in_words(registry, number: str, problem: str) -> None:
    ended = perennial("show", number)
    assert (ended.exit_code, problem in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [(("approve", "3"), "Approved", None), (("reject", "3", "--reason", "biased"), "Rejected", "biased")],
    ids=["approve", "reject"],
)
def test_a_version_is_approved_or_rejected_in_the_registry(
    registry, answers, command: tuple[str, ...], status: str, reason: str | None
) -> None:
    updates = answers("sagemaker", "UpdateModelPackage", (200, {"ModelPackageArn": f"{ARN}/3"}))
    answer = json.loads(perennial(*command, "--json").stdout)
    assert answer.pop("outcome")
    assert answer == {"stack": "cars", "version": 3, "status": status, "before": "Approved"}
    request = json.loads(updates[0].body)
    assert (request["ModelPackageArn"], request["ModelApprovalStatus"]) == (f"{ARN}/3", status)
    assert request.get("ApprovalDescription") == reason
    assert status in perennial(*command).stdout


def test_whoever_approves_an_older_version_is_told_that_the_newer_one_serves(serving) -> None:
    serving(2, (2,), (1,))
    told = perennial("approve", "1").stdout
    assert "version 1 of cars: Approved, before Rejected. It is not deployed: version 2 is in service" in told
    assert "perennial rollback 1" in json.loads(perennial("approve", "1", "--json").stdout)["outcome"]


def test_what_another_account_has_registered_is_approved_for_others_and_never_gone_back_to(serving) -> None:
    updates = serving(4, (1, 2, 3, 4, 5), others=(3, 5))
    told = perennial("approve", "5").stdout
    assert "Account 222222222222 has registered it: it is not deployed here" in told
    updates.clear()
    answer = json.loads(perennial("rollback", "--json").stdout)
    assert (answer["rejected"], answer["version"]) == ([4], 2)


def test_a_rejection_needs_a_reason(registry) -> None:
    assert perennial("reject", "3").exit_code == 2


@pytest.fixture
def serving(stack: FakeAws, answers: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A version is in service, and these are approved; returns the requests that change versions."""

    def listed(
        number: object, approved: tuple[int, ...], rejected: tuple[int, ...] = (), others: tuple[int, ...] = ()
    ) -> list[Any]:
        stack.client("ssm").put_parameter(Name="/cars/model-package", Value=f"{ARN}/{number}", Type="String")
        versions = [
            {"ModelPackageArn": f"{ARN}/{one}", "ModelPackageVersion": one, "CreationTime": 1796000000,
             "ModelApprovalStatus": "Approved" if one in approved else "Rejected"}
            for one in sorted((*approved, *rejected), reverse=True)
        ]  # fmt: skip
        answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": versions}))

        def describe(request: Any) -> tuple[int, Any]:
            number = int(json.loads(request.body)["ModelPackageName"].rpartition("/")[2])
            account = "222222222222" if number in others else "123456789012"
            return 200, {"CreatedBy": {"IamIdentity": {"Arn": f"arn:aws:sts::{account}:assumed-role/pipeline/s"}}}

        answers("sagemaker", "DescribeModelPackage", describe)
        return answers("sagemaker", "UpdateModelPackage", (200, {"ModelPackageArn": ARN}))

    return listed


@pytest.mark.parametrize(
    ("wanted", "rejected", "target"),
    [((), [6, 5], 4), (("2",), [4, 6, 5], 2)],
    ids=["the one before", "a version"],
)
def test_a_rollback_rejects_what_is_above_and_last_what_serves(
    serving, wanted: tuple[str, ...], rejected: list[int], target: int
) -> None:
    updates = serving(5, (2, 4, 5, 6), (3,))
    answer = json.loads(perennial("rollback", *wanted, "--reason", "biased", "--json").stdout)
    assert (answer["rejected"], answer["version"]) == (rejected, target)
    requests = [json.loads(update.body) for update in updates]
    assert [int(one["ModelPackageArn"].rpartition("/")[2]) for one in requests] == rejected
    assert {one["ApprovalDescription"] for one in requests} == {f"rolled back to version {target}: biased"}


@pytest.mark.parametrize(
    ("wanted", "number", "approved", "problem"),
    [
        ((), 2, (2, 3), "no approved version before it"),
        (("1",), 3, (2, 3), "version 1 is not approved"),
        (("3",), 2, (2, 3), "expected the number of an earlier version"),
        ((), 3, (1, 2), "rejected already"),
        ((), "none", (1, 2), "is no version of the model registry"),
    ],
)
def test_a_rollback_that_cannot_be_changes_nothing_and_says_why(
    serving, wanted: tuple[str, ...], number: object, approved: tuple[int, ...], problem: str
) -> None:
    updates = serving(number, approved, (3,) if number == 3 and 3 not in approved else ())
    ended = perennial("rollback", *wanted)
    assert (ended.exit_code, problem in ended.stderr, list(updates)) == (1, True, [])


def test_a_rollback_of_a_stack_that_serves_nothing_says_so(registry) -> None:
    assert "cars has no version in service" in perennial("rollback").stderr


def test_a_stack_without_a_group_is_told_what_to_do(stack, answers) -> None:
    answers("sagemaker", "ListModelPackages", refusal("ValidationException", "ModelPackageGroup arn does not exist."))
    ended = perennial("versions")
    assert ended.exit_code == 1
    assert "the stack cars has no model package group: deploy it again" in ended.stderr


# ---- reproduce


def reproduced(executions, stack, again: dict[str, Any]) -> Any:
    requests = executions(("again", 1796000000, "SUCCEEDED"), output={"Model": "x"})
    run = run_id(f"{MACHINE}:again", datetime.fromtimestamp(1796000000, UTC))
    stack.put(f"runs/{run}/run.json", json.dumps({**again, "run_id": run}))
    return perennial("reproduce", RUN, "--json"), requests


def test_a_run_is_reproduced_on_its_own_data_with_its_own_overrides(executions, stack) -> None:
    ended, requests = reproduced(executions, stack, record())
    assert ended.exit_code == 0
    sent = json.loads(json.loads(requests[0].body)["input"])
    assert sent == {"Trigger": {"Type": "Manual"}, "Replay": RUN, "Overrides": {"GateThreshold": 3000}}
    answer = json.loads(ended.stdout)
    assert (answer["same"], answer["changed"]) == (True, [])


def test_a_run_that_has_trained_nothing_is_not_reproduced(executions, stack) -> None:
    stack.put(f"runs/{OTHER}/run.json", json.dumps(DEPLOYS))
    started = executions()
    ended = perennial("reproduce", OTHER)
    assert (ended.exit_code, started) == (1, [])
    assert f"{OTHER} has trained nothing: it deployed the model of run {RUN}; reproduce that" in ended.stderr


def test_a_run_that_has_trained_elsewhere_is_not_reproduced_here(executions, stack) -> None:
    step = {"stack": "cars-staging", "version": "arn", "by": "Ann", "at": "2026-11-20T10:00:00Z"}
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(promotions=[step])))
    started = executions()
    ended = perennial("reproduce", RUN)
    assert (ended.exit_code, started) == (1, [])
    assert f"{RUN} has trained in cars-staging, where its data are: reproduce it there" in ended.stderr


TUNED = trials.of(
    "0a1b2c3d-r-t0",
    {"Strategy": "Random", "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"}},
    f"0a1b2c3d-{RUN}-t0-002-0f0444b1",
    [
        {"TrainingJobName": f"0a1b2c3d-{RUN}-t0-001-0f0444b1", "TrainingJobStatus": "Failed", "FailureReason": "no"},
        {
            "TrainingJobName": f"0a1b2c3d-{RUN}-t0-002-0f0444b1",
            "TrainingJobStatus": "Completed",
            "TunedHyperParameters": {"max_depth": "4"},
            "FinalHyperParameterTuningJobObjectiveMetric": {"Value": 2.5},
        },
    ],
)


def test_what_was_tuned_is_reproduced_with_the_values_of_the_best_trial(executions, stack) -> None:
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(tuning=TUNED)))
    _, requests = reproduced(executions, stack, record())
    sent = json.loads(json.loads(requests[0].body)["input"])
    assert sent["Overrides"] == {"GateThreshold": 3000, "HyperParameters": {"max_depth": "4"}}


def test_a_run_that_has_tuned_is_shown_with_its_trials(executions, stack) -> None:
    executions()
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(tuning=TUNED)))
    text = perennial("show", RUN).stdout
    assert "xgboost (eta=0.1, max_depth=4)" in text
    assert "2 trials (1 completed, 1 failed), random; best validation:rmse 2.5 with max_depth=4" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("t0-")] == ["t0-002", "t0-001"]
    shown = json.loads(perennial("show", RUN, "--json").stdout)
    assert shown["hyperparameters"] == {"eta": "0.1", "max_depth": "4"}


def test_metrics_that_differ_in_the_last_digit_are_not_the_same(executions, stack) -> None:
    ended, _ = reproduced(executions, stack, record(rmse=2345.6789012346))
    assert (ended.exit_code, json.loads(ended.stdout)["same"]) == (1, False)


def test_what_would_be_another_run_by_now_is_said(stack) -> None:
    now = definition.parse(MODEL_YAML.replace("seed: 42", "seed: 43"), "model.yaml")
    lines = comparison.not_the_same(record(), now, f"s3://{BUCKET}/code/fedcba")
    assert lines == [
        f"the code is another by now: {CODE} then (commit abc), fedcba now",
        "model.yaml is another by now: split.seed",
    ]
    assert comparison.not_the_same(record(), definition.parse(MODEL_YAML, "model.yaml"), f"x/{CODE}") == []


# ---- predict


@pytest.fixture
def endpoint(stack: FakeAws, answers: Callable[..., list[Any]]) -> list[Any]:
    """An endpoint that answers each record with its mileage."""

    def answer(request: Any) -> tuple[int, str]:
        body = request.body if isinstance(request.body, bytes) else request.body.encode()
        records = [json.loads(line) for line in body.decode().splitlines()]
        return 200, "".join(json.dumps({"score": one["mileage"]}) + "\n" for one in records)

    return answers("sagemaker-runtime", "InvokeEndpoint", answer)


HEADER = "mileage,cylinder,doors,cruise,sound,leather,make,body,price"
CAR = "12000,8,2,yes,true,1,Cadillac,convertible,65000"
NOT_FOUND = (400, {"__type": "ValidationError", "message": "Endpoint cars of account 123456789012 not found."})
AS_JSON = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip


def test_a_record_has_one_answer(endpoint) -> None:
    ended = perennial("predict", json.dumps(AS_JSON))
    assert (ended.exit_code, ended.stdout) == (0, "12000.0\n")
    assert json.loads(endpoint[0].body) == AS_JSON


def test_rows_of_a_file_are_read_as_runs_read_them_and_the_target_is_passed_over(endpoint, tmp_path: Path) -> None:
    (tmp_path / "cars.csv").write_text("\n".join([HEADER, CAR, CAR.replace("12000", "500")]))
    ended = perennial("predict", tmp_path / "cars.csv")
    assert (ended.exit_code, ended.stdout) == (0, "row,score\n2,12000.0\n3,500.0\n")
    assert json.loads(endpoint[0].body.splitlines()[0]) == AS_JSON
    assert perennial("predict", tmp_path / "cars.csv", "-o", tmp_path / "out.csv").stdout == ""
    assert (tmp_path / "out.csv").read_text() == "row,score\n2,12000.0\n3,500.0\n"


def test_no_file_is_replaced_unasked_and_never_the_one_that_is_read(endpoint, tmp_path: Path) -> None:
    cars, there = tmp_path / "cars.csv", tmp_path / "out.csv"
    for path in (cars, there):
        path.write_text(f"{HEADER}\n{CAR}\n")
    (tmp_path / "link.csv").symlink_to(cars)
    for words, problem in (
        (("-o", there), "out.csv is there already; choose another --output, or replace it with --force"),
        (("-o", cars, "--force"), "cars.csv is what is read; choose another --output"),
        (("-o", tmp_path / "link.csv", "--force"), "link.csv is what is read"),
    ):
        ended = perennial("predict", cars, *words)
        assert (ended.exit_code, list(endpoint)) == (1, [])
        assert problem in ended.stderr
        assert there.read_text() == cars.read_text() == f"{HEADER}\n{CAR}\n"
    assert perennial("predict", cars, "-o", there, "--force").exit_code == 0
    assert there.read_text() == "row,score\n2,12000.0\n"


def test_where_nothing_was_asked_no_file_is_written(stack, tmp_path: Path) -> None:
    ended = perennial("predict", '{"mileage": -1}', "-o", tmp_path / "out.csv")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "no record was asked about, so" in ended.stderr
    assert not (tmp_path / "out.csv").exists()


def test_a_file_that_cannot_be_written_is_named(endpoint) -> None:
    ended = perennial("predict", json.dumps(AS_JSON), "-o", "/dev/full")
    assert (ended.exit_code, "/dev/full cannot be written: No space left on device" in ended.stderr) == (1, True)


def test_standard_input_is_read_as_well_in_all_forms_of_files(endpoint, tmp_path: Path) -> None:
    table = pa.table({name: [value] for name, value in AS_JSON.items()})
    pq.write_table(table, tmp_path / "cars.parquet")
    text = f"{HEADER}\n{CAR}\n".encode()
    assert perennial("predict", "-", typed=text).stdout == "row,score\n2,12000.0\n"
    assert perennial("predict", "-", typed=gzip.compress(text)).stdout == "row,score\n2,12000.0\n"
    assert perennial("predict", "-", typed=(tmp_path / "cars.parquet").read_bytes()).stdout == "row,score\n1,12000.0\n"
    assert perennial("predict", "-", typed=json.dumps(AS_JSON, indent=2)).stdout == "row,score\n1,12000.0\n"


def test_as_json_each_row_has_an_answer_or_its_error_and_a_terminal_gets_some_of_them(endpoint) -> None:
    cars = "\n".join([HEADER, CAR, f"{CAR},1", *[CAR.replace("12000", "-5")] * 19, CAR, ""])
    ended = perennial("predict", "-", "--json", typed=cars)
    entries = json.loads(ended.stdout)
    assert [entry["row"] for entry in entries] == list(range(2, 24))
    assert entries[:2] == [{"row": 2, "score": 12000.0}, {"row": 3, "error": "10 fields, expected 9"}]
    assert entries[2] == {"row": 4, "error": "mileage: '-5' is below the minimum 0"}
    assert (entries[-1], ended.exit_code) == ({"row": 23, "score": 12000.0}, 1)
    assert ended.stderr.count("is not asked about") == 10
    assert "and 10 more rows; --json has the reason of each" in ended.stderr


def test_a_record_that_breaks_the_definition_is_named_and_not_asked_about(endpoint) -> None:
    wrong = CAR.replace("12000", "-5").replace("8,2", "many,2")
    ended = perennial("predict", "-", typed=f"{HEADER}\n{wrong}\n{CAR}\n")
    assert (ended.exit_code, ended.stdout) == (1, "row,score\n3,12000.0\n")
    assert "row 2 is not asked about: " in ended.stderr
    assert "mileage: '-5' is below the minimum 0" in ended.stderr
    assert "cylinder: 'many' is not a whole number" in ended.stderr


@pytest.fixture
def baseline(stack: FakeAws) -> None:
    """What the model in service was tested with: three cars like CAR, of 10,000 miles, and two kinds of body."""

    def numbers(name: str, value: float) -> dict[str, Any]:
        sketch = {"kll": {"sketch": {"data": [[value] * 3]}}}
        return {"name": name, "numerical_statistics": {"distribution": sketch}}

    def texts(name: str, *values: str) -> dict[str, Any]:
        buckets = [{"value": value, "count": 2} for value in values]
        return {"name": name, "string_statistics": {"distribution": {"categorical": {"buckets": buckets}}}}

    known = {"mileage": 10000.0, "cylinder": 8.0, "doors": 2.0, "cruise": 1.0, "sound": 1.0, "leather": 1.0}
    features = [*(numbers(*one) for one in known.items()), texts("make", "Cadillac"), texts("body", "sedan", "coupe")]
    stack.put(f"runs/{RUN}/baselines/data-quality/statistics.json", json.dumps({"features": features}))
    names = {"run": RUN, "data-quality-baseline": f"s3://{BUCKET}/runs/{RUN}/baselines/data-quality"}
    for name, value in names.items():
        stack.client("ssm").put_parameter(Name=f"/cars/{name}", Value=value, Type="String")


def test_an_answer_is_explained_by_what_differs_from_a_typical_record(endpoint, baseline) -> None:
    ended = perennial("predict", json.dumps(AS_JSON), "--explain")
    assert ended.exit_code == 0, ended.stderr
    first, names, *rows = (line.split() for line in ended.stdout.splitlines())
    assert " ".join(first) == "row 1: 12,000 USD; a typical record 10,000 USD"
    assert names == ["feature", "this", "record", "typical", "contribution"]
    assert rows == [
        ["mileage", "12,000", "10,000", "+2,000"],
        ["body", "convertible", "sedan", "+0"],
        ["together", "+2,000"],
    ]
    ids = [request.headers["X-Amzn-SageMaker-Inference-Id"].decode() for request in endpoint]
    assert ids == [f"explain-{RUN}-0", f"explain-{RUN}-1"]
    assert [len(request.body.splitlines()) for request in endpoint] == [4, 1]

    (shown,) = json.loads(perennial("predict", json.dumps(AS_JSON), "--explain", "--json").stdout)
    assert (shown["score"], shown["typical_score"], shown["is_exact"]) == (12000, 10000, True)
    assert shown["contributions"][0] == {"feature": "mileage", "value": 12000, "typical": 10000, "contribution": 2000}


def test_a_text_that_the_model_does_not_know_is_said_to_be_unknown(endpoint, baseline, monkeypatch) -> None:
    plain = AS_JSON | {"make": "Lada", "body": "coupe"}
    asked = predictions.answers

    def answers(stack: Stack, records: list[Record], ids: Any) -> list[Answer]:
        knows = all(one.features["make"] != "Lada" for one in records)
        return [replace(one, unusual="" if knows else "unknown_category=make:1") for one in asked(stack, records, ids)]

    monkeypatch.setattr("perennial_cli.predictions.answers", answers)
    (line,) = (
        line for line in perennial("predict", json.dumps(plain), "--explain").stdout.splitlines() if "Lada" in line
    )
    assert line.split() == ["make", "Lada", "(unknown", "to", "the", "model)", "Cadillac", "+0"]
    for record, unknown in ((plain, ["make"]), (AS_JSON, [])):
        (shown,) = json.loads(perennial("predict", json.dumps(record), "--explain", "--json").stdout)
        assert shown["unknown_categories"] == unknown


def test_of_several_classes_the_explained_one_is_named() -> None:
    penguins = definition.parse((ROOT / "models/penguins/model.yaml").read_text(), "model.yaml")
    explanation = Explanation(0.75, 0.5, {"sex": 0.25}, is_exact=True, position=1)
    explainer = Explainer(Stack("penguins", {}, {}), {"sex": "male"}, ("Adelie", "Chinstrap"), iter(()))
    shown = explanations.as_json(explainer, Record(2, {"sex": "female"}), explanation)
    assert (shown["class"], shown["score"]) == ("Chinstrap", 0.75)
    text = explanations.headline(explainer, penguins, explanation)
    assert text == "Chinstrap with probability 0.75; a typical record 0.5"


def test_what_is_not_explained_is_said(endpoint, stack) -> None:
    cars = "\n".join([HEADER, *[CAR] * 21, ""])
    ended = perennial("predict", "-", "--explain", typed=cars)
    assert (ended.exit_code, "21 records; expected 20 at most to explain" in ended.stderr) == (1, True)
    assert perennial("predict", json.dumps(AS_JSON), "--explain", "-o", "x.csv").exit_code == 2
    assert list(endpoint) == []


@pytest.mark.parametrize("hours", ["", "07:00-19:00"])
@pytest.mark.parametrize("words", [("predict", json.dumps(AS_JSON)), ("predict", json.dumps(AS_JSON), "--explain"),
                                   ("smoke", "--no-run")])  # fmt: skip
def test_before_the_first_model_it_is_said_that_there_is_none(stack, answers, monkeypatch, words, hours: str) -> None:
    times = {"AwakeHours": hours, "AwakeTimeZone": "UTC", "AwakeDays": "MON", "WakeBy": "clock"}
    asleep = replace(stacks.chosen(None), parameters={"ModelName": "used-cars", **times})
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: asleep)
    monkeypatch.setattr("perennial_cli.serving_api.example", lambda stack: AS_JSON)
    answers("sagemaker-runtime", "InvokeEndpoint", NOT_FOUND)
    ended = perennial(*words)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "no model of cars has come into service, so there is no answer yet: `perennial runs` says" in ended.stderr
    assert "ValidationError" not in ended.stderr


def test_an_endpoint_that_is_gone_is_told_in_words(stack, answers, baseline) -> None:
    answers("sagemaker-runtime", "InvokeEndpoint", NOT_FOUND)
    ended = perennial("predict", json.dumps(AS_JSON))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "cars: the endpoint is not there, or is being created; ask again in 30 seconds" in ended.stderr


@pytest.mark.parametrize("explain", [(), ("--explain",)])
def test_answers_as_json_go_into_a_file_as_well(endpoint, baseline, tmp_path: Path, explain) -> None:
    words = ("predict", json.dumps(AS_JSON), *explain, "--json")
    shown = perennial(*words).stdout
    assert (perennial(*words, "-o", tmp_path / "out.json").stdout, json.loads(shown)[0]["score"]) == ("", 12000)
    assert (tmp_path / "out.json").read_text() == shown
    broken = json.dumps(AS_JSON | {"mileage": -1})
    assert perennial("predict", broken, *explain, "--json", "-o", tmp_path / "none.json").exit_code == 1
    assert [entry.keys() for entry in json.loads((tmp_path / "none.json").read_text())] == [{"row", "error"}]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nowhere.csv", "there is no file nowhere.csv"),
        ('[{"year": 2014}]', "got a JSON list; many records are JSON lines, one object a line"),
        (json.dumps([AS_JSON] * 40), "got a JSON list"),
        ("[{", "the list is not readable as JSON"),
        ("null", "there is no file null, and as JSON it is null"),
        ("5.5", "as JSON it is a number"),
        ("true", "as JSON it is true or false"),
        ('"cars"', "as JSON it is a text"),
        ("", "got an empty text"),
        (str(ROOT), "is a folder"),
        ("x" * 5000, f"there is no file {'x' * 97}..."),
    ],
    ids=range(11),
)
def test_an_argument_that_is_neither_record_nor_file_is_told_for_what_it_is(
    endpoint, source: str, problem: str
) -> None:
    ended = perennial("predict", source)
    assert (ended.exit_code, list(endpoint)) == (2, [])
    assert says(ended, problem)
    assert says(
        ended, "expected a file, a record as one JSON object such as '{\"year\": 2014}', or - for standard input"
    )


def test_a_record_may_stand_on_many_lines(endpoint) -> None:
    assert perennial("predict", json.dumps(AS_JSON, indent=2)).stdout == "12000.0\n"


def test_what_is_passed_over_is_said(endpoint) -> None:
    ended = perennial("predict", json.dumps(AS_JSON | {"colour": "red", "price": 1}))
    assert (ended.exit_code, ended.stdout) == (0, "12000.0\n")
    assert "columns ignored: 'colour', 'price'" in ended.stderr


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{CAR}\n".replace(",", ";"), f"\ufeff{HEADER}\n{CAR}\n", f"{HEADER.title()}\n{CAR}\n",
        "".join(f"{','.join(reversed(line.split(',')))}\n" for line in (HEADER, CAR)),
    ],
    ids=["semicolons", "byte order mark", "another case", "another order"],
)  # fmt: skip
def test_a_file_is_read_in_the_forms_in_which_people_have_it(endpoint, tmp_path: Path, text: str) -> None:
    (tmp_path / "cars.csv").write_text(text, encoding="utf-8")
    assert perennial("predict", tmp_path / "cars.csv").stdout == "row,score\n2,12000.0\n"


def test_what_holds_no_record_is_said_to(stack, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text(HEADER)
    for ended in (perennial("predict", tmp_path / "none.csv"), perennial("predict", "-", typed="")):
        assert (ended.exit_code, ended.stdout) == (1, "")
        assert "holds no record; expected one at least" in ended.stderr
    assert "standard input holds no record" in ended.stderr


def test_standard_input_in_another_encoding_is_refused_in_words(stack) -> None:
    ended = perennial("predict", "-", typed=f"{HEADER}\n{CAR}\n".replace("Cadillac", "Citroën").encode("cp1252"))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "standard input is no UTF-8; name the file instead" in ended.stderr


# ---- monitor, windows


ASKED = {"Start": "2026-11-21T10:00:00Z", "End": "2026-11-21T11:00:00Z"}
AT = 1_790_000_000.0


@pytest.mark.parametrize(
    ("given", "asked"),
    [([], {}), (["--start", ASKED["Start"], "--end", ASKED["End"]], {"Window": ASKED})],
    ids=["next", "asked"],
)
@pytest.mark.parametrize(
    ("verdict", "code"), [("Healthy", 0), ("NotEnoughData", 0), ("Drift", 1), ("BadData", 1), ("Failed", 1)]
)
def test_a_window_is_judged_at_once_and_its_verdict_is_the_exit_code(
    stack, executions, given, asked, verdict, code
) -> None:
    judged = {
        "WindowId": OTHER, "Verdict": verdict, "Retrain": False, "Reason": "the policy starts no run",
    }  # fmt: skip
    started = executions((OTHER, AT, "SUCCEEDED"), output=judged)
    known = {
        "verdict": verdict, "reasons": ["one", "two"], "records": 1200,
        "window": {"start": ASKED["Start"], "end": ASKED["End"]},
    }  # fmt: skip
    window = run_id(f"{MACHINE}:{OTHER}", datetime.fromtimestamp(AT, UTC))
    stack.put(f"monitoring/{window}/verdict.json", json.dumps(known))
    ended = perennial("monitor", *given)
    assert ended.exit_code == code
    assert ended.stdout.splitlines() == [
        f"window    {window}: {verdict}",
        f"requests  1,200 from {ASKED['Start']} to {ASKED['End']}",
        "because   one",
        "          two",
        *(["follows   the policy starts no run"] if code else []),
        f"report    s3://{BUCKET}/monitoring/{window}/report.html",
    ]
    (call,) = [json.loads(request.body) for request in started]
    assert (call["stateMachineArn"], json.loads(call["input"])) == (f"{MACHINE}-monitor", asked)
    as_json = json.loads(perennial("monitor", "--json").stdout)
    assert (as_json["id"], as_json["verdict"], as_json["retrain"]) == (window, verdict, False)


def test_where_there_is_nothing_to_judge_the_reason_is_said(executions) -> None:
    executions((OTHER, AT, "SUCCEEDED"), output={"Decision": "NoWindow", "Reason": "nothing has come"})
    ended = perennial("monitor")
    assert ended.exit_code == 0
    assert "because  nothing has come" in ended.stdout


def test_a_monitor_that_fails_says_why(executions, answers) -> None:
    executions((OTHER, AT, "FAILED"))
    cause = json.dumps({"errorType": "WindowError", "errorMessage": "Window.End: it is in the future"})
    failed = {"executionArn": f"{MACHINE}:{OTHER}", "startDate": AT, "status": "FAILED", "cause": cause}
    answers("stepfunctions", "DescribeExecution", (200, failed))
    ended = perennial("monitor")
    assert ended.exit_code == 1
    assert "Failed" in ended.stdout
    assert "because  Window.End: it is in the future" in ended.stdout


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--start", ASKED["Start"]], "a window has both, or neither"),
        (["--start", "yesterday", "--end", ASKED["End"]], "got 'yesterday'; expected a time in UTC such as"),
        (
            ["--start", "", "--end", ""],
            "got ''; expected a time in UTC such as",
        ),  # variables of a shell that are not set
    ],
)
def test_half_a_window_and_what_is_no_time_start_nothing(executions, given, expected) -> None:
    started = executions((OTHER, AT, "SUCCEEDED"))
    ended = perennial("monitor", *given)
    assert (ended.exit_code, started) == (2, [])
    assert expected in " ".join(ended.stderr.split())


def test_windows_that_were_judged_are_listed_the_newest_first(stack) -> None:
    drifted = {
        "verdict": "Drift", "reasons": ["make: " + "new " * 60], "records": 1200, "ground_truth": {"matched": 300},
        "window": {"start": "2026-11-21T10:00:00Z", "end": "2026-11-21T11:00:00Z"},
    }  # fmt: skip
    quiet = {"verdict": "NotEnoughData", "reasons": [], "records": 0, "window": {"start": "a", "end": "b"}}
    stack.put(f"monitoring/{RUN}/verdict.json", json.dumps(quiet))
    stack.put(f"monitoring/{OTHER}/verdict.json", json.dumps(drifted))
    stack.put("monitoring/20261122093440-1a2b/config.json", "{}")  # has not ended
    stack.put("monitoring/notes/verdict.json", "{}")
    listed = json.loads(perennial("windows", "--json").stdout)
    assert [one["id"] for one in listed] == [OTHER, RUN]
    assert listed[0] == {"id": OTHER, **drifted, "report": f"s3://{BUCKET}/monitoring/{OTHER}/report.html"}
    header, first, second = perennial("windows").stdout.splitlines()
    assert header.split() == ["window", "verdict", "start", "end", "records", "labels", "reason"]
    assert first.split()[:7] == [OTHER, "Drift", *drifted["window"].values(), "1,200", "300", "make:"]
    assert second.split() == [RUN, "NotEnoughData", "a", "b", "0", "0"]
    assert [one["id"] for one in json.loads(perennial("windows", "--most", "2", "--json").stdout)] == [OTHER]


@pytest.mark.parametrize(
    ("churn", "expected"),
    [
        ("{type: boolean, parse: {true: [leaves], false: [stays]}}", "that churn is 'leaves', from 0 to 1"),
        ("{type: integer, min: 0, max: 1}", "that churn is true (1), from 0 to 1"),
    ],
)
def test_predict_knows_of_which_class_a_score_is(churn: str, expected: str) -> None:
    document = (
        f"problem: binary_classification\ntarget: churn\ncolumns: {{churn: {churn}, age: {{type: float}}}}\n"
        "split: {method: random, seed: 1, validation: 0.2, test: 0.2}\nalgorithm: xgboost\n"
        "gate: {metric: auc, threshold: 0.7}\n"
    )
    assert predictions.meaning(definition.parse(document, "model.yaml")) == f"score: how probable it is {expected}"
