"""The policy of a resource is read once for each caller, and anew when it has become another one."""

import itertools
import json
import pkgutil
from typing import Any

import pytest

from localcloud.engine.permissions import requests

evaluator: Any = pkgutil.resolve_name("ministack.core.iam_evaluator")
ROLE = "arn:aws:iam::111122223333:role/reader"
SESSIONS = [
    f"arn:aws:sts::{account}:assumed-role/{name}/s" for account, name in (("111122223333", "reader"), ("9" * 12, "x"))
]


def statement(effect: str, principal: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", **more}


INSECURE = {"Bool": {"aws:SecureTransport": "false"}}
POLICIES: list[Any] = [
    {"Statement": []},
    {"Statement": statement("Allow", {"AWS": ROLE})},
    {"Statement": [statement("Allow", {"AWS": ROLE}), statement("Deny", "*", Condition=INSECURE)]},
    {"Statement": [statement("Deny", {"AWS": "9" * 12}), statement("Allow", "*")]},
    {"Statement": [statement("Allow", {"Service": "events.amazonaws.com"})]},
]


def context(caller: str, **more: Any) -> Any:
    return evaluator.EvalContext(
        principal_arn=caller, principal_type="AssumedRole", principal_account=caller.split(":")[4],
        action="s3:GetObject", resource_arn="arn:aws:s3:::b/k", region="us-east-1", service_context={}, **more,
    )  # fmt: skip


def test_each_caller_gets_at_each_time_the_answer_of_the_policy_that_there_is_then() -> None:
    remembering = requests._make_evaluate_resource_policy(evaluator.evaluate_resource_policy)
    answers = set[str]()
    for policy, caller, secure in itertools.product((*POLICIES, *POLICIES[::-1]), SESSIONS, (True, False)):
        asked = context(caller, secure_transport=secure)
        for how in ({}, {"named_only": True}, {"direct_only": True}, {"service": "events.amazonaws.com"}):
            expected = evaluator.evaluate_resource_policy(json.dumps(policy), asked, **how)
            assert remembering(json.dumps(policy), asked, **how) == expected
            assert remembering(policy, asked, **how) == expected
            answers.add(expected.decision)
    assert answers == {"Allow", "Deny", "ImplicitDeny"}


@pytest.mark.parametrize("policy", ["", "{", "[]", None])
def test_what_is_no_policy_allows_nothing(policy: str | None) -> None:
    remembering = requests._make_evaluate_resource_policy(evaluator.evaluate_resource_policy)
    assert remembering(policy, context(SESSIONS[0])).decision == "ImplicitDeny"
