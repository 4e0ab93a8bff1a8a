"""A stack on which people have to approve, deployed so, and one algorithm's third kind of problem.

Everybody answers in another way, in this order: AWS CLI and command as the mail has them, the registry's own API.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from localcloud.engine import mounted_page
from localcloud.mailbox import Message
from perennial_cli.web.guard import TOKEN
from tests import browser, verdicts
from tests.command import perennial
from tests.e2e.conftest import App, Run, dropped_version, mails
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.resumed import Resumable
from tests.e2e.test_other_models import bodies
from tests.e2e.test_score_batch import Scoring
from tests.waiting import wait_for
from tools import demo_data

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("e2e-models")
AWS = Path(__file__).resolve().parents[2] / ".venvs" / "cli" / "bin" / "aws"
WAIT = "Wait for approval"
FAILED_IN_WAIT = f'State "{WAIT}" failed'


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App]) -> App:
    quick = {"QuietPeriodSeconds": "0", "CaptureDelaySeconds": "0"}
    return deploy("perennial-penguins", ModelName="penguins", Approval="manual", ApprovalDays="1", **quick)


@pytest.fixture(scope="module")
def asked(app: App) -> str:
    """The execution of a first drop, once it waits."""
    body = demo_data.penguins()
    version = app.client("s3").put_object(Bucket=app.bucket, Key="raw/penguins.csv", Body=body)["VersionId"]
    arn = wait_for(lambda: app.find(lambda given: dropped_version(given) == version), "an execution")
    return waits(arn)


def waits(arn: str) -> str:
    wait_for(lambda: situation.has_entered(arn, WAIT) and situation.is_waiting(arn), f"the token of {arn}", 120)
    return arn


def question(app: App, arn: str) -> Message:
    """The one mail that asks about the version of an execution's run."""
    run = situation.run_of(arn)
    subject = f"[{app.stack}]"
    about = [mail for mail in mails(app.state) if subject in mail.subject and situation.is_about(mail, run)]
    (mail,) = (mail for mail in about if mail.subject.startswith("Approval needed: "))
    return mail


def way(mail: Message, *words: str) -> list[str]:
    """The words of the command in a mail that has these."""
    lines = (line.lstrip(" 123.") for line in mail.body.splitlines())
    (line,) = (line for line in lines if line.startswith(words[0]) and all(word in line for word in words))
    return shlex.split(line)


def version_of(app: App, number: int) -> dict[str, Any]:
    described = app.client("sagemaker").describe_model_package(ModelPackageName=f"{app.stack}/{number}")
    return dict(described)


def say(app: App, number: int, status: str) -> None:
    """As the console of the registry does."""
    arn = version_of(app, number)["ModelPackageArn"]
    app.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)


def test_nothing_serves_while_a_mail_asks_with_metric_report_and_three_ways_to_answer(app: App, asked: str) -> None:
    mail, run = question(app, asked), situation.run_of(asked)
    assert "meets the threshold" in mail.body
    assert "there is no model in service to compare with" in " ".join(mail.body.split())
    assert f"runs/{run}/approval.html" in mail.body
    assert bodies(app, f"runs/{run}/approval.html")
    so_far = json.loads(perennial("show", "1", "--stack", app.stack, "--json").stdout)
    assert (so_far["status"], so_far["run_id"]) == ("AwaitsApproval", run)
    assert so_far["metrics"]["candidate"]
    (listed,) = json.loads(perennial("runs", "--stack", app.stack, "--json").stdout)
    assert (listed["status"], listed["run_id"], listed["version"]["number"]) == ("AwaitsApproval", run, 1)
    early = perennial("predict", '{"island": "Dream"}', "--stack", app.stack)
    assert (early.exit_code, f"no model of {app.stack} has come into service" in early.stderr) == (1, True)
    assert "Studio, Models, group perennial-penguins, version 1" in mail.body
    assert way(mail, "perennial approve") == ["perennial", "approve", "1", "--stack", app.stack]
    assert "nobody answers within 1 day" in mail.body
    assert version_of(app, 1)["ModelApprovalStatus"] == "PendingManualApproval"
    assert app.parameters() == {}
    assert app.client("sagemaker").list_endpoints(NameContains=app.stack)["Endpoints"] == []


@pytest.fixture(scope="module")
def first(app: App, asked: str) -> Run:
    """The run of the first drop, which somebody lets go on by the line for the AWS CLI, as the mail has it."""
    line = [str(AWS), *way(question(app, asked), "aws sagemaker update-model-package", "Approved")[1:]]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return situation.end_of(app, asked)


def test_what_was_approved_by_the_aws_cli_serves(app: App, first: Run) -> None:
    assert (first.status, first.error, first.cause) == ("SUCCEEDED", None, None)
    asking, told = app.mails(first, expected=2)
    assert asking.subject.startswith("Approval needed: ")
    assert told.subject.startswith("Model in service: ")
    assert app.in_service()["Parameters"] == situation.names_of(app, first.run_id)


def test_the_species_of_a_penguin_is_answered_with_the_probability_of_each(app: App, first: Run) -> None:
    run = first
    record = app.record(run)
    assert record["gate"]["metric"] == "accuracy"
    assert record["metrics"]["candidate"]["accuracy"] >= record["gate"]["threshold"]
    assert set(record["metrics"]["training"]) >= {"validation:merror", "validation:mlogloss"}
    (biscoe,) = record["metrics"]["slices"]
    assert (biscoe["name"], biscoe["failed"]) == ("biscoe", False)
    assert 30 <= biscoe["rows"] < record["metrics"]["test_rows"]
    reason = f"accuracy {biscoe['candidate']:.6g} on the {biscoe['rows']} test rows of slice biscoe meets at least 0.85"
    assert f"Slice biscoe  {reason}" in app.mails(run)[-1].body

    record, classes = "Biscoe,50.0,15.2,220,5700,male", ["Adelie", "Chinstrap", "Gentoo"]
    answer = json.loads(app.invoke(record))
    assert answer["predicted_label"] == "Gentoo"
    assert sum(answer["score"]) == pytest.approx(1)
    assert json.loads(app.invoke(record, accept="application/json")) == {"predictions": [answer]}
    label, *probabilities = app.invoke(record, accept="text/csv").strip().split(",")
    assert (label, [*map(float, probabilities)]) == ("Gentoo", answer["score"])

    (body,) = bodies(app, f"runs/{run.run_id}/baselines/model-quality/statistics.json")
    measured = json.loads(body)["multiclass_classification_metrics"]
    assert list(measured["confusion_matrix"]) == classes
    (body,) = bodies(app, f"runs/{run.run_id}/baselines/attribution/analysis.json")
    assert set(json.loads(body)["explanations"]["kernel_shap"]["label0"]["global_shap_values"]) >= {"island", "sex"}


def test_a_window_of_classes_is_judged_by_what_penguins_were(app: App, first: Run) -> None:
    """Every third penguin; of three that are Adelie somebody says that they are another species."""
    runtime, rows = app.client("sagemaker-runtime"), demo_data.penguins().decode().splitlines()[1::3]
    told, right = ["inference_id,label"], 0
    for number, row in enumerate(rows):
        species, _, record = row.partition(",")
        label = "Gentoo" if number in (1, 2, 3) else species
        answer = runtime.invoke_endpoint(
            EndpointName=app.endpoint, ContentType="text/csv", Accept="text/csv", InferenceId=f"p{number}", Body=record
        )
        right += answer["Body"].read().decode().partition(",")[0] == label
        told.append(f"p{number},{label}")
    app.client("s3").put_object(Bucket=app.bucket, Key="ground-truth/penguins.csv", Body="\n".join(told).encode())
    time.sleep(1.1)  # a window ends with a whole second
    started = app.client("stepfunctions").start_execution(
        stateMachineArn=app.outputs["MonitorStateMachineArn"], input="{}"
    )
    judged = wait_for(lambda: Run.ended(started["executionArn"]), "the verdict", pause=0.1)
    (body,) = bodies(app, f"monitoring/{judged.output['WindowId']}/verdict.json")
    verdict = json.loads(body)
    assert (verdict["verdict"], verdict["ground_truth"]["matched"]) == ("Healthy", len(rows)), verdict["reasons"]
    measured = {one["name"]: one["value"] for one in verdict["analyses"]["model_quality"]["metrics"]}
    assert measured["accuracy"] == pytest.approx(right / len(rows))
    assert right <= len(rows) - 3
    (page,) = bodies(app, f"monitoring/{judged.output['WindowId']}/report.html")
    assert all(name in page.decode() for name in ("Adelie", "Chinstrap", "Gentoo"))


@pytest.fixture
def waiting(app: App, first: Run) -> Iterator[str]:
    """A run that waits until version 1, which serves, is approved; it is approved in the end."""
    serving = app.in_service()
    names = serving["Parameters"]
    champion = {"ModelName": names["model"], "EndpointConfigName": serving["Config"], "RunId": names["run"]}
    answers = {state: {"Champion": champion} for state in ("Resolve configuration", "Reserve deployment")}
    say(app, 1, "PendingManualApproval")
    function = "function:request_approval"  # by the third try
    failing = app.faults.injected(function, "error", error="Lambda.ServiceException")
    with app.faults.injected(function, "throttle"), failing:
        arn = Resumable(app, first).start("Needs approval?", again=False, answers=answers)
        wait_for(lambda: situation.is_waiting(arn), "the token")
    yield arn
    say(app, 1, "Approved")
    assert app.in_service() == serving


def test_a_run_goes_on_when_its_version_is_approved_in_the_registry(app: App, waiting: str) -> None:
    say(app, 1, "Approved")
    run = situation.end_of(app, waiting)
    assert (run.status, run.cause) == ("SUCCEEDED", None)


def test_a_run_goes_on_by_the_command_that_the_mail_names(app: App, asked: str, waiting: str) -> None:
    approved = perennial(*way(question(app, asked), "perennial approve")[1:])
    assert approved.stdout == f"version 1 of {app.stack}: Approved, before PendingManualApproval. It is in service.\n"
    run = situation.end_of(app, waiting)
    assert (run.status, run.cause) == ("SUCCEEDED", None)


def test_a_run_ends_by_the_command_that_rejects(app: App, asked: str, waiting: str) -> None:
    assert perennial(*way(question(app, asked), "perennial reject")[1:]).exit_code == 0
    run = situation.end_of(app, waiting)
    assert run.error == "VersionRejectedError"
    assert str(run.cause).endswith("somebody has rejected it: why")


@matrix("People", "nobody answers in time, and somebody approves later", ends="NotApproved, then Succeeded")
def test_a_version_that_nobody_has_answered_in_time_is_deployed_when_it_is_approved_after_all(
    app: App, first: Run
) -> None:
    """The wait of a day is cut short for a run that goes on from there; the first, which still waits, is stopped.

    Files are scored by what is approved when they come.
    """
    scoring, scored = Scoring(app, demo_data.penguins()), {}
    before, states = app.in_service(), app.client("stepfunctions")
    started = {"Trigger": {"Type": "Manual", "By": "test"}, "Overrides": {"HyperParameters": {"num_round": 60}}}
    arn = waits(situation.start_with(app, started))
    scored[1] = scoring.started(scoring.put(name="before.csv"))
    body = " ".join(question(app, arn).body.split())
    assert "model in service" in body
    assert f"perennial approve 2 --stack {app.stack}" in body
    waiting = Run(situation.run_of(arn), arn, "RUNNING", None, None, {})
    late = situation.end_of(app, Resumable(app, waiting).start(WAIT, again=False, limits={WAIT: 1}))
    assert (late.error, late.cause) == (
        "ApprovalTimedOut",
        f"{FAILED_IN_WAIT}: version 2: nobody has approved or rejected it within 1 day",
    )
    states.stop_execution(executionArn=arn)
    assert situation.end_of(app, arn).status == "ABORTED"
    assert app.in_service() == before
    known = situation.executions(app)
    assert scoring.ended(scored[1]).output["Version"] == 1
    say(app, 2, "Approved")
    scored[2] = scoring.started(scoring.put(name="after.csv"))
    (deployment,) = situation.started_since(app, known)
    run = situation.end_of(app, deployment)
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert app.in_service()["Parameters"] == situation.names_of(app, waiting.run_id)
    output = scoring.ended(scored[2]).output
    assert (output["Version"], output["RunId"]) == (2, waiting.run_id)


def test_linear_learner_tells_the_species_as_well(app: App, first: Run) -> None:
    arn = waits(
        situation.start_with(app, {"Trigger": {"Type": "Manual"}, "Overrides": {"Algorithm": "linear-learner"}})
    )
    so_far = json.loads(perennial("show", situation.run_of(arn), "--stack", app.stack, "--json").stdout)
    assert so_far["configuration"]["algorithm"]["name"] == "linear-learner"
    assert so_far["metrics"]["candidate"]["accuracy"] >= 0.9
    assert so_far["metrics"]["candidate"]["logloss"] < 0.5
    assert perennial(*way(question(app, arn), "perennial approve")[1:]).exit_code == 0
    run = situation.end_of(app, arn)
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert app.in_service()["Parameters"] == situation.names_of(app, run.run_id)
    answer = json.loads(app.invoke("Biscoe,50.0,15.2,220,5700,male"))
    assert (answer["predicted_label"], sum(answer["score"])) == ("Gentoo", pytest.approx(1))


# ---- Whoever would rather look: the console in a browser


WHY = '<img src=x onerror=alert(1)> no column price & "none" of <b>it</b>'


@pytest.fixture(scope="module")
def looking(app: App, first: Run) -> Iterator[tuple[Page, list[str]]]:
    browser.program()
    with browser.console(app.stack) as address, browser.opened(address) as looked:
        yield looked


@pytest.fixture
def page(looking: tuple[Page, list[str]]) -> Iterator[Page]:
    """A page in which nothing goes wrong, and that asks nobody else."""
    page, wrong = looking
    yield page
    assert wrong == []


def again() -> bytes:
    """The same penguins in another order: data that no run has trained on, and a model that is as good."""
    header, *rows = demo_data.penguins().decode().splitlines()
    return "\n".join([header, *reversed(rows), ""]).encode()


def go_to(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
    page.locator(f"nav a[aria-current=page]:text-is('{name}')").wait_for()
    page.get_by_role("heading", level=1).wait_for()


def drop(page: Page, name: str, body: bytes) -> None:
    """Take a file out of a folder and let it go over the page; wait until its run is looked at."""
    go_to(page, "Runs")
    transfer = page.evaluate_handle(
        """([name, text]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], name, { type: "text/csv" }));
          return transfer;
        }""",
        [name, body.decode()],
    )
    zone = page.locator(".drop")
    zone.dispatch_event("dragover", {"dataTransfer": transfer})
    zone.dispatch_event("drop", {"dataTransfer": transfer})
    page.get_by_role("heading", name=re.compile(r"^Run \d+-\w+$")).wait_for()


def said(page: Page, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def test_a_run_that_is_broken_by_a_fault_says_why_in_the_browser(app: App, page: Page) -> None:
    """What the job says looks like HTML, and stays the text that it is."""
    go_to(page, "Faults")
    page.get_by_label("What fails").fill("job:train")
    page.get_by_label("How", exact=True).select_option("exit")
    page.get_by_label("What it says").fill(WHY)
    page.get_by_role("button", name="Let it fail").press("Enter")
    page.get_by_role("row", name="job:train").filter(has_text=WHY).wait_for()

    drop(page, "more <b>penguins.csv", again())
    said(page, "The run has ended: Failed")
    page.get_by_text(WHY).first.wait_for()
    go_to(page, "Mails")
    page.locator("summary").filter(has_text="Run failed: in state 'Train'").first.press("Enter")
    page.locator("details[open]").get_by_text(WHY).wait_for()


def test_a_version_is_approved_in_the_browser_and_serves(app: App, page: Page) -> None:
    drop(page, "more <b>penguins.csv", again())
    said(page, WAIT)
    run = page.url.rpartition("/")[2]
    page.get_by_role("link", name="approve or reject it").click()
    page.get_by_role("row").filter(has_text=run).get_by_role("button", name="Approve").click()
    page.get_by_role("alert").filter(has_text="Approved, before PendingManualApproval").wait_for()
    page.get_by_role("link", name=run).click()
    said(page, "The run has ended: Succeeded")
    states = page.get_by_role("row").filter(has_text=re.compile("^Train"))
    assert re.search(r"Succeeded[\d.]+ s[\d.e-]+ USDTraining job .*-train-0", states.inner_text().replace("\t", ""))
    assert app.parameters()["run"] == run
    with page.expect_download() as report:
        page.get_by_role("button", name="Save the report").click()
    assert (report.value.suggested_filename, b"<html" in report.value.path().read_bytes()) == (
        f"report-{run}.html",
        True,
    )
    page.get_by_role("button", name=re.compile("^Train: Succeeded, .+ USD$")).press("Enter")
    page.get_by_role("link", name=re.compile("^Log of .*-train-0$")).click()
    page.get_by_label("Lines of the log").filter(has_text="validation-merror").wait_for()
    go_to(page, "Lineage")
    page.get_by_role("listitem").filter(has_text="more <b>penguins.csv").last.wait_for()


def test_a_version_is_rejected_in_the_browser_with_a_reason_alone(app: App, page: Page) -> None:
    go_to(page, "Versions")
    reject = page.get_by_role("button", name="Reject version 1", exact=True)
    reject.click()
    page.get_by_role("alert").filter(has_text="Say why version 1 is rejected.").wait_for()
    page.get_by_label("Why").fill(WHY)
    reject.click()
    page.get_by_role("alert").filter(has_text="Version 1: Rejected, before Approved.").wait_for()
    version = version_of(app, 1)
    assert (version["ModelApprovalStatus"], version["ApprovalDescription"]) == ("Rejected", WHY)


def test_the_metric_of_runs_is_drawn_over_time_above_what_they_cost(page: Page) -> None:
    go_to(page, "Runs")
    label = re.compile(r"^accuracy of \d+ runs; the newest has [\d.]+, the threshold is [\d.]+$")
    drawn = page.get_by_role("img", name=label)
    drawn.locator("circle.candidate").first.wait_for()
    assert drawn.locator("circle.champion").count() > 0
    assert drawn.locator("path.threshold[d^=M]").count() == 1
    page.get_by_role("heading", name="What it costs").wait_for()
    assert re.search(r"a month[\d.]+ USD \(\d+ runs\)", page.locator("dl").last.inner_text().replace("\n", ""))


def test_the_distance_of_each_feature_is_shown_window_by_window(app: App, page: Page) -> None:
    key = "monitoring/20261120120000-1a2b/verdict.json"
    app.client("s3").put_object(Bucket=app.bucket, Key=key, Body=json.dumps(verdicts.drifted("flipper_length_mm")))
    go_to(page, "Drift")
    page.get_by_role("row", name="flipper_length_mm 0.4 drifted").wait_for()
    page.get_by_role("columnheader", name="11-20 10:00").wait_for()
    page.get_by_role("row").filter(has_text="flipper_length_mm: median 200 -> median 900").wait_for()


def test_a_form_of_the_definition_asks_the_endpoint_and_explains_its_answer(page: Page) -> None:
    go_to(page, "Ask")
    page.get_by_label("island").select_option("Biscoe")
    for name, value in (("bill_length_mm", "50"), ("bill_depth_mm", "15.2"), ("flipper_length_mm", "220")):
        page.get_by_label(name).fill(value)
    page.get_by_role("button", name="Ask").click()
    page.get_by_text("Gentoo with probability").wait_for()
    assert page.get_by_role("row").filter(has_text="flipper_length_mm").count() == 1
    page.get_by_label("bill_length_mm").fill("5000")
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("alert").filter(has_text="bill_length_mm: ").wait_for()


def test_it_is_on_the_port_of_the_local_cloud_as_well(app: App, first: Run) -> None:
    connection = HTTPConnection(urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc)
    answers = []
    for known in ({}, {TOKEN: mounted_page.token(app.state)}):
        connection.request("GET", f"{mounted_page.PATH}/api/versions?stack={app.stack}", headers=known)
        reply = connection.getresponse()
        answers.append((reply.status, json.loads(reply.read())))
    connection.close()
    (refused, _), answered = answers
    assert refused == 401
    assert answered == (200, json.loads(perennial("versions", "--stack", app.stack, "--json").stdout))


def test_it_works_in_the_browser_below_a_path_as_well(app: App, looking: tuple[Page, list[str]]) -> None:
    known = looking[0].context.browser
    assert known is not None
    page = known.new_page()
    address = f"{os.environ['AWS_ENDPOINT_URL']}{mounted_page.PATH}"
    wrong = browser.visit(page, f"{address}/#token={mounted_page.token(app.state)}")
    page.get_by_label("Stack").select_option(app.stack)
    page.get_by_role("heading", name=f"Runs of {app.stack}").wait_for()
    go_to(page, "Versions")
    page.get_by_role("button", name="Reject version 1", exact=True).wait_for()
    assert (page.url, wrong) == (f"{address}/#/versions", [])
    page.close()
