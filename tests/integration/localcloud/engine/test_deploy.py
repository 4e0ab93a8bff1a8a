"""The real `sam build` and `sam deploy` against the local cloud, with every kind of resource that we use."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import sam_cli
from tests.integration.conftest import Cloud, end_of
from tests.waiting import wait_for

STACK = "engine-deploy"
TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Parameters:
  Emails: {Type: CommaDelimitedList, Default: 'ada@example.com,bob@example.com'}
Mappings:
  Accounts:
    us-east-1: {Image: '683313688378'}
    eu-west-1: {Image: '141502667606'}
Conditions:
  HasEmails: !Not [!Equals [!Join ['', !Ref Emails], '']]
Globals:
  Function:
    Runtime: python3.13
    Handler: app.handler
    Layers: [!Ref Layer]
    Environment: {Variables: {BUCKET: !Ref Bucket}}
Resources:
  Key:
    Type: AWS::KMS::Key
    Properties:
      KeyPolicy:
        Version: '2012-10-17'
        Statement:
          - Effect: Allow
            Principal: {AWS: !Sub 'arn:aws:iam::${AWS::AccountId}:root'}
            Action: kms:*
            Resource: '*'
  KeyAlias:
    Type: AWS::KMS::Alias
    Properties: {AliasName: !Sub 'alias/${AWS::StackName}', TargetKeyId: !Ref Key}
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      VersioningConfiguration: {Status: Enabled}
      BucketEncryption:
        ServerSideEncryptionConfiguration:
          - ServerSideEncryptionByDefault: {SSEAlgorithm: 'aws:kms', KMSMasterKeyID: !GetAtt Key.Arn}
      NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}
      OwnershipControls: {Rules: [{ObjectOwnership: BucketOwnerEnforced}]}
      LifecycleConfiguration:
        Rules:
          - {Id: runs, Status: Enabled, Prefix: runs/, Transitions: [{StorageClass: STANDARD_IA, TransitionInDays: 90}]}
          - Id: sets
            Status: Enabled
            Prefix: runs/
            TagFilters: [{Key: expires, Value: 'yes'}]
            ExpirationInDays: 30
          - Id: versions
            Status: Enabled
            NoncurrentVersionExpiration: {NoncurrentDays: 30}
            ExpiredObjectDeleteMarker: true
            AbortIncompleteMultipartUpload: {DaysAfterInitiation: 7}
      Tags: [{Key: Project, Value: perennial}]
  BucketPolicy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Version: '2012-10-17'
        Statement:
          - Effect: Deny
            Principal: '*'
            Action: s3:*
            Resource: !Sub ${Bucket.Arn}/*
            Condition: {Bool: {'aws:SecureTransport': false}}
  Topic: {Type: AWS::SNS::Topic, Properties: {KmsMasterKeyId: !GetAtt Key.Arn}}
  Fn::ForEach::Subscriptions:
    - Address
    - !Ref Emails
    - Subscription&{Address}:
        Type: AWS::SNS::Subscription
        Condition: HasEmails
        Properties: {TopicArn: !Ref Topic, Protocol: email, Endpoint: !Sub '${Address}'}
  Letters: {Type: AWS::SQS::Queue}
  LettersPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Letters]
      PolicyDocument:
        Version: '2012-10-17'
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Letters.Arn
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/SQS
      MetricName: ApproximateNumberOfMessagesVisible
      Dimensions: [{Name: QueueName, Value: !GetAtt Letters.QueueName}]
      Statistic: Maximum
      Period: 60
      EvaluationPeriods: 1
      Threshold: 0
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
      AlarmActions: [!Ref Topic]
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub '/aws/vendedlogs/states/${AWS::StackName}', RetentionInDays: 7}
  Layer:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile}
    Properties: {ContentUri: layer, CompatibleRuntimes: [python3.13]}
  Publish:
    Type: AWS::Serverless::Function
    Metadata: {SkipBuild: true}
    Properties:
      CodeUri: publish
      Policies:
        - Statement:
            - {Effect: Allow, Action: s3:PutObject, Resource: !Sub '${Bucket.Arn}/*'}
            - {Effect: Allow, Action: kms:GenerateDataKey, Resource: !GetAtt Key.Arn}
  Published:
    Type: Custom::Published
    Properties: {ServiceToken: !GetAtt Publish.Arn, Text: hello}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.json
      DefinitionSubstitutions: {Image: !FindInMap [Accounts, !Ref AWS::Region, Image]}
      Logging: {Level: ALL, Destinations: [{CloudWatchLogsLogGroup: {LogGroupArn: !GetAtt Logs.Arn}}]}
      Tracing: {Enabled: true}
  DropRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: 'sts:AssumeRole'}]
      Policies:
        - PolicyName: start
          PolicyDocument:
            Version: '2012-10-17'
            Statement: [{Effect: Allow, Action: 'states:StartExecution', Resource: !Ref Machine}]
  Drop:
    Type: AWS::Events::Rule
    Properties:
      EventPattern:
        source: [aws.s3]
        detail: {bucket: {name: [!Ref Bucket]}, object: {key: [{prefix: raw/}], size: [{numeric: ['>', 0]}]}}
      Targets:
        - Id: machine
          Arn: !GetAtt Machine.Arn
          RoleArn: !GetAtt DropRole.Arn
          InputTransformer:
            InputPathsMap: {object: $.detail.object}
            InputTemplate: '{"Object": <object>}'
          RetryPolicy: {MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 3600}
          DeadLetterConfig: {Arn: !GetAtt Letters.Arn}
Outputs:
  Bucket: {Value: !Ref Bucket}
  Machine: {Value: !Ref Machine}
  Published: {Value: !GetAtt Published.Key}
"""
PUBLISH = """
import json, os, urllib.request
import boto3
from shared import shout
def handler(event, context):
    if event["RequestType"] != "Delete":
        text = shout(event["ResourceProperties"]["Text"])
        boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key="code/text", Body=text)
    answer = {"Status": "SUCCESS", "PhysicalResourceId": "published", "Data": {"Key": "code/text"}}
    answer |= {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    request = urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request).close()
"""
MACHINE = {
    "QueryLanguage": "JSONata",
    "StartAt": "Only",
    "States": {
        "Only": {
            "Type": "Pass",
            "Output": {"key": "{% $states.input.Object.key %}", "image": "${Image}"},
            "End": True,
        }
    },
}


BUILD = """
build-Layer:
\tmkdir -p "$(ARTIFACTS_DIR)/python"
\tcp shared.py "$(ARTIFACTS_DIR)/python/"
"""


@pytest.fixture(scope="module")
def outputs(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of a stack that was built and deployed."""
    source = tmp_path_factory.mktemp("application")
    files = {
        "template.yaml": TEMPLATE,
        "machine.asl.json": json.dumps(MACHINE),
        "publish/app.py": PUBLISH,
        "publish/requirements.txt": "",
        "layer/shared.py": "def shout(text):\n    return text.upper()\n",
        "layer/Makefile": BUILD,
    }
    for name, text in files.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    sam(cloud, source, "build", "--language-extensions")
    sam(cloud, source, "deploy", *deploy_options())
    described = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def deploy_options() -> list[str]:
    options = ["--stack-name", STACK, "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    return [*options, "--language-extensions", "--no-confirm-changeset", "--no-fail-on-empty-changeset"]


def sam(cloud: Cloud, folder: Path, *arguments: str) -> str:
    done = sam_cli.sam(*arguments, cwd=folder, env=cloud.environment(), timeout_seconds=120)
    assert done.returncode == 0, f"sam {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_custom_resource_runs_its_function_with_its_layer(cloud: Cloud, outputs: dict[str, str]) -> None:
    assert outputs["Published"] == "code/text"
    found = cloud.client("s3").get_object(Bucket=outputs["Bucket"], Key="code/text")
    assert found["Body"].read() == b"HELLO"
    assert found["ServerSideEncryption"] == "aws:kms"


def test_a_drop_starts_the_deployed_state_machine_with_the_object(cloud: Cloud, outputs: dict[str, str]) -> None:
    s3 = cloud.client("s3")
    for key, body in {"raw/": b"", "other/a.csv": b"1", 'raw/ä "1" %+.csv': b"1"}.items():
        s3.put_object(Bucket=outputs["Bucket"], Key=key, Body=body)

    listed = cloud.client("stepfunctions").list_executions
    started = wait_for(lambda: listed(stateMachineArn=outputs["Machine"])["executions"], "the execution")
    assert len(started) == 1
    ended = end_of(cloud, started[0]["executionArn"])
    assert json.loads(ended["output"]) == {"key": 'raw/ä "1" %+.csv', "image": "683313688378"}


def test_the_deployed_state_machine_writes_its_log_and_sam_logs_shows_it(
    cloud: Cloud, outputs: dict[str, str], tmp_path: Path
) -> None:
    states = cloud.client("stepfunctions")
    given = json.dumps({"Object": {"key": "by hand"}})
    arn = states.start_execution(stateMachineArn=outputs["Machine"], input=given)["executionArn"]
    end_of(cloud, arn)

    events = cloud.client("logs").filter_log_events(logGroupName=f"/aws/vendedlogs/states/{STACK}")["events"]

    records = [record for event in events if (record := json.loads(event["message"]))["execution_arn"] == arn]
    assert [record["type"] for record in records] == [
        "ExecutionStarted",
        "PassStateEntered",
        "PassStateExited",
        "ExecutionSucceeded",
    ]
    assert records[1]["details"] == {"name": "Only"}  # the template does not ask for the data
    logging = states.describe_state_machine(stateMachineArn=outputs["Machine"])["loggingConfiguration"]
    assert logging["level"] == "ALL"
    shown = sam(cloud, tmp_path, "logs", "--stack-name", STACK)
    assert arn in shown
    assert "START RequestId" in shown  # of the functions


def test_the_bucket_has_the_properties_of_the_template(cloud: Cloud, outputs: dict[str, str]) -> None:
    s3, bucket = cloud.client("s3"), outputs["Bucket"]

    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"].startswith("arn:aws:kms:")
    lifecycle = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert lifecycle["runs"]["Filter"] == {"Prefix": "runs/"}
    assert lifecycle["runs"]["Transitions"] == [{"Days": 90, "StorageClass": "STANDARD_IA"}]
    both = lifecycle["sets"]["Filter"]["And"]
    assert (both["Prefix"], both["Tags"]) == ("runs/", [{"Key": "expires", "Value": "yes"}])
    assert lifecycle["sets"]["Expiration"] == {"Days": 30}
    assert lifecycle["versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert lifecycle["versions"]["Expiration"] == {"ExpiredObjectDeleteMarker": True}
    assert lifecycle["versions"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert ownership == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert {"Key": "Project", "Value": "perennial"} in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]


def test_every_address_of_the_list_is_subscribed(cloud: Cloud, outputs: dict[str, str]) -> None:
    topics = {
        resource["PhysicalResourceId"]
        for resource in cloud.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        if resource["ResourceType"] == "AWS::SNS::Topic"
    }
    found: list[dict[str, Any]] = cloud.client("sns").list_subscriptions_by_topic(TopicArn=topics.pop())[
        "Subscriptions"
    ]
    assert sorted(subscription["Endpoint"] for subscription in found) == ["ada@example.com", "bob@example.com"]
