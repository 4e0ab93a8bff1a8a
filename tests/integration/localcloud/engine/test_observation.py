"""Logs and metrics: what is asked of them is evaluated as on AWS, or refused; none of it is silently other."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.conftest import Cloud, make_function, run_machine, unique, watch_events
from tests.waiting import wait_for

LINES = [
    {"level": "ERROR", "rows": 3, "who": {"name": "Ada"}},
    {"level": "INFO", "rows": 12},
    "no JSON, ERROR all the same",
]


@pytest.fixture(scope="module")
def group(cloud: Cloud) -> str:
    """A log group whose first stream has the lines above, and whose second has another."""
    logs, name, now = cloud.client("logs"), unique("group"), int(time.time() * 1000)
    logs.create_log_group(logGroupName=name)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in LINES]
    for stream, some in {"one/a": lines, "two/a": ["other"]}.items():
        logs.create_log_stream(logGroupName=name, logStreamName=stream)
        events = [{"timestamp": now - 1000 + number, "message": line} for number, line in enumerate(some)]
        logs.put_log_events(logGroupName=name, logStreamName=stream, logEvents=events)
    return name


def test_events_are_filtered_by_pattern_and_by_how_their_stream_begins(cloud: Cloud, group: str) -> None:
    def found(**asked: str) -> list[str]:
        return [
            event["message"] for event in cloud.client("logs").filter_log_events(logGroupName=group, **asked)["events"]
        ]

    assert found(filterPattern='{ $.level = "ERROR" }') == [json.dumps(LINES[0])]
    assert found(filterPattern="ERROR", logStreamNamePrefix="one/") == [json.dumps(LINES[0]), LINES[2]]
    assert found(logStreamNamePrefix="two/") == ["other"]
    assert found(logStreamNamePrefix="three/") == []


def test_events_come_in_pages(cloud: Cloud, group: str) -> None:
    logs = cloud.client("logs")
    pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=group, limit=3))
    assert [len(page["events"]) for page in pages] == [3, 1]
    messages = [event["message"] for page in pages for event in page["events"]]
    assert len(set(messages)) == 4
    with pytest.raises(logs.exceptions.InvalidParameterException, match="nextToken is invalid"):
        logs.filter_log_events(logGroupName=group, nextToken="other")


def test_a_pattern_that_is_not_evaluated_is_refused_where_it_is_used_and_where_it_is_kept(
    cloud: Cloud, group: str
) -> None:
    logs = cloud.client("logs")
    given: dict[str, Any] = {"logGroupName": group, "filterPattern": "[ip, user]"}
    metric = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    for call, more in (
        (logs.filter_log_events, {}),
        (logs.put_metric_filter, {"filterName": "f", "metricTransformations": [metric]}),
        (logs.put_subscription_filter, {"filterName": "f", "destinationArn": "arn:aws:lambda:us-east-1:0:function:f"}),
    ):
        with pytest.raises(logs.exceptions.InvalidParameterException, match="Invalid filter pattern: "):
            call(**given, **more)


def queried(cloud: Cloud, group: str, query: str) -> list[dict[str, str]]:
    logs, now = cloud.client("logs"), int(time.time())
    asked = logs.start_query(logGroupName=group, startTime=now - 60, endTime=now + 60, queryString=query)["queryId"]
    results = logs.get_query_results(queryId=asked)["results"]
    return [{cell["field"]: cell["value"] for cell in row if cell["field"] != "@ptr"} for row in results]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("fields level, rows | filter rows > 3", [{"level": "INFO", "rows": "12"}]),
        ("fields rows | filter ispresent(level) | sort rows desc", [{"rows": "12"}, {"rows": "3"}]),
        ("fields who.name | filter level in ['ERROR', 'FATAL'] and who.name = 'Ada'", [{"who.name": "Ada"}]),
        ("fields @message | filter @message like /JSON|other/ and not_there = 1 or level = 'x'", []),
        ("fields @logStream, rows | filter @message not like /(?i)error/ | sort @timestamp | limit 1",
         [{"@logStream": "two/a"}]),
        ("display @message | filter @message like 'no JSON'", [{"@message": LINES[2]}]),
        ("fields level | limit 1", [{}]),
    ],
)  # fmt: skip
def test_a_query_is_evaluated(cloud: Cloud, group: str, query: str, rows: list[dict[str, str]]) -> None:
    """Without an order the newest come first: the last of these lines is no JSON."""
    assert queried(cloud, group, query) == rows


@pytest.mark.parametrize(
    "query",
    [
        "stats count(*) by level",
        "parse @message '*' as x",
        "fields strlen(@message)",
        "filter level",
        "filter level = ",
        "filter @message like /(/",
    ],
)
def test_a_query_that_is_not_evaluated_is_refused(cloud: Cloud, group: str, query: str) -> None:
    logs = cloud.client("logs")
    with pytest.raises(logs.exceptions.MalformedQueryException):
        queried(cloud, group, query)


def metric(cloud: Cloud, namespace: str, name: str, statistic: str, **dimensions: str) -> float | None:
    """A statistic of the last hour; None if there is none."""
    now = datetime.now(UTC)
    wanted = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    asked = {"Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": wanted}, "Period": 86400}
    answer = cloud.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": {**asked, "Stat": statistic}}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
    )
    values = answer["MetricDataResults"][0]["Values"]
    return float(values[0]) if values else None


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("p50", 50.5),
        ("p90", 90.1),
        ("tm90", 45.5),
        ("TM(10:20)", 15.5),
        ("IQM", 50.5),
        ("wm98", 50.4704),
        ("TC(:30)", 30.0),
        ("ts50", 1275.0),
        ("PR(:20)", 20.0),
    ],
)
def test_extended_statistics_have_values(cloud: Cloud, statistic: str, value: float) -> None:
    namespace, client = unique("Numbers"), cloud.client("cloudwatch")
    datum = {"MetricName": "N", "Values": [float(number) for number in range(1, 101)]}
    client.put_metric_data(Namespace=namespace, MetricData=[datum])
    now = datetime.now(UTC)

    (point,) = client.get_metric_statistics(
        Namespace=namespace, MetricName="N", Period=86400, ExtendedStatistics=[statistic],
        StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
    )["Datapoints"]  # fmt: skip

    assert point["ExtendedStatistics"] == {statistic: pytest.approx(value)}
    assert metric(cloud, namespace, "N", statistic) == pytest.approx(value)


def test_a_statistic_that_there_is_not_is_refused(cloud: Cloud) -> None:
    with pytest.raises(cloud.client("cloudwatch").exceptions.ClientError, match="q50"):
        metric(cloud, "Any", "N", "q50")


CALLED = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("asked to")
    return event
"""


def test_every_invocation_of_a_function_is_counted_once(cloud: Cloud) -> None:
    arn = make_function(cloud, CALLED)
    client, name = cloud.client("lambda"), arn.rpartition(":")[2]
    before = metric(cloud, "AWS/Lambda", "Invocations", "Sum") or 0
    call = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    states = {"Call": {**call, "Arguments": {"FunctionName": arn, "Payload": {}}}}

    client.invoke(FunctionName=name, Payload=json.dumps({"fail": True}))
    client.invoke(FunctionName=name, InvocationType="Event", Payload="{}")
    run_machine(cloud, {"StartAt": "Call", "States": states})

    wait_for(lambda: (metric(cloud, "AWS/Lambda", "Invocations", "Sum", FunctionName=name) or 0) >= 3, "three calls")
    for dimensions in ({"FunctionName": name}, {"FunctionName": name, "Resource": name}):
        assert metric(cloud, "AWS/Lambda", "Invocations", "Sum", **dimensions) == 3
        assert metric(cloud, "AWS/Lambda", "Errors", "Sum", **dimensions) == 1
        assert metric(cloud, "AWS/Lambda", "Throttles", "Sum", **dimensions) == 0
        assert metric(cloud, "AWS/Lambda", "Duration", "SampleCount", **dimensions) == 3
    assert metric(cloud, "AWS/Lambda", "Invocations", "Sum") == before + 3
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName=name, Payload="{}")
    assert metric(cloud, "AWS/Lambda", "Throttles", "Sum", FunctionName=name) == 1
    assert metric(cloud, "AWS/Lambda", "Invocations", "Sum", FunctionName=name) == 3


def test_every_execution_is_counted_as_it_begins_and_as_it_ends(cloud: Cloud) -> None:
    client = cloud.client("stepfunctions")
    choice = {"Type": "Choice", "Default": "Fine", "Choices": [{"Condition": "{% $states.input.fail %}", "Next": "F"}]}
    ends = {"F": {"Type": "Fail", "Error": "E"}, "Fine": {"Type": "Succeed"}}
    first = run_machine(cloud, {"StartAt": "C", "States": {"C": choice, **ends}}, {"fail": True})
    arn = first["stateMachineArn"]
    second = client.start_execution(stateMachineArn=arn, input='{"fail": false}')["executionArn"]
    wait_for(lambda: client.describe_execution(executionArn=second)["status"] == "SUCCEEDED", "the second execution")
    wait_for(lambda: metric(cloud, "AWS/States", "ExecutionTime", "SampleCount", StateMachineArn=arn) == 2, "both ends")

    counted = {
        name: metric(cloud, "AWS/States", f"Executions{name}", "Sum", StateMachineArn=arn)
        for name in ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")
    }
    assert counted == {"Started": 2, "Succeeded": 1, "Failed": 1, "TimedOut": None, "Aborted": None}


def test_a_payload_of_a_function_that_is_no_json_is_refused(cloud: Cloud) -> None:
    client, name = cloud.client("lambda"), make_function(cloud, CALLED).rpartition(":")[2]
    with pytest.raises(
        client.exceptions.InvalidRequestContentException, match="Could not parse request body into json"
    ):
        client.invoke(FunctionName=name, Payload="{no")


def test_an_event_whose_detail_is_no_json_object_is_refused_for_itself(cloud: Cloud) -> None:
    source = unique("test")
    seen = watch_events(cloud, {"source": [source]})
    entries = [
        {"Source": source, "DetailType": "T", "Detail": detail} for detail in ("{no", '{"n": 1}', "[1]", '{"n": 2}')
    ]

    answer = cloud.client("events").put_events(Entries=entries)

    assert answer["FailedEntryCount"] == 2
    refused = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    assert [entry if "ErrorCode" in entry else "sent" for entry in answer["Entries"]] == [refused, "sent"] * 2
    wait_for(lambda: len(seen()) == 2, "the events that are sound")
    assert [event["detail"] for event in seen()] == [{"n": 1}, {"n": 2}]
