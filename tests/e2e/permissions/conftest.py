"""The stack whose permissions are tried, and what its tests do to it."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from perennial.registry.approval import APPROVED
from perennial.runs import naming, work
from perennial.runs.record import FILES_IN_ITEM
from tests import delivered
from tests.e2e.api import Api
from tests.e2e.conftest import App, Run, dropped_version, given_to, struck, when_one_has_begun
from tests.e2e.permissions import policy_replay
from tests.e2e.resumed import Resumable
from tests.waiting import wait_for
from tools import demo_data

STACK = "perennial-roles"
SCHEDULE, MONITOR_SCHEDULE = f"{STACK}-retrain-schedule", f"{STACK}-monitor-schedule"
HOURS = f"{STACK}-hours"
HOURS_RULES = (HOURS, f"{HOURS}-run-ended", f"{HOURS}-endpoint")
BATCH_SCHEDULE = f"{STACK}-batch-schedule"
ALARM = f"{STACK}-model-quality"
IMAGES = "images/of-the-stack"
MONITOR, BATCH = "MonitorStateMachineArn", "BatchStateMachineArn"
SCIENTIST, APPROVER, CALLER = f"{STACK}-data-scientist", f"{STACK}-approver", f"{STACK}-caller"
PEOPLE, BOUNDARY = "signs-in", "PermissionsBoundaryArn"
CAR = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip
MANY = "many/"
Ask = Callable[[str], Any]
"""A service's client, by its name."""
_numbers = itertools.count(1)
Without = Callable[[str, str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def app(deploy: Callable[..., App]) -> App:
    """The stack with an alarm that retrains, and schedules whose clock stands still until a test lets it go on.

    Its roles, and those of its people, have the boundary of delivery/deployer.yaml.
    """
    starts = {
        "RetrainAlarms": ALARM,
        "OwnImageRepository": IMAGES,
        **dict.fromkeys(("RetrainSchedule", "MonitorSchedule", "BatchSchedule"), "rate(1 minute)"),
    }
    given = {"ModelsToKeep": "1", "QuietPeriodSeconds": "0", "CaptureDelaySeconds": "0", "BakingSeconds": "1"}
    given["MaxInstances"] = "4"
    given["AwakeHours"] = "00:00-00:00"  # it never sleeps, but where a test lets it
    repository = App.client("ecr").create_repository(repositoryName=IMAGES)["repository"]
    given[BOUNDARY] = _pipeline(BoundaryOpensArns=repository["repositoryArn"])[BOUNDARY]
    deployed = deploy(STACK, ModelName="used-cars", Api="iam", **given, **starts)
    for rule in (SCHEDULE, MONITOR_SCHEDULE, BATCH_SCHEDULE, *HOURS_RULES):
        deployed.client("events").disable_rule(Name=rule)
    return deployed


@pytest.fixture(scope="session")
def policies(app: App) -> list[policy_replay.Policy]:
    """Every policy of the stack."""
    return policy_replay.policies(app)


@pytest.fixture(scope="session")
def without(policies: list[policy_replay.Policy]) -> Without:
    """The stack with one statement of a policy taken away, by the names of both in the template."""
    return lambda policy, sid: next(each for each in policies if each.name == policy and each.has(sid)).without(sid)


@pytest.fixture(scope="session")
def people(app: App) -> Callable[[str], Ask]:
    """Clients of a person who has signed in with a role of the account, and taken that of delivery/people.yaml."""
    signed_in = _keys(app, PEOPLE, ())
    lists = ("DataScientistArns", "ApproverArns", "OperatorArns", "InterventionArns")
    whom = app.client("iam").get_role(RoleName=PEOPLE)["Role"]["Arn"]
    (stack,) = app.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    arns = _delivered("people", Environment="dev", **{BOUNDARY: given[BOUNDARY]}, **dict.fromkeys(lists, whom))
    takes = boto3.Session(*signed_in).client("sts")
    return lambda role: boto3.Session(*_session(takes, arns[f"{role}RoleArn"])).client


def _pipeline(**given: str) -> dict[str, str]:
    """Deploy the roles of a pipeline for the stack, and its boundary, before there is a stack; return the outputs."""
    agent = App.client("sts").get_caller_identity()["Arn"].replace(":root", ":role/agent")
    return _delivered("deployer", Boundary="stack", AgentRoleArn=agent, **given)


def _delivered(name: str, **given: str) -> dict[str, str]:
    """Deploy a template of delivery/ for the stack; return its outputs."""
    return delivered.deploy(App.client("cloudformation"), f"{STACK}-{name}", name, StackName=STACK, **given)


@pytest.fixture(scope="session")
def scientist(people: Callable[[str], Ask]) -> Ask:
    """Clients of a data scientist."""
    return people("DataScientist")


@pytest.fixture(scope="session")
def approver(people: Callable[[str], Ask]) -> Ask:
    """The same of a person who approves versions."""
    return people("Approver")


@pytest.fixture(scope="session")
def operator(people: Callable[[str], Ask]) -> Ask:
    """The same of a person who looks after the stack."""
    return people("Operator")


@pytest.fixture(scope="session")
def mender(people: Callable[[str], Ask]) -> Ask:
    """The same of an operator who mends what is wrong."""
    return people("Intervention")


def _numbers_of(ask: Ask) -> Any:
    now, metric = datetime.now(UTC), {"Namespace": "Perennial", "MetricName": "RunsEnded"}
    query: Any = {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    hour = {"StartTime": now - timedelta(hours=1), "EndTime": now}
    return ask("cloudwatch").get_metric_data(MetricDataQueries=[query], **hour)


def _record(ask: Ask, app: App, run: Run) -> Any:
    return ask("s3").get_object(Bucket=app.bucket, Key=f"runs/{run.run_id}/run.json")


def _described(ask: Ask, app: App, run: Run) -> Any:
    """What serves, what it was made of, and the jobs of a run; return the endpoint."""
    sagemaker, made = ask("sagemaker"), f"{app.stack}-{run.run_id}"
    sagemaker.describe_model_package(ModelPackageName=run.output["ModelPackage"])
    sagemaker.describe_endpoint_config(EndpointConfigName=made)
    sagemaker.describe_model(ModelName=made)
    for job in app.record(run)["jobs"]:
        getattr(sagemaker, f"describe_{job['kind'].lower()}_job")(**{f"{job['kind']}JobName": job["name"]})
    return sagemaker.describe_endpoint(EndpointName=app.stack)


def _listed(ask: Ask, app: App) -> Any:
    ask("sagemaker").list_endpoint_configs(NameContains=f"{app.stack}-20")
    return ask("sagemaker").list_model_packages(ModelPackageGroupName=app.stack)


# What an operator looks at, by the statement that lets them.
LOOKS: dict[str, Callable[[Ask, App, Run], Any]] = {
    "FindStack": lambda ask, app, run: ask("cloudformation").describe_stacks(StackName=app.stack),
    "ListRuns": lambda ask, app, run: ask("stepfunctions").list_executions(
        stateMachineArn=app.outputs["StateMachineArn"]
    ),
    "WatchAndStopRuns": lambda ask, app, run: ask("stepfunctions").describe_execution(executionArn=run.execution_arn),
    "ReadRuns": lambda ask, app, run: ask("stepfunctions").get_execution_history(executionArn=run.execution_arn),
    "ListRecords": lambda ask, app, run: ask("s3").list_objects_v2(Bucket=app.bucket, Prefix="runs/"),
    "ReadRecords": _record,
    "Key": _record,
    "ReadNames": lambda ask, app, run: ask("ssm").get_parameter(Name=f"/{app.stack}/model"),
    "ListVersions": lambda ask, app, run: _listed(ask, app),
    "ListVersionsOfArtefacts": lambda ask, app, run: ask("s3").list_object_versions(
        Bucket=app.bucket, Prefix=f"runs/{run.run_id}/serving/model.tar.gz"
    ),
    "Describe": _described,
    "Scaling": lambda ask, app, run: ask("application-autoscaling").describe_scaling_activities(
        ServiceNamespace="sagemaker"
    ),
    "Alarms": lambda ask, app, run: ask("cloudwatch").describe_alarms(AlarmNames=[f"{app.stack}-failed-runs"]),
    "Dashboard": lambda ask, app, run: ask("cloudwatch").get_dashboard(DashboardName=app.stack),
    "Numbers": lambda ask, app, run: _numbers_of(ask),
    "Undelivered": lambda ask, app, run: ask("sqs").receive_message(
        QueueUrl=app.outputs["UndeliveredEventsUrl"], VisibilityTimeout=0
    ),
}


def _start_scoring(ask: Ask, app: App) -> Any:
    """Start what scores the files that wait, of which there is none."""
    return ask("stepfunctions").start_execution(stateMachineArn=app.outputs[BATCH], input="{}")


def _switch_drops(ask: Ask, app: App) -> None:
    for switch in (ask("events").disable_rule, ask("events").enable_rule):
        switch(Name=f"{app.stack}-data-drop")


def _serve_in_vain(ask: Ask, app: App) -> None:
    """Ask for an update to a configuration that there is not, which is told."""
    with pytest.raises(ClientError, match=r"Could not find|does not exist"):
        ask("sagemaker").update_endpoint(EndpointName=app.stack, EndpointConfigName=f"{app.stack}-20200101000000-0000")


def _answer_in_vain(ask: Ask, app: App) -> None:
    group = app.client("sagemaker").describe_model_package_group(ModelPackageGroupName=app.stack)
    arn = f"{group['ModelPackageGroupArn'].replace('model-package-group', 'model-package')}/999"
    with pytest.raises(ClientError, match="does not exist"):
        ask("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")


def _name_again(ask: Ask, app: App) -> None:
    name = f"/{app.stack}/run"
    value = app.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    ask("ssm").put_parameter(Name=name, Value=value, Overwrite=True)


def look_at_logs(ask: Ask, app: App) -> Any:
    return ask("logs").filter_log_events(logGroupName=f"/aws/lambda/{app.stack}-notify-run")


# What somebody does who mends what is wrong, by the statement that lets them.
MENDS: dict[str, Callable[[Ask, App], Any]] = {
    "StartRuns": _start_scoring,
    "Rules": _switch_drops,
    "TakeAway": lambda ask, app: ask("s3").delete_object(Bucket=app.bucket, Key="raw/dropped by mistake.csv"),
    "Answer": _answer_in_vain,
    "Serve": _serve_in_vain,
    "Names": _name_again,
}


@pytest.fixture(scope="session")
def caller(app: App) -> Api:
    """The API, asked by a role that has the policy for its callers and nothing else."""
    return Api.of(app, Credentials(*_keys(app, CALLER, ("ApiCallerPolicyArn",))))


def _keys(app: App, role: str, policies: Sequence[str]) -> tuple[str, str, str]:
    """The keys of a session of a role of its own that has these policies of the stack's outputs, and takes roles."""
    iam, sts = app.client("iam"), app.client("sts")
    account = f"arn:aws:iam::{sts.get_caller_identity()['Account']}:root"
    trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for policy in policies:
        iam.attach_role_policy(RoleName=role, PolicyArn=app.outputs[policy])
    takes = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [takes]})
    iam.put_role_policy(RoleName=role, PolicyName="takes", PolicyDocument=document)
    return _session(sts, arn)


def _session(sts: Any, role: str) -> tuple[str, str, str]:
    keys = sts.assume_role(RoleArn=role, RoleSessionName="ada")["Credentials"]
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]


def watch(app: App, ask: Ask = App.client, **given: Any) -> Run:
    """Start an execution of the monitor, and wait until it has ended."""
    started = ask("stepfunctions").start_execution(stateMachineArn=app.outputs[MONITOR], input=json.dumps(given))
    arn = started["executionArn"]
    return wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60, pause=0.1)


def score(app: App, ask: Ask = App.client, body: bytes = b"", name: str = "") -> Run:
    """Drop a file to score, and wait until its execution has ended."""
    key = f"batch/incoming/{name or f'{next(_numbers)}.csv'}"
    version = ask("s3").put_object(Bucket=app.bucket, Key=key, Body=body or sound_file())["VersionId"]

    def find() -> str | None:
        listed = ask("stepfunctions").list_executions(stateMachineArn=app.outputs[BATCH])["executions"]
        arns = (str(one["executionArn"]) for one in listed)
        return next((arn for arn in arns if dropped_version(json.loads(given_to(arn))) == version), None)

    arn = wait_for(when_one_has_begun(find), f"the execution of {key}", pause=0.1)
    return wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60, pause=0.1)


def sound_file() -> bytes:
    """Too few cars to tell drift by, whatever the model has learned from."""
    return demo_data.new_listings(20, seed=11)


def raise_alarm(app: App, name: str) -> None:
    """Let an alarm go into ALARM, also if it is there already."""
    for value in ("OK", "ALARM"):
        app.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=value, StateReason="a test")


def push_image(app: App) -> str:
    """Push an image that nobody has pushed before, of which only the manifest counts; return its digest."""
    manifest = json.dumps({"number": next(_numbers)})
    pushed = app.client("ecr").put_image(repositoryName=IMAGES, imageManifest=manifest, imageTag="newest")
    return str(pushed["image"]["imageId"]["imageDigest"])


def tell_of_an_execution_that_is_gone(app: App, machine: str, function: str) -> None:
    """An event that a function cannot work on: it forgets that it tried, tries again, and sends it away."""
    arn = f"{app.outputs[machine].replace(':stateMachine:', ':execution:')}:gone"
    event = {"detail": {"executionArn": arn, "status": "FAILED", "stopDate": 1}}
    app.client("lambda").invoke(FunctionName=f"{STACK}-{function}", InvocationType="Event", Payload=json.dumps(event))


def tell_of_nothing(app: App, function: str) -> None:
    """An event that a function cannot work on, because it says of nothing."""
    app.client("lambda").invoke(FunctionName=f"{STACK}-{function}", InvocationType="Event", Payload=b'{"detail": {}}')


def ask_people(app: App, run: Run, status: str) -> str:
    """Start a run that waits for the approval of a version of its own, which has a status; return the execution."""
    version = one_more_version(app, run, status)
    return Resumable(app, run).start("Wait for approval", again=False, variables={"version": version})


def go_back_to_what_was_made_before(app: App, run: Run) -> dict[str, Any]:
    """Ask for the turn to deploy the newest approved version, of which a model and a configuration are there otherwise.

    Returns what the function answers.
    """
    sagemaker, number = app.client("sagemaker"), next(_numbers)
    name = f"{app.stack}-20200101000000-{number:04x}"
    served = sagemaker.describe_model(ModelName=run.output["Model"])
    containers = [{key: one[key] for key in ("Image", "ModelDataUrl")} for one in served["Containers"]]
    model = {"ModelName": name, "ExecutionRoleArn": served["ExecutionRoleArn"], "Containers": containers}
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    configuration = {"EndpointConfigName": name, "ProductionVariants": [variant]}
    sagemaker.create_model(**model)
    sagemaker.create_endpoint_config(**configuration)
    approved = {"ModelPackageGroupName": app.stack, "ModelApprovalStatus": APPROVED}
    versions = sagemaker.list_model_packages(**approved)["ModelPackageSummaryList"]
    ask = {
        "RunId": run.run_id,
        "ExecutionArn": run.execution_arn,
        "DeploymentId": f"20200101000000-{number:04x}",
        "Version": max(versions, key=lambda one: one["ModelPackageVersion"])["ModelPackageArn"],
        "Champion": None,
        "Model": {**model, "EnableNetworkIsolation": True},
        "Configuration": {**configuration, "KmsKeyId": "another"},
    }
    function = f"{app.stack}-reserve-deployment"
    answered = app.client("lambda").invoke(FunctionName=function, Payload=json.dumps(ask))["Payload"].read()
    return dict(json.loads(answered))


def ask_with_the_turn(app: App, run: Run) -> str:
    """Ask people on behalf of whoever had the turn to deploy last, as if it were held still; return what is said."""
    items, table = app.client("dynamodb"), app.outputs["RunTableName"]
    held = items.get_item(TableName=table, Key={"id": {"S": "deployment"}})["Item"]
    request = {"RunId": run.run_id, "ExecutionArn": held["execution_arn"]["S"], "Days": 1, "TaskToken": "gone"}
    request["Version"] = one_more_version(app, run, "Rejected")
    items.put_item(TableName=table, Item={name: value for name, value in held.items() if name != "given_back"})
    called = app.client("lambda").invoke(FunctionName=f"{STACK}-request-approval", Payload=json.dumps(request))
    items.put_item(TableName=table, Item=held)
    return str(called["Payload"].read().decode())


def one_more_version(app: App, run: Run, status: str) -> str:
    """A version as a run registers it, which no run has made. Of its status there is no event."""
    sagemaker = app.client("sagemaker")
    known = sagemaker.describe_model_package(ModelPackageName=run.output["ModelPackage"])
    taken = ("ModelPackageGroupName", "ModelPackageDescription", "InferenceSpecification")
    same = {name: known[name] for name in taken}
    return str(sagemaker.create_model_package(**same, ModelApprovalStatus=status)["ModelPackageArn"])


def set_hours(app: App, function: str, hours: str) -> str:
    """Give a function other hours of the endpoint, as a deployment does; return those that it had."""
    functions, name = app.client("lambda"), f"{STACK}-{function}"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "HOURS": hours}})
    return str(variables["HOURS"])


def sleep_and_wake(app: App, caller: Api) -> None:
    """Let the hours of the endpoint end, and begin again; from then on events have them looked at.

    Meanwhile who calls the API is told until when it sleeps.
    """
    sagemaker = app.client("sagemaker")
    other_day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a").upper()
    asleep = f"00:00-00:00 UTC {other_day} clock"
    always = set_hours(app, "keep-hours", asleep)
    for done in ("Delete", "Create"):
        assert json.loads(keep_hours(app)["Payload"].read())["Done"] == done
        there = ["InService"] if done == "Create" else []
        wait_for(
            lambda there=there: [
                one["EndpointStatus"] for one in sagemaker.list_endpoints(NameContains=STACK)["Endpoints"]
            ] == there,
            f"the endpoint as {there}",
        )  # fmt: skip
        for rule in HOURS_RULES[1:]:
            app.client("events").enable_rule(Name=rule)
        if done == "Delete":
            set_hours(app, "answer-request", asleep)
            answer = caller.post(CAR)
            assert answer.status == 503
            assert 86_400 < int(answer.headers["retry-after"]) < 3 * 86_400
            assert "the endpoint sleeps until 20" in answer.document["detail"]
            for function in ("answer-request", "keep-hours"):
                set_hours(app, function, always)
    with struck(app, HOURS):
        pass


def keep_hours(app: App) -> Any:
    """Call the function as Lambda does when the clock looks at the hours."""
    event = {"id": f"hours-{next(_numbers)}", "source": "aws.events", "detail": {}}
    return app.client("lambda").invoke(FunctionName=f"{STACK}-keep-hours", Payload=json.dumps(event))


def deploy(app: App, **more: Any) -> dict[str, Any]:
    """Call the function as CloudFormation does, with a signed address in S3 for its answer; return that."""
    place = {"Bucket": app.bucket, "Key": f"answers/{next(_numbers)}"}
    request = {
        "RequestType": "Update", "ResponseURL": app.client("s3").generate_presigned_url("put_object", Params=place),
        "StackId": "stack", "RequestId": "request", "LogicalResourceId": "JobCode", "ResourceProperties": {}, **more,
    }  # fmt: skip
    called = app.client("lambda").invoke(FunctionName=f"{STACK}-publish-job-code", Payload=json.dumps(request))
    said = called["Payload"].read().decode()
    if "FunctionError" in called:
        return {"Status": "FAILED", "Reason": said}
    return dict(json.loads(app.client("s3").get_object(**place)["Body"].read()))


def change_hours(app: App) -> dict[str, Any]:
    """A deployment that changes when the endpoint is there."""
    after = {"Hours": "07:00-19:00 UTC MON clock", "KeepHoursFunction": f"{STACK}-keep-hours"}
    before = {"Hours": " UTC MON clock"}
    return deploy(app, ResourceType="Custom::RunsMade", ResourceProperties=after, OldResourceProperties=before)


def look_at_other_machines(app: App) -> str:
    """Ask what the endpoint needs before its model serves on machines of another type; return what was said."""
    sagemaker, config = app.client("sagemaker"), f"{STACK}-other-{next(_numbers)}"
    serving = sagemaker.describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=serving)["ProductionVariants"]
    sagemaker.create_endpoint_config(
        EndpointConfigName=config, ProductionVariants=[{**variant, "InstanceType": "ml.m5.xlarge"}]
    )
    request = {"EndpointName": STACK, "WantedConfigName": config, "Phase": "Before"}
    called = app.client("lambda").invoke(FunctionName=f"{STACK}-check-endpoint", Payload=json.dumps(request))
    return str(called["Payload"].read().decode())


@contextmanager
def seemingly_gone(app: App) -> Iterator[None]:
    """What looks for the endpoint does not find it."""
    told = {"error": "ValidationException", "message": f'Could not find endpoint "{STACK}".'}
    with app.faults.injected("sagemaker:DescribeEndpoint", "error", times="always", **told):
        yield


@contextmanager
def no_machines(app: App) -> Iterator[None]:
    """Nor may it be made again."""
    refused = {"error": "ResourceLimitExceeded", "times": "always"}
    with seemingly_gone(app), app.faults.injected("sagemaker:CreateEndpoint", "error", **refused):
        yield


def find_drift(app: App, window: str) -> None:
    """Leave what a window's job leaves that has found drift, and labelled rows to learn from."""
    verdict = {"verdict": "Drift", "reasons": ["a test"], "analyses": {}, "labelled_rows": 10}
    files = {"verdict.json": json.dumps(verdict).encode(), "labelled/rows.csv": demo_data.new_listings(10, seed=9)}
    for name, body in files.items():
        app.client("s3").put_object(Bucket=app.bucket, Key=f"monitoring/{window}/{name}", Body=body)


PAST = "2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z"


def give_no_rows(app: App, window: str) -> None:
    """Leave what a window's job leaves that has found nothing, and the rows that a window of the past once gave."""
    s3, key = app.client("s3"), naming.labelled_key("raw/", *PAST)
    s3.put_object(Bucket=app.bucket, Key=key, Body=b"price\n1\n", Metadata={work.JUDGED_WINDOW: window})
    verdict = {"verdict": "Healthy", "reasons": [], "analyses": {}, "labelled_rows": 0}
    key = f"monitoring/{window}/verdict.json"
    s3.put_object(Bucket=app.bucket, Key=key, Body=json.dumps(verdict).encode())


@pytest.fixture(scope="session")
def many(app: App) -> str:
    """A prefix with more files than a run's record holds, so that their list is read from the bucket."""
    header, *rows = demo_data.used_cars().splitlines(keepends=True)
    for number in range(FILES_IN_ITEM + 1):
        part = b"".join([header, *rows[number :: FILES_IN_ITEM + 1]])
        app.client("s3").put_object(Bucket=app.bucket, Key=f"{MANY}{number:03}.csv", Body=part)
    return MANY


def tuned(app: App) -> dict[str, dict[str, Any]]:
    """What has to be answered for a run to tune and to deploy nothing: a job of two trials, whose models are alike."""
    described = app.client("cloudformation").describe_stacks(StackName=app.stack)["Stacks"][0]
    prefix = described["StackId"].rpartition("/")[2].partition("-")[0]
    end = {"MinValue": "0", "MaxValue": "0.000000001", "ScalingType": "Linear"}
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "gamma", **end}]},
    }
    name = naming.tuning_stem(prefix, f"20261129000000-{next(_numbers):04x}")
    tuning = {"Name": name, "Config": config, "WarmStart": {}}
    return {"Resolve configuration": {"Tuning": tuning, "Withheld": "a test tunes it"}}


def a_search_that_fails(app: App) -> Run:
    """A run whose tuning job has failed, as Step Functions describes it."""
    job = f"{tuned(app)['Resolve configuration']['Tuning']['Name']}0"
    ended = json.dumps({"HyperParameterTuningJobName": job, "HyperParameterTuningJobStatus": "Failed"})
    search = {"HyperParameters": {"gamma": {"min": 0, "max": 1e-9}}, "Tuning": {"Jobs": 2}}
    task = "task:sagemaker:createHyperParameterTuningJob"
    with app.faults.injected(task, "error", error="States.TaskFailed", message=ended):
        run = app.start(**search)
    assert ended in str(run.cause)
    return run
