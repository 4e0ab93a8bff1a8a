"""What command line tools and the Step Functions Data Science SDK do, in the local cloud (README, docs/clients.md).

The AWS CLI is the real one. The SDK is too large to install for a test: here is what its definitions are, in JSONPath.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localcloud.settings import PROJECT
from tests.integration.conftest import ROLE, Cloud, end_of, history, make_machine, unique

AWS = PROJECT / ".venvs" / "cli" / "bin" / "aws"


def aws(cloud: Cloud, *arguments: str) -> str:
    done = subprocess.run(
        [str(AWS), *arguments], env=cloud.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def execution(cloud: Cloud) -> str:
    """An execution of a state machine with a log, which has failed."""
    group, client = unique("/aws/vendedlogs/states/cli"), cloud.client("stepfunctions")
    cloud.client("logs").create_log_group(logGroupName=group)
    fail = {"Type": "Fail", "Error": "Broken", "Cause": group}
    machine = make_machine(cloud, {"StartAt": "Only", "States": {"Only": fail}})
    arn = f"arn:aws:logs:{cloud.region}:000000000000:log-group:{group}:*"
    logging = {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]}
    client.update_state_machine(stateMachineArn=machine, loggingConfiguration=logging)
    started = str(client.start_execution(stateMachineArn=machine)["executionArn"])
    end_of(cloud, started)
    return started


def test_the_aws_cli_shows_an_execution_its_history_and_its_log(cloud: Cloud, execution: str) -> None:
    described = json.loads(aws(cloud, "stepfunctions", "describe-execution", "--execution-arn", execution))
    assert (described["status"], described["error"], "output" in described) == ("FAILED", "Broken", False)
    told = json.loads(aws(cloud, "stepfunctions", "get-execution-history", "--execution-arn", execution))
    assert [event["type"] for event in told["events"]] == ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"]
    pattern = f'{{ $.type = "ExecutionFailed" && $.execution_arn = "{execution}" }}'
    group = ("--log-group-name", described["cause"])
    found = json.loads(aws(cloud, "logs", "filter-log-events", *group, "--filter-pattern", pattern))["events"]
    assert [json.loads(event["message"])["details"] for event in found] == [
        {"error": "Broken", "cause": described["cause"]}
    ]


def test_the_aws_cli_is_told_what_is_wrong_with_a_state_machine(cloud: Cloud) -> None:
    wrong = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}})
    found = json.loads(aws(cloud, "stepfunctions", "validate-state-machine-definition", "--definition", wrong))
    assert (found["result"], [problem["code"] for problem in found["diagnostics"]]) == (
        "FAIL",
        ["MISSING_TRANSITION_TARGET", "MISSING_END_STATE"],
    )


def test_the_aws_cli_shows_how_often_executions_have_failed_and_how_long_they_took(
    cloud: Cloud, execution: str
) -> None:
    machine = cloud.client("stepfunctions").describe_execution(executionArn=execution)["stateMachineArn"]

    def points(name: str, *statistics: str) -> list[dict[str, Any]]:
        asked = ["--namespace", "AWS/States", "--dimensions", f"Name=StateMachineArn,Value={machine}"]
        span = ["--period", "86400", "--start-time", "2020-01-01T00:00:00Z", "--end-time", "2100-01-01T00:00:00Z"]
        told = aws(cloud, "cloudwatch", "get-metric-statistics", *asked, "--metric-name", name, *span, *statistics)
        return list(json.loads(told)["Datapoints"])

    assert [point["Sum"] for point in points("ExecutionsFailed", "--statistics", "Sum")] == [1]
    (took,) = points("ExecutionTime", "--extended-statistics", "p90")
    assert took["ExtendedStatistics"]["p90"] >= 0


OTHERS = re.compile(r'make |pip |perennial |eval "\$\(perennial ')


def test_commands_of_the_readme_work_as_they_are_written(cloud: Cloud, tmp_path: Path) -> None:
    """But for the folder of the local cloud, and for what make and perennial run (test_docs.py, test_command.py)."""
    blocks = re.findall(r"```bash\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not OTHERS.match(line)]
    script = "\n".join(lines).replace("-m localcloud env", f"-m localcloud env --state {cloud.state}")
    for name in (".venvs", "localcloud"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "cars.csv").write_text("price\n1\n")
    bucket = unique("readme")
    cloud.client("s3").create_bucket(Bucket=bucket)

    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env={"PATH": os.environ["PATH"], "BUCKET": bucket},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert '"TrainingJobSummaries": [' in done.stdout
    assert "upload: ./cars.csv to s3://" in done.stdout
    assert cloud.client("s3").get_object(Bucket=bucket, Key="raw/cars.csv")["Body"].read() == b"price\n1\n"


def passing(**fields: Any) -> dict[str, Any]:
    return {"Type": "Pass", **fields}


def of(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Only", "States": {"Only": {**state, "End": True}}}


def test_definitions_of_the_data_science_sdk_run(cloud: Cloud) -> None:
    """Pass, Wait by all four fields, Parallel, Map and Choice as the SDK writes them, and a Fail."""
    past, client = "2019-09-04T01:59:00Z", cloud.client("stepfunctions")
    rules = [{"Variable": "$.choice", "NumericEquals": value, "Next": f"Is {value}"} for value in (1, 2)]
    states = {
        "Begin": passing(Parameters={"date": past, "seconds": 0, "array": [1, 2, 3], "choice": 2}, Next="W1"),
        "W1": {"Type": "Wait", "Seconds": 0, "Next": "W2"},
        "W2": {"Type": "Wait", "Timestamp": past, "Next": "W3"},
        "W3": {"Type": "Wait", "TimestampPath": "$.date", "Next": "W4"},
        "W4": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "Map"},
        "Map": {"Type": "Map", "ItemsPath": "$.array", "MaxConcurrency": 0, "Iterator": of(passing()),
                "ResultPath": "$.mapped", "Next": "Parallel"},
        "Parallel": {"Type": "Parallel", "Branches": [of(passing(Result=n)) for n in (1, 2)],
                     "ResultPath": "$.both", "Next": "Choice"},
        "Choice": {"Type": "Choice", "Choices": rules, "Default": "Neither"},
        "Is 1": passing(End=True),
        "Is 2": passing(End=True),
        "Neither": {"Type": "Fail", "Error": "DefaultStateError", "Cause": "No Matches"},
    }  # fmt: skip
    definition = {"StartAt": "Begin", "States": states}
    made = client.create_state_machine(name=unique("sdk"), definition=json.dumps(definition), roleArn=ROLE)
    arn = made["stateMachineArn"]

    ended = end_of(cloud, client.start_execution(stateMachineArn=arn)["executionArn"])

    assert json.loads(client.describe_state_machine(stateMachineArn=arn)["definition"]) == definition
    output = json.loads(ended["output"])
    assert (output["mapped"], output["both"]) == ([1, 2, 3], [1, 2])
    entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in history(cloud, ended["executionArn"])]
    assert "Is 2" in entered
    assert "Is 1" not in entered
