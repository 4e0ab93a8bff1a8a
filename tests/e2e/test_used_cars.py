"""The main job on the real used-car data: first run, updates, rejections; one stack, in this order."""

import csv
import io
import json
import math
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import openapi_spec_validator
import pytest

from tests import browser, lifecycle
from tests.command import perennial
from tests.e2e.api import Answer, Api
from tests.e2e.conftest import App, Run, worthless_cars
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.resumed import Resumable
from tests.e2e.rollout import Callers, baking, give_two_instances, hastened
from tests.pages import Page
from tests.waiting import wait_for
from tools import demo, demo_data

pytestmark = pytest.mark.xdist_group("e2e-used-cars")
ROOT = Path(__file__).resolve().parents[2]

CADILLAC = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip


API = {"Api": "key", "ApiRequestsPerSecond": "2", "ApiBurst": "20"}


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App]) -> App:
    people = "first@example.com,second@example.com"
    return deploy("perennial-used-cars", ModelName="used-cars", AlertEmails=people, **API)


@pytest.fixture(scope="module")
def api(app: App) -> Api:
    key = app.client("apigateway").get_api_key(apiKey=app.outputs["ApiKeyId"], includeValue=True)["value"]
    return Api.of(app, x_api_key=key)


@matrix("The API", "no model is in service yet", ends="no run; 503")
def test_api_says_before_the_first_model_when_to_ask_again(api: Api) -> None:
    answer = api.post(CADILLAC)
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    assert answer.document["detail"] == "no model is in service yet; ask again in 30 seconds"


@pytest.fixture(scope="module")
def first(app: App) -> Run:
    return app.drop("raw/cars-0001.csv", demo_data.used_cars())


def test_first_drop_puts_a_model_into_service(app: App, first: Run) -> None:
    assert (first.status, first.error, first.cause) == ("SUCCEEDED", None, None)
    serving = app.in_service()
    assert serving["Status"] == "InService"
    assert serving["Parameters"]["endpoint"] == app.endpoint
    assert serving["Parameters"]["endpoint-config"] == serving["Config"]
    assert serving["Parameters"]["run"] == first.run_id
    config = app.client("sagemaker").describe_endpoint_config(EndpointConfigName=serving["Config"])
    assert config["ProductionVariants"][0]["ModelName"] == serving["Parameters"]["model"]


def test_a_version_in_the_registry_says_what_serves_and_where_it_comes_from(app: App, first: Run) -> None:
    sagemaker, record = app.client("sagemaker"), app.record(first)
    version = sagemaker.describe_model_package(ModelPackageName=app.parameters()["model-package"])
    assert record["version"] == {"arn": version["ModelPackageArn"], "number": 1, "status": "Approved", "by": None}
    assert version["ModelPackageArn"] == first.output["ModelPackage"]
    serving = sagemaker.describe_model(ModelName=first.output["Model"])["Containers"]
    assert version["InferenceSpecification"]["Containers"] == serving
    origin = version["CustomerMetadataProperties"]
    assert (origin["run"], origin["data"]) == (first.run_id, record["data"]["fingerprint"])
    assert origin["code"] == record["code"]["hash"]
    assert float(origin["candidate"]) == pytest.approx(record["metrics"]["candidate"][origin["metric"]])
    assert origin["hyperparameter:objective"] == "reg:squarederror"
    key = version["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"].removeprefix(f"s3://{app.bucket}/")
    statistics = app.client("s3").get_object(Bucket=app.bucket, Key=key)["Body"].read()
    assert b"regression_metrics" in statistics


def test_model_answers_in_dollars_and_beats_the_mean_by_a_factor_of_three(app: App, first: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(demo_data.used_cars().decode())))
    prices = np.array([float(row.pop("price")) for row in rows])
    body = "\n".join(",".join(row.values()) for row in rows)
    answers = [json.loads(line)["score"] for line in app.invoke(body).splitlines()]
    assert len(answers) == len(rows)
    test_rmse = app.record(first)["metrics"]["candidate"]["rmse"]
    assert test_rmse < float(np.std(prices)) / 3
    assert math.sqrt(np.mean((np.array(answers) - prices) ** 2)) < float(np.std(prices)) / 3


def test_named_record_and_csv_record_get_the_same_answer(app: App, first: Run) -> None:
    by_name = json.loads(app.invoke(json.dumps(CADILLAC), "application/jsonlines"))["score"]
    by_position = json.loads(app.invoke("12000,8,2,true,true,true,Cadillac,convertible"))["score"]
    assert by_name == by_position
    assert 20_000 < by_name < 80_000


def test_api_answers_who_has_a_key_as_the_endpoint_does(app: App, first: Run, api: Api) -> None:
    by_endpoint = json.loads(app.invoke(json.dumps(CADILLAC), "application/jsonlines"))
    answer = api.post([CADILLAC, {**CADILLAC, "mileage": "12000"}], **{"X-Amzn-SageMaker-Inference-Id": "listing-1"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.document == {"inference_id": "listing-1", "predictions": [by_endpoint] * 2}


@matrix("The API", "a request without a key, or with a wrong one", ends="no run; 403")
@matrix("The API", "a record that breaks the definition, or no JSON", ends="no run; 400, 415")
@matrix("The API", "a request of more than 10 MB", ends="no run; 413")
def test_api_refuses_who_has_no_key_and_what_breaks_the_definition(app: App, first: Run, api: Api) -> None:
    for stranger in (Api.of(app), Api.of(app, x_api_key="x" * 40)):
        refused = stranger.post(CADILLAC)
        assert (refused.status, refused.document["title"]) == (403, "INVALID_API_KEY")
        assert "x-api-key" in refused.document["detail"]
    broken = api.post({**CADILLAC, "doors": 9})
    assert (broken.status, broken.document["errors"][0]["expected"]) == (400, "at most 5")
    assert api.post(CADILLAC, **{"Content-Type": "text/csv"}).status == 415
    large = api.post(b" " * (10 * 1024**2 + 1))
    assert (large.status, large.document["title"]) == (413, "REQUEST_TOO_LARGE")
    assert "send fewer records" in large.document["detail"]


# Code, text and HTTP status of SageMaker's refusals; status of the API.
REFUSED = {
    "SageMaker throttles": ("ThrottlingException", "Rate exceeded", 429),
    "the endpoint is not there, or is being created": (
        "ValidationError",
        "Endpoint perennial-used-cars of account 000000000000 not found.",
        503,
    ),
    "SageMaker fails": ("InternalFailure", "no", 502),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=matrix("The API", case, ends=f"no run; {REFUSED[case][-1]}")) for case in REFUSED]
)
def test_api_tells_failures_of_the_endpoint_apart(app: App, first: Run, api: Api, case: str) -> None:
    code, text, status = REFUSED[case]
    refusal = {"operation": "sagemaker:InvokeEndpoint", "effect": "error", "error": code, "message": text}
    with app.injected(refusal) as fired:
        answer = api.post(CADILLAC)
        assert fired(), "who waits is told at once"
    assert (answer.status, "again" in answer.document["detail"]) == (status, True)


@matrix("The API", "more requests than a key may make in a month", ends="no run; 429")
def test_api_takes_no_more_requests_of_a_key_than_its_plan_allows(app: App, first: Run, api: Api) -> None:
    gateway = app.client("apigateway")
    (plan,) = gateway.get_usage_plans(keyId=app.outputs["ApiKeyId"])["items"]
    quota = {"limit": 1, "period": plan["quota"]["period"]}
    small = gateway.create_usage_plan(name=f"{app.stack}-small", apiStages=plan["apiStages"], quota=quota)["id"]
    key = gateway.create_api_key(name=f"{app.stack}-small", enabled=True)
    gateway.create_usage_plan_key(usagePlanId=small, keyId=key["id"], keyType="API_KEY")
    caller = Api.of(app, x_api_key=key["value"])
    answers = [caller.post(CADILLAC), caller.post(CADILLAC)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].document["title"] == "QUOTA_EXCEEDED"
    assert "ask who operates the stack" in answers[1].document["detail"]
    assert api.post(CADILLAC).status == 200, "another key has requests left"


def test_api_describes_the_model_in_service(first: Run, api: Api) -> None:
    document = api.get().document
    openapi_spec_validator.validate(document)
    assert document["info"]["version"] == first.run_id
    assert document["components"]["schemas"]["Record"]["properties"]["doors"]["maximum"] == 5


@matrix("The API", "more requests than the API takes at once", ends="no run; 429")
def test_api_takes_no_more_requests_at_once_than_its_burst(first: Run, api: Api) -> None:
    answers = [api.get() for _ in range(40)]
    assert {answer.status for answer in answers} == {200, 429}
    throttled = [answer for answer in answers if answer.status == 429]
    assert {(one.document["title"], one.headers["retry-after"]) for one in throttled} == {("THROTTLED", "1")}
    assert "ask again in a second" in throttled[0].document["detail"]


def test_make_that_training_never_saw_still_gets_an_answer(app: App, first: Run) -> None:
    reply = app.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=app.endpoint,
        ContentType="application/jsonlines",
        Accept="application/jsonlines",
        Body=json.dumps({**CADILLAC, "make": "Tatra"}).encode(),
    )
    assert math.isfinite(json.loads(reply["Body"].read())["score"])
    assert reply["CustomAttributes"] == "unknown_category=make:1"
    wait_for(lambda: _unknown(app, "make") == _unknown(app) == 1, "the metrics count the unknown make")


def _unknown(app: App, *columns: str) -> float:
    """How many unknown categories CloudWatch has counted, in all or in one column."""
    dimensions = [{"Name": "service", "Value": app.stack}, *({"Name": "column", "Value": name} for name in columns)]
    found = app.client("cloudwatch").get_metric_statistics(
        Namespace="Perennial",
        MetricName="UnknownCategories",
        Dimensions=dimensions,
        StartTime=datetime.now(UTC) - timedelta(hours=1),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in found["Datapoints"]))


def test_each_address_gets_exactly_one_message_with_the_numbers(app: App, first: Run) -> None:
    mails = app.mails(first, expected=2)
    assert sorted(mail.recipient for mail in mails) == ["first@example.com", "second@example.com"]
    record = app.record(first)
    assert f"{record['gate']['threshold']:,.0f}".replace(",", "") in mails[0].body.replace(",", "")


def test_mail_names_the_report_of_the_run_with_all_that_it_left(app: App, first: Run) -> None:
    where = app.record(first)["report"]
    assert all(f"Report     {where}\n" in mail.body for mail in app.mails(first, expected=2))
    key = where.removeprefix(f"s3://{app.bucket}/")
    page = Page(app.client("s3").get_object(Bucket=app.bucket, Key=key)["Body"].read())
    assert {"Predicted and actual", "What the answers rest on", "Columns of the training rows"} <= set(page.texts)


def test_calls_are_captured_in_the_documented_layout(app: App, first: Run) -> None:
    app.invoke(json.dumps(CADILLAC), "application/jsonlines")
    deadline = time.monotonic() + 15
    keys: list[str] = []
    while time.monotonic() < deadline and not keys:
        listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=f"capture/{app.endpoint}/AllTraffic/")
        keys = [item["Key"] for item in listed.get("Contents", [])]
        time.sleep(0.2)
    assert keys, "no capture file within 15 s"
    body = app.client("s3").get_object(Bucket=app.bucket, Key=keys[-1])["Body"].read().decode()
    record = json.loads(body.splitlines()[-1])
    assert record["eventVersion"] == "0"
    assert set(record["captureData"]) == {"endpointInput", "endpointOutput"}


def test_a_price_is_asked_for_in_the_browser_and_what_features_add_to_a_typical_one_is_that_price(
    app: App, first: Run
) -> None:
    with browser.console(app.stack) as address, browser.opened(address) as (page, wrong):
        page.get_by_role("link", name="Ask").click()
        for name, value in CADILLAC.items():
            control = page.get_by_label(name, exact=True)
            if isinstance(value, bool):
                control.select_option(str(value).lower())
            else:
                control.fill(str(value))
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("table").wait_for()
        added = page.locator("td[data-name=adds]").all_inner_texts()
    *parts, price = (float(text.replace(",", "")) for text in added)
    assert len(parts) > 3, "the typical car's, and what features add"
    assert price == pytest.approx(json.loads(app.invoke(json.dumps(CADILLAC), "application/jsonlines"))["score"], abs=1)
    assert (sum(parts), wrong) == (pytest.approx(price, abs=1), [])


def test_record_leads_from_the_model_back_to_the_data(app: App, first: Run) -> None:
    record = app.record(first)
    versions = app.client("s3").list_object_versions(Bucket=app.bucket, Prefix="raw/")["Versions"]
    used = {(item["Key"], item["VersionId"]) for item in record["data"]["files"]}
    assert used <= {(item["Key"], item["VersionId"]) for item in versions}
    assert {"fingerprint"} <= set(record["data"])
    assert record["input"]["Trigger"]["Type"] == "DataDrop"
    assert record["code"]["uri"] == app.outputs["CodeUri"]
    assert record["code"]["commit"]
    assert {job["status"] for job in record["jobs"]} == {"Completed"}
    assert len(record["jobs"]) == 5  # preprocess, train, predict and two baselines
    assert record["deployed"]["endpoint_config"] == app.parameters()["endpoint-config"]
    assert record["durations_seconds"]["Train"] > 0
    for name in ("configuration", "metrics", "gate", "baselines"):
        assert record[name], name


@pytest.fixture(scope="module")
def late(app: App, first: Run, api: Api) -> Iterator[Future[Answer]]:
    """What becomes of a request whose model takes longer than the API waits, while other tests go on."""
    slow = {"operation": "sagemaker:InvokeEndpoint", "effect": "delay", "seconds": 60}
    with app.injected(slow) as fired, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.post, CADILLAC)
        wait_for(fired, "the request that waits")
        yield asked


def test_api_waits_for_a_slow_model(late: Future[Answer]) -> None:
    assert not late.done()


@pytest.fixture(scope="module")
def update(app: App, first: Run) -> tuple[Run, list[str]]:
    """A second drop while clients keep calling; what they got besides answers."""
    with Callers(app, json.dumps(CADILLAC), clients=3) as callers:
        run = app.drop("raw/cars-0002.csv", demo_data.new_listings(200, seed=2))
    return run, [answer for answer in callers.answers if answer != "answered"]


def test_second_drop_updates_the_endpoint_and_compares_with_the_model_in_service(
    app: App, first: Run, update: tuple[Run, list[str]]
) -> None:
    run, _ = update
    assert (run.status, run.error, run.cause) == ("SUCCEEDED", None, None)
    record = app.record(run)
    assert record["metrics"]["champion"]["rmse"] > record["metrics"]["candidate"]["rmse"]
    assert app.in_service()["Parameters"]["run"] == run.run_id
    assert sum(item["Size"] > 0 for item in record["data"]["files"]) == 2


def test_no_request_is_lost_while_the_endpoint_is_updated(update: tuple[Run, list[str]]) -> None:
    assert update[1] == []


def test_model_worse_than_the_one_in_service_is_rejected(app: App, update: tuple[Run, list[str]]) -> None:
    before = app.in_service()
    run = app.start(HyperParameters={"num_round": 3}, GateThreshold=50_000)
    assert (run.status, run.error) == ("FAILED", "ModelAccuracyTooLow")
    assert "in service" in str(run.cause) or "previous best" in str(run.cause)
    assert app.in_service() == before


def test_model_of_other_data_is_better_on_them_and_does_not_serve(app: App, update: tuple[Run, list[str]]) -> None:
    before = app.in_service()
    app.client("s3").put_object(Bucket=app.bucket, Key="mine/cars.csv", Body=worthless_cars())
    run = app.start(DataPrefix="mine/")
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert run.output["Candidate"] < 1 < 5000 < run.output["Champion"]
    assert run.output["Withheld"].startswith("its input decides data_prefix")
    assert app.in_service() == before
    assert all(mail.subject.startswith("Trained only: ") for mail in app.mails(run, expected=2))


# Of runs whose clock has run out, or whose functions are of another commit: the state that they go on from, and what
# the states before are taken to have answered and assigned.
HOPELESS = {
    "UnknownDecision": (
        "Is there work to do?",
        {"answers": {"Resolve configuration": {"Decision": "Rest"}}},
        "Resolve configuration answered Rest; known are Train, Deploy, Duplicate",
    ),
    "DeploymentBusy": (
        "May this run deploy?",
        {"answers": {"Reserve deployment": {"Turn": "Wait"}}, "variables": {"turnDeadline": 0}},
        "waited a day to deploy, but",
    ),
    "DeploymentFailed": (
        "What does the endpoint need?",
        {"answers": {"Check endpoint": {"Action": "Wait"}}, "variables": {"deadline": 0}},
        "within two hours:",
    ),
}


@pytest.mark.parametrize("error", HOPELESS)
def test_run_that_cannot_go_on_ends_and_changes_nothing(app: App, update: tuple[Run, list[str]], error: str) -> None:
    state, changes, says = HOPELESS[error]
    before = app.in_service()
    run = Resumable(app, update[0]).go_on(state, **changes)
    assert (run.status, run.error) == ("FAILED", error)
    assert says in str(run.cause)
    assert app.in_service() == before


def test_run_whose_configuration_serves_already_is_verified_and_exported(
    app: App, update: tuple[Run, list[str]]
) -> None:
    before = app.in_service()
    run = Resumable(app, update[0]).go_on("Check endpoint", again=False)
    assert (run.status, run.cause) == ("SUCCEEDED", None)
    assert app.in_service() == before


@pytest.fixture(scope="module")
def serving(app: App, update: tuple[Run, list[str]]) -> dict[str, Any]:
    """What serves before somebody goes back."""
    return app.in_service()


@pytest.fixture(scope="module")
def expired(app: App, first: Run, serving: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Let the days of the bucket's rules pass for the run whose model is gone back to: (what is gone, what is left)."""
    s3, folder = app.client("s3"), f"runs/{first.run_id}/"
    there = {item["Key"] for item in s3.list_objects_v2(Bucket=app.bucket, Prefix=folder)["Contents"]}
    wait_for(lambda: f"{folder}validation/part-00000.csv" in lifecycle.expiring(s3, app.bucket, folder), "the mark")
    left = lifecycle.let_days_pass(s3, app.bucket, folder)
    return {key.removeprefix(folder) for key in there - left}, {key.removeprefix(folder) for key in left}


def test_what_expires_of_a_run_is_what_it_made_of_rows_on_its_way(expired: tuple[set[str], set[str]]) -> None:
    gone, left = expired
    assert {name.partition("/")[0] for name in gone} == {
        "train", "validation", "test", "labels", "baseline", "predictions", "evaluation", "preprocessor", "model",
    }  # fmt: skip
    assert {name for name in gone if name.startswith("evaluation/")} == {"evaluation/predictions.csv"}
    assert {name.partition("/")[0] for name in left} == {
        "run.json", "report.html", "config.json", "manifest.json", "input.manifest", "champion", "report", "rows",
        "evaluation", "baselines", "serving", "verification",
    }  # fmt: skip


@pytest.fixture(scope="module")
def gone_back(app: App, first: Run, serving: dict[str, Any], expired: object) -> tuple[Run, Callers]:
    """`perennial rollback` to version 1, whose model and sets are gone, on two instances; and who called meanwhile."""
    sagemaker = app.client("sagemaker")
    for delete, name in (
        (sagemaker.delete_endpoint_config, "EndpointConfigName"),
        (sagemaker.delete_model, "ModelName"),
    ):
        delete(**{name: f"{app.stack}-{first.run_id}"})
    give_two_instances(app)
    with baking(app, 1), Callers(app, json.dumps(CADILLAC)) as callers:
        done = json.loads(perennial("rollback", "--reason", "biased", "--stack", app.stack, "--json").stdout)
        assert (done["rejected"], done["version"]) == ([2], 1)
        back = app.wait(lambda given: given.get("ModelVersion") == 1)
    return back, callers


def registry(app: App) -> dict[int, tuple[str, str]]:
    """Approval and reason of each version."""
    sagemaker = app.client("sagemaker")
    listed = sagemaker.list_model_packages(ModelPackageGroupName=app.stack)["ModelPackageSummaryList"]
    described = [sagemaker.describe_model_package(ModelPackageName=one["ModelPackageArn"]) for one in listed]
    return {
        one["ModelPackageVersion"]: (one["ModelApprovalStatus"], one.get("ApprovalDescription", ""))
        for one in described
    }


def test_after_a_rollback_endpoint_names_and_registry_agree(
    app: App, first: Run, serving: dict[str, Any], gone_back: tuple[Run, Callers]
) -> None:
    back, _ = gone_back
    assert (back.status, back.cause) == ("SUCCEEDED", None)
    assert back.output.get("ModelPackage") == f"{serving['Parameters']['model-package'][:-1]}1", back.output
    assert app.in_service()["Parameters"] == situation.names_of(app, first.run_id)
    assert app.in_service()["Config"] == f"{app.stack}-{first.run_id}"
    assert {number: status for number, (status, _) in registry(app).items()} == {1: "Approved", 2: "Rejected"}
    assert registry(app)[2][1] == "rolled back to version 1: biased"
    assert ", which served then, was rejected: rolled back to version 1: biased" in app.mails(back)[0].body


def test_a_sound_model_takes_over_two_instances_one_by_one_without_a_failed_request(
    app: App, gone_back: tuple[Run, Callers]
) -> None:
    back, callers = gone_back
    assert set(callers.counts) == {"answered"}
    assert callers.counts["answered"] > 20
    described = app.client("sagemaker").describe_endpoint(EndpointName=app.endpoint)
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 2
    routing = described["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (routing["Type"], routing["CanarySize"]["Value"]) == ("CANARY", 1)
    assert "1 instance first, then all, watched for 1 s by" in app.mails(back)[0].body


def test_the_next_run_is_compared_with_what_came_back_and_over_the_threshold_is_rejected(
    app: App, first: Run, gone_back: tuple[Run, Callers]
) -> None:
    before = app.in_service()
    run = app.start(GateThreshold=1.0)
    assert (run.status, run.error) == ("FAILED", "ModelAccuracyTooLow")
    assert "threshold" in str(run.cause)
    assert app.in_service() == before
    assert len(app.mails(run, expected=2)) == 2
    assert app.record(run)["champion"]["RunId"] == first.run_id


def say(app: App, version: str, status: str, **more: str) -> None:
    app.client("sagemaker").update_model_package(ModelPackageArn=version, ModelApprovalStatus=status, **more)


@matrix("Endpoint", "an alarm rings while the canary bakes: the update is rolled back", ends="Failed")
def test_a_faulty_model_is_taken_back_by_an_alarm_of_the_stack_and_only_the_canarys_share_of_requests_fails(
    app: App, gone_back: tuple[Run, Callers]
) -> None:
    before, newer = app.in_service(), f"{app.in_service()['Parameters']['model-package'][:-1]}2"
    fault = {"operation": "endpoint", "effect": "new-model-fails", "times": "always"}
    with hastened(app), baking(app, 120), app.injected(fault), Callers(app, json.dumps(CADILLAC)) as callers:
        say(app, newer, "Approved")
        run = app.wait(lambda given: given.get("ModelVersion") == 2)
        after = len(callers.answers)
        wait_for(lambda: len(callers.answers) > after + 20, "more requests")
    alarm = f"{app.stack}-endpoint-errors"
    assert (run.status, run.error) == ("FAILED", "DeploymentFailed")
    assert alarm in str(run.cause)
    assert app.in_service() == before
    failed = [number for number, answer in enumerate(callers.answers) if answer != "answered"]
    during = Counter(callers.answers[failed[0] : failed[-1] + 1])
    assert set(during) == {"answered", "ModelError 500"}
    assert 0.3 < during["ModelError 500"] / during.total() < 0.7  # one of two instances
    assert failed[-1] < after + 5
    mail = app.mails(run, expected=2)[0]
    assert "Run failed: in state 'Deployment failed'" in mail.body
    assert alarm in mail.body.replace("\n  ", " ")
    assert alarm in app.record(run)["failure"]["cause"]
    assert registry(app)[2][0] == "Rejected"
    assert alarm in registry(app)[2][1]


@matrix("The API", "the endpoint is slow", ends="no run; 504")
def test_api_waits_no_longer_than_whoever_asks_may(late: Future[Answer]) -> None:
    answer = late.result()
    assert (answer.status, answer.headers["content-type"]) == (504, "application/problem+json")
    assert answer.document["detail"] == "the model did not answer in time; send fewer records, or again"


def test_the_version_that_was_rolled_back_is_approved_again_and_serves_with_the_capture_of_now(
    app: App, serving: dict[str, Any], gone_back: tuple[Run, Callers]
) -> None:
    """As if the stack had captured half of the requests when it served."""
    known, configuration = situation.executions(app), {"EndpointConfigName": serving["Config"]}
    sagemaker = app.client("sagemaker")
    wanted = sagemaker.describe_endpoint_config(**configuration)
    capture = {**wanted["DataCaptureConfig"], "InitialSamplingPercentage": 50}
    sagemaker.delete_endpoint_config(**configuration)
    before = {name: wanted[name] for name in ("EndpointConfigName", "ProductionVariants", "KmsKeyId") if name in wanted}
    sagemaker.create_endpoint_config(**before, DataCaptureConfig=capture)
    say(app, serving["Parameters"]["model-package"], "Approved")
    (arn,) = situation.started_since(app, known)
    again = situation.end_of(app, arn)
    assert (again.status, again.cause) == ("SUCCEEDED", None)
    assert app.in_service() == serving
    made = sagemaker.describe_endpoint_config(**configuration)
    assert made["DataCaptureConfig"] == wanted["DataCaptureConfig"]


def test_object_outside_the_prefix_starts_nothing(app: App, first: Run) -> None:
    states = app.client("stepfunctions")
    arn = app.outputs["StateMachineArn"]
    before = {item["executionArn"] for item in states.list_executions(stateMachineArn=arn)["executions"]}
    app.client("s3").put_object(Bucket=app.bucket, Key="elsewhere/cars.csv", Body=b"price\n1\n")
    time.sleep(2)
    after = {item["executionArn"] for item in states.list_executions(stateMachineArn=arn)["executions"]}
    assert after == before


def test_same_data_again_trains_nothing_and_says_why(app: App, update: tuple[Run, list[str]]) -> None:
    run = app.drop("raw/cars-0002.csv", demo_data.new_listings(200, seed=2))
    assert run.status == "SUCCEEDED"
    assert run.output["Decision"] == "AlreadyTrained"
    assert run.output["Reason"]


def test_demo_shows_all_that_it_promises(
    app: App, update: tuple[Run, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--stack", app.stack, "--state", str(app.state)]) == 0
    shown = capsys.readouterr().out
    for promised in ("Train", "threshold", "previous best", "decision", "$", "/model", "subject", "make explain"):
        assert promised in shown, promised


NOTEBOOKS = {
    "02_train_and_tune": "{'Completed': 6,",
    "03_prototype_a_flow": "✓ Create endpoint ",
    "04_read_the_results": "✓ Trained only ",
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_whole_with_a_real_kernel(
    app: App, update: tuple[Run, list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    python = ROOT / ".venvs/notebooks/bin/python"
    assert python.exists(), "install it: make .venvs/notebooks/.installed"
    monkeypatch.setenv("PERENNIAL_STACK", app.stack)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    program = [str(python), str(ROOT / "tests/run_notebook.py"), str(ROOT / f"notebooks/{name}.ipynb")]
    ran = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]
    assert NOTEBOOKS[name] in ran.stdout


def test_demo_without_a_stack_says_so(cloud_state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--stack", "no-such-stack", "--state", str(cloud_state)]) == 1
    assert "error: there is no stack no-such-stack" in capsys.readouterr().out
