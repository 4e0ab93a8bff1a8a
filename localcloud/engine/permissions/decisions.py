"""One request, the policies that speak about it, and IAM's answer.

Evaluation: IAM User Guide, "Policy evaluation logic"; texts: "Troubleshoot access denied error messages".
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from localcloud.engine.permissions import owners
from localcloud.engine.seams import Seams

eventbridge = Seams("services.eventbridge", _event_bus_policies="e7722532")
iam_evaluator = Seams(
    "core.iam_evaluator",
    EvalContext="9efc6ac6",
    _gather_role_policies="2eb1e960",
    _permissions_boundary="ede56d0b",
    _resource_policy="881ce6ea",
    combine_resource_policy="c58f543a",
    evaluate="91998ec6",
    evaluate_resource_policy="32ba312e",
    parse_policy_document="9d72ae04",
)
iam = Seams("services.iam", _roles="190f3297")
tagging = Seams("services.tagging", resource_tags="95ce7231")

JsonObject = dict[str, Any]
Statements = list[Any]
"""MiniStack's parsed statements of one policy document."""

logger = logging.getLogger(__name__)
_LEDGER_LIMIT = 20_000


@dataclass(frozen=True)
class Request:
    """A request: the caller, the action and the resource.

    `caller` is the ARN of a role's session (`arn:aws:sts::<account>:assumed-role/<role>/<session>`) or of a user
    (`arn:aws:iam::<account>:user/<name>`), a service (`events.amazonaws.com`), or, where the resource is another
    account's, the root of its own one. `context` holds the condition keys of the request in lower case, sorted; keys
    that follow from the caller and the clock are left out.
    """

    caller: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()

    @property
    def role(self) -> str:
        """The name of the caller's role; empty for a user and a service."""
        return self.caller.split("/")[1] if ":assumed-role/" in self.caller else ""

    @property
    def kind(self) -> str:
        """What the caller is, as aws:PrincipalType has it; Service for a service."""
        if self.caller.endswith(":root"):
            return "Account"
        return "AssumedRole" if self.role else "User" if ":user/" in self.caller else "Service"

    @property
    def account(self) -> str:
        return self.caller.split(":")[4] if self.caller.startswith("arn:") else ""

    @property
    def service(self) -> str:
        """The word before the action's colon."""
        return self.action.partition(":")[0]


@dataclass(frozen=True)
class Denial:
    """A refused request. `reason` is the end of AWS's sentence."""

    request: Request
    reason: str

    @property
    def text(self) -> str:
        """AWS's sentence; S3 quotes the resource, SNS writes its name in capitals."""
        action = self.request.action.replace("sns:", "SNS:", 1)
        resource = f'"{self.request.resource}"' if self.request.service == "s3" else self.request.resource
        who = f"User: {self.request.caller} is not authorized to perform"
        return f"{who}: {action} on resource: {resource} {self.reason}"


def request(caller: str, action: str, resource: str, context: Mapping[str, Any] | None = None) -> Request:
    """Return a request with its context in the form that compares: lower-case keys, sorted, values as texts."""
    pairs = {key.lower(): value for key, value in (context or {}).items() if value is not None}
    return Request(caller, action, resource, tuple(sorted((key, _text(value)) for key, value in pairs.items())))


def _text(value: Any) -> str:
    return ",".join(sorted(map(str, value))) if isinstance(value, list | tuple | set) else str(value)


def session_arn(role_arn: str, session: str) -> str:
    """Return the ARN of a session: it has the role's name, without its path."""
    _, _, _, _, account, resource = role_arn.split(":", 5)
    return f"arn:aws:sts::{account}:assumed-role/{resource.rsplit('/', 1)[-1]}/{session[:64]}"


def decide(
    question: Request,
    identity: Iterable[Statements],
    resource_policy: JsonObject | str | None,
    owner: str | None = None,
    boundary: Statements | None = None,
) -> Denial | None:
    """Answer a request from the policies of the caller's role and the resource's own policy.

    owner     the account of the resource, where it is another than the caller's: then both have to allow it
    boundary  that of the role's permissions, if it has one: nothing is allowed by its policies that this does not

    A service has no policies of its own, nor has a root: the resource's policy (a role's trust policy included) must
    allow it. A KMS key's policy must allow everybody, also by naming the account, which leaves the rest to identity
    policies; so must a role's trust policy whoever assumes it.
    """
    context = iam_evaluator.EvalContext(
        principal_arn=question.caller,
        principal_type=question.kind,
        principal_account=question.account,
        action=question.action,
        resource_arn=question.resource,
        region="",
        source_ip="127.0.0.1",
        secure_transport=dict(question.context).get("aws:securetransport", "true") == "true",
        service_context={"aws:tagkeys": None, "aws:resourceaccount": owner, **dict(question.context)},
    )
    if question.kind in ("Account", "Service"):
        verdict = iam_evaluator.evaluate_resource_policy(resource_policy, context, service=question.caller)
        return (
            None if verdict.decision == "Allow" else Denial(question, _because(question, verdict.decision, "resource"))
        )
    limits = [] if boundary is None else [[boundary]]
    own = iam_evaluator.evaluate(context, list(identity), *limits)
    if resource_policy is None and owner in (None, question.account):
        return None if own.decision == "Allow" else Denial(question, _because(question, own.decision, "identity"))
    is_required = question.service == "kms" or question.action == "sts:AssumeRole"
    both = iam_evaluator.combine_resource_policy(
        own, context, resource_policy, owner or question.account, required=is_required, limits=tuple(limits)
    )
    if both.decision == "Allow":
        return None
    by_resource = both.resource_policy_arn or own.decision == "Allow"
    return Denial(question, _because(question, both.decision, "resource" if by_resource else "identity"))


def _because(question: Request, decision: str, kind: str) -> str:
    if decision == "Deny":
        return f"with an explicit deny in {'a resource' if kind == 'resource' else 'an identity'}-based policy"
    return f"because no {kind}-based policy allows the {question.action} action"


PARSED = 1024
"""Documents that stay parsed: those of twenty stacks. Each takes seven times the memory of its text."""


@lru_cache(maxsize=PARSED)
def statements(document: str) -> Statements:
    """Return the statements of a policy document, for `decide`."""
    parsed: Statements = iam_evaluator.parse_policy_document(document)
    return parsed


def check(
    caller: str, action: str, resource: str, context: Mapping[str, Any] | None = None, owner: str | None = None
) -> Denial | None:
    """Answer a request from the policies that are in force now, and keep it in the ledger.

    owner  whose the resource is, where the caller is of another account: without a policy of its own it is closed.
           Of a bucket, a key and an event bus it is found here
    """
    question = request(caller, action, resource, context)
    owner = owners.of(resource) or owner
    boundary = _boundary(question)
    with owners.scope(owner or ""):
        policy, known = _resource_policy(question)
        whole = question if boundary is None else _with_tags(question)
    closed: JsonObject | None = {"Statement": []} if owner and owner != question.account else None
    denial = decide(whole, _identity(question), policy or closed, owner or known, boundary)
    ledger.note(question, denial)
    return denial


def _boundary(question: Request) -> Statements | None:
    """Return the boundary of the caller's role; None if it has none."""
    limits = iam_evaluator._permissions_boundary(iam._roles, question.role, question.account) if question.role else []
    boundary: Statements | None = limits[0][0] if limits else None
    return boundary


def _with_tags(question: Request) -> Request:
    """Return a request with the tags of its resource, which a boundary may ask for."""
    tags = tagging.resource_tags(question.resource) or {}
    tagged = {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
    return request(question.caller, question.action, question.resource, {**tagged, **dict(question.context)})


def _identity(question: Request) -> list[Statements]:
    policies: list[Statements] = (
        iam_evaluator._gather_role_policies(question.role, question.account) if question.role else []
    )
    return policies


def _resource_policy(question: Request) -> tuple[JsonObject | str | None, str | None]:
    """Return the resource's own policy, and whose it is; None if it has none, or its service keeps none."""
    if question.action == "sts:AssumeRole":
        return trust_policy(question.resource), None
    if question.action == "events:PutEvents":
        return eventbridge._event_bus_policies.get(question.resource.rpartition("event-bus/")[2]), None
    policy, owner = iam_evaluator._resource_policy(question.service, question.resource) or (None, None)
    return policy or None, owner


def trust_policy(role_arn: str) -> JsonObject | str | None:
    """Return who may assume the role; None if there is no such role."""
    _, _, _, _, account, resource = role_arn.split(":", 5)
    role = iam._roles.get_scoped(account, None, resource.rsplit("/", 1)[-1])
    policy: JsonObject | str | None = role["AssumeRolePolicyDocument"] if role and role["Arn"] == role_arn else None
    return policy


class Ledger:
    """Every distinct request that was answered, and how, oldest first; what is too much is forgotten."""

    def __init__(self) -> None:
        self._answers: dict[Request, bool] = {}
        self._lock = threading.Lock()

    def note(self, question: Request, denial: Denial | None) -> None:
        """Keep an answer. A denial is logged as well."""
        with self._lock:
            self._answers[question] = denial is None
            if len(self._answers) > _LEDGER_LIMIT:
                del self._answers[next(iter(self._answers))]
        if denial:
            logger.warning("denied: %s", denial.text)

    def entries(self) -> list[JsonObject]:
        """Return what is kept, as JSON."""
        with self._lock:
            answers = list(self._answers.items())
        return [
            {
                "Caller": question.caller,
                "Action": question.action,
                "Resource": question.resource,
                "Context": dict(question.context),
                "Allowed": allowed,
            }
            for question, allowed in answers
        ]


ledger = Ledger()
