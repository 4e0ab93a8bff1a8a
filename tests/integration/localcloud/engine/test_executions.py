"""Step Functions in the local cloud behave as on AWS in what our state machines rely on."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from localcloud import disk
from tests.integration.conftest import (
    ROLE,
    Cloud,
    end_of,
    history,
    make_function,
    make_machine,
    policy,
    run_machine,
    start_machine,
    unique,
    watch_events,
)
from tests.waiting import wait_for

RAISE = """
class QuotaError(Exception): pass
def handler(event, context):
    raise QuotaError("no room for " + event["who"])
"""


def invoke(function: str, **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": {"who": "Ada"}},
        **fields,
    }


def branch(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Only", "States": {"Only": state}}


def listing(bucket: str, prefix: str) -> dict[str, Any]:
    """A state machine that lists a bucket."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
        "Arguments": {"Bucket": bucket, "Prefix": prefix},
        "End": True,
    }
    return {"StartAt": "List", "States": {"List": task}}


@pytest.mark.parametrize("pause", [0, 1])
def test_functions_start_once_and_while_an_execution_begins_by_waiting(
    cloud: Cloud, pause: int, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    source = f"""
import time
with open({str(started)!r}, "a") as file:
    print(time.time(), file=file)
time.sleep(0.3)
def handler(event, context):
    pass
"""
    states = {
        "Wait": {"Type": "Wait", "Seconds": pause, "Next": "Call"},
        "Call": invoke(make_function(cloud, source), Next="Cannot start"),
        "Cannot start": invoke(
            make_function(cloud, "import nowhere"),
            Catch=[{"ErrorEquals": ["Runtime.ImportModuleError"], "Next": "End"}],
            End=True,
        ),
        "End": {"Type": "Succeed"},
    }
    execution = start_machine(cloud, {"StartAt": "Wait", "States": states})

    assert end_of(cloud, execution)["status"] == "SUCCEEDED"
    (start,) = started.read_text().split()
    called = next(event["timestamp"] for event in history(cloud, execution) if event["type"] == "TaskScheduled")
    assert pause == 0 or float(start) < called.timestamp(), "the function has started when it was called"


def test_the_history_of_what_has_ended_is_no_longer_in_memory(cloud: Cloud) -> None:
    """Of hundreds of runs it would be hundreds of megabytes; here the file says something else than what was."""
    ended = run_machine(cloud, {"StartAt": "Only", "States": {"Only": {"Type": "Succeed"}}})
    path = disk.lines_of(cloud.state / "engine/executions", ended["executionArn"])
    assert [event["type"] for event in history(cloud, ended["executionArn"])] == [
        "ExecutionStarted", "SucceedStateEntered", "SucceedStateExited", "ExecutionSucceeded",
    ]  # fmt: skip

    path.write_text(path.read_text().replace("SucceedState", "PassState"))

    assert [event["type"] for event in history(cloud, ended["executionArn"])][1:3] == [
        "PassStateEntered", "PassStateExited",
    ]  # fmt: skip


def test_an_exception_of_a_function_is_caught_by_its_class_name(cloud: Cloud) -> None:
    catch = [{"ErrorEquals": ["QuotaError"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}]
    states = {"Call": invoke(make_function(cloud, RAISE), Catch=catch, End=True), "Caught": {"Type": "Succeed"}}

    ended = run_machine(cloud, {"StartAt": "Call", "States": states})

    assert ended["status"] == "SUCCEEDED"
    output = json.loads(ended["output"])
    assert output["Error"] == "QuotaError"
    cause = json.loads(output["Cause"])
    assert cause["errorMessage"] == "no room for Ada"
    assert cause["errorType"] == "QuotaError"
    assert cause["stackTrace"][0].startswith('  File "')


def test_a_function_is_retried_only_for_the_class_names_listed(cloud: Cloud) -> None:
    retry = [{"ErrorEquals": ["OtherError"], "IntervalSeconds": 1, "MaxAttempts": 5}]
    call = invoke(make_function(cloud, RAISE), Retry=retry, End=True)

    ended = run_machine(cloud, {"StartAt": "Call", "States": {"Call": call}})

    assert (ended["status"], ended["error"]) == ("FAILED", "QuotaError")
    assert [event["type"] for event in history(cloud, ended["executionArn"])].count("TaskScheduled") == 1


def of_task(events: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Type and details of the events of tasks; what is JSON in them is read."""
    found = []
    for event in events:
        details = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
        if event["type"].startswith(("Task", "Lambda", "Evaluation")) and "State" not in event["type"]:
            texts = {name: json.loads(details[name]) for name in ("parameters", "input", "output") if name in details}
            found.append((event["type"], {**details, **texts}))
    return found


def test_the_history_of_a_task_names_its_service_its_parameters_and_its_limits(cloud: Cloud) -> None:
    function = make_function(cloud, "def handler(event, context):\n    return {'hello': event['who']}\n")
    ended = run_machine(cloud, {"StartAt": "Call", "States": {"Call": invoke(function, TimeoutSeconds=9, End=True)}})

    events = history(cloud, ended["executionArn"])
    (scheduled, plan), (started, begin), (succeeded, end) = of_task(events)
    assert (scheduled, started, succeeded) == ("TaskScheduled", "TaskStarted", "TaskSucceeded")
    of_service = {"resourceType": "lambda", "resource": "invoke"}
    parameters = {"FunctionName": function, "Payload": {"who": "Ada"}}
    assert plan == {**of_service, "region": cloud.region, "parameters": parameters, "timeoutInSeconds": 9}
    assert begin == of_service
    assert end == {**of_service, "output": json.loads(ended["output"]), "outputDetails": {"truncated": False}}
    assert events[0]["executionStartedEventDetails"]["inputDetails"] == {"truncated": False}
    assert [event["previousEventId"] for event in events] == [0, 0, 2, 3, 4, 5, 6]


def test_the_result_of_an_optimised_call_says_how_it_was_answered(cloud: Cloud) -> None:
    function = make_function(cloud, "def handler(event, context):\n    return {'hello': event['who']}\n")

    result = json.loads(run_machine(cloud, branch(invoke(function, End=True)))["output"])

    http, metadata = result.pop("SdkHttpMetadata"), result.pop("SdkResponseMetadata")
    assert result == {"ExecutedVersion": "$LATEST", "Payload": {"hello": "Ada"}, "StatusCode": 200}
    assert http["HttpStatusCode"] == 200
    headers = {"Content-Length": "15", "Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
    assert headers.items() <= http["HttpHeaders"].items()
    assert http["AllHttpHeaders"] == {name: [value] for name, value in http["HttpHeaders"].items()}
    assert metadata == {"RequestId": http["HttpHeaders"]["x-amzn-RequestId"]}


def test_a_function_by_its_arn_has_events_of_its_own(cloud: Cloud) -> None:
    function = make_function(cloud, "def handler(event, context):\n    return 7\n")
    ended = run_machine(cloud, branch({"Type": "Task", "Resource": function, "End": True}), {"n": 1})

    told = {"input": {"n": 1}, "inputDetails": {"truncated": False}, "resource": function}
    assert of_task(history(cloud, ended["executionArn"])) == [
        ("LambdaFunctionScheduled", told),
        ("LambdaFunctionStarted", {}),
        ("LambdaFunctionSucceeded", {"output": 7, "outputDetails": {"truncated": False}}),
    ]


def test_a_failed_execution_has_an_error_and_no_output(cloud: Cloud) -> None:
    ended = run_machine(cloud, branch({"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}))

    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "Broken", "on purpose")
    assert "output" not in ended


def test_an_error_that_nothing_catches_is_the_executions_own_and_its_states_are_never_left(cloud: Cloud) -> None:
    """As recorded on AWS: localstack/localstack, tests/aws/services/stepfunctions/v2, error_handling and timeouts."""
    inner = {"ProcessorConfig": {"Mode": "INLINE"}, **branch(invoke(make_function(cloud, RAISE), End=True))}
    each = {"Type": "Map", "Items": [1, 2], "MaxConcurrency": 1, "ItemProcessor": inner, "End": True}
    ended = run_machine(cloud, {"StartAt": "Each", "States": {"Each": each}})

    events = history(cloud, ended["executionArn"])
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
    assert entered == ["Each", "Only"]
    assert not [event for event in events if event["type"].endswith("StateExited")]
    (said,) = [event["taskFailedEventDetails"] for event in events if event["type"] == "TaskFailed"]
    assert json.loads(said["cause"])["errorMessage"] == "no room for Ada"
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "QuotaError", said["cause"])
    assert events[-1]["executionFailedEventDetails"] == {"error": "QuotaError", "cause": said["cause"]}


def test_succeed_and_parallel_have_jsonata_output_and_assign(cloud: Cloud) -> None:
    states = {
        "Both": {
            "Type": "Parallel",
            "Arguments": {"n": "{% $states.input.n + 1 %}"},
            "Branches": [
                branch({"Type": "Pass", "Output": f"{{% $states.input.n * {k} %}}", "End": True}) for k in (1, 10)
            ],
            "Assign": {"total": "{% $sum($states.result) %}"},
            "Output": {"parts": "{% $states.result %}"},
            "Next": "Done",
        },
        "Done": {"Type": "Succeed", "Output": {"total": "{% $total %}", "parts": "{% $states.input.parts %}"}},
    }

    ended = run_machine(cloud, {"StartAt": "Both", "States": states}, {"n": 4})

    assert json.loads(ended["output"]) == {"total": 55, "parts": [5, 50]}


def test_an_assignment_in_a_branch_stays_in_the_branch(cloud: Cloud) -> None:
    states = {
        "Outer": {"Type": "Pass", "Assign": {"x": 1}, "Next": "Branches"},
        "Branches": {
            "Type": "Parallel",
            "Branches": [
                {
                    "StartAt": "Inner",
                    "States": {
                        "Inner": {"Type": "Pass", "Assign": {"y": "{% $x + 1 %}"}, "Next": "Show"},
                        "Show": {"Type": "Pass", "Output": "{% $y %}", "End": True},
                    },
                }
            ],
            "Next": "After",
        },
        "After": {"Type": "Pass", "Output": "{% $y %}", "End": True},
    }

    ended = run_machine(cloud, {"StartAt": "Outer", "States": states})

    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")
    exits = [e["stateExitedEventDetails"] for e in history(cloud, ended["executionArn"]) if "Exited" in e["type"]]
    assert {"Show": "2"}.items() <= {e["name"]: e["output"] for e in exits}.items()


def test_a_missing_variable_or_field_is_an_error_and_not_null(cloud: Cloud) -> None:
    for expression in ("{% $nowhere %}", "{% $states.input.nowhere %}"):
        states = {"Only": {"Type": "Pass", "Output": expression, "End": True}}

        ended = run_machine(cloud, {"StartAt": "Only", "States": states})

        assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")


def test_states_of_branches_are_in_the_history(cloud: Cloud) -> None:
    both = {
        "Type": "Parallel",
        "Branches": [{"StartAt": name, "States": {name: {"Type": "Pass", "End": True}}} for name in ("Left", "Right")],
        "End": True,
    }

    ended = run_machine(cloud, {"StartAt": "Both", "States": {"Both": both}})

    events = history(cloud, ended["executionArn"])
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("StateEntered")]
    exited = [event["stateExitedEventDetails"]["name"] for event in events if event["type"].endswith("StateExited")]
    assert sorted(entered) == sorted(exited) == ["Both", "Left", "Right"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))


def test_a_failing_branch_ends_the_others_at_once(cloud: Cloud) -> None:
    both = {
        "Type": "Parallel",
        "Branches": [
            branch({"Type": "Wait", "Seconds": 60, "End": True}),
            branch({"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}),
        ],
        "Catch": [{"ErrorEquals": ["Broken"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        "End": True,
    }
    began = time.monotonic()

    ended = run_machine(cloud, {"StartAt": "Both", "States": {"Both": both, "Caught": {"Type": "Succeed"}}})

    assert json.loads(ended["output"]) == {"Error": "Broken", "Cause": "on purpose"}
    assert time.monotonic() - began < 5


def test_a_stopped_execution_stays_aborted_and_sends_one_event(cloud: Cloud) -> None:
    states = {"Long": {"Type": "Wait", "Seconds": 60, "Next": "Never"}, "Never": {"Type": "Fail", "Error": "Ran"}}
    arn = start_machine(cloud, {"StartAt": "Long", "States": states})
    wait_for(lambda: len(history(cloud, arn)) > 1, "the wait to begin")
    seen = watch_events(cloud, {"source": ["aws.states"], "detail": {"executionArn": [arn]}})

    cloud.client("stepfunctions").stop_execution(executionArn=arn, error="Enough", cause="by the test")

    ended = end_of(cloud, arn)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Enough", "by the test")
    wait_for(seen, "the status-change event")
    time.sleep(0.5)
    assert [event["detail"]["status"] for event in seen()] == ["ABORTED"]
    assert history(cloud, arn)[-1]["type"] == "ExecutionAborted"


def test_the_end_of_an_execution_under_a_customers_key_is_told_without_its_data(cloud: Cloud) -> None:
    """Step Functions Developer Guide, "Data at rest encryption in Step Functions"."""
    states, key = cloud.client("stepfunctions"), cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    arn = states.create_state_machine(
        name=unique("machine"),
        definition=json.dumps(branch({"Type": "Fail", "Error": "Broken", "Cause": "on purpose"})),
        roleArn=ROLE,
        encryptionConfiguration={"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": key},
    )["stateMachineArn"]
    seen = watch_events(cloud, {"source": ["aws.states"], "detail": {"stateMachineArn": [arn], "status": ["FAILED"]}})

    ended = end_of(cloud, states.start_execution(stateMachineArn=arn, input='{"a": 1}')["executionArn"])

    detail = wait_for(seen, "the event")[0]["detail"]
    assert {detail[name] for name in ("input", "output", "error", "cause")} == {None}
    assert (ended["input"], ended["error"], ended["cause"]) == ('{"a": 1}', "Broken", "on purpose")


def test_a_state_machine_that_takes_too_long_is_timed_out(cloud: Cloud) -> None:
    seen = watch_events(cloud, {"source": ["aws.states"], "detail": {"status": ["TIMED_OUT"]}})
    waiting = {"StartAt": "Long", "TimeoutSeconds": 1, "States": {"Long": {"Type": "Wait", "Seconds": 60, "End": True}}}

    ended = run_machine(cloud, waiting)

    assert (ended["status"], ended["error"]) == ("TIMED_OUT", "States.Timeout")
    assert wait_for(seen, "the event")[0]["detail"]["executionArn"] == ended["executionArn"]
    assert history(cloud, ended["executionArn"])[-1]["type"] == "ExecutionTimedOut"


def test_a_state_timeout_may_be_an_expression(cloud: Cloud) -> None:
    slow = make_function(cloud, "import time\ndef handler(event, context):\n    time.sleep(15)\n")
    call = invoke(slow, TimeoutSeconds="{% $states.input.limit %}", End=True)

    ended = run_machine(cloud, {"StartAt": "Call", "States": {"Call": call}}, {"limit": 1})

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    timed_out = {"resourceType": "lambda", "resource": "invoke", "error": "States.Timeout"}
    assert of_task(history(cloud, ended["executionArn"]))[-1] == ("TaskTimedOut", timed_out)


@pytest.mark.parametrize(
    ("level", "logged"), [("ERROR", ["TaskFailed", "ExecutionFailed"]), ("FATAL", ["ExecutionFailed"])]
)
def test_the_log_of_a_state_machine_follows_its_level(cloud: Cloud, level: str, logged: list[str]) -> None:
    logs, states, group = cloud.client("logs"), cloud.client("stepfunctions"), unique("group")
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:{cloud.region}:000000000000:log-group:{group}:*"
    machine = make_machine(
        cloud, {"StartAt": "Call", "States": {"Call": invoke(make_function(cloud, RAISE), End=True)}}
    )
    destinations = [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]
    states.update_state_machine(
        stateMachineArn=machine,
        loggingConfiguration={"level": level, "includeExecutionData": True, "destinations": destinations},
    )

    end_of(cloud, states.start_execution(stateMachineArn=machine)["executionArn"])

    records = [json.loads(event["message"]) for event in logs.filter_log_events(logGroupName=group)["events"]]
    assert [record["type"] for record in records] == logged
    assert records[-1]["details"]["error"] == "QuotaError"
    assert "no room for Ada" in records[-1]["details"]["cause"]


LIMIT = 256 * 1024
CAUGHT = {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]}


def text(size: int) -> str:
    """An expression whose value has so many bytes as JSON."""
    return f"{{% $pad('x', {size - 2}) %}}"


def sized(size: int, **around: Any) -> dict[str, Any]:
    """Members of which `text` has so many bytes that all have `size` as JSON."""
    rest = len(json.dumps({**around, "text": ""}, separators=(",", ":"))) - 2
    return {**around, "text": text(size - rest)}


def output(cloud: Cloud, size: int) -> dict[str, Any]:
    return {"Fill": {"Type": "Pass", "Output": text(size), "Next": "Done"}}


def output_of_a_branch(cloud: Cloud, size: int) -> dict[str, Any]:
    fill = branch({"Type": "Pass", "Output": text(size), "End": True})
    return {"Fill": {"Type": "Parallel", "Branches": [fill], "Output": 1, "Next": "Done", **CAUGHT}}


def arguments_of_a_task(cloud: Cloud, size: int) -> dict[str, Any]:
    function = make_function(cloud, "def handler(event, context):\n    return len(event)\n")
    rest = len(json.dumps({"FunctionName": function, "Payload": ""}, separators=(",", ":"))) - 2
    arguments = {"FunctionName": function, "Payload": text(size - rest)}
    return {"Fill": invoke(function, Arguments=arguments, Next="Done", **CAUGHT)}


def arguments_of_a_parallel(cloud: Cloud, size: int) -> dict[str, Any]:
    inner = branch({"Type": "Pass", "Output": 1, "End": True})
    return {"Fill": {"Type": "Parallel", "Arguments": sized(size), "Branches": [inner], "Next": "Done", **CAUGHT}}


def item_of_a_map(cloud: Cloud, size: int) -> dict[str, Any]:
    inner = branch({"Type": "Pass", "Output": 1, "End": True})
    selector = {"ItemSelector": sized(size), "ItemProcessor": inner}
    return {"Fill": {"Type": "Map", "Items": [1], **selector, "Next": "Done", **CAUGHT}}


def result_of_a_task(cloud: Cloud, size: int) -> dict[str, Any]:
    """What the service says of its answer counts as well; how much that is shows in a result of as many digits."""
    function = make_function(cloud, "import json\ndef handler(event, context):\n    return 'x' * event['size']\n")
    call = invoke(function, Arguments={"FunctionName": function, "Payload": {"size": 200_000}}, End=True)
    probe = run_machine(cloud, {"StartAt": "Probe", "States": {"Probe": call}})
    rest = len(probe["output"]) - 200_000
    arguments = {"FunctionName": function, "Payload": {"size": size - rest}}
    return {"Fill": invoke(function, Arguments=arguments, Output=1, Next="Done", **CAUGHT)}


def variable(cloud: Cloud, size: int) -> dict[str, Any]:
    return {"Fill": {"Type": "Pass", "Assign": {"one": text(size)}, "Next": "Done"}}


def variables_of_one_state(cloud: Cloud, size: int) -> dict[str, Any]:
    return {"Fill": {"Type": "Pass", "Assign": {"one": text(100_000), "two": text(size - 100_000)}, "Next": "Done"}}


@pytest.mark.parametrize(
    "place",
    [
        output,
        output_of_a_branch,
        arguments_of_a_task,
        arguments_of_a_parallel,
        item_of_a_map,
        result_of_a_task,
        variable,
        variables_of_one_state,
    ],
)
def test_256_kib_pass_and_a_byte_more_fails_what_nobody_can_catch(cloud: Cloud, place: Any) -> None:
    ends = {"Done": {"Type": "Succeed", "Output": 1}, "Caught": {"Type": "Succeed"}}

    passed, failed = (
        run_machine(cloud, {"StartAt": "Fill", "States": {**place(cloud, size), **ends}}) for size in (LIMIT, LIMIT + 1)
    )

    assert (passed["status"], passed.get("cause")) == ("SUCCEEDED", None)
    assert (failed["status"], failed["error"]) == ("FAILED", "States.DataLimitExceeded")
    assert "returned a result with a size exceeding the maximum number of bytes service limit." in failed["cause"]


def test_variables_have_10_mib_together(cloud: Cloud) -> None:
    def keeping(count: int) -> dict[str, Any]:
        """As many variables of 256 KiB; of those that are assigned again only the last value counts."""
        names = [f"v{number}" for number in range(1, count + 1)]
        states: dict[str, Any] = {
            name: {"Type": "Pass", "Assign": {name: text(LIMIT)}, "Next": following}
            for name, following in itertools.pairwise([*names, "done"])
        }
        again = {"Type": "Pass", "Assign": {"v1": text(LIMIT)}, "Next": "v1"}
        return {"StartAt": "again", "States": {"again": again, **states, "done": {"Type": "Succeed"}}}

    passed, failed = (run_machine(cloud, keeping(count), seconds=60) for count in (40, 41))

    assert passed["status"] == "SUCCEEDED"
    assert (failed["status"], failed["error"]) == ("FAILED", "States.DataLimitExceeded")
    assert "'v41'" in failed["cause"]


@pytest.mark.parametrize("value", ["\u00e9" * 131_071, ["a"] * 65_535, {"a": ["b", "\u20ac"] * 20_000}])
def test_payloads_are_measured_in_utf_8_without_spaces(cloud: Cloud, value: Any) -> None:
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert len(compact.encode()) <= LIMIT < len(json.dumps(value))
    machine = make_machine(cloud, branch({"Type": "Pass", "Output": "{% $states.input %}", "End": True}))

    started = cloud.client("stepfunctions").start_execution(stateMachineArn=machine, input=compact)

    ended = end_of(cloud, started["executionArn"])
    assert (ended["status"], ended.get("output")) == ("SUCCEEDED", compact)


def test_an_input_of_256_kib_is_taken_and_a_byte_more_refused(cloud: Cloud) -> None:
    states, machine = cloud.client("stepfunctions"), make_machine(cloud, branch({"Type": "Pass", "End": True}))
    given = json.dumps("\u00e9" * 131_071, ensure_ascii=False)

    ended = end_of(cloud, states.start_execution(stateMachineArn=machine, input=given)["executionArn"])

    assert ended["status"] == "SUCCEEDED"
    with pytest.raises(states.exceptions.ClientError, match="Member must have length less than or equal to 262144"):
        states.start_execution(stateMachineArn=machine, input=given + " ")


def test_the_expressions_of_one_assign_see_the_variables_as_they_were(cloud: Cloud) -> None:
    states = {
        "First": {"Type": "Pass", "Assign": {"x": 1}, "Next": "Then"},
        "Then": {"Type": "Pass", "Assign": {"x": "{% $x + 1 %}", "before": "{% $x %}"}, "Next": "Show"},
        "Show": {"Type": "Succeed", "Output": "{% [$x, $before] %}"},
    }

    ended = run_machine(cloud, {"StartAt": "First", "States": states})

    assert json.loads(ended["output"]) == [2, 1]


@pytest.mark.parametrize(
    ("value", "kind"), [("1", "number"), ("'yes'", "string"), ("null", "null"), ("[true]", "array")]
)
def test_a_condition_that_is_no_boolean_is_an_error(cloud: Cloud, value: str, kind: str) -> None:
    choice = {"Type": "Choice", "Choices": [{"Condition": f"{{% {value} %}}", "Next": "End"}], "Default": "End"}

    ended = run_machine(cloud, {"StartAt": "Choose", "States": {"Choose": choice, "End": {"Type": "Succeed"}}})

    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")
    assert f"Expected 'boolean', but was '{kind}'" in ended["cause"]


def test_a_listing_of_a_bucket_has_the_members_and_types_of_the_api(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    for key in ("a/one.json", "b/two.json", "b/thr\u00eae 3.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")

    one, two, none = (
        json.loads(run_machine(cloud, listing(bucket, prefix))["output"]) for prefix in ("a/", "b/", "c/")
    )

    assert (one["KeyCount"], one["MaxKeys"], one["IsTruncated"], one["Prefix"]) == (1, 1000, False, "a/")
    assert [(item["Key"], item["Size"]) for item in one["Contents"]] == [("a/one.json", 2)]
    assert [item["Key"] for item in two["Contents"]] == ["b/thr\u00eae 3.json", "b/two.json"]
    assert (none["KeyCount"], none.get("Contents", [])) == (0, [])


def test_a_copy_has_the_metadata_and_the_type_that_are_to_replace_those_of_its_source(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="one", Body=b"1", Metadata={"old": "1"})
    replaced = {"MetadataDirective": "REPLACE", "Metadata": {"judged-window": "w-1"}, "ContentType": "text/csv"}
    copy = {
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:copyObject", "End": True,
        "Arguments": {"Bucket": bucket, "CopySource": f"{bucket}/one", "Key": "two", **replaced},
    }  # fmt: skip

    ended = run_machine(cloud, {"StartAt": "Copy", "States": {"Copy": copy}})
    assert ended.get("cause") is None

    head = s3.head_object(Bucket=bucket, Key="two")
    assert (head["Metadata"], head["ContentType"]) == ({"judged-window": "w-1"}, "text/csv")


def test_a_listing_that_the_role_may_not_make_fails_with_the_words_of_aws(cloud: Cloud) -> None:
    iam, role, bucket = cloud.client("iam"), unique("role"), unique("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    statement = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
        "Condition": {"StringLike": {"s3:prefix": "runs/*/baselines/"}},
    }
    iam.put_role_policy(RoleName=role, PolicyName="lists", PolicyDocument=policy(statement))

    allowed = run_machine(cloud, listing(bucket, "runs/1/baselines/"), role=arn)
    refused = run_machine(cloud, listing(bucket, "runs/1/"), role=arn)

    assert allowed["status"] == "SUCCEEDED"
    assert (refused["status"], refused["error"]) == ("FAILED", "S3.S3Exception")
    assert f'is not authorized to perform: s3:ListBucket on resource: "arn:aws:s3:::{bucket}"' in refused["cause"]
    assert "(Service: S3, Status Code: 403, Request ID: " in refused["cause"]


def test_an_input_that_nobody_can_read_is_refused(cloud: Cloud) -> None:
    states, machine = cloud.client("stepfunctions"), make_machine(cloud, branch({"Type": "Pass", "End": True}))
    for given in ("{", "[" * 10_000 + "]" * 10_000):
        with pytest.raises(states.exceptions.InvalidExecutionInput, match="Invalid State Machine Execution Input"):
            states.start_execution(stateMachineArn=machine, input=given)


def nowhere(**more: Any) -> dict[str, Any]:
    return {"Type": "Pass", "Next": "Nowhere", **more}


def inside(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "A", "States": {"A": state, "B": {"Type": "Succeed"}}}


INNER = {"StartAt": "X", "States": {"X": {"Type": "Pass", "Next": "B"}}}
CHOICE = {"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "B"}]}


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"StartAt": "Z", "States": {"A": {"Type": "Succeed"}}}, "Z at /StartAt"),
        (inside(nowhere()), "Nowhere at /States/A/Next"),
        (inside({**CHOICE, "Default": "Z"}), "Z at /States/A/Default"),
        (inside({**CHOICE, "Choices": [*CHOICE["Choices"], {"Next": "Z"}]}), "Z at /States/A/Choices[1]/Next"),
        (inside(invoke("f", Catch=[{"ErrorEquals": ["E"], "Next": "Z"}], Next="B")), "Z at /States/A/Catch[0]/Next"),
        (
            inside({"Type": "Parallel", "Branches": [branch({"Type": "Succeed"}), INNER], "Next": "B"}),
            "B at /States/A/Branches[1]/States/X/Next",
        ),
        (inside({"Type": "Map", "ItemProcessor": INNER, "Next": "B"}), "B at /States/A/ItemProcessor/States/X/Next"),
    ],
)
def test_a_transition_to_a_state_that_does_not_exist_is_refused(
    cloud: Cloud, definition: dict[str, Any], said: str
) -> None:
    states = cloud.client("stepfunctions")
    machine = make_machine(cloud, branch({"Type": "Succeed"}))
    message = f"Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: Missing 'Next' target: {said}'"

    with pytest.raises(states.exceptions.InvalidDefinition) as made:
        make_machine(cloud, definition)
    with pytest.raises(states.exceptions.InvalidDefinition) as changed:
        states.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))

    assert [caught.value.response["Error"]["Message"] for caught in (made, changed)] == [message, message]


TYPES = "The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]"


@pytest.mark.parametrize(
    ("definition", "code", "message", "place"),
    [
        ("[]", "SCHEMA_VALIDATION_FAILED", "Definition must be a valid JSON object", None),
        ("not a definition", "INVALID_JSON_DESCRIPTION", "Expecting value: line 1 column 1 (char 0)", None),
        ("{}", "SCHEMA_VALIDATION_FAILED", "These fields are required: [States, StartAt]", "/"),
        (branch({"Type": "Tsak", "End": True}), "SCHEMA_VALIDATION_FAILED", TYPES, "/States/Only/Type"),
        (branch({"Type": "Task", "End": True}), "SCHEMA_VALIDATION_FAILED", "These fields are required: [Resource]",
         "/States/Only"),
        (branch({"Type": "Pass"}), "SCHEMA_VALIDATION_FAILED", "Exactly one of these fields is required: [Next, End]",
         "/States/Only"),
        (branch({"Type": "Pass", "Next": "Only"}), "MISSING_END_STATE", "Workflow has no terminal state", None),
        (branch({"Type": "Pass", "Output": "{% 1 + %}", "End": True}), "INVALID_JSONATA_EXPRESSION", None, None),
    ],
    ids=["an array", "no JSON", "nothing", "a type", "a resource", "an end", "a last state", "an expression"],
)  # fmt: skip
def test_a_state_machine_that_cannot_work_is_refused_and_its_validation_says_why(
    cloud: Cloud, definition: Any, code: str, message: str | None, place: str | None
) -> None:
    states, text = cloud.client("stepfunctions"), definition if isinstance(definition, str) else json.dumps(definition)

    found = states.validate_state_machine_definition(definition=text)

    (problem,) = found["diagnostics"]
    assert (found["result"], problem["severity"], problem["code"]) == ("FAIL", "ERROR", code)
    assert message in (None, problem["message"])
    assert problem.get("location") == place
    with pytest.raises(states.exceptions.InvalidDefinition, match=code):
        states.create_state_machine(name=unique("machine"), definition=text, roleArn=ROLE)


def test_a_state_machine_that_can_work_is_valid(cloud: Cloud) -> None:
    states, text = cloud.client("stepfunctions"), json.dumps(branch({"Type": "Succeed"}))
    found = states.validate_state_machine_definition(definition=text)
    assert (found["result"], found["diagnostics"]) == ("OK", [])
    with pytest.raises(states.exceptions.ClientError, match=r"enum value set: \[STANDARD, EXPRESS\]"):
        states.create_state_machine(name=unique("machine"), definition=text, roleArn=ROLE, type="FAST")


def test_what_a_state_passes_on_is_no_transition(cloud: Cloud) -> None:
    given = {"Next": "Nowhere", "Default": "Nowhere", "StartAt": "Nowhere", "Choices": [{"Next": "Nowhere"}]}
    ended = run_machine(cloud, branch({"Type": "Pass", "Output": given, "End": True}))
    assert json.loads(ended["output"]) == given
