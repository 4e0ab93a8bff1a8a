"""Callers of other accounts: they have keys of this local cloud, and in it some of what an account has.

A guest may do what both the policy of its role and that of one of this account's resources allow (IAM User Guide,
"Cross-account policy evaluation logic"): a bucket, a key, an event bus, a repository of images, a model package group,
or a role that it takes. What has no policy of its own is closed to other accounts, on AWS too. In its own account a
guest has buckets, keys, rules of EventBridge, repositories, roles, and stacks of these (`AT_HOME`), which let this
account's callers in, or not, by the same rules. Everything else that an account has is another local cloud's.
"""

import json
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from localcloud.engine.operations import Call
from localcloud.engine.permissions import owners
from localcloud.engine.permissions.actions import Needs, Place
from localcloud.engine.permissions.decisions import Denial, check, request, session_arn
from localcloud.engine.permissions.services import begin_session
from localcloud.engine.seams import Seams

iam = Seams("services.iam", _roles="190f3297")
provisioners = Seams("services.cloudformation.provisioners", _provision_resource="8a290cd7")
stacks = Seams("services.cloudformation.stacks", _provision_resource="8a290cd7")
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
AT_HOME = {"cloudformation": "", "ecr": "", "events": "EventBusName", "iam": "", "kms": "KeyId", "s3": ""}
"""Services in which a guest's own account has resources -> the member that may name another account's, by its ARN."""
_TYPES = ("AWS::ECR::", "AWS::Events::", "AWS::IAM::", "AWS::KMS::", "AWS::S3::")


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    sts.replace("_caller_identity", _make_caller_identity)
    for module in (provisioners, stacks):  # the second has names of its own for the first's functions
        module.replace("_provision_resource", _make_provision)


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
            "CreateDate": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            "MaxSessionDuration": 3600,
            "AttachedPolicies": [],
            "InlinePolicies": {"guest": json.dumps(policy)},
            "Tags": [],
        }
    return begin_session(session_arn(arn, "guest"), f"{role}:guest")


def refusal(caller: str, needed: Iterable[Needs]) -> Denial | None:
    """Return the first refusal of what a request needs of an account that is not its caller's.

    The request is by now that account's; what it names of a third one is found out with each resource. Of a user, whose
    own policies are not asked for here, nothing is let in.
    """
    for needs in needed:
        if needs.action == _OPEN_TO_ALL:
            continue
        if caller.endswith(":user"):
            return Denial(request(caller, *needs), "because a user reaches into no other account of the local cloud")
        if denial := check(caller, needs.action, needs.resource, needs.context, owner=responses.get_account_id()):
            return denial
    return None


def account_for(caller: str, service: str, call: Call | None) -> str:
    """Return the account in which a caller's request is carried out: its own, or the one whose resource it names.

    Of a bucket the name alone tells: see `owners.of_bucket`.
    """
    if service not in AT_HOME:
        return home()
    arns = [name for name in _named(service, call) if name.count(":") >= 5] if call else []
    if not is_guest(caller):
        return next((account for arn in arns if (account := owners.of(arn))), caller)
    return arns[0].split(":")[4] if arns else caller


def _named(service: str, call: Call) -> list[str]:
    """Return what a request names that may be another account's."""
    if call.operation == "PutEvents":
        return [str(entry.get("EventBusName", "")) for entry in call.members.get("Entries", [])]
    if registry := call.texts("registryId") if service == "ecr" else []:
        place = Place(responses.get_region(), registry[0])
        return [place.arn("ecr", f"repository/{name}") for name in call.texts("repositoryName") or [""]]
    return call.texts(AT_HOME[service]) if AT_HOME[service] else []


def _make_provision(original: Any) -> Any:
    def provision_resource(resource_type: str, *arguments: Any) -> Any:
        """Refuse, in a stack of a guest's account, what no guest has."""
        account = responses.get_account_id()
        if is_guest(account) and not resource_type.startswith(_TYPES):
            kinds = ", ".join(f"{kind}*" for kind in _TYPES)
            raise ValueError(
                f"{resource_type}: the account {account} is a guest of this local cloud, and has only {kinds} in it; "
                f"start a local cloud for all that an account has: perennial local up --account {account}"
            )
        return original(resource_type, *arguments)

    return provision_resource


def _make_caller_identity(original: Any) -> Any:
    def caller_identity(headers: JsonObject, query_params: JsonObject | None = None) -> Any:
        """Return whoever asks, also in this account: a guest's session is its own account's."""
        key = router.extract_access_key_id(headers, query_params or {})
        account = responses._account_from_sts_session(key) or responses.get_account_id()
        with responses.request_scope(account, responses.get_region()):
            return original(headers, query_params)

    return caller_identity
