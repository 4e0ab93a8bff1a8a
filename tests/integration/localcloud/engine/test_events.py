"""Events in the local cloud: what S3, rules, alarms and topics deliver, as on AWS."""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import pytest

from localcloud import faults, mailbox
from tests.integration.conftest import (
    ROLE,
    Cloud,
    end_of,
    make_function,
    make_machine,
    open_to,
    unique,
    watch_events,
)
from tests.waiting import wait_for

AWKWARD_KEYS = [
    "raw/a b+c.csv",
    'raw/say "hi".csv',
    "raw/100%/ä ö/日本.csv",
    "raw/back\\slash.csv",
    "raw/it's&<x>.csv",
    "raw/line\nfeed.csv",
    "raw/carriage\rreturn.csv",
    "raw/control\x01\x1b.csv",
    "raw/none\ufffe.csv",
]


def make_bucket(cloud: Cloud, *, versioned: bool = True, key_arn: str | None = None) -> str:
    s3, bucket = cloud.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    if key_arn:
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn}
        rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    return bucket


def make_queue(cloud: Cloud) -> tuple[str, str]:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = open_to("events.amazonaws.com", "sqs:SendMessage", arn)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def test_the_event_of_a_versioned_encrypted_bucket_has_the_version_that_was_put(cloud: Cloud) -> None:
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    bucket = make_bucket(cloud, key_arn=key)
    seen = watch_events(cloud, {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})

    put = cloud.client("s3").put_object(Bucket=bucket, Key="raw/cars.csv", Body=b"price\n1\n")

    event = wait_for(seen, "the event")[0]
    assert event["detail-type"] == "Object Created"
    assert event["detail"]["object"]["version-id"] == put["VersionId"]
    assert event["detail"]["object"]["size"] == 8
    assert put["ServerSideEncryption"] == "aws:kms"
    assert cloud.client("s3").get_object(Bucket=bucket, Key="raw/cars.csv")["Body"].read() == b"price\n1\n"


def test_uploads_in_parts_and_copies_have_their_version_too(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), make_bucket(cloud)
    seen = watch_events(cloud, {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})

    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"x" * 100)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    whole = s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload=parts)
    copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "big"})

    wait_for(lambda: len(seen()) >= 2, "both events")
    versions = {event["detail"]["object"]["key"]: event["detail"]["object"]["version-id"] for event in seen()}
    assert versions == {"big": whole["VersionId"], "copy": copy["VersionId"]}


def test_the_event_of_an_unversioned_bucket_has_no_version(cloud: Cloud) -> None:
    bucket = make_bucket(cloud, versioned=False)
    seen = watch_events(cloud, {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})

    cloud.client("s3").put_object(Bucket=bucket, Key="a", Body=b"1")

    assert "version-id" not in wait_for(seen, "the event")[0]["detail"]["object"]


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_an_input_transformer_hands_the_object_of_an_event_to_a_state_machine(cloud: Cloud, key: str) -> None:
    bucket = make_bucket(cloud)
    machine = make_machine(cloud, {"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}})
    events, rule = cloud.client("events"), unique("rule")
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "raw/"}]}}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"id": "$.id", "bucket": "$.detail.bucket.name", "object": "$.detail.object"},
        "InputTemplate": '{"Trigger": {"Type": "DataDrop", "Id": <id>, "Bucket": <bucket>, "Object": <object>}}',
    }
    events.put_targets(
        Rule=rule, Targets=[{"Id": "run", "Arn": machine, "RoleArn": ROLE, "InputTransformer": transformer}]
    )

    put = cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"1")

    listed = cloud.client("stepfunctions").list_executions
    started = wait_for(lambda: listed(stateMachineArn=machine)["executions"], "the execution")
    trigger = json.loads(end_of(cloud, started[0]["executionArn"])["output"])["Trigger"]
    assert trigger["Object"]["key"] == key
    assert trigger["Object"]["version-id"] == put["VersionId"]
    assert trigger["Bucket"] == bucket


@pytest.mark.parametrize("service", ["lambda", "states", "sqs", "sns"])
def test_an_event_whose_target_is_gone_lands_in_the_dead_letter_queue(cloud: Cloud, service: str) -> None:
    resource = {"lambda": "function:gone", "states": "stateMachine:gone", "sqs": "gone", "sns": "gone"}[service]
    target = f"arn:aws:{service}:{cloud.region}:000000000000:{resource}"
    url, queue = make_queue(cloud)
    events, rule, source = cloud.client("events"), unique("rule"), unique("source")
    rule_arn = events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    role = {"RoleArn": ROLE} if service == "states" else {}
    events.put_targets(
        Rule=rule, Targets=[{"Id": "gone", "Arn": target, "DeadLetterConfig": {"Arn": queue}, "Input": "{}", **role}]
    )

    events.put_events(Entries=[{"Source": source, "DetailType": "Test", "Detail": '{"n": 7}'}])

    receive = cloud.client("sqs").receive_message
    message = wait_for(lambda: receive(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages"), "the letter")[0]
    assert json.loads(message["Body"])["detail"] == {"n": 7}
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert (attributes["RULE_ARN"], attributes["TARGET_ARN"]) == (rule_arn, target)
    assert attributes["ERROR_CODE"] == "NO_RESOURCE"
    assert attributes["ERROR_MESSAGE"]


@dataclass(frozen=True)
class Throttled:
    """A rule of its own, what makes its deliveries fail, and the event that they deliver."""

    cloud: Cloud
    name: str
    faults: faults.Client

    def targets(self, *queue_arns: str, **settings: Any) -> None:
        """Let the rule deliver to queues, in this order."""
        targets = [{"Id": f"queue-{number}", "Arn": arn, **settings} for number, arn in enumerate(queue_arns)]
        self.cloud.client("events").put_targets(Rule=self.name, Targets=targets)

    def send(self) -> None:
        self.cloud.client("events").put_events(Entries=[{"Source": self.name, "DetailType": "Test", "Detail": "{}"}])

    def received(self, url: str) -> list[dict[str, Any]]:
        """The messages that a queue has now; they are gone then."""
        sqs = self.cloud.client("sqs")
        messages = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
        for message in messages.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return list(messages.get("Messages", []))

    def receive(self, url: str, count: int) -> None:
        """Wait until a queue has had so many messages."""
        seen: list[dict[str, Any]] = []

        def enough() -> bool:
            seen.extend(self.received(url))
            return len(seen) >= count

        wait_for(enough, f"{count} events")

    def dead_letter(self, url: str) -> dict[str, str]:
        """The attributes of the one letter that comes."""
        (message,) = wait_for(lambda: self.received(url), "the letter")
        assert json.loads(message["Body"])["source"] == self.name
        return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


@pytest.fixture
def throttled(cloud: Cloud) -> Throttled:
    name = unique("rule")
    cloud.client("events").put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    return Throttled(cloud, name, faults.Client(cloud.environment(), name=name))


def test_an_event_whose_target_is_throttled_twice_is_delivered_once(cloud: Cloud, throttled: Throttled) -> None:
    url, queue = make_queue(cloud)
    throttled.targets(queue)

    with throttled.faults.injected("event:*", "throttle", times=2) as number:
        throttled.send()

        (message,) = wait_for(lambda: throttled.received(url), "the event")
        assert json.loads(message["Body"])["source"] == throttled.name
        assert throttled.faults.fired(number) == 2
        time.sleep(0.3)
        assert throttled.received(url) == []


@pytest.mark.parametrize(
    ("policy", "condition", "tries"),
    [
        ({"MaximumRetryAttempts": 0}, "MaximumRetryAttempts", range(1, 2)),
        ({"MaximumRetryAttempts": 2}, "MaximumRetryAttempts", range(3, 4)),
        # Pauses of at most 1, 2, 4, 8, 16, 32 s and at least half of that, the last one as short as the age demands.
        ({"MaximumEventAgeInSeconds": 60}, "MaximumEventAgeInSeconds", range(7, 9)),
    ],
)
def test_an_event_that_is_throttled_for_too_long_lands_in_the_dead_letter_queue(
    cloud: Cloud, throttled: Throttled, policy: dict[str, int], condition: str, tries: range
) -> None:
    (url, queue), (dead, letters) = make_queue(cloud), make_queue(cloud)
    throttled.targets(queue, RetryPolicy=policy, DeadLetterConfig={"Arn": letters})

    with throttled.faults.injected("event:*", "throttle", times="always") as number:
        throttled.send()

        attributes = throttled.dead_letter(dead)
        fired = throttled.faults.fired(number)
    assert fired in tries
    assert attributes.pop("RULE_ARN").endswith(f":rule/{throttled.name}")
    assert attributes == {
        "TARGET_ARN": queue,
        "ERROR_CODE": "THROTTLING",
        "ERROR_MESSAGE": "Rate exceeded",
        "RETRY_ATTEMPTS": str(fired - 1),
        "EXHAUSTED_RETRY_CONDITION": condition,
    }
    assert throttled.received(url) == []


def test_an_error_that_does_not_mend_itself_is_not_retried(cloud: Cloud, throttled: Throttled) -> None:
    (_, queue), (dead, letters) = make_queue(cloud), make_queue(cloud)
    throttled.targets(queue, DeadLetterConfig={"Arn": letters})

    with throttled.faults.injected("event:*", "error", error="NO_RESOURCE", message="gone", times="always") as number:
        throttled.send()

        attributes = throttled.dead_letter(dead)
        assert throttled.faults.fired(number) == 1
    assert (attributes["ERROR_CODE"], attributes["ERROR_MESSAGE"]) == ("NO_RESOURCE", "gone")
    assert attributes["RETRY_ATTEMPTS"] == "0"
    assert "EXHAUSTED_RETRY_CONDITION" not in attributes


def test_without_a_dead_letter_queue_the_event_is_lost_and_the_log_says_so(cloud: Cloud, throttled: Throttled) -> None:
    url, queue = make_queue(cloud)
    throttled.targets(queue, RetryPolicy={"MaximumRetryAttempts": 1})
    log = cloud.state / "server.log"
    last = f"event for {queue} was not delivered: Rate exceeded; dead-letter queue: None"

    with throttled.faults.injected("event:*", "throttle", times=2):
        throttled.send()

        wait_for(lambda: last in log.read_text(), "the line in the log")
    assert f"event for {queue} was not delivered: THROTTLING: Rate exceeded; retry 1 in " in log.read_text()
    time.sleep(0.3)
    assert throttled.received(url) == []


def test_a_target_that_is_throttled_holds_up_neither_other_targets_nor_other_events(
    cloud: Cloud, throttled: Throttled
) -> None:
    (slow, slow_arn), (fast, fast_arn) = make_queue(cloud), make_queue(cloud)
    throttled.targets(slow_arn, fast_arn)

    with throttled.faults.injected(f"event:{slow_arn.rpartition(':')[2]}", "throttle", times="always") as number:
        for _ in range(3):
            throttled.send()
        throttled.receive(fast, 3)
        assert throttled.faults.fired(number) >= 3
        assert throttled.received(slow) == []

    throttled.receive(slow, 3)


def test_a_function_that_fails_on_an_event_is_tried_three_times(cloud: Cloud) -> None:
    url, _ = make_queue(cloud)
    source = f"""
import boto3
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl={url!r}, MessageBody=event["id"])
    raise OSError("no")
"""
    function, events, name = make_function(cloud, source), cloud.client("events"), unique("source")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "function", "Arn": function}])
    cloud.client("lambda").add_permission(
        FunctionName=function, StatementId="rule", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )

    events.put_events(Entries=[{"Source": name, "DetailType": "Test", "Detail": "{}"}])

    bodies: list[str] = []

    def tried() -> bool:
        received = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60)
        bodies.extend(message["Body"] for message in received.get("Messages", []))
        return len(bodies) >= 3

    wait_for(tried, "three tries", 20)
    assert len(set(bodies)) == 1


def test_a_topic_sends_mail_to_its_subscribers_and_a_link_ends_the_subscription(cloud: Cloud) -> None:
    sns, topic_name, address = cloud.client("sns"), unique("topic"), f"{unique('ada')}@example.com"
    topic = sns.create_topic(Name=topic_name, Attributes={"DisplayName": "Perennial Überblick"})["TopicArn"]
    subscription = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)["SubscriptionArn"]
    assert subscription.startswith(topic)
    body = "RMSE 2,100 € accepted.\nhttps://example.com/?a=1&b=2\n" + "long " * 400

    sns.publish(TopicArn=topic, Subject="Model in service", Message=body)

    def mails() -> list[mailbox.Message]:
        return [message for message in mailbox.messages(cloud.state) if message.recipient == address]

    mail = wait_for(mails, "the mail")[0]
    assert mail.subject == "Model in service"
    assert mail.body.startswith(body)
    link = next(line for line in mail.body.splitlines() if line.startswith(cloud.endpoint_url))
    with urlopen(link, timeout=5) as response:  # noqa: S310
        assert response.status == 200
    sns.publish(TopicArn=topic, Message="again")
    time.sleep(0.3)
    assert len(mails()) == 1


def test_an_alarm_changes_state_with_an_event_and_a_mail(cloud: Cloud) -> None:
    sns, cloudwatch, name = cloud.client("sns"), cloud.client("cloudwatch"), unique("alarm")
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=f"{name}@example.com")
    seen = watch_events(cloud, {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}})
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=name,
        MetricName="Errors",
        Dimensions=[{"Name": "Endpoint", "Value": "mine"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=3,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )

    def put(endpoint: str, value: float) -> None:
        datum = {"MetricName": "Errors", "Value": value, "Dimensions": [{"Name": "Endpoint", "Value": endpoint}]}
        cloudwatch.put_metric_data(Namespace=name, MetricData=[datum])

    put("mine", 1)
    put("another", 100)
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "OK"
    put("mine", 5)

    wait_for(lambda: len(seen()) == 2, "two transitions")
    detail = seen()[1]["detail"]
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("OK", "ALARM")
    assert seen()[1]["detail-type"] == "CloudWatch Alarm State Change"
    assert wait_for(lambda: [m for m in mailbox.messages(cloud.state) if m.recipient == f"{name}@example.com"], "mail")


@pytest.mark.parametrize(
    ("metric", "statistic"), [("ApproximateNumberOfMessagesVisible", "Maximum"), ("NumberOfMessagesSent", "Sum")]
)
def test_the_alarm_of_a_queue_fires_on_a_message_in_it(cloud: Cloud, metric: str, statistic: str) -> None:
    cloudwatch, name = cloud.client("cloudwatch"), unique("alarm")
    url, arn = make_queue(cloud)
    _, other = make_queue(cloud)
    for queue in (arn, other):
        queue_name = queue.rsplit(":", 1)[1]
        cloudwatch.put_metric_alarm(
            AlarmName=f"{name}-{queue_name}",
            Namespace="AWS/SQS",
            MetricName=metric,
            Dimensions=[{"Name": "QueueName", "Value": queue_name}],
            Statistic=statistic,
            Period=60,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )

    cloud.client("sqs").send_message(QueueUrl=url, MessageBody="lost")

    def states() -> dict[str, str]:
        alarms: list[dict[str, Any]] = cloudwatch.describe_alarms(AlarmNamePrefix=name)["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{name}-"): alarm["StateValue"] for alarm in alarms}

    wait_for(lambda: states()[arn.rsplit(":", 1)[1]] == "ALARM", "the alarm")
    assert states()[other.rsplit(":", 1)[1]] == "OK"
