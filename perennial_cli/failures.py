"""Errors that end in words: what was wrong and what to do. Anything else is a bug, and keeps its traceback.

It is imported where something has failed: the exceptions of libraries are in the libraries.
"""

from __future__ import annotations

import re

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from perennial.features.values import DataError
from perennial.model.complaints import ConfigurationError
from perennial_cli.console import CommandError, complain
from perennial_cli.proposal.document import UnusableError

KNOWN = (CommandError, ConfigurationError, DataError, UnusableError, ClientError, BotoCoreError, Boto3Error, OSError)
NO_ACCOUNT = (
    'For the local cloud: perennial local up, then eval "$(perennial local env)". For AWS: your usual configuration, '
    "such as AWS_PROFILE and AWS_REGION"
)
LOCAL_IS_DOWN = "The local cloud does not answer: perennial local up"
_LOCAL = re.compile(r"https?://(127\.0\.0\.1|localhost)[:/]")


def in_words(error: Exception) -> list[str]:
    """Return a known error as people read it, and then what to do; nothing of an error that is a bug."""
    if not isinstance(error, KNOWN):
        return []
    lines = ["\n  ".join(error.lines) if isinstance(error, DataError) else str(error)]
    if isinstance(error, NoCredentialsError | NoRegionError):
        lines.append(NO_ACCOUNT)
    if isinstance(error, EndpointConnectionError) and _LOCAL.match(str(error.kwargs["endpoint_url"])):
        lines.append(LOCAL_IS_DOWN)
    return lines


def is_put_in_words(error: Exception) -> bool:
    """Print a known error as people read it; return whether it is one."""
    lines = in_words(error)
    for line in lines:
        complain(line)
    return bool(lines)
