"""Logs and metrics: what is asked of them is evaluated as on AWS, or refused; none of it is silently other."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools import single_metric
from aws_lambda_powertools.metrics import MetricUnit

from localcloud.sagemaker.endpoints import metrics
from localcloud.sagemaker.endpoints.metrics import InvocationMetrics
from tests.integration.conftest import Cloud, make_function, run_machine, unique, watch_events
from tests.waiting import wait_for
from tools import cfn

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


# ---- The alarms of the template, but for their actions, and what the local SageMaker measures of ten requests a minute

TEMPLATE = cfn.load(Path(__file__).parents[4] / "template.yaml")["Resources"]
OF_ENDPOINT = [name for name in TEMPLATE if re.fullmatch(r"Endpoint\w+Alarm", name)]
SOUND, FAILS, SILENT, REFUSES, SLOW = (200, 0.01), (500, 0.01), (0, 0.01), (400, 0.01), (200, 1.5)


def put_alarm(cloud: Cloud, logical_id: str, stack: str) -> str:
    """Put an alarm as a stack has it; return its name."""
    names = {"AWS::StackName": stack, "LatencyAlarmMilliseconds": "1000"}

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Fn::Sub" in value:
            return re.sub(r"\$\{([\w:]+)\}", lambda found: names[found[1]], value["Fn::Sub"])
        return names[value["Ref"]] if "Ref" in value else {key: resolved(item) for key, item in value.items()}

    given = {
        key: value for key, value in TEMPLATE[logical_id]["Properties"].items() if key not in ("AlarmActions", "Tags")
    }
    alarm = resolved(given)
    cloud.client("cloudwatch").put_metric_alarm(**{**alarm, "Threshold": float(alarm["Threshold"])})
    return str(alarm["AlarmName"])


@pytest.mark.parametrize(
    ("minutes", "ringing"),
    [
        ([[SOUND]] * 3, set()),
        ([[FAILS], [FAILS], [SOUND]], {"EndpointErrorsAlarm"}),
        ([[FAILS], [SOUND], [SOUND]], set()),
        ([[SILENT] * 3, [SILENT] * 3, [SOUND]], {"EndpointModelErrorsAlarm"}),
        ([[SILENT] * 3, [SOUND], [SOUND]], set()),
        ([[SLOW] * 2] * 3, {"EndpointLatencyAlarm"}),
        ([[SLOW] * 2, [SLOW] * 2, [SOUND]], set()),
        ([[REFUSES] * 2] * 3, {"EndpointRefusalsAlarm"}),
    ],
    ids=["sound", "fails", "fails for a minute", "silent", "silent for a minute", "slow", "slow at first", "refuses"],
)
def test_the_alarms_of_an_endpoint_ring_by_what_its_requests_came_to(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, minutes: list[list[tuple[int, float]]], ringing: set[str]
) -> None:
    """Of each minute, the newest first, what is not named is sound."""
    stack, client, now = unique("cars"), cloud.client("cloudwatch"), datetime.now(UTC)
    names = {put_alarm(cloud, logical_id, stack): logical_id for logical_id in OF_ENDPOINT}
    assert len(names) == 4
    measured = InvocationMetrics(stack, "AllTraffic")
    for age, requests in enumerate(minutes):
        moment = now - timedelta(seconds=60 * age + 5)
        monkeypatch.setattr(metrics, "datetime", type("Clock", (), {"now": staticmethod(lambda _, at=moment: at)}))
        for status, seconds in [*requests, *[SOUND] * (10 - len(requests))]:
            measured.record(status, seconds, 0.001, instances=1)
        client.put_metric_data(Namespace=metrics.NAMESPACE, MetricData=measured.drain())

    alarms = client.describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    assert {names[alarm["AlarmName"]] for alarm in alarms if alarm["StateValue"] == "ALARM"} == ringing


def test_the_alarm_of_the_models_quality_rings_by_the_line_in_a_log_that_says_so(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    stack, logs = unique("cars"), cloud.client("logs")
    name = put_alarm(cloud, "ModelQualityAlarm", stack)
    with single_metric("ModelWorse", MetricUnit.NoUnit, 1, namespace="Perennial") as told:  # as notify_window tells it
        told.add_dimension("service", stack)
    logs.create_log_group(logGroupName=stack)
    logs.create_log_stream(logGroupName=stack, logStreamName="one")
    line = {"timestamp": int(time.time() * 1000), "message": capsys.readouterr().out}
    logs.put_log_events(logGroupName=stack, logStreamName="one", logEvents=[line])

    (alarm,) = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"


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
