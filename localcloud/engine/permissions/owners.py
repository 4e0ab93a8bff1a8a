"""Whose a resource is, and in whose store it lies: several accounts may have some in one local cloud (guests.py).

A request is carried out in one account, and what it names may be another's: a bucket, which is told by its name alone
(S3 User Guide, "Bucket naming rules": unique across all accounts), and a key, a bus or a repository, by their ARNs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from localcloud.engine.seams import Seams

eventbridge = Seams("services.eventbridge", _event_buses="02e75d97")
ecr = Seams("services.ecr", _repositories="a572b114")
kms = Seams("services.kms", _keys="e294230e")
responses = Seams("core.responses", get_account_id="270e1115", get_region="5f4ea734", request_scope="1136c5e3")
s3 = Seams("services.s3", _buckets="feba7881")

_S3 = "arn:aws:s3:::"


def of_bucket(name: str) -> str:
    """Return the account that has a bucket of this name; empty if it is the one of the request, or nobody."""
    here = responses.get_account_id()
    if not name or s3._buckets.contains_scoped(here, None, name):
        return ""
    return next((account for account, bucket in list(s3._buckets._data) if bucket == name), "")


def of(arn: str) -> str:
    """Return the account of a bucket, an object, a key, an event bus or a repository; empty if it is the request's.

    What no account here has is left to what the caller's own policies say of it.
    """
    if arn.startswith(_S3):
        return of_bucket(arn.removeprefix(_S3).partition("/")[0])
    parts = arn.split(":", 5)
    stores = {
        "ecr": (ecr, "_repositories", "repository/"),
        "events": (eventbridge, "_event_buses", "event-bus/"),
        "kms": (kms, "_keys", "key/"),
    }
    if len(parts) < 6 or parts[2] not in stores or parts[4] == responses.get_account_id():
        return ""
    seams, store, kind = stores[parts[2]]
    name = parts[5].removeprefix(kind)
    return parts[4] if getattr(seams, store).contains_scoped(parts[4], parts[3], name) else ""


@contextmanager
def scope(account: str) -> Iterator[None]:
    """Look, in this block, at the stores of an account; empty is the one of the request."""
    if not account:
        yield
        return
    with responses.request_scope(account, responses.get_region()):
        yield
