"""Requests from other accounts: what policies of this account's resources let them, and nothing else."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, WaiterError

from localcloud import access
from localcloud.engine.permissions import guests
from localcloud.settings import variables
from tests.integration import servers
from tests.integration.conftest import Cloud, open_to, policy, unique
from tests.integration.localcloud.engine.test_guard import client, send, signed
from tests.waiting import wait_for

CONTAINER = {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"}
VERSION = {"InferenceSpecification": {"Containers": [CONTAINER], "SupportedContentTypes": ["text/csv"]}}
KNOWN, STRANGER = "111111111111", "444444444444"
TEMPLATES = Path(__file__).parents[4] / "delivery"


def guest(cloud: Cloud, account: str, **more: Any) -> Credentials:
    body = json.dumps({"Account": account, **more}).encode()
    session = access.call(variables(cloud.settings), "POST", "/_localcloud/guests", body)
    return Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])


def allow(actions: list[str], resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"AWS": KNOWN}, "Action": actions, "Resource": resource, **more}


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    """A bucket, encrypted by a key, whose folder `open/` an account may read."""
    name, s3, kms = unique("shared"), cloud.client("s3"), cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]
    root = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    through = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
    kms.put_key_policy(
        KeyId=key["KeyId"], PolicyName="default", Policy=policy(root, allow(["kms:Decrypt"], "*", Condition=through))
    )
    s3.create_bucket(Bucket=name)
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
    )
    for place in ("open/a", "closed/a"):
        s3.put_object(Bucket=name, Key=place, Body=b"1")
    s3.put_bucket_policy(Bucket=name, Policy=policy(allow(["s3:GetObject"], f"arn:aws:s3:::{name}/open/*")))
    return name


def refused(call: Callable[[], Any], why: str = "because no resource-based policy allows the") -> None:
    with pytest.raises(ClientError, match=why) as caught:
        call()
    assert caught.value.response["Error"]["Code"].startswith("AccessDenied")


def test_a_bucket_and_its_key_let_in_the_account_that_they_name(cloud: Cloud, bucket: str) -> None:
    s3 = client(cloud, "s3", guest(cloud, KNOWN))
    assert s3.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"1"
    for closed in (
        partial(s3.get_object, Bucket=bucket, Key="closed/a"),
        partial(s3.put_object, Bucket=bucket, Key="open/a", Body=b"2"),
        partial(s3.delete_object, Bucket=bucket, Key="open/a"),
        partial(s3.delete_bucket, Bucket=bucket),
    ):
        refused(closed)
    refused(partial(client(cloud, "s3", guest(cloud, STRANGER)).get_object, Bucket=bucket, Key="open/a"))


def test_a_bucket_that_lets_in_an_account_for_everything_lets_it_do_what_is_known(cloud: Cloud) -> None:
    """`DELETE /bucket?metrics` is MiniStack's deletion of the bucket."""
    name, s3 = unique("shared"), cloud.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(
        Bucket=name, Policy=policy(allow(["s3:*"], [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]))
    )
    keys, host = guest(cloud, KNOWN), {"Host": f"{name}.s3.localhost:{cloud.settings.port}"}
    client(cloud, "s3", keys).put_object(Bucket=name, Key="a", Body=b"1")
    for path, place in ((f"/{name}?metrics", {}), ("/?metrics", host)):
        assert (
            send(
                cloud, "DELETE", path, headers={**signed(cloud, "DELETE", path, b"", "s3", keys, **place), **place}
            ).status
            == 403
        )
    assert (
        send(cloud, "GET", "/a", headers={**signed(cloud, "GET", "/a", b"", "s3", keys, **host), **host}).body == b"1"
    )


def test_the_policy_of_a_guests_own_role_has_to_allow_it_too(cloud: Cloud, bucket: str) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    own_policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3 = client(cloud, "s3", guest(cloud, KNOWN, Role="Reader", Policy=own_policy))
    refused(
        partial(s3.get_object, Bucket=bucket, Key="open/a"), "no identity-based policy allows the kms:Decrypt action"
    )


def test_a_group_of_versions_lets_in_the_account_that_it_names_by_its_arn(cloud: Cloud) -> None:
    name, registry = unique("group"), cloud.client("sagemaker")
    arn = registry.create_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
    versions = arn.replace("model-package-group", "model-package") + "/*"
    verbs = ["DescribeModelPackageGroup", "ListModelPackages", "CreateModelPackage", "DescribeModelPackage"]
    document = policy(allow([f"sagemaker:{verb}" for verb in verbs], [arn, versions]))
    registry.put_model_package_group_policy(ModelPackageGroupName=name, ResourcePolicy=document)

    theirs = client(cloud, "sagemaker", guest(cloud, KNOWN))
    assert theirs.describe_model_package_group(ModelPackageGroupName=arn)["ModelPackageGroupName"] == name
    made = theirs.create_model_package(ModelPackageGroupName=arn, **VERSION)["ModelPackageArn"]
    (listed,) = theirs.list_model_packages(ModelPackageGroupName=arn)["ModelPackageSummaryList"]
    assert listed["ModelPackageArn"] == made
    by = theirs.describe_model_package(ModelPackageName=made)["CreatedBy"]["IamIdentity"]["Arn"]
    assert by == f"arn:aws:sts::{KNOWN}:assumed-role/Guest/guest"
    for closed in (
        partial(theirs.update_model_package, ModelPackageArn=made, ModelApprovalStatus="Approved"),
        partial(theirs.describe_model_package_group, ModelPackageGroupName=name),  # it would be one of its own account
        partial(theirs.delete_model_package_group, ModelPackageGroupName=arn),
        theirs.list_model_package_groups,
        theirs.list_endpoints,
    ):
        refused(closed)
    strange = client(cloud, "sagemaker", guest(cloud, STRANGER))
    refused(partial(strange.list_model_packages, ModelPackageGroupName=arn))
    refused(partial(strange.create_model_package, ModelPackageGroupName=arn, **VERSION))


def test_a_role_that_trusts_an_account_is_taken_from_there(cloud: Cloud) -> None:
    name, iam = unique("promoted"), cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{KNOWN}:root"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    taken = client(cloud, "sts", guest(cloud, KNOWN)).assume_role(RoleArn=arn, RoleSessionName="from-there")
    assert taken["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{name}/from-there"
    strange = client(cloud, "sts", guest(cloud, STRANGER))
    assert strange.get_caller_identity()["Account"] == STRANGER
    refused(partial(strange.assume_role, RoleArn=arn, RoleSessionName="from-there"))


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "any", "Body": b"1"}),
        ("lambda", "list_functions", {}),
        ("stepfunctions", "list_state_machines", {}),
        ("ssm", "get_parameter", {"Name": "/any"}),
        ("dynamodb", "list_tables", {}),
        ("sqs", "list_queues", {}),
    ],
)
def test_what_has_no_policy_of_its_own_is_closed_to_other_accounts(
    cloud: Cloud, service: str, operation: str, parameters: dict[str, Any]
) -> None:
    call = getattr(client(cloud, service, guest(cloud, KNOWN)), operation)
    refused(partial(call, **parameters), f":sts::{KNOWN}:assumed-role/Guest/guest is not authorized to perform")


@pytest.fixture(scope="module")
def data(cloud: Cloud) -> str:
    """The bucket of delivery/data.yaml, which the other account has deployed for the stack `reader` of this one."""
    name, events, sqs = unique("the-data"), cloud.client("events"), cloud.client("sqs")
    bus = "arn:aws:events:us-east-1:000000000000:event-bus/reader-data"
    opened = {"Version": "2012-10-17", "Statement": [allow(["events:PutEvents"], bus)]}
    made = {"Type": "AWS::Events::EventBus", "Properties": {"Name": "reader-data", "Policy": opened}}
    deployed(cloud.client("cloudformation"), json.dumps({"Resources": {"Bus": made}}))
    assert json.loads(events.describe_event_bus(Name="reader-data")["Policy"]) == opened
    queue = sqs.create_queue(QueueName="drops-of-others")["QueueUrl"]
    (arn,) = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"].values()
    sqs.set_queue_attributes(
        QueueUrl=queue, Attributes={"Policy": open_to("events.amazonaws.com", "sqs:SendMessage", arn)}
    )
    events.put_rule(Name="drop", EventBusName="reader-data", EventPattern=json.dumps({"source": ["aws.s3"]}))
    events.put_targets(Rule="drop", EventBusName="reader-data", Targets=[{"Id": "queue", "Arn": arn}])
    parameters = {"BucketName": name, "ReaderAccount": "000000000000", "ReaderStack": "reader"}
    deployed(client(cloud, "cloudformation", guest(cloud, KNOWN)), (TEMPLATES / "data.yaml").read_text(), **parameters)
    return name


def deployed(cloudformation: Any, template: str, **parameters: str) -> None:
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    stack, iam = unique("data"), ["CAPABILITY_IAM"]
    cloudformation.create_stack(StackName=stack, TemplateBody=template, Parameters=given, Capabilities=iam)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})


def session(cloud: Cloud, role: str, service: str = "s3", **actions: str) -> Any:
    """A client for a role of this account that may do these actions: the resource of each, with __ for its colon."""
    iam, name = cloud.client("iam"), f"{role}-{unique('r')}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    allowed = [
        {"Effect": "Allow", "Action": action.replace("__", ":"), "Resource": resource}
        for action, resource in actions.items()
    ]
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(*allowed))
    taken = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="reads")["Credentials"]
    keys = Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
    return client(cloud, service, keys)


def test_a_drop_of_another_account_comes_once_over_its_bus_as_that_accounts_event(cloud: Cloud, data: str) -> None:
    theirs, sqs = client(cloud, "s3", guest(cloud, KNOWN)), cloud.client("sqs")
    put = theirs.put_object(Bucket=data, Key="raw/cars.csv", Body=b"a\n1\n")
    theirs.put_object(Bucket=data, Key="elsewhere/cars.csv", Body=b"a\n1\n")
    queue = sqs.get_queue_url(QueueName="drops-of-others")["QueueUrl"]

    def come() -> list[Any]:
        return list(sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []))

    (message,) = wait_for(come, "the event", 20)
    event = json.loads(message["Body"])
    assert (event["account"], event["detail"]["bucket"]["name"]) == (KNOWN, data)
    assert (event["detail"]["object"]["key"], event["detail"]["object"]["version-id"]) == (
        "raw/cars.csv",
        put["VersionId"],
    )
    assert come() == []
    assert theirs.list_buckets()["Buckets"][0]["Name"] == data
    assert data not in [one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]]


def test_an_event_bus_and_a_key_are_anothers_by_their_arns(cloud: Cloud, data: str) -> None:
    entry = {"Source": "theirs", "DetailType": "t", "Detail": "{}"}
    entry["EventBusName"] = "arn:aws:events:us-east-1:000000000000:event-bus/reader-data"
    put = partial(client(cloud, "events", guest(cloud, STRANGER)).put_events, Entries=[entry])
    refused(put, "no resource-based policy allows the events:PutEvents action")
    assert client(cloud, "events", guest(cloud, KNOWN)).put_events(Entries=[entry])["FailedEntryCount"] == 0
    kms = client(cloud, "kms", guest(cloud, KNOWN))
    key = kms.create_key()["KeyMetadata"]["Arn"]
    assert key.split(":")[4] == KNOWN
    refused(partial(cloud.client("kms").describe_key, KeyId=key), "kms:DescribeKey")
    opened = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:DescribeKey", "Resource": "*"}
    its_own = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(*its_own, opened))
    assert cloud.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key


def test_data_of_another_account_are_read_in_place_as_the_policies_of_both_sides_say(cloud: Cloud, data: str) -> None:
    owner = client(cloud, "s3", guest(cloud, KNOWN))
    version = owner.put_object(Bucket=data, Key="raw/a.csv", Body=b"the data")["VersionId"]
    wanted = {"Bucket": data, "Key": "raw/a.csv", "VersionId": version}
    mine, everything = unique("mine"), f"arn:aws:s3:::{data}/*"
    cloud.client("s3").create_bucket(Bucket=mine)
    reads = {"s3__GetObject": everything, "s3__GetObjectVersion": everything, "s3__PutObject": "*", "kms__Decrypt": "*"}
    reader = session(cloud, "reader-SnapshotDataRole", **reads)
    assert reader.get_object(**wanted)["Body"].read() == b"the data"
    copied = {"Bucket": mine, "CopySource": wanted}
    reader.copy_object(**copied, Key="copy")
    upload = {"Bucket": mine, "Key": "in-parts"}
    upload["UploadId"] = reader.create_multipart_upload(**upload)["UploadId"]
    part = reader.upload_part_copy(**upload, CopySource=wanted, PartNumber=1)["CopyPartResult"]["ETag"]
    ended = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    reader.complete_multipart_upload(**upload, MultipartUpload=ended)
    for key in ("copy", "in-parts"):
        assert cloud.client("s3").get_object(Bucket=mine, Key=key)["Body"].read() == b"the data"

    unlimited = session(cloud, "reader-SnapshotDataRole", **{"s3__*": "*", "kms__*": "*"})
    for caller in (unlimited, cloud.client("s3")):  # the second is the account's root
        refused(partial(caller.put_object, Bucket=data, Key="raw/b.csv", Body=b"1"))
        refused(partial(caller.delete_object, Bucket=data, Key="raw/a.csv"))
        refused(partial(caller.get_object, Bucket=data, Key="elsewhere/a.csv"))
    other = session(cloud, "another-SnapshotDataRole", **{"s3__*": "*", "kms__*": "*"})
    for caller in (other, cloud.client("s3"), client(cloud, "s3", guest(cloud, STRANGER))):
        refused(partial(caller.get_object, **wanted))
        refused(partial(caller.copy_object, **copied, Key="copy-2"))
    denied = caller_of_deletions(
        cloud.client("s3").delete_objects(Bucket=data, Delete={"Objects": [{"Key": "raw/a.csv"}]})
    )
    assert denied == ["AccessDenied"]

    no_key = session(cloud, "reader-SnapshotDataRole", s3__GetObjectVersion=everything, s3__PutObject="*")
    for call in (partial(no_key.get_object, **wanted), partial(no_key.copy_object, **copied, Key="copy-3")):
        refused(call, "no identity-based policy allows the kms:Decrypt action")
    nothing = session(cloud, "reader-SnapshotDataRole", s3__ListBucket="*", kms__Decrypt="*")
    refused(partial(nothing.get_object, **wanted), "no identity-based policy allows the s3:GetObjectVersion action")


def caller_of_deletions(answer: dict[str, Any]) -> list[str]:
    return [error["Code"] for error in answer["Errors"]]


def test_without_the_policy_of_the_bucket_or_of_its_key_nobody_of_another_account_reads(
    cloud: Cloud, data: str
) -> None:
    keys = guest(cloud, KNOWN)
    owner, kms = client(cloud, "s3", keys), client(cloud, "kms", keys)
    version = owner.put_object(Bucket=data, Key="raw/c.csv", Body=b"the data")
    wanted = {"Bucket": data, "Key": "raw/c.csv"}
    reader = session(cloud, "reader-SnapshotDataRole", **{"s3__*": "*", "kms__*": "*"})
    assert reader.get_object(**wanted)["Body"].read() == b"the data"

    key = {"KeyId": version["SSEKMSKeyId"], "PolicyName": "default"}
    document = kms.get_key_policy(**key)["Policy"]
    closed = {**json.loads(document), "Statement": json.loads(document)["Statement"][:2]}
    kms.put_key_policy(**key, Policy=json.dumps(closed))
    refused(partial(reader.get_object, **wanted), "no resource-based policy allows the kms:Decrypt action")
    kms.put_key_policy(**key, Policy=document)
    refused(partial(cloud.client("kms").describe_key, KeyId=key["KeyId"]), "kms:DescribeKey")

    document = owner.get_bucket_policy(Bucket=data)["Policy"]
    owner.delete_bucket_policy(Bucket=data)
    refused(partial(reader.get_object, **wanted), "no resource-based policy allows the s3:GetObject action")
    owner.put_bucket_policy(Bucket=data, Policy=document)
    assert reader.get_object(**wanted)["Body"].read() == b"the data"


def test_images_of_another_account_are_pulled_where_both_sides_say_so_and_nothing_else_is_done(cloud: Cloud) -> None:
    keys, name = guest(cloud, KNOWN), unique("images/trees")
    parameters = {"ImageRepository": name, "SharedWith": "000000000000"}
    deployed(client(cloud, "cloudformation", keys), (TEMPLATES / "images.yaml").read_text(), **parameters)
    pushed = client(cloud, "ecr", keys).put_image(repositoryName=name, imageManifest="{}", imageTag="one")["image"]
    theirs = {"registryId": KNOWN, "repositoryName": name}
    pulled = {**theirs, "imageIds": [{"imageTag": "one"}]}
    job = session(cloud, "jobs", "ecr", ecr__BatchGetImage=f"arn:aws:ecr:us-east-1:{KNOWN}:repository/{name}")
    for caller in (job, cloud.client("ecr")):
        (image,) = caller.batch_get_image(**pulled)["images"]
        assert (image["registryId"], image["imageId"]["imageDigest"]) == (KNOWN, pushed["imageId"]["imageDigest"])
        refused(partial(caller.put_image, **theirs, imageManifest="{ }", imageTag="two"), "ecr:PutImage")
    other = session(cloud, "jobs", "ecr", ecr__BatchGetImage=f"arn:aws:ecr:us-east-1:{KNOWN}:repository/another")
    refused(partial(other.batch_get_image, **pulled), "no identity-based policy allows the ecr:BatchGetImage action")
    refused(partial(client(cloud, "ecr", guest(cloud, STRANGER)).batch_get_image, **pulled))
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        cloud.client("ecr").batch_get_image(**{**pulled, "registryId": "000000000000"})


def test_a_guests_account_has_its_own_and_what_it_cannot_have_here_is_said(cloud: Cloud, data: str) -> None:
    keys = guest(cloud, KNOWN)
    cloudformation, sts = client(cloud, "cloudformation", keys), client(cloud, "sts", keys)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{KNOWN}:assumed-role/Guest/guest"
    roles = [role["Arn"] for role in client(cloud, "iam", keys).list_roles()["Roles"]]
    assert f"arn:aws:iam::{KNOWN}:role/Guest" in roles
    assert {arn.split(":")[4] for arn in roles} == {KNOWN}
    stacks = cloudformation.describe_stacks()["Stacks"]
    assert {(stack["StackStatus"], stack["StackId"].split(":")[4]) for stack in stacks} == {("CREATE_COMPLETE", KNOWN)}
    taken = client(cloud, "s3", guest(cloud, STRANGER))
    with pytest.raises(ClientError, match="BucketAlreadyExists"):
        taken.create_bucket(Bucket=data)
    topic = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    with pytest.raises(WaiterError):
        deployed(cloudformation, topic)
    failed = next(one for one in cloudformation.describe_stacks()["Stacks"] if one["StackStatus"] != "CREATE_COMPLETE")
    reasons = [one.get("ResourceStatusReason", "") for one in cloudformation.describe_stack_events(
        StackName=failed["StackName"])["StackEvents"]]  # fmt: skip
    assert any(f"the account {KNOWN} is a guest of this local cloud" in reason for reason in reasons)


def test_the_account_lets_guests_in_and_nobody_else_does(cloud: Cloud) -> None:
    answer = servers.command(
        "--port", str(cloud.settings.port), "--state", str(cloud.state), "env", "--guest", KNOWN, "--json", env={}
    )
    keys = json.loads(answer.stdout)
    theirs = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"])
    assert client(cloud, "sts", theirs).get_caller_identity()["Account"] == KNOWN
    answer = send(cloud, "POST", "/_localcloud/guests", b'{"Account": "111111111111"}')
    assert answer.status == 403


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"Account": "000000000000"}, "000000000000 is this local cloud's own account"),
        ({"Account": "1"}, "the account '1' of a guest is none; expected twelve digits"),
        ({"Account": 111111111111}, "twelve digits"),
        ({"Account": KNOWN, "Role": "a/b"}, "the role 'a/b' of a guest is none; expected a name"),
        ({"Account": KNOWN, "Policy": "all"}, "the policy 'all' of a guest is none; expected a policy document"),
        ([], "twelve digits"),
    ],
)
def test_what_is_no_guest_is_told_what_one_is(body: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISTACK_ACCOUNT_ID", "000000000000")
    status, document = guests.answer_http("POST", json.dumps(body).encode())
    assert (status, says in document["message"]) == (400, True)
