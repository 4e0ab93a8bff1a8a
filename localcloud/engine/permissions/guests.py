"""Callers of other accounts: they have keys of this local cloud, and nothing here of their own.

A guest may do what both the policy of its role and that of one of this account's resources allow (IAM User Guide,
"Cross-account policy evaluation logic"): a bucket, a key, a model package group, or a role that it takes. What has no
policy of its own is closed to other accounts, on AWS too. What a guest has in its own account is another local cloud's.
"""

import json
import os
import re
from collections.abc import Iterable
from typing import Any

from localcloud.engine.permissions.actions import Needs
from localcloud.engine.permissions.decisions import Denial, check, session_arn
from localcloud.engine.permissions.services import begin_session
from localcloud.engine.seams import Seams

iam = Seams("services.iam", _roles="190f3297")
responses = Seams(
    "core.responses",
    _account_from_sts_session="80f9566f",
    get_account_id="270e1115",
    get_region="5f4ea734",
    request_scope="1136c5e3",
)
router = Seams("core.router", extract_access_key_id="73d8c373")
sts = Seams("services.sts", _caller_identity="0258ba85")

JsonObject = dict[str, Any]

PATH = "/_localcloud/guests"
ROLE = "Guest"
_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_OPEN_TO_ALL = "sts:GetCallerIdentity"


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    sts.replace("_caller_identity", _make_caller_identity)


def home() -> str:
    """Return the number of the account that this local cloud is."""
    return os.environ["MINISTACK_ACCOUNT_ID"]


def is_guest(account: str) -> bool:
    return account not in ("", home())


def answer_http(method: str, body: bytes) -> tuple[int, JsonObject]:
    """Answer `POST /_localcloud/guests` with the keys of a session of a guest's role.

    Takes {"Account": twelve digits} and, if the role may not do everything, "Role", its name, and "Policy", the one
    policy that it has from now on.
    """
    try:
        request = json.loads(body)
        account, role, policy = request["Account"], request.get("Role", ROLE), request.get("Policy", _EVERYTHING)
    except (ValueError, TypeError, KeyError, AttributeError):
        method = ""
    if method != "POST":
        expected = '{"Account": "twelve digits", "Role": "a name", "Policy": {a policy document}}'
        return 400, {"message": f"expected POST {PATH} with {expected}; all but Account may be left out"}
    if not isinstance(account, str) or not re.fullmatch(r"[0-9]{12}", account):
        return 400, {"message": f"the account {account!r} of a guest is none; expected twelve digits"}
    if not isinstance(role, str) or not re.fullmatch(r"[\w+=,.@-]{1,64}", role, re.ASCII):
        return 400, {
            "message": f"the role {role!r} of a guest is none; expected a name: letters, digits and _+=,.@-, 64 at most"
        }
    if not isinstance(policy, dict):
        return 400, {"message": f"the policy {policy!r} of a guest is none; expected a policy document"}
    if not is_guest(account):
        return 400, {"message": f"{account} is this local cloud's own account; a guest is of another one"}
    key, secret, token = admit(account, role, policy)
    return 200, {"AccessKeyId": key, "SecretAccessKey": secret, "SessionToken": token}


def admit(account: str, role: str, policy: JsonObject) -> tuple[str, str, str]:
    """Give a role of another account this policy alone; return keys and token of a session of it."""
    arn = f"arn:aws:iam::{account}:role/{role}"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
    with responses.request_scope(account, responses.get_region()):
        iam._roles[role] = {
            "RoleName": role,
            "Arn": arn,
            "RoleId": f"AROA{account}{role.upper()}",
            "Path": "/",
            "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            "MaxSessionDuration": 3600,
            "AttachedPolicies": [],
            "InlinePolicies": {"guest": json.dumps(policy)},
            "Tags": [],
        }
    return begin_session(session_arn(arn, "guest"), f"{role}:guest")


def refusal(caller: str, needed: Iterable[Needs]) -> Denial | None:
    """Return the first refusal of what a guest's request needs; the request is this account's by now."""
    for needs in needed:
        if needs.action == _OPEN_TO_ALL:
            continue
        if denial := check(caller, needs.action, needs.resource, needs.context, owner=home()):
            return denial
    return None


def _make_caller_identity(original: Any) -> Any:
    def caller_identity(headers: JsonObject, query_params: JsonObject | None = None) -> Any:
        """Return whoever asks, also in this account: a guest's session is its own account's."""
        key = router.extract_access_key_id(headers, query_params or {})
        account = responses._account_from_sts_session(key) or responses.get_account_id()
        with responses.request_scope(account, responses.get_region()):
            return original(headers, query_params)

    return caller_identity
