"""The stack whose permissions are tried, and what its tests do to it."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import boto3
import pytest

from perennial.runs.record import FILES_IN_ITEM
from tests.e2e.conftest import App
from tests.e2e.permissions import policy_replay
from tools import demo_data

STACK = "perennial-roles"
SCHEDULE = f"{STACK}-retrain-schedule"
SCIENTIST = f"{STACK}-scientist"
MANY = "many/"
Ask = Callable[[str], Any]
"""A service's client, by its name."""
Without = Callable[[str, str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def app(deploy: Callable[..., App]) -> App:
    """The stack with a schedule, whose clock stands still until a test lets it go on."""
    given = {"ModelsToKeep": "1", "QuietPeriodSeconds": "0", "RetrainSchedule": "rate(1 minute)"}
    deployed = deploy(STACK, ModelName="used-cars", **given)
    deployed.client("events").disable_rule(Name=SCHEDULE)
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
def scientist(app: App) -> Ask:
    """Clients of a person whose role has the policy for data scientists and nothing else."""
    iam, sts = app.client("iam"), app.client("sts")
    account = f"arn:aws:iam::{sts.get_caller_identity()['Account']}:root"
    trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=SCIENTIST, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=SCIENTIST, PolicyArn=app.outputs["DataScientistPolicyArn"])
    keys = sts.assume_role(RoleArn=role, RoleSessionName="ada")["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    make: Ask = session.client
    return make


@pytest.fixture(scope="session")
def many(app: App) -> str:
    """A prefix with more files than a run's record holds, so that their list is read from the bucket."""
    header, *rows = demo_data.used_cars().splitlines(keepends=True)
    for number in range(FILES_IN_ITEM + 1):
        part = b"".join([header, *rows[number :: FILES_IN_ITEM + 1]])
        app.client("s3").put_object(Bucket=app.bucket, Key=f"{MANY}{number:03}.csv", Body=part)
    return MANY
