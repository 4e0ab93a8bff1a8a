"""The console on the port of the local cloud, which loads this by its name (commands/local.py gives it that)."""

from __future__ import annotations

import logging

from botocore import configprovider, credentials
from starlette.types import ASGIApp

from perennial_cli.account import account
from perennial_cli.web.app import Console, application


def console(port: int, token: str) -> ASGIApp:
    """Return the console of the account that this process speaks to."""
    for module in (configprovider, credentials):  # each client tells where it speaks to, and by which keys
        module.logger.setLevel(logging.WARNING)
    return application(Console(account()), port, token)
