"""Requests from other accounts: what policies of this account's resources let them, and nothing else."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from localcloud import access
from localcloud.engine.permissions import guests
from localcloud.settings import variables
from tests.integration import servers
from tests.integration.conftest import Cloud, policy, unique
from tests.integration.localcloud.engine.test_guard import client, send, signed

CONTAINER = {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"}
VERSION = {"InferenceSpecification": {"Containers": [CONTAINER], "SupportedContentTypes": ["text/csv"]}}
KNOWN, STRANGER = "111111111111", "444444444444"


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
        partial(s3.create_bucket, Bucket=unique("theirs")),
        s3.list_buckets,
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
        ("iam", "list_roles", {}),
        ("ssm", "get_parameter", {"Name": "/any"}),
        ("dynamodb", "list_tables", {}),
        ("cloudformation", "describe_stacks", {}),
    ],
)
def test_what_has_no_policy_of_its_own_is_closed_to_other_accounts(
    cloud: Cloud, service: str, operation: str, parameters: dict[str, Any]
) -> None:
    call = getattr(client(cloud, service, guest(cloud, KNOWN)), operation)
    refused(partial(call, **parameters), f":sts::{KNOWN}:assumed-role/Guest/guest is not authorized to perform")


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
