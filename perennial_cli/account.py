"""Whom the commands speak to: the local cloud or an account of AWS, as the usual configuration of AWS says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import boto3

from perennial_cli.console import notice

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Account:
    """Where calls of AWS go.

    endpoint_url  of the local cloud; None on AWS
    """

    account_id: str
    region: str
    endpoint_url: str | None

    @property
    def is_local(self) -> bool:
        return self.endpoint_url is not None

    def __str__(self) -> str:
        if self.endpoint_url:
            return f"the local cloud at {self.endpoint_url}"
        return f"AWS, account {self.account_id}, region {self.region}"


def is_local() -> bool:
    """Return whether the configuration names an address on this machine; nothing is asked."""
    return urlsplit(boto3.client("sts").meta.endpoint_url).hostname in LOOPBACK


def session(profile: str | None, role_arn: str | None = None) -> boto3.Session:
    """Return a session of a profile, or of the usual configuration; with a role, one of that role, which it takes.

    What else the profile says, such as addresses of AWS, holds for the role as well.
    """
    own = boto3.Session(profile_name=profile)
    if not role_arn:
        return own
    taken = own.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="perennial-promote")["Credentials"]
    return boto3.Session(
        profile_name=profile,
        aws_access_key_id=taken["AccessKeyId"],
        aws_secret_access_key=taken["SecretAccessKey"],
        aws_session_token=taken["SessionToken"],
        region_name=own.region_name,
    )


@contextmanager
def speaking_as(own: boto3.Session) -> Iterator[None]:
    """Let `boto3.client` speak with a session meanwhile."""
    before, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, own
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = before


def account() -> Account:
    """Return whom the commands speak to. Raises what boto3 does where nothing is configured."""
    client = boto3.client("sts")
    url = str(client.meta.endpoint_url)
    local = url if urlsplit(url).hostname in LOOPBACK else None
    identity = client.get_caller_identity()
    return Account(str(identity["Account"]), str(client.meta.region_name), local)


def say_whom() -> Account:
    """Tell a person whom the commands speak to, and return it."""
    whom = account()
    notice(f"{whom}")
    return whom
