"""What template.yaml and samconfig.toml promise: encryption, retention, delivery, permissions, tags, parameters."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from perennial.model import folder
from perennial.model.algorithms import ALGORITHMS
from perennial.runs import batch_input, configuration, keeping, monitor_input, naming, rollout, run_input
from perennial_cli import parameters
from perennial_cli.parameters import Setting
from tools import asl, aws_api, cfn, stamp_template

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text()
TEMPLATE = cfn.parse(TEXT)
RESOURCES: dict[str, dict[str, Any]] = {
    name: body if isinstance(body, dict) else next(iter(body[2].values()))
    for name, body in TEMPLATE["Resources"].items()
}
PARAMETERS = TEMPLATE["Parameters"]
GLOBALS = TEMPLATE["Globals"]["Function"]
FLOW = asl.parse((ROOT / "statemachines" / "train_model.asl.json").read_text())
SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())
ENVIRONMENTS = {"local": "local", "default": "dev", "staging": "staging", "prod": "prod"}  # by section
TAGS = {"Project", "Stack", "Model", "Component", "CostCenter"}
UNTAGGED = {
    *(
        "AWS::ApiGateway::Deployment",
        "AWS::ApiGateway::GatewayResponse",
        "AWS::ApiGateway::Method",
        "AWS::ApiGateway::Resource",
        "AWS::ApiGateway::UsagePlanKey",
        "AWS::CloudWatch::Dashboard",
        "AWS::IAM::ManagedPolicy",
        "AWS::KMS::Alias",
        "AWS::Lambda::Permission",
        "AWS::S3::BucketPolicy",
    ),
    *("AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy", "AWS::Serverless::LayerVersion"),
    *("Custom::JobCode", "Custom::RunsMade"),
}
JOB_ROLES = ["PreprocessRole", "IngestRole", "TrainRole", "BaselineRole", "ModelRole", "MonitorRole", "BatchRole"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RESOURCES[name]["Properties"]
    return found


FUNCTIONS = of_type("AWS::Serverless::Function")
ROLES = of_type("AWS::IAM::Role")
RULES = of_type("AWS::Events::Rule")
MACHINES = of_type("AWS::StepFunctions::StateMachine")
EXECUTIONS = "kms:EncryptionContext:aws:states:stateMachineArn"


def arn_of(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


DIGEST = "sha256:" + "0123456789abcdef" * 4
# The key that encrypts: that of the stack, or the one that it is given.
KEY = {"Fn::If": ["MakesKey", arn_of("Key"), {"Ref": "KmsKeyArn"}]}


def if_there_is(name: str, value: Any) -> Any:
    """The value, left out when the resource's condition leaves the resource out."""
    condition = RESOURCES[name].get("Condition")
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]} if condition else value


def rendered(value: Any, given: Mapping[str, Any], template: Mapping[str, Any] = TEMPLATE) -> Any:
    """Evaluate Ref, Sub, Join, Split, Select, FindInMap, ImportValue and If over parameters, as CloudFormation does."""
    if isinstance(value, list):
        return [item for item in (rendered(v, given, template) for v in value) if item is not None]
    if not isinstance(value, dict) or len(value) != 1 or not next(iter(value)).startswith(("Ref", "Fn::")):
        return value
    name, argument = next(iter(value.items()))
    if name == "Ref":
        return None if argument == "AWS::NoValue" else given[argument]
    if name == "Fn::GetAtt":
        return given[".".join(argument)]
    if name == "Fn::Join":
        parts = rendered(argument[1], given, template)
        return parts if isinstance(parts, str) else argument[0].join(parts)
    if name == "Fn::Split":
        return rendered(argument[1], given, template).split(argument[0])
    if name == "Fn::Select":
        parts = rendered(argument[1], given, template)
        return (parts.split(",") if isinstance(parts, str) else parts)[argument[0]]
    if name == "Fn::FindInMap":
        mapping, first, second = rendered(argument, given, template)
        return template["Mappings"][mapping][first][second]
    if name == "Fn::ImportValue":
        return given[rendered(argument, given, template)]
    if name == "Fn::If":
        chosen = argument[1 if condition(argument[0], given, template) else 2]
        return rendered(chosen, given, template)
    if name == "Fn::Sub":
        text, names = argument if isinstance(argument, list) else (argument, {})
        own = {key: rendered(item, given, template) for key, item in names.items()}
        return re.sub(
            r"\$\{([\w:.]+)\}", lambda match: str(own[match[1]] if match[1] in own else given[match[1]]), text
        )
    raise AssertionError(f"this test cannot evaluate {name}")


def condition(name: str, given: Mapping[str, Any], template: Mapping[str, Any] = TEMPLATE) -> bool:
    return holds(template["Conditions"][name], given, template)


def holds(said: Mapping[str, Any], given: Mapping[str, Any], template: Mapping[str, Any] = TEMPLATE) -> bool:
    """Evaluate what a condition or an assertion of the section Rules says, as CloudFormation would."""
    ((name, argument),) = said.items()
    if name == "Condition":
        return condition(argument, given, template)
    if name == "Fn::Not":
        return not holds(argument[0], given, template)
    if name in ("Fn::And", "Fn::Or"):
        return (all if name == "Fn::And" else any)(holds(one, given, template) for one in argument)
    if name == "Fn::EachMemberEquals":
        return all(member == argument[1] for member in given[argument[0]["Ref"]])
    assert name == "Fn::Equals", f"this test cannot evaluate {name}"
    left, right = (rendered(side, given, template) for side in argument)
    return bool(left == right)


def parameter_values(**overrides: str) -> dict[str, str]:
    return {**{name: str(body["Default"]) for name, body in PARAMETERS.items()}, **overrides}


# ---- Storage


def by_sid(document: Mapping[str, Any]) -> dict[str, Any]:
    """The statements of a policy, those among them that a parameter adds."""
    every = [statement.get("Fn::If", [None, statement])[1] for statement in document["Statement"]]
    return {statement["Sid"]: statement for statement in every}


def test_what_cannot_be_made_again_outlives_the_stack() -> None:
    for name in ("Key", "Bucket", "RunTable"):
        assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"
        # As Retain, unless the deployment that creates it fails (CloudFormation, "DeletionPolicy attribute").
        assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_what_runs_made_ends_after_what_starts_runs_and_before_what_it_needs() -> None:
    """CloudFormation deletes in the reverse of the order in which it creates."""
    made = properties("RunsMade")
    assert made["StateMachineArn"] == {"Ref": "TrainModel"}  # and so before the machine and the roles that it passes
    assert made["ServiceToken"] == arn_of("PublishJobCodeFunction")
    starts = [name for name in RULES if RULES[name]["Targets"][0]["Arn"] == arn_of("TrainModel")]
    assert starts == ["DataDropRule", "RetrainScheduleRule", "RetrainAlarmsRule", "ImagePushedRule"]
    assert {RESOURCES[name]["DependsOn"] for name in [*starts, "MonitorModel"]} == {"RunsMade"}


@pytest.mark.parametrize("name", ["JobCode", "RunsMade"])
def test_cloudformation_waits_for_the_function_as_long_as_it_may_run(name: str) -> None:
    assert properties(name)["ServiceTimeout"] > FUNCTIONS["PublishJobCodeFunction"]["Timeout"]


def test_the_bucket_is_encrypted_with_the_key_of_the_stack() -> None:
    (rule,) = properties("Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert properties("Key")["EnableKeyRotation"] is True


def test_the_bucket_is_versioned_private_and_tells_eventbridge() -> None:
    bucket = properties("Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


@pytest.mark.parametrize("policy", ["BucketPolicy", "AlertTopicPolicy", "UndeliveredEventsPolicy"])
def test_only_tls_is_accepted(policy: str) -> None:
    statements = by_sid(properties(policy)["PolicyDocument"])
    denied = statements["OnlyTls"]
    assert denied["Effect"] == "Deny"
    assert denied["Principal"] == "*"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_an_upload_that_names_another_key_is_refused() -> None:
    statements = by_sid(properties("BucketPolicy")["PolicyDocument"])
    encryption = "s3:x-amz-server-side-encryption"
    assert statements["OnlyOwnKey"]["Condition"] == {
        "Null": {encryption: False},
        "StringNotEquals": {f"{encryption}-aws-kms-key-id": KEY},
    }
    assert statements["NoKeyOfTheCaller"]["Condition"] == {"Null": {f"{encryption}-customer-algorithm": False}}
    for sid in ("OnlyOwnKey", "NoKeyOfTheCaller"):
        assert (statements[sid]["Effect"], statements[sid]["Action"]) == ("Deny", "s3:PutObject")


def test_accesses_to_the_bucket_are_logged_where_there_is_a_bucket_for_it() -> None:
    assert PARAMETERS["AccessLogBucket"]["Default"] == ""
    condition, logging, otherwise = properties("Bucket")["LoggingConfiguration"]["Fn::If"]
    assert (condition, otherwise) == ("HasAccessLogBucket", {"Ref": "AWS::NoValue"})
    assert logging["DestinationBucketName"] == {"Ref": "AccessLogBucket"}
    assert logging["LogFilePrefix"] == {"Fn::Sub": "${AWS::StackName}/"}


COPIES = {
    "CaptureReplicaBucket": "ops-captures",
    "CaptureReplicaAccount": "444444444444",
    "CaptureReplicaKeyArn": "arn:aws:kms:eu-west-1:444444444444:key/1",
}


def test_captured_traffic_is_copied_to_another_account_where_there_is_a_place_for_it_and_nothing_else_is() -> None:
    assert {PARAMETERS[name]["Default"] for name in COPIES} == {""}
    condition_name, copied, otherwise = properties("Bucket")["ReplicationConfiguration"]["Fn::If"]
    assert (condition_name, otherwise) == ("Replicates", {"Ref": "AWS::NoValue"})
    assert not condition(condition_name, parameter_values())
    assert condition(condition_name, parameter_values(**COPIES))
    (rule,) = copied["Rules"]
    assert (rule["Status"], rule["Filter"]) == ("Enabled", {"Prefix": "capture/"})
    place = with_examples(rule["Destination"], {**COPIES, "AWS::Partition": "aws"})
    assert place == {
        "Bucket": "arn:aws:s3:::ops-captures",
        "Account": "444444444444",
        "AccessControlTranslation": {"Owner": "Destination"},
        "EncryptionConfiguration": {"ReplicaKmsKeyID": COPIES["CaptureReplicaKeyArn"]},
    }
    (together,) = TEMPLATE["Rules"]["CopiesOfCapturesHaveAPlace"]["Assertions"]
    assert holds(together["Assert"], parameter_values())
    assert holds(together["Assert"], parameter_values(**COPIES))
    for name in COPIES:
        assert not holds(together["Assert"], parameter_values(**{**COPIES, name: ""}))


ALARMS = cfn.resources(TEMPLATE, "AWS::CloudWatch::Alarm")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_tells_people_what_to_do(name: str) -> None:
    alarm = properties(name)
    assert alarm["AlarmActions"] == [{"Ref": "AlertTopic"}]
    assert "What to do: " in alarm["AlarmDescription"]["Fn::Sub"]
    stays = name in ("NobodyToldAlarm", "ModelQualityAlarm")  # what is counted now and then
    assert alarm["TreatMissingData"] == ("ignore" if stays else "notBreaching")


def test_the_page_for_operators_says_of_each_alarm_what_it_means_and_of_none_that_there_is_not() -> None:
    rows = re.findall(r"^\| an alarm, (.*?) \|", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    described = [name for row in rows for name in re.findall(r"`…([\w-]+)`", row)]
    names = (alarm["Properties"]["AlarmName"]["Fn::Sub"] for alarm in ALARMS.values())
    assert sorted(described) == sorted(name.removeprefix("${AWS::StackName}-") for name in names)


def test_alarms_watch_the_metrics_of_this_stacks_runs_readers_and_endpoint() -> None:
    watched = {
        (alarm["Properties"]["MetricName"], tuple(each["Name"] for each in alarm["Properties"]["Dimensions"]))
        for alarm in ALARMS.values()
    }
    assert watched == {
        ("NumberOfMessagesSent", ("QueueName",)),
        ("RunsFailed", ("service",)),
        ("AlertReaders", ("service",)),
        ("Throttles", ("FunctionName",)),
        ("DestinationDeliveryFailures", ("FunctionName",)),
        ("Invocation4XXErrors", ("EndpointName", "VariantName")),
        ("Invocation5XXErrors", ("EndpointName", "VariantName")),
        ("InvocationModelErrors", ("EndpointName", "VariantName")),
        ("ModelLatency", ("EndpointName", "VariantName")),
        ("ModelWorse", ("service",)),
        ("ApiFailures", ("service",)),
    }


def test_only_functions_that_nobody_else_would_tell_of_have_alarms_of_their_own() -> None:
    """Rules call them; the flows call all others, or CloudFormation or whoever waits for an answer does."""
    called = {
        "Ends": "NotifyRunFunction", "Windows": "NotifyWindowFunction", "Batches": "NotifyBatchFunction",
        "Answers": "AnswerApprovalFunction",
        "Hours": "KeepHoursFunction",
    }  # fmt: skip
    for kind, name in called.items():
        for alarm in (f"{kind}LateAlarm", f"{kind}LostAlarm"):
            assert properties(alarm)["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": name}}]
    by_rules = [target["Arn"] for rule in RULES.values() for target in rule["Targets"] if "RoleArn" not in target]
    assert {*map(str, by_rules)} == {str(arn_of(name)) for name in called.values()}
    flows = [s for name in MACHINES for s in statements_of(f"{name}Role") if s["Sid"] == "Functions"]
    by_flows = {reference["Fn::GetAtt"][0] for functions in flows for reference in functions["Resource"]}
    assert sorted([*by_flows, *called.values(), "AnswerRequestFunction", "PublishJobCodeFunction"]) == sorted(FUNCTIONS)


def test_the_alarms_of_the_endpoint_are_of_the_variant_that_is_deployed() -> None:
    flow = (ROOT / "statemachines" / "train_model.asl.json").read_text()
    variants = re.findall(r'"VariantName": "(\w+)"', flow)
    for name in ("EndpointErrorsAlarm", "EndpointModelErrorsAlarm", "EndpointLatencyAlarm", "EndpointRefusalsAlarm"):
        endpoint, variant = properties(name)["Dimensions"]
        assert (endpoint["Value"], [variant["Value"]]) == ({"Ref": "AWS::StackName"}, sorted(set(variants)))


@pytest.mark.parametrize("shift", ["canary", "linear"])
@pytest.mark.parametrize("instances", [2, 3, 4, 5, 6, 9, 100])
def test_a_first_step_that_only_times_out_is_above_the_share_that_the_alarm_looks_at(
    shift: Any, instances: int
) -> None:
    """Timeouts are neither 4xx nor 5xx, so that the share of requests without an answer is all that shows them."""
    config = rollout.deployment_config(shift, 300, instances, []) or {}
    routing = config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    first = (routing.get("CanarySize") or routing["LinearStepSize"])["Value"]
    assert properties("EndpointModelErrorsAlarm")["Threshold"] < first / instances <= 0.5


def test_the_alarms_that_take_an_update_back_may_be_looked_at_by_who_asks_for_it() -> None:
    names = FUNCTIONS["CheckEndpointFunction"]["Environment"]["Variables"]["ROLLBACK_ALARMS"]["Fn::Sub"].split(",")
    alarms = {alarm: found["Properties"]["AlarmName"]["Fn::Sub"] for alarm, found in ALARMS.items()}
    for role, sid in (("CheckEndpointRole", "Alarms"), ("TrainModelRole", "RollbackAlarms")):
        (statement,) = (one for one in statements_of(role) if one["Sid"] == sid)
        assert [alarms[arn["Fn::GetAtt"][0]] for arn in statement["Resource"]] == names


def test_a_deployment_of_the_api_is_made_when_all_of_its_parts_are_there() -> None:
    parts = {*of_type("AWS::ApiGateway::Method"), *of_type("AWS::ApiGateway::GatewayResponse")}
    deployments = of_type("AWS::ApiGateway::Deployment")
    assert len(deployments) == 2
    assert all(set(RESOURCES[name]["DependsOn"]) == parts for name in deployments)


def test_what_looks_at_the_endpoints_hours_and_scaling_is_there_where_there_are_some() -> None:
    """The function itself is always there: it also looks at what a deployment has ended, or has made."""
    parts = {name: RESOURCES[name].get("Condition") for name in RESOURCES if name.startswith(("Hours", "KeepHours"))}
    always, by_clock = {"KeepHoursFunction", "KeepHoursLogs", "KeepHoursRole"}, {"HoursRule", "HoursPermission"}
    always |= {"HoursEndpointRule", "HoursEndpointPermission"}  # an endpoint that could not be made is told of
    assert {name for name, condition in parts.items() if condition is None} == always
    assert {name for name, condition in parts.items() if condition == "Sleeps"} == by_clock
    assert len([name for name, condition in parts.items() if condition == "SleepsOrScales"]) == 4
    statuses = properties("HoursEndpointRule")["EventPattern"]["detail"]["EndpointStatus"]
    assert statuses == {"Fn::If": ["SleepsOrScales", ["FAILED", "IN_SERVICE"], ["FAILED"]]}
    assert properties("HoursRule")["ScheduleExpression"] == {"Fn::GetAtt": ["JobCode", "HoursSchedule"]}


def test_what_looks_at_the_endpoint_ends_before_what_runs_made_and_is_deployed_before_it_is_called() -> None:
    """Or the endpoint would be made again while the stack is deleted, or looked at by the function as it was."""
    rules = [name for name in RESOURCES if name.startswith("Hours") and name.endswith("Rule")]
    assert {RESOURCES[name]["DependsOn"] for name in rules} == {"RunsMade"}
    made, function = properties("RunsMade"), FUNCTIONS["KeepHoursFunction"]["Environment"]["Variables"]
    assert made["KeepHoursFunction"] == {"Ref": "KeepHoursFunction"}
    assert (made["Hours"], made["Scaling"]) == (function["HOURS"], function["SCALING"])
    assert properties("JobCode")["Scaling"] == function["SCALING"]


def test_refused_requests_which_no_window_knows_of_raise_an_alarm_by_their_share() -> None:
    """An invocation has the value 1 or 0: Developer Guide, "Monitor Amazon SageMaker with Amazon CloudWatch"."""
    alarm = properties("EndpointRefusalsAlarm")
    assert (alarm["Namespace"], alarm["Statistic"], alarm["Threshold"]) == ("AWS/SageMaker", "Average", 0.1)
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (900, 1)
    assert "changes a unit" in alarm["AlarmDescription"]["Fn::Sub"]


def lifecycle(**given: str) -> dict[str, Any]:
    """The rules of the bucket by their names, with these parameters and the defaults of the others."""
    listed = rendered(properties("Bucket")["LifecycleConfiguration"]["Rules"], parameter_values(**given))
    return {rule["Id"]: rule for rule in listed}


def test_no_lifecycle_rule_deletes_what_may_still_serve() -> None:
    rules = lifecycle()
    assert set(rules) == {
        "run-artefacts",
        "run-sets",
        "copies",
        "batch-work",
        "captured-traffic",
        "old-versions",
        "unfinished-uploads",
    }
    assert all(rule["Status"] == "Enabled" for rule in rules.values())
    assert "Transitions" in rules["run-artefacts"]
    expiring = {rule["Prefix"] for rule in rules.values() if "ExpirationInDays" in rule and "TagFilters" not in rule}
    assert expiring == {"batch/work/", "capture/"}
    assert (rules["run-sets"]["Prefix"], rules["run-sets"]["TagFilters"]) == ("runs/", [keeping.EXPIRES])
    assert rules["copies"]["Transitions"][0]["StorageClass"] == "INTELLIGENT_TIERING"  # runs go on reading them


def test_captured_traffic_ends_when_it_is_said_to_end() -> None:
    """In a bucket with versions an expiration only hides an object: the bytes stay as an old version."""
    rules = lifecycle()
    assert rules["captured-traffic"]["ExpirationInDays"] == {"Ref": "CaptureDays"}
    assert rules["captured-traffic"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["old-versions"]["ExpiredObjectDeleteMarker"] is True


def test_sets_of_runs_are_gone_for_good_after_the_days_of_the_parameter_and_stay_with_0() -> None:
    rule = lifecycle()["run-sets"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": "RunSetsDays"})
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert "run-sets" not in lifecycle(RunSetsDays="0")
    assert FUNCTIONS["NotifyRunFunction"]["Environment"]["Variables"]["RUN_SETS_DAYS"] == {"Ref": "RunSetsDays"}


def test_copies_of_the_data_stay_unless_the_parameter_has_those_expire_that_no_run_reads() -> None:
    rules = {days: lifecycle(CopiesDays=days)["copies"] for days in ("0", "60")}
    assert {rule["Prefix"] for rule in rules.values()} == {"copies/"}
    assert "ExpirationInDays" not in rules["0"]
    assert "NoncurrentVersionExpiration" not in rules["0"]
    assert "Transitions" not in rules["60"]
    assert rules["60"]["ExpirationInDays"] == {"Ref": "CopiesDays"}
    assert rules["60"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert FUNCTIONS["SnapshotDataFunction"]["Environment"]["Variables"] == {"COPIES_DAYS": {"Ref": "CopiesDays"}}
    # A run that copies reads at once: weeks before what it did not make anew expires.
    assert min(filter(None, PARAMETERS["CopiesDays"]["AllowedValues"])) == 60


def test_the_run_table_is_on_demand_encrypted_recoverable_and_forgets_what_has_expired() -> None:
    table = properties("RunTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]


def test_every_log_group_forgets_after_the_days_of_the_parameter() -> None:
    groups = of_type("AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS) + len(MACHINES) + len(of_type("AWS::ApiGateway::Stage"))
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())


def test_logs_are_encrypted_with_the_key_of_the_stack_which_lets_cloudwatch_use_it_for_these_groups_only() -> None:
    """CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS Key Management Service"."""
    groups = of_type("AWS::Logs::LogGroup").values()
    assert all(group["KmsKeyId"] == KEY for group in groups)
    logs = by_sid(properties("Key")["KeyPolicy"])["LogsEncrypt"]
    assert logs["Principal"] == {"Service": {"Fn::Sub": "logs.${AWS::Region}.amazonaws.com"}}
    place = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"
    named = [{"Fn::Sub": place + group["LogGroupName"]["Fn::Sub"]} for group in groups]
    assert sorted(map(str, logs["Condition"]["ArnEquals"]["kms:EncryptionContext:aws:logs:arn"])) == sorted(
        map(str, named)
    )


def test_the_statements_to_paste_into_a_key_of_ones_own_are_those_of_the_stacks_key() -> None:
    (pasted, *_) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "kms-key.md").read_text(), re.DOTALL)
    example = {
        "AWS::Partition": "aws",
        "AWS::Region": "eu-west-1",
        "AWS::AccountId": "123456789012",
        "AWS::StackName": "used-cars-prod",
    }
    own = by_sid(properties("Key")["KeyPolicy"])
    not_pasted = ("AccountAdministers", "OtherAccountsRead")
    wanted = [with_examples(statement, example) for sid, statement in own.items() if sid not in not_pasted]
    assert json.loads(pasted) == wanted


def with_examples(value: Any, example: Mapping[str, str]) -> Any:
    """A part of the template with a deployment's values for Ref and Sub."""
    if isinstance(value, list):
        return [with_examples(item, example) for item in value]
    if isinstance(value, dict):
        plain = set(value) <= {"Ref", "Fn::Sub"}
        return rendered(value, example) if plain else {k: with_examples(v, example) for k, v in value.items()}
    return value


def test_the_environment_of_functions_is_encrypted_with_the_key_of_the_stack_and_opened_for_them_only() -> None:
    assert GLOBALS["KmsKeyArn"] == KEY
    (opened,) = (body for body in statements_of("FunctionBasicsPolicy") if body["Sid"] == "Environment")
    assert (opened["Action"], opened["Resource"]) == ("kms:Decrypt", KEY)
    place = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    named = [{"Fn::Sub": place + function["FunctionName"]["Fn::Sub"]} for function in FUNCTIONS.values()]
    assert sorted(map(str, opened["Condition"]["StringEquals"]["kms:EncryptionContext:aws:lambda:FunctionArn"])) == (
        sorted(map(str, named))
    )


def test_every_function_may_write_its_log() -> None:
    (logs,) = (body for body in statements_of("FunctionBasicsPolicy") if body["Sid"] == "Logs")
    allowed = json.dumps(logs["Resource"])
    assert [name for name in FUNCTIONS if f'"{name.removesuffix("Function")}Logs", "Arn"' not in allowed] == []


# ---- Notification


def test_every_address_gets_a_subscription_and_no_address_gets_none() -> None:
    variable, collection, body = TEMPLATE["Resources"]["Fn::ForEach::AlertSubscriptions"]
    assert collection == {"Ref": "AlertEmails"}
    ((logical_id, subscription),) = body.items()
    assert f"&{{{variable}}}" in logical_id
    assert subscription["Condition"] == "HasAlertEmails"
    assert subscription["Properties"] == {
        "TopicArn": {"Ref": "AlertTopic"},
        "Protocol": "email",
        "Endpoint": {"Fn::Sub": f"${{{variable}}}"},
    }
    assert not condition("HasAlertEmails", {"AlertEmails": ""})
    assert condition("HasAlertEmails", {"AlertEmails": "a@example.com"})


def test_a_deployment_says_who_is_told() -> None:
    told = TEMPLATE["Outputs"]["AlertsTo"]["Value"]
    assert rendered(told, {"AlertEmails": "a@example.com,b@example.com"}) == "a@example.com,b@example.com"
    assert rendered(told, {"AlertEmails": ""}).startswith("nobody: add AlertEmails=")


def test_the_topic_is_encrypted_with_the_key_of_the_stack_and_alarms_may_use_both() -> None:
    assert properties("AlertTopic")["KmsMasterKeyId"] == KEY
    for document in (properties("AlertTopicPolicy")["PolicyDocument"], properties("Key")["KeyPolicy"]):
        alarms = by_sid(document)["AlarmsPublish"]
        assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert alarms["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


# ---- Triggers


@pytest.mark.parametrize("rule", RULES)
def test_every_target_is_tried_again_and_then_keeps_the_event(rule: str) -> None:
    for target in RULES[rule]["Targets"]:
        assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}
        assert target["DeadLetterConfig"] == {"Arn": arn_of("UndeliveredEvents")}


def test_a_rule_starts_one_flow_so_that_taking_it_away_stops_no_other() -> None:
    flows = set(of_type("AWS::StepFunctions::StateMachine"))
    started = {name: flows & set(re.findall(r"\w+", json.dumps(rule["Targets"]))) for name, rule in RULES.items()}
    assert all(len(of_rule) <= 1 for of_rule in started.values())
    assert len(flows) == 3
    for flow in flows:
        assert len([name for name, of_rule in started.items() if flow in of_rule]) >= 2, flow


def test_the_queue_of_undelivered_events_takes_them_from_these_rules_only_and_is_encrypted() -> None:
    statement = properties("UndeliveredEventsPolicy")["PolicyDocument"]["Statement"][0]
    allowed_rules = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert allowed_rules == [if_there_is(rule, arn_of(rule)) for rule in RULES]
    assert properties("UndeliveredEvents")["SqsManagedSseEnabled"] is True
    assert properties("UndeliveredEvents")["MessageRetentionPeriod"] == 14 * 86400


def test_an_undelivered_event_raises_an_alarm_that_people_are_told_of() -> None:
    alarm = properties("UndeliveredEventsAlarm")
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Period"]) == ("NumberOfMessagesSent", "Sum", 60)
    assert "start a run by hand, which takes all data" in alarm["AlarmDescription"]["Fn::Sub"]
    assert alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": ["UndeliveredEvents", "QueueName"]}
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert alarm["AlarmActions"] == [{"Ref": "AlertTopic"}]


def test_a_stack_that_was_deleted_can_be_deployed_again_at_once() -> None:
    """SQS, CreateQueue: QueueDeletedRecently; SNS, CreateTopic: StaleTag. And what is kept has its name."""
    for name in ("UndeliveredEvents", "AlertTopic", "Bucket", "RunTable"):
        assert not {key for key in properties(name) if key.endswith("Name")} - {"DisplayName"}


def test_an_end_that_could_not_be_told_is_kept_as_well() -> None:
    config = FUNCTIONS["NotifyRunFunction"]["EventInvokeConfig"]
    assert config["DestinationConfig"]["OnFailure"] == {"Type": "SQS", "Destination": arn_of("UndeliveredEvents")}


def test_a_drop_below_the_data_prefix_starts_a_run_with_the_input_of_every_trigger() -> None:
    rule, mine = RULES["DataDropRule"], {"Bucket": "own"}
    for given, bucket in (({"DataBucket": ""}, "own"), ({"DataBucket": "theirs"}, "theirs")):
        assert rendered(rule["EventPattern"]["detail"]["bucket"]["name"], given | mine) == [bucket]
        assert rendered(GLOBALS["Environment"]["Variables"]["DATA_BUCKET"], given | mine) == bucket
    assert rule["EventPattern"]["detail"]["object"]["key"] == [{"prefix": {"Ref": "DataPrefix"}}]
    dropped = {"key": 'raw/"a".csv', "size": 5}
    given = input_of_a_run("DataDropRule", {**EVENT, "detail": {"bucket": {"name": "b"}, "object": dropped}})
    trigger = run_input.execution_input(given).Trigger
    assert (trigger.Type, trigger.Id, trigger.Time) == ("DataDrop", EVENT["id"], EVENT["time"])
    assert (trigger.Bucket, trigger.Object) == ("b", dropped)


EVENT = {"id": "1", "time": "2026-11-20T10:00:00Z", "detail": {}}


def input_of_a_run(rule: str, event: dict[str, Any], machine: str = "TrainModel") -> Any:
    """What a rule hands to the state machine."""
    (target,) = RULES[rule]["Targets"]
    assert target["Arn"] == arn_of(machine)
    text = target["InputTransformer"]["InputTemplate"]
    for name, path in target["InputTransformer"]["InputPathsMap"].items():
        value: Any = event
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        assert f"<{name}>" in text
        text = text.replace(f"<{name}>", json.dumps(value))
    return json.loads(text)


def test_the_clock_starts_a_run_with_the_input_of_every_trigger_and_only_if_it_is_asked_to() -> None:
    assert RULES["RetrainScheduleRule"]["ScheduleExpression"] == {"Ref": "RetrainSchedule"}
    trigger = run_input.execution_input(input_of_a_run("RetrainScheduleRule", EVENT)).Trigger
    assert (trigger.Type, trigger.Id, trigger.Time) == ("Schedule", EVENT["id"], EVENT["time"])
    for name in ("RetrainScheduleRule", "RetrainScheduleRole"):
        assert RESOURCES[name]["Condition"] == "HasRetrainSchedule"
    assert not condition("HasRetrainSchedule", parameter_values())
    assert condition("HasRetrainSchedule", parameter_values(RetrainSchedule="rate(1 day)"))


# Amazon ECR User Guide, "Amazon ECR events and EventBridge": a completed image push.
PUSHED = {
    "version": "0",
    "id": "13cde686-328b-6117-af20-0e5566167482",
    "detail-type": "ECR Image Action",
    "source": "aws.ecr",
    "account": "123456789012",
    "time": "2019-11-16T01:54:34Z",
    "region": "us-west-2",
    "resources": [],
    "detail": {
        "result": "SUCCESS",
        "repository-name": "images/trees",
        "image-digest": f"sha256:{'7' * 64}",
        "action-type": "PUSH",
        "image-tag": "latest",
    },
}


def test_an_image_that_is_pushed_starts_a_run_with_its_digest() -> None:
    pattern = RULES["ImagePushedRule"]["EventPattern"]
    assert pattern["source"] == [PUSHED["source"]]
    assert pattern["detail-type"] == [PUSHED["detail-type"]]
    own = {"repository-name": [{"Ref": "OwnImageRepository"}], "image-tag": [{"anything-but": {"prefix": "sha256-"}}]}
    assert pattern["detail"] == {"action-type": ["PUSH"], "result": ["SUCCESS"], **own}
    started = run_input.execution_input(input_of_a_run("ImagePushedRule", PUSHED))
    assert started.Trigger.Type == "Image"
    assert (started.Trigger.Image, started.Trigger.Id) == (PUSHED["detail"]["image-digest"], PUSHED["id"])


@pytest.mark.parametrize("name", ["Schedule", "EndpointInService"])
def test_a_rule_starts_the_monitor_with_an_input_that_it_takes(name: str) -> None:
    rule = {"Schedule": "MonitorScheduleRule", "EndpointInService": "EndpointInServiceRule"}[name]
    trigger = monitor_input.monitor_input(input_of_a_run(rule, EVENT, "MonitorModel")).Trigger
    assert (trigger.Type, trigger.Id, trigger.Time) == (name, EVENT["id"], EVENT["time"])


def test_the_clock_and_a_drop_have_files_scored_with_an_input_that_they_take() -> None:
    struck = batch_input.batch_input(input_of_a_run("BatchScheduleRule", EVENT, "ScoreBatch"))
    assert struck == batch_input.BatchInput(
        Trigger=batch_input.BatchTrigger(Type="Schedule", Id=EVENT["id"], Time=EVENT["time"])
    )
    event = {**EVENT, "detail": {"object": {"key": "batch/incoming/a.csv", "version-id": "v"}}}
    dropped = batch_input.batch_input(input_of_a_run("BatchDropRule", event, "ScoreBatch"))
    assert (dropped.Trigger.Type, dropped.Trigger.Id, dropped.Trigger.Time) == ("BatchDrop", EVENT["id"], EVENT["time"])
    assert dropped.File == batch_input.WaitingFile(Key="batch/incoming/a.csv", VersionId="v")


@pytest.mark.parametrize("schedule", ["MonitorSchedule", "BatchSchedule"])
def test_the_clock_has_windows_judged_and_files_scored_only_if_it_is_asked_to(schedule: str) -> None:
    assert RULES[f"{schedule}Rule"]["ScheduleExpression"] == {"Ref": schedule}
    assert RESOURCES[f"{schedule}Rule"]["Condition"] == f"Has{schedule}"
    assert not condition(f"Has{schedule}", parameter_values())
    assert condition(f"Has{schedule}", parameter_values(**{schedule: "rate(1 day)"}))


@pytest.mark.parametrize(
    ("before", "now", "starts"),
    [
        ("OK", "ALARM", True), ("INSUFFICIENT_DATA", "ALARM", True), ("ALARM", "OK", False),
        ("ALARM", "ALARM", False), ("OK", "INSUFFICIENT_DATA", False),
    ],
)  # fmt: skip
def test_an_alarm_starts_a_run_when_it_goes_into_alarm_and_not_while_it_stays_there(
    before: str, now: str, starts: bool
) -> None:
    detail = RULES["RetrainAlarmsRule"]["EventPattern"]["detail"]
    assert (now in detail["state"]["value"] and before in detail["previousState"]["value"]) is starts


@pytest.mark.parametrize("name", ["DataDrop", "RetrainAlarms", "RetrainSchedule", "ImagePushed"])
def test_a_rule_starts_runs_under_a_role_that_no_other_rule_can_use(name: str) -> None:
    (target,) = RULES[f"{name}Rule"]["Targets"]
    assert target["RoleArn"] == arn_of(f"{name}Role")
    (trust,) = ROLES[f"{name}Role"]["AssumeRolePolicyDocument"]["Statement"]
    sources = listed(trust["Condition"]["ArnLike"]["aws:SourceArn"])
    own = RULES[f"{name}Rule"]["Name"]["Fn::Sub"]
    of_bus = {f"${{AWS::StackName}}-data/{own}"} if "EventBusName" in RULES[f"{name}Rule"] else set()
    assert {source["Fn::Sub"].partition(":rule/")[2] for source in sources} == {own} | of_bus


@pytest.mark.parametrize(
    ("role", "machine"), [("MonitorTriggerRole", "MonitorModel"), ("BatchTriggerRole", "ScoreBatch")]
)
def test_a_role_that_has_windows_judged_or_files_scored_is_of_the_rules_that_start_that_only(
    role: str, machine: str
) -> None:
    targets = {rule["Name"]["Fn::Sub"]: rule["Targets"][0] for rule in RULES.values()}
    (trust,) = ROLES[role]["AssumeRolePolicyDocument"]["Statement"]
    sources = trust["Condition"]["ArnLike"]["aws:SourceArn"]
    named = {source["Fn::Sub"].partition(":rule/")[2] for source in sources}
    assert named == {name for name, target in targets.items() if target["Arn"] == arn_of(machine)}
    assert {targets[name]["RoleArn"]["Fn::GetAtt"][0] for name in named} == {role}


def test_a_window_is_told_by_one_kind_of_event_that_nobody_else_may_send() -> None:
    """EventBridge User Guide, "Example policy: Send events to a custom bus in a different account": its conditions."""
    (sends,) = (s for s in statements_of("NotifyWindowRole") if s["Sid"] == "Event")
    assert sends["Condition"] == {
        "ForAllValues:StringEquals": {"events:source": "perennial"},
        "StringEquals": {"events:detail-type": "Perennial Window Judged"},
    }
    others = {name: role.get("Policies", []) for name, role in ROLES.items() if name != "NotifyWindowRole"}
    assert "events:PutEvents" not in json.dumps(others)


def test_every_way_a_run_can_end_is_told() -> None:
    detail = RULES["RunEndedRule"]["EventPattern"]["detail"]
    assert detail["status"] == ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    assert detail["stateMachineArn"] == [{"Ref": "TrainModel"}]
    assert properties("RunEndedPermission")["SourceArn"] == arn_of("RunEndedRule")


# ---- The state machine


def test_the_state_machine_logs_its_steps_without_their_data_and_is_traced() -> None:
    machine = properties("TrainModel")
    assert machine["StateMachineType"] == "STANDARD"
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    assert machine["TracingConfiguration"] == {"Enabled": True}


def test_definition_and_executions_are_encrypted_with_the_key_of_the_stack() -> None:
    """Step Functions Developer Guide, "Data at rest encryption in Step Functions"."""
    here = "${AWS::Region}:${AWS::AccountId}"
    delivery = by_sid(properties("Key")["KeyPolicy"])["LogsDeliver"]
    assert (delivery["Principal"], delivery["Action"]) == ({"Service": "delivery.logs.amazonaws.com"}, "kms:Decrypt")
    logs = {"Fn::Sub": f"arn:${{AWS::Partition}}:logs:{here}:*"}
    of_log = {"StringEquals": {"kms:EncryptionContext:SourceArn": logs}}
    arns = {}
    for name, machine in MACHINES.items():
        assert machine["EncryptionConfiguration"] == {"Type": "CUSTOMER_MANAGED_KMS_KEY", "KmsKeyId": KEY}
        arns[name] = {
            "Fn::Sub": f"arn:${{AWS::Partition}}:states:{here}:stateMachine:{machine['StateMachineName']['Fn::Sub']}"
        }
        of_flow = {s["Sid"]: s for s in statements_of(f"{name}Role")}
        assert of_flow["Executions"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
        assert of_flow["Executions"]["Condition"] == {"StringEquals": {EXECUTIONS: arns[name]}}
        assert of_flow["EncryptedLog"]["Condition"] == delivery["Condition"] == of_log
    through = {"kms:ViaService": {"Fn::Sub": "states.${AWS::Region}.${AWS::URLSuffix}"}}
    train, monitor, score = arns["TrainModel"], arns["MonitorModel"], arns["ScoreBatch"]
    for who, sid, machines in (
        ("DataScientistPolicy", "ReadRuns", [train, monitor, score]),
        ("OperatorPolicy", "ReadRuns", [train, monitor, score]),
        ("DataDropRole", "Executions", train),
        ("RetrainScheduleRole", "Executions", train),
        ("RetrainAlarmsRole", "Executions", train),
        ("ImagePushedRole", "Executions", train),
        ("MonitorModelRole", "TrainingExecutions", train),
        ("MonitorTriggerRole", "Executions", monitor),
        ("ScoreBatchRole", "TrainingExecutions", train),
        ("BatchTriggerRole", "Executions", score),
    ):
        (using,) = (s for s in statements_of(who) if s["Sid"] == sid)
        starts_none = who == "OperatorPolicy"
        assert using["Action"] == ("kms:Decrypt" if starts_none else ["kms:Decrypt", "kms:GenerateDataKey"])
        assert using["Condition"] == {"StringEquals": {EXECUTIONS: machines} | through}


def test_a_state_waits_at_least_as_long_as_its_function_may_run() -> None:
    calls = [(name, body) for name, body in asl.states(FLOW) if body.get("Resource", "").endswith("lambda:invoke")]
    assert calls
    for name, body in calls:
        function = FUNCTIONS[body["Arguments"]["FunctionName"].removeprefix("${").removesuffix("Arn}")]
        assert body["TimeoutSeconds"] >= function.get("Timeout", GLOBALS["Timeout"]), name


def test_each_state_machine_may_pass_its_job_roles_and_no_other() -> None:
    wanted = {"TrainModel": JOB_ROLES[:-2], "MonitorModel": ["MonitorRole"], "ScoreBatch": ["BatchRole"]}
    assert set(wanted) == set(MACHINES)
    for name, roles in wanted.items():
        passed = [s["Resource"] for s in statements_of(f"{name}Role") if s["Action"] == "iam:PassRole"]
        assert [arn for resource in passed for arn in listed(resource)] == [arn_of(role) for role in roles]
        substitutions = properties(name)["DefinitionSubstitutions"]
        assert [v for k, v in substitutions.items() if k.endswith("RoleArn")] == [arn_of(role) for role in roles]


def test_the_state_machine_may_do_what_its_states_do_and_no_more() -> None:
    statements = ROLES["TrainModelRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    pairs = [(action, str(s.get("Condition"))) for s in statements for action in listed(s["Action"])]
    actions = [action for action, _ in pairs]
    needed = {"sagemaker:AddTags", "lambda:InvokeFunction"}  # everything that is created is tagged
    named_otherwise = {"ListObjectsV2": "ListBucket"}
    for _, body in asl.states(
        asl.parse(asl.substituted((ROOT / "statemachines" / "train_model.asl.json").read_text()))
    ):
        resource = body.get("Resource", "arn:aws:states:::lambda:invoke")
        call = aws_api.call(resource)
        if call.service.service_name != "lambda":
            needed.add(f"{call.service.service_name}:{named_otherwise.get(call.operation, call.operation)}")
        if call.pattern == ".sync":
            needed |= {f"sagemaker:{call.operation.replace('Create', verb)}" for verb in ("Describe", "Stop")}
            needed.add("sagemaker:ListTags")
    assert {a for a in actions if a.split(":")[0] in ("sagemaker", "ssm", "lambda", "s3")} == needed
    assert len(pairs) == len(set(pairs))
    assert {a for a in actions if actions.count(a) > 1} == {"kms:GenerateDataKey"}  # of executions, and of their log


def test_the_state_machine_may_call_the_functions_that_it_names_and_no_other() -> None:
    statements = {s["Sid"]: s for s in ROLES["TrainModelRole"]["Policies"][0]["PolicyDocument"]["Statement"]}
    substitutions = properties("TrainModel")["DefinitionSubstitutions"]
    assert statements["Functions"]["Resource"] == [v for k, v in substitutions.items() if k.endswith("FunctionArn")]


# ---- Functions


def test_every_function_folder_is_deployed_and_holds_its_app() -> None:
    folders = {path.parent.name for path in ROOT.glob("functions/*/app.py")}
    assert {function["CodeUri"] for function in FUNCTIONS.values()} == {f"functions/{name}/" for name in folders}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_a_role_a_log_and_a_name_of_its_own(name: str) -> None:
    stem = name.removesuffix("Function")
    kebab = re.sub(r"(?<!^)([A-Z])", r"-\1", stem).lower()
    function = FUNCTIONS[name]
    assert function["Role"] == arn_of(f"{stem}Role")
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": f"{stem}Logs"}}
    assert function["FunctionName"] == {"Fn::Sub": f"${{AWS::StackName}}-{kebab}"}
    assert function["CodeUri"] == f"functions/{kebab.replace('-', '_')}/"
    assert properties(f"{stem}Logs")["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{kebab}"}
    assert RESOURCES[name]["Metadata"] == {"SkipBuild": True}


def test_the_recorded_commit_is_dirty_when_anything_that_is_deployed_has_changed() -> None:
    makefile = (ROOT / "functions" / "Makefile").read_text()
    watched = set(re.findall(r"(?m)^DEPLOYED = (.*)$", makefile)[0].split())
    assert 'git -C "$(ROOT)" status --porcelain -- $(DEPLOYED)' in makefile
    in_the_layer = re.findall(r"\"\$\(ROOT\)/(\w+)", makefile)
    referred_to = re.findall(r"(?m)^ +(?:CodeUri|ContentUri|DefinitionS3Location): (\w+)", TEXT)
    assert set(in_the_layer) == {"perennial", "perennial_aws", "processing", "models", "requirements"}
    assert watched == {"template.yaml", *in_the_layer, *referred_to}


def test_functions_run_on_the_runtime_that_the_layer_is_built_for() -> None:
    layer = properties("SharedLayer")
    assert layer["CompatibleRuntimes"] == [GLOBALS["Runtime"]] == ["python3.13"]
    assert layer["CompatibleArchitectures"] == GLOBALS["Architectures"] == [{"Ref": "FunctionArchitecture"}]
    assert PARAMETERS["FunctionArchitecture"]["Default"] == "arm64"
    assert GLOBALS["Layers"] == [{"Ref": "SharedLayer"}]
    makefile = (ROOT / "functions" / "Makefile").read_text()
    assert "LAYER_PYTHON ?= 3.13" in makefile
    assert "LAYER_PLATFORM ?= aarch64" in makefile


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_variable_that_a_function_reads_is_set(name: str) -> None:
    folder = ROOT / FUNCTIONS[name]["CodeUri"]
    read: set[str] = set()
    for path in [*folder.glob("*.py"), *(ROOT / "perennial_aws").glob("*.py")]:
        text = path.read_text()
        read |= set(re.findall(r"environ(?:\.get\(|\[)[\"']([A-Z_]+)[\"']", text))
        if path.name != "settings.py":
            read |= {variable.upper() for variable in re.findall(r"\bsettings\.(\w+)(?!\()\b", text)}
        if "settings.algorithm_image" in text:
            read |= {algorithm.image_variable for algorithm in ALGORITHMS.values()}
    assert read, "every function reads something"
    own = FUNCTIONS[name].get("Environment", {}).get("Variables", {})
    assert read <= set(GLOBALS["Environment"]["Variables"]) | set(own)


def test_the_log_level_is_that_of_lambda_and_of_the_logger() -> None:
    """Lambda Developer Guide, "Log-level filtering": INFO in JSON unless the configuration says another."""
    assert GLOBALS["LoggingConfig"] == {"LogFormat": "JSON", "ApplicationLogLevel": {"Ref": "LogLevel"}}
    assert GLOBALS["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == {"Ref": "LogLevel"}
    levels = PARAMETERS["LogLevel"]["AllowedValues"]
    lambdas = botocore.session.get_session().get_service_model("lambda").shape_for("ApplicationLogLevel")
    assert set(levels) <= set(lambdas.enum)
    assert set(levels) <= set(logging.getLevelNamesMapping())


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"Algorithm": "", "ImageDigest": "", "GateThreshold": "", "HyperParameters": {}, "Instances": {}}),
        (
            {"Algorithm": "linear-learner", "GateThreshold": "0.9", "HyperParameters": '{"epochs": 5}'},
            {
                **{"Algorithm": "linear-learner", "ImageDigest": "", "GateThreshold": "0.9"},
                **{"HyperParameters": {"epochs": 5}, "Instances": {}},
            },
        ),
        (
            {"PreprocessInstanceType": "ml.c5.large", "EndpointInstanceType": "ml.t3.medium"},
            {
                **{"Algorithm": "", "ImageDigest": "", "GateThreshold": "", "HyperParameters": {}},
                "Instances": {
                    "Preprocess": {"InstanceType": "ml.c5.large"},
                    "Endpoint": {"InstanceType": "ml.t3.medium"},
                },
            },
        ),
    ],
)
def test_parameters_that_override_the_model_reach_the_functions(
    parameters: dict[str, str], expected: dict[str, Any]
) -> None:
    text = rendered(properties("StackOverrides")["Value"], parameter_values(**parameters))
    assert configuration.stack_overrides(text) == expected


def test_the_job_code_is_published_again_when_code_or_what_is_checked_with_it_changes() -> None:
    given = properties("JobCode")
    assert given["LayerVersion"] == {"Ref": "SharedLayer"}
    assert given["StackOverrides"] == properties("StackOverrides")["Value"]
    assert given["ModelName"] == {"Ref": "ModelName"}
    assert given["AlertEmails"] == {"Ref": "AlertEmails"}


# ---- Permissions (their details are tools/lint_policies.py's)


def test_every_role_is_for_one_service() -> None:
    of_rules = (
        "DataDropRole", "RetrainScheduleRole", "RetrainAlarmsRole", "ImagePushedRole", "MonitorTriggerRole",
        "BatchTriggerRole",
    )  # fmt: skip
    rules = dict.fromkeys(of_rules, "events")
    wanted = {**rules, **{f"{name}Role": "states" for name in MACHINES}, **dict.fromkeys(JOB_ROLES, "sagemaker")}
    wanted |= {"ReplicationRole": "s3", "OfflineStoreRole": "sagemaker"}
    for name, role in ROLES.items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": f"{wanted.get(name, 'lambda')}.amazonaws.com"}


def test_no_two_functions_share_a_role() -> None:
    roles = [function["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS.values()]
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize("role", JOB_ROLES)
def test_jobs_may_make_network_interfaces_only_in_a_vpc(role: str) -> None:
    attached = ROLES[role]["ManagedPolicyArns"]
    assert {"Fn::If": ["HasVpc", {"Ref": "JobsVpcPolicy"}, {"Ref": "AWS::NoValue"}]} in attached
    assert RESOURCES["JobsVpcPolicy"]["Condition"] == "HasVpc"
    assert "ec2:" not in json.dumps({name: body for name, body in RESOURCES.items() if name != "JobsVpcPolicy"})
    assert not condition("HasVpc", parameter_values())
    assert condition("HasVpc", parameter_values(VpcSubnetIds="subnet-1"))


def statements_of(name: str) -> list[dict[str, Any]]:
    """The statements of a role's own policy, or of a managed policy."""
    found = properties(name)
    document = found.get("PolicyDocument") or found["Policies"][0]["PolicyDocument"]
    return list(document["Statement"])


def test_interfaces_may_be_made_in_subnets_that_another_account_shares() -> None:
    (create,) = (s for s in statements_of("JobsVpcPolicy") if s["Sid"] == "CreateInterfaces")
    owners = dict(reversed(arn["Fn::Sub"].rsplit(":", 2)[1:]) for arn in create["Resource"])
    assert owners == {"network-interface/*": "AccountId}", "security-group/*": "*", "subnet/*": "*"}


def test_jobs_and_models_may_encrypt_their_outputs() -> None:
    """SageMaker Developer Guide, "How to use SageMaker AI execution roles", per API."""
    (key,) = (s for s in statements_of("JobBasicsPolicy") if s["Sid"] == "Key")
    assert "kms:Encrypt" in key["Action"]
    assert all({"Ref": "JobBasicsPolicy"} in ROLES[role]["ManagedPolicyArns"] for role in JOB_ROLES)


def test_volumes_get_their_key_by_grants_to_aws_only() -> None:
    """SageMaker Developer Guide, "API Permissions", CreateEndpoint, and "How to use SageMaker AI execution roles"."""
    (jobs,) = (s for s in statements_of("JobBasicsPolicy") if s["Sid"] == "Volumes")
    of_flow = ROLES["TrainModelRole"]["Policies"][0]["PolicyDocument"]["Statement"]
    (endpoint,) = (s for s in of_flow if s["Sid"] == "EndpointVolumes")
    for statement in (jobs, endpoint):
        assert (statement["Action"], statement["Resource"]) == ("kms:CreateGrant", KEY)
        assert statement["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": True}}


def test_sagemaker_may_write_records_as_it_writes_them() -> None:
    """SageMaker Developer Guide, "AWS managed policies for Amazon SageMaker Feature Store", without its Glue tables."""
    statements = {s["Sid"]: s for s in statements_of("OfflineStoreRole")}
    assert statements["Records"]["Action"] == ["s3:PutObject", "s3:PutObjectAcl"]
    assert (statements["Look"]["Action"], statements["Look"]["Resource"]) == ("s3:GetBucketAcl", arn_of("Bucket"))


def test_s3_may_name_no_account_where_it_replicates_as_its_guide_has_the_role_without_a_condition() -> None:
    (trust,) = ROLES["ReplicationRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEqualsIfExists": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


# They ask the list before they read; MonitorModel copies what a function has listed. AnswerRequest reads of runs that
# are exported, whose configuration is there, and NotifyBatch the report of a file that was scored.
LISTS_ITS_PART_ONLY = {
    "AnswerRequestRole", "NotifyBatchRole", "NotifyRunRole", "NotifyWindowRole", "MonitorModelRole",
    "RequestApprovalRole",
}  # fmt: skip


@pytest.mark.parametrize("role", sorted({name for name in ROLES if "Policies" in ROLES[name]} - LISTS_ITS_PART_ONLY))
def test_who_reads_objects_is_told_when_one_is_missing(role: str) -> None:
    """S3 API Reference, GetObject: 404 with s3:ListBucket on the bucket, else 403. The request has no prefix."""
    statements = statements_of(role)
    reads = any(action.startswith("s3:GetObject") for s in statements for action in listed(s["Action"]))
    listings = [s for s in statements if "s3:ListBucket" in listed(s["Action"])]
    assert not reads or [s for s in listings if "Condition" not in s]


def test_a_data_bucket_that_exists_is_only_read_and_only_below_the_prefix() -> None:
    policies = [name for name in RESOURCES if re.fullmatch(r"DataBucket\w*Policy", name)]
    statements = {s["Sid"]: s for name in policies for s in statements_of(name)}
    actions = {action for s in statements.values() for action in listed(s["Action"])}
    reading = {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"}
    assert actions == {*reading, "s3:GetBucketNotification", "kms:Decrypt"}
    below = "arn:${AWS::Partition}:s3:::${DataBucket}/${DataPrefix}*"
    assert statements["Read"]["Resource"] == {"Fn::Sub": below}
    mine = {
        "aws:ResourceAccount": {
            "Fn::If": ["HasDataBucketAccount", {"Ref": "DataBucketAccount"}, {"Ref": "AWS::AccountId"}]
        }
    }
    assert all(s["Condition"]["StringEquals"] == mine for sid, s in statements.items() if sid != "Key")
    assert statements["Key"]["Resource"] == {"Ref": "DataBucketKeyArn"}
    assert "DataBucket" not in json.dumps([role["Policies"] for role in ROLES.values() if "Policies" in role])


@pytest.mark.parametrize(
    ("policy", "condition", "roles"),
    [
        ("DataBucketPolicy", "HasDataBucket", ["ResolveConfigurationRole", "SnapshotDataRole"]),
        ("DataBucketKeyPolicy", "HasDataBucketKey", ["ResolveConfigurationRole", "SnapshotDataRole"]),
        ("DataBucketCheckPolicy", "HasDataBucket", ["PublishJobCodeRole"]),
        ("ScalingPolicy", "Scales", ["KeepHoursRole"]),
    ],
)
def test_what_a_parameter_asks_for_is_allowed_to_who_needs_it(policy: str, condition: str, roles: list[str]) -> None:
    attached = {"Fn::If": [condition, {"Ref": policy}, {"Ref": "AWS::NoValue"}]}
    assert RESOURCES[policy]["Condition"] == condition
    assert [name for name, role in ROLES.items() if attached in role.get("ManagedPolicyArns", [])] == roles


PEOPLE_MAY = {
    *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"),
    *("kms:Decrypt", "kms:GenerateDataKey"),
    *("states:DescribeExecution", "states:DescribeStateMachineForExecution", "states:GetExecutionHistory"),
    *("states:ListExecutions", "states:StartExecution"),
    *("ssm:GetParameter", "ssm:GetParameters"),
    *("sagemaker:DescribeModelPackage", "sagemaker:InvokeEndpoint", "sagemaker:ListModelPackages"),
    "cloudformation:DescribeStacks",
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_data_scientists_may_write_data_and_labels_only_and_read_results_only() -> None:
    statements = {s["Sid"]: s for s in properties("DataScientistPolicy")["PolicyDocument"]["Statement"]}
    assert {action for statement in statements.values() for action in listed(statement["Action"])} == PEOPLE_MAY
    data = {"Fn::Sub": "${Bucket.Arn}/${DataPrefix}*"}
    incoming = {"Fn::Sub": "${Bucket.Arn}/batch/incoming/*"}
    assert statements["DropData"]["Resource"] == [data, {"Fn::Sub": "${Bucket.Arn}/ground-truth/*"}, incoming]
    assert statements["TakeDataAway"]["Resource"] == [data, incoming]
    *others, windows = statements["ReadResults"]["Resource"][:4]
    results = statements["ReadResults"]["Resource"][4:]
    assert windows == {"Fn::Sub": f"${{Bucket.Arn}}/monitoring/{naming.RUN_PATTERN}/*"}
    assert others == [
        {"Fn::Sub": f"${{Bucket.Arn}}/batch/{name}/{naming.RUN_PATTERN}/*"} for name in ("done", "runs", "scored")
    ]
    read = {resource["Fn::Sub"].removeprefix(f"${{Bucket.Arn}}/runs/{naming.RUN_PATTERN}/") for resource in results}
    folders = {"baselines/*", "evaluation/*", "predictions/*", "quarantine/*", "report/*"}
    reports = {"approval.html", "approval.json", "report.html", "run.json"}
    assert read == {"config.json", "input.manifest", "manifest.json", "problems.txt", *reports, *folders}
    assert statements["ReadCode"]["Resource"] == {"Fn::Sub": "${Bucket.Arn}/code/*"}
    through = statements["Key"]["Condition"]["StringEquals"]["kms:ViaService"]
    assert through == {"Fn::Sub": "s3.${AWS::Region}.${AWS::URLSuffix}"}


def test_who_approves_versions_may_change_nothing_else() -> None:
    statements = {s["Sid"]: s for s in properties("ModelApproverPolicy")["PolicyDocument"]["Statement"]}
    assert {action for statement in statements.values() for action in listed(statement["Action"])} == {
        "cloudformation:DescribeStacks", "sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage",
        "sagemaker:UpdateModelPackage", "ssm:GetParameter", "s3:GetObject", "s3:ListBucket", "kms:Decrypt",
    }  # fmt: skip
    assert statements["Answer"]["Resource"]["Fn::Sub"].endswith(":model-package/${AWS::StackName}/*")


OPERATORS_MAY = {
    *("application-autoscaling:DescribeScalingActivities", "cloudformation:DescribeStacks"),
    *("cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard", "cloudwatch:GetMetricData", "kms:Decrypt"),
    *("logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"),
    *("s3:GetObject", "s3:ListBucket", "s3:ListBucketVersions", "sagemaker:DescribeEndpoint"),
    *("sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:DescribeModelPackage"),
    *("sagemaker:DescribeProcessingJob", "sagemaker:DescribeTrainingJob", "sagemaker:DescribeTransformJob"),
    *("sagemaker:ListEndpointConfigs", "sagemaker:ListModelPackages", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
    *("ssm:GetParameter", "ssm:GetParameters", "states:DescribeExecution"),
    *("states:DescribeStateMachineForExecution", "states:GetExecutionHistory", "states:ListExecutions"),
    "states:StopExecution",
}
OF_OPERATORS = ("OperatorPolicy", "OperatorLogsPolicy", "JobLogsPolicy")


def test_operators_look_and_stop_runs_and_read_neither_data_nor_models() -> None:
    every = [s for policy in OF_OPERATORS for s in properties(policy)["PolicyDocument"]["Statement"]]
    statements = {s["Sid"]: s for s in every}
    assert {action for statement in every for action in listed(statement["Action"])} == OPERATORS_MAY
    reading = [one for one in every if any(action.startswith("s3:Get") for action in listed(one["Action"]))]
    assert reading == [statements["ReadRecords"]]
    read = [resource["Fn::Sub"].rpartition("????/")[2] for resource in statements["ReadRecords"]["Resource"]]
    assert read == [
        *(
            "*",
            "${Bucket.Arn}/code/*",
            "verdict.json",
            "approval.html",
            "approval.json",
            "baselines/attribution/analysis.json",
        ),
        *("problems.txt", "report.html", "report/*", "run.json"),
    ]
    through = {"Fn::Sub": "s3.${AWS::Region}.${AWS::URLSuffix}"}
    assert statements["Key"]["Condition"]["StringEquals"] == {"kms:ViaService": through}
    assert statements["ListRecords"]["Condition"]["StringLike"]["s3:prefix"] == [
        "batch/runs/*", "monitoring/*", "runs/*",
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["DataScientistPolicy", "ModelApproverPolicy", "InterventionPolicy", *OF_OPERATORS])
def test_a_policy_for_people_is_attached_to_nobody_and_its_arn_is_told(policy: str) -> None:
    assert set(properties(policy)) == {"Description", "PolicyDocument"}
    attached = [arn for role in ROLES.values() for arn in role.get("ManagedPolicyArns", [])]
    assert {"Ref": policy} not in attached
    assert TEMPLATE["Outputs"][f"{policy}Arn"]["Value"] == {"Ref": policy}


# ---- Sizes

SIZES = tomllib.loads((ROOT / "sizes.toml").read_text())
PARTS = {
    "small": set[str](),
    "medium": {"RetrainScheduleRule", "MonitorScheduleRule", "BatchScheduleRule"},
    "large": {"RetrainScheduleRule", "MonitorScheduleRule", "BatchScheduleRule", "RestApi"},
}


def of_size(size: str) -> dict[str, str]:
    """The parameters of a stack of a size."""
    return {**parameter_values(**{name: str(value) for name, value in SIZES[size].items()}), "AlertEmails": ""}


def resources_of(size: str) -> set[str]:
    """What a stack of a size has."""
    given = of_size(size)
    return {name for name, body in RESOURCES.items() if "Condition" not in body or condition(body["Condition"], given)}


def test_each_size_sets_the_same_parameters() -> None:
    assert list(SIZES) == list(PARTS)
    assert {tuple(size) for size in SIZES.values()} == {tuple(SIZES["small"])}


def test_the_page_about_environments_says_each_value_of_each_size() -> None:
    page = (ROOT / "docs" / "environments.md").read_text().partition("## Three sizes")[2]
    rows = re.findall(r"^\| .*: `(\w+)` \| (.+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    for column, size in enumerate(SIZES, start=1):
        said = {row[0]: row[column].strip("`\N{EN DASH}") for row in rows}
        assert said == {name: str(value) for name, value in SIZES[size].items()}


def test_each_size_switches_what_the_page_says_of_it_and_nothing_else() -> None:
    def switched(size: str) -> set[str]:
        return {name for name in TEMPLATE["Conditions"] if condition(name, of_size(size))}

    medium = {"HasRetrainSchedule", "HasMonitorSchedule", "HasBatchSchedule"}
    assert switched("medium") - switched("small") == medium
    assert switched("large") - switched("small") == medium | {"HasApi", "ApiTakesSignatures", "ProtectsArtefacts"}
    assert switched("small") <= switched("medium")


def test_small_is_what_the_template_says_and_each_size_has_all_of_the_smaller_one() -> None:
    assert {name: str(value) for name, value in SIZES["small"].items()} == {
        name: str(PARAMETERS[name]["Default"]) for name in SIZES["small"]
    }
    small, medium, large = (resources_of(size) for size in SIZES)
    assert small < medium < large
    assert {name for name in PARTS["medium"] if name not in medium} == set()
    assert PARTS["large"] - large == set()
    assert not PARTS["large"] & small


def test_what_outlives_a_stack_is_the_same_in_each_size() -> None:
    """So a larger size is an update that neither replaces nor changes it."""
    kept = {name: json.dumps(RESOURCES[name]) for name in ("Bucket", "Key", "RunTable", "ModelVersions")}
    assert {name for name, body in RESOURCES.items() if "DeletionPolicy" in body} <= kept.keys()
    of_sizes = {name for size in SIZES for name in TEMPLATE["Conditions"] if condition(name, of_size(size))}
    of_all = {name for name in of_sizes if all(condition(name, of_size(size)) for size in SIZES)}
    switches = (of_sizes - of_all) | SIZES["small"].keys()
    assert {name: found for name, text in kept.items() if (found := [s for s in switches if f'"{s}"' in text])} == {}


# ---- Names, tags, places


@pytest.mark.parametrize("name", RESOURCES)
def test_everything_that_takes_tags_has_those_of_the_costs(name: str) -> None:
    body = RESOURCES[name]
    if body["Type"] in UNTAGGED:
        return
    tags = GLOBALS["Tags"] if body["Type"] == "AWS::Serverless::Function" else body["Properties"]["Tags"]
    assert set(tags if isinstance(tags, dict) else (tag["Key"] for tag in tags)) == TAGS


def test_no_account_or_region_is_written_down_outside_of_the_mapping() -> None:
    text = re.sub(r"(?s)\nMappings:.*?\n\n", "\n", TEXT)
    text = re.sub(r"(?s)\nRules:.*?\n\n", "\n", text)
    assert not re.findall(r"\b\d{12}\b", text)
    assert not re.findall(r"\b(?:us|eu|ap|sa|ca|me|af|il|cn)-[a-z]+-\d\b", text)
    assert "arn:aws:" not in text
    assert "amazonaws.com/" not in text


def test_no_account_is_written_down_in_what_delivers() -> None:
    places = ("delivery/*", "samconfig.toml", ".github/workflows/*", "Jenkinsfile*", "statemachines/*")
    texts = {path: path.read_text() for place in places for path in ROOT.glob(place)}
    assert {path.parent.name for path in texts} >= {"delivery", "workflows", "statemachines", ROOT.name}
    assert {path: numbers for path in texts if (numbers := re.findall(r"\b\d{12}\b", texts[path]))} == {}


def test_regions_of_the_rule_are_those_with_images() -> None:
    images = TEMPLATE["Mappings"]["ImageAccounts"]
    regions, region = TEMPLATE["Rules"]["RegionHasImages"]["Assertions"][0]["Assert"]["Fn::Contains"]
    assert regions == sorted(images)
    assert region == {"Ref": "AWS::Region"}
    assert len(images) == 37
    for accounts in images.values():
        assert set(accounts) == {"Frameworks", "LinearLearner", "DeepAR"}
        assert all(re.fullmatch(r"\d{12}", account) for account in accounts.values())


def test_regions_with_images_are_regions_of_the_partitions_that_publish_them() -> None:
    partitions = botocore.session.get_session().get_component("data_loader").load_data("partitions")["partitions"]
    of_region = {region: partition["id"] for partition in partitions for region in partition["regions"]}
    images = TEMPLATE["Mappings"]["ImageAccounts"]
    assert [region for region in images if region not in of_region] == []
    published = {"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-f"}
    assert {of_region[region] for region in images} == published


@pytest.mark.parametrize("owner", ["Frameworks", "LinearLearner", "DeepAR"])
def test_an_account_of_images_belongs_to_one_region(owner: str) -> None:
    accounts = [accounts[owner] for accounts in TEMPLATE["Mappings"]["ImageAccounts"].values()]
    assert sorted(accounts) == sorted(set(accounts))


@pytest.mark.parametrize(
    ("region", "frameworks", "linear_learner", "deepar"),
    [
        ("us-east-1", "683313688378", "382416733822", "522234722520"),
        ("eu-west-1", "141502667606", "438346466558", "224300973850"),
        ("cn-north-1", "450853457545", "390948362332", "390948362332"),
        ("us-gov-west-1", "414596584902", "226302683700", "226302683700"),
    ],
)
def test_images_come_from_the_accounts_that_aws_documents(
    region: str, frameworks: str, linear_learner: str, deepar: str
) -> None:
    accounts = TEMPLATE["Mappings"]["ImageAccounts"][region]
    assert accounts == {"Frameworks": frameworks, "LinearLearner": linear_learner, "DeepAR": deepar}


@pytest.mark.parametrize(
    ("parameters", "tags"),
    [
        ({}, [":3.2-0", ":1", ":1.9-0-cpu-py3"]),
        ({"XGBoostTag": "3.0-5", "SklearnTag": "1.4-2-py312-cpu-py3"}, [":3.0-5", ":1", ":1.4-2-py312-cpu-py3"]),
        ({"LinearLearnerTag": "1.7"}, [":3.2-0", ":1.7", ":1.9-0-cpu-py3"]),
        (dict.fromkeys(("XGBoostTag", "LinearLearnerTag", "SklearnTag"), DIGEST), [f"@{DIGEST}"] * 3),
    ],
)
def test_an_image_is_the_one_that_is_asked_for_or_else_the_one_that_this_version_ships(
    parameters: dict[str, str], tags: list[str]
) -> None:
    """`sam deploy` gives a stack its previous values: a tag that was a default would stay for ever."""
    given = {**parameter_values(**parameters), "AWS::Region": "eu-west-1", "AWS::URLSuffix": "amazonaws.com"}
    variables = GLOBALS["Environment"]["Variables"]
    images = [variables[name] for name in ("XGBOOST_IMAGE", "LINEAR_LEARNER_IMAGE", "SKLEARN_IMAGE")]
    repositories = ("sagemaker-xgboost", "linear-learner", "sagemaker-scikit-learn")
    assert [rendered(image, given).rpartition("amazonaws.com/")[2] for image in images] == [
        f"{repository}{tag}" for repository, tag in zip(repositories, tags, strict=True)
    ]
    assert rendered(images[0], given).startswith("141502667606.dkr.ecr.eu-west-1.amazonaws.com/")
    assert properties("TrainModel")["DefinitionSubstitutions"]["SklearnImage"] == images[2]


@pytest.mark.parametrize("nothing", [[], [""]], ids=["an empty list", "a list of nothing"])
@pytest.mark.parametrize("subnets", [True, False])
@pytest.mark.parametrize("groups", [True, False])
def test_subnets_and_security_groups_come_together(nothing: list[str], *, subnets: bool, groups: bool) -> None:
    given = {
        "VpcSubnetIds": ["subnet-1", "subnet-2"] if subnets else nothing,
        "VpcSecurityGroupIds": ["sg-1"] if groups else nothing,
    }
    rules = [TEMPLATE["Rules"][name] for name in ("SubnetsHaveSecurityGroups", "SecurityGroupsHaveSubnets")]
    applied = [rule["Assertions"] for rule in rules if holds(rule["RuleCondition"], given)]
    accepted = all(holds(assertion["Assert"], given) for assertions in applied for assertion in assertions)
    assert accepted == (subnets == groups)


# ---- Parameters and outputs


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_explains_itself_and_has_a_default_that_it_allows(name: str) -> None:
    parameter = PARAMETERS[name]
    assert len(parameter["Description"]) > 20
    assert allowed(name, parameter["Default"])
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sum(name in group["Parameters"] for group in groups) == 1


def allowed(name: str, value: Any) -> bool:
    assert len(str(value)) <= LONGEST
    return not parameters.problems_of_values(TEMPLATE, [Setting(name, str(value), "here")])


LONGEST = 4096  # CloudFormation, "Quotas": a parameter's value


# As long as each may be. What is not here is a number, or one of a list.
AS_LONG_AS_ALLOWED = {
    "ModelName": "m" * 32,
    "Algorithm": "linear-learner",
    "CostCenter": "c" * 128,
    "GateThreshold": f"-{'9' * 15}.{'9' * 15}",
    "HyperParameters": "{" + "h" * 1198 + "}",
    "DataBucket": "b" * 63,
    "DataPrefix": "d" * 200 + "/",
    **dict.fromkeys(
        ("PreprocessInstanceType", "TrainInstanceType", "PredictInstanceType", "BaselineInstanceType"),
        f"ml.{'i' * 20}.{'s' * 12}",
    ),
    "EndpointInstanceType": f"ml.{'i' * 20}.{'s' * 12}",
    "VpcSubnetIds": ",".join(["subnet-" + "0" * 17] * 16),
    "VpcSecurityGroupIds": ",".join(["sg-" + "0" * 17] * 5),
    **dict.fromkeys([*(f"{image.name}Tag" for image in stamp_template.images().values()), "OwnImageDigest"], DIGEST),
    "OwnImageRepository": "o" * 256,
    "SparkImage": f"{'s' * 256}:{'t' * 128}",
    "AwakeHours": "08:00-18:00",
    "AwakeTimeZone": "z" * 40,
    "AwakeDays": "MON,TUE,WED,THU,FRI,SAT,SUN",
    # A key outside of the stack: of a region whose name is no shorter, and a key of many regions has no longer id.
    "KmsKeyArn": f"arn:aws-iso-f:kms:us-isof-south-1:{'0' * 12}:key/{'0' * 36}",
    "LogLevel": "DEBUG",
    **dict.fromkeys(("DataTopicArn", "ApproverTopicArn"), f"arn:aws-iso-f:sns:us-isof-south-1:{'0' * 12}:{'t' * 256}"),
}
# The region with the longest name of a registry; names that CloudFormation makes: <stack>-<logical id>-<12 characters>.
OF_THE_STACK = {
    "AWS::StackName": "s" * naming.MAX_STACK_NAME,
    "AWS::StackId": "arn:aws:cloudformation:r:123456789012:stack/s/0a1b2c3d-0000-11ee-8888-0a1b2c3d4e5f",
    "AWS::Region": "us-isof-south-1",
    "AWS::URLSuffix": "csp.hci.ic.gov",
    "AWS::Partition": "aws-iso-f",
    "AWS::AccountId": "0" * 12,
    "Bucket": "b" * 63,
    "RunTable": f"{'s' * naming.MAX_STACK_NAME}-RunTable-{'0' * 12}",
    "AlertTopic": f"arn:aws-iso-f:sns:us-isof-south-1:{'0' * 12}:{'s' * naming.MAX_STACK_NAME}-AlertTopic-{'0' * 12}",
    "Key.Arn": f"arn:aws-iso-f:kms:us-isof-south-1:{'0' * 12}:key/{'0' * 36}",
    "JobCode.CodeUri": f"s3://{'b' * 63}/code/{'0' * 16}",
    "TrainModel": f"arn:aws-iso-f:states:us-isof-south-1:{'0' * 12}:stateMachine:{'s' * 26}-train-model",
}


def test_parameters_are_refused_before_they_are_too_long_for_the_environment_of_a_function() -> None:
    """Lambda, "Quotas": 4 KB for all environment variables of a function, in total."""
    for name, value in AS_LONG_AS_ALLOWED.items():
        assert allowed(name, value), name
        longer = f"{value[:-1]}h{value[-1]}"
        assert not allowed(name, longer) or "Vpc" in name, name


def environment_of(function: str) -> dict[str, Any]:
    own = FUNCTIONS[function].get("Environment", {}).get("Variables", {})
    return {**GLOBALS["Environment"]["Variables"], **own}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_environment_of_a_function_fits_whatever_a_stack_and_its_parameters_are_called(function: str) -> None:
    """Lambda, "Quotas": 4 KB for all environment variables of a function, in total. With room for two more images."""
    given = {**parameter_values(**AS_LONG_AS_ALLOWED), **OF_THE_STACK}
    sizes = {
        name: len(name) + len(str(rendered(value, given)).encode()) for name, value in environment_of(function).items()
    }
    assert sum(sizes.values()) + 2 * max(sizes[name] for name in stamp_template.images()) <= 4096


def test_the_lengths_are_those_of_all_parameters_that_reach_functions() -> None:
    text = json.dumps([*map(environment_of, FUNCTIONS), properties("StackOverrides")])
    texts = {name for name, body in PARAMETERS.items() if body["Type"] != "Number" and "AllowedValues" not in body}
    assert {name for name in texts if f'"{name}"' in text or f"${{{name}}}" in text} <= set(AS_LONG_AS_ALLOWED)


def test_functions_that_read_what_parameters_set_over_the_model_come_after_it() -> None:
    reading = {name for name, body in RESOURCES.items() if body.get("DependsOn") == "StackOverrides"}
    folders = [
        path.parent.name for path in (ROOT / "functions").glob("*/*.py") if "shipped.configured(" in path.read_text()
    ]
    assert {FUNCTIONS[name]["CodeUri"] for name in reading} == {f"functions/{folder}/" for folder in folders}


def test_what_parameters_set_over_the_model_fits_into_a_standard_parameter() -> None:
    """Systems Manager, "Managing parameter tiers": 4 KB; a value with "{{" is refused, and no JSON has one."""
    given = {**parameter_values(**AS_LONG_AS_ALLOWED), **OF_THE_STACK}
    assert len(rendered(properties("StackOverrides")["Value"], given)) <= 4096


class Longest(dict[str, str]):
    """What parameters and resources are called at their longest; of those that are not there, an ARN."""

    def __missing__(self, name: str) -> str:
        stack = "s" * naming.MAX_STACK_NAME
        return f"arn:aws:logs:ap-southeast-1:{'0' * 12}:log-group:/aws/lambda/{stack}-{name.removesuffix('.Arn')}:*"


def spelt_out(value: Any, given: Mapping[str, Any]) -> Any:
    """Evaluate what stands at any depth of a document."""
    value = rendered(value, given)
    if isinstance(value, dict):
        found = {key: spelt_out(item, given) for key, item in value.items()}
        return {key: item for key, item in found.items() if item is not None}
    return [spelt_out(item, given) for item in value] if isinstance(value, list) else value


def longest(**switches: str) -> Longest:
    """Names and parameters at their longest, in a region whose name is long."""
    bucket = f"{'s' * naming.MAX_STACK_NAME}-bucket-{'0' * 12}"
    here = {"AWS::Region": "ap-southeast-1", "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
    made = {"Bucket": bucket, "Bucket.Arn": f"arn:aws:s3:::{bucket}", "DataBucketAccount": "0" * 12}
    return Longest({**parameter_values(**AS_LONG_AS_ALLOWED, **switches), **OF_THE_STACK, **here, **made})


def arguments_of(value: Any) -> list[str]:
    """The arguments of the containers that a state machine starts."""
    if isinstance(value, list):
        return [argument for item in value for argument in arguments_of(item)]
    if not isinstance(value, dict):
        return []
    return [*value.get("ContainerArguments", []), *arguments_of(list(value.values()))]


@pytest.mark.parametrize("machine", MACHINES)
def test_an_argument_of_a_container_is_no_longer_than_sagemaker_takes(machine: str) -> None:
    """SageMaker API Reference, AppSpecification, ContainerArguments."""
    given, known = longest(), MACHINES[machine]["DefinitionSubstitutions"]
    for argument in arguments_of(asl.parse((ROOT / MACHINES[machine]["DefinitionS3Location"]).read_text())):
        text = re.sub(r"\$\{(\w+)\}", lambda match: str(rendered(known[match[1]], given)), argument)
        assert len(text) <= 256, argument


MANAGED, INLINE = 6_144, 10_240


@pytest.mark.parametrize("name", [*ROLES, *of_type("AWS::IAM::ManagedPolicy")])
def test_a_policy_fits_whatever_a_stack_and_its_parameters_are_called(name: str) -> None:
    """IAM, "IAM and AWS STS quotas": characters of a managed policy, and of all that stand in a role together."""
    given = longest(MaxInstances="2", Api="key", RetrainAlarms="a", SharedWith="0" * 12)
    found = properties(name)
    documents = [one["PolicyDocument"] for one in found.get("Policies", [found] if "PolicyDocument" in found else [])]
    size = sum(len(json.dumps(spelt_out(one, given), separators=(",", ":"))) for one in documents)
    assert size <= (MANAGED if name not in ROLES else INLINE)


@pytest.mark.parametrize("topic", ["", "arn:aws:sns:eu-west-1:123456789012:others"], ids=("none", "another"))
@pytest.mark.parametrize(
    ("parameter", "function", "variable"),
    [
        ("DataTopicArn", "NotifyWindowFunction", "DATA_TOPIC_ARN"),
        ("ApproverTopicArn", "RequestApprovalFunction", "APPROVER_TOPIC_ARN"),
    ],
    ids=("data", "approver"),
)
def test_some_news_go_to_the_topic_that_is_named_or_else_to_that_of_the_stack(
    parameter: str, function: str, variable: str, topic: str
) -> None:
    given = {**parameter_values(**{parameter: topic}), **OF_THE_STACK}
    variables = FUNCTIONS[function]["Environment"]["Variables"]
    assert rendered(variables[variable], given) == (topic or OF_THE_STACK["AlertTopic"])


def test_alarms_of_the_endpoint_can_ring_while_an_update_bakes_for_as_long_as_in_production() -> None:
    """That of the model's quality speaks when a window of the monitor is judged."""
    named = rendered(FUNCTIONS["CheckEndpointFunction"]["Environment"]["Variables"]["ROLLBACK_ALARMS"], OF_THE_STACK)
    alarms = {
        rendered(alarm["Properties"]["AlarmName"], OF_THE_STACK): alarm["Properties"] for alarm in ALARMS.values()
    }
    watched = [name for name in named.split(",") if not name.endswith("-model-quality")]
    assert len(watched) == 3
    baking = int(re.findall(r"BakingSeconds=(\d+)", (ROOT / "samconfig.toml").read_text())[-1])
    for name in watched:
        # CloudWatch has a minute's numbers when it has ended, and mostly in the next one.
        assert (alarms[name]["EvaluationPeriods"] + 1) * alarms[name]["Period"] < baking, name


def test_lists_of_the_network_are_as_long_as_sagemaker_takes_them() -> None:
    service = botocore.session.get_session().get_service_model("sagemaker")
    for name, shape in (("VpcSubnetIds", "Subnets"), ("VpcSecurityGroupIds", "VpcSecurityGroupIds")):
        most = service.shape_for(shape).metadata["max"]
        assert f"{most} at most" in PARAMETERS[name]["Description"]
        assert len(AS_LONG_AS_ALLOWED[name].split(",")) == most
        assert properties("JobCode")[name] == {"Ref": name}  # where more are refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ModelName", "Used_Cars"),
        ("ModelName", "../used-cars"),
        ("Algorithm", "catboost"),
        ("GateThreshold", "3,000"),
        ("GateThreshold", "low"),
        ("HyperParameters", "eta=0.2"),
        ("DataPrefix", "raw"),
        ("DataPrefix", "/raw/"),
        ("DataPrefix", ""),
        ("DataPrefix", "*/"),
        ("TrainInstanceType", "m5.large"),
        ("EndpointInstanceType", "ml.m5"),
        ("SklearnTag", "1.2-1-cpu-py3"),
        ("XGBoostTag", "latest"),
        ("XGBoostTag", f"3.2-0@{DIGEST}"),
        ("XGBoostTag", DIGEST[:-1]),
        ("LinearLearnerTag", "latest"),
        ("LinearLearnerTag", DIGEST.upper()),
        ("SklearnTag", "latest"),
        ("SklearnTag", f"@{DIGEST}"),
        ("DataCapturePercentage", "101"),
        ("ApiRequestsPerSecond", "0"),
        ("ApiBurst", "1.5"),
        ("ModelsToKeep", "0"),
        ("LogRetentionDays", "2"),
        ("CostCenter", ""),
        ("RetrainSchedule", "daily"),
        ("RetrainSchedule", "rate(1 days)"),
        ("RetrainSchedule", "rate(5 minute)"),
        ("RetrainSchedule", "rate(0 days)"),
        ("RetrainSchedule", "rate(30 seconds)"),
        ("RetrainSchedule", "cron(0 3 * * *)"),
        ("RetrainSchedule", "cron(0 3 * * * *)"),
        ("RetrainSchedule", "cron(0 3 ? * ? *)"),
        ("RetrainSchedule", "0 3 * * *"),
        ("RetrainSchedule", "rate(1 day) "),
        ("RetrainSchedule", f"cron({'0,' * 130}0 3 ? * MON *)"),
        ("GateThreshold", "1" * 16),
        ("HyperParameters", '{"name": "größe"}'),
        ("VpcSubnetIds", "vpc-0a1b2c3d"),
        ("AlertEmails", "team"),
        ("AlertEmails", "a@example.com;b@example.com"),
        ("VpcSecurityGroupIds", "subnet-0a1b2c3d"),
        ("KmsKeyArn", "alias/company"),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:alias/company"),
        ("KmsKeyArn", "11111111-2222-3333-4444-555555555555"),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/company"),
        ("MaxInstances", "101"),
        ("MinInstances", "0"),
        ("InvocationsPerInstance", "0"),
        ("AwakeHours", "7:00-19:00"),
        ("AwakeHours", "07:00-24:00"),
        ("AwakeDays", "MON-FRI"),
        ("AwakeDays", ""),
        ("WakeBy", "person"),
    ],
)
def test_a_value_that_cannot_work_is_refused_before_anything_is_deployed(name: str, value: str) -> None:
    assert not allowed(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ModelName", "mammography"),
        ("GateThreshold", "3000"),
        ("GateThreshold", "0.85"),
        ("HyperParameters", '{"eta": 0.2}'),
        ("DataPrefix", "data/cars/2026/"),
        ("TrainInstanceType", "ml.g4dn.xlarge"),
        ("CostCenter", "R+D 42"),
        ("VpcSubnetIds", "subnet-0a1b2c3d,subnet-0a1b2c3d4e5f60718"),
        ("VpcSecurityGroupIds", "sg-0a1b2c3d"),
        ("AlertEmails", "first.last+perennial@example.com,o'neill@sub.example.org"),
        ("RetrainSchedule", "rate(1 day)"),
        ("RetrainSchedule", "rate(12 hours)"),
        ("RetrainSchedule", "cron(0 3 ? * MON-FRI *)"),
        ("RetrainSchedule", "cron(0/15 8-17 ? * 2#1 *)"),
        ("RetrainSchedule", "cron(30 4 L JAN,JUL ? 2027-2030)"),
        ("RetrainSchedule", "cron(0 3 * * ? *)"),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"),
        ("KmsKeyArn", "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"),
        ("AwakeHours", "07:00-19:00"),
        ("AwakeHours", "22:30-04:00"),
        ("AwakeTimeZone", "America/Argentina/Buenos_Aires"),
        ("AwakeDays", "MON,TUE,WED,THU,FRI"),
        ("WakeBy", "run"),
        ("ApiRequestsPerSecond", "50.5"),
        ("ApiRequestsPerSecond", "0.5"),
    ],
)
def test_a_value_that_works_is_allowed(name: str, value: str) -> None:
    assert allowed(name, value)


def test_the_outputs_name_what_people_need() -> None:
    needed = {"BucketName", "StateMachineArn", "TopicArn", "EndpointName", "ParameterPrefix", "RunTableName", "CodeUri"}
    assert needed <= set(TEMPLATE["Outputs"])
    assert all(output["Description"] for output in TEMPLATE["Outputs"].values())


# ---- samconfig.toml


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_deploys_a_stack_with_what_the_template_needs(environment: str) -> None:
    given = SAMCONFIG[environment]["deploy"]["parameters"]
    assert naming.check_stack_name(given["stack_name"])
    assert given["resolve_s3"] is given["language_extensions"] is True
    assert given["capabilities"].split() == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    assert given["tags"] == f"Environment={ENVIRONMENTS[environment]}"


def test_environments_may_share_an_account() -> None:
    stacks = [SAMCONFIG[name]["deploy"]["parameters"]["stack_name"] for name in ENVIRONMENTS]
    assert len(set(stacks)) == len(stacks)


def test_tags_of_a_stack_have_keys_that_no_resource_has() -> None:
    """Some services take keys that differ only in case for the same, and refuse the second (IAM, "Tags for IAM")."""
    given = {tag.partition("=")[0].lower() for name in ENVIRONMENTS
             for tag in SAMCONFIG[name]["deploy"]["parameters"]["tags"].split()}  # fmt: skip
    assert given.isdisjoint(key.lower() for key in TAGS)


def test_production_is_deployed_after_a_look_at_the_changes() -> None:
    asked = {name: SAMCONFIG[name]["deploy"]["parameters"]["confirm_changeset"] for name in ENVIRONMENTS}
    assert asked == {"local": False, "default": False, "staging": False, "prod": True}


def test_in_production_people_let_a_version_serve_and_what_serves_is_kept() -> None:
    asked = {name: SAMCONFIG[name]["deploy"]["parameters"]["parameter_overrides"].split() for name in ENVIRONMENTS}
    kept = {"Approval=manual", "ProtectArtefacts=yes"}
    assert {name: kept & set(pairs) for name, pairs in asked.items() if kept & set(pairs)} == {"prod": kept}


def test_a_plain_build_finds_the_repository_and_expands_the_loops() -> None:
    assert SAMCONFIG["default"]["build"]["parameters"] == {"language_extensions": True, "build_in_source": True}


def test_a_model_has_a_name_that_the_command_takes() -> None:
    assert PARAMETERS["ModelName"]["AllowedPattern"] == folder.NAME
