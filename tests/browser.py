"""A person's browser: Chromium without a window, at the console of a stack."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:  # else whoever imports this waits for it
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "PERENNIAL_BROWSER"  # where it is `required`, there is one
QUIETLY = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
LIMIT_MILLISECONDS = 30_000


def program() -> str:
    """Return a Chromium of this machine; skip the test where there is none, unless there has to be one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"there is no {' or '.join(NAMES)} on this machine: make browser"
        assert os.environ.get(REQUIRED) != "required", reason
        pytest.skip(reason)
    return found


@contextmanager
def console(stack: str, *words: str) -> Iterator[str]:
    """Yield the address that `perennial console` prints, while it is at work."""
    command = [sys.executable, "-m", "perennial_cli", "console", "--port", "0", "--stack", stack, *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)


@contextmanager
def launched(*words: str) -> Iterator[Browser]:
    """Yield a browser without a window; skip the test where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=[*QUIETLY, *words])
        yield browser
        browser.close()


@contextmanager
def opened(address: str) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page of a browser that has opened an address, and whatever went wrong in it or led elsewhere."""
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        yield page, visit(page, address)


def visit(page: Page, address: str) -> list[str]:
    """Open an address in a new page; return the list of what goes wrong in it or leads elsewhere, from now on."""
    own, wrong = urlsplit(address).netloc, list[str]()
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
    page.on("request", lambda asked: urlsplit(asked.url).netloc != own and wrong.append(asked.url))
    page.goto(address)
    return wrong
