"""Whether a version may serve: what the registry says, and what a run ends with that was not approved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

Step = Literal["Nothing", "Deploy", "LookAgain"]
APPROVED, REJECTED, PENDING = "Approved", "Rejected", "PendingManualApproval"
VERSION_REJECTED = "VersionRejectedError"  # of runs.work.JUDGEMENTS
SUPERSEDED = "VersionSupersededError"  # as well
UNKNOWN = "unknown"  # who has answered, where AWS does not say
NO_REASON = "no reason was given"


def rejected(description: str | None) -> str:
    """Return why a version was rejected, as a cause that people read: its ApprovalDescription."""
    return f"somebody has rejected it: {description or NO_REASON}"


def outcome(
    number: int, status: str, before: str, *, serving: int | None, newest: int | None, other: str | None = None
) -> str:
    """Return what follows from an answer about a version, for whoever has given it.

    before           what the version was before
    serving, newest  the numbers of the version in service and of the newest approved one, after the answer
    other            the account that has registered it, if it is another one
    """
    now = f"version {serving} is in service" if serving else "nothing is in service"
    if other:
        return (
            f"Account {other} has registered it: it is not deployed here, and whoever reads the group sees the answer."
        )
    if status == APPROVED:
        if number == serving:
            return "It is in service."
        if newest and newest > number:
            newer = now if newest == serving else f"version {newest} is approved as well, and {now}"
            why = f"{newer}, and of the approved versions only the newest is"
            return (
                f"It is not deployed: {why}. To have it serve nevertheless, go back to it: perennial rollback {number}"
            )
        if before == APPROVED:
            again = "Where no run deploys it, reject it, and approve it again."
            return f"Nothing follows, because only a change is heard; {now}. {again}"
        return f"Until a run has deployed it, {now}."
    if number != serving:
        return f"As before, {now}."
    following = f"until version {newest} is deployed" if newest else "because no other version is approved"
    return f"It stays in service {following}."


def answered_by(described: Mapping[str, Any]) -> str | None:
    """Return who has changed a version last, mostly by approving or rejecting it; None where nobody has.

    Source: SageMaker API Reference, DescribeModelPackage, LastModifiedBy (UserContext): the ARN of whoever asked, or
    the name of a user of Studio. AWS keeps nothing of the answers before, and may name nobody.
    """
    if "LastModifiedTime" not in described:
        return None
    context = described.get("LastModifiedBy") or {}
    return (context.get("IamIdentity") or {}).get("Arn") or context.get("UserProfileName") or UNKNOWN


def other_account(version: str, described: Mapping[str, Any] | None) -> str | None:
    """Return the account that has registered a version, if it is another one than the registry's.

    What others have registered is kept for whoever reads the group, and never serves here.
    Source: SageMaker API Reference, DescribeModelPackage, CreatedBy (UserContext).

    version    its ARN
    described  what DescribeModelPackage answers; None: it is gone
    """
    maker = str((((described or {}).get("CreatedBy") or {}).get("IamIdentity") or {}).get("Arn") or "")
    account = maker.split(":")[4] if maker.count(":") >= 5 else ""
    return account if account not in ("", version.split(":")[4]) else None


def obstacle(made: Mapping[str, Any]) -> str | None:
    """Return why the model of a run serves nowhere, whoever approves a version of it; None where it may serve.

    made  the run's record. Anybody who may register a version may name any run.
    """
    gate = made.get("gate") or {}
    if gate.get("accepted") is not True:
        return f"its gate has not accepted the model ({gate.get('reason') or 'it was not measured'})"
    return f"its model is withheld: {made['withheld']}" if made.get("withheld") else None


def follows(version: str, status: str, serving: str | None, newest: str | None, *, works: Callable[[], bool]) -> Step:
    """Decide what follows from an answer about a version that no run waits for: the newest approved one is to serve.

    version, serving, newest  ARNs: of the one that was answered, in service, and the approved one of the highest number
    works                     whether the run that has registered it still works, asked where that decides

    Deploy: the newest approved one comes into service, if there is one. LookAgain: the run may be deploying what was
    rejected, and its end is looked at.
    """
    if status == APPROVED:
        return "Nothing" if version == serving or version != newest or works() else "Deploy"
    if works():
        return "LookAgain"
    return "Deploy" if version == serving else "Nothing"
