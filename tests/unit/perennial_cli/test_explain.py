"""`perennial explain`: the chain from what serves to the data versions, or where it is broken."""

import json
import re

import pytest

from perennial_cli import explain
from tests.command import perennial
from tests.unit.conftest import BUCKET, STACK
from tests.unit.perennial_cli.test_stacks import MISSING, listed

RUN = "20261120093440-1a2b"
NAME = f"{STACK}-{RUN}"
RECORD = {
    "run_id": RUN,
    "status": "Succeeded",
    "bucket": BUCKET,
    "execution": {"started_at": "2026-11-20T09:34:40.000Z"},
    "input": {"Trigger": {"Type": "DataDrop", "Object": {"key": "raw/cars.csv"}}},
    "configuration": {
        "sources": {"data_prefix": "the run's input, Overrides"},
        "algorithm": {"name": "xgboost", "hyperparameters": {"num_round": "300", "eta": "0.1"}},
    },
    "gate": {"reason": "rmse 2,345.6 meets the threshold (at most 3,500)"},
    "metrics": {
        "candidate": {"rmse": 2345.6, "r2": None},
        "comparison": {"rows": 161, "unseen": {"rows": 150, "difference": [-180.0, 12.0]}},
    },
    "champion": {"ModelName": "cars-before"},
    "rows": {"read": 2007, "used": 2004, "quarantined": 3, "repeated": 1200},
    "serving_images": [
        {"specified": "1.example/sklearn:1.9-0", "resolved": f"1.example/sklearn@sha256:{'5' * 64}"},
        {"specified": "1.example/xgboost:3.2-0", "resolved": None},
    ],
    "code": {"hash": "0123456789abcdef", "commit": "abc123"},
    "data": {
        "fingerprint": "f" * 64,
        "file_count": 25,
        "size_bytes": 123456,
        "manifest": f"s3://{BUCKET}/runs/{RUN}/manifest.json",
        "files": [{"Key": f"raw/{number:02}.csv", "VersionId": f"v{number}"} for number in range(25)],
    },
}


def found(**parameters):
    """A stack as CloudFormation describes it."""
    days = {"AwakeHours": "", "AwakeTimeZone": "UTC", "AwakeDays": "MON,TUE,WED,THU,FRI,SAT,SUN", "WakeBy": "clock"}
    values = {"ModelName": "used-cars", **days, **parameters}
    return {
        "StackName": STACK,
        "Outputs": [{"OutputKey": "StateMachineArn", "OutputValue": "arn"}],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
    }


@pytest.fixture
def served(aws):
    """A stack whose endpoint serves a model of a run."""
    aws.create_model(NAME)
    aws.create_config(NAME)
    aws.client("sagemaker").create_endpoint(EndpointName=STACK, EndpointConfigName=NAME)
    aws.put(f"runs/{RUN}/run.json", json.dumps(RECORD))
    return aws


def test_the_chain_goes_from_the_endpoint_to_the_data_versions(served):
    ended = perennial("explain", "--stack", STACK)
    assert ended.exit_code == 0
    text = ended.stdout
    order = [
        STACK,
        f"config       {NAME}",
        f"model      {NAME}",
        "artifact",
        f"run      {RUN}",
        "its input says: DataDrop (raw/cars.csv)",
        "data_prefix by the run's input, Overrides",
        "rmse 2,345.6",
        "804 different ones in the sets: 2,007 read, 3 quarantined, 1,200 repeat others",
        "150 of 161 test rows unseen by cars-before: difference -180 to 12 (95 % interval)",
    ]
    order += ["eta=0.1, num_round=300", f"sklearn:1.9-0, which is sha256:{'5' * 64}", "xgboost:3.2-0, which is unknown"]
    order += ["commit abc123", f"s3://{BUCKET}/raw/00.csv  version v0", "and 5 more"]
    positions = [text.index(expected) for expected in order]
    assert positions == sorted(positions)


def test_the_json_has_every_data_version(served):
    found = json.loads(perennial("explain", "--stack", STACK, "--json").stdout)
    assert found["run"] == RECORD
    assert found["artifacts"] == [f"s3://{BUCKET}/model.tar.gz"]


def test_a_stack_without_an_endpoint_is_told_so(aws, monkeypatch):
    monkeypatch.setattr("perennial_cli.stacks.find", lambda _: found())
    ended = perennial("explain", "--stack", STACK)
    assert ended.exit_code == 1
    told = ended.stderr
    assert re.search(r"error: .*Could not find endpoint", told)
    assert f"No model of {STACK} has come into service: `perennial runs` says what became of its runs" in told


def test_an_endpoint_that_sleeps_is_explained_by_what_it_is_made_of_again(served, monkeypatch):
    served.client("sagemaker").delete_endpoint(EndpointName=STACK)
    served.client("ssm").put_parameter(Name=f"/{STACK}/endpoint-config", Value=NAME, Type="String")
    monkeypatch.setattr("perennial_cli.stacks.find", lambda _: found(AwakeHours="07:00-19:00"))
    chain = explain.lineage(STACK)
    assert chain["endpoint"]["status"] == "not there; it sleeps outside of 07:00-19:00 UTC"
    assert (chain["model"], chain["run"]) == (NAME, RECORD)


def test_a_stack_that_is_not_there_is_told_so(answers):
    answers("cloudformation", "DescribeStacks", MISSING, listed(STACK))
    ended = perennial("explain", "--stack", "perennial-telco")
    assert ended.exit_code == 1
    told = ended.stderr
    assert "error: there is no stack perennial-telco: " in told
    assert told.endswith(f"There are: {STACK}\n")


def test_a_model_that_no_run_made_is_named(aws):
    aws.create_model("by-hand")
    aws.create_config("by-hand")
    aws.client("sagemaker").create_endpoint(EndpointName=STACK, EndpointConfigName="by-hand")
    with pytest.raises(explain.LineageError, match="by-hand, which is not a model of this stack's runs"):
        explain.lineage(STACK)


def test_a_run_without_a_record_is_named(served):
    served.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{RUN}/run.json")
    ended = perennial("explain", "--stack", STACK)
    assert ended.exit_code == 1
    assert f"runs/{RUN}/run.json is not in {BUCKET}" in ended.stderr


def test_keys_of_data_files_cannot_forge_lines(served):
    record = {**RECORD, "data": {**RECORD["data"], "files": [{"Key": "raw/a\nendpoint  other", "VersionId": "v"}]}}
    served.put(f"runs/{RUN}/run.json", json.dumps(record))
    ended = perennial("explain", "--stack", STACK)
    assert not any(line.startswith("endpoint  other") for line in ended.stdout.splitlines())
