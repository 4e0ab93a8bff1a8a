"""Tasks that wait for a token."""

import json
import time
from typing import Any

import pytest

from tests.integration.conftest import Cloud, end_of, history, make_function, start_machine, unique
from tests.waiting import wait_for


def waiting_task(url: str, **members: Any) -> dict[str, Any]:
    """A state machine whose one task sends its token to a queue and waits."""
    arguments = {"QueueUrl": url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}}
    resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    task = {"Type": "Task", "Resource": resource, "Arguments": arguments, "TimeoutSeconds": 30, **members, "End": True}
    caught = {"Type": "Pass", "Output": "{% $states.input.Error %}", "End": True}
    return {"StartAt": "Wait for approval", "States": {"Wait for approval": task, "Caught": caught}}


def queue(cloud: Cloud) -> str:
    return str(cloud.client("sqs").create_queue(QueueName=unique("tokens"))["QueueUrl"])


def token_from(cloud: Cloud, url: str) -> str:
    def received() -> str | None:
        messages = cloud.client("sqs").receive_message(QueueUrl=url).get("Messages", [])
        return json.loads(messages[0]["Body"])["token"] if messages else None

    return wait_for(received, "the token of the task")


def test_a_task_without_a_heartbeat_fails_and_can_be_caught(cloud: Cloud) -> None:
    catch = [{"ErrorEquals": ["States.HeartbeatTimeout"], "Next": "Caught"}]
    definition = waiting_task(queue(cloud), HeartbeatSeconds="{% 1 %}", Catch=catch)
    ended = end_of(cloud, start_machine(cloud, definition))
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", "States.HeartbeatTimeout")


def test_a_missed_heartbeat_that_is_not_caught_fails_the_execution(cloud: Cloud) -> None:
    ended = end_of(cloud, start_machine(cloud, waiting_task(queue(cloud), HeartbeatSeconds=1)))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.HeartbeatTimeout")


def test_heartbeats_keep_a_task_waiting_until_it_is_done(cloud: Cloud) -> None:
    url, client = queue(cloud), cloud.client("stepfunctions")
    execution = start_machine(cloud, waiting_task(url, HeartbeatSeconds=1))
    token = token_from(cloud, url)
    for _ in range(5):
        time.sleep(0.4)
        client.send_task_heartbeat(taskToken=token)
    client.send_task_success(taskToken=token, output='"approved"')
    ended = end_of(cloud, execution)
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", "approved")
    events = {event["type"]: event for event in history(cloud, execution)}
    submitted = events["TaskSubmitted"]["taskSubmittedEventDetails"]
    assert (submitted["resourceType"], submitted["resource"]) == ("sqs", "sendMessage.waitForTaskToken")
    answer = json.loads(submitted["output"])
    assert {"MessageId", "MD5OfMessageBody", "SdkHttpMetadata", "SdkResponseMetadata"} <= answer.keys()
    assert events["TaskScheduled"]["taskScheduledEventDetails"]["heartbeatInSeconds"] == 1
    assert events["TaskSucceeded"]["previousEventId"] == events["TaskSubmitted"]["id"]


def test_a_function_that_does_not_take_the_token_fails_the_task(cloud: Cloud) -> None:
    function = make_function(cloud, "def handler(event, context):\n    raise ValueError(event['token'])\n")
    arguments = {"FunctionName": function, "Payload": {"token": "{% $states.context.Task.Token %}"}}
    resource = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    ended = end_of(cloud, start_machine(cloud, waiting_task("", Resource=resource, Arguments=arguments)))
    assert (ended["status"], ended["error"]) == ("FAILED", "ValueError")


def test_an_answer_that_nobody_can_read_is_refused_and_the_task_waits_on(cloud: Cloud) -> None:
    url, client = queue(cloud), cloud.client("stepfunctions")
    execution = start_machine(cloud, waiting_task(url))
    token, largest = token_from(cloud, url), json.dumps("x" * 262_142)
    with pytest.raises(client.exceptions.InvalidOutput, match="Invalid Output"):
        client.send_task_success(taskToken=token, output="{")
    with pytest.raises(client.exceptions.ClientError, match="Member must have length less than or equal to 262144"):
        client.send_task_success(taskToken=token, output=largest + " ")
    client.send_task_success(taskToken=token, output=largest)
    assert end_of(cloud, execution)["status"] == "SUCCEEDED"


def test_a_stopped_execution_waits_for_no_token(cloud: Cloud) -> None:
    url, client = queue(cloud), cloud.client("stepfunctions")
    execution = start_machine(cloud, waiting_task(url))
    token = token_from(cloud, url)
    client.stop_execution(executionArn=execution)

    def is_gone() -> bool:
        try:
            client.send_task_heartbeat(taskToken=token)
        except client.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"]) == "TaskDoesNotExist"
        return False

    wait_for(is_gone, "the end of the wait")
    assert end_of(cloud, execution)["status"] == "ABORTED"
