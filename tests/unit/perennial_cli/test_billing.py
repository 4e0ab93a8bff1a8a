"""`perennial cost`: before, from earlier runs; after, from the jobs' own records; prices of the table and of AWS."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.loaders import Loader

from perennial.model import definition
from perennial.runs.costs import Job
from perennial.serving import hours
from perennial_cli import billing, prices
from perennial_cli.billing import ASSUMED_SECONDS
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.unit.conftest import REGION
from tests.unit.perennial.runs.test_costs import RUN, job
from tests.unit.perennial_cli.test_running import MODEL_YAML, record, stack

__all__ = ["stack"]  # a fixture
# The answer of the API in botocore's own documentation of it: one product, of which the text is what AWS sends.
EXAMPLE: dict[str, Any] = Loader().load_data("pricing/2017-10-15/examples-1")["examples"]["GetProducts"][0]


def product(usage: str, usd: str = "0.1280000000", unit: str = "Hrs") -> dict[str, Any]:
    """Return that product as one of SageMaker's: what differs are values, no keys of the answer."""
    made: dict[str, Any] = json.loads(EXAMPLE["output"]["PriceList"][0])
    made["product"]["attributes"] |= {"usagetype": usage, "instanceName": "ml.m5.large", "regionCode": REGION}
    (term,) = made["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    dimension |= {"unit": unit, "pricePerUnit": {"USD": usd}}
    return made


PRODUCTS = [product(f"EU-{usage}:ml.m5.large") for usage in ("Processing", "Train", "Tsform", "Host")]


@pytest.fixture(autouse=True)
def no_prices_yet() -> None:
    prices.price.cache_clear()


def price_list(answers: Callable[..., list[Any]], *products: dict[str, Any]) -> list[Any]:
    return answers("pricing", "GetProducts", (200, {"PriceList": [json.dumps(one) for one in products]}))


def test_a_price_of_the_table_is_asked_of_nobody(aws, answers) -> None:
    requests = price_list(answers)
    assert prices.price("us-east-1", "ml.m5.large", "Training") == 0.115
    assert requests == []


def test_a_price_that_is_not_in_the_table_is_asked_of_aws(aws, answers) -> None:
    requests = price_list(answers, *PRODUCTS)
    assert prices.price(REGION, "ml.m5.large", "Transform") == 0.128
    asked = json.loads(requests[0].body)
    assert asked["ServiceCode"] == "AmazonSageMaker"
    assert set(asked) <= {"ServiceCode", *EXAMPLE["input"]}
    wanted = {one["Field"]: one["Value"] for one in asked["Filters"]}
    assert wanted == {"regionCode": REGION, "instanceName": "ml.m5.large"}


@pytest.mark.parametrize(
    ("kind", "usd"), [("Training", 1.0), ("Processing", 2.0), ("Transform", 3.0), ("Hosting", 4.0)]
)
def test_of_the_products_of_a_machine_the_usage_of_the_job_has_the_price(aws, answers, kind: str, usd: float) -> None:
    """Without a region before it, as in us-east-1 of some services, and on the second page; others are dearer."""
    others = [product("EU-AsyncInf:ml.m5.large", "9"), product("EU-Studio:KernelGateway-ml.m5.large", "9")]
    first = [*others, product("EU-Train:ml.m5.large", "1"), product("Processing:ml.m5.large", "2")]
    second = [product("EU-Tsform:ml.m5.large", "3"), product("EU-Host:ml.m5.large", "4")]
    second.append(product("EU-Host:ml.m5.large", "99", "Quantity"))
    pages = [{"PriceList": [json.dumps(one) for one in page], "FormatVersion": "aws_v1"} for page in (first, second)]
    requests = answers("pricing", "GetProducts", (200, pages[0] | {"NextToken": "more"}), (200, pages[1]))
    assert prices.price(REGION, "ml.m5.large", kind) == usd
    assert json.loads(requests[1].body)["NextToken"] == "more"


@pytest.mark.parametrize("answer", [(200, {"PriceList": []}), (400, {"__type": "AccessDeniedException"})])
def test_a_price_that_nobody_knows_is_none(aws, answers, answer) -> None:
    answers("pricing", "GetProducts", answer)
    assert prices.price(REGION, "ml.m5.large", "Training") is None


def test_on_the_local_cloud_no_price_list_is_asked(aws, answers, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = price_list(answers, *PRODUCTS)
    monkeypatch.setattr(prices, "is_local", lambda: True)
    assert (prices.price("mars-1", "ml.m5.large", "Training"), requests) == (None, [])


def test_before_the_first_run_minutes_are_assumed_and_said_to_be(stack, answers) -> None:
    price_list(answers, *PRODUCTS)
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    ended = perennial("cost", "--runs", "10")
    assert "6 jobs of 1,440 s, assumed: 4 minutes a job" in ended.stdout
    run = 6 * ASSUMED_SECONDS * 0.128 / 3600
    assert f"{run:.3g} USD" in ended.stdout
    assert f"{run * 10 + 0.128 * 730:,.2f} USD (10 runs, 730 hours of serving)" in ended.stdout


def test_earlier_runs_say_how_long_the_next_one_takes() -> None:
    earlier = [record(jobs=[job("train", "Training", minutes)]) for minutes in (10, 20)]
    expected = billing.expected(definition.parse(MODEL_YAML, "model.yaml"), "us-east-1", earlier, 4)
    assert (expected.runs, expected.run.jobs, expected.run.seconds) == (2, 1, 900)
    assert expected.month == pytest.approx(4 * 0.25 * 0.115 + 730 * 0.115)


def test_an_endpoint_that_sleeps_costs_its_hours_and_what_that_saves_is_said() -> None:
    when = hours.read("07:00-19:00 Europe/Berlin MON,TUE,WED,THU,FRI clock")
    expected = billing.expected(definition.parse(MODEL_YAML, "model.yaml"), "us-east-1", [], 0, when)
    assert expected.month == pytest.approx(730 * 0.115 * when.share)
    assert expected.saved == pytest.approx(730 * 0.115 * (1 - when.share))
    assert expected.saved == pytest.approx(53.34, abs=0.01)


def test_the_command_says_when_it_sleeps(stack, answers, monkeypatch) -> None:
    price_list(answers, *PRODUCTS)
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    monkeypatch.setattr(Stack, "hours", hours.read("00:00-12:00 UTC MON,TUE,WED,THU,FRI,SAT,SUN run"))
    ended = perennial("cost", "--runs", "10")
    assert (
        "outside of 00:00-12:00 UTC, from the first run that ends in them; that saves 46.72 USD a month" in ended.stdout
    )
    assert "(10 runs, 365 hours of serving)" in ended.stdout


def test_a_run_that_tunes_costs_all_its_trials() -> None:
    tuned = MODEL_YAML.replace(
        "hyperparameters:\n  xgboost: {", "hyperparameters:\n  xgboost: {gamma: {min: 0, max: 2}, "
    )
    assert tuned != MODEL_YAML
    model = definition.parse(tuned + "\ntuning: {jobs: 7}\n", "model.yaml")
    expected = billing.expected(model, "us-east-1", [record(jobs=[job("train", "Training", 10)])], 4)
    assert (expected.run.jobs, expected.run.seconds) == (7, 7 * 600)


def test_what_a_run_has_cost_is_what_its_jobs_were_billed(stack, answers, monkeypatch: pytest.MonkeyPatch) -> None:
    price_list(answers, *PRODUCTS)
    jobs = [job("train", "Training", 10), job("preprocess", "Processing", 10), job("predict", "Transform", 10)]
    stack.put(f"runs/{RUN}/run.json", json.dumps(record(jobs=jobs)))
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    begun, ended = (datetime(2026, 11, 20, 10, minute, tzinfo=UTC) for minute in (0, 3))

    class Jobs:
        """SageMaker, as far as it describes jobs: training is billed for 100 seconds, the others work for 180."""

        def describe_training_job(self, **_: str) -> dict[str, Any]:
            return {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}, "BillableTimeInSeconds": 100}

        def describe_processing_job(self, **_: str) -> dict[str, Any]:
            cluster = {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}}
            return {"ProcessingResources": cluster, "ProcessingStartTime": begun, "ProcessingEndTime": ended}

        def describe_transform_job(self, **_: str) -> dict[str, Any]:
            machines = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
            return {"TransformResources": machines, "TransformStartTime": begun, "TransformEndTime": ended}

    monkeypatch.setattr(billing, "boto3", SimpleNamespace(client=lambda _: Jobs()))
    answer = json.loads(perennial("cost", RUN, "--json").stdout)
    assert [one["seconds"] for one in answer["jobs"]] == [100, 180, 180]
    assert answer["cost"]["usd"] == pytest.approx((100 + 180 + 2 * 180) * 0.128 / 3600)
    assert "together" in perennial("cost", "latest").stdout


def test_what_is_billed_for_less_than_a_second_is_no_zero(stack, monkeypatch: pytest.MonkeyPatch) -> None:
    billed = [Job(f"cars-{RUN}-train-0", "Training", "ml.m5.large", 1, 0.4321)]
    monkeypatch.setattr(billing, "billed", lambda _: billed)
    monkeypatch.setattr("perennial_cli.commands.costing.price", lambda *_: 0.115)
    job_line, together = perennial("cost", RUN).stdout.splitlines()[1:3]
    assert job_line.split() == ["train-0", "1", "ml.m5.large", "0.432", "0.0000138", "USD"]
    assert together.endswith("for 0.432 s")
